"""Being told of streams: usage tracking, logging and tracing hang here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

import attrs

from streamkit.observing.status import Status
from streamkit.values.completion import Completion

__all__ = ["Observer", "Report", "Stats", "tell"]

_log = logging.getLogger("streamkit")


@attrs.frozen
class Stats:
    """Figures of one stream, so far or in the end.

    Attributes:
        time_to_first_chunk: seconds from the start of the stream to the arrival of its first chunk.
        duration: seconds from the start to the end, or to now.
        chunks: chunks that arrived.
        bytes: bytes of the body that arrived, decompressed.
        attempts: requests sent.
        queue_peak: the most chunks that waited in the queue.
        blocked: seconds that the reader waited for the consumer to make room.
    """

    time_to_first_chunk: float | None
    duration: float
    chunks: int
    bytes: int
    attempts: int
    queue_peak: int
    blocked: float


@attrs.frozen
class Report:
    """What an observer is told of a stream.

    Attributes:
        id: of the stream, unique in the process.
        provider: the provider's name.
        model: the model that was asked for, without the provider's segment.
        status: ``open`` at the start; how it ended at the end.
        stats: figures.
        completion: what was delivered.
        error: what ended it, if an error did.
        request_id: the provider's id of the request, where it sent one.
    """

    id: int
    provider: str
    model: str
    status: Status
    stats: Stats
    completion: Completion
    error: BaseException | None = None
    request_id: str | None = None


class Observer:
    """Base of observers; override what is of interest.

    Each method is called in a thread of the program that uses the streams, never in a reader's. What one
    raises is logged to the logger ``streamkit`` and does not touch the stream. The garbage collector may end
    a stream that was dropped at any point of a program, so a lock that is held in here is an ``RLock``.
    """

    def stream_started(self, report: Report) -> None:
        """Called once for each stream, when it starts."""

    def stream_ended(self, report: Report) -> None:
        """Called exactly once for each stream, however it ends, in the thread that learns of it first."""


def tell(observers: Sequence[Observer], method: str, report: Report) -> None:
    """Call one method of all observers, each of them whatever another one raises."""
    if not observers:
        return
    try:
        _tell_one(observers[0], method, report)
    finally:  # also after Ctrl-C, which is raised when all were called
        tell(observers[1:], method, report)


def _tell_one(observer: Observer, method: str, report: Report) -> None:
    try:
        getattr(observer, method)(report)
    except Exception:
        with suppress(Exception):  # a filter or a handler of the program's logging may raise
            _log.exception("%s.%s failed", type(observer).__name__, method)
