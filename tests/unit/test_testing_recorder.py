"""The recorder between a client and a server passes on every request and every kind of end."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from streamkit.testing import Mark, Recorder, Reply, Server, Wait, cassette_replies, json_reply


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the cassette is."""
    return tmp_path / "tape.jsonl"


def ends(path: Path) -> list[str]:
    told = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [line["end"] for line in told if "end" in line]


def connected(url: str) -> socket.socket:
    """Return a connection to a server on this machine."""
    return socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30)


def exchange(url: str, sent: bytes) -> bytes:
    """Send bytes and return all that comes until the other end closes."""
    with connected(url) as sock:
        sock.sendall(sent)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def close_during_a_request(recorder: Recorder, server: Server) -> None:
    """Close the recorder once the server has a request, and see its client let go."""
    with connected(recorder.url) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        server.wait_for_requests(1)
        recorder.close()
        assert b"" == sock.recv(1)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "POST"])
def test_every_method_is_passed_on(method: str, path: Path) -> None:
    """The server sees the method and the body that the client sent."""
    with Server(json_reply({"ok": 1})) as server, Recorder(server.origin, path) as recorder:
        assert {"ok": 1} == requests.request(method, f"{recorder.url}/a/b?c=d", data=b"body", timeout=30).json()
        (request,) = server.requests
    assert (method, "/a/b?c=d", b"body") == (request.method, request.path, request.body)


def test_a_redirect_is_passed_on(path: Path) -> None:
    """It is the client that may follow it; its body comes as well, and keys in its address are not written."""
    key = "sk-secret/on=the+tape"
    reply = Reply(["over there"], status=307, headers={"Location": f"https://x.invalid/?key={quote(key)}&sig=abcdef"})
    with Server(reply) as server, Recorder(server.origin, path) as recorder:
        address, headers = f"{recorder.url}/{quote(key, safe='')}", {"Authorization": f"Token {key}"}
        response = requests.get(address, headers=headers, allow_redirects=False, timeout=30)
    assert (307, "over there") == (response.status_code, response.text)
    head = json.loads(path.read_text("utf-8").splitlines()[0])
    assert "https://x.invalid/?key=***&sig=***" == head["response"]["headers"]["location"]
    assert "/***" == head["request"]["target"]


def test_a_header_that_comes_twice(path: Path) -> None:
    """Both its values arrive."""
    with Server(json_reply({})) as server, Recorder(server.origin, path) as recorder:
        exchange(recorder.url, b"GET / HTTP/1.1\r\nX-Beta: a\r\nX-Beta: b\r\nConnection: close\r\n\r\n")
        assert "a, b" == server.requests[0].headers["x-beta"]


def test_a_chunked_request(path: Path) -> None:
    """A body in chunks arrives as a whole, and the connection goes on after it."""

    def body() -> Iterator[bytes]:
        yield b"one "
        yield b"two"

    with Server(json_reply({})) as server, Recorder(server.origin, path) as recorder, requests.Session() as session:
        session.post(recorder.url, data=body(), timeout=30)
        session.post(recorder.url, data=b"three", timeout=30)
        assert [b"one two", b"three"] == [request.body for request in server.requests]
    assert '"one two"' in path.read_text("utf-8")


