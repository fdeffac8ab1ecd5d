"""`publish` and `follow`: what one writes, the others read, each chunk once and in order."""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit
from streamkit import (
    BrokenStreamError,
    ChannelClosed,
    Chunk,
    ChunkStream,
    Client,
    Completion,
    ConfigError,
    FollowedStream,
    LogConflictError,
    LogError,
    MemoryLog,
    MisuseError,
    RateLimitError,
    RecvTimeout,
    StoreError,
    StreamCancelledError,
    StreamError,
    StreamTimeout,
    Timeout,
    ToolCallDelta,
    ToolResult,
    Usage,
    WriterLostError,
    first,
    fold,
    follow,
    merge,
    publish,
)
from streamkit.logs.json_text import Outcome, read_chunk, read_outcome, write_chunk, write_outcome
from streamkit.logs.log import Record
from streamkit.logs.merging import merged
from streamkit.testing import Server, WaitFor, text_reply, tool_call_reply
from tests.unit.scripted import DONE, Scripted, texts
from tests.unit.support import Task

SHORT = 0.2


def client_of(server: Server) -> Client:
    return Client([streamkit.providers.OpenAI(api_key="sk-SECRET", base_url=server.url)])


# -- chunks as JSON ------------------------------------------------------------------------------------

any_text = st.text(max_size=8)
some_text = st.text(min_size=1, max_size=8)
numbers = st.integers(0, 2)
usages = st.none() | st.builds(Usage, input_tokens=st.none() | numbers, cost=st.none() | st.floats(0, 9))
data = st.lists(st.fixed_dictionaries({"anthropic": st.dictionaries(any_text, any_text, max_size=2)}), max_size=2)
common: dict[str, Any] = {
    "index": numbers,
    "usage": usages,
    "id": st.sampled_from(["", "r1", "r2"]),
    "model": st.sampled_from(["", "m"]),
    "round": st.just(0),
    "raw": st.just({"raw": 1}),
}
chunks = st.one_of(
    st.builds(Chunk, st.just("text"), text=some_text, **common),
    st.builds(Chunk, st.just("text"), finish_reason=st.just("length"), **common),
    st.builds(Chunk, st.just("text"), text=any_text, provider_data=data.map(tuple), **common),
    st.builds(Chunk, st.just("reasoning"), reasoning=some_text, **common),
    st.builds(Chunk, st.just("refusal"), refusal=some_text, **common),
    st.builds(
        Chunk,
        st.just("tool_call"),
        tool_call=st.builds(ToolCallDelta, numbers, st.sampled_from(["", "c"]), st.sampled_from(["", "f"]), any_text),
        **common,
    ),
    st.builds(
        Chunk,
        st.just("tool_result"),
        tool_result=st.builds(
            ToolResult,
            st.just("c"),
            st.just("f"),
            any_text,
            error=st.none() | any_text,
            seconds=st.floats(0, 9),
            preliminary=st.booleans(),
            state=st.sampled_from(["finished", "running", "unknown"]),
            value=st.just(object()),
            parts=st.lists(st.just({"type": "text", "text": "x"}), max_size=2).map(tuple),
            edited=any_text,
        ),
        **common,
    ),
)


def bare(chunk: Chunk) -> Chunk:
    """Return the chunk without `raw`."""
    return Chunk.from_dict({**chunk.to_dict(), "raw": None})


@given(chunks)
def test_a_chunk_is_read_as_it_was_written(chunk: Chunk) -> None:
    """All fields but `raw` come back, and defaults take no room."""
    text = write_chunk(chunk)
    assert bare(chunk) == read_chunk(text, "it")
    assert "raw" not in json.loads(text)
    assert None not in json.loads(text).values()


