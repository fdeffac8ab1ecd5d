"""Name lookups that a limit or a cancel can leave at once: ``look_up``.

``socket.getaddrinfo`` cannot be interrupted. So it runs in a few daemon threads, one call for all who ask for the same
name meanwhile, and the thread that needs the addresses only waits for it. Nothing is remembered beyond the call: each
new connection sees what the resolver says now.
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

from streamkit.concurrency.quick_thread import UnawaitedThread
from streamkit.transport.wait_hook import WaitHook

__all__ = ["AddressInfo", "look_up"]

AddressInfo = tuple[int, int, int, str, Any]  # one item of what getaddrinfo returns

_MOST_THREADS = 8  # lookups at once in a process; while a resolver hangs, more would hang as well
# How old a call may be for others to join it. A resolver that lost a packet asks again after 5 s; by then a call of
# one's own may be the quicker one.
_JOINABLE_SECONDS = 5.0
_LONGEST = 3600.0  # seconds of one wait; then the hook is asked again


def look_up(host: str, port: int, family: int, hook: WaitHook) -> Sequence[AddressInfo]:
    """Return what ``socket.getaddrinfo`` has for a host.

    Raises:
        OSError, UnicodeError: what ``getaddrinfo`` raises; ``OSError`` as well if no thread could be started.
        Whatever ``hook`` raises, at once; the lookup goes on for those who still wait for it.
    """
    if _is_address(host):  # nobody is asked, so nothing can hang
        return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    return _lookups.find((host, port, family), hook)


def _is_address(host: str) -> bool:
    without_scope = host.partition("%")[0]
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, ValueError):
            socket.inet_pton(family, without_scope)
            return True
    return False


class _Waiter:
    """Wakes one thread that waits for a lookup.

    It is a bare lock, free once the thread was woken: releasing it is one step, which a signal handler may take at
    any point, and a wake-up before the wait is not lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wake(self) -> None:
        """End the wait, the present one or the next. Threads: any; never waits."""
        with suppress(RuntimeError):  # it was woken already
            self._lock.release()

    def shutdown(self, how: int) -> None:
        """Do the same, under the name that ``SocketGuard`` calls."""
        self.wake()

    def wait(self, seconds: float) -> bool:
        """Wait to be woken; ``False`` when the time is over."""
        return self._lock.acquire(timeout=min(seconds, _LONGEST))


class _Lookup:
    """One call of ``getaddrinfo``. ``waiters`` is guarded by the lock of its ``_Lookups``."""

    def __init__(self, key: tuple[str, int, int]) -> None:
        self.key = key
        self.began = time.monotonic()
        self.waiters: list[_Waiter] = []
        # The addresses or the error; set once, by the thread that runs it, before it wakes the waiters.
        self.result: Sequence[AddressInfo] | BaseException | None = None


class _Lookups:
    """The lookups in flight, and those that wait for a thread. ``_lock`` guards every field."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queued: collections.deque[_Lookup] = collections.deque()
        self._newest: dict[tuple[str, int, int], _Lookup] = {}  # unfinished ones, by what they look up
        self._threads = 0

    def find(self, key: tuple[str, int, int], hook: WaitHook) -> Sequence[AddressInfo]:
        """Return the addresses, by a call of somebody else's if one is in flight; see ``look_up``."""
        waiter = _Waiter()
        lookup = self._join(key, waiter)
        hook.guard.register(waiter)
        try:
            while lookup.result is None:
                if not waiter.wait(hook.before_read()):
                    hook.in_vain()
        finally:
            hook.guard.release()
            self._leave(lookup, waiter)
        if isinstance(lookup.result, BaseException):
            raise copy.copy(lookup.result)  # a traceback of its own for each thread that raises it
        return lookup.result

    def _join(self, key: tuple[str, int, int], waiter: _Waiter) -> _Lookup:
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
                UnawaitedThread(self._run, (), "name-lookup").start()
            except RuntimeError as error:  # out of threads, or the interpreter is shutting down
                with self._lock:
                    self._threads -= 1
                self._finish(lookup, OSError(f"no thread could be started to look the name up: {error}"))
        return lookup

    def _leave(self, lookup: _Lookup, waiter: _Waiter) -> None:
        """Take a waiter off; a lookup that nobody waits for is not begun."""
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
        """Do lookups until none is queued: the body of a thread."""
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
            except BaseException as error:  # whatever it is, those who wait have to hear of it
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
    """In a forked child: the threads of the parent's lookups do not run here."""
    global _lookups
    _lookups = _Lookups()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
