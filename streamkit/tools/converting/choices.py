"""``Literal`` and enumerations."""

from __future__ import annotations

import enum
from typing import Any

from streamkit.errors import ConfigError
from streamkit.tools.converting.converter import Converter, Walk, kind_of
from streamkit.tools.converting.scalars import quoted
from streamkit.tools.problems import NOTHING, Refused, short

__all__ = ["Choice", "enum_choice", "literal_choice"]

_MOST_LISTED = 30  # values in one error text


class Choice(Converter):
    """One of some values that JSON can say.

    Args:
        choices: the JSON value and what it stands for.
        other: called with a value that is not among them, and may raise: an enumeration's own ``_missing_``.
    """

    rank = 0

    def __init__(self, choices: list[tuple[Any, Any]], other: Any = None) -> None:
        # The type belongs to the key: 1 == True == 1.0.
        self._choices = {(type(value), value): result for value, result in choices}
        self._other = other
        self.kinds = frozenset(kind_of(value) for value, _ in choices)
        self.is_one = len(choices) == 1
        words = [short(value, 60) for value, _ in choices[:_MOST_LISTED]]
        more = "" if len(choices) <= _MOST_LISTED else f" and {len(choices) - _MOST_LISTED} more"
        self.wanted = words[0] if len(words) == 1 else f"one of {', '.join(words)}{more}"

    def convert(self, value: Any, walk: Walk) -> Any:
        """Return what the value stands for."""
        if not isinstance(value, (dict, list)):
            for candidate in self._readings(value, walk):
                result = self._choices.get((type(candidate), candidate), NOTHING)
                if result is NOTHING and self._other is not None and kind_of(candidate) in self.kinds:
                    result = self._other(candidate)
                if result is not NOTHING:
                    return result
        kind = "type" if value is None or isinstance(value, (dict, list)) else "value"
        raise Refused.of(kind, f"must be {self.wanted}", value)

    def _readings(self, value: Any, walk: Walk) -> list[Any]:
        """Return the value, and what it says otherwise: 10 for "10" and for 10.0."""
        if isinstance(value, float):
            value = float(value)
        if not walk.lax or value is None:
            return [value]
        readings = [value]
        if type(value) is str:
            inner = quoted(value)
            if inner is not NOTHING:
                readings.append(float(inner) if isinstance(inner, float) else inner)
        number = readings[-1]
        if isinstance(number, float) and number.is_integer():
            readings.append(int(number))
        elif type(number) is int and abs(number) <= 2**53:
            readings.append(float(number))
        return readings


def literal_choice(values: tuple[Any, ...]) -> Choice:
    """Return the converter of a ``Literal``."""
    return Choice([(value.value if isinstance(value, enum.Enum) else value, value) for value in values])


def enum_choice(kind: type[enum.Enum]) -> Choice:
    """Return the converter of an enumeration: by value, and by its ``_missing_`` where it has one."""
    if not all(value is None or isinstance(value, (str, int, float)) for value in (member.value for member in kind)):
        raise ConfigError(f"{kind.__name__} has values that JSON cannot say")
    by_rule = any("_missing_" in vars(base) for base in kind.__mro__ if base not in (enum.Enum, object))

    def other(value: Any) -> Any:
        try:
            found = kind(value)
        except Exception:  # the rule is the user's, and may fail in any way
            return NOTHING
        return found if isinstance(found, kind) else NOTHING

    return Choice([(member.value, member) for member in kind], other if by_rule else None)
