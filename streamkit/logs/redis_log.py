"""A log on Redis Streams, across processes and machines: ``RedisLog``."""

from __future__ import annotations

import math
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import quote

import attrs

from streamkit.concurrency.late_import import forks_wait, late_import
from streamkit.concurrency.stop import StopEvent
from streamkit.errors import ConfigError, LogError
from streamkit.logs import scripts
from streamkit.logs.log import (
    CONFLICTS,
    Lease,
    Limits,
    Log,
    LogStatus,
    Record,
    behind_the_end,
    check_next,
    checked_id,
    checked_limits,
    conflict,
    deleted,
    superseded,
    unbroken,
    vanished,
    writer_lost,
)
from streamkit.settings import LONGEST_WAIT, shown
from streamkit.wire.secrets import Masked, without_userinfo

__all__ = ["RedisLog"]

_T = TypeVar("_T")

_NEEDS_EXTRA = 'RedisLog needs redis-py: python -m pip install "streamkit[redis]"'
_SECONDS = 5.0  # for a connection, and for an answer that Redis has no reason to delay
_LONGEST_BLOCK = 30.0  # seconds of one wait, so that a connection that died silently is found
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0  # seconds between two tries to reach Redis
_MOST_AT_ONCE = 500  # records in one command
_BEHIND_ALL = 2**53  # the number of a record that no log has
_NOTHING, _BEGUN = "0-0", "0-1"  # the ids of the entries before all, and of the mark that a writer has begun
_LATE = 0.02  # seconds by which a reader looks late at a lease that has run out
_STANDS_STILL = 0.05  # of the lease: an answer that is later than this is that of a Redis that was away


@attrs.define(eq=False)
class _Held(Lease):
    """A lease, with what was written under it: Redis may lose that, and gets it again.

    Attributes:
        kept: the last records, as many as the log keeps.
        size: the length of their texts.
    """

    kept: deque[Record] = attrs.field(factory=deque)
    size: int = 0

    def keep(self, records: Iterable[Record], limits: Limits) -> None:
        """Add the records that are new."""
        for record in records:
            if record.number <= self.last:
                continue
            check_next(self.last, bool(self.kept) and self.kept[-1].final, record)
            self.kept.append(record)
            self.last = record.number
            self.size += len(record.text)
        while len(self.kept) > 1 and (len(self.kept) > limits.max_records or self.size > limits.max_bytes):
            self.size -= len(self.kept.popleft().text)

    def since(self, number: int) -> list[Record] | None:
        """Return the records from a number on, ``None`` if they are not all kept."""
        if self.kept and self.kept[0].number > number:
            return None
        return [record for record in self.kept if record.number >= number]


@attrs.frozen
class _Look:
    """The state of a reply in Redis, with the records that a reader lacks."""

    status: Any
    last: int
    lease_ms: int
    records: Sequence[Record]


