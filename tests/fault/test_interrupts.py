"""A signal handler at any bytecode: no delivered chunk is lost or doubled, and each observer is called once."""

from __future__ import annotations

import dis
import functools
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import streamkit
from streamkit import Chunk, Client, MisuseError, Observer, Report, Stream
from streamkit.concurrency.stop import ReentrantEvent
from streamkit.testing import Server, text_reply
from tests.fault.support import client_of, join_readers
from tests.unit.support import SOON, Task, bounded

PACKAGE = str(Path(streamkit.__file__).parent)
WORDS = "one two three four five six seven"
EVERY = 13  # each run takes milliseconds, so not every bytecode is tried in each way of taking chunks


class Told(Observer):
    """Counts the reports of each stream."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.ended: list[Report] = []

    def stream_started(self, report: Report) -> None:
        self.started.append(report.id)

    def stream_ended(self, report: Report) -> None:
        self.ended.append(report)


def interrupt() -> None:
    raise KeyboardInterrupt


# From the end of a ``with`` block to the call that releases its lock, on the versions of Python.
RELEASES = [
    [*["LOAD_CONST"] * 3, "PRECALL", "CALL"],
    [*["LOAD_CONST"] * 3, "CALL"],
    ["LOAD_CONST", "DUP_TOP", "DUP_TOP", "CALL_FUNCTION"],
]


@functools.cache
def releases(code: CodeType) -> frozenset[int]:
    """Return where the bytecodes are between the end of a ``with`` block and the release of its lock.

    There the interpreter handles no signal: an interrupt would leave the lock held. Locks of one stream are released
    by ``free``; those that all streams of a process share would have every later test hang.
    """
    made = list(dis.get_instructions(code))
    found: set[int] = set()
    for begin, first in enumerate(made):
        if first.opname == "LOAD_CONST" and first.argval is None:
            for names in RELEASES:
                some = made[begin : begin + len(names)]
                if [each.opname for each in some] == names and {each.argval for each in some[:3]} == {None}:
                    before = made[begin - 1]  # of `return` in the block
                    found |= {each.offset for each in [*some, *[before] * (before.opname in ("SWAP", "ROT_TWO"))]}
    return frozenset(found)


@contextmanager
def interrupted_at(number: int, *, by_signals: bool, handler: Callable[[], object] = interrupt) -> Iterator[list[int]]:
    """Call a handler at a place in what this thread runs of the package.

    Args:
        number: of the place, from 1.
        handler: what is called; its own places do not count.
        by_signals: count only places where the interpreter itself may run a signal's handler: at the beginning of a
            function, and at the return of a built-in one; else each bytecode but ``releases``.

    Gives a list whose only item is the number of places so far.
    """
    count = [0]

    def strike(frame: FrameType) -> None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            count[0] += 1
            if count[0] == number:
                tracing = sys.gettrace(), sys.getprofile()
                sys.settrace(None)
                sys.setprofile(None)
                try:
                    handler()
                finally:
                    sys.settrace(tracing[0])
                    sys.setprofile(tracing[1])

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        if event in ("call", "c_return"):
            strike(frame)

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and frame.f_lasti not in releases(frame.f_code):
            strike(frame)
        return trace

    outer = sys.gettrace(), sys.getprofile()
    if by_signals:
        sys.setprofile(profile)
    else:
        sys.settrace(trace)
    try:
        yield count
    finally:
        sys.settrace(outer[0])
        sys.setprofile(outer[1])


def by_for(stream: Stream, seen: list[Chunk]) -> None:
    for chunk in stream:
        seen.append(chunk)


def by_recv(stream: Stream, seen: list[Chunk]) -> None:
    while True:
        try:
            seen.append(stream.recv())
        except streamkit.ChannelClosed:
            return


def by_with(stream: Stream, seen: list[Chunk]) -> None:
    with stream:
        by_for(stream, seen)


def by_collect(stream: Stream, seen: list[Chunk]) -> None:
    stream.collect()


def by_text(stream: Stream, seen: list[Chunk]) -> None:
    for text in stream.iter_text():
        seen.append(Chunk("text", text=text))


def by_looking(stream: Stream, seen: list[Chunk]) -> None:
    for chunk in stream:
        seen.append(chunk)
        assert stream.completion.text == "".join(each.text for each in seen)


def by_cancelling(stream: Stream, seen: list[Chunk]) -> None:
    for chunk in stream:
        seen.append(chunk)
        if len(seen) == 3:
            stream.cancel()


WAYS = [by_for, by_recv, by_with, by_collect, by_text, by_looking, by_cancelling]


def once(
    stream: Stream, take: Callable[[Stream, list[Chunk]], None], number: int, *, by_signals: bool
) -> tuple[int, list[Chunk]]:
    """Take a stream with an interrupt at a bytecode; return how many there were, and what the program saw."""
    seen: list[Chunk] = []
    with interrupted_at(number, by_signals=by_signals) as count, suppress(KeyboardInterrupt):
        take(stream, seen)
    return count[0], seen


@pytest.mark.slow
@pytest.mark.parametrize("by_signals", [True, False], ids=["where signals are handled", "anywhere"])
@pytest.mark.parametrize("buffer", [256, 2], ids=["one batch", "many batches"])
@pytest.mark.parametrize("take", WAYS, ids=lambda take: take.__name__)
def test_an_interrupt_at_any_bytecode(
    take: Callable[[Stream, list[Chunk]], None], buffer: int, by_signals: bool
) -> None:
    """The completion has the loop's chunks in order, and at most one more; each observer is called once."""
    told, every = Told(), 1 if by_signals else EVERY
    with Server(text_reply(WORDS)) as server, client_of(server, observers=[told], buffer=buffer) as client:
        total, _ = once(client.stream("openai/m", "Hi"), take, 0, by_signals=by_signals)
        assert total > 20
        for number in range(1 + WAYS.index(take) % every, total, every):
            told.ended.clear()
            stream = client.stream("openai/m", "Hi")
            if buffer > len(WORDS):
                join_readers()  # so that every run goes through the same bytecodes
            _, seen = once(stream, take, number, by_signals=by_signals)
            delivered = "".join(chunk.text for chunk in seen)
            kept = stream.completion.text
            assert WORDS.startswith(kept), number
            if take is not by_collect:
                assert kept.startswith(delivered), number
                assert len(kept[len(delivered) :].split()) <= 1, number
            stream.cancel()
            assert [stream.status] == [report.status for report in told.ended], number
            assert [kept] == [report.completion.text for report in told.ended], number
            assert kept == stream.completion.text
            if not by_signals:
                free(stream)
        assert len(told.started) == len(set(told.started))
        gc.collect()
        join_readers()


