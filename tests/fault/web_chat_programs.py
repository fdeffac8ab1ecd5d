"""A chat in gunicorn, with SQLite and Redis, for the tests that end its workers."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from streamkit import Client, RedisLog, Retry, SQLStore, providers
from streamkit.testing import Server

__all__ = ["Gunicorn", "app", "pid_of_reply"]

ROOT = Path(__file__).parents[2]
LEASE = 1.5  # seconds
_READY_SECONDS = 60.0


def app() -> Any:
    """Return the app of a worker."""
    import flask

    from streamkit.web.flask import chat_blueprint

    given = json.loads(os.environ["STREAMKIT_TEST_CHAT"])
    client = Client([providers.OpenAI(api_key="k", base_url=given["model"])], retry=Retry(attempts=1))
    log, store = RedisLog(given["redis"], lease=LEASE), SQLStore(given["store"])
    made = flask.Flask("chat")
    made.register_blueprint(chat_blueprint(client, model="openai/m", store=store, log=log))
    made.add_url_rule("/pid", "pid", lambda: str(os.getpid()))
    return made


class Gunicorn:
    """A chat in gunicorn, on a port of the loopback; a context manager."""

    def __init__(self, model: Server, redis: str, store: str, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        given = json.dumps({"model": model.url, "redis": redis, "store": store})
        address = ["--bind", f"127.0.0.1:{self.port}", "--worker-class", "gthread", "--threads", "8"]
        command = [sys.executable, "-m", "gunicorn", *address, *options, "tests.fault.web_chat_programs:app()"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "STREAMKIT_TEST_CHAT": given}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.DEVNULL)

    def __enter__(self) -> Gunicorn:
        until = time.monotonic() + _READY_SECONDS
        while True:
            try:
                self.request("GET", "/pid").read()
                return self
            except OSError:
                assert self.process.poll() is None
                assert time.monotonic() < until
                threading.Event().wait(0.05)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(_READY_SECONDS)
        finally:
            self.process.kill()

    def request(self, method: str, path: str, body: Any = None) -> http.client.HTTPResponse:
        """Send a request, and return the response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_READY_SECONDS)
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", "Connection": "close"})
        return connection.getresponse()

    def ask(self, text: str, message_id: str, *, until: bytes = b"") -> http.client.HTTPResponse:
        """Ask in the chat ``c``, and read until the reply has certain bytes."""
        message = {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}
        response = self.request("POST", "/api/chat", {"id": "c", "messages": [message]})
        seen = b""
        while until not in seen:
            more = response.read1()
            assert more, seen
            seen += more
        return response

    def history(self) -> dict[str, Any]:
        """Return what is kept of the chat ``c``."""
        shape: dict[str, Any] = json.loads(self.request("GET", "/api/chat/c").read())
        return shape


def pid_of_reply(store: str) -> int:
    """Return the process that is in the middle of the last turn of the chat ``c``."""
    state = SQLStore(store).load("c")
    assert state is not None
    owner = state.turns[-1].owner
    assert owner is not None
    return owner.pid
