"""The bounded channel between a worker and its consumer: a ``queue.Queue`` with an end."""

from __future__ import annotations

import math
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from streamkit.concurrency.waiting import Waiter
from streamkit.errors import ChannelClosed

__all__ = ["Channel"]

T = TypeVar("T")
Outcome = TypeVar("Outcome")

if TYPE_CHECKING:
    from queue import Queue
else:
    # gevent replaces the standard queue by one without a mutex. Take the standard one; its locks are gevent's anyway.
    _monkey = sys.modules.get("gevent.monkey")
    Queue = _monkey.get_original("queue", "Queue") if _monkey else queue.Queue


class Channel(Queue[T], Generic[T, Outcome]):
    """A ``queue.Queue`` that is bounded in bytes as well, transfers batches, and ends with an outcome.

    Items come out in the order in which they were put, and the outcome follows the last item. So a receiver always
    gets an end, and receives every item before it. Closing the receiving end wakes the sender and drops the items
    inside.

    Owner of the fields: ``mutex``, the one of ``queue.Queue``, guards every field that changes. The properties
    ``outcome`` and ``closed``, ``peak`` and ``repr()`` read a single field without it. The mutex is reentrant, because
    a signal handler or the garbage collector may close a channel in a thread that holds it. For the same reason threads
    wait with a ``Waiter`` and not with the conditions of ``queue.Queue``.

    Args:
        capacity: the most items inside, at least 1.
        capacity_bytes: the most bytes inside; an empty channel takes one batch of any size.
        new_waiter: creates the waiter of one wait; a test may pass its own.

    Attributes:
        peak: the most items that were ever inside.
    """

    queue: deque[T]  # as queue.Queue makes it

    def __init__(
        self, capacity: int, capacity_bytes: float = math.inf, *, new_waiter: Callable[[], Waiter] = Waiter
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        super().__init__(capacity)
        lock = threading.RLock()
        self.mutex = lock  # type: ignore[assignment]
        self.not_empty, self.not_full, self.all_tasks_done = (threading.Condition(lock) for _ in range(3))
        self._capacity_bytes = capacity_bytes
        self._new_waiter = new_waiter
        self._outcome: Outcome | None = None
        self._finished = False
        self._closed = False
        self._put_count = 0  # items put so far; items taken: _put_count - len(queue)
        self._sizes: deque[tuple[int, int]] = deque()  # for each batch inside: its first item's number, its bytes
        self._bytes = 0  # bytes inside
        self._senders: list[Waiter] = []
        self._receivers: list[Waiter] = []
        self._listeners: tuple[Callable[[], object], ...] = ()
        self._sink: Callable[[Sequence[T]], object] | None = None
        self.peak = 0

    # -- the sending end ---------------------------------------------------------------------------------

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Put one item, as ``queue.Queue.put`` does.

        Raises:
            queue.Full: there was no room within ``timeout`` seconds.
            ChannelClosed: the channel was closed or has ended.
            ValueError: the timeout is negative.

        Threads: any. Woken by room and by ``close()``.
        """
        self._put_items((item,), 0, _deadline(block, timeout))

    def put_many(self, items: Sequence[T], size: int = 0) -> float:
        """Put items in order: as many as fit at once, the rest as room becomes free.

        Args:
            items: at least one.
            size: bytes of all items together.

        Returns:
            Seconds spent waiting for room; 0.0 if there was room for all.

        Raises:
            ChannelClosed: the channel was closed; the items not yet taken are dropped.

        Threads: any. Woken by room and by ``close()``.
        """
        return self._put_items(items, size, math.inf)

    def _put_items(self, items: Sequence[T], size: int, deadline: float) -> float:
        with self.mutex:
            room, sink = self._room_locked(size), self._sink
            if sink is None and room >= len(items):
                self._add_locked(items, size)
                return 0.0
        return self._put_in_parts(items, size, deadline) if sink is None else _timed(sink, items)

    def _put_in_parts(self, items: Sequence[T], size: int, deadline: float) -> float:
        waited = 0.0
        while items:
            waiter = self._new_waiter()
            try:
                with self.mutex:
                    self._senders.append(waiter)  # before the check for room, see Waiter
                    room, sink = self._room_locked(size), self._sink
                    if sink is None and room > 0:
                        self._add_locked(items[:room], size)
                        items, size = items[room:], 0
                        continue
                if sink is not None:
                    return waited + _timed(sink, items)
                began = time.monotonic()
                if deadline <= began:
                    raise queue.Full
                waiter.wait(deadline - began)
                waited += time.monotonic() - began
            finally:
                self._forget(self._senders, waiter)
        return waited

    def _room_locked(self, size: int) -> int:
        """Return the number of items that fit now.

        Raises:
            ChannelClosed: the channel was closed or has ended.
        """
        if self._closed or self._finished:
            raise ChannelClosed("the channel was closed")
        if self._bytes and self._bytes + size > self._capacity_bytes:
            return 0
        return self.maxsize - len(self.queue)

    def _add_locked(self, items: Sequence[T], size: int) -> None:
        self.queue.extend(items)
        if size:
            self._sizes.append((self._put_count, size))
            self._bytes += size
        self._put_count += len(items)
        self.unfinished_tasks += len(items)
        if len(self.queue) > self.peak:
            self.peak = len(self.queue)
        self._wake_receivers_locked()
        if self._closed:  # by a signal handler or the garbage collector, in this thread, after the check for room
            self._drop_locked()
            raise ChannelClosed("the channel was closed")

    def divert(self, sink: Callable[[Sequence[T]], object]) -> bool:
        """Pass items to ``sink`` from now on, in the sender's thread, in place of keeping them for a receiver.

        So each item costs no change of threads. The outcome still comes to the receiver, after the last call of
        ``sink``. There may be only one sender.

        Args:
            sink: called with each batch. If it raises ``ChannelClosed``, the sender sees the channel as closed.

        Returns:
            Whether it is so from now on; not while items are inside, which the receiver has to take first.

        Threads: any; never waits.
        """
        with self.mutex:
            if self.queue:
                return False
            self._sink = sink
            for waiter in self._senders:  # one that waits for room has items that come next
                waiter.wake()
            return True

    def finish(self, outcome: Outcome) -> None:
        """Put the outcome behind the last item. The first outcome counts, later ones are ignored.

        Threads: any; never waits.
        """
        with self.mutex:
            if not self._finished:
                self._outcome = outcome
                self._finished = True
            self._wake_receivers_locked()

    def wake(self) -> None:
        """Wake the waiting receivers, so that they compute their deadlines again.

        Threads: any; never waits.
        """
        with self.mutex:
            self._wake_receivers_locked()

    def _wake_receivers_locked(self) -> None:
        for waiter in self._receivers:
            waiter.wake()
        for listener in self._listeners:
            listener()

    # -- the receiving end -------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take one item, as ``queue.Queue.get`` does.

        Raises:
            queue.Empty: no item came within ``timeout`` seconds.
            ChannelClosed: no more items will come; ``outcome`` has the reason.
            ValueError: the timeout is negative.

        Threads: any. Woken by items, by the outcome and by ``close()``.
        """
        return self._take(1, _deadline(block, timeout))[0]

    def get_many(self, deadline: float | Callable[[], float] = math.inf) -> list[T]:
        """Take all items inside; wait for one if there is none.

        Args:
            deadline: the end of the wait, in seconds on ``time.monotonic``; with a moment in the past it does not wait.
                Or a function that returns the deadline: called before each wait, and again after ``wake()``.

        Raises:
            queue.Empty: no item came before the deadline; the channel is unchanged.
            ChannelClosed: no more items will come; ``outcome`` has the reason.

        Threads: any. Woken by items, by the outcome and by ``close()``.
        """
        return self._take(None, deadline)

    def _take(self, most: int | None, deadline: float | Callable[[], float]) -> list[T]:
        waiter: Waiter | None = None
        while True:
            with self.mutex:
                if waiter is not None and waiter in self._receivers:
                    self._receivers.remove(waiter)
                if self._ready_locked():
                    return self._remove_locked(most)
                waiter = self._new_waiter()
                self._receivers.append(waiter)  # before the second check, see Waiter
                if self._ready_locked():
                    continue
            try:
                moment = deadline() if callable(deadline) else deadline
                if (wait := moment - time.monotonic()) <= 0:
                    raise queue.Empty
                waiter.wait(wait)
            except BaseException:
                self._forget(self._receivers, waiter)
                raise

    def _ready_locked(self) -> bool:
        return bool(self.queue) or self._closed or self._finished

    def _remove_locked(self, most: int | None) -> list[T]:
        """Take at most ``most`` items, all for ``None``.

        Raises:
            ChannelClosed: the end was reached, or the channel was closed.
        """
        if self._closed or not self.queue:
            raise ChannelClosed("the channel has ended")
        inside, sizes = self.queue, self._sizes  # a close in this thread, at any point, puts others in their place
        if most is None or most >= len(inside):
            items = list(inside)
            inside.clear()
        else:
            items = [inside.popleft() for _ in range(most)]
        taken = self._put_count - len(inside)
        while sizes and sizes[0][0] < taken:
            self._bytes -= sizes.popleft()[1]
        for waiter in self._senders:
            waiter.wake()
        return items

    def close(self) -> None:
        """Close the receiving end: wake both sides and drop the items inside. Closing again changes nothing.

        Threads: any; never waits.
        """
        with self.mutex:
            self._closed = True
            self._drop_locked()
            for waiter in self._senders:
                waiter.wake()
            self._wake_receivers_locked()

    def _drop_locked(self) -> None:
        self.unfinished_tasks -= len(self.queue)
        self.queue, self._sizes, self._bytes = deque(), deque(), 0  # not emptied: see _remove_locked
        if not self.unfinished_tasks:
            self.all_tasks_done.notify_all()

    def shutdown(self, immediate: bool = False) -> None:
        """End the channel as ``queue.Queue.shutdown`` does.

        Args:
            immediate: drop the items inside; otherwise they can still be taken.

        Threads: any; never waits.
        """
        if immediate:
            self.close()
        else:
            with self.mutex:
                self._finished = True
                self._wake_receivers_locked()

    # -- state -------------------------------------------------------------------------------------------

    def full(self) -> bool:
        """Return whether a sender has to wait: the channel holds its most items, or its most bytes."""
        with self.mutex:
            return len(self.queue) >= self.maxsize or self._bytes >= self._capacity_bytes

    @property
    def outcome(self) -> Outcome | None:
        """The outcome that the sender put, or ``None`` while it is still sending."""
        return self._outcome

    @property
    def closed(self) -> bool:
        """Whether the receiving end was closed."""
        return self._closed

    @property
    def ready(self) -> bool:
        """Whether ``get_many`` would return or raise without waiting."""
        with self.mutex:
            return self._ready_locked()

    def listen(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` after each put, at the end and on ``wake()``, until ``unlisten``.

        The call happens in the putting thread, which holds the mutex: the listener must be short and must not wait.
        """
        with self.mutex:
            self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Callable[[], object]) -> None:
        """Stop calling ``listener``."""
        with self.mutex:
            self._listeners = tuple(other for other in self._listeners if other != listener)

    def _forget(self, waiters: list[Waiter], waiter: Waiter) -> None:
        with self.mutex:
            if waiter in waiters:
                waiters.remove(waiter)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "finished" if self._finished else "open"
        return f"<Channel {state}, {self.qsize()} of {self.maxsize}>"


def _timed(sink: Callable[[Sequence[T]], object], items: Sequence[T]) -> float:
    """Pass items to a sink, and return the seconds that it took."""
    began = time.monotonic()
    sink(items)
    return time.monotonic() - began


def _deadline(block: bool, timeout: float | None) -> float:
    """Return the deadline on ``time.monotonic`` for the arguments of ``queue.Queue``'s methods."""
    if not block:
        return -math.inf
    if timeout is None:
        return math.inf
    if timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return time.monotonic() + timeout
