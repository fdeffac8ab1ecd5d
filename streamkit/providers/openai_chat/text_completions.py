"""OpenAI's legacy text completions, which vLLM and others still serve.

Source: https://platform.openai.com/docs/api-reference/completions, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest, choices_of
from streamkit.providers.contract import Event
from streamkit.providers.openai_chat.decoder import ChatDecoder
from streamkit.providers.openai_chat.provider import ChatCompletions
from streamkit.providers.openai_chat.quirks import NO_TOP_K, Quirks
from streamkit.providers.request.addresses import address_of, is_openai
from streamkit.providers.request.credentials import hidden
from streamkit.providers.request.parameters import Parameters
from streamkit.providers.request.unsupported import turns_for
from streamkit.values.chunks import Chunk, text_chunk
from streamkit.wire.json import parse_event
from streamkit.wire.loose_json import as_dict

__all__ = ["CompletionsDecoder", "OpenAICompletions"]

_OFFICIAL = "https://api.openai.com/v1"
_NATIVE = (
    *("temperature", "top_p", "n", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "user", "suffix"),
    *("echo", "best_of", "logprobs", "stream_options", "top_k", "max_tokens"),
)


class CompletionsDecoder(ChatDecoder):
    """Decodes one stream of text completions: choices have ``text`` instead of a delta."""

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event."""
        try:
            raw = parse_event(event.data)
        except ValueError:
            return self._decode_odd(event)
        try:
            (choice,) = raw["choices"]  # the hot path, as in chat completions
            text = choice["text"]
            if (
                text
                and text.__class__ is str
                and choice["finish_reason"] is None
                and (index := choice["index"]) in self._finish
                and not self._halves
                and self._id
                and "error" not in raw
                and not raw.get("usage")
            ):
                self._last = raw
                return (text_chunk(text, index, raw, self._id, self._model),)
        except (KeyError, TypeError, ValueError):
            pass
        return self._decode_any(raw, event.event)

    def _decode_choice(self, choice: Mapping[str, Any], raw: Any) -> list[Chunk]:
        if "text" in choice:
            choice = {**choice, "delta": {**as_dict(choice.get("delta")), "content": choice["text"]}}
        return super()._decode_choice(choice, raw)


class OpenAICompletions(ChatCompletions):
    """Text completions of OpenAI, or of any server that speaks the same format; see ``OpenAI`` for the
    arguments.

    The prompt is the text of the call's single user message. ``extra_body={"prompt": ...}`` sends any other prompt.
    """

    events_format = None

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        include_usage: bool = True,
        name: str = "openai-completions",
    ) -> None:
        key, address = hidden(api_key), hidden(base_url)
        del api_key, base_url  # or they would stand in the clear among the locals of a traceback
        url = address_of(address, "OPENAI_BASE_URL", _OFFICIAL)
        super().__init__(
            name,
            url,
            key,
            key_variables=["OPENAI_API_KEY"],
            key_needed=is_openai(url),
            quirks=Quirks(include_usage=include_usage, refused=NO_TOP_K if is_openai(url) else {}),
        )

    def url(self, chat: ChatRequest) -> str:
        """Return the address that a call goes to."""
        return f"{self.base_url}/completions"

    def body(self, chat: ChatRequest) -> dict[str, Any]:
        """Return the request's body.

        Raises:
            ConfigError: the call has something that a text completion does not support.
        """
        parameters = Parameters(self.name, chat)
        body: dict[str, Any] = {"model": chat.model, "stream": True}
        if "prompt" not in chat.extra_body:
            body["prompt"] = self._prompt(chat)
        for name, instead in self._quirks.refused.items():
            parameters.refuse(name, instead)
        parameters.copy(body, *_NATIVE)
        self._ask_for_usage(body)
        if stops := parameters.take_stop():
            body["stop"] = stops
        parameters.finish()
        return body

    def _prompt(self, chat: ChatRequest) -> str:
        conversation = turns_for(self.name, chat)
        if len(conversation) != 1 or conversation[0].role != "user":
            raise ConfigError(
                f"{self.name} completes text without roles: pass one user message, or a prompt of your own "
                "in extra_body={'prompt': ...}"
            )
        return conversation[0].text(self.name)

    def decoder(self, chat: ChatRequest) -> CompletionsDecoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        return CompletionsDecoder(self.name, choices_of(chat))
