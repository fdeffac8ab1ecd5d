"""The texts of tokens: made, recognised, and those that were replaced and live on for a while."""

from __future__ import annotations

import re
import secrets

import sqlalchemy as sa

from streamkit.gateway.core import tables
from streamkit.gateway.core.keyed_hash import KeyedHash
from streamkit.wire.secrets import Masked

__all__ = ["add_replaced", "forget_replaced", "is_text", "new_text", "replaced_by_hash"]

_BYTES = 32  # of randomness, 43 characters
_HINT = 4  # characters
_SHAPE = re.compile(r"sk-[A-Za-z0-9_-]{32,200}", re.ASCII)

_replaced = tables.replaced


def new_text(keyed: KeyedHash) -> tuple[Masked, dict[str, str]]:
    """Return a new text, and the columns that are kept of it: its hash, and its last characters."""
    text = Masked(f"sk-{secrets.token_urlsafe(_BYTES)}")
    return text, {"hash": keyed.of(text), "hint": text[-_HINT:]}


def is_text(text: str) -> bool:
    """Return whether a text may be one of a token; others need not be looked up."""
    return isinstance(text, str) and _SHAPE.fullmatch(text) is not None


def add_replaced(connection: sa.Connection, token: str, hash: str, *, now: float, until: float) -> None:
    """Keep a text that was replaced; none of this token lives longer than it.

    Args:
        connection: in a transaction.
        token: the id.
        hash: of the text.
        now: the time; texts that had until then are forgotten, also those of other tokens.
        until: when the text ends; none is kept where that is not later than now.
    """
    columns = _replaced.c
    connection.execute(_replaced.update().where(columns.token == token, columns.until > until).values(until=until))
    connection.execute(_replaced.delete().where(columns.until <= now))
    if until > now:
        connection.execute(_replaced.insert().values(hash=hash, token=token, until=until))


def forget_replaced(connection: sa.Connection, token: str) -> None:
    """Forget all texts of a token that were replaced."""
    connection.execute(_replaced.delete().where(_replaced.c.token == token))


def replaced_by_hash(connection: sa.Connection, hash: str) -> tuple[str, str, float] | None:
    """Return hash, token and end of a text that was replaced."""
    columns = _replaced.c
    row = connection.execute(sa.select(columns.hash, columns.token, columns.until).where(columns.hash == hash)).first()
    return None if row is None else (row.hash, row.token, row.until)
