"""A stream that plays a reply which was kept: ``PlayedStream``."""

from __future__ import annotations

import math
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence

import attrs

from streamkit.concurrency.plain_events import on_set
from streamkit.concurrency.stop import ReentrantEvent, StopEvent
from streamkit.observing.observers import Stats
from streamkit.observing.status import Status
from streamkit.policies.middleware import CallOptions
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.redelivery import Received
from streamkit.streaming.stream import Stream
from streamkit.streaming.typed_output import TypedOutput
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion

__all__ = ["Kept", "Listened", "Played", "PlayedStream", "on_stop", "wake_by"]


@attrs.frozen
class Kept:
    """A reply that was kept.

    Attributes:
        provider: that answered.
        model: by the account of its completion.
        chunks: as they are played, the last one ``done``.
        seconds: when each of them arrived, from the start of its stream.
    """

    provider: str
    model: str
    chunks: Sequence[Chunk] = attrs.field(repr=False)
    seconds: Sequence[float] = attrs.field(repr=False)


def on_stop(stop: threading.Event | None, stream: ChunkStream, wake: Callable[[], object]) -> Callable[[], None]:
    """End a stream that has no reader when an event is set, and return a function that ends that.

    A ``StopEvent`` cancels it. A plain event is noticed in a thread that may run no code of the program's, such as an
    observer: it wakes the consumer, which looks at the event.

    Args:
        stop: must not keep the stream alive.
        stream: is cancelled.
        wake: wakes the consumer; must not keep the stream alive.
    """
    if stop is None:
        return lambda: None
    reference = weakref.ref(stream)

    def cancel() -> None:
        found = reference()
        if found is not None and not found.inherited:
            found.cancel()

    end = stop.subscribe(wake, cancel) if isinstance(stop, StopEvent) else on_set(stop, wake)
    weakref.finalize(stream, end).atexit = False
    return end


