"""The rows that a batch of operations of the ledger works on: ``Sheet``.

They are read at once, changed in memory, and written at once: so fifty operations on one account cost about as many
statements as one. On PostgreSQL they are locked in a fixed order: reservations, charges, accounts, each by its key.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from streamkit.gateway.core import tables
from streamkit.gateway.core.leases import Clocks, Now
from streamkit.gateway.core.records import Charge, charge_of
from streamkit.gateway.core.windows import Spent, spent_by, starts_of
from streamkit.sql.statements import ByKeys, Call, Statement, fetch, run

__all__ = [
    "RESERVED",
    "SHORTFALL",
    "SPENT",
    "WORLD",
    "Account",
    "Open",
    "Sheet",
    "TopUp",
    "holders_of",
    "reserved_of",
    "spent_of",
]

_asdict = partial(attrs.asdict, recurse=False)

#: The account of all money outside.
WORLD = "world"
#: The gateway's own account, which pays what an account has no money for.
SHORTFALL = "shortfall"
#: The beginnings of two more accounts of each holder; its own has its name alone.
RESERVED = "reserved/"
SPENT = "spent/"


def reserved_of(account: str) -> str:
    """Return the account of what an account has put aside."""
    return f"{RESERVED}{account}"


def spent_of(account: str) -> str:
    """Return the account of what an account has spent."""
    return f"{SPENT}{account}"


def holders_of(token: str, team: str) -> list[str]:
    """Return the names of a request's holders."""
    return [name for name in (token and f"token:{token}", team and f"team:{team}") if name]


@attrs.define(eq=False)
class Account:
    """A row of ``accounts``."""

    name: str
    available: int = 0
    reserved: int = 0
    spent: int = 0
    open_amount: int = 0
    streams: int = 0


@attrs.define(eq=False)
class Open:
    """A row of ``reservations``."""

    request_id: str
    account: str
    token: str
    team: str
    overdraft: bool = attrs.field(converter=bool)
    amount: int
    known: int | None
    at: float
    clock: str
    lease_until: float
    lease_wall: float
    model: str
    endpoint: str
    label: str

    @property
    def holders(self) -> list[str]:
        """The names of its holders."""
        return holders_of(self.token, self.team)


@attrs.frozen
class TopUp:
    """A row of ``topups``."""

    id: str
    account: str
    amount: int
    available: int
    at: float
    by: str
    note: str


def _found(table: sa.Table, key: sa.Column[Any]) -> ByKeys:
    """Return the statement that reads and locks rows by their keys, in the order of these."""
    return ByKeys(lambda condition: sa.select(table).where(condition).order_by(key).with_for_update(), key)


def _changed(table: sa.Table, key: sa.Column[Any], names: Iterable[str]) -> Statement:
    """Return the statement that changes columns of a row; its key is the parameter ``key``."""
    values: dict[str, Any] = {name: sa.bindparam(name) for name in names}
    change = sa.update(table).where(key == sa.bindparam("key", type_=key.type)).values(values)
    return Statement(lambda _dialect: change)


def _added(table: sa.Table, *, but: str = "") -> Statement:
    """Return the statement that adds a row, without a column that counts by itself."""
    return Statement(lambda _dialect: sa.insert(table).inline(), [each.name for each in table.c if each.name != but])


def _account_if_missing(dialect: str) -> Any:
    return _INSERTS[dialect](tables.accounts).on_conflict_do_nothing()


def _more_spent(dialect: str) -> Any:
    columns, insert = tables.spending.c, _INSERTS[dialect](tables.spending)
    more = {"amount": columns.amount + insert.excluded.amount}
    return insert.on_conflict_do_update(index_elements=[columns.holder, columns.width, columns.start], set_=more)


_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_SUMS = ("available", "reserved", "spent", "open_amount", "streams")
_LEASE = ("known", "clock", "lease_until", "lease_wall")

_READ_OPEN = _found(tables.reservations, tables.reservations.c.request_id)
_READ_CHARGES = _found(tables.charges, tables.charges.c.request_id)
_READ_ACCOUNTS = _found(tables.accounts, tables.accounts.c.name)
_READ_TOPUPS = _found(tables.topups, tables.topups.c.id)

