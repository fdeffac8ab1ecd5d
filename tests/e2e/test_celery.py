"""Celery's worker, Redis and the web app as processes of their own: what a task writes is followed in the web."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import requests

from streamkit import (
    Completion,
    FollowedStream,
    LogConflictError,
    RedisLog,
    StreamError,
    WriterLostError,
    follow,
    publish,
)
from streamkit.testing import Reply, Server, WaitFor, error_reply, text_reply
from streamkit.testing.request import Request
from tests.processes import Process, run_process
from tests.redis_server import RedisServer, make_log, redis_server
from tests.unit.scripted import DONE, Scripted, texts
from tests.unit.support import Task

__all__ = ["make_log", "redis_server", "run_process"]  # fixtures

pytestmark = pytest.mark.slow
pytest.importorskip("celery")
pytest.importorskip("flask")
pytest.importorskip("gunicorn")

Runs = Callable[..., Process]


def reply_to(request: Request) -> Reply:
    """Do what the prompt says."""
    body = request.json()
    prompt: str = body["messages"][-1]["content"]
    what, _, count = prompt.partition(" ")
    if what == "limited" and body["model"] == "m":
        return error_reply(429, "slow down")
    words = " ".join(f"w{number}" for number in range(int(count or 3)))
    return text_reply(words, pause=0.05 if what == "slow" else 0.0)


@attrs.define(eq=False)
class Site:
    """A web app in gunicorn, a Redis, the log in it, and a server of models; workers come when they are asked for."""

    run: Runs
    log: RedisLog
    environment: dict[str, str]
    model: Server
    web: str = ""
    answers: Callable[[Request], Reply] = reply_to

    def worker(
        self, pool: str = "prefork", concurrency: int = 1, options: Sequence[str] = (), **environment: str
    ) -> Process:
        """Start a worker, and wait until it takes tasks."""
        concurrent = [] if pool == "solo" else ["--concurrency", str(concurrency)]
        process = self.run(
            "celery",
            *("-A", "tests.e2e.celery_app", "worker", "--pool", pool, "--loglevel", "INFO"),
            *(*concurrent, "--without-mingle", "--without-gossip", *options),
            **{**self.environment, **environment},
        )
        process.wait_for(r"@\S+ ready")
        return process

    def ask(self, task: str, question: str, **options: Any) -> str:
        """Send a task, and return its id."""
        response = requests.post(f"{self.web}/tasks/{task}", question, params=options, timeout=60)
        response.raise_for_status()
        return str(response.json()["id"])

    def result(self, id: str) -> tuple[str, Any]:
        """Return the state and the result of a task, when it is over."""
        found = requests.get(f"{self.web}/results/{id}", timeout=90).json()
        return found["state"], found["result"]

    def revoke(self, id: str, sent: str | None = None) -> None:
        """Revoke a task; with a signal, terminate it."""
        requests.post(f"{self.web}/tasks/{id}/revoke", params={"signal": sent} if sent else {}, timeout=60)

    def begun(self, id: str) -> FollowedStream:
        """Return a follower that has the first chunk."""
        stream = follow(self.log, id)
        next(stream)
        return stream


@pytest.fixture
def site(
    redis_server: Callable[[], RedisServer], make_log: Callable[..., RedisLog], run_process: Runs
) -> Iterator[Site]:
    redis = redis_server()
    with Server(lambda request: site.answers(request)) as model:
        environment = {"BROKER": f"redis+socket://{redis.folder}/s", "LOG": redis.url, "MODEL": model.url, "LEASE": "2"}
        site = Site(run_process, make_log(redis.url), environment, model)
        gunicorn = run_process(
            "gunicorn",
            *("--bind", "127.0.0.1:0", "--worker-class", "gthread", "--threads", "16", "tests.e2e.celery_app:web"),
            **environment,
        )
        site.web = gunicorn.wait_for(r"Listening at: (http://\S+)")
        yield site


def rest(stream: FollowedStream) -> str:
    """Take what is left, and return the whole text; an error stays in the stream."""
    try:
        for _ in stream:
            pass
    except StreamError:
        pass
    return stream.completion.text


WORDS = " ".join(f"w{number}" for number in range(100))
LONG = "slow 100"  # more than five seconds


def test_three_processes(site: Site) -> None:
    """What a task writes arrives in the browser while it is written, and is its result; a reload goes on."""
    worker = site.worker(concurrency=2, WARM="1")
    id = site.ask("answer", "slow 30")
    asked = len(site.model.requests)
    numbers: list[int] = []
    texts: list[str] = []
    while True:
        headers = {"Last-Event-ID": str(numbers[-1])} if numbers else {}
        with requests.get(f"{site.web}/replies/{id}", stream=True, timeout=60, headers=headers) as response:
            assert 200 == response.status_code
            done = False
            for line in response.iter_lines(decode_unicode=True):
                name, _, value = line.partition(": ")
                if name == "id":
                    numbers.append(int(value))
                elif name == "event" and value == "done":
                    done = True
                elif name == "data" and "content" in value:
                    texts.append(json.loads(value)["content"])
                    if len(texts) % 5 == 0:
                        break  # the browser reloads
        if done:
            break
    whole = " ".join(f"w{number}" for number in range(30))
    assert whole == "".join(texts)
    assert len(numbers) == len(set(numbers)) >= 10
    state, result = site.result(id)
    assert ("SUCCESS", whole) == (state, Completion.from_dict(result).text)
    assert Completion.from_dict(result) == follow(site.log, id).collect()
    assert asked <= len(site.model.requests) <= 2  # and the one before the fork
    worker.wait_for("succeeded in")
    assert "w1" not in worker.output  # neither Celery nor the library logs what is in a reply


def test_log_stop(site: Site) -> None:
    """`log.stop()` of the task's id ends it; the partial reply is its result, and the log's."""
    site.worker()
    id = site.ask("answer", LONG)
    stream = site.begun(id)
    assert site.log.stop(id)
    text = rest(stream)
    assert "cancelled" == stream.status
    state, result = site.result(id)
    assert ("SUCCESS", "cancelled", text) == (state, result["finish_reason"], result["text"])
    assert WORDS.startswith(text)
    assert WORDS != text
    site.model.wait_for_open_connections(0)


@pytest.mark.parametrize("sent", [None, "SIGTERM", "SIGUSR1", "SIGINT", "SIGKILL", "SIGQUIT"])
def test_revoked_while_it_runs(site: Site, sent: str | None) -> None:
    """`revoke`, with `terminate` and without, ends the reply: what came is kept, and the readers are told."""
    worker = site.worker()
    id = site.ask("answer", LONG)
    stream = site.begun(id)
    site.revoke(id, sent)
    text = rest(stream)
    assert text
    assert WORDS.startswith(text)
    assert WORDS != text
    if sent == "SIGKILL":
        assert isinstance(stream.error, WriterLostError)
    elif sent == "SIGUSR1":
        assert "cancelled" == stream.status or "SoftTimeLimitExceeded" in str(stream.error)
        assert "ended" == site.log.status(id)
    else:
        # By the revoke, or by the signal where that is quicker.
        assert ("cancelled", None) == (stream.status, stream.error) or str(sent) in str(stream.error)
    site.model.wait_for_open_connections(0)
    state, result = site.result(id)
    if sent in ("SIGTERM", "SIGKILL", "SIGQUIT"):
        assert "REVOKED" == state
    elif sent is None:
        assert ("SUCCESS", text) == (state, result["text"])
    more = follow(site.log, site.ask("answer", "words 3"))
    assert "w2" in rest(more), worker.output  # the pool goes on


@pytest.mark.parametrize("pool", ["threads", "gevent"])
@pytest.mark.parametrize("sent", [None, "SIGTERM"])
def test_revoked_in_other_pools(site: Site, pool: str, sent: str | None) -> None:
    """The same goes for threads and for greenlets."""
    if pool == "gevent":
        pytest.importorskip("gevent")
    site.worker(pool, 4)
    others = [site.ask("answer", "slow 40") for _ in range(2)]
    id = site.ask("answer", LONG)
    stream = site.begun(id)
    site.revoke(id, sent)
    text = rest(stream)
    assert ("cancelled", None) == (stream.status, stream.error)
    assert WORDS.startswith(text)
    assert WORDS != text
    for other in others:
        assert "w39" in follow(site.log, other).collect().text
        assert "SUCCESS" == site.result(other)[0]


@pytest.mark.parametrize("pool", ["threads", "gevent", "solo"])
def test_other_pools(site: Site, pool: str) -> None:
    """Tasks publish, are stopped by their log, and fail, in every pool."""
    if pool == "gevent":
        pytest.importorskip("gevent")
    site.worker(pool, 4)
    ids = [site.ask("answer", "slow 20") for _ in range(3)]
    for id in ids:
        assert "w19" in follow(site.log, id).collect().text
    id = site.ask("answer", LONG)
    stream = site.begun(id)
    site.log.stop(id)
    assert rest(stream) != WORDS
    assert "cancelled" == stream.status
    failed = follow(site.log, site.ask("answer", "limited"))
    rest(failed)
    assert "slow down" in str(failed.error)


@pytest.mark.parametrize("how", ["revoked", "terminated", "expired", "stopped"])
def test_ended_before_it_begins(site: Site, how: str) -> None:
    """The readers of a task that is revoked, expires or is stopped in the queue are told; no model is asked."""
    site.worker()
    first = site.ask("answer", "slow 40")
    site.begun(first)
    id = site.ask("answer", "words 3", **({"expires": 0.2} if how == "expired" else {}))
    stream = follow(site.log, id)
    reader = Task(lambda: rest(stream))
    if how in ("revoked", "terminated"):
        site.revoke(id, "SIGTERM" if how == "terminated" else None)
    elif how == "stopped":
        site.log.stop(id)
    assert "" == reader.result()
    assert ("cancelled", None) == (stream.status, stream.error)
    assert "w39" in follow(site.log, first).collect().text
    assert 1 == len(site.model.requests)


def test_soft_time_limit(site: Site) -> None:
    """It raises in `publish` with the partial reply; the log has that too, and says how it ended."""
    site.worker()
    id = site.ask("limited", LONG)
    stream = site.begun(id)
    text = rest(stream)
    assert text
    assert WORDS.startswith(text)
    assert WORDS != text
    assert "SoftTimeLimitExceeded" in str(stream.error)
    state, result = site.result(id)
    assert ("SUCCESS", "SoftTimeLimitExceeded") == (state, result["interrupted"])
    assert text.startswith(result["partial"]["text"]) or result["partial"]["text"].startswith(text)
    site.model.wait_for_open_connections(0)


def test_hard_time_limit(site: Site) -> None:
    """The process is ended; readers keep what came, and are told why, or within the lease that it is gone."""
    site.worker()
    id = site.ask("limited_hard", LONG)
    stream = site.begun(id)
    assert WORDS.startswith(rest(stream))
    assert isinstance(stream.error, WriterLostError) or "Terminated: SIGTERM" in str(stream.error)
    assert "FAILURE" == site.result(id)[0]


def kill_child(worker: Process) -> None:
    """Kill the one process of a prefork pool."""
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    assert 1 == len(children)
    os.kill(int(children[0]), signal.SIGKILL)


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs /proc")
def test_a_worker_lost_in_the_middle(site: Site) -> None:
    """With `acks_late` the task is delivered again; it does not ask again for a reply that has begun."""
    worker = site.worker()
    id = site.ask("late", LONG)
    stream = site.begun(id)
    kill_child(worker)
    text = rest(stream)
    assert isinstance(stream.error, WriterLostError)
    state, result = site.result(id)
    assert "FAILURE" == state
    assert "WriterLostError" in result
    assert 1 == len(site.model.requests)
    assert text == rest(follow(site.log, id))


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs /proc")
def test_a_worker_lost_before_the_first_chunk(site: Site) -> None:
    """The second run asks the model, and writes the reply."""
    worker = site.worker()
    whole = text_reply("one two")
    go = threading.Event()
    answers = iter([whole.first(0).then(WaitFor(go, timeout=60)), whole])
    site.answers = lambda request: next(answers)
    id = site.ask("late", "x")
    site.model.wait_for_requests(1)
    kill_child(worker)
    go.set()
    state, result = site.result(id)
    assert ("SUCCESS", "one two") == (state, result["text"])
    assert "one two" == follow(site.log, id).collect().text
    assert 2 == len(site.model.requests)


def test_delivered_twice(site: Site) -> None:
    """A second run waits for the first one's reply, or returns it: the model is asked once."""
    site.worker(concurrency=2)
    id = site.ask("late", "slow 40", task_id="twice")
    site.begun(id)
    assert id == site.ask("late", "slow 40", task_id="twice")
    assert "w39" in follow(site.log, id).collect().text
    assert "w39" in site.result(id)[1]["text"]
    site.ask("late", "slow 40", task_id="twice")
    after = site.ask("late", "words 2")
    assert "SUCCESS" == site.result(after)[0]
    assert 2 == len(site.model.requests)


