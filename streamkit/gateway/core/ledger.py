"""Balances, reservations and charges that are never wrong: ``Ledger``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import sqlalchemy as sa

from streamkit.errors import ConfigError, MisuseError, StoreError, StreamkitError
from streamkit.gateway.core.checking import find_problems
from streamkit.gateway.core.database import GatewayDatabase
from streamkit.gateway.core.ending import End, Recover
from streamkit.gateway.core.fields import amount_of, cleaned_about, cleaned_outcome, holder_name, key_of
from streamkit.gateway.core.holders import Payer
from streamkit.gateway.core.leases import Clocks
from streamkit.gateway.core.operations import AddMoney, Keep, Operation
from streamkit.gateway.core.records import About, Balance, Charge, Problem, Reservation, Settlement, Usage
from streamkit.gateway.core.reports import read_charges, read_usage
from streamkit.gateway.core.reserving import Reserve
from streamkit.gateway.core.sheet import Sheet, holders_of
from streamkit.gateway.core.tables import accounts, reservations
from streamkit.gateway.core.windows import HOUR, forget_old
from streamkit.settings import seconds_of
from streamkit.sql.writer import Outcome

__all__ = ["Ledger"]

_AT_ONCE = 100  # reservations that are recovered in one transaction


class Ledger:
    """Reserves, settles and releases amounts, and keeps the sums.

    Amounts are whole numbers of nano, see ``money``. Each method is one transaction. A call that failed with a
    StoreError may be repeated with the same id: what was done already is not done twice.

    Every movement has two sides, whose sum is zero. A request moves its amount from the account to what is reserved,
    and from there to what is spent; what is left goes back. A balance never goes below zero. The account of a payer
    with ``overdraft`` keeps its balance: its requests are paid from outside.

    A request whose process has died is found by its lease: ``keep`` renews the leases of a process, and ``recover``
    ends the reservations whose lease ran out. By which clock, says ``leases``. Where the process was only slow, its own
    ``settle`` or ``release`` corrects the charge, once.

    Threads: any; each call waits for at most the database's ``timeout``. Any number of processes.

    Owner of the fields: ``_forget_at`` and ``_failed_at`` are written by single assignments, by any thread; the others
    never change.

    Args:
        database: keeps it all.
        clock: seconds since 1970. The default stands for the server's clock on PostgreSQL. Leases go by any other.
        lease: seconds after which a reservation is recovered that was not kept; at least a few times as long as the
            time between two calls of ``keep``.
        lease_clock: seconds on a clock for leases alone, for tests.
    """

    def __init__(
        self,
        database: GatewayDatabase,
        *,
        clock: Callable[[], float] = time.time,
        lease: float = 10.0,
        lease_clock: Callable[[], float] | None = None,
    ) -> None:
        seconds = seconds_of(lease, "Ledger(lease=...)")
        if not seconds:
            raise ConfigError("Ledger(lease=...) is a number of seconds above 0")
        self._database = database
        self._clocks = Clocks(is_sqlite=database.is_sqlite, clock=clock, lease_clock=lease_clock)
        self._lease = seconds
        self._forget_at = 0.0  # on time.monotonic; two threads may both forget, which does no harm
        self._failed_at = -math.inf  # on time.monotonic; when the database failed for the last time

    # -- money -------------------------------------------------------------------------------------------

    def balance(self, account: str) -> Balance:
        """Return the sums of an account; zeros where nothing has moved.

        Raises:
            StoreError: the database cannot be read.
        """
        columns = accounts.c
        wanted = sa.select(columns.available, columns.reserved, columns.spent).where(columns.name == account)
        row = self._database.read(lambda connection: connection.execute(wanted).first())
        return Balance() if row is None else Balance(*row)

    def top_up(self, account: str, amount: int, *, id: str, by: str, note: str = "") -> int:
        """Put money into an account, or take it out, and note that for the audit.

        Args:
            account: the name of a holder.
            amount: in nano; negative to take it out, never more than is available.
            id: of this top-up. The same one again changes nothing, and returns the same.
            by: who does it.
            note: for people.

        Returns:
            What is available in the account afterwards.

        Raises:
            RequestError: there is less in it than is to be taken out (402, ``insufficient_balance``).
            ConfigError: a value is wrong, or the id was used for another top-up.
            StoreError: the database cannot be written.
        """
        amount_of(abs(amount) if type(amount) is int else amount, "the amount of a top-up")
        operation = AddMoney(
            holder_name(account),
            amount,
            key_of(id, "the id of a top-up"),
            key_of(by, "who tops up"),
            note.encode("utf-8", "replace").decode().replace("\0", ""),
        )
        available: int = self._do(operation)
        return available

    def reserve(
        self, payer: Payer, request_id: str, wanted: int, *, least: int | None = None, about: About
    ) -> Reservation:
        """Put an amount aside for a request, before it is sent.

        Args:
            payer: who pays, and whose limits hold.
            request_id: the same one again gives the same reservation.
            wanted: in nano: the most that the request may cost.
            least: in nano: what is enough, where balance or limits allow less than is wanted; then as much is reserved
                as they allow. ``None``: all that is wanted.
            about: the request, for reports. Its token and team are those of the payer's holders.

        Raises:
            RequestError: the balance (402, ``insufficient_balance``) or a limit (402, ``spending_limit_exceeded``)
                does not allow it, or too many requests are under way (429, ``too_many_streams``). Nothing was reserved.
            ConfigError: a value is wrong, or the id was used for another account.
            StoreError: the database cannot be written.
        """
        amount_of(wanted, "the amount of a reservation")
        least = wanted if least is None else min(amount_of(least, "the least amount of a reservation"), wanted)
        holders = [holder.name for holder in payer.holders]
        if holders != holders_of(about.token, about.team) or payer.account not in holders:
            raise ConfigError("the holders of a payer are the token and the team of its request, and one of them pays")
        for name in holders:
            holder_name(name)
        key_of(request_id, "the id of a request")
        reservation: Reservation = self._do(Reserve(payer, request_id, wanted, least, cleaned_about(about)))
        return reservation

    def keep(self, known: Mapping[str, int]) -> frozenset[str]:
        """Renew the leases of requests that are under way, and note what each has cost so far.

        Args:
            known: what is known to be spent, in nano, by the id of the request: of all requests of this process.

        Returns:
            The requests that are no more under way: they were settled or released, or another process has recovered
            them, as this one was too slow.

        Raises:
            StoreError: the database cannot be written.
        """
        if not known:
            return frozenset()
        for amount in known.values():
            amount_of(amount, "what a request has cost")
        lost: frozenset[str] = self._do(Keep(dict(known)))
        return lost

    def settle(self, request_id: str, amount: int, *, outcome: Settlement) -> Charge:
        """End a request by what it has cost. When this returns, the charge is durable.

        Where that is more than was reserved, the rest is taken from the balance as far as it is there, and from the
        gateway's own account ``shortfall``. What is left of the reservation goes back.

        The first end of a request stands, except one by ``recover``, which this replaces.

        Args:
            request_id: of a reservation.
            amount: in nano.
            outcome: for reports.

        Raises:
            ConfigError: the amount is wrong.
            MisuseError: nothing was reserved for this request.
            StoreError: the database cannot be written.
        """
        amount_of(amount, "the amount of a charge")
        charge: Charge = self._do(End(request_id, amount, cleaned_outcome(outcome), "settled"))
        return charge

    def release(self, request_id: str, *, outcome: Settlement) -> None:
        """End a request that has cost nothing; one that has its charge, or was never reserved, is left alone.

        The first end of a request stands, except one by ``recover``, which this replaces.

        Raises:
            StoreError: the database cannot be written.
        """
        self._do(End(request_id, 0, cleaned_outcome(outcome), "released", must_exist=False))

    def recover(self) -> list[Charge]:
        """End the reservations whose lease ran out: by what is known of their cost, which is marked as an estimate.

        Any number of processes may do this, at any time. Call it when a process starts, and every few seconds.

        Where the database has failed in this process, nothing is recovered for as long as a lease lasts: the others
        could not keep their requests meanwhile either, and are given the time to do so.

        Returns:
            The new charges.

        Raises:
            StoreError: the database cannot be read or written; what was not done is done the next time.
        """
        if time.monotonic() < self._failed_at + self._lease:
            return []
        try:
            ids = self._database.read(self._expired)
        except StoreError:
            self._failed_at = time.monotonic()
            raise
        charges: list[Charge] = []
        for first in range(0, len(ids), _AT_ONCE):
            charges += self._do(Recover(tuple(ids[first : first + _AT_ONCE])))
        if time.monotonic() > self._forget_at:
            self._forget_at = time.monotonic() + HOUR
            self._database.write(lambda connection: forget_old(connection, self._clocks.now(connection).at))
        return charges

    def _expired(self, connection: sa.Connection) -> list[str]:
        now, columns = self._clocks.now(connection), reservations.c
        wanted = sa.select(columns.request_id).where(
            sa.or_(
                sa.and_(columns.clock == now.clock, columns.lease_until <= now.ticks),
                sa.and_(columns.clock != now.clock, columns.lease_wall <= now.at),
            )
        )
        return list(connection.execute(wanted.order_by(columns.request_id)).scalars())

    # -- operations --------------------------------------------------------------------------------------

    def _do(self, operation: Operation) -> Any:
        try:
            # A power cut takes the replies under way with it: what was put aside for them need not survive it.
            durable = not isinstance(operation, (Reserve, Keep))
            return self._database.write_in(self._run, operation, durable=durable)
        except StoreError:
            self._failed_at = time.monotonic()
            raise

    def _run(self, connection: sa.Connection, operations: Sequence[Operation]) -> list[Outcome]:
        """Do operations on one sheet. A ``Group`` of the writer."""
        sheet = Sheet(connection, self._clocks, self._lease)
        sheet.read_requests(
            {id for each in operations for id in each.requests()},
            {id for each in operations if not isinstance(each, Keep) for id in each.requests()},
        )
        sheet.read_accounts(
            {name for each in operations for name in _accounts_of(each, sheet)},
            topups={each.id for each in operations if isinstance(each, AddMoney)},
            spent={name for each in operations if isinstance(each, Reserve) for name in each.windows()},
        )
        outcomes = [_outcome(each, sheet) for each in operations]
        sheet.write()
        return outcomes

    # -- reports -----------------------------------------------------------------------------------------

    def check(self) -> list[Problem]:
        """Prove the sums; return whatever is wrong, at most a thousand problems.

        The sum of all entries is zero, and so is that of each movement. Each balance is the sum of its entries, and
        none is below zero. Each reservation is open or has one charge, and their amounts are those of the entries. What
        is reserved, how many requests are under way, and the sums for limits are those of reservations and charges.

        Raises:
            StoreError: the database cannot be read.
        """
        return self._database.read(lambda connection: find_problems(connection, self._clocks))

    def usage(
        self,
        holder: str | None = None,
        *,
        since: float,
        until: float,
        by: Literal["day", "model", "token", "team", "provider", "label"] = "day",
    ) -> list[Usage]:
        """Return sums of the charges in a time, in the order of their keys.

        Args:
            holder: ``token:<id>`` or ``team:<name>``; ``None`` for all.
            since: seconds since 1970.
            until: seconds since 1970; a charge at this moment is not in it.
            by: what is added up; a day is one of UTC.

        Raises:
            StoreError: the database cannot be read.
        """
        return self._database.read(lambda connection: read_usage(connection, holder, since, until, by))

    def charges(self, holder: str | None = None, *, since: float = 0.0, until: float | None = None) -> Iterator[Charge]:
        """Yield the charges in a time, the oldest first; they are read in parts, however many there are.

        Args:
            holder: see ``usage``.
            since: seconds since 1970.
            until: seconds since 1970; ``None`` for all.

        Raises:
            StoreError: the database cannot be read.
        """
        return read_charges(self._database.read, holder, since, until)

    def __repr__(self) -> str:
        return f"<Ledger {self._database.name}>"


def _accounts_of(operation: Operation, sheet: Sheet) -> Iterator[str]:
    """Yield the names of the accounts that an operation needs."""
    yield from operation.accounts()
    if isinstance(operation, Keep):
        return
    for id in operation.requests():
        found = sheet.reservations.get(id) or sheet.charges.get(id)
        if found is not None:
            yield found.account
            yield from holders_of(found.token, found.team)


def _outcome(operation: Operation, sheet: Sheet) -> Outcome:
    try:
        return Outcome(operation.apply(sheet))
    except (StreamkitError, MisuseError) as error:  # any other one is a mistake of ours: nothing is written
        return Outcome(error=error)
