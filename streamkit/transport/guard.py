"""Ends the blocking wait of another thread by shutting its socket down: ``SocketGuard``."""

from __future__ import annotations

import _socket
import socket
import threading
from typing import Protocol

from streamkit.transport.descriptor import Identity, identity_of

__all__ = ["SocketGuard"]


class _CanShutDown(Protocol):
    """An object with a socket's ``shutdown``: a socket, urllib3's TLS in TLS for a proxy, or the wait for a lookup."""

    def shutdown(self, how: int, /) -> object:
        """End the wait of another thread."""


class SocketGuard:
    """Holds the socket that a stream's worker waits on, so that another thread can shut it down.

    If one thread reads from a socket, ``close()`` in another thread leaves the reader blocked; ``shutdown()`` ends the
    read within milliseconds. The guard holds a socket only between ``register`` and ``release``. Afterwards the socket
    may serve another stream, which a late cancel must not touch.

    Owner of the fields: ``_lock`` guards all; ``shut`` and ``repr()`` read single fields without it. The lock is
    reentrant, because a signal handler or the garbage collector may cancel a stream in a thread that holds it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._socket: _CanShutDown | None = None
        self._identity: Identity = None
        self._shut = False

    def register(self, sock: _CanShutDown, identity: Identity = None) -> None:
        """Hold this socket in place of the one before; shut it down at once if ``shut_down`` was called before.

        Args:
            sock: the socket.
            identity: of its descriptor, if the caller knows it; looking it up is a system call.
        """
        with self._lock:
            self._socket, self._identity = sock, identity or identity_of(sock)
            if self._shut:
                self._shut_down_locked()

    def release(self) -> None:
        """Forget the socket: a later cancel does not touch it."""
        with self._lock:
            self._socket = None

    @property
    def shut(self) -> bool:
        """Whether ``shut_down`` was called."""
        return self._shut

    def shut_down(self) -> None:
        """Shut down the socket, and each socket that is registered later.

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
                # The plain socket's method, for TLS as well: SSLSocket.shutdown would remove the TLS object that the
                # other thread is reading with. Not socket.socket, which gevent and eventlet replace.
                _socket.socket.shutdown(sock, socket.SHUT_RDWR)
            else:
                sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # not connected yet, or closed already

    def __repr__(self) -> str:
        state = "shut" if self._shut else "idle" if self._socket is None else "armed"
        return f"<SocketGuard {state}>"
