"""Chunks that pass in the thread that reads them: ``Stream.divert``, and ``Relay.write_to`` on it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from streamkit import ChannelClosed, Chunk, Client, Retry, Stream, StreamError, TruncatedStreamError, providers
from streamkit.concurrency.channel import Channel
from streamkit.policies.cache import RecordingStream, WaitingStream
from streamkit.policies.hedging import HedgedStream
from streamkit.policies.middleware import ChangedStream
from streamkit.policies.played import PlayedStream
from streamkit.testing import DONE, Cut, Mark, Repeat, Reply, Server, Wait, WaitFor, chunk_event, text_reply
from streamkit.validators.stream import ValidatedStream
from streamkit.web.relay import relay
from tests.unit.support import SOON


def client_of(server: Server) -> Client:
    return Client([providers.OpenAI(api_key="k", base_url=server.url)], retry=Retry(attempts=1))


def drained(stream: Stream, sink: Callable[[Sequence[Chunk]], object]) -> None:
    """Take chunks until the stream is diverted, and then wait for its end."""
    diverted = False
    while True:
        diverted = diverted or stream.divert(sink)
        try:
            chunk = stream.take(0.01)
        except queue.Empty:
            continue
        if chunk is None:
            return
        sink([chunk])


@pytest.mark.parametrize("before", [0, 1, 7])
def test_each_chunk_passes_once_and_in_order(before: int) -> None:
    """Whenever it begins, no chunk is lost or comes twice, and the completion is that of any other stream."""
    words = [f" {number}" for number in range(500)]
    events = [chunk_event(word) for word in words]
    reply = Reply([b"".join(events[:250]), *events[250:], chunk_event(finish_reason="stop"), DONE])
    with Server(reply) as server, client_of(server) as client:
        whole = client.complete("openai/m", "Hi")
        stream = client.stream("openai/m", "Hi", buffer=3)
        seen: list[Chunk] = []
        for _ in range(before):
            chunk = stream.take()
            assert chunk is not None
            seen.append(chunk)
        drained(stream, seen.extend)
        assert words == [chunk.text for chunk in seen if chunk.text]
        assert seen[-1].finished
        assert ("complete", whole) == (stream.status, stream.completion)
        assert len(seen) == stream.stats.chunks


def test_it_is_the_reader_that_calls() -> None:
    """The sink runs in the reader's thread, and holds it up: what it has not taken is not read."""
    taken, go = threading.Event(), threading.Event()
    threads: set[str] = set()

    def slow(chunks: Sequence[Chunk]) -> None:
        threads.add(threading.current_thread().name)
        taken.set()
        assert go.wait(SOON)

    with Server(Reply([chunk_event("One"), Wait(0.05), chunk_event(" two"), DONE])) as server:
        with client_of(server) as client:
            stream = client.stream("openai/m", "Hi")
            assert stream.divert(slow)
            assert taken.wait(SOON)
            with pytest.raises(queue.Empty):
                stream.take(0.01)
            go.set()
            assert stream.take(SOON) is None
            assert threads == {f"streamkit-{number_of(stream)}"}


def number_of(stream: Stream) -> str:
    return repr(stream).split()[1]


def test_a_sink_that_is_closed_cancels() -> None:
    """Where the sink says so, the request ends, and so does the wait for the end."""

    def left(chunks: Sequence[Chunk]) -> None:
        raise ChannelClosed("left")

    with Server(Reply([Repeat(chunk_event("more"))])) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi")
        drained_until_diverted(stream, left)
        assert stream.take(SOON) is None
        assert "cancelled" == stream.status
        assert server.requests[0].gone.wait(SOON)


def drained_until_diverted(stream: Stream, sink: Callable[[Sequence[Chunk]], object]) -> None:
    while not stream.divert(sink):
        stream.take(SOON)


def test_a_cancel_ends_the_wait_for_the_end() -> None:
    """Another thread cancels a stream that is diverted as it cancels any other."""
    ready = threading.Event()
    with Server(Reply([chunk_event("One"), Mark(ready), Wait(None)])) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi")
        seen: list[Chunk] = []
        assert stream.divert(seen.extend)
        assert ready.wait(SOON)
        threading.Timer(0.05, stream.cancel).start()
        assert stream.take(SOON) is None
        assert "cancelled" == stream.status


