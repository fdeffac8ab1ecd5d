"""The hook that a connection calls around each blocking wait, and the current thread's hook."""

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
        guard: holds the socket that the thread waits on.
        connected: whether a connection was made.
        answered: set when a byte of the response, or of a proxy's response before it, has arrived.
    """

    guard: SocketGuard
    connected: bool
    answered: bool

    def before_read(self) -> float:
        """Return the seconds to wait for bytes, infinite for no limit; raise to end the request."""

    def limit(self) -> float | None:
        """Return the seconds for a step that cannot be resumed, such as a handshake; raise to end the request.

        ``None`` is no limit.
        """

    def wait_timed_out(self) -> None:
        """Called after a wait in which no byte arrived: raise to end the request, return to wait again."""

    def timed_out(self) -> bool:
        """Return whether a limit has passed: then an error of the connection may be its effect."""

    def count(self, received: int) -> None:
        """Called with the number of decompressed bytes of the body that arrived."""

    def sending(self, *, reused: bool) -> None:
        """Called when the request is about to be sent on a connection.

        Args:
            reused: whether an earlier request was sent on the connection.
        """


# Each thread has its own: hook: WaitHook | None; response: http.client.HTTPResponse | None.
_current = threading.local()


@contextmanager
def hooked(hook: WaitHook) -> Iterator[None]:
    """Make ``hook`` the current thread's hook inside the block."""
    _current.hook, _current.response = hook, None
    try:
        yield
    finally:
        _current.hook = None


def current_hook() -> WaitHook:
    """Return the current thread's hook."""
    hook: WaitHook = _current.hook
    return hook


def remember_response(response: http.client.HTTPResponse) -> None:
    """Keep a response for ``last_response``."""
    _current.response = response


def last_response() -> http.client.HTTPResponse | None:
    """Return, once, the ``http.client`` response of this thread's last request; ``None`` for a mocked one."""
    response: http.client.HTTPResponse | None = _current.response
    _current.response = None
    return response
