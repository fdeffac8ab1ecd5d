"""Redis, web workers, writers and readers go away for a while, in any order: nothing is lost, or the error is clear."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial

import pytest
import requests

from streamkit import FollowedStream, LogError, RedisLog, StreamError, WriterLostError, follow, publish
from tests.fault import log_programs as programs
from tests.fault.log_programs import LEASE, Slow, numbered
from tests.processes import Process, run_process
from tests.redis_server import RedisServer, make_log, redis_server
from tests.unit.support import Task

__all__ = ["make_log", "redis_server", "run_process"]  # fixtures

pytestmark = pytest.mark.slow

Servers = Callable[..., RedisServer]
Logs = Callable[..., RedisLog]
TEN = 10.0  # seconds of an outage that loses nothing


def taken(stream: FollowedStream) -> list[int]:
    """Take all chunks, and return their numbers; an error of the stream ends it."""
    numbers = []
    with suppress(StreamError):
        for _ in stream:
            numbers.append(stream.id_of_last)
    return numbers


def outage(seconds: float) -> None:
    threading.Event().wait(seconds)


@pytest.mark.parametrize("lease", [20.0, LEASE])
@pytest.mark.parametrize("how", ["stopped", "killed", "killed with its data"])
def test_redis_is_away_for_ten_seconds(redis_server: Servers, make_log: Logs, how: str, lease: float) -> None:
    """Readers and the writer go on without a gap, and so do readers that come meanwhile, whatever the lease."""
    server = redis_server(persistent=how != "killed")
    log = make_log(server.url, lease=lease)
    task = Task(lambda: publish(Slow(numbered(600), 0.02), log, "a"))
    readers = [follow(make_log(server.url, lease=lease), "a") for _ in range(3)]
    for reader in readers:
        while reader.id_of_last < 20:
            next(reader)
    begun = [reader.id_of_last for reader in readers]
    if how == "stopped":
        server.send(signal.SIGSTOP)
    else:
        server.kill()
    tasks = [Task(partial(taken, reader)) for reader in readers]
    late = follow(make_log(server.url, lease=lease), "a")
    coming = Task(partial(taken, late))
    outage(TEN)
    if how == "stopped":
        server.send(signal.SIGCONT)
    else:
        server.start()
    for reader, got, number in zip(readers, tasks, begun, strict=True):
        assert list(range(number + 1, 602)) == got.result(), reader.error
    assert list(range(1, 602)) == coming.result(), late.error
    assert task.result() == readers[0].completion


@pytest.mark.parametrize("seconds", [4.5, 5.5, 6.5])
def test_redis_stands_still_for_longer_than_the_lease(redis_server: Servers, make_log: Logs, seconds: float) -> None:
    """The lease runs out in Redis while the writer cannot renew it: that is no lost writer."""
    server = redis_server()
    lease = 4.0  # which a busy machine does not use up by itself
    log = make_log(server.url, lease=lease)
    task = Task(lambda: publish(Slow(numbered(300), 0.03), log, "a"))
    readers = [follow(make_log(server.url, lease=lease), "a") for _ in range(5)]
    for reader in readers:
        next(reader)
    tasks = [Task(partial(taken, reader)) for reader in readers]
    for _ in range(2):
        server.send(signal.SIGSTOP)
        outage(seconds)
        server.send(signal.SIGCONT)
        outage(0.3)
    for reader, got in zip(readers, tasks, strict=True):
        assert 301 == got.result()[-1], reader.error
    assert task.result().complete


def test_redis_stands_still_for_too_long(redis_server: Servers, make_log: Logs) -> None:
    """That is an error that says so, for writer and readers; the stream is cancelled, and its partial reply kept."""
    server = redis_server()
    log = make_log(server.url, lease=LEASE, patience=2.0)
    stream = Slow(numbered(100_000), 0.01)
    task = Task(lambda: publish(stream, log, "a"))
    reader = follow(log, "a")
    while reader.id_of_last < 5:
        next(reader)
    server.send(signal.SIGSTOP)
    try:
        for call in (lambda: list(reader), task.result):
            with pytest.raises(LogError, match="Redis cannot be reached for") as caught:
                call()
            assert caught.value.retryable
            assert caught.value.partial.text.startswith("2 4")
    finally:
        server.send(signal.SIGCONT)
    assert stream.cancelled


def test_a_web_worker_is_killed(redis_server: Servers, make_log: Logs, run_process: Callable[..., Process]) -> None:
    """kill -9 of the process that relays a reply: the browser comes back to another one, and lacks nothing."""
    pytest.importorskip("flask")
    pytest.importorskip("gunicorn")
    server = redis_server()
    log = make_log(server.url, lease=LEASE)
    gunicorn = run_process(
        "gunicorn",
        *("--bind", "127.0.0.1:0", "--worker-class", "gthread", "--threads", "8", "tests.fault.log_web:web"),
        LOG=server.url,
    )
    place = gunicorn.wait_for(r"Listening at: (http://\S+)")
    writer = Task(lambda: publish(Slow(numbered(300), 0.01), log, "a", coalesce=0))
    ids: list[int] = []
    texts: list[str] = []
    kills, done = 0, False
    while not done:
        headers = {"Last-Event-ID": str(ids[-1])} if ids else {}
        with suppress(requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            killed = int(requests.get(f"{place}/pid", timeout=60).text)
            with requests.get(f"{place}/replies/a", stream=True, timeout=60, headers=headers) as response:
                event: dict[str, str] = {}
                for line in response.iter_lines(decode_unicode=True):
                    name, _, value = line.partition(": ")
                    if name:
                        event[name] = value
                        continue
                    if not event.get("data"):
                        continue
                    done = event.get("event") == "done"
                    ids.append(int(event["id"]))
                    texts.append("" if done else json.loads(event["data"])["content"])
                    event = {}
                    if kills < 4 and len(ids) >= 20 * (kills + 1):
                        kills += 1
                        os.kill(killed, signal.SIGKILL)
    assert 4 == kills
    assert writer.result().complete
    assert "".join(f"{number} " for number in range(2, 301, 2)) == "".join(texts)  # the first choice
    assert sorted(set(ids)) == ids or sorted(set(ids)) == ids[:-1]  # `done` has the last chunk's


@pytest.fixture
def run() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start programs that are killed after the test."""
    with ExitStack() as stack:

        def start(program: Callable[..., object], *arguments: object) -> subprocess.Popen[str]:
            process = stack.enter_context(programs.start(program, *arguments))
            stack.callback(process.kill)
            return process

        yield start


