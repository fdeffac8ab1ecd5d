"""Whether a socket's descriptor is still its own.

A program that becomes a daemon closes all descriptors, and the next files that it opens get the same numbers. A socket
object does not notice: it would send a request, with the key in it, to whatever has its number by then, and closing it
would close that.
"""

from __future__ import annotations

import os
from typing import Any

__all__ = ["Identity", "identity_of"]

Identity = tuple[int, int] | None
"""What tells a file from another one that has its number later; ``None`` where the system does not say."""


def identity_of(sock: Any) -> Identity:
    """Return the identity of what a socket's descriptor refers to at present."""
    try:
        status = os.fstat(sock.fileno())
    except (OSError, ValueError, AttributeError):  # closed, or no socket of Python's own
        return None
    return status.st_dev, status.st_ino
