"""A server on loopback that passes requests on to a real server, and records the responses."""

from __future__ import annotations

import os
import threading
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from streamkit.testing.cassette_writer import CassetteWriter, Exchange
from streamkit.testing.recording_proxy import ProxiedConnection

__all__ = ["Recorder"]

_GRACE_SECONDS = 0.25  # a client may have read the last event before the end of the response is there
_CUT_SECONDS = 2.0  # for a thread whose sockets were shut down to notice it


class Recorder:
    """Passes requests on to ``upstream``, and writes each exchange to a cassette as it happens.

    ::

        with Recorder("https://api.openai.com/v1", "cassette.jsonl") as recorder:
            client = Client([providers.OpenAI(base_url=recorder.url)])

    Bytes are passed on as they arrive. Keys are sent upstream and not written, whichever header or parameter
    they come in, nor where the server repeats them: in another case, escaped, encoded once or twice, or in pieces over
    several events. Where the server does not answer, the client gets a 502 that
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
        self._server = _Server(("127.0.0.1", port), type("_BoundConnection", (ProxiedConnection,), {"recorder": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._changed = threading.Condition()  # guards the next two fields, and says when they change
        self._connections: set[ProxiedConnection] = set()
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
            self._changed.wait_for(lambda: not any(each.busy for each in self._connections), seconds)

    @property
    def failure(self) -> OSError | None:
        """Why the cassette could not be written, ``None`` as long as it could be."""
        return self._writer.failure

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

    def begin(self, request: ProxiedConnection, body: bytes) -> Exchange:
        """Start an exchange in the cassette."""
        return self._writer.begin(request.command, request.path, request.headers.items(), body)

    def enter(self, connection: ProxiedConnection) -> None:
        """Add a connection, or notice that its state changed."""
        with self._changed:
            self._connections.add(connection)
            self._changed.notify_all()

    def leave(self, connection: ProxiedConnection) -> None:
        """Remove a connection."""
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Write nothing: a client that closes its connection is not an error."""


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
