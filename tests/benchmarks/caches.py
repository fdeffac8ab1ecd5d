"""What caches and recovery cost: a look-up beside a request, and a chunk that is kept, played, or may be gone on with.

python tests/benchmarks/caches.py [--streams 200] [--rounds 5]

Processor time of this process; the server has one of its own. Ratios are of the medians of one run.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from streamkit import Client, MemoryCache, Middleware, Recovery, SQLCache, providers

HERE = Path(__file__).parent
LONG = "word " * 20_000  # 100 KB
CHUNKS = 20_000


def client_of(base: str, path: str, *policies: Middleware) -> Client:
    return Client([providers.OpenAI(api_key="k", base_url=f"{base}/{path}")], policies=policies)


def read(client: Client, text: str) -> None:
    for _ in client.stream("openai/m", text):
        pass


def processor_time(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def table(title: str, rounds: int, count: int, unit: str, kinds: dict[str, Callable[[], object]]) -> None:
    """Do all kinds of work in turns, and print what one of ``count`` costs beside the first kind."""
    figures: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, work in kinds.items():
            figures[name].append(processor_time(work) / count * 1e6)
    print(f"\n{title}")
    base = statistics.median(next(iter(figures.values())))
    for name, seen in figures.items():
        median = statistics.median(seen)
        print(f"  {name:34} {median:9.1f} us a {unit}, {median / base:6.2f} of the first")


@contextmanager
def server() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, str(HERE / "server.py")], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline().split()[-1])}"
    finally:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with server() as base, tempfile.TemporaryDirectory() as folder:
        plain, warm = client_of(base, "burst/20"), client_of(base, "burst/20", MemoryCache())
        with closing(SQLCache(Path(folder) / "replies.db")) as sql:
            rows = client_of(base, "burst/20", sql)
            recovering = client_of(base, "burst/20", Recovery("continue"))
            for client in (plain, warm, rows, recovering):
                read(client, "Hi")
                read(client, LONG)
            for title, text in (("a stream of 20 chunks", "Hi"), ("the same, with a prompt of 100 KB", LONG)):

                def each(client: Client, text: str = text) -> Callable[[], object]:
                    return lambda: [read(client, text) for _ in range(given.streams)]

                fresh = iter(range(10**9))

                def misses(text: str = text, fresh: Iterator[int] = fresh) -> object:
                    return [read(warm, f"{text}{next(fresh)}") for _ in range(given.streams)]

                kinds: dict[str, Callable[[], object]] = {
                    "sent": each(plain),
                    "sent, and kept in memory": misses,
                    "from MemoryCache": each(warm),
                    "from SQLCache, SQLite": each(rows),
                    "sent, with Recovery": each(recovering),
                }
                table(title, given.rounds, given.streams, "stream", kinds)
        path = f"burst/{CHUNKS}"
        kept = client_of(base, path, MemoryCache())
        read(kept, "Hi")
        numbers = iter(range(10**9))
        long_plain, long_recovering = client_of(base, path), client_of(base, path, Recovery("continue"))
        table(
            f"a chunk of {CHUNKS}",
            given.rounds,
            CHUNKS,
            "chunk",
            {
                "sent": lambda: read(long_plain, "Hi"),
                "sent, and kept in memory": lambda: read(kept, f"Hi {next(numbers)}"),
                "from MemoryCache": lambda: read(kept, "Hi"),
                "sent, with Recovery": lambda: read(long_recovering, "Hi"),
            },
        )


if __name__ == "__main__":
    main()
