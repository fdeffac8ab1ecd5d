"""Call back when a plain ``threading.Event`` is set: one thread polls all of them, every 50 ms."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from contextlib import suppress

from streamkit.concurrency.own_thread import OwnThread
from streamkit.concurrency.stop import ReentrantEvent

__all__ = ["on_set"]

_INTERVAL = 0.05  # seconds between two polls; a plain event cannot call back, and wakes only threads in its wait()


class _Poller:
    """Polls events in a thread of its own, which runs only while there are events to poll.

    Owner of the fields: ``_lock`` guards all of them. It is reentrant, because the garbage collector may end a
    subscription in a thread that holds it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._watched: dict[int, tuple[threading.Event, Callable[[], object]]] = {}
        self._keys = itertools.count()
        self._thread: threading.Thread | None = None
        self._emptied = ReentrantEvent()  # set when the last event was removed, to end the thread's wait

    def add(self, event: threading.Event, callback: Callable[[], object]) -> Callable[[], None]:
        with self._lock:
            key = next(self._keys)
            self._watched[key] = event, callback
            self._emptied.clear()
            if self._thread is None or not self._thread.is_alive():  # not alive: its start was interrupted, or failed
                self._thread = OwnThread(self._poll, (), "streamkit-events")
                with suppress(RuntimeError):  # out of threads; each stream also checks its own event at each chunk
                    self._thread.start()

        def remove() -> None:
            with self._lock:
                self._watched.pop(key, None)
                if not self._watched:
                    self._emptied.set()

        return remove

    def _poll(self) -> None:
        while True:
            with self._lock:
                if self._thread is not threading.current_thread():
                    return  # another one was started before this one had begun
                watched = list(self._watched.items())
                if not watched:
                    self._thread = None
                    return
            for key, (event, callback) in watched:
                try:
                    found = event.is_set()
                except Exception:  # in a class of the program's; its stream checks it too, and raises that
                    found = None
                if found is not False:
                    with self._lock:
                        self._watched.pop(key, None)
                if found:
                    callback()
            self._emptied.wait(_INTERVAL)


_poller = _Poller()


def on_set(event: threading.Event, callback: Callable[[], object]) -> Callable[[], None]:
    """Call ``callback`` once when ``event`` is set, at most 50 ms later.

    The call happens in the process's one polling thread, so the callback must not wait and must not call user code.

    Returns:
        A function that ends the subscription; calling it again changes nothing.

    Threads: any; never waits.
    """
    return _poller.add(event, callback)


def _after_fork_in_child() -> None:
    global _poller
    _poller = _Poller()  # the child has no polling thread, and another thread may have held the old lock


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
