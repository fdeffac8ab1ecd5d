"""A wait ends once, whichever thread wakes it and when."""

from __future__ import annotations

import threading

from streamkit.concurrency import waiting
from streamkit.concurrency.waiting import Waiter
from tests.unit.support import SOON, Task, bounded


def test_woken_before_the_wait() -> None:
    """A wake-up that comes first ends the wait at once, and waking again changes nothing."""
    waiter = Waiter()
    for _ in range(3):
        waiter.wake()
    with bounded():
        assert waiter.wait()


def test_woken_while_waiting() -> None:
    """Any thread ends the wait."""
    waiter = Waiter()
    task = Task(lambda: waiter.wait(SOON))
    waiter.wake()
    assert task.result()


def test_the_time_is_over() -> None:
    """A wait that is not woken lasts the given seconds; with 0 or less it returns at once."""
    with bounded():
        assert [False] * 3 == [Waiter().wait(seconds) for seconds in (0.01, 0.0, -1.0)]


def test_longer_than_a_lock_can_wait(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """A wait that no single call can bear is made of several."""
    monkeypatch.setattr(waiting, "_LONGEST", 0.01)
    with bounded():
        assert not Waiter().wait(0.05)
        waiter = Waiter()
        timer = threading.Timer(0.05, waiter.wake)
        timer.start()
        assert waiter.wait()
        timer.join()
