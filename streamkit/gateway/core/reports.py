"""What was spent: sums by day, model, token, and the charges themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from streamkit.errors import ConfigError
from streamkit.gateway.core.records import Charge, Usage
from streamkit.gateway.core.tables import charges
from streamkit.gateway.core.windows import DAY
from streamkit.settings import shown

__all__ = ["bucket_of", "read_charges", "read_usage"]

_T = TypeVar("_T")

_AT_ONCE = 1000  # charges that are read in one transaction
_KEYS = {
    "model": charges.c.model,
    "token": charges.c.token,
    "team": charges.c.team,
    "provider": charges.c.provider,
    "label": charges.c.label,
}
_COLUMNS = charges.c


def bucket_of(at: sa.ColumnElement[Any], width: int, dialect: str) -> sa.ColumnElement[Any]:
    """Return the number of a moment's minute, hour or day, counted from 1970."""
    number = at / float(width)
    # SQLite has no floor() where it is built without its mathematics; a cast cuts off there, and rounds on PostgreSQL.
    return sa.cast(number if dialect == "sqlite" else sa.func.floor(number), sa.BigInteger)


def _of_holder(holder: str | None) -> list[sa.ColumnElement[bool]]:
    """Return the condition for the charges of a holder.

    Raises:
        ConfigError: it is neither a token nor a team.
    """
    if holder is None:
        return []
    kind, _, name = holder.partition(":")
    if kind not in ("token", "team") or not name:
        raise ConfigError(f"a holder is token:<id> or team:<name>, not {shown(holder)}")
    return [_COLUMNS[kind] == name]


def read_usage(connection: sa.Connection, holder: str | None, since: float, until: float, by: str) -> list[Usage]:
    """See ``Ledger.usage``."""
    if by != "day" and by not in _KEYS:
        raise ConfigError(f"usage is by day, {', '.join(_KEYS)}, not by {shown(by)}")
    key = bucket_of(_COLUMNS.at, DAY, connection.dialect.name) if by == "day" else _KEYS[by]
    failed = sa.case((_COLUMNS.status.between(200, 299), 0), else_=1)
    estimated = sa.case((_COLUMNS.estimated, 1), else_=0)
    sums = [
        sa.func.sum(each)
        for each in (
            failed,
            estimated,
            _COLUMNS.amount,
            _COLUMNS.input_tokens,
            _COLUMNS.output_tokens,
            _COLUMNS.cached_tokens,
            _COLUMNS.reasoning_tokens,
        )
    ]
    wanted = (
        sa.select(key, sa.func.count(), *sums)
        .where(_COLUMNS.at >= since, _COLUMNS.at < until, *_of_holder(holder))
        .group_by(sa.literal_column("1"))
        .order_by(sa.literal_column("1"))
    )
    return [
        Usage(_day(first) if by == "day" else first, *map(int, numbers))
        for first, *numbers in connection.execute(wanted)
    ]


def _day(number: int) -> str:
    return datetime.fromtimestamp(number * DAY, timezone.utc).strftime("%Y-%m-%d")


def read_charges(
    read: Callable[[Callable[[sa.Connection], Any]], Any], holder: str | None, since: float, until: float | None
) -> Iterator[Charge]:
    """See ``Ledger.charges``.

    Args:
        read: ``GatewayDatabase.read``.
        holder: see there.
        since: see there.
        until: see there.
    """
    where = _of_holder(holder)
    if until is not None:
        where.append(_COLUMNS.at < until)
    return _parts(read, where, since)


def _parts(
    read: Callable[[Callable[[sa.Connection], Any]], Any], where: list[sa.ColumnElement[bool]], since: float
) -> Iterator[Charge]:
    place = sa.tuple_(_COLUMNS.at, _COLUMNS.request_id)
    after: sa.ColumnElement[bool] = _COLUMNS.at >= since
    while True:
        wanted = sa.select(charges).where(after, *where).order_by(_COLUMNS.at, _COLUMNS.request_id).limit(_AT_ONCE)
        rows = read(partial(_rows, wanted))
        for row in rows:
            yield Charge(*row)
        if len(rows) < _AT_ONCE:
            return
        last = Charge(*rows[-1])
        after = place > sa.tuple_(sa.literal(last.at), sa.literal(last.request_id))


def _rows(wanted: sa.Select[Any], connection: sa.Connection) -> Any:
    return connection.execute(wanted).all()
