"""A provider that does not refuse what asks for nothing: ``lenient``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Provider
from streamkit.providers.wrapped import WrappedProvider
from streamkit.wire.http import HttpRequest

__all__ = ["lenient"]

# Values that ask for nothing but what happens without them. Many programs send them with each request.
_IDLE: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "service_tier": ("auto", "default"),
    "stop_sequences": ([], [""]),
    "store": (False,),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
}
# Whatever their value, they are for the provider's records, and the model is not told.
_RECORDED = ("metadata", "user")
# Kinds that keep each reply unless they are told not to. In the formats of other kinds, nothing is kept unless a client
# asks for it.
_KEEPING = ("gemini-interactions", "openai-responses")


def lenient(provider: Provider, kind: str) -> Provider:
    """Return the provider, which leaves parameters out that it lacks and that change nothing in the reply.

    Those that ask for something are refused as ever. A kind that keeps each reply is told not to, unless a client asks
    for it.

    Args:
        provider: the provider.
        kind: of the configuration.
    """
    return _Lenient(provider, kind)


class _Lenient(WrappedProvider):
    def __init__(self, inner: Provider, kind: str) -> None:
        super().__init__(inner)
        self._kind = kind

    def request(self, chat: ChatRequest) -> HttpRequest:
        """See ``Provider``."""
        chat = self._in_its_words(chat)
        try:
            return super().request(chat)
        except ConfigError:
            idle = {name for name, value in chat.params.items() if _asks_nothing(name, value)}
            if not idle:
                raise
        # Which of them it lacks, it alone knows.
        lacking = {name for name in idle if not self._takes(_without(chat, idle - {name}))}
        return super().request(_without(chat, lacking))

    def _in_its_words(self, chat: ChatRequest) -> ChatRequest:
        """Return the request without values that mean something else to this provider, or nothing."""
        params = dict(chat.params)
        if self._kind in _KEEPING:
            params.setdefault("store", False)
        format, tier = getattr(self._inner, "events_format", None), params.get("service_tier")
        if (format is None and tier in _IDLE["service_tier"]) or (format == "anthropic" and tier == "default"):
            del params["service_tier"]  # tiers have other names there
        if format == "anthropic" and {*(params.get("metadata") or ())} - {"user_id"}:
            del params["metadata"]  # which are a user_id there
        return attrs.evolve(chat, params=params)

    def _takes(self, chat: ChatRequest) -> bool:
        try:
            super().request(chat)
        except ConfigError:
            return False
        return True


def _asks_nothing(name: str, value: Any) -> bool:
    return name in _RECORDED or value in _IDLE.get(name, ())


def _without(chat: ChatRequest, names: Collection[str]) -> ChatRequest:
    return attrs.evolve(chat, params={name: value for name, value in chat.params.items() if name not in names})
