"""Read the body of a request within bounds of size and time: ``read_body`` and ``discard_body``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from streamkit.errors import RequestError
from streamkit.web.client_sockets import socket_in
from streamkit.web.read_limit import reading_within

__all__ = ["discard_body", "read_body"]

_PIECE = 65536  # bytes
_DISCARDED = 64 * 1024 * 1024  # bytes, at most, of a body that nobody wants
_DISCARD_SECONDS = 5.0  # at most


def read_body(environ: Mapping[str, Any], *, most: int, seconds: float) -> bytes:
    """Return the body of a request.

    Args:
        environ: of the request.
        most: bytes.
        seconds: in which all of it has to come, where the server hands over the client's socket.

    Raises:
        RequestError: 413 where it is larger, 408 where it did not come in time, 400 where it is cut short.
    """
    declared = _length(environ)
    if declared is not None and declared > most:
        raise _too_large(most)
    read = environ["wsgi.input"].read
    pieces: list[bytes] = []
    size, failed = 0, False
    with reading_within(socket_in(environ), seconds) as reading:
        try:
            while declared is None or size < declared:
                data = read(_PIECE if declared is None else min(_PIECE, declared - size))
                if not data:
                    break
                size += len(data)
                if size > most:
                    raise _too_large(most)
                pieces.append(data)
        except RequestError:
            raise
        except Exception:  # servers have their own for a body that ends early, or is no body
            failed = True
    if reading.too_late:
        raise RequestError(f"the body did not arrive within {seconds:g} s", status=408, code="body_too_slow")
    if failed or (declared is not None and size < declared):
        raise RequestError("the body is cut short, or its framing is wrong", code="body_cut_short")
    return b"".join(pieces)


def discard_body(environ: Mapping[str, Any], *, seconds: float) -> None:
    """Read a body that is refused, so that its client reads why.

    A client that is still sending when the server hangs up finds a broken connection in place of the response. Both the
    size and the time of this are bounded: who sends more, or more slowly, finds just that.

    Args:
        environ: of the request.
        seconds: for a body; at most 5 are used.
    """
    try:
        declared = _length(environ)
    except RequestError:
        return
    if declared == 0 or (declared or 0) > _DISCARDED or environ.get("HTTP_EXPECT"):
        return  # who expects a word before the body reads the response at once
    read, size = environ["wsgi.input"].read, 0
    with reading_within(socket_in(environ), min(seconds, _DISCARD_SECONDS)), suppress(Exception):
        while size < (_DISCARDED if declared is None else declared):
            data = read(_PIECE if declared is None else min(_PIECE, declared - size))
            if not data:
                return
            size += len(data)


def _too_large(most: int) -> RequestError:
    return RequestError(f"the body has more than {most} bytes", status=413, code="body_too_large")


def _length(environ: Mapping[str, Any]) -> int | None:
    """Return the length that the client declares, ``None`` for a body in chunks.

    Raises:
        RequestError: it is no number.
    """
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return None
    text = environ.get("CONTENT_LENGTH") or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise RequestError("Content-Length is no number")
    return int(text)
