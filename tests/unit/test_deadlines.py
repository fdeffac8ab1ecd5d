"""Deadlines report which limit runs out next, on a clock that the test controls."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import StreamTimeout, Timeout
from streamkit.streaming.deadlines import Deadlines


class Time:
    """A monotonic clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


ALL = Timeout(connect=1, first=2, idle=3, total=100)


def deadlines_of(timeout: Timeout) -> tuple[Deadlines, Time]:
    time = Time()
    return Deadlines(timeout, time), time


def phase_of(deadlines: Deadlines) -> tuple[str, float]:
    error = deadlines.error()
    return error.phase, error.limit


def test_each_phase_has_its_limit() -> None:
    """Connecting, sending and arriving start the limit of their phase, each from the moment it begins."""
    deadlines, time = deadlines_of(ALL)
    assert (1.0, ("connect", 1)) == (deadlines.remaining(), phase_of(deadlines))
    time.passes(0.5)
    deadlines.connecting()
    assert (1.0, ("connect", 1)) == (deadlines.remaining(), phase_of(deadlines))
    time.passes(0.5)
    deadlines.sending()
    assert (2.0, ("first", 2)) == (deadlines.remaining(), phase_of(deadlines))
    time.passes(1.5)
    assert 3.0 == deadlines.arrived()
    assert (3.0, ("idle", 3)) == (deadlines.remaining(), phase_of(deadlines))
    time.passes(2.5)
    deadlines.arrived()
    assert (3.0, ("idle", 3)) == (deadlines.remaining(), phase_of(deadlines))


def test_a_limit_that_has_passed_is_negative() -> None:
    """What remains goes below zero, and the moment it was due stays."""
    deadlines, time = deadlines_of(ALL)
    time.passes(1.25)
    assert (-0.25, 1001.0) == (deadlines.remaining(), deadlines.due)


def test_total_runs_through_all_phases() -> None:
    """The limit over everything starts once, and wins in whichever phase it comes first, or at the same time."""
    deadlines, time = deadlines_of(Timeout(connect=1, first=2, idle=3, total=5))
    time.passes(3)
    deadlines.sending()
    assert (2.0, ("total", 5)) == (deadlines.remaining(), phase_of(deadlines))
    time.passes(1)
    assert 1.0 == deadlines.arrived()
    assert (1.0, ("total", 5)) == (deadlines.remaining(), phase_of(deadlines))
    deadlines.connecting()
    assert (1.0, ("total", 5)) == (deadlines.remaining(), phase_of(deadlines))
    assert 1005.0 == deadlines.total_due


def test_waiting_for_another_try_is_bound_by_total_alone() -> None:
    """A back-off is no connecting and no idling: only the limit over everything runs in it."""
    deadlines, time = deadlines_of(ALL)
    time.passes(0.5)
    deadlines.waiting()
    assert (99.5, ("total", 100)) == (deadlines.remaining(), phase_of(deadlines))
    deadlines, _ = deadlines_of(Timeout(total=None))
    deadlines.waiting()
    assert math.inf == deadlines.remaining()


def test_a_slow_consumer_stops_the_clock() -> None:
    """While the worker waits for the consumer no limit runs out, and that time counts for no limit."""
    deadlines, time = deadlines_of(ALL)
    deadlines.arrived()
    deadlines.pause()
    assert (math.inf, math.inf) == (deadlines.due, deadlines.remaining())
    time.passes(500)
    assert math.inf == deadlines.remaining()
    deadlines.extend_total(500)
    assert 3.0 == deadlines.arrived()
    assert (3.0, ("idle", 3)) == (deadlines.remaining(), phase_of(deadlines))
    assert 1600.0 == deadlines.total_due
    time.passes(98)
    assert 2.0 == deadlines.arrived()
    assert ("total", 100) == phase_of(deadlines)


def test_no_limits() -> None:
    """Without limits, no phase has a deadline."""
    deadlines, _ = deadlines_of(Timeout(connect=None, first=None, idle=None, total=None))
    for enter in (deadlines.connecting, deadlines.sending, deadlines.arrived, deadlines.waiting):
        enter()
        assert (math.inf, math.inf, math.inf) == (deadlines.due, deadlines.total_due, deadlines.remaining())
    assert math.inf == deadlines.arrived()


@pytest.mark.parametrize(
    ("phase", "enter", "words"),
    [
        (
            "connect",
            "connecting",
            "no connection within 1.5 s; the limit is the client's: check the network and the provider's base URL, or ",
        ),
        (
            "first",
            "sending",
            "no chunk within 1.5 s of sending the request; the limit is the client's: raise Timeout(first=...)",
        ),
        ("idle", "arrived", "no chunk for 1.5 s; the limit is the client's: raise Timeout(idle=...)"),
        ("total", "waiting", "not complete within 1.5 s; the limit is the client's: raise Timeout(total=...)"),
    ],
)
def test_the_error_names_the_limit(phase: str, enter: str, words: str) -> None:
    """The error says which limit ran out, how long it was, and what to raise; a timeout is not tried again."""
    limits = {"connect": 60.0, "first": 60.0, "idle": 60.0, "total": 60.0} | {phase: 1.5}
    deadlines, _ = deadlines_of(Timeout(**limits))
    getattr(deadlines, enter)()
    error = deadlines.error()
    assert isinstance(error, StreamTimeout)
    assert (phase, 1.5, False) == (error.phase, error.limit, error.retryable)
    assert words in str(error)
    assert f"raise Timeout({phase}=...)" in str(error)


LIMITS = st.none() | st.floats(0.01, 100)
STEPS = st.lists(
    st.tuples(st.sampled_from(["connecting", "sending", "arrived", "waiting", "blocked", "nothing"]), st.floats(0, 50)),
    max_size=12,
)


@given(connect=LIMITS, first=LIMITS, idle=LIMITS, total=LIMITS, steps=STEPS)
def test_against_a_model(
    connect: float | None, first: float | None, idle: float | None, total: float | None, steps: list[tuple[str, float]]
) -> None:
    """Whatever happens in whichever order: due is the phase's limit or the total's, whichever is the sooner."""
    deadlines, time = deadlines_of(Timeout(connect=connect, first=first, idle=idle, total=total))
    limits = {"connecting": connect, "sending": first, "arrived": idle, "waiting": None}
    began, phase, total_at = time.now, "connecting", math.inf if total is None else time.now + total
    for step, seconds in steps:
        time.passes(seconds)
        if step in limits:
            getattr(deadlines, step)()
            began, phase = time.now, step
        elif step == "blocked":
            deadlines.pause()
            time.passes(seconds)
            assert math.inf == deadlines.due
            deadlines.extend_total(seconds)
            deadlines.arrived()
            began, phase, total_at = time.now, "arrived", total_at + seconds
        limit = limits[phase]
        at = math.inf if limit is None else began + limit
        assert min(at, total_at) == pytest.approx(deadlines.due)
        assert total_at == pytest.approx(deadlines.total_due)
        assert min(at, total_at) - time.now == pytest.approx(deadlines.remaining())


def test_repr() -> None:
    """Phase and rest are in the repr."""
    assert "<Deadlines connect in 1.000 s>" == repr(deadlines_of(ALL)[0])
