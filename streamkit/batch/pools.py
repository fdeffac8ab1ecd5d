"""Where prompts are asked: ``Threads`` of this process, or an ``ExecutorPool``."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import suppress
from functools import partial
from typing import Protocol

from streamkit.batch.asking import Outcome
from streamkit.batch.requests import BatchRequest
from streamkit.batch.state import BatchState, BatchTask
from streamkit.concurrency.own_thread import InterruptibleThread
from streamkit.errors import ConfigError

__all__ = ["ExecutorPool", "Pool", "Threads"]

Ask = Callable[[BatchRequest], Outcome]

_CANCELLED: Outcome = None, None


class Pool(Protocol):
    """Asks prompts.

    Attributes:
        most: how many tasks it takes before the first of them has ended.
    """

    most: int

    def submit(self, task: BatchTask) -> None:
        """Have a task asked, and settled in the state.

        Raises:
            RuntimeError: it cannot be.
        """

    def end(self) -> None:
        """Let go of the threads once they have nothing to do; never waits."""

    def join(self, seconds: float) -> None:
        """Wait until they have gone, after ``end``."""


class Threads:
    """Threads of this process; each asks one prompt at a time.

    Each task that is submitted starts another thread, up to their number. As many tasks as there are threads may wait
    for one, so that no thread waits while the program's loop is busy.

    Owner of the fields: the program's thread alone uses ``_started``; the queue has its own lock.

    Args:
        ask: asks one prompt.
        state: is told what came of it.
        count: of the threads.
    """

    def __init__(self, ask: Ask, state: BatchState, count: int) -> None:
        self.most = 2 * count
        self._count = count
        self._ask = ask
        self._state = state
        self._tasks: queue.SimpleQueue[BatchTask | None] = queue.SimpleQueue()
        self._started: list[threading.Thread] = []

    def submit(self, task: BatchTask) -> None:
        """See ``Pool``."""
        if len(self._started) < self._count:
            name = f"streamkit-batch-{len(self._started) + 1}"
            args = self._tasks, self._ask, self._state
            thread = InterruptibleThread(target=_work, args=args, name=name, daemon=True)
            self._started.append(thread)  # before it runs: end() has to know of it
            try:
                thread.start()
            except RuntimeError:  # out of threads
                self._started.remove(thread)
                if not self._started:
                    raise
                self._count = len(self._started)
        self._state.begun()
        self._tasks.put(task)
        if self._state.stop.is_set():  # by another thread; those that would take the task may have gone
            self._drain()

    def _drain(self) -> None:
        with suppress(queue.Empty):
            while True:
                task = self._tasks.get_nowait()
                if task is not None:
                    self._state.settle(task, _CANCELLED)
        self.end()

    def end(self) -> None:
        """See ``Pool``."""
        for _ in self._started:
            self._tasks.put(None)

    def join(self, seconds: float) -> None:
        """See ``Pool``."""
        deadline = time.monotonic() + seconds
        for thread in self._started:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))


def _work(tasks: queue.SimpleQueue[BatchTask | None], ask: Ask, state: BatchState) -> None:
    """Ask one prompt after another, in a thread of a pool."""
    while (task := tasks.get()) is not None:
        outcome: Outcome = _CANCELLED
        try:
            if state.may_start:
                outcome = ask(task.request)
        except BaseException as error:  # of a validator or an observer of the program's, such as SystemExit
            outcome = None, RuntimeError(f"{type(error).__name__}: {error}")
        finally:
            state.settle(task, outcome)
        del task, outcome  # or the last reply would stay while the thread waits


class ExecutorPool:
    """An executor of the program's: threads, processes, or those of other machines.

    Owner of the fields: ``_futures`` is a set of which each single operation is atomic.

    Args:
        ask: asks one prompt; an executor of processes pickles it.
        state: is told what came of it.
        executor: that calls it.
        count: how many tasks it is given at once.
    """

    def __init__(self, ask: Ask, state: BatchState, executor: Executor, count: int) -> None:
        self.most = count
        self._ask = ask
        self._state = state
        self._executor = executor
        self._futures: set[Future[Outcome]] = set()

    def submit(self, task: BatchTask) -> None:
        """See ``Pool``."""
        self._state.begun()
        try:
            future = self._executor.submit(self._ask, task.request)
        except BaseException as error:
            self._state.settle(task, _CANCELLED)
            if isinstance(error, Exception):
                self._state.fail(_reason(error))
                return
            raise
        self._futures.add(future)
        if self._state.stop.is_set():  # by another thread
            future.cancel()
        future.add_done_callback(partial(_done, self._futures, self._state, task))

    def end(self) -> None:
        """See ``Pool``: those that the executor has not begun are never asked; it cannot end others elsewhere."""
        for future in list(self._futures):
            future.cancel()

    def join(self, seconds: float) -> None:
        """Wait for nothing: the executor is the program's."""


def _done(futures: set[Future[Outcome]], state: BatchState, task: BatchTask, future: Future[Outcome]) -> None:
    """Settle a task, in whatever thread the executor calls this."""
    futures.discard(future)
    outcome = _CANCELLED
    try:
        outcome = future.result()
    except CancelledError:
        pass
    except Exception as error:
        reason = _reason(error)
        if isinstance(reason, (BrokenExecutor, ConfigError)) or type(error).__name__ == "PicklingError":
            state.fail(reason)  # it would be the same with all others
        else:
            outcome = None, reason  # of this prompt: its machine has gone, for example
    except BaseException:  # Ctrl-C in a terminal goes to the processes of an executor too
        outcome = _CANCELLED
    finally:
        state.settle(task, outcome)


def _reason(error: Exception) -> Exception:
    """Return the error of ours that an executor's own was caused by, or else its own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigError):
            return cause.with_traceback(None)
        cause = cause.__cause__ or cause.__context__
    return error
