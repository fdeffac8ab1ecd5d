"""Values that a model wrote -> a type: ``converted`` for decoded JSON, ``read_value`` for text."""

from __future__ import annotations

from functools import partial
from typing import Any

from streamkit.tools.converting.converter import Walk
from streamkit.tools.converting.making import Made, made
from streamkit.tools.json_schema import schema_check
from streamkit.tools.problems import InvalidValueError, Refused
from streamkit.tools.repairs import value_of

__all__ = ["convert_with", "converted", "read_value"]


def converted(value: Any, hint: Any) -> Any:
    """Convert decoded JSON to a type.

    Args:
        value: of the types that JSON decoders return.
        hint: the type, or a JSON schema as a dict: then the value itself is returned, with its repairs.

    Returns:
        The value as the type. Repairs that lose nothing are made, such as "3" for an integer.

    Raises:
        InvalidValueError: it does not fit; with all problems.
        ConfigError: no JSON value can become the type, or the schema is wrong.
    """
    try:
        return schema_check(hint).repaired(value) if isinstance(hint, dict) else convert_with(made(hint), value)
    except Refused as refused:
        raise InvalidValueError(refused.problems()) from refused.cause


def read_value(hint: Any, text: str) -> Any:
    """Read the JSON text of a whole reply as a type.

    Args:
        hint: the type, or a JSON schema as a dict: then the decoded JSON is returned.
        text: JSON, which one Markdown fence may surround. JSON within other text is not looked for.

    Returns:
        The value as the type. Repairs that lose nothing are made; what was cut off is never closed.

    Raises:
        InvalidValueError: it is no JSON or does not fit; with all problems.
        ConfigError: no JSON value can become the type, or the schema is wrong.
    """
    fit = schema_check(hint).repaired if isinstance(hint, dict) else partial(convert_with, made(hint))
    try:
        return fit(value_of(text, exact=not isinstance(hint, dict) and made(hint).exact))
    except Refused as refused:
        raise InvalidValueError(refused.problems()) from refused.cause


def convert_with(kind: Made, value: Any) -> Any:
    """Convert by what was made of a type.

    Raises:
        Refused: the value does not fit.
    """
    try:
        return kind.converter.convert(value, Walk.repairing(kind.exact))
    except RecursionError:  # the caller's own stack is deep
        raise Refused.of("value", "is nested too deep") from None
