"""Requests and tokens a minute, of a token and of its team: ``Rates``."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Literal, TypeVar

import attrs

from streamkit.concurrency.late_import import forks_wait, late_import
from streamkit.errors import ConfigError, RequestError
from streamkit.gateway.core.holders import Holder
from streamkit.policies.checks import renew_after_fork
from streamkit.wire.secrets import Masked, without_userinfo

__all__ = ["Rates"]

_T = TypeVar("_T")
_log = logging.getLogger("streamkit")

_NEEDS_EXTRA = 'limits a minute need {}: python -m pip install "streamkit[serve]"'
_WINDOW = 60  # seconds
_MOST_ENTRIES = 10_000  # of one window: limits keeps an entry for each unit that was taken
_TRIES = 3  # to add tokens to a window to which others add as well
_SECONDS = 0.25  # for a connection to Redis, and for each answer
_PAUSE = 1.0  # seconds after a failure of Redis, before a request tries it again
_WARN_EVERY = 60.0  # seconds

_Kind = Literal["requests", "tokens"]


@attrs.frozen
class _Window:
    """One limit of one holder, and what a request takes of it.

    Attributes:
        item: the limit as the library has it, in entries.
        holder: the name of the holder.
        scope: whose limit it is, in words: ``token`` or ``team``.
        kind: what is counted.
        limit: the limit that was set.
        grain: requests or tokens of one entry.
        cost: entries that the request takes; more than the limit has where it can never pass.
    """

    item: Any
    holder: str
    scope: str
    kind: _Kind
    limit: int
    grain: int
    cost: int

    @property
    def key(self) -> str:
        """What a storage of the library counts it under."""
        return str(self.item.key_for(self.holder, self.kind))

    def left(self, entries: int) -> int:
        """Return how many requests or tokens a number of free entries is."""
        return self.limit if entries >= self.item.amount else max(0, entries) * self.grain


@attrs.frozen
class _Seen:
    """The state of a window.

    Attributes:
        free: entries that are free.
        reset: seconds until the oldest entry leaves the window.
    """

    free: int
    reset: float


class Rates:
    """Counts requests and tokens in moving windows of one minute, by the library ``limits``.

    In no minute, wherever it begins, are more requests let through than a holder may send, nor requests with more
    tokens than it may use. A refused request takes nothing, unless another request took the room between the look and
    the take; then it has taken from the windows before the one that was full.

    A window has at most 10,000 entries. Limits up to that are counted exactly. In a larger one an entry is a number of
    tokens (100 for a limit of a million), and what a request takes is rounded up to whole entries.

    Without Redis each process counts by itself, so that N processes let N times as much through. With Redis all of them
    count together, by the time of each machine's clock.

    While Redis is away, requests go on: each process counts by itself, as without Redis, and a warning is logged once
    a minute. A request waits for Redis for a quarter of a second an answer, and no request asks it for a second after
    a failure; then one request at a time tries it. Not covered is the name lookup of the system.

    Threads: any, at the same time. A forked child counts from nothing, unless it has Redis.

    Owner of the fields: ``_lock`` guards ``_local`` and the windows in it; ``_state`` guards ``_away_until`` and
    ``_warned_at``. ``_remote`` never changes but in a forked child.

    Args:
        redis: ``redis://host:6379/0``, ``rediss://...`` or ``unix:///path/to/socket``; ``None`` for this process alone.
        clock: the time in seconds since 1970; the one of the library's storages.

    Raises:
        ConfigError: the library is not installed, or the URL is none.
    """

    def __init__(self, redis: str | None = None, *, clock: Callable[[], float] = time.time) -> None:
        if find_spec("limits") is None:
            raise ConfigError(_NEEDS_EXTRA.format("limits"))
        self._clock = clock
        self._url = None if redis is None else Masked(redis)  # it may have a password
        self._lock = threading.Lock()
        self._state = threading.Lock()
        self._away_until = 0.0
        self._warned_at = -math.inf
        self._local: _Local | None = None
        self._failures: tuple[type[BaseException], ...] = ()
        self._remote = None if self._url is None else self._connect(self._url)
        renew_after_fork(self)

    def _connect(self, url: str) -> _Shared:
        try:
            redis = late_import("redis")
            backoff, retry = late_import("redis.backoff"), late_import("redis.retry")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "redis":
                raise
            raise ConfigError(_NEEDS_EXTRA.format("redis-py")) from None
        self._failures = (redis.RedisError, OSError)
        options = {
            "socket_connect_timeout": _SECONDS,
            "socket_timeout": _SECONDS,
            "max_connections": 2**20,  # each thread that asks has one; redis-py stops at 100 by itself
            "retry": retry.Retry(backoff.NoBackoff(), 0),  # by itself it tries ten times
            "protocol": 2,
        }
        try:
            with forks_wait():
                storage = late_import("limits.storage").RedisStorage(str(url), **options)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"limits a minute need a URL such as redis://localhost:6379/0: {error}") from None
        return _Shared(storage, self._clock)

    # -- asking ------------------------------------------------------------------------------------------

    def ask(self, holders: Sequence[Holder], tokens: int) -> dict[str, str]:
        """Take room for one request in each window of its holders.

        Args:
            holders: the token, then its team.
            tokens: that the request uses, as far as that is known; at least one is taken.

        Returns:
            Headers for the reply: ``x-ratelimit-limit-requests``, ``-remaining-requests`` and ``-reset-requests``, and
            the same of tokens, as far as there are limits. Where token and team have one, it is the one with less left.
            What is left is after this request; the reset is the time until the first of what was taken is free again.

        Raises:
            RequestError: 429, a window is full. Its headers are those above and ``retry-after``, in whole seconds; or
                ``x-should-retry: false`` where the request needs more tokens than its limit has.
        """
        windows = [window for holder in holders for window in _windows(holder, max(1, tokens))]
        if not windows:
            return {}
        for window in windows:
            if window.cost > window.item.amount:
                raise _too_large(window)
        return self._reach(lambda counter: counter.take(windows))

    def used(self, holders: Sequence[Holder], tokens_more: int) -> None:
        """Take room for tokens that a request used beyond those it asked for; it is never refused.

        A window takes no more than it has: what is above the limit is not counted, so that one long reply keeps a
        holder out for a minute at most. Nothing is given back where the request used fewer.

        Args:
            holders: as for ``ask``.
            tokens_more: how many.
        """
        if tokens_more <= 0:
            return
        windows = [each for holder in holders for each in _windows(holder, tokens_more) if each.kind == "tokens"]
        if windows:
            self._reach(lambda counter: counter.add(windows))

    # -- where it is counted -----------------------------------------------------------------------------

    def _reach(self, work: Callable[[_Counter], _T]) -> _T:
        if self._remote is not None and self._may_try():
            try:
                done = work(self._remote)
            except RequestError:
                self._is_back()
                raise
            except self._failures as error:
                self._is_away(error)
            else:
                self._is_back()
                return done
        with self._lock:
            if self._local is None:
                with forks_wait():
                    self._local = _Local(late_import("limits.storage").MemoryStorage(), self._clock)
            return work(self._local)

    def _may_try(self) -> bool:
        if not self._away_until:
            return True
        with self._state:
            now = time.monotonic()
            if now < self._away_until:
                return False
            if self._away_until:
                self._away_until = now + _PAUSE  # the others do not wait with this one
            return True

    def _is_back(self) -> None:
        if self._away_until:
            with self._state:
                self._away_until = 0.0

    def _is_away(self, error: BaseException) -> None:
        with self._state:
            now = time.monotonic()
            self._away_until = now + _PAUSE
            warns = now - self._warned_at >= _WARN_EVERY
            if warns:
                self._warned_at = now
        if warns:
            _log.warning(
                "limits a minute: %s is away (%s); requests go on, and each process counts by itself until it is back",
                without_userinfo(str(self._url)).partition("?")[0],
                type(error).__name__,
            )

    def close(self) -> None:
        """Close the connections to Redis; new ones are made when they are needed."""
        if self._remote is not None:
            self._remote.close()

    def _renew(self) -> None:
        """Begin anew in a forked child: locks may be held by threads that it does not have."""
        self._lock, self._state = threading.Lock(), threading.Lock()
        self._local = None

    def __repr__(self) -> str:
        where = "this process" if self._url is None else without_userinfo(str(self._url)).partition("?")[0]
        return f"<Rates in {where}{', which is away' if self._away_until else ''}>"


def _windows(holder: Holder, tokens: int) -> Iterator[_Window]:
    """Iterate the windows of a holder."""
    scope = holder.name.partition(":")[0]
    kinds: tuple[tuple[_Kind, int | None, int], ...] = (
        ("requests", holder.limits.requests_per_minute, 1),
        ("tokens", holder.limits.tokens_per_minute, tokens),
    )
    for kind, limit, cost in kinds:
        if limit is not None:
            grain = max(1, -(-limit // _MOST_ENTRIES))
            amount = limit // grain
            entries = -(-cost // grain)
            if cost <= limit:
                entries = min(entries, amount)  # the limit may be no multiple of an entry
            yield _Window(_item(amount), holder.name, scope, kind, limit, grain, entries)


@lru_cache(1024)
def _item(amount: int) -> Any:
    return late_import("limits").RateLimitItemPerMinute(amount, 1, "streamkit")


class _Counter:
    """Windows in one storage of the library.

    Args:
        storage: of the library.
        clock: the time that it counts by.
    """

    def __init__(self, storage: Any, clock: Callable[[], float]) -> None:
        self._storage = storage
        self._clock = clock
        self._limiter = late_import("limits.strategies").MovingWindowRateLimiter(storage)

    def take(self, windows: Sequence[_Window]) -> dict[str, str]:
        """See ``Rates.ask``."""
        seen = [self._see(window) for window in windows]
        for window, state in zip(windows, seen, strict=True):
            if state.free < window.cost:
                raise self._refusal(window, windows, seen)
        for window in windows:
            if not self._hit(window, window.cost):  # another request was faster
                raise self._refusal(window, windows, [self._see(each) for each in windows])
        return _headers(
            windows, [_Seen(state.free - window.cost, state.reset) for window, state in zip(windows, seen, strict=True)]
        )

    def add(self, windows: Sequence[_Window]) -> None:
        """See ``Rates.used``."""
        for window in windows:
            for _ in range(_TRIES):
                takes = min(window.cost, self._see(window).free)
                if takes <= 0 or self._hit(window, takes):
                    break

    def _hit(self, window: _Window, entries: int) -> bool:
        return bool(self._limiter.hit(window.item, window.holder, window.kind, cost=entries))

    def _see(self, window: _Window) -> _Seen:
        stats = self._limiter.get_window_stats(window.item, window.holder, window.kind)
        return _Seen(stats.remaining, min(max(stats.reset_time - self._clock(), 0.0), _WINDOW))

    def _refusal(self, window: _Window, windows: Sequence[_Window], seen: Sequence[_Seen]) -> RequestError:
        seconds = math.ceil(min(max(self._free_at(window) - self._clock(), 1), _WINDOW))
        return RequestError(
            f"too many {window.kind}: this {window.scope} may use {window.limit:,} a minute; "
            f"there is room in {seconds} s",
            status=429,
            code="rate_limit_exceeded",
            headers={**_headers(windows, seen), "retry-after": str(seconds)},
            details={"limit": f"{window.kind}_per_minute", "scope": window.scope, "max": window.limit},
        )

    def _free_at(self, window: _Window) -> float:
        """Return when there is room for what a window was asked for, if nobody else takes it."""
        raise NotImplementedError


class _Local(_Counter):
    """In the memory of this process. One thread at a time: the storage's own locks let two in at times."""

    def _free_at(self, window: _Window) -> float:
        entries = self._storage.events.get(window.key, ())
        at = window.item.amount - window.cost
        return float(entries[at].atime) + _WINDOW if at < len(entries) else self._clock()


