"""Several models for one request: the next one is tried before the first chunk, and never after it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import (
    Client,
    ConfigError,
    Retry,
    Route,
    StopEvent,
    StreamCancelledError,
    StreamError,
    Timeout,
    providers,
)
from streamkit.policies.route import Speeds, ordered
from streamkit.streaming.gates import Call, Result
from streamkit.testing import (
    Cut,
    Mark,
    Reply,
    Request,
    Reset,
    Server,
    Wait,
    WaitFor,
    chunk_event,
    error_reply,
    text_reply,
)
from tests.unit.support import SOON

NAMES = ("one", "two", "three")
MODELS = [f"{name}/m" for name in NAMES]
FAILURES: dict[str, Callable[[], Reply]] = {
    "refused": lambda: error_reply(401),
    "busy": lambda: error_reply(429),
    "broken": lambda: error_reply(500),
    "reset": lambda: Reply([Reset()]),
    "torn": lambda: Reply([Cut()], framing="chunked"),
    "silent": lambda: Reply([Wait(30)], framing="chunked"),
}


def client_of(*servers: Server, **options: Any) -> Client:
    made = [providers.OpenAICompatible(name, server.url, "k") for name, server in zip(NAMES, servers, strict=False)]
    return Client(made, retry=options.pop("retry", Retry(attempts=1)), **options)


def test_the_next_one_is_tried() -> None:
    """A model that fails before its first chunk is left for the next one; the completion has who answered."""
    with Server(error_reply(500)) as bad, Server(text_reply("Hello.")) as good, client_of(bad, good) as client:
        stream = client.stream(MODELS[:2], "Hi")
        assert "Hello." == stream.collect().text
        assert ("two", "complete") == (stream.completion.provider, stream.status)
        left, taken = stream.stats.routes
        assert ("one/m", 1, "two/m", "") == (left.model, left.attempts, taken.model, taken.why)
        assert "500" in left.why
        assert 2 == stream.stats.attempts
        assert "Hello." == client.complete(Route(MODELS[:2]), "Hi").text


def test_each_model_is_tried_as_retry_says() -> None:
    """Each model has all its tries before the next one has its first."""
    replies = [error_reply(500), error_reply(500), text_reply("Late.")]
    with Server(error_reply(500)) as bad, Server(*replies) as good:
        with client_of(bad, good, retry=Retry(attempts=3, backoff=0.01)) as client:
            assert "Late." == client.complete(MODELS[:2], "Hi").text
        assert (3, 3) == (len(bad.requests), len(good.requests))


def test_nothing_is_tried_after_the_first_chunk() -> None:
    """A reply that breaks off is an error, and the next model is not asked."""
    torn = text_reply("Hello there.").first(3).then(Cut())
    with Server(torn) as bad, Server(text_reply("No.")) as good, client_of(bad, good) as client:
        with pytest.raises(StreamError) as caught:
            client.complete(MODELS[:2], "Hi")
        assert "Hello" in caught.value.partial.text
        assert not good.requests


def test_a_call_that_one_model_cannot_take() -> None:
    """It is a ConfigError at the start, whichever model it is, and nothing is sent."""
    with Server(text_reply("Hello.")) as server:
        made = [providers.OpenAI(api_key="k", base_url=server.url), providers.Anthropic(api_key="k")]
        with Client(made) as client, pytest.raises(ConfigError):
            client.stream(["openai/m", "anthropic/m"], "Hi", logit_bias={"1": 2})
        with Client(made) as client, pytest.raises(ConfigError):
            client.stream(["openai/m", "nobody/m"], "Hi")
        assert not server.requests
    for wrong in ([], ["a", "a"], [3], 7, {"a": 1}):
        with pytest.raises(ConfigError):
            Client().stream(wrong, "Hi")  # type: ignore[arg-type]
    for arguments in ({"choose": "best"}, {"hedge": "soon"}):
        with pytest.raises(ConfigError):
            Route(["a"], **arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        Route({"a": 0}, choose="weighted")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([*FAILURES, "answer"]), min_size=1, max_size=3), st.booleans())
def test_every_order_of_failures(plan: list[str], hedge: bool) -> None:
    """Every order ends in one reply, or in one error that names all causes; a hedge changes nothing in that."""
    servers = [
        Server(text_reply(f"I am {number}.") if what == "answer" else FAILURES[what]())
        for number, what in enumerate(plan)
    ]
    models = MODELS[: len(plan)]
    try:
        with client_of(*servers, timeout=Timeout(connect=20, first=2, idle=20)) as client:
            stream = client.stream(Route(models, hedge=60 if hedge else None), "Hi")
            if "answer" in plan:
                place = plan.index("answer")
                assert f"I am {place}." == stream.collect().text
                assert NAMES[place] == stream.completion.provider
                assert models[: place + 1] == [route.model for route in stream.stats.routes]
            else:
                with pytest.raises(StreamError) as caught:
                    stream.collect()
                assert all(model in str(caught.value) for model in models)
                assert models == [route.model for route in stream.stats.routes]
        asked = [len(server.requests) for server in servers]
        last = plan.index("answer") if "answer" in plan else len(plan) - 1
        assert [1] * (last + 1) == asked[: last + 1]
        assert not any(asked[last + 1 :])
    finally:
        for server in servers:
            server.close()


def test_a_late_model_is_helped() -> None:
    """The next model is asked when the first chunk is late. The first to speak answers, and the other one is left."""
    with Server(FAILURES["silent"]()) as slow, Server(text_reply("Quick.")) as quick:
        with client_of(slow, quick) as client:
            stream = client.stream(Route(MODELS[:2], hedge=0.05), "Hi")
            assert "Quick." == stream.collect().text
            assert "two" == stream.completion.provider
            assert ["another one was quicker", ""] == [route.why for route in stream.stats.routes]
            assert slow.requests[0].gone.wait(SOON)


def test_the_late_model_may_win() -> None:
    """The model that was asked first answers where it is the first to speak after all."""
    go, asked = threading.Event(), threading.Event()
    late = Reply([WaitFor(go), *text_reply("Late.").steps], framing="chunked")
    with Server(late) as slow, Server(Reply([Mark(asked), Wait(30)], framing="chunked")) as silent:
        with client_of(slow, silent) as client:
            stream = client.stream(Route(MODELS[:2], hedge=0.01), "Hi")
            threading.Thread(target=lambda: (asked.wait(SOON), go.set())).start()
            assert "Late." == stream.collect().text
            assert silent.requests[0].gone.wait(SOON)


@pytest.mark.parametrize("by", ["cancel", "stop", "close", "total"])
def test_a_race_is_ended(by: str) -> None:
    """Cancel, a stop event, the client's end and the total limit end all models of a race."""
    stop = StopEvent()
    with Server(FAILURES["silent"]()) as one, Server(FAILURES["silent"]()) as two:
        with client_of(one, two) as client:
            timeout = Timeout(total=0.4) if by == "total" else Timeout()
            stream = client.stream(Route(MODELS[:2], hedge=0.01), "Hi", stop=stop, timeout=timeout)
            end = {"cancel": lambda: stream.cancel(), "stop": stop.set, "close": client.close, "total": lambda: None}[
                by
            ]

            def when_both_are_asked() -> None:
                while not (one.requests and two.requests):
                    stop.wait(0.005)
                end()

            thread = threading.Thread(target=when_both_are_asked)
            thread.start()
            with pytest.raises(StreamError) as caught:
                stream.collect()
            thread.join()
            assert isinstance(caught.value, StreamCancelledError) == (by != "total")
            assert one.requests[0].gone.wait(SOON)
            assert two.requests[0].gone.wait(SOON)


