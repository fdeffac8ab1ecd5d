"""A rate limit is never exceeded in any window, lets nobody starve, and keeps the order of its line."""

from __future__ import annotations

import gc
import os
import random
import threading
import weakref
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import (
    BadRequestError,
    Client,
    ConfigError,
    ConnectError,
    LocalLimitError,
    RateLimit,
    RateLimitError,
    Retry,
    StreamTimeout,
    Timeout,
    Usage,
    providers,
)
from streamkit.policies.allowance import Allowance, allowances_of
from streamkit.policies.need import need_of
from streamkit.providers.call import ChatRequest
from streamkit.streaming.gates import Call, Gate, Result, Wait
from streamkit.streaming.stream_hook import Halted
from streamkit.testing import Mark, Reply, Server, WaitFor, error_reply, text_reply
from streamkit.wire.http import ResponseInfo
from tests.unit.gate_support import NoWait, VirtualWait, World, call_of, job_of, most_in_a_window, stream_of
from tests.unit.support import SOON, Task

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=timezone.utc)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def passes(limit: RateLimit, call: Call | None = None) -> Call:
    """Let a request pass at once, and go out."""
    call = call_of() if call is None else call
    limit.enter(call, NoWait())
    limit.sending(call)
    return call


def seconds_until(limit: RateLimit, call: Call | None = None) -> float:
    """Return the seconds that a request would wait, without letting it wait; 0 lets it pass."""

    class Asked(Exception):
        pass

    class Asking(NoWait):
        def __call__(self, seconds: float = 0.0) -> None:
            raise Asked(seconds)

    call = call_of() if call is None else call
    try:
        limit.enter(call, Asking())
    except Asked as asked:
        limit.left(call, Result())
        return float(asked.args[0])
    limit.sending(call)
    return 0.0


def response(headers: Mapping[str, str], status: int = 200) -> ResponseInfo:
    return ResponseInfo(status, headers)


class Traffic:
    """Threads that send requests through a limit, in a world, and what went out."""

    def __init__(self, world: World, limit: RateLimit) -> None:
        self.world, self.limit = world, limit
        self.sent: list[tuple[float, int]] = []
        self.most_open = self.open = 0
        self.lock = threading.Lock()

    def request(self, call: Call, tokens: int, seconds: float, wait: VirtualWait | None = None) -> None:
        wait = VirtualWait(self.world) if wait is None else wait
        self.limit.enter(call, wait)
        self.limit.sending(call)
        with self.lock:
            self.sent.append((self.world.now, tokens))
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        self.world.sleep(seconds)
        with self.lock:
            self.open -= 1
        self.limit.left(call, Result(sent=True, usage=Usage(total_tokens=tokens)))


@pytest.mark.parametrize(
    ("requests", "tokens", "streams"), [(40, 3000, 20), (13, 10**6, 50), (1000, 2000, 50), (1000, 10**6, 7)]
)
def test_never_exceeded_and_nobody_starves(requests: int, tokens: int, streams: int) -> None:
    """Fifty threads: no window has more requests or tokens than it may, and all requests pass."""
    world, chance = World(), random.Random(requests)
    limit = RateLimit(requests, tokens, streams, per=10, clock=world.clock)
    traffic = Traffic(world, limit)

    def user(seed: int) -> Callable[[], None]:
        chance = random.Random(seed)

        def run() -> None:
            for _ in range(12):
                world.sleep(chance.choice([0, 0, 0.5, 3]))
                tokens = chance.choice([10, 50, 100, 100, 1500])
                traffic.request(call_of(tokens - 5), tokens, chance.choice([0.0, 0.1, 4.0]))

        return run

    world.run([user(chance.random().__hash__()) for _ in range(50)])
    assert len(traffic.sent) == 600
    most = most_in_a_window(traffic.sent, 10)
    assert most[0] <= requests
    assert most[1] <= tokens
    assert traffic.most_open <= streams
    # What is scarce is used up, or nearly, as the next one in line may need much.
    assert most[0] == requests or most[1] > tokens - 1500 or traffic.most_open == streams


