"""What the relay adds to a chunk: delay beside the same route by hand, processor time beside pydantic-ai.

python tests/benchmarks/relay.py [--rounds 7] [--chunks 500] [--browsers 10]

`delay` is the time from the moment at which the model sends a chunk until a browser has it, through gunicorn with one
gthread worker; the model sends one each 4 ms. `processor` is the time of the worker process by the chunk, while several
browsers are served. The relay and the route by hand are asked at the same time, so that they meet the same machine;
each figure is the median of the rounds', as a busy machine stalls at times.
pydantic-ai runs under uvicorn; where they are not installed, they are left out:
pip install "pydantic-ai-slim[openai,ag-ui]" uvicorn starlette.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
EVERY = 4000  # µs between two chunks
PARTS = [{"type": "text", "text": "Hello"}]
BODY = {"id": "c", "trigger": "submit-message", "messages": [{"id": "u", "role": "user", "parts": PARTS}]}
STAMP = re.compile(rb'"delta": ?"(\d+) ')


class Served:
    """A server, and the figures of one route of it."""

    def __init__(self, name: str, port: int, path: str, worker: int) -> None:
        self.name, self.port, self.path, self.worker = name, port, path, worker
        self.p50: list[float] = []  # of each round, as are the next two
        self.p99: list[float] = []
        self.processor: list[float] = []

    def browse(self) -> list[float]:
        """Read a whole reply, and return how late each chunk was, in ms."""
        body = json.dumps(BODY).encode()
        head = f"POST {self.path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
        late: list[float] = []
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            rest = b""
            while data := client.recv(65536):
                now = time.monotonic_ns()
                rest += data
                for found in STAMP.finditer(rest):
                    late.append((now - int(found[1])) / 1e6)
                    end = found.end()
                rest = rest[end:] if late and STAMP.search(rest) else rest[-200:]
        return late

    def measure_delay(self, chunks: int) -> None:
        """Take a round of the delay."""
        found = self.browse()
        assert len(found) == chunks, f"{self.name}: {len(found)} of {chunks} chunks were read"
        self.p50.append(statistics.median(found))
        self.p99.append(sorted(found)[int(len(found) * 0.99)])

    def measure_processor(self, chunks: int, browsers: int) -> None:
        """Take a round of the processor time."""
        before = processor_ms(self.worker)
        at_once([self.browse] * browsers)
        self.processor.append((processor_ms(self.worker) - before) * 1000 / (chunks * browsers))


def at_once(calls: Sequence[Callable[[], object]]) -> None:
    """Make calls in threads, and wait for all."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def processor_ms(pid: int) -> float:
    """Return the processor time of a process, its threads that have ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


@contextmanager
def process(command: list[str], **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program for the block."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{FOLDER}", **variables}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.terminate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_until_listening(port: int) -> None:
    deadline, never = time.monotonic() + 60, threading.Event()
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            never.wait(0.05)
    raise TimeoutError(f"nobody listens on port {port}")


def servers(stack: ExitStack, upstream: str, browsers: int) -> list[Served]:
    """Start all that are installed."""
    port = free_port()
    command = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", str(browsers + 2)]
    command += ["--log-level", "error", "--no-control-socket", "relay_apps:flask_app()"]
    master = stack.enter_context(process([sys.executable, "-m", *command], UPSTREAM=upstream))
    wait_until_listening(port)
    worker = int(Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()[0])
    found = [Served("relay", port, "/relay", worker), Served("by hand", port, "/hand", worker)]
    if all(find_spec(name) for name in ("pydantic_ai", "uvicorn", "starlette")):
        port = free_port()
        command = ["uvicorn", "--factory", "relay_apps:pydantic_ai_app", "--port", str(port), "--log-level", "error"]
        running = stack.enter_context(process([sys.executable, "-m", *command], UPSTREAM=upstream))
        wait_until_listening(port)
        found.append(Served("pydantic-ai", port, "/", running.pid))
    else:
        print("pydantic-ai, uvicorn or starlette is not installed: left out")
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--chunks", type=int, default=500)
    parser.add_argument("--browsers", type=int, default=10)
    options = parser.parse_args()
    with ExitStack() as stack:
        model = stack.enter_context(process([sys.executable, str(FOLDER / "server.py")]))
        assert model.stdout is not None
        address = f"http://127.0.0.1:{int(model.stdout.readline())}/paced/{options.chunks}/{EVERY}"
        found = servers(stack, address, options.browsers)
        for server in found:
            server.browse()  # imports and first uses
        relay, hand = found[0], found[1]
        for _ in range(options.rounds):
            # Both at once, so that they meet the same machine.
            at_once([partial(server.measure_delay, options.chunks) for server in (relay, hand)])
            for server in found[2:]:
                server.measure_delay(options.chunks)
            for server in found:
                server.measure_processor(options.chunks, options.browsers)
        middle = statistics.median
        for server in found:
            cost = middle(server.processor)
            print(
                f"{server.name:12} delay p50 {middle(server.p50):6.3f} ms, p99 {middle(server.p99):6.3f} ms; "
                f"processor {cost:6.1f} µs a chunk, {cost / middle(hand.processor):4.2f} times by hand"
            )
        pairs = (relay.p50, hand.p50), (relay.p99, hand.p99)
        added = [middle([ours - theirs for ours, theirs in zip(*pair, strict=True)]) for pair in pairs]
        print(f"the relay adds {added[0]:+.3f} ms at p50 and {added[1]:+.3f} ms at p99 to a chunk, beside by hand")
        for server in found[2:]:
            ratio = middle(relay.processor) / middle(server.processor)
            print(f"the relay takes {ratio:.2f} times the processor time of {server.name} by the chunk")


if __name__ == "__main__":
    main()
