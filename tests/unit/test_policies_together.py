"""Routes, gates, caches, middleware, validators and runs, in pairs: each keeps what it promises beside the others."""

from __future__ import annotations

import math
import os
import threading
import time
import traceback
from typing import Any

import attrs
import pytest

from streamkit import (
    Chunk,
    Client,
    ConnectError,
    MemoryCache,
    Middleware,
    Recovery,
    Retry,
    Route,
    StreamError,
    StreamTimeout,
    Timeout,
    TruncatedStreamError,
    providers,
)
from streamkit.observing.observers import Observer, Report, RunReport
from streamkit.policies.hedging import Hedged
from streamkit.policies.route import Speeds
from streamkit.streaming.gates import Call, Gate, Result, Wait
from streamkit.testing import Cut, Reply, Request, Server, WaitFor, error_reply, reply_in, text_reply, tool_call_reply
from streamkit.validators import BannedWords
from tests.unit.gate_support import call_of
from tests.unit.support import SOON, Task, bounded

NAMES = ("one", "two", "three")
MODELS = [f"{name}/m{number}" for number, name in enumerate(NAMES)]


def client_of(*servers: Server, **options: Any) -> Client:
    made = [
        providers.OpenAICompatible(name, server.url, f"sk-SECRET-{name}")
        for name, server in zip(NAMES, servers, strict=False)
    ]
    return Client(made, retry=options.pop("retry", Retry(attempts=1)), **options)


def waiting_reply(gate: threading.Event) -> Reply:
    reply = text_reply("Hello there.")
    return reply.but(steps=[WaitFor(gate), *reply.steps])


class Upper(Middleware):
    def chunk(self, chunk: Chunk) -> Chunk | None:
        return attrs.evolve(chunk, text=chunk.text.upper()) if chunk.text else chunk


class Away(Gate):
    """A gate whose server is away."""

    def __init__(self) -> None:
        self.asked = 0

    def enter(self, call: Call, wait: Wait) -> None:
        self.asked += 1
        raise StreamError("the shared limit cannot be asked", retryable=True)

    def left(self, call: Call, result: Result) -> None:
        pass


def test_retry_ends_at_a_gate() -> None:
    """A request that a gate turns away for now is tried as often as ``Retry`` says, and then the next model."""
    gate = Away()
    retry = Retry(3, backoff=0.0)
    with Server(text_reply("Hi")) as server, client_of(server, server, policies=[gate], retry=retry) as client:
        with bounded(), pytest.raises(StreamError, match="tried 3 times") as caught:
            client.complete(MODELS[:2], "Hi")
        assert 6 == gate.asked
        assert "before it, one/m0 was tried" in str(caught.value)
        assert [] == list(server.requests)


class Failing(providers.OpenAICompatible):
    """A provider that fails by itself, and has its key in the error."""

    def decoder(self, chat: Any) -> Any:
        raise RuntimeError(f"no decoder, with {self._checked_key()}")


def test_the_key_of_a_later_model_is_masked() -> None:
    """An error of the second provider's own code names that provider, and does not show its key."""
    with Server(error_reply(500)) as server:
        made = [providers.OpenAICompatible("one", server.url, "sk-FIRST"), Failing("two", server.url, "sk-SECOND")]
        with Client(made, retry=1) as client, pytest.raises(StreamError, match="the provider two") as caught:
            client.complete(["one/m", "two/m"], "Hi")
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "no decoder, with " in shown
    assert "sk-SECOND" not in shown


@pytest.mark.parametrize("hedge", [None, 0.01])
@pytest.mark.parametrize("by", ["validators", "middleware", "both", "cache below"])
def test_who_answered(by: str, hedge: float | None) -> None:
    """The completion of a stream whose chunks are judged or changed names the model that answered, not the first."""
    policies: list[Any] = [] if by == "validators" else [Upper()]
    if by == "cache below":
        policies.append(MemoryCache())
    rules = [BannedWords(["nothing"])] if by in ("validators", "both") else None
    with Server(error_reply(500)) as bad, Server(text_reply("Hello")) as good:
        with client_of(bad, good, policies=policies) as client:
            for _ in range(2):
                stream = client.stream(Route(MODELS[:2], hedge=hedge), "Hi", validators=rules)
                assert ("two", "hello") == (stream.collect().provider, stream.text.lower())


@pytest.mark.parametrize("rules", [None, [BannedWords(["nothing"])]])
def test_who_answered_in_a_run(rules: Any) -> None:
    """The completion and the report of a run name the model that answered last."""
    reports: list[RunReport] = []

    class Noting(Observer):
        def run_ended(self, report: RunReport) -> None:
            reports.append(report)

    def add(a: int, b: int) -> int:
        return a + b

    def good(request: Request) -> Reply:
        told = request.json()["messages"][-1]["role"] == "tool"
        return text_reply("It is 3.") if told else tool_call_reply("add", {"a": 1, "b": 2})

    with Server(error_reply(500)) as bad, Server(good) as server:
        with client_of(bad, server, observers=[Noting()]) as client:
            run = client.run(MODELS[:2], "1+2?", tools=[add], validators=rules)
            assert ("two", "It is 3.") == (run.collect().provider, run.text)
    assert [("two", "m1", "two")] == [(each.provider, each.model, each.completion.provider) for each in reports]


