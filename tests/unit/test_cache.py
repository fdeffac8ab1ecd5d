"""`MemoryCache` and `SQLCache`: the same request gives the same chunks again, and equal ones at once ask once."""

from __future__ import annotations

import gc
import json
import logging
import os
import pickle
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamkit import (
    ChannelClosed,
    Client,
    ConfigError,
    MemoryCache,
    Middleware,
    MisuseError,
    Recovery,
    RecvTimeout,
    Retry,
    SQLCache,
    StopEvent,
    Stream,
    StreamCancelledError,
    StreamError,
    Timeout,
    UsageTracker,
    first,
    merge,
    providers,
)
from streamkit.policies.cache import Cache
from streamkit.policies.middleware import Next, Request
from streamkit.providers.call import messages_of
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.testing import Cut, Reply, Server, WaitFor, error_reply, reply_in, text_reply, tool_call_reply
from streamkit.validators import BannedWords
from streamkit.values.chunks import Chunk
from tests.postgres import make_postgres
from tests.unit.support import SOON, Task, run_program

__all__ = ["make_postgres"]  # a fixture

NEVER = Timeout(connect=None, first=None, idle=None)


def client_of(server: Server, *policies: Any, **options: Any) -> Client:
    made = [
        providers.OpenAI(api_key="k", base_url=server.url),
        providers.OpenAIResponses(api_key="k", base_url=server.url),
        providers.Anthropic(api_key="k", base_url=server.url),
    ]
    return Client(made, **{"retry": Retry(attempts=1), "timeout": NEVER, "policies": policies, **options})


@pytest.fixture(params=["memory", "sql"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Cache]]:
    """Make a cache of each kind."""
    made: list[SQLCache] = []

    def make_cache(**options: Any) -> Cache:
        if request.param == "memory":
            return MemoryCache(**options)
        made.append(SQLCache(tmp_path / f"replies{len(made)}.db", **options))
        return made[-1]

    yield make_cache
    for each in made:
        each.close()


def as_played(chunk: Chunk) -> Chunk:
    usage = None if chunk.usage is None else attrs.evolve(chunk.usage, cost=0.0)
    return attrs.evolve(chunk, raw=None, usage=usage)


# -- what is played --------------------------------------------------------------------------------------


REPLIES: dict[str, tuple[str, Reply, dict[str, Any]]] = {
    "text": ("openai/m", text_reply("Hello there, \ud800 all of you.\n"), {}),
    "length": ("openai/m", text_reply("Hello", finish_reason="length"), {"max_tokens": 1}),
    "reasoning": ("openai-responses/m", reply_in("openai-responses", "So it is.", reasoning="Let me think."), {}),
    "calls": ("anthropic/m", reply_in("anthropic", "Let me see.", tool_calls=[("f", {"a": [1]})]), {}),
    "many": ("openai/m", text_reply("", pieces=[f"{n} " for n in range(1000)]), {}),
}


@pytest.mark.parametrize("name", REPLIES)
def test_the_same_chunks_again(make: Callable[..., Cache], name: str) -> None:
    """The second reply has the chunks of the first one, without events and cost; nothing was sent for it."""
    model, reply, options = REPLIES[name]
    tracker = UsageTracker()
    with Server(reply) as server, client_of(server, make(), observers=[tracker]) as client:
        one = client.stream(model, "Hello", **options)
        chunks = list(one)
        assert (False, 1) == (one.stats.cached, one.stats.attempts)
        two = client.stream(model, "Hello", **options)
        assert isinstance(two, Stream)
        assert [as_played(chunk) for chunk in chunks] == list(two)
        assert (True, 0, 0, len(chunks)) == (two.stats.cached, two.stats.attempts, two.stats.bytes, two.stats.chunks)
        assert ("complete", None, None) == (two.status, two.error, two.response)
        assert attrs.evolve(one.completion, usage=two.completion.usage) == two.completion
        assert one.completion.usage.total_tokens == two.completion.usage.total_tokens
        assert 0.0 == two.completion.cost
        assert 1 == len(server.requests)
    assert (1, one.completion.usage.total_tokens) == (tracker.totals().streams, tracker.totals().total_tokens)


