"""A process that serves the gateway: gunicorn's ``gthread`` worker, made for streams that last.

What gunicorn's own (25.3 to 27) does not do:

- A connection that sends nothing waits in the poller, not for five seconds in a thread. A request's head that never
  ends is answered with 408; gunicorn waits for ever.
- A new configuration comes from the master through a socket, and no stream ends for it.
- SIGTERM closes the listening socket at once, gives open replies their time, and then cancels and settles them. What a
  client does not take is cut last. gunicorn would leave them to the master's SIGKILL.
- A connection that ends waits in the poller for the client's end, as bytes that nobody has read would take the answer
  with them. gunicorn 26 and 27 wait for up to two seconds in the thread that accepts; 25 does not wait.
- Where all threads but a few have a request, another one is answered with 503 at once. gunicorn would let it wait.
- An error before the application is reached has the shape of an API.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import re
import selectors
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.workers.gthread import ThreadWorker

from streamkit.cli.failures import tell
from streamkit.cli.processors import keep_to

if TYPE_CHECKING:
    from streamkit.gateway.config import Config

__all__ = ["SPARE_THREADS", "Channel", "ServeWorker"]

#: Threads beyond those for streams, for health checks, refusals and other short requests.
SPARE_THREADS = 32

_HANG_UP_SECONDS = 5.0  # between the cancel of all replies and the end of connections that do not take theirs
_QUIET_SECONDS = 2.0  # that a silent connection is kept after SIGTERM: a request may be on its way
_LINGER_SECONDS = 2.0  # for a client to close its side, once it was told that the connection ends
_TURN_AWAY_BYTES = 1024 * 1024  # that are read of a request before it is turned away
_TURN_AWAY_SECONDS = 1.0  # for them
_DRAIN, _END = b"d", b"e"  # what signal handlers write
_SWITCH_SECONDS = 0.02  # of the interpreter
_FULL_COLLECTION = 100  # collections of young objects for one of all; 10 are usual
_HEAD = struct.Struct("!I")
_LATE = 0.0  # in place of a deadline: the client was told that it took too long
_REFUSAL = re.compile(rb"HTTP/1\.1 (\d{3}) ([^\r]*)")


class Channel:
    """The master's way to tell one worker its configuration: a pair of sockets, made before the fork."""

    _SECONDS = 2.0  # that the master waits for a worker that does not read

    def __init__(self) -> None:
        self._master, self._worker = socket.socketpair()
        self._master.settimeout(self._SECONDS)

    def fileno(self) -> int:
        """Return the worker's descriptor."""
        return self._worker.fileno()

    def keep_masters(self) -> None:
        """Close the worker's end, in the master."""
        self._worker.close()

    def keep_workers(self) -> None:
        """Close the master's end, in the worker."""
        self._master.close()

    def close(self) -> None:
        """Close both ends."""
        self._master.close()
        self._worker.close()

    def send(self, config: Config) -> None:
        """Send a configuration.

        Raises:
            OSError: the worker is gone, or does not read.
        """
        data = pickle.dumps(config)
        self._master.sendall(_HEAD.pack(len(data)) + data)

    def receive(self) -> Config | None:
        """Return the next configuration; ``None`` where the master is gone."""
        (length,) = _HEAD.unpack(head) if len(head := self._read(_HEAD.size)) == _HEAD.size else (0,)
        data = self._read(length)
        if not length or len(data) < length:
            return None
        config: Config = pickle.loads(data)  # noqa: S301  # the master is the only one that has the other end
        return config

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length and (more := self._worker.recv(length - len(data))):
            data += more
        return data


class _Written:
    """Takes what gunicorn writes in place of a client's socket."""

    def __init__(self) -> None:
        self.data = b""

    def sendall(self, data: bytes) -> None:
        self.data += data

    def gettimeout(self) -> float:
        return 0.0


class ServeWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """See the module.

    The main thread polls and accepts. A pool of threads has one for each request that is served. One more thread obeys:
    it waits for the master's configurations and for the byte that a signal's handler writes, so that no handler does
    more than that.

    Owner of the fields: ``_lock`` guards ``_served`` and ``_closed``.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.channel = Channel()
        self.config: Config = self.app.config
        self._lock = threading.Lock()
        self._served: dict[Any, float | None] = {}  # connections in threads; when a head has to be there, None: it is
        self._closed = threading.Event()
        self._closing = threading.Lock()
        self._lingering: deque[Any] = deque()  # connections whose end was sent
        self._stopped_at: float | None = None
        self.processor: int | None = None  # the one that the process keeps to
        self._orders: tuple[int, int] = (-1, -1)

    def init_process(self) -> None:
        """Begin, in the new process."""
        keep_to(self.processor)  # before there is another thread
        self.channel.keep_workers()
        self.config = self.app.config
        self._orders = os.pipe()
        os.set_blocking(self._orders[1], False)
        super().init_process()

    def init_signals(self) -> None:
        """Leave Ctrl-C and SIGHUP to the master, which gets them as well where they are a terminal's."""
        super().init_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the master has held them back

    def handle_exit(self, signal: int, frame: object) -> None:
        """Let replies end, for SIGTERM."""
        self._order(_DRAIN)
        super().handle_exit(signal, frame)

    def handle_quit(self, signal: int, frame: object) -> None:
        """End at once, for SIGQUIT."""
        self._order(_END)

    def _order(self, order: bytes) -> None:
        with suppress(OSError):  # the pipe is full of orders that were not obeyed yet
            os.write(self._orders[1], order)

    def run(self) -> None:
        """Serve until the end."""
        _suit_many_threads()
        threading.Thread(target=self._obey, name="streamkit-serve", daemon=True).start()
        super().run()
        self._close()

    # The poller's thread.

    def enqueue_req(self, conn: Any) -> None:
        """Hand a connection to a thread, once there is something to read."""
        if conn.initialized or conn.data_ready or _has_bytes(conn.sock):
            conn.data_ready = True
            super().enqueue_req(conn)
            return
        conn.timeout = time.monotonic() + self.config.body_seconds
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Keep a connection for its next request, or end it."""
        if not fs.cancelled() and fs.exception() is None and fs.result():
            super().finish_request(conn, fs)
            return
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError):  # the client has left
            self._end(conn)
            return
        conn.timeout = time.monotonic() + _LINGER_SECONDS
        self._lingering.append(conn)

    def _drain(self, conn: Any, client: socket.socket) -> None:
        """Throw away what a client still sends, until it closes its side."""
        try:
            if client.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._lingering.remove(conn)
        self._end(conn)

    def _end(self, conn: Any) -> None:
        with suppress(OSError, KeyError, ValueError):  # it is not in the poller
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept connections or not. Who stops closes the socket: a client is refused then, and not left waiting."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                listener.close()

    def is_parent_alive(self) -> bool:
        """Return whether the master lives; without it this process ends as after SIGTERM."""
        alive = bool(super().is_parent_alive())
        if not alive:
            self.alive = False
            self._order(_DRAIN)
        return alive

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Poll, and look at what has taken too long; gunicorn 25 and 26 poll once for the whole of their end."""
        super().wait_for_and_dispatch_events(timeout=min(timeout, 1.0))
        now = time.monotonic()
        with self._lock:
            late = [conn for conn, due in self._served.items() if due is not None and _LATE < due <= now]
            for conn in late:
                self._served[conn] = _LATE
        for conn in late:
            _refuse_late(conn.sock)
        while self._lingering and self._lingering[0].timeout <= now:
            self._end(self._lingering.popleft())
        if not self.alive:
            self.notify()
            if self._stopped_at is None:
                self._stopped_at = now
            for conn in (*self.pending_conns, *self.keepalived_conns):
                conn.timeout = min(conn.timeout, self._stopped_at + _QUIET_SECONDS)

    # Threads of requests.

    def handle(self, conn: Any) -> Any:
        """Serve one request of a connection."""
        with self._lock:
            self._served[conn] = time.monotonic() + self.config.body_seconds
        try:
            return super().handle(conn)
        finally:
            with self._lock:
                self._served.pop(conn, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request whose head was read; turn it away where all threads but a few have one."""
        with self._lock:
            if self._served.get(conn) == _LATE:
                return False
            self._served[conn] = None
            full = len(self._served) > self.config.threads + SPARE_THREADS // 2
        if full and req.method == "POST":
            _turn_away(req, conn.sock)
            return False
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that is no HTTP, or an error that the application has let through."""
        written = _Written()
        super().handle_error(req, written, addr, exc)
        found = _REFUSAL.match(written.data)
        if found is None:
            return
        with suppress(OSError):
            client.sendall(_refusal(int(found[1]), found[2].decode("latin-1")))

    # The thread that obeys.

    def _obey(self) -> None:
        poller = selectors.DefaultSelector()
        poller.register(self._orders[0], selectors.EVENT_READ)
        poller.register(self.channel, selectors.EVENT_READ)
        cancel_at: float | None = None
        hang_up_at: float | None = None
        while True:
            due = hang_up_at if cancel_at is None else cancel_at
            orders = b""
            for key, _ in poller.select(None if due is None else max(0.0, due - time.monotonic())):
                if key.fileobj is self.channel:
                    self._take(poller)
                else:
                    orders = os.read(self._orders[0], 4096)
            if _END in orders:
                self._close()
                _leave(0)
            if _DRAIN in orders and due is None:
                cancel_at = time.monotonic() + self.config.grace
            if cancel_at is not None and time.monotonic() >= cancel_at:
                cancel_at = None
                self._close()
                hang_up_at = time.monotonic() + _HANG_UP_SECONDS
            elif hang_up_at is not None and time.monotonic() >= hang_up_at:
                hang_up_at = time.monotonic() + 1.0
                self._hang_up()

    def _take(self, poller: selectors.BaseSelector) -> None:
        """Take a new configuration over."""
        config = self.channel.receive()
        if config is None:
            poller.unregister(self.channel)
            return
        try:
            self.wsgi.reload(config)
        except Exception as error:
            tell(f"process {os.getpid()} goes on with the configuration that it had: {_shown(error)}")
            return
        self.config = config

    def _close(self) -> None:
        """Cancel and settle what is open; who comes second waits until that is done."""
        with self._closing:
            if self._closed.is_set():
                return
            try:
                self.wsgi.close()
            except Exception as error:
                tell(f"process {os.getpid()} could not settle all: {_shown(error)}")
            self._closed.set()

    def _hang_up(self) -> None:
        """End the connections whose clients do not take the end of their reply."""
        with self._lock:
            left = list(self._served)
        for conn in left:
            with suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RDWR)