def test_the_check_of_windows_sees_one_too_many() -> None:
    """The check of the test above fails for one request more than there may be."""
    assert most_in_a_window([(0, 1), (9.9, 1), (10, 1)], 10) == (2, 2)
    assert most_in_a_window([(0, 1), (9.8, 1), (9.9, 1)], 10) == (3, 3)


def test_corrections_keep_the_limit() -> None:
    """Where replies take fewer tokens than estimated more requests pass, still never more tokens than there may be."""
    world = World()
    limit = RateLimit(tokens=1000, per=10, clock=world.clock)
    traffic = Traffic(world, limit)
    tasks = [lambda: traffic.request(call_of(495), 100, 1.0) for _ in range(50)]
    world.run(tasks)
    requests, tokens = most_in_a_window(traffic.sent, 10)
    assert requests > 2
    assert tokens <= 1000


def test_first_come_first_served() -> None:
    """Fifty requests of all sizes pass in the order in which they came, and small ones overtake no large one."""
    world = World()
    limit = RateLimit(requests=5, tokens=1000, per=10, clock=world.clock)
    order: list[int] = []

    def user(number: int) -> Callable[[], None]:
        def run() -> None:
            world.sleep(number * 0.001)
            call = call_of(900 if number % 7 == 0 else 1 + number)
            limit.enter(call, VirtualWait(world))
            order.append(number)
            limit.sending(call)
            limit.left(call, Result(sent=True))

        return run

    world.run([user(number) for number in range(50)])
    assert order == list(range(50))


def test_a_cancel_leaves_the_line() -> None:
    """A request that is cancelled in the line, at its head as well, holds nobody up and counts for nothing."""
    world = World()
    limit = RateLimit(requests=1, per=10, clock=world.clock)
    passed: dict[int, float] = {}
    waits = [VirtualWait(world) for _ in range(6)]

    def user(number: int) -> Callable[[], None]:
        def run() -> None:
            world.sleep(number * 0.001)
            call = call_of()
            try:
                limit.enter(call, waits[number])
            except Halted:
                limit.left(call, Result(cancelled=True))
                return
            limit.sending(call)
            passed[number] = round(world.now - 1000)
            limit.left(call, Result(sent=True))

        return run

    def cancel() -> None:
        world.sleep(5)
        waits[1].cancel()  # the head
        waits[3].cancel()
        world.sleep(10)
        waits[4].cancel()  # the head now

    world.run([*map(user, range(6)), cancel])
    assert passed == {0: 0, 2: 10, 5: 20}


def test_who_waits_is_woken() -> None:
    """Nobody polls: a request in the line waits once, and at most once more at its head."""
    world = World()
    limit = RateLimit(streams=1, clock=world.clock)
    waits = [VirtualWait(world) for _ in range(20)]
    traffic = Traffic(world, limit)
    world.run([lambda wait=wait: traffic.request(call_of(), 0, 5.0, wait) for wait in waits])
    assert world.now == 1000 + 20 * 5
    assert max(wait.waits for wait in waits) <= 3  # it is woken when it becomes the first, and when its turn is


def test_counted_when_it_goes_out() -> None:
    """A request that another gate delays counts from the moment at which it goes out, so that no window has two."""
    clock = Clock()
    limit = RateLimit(requests=1, per=10, clock=clock)
    call = call_of()
    limit.enter(call, NoWait())
    clock.now += 300
    assert seconds_until(limit) > 1e9  # until that one goes out, which wakes it
    limit.sending(call)
    clock.now += 9.875
    assert seconds_until(limit) == 0.125
    clock.now += 0.125
    passes(limit)


