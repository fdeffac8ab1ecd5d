"""A client that takes its reply too slowly holds neither the model, nor the server's thread, nor memory for long."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamkit.testing import DONE, Repeat, Reply, Request, Server, Wait, chunk_event, text_reply
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
            "long": Reply([Repeat(PIECE, 1000), chunk_event(finish_reason="stop") + DONE]),
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
    """The kernel takes small writes for such a client, but not for long: `TCP_USER_TIMEOUT` ends the connection."""
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("this system has no TCP_USER_TIMEOUT")
    with gunicorn(upstream, tmp_path, threads=2) as server:
        held = Held(server.port, upstream)
        with ask(server.port, "/stream/events?ask=burst&write_timeout=1&heartbeat=0.1"):
            asked = upstream.wait_for_requests(2)[1]
            assert asked.gone.wait(SOON)
            held.check()


@pytest.mark.slow
def test_the_chat(upstream: Server, tmp_path: Path) -> None:
    """The chat's reply comes to its end without such a client, whose thread is free after the default of 30 s."""
    body = json.dumps(
        {"id": "c1", "messages": [{"id": "u", "role": "user", "parts": [{"type": "text", "text": "long"}]}]}
    )
    with gunicorn(upstream, tmp_path, threads=2) as server:
        held = Held(server.port, upstream)
        with raw_connection(server.port, receive_buffer=4096) as client:
            head = f"Host: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            client.sendall(f"POST /blueprint/api/chat HTTP/1.1\r\n{head}\r\n\r\n{body}".encode())
            upstream.wait_for_requests(2)
            held.check()
            _, whole = get(server.port, "/blueprint/api/chat/c1", Connection="close")
            assert ("ready", True) == (json.loads(whole)["status"], b"x" * 10_000_000 in whole)
        log = server.text()
        assert "Socket error processing request" in log
        assert "TimeoutError" in log


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


VANISHING = """
import socket, sys
client = socket.create_connection((sys.argv[1], int(sys.argv[2])))
client.sendall(b"GET /stream/events?ask=quiet&heartbeat=0.2&write_timeout=1 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
while b"One" not in client.recv(65536): pass
print("read", flush=True)
sys.stdin.read()
"""


@contextmanager
def other_machine() -> Iterator[tuple[str, str]]:
    """A network namespace with a cable of its own, and the address that it can reach us by."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("a network namespace needs root and the command ip")
    name, number = f"streamkit{os.getpid()}", os.getpid() % 250
    ours, theirs = f"10.213.{number}.1", f"10.213.{number}.2"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        pytest.skip("this system makes no network namespace")
    try:
        for command in (
            f"link add sk{number}a type veth peer name sk{number}b netns {name}",
            f"addr add {ours}/30 dev sk{number}a",
            f"link set sk{number}a up",
            f"-n {name} addr add {theirs}/30 dev sk{number}b",
            f"-n {name} link set sk{number}b up",
        ):
            subprocess.run(["ip", *command.split()], check=True, capture_output=True, timeout=SOON)
        yield name, ours
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True, capture_output=True, timeout=SOON)


def test_a_client_that_vanishes(tmp_path: Path) -> None:
    """A machine that is gone without a word, as a closed laptop is, is found out within `write_timeout` and a
    heartbeat, and not after the quarter of an hour for which the kernel would send again."""
    with Server(text_reply("First."), Reply([chunk_event("One"), Wait(None)])) as model:
        with other_machine() as (machine, address), gunicorn(model, tmp_path, address=address) as server:
            command = ["ip", "netns", "exec", machine, sys.executable, "-c", VANISHING, address, str(server.port)]
            get(server.port, "/stream/text", host=address)
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
                assert client.stdout is not None
                assert b"read\n" == client.stdout.readline()
                cut = f"ip -n {machine} link set sk{os.getpid() % 250}b down"
                subprocess.run(cut.split(), check=True, capture_output=True, timeout=SOON)
                assert model.requests[1].gone.wait(SOON)
                client.kill()
