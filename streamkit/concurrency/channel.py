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
    # gevent puts queues without a mutex in the place of the standard ones; the locks of a standard one are gevent's.
    _monkey = sys.modules.get("gevent.monkey")
    Queue = _monkey.get_original("queue", "Queue") if _monkey else queue.Queue


class Channel(Queue[T], Generic[T, Outcome]):
    """A ``queue.Queue`` that is bounded in bytes as well, hands over in batches, and ends with an outcome.

    Items come out in the order in which they were put, and the outcome after the last of them: a receiver never waits
    for ever, and never learns of the end before what came first. Closing the receiving end wakes the sender and drops
    what is inside.

    One mutex guards all fields, the one of ``queue.Queue``. It is reentrant, because a signal handler or the garbage
    collector may close a channel at any point of a thread that has it. For the same reason waits are by ``Waiter``
    and not by the conditions of ``queue.Queue``.

    Args:
        capacity: how many items it holds at most, from 1.
        capacity_bytes: how many bytes of items; one batch always fits into an empty channel, however large.
        new_waiter: makes what a thread waits by.
    """

    queue: deque[T]  # as queue.Queue makes it

    def __init__(
        self, capacity: int, capacity_bytes: float = math.inf, *, new_waiter: Callable[[], Waiter] = Waiter
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is at least 1, not {capacity}")
        super().__init__(capacity)
        lock = threading.RLock()
        self.mutex = lock  # type: ignore[assignment]
        self.not_empty, self.not_full, self.all_tasks_done = (threading.Condition(lock) for _ in range(3))
        self._capacity_bytes = capacity_bytes
        self._new_waiter = new_waiter
        self._outcome: Outcome | None = None
        self._finished = False
        self._closed = False
        self._put_count = 0  # items put so far; _put_count - len(queue) were taken
        self._sizes: deque[tuple[int, int]] = deque()  # of each batch inside: the number of its first item, bytes
        self._bytes = 0  # inside
        self._senders: list[Waiter] = []
        self._receivers: list[Waiter] = []
        self._listeners: tuple[Callable[[], object], ...] = ()
        self.peak = 0  # the most items that were inside

    # -- the sending end ---------------------------------------------------------------------------------

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Put one item, as ``queue.Queue.put`` does.

        Raises:
            queue.Full: there was no room in time.
            ChannelClosed: the channel was closed or has ended.
        """
        self._put((item,), 0, _deadline(block, timeout))

    def put_many(self, items: Sequence[T], size: int = 0) -> float:
        """Put items in order, as many at once as there is room for, and wait for room for the rest.

        Args:
            items: at least one.
            size: bytes of all of them together.

        Returns:
            Seconds that it waited for the receiver; 0.0 if there was room.

        Raises:
            ChannelClosed: the channel was closed; what was not taken is dropped.

        Threads: any. Woken by room and by ``close()``.
        """
        return self._put(items, size, math.inf)

    def _put(self, items: Sequence[T], size: int, deadline: float) -> float:  # type: ignore[override]
        with self.mutex:
            if self._room_locked(size) >= len(items):
                self._add_locked(items, size)
                return 0.0
        return self._put_in_parts(items, size, deadline)

    def _put_in_parts(self, items: Sequence[T], size: int, deadline: float) -> float:
        waited = 0.0
        while items:
            waiter = self._new_waiter()
            try:
                with self.mutex:
                    self._senders.append(waiter)  # before the look for room, see Waiter
                    room = self._room_locked(size)
                    if room > 0:
                        self._add_locked(items[:room], size)
                        items, size = items[room:], 0
                        continue
                began = time.monotonic()
                if deadline <= began:
                    raise queue.Full
                waiter.wait(deadline - began)
                waited += time.monotonic() - began
            finally:
                self._forget(self._senders, waiter)
        return waited

    def _room_locked(self, size: int) -> int:
        """Return how many items may be put now.

        Raises:
            ChannelClosed: nothing may be put any more.
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
        self.peak = max(self.peak, len(self.queue))
        self._call_receivers_locked()
        if self._closed:  # by a signal handler or the garbage collector, in this thread, since the look
            self._drop_locked()
            raise ChannelClosed("the channel was closed")

    def finish(self, outcome: Outcome) -> None:
        """Put the outcome behind the last item; the first one counts, later ones are ignored.

        Threads: any; never waits.
        """
        with self.mutex:
            if not self._finished:
                self._outcome = outcome
                self._finished = True
            self._call_receivers_locked()

    def wake(self) -> None:
        """Have receivers that wait look at their deadline again.

        Threads: any; never waits.
        """
        with self.mutex:
            self._call_receivers_locked()

    def _call_receivers_locked(self) -> None:
        for waiter in self._receivers:
            waiter.wake()
        for listener in self._listeners:
            listener()

    # -- the receiving end -------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take one item, as ``queue.Queue.get`` does.

        Raises:
            queue.Empty: nothing came in time.
            ChannelClosed: nothing more will come; ``outcome`` has the reason.
        """
        return self._take(1, _deadline(block, timeout))[0]

    def get_many(self, deadline: float | Callable[[], float] = math.inf) -> list[T]:
        """Take everything that is there, waiting for at least one item.

        Args:
            deadline: when to give up, on ``time.monotonic``; a moment in the past does not wait at all. Or a function
                that returns it: called before each wait, and after ``wake()``.

        Raises:
            queue.Empty: nothing came in time; the channel is unchanged.
            ChannelClosed: nothing more will come; ``outcome`` has the reason.

        Threads: any. Woken by items, by the outcome and by ``close()``.
        """
        return self._take(None, deadline)

    def _take(self, most: int | None, deadline: float | Callable[[], float]) -> list[T]:
        while True:
            with self.mutex:
                if self._ready_locked():
                    return self._remove_locked(most)
            waiter = self._new_waiter()
            try:
                with self.mutex:
                    self._receivers.append(waiter)  # before the look, see Waiter
                    if self._ready_locked():
                        continue
                moment = deadline() if callable(deadline) else deadline
                if (wait := moment - time.monotonic()) <= 0:
                    raise queue.Empty
                waiter.wait(wait)
            finally:
                self._forget(self._receivers, waiter)

    def _ready_locked(self) -> bool:
        return bool(self.queue) or self._closed or self._finished

    def _remove_locked(self, most: int | None) -> list[T]:
        """Take what is there.

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
        """Close the receiving end: wake both sides and drop what is inside. Closing again changes nothing.

        Threads: any; never waits.
        """
        with self.mutex:
            self._closed = True
            self._drop_locked()
            for waiter in self._senders:
                waiter.wake()
            self._call_receivers_locked()

    def _drop_locked(self) -> None:
        self.unfinished_tasks -= len(self.queue)
        self.queue, self._sizes, self._bytes = deque(), deque(), 0  # not emptied: see _remove_locked
        if not self.unfinished_tasks:
            self.all_tasks_done.notify_all()

    def shutdown(self, immediate: bool = False) -> None:
        """End the channel as ``queue.Queue.shutdown`` does: take what is inside, or drop it if ``immediate``.

        Threads: any; never waits.
        """
        if immediate:
            self.close()
        else:
            with self.mutex:
                self._finished = True
                self._call_receivers_locked()

    # -- looking -----------------------------------------------------------------------------------------

    def full(self) -> bool:
        """Return whether a sender would have to wait: there is no room for another item, or no byte left."""
        with self.mutex:
            return len(self.queue) >= self.maxsize or self._bytes >= self._capacity_bytes

    @property
    def outcome(self) -> Outcome | None:
        """What the sender put last, or ``None`` while it is still sending."""
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
        """Have ``listener`` called whenever something is put, and at the end, until ``unlisten``.

        It is called with the mutex held, in the thread that puts: it must be short, and must not wait.
        """
        with self.mutex:
            self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Callable[[], object]) -> None:
        """Undo ``listen``."""
        with self.mutex:
            self._listeners = tuple(other for other in self._listeners if other != listener)

    def _forget(self, waiters: list[Waiter], waiter: Waiter) -> None:
        with self.mutex:
            if waiter in waiters:
                waiters.remove(waiter)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "finished" if self._finished else "open"
        return f"<Channel {state}, {self.qsize()} of {self.maxsize}>"


def _deadline(block: bool, timeout: float | None) -> float:
    """Return the moment that the arguments of ``queue.Queue`` stand for."""
    if not block:
        return -math.inf
    if timeout is None:
        return math.inf
    if timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return time.monotonic() + timeout
