"""Connect to the first of a host's addresses that answers: ``connect``, after RFC 8305 ("happy eyeballs").

The attempts to connect alternate between the address families. Each begins when the one before it has failed, or 250 ms
after it; the earlier attempts continue. So a dead address costs a fraction of a second, and a slow one may still win.
All attempts are made in the calling thread, on non-blocking sockets.
"""

from __future__ import annotations

import collections
import errno
import itertools
import math
import os
import select
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Any

from streamkit.transport.lookups import AddressInfo
from streamkit.transport.wait_hook import WaitHook

__all__ = ["connect"]

_PAUSE = 0.25  # seconds between two attempts. Source: RFC 8305, section 5, "Connection Attempt Delay"
_LEAST_PAUSE = 0.01  # seconds. Source: RFC 8305, section 5, "Minimum Connection Attempt Delay"
_LONGEST = 3600.0  # the longest single wait, in seconds: poll() takes milliseconds in 32 bits
_IN_PROGRESS = {errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR}

# Probes on an idle connection: they detect within 135 s that the other end has silently vanished.
_KEEP_ALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 5))
# The same bound for sent data that is not acknowledged: in that case the kernel sends no probes, and repeats the data
# for about 924 s. The bound is no shorter, because it also ends the connection to a server that does not read for a
# while: a server that works on one request after another may leave a long one unread.
_UNACKNOWLEDGED_SECONDS = 135


def connect(
    addresses: Sequence[AddressInfo],
    hook: WaitHook,
    *,
    options: Iterable[tuple[Any, ...]] = (),
    source_address: tuple[str, int] | None = None,
) -> socket.socket:
    """Return a socket that is connected to one of the addresses.

    Args:
        addresses: as ``getaddrinfo`` returns them.
        hook: bounds the whole call; its guard ends it.
        options: arguments for ``setsockopt``.
        source_address: the local address to bind to.

    Raises:
        OSError: no address could be connected to; it is the failure of the last attempt.
        Whatever ``hook`` raises.

    Threads: any; blocks. Shutting down the hook's guard ends it at once.
    """
    race = _Race(hook, options, source_address)
    try:
        sock = race.run(addresses)
    finally:
        race.close()
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # only now, as it would bound the attempt to connect too
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_SECONDS * 1000)
    return sock


def _in_turn(addresses: Sequence[AddressInfo]) -> list[AddressInfo]:
    """Interleave the address families, keeping the order within each; begin with the first address's family."""
    families: dict[int, list[AddressInfo]] = {}
    for info in addresses:
        families.setdefault(info[0], []).append(info)
    rows = itertools.zip_longest(*families.values())
    return [info for row in rows for info in row if info is not None]


class _Race:
    """The attempts to connect of one connection.

    While the thread waits, the guard holds one end of a socket pair, and the thread waits for the other end beside the
    attempts. Shutting down the pair works on every system; shutting down a socket that is still connecting does not.
    The guard releases its end before it is closed.

    Owner of the fields: the connecting thread alone uses them.
    """

    def __init__(
        self, hook: WaitHook, options: Iterable[tuple[Any, ...]], source_address: tuple[str, int] | None
    ) -> None:
        self._hook = hook
        self._options = tuple(options)
        self._source_address = source_address
        self._attempts: list[socket.socket] = []  # unfinished ones
        self._failure = OSError("the name has no address")
        self._alarm: tuple[socket.socket, socket.socket] | None = None  # this thread's end, the guard's end

    def run(self, addresses: Sequence[AddressInfo]) -> socket.socket:
        """Return the socket that connects first; ``close`` closes the others."""
        hook = self._hook
        untried = collections.deque(_in_turn(addresses))
        limit = hook.limit()
        # Begin an attempt for every address within the limit.
        pause = _PAUSE if limit is None else max(_LEAST_PAUSE, min(_PAUSE, limit / (len(untried) + 1)))
        next_at = 0.0  # on time.monotonic
        while untried or self._attempts:
            now = time.monotonic()
            if untried and (not self._attempts or now >= next_at):
                failures = self._failure
                if (sock := self._begin(untried.popleft())) is not None:
                    return sock
                next_at = now + pause if self._failure is failures else 0.0
                continue
            seconds = hook.before_read()
            finished = self._wait(min(seconds, next_at - now) if untried else seconds)
            for sock in finished:
                if (number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) == 0:
                    self._attempts.remove(sock)
                    return sock
                self._give_up(sock, number)
                next_at = 0.0
            if not finished:
                hook.wait_timed_out()
        raise self._failure

    def _begin(self, info: AddressInfo) -> socket.socket | None:
        """Begin an attempt; return its socket if it connects at once."""
        family, kind, proto, _, address = info
        try:
            sock = socket.socket(family, kind, proto)
        except OSError as error:  # no such address family on this machine, or too many open files
            self._failure = error
            return None
        self._attempts.append(sock)
        try:
            sock.setblocking(False)
            self._set_options(sock)
            number = sock.connect_ex(address)
        except OSError as error:
            number = error.errno or errno.EINVAL
        if number in _IN_PROGRESS:
            return None
        if number:
            self._give_up(sock, number)
            return None
        self._attempts.remove(sock)
        return sock

    def _set_options(self, sock: socket.socket) -> None:
        for option in self._options:
            sock.setsockopt(*option)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if self._source_address:
            sock.bind(self._source_address)

    def _give_up(self, sock: socket.socket, number: int) -> None:
        self._attempts.remove(sock)
        sock.close()
        self._failure = OSError(number, os.strerror(number))

    def _wait(self, seconds: float) -> list[socket.socket]:
        """Wait until an attempt has succeeded or failed; return all that have."""
        if self._alarm is None:
            if finished := self._ended_among(_ready(self._attempts, 0.0)):  # usual for loopback
                return finished
            self._alarm = socket.socketpair()
            self._hook.guard.register(self._alarm[1])
        alarm = self._alarm[0]
        ready = _ready(self._attempts, max(0.0, min(seconds, _LONGEST)), alarm)
        finished = self._ended_among(ready)
        if alarm.fileno() in ready and not finished:
            self._hook.before_read()  # raises
            raise ConnectionAbortedError(errno.ECONNABORTED, "the attempt to connect was ended")
        return finished

    def _ended_among(self, descriptors: set[int]) -> list[socket.socket]:
        return [sock for sock in self._attempts if sock.fileno() in descriptors]

    def close(self) -> None:
        """Release the guard, and close the attempts that lost."""
        if self._alarm is not None:
            self._hook.guard.release()
            for end in self._alarm:
                end.close()
        for sock in self._attempts:
            sock.close()


def _ready(attempts: Sequence[socket.socket], seconds: float, *alarms: socket.socket) -> set[int]:
    """Return the descriptors of the attempts that have ended, and of the alarms that were shut down."""
    if not hasattr(select, "poll"):  # looked up at each call, because gevent replaces it
        # Windows reports an attempt that failed among the exceptional conditions.
        return {sock.fileno() for group in select.select(alarms, attempts, attempts, seconds) for sock in group}
    poll = select.poll()
    for alarm in alarms:
        poll.register(alarm, select.POLLIN)
    for sock in attempts:
        poll.register(sock, select.POLLOUT)
    return {descriptor for descriptor, _ in poll.poll(math.ceil(seconds * 1000))}
