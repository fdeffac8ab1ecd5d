"""Transactions on a database whose tables are made at the first use: ``SQLDatabase``."""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from streamkit.errors import StoreError
from streamkit.sql.addresses import parse_url
from streamkit.sql.engine import make_engine
from streamkit.sql.forks import forks_wait_for_writes
from streamkit.sql.versions import Steps

__all__ = ["SQLDatabase"]

_T = TypeVar("_T")

_TRIES = 5  # to make the tables, as other processes may do so at the same moment
_IN_THE_WAY = ("40001", "40P01")  # PostgreSQL rolled a transaction back for another one: serialization, deadlock
_MOST_ROLLED_BACK = 4  # times that a transaction is done again for that
_PAUSE = 0.02  # seconds between two tries to take a lock for which the database does not wait by itself


class SQLDatabase:
    """A database with the tables of one user, and transactions on it.

    Nothing is connected to before the first use. A file of SQLite is made readable for its user alone, is in WAL mode,
    and is flushed to the disk at each commit.

    Owner of the fields: ``_lock`` guards ``_ready``; the engine protects itself.

    Threads: any. A forked child makes connections of its own.

    Args:
        url: a URL of SQLAlchemy's, or the path of a file of SQLite.
        steps: make the tables.
        user: what the database is for, such as ``SQLStore``: the subject of errors.
        example: the name of a database, for the error of a URL that cannot be read.
        in_memory: the error for a database of SQLite that has no file.
        timeout: seconds to wait for a connection, for a free one, and for a lock of somebody else.
        inside: a context in which each transaction is done.

    Raises:
        ConfigError: the URL is none, or the driver is not installed.

    Attributes:
        name: the URL without its password, as errors show it.
        is_sqlite: whether it is a file of SQLite.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        steps: Steps,
        *,
        user: str,
        example: str,
        in_memory: str,
        timeout: float,
        inside: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._parsed = parse_url(url, user, example=example, in_memory=in_memory)
        self.name = repr(self._parsed.render_as_string(hide_password=True))
        self.is_sqlite = self._parsed.get_backend_name() == "sqlite"
        self._steps = steps
        self._timeout = timeout
        self._inside = inside
        self._lock = threading.RLock()
        self._ready = False
        self._engine = make_engine(self._parsed, self.name, user, timeout)
        _databases.add(self)
        weakref.finalize(self, self._engine.dispose)

    # -- transactions ------------------------------------------------------------------------------------

    def read(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Return what ``work`` reads, in one transaction.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._errors("read"):
            self._prepare()
            return self._repeated(work, writes=False)

    def write(self, work: Callable[[sa.Connection], _T], *, durable: bool = True) -> _T:
        """Do ``work`` in one transaction, and return its result.

        With ``durable=False`` a power cut may undo it, where the database is a file: it saves a wait for the disk.

        It is done again where the connection was lost, so it has to notice what it has written itself; and where
        PostgreSQL rolled it back because of another transaction.

        Raises:
            StoreError: the database cannot be written.
            sqlalchemy.exc.IntegrityError: a key is taken, perhaps by a transaction of somebody else; nothing was
                written.
        """
        taken = None
        with self._errors("written"):
            self._prepare()
            try:
                return self._repeated(work, writes=True, durable=durable)
            except exc.IntegrityError as error:
                taken = error
        raise taken

    def _repeated(self, work: Callable[[sa.Connection], _T], *, writes: bool, durable: bool = True) -> _T:
        """Do a transaction; once more where the connection was lost, some times more where another was in the way."""
        lost, rolled_back = 0, 0
        while True:
            try:
                return self._once(work, writes=writes, durable=durable)
            except exc.DBAPIError as error:
                if error.connection_invalidated:
                    lost += 1
                elif _sqlstate(error) in _IN_THE_WAY:
                    rolled_back += 1
                else:
                    raise
                if lost > 1 or rolled_back > _MOST_ROLLED_BACK:
                    raise
            # Of two in a deadlock both may have been rolled back: they are not to meet again.
            time.sleep(random.uniform(0, _PAUSE * rolled_back))

    def _once(self, work: Callable[[sa.Connection], _T], *, writes: bool, durable: bool) -> _T:
        forks = forks_wait_for_writes() if writes and self.is_sqlite else nullcontext()
        with forks, self._inside(), self._engine.connect() as plain:
            connection = plain.execution_options(streamkit_writes=writes, streamkit_durable=durable)
            with connection.begin():
                return work(connection)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Raise a ``StoreError`` for what the database, its driver or the disk raises."""
        try:
            yield
        except (exc.SQLAlchemyError, OSError) as error:
            raise self.failure(error, what) from error

    def failure(self, error: BaseException, what: str) -> StoreError:
        """Return the error for what the database, its driver or the disk raised.

        Args:
            error: raised by them.
            what: ``read`` or ``written``.
        """
        text = self.reason(error)
        if "database is locked" in text:
            text += f", by somebody else and for more than {self._timeout:g} s"
        return StoreError(f"the database {self.name} cannot be {what}: {text}")

    @staticmethod
    def reason(error: BaseException) -> str:
        """Return why a database failed, in a line without the values of a statement."""
        return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]

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
        if self.is_sqlite:
            self._make_file()
        tries_left = _TRIES
        while not self._ready:
            try:
                self._ready = self._repeated(
                    lambda connection: self._steps.are_done(connection, self.name), writes=False
                )
                if not self._ready:
                    self._repeated(self._steps.do_next, writes=True)
            except exc.DBAPIError as error:  # perhaps as another process makes them; a lock was waited for already
                tries_left -= 1
                if not tries_left or "locked" in str(error):
                    raise

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


def _sqlstate(error: exc.DBAPIError) -> object:
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


_databases: weakref.WeakSet[SQLDatabase] = weakref.WeakSet()
_parents: list[object] = []  # the pools of a parent process


def _after_fork_in_child() -> None:
    for database in tuple(_databases):
        database._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