def test_a_played_stream_is_a_stream(make: Callable[..., Cache]) -> None:
    """All that a stream can do, a played one can."""
    with Server(text_reply("One two. Three\nfour.")) as server, client_of(server, make()) as client:

        def played() -> Stream:
            return client.stream("openai/m", "Hello")

        assert "One two. Three\nfour." == played().collect().text
        assert ["One", " two.", " Three", "\nfour."] == list(played().iter_text())
        assert ["One two. Three", "four."] == list(played().iter_lines())
        assert ["One two.", "Three\nfour."] == list(played().iter_sentences())
        stream = played()
        assert ("One", "open", "One") == (stream.recv(1).text, stream.status, stream.text)
        assert not stream.completion.complete
        stream.cancel()
        stream.cancel()
        assert ([], "cancelled", "One") == (list(stream), stream.status, stream.text)
        with pytest.raises(ChannelClosed):
            stream.recv()
        with pytest.raises(StreamCancelledError) as caught:
            stream.collect()
        assert "One" == caught.value.partial.text
        with played() as stream:
            next(stream)
        assert "cancelled" == stream.status
        with pytest.raises(MisuseError):
            stream.recv()
        for _ in played():
            break
        stream = played()
        list(stream)
        with pytest.raises(MisuseError):
            list(stream)
        stream.cancel()
        assert "complete" == stream.status
        a, b = played(), played()
        texts: dict[Stream, str] = {a: "", b: ""}
        for each, chunk in merge([a, b]):
            texts[each] += chunk.text
        assert ["One two. Three\nfour."] * 2 == [*texts.values()]
        assert first([played(), played()]).recv().text
        client.close()
        assert 1 == len(server.requests)


def test_runs_types_and_validators(make: Callable[..., Cache]) -> None:
    """Rounds of runs come from the cache with their own numbers, answers with their type; validators judge them."""

    def add(a: int, b: int) -> int:
        return a + b

    replies = [tool_call_reply("add", {"a": 1, "b": 2}), text_reply('{"x": 3}')]
    with Server(*replies) as server, client_of(server, make()) as client:
        runs = [client.run("openai/m", "1+2?", tools=[add]) for _ in range(2)]
        chunks = [[attrs.evolve(as_played(chunk), tool_result=None) for chunk in run] for run in runs]
        assert [chunk.round for chunk in chunks[0]] == [chunk.round for chunk in chunks[1]]
        assert ['{"x": 3}'] * 2 == [run.completion.text for run in runs]
        assert 2 == len(server.requests)
    kind = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": kind}}
    with Server(text_reply('{"x": 3}')) as server, client_of(server, make()) as client:
        assert [3, 3] == [
            json.loads(client.complete("openai/m", "x?", response_format=shape).text)["x"] for _ in range(2)
        ]
        assert [{"x": 3}] * 2 == [client.extract("openai/m", "x?", dict[str, int]) for _ in range(2)]
        assert 2 == len(server.requests)
        stream = client.stream("openai/m", "x?", response_format=shape, validators=[BannedWords(["x"])])
        with pytest.raises(StreamError):
            stream.collect()
        assert 2 == len(server.requests)


