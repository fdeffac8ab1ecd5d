"""The idle connections of a pool, with the time since when each is idle: ``IdleConnections``."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["MOST_IDLE_SECONDS", "IdleConnections"]

# How long a connection may be idle and still be reused, in seconds. Firewalls and address translators silently drop
# idle connections after some minutes, a few after one minute. Most servers close theirs after about a minute.
MOST_IDLE_SECONDS = 60.0


def _clock() -> float:
    """Return seconds of a monotonic clock, one that counts a suspended machine's time if the system has one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class IdleConnections:
    """The idle connections of a pool: the last one put is the next one used, and old ones are closed.

    urllib3's pool uses it in place of a queue, and never waits on it. It is not a subclass of ``queue.LifoQueue``:
    urllib3 fills a new queue with ``None`` up to its bound, which costs more than a request for a bound of hundreds of
    connections; and gevent replaces the standard queues by ones with other internals.

    Owner of the fields: ``_lock`` guards ``_idle``; ``qsize`` and ``repr()`` read its length without it. The others
    never change. The lock is reentrant, because the garbage collector may close a pool in a thread that holds it.

    Args:
        most: the most connections that it holds.

    Attributes:
        now: the clock, in seconds; a test may replace it.

    Threads: any; no method waits.
    """

    now: Callable[[], float] = staticmethod(_clock)

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.RLock()
        self._idle: list[tuple[float, Any]] = []  # (idle since, connection), the oldest first

    def put(self, connection: Any, block: bool = False) -> None:
        """Put a connection in and close the old ones; ignore a closed connection.

        urllib3 would keep a closed connection and connect it again, although open ones are idle.

        Raises:
            queue.Full: it holds ``most`` connections already.
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
            queue.Empty: no connection is young enough to be reused; the old ones were closed.
        """
        self._close_before(self.now() - MOST_IDLE_SECONDS)
        with self._lock:
            if not self._idle:
                raise queue.Empty
            return self._idle.pop()[1]

    def qsize(self) -> int:
        """Return the number of idle connections."""
        return len(self._idle)

    def close_all(self) -> None:
        """Close all of them; the next stream opens a new connection.

        Threads: any; never waits.
        """
        self._close_before(math.inf)

    def _close_before(self, moment: float) -> None:
        """Close the connections that have been idle since before a moment."""
        with self._lock:
            young = next((n for n, (since, _) in enumerate(self._idle) if since >= moment), len(self._idle))
            old, self._idle[:young] = self._idle[:young], []
        for _, connection in old:
            connection.close()

    def __repr__(self) -> str:
        return f"<IdleConnections {len(self._idle)} of {self._most}>"
