"""urllib3 connections that call a ``WaitHook`` around every wait.

urllib3's own timeouts restart with each byte, and another thread cannot cut them short. Here the thread that sends a
request sets its ``WaitHook``. The connection calls it before each wait in the kernel, which returns how long to wait,
and again if no byte came. It registers the socket with the hook's guard, so that a cancel can end the wait.
"""

from __future__ import annotations

import errno
import http.client
import io
import os
import socket
import ssl
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from streamkit.concurrency.kernel_limits import let_kernel_limit
from streamkit.errors import APIError
from streamkit.transport.connecting import connect
from streamkit.transport.descriptor import Identity, identity_of
from streamkit.transport.guard import SocketGuard
from streamkit.transport.head import Head
from streamkit.transport.idle_connections import IdleConnections
from streamkit.transport.lookups import look_up
from streamkit.transport.wait_hook import current_hook, last_response, remember_response

__all__ = ["Hooked", "POOL_CLASSES", "ProxyRefused", "pool_classes"]

_LONGEST = 3600.0  # the longest single wait, in seconds: the kernel's time limits have a maximum
_BUFFER = 65536  # bytes taken from the kernel at once: many small HTTP chunks in one system call


class ProxyRefused(OSError):
    """The proxy refused to make the connection.

    Args:
        reason: the proxy's message.
        retryable: whether the same request may succeed when it is sent again.
    """

    def __init__(self, reason: str, *, retryable: bool) -> None:
        super().__init__(reason)
        self.retryable = retryable


class _Reader(io.RawIOBase):
    """Reads a socket, and calls the current thread's hook around each wait.

    Owner of the fields: the thread that sends the request and reads the response uses all of them.

    Attributes:
        received_any: whether bytes or the end of the connection have arrived.
    """

    def __init__(self, sock: Any, raw: Any) -> None:
        self._sock = sock
        self._raw = raw  # the socket's own file object; closing it releases the socket
        self._hook = current_hook()
        self._limit = 0.0  # the socket's present time limit, in seconds
        self._over = False  # whether the response was read to its end
        self.received_any = False
        if isinstance(sock, ssl.SSLSocket):
            # Before Python 3.11.9 and 3.12.3, it reports a failed connection as the end of the data (gh-115627).
            sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        hook = self._hook
        if self._over:
            return 0
        while True:
            limit = hook.before_read()
            # Setting the limit is a system call. Keep the present limit if it ends the wait at most 0.1 s late. Ending
            # it early does no harm: the hook is called again.
            if not limit * 0.5 <= self._limit <= limit + min(0.1, limit * 0.1):
                self._set_limit(limit)
            received = self._receive(buffer)
            if received is not None:
                self.received_any = True
                if received:
                    hook.answered = True
                return received
            hook.wait_timed_out()

    def _receive(self, buffer: Any) -> int | None:
        """Read once; return ``None`` if no byte came within the time limit."""
        try:
            return self._sock.recv_into(buffer)  # type: ignore[no-any-return]
        except BlockingIOError:
            return None
        except TimeoutError as error:
            if error.errno != errno.ETIMEDOUT:  # Python's own time limit sets no errno
                return None
            number = errno.ETIMEDOUT  # the kernel has aborted the connection
        except ssl.SSLEOFError:  # a server that closes without TLS's close_notify, as many do, or a failure
            if _is_connected(self._sock):
                return 0
            number = errno.ECONNABORTED
        raise ConnectionAbortedError(number, os.strerror(number))

    def _set_limit(self, limit: float) -> None:
        self._limit = limit
        if not let_kernel_limit(self._sock, socket.SO_RCVTIMEO, min(limit, _LONGEST)):
            self._sock.settimeout(min(limit, _LONGEST))

    def finish(self, file: io.BufferedReader) -> None:
        """Stop reading; shut the connection down if bytes after the end of the response have arrived.

        Args:
            file: the buffer over this reader.
        """
        self._over = True
        if file.peek(1):
            spoiler = SocketGuard()
            spoiler.register(self._sock)
            spoiler.shut_down()  # ``is_connected`` notices it before the connection is reused

    def close(self) -> None:
        if not self.closed:
            # The body is over, and the connection may be in the pool at once, for another stream.
            self._hook.guard.release()
            self._raw.close()
            super().close()


