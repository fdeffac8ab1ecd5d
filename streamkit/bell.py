"""How one thread wakes another that waits: ``new_bell``.

Where the system has eventfd, the first few bells are such, and not locks: whoever writes to a descriptor gives the
interpreter away meanwhile. Who is woken by a lock finds the interpreter held by who released it, and sleeps twice
more before it can go on; with single chunks, that is a third of the time from a server's send to the loop's body.

With many streams at once the interpreter is held by somebody anyway. There the lock costs less, and the descriptors
are needed for sockets.
"""

from __future__ import annotations

import collections
import os
import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

__all__ = ["Bell", "new_bell"]


class Bell(Protocol):
    """Wakes one waiting thread. A ring that nobody waits for ends the next wait at once."""

    def ring(self) -> None:
        """End the wait, the present one or the next.

        Threads: any, and a signal handler's or the garbage collector's at any point; never waits.
        """

    def wait(self, seconds: float) -> None:
        """Wait for a ring, or until the time is over; it may return early."""


def new_bell() -> Bell:
    """Return a bell of the best kind that there is here."""
    if sys.platform == "linux" and hasattr(os, "eventfd") and hasattr(select, "poll"):  # eventlet takes poll() away
        with suppress(IndexError, OSError):  # there are enough, or no descriptor is left
            return _EventBell()
    return _LockBell()


_MOST_EVENTS = 8
# One for each event bell that may still be made. No lock: the collector may give one back at any point.
_places = collections.deque(range(_MOST_EVENTS))


class _LockBell:
    """A lock that is released to ring: a fifth of the cost of a condition."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        with suppress(RuntimeError):  # rung already
            self._lock.release()

    def wait(self, seconds: float) -> None:
        self._lock.acquire(timeout=seconds)


if sys.platform == "linux":

    class _EventBell:
        """An eventfd, closed with the last reference: so nobody can ring a descriptor that is another file's by now.

        Raises:
            IndexError: there are enough.
            OSError: there is no descriptor left.
        """

        def __init__(self) -> None:
            self._place: int | None = None
            self._fd = -1
            self._place = _places.pop()
            self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._poll = self._new_poll()

        def _new_poll(self) -> select.poll:
            poll = select.poll()
            poll.register(self._fd, select.POLLIN)
            return poll

        def ring(self) -> None:
            os.eventfd_write(self._fd, 1)  # cannot be full: that takes 2**64 rings

        def wait(self, seconds: float) -> None:
            try:
                rung = self._poll.poll(seconds * 1000)
            except RuntimeError:  # it is in use: a signal handler interrupted a wait, and waits itself
                rung = self._new_poll().poll(seconds * 1000)
            if rung:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._fd)

        def __del__(self, close: Callable[[int], None] = os.close) -> None:
            if self._fd >= 0:
                close(self._fd)
            if self._place is not None:
                _places.append(self._place)
