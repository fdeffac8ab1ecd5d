"""A network that a test can slow down or cut, for a process in its own network namespace.

The far hosts are addresses of 10.9.0.0/24, fd09::/64 and fe80::/64 behind a tun device. This process receives
their packets, and sends them back with sender and receiver exchanged. So each far host is this host under another
address, and checksums stay valid. The kernel does the rest, and no packet reaches another network. The namespace and
the device are removed with the process.
"""

from __future__ import annotations

import fcntl
import os
import queue
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import streamkit
import streamkit.testing.server

__all__ = ["Network", "isolated"]

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_SETUP = """
addr add 10.9.0.1/24 dev {name}
-6 addr add fd09::1/64 dev {name} nodad
link set {name} up
-6 addr add fe80::1/64 dev {name} nodad
"""
# Loopback first, as urllib3 looks whether there is IPv6 when it is imported.
_ISOLATE = ["unshare", "--map-root-user", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
_SECONDS = 60  # that a program may take


class Network:
    """The network; make one in an isolated process only.

    ``dead`` holds addresses whose packets are dropped, ``forgotten`` local ports. Both are replaced and not changed, by
    the thread that made the network; the thread that passes packets on reads them.

    Args:
        name: of the device, which is the zone of its IPv6 addresses.
        delay: seconds that each packet takes, so a round trip takes twice that.
    """

    def __init__(self, name: str = "net0", *, delay: float = 0.0) -> None:
        self.dead: frozenset[str] = frozenset()
        self.forgotten: frozenset[int] = frozenset()
        self.dark = False
        self._delay = delay
        self._ports: set[int] = set()  # of far connections; both threads add to it and copy it, under the lock
        self._lock = threading.Lock()
        self._device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self._device, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
        for line in _SETUP.format(name=name).strip().splitlines():
            subprocess.run(["ip", *line.split()], check=True)
        self._passing: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        for work in (self._receive, self._pass_on):
            threading.Thread(target=work, daemon=True).start()

    def forget_connections(self) -> None:
        """Drop from now on whatever belongs to a connection that there is, as a firewall does that lost its table."""
        with self._lock:
            self.forgotten = frozenset(self._ports)

    def _receive(self) -> None:
        while True:
            packet = os.read(self._device, 65536)
            if packet[0] >> 4 == 4:
                size, where, header, kind = 4, 12, (packet[0] & 15) * 4, packet[9]
                family = socket.AF_INET
            else:
                size, where, header, kind, family = 16, 8, 40, packet[6], socket.AF_INET6
            one, other = packet[where : where + size], packet[where + size : where + 2 * size]
            if kind != socket.IPPROTO_TCP:
                continue
            ports = set(struct.unpack("!HH", packet[header : header + 4]))
            with self._lock:
                self._ports |= ports - _ports_listened_on
            addresses = {socket.inet_ntop(family, one), socket.inet_ntop(family, other)}
            if not (self.dark or addresses & self.dead or ports & self.forgotten):
                exchanged = packet[:where] + other + one + packet[where + 2 * size :]
                self._passing.put((time.monotonic() + self._delay, exchanged))

    def _pass_on(self) -> None:
        while True:
            at, packet = self._passing.get()
            time.sleep(max(0.0, at - time.monotonic()))
            os.write(self._device, packet)


_ports_listened_on: set[int] = set()


def _listen_everywhere(port: int, send_buffer: int | None) -> socket.socket:
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=100)
    listener.setblocking(False)
    _ports_listened_on.add(listener.getsockname()[1])
    return listener


def run(program: str) -> None:
    """Run a program where ``Server`` is reached from the far hosts, and leave at its end, whatever still runs."""
    streamkit.testing.server._listen = _listen_everywhere
    scope: dict[str, object] = {"Network": Network}
    exec(compile(program, "<program>", "exec"), scope)
    sys.stdout.flush()
    os._exit(0)


def _isolated(program: str, seconds: float) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    package = Path(streamkit.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(package), str(root)])}
    code = f"from tests.fault.simulated_network import run; run({textwrap.dedent(program)!r})"
    return subprocess.run(
        [*_ISOLATE, sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=seconds
    )


def isolated(program: str) -> list[str]:
    """Run a program in a namespace of its own and return the lines that it prints.

    It is skipped where the system does not allow one.
    """
    reason = _why_not()
    if reason:
        pytest.skip(f"no network namespace with a tun device here: {reason}")
    result = _isolated(program, _SECONDS)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout.splitlines()


_known: list[str] = []  # why there can be none, once that was found out; "" where there can


def _why_not() -> str:
    if not _known:
        try:
            result = _isolated("Network()", 20)
            reason = result.stderr.strip().splitlines()[-1] if result.returncode else ""
        except OSError as error:
            reason = str(error)
        _known.append(reason)
    return _known[0]
