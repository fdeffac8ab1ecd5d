"""A reply that was stopped is never returned as a whole one, and what interrupts a call keeps what came."""

from __future__ import annotations

import json
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

import streamkit
from streamkit import (
    ChannelClosed,
    Client,
    Completion,
    MisuseError,
    RecvTimeout,
    StopEvent,
    Stream,
    StreamCancelledError,
    StreamError,
)
from streamkit.testing import Cut, Mark, Reply, Server, Wait, chunk_event, text_reply
from tests.fault.support import SOON, client_of, join_readers, nothing_left
from tests.fault.test_cancel import in_thread, wait_until
from tests.fault.test_interrupts import Told, interrupted_at

HELLO = chunk_event("Hello", role="assistant")
WORDS = "one two three four five six seven"


def delivered(client: Client, text: str) -> Callable[[], bool]:
    """Return a condition: one of the client's open streams has delivered this text."""

    def condition() -> bool:
        streams = [reference() for reference in list(client._streams.values())]
        return any(each is not None and (each.status, each.text) == ("open", text) for each in streams)

    return condition


def by_complete(client: Client, **options: Any) -> Completion:
    return client.complete("openai/m", "Hi", **options)


def by_collect(client: Client, **options: Any) -> Completion:
    return client.stream("openai/m", "Hi", **options).collect()


BOTH = pytest.mark.parametrize("get", [by_complete, by_collect])


class TestStopped:
    @BOTH
    @pytest.mark.parametrize("kind", [StopEvent, threading.Event])
    def test_by_a_stop_event(self, get: Callable[..., Completion], kind: Any) -> None:
        """A stop raises StreamCancelledError with what came, and the observers hear of a cancelled stream."""
        stop, told = kind(), Told()
        with nothing_left(), Server(Reply([HELLO, Wait(None)])) as server:
            with client_of(server, observers=[told]) as client:
                stopper = in_thread(lambda: (wait_until(delivered(client, "Hello")), stop.set()))
                with pytest.raises(StreamCancelledError, match=r"openai/m was stopped .* 5 characters") as caught:
                    get(client, stop=stop)
                stopper.join(SOON)
        error = caught.value
        assert ("Hello", "cancelled", False) == (
            error.partial.text,
            error.partial.finish_reason,
            error.partial.complete,
        )
        assert isinstance(error, StreamError)
        assert not error.retryable
        twin = pickle.loads(pickle.dumps(error))
        assert (str(error), error.partial) == (str(twin), twin.partial)
        assert [("cancelled", None)] == [(report.status, report.error) for report in told.ended]

    @BOTH
    def test_before_it_began(self, get: Callable[..., Completion]) -> None:
        """With a stop event that is set already, nothing is sent, and the partial reply is empty."""
        stop = StopEvent()
        stop.set()
        with Server() as server, client_of(server) as client:
            with pytest.raises(StreamCancelledError) as caught:
                get(client, stop=stop)
            assert ("", 0) == (caught.value.partial.text, server.connections)

    def test_by_closing_the_client(self) -> None:
        """A client that another thread closes has its calls raise."""
        with nothing_left(), Server(Reply([HELLO, Wait(None)])) as server:
            client = client_of(server)
            closer = in_thread(lambda: (wait_until(delivered(client, "Hello")), client.close()))
            with pytest.raises(StreamCancelledError):
                client.complete("openai/m", "Hi")
            closer.join(SOON)

    @pytest.mark.parametrize("end", [Stream.cancel, Stream.close], ids=["cancel", "close"])
    def test_collecting_what_was_ended_before(self, end: Callable[[Stream], None]) -> None:
        """collect() after cancel() or close() raises each time; `completion` returns what came."""
        with nothing_left(), Server(Reply([HELLO, Wait(None)])) as server, client_of(server) as client:
            stream = client.stream("openai/m", "Hi")
            next(stream)
            end(stream)
            for _ in range(2):
                with pytest.raises(StreamCancelledError) as caught:
                    stream.collect()
                assert stream.completion == caught.value.partial
            assert ("Hello", None) == (stream.text, stream.error)

    def test_a_loop_ends_quietly(self) -> None:
        """A loop over a stream that was cancelled raises nothing; the completion says that it is not whole."""
        with nothing_left(), Server(Reply([HELLO, Wait(None)])) as server, client_of(server) as client:
            stream = client.stream("openai/m", "Hi")
            for _ in stream:
                assert (False, "Hello") == (stream.completion.complete, stream.text)
                stream.cancel()
            assert ("cancelled", False) == (stream.status, stream.completion.complete)

    def test_a_cancel_after_the_end(self) -> None:
        """A reply that came whole stays so, whatever is stopped later."""
        stop = StopEvent()
        with nothing_left(), Server(text_reply("Hi")) as server, client_of(server) as client:
            stream = client.stream("openai/m", "Hi", stop=stop)
            whole = stream.collect()
            stop.set()
            stream.cancel()
            assert whole == stream.collect()
            assert (True, "stop") == (whole.complete, whole.finish_reason)

    def test_a_failed_reply_is_not_whole(self) -> None:
        """The partial reply of a failure is not complete either."""
        with Server(text_reply(WORDS).first(3).then(Cut())) as server, client_of(server) as client:
            with pytest.raises(StreamError) as caught:
                client.complete("openai/m", "Hi")
            assert not caught.value.partial.complete
            assert not isinstance(caught.value, StreamCancelledError)

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", [StopEvent, threading.Event])
    def test_a_pool_that_is_stopped(self, kind: Any) -> None:
        """Of 300 prompts in a pool each is a whole reply or StreamCancelledError, and no other."""
        stop, done = kind(), threading.Semaphore(0)
        with nothing_left(4), Server(text_reply(WORDS, pause=0.002)) as server, client_of(server) as client:

            def ask(number: int) -> Completion:
                completion = client.complete("openai/m", f"Prompt {number}", stop=stop)
                done.release()
                return completion

            with ThreadPoolExecutor(20) as pool:
                jobs = [pool.submit(ask, number) for number in range(300)]
                for _ in range(60):
                    assert done.acquire(timeout=SOON)
                stop.set()
            whole = [job.result() for job in jobs if job.exception() is None]
            errors = [job.exception() for job in jobs if job.exception() is not None]
        assert {(WORDS, True, "stop")} == {(each.text, each.complete, each.finish_reason) for each in whole}
        assert {StreamCancelledError} == {type(error) for error in errors}
        assert all(WORDS.startswith(error.partial.text) for error in errors if isinstance(error, StreamCancelledError))
        assert 300 == len(whole) + len(errors)
        assert len(whole) >= 60


