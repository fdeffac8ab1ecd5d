"""Time limits of sockets that the kernel keeps."""

from __future__ import annotations

import math
import socket
import ssl
import sys

import pytest

from streamkit.concurrency.kernel_limits import let_kernel_limit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have other structures")


@pytest.mark.parametrize("seconds", [0.05, 1e-9])
def test_a_read_ends(seconds: float) -> None:
    """A read that takes longer raises; one that does not gets its bytes, and ``settimeout`` undoes the limit."""
    here, there = socket.socketpair()
    with here, there:
        assert let_kernel_limit(here, socket.SO_RCVTIMEO, seconds)
        with pytest.raises(BlockingIOError):
            here.recv(1)
        there.sendall(b"x")
        assert b"x" == here.recv(1)
        here.settimeout(0.05)
        with pytest.raises(TimeoutError):
            here.recv(1)


def test_a_write_ends() -> None:
    """A write that nobody takes raises, and so does sendall() after a part of it."""
    here, there = socket.socketpair()
    with here, there:
        assert let_kernel_limit(here, socket.SO_SNDTIMEO, 0.05)
        with pytest.raises(BlockingIOError):
            here.sendall(b"x" * 50_000_000)


def test_no_limit() -> None:
    """An infinite limit is none, also after another one."""
    here, there = socket.socketpair()
    with here, there:
        assert let_kernel_limit(here, socket.SO_RCVTIMEO, 0.05)
        assert let_kernel_limit(here, socket.SO_RCVTIMEO, math.inf)
        assert bytes(16) == here.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)


def test_others_are_left_alone() -> None:
    """Sockets with TLS, and those of other libraries, keep the limit that they have."""

    class Other(socket.socket):
        pass

    with Other() as other:
        other.settimeout(3.0)
        assert not let_kernel_limit(other, socket.SO_RCVTIMEO, 1.0)
        assert 3.0 == other.gettimeout()
    context = ssl.create_default_context()
    with context.wrap_socket(socket.socket(), server_hostname="x", do_handshake_on_connect=False) as tls:
        assert not let_kernel_limit(tls, socket.SO_RCVTIMEO, 1.0)
