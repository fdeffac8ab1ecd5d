"""Middleware: code of the program's own around each request and each chunk, in the consumer's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from streamkit import Client, ConfigError, Middleware, Retry, Route, StreamError, merge, providers
from streamkit.policies.middleware import Request
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.testing import Cut, Reply, Server, Wait, chunk_event, error_reply, text_reply, tool_call_reply
from streamkit.values.chunks import Chunk
from tests.unit.support import SOON


def client_of(server: Server, *policies: Any, **options: Any) -> Client:
    made = [providers.OpenAI(api_key="k", base_url=server.url)]
    return Client(made, retry=Retry(attempts=1), policies=policies, **options)


class Noting(Middleware):
    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    def request(self, request: Request, next: Callable[[Request], ChunkStream]) -> ChunkStream:
        self.notes.append(f"{self.name} request")
        return next(request)

    def chunk(self, chunk: Chunk) -> Chunk | None:
        self.notes.append(f"{self.name} {chunk.type} {threading.current_thread() is threading.main_thread()}")
        return attrs.evolve(chunk, text=chunk.text + self.name) if chunk.text else chunk


def test_the_order_and_the_thread() -> None:
    """The first one is the outermost; chunks pass the other way; all in the consumer's thread."""
    notes: list[str] = []
    with Server(text_reply("Hi.")) as server, client_of(server, Noting("a", notes), Noting("b", notes)) as client:
        stream = client.stream("openai/m", "Hello")
        assert "Hi.ba" == stream.collect().text
        assert stream.completion.usage.total_tokens
        assert stream.completion.cost == stream.completion.cost
    assert ["a request", "b request"] == notes[:2]
    assert {"a text True", "b text True", "a done True", "b done True"} == set(notes[2:])
    assert notes.index("b text True") < notes.index("a text True")


class Prompt(Middleware):
    def request(self, request: Request, next: Callable[[Request], ChunkStream]) -> ChunkStream:
        message = {"role": "system", "content": "Be brief."}
        return next(attrs.evolve(request, messages=[message, *request.messages], params={"max_tokens": 7}))


def test_a_request_is_changed() -> None:
    """What a middleware passes on is what is sent."""
    with Server(text_reply("Hi.")) as server, client_of(server, Prompt()) as client:
        client.complete("openai/m", "Hello", temperature=1)
        sent = server.requests[0].json()
    assert ["system", "user"] == [message["role"] for message in sent["messages"]]
    assert (7, None) == (sent.get("max_tokens") or sent.get("max_completion_tokens"), sent.get("temperature"))


class Twice(Middleware):
    def request(self, request: Request, next: Callable[[Request], ChunkStream]) -> ChunkStream:
        with next(attrs.evolve(request, model="openai/small")) as draft:
            text = draft.collect().text
        return next(attrs.evolve(request, messages=[{"role": "user", "content": f"Better: {text}"}]))


def test_a_request_is_sent_twice() -> None:
    """A middleware may ask as often as it likes, also other models."""
    with Server(text_reply("Draft."), text_reply("Good.")) as server, client_of(server, Twice()) as client:
        assert "Good." == client.complete("openai/m", "Hello").text
        assert "Better: Draft." == server.requests[1].json()["messages"][0]["content"]


class Words(Middleware):
    """Leaves a word out, and fails at another one."""

    def chunk(self, chunk: Chunk) -> Chunk | None:
        if "fail" in chunk.text:
            raise LookupError("a word")
        return None if "secret" in chunk.text or chunk.finished else chunk


def test_chunks_are_left_out() -> None:
    """A chunk that is left out is not in the completion either; the end always comes."""
    reply = Reply([*map(chunk_event, ("one", "secret")), *text_reply(" two").steps], framing="chunked")
    with Server(reply) as server, client_of(server, Words()) as client:
        assert "one two" == client.complete("openai/m", "Hello").text
        stream = client.stream("openai/m", "Hello")
        assert ["one", " two", ""] == [chunk.text for chunk in stream]
        assert "one two" == "".join(chunk.text for _, chunk in merge([client.stream("openai/m", "Hello")]))


