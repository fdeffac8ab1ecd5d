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
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from streamkit.bell import Bell, new_bell
from streamkit.errors import ChannelClosed

__all__ = ["Channel", "select"]

T = TypeVar("T")
Outcome = TypeVar("Outcome")

# Seconds that any wait lasts at the most before it looks again. It bounds the harm of a wake-up that is lost
# because the garbage collector cancels a stream in the middle of a wait; on Windows before 3.14 it is also
# what lets Ctrl-C through.
_SLICE = 0.2 if sys.platform == "win32" and sys.version_info < (3, 14) else 1.0


class _Queue(queue.Queue[T]):
    """A ``queue.Queue`` whose lock is reentrant.

    A cancel may come from a signal handler or from the garbage collector while the same thread is inside;
    with the standard lock that would be a deadlock.
    """

    queue: deque[T]

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        lock = threading.RLock()
        self.mutex = lock  # type: ignore[assignment]
        self.not_full = threading.Condition(lock)


class Channel(Generic[T, Outcome]):
    """A bounded queue of single items, handed over in batches, with an outcome at its end.

    The state is ``_outcome``, ``_closed``, ``_bell`` and who waits, beside the queue, all guarded by the queue's
    mutex. The bell is made when the receiver first waits, and gone once nothing more can come, for it may hold a
    descriptor. It is rung without the mutex, which the receiver needs next, unless the sender is about to wait.

    Args:
        capacity: how many items it holds at most, from 1.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is at least 1, not {capacity}")
        self._queue: _Queue[T] = _Queue(capacity)
        self._outcome: Outcome | None = None
        self._closed = False
        self._receiver_waits = False
        self._sender_waits = False
        self._bell: Bell | None = None
        self._listeners: tuple[threading.Event, ...] = ()
        self.peak = 0

    # -- the sending end ---------------------------------------------------------------------------------

    def put_many(self, items: Sequence[T], look: Callable[[], object] | None = None, every: float = _SLICE) -> float:
        """Put items in order, as many at once as there is room for, and wait for room for the rest.

        Args:
            items: at least one.
            look: called while it waits, so that it may ``close()`` the channel.
            every: seconds between two such calls.

        Returns:
            Seconds that it waited for the receiver; 0.0 if there was room.

        Raises:
            ChannelClosed: the receiving end was closed; the items are dropped.

        Threads: the sender only. Woken by room and by ``close()``.
        """
        inner = self._queue
        put, waited = 0, 0.0
        bell: Bell | None = None
        with inner.mutex:
            while not self._closed:
                room = inner.maxsize - len(inner.queue)
                if room > 0:
                    inner.queue.extend(items[put : put + room] if put or room < len(items) else items)
                    put += room
                    if len(inner.queue) > self.peak:
                        self.peak = len(inner.queue)
                    bell = self._call_receiver_locked()
                    if put >= len(items):
                        break
                    if bell is not None:
                        bell.ring()
                began = time.monotonic()
                self._sender_waits = True
                inner.not_full.wait(every)
                self._sender_waits = False
                if look is not None:
                    look()
                waited += time.monotonic() - began
            else:
                raise ChannelClosed("the receiving end was closed")
        if bell is not None:
            bell.ring()
        return waited

    def finish(self, outcome: Outcome) -> None:
        """Put the outcome behind the last item; the first one counts, later ones are ignored.

        Threads: any; never waits.
        """
        with self._queue.mutex:
            if self._outcome is None:
                self._outcome = outcome
            bell, self._bell = self._call_receiver_locked(), None
        if bell is not None:
            bell.ring()

    def _call_receiver_locked(self) -> Bell | None:
        """Return the bell to ring if the receiver waits, and tell the listeners."""
        for listener in self._listeners:
            listener.set()
        if not self._receiver_waits:
            return None
        self._receiver_waits = False
        return self._bell

    # -- the receiving end -------------------------------------------------------------------------------

    def get_many(self, deadline: float = math.inf) -> list[T]:
        """Take everything that is there, waiting for at least one item.

        Args:
            deadline: when to give up, on ``time.monotonic``; a moment in the past does not wait at all.

        Raises:
            queue.Empty: nothing came in time; the channel is unchanged.
            ChannelClosed: nothing more will come; ``outcome`` tells why.

        Threads: the receiver only. Woken by items, by the outcome and by ``close()``.
        """
        inner = self._queue
        while True:
            wait = deadline - time.monotonic()
            bell: Bell | None = None
            with inner.mutex:
                if wait > 0 and not (inner.queue or self._closed or self._outcome is not None):
                    bell = self._bell = self._bell or new_bell()
                    self._receiver_waits = True  # before the look, or a handler that closes after it would not ring
                if inner.queue:
                    items = list(inner.queue)
                    inner.queue.clear()
                    self._receiver_waits = False
                    if self._sender_waits:
                        inner.not_full.notify()
                    return items
                if self._closed or self._outcome is not None:
                    self._bell = None
                    raise ChannelClosed("the channel has ended")
            if wait <= 0:
                raise queue.Empty
            if bell is not None:  # none: what was there before the time was looked at is gone, by a handler's close
                bell.wait(min(wait, _SLICE))

    def close(self) -> None:
        """Close the receiving end: wake both sides and drop what is inside. Closing again changes nothing.

        The flag comes before the drain, or a sender could fill the room that the drain made.

        Threads: any; never waits.
        """
        with self._queue.mutex:
            self._closed = True
            self._queue.queue.clear()
            self._queue.not_full.notify()
            bell, self._bell = self._call_receiver_locked(), None
        if bell is not None:
            bell.ring()

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
        return bool(self._queue.queue) or self._closed or self._outcome is not None

    def listen(self, event: threading.Event) -> None:
        """Have ``event`` set whenever something is put, until ``unlisten``."""
        with self._queue.mutex:
            self._listeners = (*self._listeners, event)

    def unlisten(self, event: threading.Event) -> None:
        """Undo ``listen``."""
        with self._queue.mutex:
            self._listeners = tuple(other for other in self._listeners if other is not event)

    def __len__(self) -> int:
        return len(self._queue.queue)

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