def _is_connected(sock: socket.socket) -> bool:
    """Return whether a connection is not aborted; one that the other end has closed is still connected."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


class _Readable:
    """Stands in for a socket: ``http.client`` only calls ``makefile``."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.reader: _Reader

    def makefile(self, mode: str) -> io.BufferedReader:
        self.reader = _Reader(self._sock, self._sock.makefile(mode, buffering=0))
        return io.BufferedReader(self.reader, _BUFFER)


class _Response(http.client.HTTPResponse):
    """A response whose status line, headers and body are read through ``_Reader``."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        readable = _Readable(sock)
        super().__init__(readable, *args, **kwargs)  # type: ignore[arg-type]
        self.reader = readable.reader
        self.fp: Any = Head(self.fp)
        remember_response(self)

    def begin(self, *args: Any, **kwargs: Any) -> None:
        """Read the head, within the bounds of ``Head``; let the body be read from the file itself."""
        head = self.fp
        super().begin(*args, **kwargs)
        if self.fp is head:
            self.fp = head.file

    def _close_conn(self) -> None:
        if not isinstance(self.fp, Head):
            self.reader.finish(self.fp)
        super()._close_conn()  # type: ignore[misc]

    def _read_status(self) -> tuple[str, int, str]:
        """Skip all interim responses; ``http.client`` skips only status 100."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status == 101 or not 100 <= status < 200:
                self.status = status
                return version, status, reason
            while self.fp.readline(0) not in (b"\r\n", b"\n", b""):
                pass


