"""Writers, readers and Redis are killed in turn: readers lose nothing that they can still get, or are told."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial

import pytest

from streamkit import (
    Chunk,
    ConfigError,
    FollowedStream,
    LogConflictError,
    LogError,
    RedisLog,
    StreamError,
    WriterLostError,
    follow,
    publish,
)
from tests.fault import log_programs as programs
from tests.fault.log_programs import LEASE, Slow, numbered
from tests.redis_server import RedisServer, make_log, redis_server
from tests.unit.scripted import DONE, Scripted
from tests.unit.support import Task, run_program

__all__ = ["make_log", "redis_server"]  # fixtures

pytestmark = pytest.mark.slow

Servers = Callable[..., RedisServer]
Logs = Callable[..., RedisLog]


@pytest.fixture
def run() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start programs that are killed after the test."""
    with ExitStack() as stack:

        def start(program: Callable[..., object], *arguments: object) -> subprocess.Popen[str]:
            process = stack.enter_context(programs.start(program, *arguments))
            stack.callback(process.kill)
            return process

        yield start


def taken(stream: FollowedStream) -> list[int]:
    """Take all chunks, and return their numbers; an error of the stream ends it."""
    numbers = []
    with suppress(StreamError):
        for _ in stream:
            numbers.append(stream.id_of_last)
    return numbers


def test_a_writer_that_is_killed(
    redis_server: Servers, make_log: Logs, run: Callable[..., subprocess.Popen[str]]
) -> None:
    """Its readers get all that it wrote, and within the lease an error that says so; nobody writes in its place."""
    server = redis_server()
    log = make_log(server.url, lease=LEASE)
    writer = run(programs.write, server.url, "a", 1000, 0.01)
    readers = [follow(log, "a") for _ in range(3)]
    for reader in readers:
        while reader.id_of_last < 20:
            next(reader)
    writer.kill()
    tasks = [Task(partial(taken, reader)) for reader in readers]
    ends = {tuple(task.result())[-1:] for task in tasks}
    assert 1 == len(ends)
    for reader in readers:
        assert isinstance(reader.error, WriterLostError)
        assert "".join(f"{number} " for number in range(1, reader.id_of_last + 1) if not number % 2) == reader.text
    assert "lost" == log.status("a")
    with pytest.raises(LogConflictError):
        publish(lambda: pytest.fail("asked"), log, "a")
    late = follow(log, "a")
    assert reader.id_of_last == len(taken(late))
    assert isinstance(late.error, WriterLostError)


def test_a_reader_that_is_killed(
    redis_server: Servers, make_log: Logs, run: Callable[..., subprocess.Popen[str]]
) -> None:
    """It comes back where it was; the writer and the other readers notice nothing."""
    server = redis_server()
    log = make_log(server.url, lease=LEASE)
    other = Task(partial(taken, follow(log, "a")))
    task = Task(lambda: publish(Slow(numbered(300), 0.005), log, "a"))
    seen: list[int] = []
    while not (seen and seen[-1] == 301):
        reader = run(programs.read, server.url, "a", seen[-1] if seen else 0)
        for number, line in enumerate(programs.lines(reader)):
            if line.isdigit():
                seen.append(int(line))
            if number == 60:
                reader.kill()
                break
    assert list(range(1, 302)) == seen == other.result()
    assert "stop" == task.result().finish_reason


def test_stop_from_another_process(
    redis_server: Servers, make_log: Logs, run: Callable[..., subprocess.Popen[str]]
) -> None:
    """`log.stop()` in one process ends the writer's stream in another one."""
    server = redis_server()
    log = make_log(server.url, lease=LEASE)
    writer = run(programs.write, server.url, "a", 10_000, 0.01)
    reader = follow(log, "a")
    next(reader)
    assert log.stop("a")
    list(reader)
    assert "cancelled" == reader.status
    assert ["begun", "cancelled"] == list(programs.lines(writer))


def test_a_writer_that_is_interrupted(
    redis_server: Servers, make_log: Logs, run: Callable[..., subprocess.Popen[str]]
) -> None:
    """Ctrl-C in the writer's process ends its readers at once, with an error that says so."""
    server = redis_server()
    log = make_log(server.url, lease=300.0)
    writer = run(programs.write_to_signal, server.url, "a")
    reader = follow(log, "a")
    next(reader)
    writer.send_signal(signal.SIGINT)
    with pytest.raises(StreamError, match="KeyboardInterrupt"):
        list(reader)
    assert ["begun", "True"] == list(programs.lines(writer))
    assert "ended" == log.status("a")


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("seconds", [0.0, LEASE + 1])
def test_redis_is_killed(redis_server: Servers, make_log: Logs, persistent: bool, seconds: float) -> None:
    """It comes back, with its data or without, later than a lease: writer and readers go on without a gap."""
    server = redis_server(persistent=persistent)
    log = make_log(server.url, lease=LEASE)
    stream = Slow(numbered(400), 0.01)
    task = Task(lambda: publish(stream, log, "a"))
    early = [follow(make_log(server.url, lease=LEASE), "a") for _ in range(3)]
    for reader in early:
        while reader.id_of_last < 20:
            next(reader)
    server.kill()
    tasks = [Task(partial(taken, reader)) for reader in early]
    threading.Event().wait(seconds)  # the outage
    server.start()
    for reader, got in zip(early, tasks, strict=True):
        assert 401 == got.result()[-1], reader.error
        assert list(range(got.result()[0], 402)) == got.result()
        assert "complete" == reader.status
    assert task.result() == early[0].completion
    assert list(range(1, 402)) == taken(follow(log, "a"))


