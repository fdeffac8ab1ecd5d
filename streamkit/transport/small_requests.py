"""Plain requests for small bodies, such as lists of models: bounded in time and size."""

from __future__ import annotations

import time

from streamkit.errors import ProtocolError, StreamkitError, StreamTimeout
from streamkit.settings import LONGEST_WAIT
from streamkit.transport.failures import forget_origin
from streamkit.transport.guard import SocketGuard
from streamkit.transport.transport import Transport
from streamkit.wire.http import HttpRequest, ResponseInfo
from streamkit.wire.messages import with_remedy
from streamkit.wire.secrets import mask_error, place_of

__all__ = ["Deadline", "TimeIsUp", "fetch", "redirected"]

_MAX_BODY = 16 * 1024 * 1024  # bytes; the longest list of models seen has under 2 MiB


class TimeIsUp(Exception):
    """Raised inside a wait to end a request. Not an ``OSError``, which urllib3 and requests would catch and wrap."""


class Deadline:
    """A ``WaitHook`` with one deadline for a whole request, or for several requests together.

    Owner of the fields: any thread may change ``_halted``, from False to True, by a single assignment. ``guard`` has
    its own lock. The requesting thread alone writes ``connected``, ``answered`` and ``sent_at``. The others never
    change.

    Args:
        seconds: the time until the deadline.

    Attributes:
        sent_at: when the connection was made and the request sent, on ``time.monotonic``; ``None`` before.
    """

    def __init__(self, seconds: float) -> None:
        self.guard = SocketGuard()
        self.connected = self.answered = False
        self.sent_at: float | None = None
        self._halted = False
        self._limit = seconds
        self._until = time.monotonic() + min(seconds, LONGEST_WAIT)

    def before_read(self) -> float:
        """Return the seconds until the deadline.

        Raises:
            TimeIsUp: the deadline has passed, or ``halt`` was called.
        """
        left = self._until - time.monotonic()
        if left <= 0 or self._halted:
            raise TimeIsUp
        return left

    def halt(self) -> None:
        """End the request now.

        Threads: any; never waits.
        """
        self._halted = True
        self.guard.shut_down()

    def error(self) -> StreamTimeout:
        """Return the error to raise for ``TimeIsUp``."""
        return StreamTimeout(f"no answer within {self._limit:g} s", phase="total", limit=self._limit)

    def limit(self) -> float | None:
        """Return the seconds until the deadline; raise as ``before_read`` does."""
        return self.before_read()

    def wait_timed_out(self) -> None:
        """Raise ``TimeIsUp`` if the deadline has passed."""
        self.before_read()

    def timed_out(self) -> bool:
        """Return whether the deadline has passed."""
        return time.monotonic() >= self._until

    def count(self, received: int) -> None:
        """Do nothing: ``fetch`` bounds the size of the body."""

    def sending(self, *, reused: bool) -> None:
        """Record the time at which the request is sent."""
        self.connected = True
        self.sent_at = time.monotonic()


def fetch(
    transport: Transport, request: HttpRequest, hook: Deadline, *, max_body: int = _MAX_BODY
) -> tuple[ResponseInfo, bytes]:
    """Send a request; return the head and the body of the response, whatever its status.

    Args:
        hook: bounds the whole request; one hook for several requests bounds them together.
        max_body: the most bytes of the body.

    Raises:
        StreamTimeout: the deadline passed, or the hook was halted.
        ProtocolError: the body is larger than ``max_body``.
        ConnectError, BrokenStreamError, TruncatedStreamError: the connection failed.

    Threads: blocks; ``hook.halt()`` ends it.
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
    """Return the error for a redirect, which is not followed because of the key. The caller masks it."""
    where = place_of(info.headers.get("location", ""))
    text = f"the server redirects ({info.status}) to {where!r}, and redirects are not followed"
    return with_remedy(ProtocolError(text, excerpt=excerpt), remedy)
