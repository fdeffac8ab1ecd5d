"""Plain requests for small bodies, such as lists of models: bounded in time and size."""

from __future__ import annotations

import time

from streamkit.errors import ProtocolError, StreamkitError, StreamTimeout
from streamkit.settings import LONGEST_WAIT
from streamkit.transport.failures import forget_origin
from streamkit.transport.guard import SocketGuard
from streamkit.transport.transport import Transport
from streamkit.wire.http import HttpRequest, ResponseInfo
from streamkit.wire.secrets import mask_error, place_of

__all__ = ["Deadline", "TimeIsUp", "fetch", "redirected"]

_MAX_BODY = 16 * 1024 * 1024  # bytes; the longest list of models seen has under 2 MiB


class TimeIsUp(Exception):
    """Ends a request from inside a wait; no ``OSError``, which urllib3 and requests would take for their own."""


class Deadline:
    """A hook that gives up at one moment, for all that a request does, and those that follow it.

    Args:
        seconds: until then.

    Attributes:
        sent_at: when the connection stood and the request went out, on ``time.monotonic``; ``None`` before.
    """

    def __init__(self, seconds: float) -> None:
        self.guard = SocketGuard()
        self.connected = self.answered = False
        self.sent_at: float | None = None
        self._halted = False
        self._limit = seconds
        self._until = time.monotonic() + min(seconds, LONGEST_WAIT)

    def before_read(self) -> float:
        """Return the seconds that are left."""
        left = self._until - time.monotonic()
        if left <= 0 or self._halted:
            raise TimeIsUp
        return left

    def halt(self) -> None:
        """Give up now.

        Threads: any; never waits.
        """
        self._halted = True
        self.guard.shut_down()

    def error(self) -> StreamTimeout:
        """Return the error that it stands for."""
        return StreamTimeout(f"no answer within {self._limit:g} s", phase="total", limit=self._limit)

    def limit(self) -> float | None:
        """Return the seconds that are left."""
        return self.before_read()

    def in_vain(self) -> None:
        """Give up if the time is over."""
        self.before_read()

    def count(self, received: int) -> None:
        """Pass over what has its own bound."""

    def sending(self, *, reused: bool) -> None:
        """Take note of the time."""
        self.connected = True
        self.sent_at = time.monotonic()


def fetch(
    transport: Transport, request: HttpRequest, hook: Deadline, *, max_body: int = _MAX_BODY
) -> tuple[ResponseInfo, bytes]:
    """Return the head and the body of a response, whatever its status.

    Args:
        hook: bounds all of it; one for several requests bounds them together.
        max_body: bytes.

    Raises:
        StreamTimeout: the time was over.
        ProtocolError: the body is larger than ``max_body``.
        ConnectError, BrokenStreamError, TruncatedStreamError: the connection failed.
    """
    try:
        return _fetch(transport, request, hook, max_body)
    except TimeIsUp:
        failure: StreamkitError = hook.error()
    except StreamkitError as error:
        failure = error
    mask_error(failure, request.secrets)
    forget_origin(failure)
    try:
        raise failure
    finally:
        del failure, request, transport, hook  # the traceback keeps this frame


def _fetch(transport: Transport, request: HttpRequest, hook: Deadline, max_body: int) -> tuple[ResponseInfo, bytes]:
    try:
        hook.before_read()
        reply = transport.open(request, hook)
        try:
            return reply.info, reply.read_whole(max_body)
        finally:
            reply.close()
    finally:
        hook.guard.release()


def redirected(info: ResponseInfo, remedy: str, *, excerpt: str = "") -> ProtocolError:
    """Return the error of a response that points elsewhere, where a key must not follow; mask it."""
    where = place_of(info.headers.get("location", ""))
    return ProtocolError(
        f"the server redirects ({info.status}) to {where!r}; redirects are not followed, so {remedy}", excerpt=excerpt
    )