def free(stream: Stream) -> None:
    """Release the locks for which a bytecode was struck that would have released them."""
    for lock in (stream._state.channel.mutex, stream._state.guard._lock):
        with suppress(RuntimeError):
            while True:
                lock.release()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in the finalizer of a generator
@pytest.mark.parametrize("kind", ["stream", "run"])
def test_other_threads_go_on(kind: str) -> None:
    """An interrupt wherever signals are handled, as a stream or a run begins, leaves no lock that all of them share."""
    number, total = 0, 1
    with Server(text_reply(WORDS)) as server:

        def begin(client: Client) -> None:
            if kind == "stream":
                client.stream("openai/m", "Hi")
            else:
                next(client.run("openai/m", "Hi"))

        while number < total:
            with client_of(server) as client:
                with interrupted_at(number, by_signals=True) as count, suppress(KeyboardInterrupt):
                    begin(client)
                total = total if number else min(count[0], 1_000)
                number += 1
        with client_of(server) as client:
            Task(lambda: begin(client)).result()
        gc.collect()
        join_readers()
    assert total > 50


def test_a_handler_that_waits_for_a_thread_that_sets_the_event() -> None:
    """At any bytecode of a wait, a handler may want a lock that is held by a thread that is setting the event.

    So it is where a handler cancels a stream of a ``merge``, as its reader tells of a chunk.
    """
    number, total = 0, 1
    while number < total:
        event, lock = ReentrantEvent(), threading.Lock()

        def handle(event: ReentrantEvent = event, lock: threading.Lock = lock) -> None:
            inside = threading.Event()

            def tell() -> None:
                with lock:
                    inside.set()
                    event.set()

            task = Task(tell)
            inside.wait(SOON)
            with lock:
                task.result()

        with bounded(), interrupted_at(number, by_signals=False, handler=handle) as count:
            event.wait(0.001)
        total = total if number else count[0]
        number += 1
    assert total > 30


def by_merge(stream: Stream, seen: list[Chunk]) -> None:
    for _, chunk in streamkit.merge([stream]):
        seen.append(chunk)


HANDLERS: list[Callable[[Stream], object]] = [
    lambda stream: stream.completion,
    lambda stream: stream.cancel(),
    lambda stream: stream.close(),
]


@pytest.mark.slow
@pytest.mark.parametrize("handle", HANDLERS, ids=["looks", "cancels", "closes"])
@pytest.mark.parametrize("buffer", [256, 2], ids=["one batch", "many batches"])
@pytest.mark.parametrize("take", [by_for, by_recv, by_with, by_looking, by_merge], ids=lambda take: take.__name__)
def test_a_handler_that_returns(
    take: Callable[[Stream, list[Chunk]], None], buffer: int, handle: Callable[[Stream], object]
) -> None:
    """A handler may look at the stream, cancel or close it at any bytecode: the loop goes on, or ends in order."""
    told = Told()
    with Server(text_reply(WORDS)) as server, client_of(server, observers=[told], buffer=buffer) as client:
        total, _ = once(client.stream("openai/m", "Hi"), take, 0, by_signals=False)
        # A close where the reader waits for what this thread has waits for the reader in vain, a quarter of a second.
        every = EVERY * 7 if handle is HANDLERS[2] else EVERY
        for number in range(every, total, every):
            told.ended.clear()
            stream, seen = client.stream("openai/m", "Hi"), list[Chunk]()
            if buffer > len(WORDS):
                join_readers()
            with (
                bounded(),
                interrupted_at(number, by_signals=False, handler=lambda: handle(stream)),  # noqa: B023
                suppress(MisuseError),  # where it is closed before it is used, or while recv() is called
            ):
                take(stream, seen)
            kept = stream.completion.text
            assert WORDS.startswith(kept), number
            assert kept == "".join(chunk.text for chunk in seen) or not seen or take is by_recv, number
            if handle is HANDLERS[0]:
                assert (WORDS, "complete") == (kept, stream.status), number
            assert [stream.status] == [report.status for report in told.ended], number
            assert stream.status in ("complete", "cancelled")
            # A chunk that the loop was about to give when the handler ended the stream comes after the report.
            assert len(kept.removeprefix(told.ended[0].completion.text).split()) <= 1, number
        join_readers()