@pytest.mark.parametrize("seed", range(3))
def test_kills_in_any_order(
    redis_server: Servers, make_log: Logs, run: Callable[..., subprocess.Popen[str]], seed: int
) -> None:
    """Readers and Redis are killed at random, at last the writer: what a reader has is each chunk once, in order."""
    dice = random.Random(seed)
    server = redis_server(persistent=True)
    log = make_log(server.url, lease=LEASE)
    writer = run(programs.write, server.url, "a", 100_000, 0.005)
    next(follow(log, "a"))  # it has begun, however busy the machine is
    stayed = follow(log, "a")
    whole = Task(partial(taken, stayed))
    ended = threading.Event()
    dies = random.Random(seed + 100)

    def come_and_go() -> list[int]:
        seen: list[int] = []
        while True:
            reader = run(programs.read, server.url, "a", seen[-1] if seen else 0)
            most = dies.randrange(5, 80)
            for number, line in enumerate(programs.lines(reader)):
                if line.isdigit():
                    seen.append(int(line))
                if number == most and not ended.is_set():
                    reader.kill()
            if reader.wait(60) != -signal.SIGKILL:
                return seen

    others = [Task(come_and_go) for _ in range(2)]
    for _ in range(4):
        outage(dice.uniform(0.1, 1.0))
        server.kill()
        outage(dice.uniform(0.0, 2 * LEASE))
        server.start()
    outage(1.0)
    ended.set()
    writer.kill()
    got = whole.result()
    assert isinstance(stayed.error, WriterLostError)
    assert list(range(1, len(got) + 1)) == got
    for other in others:
        assert got == other.result()