class SoftTimeLimitExceeded(Exception):
    """Celery's exception, which its signal handler raises in the main thread."""


@contextmanager
def raised_by_a_signal(error: BaseException, ready: Callable[[], bool]) -> Iterator[None]:
    """Raise an exception in this thread, by a signal handler, as soon as a condition holds."""

    def handler(_signal: int, _frame: FrameType | None) -> None:
        raise error

    def send() -> None:
        wait_until(ready)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    sender = in_thread(send)
    try:
        yield
    finally:
        sender.join(SOON)
        signal.signal(signal.SIGUSR1, before)


class Slotted(BaseException):
    """An exception that accepts no attribute and no note."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)

    def add_note(self, note: str) -> None:
        raise TypeError(note)


class TestInterrupted:
    @BOTH
    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SoftTimeLimitExceeded, SystemExit])
    def test_it_has_what_came(self, get: Callable[..., Completion], kind: type[BaseException]) -> None:
        """Ctrl-C and a worker's time limit are raised as they are, with the partial reply and a note."""
        error = kind()
        with nothing_left(), Server(Reply([HELLO, Wait(None)])) as server, client_of(server) as client:
            with raised_by_a_signal(error, delivered(client, "Hello")), pytest.raises(kind) as caught:
                get(client)
            assert error is caught.value
            partial: Completion = error.partial  # type: ignore[attr-defined]
            assert ("Hello", False) == (partial.text, partial.complete)
            join_readers()
            if sys.version_info >= (3, 11):
                (note,) = error.__notes__
                assert "5 characters" in note
                assert "'Hello'" in note
        assert "Hello" == pickle.loads(pickle.dumps(error)).partial.text

    @BOTH
    def test_the_note_is_short(self, get: Callable[..., Completion]) -> None:
        """Of a long text the note shows the end, on one line."""
        text = "word\n\x1b[31m" * 1000
        error = KeyboardInterrupt()
        with Server(Reply([chunk_event(text), Wait(None)])) as server, client_of(server) as client:
            with raised_by_a_signal(error, delivered(client, text)), pytest.raises(KeyboardInterrupt):
                get(client)
        assert text == error.partial.text  # type: ignore[attr-defined]
        if sys.version_info >= (3, 11):
            (note,) = error.__notes__
            assert note.isprintable()
            assert len(note) < 200
            assert f"{len(text)} characters" in note

    @BOTH
    def test_an_exception_that_accepts_nothing(self, get: Callable[..., Completion]) -> None:
        """One that refuses attributes and notes is raised as it is."""
        with nothing_left(), Server(Reply([HELLO, Wait(None)])) as server, client_of(server) as client:
            with raised_by_a_signal(Slotted("mine"), delivered(client, "Hello")), pytest.raises(Slotted, match="mine"):
                get(client)
            join_readers()

    def test_one_exception_of_many_calls(self) -> None:
        """The same exception object, raised in several calls, has the last partial reply and no note twice."""
        error = SoftTimeLimitExceeded()
        with Server(Reply([HELLO, Wait(None)])) as server, client_of(server) as client:
            for _ in range(3):
                with raised_by_a_signal(error, delivered(client, "Hello")), pytest.raises(SoftTimeLimitExceeded):
                    client.complete("openai/m", "Hi")
        assert 1 == len(getattr(error, "__notes__", ["one"]))

    def test_nothing_had_come(self) -> None:
        """Before the first chunk the partial reply is empty, and there is no note."""
        error, ready = KeyboardInterrupt(), threading.Event()
        with (
            nothing_left(),
            Server(Reply(before_head=[Mark(ready), Wait(None)])) as server,
            client_of(server) as client,
        ):
            with raised_by_a_signal(error, ready.is_set), pytest.raises(KeyboardInterrupt):
                client.complete("openai/m", "Hi")
        assert "" == error.partial.text  # type: ignore[attr-defined]
        assert [] == list(getattr(error, "__notes__", []))

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "get", [by_complete, lambda client: streamkit.client.drain(client.stream("openai/m", "Hi"))]
    )
    def test_at_any_place(self, get: Callable[..., Completion]) -> None:
        """Wherever a signal strikes, what was delivered is in the exception, and the observers hear the same."""
        told = Told()
        with Server(text_reply(WORDS)) as server, client_of(server, observers=[told], buffer=4) as client:
            streams: list[Stream] = []  # an interrupt in the callback of a weak reference would be lost
            remember = client._remember
            client._remember = lambda stream: (streams.append(stream), remember(stream))  # type: ignore[method-assign]
            number, kept = 0, set()
            while True:
                number += 1
                told.ended.clear()
                with interrupted_at(number, by_signals=True):
                    try:
                        get(client)
                        break
                    except KeyboardInterrupt as error:
                        partial = getattr(error, "partial", Completion())
                        del error
                if told.ended:
                    assert [partial.text] == [report.completion.text for report in told.ended], number
                else:  # not started
                    assert "" == partial.text
                kept.add(partial.text)
                for stream in streams:
                    stream.cancel()
                streams.clear()
            assert number > 100
            assert {"", WORDS} < kept
            join_readers()

    def test_the_traceback_is_short(self) -> None:
        """IPython hides frames with `__tracebackhide__`, except the innermost, which is two lines long."""
        for get in (by_complete, by_collect, by_words, by_sentences, by_lines, by_recv, by_next, by_loop, by_merge):
            with Server(Reply([HELLO, Wait(None)])) as server, client_of(server) as client:
                with raised_by_a_signal(KeyboardInterrupt(), delivered(client, "Hello")):
                    with pytest.raises(KeyboardInterrupt) as caught:
                        get(client)
            frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
            ours = [frame for frame in frames if frame.f_globals["__name__"].startswith("streamkit.")]
            assert frames[-1] is ours[-1]
            assert [] == [frame for frame in ours[:-1] if not frame.f_locals.get("__tracebackhide__")]
            assert len({line for _, _, line in ours[-1].f_code.co_lines()}) <= 2
            del frames, ours

    def test_the_traceback_of_a_handler_stays(self) -> None:
        """Another exception than Ctrl-C keeps its frames: a mistake in a signal handler can be found."""
        error = ZeroDivisionError()
        with Server(Reply([HELLO, Wait(None)])) as server, client_of(server) as client:
            with raised_by_a_signal(error, delivered(client, "Hello")), pytest.raises(ZeroDivisionError):
                client.complete("openai/m", "Hi")
        assert "handler" in [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]


