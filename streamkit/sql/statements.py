"""Statements of SQLAlchemy's Core that the driver runs by itself: ``Statement``, ``fetch`` and ``run``.

A statement that goes through SQLAlchemy costs some 30 us of processor time, most of it for results of any type; the
driver takes 2 us for the same. Whoever runs ten small ones for each request notices. It is for tables whose columns are
texts, whole numbers, floats and booleans, which drivers take and give as they are; SQLite gives a boolean as 0 or 1.

psycopg sends statements that are run together at once, and waits once: others wait for the locks of a transaction, and
each wait of its own makes theirs longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import exc

__all__ = ["ByKeys", "Call", "Statement", "fetch", "run"]


class Call(NamedTuple):
    """A statement, and the values of its parameters by their names: once, or for each of many rows."""

    statement: Statement
    values: Sequence[Mapping[str, Any]]


class _Compiled:
    """A statement as text, with what makes the driver's parameters of a mapping.

    Args:
        statement: to compile.
        dialect: of the database.
        names: of the parameters that an insert has.
    """

    def __init__(self, statement: Any, dialect: sa.Dialect, names: Sequence[str] | None) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=names)
        self.text = str(compiled)
        self._positions: Sequence[str] | None = compiled.positiontup
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Return the parameters in the driver's form."""
        if self._positions is None:
            return {**self._constants, **values}
        constants = self._constants
        return [values[name] if name in values else constants[name] for name in self._positions]


class Statement:
    """A statement, compiled once for each kind of database.

    Threads: any; two may both compile it, which does no harm.

    Args:
        make: returns the statement for the name of a dialect.
        names: of the parameters, for an insert without values of its own.
    """

    def __init__(self, make: Callable[[str], Any], names: Sequence[str] | None = None) -> None:
        self._make = make
        self._names = names
        self._compiled: dict[str, _Compiled] = {}

    def __call__(self, *values: Mapping[str, Any]) -> Call:
        """Return the statement with values of its parameters, or with those for each of many rows."""
        return Call(self, values or ({},))

    def compiled(self, dialect: sa.Dialect) -> _Compiled:
        """Return it as the database's driver takes it."""
        key = f"{dialect.name}+{dialect.driver}"
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = _Compiled(self._make(dialect.name), dialect, self._names)
        return found


class ByKeys:
    """A statement that reads rows by their keys.

    There is one for each power of two, so that few are compiled; a key may be in it twice.

    Args:
        make: returns the statement for a condition.
        key: the column of the condition.
    """

    def __init__(self, make: Callable[[sa.ColumnElement[bool]], Any], key: sa.Column[Any]) -> None:
        self._make = make
        self._key = key
        self._statements: dict[int, Statement] = {}

    def __call__(self, keys: Sequence[str]) -> Call | None:
        """Return the statement with its keys; ``None`` for no keys."""
        if not keys:
            return None
        size = 1 << (len(keys) - 1).bit_length()
        statement = self._statements.get(size)
        if statement is None:
            statement = self._statements[size] = self._of_size(size)
        values = {f"key{at}": key for at, key in enumerate(keys)}
        return statement(values | {f"key{at}": keys[-1] for at in range(len(keys), size)})

    def _of_size(self, size: int) -> Statement:
        names = [sa.bindparam(f"key{at}", type_=self._key.type) for at in range(size)]
        statement = self._make(self._key.in_(names))
        return Statement(lambda _dialect: statement)


def fetch(connection: sa.Connection, calls: Sequence[Call | None]) -> list[list[tuple[Any, ...]]]:
    """Run statements one after the other, and return the rows of each; none for ``None``.

    Args:
        connection: in a transaction.
        calls: each with the values of one row of parameters.

    Raises:
        sqlalchemy.exc.DBAPIError: as SQLAlchemy raises it.
    """
    with _cursors(connection, len(calls)) as cursors:
        with _at_once(connection, len(calls)):
            for cursor, call in zip(cursors, calls, strict=True):
                if call is not None:
                    compiled = call.statement.compiled(connection.dialect)
                    cursor.execute(compiled.text, compiled.parameters(call.values[0]))
        return [[] if call is None else list(cursor.fetchall()) for cursor, call in zip(cursors, calls, strict=True)]


def run(connection: sa.Connection, calls: Sequence[Call]) -> None:
    """Run statements that give no rows, one after the other, each for its rows of parameters; there may be none.

    Args:
        connection: in a transaction.
        calls: the statements.

    Raises:
        sqlalchemy.exc.DBAPIError: as SQLAlchemy raises it.
    """
    calls = [call for call in calls if call.values]
    with _cursors(connection, len(calls)) as cursors, _at_once(connection, len(calls)):
        for cursor, call in zip(cursors, calls, strict=True):
            compiled = call.statement.compiled(connection.dialect)
            if len(call.values) == 1:
                cursor.execute(compiled.text, compiled.parameters(call.values[0]))
            else:
                cursor.executemany(compiled.text, [compiled.parameters(each) for each in call.values])


@contextmanager
def _at_once(connection: sa.Connection, count: int) -> Iterator[None]:
    """Have psycopg send all statements of the block at once; the results are there when it ends."""
    pipeline = getattr(connection.connection.driver_connection, "pipeline", None)
    if pipeline is None or count < 2:
        yield
    else:
        with pipeline():
            yield


@contextmanager
def _cursors(connection: sa.Connection, count: int) -> Iterator[list[Any]]:
    """Give cursors of the driver, and raise its errors as SQLAlchemy does."""
    dialect = connection.dialect
    errors = dialect.loaded_dbapi.Error
    plain = connection.connection
    try:
        with ExitStack() as stack:
            cursors = [plain.cursor() for _ in range(count)]
            for cursor in cursors:
                stack.callback(cursor.close)
            yield cursors
    except errors as error:
        lost = dialect.is_disconnect(error, plain, None)
        if lost:
            connection.invalidate(error)
        raise exc.DBAPIError.instance(
            "statements", None, error, errors, hide_parameters=True, connection_invalidated=lost, dialect=dialect
        ) from error
