"""A server on loopback that passes requests on to a real one, and writes down what came back."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from streamkit.testing.cassette import CassetteWriter, Exchange
from streamkit.testing.events import error_body, to_json

__all__ = ["Recorder"]

_HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
    *("trailers", "transfer-encoding", "upgrade", "host", "content-length", "accept-encoding", "expect"),
}
_SAID_HERE = {*_HOP_BY_HOP, "content-encoding", "date", "server"}  # of a response
_MAX_REQUEST = 64 * 1024 * 1024  # bytes
_MAX_LINE = 8 * 1024  # bytes, of a chunk's size or a trailer
_GRACE_SECONDS = 0.25  # a client may have read the last event before the end of the response is there
_CUT_SECONDS = 2.0  # for a thread whose sockets were shut down to notice it
_FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


class Recorder:
    """Passes requests on to ``upstream``, and writes each exchange to a cassette as it happens.

    ::

        with Recorder("https://api.openai.com/v1", "cassette.jsonl") as recorder:
            client = Client([providers.OpenAI(base_url=recorder.url)])

    Bytes are passed on as they arrive. Keys are sent upstream and not written, whichever header or parameter
    they come in, nor where the server repeats them. Where the server does not answer, the client gets a 502 that
    says why, and nothing is written.

    Args:
        upstream: the base URL of the real server.
        path: of the cassette. What was there stays until the first response.
        port: to listen on, on loopback; 0 for any that is free.
        timeout: seconds to wait for the server, for its connection and between reads.

    Attributes:
        url: the base URL to give to a client in place of ``upstream``.

    Raises:
        ValueError: upstream is no base URL, or it holds a password.
        OSError: the cassette cannot be written, and is the error's ``filename``; or the port is in use.
    """

    def __init__(self, upstream: str, path: str | os.PathLike[str], *, port: int = 0, timeout: float = 300.0) -> None:
        self.upstream = _checked(upstream)
        self.timeout = timeout
        self._writer = CassetteWriter(path)
        self._server = _Server(("127.0.0.1", port), type("_BoundHandler", (_Handler,), {"recorder": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._changed = threading.Condition()  # guards the next two fields, and says when they change
        self._connections: set[_Handler] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and close the cassette.

        What has not come to its end within a quarter of a second is cut. Closing again does nothing.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        self._wait_for_responses(_GRACE_SECONDS)
        with self._changed:
            connections = list(self._connections)
        for connection in connections:
            connection.cut()
        self._wait_for_responses(_CUT_SECONDS)
        self._writer.close()

    def _wait_for_responses(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: all(each.response is None for each in self._connections), seconds)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Recorder {self.url} before {self.upstream}>"

    # What the connections call, in their threads.

    @property
    def closed(self) -> bool:
        """Whether nothing more is recorded."""
        return self._closed

    def begin(self, request: _Handler, body: bytes) -> Exchange:
        """Give a request its place in the cassette."""
        return self._writer.begin(request.command, request.path, request.headers.items(), body)

    def enter(self, connection: _Handler) -> None:
        """Take note of a connection, or of what it does."""
        with self._changed:
            self._connections.add(connection)
            self._changed.notify_all()

    def leave(self, connection: _Handler) -> None:
        """Forget a connection."""
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that leaves is nobody's error."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    recorder: Recorder
    protocol_version = "HTTP/1.1"
    response: requests.Response | None = None  # the one that is being passed on
    was_cut = False  # set before cut() looks for the response, and looked at after there is one

    def setup(self) -> None:
        """Begin the connection."""
        super().setup()
        self.recorder.enter(self)

    def finish(self) -> None:
        """End the connection."""
        self.recorder.leave(self)
        super().finish()

    def cut(self) -> None:
        """End both connections from another thread."""
        self.was_cut = True
        response = self.response
        with suppress(OSError, ValueError, AttributeError):  # it is over already
            if response is not None:
                response.raw.shutdown()
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_POST(self) -> None:
        """Pass a request on."""
        began = time.monotonic()
        try:
            body = self._body()
        except _Unreadable as problem:
            self._refuse(problem.status, str(problem))
            return
        if not self.path.startswith("/"):  # it would become part of the host's name
            self._refuse(400, "the recorder takes paths that begin with a slash")
            return
        if self.recorder.closed:
            self.close_connection = True
            return
        exchange = self.recorder.begin(self, body)
        try:
            response = self._ask(body)
        except _FAILURES as error:
            self._refuse(502, f"the recorder got no answer from {self.recorder.upstream}: {_reason(error)}")
            return
        self.response = response
        self.recorder.enter(self)
        try:
            if self._recorded(exchange, response) and not self.was_cut:
                self._answer(response, exchange, began)
        finally:
            response.close()
            self.response = None
            self.recorder.enter(self)

    # The names that the standard library asks for.
    do_GET = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815

    def _body(self) -> bytes:
        """Return the request's body.

        Raises:
            _Unreadable: it has none that can be read.
        """
        coding = self.headers.get("Transfer-Encoding", "").strip().lower()
        if coding == "chunked":
            return self._chunks()
        length = self.headers.get("Content-Length", "0").strip()
        if coding or not (length.isascii() and length.isdecimal()):
            raise _Unreadable(400, "the length of the request's body is not said in a way that the recorder knows")
        return self._read(int(length))

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := self._chunk_size():
            body += self._read(size, of=len(body) + size)
            if self.rfile.read(2) != b"\r\n":
                raise _Unreadable(400, "a chunk does not end where it says")
        while self.rfile.readline(_MAX_LINE).strip():
            pass  # trailers
        return bytes(body)

    def _chunk_size(self) -> int:
        text = self.rfile.readline(_MAX_LINE).partition(b";")[0].strip()
        if not text or text.strip(b"0123456789abcdefABCDEF"):
            raise _Unreadable(400, "the size of a chunk is not a number")
        return int(text, 16)

    def _read(self, size: int, *, of: int = 0) -> bytes:
        if max(size, of) > _MAX_REQUEST:
            raise _Unreadable(413, f"the request's body is over {_MAX_REQUEST} bytes")
        data = self.rfile.read(size)
        if len(data) < size:
            raise _Unreadable(400, "the request's body ended early")
        return data

    def _refuse(self, status: int, message: str) -> None:
        """Answer in place of the server."""
        body = to_json(error_body(message, type="recorder_error")).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _ask(self, body: bytes) -> requests.Response:
        headers: dict[str, str | None] = {
            name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP
        }
        headers["Accept-Encoding"] = "identity"
        return requests.request(
            self.command,
            self.recorder.upstream + self.path,
            headers=headers,
            data=body or None,
            stream=True,
            allow_redirects=False,  # a key must not travel on to another host
            timeout=self.recorder.timeout,
            auth=_as_it_is,
        )

    def _recorded(self, exchange: Exchange, response: requests.Response) -> bool:
        """Write the head of an exchange; return whether that was possible."""
        try:
            exchange.head(response.status_code, response.headers.items())
        except OSError as error:
            self._refuse(502, f"the recorder cannot write its cassette: {error.strerror}")
            return False
        return True

    def _answer(self, response: requests.Response, exchange: Exchange, began: float) -> None:
        bodiless = self.command == "HEAD" or response.status_code in (204, 304)
        chunked = not bodiless and self.request_version >= "HTTP/1.1"
        self._send_head(response, bodiless=bodiless, chunked=chunked)
        how = "complete"
        try:
            while data := response.raw.read1(65536, decode_content=True):
                exchange.data(time.monotonic() - began, data)
                how = "left"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
                self.wfile.flush()
                how = "complete"
        except _FAILURES as error:
            how = how if isinstance(error, OSError) and how == "left" else "cut"
        if self.was_cut:
            how = "cut"  # whatever the end of the bytes looks like
        # Before the client learns that this is the end, for it may close the recorder then.
        exchange.end(time.monotonic() - began, how)
        if how != "complete":
            self.close_connection = True
        elif chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _send_head(self, response: requests.Response, *, bodiless: bool, chunked: bool) -> None:
        self.send_response(response.status_code)
        for name, value in response.headers.items():
            if name.lower() not in _SAID_HERE or (name.lower() == "content-length" and self.command == "HEAD"):
                self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif not bodiless:
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: a request's line may hold a key."""


class _Unreadable(Exception):
    """A request's body cannot be read; `status` is the answer to it."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def _checked(upstream: str) -> str:
    """Return a base URL without its last slash.

    Raises:
        ValueError: it is none; the message does not repeat a password.
    """
    parts = urlsplit(upstream)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(map(str.isspace, upstream)):
        raise ValueError("upstream is an absolute http or https URL such as https://host/v1")
    parts.port  # noqa: B018 - looking at it is what checks it
    if "@" in parts.netloc:
        raise ValueError("upstream holds no user and no password; let the client send them in a header")
    if parts.query or parts.fragment:
        raise ValueError("upstream is a base URL, without a query")
    return upstream.rstrip("/")


def _reason(error: BaseException) -> str:
    """Return why a request failed, without the address that it went to: there may be a key in it."""
    if isinstance(error, requests.Timeout):
        return "it took too long"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        inner = getattr(cause, "reason", None) or next(iter(cause.args), None)
        cause = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__
    return type(error).__name__


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stand in for requests' own authentication, which would put a password of ``.netrc`` in the header."""
    return request
