"""Name lookups that a limit or a cancel ends at once: ``look_up``.

``socket.getaddrinfo`` cannot be interrupted. So it runs in a few daemon threads, and the thread that needs the
addresses waits for the result. Threads that look up the same name at the same time share one call. Results are not
cached: each new connection gets the resolver's current answer.
"""

from __future__ import annotations

import collections
import copy
import os
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from streamkit.concurrency.own_thread import OwnThread
from streamkit.concurrency.waiting import Waiter
from streamkit.transport.wait_hook import WaitHook

__all__ = ["AddressInfo", "look_up"]

AddressInfo = tuple[int, int, int, str, Any]  # one item of what getaddrinfo returns

_MOST_THREADS = 8  # concurrent lookups in a process; while the resolver hangs, more threads would hang too
# The greatest age of a call that other threads may join. A resolver that lost a packet asks again after 5 s; from then
# on a new call may be faster.
_JOINABLE_SECONDS = 5.0


def look_up(host: str, port: int, family: int, hook: WaitHook) -> Sequence[AddressInfo]:
    """Return the result of ``socket.getaddrinfo`` for a host.

    Args:
        host: a name or an address.
        port: the port of the returned addresses.
        family: ``socket.AF_INET``, ``AF_INET6`` or ``AF_UNSPEC``.
        hook: bounds the wait; its guard ends it.

    Raises:
        OSError, UnicodeError: as ``getaddrinfo`` raises them; ``OSError`` too if no thread could be started.
        Whatever ``hook`` raises, at once; the lookup continues for the other threads that wait for it.

    Threads: any; blocks.
    """
    if _is_address(host):  # no resolver is needed, so the call cannot hang
        return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    return _lookups.find((host, port, family), hook)


def _is_address(host: str) -> bool:
    without_scope = host.partition("%")[0]
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, ValueError):
            socket.inet_pton(family, without_scope)
            return True
    return False


class _LookupWaiter(Waiter):
    """The wait of one thread for a lookup, which a ``SocketGuard`` can end."""

    __slots__ = ()

    def shutdown(self, how: int) -> None:
        """Wake the thread; ``SocketGuard`` calls it as it would call a socket's."""
        self.wake()


class _Lookup:
    """One call of ``getaddrinfo``.

    Owner of the fields: the lock of ``_Lookups`` guards ``waiters`` and the change of ``result``, which happens once,
    before the waiters are woken. ``result`` may be read without it. The others never change.

    Attributes:
        result: the addresses or the error; ``None`` until it has ended.
    """

    def __init__(self, key: tuple[str, int, int]) -> None:
        self.key = key
        self.began = time.monotonic()
        self.waiters: list[_LookupWaiter] = []
        self.result: Sequence[AddressInfo] | BaseException | None = None


class _Lookups:
    """The lookups that run, and those that wait for a thread.

    Owner of the fields: ``_lock`` guards all of them. It need not be reentrant: a cancel by a signal handler or the
    garbage collector wakes a waiter without it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queued: collections.deque[_Lookup] = collections.deque()
        self._newest: dict[tuple[str, int, int], _Lookup] = {}  # the newest unfinished lookup for each key
        self._threads = 0

    def find(self, key: tuple[str, int, int], hook: WaitHook) -> Sequence[AddressInfo]:
        """Return the addresses; join a running call for the same key if there is one. See ``look_up``."""
        waiter = _LookupWaiter()
        lookup = self._join(key, waiter)
        hook.guard.register(waiter)
        try:
            while lookup.result is None:
                if not waiter.wait(hook.before_read()):
                    hook.wait_timed_out()
        finally:
            hook.guard.release()
            self._leave(lookup, waiter)
        if isinstance(lookup.result, BaseException):
            raise copy.copy(lookup.result)  # each thread that raises it needs its own traceback
        return lookup.result

    def _join(self, key: tuple[str, int, int], waiter: _LookupWaiter) -> _Lookup:
        starts = False
        with self._lock:
            lookup = self._newest.get(key)
            if lookup is None or time.monotonic() - lookup.began > _JOINABLE_SECONDS:
                lookup = self._newest[key] = _Lookup(key)
                self._queued.append(lookup)
                if starts := self._threads < _MOST_THREADS:
                    self._threads += 1
            lookup.waiters.append(waiter)
        if starts:
            try:
                OwnThread(self._run, (), "name-lookup").start()
            except RuntimeError as error:  # out of threads, or the interpreter is shutting down
                with self._lock:
                    self._threads -= 1
                self._finish(lookup, OSError(f"no thread could be started to look the name up: {error}"))
        return lookup

    def _leave(self, lookup: _Lookup, waiter: _LookupWaiter) -> None:
        """Remove a waiter; drop a lookup that was not begun and has no waiter left."""
        with self._lock:
            lookup.waiters.remove(waiter)
            if not lookup.waiters and lookup in self._queued:
                self._forget_locked(lookup)

    def _forget_locked(self, lookup: _Lookup) -> None:
        if lookup in self._queued:
            self._queued.remove(lookup)
        if self._newest.get(lookup.key) is lookup:
            del self._newest[lookup.key]

    def _run(self) -> None:
        """Run queued lookups until there are none: the body of a lookup thread."""
        while True:
            with self._lock:
                if not self._queued:
                    self._threads -= 1
                    return
                lookup = self._queued.popleft()
            host, port, family = lookup.key
            result: Sequence[AddressInfo] | BaseException
            try:
                result = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
            except BaseException as error:  # of any kind: it is raised in the waiting threads
                result = error.with_traceback(None)
            self._finish(lookup, result)

    def _finish(self, lookup: _Lookup, result: Sequence[AddressInfo] | BaseException) -> None:
        with self._lock:
            self._forget_locked(lookup)
            lookup.result = result
            waiters = list(lookup.waiters)
        for waiter in waiters:
            waiter.wake()


_lookups = _Lookups()


def _start_anew() -> None:
    """Start with no lookups in a forked child: the parent's lookup threads do not run there."""
    global _lookups
    _lookups = _Lookups()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
