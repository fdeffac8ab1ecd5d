"""Limits of requests, tokens and open streams: ``RateLimit``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Literal, get_args

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError, ConnectError, LocalLimitError, RateLimitError
from streamkit.policies.allowance import allowances_of
from streamkit.policies.checks import checked_count, checked_seconds, renew_after_fork
from streamkit.policies.line import Ask, Limits, Lines, MemoryLines, News, Ticket
from streamkit.policies.need import Need, need_of, tokens_of
from streamkit.settings import shown
from streamkit.streaming.gates import Call, Gate, Result, Wait

__all__ = ["RateLimit"]

_By = Literal["provider", "model", "key"]

_WEIGHT = 0.1  # of the last reply in the average


class RateLimit(Gate):
    """Lets no more requests pass than it may; the others wait in line, first come, first served.

    ::

        RateLimit(requests=500, tokens=200_000, by="model", of="openai")

    - In no window of ``per`` seconds, wherever it begins, do more requests go out than ``requests``, or with more
      tokens than ``tokens``. Each try counts, as it does for the provider.
    - Tokens are estimated before the request: those of messages and tools, and ``max_tokens``; without ``max_tokens``
      as many for the reply as replies had on average so far. When the reply has ended, the provider's own count
      replaces the estimate. So a window may have too many by as much as the estimates in it were too small.
    - A request that has to wait is not overtaken, also by one that needs fewer tokens. The wait ends with a cancel, and
      with the ``total`` timeout. Nothing else runs: ``connect`` and ``first`` begin when the request goes out. Who
      waits is woken when it is its turn.
    - The provider's headers correct it: while ``x-ratelimit-remaining-*`` or ``anthropic-ratelimit-*-remaining`` of the
      same key and model say that there is no room, nothing passes. A 429 with ``Retry-After`` stops the line until
      then. ``RateLimit()`` without a limit does this alone.
    - A request that needs more tokens than ``tokens`` can never pass, and fails at once.

    With ``storage`` all processes and machines that use the same Redis share the limits, and the line. What waits there
    asks again when its turn should have come, as Redis computes it; and every 5 seconds, to see what others gave back.
    A process that dies in the line is forgotten after 15 seconds. ``streams`` cannot be limited there: a slot would
    have to be taken back from a process that seems to be dead, and may only be slow. Needs the extra ``redis``, and
    Redis 5 or newer, or Valkey.

    Args:
        requests: the most requests in any window; ``None`` for no limit.
        tokens: the most tokens, of prompts and replies together.
        streams: the most streams that are open at once.
        per: the length of the window, in seconds.
        by: what has a limit of its own: each ``provider``, each ``model``, or each ``key``.
        of: limits only this provider, or this model, as in ``openai`` and ``openai/gpt-4o``; ``None`` for all.
        wait: whether requests wait. If not, they fail with a ``LocalLimitError`` that says when there is room; a stream
            with several routes goes to the next one.
        storage: the URL of a Redis, such as ``redis://localhost:6379/0``; ``None`` for the memory of this process.
        clock: a monotonic clock, in seconds, for tests; not with ``storage``, where the clock is that of Redis.

    Raises:
        ConfigError: an argument is out of range, redis-py is missing, or ``storage`` is no URL of a Redis.

    Threads: any. A forked child begins with an empty window, unless there is a ``storage``.

    Owner of the fields: ``_lock`` guards ``_passed`` and ``_averages``. The others never change, but in a forked child.
    """

    def __init__(
        self,
        requests: int | None = None,
        tokens: int | None = None,
        streams: int | None = None,
        per: float = 60.0,
        *,
        by: _By = "provider",
        of: str | None = None,
        wait: bool = True,
        storage: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        given = {"requests": requests, "tokens": tokens, "streams": streams}
        most = {
            name: None if each is None else checked_count(f"RateLimit({name}=...)", each)
            for name, each in given.items()
        }
        self._limits = Limits(**most, per=checked_seconds("RateLimit(per=...)", per))
        if by not in get_args(_By):
            raise ConfigError(f"RateLimit(by=...) is provider, model or key, not {shown(by)}")
        if of is not None and (not isinstance(of, str) or not of):
            raise ConfigError(f"RateLimit(of=...) is a provider or a model, such as openai/gpt-4o, not {shown(of)}")
        if storage is not None and streams is not None:
            raise ConfigError(
                "RateLimit(streams=...) works in one process, and not with storage=: a process that seems to be dead "
                "may still have its streams; use a RateLimit of its own without storage=, which limits each process"
            )
        self._by = by
        self._of = of
        self._wait = bool(wait)
        self._clock = clock
        self._shared: Lines | None = None
        if storage is not None:
            self._shared = late_import("streamkit.policies.redis_lines").RedisLines(storage, self._limits)
        self._renew()
        renew_after_fork(self)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._lines = MemoryLines(self._limits, self._clock) if self._shared is None else self._shared
        self._passed: dict[Call, Ticket] = {}
        self._averages: dict[str, float] = {}  # tokens of a reply, by line

    def enter(self, call: Call, wait: Wait) -> None:
        """See ``Gate``."""
        if self._of not in (None, call.provider, call.model, f"{call.provider}/{call.model}"):
            return
        line = self._line_of(call)
        tokens = self._tokens(line, need_of(call))
        ask = Ask(line, (call.provider, call.model, call.account), tokens)
        ticket = self._lines.enter(ask, wait, self._wait)
        with self._lock:
            self._passed[call] = ticket

    def _line_of(self, call: Call) -> str:
        if self._by == "model":
            return f"{call.provider}/{call.model}"
        return call.provider if self._by == "provider" else f"{call.provider}#{call.account}"

    def _tokens(self, line: str, need: Need) -> int:
        """Return the tokens to reserve.

        Raises:
            LocalLimitError: they are more than can ever be had.
        """
        most, least = self._limits.tokens, need.prompt + (need.reply or 0)
        if most is not None and least > most:
            raise LocalLimitError(
                f"not sent, as it may take about {least} tokens ({need.prompt} for the prompt), more than "
                f"RateLimit(tokens={most}) ever lets through; raise the limit, shorten the prompt, or lower max_tokens",
                limit="tokens",
            )
        if need.reply is not None:
            return least
        expected = need.prompt + round(self._averages.get(line, 0.0))
        return expected if most is None else min(expected, most)

    def sending(self, call: Call) -> None:
        """See ``Gate``."""
        ticket = self._passed.get(call)
        if ticket is not None:
            self._lines.sending(ticket)

    def left(self, call: Call, result: Result) -> None:
        """See ``Gate``."""
        with self._lock:
            ticket = self._passed.pop(call, None)
        if ticket is None:
            return
        self._lines.left(ticket, _news(result))
        if result.usage is not None and result.usage.output_tokens is not None:
            line, tokens = self._line_of(call), result.usage.output_tokens
            with self._lock:
                average = self._averages.get(line)
                self._averages[line] = tokens if average is None else average + _WEIGHT * (tokens - average)

    def __repr__(self) -> str:
        limits = self._limits
        named: dict[str, Any] = {"requests": limits.requests, "tokens": limits.tokens, "streams": limits.streams}
        given = "".join(f"{name}={most}, " for name, most in named.items() if most is not None)
        return f"<RateLimit {given}per={limits.per:g}, by={self._by}{f', of={self._of}' if self._of else ''}>"


def _news(result: Result) -> News:
    """Return what a result says of the limits."""
    if not result.sent:
        return News(False)
    error = result.error
    tokens = 0 if isinstance(error, ConnectError) else tokens_of(result.usage)
    stop = error.retry_after if isinstance(error, RateLimitError) else None
    response = result.response
    if response is None:
        return News(True, tokens, stop=stop or 0.0)
    now = datetime.now(timezone.utc)
    age = max(0.0, (now - response.arrived_at).total_seconds())
    return News(True, tokens, allowances_of(response.headers, response.arrived_at), age, stop or 0.0)