def test_the_recorded_pace() -> None:
    """With `pace` a chunk comes as long after the start as it once did; cancel and stop events end the wait."""
    gate = threading.Event()
    reply = text_reply("One two")
    steps = [*reply.steps[:2], WaitFor(gate), *reply.steps[2:]]
    cache = MemoryCache(pace=True)
    with Server(reply.but(steps=steps)) as server, client_of(server, cache) as client:
        stream = client.stream("openai/m", "Hello")
        assert "One" == stream.recv(SOON).text
        began = time.monotonic()
        with pytest.raises(RecvTimeout):
            stream.recv(0.3)
        gate.set()
        stream.collect()
        waited = time.monotonic() - began
        assert waited >= 0.3
        began = time.monotonic()
        played = client.stream("openai/m", "Hello")
        assert "One two" == played.collect().text
        assert time.monotonic() - began >= 0.3
        assert played.stats.duration >= 0.3
        for stop in (StopEvent(), threading.Event()):
            played = client.stream("openai/m", "Hello", stop=stop)
            assert "One" == played.recv(SOON).text
            with pytest.raises(RecvTimeout):
                played.recv(0.001)
            assert played.poll() is False
            task = Task(lambda stream=played: list(stream))  # type: ignore[misc]
            stop.set()
            assert [] == task.result()
            assert "cancelled" == played.status
            assert "cancelled" == (set_before := client.stream("openai/m", "Hello", stop=stop)).status
            assert [] == list(set_before)
        played = client.stream("openai/m", "Hello")
        played.recv(SOON)
        task = Task(lambda: list(played))
        played.cancel()
        assert [] == task.result()
        assert "One two" == "".join(chunk.text for _, chunk in merge([client.stream("openai/m", "Hello")]))
        assert 1 == len(server.requests)


# -- what is kept ----------------------------------------------------------------------------------------


def leave(stream: Stream) -> None:
    for _ in stream:
        break


def fail(stream: Stream) -> None:
    with pytest.raises(StreamError):
        stream.collect()


def drop(stream: Stream) -> None:
    next(stream)
    del stream
    gc.collect()


def close_early(stream: Stream) -> None:
    next(stream)
    stream.close()


def stop_early(stream: Stream) -> None:
    next(stream)
    stream.cancel()


NOT_KEPT: dict[str, tuple[Reply, Callable[[Stream], object], dict[str, Any]]] = {
    "failed": (text_reply("Hello there.").first(3).then(Cut()), fail, {}),
    "refused": (error_reply(429), fail, {}),
    "cancelled": (text_reply("Hello there."), stop_early, {}),
    "left": (text_reply("Hello there."), leave, {}),
    "dropped": (text_reply("Hello there."), drop, {}),
    "closed": (text_reply("Hello there."), close_early, {}),
    "filtered": (text_reply("Hello there.", finish_reason="content_filter"), lambda stream: stream.collect(), {}),
    "cut by a validator": (text_reply("Hello there."), fail, {"validators": [BannedWords(["there"])]}),
}


@pytest.mark.parametrize("name", NOT_KEPT)
def test_what_is_not_kept(make: Callable[..., Cache], name: str) -> None:
    """A reply that was not delivered whole is asked for again."""
    reply, consume, options = NOT_KEPT[name]
    with Server(reply, text_reply("Whole.")) as server, client_of(server, make()) as client:
        consume(client.stream("openai/m", "Hello", **options))
        gc.collect()
        stream = client.stream("openai/m", "Hello")
        assert "Whole." == stream.collect().text
        assert (False, 2) == (stream.stats.cached, len(server.requests))
        assert client.stream("openai/m", "Hello").stats.cached


def test_left_after_its_end(make: Callable[..., Cache]) -> None:
    """A loop that is left at the `done` chunk has had the whole reply."""
    with Server(text_reply("Hello.")) as server, client_of(server, make()) as client:
        for chunk in client.stream("openai/m", "Hello"):
            if chunk.finished:
                break
        with client.stream("openai/m", "Hello!") as stream:
            while not stream.recv().finished:
                pass
        for text in ("Hello", "Hello!"):
            assert client.stream("openai/m", text).stats.cached


class Raising(Middleware):
    def chunk(self, chunk: Chunk) -> Chunk | None:
        if "there" in chunk.text:
            raise LookupError
        return attrs.evolve(chunk, text=chunk.text.upper()) if chunk.text else chunk


