"""Tables that are made or changed by steps, each once: ``Steps``."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from streamkit.errors import ConfigError

__all__ = ["Steps", "version_table"]


def version_table(name: str, metadata: sa.MetaData) -> sa.Table:
    """Return the table that holds the version of others: a row for each step that was done."""
    return sa.Table(name, metadata, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))


class Steps:
    """The tables of one user of a database, and the steps by which they came to be.

    The first step makes them; a later one changes them to the next version. Any number of processes may do this at
    once: each step is one transaction, in which its number is written.

    Args:
        schema: the table of ``version_table``; ``None`` for tables that have no version: they have one step, which
            leaves alone what is there.
        steps: functions that are given a connection, in a transaction.
        tables: all tables that have to be there without a version.
    """

    def __init__(
        self,
        schema: sa.Table | None,
        steps: Sequence[Callable[[sa.Connection], object]],
        tables: Sequence[sa.Table] = (),
    ) -> None:
        self._schema = schema
        self._steps = tuple(steps)
        self._tables = tuple(tables)

    def are_done(self, connection: sa.Connection, name: str) -> bool:
        """Return whether the tables are those of this version of streamkit.

        Args:
            connection: in a transaction.
            name: the database's, for errors.

        Raises:
            ConfigError: they were made by a newer version.
        """
        version = self._version(connection)
        if version > len(self._steps):
            raise ConfigError(
                f"the tables in {name} were made by a newer version of streamkit (version {version}, this one uses up "
                f"to {len(self._steps)}); upgrade to use them"
            )
        return version == len(self._steps)

    def do_next(self, connection: sa.Connection) -> None:
        """Do the next step, if another process has not done it meanwhile."""
        if connection.dialect.name == "postgresql":
            # Two processes that make the same table would disturb one another; SQLite has one writer anyway.
            number = zlib.crc32(b"streamkit" if self._schema is None else self._schema.name.encode())
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
        version = self._version(connection)
        if version >= len(self._steps):
            return
        self._steps[version](connection)
        if self._schema is not None:
            connection.execute(self._schema.insert().values(version=version + 1))

    def _version(self, connection: sa.Connection) -> int:
        found = sa.inspect(connection)
        if self._schema is None:
            return int(all(found.has_table(table.name) for table in self._tables))
        if not found.has_table(self._schema.name):
            return 0
        return connection.execute(sa.select(sa.func.max(self._schema.c.version))).scalar() or 0
