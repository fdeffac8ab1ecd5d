"""The tables of ``SQLStore``, and transactions on them: ``Database``. Imported late, as it needs SQLAlchemy."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from streamkit.concurrency.late_import import forks_wait
from streamkit.conversation.stores.store import inside_store
from streamkit.errors import ConfigError, StoreError

__all__ = ["SCHEMA", "Database"]

_T = TypeVar("_T")

SCHEMA = 1  # the version of these tables
_TRIES = 5  # to make the tables, as other processes may do so at the same moment
_PAUSE = 0.02  # seconds between two tries to take a lock for which the database does not wait by itself

_tables = sa.MetaData()
# On MySQL a TEXT of this length is a LONGTEXT, and a key compares without regard to case unless told otherwise.
_LONG = sa.Text().with_variant(sa.Text(2**32 - 1), "mysql", "mariadb")
_KEY = sa.String(255).with_variant(sa.String(255, collation="utf8mb4_bin"), "mysql", "mariadb")

_schema = sa.Table("streamkit_schema", _tables, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))
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


class Database:
    """A database with the tables of ``SQLStore``, and transactions on it.

    Owner of the fields: ``_lock`` guards ``_ready``; the engine protects itself.

    Args:
        url: see ``SQLStore``.
        timeout: see ``SQLStore``.
        forked: called in a forked child.

    Raises:
        ConfigError: the URL is none, or the driver is not installed.
    """

    def __init__(self, url: str | os.PathLike[str], timeout: float, forked: Callable[[], object]) -> None:
        self._parsed = _parsed(url)
        self.name = repr(self._parsed.render_as_string(hide_password=True))
        self._timeout = timeout
        self._sqlite = self._parsed.get_backend_name() == "sqlite"
        self._lock = threading.RLock()
        self._ready = False
        self._forked = forked
        self._engine = self._make_engine()
        _databases.add(self)
        weakref.finalize(self, self._engine.dispose)

    def _make_engine(self) -> sa.Engine:
        options: dict[str, Any] = {"hide_parameters": True, "pool_timeout": self._timeout}
        if not self._sqlite:
            options["pool_pre_ping"] = True  # a server, or what is between, closes connections that are idle
        try:
            with forks_wait():
                engine = sa.create_engine(self._parsed, **options)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"the driver for {self.name} is not installed: it is the Python module {error.name}; another one is "
                "named in the URL, as in mysql+pymysql://"
            ) from None
        except (exc.SQLAlchemyError, TypeError, ValueError) as error:
            raise ConfigError(f"SQLStore cannot use {self.name}: {type(error).__name__}: {error}") from None
        if engine.dialect.is_async:
            raise ConfigError(
                f"SQLStore cannot use {self.name}: streamkit is synchronous, and so is the driver it needs"
            )
        # Not a method of this object: the engine is kept until this object has gone, and would keep it.
        milliseconds, backend = int(self._timeout * 1000), self._parsed.get_backend_name()
        sa.event.listen(engine, "connect", lambda connection, _record: _on_connect(connection, backend, milliseconds))
        if self._sqlite:
            sa.event.listen(engine, "begin", _begin)
        return engine

    # -- transactions ------------------------------------------------------------------------------------

    def read(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Return what ``work`` reads, in one transaction.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._errors("read"):
            self._prepare()
            return self._twice(work, writes=False)

    def write(self, work: Callable[[sa.Connection], _T]) -> _T | None:
        """Do ``work`` in one transaction, and return its result; ``None`` if another one took one of its keys.

        It is done again where the connection was lost, so it has to notice what it has written itself.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._errors("written"):
            self._prepare()
            try:
                return self._twice(work, writes=True)
            except exc.IntegrityError:
                return None

    def _twice(self, work: Callable[[sa.Connection], _T], *, writes: bool) -> _T:
        try:
            return self._once(work, writes=writes)
        except exc.DBAPIError as error:
            if not error.connection_invalidated:
                raise
        return self._once(work, writes=writes)

    def _once(self, work: Callable[[sa.Connection], _T], *, writes: bool) -> _T:
        with inside_store(), self._engine.connect() as plain:
            connection = plain.execution_options(streamkit_writes=writes)
            with connection.begin():
                return work(connection)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Raise a ``StoreError`` for what the database, its driver or the disk raises."""
        try:
            yield
        except (exc.SQLAlchemyError, OSError) as error:
            text = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            if "database is locked" in text:
                text += f", by somebody else and for more than {self._timeout:g} s"
            raise StoreError(f"the database {self.name} cannot be {what}: {text}") from error

    # -- the tables --------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        if not self._ready:
            with self._lock:
                self._make_ready()

    def _make_ready(self) -> None:
        """Make the file and the tables if they are not there.

        Raises:
            ConfigError: they were made by a newer version of streamkit.
        """
        if self._ready:  # by another thread meanwhile
            return
        if self._sqlite:
            self._make_file()
        version = self._schema_version()
        if version > SCHEMA:
            raise ConfigError(
                f"the tables in {self.name} were made by a newer version of streamkit (version {version}, this one "
                f"uses up to {SCHEMA}); upgrade to use them"
            )
        self._ready = True

    def _schema_version(self) -> int:
        for tries_left in reversed(range(_TRIES)):
            try:
                version = self._twice(_schema_version, writes=False)
                return self._twice(_make_tables, writes=True) if version is None else version
            except exc.DBAPIError as error:  # perhaps as another process makes them; a lock was waited for already
                if not tries_left or "locked" in str(error):
                    raise
        raise AssertionError

    def _make_file(self) -> None:
        """Make a file that only its user can read, and set WAL mode, which lasts. Its other files are made alike."""
        path = self._parsed.database
        if path and "uri" not in self._parsed.query:
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self._set_wal_mode()
                return
            except exc.OperationalError as error:
                # SQLite does not wait by itself here, so that two that change the mode do not wait for each other.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)

    def _set_wal_mode(self) -> None:
        with self._engine.connect().execution_options(streamkit_begins=False) as connection:
            if connection.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")

    def close(self) -> None:
        """Close the connections; new ones are made when they are needed."""
        self._engine.dispose()

    def _after_fork_in_child(self) -> None:
        """Leave the parent's connections alone: what the child does to them would reach the parent's server or file."""
        _parents.append(self._engine.pool)  # so that nothing closes them
        self._engine.dispose(close=False)
        self._lock = threading.RLock()
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


def _parsed(url: str | os.PathLike[str]) -> sa.URL:
    """Return a URL with its driver.

    Raises:
        ConfigError: it is none, or has no file.
    """
    if not isinstance(url, (str, os.PathLike)):
        raise ConfigError(f"SQLStore takes a URL or the path of a file, not {type(url).__name__}")
    if not os.fspath(url):
        raise ConfigError("SQLStore takes a URL or the path of a file, not an empty text")
    if not isinstance(url, str) or "://" not in url:
        return sa.URL.create("sqlite", database=str(Path(url).absolute()))
    try:
        parsed = sa.make_url(url)
    except (exc.ArgumentError, ValueError):
        parsed = None  # raised below, where no traceback has the error, as its text may have the password
    if parsed is None:
        raise ConfigError("SQLStore cannot read its URL; it is like sqlite:///chats.db or postgresql://user@host/name")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigError(
            "a SQLite database in memory has nothing that lasts, and each thread its own: use MemoryStore()"
        )
    if parsed.drivername in ("postgres", "postgresql"):
        drivers = [driver for driver in ("psycopg", "psycopg2") if find_spec(driver) is not None]
        if not drivers:
            raise ConfigError('PostgreSQL needs a driver: python -m pip install "psycopg[binary]"')
        parsed = parsed.set(drivername=f"postgresql+{drivers[0]}")
    return parsed


def _on_connect(connection: Any, backend: str, milliseconds: int) -> None:
    try:
        _set_options(connection, backend, milliseconds)
    except BaseException:
        connection.close()  # which SQLAlchemy leaves to the garbage collector
        raise


def _set_options(connection: Any, backend: str, milliseconds: int) -> None:
    if backend == "sqlite":
        connection.isolation_level = None  # _begin begins the transactions
    cursor = connection.cursor()
    try:
        if backend == "sqlite":
            cursor.execute(f"PRAGMA busy_timeout = {milliseconds}")
            # With NORMAL, a power cut would lose the last turns in WAL mode.
            cursor.execute("PRAGMA synchronous = FULL")
        elif backend == "postgresql":
            cursor.execute(f"SET lock_timeout = {milliseconds}")
            connection.commit()
    finally:
        cursor.close()


def _begin(connection: sa.Connection) -> None:
    """Begin a transaction of SQLite; one that writes with its lock, as a lock taken later fails without a wait."""
    options = connection.get_execution_options()
    if options.get("streamkit_begins", True):  # the mode of a file cannot be set in a transaction
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("streamkit_writes") else "BEGIN")


def _schema_version(connection: sa.Connection) -> int | None:
    if not sa.inspect(connection).has_table(_schema.name):
        return None
    return connection.execute(sa.select(sa.func.max(_schema.c.version))).scalar()


def _make_tables(connection: sa.Connection) -> int:
    version = _schema_version(connection)  # another process may have made them meanwhile
    if version is None:
        _tables.create_all(connection)
        connection.execute(_schema.insert().values(version=SCHEMA))
    return SCHEMA if version is None else version


_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_parents: list[object] = []  # the pools of a parent process


def _after_fork_in_child() -> None:
    for database in tuple(_databases):
        database._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
