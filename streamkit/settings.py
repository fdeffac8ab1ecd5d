"""How long to wait and how often to try: ``Timeout`` and ``Retry``."""

from __future__ import annotations

import numbers
import random
import sys
from typing import Any

import attrs

from streamkit.errors import APIError, ConfigError, StreamError

__all__ = ["LONGEST_WAIT", "Retry", "Timeout", "seconds_of", "shown"]

#: Seconds; the longest wait, some 23 days. Systems count milliseconds of a wait in 32 bits.
LONGEST_WAIT = 2_000_000.0
_MOST_SHOWN = 100  # characters of a value in an error


def seconds_of(value: Any, name: str) -> float | None:
    """Return how long to wait, at most ``LONGEST_WAIT``; ``None`` is no limit, and below 0 counts as 0.

    Args:
        name: of the argument, for the error.

    Raises:
        ConfigError: it is no number.
    """
    if value is None:
        return None
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or value != value:
        raise ConfigError(f"{name} is a number of seconds, or None for no limit, not {shown(value)}")
    return float(min(max(value, 0), LONGEST_WAIT))


def shown(value: Any) -> str:
    """Return the ``repr`` of a wrong value as an error can show it: Python writes no number of 5,000 digits."""
    try:
        text = repr(value)
    except ValueError:
        return f"one of more than {sys.get_int_max_str_digits()} digits"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _at_most_longest(value: Any) -> Any:
    """Return a number of seconds that the system can wait; whether it is one, the validator judges."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return LONGEST_WAIT if known and value > LONGEST_WAIT else value


def _positive_or_none(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigError(
            f"Timeout({attribute.name}=...) is a number of seconds above 0, or None for no limit, not {shown(value)}"
        )


@attrs.frozen(kw_only=True)
class Timeout:
    """Four limits, in seconds; ``None`` is no limit. Each fires within 0.3 s of its value.

    More than 2,000,000 seconds, some 23 days, count as that many; so does infinity.

    Attributes:
        connect: name lookup, TCP and TLS. Does not cover the wait for an answer.
        first: from sending the request to the first chunk, the wait for headers included. Starts anew with
            each try.
        idle: between chunks. Parsed chunks count, bytes do not: comments, pings and trickling bytes do not
            reset it.
        total: everything, retries and the waits between them included.

    A slow consumer never causes a timeout: the clock runs on arrival, and stands while the queue is full.
    """

    connect: float | None = attrs.field(default=10.0, converter=_at_most_longest, validator=_positive_or_none)
    first: float | None = attrs.field(default=60.0, converter=_at_most_longest, validator=_positive_or_none)
    idle: float | None = attrs.field(default=60.0, converter=_at_most_longest, validator=_positive_or_none)
    total: float | None = attrs.field(default=None, converter=_at_most_longest, validator=_positive_or_none)

    @classmethod
    def of(cls, value: Timeout | float | None) -> Timeout:
        """Read what a user passed: a ``Timeout``, seconds in total, or ``None`` for no limit at all."""
        if isinstance(value, Timeout):
            return value
        if value is None:
            return cls(connect=None, first=None, idle=None)
        return cls(total=value)


def _at_least_one(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"Retry(attempts=...) counts all tries, from 1, so it cannot be {shown(value)}")


def _not_negative(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ConfigError(f"Retry({attribute.name}=...) is a number of seconds from 0, not {shown(value)}")


@attrs.frozen
class Retry:
    """When to send a request again, always before the first chunk was delivered, never after.

    Retried are connection failures, 408, 409, 429, 5xx and the same errors inside a 200; never other
    refusals (400, 401, 402, 403, 404, 422), and never a timeout.

    Attributes:
        attempts: tries in all; 1 never retries.
        backoff: seconds before the second try; doubled each time, with up to a quarter taken off at random.
        max_backoff: the longest such wait, in seconds.
        max_retry_after: the longest wait a server may ask for, in seconds; beyond it the error is raised.
    """

    attempts: int = attrs.field(default=3, validator=_at_least_one)
    backoff: float = attrs.field(default=0.5, converter=_at_most_longest, validator=_not_negative, kw_only=True)
    max_backoff: float = attrs.field(default=8.0, converter=_at_most_longest, validator=_not_negative, kw_only=True)
    max_retry_after: float = attrs.field(
        default=60.0, converter=_at_most_longest, validator=_not_negative, kw_only=True
    )

    @classmethod
    def of(cls, value: Retry | int) -> Retry:
        """Read what a user passed: a ``Retry``, or a number of tries."""
        return value if isinstance(value, Retry) else cls(attempts=value)

    def delay(self, error: StreamError, attempt: int) -> float | None:
        """Return the seconds to wait before the next try, or ``None`` where there is none.

        Args:
            error: what ended the try.
            attempt: the number of that try, from 1.
        """
        if not error.retryable or attempt >= self.attempts:
            return None
        asked = error.retry_after if isinstance(error, APIError) else None
        if asked is not None:
            return asked if asked <= self.max_retry_after else None
        doubled = self.backoff * 2.0 ** min(attempt - 1, 1000)  # 2.0 ** 1024 is no float any more
        longest = min(doubled, self.max_backoff)
        return longest * random.uniform(0.75, 1.0)
