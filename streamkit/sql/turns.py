"""Processes that write to one file of SQLite take turns: ``Turns``.

SQLite has no queue for its lock: whoever waits looks again after up to 100 ms, and may be too late each time. The
lock of another file, for which the system has a queue, wakes the next one at once. It is a courtesy alone: SQLite's own
lock is taken as well.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Turns"]


class Turns:
    """The turns of the processes that write to a file.

    Owner of the fields: ``_lock`` guards all, also during a turn.

    Threads: any; one of each process has the turn.

    Args:
        path: of the file whose lock is taken. It is made if it is not there.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: int | None = None
        self._is_open = False
        _turns.add(self)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other process is in a turn of its own; a process that ends gives its turn up."""
        if sys.platform == "win32":  # it has no fcntl
            yield
            return
        import fcntl

        with self._lock:
            file = self._opened_locked()
            if file is None:
                yield
                return
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)

    def _opened_locked(self) -> int | None:
        if not self._is_open:
            self._is_open = True
            try:
                self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            except OSError:  # the database itself will say what is wrong
                self._file = None
        return self._file

    def close(self) -> None:
        """Close the file once no thread has a turn; it is opened again when it is needed."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file, self._is_open = None, False

    def __del__(self) -> None:
        self._close()


_turns: weakref.WeakSet[Turns] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Close the parent's file, whose lock would not end with the parent while a child has it open."""
    for turns in tuple(_turns):
        turns._lock = threading.Lock()  # a thread of the parent may have the other one
        turns._close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
