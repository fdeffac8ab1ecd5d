"""One wait of one thread, which any other thread, a signal handler or the garbage collector may end."""

from __future__ import annotations

import math
import sys
import threading
import time
from contextlib import suppress

__all__ = ["Waiter"]

# The longest wait in one call, in seconds. On Windows before 3.14 nothing interrupts a wait for a lock, Ctrl-C neither.
_LONGEST = 0.2 if sys.platform == "win32" and sys.version_info < (3, 14) else threading.TIMEOUT_MAX


class Waiter:
    """A wait that ends once, and may be ended before it begins.

    Whoever is about to wait makes a new one, shows it to those who may wake it, looks once more whether there is
    anything to wait for, and then calls ``wait``. So a wake-up between the look and the wait is not lost, even where
    it comes from a signal handler that interrupts this very thread there. ``threading.Condition`` shows its lock after
    the look, and needs the handler to be kept out.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held until it is woken
        self._lock.acquire()

    def wake(self) -> None:
        """End the wait, the present one or the one to come. Waking again changes nothing.

        Threads: any; never waits.
        """
        with suppress(RuntimeError):  # it was woken already
            self._lock.release()

    def wait(self, seconds: float = math.inf) -> bool:
        """Wait until it is woken, or the time is over; return whether it was woken."""
        until = time.monotonic() + seconds
        while seconds > _LONGEST:
            if self._lock.acquire(timeout=_LONGEST):
                return True
            seconds = until - time.monotonic()
        return self._lock.acquire(timeout=max(seconds, 0.0))
