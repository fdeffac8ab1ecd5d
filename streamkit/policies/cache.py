"""Give the same request the same reply again: ``Cache``, and ``MemoryCache``, which keeps replies in the process."""

from __future__ import annotations

import math
import os
import queue
import threading
import time
import weakref
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial

import attrs

from streamkit.concurrency.stop import ReentrantEvent
from streamkit.errors import ConfigError
from streamkit.observing.observers import Stats
from streamkit.observing.status import Status
from streamkit.policies.middleware import CallOptions, Middleware, Next, Request, digest_of
from streamkit.policies.played import Kept, Listened, PlayedStream, on_stop, wake_by
from streamkit.settings import seconds_of, shown
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.deadlines import Deadlines
from streamkit.streaming.job import Job
from streamkit.streaming.redelivery import Received
from streamkit.streaming.stream import Stream
from streamkit.streaming.typed_output import TypedOutput
from streamkit.streaming.wrapped_stream import WrappedStream
from streamkit.values.chunks import Chunk, Usage, text_chunk
from streamkit.values.completion import Completion
from streamkit.wire.http import ResponseInfo

__all__ = ["Cache", "MemoryCache", "Recording", "RecordingStream", "Waiting", "WaitingStream"]

# A reply that the provider's filter has cut may be another one next time.
_WHOLE = ("stop", "length", "tool_calls")
_CHUNK_BYTES = 400  # of an object of Python's with its text, beside the characters
_LONGEST = 16 * 1024 * 1024  # characters of a reply that is kept


class Cache(Middleware):
    """Gives the same request the same reply again; a subclass says where replies are kept.

    Requests are the same where all that is sent is the same, but the key: the address, the headers and the body. So
    whoever shares a cache shares its replies, whatever key they have.

    **What is kept** is a whole reply that was delivered whole: its ``done`` chunk was taken, and its finish reason is
    ``stop``, ``tool_calls`` or ``length``. The last one is whole for its request, which has the limit in it. A reply
    that failed, was cancelled or left, that a validator has cut, or the provider's filter, is not kept.

    **What is played** are the same chunks, all at once, or with ``pace`` as long after the start as they once came,
    without ``raw`` and ``recovered`` chunks. ``stats.cached`` is true, ``stats.attempts`` is 0, and there is no
    ``response``. The tokens in ``usage`` are those of the reply when it was made, and its cost is 0, as nothing was
    spent: ``completion.cost`` is 0.0. Observers are not told of it, so a ``UsageTracker`` counts a reply once.

    **Where an equal request is under way**, a second one waits until that reply is whole, and plays it. If it fails or
    is cancelled, or for ``wait`` seconds nobody takes a chunk of it, the second one is sent as well. Its own ``total``
    limit runs all that time.

    Gates, such as ``RateLimit``, are not asked for a reply that is played.

    Threads: any. After a fork a child has the replies that were kept before it.

    Owner of the fields: ``_lock``, reentrant as a signal handler may start a stream, guards ``_flights``.
    """

    def __init__(self, ttl: float | None, *, pace: bool, wait: float) -> None:
        name = type(self).__name__
        self._ttl = seconds_of(ttl, f"{name}(ttl=...)")
        if self._ttl == 0:
            raise ConfigError(f"{name}(ttl=...) is a number of seconds above 0, or None for no limit")
        waited = seconds_of(wait, f"{name}(wait=...)")
        if waited is None:
            raise ConfigError(f"{name}(wait=...) is a number of seconds, not None")
        self._wait = waited
        self._pace = bool(pace)
        self._lock = threading.RLock()
        self._flights: dict[str, weakref.ref[_Flight]] = {}
        self._owner = os.getpid()

    # -- for subclasses ----------------------------------------------------------------------------------

    @abstractmethod
    def _find(self, digest: str) -> Kept | None:
        """Return the reply to a request, ``None`` where there is none; never raise for what happens to be."""

    @abstractmethod
    def _keep(self, digest: str, kept: Kept) -> None:
        """Keep the reply to a request; never raise for what happens to be."""

    def _forked(self) -> None:
        """Take over in a forked child, which has one thread. A thread of the parent may have held a lock."""
        self._lock = threading.RLock()
        self._flights = {}
        self._owner = os.getpid()

    # -- requests ----------------------------------------------------------------------------------------

    def request(self, request: Request, next: Next) -> ChunkStream:
        """Return the stream of the reply that is kept, or send the request."""
        jobs = request.jobs()
        digest, job = digest_of(jobs), jobs[0]
        ask = partial(self._open, digest, job, request, next)
        found = ask()
        if isinstance(found, _Flight):
            return WaitingStream(found, self._wait, request.call, job, ask, partial(self._played, job, request.call))
        return found

    def _open(self, digest: str, job: Job, request: Request, next: Next, waited: float = 0.0) -> ChunkStream | _Flight:
        """Open a stream, or return the equal request that is under way.

        Args:
            digest: of the request.
            job: one of those by which it is sent, for the names of its provider and model.
            request: as the program makes it.
            next: sends it.
            waited: seconds of its time that have passed already.
        """
        if self._owner != os.getpid():
            self._forked()
        with self._lock:
            reference = self._flights.get(digest)
            flight = None if reference is None else reference()
            mine = _Flight()
            if flight is None or flight.over:
                flight = None
                self._flights[digest] = weakref.ref(mine, _remover(self._flights, digest))
        if flight is not None:
            return flight
        try:
            kept = self._find(digest)
            if kept is None:
                if waited:
                    request = request.with_jobs(lambda each: _with_less_time(each, waited))
                return RecordingStream(next(request), mine, partial(self._keep, digest))
            mine.end(kept)
        except BaseException:  # its traceback may keep the flight
            mine.end(None)
            raise
        return self._played(job, request.call, kept)

    def _played(self, job: Job, call: CallOptions, kept: Kept) -> PlayedStream:
        may_call = bool(job.chat.params.get("tools"))
        return PlayedStream(kept, call, str(job.subject()), pace=self._pace, may_call=may_call)


