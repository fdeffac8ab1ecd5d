"""Requests that are too large, wrong or slow: each is answered with a 4xx or waits for a bounded time, others are
served, and nothing crashes."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from streamkit.testing import Server, text_reply
from tests.e2e.servers.support import DEPLOYMENT, Browser, Held, get, gunicorn, left, nginx, raw_connection

pytest.importorskip("flask", reason="needs flask")
pytest.importorskip("gunicorn", reason="needs gunicorn")

ROUTES = {"a route of one's own": "/api/chat", "the blueprint": "/blueprint/api/chat"}
MOST_MEGABYTES = 300  # by which a worker process may grow for a body of 100 MB; Flask reads it, and copies it once


@pytest.fixture
def upstream() -> Iterator[Server]:
    """A model that answers."""
    with Server(text_reply("Hello there.")) as server:
        yield server


@pytest.fixture(params=ROUTES)
def path(request: pytest.FixtureRequest) -> str:
    """A route that takes what useChat sends."""
    return ROUTES[str(request.param)]


def user(text: Any = "Hi", **more: Any) -> dict[str, Any]:
    return {"id": "u1", "role": "user", "parts": [{"type": "text", "text": text}], **more}


def body(messages: Any = None, **more: Any) -> bytes:
    shape = {"id": "c1", "messages": [user()] if messages is None else messages, "trigger": "submit-message", **more}
    return json.dumps(shape).encode()


def deep(levels: int) -> bytes:
    nested = b"[" * levels + b"]" * levels
    return body()[:-1] + b', "x": ' + nested + b"}"


def alternating(count: int) -> list[dict[str, Any]]:
    assistant = {"role": "assistant", "parts": [{"type": "text", "text": "Yes."}]}
    return [user() if at % 2 == 0 else {"id": f"a{at}", **assistant} for at in range(count)]


WRONG: dict[str, Callable[[], bytes]] = {
    "no body": lambda: b"",
    "no JSON": lambda: b"{",
    "no UTF-8": lambda: b'{"id": "\xff"}',
    "no object": lambda: b"[]",
    "null": lambda: b"null",
    "no messages": lambda: b"{}",
    "messages that are a text": lambda: body("Hi"),
    "messages that are numbers": lambda: body([1, 2]),
    "no message": lambda: body([]),
    "a part that is a list": lambda: body([{"id": "u", "role": "user", "parts": [[]]}]),
    "parts that are a number": lambda: body([{"id": "u", "role": "user", "parts": 7}]),
    "a text that is an object": lambda: body([user({"a": 1})]),
    "a role that is unknown": lambda: body([user(role="root")]),
    "an id that is a list": lambda: body(id=["c"]),
    "an id that is long": lambda: body(id="c" * 10_000),
    "a trigger that is unknown": lambda: body(trigger="explode"),
    "10,000 messages": lambda: body(alternating(10_001)),
    "100,000 levels": lambda: deep(100_000),
    "200 levels": lambda: deep(200),
    "a text of 2 MB": lambda: body([user("x" * 2_000_000)]),
    "NaN": lambda: body()[:-1] + b', "x": NaN}',
    "a long number": lambda: body()[:-1] + b', "x": ' + b"9" * 10_000 + b"}",
}
TAKEN = {"NaN", "a long number"}  # by JSON's own rules or by kindness; what counts is that nothing crashes


def test_wrong_bodies(path: str, upstream: Server, tmp_path: Path) -> None:
    """Each wrong body is answered with a 4xx that says what is wrong in plain text, and never asks the model."""
    with gunicorn(upstream, tmp_path) as server:
        held = Held(server.port, upstream)
        asked = len(upstream.requests)
        for name, make in WRONG.items():
            status, reason = get(server.port, path, make(), Connection="close")
            if name not in TAKEN:
                assert (400 <= status < 500, True) == (True, len(reason) < 500), (name, status, reason[:500])
                assert reason, name
                assert b"<" not in reason, name
                assert asked == len(upstream.requests), name
            assert status != 500, name
            asked = len(upstream.requests)
        assert b"Hello" in get(server.port, path, body(), Connection="close")[1]
        held.check()
        assert "Traceback" not in server.text()


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_a_body_of_100_mb(framing: str, path: str, upstream: Server, tmp_path: Path) -> None:
    """It is refused, with bounded memory, however it is sent; and others are served meanwhile."""
    with gunicorn(upstream, tmp_path) as server:
        before = left(server.port)["megabytes"]
        status = send_large(server.port, path, framing)
        assert status in (413, None)  # None where the server closed before all was sent, and the reset came first
        assert left(server.port)["megabytes"] < before + MOST_MEGABYTES
        assert b"Hello" in get(server.port, path, body(), Connection="close")[1]
        assert "Traceback" not in server.text()


def send_large(port: int, path: str, framing: str) -> int | None:
    """Send 100 MB, and return the status; ``None`` where the connection was reset before it came."""
    piece = b"x" * 1_000_000
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    with raw_connection(port) as client:
        try:
            if framing == "chunked":
                client.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
                for _ in range(100):
                    client.sendall(b"%X\r\n%s\r\n" % (len(piece), piece))
                client.sendall(b"0\r\n\r\n")
            else:
                client.sendall(head.encode() + b"Content-Length: 100000000\r\n\r\n")
                for _ in range(100):
                    client.sendall(piece)
        except ConnectionError:
            pass  # it has answered already, and reads no more
        try:
            answer = client.recv(4096)
        except ConnectionError:
            return None
    return int(answer.split(b" ", 2)[1]) if answer else None


def slow_bodies(stack: ExitStack, port: int, path: str, count: int) -> list[socket.socket]:
    """Begin requests whose bodies come a byte at a time."""
    clients = [stack.enter_context(raw_connection(port)) for _ in range(count)]
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    head += "Content-Length: 1000\r\n\r\n"
    for client in clients:
        client.sendall(head.encode() + b"{")
    return clients


def test_a_body_that_comes_byte_by_byte(path: str, upstream: Server, tmp_path: Path) -> None:
    """It holds one thread, and others are served; when it ends before it is whole, the thread is free again."""
    with gunicorn(upstream, tmp_path, threads=4) as server, ExitStack() as stack:
        held = Held(server.port, upstream)
        clients = slow_bodies(stack, server.port, path, 3)
        for _ in range(5):
            for client in clients:
                client.sendall(b" ")
            assert b"Hello" in get(server.port, path, body(), Connection="close")[1]
        stack.close()
        held.check()


def test_slow_bodies_behind_nginx(path: str, upstream: Server, tmp_path: Path) -> None:
    """nginx collects a body before it takes a thread: many more slow clients than threads shut nobody out."""
    site = (DEPLOYMENT / "nginx.conf").read_text().replace("limit_conn streams 20", "limit_conn streams 1000")
    with gunicorn(upstream, tmp_path, threads=2) as server, ExitStack() as stack:
        port = stack.enter_context(nginx(server.port, tmp_path / "nginx", site))
        clients = slow_bodies(stack, port, path, 50)
        for _ in range(3):
            for client in clients:
                client.sendall(b" ")
            assert b"Hello" in get(port, path, body())[1]


def test_a_body_that_is_too_large_for_nginx(path: str, upstream: Server, tmp_path: Path) -> None:
    """nginx refuses a body by its length, before it has read it."""
    with gunicorn(upstream, tmp_path) as server, nginx(server.port, tmp_path / "nginx", SITE) as port:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n"
        with raw_connection(port) as client:
            client.sendall(head.encode())
            assert client.recv(4096).startswith(b"HTTP/1.1 413")


def test_500_silent_connections_behind_nginx(upstream: Server, tmp_path: Path) -> None:
    """Connections that send nothing cost nginx some memory, and gunicorn nothing."""
    with gunicorn(upstream, tmp_path, threads=2) as server, ExitStack() as stack:
        port = stack.enter_context(nginx(server.port, tmp_path / "nginx", SITE))
        for _ in range(500):
            stack.enter_context(raw_connection(port))
        for _ in range(3):
            assert (200, b"Hello there.") == get(port, "/stream/text")


def test_silent_connections_without_nginx(upstream: Server, tmp_path: Path) -> None:
    """gunicorn's gthread worker gives each of them a thread for five seconds, so others wait for a bounded time."""
    with gunicorn(upstream, tmp_path, threads=8) as server, ExitStack() as stack:
        held = Held(server.port, upstream)
        for _ in range(12):
            stack.enter_context(raw_connection(server.port))
        with Browser(server.port, "/stream/text") as browser:
            browser.connection.sock.settimeout(60.0)
            assert 200 == browser.head().status
            assert b"Hello there." == browser.read()
        stack.close()
        held.check()


def test_limits_of_one_address(upstream: Server, tmp_path: Path) -> None:
    """The example's nginx lets one address hold twenty requests at once, and refuses more with 503."""
    from streamkit.testing import Reply, Wait

    with Server(Reply(before_head=[Wait(None)])) as silent, gunicorn(silent, tmp_path, threads=32) as server:
        with nginx(server.port, tmp_path / "nginx", SITE) as port, ExitStack() as stack:
            for number in range(1, 21):
                stack.enter_context(Browser(port, "/stream/events?heartbeat=1000&wait=1000"))
                silent.wait_for_requests(number)
            assert 503 == get(port, "/stream/events")[0]


SITE = (DEPLOYMENT / "nginx.conf").read_text()
