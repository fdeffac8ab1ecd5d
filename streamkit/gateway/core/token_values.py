"""Tokens and teams as values, as rows of a table, and as JSON: ``Token`` and ``Team``."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Literal, get_args

import attrs

from streamkit.errors import ConfigError
from streamkit.gateway.core.holders import Holder, Limits
from streamkit.gateway.core.money import MOST, usd_of
from streamkit.settings import shown
from streamkit.values.json_text import decode_strict
from streamkit.wire.json import write_json

__all__ = ["Balance", "Team", "Token", "allows", "checked_by", "json_of", "row_of", "team_in", "token_in"]

Balance = Literal["own", "team", "unlimited"]

_TEAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_AMOUNTS = ("request", "day", "month")
_MOST_COUNT = 10**9  # requests, tokens or streams
_LONGEST_NAME, _LONGEST_PATTERN, _LONGEST_LABEL, _LONGEST_BY = 100, 200, 1000, 200
_MOST_PATTERNS, _MOST_LABELS = 1000, 64
_LAST_MOMENT = 253402300799.0  # the end of the year 9999


# -- checks ------------------------------------------------------------------------------------------------


def _text(value: Any, what: str, longest: int, *, may_be_empty: bool = False) -> str:
    if not isinstance(value, str) or len(value) > longest or not value.isprintable() or value != value.strip():
        raise ConfigError(f"{what} is a text of at most {longest} characters in one line, not {shown(value)}")
    if not value and not may_be_empty:
        raise ConfigError(f"{what} may not be empty")
    return value


def checked_by(by: str) -> str:
    """Return who changes something.

    Raises:
        ConfigError: it is no text of one line, or is empty.
    """
    return _text(by, "who does it", _LONGEST_BY)


def _name(_instance: object, _attribute: object, value: Any) -> None:
    if isinstance(value, str) and value.startswith("sk-"):  # which no error may show
        raise ConfigError("the name of a token is not its text: give it another one")
    _text(value, "the name of a token", _LONGEST_NAME)


def _team_name(_instance: object, _attribute: object, value: Any) -> None:
    if not isinstance(value, str) or not _TEAM.fullmatch(value):
        raise ConfigError(
            f"the name of a team is up to 100 letters of English, digits, and . _ - after the first, not {shown(value)}"
        )


def _team_or_none(instance: object, attribute: object, value: Any) -> None:
    if value != "":
        _team_name(instance, attribute, value)


def _patterns(models: Iterable[str]) -> tuple[str, ...]:
    if isinstance(models, str) or not isinstance(models, Iterable):
        raise ConfigError(f"models are a list of names, in which * stands for anything, not {shown(models)}")
    found = tuple(_text(each, "the name of a model", _LONGEST_PATTERN) for each in models)
    if len(found) > _MOST_PATTERNS:
        raise ConfigError(f"there may be {_MOST_PATTERNS} names of models, not {len(found)}")
    return found


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(labels, Mapping) or len(labels) > _MOST_LABELS:
        raise ConfigError(f"labels are up to {_MOST_LABELS} names with a text each")
    return {
        _text(name, "the name of a label", _LONGEST_NAME): _text(
            value, "the text of a label", _LONGEST_LABEL, may_be_empty=True
        )
        for name, value in labels.items()
    }


def _limits(_instance: object, _attribute: object, limits: Any) -> None:
    if not isinstance(limits, Limits):
        raise ConfigError(f"limits are of the class Limits, not {shown(limits)}")
    for name, value in attrs.asdict(limits).items():
        most = MOST if name in _AMOUNTS else _MOST_COUNT
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most):
            raise ConfigError(f"the limit {name} is a whole number from 0 to {most}, or none, not {shown(value)}")


def _moment(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= _LAST_MOMENT:
        raise ConfigError(f"{attribute.name} is a number of seconds since 1970, not {shown(value)}")


def _balance(kinds: tuple[str, ...]) -> Any:
    def check(_instance: object, _attribute: object, value: Any) -> None:
        if value not in kinds:
            raise ConfigError(f"a balance is {', '.join(kinds[:-1])} or {kinds[-1]}, not {shown(value)}")

    return check


# -- values ------------------------------------------------------------------------------------------------


@attrs.frozen
class Team:
    """Tokens that share models, limits, and a balance if they have none of their own.

    Attributes:
        name: letters of English, digits, ``.``, ``_`` and ``-``.
        models: patterns of the models that its tokens may use, in which ``*`` stands for anything; none for all.
        limits: of all its tokens together.
        balance: ``own``, or ``unlimited`` for one from which nothing is taken.
        created_at: in seconds since 1970.
        by: who made it.
    """

    name: str = attrs.field(validator=_team_name)
    models: tuple[str, ...] = attrs.field(default=(), converter=_patterns)
    limits: Limits = attrs.field(default=Limits(), validator=_limits)
    balance: Literal["own", "unlimited"] = attrs.field(default="own", validator=_balance(("own", "unlimited")))
    created_at: float = attrs.field(default=0.0, validator=_moment)
    by: str = ""

    @property
    def holder(self) -> Holder:
        """The team as the ledger knows it."""
        return Holder(f"team:{self.name}", self.limits)


@attrs.frozen
class Token:
    """What somebody uses the gateway with; the text itself is not kept.

    Attributes:
        id: in ledger, logs and commands.
        name: for people; no two tokens that are in use have the same.
        team: the name of its team; "" for none.
        models: as those of a team. A model has to be among those of both.
        limits: its own; those of its team hold as well.
        balance: ``own``; ``team`` for that of its team; ``unlimited`` for one from which nothing is taken, where its
            team has such a balance too or it has no team.
        expires_at: in seconds since 1970; ``None`` for never.
        created_at: the same.
        revoked_at: the same; ``None`` while it is in use.
        labels: names and texts of the user's.
        by: who made it.
        hint: the last characters of its text, to tell texts apart.
    """

    id: str
    name: str = attrs.field(validator=_name)
    team: str = attrs.field(default="", validator=_team_or_none)
    models: tuple[str, ...] = attrs.field(default=(), converter=_patterns)
    limits: Limits = attrs.field(default=Limits(), validator=_limits)
    balance: Balance = attrs.field(default="own", validator=_balance(get_args(Balance)))
    expires_at: float | None = attrs.field(default=None, validator=_moment)
    created_at: float = attrs.field(default=0.0, validator=_moment)
    revoked_at: float | None = attrs.field(default=None, validator=_moment)
    labels: Mapping[str, str] = attrs.field(factory=dict, converter=_labels)
    by: str = ""
    hint: str = ""

    @property
    def holder(self) -> Holder:
        """The token as the ledger knows it."""
        return Holder(f"token:{self.id}", self.limits)


def allows(patterns: tuple[str, ...], model: str) -> bool:
    """Return whether one of the patterns fits the name of a model, with regard to case; no pattern fits all."""
    return not patterns or _compiled(patterns).match(model) is not None


@lru_cache(4096)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(each) for each in patterns))


# -- rows of a table ---------------------------------------------------------------------------------------


def row_of(value: Token | Team) -> dict[str, Any]:
    """Return the columns of a token or a team."""
    row = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    row["models"] = write_json(list(value.models)).decode()
    limits = attrs.asdict(value.limits)
    row["limits"] = write_json({name: limit for name, limit in limits.items() if limit is not None}).decode()
    if isinstance(value, Token):
        row["labels"] = write_json(dict(value.labels)).decode()
    return row


def _read(row: Mapping[Any, Any]) -> dict[str, Any]:
    known = {"models": decode_strict(row["models"]), "limits": Limits(**decode_strict(row["limits"]))}
    if "labels" in row:
        known["labels"] = decode_strict(row["labels"])
    return {**row, **known}


def token_in(row: Mapping[Any, Any]) -> Token:
    """Return the token of a row."""
    read = _read(row)
    return Token(**{field.name: read[field.name] for field in attrs.fields(Token)})


def team_in(row: Mapping[Any, Any]) -> Team:
    """Return the team of a row."""
    read = _read(row)
    return Team(**{field.name: read[field.name] for field in attrs.fields(Team)})


# -- JSON --------------------------------------------------------------------------------------------------


def json_of(value: Token | Team) -> dict[str, Any]:
    """Return a token or a team as JSON, for the audit and for programs: amounts in dollars, moments in UTC."""
    shape = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    shape["models"] = list(value.models)
    shape["limits"] = {
        name: usd_of(limit) if name in _AMOUNTS and limit is not None else limit
        for name, limit in attrs.asdict(value.limits).items()
    }
    for name in ("expires_at", "created_at", "revoked_at"):
        if shape.get(name) is not None:
            shape[name] = datetime.fromtimestamp(shape[name], timezone.utc).isoformat(timespec="seconds")
    return shape