def test_redis_is_killed_again_and_again(redis_server: Servers, make_log: Logs) -> None:
    """Whenever it is killed, each chunk is there once and in order."""
    server = redis_server(persistent=True)
    log = make_log(server.url, lease=LEASE)
    task = Task(lambda: publish(Slow(numbered(600), 0.005), log, "a"))
    reader = Task(partial(taken, follow(log, "a")))
    for _ in range(8):
        threading.Event().wait(0.2)
        server.kill()
        server.start()
    assert list(range(1, 602)) == reader.result()
    assert task.result().complete


def test_redis_is_away_for_too_long(redis_server: Servers, make_log: Logs) -> None:
    """Writer and readers get a clear error; the stream is cancelled, and its partial reply kept."""
    server = redis_server()
    log = make_log(server.url, lease=LEASE, patience=0.5)
    stream = Slow(numbered(100_000), 0.01)
    task = Task(lambda: publish(stream, log, "a"))
    reader = follow(log, "a")
    while reader.id_of_last < 5:
        next(reader)
    server.kill()
    with pytest.raises(LogError, match="Redis cannot be reached for") as caught:
        list(reader)
    assert caught.value.retryable
    assert caught.value.partial.text.startswith("2 4")
    with pytest.raises(LogError, match="Redis cannot be reached for") as caught:
        task.result()
    assert caught.value.partial.text.startswith("2 4")
    assert stream.cancelled
    with pytest.raises(LogError):
        log.stop("a")


def test_a_wait_that_is_cancelled_while_redis_is_away(redis_server: Servers, make_log: Logs) -> None:
    """`cancel()` and `recv(timeout)` need no Redis."""
    server = redis_server()
    log = make_log(server.url, patience=300.0)
    reader = follow(log, "a")
    server.kill()
    with pytest.raises(TimeoutError):
        reader.recv(timeout=0.1)
    waiting = Task(lambda: list(reader))
    reader.cancel()
    assert [] == waiting.result()


def test_a_writer_that_was_suspended(
    redis_server: Servers, make_log: Logs, run: Callable[..., subprocess.Popen[str]]
) -> None:
    """A writer that stood still for longer than its lease goes on, and readers that come back get the rest."""
    server = redis_server()
    log = make_log(server.url, lease=LEASE)
    writer = run(programs.write, server.url, "a", 200, 0.005)
    reader = follow(log, "a")
    while reader.id_of_last < 20:
        next(reader)
    os.kill(writer.pid, signal.SIGSTOP)
    first = taken(reader)
    assert isinstance(reader.error, WriterLostError)
    os.kill(writer.pid, signal.SIGCONT)
    assert ["begun", "complete"] == list(programs.lines(writer))
    rest = taken(follow(log, "a", reader.id_of_last))
    assert list(range(21, 202)) == first + rest


def test_many_writers_and_readers(redis_server: Servers, make_log: Logs) -> None:
    """100 writers and 300 followers on one Redis: each follower gets each chunk once, in order."""
    server = redis_server()
    log = make_log(server.url)
    readers = [Task(partial(taken, follow(log, f"r{number % 100}"))) for number in range(300)]
    writers = [Task(partial(publish, Slow(numbered(20), 0.02), log, f"r{number}")) for number in range(100)]
    for writer in writers:
        assert writer.result().complete
    for reader in readers:
        assert list(range(1, 22)) == reader.result()


def test_a_forked_child_writes(redis_server: Servers, make_log: Logs) -> None:
    """A log that was made before the fork, as a worker's is, works in the child and in the parent."""
    log = make_log(redis_server().url)
    assert "absent" == log.status("a")
    pid = os.fork()
    if not pid:
        code = 1
        with suppress(BaseException):
            publish(Scripted([Chunk("text", text="child"), DONE]), log, "a")
            code = 0
        os._exit(code)
    assert "child" == follow(log, "a").collect().text
    assert 0 == os.waitpid(pid, 0)[1]


def test_wrong_servers(redis_server: Servers, make_log: Logs) -> None:
    """A URL that is none is refused at once, as is a key of another type; a password is not shown."""
    for url in ("nonsense", "", None, 7, "http://x"):
        with pytest.raises(ConfigError, match="RedisLog"):
            make_log(url)
    for wrong in ({"lease": 0}, {"keep": "x"}, {"patience": -1}, {"max_records": 0}, {"lease": 9, "keep": 1}):
        with pytest.raises(ConfigError, match=r"RedisLog\("):
            make_log("redis://localhost", **wrong)
    assert "s3cret" not in repr(make_log("redis://user:s3cret@localhost:6379/0?x=s3cret"))
    log = make_log(redis_server().url)
    log._client.set("streamkit:log:{a}:state", "mine")
    for call in (log.begin, log.read, log.status, log.stop):
        with pytest.raises(LogError, match="Redis refused the call"):
            call("a")


def test_without_redis_py() -> None:
    """Without the library the log names the extra, and the rest works."""
    printed = run_program(
        "import sys; sys.modules['redis'] = None\n"
        "import streamkit\n"
        "from streamkit import RedisLog, MemoryLog\n"
        "try: RedisLog('redis://x')\n"
        "except streamkit.ConfigError as error: print(error)\n"
        "assert 'absent' == MemoryLog().status('a')\n"
    )
    assert 'RedisLog needs redis-py: python -m pip install "streamkit[redis]"\n' == printed
