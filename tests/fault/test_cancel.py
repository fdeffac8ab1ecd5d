"""Cancel from any thread in any phase: it returns at once, the loop ends, the server sees the end, nothing leaks."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import streamkit
from streamkit import Client, ConnectError, MisuseError, Retry, StopEvent, Stream, StreamTimeout, Timeout, providers
from streamkit.streaming import attempt
from streamkit.streaming.delivery import Delivery
from streamkit.testing import (
    Mark,
    Paced,
    Repeat,
    Reply,
    Send,
    Server,
    Wait,
    WaitFor,
    chunk_event,
    error_reply,
    text_reply,
)
from tests.fault.conftest import Certificate
from tests.fault.support import NOISE, SOON, client_of, join_readers, nothing_left

HELLO = chunk_event("Hello", role="assistant")


def in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def cancel_after(server: Server, stream: Stream, ready: threading.Event) -> None:
    """Consume in another thread; when the server is where the test wants it, cancel from this one."""
    seen: list[str] = []
    consumer = in_thread(lambda: seen.extend(chunk.text for chunk in stream))
    assert ready.wait(SOON)
    began = time.monotonic()
    stream.cancel()
    assert time.monotonic() - began < 0.05 + NOISE
    consumer.join(0.1 + NOISE)
    assert not consumer.is_alive()
    assert stream.status == "cancelled"
    assert stream.completion.finish_reason == "cancelled"
    assert "".join(seen) == stream.completion.text
    assert server.wait_for_requests(1)[0].gone.wait(0.1 + NOISE)
    join_readers()


PHASES = ["before the head", "after the head", "between chunks", "in a flood"]


def reply_for(phase: str, ready: threading.Event) -> Reply:
    if phase == "before the head":
        return Reply(before_head=[Mark(ready), Wait(None)])
    if phase == "after the head":
        return Reply([Mark(ready), Wait(None)])
    if phase == "between chunks":
        return Reply([HELLO, Mark(ready), Wait(None)])
    return Reply([Repeat(HELLO, 2000), Mark(ready), Repeat(HELLO)])


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("phase", PHASES)
def test_cancel_from_another_thread(phase: str, framing: str) -> None:
    """Before the head, in silence, between chunks and in a flood: the loop ends and the server is left."""
    ready = threading.Event()
    with nothing_left(), Server(reply_for(phase, ready).but(framing=framing)) as server, client_of(server) as client:
        cancel_after(server, client.stream("openai/m", "Hi"), ready)


@pytest.mark.parametrize("phase", PHASES)
def test_cancel_over_tls(phase: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same through TLS."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    ready = threading.Event()
    reply = reply_for(phase, ready)
    with nothing_left(), Server(reply, tls=certificate.context) as server, client_of(server) as client:
        cancel_after(server, client.stream("openai/m", "Hi"), ready)


def test_tls_is_verified(certificate: Certificate) -> None:
    """An untrusted certificate is a ConnectError that is not retried."""
    with Server(text_reply("Hi"), tls=certificate.context) as server, client_of(server, retry=3) as client:
        stream = client.stream("openai/m", "Hi")
        with pytest.raises(ConnectError, match="no secure connection"):
            stream.collect()
        assert stream.stats.attempts == 1


def test_cancel_with_a_full_queue() -> None:
    """A cancel wakes and ends a reader that waits for room, and drops the chunks in the queue."""
    with nothing_left(), Server(Reply([Repeat(HELLO)])) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi", buffer=4)
        next(stream)
        wait_until(lambda: stream._state.channel.qsize() == 4)
        began = time.monotonic()
        stream.cancel()
        assert time.monotonic() - began < 0.05 + NOISE
        assert list(stream) == []
        assert stream.completion.text == "Hello"
        assert server.requests[0].gone.wait(SOON)


def wait_until(true: Callable[[], bool]) -> None:
    """Poll a condition that no event signals, for a bounded time."""
    deadline, never = time.monotonic() + SOON, threading.Event()
    while not true():
        assert time.monotonic() < deadline
        never.wait(0.005)


def test_cancel_twice_at_once() -> None:
    """Two threads may cancel at the same moment, and any number of times after that."""
    ready = threading.Event()
    with nothing_left(), Server(reply_for("between chunks", ready)) as server, client_of(server) as client:
        for _ in range(20):
            stream = client.stream("openai/m", "Hi")
            next(stream)
            start = threading.Barrier(2)

            def cancel(stream: Stream = stream, start: threading.Barrier = start) -> None:
                start.wait(SOON)
                stream.cancel()

            for thread in [in_thread(cancel), in_thread(cancel)]:
                thread.join(SOON)
                assert not thread.is_alive()
            stream.cancel()
            assert list(stream) == []
            assert stream.status == "cancelled"


def test_cancel_after_the_end() -> None:
    """A stream that is complete stays so, and its connection serves the next one."""
    with nothing_left(), Server(text_reply("Hi")) as server, client_of(server) as client:
        for _ in range(3):
            stream = client.stream("openai/m", "Hi")
            assert stream.collect().text == "Hi"
            stream.cancel()
            stream.close()
            stream.cancel()
            assert stream.status == "complete"
            assert stream.collect().text == "Hi"
        assert server.connections == 1


def test_a_late_cancel_does_not_touch_the_next_stream() -> None:
    """A connection that went back to the pool is out of reach for the stream that had it."""
    with Server(text_reply("One"), text_reply("Two three four", pause=0.01)) as server, client_of(server) as client:
        first = client.stream("openai/m", "Hi")
        first.collect()
        first.close()
        second = client.stream("openai/m", "Hi")
        for _ in second:
            first.cancel()
        assert second.completion.text == "Two three four"
        assert server.connections == 1


def test_cancel_while_connecting(black_hole: str) -> None:
    """A connection attempt that gets no answer is given up at once."""
    with Client([providers.OpenAI(api_key="k", base_url=black_hole)]) as client:
        stream = client.stream("openai/m", "Hi", timeout=Timeout(connect=60))
        never = threading.Event()
        never.wait(0.1)
        stream.cancel()
        assert list(stream) == []
        join_readers()


def test_the_connect_limit(black_hole: str) -> None:
    """A connection attempt that gets no answer ends at the limit for it, retries or not."""
    began = time.monotonic()
    with Client([providers.OpenAI(api_key="k", base_url=black_hole)]) as client:
        with pytest.raises(StreamTimeout) as caught:
            client.complete("openai/m", "Hi", timeout=Timeout(connect=0.3))
    assert (caught.value.phase, caught.value.limit) == ("connect", 0.3)
    assert time.monotonic() - began < 0.6 + NOISE


def test_the_connect_limit_covers_tls() -> None:
    """A server that accepts and then says nothing to a TLS client ends at the limit for connecting."""
    with nothing_left(), Server() as server:
        url = server.url.replace("http:", "https:")
        with Client([providers.OpenAI(api_key="k", base_url=url)]) as client:
            with pytest.raises(StreamTimeout) as caught:
                client.complete("openai/m", "Hi", timeout=Timeout(connect=0.3))
    assert caught.value.phase == "connect"


def test_cancel_in_a_tls_handshake() -> None:
    """A handshake that hangs is given up at once."""
    with nothing_left(), Server() as server:
        url = server.url.replace("http:", "https:")
        with Client([providers.OpenAI(api_key="k", base_url=url)]) as client:
            stream = client.stream("openai/m", "Hi", timeout=Timeout(connect=60))
            wait_until(lambda: server.connections == 1)
            stream.cancel()
            assert list(stream) == []
            join_readers()


def test_a_name_lookup_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name lookup can be interrupted, but the stream ends, its reader too: at the limit, or when it is cancelled."""
    release = threading.Event()
    lookup = socket.getaddrinfo

    def hang(*args: object, **kwargs: object) -> object:
        release.wait(SOON * 4)
        return lookup(*args, **kwargs)  # type: ignore[arg-type]

    with Server(text_reply("Hi")) as server:
        provider = providers.OpenAI(api_key="k", base_url=server.url.replace("127.0.0.1", "localhost"))
        with Client([provider]) as client:
            monkeypatch.setattr("socket.getaddrinfo", hang)
            began = time.monotonic()
            with pytest.raises(StreamTimeout) as caught:
                client.stream("openai/m", "Hi", timeout=Timeout(connect=0.2)).collect()
            assert caught.value.phase == "connect"
            assert time.monotonic() - began < 0.5 + NOISE
            stream = client.stream("openai/m", "Hi")
            stream.cancel()
            assert list(stream) == []
            join_readers()
            release.set()


