"""The package's threads are daemons, and a signal handler may raise or join while one starts or is joined."""

from __future__ import annotations

import sys
import threading
from types import FrameType

import pytest

from streamkit.concurrency.own_thread import OwnThread
from tests.unit.support import SOON, bounded


class TestOwnThread:
    def test_joined_while_it_runs(self) -> None:
        """The time given bounds the wait for a thread that runs on."""
        go = threading.Event()
        thread = OwnThread(go.wait, (SOON,), "reader")
        thread.start()
        thread.join(0.01)
        assert thread.is_alive()
        go.set()
        thread.join(SOON)
        assert not thread.is_alive()

    def test_many(self) -> None:
        """However soon they are joined, all have run, under their names, as daemons."""
        seen: list[tuple[str, bool]] = []

        def look() -> None:
            thread = threading.current_thread()
            seen.append((thread.name, thread.daemon))

        for number in range(200):
            thread = OwnThread(look, (), f"reader-{number}")
            thread.start()
            thread.join()
        assert [(f"reader-{number}", True) for number in range(200)] == seen


def test_a_signal_handler_that_raises_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller gets what the handler raised, and no error of the standard library's clean-up."""

    class Alarm(Exception):
        pass

    named = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"  # of the standard library
    begun, start = threading.Event(), getattr(threading, named)

    def start_and_raise(*args: object, **options: object) -> None:
        start(*args, **options)
        assert begun.wait(SOON)
        raise Alarm

    monkeypatch.setattr(threading, named, start_and_raise)
    with pytest.raises(Alarm):
        OwnThread(begun.set, (), "streamkit-test").start()


def test_a_handler_that_joins_as_well() -> None:
    """A handler may join at any point of a join in its own thread: it waits no longer than it says, and both go on."""
    for number in range(1, 200, 3):
        thread, count = OwnThread(lambda: None, (), "reader"), [0]
        thread.start()

        def trace(frame: FrameType, event: str, arg: object, thread=thread, count=count, number=number) -> object:  # type: ignore[no-untyped-def]
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            if event == "opcode" and (count := _counted(count)) == number:
                sys.settrace(None)
                thread.join(0.01)  # in vain where the outer join has the standard library's lock
            return trace

        outer = sys.gettrace()
        with bounded():
            sys.settrace(trace)  # type: ignore[arg-type]
            try:
                thread.join(SOON)
            finally:
                sys.settrace(outer)
        assert not thread.is_alive()


def _counted(count: list[int]) -> int:
    count[0] += 1
    return count[0]
