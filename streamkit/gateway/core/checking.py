"""Proves the sums of the ledger: ``find_problems``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import sqlalchemy as sa

from streamkit.gateway.core.leases import Clocks
from streamkit.gateway.core.money import usd_of
from streamkit.gateway.core.records import Problem
from streamkit.gateway.core.reports import bucket_of
from streamkit.gateway.core.sheet import RESERVED, SHORTFALL, SPENT, WORLD
from streamkit.gateway.core.tables import accounts, charges, entries, reservations, spending, topups
from streamkit.gateway.core.windows import DAY, HOUR, MINUTE

__all__ = ["find_problems"]

_MOST = 1000  # problems
_ENDS = ("settle", "release", "recover")
# Days for which the sums for limits are compared with the charges; each is kept for longer, see `windows`.
_DAYS = {MINUTE: 2, HOUR: 31, DAY: 31}


def find_problems(connection: sa.Connection, clocks: Clocks) -> list[Problem]:
    """See ``Ledger.check``. All is read from one state of the database."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    checks = (_movements, _balances, _under_way, _requests, _topups)
    found = (problem for check in checks for problem in check(connection))
    problems = list(islice(found, _MOST))
    return problems + list(islice(_spending(connection, clocks.now(connection).at), _MOST - len(problems)))


def _sum(amount: Any) -> Any:
    return sa.func.coalesce(sa.func.sum(amount), 0)


def _movements(connection: sa.Connection) -> Iterator[Problem]:
    """The sum of all entries is zero, and so is that of each movement."""
    total = int(connection.execute(sa.select(_sum(entries.c.amount))).scalar_one())
    if total:
        yield Problem("sum", "all entries", f"their sum is {usd_of(total)} USD, not zero")
    amount = sa.func.sum(entries.c.amount)
    wanted = sa.select(entries.c.kind, entries.c.id, amount).group_by(entries.c.kind, entries.c.id).having(amount != 0)
    for kind, id, wrong in connection.execute(wanted):
        yield Problem("movement", f"{kind} {id}", f"the sum of its sides is {usd_of(int(wrong))} USD, not zero")


def _by_key(connection: sa.Connection, key: Any, *sums: Any, where: Iterable[Any] = ()) -> dict[str, tuple[int, ...]]:
    rows = connection.execute(sa.select(key, *sums).where(*where).group_by(key))
    return {name: tuple(map(int, numbers)) for name, *numbers in rows}


def _balances(connection: sa.Connection) -> Iterator[Problem]:
    """Each balance is the sum of its entries, and none is below zero."""
    sums = {name: number for name, (number,) in _by_key(connection, entries.c.account, _sum(entries.c.amount)).items()}
    short = int(connection.execute(sa.select(_sum(charges.c.shortfall))).scalar_one())
    yield from _compared("balance", SHORTFALL, -short, sums.pop(SHORTFALL, 0), "by the charges")
    sums.pop(WORLD, None)
    for row in connection.execute(sa.select(accounts)).mappings():
        name = row["name"]
        for account, column in ((name, "available"), (RESERVED + name, "reserved"), (SPENT + name, "spent")):
            yield from _compared("balance", account, row[column], sums.pop(account, 0), "by its entries")
            if row[column] < 0:
                yield Problem("negative", account, f"its balance is {usd_of(row[column])} USD")
    for account in sums:
        yield Problem("balance", account, "it has entries, and no balance")


def _compared(rule: str, subject: str, found: int, expected: int, how: str) -> Iterator[Problem]:
    if found != expected:
        yield Problem(rule, subject, f"it is {usd_of(found)} USD, and {usd_of(expected)} USD {how}")


def _under_way(connection: sa.Connection) -> Iterator[Problem]:
    """What is reserved and under way is what the open reservations say, and what is spent what the charges say."""
    amount, count = _sum(reservations.c.amount), sa.func.count()
    reserved = _by_key(connection, reservations.c.account, amount)
    spent = _by_key(connection, charges.c.account, _sum(charges.c.amount))
    held = {
        f"{kind}:{name}": numbers
        for kind in ("token", "team")
        for name, numbers in _by_key(connection, reservations.c[kind], amount, count).items()
        if name
    }
    for row in connection.execute(sa.select(accounts)).mappings():
        name = row["name"]
        (of_reservations,), (of_charges,) = reserved.pop(name, (0,)), spent.pop(name, (0,))
        yield from _compared("reserved", name, row["reserved"], of_reservations, "by its reservations")
        yield from _compared("spent", name, row["spent"], of_charges, "by its charges")
        open_amount, streams = held.pop(name, (0, 0))
        yield from _compared("open", name, row["open_amount"], open_amount, "by its reservations")
        if row["streams"] != streams:
            yield Problem("streams", name, f"{row['streams']} are under way, and {streams} by its reservations")
    for name in {**reserved, **spent, **held}:
        yield Problem("account", name, "it has reservations or charges, and no balance")


