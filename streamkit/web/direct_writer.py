"""Write a reply to its client in the thread that reads it: ``DirectWriter``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from streamkit.errors import ChannelClosed
from streamkit.values.chunks import Chunk
from streamkit.web.formats import Format

__all__ = ["DirectWriter"]


class DirectWriter:
    """Writes chunks, whoever calls: the thread that reads the stream, and that of the request, which has the rest.

    Owner of the fields: ``_lock`` guards all of them, and is held during a write, so that none is torn.

    Args:
        write: sends bytes to the client, and raises if it has left.
        format: encodes the chunks.
        most: how many bytes of what was written are kept.

    Attributes:
        written: what was written, as far as it is kept.

    Threads: any.
    """

    def __init__(self, write: Callable[[bytes], object], format: Format, most: int = 0) -> None:
        self._lock = threading.Lock()
        self._send = write
        self._encode = format.encode
        self._most = most or -1
        self._closed = False
        self._written_at = time.monotonic()
        self.written = bytearray()

    def __call__(self, chunks: Sequence[Chunk]) -> None:
        """Write chunks.

        Raises:
            ChannelClosed: the client has left.
        """
        with self._lock:
            encode = self._encode
            self._write_locked(encode(chunks[0]) if len(chunks) == 1 else b"".join(map(encode, chunks)))

    def write(self, data: bytes) -> None:
        """Write bytes.

        Raises:
            ChannelClosed: the client has left.
        """
        with self._lock:
            self._write_locked(data)

    def _write_locked(self, data: bytes) -> None:
        if self._closed:
            raise ChannelClosed("the client has left")
        if not data:
            return
        if self._most >= len(self.written):  # one write more says that it was too much
            self.written += data
        try:
            self._send(data)
        except Exception as error:  # whatever the server raises for a client that has left, or takes nothing
            self._closed = True
            raise ChannelClosed("the client has left") from error
        self._written_at = time.monotonic()

    @property
    def silence(self) -> float:
        """Seconds since the last write."""
        return time.monotonic() - self._written_at

    def close(self) -> None:
        """Write nothing any more; waits for a write that is under way, which the server's time limit bounds."""
        with self._lock:
            self._closed = True
