"""A log in the memory of one process: ``MemoryLog``."""

from __future__ import annotations

import math
import os
import threading
import time
import uuid
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar

from streamkit.concurrency.stop import StopEvent
from streamkit.concurrency.waiting import Waiter
from streamkit.logs.log import (
    CONFLICTS,
    Lease,
    Log,
    LogStatus,
    Record,
    behind_the_end,
    check_next,
    checked_id,
    checked_limits,
    conflict,
    deleted,
    superseded,
    unbroken,
    vanished,
    writer_lost,
)

__all__ = ["MemoryLog"]

_MOST_AT_ONCE = 1000  # records that one read returns

_Found = TypeVar("_Found")


class _Reply:
    """The records of one reply. ``MemoryLog._lock`` guards all fields."""

    __slots__ = ("alive_until", "bytes", "deleted", "ended", "forget_at", "last", "records", "stopped", "token")

    def __init__(self) -> None:
        self.records: deque[Record] = deque()
        self.bytes = 0
        self.last = 0
        self.token = ""  # of the writer; "" before there is one
        self.alive_until = -math.inf  # the end of the lease
        self.ended = self.stopped = self.deleted = False
        self.forget_at = math.inf

    @property
    def first(self) -> int:
        """The number of the first record that is kept."""
        return self.last - len(self.records) + 1

    @property
    def status(self) -> LogStatus:
        """See ``LogStatus``."""
        if not self.token or self.deleted:
            return "absent"
        if self.ended:
            return "ended"
        return "open" if time.monotonic() < self.alive_until else "lost"


