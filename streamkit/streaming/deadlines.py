"""Which limit of a stream runs out next: one clock a stream, with its phase."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from streamkit.errors import StreamTimeout
from streamkit.settings import Timeout

__all__ = ["Deadlines"]

_STANDING = (math.inf, "total", 0.0)
_MEANING = {
    "connect": "no connection within {limit:g} s",
    "first": "no chunk within {limit:g} s of sending the request",
    "idle": "no chunk for {limit:g} s",
    "total": "not complete within {limit:g} s",
}


class Deadlines:
    """Deadlines of one stream: ``connect``, then ``first``, then ``idle``, and ``total`` over them all.

    Threads: only the worker changes it. Any thread may read ``due``, ``next_look`` or ``error``: a moment and its
    phase are one tuple, so that a reader never sees half of a change.

    Args:
        timeout: the limits.
        now: a monotonic clock, in seconds.
        on_earlier: called when ``next_look`` has become earlier, for the consumer who waits until then.
    """

    def __init__(
        self,
        timeout: Timeout,
        now: Callable[[], float] = time.monotonic,
        on_earlier: Callable[[], object] = lambda: None,
    ) -> None:
        self.now = now
        self.started_at = now()
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
        """Note that chunks came, and were taken: the limit is ``idle``, from now; return ``remaining()``."""
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

    def stand(self) -> None:
        """Stand still while chunks are handed over, until ``arrived``: no limit runs out meanwhile."""
        self._due = _STANDING

    def stood_still(self, seconds: float) -> None:
        """Take out of the total the time that the consumer kept the worker waiting."""
        self._total_at += seconds

    @property
    def due(self) -> float:
        """The moment when the next limit runs out; infinite for none."""
        return self._due[0]

    @property
    def next_look(self) -> float:
        """The moment until which no limit can run out, for a consumer that waits.

        While the deadlines stand still, a chunk is being handed over: ``idle`` will run from some later moment.
        """
        due = self._due
        return min(self.now() + self._idle, self._total_at) if due is _STANDING else due[0]

    @property
    def total_due(self) -> float:
        """The moment when the limit over everything runs out; infinite for none."""
        return self._total_at

    def remaining(self) -> float:
        """Seconds until the next limit, negative when it has passed."""
        return self._due[0] - self.now()

    def error(self) -> StreamTimeout:
        """Return the error for the limit that runs out next."""
        _, phase, limit = self._due
        text = _MEANING[phase].format(limit=limit)
        return StreamTimeout(f"{text}; raise Timeout({phase}=...) if the model needs longer", phase=phase, limit=limit)

    def __repr__(self) -> str:
        return f"<Deadlines {self._due[1]} in {self.remaining():.3f} s>"