def test_other_policies(make: Callable[..., Cache]) -> None:
    """What a middleware inside has changed is kept changed, one outside changes it again; its errors keep nothing."""
    with Server(text_reply("Hello you.")) as server:
        with client_of(server, make(), Raising()) as client:
            assert ["HELLO YOU."] * 2 == [client.complete("openai/m", "Hi").text for _ in range(2)]
        with client_of(server, Raising(), make()) as client:
            assert ["HELLO YOU."] * 2 == [client.complete("openai/m", "Hi").text for _ in range(2)]
        assert 2 == len(server.requests)
    with Server(text_reply("Hello there.")) as server:
        with client_of(server, Raising(), make()) as client:
            for _ in range(2):
                with pytest.raises(LookupError):
                    client.complete("openai/m", "Hi")
        assert 2 == len(server.requests)
    replies = [text_reply("Hello there.").first(3).then(Cut()), text_reply("there. Bye.")]
    with Server(*replies) as server, client_of(server, make(), Recovery("continue")) as client:
        streams = [client.stream("openai/m", "Hi") for _ in range(2)]
        assert ["Hello there. Bye."] * 2 == [stream.collect().text for stream in streams]
        assert [(1, False), (0, True)] == [(stream.stats.recovered, stream.stats.cached) for stream in streams]


def test_time_and_room() -> None:
    """A reply is forgotten after its time; the one not asked for the longest makes room; a huge one is not kept."""
    now = [0.0]
    cache = MemoryCache(size=2, ttl=10, clock=lambda: now[0])

    def cached(text: str) -> bool:
        stream = client.stream("openai/m", text)
        stream.collect()
        return stream.stats.cached

    with Server(text_reply("Hello.")) as server, client_of(server, cache) as client:
        assert [False, True, False] == [cached("a"), cached("a"), cached("b")]
        assert cached("a")
        assert not cached("c")  # in place of b
        assert [True, True, False] == [cached("a"), cached("c"), cached("b")]
        now[0] = 9.9
        assert cached("b")
        now[0] = 10.0
        assert not cached("b")
        assert 1 <= len(cache) <= 2
        cache.clear()
        assert (0, 0) == (len(cache), cache._bytes)
        assert not cached("b")
    with Server(text_reply("Hello.")) as server, client_of(server, MemoryCache(max_bytes=3000)) as client:
        for text in "abcdefgh":
            assert not cached(text)
        assert [cached("h"), cached("a")] == [True, False]
    with Server(text_reply("word " * 2000)) as server, client_of(server, MemoryCache(max_bytes=3000)) as client:
        assert [False, False] == [cached("a"), cached("a")]


# -- what is the same ------------------------------------------------------------------------------------

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(["openai/m", "openai/n", "openai-responses/m"]),
    "system": st.sampled_from(["", "Be brief.", "Be  brief."]),
    "text": st.text(max_size=3).map("Hi".__add__),
    "temperature": st.sampled_from([None, 0, 0.5, 1]),
    "max_tokens": st.sampled_from([None, 1, 10]),
    "seed": st.sampled_from([None, 0, 1]),
    "stop_sequences": st.sampled_from([None, ["a"], ["a", "b"], ["ab"]]),
    "tools": st.sampled_from([None, "f", "g"]),
    "extra_body": st.sampled_from([None, {"x": 1}, {"x": "1"}, {"y": 1}]),
    "extra_headers": st.sampled_from(
        [None, {"x-a": "1"}, {"x-a": "2"}, {"x-a": "a-long-value"}, {"x-a": "another-one"}]
    ),
}


