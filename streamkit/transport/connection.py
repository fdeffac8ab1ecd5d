"""urllib3 connections whose every wait has a hook over it.

urllib3's own timeouts restart with each byte and cannot be cut short by another thread. Here the thread that
opens a request sets its ``WaitHook``; the connection asks it before each wait in the kernel how long to wait,
tells it when that was in vain, and registers the socket with its guard, so that a cancel can end the wait.
"""

from __future__ import annotations

import _socket
import errno
import http.client
import io
import os
import socket
import ssl
import struct
import sys
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from streamkit.errors import APIError
from streamkit.transport.connecting import connect
from streamkit.transport.descriptor import Identity, identity_of
from streamkit.transport.guard import SocketGuard
from streamkit.transport.head import Head
from streamkit.transport.idle_connections import IdleConnections
from streamkit.transport.lookups import look_up
from streamkit.transport.wait_hook import current_hook, last_response, remember_response

__all__ = ["Hooked", "HookedPool", "POOL_CLASSES", "ProxyRefused"]

_LONGEST = 3600.0  # seconds of one wait; then the hook is asked again
# Where a plain socket can have the kernel bound its reads: one system call a read, where Python's own time limit
# takes a poll() as well, and gives the interpreter away and waits for it twice. A signal that this thread happens
# to get begins the time anew; then it is the consumer that sees that a limit has passed. False switches it off.
_KERNEL_BOUNDS = sys.platform == "linux" and struct.calcsize("l") == 8
_BUFFER = 65536  # bytes taken from the kernel at once: many small HTTP chunks in one system call

_PLAIN_RECV_INTO = _socket.socket.recv_into


class ProxyRefused(OSError):
    """A proxy answered that it does not make the connection.

    Args:
        reason: its words.
        retryable: whether it may make the connection when asked again.
    """

    def __init__(self, reason: str, *, retryable: bool) -> None:
        super().__init__(reason)
        self.retryable = retryable


class _Reader(io.RawIOBase):
    """Reads a socket under the hook of the stream that asked for the response."""

    def __init__(self, sock: Any, raw: Any) -> None:
        self._sock = sock
        self._raw = raw  # the socket's own file object: closing it is how the socket is let go
        self._hook = current_hook()
        self._limit = 0.0  # seconds; what the socket is set to by this reader
        self._over = False  # whether the response was read to its end
        self.heard = False  # whether the peer said anything, its end included
        if isinstance(sock, ssl.SSLSocket):
            # Or it takes a failure of the kernel's for the end, before Python 3.11.9 and 3.12.3 (gh-115627).
            sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        # Not TLS, which takes what the kernel says then for "go on", nor what gevent puts in a socket's place.
        self._by_kernel = _KERNEL_BOUNDS and type(sock).recv_into is _PLAIN_RECV_INTO

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        hook = self._hook
        if self._over:
            return 0
        while True:
            limit = hook.before_read()
            # Setting it is a system call: what is set will do if it wakes us at most 0.1 s late. Too early
            # does no harm, as the hook is asked again.
            if not limit * 0.5 <= self._limit <= limit + min(0.1, limit * 0.1):
                self._set_limit(limit)
            received = self._receive(buffer)
            if received is not None:
                self.heard = True
                if received:
                    hook.answered = True
                return received
            hook.in_vain()

    def _receive(self, buffer: Any) -> int | None:
        """Read once; ``None`` if nothing came in time."""
        try:
            return self._sock.recv_into(buffer)  # type: ignore[no-any-return]
        except BlockingIOError:
            return None
        except TimeoutError as error:
            if error.errno != errno.ETIMEDOUT:  # our own limit has no number
                return None
            number = errno.ETIMEDOUT  # the kernel gave the connection up
        except ssl.SSLEOFError:  # many servers end TLS without a word; a connection that failed looks the same
            if _is_connected(self._sock):
                return 0
            number = errno.ECONNABORTED
        raise ConnectionAbortedError(number, os.strerror(number))

    def _set_limit(self, limit: float) -> None:
        self._limit = limit
        seconds = min(limit, _LONGEST)
        if self._by_kernel:
            self._sock.settimeout(None)
            whole, part = divmod(int(seconds * 1e6) or 1, 1_000_000)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", whole, part))
        else:
            self._sock.settimeout(seconds)

    def finish(self, file: io.BufferedReader) -> None:
        """Read no more, and make the connection useless if there are bytes that belong to no response.

        Args:
            file: the buffer over this reader.
        """
        self._over = True
        if file.peek(1):
            spoiler = SocketGuard()
            spoiler.register(self._sock)
            spoiler.shut_down()  # which is found before the connection is used again

    def close(self) -> None:
        if not self.closed:
            # The body is over, and the next moment the connection may be in the pool.
            self._hook.guard.release()
            self._raw.close()
            super().close()


