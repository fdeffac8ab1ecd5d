"""The thread that reads one stream: one function, one ``finally``.

It opens the request, decodes what arrives, and puts chunks into the channel; at the end, whatever the end,
it puts the outcome, once. Everything that it shares with the consumer is in ``Link``. It never holds the
``Stream``, so that dropping a stream ends it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import attrs
import orjson

from streamkit.channel import Channel
from streamkit.chunks import Chunk
from streamkit.clock import Clock
from streamkit.errors import (
    APIError,
    BrokenStreamError,
    ChannelClosed,
    ConfigError,
    ConnectError,
    ProtocolError,
    StreamError,
    StreamTimeout,
    TruncatedStreamError,
)
from streamkit.providers.base import ChatRequest, Decoder, Provider
from streamkit.settings import Retry, Timeout
from streamkit.stop import ReentrantEvent, SocketGuard
from streamkit.transport import sse
from streamkit.transport.http import Reply, Transport
from streamkit.wire import HttpRequest, Masked, ResponseInfo, mask

__all__ = ["Job", "Link", "Outcome", "Status", "read"]

Status = Literal["open", "complete", "cancelled", "truncated", "timeout", "error"]

_POLL = 0.05  # seconds between looks at a plain threading.Event, which cannot wake anybody
_MAX_ERROR_BODY = 64 * 1024
_MAX_WHOLE_BODY = sse.MAX_EVENT
_DRAIN_BYTES = 16 * 1024
_DRAIN_SECONDS = 0.1
# How long the outcome waits for the rest of the body, in seconds. Most servers send it in the same moment; a
# connection that is back in the pool before the consumer asks again saves it the set-up of another.
_DRAIN_AT_ONCE = 0.005
_FREE_TRIES = 2  # on pooled connections that turn out dead: nobody's failure, so they count for nothing


@attrs.frozen
class Outcome:
    """How a stream ended, as its worker saw it."""

    status: Status
    error: BaseException | None = None


@attrs.frozen
class Job:
    """What one stream is to do; never changes."""

    chat: ChatRequest
    request: HttpRequest
    provider: Provider
    transport: Transport
    timeout: Timeout
    retry: Retry


class Link:
    """What a worker and its stream share.

    ``halted`` goes from False to True once, set by ``halt``. The channel, the guard and the clock have their
    own rules; the counters and ``response`` are written by the worker alone and may be read by anybody.

    Args:
        buffer: the channel's capacity, in chunks.
        timeout: the limits.
        plain_stop: a user's ``threading.Event`` to look at, or ``None``.
    """

    def __init__(self, buffer: int, timeout: Timeout, plain_stop: threading.Event | None) -> None:
        self.channel: Channel[Chunk, Outcome] = Channel(buffer)
        self.clock = Clock(timeout)
        self.guard = SocketGuard()
        self.plain_stop = plain_stop
        self.halted = False
        self.inherited = False  # by a forked child, where no worker runs and the socket is the parent's
        self._stop = ReentrantEvent()
        self.attempts = 0
        self.chunks = 0
        self.blocked = 0.0  # seconds that the consumer kept the worker waiting
        self.first_chunk_at: float | None = None
        self.ended_at: float | None = None
        self.response: ResponseInfo | None = None
        self.reply: Reply | None = None  # for its count of bytes alone

    def halt(self) -> None:
        """End the worker: in a back-off, in a full queue, or blocked in the kernel.

        Threads: any, any number of times; never waits.
        """
        self.halted = True
        if self.inherited:
            return  # a shutdown here would cut the parent's connection
        self._stop.set()
        self.channel.close()
        self.guard.shut_down()

    def stop_asked(self) -> bool:
        """Look whether the stream is to end, at the user's plain event too."""
        if not self.halted and self.plain_stop is not None and self.plain_stop.is_set():
            self.halt()
        return self.halted

    def sleep(self, seconds: float) -> None:
        """Wait until the time is over or the stream is to end."""
        until = time.monotonic() + seconds
        while not self.stop_asked() and (left := until - time.monotonic()) > 0:
            self._stop.wait(left if self.plain_stop is None else min(left, _POLL))


class _Interrupt(Exception):
    """Ends a try from inside a wait; passes through urllib3 and requests, which know nothing of it."""

    def __init__(self, error: StreamTimeout | None = None) -> None:
        super().__init__()
        self.error = error  # None: the stream was halted


