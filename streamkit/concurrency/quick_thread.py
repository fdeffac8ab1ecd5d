"""The threads of the package: ``OwnThread``, and one that is started without waiting until it runs."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from streamkit.concurrency.waiting import Waiter

__all__ = ["OwnThread", "UnawaitedThread"]


class OwnThread(threading.Thread):
    """A thread of the package, in which nothing of the program's is to run: see ``Delivery.drop``."""


class _StartedEvent(threading.Event):
    """The event that a new thread sets when it runs. ``Thread.start()`` calls ``wait``, which returns at once here.

    ``wait_until_started`` holds no lock that ``set`` needs: a signal handler may call it in the middle of another call.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiter = Waiter()

    def set(self) -> None:
        super().set()
        self._waiter.wake()

    def wait(self, timeout: float | None = None) -> bool:
        return True

    def wait_until_started(self, timeout: float | None) -> bool:
        if not self.is_set() and self._waiter.wait(math.inf if timeout is None else timeout):
            self._waiter.wake()  # for other threads that wait
        return self.is_set()


class UnawaitedThread(OwnThread):
    """A daemon thread whose ``start()`` returns without waiting until the thread runs.

    ``threading.Thread.start`` waits until the new thread runs, so that ``ident`` is set. That costs two more thread
    switches, a tenth of the time to the first chunk, and this package does not use ``ident``.

    The event that ``start`` waits for is an undocumented attribute of ``threading.Thread``. On a Python where it has
    another name, ``start()`` waits as usual.

    Owner of the fields: the creating thread sets all of them in ``__init__``; they never change afterwards.

    Args:
        target: the function that the thread runs.
        args: its arguments.
        name: the thread's name.
    """

    def __init__(self, target: Callable[..., object], args: tuple[Any, ...], name: str) -> None:
        super().__init__(target=target, args=args, name=name, daemon=True)
        self._started_event: _StartedEvent | None = None
        if isinstance(getattr(self, "_started", None), threading.Event):
            self._started = self._started_event = _StartedEvent()

    def start(self) -> None:
        """Start the thread; an exception of a signal handler meanwhile is raised in the caller.

        ``threading.Thread.start`` expects no exception once the thread runs. Its clean-up then raises a KeyError, which
        would replace the handler's exception.
        """
        try:
            super().start()
        except KeyError as error:
            raise error.__context__ or error from None

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended, for at most ``timeout`` seconds; also right after ``start()``."""
        until = None if timeout is None else time.monotonic() + timeout
        if self._started_event is None or self._started_event.wait_until_started(timeout):
            super().join(None if until is None else max(0.0, until - time.monotonic()))
