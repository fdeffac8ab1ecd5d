"""Run test modules of JavaScript, in Node or with headless Chromium, against a server of the test.

::

    with flask_server(app) as address:
        outcome = run_browser("page_test.mjs", address, calls={"go on": lambda _: more.set()})
    assert outcome.result == "Hello"

A module's default export is a function of ``{address, given, ask, browser, context, page}``, the last three as
Playwright has them. ``await ask("go on", value)`` calls the function of ``calls`` and gives what it returns, so that
the two sides wait for one another and for no time.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

import streamkit
from tests.unit.support import SOON

__all__ = [
    "Outcome",
    "bundle",
    "flask_server",
    "gunicorn_server",
    "needs_browser",
    "needs_clients",
    "run_browser",
    "run_node",
]

HERE = Path(__file__).parent
SECONDS = 180.0  # for one module, on a machine however busy
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Those that containers and root need, and those that keep it from asking hosts of its own for updates.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]

_missing = shutil.which("node") is None or not (HERE / "node_modules" / "playwright-core").is_dir()
_install = "node, and `npm install --no-package-lock` in tests/e2e/web"
needs_clients = pytest.mark.skipif(_missing, reason=f"needs {_install}")
needs_browser = pytest.mark.skipif(_missing or CHROMIUM is None, reason=f"needs Debian's chromium, {_install}")


@attrs.frozen
class Outcome:
    """What a module returned, what its pages wrote to the console, and the errors that no one in them caught."""

    result: Any
    console: list[str]
    errors: list[str]


def run_node(
    module: str | Path, address: str = "", given: Any = None, *, calls: Mapping[str, Callable[[Any], Any]] | None = None
) -> Outcome:
    """Run a module of this folder in Node."""
    return _run(module, {"address": address, "given": given, "chromium": None}, calls or {})


def run_browser(
    module: str | Path, address: str = "", given: Any = None, *, calls: Mapping[str, Callable[[Any], Any]] | None = None
) -> Outcome:
    """Run a module of this folder with a browser that is started for it."""
    return _run(module, {"address": address, "given": given, "chromium": CHROMIUM, "flags": FLAGS}, calls or {})


def _run(module: str | Path, first: Mapping[str, Any], calls: Mapping[str, Callable[[Any], Any]]) -> Outcome:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as stderr:
        command = ["node", str(HERE / "run.mjs"), str(HERE / module)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=stderr, encoding="utf-8", cwd=HERE) as node:
            # Playwright ends its browser when it is asked to end.
            limit = threading.Timer(SECONDS, node.terminate)
            limit.start()
            try:
                last = _answer(node, first, calls)
                node.wait(SOON)
            except BaseException:
                node.terminate()
                raise
            finally:
                limit.cancel()
        stderr.seek(0)
        assert node.returncode == 0, stderr.read() or f"{module} was not over after {SECONDS:g} s"
    assert last is not None
    return Outcome(**last)


def _answer(
    node: subprocess.Popen[str], first: Mapping[str, Any], calls: Mapping[str, Callable[[Any], Any]]
) -> dict[str, Any] | None:
    """Answer what the module asks, until it is over."""
    assert node.stdin is not None
    assert node.stdout is not None
    print(json.dumps(first), file=node.stdin, flush=True)
    for line in node.stdout:
        said: dict[str, Any] = json.loads(line)
        if "ask" not in said:
            return said
        answer = calls[said["name"]](said["value"])
        print(json.dumps({"ask": said["ask"], "answer": answer}), file=node.stdin, flush=True)
    return None


def bundle(entry: str | Path, folder: Path, *, production: bool = True) -> Path:
    """Make one file for browsers of a module of this folder and of all that it imports; return its path."""
    made = folder / Path(entry).with_suffix(".js").name
    mode = json.dumps("production" if production else "development")
    command = ["node_modules/.bin/esbuild", str(HERE / entry), "--bundle", "--format=esm", "--jsx=automatic"]
    command += [f"--define:process.env.NODE_ENV={mode}", "--log-level=warning", f"--outfile={made}"]
    # So that a module outside of this folder has the packages too.
    environment = {**os.environ, "NODE_PATH": str(HERE / "node_modules")}
    done = subprocess.run(
        command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return made


@contextmanager
def gunicorn_server(
    folder: Path, source: str, environment: Mapping[str, str], *, workers: int = 1, threads: int = 16
) -> Iterator[str]:
    """Serve the ``app`` of a module's source with gunicorn's gthread workers; yield the address."""
    pytest.importorskip("gunicorn", reason="needs gunicorn")
    (folder / "served.py").write_text(source, "utf-8")
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        listening.set_inheritable(True)
        command = [sys.executable, "-m", "gunicorn", "served:app", "--worker-class", "gthread"]
        command += ["--workers", str(workers), "--threads", str(threads), "--bind", f"fd://{listening.fileno()}"]
        # Node's fetch fails where a server closes a kept connection just when it is used again; a browser tries again.
        command += ["--keep-alive", "120"]
        command += ["--log-level", "error", "--timeout", "120", "--graceful-timeout", "5"]
        path = os.pathsep.join([str(folder), str(Path(streamkit.__file__).parents[1]), str(HERE.parents[2])])
        whole = {**os.environ, **environment, "PYTHONPATH": path}
        with subprocess.Popen(command, cwd=folder, env=whole, pass_fds=[listening.fileno()]) as server:
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            finally:
                server.terminate()
                server.wait(SOON)


@contextmanager
def flask_server(app: Any) -> Iterator[str]:
    """Serve an app with werkzeug's threads, which hand the client's socket over; yield the address."""
    serving = pytest.importorskip("werkzeug.serving", reason="needs flask")
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = serving.make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(SOON)
        server.server_close()
