"""`publish_once`: a job that runs twice writes one reply."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from streamkit import (
    ChunkStream,
    ConfigError,
    LogConflictError,
    LogError,
    MemoryLog,
    RateLimitError,
    WriterLostError,
    follow,
    publish,
)
from streamkit.logs.json_text import Outcome, write_chunk
from streamkit.logs.log import Record
from streamkit.workers import publish_once
from streamkit.workers.once import end_unwritten
from tests.unit.scripted import DONE, Scripted, texts
from tests.unit.support import Task, run_program

SHORT = 0.2


def never() -> ChunkStream:
    pytest.fail("the model was asked again")


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


def test_the_first_run(log: MemoryLog) -> None:
    """It publishes."""
    completion = publish_once(lambda: Scripted([*texts("a"), DONE]), log, "x")
    assert ("a", True) == (completion.text, completion.complete)
    assert completion == follow(log, "x").collect()


def test_a_run_after_the_first(log: MemoryLog) -> None:
    """It returns the reply of the first one, and raises as that did."""
    first = publish(Scripted([*texts("a"), DONE]), log, "x")
    assert first == publish_once(never, log, "x")
    with pytest.raises(RateLimitError):
        publish(Scripted(texts("a"), RateLimitError("slow down"), "error"), log, "y")
    with pytest.raises(RateLimitError, match="slow down") as caught:
        publish_once(never, log, "y")
    assert "a" == caught.value.partial.text
    log.stop("z")
    publish(never, log, "z")
    assert "cancelled" == publish_once(never, log, "z").finish_reason


def test_a_run_beside_the_first(log: MemoryLog) -> None:
    """It waits for the first one's end."""
    lease = log.begin("x")
    second = Task(lambda: publish_once(never, log, "x"))
    log.append(lease, [Record(1, write_chunk(texts("a")[0])), Record(2, write_chunk(DONE))])
    log.finish(lease, '{"status":"complete"}')
    assert "a" == second.result().text


def test_a_first_run_that_was_lost() -> None:
    """In the middle of the reply, so is the reply; before it, the second run asks the model."""
    log = MemoryLog(lease=SHORT)
    log.append(log.begin("x"), [Record(1, write_chunk(texts("a")[0]))])
    with pytest.raises(WriterLostError) as caught:
        publish_once(never, log, "x")
    assert "a" == caught.value.partial.text
    log.begin("y")
    assert "b" == publish_once(lambda: Scripted([*texts("b"), DONE]), log, "y").text


def test_a_log_that_is_deleted() -> None:
    """That is an error, whether it happens before the job or while it runs."""
    log = MemoryLog(lease=60.0)
    publish(Scripted([DONE]), log, "x")
    log.delete("x")
    with pytest.raises(LogError, match="was deleted"):
        publish_once(never, log, "x")
    gate = threading.Event()

    class Waiting(Scripted):
        def take(self, seconds: float | None = None) -> Any:
            log.delete("y")
            gate.wait(SHORT)
            return super().take(seconds)

    with pytest.raises(LogConflictError, match="was deleted"):
        publish_once(lambda: Waiting([*texts("a"), DONE]), log, "y")


def test_wrong_arguments(log: MemoryLog) -> None:
    """A stream that has started would be asked for in each run, so it is refused."""
    for wrong in (Scripted([DONE]), None, 7):
        with pytest.raises(ConfigError, match="a function that starts a stream"):
            publish_once(wrong, log, "x")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="must be a Log"):
        publish_once(never, None, "x")  # type: ignore[arg-type]


def test_ends_that_nobody_writes(log: MemoryLog) -> None:
    """An outcome alone ends readers who wait; a reply that somebody writes is left alone."""
    assert end_unwritten(log, "x", Outcome("cancelled"))
    stream = follow(log, "x")
    assert [] == list(stream)
    assert "cancelled" == stream.status
    assert not end_unwritten(log, "x", Outcome("complete"))
    log.begin("y")
    assert not end_unwritten(log, "y", Outcome("cancelled"))


def test_without_celery() -> None:
    """Without the library the task names the extra, and the rest works."""
    printed = run_program(
        "import sys; sys.modules['celery'] = None\n"
        "import streamkit.workers\n"
        "try: import streamkit.workers.celery\n"
        "except streamkit.ConfigError as error: print(error)\n"
    )
    assert 'StreamTask needs Celery: python -m pip install "streamkit[celery]"\n' == printed
