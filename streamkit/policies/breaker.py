"""A circuit breaker a provider: ``Breaker``."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

import attrs

from streamkit.errors import (
    APIError,
    BrokenStreamError,
    CircuitOpenError,
    ConnectError,
    ProtocolError,
    ServerError,
    StreamError,
    StreamTimeout,
    TruncatedStreamError,
)
from streamkit.policies.checks import checked_count, checked_seconds, renew_after_fork
from streamkit.streaming.gates import Call, Gate, Result, Wait

__all__ = ["Breaker"]

_State = Literal["closed", "open", "half-open"]
_Verdict = Literal["works", "failed", "unknown"]


@attrs.define(eq=False)
class _Circuit:
    """The circuit of one provider.

    Attributes:
        failures: when each failure happened, the oldest first; not kept while it is open.
        opened_at: when it was opened; ``None`` while it is closed.
        opened: how often it was opened or closed: a request that entered before the last time says nothing any more.
        trial: the request that is let through while it is half-open.
        last: the last failure in a few words.
    """

    failures: deque[float] = attrs.field(factory=deque)
    opened_at: float | None = None
    opened: int = 0
    trial: Call | None = None
    last: str = ""


class Breaker(Gate):
    """Turns requests away at once while their provider fails, so that nobody waits for it in vain.

    Each provider has a circuit. It is closed at first: requests pass. A number of failures within some seconds opens
    it: requests are turned away with a ``CircuitOpenError``, and a stream with several routes goes to the next one.
    After the pause it is half-open: the next request passes as a trial, others are still turned away. If the trial
    works, the circuit is closed, and if it fails, it is open for another pause.

    Only requests of the program move it; it sends none of its own. Each try counts, also one that is then tried again.

    - Failures are: no connection, ``connect``, ``first`` and ``idle`` timeouts (``total`` too, if it ran out before the
      first chunk), 5xx and 529, a broken or truncated stream, and a reply in another format, such as a proxy's page.
    - A 4xx is none, as the service works and has refused this request. That goes for 429 as well: the service answers,
      and what it asks for is to wait, which ``Retry`` and ``RateLimit`` do for exactly as long as it says. A circuit
      that opens for it would stop requests of other models and other keys.
    - A request that was cancelled says nothing, unless a chunk of its reply had come. Neither does one that failed by
      itself, or that another gate turned away.

    In ``policies=`` it stands before a ``RateLimit``. After one, a request would wait in line for a provider that is
    down, only to be turned away.

    The count is not of failures in a row: a program with many requests a second should set ``failures`` so high that a
    few of them among many successes do not open the circuit.

    Args:
        failures: how many within the time open the circuit, from 1.
        within: the time, in seconds.
        pause: seconds for which it stays open before a trial.
        clock: a monotonic clock, in seconds, for tests.

    Raises:
        ConfigError: an argument is out of range.

    Threads: any. A forked child begins with closed circuits.

    Owner of the fields: ``_lock`` guards ``_circuits``, the circuits, and ``_entered``. The others never change.
    """

    def __init__(
        self,
        failures: int = 5,
        within: float = 60.0,
        pause: float = 30.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures = checked_count("Breaker(failures=...)", failures)
        self._within = checked_seconds("Breaker(within=...)", within)
        self._pause = checked_seconds("Breaker(pause=...)", pause)
        self._clock = clock
        self._renew()
        renew_after_fork(self)

    def _renew(self) -> None:
        self._lock = threading.RLock()  # reentrant, as a signal handler may ask for the state
        self._circuits: dict[str, _Circuit] = {}
        self._entered: dict[Call, int] = {}  # and ``opened`` at that moment

    def state(self, provider: str) -> _State:
        """Return the state of a provider's circuit: ``closed``, ``open`` or ``half-open``.

        Args:
            provider: its name, such as ``openai``; of one that was never asked the circuit is closed.

        Threads: any.
        """
        with self._lock:
            circuit = self._circuits.get(provider)
            return "closed" if circuit is None else self._state_locked(circuit, self._clock())

    def _state_locked(self, circuit: _Circuit, now: float) -> _State:
        if circuit.opened_at is None:
            return "closed"
        return "open" if now < circuit.opened_at + self._pause else "half-open"

    def enter(self, call: Call, wait: Wait) -> None:
        """See ``Gate``."""
        with self._lock:
            circuit = self._circuits.get(call.provider)
            if circuit is None:
                circuit = self._circuits[call.provider] = _Circuit()
            now = self._clock()
            state = self._state_locked(circuit, now)
            if state == "closed" or (state == "half-open" and circuit.trial is None):
                circuit.trial = call if state == "half-open" else None
                self._entered[call] = circuit.opened
                return
            error = self._refusal_locked(circuit, call.provider, state, now)
        raise error

    def _refusal_locked(self, circuit: _Circuit, provider: str, state: _State, now: float) -> CircuitOpenError:
        assert circuit.opened_at is not None
        why = f"not sent, as {provider} has failed too often, the last time with {circuit.last}"
        if state == "open":
            left = circuit.opened_at + self._pause - now
            return CircuitOpenError(f"{why}; try again in {left:.1f} s", provider=provider, retry_after=left)
        return CircuitOpenError(
            f"{why}; a trial request is under way, try again when it has ended, or in {self._pause:g} s",
            provider=provider,
            retry_after=self._pause,
        )

    def left(self, call: Call, result: Result) -> None:
        """See ``Gate``."""
        verdict = _verdict(result)
        with self._lock:
            entered = self._entered.pop(call, None)
            if entered is None:
                return
            circuit = self._circuits[call.provider]
            was_trial = circuit.trial is call
            if was_trial:
                circuit.trial = None
            if entered != circuit.opened or verdict == "unknown":
                return
            if verdict == "works":
                if was_trial:
                    circuit.opened_at = None
                    circuit.opened += 1
                return
            now = self._clock()
            circuit.last = _in_words(result.error)
            failures = circuit.failures
            failures.append(now)
            while failures[0] <= now - self._within:
                failures.popleft()
            if was_trial or len(failures) >= self._failures:
                failures.clear()
                circuit.opened_at = now
                circuit.opened += 1

    def __repr__(self) -> str:
        with self._lock:
            now = self._clock()
            states = [f"{name} {self._state_locked(each, now)}" for name, each in self._circuits.items()]
        return f"<Breaker {', '.join(states) or 'unused'}>"


def _verdict(result: Result) -> _Verdict:
    """Return what a request says of its service."""
    error = result.error
    if not result.sent:
        return "unknown"
    if isinstance(error, (ConnectError, BrokenStreamError, TruncatedStreamError, ProtocolError, ServerError)):
        return "failed"
    if isinstance(error, StreamTimeout):
        if error.phase != "total":
            return "failed"
        return "failed" if result.time_to_first_chunk is None else "works"
    if isinstance(error, APIError):
        return "unknown" if error.status is None else "failed" if error.status >= 500 else "works"
    if error is not None:
        return "unknown"
    return "unknown" if result.cancelled and result.time_to_first_chunk is None else "works"


def _in_words(error: StreamError | None) -> str:
    """Return a few words for a failure; never its message, which may quote what the server sent."""
    if isinstance(error, APIError):
        return f"{type(error).__name__} {error.status}"
    if isinstance(error, StreamTimeout):
        return f"no end of its {error.phase} phase" if error.phase == "total" else f"a timeout ({error.phase})"
    return type(error).__name__
