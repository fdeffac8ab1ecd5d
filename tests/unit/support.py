"""Helpers of the unit tests: bounded waits, and threads whose errors fail the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

import streamkit

SOON = 60.0  # seconds; the longest that any test waits for what takes milliseconds, on a machine however busy

T = TypeVar("T")
Whole = TypeVar("Whole", bound=Sequence[Any])


def split_at(whole: Whole, cuts: Iterable[int]) -> list[Whole]:
    """Cut text, bytes or a list at some places; joined, the parts are the whole again."""
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    return [whole[a:b] for a, b in pairwise(edges)]  # type: ignore[misc]


class Task(Generic[T]):
    """A call in a thread of its own; `result()` waits for it, bounded, and raises what it raised."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="task", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result.append(self._function())
        except BaseException as error:
            self._error = error

    def result(self) -> T:
        self._thread.join(SOON)
        assert not self._thread.is_alive(), f"not over after {SOON:g} s"
        if self._error is not None:
            raise self._error
        return self._result[0]


def run_program(code: str) -> str:
    """Run code in an interpreter of its own, where warnings are errors, and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(streamkit.__file__).parents[1])}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@contextmanager
def bounded(seconds: float = SOON) -> Iterator[None]:
    """Fail the block, in the main thread, when it takes longer: for what would otherwise hang the whole run."""

    def give_up(signum: int, frame: FrameType | None) -> None:
        raise AssertionError(f"not over after {seconds:g} s")

    if not hasattr(signal, "setitimer"):  # Windows has no alarm; there the run's own limit has to do
        yield
        return
    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