def _requests(connection: sa.Connection) -> Iterator[Problem]:
    """Each reservation is open or has one charge, and the amounts are those of the entries."""
    both = sa.select(charges.c.request_id).join(reservations, reservations.c.request_id == charges.c.request_id)
    for (id,) in connection.execute(both):
        yield Problem("end", id, "it has a charge, and is open as well")
    column = entries.c
    is_reserved = column.account.startswith(RESERVED)

    def of(condition: Any) -> Any:
        return _sum(sa.case((condition, column.amount), else_=0))

    moved = (
        sa.select(
            column.id,
            of(is_reserved & (column.kind == "reserve")).label("reserved"),
            of(is_reserved).label("left"),
            of(column.account.startswith(SPENT)).label("spent"),
            of(column.account == SHORTFALL).label("short"),
            sa.func.count(sa.distinct(sa.case((column.kind.in_(_ENDS), column.kind)))).label("ends"),
        )
        .where(column.kind != "topup")
        .group_by(column.id)
        .subquery()
    )

    def number(name: str) -> Any:
        return sa.func.coalesce(moved.c[name], 0)

    row = charges.c
    charged = (
        sa.select(row.request_id)
        .outerjoin_from(charges, moved, moved.c.id == row.request_id)
        .where(
            (number("reserved") != row.reserved)
            | (number("spent") != row.amount)
            | (number("short") != -row.shortfall)
            | (number("left") != 0)
            | (number("ends") > 1)
        )
    )
    for (id,) in connection.execute(charged):
        yield Problem("charge", id, "its entries are not those of its charge")
    open_row = reservations.c
    under_way = (
        sa.select(open_row.request_id)
        .outerjoin_from(reservations, moved, moved.c.id == open_row.request_id)
        .where(
            (number("reserved") != open_row.amount)
            | (number("left") != open_row.amount)
            | (number("spent") != 0)
            | (number("ends") != 0)
        )
    )
    for (id,) in connection.execute(under_way):
        yield Problem("reservation", id, "its entries are not those of an open reservation")
    unknown = (
        sa.select(moved.c.id)
        .outerjoin(charges, row.request_id == moved.c.id)
        .outerjoin(reservations, open_row.request_id == moved.c.id)
        .where(row.request_id.is_(None), open_row.request_id.is_(None))
    )
    for (id,) in connection.execute(unknown):
        yield Problem("end", id, "it has entries, and neither a reservation nor a charge")
    wrong = sa.select(row.request_id).where((row.amount < 0) | (row.shortfall < 0) | (row.shortfall > row.amount))
    for (id,) in connection.execute(wrong):
        yield Problem("charge", id, "its amount or its shortfall cannot be")


def _topups(connection: sa.Connection) -> Iterator[Problem]:
    """Each top-up has its movement."""
    moved = (
        sa.select(entries.c.id, entries.c.account, entries.c.amount)
        .where(entries.c.kind == "topup", entries.c.account != WORLD)
        .subquery()
    )
    same = (moved.c.id == topups.c.id) & (moved.c.account == topups.c.account)
    wanted = (
        sa.select(topups.c.id)
        .outerjoin_from(topups, moved, same)
        .where(sa.func.coalesce(moved.c.amount, 0) != topups.c.amount)
    )
    unknown = sa.select(moved.c.id).outerjoin_from(moved, topups, same).where(topups.c.id.is_(None))
    for (id,) in connection.execute(sa.union(wanted, unknown)):
        yield Problem("topup", id, "its entries are not those of a top-up")


def _spending(connection: sa.Connection, now: float) -> Iterator[Problem]:
    """The sums for limits are those of the charges."""
    for width, days in _DAYS.items():
        first = math.ceil((now - days * DAY) / DAY) * DAY
        where = [spending.c.width == width, spending.c.start >= first]
        rows = connection.execute(sa.select(spending.c.holder, spending.c.start, spending.c.amount).where(*where))
        sums = {(holder, start): amount for holder, start, amount in rows}
        for kind in ("token", "team"):
            name, number = charges.c[kind], bucket_of(charges.c.at, width, connection.dialect.name)
            of_charges = (
                sa.select(name, number, sa.func.sum(charges.c.amount))
                .where(charges.c.at >= first, name != "")
                .group_by(sa.literal_column("1"), sa.literal_column("2"))
            )
            for holder, at, expected in connection.execute(of_charges):
                subject, start = f"{kind}:{holder}", at * width
                found = sums.pop((subject, start), 0)
                yield from _compared("limit", f"{subject} {width} s from {start}", found, int(expected), "by charges")
        for (holder, start), amount in sums.items():
            yield from _compared("limit", f"{holder} {width} s from {start}", amount, 0, "by charges")
