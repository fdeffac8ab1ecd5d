"""A fork waits for transactions of SQLite that write: ``forks_wait_for_writes``.

SQLite notes in the memory of the process who holds its lock. A child that is forked in the middle of a transaction
inherits the note, without the thread that would end the transaction, and could never write to that file itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["forks_wait_for_writes"]

_LONGEST = 5.0  # seconds that a fork waits; a transaction takes a fraction of a second, unless its lock is taken


class _Gate:
    """Counts the transactions of this process that write. Guarded by ``changed``."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.writing: dict[int, int] = {}  # how many, by thread
        self.forking = 0


_gate = _Gate()


@contextmanager
def forks_wait_for_writes() -> Iterator[None]:
    """Delay forks while the block runs; it begins when a fork that has begun is over.

    Threads: any; waits for a fork of another thread, for some seconds at most.
    """
    gate, thread = _gate, threading.get_ident()
    with gate.changed:
        gate.changed.wait_for(lambda: not gate.forking, _LONGEST)
        gate.writing[thread] = gate.writing.get(thread, 0) + 1
    try:
        yield
    finally:
        with gate.changed:
            gate.writing[thread] -= 1
            if not gate.writing[thread]:
                del gate.writing[thread]
                gate.changed.notify_all()


def _before_fork() -> None:
    gate, thread = _gate, threading.get_ident()
    gate.changed.acquire()  # until after the fork, so that no other thread has it in the child
    gate.forking += 1
    gate.changed.wait_for(lambda: not gate.writing.keys() - {thread}, _LONGEST)


def _after_fork_in_parent() -> None:
    _gate.forking -= 1
    _gate.changed.notify_all()
    _gate.changed.release()


def _after_fork_in_child() -> None:
    global _gate
    _gate.changed.release()
    _gate = _Gate()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