class _Watch:
    """Stands by each wait of a connection; see ``transport.connection.Watch``. Belongs to one try.

    Chunks that were decoded wait in ``ready`` until the worker is about to wait for more bytes. So all that
    one read of the kernel brought is handed over at once, and nothing is held back.
    """

    def __init__(self, link: Link) -> None:
        self.guard = link.guard
        self.ready: list[Chunk] = []
        self.connected = False
        self.reused = False
        self._link = link
        self._clock = link.clock
        self._overdue = False  # a read past the deadline was granted, for bytes that are there already
        self._drain_until: float | None = None
        self._before_waiting: Callable[[], object] | None = None

    def before_read(self) -> float:
        if self._before_waiting is not None:
            return _DRAIN_AT_ONCE
        if self._drain_until is not None:
            return max(self._drain_until - time.monotonic(), 0.001)
        if self.ready:
            limit = self.hand_over()  # after chunks the limit is known without another look at the clock
            if self._link.stop_asked():
                raise _Interrupt
            if limit <= 0:
                raise _Interrupt(self._clock.error())
        else:
            limit = self._remaining()
        if self._link.plain_stop is not None:
            return min(limit, _POLL)
        return limit

    def limit(self) -> float | None:
        limit = self._remaining()
        return None if limit == math.inf else limit

    def _remaining(self) -> float:
        """Return the seconds to the next limit; raise when it has passed, after one last chance."""
        if self._link.stop_asked():
            raise _Interrupt
        remaining = self._clock.remaining()
        if remaining > 0:
            self._overdue = False
            return max(remaining, 0.001)
        if self._overdue:
            raise _Interrupt(self._clock.error())
        self._overdue = True
        return 0.001

    def in_vain(self) -> None:
        if self._before_waiting is not None:
            before_waiting, self._before_waiting = self._before_waiting, None
            before_waiting()
            return
        if self._drain_until is not None:
            raise _Interrupt
        if self._link.stop_asked():
            raise _Interrupt
        if self._clock.remaining() <= 0:
            raise _Interrupt(self._clock.error())

    def sending(self, *, reused: bool) -> None:
        self.connected = True
        self.reused = reused
        self._clock.sending()

    def hand_over(self) -> float:
        """Put what is ready into the channel, waiting for room; return the seconds to the next limit."""
        link, ready = self._link, self.ready
        if link.first_chunk_at is None:
            link.first_chunk_at = time.monotonic()
        link.chunks += len(ready)
        self.ready = []
        self._clock.stand()
        try:
            if link.plain_stop is None:
                blocked = link.channel.put_many(ready)
            else:
                blocked = link.channel.put_many(ready, link.stop_asked, _POLL)
        except ChannelClosed:
            raise _Interrupt from None
        if blocked:
            link.blocked += blocked
            self._clock.stood_still(blocked)
        self._overdue = False
        return self._clock.arrived()

    def drain(self, before_waiting: Callable[[], object]) -> None:
        """From now on only the rest of a finished body is read: let that take a moment, and no longer."""
        self._before_waiting = before_waiting
        self._drain_until = time.monotonic() + _DRAIN_SECONDS

    def timed_out(self) -> bool:
        """Say whether a limit has passed, as an error of the connection may be its effect."""
        return self._clock.remaining() <= 0


def read(link: Link, job: Job, on_end: Callable[[], object]) -> None:
    """Read one stream from its request to its outcome: the body of the worker thread.

    Args:
        on_end: called at the very end, when the socket is gone as well.
    """
    outcome = Outcome("error", StreamError("the worker ended without a word"))
    attempt = _Attempt(link, job)
    try:
        attempt, outcome = _read(link, job, attempt)
    except ConfigError as error:
        outcome = Outcome("error", error)
    except BaseException as error:
        failure = StreamError(f"streamkit failed by itself, please report it: {error!r}")
        failure.__cause__ = error
        outcome = Outcome("error", failure)
    finally:
        link.ended_at = time.monotonic()
        try:
            if outcome.status == "complete":
                attempt.drain(before_waiting=lambda: link.channel.finish(outcome))
        finally:
            link.channel.finish(outcome)
            attempt.close()
            link.guard.release()
            on_end()


def _read(link: Link, job: Job, attempt: _Attempt) -> tuple[_Attempt, Outcome]:
    """Try until a try ends in an outcome, and return that try as well, for its response is still open."""
    free = _FREE_TRIES
    while True:
        link.attempts += 1
        failure: StreamError | None
        try:
            return attempt, attempt.run()
        except _Interrupt as interrupt:
            failure = interrupt.error
        except StreamError as error:
            failure = error
        if failure is None or link.stop_asked():
            return attempt, Outcome("cancelled")
        if attempt.found_dead_connection and free:
            free -= 1
            link.attempts -= 1
        else:
            delay = None if attempt.has_chunks else job.retry.delay(failure, link.attempts)
            if delay is None or time.monotonic() + delay >= link.clock.total_due:
                return attempt, attempt.failed(failure)
            link.clock.waiting()
            link.sleep(delay)
            if link.stop_asked():
                return attempt, Outcome("cancelled")
        attempt.close()
        attempt = _Attempt(link, job)


