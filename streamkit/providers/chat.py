"""What all services of chat completions have in common: the request, the decoder, the reading of a refusal.

Source: OpenAI's API reference of chat completions (streaming), read 2026-11-20; the deviations are those of the
recordings in ``tests/recordings`` and of the services' own documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from streamkit.errors import ConfigError
from streamkit.providers.base import ChatRequest, choices_of, name_of
from streamkit.providers.chat_memory import RememberingDecoder
from streamkit.providers.http import post
from streamkit.providers.keyed import KeyedProvider
from streamkit.providers.openai_decoder import ChatDecoder
from streamkit.providers.quirks import Quirks
from streamkit.wire import HttpRequest, Masked

__all__ = ["ChatCompletions", "variable_of"]

_PARAMETERS = frozenset(
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens "
    "metadata modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key "
    "reasoning_effort response_format safety_identifier seed service_tier stop stop_sequences store "
    "stream_options temperature tool_choice tools top_k top_logprobs top_p user verbosity "
    "web_search_options".split()
)


def variable_of(name: str, suffix: str) -> str:
    """Return the environment variable of a provider, such as ``MY_SERVER_API_KEY`` of ``my-server``."""
    return f"{re.sub(r'[^A-Za-z0-9]', '_', name_of(name)).upper()}_{suffix}"


class ChatCompletions(KeyedProvider):
    """Base of the providers of chat completions; see ``Provider`` for the contract.

    Args:
        name: the first segment of the model names that go to it.
        base_url: what ``/chat/completions`` is added to.
        api_key: by default the first that the environment has.
        key_variables: where the environment has it, the usual one first.
        key_needed: whether a request without a key is refused before it is sent.
        quirks: in what the server differs.
        headers: sent with each request; those that are ``None`` are left out, secret ones are ``Masked``.
        direct: reach it past the proxies of the environment.

    Raises:
        ConfigError: the key cannot be one.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: Masked | None,
        *,
        key_variables: Sequence[str],
        key_needed: bool,
        quirks: Quirks,
        headers: Mapping[str, str | None] | None = None,
        direct: bool = False,
    ) -> None:
        super().__init__(name, base_url, api_key, key_variables=key_variables, key_needed=key_needed)
        self._quirks = quirks
        self._headers = dict(headers or {})
        self._direct = direct

    def url(self, chat: ChatRequest) -> str:
        """Return the address that a call goes to."""
        return f"{self.base_url}/chat/completions"

    def headers(self) -> dict[str, str | None]:
        """Return the headers that identify the caller.

        Raises:
            ConfigError: the key is missing.
        """
        key = self._checked_key()
        if key is None:
            return self._headers
        return {**self._headers, "Authorization": Masked(f"Bearer {key}")}

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply."""
        headers = self.headers()
        masked = tuple(Masked(value.removeprefix("Bearer ")) for value in headers.values() if isinstance(value, Masked))
        request = post(self.url(chat), self.body(chat), chat, headers=headers, key=self._key, masked=masked)
        return attrs.evolve(request, direct=self._direct)

    def body(self, chat: ChatRequest) -> dict[str, Any]:
        """Return the request's body, before ``extra_body`` is added and it becomes JSON.

        Raises:
            ConfigError: a parameter is unknown, or the service has no word for it.
        """
        messages = [_sent_message(message, self._quirks.reasoning_back) for message in chat.messages]
        body: dict[str, Any] = {"model": chat.model, "messages": messages, "stream": True}
        if self._quirks.include_usage:
            body["stream_options"] = {"include_usage": True}
        return {**body, **self._params(chat)}

    def _params(self, chat: ChatRequest) -> dict[str, Any]:
        params, quirks = dict(chat.params), self._quirks
        for name, instead in quirks.refused.items():
            if name in params:
                raise ConfigError(f"{self.name} has no {name}: {instead}")
        unknown = sorted(set(params) - _PARAMETERS - quirks.own)
        if unknown:
            raise ConfigError(
                f"{self.name} has no parameter {', '.join(unknown)}; if the server does, pass it in extra_body="
            )
        for given, sent in (("stop_sequences", "stop"), ("max_tokens", quirks.max_tokens_field)):
            if given in params and sent != given:
                _free(params, given, sent)
                params[sent] = params.pop(given)
        if quirks.effort_field == "reasoning" and "reasoning_effort" in params:
            _free(params, "reasoning_effort", "reasoning")
            params["reasoning"] = {"effort": params.pop("reasoning_effort")}
        return params

    def decoder(self, chat: ChatRequest) -> ChatDecoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        back = self._quirks.reasoning_back
        if back is None:
            return ChatDecoder(self.name, choices_of(chat))
        return RememberingDecoder(self.name, choices_of(chat), back)


def _free(params: Mapping[str, Any], given: str, sent: str) -> None:
    if sent in params:
        raise ConfigError(f"{given} and {sent} are the same parameter; give one of them")


def _sent_message(message: Mapping[str, Any], back: str | None) -> Mapping[str, Any]:
    """Return a message as the server takes it: with its own data back, without anybody else's."""
    sent = {key: value for key, value in message.items() if key != "provider_data"}
    if back is None or back in sent:
        return sent
    own = [datum[back] for datum in message.get("provider_data") or () if isinstance(datum, Mapping) and back in datum]
    return {**sent, back: own[-1]} if own else sent
