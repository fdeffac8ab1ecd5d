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


class _Begun(threading.Event):
    """What a thread sets as it begins; ``wait`` is left to ``Thread.start()``, which is not to wait.

    Who does wait takes no lock that ``set`` needs: a signal handler may wait in the middle of a wait of its thread.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiter = Waiter()

    def set(self) -> None:
        super().set()
        self._waiter.wake()

    def wait(self, timeout: float | None = None) -> bool:
        return True

    def wait_for_it(self, timeout: float | None) -> bool:
        if not self.is_set() and self._waiter.wait(math.inf if timeout is None else timeout):
            self._waiter.wake()  # for others who wait
        return self.is_set()


class UnawaitedThread(OwnThread):
    """A daemon thread whose ``start()`` returns at once.

    The standard one sleeps until the new thread has said its first word. That is two more switches between the
    threads, and a tenth of the time to a first chunk; nobody here needs what it waits for, the thread's ``ident``.

    The event that it waits for is an attribute of the standard class which is not documented. Were it called
    something else, ``start()`` would wait as ever.

    Args:
        target: what it runs.
        args: for it.
        name: of the thread.
    """

    def __init__(self, target: Callable[..., object], args: tuple[Any, ...], name: str) -> None:
        super().__init__(target=target, args=args, name=name, daemon=True)
        self._begun: _Begun | None = None
        if isinstance(getattr(self, "_started", None), threading.Event):
            self._started = self._begun = _Begun()

    def start(self) -> None:
        """Start it; what a signal handler raises meanwhile goes to the caller.

        The standard method expects no exception once the thread runs. Its clean-up then fails with a KeyError, in the
        place of the handler's exception.
        """
        try:
            super().start()
        except KeyError as error:
            raise error.__context__ or error from None

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended; it was started, and may not have begun."""
        until = None if timeout is None else time.monotonic() + timeout
        if self._begun is None or self._begun.wait_for_it(timeout):
            super().join(None if until is None else max(0.0, until - time.monotonic()))
