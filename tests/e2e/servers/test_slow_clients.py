"""A client that takes its reply too slowly holds neither the model, nor the server's thread, nor memory for long."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamkit.testing import Repeat, Reply, Request, Server, Wait, chunk_event, text_reply
from tests.e2e.servers.support import SOON, Held, get, gunicorn, left, raw_connection

pytest.importorskip("flask", reason="needs flask")
pytest.importorskip("gunicorn", reason="needs gunicorn")

MOST_MEGABYTES = 40  # by which a worker process may grow for a client that does not read; measured: 8
PIECE = chunk_event("x" * 10_000)


@pytest.fixture
def upstream() -> Iterator[Server]:
    """A model that never comes to an end, or, if asked for a burst, that is silent after 10 MB."""

    def answer(request: Request) -> Reply:
        question = request.json()["messages"][-1]["content"]
        return {
            "flood": Reply([Repeat(PIECE)]),
            "burst": Reply([Repeat(PIECE, 1000), Wait(None)]),
        }.get(question, text_reply("Hello there."))

    with Server(answer) as server:
        yield server


def ask(port: int, path: str) -> socket.socket:
    client = raw_connection(port, receive_buffer=4096)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


@pytest.mark.parametrize("worker", ["gthread", "sync", "gevent"])
def test_a_client_that_reads_nothing(worker: str, upstream: Server, tmp_path: Path) -> None:
    """A write that takes longer than `write_timeout` ends the reply: the model is let go, and so is the thread."""
    if worker == "gevent":
        pytest.importorskip("gevent", reason="needs gevent")
    options = {"threads": 2} if worker == "gthread" else {}
    with gunicorn(upstream, tmp_path, worker=worker, **options) as server:
        held, before = Held(server.port, upstream), left(server.port)
        with ask(server.port, "/stream/ui?ask=flood&write_timeout=0.5"):
            asked = upstream.wait_for_requests(2)[1]
            assert asked.gone.wait(SOON)
            held.check()
            assert left(server.port)["megabytes"] < before["megabytes"] + MOST_MEGABYTES
            assert (200, b"Hello there.") == get(server.port, "/stream/text")


def test_a_client_that_reads_a_byte_at_a_time(upstream: Server, tmp_path: Path) -> None:
    """Reading a little does not help: the bound is for the whole write."""
    with gunicorn(upstream, tmp_path, threads=2) as server:
        held = Held(server.port, upstream)
        with ask(server.port, "/stream/ui?ask=flood&write_timeout=1") as client:
            asked = upstream.wait_for_requests(2)[1]
            for _ in range(int(SOON / 0.05)):
                assert client.recv(1)
                if asked.gone.wait(0.05):
                    break
            assert asked.gone.is_set()
            held.check()


def test_a_client_whose_window_is_full_in_silence(upstream: Server, tmp_path: Path) -> None:
    """The kernel takes small writes for such a client, but not for long: `TCP_USER_TIMEOUT` ends the connection.

    A client that has vanished without a word, as a closed laptop does, is found out in the same way.
    """
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("this system has no TCP_USER_TIMEOUT")
    with gunicorn(upstream, tmp_path, threads=2) as server:
        held = Held(server.port, upstream)
        with ask(server.port, "/stream/events?ask=burst&write_timeout=1&heartbeat=0.1"):
            asked = upstream.wait_for_requests(2)[1]
            assert asked.gone.wait(SOON)
            held.check()


def test_many_slow_clients(upstream: Server, tmp_path: Path) -> None:
    """As many clients that read nothing as there are threads delay others, but do not shut them out."""
    with gunicorn(upstream, tmp_path, threads=4) as server:
        held = Held(server.port, upstream)
        clients = [ask(server.port, "/stream/ui?ask=flood&write_timeout=1") for _ in range(12)]
        try:
            assert (200, b"Hello there.") == get(server.port, "/stream/text")
            for asked in upstream.wait_for_requests(13)[1:13]:
                assert asked.gone.wait(SOON) or asked.json()["messages"][-1]["content"] != "flood"
            held.check()
        finally:
            for client in clients:
                client.close()


