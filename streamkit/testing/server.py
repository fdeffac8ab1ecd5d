"""``Server`` accepts connections, serves each in its own thread, and keeps the requests."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from types import TracebackType

from streamkit.testing.connection import Connection
from streamkit.testing.demo_models import answer
from streamkit.testing.event_sockets import Signals
from streamkit.testing.openai_replies import error_reply
from streamkit.testing.reply import Reply
from streamkit.testing.request import Request
from streamkit.testing.socket_line import SocketLine, ready

Answer = Reply | Callable[[Request], Reply]
"""What a server answers with: a Reply, or a function that makes one of the Request."""

_BACKLOG = 4096
_JOIN_SECONDS = 30.0
_ACCEPT_PAUSE_SECONDS = 0.1  # after a failed accept(), of which the usual cause is too many open files


class Server:
    """A real HTTP/1.1 server on loopback that plays scripts, one reply a request, in order of arrival.

    It listens when it has been made, and ends with `close()` or with the `with` statement:

        with Server(error_reply(429), text_reply("Hello")) as server:
            requests.post(server.url + "/chat/completions", json={...})
            server.requests[0].headers["authorization"]

    It writes to plain sockets itself, so that each byte and each cut is exactly where the script has it.

    Args:
        answers: a Reply or a function of the Request, for each request in turn; the last one repeats. Without
            any, every request is answered by the model that it names: the assistant, or else the storyteller.
        tls: a context with a certificate, to speak https.
        tokens_per_second: the pace of these models, 0 for all at once.
        port: 0 takes a free one.
        send_buffer: bytes that the kernel may hold for a client that does not read, None for the system's
            choice of some megabytes. A small one shows back-pressure early.
        remember: how many requests to keep in `requests`, the oldest forgotten first; None for all.

    Threads: everything here may be used from any thread. A function among the answers, and the steps, run in
    the thread of their connection, one at a time for each connection.
    """

    def __init__(
        self,
        *answers: Answer,
        tls: ssl.SSLContext | None = None,
        tokens_per_second: float = 50.0,
        port: int = 0,
        send_buffer: int | None = None,
        remember: int | None = None,
    ) -> None:
        self._answers = answers or (partial(answer, tokens_per_second=tokens_per_second),)
        self._tls = tls
        # The only lock of the server: it guards the next seven fields, and is notified when they change.
        self._changed = threading.Condition(threading.Lock())
        self._requests: deque[Request] = deque(maxlen=remember)
        self._arrived = 0
        self._accepted = 0
        self._open: dict[int, SocketLine] = {}
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self._closed = False
        self._listener = _listen(port, send_buffer)
        self._port: int = self._listener.getsockname()[1]
        self._name = f"demo-server-{self._port}"
        self._signals = Signals(self._name)
        self._wake, self._waker = socket.socketpair()  # one byte wakes all threads, because no thread reads it
        self._acceptor = threading.Thread(target=self._accept, name=f"{self._name}-accept", daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        """The port, on 127.0.0.1."""
        return self._port

    @property
    def origin(self) -> str:
        """Where the server is: "http://127.0.0.1:PORT"."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The base URL for a client: "http://127.0.0.1:PORT/v1"."""
        return f"{self.origin}/v1"

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in order of arrival."""
        with self._changed:
            return list(self._requests)

    @property
    def connections(self) -> int:
        """How many TCP connections were accepted so far."""
        with self._changed:
            return self._accepted

    @property
    def open_connections(self) -> int:
        """How many connections are open now, those included that wait for the FIN of the client."""
        with self._changed:
            return len(self._open)

    @property
    def running(self) -> bool:
        """Whether the server accepts, which in a forked child the servers of its parent do not."""
        return not self._closed and self._acceptor.is_alive()

    def wait_for_requests(self, count: int, timeout: float = 30.0) -> list[Request]:
        """Wait until `count` requests have arrived in all; return those that are kept.

        Raises:
            TimeoutError: fewer arrived within `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._arrived >= count, timeout):
                raise TimeoutError(f"{self._arrived} of {count} requests arrived within {timeout:g} s")
            return list(self._requests)

    def wait_for_open_connections(self, count: int = 0, timeout: float = 30.0) -> None:
        """Wait until at most `count` connections are open, to see that a client let go of its own.

        Raises:
            TimeoutError: more are open after `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._open) <= count, timeout):
                raise TimeoutError(f"{len(self._open)} connections are still open after {timeout:g} s")

    def close(self) -> None:
        """Stop accepting, close every connection, and join the threads. Closing again does nothing.

        Raises:
            RuntimeError: a thread did not end within 5 s, or something in a script failed: an answer that
                raised, an event that nobody set. The first such failure is the cause.
        """
        self._end()
        with self._changed:
            failures, self._failures = self._failures, []
        if failures:
            raise RuntimeError(f"a script failed: {failures[0]}") from failures[0]

    def drop(self) -> None:
        """Close the sockets without notice to the clients: in a forked child, where they belong to the parent.

        No lock is taken, because a thread of the parent may have held it during the fork.
        """
        self._closed = True
        for line in list(self._open.values()):
            line.drop()
        self._close_sockets()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; a script's failure does not replace an exception that is being raised already."""
        if error is None:
            self.close()
        else:
            self._end()

    def __repr__(self) -> str:
        with self._changed:
            state = "closed" if self._closed else "open"
            return f"<Server {self.origin} {state}, {len(self._open)} connections, {self._arrived} requests>"

    # What the connections call, in their threads.

    def take(self, request: Request) -> Reply:
        """Record a request, and return the reply to it."""
        with self._changed:
            answer = self._answers[min(self._arrived, len(self._answers) - 1)]
            self._arrived += 1
            self._requests.append(request)
            self._changed.notify_all()
        if isinstance(answer, Reply):
            return answer
        try:
            return answer(request)
        except Exception as error:
            self.note_failure(error)
            return error_reply(500, f"the function that answers failed: {error!r}")

    def note_failure(self, error: BaseException) -> None:
        """Keep a failure, which close() raises."""
        with self._changed:
            self._failures.append(error)

    def leave(self, number: int) -> None:
        """Remove a connection that has closed its socket."""
        with self._changed:
            self._open.pop(number, None)
            self._changed.notify_all()

    # The thread that accepts.

    def _accept(self) -> None:
        wake, listener = self._wake.fileno(), self._listener.fileno()
        while wake not in ready((wake, listener), None):
            try:
                sock, _ = self._listener.accept()
                self._start(sock)
            except (BlockingIOError, ConnectionError):
                continue  # the client closed the connection before it was accepted
            except (OSError, RuntimeError) as error:  # too many files; no thread for it
                self.note_failure(error)
                ready((wake,), _ACCEPT_PAUSE_SECONDS)

    def _start(self, sock: socket.socket) -> None:
        """Start a connection's thread; close the socket if that fails."""
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self._launch(SocketLine(sock, self._wake, self._signals))
        except BaseException:
            sock.close()
            raise

    def _launch(self, line: SocketLine) -> None:
        number = self._enter(line)
        try:
            connection = Connection(self, line, number)
            thread = threading.Thread(target=connection.run, name=f"{self._name}-{number}", daemon=True)
            thread.start()
        except BaseException:
            self.leave(number)
            raise
        with self._changed:
            self._threads = [*(t for t in self._threads if t.is_alive()), thread]

    def _enter(self, line: SocketLine) -> int:
        with self._changed:
            self._accepted += 1
            self._open[self._accepted] = line
            self._changed.notify_all()
            return self._accepted

    # The end.

    def _end(self) -> None:
        with self._changed:
            if not self._closed:
                self._closed = True
                self._waker.send(b"!")
        self._join(time.monotonic() + _JOIN_SECONDS)
        self._close_sockets()

    def _join(self, deadline: float) -> None:
        """Join all threads, each kind before those that it starts: acceptor, connections, watches."""
        joined: list[threading.Thread] = []
        for kind in (self._acceptors, self._connection_threads, self._signals.threads):
            threads = kind()
            for thread in threads:
                if thread is not threading.current_thread():
                    thread.join(max(0.0, deadline - time.monotonic()))
            joined += threads
        stuck = [thread.name for thread in joined if thread.is_alive()]
        if stuck:
            raise RuntimeError(f"threads did not end within {_JOIN_SECONDS:g} s: {', '.join(stuck)}")

    def _acceptors(self) -> list[threading.Thread]:
        return [self._acceptor]

    def _connection_threads(self) -> list[threading.Thread]:
        with self._changed:
            return list(self._threads)

    def _close_sockets(self) -> None:
        for sock in (self._listener, self._wake, self._waker):
            sock.close()


def _listen(port: int, send_buffer: int | None) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if send_buffer is not None:  # accepted sockets inherit it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
