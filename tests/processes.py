"""Programs that tests run beside them: ``Process``, which has their output."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

import streamkit

__all__ = ["Process", "run_process"]

ROOT = Path(__file__).parents[1]
SECONDS = 60.0  # for anything that such a program is to do; most of it takes a second


class Process:
    """A program in a process group of its own, whose output is read all the time."""

    def __init__(self, command: Sequence[str], cwd: Path = ROOT, **environment: str) -> None:
        path = os.pathsep.join([str(Path(streamkit.__file__).parents[1]), str(ROOT)])
        self.popen = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="output", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def output(self) -> str:
        with self._more:
            return "".join(self._lines)

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            with self._more:
                self._lines.append(line)
                self._more.notify_all()

    def wait_for(self, pattern: str) -> str:
        """Wait until its output has a pattern; return the first group, or the whole match."""
        deadline = time.monotonic() + SECONDS
        while True:
            found = re.search(pattern, self.output)
            if found:
                return found[found.re.groups and 1]
            with self._more:
                assert self._more.wait(1) or time.monotonic() < deadline, self.output
            assert self._reader.is_alive(), self.output

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the program itself; not to its children."""
        self.popen.send_signal(number)

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        return self.popen.wait(SECONDS)

    def end(self) -> None:
        """Kill it, and all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait(SECONDS)
        self._reader.join(SECONDS)
        assert self.popen.stdout is not None
        self.popen.stdout.close()


@pytest.fixture
def run_process() -> Iterator[Callable[..., Process]]:
    """Run modules of Python as programs, which are killed after the test.

    ``within`` is the beginning of the command, such as one that runs it in a network namespace.
    """
    with ExitStack() as stack:

        def run(*command: str, within: Sequence[str] = (), cwd: Path = ROOT, **environment: Any) -> Process:
            process = Process([*within, sys.executable, "-m", *command], cwd, **environment)
            stack.callback(process.end)
            return process

        yield run
