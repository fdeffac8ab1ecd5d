"""Programs that write and read logs on Redis, for the tests that kill them. Each prints a line whenever it gets on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from streamkit import Chunk, RedisLog, follow, publish
from tests.unit.scripted import DONE, Scripted

ROOT = Path(__file__).parents[2]
LEASE = 1.5  # seconds


class Slow(Scripted):
    """A stream with a pause before each chunk, which a cancel ends."""

    def __init__(self, chunks: list[Chunk], pause: float) -> None:
        super().__init__(chunks)
        self._pause = pause
        self._ended = threading.Event()

    def take(self, seconds: float | None = None) -> Chunk | None:
        self._ended.wait(self._pause)
        return super().take(seconds)

    def cancel(self) -> None:
        super().cancel()
        self._ended.set()


def numbered(count: int) -> list[Chunk]:
    """Return chunks that nobody can join, each with its number, and the last one."""
    chunks = [Chunk("text", text=f"{number} ", index=number % 2) for number in range(1, count + 1)]
    return [*chunks, DONE]


def start(program: Callable[..., object], *arguments: object) -> subprocess.Popen[str]:
    """Start a program of this module in a process of its own."""
    code = f"from tests.fault import log_programs; log_programs.{program.__name__}(*{list(map(str, arguments))!r})"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Iterate what a program prints, as it comes."""
    assert process.stdout is not None
    for line in process.stdout:
        yield line.rstrip("\n")


def write(url: str, id: str, count: str, pause: str) -> None:
    """Publish so many chunks; print how it ended."""
    log = RedisLog(url, lease=LEASE)
    print("begun", flush=True)
    stream = Slow(numbered(int(count)), float(pause))
    publish(stream, log, id)
    print(stream.status, flush=True)


def write_to_signal(url: str, id: str) -> None:
    """Publish without an end, in the main thread, until Ctrl-C; print what it was interrupted with."""
    log = RedisLog(url, lease=LEASE)
    print("begun", flush=True)
    try:
        publish(Slow(numbered(100_000), 0.001), log, id)
    except KeyboardInterrupt as error:
        print(len(error.partial.text) > 0, flush=True)  # type: ignore[attr-defined]


def read(url: str, id: str, after: str) -> None:
    """Follow a reply; print the number of each chunk, and how it ended."""
    stream = follow(RedisLog(url, lease=LEASE), id, after)
    for _ in stream:
        print(stream.id_of_last, flush=True)
    print(stream.status, flush=True)