def test_a_visibility_timeout(site: Site) -> None:
    """A task that Redis delivers again while it runs waits for its own reply, and asks no model."""
    workers = [site.worker(VISIBILITY="1"), site.worker(VISIBILITY="1", options=["--hostname", "other@%h"])]
    id = site.ask("late", "slow 200")
    stream = site.begun(id)
    received = rf"late\[{id}\] received"
    threads = [Task(lambda worker=worker: worker.wait_for(received)) for worker in workers]  # type: ignore[misc]
    for thread in threads:  # in both
        thread.result()
    assert "open" == site.log.status(id)
    assert "w199" in rest(stream)
    assert "w199" in site.result(id)[1]["text"]
    for worker in workers:
        worker.wait_for(rf"late\[{id}\] succeeded")
    assert 1 == len(site.model.requests)


def test_retries(site: Site) -> None:
    """A task that fails before the first chunk is retried into the same log; the readers wait for that."""
    site.worker()
    answers = iter([error_reply(429, "slow down"), error_reply(503, "busy"), text_reply("at last")])
    site.answers = lambda request: next(answers)
    id = site.ask("retried", "x")
    assert "at last" == follow(site.log, id).collect().text
    assert ("SUCCESS", "at last") == (site.result(id)[0], site.result(id)[1]["text"])


