"""Every store does the same, in memory, in SQLite and in PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from streamkit import MemoryStore, SQLStore
from tests.conformance.check_store import check_store
from tests.postgres import make_postgres

__all__ = ["make_postgres"]  # a fixture


@pytest.fixture
def sql_store() -> Iterator[Callable[[str], SQLStore]]:
    """Make stores that are closed after the test."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(closing(SQLStore(url)))


def test_in_memory() -> None:
    """A `MemoryStore` does all that a store has to do."""
    store = MemoryStore()
    check_store(store, lambda: store)


def test_in_sqlite(tmp_path: Path, sql_store: Callable[[str], SQLStore]) -> None:
    """A `SQLStore` on a file of SQLite does all that a store has to do."""
    url = f"sqlite:///{tmp_path}/chats.db"
    check_store(sql_store(url), lambda: sql_store(url))


def test_with_a_connection_that_is_lost_at_each_commit(tmp_path: Path, sql_store: Callable[[str], SQLStore]) -> None:
    """What was written before the connection was lost is not written twice, and is no conflict with itself."""

    def forgetful() -> SQLStore:
        store = sql_store(str(tmp_path / "chats.db"))
        dialect = store._db._engine.dialect
        commit, lost = dialect.do_commit, []

        def commit_and_lose(connection: Any) -> None:
            commit(connection)
            if not lost or lost.pop():
                return lost.append(False)
            lost.append(True)
            raise sqlite3.ProgrammingError("Cannot operate on a closed database.")  # so SQLAlchemy takes it for lost

        dialect.do_commit = commit_and_lose  # type: ignore[method-assign]
        return store

    check_store(forgetful(), forgetful)


def test_in_postgresql(make_postgres: Callable[[], str], sql_store: Callable[[str], SQLStore]) -> None:
    """A `SQLStore` on PostgreSQL does all that a store has to do."""
    url = make_postgres()
    check_store(sql_store(url), lambda: sql_store(url))
