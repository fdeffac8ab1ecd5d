"""Ask a second model where the first one is late: ``HedgedStream``."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import attrs

from streamkit.concurrency.stop import ReentrantEvent
from streamkit.errors import StreamError
from streamkit.observing.observers import Stats, TriedRoute
from streamkit.observing.status import Status
from streamkit.streaming.stream import Stream
from streamkit.streaming.wrapped_stream import WrappedStream
from streamkit.values.chunks import Chunk

__all__ = ["Hedged", "HedgedStream", "hedged"]

#: Starts the stream of one model; takes the seconds since the first one was started.
Start = Callable[[float], Stream]


class Hedged(WrappedStream):
    """The stream of whichever of several models speaks first.

    The first model is asked at once. The next one is asked where the last one has given no chunk after some seconds, or
    has failed before one. The first to give a chunk is the reply, and the others are cancelled.

    It is driven by its consumer: the next model is asked when the consumer waits, or looks.

    Owner of the fields: ``_lock``, reentrant as a signal handler may cancel, guards ``_cancelled`` and ``_lanes``,
    which only grows; both may be read by a single read. The consumer's thread alone changes the others: ``_inner``,
    ``_reply`` and then ``_decided`` once, by single assignments.

    Args:
        starts: one a model, in order.
        seconds: without a chunk, after which the next one is asked.
        total: the limit of all of it, in seconds; ``None`` for none.
    """

    def __init__(self, starts: Sequence[Start], seconds: float, total: float | None) -> None:
        self._starts = tuple(starts)
        self._hedge = seconds
        self._total = math.inf if total is None else total
        self._lock = threading.RLock()
        self._lanes: tuple[tuple[Stream, float], ...] = ()  # each with the moment of its start
        self._cancelled = self._decided = self._left_early = False
        self._listeners: tuple[Callable[[], object], ...] = ()
        self._news = ReentrantEvent()
        self._began = time.monotonic()
        self._reply = self._start_next()  # ``_inner`` by its type
        super().__init__(self._reply)

    def _start_next(self) -> Stream:
        now = time.monotonic()
        lane = self._starts[len(self._lanes)](now - self._began)
        with self._lock:
            self._lanes = (*self._lanes, (lane, now))
            cancelled = self._cancelled
        if cancelled:
            lane.cancel()
        for listener in (self._news.set, *self._listeners):
            lane.listen(listener)
        return lane

    # -- the race ----------------------------------------------------------------------------------------

    def _decide(self) -> bool:
        """Return whether it is decided which stream is the reply; start the next one if it is time."""
        while not self._decided:
            lanes = self._lanes
            ended, failed = 0, False  # ``failed``: the one that was asked last
            for lane, _ in lanes:
                if not lane.poll():
                    continue
                if lane.status in ("open", "cancelled"):  # the latter by a stop event, or with its client
                    self._win(lane)
                    return True
                ended, failed = ended + 1, lane is lanes[-1][0]
            due = self._late_at()
            if self._cancelled:  # after all of them had failed: no other one is asked
                return False
            if ended < len(lanes) and (due == math.inf or not (failed or time.monotonic() >= due)):
                return False
            if due == math.inf:  # there is no other one, or no time for it
                self._win(lanes[-1][0])
            else:
                self._start_next()
        return True

    def _late_at(self) -> float:
        """Return the moment at which the next model is asked; infinite where there is none."""
        over = time.monotonic() - self._began >= self._total
        return math.inf if len(self._lanes) == len(self._starts) or over else self._lanes[-1][1] + self._hedge

    def _win(self, winner: Stream) -> None:
        self._inner = self._reply = winner
        self._decided = True
        for lane, _ in self._lanes:
            if lane is not winner:
                for listener in (self._news.set, *self._listeners):
                    lane.unlisten(listener)
                lane.cancel()
        winner.unlisten(self._news.set)
        error = winner.error
        if isinstance(error, StreamError) and error.args:
            others = [each for each in self.stats.routes if each.why][:-1]
            causes = "".join(f"\nbefore it, {each.model} was tried: {each.why}" for each in others)
            error.args = (f"{error.args[0]}{causes}", *error.args[1:])

    # -- taking chunks -----------------------------------------------------------------------------------

    def _chunks(self) -> Iterator[Chunk]:
        __tracebackhide__ = True
        chunk = self.take()
        if chunk is not None:
            yield chunk
            yield from self._inner._chunks()

    def take(self, seconds: float | None = None) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end, also of a stream that was closed meanwhile."""
        __tracebackhide__ = True
        until = math.inf if seconds is None else time.monotonic() + seconds
        try:
            while not self._decided:
                self._news.clear()
                if self._decide():
                    break
                if self._cancelled:
                    return None
                due = min(until, self.next_check())
                left = due - time.monotonic()
                if left > 0:
                    self._news.wait(None if due == math.inf else left)
                elif due == until:
                    raise queue.Empty
        except queue.Empty:
            raise
        except BaseException as error:  # Ctrl-C or the time limit of a worker process, during the wait
            self._interrupted(error)
            raise
        return self._inner.take(None if until == math.inf else max(0.0, until - time.monotonic()))

    def peek(self) -> Chunk | None:
        """Return the next chunk if it has arrived and nothing else has to happen first; do not take it."""
        return self._inner.peek() if self._decided else None

    def poll(self) -> bool:
        """Return whether ``take()`` would not have to wait for a provider, without waiting."""
        return self._inner.poll() if self._decide() else self._cancelled

    def next_check(self) -> float:
        """Return the moment, on ``time.monotonic``, at which to call ``poll()`` even if the listener was not called."""
        if self._decided:
            return self._inner.next_check()
        # One that has failed needs no look: its limits may have passed, and a wait for them would never be one.
        return min([self._late_at(), *(lane.next_check() for lane, _ in self._lanes if lane.status == "open")])

    def listen(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` whenever there may be a chunk to take, and at the end, until ``unlisten``."""
        self._listeners = (*self._listeners, listener)
        for lane, _ in self._lanes:
            if not self._decided or lane is self._inner:
                lane.listen(listener)

    def unlisten(self, listener: Callable[[], object]) -> None:
        """Stop calling ``listener``."""
        self._listeners = tuple(other for other in self._listeners if other != listener)
        for lane, _ in self._lanes:
            lane.unlisten(listener)

    # -- ending ------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Cancel all models; see ``ChunkStream.cancel``."""
        self._check_owner()
        with self._lock:
            self._cancelled = True
        for lane, _ in self._lanes:
            lane.cancel()
        self._news.set()

    def close(self) -> None:
        """Cancel the stream if it is open, and wait for its readers, at most 0.25 s each."""
        self._check_owner()
        if self.status == "open":
            self._leave()
        for lane, _ in self._lanes:
            lane.close()

    def _leave(self) -> None:
        self._left_early = True
        self.cancel()

    @property
    def _closed_early(self) -> bool:
        return self._left_early

    # -- state -------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """``open``, ``complete``, ``cancelled``, ``truncated``, ``timeout`` or ``error``."""
        if self._decided:
            return self._inner.status
        return "cancelled" if self._cancelled else "open"

    @property
    def error(self) -> BaseException | None:
        """The error that ended the stream, or ``None``."""
        return self._inner.error if self._decided else None

    @property
    def stats(self) -> Stats:
        """The figures of the stream that answered, from the start of the first one; ``attempts`` are those of all."""
        inner, lanes = self._reply, self._lanes
        stats = inner.stats
        before = next(at for lane, at in lanes if lane is inner) - self._began
        first = stats.time_to_first_chunk
        others = [self._tried(lane) for lane, _ in lanes if lane is not inner]
        return attrs.evolve(
            stats,
            time_to_first_chunk=None if first is None else first + before,
            duration=stats.duration + before,
            attempts=stats.attempts + sum(each.attempts for each in others),
            routes=(*others, self._tried(inner)),
        )

    def _tried(self, lane: Stream) -> TriedRoute:
        tried = lane.stats.routes[-1]
        error = lane.error
        if error is not None:
            return attrs.evolve(tried, why=str(error).partition("\n")[0], error=type(error).__name__)
        return (
            attrs.evolve(tried, why="another one was quicker") if self._decided and lane is not self._inner else tried
        )

    def __repr__(self) -> str:
        return f"<HedgedStream {self.status}, {len(self._lanes)} of {len(self._starts)} models asked>"


class HedgedStream(Hedged, Stream):
    """A ``Stream`` of whichever of several models speaks first; see ``Hedged``.

    Of ``Stream`` it has what a user sees, and none of the fields.
    """


def hedged(starts: Sequence[Start], seconds: float, total: float | None) -> HedgedStream:
    """Return a stream of whichever of several models speaks first; see ``Hedged``."""
    return HedgedStream(starts, seconds, total)
