"""The head of a response, read within bounds: how many interim responses and headers there may be, and how long."""

from __future__ import annotations

import http.client
from typing import BinaryIO

__all__ = ["Head", "HeadTooLarge"]

_MOST_INTERIM = 16  # responses with a status of 1xx before the answer
_MOST_HEADERS = 100  # lines of headers in one response; http.client's own number
_MOST_BYTES = 65536  # of headers in one response


class HeadTooLarge(http.client.HTTPException):
    """The head of a response is over one of its bounds."""


class Head:
    """A file that ``http.client`` reads status lines and headers from, and nothing else.

    The headers of a response come as if they were one line. ``http.client`` has a bound on their number too, but
    it counts the empty line after them, and it has no bound on their size or on the number of responses.

    Threads: the one that reads the response.

    Args:
        file: the bytes of the connection; after the head it is read directly.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._heads = 0  # status lines so far
        self._in_headers = False
        self._last_line = b""  # the empty line, while it is still to be given out

    def readline(self, limit: int) -> bytes:
        """Return the next line, or all headers at once.

        Args:
            limit: bytes of a status line that are read.

        Raises:
            HeadTooLarge: there is more than there may be.
        """
        if self._last_line:
            line, self._last_line, self._in_headers = self._last_line, b"", False
            return line
        if not self._in_headers:
            self._heads += 1
            if self._heads > _MOST_INTERIM + 1:
                raise HeadTooLarge(f"more than {_MOST_INTERIM} interim responses")
            self._in_headers = True
            return self.file.readline(limit)
        headers, last = self._read_headers()
        if headers:
            self._last_line = last
        else:
            self._in_headers = False
        return headers or last

    def _read_headers(self) -> tuple[bytes, bytes]:
        """Return the headers, and the empty line after them, which is b"" where the connection ended instead."""
        headers, count = b"", 0
        while True:
            line = self.file.readline(_MOST_BYTES + 2 - len(headers))  # room for the empty line
            if line in (b"\r\n", b"\n", b""):
                return headers, line
            headers += line
            count += 1
            if count > _MOST_HEADERS:
                raise HeadTooLarge(f"more than {_MOST_HEADERS} headers")
            if len(headers) > _MOST_BYTES:
                raise HeadTooLarge(f"more than {_MOST_BYTES} bytes of headers")

    def flush(self) -> None:
        """Do nothing: ``http.client`` calls it on closing."""

    def close(self) -> None:
        """Close the file."""
        self.file.close()
