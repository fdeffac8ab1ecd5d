"""Plain requests, bounded in time and size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamkit import ConnectError, ProtocolError, StreamTimeout, TruncatedStreamError
from streamkit.testing import Cut, Reply, Server, Trickle, Wait, error_reply, json_reply
from streamkit.transport.fetch import Deadline, fetch
from streamkit.transport.http import Transport
from streamkit.wire import HttpRequest


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport()
    yield made
    made.close()


def get(url: str) -> HttpRequest:
    return HttpRequest(f"{url}/models", {}, b"", method="GET")


def test_head_and_body_come_back(transport: Transport) -> None:
    """Whatever the status, the head and all of the body are returned, over one connection."""
    with Server(json_reply({"a": 1}), error_reply(404)) as server:
        first = fetch(transport, get(server.url), Deadline(10))
        second = fetch(transport, get(server.url), Deadline(10))
        assert 1 == server.connections
    assert (200, b'{"a":1}', 404) == (first[0].status, first[1].replace(b" ", b""), second[0].status)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(before_head=[Wait(None)]),
        Reply(["[", Wait(None)], content_type="application/json"),
        Reply([Trickle(b"x" * 4000, 0.02)], content_type="application/json"),
    ],
    ids=["no answer", "half an answer", "trickles"],
)
def test_the_time_is_bounded(reply: Reply, transport: Transport) -> None:
    """A server that never comes to an end is given up, as a timeout, whatever it does."""
    with Server(reply) as server, pytest.raises(StreamTimeout, match=r"no answer within 0\.2 s") as caught:
        fetch(transport, get(server.url), Deadline(0.2))
    assert ("total", 0.2) == (caught.value.phase, caught.value.limit)


def test_the_size_is_bounded(transport: Transport) -> None:
    """A body beyond the bound is refused."""
    with Server(json_reply({"a": "x" * 5000})) as server, pytest.raises(ProtocolError, match="larger than 1000"):
        fetch(transport, get(server.url), Deadline(10), max_body=1000)


def test_connections_that_fail(transport: Transport) -> None:
    """Nobody there, or a body that is cut, is an error of ours."""
    with pytest.raises(ConnectError):
        fetch(transport, get("http://127.0.0.1:1"), Deadline(10))
    with Server(Reply(["[1", Cut()])) as server, pytest.raises(TruncatedStreamError):
        fetch(transport, get(server.url), Deadline(10))
