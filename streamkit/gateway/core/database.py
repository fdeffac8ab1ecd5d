"""The database of the gateway: ``GatewayDatabase``."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

import sqlalchemy as sa

from streamkit.errors import ConfigError
from streamkit.gateway.core.migrations import STEPS
from streamkit.settings import shown
from streamkit.sql.database import SQLDatabase
from streamkit.sql.turns import Turns
from streamkit.sql.writer import Group, Writer, run_works
from streamkit.wire.secrets import Masked

__all__ = ["GatewayDatabase"]

_T = TypeVar("_T")

_BACKENDS = ("sqlite", "postgresql")


class GatewayDatabase(SQLDatabase):
    """The database of tokens, balances and charges: a file of SQLite, or PostgreSQL.

    The tables are made, and changed to this version, at the first use. Nothing is connected to before. One thread of
    the process writes for all: see ``Writer``.

    Threads: any. Any number of processes; on PostgreSQL any number of machines.

    Args:
        url: a URL of SQLAlchemy's, or the path of a file of SQLite on a disk of this machine.
        timeout: seconds to wait for a connection, for a lock of somebody else, and for a write.

    Raises:
        ConfigError: the URL is none, is of another kind of database, or the database's driver is not installed.
    """

    def __init__(self, url: str | os.PathLike[str], *, timeout: float = 10.0) -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
            raise ConfigError(f"GatewayDatabase(timeout=...) is a number of seconds above 0, not {shown(timeout)}")
        super().__init__(
            Masked(url) if isinstance(url, str) else url,  # it may have a password
            STEPS,
            user="the gateway",
            example="gateway",
            in_memory="a SQLite database in memory loses all balances: the gateway needs a file",
            timeout=timeout,
        )
        if self._parsed.get_backend_name() not in _BACKENDS:
            raise ConfigError(f"the gateway keeps its ledger in SQLite or PostgreSQL, not in {self.name}")
        path = self._parsed.database if self.is_sqlite else None
        self._turns = Turns(f"{path}-turn") if path and "uri" not in self._parsed.query else None
        self._writer = Writer(_weakly(self), timeout, self.name)

    def write(self, work: Callable[[sa.Connection], _T], *, durable: bool = True) -> _T:
        """Do ``work`` in a transaction, and return its result; see ``SQLDatabase.write``.

        Others' works may be in the same transaction, each in a savepoint of its own: what ``work`` raises is raised
        here, and undoes only what ``work`` has written. It may be called again, where the connection was lost or
        another process was in the way: so it has to notice what it has written itself.

        Raises:
            StoreError: the database cannot be written; nothing was written, or it is not known: repeat it.
            sqlalchemy.exc.IntegrityError: a key is taken.

        Threads: any; waits for at most ``timeout`` seconds.
        """
        result: _T = self._writer.do(run_works, work, durable=durable)
        return result

    def write_in(self, group: Group, item: Any, *, durable: bool = True) -> Any:
        """Have a group do an operation, together with others of it that wait; see ``Writer.do``.

        Raises:
            StoreError: as ``write``.

        Threads: as ``write``.
        """
        return self._writer.do(group, item, durable=durable)

    def close(self) -> None:
        """Write what waits, and close the connections. It can be used again, and makes new ones then."""
        self._writer.close()
        super().close()
        if self._turns is not None:
            self._turns.close()

    def _write_in_turn(self, work: Callable[[sa.Connection], Any], durable: bool) -> Any:
        """Do a transaction of the writer's thread."""
        with self._turns.turn() if self._turns is not None else nullcontext():
            return super().write(work, durable=durable)

    def __repr__(self) -> str:
        return f"<GatewayDatabase {self.name}>"


def _weakly(database: GatewayDatabase) -> Callable[[Callable[[sa.Connection], Any], bool], Any]:
    """Return what writes; it does not keep the database, which keeps its writer."""
    reference = weakref.ref(database)

    def transact(work: Callable[[sa.Connection], Any], durable: bool) -> Any:
        alive = reference()
        assert alive is not None  # its caller waits
        return alive._write_in_turn(work, durable)

    return transact
