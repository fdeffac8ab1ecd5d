"""urllib3 connections whose every wait has a hook over it.

urllib3's own timeouts restart with each byte and cannot be cut short by another thread. Here the thread that
opens a request sets its ``WaitHook``; the connection asks it before each wait in the kernel how long to wait,
tells it when that was in vain, and registers the socket with its guard, so that a cancel can end the wait.
"""

from __future__ import annotations

import _socket
import http.client
import io
import os
import queue
import socket
import struct
import sys
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from streamkit.transport.descriptor import Identity, identity_of
from streamkit.transport.wait_hook import current_hook, remember_response

__all__ = ["POOL_CLASSES"]

_MOST_INTERIM = 16  # responses with a status of 1xx before the answer
_LONGEST_LINE = 65537  # bytes of a header; http.client's own bound
_LONGEST = 3600.0  # seconds of one wait; then the hook is asked again
# Where a plain socket can have the kernel bound its reads: one system call a read, where Python's own time limit
# takes a poll() as well, and gives the interpreter away and waits for it twice. A signal that this thread happens
# to get begins the time anew; then it is the consumer that sees that a limit has passed.
_KERNEL_BOUNDS = sys.platform == "linux" and struct.calcsize("l") == 8
_BUFFER = 65536  # bytes taken from the kernel at once: many small HTTP chunks in one system call

_PLAIN_RECV_INTO = _socket.socket.recv_into

# Probes on an idle connection, so that a peer that vanished without a word is noticed within 135 s.
_KEEP_ALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 5))


class _Reader(io.RawIOBase):
    """Reads a socket under the hook of the stream that asked for the response."""

    def __init__(self, sock: Any, raw: Any) -> None:
        self._sock = sock
        self._raw = raw  # the socket's own file object: closing it is how the socket is let go
        self._hook = current_hook()
        self._limit = 0.0  # seconds; what the socket is set to by this reader
        # Not TLS, which takes what the kernel says then for "go on", nor what gevent puts in a socket's place.
        self._by_kernel = _KERNEL_BOUNDS and type(sock).recv_into is _PLAIN_RECV_INTO

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        hook, sock = self._hook, self._sock
        while True:
            limit = hook.before_read()
            # Setting it is a system call: what is set will do if it wakes us at most 0.1 s late. Too early
            # does no harm, as the hook is asked again.
            if not limit * 0.5 <= self._limit <= limit + min(0.1, limit * 0.1):
                self._set_limit(limit)
            try:
                return sock.recv_into(buffer)  # type: ignore[no-any-return]
            except (TimeoutError, BlockingIOError):
                hook.in_vain()

    def _set_limit(self, limit: float) -> None:
        self._limit = limit
        seconds = min(limit, _LONGEST)
        if self._by_kernel:
            self._sock.settimeout(None)
            whole, part = divmod(int(seconds * 1e6) or 1, 1_000_000)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", whole, part))
        else:
            self._sock.settimeout(seconds)

    def close(self) -> None:
        if not self.closed:
            # The body is over, and the next moment the connection may be in the pool.
            self._hook.guard.release()
            self._raw.close()
            super().close()


class _Readable:
    """What ``http.client`` takes for a socket: all that it does with it is ``makefile``."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> io.BufferedReader:
        raw = self._sock.makefile(mode, buffering=0)
        return io.BufferedReader(_Reader(self._sock, raw), _BUFFER)


class _Response(http.client.HTTPResponse):
    """A response whose status line, headers and body are read under a hook."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Readable(sock), *args, **kwargs)  # type: ignore[arg-type]
        remember_response(self)

    def _read_status(self) -> tuple[str, int, str]:
        """Pass over interim responses; http.client knows 100 alone, and would take the rest for the answer."""
        for _ in range(_MOST_INTERIM):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status in (100, 101) or not 100 <= status < 200:
                return version, status, reason
            while self.fp.readline(_LONGEST_LINE) not in (b"\r\n", b"\n", b""):
                pass
        raise http.client.HTTPException("interim responses without end")


class _Hooked:
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
        """Connect, address by address, in sight of the guard.

        urllib3's function keeps the socket to itself until it is connected, and gives each address the whole
        time limit; a name with two addresses would take twice the limit, and no cancel would reach it.
        """
        hook = current_hook()
        try:
            hook.limit()
            family = urllib3.util.connection.allowed_gai_family()
            addresses = socket.getaddrinfo(self._dns_host, self.port, family, socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
        failure: OSError = OSError("the name has no address")
        for number, (family, kind, proto, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, proto)
            try:
                hook.guard.register(sock)
                self._set_options(sock)
                # Each address gets its share of the time, or one that is dead would take it all.
                limit = hook.limit()
                sock.settimeout(limit and limit / (len(addresses) - number))
                sock.connect(address)
                sock.settimeout(hook.limit())
                # TLS will take the descriptor over into an object of its own; until that stands, the guard
                # has a duplicate, which ends the handshake as well.
                return self._lend(sock)
            except TimeoutError as error:
                sock.close()
                failure = error
                hook.in_vain()
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
        raise urllib3.exceptions.NewConnectionError(self, f"cannot connect: {failure}") from failure  # type: ignore[arg-type]

    def _lend(self, sock: socket.socket) -> socket.socket:
        duplicate = socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))
        self._handshaking = duplicate
        current_hook().guard.register(duplicate)
        return sock

    def _set_options(self, sock: socket.socket) -> None:
        for option in self.socket_options or ():
            sock.setsockopt(*option)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if self.source_address:
            sock.bind(self.source_address)

    _handshaking: socket.socket | None = None
    _identity: Identity = None  # of the socket's descriptor, from when it was connected
    _requests = 0  # on this connection

    def connect(self) -> None:
        hook = current_hook()
        try:
            self._requests = 0
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
        """Whether an idle connection can be used; not where its descriptor belongs to another file by now."""
        return self._owns_descriptor() and super().is_connected  # type: ignore[misc]

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
        super()._tunnel()  # type: ignore[misc]
        self.sock.settimeout(current_hook().limit())  # for the handshake to come; the reader left it to the kernel
        # The proxy's answer was read like any response, and the socket released with it; TLS is still to come.
        if self._handshaking is not None:
            current_hook().guard.register(self._handshaking)

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        hook = current_hook()
        if self.sock is None:
            self.connect()
        else:
            hook.guard.register(self.sock)
        hook.sending(reused=self._requests > 0)
        self._requests += 1
        super().putrequest(*args, **kwargs)  # type: ignore[misc]

    def send(self, data: Any) -> None:
        # A socket's time limit bounds the whole of one sendall(), not its single writes.
        self.sock.settimeout(current_hook().limit())
        super().send(data)  # type: ignore[misc]


class _PlainConnection(_Hooked, HTTPConnection):  # type: ignore[misc]
    pass


class _TLSConnection(_Hooked, HTTPSConnection):  # type: ignore[misc]
    pass


class _Idle(queue.LifoQueue[Any]):
    """The idle connections of a pool.

    urllib3 fills a new pool with ``None`` to its bound, which costs more than a request when the bound is
    made for hundreds of streams. A pool that never blocks needs none of them.
    """

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item is not None:
            super().put(item, block, timeout)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection
    QueueCls = _Idle


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection
    QueueCls = _Idle


POOL_CLASSES = {"http": _PlainPool, "https": _TLSPool}
