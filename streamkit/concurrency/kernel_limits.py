"""Time limits of sockets that the kernel keeps: ``let_kernel_limit``."""

from __future__ import annotations

import math
import socket
import struct
import sys
from typing import Any

__all__ = ["let_kernel_limit"]

# gevent puts another class in its place. Where it did so before this import, no socket is of this class.
_PLAIN = socket.socket
_LONGEST = 10**6  # seconds, twelve days


def let_kernel_limit(sock: Any, option: int, seconds: float) -> bool:
    """Let the kernel bound each ``recv()`` or ``send()`` of a socket, and make the socket blocking.

    With ``settimeout`` Python waits in a ``poll()`` of its own before each of them. That is another system call, for
    which it releases the interpreter, and has to get it back: where many threads read and write small pieces, that is
    the larger part of the cost.

    A call that takes too long raises ``BlockingIOError`` in place of ``TimeoutError``. ``settimeout`` undoes it.

    Args:
        sock: a socket; only a plain one of the standard library's on Linux can be limited so, none with TLS.
        option: ``SO_RCVTIMEO`` or ``SO_SNDTIMEO``.
        seconds: above 0; infinite for no limit.

    Returns:
        Whether it is done.
    """
    if sock.__class__ is not _PLAIN or sys.platform != "linux":
        return False
    # A time of 0 would be no limit.
    micros = 0 if math.isinf(seconds) else max(1, int(min(seconds, _LONGEST) * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", *divmod(micros, 10**6)))
    sock.settimeout(None)
    return True
