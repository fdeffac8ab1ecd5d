"""One accepted connection, on a socket that holds its thread only while both ends are there."""

from __future__ import annotations

import math
import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Collection
from contextlib import ExitStack, suppress

from streamkit.testing.event_sockets import Signals

_AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_READ_BYTES = 65536
_LONGEST_SECONDS = 3600.0
# Bytes that a client may send ahead of what the server has taken up: the largest request, and some.
MAX_INPUT_BYTES = 65 * 1024 * 1024


class HangUp(Exception):
    """End this connection now: with a FIN, or with a RST where `reset` is true."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__("reset" if reset else "cut")
        self.reset = reset


class ClientGone(Exception):
    """The client closed its end, or reset the connection."""


class ServerClosed(Exception):
    """The server is being closed: every wait ends."""


def ready(reads: Collection[int], seconds: float | None, *, writes: Collection[int] = ()) -> set[int]:
    """Wait until a descriptor can be read, or be written where it is among `writes` too; return those.

    Question: how to wait. Options: select.select cannot take descriptors over 1,023, a selector costs a
    descriptor or a class a wait, select.poll is not on every system. Facts: a test opens hundreds of
    connections, on both ends. Answer: poll where there is one, looked up at each call, since gevent puts its
    own there. It counts milliseconds, so waits are rounded up to whole ones, in a number that longer waits than
    24 days do not fit: after an hour nothing is ready, and the caller waits again.
    """
    if seconds is not None:
        seconds = min(seconds, _LONGEST_SECONDS)
    if not hasattr(select, "poll"):
        return {fd for group in select.select(reads, writes, reads, seconds) for fd in group}
    poll = select.poll()
    for fd in reads:
        poll.register(fd, select.POLLIN | (select.POLLOUT if fd in writes else 0))
    return {fd for fd, _ in poll.poll(None if seconds is None else math.ceil(seconds * 1000))}


class SocketLine:
    """A connection as the server's thread sees it: reads, writes and waits that hear everything.

    Whatever the thread waits for, it also hears the client leave (`ClientGone`) and the server close
    (`ServerClosed`), at once. What the client sends meanwhile is kept for the next request.

    Threads: all methods belong to the one thread of the connection.
    """

    def __init__(self, sock: socket.socket, wake: socket.socket, signals: Signals) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._wake = wake  # readable once the server closes, and never read
        self._signals = signals
        self._input = bytearray()  # what the client sent and nobody has taken up

    def handshake(self) -> None:
        """Do the server's part of TLS, if there is TLS."""
        while isinstance(self._sock, ssl.SSLSocket):
            try:
                self._sock.do_handshake()
                return
            except _AGAIN as again:
                self._until_ready(None, write=isinstance(again, ssl.SSLWantWriteError), absorb=False)
            except OSError:
                raise ClientGone from None

    def read_until(self, mark: bytes, limit: int) -> bytes | None:
        """Return the bytes up to a mark, which is taken away too; None if it is not within `limit` bytes."""
        start = 0
        while (at := self._input.find(mark, start)) < 0:
            if len(self._input) > limit:
                return None
            start = max(0, len(self._input) - len(mark) + 1)
            self._fill()
        return self._take(at, len(mark)) if at <= limit else None

    def read(self, count: int) -> bytes:
        """Return exactly `count` bytes."""
        while len(self._input) < count:
            self._fill()
        return self._take(count, 0)

    def send(self, data: bytes) -> None:
        """Write all the data, in one call where the kernel has room, and wait for room where not."""
        rest: bytes | memoryview = data
        while rest:
            if sent := self._send_some(rest):
                rest = memoryview(rest)[sent:] if sent < len(rest) else b""

    def _send_some(self, data: bytes | memoryview) -> int:
        """Write what the kernel takes; if that is nothing, wait for room and return 0."""
        write = True
        try:
            if sent := self._sock.send(data):
                return sent  # 0 is what gevent's TLS sockets say instead of raising
        except _AGAIN as again:
            write = not isinstance(again, ssl.SSLWantReadError)
        except OSError:
            raise ClientGone from None
        self._until_ready(None, write=write)
        return 0

    def wait(self, seconds: float | None) -> None:
        """Wait; None waits for the end of the client or of the server."""
        self._wait(None if seconds is None else time.monotonic() + seconds)

    def wait_for(self, event: threading.Event, seconds: float) -> bool:
        """Wait for an event; return whether it was set in time."""
        deadline = time.monotonic() + seconds
        with ExitStack() as stack:
            signal = None if event.is_set() else stack.enter_context(self._signals.socket_for(event))
            while not event.is_set() and (left := deadline - time.monotonic()) > 0:
                self._until_ready(left, signal=signal)
        return event.is_set()

    def end(self, *, linger: float) -> None:
        """Send the FIN, then wait up to `linger` seconds for that of the client, so that it is noticed.

        What the client still sends is thrown away: closing a socket with unread bytes would send a RST, which
        may overtake the reply.
        """
        with suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_WR)
        deadline = time.monotonic() + linger
        while (left := deadline - time.monotonic()) > 0:
            self._input.clear()
            self._until_ready(left)

    def farewell(self) -> None:
        """Say with TLS that the body ended here and was not cut; without TLS there is nothing to say."""
        if isinstance(self._sock, ssl.SSLSocket):
            with suppress(OSError, ValueError):
                self._sock.unwrap()

    def reset(self) -> None:
        """Close with a RST."""
        shape = "hh" if os.name == "nt" else "ii"
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(shape, 1, 0))
        self._sock.close()

    def close(self) -> None:
        """Shut down and close: while a forked child holds the socket too, closing alone sends nothing."""
        with suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        self._sock.close()

    def drop(self) -> None:
        """Close this process's descriptor and leave the connection alone: for a forked child."""
        self._sock.close()

    def _take(self, count: int, skip: int) -> bytes:
        taken = bytes(self._input[:count])
        del self._input[: count + skip]
        return taken

    def _fill(self) -> None:
        had = len(self._input)
        self._absorb()
        while len(self._input) == had:
            self._until_ready(None)

    def _wait(self, deadline: float | None) -> None:
        left: float | None = None
        while deadline is None or (left := deadline - time.monotonic()) > 0:
            self._until_ready(left)

    def _until_ready(
        self,
        seconds: float | None,
        *,
        write: bool = False,
        signal: socket.socket | None = None,
        absorb: bool = True,
    ) -> None:
        """Wait until something happens on any side, and take in what the client sent.

        The client's bytes are read and not peeked at: its FIN shows only behind them, and with TLS the last
        of them may be the alert that says goodbye.
        """
        mine, wake = self._sock.fileno(), self._wake.fileno()
        reads = [mine, wake] if signal is None else [mine, wake, signal.fileno()]
        hits = ready(reads, seconds, writes=(mine,) if write else ())
        if wake in hits:
            raise ServerClosed
        if absorb and mine in hits:
            self._absorb()

    def _absorb(self) -> None:
        """Read what is there, without waiting."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except _AGAIN:
            return
        except OSError:
            raise ClientGone from None
        if not data:
            raise ClientGone
        self._input += data
        if len(self._input) > MAX_INPUT_BYTES:
            raise HangUp(reset=True)
