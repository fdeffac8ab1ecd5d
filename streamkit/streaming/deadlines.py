"""The time limits of one stream: which one runs out next, and when."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from streamkit.errors import StreamTimeout
from streamkit.settings import Timeout
from streamkit.wire.messages import with_remedy

__all__ = ["Deadlines"]

_PAUSED = (math.inf, "total", 0.0)
_MEANING = {
    "connect": "no connection within {limit:g} s",
    "first": "no chunk within {limit:g} s of sending the request",
    "idle": "no chunk for {limit:g} s",
    "total": "not complete within {limit:g} s",
}
_ABOUT = {
    "connect": "check the network and the provider's base URL, or raise Timeout(connect=...)",
    "first": "raise Timeout(first=...) if the model needs longer",
    "idle": "raise Timeout(idle=...) if the model needs longer",
    "total": "raise Timeout(total=...) if the model needs longer",
}


class Deadlines:
    """Deadlines of one stream: ``connect``, then ``first``, then ``idle``; ``total`` runs all the time.

    Owner of the fields: the worker alone writes ``_due`` and ``_total_at``, each by a single assignment; the stream
    sets ``subject`` before it starts the worker; the others never change. ``_due`` holds a moment and its phase in one
    tuple, so that a reader never sees half of a change.

    Threads: the worker calls the methods that change it. Any thread may call the others and read the properties.

    Args:
        timeout: the limits.
        now: a monotonic clock, in seconds.
        on_earlier: called when ``earliest_due`` became earlier, to wake a consumer that waits until then.

    Attributes:
        subject: the request that the limits are for, with which the error's message begins.
    """

    def __init__(
        self,
        timeout: Timeout,
        now: Callable[[], float] = time.monotonic,
        on_earlier: Callable[[], object] = lambda: None,
    ) -> None:
        self.now = now
        self.started_at = now()
        self.subject = ""
        self._timeout = timeout
        self._on_earlier = on_earlier
        self._idle = math.inf if timeout.idle is None else timeout.idle
        self._total_at = self._after(timeout.total)
        self._due: tuple[float, str, float] = (math.inf, "total", 0.0)
        self.connecting()

    def _after(self, limit: float | None) -> float:
        return math.inf if limit is None else self.now() + limit

    def _enter(self, phase: str, limit: float | None) -> None:
        at, before = self._after(limit), self._due[0]
        if self._total_at <= at:
            self._due = (self._total_at, "total", self._timeout.total or 0.0)
        else:
            self._due = (at, phase, limit or 0.0)
        if self._due[0] < before:
            self._on_earlier()

    def connecting(self) -> None:
        """Begin a try: the limit is ``connect``."""
        self._enter("connect", self._timeout.connect)

    def sending(self) -> None:
        """Begin to send: the limit is ``first``."""
        self._enter("first", self._timeout.first)

    def arrived(self) -> float:
        """Begin to wait for more chunks: the limit is ``idle``, from now; return ``remaining()``."""
        now, idle = self.now(), self._idle
        at = now + idle
        if self._total_at <= at:
            self._due = (self._total_at, "total", self._timeout.total or 0.0)
            return self._total_at - now
        self._due = (at, "idle", idle)
        return idle

    def waiting(self) -> None:
        """Begin to wait before another try: only ``total`` runs."""
        self._enter("total", None)

    def pause(self) -> None:
        """Let no limit run out while chunks are handed over, until ``arrived``."""
        self._due = _PAUSED

    def extend_total(self, seconds: float) -> None:
        """Extend ``total`` by the time that the worker waited for the consumer."""
        self._total_at += seconds

    @property
    def due(self) -> float:
        """The moment when the next limit runs out; infinite for no limit or during a pause."""
        return self._due[0]

    @property
    def earliest_due(self) -> float:
        """The earliest moment at which a limit can run out, for a consumer that waits.

        During a pause a chunk is being handed over, and ``idle`` will start after that.
        """
        due = self._due
        return min(self.now() + self._idle, self._total_at) if due is _PAUSED else due[0]

    @property
    def total_due(self) -> float:
        """The moment when ``total`` runs out; infinite for no limit."""
        return self._total_at

    def remaining(self) -> float:
        """Seconds until the next limit, negative when it has passed."""
        return self._due[0] - self.now()

    def error(self) -> StreamTimeout:
        """Return the error for the limit that runs out next."""
        _, phase, limit = self._due
        text = _MEANING[phase].format(limit=limit)
        error = StreamTimeout(f"{self.subject}: {text}" if self.subject else text, phase=phase, limit=limit)
        return with_remedy(error, f"the limit is the client's: {_ABOUT[phase]}")

    def __repr__(self) -> str:
        return f"<Deadlines {self._due[1]} in {self.remaining():.3f} s>"