def test_the_json_is_compact() -> None:
    """A piece of text takes its text, its type, and what the provider says of it."""
    assert '{"type":"text","text":"Zoë 日本","id":"r","model":"m"}' == write_chunk(
        Chunk("text", text="Zoë 日本", id="r", model="m", raw={"x": 1})
    )
    assert '{"type":"text","text":"\\ud83d"}' == write_chunk(Chunk("text", text="\ud83d"))
    assert '{"type":"done","finish_reason":"stop","usage":{"input_tokens":3}}' == write_chunk(
        Chunk("done", finish_reason="stop", usage=Usage(input_tokens=3))
    )


@pytest.mark.parametrize("text", ["", "{", "7", "{}", '{"type":"new"}', '{"type":"text","text":7}'])
def test_damaged_records(text: str) -> None:
    """A record that is none is an error that names the place."""
    with pytest.raises(LogError, match="record 3 of it is damaged, or was written by a newer version"):
        read_chunk(text, "record 3 of it")


@settings(max_examples=1000)
@given(st.lists(chunks, max_size=30))
def test_merging_loses_nothing(given_chunks: list[Chunk]) -> None:
    """Joined chunks fold to the same completion, and are never more."""
    joined = merged(given_chunks)
    assert fold(given_chunks) == fold(joined)
    assert len(joined) <= len(given_chunks)
    assert merged(joined) == joined or fold(merged(joined)) == fold(joined)


def test_what_is_joined() -> None:
    """Neighbouring pieces of one text are, and of one call's arguments; a new call or another choice is not."""
    pieces = [
        *texts("a", "b"),
        Chunk("text", text="c", index=1),
        Chunk("tool_call", tool_call=ToolCallDelta(0, "c1", "f", "")),
        Chunk("tool_call", tool_call=ToolCallDelta(0, arguments='{"a"')),
        Chunk("tool_call", tool_call=ToolCallDelta(0, arguments=":1}")),
        Chunk("tool_call", tool_call=ToolCallDelta(1, "c2", "f", "{")),
    ]
    joined = merged(pieces)
    assert ["ab", "c", "", ""] == [chunk.text for chunk in joined]
    assert ["", '{"a":1}', "{"] == [chunk.tool_call.arguments if chunk.tool_call else "" for chunk in joined[1:]]
    assert joined[0].raw is None


