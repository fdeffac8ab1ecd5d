"""A Redis of the tests' own: Debian's, on a socket in a temporary folder, and on no port."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from streamkit import RedisLog

__all__ = ["RedisServer", "make_log", "redis_server"]

_READY_SECONDS = 60.0


class RedisServer:
    """A server that can be killed and started again.

    Args:
        persistent: whether it writes each command to its disk before it answers.
        address: an address of IP, if it is to listen there too.
        port: of that address.
        within: the beginning of its command, such as one that runs it in a network namespace.
    """

    def __init__(
        self, persistent: bool = False, address: str = "", port: int = 6379, within: Sequence[str] = ()
    ) -> None:
        self.folder = tempfile.mkdtemp(prefix="streamkit-redis-", dir="/tmp")  # a socket's path may have 107 characters
        self.url = f"unix://{self.folder}/s"
        self._persistent = persistent
        self._within = within
        self._listen = (
            ["--port", str(port), "--bind", address, "--protected-mode", "no"] if address else ["--port", "0"]
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        saved = ["--appendonly", "yes", "--appendfsync", "always"] if self._persistent else ["--appendonly", "no"]
        place = [*self._listen, "--unixsocket", f"{self.folder}/s", "--dir", self.folder, "--save", ""]
        with Path(self.folder, "log").open("ab") as out:
            command = [*self._within, "redis-server", *place, *saved, "--maxclients", "4000"]
            self._process = subprocess.Popen(command, stdout=out, stderr=out)
        deadline = time.monotonic() + _READY_SECONDS
        while not self._answers():
            assert self._process.poll() is None, Path(self.folder, "log").read_text("utf-8", "replace")
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(f"{self.folder}/s")
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith(b"+PONG")
            except OSError:
                return False

    def kill(self) -> None:
        """Kill it as the kernel would, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_READY_SECONDS)
            self._process = None

    def send(self, number: int) -> None:
        """Send it a signal, such as SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(number)

    def remove(self) -> None:
        """Kill it, and delete its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def redis_server() -> Iterator[Callable[..., RedisServer]]:
    """Start servers that are removed after the test."""
    pytest.importorskip("redis")
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    with ExitStack() as stack:

        def start(**options: Any) -> RedisServer:
            server = RedisServer(**options)
            stack.callback(server.remove)
            server.start()
            return server

        yield start


@pytest.fixture
def make_log() -> Iterator[Callable[..., RedisLog]]:
    """Make logs that are closed after the test."""
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(closing(RedisLog(*args, **options)))