class Hooked:
    """The common part of plain and TLS connections, mixed into urllib3's classes.

    Owner of the fields: the thread whose request uses the connection. ``IdleConnections`` passes the connection to the
    next thread under its lock.

    Attributes:
        reused: whether the current request is not the first one on this connection.
    """

    response_class = _Response
    sock: Any
    host: str
    port: int
    _dns_host: str
    source_address: tuple[str, int] | None
    socket_options: Any
    timeout: Any

    def _new_conn(self) -> socket.socket:
        host = self._dns_host.replace("%25", "%")  # the zone of an IPv6 address; names have no percent sign
        return self._connected(host, self.port)

    def _connected(self, host: str, port: int) -> socket.socket:
        """Look up the name and connect; the hook bounds it, and its guard ends it."""
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
            # The TLS socket takes over the descriptor only during the handshake. Until the handshake is done, the
            # guard holds a duplicate of the descriptor; shutting it down ends the handshake as well.
            self._register_duplicate(sock)
            return sock
        except BaseException:
            sock.close()
            raise

    def _register_duplicate(self, sock: socket.socket) -> None:
        duplicate = socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))
        self._handshaking = duplicate
        current_hook().guard.register(duplicate)

    _handshaking: socket.socket | None = None
    _identity: Identity = None  # of the socket's descriptor, from when it was connected
    _requests = 0  # begun on this connection
    _unsent: list[bytes] | None = None  # the parts of a request that ``send`` collects; ``None``: it sends
    reused = False

    def connect(self) -> None:
        """Connect, through the proxy if there is one, with the TLS handshake."""
        hook = current_hook()
        try:
            self._requests, self.reused = 0, False
            super().connect()  # type: ignore[misc]
            self._identity = identity_of(self.sock)
            hook.guard.register(self.sock, self._identity)
        finally:
            # Close it after the guard holds another socket: a closed descriptor's number may be reused by another file.
            if self._handshaking is not None:
                self._handshaking.close()
                self._handshaking = None

    @property
    def is_connected(self) -> bool:
        """Whether an idle connection can be reused: open, and no byte has arrived since the last response.

        Such bytes are an end, or would be taken for the response to the next request. TLS may have read them from the
        kernel already. A connection whose descriptor number was reused by another file cannot be used either.
        """
        pending = getattr(self.sock, "pending", None)
        return self._owns_descriptor() and super().is_connected and not (pending and pending())  # type: ignore[misc]

    def _owns_descriptor(self) -> bool:
        return self._identity is None or self.sock is None or identity_of(self.sock) == self._identity

    def close(self) -> None:
        """Close the connection, but not another file that has reused its descriptor number."""
        if not self._owns_descriptor():
            self.sock.detach()
        super().close()  # type: ignore[misc]

    def __del__(self) -> None:
        # A connection that a forked child inherited is dropped without being closed, and its socket would close itself.
        if not self._owns_descriptor():
            self.sock.detach()

    def _tunnel(self) -> None:
        try:
            super()._tunnel()  # type: ignore[misc]
        except OSError as error:
            refusal = last_response()
            if refusal is None or not isinstance(refusal.status, int):
                raise  # the proxy sent no response
            raise ProxyRefused(str(error), retryable=APIError.is_retryable(refusal.status)) from error
        self.sock.settimeout(current_hook().limit())  # for the handshake; the reader set another one
        # Reading the proxy's response released the socket from the guard; the TLS handshake follows.
        if self._handshaking is not None:
            current_hook().guard.register(self._handshaking)

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request, its head and its body in one write.

        Each system call releases the GIL, and with many streams the thread waits for it afterwards.
        """
        try:
            super().request(*args, **kwargs)  # type: ignore[misc]
            parts = self._unsent or ()
        finally:
            self._unsent = None
        self.send(b"".join(parts))

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        """Begin a request, for ``request`` to send; connect first if there is no connection."""
        hook = current_hook()
        if self.sock is None:
            self.connect()
        else:
            hook.guard.register(self.sock, self._identity)
        self.reused = self._requests > 0
        hook.sending(reused=self.reused)
        self._requests += 1
        super().putrequest(*args, **kwargs)  # type: ignore[misc]
        self._unsent = []

    def send(self, data: Any) -> None:
        """Send bytes, bounded by the hook; those of a request are collected first."""
        if self._unsent is not None:
            self._unsent.append(data)
            return
        # A socket's time limit bounds one whole sendall(), not each write in it.
        self.sock.settimeout(current_hook().limit())
        super().send(data)  # type: ignore[misc]


class _PlainConnection(Hooked, HTTPConnection):  # type: ignore[misc]
    pass


class _TLSConnection(Hooked, HTTPSConnection):  # type: ignore[misc]
    pass


class _HookedPool:
    """The common part of pools of plain and TLS connections, mixed into urllib3's classes.

    Owner of the fields: ``pool`` has its own lock; urllib3's ``close`` sets it to ``None`` by a single assignment.
    """

    QueueCls: Any = IdleConnections
    pool: IdleConnections | None  # None after ``close``
    has_certificates = False  # whether the adapter has set the CA bundle

    def _make_request(self, conn: Any, *args: Any, **kwargs: Any) -> Any:
        """Send a request; close the idle connections if a reused connection proves to be dead.

        A firewall that silently dropped one connection has probably dropped the others too. Each of them would cost one
        stream its whole time limit.
        """
        try:
            return super()._make_request(conn, *args, **kwargs)  # type: ignore[misc]
        except BaseException:
            response: Any = last_response()
            hook = current_hook()
            if hook.guard.shut:  # by a cancel, or by a consumer that saw the limit before this thread did
                silent = hook.timed_out() and not hook.answered
            else:
                silent = response is None or not response.reader.received_any
            if conn.reused and silent and (idle := self.pool) is not None:
                idle.close_all()
            raise


def pool_classes(plain: type, tls: type) -> dict[str, type]:
    """Return the classes of pools, by scheme, for classes of plain and of TLS connections."""

    class PlainPool(_HookedPool, HTTPConnectionPool):  # type: ignore[misc]
        ConnectionCls = plain

    class TLSPool(_HookedPool, HTTPSConnectionPool):  # type: ignore[misc]
        ConnectionCls = tls

    return {"http": PlainPool, "https": TLSPool}


POOL_CLASSES = pool_classes(_PlainConnection, _TLSConnection)
