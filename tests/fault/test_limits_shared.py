"""Rate limits in Redis hold for all processes together, in one line, whatever becomes of a process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from streamkit import LocalLimitError, RateLimit, RateLimitError, StreamError, Usage
from streamkit.policies import redis_lines
from streamkit.policies.line import Ask
from streamkit.policies.redis_lines import RedisLines
from streamkit.streaming.gates import Result
from streamkit.streaming.stream_hook import Halted
from streamkit.testing import Server, text_reply
from streamkit.wire.http import ResponseInfo
from tests.fault.limit_programs import at_least_in_a_window, enter, start, state_of
from tests.redis_server import RedisServer, redis_server  # noqa: F401 - a fixture
from tests.unit.gate_support import NoWait, call_of, job_of, stream_of
from tests.unit.support import SOON, Task

MakeServer = Callable[..., RedisServer]
NAME = "openai"  # of the line of all requests here


@pytest.fixture
def redis(redis_server: MakeServer) -> RedisServer:  # noqa: F811
    return redis_server()


def waiting(limit: RateLimit) -> int:
    """Return how many requests wait in the line in Redis."""
    lines: Any = limit._shared
    return sum(lines._client.zcard(key) for key in lines._client.keys("streamkit:limit:*:line"))


def until_they_wait(limit: RateLimit, count: int) -> None:
    deadline = time.monotonic() + SOON
    while waiting(limit) != count:
        assert time.monotonic() < deadline, f"{waiting(limit)} wait, not {count}"
        threading.Event().wait(0.01)


def refused(limit: RateLimit, tokens: int = 5) -> LocalLimitError:
    call = call_of(tokens - 5)
    with pytest.raises(LocalLimitError) as caught:
        limit.enter(call, NoWait())
    limit.left(call, Result(caught.value))
    return caught.value


def sent_by_four(options: dict[str, Any], threads: int, each: int) -> tuple[list[tuple[float, float, int]], float]:
    """Return what four processes sent, and how long they took."""
    processes = [start(json.dumps(options), threads, each, seed) for seed in range(4)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        began = time.monotonic()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=SOON)[0] for process in processes]
        took = time.monotonic() - began
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [(begin, end, tokens) for output in outputs for begin, end, tokens in json.loads(output)], took


def test_four_processes_never_exceed_it(redis: RedisServer) -> None:
    """Four processes with three threads each: no window has too much, and every request passes."""
    sent, took = sent_by_four({"requests": 12, "tokens": 450, "per": 1.0, "storage": redis.url}, 3, 6)
    assert len(sent) == 72
    requests, tokens = at_least_in_a_window(sent, 1.0)
    assert requests <= 12
    assert tokens <= 450
    assert took > (sum(tokens for _, _, tokens in sent) / 450 - 1)


def test_without_redis_each_has_its_own() -> None:
    """The check of the test above sees it when each process has a limit of its own."""
    sent, _ = sent_by_four({"requests": 12, "tokens": 450, "per": 1.0}, 3, 2)
    requests, tokens = at_least_in_a_window(sent, 1.0)
    assert requests > 12 or tokens > 450


def test_first_come_first_served(redis: RedisServer) -> None:
    """A request of one process that needs much is not overtaken by small ones of another."""
    one, other = (RateLimit(tokens=100, per=2.0, storage=redis.url) for _ in range(2))
    order: list[str] = []

    def ask(limit: RateLimit, name: str, tokens: int) -> None:
        enter(limit, tokens)
        order.append(name)

    enter(one, 50)
    tasks = []
    for place, (limit, name, tokens) in enumerate([(one, "large", 95), (other, "small", 6), (one, "other", 7)], 1):
        tasks.append(Task(lambda limit=limit, name=name, tokens=tokens: ask(limit, name, tokens)))  # type: ignore[misc]
        until_they_wait(one, place)
    for task in tasks:
        task.result()
    assert order[0] == "large"
    assert sorted(order[1:]) == ["other", "small"]


def test_a_cancel_leaves_the_line(redis: RedisServer) -> None:
    """A request that is cancelled gives its place to those behind it, at once."""
    limit = RateLimit(tokens=100, per=3600.0, storage=redis.url)
    enter(limit, 50)
    state = state_of()
    large = Task(lambda: enter(limit, 95, state))
    until_they_wait(limit, 1)
    small = Task(lambda: enter(limit, 50))
    until_they_wait(limit, 2)
    state.halt()
    with pytest.raises(Halted):
        large.result()
    small.result()
    assert waiting(limit) == 0
    assert refused(RateLimit(tokens=100, per=3600.0, storage=redis.url, wait=False)).limit == "tokens"


def test_a_dead_process_leaves_the_line(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request of a process that has died is forgotten, and those behind it pass."""
    monkeypatch.setattr(redis_lines, "_LEASE", 0.5)
    monkeypatch.setattr(redis_lines, "_LOOK", 0.1)
    limit = RateLimit(tokens=100, per=3600.0, storage=redis.url)
    enter(limit, 50)
    lines = limit._shared
    assert isinstance(lines, RedisLines)
    assert lines._run(lines._ask, Ask(NAME, (), 95), "dead", 95, 1)[1] == "tokens"
    Task(lambda: enter(limit, 50)).result()


