"""OpenAI's chat completions, as OpenAI serves them and as everybody else does.

Source: the API reference of chat completions (streaming), read 2026-11-20; the deviations are those of the
recordings in ``tests/recordings`` and of the services' own documentation.
"""

from __future__ import annotations

import os
import re
from typing import Any

import orjson

from streamkit.errors import APIError, ConfigError
from streamkit.providers.base import ChatRequest, base_url_of, key_of
from streamkit.providers.openai_decoder import ChatDecoder
from streamkit.providers.openai_errors import api_error
from streamkit.wire import HttpRequest, Masked, ResponseInfo, parse_json

__all__ = ["OpenAI"]

_OFFICIAL = "https://api.openai.com/v1"

_PARAMETERS = frozenset(
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens "
    "metadata modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key "
    "reasoning_effort response_format safety_identifier seed service_tier stop stop_sequences store "
    "stream_options temperature tool_choice tools top_k top_logprobs top_p user verbosity "
    "web_search_options".split()
)


class OpenAI:
    """Chat completions of OpenAI, or of any server that speaks the same format.

    Args:
        api_key: by default what the environment has under the provider's name: ``OPENAI_API_KEY``, or
            ``MY_SERVER_API_KEY`` for ``name="my-server"``. A server of one's own needs none.
        base_url: up to and including ``/v1``; by default ``OPENAI_BASE_URL``, or OpenAI itself.
        organization: sent as ``OpenAI-Organization``.
        project: sent as ``OpenAI-Project``.
        include_usage: ask for the usage at the end of a stream; turn it off for a server that refuses
            ``stream_options``.
        max_tokens_field: how ``max_tokens`` is called on the wire; by default ``max_completion_tokens`` for
            OpenAI itself, whose newer models refuse the old name, and ``max_tokens`` elsewhere.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: the key or the URL cannot be one.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        organization: str | None = None,
        project: str | None = None,
        include_usage: bool = True,
        max_tokens_field: str | None = None,
        name: str = "openai",
    ) -> None:
        key = None if api_key is None else Masked(api_key)
        del api_key  # or it would stand in the clear among the locals of a traceback
        self.name = name
        self.base_url = base_url_of(base_url or os.environ.get("OPENAI_BASE_URL") or _OFFICIAL)
        self.key_variable = re.sub(r"\W", "_", name).upper() + "_API_KEY"
        self._key = key_of(key, self.key_variable)
        self._include_usage = include_usage
        official = self.base_url == _OFFICIAL
        self._key_needed = official
        self._max_tokens_field = max_tokens_field or ("max_completion_tokens" if official else "max_tokens")
        self._headers = {"OpenAI-Organization": organization, "OpenAI-Project": project}

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply."""
        if self._key is None and self._key_needed:
            raise ConfigError(
                f"{self.name} needs an API key: set the environment variable {self.key_variable}, or pass api_key="
            )
        headers = {
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",  # compression holds tokens back for nothing
            "Content-Type": "application/json",
            **{name: value for name, value in self._headers.items() if value},
        }
        if self._key is not None:
            headers["Authorization"] = Masked(f"Bearer {self._key}")
        for name, value in chat.extra_headers.items():
            headers[name] = Masked(value) if isinstance(value, str) else value
        for name, value in headers.items():
            _check_header(name, value)
        try:
            body = orjson.dumps(self.body(chat))
        except TypeError as error:
            raise ConfigError(f"the request cannot be written as JSON: {error}") from error
        # Short values are versions and flags, whose masking would only garble an error's text.
        secrets = [Masked(value) for value in chat.extra_headers.values() if len(value) >= 8]
        if self._key is not None and len(self._key) >= 8:
            secrets.append(self._key)
        return HttpRequest(f"{self.base_url}/chat/completions", headers, body, tuple(secrets))

    def body(self, chat: ChatRequest) -> dict[str, Any]:
        """Return the request's body, before it becomes JSON.

        Raises:
            ConfigError: a parameter is unknown.
        """
        unknown = sorted(set(chat.params) - _PARAMETERS)
        if unknown:
            raise ConfigError(
                f"{self.name} has no parameter {', '.join(unknown)}; if the server does, pass it in extra_body="
            )
        params = dict(chat.params)
        for given, sent in (("stop_sequences", "stop"), ("max_tokens", self._max_tokens_field)):
            if given in params:
                if sent != given and sent in params:
                    raise ConfigError(f"{given} and {sent} are the same parameter; give one of them")
                params[sent] = params.pop(given)
        body: dict[str, Any] = {"model": chat.model, "messages": list(chat.messages), "stream": True}
        if self._include_usage:
            body["stream_options"] = {"include_usage": True}
        return {**body, **params, **chat.extra_body}

    def decoder(self, chat: ChatRequest) -> ChatDecoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        choices = chat.extra_body.get("n", chat.params.get("n", 1))
        return ChatDecoder(self.name, max(1, choices) if isinstance(choices, int) else 1)

    def error(self, info: ResponseInfo, body: bytes) -> APIError:
        """Return the error that a response with a status other than 2xx stands for."""
        try:
            decoded = parse_json(body)
        except ValueError:
            decoded = body.decode("utf-8", "replace")
        error = api_error(self.name, decoded, info.status)
        error.request_id = info.request_id
        error.retry_after = info.retry_after
        if info.status == 401:
            error.args = (f"{error.message}; check the key in {self.key_variable}",)
        return error

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {self.base_url}>"


def _check_header(name: str, value: str) -> None:
    """Raise a ConfigError for a header that cannot be sent."""
    if not isinstance(value, str):
        raise ConfigError(f"the header {name} is text, not {type(value).__name__}")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ConfigError(f"the header {name} has characters that no header can carry") from None
    if "\n" in value or "\r" in value:
        raise ConfigError(f"the header {name} holds a line break")
