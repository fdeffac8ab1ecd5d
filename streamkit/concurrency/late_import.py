"""Imports after the start of a program, which no fork may interrupt: ``late_import`` and ``forks_wait``.

A module that is being imported is locked. A child that is forked meanwhile inherits the lock without the thread
that holds it, and waits for ever when it imports the module itself. So each import that the package makes late holds
one lock of its own, and a fork waits for that lock.

Readers import nothing: whatever a stream needs is imported in the thread that makes the client or starts the stream.
"""

from __future__ import annotations

import logging  # noqa: F401 - see _before_fork
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

__all__ = ["forks_wait", "late_import"]

_FORK_WAIT = 5.0  # seconds; the largest of these imports takes a fraction of one

# Held during each late import, and by a thread that forks. Reentrant, as an import may lead to another one, and a
# signal handler may fork or import at any point. A module that is imported under it must not wait for a thread that
# imports late, so modules of other packages' providers are not imported under it.
_lock = threading.RLock()
_forking = threading.local()  # held: whether this thread's fork got the lock


def late_import(name: str) -> ModuleType:
    """Import a module of this package, or of a library, by its full name.

    Raises:
        ImportError: there is no such module.

    Threads: any but a reader's; waits for imports of other threads.
    """
    with forks_wait():
        return import_module(name)


@contextmanager
def forks_wait() -> Iterator[None]:
    """Let no fork happen while the block runs, which imports something or calls what imports something.

    Threads: as ``late_import``.
    """
    with _lock:
        yield


def _before_fork() -> None:
    # Such functions run in the reverse order of their registration. logging's takes a lock that a module may need when
    # it is imported, so logging has to be imported first: then this one runs before.
    _forking.held = _lock.acquire(timeout=_FORK_WAIT)


def _after_fork() -> None:
    if _forking.held:
        _lock.release()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()  # also where the wait for it was too long


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
