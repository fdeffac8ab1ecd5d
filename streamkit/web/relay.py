"""From a stream to a browser, through any WSGI server: ``relay``."""

from __future__ import annotations

import http
import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from streamkit.errors import ChannelClosed, ConfigError, MisuseError, RequestError, StreamkitError
from streamkit.logs.following import FollowedStream
from streamkit.settings import seconds_of, shown
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.values.chunks import Chunk, Usage, summed
from streamkit.values.completion import changed
from streamkit.web.client_sockets import bound_writes, on_leaving
from streamkit.web.direct_writer import DirectWriter
from streamkit.web.formats import Format, format_of

__all__ = ["Relay", "logged_error", "relay"]

_log = logging.getLogger("streamkit")

_MOST_BYTES = 64 * 1024  # that are joined for one write


class Relay:
    """A reply as an iterable of bytes, and its status and headers; see ``relay``.

    Attributes:
        stream: the stream.
        id: of the message that the client makes of it.

    Threads: the server's thread of the request iterates it; ``close()`` may be called by any thread.
    """

    def __init__(
        self,
        stream: ChunkStream,
        format: Format,
        *,
        heartbeat: float,
        wait: float,
        write_timeout: float | None,
        id: str,
        environ: Mapping[str, Any] | None,
        begin: Mapping[str, Any],
        usage: bool,
        earlier: Iterable[Chunk],
        spent: Usage | None,
    ) -> None:
        self.stream = stream
        self.id = id
        self._format = format
        self._heartbeat = heartbeat
        self._wait = wait
        self._write_timeout = write_timeout
        self._environ = environ
        self._begin = begin
        self._usage = usage
        self._earlier = earlier
        self._spent = spent
        self._first: list[Chunk] = []
        self._failed: BaseException | None = None
        self._status = 200
        self._headers = dict(format.headers)
        self._whole: bytes | None = None  # of a response that is no stream
        self._begun = False
        self._bytes = self._encoded()
        self._unwatch = None if environ is None else on_leaving(environ, self._left)

    # -- the head ----------------------------------------------------------------------------------------

    def begin(self) -> Relay:
        """Wait for the first chunk, so that an error before it becomes the status of the response.

        After ``wait`` seconds of silence the response begins with a heartbeat. ``status`` and ``headers`` call this.

        Threads: the server's thread of the request.
        """
        if self._begun:
            return self
        try:
            chunk = self.stream.take(self._wait)
        except queue.Empty:
            pass
        except (StreamkitError, MisuseError) as error:
            refusal = self._format.refusal(error)
            self._status, self._headers, self._whole = refusal.status, dict(refusal.headers), refusal.body
            _log.warning(
                "a reply failed before its first chunk, and %d was answered: %s", refusal.status, logged_error(error)
            )
            self._unwatch_client()
        except BaseException:
            self.close()
            raise
        else:
            if chunk is not None:
                self._first.append(chunk)
        self._begun = True
        return self

    @property
    def status_code(self) -> int:
        """The HTTP status; 200 unless the reply failed before its first chunk."""
        return self.begin()._status

    @property
    def status(self) -> str:
        """The same with its phrase, for ``start_response``."""
        code = self.status_code
        phrase = http.HTTPStatus(code).phrase if code in http.HTTPStatus._value2member_map_ else ""
        return f"{code} {phrase}".rstrip()

    @property
    def headers(self) -> dict[str, str]:
        """The headers, without those of a connection."""
        return dict(self.begin()._headers)

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., object]) -> Relay:
        """Answer a request as a WSGI application."""
        if self._unwatch is None:
            self._unwatch = on_leaving(environ, self._left)
        self._environ = environ
        start_response(self.status, list(self.headers.items()))
        return self

    # -- the body ----------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[bytes]:
        """Iterate the bytes, each to be sent at once."""
        return self

    def __next__(self) -> bytes:
        """Return the next bytes, never none."""
        return next(self._bytes)

    def write_to(
        self, write: Callable[[bytes], object], *, before_end: Callable[[bytes], object] | None = None, most: int = 0
    ) -> None:
        """Write the whole reply by the function that ``start_response`` returns, in place of iterating it.

        The thread that reads a chunk writes it, so that a chunk costs no change of threads, which saves two fifths of
        the processor time where a hundred replies are open. This thread waits, and writes heartbeats and the end.

        Args:
            write: as PEP 3333 has it.
            before_end: called with all bytes of the reply before the last of them are written.
            most: bytes that are kept for ``before_end``, one write more where there are more.

        Raises:
            StreamError: the reply failed, and the format cannot tell it.

        Threads: the server's thread of the request; it returns at the end of the reply.
        """
        self.begin()
        if self._whole is not None:
            write(self._whole)
            return
        unbound = self._bound_writes()
        writer = DirectWriter(write, self._format, most if before_end is not None else 0)
        try:
            self._write_pieces(writer)
            last = self._end(None)
            if before_end is not None:
                before_end(bytes(writer.written) + last)
            writer.write(last)
        except ChannelClosed:
            pass  # the client has left
        except (StreamkitError, MisuseError) as error:
            _log.warning("a reply failed after it had begun: %s", logged_error(error))
            last = self._end(error)
            if before_end is not None:
                before_end(bytes(writer.written) + last)
            with suppress(ChannelClosed):
                writer.write(last)
            if not self._format.tells_errors:
                raise
        finally:
            self.close()
            writer.close()
            unbound()

    def _write_pieces(self, writer: DirectWriter) -> None:
        """Write all but the end."""
        format, stream = self._format, self.stream
        writer.write(self._beginning())
        if self._first:
            writer((self._first.pop(),))
        else:
            writer.write(format.heartbeat())
        diverted = False
        while True:
            diverted = diverted or stream.divert(writer)
            try:
                chunk = stream.take(max(self._heartbeat - writer.silence, 0.01))
            except queue.Empty:
                if writer.silence >= self._heartbeat:
                    writer.write(format.heartbeat())
                continue
            if chunk is None:
                return
            writer((chunk,))

    def close(self) -> None:
        """Cancel the reply if it is open. WSGI servers call it at the end, and when the client has left.

        Threads: any, any number of times; never waits.
        """
        self._unwatch_client()
        if self.stream.status == "open":
            with suppress(MisuseError):  # of a forked child
                self.stream.cancel()

    def _unwatch_client(self) -> None:
        if self._unwatch is not None:
            self._unwatch()

    def _left(self) -> None:
        """Cancel in a thread of its own, as observers and stores are called, and other clients are waiting."""
        threading.Thread(target=self.close, name="streamkit-client-left", daemon=True).start()

    def _encoded(self) -> Iterator[bytes]:
        self.begin()
        if self._whole is not None:
            yield self._whole
            return
        unbound = self._bound_writes()
        try:
            for data in self._pieces():
                if data:  # some servers take no bytes for the end
                    yield data
        except (StreamkitError, MisuseError) as error:
            _log.warning("a reply failed after it had begun: %s", logged_error(error))
            last = self._end(error)
            if last:
                yield last
            if not self._format.tells_errors:
                raise  # so that the server cuts the connection, and the client does not take half a reply for a whole
        finally:
            self.close()
            unbound()

    def _bound_writes(self) -> Callable[[], None]:
        if self._environ is None or self._write_timeout is None:
            return lambda: None
        return bound_writes(self._environ, self._write_timeout)

    def _beginning(self) -> bytes:
        format = self._format
        return format.begin(self.id, **self._begin) + b"".join(map(format.encode_earlier, self._earlier))

    def _pieces(self) -> Iterator[bytes]:
        format, begin = self._format, self._beginning()
        if self._first:
            yield begin + self._with_those_behind(self._first.pop())
        else:
            yield begin + format.heartbeat()
        while True:
            try:
                chunk = self.stream.take(self._heartbeat)
            except queue.Empty:
                yield format.heartbeat()
                continue
            if chunk is None:
                break
            yield self._with_those_behind(chunk)
        yield self._end(None)

    def _with_those_behind(self, chunk: Chunk) -> bytes:
        """Return the bytes of a chunk and of those that have arrived with it: one write, and nothing is waited for."""
        encode, stream = self._format.encode, self.stream
        data = encode(chunk)
        while len(data) < _MOST_BYTES and stream.peek() is not None and (more := stream.take(0.0)) is not None:
            data += encode(more)
        return data

    def _end(self, error: BaseException | None) -> bytes:
        stream = self.stream
        status = stream.status
        if error is not None and status in ("open", "complete"):  # complete: what comes behind its end has failed
            status = "error"
        completion = stream.completion if self._usage else None
        first = stream.stats.time_to_first_chunk
        if self._spent is not None:
            first = None  # it was told when the message began
            if completion is not None:
                completion = changed(completion, usage=summed([self._spent, completion.usage]))
        return self._format.end(status, error, completion, time_to_first_token=first)


