"""OpenAI's chat completions, as OpenAI serves them and as everybody else does.

Source: the API reference of chat completions (streaming), read 2026-11-20; the deviations are those of the
recordings in ``tests/recordings`` and of the services' own documentation.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from streamkit.errors import APIError, ConfigError
from streamkit.providers.base import ChatRequest, base_url_of, choices_of, key_of
from streamkit.providers.http import missing_key, post, refusal
from streamkit.providers.openai_decoder import ChatDecoder
from streamkit.wire import HttpRequest, Masked, ResponseInfo

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
            raise missing_key(self.name, self.key_variable)
        headers = dict(self._headers)
        if self._key is not None:
            headers["Authorization"] = Masked(f"Bearer {self._key}")
        return post(f"{self.base_url}/chat/completions", self.body(chat), chat, headers=headers, key=self._key)

    def body(self, chat: ChatRequest) -> dict[str, Any]:
        """Return the request's body, before ``extra_body`` is added and it becomes JSON.

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
        messages = [_without_provider_data(message) for message in chat.messages]
        body: dict[str, Any] = {"model": chat.model, "messages": messages, "stream": True}
        if self._include_usage:
            body["stream_options"] = {"include_usage": True}
        return {**body, **params}

    def decoder(self, chat: ChatRequest) -> ChatDecoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        return ChatDecoder(self.name, choices_of(chat))

    def error(self, info: ResponseInfo, body: bytes) -> APIError:
        """Return the error that a response with a status other than 2xx stands for."""
        return refusal(self.name, info, body, self.key_variable)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {self.base_url}>"


def _without_provider_data(message: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in message.items() if key != "provider_data"}