def digest_of(client: Client, fields: Mapping[str, Any]) -> str:
    given = dict(fields)
    model, system, text = given.pop("model"), given.pop("system"), given.pop("text")
    body, headers, tool = given.pop("extra_body"), given.pop("extra_headers"), given.pop("tools")
    if "responses" in model:
        given = {name: value for name, value in given.items() if name in ("temperature", "max_tokens")}
    function = {"name": tool, "parameters": {"type": "object", "properties": {}}}
    if tool is not None:
        given["tools"] = [{"type": "function", "function": function}]
    params = {name: value for name, value in given.items() if value is not None}
    options = {"timeout": None, "retry": None, "extra_body": body or {}, "extra_headers": headers or {}}
    messages = [{"role": "system", "content": system}] * bool(system) + messages_of(text)
    return Request(model, messages, params, lambda _: client._jobs(model, messages, params, options)).digest()


@given(st.fixed_dictionaries(FIELDS), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_requests_that_differ_do_not_collide(fields: dict[str, Any], data: st.DataObject) -> None:
    """Two requests that differ in one field have two digests; equal ones have one, whatever the key."""
    name = data.draw(st.sampled_from(sorted(FIELDS)))
    other = {**fields, name: data.draw(FIELDS[name])}
    if "responses" in str(fields["model"]) and name in ("seed", "stop_sequences"):
        return
    clients = []
    for key in ("sk-one-key-of-some-length", "k"):
        made = [providers.OpenAI(key, "http://127.0.0.1:1"), providers.OpenAIResponses(key, "http://127.0.0.1:1")]
        clients.append(Client(made))
    one = digest_of(clients[0], fields)
    assert one == digest_of(clients[1], fields)
    assert (one == digest_of(clients[0], other)) is (repr(fields[name]) == repr(other[name]))


def test_addresses_and_signatures() -> None:
    """Another server is another request; the time of AWS's signature is not."""
    pytest.importorskip("botocore")
    digests: list[str] = []

    class Digest(Middleware):
        def request(self, request: Request, next: Next) -> ChunkStream:
            digests.append(request.digest())
            raise LookupError

    for url in ("http://127.0.0.1:1", "http://127.0.0.1:2"):
        with Client([providers.OpenAI("k", url)], policies=[Digest()]) as client, pytest.raises(LookupError):
            client.stream("openai/m", "Hello")
    assert 2 == len(set(digests))
    digests.clear()
    for key in ("AKIAONE", "AKIATWO"):
        bedrock = providers.Bedrock(region="eu-west-1", access_key=key, secret_key="a-secret-of-" + key)
        with Client([bedrock], policies=[Digest()]) as client, pytest.raises(LookupError):
            client.stream("bedrock/m", "Hello")
    assert 1 == len(set(digests))


# -- at the same time ------------------------------------------------------------------------------------


def waiting_reply(gate: threading.Event, text: str = "Hello there.") -> Reply:
    reply = text_reply(text)
    return reply.but(steps=[*reply.steps[:2], WaitFor(gate), *reply.steps[2:]])


def test_equal_requests_at_once_ask_once(make: Callable[..., Cache]) -> None:
    """While a reply is under way, those who ask for the same wait for it, and get it."""
    gate, started = threading.Event(), threading.Barrier(8)

    def ask() -> tuple[str, bool]:
        stream = client.stream("openai/m", "Hello")
        started.wait(SOON)
        return stream.collect().text, stream.stats.cached

    with Server(waiting_reply(gate)) as server, client_of(server, make()) as client:
        tasks = [Task(ask) for _ in range(8)]
        wait_for_request(server)
        gate.set()
        results = [task.result() for task in tasks]
        assert 1 == len(server.requests)
    assert [("Hello there.", False)] + [("Hello there.", True)] * 7 == sorted(results)


def wait_for_request(server: Server) -> None:
    until = time.monotonic() + SOON
    while not server.requests:
        assert time.monotonic() < until
        threading.Event().wait(0.001)


def end_leader(how: str, leader: Stream) -> None:
    if how == "cancelled":
        leader.cancel()
    elif how == "left":
        for _ in leader:
            break
    elif how == "closed":
        leader.close()


@pytest.mark.parametrize("how", ["cancelled", "left", "closed", "dropped", "failed", "not consumed"])
def test_where_the_first_one_comes_to_nothing(how: str) -> None:
    """Those that wait ask themselves, and again only one of them."""
    gate = threading.Event()
    reply = waiting_reply(gate)
    if how == "failed":
        reply = reply.but(steps=[*reply.steps[:3], Cut()])
    cache = MemoryCache(wait=0.2 if how == "not consumed" else SOON)
    with Server(reply, text_reply("Whole.")) as server, client_of(server, cache) as client:
        streams = [client.stream("openai/m", "Hello")]
        followers = [client.stream("openai/m", "Hello") for _ in range(4)]
        wait_for_request(server)
        tasks = [Task(lambda stream=each: stream.collect().text) for each in followers]  # type: ignore[misc]
        if how == "failed":
            gate.set()
            fail(streams[0])
        elif how == "dropped":
            next(streams[0])
            streams.clear()
            gc.collect()
        else:
            end_leader(how, streams[0])
        assert ["Whole."] * 4 == [task.result() for task in tasks]
        assert 2 == len(server.requests)
        assert [False, True, True, True] == sorted(each.stats.cached for each in followers)
        gate.set()


def test_in_one_thread(make: Callable[..., Cache]) -> None:
    """A thread that has begun to take a reply, and asks for the same, does not wait for itself."""
    with Server(text_reply("Hello there.")) as server, client_of(server, make(wait=SOON * 10)) as client:
        with client.stream("openai/m", "Hello") as stream:
            next(stream)
            assert "Hello there." == client.complete("openai/m", "Hello").text
            assert "Hello there." == stream.collect().text
        assert 2 == len(server.requests)
        streams = [client.stream("openai/m", "Hi") for _ in range(3)]
        for _ in merge(streams):
            pass
        assert ["Hello there."] * 3 == [each.text for each in streams]
        assert [False, True, True] == [each.stats.cached for each in streams]
        assert 3 == len(server.requests)


def test_while_it_waits(make: Callable[..., Cache]) -> None:
    """A stream that waits for another one's reply can be cancelled, stopped, closed and asked for its state."""
    gate = threading.Event()
    with Server(waiting_reply(gate)) as server, client_of(server, make(wait=SOON)) as client:
        leader = client.stream("openai/m", "Hello")
        one = client.stream("openai/m", "Hello")
        assert ("open", "", None, None, False, 0) == (
            one.status, one.text, one.error, one.response, one.stats.cached, one.stats.attempts,
        )  # fmt: skip
        with pytest.raises(RecvTimeout):
            one.recv(0.01)
        assert one.poll() is False
        task = Task(lambda: list(one))
        one.cancel()
        assert ([], "cancelled") == (task.result(), one.status)
        for stop in (StopEvent(), threading.Event()):
            stream = client.stream("openai/m", "Hello", stop=stop)
            task = Task(lambda stream=stream: list(stream))  # type: ignore[misc]
            stop.set()
            assert ([], "cancelled") == (task.result(), stream.status)
        with client.stream("openai/m", "Hello") as stream:
            pass
        assert "cancelled" == stream.status
        with pytest.raises(MisuseError):
            stream.recv()
        last = client.stream("openai/m", "Hello")
        assert "waits" in repr(last)
        gate.set()
        leader.collect()
        assert last.poll()
        assert last.collect().text == leader.text
        assert last.stats.cached
        assert 1 == len(server.requests)


@given(st.lists(st.lists(st.sampled_from(["collect", "cancel", "leave", "close", "drop"]), max_size=4), max_size=6))
@settings(max_examples=30)
def test_whoever_leaves(acts: list[list[str]]) -> None:
    """Whatever others do with equal requests, in their threads, each one that reads to the end has the whole reply."""

    def work(acts: list[str]) -> list[str]:
        texts = []
        for act in [*acts, "collect"]:
            stream = client.stream("openai/m", "Hello")
            if act == "collect":
                texts.append(stream.collect().text)
            elif act == "leave":
                leave(stream)
            elif act == "drop":
                del stream
            else:
                getattr(stream, act)()
        return texts

    cache = MemoryCache(wait=SOON)
    with Server(lambda _: text_reply("Hello there.")) as server, client_of(server, cache) as client:
        tasks = [Task(lambda each=each: work(each)) for each in acts]  # type: ignore[misc]
        texts = [text for task in tasks for text in task.result()]
        assert {"Hello there."} >= set(texts)
        assert client.stream("openai/m", "Hello").stats.cached is bool(acts)


def test_a_closed_client_ends_the_wait() -> None:
    """Closing the client cancels the stream that waits."""
    gate = threading.Event()
    with Server(waiting_reply(gate)) as server:
        client = client_of(server, MemoryCache())
        streams = [client.stream("openai/m", "Hello") for _ in range(2)]
        client.close()
        assert ["cancelled"] * 2 == [stream.status for stream in streams]
        gate.set()


FORKED = """
import os, sys
from streamkit import Client, MemoryCache, providers
from streamkit.testing import Server, text_reply

with Server(text_reply("Hello.")) as server:
    client = Client([providers.OpenAI("k", server.url)], policies=[MemoryCache()])
    client.complete("openai/m", "a")
    open_stream = client.stream("openai/m", "b")
    played = client.stream("openai/m", "a")
    pid = os.fork()
    if not pid:
        code = 1
        try:
            assert client.stream("openai/m", "a").collect().text == "Hello."
            assert played.inherited
            assert client.complete("openai/m", "b").text == "Hello."
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert open_stream.collect().text == "Hello."
    assert played.collect().text == "Hello."
    client.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child() -> None:
    """It has the replies that were kept, and waits for none of its parent's requests."""
    run_program(FORKED.replace("import os, sys", "import os, sys, warnings; warnings.simplefilter('ignore')"))


# -- in a database ---------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "replies.db"


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def test_shared_by_processes(path: Path) -> None:
    """Another cache on the same file has the replies; the file is for its user alone."""
    with Server(text_reply("Hello there.")) as server:
        for number in range(3):
            with closing(SQLCache(path)) as cache, client_of(server, cache) as client:
                stream = client.stream("openai/m", "Hello")
                assert ("Hello there.", number > 0) == (stream.collect().text, stream.stats.cached)
        assert 1 == len(server.requests)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "no JSON",
        '{"version":2,"provider":"p","model":"m","seconds":[0.0]}\n{"type":"done"}',
        '{"version":1,"provider":"p","model":"m","seconds":[0.0]}\n{"type":"unheard of"}',
        '{"version":1,"provider":"p","model":"m","seconds":[0.0]}\n{"type":"text","text":"cut"}',
        '{"version":1,"provider":"p","model":"m","seconds":[]}\n{"type":"done"}',
        '{"version":1,"provider":"p","model":"m","seconds":"x"}\n{"type":"done"}',
        '{"version":1}\n{"type":"done"}',
        "[" * 10000,
    ],
)
def test_a_damaged_or_newer_row(path: Path, body: str) -> None:
    """It counts as missing, and the next reply replaces it."""
    with closing(SQLCache(path)) as cache, Server(text_reply("Hello.")) as server, client_of(server, cache) as client:
        client.complete("openai/m", "Hello")
        change(path, "UPDATE streamkit_cache SET body = ?", body)
        for cached in (False, True):
            stream = client.stream("openai/m", "Hello")
            assert ("Hello.", cached) == (stream.collect().text, stream.stats.cached)


