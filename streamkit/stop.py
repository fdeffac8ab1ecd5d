"""Ending from outside: ``StopEvent`` for users, ``SocketGuard`` for what blocks in the kernel."""

from __future__ import annotations

import itertools
import math
import socket
import threading
import time
from collections.abc import Callable

__all__ = ["ReentrantEvent", "SocketGuard", "StopEvent"]


_SLICE = 0.2  # seconds


class ReentrantEvent(threading.Event):
    """A ``threading.Event`` that a signal handler, or the garbage collector, may set at any point.

    The standard one has a plain lock: a handler that interrupts its thread inside ``set()`` or ``wait()`` and
    calls ``set()`` would wait for that thread, which is its own, for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._cond = threading.Condition(threading.RLock())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait as ``threading.Event`` does, in slices: a handler may set it just before the wait begins."""
        until = math.inf if timeout is None else time.monotonic() + timeout
        while not self.is_set() and (left := until - time.monotonic()) > 0:
            super().wait(min(left, _SLICE))
        return self.is_set()


class StopEvent(ReentrantEvent):
    """A ``threading.Event`` that also wakes sockets and queues.

    Pass one as ``stop=`` to any number of streams: ``set()`` cancels them all at once, and a stream that is
    started with a set one ends before it sends anything. It is never cleared by the library; after
    ``clear()`` it serves new streams.

    Threads: any thread may call any method; ``set()`` never waits for a stream to end.
    """

    def __init__(self) -> None:
        super().__init__()
        # Guarded by nothing: each operation on the dict is one step under the interpreter's lock, and a
        # lock here could be held by the very thread that a signal handler interrupts to call set().
        self._callbacks: dict[int, tuple[Callable[[], object], ...]] = {}
        self._keys = itertools.count()

    def set(self) -> None:
        """Set the event and cancel every stream that was started with it."""
        super().set()
        subscribers = list(self._callbacks.values())
        for callback, *_ in subscribers:
            callback()
        for _, *later in subscribers:
            for callback in later:
                callback()

    def subscribe(self, *callbacks: Callable[[], object]) -> Callable[[], None]:
        """Have callbacks called in the thread of each ``set()``; at once if it is set already.

        Args:
            callbacks: at least one; the others are called once every subscriber's first has been, so that
                a slow one, such as an observer, holds nobody's end up.

        Returns:
            A function that ends the subscription, any number of times.
        """
        key = next(self._keys)
        self._callbacks[key] = callbacks
        if self.is_set():  # either this sees the set, or set() sees the callbacks; perhaps both
            for callback in callbacks:
                callback()

        def unsubscribe() -> None:
            self._callbacks.pop(key, None)

        return unsubscribe

    def __repr__(self) -> str:
        return f"<StopEvent {'set' if self.is_set() else 'clear'}, {len(self._callbacks)} streams>"


class SocketGuard:
    """The socket that a stream is blocked on at present, for another thread to shut down.

    ``close()`` on a socket that another thread reads leaves the reader blocked; ``shutdown()`` ends its read
    in milliseconds. The socket is ours only between ``register`` and ``release``: afterwards it may serve
    another stream, which a late cancel must not touch.
    """

    def __init__(self) -> None:
        # Reentrant, for a cancel may come from a signal handler or the garbage collector at any point of
        # this very thread. Guards _socket and _shut.
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None
        self._shut = False

    def register(self, sock: socket.socket) -> None:
        """Make this the socket to shut down, in place of any before; at once if that was asked already."""
        with self._lock:
            self._socket = sock
            if self._shut:
                self._shut_down_locked()

    def release(self) -> None:
        """Let the socket go: from here on a cancel does not touch it."""
        with self._lock:
            self._socket = None

    def shut_down(self) -> None:
        """End whatever blocks on the socket, now and for any that is registered later.

        Threads: any; never blocks.
        """
        with self._lock:
            self._shut = True
            self._shut_down_locked()

    def _shut_down_locked(self) -> None:
        sock, self._socket = self._socket, None
        if sock is None:
            return
        try:
            # The plain socket's method, also for TLS: SSLSocket.shutdown would take the TLS object away
            # from under the thread that reads through it.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        except OSError:
            pass  # not connected yet, or closed already: there is nothing left to end
        except TypeError:
            sock.shutdown(socket.SHUT_RDWR)  # TLS inside TLS, through a proxy: an object that is no socket

    def __repr__(self) -> str:
        state = "shut" if self._shut else "idle" if self._socket is None else "armed"
        return f"<SocketGuard {state}>"
