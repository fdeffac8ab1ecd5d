"""streamkit compared with hand-written code and with a lower bound: ratios of medians within one run.

python tests/benchmarks/side_by_side.py [--rounds 3] [--quick]

`limit` reads through requests and urllib3, splits lines and decodes each event, all in one thread: no client over
HTTP in Python needs much less. `by hand` is the code that a user would write. `handed over` adds a reader thread and
the standard library's cheapest queue: it shows the cost of the thread itself.
Each measure is a process of its own, and so is the server; the clients take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent


def with_streamkit(warm: bool) -> Callable[[str], Iterator[str]]:
    import streamkit

    def client(base: str) -> streamkit.Client:
        return streamkit.Client([streamkit.providers.OpenAI(api_key="k", base_url=base)])

    kept: list[streamkit.Client] = []

    def read(url: str) -> Iterator[str]:
        base, _, path = url.partition("|")
        if not kept or not warm:
            kept[:] = [client(f"{base}{path}")]
        return (chunk.text for chunk in kept[0].stream("openai/m", "Hi") if chunk.text)

    return read


def by_hand(warm: bool) -> Callable[[str], Iterator[str]]:
    import requests
    import sseclient

    session = requests.Session()

    def read(url: str) -> Iterator[str]:
        post = session.post if warm else requests.Session().post
        address = url.replace("|", "") + "/chat/completions"
        response = post(address, json={"model": "m", "stream": True}, stream=True, timeout=(10, 60))
        response.raise_for_status()
        for event in sseclient.SSEClient(iter(response)).events():
            if event.data == "[DONE]":
                return
            decoded = json.loads(event.data)
            if decoded["choices"] and (text := decoded["choices"][0]["delta"].get("content")):
                yield text

    return read


def limit(warm: bool) -> Callable[[str], Iterator[str]]:
    import msgspec
    import requests

    session = requests.Session()

    def read(url: str) -> Iterator[str]:
        post = session.post if warm else requests.Session().post
        address = url.replace("|", "") + "/chat/completions"
        raw, rest = post(address, json={"model": "m", "stream": True}, stream=True).raw, b""
        while data := raw.read1(65536):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.startswith(b"data: {"):
                    text = msgspec.json.decode(line[6:])["choices"][0]["delta"].get("content")
                    if text:
                        yield text

    return read


def handed_over(warm: bool) -> Callable[[str], Iterator[str]]:
    """Read as by hand, but in a thread, with the standard library's cheapest queue between."""
    inner = by_hand(warm)

    def read(url: str) -> Iterator[str]:
        waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()

        def work() -> None:
            for text in inner(url):
                waiting.put(text)
            waiting.put(None)

        threading.Thread(target=work, daemon=True).start()
        return iter(waiting.get, None)

    return read


CLIENTS = {"limit": limit, "streamkit": with_streamkit, "by hand": by_hand, "handed over": handed_over}


def drained(read: Callable[[str], Iterator[str]], url: str, count: int) -> float:
    """Return microseconds a chunk."""
    began = time.perf_counter()
    got = sum(1 for _ in read(url))
    took = time.perf_counter() - began
    assert got == count, (got, count)
    return took / count * 1e6


def lag(read: Callable[[str], Iterator[str]], url: str) -> float:
    """Return the median of microseconds between sending and receiving."""
    return statistics.median((time.monotonic_ns() - int(text)) / 1e3 for text in read(url))


def first_chunk(read: Callable[[str], Iterator[str]], url: str) -> float:
    """Return the median of microseconds to the first chunk, with a warm connection."""
    took = []
    for _ in range(40):
        began = time.perf_counter()
        chunks = read(url)
        next(chunks)
        took.append((time.perf_counter() - began) * 1e6)
        for _ in chunks:
            pass
    return statistics.median(took)


def many(read: Callable[[str], Iterator[str]], url: str, streams: int, count: int) -> float:
    """Return processor microseconds a chunk, of many streams at once."""

    def drain() -> None:
        for _ in read(url):
            pass

    threads = [threading.Thread(target=drain) for _ in range(streams)]
    began = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.process_time() - began) / (streams * count) * 1e6


def measure(client: str, work: str, base: str, scale: float) -> float:
    read = CLIENTS[client](work == "first")
    for _ in read(f"{base}|/ok"):
        pass
    size = int(20_000 * scale)
    if work == "burst":
        return drained(read, f"{base}|/burst/{size}", size)
    if work == "each":
        return drained(read, f"{base}|/each/{size}", size)
    if work == "lag":
        return lag(read, f"{base}|/paced/{int(1500 * scale)}/2000")
    if work == "first":
        return first_chunk(read, f"{base}|/ok")
    count, streams = int(100 * abs(scale)), 100 if scale > 0 else 10
    return many(read, f"{base}|/paced/{count}/20000", streams, count)


WORK = {
    "burst": "burst in 16 KiB writes, µs a chunk",
    "each": "a write a chunk, µs a chunk",
    "lag": "500 chunks a second, lag p50, µs",
    "first": "time to first chunk, warm, µs",
    "many": "100 streams x 50/s, processor µs a chunk",
}


def in_process(client: str, work: str, base: str, scale: float) -> float:
    command = [sys.executable, __file__, "--measure", client, work, base, str(scale)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)


def import_time(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - began) * 1e3


def table(rounds: int, scale: float) -> None:
    server = subprocess.Popen([sys.executable, str(HERE / "server.py")], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    base = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    try:
        for work, title in WORK.items():
            took: dict[str, list[float]] = {client: [] for client in CLIENTS}
            for _ in range(rounds):
                for client, figures in took.items():
                    figures.append(in_process(client, work, base, scale))
            line(title, {client: statistics.median(figures) for client, figures in took.items()})
    finally:
        server.terminate()
        server.wait(10)
    growth(rounds, scale)
    took = {"streamkit": [], "by hand": []}
    for _ in range(max(3, rounds)):
        took["streamkit"].append(import_time("import streamkit"))
        took["by hand"].append(import_time("import requests, sseclient"))
    line("import, whole process, ms", {client: statistics.median(figures) for client, figures in took.items()})


def growth(rounds: int, scale: float) -> None:
    """Print what a chunk costs in a stream ten times as long, and among ten times as many streams."""
    server = subprocess.Popen([sys.executable, str(HERE / "server.py")], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    base = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    try:
        for work, title in (("burst", "a stream ten times as long"), ("many", "ten times as many streams")):
            small, large = scale / 10 if work == "burst" else -scale, scale
            once = statistics.median(in_process("streamkit", work, base, small) for _ in range(rounds))
            tenfold = statistics.median(in_process("streamkit", work, base, large) for _ in range(rounds))
            print(f"{title:42} {tenfold:8.1f}   = {tenfold / once:5.2f}x what a chunk costs otherwise", flush=True)
    finally:
        server.terminate()
        server.wait(10)


def line(title: str, medians: dict[str, float]) -> None:
    ratios = [
        f"{medians['streamkit'] / figure:5.2f}x {name}" for name, figure in medians.items() if name != "streamkit"
    ]
    print(f"{title:42} {medians['streamkit']:8.1f}   = {', '.join(ratios)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        client, work, base, scale = options.measure
        print(measure(client, work, base, float(scale)), flush=True)
        os._exit(0)  # no figure is worth the time that a clean exit takes
    table(options.rounds, 0.1 if options.quick else 1.0)


if __name__ == "__main__":
    main()