def test_a_database_that_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It costs a warning without a word of the reply, not the reply; then it is left alone for a while."""
    folder = tmp_path / "later"
    cache = SQLCache(folder / "replies.db", pause=SOON * 10)
    with closing(cache), Server(text_reply("Hello there.")) as server, client_of(server, cache) as client:
        with caplog.at_level(logging.WARNING, "streamkit"):
            assert ["Hello there."] * 3 == [client.complete("openai/m", "A prompt").text for _ in range(3)]
        (record,) = [record for record in caplog.records if record.name == "streamkit"]
        assert "cannot be used" in record.getMessage()
        assert not any(word in record.getMessage() for word in ("Hello", "prompt"))
        folder.mkdir()
        cache._asleep_until = 0.0
        client.complete("openai/m", "A prompt")
        assert client.stream("openai/m", "A prompt").stats.cached
        # It goes away again while a reply is under way.
        stream = client.stream("openai/m", "Another")
        change(folder / "replies.db", "DROP TABLE streamkit_cache")
        assert "Hello there." == stream.collect().text
        assert 2 == len([record for record in caplog.records if record.levelname == "WARNING"])


def test_time_and_room_of_rows(path: Path) -> None:
    """A row is forgotten after its time; old rows, and the oldest of too many, are deleted now and then."""
    now = [1000.0]
    cache = SQLCache(path, ttl=10, size=2, clock=lambda: now[0])
    with closing(cache), Server(text_reply("Hello.")) as server, client_of(server, cache) as client:
        client.complete("openai/m", "a")
        assert client.stream("openai/m", "a").stats.cached
        now[0] += 10
        assert not client.stream("openai/m", "a").stats.cached
        for text in "bcde":
            now[0] += 1
            cache._table._until_clean = 1
            client.complete("openai/m", text)
        assert [False, False, True, True] == [client.stream("openai/m", text).stats.cached for text in "bcde"]
        cache.clear()
        assert not client.stream("openai/m", "e").stats.cached


def test_in_postgresql(make_postgres: Callable[[], str]) -> None:
    """It does the same in PostgreSQL."""
    url = make_postgres()
    with Server(text_reply("Hello there \ud800.")) as server:
        for number in range(2):
            with closing(SQLCache(url)) as cache, client_of(server, cache) as client:
                stream = client.stream("openai/m", "Hello")
                stream.collect()
                assert stream.stats.cached is (number > 0)
        assert 1 == len(server.requests)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (MemoryCache, {"size": 0}),
        (MemoryCache, {"max_bytes": True}),
        (MemoryCache, {"ttl": 0}),
        (MemoryCache, {"ttl": "1"}),
        (MemoryCache, {"wait": None}),
        (SQLCache, {"url": ""}),
        (SQLCache, {"url": "sqlite://"}),
        (SQLCache, {"url": "nothing://x"}),
        (SQLCache, {"url": "x.db", "size": 0}),
        (SQLCache, {"url": "x.db", "timeout": 0}),
    ],
)
def test_wrong_values(kind: Any, options: dict[str, Any]) -> None:
    """A value of a wrong kind is a clear error."""
    with pytest.raises(ConfigError):
        kind(**options)


def test_without_sqlalchemy() -> None:
    """Its absence is an error that names the extra."""
    run_program(
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "import streamkit\n"
        "try:\n"
        "    streamkit.SQLCache('x.db')\n"
        "except streamkit.ConfigError as error:\n"
        "    assert 'streamkit[sql]' in str(error), error\n"
        "else:\n"
        "    raise AssertionError\n"
    )


def test_what_is_not_loaded() -> None:
    """`import streamkit` loads no policy."""
    run_program(
        "import sys, streamkit; streamkit.Client().close()\n"
        "found = [name for name in sys.modules if 'sqlalchemy' in name or 'streamkit.policies' in name]\n"
        "assert not found, found\n"
    )


def test_completions_can_be_pickled(make: Callable[..., Cache]) -> None:
    """A played reply is as any other."""
    with Server(text_reply("Hello.")) as server, client_of(server, make()) as client:
        client.complete("openai/m", "Hello")
        completion = client.complete("openai/m", "Hello")
        assert completion == pickle.loads(pickle.dumps(completion))
