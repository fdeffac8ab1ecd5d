"""Read the results of tools: what became of a call, values in it, and a sentence about it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from streamkit.testing.assistant.words import words_of

__all__ = ["Outcome", "in_words", "known_values", "sentence"]

_MOST_CHARACTERS = 400
_MOST_ITEMS = 12
_UNITS = ("unit", "units", "currency")
_DEGREES = {"C": "°C", "F": "°F", "celsius": "°C", "fahrenheit": "°F"}

# How the text of a result begins, and what became of the call; the first that matches counts.
_BEGINNINGS: tuple[tuple[str, str], ...] = (
    (
        "rejected",
        r"(?:the )?(?:user|person|(?:tool )?call|it|this)?\s*(?:was |has |is )?(?:not approved|rejected|declined)",
    ),
    ("rejected", r"(?:approval (?:was )?)?(?:denied|refused)|(?:the )?\w+ did not approve"),
    ("invalid", r"(?:error: )?(?:the )?arguments? (?:\S+ ){0,2}(?:is|are|was|were) (?:not valid|invalid|wrong)"),
    ("invalid", r"(?:error: )?(?:invalid|wrong|bad) arguments?"),
    ("stopped", r"cancell?ed|limit reached|cut off|still running|not (?:run|begun|executed)|unknown whether"),
    ("stopped", r"the function has not ended|the program ended"),
    ("failed", r"error|exception|failed|failure|traceback|could not|unable to|\w+(?:Error|Exception)\b"),
    ("failed", r"the function (?:was not called|failed|raised)|there is no tool"),
)

_EDITED = re.compile(r"\([^\n{]*(\{[^\n]*\})\)\n")  # a note that a person changed the arguments
# What stands around the reason in such texts, and is said by the sentence already.
_AROUND = re.compile(
    r"^(?:error|the function failed|invalid arguments?)\b[^.:]*[:.]\s*|\.? ?(?:and )?the function was not called\.?$",
    re.IGNORECASE,
)


@attrs.frozen
class Outcome:
    """A call that was made, and what became of it.

    Attributes:
        status: ok, rejected (by a person), invalid (its arguments), stopped (before its end), failed, or waiting
            where there is no result.
        text: the result.
    """

    name: str
    arguments: Mapping[str, Any]
    text: str
    status: str

    @classmethod
    def of(cls, name: str, arguments: Mapping[str, Any], text: str | None) -> Outcome:
        """Return the outcome that the text of a result tells; None is no result."""
        if text is None:
            return cls(name, arguments, "", "waiting")
        if edited := _EDITED.match(text):
            arguments, text = _json(edited.group(1)), text[edited.end() :]
        value = _json(text)
        said = str(value["error"]) if isinstance(value, dict) and value.get("error") else None
        if said is not None:
            status = next((status for status, _ in _BEGINNINGS if _begins(status, said)), "failed")
            return cls(name, arguments, said, status)
        return cls(name, arguments, text, next((status for status, _ in _BEGINNINGS if _begins(status, text)), "ok"))


def _begins(status: str, text: str) -> bool:
    return any(re.match(rf"\W*(?:{pattern})", text, re.IGNORECASE) for one, pattern in _BEGINNINGS if one == status)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def known_values(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the values by name in results and in the arguments of their calls; a result counts before an argument."""
    known: dict[str, Any] = {}
    for outcome in (outcome for outcome in outcomes if outcome.status == "ok"):
        known.update({name: value for name, value in outcome.arguments.items() if value is not None})
    for outcome in (outcome for outcome in outcomes if outcome.status == "ok"):
        known.update(_named(_json(outcome.text)))
    return known


def _named(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names and values in a JSON value; those further out last, so that they count."""
    if isinstance(value, list):
        for one in value[:1]:
            yield from _named(one)
    if isinstance(value, dict):
        for one in value.values():
            yield from _named(one)
        yield from ((name, one) for name, one in value.items() if one is not None)


def in_words(value: Any, leave_out: Sequence[Any] = ()) -> str:
    """Return a JSON value in words: `temperature 12 °C, sky rain`.

    Args:
        value: the result of a tool.
        leave_out: values that need no mention, as the caller knows them.
    """
    if isinstance(value, dict):
        unit = next((_DEGREES.get(str(one), str(one)) for name, one in value.items() if name in _UNITS and one), "")
        shown = {name: one for name, one in value.items() if name not in _UNITS and one is not None}
        telling = {name: one for name, one in shown.items() if one not in leave_out} or shown
        pairs = (f"{' '.join(words_of(name))} {_inner(one, unit)}" for name, one in [*telling.items()][:_MOST_ITEMS])
        return ", ".join(pairs) or "nothing"
    if isinstance(value, list):
        texts = [_inner(one, "") for one in value[:_MOST_ITEMS]]
        return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]])) or "nothing"
    return _scalar(value)


def _inner(value: Any, unit: str) -> str:
    if isinstance(value, (dict, list)):
        return f"({in_words(value)})" if value else "nothing"
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{_scalar(value)} {unit}" if unit and is_number else _scalar(value)


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "yes", False: "no"}[value]
    text = " ".join(str(value).split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS].rpartition(' ')[0]} …"


def sentence(outcome: Outcome) -> str:
    """Return what became of a call, for the user to read."""
    told = _AROUND.sub("", _scalar(outcome.text)).rstrip(".,") or outcome.text
    reason = told.partition(":")[2].strip()
    title = _title(outcome)
    if outcome.status == "rejected":
        return f"You did not approve {outcome.name}, so I did not do it{f' ({reason})' if reason else ''}."
    if outcome.status == "invalid":
        return f"{title} did not take my arguments: {told}."
    if outcome.status == "stopped":
        return f"{title} did not come to its end: {told}."
    if outcome.status == "failed":
        return f"{title} did not work: {told}."
    if outcome.status == "waiting":
        return f"{title} has no result yet."
    said = in_words(_json(outcome.text), list(outcome.arguments.values())) or "nothing"
    return f"{title}: {said}{'' if said.endswith(('.', '!', '?', '…')) else '.'}"


def _title(outcome: Outcome) -> str:
    values = [_inner(value, "") for value in outcome.arguments.values() if value is not None]
    short = [value if len(value) <= 40 else f"{value[:40]}…" for value in values]
    return f"{outcome.name}({', '.join(short)})"
