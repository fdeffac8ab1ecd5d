"""Where the steps of a reply go: onto the line, encoded and framed as the reply asks."""

from __future__ import annotations

import threading
import zlib
from http import HTTPStatus
from typing import NoReturn, Protocol

from streamkit.testing.line import Line
from streamkit.testing.request import Request
from streamkit.testing.script import Encoding, HangUp, Reply

_BODILESS = (204, 304)


class _Encoder(Protocol):
    """Turns pieces of a body into bytes of the wire."""

    def encode(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class _Identity:
    def encode(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class _Gzip:
    """Compresses, and flushes after each piece: a stream that waits for a full block would show nothing."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(wbits=31)  # 31: a gzip header and trailer, the largest window

    def encode(self, data: bytes) -> bytes:
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._deflate.flush(zlib.Z_FINISH)


def _encoder(encoding: Encoding | None) -> _Encoder:
    return _Gzip() if encoding == "gzip" else _Identity()


class Output:
    """What a step is given to play on.

    Threads: belongs to the one thread of its connection. Every method may raise ClientGone or ServerClosed,
    which a step lets pass.
    """

    def __init__(self, reply: Reply, request: Request, line: Line) -> None:
        self.request = request
        self._line = line
        self._encoder = _encoder(reply.encoding)
        self._chunked = reply.framing == "chunked" and reply.status not in _BODILESS

    def send(self, data: bytes) -> None:
        """Write a piece of the body, in one write and one frame."""
        self._write(self._encoder.encode(data))

    def trickle(self, data: bytes, pause: float) -> None:
        """Write a piece of the body a byte a write, a pause of some seconds before each but the first."""
        for at, byte in enumerate(self._encoder.encode(data)):
            if at and pause:
                self.wait(pause)
            self._write(b"%c" % byte)

    def raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        self._line.send(data)

    def wait(self, seconds: float | None) -> None:
        """Wait some seconds, or, with None, for the end of the client or the server."""
        self._line.wait(seconds)

    def wait_for(self, event: threading.Event, seconds: float) -> None:
        """Wait for an event.

        Raises:
            AssertionError: it was not set in time.
        """
        if not self._line.wait_for(event, seconds):
            raise AssertionError(f"WaitFor: nobody set the event within {seconds:g} s, for {self.request!r}")

    def hang_up(self, *, reset: bool) -> NoReturn:
        """End the connection here, with a RST or a FIN, and the reply with it."""
        raise HangUp(reset=reset)

    def finish(self) -> None:
        """Write what ends the encoding and the framing."""
        self._write(self._encoder.finish())
        if self._chunked:
            self._line.send(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        if data:  # an empty chunk would be the last one
            self._line.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
            self.request.sent += len(data)


def play(reply: Reply, request: Request, line: Line) -> bool:
    """Answer a request; return whether the connection may take another.

    Raises:
        HangUp: a step ends the connection.
        ClientGone: the client left before the end.
        ServerClosed: the server closes.
    """
    keep = reply.may_keep_alive and not request.wants_close
    out = Output(reply, request, line)
    for step in reply.before_head:
        step.play(out)
    if reply.head:
        line.send(_head(reply, keep))
    for step in reply.steps:
        step.play(out)
    out.finish()
    return keep


def _head(reply: Reply, keep: bool) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}"]
    if reply.content_type is not None:
        lines.append(f"Content-Type: {reply.content_type}")
    if reply.encoding is not None:
        lines.append(f"Content-Encoding: {reply.encoding}")
    if reply.status not in _BODILESS:
        lines.extend(_framing(reply))
    if not keep and reply.content_length is None:  # who lies about the length does not say that it will close
        lines.append("Connection: close")
    lines.extend(f"{name}: {value}" for name, value in reply.headers)
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _framing(reply: Reply) -> list[str]:
    if reply.framing == "chunked":
        return ["Transfer-Encoding: chunked"]
    if reply.framing == "length":
        length = _body_length(reply) if reply.content_length is None else reply.content_length
        return [f"Content-Length: {length}"]
    return []


def _body_length(reply: Reply) -> int:
    """Count the bytes of a body by encoding it once more, piece by piece: it may not fit in memory."""
    encoder = _encoder(reply.encoding)
    length = sum(len(encoder.encode(piece)) for step in reply.steps for piece in step.payload())
    return length + len(encoder.finish())


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"
