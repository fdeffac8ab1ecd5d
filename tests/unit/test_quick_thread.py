"""A thread that is started without waiting until it runs, and joined like any other."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from streamkit.concurrency.quick_thread import UnawaitedThread
from tests.unit.support import SOON, bounded


@pytest.fixture
def alone() -> Iterator[None]:
    """No other thread runs unless this one waits for something."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SOON)
    yield
    sys.setswitchinterval(interval)


class TestUnawaitedThread:
    @pytest.mark.usefixtures("alone")
    def test_start_waits_for_nothing(self) -> None:
        """start() returns before the thread runs; join() waits for its end."""
        done: list[int] = []
        thread = UnawaitedThread(done.append, (1,), "reader")
        thread.start()
        assert (None, []) == (thread.ident, done)
        thread.join(SOON)
        assert ([1], False) == (done, thread.is_alive())

    @pytest.mark.usefixtures("alone")
    def test_joined_for_no_time(self) -> None:
        """Joining one that has not begun ends with the time given, and is no error."""
        thread = UnawaitedThread(lambda: None, (), "reader")
        thread.start()
        thread.join(0)
        thread.join(SOON)
        assert not thread.is_alive()

    def test_joined_while_it_runs(self) -> None:
        """The time given bounds the wait for a thread that runs on."""
        go = threading.Event()
        thread = UnawaitedThread(go.wait, (SOON,), "reader")
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
            thread = UnawaitedThread(look, (), f"reader-{number}")
            thread.start()
            thread.join()
        assert [(f"reader-{number}", True) for number in range(200)] == seen


def test_a_signal_handler_that_raises_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller gets what the handler raised, and no error of the standard library's clean-up."""

    class Alarm(Exception):
        pass

    begun, start = threading.Event(), threading._start_new_thread  # type: ignore[attr-defined]

    def start_and_raise(*args: object) -> None:
        start(*args)
        assert begun.wait(SOON)
        raise Alarm

    monkeypatch.setattr(threading, "_start_new_thread", start_and_raise)
    with pytest.raises(Alarm):
        UnawaitedThread(begun.set, (), "streamkit-test").start()


def test_a_handler_that_joins_as_well() -> None:
    """A handler may join at any point of a join in its own thread: it waits no longer than it says, and both go on."""
    for number in range(1, 200, 3):
        thread, count = UnawaitedThread(lambda: None, (), "reader"), [0]
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
