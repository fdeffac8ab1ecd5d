"""Many streams: one after another, concurrent, over one connection, in forked children, and at exit."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import queue
import resource
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from streamkit import Client, MisuseError, ProtocolError, Retry, Stream, StreamError, first, merge
from streamkit.streaming import attempt
from streamkit.testing import (
    Cut,
    Raw,
    Repeat,
    Reply,
    Reset,
    Server,
    Wait,
    WaitFor,
    chunk_event,
    error_reply,
    text_reply,
)
from tests.fault.support import SOON, client_of, descriptors, join_readers, nothing_left, settle_at

HELLO = chunk_event("Hello", role="assistant")


def end_by_break(stream: Stream) -> None:
    for _ in stream:
        break


def end_by_raise(stream: Stream) -> None:
    with pytest.raises(ZeroDivisionError):
        for _ in stream:
            raise ZeroDivisionError


def end_by_drop(stream: Stream) -> None:
    next(stream)


@pytest.mark.parametrize("end", [end_by_break, end_by_raise, end_by_drop, Stream.cancel, Stream.close])
def test_200_in_a_row_leave_nothing(end: Callable[[Stream], None]) -> None:
    """200 streams that are left early leave threads and descriptors where they were."""
    with Server(Reply([HELLO, Wait(None)])) as server, client_of(server) as client:
        end(client.stream("openai/m", "Hi"))
        join_readers()
        server.wait_for_open_connections(0)
        gc.collect()
        before = descriptors()
        for _ in range(200):
            end(client.stream("openai/m", "Hi"))
        join_readers()
        settle_at(before)


def test_no_stream_outlives_its_end() -> None:
    """However a stream ended, it goes when its user lets it go, its error's traceback notwithstanding."""
    replies = [error_reply(401), Reply([HELLO, Cut()]), Reply([HELLO, Wait(None)]), text_reply("Hi"), text_reply("Hi")]

    def use(client: Client, number: int) -> weakref.ref[Stream]:
        stream = client.stream("openai/m", "Hi", timeout=0.2 if number == 2 else 60)
        try:
            for _ in stream:
                if number == 4:
                    break
        except StreamError:
            pass
        return weakref.ref(stream)

    with nothing_left(), Server(*replies) as server, client_of(server) as client:
        kept = [use(client, number) for number in range(len(replies))]
        gc.collect()
        assert [None] * len(replies) == [reference() for reference in kept]


def test_200_refusals_leave_nothing() -> None:
    """200 streams that fail use one connection, and leave threads and descriptors where they were."""
    with Server(error_reply(401)) as server, client_of(server) as client:
        for count in range(201):
            if count == 1:
                before = descriptors()
            stream = client.stream("openai/m", "Hi")
            with pytest.raises(Exception, match="401"):
                stream.collect()
            stream.close()
        settle_at(before)
        assert server.connections == 1


def test_200_at_once_all_complete() -> None:
    """200 streams at once each give their own reply."""
    with (
        nothing_left(),
        Server(lambda request: text_reply(request.json()["messages"][0]["content"], pause=0.002)) as server,
    ):
        with client_of(server) as client:
            streams = {f"This is number {number}": None for number in range(200)}
            started = [(text, client.stream("openai/m", text)) for text in streams]
            for text, stream in started:
                assert stream.collect().text == text


