"""Tokens, teams and sums as people and programs read them: tables of text, and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from streamkit.cli.naming import when
from streamkit.cli.output import one_line
from streamkit.gateway.core.holders import Limits
from streamkit.gateway.core.money import usd_of
from streamkit.gateway.core.token_values import Team, Token, json_of

if TYPE_CHECKING:
    from streamkit.gateway.core.audit import Change
    from streamkit.gateway.core.records import Balance

__all__ = [
    "balance_json",
    "balance_text",
    "change_json",
    "change_lines",
    "fields",
    "holder_json",
    "limits_text",
    "models_text",
    "moment_json",
    "state_of",
    "table",
]

_WORDS = {
    "request": "${} a request",
    "day": "${} a day",
    "month": "${} a month",
    "requests_per_minute": "{} requests/min",
    "tokens_per_minute": "{} tokens/min",
    "streams": "{} at once",
}
_AMOUNTS = ("request", "day", "month")
_UNSAID = ("id", "created_at", "by", "hint")  # of a change, as the line has them otherwise
_WIDEST = 40  # columns of a text in a table


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> Iterator[str]:
    """Yield the lines of a table.

    Args:
        head: the names of the columns.
        rows: texts.
        right: the columns that are numbers.
    """
    lines = [list(head), *([_cut(one_line(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = [
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(line, widths, head, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def fields(pairs: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each field that is set."""
    width = max(map(len, pairs))
    for name, text in pairs.items():
        if text:
            yield f"{name:<{width}}  {one_line(text)}"


def limits_text(limits: Limits) -> str:
    """Return limits in words; "" for none."""
    said = []
    for name, words in _WORDS.items():
        value = getattr(limits, name)
        if value is not None:
            said.append(words.format(usd_of(value) if name in _AMOUNTS else f"{value:,}"))
    return ", ".join(said)


def models_text(value: Token | Team) -> str:
    """Return the models of a token or a team in words."""
    return ", ".join(value.models) or "all"


def balance_text(value: Token | Team, balance: Balance) -> str:
    """Return what a token or a team can spend."""
    if value.balance == "unlimited":
        return "unlimited"
    return "its team's" if value.balance == "team" else usd_of(balance.available)


def state_of(token: Token, now: float) -> str:
    """Return whether a token is in use, and until when."""
    if token.revoked_at is not None:
        return "revoked"
    if token.expires_at is None:
        return "in use"
    return "expired" if token.expires_at <= now else f"until {when(token.expires_at)}"


def moment_json(seconds: float) -> str:
    """Return a moment as JSON has it, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")


def balance_json(balance: Balance) -> dict[str, str]:
    """Return the sums of an account, in dollars."""
    return {name: usd_of(getattr(balance, name)) for name in ("available", "reserved", "spent")}


def holder_json(value: Token | Team, balance: Balance) -> dict[str, Any]:
    """Return a token or a team with its sums."""
    return {**json_of(value), "money": balance_json(balance)}


def change_json(change: Change) -> dict[str, Any]:
    """Return a change as JSON."""
    shape: dict[str, Any] = {"at": moment_json(change.at), "by": change.by, "action": change.action}
    shape |= {"before": dict(change.before), "after": dict(change.after)}
    return {**shape, "note": change.note} if change.note else shape


def change_lines(changes: Iterable[Change]) -> Iterator[str]:
    """Yield a line for each change: when, who, what, and the fields before and after."""
    for change in changes:
        old, said = _flat(change.before), []
        for name, value in _flat(change.after).items():
            if name not in _UNSAID and old.get(name) != value:
                said.append(f"{name} {f'{_word(old.get(name))} -> ' if old else ''}{_word(value)}")
        if change.note:
            said.append(f'"{change.note}"')
        yield one_line(f"{when(change.at)}  {change.by}  {change.action}: {', '.join(said)}").removesuffix(":")


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields, those of limits one by one."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name == "models":
            value = value or "all"
        flat |= value if name == "limits" and isinstance(value, dict) else {name: value}
    return flat


def _word(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return ",".join(f"{name}={text}" for name, text in value.items())
    return str(value)
