"""A provider around another one, of which it changes a part: ``WrappedProvider``."""

from __future__ import annotations

from typing import Any

from streamkit.errors import APIError
from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Decoder, Provider
from streamkit.wire.http import HttpRequest, ResponseInfo

__all__ = ["WrappedProvider"]


class WrappedProvider(Provider):
    """A provider that is in all as the one inside; a subclass changes what it is for.

    It has the methods of a ``Provider`` itself: since Python 3.12 ``isinstance`` does not ask ``__getattr__``.

    Owner of the fields: they never change.

    Args:
        inner: the provider.
    """

    def __init__(self, inner: Provider) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name == "_inner":  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self._inner, name)

    @property
    def name(self) -> str:
        """See ``Provider``."""
        return self._inner.name

    def request(self, chat: ChatRequest) -> HttpRequest:
        """See ``Provider``."""
        return self._inner.request(chat)

    def error(self, info: ResponseInfo, body: bytes) -> APIError:
        """See ``Provider``."""
        return self._inner.error(info, body)

    def decoder(self, chat: ChatRequest) -> Decoder:
        """See ``Provider``."""
        return self._inner.decoder(chat)