_ADD_OPEN = _added(tables.reservations)
_END_OPEN = Statement(
    lambda _dialect: sa.delete(tables.reservations).where(
        tables.reservations.c.request_id == sa.bindparam("key", type_=sa.String)
    )
)
_RENEW = _changed(tables.reservations, tables.reservations.c.request_id, _LEASE)
_ADD_ACCOUNT = Statement(_account_if_missing, [each.name for each in tables.accounts.c])
_CHANGE_ACCOUNT = _changed(tables.accounts, tables.accounts.c.name, _SUMS)
_ADD_ENTRY = _added(tables.entries, but="number")
_ADD_CHARGE = _added(tables.charges)
_CORRECT = _changed(
    tables.charges,
    tables.charges.c.request_id,
    [each.name for each in tables.charges.c if each.name != "request_id"],
)
_ADD_SPENDING = Statement(_more_spent, [each.name for each in tables.spending.c])
_ADD_TOPUP = _added(tables.topups)
_ADD_AUDIT = _added(tables.audit, but="number")


class Sheet:
    """The rows of a batch of operations, and what the batch changes in them.

    An operation decides before it changes anything: one that raises has changed nothing.

    Args:
        connection: in a transaction that writes.
        clocks: tell the moment of the batch.
        lease: seconds for which a reservation is safe from being recovered.

    Attributes:
        now: the moment of the batch.
        accounts: by name.
        reservations: that are open, by the id of the request.
        charges: by the id of the request.
        topups: by their ids.
        spent: of holders, by name.
    """

    def __init__(self, connection: sa.Connection, clocks: Clocks, lease: float) -> None:
        self.now = Now(0.0, "", 0.0)
        self.accounts: dict[str, Account] = {}
        self.reservations: dict[str, Open] = {}
        self.charges: dict[str, Charge] = {}
        self.topups: dict[str, TopUp] = {}
        self.spent: dict[str, Spent] = {}
        self._connection = connection
        self._clocks = clocks
        self._lease = lease
        self._written: set[str] = set()  # the requests whose open reservation is a row
        self._charged: set[str] = set()  # the requests whose charge is a row
        self._ended: set[str] = set()
        self._kept: set[str] = set()
        self._changed_charges: set[str] = set()
        self._touched: set[str] = set()  # names of accounts
        self._entries: list[dict[str, Any]] = []
        self._spending: dict[tuple[str, int, int], int] = {}
        self._new_topups: list[TopUp] = []

    # -- reading -----------------------------------------------------------------------------------------

    def read_requests(self, ids: Collection[str], ended: Collection[str]) -> None:
        """Read the open reservations of requests, and the time.

        Args:
            ids: of the requests.
            ended: of those whose charges are read as well.
        """
        calls = [self._clocks.question(), _READ_OPEN(sorted(ids)), _READ_CHARGES(sorted(ended))]
        time, found, charges = fetch(self._connection, calls)
        self.now = self._clocks.read(time)
        for row in found:
            self.reservations[row[0]] = Open(*row)
        self._written.update(self.reservations)
        for row in charges:
            self.charges[row[0]] = charge_of(row)
        self._charged.update(self.charges)

    def read_accounts(self, names: Collection[str], *, topups: Collection[str], spent: Collection[str]) -> None:
        """Read accounts, and make those that are missing; then what their locks guard.

        Args:
            names: of the accounts.
            topups: ids of top-ups.
            spent: names of holders of which it is needed what they have spent.
        """
        holders = sorted(spent)
        found, added, *sums = fetch(
            self._connection,
            [
                _READ_ACCOUNTS(sorted(names)),
                _READ_TOPUPS(sorted(topups)),
                *(spent_by(holder, self.now.at) for holder in holders),
            ],
        )
        missing = sorted(set(names).difference(row[0] for row in found))
        if missing:
            run(self._connection, [_ADD_ACCOUNT(*(_asdict(Account(name)) for name in missing))])
            self.read_accounts(names, topups=topups, spent=spent)
            return
        self.accounts = {row[0]: Account(*row) for row in found}
        self.topups = {row[0]: TopUp(*row) for row in added}
        self.spent = {holder: Spent.of(rows) for holder, rows in zip(holders, sums, strict=True)}

    # -- changing ----------------------------------------------------------------------------------------

    def account(self, name: str) -> Account:
        """Return an account that will be changed."""
        self._touched.add(name)
        return self.accounts[name]

    def move(self, kind: str, id: str, sides: Mapping[str, int]) -> None:
        """Note the sides of a movement, whose sum is zero."""
        assert not sum(sides.values())
        for account, amount in sides.items():
            if amount:
                self._entries.append({"kind": kind, "id": id, "account": account, "amount": amount, "at": self.now.at})

    def lease(self, reservation: Open) -> None:
        """Begin a reservation's lease anew."""
        reservation.clock = self.now.clock
        reservation.lease_until = self.now.ticks + self._lease
        reservation.lease_wall = self.now.at + self._lease

    def add_reservation(self, reservation: Open) -> None:
        """Add an open reservation, with its lease, and count it for its holders."""
        self.lease(reservation)
        self.reservations[reservation.request_id] = reservation
        self._count(reservation, 1)

    def keep(self, reservation: Open) -> None:
        """Note that a reservation has changed, and begin its lease anew."""
        self.lease(reservation)
        self._kept.add(reservation.request_id)

    def end_reservation(self, reservation: Open) -> None:
        """Take a reservation away."""
        del self.reservations[reservation.request_id]
        self._ended.add(reservation.request_id)
        self._count(reservation, -1)

    def _count(self, reservation: Open, sign: int) -> None:
        for name in reservation.holders:
            holder = self.account(name)
            holder.open_amount += sign * reservation.amount
            holder.streams += sign

    def set_charge(self, charge: Charge) -> None:
        """Add a charge, or replace one of the same request; count its amount for its holders, at its moment."""
        before = self.charges.get(charge.request_id)
        self.charges[charge.request_id] = charge
        self._changed_charges.add(charge.request_id)
        more = charge.amount - (0 if before is None else before.amount)
        for holder in holders_of(charge.token, charge.team) if more else ():
            spent = self.spent.get(holder)
            if spent is not None and more > 0:
                spent.day += more
                spent.month += more
            for width, start in starts_of(charge.at).items():
                key = (holder, width, start)
                self._spending[key] = self._spending.get(key, 0) + more

    def add_topup(self, topup: TopUp) -> None:
        """Add a top-up."""
        self.topups[topup.id] = topup
        self._new_topups.append(topup)

    # -- writing -----------------------------------------------------------------------------------------

    def write(self) -> None:
        """Write all changes."""
        new = sorted(self.reservations.keys() - self._written)
        kept = sorted(self._kept & self._written - self._ended)
        charges = [_asdict(self.charges[id]) for id in sorted(self._changed_charges)]
        corrected = [{**row, "key": row["request_id"]} for row in charges if row["request_id"] in self._charged]
        spent = [
            {"holder": holder, "width": width, "start": start, "amount": amount}
            for (holder, width, start), amount in sorted(self._spending.items())
        ]
        run(
            self._connection,
            [
                Call(_END_OPEN, [{"key": id} for id in sorted(self._ended & self._written)]),
                Call(_ADD_OPEN, [_asdict(self.reservations[id]) for id in new]),
                Call(_RENEW, [_row(self.reservations[id], "request_id", _LEASE) for id in kept]),
                Call(_CHANGE_ACCOUNT, [_row(self.accounts[name], "name", _SUMS) for name in sorted(self._touched)]),
                Call(_ADD_ENTRY, self._entries),
                Call(_ADD_CHARGE, [row for row in charges if row["request_id"] not in self._charged]),
                Call(_CORRECT, corrected),
                Call(_ADD_SPENDING, spent),
                Call(_ADD_TOPUP, [_asdict(each) for each in self._new_topups]),
                Call(_ADD_AUDIT, [_audit(each) for each in self._new_topups]),
            ],
        )


def _row(value: Any, key: str, names: Iterable[str]) -> dict[str, Any]:
    """Return the fields that change, and the key."""
    return {"key": getattr(value, key), **{name: getattr(value, name) for name in names}}


def _audit(topup: TopUp) -> dict[str, Any]:
    details = {"id": topup.id, "amount": topup.amount, "available": topup.available, "note": topup.note}
    return {
        "at": topup.at,
        "by": topup.by,
        "action": "balance.topup" if topup.amount >= 0 else "balance.withdraw",
        "subject": topup.account,
        "details": json.dumps(details),
    }
