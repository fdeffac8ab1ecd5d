"""How a stream or a run ended, and the telling of its observers: ``Ending``."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from streamkit.errors import StreamError
from streamkit.observing.observers import Observer, Telling
from streamkit.observing.status import Status
from streamkit.values.completion import Completion

__all__ = ["Ending"]


class Ending(ABC):
    """The end of a stream or a run: decided once, by whichever thread is first, and told to each observer once.

    An exception may interrupt every method at any bytecode: Ctrl-C, or the time limit of a worker process. So state
    changes after the work, never before it, and the next call finishes what an interrupted one left.

    Owner of the fields: ``_lock`` guards the change of ``_end`` from ``None``, which happens once. ``_concluding``
    guards ``_telling`` and ``_concluded``, which goes from False to True once. ``_end`` and ``_concluded`` may be read
    without a lock, each by a single read. The others never change. In a forked child ``renew_locks`` replaces both
    locks. The locks are reentrant, because a signal handler or the garbage collector may cancel a stream in a thread
    that holds one.

    Args:
        observers: what was passed as ``observers=``.
        started: the observers' method for the start.
        ended: the observers' method for the end.

    Attributes:
        on_settled: called once the end was reported.
    """

    def __init__(self, observers: Sequence[Observer], started: str, ended: str) -> None:
        # It detaches the stream's finalizer, which refers to this object. Otherwise a stream whose error has a
        # traceback would stay alive for ever: finalizer -> this object -> error -> traceback -> stream.
        self.on_settled: Callable[[], object] = lambda: None
        self._observers = tuple(observers)
        self._methods = started, ended
        self._lock = threading.RLock()
        self._end: tuple[Status, BaseException | None] | None = None
        self._concluding = threading.RLock()
        self._concluded = False
        self._telling: list[Telling] = []  # the first one counts: a handler may put its own before this thread's

    @property
    @abstractmethod
    def inherited(self) -> bool:
        """Whether this is a forked child's copy, whose end is the parent's to decide."""

    @abstractmethod
    def completion(self) -> Completion:
        """Return the completion of the chunks delivered so far."""

    @abstractmethod
    def _report(self) -> Any:
        """Return what the observers are told now."""

    @property
    def status(self) -> Status:
        """The status, as the consumer sees it."""
        return "open" if self._end is None else self._end[0]

    @property
    def error(self) -> BaseException | None:
        """The error that ended it, or ``None``."""
        return None if self._end is None else self._end[1]

    def settle(self, status: Status, error: BaseException | None = None) -> bool:
        """End it for its consumer; only the first call has an effect.

        Returns:
            Whether this call was the first.

        Threads: any. The observers are called in the calling thread.
        """
        first = False
        try:
            with self._lock:
                if self._end is None and not self.inherited:
                    self._end = status, error
                    first = True
            if first:
                self._conclude()
        except BaseException:
            self._conclude()
            raise
        return first

    def _conclude(self) -> None:
        """Set the error's partial reply and call the observers; finish a call that was interrupted."""
        concluding = self._concluding  # an observer may fork, and the child gets another one; see renew_locks
        if self._end is None or self._concluded or not concluding.acquire(blocking=False):
            return  # another thread does it
        try:
            error = self._end[1]
            if isinstance(error, StreamError):
                error.partial = self.completion()
            if not self._telling:
                self._telling.append(self._telling_of(self._methods[1]))
            self._telling[0].go_on()
            self.on_settled()
            self._concluded = True
        finally:
            concluding.release()

    def started(self) -> None:
        """Report the start to the observers."""
        self._telling_of(self._methods[0]).go_on()

    def _telling_of(self, method: str) -> Telling:
        return Telling(self._observers, method, self._report()) if self._observers else Telling((), method, None)

    def renew_locks(self) -> None:
        """Replace the locks in a forked child: threads of the parent may have held them at the time of the fork."""
        self._lock, self._concluding = threading.RLock(), threading.RLock()
