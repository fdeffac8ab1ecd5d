"""Being told of streams: usage tracking, logging and tracing hang here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from operator import length_hint, methodcaller

import attrs

from streamkit.observing.status import Status
from streamkit.values.completion import Completion

__all__ = ["Observer", "Report", "Stats", "Telling"]

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


class Telling:
    """Calls one method of all observers, each exactly once, also where that is interrupted and gone on with.

    Threads: one at a time. A signal handler may go on with it in the middle of a call.

    Args:
        observers: what was passed as ``observers=``.
        method: the name of the method.
        report: what it is called with; ``None`` where there are no observers.
    """

    def __init__(self, observers: Sequence[Observer], method: str, report: Report | None) -> None:
        self._observers = tuple(observers)
        self._method = method
        self._left = iter(self._observers)
        self._calls = map(methodcaller(method, report), self._left)

    def go_on(self) -> None:
        """Call those that were not called yet. What one raises is logged; an interrupt goes through."""
        while length_hint(self._left):
            try:
                # Takes an observer and calls it without a bytecode of ours in between, where an interrupt could come.
                next(self._calls, None)
            except Exception:
                failed = self._observers[-1 - length_hint(self._left)]
                with suppress(Exception):  # a handler or a filter of the program's may fail as well
                    _log.exception("%s.%s failed", type(failed).__name__, self._method)
