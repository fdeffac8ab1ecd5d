"""The hook that a connection calls around each blocking wait, and which hook the current thread uses."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from streamkit.transport.guard import SocketGuard

__all__ = ["WaitHook", "current_hook", "hooked", "last_response", "remember_response"]


class WaitHook(Protocol):
    """Called around each blocking wait of a connection, always in the thread that waits.

    Attributes:
        guard: has the socket while it is waited for.
        connected: whether a connection was made.
        answered: set when a byte of the response, or of a proxy's before it, was received.
    """

    guard: SocketGuard
    connected: bool
    answered: bool

    def before_read(self) -> float:
        """Return how many seconds to wait for bytes, infinite for no limit; raise to give up."""

    def limit(self) -> float | None:
        """Return the seconds for a step that cannot be taken up again, such as a handshake; raise to give up.

        ``None`` is no limit.
        """

    def in_vain(self) -> None:
        """Take note that the time was over without a byte; raise to give up, return to wait again."""

    def count(self, received: int) -> None:
        """Take note of bytes of the body, decompressed."""

    def sending(self, *, reused: bool) -> None:
        """Take note that a connection stands and that the request goes out on it."""


_current = threading.local()  # hook: WaitHook | None; response: http.client.HTTPResponse | None


@contextmanager
def hooked(hook: WaitHook) -> Iterator[None]:
    """Have the connections that this thread uses inside the block call ``hook``."""
    _current.hook, _current.response = hook, None
    try:
        yield
    finally:
        _current.hook = None


def current_hook() -> WaitHook:
    """Return this thread's hook."""
    hook: WaitHook = _current.hook
    return hook


def remember_response(response: http.client.HTTPResponse) -> None:
    """Keep a response for ``last_response``."""
    _current.response = response


def last_response() -> http.client.HTTPResponse | None:
    """Return the response of this thread's last request, below urllib3; ``None`` for a mocked one."""
    response: http.client.HTTPResponse | None = _current.response
    _current.response = None
    return response
