"""What a request costs in the ledger of the gateway: a reservation and its settlement, by 1 and by 50 threads.

python -m tests.benchmarks.ledger [--seconds 3] [--processes 1] [--threads 1 50] [--charges 0]

On a file of SQLite, and on PostgreSQL where it is installed. `pairs/s` are reservations with their settlements a
second, of all processes; `processor` is the time of all threads of these processes for a pair, without PostgreSQL's
own; the times to reserve are what a request waits before it is sent. `--charges` fills the ledger before.
PostgreSQL runs without fsync here, and SQLite with it; `fsync` is what one takes on this disk.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from streamkit.gateway.core.database import GatewayDatabase
from streamkit.gateway.core.holders import Holder, Limits, Payer
from streamkit.gateway.core.ledger import Ledger
from streamkit.gateway.core.money import NANO
from streamkit.gateway.core.records import About, Settlement
from tests import postgres

LIMITS = Limits(day=10**9 * NANO, month=10**9 * NANO, streams=10_000)
PAYER = Payer("team:t", (Holder("token:a", LIMITS), Holder("team:t", LIMITS)))
ABOUT = About("a", "t", "openai/m", "/v1/chat/completions")
ENDED = Settlement(provider="openai", model="m", input_tokens=40, output_tokens=40, seconds=1.0)


def ask(ledger: Ledger, stop: float, waits: list[float]) -> None:
    """Reserve and settle until it is time."""
    while time.monotonic() < stop:
        id, began = uuid.uuid4().hex, time.perf_counter()
        ledger.reserve(PAYER, id, NANO // 100, about=ABOUT)
        waits.append(time.perf_counter() - began)
        ledger.settle(id, NANO // 1000, outcome=ENDED)


def work(url: str, threads: int, seconds: float, start: Any, results: Any) -> None:
    """Run the threads of one process; report their waits and the processor time of a pair."""
    database = GatewayDatabase(url, timeout=60.0)
    ledger = Ledger(database)
    ask(ledger, time.monotonic() + 0.05, [])
    start.wait()
    waits: list[list[float]] = [[] for _ in range(threads)]
    used, began = _processor(), time.monotonic()
    running = [threading.Thread(target=ask, args=(ledger, began + seconds, each)) for each in waits]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    all_waits = [wait for each in waits for wait in each]
    results.put((all_waits, _processor() - used, time.monotonic() - began))
    database.close()


def _processor() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(name: str, url: str, *, processes: int, threads: int, seconds: float) -> None:
    """Print the figures of one kind of database."""
    fork = multiprocessing.get_context("fork")
    start, results = fork.Barrier(processes), fork.Queue()
    running = [fork.Process(target=work, args=(url, threads, seconds, start, results)) for _ in range(processes)]
    for process in running:
        process.start()
    found = [results.get() for _ in running]
    for process in running:
        process.join()
    waits = sorted(wait for each, _, _ in found for wait in each)
    pairs, wall = len(waits), max(wall for _, _, wall in found)
    p99 = waits[int(len(waits) * 0.99)]
    print(
        f"{name:11} {processes} processes x {threads:3} threads: {pairs / wall:7.0f} pairs/s, processor "
        f"{sum(used for _, used, _ in found) / pairs * 1e6:5.0f} us a pair; to reserve p50 "
        f"{statistics.median(waits) * 1e3:6.2f} ms, p99 {p99 * 1e3:7.2f} ms",
        flush=True,
    )


def fill(url: str, count: int) -> None:
    """Put so many charges into a ledger."""
    database = GatewayDatabase(url, timeout=60.0)
    ledger = Ledger(database)
    ledger.top_up("team:t", 10**8 * NANO, id="1", by="benchmark")

    def some(number: int) -> None:
        for at in range(number, count, 50):
            ledger.reserve(PAYER, f"old-{at}", NANO // 100, about=ABOUT)
            ledger.settle(f"old-{at}", NANO // 1000, outcome=ENDED)

    threads = [threading.Thread(target=some, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if count:
        began = time.perf_counter()
        problems = ledger.check()
        print(f"check of {count:,} charges: {time.perf_counter() - began:.2f} s, {len(problems)} problems", flush=True)
    database.close()


def flush_time(folder: Path) -> float:
    """Return the median of what a flush of a small write takes, in ms."""
    times = []
    with (folder / "flush").open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """Give the URLs of new databases."""
    with ExitStack() as stack:
        found = {"SQLite": str(folder / "gateway.db")}
        initdb, pg_ctl = postgres.program("initdb"), postgres.program("pg_ctl")
        if initdb and pg_ctl:
            query = stack.enter_context(postgres.running(initdb, pg_ctl))
            found["PostgreSQL"] = f"postgresql:///postgres?{query}"
        yield found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--processes", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--charges", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, databases(Path(name)) as found:
        print(f"fsync of 4 KiB: {flush_time(Path(name)):.2f} ms", flush=True)
        for url in found.values():
            fill(url, options.charges)
        for processes in options.processes:
            for threads in options.threads:
                for kind, url in found.items():
                    measure(kind, url, processes=processes, threads=threads, seconds=options.seconds)
        print(f"file of SQLite: {Path(found['SQLite']).stat().st_size / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