def test_64_threads_share_a_client() -> None:
    """Streams that many threads start on one client never mix."""
    wrong: list[str] = []

    def work(client: Client, name: int) -> None:
        for turn in range(10):
            text = f"thread {name} turn {turn}"
            if client.complete("openai/m", text).text != text:
                wrong.append(text)

    with nothing_left(), Server(lambda request: text_reply(request.json()["messages"][0]["content"])) as server:
        with client_of(server) as client:
            threads = [threading.Thread(target=work, args=(client, name)) for name in range(64)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive()
    assert wrong == []


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_streams_in_a_row_use_one_connection(framing: str) -> None:
    """20 streams, one after the other, use one TCP connection, without any close() between them."""
    reply = text_reply("One two three").but(framing=framing)
    with nothing_left(), Server(reply) as server, client_of(server) as client:
        for _ in range(20):
            for _ in client.stream("openai/m", "Hi"):
                pass
        assert server.connections == 1


def test_a_connection_that_the_server_closed_unannounced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooled connection that turns out dead costs the user nothing, not even one of his tries."""
    monkeypatch.setattr(attempt, "_DEAD_SECONDS", SOON)  # the server of a busy machine takes its time
    dead = text_reply("One").but(keep_alive=True)
    with Server(dead, Reply(before_head=[Reset()]), text_reply("Two")) as server:
        with client_of(server, retry=Retry(1)) as client:
            assert client.complete("openai/m", "Hi").text == "One"
            with client.stream("openai/m", "Hi") as stream:
                assert stream.collect().text == "Two"
                assert stream.stats.attempts == 1


def test_many_connections_that_died_while_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one pooled connection turns out dead, the others are not tried, and the request goes through."""
    monkeypatch.setattr(attempt, "_DEAD_SECONDS", SOON)  # the server of a busy machine takes its time
    go = threading.Event()
    warm = [Reply([HELLO, WaitFor(go), chunk_event(finish_reason="stop")]) for _ in range(8)]
    with Server(*warm, Reply(before_head=[Reset()]), text_reply("Two")) as server:
        with client_of(server, retry=Retry(1)) as client:
            streams = [client.stream("openai/m", "Hi") for _ in warm]
            server.wait_for_requests(8)
            go.set()
            for stream in streams:
                stream.collect()
                stream.close()
            assert client.complete("openai/m", "Hi").text == "Two"
            assert (len(server.requests), server.connections) == (10, 9)


def test_a_new_connection_that_fails_counts() -> None:
    """Without a pooled connection in play, a failure is a failure."""
    with Server(Reply(before_head=[Cut()])) as server, client_of(server, retry=Retry(2, backoff=0.01)) as client:
        stream = client.stream("openai/m", "Hi")
        with pytest.raises(Exception, match="before it answered"):
            stream.collect()
        assert stream.stats.attempts == 2
        assert len(server.requests) == 2


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_a_sleeping_consumer_holds_the_server_up() -> None:
    """An endless stream with a consumer that sleeps: the queue stays in its bound, memory flat, the server stalls."""
    event = chunk_event("x" * 1000)
    with nothing_left(), Server(Reply([Repeat(event)])) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi", buffer=64)
        next(stream)
        (request,) = server.requests
        deadline, never, sent = time.monotonic() + SOON * 2, threading.Event(), -1
        before = resident()
        while sent != request.sent or stream._state.channel.qsize() < 64:  # until nothing more goes out for a while
            assert time.monotonic() < deadline, "the server was never held up"
            sent = request.sent
            never.wait(0.3)
        assert stream.stats.queue_peak <= 64
        assert stream._state.channel.qsize() == 64
        assert resident() - before < 20 * 2**20
        assert stream.status == "open"
        stream.close()


def test_a_sleeping_consumer_of_large_events() -> None:
    """Chunks whose events are large are bounded in bytes: the reader stops long before the queue has its chunks."""
    event = "data: " + json.dumps(
        {"choices": [{"index": 0, "delta": {"content": "x"}}], "padding": "x" * 1_000_000}
    ) + "\n\n"  # fmt: skip
    with nothing_left(), Server(Reply([Repeat(event)])) as server, client_of(server) as client:
        for options, most in (({}, 5), ({"buffer_bytes": 1}, 1)):
            stream = client.stream("openai/m", "Hi", **options)  # type: ignore[arg-type]
            next(stream)
            sent, deadline, never = -1, time.monotonic() + SOON * 2, threading.Event()
            while sent != stream.stats.bytes:  # until nothing more comes in for a while
                assert time.monotonic() < deadline, "the reader was never held up"
                sent = stream.stats.bytes
                never.wait(0.3)
            assert stream.stats.queue_peak <= most
            assert next(stream).text == "x"
            stream.cancel()


@pytest.mark.skipif(sys.platform != "linux", reason="counts the waits of a thread as Linux does")
def test_who_waits_is_woken_and_does_not_look() -> None:
    """A consumer of a silent stream sleeps until something comes: it does not wake up to look at the clock."""
    with nothing_left(), Server(Reply([chunk_event("x"), Wait(None)])) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi")
        next(stream)
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        with pytest.raises(queue.Empty):
            stream.recv(timeout=2.0)
        assert resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before < 8
        stream.cancel()


def test_a_client_works_after_a_fork() -> None:
    """A client that was used before a fork works in the child, where the parent's open stream is out of reach."""
    with Server(
        text_reply("One"), Reply([HELLO, Wait(2), chunk_event(finish_reason="stop")]), text_reply("Three")
    ) as server:
        with client_of(server) as client:
            assert client.complete("openai/m", "Hi").text == "One"
            inherited = client.stream("openai/m", "Hi")
            next(inherited)
            context = multiprocessing.get_context("fork")
            results = context.SimpleQueue()

            def child() -> None:
                errors = []
                for use in (lambda: next(inherited), lambda: list(inherited), inherited.cancel, inherited.close):
                    try:
                        use()
                    except MisuseError as error:
                        errors.append("parent" in str(error))
                text = client.complete("openai/m", "Hi").text
                client.close()
                results.put((errors, text))

            process = context.Process(target=child)
            process.start()
            process.join(60)
            assert process.exitcode == 0
            assert results.get() == ([True] * 4, "Three")
            assert inherited.collect().text == "Hello"
            assert inherited.status == "complete"


def run(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(code), *args],
        capture_output=True,
        text=True,
        timeout=60,
        env={key: value for key, value in os.environ.items() if key != "COVERAGE_PROCESS_START"},
    )


