"""What a client asked: the Request, and how it is read off a line."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from streamkit.testing.socket_line import SocketLine

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_LINE_BYTES = 8 * 1024


class Malformed(Exception):
    """The request is not one that this server can read; `status` is the answer to it."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Headers(Mapping[str, str]):
    """The headers of a request: lower-cased names, found in any case; a repeated one is joined by commas."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower()
            self._values[key] = f"{self._values[key]}, {value}" if key in self._values else value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Headers {', '.join(self._values)}>"  # the names only: a value may be a key


@attrs.define(eq=False)
class Request:
    """A request as it arrived, and what became of its client.

    The first fields never change. The rest is written by the thread of the connection only, and the events
    are set after what they stand for, so that any thread may read once one of them is set.

    Attributes:
        method, path, headers, body: what was asked; the path has its query with it.
        connection: the number of the TCP connection, counted from 1 a server.
        arrived_at: when the last byte of it had been read, on the clock of `time.monotonic`.
        sent: bytes of the reply's body that went out, encoded, without framing.
        answered: set when the reply is over, however it ended.
        gone: set when the client's end of the connection was seen closed, while it was answered or after. A
            client that closes only its sending half is taken for one that left.
        gone_at: when that was, on the clock of `time.monotonic`.
    """

    method: str
    path: str
    headers: Headers
    body: bytes
    connection: int
    arrived_at: float = attrs.field(factory=time.monotonic)
    version: str = "HTTP/1.1"
    sent: int = 0
    gone_at: float | None = None
    gone: threading.Event = attrs.field(factory=threading.Event)
    answered: threading.Event = attrs.field(factory=threading.Event)

    def json(self) -> Any:
        """Return the body, parsed as JSON.

        Raises:
            ValueError: it is not JSON.
        """
        return json.loads(self.body)

    @property
    def wants_close(self) -> bool:
        """Whether the client asked for the connection to end after the reply."""
        connection = self.headers.get("connection", "").lower()
        return "close" in connection or (self.version == "HTTP/1.0" and "keep-alive" not in connection)

    def mark_gone(self) -> None:
        """Note that the client left, the first time that this is seen."""
        if not self.gone.is_set():
            self.gone_at = time.monotonic()
            self.gone.set()

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path} on connection {self.connection}>"


def read_request(line: SocketLine, connection: int) -> Request:
    """Read one request off a line, body and all.

    `Expect: 100-continue` gets no answer of its own: a client that asks sends its body after a while.

    Raises:
        Malformed: the bytes are no request, or one that is too large.
        ClientGone: the client left before the end of its request, or sent none.
        ServerClosed: the server closes.
    """
    head = line.read_until(b"\r\n\r\n", MAX_HEAD_BYTES)
    if head is None:
        raise Malformed(431, f"the head is over {MAX_HEAD_BYTES} bytes")
    first, *rest = head.decode("latin-1").lstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise Malformed(400, "the request line is not one of HTTP/1")
    headers = Headers(_parse_header(text) for text in rest)
    body = _read_body(line, headers)
    return Request(words[0], words[1], headers, body, connection, version=words[2])


def _parse_header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name or name != name.strip():
        raise Malformed(400, "a header line has no name")
    return name, value.strip()


def _read_body(line: SocketLine, headers: Headers) -> bytes:
    if headers.get("transfer-encoding", "").lower().endswith("chunked"):
        return _read_chunks(line)
    length = _parse_size(headers.get("content-length", "0"), base=10)
    _check_size(length)
    return line.read(length)


def _read_chunks(line: SocketLine) -> bytes:
    body = bytearray()
    while size := _parse_size(_read_line(line).partition(";")[0].strip(), base=16):
        _check_size(len(body) + size)
        body += line.read(size)
        if line.read(2) != b"\r\n":
            raise Malformed(400, "a chunk does not end where it says")
    while _read_line(line):
        pass  # trailers
    return bytes(body)


def _read_line(line: SocketLine) -> str:
    text = line.read_until(b"\r\n", _MAX_LINE_BYTES)
    if text is None:
        raise Malformed(400, f"a line of a chunked body is over {_MAX_LINE_BYTES} bytes")
    return text.decode("latin-1")


def _parse_size(text: str, *, base: int) -> int:
    try:
        size = int(text, base)
    except ValueError:
        size = -1
    if size < 0:
        raise Malformed(400, "the length of the body is not a number")
    return size


def _check_size(size: int) -> None:
    if size > MAX_BODY_BYTES:
        raise Malformed(413, f"the body is over {MAX_BODY_BYTES} bytes")
