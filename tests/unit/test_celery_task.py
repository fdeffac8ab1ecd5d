"""`StreamTask` in this process: what needs no worker. The workers are in tests/e2e/test_celery.py."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamkit import (
    ChunkStream,
    Completion,
    ConfigError,
    LogError,
    MemoryLog,
    RateLimitError,
    StreamError,
    follow,
    publish,
)
from streamkit.logs.json_text import Outcome
from streamkit.logs.publishing import Terminated
from tests.unit.scripted import DONE, Scripted, texts
from tests.unit.support import Task

celery = pytest.importorskip("celery")
from streamkit.workers import celery as streamkit_celery  # noqa: E402 - needs the library
from streamkit.workers import celery_requests  # noqa: E402
from streamkit.workers.celery import StreamTask  # noqa: E402


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def app() -> Iterator[Any]:
    app = celery.Celery("tests", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.task_always_eager = True
    yield app
    app.close()


Make = Callable[..., Any]


@pytest.fixture
def make(app: Any, log: MemoryLog) -> Make:
    """Make a task that publishes the streams given, one a run."""

    def make(*streams: ChunkStream, **options: Any) -> Any:
        left = iter(streams)

        def answer(self: StreamTask) -> dict[str, Any]:
            return self.publish(lambda: next(left))

        return app.task(bind=True, base=StreamTask, name=f"answer {len(app.tasks)}", **{"log": log, **options})(answer)

    return make


def test_a_task(make: Make, log: MemoryLog) -> None:
    """Its reply is in the log under its id, and its result is the completion as JSON."""
    task = make(Scripted([*texts("a", "b"), DONE]))
    result = task.delay()
    assert follow(log, result.id).collect() == Completion.from_dict(result.get())
    assert "ab" == result.get()["text"]


def test_the_same_task_again(make: Make, log: MemoryLog) -> None:
    """A second run returns the reply of the first one."""
    task = make(Scripted([*texts("a"), DONE]))
    first = task.apply_async(task_id="x").get()
    assert first == task.apply_async(task_id="x").get()


def test_retries(make: Make, log: MemoryLog) -> None:
    """A failure before the first chunk is retried into the same log; one after it is not."""
    options = {"autoretry_for": (StreamError,), "max_retries": 1, "default_retry_delay": 0}
    limited = RateLimitError("slow down")
    task = make(Scripted([], limited, "error"), Scripted([*texts("a"), DONE]), **options)
    assert "a" == task.apply_async(task_id="x").get()["text"]
    assert "a" == follow(log, "x").collect().text
    task = make(Scripted(texts("a"), limited, "error"), **options)
    with pytest.raises(RateLimitError):
        task.apply_async(task_id="y").get()
    task = make(Scripted([], limited, "error"), Scripted([], limited, "error"), **options)
    with pytest.raises(RateLimitError):
        task.apply_async(task_id="z").get()
    with pytest.raises(RateLimitError, match="slow down"):
        follow(log, "z").collect()


def test_failures_without_a_reply(app: Any, log: MemoryLog) -> None:
    """The readers get the error of a task that did not come to publish."""

    def fail(self: StreamTask) -> None:
        raise ValueError("no reply")

    result = app.task(bind=True, base=StreamTask, log=log, name="fail")(fail).delay()
    with pytest.raises(StreamError, match="ValueError: no reply"):
        follow(log, result.id).collect()


def test_failures_that_the_task_handles(app: Any, log: MemoryLog) -> None:
    """A reply that failed before its first chunk ends with its error when the task is over, whatever that returns."""
    limited = RateLimitError("slow down")

    def handle(self: StreamTask) -> str:
        for id in (None, "of its own"):
            with pytest.raises(RateLimitError):
                self.publish(lambda: Scripted([], limited, "error"), id)
        assert "absent" == log.status("of its own")
        return "sorry"

    result = app.task(bind=True, base=StreamTask, log=log, name="handle")(handle).delay()
    assert "sorry" == result.get()
    for id in (result.id, "of its own"):
        with pytest.raises(RateLimitError, match="slow down"):
            follow(log, id).collect()


def test_a_retry_without_a_log(app: Any, log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that cannot ask its log is retried as any other."""
    runs: list[int] = []

    def fail(self: StreamTask) -> str:
        runs.append(1)
        if len(runs) < 3:
            raise self.retry(exc=ValueError("again"), countdown=0)
        return "done"

    def status(id: str) -> str:
        raise LogError("the log is away")

    monkeypatch.setattr(log, "status", status)
    for options in ({}, {"log": log}):
        runs.clear()
        task = app.task(bind=True, base=StreamTask, name=f"fail {len(options)}", max_retries=3, **options)(fail)
        assert "done" == task.delay().get()


