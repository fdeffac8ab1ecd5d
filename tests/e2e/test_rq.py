"""RQ's worker, Redis and the reader as processes of their own: what a job writes is followed by the job's id."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamkit import FollowedStream, RedisLog, StreamError, WriterLostError, follow
from streamkit.testing import Server
from tests.e2e.test_celery import LONG, WORDS, reply_to, rest
from tests.processes import Process, run_process
from tests.redis_server import RedisServer, make_log, redis_server

__all__ = ["make_log", "redis_server", "run_process"]  # fixtures

pytestmark = pytest.mark.slow
pytest.importorskip("rq")


@attrs.define(eq=False)
class Office:
    """A queue, the log in the same Redis, a server of models, and what starts workers."""

    queue: Any
    log: RedisLog
    model: Server
    worker: Callable[[], Process]

    def ask(self, job: str, question: str, **options: Any) -> str:
        return str(self.queue.enqueue(f"tests.e2e.rq_jobs.{job}", question, **options).id)

    def begun(self, id: str) -> FollowedStream:
        stream = follow(self.log, id)
        next(stream)
        return stream

    def ended(self, id: str) -> Any:
        """Wait for the end of a job, and return it."""
        from rq.job import Job

        while True:
            job = Job.fetch(id, connection=self.queue.connection)
            if job.get_status() in ("finished", "failed", "stopped"):
                return job
            self.queue.connection.blpop("nothing", timeout=0.05)


@pytest.fixture
def office(
    redis_server: Callable[[], RedisServer], make_log: Callable[..., RedisLog], run_process: Callable[..., Process]
) -> Iterator[Office]:
    import redis
    import rq

    server = redis_server()
    with Server(reply_to) as model, closing(redis.Redis.from_url(server.url)) as connection:

        def worker() -> Process:
            process = run_process(
                "rq.cli", "worker", "--url", server.url, "--path", ".", "work", LOG=server.url, MODEL=model.url
            )
            process.wait_for("Listening on work")
            return process

        queue = rq.Queue("work", connection=connection)
        yield Office(queue, make_log(server.url), model, worker)


def test_a_job(office: Office) -> None:
    """What a job writes is followed while it runs, and is its result."""
    office.worker()
    id = office.ask("answer", "slow 30")
    assert "w29" in follow(office.log, id).collect().text
    assert "w29" in office.ended(id).return_value()["text"]


def test_log_stop(office: Office) -> None:
    """`log.stop()` of the job's id ends the reply; what came is its result."""
    office.worker()
    id = office.ask("answer", LONG)
    stream = office.begun(id)
    office.log.stop(id)
    text = rest(stream)
    assert "cancelled" == stream.status
    assert (text, "cancelled") == tuple(office.ended(id).return_value()[name] for name in ("text", "finish_reason"))


def test_stop_job_command(office: Office) -> None:
    """RQ's own command kills the process: readers keep what came, and are told within the lease."""
    from rq.command import send_stop_job_command

    office.worker()
    id = office.ask("answer", LONG)
    stream = office.begun(id)
    send_stop_job_command(office.queue.connection, id)
    assert WORDS.startswith(rest(stream))
    assert isinstance(stream.error, WriterLostError)
    assert "stopped" == office.ended(id).get_status()


def test_a_timeout(office: Office) -> None:
    """It raises in the job with the partial reply; the log has that, and says how it ended."""
    office.worker()
    id = office.ask("limited", LONG, job_timeout=2)
    stream = office.begun(id)
    text = rest(stream)
    assert "JobTimeoutException" in str(stream.error)
    result = office.ended(id).return_value()
    assert "JobTimeoutException" == result["interrupted"]
    assert text.startswith(result["text"]) or result["text"].startswith(text)


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs /proc")
def test_a_job_that_runs_again(office: Office) -> None:
    """Its process is killed in the middle: the second run asks no model, and fails as the first one did."""
    from rq import Retry

    worker = office.worker()
    id = office.ask("answer", LONG, retry=Retry(max=1))
    stream = office.begun(id)
    [child] = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    text = rest(stream)
    assert isinstance(stream.error, WriterLostError)
    job = office.ended(id)
    assert "failed" == job.get_status()
    assert "WriterLostError" in job.latest_result().exc_string
    assert 1 == len(office.model.requests)
    late = follow(office.log, id)
    with suppress(StreamError):
        list(late)
    assert text == late.completion.text
    assert sys.executable