class Listened(ChunkStream):
    """A stream without a reader: it calls its listeners itself.

    Owner of the fields: the consumer's thread alone changes ``listeners``, by single assignments.
    """

    listeners: tuple[Callable[[], object], ...] = ()

    def _chunks(self) -> Iterator[Chunk]:
        __tracebackhide__ = True
        while (chunk := self.take()) is not None:
            yield chunk

    def divert(self, sink: Callable[[Sequence[Chunk]], object]) -> bool:
        """Return ``False``: there is no reader that could call it."""
        return False

    def listen(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` whenever there may be a chunk to take, and at the end, until ``unlisten``."""
        self._check_use()
        self.listeners = (*self.listeners, listener)

    def unlisten(self, listener: Callable[[], object]) -> None:
        """Stop calling ``listener``."""
        self.listeners = tuple(other for other in self.listeners if other != listener)


def wake_by(news: ReentrantEvent, stream: Listened) -> Callable[..., None]:
    """Return what wakes the consumer of a stream that waits for an event, and calls the stream's listeners."""
    reference = weakref.ref(stream)

    def wake(_: object = None) -> None:
        news.set()
        found = reference()
        if found is not None:
            for listener in found.listeners:
                listener()

    return wake


class Played(Listened):
    """A stream of the chunks of a reply that was kept: all at once, or each when it is due.

    It has no reader and no observers, and nothing is sent.

    Owner of the fields: ``_received`` and ``_news`` protect themselves. The consumer's thread writes ``_first_at``, and
    the one that ends the stream ``_ended_at``. The others never change.

    Args:
        kept: the reply.
        call: what the caller has said.
        subject: the request, as errors name it.
        pace: whether each chunk comes as long after the start as it did when the reply was made.
        may_call: whether the reply may call tools.
    """

    def __init__(self, kept: Kept, call: CallOptions, subject: str, *, pace: bool, may_call: bool) -> None:
        self._kept = kept
        self._call = call
        self._names = subject
        self._pace = pace
        self._may_call = may_call
        self._began = time.monotonic()
        self._ended_at: float | None = None
        self._first_at: float | None = None
        self._news = ReentrantEvent()
        self._wake = wake_by(self._news, self)
        output = call.output
        self._received = Received(kept.provider, kept.model, None if output is None else output.parsed)
        if call.stop is not None and call.stop.is_set():
            self._received.settle("cancelled")
        elif pace:
            self._received.on_settled = on_stop(call.stop, self, self._wake)

    # -- taking chunks -----------------------------------------------------------------------------------

    def take(self, seconds: float | None = None) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end, also of a stream that was closed meanwhile."""
        __tracebackhide__ = True
        received, stop = self._received, self._call.stop
        until = math.inf if seconds is None else time.monotonic() + seconds
        while received.status == "open":
            if stop is not None and stop.is_set():
                self.cancel()
                break
            number = received.count
            if number >= len(self._kept.chunks):
                self._end("complete")
                break
            left = self._due(number) - time.monotonic()
            if left <= 0:
                return self._deliver(number)
            if until <= time.monotonic():
                raise queue.Empty
            self._wait(min(left, until - time.monotonic()))
            self._news.clear()
        return None

    def _deliver(self, number: int) -> Chunk:
        chunk, round = self._kept.chunks[number], self._call.round
        if round:
            chunk = attrs.evolve(chunk, round=round)
        if self._first_at is None:
            self._first_at = time.monotonic()
        self._received.deliver(chunk)
        return chunk

    def _wait(self, seconds: float) -> None:
        __tracebackhide__ = True
        try:
            self._news.wait(max(seconds, 0.0))
        except BaseException as error:  # Ctrl-C or the time limit of a worker process
            self._interrupted(error)
            raise

    def _due(self, number: int) -> float:
        return self._began + self._kept.seconds[number] if self._pace else -math.inf

    def peek(self) -> Chunk | None:
        """Return the next chunk if it has arrived and nothing else has to happen first; do not take it."""
        return None

    def poll(self) -> bool:
        """Return whether ``take()`` would not have to wait, without waiting."""
        stop = self._call.stop
        return self.next_check() <= time.monotonic() or (stop is not None and stop.is_set())

    def next_check(self) -> float:
        """Return the moment, on ``time.monotonic``, at which to call ``poll()`` even if the listener was not called."""
        number = self._received.count
        over = self._received.status != "open" or number >= len(self._kept.chunks)
        return -math.inf if over else self._due(number)

    # -- ending ------------------------------------------------------------------------------------------

    def _end(self, status: Status) -> None:
        self._ended_at = self._ended_at or time.monotonic()
        self._received.settle(status)

    def cancel(self) -> None:
        """Cancel the stream; see ``ChunkStream.cancel``."""
        self._check_owner()
        self._ended_at = self._ended_at or time.monotonic()
        self._received.abandon()
        self._wake()

    def close(self) -> None:
        """Cancel the stream if it is open."""
        self._check_owner()
        if self.status == "open":
            self._leave()

    def _leave(self) -> None:
        self.cancel()
        self._received.closed_early = self.status == "cancelled"

    @property
    def _closed_early(self) -> bool:
        return self._received.closed_early

    @property
    def _subject(self) -> str:
        return self._names

    # -- state -------------------------------------------------------------------------------------------

    @property
    def _output(self) -> TypedOutput | None:
        return self._call.output

    @property
    def completion(self) -> Completion:
        """The completion of the chunks delivered so far, at any time, also after a cancel."""
        return self._received.completion()

    @property
    def status(self) -> Status:
        """``open``, ``complete`` or ``cancelled``."""
        return self._received.status

    @property
    def error(self) -> BaseException | None:
        """``None``: what was kept cannot fail."""
        return self._received.error

    @property
    def response(self) -> None:
        """``None``: nothing was sent."""

    @property
    def stats(self) -> Stats:
        """The figures of the stream so far, with ``cached``; no requests and no bytes."""
        first, count = self._first_at, self._received.count
        return Stats(
            None if first is None else first - self._began,
            (self._ended_at or time.monotonic()) - self._began,
            count,
            0,
            0,
            0,
            0.0,
            cached=True,
        )

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's stream, which cannot be used."""
        return self._received.inherited

    def __repr__(self) -> str:
        return f"<PlayedStream {self.status}, {self._received.count} of {len(self._kept.chunks)} chunks>"


class PlayedStream(Played, Stream):
    """A ``Stream`` of a reply that was kept; see ``Played``.

    Of ``Stream`` it has what a user sees, and none of the fields.
    """