def test_retries_that_fail(site: Site) -> None:
    """After the last one the readers get its error."""
    site.worker()
    id = site.ask("retried", "limited")
    stream = follow(site.log, id)
    rest(stream)
    assert "slow down" in str(stream.error)
    assert "FAILURE" == site.result(id)[0]
    assert 3 == len(site.model.requests)


def test_no_retry_of_a_reply_that_has_begun(site: Site) -> None:
    """The readers have text already: the task fails at once."""
    site.worker()
    whole = text_reply("one two three")
    site.answers = lambda request: whole.first(3)
    id = site.ask("retried", "x")
    stream = follow(site.log, id)
    assert "one" in rest(stream)
    assert stream.error is not None
    state, result = site.result(id)
    assert "FAILURE" == state
    assert type(stream.error).__name__ in result
    assert 1 == len(site.model.requests)


def test_another_model_in_its_place(site: Site) -> None:
    """A task may publish again where the first model failed before its first chunk."""
    site.worker()
    id = site.ask("other_model", "limited")
    assert "w0 w1 w2" == follow(site.log, id).collect().text


def test_tasks_that_fail_without_a_reply(site: Site) -> None:
    """Readers get the error of a task that never came to publish."""
    site.worker()
    stream = follow(site.log, site.ask("broken", "x"))
    rest(stream)
    assert "ValueError: no reply was begun" in str(stream.error)
    state, result = site.result(site.ask("without_log", "x"))
    assert "FAILURE" == state
    assert "has no log" in result