def test_the_cost_of_a_run_with_a_cached_round() -> None:
    """A run of which one reply came from a cache has not cost nothing."""
    cache = MemoryCache()

    def add(a: int, b: int) -> int:
        return a + b

    def good(request: Request) -> Reply:
        told = request.json()["messages"][-1]["role"] == "tool"
        return text_reply("It is 3.") if told else tool_call_reply("add", {"a": 1, "b": 2})

    with Server(good) as server, client_of(server, policies=[cache]) as client:
        client.run(MODELS[0], "1+2?", tools=[add]).collect()
        assert 0.0 == client.run(MODELS[0], "1+2?", tools=[add]).collect().cost
        stream = client.run(MODELS[0], "1+2?", tools=[add])
        for chunk in stream:  # the second round is asked again
            if chunk.type == "tool_result":
                cache.clear()
        assert [True, False] == [each.usage.cost == 0.0 for each in stream.rounds]
        assert stream.completion.cost is None


def test_a_race_waits_without_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer sleeps while the second model has not answered, also once the first one has reached its limit."""
    looks = []
    decide = Hedged._decide
    monkeypatch.setattr(Hedged, "_decide", lambda self: looks.append(0) or decide(self))
    first, second = threading.Event(), threading.Event()
    timeout = Timeout(first=1.0)
    with Server(waiting_reply(first)) as one, Server(waiting_reply(second)) as two:
        with client_of(one, two, timeout=timeout) as client:
            stream = client.stream(Route(MODELS[:2], hedge=0.7), "Hi")
            with pytest.raises(StreamTimeout):
                stream.collect()
        first.set()
        second.set()
    assert len(looks) < 100


def test_the_total_limit_of_a_stream_that_waits_for_an_equal_one() -> None:
    """``total`` ends a wait for an equal request, and runs on where the request is sent after a wait."""
    gate = threading.Event()
    with Server(waiting_reply(gate)) as server, client_of(server, policies=[MemoryCache(wait=0.2)]) as client:
        leader = client.stream(MODELS[0], "Hi")
        task = Task(leader.collect)  # it waits for a chunk, so the others wait for it
        while not server.requests:
            threading.Event().wait(0.001)
        for rules in (None, [BannedWords(["nothing"])]):
            stream = client.stream(MODELS[0], "Hi", timeout=0.3, validators=rules)
            with bounded(), pytest.raises(StreamTimeout) as caught:
                stream.collect()
            assert ("timeout", "total", "") == (stream.status, caught.value.phase, caught.value.partial.text)
            with pytest.raises(StreamTimeout):
                stream.recv()
        assert 1 == len(server.requests)
        gate.set()
        task.result()
    gate = threading.Event()
    with Server(waiting_reply(gate)) as server, client_of(server, policies=[MemoryCache(wait=0.2)]) as client:
        left_alone = client.stream(MODELS[0], "Hi")
        with bounded(), pytest.raises(StreamTimeout) as caught:
            client.complete(MODELS[0], "Hi", timeout=1)
        assert caught.value.limit < 1
        assert 2 == len(server.requests)
        gate.set()
        left_alone.collect()


def test_many_equal_requests_that_fail() -> None:
    """However many wait for one that fails, each has its own error, and none is a stream within a stream."""

    def ask(stream: Any) -> str:
        with pytest.raises(StreamError) as caught:
            stream.collect()
        return type(caught.value).__name__

    with Server(lambda _: error_reply(401)) as server, client_of(server, policies=[MemoryCache()]) as client:
        streams = [client.stream(MODELS[0], "Hi") for _ in range(40)]
        tasks = [Task(lambda each=each: ask(each)) for each in streams]  # type: ignore[misc]
        assert {"AuthenticationError"} == {task.result() for task in tasks}
        assert all(repr(each).count("WaitingStream") <= 1 for each in streams)
        assert 40 == len(server.requests)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_speeds_after_a_fork() -> None:
    """A forked child can ask how soon models answer, whatever a thread of its parent was doing."""
    speeds = Speeds()
    with speeds._lock:  # as a thread of the parent's may hold it
        pid = os.fork()
        if not pid:
            free = speeds._lock.acquire(timeout=1)
            os._exit(0 if free else 1)
    assert 0 == os.waitpid(pid, 0)[1]
    speeds.left(call_of(), Result(sent=True, time_to_first_chunk=1.0))


def test_a_race_of_which_the_last_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the model that was asked last fails, the next one is asked at once, also while an earlier one is silent."""
    gate = threading.Event()
    late_at = {1: 0.0, 2: time.monotonic() + 10 * SOON, 3: math.inf}  # by how many were asked
    monkeypatch.setattr(Hedged, "_late_at", lambda self: late_at[len(self._lanes)])
    with Server(waiting_reply(gate)) as slow, Server(error_reply(500)) as bad, Server(text_reply("Third")) as good:
        with client_of(slow, bad, good) as client:
            stream = client.stream(Route(MODELS, hedge=1.0), "Hi")
            with bounded():
                assert "Third" == stream.collect().text
            assert "three/m2" == stream.stats.routes[-1].model
        gate.set()


