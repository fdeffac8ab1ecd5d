"""One thread polls all plain events, and runs only while there are any."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

import pytest

from streamkit.concurrency.plain_events import on_set
from tests.unit.support import SOON, bounded

NAME = "streamkit-events"


def lookers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def gone() -> bool:
    """Whether the thread ends, in time."""
    for thread in lookers():
        thread.join(SOON)
    return not lookers()


def test_called_once_by_one_thread() -> None:
    """Each callback is called once when its event is set, all in one thread, which then ends."""
    calls: list[tuple[int, str]] = []
    events = [threading.Event() for _ in range(5)]
    called = threading.Semaphore(0)

    def note(number: int) -> None:
        calls.append((number, threading.current_thread().name))
        called.release()

    removes = [on_set(event, lambda number=number: note(number)) for number, event in enumerate(events)]  # type: ignore[misc]
    assert 1 == len(lookers())
    for number in (3, 1):
        events[number].set()
        assert called.acquire(timeout=SOON)
    assert [(3, NAME), (1, NAME)] == calls
    for remove in removes:
        remove()
        remove()
    events[0].set()
    assert gone()
    assert 2 == len(calls)


def test_one_that_is_set_already() -> None:
    """It is called back for as well."""
    event, called = threading.Event(), threading.Event()
    event.set()
    remove = on_set(event, called.set)
    assert called.wait(SOON)
    remove()
    assert gone()


def test_again_and_again() -> None:
    """The thread comes and goes with the events, and none is missed at the turn."""
    for _ in range(50):
        event, called = threading.Event(), threading.Event()
        remove = on_set(event, called.set)
        event.set()
        assert called.wait(SOON)
        remove()
    assert gone()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_in_a_forked_child() -> None:
    """A child has a thread of its own."""
    remove = on_set(threading.Event(), lambda: None)
    child = os.fork()
    if child == 0:
        event, called = threading.Event(), threading.Event()
        on_set(event, called.set)
        event.set()
        os._exit(0 if called.wait(SOON) else 1)
    with bounded(SOON * 2):
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    remove()
    assert gone()


def test_an_event_that_fails() -> None:
    """One whose class raises when it is asked is asked no more, and does no harm to the others."""
    asked = threading.Event()

    class Failing(threading.Event):
        def is_set(self) -> bool:
            asked.set()
            raise OSError("no connection to the manager")

    remove = on_set(Failing(), lambda: None)
    assert asked.wait(SOON)
    event, called = threading.Event(), threading.Event()
    on_set(event, called.set)
    event.set()
    assert called.wait(SOON)
    remove()
    assert gone()


@pytest.mark.parametrize("started", [False, True], ids=["before it runs", "when it runs"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_start_that_fails(monkeypatch: pytest.MonkeyPatch, error: type[BaseException], started: bool) -> None:
    """Where the thread could not be started, or Ctrl-C came meanwhile, the next event starts another."""
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if started:
            start(thread)
        raise error

    event, called = threading.Event(), threading.Semaphore(0)
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(threading.Thread, "start", fail)
        on_set(event, called.release)
    on_set(event, called.release)
    event.set()
    for _ in range(2):
        assert called.acquire(timeout=SOON)
    assert gone()