def test_ids_of_its_own(site: Site) -> None:
    """A task may write several replies under ids that it chooses; SIGTERM stops those too."""
    site.worker()
    id = site.ask("two", "words 3")
    for n in range(2):
        assert "w0 w1 w2" == follow(site.log, f"{id}/{n}").collect().text
    id = site.ask("two", LONG)
    stream = site.begun(f"{id}/0")
    site.revoke(id, "SIGTERM")
    rest(stream)
    assert "Terminated: SIGTERM" in str(stream.error)
    assert "absent" == site.log.status(f"{id}/1")


def test_shutdowns(site: Site) -> None:
    """A warm shutdown waits for the reply; a cold one ends it, and the readers are told."""
    worker = site.worker()
    stream = site.begun(site.ask("answer", "slow 40"))
    worker.kill(signal.SIGTERM)
    assert "w39" in rest(stream)
    assert 0 == worker.wait()
    worker = site.worker()
    stream = site.begun(site.ask("answer", LONG))
    worker.kill(signal.SIGQUIT)
    assert WORDS.startswith(rest(stream))
    assert "Terminated" in str(stream.error) or isinstance(stream.error, WriterLostError)
    worker.wait()


def test_a_worker_that_is_killed(site: Site) -> None:
    """kill -9 of the worker's main process ends its replies, and the readers are told within the lease."""
    worker = site.worker()
    stream = site.begun(site.ask("answer", LONG))
    worker.kill()
    assert WORDS.startswith(rest(stream))
    assert isinstance(stream.error, WriterLostError)


def test_called_as_a_function(site: Site) -> None:
    """The log is written by whoever holds an id; an id that was taken by somebody else is left alone."""
    publish(Scripted([*texts("mine"), DONE]), site.log, "taken")
    site.worker()
    assert "mine" == site.result(site.ask("answer", "x", task_id="taken"))[1]["text"]
    with pytest.raises(LogConflictError):
        publish(Scripted([DONE]), site.log, "taken")
    assert not site.model.requests
