"""What was delivered of a stream that changes the chunks of another one: ``Redelivery``."""

from __future__ import annotations

import os
from typing import Any

from streamkit.observing.status import Status
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.delivery import INTERRUPTED
from streamkit.streaming.ending import Ending
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion, Fold, Parse

__all__ = ["Received", "Redelivery"]

_MANY = 256  # delivered chunks that are kept until somebody looks at the completion


class _Delivered:
    """Delivered chunks, the number of the first, and the round before it.

    Replaced as one; the consumer's thread alone appends.
    """

    __slots__ = ("chunks", "round", "start")

    def __init__(self, start: int, round: int) -> None:
        self.start = start
        self.round = round
        self.chunks: list[Chunk] = []


class Received(Ending):
    """What was delivered of a stream that has no reader of its own, and how it ended.

    Owner of the fields: ``_lock`` guards ``_fold`` and the replacement of ``_delivered``, by the consumer's thread
    alone. That thread writes ``traceback``, and the one that closes the stream ``closed_early``.

    Args:
        provider: its name.
        model: the requested one.
        parse: for ``Completion.parsed``; ``None`` where no type was asked for.

    Attributes:
        closed_early: whether the stream was closed, or a loop over it was left, before its end.
        traceback: where code of the user's own has failed.
    """

    def __init__(self, provider: str, model: str, parse: Parse | None) -> None:
        super().__init__((), "stream_started", "stream_ended")  # the stream inside has the observers, if there is one
        self._made_by = self._pid = os.getpid()
        self._fold = Fold(provider, model, parse)
        self._delivered = _Delivered(0, 0)
        self.closed_early = False
        self.traceback: Any = None

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's stream."""
        return self._made_by != os.getpid()

    @property
    def round(self) -> int:
        """The round of the last chunk that was delivered."""
        delivered = self._delivered
        last = delivered.chunks[-1:]
        return last[0].round if last else delivered.round

    @property
    def count(self) -> int:
        """Chunks that were delivered."""
        delivered = self._delivered
        return delivered.start + len(delivered.chunks)

    def deliver(self, chunk: Chunk) -> None:
        """Count a chunk as delivered."""
        delivered = self._delivered
        delivered.chunks.append(chunk)
        if len(delivered.chunks) >= _MANY:
            with self._lock:
                self._catch_up_locked()
                self._delivered = _Delivered(self._fold.count, chunk.round)

    def _catch_up_locked(self) -> None:
        delivered, folded = self._delivered, self._fold.count
        self._fold.add(delivered.chunks[folded - delivered.start :], folded)

    def completion(self) -> Completion:
        """Return the completion of the chunks delivered so far."""
        if self._pid != os.getpid():  # a thread of the parent may have held the lock at the fork
            self._pid = os.getpid()
            self.renew_locks()
        with self._lock:
            self._catch_up_locked()
            return self._fold.completion(INTERRUPTED.get(self.status))

    def abandon(self) -> None:
        """Cancel what is open; where only the end was not taken yet, this is it."""
        last = self._delivered.chunks[-1:]
        self.settle(self._end_after_all() if last and last[0].finished else "cancelled")

    def _end_after_all(self) -> Status:
        """Return how it ends once the ``done`` chunk was delivered."""
        return "complete"

    def _report(self) -> Any:
        return None


class Redelivery(Received):
    """What was delivered of a stream whose chunks are not those of the stream inside, and how it ended."""

    def __init__(self, inner: ChunkStream) -> None:
        so_far, output = inner.completion, inner._output
        super().__init__(so_far.provider, so_far.model, None if output is None else output.parsed)
        self._inner = inner

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's stream."""
        return self._inner.inherited

    def _catch_up_locked(self) -> None:
        if not self._fold.count:
            so_far = self._inner.completion  # a stream with several routes may have gone to another one
            self._fold.asked(so_far.provider, so_far.model)
        super()._catch_up_locked()

    def _end_after_all(self) -> Status:
        status = self._inner.status
        return "complete" if status in ("open", "cancelled") else status
