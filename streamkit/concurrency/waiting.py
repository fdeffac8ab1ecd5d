"""One wait of one thread: ``Waiter``. Another thread, a signal handler or the garbage collector may end it."""

from __future__ import annotations

import math
import sys
import threading
import time

__all__ = ["Waiter"]

# The longest wait in one call, in seconds. On Windows before Python 3.14 Ctrl-C does not interrupt a wait for a lock.
_LONGEST = 0.2 if sys.platform == "win32" and sys.version_info < (3, 14) else threading.TIMEOUT_MAX

# The same in the main thread, where signal handlers run. A signal that arrives just before the wait does not end it:
# the interpreter runs the handler after the wait.
_LONGEST_IN_MAIN = 1.0


class Waiter:
    """A wait that any thread may end, before it begins as well.

    A thread that has to wait creates a waiter, registers it with the threads that may wake it, checks its condition
    again, and calls ``wait``. A wake-up between the check and the wait is not lost, even if it comes from a signal
    handler that interrupts the same thread there. ``threading.Condition`` registers its lock after the check, so a
    signal handler at that point would be missed.

    Owner of the fields: ``_lock`` never changes. It is held until the waiter is woken.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wake(self) -> None:
        """End the current wait, or the next one. Waking again before it ends changes nothing.

        Threads: any; never waits.
        """
        try:  # noqa: SIM105 - once a chunk, and suppress() costs more than the release
            self._lock.release()
        except RuntimeError:  # already woken
            pass

    def wait(self, seconds: float = math.inf) -> bool:
        """Wait until woken, for at most ``seconds``; return whether it was woken.

        Threads: one at a time.
        """
        longest = _LONGEST
        if threading.get_ident() == threading.main_thread().ident:
            longest = min(longest, _LONGEST_IN_MAIN)
        if seconds > longest:
            until = time.monotonic() + seconds
            while seconds > longest:
                if self._lock.acquire(timeout=longest):
                    return True
                seconds = until - time.monotonic()
        return self._lock.acquire(timeout=max(seconds, 0.0))