@pytest.mark.parametrize("cut", [1, 2])
def test_a_reply_that_cannot_be_resumed_before_its_first_chunk(cut: int) -> None:
    """It is tried again, and then the next model is, as without ``Recovery``."""

    def answer(request: Request) -> Reply:
        if request.method == "GET":
            return error_reply(404, "Response not found")
        return reply_in("openai-responses", "Hello").first(cut).then(Cut())

    with Server(answer) as bad, Server(text_reply("Second")) as good:
        responses = providers.OpenAIResponses("k", base_url=bad.url)
        other = providers.OpenAICompatible("two", good.url, "k")
        with Client([responses, other], retry=Retry(2, backoff=0.0), policies=[Recovery()]) as client:
            stream = client.stream(["openai-responses/m", "two/m"], "Hi", extra_body={"background": True})
            assert "Second" == stream.collect().text
            assert ["POST", "GET"] * 2 == [request.method for request in bad.requests]
            why = stream.stats.routes[0].why
            assert (1, 1) == (why.count("could not be gone on with"), why.count(" bytes"))
            with pytest.raises(TruncatedStreamError, match="could not be gone on with") as caught:
                client.complete("openai-responses/m", "Hi", extra_body={"background": True})
            assert 1 == str(caught.value).count(" bytes")


def test_no_limit_runs_at_a_gate() -> None:
    """Only ``total`` runs while a gate answers, such as one that asks a server; also after a route that was late."""
    silent = threading.Event()

    class Slow(Gate):
        def enter(self, call: Call, wait: Wait) -> None:
            threading.Event().wait(0.5)

        def left(self, call: Call, result: Result) -> None:
            pass

    with Server(waiting_reply(silent)) as slow, Server(text_reply("Hello")) as good:
        with client_of(slow, good, policies=[Slow()], timeout=Timeout(connect=0.1, first=0.1)) as client:
            assert "Hello" == client.complete(MODELS[:2], "Hi").text
        silent.set()


def test_the_response_of_a_route_that_was_left() -> None:
    """A stream whose last route had no response does not show that of another provider."""
    ids: list[str | None] = []

    class Noting(Observer):
        def stream_ended(self, report: Report) -> None:
            ids.append(report.request_id)

    with Server() as gone:
        pass
    with Server(error_reply(503).but(headers={"x-request-id": "req-1"})) as bad:
        client = client_of(bad, gone, observers=[Noting()])
        stream = client.stream(MODELS[:2], "Hi")
        with pytest.raises(ConnectError):
            stream.collect()
        assert 1 == len(bad.requests)
        assert (None, [None]) == (stream.response, ids)
        client.close()


def test_the_total_limit_does_not_undo_a_whole_reply() -> None:
    """A reply of which the ``done`` chunk was delivered is whole, however long a gate takes that is told of it."""

    class Slow(Gate):
        def enter(self, call: Call, wait: Wait) -> None:
            pass

        def left(self, call: Call, result: Result) -> None:
            over.wait(SOON)

    over = threading.Event()
    with Server(text_reply("Hello")) as server, client_of(server, policies=[Slow()], timeout=1) as client:
        with bounded():
            stream = client.stream(MODELS[0], "Hi")
            assert ("Hello", "complete") == (stream.collect().text, stream.status)
        over.set()


def test_a_race_that_is_cancelled_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a race is cancelled just when the first model has failed, no other one is asked, and the loop ends."""
    late_at = Hedged._late_at
    monkeypatch.setattr(Hedged, "_late_at", lambda self: self.cancel() or late_at(self))
    with Server(error_reply(500)) as bad, Server(text_reply("Hello")) as good, client_of(bad, good) as client:
        for wait in (list, lambda stream: stream.poll()):
            stream = client.stream(Route(MODELS[:2], hedge=SOON), "Hi")
            with bounded():
                while not stream._reply.poll():  # type: ignore[attr-defined]
                    threading.Event().wait(0.001)
            assert wait(stream) in ([], True)
            assert ("cancelled", None, 1) == (stream.status, stream.error, len(stream.stats.routes))
        assert [] == list(good.requests)


def test_a_repetition_that_breaks_off() -> None:
    """Where a model that goes on with a reply breaks off while it repeats it, the repetition is not a part of it."""
    whole = text_reply("Hello you there my friend")
    cuts = [len(whole.steps) - 3, 3, None]  # before the finish reason; within the repetition
    replies = [whole if cut is None else whole.first(cut).then(Cut()) for cut in cuts]
    with Server(*replies) as server, client_of(server, policies=[Recovery("continue", 2)]) as client:
        assert "Hello you there my friend" == client.complete(MODELS[0], "Hi").text
        assert 3 == len(server.requests)
    with Server(*replies[:2], error_reply(400)) as server:
        with client_of(server, policies=[Recovery("continue", 2)]) as client:
            with pytest.raises(TruncatedStreamError) as caught:
                client.complete(MODELS[0], "Hi")
    assert "Hello you there my friend" == caught.value.partial.text
