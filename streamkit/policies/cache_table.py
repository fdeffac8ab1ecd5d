"""The table of ``SQLCache``, and transactions on it: ``CacheTable``. Imported late, as it needs SQLAlchemy."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from streamkit.concurrency.late_import import forks_wait
from streamkit.errors import ConfigError

__all__ = ["CacheTable"]

_T = TypeVar("_T")

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

    Owner of the fields: ``_lock`` guards ``_ready`` and ``_until_clean``; the engine protects itself.

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
    failures = (exc.SQLAlchemyError, OSError)

    def __init__(self, url: str | os.PathLike[str], timeout: float, size: int) -> None:
        self._parsed = _parsed(url)
        self.name = repr(self._parsed.render_as_string(hide_password=True))
        self._timeout = timeout
        self._size = size
        self._sqlite = self._parsed.get_backend_name() == "sqlite"
        self._lock = threading.RLock()
        self._ready = False
        self._until_clean = 1
        self._engine = self._make_engine()
        weakref.finalize(self, self._engine.dispose)

    def _make_engine(self) -> sa.Engine:
        backend, seconds = self._parsed.get_backend_name(), max(1, round(self._timeout))
        options: dict[str, Any] = {"hide_parameters": True, "pool_timeout": self._timeout}
        if backend == "sqlite":
            options["connect_args"] = {"timeout": self._timeout}
        else:
            options["pool_pre_ping"] = True  # a server, or what is between, closes connections that are idle
        if backend in ("postgresql", "mysql", "mariadb"):
            options["connect_args"] = {"connect_timeout": seconds}
        try:
            with forks_wait():
                engine = sa.create_engine(self._parsed, **options)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"the driver for {self.name} is not installed: it is the Python module {error.name}; another one is "
                "named in the URL, as in mysql+pymysql://"
            ) from None
        except (exc.SQLAlchemyError, TypeError, ValueError) as error:
            raise ConfigError(f"SQLCache cannot use {self.name}: {type(error).__name__}: {error}") from None
        if engine.dialect.is_async:
            raise ConfigError(f"SQLCache cannot use {self.name}: streamkit is synchronous, and needs such a driver")
        return engine

    def reason(self, error: BaseException) -> str:
        """Return why the database failed, in a line without the values of a statement."""
        return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]

    def read(self, digest: str, oldest: float) -> str | None:
        """Return a reply that was made after ``oldest``."""
        wanted = sa.select(_replies.c.body).where(_replies.c.digest == digest, _replies.c.made_at > _number(oldest))
        found = self._once(lambda connection: connection.execute(wanted).scalar())
        return None if found is None else str(found)

    def write(self, digest: str, body: str, now: float, oldest: float) -> None:
        """Write a reply, or nothing if another process writes the same one at this moment."""
        row = {"made_at": now, "body": body}

        def work(connection: sa.Connection) -> None:
            changed = connection.execute(sa.update(_replies).where(_replies.c.digest == digest).values(**row))
            if not changed.rowcount:
                connection.execute(sa.insert(_replies).values(digest=digest, **row))

        with suppress(exc.IntegrityError):
            self._once(work)
        with self._lock:
            self._until_clean -= 1
            cleans = self._until_clean <= 0
            if cleans:
                self._until_clean = _CLEAN_EVERY
        if cleans:
            self._once(lambda connection: self._clean(connection, oldest))

    def _clean(self, connection: sa.Connection, oldest: float) -> None:
        """Delete what is too old, and the oldest ones of too many."""
        connection.execute(sa.delete(_replies).where(_replies.c.made_at <= _number(oldest)))
        newest = sa.select(_replies.c.made_at).order_by(_replies.c.made_at.desc()).offset(self._size).limit(1)
        edge = connection.execute(newest).scalar()
        if edge is not None:
            connection.execute(sa.delete(_replies).where(_replies.c.made_at <= edge))

    def clear(self) -> None:
        """Delete all replies."""
        self._once(lambda connection: connection.execute(sa.delete(_replies)))

    def _once(self, work: Callable[[sa.Connection], _T]) -> _T:
        if not self._ready:
            self._prepare()
        with self._engine.begin() as connection:
            return work(connection)

    def _prepare(self) -> None:
        path = self._parsed.database
        if self._sqlite and path and "uri" not in self._parsed.query:
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        if self._sqlite:
            with suppress(exc.OperationalError), self._engine.connect() as connection:  # locked: it is set another time
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        try:
            _tables.create_all(self._engine)
        except exc.DBAPIError:  # perhaps as another process makes it at this moment
            _tables.create_all(self._engine)
        with self._lock:
            self._ready = True

    def close(self) -> None:
        """Close the connections; new ones are made when they are needed."""
        self._engine.dispose()

    def forked(self) -> None:
        """Leave the parent's connections alone: what the child does to them would reach the parent's server or file."""
        _parents.append(self._engine.pool)  # so that nothing closes them
        self._engine.dispose(close=False)
        self._lock = threading.RLock()


_parents: list[Any] = []  # pools of the parent's connections, in a forked child


def _number(moment: float) -> float:
    return max(moment, -1e300)  # databases have no infinity


def _parsed(url: str | os.PathLike[str]) -> sa.URL:
    """Return a URL with its driver.

    Raises:
        ConfigError: it is none, or has no file.
    """
    if not isinstance(url, (str, os.PathLike)) or not os.fspath(url):
        raise ConfigError(f"SQLCache takes a URL or the path of a file, not {type(url).__name__}")
    if not isinstance(url, str) or "://" not in url:
        return sa.URL.create("sqlite", database=str(Path(url).absolute()))
    try:
        parsed = sa.make_url(url)
    except (exc.ArgumentError, ValueError):
        parsed = None  # raised below, where no traceback has the error, as its text may have the password
    if parsed is None:
        raise ConfigError(
            "SQLCache cannot read its URL; it is like sqlite:///replies.db or postgresql://user@host/name"
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigError("a SQLite database in memory is lost with its connection: use MemoryCache()")
    if parsed.drivername in ("postgres", "postgresql"):
        drivers = [driver for driver in ("psycopg", "psycopg2") if find_spec(driver) is not None]
        if not drivers:
            raise ConfigError('PostgreSQL needs a driver: python -m pip install "psycopg[binary]"')
        parsed = parsed.set(drivername=f"postgresql+{drivers[0]}")
    return parsed
