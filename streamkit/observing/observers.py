"""Observers, which are called when a stream starts and when it ends: usage tracking, logging, tracing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import length_hint, methodcaller
from typing import Any

import attrs

from streamkit.observing.status import Status
from streamkit.values.chunks import ToolResult
from streamkit.values.completion import Completion
from streamkit.values.messages import ToolCall
from streamkit.values.showing import plot_of

__all__ = ["Observer", "Report", "RunReport", "Stats", "Telling", "ToolReport", "TriedRoute"]

_log = logging.getLogger("streamkit")


@attrs.frozen
class TriedRoute:
    """A route of a stream that was tried.

    Attributes:
        model: with its provider, such as ``openai/gpt-4o-mini``.
        why: why it was left, for people; "" for the route that answered, or is being asked.
        attempts: requests sent.
        seconds: that it took.
        error: the class of the error for which it was left, such as ``RateLimitError``; "" where ``why`` is.
    """

    model: str
    why: str = ""
    attempts: int = 1
    seconds: float = 0.0
    error: str = ""


@attrs.frozen
class Stats:
    """Statistics of one stream, so far or at its end.

    Attributes:
        time_to_first_chunk: seconds from the start of the stream to the arrival of its first chunk.
        duration: seconds from the start to the end, or to now.
        chunks: chunks that arrived.
        bytes: bytes of the body that arrived, decompressed.
        attempts: requests sent.
        queue_peak: the largest number of chunks in the queue.
        blocked: seconds that the reader waited for the consumer to make room.
        routes: the routes that were tried, in order; the last one answered, or is the last that failed.
        cached: whether the reply came from a cache, and no request was sent.
        recovered: how often the reply was gone on with after it had broken off; see ``Recovery``.
        arrivals: for each read of the connection that gave chunks, the seconds from the start and the number of chunks.
            Empty unless the client was made with ``arrivals=True``.
    """

    time_to_first_chunk: float | None
    duration: float
    chunks: int
    bytes: int
    attempts: int
    queue_peak: int
    blocked: float
    routes: tuple[TriedRoute, ...] = ()
    cached: bool = False
    recovered: int = 0
    arrivals: tuple[tuple[float, int], ...] = attrs.field(default=(), repr=False)

    def plot(self, axes: Any = None) -> Any:
        """Draw how the chunks arrived, and return matplotlib's axes.

        Args:
            axes: where to draw; ``None`` for a figure of its own.

        Raises:
            ConfigError: matplotlib is not installed, or nobody kept when they arrived: see ``Client(arrivals=True)``.
        """
        return plot_of(self, axes)


@attrs.frozen
class Report:
    """The state of a stream, passed to observers.

    Attributes:
        id: of the stream, unique in the process.
        provider: the provider's name.
        model: the requested model, without the provider's segment.
        status: ``open`` at the start, and the way the stream ended at the end.
        stats: statistics.
        completion: what was delivered.
        error: the error that ended it, ``None`` if none did.
        request_id: the provider's id of the request, ``None`` if it sent none.
        run: the id of the run with tools that the stream is a part of, ``None`` for a stream of its own.
        round: the number of the request in its run, from 0.
        address: the URL that is asked, without user, query and fragment; "" if unknown.
        messages: what the model was asked, in OpenAI's shape. Only at the start: at the end nothing keeps it any more.
        params: the parameters of the request, in OpenAI's names. Only at the start.
    """

    id: int
    provider: str
    model: str
    status: Status
    stats: Stats
    completion: Completion
    error: BaseException | None = None
    request_id: str | None = None
    run: int | None = None
    round: int = 0
    address: str = ""
    messages: Sequence[Mapping[str, Any]] = attrs.field(default=(), repr=False, hash=False)
    params: Mapping[str, Any] = attrs.field(factory=dict, repr=False, hash=False)


@attrs.frozen
class RunReport:
    """The state of a run with tools, passed to observers. The streams of its rounds have reports of their own.

    Attributes:
        id: of the run, unique in the process.
        provider: the provider's name.
        model: the requested model, without the provider's segment.
        status: ``open`` at the start, and the way the run ended at the end.
        stats: the figures of its streams together. ``duration`` includes the time that functions took.
        completion: the last round's reply, with the usage of all rounds.
        rounds: the completion of each round so far.
        error: the error that ended it, ``None`` if none did.
    """

    id: int
    provider: str
    model: str
    status: Status
    stats: Stats
    completion: Completion
    rounds: tuple[Completion, ...] = ()
    error: BaseException | None = None


@attrs.frozen
class ToolReport:
    """The state of one call of a program's function in a run, passed to observers.

    Attributes:
        run: the id of the run.
        round: the number of the request whose reply asks for the call, from 0.
        call: the call, with the arguments that the model wrote.
        result: ``None`` at the start. At the end, what came of the call: ``error`` says whether it failed, and
            ``state`` whether the function is still running.
        seconds: since the function was called.
        error: what the function raised, ``None`` if nothing.
    """

    run: int
    round: int
    call: ToolCall = attrs.field(repr=False)
    result: ToolResult | None = attrs.field(default=None, repr=False)
    seconds: float = 0.0
    error: BaseException | None = None


class Observer:
    """Base class of observers; override the methods you need.

    Each method is called in a thread of the program that uses the streams, never in a reader's; where a reader
    happens to find a stream that was dropped, in a thread that is started for that. What one raises is logged to the
    logger ``streamkit`` and does not touch the stream. The garbage collector may end a dropped stream at any point of
    a program, so a lock that an observer holds has to be an ``RLock``.

    What ``stream_started`` and ``tool_started`` set in context variables holds in the thread that reads the stream, and
    in the function that is called; not in the caller.

    Attributes:
        repeatable: whether a method that was interrupted, as by Ctrl-C, is called again at once with the same report.
            By default it is false: the call that was interrupted counts.
    """

    repeatable = False

    def stream_started(self, report: Report) -> None:
        """Called once for each stream, when it starts."""

    def stream_ended(self, report: Report) -> None:
        """Called exactly once for each stream, however it ends, in the thread that notices the end first."""

    def run_started(self, report: RunReport) -> None:
        """Called once for each run with tools, when it starts. Each of its streams is reported as well."""

    def run_ended(self, report: RunReport) -> None:
        """Called exactly once for each run with tools, however it ends. Its usage is that of its streams, summed."""

    def tool_started(self, report: ToolReport) -> None:
        """Called once for each call of a function in a run, before it, in the thread of the loop.

        A call for which no function is called is not reported: with wrong arguments, for an unknown tool, rejected.
        """

    def tool_ended(self, report: ToolReport) -> None:
        """Called exactly once for each call that has started, however it ends, and before the end of its run.

        A function that is left running, by the limit of its time or as the run is cancelled, has ended for the run.
        """


class Telling:
    """Calls one method of all observers, each exactly once, also where that is interrupted and gone on with.

    Threads: one at a time. A signal handler may go on with it in the middle of a call.

    Args:
        observers: what was passed as ``observers=``.
        method: the name of the method.
        report: what it is called with; ``None`` where there are no observers.
    """

    def __init__(
        self, observers: Sequence[Observer], method: str, report: Report | RunReport | ToolReport | None
    ) -> None:
        self._observers = tuple(observers)
        self._method = method
        self._call = methodcaller(method, report)
        self._left = iter(self._observers)
        self._calls = map(self._call, self._left)

    def go_on(self) -> None:
        """Call those that were not called yet. What one raises is logged; an interrupt goes through."""
        while length_hint(self._left):
            try:
                # Takes an observer and calls it without a bytecode of ours in between, where an interrupt could come.
                next(self._calls, None)
            except Exception:
                failed = self._last()
                with suppress(Exception):  # a handler or a filter of the program's may fail as well
                    _log.exception("%s.%s failed", type(failed).__name__, self._method)
            except BaseException:
                last = self._last()
                if last is not None and getattr(last, "repeatable", False):
                    self._call(last)
                raise

    def _last(self) -> Observer | None:
        """Return the observer that was called last, ``None`` if none was."""
        number = len(self._observers) - length_hint(self._left)
        return self._observers[number - 1] if number else None
