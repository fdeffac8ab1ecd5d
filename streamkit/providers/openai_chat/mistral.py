"""Mistral's chat completions: OpenAI's format with deviations.

Source: https://docs.mistral.ai/api/, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest, choices_of
from streamkit.providers.openai_chat.mistral_decoder import FORMAT, MistralDecoder
from streamkit.providers.openai_chat.provider import ChatCompletions
from streamkit.providers.openai_chat.quirks import Quirks
from streamkit.providers.request.addresses import base_url_of
from streamkit.providers.request.call_ids import MISTRAL_IDS, turns_with_ids
from streamkit.providers.request.continuing import Continuation, prefilled
from streamkit.providers.request.credentials import hidden
from streamkit.providers.request.openai_shape import normalise, tool_list
from streamkit.providers.request.parameters import Parameters
from streamkit.providers.request.parts import Media, Text
from streamkit.providers.request.tool_limits import MISTRAL
from streamkit.providers.request.turns import ToolSpec, Turn, provider_data
from streamkit.providers.request.unsupported import BETWEEN, call_shape, is_empty, tools_for, turns_for

__all__ = ["Mistral"]

_OFFICIAL = "https://api.mistral.ai/v1"
_NATIVE = (
    *("temperature", "top_p", "max_tokens", "n", "presence_penalty", "frequency_penalty", "metadata"),
    *("parallel_tool_calls", "response_format", "prediction", "prompt_mode", "safe_prompt", "guardrails"),
    *("reasoning_effort", "prompt_cache_key"),
)


class Mistral(ChatCompletions):
    """Mistral's chat completions.

    The content of a reply may be a list of parts. Its thoughts are sent back with the history. Ids of tool calls that
    Mistral would refuse are replaced.

    Args:
        api_key: by default ``MISTRAL_API_KEY``.
        base_url: up to and including ``/v1``.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: the key or the URL cannot be one.
    """

    events_format = None  # the content of a message may be a list of parts

    def __init__(self, api_key: str | None = None, base_url: str | None = None, *, name: str = "mistral") -> None:
        key, address = hidden(api_key), hidden(base_url)
        del api_key, base_url  # or they would stand in the clear among the locals of a traceback
        super().__init__(
            name,
            base_url_of(address or _OFFICIAL),
            key,
            key_variables=["MISTRAL_API_KEY"],
            key_needed=address is None,
            quirks=Quirks(include_usage=False),  # it sends the usage unasked
        )

    def body(self, chat: ChatRequest) -> dict[str, Any]:
        """Return the request's body.

        Raises:
            ConfigError: the call has something that Mistral does not support.
        """
        parameters = Parameters(self.name, chat)
        conversation = turns_with_ids(turns_for(self.name, chat, "detail"), MISTRAL_IDS)
        messages = [
            {**self._message(turn), **_prefix(message)}
            for turn, message in zip(conversation, chat.messages, strict=True)
            if not is_empty(turn, FORMAT)
        ]
        body: dict[str, Any] = {"model": chat.model, "messages": _in_order(messages), "stream": True}
        parameters.copy(body, *_NATIVE, random_seed="seed")
        if stops := parameters.take_stop():
            body["stop"] = stops
        if tools := parameters.take("tools"):
            listed = tool_list(tools)
            read = tools_for(self.name, listed, "strict", limits=MISTRAL)
            body["tools"] = [_tool(*pair) for pair in zip(listed, read, strict=True)]
        if (choice := parameters.take_tool_choice()) is not None:
            body["tool_choice"] = "any" if choice == "required" else choice
        parameters.finish()
        normalise(body)
        return body

    def _message(self, turn: Turn) -> dict[str, Any]:
        thoughts = [datum for datum in provider_data(turn, FORMAT) if isinstance(datum, Mapping)]
        plain = not thoughts and all(isinstance(part, Text) for part in turn.parts)
        content = turn.text(self.name) if plain else [*thoughts, *(self._part(part) for part in turn.parts)]
        shape: dict[str, Any] = {"role": turn.role, "content": content}
        if turn.calls:
            shape["tool_calls"] = [call_shape(self.name, call) for call in turn.calls]
        if turn.role == "tool":
            shape["tool_call_id"] = turn.call_id
            if turn.name:
                shape["name"] = turn.name
        return shape

    def _part(self, part: Text | Media) -> Mapping[str, Any]:
        if isinstance(part, Text):
            return {"type": "text", "text": part.text}
        url = part.url or f"data:{part.media_type};base64,{part.data}"
        if part.kind == "image" and not part.file_id:
            return {"type": "image_url", "image_url": {"url": url, **({"detail": part.detail} if part.detail else {})}}
        if part.kind == "audio":
            return {"type": "input_audio", "input_audio": part.data}
        if part.kind == "file" and part.file_id:
            return {"type": "file", "file_id": part.file_id}
        if part.kind == "file":
            name = {"document_name": part.filename} if part.filename else {}
            return {"type": "document_url", "document_url": url, **name}
        raise ConfigError(f"{self.name} takes text, images, documents and audio, no {part.kind}")

    def continuation(self, chat: ChatRequest, text: str) -> Continuation | None:
        """Return the call for the rest of a reply; see ``Continues``."""
        return Continuation(prefilled(chat, text, prefix=True), text, "all")

    def decoder(self, chat: ChatRequest) -> MistralDecoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        return MistralDecoder(self.name, choices_of(chat))


def _in_order(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return messages in an order of roles that Mistral takes.

    It refuses a system message directly after an assistant's or a tool's: such a one joins those at the beginning, as
    with providers that have one system prompt. It refuses a user's message directly after a tool's: a short answer of
    the assistant goes between. What the user keeps is not changed.

    Source: ``_validate_message_order`` in mistral-common 1.13, and the error 3230 "Unexpected role 'user' after role
    'tool'" (NousResearch/hermes-agent#84944, datapizza-labs/datapizza-ai#98), read 2026-11-27.
    """
    moved: list[Mapping[str, Any]] = []
    kept: list[Mapping[str, Any]] = []
    for message in messages:
        before = kept[-1]["role"] if kept else ""
        if message["role"] == "system" and before in ("assistant", "tool"):
            moved.append(message)
            continue
        if message["role"] == "user" and before == "tool":
            kept.append({"role": "assistant", "content": BETWEEN})
        kept.append(message)
    first = next((number for number, message in enumerate(kept) if message["role"] != "system"), len(kept))
    return [*kept[:first], *moved, *kept[first:]]


def _prefix(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return Mistral's ``prefix`` field of a message that the reply continues, if it has one."""
    prefix = message.get("prefix")
    return {} if prefix is None else {"prefix": prefix}


def _tool(tool: Mapping[str, Any], read: ToolSpec | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a tool unchanged, but a function always with ``parameters``, which Mistral requires."""
    if not isinstance(read, ToolSpec):
        return tool
    return {**tool, "function": {**tool["function"], "parameters": read.parameters}}
