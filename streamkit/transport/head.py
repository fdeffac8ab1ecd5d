"""Bounds on the head of a response: the number of interim responses, and the number and size of headers."""

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
    """The file from which ``http.client`` reads status lines and headers, but no body.

    It returns all headers of a response as if they were one line. ``http.client`` bounds the number of headers too, but
    counts the empty line after them, and does not bound their size or the number of responses.

    Owner of the fields: the thread that reads the response uses all of them.

    Args:
        file: the connection's bytes; the body is read from it directly.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._heads = 0  # status lines so far
        self._in_headers = False
        self._last_line = b""  # the empty line after the headers, until ``readline`` returns it

    def readline(self, limit: int) -> bytes:
        """Return the next line, or all headers at once.

        Args:
            limit: the most bytes of a status line to read.

        Raises:
            HeadTooLarge: the head exceeds a bound.
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
        """Return the headers and the empty line after them; that is b"" if the connection ended there."""
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
        """Do nothing; ``http.client`` calls it before closing."""

    def close(self) -> None:
        """Close the file."""
        self.file.close()
