"""Start real servers on free ports, and read from them as a browser does."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import streamkit
from streamkit.testing import Server

SOON = 60.0  # seconds; the longest that any test waits for what takes milliseconds, on a machine however busy
SLACK = 4  # descriptors; of connections of this test that the server closes a moment later, and of first uses
ROOT = Path(__file__).parents[3]
DEPLOYMENT = ROOT / "examples" / "deployment"
PACKAGE_ROOT = Path(streamkit.__file__).parents[1]


def environment(upstream: str, **more: str) -> dict[str, str]:
    """Return the variables of a server's process, in which warnings of our own code are errors."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "STREAMKIT_DATA") if name in os.environ}
    return {**kept, "PYTHONPATH": f"{ROOT}:{PACKAGE_ROOT}", "UPSTREAM": upstream, "PYTHONUNBUFFERED": "1", **more}


class Process:
    """A server in a process of its own, whose output is kept in a file."""

    def __init__(self, command: list[str], log: Path, **options: Any) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=log.parent, **options
            )

    def wait_for_end(self, seconds: float = SOON) -> int:
        """Return the exit code."""
        return self.process.wait(seconds)

    def text(self) -> str:
        """Return the output so far."""
        return self.log.read_text("utf-8", "replace")

    def stop(self) -> None:
        """Stop it in order, and by force where that takes too long."""
        self.process.terminate()
        try:
            self.process.wait(SOON)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(SOON)


class Gunicorn(Process):
    """A gunicorn with one worker process.

    It is given a socket that listens already, so that nobody has to wait until it is ready.
    """

    def __init__(
        self,
        upstream: Server | str,
        folder: Path,
        *options: str,
        app: str = "tests.e2e.servers.app:app",
        worker: str = "gthread",
        threads: int | None = 8,  # None: as a file of settings says
        stop_after: int = 10,
        address: str = "127.0.0.1",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        pytest.importorskip("gunicorn", reason="needs gunicorn")
        with socket.create_server((address, 0), backlog=1024) as listener:
            self.port: int = listener.getsockname()[1]
            number = listener.fileno()
            command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{number}", "--no-control-socket"]
            if threads is not None:
                command += ["--worker-class", worker, "--graceful-timeout", str(stop_after)]
                command += ["--threads", str(threads)] if worker == "gthread" else []
            command += [*options, app]
            url = upstream if isinstance(upstream, str) else upstream.url
            super().__init__(
                command,
                folder / "gunicorn.log",
                env=environment(url, **(variables or {})),
                pass_fds=[number],
            )


@contextmanager
def gunicorn(upstream: Server | str, folder: Path, *options: str, **more: Any) -> Iterator[Gunicorn]:
    """Run gunicorn for the block; show its output if the block fails."""
    server = Gunicorn(upstream, folder, *options, **more)
    try:
        yield server
    except BaseException:
        print(server.text()[-4000:])
        raise
    finally:
        server.stop()


def nginx_command() -> str:
    """Return the path of nginx, or skip the test."""
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if found is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    return found


_MAIN = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {before}
    include {folder}/site.conf;
}}
"""

#: The least that one writes, with the default buffering.
PLAIN_SITE = """
server {
    listen 80;
    location / { proxy_pass http://127.0.0.1:8000; }
}
"""


@contextmanager
def nginx(port: int, folder: Path, site: str = PLAIN_SITE, before: str = "") -> Iterator[int]:
    """Run nginx in front of a server for the block, and return the port that it listens on.

    Args:
        port: of the server behind it.
        folder: for its files.
        site: the configuration of a server, which names the ports 80 and 127.0.0.1:8000.
        before: what stands before it.
    """
    command = nginx_command()
    folder.mkdir(exist_ok=True)
    ours = free_port()
    text = site.replace("127.0.0.1:8000", f"127.0.0.1:{port}").replace("listen 80", f"listen 127.0.0.1:{ours}")
    assert f":{port}" in text
    assert f":{ours}" in text
    (folder / "site.conf").write_text(text)
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, before=before))
    server = Process([command, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"], folder / "nginx.log")
    try:
        wait_until_listening(ours, server)
        yield ours
    except BaseException:
        print(server.text()[-4000:], (folder / "error.log").read_text()[-4000:])
        raise
    finally:
        server.stop()


@contextmanager
def haproxy(port: int, folder: Path, without: str = "-") -> Iterator[int]:
    """Run HAProxy with the configuration of the examples in front of a server, and return the port that it listens on.

    Args:
        port: of the server behind it.
        folder: for its files.
        without: lines with these words are left out.
    """
    command = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")
    if command is None:
        pytest.skip("HAProxy is not installed: apt-get install haproxy")
    folder.mkdir(exist_ok=True)
    ours = free_port()
    text = (DEPLOYMENT / "haproxy.cfg").read_text()
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{port}").replace("bind :80", f"bind 127.0.0.1:{ours}")
    assert f":{port}" in text
    assert f":{ours}" in text
    kept = [line for line in text.splitlines(keepends=True) if without not in line]
    (folder / "haproxy.cfg").write_text("".join(kept))
    server = Process([command, "-db", "-f", f"{folder}/haproxy.cfg"], folder / "haproxy.log")
    try:
        wait_until_listening(ours, server)
        yield ours
    except BaseException:
        print(server.text()[-4000:])
        raise
    finally:
        server.stop()


def free_port() -> int:
    """Return a port that was free a moment ago, for servers that cannot be given a socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_until_listening(port: int, server: Process) -> None:
    """Wait until somebody listens on a port."""
    deadline, never = time.monotonic() + SOON, threading.Event()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=SOON).close()
            return
        except ConnectionRefusedError:
            assert server.process.poll() is None, server.text()
            assert time.monotonic() < deadline, server.text()
            never.wait(0.01)