class MemoryLog(Log):
    """Keeps replies in this process: for a web app with one worker process, and for tests.

    Threads: any, at the same time. A forked child has a copy of its own, which nobody else writes to.

    Owner of the fields: ``_lock``, reentrant because a signal handler may stop a reply at any point, guards
    ``_replies`` and ``_waiters`` and all that they hold. The others never change.

    Args:
        lease: seconds after which a writer that does not renew its lease counts as lost.
        keep: seconds that a reply is kept after its end, or after the last sign of its writer.
        max_records: the most records of one reply that are kept, the last ones. A reader that would need one that was
            dropped gets a ``LogError``, never a reply with a gap.
        max_bytes: the same for the length of their JSON; the last record is kept whatever its length.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self, *, lease: float = 20.0, keep: float = 3600.0, max_records: int = 50_000, max_bytes: int = 32 * 2**20
    ) -> None:
        self._limits = checked_limits("MemoryLog", lease=lease, keep=keep, max_records=max_records, max_bytes=max_bytes)
        self.lease = self._limits.lease
        self._lock = threading.RLock()
        self._replies: OrderedDict[str, _Reply] = OrderedDict()  # the one that is forgotten first comes first
        self._waiters: dict[str, list[Waiter]] = {}
        if hasattr(os, "register_at_fork"):
            _logs.add(self)

    # -- writing -----------------------------------------------------------------------------------------

    def begin(self, id: str) -> Lease:
        """See ``Log``."""
        checked_id(id)
        with self._lock:
            reply = self._find_locked(id)
            if reply is None:
                reply = self._replies[id] = _Reply()
            held = reply.deleted, reply.status == "open", reply.last > 0
            if any(held):
                raise conflict(id, CONFLICTS[(2, 0, 1)[held.index(True)]])
            reply.token = uuid.uuid4().hex
            self._renew_locked(id, reply)
            self._wake_locked(id)
            return Lease(id, reply.token)

    def append(self, lease: Lease, records: Sequence[Record]) -> None:
        """See ``Log``."""
        with self._lock:
            reply = self._find_locked(lease.id)
            if reply is None or reply.deleted or reply.token != lease.token:
                raise superseded(lease.id)
            for record in records:
                if record.number > reply.last:
                    self._add_locked(reply, record)
            lease.last = reply.last
            self._renew_locked(lease.id, reply)
            if records:
                self._wake_locked(lease.id)

    def _add_locked(self, reply: _Reply, record: Record) -> None:
        check_next(reply.last, reply.ended, record)
        reply.records.append(record)
        reply.last = record.number
        reply.ended = record.final
        reply.bytes += len(record.text)
        limits = self._limits
        while len(reply.records) > 1 and (len(reply.records) > limits.max_records or reply.bytes > limits.max_bytes):
            reply.bytes -= len(reply.records.popleft().text)

    def _renew_locked(self, id: str, reply: _Reply) -> None:
        now = time.monotonic()
        reply.alive_until = -math.inf if reply.ended else now + self.lease
        reply.forget_at = now + self._limits.keep
        self._replies.move_to_end(id)

    def finish(self, lease: Lease, outcome: str) -> None:
        """See ``Log``."""
        with self._lock:
            reply = self._find_locked(lease.id)
            if reply is not None and reply.token == lease.token and reply.ended and not reply.deleted:
                return
            self.append(lease, [Record(lease.last + 1, outcome, True)])

    def release(self, lease: Lease) -> None:
        """See ``Log``."""
        with self._lock:
            reply = self._find_locked(lease.id)
            if reply is not None and reply.token == lease.token and not reply.last and not reply.deleted:
                reply.token = ""
                self._wake_locked(lease.id)

    def stopped(self, id: str, timeout: float | None = 0.0, *, halt: StopEvent | None = None) -> bool:
        """See ``Log``."""

        def is_stopped(reply: _Reply | None) -> bool:
            return reply is not None and reply.stopped

        return self._wait(id, is_stopped, lambda _: math.inf, timeout, halt)

    # -- reading -----------------------------------------------------------------------------------------

    def read(
        self, id: str, after: int = 0, timeout: float | None = None, *, halt: StopEvent | None = None
    ) -> Sequence[Record]:
        """See ``Log``."""

        def records(reply: _Reply | None) -> Sequence[Record]:
            if reply is None or not reply.token:
                if after:
                    raise vanished(id)
                return ()
            if reply.deleted:
                raise deleted(id)
            if reply.last > after:
                skipped = max(0, after + 1 - reply.first)
                return unbroken(id, list(islice(reply.records, skipped, skipped + _MOST_AT_ONCE)), after)
            if reply.ended:
                raise behind_the_end(id, reply.last, after)
            if reply.status == "lost":
                raise writer_lost(id, reply.last, self.lease)
            return ()

        def check_at(reply: _Reply | None) -> float:
            return reply.alive_until if reply is not None and reply.status == "open" else math.inf

        return self._wait(id, records, check_at, timeout, halt)

    def status(self, id: str) -> LogStatus:
        """See ``Log``."""
        checked_id(id)
        with self._lock:
            reply = self._find_locked(id)
            return "absent" if reply is None else reply.status

    def _wait(
        self,
        id: str,
        find: Callable[[_Reply | None], _Found],
        check_at: Callable[[_Reply | None], float],
        timeout: float | None,
        halt: StopEvent | None,
    ) -> _Found:
        """Return the result of ``find`` once that is true, or the last one when the wait is over.

        Args:
            id: of the reply.
            find: looks at the reply; called with the lock held.
            check_at: returns the moment at which to look again even if nobody changes the reply.
            timeout: seconds to wait; ``None`` for no limit.
            halt: ends the wait.
        """
        checked_id(id)
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            waiter = Waiter()
            unsubscribe = None if halt is None else halt.subscribe(waiter.wake)
            try:
                with self._lock:
                    self._waiters.setdefault(id, []).append(waiter)  # before the look, see Waiter
                    reply = self._find_locked(id)
                    result = find(reply)
                    until = min(deadline, check_at(reply))
                left = until - time.monotonic()
                if result or (halt is not None and halt.is_set()) or (left <= 0 and until == deadline):
                    return result
                waiter.wait(left)
            finally:
                if unsubscribe is not None:
                    unsubscribe()
                self._forget_waiter(id, waiter)

    def _forget_waiter(self, id: str, waiter: Waiter) -> None:
        with self._lock:
            waiters = self._waiters.get(id, [])
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                self._waiters.pop(id, None)

    def _wake_locked(self, id: str) -> None:
        for waiter in self._waiters.get(id, ()):
            waiter.wake()

    # -- ending ------------------------------------------------------------------------------------------

    def stop(self, id: str) -> bool:
        """See ``Log``."""
        checked_id(id)
        with self._lock:
            reply = self._find_locked(id)
            if reply is None:
                reply = self._replies[id] = _Reply()
            if not reply.token:  # for a writer that begins later
                reply.forget_at = time.monotonic() + self._limits.keep
                self._replies.move_to_end(id)
            reply.stopped = reply.stopped or not reply.ended
            self._wake_locked(id)
            return reply.status == "open"

    def delete(self, id: str) -> bool:
        """See ``Log``."""
        checked_id(id)
        with self._lock:
            reply = self._find_locked(id)
            if reply is None or reply.deleted:
                return False
            existed = reply.status != "absent"
            reply.deleted = reply.stopped = True
            reply.records.clear()
            reply.forget_at = time.monotonic() + 2 * self.lease  # until its writer and its readers have noticed
            self._wake_locked(id)
            return existed

    def _find_locked(self, id: str) -> _Reply | None:
        """Return a reply, once those that have expired are forgotten."""
        now = time.monotonic()
        while self._replies:
            oldest = next(iter(self._replies))
            if self._replies[oldest].forget_at > now:
                break
            del self._replies[oldest]
        return self._replies.get(id)

    def __repr__(self) -> str:
        return f"<MemoryLog, {len(self._replies)} replies>"


# All logs of the process, whose locks a forked child replaces: a thread of the parent may hold one at the time.
_logs: weakref.WeakSet[MemoryLog] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for log in list(_logs):
        log._lock = threading.RLock()
        log._waiters = {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
