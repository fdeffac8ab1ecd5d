"""What a consumer has had of a stream, and how it ended for it.

It stands apart from ``Stream`` because it must outlive it by a moment: when the last reference to a stream
is dropped, what was received is still reported to the observers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from streamkit.concurrency.quick_thread import OwnThread, UnawaitedThread
from streamkit.errors import StreamError
from streamkit.observing.observers import Observer, Report, Stats, Telling
from streamkit.observing.status import Status
from streamkit.streaming.shared_state import StreamState
from streamkit.values.chunks import Chunk, FinishReason
from streamkit.values.completion import Completion, Fold

__all__ = ["Cursor", "Delivery"]

_INTERRUPTED: dict[Status, FinishReason] = {
    "cancelled": "cancelled",
    "truncated": "error",
    "timeout": "error",
    "error": "error",
}


class Cursor:
    """The batch being handed out, and how far.

    A chunk counts as delivered when ``position`` is past it. One object, so that the next batch and its position take
    their places in one step.
    """

    __slots__ = ("batch", "position", "start")

    def __init__(self, batch: Sequence[Chunk] = (), start: int = 0) -> None:
        self.batch = batch
        self.start = start  # the number of the first chunk of the batch in the stream
        self.position = 0


class Delivery:
    """The receiving half of one stream: the batch being handed out, the fold, the end.

    ``cursor`` belongs to the consumer's thread. ``_lock`` guards the fold and the change of ``_end`` from ``None``,
    which happens once; ``_concluding`` guards what follows from it. Both are reentrant, as a cancel may come from a
    signal handler or the garbage collector.

    Every method may be interrupted at any bytecode, by Ctrl-C or a worker process's time limit: state moves on after
    the work, never before it, and what was not finished is finished by the next call.
    """

    def __init__(
        self, state: StreamState, number: int, provider: str, model: str, observers: Sequence[Observer]
    ) -> None:
        self.cursor = Cursor()
        # Called once it is settled. Until then the stream's finalizer refers to this object; if it did so any
        # longer, the traceback of an error would keep the stream alive, and so its own finalizer, for ever.
        self.on_settled: Callable[[], object] = lambda: None
        self.left = False  # closed, or its loop left, by its holder before the end
        self._state = state
        self._number = number
        self._provider = provider
        self._model = model
        self._observers = observers
        self._lock = threading.RLock()
        self._fold = Fold(provider, model)
        self._end: tuple[Status, BaseException | None] | None = None
        self._concluding = threading.RLock()
        self._concluded = False
        self._telling: list[Telling] = []  # the first one counts: a handler may put its own before this thread's

    @property
    def status(self) -> Status:
        """How the stream stands for its consumer."""
        return "open" if self._end is None else self._end[0]

    @property
    def error(self) -> BaseException | None:
        """What ended the stream, if an error did."""
        return None if self._end is None else self._end[1]

    def take(self, batch: Sequence[Chunk]) -> None:
        """Make a new batch the current one, the last having been delivered, unless it is too late."""
        with self._lock:
            self._catch_up_locked()
            if self._end is None:
                self.cursor = Cursor(batch, self.cursor.start + len(self.cursor.batch))

    def _catch_up_locked(self) -> None:
        """Fold what was delivered since the last time."""
        cursor, folded = self.cursor, self._fold.count
        delivered = min(cursor.position, len(cursor.batch))
        if cursor.start + delivered > folded:
            self._fold.add(cursor.batch[folded - cursor.start : delivered], folded)

    def completion(self) -> Completion:
        """Return what was delivered so far."""
        with self._lock:
            self._catch_up_locked()
            return self._fold.completion(_INTERRUPTED.get(self.status))

    def settle(self, status: Status, error: BaseException | None = None) -> bool:
        """Let the stream end for its consumer; only the first call counts.

        Returns:
            Whether this call was the first.

        Threads: any. The observers are called in this one.
        """
        first = False
        try:
            with self._lock:
                if self._end is None and not self._state.inherited:
                    self._end = status, error
                    first = True
            if first:
                self._conclude()
        except BaseException:
            self._conclude()
            raise
        return first

    def _conclude(self) -> None:
        """Do what follows from the end, or what is left of it where it was interrupted."""
        concluding = self._concluding  # an observer may fork, and the child gets another one; see inherit
        if self._end is None or self._concluded or not concluding.acquire(blocking=False):
            return  # another thread is doing it
        try:
            error = self._end[1]
            if isinstance(error, StreamError):
                error.partial = self.completion()
            if not self._telling:
                self._telling.append(self._telling_of("stream_ended"))
            self._telling[0].go_on()
            self.on_settled()
            self._concluded = True
        finally:
            concluding.release()

    def abandon(self) -> None:
        """End an open stream at once: what cancelling and dropping it come to. Must not reach ``Stream``.

        A stream that has ended is left alone: its reader may be busy saving the connection for the next.

        Threads: any; never waits.
        """
        if self._state.inherited:
            return
        if self._end is not None:
            self._conclude()
        elif self._at_end:
            self.settle("complete")  # the end itself is all that was not taken
        else:
            self._state.halt()
            self.settle("cancelled")

    def drop(self) -> None:
        """End the stream, as its last reference has gone.

        Threads: any, and at any point of it, as the garbage collector may have found the stream. Observers are not
        told in a thread of the package: it may hold a lock, and others wait for it. They get a thread of their own.
        """
        try:
            if self._observers and isinstance(threading.current_thread(), OwnThread):
                self.halt()
                UnawaitedThread(self.abandon, (), f"streamkit-{self._number}-dropped").start()
            else:
                self.abandon()
        except BaseException as error:
            self.abandon()  # as nobody will do it again
            if not isinstance(error, RuntimeError):  # out of threads
                raise

    def halt(self) -> None:
        """End the reader of an open stream and tell nobody yet; ``abandon`` follows.

        Threads: any; never waits.
        """
        if self._end is None and not self._state.inherited and not self._at_end:
            self._state.halt()

    @property
    def _at_end(self) -> bool:
        cursor = self.cursor
        last = cursor.batch[cursor.position - 1 : cursor.position] if cursor.position else ()
        return bool(last) and last[0].finished

    def inherit(self) -> None:
        """In a forked child, take the place of the parent's delivery, whose locks may be held for ever."""
        self._lock, self._concluding = threading.RLock(), threading.RLock()
        self.cursor = Cursor((), self._fold.count)

    def started(self) -> None:
        """Tell the observers of the start."""
        self._telling_of("stream_started").go_on()

    def _telling_of(self, method: str) -> Telling:
        return Telling(self._observers, method, self._report()) if self._observers else Telling((), method, None)

    def _report(self) -> Report:
        response = self._state.response
        return Report(
            self._number,
            self._provider,
            self._model,
            self.status,
            self.stats(),
            self.completion(),
            self.error,
            response.request_id if response else None,
        )

    def stats(self) -> Stats:
        """Return the figures so far."""
        state = self._state
        started, first = state.deadlines.started_at, state.first_chunk_at
        return Stats(
            None if first is None else first - started,
            (state.ended_at or time.monotonic()) - started,
            state.chunks,
            state.received,
            state.attempts,
            state.channel.peak,
            state.blocked,
        )
