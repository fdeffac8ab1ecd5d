"""One try of a stream: a request, its response, and a decoder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

import attrs

from streamkit.errors import (
    APIError,
    BrokenStreamError,
    ConnectError,
    ProtocolError,
    StreamError,
    StreamTimeout,
    TruncatedStreamError,
)
from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Decoder, Provider
from streamkit.settings import Retry, Timeout
from streamkit.streaming.shared_state import Outcome, StreamState
from streamkit.streaming.stream_hook import Interrupt, StreamHook
from streamkit.transport import sse
from streamkit.transport.framing import Frame, framing_of
from streamkit.transport.small_requests import redirected
from streamkit.transport.transport import Reply, Transport
from streamkit.wire.http import HttpRequest
from streamkit.wire.json import parse_json
from streamkit.wire.secrets import MAX_ERROR_BODY, mask_error

__all__ = ["Attempt", "Job"]

_MAX_WHOLE_BODY = sse.MAX_EVENT
_DRAIN_BYTES = 16 * 1024
_MOST_READY = 1024  # chunks of one read before they are handed over, although more are there already
_REFUSAL_SECONDS = 2.0  # for the body of an error; its status says the most
_LINGER_SECONDS = 5.0  # for usage and a terminator, once each choice has its finish reason
# The same where the finish reason came beside the last words, or before the first: there are servers that put it
# on every piece, and more may come.
_DOUBT_SECONDS = 30.0


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
        self._decoder: Decoder = job.provider.decoder(job.chat)
        self._reply: Reply | None = None

    def run(self) -> Outcome:
        """Go through it to a normal end.

        Raises:
            Interrupt: the stream is to end, or a limit ran out.
            StreamError: anything else.
        """
        try:
            self._consume(self._open())
        except (Interrupt, StreamError) as error:
            # Stop flag first, terminator second: after a shutdown a body may look like a clean end or a
            # failure, and once all of the reply is there no failure takes it away again.
            if self._state.stop_asked():
                raise Interrupt from error
            if not (self._decoder.whole or self._decoder.ended) or isinstance(error, APIError):
                if isinstance(error, (BrokenStreamError, ConnectError)) and self._hook.timed_out():
                    raise Interrupt(self._state.deadlines.error()) from error
                raise
        self._hook.ready.append(self._decoder.finish())
        self._hook.hand_over()
        return Outcome("complete")

    def _open(self) -> Reply:
        self._state.deadlines.connecting()
        reply = self._reply = self._job.transport.open(self._job.request, self._hook)
        self._state.response, self._state.received = reply.info, 0
        return reply

    def _consume(self, reply: Reply) -> None:
        """Read the body through the decoder, to the terminator or to the end of the bytes."""
        if reply.info.status != 200:
            raise self._refusal(reply)
        content_type = reply.info.content_type
        framing = framing_of(content_type)
        if framing is not None:
            self._consume_events(framing(reply.pieces()))
        elif content_type == "application/json" or content_type.endswith("+json"):
            self._consume_whole(reply)
        else:
            excerpt = reply.excerpt(reply.read(MAX_ERROR_BODY))
            raise ProtocolError(f"the server sent {content_type}, not an event stream", excerpt=excerpt)
        if not (self._decoder.ended or self._decoder.whole):
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
        return self._job.provider.error(reply.info, body)

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
        except Interrupt:
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
            except Interrupt:
                return Outcome("cancelled")
        _drop_frames(error)
        mask_error(error, self._job.request.secrets)
        if isinstance(error, APIError) and error.request_id is None and self._reply is not None:
            error.request_id = self._reply.info.request_id
        if isinstance(error, StreamTimeout):
            return Outcome("timeout", error)
        return Outcome("truncated" if isinstance(error, TruncatedStreamError) else "error", error)

    @property
    def has_chunks(self) -> bool:
        """Whether the consumer was given a chunk, or would have been."""
        return self._state.chunks > 0 or bool(self._hook.ready)

    @property
    def found_dead_connection(self) -> bool:
        """Whether a pooled connection turned out to be closed before a byte of the answer came."""
        return self._hook.reused and self._reply is None and not self._hook.timed_out()

    def drain(self, *, before_waiting: Callable[[], object]) -> None:
        """Read a finished reply on to the end of its body, so that the connection can be used again.

        Args:
            before_waiting: called before the rest keeps the worker waiting for any length of time; the
                consumer is not to wait for it.
        """
        self._hook.drain(before_waiting)
        with suppress(Interrupt):
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
