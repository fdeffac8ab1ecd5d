"""Read what a configuration says of the database alone: ``read_storage``, for commands that serve nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping

import attrs

from streamkit.gateway.config.problems import ConfigProblems
from streamkit.gateway.config.reading import document_of, storage_of
from streamkit.gateway.config.values import Secret

__all__ = ["Storage", "read_storage"]


@attrs.frozen
class Storage:
    """Where tokens and balances are.

    Attributes:
        database: its URL, which may have a password.
        secret: the bytes with which tokens are hashed.
    """

    database: str = attrs.field(repr=False)
    secret: Secret


def read_storage(
    path: str | os.PathLike[str] | None, environ: Mapping[str, str], *, database: str | None = None
) -> Storage:
    """Return the table ``[storage]`` of a file, checked; the rest need not be right, such as the keys of providers.

    Args:
        path: of the file; ``None`` for what holds without one.
        environ: where values such as ``"$STREAMKIT_SECRET"`` are looked up.
        database: in place of what the file says.

    Raises:
        ConfigProblems: something is wrong; it has all mistakes, each with its line.
        ConfigError: a library is missing.
    """
    document = document_of(path, environ)
    found = storage_of(document, document.root().table("storage"), database)
    if document.problems:
        raise ConfigProblems.of(document.problems)
    return Storage(found["database"], found["secret"])
