"""The consumer's side of a stream: what was delivered, and how the stream ended.

``Delivery`` is separate from ``Stream`` because it has to live longer: when the last reference to a stream is dropped,
the observers still get a report of what was delivered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from streamkit.concurrency.own_thread import OwnThread
from streamkit.errors import StreamError
from streamkit.observing.observers import Observer, Report, Stats, Telling
from streamkit.observing.status import Status
from streamkit.streaming.shared_state import StreamState
from streamkit.values.chunks import Chunk, FinishReason
from streamkit.values.completion import Completion, Fold, Parse

__all__ = ["Cursor", "Delivery", "keep"]

_INTERRUPTED: dict[Status, FinishReason] = {
    "cancelled": "cancelled",
    "truncated": "error",
    "timeout": "error",
    "error": "error",
}
_SHOWN = 40  # characters of the text's end in a note


class Cursor:
    """A batch of chunks and the position of the next one to deliver.

    A chunk counts as delivered when ``position`` is past it. Batch and position are in one object, so that a single
    assignment replaces both.

    Owner of the fields: the consumer's thread alone writes ``position``; any thread may read it. ``batch`` and
    ``start`` never change.

    Args:
        batch: the chunks.
        start: the number of the batch's first chunk in the stream.
    """

    __slots__ = ("batch", "position", "start")

    def __init__(self, batch: Sequence[Chunk] = (), start: int = 0) -> None:
        self.batch = batch
        self.start = start
        self.position = 0


class Delivery:
    """The receiving half of one stream: the current batch, the fold, the end.

    Owner of the fields: ``_lock`` guards ``_fold``, the replacement of ``cursor`` (by the consumer's thread alone) and
    the change of ``_end`` from ``None``, which happens once. ``_concluding`` guards ``_telling`` and ``_concluded``,
    which goes from False to True once. ``cursor``, ``_end`` and ``_concluded`` may be read without a lock, each by a
    single read. The stream's constructor sets ``on_settled`` before the worker runs; the thread that closes the stream
    sets ``closed_early``. The others never change. In a forked child ``inherit`` replaces both locks. The locks are
    reentrant, because a signal handler or the garbage collector may cancel a stream in a thread that holds one.

    An exception may interrupt every method at any bytecode: Ctrl-C, or the time limit of a worker process. So state
    changes after the work, never before it, and the next call finishes what an interrupted one left.

    Attributes:
        closed_early: whether the stream was closed, or a loop over it was left, before its end.
        on_settled: called once the end was reported.
    """

    def __init__(
        self,
        state: StreamState,
        number: int,
        provider: str,
        model: str,
        observers: Sequence[Observer],
        parse: Parse | None = None,
    ) -> None:
        self.cursor = Cursor()
        # It detaches the stream's finalizer, which refers to this object. Otherwise a stream whose error has a
        # traceback would stay alive for ever: finalizer -> this object -> error -> traceback -> stream.
        self.on_settled: Callable[[], object] = lambda: None
        self.closed_early = False
        self._state = state
        self._number = number
        self._provider = provider
        self._model = model
        self._observers = observers
        self._lock = threading.RLock()
        self._fold = Fold(provider, model, parse)
        self._end: tuple[Status, BaseException | None] | None = None
        self._concluding = threading.RLock()
        self._concluded = False
        self._telling: list[Telling] = []  # the first one counts: a handler may put its own before this thread's

    @property
    def status(self) -> Status:
        """The stream's status, as its consumer sees it."""
        return "open" if self._end is None else self._end[0]

    @property
    def error(self) -> BaseException | None:
        """The error that ended the stream, or ``None``."""
        return None if self._end is None else self._end[1]

    def take(self, batch: Sequence[Chunk]) -> None:
        """Replace the current batch, all of which was delivered, by a new one; do nothing after the end."""
        with self._lock:
            self._catch_up_locked()
            if self._end is None:
                self.cursor = Cursor(batch, self.cursor.start + len(self.cursor.batch))

    def _catch_up_locked(self) -> None:
        """Fold the chunks that were delivered since the last call."""
        cursor, folded = self.cursor, self._fold.count
        delivered = min(cursor.position, len(cursor.batch))
        if cursor.start + delivered > folded:
            self._fold.add(cursor.batch[folded - cursor.start : delivered], folded)

    def completion(self) -> Completion:
        """Return the completion of the chunks delivered so far."""
        with self._lock:
            self._catch_up_locked()
            return self._fold.completion(_INTERRUPTED.get(self.status))

    def settle(self, status: Status, error: BaseException | None = None) -> bool:
        """End the stream for its consumer; only the first call has an effect.

        Returns:
            Whether this call was the first.

        Threads: any. The observers are called in the calling thread.
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
        """Set the error's partial reply and call the observers; finish a call that was interrupted."""
        concluding = self._concluding  # an observer may fork, and the child gets another one; see inherit
        if self._end is None or self._concluded or not concluding.acquire(blocking=False):
            return  # another thread does it
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
        """Cancel an open stream: for ``cancel()`` and for a dropped stream. Must not refer to the ``Stream``.

        Do not halt the reader of a stream that has ended: it may be reading the rest of the body, so that the next
        request can reuse the connection.

        Threads: any; never waits, except for the observers, which are called in the calling thread.
        """
        if self._state.inherited:
            return
        if self._end is not None:
            self._conclude()
        elif self._at_end:
            self.settle("complete")  # only the outcome was not taken yet
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
                OwnThread(self.abandon, (), f"streamkit-{self._number}-dropped").start()
            else:
                self.abandon()
        except BaseException as error:
            self.abandon()  # as nobody will do it again
            if not isinstance(error, RuntimeError):  # out of threads
                raise

    def halt(self) -> None:
        """Halt the reader of an open stream without calling observers; the caller calls ``abandon`` later.

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
        """Replace the locks in a forked child: threads of the parent may have held them at the time of the fork."""
        self._lock, self._concluding = threading.RLock(), threading.RLock()
        self.cursor = Cursor((), self._fold.count)

    def started(self) -> None:
        """Report the start to the observers."""
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


def keep(error: BaseException, partial: Completion) -> None:
    """Attach what came of a reply to an exception that interrupted its delivery, such as ``KeyboardInterrupt``.

    The exception gets the attribute ``partial``, and from Python 3.11 a note with the end of the text. One that accepts
    neither stays as it is.
    """
    with suppress(Exception):
        error.partial = partial  # type: ignore[attr-defined]
    text = partial.text
    if not text:
        return
    end = f"...{text[-_SHOWN:]}" if len(text) > _SHOWN else text
    note = f"The reply so far, {len(text)} characters, is in the exception's .partial: {end!r}"
    with suppress(Exception):
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)  # type: ignore[attr-defined]
