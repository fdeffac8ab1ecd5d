"""Keep replies in a database, for any number of processes: ``SQLCache``."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError, LogError
from streamkit.logs.json_text import read_chunk, write_chunk
from streamkit.policies.cache import Cache
from streamkit.policies.played import Kept
from streamkit.settings import seconds_of, shown
from streamkit.values.chunks import link
from streamkit.wire.secrets import Masked

if TYPE_CHECKING:
    from streamkit.policies.cache_table import CacheTable

__all__ = ["SQLCache"]

_log = logging.getLogger("streamkit")

_VERSION = 1  # of what a row has
_NEEDS_EXTRA = 'SQLCache needs SQLAlchemy: python -m pip install "streamkit[sql]"'


class SQLCache(Cache):
    """Gives the same request the same reply again, from a database that any number of processes share.

    ::

        SQLCache("replies.db")
        SQLCache("postgresql://app@db.example.com/replies")

    ``Cache`` says what is kept, and how it is played. Each reply is a row of the table ``streamkit_cache``, which is
    made at the first use. The rows have the replies as they are, not the requests; a file of SQLite is made readable
    for its user alone. A row that is damaged, or of a newer version of streamkit, counts as missing, and the next
    reply replaces it.

    The database is asked when a stream is started, and when its reply is whole, in the thread that does so. Where it
    fails, the reply comes as without a cache, and the logger ``streamkit`` has a warning; then the database is left
    alone for ``pause`` seconds. Requests under way are shared within one process only.

    Args:
        url: a URL of SQLAlchemy's, or the path of a file of SQLite.
        ttl: seconds for which a reply is kept; ``None`` for no limit.
        size: how many replies are kept, from 1, about; the oldest ones go first.
        pace: play a reply as fast as it once came, in place of at once.
        wait: seconds without a chunk that an equal request waits for another one, before it is sent as well.
        timeout: seconds to wait for a lock or a connection.
        pause: seconds for which a database that has failed is not asked.
        clock: seconds since 1970, for tests.

    Raises:
        ConfigError: a value is of a wrong kind, or SQLAlchemy or the database's driver is not installed.

    Owner of the fields: ``_asleep_until`` is written by single assignments, by any thread; the others never change.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        ttl: float | None = 3600.0,
        *,
        size: int = 100_000,
        pace: bool = False,
        wait: float = 30.0,
        timeout: float = 2.0,
        pause: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(ttl, pace=pace, wait=wait)
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigError(f"SQLCache(size=...) is a number from 1, not {shown(size)}")
        seconds = seconds_of(timeout, "SQLCache(timeout=...)")
        if not seconds:
            raise ConfigError("SQLCache(timeout=...) is a number of seconds above 0")
        url = Masked(url) if isinstance(url, str) else url  # it may have a password
        try:
            table = late_import("streamkit.policies.cache_table")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "sqlalchemy":
                raise
            raise ConfigError(_NEEDS_EXTRA) from None
        self._table: CacheTable = table.CacheTable(url, seconds, size)
        self._pause = seconds_of(pause, "SQLCache(pause=...)") or 0.0
        self._clock = clock
        self._asleep_until = -float("inf")  # on time.monotonic

    def _find(self, digest: str) -> Kept | None:
        body = self._asked(lambda: self._table.read(digest, self._oldest()))
        return None if body is None else _read(body)

    def _keep(self, digest: str, kept: Kept) -> None:
        body = _written(kept)
        if body is not None:
            self._asked(lambda: self._table.write(digest, body, self._clock(), self._oldest()))

    def _oldest(self) -> float:
        return -float("inf") if self._ttl is None else self._clock() - self._ttl

    def _asked(self, work: Callable[[], str | None]) -> str | None:
        if self._owner != os.getpid():
            self._forked()
        if time.monotonic() < self._asleep_until:
            return None
        try:
            return work()
        except self._table.failures as error:
            self._asleep_until = time.monotonic() + self._pause
            # Not the error's text, which may have the statement, and so a reply.
            _log.warning(
                "%r cannot be used, and is left alone for %g s: %s", self, self._pause, self._table.reason(error)
            )
            return None

    def _forked(self) -> None:
        super()._forked()
        self._table.forked()

    def clear(self) -> None:
        """Drop all replies; where the database fails, the logger ``streamkit`` has a warning."""
        self._asked(self._table.clear)

    def close(self) -> None:
        """Close the connections. The cache can be used again, and makes new ones then."""
        self._table.close()

    def __repr__(self) -> str:
        return f"<SQLCache {self._table.name}>"


def _written(kept: Kept) -> str | None:
    """Return what a row has; ``None`` for a reply that cannot be written."""
    times = [round(seconds, 4) for seconds in kept.seconds]
    head = {"version": _VERSION, "provider": kept.provider, "model": kept.model, "seconds": times}
    try:
        text = "\n".join([json.dumps(head), *map(write_chunk, kept.chunks)])
        text.encode()
    except (TypeError, ValueError, ConfigError):  # something in provider data that is no JSON
        return None
    return None if "\0" in text else text


def _read(body: str) -> Kept | None:
    """Return what a row has, ``None`` for one that is damaged or newer."""
    head, *lines = body.split("\n")
    try:
        read: Any = json.loads(head)
        if not isinstance(read, dict) or read.get("version") != _VERSION:
            return None
        seconds = [float(each) for each in read["seconds"]]
        chunks = tuple(link(read_chunk(line, "a row of a cache") for line in lines))
        whole = bool(chunks) and chunks[-1].finished and len(chunks) == len(seconds)
        return Kept(str(read["provider"]), str(read["model"]), chunks, tuple(seconds)) if whole else None
    except (LogError, LookupError, TypeError, ValueError, OverflowError, RecursionError):
        return None
