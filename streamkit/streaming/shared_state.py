"""State shared by a worker and its stream: ``StreamState``, and the ``Outcome`` that ends it."""

from __future__ import annotations

import threading
import time

import attrs

from streamkit.concurrency.channel import Channel
from streamkit.concurrency.waiting import Waiter
from streamkit.observing.observers import TriedRoute
from streamkit.observing.status import Status
from streamkit.settings import Timeout
from streamkit.streaming.deadlines import Deadlines
from streamkit.transport.guard import SocketGuard
from streamkit.values.chunks import Chunk
from streamkit.wire.http import ResponseInfo
from streamkit.wire.messages import Subject

__all__ = ["Outcome", "StreamState"]


@attrs.frozen
class Outcome:
    """The end of a stream, as its worker reports it."""

    status: Status
    error: BaseException | None = None


class StreamState:
    """State shared by a worker and its stream.

    Owner of the fields: ``channel``, ``guard`` and ``deadlines`` protect themselves. Any thread may change ``halted``,
    from False to True, by a single assignment. ``inherited`` is set once, in a forked child that has one thread. Only
    the worker writes ``route``, ``address``, ``left``, ``at_gate``, ``attempts``, ``recovered``, ``chunks``,
    ``blocked``, ``first_chunk_at``, ``ended_at``, ``response`` and ``received``, each by a single assignment, and adds
    to ``arrivals``; any thread may read them. ``plain_stop``, ``round`` and ``_halt_waiter`` never change.

    Args:
        buffer: the channel's capacity, in chunks.
        buffer_bytes: the channel's capacity, in bytes of the events' text.
        timeout: the limits.
        route: the provider and the model that are asked first.
        plain_stop: the user's ``threading.Event`` that cancels the stream, or ``None``.
        round: the number of the request in a run with tools, which its chunks get.
        arrivals: whether to keep when chunks arrive.

    Attributes:
        route: the provider and the model that are asked, or that answered.
        address: the URL that is asked, or that answered, as errors show it.
        left: the routes that were left before.
        at_gate: the worker waits on it at gates; ``None`` if it has none.
        halted: whether the stream was told to end.
        inherited: whether this is a forked child's copy: no worker runs here, and the socket is the parent's.
        attempts: tries so far.
        recovered: how often the reply was gone on with after it had broken off.
        chunks: chunks decoded so far.
        blocked: seconds that the worker waited for the consumer.
        first_chunk_at: when the first chunk was put, on ``time.monotonic``.
        ended_at: when the worker ended, on ``time.monotonic``.
        response: the head of the last response.
        received: bytes of the body so far, decompressed.
        arrivals: when chunks were handed over, on ``time.monotonic``, and how many; ``None`` where that is not kept.
    """

    def __init__(
        self,
        buffer: int,
        buffer_bytes: int,
        timeout: Timeout,
        route: tuple[str, str],
        plain_stop: threading.Event | None,
        round: int = 0,
        *,
        arrivals: bool = False,
    ) -> None:
        self.channel: Channel[Chunk, Outcome] = Channel(buffer, buffer_bytes)
        self.deadlines = Deadlines(timeout, on_earlier=self.channel.wake)
        self.guard = SocketGuard()
        self.route = route
        self.address = ""
        self.left: tuple[TriedRoute, ...] = ()
        self.plain_stop = plain_stop
        self.round = round
        self.halted = False
        self.inherited = False
        self.attempts = 0
        self.recovered = 0
        self.chunks = 0
        self.blocked = 0.0
        self.first_chunk_at: float | None = None
        self.ended_at: float | None = None
        self.response: ResponseInfo | None = None
        self.received = 0
        self.arrivals: list[tuple[float, int]] | None = [] if arrivals else None
        self.at_gate: Waiter | None = None
        self._halt_waiter = Waiter()  # the worker waits on it in a back-off; ``halt`` wakes it

    def name(self, subject: Subject) -> None:
        """Name what is asked, for errors and reports.

        Threads: the worker, and before it runs that of the constructor.
        """
        self.deadlines.subject, self.address = str(subject), subject.address

    def leave_route(self, why: str, error: str, route: tuple[str, str]) -> None:
        """Go to the next route.

        Args:
            why: the last one is left.
            error: the class of the error for which it is left.
            route: the provider and the model of the next one.

        Threads: the worker only.
        """
        tried = TriedRoute("/".join(self.route), why, *self.since_last_route(), error)
        self.left, self.route = (*self.left, tried), route
        self.response, self.received = None, 0  # those of the other one

    def count_recovery(self) -> None:
        """Count that the reply goes on after it had broken off.

        Threads: the worker only.
        """
        self.recovered += 1

    def since_last_route(self) -> tuple[int, float]:
        """Return the requests of the present route, and the seconds that it has taken so far."""
        attempts = self.attempts - sum(each.attempts for each in self.left)
        seconds = (self.ended_at or time.monotonic()) - self.deadlines.started_at
        return attempts, seconds - sum(each.seconds for each in self.left)

    def halt(self) -> None:
        """End the worker: in a back-off, in a full queue, or blocked in the kernel.

        Threads: any, any number of times; never waits.
        """
        self.halted = True
        if self.inherited:
            return  # a shutdown here would cut the parent's connection
        self._halt_waiter.wake()
        at_gate = self.at_gate
        if at_gate is not None:
            at_gate.wake()
        self.channel.close()
        self.guard.shut_down()

    def stop_requested(self) -> bool:
        """Return whether the stream is to end; halt it if the user's plain event is set."""
        if not self.halted and self.plain_stop is not None and self.plain_stop.is_set():
            self.halt()
        return self.halted

    def sleep(self, seconds: float) -> None:
        """Wait for some seconds, or until the stream is halted.

        Threads: the worker only.
        """
        if not self.stop_requested():  # a halt after this check ends the wait, see Waiter
            self._halt_waiter.wait(seconds)