def test_a_dead_proxy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error through a proxy names the proxy, without its password."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hush@127.0.0.1:1")
    with Recorder("https://far.invalid", path) as recorder:
        answer = requests.get(recorder.url, timeout=30)
    assert 502 == answer.status_code
    expected = "no answer from https://far.invalid through the proxy http://***@127.0.0.1:1: Connection refused"
    assert answer.json()["error"]["message"].endswith(expected)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", 413),
        (b"GET @example.com/ HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_what_cannot_be_passed_on(sent: bytes, status: int, path: Path) -> None:
    """A body that cannot be read, and a path that would change the host, are refused and go nowhere."""
    with Server(json_reply({})) as server, Recorder(server.origin, path) as recorder:
        answer = exchange(recorder.url, sent)
        assert [] == server.requests
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert "recorder_error" == json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_responses_without_a_body(method: str, status: int, path: Path) -> None:
    """They have no framing either, on the way or when they are played."""
    with Server(Reply(status=status, framing="length")) as server, Recorder(server.origin, path) as recorder:
        answers = [exchange(recorder.url, f"{method} / HTTP/1.1\r\nConnection: close\r\n\r\n".encode())]
    with Server(*cassette_replies(path)) as server:
        answers.append(exchange(server.origin, f"{method} / HTTP/1.1\r\nConnection: close\r\n\r\n".encode()))
    assert [(True, False, b"")] * 2 == [
        (answer.startswith(b"HTTP/1.1 %d " % status), b"ransfer-" in answer, answer.partition(b"\r\n\r\n")[2])
        for answer in answers
    ]


def test_a_client_of_http_1_0(path: Path) -> None:
    """It knows no chunks: the end of its connection is the end of the body."""
    with Server(Reply(["one ", "two"])) as server, Recorder(server.origin, path) as recorder:
        answer = exchange(recorder.url, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"one two" == answer.partition(b"\r\n\r\n")[2]


def test_close_cuts_what_is_on_its_way(path: Path) -> None:
    """A response without an end is cut for the client and on the tape, and the connection takes no request more."""
    begun = threading.Event()
    reply = Reply(["one", Mark(begun), Wait(None)])
    with Server(json_reply({}), reply) as server, requests.Session() as session:
        recorder = Recorder(server.origin, path)
        session.get(recorder.url, timeout=30)
        pieces = session.get(recorder.url, stream=True, timeout=30).iter_content(None)
        assert b"one" == next(pieces)
        assert begun.wait(30)
        recorder.close()
        recorder.close()
        with pytest.raises(requests.RequestException):
            next(pieces)
        with pytest.raises(requests.RequestException):
            session.get(recorder.url, timeout=30)
    assert ["complete", "cut"] == ends(path)


def test_close_cuts_what_has_not_begun(path: Path) -> None:
    """A server that has not answered yet is let go, as is the client that waits for it; that is no failure."""
    with Server(Reply(before_head=[Wait(None)])) as server:
        recorder = Recorder(server.origin, path)
        close_during_a_request(recorder, server)
        server.wait_for_open_connections(0)


def test_close_cuts_what_goes_through_a_proxy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection to a proxy is cut like one to the server."""
    with Server(Reply(before_head=[Wait(None)])) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        monkeypatch.setenv("http_proxy", proxy.origin)
        monkeypatch.setenv("no_proxy", "")
        recorder = Recorder("http://upstream.example", path)
        close_during_a_request(recorder, proxy)
        proxy.wait_for_open_connections(0)


def test_an_idle_connection_is_closed(path: Path) -> None:
    """A client that keeps its connection cannot go on with it after the recorder was closed."""
    with Server(json_reply({})) as server, Recorder(server.origin, path) as recorder:
        sock = connected(recorder.url)
        sock.sendall(b"HEAD / HTTP/1.1\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        recorder.close()
        with sock:
            assert b"" == sock.recv(1)
        assert 1 == len(server.requests)


@pytest.mark.parametrize(
    "upstream",
    ["notaurl", "ftp://host", "http://", "http://host:port", "https://somebody:sk-secret-word@host", "http://host?a=b"],
)
def test_what_is_no_upstream(upstream: str, path: Path) -> None:
    """It is rejected before anything else happens, without showing a password."""
    with pytest.raises(ValueError) as caught:
        Recorder(upstream, path)
    assert "secret" not in str(caught.value)
    assert not path.exists()


def test_a_cassette_that_cannot_be_written(path: Path) -> None:
    """If the file cannot be made after all, the client is told."""
    folder = path.parent / "gone"
    folder.mkdir()
    with Server(json_reply({})) as server, Recorder(server.origin, folder / "tape.jsonl") as recorder:
        folder.rmdir()
        response = requests.get(recorder.url, timeout=30)
    assert (502, True) == (response.status_code, "cannot write its cassette: No such file" in response.text)
