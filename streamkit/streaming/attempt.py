"""One try of a stream: a request, its response, and a decoder of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import attrs

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
from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Decoder, Provider, class_of
from streamkit.settings import Retry, Timeout
from streamkit.streaming.shared_state import Outcome, StreamState
from streamkit.streaming.stream_hook import Halted, LimitReached, StreamHook
from streamkit.transport import sse
from streamkit.transport.framing import Frame, aws_frames, framing_of, server_sent
from streamkit.transport.small_requests import redirected
from streamkit.transport.transport import Reply, Transport
from streamkit.values.chunks import Chunk
from streamkit.wire.http import HttpRequest
from streamkit.wire.json import parse_json
from streamkit.wire.secrets import MAX_ERROR_BODY

__all__ = ["Attempt", "Job"]

_MAX_WHOLE_BODY = sse.MAX_EVENT
_DRAIN_BYTES = 16 * 1024
_MOST_READY = 1024  # chunks of one read before they are handed over, although more are there already
_REFUSAL_SECONDS = 2.0  # for the body of an error; its status says the most
_LINGER_SECONDS = 5.0  # for usage and a terminator, once each choice has its finish reason
# The same where the finish reason came beside the last words, or before the first: there are servers that put it
# on every piece, and more may come.
_DOUBT_SECONDS = 30.0
# For a pooled connection to end without a byte after a request began to go out, and be taken for one that was closed
# before. No server has acted on a request and failed so soon, but for a few; later it may have.
_DEAD_SECONDS = 0.05


@attrs.frozen
class Job:
    """What one stream is to do; never changes."""

    chat: ChatRequest
    request: HttpRequest
    provider: Provider
    transport: Transport
    timeout: Timeout
    retry: Retry


class Attempt:
    """One try: a request, its response, and a decoder of its own."""

    def __init__(self, state: StreamState, job: Job) -> None:
        self._state = state
        self._job = job
        self._hook = StreamHook(state)
        self._decoder = _decoder_of(job)
        self._reply: Reply | None = None

    def run(self) -> Outcome:
        """Go through it to a normal end.

        Raises:
            Halted: the stream is to end.
            LimitReached: a limit ran out.
            StreamError: anything else.
        """
        try:
            self._consume(self._open())
        except (Halted, LimitReached, StreamError) as error:
            # Stop flag first, terminator second: after a shutdown a body may look like a clean end or a
            # failure, and once all of the reply is there no failure takes it away again.
            if self._state.stop_asked():
                raise Halted from None
            if not (self._decoder.whole or self._decoder.ended) or isinstance(error, APIError):
                if isinstance(error, (BrokenStreamError, ConnectError)) and self._hook.timed_out():
                    raise LimitReached(self._state.deadlines.error()) from None
                raise
        done = self._decoder.finish()
        if not isinstance(done, Chunk):
            raise ConfigError(f"{class_of(self._decoder)}.finish() returned {type(done).__name__}, not a Chunk")
        self._hook.ready.append(done)
        self._hook.hand_over()
        return Outcome("complete")

    def _open(self) -> Reply:
        self._state.deadlines.connecting()
        reply = self._reply = self._job.transport.open(self._job.request, self._hook)
        self._state.response, self._state.received = reply.info.masked(self._job.request.secrets), 0
        return reply

    def _consume(self, reply: Reply) -> None:
        """Read the body through the decoder, to the terminator or to the end of the bytes."""
        if reply.info.status != 200:
            raise self._refusal(reply)
        content_type = reply.info.content_type
        framing = framing_of(content_type)
        if framing is aws_frames and content_type not in self._job.request.headers.get("Accept", ""):
            framing = None  # reading them takes botocore, which only a provider that asks for them has imported
        guard = sse.Guard(bare_errors=True)
        if framing is server_sent:
            self._consume_events(server_sent(reply.pieces(), guard))
        elif framing is not None:
            self._consume_events(framing(reply.pieces()))
        elif content_type == "application/json" or content_type.endswith("+json"):
            self._consume_whole(reply)
        else:
            excerpt = reply.excerpt(reply.read(MAX_ERROR_BODY))
            raise ProtocolError(f"the server sent {content_type}, not an event stream", excerpt=excerpt)
        enough = getattr(self._decoder, "enough", False) and not guard.torn
        if not (self._decoder.ended or self._decoder.whole or enough):
            raise TruncatedStreamError("the reply ended before the provider said that it was over", retryable=True)

    def _consume_events(self, events: Iterable[Frame]) -> None:
        decoder, hook = self._decoder, self._hook
        decode = decoder.decode
        told, patience = False, None  # the seconds that a reply which seems whole has for the rest
        for event in events:
            chunks = decode(event)
            if chunks:
                told = True
                hook.ready += chunks
                hook.ready_bytes += len(event.data)
                if len(hook.ready) >= _MOST_READY:  # one compressed read may hold any number
                    hook.hand_over()
                    hook.limit()
            if decoder.ended:
                return
            if decoder.whole:
                seconds = _LINGER_SECONDS if told and not chunks else _DOUBT_SECONDS
                if chunks or seconds != patience:  # events without chunks, such as pings, give no time more
                    hook.hurry(seconds)
                    patience = seconds
            elif patience is not None:  # it seemed whole, and then another choice began
                hook.hurry(None)
                patience = None

    def _consume_whole(self, reply: Reply) -> None:
        body = reply.read_whole(_MAX_WHOLE_BODY)
        try:
            decoded = parse_json(body)
        except ValueError:
            raise ProtocolError("the JSON reply is malformed", excerpt=reply.excerpt(body)) from None
        self._hook.ready += self._decoder.decode_whole(decoded)

    def _refusal(self, reply: Reply) -> StreamError:
        body = self._refusal_body(reply)
        if 300 <= reply.info.status < 400:
            return redirected(reply.info, "set base_url to the right address", excerpt=reply.excerpt(body))
        provider = self._job.provider
        error = provider.error(reply.info, body)
        if not isinstance(error, StreamError):
            raise ConfigError(
                f"{class_of(provider)}.error() returned {type(error).__name__}, not an error of streamkit"
            )
        return error

    def _refusal_body(self, reply: Reply) -> bytes:
        """Return the body of an error, as far as it comes within reason."""
        self._hook.hurry(_REFUSAL_SECONDS)
        body = bytearray()
        try:
            for data in reply.pieces():
                body += data
                if len(body) >= MAX_ERROR_BODY:
                    break
        except StreamError:
            pass
        except (Halted, LimitReached):
            if self._state.stop_asked():
                raise
        return bytes(body[:MAX_ERROR_BODY])

    def failed(self, error: StreamError) -> Outcome:
        """Hand over what came before the error, and return the outcome."""
        ready = [*self._hook.ready, *self._decoder.leftover()]
        if ready:
            self._hook.ready = ready
            try:
                self._hook.hand_over()
            except Halted:
                return Outcome("cancelled")
        if isinstance(error, APIError) and error.request_id is None and self._state.response is not None:
            error.request_id = self._state.response.request_id  # masked already
        if isinstance(error, StreamTimeout):
            return Outcome("timeout", error)
        return Outcome("truncated" if isinstance(error, TruncatedStreamError) else "error", error)

    @property
    def has_chunks(self) -> bool:
        """Whether the consumer was given a chunk, or would have been."""
        return self._state.chunks > 0 or bool(self._hook.ready)

    @property
    def found_dead_connection(self) -> bool:
        """Whether the try failed on a pooled connection that was most likely closed before the request went out.

        One whose end had arrived by then was not used at all. Here the end crossed with the request.
        """
        hook = self._hook
        soon = time.monotonic() - hook.sent_at < _DEAD_SECONDS
        return hook.reused and soon and not (hook.answered or hook.timed_out())

    def drain(self, *, before_waiting: Callable[[], object]) -> None:
        """Read a finished reply on to the end of its body, so that the connection can be used again.

        Args:
            before_waiting: called before the rest keeps the worker waiting for any length of time; the
                consumer is not to wait for it.
        """
        self._hook.drain(before_waiting)
        with suppress(Halted):
            if self._reply is not None:
                self._reply.drain(_DRAIN_BYTES)

    def close(self) -> None:
        """Let the response go."""
        if self._reply is not None:
            self._reply.close()


def _decoder_of(job: Job) -> Decoder:
    decoder = job.provider.decoder(job.chat)
    if not callable(getattr(decoder, "decode", None)):
        raise ConfigError(f"{class_of(job.provider)}.decoder() returned {type(decoder).__name__}, not a Decoder")
    return decoder
