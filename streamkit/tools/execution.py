"""Run the functions of one reply's calls: in the thread of the loop, or in threads of their own."""

from __future__ import annotations

import contextvars
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from streamkit.concurrency.own_thread import InterruptibleThread
from streamkit.concurrency.stop import ReentrantEvent, StopEvent
from streamkit.tools.calls import PendingCall, failure_text
from streamkit.tools.context import ToolContext
from streamkit.tools.results import Content, Media, ResultError, content_of
from streamkit.tools.told_calls import ToldCalls
from streamkit.values.chunks import ToolResult

__all__ = ["Execution"]

_log = logging.getLogger("streamkit")

_ANY = Media(frozenset({"image", "file"}))  # of a report, which no provider is sent


class _Job:
    """One call of a function, in whichever thread.

    Owner of the fields: the thread that runs the function writes ``_begun`` and ``ended``, once each; the loop's thread
    ``left`` and ``_dropped``, once each. ``_lock`` guards the four: a result is taken either in time or never, and a
    function is either called or dropped.
    """

    def __init__(self, pending: PendingCall, context: ToolContext, media: Media) -> None:
        self.pending = pending
        self.context = context
        self.started_at = time.monotonic()
        self.ended = False
        self.left = False
        self._begun = False
        self._dropped = False
        self._media = media
        self._lock = threading.RLock()

    def drop(self) -> bool:
        """Keep the function from being called; return False if it was."""
        with self._lock:
            self._dropped = not self._begun
            return self._dropped

    def run(self) -> None:
        """Call the function and keep what comes of it; an exception that is no ``Exception`` goes through."""
        pending = self.pending
        with self._lock:
            if self._dropped:
                return
            self._begun = True
        assert pending.tool is not None
        assert pending.bound is not None
        try:
            value = pending.tool.call(pending.bound, self.context)
        except Exception as error:
            self.fail(error, failure_text(error))
            return
        try:
            content = content_of(value, self._media)
        except Exception as error:  # also of the program's code: a property, an iterator
            why = str(error) if isinstance(error, ResultError) else f"reading its result failed: {type(error).__name__}"
            self.fail(error, f"The function was called and has returned, but {why}.")
            return
        self._end(None, lambda seconds: pending.answer(content, seconds=seconds, value=value))

    def fail(self, error: BaseException, text: str) -> None:
        """Keep what went wrong.

        Args:
            error: what was raised.
            text: for the model.
        """
        self._end(error, lambda seconds: self.pending.answer(Content(text), error="exception", seconds=seconds))

    def _end(self, error: BaseException | None, answer: Callable[[float], None]) -> None:
        seconds = time.monotonic() - self.started_at
        with self._lock:
            if self.left:
                _log.info(
                    "the tool %s, which had been left running, has ended after %.1f s: %s",
                    self.pending.call.name,
                    seconds,
                    "it returned" if error is None else f"it raised {type(error).__name__}",
                )
            else:
                self.pending.exception = error
                answer(seconds)
            self.ended = True

    def leave(self, limit: float) -> bool:
        """Go on without the function, as its time is over; return False if it has ended meanwhile."""
        with self._lock:
            if self.ended:
                return False
            text = (
                f"The function has not ended after {limit:g} seconds. It is still running, and may have taken effect "
                "or take effect later."
            )
            self.pending.answer(Content(text), error="timeout", seconds=limit, state="running")
            self.left = True
        self.context.stop.set()
        return True


class _ToolThread(InterruptibleThread):
    """A daemon thread for one function of the program, which may never end. It has the caller's context variables."""

    def __init__(self, job: _Job, on_end: Callable[[_Job], object], context: contextvars.Context) -> None:
        super().__init__(target=context.run, args=(job.run,), name=f"streamkit-tool-{job.pending.call.name}")
        self.daemon = True
        self._job = job
        self._on_end = on_end

    def run(self) -> None:
        """Run the function; what it raises beyond an ``Exception`` ends the thread, and counts as a failure."""
        try:
            super().run()
        except BaseException as error:  # such as SystemExit
            self._job.fail(error, failure_text(error))
        finally:
            self._on_end(self._job)


