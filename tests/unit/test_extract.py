"""`extract`: a type is asked for, and the model is told its mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

import streamkit
from streamkit import (
    Client,
    ConfigError,
    InvalidOutputError,
    Message,
    StreamError,
    Usage,
    providers,
)
from streamkit import (
    client as client_module,
)
from streamkit.testing import Reply, Server, error_reply, text_reply, tool_call_reply


@attrs.frozen
class Line:
    name: str
    price: float


WRONG = '{"name": "Rope", "price": "much"}'
RIGHT = '{"name": "Rope", "price": 2.5}'

Serve = Callable[..., tuple[Client, Server]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that gives these replies, and a client of it."""
    made: list[Client | Server] = []

    def start(*replies: Reply) -> tuple[Client, Server]:
        server = Server(*replies)
        client = Client([providers.OpenAI("key", server.url, name="openai")], retry=1)
        made.extend([client, server])
        return client, server

    yield start
    for each in made:
        each.close()


def test_an_instance_comes_out(serve: Serve) -> None:
    """One call returns the instance; the options go on the wire, and the type as a schema."""
    client, server = serve(text_reply(RIGHT))
    assert Line("Rope", 2.5) == client.extract("openai/m", "A rope for 2.50", Line, temperature=0, timeout=30)
    sent = server.requests[0].json()
    assert [{"role": "user", "content": "A rope for 2.50"}] == sent["messages"]
    assert ("Line", 0) == (sent["response_format"]["json_schema"]["name"], sent["temperature"])


def test_the_model_is_told_its_mistakes(serve: Serve) -> None:
    """The second request has the first answer, and each problem of it."""
    client, server = serve(text_reply(WRONG), text_reply(RIGHT))
    messages = iter([Message("system", "Be exact."), {"role": "user", "content": "A rope"}])
    assert Line("Rope", 2.5) == client.extract("openai/m", messages, Line)
    first, second = (request.json()["messages"] for request in server.requests)
    assert first == second[:2]
    assert {"role": "assistant", "content": WRONG} == second[2]
    assert "user" == second[3]["role"]
    assert "`price` must be a number" in second[3]["content"]


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_the_last_attempt_raises(attempts: int, serve: Serve) -> None:
    """There are as many requests as attempts; then the error has the last reply."""
    client, server = serve(text_reply(WRONG))
    with pytest.raises(InvalidOutputError, match="price") as caught:
        client.extract("openai/m", "A rope", Line, attempts=attempts)
    assert attempts == len(server.requests)
    assert (WRONG, WRONG) == (caught.value.text, caught.value.partial.text)
    assert [1, 3, 5][:attempts] == [len(request.json()["messages"]) for request in server.requests]


def test_an_empty_answer_is_not_sent_back(serve: Serve) -> None:
    """Providers refuse an empty message, so the model is told only that there was no text."""
    client, server = serve(text_reply(""), text_reply(RIGHT))
    assert Line("Rope", 2.5) == client.extract("openai/m", "A rope", Line)
    assert ["user", "user"] == [message["role"] for message in server.requests[1].json()["messages"]]


@pytest.mark.parametrize(
    "reply",
    [text_reply('{"name": "Ro', finish_reason="length"), tool_call_reply("weather", {})],
    ids=["cut", "tools"],
)
def test_what_would_come_again_is_not_asked_again(reply: Reply, serve: Serve) -> None:
    """A reply that was cut by the limit would be cut again."""
    client, server = serve(reply, text_reply(RIGHT))
    with pytest.raises(InvalidOutputError):
        client.extract("openai/m", "A rope", Line, attempts=3)
    assert 1 == len(server.requests)


def test_other_errors_are_raised_as_they_are(serve: Serve) -> None:
    """A request that fails is no wrong answer."""
    client, server = serve(error_reply(400))
    with pytest.raises(StreamError) as caught:
        client.extract("openai/m", "A rope", Line)
    assert not isinstance(caught.value, InvalidOutputError)
    assert 1 == len(server.requests)


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        (Line, {"attempts": 0}, "attempts"),
        (Line, {"attempts": True}, "attempts"),
        (Line, {"response_format": Line}, "third argument"),
        ({"type": "json_object"}, {}, "needs a type"),
        ("Line", {}, "response_format is a class"),
        (Line, {"temprature": 0}, "temprature"),
    ],
)
def test_wrong_calls_are_refused(kind: Any, options: dict[str, Any], says: str, serve: Serve) -> None:
    """A call that cannot work is a `ConfigError` before anything is sent."""
    client, server = serve(text_reply(RIGHT))
    with pytest.raises(ConfigError, match=says):
        client.extract("openai/m", "A rope", kind, **options)
    assert [] == list(server.requests)


def test_a_json_schema_gives_json(serve: Serve) -> None:
    """A schema in place of a type gives dicts and lists."""
    client, _ = serve(text_reply(json.dumps({"items": [1, 2]})))
    assert [1, 2] == client.extract("openai/m", "Count", {"type": "array", "items": {"type": "integer"}})


def test_the_module_has_it_too(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """`streamkit.extract` uses the module's own client."""
    client, _ = serve(text_reply(RIGHT))
    monkeypatch.setattr(client_module, "_default", client)
    assert Line("Rope", 2.5) == streamkit.extract("openai/m", "A rope", Line)
    assert streamkit.complete("openai/m", "A rope").usage != Usage()
