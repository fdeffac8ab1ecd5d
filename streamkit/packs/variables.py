"""The values of a prompt's variables: their types, what is allowed, and how they are written into a template."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from streamkit.packs.values import Validation, Variable
from streamkit.validators.dialect import compiled

__all__ = ["NotOfTypeError", "breaks_rule", "is_allowed", "is_of_type", "same", "text_of", "value_of"]

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
_MOST_DIGITS = 4300  # that Python turns into an integer
_BOOLEANS = {"true": True, "false": False}


class NotOfTypeError(ValueError):
    """A value that a variable cannot have."""


def is_of_type(type_: str, value: Any) -> bool:
    """Return whether decoded JSON is of a variable's type, as a default has to be."""
    if type_ == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    kinds = {"string": str, "boolean": bool, "object": dict, "array": list}
    return isinstance(value, kinds.get(type_, object))


def value_of(type_: str, value: Any) -> Any:
    """Return the value that is meant by one that was given; numbers and booleans may be given as text.

    Raises:
        NotOfTypeError: it is of another type.
    """
    if type_ == "number":
        if isinstance(value, str):
            return _number_of(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return value
    elif type_ == "boolean":
        value = _BOOLEANS.get(value, value) if isinstance(value, str) else value
        if isinstance(value, bool):
            return value
    elif type_ == "object":
        if isinstance(value, Mapping):
            return value
    elif type_ == "array":
        if isinstance(value, (list, tuple)):
            return value
    else:
        return value
    raise NotOfTypeError(f"is not of type {type_}")


def _number_of(text: str) -> int | float:
    match = _NUMBER.match(text)
    if match is None:
        raise NotOfTypeError("is no number")
    return int(text) if match.groups() == (None, None) and len(text) <= _MOST_DIGITS else float(text)


def text_of(value: Any) -> str:
    """Return what a value is in a template: text as it is, anything else as JSON.

    Raises:
        NotOfTypeError: JSON does not have it.
    """
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotOfTypeError(f"cannot be written as JSON: {error}") from None


def is_allowed(variable: Variable, given: Any, text: str) -> bool:
    """Return whether a value that was given keeps to the variable's validation.

    Args:
        variable: which has the validation.
        given: of the variable's type.
        text: what the value is in a template.
    """
    rules = variable.validation
    if rules is None:
        return True
    meant = value_of(variable.type, given)
    # What a text variable puts into the template is text, whatever it was made of.
    judged = text if variable.type not in ("number", "boolean", "object", "array") else meant
    if isinstance(meant, (int, float)) and breaks_rule(rules, meant):
        return False
    in_enum = rules.enum is None or any(same(each, meant) or same(each, given) for each in rules.enum)
    return in_enum and not breaks_rule(rules, judged)


def breaks_rule(rules: Validation, value: Any) -> bool:
    """Return whether a value breaks a rule other than the enum: pattern and lengths for text, a range for numbers.

    Raises:
        ConfigError: the pattern does not compile.
    """
    if isinstance(value, str):
        if rules.pattern is not None and not compiled(rules.pattern).search(value):
            return True
        return _is_outside(len(value), rules.min_length, rules.max_length)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and _is_outside(value, rules.minimum, rules.maximum)


def _is_outside(number: float, least: float | None, most: float | None) -> bool:
    return (least is not None and number < least) or (most is not None and number > most)


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal as JSON has it: 1 is 1.0, and not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
