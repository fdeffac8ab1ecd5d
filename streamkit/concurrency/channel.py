"""The bounded channel between a worker and its consumer.

One sender, one receiver. What the sender puts comes out in order, and after the last item comes its outcome:
a receiver never waits for ever and never learns of the end before what came first. Closing the receiving end
wakes the sender, and drops what is inside.
"""

from __future__ import annotations

import math
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from streamkit.concurrency.wakeup import Bell, new_bell
from streamkit.errors import ChannelClosed

__all__ = ["Channel", "select"]

T = TypeVar("T")
Outcome = TypeVar("Outcome")

# Seconds that any wait lasts at the most before it looks again. It bounds the harm of a wake-up that is lost
# because the garbage collector cancels a stream while the sender is about to wait; on Windows before 3.14 it is
# also what lets Ctrl-C through.
_SLICE = 0.2 if sys.platform == "win32" and sys.version_info < (3, 14) else 1.0


class _Queue(queue.Queue[T]):
    """A ``queue.Queue`` whose items lie in batches in a ``SimpleQueue``.

    What remains of it are its bound and its wait for room; putting and getting are the channel's. Putting, and waking
    who waits, is one step of the interpreter then: with a hundred streams at once a chunk costs 5 % less than by the
    standard's deque, lock and condition. It may also be done by a cancel that comes from a signal handler or the
    garbage collector while the same thread is inside; so the mutex is reentrant as well.
    """

    queue: queue.SimpleQueue[Sequence[T]]

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        lock = threading.RLock()
        self.mutex = lock  # type: ignore[assignment]
        self.not_full = threading.Condition(lock)

    def _init(self, maxsize: int) -> None:
        self.queue = queue.SimpleQueue()


