"""What stands by each wait of a stream's connection: limits, halts, and the hand-over of chunks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from streamkit.errors import ChannelClosed, StreamTimeout
from streamkit.streaming.shared_state import StreamState
from streamkit.values.chunks import Chunk

__all__ = ["Halted", "LimitReached", "StreamHook"]

_DRAIN_SECONDS = 0.1
# How long the outcome waits for the rest of the body, in seconds. Most servers send it in the same moment; a
# connection that is back in the pool before the consumer asks again saves it the set-up of another.
_DRAIN_AT_ONCE = 0.005


class Halted(Exception):
    """Ends a try from inside a wait: the stream is to end. No ``OSError``, which urllib3 would take for its own."""


class LimitReached(Exception):
    """Ends a try from inside a wait: a limit ran out. No ``OSError``, as ``StreamTimeout`` itself is.

    Args:
        error: to raise for the consumer.
    """

    def __init__(self, error: StreamTimeout) -> None:
        super().__init__()
        self.error = error


class StreamHook:
    """Stands by each wait of a connection; see ``transport.connection.WaitHook``. Belongs to one try.

    Chunks that were decoded wait in ``ready`` until the worker is about to wait for more bytes. So all that
    one read of the kernel brought is handed over at once, and nothing is held back.
    """

    def __init__(self, state: StreamState) -> None:
        self.guard = state.guard
        self.ready: list[Chunk] = []
        self.ready_bytes = 0  # of the text of the events that these came from
        self.connected = False
        self.answered = False
        self.reused = False
        self.sent_at = -math.inf  # on time.monotonic, when the request began to go out
        self._state = state
        self._deadlines = state.deadlines
        self._overdue = False  # a read past the deadline was granted, for bytes that are there already
        self._until: float | None = None  # an earlier end to what is read, beside the clock's
        self._drain_until: float | None = None
        self._before_waiting: Callable[[], object] | None = None

    def before_read(self) -> float:
        """Hand over what is ready, and return how many seconds to wait for more."""
        if self._drain_until is not None:
            return self._drain_left(self._drain_until - time.monotonic())
        if self.ready:
            limit = self.hand_over()  # after chunks the limit is known without another look at the clock
            if self._state.stop_asked():
                raise Halted
            if limit <= 0:
                raise LimitReached(self._deadlines.error())
            if self._until is not None:
                limit = min(limit, max(self._until - time.monotonic(), 0.001))
        else:
            limit = self._remaining()
        return limit

    def _drain_left(self, left: float) -> float:
        """Return the seconds for the next read of a body that is over but for its end; raise after the last."""
        if self._before_waiting is not None:
            at_once = left - _DRAIN_SECONDS + _DRAIN_AT_ONCE
            if at_once > 0:
                return max(at_once, 0.001)
            before_waiting, self._before_waiting = self._before_waiting, None
            before_waiting()
        if left <= 0:
            raise Halted
        return max(left, 0.001)

    def limit(self) -> float | None:
        """Return the seconds that a step may take which cannot be taken up again."""
        limit = self._remaining()
        return None if limit == math.inf else min(limit, threading.TIMEOUT_MAX)

    def _remaining(self) -> float:
        """Return the seconds to the next limit; raise when it has passed, after one last chance."""
        if self._state.stop_asked():
            raise Halted
        remaining = self._deadlines.remaining()
        if self._until is not None:
            remaining = min(remaining, self._until - time.monotonic())
        if remaining > 0:
            self._overdue = False
            return max(remaining, 0.001)
        if self._overdue:
            raise LimitReached(self._deadlines.error())
        self._overdue = True
        return 0.001

    def in_vain(self) -> None:
        """Raise if the wait is to end; return to wait again."""
        if self._drain_until is not None:
            return
        if self._state.stop_asked():
            raise Halted
        if self._deadlines.remaining() <= 0 or (self._until is not None and time.monotonic() >= self._until):
            raise LimitReached(self._deadlines.error())

    def count(self, received: int) -> None:
        """Add to the bytes received."""
        self._state.received += received

    def sending(self, *, reused: bool) -> None:
        """Take note that the request goes out."""
        self.connected = True
        self.answered = False
        self.reused = reused
        self.sent_at = time.monotonic()
        self._deadlines.sending()

    def hand_over(self) -> float:
        """Put what is ready into the channel, waiting for room; return the seconds to the next limit."""
        state, ready, size = self._state, self.ready, self.ready_bytes
        if state.first_chunk_at is None:
            state.first_chunk_at = time.monotonic()
        state.chunks += len(ready)
        self.ready, self.ready_bytes = [], 0
        self._deadlines.stand()
        try:
            blocked = state.channel.put_many(ready, size)
        except ChannelClosed:
            raise Halted from None
        if blocked:
            state.blocked += blocked
            self._deadlines.stood_still(blocked)
            if self._until is not None:
                self._until += blocked
        self._overdue = False
        return self._deadlines.arrived()

    def hurry(self, seconds: float | None) -> None:
        """Let what is still to be read take no longer than this, or as long as the limits let it for ``None``."""
        self._until = None if seconds is None else time.monotonic() + seconds

    def drain(self, before_waiting: Callable[[], object]) -> None:
        """From now on only the rest of a finished body is read: let that take a moment, and no longer."""
        self._before_waiting = before_waiting
        self._drain_until = time.monotonic() + _DRAIN_SECONDS

    def timed_out(self) -> bool:
        """Say whether a limit has passed, as an error of the connection may be its effect."""
        return self._deadlines.remaining() <= 0
