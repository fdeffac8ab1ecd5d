"""Notice at once that a browser has left: one thread watches the sockets of all clients."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from streamkit.concurrency.own_thread import OwnThread

__all__ = ["on_leaving", "socket_in"]

# Where WSGI servers put the client's socket.
_KEYS = ("gunicorn.socket", "werkzeug.socket")
# The client has closed its side, or the connection is gone. Bytes that it sends meanwhile do not count: they are its
# next request.
_LEFT = getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)


def socket_in(environ: Mapping[str, Any]) -> Any:
    """Return the client's socket, where the server hands it over, otherwise ``None``."""
    return next((environ[key] for key in _KEYS if environ.get(key) is not None), None)


class _Watch:
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


_watch = _Watch()


def on_leaving(environ: Mapping[str, Any], callback: Callable[[], object]) -> Callable[[], None] | None:
    """Call ``callback`` once when the client of a request closes its connection.

    The call happens in the process's one watching thread: it must not wait, and must not call code of the program.

    Args:
        environ: of the request.
        callback: the function.

    Returns:
        A function that ends the watch; ``None`` where the server does not hand the socket over, or the system has no
        way to watch it (only Linux has).

    Threads: any; never waits.
    """
    client = socket_in(environ)
    if client is None or not hasattr(select, "epoll"):
        return None
    try:
        return _watch.add(client.fileno(), callback)
    except (OSError, ValueError, AttributeError):  # it is closed already, or is no socket of the system
        return None


def _after_fork_in_child() -> None:
    global _watch
    _watch = _Watch()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
