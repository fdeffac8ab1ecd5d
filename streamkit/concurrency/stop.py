"""Ending from outside: ``StopEvent`` for users, and the reentrant event below it."""

from __future__ import annotations

import itertools
import math
import os
import threading
import weakref
from collections.abc import Callable

from streamkit.concurrency.waiting import Waiter
from streamkit.settings import seconds_of

__all__ = ["ReentrantEvent", "StopEvent"]


class ReentrantEvent(threading.Event):
    """A ``threading.Event`` that a signal handler or the garbage collector may set at any point.

    The standard one has a plain lock: a handler that interrupts its thread inside ``set()`` or ``wait()`` and calls
    ``set()`` would wait for that thread, which is its own, for ever.

    Threads: any thread may call any method. ``_lock``, reentrant, guards all fields.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self._flag = False
        self._waiters: list[Waiter] = []
        _remember(self)

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._flag

    def set(self) -> None:
        """Set it, and wake all who wait."""
        with self._lock:
            self._flag = True
            for waiter in self._waiters:
                waiter.wake()

    def clear(self) -> None:
        """Make it unset again."""
        with self._lock:
            self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, or the time is over; return whether it is set.

        Args:
            timeout: seconds, ``None`` for as long as it takes.

        Raises:
            ConfigError: the timeout is no number.
        """
        seconds = seconds_of(timeout, "wait(timeout=...)")
        if self.is_set():
            return True
        waiter = Waiter()
        try:
            with self._lock:
                self._waiters.append(waiter)  # before the look, see Waiter
            # set() alone wakes it. That counts even where somebody clears the event before this thread runs on.
            return self.is_set() or waiter.wait(math.inf if seconds is None else seconds) or self.is_set()
        finally:
            with self._lock:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def _after_fork_in_child(self) -> None:
        """Make a new lock: another thread may have held the old one, and is not here to release it."""
        self._lock = threading.RLock()  # the waiters stay: one may be this thread's, which a handler of it forked


class StopEvent(ReentrantEvent):
    """A ``threading.Event`` that also wakes sockets and queues.

    Pass one as ``stop=`` to any number of streams: ``set()`` cancels them all at once, and a stream that is
    started with a set one ends before it sends anything. It is never cleared by the library; after
    ``clear()`` it serves new streams.

    Threads: any thread may call any method; ``set()`` never waits for a stream to end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._callbacks: dict[int, tuple[Callable[[], object], ...]] = {}
        self._keys = itertools.count()

    def set(self) -> None:
        """Set the event and cancel every stream that was started with it."""
        super().set()
        with self._lock:
            subscribers = list(self._callbacks.values())
        for callback, *_ in subscribers:
            callback()
        for _, *later in subscribers:
            for callback in later:
                callback()

    def subscribe(self, *callbacks: Callable[[], object]) -> Callable[[], None]:
        """Have callbacks called in the thread of each ``set()``; at once if it is set already.

        Args:
            callbacks: at least one; the others are called once every subscriber's first has been called, so that a
                slow one, such as an observer, cannot delay another stream's cancel.

        Returns:
            A function that ends the subscription, any number of times.
        """
        with self._lock:
            key = next(self._keys)
            self._callbacks[key] = callbacks
        if self.is_set():  # either this sees the set, or set() sees the callbacks; perhaps both
            for callback in callbacks:
                callback()

        def unsubscribe() -> None:
            with self._lock:
                self._callbacks.pop(key, None)

        return unsubscribe

    def __repr__(self) -> str:
        return f"<StopEvent {'set' if self.is_set() else 'clear'}, {len(self._callbacks)} streams>"


# The events there are, for a forked child. Each step on a dict is atomic, with and without the GIL; a lock could be
# inherited locked.
_events: dict[int, weakref.ref[ReentrantEvent]] = {}


def _remember(event: ReentrantEvent) -> None:
    key, events = id(event), _events
    events[key] = weakref.ref(event, lambda _: events.pop(key, None))


def _after_fork_in_child() -> None:
    for reference in list(_events.values()):
        if (event := reference()) is not None:
            event._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
