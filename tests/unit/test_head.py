"""The bounds on the head of a response."""

from __future__ import annotations

import io

import pytest

from streamkit.transport.head import Head, HeadTooLarge

LIMIT = 65537


def lines(data: bytes, count: int) -> list[bytes]:
    head = Head(io.BytesIO(data))
    return [head.readline(LIMIT) for _ in range(count)]


def test_headers_come_as_one_line() -> None:
    """A status line, its headers as one, the empty line; and so again for the next response."""
    data = b"HTTP/1.1 103 Hints\r\nA: 1\r\nB: 2\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\nC: 3\n\nbody"
    assert [
        *(b"HTTP/1.1 103 Hints\r\n", b"A: 1\r\nB: 2\r\n", b"\r\n"),
        *(b"HTTP/1.1 100 Continue\r\n", b"\r\n"),
        *(b"HTTP/1.1 200 OK\n", b"C: 3\n", b"\n"),
    ] == lines(data, 8)


def test_the_file_is_left_at_the_body() -> None:
    """What follows the empty line is still in the file."""
    head = Head(io.BytesIO(b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\nbody"))
    for _ in range(3):
        head.readline(LIMIT)
    assert head.file.read() == b"body"


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nA: 1\r\nB"])
def test_an_end_too_early(data: bytes) -> None:
    """A connection that ends within a head gives the bytes so far, and then an end."""
    assert data == b"".join(lines(data, 3))


def test_as_many_as_there_may_be() -> None:
    """16 interim responses, 100 headers and 64 KiB of them pass."""
    hundred = b"".join(b"A%d: 1\r\n" % number for number in range(100))
    data = b"HTTP/1.1 102 P\r\nA: 1\r\n\r\n" * 16 + b"HTTP/1.1 200 OK\r\n" + hundred + b"\r\n"
    assert [b"HTTP/1.1 200 OK\r\n", hundred, b"\r\n"] == lines(data, 51)[-3:]
    assert 65536 == len(lines(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 65531 + b"\r\n\r\n", 2)[1])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"HTTP/1.1 102 P\r\n\r\n" * 17 + b"HTTP/1.1 200 OK\r\n\r\n", "more than 16 interim responses"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: 1\r\n" * 101 + b"\r\n", "more than 100 headers"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 65532 + b"\r\n\r\n", "more than 65536 bytes of headers"),
        (b"HTTP/1.1 200 OK\r\n" + (b"A: " + b"x" * 1000 + b"\r\n") * 66 + b"\r\n", "more than 65536 bytes of headers"),
        (b"HTTP/1.1 103 H\r\n" + b"A: 1\r\n" * 101, "more than 100 headers"),
    ],
)
def test_more_than_there_may_be(data: bytes, message: str) -> None:
    """One more of any is refused, without reading on."""
    with pytest.raises(HeadTooLarge, match=message):
        lines(data, 60)