def test_an_error_of_its_own() -> None:
    """What it raises goes to the consumer, and the model is cancelled."""
    reply = Reply([chunk_event("one"), chunk_event("fail"), Wait(60)], framing="chunked")
    with Server(reply) as server, client_of(server, Words()) as client:
        stream = client.stream("openai/m", "Hello")
        with pytest.raises(LookupError):
            stream.collect()
        assert ("error", "one") == (stream.status, stream.completion.text)
        assert server.requests[0].gone.wait(SOON)


def test_errors_and_cancel_of_the_stream() -> None:
    """The stream's own ends are as without it."""
    notes: list[str] = []
    replies = [error_reply(500), text_reply("Hello there.").first(3).then(Cut()), Reply([Wait(60)], framing="chunked")]
    with Server(*replies) as server, client_of(server, Noting("a", notes)) as client:
        with pytest.raises(StreamError):
            client.complete("openai/m", "Hello")
        with pytest.raises(StreamError) as caught:
            client.complete("openai/m", "Hello")
        assert "Helloa there.a" == caught.value.partial.text
        stream = client.stream("openai/m", "Hello")
        stream.cancel()
        assert [] == list(stream)
        assert "cancelled" == stream.status


def test_runs_validators_and_routes() -> None:
    """Each round of a run passes through; so does a route."""

    def add(a: int, b: int) -> int:
        return a + b

    notes: list[str] = []
    replies = [tool_call_reply("add", {"a": 1, "b": 2}), text_reply("It is 3.")]
    with Server(*replies) as server, client_of(server, Noting("", notes)) as client:
        run = client.run("openai/m", "1+2?", tools=[add])
        assert "It is 3." == run.collect().text
        assert 2 == notes.count(" request")
        assert "It is 3." == client.complete(Route(["openai/m", "openai/n"]), "1+2?").text


class Wrong(Middleware):
    def request(self, request: Request, next: Callable[[Request], ChunkStream]) -> ChunkStream:
        return "Hello"  # type: ignore[return-value]

    def chunk(self, chunk: Chunk) -> Chunk | None:
        return "x"  # type: ignore[return-value]


def test_what_is_wrong() -> None:
    """A policy of another kind, a reply that is no stream, and a chunk that is none are clear errors."""
    with pytest.raises(ConfigError, match="policies"):
        Client(policies=["cache"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match=r"such as Wrong\(\.\.\.\), not the class itself"):
        Client(policies=[Wrong])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match=r"policies is a list, not <.*Wrong.*; put a single one into a list"):
        Client(policies=Wrong())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="observers is a list, not 5; put a single one into a list"):
        Client(observers=5)  # type: ignore[arg-type]
    with Server(text_reply("Hi.")) as server:
        with client_of(server, Wrong()) as client, pytest.raises(ConfigError, match="must return a stream"):
            client.stream("openai/m", "Hello")
        only = type("Only", (Middleware,), {"chunk": Wrong.chunk})
        with client_of(server, only()) as client, pytest.raises(ConfigError, match="returns a Chunk"):
            client.complete("openai/m", "Hello")


def test_the_digest() -> None:
    """It covers all that shapes a reply, and no key."""
    digests: list[str] = []

    class Digest(Middleware):
        def request(self, request: Request, next: Callable[[Request], ChunkStream]) -> ChunkStream:
            digests.append(request.digest())
            return next(request)

    with Server(text_reply("Hi.")) as server:
        for key in ("k1", "k2"):
            made = [providers.OpenAI(api_key=key, base_url=server.url)]
            with Client(made, policies=[Digest()]) as client:
                client.complete("openai/m", "Hello")
        with Client(made, policies=[Digest()]) as client:
            for model, text, options in (
                ("openai/n", "Hello", {}),
                ("openai/m", "Hello!", {}),
                ("openai/m", "Hello", {"temperature": 0}),
                ("openai/m", "Hello", {"extra_body": {"x": 1}}),
                ("openai/m", "Hello", {"extra_headers": {"x-beta": "1"}}),
                (["openai/m", "openai/n"], "Hello", {}),
            ):
                client.complete(model, text, **options)  # type: ignore[arg-type]
            client.complete(["openai/n", "openai/m"], "Hello")
    assert digests[0] == digests[1]
    assert digests[-1] == digests[-2]
    assert 7 == len(set(digests))