class Execution:
    """Runs the calls of one reply, each at most once, and yields results in the order of the calls.

    Threads: the consumer's thread iterates; ``wake`` may be called by any thread.

    Args:
        parallel: how many functions run at once, in threads, if more than one.
        call_seconds: the limit for each, or ``None``.
        media: what the provider takes in a result.
        context: makes the context for a call: takes the call, its stop event and a function for reports.
        begin: called before a function; returns whether to call it. What it raises ends the run.
        end: called after a function has ended or was left, with whether it has ended; also where it was not called
            after all. One that was left has two calls. Where nothing new may begin any more, the thread of the function
            calls it.
        stopped: whether nothing new may begin.
        deadline: the moment, on ``time.monotonic``, until which the consumer waits.
        told: tells the observers of each call of a function.
        round: the number of the reply's round.
        stop: the run's event; a call with a limit has a child of it.
        news: is set when a function has ended or has reported something, and when the run is cancelled.

    Attributes:
        next_check: the moment, on ``time.monotonic``, at which the time of a call is over.
    """

    def __init__(
        self,
        *,
        parallel: int,
        call_seconds: float | None,
        media: Media,
        context: Callable[[PendingCall, StopEvent, Callable[[Any], object]], ToolContext],
        begin: Callable[[PendingCall], bool],
        end: Callable[[PendingCall, bool], object],
        stopped: Callable[[], bool],
        deadline: Callable[[], float],
        told: ToldCalls,
        round: int,
        stop: StopEvent,
        news: ReentrantEvent,
    ) -> None:
        self._parallel = parallel
        self._call_seconds = call_seconds
        self._media = media
        self._context = context
        self._begin = begin
        self._end = end
        self._stopped = stopped
        self._deadline = deadline
        self._told = told
        self._round = round
        self._stop = stop
        self._news = news
        self._reports: deque[ToolResult] = deque()
        self._jobs: dict[PendingCall, _Job] = {}
        self.next_check = math.inf

    def results(self, calls: Sequence[PendingCall]) -> Iterator[ToolResult | None]:
        """Run the calls that may run, and yield what comes: preliminary results, and one result a call.

        Yields:
            A result; ``None`` where nothing came until the deadline.
        """
        __tracebackhide__ = True
        in_threads = self._parallel > 1 or self._call_seconds is not None
        waiting = deque(pending for pending in calls if pending.runs)
        for pending in calls:
            if in_threads:
                yield from self._wait_for(pending, waiting)
            elif pending.runs:
                if self._stopped():
                    return
                self._run_here(pending)
                yield from self._reported()
            if pending.result is not None:
                yield pending.result

    def _run_here(self, pending: PendingCall) -> None:
        __tracebackhide__ = True
        try:
            if self._begin(pending):
                job = self._job(pending, self._stop)
                context = self._told.start(pending, self._round)
                if context is None:
                    job.run()
                else:
                    context.run(job.run)
        finally:
            self._ended(pending, True)

    def _ended(self, pending: PendingCall, over: bool) -> None:
        """Say that a call needs the loop no longer: it has ended, was left, or was not made."""
        self._end(pending, over)
        self._told.end(pending)

    def _thread_ended(self, job: _Job) -> None:
        if job.left or self._stopped():
            self._end(job.pending, True)
        self._news.set()

    def _job(self, pending: PendingCall, stop: StopEvent) -> _Job:
        call, reports, news = pending.call, self._reports, self._news

        def report(value: Any) -> None:
            if job.ended or job.left:
                return
            content = content_of(value, _ANY)
            seconds = time.monotonic() - job.started_at
            reports.append(
                ToolResult(call.id, call.name, content.text, None, seconds, True, "running", value, content.parts)
            )
            news.set()

        job = _Job(pending, self._context(pending, stop, report), self._media)
        return job

    def _reported(self) -> Iterator[ToolResult]:
        while self._reports:
            yield self._reports.popleft()

    def _wait_for(self, pending: PendingCall, waiting: deque[PendingCall]) -> Iterator[ToolResult | None]:
        """Start functions as others end, until this call has its result or can have none."""
        __tracebackhide__ = True
        while True:
            self._news.clear()
            self._settle()
            self._start(waiting)
            yield from self._reported()
            if pending.result is not None and pending not in self._jobs:
                return
            if self._stopped() or not (pending in self._jobs or pending.runs):
                return
            left = min(self._deadline(), self.next_check) - time.monotonic()
            woken = self._news.wait(None if left == math.inf else max(left, 0.0))
            if not woken and self._deadline() <= time.monotonic():
                yield None

    def _start(self, waiting: deque[PendingCall]) -> None:
        """Start as many functions as may run at once."""
        while waiting and len(self._jobs) < self._parallel and not self._stopped():
            self._start_one(waiting.popleft())
        limit = self._call_seconds
        if limit is not None:
            self.next_check = min((job.started_at + limit for job in self._jobs.values()), default=math.inf)

    def _start_one(self, pending: PendingCall) -> None:
        thread: _ToolThread | None = None
        try:
            if not self._begin(pending):
                return
            stop = self._stop if self._call_seconds is None else self._stop.child()
            job = self._jobs[pending] = self._job(pending, stop)
            context = self._told.start(pending, self._round) or contextvars.copy_context()
            thread = _ToolThread(job, self._thread_ended, context)
        finally:
            if thread is None:
                self._ended(pending, True)
        try:
            thread.start()
        except RuntimeError as error:  # out of threads
            del self._jobs[pending]
            pending.exception = error
            text = f"The function was not called: {error}."
            pending.answer(Content(text), error="exception", state="not begun")
            self._ended(pending, True)
        except BaseException:  # a signal handler's; the thread may have been started, or not
            if job.drop():
                pending.state = "not begun"
                self._ended(pending, True)
            raise

    def _settle(self) -> None:
        """Take functions that have ended, or whose time is over, out of those that run."""
        now, limit = time.monotonic(), self._call_seconds
        for pending, job in list(self._jobs.items()):
            late = limit is not None and now >= job.started_at + limit and not job.ended
            if late and limit is not None:
                job.leave(limit)
            if job.ended or job.left:
                self._ended(pending, not job.left)
                with suppress(KeyError):
                    del self._jobs[pending]
