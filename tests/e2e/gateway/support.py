"""Start ``streamkit serve`` with the stand-in, and ask it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.gateway.stand_in import FAILS, TOKEN
from tests.e2e.servers.support import Browser, get
from tests.processes import ROOT, Process, run_process

__all__ = ["GOOD", "SECONDS", "Serve", "Serving", "run_process", "serving"]

SECONDS = 60.0  # for what takes a second at most
GOOD = '[models]\nfast = "demo/assistant"\n'
HERE = Path(__file__).parent


class Serving:
    """A running server.

    Attributes:
        process: the master.
        port: where it listens.
        folder: of its files.
    """

    def __init__(self, process: Process, folder: Path) -> None:
        self.process, self.folder = process, folder
        self.log = folder / "stand-in.log"
        process.wait_for(r"Ctrl-C ends it\n")
        self.port = int(process.wait_for(r"the gateway is at http://\S+:(\d+)/v1"))

    def stream(self, host: str = "127.0.0.1", **body: Any) -> Browser:
        """Ask for a stream, and wait until it has begun."""
        sent = json.dumps(body).encode()
        browser = Browser(self.port, "/v1/chat/completions", sent, host=host, Authorization=f"Bearer {TOKEN}")
        assert 200 == browser.head().status
        browser.read_until(b"data: first\n\n")
        return browser

    def health(self, host: str = "127.0.0.1") -> dict[str, Any]:
        """Ask one of the workers for its process and its models."""
        status, body = get(self.port, "/healthz", host=host, Connection="close")
        assert 200 == status
        found: dict[str, Any] = json.loads(body)
        return found

    def workers(self, number: int, check: Callable[[dict[str, Any]], bool] = lambda health: True) -> set[int]:
        """Wait until that many workers have answered as they should, and return their processes."""
        deadline, never, found = time.monotonic() + SECONDS, threading.Event(), set[int]()
        while len(found) < number:
            assert time.monotonic() < deadline, f"{found}, {self.process.output}"
            health = self.health()
            if check(health):
                found.add(health["pid"])
            never.wait(0.005)
        return found

    def configure(self, text: str) -> None:
        """Write the configuration."""
        (self.folder / "gateway.toml").write_text(text)

    def is_gone(self) -> bool:
        """Return whether no process of it is left, once its master has ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, 0)
            return False
        return True


Serve = Callable[..., Serving]


@pytest.fixture
def serving(run_process: Callable[..., Process], tmp_path: Path) -> Serve:
    """Start servers: ``serving(*options, config=text, **environment)``; 0 is their port.

    ``real`` serves the gateway's own application, ``ready=False`` returns the process at once, and ``within`` is the
    beginning of the command.
    """

    def start(
        *options: str,
        config: str | None = None,
        ready: bool = True,
        real: bool = False,
        within: Sequence[str] = (),
        **environment: str,
    ) -> Any:
        given = ["--port", "0", *options]
        if config is not None:
            (tmp_path / "gateway.toml").write_text(config)
            given += ["--config", "gateway.toml"]
        process = run_process(
            "streamkit",
            "serve",
            *given,
            within=within,
            cwd=tmp_path,
            **{
                "PYTHONPATH": os.pathsep.join(
                    [*([] if real else [str(HERE)]), os.environ.get("PYTHONPATH", ""), str(ROOT)]
                ),
                "PYTHONWARNINGS": "error",
                "STAND_IN_LOG": str(tmp_path / "stand-in.log"),
                FAILS: str(tmp_path / "fails"),
                "STREAMKIT_DATA": str(tmp_path / "data"),
                **environment,
            },
        )
        return Serving(process, tmp_path) if ready else process

    return start