def test_who_waits_for_one_that_is_delayed_is_woken() -> None:
    """The first of the line learns when a request before it goes out, and passes a window later."""
    world = World()
    limit = RateLimit(requests=1, per=10, clock=world.clock)

    def delayed() -> None:
        call = call_of()
        limit.enter(call, VirtualWait(world))
        world.sleep(5)
        limit.sending(call)
        world.sleep(300)
        limit.left(call, Result(sent=True))

    def behind() -> None:
        world.sleep(1)
        call = call_of()
        limit.enter(call, VirtualWait(world))
        assert world.now == 1000 + 5 + 10
        limit.sending(call)

    world.run([delayed, behind])


def test_not_sent_counts_for_nothing() -> None:
    """A request that a later gate turned away gives its place back."""
    limit = RateLimit(requests=1, tokens=100, streams=1, clock=Clock())
    for _ in range(3):
        call = call_of(90)
        limit.enter(call, NoWait())
        limit.left(call, Result(ConnectError(), sent=False))
    passes(limit, call_of(90))


@pytest.mark.parametrize(
    ("by", "other", "shared"),
    [
        ("provider", {"model": "gpt-5", "key": "sk-2"}, True),
        ("provider", {"provider": "anthropic"}, False),
        ("model", {"key": "sk-2"}, True),
        ("model", {"model": "gpt-5"}, False),
        ("key", {"model": "gpt-5"}, True),
        ("key", {"key": "sk-2"}, False),
    ],
)
def test_by(by: Any, other: dict[str, str], shared: bool) -> None:
    """Each provider, model or key has a limit of its own."""
    limit = RateLimit(requests=1, by=by, clock=Clock())
    passes(limit)
    assert (seconds_until(limit, call_of(**other)) > 0) is shared


@pytest.mark.parametrize("of", ["openai", "openai/gpt-4o", "gpt-4o"])
def test_of(of: str) -> None:
    """A limit of one provider or model is none for others."""
    limit = RateLimit(requests=1, of=of, clock=Clock())
    passes(limit)
    for _ in range(3):
        passes(limit, call_of(provider="anthropic", model="claude"))
    assert seconds_until(limit) == 60.0


def test_without_waiting() -> None:
    """A limit that does not wait refuses, names the limit, and says when there is room."""
    clock = Clock()
    limit = RateLimit(requests=2, tokens=1000, streams=2, wait=False, clock=clock)
    calls = [passes(limit, call_of(295)), passes(limit, call_of(295))]

    def refusal(tokens: int = 0) -> LocalLimitError:
        call = call_of(tokens)
        with pytest.raises(LocalLimitError) as caught:
            limit.enter(call, NoWait())
        limit.left(call, Result(caught.value))
        return caught.value

    assert (refusal().limit, refusal().retry_after) == ("streams", None)
    for call in calls:
        limit.left(call, Result(sent=True))
    clock.now += 20
    error = refusal()
    assert (error.limit, error.retry_after, error.retryable) == ("requests", 40.0, False)
    assert "RateLimit(requests=2, per=60)" in str(error)
    assert "try again in 40.0 s" in str(error)
    clock.now += 40
    passes(limit, call_of(995))
    assert refusal(10).limit == "tokens"


def test_what_never_fits_fails_at_once() -> None:
    """A request that needs more tokens than there ever are is not left waiting for ever."""
    limit = RateLimit(tokens=1000, clock=Clock())
    with pytest.raises(LocalLimitError, match="more than RateLimit\\(tokens=1000\\) ever lets through") as caught:
        limit.enter(call_of(1000), NoWait())
    assert (caught.value.limit, caught.value.retry_after) == ("tokens", None)
    passes(limit, call_of(995))


def test_the_usage_replaces_the_estimate() -> None:
    """Tokens that a reply did not take are free again, and those that it took beyond the estimate count."""
    clock = Clock()
    limit = RateLimit(tokens=1000, clock=clock)
    call = passes(limit, call_of(900))
    assert seconds_until(limit, call_of(200)) == 60.0
    limit.left(call, Result(sent=True, usage=Usage(input_tokens=10, output_tokens=90)))
    call = passes(limit, call_of(895))
    limit.left(call, Result(sent=True, usage=Usage(total_tokens=2000)))
    clock.now += 59
    assert seconds_until(limit) == 1.0
    clock.now += 1
    passes(limit, call_of(895))