def test_a_stop_event_ends_all_its_streams() -> None:
    """One StopEvent ends streams that wait, stream, back off or have not begun, and serves no new one."""
    stop = StopEvent()
    with nothing_left(), Server(Reply([HELLO, Wait(None)])) as server, Server(error_reply(503)) as busy:
        with client_of(server) as client, client_of(busy, retry=Retry(3, backoff=6000, max_backoff=6000)) as other:
            streams = [client.stream("openai/m", "Hi", stop=stop) for _ in range(5)]
            for stream in streams[:3]:
                next(stream)
            backing_off = other.stream("openai/m", "Hi", stop=stop)
            busy.wait_for_requests(1)
            stop.set()
            for stream in [*streams, backing_off, client.stream("openai/m", "Hi", stop=stop)]:
                assert list(stream) == []
                assert stream.status == "cancelled"
            assert len(server.requests) <= 5
            join_readers()
            assert "0 streams" in repr(stop)


@pytest.mark.parametrize("reply", [Reply([HELLO, Wait(None)]), Reply(before_head=[Wait(None)]), error_reply(503)])
@pytest.mark.parametrize("waiting", [True, False], ids=["in the loop", "away"])
def test_a_plain_event_is_looked_at(reply: Reply, waiting: bool) -> None:
    """A threading.Event ends a stream within moments, whether its consumer waits or is busy elsewhere."""
    stop = threading.Event()
    retry = Retry(3, backoff=6000, max_backoff=6000)
    with nothing_left(), Server(reply) as server, client_of(server, retry=retry) as client:
        stream = client.stream("openai/m", "Hi", stop=stop)
        server.wait_for_requests(1)
        if waiting:
            consumer = in_thread(lambda: list(stream))
            stop.set()
            consumer.join(SOON)
            assert not consumer.is_alive()
        else:
            stop.set()
            join_readers()
            list(stream)
        assert stream.status == "cancelled"


