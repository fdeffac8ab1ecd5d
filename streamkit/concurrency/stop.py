"""Ending from outside: ``StopEvent`` for users, ``SocketGuard`` for what blocks in the kernel."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable

from streamkit.settings import seconds_of

__all__ = ["ReentrantEvent", "StopEvent"]

_SLICE = 0.2  # seconds


class ReentrantEvent(threading.Event):
    """A ``threading.Event`` that a signal handler, or the garbage collector, may set at any point.

    The standard one has a plain lock: a handler that interrupts its thread inside ``set()`` or ``wait()`` and
    calls ``set()`` would wait for that thread, which is its own, for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._cond = threading.Condition(threading.RLock())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait as ``threading.Event`` does, in slices: a handler may set it just before the wait begins."""
        seconds = seconds_of(timeout, "wait(timeout=...)")
        until = math.inf if seconds is None else time.monotonic() + seconds
        while not self.is_set() and (left := until - time.monotonic()) > 0:
            super().wait(min(left, _SLICE))
        return self.is_set()


class StopEvent(ReentrantEvent):
    """A ``threading.Event`` that also wakes sockets and queues.

    Pass one as ``stop=`` to any number of streams: ``set()`` cancels them all at once, and a stream that is
    started with a set one ends before it sends anything. It is never cleared by the library; after
    ``clear()`` it serves new streams.

    Threads: any thread may call any method; ``set()`` never waits for a stream to end.
    """

    def __init__(self) -> None:
        super().__init__()
        # Guarded by nothing: each operation on the dict is one step under the interpreter's lock, and a
        # lock here could be held by the very thread that a signal handler interrupts to call set().
        self._callbacks: dict[int, tuple[Callable[[], object], ...]] = {}
        self._keys = itertools.count()

    def set(self) -> None:
        """Set the event and cancel every stream that was started with it."""
        super().set()
        subscribers = list(self._callbacks.values())
        for callback, *_ in subscribers:
            callback()
        for _, *later in subscribers:
            for callback in later:
                callback()

    def subscribe(self, *callbacks: Callable[[], object]) -> Callable[[], None]:
        """Have callbacks called in the thread of each ``set()``; at once if it is set already.

        Args:
            callbacks: at least one; the others are called once every subscriber's first has been, so that
                a slow one, such as an observer, holds nobody's end up.

        Returns:
            A function that ends the subscription, any number of times.
        """
        key = next(self._keys)
        self._callbacks[key] = callbacks
        if self.is_set():  # either this sees the set, or set() sees the callbacks; perhaps both
            for callback in callbacks:
                callback()

        def unsubscribe() -> None:
            self._callbacks.pop(key, None)

        return unsubscribe

    def __repr__(self) -> str:
        return f"<StopEvent {'set' if self.is_set() else 'clear'}, {len(self._callbacks)} streams>"
