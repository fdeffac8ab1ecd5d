"""What a holder has spent in the last 24 hours and 30 days: sums of minutes, hours and days.

A window is never shorter than it has to be: a minute that is partly out of the last 24 hours counts as a whole, and so
does an hour that is partly out of the last 30 days. So no 24 hours and no 30 days have more than their limit. A charge
with a moment in the future, as a clock was set back, counts too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import sqlalchemy as sa

from streamkit.gateway.core.tables import spending
from streamkit.sql.statements import Call, Statement

__all__ = ["DAY", "HOUR", "MINUTE", "MONTH", "WIDTHS", "Spent", "forget_old", "spent_by", "starts_of"]

MINUTE = 60
HOUR = 3600
DAY = 86400
MONTH = 30 * DAY
WIDTHS = (MINUTE, HOUR, DAY)
# Sums that no window needs are kept for longer, as a clock may run ahead for a while.
_KEPT = {MINUTE: 4 * DAY, HOUR: 2 * MONTH, DAY: 4 * MONTH}


@attrs.define(eq=False)
class Spent:
    """What a holder has spent, in nano.

    Attributes:
        day: in the last 24 hours.
        month: in the last 30 days.
    """

    day: int
    month: int

    @classmethod
    def of(cls, rows: Sequence[Sequence[Any]]) -> Spent:
        """Return it from the rows of ``spent_by``."""
        ((minutes, hours, month_hours, days),) = rows
        return cls(int(minutes) + int(hours), int(month_hours) + int(days))


def starts_of(at: float) -> dict[int, int]:
    """Return the start of the minute, the hour and the day of a moment, by their widths."""
    return {width: math.floor(at / width) * width for width in WIDTHS}


def _sum(width: int, first: str, end: str = "") -> sa.ScalarSelect[Any]:
    amount = sa.func.coalesce(sa.func.sum(spending.c.amount), 0)
    where = [
        spending.c.holder == sa.bindparam("of", type_=sa.String),
        spending.c.width == width,
        spending.c.start >= sa.bindparam(first, type_=sa.BigInteger),
    ]
    if end:
        where.append(spending.c.start < sa.bindparam(end, type_=sa.BigInteger))
    return sa.select(amount).where(*where).scalar_subquery()


_SPENT = Statement(
    lambda _dialect: sa.select(
        _sum(MINUTE, "minute", "hour"),
        _sum(HOUR, "hour"),
        _sum(HOUR, "month_hour", "month_day"),
        _sum(DAY, "month_day"),
    )
)


def _edges(now: float) -> Mapping[str, int]:
    day, month = now - DAY, now - MONTH
    return {
        "minute": math.floor(day / MINUTE) * MINUTE,
        "hour": math.ceil(day / HOUR) * HOUR,
        "month_hour": math.floor(month / HOUR) * HOUR,
        "month_day": math.ceil(month / DAY) * DAY,
    }


def spent_by(holder: str, now: float) -> Call:
    """Return the statement that reads what a holder has spent up to now; see ``Spent.of``."""
    return _SPENT({"of": holder, **_edges(now)})


def forget_old(connection: sa.Connection, now: float) -> None:
    """Delete the sums that no window needs any more."""
    for width, seconds in _KEPT.items():
        connection.execute(
            sa.delete(spending).where(spending.c.width == width, spending.c.start < math.floor(now - seconds))
        )
