"""Time limits and retries: ``Timeout`` and ``Retry``."""

from __future__ import annotations

import numbers
import random
import sys
from typing import Any

import attrs

from streamkit.errors import APIError, ConfigError, StreamError

__all__ = ["LONGEST_WAIT", "Retry", "Timeout", "seconds_of", "shown"]

#: The longest wait, in seconds: some 23 days. Operating systems count the milliseconds of a wait in 32 bits.
LONGEST_WAIT = 2_000_000.0
_MOST_SHOWN = 100  # characters of a wrong value in an error's message


def seconds_of(value: Any, name: str) -> float | None:
    """Return a wait in seconds, from 0 to ``LONGEST_WAIT``; ``None`` is no limit, a negative number counts as 0.

    Args:
        value: the argument that a user passed.
        name: the argument's name, for the error's message.

    Raises:
        ConfigError: the value is not a number.
    """
    if value is None:
        return None
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or value != value:
        raise ConfigError(f"{name} must be a number of seconds, or None for no limit, not {shown(value)}")
    return float(min(max(value, 0), LONGEST_WAIT))


def shown(value: Any) -> str:
    """Return the ``repr`` of a wrong value, short enough for an error's message.

    Python raises ValueError instead of writing a number of more than 4,300 digits.
    """
    try:
        text = repr(value)
    except ValueError:
        return f"a number of more than {sys.get_int_max_str_digits()} digits"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _at_most_longest(value: Any) -> Any:
    """Return a number of seconds, at most ``LONGEST_WAIT``; leave anything else to the validator."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return LONGEST_WAIT if known and value > LONGEST_WAIT else value


def _positive_or_none(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigError(
            f"Timeout({attribute.name}=...) must be a number of seconds above 0, or None for no limit, "
            f"not {shown(value)}"
        )


@attrs.frozen(kw_only=True)
class Timeout:
    """Four limits, in seconds; ``None`` is no limit. Each fires within 0.3 s of its value.

    A limit above 2,000,000 seconds (some 23 days), infinity included, counts as 2,000,000.

    Attributes:
        connect: for name lookup, TCP and TLS. Does not cover the wait for an answer.
        first: from sending the request to the first chunk, the wait for headers included. Starts anew with
            each try.
        idle: between chunks. Parsed chunks count, bytes do not: comments, pings and trickling bytes do not
            reset it.
        total: everything, retries and the waits between them included.

    A slow consumer never causes a timeout: the limits apply to the arrival of chunks, and no time counts while the
    queue is full.

    Raises:
        ConfigError: a limit is not a number above 0.
    """

    connect: float | None = attrs.field(default=10.0, converter=_at_most_longest, validator=_positive_or_none)
    first: float | None = attrs.field(default=60.0, converter=_at_most_longest, validator=_positive_or_none)
    idle: float | None = attrs.field(default=60.0, converter=_at_most_longest, validator=_positive_or_none)
    total: float | None = attrs.field(default=None, converter=_at_most_longest, validator=_positive_or_none)

    @classmethod
    def of(cls, value: Timeout | float | None) -> Timeout:
        """Return the ``Timeout`` for an argument: a ``Timeout``, a total in seconds, or ``None`` for no limits."""
        if isinstance(value, Timeout):
            return value
        if value is None:
            return cls(connect=None, first=None, idle=None)
        return cls(total=value)


def _at_least_one(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"Retry(attempts=...) counts all tries and must be an integer from 1, not {shown(value)}")


def _not_negative(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ConfigError(f"Retry({attribute.name}=...) must be a number of seconds from 0, not {shown(value)}")


@attrs.frozen
class Retry:
    """When to send a request again: only before the first chunk was delivered, never after.

    Retries connection failures, 408, 409, 429, 5xx and the same errors inside a 200. Never retries other errors
    (400, 401, 402, 403, 404, 422) or timeouts.

    Attributes:
        attempts: the number of tries in all; 1 never retries.
        backoff: seconds before the second try. It doubles with each try, and up to a quarter is taken off at random.
        max_backoff: the longest wait between two tries, in seconds.
        max_retry_after: the longest wait that a server may ask for, in seconds; above it the error is raised.

    Raises:
        ConfigError: an attribute has a wrong type or is out of range.
    """

    attempts: int = attrs.field(default=3, validator=_at_least_one)
    backoff: float = attrs.field(default=0.5, converter=_at_most_longest, validator=_not_negative, kw_only=True)
    max_backoff: float = attrs.field(default=8.0, converter=_at_most_longest, validator=_not_negative, kw_only=True)
    max_retry_after: float = attrs.field(
        default=60.0, converter=_at_most_longest, validator=_not_negative, kw_only=True
    )

    @classmethod
    def of(cls, value: Retry | int) -> Retry:
        """Return the ``Retry`` for an argument: a ``Retry``, or a number of tries."""
        return value if isinstance(value, Retry) else cls(attempts=value)

    def delay(self, error: StreamError, attempt: int) -> float | None:
        """Return the seconds to wait before the next try, or ``None`` not to try again.

        Args:
            error: the error that ended the try.
            attempt: the number of that try, from 1.
        """
        if not error.retryable or attempt >= self.attempts:
            return None
        asked = error.retry_after if isinstance(error, APIError) else None
        if asked is not None:
            return asked if asked <= self.max_retry_after else None
        doubled = self.backoff * 2.0 ** min(attempt - 1, 1000)  # 2.0 ** 1024 overflows a float
        longest = min(doubled, self.max_backoff)
        return longest * random.uniform(0.75, 1.0)
