"""One connection of a client to the recorder: pass requests on, pass responses back, and record them."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol

import requests
import urllib3

from streamkit.testing.cassette_writer import Exchange
from streamkit.testing.openai_events import error_body, to_json
from streamkit.testing.request import Headers
from streamkit.wire.secrets import without_userinfo

__all__ = ["ProxiedConnection"]

_HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
    *("trailers", "transfer-encoding", "upgrade", "host", "content-length", "accept-encoding", "expect"),
}
_SAID_HERE = {*_HOP_BY_HOP, "content-encoding", "date", "server"}  # of a response
_MAX_REQUEST = 64 * 1024 * 1024  # bytes
_MAX_LINE = 8 * 1024  # bytes, of a chunk's size or a trailer
_FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


class Host(Protocol):
    """The part of the recorder that a connection uses."""

    upstream: str
    timeout: float

    @property
    def closed(self) -> bool:
        """Whether nothing more is recorded."""

    def begin(self, request: ProxiedConnection, body: bytes) -> Exchange:
        """Start an exchange in the cassette."""

    def enter(self, connection: ProxiedConnection) -> None:
        """Add a connection, or notice that its state changed."""

    def leave(self, connection: ProxiedConnection) -> None:
        """Remove a connection."""


class ProxiedConnection(BaseHTTPRequestHandler):
    """One connection of a client.

    Threads: everything but `cut` runs in the thread of the connection.
    """

    recorder: Host
    protocol_version = "HTTP/1.1"
    busy = False  # from a request's body on to the end of its response
    was_cut = False  # set before cut() looks for the upstream socket, and looked at after there is one
    upstream: socket.socket | None = None  # the last one that was opened

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
        for sock in (self.upstream, self.connection):
            if sock is not None:
                with suppress(OSError):  # it is over already
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)  # TLS's own would wait for the other side

    def opened(self, sock: socket.socket) -> None:
        """Take note of a socket to the server, which may have been opened too late."""
        self.upstream = sock
        if self.was_cut:
            self.cut()

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
        self._be_busy(True)
        try:
            self._pass_on(exchange, body, began)
        finally:
            self._be_busy(False)

    def _be_busy(self, busy: bool) -> None:
        self.busy = busy
        self.recorder.enter(self)

    def _pass_on(self, exchange: Exchange, body: bytes, began: float) -> None:
        try:
            response = self._ask(body)
        except _FAILURES as error:
            if not self.was_cut:
                server = f"{self.recorder.upstream}{_by_way_of(self.recorder.upstream)}"
                self._refuse(502, f"the recorder got no answer from {server}: {_reason(error)}")
            self.close_connection = True
            return
        with response:
            if self._recorded(exchange, response) and not self.was_cut:
                self._answer(response, exchange, began)

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
        sent = Headers(self.headers.items())  # which joins those that come twice
        headers = {name: value for name, value in sent.items() if name not in _HOP_BY_HOP}
        headers["accept-encoding"] = "identity"
        with _Session() as session:
            _current.passing = self
            return session.request(
                self.command,
                self.recorder.upstream + self.path,
                headers=headers,
                data=body or None,
                stream=True,
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


class _Session(requests.Session):
    """Sees no redirects: a key must not travel on to another host, and their bodies are passed on unread.

    Tells the connection that asks of each socket that it opens.
    """

    def __init__(self) -> None:
        super().__init__()
        for prefix in ("http://", "https://"):
            self.mount(prefix, _Adapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


_current = threading.local()  # which ProxiedConnection this thread asks for


class _Connection(urllib3.connection.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _current.passing.opened(self.sock)


class _SecureConnection(urllib3.connection.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _current.passing.opened(self.sock)


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}


class _Adapter(requests.adapters.HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):  # SOCKS has connections of its own
            manager.pool_classes_by_scheme = _POOLS
        return manager


class _Unreadable(Exception):
    """A request's body cannot be read; `status` is the answer to it."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def _by_way_of(url: str) -> str:
    """Return which proxy of the environment stands before a server, in words, "" for none."""
    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    return f" through the proxy {without_userinfo(proxy)}" if proxy else ""


def _reason(error: BaseException) -> str:
    """Return why a request failed, without the address that it went to: there may be a key in it."""
    if isinstance(error, requests.Timeout):
        return "it took too long"
    if isinstance(error, requests.exceptions.InvalidSchema):
        return 'a SOCKS proxy needs python -m pip install "requests[socks]"'
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
