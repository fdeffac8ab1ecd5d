"""A connection that the kernel aborts is reported as that, not as an end or as a limit."""

from __future__ import annotations

import errno
import os
import select
import socket
from typing import Any

import pytest

from streamkit import BrokenStreamError, StreamError, TruncatedStreamError
from streamkit.testing import Cut, Reply, Reset, Server, Wait, chunk_event, text_reply
from streamkit.transport import connection
from tests.fault.conftest import Certificate
from tests.fault.support import client_of, nothing_left

HELLO = chunk_event("Hello", role="assistant")
GIVEN_UP = f"[Errno {errno.ETIMEDOUT}] {os.strerror(errno.ETIMEDOUT)}"


class DyingSocket(socket.socket):
    """A connected socket that the kernel gives up: once nothing comes any more, or at a write; then it says the end."""

    writes = 10**9  # that succeed
    dead = False

    def recv_into(self, *args: Any) -> int:
        if self.dead:
            return 0
        if not select.select([self], [], [], 0.2)[0]:
            self._die()
        return super().recv_into(*args)

    def sendall(self, *args: Any) -> None:
        if not self.writes:
            self._die()
        self.writes -= 1
        super().sendall(*args)

    def _die(self) -> None:
        self.dead = True
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


def dying(monkeypatch: pytest.MonkeyPatch, writes: int = 10**9) -> None:
    real = connection.connect

    def connect(*args: Any, **kwargs: Any) -> socket.socket:
        sock = real(*args, **kwargs)
        dead = DyingSocket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        dead.writes = writes
        return dead

    monkeypatch.setattr(connection, "connect", connect)


def failure_of(server: Server) -> StreamError:
    with nothing_left(), client_of(server) as client:
        with pytest.raises(StreamError) as caught:
            client.complete("openai/m", "Hi")
    return caught.value


@pytest.mark.parametrize("writes", [0, 1, 10])
def test_given_up_before_the_answer(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the request is sent, or in the wait for the head."""
    dying(monkeypatch, writes)
    with Server(Reply(before_head=[Wait(None)])) as server:
        error = failure_of(server)
    assert type(error) is BrokenStreamError
    assert f"closed the connection before it answered: {GIVEN_UP}; tried once" in str(error)


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/event-stream", HELLO),
        ("application/json", b'{"choices": ['),
        ("application/x-ndjson", b'{"choices": []}\n{"choi'),
    ],
)
@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_given_up_in_the_middle(
    framing: Any, content_type: str, body: Any, encoding: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reply is, and however its end would have been known."""
    dying(monkeypatch)
    with Server(Reply([body, Wait(None), body], content_type=content_type, framing=framing, encoding=encoding)) as far:
        error = failure_of(far)
    assert type(error) is BrokenStreamError
    assert f": {GIVEN_UP}" in str(error)


def test_a_reset_under_tls(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no end, as some versions of Python have it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    with Server(Reply([HELLO, Reset()], framing="close"), tls=certificate.context) as server:
        assert type(failure_of(server)) is BrokenStreamError


def test_an_end_under_tls(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A close without TLS's close_notify is a normal end."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    whole = text_reply("Hi")
    with Server(Reply(whole.steps, framing="close"), tls=certificate.context) as server, client_of(server) as client:
        assert client.complete("openai/m", "Hi").text == "Hi"
    with Server(Reply([HELLO, Cut()], framing="close"), tls=certificate.context) as server:
        assert type(failure_of(server)) is TruncatedStreamError