def _suit_many_threads() -> None:
    """Set the interpreter to hundreds of threads, each of which does little at a time."""
    # A thread that waits for the interpreter wakes as often as this to ask for it. After any pause hundreds wait, and
    # with the usual 5 ms that alone takes so much of a processor that there are ever more.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # Open streams are made of many objects, and hardly one is ever garbage: to look through all of them, as a full
    # collection does, takes a tenth of a second, in which no thread runs.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], _FULL_COLLECTION)


def _has_bytes(client: socket.socket) -> bool:
    """Return whether there is something to read, the end of the connection included."""
    try:
        client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        pass  # it failed: its thread finds out
    return True


def _refuse_late(client: socket.socket) -> None:
    with suppress(OSError):
        client.send(_refusal(408, "Request Timeout"), socket.MSG_DONTWAIT)
    with suppress(OSError):
        client.shutdown(socket.SHUT_RD)  # wakes the thread that reads


def _turn_away(req: Any, client: socket.socket) -> None:
    with suppress(Exception):  # of the client's socket, or gunicorn's of a body that is none
        client.settimeout(_TURN_AWAY_SECONDS)
        req.body.read(_TURN_AWAY_BYTES)  # a connection that is closed with bytes unread takes the answer with it
        client.sendall(_refusal(503, "Service Unavailable", "Retry-After: 1\r\n"))


def _refusal(status: int, reason: str, more: str = "") -> bytes:
    """Return a whole response without any of what the client has sent, in the shapes of OpenAI and Anthropic at once.

    Args:
        status: of the response.
        reason: likewise.
        more: lines of headers.
    """
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": f"{status} {reason}", "type": kind, "param": None, "code": reason.lower().replace(" ", "_")}
    body = json.dumps({"type": "error", "error": error}).encode()
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}"
    return f"{head}Connection: close\r\n\r\n".encode("latin-1") + body


def _shown(error: BaseException) -> str:
    """Return an error of the library in its words, and any other by its class alone: its text may quote anything."""
    from streamkit.errors import StreamkitError

    return error.message if isinstance(error, StreamkitError) else type(error).__name__


def _leave(code: int) -> None:
    """End the process without its atexit functions: they wait for threads that serve."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