def test_a_set_event_sends_nothing() -> None:
    """A stream that is started with a set event ends before any I/O."""
    stop = threading.Event()
    stop.set()
    with Server() as server, client_of(server) as client:
        assert list(client.stream("openai/m", "Hi", stop=stop)) == []
        assert server.connections == 0


def leave_by_break(stream: Stream) -> None:
    for _ in stream:
        break


def leave_by_raise(stream: Stream) -> None:
    with pytest.raises(ZeroDivisionError):
        for _ in stream:
            raise ZeroDivisionError


def leave_text_by_break(stream: Stream) -> None:
    for _ in stream.iter_text():
        break


def leave_with(stream: Stream) -> None:
    with stream:
        next(stream)


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_raise, leave_text_by_break, leave_with, Stream.close])
def test_leaving_ends_the_stream(leave: Callable[[Stream], None]) -> None:
    """break, an exception and the end of `with` cancel, even where the stream is still referenced."""
    with nothing_left(), Server(Reply([Repeat(HELLO)])) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi")
        (request,) = server.wait_for_requests(1)
        leave(stream)
        assert stream.status == "cancelled"
        assert request.gone.wait(SOON)
        join_readers()
        for use in (lambda: next(stream), lambda: list(stream), stream.recv):
            with pytest.raises(MisuseError, match="closed before its end"):
                use()
        assert stream.completion.finish_reason == "cancelled"


