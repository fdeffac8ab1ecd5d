"""A breaker opens by real failures, lets one trial through after its pause, and says when to try again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamkit import (
    AuthenticationError,
    Breaker,
    BrokenStreamError,
    CircuitOpenError,
    Client,
    ConfigError,
    ConnectError,
    OverloadedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StopEvent,
    StreamError,
    StreamTimeout,
    Timeout,
    TruncatedStreamError,
    providers,
)
from streamkit.streaming.gates import Call, Result
from streamkit.testing import Reset, Server, WaitFor, error_reply, text_reply
from tests.unit.gate_support import NoWait, call_of, job_of, stream_of
from tests.unit.support import SOON

WORKS = Result(sent=True, time_to_first_chunk=0.1)
FAILURES = [
    ConnectError(),
    StreamTimeout(phase="connect"),
    StreamTimeout(phase="first"),
    StreamTimeout(phase="idle"),
    StreamTimeout(phase="total"),
    BrokenStreamError(),
    TruncatedStreamError(),
    ProtocolError(),
    ServerError(status=500),
    OverloadedError(status=529),
    OverloadedError(status=503, in_stream=True),
]
NONE = [
    Result(RateLimitError(status=429), sent=True),
    Result(AuthenticationError(status=401), sent=True),
    Result(StreamTimeout(phase="total"), sent=True, time_to_first_chunk=0.1),
    Result(cancelled=True, sent=True),
    Result(StreamError("a decoder's mistake"), sent=True),
    Result(ConnectError(), sent=False),
    WORKS,
]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def passed(breaker: Breaker, provider: str = "openai") -> Call:
    call = call_of(provider=provider)
    breaker.enter(call, NoWait())
    return call


def refused(breaker: Breaker) -> CircuitOpenError:
    call = call_of()
    with pytest.raises(CircuitOpenError) as caught:
        breaker.enter(call, NoWait())
    breaker.left(call, Result(caught.value))
    return caught.value


def opened(clock: Clock, failures: int = 2) -> Breaker:
    breaker = Breaker(failures, within=60, pause=30, clock=clock)
    for _ in range(failures):
        breaker.left(passed(breaker), Result(ServerError(status=500), sent=True))
    assert breaker.state("openai") == "open"
    return breaker


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: f"{type(error).__name__} {getattr(error, 'phase', '')}")
def test_failures_open_it(error: StreamError) -> None:
    """Each failure of a service counts, and at the last one the circuit opens."""
    breaker = Breaker(3, clock=Clock())
    for state in ("closed", "closed", "closed"):
        assert breaker.state("openai") == state
        breaker.left(passed(breaker), Result(error, sent=True))
    assert breaker.state("openai") == "open"
    assert breaker.state("anthropic") == "closed"


@pytest.mark.parametrize("result", NONE)
def test_others_do_not_open_it(result: Result) -> None:
    """A refusal of the request, a cancel, and what was not sent are no failures of the service."""
    breaker = Breaker(1, clock=Clock())
    breaker.left(passed(breaker), result)
    assert breaker.state("openai") == "closed"


def test_an_open_circuit_says_when_to_try_again() -> None:
    """While it is open requests are turned away at once, with the provider and the seconds that are left."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 10
    error = refused(breaker)
    assert (error.provider, error.retry_after, error.retryable) == ("openai", 20.0, False)
    assert "try again in 20.0 s" in str(error)
    assert "ServerError 500" in str(error)
    passed(breaker, "anthropic")


def test_old_failures_are_forgotten() -> None:
    """Only failures within the time count."""
    clock = Clock()
    breaker = Breaker(2, within=60, clock=clock)
    for _ in range(5):
        breaker.left(passed(breaker), Result(ConnectError(), sent=True))
        clock.now += 60
    assert breaker.state("openai") == "closed"


