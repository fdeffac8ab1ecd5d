"""The hook of a stream's connection: hands chunks over, enforces limits, and notices a cancel, at each wait."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from streamkit.errors import ChannelClosed, StreamTimeout
from streamkit.streaming.shared_state import StreamState
from streamkit.values.chunks import Chunk, set_round

__all__ = ["Halted", "LimitReached", "StreamHook", "TimedHook"]

_DRAIN_SECONDS = 0.1
# How long the worker delays the outcome for the rest of the body, in seconds. Most servers send the rest with the
# terminator. Then the connection is back in the pool before the consumer's next request, which reuses it.
_DRAIN_AT_ONCE = 0.005


class Halted(Exception):
    """Raised inside a wait to end a try after a cancel. Not an ``OSError``, which urllib3 would catch and wrap."""


class LimitReached(Exception):
    """Raised inside a wait to end a try after a limit ran out.

    Not an ``OSError``, which urllib3 would catch and wrap; ``StreamTimeout`` is one.

    Args:
        error: the error to raise in the consumer.
    """

    def __init__(self, error: StreamTimeout) -> None:
        super().__init__()
        self.error = error


class StreamHook:
    """Called around every blocking wait of one try's connection; see ``transport.wait_hook.WaitHook``.

    Decoded chunks collect in ``ready`` until the worker is about to wait for more bytes. So the chunks of one read go
    into the channel in one operation, and no chunk is held back.

    Owner of the fields: the worker alone reads and writes them.
    """

    def __init__(self, state: StreamState) -> None:
        self.guard = state.guard
        self.ready: list[Chunk] = []
        self.ready_bytes = 0  # bytes of the events that the chunks in ``ready`` came from
        self.connected = False
        self.answered = False
        self.reused = False
        self.sent_at = -math.inf  # on time.monotonic, when the request began to go out
        self._state = state
        self._deadlines = state.deadlines
        self._had_last_read = False  # one read after the deadline was allowed, for bytes that had already arrived
        self._read_until: float | None = None  # an additional deadline of reading, on time.monotonic
        self._drain_until: float | None = None
        self._before_waiting: Callable[[], object] | None = None

    def before_read(self) -> float:
        """Hand over the ready chunks, and return the seconds to wait for more bytes."""
        if self._drain_until is not None:
            return self._drain_left(self._drain_until - time.monotonic())
        if self.ready:
            limit = self.hand_over()  # which read the clock already
            if self._state.stop_requested():
                raise Halted
            if limit <= 0:
                raise LimitReached(self._deadlines.error())
            if self._read_until is not None:
                limit = min(limit, max(self._read_until - time.monotonic(), 0.001))
        else:
            limit = self._remaining()
        return limit

    def _drain_left(self, left: float) -> float:
        """Return the seconds for the next read of the rest of a finished body; raise when they have passed."""
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
        """Return the seconds for a step that cannot be resumed, such as a handshake; ``None`` is no limit."""
        limit = self._remaining()
        return None if limit == math.inf else min(limit, threading.TIMEOUT_MAX)

    def _remaining(self) -> float:
        """Return the seconds to the next limit; raise when it has passed, but allow one last read first."""
        if self._state.stop_requested():
            raise Halted
        remaining = self._deadlines.remaining()
        if self._read_until is not None:
            remaining = min(remaining, self._read_until - time.monotonic())
        if remaining > 0:
            self._had_last_read = False
            return max(remaining, 0.001)
        if self._had_last_read:
            raise LimitReached(self._deadlines.error())
        self._had_last_read = True
        return 0.001

    def wait_timed_out(self) -> None:
        """Raise if a limit has passed or the stream was cancelled; return to wait again."""
        if self._drain_until is not None:
            return
        if self._state.stop_requested():
            raise Halted
        if self._deadlines.remaining() <= 0 or (self._read_until is not None and time.monotonic() >= self._read_until):
            raise LimitReached(self._deadlines.error())

    def count(self, received: int) -> None:
        """Add to the number of bytes received."""
        self._state.received += received

    def sending(self, *, reused: bool) -> None:
        """Begin to send the request on a connection: the limit is ``first``."""
        self.connected = True
        self.answered = False
        self.reused = reused
        self.sent_at = time.monotonic()
        self._deadlines.sending()

    def hand_over(self) -> float:
        """Put the ready chunks into the channel, waiting for room; return the seconds to the next limit."""
        state, ready, size = self._state, self.ready, self.ready_bytes
        if state.first_chunk_at is None:
            state.first_chunk_at = time.monotonic()
        state.chunks += len(ready)
        if state.round:
            for chunk in ready:
                set_round(chunk, state.round)
        self.ready, self.ready_bytes = [], 0
        self._deadlines.pause()
        try:
            blocked = state.channel.put_many(ready, size)
        except ChannelClosed:
            raise Halted from None
        if blocked:
            state.blocked += blocked
            self._deadlines.extend_total(blocked)
            if self._read_until is not None:
                self._read_until += blocked
        self._had_last_read = False
        return self._deadlines.arrived()

    def limit_reading(self, seconds: float | None) -> None:
        """Give the rest of the body at most this many seconds from now; ``None`` lifts that limit."""
        self._read_until = None if seconds is None else time.monotonic() + seconds

    def drain(self, before_waiting: Callable[[], object]) -> None:
        """Begin to read the rest of a finished body, for at most 0.1 s.

        Args:
            before_waiting: called once, before a read that may take longer than a moment.
        """
        self._before_waiting = before_waiting
        self._drain_until = time.monotonic() + _DRAIN_SECONDS

    def seconds_since_sent(self) -> float:
        """Return how long ago the request began to go out."""
        return time.monotonic() - self.sent_at

    def timed_out(self) -> bool:
        """Return whether a limit has passed: then an error of the connection may be its effect."""
        return self._deadlines.remaining() <= 0


class TimedHook(StreamHook):
    """A hook that keeps when chunks arrive; another class, so that one that does not pays nothing."""

    def hand_over(self) -> float:
        """Put the ready chunks into the channel, and keep when."""
        if self._state.arrivals is not None:
            self._state.arrivals.append((time.monotonic(), len(self.ready)))
        return super().hand_over()
