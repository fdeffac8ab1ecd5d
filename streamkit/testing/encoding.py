"""How the body of a reply is encoded and framed."""

from __future__ import annotations

import zlib
from typing import Literal, Protocol

__all__ = ["Encoder", "Encoding", "Framing", "encoder_of"]

Framing = Literal["chunked", "close", "length"]
Encoding = Literal["gzip"]


class Encoder(Protocol):
    """Turns pieces of a body into bytes of the wire."""

    def encode(self, data: bytes) -> bytes:
        """Return the bytes that a piece becomes, flushed."""

    def finish(self) -> bytes:
        """Return the bytes that end the body."""


class _Identity:
    def encode(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class _Gzip:
    """Compresses, and flushes after each piece: a stream that waits for a full block would show nothing."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(wbits=31)  # 31: a gzip header and trailer, the largest window

    def encode(self, data: bytes) -> bytes:
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._deflate.flush(zlib.Z_FINISH)


def encoder_of(encoding: Encoding | None) -> Encoder:
    """Return a new encoder; ``None`` leaves the body as it is."""
    return _Gzip() if encoding == "gzip" else _Identity()