def _with_less_time(job: Job, seconds: float) -> Job:
    timeout = job.timeout
    if timeout.total is None:
        return job
    return attrs.evolve(job, timeout=attrs.evolve(timeout, total=max(timeout.total - seconds, 0.001)))


class _Flight:
    """A request that is under way, for those that wait for its reply.

    Its ``Recording`` alone keeps it alive: where that is dropped, those that wait are woken by their reference.

    Owner of the fields: ``_lock``, reentrant, guards ``_listeners``. The consumer of the reply writes the others, each
    by a single assignment, and one that gives up waiting ``over``; any thread may read them.

    Attributes:
        over: whether nobody should begin to wait for it.
        ended: whether it has come to its end.
        kept: the reply, once it is whole.
        moved_at: when a chunk was last taken, on ``time.monotonic``.
        consumer: the thread that has last asked for one, ``None`` before.
        taking: whether it waits for one now.
    """

    def __init__(self) -> None:
        self.over = self.ended = False
        self.kept: Kept | None = None
        self.moved_at = time.monotonic()
        self.consumer: int | None = None
        self.taking = False
        self._lock = threading.RLock()
        self._listeners: tuple[Callable[[], object], ...] = ()

    def end(self, kept: Kept | None) -> None:
        """End it, with the reply or without one; only the first call has an effect."""
        if not self.ended:
            self.kept = kept
            self.over = self.ended = True
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], object]) -> None:
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Callable[[], object]) -> None:
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other != listener)


def _remover(flights: dict[str, weakref.ref[_Flight]], digest: str) -> Callable[[weakref.ref[_Flight]], None]:
    def remove(reference: weakref.ref[_Flight]) -> None:
        if flights.get(digest) is reference:
            flights.pop(digest, None)

    return remove


# -- recording -------------------------------------------------------------------------------------------


def _as_kept(chunk: Chunk) -> Chunk:
    """Return a chunk as it is played: without its event, of the first round, and at no cost."""
    usage = chunk.usage
    if chunk.type == "text" and not (usage or chunk.provider_data or chunk.finish_reason or chunk.raw_finish_reason):
        return text_chunk(chunk.text, chunk.index, None, chunk.id, chunk.model)
    if usage is not None or chunk.finished:
        usage = attrs.evolve(usage or Usage(), cost=0.0)
    return attrs.evolve(chunk, raw=None, round=0, usage=usage)


def _length(chunk: Chunk) -> int:
    length = len(chunk.text) + len(chunk.reasoning) + len(chunk.refusal)
    if chunk.provider_data:
        length += len(repr(chunk.provider_data))
    return length + len(chunk.tool_call.arguments) if chunk.tool_call is not None else length


