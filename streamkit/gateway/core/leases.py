"""By which clock the lease of a reservation runs out: ``Clocks``.

On PostgreSQL it is the server's: one clock for all machines, whose own clocks may differ or jump.

On SQLite all processes are of one machine, and the clock of a lease is that of ``time.monotonic``, which Linux has for
the whole machine: NTP does not set it, and it stands still while the machine is suspended, as the processes do. It
begins anew with each boot, so each lease says whose it is. A lease of another boot, or of another container that does
not share the clock, and each lease on a system where the boot has no name, goes by the seconds since 1970.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import attrs
import sqlalchemy as sa

from streamkit.sql.statements import Call, Statement, fetch

__all__ = ["Clocks", "Now", "machine_clock"]


@attrs.frozen
class Now:
    """A moment on the clocks that a batch of operations uses.

    Attributes:
        at: seconds since 1970, of reservations and charges.
        clock: the name of the clock of leases; "" where that is the one of ``at``.
        ticks: seconds on it.
    """

    at: float
    clock: str
    ticks: float

    def is_over(self, clock: str, until: float, wall: float) -> bool:
        """Return whether a lease has run out.

        Args:
            clock: of the lease.
            until: on that clock.
            wall: the same in seconds since 1970.
        """
        return self.ticks >= until if clock == self.clock else self.at >= wall


class Clocks:
    """The clocks of a ledger.

    Args:
        is_sqlite: whether the database is a file of SQLite.
        clock: seconds since 1970; ``time.time`` stands for the server's on PostgreSQL. Leases go by any other.
        lease_clock: seconds, for leases alone; for tests.
    """

    def __init__(
        self,
        *,
        is_sqlite: bool,
        clock: Callable[[], float] = time.time,
        lease_clock: Callable[[], float] | None = None,
    ) -> None:
        self._clock = clock
        self._of_server = clock is time.time and not is_sqlite
        if lease_clock is not None:
            self._name, self._ticks = "given", lease_clock
        else:
            self._name = machine_clock() if clock is time.time and is_sqlite else ""
            self._ticks = time.monotonic

    def now(self, connection: sa.Connection) -> Now:
        """Return the present moment; on PostgreSQL the server is asked for it."""
        return self.read(*fetch(connection, [self.question()]))

    def question(self) -> Call | None:
        """Return the statement that asks the server for its time; ``None`` where nobody has to be asked."""
        return _SERVER_CLOCK() if self._of_server else None

    def read(self, rows: Sequence[Sequence[Any]]) -> Now:
        """Return the present moment.

        Args:
            rows: of ``question``.
        """
        at = float(rows[0][0]) if self._of_server else self._clock()
        return Now(at, self._name, self._ticks() if self._name else at)


# Not now(), which is the beginning of the transaction.
_SERVER_CLOCK = Statement(lambda _dialect: sa.select(sa.extract("epoch", sa.func.clock_timestamp())))


@cache
def machine_clock() -> str:
    """Return a name of ``time.monotonic`` that all processes share for which it is the same clock; "" for none."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
    except OSError:
        return ""
    try:
        space = os.readlink("/proc/self/ns/time")  # in a namespace of its own it may be another clock
    except OSError:
        space = ""
    return f"{boot}/{space}"