class _Attempt:
    """One try: a request, its response, and a decoder of its own."""

    def __init__(self, link: Link, job: Job) -> None:
        self._link = link
        self._job = job
        self._watch = _Watch(link)
        self._decoder: Decoder = job.provider.decoder(job.chat)
        self._reply: Reply | None = None

    def run(self) -> Outcome:
        """Go through it to a normal end.

        Raises:
            _Interrupt: the stream is to end, or a limit ran out.
            StreamError: anything else.
        """
        try:
            self._consume(self._open())
        except (_Interrupt, StreamError) as error:
            # Stop flag first, terminator second: after a shutdown a body may look like a clean end or a
            # failure, and once all of the reply is there no failure takes it away again.
            if self._link.stop_asked():
                raise _Interrupt from error
            if not (self._decoder.whole or self._decoder.ended) or isinstance(error, APIError):
                if isinstance(error, (BrokenStreamError, ConnectError)) and self._watch.timed_out():
                    raise _Interrupt(self._link.clock.error()) from error
                raise
        self._watch.ready.append(self._decoder.finish())
        self._watch.hand_over()
        return Outcome("complete")

    def _open(self) -> Reply:
        self._link.clock.connecting()
        reply = self._reply = self._job.transport.open(self._job.request, self._watch)
        self._link.reply, self._link.response = reply, reply.info
        return reply

    def _consume(self, reply: Reply) -> None:
        """Read the body through the decoder, to the terminator or to the end of the bytes."""
        if reply.info.status != 200:
            raise self._refusal(reply)
        content_type = reply.info.content_type
        if content_type == "application/json" or content_type.endswith("+json"):
            self._consume_whole(reply)
        elif content_type not in ("text/event-stream", ""):
            excerpt = reply.excerpt(reply.read(512))
            raise ProtocolError(f"the server sent {content_type}, not an event stream", excerpt=excerpt)
        else:
            self._consume_events(reply)
        if not (self._decoder.ended or self._decoder.whole):
            raise TruncatedStreamError("the reply ended before the provider said that it was over", retryable=True)

    def _consume_events(self, reply: Reply) -> None:
        decoder, watch = self._decoder, self._watch
        decode = decoder.decode
        for event in sse.parse(sse.Guard(reply.pieces())):
            chunks = decode(event)
            if chunks:
                watch.ready += chunks
            elif decoder.ended:
                return

    def _consume_whole(self, reply: Reply) -> None:
        body = reply.read_whole(_MAX_WHOLE_BODY)
        try:
            decoded = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise ProtocolError("the JSON reply is malformed", excerpt=reply.excerpt(body)) from None
        self._watch.ready += self._decoder.decode_whole(decoded)

    def _refusal(self, reply: Reply) -> StreamError:
        body = reply.read(_MAX_ERROR_BODY)
        status = reply.info.status
        if 300 <= status < 400:
            return ProtocolError(
                f"the server redirects ({status}) to {reply.excerpt(reply.info.headers.get('location', ''))!r}; "
                "redirects are not followed, so set base_url to the right address",
                excerpt=reply.excerpt(body),
            )
        return self._job.provider.error(reply.info, body)

    def failed(self, error: StreamError) -> Outcome:
        """Hand over what came before the error, and return the outcome."""
        ready = [*self._watch.ready, *self._decoder.leftover()]
        if ready:
            self._watch.ready = ready
            try:
                self._watch.hand_over()
            except _Interrupt:
                return Outcome("cancelled")
        _drop_frames(error)
        _mask_secrets(error, self._job.request.secrets)
        if isinstance(error, StreamTimeout):
            return Outcome("timeout", error)
        return Outcome("truncated" if isinstance(error, TruncatedStreamError) else "error", error)

    @property
    def has_chunks(self) -> bool:
        """Whether the consumer was given a chunk, or would have been."""
        return self._link.chunks > 0 or bool(self._watch.ready)

    @property
    def found_dead_connection(self) -> bool:
        """Whether a pooled connection turned out to be closed before a byte of the answer came."""
        return self._watch.reused and self._reply is None and not self._watch.timed_out()

    def drain(self, *, before_waiting: Callable[[], object]) -> None:
        """Read a finished reply on to the end of its body, so that the connection can be used again.

        Args:
            before_waiting: called before the rest keeps the worker waiting for any length of time; the
                consumer is not to wait for it.
        """
        self._watch.drain(before_waiting)
        with suppress(_Interrupt):
            if self._reply is not None:
                self._reply.drain(_DRAIN_BYTES)

    def close(self) -> None:
        """Let the response go."""
        if self._reply is not None:
            self._reply.close()


def _drop_frames(error: BaseException) -> None:
    """Take the tracebacks off an error and its causes.

    They end in this thread, which has nothing to show for it, and their frames would keep the response, its
    connection and the request alive for as long as a user keeps the error.
    """
    current: BaseException | None = error
    while current is not None:
        current.__traceback__ = None
        current = current.__cause__ or current.__context__


def _mask_secrets(error: StreamError, secrets: tuple[Masked, ...]) -> None:
    """Take the key out of what the server said: some repeat it."""
    error.args = tuple(mask(arg, secrets) if isinstance(arg, str) else arg for arg in error.args)
    if isinstance(error, ProtocolError):
        error.excerpt = mask(error.excerpt, secrets)
    elif isinstance(error, APIError):
        error.code, error.type = mask(error.code or "", secrets) or None, mask(error.type or "", secrets) or None
        text = error.body if isinstance(error.body, str) else orjson.dumps(error.body).decode()
        if text != (masked := mask(text, secrets)):
            error.body = masked if isinstance(error.body, str) else orjson.loads(masked)
