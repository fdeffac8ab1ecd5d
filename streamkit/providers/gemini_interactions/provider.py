"""Gemini's interactions: lists of steps, stored by Google on request.

Source: https://ai.google.dev/gemini-api/docs/interactions, read 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.gemini_interactions.decoder import FORMAT, InteractionsDecoder
from streamkit.providers.request.addresses import address_of
from streamkit.providers.request.credentials import hidden
from streamkit.providers.request.keyed_provider import KeyedProvider
from streamkit.providers.request.parameters import Parameters
from streamkit.providers.request.parts import Media, Text
from streamkit.providers.request.post import post
from streamkit.providers.request.schemas import without_synonyms
from streamkit.providers.request.tool_limits import GEMINI
from streamkit.providers.request.turns import (
    NamedTool,
    ToolSpec,
    Turn,
    format_of,
    provider_data,
    system_text,
    tool_choice_of,
)
from streamkit.providers.request.unsupported import (
    all_strict,
    arguments_of,
    call_id_of,
    full_parts,
    refuse_empty,
    tools_for,
    turns_for,
)
from streamkit.wire.http import HttpRequest
from streamkit.wire.loose_json import as_dict

__all__ = ["GeminiInteractions"]

_OFFICIAL = "https://generativelanguage.googleapis.com/v1beta"
_NATIVE = (
    *("store", "previous_interaction_id", "background", "labels", "safety_settings", "service_tier", "environment"),
    *("response_modalities", "cached_content"),
)
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}
_RESOLUTIONS = ("low", "medium", "high", "ultra_high")
_KINDS = {"image": "image", "file": "document", "audio": "audio", "video": "video"}


class GeminiInteractions(KeyedProvider):
    """Gemini's interactions, streamed.

    Pass ``completion.id`` as ``previous_interaction_id=`` to continue from a reply that Google has stored.

    Args:
        api_key: by default ``GEMINI_API_KEY``, or ``GOOGLE_API_KEY``. Sent in a header, never in the URL.
        base_url: up to and including the version.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: the key or the URL cannot be one.
    """

    result_media = frozenset({"image"})

    def __init__(
        self, api_key: str | None = None, base_url: str | None = None, *, name: str = "gemini-interactions"
    ) -> None:
        key, address = hidden(api_key), hidden(base_url)
        del api_key, base_url  # or they would stand in the clear among the locals of a traceback
        url = address_of(address, "GEMINI_BASE_URL", _OFFICIAL)
        super().__init__(
            name, url, key, key_variables=["GEMINI_API_KEY", "GOOGLE_API_KEY"], key_needed=url == _OFFICIAL
        )

    @property
    def models_query(self) -> str:
        """The query that each page of the list of models is asked with."""
        return "pageSize=1000"

    def headers(self) -> dict[str, str | None]:
        """Return the headers that identify the caller.

        Raises:
            ConfigError: the key is missing.
        """
        return {"x-goog-api-key": self._checked_key()}

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply."""
        headers = self.headers()
        return post(f"{self.base_url}/interactions", self.body(chat), chat, headers=headers, key=self._key)

    def body(self, chat: ChatRequest) -> dict[str, Any]:
        """Return the request's body.

        Raises:
            ConfigError: the call has something that an interaction does not support.
        """
        parameters = Parameters(self.name, chat)
        system, conversation = system_text(turns_for(self.name, chat, "detail"), self.name)
        refuse_empty(self.name, conversation, chat, "input", "previous_interaction_id")
        body: dict[str, Any] = {"model": chat.model, "input": self._steps(conversation), "stream": True}
        if system:
            body["system_instruction"] = system
        parameters.copy(body, *_NATIVE)
        tools = tools_for(self.name, parameters.take("tools") or (), "strict", limits=GEMINI)
        if tools:
            body["tools"] = [_tool(tool) for tool in tools]
        if config := self._config(parameters, strict=all_strict(tools)):
            body["generation_config"] = config
        form = parameters.take("response_format")
        wanted = None if form is None else format_of(form)
        if wanted is not None:
            schema = {} if wanted.schema is None else {"schema": without_synonyms(wanted.schema)}
            body["response_format"] = {"type": "text", "mime_type": "application/json", **schema}
        if parameters.take("n", 1) != 1:
            raise ConfigError(f"{self.name} gives one reply at a time; leave n out")
        parameters.finish()
        return body

    def _config(self, parameters: Parameters, *, strict: bool) -> dict[str, Any]:
        parameters.respell("generation_config", _snake_case)
        choice = parameters.take_tool_choice("generation_config.tool_choice")
        stops = parameters.take_stop("generation_config.stop_sequences")
        effort = parameters.take_one_of("reasoning_effort", "generation_config.thinking_level")
        own = ("temperature", "top_p", "seed")
        config = parameters.take_object("generation_config", *own, max_output_tokens="max_tokens")
        if stops:
            config["stop_sequences"] = stops
        if effort is not None:
            if effort not in ("minimal", "low", "medium", "high"):
                raise ConfigError(f"{self.name} has reasoning_effort minimal, low, medium and high, not {effort!r}")
            config = {"thinking_summaries": "auto", **config, "thinking_level": effort}
        if choice is not None:
            chosen = tool_choice_of(choice)
            if isinstance(chosen, NamedTool):
                config["tool_choice"] = {"allowed_tools": {"mode": "any", "tools": [chosen.name]}}
            else:
                config["tool_choice"] = _CHOICES[chosen]
        if strict and config.get("tool_choice", "auto") == "auto":
            config["tool_choice"] = "validated"  # against their schemas, which "any" is by itself
        return config

    def _steps(self, conversation: Sequence[Turn]) -> list[dict[str, Any]]:
        steps: list[dict[str, Any]] = []
        names: dict[str | None, str] = {}  # of functions, by the id of their call
        for turn in conversation:
            data = [as_dict(datum) for datum in provider_data(turn, FORMAT)]
            steps += [datum for datum in data if datum.get("type") == "thought"]
            if turn.role == "tool":
                name = names.get(turn.call_id) or turn.name
                result = {"type": "function_result", "call_id": turn.call_id, "result": self._result(turn)}
                steps.append({**result, "name": name} if name else result)
            elif content := [self._part(part) for part in full_parts(turn)]:
                steps.append({"type": "model_output" if turn.role == "assistant" else "user_input", "content": content})
            signatures = {datum["call"]: datum.get("signature") for datum in data if isinstance(datum.get("call"), int)}
            for which, call in enumerate(turn.calls):
                names[call_id_of(self.name, call)] = call.name
                arguments = arguments_of(self.name, call)
                shape = {"type": "function_call", "id": call.id, "name": call.name, "arguments": arguments}
                steps.append({**shape, "signature": signatures[which]} if signatures.get(which) else shape)
        return steps

    def _result(self, turn: Turn) -> str | list[dict[str, Any]]:
        """Return a tool's result: text, or a list where there are images.

        Source: FunctionResultSubcontent, a text or an image, in https://ai.google.dev/api/interactions-api, read
        2026-11-27.
        """
        for part in turn.parts:
            if isinstance(part, Media) and part.kind != "image":
                raise ConfigError(f"{self.name} takes text and images as the result of a tool, no {part.kind}")
        plain = all(isinstance(part, Text) for part in turn.parts)
        return turn.text(self.name) if plain else [self._part(part) for part in full_parts(turn)]

    def _part(self, part: Text | Media) -> dict[str, Any]:
        if isinstance(part, Text):
            return {"type": "text", "text": part.text}
        shape: dict[str, Any] = {"type": _KINDS[part.kind]}
        if part.detail not in (None, "auto"):
            if part.detail not in _RESOLUTIONS:
                raise ConfigError(f"{self.name} has the detail {', '.join(_RESOLUTIONS)} or auto, not {part.detail!r}")
            shape["resolution"] = part.detail
        if part.data is not None:
            return {**shape, "data": part.data, "mime_type": part.media_type}
        return {**shape, "uri": part.file_id or part.url}

    def decoder(self, chat: ChatRequest) -> InteractionsDecoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        return InteractionsDecoder(self.name)


def _snake_case(field: str) -> str:
    """Return a name in the snake case of interactions; Google's other APIs use camel case."""
    return re.sub(r"(?<=.)([A-Z])", r"_\1", field).lower()


def _tool(tool: ToolSpec | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(tool, ToolSpec):
        return tool  # one of Google's own
    shape: dict[str, Any] = {"type": "function", "name": tool.name, "parameters": tool.parameters}
    return {**shape, "description": tool.description} if tool.description else shape
