"""The tables of ``SQLStore``, and transactions on them: ``Database``. Imported late, as it needs SQLAlchemy."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from streamkit.conversation.stores.store import inside_store
from streamkit.sql.database import SQLDatabase
from streamkit.sql.versions import Steps, version_table

__all__ = ["Database"]

_T = TypeVar("_T")

_tables = sa.MetaData()
# On MySQL a TEXT of this length is a LONGTEXT, and a key compares without regard to case unless told otherwise.
_LONG = sa.Text().with_variant(sa.Text(2**32 - 1), "mysql", "mariadb")
_KEY = sa.String(255).with_variant(sa.String(255, collation="utf8mb4_bin"), "mysql", "mariadb")

_schema = version_table("streamkit_schema", _tables)
_conversations = sa.Table(
    "streamkit_conversations",
    _tables,
    sa.Column("id", _KEY, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("token", sa.String(32), nullable=False),  # of the last save
    sa.Column("owner", _KEY, nullable=False, index=True),
    sa.Column("title", _LONG, nullable=False),
    sa.Column("model", _LONG, nullable=False),
    sa.Column("changed_at", sa.Double, nullable=False),
    sa.Column("turns", sa.Integer, nullable=False),
    sa.Column("head", _LONG, nullable=False),
)
_turns = sa.Table(
    "streamkit_turns",
    _tables,
    sa.Column("conversation", _KEY, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("body", _LONG, nullable=False),
)
_holds = sa.Table(
    "streamkit_holds",
    _tables,
    sa.Column("id", _KEY, primary_key=True),
    sa.Column("conversation", _KEY, nullable=False, index=True),
    sa.Column("token", sa.String(32), nullable=False),
    sa.Column("holder", _LONG, nullable=False),
)
_claims = sa.Table(
    "streamkit_claims",
    _tables,
    sa.Column("suspension", _KEY, primary_key=True),
    sa.Column("call", sa.String(64), primary_key=True),  # a digest, as the id of a call is any text
    sa.Column("conversation", _KEY, nullable=False, index=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("token", sa.String(32), nullable=False),  # of the last move
    sa.Column("body", _LONG, nullable=False),
)


class Database(SQLDatabase):
    """A database with the tables of ``SQLStore``, and transactions on it.

    Args:
        url: see ``SQLStore``.
        timeout: see ``SQLStore``.
        forked: called in a forked child.

    Raises:
        ConfigError: the URL is none, or the driver is not installed.
    """

    def __init__(self, url: str | os.PathLike[str], timeout: float, forked: Callable[[], object]) -> None:
        self._forked = forked
        super().__init__(
            url,
            Steps(_schema, [_tables.create_all]),
            user="SQLStore",
            example="chats",
            in_memory="a SQLite database in memory has nothing that lasts, and each thread its own: use MemoryStore()",
            timeout=timeout,
            inside=inside_store,
        )

    def write(self, work: Callable[[sa.Connection], _T]) -> _T | None:  # type: ignore[override]
        """Do ``work`` in one transaction, and return its result; ``None`` if another one took one of its keys.

        It is done again where the connection was lost, so it has to notice what it has written itself.

        Raises:
            StoreError: the database cannot be written.
        """
        try:
            return super().write(work)
        except exc.IntegrityError:
            return None

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self._forked()

    # -- conversations -----------------------------------------------------------------------------------

    def rows_of(self, connection: sa.Connection, id: str) -> Sequence[Any]:
        """Return (-1, version, number of turns, head), then (number, 0, 0, turn) of each turn; or nothing.

        In one statement, so that it is one state of the conversation in every database.
        """
        head = sa.select(
            sa.literal(-1).label("number"), _conversations.c.version, _conversations.c.turns, _conversations.c.head
        ).where(_conversations.c.id == id)
        turns = sa.select(_turns.c.number, sa.literal(0), sa.literal(0), _turns.c.body).where(
            _turns.c.conversation == id
        )
        return sorted(connection.execute(head.union_all(turns)).all(), key=lambda row: int(row[0]))

    def version_of(self, connection: sa.Connection, id: str) -> tuple[int, int, str]:
        """Return the version of a conversation, the number of its turns and the token of its last save; 0 for none."""
        columns = _conversations.c
        wanted = sa.select(columns.version, columns.turns, columns.token).where(columns.id == id).with_for_update()
        row = connection.execute(wanted).first()
        return (0, 0, "") if row is None else (row[0], row[1], row[2])

    def write_conversation(self, connection: sa.Connection, id: str, row: Mapping[str, Any], *, new: bool) -> None:
        """Write everything but the turns."""
        if new:
            connection.execute(_conversations.insert().values(id=id, **row))
        else:
            connection.execute(_conversations.update().where(_conversations.c.id == id).values(**row))

    def write_turns(self, connection: sa.Connection, id: str, first: int, count: int, bodies: Sequence[str]) -> None:
        """Replace the turns from one on, of as many as there are; of a new conversation whatever is there."""
        if first < count or not first:
            connection.execute(_turns.delete().where(_turns.c.conversation == id, _turns.c.number >= first))
        if bodies:
            rows = [{"conversation": id, "number": first + at, "body": body} for at, body in enumerate(bodies)]
            connection.execute(_turns.insert(), rows)

    def entries(self, connection: sa.Connection, owner: str | None) -> Sequence[Any]:
        """Return the fields of each ``Entry``, the last changed first."""
        columns = _conversations.c
        wanted = sa.select(
            columns.id, columns.title, columns.turns, columns.model, columns.changed_at, columns.owner
        ).order_by(columns.changed_at.desc())
        return connection.execute(wanted if owner is None else wanted.where(columns.owner == owner)).all()

    def delete(self, connection: sa.Connection, id: str) -> bool:
        """Delete a conversation with all that belongs to it; return whether there was one."""
        for table in (_turns, _holds, _claims):
            connection.execute(table.delete().where(table.c.conversation == id))
        return connection.execute(_conversations.delete().where(_conversations.c.id == id)).rowcount > 0

    # -- claims ------------------------------------------------------------------------------------------

    def holder_of(self, connection: sa.Connection, id: str) -> tuple[str, str] | None:
        """Return the token of a hold, and its holder as JSON."""
        columns = _holds.c
        row = connection.execute(
            sa.select(columns.token, columns.holder).where(columns.id == id).with_for_update()
        ).first()
        return None if row is None else (row[0], row[1])

    def add_hold(self, connection: sa.Connection, id: str, conversation: str, token: str, holder: str) -> None:
        """Write a new hold."""
        connection.execute(_holds.insert().values(id=id, conversation=conversation, token=token, holder=holder))

    def take_over(self, connection: sa.Connection, id: str, before: str, token: str, holder: str) -> bool:
        """Replace a hold if it still has a token; return whether it had."""
        change = _holds.update().where(_holds.c.id == id, _holds.c.token == before).values(token=token, holder=holder)
        return connection.execute(change).rowcount > 0

    def drop_hold(self, connection: sa.Connection, id: str, token: str) -> None:
        """Delete a hold if it has a token."""
        connection.execute(_holds.delete().where(_holds.c.id == id, _holds.c.token == token))

    def claims(self, connection: sa.Connection, id: str) -> Sequence[Any]:
        """Return the state and the JSON of each claim of a suspension."""
        return connection.execute(sa.select(_claims.c.state, _claims.c.body).where(_claims.c.suspension == id)).all()

    def claim_of(self, connection: sa.Connection, id: str, call: str) -> tuple[str, str] | None:
        """Return the state of a claim, and the token of its last move."""
        columns = _claims.c
        where = (columns.suspension == id, columns.call == call)
        row = connection.execute(sa.select(columns.state, columns.token).where(*where)).first()
        return None if row is None else (row[0], row[1])

    def write_claim(self, connection: sa.Connection, id: str, call: str, row: Mapping[str, Any], *, new: bool) -> None:
        """Write a claim."""
        if new:
            connection.execute(_claims.insert().values(suspension=id, call=call, **row))
        else:
            where = (_claims.c.suspension == id, _claims.c.call == call)
            connection.execute(_claims.update().where(*where).values(**row))

    def drop_claims(self, connection: sa.Connection, id: str, *, but: str | None = None) -> None:
        """Delete the claims of a suspension, all but one."""
        change = _claims.delete().where(_claims.c.suspension == id)
        connection.execute(change if but is None else change.where(_claims.c.call != but))
