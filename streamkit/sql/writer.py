"""One thread that writes for all threads of a process: ``Writer``.

Many threads that each commit their own transaction would wait for one another, and for a flush of the disk each. Here
whatever waits is written in one transaction, with one flush.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import attrs
import sqlalchemy as sa
from sqlalchemy import exc

from streamkit.concurrency.own_thread import OwnThread
from streamkit.errors import MisuseError, StoreError

__all__ = ["Group", "Outcome", "Writer", "run_works"]

_T = TypeVar("_T")

_MOST = 256  # operations in a transaction, so that others get the lock of the database as well
_IDLE = 5.0  # seconds without work after which the thread ends
_TRIES = 3  # of a transaction in which a key was taken by another process meanwhile


@attrs.frozen
class Outcome:
    """What became of one operation: its result, or the error that its caller gets."""

    result: Any = None
    error: BaseException | None = None


#: Does the operations of one kind in a transaction, and returns the outcome of each. One that fails has written
#: nothing. What it raises itself rolls the transaction back.
Group: TypeAlias = Callable[[sa.Connection, Sequence[Any]], Sequence[Outcome]]


class _Operation:
    """An operation of a thread that waits for it."""

    __slots__ = ("done", "durable", "group", "item", "outcome")

    def __init__(self, group: Group, item: Any, durable: bool) -> None:
        self.group = group
        self.durable = durable
        self.item = item
        self.done = threading.Event()
        self.outcome = Outcome()

    def end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.done.set()


class Writer:
    """Writes the operations of all threads of a process, as many as wait in one transaction.

    The thread is started by the first operation, and ends after some seconds without one. A forked child has none, and
    starts its own; operations of the parent's threads are the parent's.

    Owner of the fields: ``_more`` guards ``_waiting``, ``_thread`` and ``_closing``.

    Args:
        transact: does a function in a transaction that survives a power cut, or need not, as ``SQLDatabase.write``.
        timeout: seconds that a caller waits at most.
        name: the database's, for errors.
    """

    def __init__(
        self, transact: Callable[[Callable[[sa.Connection], Any], bool], Any], timeout: float, name: str
    ) -> None:
        self._transact = transact
        self._timeout = timeout
        self._name = name
        self._set_up()
        _writers.add(self)

    def _set_up(self) -> None:
        self._more = threading.Condition()
        self._waiting: deque[_Operation] = deque()
        self._thread: threading.Thread | None = None
        self._closing = False

    def do(self, group: Group, item: Any, *, durable: bool = True) -> Any:
        """Have an operation written, and return its result.

        Args:
            group: does operations of this kind; those of one group that wait at the same time are done together.
            item: the operation, for the group.
            durable: whether it survives a power cut once this returns; any survives the end of the process.

        Raises:
            StoreError: it could not be written, or not in time: then it may still be written.
            MisuseError: called by the writer's own thread, which would wait for itself.
            BaseException: what the group says for this operation.

        Threads: any; waits, for at most ``timeout`` seconds.
        """
        operation = _Operation(group, item, durable)
        deadline = time.monotonic() + self._timeout
        with self._more:
            if self._thread is threading.current_thread():
                raise MisuseError("a transaction cannot begin another one and wait for it")
            self._waiting.append(operation)
            alone = not self._started_locked()
            self._more.notify()
        try:
            if alone:
                self._write(self._taken())
            if not operation.done.wait(deadline - time.monotonic()):
                self._give_up(operation)
        except BaseException:
            self._withdraw(operation)
            raise
        error = operation.outcome.error
        if error is not None:
            raise error
        return operation.outcome.result

    def _started_locked(self) -> bool:
        """Start the thread if there is none; return whether there is one."""
        if self._thread is None:
            thread = OwnThread(self._run, (), "streamkit-writer")
            try:
                thread.start()
            except RuntimeError:  # the interpreter is about to end, or the system has no thread left
                return False
            self._thread = thread
        return True

    def _withdraw(self, operation: _Operation) -> bool:
        """Take an operation back that was not begun; return whether that was so."""
        with self._more:
            try:
                self._waiting.remove(operation)
            except ValueError:
                return False
        return True

    def _give_up(self, operation: _Operation) -> None:
        """Raise the error of a caller that has waited for too long, unless the operation is done by now."""
        text = f"the database {self._name} cannot be written: no answer within {self._timeout:g} s"
        if self._withdraw(operation):
            raise StoreError(f"{text}; nothing was written")
        if not operation.done.is_set():
            raise StoreError(f"{text}; it may be written still, so repeat it with the same id")

    # -- the thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._wait():
            self._write(self._taken())

    def _wait(self) -> bool:
        """Wait for operations; return ``False`` where the thread is to end."""
        with self._more:
            deadline = time.monotonic() + _IDLE
            while not self._waiting:
                left = deadline - time.monotonic()
                if self._closing or left <= 0:
                    self._thread = None
                    return False
                self._more.wait(left)
            return True

    def _taken(self) -> list[_Operation]:
        with self._more:
            return [self._waiting.popleft() for _ in range(min(_MOST, len(self._waiting)))]

    def _write(self, operations: Sequence[_Operation]) -> None:
        """Write operations and tell their callers. It raises nothing: each caller gets its error."""
        try:
            outcomes = self._outcomes(operations)
        except BaseException as error:
            if len(operations) > 1 and _is_of_one(error):
                for each in operations:
                    self._write([each])
                return
            outcomes = [Outcome(error=_copy(error)) for _ in operations]
        for operation, outcome in zip(operations, outcomes, strict=True):
            operation.end(outcome)

    def _outcomes(self, operations: Sequence[_Operation]) -> Sequence[Outcome]:
        if not operations:  # another thread has taken them
            return ()
        durable = any(each.durable for each in operations)
        for _ in range(_TRIES - 1):
            try:
                return self._transact(  # type: ignore[no-any-return]
                    lambda connection: _do(connection, operations), durable
                )
            except exc.IntegrityError:  # another process has written it meanwhile, and the next try sees that
                continue
        return self._transact(  # type: ignore[no-any-return]
            lambda connection: _do(connection, operations), durable
        )

    def close(self) -> None:
        """End the thread when it has written what waits. The next operation starts another one."""
        with self._more:
            thread = self._thread
            self._closing = True
            self._more.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._timeout)
        with self._more:
            self._closing = False


def _do(connection: sa.Connection, operations: Sequence[_Operation]) -> list[Outcome]:
    """Do operations in a transaction, those of each group together."""
    groups: dict[Group, list[int]] = {}
    for at, operation in enumerate(operations):
        groups.setdefault(operation.group, []).append(at)
    outcomes = [Outcome()] * len(operations)
    for group, places in groups.items():
        for at, outcome in zip(places, group(connection, [operations[at].item for at in places]), strict=True):
            outcomes[at] = outcome
    return outcomes


def run_works(connection: sa.Connection, works: Sequence[Callable[[sa.Connection], Any]]) -> list[Outcome]:
    """Call functions with a connection, each within a savepoint. A ``Group``."""
    return [_run_work(connection, work) for work in works]


def _run_work(connection: sa.Connection, work: Callable[[sa.Connection], Any]) -> Outcome:
    try:
        with connection.begin_nested():
            return Outcome(work(connection))
    except exc.DBAPIError as error:
        # After most errors SQLite has rolled the whole transaction back, and PostgreSQL may have lost it.
        if not isinstance(error, exc.IntegrityError):
            raise
        return Outcome(error=error)
    except Exception as error:
        return Outcome(error=error)


def _is_of_one(error: BaseException) -> bool:
    """Return whether an error may be of one operation alone, and not of the database."""
    if isinstance(error, StoreError):
        cause = error.__cause__
        return isinstance(cause, (exc.DataError, exc.ProgrammingError, exc.InterfaceError)) or not isinstance(
            cause, (exc.DBAPIError, OSError)
        )
    return True


def _copy(error: BaseException) -> BaseException:
    """Return an error for one caller, as a raised error collects the traceback of its thread."""
    if not isinstance(error, StoreError):
        return error
    copy = StoreError(error.message)
    copy.__cause__ = error.__cause__
    return copy


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for writer in tuple(_writers):
        writer._set_up()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
