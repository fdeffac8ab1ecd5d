"""Imports at run time that a fork cannot interrupt: ``late_import`` and ``forks_wait``.

Python locks a module during its import. A child that is forked meanwhile inherits the lock without the thread that
holds it, and waits for ever when it imports the module itself. So each late import of this package holds ``_lock``, and
a fork waits for ``_lock``.

Reader threads import nothing: the thread that creates the client or starts the stream imports the modules they need.
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

_FORK_WAIT = 5.0  # seconds; the largest of these imports takes a fraction of a second

# Held during each late import, and by a thread that forks. Reentrant, because an import may cause another one, and a
# signal handler may fork or import at any point. A module imported under it must not wait for a thread that imports
# late, so modules of other packages' providers are not imported under it.
_lock = threading.RLock()
_forking = threading.local()  # each thread's own; held: whether its fork acquired the lock


def late_import(name: str) -> ModuleType:
    """Import a module of this package, or of a library, by its full name.

    Raises:
        ImportError: the module does not exist.

    Threads: any except a reader thread; waits for late imports of other threads.
    """
    with _lock:
        return import_module(name)


@contextmanager
def forks_wait() -> Iterator[None]:
    """Delay forks while the block runs. The block imports modules, directly or through a library's call.

    Threads: as ``late_import``.
    """
    with _lock:
        yield


def _before_fork() -> None:
    # Functions before a fork run in the reverse order of their registration. logging's acquires a lock that an import
    # may need. So logging has to be imported first: then this function runs before logging's.
    _forking.held = _lock.acquire(timeout=_FORK_WAIT)


def _after_fork() -> None:
    if _forking.held:
        _lock.release()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()  # another thread holds the old one if the wait timed out


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
