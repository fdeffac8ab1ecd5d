"""What providers say of their rate limits in the head of a response: ``Allowance`` and ``allowances_of``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone

import attrs

from streamkit.settings import LONGEST_WAIT

__all__ = ["Allowance", "allowances_of"]

_KINDS = ("requests", "tokens")
_NAMES = ("x-ratelimit-{what}-{kind}", "anthropic-ratelimit-{kind}-{what}")
# As Go writes durations: OpenAI sends "6m0s" and "12ms", Groq "2m59.56s".
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|us|ns|µs|d|h|m|s))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|ns|µs|d|h|m|s)")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_AN_EPOCH = 1e9  # a number above it is no duration but a moment in Unix time
_IN_MS = 1e11  # and one above this is in milliseconds
_MOST = 10**15  # of a limit; a number above it is nonsense


@attrs.frozen
class Allowance:
    """What a provider still allows of one kind.

    It is filled up steadily, as OpenAI, Anthropic and Groq document it: at ``resets_in`` it is full. A provider that
    fills it up at once at that moment, as Azure does, may refuse a request in between, and then says how long to wait.

    Attributes:
        remaining: requests or tokens.
        resets_in: seconds from the response until it is full again.
        limit: how much it is when it is full; ``None`` if unknown: then it is as good as not filled up until then.
    """

    remaining: int
    resets_in: float
    limit: int | None = None

    def after(self, seconds: float, taken: float) -> float:
        """Return what is left: infinite after the reset.

        Args:
            seconds: since the response.
            taken: what was taken since then.
        """
        if seconds >= self.resets_in:
            return math.inf
        return self.remaining + self._a_second * seconds - taken

    def wait(self, seconds: float, taken: float, need: float) -> float:
        """Return the seconds until there is enough, at most until the reset.

        Args:
            seconds: since the response.
            taken: what was taken since then.
            need: what is to be taken. More than all is taken when it is full, as the provider is to judge that.
        """
        if self.limit is not None:
            need = min(need, self.limit)
        missing = need - self.after(seconds, taken)
        if missing <= 0:
            return 0.0
        left, rate = self.resets_in - seconds, self._a_second
        return min(left, missing / rate) if rate > 0 else left

    @property
    def _a_second(self) -> float:
        if self.limit is None or self.limit <= self.remaining:
            return 0.0
        return (self.limit - self.remaining) / self.resets_in


def allowances_of(headers: Mapping[str, str], now: datetime) -> dict[str, Allowance]:
    """Return what a response says, by kind: ``requests`` and ``tokens``. What is missing or malformed is left out.

    Args:
        headers: with names in lower case.
        now: the time of the response, in UTC.

    Source: platform.openai.com/docs/guides/rate-limits (durations), docs.anthropic.com/en/api/rate-limits (dates; the
        headers ``tokens`` are of the tightest of its limits), console.groq.com/docs/rate-limits (requests a day, tokens
        a minute), learn.microsoft.com on Azure OpenAI (seconds; -1 for unknown), November 2026.
    """
    found = {}
    for kind in _KINDS:
        for name in _NAMES:
            allowance = _allowance(headers, name, kind, now)
            if allowance is not None:
                found[kind] = allowance
                break
    return found


def _allowance(headers: Mapping[str, str], name: str, kind: str, now: datetime) -> Allowance | None:
    remaining = _count(headers.get(name.format(what="remaining", kind=kind)))
    resets_in = _seconds(headers.get(name.format(what="reset", kind=kind)), now)
    if remaining is None or resets_in is None or resets_in <= 0:
        return None
    return Allowance(remaining, resets_in, _count(headers.get(name.format(what="limit", kind=kind))) or None)


def _count(text: str | None) -> int | None:
    number = _number(text)
    return int(number) if number is not None and number <= _MOST else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None


def _seconds(text: str | None, now: datetime) -> float | None:
    """Return the seconds until a reset: from a duration, a number, a moment in Unix time, or a date of RFC 3339."""
    if not text:
        return None
    text = text.strip()
    seconds = _number(text)
    if seconds is not None:
        if seconds >= _AN_EPOCH:
            seconds = (seconds / 1000 if seconds >= _IN_MS else seconds) - now.timestamp()
    elif len(text) < 100 and _DURATION.fullmatch(text):
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    else:
        try:
            date = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
        except ValueError:
            return None
        seconds = ((date if date.tzinfo else date.replace(tzinfo=timezone.utc)) - now).total_seconds()
    return min(seconds, LONGEST_WAIT)
