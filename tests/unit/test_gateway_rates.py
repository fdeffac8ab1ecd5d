"""Requests and tokens a minute are never exceeded, in memory, in Redis, and while Redis is away."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.errors import ConfigError, RequestError
from streamkit.gateway.core.holders import Holder, Limits
from tests.processes import Process, run_process
from tests.redis_server import RedisServer, redis_server
from tests.unit.support import SOON

pytest.importorskip("limits")
pytest.importorskip("redis")
from limits.storage import memory, redis
from redis import Redis

from streamkit.gateway.core import rates
from streamkit.gateway.core.rates import Rates

__all__ = ["redis_server", "run_process"]  # fixtures


class Clock:
    """A clock that the test moves; the library's storages look at it as well."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (memory, redis):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=clock))
    return clock


@pytest.fixture
def make_rates() -> Iterator[Callable[..., Rates]]:
    made: list[Rates] = []

    def make(*args: Any, **options: Any) -> Rates:
        made.append(Rates(*args, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def token(requests: int | None = None, tokens: int | None = None, name: str = "token:a") -> Holder:
    return Holder(name, Limits(requests_per_minute=requests, tokens_per_minute=tokens))


def team(requests: int | None = None, tokens: int | None = None) -> Holder:
    return token(requests, tokens, "team:blue")


def refused(rate: Rates, holders: list[Holder], tokens: int = 1) -> RequestError:
    with pytest.raises(RequestError) as caught:
        rate.ask(holders, tokens)
    assert 429 == caught.value.status
    assert "rate_limit_exceeded" == caught.value.code
    return caught.value


def passes(rate: Rates, holders: list[Holder], tokens: int = 1) -> bool:
    try:
        rate.ask(holders, tokens)
    except RequestError:
        return False
    return True


# In memory.


def test_headers(clock: Clock) -> None:
    """A request that passes says what there is, what is left, and when the first of it is free again."""
    rate = Rates(clock=clock)
    assert {} == rate.ask([token()], 5)
    assert {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "2",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "60",
        "x-ratelimit-reset-tokens": "1m0s",
    } == rate.ask([token(3, 100)], 40)
    clock.now += 40
    headers = rate.ask([token(3, 100)], 10)
    assert ("1", "20s") == (headers["x-ratelimit-remaining-requests"], headers["x-ratelimit-reset-requests"])
    assert ("50", "20s") == (headers["x-ratelimit-remaining-tokens"], headers["x-ratelimit-reset-tokens"])
    clock.now += 19.75
    assert "250ms" == rate.ask([token(3, 100)], 10)["x-ratelimit-reset-requests"]


def test_a_refusal_says_when_there_is_room(clock: Clock) -> None:
    """Who waits as long as `retry-after` says is let in; a second earlier there was no room."""
    rate = Rates(clock=clock)
    holder = [token(2)]
    rate.ask(holder, 1)
    clock.now += 10
    rate.ask(holder, 1)
    clock.now += 5
    error = refused(rate, holder)
    assert "45" == error.headers["retry-after"]
    assert "0" == error.headers["x-ratelimit-remaining-requests"]
    assert "45s" == error.headers["x-ratelimit-reset-requests"]
    assert {"limit": "requests_per_minute", "scope": "token", "max": 2} == error.details
    clock.now += 44
    assert "1" == refused(rate, holder).headers["retry-after"]
    clock.now += 1.001
    assert "0" == rate.ask(holder, 1)["x-ratelimit-remaining-requests"]


def test_tokens_wait_for_as_many_as_they_need(clock: Clock) -> None:
    """A request for many tokens waits until so many have left the window, not for the first of them alone."""
    rate = Rates(clock=clock)
    holder = [token(tokens=100)]
    for _ in range(4):
        rate.ask(holder, 25)
        clock.now += 10
    error = refused(rate, holder, 60)  # three of the four have to leave: the third was taken 20 s ago
    assert "40" == error.headers["retry-after"]
    assert "tokens_per_minute" == error.details["limit"]
    assert "20" == refused(rate, holder, 20).headers["retry-after"]
    clock.now += 40.001
    assert passes(rate, holder, 60)


def test_a_request_that_can_never_pass(clock: Clock) -> None:
    """A request for more tokens than the limit has is refused for good: no client is told to try it again."""
    rate = Rates(clock=clock)
    error = refused(rate, [token(5, 100)], 101)
    assert "retry-after" not in error.headers
    assert "false" == error.headers["x-should-retry"]
    assert "4" == rate.ask([token(5, 100)], 100)["x-ratelimit-remaining-requests"]
    assert "0" == refused(rate, [token(0)]).headers["x-ratelimit-limit-requests"]


def test_a_team_holds_its_tokens(clock: Clock) -> None:
    """A token that may do more than its team is held to the team's limit, which its other tokens use as well."""
    rate = Rates(clock=clock)
    first = [token(1000, 1_000_000), team(3, 50)]
    second = [token(2, name="token:b"), team(3, 50)]
    headers = rate.ask(first, 10)
    assert ("3", "2") == (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"])
    assert ("50", "40") == (headers["x-ratelimit-limit-tokens"], headers["x-ratelimit-remaining-tokens"])
    assert "1" == rate.ask(second, 10)["x-ratelimit-remaining-requests"]
    assert {"limit": "tokens_per_minute", "scope": "team", "max": 50} == refused(rate, first, 40).details
    assert passes(rate, second, 30)
    assert "team" == refused(rate, first).details["scope"]
    assert "token" == refused(rate, second).details["scope"]


def test_refusals_take_nothing(clock: Clock) -> None:
    """A token that goes on asking uses nothing of its team, nor of its own other limit."""
    rate = Rates(clock=clock)
    greedy, other = [token(5, 10), team(10, 100)], [token(name="token:b"), team(10, 100)]
    rate.ask(greedy, 10)
    for _ in range(50):
        refused(rate, greedy, 5)
    headers = rate.ask(other, 1)
    assert ("8", "89") == (headers["x-ratelimit-remaining-requests"], headers["x-ratelimit-remaining-tokens"])
    clock.now += 60.001
    assert "4" == rate.ask(greedy, 1)["x-ratelimit-remaining-requests"]


def test_tokens_that_were_used_beyond(clock: Clock) -> None:
    """Tokens of a reply count when it has ended: never refused, and no more than the window has."""
    rate = Rates(clock=clock)
    holders = [token(tokens=100), team(tokens=1000)]
    rate.ask(holders, 10)
    rate.used(holders, 50)
    assert "39" == rate.ask(holders, 1)["x-ratelimit-remaining-tokens"]
    rate.used(holders, 5000)
    assert "60" == refused(rate, holders).headers["retry-after"]
    assert "0" == refused(rate, [token(name="token:b"), team(tokens=1000)]).headers["x-ratelimit-remaining-tokens"]
    rate.used(holders, 0)
    rate.used(holders, -5)
    rate.used([token(3)], 5)
    clock.now += 60.001
    assert "99" == rate.ask(holders, 1)["x-ratelimit-remaining-tokens"]


@settings(max_examples=60)
@given(
    limit=st.integers(1, 300_000),
    steps=st.lists(st.tuples(st.floats(0, 40), st.floats(0, 0.6)), min_size=1, max_size=60),
)
def test_never_more_in_any_minute(limit: int, steps: list[tuple[float, float]]) -> None:
    """In no minute do requests pass with more tokens than the limit, also where an entry is many tokens."""
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(memory, "time", SimpleNamespace(time=clock))
        rate, passed = Rates(clock=clock), list[tuple[float, int]]()
        for pause, share in steps:
            clock.now += pause
            tokens = max(1, int(limit * share))
            if passes(rate, [token(tokens=limit)], tokens):
                passed.append((clock.now, tokens))
        for end, _ in passed:
            assert limit >= sum(tokens for at, tokens in passed if end - 60 < at <= end)


def test_all_of_a_limit_can_be_used(clock: Clock) -> None:
    """One request may have all tokens of a limit, also of one that is no multiple of its entries."""
    for limit in (1, 9_999, 10_000, 10_001, 123_457, 10_000_000):
        rate = Rates(clock=clock)
        assert "0" == rate.ask([token(tokens=limit)], limit)["x-ratelimit-remaining-tokens"]
        refused(rate, [token(tokens=limit)])


def test_threads() -> None:
    """Threads that ask at once get as many as the limit has, and no more."""
    holders = [token(40), team(25)]
    for _ in range(20):
        rate, gate, passed = Rates(), threading.Barrier(8), list[bool]()

        def ask(rate: Rates = rate, gate: threading.Barrier = gate, passed: list[bool] = passed) -> None:
            gate.wait(SOON)
            passed.extend(passes(rate, holders) for _ in range(10))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
        assert 25 == sum(passed)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_counts_for_itself() -> None:
    """A child that is forked while a thread of the parent counts does not wait for that thread."""
    rate = Rates()
    rate.ask([token(1)], 1)
    with rate._lock:
        pid = os.fork()
        if not pid:
            signal.alarm(20)
            os._exit(0 if passes(rate, [token(1)]) and not passes(rate, [token(1)]) else 1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library, or with an address that is none, the error says what to do, and shows no password."""
    for url in ("http://user:secret-word@host", "nonsense"):
        with pytest.raises(ConfigError, match="redis://") as caught:
            Rates(url)
        assert "secret-word" not in str(caught.value)
    assert "secret-word" not in repr(Rates("redis://user:secret-word@127.0.0.1:1/0"))
    monkeypatch.setattr(rates, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"streamkit\[serve\]"):
        Rates()


# In Redis.


def test_redis_does_the_same(
    clock: Clock, redis_server: Callable[..., RedisServer], make_rates: Callable[..., Rates]
) -> None:
    """Two gateways that share a Redis share the windows; headers and refusals are those of memory."""
    url = redis_server().url
    one, two, alone = make_rates(url, clock=clock), make_rates(url, clock=clock), Rates(clock=clock)
    holders = [token(30, 25_000), team(12, 500_000)]
    random_ = random.Random(5)
    for _ in range(300):
        clock.now += random_.choice([0, 0.25, 7.5])
        shared, tokens = random_.choice([one, two]), random_.choice([1, 800, 4000])
        answers = []
        for rate in (shared, alone):
            try:
                answers.append(rate.ask(holders, tokens))
            except RequestError as error:
                answers.append({**error.headers, "error": error.message})
            if tokens == 800:
                rate.used(holders, 555)
        assert answers[0] == answers[1]


def test_four_processes_never_exceed(
    redis_server: Callable[..., RedisServer], run_process: Callable[..., Process]
) -> None:
    """Four processes with four threads each let no more through than the limits of token and team."""
    server = redis_server()
    processes = [run_process("tests.unit.gateway_rates_process", server.url, "37", "4000") for _ in range(4)]
    for process in processes:
        process.wait_for("ready")
    with closing(Redis.from_url(server.url)) as client:
        client.rpush("go", *"1234")
    passed = [int(process.wait_for(r"passed (\d+) of 400\n")) for process in processes]
    assert 37 == sum(passed)


def test_redis_is_away(
    caplog: pytest.LogCaptureFixture, redis_server: Callable[..., RedisServer], make_rates: Callable[..., Rates]
) -> None:
    """While Redis is away each process counts by itself, says so once, and counts with the others when it is back."""
    server = redis_server()
    rate = make_rates(server.url)
    rate.ask([token(3)], 1)
    server.kill()
    with caplog.at_level(logging.WARNING, "streamkit"):
        for left in ("2", "1", "0"):
            assert left == rate.ask([token(3)], 1)["x-ratelimit-remaining-requests"]
        refused(rate, [token(3)])
        rate.used([token(3, 5)], 5)
    assert 1 == len(caplog.records)
    assert "is away" in caplog.text
    assert "which is away" in repr(rate)
    server.start()
    rate._away_until -= 10  # so that the test need not wait for the next try
    assert "2" == rate.ask([token(3)], 1)["x-ratelimit-remaining-requests"]
    assert "away" not in repr(rate)


def test_redis_that_hangs(
    redis_server: Callable[..., RedisServer], make_rates: Callable[..., Rates], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request goes on while Redis is stopped, and counts there again when it runs."""
    monkeypatch.setattr(rates, "_PAUSE", 1000.0)
    server = redis_server()
    rate = make_rates(server.url)
    rate.ask([token(50)], 1)
    server.send(signal.SIGSTOP)
    try:
        assert "49" == rate.ask([token(50)], 1)["x-ratelimit-remaining-requests"]
        assert "48" == rate.ask([token(50)], 1)["x-ratelimit-remaining-requests"]
    finally:
        server.send(signal.SIGCONT)
    rate._away_until = 1.0  # so that the test need not wait for the next try
    assert "48" == rate.ask([token(50)], 1)["x-ratelimit-remaining-requests"]


def test_one_try(make_rates: Callable[..., Rates], monkeypatch: pytest.MonkeyPatch) -> None:
    """A request tries a Redis that does not answer once, by one connection, and the next ones not at all."""
    monkeypatch.setattr(rates, "_PAUSE", 1000.0)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        rate = make_rates(f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
        for left in ("49", "48", "47"):
            assert left == rate.ask([token(50)], 1)["x-ratelimit-remaining-requests"]
        listener.accept()[0].close()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_redis_that_never_was(make_rates: Callable[..., Rates]) -> None:
    """A gateway starts without its Redis."""
    with closing(make_rates("redis://127.0.0.1:1/0")) as rate:
        assert "1" == rate.ask([token(2)], 1)["x-ratelimit-remaining-requests"]
        assert "0" == rate.ask([token(2)], 1)["x-ratelimit-remaining-requests"]
        refused(rate, [token(2)])
