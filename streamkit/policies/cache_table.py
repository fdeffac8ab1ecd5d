"""The table of ``SQLCache``, and transactions on it: ``CacheTable``. Imported late, as it needs SQLAlchemy."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

import sqlalchemy as sa
from sqlalchemy import exc

from streamkit.errors import StoreError
from streamkit.sql.database import SQLDatabase
from streamkit.sql.versions import Steps

__all__ = ["CacheTable"]

_CLEAN_EVERY = 100  # replies that are kept, after which old ones are looked for

_tables = sa.MetaData()
# On MySQL a TEXT of this length is a LONGTEXT.
_LONG = sa.Text().with_variant(sa.Text(2**32 - 1), "mysql", "mariadb")
_replies = sa.Table(
    "streamkit_cache",
    _tables,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("made_at", sa.Double, nullable=False, index=True),
    sa.Column("body", _LONG, nullable=False),
)


class CacheTable:
    """A database with the table of ``SQLCache``.

    Owner of the fields: ``_lock`` guards ``_until_clean``; the database protects itself.

    Args:
        url: see ``SQLCache``.
        timeout: see ``SQLCache``.
        size: how many replies are kept.

    Raises:
        ConfigError: the URL is none, or the driver is not installed.

    Attributes:
        name: the URL, without a password.
    """

    #: What reading or writing may raise.
    failures = (StoreError,)

    def __init__(self, url: str | os.PathLike[str], timeout: float, size: int) -> None:
        self._database = SQLDatabase(
            url,
            Steps(None, [_tables.create_all], [_replies]),
            user="SQLCache",
            example="replies",
            in_memory="a SQLite database in memory is lost with its connection: use MemoryCache()",
            timeout=timeout,
        )
        self.name = self._database.name
        self._size = size
        self._lock = threading.Lock()
        self._until_clean = 1

    @staticmethod
    def reason(error: BaseException) -> str:
        """Return why the database failed, in a line without the values of a statement."""
        return SQLDatabase.reason(error.__cause__ or error)

    def read(self, digest: str, oldest: float) -> str | None:
        """Return a reply that was made after ``oldest``."""
        wanted = sa.select(_replies.c.body).where(_replies.c.digest == digest, _replies.c.made_at > _number(oldest))
        found = self._database.read(lambda connection: connection.execute(wanted).scalar())
        return None if found is None else str(found)

    def write(self, digest: str, body: str, now: float, oldest: float) -> None:
        """Write a reply, or nothing if another process writes the same one at this moment."""
        row = {"made_at": now, "body": body}

        def work(connection: sa.Connection) -> None:
            changed = connection.execute(sa.update(_replies).where(_replies.c.digest == digest).values(**row))
            if not changed.rowcount:
                connection.execute(sa.insert(_replies).values(digest=digest, **row))

        with suppress(exc.IntegrityError):
            self._database.write(work)
        with self._lock:
            self._until_clean -= 1
            cleans = self._until_clean <= 0
            if cleans:
                self._until_clean = _CLEAN_EVERY
        if cleans:
            self._database.write(lambda connection: self._clean(connection, oldest))

    def _clean(self, connection: sa.Connection, oldest: float) -> None:
        """Delete what is too old, and the oldest ones of too many."""
        connection.execute(sa.delete(_replies).where(_replies.c.made_at <= _number(oldest)))
        newest = sa.select(_replies.c.made_at).order_by(_replies.c.made_at.desc()).offset(self._size).limit(1)
        edge = connection.execute(newest).scalar()
        if edge is not None:
            connection.execute(sa.delete(_replies).where(_replies.c.made_at <= edge))

    def clear(self) -> None:
        """Delete all replies."""
        self._database.write(lambda connection: connection.execute(sa.delete(_replies)))

    def close(self) -> None:
        """Close the connections; new ones are made when they are needed."""
        self._database.close()

    def forked(self) -> None:
        """Note in a forked child that another thread of the parent may have had the lock."""
        self._lock = threading.Lock()


def _number(moment: float) -> float:
    return max(moment, -1e300)  # databases have no infinity