def test_replies_without_a_limit_are_as_long_as_on_average() -> None:
    """Without max_tokens the average of the replies so far is reserved; an average never makes a request impossible."""
    limit = RateLimit(tokens=1000, clock=Clock())
    limit.left(passes(limit), Result(sent=True, usage=Usage(input_tokens=5, output_tokens=95, total_tokens=100)))
    for _ in range(8):
        passes(limit)
    assert seconds_until(limit) == 0.0  # 100 + 9 * 100
    assert seconds_until(limit) == 60.0
    limit = RateLimit(tokens=1000, clock=Clock())
    limit.left(passes(limit, call_of(900)), Result(ConnectError(), sent=True, usage=Usage(output_tokens=10**6)))
    passes(limit)


def test_the_estimate() -> None:
    """It has messages, parts, calls, tools, and the most that each choice may take."""
    tools = [{"type": "function", "function": {"name": "weather", "description": "x" * 400}}]
    parts = [{"type": "text", "text": "x" * 40}, {"type": "image_url", "image_url": {"url": "data:..."}}]
    calls = [{"id": "1", "function": {"name": "weather", "arguments": "x" * 400}}]
    messages = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": "x" * 400},
    ]
    need = need_of(Call("p", ChatRequest("m", messages, {"tools": tools, "n": 3, "max_completion_tokens": 50})))
    assert need.reply == 150
    assert 1000 + 10 + 100 * 3 + 3 * 4 < need.prompt < 1000 + 10 + 100 * 3 + 3 * 4 + 60
    assert need_of(Call("p", ChatRequest("m", messages[2:]))).reply is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests": 0},
        {"tokens": 1.5},
        {"streams": True},
        {"per": 0},
        {"per": "60"},
        {"by": "user"},
        {"of": ""},
        {"of": 3},
        {"storage": "redis://localhost", "streams": 3},
        {"storage": "http://localhost"},
        {"storage": 7},
    ],
)
def test_wrong_arguments(wrong: dict[str, Any]) -> None:
    """What is out of range is a ConfigError that names the argument."""
    if "storage" in wrong:
        pytest.importorskip("redis")
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        RateLimit(**wrong)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_begins_anew() -> None:
    """A child waits neither for a lock that a thread of its parent holds, nor for its parent's requests."""
    limit = RateLimit(streams=1)
    passes(limit)
    assert isinstance(limit._lines, object)
    with limit._lock, limit._lines._lock:  # type: ignore[attr-defined]
        pid = os.fork()
        if pid == 0:
            passes(limit)
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_it_is_freed() -> None:
    """Nothing keeps a limit that nobody holds."""
    limit = RateLimit(requests=1)
    passes(limit)
    gone = weakref.ref(limit)
    del limit
    gc.collect()
    assert gone() is None


# -- what the provider says ----------------------------------------------------------------------------

