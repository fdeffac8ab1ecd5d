"""What a worker and its stream share: ``StreamState``, and the ``Outcome`` that ends it."""

from __future__ import annotations

import threading

import attrs

from streamkit.concurrency.channel import Channel
from streamkit.concurrency.waiting import Waiter
from streamkit.observing.status import Status
from streamkit.settings import Timeout
from streamkit.streaming.deadlines import Deadlines
from streamkit.transport.guard import SocketGuard
from streamkit.values.chunks import Chunk
from streamkit.wire.http import ResponseInfo

__all__ = ["Outcome", "StreamState"]


@attrs.frozen
class Outcome:
    """How a stream ended, as its worker saw it."""

    status: Status
    error: BaseException | None = None


class StreamState:
    """What a worker and its stream share.

    The channel, the guard and the deadlines have their own rules. ``halted`` goes from False to True once, by any
    thread. ``inherited`` is set once, in a forked child, where no other thread runs. All other fields are written by
    the worker alone, each by a single assignment, and may be read by any thread.

    Args:
        buffer: the channel's capacity, in chunks.
        buffer_bytes: the same, in bytes of the events' text.
        timeout: the limits.
        plain_stop: a user's ``threading.Event`` to look at, or ``None``.
    """

    def __init__(self, buffer: int, buffer_bytes: int, timeout: Timeout, plain_stop: threading.Event | None) -> None:
        self.channel: Channel[Chunk, Outcome] = Channel(buffer, buffer_bytes)
        self.deadlines = Deadlines(timeout, on_earlier=self.channel.wake)
        self.guard = SocketGuard()
        self.plain_stop = plain_stop
        self.halted = False
        self.inherited = False  # by a forked child, where no worker runs and the socket is the parent's
        self.attempts = 0
        self.chunks = 0
        self.blocked = 0.0  # seconds that the consumer kept the worker waiting
        self.first_chunk_at: float | None = None
        self.ended_at: float | None = None
        self.response: ResponseInfo | None = None
        self.received = 0  # bytes of the body so far, decompressed
        self._sleeper: Waiter | None = None  # the worker's, in a back-off

    def halt(self) -> None:
        """End the worker: in a back-off, in a full queue, or blocked in the kernel.

        Threads: any, any number of times; never waits.
        """
        self.halted = True
        if self.inherited:
            return  # a shutdown here would cut the parent's connection
        if (sleeper := self._sleeper) is not None:
            sleeper.wake()
        self.channel.close()
        self.guard.shut_down()

    def stop_asked(self) -> bool:
        """Look whether the stream is to end, at the user's plain event too."""
        if not self.halted and self.plain_stop is not None and self.plain_stop.is_set():
            self.halt()
        return self.halted

    def sleep(self, seconds: float) -> None:
        """Wait until the time is over or the stream is to end.

        Threads: the worker only.
        """
        self._sleeper = waiter = Waiter()  # before the look, see Waiter
        if not self.stop_asked():
            waiter.wait(seconds)
