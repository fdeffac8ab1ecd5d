"""Cohere's chat, version 2.

Source: https://docs.cohere.com/reference/chat, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.cohere.decoder import FORMAT, CohereDecoder
from streamkit.providers.contract import Decoder
from streamkit.providers.request.addresses import base_url_of
from streamkit.providers.request.credentials import hidden
from streamkit.providers.request.keyed_provider import KeyedProvider
from streamkit.providers.request.parameters import Parameters
from streamkit.providers.request.parts import Media, Text
from streamkit.providers.request.post import post
from streamkit.providers.request.structured_output import OutputWay, OutputWords, has_function_tools
from streamkit.providers.request.turns import NamedTool, ToolSpec, Turn, format_of, provider_data, tool_choice_of
from streamkit.providers.request.unsupported import (
    all_strict,
    call_shape,
    is_empty,
    refuse_empty,
    tools_for,
    turns_for,
    with_full_results,
)
from streamkit.wire.http import HttpRequest
from streamkit.wire.loose_json import as_dict
from streamkit.wire.secrets import Masked

__all__ = ["Cohere"]

_OFFICIAL = "https://api.cohere.com/v2"
_NATIVE = (
    *("temperature", "max_tokens", "seed", "presence_penalty", "frequency_penalty", "documents", "citation_options"),
    *("safety_mode", "logprobs", "thinking", "strict_tools", "priority"),
)


class Cohere(KeyedProvider):
    """Cohere's chat.

    Args:
        api_key: by default ``COHERE_API_KEY``, or ``CO_API_KEY``.
        base_url: up to and including ``/v2``.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: the key or the URL cannot be one.
    """

    output_words = OutputWords(named=False)

    def __init__(self, api_key: str | None = None, base_url: str | None = None, *, name: str = "cohere") -> None:
        key, address = hidden(api_key), hidden(base_url)
        del api_key, base_url  # or they would stand in the clear among the locals of a traceback
        url = base_url_of(address or _OFFICIAL)
        super().__init__(name, url, key, key_variables=["COHERE_API_KEY", "CO_API_KEY"], key_needed=url == _OFFICIAL)

    @property
    def models_url(self) -> str:
        """The URL of the list of models, which exists in version 1 only."""
        return f"{self.base_url.removesuffix('/v2')}/v1/models"

    @property
    def models_query(self) -> str:
        """The query that each page of the list of models is asked with."""
        return "page_size=1000"

    def headers(self) -> dict[str, str | None]:
        """Return the headers that identify the caller.

        Raises:
            ConfigError: the key is missing.
        """
        key = self._checked_key()
        return {} if key is None else {"Authorization": Masked(f"Bearer {key}")}

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply."""
        headers = self.headers()
        return post(f"{self.base_url}/chat", self.body(self._asked(chat)), chat, headers=headers, key=self._key)

    def body(self, chat: ChatRequest) -> dict[str, Any]:
        """Return the request's body.

        Raises:
            ConfigError: the call has something that Cohere does not support.
        """
        parameters = Parameters(self.name, chat)
        conversation = with_full_results(turns_for(self.name, chat, "detail"))
        refuse_empty(self.name, conversation, chat, "messages")
        effort = parameters.take_one_of("reasoning_effort", "thinking")
        messages = [self._message(turn) for turn in conversation if not is_empty(turn, FORMAT)]
        body: dict[str, Any] = {"model": chat.model, "messages": messages, "stream": True}
        parameters.copy(body, *_NATIVE, p="top_p", k="top_k")
        if stops := parameters.take_stop():
            body["stop_sequences"] = stops
        self._tools(parameters, body)
        self._choice(parameters, body)
        form = parameters.take("response_format")
        wanted = None if form is None else format_of(form)
        if wanted is not None:
            schema = {} if wanted.schema is None else {"json_schema": wanted.schema}
            body["response_format"] = {"type": "json_object", **schema}
        if effort is not None:
            if effort not in ("none", "high"):
                raise ConfigError(
                    f"{self.name} turns thinking on or off: reasoning_effort is 'high' or 'none', or thinking="
                )
            body["thinking"] = {"type": "disabled" if effort == "none" else "enabled"}
        if parameters.take("n", 1) != 1:
            raise ConfigError(f"{self.name} gives one reply at a time; leave n out")
        parameters.finish()
        return body

    def _tools(self, parameters: Parameters, body: dict[str, Any]) -> None:
        tools = tools_for(self.name, parameters.take("tools") or (), "strict")
        if tools:
            body["tools"] = [self._tool(tool) for tool in tools]
        if all_strict(tools) and all(map(_can_be_strict, tools)):
            body.setdefault("strict_tools", True)

    def _choice(self, parameters: Parameters, body: dict[str, Any]) -> None:
        choice = parameters.take_tool_choice()
        chosen = "auto" if choice is None else tool_choice_of(choice)
        if isinstance(chosen, NamedTool):
            raise ConfigError(f"{self.name} cannot be told which tool to call; pass that tool alone, and 'required'")
        if chosen != "auto":
            body["tool_choice"] = chosen.upper()

    def _message(self, turn: Turn) -> dict[str, Any]:
        if turn.role == "tool":
            return {"role": "tool", "tool_call_id": turn.call_id, "content": turn.text(self.name)}
        shape: dict[str, Any] = {"role": turn.role}
        if turn.parts:
            plain = all(isinstance(part, Text) for part in turn.parts)
            shape["content"] = turn.text(self.name) if plain else [self._part(part) for part in turn.parts]
        if turn.calls:
            shape["tool_calls"] = [call_shape(self.name, call) for call in turn.calls]
        for datum in provider_data(turn, FORMAT):
            shape |= as_dict(datum)
        return shape

    def _part(self, part: Text | Media) -> dict[str, Any]:
        if isinstance(part, Text):
            return {"type": "text", "text": part.text}
        if part.kind != "image" or part.file_id:
            raise ConfigError(f"{self.name} takes text and images by address or content, no {part.kind}")
        image = {"url": part.url or f"data:{part.media_type};base64,{part.data}"}
        return {"type": "image_url", "image_url": {**image, "detail": part.detail} if part.detail else image}

    def _tool(self, tool: ToolSpec | Mapping[str, Any]) -> Mapping[str, Any]:
        if not isinstance(tool, ToolSpec):
            raise ConfigError(f"{self.name} has tools of the type 'function' only")
        function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        return {"type": "function", "function": function}

    def structured_output(self, chat: ChatRequest) -> OutputWay:
        """Return how a JSON schema is said: not by ``response_format`` beside tools or documents.

        Source: response_format in https://docs.cohere.com/reference/chat, read 2026-11-27.
        """
        if chat.params.get("documents"):
            return "prompt"
        return "tool" if has_function_tools(chat) else "schema"

    def decoder(self, chat: ChatRequest) -> Decoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        return self._answered(chat, CohereDecoder(self.name))


def _can_be_strict(tool: ToolSpec | Mapping[str, Any]) -> bool:
    """Return whether Cohere can hold calls of a tool to its schema: at least one parameter is required.

    Source: https://docs.cohere.com/docs/structured-outputs, "Important notes on using strict_tools", read 2026-11-27.
    """
    return isinstance(tool, ToolSpec) and bool(tool.parameters.get("required"))
