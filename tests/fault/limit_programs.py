"""A program that sends requests through a rate limit, for the tests with several processes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamkit import RateLimit, Timeout
from streamkit.streaming.gates import Call, Result, Wait
from streamkit.streaming.shared_state import StreamState
from tests.unit.gate_support import call_of

ROOT = Path(__file__).parents[2]
PROMPT = 5  # tokens of each request's prompt


def state_of() -> StreamState:
    return StreamState(2, 1 << 20, Timeout(), ("openai", "gpt-4o"), None)


def enter(limit: RateLimit, tokens: int, state: StreamState | None = None) -> Call:
    """Let a request through, waiting as the worker of a stream does."""
    call = call_of(tokens - PROMPT)
    limit.enter(call, Wait(state_of() if state is None else state))
    limit.sending(call)
    return call


def send(options: str, threads: str, each: str, seed: str) -> None:
    """Send requests from several threads, and print for each when it was let through at the earliest and the latest."""
    limit = RateLimit(**json.loads(options))
    asked = threading.local()
    if limit._shared is not None:
        shared: Any = limit._shared
        run = shared._run

        def noted(*arguments: Any) -> Any:
            asked.at = time.time()
            return run(*arguments)

        shared._run = noted
    sent: list[tuple[float, float, int]] = []

    def user(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(int(each)):
            tokens = chance.choice([10, 10, 20, 120])
            asked.at = time.time()
            call = enter(limit, tokens)
            sent.append((asked.at, time.time(), tokens))
            limit.left(call, Result(sent=True))

    print("ready", flush=True)
    sys.stdin.readline()
    users = [threading.Thread(target=user, args=(int(seed) * 100 + number,)) for number in range(int(threads))]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join()
    print(json.dumps(sent), flush=True)


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start the program in a process of its own; it begins when it gets a line."""
    code = f"from tests.fault import limit_programs; limit_programs.send(*{list(map(str, arguments))!r})"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def at_least_in_a_window(sent: Sequence[tuple[float, float, int]], per: float) -> tuple[int, int]:
    """Return the most requests, and the most tokens, that were surely let through in one window.

    A request was let through at some moment between its two times: it is in a window for sure if both are.
    """
    requests = tokens = 0
    for begin, _, _ in sent:
        inside = [size for earliest, latest, size in sent if begin <= earliest and latest < begin + per]
        requests, tokens = max(requests, len(inside)), max(tokens, sum(inside))
    return requests, tokens