class Browser:
    """One connection and one response, read as it arrives."""

    def __init__(
        self,
        port: int,
        path: str = "/stream/events",
        body: bytes | None = None,
        *,
        host: str = "127.0.0.1",
        **headers: str,
    ) -> None:
        self.connection = http.client.HTTPConnection(host, port, timeout=SOON)
        sent = {"Content-Type": "application/json", **headers} if body is not None else headers
        self.connection.request("GET" if body is None else "POST", path, body, sent)

    def head(self) -> http.client.HTTPResponse:
        """Wait for status and headers."""
        self.response = self.connection.getresponse()
        return self.response

    def read_until(self, wanted: bytes) -> bytes:
        """Read until some bytes have come, and return all that came."""
        data = b""
        while wanted not in data:
            more = self.response.read1(65536)
            assert more, f"it ended before {wanted!r}: {data!r}"
            data += more
        return data

    def read(self) -> bytes:
        """Read to the end."""
        return self.response.read()

    def leave(self) -> None:
        """Close the connection."""
        if self.connection.sock is not None:
            self.connection.sock.close()  # the response has a reference to the socket, too
        if hasattr(self, "response"):
            self.response.close()
        self.connection.close()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


def get(
    port: int, path: str = "/stream/events", body: bytes | None = None, *, host: str = "127.0.0.1", **headers: str
) -> tuple[int, bytes]:
    """Return the status and the body of a whole response."""
    with Browser(port, path, body, host=host, **headers) as browser:
        return browser.head().status, browser.read()


def left(port: int) -> dict[str, Any]:
    """Return what the worker process holds; see ``app.left``."""
    status, body = get(port, "/left", Connection="close")
    assert status == 200, body
    found: dict[str, Any] = json.loads(body)
    return found


class Held:
    """What the worker process holds once it has answered a first request: to compare with what it holds later.

    The connections that the client keeps for its next request to the model do not count.
    """

    def __init__(self, port: int, upstream: Server) -> None:
        self._port, self._upstream = port, upstream
        with Browser(port, "/stream/text?ask=first", Connection="close") as browser:
            browser.head()
            browser.read()
        self._before = self._now()

    def _now(self) -> tuple[int, list[str], int]:
        now = left(self._port)
        return now["pid"], now["threads"], now["descriptors"] - self._upstream.open_connections

    def check(self) -> None:
        """Wait until it is as it was: no thread of ours, no further descriptor, and the same process."""
        deadline, never = time.monotonic() + SOON, threading.Event()
        while True:
            now = self._now()
            assert now[0] == self._before[0], "the worker process was replaced"
            if not now[1] and now[2] <= self._before[2] + SLACK:
                return
            assert time.monotonic() < deadline, f"{now} is left, {self._before} was before"
            never.wait(0.02)


def raw_connection(port: int, receive_buffer: int = 0) -> socket.socket:
    """Return a plain connection, which by its small buffer can refuse to take more."""
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(SOON)
    client.connect(("127.0.0.1", port))
    return client