class RedisLog(Log):
    """Keeps replies in Redis, or in Valkey, where any process on any machine writes and reads them.

    A reader that waits blocks in Redis, on a connection of its own. It looks again when the lease that it knows of has
    run out; nothing else is polled. The writer keeps a copy of what it wrote. So if Redis is away for less than
    ``patience``, or comes back without its data, readers go on without a gap as long as the writer lives.

    Needs the extra ``redis``, and Redis 5 or newer.

    Threads: any, at the same time. A forked child makes connections of its own.

    Owner of the fields: ``_down_since`` and ``_up_since`` are written by any thread that calls Redis, each by a single
    assignment; a race between two of them changes by a moment when a failure is reported. The others never change.

    Args:
        url: ``redis://host:6379/0``, ``rediss://...`` or ``unix:///path/to/socket``, as redis-py reads it.
        prefix: the beginning of the names of all keys.
        patience: seconds for which Redis may be away before that is an error, of writers and of readers.
        lease: seconds after which a writer that does not renew its lease counts as lost. By default one that cannot
            reach Redis for 10 s does not lose it.
        keep: seconds that a reply is kept after its end, or after the last sign of its writer.
        max_records: the most records of one reply that are kept, the last ones. A reader that would need one that was
            dropped gets a ``LogError``, never a reply with a gap.
        max_bytes: the same for the length of their JSON; the last record is kept whatever its length.
        options: further arguments of ``redis.Redis.from_url``, such as ``username`` and ``password``.

    Raises:
        ConfigError: redis-py is not installed, the URL is none, or an argument is out of range.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "streamkit:log:",
        patience: float = 20.0,
        lease: float = 20.0,
        keep: float = 3600.0,
        max_records: int = 50_000,
        max_bytes: int = 32 * 2**20,
        **options: Any,
    ) -> None:
        self._limits = checked_limits("RedisLog", lease=lease, keep=keep, max_records=max_records, max_bytes=max_bytes)
        if isinstance(patience, bool) or not isinstance(patience, (int, float)) or not 0 <= patience <= LONGEST_WAIT:
            raise ConfigError(f"RedisLog(patience=...) must be a number of seconds from 0, not {shown(patience)}")
        try:
            self._redis: Any = late_import("redis")
            backoff, retry = late_import("redis.backoff"), late_import("redis.retry")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "redis":
                raise
            raise ConfigError(_NEEDS_EXTRA) from None
        self.lease = self._limits.lease
        self._prefix = prefix
        self._patience = float(patience)
        self._down_since: float | None = None
        self._up_since = -math.inf
        url = Masked(url) if isinstance(url, str) else url  # it may have a password
        settings = {
            "socket_connect_timeout": _SECONDS,
            "socket_timeout": _SECONDS,
            "max_connections": 2**20,  # each reader that waits has one; redis-py stops at 100 by itself
            **({} if str(url).startswith("unix:") else {"socket_keepalive": True}),
            **options,
            "retry": retry.Retry(backoff.NoBackoff(), 0),  # ``_reach`` tries again
            "protocol": 2,
            "decode_responses": False,
        }
        try:
            with forks_wait():
                self._client: Any = self._redis.Redis.from_url(str(url), **settings)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"RedisLog() takes a URL such as redis://localhost:6379/0: {error}") from None
        self._name = without_userinfo(str(url)).partition("?")[0]
        self._scripts = {
            name: self._client.register_script(getattr(scripts, name.upper()))
            for name in ("begin", "append", "release", "look", "stop", "delete")
        }

    # -- writing -----------------------------------------------------------------------------------------

    def begin(self, id: str) -> Lease:
        """See ``Log``."""
        lease = _Held(checked_id(id), uuid.uuid4().hex)
        found = self._script("begin", id, lease.token, self._lease_ms, self._keep_ms)
        if found:
            raise conflict(id, CONFLICTS[found - 1])
        return lease

    def append(self, lease: Lease, records: Sequence[Record]) -> None:
        """See ``Log``."""
        assert isinstance(lease, _Held)
        before = lease.last
        lease.keep(records, self._limits)
        sent = [record for record in records if record.number > before] or records
        while (last := self._send(lease, sent)) < lease.last:
            missing = lease.since(last + 1)
            if not missing:
                raise LogError(
                    f"{self}: Redis has lost the beginning of the reply {lease.id!r}, which was too long to be kept"
                )
            sent = missing

    def _send(self, lease: _Held, records: Sequence[Record]) -> int:
        """Write records, and return the number of the last one that Redis has."""
        last = 0
        for start in range(0, max(1, len(records)), _MOST_AT_ONCE):
            part = records[start : start + _MOST_AT_ONCE]
            fields = [each for record in part for each in ("o" if record.final else "c", record.text)]
            number = part[0].number if part else lease.last + 1
            last = self._script(
                "append",
                lease.id,
                lease.token,
                self._lease_ms,
                self._keep_ms,
                self._limits.max_records,
                self._limits.max_bytes,
                number,
                *fields,
            )
            if last < 0:
                raise superseded(lease.id)
            if last < number - 1:
                break  # it lacks some before these
        return last

    def finish(self, lease: Lease, outcome: str) -> None:
        """See ``Log``."""
        assert isinstance(lease, _Held)
        final = lease.kept[-1] if lease.kept and lease.kept[-1].final else Record(lease.last + 1, outcome, True)
        self.append(lease, [final])

    def release(self, lease: Lease) -> None:
        """See ``Log``."""
        self._script("release", lease.id, lease.token)

    def stopped(self, id: str, timeout: float | None = 0.0, *, halt: StopEvent | None = None) -> bool:
        """See ``Log``."""
        key = self._keys(checked_id(id))[3]
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not self._reach(lambda: self._client.exists(key), halt, deadline):
            seconds = deadline - time.monotonic()
            if seconds <= 0 or (halt is not None and halt.is_set()):
                return False
            if self._wait_for(key, _NOTHING, seconds, halt, deadline):
                break
        return True

    # -- reading -----------------------------------------------------------------------------------------

    def read(
        self, id: str, after: int = 0, timeout: float | None = None, *, halt: StopEvent | None = None
    ) -> Sequence[Record]:
        """See ``Log``."""
        key = self._keys(checked_id(id))[1]
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            look = self._look(id, after, halt, deadline)
            if look is None:  # halted, or out of time
                return ()
            if look.records:
                return unbroken(id, look.records, after)
            longest = self._may_wait(id, after, look)
            seconds = min(longest, deadline - time.monotonic())
            place = _NOTHING if look.status == "absent" and not after else _place(after)
            records = self._wait_for(key, place, seconds, halt, deadline) if seconds > 0 else ()
            if records and records[0].number and records[-1].text:  # otherwise it may be a mark: look
                return unbroken(id, records, after)
            if time.monotonic() >= deadline or (halt is not None and halt.is_set()):
                return ()

    def _may_wait(self, id: str, after: int, look: _Look) -> float:
        """Return for how long a reader that has all records may wait before it looks again.

        Raises:
            LogError: there will be no more.
        """
        if look.status == "deleted":
            raise deleted(id)
        if look.status == "absent":
            if not after:
                return _LONGEST_BLOCK  # for a writer to begin
            return self._patience_with(vanished(id))
        if look.status == "ended":
            raise behind_the_end(id, look.last, after)
        if look.status == "open":
            return look.lease_ms / 1000 + _LATE
        return self._patience_with(writer_lost(id, look.last, self.lease))

    def _patience_with(self, error: LogError) -> float:
        """Return for how long to wait for a writer that could not reach Redis either.

        Raises:
            LogError: the error; Redis has been there for long enough.
        """
        left = self._up_since + self.lease - time.monotonic()
        if left <= 0:
            try:
                info = self._reach(lambda: self._client.info("server"))
            except LogError as refused:  # as a user of Redis may not be allowed to ask
                if refused.retryable:
                    raise
                info = None
            if info and isinstance(uptime := info.get("uptime_in_seconds"), int):
                left = self.lease + 1 - uptime  # Redis rounds it down
        if left <= 0:
            raise error
        return left

    def status(self, id: str) -> LogStatus:
        """See ``Log``."""
        look = self._look(checked_id(id))
        assert look is not None
        return "absent" if look.status == "deleted" else look.status

    def _look(
        self, id: str, after: int = _BEHIND_ALL, halt: StopEvent | None = None, deadline: float = math.inf
    ) -> _Look | None:
        found = self._script("look", id, _place(after), _MOST_AT_ONCE, halt=halt, deadline=deadline)
        return None if found is None else _Look(found[0].decode(), found[1], found[2], _records(found[3]))

    # -- ending ------------------------------------------------------------------------------------------

    def stop(self, id: str) -> bool:
        """See ``Log``."""
        return bool(self._script("stop", checked_id(id), self._keep_ms))

    def delete(self, id: str) -> bool:
        """See ``Log``."""
        return bool(self._script("delete", checked_id(id), 2 * self._lease_ms))

    def close(self) -> None:
        """Close the connections that are not in use. The records stay, and the log may be used again."""
        with suppress(self._redis.RedisError, OSError):
            # Client.close() would close those in use as well, while other threads read from them.
            self._client.connection_pool.disconnect(inuse_connections=False)

    # -- Redis -------------------------------------------------------------------------------------------

    @property
    def _lease_ms(self) -> int:
        return max(1, round(self.lease * 1000))

    @property
    def _keep_ms(self) -> int:
        return max(1, round(self._limits.keep * 1000))

    def _keys(self, id: str) -> list[str]:
        """Return the names of the keys of an id, in one slot of a cluster: state, records, lease, stop."""
        tag = f"{self._prefix}{{{quote(id)}}}:"
        return [f"{tag}state", f"{tag}records", f"{tag}lease", f"{tag}stop"]

    def _script(
        self, name: str, id: str, *args: object, halt: StopEvent | None = None, deadline: float = math.inf
    ) -> Any:
        script, keys = self._scripts[name], self._keys(id)
        return self._reach(lambda: script(keys=keys, args=args), halt, deadline)

    def _wait_for(self, key: str, place: str, seconds: float, halt: StopEvent | None, deadline: float) -> list[Record]:
        """Wait for entries of a Redis stream; return none if none came in time."""
        seconds = max(0.001, min(seconds, _LONGEST_BLOCK))  # 0 would be no limit
        command = ["XREAD", "COUNT", _MOST_AT_ONCE, "BLOCK", math.ceil(seconds * 1000), "STREAMS", key, place]
        return _records(self._reach(lambda: self._call(command, seconds, halt), halt, deadline, seconds))

    def _call(self, command: Sequence[object], seconds: float, halt: StopEvent | None) -> Any:
        """Send a command for whose answer Redis may take some time, which ``halt`` ends."""
        pool = self._client.connection_pool
        connection = pool.get_connection()
        unsubscribe: Callable[[], None] | None = None
        try:
            sock = connection._sock
            sock.settimeout(seconds + _SECONDS)
            if halt is not None:
                unsubscribe = halt.subscribe(lambda: _shut(sock))
            connection.send_command(*command)
            answer = connection.read_response()
            sock.settimeout(connection.socket_timeout)
        except BaseException:
            connection.disconnect()
            raise
        finally:
            if unsubscribe is not None:
                unsubscribe()
            pool.release(connection)
        return answer

    def _reach(
        self, call: Callable[[], _T], halt: StopEvent | None = None, deadline: float = math.inf, takes: float = 0.0
    ) -> _T | None:
        """Call Redis; if it is away, do so again until it is back.

        Args:
            call: calls Redis.
            halt: ends it while Redis is away.
            deadline: the same, on ``time.monotonic``.
            takes: seconds for which Redis may wait before it answers.

        Returns:
            The answer; ``None`` if ``halt`` was set or the deadline passed while Redis was away.

        Raises:
            LogError: Redis has been away for ``patience`` seconds, or refuses the call.
        """
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                answer = call()
            except (self._redis.RedisError, OSError) as error:
                if halt is not None and halt.is_set():
                    return None
                self._fail(error)
            else:
                now = time.monotonic()
                # Where Redis stood still the answer is only late, and writers could not renew their leases meanwhile.
                if self._down_since is not None or now - began > takes + self.lease * _STANDS_STILL:
                    self._down_since, self._up_since = None, now
                return answer
            if time.monotonic() >= deadline:
                return None
            wait = min(pause, max(0.0, deadline - time.monotonic()))
            (halt or threading.Event()).wait(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _fail(self, error: Exception) -> None:
        """Note that Redis is away.

        Raises:
            LogError: it has been so for too long, or Redis is there and refused the call.
        """
        redis = self._redis
        # A server that is read-only is a replica, until another one has taken over.
        away = (redis.ConnectionError, redis.TimeoutError, redis.exceptions.ReadOnlyError, OSError)
        if not isinstance(error, away) or isinstance(error, redis.AuthenticationError):
            raise LogError(f"{self}: Redis refused the call: {str(error)[:200]}") from error
        now = time.monotonic()
        since = self._down_since
        if since is None:
            since = self._down_since = now
        if now - since >= self._patience:
            raise LogError(
                f"{self}: Redis cannot be reached for {now - since:.0f} s: {str(error)[:200]}", retryable=True
            ) from error

    def __repr__(self) -> str:
        return f"<RedisLog {self._name}>"


def _place(after: int) -> str:
    """Return the id of the entry after which the next record comes."""
    return f"{after}-0" if after else _BEGUN


def _records(answer: Any) -> list[Record]:
    """Return the entries of one Redis stream, as XREAD answers them."""
    return [_record(*entry) for _, entries in answer or () for entry in entries]


def _record(id: bytes, fields: Sequence[bytes]) -> Record:
    field, text = fields
    return Record(int(id.split(b"-")[0]), text.decode(), field == b"o")


def _shut(sock: Any) -> None:
    """Wake a thread that reads from a socket; that thread closes it."""
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of the base class: TLS would first change its state
