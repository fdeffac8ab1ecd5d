"""A server on loopback that passes requests on to a real one, and writes down what came back."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import requests
import urllib3

from streamkit.testing.cassette import CassetteWriter, Exchange

__all__ = ["Recorder"]

_HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers"),
    *("transfer-encoding", "upgrade", "host", "content-length", "accept-encoding", "content-encoding"),
}
_MAX_REQUEST = 64 * 1024 * 1024  # bytes
_FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


class Recorder:
    """Passes requests on to ``upstream``, and writes each exchange to a cassette as it happens.

    ::

        with Recorder("https://api.openai.com/v1", "cassette.jsonl") as recorder:
            client = Client([providers.OpenAI(base_url=recorder.url)])

    Bytes are passed on as they arrive. Keys are sent upstream and not written, whichever header or parameter
    they come in, nor where the server repeats them.

    Args:
        upstream: the base URL of the real server.
        path: of the cassette.
        port: to listen on, on loopback; 0 for any that is free.
        timeout: seconds to wait for the server, for its connection and between reads.

    Attributes:
        url: the base URL to give to a client in place of ``upstream``.
    """

    def __init__(self, upstream: str, path: str | os.PathLike[str], *, port: int = 0, timeout: float = 300.0) -> None:
        self._writer = CassetteWriter(path)
        handler = type("_BoundHandler", (_Handler,), {"recorder": self})
        try:
            self._server = _Server(("127.0.0.1", port), handler)
        except OSError:
            self._writer.close()
            raise
        self.upstream = upstream.rstrip("/")
        self.timeout = timeout
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def begin(self, request: _Handler, body: bytes, response: requests.Response) -> Exchange:
        """Write the head of an exchange."""
        headers = dict(request.headers.items())
        return self._writer.begin(
            request.command, request.path, headers, body, response.status_code, dict(response.headers)
        )

    def close(self) -> None:
        """Stop listening, and close the cassette. What is still on its way is cut."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        self._writer.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Recorder {self.url} before {self.upstream}>"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that leaves is nobody's error."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    recorder: Recorder
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Pass a request on."""
        began = time.monotonic()
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > _MAX_REQUEST:
            self.send_error(413)
            return
        body = self.rfile.read(int(length))
        try:
            response = self._ask(body)
        except _FAILURES as error:
            self.send_error(502, f"{type(error).__name__} on the way to {self.recorder.upstream}")
            return
        try:
            self._answer(response, self.recorder.begin(self, body, response), began)
        finally:
            response.close()

    do_GET = do_POST  # noqa: N815 - the name that the standard library asks for

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

    def _answer(self, response: requests.Response, exchange: Exchange, began: float) -> None:
        self.send_response(response.status_code)
        for name, value in response.headers.items():
            if name.lower() not in {*_HOP_BY_HOP, "date", "server"}:
                self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        how = "complete"
        try:
            while data := response.raw.read1(65536, decode_content=True):
                exchange.data(time.monotonic() - began, data)
                how = "left"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()
                how = "complete"
            self.wfile.write(b"0\r\n\r\n")
        except _FAILURES as error:
            how = how if isinstance(error, OSError) and how == "left" else "cut"
            self.close_connection = True
        exchange.end(time.monotonic() - began, how)
        with suppress(OSError):
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: a request's line may hold a key."""


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stand in for requests' own authentication, which would put a password of ``.netrc`` in the header."""
    return request
