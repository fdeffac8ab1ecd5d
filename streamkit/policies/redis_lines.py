"""The lines at a rate limit in Redis, for all processes and machines: ``RedisLines``."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs

from streamkit.concurrency.late_import import forks_wait, late_import
from streamkit.errors import ConfigError, LocalLimitError, StreamError
from streamkit.policies import redis_scripts
from streamkit.policies.line import Ask, Limits, Lines, News, Ticket, refusal
from streamkit.streaming.gates import Wait
from streamkit.wire.secrets import Masked, without_userinfo

__all__ = ["RedisLines"]

_NEEDS_EXTRA = 'RateLimit(storage=...) needs redis-py: python -m pip install "streamkit[redis]"'
_SECONDS = 5.0  # for a connection, and for an answer
_LOOK = 5.0  # seconds after which a request that waits asks again, whatever it was told
_LEASE = 15.0  # seconds after which one that does not is dead
_LATE = 0.01  # seconds after which the time of a request is corrected when it goes out
_PREFIX = "streamkit:limit"


@attrs.define(eq=False)
class _Passed(Ticket):
    """A request that passed, with the time of it on ``time.monotonic``."""

    ask: Ask
    id: str
    at: float


class RedisLines(Lines):
    """Lines in Redis: who waits has a number there, and Redis lets through who is first, whichever process asks.

    Owner of the fields: ``_waiting`` has an entry of each request that waits here, by its id; each single operation on
    a dict is atomic. The others never change.

    Args:
        url: ``redis://host:6379/0``, ``rediss://...`` or ``unix:///path/to/socket``, as redis-py reads it.
        limits: of each line, without ``streams``.

    Raises:
        ConfigError: redis-py is not installed, or the URL is none.
    """

    def __init__(self, url: str, limits: Limits) -> None:
        try:
            self._redis: Any = late_import("redis")
            backoff, retry = late_import("redis.backoff"), late_import("redis.retry")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "redis":
                raise
            raise ConfigError(_NEEDS_EXTRA) from None
        url = Masked(url) if isinstance(url, str) else url  # it may have a password
        settings = {
            "socket_connect_timeout": _SECONDS,
            "socket_timeout": _SECONDS,
            "max_connections": 2**20,  # redis-py stops at 100 by itself
            "retry": retry.Retry(backoff.NoBackoff(), 0),  # the stream's ``Retry`` tries again
            "protocol": 2,
            "decode_responses": True,
        }
        try:
            with forks_wait():
                self._client: Any = self._redis.Redis.from_url(str(url), **settings)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"RateLimit(storage=...) is a URL such as redis://localhost:6379/0: {error}") from None
        self._name = without_userinfo(str(url)).partition("?")[0]
        self._limits = limits
        self._waiting: dict[str, Callable[[], object]] = {}
        self._ask, self._sending, self._leave = (
            self._client.register_script(script)
            for script in (redis_scripts.ASK, redis_scripts.SENDING, redis_scripts.LEAVE)
        )

    def _run(self, script: Any, ask: Ask, id: str, *arguments: object) -> Any:
        """Run a script for a request.

        Raises:
            StreamError: Redis cannot be reached, or refuses.
        """
        limits = self._limits
        most = [-1 if each is None else each for each in (limits.requests, limits.tokens)]
        named = f"{most[0]}:{most[1]}:{limits.per:g}"
        keys = [f"{_PREFIX}:{{{ask.line}:{named}}}:{key}" for key in ("sent", "line", "tokens", "alive", "state")]
        begin = [*most, limits.per * 1000, _LEASE * 1000, id]
        try:
            return script(keys=keys, args=[*begin, *arguments])
        except self._redis.RedisError as error:
            text = f"the rate limit at {self._name} cannot be asked: {type(error).__name__}"
        raise StreamError(text, retryable=True)

    def enter(self, ask: Ask, wait: Wait, patient: bool) -> Ticket:
        """See ``Lines``.

        Raises:
            LocalLimitError: see ``Lines``.
            StreamError: Redis cannot be reached.
        """
        id = uuid.uuid4().hex
        self._waiting[id] = wait.wake
        try:
            while True:
                milliseconds, name = self._run(self._ask, ask, id, ask.tokens, int(patient))
                if milliseconds == 0:
                    return _Passed(ask, id, time.monotonic())
                seconds = milliseconds / 1000
                if not patient:
                    raise refusal(self._limits, name, seconds)
                wait(min(seconds, _LOOK))
        except LocalLimitError:
            raise  # it is forgotten already
        except BaseException:
            self._end(ask, id, -2, 0.0)
            raise
        finally:
            del self._waiting[id]

    def sending(self, ticket: Ticket) -> None:
        """See ``Lines``."""
        assert isinstance(ticket, _Passed)
        if time.monotonic() - ticket.at > _LATE:  # another gate delayed it
            with suppress(StreamError):
                self._run(self._sending, ticket.ask, ticket.id, ticket.ask.tokens)

    def left(self, ticket: Ticket, news: News) -> None:
        """See ``Lines``."""
        assert isinstance(ticket, _Passed)
        stop, need = news.stop, {"requests": 1, "tokens": ticket.ask.tokens}
        for kind, allowance in news.allowances.items():
            stop = max(stop, allowance.wait(news.age, 0, need[kind]))
        took = -2 if not news.sent else -1 if news.tokens is None else news.tokens
        self._end(ticket.ask, ticket.id, took, stop)

    def _end(self, ask: Ask, id: str, took: int, stop: float) -> None:
        if took == -1 and not stop:
            return  # nothing has changed
        with suppress(StreamError):
            for through in self._run(self._leave, ask, id, took, math.ceil(stop * 1000)):
                wake = self._waiting.get(through)
                if wake is not None:
                    wake()
