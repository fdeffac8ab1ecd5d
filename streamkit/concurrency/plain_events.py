"""Call back when a plain ``threading.Event`` is set: one thread looks at all of them, every 50 ms."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from contextlib import suppress

from streamkit.concurrency.quick_thread import OwnThread
from streamkit.concurrency.stop import ReentrantEvent

__all__ = ["on_set"]

_LOOK = 0.05  # seconds between two looks; a plain event cannot wake anybody but who waits for it


class _Looker:
    """Looks at events in a thread of its own, which is there only while there is an event to look at.

    ``_lock``, reentrant because the garbage collector may end a subscription anywhere, guards all fields.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._watched: dict[int, tuple[threading.Event, Callable[[], object]]] = {}
        self._keys = itertools.count()
        self._thread: threading.Thread | None = None
        self._emptied = ReentrantEvent()  # ends the thread's wait when the last event has gone

    def add(self, event: threading.Event, callback: Callable[[], object]) -> Callable[[], None]:
        with self._lock:
            key = next(self._keys)
            self._watched[key] = event, callback
            self._emptied.clear()
            if self._thread is None or not self._thread.is_alive():  # not alive: its start was interrupted, or failed
                self._thread = OwnThread(target=self._look, name="streamkit-events", daemon=True)
                with suppress(RuntimeError):  # out of threads; streams look at their own event at each chunk
                    self._thread.start()

        def remove() -> None:
            with self._lock:
                self._watched.pop(key, None)
                if not self._watched:
                    self._emptied.set()

        return remove

    def _look(self) -> None:
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
                except Exception:  # in a class of the program's; who takes from the stream looks too, and gets it
                    found = None
                if found is not False:
                    with self._lock:
                        self._watched.pop(key, None)
                if found:
                    callback()
            self._emptied.wait(_LOOK)


_looker = _Looker()


def on_set(event: threading.Event, callback: Callable[[], object]) -> Callable[[], None]:
    """Have ``callback`` called once when ``event`` is set, at most 50 ms later.

    It is called in the one thread of the process that looks at such events, so it must not wait, and must not call
    what is the user's.

    Returns:
        A function that ends it, any number of times.
    """
    return _looker.add(event, callback)


def _after_fork_in_child() -> None:
    global _looker
    _looker = _Looker()  # its thread is not here, and its lock may be held by one that is not here either


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
