"""Clients' sockets: notice at once that a browser has left, and bound the time that a write to it may take."""

from __future__ import annotations

import _socket
import math
import os
import select
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from streamkit.concurrency.kernel_limits import let_kernel_limit
from streamkit.concurrency.own_thread import OwnThread
from streamkit.concurrency.stop import ReentrantEvent

__all__ = ["bound_writes", "on_leaving", "socket_in"]

# Where WSGI servers put the client's socket.
_KEYS = ("gunicorn.socket", "werkzeug.socket")
# The client has closed its side, or the connection is gone. Bytes that it sends meanwhile do not count: they are its
# next request.
_LEFT = getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)

_INTERVAL = 0.25  # seconds between two looks at a socket, where nothing tells of its end


def socket_in(environ: Mapping[str, Any]) -> Any:
    """Return the client's socket, where the server hands it over, otherwise ``None``."""
    return next((environ[key] for key in _KEYS if environ.get(key) is not None), None)


class _EpollWatch:
    """Watches sockets in a thread of its own, which runs only while there are any, and sleeps until one is left.

    Owner of the fields: ``_lock`` guards all of them, reentrant as the garbage collector may end a subscription in a
    thread that holds it. The system protects the poll object itself.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._poll: Any = None
        self._watched: dict[int, Callable[[], object]] = {}
        self._thread: threading.Thread | None = None
        self._wake: tuple[int, int] | None = None

    def add(self, descriptor: int, callback: Callable[[], object]) -> Callable[[], None]:
        with self._lock:
            if self._poll is None:
                self._poll = select.epoll()
                self._wake = os.pipe()
                self._poll.register(self._wake[0], select.EPOLLIN)
            with suppress(FileExistsError):  # of a connection whose last watch was not taken out
                self._poll.register(descriptor, _LEFT)
            self._watched[descriptor] = callback
            if self._thread is None or not self._thread.is_alive():
                self._thread = OwnThread(self._run, (), "streamkit-clients")
                with suppress(RuntimeError):  # out of threads: a heartbeat finds out
                    self._thread.start()

        def remove() -> None:
            with self._lock:
                if self._watched.get(descriptor) is not callback:
                    return
                self._forget(descriptor)
                if not self._watched and self._wake is not None:
                    os.write(self._wake[1], b"\0")

        return remove

    def _forget(self, descriptor: int) -> Callable[[], object] | None:
        with suppress(OSError, ValueError):  # it was closed meanwhile, which takes it out
            self._poll.unregister(descriptor)
        return self._watched.pop(descriptor, None)

    def _run(self) -> None:
        while True:
            found = self._poll.poll()
            left = []
            with self._lock:
                if self._thread is not threading.current_thread():
                    return
                for descriptor, _ in found:
                    if self._wake is not None and descriptor == self._wake[0]:
                        os.read(descriptor, 4096)
                    else:
                        left.append(self._forget(descriptor))
                over = not self._watched
                if over:
                    self._thread = None
            for callback in left:
                if callback is not None:
                    callback()
            if over:
                return


class _PollingWatch:
    """The same without epoll, which only Linux has, and which gevent and eventlet take away: looks at each socket.

    A client that has sent bytes of a next request before it left is not found out.

    Owner of the fields: ``_lock`` guards all of them, reentrant as in ``_EpollWatch``.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._watched: dict[int, Callable[[], object]] = {}
        self._thread: threading.Thread | None = None
        self._emptied = ReentrantEvent()  # set when the last socket was removed, to end the thread's wait

    def add(self, descriptor: int, callback: Callable[[], object]) -> Callable[[], None]:
        with self._lock:
            self._watched[descriptor] = callback
            self._emptied.clear()
            if self._thread is None or not self._thread.is_alive():
                self._thread = OwnThread(self._run, (), "streamkit-clients")
                with suppress(RuntimeError):  # out of threads: a heartbeat finds out
                    self._thread.start()

        def remove() -> None:
            with self._lock:
                if self._watched.get(descriptor) is callback:
                    del self._watched[descriptor]
                    if not self._watched:
                        self._emptied.set()

        return remove

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._thread is not threading.current_thread():
                    return
                # With the lock held, as a descriptor is closed, and its number used again, only after its removal.
                left = [self._watched.pop(each) for each in list(self._watched) if _has_left(each)]
                over = not self._watched
                if over:
                    self._thread = None
            for callback in left:
                callback()
            if over:
                return
            self._emptied.wait(_INTERVAL)


def _has_left(descriptor: int) -> bool:
    """Return whether the other side has closed a connection, without waiting and without taking its bytes."""
    try:
        seen = _socket.socket(fileno=descriptor)  # not socket.socket: gevent's would wait, and change the descriptor
    except OSError:
        return True
    try:
        return not seen.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        seen.detach()


_watch: _EpollWatch | _PollingWatch | None = None
_making = threading.Lock()  # guards the making of _watch


def _the_watch() -> _EpollWatch | _PollingWatch:
    """Return the process's one; made at its first use, as gevent may replace locks and epoll after the import."""
    global _watch
    with _making:
        if _watch is None:
            _watch = _EpollWatch() if hasattr(select, "epoll") else _PollingWatch()
        return _watch


def on_leaving(environ: Mapping[str, Any], callback: Callable[[], object]) -> Callable[[], None] | None:
    """Call ``callback`` once when the client of a request closes its connection.

    The call happens in the process's one watching thread: it must not wait, and must not call code of the program.

    Args:
        environ: of the request.
        callback: the function.

    Returns:
        A function that ends the watch; ``None`` where the server does not hand the socket over, or the system has no
        way to watch it (Windows has none).

    Threads: any; never waits.
    """
    client = socket_in(environ)
    if client is None or not hasattr(socket, "MSG_DONTWAIT"):
        return None
    try:
        return _the_watch().add(client.fileno(), callback)
    except (OSError, ValueError, AttributeError):  # it is closed already, or is no socket of the system
        return None


def bound_writes(environ: Mapping[str, Any], seconds: float) -> Callable[[], None]:
    """Let a write to the client of a request fail that takes longer than ``seconds``.

    Without it a client that reads slowly, or not at all, would hold its thread of the server, and the model, for as
    long as it likes. A client that has vanished without a word, as a closed laptop does, is found out by
    ``TCP_USER_TIMEOUT``: its system acknowledges nothing. Without it the kernel tries for a quarter of an hour.

    Args:
        environ: of the request; nothing happens where the server does not hand the client's socket over.
        seconds: of one write.

    Returns:
        A function that undoes it.

    Threads: that which writes.
    """
    client = socket_in(environ)
    try:
        before = client.gettimeout()
        limited = let_kernel_limit(client, socket.SO_SNDTIMEO, seconds)
        if not limited:
            client.settimeout(seconds)
    except (OSError, AttributeError):  # there is none, it is closed already, or is no socket of the system
        return _nothing
    with suppress(OSError, AttributeError):  # a socket of the file system; a system without it
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, min(max(1, int(seconds * 1000)), 2**31 - 1))

    def undo() -> None:
        with suppress(OSError):
            if limited:
                let_kernel_limit(client, socket.SO_SNDTIMEO, math.inf)
            client.settimeout(before)

    return undo


def _nothing() -> None:
    pass


def _after_fork_in_child() -> None:
    global _watch, _making
    _watch, _making = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
