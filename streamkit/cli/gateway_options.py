"""What is typed for tokens and teams: amounts of dollars, times, limits; and the options that several commands have."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs
import click

from streamkit.errors import ConfigError
from streamkit.gateway.core.holders import Limits
from streamkit.gateway.core.money import nano_of
from streamkit.settings import shown

__all__ = ["NONE", "Duration", "Moment", "Usd", "changed_limits", "labels_of", "with_limits"]

if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType  # which takes no parameter in click before 8.4

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhdw]?)", re.ASCII)
_MOST_COUNT = 10**9


class _None:
    """No limit, where one is taken away."""

    def __repr__(self) -> str:
        return "none"


NONE = _None()


class Usd(_Type):
    """An amount of dollars, such as 5, 5.00 or 0.000001, in nano.

    Args:
        or_none: whether ``none`` may stand for no limit.
    """

    name = "usd"

    def __init__(self, *, or_none: bool = False) -> None:
        self._or_none = or_none

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if self._or_none and value.lower() == "none":
            return NONE
        try:
            amount = nano_of(value)
        except ConfigError as error:
            self.fail(error.message, param, ctx)
        if amount < 0:
            self.fail(f"an amount is not negative, as {shown(value)} is", param, ctx)
        return amount


class _Count(_Type):
    """A whole number from 0, or ``none``."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if value.lower() == "none":
            return NONE
        if not value.isascii() or not value.isdigit() or len(value) > 10 or int(value) > _MOST_COUNT:
            self.fail(f"a limit is a whole number up to {_MOST_COUNT}, or none, not {shown(value)}", param, ctx)
        return int(value)


class Duration(_Type):
    """A time in seconds, such as 90, 90s, 10m, 12h, 30d or 4w."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        seconds = _seconds_of(value)
        if seconds is None:
            self.fail(f"a time is like 90s, 10m, 12h or 30d, not {shown(value)}", param, ctx)
        return seconds


class Moment(_Type):
    """A moment, in seconds since 1970: a day, a day and a time, or a time from now such as 30d.

    Args:
        past: whether a time from now goes back.
        or_never: whether ``never`` may stand for no moment.
    """

    name = "when"

    def __init__(self, *, past: bool = False, or_never: bool = False) -> None:
        self._past = past
        self._or_never = or_never

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if self._or_never and value.lower() == "never":
            return NONE
        seconds = _seconds_of(value)
        if seconds is not None:
            return time.time() - seconds if self._past else time.time() + seconds
        try:
            return datetime.fromisoformat(value).timestamp()  # without a zone: that of this machine
        except (ValueError, OverflowError, OSError):
            self.fail(f"a moment is like 30d, 2027-01-31 or 2027-01-31T18:00, not {shown(value)}", param, ctx)


def _seconds_of(text: str) -> float | None:
    found = _DURATION.fullmatch(text)
    return None if found is None else float(found[1]) * _SECONDS[found[2] or "s"]


_LIMITS: dict[str, tuple[str, _Type, str]] = {
    "request": ("--usd-per-request", Usd(or_none=True), "USD that one request may cost."),
    "day": ("--usd-per-day", Usd(or_none=True), "USD that may be spent in any 24 hours."),
    "month": ("--usd-per-month", Usd(or_none=True), "USD that may be spent in any 30 days."),
    "requests_per_minute": ("--requests-per-minute", _Count(), "Requests in any minute."),
    "tokens_per_minute": ("--tokens-per-minute", _Count(), "Tokens of models in any minute."),
    "streams": ("--streams", _Count(), "Requests at once."),
}


def with_limits(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of limits; it gets those that were typed as ``limits``, a dict."""

    @functools.wraps(command)  # with the options that it has already
    def run(**options: Any) -> int:
        given = {name: options.pop(name) for name in _LIMITS}
        return command(limits={name: value for name, value in given.items() if value is not None}, **options)

    wrapped: Callable[..., int] = run
    for name, (option, kind, text) in reversed(_LIMITS.items()):
        metavar = "USD" if isinstance(kind, Usd) else "N"
        wrapped = click.option(option, name, metavar=metavar, type=kind, help=text)(wrapped)
    return wrapped


def changed_limits(limits: Limits, given: dict[str, Any]) -> Limits:
    """Return limits with those that were typed; ``none`` takes one away."""
    return attrs.evolve(limits, **{name: None if value is NONE else value for name, value in given.items()})


def labels_of(pairs: tuple[str, ...], known: dict[str, str] | None = None) -> dict[str, str]:
    """Return labels with those that were typed as ``NAME=TEXT``; an empty text takes one away.

    Raises:
        click.UsageError: one is typed otherwise.
    """
    labels = dict(known or {})
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise click.UsageError(f"--label is written NAME=TEXT, not {shown(pair)}")
        labels[name] = text
    return {name: text for name, text in labels.items() if text}
