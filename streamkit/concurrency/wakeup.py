"""What wakes a waiting thread sooner than a lock: ``new_bell``.

It is an eventfd, where the system has it: whoever writes to a descriptor gives the interpreter away meanwhile. Who is
woken by a lock, as all of Python's queues do it, finds the interpreter held by who released it, and sleeps twice more
before it can go on; with single chunks, that is a third of the time from a server's send to the loop's body.

With many streams at once the interpreter is held by somebody anyway. There the lock costs less, and the descriptors
are needed for sockets. So there are a few bells only.
"""

from __future__ import annotations

import io
import os
import select
import sys
import time
import weakref
from contextlib import suppress
from typing import Protocol

__all__ = ["Bell", "new_bell"]

_MOST_EVENTS = 8
_PAUSE = 0.05  # seconds
_events: list[weakref.ref[Bell]] = []  # two threads that make one at once may lose one of them: then there are nine


class Bell(Protocol):
    """Wakes one waiting thread. A ring that nobody waits for ends the next wait at once."""

    def ring(self) -> None:
        """End the wait, the present one or the next.

        Threads: any, and a signal handler's or the garbage collector's at any point; never waits.
        """

    def wait(self, seconds: float) -> None:
        """Wait for a ring, or until the time is over; it may return early."""


def new_bell() -> Bell | None:
    """Return a bell, or ``None`` where a lock does as well, or has to."""
    if sys.platform == "linux" and hasattr(os, "eventfd") and hasattr(select, "poll"):  # eventlet takes poll() away
        alive = [reference for reference in _events if reference() is not None]
        if len(alive) < _MOST_EVENTS:
            with suppress(OSError):  # no descriptor is left
                bell = _EventBell()
                _events[:] = (*alive, weakref.ref(bell))
                return bell
    return None


if sys.platform == "linux":
    _FLAGS = getattr(os, "EFD_NONBLOCK", 0) | getattr(os, "EFD_CLOEXEC", 0)
    _ONE = (1).to_bytes(8, sys.byteorder)

    class _EventFile(io.FileIO):
        """An eventfd that its last reference closes, so that nobody rings a descriptor that is another file's by now.

        A file would warn that nobody closed it. A method in Python that does could be cut short where it begins, by
        what a signal's handler raises.
        """

        __del__ = io.FileIO.close

    class _EventBell:
        """An eventfd.

        Raises:
            OSError: there is no descriptor left.
        """

        def __init__(self) -> None:
            # In one step of the interpreter: between two, a signal's handler may raise, and the number would be lost.
            self._file = _EventFile(*map(os.eventfd, (0,), (_FLAGS,)), "r+b")  # type: ignore[arg-type, call-arg]
            self._poll = self._new_poll()

        def _new_poll(self) -> select.poll:
            poll = select.poll()
            poll.register(self._file, select.POLLIN)
            return poll

        def ring(self) -> None:
            try:  # noqa: SIM105 - once a chunk, and suppress() costs more than what it would be around
                self._file.write(_ONE)
            except OSError:  # closed by who closes all there is, such as a program that becomes a daemon
                pass

        def wait(self, seconds: float) -> None:
            try:
                rung = self._poll.poll(seconds * 1000)
            except RuntimeError:  # it is in use: a signal handler interrupted a wait, and waits itself
                rung = self._new_poll().poll(seconds * 1000)
            if rung:
                try:
                    self._file.read(8)
                except OSError:  # closed, as above: it will not ring again, and is not to be asked without a pause
                    time.sleep(min(seconds, _PAUSE))


if hasattr(os, "register_at_fork"):
    # In a child the threads that wait are gone, and what they held is never let go.
    os.register_at_fork(after_in_child=_events.clear)