OPENAI = {
    "x-ratelimit-limit-requests": "5000",
    "x-ratelimit-limit-tokens": "160000",
    "x-ratelimit-remaining-requests": "4999",
    "x-ratelimit-remaining-tokens": "159976",
    "x-ratelimit-reset-requests": "12ms",
    "x-ratelimit-reset-tokens": "6m0s",
}
GROQ = {
    "x-ratelimit-limit-requests": "14400",
    "x-ratelimit-limit-tokens": "18000",
    "x-ratelimit-remaining-requests": "14370",
    "x-ratelimit-remaining-tokens": "17997",
    "x-ratelimit-reset-requests": "2m59.56s",
    "x-ratelimit-reset-tokens": "7.66s",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "1000",
    "anthropic-ratelimit-requests-remaining": "999",
    "anthropic-ratelimit-requests-reset": "2026-11-27T12:00:01Z",
    "anthropic-ratelimit-tokens-limit": "96000",
    "anthropic-ratelimit-tokens-remaining": "0",
    "anthropic-ratelimit-tokens-reset": "2026-11-27T12:00:30Z",
}
AZURE = {
    "x-ratelimit-remaining-requests": "19",
    "x-ratelimit-remaining-tokens": "-1",
    "x-ratelimit-reset-requests": "10",
    "x-ratelimit-reset-tokens": "0",
}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (OPENAI, {"requests": Allowance(4999, 0.012, 5000), "tokens": Allowance(159976, 360.0, 160000)}),
        (GROQ, {"requests": Allowance(14370, 179.56, 14400), "tokens": Allowance(17997, 7.66, 18000)}),
        (ANTHROPIC, {"requests": Allowance(999, 1.0, 1000), "tokens": Allowance(0, 30.0, 96000)}),
        (AZURE, {"requests": Allowance(19, 10.0, None)}),
        ({}, {}),
        ({"x-ratelimit-remaining-requests": "3"}, {}),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "soon"}, {}),
        ({"x-ratelimit-remaining-requests": "many", "x-ratelimit-reset-requests": "1s"}, {}),
        (
            {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": str(int(NOW.timestamp()) + 5)},
            {"requests": Allowance(0, 5.0)},
        ),
        (
            {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": str(int(NOW.timestamp() + 5) * 1000)},
            {"requests": Allowance(0, 5.0)},
        ),
    ],
    ids=["openai", "groq", "anthropic", "azure", "none", "no reset", "bad reset", "bad count", "epoch", "epoch in ms"],
)
def test_headers(headers: dict[str, str], expected: dict[str, Allowance]) -> None:
    """The headers of each provider are read as it sends them; what is missing or makes no sense is left out."""
    found = allowances_of(headers, NOW)
    assert found.keys() == expected.keys()
    for kind, allowance in expected.items():
        assert (found[kind].remaining, found[kind].limit) == (allowance.remaining, allowance.limit)
        assert found[kind].resets_in == pytest.approx(allowance.resets_in)


@given(st.dictionaries(st.sampled_from([*OPENAI, *ANTHROPIC]), st.one_of(st.text(max_size=40), st.just("9" * 400))))
def test_any_headers(headers: dict[str, str]) -> None:
    """No header, whatever it says, is an error, or stops a line for ever."""
    for allowance in allowances_of(headers, NOW).values():
        assert 0 <= allowance.wait(0.0, 0, 10**9) <= allowance.resets_in


def test_no_room_at_the_provider() -> None:
    """While the provider has no room for a request nothing of this key and model passes, until it fills up."""
    clock = Clock()
    limit = RateLimit(clock=clock)
    limit.left(passes(limit), Result(sent=True, response=response(OPENAI)))
    assert seconds_until(limit, call_of(100_000)) == 0.0
    assert seconds_until(limit, call_of(100_000)) > 0
    assert seconds_until(limit, call_of(100_000, model="gpt-5")) == 0.0
    reset = (datetime.now(timezone.utc) + timedelta(seconds=30)).isoformat()
    headers = {**ANTHROPIC, "anthropic-ratelimit-tokens-reset": reset}
    limit = RateLimit(clock=clock)
    limit.left(passes(limit), Result(sent=True, response=response(headers)))
    # 96,000 tokens within 30 seconds: 3,205 of them within one.
    assert seconds_until(limit, call_of(3200)) == pytest.approx(1.0, abs=0.5)
    clock.now += 31
    passes(limit, call_of(90_000))
    passes(limit, call_of(90_000))