def test_a_failure_comes_to_who_waits() -> None:
    """A reply that breaks off raises where the end is waited for, with what was delivered."""
    with Server(Reply([chunk_event("One"), Cut()])) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi")
        seen: list[Chunk] = []
        with pytest.raises(StreamError) as caught:
            drained(stream, seen.extend)
        assert "One" == caught.value.partial.text == "".join(chunk.text for chunk in seen)


def test_items_inside_are_taken_first() -> None:
    """A channel that has items is not diverted, and a sender that waits for room passes the rest itself."""
    channel: Channel[int, str] = Channel(2)
    seen: list[int] = []
    sender = threading.Thread(target=channel.put_many, args=([1, 2, 3, 4],))
    sender.start()
    while channel.qsize() < 2:
        pass
    assert not channel.divert(seen.extend)
    while not channel.divert(seen.extend):
        seen += channel.get_many()
    sender.join(SOON)
    channel.put(5)
    assert [1, 2, 3, 4, 5] == seen


def test_streams_that_are_made_of_others_are_not_diverted() -> None:
    """A class that stands for a ``Stream`` has a method of its own: it has none of the fields."""
    kinds = (ChangedStream, HedgedStream, PlayedStream, RecordingStream, ValidatedStream, WaitingStream)
    for kind in kinds:
        assert kind.divert is not Stream.divert, kind
        assert not kind.divert(kind.__new__(kind), print)


# The relay.


def written(server: Server, **options: Any) -> bytes:
    data: list[bytes] = []
    with client_of(server) as client:
        relay(client.stream("openai/m", "Hi"), "openai", id="x", created=1, model="m", **options).write_to(data.append)
    return b"".join(data)


def test_what_is_written_is_what_is_iterated() -> None:
    """Written or iterated, a reply has the same bytes."""
    with Server(text_reply("Hello there, world")) as server, client_of(server) as client:
        iterated = b"".join(relay(client.stream("openai/m", "Hi"), "openai", id="x", created=1, model="m"))
        assert iterated == written(server)


def test_heartbeats_and_the_end_of_a_torn_reply() -> None:
    """Silence is filled, and a reply that breaks off ends with an error."""
    with Server(Reply([chunk_event("One"), Wait(0.3), Cut()])) as server:
        data = written(server, heartbeat=0.05)
        assert data.count(b": hb\n") >= 2
        assert b'"error"' in data.splitlines()[-2]
        assert b"[DONE]" not in data


def test_all_bytes_are_there_before_the_last_are_written() -> None:
    """Whoever keeps a reply has all of it before the client has."""
    kept: list[bytes] = []
    data: list[bytes] = []

    def keep(whole: bytes) -> None:
        assert b"[DONE]" not in b"".join(data)
        kept.append(whole)

    with Server(text_reply("Hello")) as server, client_of(server) as client:
        relay(client.stream("openai/m", "Hi"), "openai").write_to(data.append, before_end=keep, most=10_000)
    assert [b"".join(data)] == kept


def test_a_client_that_has_left() -> None:
    """A write that fails ends the request to the model, and nothing is raised."""
    go = threading.Event()
    count = 0

    def write(data: bytes) -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise BrokenPipeError
        go.set()

    with Server(Reply([chunk_event("One"), WaitFor(go), Repeat(chunk_event("more"))])) as server:
        with client_of(server) as client:
            stream = client.stream("openai/m", "Hi")
            relay(stream, "openai").write_to(write)
            assert "cancelled" == stream.status
            assert server.requests[0].gone.wait(SOON)


def test_a_truncated_reply_is_told() -> None:
    """A format that cannot tell an error lets the server cut the connection."""
    with Server(Reply([chunk_event("One"), Cut()])) as server, client_of(server) as client:
        with pytest.raises(TruncatedStreamError):
            relay(client.stream("openai/m", "Hi"), "text").write_to(lambda data: None)
