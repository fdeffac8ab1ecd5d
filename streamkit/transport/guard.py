"""The socket that a request blocks on, for another thread to shut down: ``SocketGuard``."""

from __future__ import annotations

import _socket
import socket
import threading
from typing import Protocol

from streamkit.transport.descriptor import Identity, identity_of

__all__ = ["SocketGuard"]


class _CanShutDown(Protocol):
    """A socket, TLS inside TLS, through a proxy, which is an object that is no socket, or a wait for a lookup."""

    def shutdown(self, how: int, /) -> object:
        """End the wait that another thread is in."""


class SocketGuard:
    """The socket that a stream is blocked on at present, for another thread to shut down.

    ``close()`` on a socket that another thread reads leaves the reader blocked; ``shutdown()`` ends its read
    in milliseconds. The socket is ours only between ``register`` and ``release``: afterwards it may serve
    another stream, which a late cancel must not touch.
    """

    def __init__(self) -> None:
        # Reentrant, for a cancel may come from a signal handler or the garbage collector at any point of
        # this very thread. Guards _socket, _identity and _shut.
        self._lock = threading.RLock()
        self._socket: _CanShutDown | None = None
        self._identity: Identity = None
        self._shut = False

    def register(self, sock: _CanShutDown) -> None:
        """Make this the socket to shut down, in place of any before; at once if that was asked already."""
        with self._lock:
            self._socket, self._identity = sock, identity_of(sock)
            if self._shut:
                self._shut_down_locked()

    def release(self) -> None:
        """Let the socket go: from here on a cancel does not touch it."""
        with self._lock:
            self._socket = None

    @property
    def shut(self) -> bool:
        """Whether ``shut_down`` was called."""
        return self._shut

    def shut_down(self) -> None:
        """End whatever blocks on the socket, now and for any that is registered later.

        Threads: any; never blocks.
        """
        with self._lock:
            self._shut = True
            self._shut_down_locked()

    def _shut_down_locked(self) -> None:
        sock, self._socket = self._socket, None
        if sock is None or identity_of(sock) != self._identity:
            return
        try:
            if isinstance(sock, _socket.socket):
                # The plain socket's method, also for TLS: SSLSocket.shutdown would take the TLS object away
                # from under the thread that reads through it. Not socket.socket, which gevent and eventlet replace.
                _socket.socket.shutdown(sock, socket.SHUT_RDWR)
            else:
                sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # not connected yet, or closed already: there is nothing left to end

    def __repr__(self) -> str:
        state = "shut" if self._shut else "idle" if self._socket is None else "armed"
        return f"<SocketGuard {state}>"
