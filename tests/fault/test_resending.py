"""Which requests are sent again: one that the server may have acted on counts as a try."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

from streamkit import BrokenStreamError, Client, Retry, Timeout, providers
from streamkit.streaming import attempt
from streamkit.testing import DONE, Cut, Raw, Reply, Reset, Server, Step, Wait, chunk_event, text_reply
from tests.e2e.test_environment import Tunnel
from tests.fault.conftest import Certificate
from tests.fault.support import SOON, client_of

INTERIM = Raw(b"HTTP/1.1 102 Processing\r\n\r\n")
HALF = Raw(b"HTTP/1.1 20")
ACTED_ON: list[tuple[str, list[Step]]] = [
    ("FIN after a while", [Wait(0.4), Cut()]),
    ("RST after a while", [Wait(0.4), Reset()]),
    ("FIN after an interim response", [INTERIM, Wait(0.05), Cut()]),
    ("RST after an interim response", [INTERIM, Wait(0.05), Reset()]),
    ("FIN after half a status line", [HALF, Cut()]),
    ("RST after half a status line", [HALF, Wait(0.05), Reset()]),
]


@pytest.mark.parametrize("steps", [row[1] for row in ACTED_ON], ids=[row[0] for row in ACTED_ON])
def test_what_the_server_may_have_acted_on_counts(steps: list[Step]) -> None:
    """A pooled connection that ends after the server took its time, or said a word, is no dead one."""
    with Server(text_reply("One"), Reply(before_head=steps), text_reply("Two")) as server:
        with client_of(server, retry=1) as client:
            client.complete("openai/m", "Hi")
            stream = client.stream("openai/m", "Hi")
            with pytest.raises(BrokenStreamError):
                stream.collect()
            assert (1, 2, 1) == (stream.stats.attempts, len(server.requests), server.connections)


@pytest.mark.parametrize("steps", [row[1] for row in ACTED_ON], ids=[row[0] for row in ACTED_ON])
def test_it_is_tried_again_as_a_failure(steps: list[Step]) -> None:
    """With tries left, the failure is retried and counted."""
    with Server(text_reply("One"), Reply(before_head=steps), text_reply("Two")) as server:
        with client_of(server, retry=Retry(2, backoff=0.01)) as client:
            client.complete("openai/m", "Hi")
            stream = client.stream("openai/m", "Hi")
            assert stream.collect().text == "Two"
            assert (2, 3) == (stream.stats.attempts, len(server.requests))


@pytest.mark.parametrize(("seconds", "free"), [(60.0, True), (0.0, False)])
@pytest.mark.parametrize("end", [Cut(), Reset()])
def test_an_end_without_a_word(end: Step, seconds: float, free: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooled connection that ends at once, without a byte, was closed before: one more try is free."""
    monkeypatch.setattr(attempt, "_DEAD_SECONDS", seconds)
    with Server(text_reply("One"), Reply(before_head=[end]), text_reply("Two")) as server:
        with client_of(server, retry=1) as client:
            client.complete("openai/m", "Hi")
            stream = client.stream("openai/m", "Hi")
            if free:
                assert stream.collect().text == "Two"
            else:
                with pytest.raises(BrokenStreamError):
                    stream.collect()
            assert (1, 3 if free else 2) == (stream.stats.attempts, len(server.requests))


def test_one_try_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second end without a byte counts as a try, on any connection."""
    monkeypatch.setattr(attempt, "_DEAD_SECONDS", 60.0)
    with Server(text_reply("One"), Reply(before_head=[Cut()])) as server, client_of(server, retry=1) as client:
        client.complete("openai/m", "Hi")
        stream = client.stream("openai/m", "Hi")
        with pytest.raises(BrokenStreamError):
            stream.collect()
        assert (1, 3) == (stream.stats.attempts, len(server.requests))


BODY = chunk_event("Hi", role="assistant") + chunk_event(finish_reason="stop") + DONE
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
STRAY = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"


class RawServer:
    """Answers each request with the same bytes, and then what a test wants on its connection.

    Args:
        answer: the bytes of a whole response.
        after: called with the socket when the answer was sent.
        context: to speak TLS.
    """

    def __init__(
        self, answer: bytes, after: Callable[[socket.socket], object], context: ssl.SSLContext | None = None
    ) -> None:
        self.requests = self.connections = 0
        self.read, self.done = threading.Semaphore(0), threading.Semaphore(0)  # by the client; the rest by the server
        self._answer = answer
        self._after = after
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._open: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                self._open.append(sock)
                self._threads.append(threading.Thread(target=self._serve, args=(sock,)))
                self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError):
            if self._context:
                sock = self._context.wrap_socket(sock, server_side=True)
                self._open.append(sock)
            while self._read_request(sock):
                self.requests += 1
                sock.sendall(self._answer)
                if self.read.acquire(timeout=SOON):
                    self._after(sock)
                self.done.release()

    @staticmethod
    def _read_request(sock: socket.socket) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := sock.recv(65536)):
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(
            next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")).split()[1]
        )
        while len(body) < length:
            body += sock.recv(65536)
        return True

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(SOON)
            assert not thread.is_alive()


def end(sock: socket.socket) -> None:
    sock.close()


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    sock.close()


def say_more(sock: socket.socket) -> None:
    sock.sendall(STRAY)


def nothing(sock: socket.socket) -> None:
    pass


@pytest.fixture(params=["direct", "proxy"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Directly, or through a proxy: by CONNECT for TLS, by whole addresses otherwise."""
    if request.param == "direct":
        yield request.param
        return
    tunnel = Tunnel()
    monkeypatch.setenv("HTTP_PROXY", tunnel.url)
    monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
    yield request.param
    tunnel.close()


