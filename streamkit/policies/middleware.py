"""Code of the program's own around each request and each chunk: ``Middleware``."""

from __future__ import annotations

import hashlib
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from streamkit.errors import ConfigError
from streamkit.observing.status import Status
from streamkit.settings import shown
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.job import Job
from streamkit.streaming.redelivery import Redelivery
from streamkit.streaming.stream import Stream
from streamkit.streaming.typed_output import TypedOutput
from streamkit.streaming.wrapped_stream import WrappedStream
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion

__all__ = ["CallOptions", "Changed", "ChangedStream", "Middleware", "Next", "Request", "digest_of", "wrapped"]


@attrs.frozen
class CallOptions:
    """What a caller has said beside the request, for policies that make streams of their own.

    Attributes:
        stop: ends the stream.
        output: the type that was asked for, ``None`` for none.
        round: the number of the request in a run with tools, from 0.
    """

    stop: threading.Event | None = None
    output: TypedOutput | None = None
    round: int = 0


@attrs.frozen
class Request:
    """A request on its way through the middleware. Change it by ``attrs.evolve(request, messages=...)``.

    Attributes:
        model: a name, a list of names, or a ``Route``.
        messages: in OpenAI's shape.
        params: parameters of the request, as ``client.stream`` takes them.
        call: what else the caller has said.
    """

    model: Any
    messages: Sequence[Mapping[str, Any]] = attrs.field(repr=False)
    params: Mapping[str, Any] = attrs.field(repr=False)
    _jobs: Callable[[Request], Sequence[Job]] = attrs.field(repr=False, eq=False)
    call: CallOptions = attrs.field(factory=lambda: CallOptions(), repr=False, eq=False)
    _change: Callable[[Job], Job] | None = attrs.field(default=None, repr=False, eq=False)

    def jobs(self) -> Sequence[Job]:
        """Return how it is sent, one for each model that it may go to.

        Raises:
            ConfigError: the call is invalid.
        """
        jobs = self._jobs(self)
        return jobs if self._change is None else [self._change(job) for job in jobs]

    def with_jobs(self, change: Callable[[Job], Job]) -> Request:
        """Return the request, sent otherwise: for the library's own policies."""
        before = self._change
        return attrs.evolve(self, change=change if before is None else lambda job: change(before(job)))

    def digest(self) -> str:
        """Return a name for all that shapes the reply: addresses, bodies and headers of the requests, but no key.

        Raises:
            ConfigError: the call is invalid.
        """
        return digest_of(self.jobs())


def digest_of(jobs: Sequence[Job]) -> str:
    """Return a name for all that shapes the reply to a request; see ``Request.digest``."""
    return hashlib.sha256("\n".join(sorted(map(_digest, jobs))).encode()).hexdigest()