def test_one_trial_at_a_time() -> None:
    """After the pause one request passes, and its result decides."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 30
    assert breaker.state("openai") == "half-open"
    trial = passed(breaker)
    assert "a trial request is under way" in str(refused(breaker))
    breaker.left(trial, Result(ConnectError(), sent=True))
    assert breaker.state("openai") == "open"
    clock.now += 30
    trial = passed(breaker)
    breaker.left(trial, WORKS)
    assert breaker.state("openai") == "closed"
    passed(breaker)
    passed(breaker)


@pytest.mark.parametrize("result", [Result(cancelled=True, sent=True), Result(StreamError(), sent=False)])
def test_a_trial_that_says_nothing_is_followed_by_another(result: Result) -> None:
    """A trial that was cancelled, or that another gate turned away, leaves the circuit half-open."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 30
    breaker.left(passed(breaker), result)
    assert breaker.state("openai") == "half-open"
    passed(breaker)


@pytest.mark.parametrize("result", [Result(RateLimitError(status=429), sent=True), Result(None, True, True, None, 0.5)])
def test_an_answer_closes_it(result: Result) -> None:
    """A trial that was refused, or cancelled after a chunk, shows that the service works."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 30
    breaker.left(passed(breaker), result)
    assert breaker.state("openai") == "closed"


def test_old_requests_do_not_move_it() -> None:
    """A request from before the circuit opened says nothing of the service after it."""
    clock = Clock()
    breaker = Breaker(1, pause=30, clock=clock)
    old = [passed(breaker) for _ in range(4)]
    breaker.left(old[0], Result(ServerError(status=500), sent=True))
    breaker.left(old[1], WORKS)
    assert breaker.state("openai") == "open"
    clock.now += 30
    trial = passed(breaker)
    breaker.left(old[2], WORKS)
    assert breaker.state("openai") == "half-open"
    breaker.left(trial, WORKS)
    breaker.left(old[3], Result(ServerError(status=500), sent=True))
    assert breaker.state("openai") == "closed"


@pytest.mark.parametrize(
    "wrong", [{"failures": 0}, {"failures": True}, {"failures": 1.5}, {"within": 0}, {"pause": "30"}, {"pause": -1}]
)
def test_wrong_arguments(wrong: dict[str, Any]) -> None:
    """What is out of range is a ConfigError that names the argument."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Breaker(**wrong)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_begins_anew() -> None:
    """A child does not wait for a lock that a thread of its parent holds, and its circuits are closed."""
    breaker = opened(Clock())
    breaker._lock.acquire()
    pid = os.fork()
    if pid == 0:
        worked = threading.Thread(target=lambda: os._exit(0 if breaker.state("openai") == "closed" else 2), daemon=True)
        worked.start()
        worked.join(SOON)
        os._exit(3)
    breaker._lock.release()
    assert os.waitpid(pid, 0)[1] == 0


# -- beside a plain model ------------------------------------------------------------------------------


class Model:
    """What a breaker is, from all that has happened, without any state of its own but the last change."""

    def __init__(self, failures: int, within: float, pause: float) -> None:
        self.most, self.within, self.pause = failures, within, pause
        self.failed: list[tuple[float, int]] = []  # when, and in which era
        self.era, self.opened_at, self.trial = 0, -1.0, 0

    def state(self, now: float) -> str:
        if self.opened_at < 0:
            return "closed"
        return "half-open" if now - self.opened_at >= self.pause else "open"

    def may_enter(self, now: float) -> bool:
        return self.state(now) == "closed" or (self.state(now) == "half-open" and not self.trial)

    def over(self, number: int, era: int, kind: str, now: float) -> None:
        is_trial, self.trial = number == self.trial, 0 if number == self.trial else self.trial
        if era != self.era or kind == "unknown":
            return
        if kind == "failed":
            self.failed.append((now, era))
            recent = [at for at, each in self.failed if each == era and now - at < self.within]
            if is_trial or len(recent) >= self.most:
                self.era, self.opened_at = self.era + 1, now
        elif is_trial:
            self.era, self.opened_at = self.era + 1, -1.0


RESULTS = {
    "failed": Result(ServerError(status=502), sent=True),
    "works": WORKS,
    "unknown": Result(cancelled=True, sent=True),
}