def by_words(client: Client) -> None:
    list(client.stream("openai/m", "Hi").iter_words())


def by_sentences(client: Client) -> None:
    list(client.stream("openai/m", "Hi").iter_sentences())


def by_lines(client: Client) -> None:
    list(client.stream("openai/m", "Hi").iter_lines())


def by_loop(client: Client) -> None:
    for _ in client.stream("openai/m", "Hi"):
        pass


def by_merge(client: Client) -> None:
    for _ in streamkit.merge([client.stream("openai/m", "Hi"), client.stream("openai/m", "Hi")]):
        pass


def by_recv(client: Client) -> None:
    stream = client.stream("openai/m", "Hi")
    while True:
        stream.recv(SOON)


def by_next(client: Client) -> None:
    stream = client.stream("openai/m", "Hi")
    while next(stream):
        pass


class TestSecondLoop:
    @pytest.mark.parametrize(
        "first", [list, Stream.collect, lambda s: list(s.iter_text()), lambda s: "".join(s.iter_words())]
    )
    @pytest.mark.parametrize("second", [list, lambda s: list(s.iter_text()), lambda s: list(s.iter_sentences())])
    def test_nothing_is_left(self, first: Callable[[Stream], object], second: Callable[[Stream], object]) -> None:
        """A second loop over a stream that ended is an error; the completion and collect() have the reply."""
        with Server(text_reply(WORDS)) as server, client_of(server) as client:
            stream = client.stream("openai/m", "Hi")
            first(stream)
            for _ in range(2):
                with pytest.raises(MisuseError, match=r"can be iterated once.*stream\.completion"):
                    second(stream)
            assert WORDS == stream.collect().text == stream.text
            assert [] == [*iter(lambda: next(stream, None), None)]
            with pytest.raises(ChannelClosed):
                stream.recv()

    def test_after_a_cancelled_loop(self) -> None:
        """A loop that a cancel ended is not followed by an empty one."""
        with nothing_left(), Server(Reply([HELLO, Wait(None)])) as server, client_of(server) as client:
            stream = client.stream("openai/m", "Hi")
            for _ in stream:
                stream.cancel()
            with pytest.raises(MisuseError, match="iterated once"):
                list(stream)

    def test_the_first_loop_over_a_cancelled_stream(self) -> None:
        """A loop that begins after a cancel ends at once, without an error: it may come from another thread."""
        with nothing_left(), Server(Reply([HELLO, Wait(None)])) as server, client_of(server) as client:
            stream = client.stream("openai/m", "Hi")
            stream.cancel()
            assert [] == list(stream)

    def test_what_is_left_is_given(self) -> None:
        """After single chunks a loop takes the rest, and an inner loop takes what the outer one has left."""
        with Server(text_reply(WORDS)) as server, client_of(server) as client:
            stream = client.stream("openai/m", "Hi")
            assert "one" == next(stream).text.strip()
            rest = [each.text for each in stream for each in [each, *stream]]
            assert WORDS == "one" + "".join(rest)
            assert "complete" == stream.status

    def test_a_failure_is_raised_again(self) -> None:
        """Each loop over a failed stream raises its error."""
        with Server(text_reply(WORDS).first(3).then(Cut())) as server, client_of(server) as client:
            stream = client.stream("openai/m", "Hi")
            for _ in range(3):
                with pytest.raises(StreamError) as caught:
                    list(stream)
                assert caught.value is stream.error


