"""The gateway's database, for the commands that look after tokens and money: ``with_database`` and ``opened``."""

from __future__ import annotations

import functools
import getpass
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
from click.core import ParameterSource

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError

if TYPE_CHECKING:
    from streamkit.gateway.core.audit import Change
    from streamkit.gateway.core.database import GatewayDatabase
    from streamkit.gateway.core.ledger import Ledger
    from streamkit.gateway.core.tokens import Tokens

__all__ = ["Gateway", "Place", "opened", "who", "with_database"]

_NEEDS = 'tokens and balances need {}: python -m pip install "streamkit[serve]"'
_PASSWORD = re.compile(r"[a-z0-9+]+://[^/@]*:[^/@]+@")
_MOST_SHOWN = 80  # characters of a name


@attrs.frozen
class Place:
    """Where the database is, as the options say it."""

    config: str | None
    database: str | None = attrs.field(repr=False)


@attrs.frozen
class Gateway:
    """The gateway's database, opened for one command.

    Attributes:
        database: itself.
        tokens: its tokens; ``None`` for a command that does without them.
        ledger: its balances.
    """

    database: GatewayDatabase
    tokens: Tokens
    ledger: Ledger

    def changes(self, subject: str) -> list[Change]:
        """Return what was changed of a token or a team, the first change first."""
        read = late_import("streamkit.gateway.core.audit").changes
        return self.database.read(lambda connection: read(connection, subject))


def with_database(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that name the database; it gets their values as ``place``."""

    @click.option(
        "--config",
        "config",
        metavar="FILE",
        envvar="STREAMKIT_CONFIG",
        show_envvar=True,
        help="The configuration of streamkit serve, for its database.",
    )
    @click.option(
        "--database",
        "database",
        metavar="URL",
        envvar="STREAMKIT_GATEWAY_DATABASE",
        show_envvar=True,
        help="A file of SQLite, or $NAME for the environment variable that has postgresql://... By default the one of "
        "streamkit serve, in the folder of your user's data.",
    )
    @functools.wraps(command)  # with the options that it has already
    def run(config: str | None, database: str | None, **options: Any) -> int:
        given = click.get_current_context().get_parameter_source("database") is ParameterSource.COMMANDLINE
        return command(place=Place(config, _url(database, given)), **options)

    return run


def _url(text: str | None, given: bool) -> str | None:
    """Return a URL, and for ``$NAME`` that of the environment.

    Raises:
        click.UsageError: it has a password that others can read, or the variable is not set.
    """
    if text is None:
        return None
    if given and _PASSWORD.match(text):
        raise click.UsageError(
            "a password in --database can be read by everybody on this machine: put the URL into an environment "
            "variable, and name it: --database '$DATABASE_URL'"
        )
    if not text.startswith("$"):
        return text
    name = text[1:].strip("{}")
    if not os.environ.get(name):
        raise click.UsageError(f"the environment variable {name} of --database is not set")
    return os.environ[name]


@contextmanager
def opened(place: Place, *, makes: bool = False, without_tokens: bool = False) -> Iterator[Gateway]:
    """Open the database while the block runs.

    Args:
        place: where it is.
        makes: whether a file is made where there is none.
        without_tokens: for a command that needs no secret, as it deals with money alone.

    Raises:
        ConfigError: the configuration is wrong, a library is missing, or there is no database.
        StoreError: it cannot be read.
    """
    try:
        late_import("sqlalchemy")
    except ModuleNotFoundError:
        raise ConfigError(_NEEDS.format("SQLAlchemy")) from None
    config = late_import("streamkit.gateway.config.storage")
    secret: Any
    if without_tokens and place.config is None and place.database is not None:
        url, secret = config.database_of(place.database, Path.cwd()), None  # a server's needs no secret for this
    else:
        storage = late_import("streamkit.gateway.config.storage_reading").read_storage(
            place.config, os.environ, database=place.database
        )
        url, secret = storage.database, storage.secret
    file: Path | None = config.file_of(url)
    if file is not None and not file.exists():
        if not makes:
            raise ConfigError(f"there is no database {file} yet; streamkit token create makes it, and so does serve")
        config.make_private(url)
    database: GatewayDatabase = late_import("streamkit.gateway.core.database").GatewayDatabase(url)
    try:
        tokens: Any = None
        if not without_tokens:
            tokens = late_import("streamkit.gateway.core.tokens").Tokens(database, secret.read())
            tokens.prepare()
        yield Gateway(database, tokens, late_import("streamkit.gateway.core.ledger").Ledger(database))
    finally:
        database.close()


def who() -> str:
    """Return who runs the command, for the audit: user and machine, and who became root by sudo."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    before = os.environ.get("SUDO_USER", "")
    parts = [f"{before} as {user}" if before and before != user else user, socket.gethostname()]
    return "@".join("".join(letter for letter in part if letter.isprintable())[:_MOST_SHOWN] for part in parts)