def test_dropping_ends_the_stream() -> None:
    """A stream whose last reference goes ends without help, used or not, in a cycle too."""
    with nothing_left(), Server(Reply([Repeat(HELLO)])) as server, client_of(server) as client:
        client.stream("openai/m", "Hi")
        used = client.stream("openai/m", "Hi")
        next(used)
        del used
        join_readers()
        cycle = [client.stream("openai/m", "Hi")]
        cycle.append(cycle)  # type: ignore[arg-type]
        del cycle
        gc.collect()
        join_readers()
        for request in server.requests:
            assert request.gone.wait(SOON)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_while_a_stream_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in a finalizer is lost, as the interpreter has it, but the stream ends and the observers are told."""
    told: list[str] = []
    drop, interrupts = Delivery.drop, [KeyboardInterrupt()]

    def interrupted(delivery: Delivery) -> None:
        if interrupts:
            raise interrupts.pop()
        drop(delivery)

    class Listener(streamkit.Observer):
        def stream_ended(self, report: streamkit.Report) -> None:
            told.append(report.status)

    monkeypatch.setattr(Delivery, "drop", interrupted)
    with nothing_left(), Server(Reply([HELLO, Wait(None)])) as server:
        with client_of(server, observers=[Listener()]) as client:
            next(client.stream("openai/m", "Hi"))
            gc.collect()
            join_readers()
    assert (told, interrupts) == (["cancelled"], [])


def test_the_loop_keeps_its_stream() -> None:
    """A loop over a stream that nothing else refers to runs to the end."""
    with Server(text_reply("One two three", pause=0.01)) as server, client_of(server) as client:
        text = ""
        for chunk in client.stream("openai/m", "Hi"):
            gc.collect()
            text += chunk.text
        assert text == "One two three"


@pytest.mark.parametrize("where", ["waiting", "in the body"])
def test_ctrl_c(where: str) -> None:
    """Ctrl-C ends the stream, keeps the delivered chunks, and is raised."""
    taken = threading.Event()

    def interrupt() -> None:
        assert taken.wait(SOON)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with nothing_left(), Server(Reply([HELLO, Wait(None)])) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi")
        interrupter = in_thread(interrupt)
        with pytest.raises(KeyboardInterrupt):
            for _ in stream:
                taken.set()
                if where == "in the body":
                    threading.Event().wait(SOON)
        interrupter.join(SOON)
        assert stream.status == "cancelled"
        assert stream.completion.text == "Hello"
        join_readers()


def test_closing_a_client_ends_its_streams() -> None:
    """A closed client cancels its open streams and starts no new one."""
    with nothing_left(), Server(Reply([HELLO, Wait(None)])) as server:
        client = client_of(server)
        streams = [client.stream("openai/m", "Hi") for _ in range(3)]
        client.close()
        client.close()
        for stream in streams:
            assert list(stream) == []
        with pytest.raises(streamkit.ConfigError, match="closed"):
            client.stream("openai/m", "Hi")


def test_what_was_delivered_stays() -> None:
    """After cancel in the loop body the loop ends, and the completion has exactly the chunks that the loop yielded."""
    with Server(Reply([Repeat(HELLO, 50), Wait(None)])) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi")
        seen = []
        for chunk in stream:
            seen.append(chunk.text)
            if len(seen) == 7:
                stream.cancel()
        assert len(seen) == 7
        assert stream.completion.text == "Hello" * 7


def test_a_slow_consumer_causes_no_timeout() -> None:
    """A consumer that is slower than every limit gets the whole reply: no time counts while the queue is full."""
    go = threading.Event()
    reply = Reply([Repeat(HELLO, 40), WaitFor(go), Send(chunk_event(finish_reason="stop"))])
    timeout = Timeout(connect=60, first=1.5, idle=1, total=2.5)
    with Server(reply) as server, client_of(server, timeout=timeout, buffer=1) as client:
        stream, pause = client.stream("openai/m", "Hi"), threading.Event()
        for count, _ in enumerate(stream):
            if count < 4:
                pause.wait(1.2)
            if count == 30:
                go.set()
        assert stream.status == "complete"
        assert stream.stats.blocked > 0.5


def test_a_slow_consumer_of_a_reply_that_seems_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for what may come after a finish reason stands as well, and so nothing of a reply is lost."""
    monkeypatch.setattr(attempt, "_DOUBT_SECONDS", 2.0)
    go = threading.Event()
    piece = chunk_event("Hello", finish_reason="stop")  # as servers do that put the reason on every piece
    with Server(Reply([piece, piece, piece, WaitFor(go), Wait(0.1), piece, b"data: [DONE]\n\n"])) as server:
        with client_of(server, buffer=1) as client:
            stream = client.stream("openai/m", "Hi")
            next(stream)
            threading.Event().wait(2.5)  # more than that, and the queue is full
            go.set()
            assert stream.collect().text == "Hello" * 4


@pytest.mark.parametrize("how", ["in a flood", "while the queue is full", "in a batch"])
def test_a_plain_event_is_looked_at_while_chunks_come(how: str) -> None:
    """A threading.Event ends a stream that is never silent, one whose reader waits for room, and a batch."""
    stop = threading.Event()
    with nothing_left(), Server(Reply([Repeat(HELLO)])) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi", stop=stop, buffer=64)
        next(stream)
        if how == "while the queue is full":
            wait_until(lambda: stream._state.channel.qsize() == 64)
            stop.set()
            join_readers()
        count = 0
        for count, _ in enumerate(stream):
            if count == 3:
                stop.set()
                if how == "in a batch":
                    join_readers()
        assert stream.status == "cancelled"
        if how == "in a batch":
            assert count == 3


def test_leaving_at_the_done_chunk_is_no_cancel() -> None:
    """A loop that is left when the done chunk came has had the whole reply, and so it is called."""
    with nothing_left(), Server(text_reply("Hi")) as server, client_of(server) as client:
        for _ in range(3):
            stream = client.stream("openai/m", "Hi")
            for chunk in stream:
                if chunk.finished:
                    break
            assert (stream.status, stream.completion.finish_reason) == ("complete", "stop")
            stream.close()
        assert server.connections == 1