def test_one_that_was_let_through_counts_before_it_knows(redis: RedisServer) -> None:
    """A request that Redis let through counts until its process has noticed, and then for the whole window."""
    limit = RateLimit(requests=1, per=3600.0, storage=redis.url)
    call = enter(limit, 5)
    lines = limit._shared
    assert isinstance(lines, RedisLines)
    ask = Ask(NAME, (), 5)
    assert lines._run(lines._ask, ask, "second", 5, 1)[0] > 0
    assert lines._run(lines._ask, ask, "third", 5, 0)[0] > 3_600_000 + 3_500_000  # behind the second
    lines._run(lines._leave, ask, "second", -2, 0)
    assert lines._run(lines._ask, ask, "fourth", 5, 1)[0] > 0
    passed = list(lines._client.keys("*:sent"))
    (first,) = lines._client.zrange(passed[0], 0, -1)
    assert lines._run(lines._leave, ask, first, -2, 0) == ["fourth"]
    assert lines._run(lines._ask, ask, "fifth", 5, 0)[0] == 3_600_000
    assert lines._client.zscore(passed[0], "fourth") > lines._client.time()[0] * 1000 + 1000
    assert lines._run(lines._ask, ask, "fourth", 5, 1) == [0, ""]
    assert lines._client.zscore(passed[0], "fourth") < lines._client.time()[0] * 1000 + 1000
    assert 3_590_000 < lines._run(lines._ask, ask, "sixth", 5, 0)[0] <= 3_600_000
    limit.left(call, Result(sent=True))


def test_a_refusal_says_when(redis: RedisServer) -> None:
    """A limit that does not wait refuses with the limit that is reached and the time, and leaves nothing behind."""
    limit = RateLimit(requests=2, tokens=100, per=60.0, storage=redis.url, wait=False)
    enter(limit, 50)
    error = refused(limit, 60)
    assert error.limit == "tokens"
    assert error.retry_after == pytest.approx(60, abs=30)
    enter(limit, 50)
    assert refused(limit).limit == "requests"
    assert waiting(limit) == 0


def test_usage_and_the_providers_word(redis: RedisServer) -> None:
    """The usage replaces the estimate, a 429 stops the line, and so does a provider without room."""
    one, other = (RateLimit(tokens=100, per=60.0, storage=redis.url, wait=False) for _ in range(2))
    one.left(enter(one, 90), Result(sent=True, usage=Usage(total_tokens=10)))
    call = enter(other, 90)
    assert refused(other).limit == "tokens"
    other.left(call, Result(sent=True, usage=Usage(total_tokens=20)))
    last = enter(one, 5)
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20s"}
    one.left(last, Result(sent=True, response=ResponseInfo(200, headers)))
    error = refused(other)
    assert (error.limit, error.retry_after) == ("provider", pytest.approx(20, abs=15))
    one, other = (RateLimit(requests=50, per=60.0, storage=redis.url, wait=False) for _ in range(2))
    one.left(enter(one, 5), Result(RateLimitError(status=429, retry_after=300.0), sent=True))
    error = refused(other)
    assert (error.limit, error.retry_after) == ("provider", pytest.approx(300, abs=60))


def test_not_sent_counts_for_nothing(redis: RedisServer) -> None:
    """A request that another gate turned away gives its place back."""
    limit = RateLimit(requests=1, storage=redis.url, wait=False)
    for _ in range(3):
        call = call_of()
        limit.enter(call, NoWait())
        limit.left(call, Result(StreamError("turned away")))
    enter(limit, 5)
    assert refused(limit).limit == "requests"


def test_redis_away(redis: RedisServer) -> None:
    """While Redis is away requests fail, may be tried again, and their ends raise nothing; then they pass again."""
    limit = RateLimit(requests=5, storage=redis.url)
    call = enter(limit, 5)
    redis.kill()
    with pytest.raises(StreamError, match=r"the rate limit at unix://.* cannot be asked: ") as caught:
        enter(limit, 5)
    assert caught.value.retryable
    limit.left(call, Result(sent=True, usage=Usage(total_tokens=3)))
    redis.start()
    enter(limit, 5)


def test_no_password_is_shown(redis: RedisServer) -> None:
    """An address with a password is shown without it."""
    limit = RateLimit(requests=5, storage="redis://user:hunter2@127.0.0.1:1/0")
    with pytest.raises(StreamError) as caught:
        enter(limit, 5)
    assert "hunter2" not in f"{caught.value}{limit!r}"
    assert "127.0.0.1:1" in str(caught.value)


def test_real_streams(redis: RedisServer) -> None:
    """Streams of two clients share the limit, and the one that waits goes on when the window has room."""
    one, other = (RateLimit(requests=2, per=1.0, storage=redis.url) for _ in range(2))
    with Server(*[text_reply("Hello")] * 5) as server:
        streams = [stream_of(job_of(server, [limit])) for limit in (one, other, one, other, one)]
        assert [stream.collect().text for stream in streams] == ["Hello"] * 5


def test_keys_expire(redis: RedisServer) -> None:
    """Every key in Redis expires, so that a limit that nobody uses any more leaves nothing behind."""
    limit = RateLimit(requests=1, per=60.0, storage=redis.url)
    enter(limit, 5)
    state = state_of()
    task = Task(lambda: enter(limit, 5, state))
    until_they_wait(limit, 1)
    lines = limit._shared
    assert isinstance(lines, RedisLines)
    keys = lines._client.keys("*")
    assert len(keys) == 5
    assert all(0 < lines._client.ttl(key) <= 600 for key in keys)
    state.halt()
    with pytest.raises(Halted):
        task.result()
