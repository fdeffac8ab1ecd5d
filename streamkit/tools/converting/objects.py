"""Objects whose keys are known: dataclasses, attrs, msgspec.Struct, TypedDict, NamedTuple by names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from streamkit.tools.converting.containers import Container
from streamkit.tools.converting.converter import Converter, Walk
from streamkit.tools.problems import MAX_PROBLEMS, NOTHING, Finding, Refused, short

__all__ = ["Field", "Fields", "converted_fields", "objection", "unexpected"]

_MOST_NAMED = 20  # known keys in one text
_LONGEST_OBJECTION = 500  # characters


@attrs.frozen(eq=False)
class Field:
    """One key.

    Attributes:
        key: as JSON has it.
        target: the name of the argument that it becomes.
        converter: its type.
        required: whether it has no default.
    """

    key: str
    target: str
    converter: Converter
    required: bool


class Fields(Container):
    """An object with known keys. Others are refused. Null for a key with a default means the default.

    ``fields`` is set after the object is made, for a class may be the type of its own fields.

    Args:
        make: makes the value of keyword arguments; its errors are those of the user's own checks.
        ignored: keys that may come and say nothing new: the tag of a Struct.
    """

    kinds = frozenset({"object"})

    def __init__(self, make: Callable[..., Any], ignored: Mapping[str, Any] | None = None) -> None:
        self.fields: tuple[Field, ...] = ()
        self._make = make
        self._ignored = ignored or {}

    @property
    def wanted(self) -> str:  # type: ignore[override]
        """An object, and its keys."""
        names = [_field_text(field) for field in self.fields[:_MOST_NAMED]]
        more = ", ..." if len(self.fields) > _MOST_NAMED else ""
        return f"an object with {', '.join(names)}{more}" if names else "an empty object"

    def convert(self, value: Any, walk: Walk) -> Any:
        """Return the value of the class."""
        given = self.opened(value, walk)
        if self._ignored:
            given = self._without_ignored(given)
        arguments, findings = converted_fields(self.fields, given, walk)
        if len(given) > sum(field.key in given for field in self.fields):
            findings += unexpected(given, [field.key for field in self.fields])
        if findings:
            raise Refused(findings)
        try:
            return self._make(**arguments)
        except Exception as error:  # a check of the user's
            raise Refused.of("value", objection(error), cause=error) from None

    def may_fit(self, value: Any) -> bool:
        """Return whether the keys are those of the class."""
        known = 0
        for field in self.fields:
            if field.key in value:
                known += 1
            elif field.required:
                return False
        return known == len(value) - sum(name in value for name in self._ignored)

    def _without_ignored(self, given: dict[str, Any]) -> dict[str, Any]:
        wrong = [name for name, tag in self._ignored.items() if given.get(name, tag) != tag]
        if wrong:
            raise Refused(
                [Finding("value", f"must be {short(self._ignored[name], 60)}", given[name], (name,)) for name in wrong]
            )
        return {name: item for name, item in given.items() if name not in self._ignored}


def converted_fields(
    fields: tuple[Field, ...], given: dict[str, Any], walk: Walk
) -> tuple[dict[str, Any], list[Finding]]:
    """Convert the values of known keys: arguments by target, and what is wrong with the others."""
    arguments: dict[str, Any] = {}
    findings: list[Finding] = []
    for field in fields:
        item = given.get(field.key, NOTHING)
        if item is NOTHING:
            if field.required:
                findings.append(Finding("missing", "is required and missing", path=(field.key,)))
            continue
        if item is None and not field.required and walk.lax and "null" not in field.converter.kinds:
            continue  # null for "not given": strict mode makes every key required
        try:
            arguments[field.target] = field.converter.convert(item, walk)
        except Refused as refused:
            findings += refused.under(field.key)
    return arguments, findings


def unexpected(given: dict[str, Any], known: list[str]) -> list[Finding]:
    """Return a finding for each key that is not known, up to a bound."""
    names = set(known)
    text = f"is unexpected (known: {', '.join(known[:_MOST_NAMED])})" if known else "is unexpected (none is known)"
    others = [name for name in given if name not in names][: MAX_PROBLEMS + 1]
    return [Finding("unexpected", text, path=(name,)) for name in others]


def _field_text(field: Field) -> str:
    if not field.required:
        return f"{field.key} (optional)"
    # A key with one value names the class in a union.
    return f"{field.key} {field.converter.wanted}" if getattr(field.converter, "is_one", False) else field.key


def objection(error: object) -> str:
    """Return what a user's check says. Texts of other errors are Python's."""
    if not isinstance(error, (ValueError, AssertionError)) or not error.args:
        return "is not valid"
    text = str(error.args[0]).strip()  # attrs has its own objects behind the text
    return text if text and len(text) <= _LONGEST_OBJECTION else "is not valid"
