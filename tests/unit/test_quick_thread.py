"""A thread that is started without waiting until it runs, and joined like any other."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from streamkit.concurrency.quick_thread import UnawaitedThread
from tests.unit.support import SOON


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