class Recording(WrappedStream):
    """A stream that is kept once it was delivered whole.

    Owner of the fields: the consumer's thread alone uses all but ``_flight``, which protects itself.
    """

    def __init__(self, stream: ChunkStream, flight: _Flight, keep: Callable[[Kept], object]) -> None:
        super().__init__(stream)
        self._flight = flight
        self._keep = keep
        self._began = time.monotonic()
        self._chunks_kept: list[Chunk] | None = []  # None once the reply is not kept
        self._seconds: list[float] = []
        self._length = 0

    def take(self, seconds: float | None = None) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end, also of a stream that was closed meanwhile."""
        __tracebackhide__ = True
        flight = self._flight
        try:
            flight.consumer, flight.taking = threading.get_ident(), True
            chunk = self._inner.take(seconds)
            if chunk is not None:
                self._note(chunk)
        except queue.Empty:
            raise
        except BaseException:  # the reply has failed; or an interrupt, by which a chunk may be missing
            self._chunks_kept = None
            flight.end(None)
            raise
        finally:
            flight.taking, flight.moved_at = False, time.monotonic()
        if chunk is None:
            self._conclude()
        return chunk

    def _note(self, chunk: Chunk) -> None:
        kept = self._chunks_kept
        if kept is None or chunk.type == "recovered":
            return
        self._seconds.append(time.monotonic() - self._began)
        kept.append(_as_kept(chunk))
        self._length += _length(chunk)
        if self._length > _LONGEST:
            self._chunks_kept = None

    def _conclude(self) -> None:
        """Keep a whole reply, once, and end the wait of others."""
        flight, chunks = self._flight, self._chunks_kept
        if flight.ended:
            return
        kept = None
        if chunks and self._inner.status == "complete" and chunks[-1].finished and chunks[-1].finish_reason in _WHOLE:
            completion = self._inner.completion
            kept = Kept(completion.provider, completion.model, tuple(chunks), tuple(self._seconds))
            self._keep(kept)
        flight.end(kept)

    def cancel(self) -> None:
        """Cancel the stream; see ``ChunkStream.cancel``."""
        self._inner.cancel()
        if self._inner.status != "complete":  # which has only not been told to the consumer
            self._flight.end(None)

    def close(self) -> None:
        """Cancel the stream if it is open, and wait for its reader, at most 0.25 s."""
        self._inner.close()
        self._conclude()

    def _leave(self) -> None:
        self._inner._leave()
        self._conclude()

    def __repr__(self) -> str:
        return f"<RecordingStream {self.status}, of {self._inner!r}>"


class RecordingStream(Recording, Stream):
    """A ``Stream`` that is kept once it was delivered whole; see ``Recording``.

    Of ``Stream`` it has what a user sees, and none of the fields.
    """


# -- waiting for an equal request ------------------------------------------------------------------------


class Waiting(Listened):
    """A stream that waits for the reply to an equal request, and plays it, or sends its own request.

    It is driven by its consumer: the request is sent when the consumer waits, or looks.

    Owner of the fields: ``_lock``, reentrant, guards the change of ``_stream`` from ``None``, by the consumer's thread
    alone, which writes ``_flight``, ``_since`` and ``_decided_at`` too. The others never change, or protect themselves.

    Args:
        flight: the equal request.
        wait: seconds without a chunk after which it is not waited for any more.
        call: what the caller has said.
        job: one of those by which the request is sent.
        ask: opens the stream of its own after some seconds of waiting, or returns another equal request.
        play: opens the stream of a reply.
    """

    def __init__(
        self,
        flight: _Flight,
        wait: float,
        call: CallOptions,
        job: Job,
        ask: Callable[[float], ChunkStream | _Flight],
        play: Callable[[Kept], ChunkStream],
    ) -> None:
        self._seconds = wait
        self._call = call
        self._ask = ask
        self._play = play
        self._names = str(job.subject())
        self._may_call = bool(job.chat.params.get("tools"))
        self._limits = Deadlines(job.timeout)
        self._limits.subject = self._names
        self._limits.waiting()
        self._began = self._since = self._decided_at = time.monotonic()
        self._lock = threading.RLock()
        self._stream: ChunkStream | None = None
        self._news = ReentrantEvent()
        self._wake = wake_by(self._news, self)
        output = call.output
        self._received = Received(*job.route, None if output is None else output.parsed)
        self._end_stop = on_stop(call.stop, self, self._wake)
        self._received.on_settled = self._end_stop
        self._join(flight)

    def _join(self, flight: _Flight) -> None:
        self._flight = weakref.ref(flight, self._wake)
        flight.listen(self._wake)

    def _decide(self, *, waits: bool = False) -> ChunkStream | None:
        """Return the stream that is played or read, ``None`` while the equal request is under way.

        Args:
            waits: whether the consumer is about to wait without a limit.
        """
        stop = self._call.stop
        if self._stream is None and stop is not None and stop.is_set():
            self.cancel()
        while self._stream is None and self._received.status == "open":
            flight = self._flight()
            kept = None if flight is None else flight.kept
            if kept is None and time.monotonic() >= self._limits.total_due:
                self._received.settle("timeout", self._limits.error())
                break
            if flight is not None and not flight.ended:
                # The thread that would wait may be the one that has to take the reply's chunks.
                itself = waits and flight.consumer == threading.get_ident()
                if not itself and time.monotonic() < self._give_up_at(flight):
                    return None
                flight.over = True
            if flight is not None:
                flight.unlisten(self._wake)
            del flight  # or one that nobody reads would be kept while this one is
            found = self._ask(time.monotonic() - self._began) if kept is None else self._play(kept)
            if isinstance(found, _Flight):  # another one of those that waited was quicker
                self._since = time.monotonic()
                self._join(found)
                del found
                continue
            self._use(found)
        return self._stream

    def _use(self, stream: ChunkStream) -> None:
        """Have a stream be this one from now on."""
        for listener in self.listeners:
            stream.listen(listener)
        with self._lock:
            self._decided_at = time.monotonic()
            self._stream = stream
            cancelled = self._received.status != "open"
        self._end_stop()  # the stream has its own
        if cancelled:
            stream.cancel()

    def _give_up_at(self, flight: _Flight) -> float:
        return time.monotonic() + self._seconds if flight.taking else max(flight.moved_at, self._since) + self._seconds

    # -- taking chunks -----------------------------------------------------------------------------------

    def _chunks(self) -> Iterator[Chunk]:
        __tracebackhide__ = True
        chunk = self.take()
        if chunk is not None:
            yield chunk
            if self._stream is not None:
                yield from self._stream._chunks()

    def take(self, seconds: float | None = None) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end, also of a stream that was closed meanwhile."""
        __tracebackhide__ = True
        until = math.inf if seconds is None else time.monotonic() + seconds
        try:
            while True:
                self._news.clear()
                stream = self._decide(waits=until == math.inf)
                if stream is not None or self._received.status != "open":
                    break
                due = min(until, self.next_check())
                left = due - time.monotonic()
                if left > 0:
                    self._news.wait(left)
                elif due == until:
                    raise queue.Empty
        except queue.Empty:
            raise
        except BaseException as error:  # Ctrl-C or the time limit of a worker process, during the wait
            self._interrupted(error)
            raise
        if stream is None:
            failure = self._received.error
            if failure is not None:
                raise failure.with_traceback(None)
            return None
        return stream.take(None if until == math.inf else max(0.0, until - time.monotonic()))

    def peek(self) -> Chunk | None:
        """Return the next chunk if it has arrived and nothing else has to happen first; do not take it."""
        return None if self._stream is None else self._stream.peek()

    def poll(self) -> bool:
        """Return whether ``take()`` would not have to wait, without waiting."""
        stream = self._decide()
        return self._received.status != "open" if stream is None else stream.poll()

    def next_check(self) -> float:
        """Return the moment, on ``time.monotonic``, at which to call ``poll()`` even if the listener was not called."""
        if self._stream is not None:
            return self._stream.next_check()
        flight = self._flight()
        if flight is None or flight.ended or self._received.status != "open":
            return -math.inf
        return min(self._give_up_at(flight), self._limits.total_due)

    def listen(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` whenever there may be a chunk to take, and at the end, until ``unlisten``."""
        super().listen(listener)
        if self._stream is not None:
            self._stream.listen(listener)

    def unlisten(self, listener: Callable[[], object]) -> None:
        """Stop calling ``listener``."""
        super().unlisten(listener)
        if self._stream is not None:
            self._stream.unlisten(listener)

    # -- ending ------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Cancel the stream; see ``ChunkStream.cancel``. The equal request is not cancelled."""
        self._check_owner()
        with self._lock:
            stream = self._stream
            if stream is None:
                self._received.settle("cancelled")
        if stream is not None:
            stream.cancel()
        else:
            self._wake()

    def close(self) -> None:
        """Cancel the stream if it is open, and wait for its reader, if it has one, at most 0.25 s."""
        self._check_owner()
        if self.status == "open":
            self._leave()
        if self._stream is not None:
            self._stream.close()

    def _leave(self) -> None:
        if self._stream is not None:
            self._stream._leave()
        else:
            self.cancel()
            self._received.closed_early = True

    @property
    def _closed_early(self) -> bool:
        return self._received.closed_early or (self._stream is not None and self._stream._closed_early)

    @property
    def _subject(self) -> str:
        return self._names

    # -- state -------------------------------------------------------------------------------------------

    @property
    def _output(self) -> TypedOutput | None:
        return self._call.output

    @property
    def completion(self) -> Completion:
        """The completion of the chunks delivered so far, at any time, also after a failure."""
        return self._received.completion() if self._stream is None else self._stream.completion

    @property
    def status(self) -> Status:
        """``open``, ``complete``, ``cancelled``, ``truncated``, ``timeout`` or ``error``."""
        return self._received.status if self._stream is None else self._stream.status

    @property
    def error(self) -> BaseException | None:
        """The error that ended the stream, or ``None``."""
        return self._received.error if self._stream is None else self._stream.error

    @property
    def response(self) -> ResponseInfo | None:
        """Status, headers, request id and rate limits of the response; ``None`` before they have arrived."""
        return None if self._stream is None else self._stream.response

    @property
    def stats(self) -> Stats:
        """The figures of the stream so far, from its start: the wait for the equal request is in them."""
        stream = self._stream
        if stream is None:
            return Stats(None, time.monotonic() - self._began, 0, 0, 0, 0, 0.0)
        waited, stats = self._decided_at - self._began, stream.stats
        first = stats.time_to_first_chunk
        return attrs.evolve(
            stats, time_to_first_chunk=None if first is None else first + waited, duration=stats.duration + waited
        )

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's stream, which cannot be used."""
        return self._received.inherited

    def __repr__(self) -> str:
        return f"<WaitingStream {self.status}, {'of ' + repr(self._stream) if self._stream else 'waits'}>"


class WaitingStream(Waiting, Stream):
    """A ``Stream`` that waits for the reply to an equal request; see ``Waiting``.

    Of ``Stream`` it has what a user sees, and none of the fields.
    """


# -- in memory -------------------------------------------------------------------------------------------


@attrs.frozen
class _Entry:
    kept: Kept
    until: float
    size: int


class MemoryCache(Cache):
    """Gives the same request the same reply again, from the memory of this process.

    ::

        client = Client(policies=[MemoryCache()])
        client.complete("openai/gpt-4o-mini", "Hello")
        client.stream("openai/gpt-4o-mini", "Hello").stats.cached  # True

    ``Cache`` says what is kept, and how it is played. Put it before ``Middleware`` that changes requests for it to see
    them as the program makes them, and after such for it to see them as they are sent.

    Args:
        size: how many replies are kept, from 1; the one that was longest not asked for goes first.
        ttl: seconds for which a reply is kept; ``None`` for no limit.
        max_bytes: of the replies together, by an estimate, from 1.
        pace: play a reply as fast as it once came, in place of at once.
        wait: seconds without a chunk that an equal request waits for another one, before it is sent as well.
        clock: in seconds, for tests.

    Raises:
        ConfigError: a value is of a wrong kind.

    Owner of the fields: ``_lock`` guards ``_entries``, in the order in which they were last asked for, and ``_bytes``.
    """

    def __init__(
        self,
        size: int = 1000,
        ttl: float | None = 3600.0,
        max_bytes: int = 64 * 1024 * 1024,
        pace: bool = False,
        *,
        wait: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(ttl, pace=pace, wait=wait)
        for name, value in (("size", size), ("max_bytes", max_bytes)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"MemoryCache({name}=...) is a number from 1, not {shown(value)}")
        self._size = size
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    def _find(self, digest: str) -> Kept | None:
        with self._lock:
            entry = self._entries.get(digest)
            if entry is None:
                return None
            if entry.until <= self._clock():
                self._drop(digest)
                return None
            self._entries.move_to_end(digest)
            return entry.kept

    def _keep(self, digest: str, kept: Kept) -> None:
        size = sum(_CHUNK_BYTES + _length(chunk) for chunk in kept.chunks)
        if size > self._max_bytes:
            return
        until = math.inf if self._ttl is None else self._clock() + self._ttl
        with self._lock:
            self._drop(digest)
            self._entries[digest] = _Entry(kept, until, size)
            self._bytes += size
            while len(self._entries) > self._size or self._bytes > self._max_bytes:
                self._drop(next(iter(self._entries)))

    def _drop(self, digest: str) -> None:
        entry = self._entries.pop(digest, None)
        if entry is not None:
            self._bytes -= entry.size

    def _forked(self) -> None:
        super()._forked()
        self._bytes = sum(entry.size for entry in self._entries.values())

    def clear(self) -> None:
        """Drop all replies."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<MemoryCache {len(self._entries)} of {self._size} replies>"