@pytest.mark.parametrize("kind", [StopEvent, threading.Event])
def test_a_stop_counts_when_the_reader_is_done(kind: type[threading.Event]) -> None:
    """A stop event ends a stream of which everything has arrived and not everything was taken."""
    stop = kind()
    with nothing_left(), Server(text_reply("word " * 100)) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi", stop=stop)  # type: ignore[arg-type]
        next(stream)
        join_readers()
        seen = 0
        for seen, _ in enumerate(stream, start=1):
            if seen == 3:
                stop.set()
        assert (seen, stream.status) == (3, "cancelled")
        if isinstance(stop, StopEvent):
            assert "0 streams" in repr(stop)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="signals of POSIX")
def test_a_program_that_is_suspended_has_no_timeout() -> None:
    """The consumer reports a limit only after the reader could run: chunks that arrived meanwhile are delivered."""
    code = """if True:
        import sys
        import streamkit as sk

        provider = sk.providers.OpenAI(api_key="k", base_url=sys.argv[1])
        stream = sk.Client([provider], timeout=sk.Timeout(first=60, idle=1)).stream("openai/m", "Hi")
        stream.collect()
        print(stream.status)
    """
    reply = Reply([Paced([HELLO] * 100, every=0.05), chunk_event(finish_reason="stop")])
    environment = {**os.environ, "PYTHONPATH": str(Path(streamkit.__file__).parents[1])}
    command = [sys.executable, "-c", code]
    with (
        Server(reply) as server,
        subprocess.Popen([*command, server.url], env=environment, stdout=subprocess.PIPE, text=True) as program,
    ):
        try:
            server.wait_for_requests(1, SOON)
            for _ in range(3):
                time.sleep(0.2)
                program.send_signal(signal.SIGSTOP)
                time.sleep(1.3)  # beyond the limit, as the program sees it
                program.send_signal(signal.SIGCONT)
            assert program.communicate(timeout=SOON)[0] == "complete\n"
        finally:
            program.kill()


def test_a_lookup_that_hangs_on_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of a later try are kept as those of the first."""
    release, calls = threading.Event(), []

    def hang(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) > 1:
            release.wait(SOON * 4)
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    provider = providers.OpenAI(api_key="k", base_url="http://far.test/v1")
    with Client([provider], retry=Retry(3, backoff=0.1)) as client:
        monkeypatch.setattr("socket.getaddrinfo", hang)
        with pytest.raises(StreamTimeout) as caught:
            client.stream("openai/m", "Hi", timeout=Timeout(connect=0.3)).collect()
        assert caught.value.phase == "connect"
        assert len(calls) == 2
        join_readers()
        release.set()


def test_a_cancel_between_the_look_and_the_take() -> None:
    """A cancel in the middle of recv() costs no chunk that is counted, and gives none that is not."""
    with nothing_left(), Server(Reply([Repeat(HELLO)])) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi")
        next(stream)
        next(stream)

        class Racing(list[object]):
            """A batch whose length is looked at while another thread cancels."""

            def __len__(self) -> int:
                stream.cancel()
                return super().__len__()

        cursor = stream._delivery.cursor
        cursor.batch = Racing([*cursor.batch[: cursor.position], *cursor.batch[:1]])  # type: ignore[assignment]
        assert stream.recv().text == "Hello"
        assert stream.status == "cancelled"
        assert stream.completion.text == "Hello" * 3
        with pytest.raises(streamkit.ChannelClosed):
            stream.recv()


def test_a_cancel_in_the_middle_of_a_fold_is_told_once_and_whole() -> None:
    """A signal handler that cancels while a batch is folded has one end reported, with all that was delivered."""
    told: list[tuple[str, str]] = []

    class Listener(streamkit.Observer):
        def stream_ended(self, report: streamkit.Report) -> None:
            told.append((report.status, report.completion.text))

    with nothing_left(), Server(Reply([Repeat(HELLO)])) as server, client_of(server, observers=[Listener()]) as client:
        stream = client.stream("openai/m", "Hi")
        next(stream)
        fold = stream._delivery._fold
        add = fold.add

        def interrupted(chunks: object, number: int) -> None:
            fold.add = add  # type: ignore[method-assign]
            stream.cancel()
            add(chunks, number)  # type: ignore[arg-type]

        fold.add = interrupted  # type: ignore[assignment]
        assert stream.completion.text == "Hello"
        assert told == [("cancelled", "Hello")]