def test_a_log_that_fails(make: Make, log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task gets the log's error, once; what it would tell its readers is not told."""

    def begin(id: str) -> None:
        raise LogError("the log is away")

    monkeypatch.setattr(log, "begin", begin)
    monkeypatch.setattr(log, "stop", begin)
    task = make(Scripted([DONE]))
    with pytest.raises(LogError, match="is away"):
        task.apply_async(task_id="x").get()
    task._stop("x")


def test_wrong_arguments(make: Make, log: MemoryLog) -> None:
    """A task without a log, without an id, or with a stream that has started, is told so."""
    with pytest.raises(ConfigError, match="has no log"):
        make(Scripted([DONE]), log=None).apply().get()
    with pytest.raises(ConfigError, match=r"publish\(id=...\) is needed"):
        make(Scripted([DONE]))()
    task = make()
    for wrong in (Scripted([DONE]), None):
        with pytest.raises(ConfigError, match="a function that starts a stream"):
            task.publish(wrong, "x")
    assert "a" == task.publish(lambda: Scripted([*texts("a"), DONE]), "x")["text"]


class Signalled(Scripted):
    """A stream whose process is told to end after the first chunks."""

    def take(self, seconds: float | None = None) -> Any:
        if not self._left:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(60)  # the signal interrupts it
        return super().take(seconds)


class Request:
    """A task's request in a process of the prefork pool."""

    is_eager = called_directly = False


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that the process sends itself in the end, which is kept from it."""
    sent: list[int] = []
    kill = os.kill

    def record(pid: int, number: int) -> None:
        if signal.getsignal(number) is signal.SIG_DFL:
            sent.append(number)
        else:
            kill(pid, number)

    monkeypatch.setattr(os, "kill", record)
    return sent


@pytest.mark.parametrize("stopped", [False, True])
def test_a_process_that_is_told_to_end(log: MemoryLog, sent: list[int], stopped: bool) -> None:
    """The outcome is written before the signal does its work: `cancelled` if somebody asked for a stop."""

    class Stopped(Signalled):
        def take(self, seconds: float | None = None) -> Any:
            if not self._left and stopped:
                log._replies["x"].stopped = True  # and the thread that waits for it has not come to it
            return super().take(seconds)

    with pytest.raises(Terminated, match="SIGTERM"):
        with streamkit_celery._Termination(Request):
            publish(Stopped(texts("a")), log, "x")
    assert [signal.SIGTERM] == sent
    assert signal.SIG_DFL == signal.getsignal(signal.SIGTERM)
    stream = follow(log, "x")
    if stopped:
        assert ["a"] == [chunk.text for chunk in stream]
        assert "cancelled" == stream.status
    else:
        with pytest.raises(StreamError, match="Terminated: SIGTERM"):
            list(stream)
    assert "a" == stream.text


def test_a_second_signal(sent: list[int]) -> None:
    """It does its work at once."""
    termination = streamkit_celery._Termination(Request)
    with pytest.raises(Terminated):
        with termination:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                threading.Event().wait(60)
            finally:
                assert not sent
                termination._on_signal(signal.SIGTERM, None)
                assert [signal.SIGTERM] == sent


def test_signals_of_others(sent: list[int]) -> None:
    """A handler of the program's own, and other threads, are left alone."""
    mine = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with streamkit_celery._Termination(Request):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, mine)

    def in_a_thread() -> None:
        with streamkit_celery._Termination(Request):
            pass

    Task(in_a_thread).result()
    assert not sent


def test_revoked_tasks(make: Make, log: MemoryLog) -> None:
    """What the worker's main process does: it stops what runs, and ends what will not begin."""
    task = make()
    celery_requests._on_revoked(task, request=type("R", (), {"id": "x"}))
    stream = follow(log, "x")
    assert [] == list(stream)
    assert "cancelled" == stream.status
    celery_requests._on_revoked("no task of ours", request=type("R", (), {"id": "y"}))
    assert "absent" == log.status("y")
    assert not celery_requests._watch._running


def test_ends_of_tasks(make: Make, log: MemoryLog) -> None:
    """A task without a log has no readers."""
    make(log=None)._end_unwritten("x", Outcome("cancelled"))
    assert "absent" == log.status("x")
