"""The database of a configuration: its URL, where it is by default, and the secret beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError

__all__ = ["database_of", "default_database", "file_of", "make_private", "secret_beside"]

_FOLDER = "STREAMKIT_DATA"  # names the folder of the command line's other data as well
_FILE = "gateway.db"
_SQLITE = re.compile(r"sqlite(?:\+\w+)?:///(?P<path>[^?]+)(?P<query>\?.*)?", re.DOTALL)
_POSTGRESQL = re.compile(r"postgresql(?:\+[a-z0-9]+)?://")


def default_database(environ: Mapping[str, str]) -> str:
    """Return the URL of the database of this user.

    Raises:
        ConfigError: platformdirs is not installed, and ``STREAMKIT_DATA`` names no folder.
    """
    given = environ.get(_FOLDER, "").strip()
    if given:
        return _url_of(Path(given).expanduser().absolute() / _FILE)
    try:
        folder: Path = late_import("platformdirs").user_data_path("streamkit", appauthor=False)
    except ModuleNotFoundError:
        raise ConfigError('the gateway needs platformdirs: python -m pip install "streamkit[serve]"') from None
    return _url_of(folder / _FILE)


def database_of(text: str, folder: Path) -> str:
    """Return the URL of a database, with the whole path of a file of SQLite.

    Args:
        text: a URL, or the path of a file of SQLite.
        folder: that a relative path starts from.

    Raises:
        ConfigError: it is neither, or the folder of the file does not exist.
    """
    if "://" not in text:
        return _of_file(folder / Path(text).expanduser(), "")
    if found := _SQLITE.fullmatch(text):
        if found["path"] != ":memory:":
            return _of_file(folder / found["path"], found["query"] or "")
    elif _POSTGRESQL.match(text):
        if not urlsplit(text).path.strip("/"):
            raise ConfigError("names no database: postgresql://user@host/name")
        return text
    elif text.startswith("postgres://"):
        raise ConfigError("begins with postgresql:// and not with postgres://")
    if text.startswith("sqlite"):
        raise ConfigError("a database in memory is lost with its process: name a file, as in sqlite:////path/file.db")
    raise ConfigError("has to be a file of SQLite, as sqlite:////path/file.db, or postgresql://user@host/name")


def _of_file(path: Path, query: str) -> str:
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent}: make it, and let this user write to it")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: name a file in it")
    return _url_of(path) + query


def _url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def file_of(database: str) -> Path | None:
    """Return the file of a database of SQLite; ``None`` for one on a server."""
    found = _SQLITE.fullmatch(database)
    return None if found is None else Path(found["path"])


def secret_beside(database: str) -> Path | None:
    """Return where the secret of a database of SQLite is kept; ``None`` for one on a server."""
    file = file_of(database)
    return None if file is None else file.with_name(f"{file.name}.secret")


def make_private(database: str) -> None:
    """Make the file of a database of SQLite, and its folder, for this user alone, where they do not exist.

    SQLite gives its other files the permissions of this one. They have hashes of tokens, balances and kept replies.

    Raises:
        ConfigError: it cannot be made.
    """
    file = file_of(database)
    if file is None or file.exists():
        return
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:  # another process was faster
        pass
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be made: {error.strerror or error}; name another place with --database"
        ) from None
