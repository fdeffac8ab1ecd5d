"""Detect a socket whose descriptor number now belongs to another file: ``identity_of``.

A program that becomes a daemon closes all descriptors, and files that it opens later get the same numbers. A socket
object does not notice. It would send a request, with the key, to the other file, and closing it would close that file.
"""

from __future__ import annotations

import os
from typing import Any

__all__ = ["Identity", "identity_of"]

Identity = tuple[int, int] | None
"""Device and inode of a descriptor's file, which differ for another file of the same number; ``None`` if unknown."""


def identity_of(sock: Any) -> Identity:
    """Return the identity of the file that a socket's descriptor refers to now."""
    try:
        status = os.fstat(sock.fileno())
    except (OSError, ValueError, AttributeError):  # closed, or not a socket object of Python
        return None
    return status.st_dev, status.st_ino