class BreakerBesideModel(RuleBasedStateMachine):
    """Requests come, end and fail in any order and at any time; breaker and model agree on who passes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(3, within=60, pause=30, clock=self.clock)
        self.models = {name: Model(3, 60, 30) for name in ("a", "b")}
        self.under_way: list[tuple[Call, int, int]] = []
        self.number = 0

    @rule(provider=st.sampled_from("ab"))
    def enter(self, provider: str) -> None:
        model, now, call = self.models[provider], self.clock.now, call_of(provider=provider)
        if model.may_enter(now):
            self.breaker.enter(call, NoWait())
            self.number += 1
            if model.state(now) == "half-open":
                model.trial = self.number
            self.under_way.append((call, self.number, model.era))
        else:
            with pytest.raises(CircuitOpenError) as caught:
                self.breaker.enter(call, NoWait())
            wait = model.pause if model.state(now) == "half-open" else model.opened_at + model.pause - now
            assert caught.value.retry_after == wait
            self.breaker.left(call, Result(caught.value))

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 1000), kind=st.sampled_from([*RESULTS, "failed", "failed"]))
    def over(self, which: int, kind: str) -> None:
        call, number, era = self.under_way.pop(which % len(self.under_way))
        self.models[call.provider].over(number, era, kind, self.clock.now)
        self.breaker.left(call, RESULTS[kind])

    @rule(seconds=st.sampled_from([1, 10, 29, 30, 31, 60]))
    def later(self, seconds: int) -> None:
        self.clock.now += seconds

    @invariant()
    def agree(self) -> None:
        for name, model in self.models.items():
            assert self.breaker.state(name) == model.state(self.clock.now)


TestBesideModel = BreakerBesideModel.TestCase
TestBesideModel.settings = settings(max_examples=150, stateful_step_count=60)


# -- through real streams ------------------------------------------------------------------------------


def test_real_streams_move_it() -> None:
    """5xx and a torn stream open the circuit; then nothing is sent, until the trial after the pause answers."""
    clock = Clock()
    breaker = Breaker(2, pause=30, clock=clock)
    torn = text_reply("Hello world").first(2).then(Reset())
    with Server(error_reply(500), torn, text_reply("Hello"), text_reply("again")) as server:

        def ask(make: Callable[[], Any] = lambda: stream_of(job_of(server, [breaker]))) -> str:
            with make() as stream:
                return str(stream.collect().text)

        with pytest.raises(ServerError):
            ask()
        with pytest.raises(BrokenStreamError):
            ask()
        for _ in range(3):
            with pytest.raises(CircuitOpenError) as caught:
                ask()
            assert caught.value.partial.text == ""
            assert str(caught.value).startswith("openai/m")
        assert len(server.requests) == 2
        clock.now += 30
        assert ask() == "Hello"
        assert ask() == "again"
        assert breaker.state("openai") == "closed"


def test_routes_pass_an_open_one_over() -> None:
    """A client with several models asks the next one while a circuit is open, and the stream's stats say why."""
    breaker = Breaker(2, pause=3600)
    with Server(*[error_reply(500)] * 2) as first, Server(*[text_reply("from the second")] * 4) as second:
        known = [
            providers.OpenAI(api_key="sk-SECRET", base_url=first.url),
            providers.OpenAICompatible("other", second.url, "sk-OTHER"),
        ]
        with Client(known, policies=[breaker], retry=1) as client:
            streams = []
            for _ in range(4):
                streams.append(client.stream(["openai/m", "other/m"], "Hi"))
                assert streams[-1].collect().text == "from the second"
        assert (breaker.state("openai"), breaker.state("other")) == ("open", "closed")
        assert len(first.requests) == 2
        assert "not sent, as openai has failed too often" in streams[-1].stats.routes[0].why
        assert streams[-1].stats.routes[0].attempts == 0


def test_a_cancelled_stream_is_no_failure() -> None:
    """Cancelled streams leave the circuit as it is."""
    breaker = Breaker(1)
    never, stop = threading.Event(), StopEvent()
    with Server(text_reply("Hello world").first(2).then(WaitFor(never))) as server:
        with stream_of(job_of(server, [breaker], timeout=Timeout(idle=None)), stop=stop) as stream:
            next(iter(stream))
            stop.set()
        never.set()
    assert stream.status == "cancelled"
    assert breaker.state("openai") == "closed"