def _is_connected(sock: socket.socket) -> bool:
    """Return whether the kernel has not given a connection up; one that the peer has closed is connected still."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


class _Readable:
    """What ``http.client`` takes for a socket: all that it does with it is ``makefile``."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.reader: _Reader

    def makefile(self, mode: str) -> io.BufferedReader:
        self.reader = _Reader(self._sock, self._sock.makefile(mode, buffering=0))
        return io.BufferedReader(self.reader, _BUFFER)


class _Response(http.client.HTTPResponse):
    """A response whose status line, headers and body are read under a hook."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        readable = _Readable(sock)
        super().__init__(readable, *args, **kwargs)  # type: ignore[arg-type]
        self.reader = readable.reader
        self.fp: Any = Head(self.fp)
        remember_response(self)

    def begin(self, *args: Any, **kwargs: Any) -> None:
        """Read the head; what follows is read from the file itself."""
        head = self.fp
        super().begin(*args, **kwargs)
        if self.fp is head:
            self.fp = head.file

    def _close_conn(self) -> None:
        if not isinstance(self.fp, Head):
            self.reader.finish(self.fp)
        super()._close_conn()  # type: ignore[misc]

    def _read_status(self) -> tuple[str, int, str]:
        """Pass over interim responses; http.client knows 100 alone, and would take the rest for the answer."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status == 101 or not 100 <= status < 200:
                self.status = status
                return version, status, reason
            while self.fp.readline(0) not in (b"\r\n", b"\n", b""):
                pass