class TestRecvTimeout:
    def test_it_is_raised_and_the_stream_goes_on(self) -> None:
        """recv(timeout) without a chunk raises what both kinds of code expect; the next call gets the chunk."""
        with nothing_left(), Server(Reply([HELLO, Wait(None)])) as server, client_of(server) as client:
            stream = client.stream("openai/m", "Hi")
            assert "Hello" == stream.recv(SOON).text
            for kind in (RecvTimeout, queue.Empty, TimeoutError):
                for seconds in (0, 0.01):
                    with pytest.raises(
                        kind, match=f"no chunk came within {seconds} s; the stream is still open"
                    ) as caught:
                        stream.recv(seconds)
                    assert RecvTimeout is type(caught.value)
                    assert caught.value.__cause__ is None
            assert ("open", "Hello") == (stream.status, stream.text)
            assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))
            stream.cancel()


def test_a_stream_in_json() -> None:
    """The chunks of a real stream go through JSON and fold into its completion, as a worker sends them to another."""
    with Server(text_reply(WORDS)) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi")
        lines = [json.dumps(chunk.to_dict()) for chunk in stream]
        chunks = [streamkit.Chunk.from_dict(json.loads(line)) for line in lines]
        assert stream.completion == streamkit.fold(chunks, provider="openai", model="m")
        assert stream.completion == Completion.from_dict(json.loads(json.dumps(stream.completion.to_dict())))
        assert stream.completion.complete