ENDS: Sequence[tuple[str, bytes, Callable[[socket.socket], object], int]] = [
    ("nothing", WHOLE, nothing, 1),
    ("nothing, chunked", CHUNKED, nothing, 1),
    ("FIN", WHOLE, end, 2),
    ("FIN, chunked", CHUNKED, end, 2),
    ("RST", WHOLE, reset, 2),
    ("stray bytes later", WHOLE, say_more, 2),
    ("stray bytes later, chunked", CHUNKED, say_more, 2),
    ("stray bytes at once", WHOLE + STRAY, nothing, 2),
    ("stray bytes at once, chunked", CHUNKED + STRAY, nothing, 2),
]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(("answer", "after", "connections"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
def test_an_idle_connection_is_looked_at_before_it_is_used(
    answer: bytes,
    after: Callable[[socket.socket], object],
    connections: int,
    tls: bool,
    route: str,
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pooled connection that has ended, or has unexpected bytes, is dropped before anything is sent on it."""
    monkeypatch.setattr(attempt, "_DEAD_SECONDS", 0.0)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    with RawServer(answer, after, certificate.context if tls else None) as server:
        provider = providers.OpenAI(api_key="k", base_url=server.url)
        with Client([provider], retry=1, timeout=Timeout(connect=SOON, first=SOON, idle=SOON)) as client:
            for _ in range(2):
                stream = client.stream("openai/m", "Hi")
                assert stream.collect().text == "Hi"
                assert stream.stats.attempts == 1
                stream.close()
                server.read.release()
                assert server.done.acquire(timeout=SOON)
                if connections == 2:  # the proxy takes a moment to pass it on
                    wait_until(lambda: not any(connection.is_connected for connection in pooled(client)))
        assert (2, connections) == (server.requests, server.connections)


def pooled(client: Client) -> list[Any]:
    """Return the idle connections."""
    pools = client._transport._adapter().pools()
    return [connection for pool in pools for _, connection in pool.pool._idle]


def wait_until(true: Callable[[], bool]) -> None:
    """Poll a condition that no event signals, for a bounded time."""
    deadline, never = time.monotonic() + SOON, threading.Event()
    while not true():
        assert time.monotonic() < deadline
        never.wait(0.005)


OLD = [
    ("1.0", b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + BODY, end, 2),
    ("1.0 with a length", WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"), end, 2),
    ("1.0 that stays", WHOLE.replace(b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK\r\nConnection: keep-alive"), nothing, 1),
    ("1.1 that closes", WHOLE.replace(b"200 OK", b"200 OK\r\nConnection: close"), end, 2),
]


@pytest.mark.parametrize(("answer", "after", "connections"), [row[1:] for row in OLD], ids=[row[0] for row in OLD])
def test_a_connection_lives_as_long_as_its_server_says(
    answer: bytes, after: Callable[[socket.socket], object], connections: int
) -> None:
    """HTTP/1.0 ends a connection unless it says otherwise, 1.1 keeps it unless it says otherwise."""
    with RawServer(answer, after) as server:
        provider = providers.OpenAI(api_key="k", base_url=server.url)
        with Client([provider], retry=1, timeout=Timeout(connect=SOON, first=SOON, idle=SOON)) as client:
            for _ in range(2):
                server.read.release()
                assert client.complete("openai/m", "Hi").text == "Hi"
                assert server.done.acquire(timeout=SOON)
        assert (2, connections) == (server.requests, server.connections)