class _Shared(_Counter):
    """In Redis."""

    def _free_at(self, window: _Window) -> float:
        # Of so many entries, from the newest on, the oldest has to leave.
        oldest, taken = self._storage.get_moving_window(window.key, window.item.amount - window.cost + 1, _WINDOW)
        return float(oldest) + _WINDOW if taken else self._clock()

    def close(self) -> None:
        self._storage.get_connection().close()


def _headers(windows: Sequence[_Window], seen: Sequence[_Seen]) -> dict[str, str]:
    """Return the headers of the narrowest window of requests, and of tokens."""
    narrowest: dict[str, tuple[int, _Window, _Seen]] = {}
    for window, state in zip(windows, seen, strict=True):
        left = window.left(state.free)
        if window.kind not in narrowest or left < narrowest[window.kind][0]:
            narrowest[window.kind] = left, window, state
    headers: dict[str, str] = {}
    for kind, (left, window, state) in narrowest.items():
        headers[f"x-ratelimit-limit-{kind}"] = str(window.limit)
        headers[f"x-ratelimit-remaining-{kind}"] = str(left)
        headers[f"x-ratelimit-reset-{kind}"] = _duration(state.reset)
    return headers


def _duration(seconds: float) -> str:
    """Return seconds as OpenAI writes them: 20ms, 6s, 1m0s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _too_large(window: _Window) -> RequestError:
    headers: Mapping[str, str] = {
        f"x-ratelimit-limit-{window.kind}": str(window.limit),
        "x-should-retry": "false",  # to the clients of OpenAI and Anthropic, which try a 429 again
    }
    return RequestError(
        f"this request needs more {window.kind} than this {window.scope} may use a minute ({window.limit:,}): "
        "shorten it, or ask for a shorter reply",
        status=429,
        code="rate_limit_exceeded",
        headers=headers,
        details={"limit": f"{window.kind}_per_minute", "scope": window.scope, "max": window.limit},
    )
