"""Threading events that a poll can wait for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

# Seconds between two looks at whether anybody still waits for an event; the event itself is heard at once.
_LOOK = 0.02


@attrs.define(eq=False)
class _Watch:
    """One event that is waited for, and the socket pair that says that it was set."""

    event: threading.Event
    reader: socket.socket
    writer: socket.socket
    users: int = 0  # guarded by the lock of Signals
    abandoned: bool = False  # set once, under that lock; the watching thread may see it one look late

    def run(self) -> None:
        """Wait for the event and say so, or end soon after the last user has left."""
        try:
            while not self.abandoned and not self.event.wait(_LOOK):
                pass
            self.writer.send(b"!")
        except OSError:
            pass  # the last user left, and took the reader along
        finally:
            self.writer.close()


class Signals:
    """Makes poll(2) wait for events of `threading`: one thread an event, however many connections wait.

    A connection has to hear two things at once, the event of a test and a client that leaves. Looking at
    either in turns would make it late for the other, and tests measure both.

    Threads: safe to share.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._watches: dict[int, _Watch] = {}  # by id() of the event, while it has users; guarded by _lock
        self._threads: list[threading.Thread] = []  # guarded by _lock

    @contextmanager
    def socket_for(self, event: threading.Event) -> Iterator[socket.socket]:
        """Yield a socket that becomes readable, and stays so, once the event is set."""
        with self._lock:
            watch = self._watches.get(id(event)) or self._start_locked(event)
            watch.users += 1
        try:
            yield watch.reader
        finally:
            self._leave(watch)

    def threads(self) -> list[threading.Thread]:
        """Return the threads that watch, for the server to join."""
        with self._lock:
            return list(self._threads)

    def _start_locked(self, event: threading.Event) -> _Watch:
        watch = _Watch(event, *socket.socketpair())
        thread = threading.Thread(target=watch.run, name=f"{self._name}-event", daemon=True)
        thread.start()
        self._threads = [*(t for t in self._threads if t.is_alive()), thread]
        self._watches[id(event)] = watch
        return watch

    def _leave(self, watch: _Watch) -> None:
        with self._lock:
            watch.users -= 1
            if watch.users:
                return
            watch.abandoned = True
            del self._watches[id(watch.event)]
        watch.reader.close()