def logged_error(error: BaseException) -> object:
    """Return what is logged of an error: the text of one that was made for a client may repeat what the client sent."""
    if isinstance(error, RequestError):
        return f"{type(error).__name__} {error.status} {error.code}".rstrip()
    return error


def relay(
    stream: ChunkStream,
    format: str | Format = "ui",
    *,
    heartbeat: float = 15.0,
    wait: float = 5.0,
    write_timeout: float | None = 30.0,
    id: str | None = None,
    environ: Mapping[str, Any] | None = None,
    usage: bool = True,
    earlier: Iterable[Chunk] = (),
    spent: Usage | None = None,
    **begin: Any,
) -> Relay:
    """Return a reply as an iterable of bytes for any WSGI server, with its status and headers.

    ::

        def application(environ, start_response):
            stream = client.stream("openai/gpt-4o-mini", question_in(environ))
            return relay(stream, "events")(environ, start_response)

    A chunk is sent as soon as it has arrived. While nothing arrives, a heartbeat keeps the connection open, also before
    the first chunk. When the client leaves, the model is cancelled: at once where the server hands its socket over, as
    gunicorn and werkzeug do, otherwise when a write fails, so within two heartbeats. An error before the first
    chunk becomes the status of the response; a later one is sent in the words of the format, masked unless the format
    was made with ``show_errors=True``. Both are logged to the logger ``streamkit``.

    Args:
        stream: a ``Stream``, a ``Run``, the stream of a conversation's turn, or any other ``ChunkStream``.
        format: ``ui`` (the AI SDK's ``useChat``), ``text``, ``data`` (AI SDK 4), ``openai`` (chat completions),
            ``responses``, ``anthropic``, ``events`` (an ``EventSource``), or a ``Format`` made for this reply.
        heartbeat: seconds of silence before a heartbeat. Proxies close connections after 30 to 60 s of silence.
        wait: seconds to wait for the first chunk before the response begins without it.
        write_timeout: seconds that one write to the client may take; then the server gives up, and the model is
            cancelled. So a client that reads too slowly, or has vanished, holds neither for long. ``None`` for no
            bound; there is none either where the server does not hand the client's socket over.
        id: of the message that the client makes of it; by default one of its own. A client that comes back gets the
            same message again by the same id.
        environ: of the request, so that the client is watched from now on.
        usage: whether the client is told of tokens, where the format has words for it.
        earlier: chunks of the same message that came before this stream, such as those of a run that was suspended.
        spent: the usage of the same message before this stream; the client is told the sum.
        begin: further arguments of ``Format.begin``, such as ``model`` or ``metadata``.

    Raises:
        ConfigError: there is no such format, or a time is impossible.
    """
    if not isinstance(stream, ChunkStream):
        raise ConfigError(f"relay() takes a stream, as client.stream() returns it, not {shown(stream)}")
    beat, first = seconds_of(heartbeat, "relay(heartbeat=...)"), seconds_of(wait, "relay(wait=...)")
    write = seconds_of(write_timeout, "relay(write_timeout=...)")
    if not beat or first is None:
        raise ConfigError("relay(heartbeat=...) is a number of seconds above 0, and wait=... one from 0")
    if write == 0:
        raise ConfigError("relay(write_timeout=...) is a number of seconds above 0, or None")
    # The ids of these events are the numbers in the log, so that a browser that comes back twice is understood.
    after = {"after": stream.id_of_last} if format == "events" and isinstance(stream, FollowedStream) else {}
    made = format if isinstance(format, Format) else format_of(format, **after)
    begin.setdefault("created", int(time.time()))
    return Relay(
        stream,
        made,
        heartbeat=beat,
        wait=first,
        write_timeout=write,
        id=id or f"msg-{uuid.uuid4().hex}",
        environ=environ,
        begin=begin,
        usage=usage,
        earlier=earlier,
        spent=spent,
    )
