"""The relay under gunicorn's gthread workers: many browsers at once, and those that leave."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import streamkit
from streamkit.testing import Mark, Reply, Request, Server, Wait, WaitFor, chunk_event, error_reply, text_reply
from tests.unit.support import SOON

pytest.importorskip("flask", reason="needs flask")
pytest.importorskip("gunicorn", reason="needs gunicorn")

APP = """
import os
from flask import Flask, request
from streamkit import Client, Retry, providers
from streamkit.web.flask import stream_response

app = Flask(__name__)
client = Client([providers.OpenAI(api_key="k", base_url=os.environ["UPSTREAM"])], retry=Retry(attempts=1))


@app.get("/")
def chat():
    stream = client.stream("openai/m", request.args["q"])
    wait = float(request.args["wait"])
    return stream_response(stream, request.args.get("format", "events"), heartbeat=1000.0, wait=wait)
"""


@contextmanager
def gunicorn(folder: Path, upstream: str, threads: int) -> Iterator[int]:
    """Serve `APP` with one gthread worker on a port of its own."""
    (folder / "app.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        port = listening.getsockname()[1]
        listening.set_inheritable(True)
        command = [sys.executable, "-m", "gunicorn", "app:app", "--worker-class", "gthread", "--threads", str(threads)]
        command += ["--bind", f"fd://{listening.fileno()}", "--log-level", "error", "--timeout", "120"]
        path = os.pathsep.join([str(folder), str(Path(streamkit.__file__).parents[1])])
        environment = {**os.environ, "UPSTREAM": upstream, "PYTHONPATH": path}
        with subprocess.Popen(command, cwd=folder, env=environment, pass_fds=[listening.fileno()]) as server:
            try:
                yield port
            finally:
                server.terminate()
                server.wait(SOON)


def get(port: int, question: str, *, wait: float = 30.0, format: str = "events") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON)
    connection.request("GET", f"/?q={question}&wait={wait}&format={format}", headers={"Connection": "close"})
    return connection.getresponse()


def test_two_hundred_browsers(tmp_path: Path) -> None:
    """One worker process streams to two hundred browsers: all have their first chunk before any has its last."""
    everybody = threading.Barrier(200, timeout=SOON)
    more = threading.Event()

    def answer(request: Request) -> Reply:
        return Reply([chunk_event("One"), WaitFor(more), chunk_event("Two", finish_reason="stop")])

    found: list[bytes] = []

    def browse(port: int) -> None:
        response = get(port, "hi")
        first = response.read1(1000)
        if everybody.wait() == 0:
            more.set()
        found.append(first + response.read())

    with Server(answer) as server, gunicorn(tmp_path, server.url, 210) as port:
        browsers = [threading.Thread(target=browse, args=(port,)) for _ in range(200)]
        for browser in browsers:
            browser.start()
        for browser in browsers:
            browser.join(SOON)
    assert 200 == len(found)
    assert all(b'"One"' in body and b'"Two"' in body and b"event: done" in body for body in found)


def test_leaving_and_errors(tmp_path: Path) -> None:
    """A browser that leaves ends its upstream, also before the first token and in silence; a refusal is a status."""
    ready = {"early": threading.Event(), "silent": threading.Event()}

    def answer(request: Request) -> Reply:
        question = request.json()["messages"][-1]["content"]
        if question == "early":
            return Reply(before_head=[Mark(ready["early"]), Wait(None)])
        if question == "silent":
            return Reply([chunk_event("One"), Mark(ready["silent"]), Wait(None)])
        return error_reply(429) if question == "refused" else text_reply("Hello there.")

    with Server(answer) as server, gunicorn(tmp_path, server.url, 4) as port:
        for question in ("early", "silent"):
            with socket.create_connection(("127.0.0.1", port), timeout=SOON) as browser:
                browser.sendall(f"GET /?q={question}&wait=1000 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert ready[question].wait(SOON)
            assert server.requests[-1].gone.wait(SOON)
        response = get(port, "refused")
        assert (429, b"An error occurred.") == (response.status, response.read())
        assert b"event: done" in get(port, "hello").read()
        assert b"Hello there." == get(port, "hello", format="text").read()
