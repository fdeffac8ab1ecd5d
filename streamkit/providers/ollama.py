"""Ollama's native chat, beside the OpenAI-compatible one that it serves as well.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md, read 2026-11-21.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.base import ChatRequest, base_url_of
from streamkit.providers.http import post
from streamkit.providers.keyed import KeyedProvider
from streamkit.providers.ollama_decoder import OllamaDecoder
from streamkit.providers.parts import Media, Text
from streamkit.providers.prompt import Parameters, ToolSpec, Turn, format_of, tools_of, turns
from streamkit.providers.unsaid import arguments_of
from streamkit.wire import HttpRequest, Masked

__all__ = ["Ollama"]

_LOCAL = "http://127.0.0.1:11434"
_OPTIONS = (
    *("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty", "repeat_penalty", "min_p"),
    *("num_ctx", "num_keep", "num_gpu", "num_thread", "repeat_last_n", "mirostat", "mirostat_eta", "mirostat_tau"),
)


class Ollama(KeyedProvider):
    """Ollama's ``/api/chat``.

    Args:
        api_key: by default ``OLLAMA_API_KEY``; only Ollama's own cloud needs one.
        base_url: by default ``OLLAMA_HOST``, or this machine, port 11434.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: the key or the URL cannot be one.
    """

    def __init__(self, api_key: str | None = None, base_url: str | None = None, *, name: str = "ollama") -> None:
        key = None if api_key is None else Masked(api_key)
        del api_key  # or it would stand in the clear among the locals of a traceback
        url = base_url_of(base_url or _from_environment())
        needed = url.startswith("https://ollama.com")
        super().__init__(name, url, key, key_variables=["OLLAMA_API_KEY"], key_needed=needed)

    @property
    def models_url(self) -> str:
        """Where the list of models is."""
        return f"{self.base_url}/api/tags"

    def headers(self) -> dict[str, str | None]:
        """Return the headers that identify the caller.

        Raises:
            ConfigError: the key is missing.
        """
        key = self._checked_key()
        return {} if key is None else {"Authorization": Masked(f"Bearer {key}")}

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply."""
        headers = {**self.headers(), "Accept": "application/x-ndjson, application/json"}
        return post(f"{self.base_url}/api/chat", self.body(chat), chat, headers=headers, key=self._key)

    def body(self, chat: ChatRequest) -> dict[str, Any]:
        """Return the request's body.

        Raises:
            ConfigError: there is something that Ollama has no word for.
        """
        parameters = Parameters(self.name, chat)
        body: dict[str, Any] = {"model": chat.model, "messages": self._messages(turns(chat.messages)), "stream": True}
        options = parameters.take_object("options")
        parameters.copy(options, *_OPTIONS, num_predict="max_tokens")
        if stops := parameters.take_stop():
            options["stop"] = stops
        if options:
            body["options"] = options
        self._tools(parameters, body)
        form = parameters.take("response_format")
        wanted = None if form is None else format_of(form)
        if wanted is not None:
            body["format"] = "json" if wanted.schema is None else wanted.schema
        if (effort := parameters.take("reasoning_effort")) is not None:
            body["think"] = {"none": False, "minimal": "low"}.get(effort, effort)
        parameters.copy(body, "think", "keep_alive", "logprobs", "top_logprobs")
        if parameters.take("n", 1) != 1:
            raise ConfigError(f"{self.name} gives one reply at a time; leave n out")
        parameters.finish()
        return body

    def _tools(self, parameters: Parameters, body: dict[str, Any]) -> None:
        tools = tools_of(parameters.take("tools") or ())
        choice = parameters.take("tool_choice", "auto")
        if choice not in ("auto", "none"):
            raise ConfigError(f"{self.name} leaves the choice of tools to the model; it has 'auto' and 'none'")
        if tools and choice == "auto":
            body["tools"] = [_tool(tool) for tool in tools]

    def _messages(self, conversation: Sequence[Turn]) -> list[dict[str, Any]]:
        names: dict[str | None, str] = {}  # of functions, by the id of their last call
        messages = []
        for turn in conversation:
            texts = [part.text for part in turn.parts if isinstance(part, Text)]
            shape: dict[str, Any] = {"role": turn.role, "content": "".join(texts)}
            if images := [self._image(part) for part in turn.parts if isinstance(part, Media)]:
                shape["images"] = images
            if turn.calls:
                shape["tool_calls"] = [
                    {"function": {"name": call.name, "arguments": arguments_of(self.name, call)}} for call in turn.calls
                ]
                names |= {call.id: call.name for call in turn.calls}
            if turn.role == "tool":
                shape["tool_name"] = names.get(turn.call_id) or turn.name or turn.call_id
            messages.append(shape)
        return messages

    def _image(self, part: Media) -> str:
        if part.kind != "image" or part.data is None:
            raise ConfigError(f"{self.name} takes text, and images by content: a data: URL, no file and no address")
        return part.data

    def decoder(self, chat: ChatRequest) -> OllamaDecoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        return OllamaDecoder(self.name)


def _tool(tool: ToolSpec | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(tool, ToolSpec):
        raise ConfigError("Ollama has tools of the type 'function' only")
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _from_environment() -> str:
    """Return where the environment says that Ollama listens; a host or a port alone will do, as for Ollama itself."""
    host = os.environ.get("OLLAMA_HOST", "").strip()
    if not host:
        return _LOCAL
    if "://" not in host:
        host = f"http://{'127.0.0.1' if host.startswith(':') else ''}{host}"
    scheme, _, rest = host.partition("://")
    place, slash, path = rest.partition("/")
    if place.startswith("0.0.0.0"):  # noqa: S104 - where a server listens; a client goes to loopback
        place = "127.0.0.1" + place[len("0.0.0.0") :]  # noqa: S104
    if ":" not in place.rpartition("]")[2] and scheme == "http":
        place += ":11434"
    return f"{scheme}://{place}{slash}{path}"