@pytest.mark.parametrize("ending", ["pass", "raise SystemExit(0)", "del stream, client", "threading.current_thread()"])
def test_the_interpreter_exits(ending: str) -> None:
    """A program that exits with open streams exits at once, prints nothing, and closes its connections."""
    with Server(Reply([Repeat(HELLO, 3), Wait(None)])) as server:
        result = run(
            f"""
            import sys, threading, streamkit
            client = streamkit.Client([streamkit.providers.OpenAI(api_key="k", base_url=sys.argv[1])])
            stream = client.stream("openai/m", "Hi")
            other = client.stream("openai/m", "Hi")
            print(next(stream).text)
            {ending}
            """,
            server.url,
        )
        assert (result.returncode, result.stdout, result.stderr) == (0, "Hello\n", "")
        for request in server.requests:
            assert request.gone.wait(SOON)


def test_merge_gives_all_chunks_in_order() -> None:
    """merge gives every chunk with its stream, each stream's own in order, and lets a slow one have its turn."""
    with (
        nothing_left(),
        Server(lambda request: text_reply(request.json()["messages"][0]["content"], pause=0.001)) as server,
    ):
        with client_of(server) as client:
            streams = [client.stream("openai/m", f"{name} one two three four") for name in "abc"]
            texts: dict[int, str] = {id(stream): "" for stream in streams}
            for stream, chunk in merge(streams):
                texts[id(stream)] += chunk.text
            assert [f"{name} one two three four" for name in "abc"] == [texts[id(stream)] for stream in streams]
            assert ["complete"] * 3 == [stream.status for stream in streams]


def test_merge_raises_and_cancels_the_rest() -> None:
    """A stream that fails raises through merge after its own chunks; the others are cancelled."""
    replies = [Reply([HELLO, Wait(None)]), Reply([HELLO, Wait(0.05), Cut()])]
    with nothing_left(), Server(*replies) as server, client_of(server) as client:
        endless = client.stream("openai/m", "Hi")
        server.wait_for_requests(1)
        failing = client.stream("openai/m", "Hi")
        with pytest.raises(Exception, match="closed before the reply was over"):
            list(merge([endless, failing]))
        assert endless.status == "cancelled"
        assert failing.completion.text == "Hello"


def test_leaving_merge_cancels_all() -> None:
    """break out of merge ends every stream."""
    with nothing_left(), Server(Reply([Repeat(HELLO)])) as server, client_of(server) as client:
        streams = [client.stream("openai/m", "Hi") for _ in range(3)]
        for _ in merge(streams):
            break
        assert ["cancelled"] * 3 == [stream.status for stream in streams]


def test_a_stream_that_is_closed_while_it_is_merged() -> None:
    """It is over, like one that is cancelled, and the others go on."""
    with nothing_left(), Server(text_reply("one two three")) as server, client_of(server) as client:
        streams = [client.stream("openai/m", "Hi") for _ in range(3)]
        join_readers()
        seen = []
        for stream, _ in merge(streams):
            seen.append(stream)
            streams[2].close()
        assert ["complete", "complete", "cancelled"] == [stream.status for stream in streams]
        assert streams[2] not in seen


def test_first_takes_the_quickest() -> None:
    """first returns the stream that has a chunk before the others, whole, and cancels the rest."""
    silent, quick, failing = Reply([Wait(None)]), text_reply("I won"), error_reply(401)
    with nothing_left(), Server(silent, failing, quick) as server, client_of(server) as client:
        streams = []
        for number in range(3):
            streams.append(client.stream("openai/m", "Hi"))
            server.wait_for_requests(number + 1)
        winner = first(streams)
        assert winner is streams[2]
        assert winner.collect().text == "I won"
        assert streams[0].status == "cancelled"


def test_first_raises_when_all_fail() -> None:
    """If no stream has a chunk, first raises the error of the stream that failed last."""
    with Server(error_reply(401)) as server, client_of(server) as client:
        with pytest.raises(Exception, match="401"):
            first([client.stream("openai/m", "Hi") for _ in range(3)])


def test_a_raw_answer_that_is_no_http() -> None:
    """A server that does not speak HTTP is a documented error."""
    reply = Reply(before_head=[Raw(b"SSH-2.0-OpenSSH_9.6\r\n"), Cut()], head=False)
    with nothing_left(), Server(reply) as server, client_of(server) as client:
        with pytest.raises(ProtocolError, match="does not speak HTTP: 'SSH-2"):
            client.complete("openai/m", "Hi")