# Who asks, and when: keys, and what a signature has. Those of other packages' providers are in the digest, if there are
# any: then a request with another key is another one.
_WHO = frozenset(("authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "x-amz-date"))
_WHO_TOO = frozenset(("x-amz-security-token", "x-amz-content-sha256", "amz-sdk-invocation-id", "amz-sdk-request"))


def _digest(job: Job) -> str:
    request = job.request
    own = str(getattr(job.provider, "_key_header", "")).lower()
    headers = sorted(
        (name.lower().encode(), value.encode())  # not their repr, which shows no value that may be secret
        for name, value in request.headers.items()
        if name.lower() not in _WHO | _WHO_TOO | {own}
    )
    flat = [part for pair in headers for part in pair]
    parts = [job.provider.name.encode(), request.method.encode(), request.url.encode(), request.body, *flat]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


#: Sends a request on, and returns its stream.
Next = Callable[[Request], ChunkStream]


class Middleware:
    """Code around each request and each chunk of a client; override the methods that you need.

    ::

        class Redact(Middleware):
            def chunk(self, chunk: Chunk) -> Chunk | None:
                return attrs.evolve(chunk, text=NUMBER.sub("***", chunk.text)) if chunk.text else chunk

        client = Client(policies=[Redact()])

    The first one in ``policies=`` is the outermost: it sees a request first, and its chunks last.

    Threads: both methods are called in the thread that starts the stream, or consumes it. One object serves all the
    streams of a client.
    """

    def request(self, request: Request, next: Next) -> ChunkStream:
        """Return the stream for a request: by default that of ``next(request)``.

        It may change the request, send it more than once, or not at all. What it raises goes to the caller of
        ``client.stream``.
        """
        return next(request)

    def chunk(self, chunk: Chunk) -> Chunk | None:
        """Return the chunk for the consumer, or ``None`` to leave it out; the ``done`` chunk always comes.

        What it raises ends the stream, and goes to the consumer.
        """
        return chunk


def wrapped(middleware: Sequence[Middleware], last: Next) -> Next:
    """Return what sends a request through all middleware, the first one outermost."""
    for each in reversed(middleware):
        last = _around(each, last)
    return last


def _around(middleware: Middleware, inner: Next) -> Next:
    changes = type(middleware).chunk is not Middleware.chunk

    def send(request: Request) -> ChunkStream:
        stream: Any = middleware.request(request, inner)  # which the program may have wrong
        if not isinstance(stream, ChunkStream):
            name = type(middleware).__name__
            raise ConfigError(f"{name}.request() must return a stream, as next(request) does, not {shown(stream)}")
        return ChangedStream(stream, middleware.chunk) if changes else stream

    return send


class Changed(WrappedStream):
    """A stream whose chunks a function changes, or leaves out. ``completion`` is what came of it.

    Owner of the fields: the consumer's thread alone uses all but ``_redelivery``, which protects itself.
    """

    def __init__(self, stream: ChunkStream, change: Callable[[Chunk], Chunk | None]) -> None:
        super().__init__(stream)
        self._change = change
        self._redelivery = Redelivery(stream)
        self._ready: Chunk | None = None  # changed, and not delivered

    def take(self, seconds: float | None = None) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end, also of a stream that was closed meanwhile."""
        __tracebackhide__ = True
        redelivery = self._redelivery
        until = math.inf if seconds is None else time.monotonic() + seconds
        while redelivery.status == "open":
            if self._ready is None:
                self._ready = self._next(None if until == math.inf else max(0.0, until - time.monotonic()))
            changed = self._ready
            if changed is not None:
                redelivery.deliver(changed)
                self._ready = None
                return changed
            if redelivery.status == "open" and time.monotonic() >= until:
                raise queue.Empty  # chunks may come for ever that are left out
        error = redelivery.error
        if error is not None:
            raise error.with_traceback(redelivery.traceback)
        return None

    def _next(self, seconds: float | None) -> Chunk | None:
        """Take one chunk, and return what the function makes of it; at the end settle."""
        __tracebackhide__ = True
        redelivery, own = self._redelivery, False
        try:
            chunk = self._inner.take(seconds)
            if chunk is None:
                redelivery.settle(self._inner.status)
                return None
            own = True
            changed = self._change(chunk)
            if changed is None:
                return chunk if chunk.finished else None
            if not isinstance(changed, Chunk):
                raise ConfigError(f"chunk() of a Middleware returns a Chunk or None, not {shown(changed)}")
            return changed
        except Exception as error:
            if own:
                self._inner.cancel()
                redelivery.traceback = error.__traceback__
                redelivery.settle("error", error)
            elif isinstance(error, queue.Empty) or self._inner.status == "open":
                raise
            else:
                redelivery.settle(self._inner.status, error)
            return None
        except BaseException as error:  # Ctrl-C or the time limit of a worker process
            self._interrupted(error)
            raise

    def peek(self) -> Chunk | None:
        """Return the next chunk if it has arrived and nothing else has to happen first; do not take it."""
        return self._ready if self.status == "open" else None

    def poll(self) -> bool:
        """Return whether ``take()`` would not have to wait for the provider, without waiting."""
        while self._redelivery.status == "open" and self._ready is None:
            if not self._inner.poll():
                return False
            try:
                self._ready = self._next(0.0)
            except queue.Empty:
                return False
        return True

    def cancel(self) -> None:
        """Cancel the stream; see ``ChunkStream.cancel``."""
        self._check_owner()
        self._inner.cancel()
        self._redelivery.abandon()

    def close(self) -> None:
        """Cancel the stream if it is open, and wait for its reader, at most 0.25 s."""
        self._check_owner()
        if self.status == "open":
            self._leave()
        self._inner.close()

    def _leave(self) -> None:
        self.cancel()
        self._redelivery.closed_early = self.status == "cancelled"

    @property
    def _closed_early(self) -> bool:
        return self._redelivery.closed_early

    @property
    def completion(self) -> Completion:
        """The completion of the chunks delivered so far, at any time, also after a failure."""
        return self._redelivery.completion()

    @property
    def status(self) -> Status:
        """``open``, ``complete``, ``suspended``, ``cancelled``, ``truncated``, ``timeout`` or ``error``."""
        return self._redelivery.status

    @property
    def error(self) -> BaseException | None:
        """The error that ended the stream, or ``None``."""
        return self._redelivery.error

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status}, of {self._inner!r}>"


class ChangedStream(Changed, Stream):
    """A ``Stream`` whose chunks a function changes; see ``Changed``.

    Of ``Stream`` it has what a user sees, and none of the fields.
    """