def test_what_is_on_its_way_counts() -> None:
    """Requests that went out after the one that was answered are not in the provider's figure, and count beside it."""
    clock = Clock()
    limit = RateLimit(clock=clock)
    first, *others = [passes(limit) for _ in range(3)]
    headers = {"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "60s"}
    limit.left(first, Result(sent=True, response=response(headers)))
    passes(limit)
    assert seconds_until(limit) == pytest.approx(60.0, abs=5)
    limit.left(others[1], Result(sent=True, response=response(headers)))  # a later answer replaces an earlier one
    limit.left(others[0], Result(sent=True, response=response({**headers, "x-ratelimit-remaining-requests": "0"})))
    passes(limit)
    passes(limit)
    assert seconds_until(limit) > 0


def test_retry_after_stops_the_line() -> None:
    """After a 429 with Retry-After nothing passes until then, whatever the window has."""
    clock = Clock()
    limit = RateLimit(requests=100, clock=clock)
    limit.left(passes(limit), Result(RateLimitError(status=429, retry_after=7.0), sent=True))
    assert seconds_until(limit) == 7.0
    refusing = RateLimit(requests=100, wait=False, clock=clock)
    refusing.left(passes(refusing), Result(RateLimitError(status=429, retry_after=7.0), sent=True))
    with pytest.raises(LocalLimitError, match=r"the provider has asked to wait; try again in 7.0 s") as caught:
        refusing.enter(call_of(), NoWait())
    assert caught.value.limit == "provider"
    clock.now += 7
    passes(limit)
    limit.left(passes(limit), Result(BadRequestError(status=400, retry_after=7.0), sent=True))
    passes(limit)


# -- through real streams ------------------------------------------------------------------------------


class Watched(Gate):
    """A gate that tells when requests come to it; after a limit, it tells when they have passed that."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def enter(self, call: Call, wait: Wait) -> None:
        pass

    def left(self, call: Call, result: Result) -> None:
        self.results.append(result)


def test_real_streams_wait_their_turn() -> None:
    """With one stream at a time the server never has two requests, and all fifty get their replies."""
    limit = RateLimit(streams=1)
    lock, counts = threading.Lock(), {"open": 0, "most": 0}

    class Counting(Gate):
        def enter(self, call: Call, wait: Wait) -> None:
            with lock:
                counts["open"] += 1
                counts["most"] = max(counts["most"], counts["open"])

        def left(self, call: Call, result: Result) -> None:
            with lock:
                counts["open"] -= 1

    with Server(*[text_reply("Hello")] * 50) as server:
        streams = [stream_of(job_of(server, [limit, Counting()])) for _ in range(50)]
        assert [stream.collect().text for stream in streams] == ["Hello"] * 50
    assert counts == {"open": 0, "most": 1}


def test_a_client_with_policies() -> None:
    """All streams of a client go through its limits, and each try counts."""
    limit = RateLimit(requests=3, wait=False, by="model", of="openai")
    with Server(error_reply(500), *[text_reply("Hello")] * 3) as server:
        known = [providers.OpenAI(api_key="sk-SECRET", base_url=server.url)]
        with Client(known, policies=[limit], retry=Retry(2, backoff=0)) as client:
            assert client.complete("openai/m", "Hi").text == "Hello"
            assert client.complete("openai/m", "Hi").text == "Hello"
            with pytest.raises(LocalLimitError, match=r"openai/m.*RateLimit\(requests=3, per=60\) is reached"):
                client.complete("openai/m", "Hi")
            assert client.complete("openai/another", "Hi").text == "Hello"


def test_a_cancel_ends_the_wait_of_a_stream() -> None:
    """A stream that waits in the line ends at a cancel, nothing was sent, and the next one passes."""
    limit, release, first_there = RateLimit(streams=1), threading.Event(), threading.Event()
    held = Reply([Mark(first_there), WaitFor(release), *text_reply("Hello").steps])
    with Server(held, text_reply("third")) as server:
        first = stream_of(job_of(server, [limit]))
        assert first_there.wait(SOON)
        second = stream_of(job_of(server, [limit]))
        third = stream_of(job_of(server, [limit]))
        second.cancel()
        assert list(second) == []
        assert (second.status, second.stats.attempts) == ("cancelled", 0)
        release.set()
        assert first.collect().text == "Hello"
        assert third.collect().text == "third"
        assert len(server.requests) == 2


def test_total_ends_the_wait_of_a_stream() -> None:
    """The total limit goes on in the line, the others do not."""
    limit = RateLimit(requests=1, per=3600)
    with Server(text_reply("Hello")) as server:
        assert stream_of(job_of(server, [limit])).collect().text == "Hello"
        brief = Timeout(connect=0.05, first=0.05, idle=0.05, total=0.4)
        stream = stream_of(job_of(server, [limit], timeout=brief))
        with pytest.raises(StreamTimeout) as caught:
            stream.collect()
        assert caught.value.phase == "total"
        assert len(server.requests) == 1


def test_a_real_429_stops_the_others() -> None:
    """A stream that comes after a 429 with Retry-After waits until then; the limit learned it from the response."""
    clock = Clock()
    limit = RateLimit(wait=False, clock=clock)
    with Server(error_reply(429, headers={"Retry-After": "30"}), text_reply("Hello")) as server:
        with pytest.raises(RateLimitError):
            stream_of(job_of(server, [limit])).collect()
        with pytest.raises(LocalLimitError, match=r"openai/m.*the provider has asked to wait"):
            stream_of(job_of(server, [limit], retry=Retry(3))).collect()
        clock.now += 30
        assert stream_of(job_of(server, [limit])).collect().text == "Hello"
        assert len(server.requests) == 2


def test_refused_routes_are_left() -> None:
    """A route whose limit refuses is left for the next one, which is asked at once."""
    full = RateLimit(requests=1, wait=False)
    with Server(text_reply("first")) as server, Server(text_reply("second")) as other:
        assert stream_of(job_of(server, [full])).collect().text == "first"
        stream = stream_of(job_of(server, [full]), job_of(other, []))
        assert stream.collect().text == "second"
        assert "the limit of RateLimit(requests=1, per=60) is reached" in stream.stats.routes[0].why


def test_the_usage_of_a_real_stream() -> None:
    """The tokens that the server counted replace the estimate before the reply is delivered."""
    limit, watched = RateLimit(tokens=500, clock=Clock()), Watched()
    with Server(text_reply("Hello")) as server:
        stream_of(job_of(server, [limit, watched])).collect()
    usage = watched.results[0].usage
    assert usage is not None
    assert usage.total_tokens is not None
    passes(limit, Call("openai", call_of(500 - 5 - usage.total_tokens).chat))
    assert seconds_until(limit, call_of(1)) == 60.0


def test_a_gate_that_fails_stops_no_other() -> None:
    """A gate of the program's own that raises when it is told of the end: the limit before it is told all the same."""

    class Failing(Watched):
        def left(self, call: Call, result: Result) -> None:
            raise ValueError("a mistake")

    limit = RateLimit(streams=1)
    with Server(text_reply("Hello"), text_reply("again")) as server:
        with pytest.raises(Exception, match="a mistake"):
            stream_of(job_of(server, [limit, Failing()])).collect()
        assert Task(lambda: stream_of(job_of(server, [limit])).collect().text).result() == "again"


@settings(max_examples=60)
@given(
    requests=st.integers(1, 5),
    tokens=st.integers(50, 200),
    asks=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 200), st.booleans()), max_size=30),
)
def test_any_traffic(requests: int, tokens: int, asks: list[tuple[float, int, bool]]) -> None:
    """Whatever comes when, and however large: no window has too much, and the order is kept."""
    clock = Clock()
    limit = RateLimit(requests=requests, tokens=tokens + 5, per=10, clock=clock)
    sent: list[tuple[float, int]] = []

    class Waiting(NoWait):
        def __call__(self, seconds: float = 0.0) -> None:
            clock.now += seconds

    for pause, size, early in asks:
        clock.now += pause
        size = min(size, tokens)
        call = call_of(size)
        limit.enter(call, Waiting())
        if early:
            clock.now += 3  # another gate delays it
        limit.sending(call)
        sent.append((clock.now, size + 5))
        limit.left(call, Result(sent=True))
    most = most_in_a_window(sent, 10)
    assert most[0] <= requests
    assert most[1] <= tokens + 5
