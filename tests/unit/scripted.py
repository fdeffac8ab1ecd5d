"""A stream whose chunks a test gives: ``Scripted``."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from streamkit import Chunk, ChunkStream, Completion, Stats, StreamError, fold
from streamkit.observing.status import Status

DONE = Chunk("done", finish_reason="stop", raw_finish_reason="stop")


def texts(*pieces: str, round: int = 0) -> list[Chunk]:
    return [Chunk("text", text=piece, raw={"text": piece}, id="r1", round=round) for piece in pieces]


class Scripted(ChunkStream):
    """Delivers chunks; ``None`` among them is a moment in which none has come; an error or the end follows the last.

    Attributes:
        cancelled: whether ``cancel`` was called while it was open.
    """

    def __init__(
        self,
        chunks: Iterable[Chunk | None],
        error: StreamError | None = None,
        status: Status = "complete",
        may_call: bool = False,
    ) -> None:
        self._may_call = may_call
        self._left = deque(chunks)
        self._taken: list[Chunk] = []
        self._end: tuple[Status, StreamError | None] = status, error
        self._status: Status = "open"
        self._listeners: list[Callable[[], object]] = []
        self.cancelled = self.closed = False

    def take(self, seconds: float | None = None) -> Chunk | None:
        if self._status == "open" and self._left:
            while (chunk := self._left.popleft()) is None:
                if seconds is not None:
                    raise queue.Empty
            self._taken.append(chunk)
            return chunk
        if self._status == "open":
            self._status = self._end[0]
        if self.error is not None:
            raise self.error
        return None

    def poll(self) -> bool:
        if self._status == "open" and self._left and self._left[0] is None:
            self._left.popleft()
            return False
        return True

    def next_check(self) -> float:
        return 0.0

    def listen(self, listener: Callable[[], object]) -> None:
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], object]) -> None:
        self._listeners.remove(listener)

    def cancel(self) -> None:
        if self._status == "open":
            self._status = "cancelled"
            self.cancelled = True

    def close(self) -> None:
        self.closed = True
        self.cancel()

    def _leave(self) -> None:
        self.cancel()

    @property
    def completion(self) -> Completion:
        return fold(self._taken, provider="p", model="m")

    @property
    def status(self) -> Status:
        return self._status

    @property
    def error(self) -> StreamError | None:
        return self._end[1] if self._status == self._end[0] else None

    @property
    def stats(self) -> Stats:
        return Stats(None, 0.0, len(self._taken), 0, 1, 0, 0.0)

    inherited: Any = False
    _closed_early: Any = False
    _subject: Any = "p/m"