class Hooked:
    """The parts that plain and TLS connections share; mixed into urllib3's classes."""

    response_class = _Response
    sock: Any
    host: str
    port: int
    _dns_host: str
    source_address: tuple[str, int] | None
    socket_options: Any
    timeout: Any

    def _new_conn(self) -> socket.socket:
        host = self._dns_host.replace("%25", "%")  # the zone of an IPv6 address; a name has no percent sign
        return self._connected(host, self.port)

    def _connected(self, host: str, port: int) -> socket.socket:
        """Connect in sight of the guard, bounded by the hook; see ``connecting``."""
        hook = current_hook()
        family = urllib3.util.connection.allowed_gai_family()
        try:
            hook.limit()
            addresses = look_up(host, port, family, hook)
        except (socket.gaierror, UnicodeError) as error:
            raise urllib3.exceptions.NameResolutionError(host, self, error) from error  # type: ignore[arg-type]
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, str(error)) from error  # type: ignore[arg-type]
        try:
            sock = connect(addresses, hook, options=self.socket_options or (), source_address=self.source_address)
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, f"cannot connect: {error}") from error  # type: ignore[arg-type]
        try:
            sock.settimeout(hook.limit())
            # TLS will take the descriptor over into an object of its own; until that stands, the guard
            # has a duplicate, which ends the handshake as well.
            return self._lend(sock)
        except BaseException:
            sock.close()
            raise

    def _lend(self, sock: socket.socket) -> socket.socket:
        duplicate = socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))
        self._handshaking = duplicate
        current_hook().guard.register(duplicate)
        return sock

    _handshaking: socket.socket | None = None
    _identity: Identity = None  # of the socket's descriptor, from when it was connected
    _requests = 0  # on this connection
    reused = False  # whether the present request is not the first one

    def connect(self) -> None:
        """Connect, by way of a proxy if there is one, TLS included."""
        hook = current_hook()
        try:
            self._requests, self.reused = 0, False
            super().connect()  # type: ignore[misc]
            self._identity = identity_of(self.sock)
            hook.guard.register(self.sock)
        finally:
            # Only now: the guard must never hold a descriptor whose number may belong to another file.
            if self._handshaking is not None:
                self._handshaking.close()
                self._handshaking = None

    @property
    def is_connected(self) -> bool:
        """Whether nothing has happened since the last response; urllib3 asks before it uses an idle connection.

        Bytes that have come mean an end, or something that would be taken for the answer to the next request. TLS may
        have read them from the kernel already. Nor is one of use whose descriptor belongs to another file by now.
        """
        pending = getattr(self.sock, "pending", None)
        return self._owns_descriptor() and super().is_connected and not (pending and pending())  # type: ignore[misc]

    def _owns_descriptor(self) -> bool:
        return self._identity is None or self.sock is None or identity_of(self.sock) == self._identity

    def close(self) -> None:
        """Close the connection, but no other file that has its number by now."""
        if not self._owns_descriptor():
            self.sock.detach()
        super().close()  # type: ignore[misc]

    def __del__(self) -> None:
        # A connection that a forked child inherited is not closed, only dropped, and its socket would close itself.
        if not self._owns_descriptor():
            self.sock.detach()

    def _tunnel(self) -> None:
        try:
            super()._tunnel()  # type: ignore[misc]
        except OSError as error:
            refusal = last_response()
            if refusal is None or not isinstance(refusal.status, int):
                raise  # no answer came
            raise ProxyRefused(str(error), retryable=APIError.is_retryable(refusal.status)) from error
        self.sock.settimeout(current_hook().limit())  # for the handshake to come; the reader left it to the kernel
        # The proxy's answer was read like any response, and the socket released with it; TLS is still to come.
        if self._handshaking is not None:
            current_hook().guard.register(self._handshaking)

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        """Begin to send a request, on a new connection if need be."""
        hook = current_hook()
        if self.sock is None:
            self.connect()
        else:
            hook.guard.register(self.sock)
        self.reused = self._requests > 0
        hook.sending(reused=self.reused)
        self._requests += 1
        super().putrequest(*args, **kwargs)  # type: ignore[misc]

    def send(self, data: Any) -> None:
        """Send bytes, bounded by the hook."""
        # A socket's time limit bounds the whole of one sendall(), not its single writes.
        self.sock.settimeout(current_hook().limit())
        super().send(data)  # type: ignore[misc]


class _PlainConnection(Hooked, HTTPConnection):  # type: ignore[misc]
    pass


class _TLSConnection(Hooked, HTTPSConnection):  # type: ignore[misc]
    pass


class HookedPool:
    """The parts that pools of plain and TLS connections share; mixed into urllib3's classes."""

    QueueCls: Any = IdleConnections
    pool: IdleConnections | None  # None once it was closed

    def _make_request(self, conn: Any, *args: Any, **kwargs: Any) -> Any:
        """Send a request on a connection, and close the idle ones if this one turns out to be dead.

        A firewall that forgot one connection without a word has forgotten the others as well; each would cost a stream
        all of its time limit.
        """
        try:
            return super()._make_request(conn, *args, **kwargs)  # type: ignore[misc]
        except BaseException:
            response: Any = last_response()
            heard = response is not None and response.reader.heard
            if conn.reused and not heard and not current_hook().guard.shut and (idle := self.pool) is not None:
                idle.close_all()
            raise


class _PlainPool(HookedPool, HTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _PlainConnection


class _TLSPool(HookedPool, HTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _TLSConnection


POOL_CLASSES = {"http": _PlainPool, "https": _TLSPool}