class Channel(Generic[T, Outcome]):
    """A bounded queue of single items, handed over in batches, with an outcome at its end.

    No lock is on the way of an item. Each side makes its move and then looks at the other's: the sender puts, and
    looks whether the channel was closed meanwhile; the receiver takes, and looks whether it was closed or the sender
    waits for room; who is about to wait says so, and looks once more. Whoever comes second sees what the first did.
    ``_sent`` counts items, by the sender alone, and ``_taken`` by the receiver. The mutex guards the first outcome,
    the listeners and the sender's wait. An empty batch wakes the receiver to look at the end.

    The receiver waits in the queue itself, or by a bell where there is one. That is made when it first waits, and
    gone once nothing more can come, for it holds a descriptor.

    Args:
        capacity: how many items it holds at most, from 1.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is at least 1, not {capacity}")
        self._queue: _Queue[T] = _Queue(capacity)
        self._batches = self._queue.queue
        self._sent = 0
        self._taken = 0
        self._outcome: Outcome | None = None
        self._closed = False
        self._sender_waits = False
        self._receiver_waits = False  # by the bell
        self._bell: Bell | None = None
        self._has_waited = False
        self._listeners: tuple[threading.Event, ...] = ()
        self.peak = 0

    # -- the sending end ---------------------------------------------------------------------------------

    def put_many(self, items: Sequence[T], look: Callable[[], object] | None = None, every: float = _SLICE) -> float:
        """Put items in order, as many at once as there is room for, and wait for room for the rest.

        Args:
            items: at least one; the sequence is the channel's from then on.
            look: called while it waits, so that it may ``close()`` the channel.
            every: seconds between two such calls.

        Returns:
            Seconds that it waited for the receiver; 0.0 if there was room.

        Raises:
            ChannelClosed: the receiving end was closed; the items are dropped.

        Threads: the sender only. Woken by room and by ``close()``.
        """
        held = self._sent - self._taken + len(items)
        if held > self._queue.maxsize:
            return self._put_in_parts(items, look, every)
        self._sent += len(items)
        self._batches.put(items)
        if self._closed:  # perhaps since the look for room: then nobody else will drop them
            self._drop()
            raise ChannelClosed("the receiving end was closed")
        if held > self.peak:
            self.peak = held
        if self._receiver_waits or self._listeners:
            self._call_receiver()
        return 0.0

    def _put_in_parts(self, items: Sequence[T], look: Callable[[], object] | None, every: float) -> float:
        waited = 0.0
        while items:
            if self._closed:  # what was dropped makes no room
                raise ChannelClosed("the receiving end was closed")
            room = self._queue.maxsize - self._sent + self._taken
            if room > 0:
                self.put_many(items[:room])
                items = items[room:]
            else:
                began = time.monotonic()
                self._wait_for_room(every)
                if look is not None:
                    look()
                waited += time.monotonic() - began
        return waited

    def _wait_for_room(self, seconds: float) -> None:
        with self._queue.mutex:  # the receiver needs it to notify
            self._sender_waits = True
            if self._sent - self._taken >= self._queue.maxsize and not self._closed:
                self._queue.not_full.wait(seconds)
            self._sender_waits = False

    def finish(self, outcome: Outcome) -> None:
        """Put the outcome behind the last item; the first one counts, later ones are ignored.

        Threads: any; never waits.
        """
        with self._queue.mutex:
            if self._outcome is None:
                self._outcome = outcome
        self._batches.put(())
        self._call_receiver()
        self._bell = None

    def _call_receiver(self) -> None:
        """Wake the receiver if it waits by its bell, and tell the listeners."""
        bell = self._bell
        if bell is not None and self._receiver_waits:
            self._receiver_waits = False
            bell.ring()
        for listener in self._listeners:
            listener.set()

    # -- the receiving end -------------------------------------------------------------------------------

    def get_many(self, deadline: float = math.inf) -> Sequence[T]:
        """Take everything that is there, waiting for at least one item.

        Args:
            deadline: when to give up, on ``time.monotonic``; a moment in the past does not wait at all.

        Raises:
            queue.Empty: nothing came in time; the channel is unchanged.
            ChannelClosed: nothing more will come; ``outcome`` tells why.

        Threads: the receiver only. Woken by items, by the outcome and by ``close()``.
        """
        batches = self._batches
        while not self._closed:
            ended = self._outcome is not None  # looked at first: if it is there, so is all that comes before it
            wait = 0.0
            if batches.empty():
                if ended:
                    break
                wait = min(deadline - time.monotonic(), _SLICE)
                if wait <= 0:
                    raise queue.Empty
                if self._wait_for_bell(wait):
                    continue
            try:
                items = batches.get(wait > 0, wait or None)
            except queue.Empty:  # the time is over, or what was there was dropped
                continue
            if not batches.empty():
                items = [*items, *self._rest()]
            if items and not self._closed:  # or these may be what came after others that were dropped
                self._taken += len(items)
                if self._sender_waits:
                    with self._queue.mutex:
                        self._queue.not_full.notify()
                return items
        self._bell = None
        raise ChannelClosed("the channel has ended")

    def _wait_for_bell(self, seconds: float) -> bool:
        """Wait by the bell; ``False`` where there is none."""
        if not self._has_waited:
            self._has_waited, self._bell = True, new_bell()
        bell = self._bell
        if bell is None:
            return False
        self._receiver_waits = True  # before the look: who puts something after it will ring
        if self._batches.empty() and not self._closed and self._outcome is None:
            bell.wait(seconds)
        self._receiver_waits = False
        return True

    def _rest(self) -> Iterator[T]:
        """Take what there is at this moment."""
        with suppress(queue.Empty):
            while True:
                yield from self._batches.get(False)

    def close(self) -> None:
        """Close the receiving end: wake both sides and drop what is inside. Closing again changes nothing.

        The flag comes before the drain: a sender that puts after the drain sees the flag, and drops its items itself.

        Threads: any; never waits.
        """
        self._closed = True
        self._drop()
        with self._queue.mutex:
            self._queue.not_full.notify()

    def _drop(self) -> None:
        """Drop what is inside, and wake the receiver after it: what wakes it may be among what is dropped."""
        for _ in self._rest():
            pass
        self._batches.put(())
        self._call_receiver()
        self._bell = None

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
        return self._sent > self._taken or self._closed or self._outcome is not None

    def listen(self, event: threading.Event) -> None:
        """Have ``event`` set whenever something is put, until ``unlisten``."""
        with self._queue.mutex:
            self._listeners = (*self._listeners, event)

    def unlisten(self, event: threading.Event) -> None:
        """Undo ``listen``."""
        with self._queue.mutex:
            self._listeners = tuple(other for other in self._listeners if other is not event)

    def __len__(self) -> int:
        return 0 if self._closed else self._sent - self._taken

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._outcome is None else "finished"
        return f"<Channel {state}, {len(self)} of {self._queue.maxsize}>"


def select(
    channels: Sequence[Channel[T, Outcome]], event: threading.Event, timeout: float | None
) -> list[Channel[T, Outcome]]:
    """Return those of the channels that have something to take, waiting for the first.

    Args:
        channels: each must ``listen`` with ``event``, which the caller does once and not for every call.
        timeout: seconds to wait; ``None`` for as long as it takes.

    Returns:
        The ready ones in the order given; empty when the time ran out.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        event.clear()  # before looking: what comes after the look sets it again
        ready = [channel for channel in channels if channel.ready]
        if ready or not channels:
            return ready
        wait = _SLICE if deadline is None else min(_SLICE, deadline - time.monotonic())
        if wait <= 0:
            return []
        event.wait(wait)
