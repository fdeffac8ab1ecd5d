"""Tells observers of the calls of a run's functions: ``ToldCalls``."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Sequence
from typing import Any

from streamkit.observing.observers import Observer, Telling, ToolReport
from streamkit.tools.calls import PendingCall

__all__ = ["ToldCalls"]


class _Told:
    """A call whose start was told, or is being told.

    Owner of the fields: ``lock`` guards ``telling``; the others never change.
    """

    def __init__(self, round: int) -> None:
        self.round = round
        self.started_at = time.monotonic()
        self.lock = threading.RLock()  # reentrant, as an observer may cancel the run
        self.telling: list[Telling] = []  # of the end; the first one counts


class ToldCalls:
    """Tells observers of each call of a function: once that it starts, and exactly once that it has ended.

    An exception may interrupt every method at any bytecode. So a call is open before its start is told, and until its
    end was told to all; the next call of ``end`` or ``end_all`` finishes what an interrupted one left.

    Owner of the fields: each single operation on ``_open`` is atomic; the others never change.

    Args:
        observers: what was passed as ``observers=``.
        run: the number of the run.
    """

    def __init__(self, observers: Sequence[Observer], run: int) -> None:
        self._observers = [observer for observer in observers if _wants_calls(observer)]
        self._run = run
        self._open: dict[PendingCall, _Told] = {}

    def start(self, pending: PendingCall, round: int) -> contextvars.Context | None:
        """Tell that a function is about to be called.

        Returns:
            The context to call it in, with what the observers have set; ``None`` where nobody is told.

        Threads: that of the loop.
        """
        if not self._observers:
            return None
        told = self._open[pending] = _Told(round)
        context = contextvars.copy_context()
        context.run(Telling(self._observers, "tool_started", self._report(pending, told, None)).go_on)
        return context

    def end(self, pending: PendingCall) -> None:
        """Tell that a call has ended, or is left running; do nothing for one that was not started or told already.

        Threads: any of the program's.
        """
        told = self._open.get(pending)
        if told is None or not told.lock.acquire(blocking=False):
            return  # another thread does it
        try:
            if not told.telling:
                report = self._report(pending, told, pending.so_far())
                told.telling.append(Telling(self._observers, "tool_ended", report))
            told.telling[0].go_on()
            self._open.pop(pending, None)
        finally:
            told.lock.release()

    def end_all(self) -> None:
        """Tell that all calls have ended, before the run is said to."""
        for pending in list(self._open):
            self.end(pending)

    def _report(self, pending: PendingCall, told: _Told, result: Any) -> ToolReport:
        seconds = time.monotonic() - told.started_at
        return ToolReport(self._run, told.round, pending.call, result, seconds, pending.exception)


def _wants_calls(observer: Observer) -> bool:
    """Return whether an observer has one of the two methods that is its own; it may be of no class of ours."""
    names = "tool_started", "tool_ended"
    methods = [getattr(observer, name, None) for name in names]
    own = [
        getattr(method, "__func__", method) is not getattr(Observer, name)
        for name, method in zip(names, methods, strict=True)
    ]
    return None not in methods and any(own)
