"""SQLAlchemy's engine with the options that a ``SQLDatabase`` needs: ``make_engine``."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from streamkit.concurrency.late_import import forks_wait
from streamkit.errors import ConfigError

__all__ = ["make_engine"]

# The drivers that know ``connect_timeout``, in whole seconds.
_WITH_CONNECT_TIMEOUT = ("psycopg", "psycopg2", "pymysql", "mysqldb")
_OF_LIBPQ = ("psycopg", "psycopg2")


def make_engine(url: sa.URL, name: str, user: str, timeout: float) -> sa.Engine:
    """Return the engine of a URL. It connects to nothing yet.

    Args:
        url: with its driver.
        name: the URL as errors show it.
        user: what the database is for; the subject of the errors.
        timeout: seconds to wait for a connection, for a free one, and for a lock.

    Raises:
        ConfigError: the driver is not installed, or is asynchronous.
    """
    backend = url.get_backend_name()
    options: dict[str, Any] = {"hide_parameters": True, "pool_timeout": timeout}
    if backend != "sqlite":
        options["pool_pre_ping"] = True  # a server, or what is between, closes connections that are idle
    try:
        with forks_wait():
            engine = sa.create_engine(url, **options)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the driver for {name} is not installed: it is the Python module {error.name}; another one is named in "
            "the URL, as in mysql+pymysql://"
        ) from None
    except (exc.SQLAlchemyError, TypeError, ValueError) as error:
        raise ConfigError(f"{user} cannot use {name}: {type(error).__name__}: {error}") from None
    if engine.dialect.is_async:
        raise ConfigError(f"{user} cannot use {name}: streamkit is synchronous, and so is the driver it needs")
    milliseconds = int(timeout * 1000)
    sa.event.listen(
        engine, "do_connect", lambda _dialect, _record, _arguments, known: _limit_connecting(url, known, timeout)
    )
    sa.event.listen(engine, "connect", lambda connection, _record: _on_connect(connection, backend, milliseconds))
    if backend == "sqlite":
        sa.event.listen(engine, "begin", _begin)
    return engine


def _limit_connecting(url: sa.URL, known: dict[str, Any], timeout: float) -> None:
    """Set how long a server may be silent, where the URL does not say it itself."""
    seconds = max(1, round(timeout))
    if url.get_driver_name() in _WITH_CONNECT_TIMEOUT:
        known.setdefault("connect_timeout", seconds)
    if url.get_driver_name() in _OF_LIBPQ:  # a server whose machine has gone would be waited for during hours
        known.setdefault("tcp_user_timeout", seconds * 1000)
        known.setdefault("keepalives_idle", seconds)


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
            # With NORMAL, a power cut would lose the last transactions in WAL mode.
            cursor.execute("PRAGMA synchronous = FULL")
        elif backend == "postgresql":
            cursor.execute(f"SET lock_timeout = {milliseconds}")
            # Whatever the server's default is: each statement is to see what was committed while it waited for a lock.
            cursor.execute("SET default_transaction_isolation = 'read committed'")
            connection.commit()
    finally:
        cursor.close()


def _begin(connection: sa.Connection) -> None:
    """Begin a transaction of SQLite; one that writes with its lock, as a lock taken later fails without a wait."""
    options = connection.get_execution_options()
    if not options.get("streamkit_begins", True):  # the mode of a file cannot be set in a transaction
        return
    if options.get("streamkit_writes"):
        level = "FULL" if options.get("streamkit_durable", True) else "NORMAL"
        if connection.info.get("synchronous", "FULL") != level:  # it is the connection's, until it is set again
            connection.exec_driver_sql(f"PRAGMA synchronous = {level}")
            connection.info["synchronous"] = level
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("streamkit_writes") else "BEGIN")
