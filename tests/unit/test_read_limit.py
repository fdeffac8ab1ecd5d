"""The bound of the time in which a client sends its request."""

from __future__ import annotations

import socket
import threading

from streamkit.web.read_limit import reading_within
from tests.unit.support import SOON


def test_a_reader_that_waits_finds_the_end() -> None:
    """When the time runs out, recv() returns the end, also while bytes trickle in, and the socket can be written."""
    client, server = socket.socketpair()
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.02):
            try:
                client.send(b"x")
            except OSError:
                return

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        with reading_within(server, 0.3) as reading:
            while server.recv(1):
                pass
        assert reading.too_late
        server.sendall(b"too slow")
        client.settimeout(SOON)
        assert b"too slow" == client.recv(100)
    finally:
        stop.set()
        thread.join(SOON)
        client.close()
        server.close()


def test_one_that_is_over_is_left_alone() -> None:
    """A socket whose reading ended in time is not touched later, and many at once each have a bound of their own."""
    pairs = [socket.socketpair() for _ in range(20)]
    late = []
    for _, server in pairs[:10]:
        with reading_within(server, 0.4):  # the ten others take longer than this
            pass
    for _, server in pairs[10:]:
        with reading_within(server, 0.05) as reading:
            assert b"" == server.recv(1)
        late.append(reading.too_late)
    assert [True] * 10 == late
    for client, server in pairs[:10]:
        client.sendall(b"y")
        assert b"y" == server.recv(1)
    for client, server in pairs:
        client.close()
        server.close()


def test_without_a_socket_nothing_is_bounded() -> None:
    """A server that does not hand over its socket is left alone."""
    with reading_within(None, 0.0) as reading:
        pass
    assert not reading.too_late
