"""A bell wakes one thread that waits, whoever rings, and leaves no descriptor behind."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from types import FrameType

import pytest

from streamkit.concurrency import wakeup as bell_module
from streamkit.concurrency.wakeup import Bell, new_bell
from tests.unit.support import Task, bounded, run_program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="eventfd")


def a_bell() -> Bell:
    bell = new_bell()
    assert bell is not None
    return bell


class TestRinging:
    def test_a_ring_ends_the_wait(self) -> None:
        """Who waits is woken, from any thread."""
        bell = a_bell()
        tasks = [Task(lambda: bell.wait(600)), Task(bell.ring)]
        for task in tasks:
            task.result()

    def test_a_ring_that_nobody_waited_for(self) -> None:
        """It ends the next wait at once, however often it rang, and the one after that takes its time."""
        bell = a_bell()
        for _ in range(3):
            bell.ring()
        with bounded():
            bell.wait(600)
        began = time.monotonic()
        bell.wait(0.05)
        assert time.monotonic() - began >= 0.04

    def test_no_time_at_all(self) -> None:
        """A wait of no seconds returns."""
        with bounded():
            a_bell().wait(0)

    def test_rung_from_many_threads(self) -> None:
        """However many ring at once, none fails, and the wait ends."""
        for _ in range(100):
            bell = a_bell()
            tasks = [Task(bell.ring) for _ in range(4)]
            with bounded():
                bell.wait(600)
            for task in tasks:
                task.result()

    def test_a_handler_may_ring_and_wait(self) -> None:
        """A signal handler in the middle of a wait may wait by the same bell, and ring it."""
        bell = a_bell()

        def handler(*_: object) -> None:
            bell.wait(0.001)
            bell.ring()

        before = signal.signal(signal.SIGUSR1, handler)
        main = threading.main_thread().ident or 0
        timer = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGUSR1))
        try:
            timer.start()
            with bounded():
                bell.wait(600)
        finally:
            timer.join()
            signal.signal(signal.SIGUSR1, before)


class TestDescriptors:
    def test_closed_with_the_last_reference(self) -> None:
        """It is open for as long as anybody may ring it, and no longer."""
        before = os.listdir("/proc/self/fd")
        bell = a_bell()
        ring = bell.ring
        del bell
        ring()
        assert len(before) + 1 == len(os.listdir("/proc/self/fd"))
        del ring
        assert before == os.listdir("/proc/self/fd")

    def test_not_for_programs_that_are_started(self) -> None:
        """A program that is started from here does not have it."""
        bell = a_bell()
        assert not os.get_inheritable(bell._file.fileno())  # type: ignore[attr-defined]

    def test_closed_by_somebody_else(self) -> None:
        """A program that becomes a daemon closes all there is: ringing fails no more than waiting does."""
        bell = a_bell()
        os.close(bell._file.fileno())  # type: ignore[attr-defined]
        bell.ring()
        began = time.monotonic()
        with bounded():
            for _ in range(10):
                bell.wait(600)
        assert time.monotonic() - began > 5 * bell_module._PAUSE  # it does not return at once for ever
        with pytest.raises(OSError, match="Bad file descriptor"):
            bell._file.close()  # type: ignore[attr-defined]

    def test_interrupted_anywhere(self) -> None:
        """What a signal's handler raises, wherever it comes, costs no descriptor."""

        class Interrupted(Exception):
            pass

        def work() -> None:
            while True:
                bell = a_bell()
                bell.ring()
                bell.wait(1)

        def handler(_: int, frame: FrameType | None) -> None:
            while frame is not None and frame.f_code is not work.__code__:
                frame = frame.f_back
            if frame is not None:  # not between two calls, where nobody would catch it
                raise Interrupted

        before, interrupts = os.listdir("/proc/self/fd"), 0
        old = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        try:
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                try:
                    work()
                except Interrupted:
                    interrupts += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        assert interrupts > 20
        assert before == os.listdir("/proc/self/fd")
        assert new_bell() is not None

    def test_after_a_fork(self) -> None:
        """A child has room for bells of its own, whatever threads of its parent held."""
        code = """if True:
            import os
            from streamkit.concurrency.wakeup import _MOST_EVENTS, new_bell

            bells = [new_bell() for _ in range(_MOST_EVENTS)]
            assert new_bell() is None
            pid = os.fork()
            assert pid == 0 or os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert (new_bell() is None) == bool(pid)
        """
        run_program(code)

    def test_none_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Out of descriptors there is no bell."""

        def full(*_: object) -> int:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(os, "eventfd", full)
        assert new_bell() is None

    def test_without_poll(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a library of green threads took poll() away there is no bell."""
        monkeypatch.delattr(select, "poll")
        assert new_bell() is None

    def test_a_few_at_a_time(self) -> None:
        """There are the first few, and what is let go makes room."""
        bells = [new_bell() for _ in range(bell_module._MOST_EVENTS + 3)]
        assert [True] * bell_module._MOST_EVENTS + [False] * 3 == [bell is not None for bell in bells]
        del bells[0]
        assert new_bell() is not None

    def test_room_is_kept_when_none_could_be_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A bell for which there was no descriptor takes nobody's place."""
        with monkeypatch.context() as patch:
            patch.setattr(os, "eventfd", lambda *_: os.open("/there/is/nothing", os.O_RDONLY))
            for _ in range(bell_module._MOST_EVENTS + 1):
                assert new_bell() is None
        assert new_bell() is not None
