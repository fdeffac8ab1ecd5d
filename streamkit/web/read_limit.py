"""Bound the time in which a client sends its request: ``reading_within``."""

from __future__ import annotations

import heapq
import itertools
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from streamkit.concurrency.own_thread import OwnThread

__all__ = ["Reading", "reading_within"]

_IDLE = 0.5  # seconds for which the thread stays when nothing is read


class Reading:
    """One reading of a client's socket.

    Owner of the fields: ``_Limits`` guards them by its lock.

    Attributes:
        too_late: whether its time ran out, and the receiving half of the socket was shut down.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.too_late = False
        self.over = False


class _Limits:
    """Shuts down the receiving half of sockets whose reading is not over in time, in one thread for all of them.

    A socket's own time limit begins anew with each byte, so that a client that sends a byte now and then would hold
    its thread of the server for as long as it likes.

    Owner of the fields: ``_changed`` guards all of them.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._due: list[tuple[float, int, Reading]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def add(self, reading: Reading, seconds: float) -> None:
        due = time.monotonic() + seconds
        with self._changed:
            heapq.heappush(self._due, (due, next(self._numbers), reading))
            if self._thread is None or not self._thread.is_alive():
                self._thread = OwnThread(self._run, (), "streamkit-read-limits")
                with suppress(RuntimeError):  # out of threads: the server's own limits hold
                    self._thread.start()
            elif self._due[0][2] is reading:
                self._changed.notify()

    def remove(self, reading: Reading) -> None:
        with self._changed:
            reading.over = True
            while self._due and self._due[0][2].over:
                heapq.heappop(self._due)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                while self._due and (self._due[0][2].over or self._due[0][0] <= now):
                    reading = heapq.heappop(self._due)[2]
                    if not reading.over:
                        reading.too_late = True
                        # The lock is held, so that the descriptor is still this client's.
                        with suppress(OSError):
                            reading.client.shutdown(socket.SHUT_RD)
                wait = min(self._due[0][0] - now, _IDLE) if self._due else _IDLE  # nobody tells it of what is over
                if not self._changed.wait(wait) and not self._due:
                    self._thread = None
                    return


_limits: _Limits | None = None
_making = threading.Lock()  # guards the making of _limits


def _the_limits() -> _Limits:
    """Return the process's one; made at its first use, as gevent may replace locks after the import."""
    global _limits
    with _making:
        if _limits is None:
            _limits = _Limits()
        return _limits


@contextmanager
def reading_within(client: Any, seconds: float) -> Iterator[Reading]:
    """Bound the time of reading from a socket; afterwards ``too_late`` says whether it ran out.

    A reader that waits then finds the end of the bytes. The socket can still be written: with a refusal, after which
    the connection has to be closed.

    Args:
        client: the socket; ``None`` for a server that does not hand it over: then nothing is bounded.
        seconds: for all of it.
    """
    reading = Reading(client)
    if client is None or math.isinf(seconds):
        yield reading
        return
    limits = _the_limits()
    limits.add(reading, seconds)
    try:
        yield reading
    finally:
        limits.remove(reading)


def _after_fork_in_child() -> None:
    global _limits, _making
    _limits, _making = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
