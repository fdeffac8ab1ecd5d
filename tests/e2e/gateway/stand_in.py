"""A small application in place of the gateway's, for tests of the processes that serve it.

It has what ``streamkit serve`` relies on: ``Gateway(config)``, the call, ``reload``, ``close``, ``demo_token``; and one
token. A reply that is asked for with ``"wait"`` sends a line every 20 ms until it is cancelled.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from streamkit.errors import StoreError

__all__ = ["FAILS", "TOKEN", "Gateway"]

TOKEN = "sk-" + "stand-in-" * 3
FAILS = "STAND_IN_FAILS"  # the path of a file: while it is there, no gateway can be made


class Gateway:
    """See the module."""

    def __init__(self, config: Any) -> None:
        if os.path.exists(os.environ.get(FAILS, "")):
            raise StoreError("the database does not answer")
        self.config = config
        self.stop = threading.Event()
        self.open = 0
        self.settled = 0
        self.begun = 0  # pieces that were given to the server
        self.lock = threading.Lock()

    def demo_token(self) -> str | None:
        return TOKEN if self.config.demo else None

    def reload(self, config: Any) -> None:
        if config.models[0].name == "refused":
            raise StoreError("the application refuses it")
        self.config = config

    def close(self) -> None:
        self.stop.set()
        deadline = time.monotonic() + 2
        while self.open and time.monotonic() < deadline:
            threading.Event().wait(0.005)
        self._log(f"closed {os.getpid()}: {self.settled} settled, {self.open} open")

    def _log(self, line: str) -> None:
        with open(os.environ["STAND_IN_LOG"], "a") as log:
            log.write(f"{line}\n")

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes] | list[bytes]:
        path = environ["PATH_INFO"]
        if path == "/healthz":
            names = [model.name for model in self.config.models]
            return self._json(start, {"pid": os.getpid(), "models": names, "open": self.open, "begun": self.begun})
        if path == "/fail":
            raise ValueError("a secret of the request")
        if environ.get("HTTP_AUTHORIZATION") != f"Bearer {TOKEN}":
            return self._json(start, {"error": {"message": "no token"}}, "401 Unauthorized")
        body = json.loads(environ["wsgi.input"].read())
        start("200 OK", [("Content-Type", "text/event-stream")])
        return self._stream(body)

    def _json(self, start: Callable[..., Any], value: Any, status: str = "200 OK") -> list[bytes]:
        data = json.dumps(value).encode()
        start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
        return [data]

    def _stream(self, body: dict[str, Any]) -> Iterator[bytes]:
        with self.lock:
            self.open += 1
        try:
            yield b"data: first\n\n"
            until = time.monotonic() + body["seconds"] if "seconds" in body else None
            while body.get("wait") and not self.stop.wait(0.02) and (until is None or time.monotonic() < until):
                self.begun += 1
                yield b"x" * body.get("bytes", 0) or b"data: more\n\n"
            yield b"data: cancelled\n\n" if self.stop.is_set() else b"data: [DONE]\n\n"
        finally:
            with self.lock:
                self.open -= 1
                self.settled += 1
            if self.stop.is_set():
                self._log("ended")