class _Job:
    def __init__(self, name: str) -> None:
        self.route = (name, "m")


def test_orders() -> None:
    """`weighted` draws by the weights; `fastest` takes the quickest, the unknown first and the failed last."""
    jobs: list[Any] = [_Job(name) for name in NAMES]
    route = Route({"one/m": 8, "two/m": 1, "three/m": 1}, choose="weighted")
    firsts = [ordered(route, jobs, Speeds())[0].route[0] for _ in range(2000)]
    assert 1400 < firsts.count("one") < 1800
    now = [0.0]
    speeds = Speeds(lambda: now[0])

    def left(name: str, **result: Any) -> None:
        speeds.left(Call(name, _Chat()), Result(sent=True, **result))  # type: ignore[arg-type]

    fastest = Route(MODELS, choose="fastest")
    order = lambda: [job.route[0] for job in ordered(fastest, jobs, speeds)]  # noqa: E731
    left("one", time_to_first_chunk=2.0)
    left("two", time_to_first_chunk=1.0)
    assert ["three", "two", "one"] == order()
    left("three", time_to_first_chunk=3.0)
    left("two", error=StreamError("down"))
    assert ["one", "three", "two"] == order()
    now[0] = 61.0
    assert ["two", "one", "three"] == order()


class _Chat:
    model = "m"


def test_the_cheapest() -> None:
    """`cheapest` goes by list price for this request; a model without a price comes last."""
    pytest.importorskip("genai_prices", reason="needs genai-prices")
    with Server(text_reply("Hello.")) as server:
        made = [
            providers.OpenAI(api_key="k", base_url=server.url),
            providers.OpenAICompatible("local", server.url, "k"),
        ]
        with Client(made) as client:
            route = Route(["local/m", "openai/gpt-4o", "openai/gpt-4o-mini"], choose="cheapest")
            client.complete(route, "Hi")
        assert "gpt-4o-mini" == json.loads(server.requests[0].body)["model"]


def test_runs_and_conversations() -> None:
    """Each round of a run, and each turn of a conversation, may go to the next model."""

    def add(a: int, b: int) -> int:
        return a + b

    def good(request: Request) -> Reply:
        from streamkit.testing import tool_call_reply

        told = request.json()["messages"]
        return text_reply("It is 3.") if told[-1]["role"] == "tool" else tool_call_reply("add", {"a": 1, "b": 2})

    with Server(error_reply(500)) as bad, Server(good) as server, client_of(bad, server) as client:
        run = client.run(MODELS[:2], "1+2?", tools=[add])
        assert "It is 3." == run.collect().text
        assert 2 == len(bad.requests)
        chat = client.conversation(MODELS[:2], tools=[add])
        assert "It is 3." == chat.send("1+2?").text
        assert "one/m" == chat.state.model


def test_chunks_of_a_race_to_the_end() -> None:
    """The winner of a race is a stream as any other: peek, poll, recv, text, and one done chunk."""
    reply = Reply([chunk_event("One"), *text_reply(" two").steps], framing="chunked")
    with Server(FAILURES["silent"]()) as slow, Server(reply) as quick, client_of(slow, quick) as client:
        stream = client.stream(Route(MODELS[:2], hedge=0.01), "Hi")
        assert "One" == stream.recv(SOON).text
        assert " two" == "".join(stream.iter_text())
        assert "One two" == stream.completion.text
        assert "complete" == stream.status
