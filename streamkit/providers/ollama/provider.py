"""Ollama's native chat; Ollama also serves an OpenAI-compatible one.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md, read 2026-11-21.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.ollama.decoder import FORMAT, OllamaDecoder
from streamkit.providers.request.addresses import base_url_of, shown_url
from streamkit.providers.request.credentials import hidden
from streamkit.providers.request.keyed_provider import KeyedProvider
from streamkit.providers.request.parameters import Parameters
from streamkit.providers.request.parts import Media, Text
from streamkit.providers.request.post import post
from streamkit.providers.request.structured_output import OutputWay, has_function_tools
from streamkit.providers.request.tool_limits import OLLAMA
from streamkit.providers.request.turns import ToolSpec, Turn, format_of, provider_data
from streamkit.providers.request.unsupported import arguments_of, tools_for, turns_for
from streamkit.wire.http import HttpRequest
from streamkit.wire.loose_json import as_dict, as_text
from streamkit.wire.secrets import Masked

__all__ = ["Ollama"]

_OPTIONS = (
    *("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty", "repeat_penalty", "min_p"),
    *("num_ctx", "num_keep", "num_gpu", "num_thread", "repeat_last_n", "mirostat", "mirostat_eta", "mirostat_tau"),
)
_EFFORTS = ("none", "low", "medium", "high", "max")
_CLOUD = "https://ollama.com"


class Ollama(KeyedProvider):
    """Ollama's ``/api/chat``.

    Args:
        api_key: by default ``OLLAMA_API_KEY``; only Ollama's own cloud needs one.
        base_url: by default ``OLLAMA_HOST``, or this machine, port 11434.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: the key or the URL cannot be one.
    """

    result_media = frozenset({"image"})  # as in any message: chatPrompt in server/prompt.go, read 2026-11-27

    def __init__(self, api_key: str | None = None, base_url: str | None = None, *, name: str = "ollama") -> None:
        key, address = hidden(api_key), hidden(base_url)
        del api_key, base_url  # or they would stand in the clear among the locals of a traceback
        url = base_url_of(address) if address else _from_environment()
        needed = url.startswith(_CLOUD)
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
        return post(f"{self.base_url}/api/chat", self.body(self._asked(chat)), chat, headers=headers, key=self._key)

    def body(self, chat: ChatRequest) -> dict[str, Any]:
        """Return the request's body.

        Raises:
            ConfigError: the call has something that Ollama does not support.
        """
        parameters = Parameters(self.name, chat)
        messages = self._messages(turns_for(self.name, chat), thoughts=not self._in_cloud(chat.model))
        body: dict[str, Any] = {"model": chat.model, "messages": messages, "stream": True}
        stops = parameters.take_stop("options.stop")
        options = parameters.take_object("options", *_OPTIONS, num_predict="max_tokens")
        if stops:
            options["stop"] = stops
        if options:
            body["options"] = options
        self._tools(parameters, body)
        form = parameters.take("response_format")
        wanted = None if form is None else format_of(form)
        if wanted is not None:
            body["format"] = "json" if wanted.schema is None else wanted.schema
        if (effort := parameters.take_one_of("reasoning_effort", "think")) is not None:
            if effort not in _EFFORTS:
                raise ConfigError(f"{self.name} has reasoning_effort {', '.join(_EFFORTS)}, not {effort!r}; or think=")
            body["think"] = effort != "none" and effort
        parameters.copy(body, "think", "keep_alive", "logprobs", "top_logprobs")
        if parameters.take("n", 1) != 1:
            raise ConfigError(f"{self.name} gives one reply at a time; leave n out")
        parameters.finish()
        return body

    def _tools(self, parameters: Parameters, body: dict[str, Any]) -> None:
        tools = tools_for(self.name, parameters.take("tools") or (), limits=OLLAMA)
        choice = parameters.take("tool_choice", "auto")
        if choice not in ("auto", "none"):
            raise ConfigError(f"{self.name} leaves the choice of tools to the model; it has 'auto' and 'none'")
        if tools and choice == "auto":
            body["tools"] = [_tool(tool) for tool in tools]

    def _in_cloud(self, model: str) -> bool:
        """Whether Ollama's own cloud answers, which refuses thoughts in the history.

        Source: can1357/oh-my-pi#1000, read 2026-11-27.
        """
        return self.base_url.startswith(_CLOUD) or model.endswith(("-cloud", ":cloud"))

    def _messages(self, conversation: Sequence[Turn], *, thoughts: bool) -> list[dict[str, Any]]:
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
            for datum in provider_data(turn, FORMAT) if thoughts else ():
                shape["thinking"] = as_text(as_dict(datum).get("thinking"))
            if turn.role == "tool":
                shape["tool_name"] = names.get(turn.call_id) or turn.name or turn.call_id
            messages.append(shape)
        return messages

    def _image(self, part: Media) -> str:
        if part.kind != "image" or part.data is None:
            raise ConfigError(f"{self.name} takes text, and images by content: a data: URL, no file and no address")
        return part.data

    def structured_output(self, chat: ChatRequest) -> OutputWay:
        """Return how a JSON schema is said: held to a format, a model cannot call tools.

        Source: ollama/ollama#11185 and ollama/ollama-python#546, read 2026-11-27.
        """
        return "prompt" if has_function_tools(chat) else "schema"

    def decoder(self, chat: ChatRequest) -> OllamaDecoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        return OllamaDecoder(self.name)


def _tool(tool: ToolSpec | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(tool, ToolSpec):
        raise ConfigError("Ollama has tools of the type 'function' only")
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _from_environment() -> str:
    """Return the base URL of Ollama from ``OLLAMA_HOST``.

    Raises:
        ConfigError: it cannot be an address.

    Source: ``Host`` in https://github.com/ollama/ollama/blob/main/envconfig/config.go, read 2026-11-21.
    """
    given = Masked(os.environ.get("OLLAMA_HOST", "").strip().strip("\"'"))
    if given == "ollama.com":
        given = Masked("https://ollama.com")
    scheme, mark, rest = map(Masked, given.partition("://") if "://" in given else ("http", "", given))
    place, slash, path = map(Masked, rest.partition("/"))
    host, port = map(Masked, _place(place))
    host = Masked({"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host))  # noqa: S104 - a client goes there
    if ":" in host:
        host = Masked(f"[{host}]")
    if not port and not mark:
        port = Masked("11434")
    try:
        return base_url_of(f"{scheme}://{host}{':' if port else ''}{port}{slash}{path}")
    except ConfigError:
        raise ConfigError(f"OLLAMA_HOST is an address such as 127.0.0.1:11434, not {shown_url(given)}") from None


def _place(place: str) -> tuple[str, str]:
    """Return host and port, each "" if missing; a number is a port, and an IPv6 address may lack its brackets."""
    if place.isdigit():
        return "", place
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        return host, port.removeprefix(":")
    if place.count(":") > 1:
        return place, ""
    host, _, port = place.partition(":")
    return host, port
