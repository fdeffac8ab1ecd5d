"""The server behind `demo/storyteller` and `demo/assistant`: one a process, started when it is first asked for."""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import suppress

from streamkit.testing.server import Server

_REMEMBER = 100  # requests kept; a process may run for weeks


class _Slot:
    """The demo server of one process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.server: Server | None = None  # guarded by lock


# By process id, so that a forked child has no server, and a new lock: another thread of its parent may have held the
# parent's lock during the fork. setdefault() is atomic.
_slots: dict[int, _Slot] = {}


def demo_server() -> Server:
    """Return the demo server of this process, started at the first call, and again in a forked child.

    Its models speak at 50 tokens a second, needs no closing, and ends with the interpreter.

    Threads: safe to call from any.
    """
    slot = _slots.setdefault(os.getpid(), _Slot())
    with slot.lock:
        if slot.server is None or not slot.server.running:
            _drop_inherited()
            slot.server = Server(remember=_REMEMBER)
            atexit.register(_close_at_exit)
        return slot.server


def _drop_inherited() -> None:
    """Close a fork's copies of other processes' sockets, which would keep their connections open."""
    for pid in list(_slots):
        if pid != os.getpid() and (slot := _slots.pop(pid)).server is not None:
            slot.server.drop()


def _close_at_exit() -> None:
    slot = _slots.get(os.getpid())
    if slot is not None and slot.server is not None:
        with suppress(RuntimeError):  # nobody can handle it at exit
            slot.server.close()
