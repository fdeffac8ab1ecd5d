"""A SOCKS proxy on loopback: versions 5 (RFC 1928, with the passwords of RFC 1929), 4 and 4a, with faults on demand."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from tests.fault.support import SOON

__all__ = ["Phase", "SocksProxy"]

Phase = Literal["greeting", "password", "request"]  # of the client's, whose answer is meant


class _Gone(Exception):
    """The client or the server left."""


class SocksProxy:
    """Relays connections, and keeps what it was asked for.

    Args:
        user, password: are asked for, by version 5; ``None`` lets everybody in.
        mute: the phase whose answer never comes.
        trickle: send each answer in single bytes, this many seconds apart.
        refusal: the status of the answer to a request, in place of success.
        garbage: is sent in place of the first answer.

    Attributes:
        asked: for each request the version, the host as it was written, and the port.
        waiting: is set when the proxy falls mute.
    """

    def __init__(
        self,
        *,
        user: str | None = None,
        password: str = "",
        mute: Phase | None = None,
        trickle: float | None = None,
        refusal: int | None = None,
        garbage: bytes | None = None,
    ) -> None:
        self.asked: list[tuple[int, str, int]] = []
        self.waiting = threading.Event()
        self._login = None if user is None else (user.encode(), password.encode())
        self._mute, self._trickle, self._refusal, self._garbage = mute, trickle, refusal, garbage
        self._closing = threading.Event()
        self._lock = threading.Lock()  # guards _open and _threads
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def url(self, scheme: str, login: str = "") -> str:
        """Return the address for a scheme, such as ``socks5h``."""
        return f"{scheme}://{login}127.0.0.1:{self.port}"

    def __enter__(self) -> SocksProxy:
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything, and wait for all threads."""
        self._closing.set()
        with self._lock:
            for sock in (self._listener, *self._open):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(SOON)
            assert not thread.is_alive()

    def _start(self, target: Callable[..., object], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._start(self._serve, near)

    def _serve(self, near: socket.socket) -> None:
        """Serve one client, and close both ends when either has ended."""
        with near:
            self._enter(near)
            try:
                with suppress(OSError, _Gone):
                    address = self._negotiate(near)
                    with socket.create_connection(address, timeout=SOON) as far:
                        far.settimeout(None)
                        self._enter(far)
                        try:
                            self._relay(near, far)
                        finally:
                            self._leave(far)
            finally:
                self._leave(near)

    def _enter(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.add(sock)
        if self._closing.is_set():
            raise _Gone

    def _leave(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.discard(sock)

    @staticmethod
    def _relay(near: socket.socket, far: socket.socket) -> None:
        """Pass bytes on until either end has ended, and have the other end as well: by a RST if it was one."""
        other = {near: far, far: near}
        try:
            while True:
                for source in select.select([near, far], [], [])[0]:
                    if not (data := source.recv(65536)):
                        return
                    other[source].sendall(data)
        except ConnectionResetError:
            for sock in other:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _negotiate(self, near: socket.socket) -> tuple[str, int]:
        version = self._read(near, 1)[0]
        return self._negotiate_5(near) if version == 5 else self._negotiate_4(near)

    def _negotiate_5(self, near: socket.socket) -> tuple[str, int]:
        methods = self._read(near, self._read(near, 1)[0])
        method = 0 if self._login is None else 2
        self._answer(near, "greeting", bytes([5, method if method in methods else 0xFF]))
        if self._login is not None:
            assert self._read(near, 1) == b"\x01"
            login = tuple(self._read(near, self._read(near, 1)[0]) for _ in range(2))
            self._answer(near, "password", bytes([1, login != self._login]))
        assert self._read(near, 3) == b"\x05\x01\x00"
        kind = self._read(near, 1)[0]
        if kind == 3:
            host = self._read(near, self._read(near, 1)[0]).decode("ascii")
        else:
            host = socket.inet_ntop(
                *((socket.AF_INET, self._read(near, 4)) if kind == 1 else (socket.AF_INET6, self._read(near, 16)))
            )
        return self._take(near, 5, host, b"\x05%c\x00\x01\x7f\x00\x00\x01\x00\x00" % (self._refusal or 0))

    def _negotiate_4(self, near: socket.socket) -> tuple[str, int]:
        assert self._read(near, 1) == b"\x01"
        port, address = self._read(near, 2), self._read(near, 4)
        self._read_text(near)  # the user
        host = self._read_text(near) if address[:3] == bytes(3) else socket.inet_ntoa(address)
        return self._take(near, 4, host, b"\x00%c" % (self._refusal or 0x5A) + port + address, port)

    def _take(
        self, near: socket.socket, version: int, host: str, answer: bytes, port: bytes | None = None
    ) -> tuple[str, int]:
        number = struct.unpack(">H", port or self._read(near, 2))[0]
        self.asked.append((version, host, number))
        self._answer(near, "request", answer)
        return ("127.0.0.1" if host.endswith(".invalid") else host), number

    def _answer(self, near: socket.socket, phase: Phase, data: bytes) -> None:
        if phase == self._mute:
            self.waiting.set()
            near.recv(1)  # until the client leaves
            raise _Gone
        for piece in [bytes([byte]) for byte in data] if self._trickle else [self._garbage or data]:
            near.sendall(piece)
            if self._trickle and self._closing.wait(self._trickle):
                raise _Gone
        if (
            self._garbage
            or data[1] == 0xFF
            or (phase == "password" and data[1])
            or (phase == "request" and self._refusal)
        ):
            raise _Gone

    def _read(self, near: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            if not (more := near.recv(count - len(data))):
                raise _Gone
            data += more
        return data

    def _read_text(self, near: socket.socket) -> str:
        data = b""
        while (byte := self._read(near, 1)) != b"\x00":
            data += byte
        return data.decode("ascii")
