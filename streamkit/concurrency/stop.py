"""Events that end streams: ``StopEvent`` for users, and its base, ``ReentrantEvent``."""

from __future__ import annotations

import itertools
import math
import os
import threading
import weakref
from collections.abc import Callable
from functools import partial

from streamkit.concurrency.waiting import Waiter
from streamkit.settings import seconds_of

__all__ = ["ReentrantEvent", "StopEvent"]


class ReentrantEvent(threading.Event):
    """A ``threading.Event`` that a signal handler or the garbage collector may set at any point.

    ``threading.Event`` has a lock. A signal handler that interrupts ``set()`` or ``wait()`` and calls ``set()`` itself
    would wait for its own thread for ever. With a reentrant lock it could still wait for another thread, which holds
    what the handler wants, such as the lock of a channel, while it waits for this event's. So there is no lock here.

    Owner of the fields: any thread changes ``_flag``, and ``_waiters`` by single operations on a dict, which are atomic
    with and without the GIL.

    Threads: any thread may call any method.
    """

    def __init__(self) -> None:
        super().__init__()
        self._flag = False
        self._waiters: dict[Waiter, None] = {}

    def is_set(self) -> bool:
        """Return whether the event is set."""
        return self._flag

    def set(self) -> None:
        """Set the event, and wake all waiting threads."""
        self._flag = True
        for waiter in list(self._waiters):  # one that registers later sees the flag
            waiter.wake()

    def clear(self) -> None:
        """Reset the event."""
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set or the timeout passes; return whether it is set.

        Args:
            timeout: seconds; ``None`` is no limit.

        Raises:
            ConfigError: the timeout is not a number.
        """
        seconds = seconds_of(timeout, "wait(timeout=...)")
        if self.is_set():
            return True
        waiter = Waiter()
        try:
            self._waiters[waiter] = None  # before the check, see Waiter
            # Only set() wakes it. That counts even if the event is cleared before this thread runs.
            return self.is_set() or waiter.wait(math.inf if seconds is None else seconds) or self.is_set()
        finally:
            self._waiters.pop(waiter, None)


class StopEvent(ReentrantEvent):
    """A ``threading.Event`` that cancels streams: ``set()`` wakes their sockets and queues.

    Pass one as ``stop=`` to any number of streams: ``set()`` cancels them all at once. A stream that is started with
    an event that is already set ends before it sends anything. The library never clears an event; after ``clear()``
    you can pass it to new streams.

    Owner of the fields: ``_lock``, reentrant, guards ``_callbacks`` and ``_keys``.

    Threads: any thread may call any method; ``set()`` never waits for a stream to end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self._callbacks: dict[int, tuple[Callable[[], object], ...]] = {}
        self._keys = itertools.count()
        _remember(self)

    def set(self) -> None:
        """Set the event and cancel every stream that was started with it."""
        self.halt()
        self._tell()

    def halt(self) -> None:
        """Do the part of ``set()`` that runs no code of the program: observers are not called."""
        super().set()
        for callback, *_ in self._subscribers():
            callback()

    def _tell(self) -> None:
        for _, *later in self._subscribers():
            for callback in later:
                callback()

    def _subscribers(self) -> list[tuple[Callable[[], object], ...]]:
        with self._lock:
            return list(self._callbacks.values())

    def child(self) -> StopEvent:
        """Return an event that is set when this one is, and that may be set alone.

        This event does not keep it alive.

        Threads: any.
        """
        child = StopEvent()
        unsubscribe: list[Callable[[], None]] = []
        reference = weakref.ref(child, lambda _: [each() for each in unsubscribe])

        def halt() -> None:
            if (event := reference()) is not None:
                event.halt()

        def tell() -> None:
            if (event := reference()) is not None:
                event._tell()

        unsubscribe.append(self.subscribe(halt, tell))
        return child

    def subscribe(self, *callbacks: Callable[[], object]) -> Callable[[], None]:
        """Call the callbacks in the thread of each ``set()``; at once if the event is set already.

        Args:
            callbacks: at least one. ``set()`` first calls the first callback of every subscriber, then the others, so
                that a slow one, such as an observer, cannot delay another stream's cancel.

        Returns:
            A function that ends the subscription; calling it again changes nothing.

        Threads: any. A callback may be called twice, by this thread and by a concurrent ``set()``.
        """
        with self._lock:
            key = next(self._keys)
            self._callbacks[key] = callbacks
        if self.is_set():  # a concurrent set() either came before this check, or it calls the callbacks; perhaps both
            for callback in callbacks:
                callback()

        def unsubscribe() -> None:
            with self._lock:
                self._callbacks.pop(key, None)

        return unsubscribe

    def _after_fork_in_child(self) -> None:
        """Make a new lock: a thread of the parent may have held the old one, and does not run in the child."""
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<StopEvent {'set' if self.is_set() else 'clear'}, {len(self._callbacks)} streams>"


# All stop events of the process, for a forked child to reset. Each single operation on a dict is atomic, with and
# without the GIL, and only a forked child, which has one thread, iterates it. A lock could be locked at the fork.
_events: dict[int, weakref.ref[StopEvent]] = {}


def _remember(event: StopEvent) -> None:
    key, events = id(event), _events
    events[key] = weakref.ref(event, partial(events.pop, key))


def _after_fork_in_child() -> None:
    for reference in list(_events.values()):
        if (event := reference()) is not None:
            event._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