ERRORS = [
    RateLimitError("slow down", status=429, code="x", retry_after=2.5, request_id="r", body={"e": [1]}, retryable=True),
    StreamTimeout("late", phase="idle", limit=3.0),
    BrokenStreamError("cut", retryable=True),
    LogError("gone"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_come_back(error: StreamError) -> None:
    """A reader gets an error of the same class with the same attributes, without the reply."""
    error.partial = Completion(text="secret")
    text = write_outcome(Outcome.of("error", error.partial, error))
    back = read_outcome(text, "it").to_error()
    assert type(error) is type(back)
    assert back is not None
    assert {**vars(error), "partial": None} == vars(back)
    assert str(error) == str(back)
    assert "secret" not in text


def test_other_errors_come_back_as_stream_errors() -> None:
    """A class that is not the library's is named, and not looked for anywhere else."""
    for error in (KeyboardInterrupt(), ValueError("x"), StoreError("disk full")):
        back = Outcome.of("error", None, error).to_error()
        assert type(back) is StreamError
        assert type(error).__name__ in str(back)
    assert type(Outcome("error", {"class": "annotations", "message": "x"}).to_error()) is StreamError


# -- publish and follow --------------------------------------------------------------------------------


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


def followed(log: MemoryLog, id: str = "a", after: int | str = 0) -> tuple[FollowedStream, list[Chunk]]:
    stream = follow(log, id, after, timeout=None)
    return stream, list(stream)


def test_a_reply_is_followed(log: MemoryLog) -> None:
    """A reader gets the text, the usage, the provider and the end of the writer's stream."""
    pieces = [*texts("a", "b"), Chunk("text", text="c", index=1), DONE]
    published = publish(Scripted(pieces), log, "a")
    stream, got = followed(log)
    assert fold(pieces, provider="p", model="m") == published == stream.completion
    assert "complete" == stream.status
    assert fold(pieces) == fold(got)
    assert stream.id_of_last == len(got)
    assert stream.completion.complete
    with pytest.raises(MisuseError):
        list(stream)
    with pytest.raises(ChannelClosed):
        stream.recv()


def test_a_real_reply(log: MemoryLog) -> None:
    """A reader follows a stream of a client while it comes."""
    usage = {"prompt_tokens": 1, "completion_tokens": 3}
    with Server(text_reply("one two three", usage=usage)) as server, client_of(server) as client:
        task = Task(lambda: publish(lambda: client.stream("openai/m", "x"), log, "a"))
        stream, got = followed(log)
        assert "one two three" == "".join(chunk.text for chunk in got) == task.result().text
        assert ("openai", 3) == (stream.completion.provider, stream.completion.usage.output_tokens)
        assert task.result() == stream.completion


def test_from_any_place(log: MemoryLog) -> None:
    """Whoever comes back with the number of a chunk gets those after it, and the completion of the whole."""
    pieces = [Chunk("text", text=str(number), index=number % 2) for number in range(10)]
    whole = publish(Scripted([*pieces, DONE]), log, "a")
    _, every = followed(log)
    for after in range(len(every) + 2):
        for form in (after, str(after), f" {after} "):
            stream, got = followed(log, after=form)
            assert every[after:] == got
            assert whole == stream.completion
            assert stream.id_of_last == max(after, len(every))
    stream = follow(log, "a", after=len(every) + 2)
    with pytest.raises(LogError, match="is behind it"):
        list(stream)


@pytest.mark.parametrize("after", [-1, 1.5, None, True, "x", "-1", "1_0", "²", "9" * 400])
def test_wrong_numbers(log: MemoryLog, after: Any) -> None:
    """A place that is none is refused; a browser may send anything."""
    with pytest.raises(ConfigError, match="must be the number of a chunk"):
        follow(log, "a", after)


@pytest.mark.parametrize("wrong", [None, "redis://x", object()])
def test_wrong_arguments(log: MemoryLog, wrong: Any) -> None:
    """What is no log, no stream or no number is refused before anything happens."""
    with pytest.raises(ConfigError):
        follow(wrong, "a")
    with pytest.raises(ConfigError):
        publish(Scripted([]), wrong, "a")
    with pytest.raises(ConfigError):
        publish(wrong, log, "a")
    with pytest.raises(ConfigError):
        publish(Scripted([]), log, "a", coalesce="x")  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        publish(Scripted([]), log, "")
    assert "absent" == log.status("a")


def test_a_function_that_starts_no_stream(log: MemoryLog) -> None:
    """Its readers hear of it."""
    with pytest.raises(ConfigError, match="must return a stream"):
        publish(lambda: 7, log, "a")  # type: ignore[arg-type, return-value]
    with pytest.raises(StreamError, match="must return a stream"):
        followed(log)


def test_partial_arguments(log: MemoryLog) -> None:
    """The arguments of a call grow for a reader too, also for one that comes back in the middle of them."""
    pieces = [
        Chunk("tool_call", tool_call=ToolCallDelta(0, "c", "f", '{"a": "x')),
        Chunk("tool_call", usage=Usage(1), tool_call=ToolCallDelta(0, arguments='y", "b": [1')),
        Chunk("tool_call", provider_data=({"p": 1},), tool_call=ToolCallDelta(0, arguments=", 2]}")),
        DONE,
    ]
    publish(Scripted(pieces), log, "a")
    expected = [chunk.tool_call.partial() for chunk in followed(log)[1] if chunk.tool_call]
    assert {"a": "xy", "b": [1, 2]} == expected[-1]
    for after in (1, 2):
        got = [chunk.tool_call.partial() for chunk in followed(log, after=after)[1] if chunk.tool_call]
        assert expected[after:] == got


@pytest.mark.parametrize("status", ["error", "timeout", "truncated"])
def test_failures(log: MemoryLog, status: Any) -> None:
    """The readers get the writer's error after the chunks that came, each with its own partial reply."""
    error = RateLimitError("slow down", status=429, retryable=True)
    with pytest.raises(RateLimitError) as raised:
        publish(Scripted(texts("a"), error, status), log, "a")
    assert error is raised.value
    stream = follow(log, "a")
    assert "a" == next(stream).text
    for _ in range(2):
        with pytest.raises(RateLimitError, match="slow down") as caught:
            next(stream)
        assert ("a", 429, True) == (caught.value.partial.text, caught.value.status, caught.value.retryable)
    assert status == stream.status
    assert "error" == stream.completion.finish_reason
    with pytest.raises(RateLimitError):
        follow(log, "a").collect()


@pytest.mark.parametrize("status", ["suspended", "cancelled"])
def test_other_ends(log: MemoryLog, status: Any) -> None:
    """A reply that is suspended or cancelled ends its readers without an error."""
    publish(Scripted(texts("a"), None, status), log, "a")
    stream, got = followed(log)
    assert ("a", status) == (fold(got).text, stream.status)


class SoftTimeLimitExceeded(Exception):
    """As Celery raises it, anywhere in the task."""


class Interrupted(Scripted):
    """A stream whose consumer is interrupted while it waits."""

    def __init__(self, *args: Any, by: BaseException) -> None:
        super().__init__(*args)
        self._by = by

    def take(self, seconds: float | None = None) -> Chunk | None:
        if not self._left:
            raise self._by
        return super().take(seconds)


@pytest.mark.parametrize("error", [SoftTimeLimitExceeded(), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_interrupts(log: MemoryLog, error: BaseException) -> None:
    """An exception that interrupts the writer ends the stream, goes through with the partial reply, and is told."""
    stream = Interrupted(texts("a", "b"), by=error)
    with pytest.raises(type(error)) as caught:
        publish(stream, log, "a")
    assert error is caught.value
    assert "ab" == error.partial.text  # type: ignore[attr-defined]
    assert stream.cancelled
    reader = follow(log, "a")
    assert "ab" == "".join(next(reader).text for _ in range(1))
    with pytest.raises(StreamError, match=type(error).__name__):
        next(reader)
    assert "error" == reader.status


def test_an_interrupt_while_the_end_is_written(log: MemoryLog) -> None:
    """A second interrupt leaves the writer's thread to write the end."""
    go, waiting = threading.Event(), threading.Event()

    class Slow(MemoryLog):
        def finish(self, lease: Any, outcome: str) -> None:
            waiting.set()
            assert go.wait(60)
            super().finish(lease, outcome)

    slow, main = Slow(), threading.get_ident()

    def interrupt() -> None:
        assert waiting.wait(60)
        signal.pthread_kill(main, signal.SIGINT)

    sender = threading.Thread(target=interrupt)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        publish(Scripted([*texts("a"), DONE]), slow, "a")
    sender.join(60)
    assert "open" == slow.status("a")
    go.set()
    reader, _ = followed(slow)
    assert ("complete", "a") == (reader.status, reader.text)


def test_without_threads(log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that gets no thread writes that it failed; its stream is ended."""
    monkeypatch.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("no thread")))
    stream = Scripted(texts("a"))
    with pytest.raises(RuntimeError, match="no thread"):
        publish(stream, log, "a")
    assert stream.cancelled
    assert "ended" == log.status("a")


def test_a_run_with_tools(log: MemoryLog) -> None:
    """The rounds of a run, its calls and their results reach the readers."""

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    with (
        Server(tool_call_reply("add", {"a": 1, "b": 2}), text_reply("It is 3.")) as server,
        client_of(server) as client,
    ):
        completion = publish(lambda: client.run("openai/m", "1 + 2?", tools=[add]), log, "a")
    stream, got = followed(log)
    assert completion == stream.completion
    assert "It is 3." == stream.text
    assert ["3"] == [chunk.tool_result.content for chunk in got if chunk.tool_result]
    assert {0, 1} == {chunk.round for chunk in got}
    assert [{"a": 1, "b": 2}] == [chunk.tool_call.partial() for chunk in got if chunk.tool_call][-1:]


def test_a_conversation(log: MemoryLog) -> None:
    """A turn is kept in its conversation, and in the log."""
    with Server(text_reply("Once upon a time")) as server, client_of(server) as client:
        chat = client.conversation("openai/m")
        publish(lambda: chat.stream("Tell"), log, "a")
    assert "Once upon a time" == followed(log)[0].text == chat.messages[-1].content


def test_a_turn_that_cannot_be_saved(log: MemoryLog) -> None:
    """The worker gets the error of the store; the readers got the whole reply, and no error."""
    stream = Interrupted([*texts("a"), DONE], by=StoreError("disk full"))
    stream._end = "complete", None
    original = stream.take

    def take(seconds: float | None = None) -> Chunk | None:
        if not stream._left:
            stream._status = "complete"
        return original(seconds)

    stream.take = take  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        publish(stream, log, "a")
    reader, _ = followed(log)
    assert ("complete", "a") == (reader.status, reader.text)


def test_a_second_writer(log: MemoryLog) -> None:
    """A second writer is refused, before it asks the model where it passed a function; its stream is ended if not."""
    publish(Scripted([*texts("a"), DONE]), log, "a")
    asked: list[int] = []
    second = Scripted([*texts("b"), DONE])

    def start() -> ChunkStream:
        asked.append(1)
        return second

    with pytest.raises(LogConflictError):
        publish(start, log, "a")
    assert [] == asked
    with pytest.raises(LogConflictError):
        publish(second, log, "a")
    assert second.closed
    assert "a" == followed(log)[0].text


def test_publishing_again(log: MemoryLog) -> None:
    """A reply that fails before its first chunk may be published again, and its readers wait for that."""
    reader = follow(log, "a")
    with pytest.raises(RateLimitError):
        publish(Scripted([], RateLimitError("slow down"), "error"), log, "a", again=True)
    with pytest.raises(ConfigError):
        publish(lambda: None, log, "a", again=True)  # type: ignore[arg-type,return-value]
    with pytest.raises(RecvTimeout):
        reader.recv(timeout=0.01)
    assert "absent" == log.status("a")
    with pytest.raises(RateLimitError):
        publish(Scripted(texts("a"), RateLimitError("slow down"), "error"), log, "a", again=True)
    with pytest.raises(RateLimitError):  # as there was a chunk
        list(reader)
    with pytest.raises(LogConflictError):
        publish(lambda: pytest.fail("asked"), log, "a", again=True)


def test_no_publishing_again_after_an_interrupt(log: MemoryLog) -> None:
    """What ends the process ends the reply; a stop is no failure."""
    with pytest.raises(KeyboardInterrupt):
        publish(Interrupted([], by=KeyboardInterrupt()), log, "a", again=True)
    assert "ended" == log.status("a")
    log.stop("b")
    publish(lambda: pytest.fail("asked"), log, "b", again=True)
    assert "cancelled" == followed(log, "b")[0].status


class GreenletExit(BaseException):
    """As gevent raises it in a greenlet that is killed."""


def test_a_greenlet_that_is_killed(log: MemoryLog) -> None:
    """It ends the reply as a stop does."""
    with pytest.raises(GreenletExit):
        publish(Interrupted(texts("a"), by=GreenletExit()), log, "a")
    stream, chunks = followed(log)
    assert ("cancelled", ["a"]) == (stream.status, [chunk.text for chunk in chunks])


@attrs.frozen
class Held:
    """A client of a server whose reply pauses after `one` until `go` is set."""

    client: Client
    go: threading.Event


@pytest.fixture
def held() -> Iterator[Held]:
    go = threading.Event()
    whole = text_reply("one two")
    reply = whole.first(2).then(WaitFor(go, timeout=60), *whole.steps[2:])
    with Server(reply) as server, client_of(server) as client:
        try:
            yield Held(client, go)
        finally:
            go.set()


def test_stop(log: MemoryLog, held: Held) -> None:
    """`log.stop()` ends the writer's stream, wherever it was called; writer and readers keep what came."""
    task = Task(lambda: publish(lambda: held.client.stream("openai/m", "x"), log, "a"))
    reader = follow(log, "a")
    got = ""
    while not got:
        got += next(reader).text
    assert log.stop("a")
    assert ("one", "cancelled") == (task.result().text, task.result().finish_reason)
    assert [] == [chunk.text for chunk in reader]
    assert ("cancelled", "one") == (reader.status, reader.text)
    with pytest.raises(StreamCancelledError):
        follow(log, "a").collect()


def test_stop_before_the_start(log: MemoryLog) -> None:
    """A reply that was stopped while its task was waiting asks no model."""
    log.stop("a")
    assert Completion(finish_reason="cancelled") == publish(lambda: pytest.fail("asked"), log, "a")
    assert "cancelled" == followed(log)[0].status


def test_cancel_of_a_reader(log: MemoryLog, held: Held) -> None:
    """A reader that cancels, closes, leaves its loop or is dropped hurts neither the writer nor the others."""
    task = Task(lambda: publish(lambda: held.client.stream("openai/m", "x"), log, "a"))
    readers = [follow(log, "a") for _ in range(4)]
    for reader in readers:
        while not reader.text:
            next(reader)
    waiting = Task(lambda: list(readers[0]))
    readers[0].cancel()
    assert [] == waiting.result()
    with readers[1]:
        pass
    for _ in follow(log, "a"):
        break
    assert ["cancelled", "cancelled", "open", "open"] == [reader.status for reader in readers]
    with pytest.raises(MisuseError, match="closed before its end"):
        readers[1].recv()
    readers.pop()
    gc.collect()
    held.go.set()
    assert " two" == "".join(chunk.text for chunk in readers[2])
    assert "one two" == task.result().text == readers[2].text


def test_a_writer_that_is_lost() -> None:
    """Readers get all that it wrote, and then an error that says so."""
    log = MemoryLog(lease=SHORT)
    lease = log.begin("a")
    log.append(lease, [Record(1, write_chunk(texts("a")[0]))])
    stream = follow(log, "a")
    assert "a" == next(stream).text
    with pytest.raises(WriterLostError, match="Its process was killed") as caught:
        next(stream)
    assert "a" == caught.value.partial.text
    assert "error" == stream.status


def test_a_writer_whose_stream_is_silent() -> None:
    """A stream in which nothing comes for longer than the lease does not lose it."""
    log = MemoryLog(lease=0.5)  # more than a busy machine keeps a thread waiting
    gate = threading.Event()

    class Silent(Scripted):
        def take(self, seconds: float | None = None) -> Chunk | None:
            if len(self._left) == 1:
                gate.wait(60)
            return super().take(seconds)

    task = Task(lambda: publish(Silent([*texts("a"), DONE]), log, "a"))
    stream = follow(log, "a")
    next(stream)
    with pytest.raises(RecvTimeout):
        stream.recv(timeout=4 * log.lease)
    gate.set()
    assert ["done"] == [chunk.type for chunk in stream]
    assert "a" == task.result().text


def test_a_deleted_reply(log: MemoryLog, held: Held) -> None:
    """Deleting a reply while it is written ends its stream and its readers with errors that say so."""
    task = Task(lambda: publish(lambda: held.client.stream("openai/m", "x"), log, "a"))
    reader = follow(log, "a")
    while not reader.text:
        next(reader)
    assert log.delete("a")
    with pytest.raises(LogError, match="was deleted"):
        list(reader)
    with pytest.raises(LogConflictError, match="was deleted"):
        task.result()


# -- limits --------------------------------------------------------------------------------------------


def test_time_limits(log: MemoryLog) -> None:
    """A reader may limit the wait for a writer, for a chunk, and the whole."""
    with pytest.raises(StreamTimeout, match="nobody has begun to write") as caught:
        list(follow(log, "a", timeout=Timeout(first=0.05)))
    assert ("first", 0.05) == (caught.value.phase, caught.value.limit)
    log.begin("a")
    with pytest.raises(StreamTimeout, match="nothing was written") as caught:
        list(follow(log, "a", timeout=Timeout(first=0.05, idle=0.1)))
    assert "idle" == caught.value.phase
    stream = follow(log, "a", timeout=0.1)
    with pytest.raises(StreamTimeout, match="there is no end of") as caught:
        list(stream)
    assert "total" == caught.value.phase
    assert "timeout" == stream.status


def test_recv_with_a_timeout(log: MemoryLog) -> None:
    """`recv(timeout)` returns in time, and the stream goes on."""
    stream = follow(log, "a")
    for _ in range(2):
        with pytest.raises(RecvTimeout):
            stream.recv(timeout=0.01)
        with pytest.raises(RecvTimeout):
            stream.recv(timeout=0)
    publish(Scripted([*texts("a"), DONE]), log, "a")
    assert "a" == stream.recv(timeout=0).text


def test_a_beginning_that_was_dropped() -> None:
    """A late reader of a long reply gets an error; one that has the beginning gets the rest."""
    log = MemoryLog(max_records=3)
    publish(Scripted([*(Chunk("text", text=str(number), index=number % 2) for number in range(8)), DONE]), log, "a")
    with pytest.raises(LogError, match="were dropped"):
        list(follow(log, "a"))
    with pytest.raises(LogError, match="were dropped"):
        list(follow(log, "a", after=6))
    stream, got = followed(log, after=7)
    assert (["7", ""], "complete") == ([chunk.text for chunk in got], stream.status)
    with pytest.raises(LogError):
        list(follow(log, "a", after=10**6))


# -- several at once -----------------------------------------------------------------------------------


def test_merge_and_first(log: MemoryLog) -> None:
    """Replies that are followed can be merged and raced; no thread is left."""
    tasks = [Task(partial(publish, Scripted([*texts(*f"{id}{id}{id}"), DONE]), log, id)) for id in "abc"]
    got: dict[str, str] = {}
    for stream, chunk in merge([follow(log, id) for id in "abc"]):
        got[stream.id] = got.get(stream.id, "") + chunk.text
    assert {"a": "aaa", "b": "bbb", "c": "ccc"} == got
    for task in tasks:
        task.result()
    never = follow(log, "nobody")
    winner = first([never, follow(log, "b")])
    assert ("b", "bbb", "cancelled") == (winner.id, winner.collect().text, never.status)
    with pytest.raises(LogError):
        log.append(log.begin("d"), [Record(1, "damaged")])
        list(merge([follow(log, "d"), follow(log, "e")]))


def test_iterating_text_and_stats(log: MemoryLog) -> None:
    """What every stream can do works for a reader too."""
    publish(Scripted([*texts("one ", "two"), DONE]), log, "a")
    assert ["one ", "two"] == list(follow(log, "a").iter_words())
    stream = follow(log, "a")
    assert "one two" == stream.collect().text
    assert (2, 1) == (stream.stats.chunks, stream.stats.attempts)
    assert stream.stats.time_to_first_chunk is not None
    assert stream.stats.bytes > 0
    assert "<FollowedStream of 'a', complete, after 2>" == repr(stream)
    assert stream.violations == ()


def test_a_child_that_is_forked(log: MemoryLog) -> None:
    """A forked child cannot use its parent's reader."""
    stream = follow(log, "a")
    pid = os.fork()
    if not pid:
        code = 1
        with suppress(BaseException):
            try:
                stream.recv(timeout=0)
            except MisuseError:
                code = 0 if log.status("a") == "absent" else 2
        os._exit(code)
    assert 0 == os.waitpid(pid, 0)[1]


def test_names() -> None:
    """The names are there, and nothing is imported before they are asked for."""
    for name in ("Log", "MemoryLog", "RedisLog", "publish", "follow", "FollowedStream"):
        assert name in streamkit.__all__
        assert getattr(streamkit, name).__name__ == name
