"""One try of a stream: a request, its response, and a decoder of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from streamkit.errors import (
    APIError,
    BrokenStreamError,
    ConfigError,
    ConnectError,
    ProtocolError,
    StreamError,
    StreamTimeout,
    TruncatedStreamError,
)
from streamkit.providers.contract import Decoder, class_of
from streamkit.providers.reply.remedies import unexpected
from streamkit.streaming.gates import Passing
from streamkit.streaming.job import Job
from streamkit.streaming.recovering import Part
from streamkit.streaming.shared_state import Outcome, StreamState
from streamkit.streaming.stream_hook import Halted, LimitReached, StreamHook, TimedHook
from streamkit.transport import sse
from streamkit.transport.framing import Frame, aws_frames, framing_of, server_sent
from streamkit.transport.small_requests import redirected
from streamkit.transport.transport import Reply
from streamkit.values.chunks import Chunk
from streamkit.wire.json import parse_json
from streamkit.wire.secrets import MAX_ERROR_BODY

__all__ = ["Attempt"]

_MAX_WHOLE_BODY = sse.MAX_EVENT
_DRAIN_BYTES = 16 * 1024
_MOST_READY = 1024  # chunks that collect before they are handed over; one compressed read may hold any number
_SHORT_SECONDS = 2.0  # for the body of a response that is no reply; the status usually suffices
_LINGER_SECONDS = 5.0  # for usage and terminator, after every choice has its finish reason
# The same if the finish reason came together with text, or before any text. Some servers put a finish reason on every
# chunk, so more text may follow.
_DOUBT_SECONDS = 30.0
# A pooled connection that ends without a byte, so soon after the request began to go out, counts as closed before it.
# Hardly any server acts on a request and fails within this time. After a longer time it may have acted on it.
_DEAD_SECONDS = 0.05


class Attempt:
    """One try: a request, its response, and a decoder of its own.

    Owner of the fields: the worker alone reads and writes them.

    Attributes:
        why_last: why the request is not sent again after this try; "" if the error's class says so.
        job: what is tried.
        part: the decoder of a reply that may be gone on with where it breaks off; ``None`` for any other.
    """

    def __init__(self, state: StreamState, job: Job, part: Part | None = None) -> None:
        self.why_last = ""
        self.job = job
        self._state = state
        self._hook = StreamHook(state) if state.arrivals is None else TimedHook(state)
        if part is not None:
            part.on_begun = state.count_recovery
        elif job.recoverer is not None:
            part = job.recoverer.first(job, _decoder_of(job))
        self.part = part
        self._decoder: Decoder = _decoder_of(job) if part is None else part
        self._reply: Reply | None = None

    def run(self) -> Outcome:
        """Send the request, and read the response to its normal end.

        Raises:
            Halted: the stream was cancelled.
            LimitReached: a limit ran out.
            StreamError: any other failure.
        """
        job = self.job
        if not job.gates:
            self._run()
        else:
            with Passing(job.gates, job.call(), self._state) as passing:
                done = self._run()
                passing.usage = done.usage
        return Outcome("complete")

    def _run(self) -> Chunk:
        self._state.attempts += 1
        try:
            self._consume(self._open())
        except (Halted, LimitReached, StreamError) as error:
            # Check the stop flag first: after a shutdown a body may look like a clean end or like a failure. Check
            # for the terminator second: a failure after it does no harm, as the whole reply has arrived.
            if self._state.stop_requested():
                raise Halted from None
            if not (self._decoder.whole or self._decoder.ended) or isinstance(error, APIError):
                if isinstance(error, (BrokenStreamError, ConnectError)) and self._hook.timed_out():
                    raise LimitReached(self._state.deadlines.error()) from None
                raise
        if self.part is not None:
            self._hook.ready += self.part.rest()
        done = self._decoder.finish()
        if not isinstance(done, Chunk):
            raise ConfigError(f"{class_of(self._decoder)}.finish() returned {type(done).__name__}, not a Chunk")
        self._hook.ready.append(done)
        self._hook.hand_over()
        return done

    def _open(self) -> Reply:
        self._state.deadlines.connecting()
        reply = self._reply = self.job.transport.open(self.job.request, self._hook)
        self._state.response, self._state.received = reply.info.masked(self.job.request.secrets), 0
        return reply

    def _consume(self, reply: Reply) -> None:
        """Decode the body up to the terminator, or up to the end of the bytes."""
        if reply.info.status != 200:
            raise self._refusal(reply)
        content_type = reply.info.content_type
        framing = framing_of(content_type)
        if framing is aws_frames and content_type not in self.job.request.headers.get("Accept", ""):
            framing = None  # reading them needs botocore, which only a provider that accepts them has imported
        guard = sse.Guard(bare_errors=True)
        if framing is server_sent:
            self._consume_events(server_sent(reply.pieces(), guard))
        elif framing is not None:
            self._consume_events(framing(reply.pieces()))
        elif content_type == "application/json" or content_type.endswith("+json"):
            self._consume_whole(reply)
        else:
            excerpt = reply.excerpt(self._short_body(reply))
            raise unexpected(content_type, excerpt, "an event stream")
        enough = getattr(self._decoder, "enough", False) and not guard.torn
        if not (self._decoder.ended or self._decoder.whole or enough):
            raise TruncatedStreamError("the reply ended before the provider's terminator", retryable=True)

    def _consume_events(self, events: Iterable[Frame]) -> None:
        decoder, hook = self._decoder, self._hook
        decode = decoder.decode
        any_chunks, allowed = False, None  # ``allowed``: seconds for the rest of a reply that seems whole
        for event in events:
            chunks = decode(event)
            if chunks:
                any_chunks = True
                hook.ready += chunks
                hook.ready_bytes += len(event.data)
                if len(hook.ready) >= _MOST_READY:
                    hook.hand_over()
                    hook.limit()
            if decoder.ended:
                return
            if decoder.whole:
                seconds = _LINGER_SECONDS if any_chunks and not chunks else _DOUBT_SECONDS
                if chunks or seconds != allowed:  # events without chunks, such as pings, do not extend the time
                    hook.limit_reading(seconds)
                    allowed = seconds
            elif allowed is not None:  # the reply seemed whole, and then another choice began
                hook.limit_reading(None)
                allowed = None

    def _consume_whole(self, reply: Reply) -> None:
        body = reply.read_whole(_MAX_WHOLE_BODY)
        try:
            decoded = parse_json(body)
        except ValueError:
            raise ProtocolError("the JSON reply is malformed", excerpt=reply.excerpt(body)) from None
        self._hook.ready += self._decoder.decode_whole(decoded)

    def _refusal(self, reply: Reply) -> StreamError:
        body = self._short_body(reply)
        if 300 <= reply.info.status < 400:
            return redirected(reply.info, "set base_url to the right address", excerpt=reply.excerpt(body))
        provider = self.job.provider
        error = provider.error(reply.info, body)
        if not isinstance(error, StreamError):
            raise ConfigError(
                f"{class_of(provider)}.error() returned {type(error).__name__}, not an error of streamkit"
            )
        return error

    def _short_body(self, reply: Reply) -> bytes:
        """Return the body of a response that is no reply: at most 64 KiB, and what arrives within 2 s."""
        self._hook.limit_reading(_SHORT_SECONDS)
        body = bytearray()
        try:
            for data in reply.pieces():
                body += data
                if len(body) >= MAX_ERROR_BODY:
                    break
        except StreamError:
            pass
        except (Halted, LimitReached):
            if self._state.stop_requested():
                raise
        return bytes(body[:MAX_ERROR_BODY])

    def hand_over(self, more: Iterable[Chunk]) -> None:
        """Hand over the chunks that were decoded, and more.

        Raises:
            Halted: the stream was cancelled.
        """
        self._hook.ready += more
        if self._hook.ready:
            self._hook.hand_over()

    def measure(self, error: StreamError) -> None:
        """Add to the message of an error that cut the reply off how much of it had come."""
        if self._reply is not None and isinstance(error, (BrokenStreamError, TruncatedStreamError)):
            seconds, received = self._hook.seconds_since_sent(), self._state.received
            error.args = (f"{error.message}, after {seconds:.1f} s and {received} bytes",)

    def failed(self, error: StreamError, why_last: str, *, measured: bool = False) -> Outcome:
        """Hand over the chunks that came before the error, and return the outcome.

        Args:
            why_last: why the request is not sent again, for the error's message.
            measured: whether ``measure`` was called with the error.
        """
        self.why_last = why_last
        ready = [*self._hook.ready, *self._decoder.leftover()]
        if ready:
            self._hook.ready = ready
            try:
                self._hook.hand_over()
            except Halted:
                return Outcome("cancelled")
        if not measured:
            self.measure(error)
        if isinstance(error, APIError) and error.request_id is None and self._state.response is not None:
            error.request_id = self._state.response.request_id  # masked already
        if isinstance(error, StreamTimeout):
            return Outcome("timeout", error)
        return Outcome("truncated" if isinstance(error, TruncatedStreamError) else "error", error)

    def hand_over_rest(self) -> None:
        """Hand over the chunks that were decoded before the provider's own code failed; there are none after others."""
        if self._hook.ready:
            with suppress(Halted):
                self._hook.hand_over()

    @property
    def has_chunks(self) -> bool:
        """Whether a chunk was decoded, handed over or not."""
        return self._state.chunks > 0 or bool(self._hook.ready)

    @property
    def found_dead_connection(self) -> bool:
        """Whether the try failed on a pooled connection that was most likely closed before the request went out.

        The server's close and the request crossed on their way. A connection whose close had arrived is never used.
        """
        hook = self._hook
        soon = time.monotonic() - hook.sent_at < _DEAD_SECONDS
        return hook.reused and soon and not (hook.answered or hook.timed_out())

    def drain(self, *, before_waiting: Callable[[], object]) -> None:
        """Read the rest of a finished reply's body, so that the connection can be reused.

        Args:
            before_waiting: called once, before the worker waits longer than a moment: it releases the consumer.
        """
        self._hook.drain(before_waiting)
        with suppress(Halted):
            if self._reply is not None:
                self._reply.drain(_DRAIN_BYTES)

    def close(self) -> None:
        """Close the response."""
        if self._reply is not None:
            self._reply.close()


def _decoder_of(job: Job) -> Decoder:
    decoder = job.provider.decoder(job.chat)
    if not callable(getattr(decoder, "decode", None)):
        raise ConfigError(f"{class_of(job.provider)}.decoder() returned {type(decoder).__name__}, not a Decoder")
    return decoder
