"""The URL of a database: ``parse_url``."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import exc

from streamkit.errors import ConfigError

__all__ = ["parse_url"]


def parse_url(url: str | os.PathLike[str], user: str, *, example: str, in_memory: str) -> sa.URL:
    """Return a URL with its driver.

    Args:
        url: a URL of SQLAlchemy's, or the path of a file of SQLite.
        user: what the database is for, such as ``SQLStore``: the subject of the errors.
        example: the name of a database, for the error of a URL that cannot be read.
        in_memory: the error for a database of SQLite that has no file.

    Raises:
        ConfigError: it is none, it has no file, or PostgreSQL's driver is not installed.
    """
    if not isinstance(url, (str, os.PathLike)):
        raise ConfigError(f"{user} takes a URL or the path of a file, not {type(url).__name__}")
    if not os.fspath(url):
        raise ConfigError(f"{user} takes a URL or the path of a file, not an empty text")
    if not isinstance(url, str) or "://" not in url:
        return sa.URL.create("sqlite", database=str(Path(url).absolute()))
    try:
        parsed = sa.make_url(url)
    except (exc.ArgumentError, ValueError):
        parsed = None  # raised below, where no traceback has the error, as its text may have the password
    if parsed is None:
        raise ConfigError(
            f"{user} cannot read its URL; it is like sqlite:///{example}.db or postgresql://user@host/name"
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigError(in_memory)
    if parsed.drivername in ("postgres", "postgresql"):
        drivers = [driver for driver in ("psycopg", "psycopg2") if find_spec(driver) is not None]
        if not drivers:
            raise ConfigError('PostgreSQL needs a driver: python -m pip install "psycopg[binary]"')
        parsed = parsed.set(drivername=f"postgresql+{drivers[0]}")
    return parsed
