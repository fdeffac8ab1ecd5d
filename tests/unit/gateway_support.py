"""What tests of the gateway's core have in common: databases, a clock, tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from streamkit.gateway.core.database import GatewayDatabase
from streamkit.gateway.core.tokens import Tokens
from tests.postgres import make_postgres

__all__ = ["NOW", "SECRET", "Clock", "anywhere", "clock", "database", "make_postgres", "rows", "tokens"]

NOW = 1_800_000_000.0
SECRET = b"0123456789abcdef0123456789abcdef"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[GatewayDatabase]:
    """A database of SQLite."""
    with closing(GatewayDatabase(tmp_path / "gateway.db")) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], GatewayDatabase]]:
    """Open the same database as often as it is called, as processes would."""
    url = (
        f"sqlite:///{tmp_path}/gateway.db" if request.param == "sqlite" else request.getfixturevalue("make_postgres")()
    )
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(GatewayDatabase(url)))


@pytest.fixture
def tokens(database: GatewayDatabase, clock: Clock) -> Tokens:
    return Tokens(database, SECRET, clock=clock)


def rows(database: GatewayDatabase, table: sa.Table) -> list[dict[str, Any]]:
    """Return what is in a table."""
    return [
        dict(row) for row in database.read(lambda connection: connection.execute(sa.select(table)).mappings().all())
    ]
