"""The idle connections of a pool, each with its age: ``IdleConnections``."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["MOST_IDLE_SECONDS", "IdleConnections"]

# How long a connection may lie idle and still be used. Firewalls and address translators forget one without a word
# after some minutes, the least patient after one; servers close theirs after a minute or so, most of them.
MOST_IDLE_SECONDS = 60.0


def _clock() -> float:
    """Return a time in seconds that goes on while the machine sleeps, where the system has such a clock."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class IdleConnections:
    """The idle connections of a pool: the last one put is the next one used, and those that are too old are closed.

    It stands in the place of a queue in urllib3's pool, which never waits on it. Not a queue's subclass: urllib3 fills
    a new pool with ``None`` to its bound, which costs more than a request when the bound is made for hundreds of
    streams; and gevent puts queues of other insides in the standard ones' place.

    Args:
        most: how many it holds.

    Attributes:
        now: the clock, in seconds; a test may replace it.
    """

    now: Callable[[], float] = staticmethod(_clock)

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.RLock()  # guards _idle; reentrant, as the garbage collector may close a pool anywhere
        self._idle: list[tuple[float, Any]] = []  # since when, the connection; the oldest first

    def put(self, connection: Any, block: bool = False) -> None:
        """Put a connection in, and close those that have become too old; pass over one that is closed.

        urllib3 would keep a closed one and connect it again, while others that are open lie idle.

        Raises:
            queue.Full: there are ``most`` already.
        """
        if connection is not None and not connection.is_closed:
            self._close_before(self.now() - MOST_IDLE_SECONDS)
            with self._lock:
                if len(self._idle) >= self._most:
                    raise queue.Full
                self._idle.append((self.now(), connection))

    def get(self, block: bool = False, timeout: float | None = None) -> Any:
        """Return the connection that was put last.

        Raises:
            queue.Empty: there is none that is young enough; the others were closed.
        """
        self._close_before(self.now() - MOST_IDLE_SECONDS)
        with self._lock:
            if not self._idle:
                raise queue.Empty
            return self._idle.pop()[1]

    def qsize(self) -> int:
        """Return how many there are."""
        return len(self._idle)

    def close_all(self) -> None:
        """Close all there are; the next stream gets a new connection.

        Threads: any; never waits.
        """
        self._close_before(math.inf)

    def _close_before(self, moment: float) -> None:
        """Close those that have been idle since before a moment."""
        with self._lock:
            young = next((n for n, (since, _) in enumerate(self._idle) if since >= moment), len(self._idle))
            old, self._idle[:young] = self._idle[:young], []
        for _, connection in old:
            connection.close()

    def __repr__(self) -> str:
        return f"<IdleConnections {len(self._idle)} of {self._most}>"
