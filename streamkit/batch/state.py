"""What the threads of a batch and the program's thread share: ``BatchState``."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs

from streamkit.batch.asking import Outcome
from streamkit.batch.requests import BatchRequest
from streamkit.batch.saving import Entry, ResultFile
from streamkit.batch.values import BatchResult, BatchTotals
from streamkit.concurrency.late_import import late_import
from streamkit.concurrency.stop import ReentrantEvent, StopEvent
from streamkit.errors import BatchLimitError, ConfigError, StreamCancelledError
from streamkit.values.completion import Completion

__all__ = ["BatchState", "BatchTask"]


@attrs.frozen
class BatchTask:
    """A prompt that is to be asked.

    Attributes:
        index, prompt, key: as in its result.
        request: what is asked.
        digest: of the request, for the file; "" without one.
    """

    index: int
    prompt: Any
    request: BatchRequest
    key: str
    digest: str


class BatchState:
    """Knows what was asked and what came of it. It does not refer to the ``Batch``.

    Owner of the fields: ``_lock`` guards ``_totals``, ``undone``, ``limit`` and ``failure``. Threads of the batch
    append to ``ended``, and the program's thread takes from it, both by single atomic operations. ``stop`` and ``news``
    have locks of their own. The lock is reentrant, as a signal handler may look at the totals.

    Attributes:
        stop: set when the batch was closed, or the program's own stop event was set.
        ended: results that the program has not taken.
        news: set when anything has ended.
        undone: tasks that were handed to the threads, and have not ended.
        limit: the limit that was reached, for the program.
        failure: why the batch cannot go on, for the program.
        file: of ``save=``.
    """

    def __init__(self, file: ResultFile | None, *, max_cost: float | None, max_failures: int | None) -> None:
        self.stop = StopEvent()
        self.ended: deque[BatchResult[Any]] = deque()
        self.news = ReentrantEvent()
        self.undone = 0
        self.limit: BatchLimitError | None = None
        self.failure: Exception | None = None
        self.file = file
        self.began: float | None = None
        self._over: float | None = None
        self._max_cost = max_cost
        self._max_failures = max_failures
        self._lock = threading.RLock()
        self._totals = BatchTotals(cost=None if file is None else file.cost)
        self._check_cost()

    @property
    def may_start(self) -> bool:
        """Whether anything more may be asked."""
        return self.limit is None and self.failure is None and not self.stop.is_set()

    @property
    def totals(self) -> BatchTotals:
        """The figures so far."""
        began, over = self.began, self._over
        seconds = 0.0 if began is None else (over or time.monotonic()) - began
        return attrs.evolve(self._totals, seconds=seconds)

    def begin(self) -> None:
        """Start the clock."""
        if self.began is None:
            self.began = time.monotonic()

    def finish(self) -> None:
        """Stop the clock."""
        if self._over is None:
            self._over = time.monotonic()

    def begun(self) -> None:
        """Note that a task is handed to the threads."""
        with self._lock:
            self.undone += 1

    def saved(self, result: BatchResult[Any]) -> None:
        """Take in a result that the file had."""
        with self._lock:
            totals = self._totals
            self._totals = attrs.evolve(totals, answered=totals.answered + 1, saved=totals.saved + 1)
        self.ended.append(result)

    def settle(self, task: BatchTask, outcome: Outcome) -> None:
        """Take in what came of a task that was handed to the threads. Neither a reply nor an error is a cancel.

        Threads: any.
        """
        completion, error = outcome
        if isinstance(error, StreamCancelledError) and self.stop.is_set():
            error = None
        try:
            if completion is not None or error is not None:
                self.take(task, completion, error)
        finally:
            with self._lock:
                self.undone -= 1  # after the result, see Batch._advance
            self.news.set()

    def take(self, task: BatchTask, completion: Completion | None, error: Exception | None) -> None:
        """Take in a result: save it, count it, and have the program get it."""
        cost = _cost_of(completion, error)
        try:
            if self.file is not None:
                entry = Entry(task.index, task.digest, task.key, completion is not None, cost)
                self.file.add(entry, task.prompt, completion, error)
        except Exception as failure:  # the disk is full, for example
            self.fail(failure)
        finally:
            self._count(completion, error, cost)
            self.ended.append(BatchResult(task.index, task.prompt, completion, error, task.key))

    def fail(self, failure: Exception) -> None:
        """End the batch: nothing more is asked, and the program gets the error after all results."""
        with self._lock:
            self.failure = self.failure or failure
        self.news.set()

    def _count(self, completion: Completion | None, error: Exception | None, cost: float | None) -> None:
        partial = completion if completion is not None else getattr(error, "partial", None)
        usage = getattr(partial, "usage", None)
        with self._lock:
            old = self._totals
            self._totals = BatchTotals(
                old.answered + (error is None),
                old.failed + (error is not None),
                old.saved,
                old.input_tokens + (getattr(usage, "input_tokens", None) or 0),
                old.output_tokens + (getattr(usage, "output_tokens", None) or 0),
                old.cost if cost is None else (old.cost or 0.0) + cost,
            )
            if self._max_cost is not None and completion is not None and cost is None:
                self.failure = self.failure or _unknown_cost(completion)
            self._check_cost()
            most = self._max_failures
            if most is not None and self._totals.failed > most and self.limit is None:
                self.limit = BatchLimitError(
                    f"{self._totals.failed} prompts have failed, and max_failures is {most}; nothing more is asked",
                    limit="max_failures",
                )

    def _check_cost(self) -> None:
        spent, most = self._totals.cost, self._max_cost
        if most is not None and spent is not None and spent >= most * (1 - 1e-9) and self.limit is None:
            self.limit = BatchLimitError(
                f"the replies have cost ${spent:.4f}, and max_cost is ${most:g}; nothing more is asked",
                limit="max_cost",
            )


def _cost_of(completion: Completion | None, error: Exception | None) -> float | None:
    known = completion if completion is not None else getattr(error, "partial", None)
    return known.cost if isinstance(known, Completion) else None


def _unknown_cost(completion: Completion) -> ConfigError:
    whose = f"{completion.provider}/{completion.model}"
    require: Callable[[], None] = late_import("streamkit.models.prices").require
    try:
        require()
    except ConfigError as error:
        return ConfigError(f"max_cost cannot be kept, as what a reply of {whose} costs is unknown: {error}")
    return ConfigError(
        f"max_cost cannot be kept, as what a reply of {whose} costs is unknown: neither its provider nor the list "
        "prices say it"
    )
