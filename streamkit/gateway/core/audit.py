"""Who changed what and when: each change of a token, a team and a balance leaves a row. ``record`` and ``changes``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import sqlalchemy as sa

from streamkit.gateway.core import tables
from streamkit.gateway.core.money import usd_of
from streamkit.values.json_text import decode_strict
from streamkit.wire.json import write_json

__all__ = ["Change", "changes", "record"]


@attrs.frozen
class Change:
    """One change, as it is kept for ever.

    Attributes:
        at: when, in seconds since 1970.
        by: who, such as ``ann@host``.
        action: what was done, such as ``token.create``.
        subject: to whom: ``token:<id>`` or ``team:<name>``.
        before: the fields that changed, as they were, JSON types; empty for what is new.
        after: the same fields, as they are since.
        note: what the person wrote, if anything.
    """

    at: float
    by: str
    action: str
    subject: str
    before: Mapping[str, Any] = attrs.field(factory=dict)
    after: Mapping[str, Any] = attrs.field(factory=dict)
    note: str = ""


def record(connection: sa.Connection, change: Change) -> None:
    """Write a change, in the transaction of the change itself.

    Args:
        connection: in that transaction.
        change: never with a token's text or its hash.
    """
    details = {"before": dict(change.before), "after": dict(change.after), "note": change.note}
    row = {
        "at": change.at,
        "by": change.by,
        "action": change.action,
        "subject": change.subject,
        "details": write_json({name: value for name, value in details.items() if value}).decode(),
    }
    connection.execute(tables.audit.insert().values(**row))


def changes(connection: sa.Connection, subject: str | None = None) -> list[Change]:
    """Return what was changed, the first change first.

    Args:
        connection: in a transaction.
        subject: of this one alone; ``None`` for all.
    """
    columns = tables.audit.c
    wanted = sa.select(columns.at, columns.by, columns.action, columns.subject, columns.details)
    if subject is not None:
        wanted = wanted.where(columns.subject == subject)
    return [_change(row) for row in connection.execute(wanted.order_by(columns.number))]


def _change(row: Any) -> Change:
    details = decode_strict(row.details)
    if row.action.startswith("balance."):  # as the ledger writes them, with its amounts
        after = details["available"]
        before, after = {"balance": usd_of(after - details["amount"])}, {"balance": usd_of(after)}
        details = {"before": before, "after": after, "note": details["note"]}
    return Change(row.at, row.by, row.action, row.subject, **details)
