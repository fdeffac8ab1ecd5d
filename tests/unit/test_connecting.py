"""Connecting: addresses in turn, the first that answers is used, the others are closed, a cancel ends it."""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from streamkit.transport import connecting
from streamkit.transport.connecting import connect
from streamkit.transport.lookups import AddressInfo
from streamkit.transport.small_requests import Deadline, TimeIsUp
from tests.fault.support import NOISE, SOON, nothing_left, settle_at

V4, V6 = socket.AF_INET, socket.AF_INET6


def info(address: tuple[str, int], family: int = V4) -> AddressInfo:
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[AddressInfo]:
    """An address that answers."""
    with socket.create_server((host, 0)) as listener:
        yield info(listener.getsockname())


@contextmanager
def silent() -> Iterator[AddressInfo]:
    """An address that does not answer: a listening socket whose queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield info(listener.getsockname())


@contextmanager
def refusing() -> Iterator[AddressInfo]:
    """An address that refuses connections: a bound port without a listener."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield info(taken.getsockname())


@pytest.fixture(params=["poll", "select"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``select.poll`` and without it."""
    if request.param == "select":
        monkeypatch.delattr(select, "poll")


@pytest.mark.usefixtures("either")
def test_a_silent_address_costs_a_moment() -> None:
    """The next one is tried 250 ms later, and what lost is closed."""
    with silent() as dead, listening() as alive, nothing_left():
        began = time.monotonic()
        with connect([dead, alive], Deadline(SOON)) as sock:
            assert sock.getpeername() == alive[4]
            assert connecting._PAUSE <= time.monotonic() - began < connecting._PAUSE + NOISE


@pytest.mark.usefixtures("either")
def test_a_refusal_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one the next address is tried at once, also while others are silent."""
    monkeypatch.setattr(connecting, "_PAUSE", SOON * 4)
    with refusing() as closed, listening() as alive, nothing_left():
        began = time.monotonic()
        with connect([closed, closed, alive], Deadline(SOON * 9)) as sock:
            assert sock.getpeername() == alive[4]
        assert time.monotonic() - began < NOISE


@pytest.mark.usefixtures("either")
def test_all_fail() -> None:
    """The raised error is the failure of the last attempt."""
    with refusing() as closed, nothing_left():
        with pytest.raises(ConnectionRefusedError):
            connect([closed, closed], Deadline(SOON))


def test_no_address() -> None:
    with pytest.raises(OSError, match="the name has no address"):
        connect([], Deadline(SOON))


def test_every_address_has_its_turn_within_the_limit() -> None:
    """Many silent addresses before the one that lives do not take all the time that there is."""
    with silent() as dead, listening() as alive, nothing_left():
        with connect([*[dead] * 11, alive], Deadline(1.5)) as sock:
            assert sock.getpeername() == alive[4]


def test_the_limit_bounds_it_all() -> None:
    with silent() as dead, nothing_left():
        began = time.monotonic()
        with pytest.raises(TimeIsUp):
            connect([dead] * 5, Deadline(0.4))
        assert 0.4 <= time.monotonic() - began < 0.4 + NOISE


@pytest.mark.usefixtures("either")
def test_a_cancel_ends_it() -> None:
    """From another thread, at once, while several attempts are under way; nothing is left open."""
    with silent() as dead, nothing_left():
        hook, ended, before = Deadline(SOON * 2), threading.Event(), len(os.listdir("/proc/self/fd"))

        def run() -> None:
            with pytest.raises(TimeIsUp):
                connect([dead] * 3, hook)
            ended.set()

        thread = threading.Thread(target=run)
        thread.start()
        deadline = time.monotonic() + SOON
        while len(os.listdir("/proc/self/fd")) < before + 3:
            assert time.monotonic() < deadline
        began = time.monotonic()
        hook.halt()
        assert ended.wait(SOON)
        assert time.monotonic() - began < 0.1 + NOISE
        thread.join(SOON)
        settle_at(before)


def test_a_cancel_before_it_begins() -> None:
    hook = Deadline(SOON)
    hook.guard.shut_down()  # and the hook has not heard of it yet
    with silent() as dead, nothing_left():
        with pytest.raises(ConnectionAbortedError):
            connect([dead], hook)


def test_a_cancel_afterwards_touches_nothing() -> None:
    """The guard has released its sockets, whose descriptor numbers may be reused."""
    hook = Deadline(SOON)
    with silent() as dead, listening() as alive:
        with connect([dead, alive], hook):
            pairs = [socket.socketpair() for _ in range(4)]
            hook.halt()
            for one, other in pairs:
                with one, other:
                    one.send(b"x")
                    assert other.recv(1) == b"x"


def test_the_families_take_turns() -> None:
    """RFC 8305, section 4: beginning with the first one's, each family in its order."""
    four, six = [info((f"10.0.0.{n}", 1)) for n in range(3)], [info((f"fd00::{n}", 1), V6) for n in range(3)]
    assert connecting._in_turn([*six, *four]) == [six[0], four[0], six[1], four[1], six[2], four[2]]
    assert connecting._in_turn([*four[:1], *six]) == [four[0], *six]
    assert connecting._in_turn([]) == []


def test_a_family_that_the_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that no socket can be made for is passed over."""
    real = socket.socket

    def make(family: int = -1, *args: int, **kwargs: object) -> socket.socket:
        if family == V6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *args, **kwargs)  # type: ignore[arg-type]

    with listening() as alive:
        monkeypatch.setattr(socket, "socket", make)
        with connect([info(("::1", 1), V6), alive], Deadline(SOON)) as sock:
            assert sock.getpeername() == alive[4]


def test_options_and_the_local_end() -> None:
    with listening() as alive:
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        with connect([alive], Deadline(SOON), options=options, source_address=("127.0.0.2", 0)) as sock:
            assert sock.getsockname()[0] == "127.0.0.2"
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        with pytest.raises(OSError, match="assign requested address"):
            connect([alive], Deadline(SOON), source_address=("192.0.2.1", 0))


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such option")
def test_what_nobody_acknowledges_is_bounded() -> None:
    """By the same time as an idle connection: the probes' pauses together."""
    with listening() as alive, connect([alive], Deadline(SOON)) as sock:
        idle, pause, count = (
            sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        )
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == (idle + pause * count) * 1000
