"""The consumer's side of a stream: what was delivered, and how the stream ended.

``Delivery`` is separate from ``Stream`` because it has to live longer: when the last reference to a stream is dropped,
the observers still get a report of what was delivered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import attrs

from streamkit.concurrency.own_thread import OwnThread
from streamkit.observing.observers import Observer, Report, Stats, Telling, TriedRoute
from streamkit.observing.status import Status
from streamkit.providers.call import ChatRequest
from streamkit.streaming.ending import Ending
from streamkit.streaming.shared_state import StreamState
from streamkit.values.chunks import Chunk, FinishReason
from streamkit.values.completion import Completion, Fold, Parse

__all__ = ["INTERRUPTED", "Cursor", "Delivery", "keep"]

#: The finish reason of a reply that did not come to its own end, by the status of its stream.
INTERRUPTED: dict[Status, FinishReason] = {
    "cancelled": "cancelled",
    "truncated": "error",
    "timeout": "error",
    "error": "error",
}
_FOLDED_AT_ONCE = 64  # chunks that were diverted
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


class Delivery(Ending):
    """The receiving half of one stream: the current batch, the fold, the end.

    Owner of the fields: ``_lock`` guards ``_fold``, ``_diverted``, ``_done_diverted`` and the replacement of ``cursor``
    (by the consumer's thread alone);
    ``cursor`` may be read without a lock, by a single read. The stream's constructor sets ``on_settled`` before the
    worker runs; the thread that closes the stream sets ``closed_early``. The others never change, or are those of
    ``Ending``.

    Args:
        state: what the worker shares.
        number: of the stream.
        observers: what was passed as ``observers=``.
        part_of: the number of the run that the stream is a part of, and that of the round; ``None`` for neither.

    Attributes:
        closed_early: whether the stream was closed, or a loop over it was left, before its end.
    """

    def __init__(
        self,
        state: StreamState,
        number: int,
        observers: Sequence[Observer],
        part_of: tuple[int, int] | None = None,
        parse: Parse | None = None,
    ) -> None:
        super().__init__(observers, "stream_started", "stream_ended")
        self.cursor = Cursor()
        self.closed_early = False
        self._state = state
        self._number = number
        self._part_of = part_of
        self._fold = Fold(*state.route, parse)
        self._diverted: list[Chunk] = []  # delivered otherwise, and not folded yet
        self._done_diverted = False

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's stream."""
        return self._state.inherited

    def take(self, batch: Sequence[Chunk]) -> None:
        """Replace the current batch, all of which was delivered, by a new one; do nothing after the end."""
        with self._lock:
            self._catch_up_locked()
            if self._end is None:
                self.cursor = Cursor(batch, self.cursor.start + len(self.cursor.batch))

    def delivered(self, batch: Sequence[Chunk]) -> None:
        """Note a batch that was delivered otherwise than through ``cursor``, after all that came through it.

        Threads: the reader's; see ``Stream.divert``.
        """
        with self._lock:
            if self._end is None:
                self._diverted += batch
                self._done_diverted = batch[-1].finished
                if len(self._diverted) >= _FOLDED_AT_ONCE:
                    self._catch_up_locked()

    def _catch_up_locked(self) -> None:
        """Fold the chunks that were delivered since the last call."""
        cursor, folded = self.cursor, self._fold.count
        if not folded:
            self._fold.asked(*self._state.route)  # the worker may have gone to another one
        delivered = min(cursor.position, len(cursor.batch))
        if cursor.start + delivered > folded:
            self._fold.add(cursor.batch[folded - cursor.start : delivered], folded)
        if self._diverted:
            diverted, self._diverted = self._diverted, []
            self._fold.add(diverted)

    def completion(self) -> Completion:
        """Return the completion of the chunks delivered so far."""
        with self._lock:
            self._catch_up_locked()
            return self._fold.completion(INTERRUPTED.get(self.status))

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
        elif self.at_end:
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
        if self._end is None and not self._state.inherited and not self.at_end:
            self._state.halt()

    @property
    def at_end(self) -> bool:
        """Whether the ``done`` chunk was delivered."""
        cursor = self.cursor
        last = cursor.batch[cursor.position - 1 : cursor.position] if cursor.position else ()
        return self._done_diverted or (bool(last) and last[0].finished)

    def inherit(self) -> None:
        """Make this a forked child's copy, with locks of its own and nothing to deliver."""
        self.renew_locks()
        self.cursor = Cursor((), self._fold.count)

    def started(self, chat: ChatRequest | None = None) -> None:
        """Report the start to the observers, with the request."""
        if chat is None:
            super().started()
        else:
            report = attrs.evolve(self._report(), messages=chat.messages, params=chat.params)
            Telling(self._observers, self._methods[0], report).go_on()

    def _report(self) -> Report:
        response = self._state.response
        run, round = self._part_of or (None, 0)
        return Report(
            self._number,
            *self._state.route,
            self.status,
            self.stats(),
            self.completion(),
            self.error,
            response.request_id if response else None,
            run,
            round,
            self._state.address,
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
            (*state.left, TriedRoute("/".join(state.route), "", *state.since_last_route())),
            recovered=state.recovered,
            arrivals=tuple((at - started, count) for at, count in tuple(state.arrivals or ())),
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
