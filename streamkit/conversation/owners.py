"""Who is in the middle of a turn, and whether that process still lives."""

from __future__ import annotations

import os
import socket
import time
import uuid
from pathlib import Path

from streamkit.conversation.turns import Owner

__all__ = ["is_alive", "is_of_this_machine", "over", "this_process"]

# Seconds for which a process of another machine is taken for alive, as nobody here can look.
_LEASE = 900.0
_open_here: set[str] = set()  # the tokens of the turns that are open in this process; single operations are atomic


def this_process() -> Owner:
    """Return this process as the owner of a new turn."""
    pid, token = os.getpid(), uuid.uuid4().hex
    _open_here.add(token)
    return Owner(_host(), pid, _started(pid), token, time.time() + _LEASE)


def over(owner: Owner | None) -> None:
    """Note that a turn of this process is over."""
    if owner is not None:
        _open_here.discard(owner.token)


def is_alive(owner: Owner) -> bool:
    """Return whether the owner of a turn may still be in the middle of it."""
    if not is_of_this_machine(owner):
        return time.time() < owner.until
    if owner.pid == os.getpid():
        return owner.token in _open_here
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it lives, and is somebody else's
    # Otherwise another process has its number by now, or it has ended and nobody has taken note of that.
    return _started(owner.pid) == owner.started


def is_of_this_machine(owner: Owner) -> bool:
    """Return whether ``is_alive`` can look at the owner's process."""
    return owner.host == _host() and os.name != "nt"  # on Windows a signal 0 would end the process


def _host() -> str:
    """Return a name of this machine, its boot and its table of processes.

    After a reboot all processes are gone, and two containers of one machine do not see each other's.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        table = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = table = ""
    return f"{socket.gethostname()}/{boot}/{table}"


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; "" where the system does not tell, or it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]
