"""What a consumer has had of a stream, and how it ended for it.

It stands apart from ``Stream`` because it must outlive it by a moment: when the last reference to a stream
is dropped, what was received is still reported to the observers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from streamkit.errors import StreamError
from streamkit.observing.observers import Observer, Report, Stats, tell
from streamkit.observing.status import Status
from streamkit.streaming.shared_state import StreamState
from streamkit.values.chunks import Chunk, FinishReason
from streamkit.values.completion import Completion, Fold

__all__ = ["Delivery"]

_INTERRUPTED: dict[Status, FinishReason] = {
    "cancelled": "cancelled",
    "truncated": "error",
    "timeout": "error",
    "error": "error",
}


class Delivery:
    """The receiving half of one stream: the batch being handed out, the fold, the status.

    ``batch`` and ``position`` belong to the consumer's thread; a chunk counts as delivered when ``position``
    is past it. ``_lock`` guards the fold, ``_folded`` and the change of ``status`` from ``open``, which
    happens once. It is reentrant, as a cancel may come from a signal handler or the garbage collector.
    """

    def __init__(
        self, state: StreamState, number: int, provider: str, model: str, observers: Sequence[Observer]
    ) -> None:
        self.batch: Sequence[Chunk] = ()
        self.position = 0
        self.status: Status = "open"
        self.error: BaseException | None = None
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
        self._folded = 0
        self._folding = False
        self._postponed: tuple[Status, BaseException | None] | None = None

    def take(self, batch: Sequence[Chunk]) -> None:
        """Make a new batch the current one, the last having been delivered, unless it is too late."""
        with self._lock:
            if self.status == "open":
                rest = self.batch[self._folded :] if self._folded else self.batch
                self.batch, self.position, self._folded = batch, 0, 0
                self._fold_locked(rest)

    def _catch_up_locked(self) -> None:
        delivered = min(self.position, len(self.batch))
        if delivered > self._folded:
            # Counted first: a signal handler may look in the middle of it, and must not fold it again.
            undone, self._folded = self.batch[self._folded : delivered], delivered
            self._fold_locked(undone)

    def _fold_locked(self, chunks: Sequence[Chunk]) -> None:
        """Fold, and settle afterwards if a signal handler wanted to in the middle of it."""
        self._folding = True
        try:
            self._fold.add(chunks)
        finally:
            self._folding = False
        if self._postponed is not None:
            postponed, self._postponed = self._postponed, None
            self.settle(*postponed)

    def completion(self) -> Completion:
        """Return what was delivered so far."""
        with self._lock:
            self._catch_up_locked()
            return self._fold.completion(_INTERRUPTED.get(self.status))

    def settle(self, status: Status, error: BaseException | None = None) -> bool:
        """Let the stream end for its consumer; the first to say so is right.

        Returns:
            Whether this call was the first.

        Threads: any. The observers are called in this one.
        """
        with self._lock:
            if self.status != "open" or self._postponed is not None or self._state.inherited:
                return False
            if self._folding:  # this very thread is; what it has in hand belongs to what was delivered
                self._postponed = (status, error)
                return True
            self.status = status
            self.error = error
            self._catch_up_locked()
            if isinstance(error, StreamError):
                error.partial = self.completion()
        self.on_settled()
        self._tell("stream_ended")
        return True

    def abandon(self) -> None:
        """End an open stream at once: what cancelling and dropping it come to. Must not reach ``Stream``.

        A stream that has ended is left alone: its reader may be busy saving the connection for the next.

        Threads: any; never waits.
        """
        if self.status != "open" or self._state.inherited:
            return
        if self._at_end:
            self.settle("complete")  # the end itself is all that was not taken
        else:
            self._state.halt()
            self.settle("cancelled")

    def halt(self) -> None:
        """End the reader of an open stream and tell nobody yet; ``abandon`` follows.

        Threads: any; never waits.
        """
        if self.status == "open" and not self._state.inherited and not self._at_end:
            self._state.halt()

    @property
    def _at_end(self) -> bool:
        last = self.batch[self.position - 1 : self.position] if self.position else ()
        return bool(last) and last[0].finished

    def inherit(self) -> None:
        """In a forked child, take the place of the parent's delivery, whose lock may be held for ever."""
        self._lock = threading.RLock()
        self.batch = ()

    def started(self) -> None:
        """Tell the observers of the start."""
        self._tell("stream_started")

    def _tell(self, method: str) -> None:
        if self._observers:
            tell(self._observers, method, self._report())

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
