"""``json_of``: a default value as JSON has it."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Set
from pathlib import PurePath
from typing import Any

import msgspec

from streamkit.tools import pydantic_types
from streamkit.tools.fields import fields_of

__all__ = ["json_of"]


def json_of(value: Any) -> Any:
    """Return a value as JSON has it, in the form that its type's schema describes.

    The items of a set are sorted, so that the schema is the same in each process.

    Raises:
        ValueError: JSON cannot say it, such as a sentinel or infinity.
    """
    if value is None or (isinstance(value, (bool, str, int, float)) and not isinstance(value, enum.Enum)):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("JSON has no such number")
        return value
    if isinstance(value, Mapping):
        return {str(json_of(key)): json_of(item) for key, item in value.items()}
    if isinstance(value, Set):
        items = [json_of(item) for item in value]
        return sorted(
            items, key=lambda item: (str(type(item)), item if isinstance(item, (int, float, str)) else repr(item))
        )
    if isinstance(value, (list, tuple)):
        return [json_of(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if pydantic_types.is_pydantic_type(type(value)):
        return pydantic_types.json_of(value)
    fields = fields_of(type(value))
    if fields is not None:
        return {field.name: json_of(getattr(value, field.attribute)) for field in fields}
    try:
        return json_of(value.value) if isinstance(value, enum.Enum) else msgspec.to_builtins(value)
    except TypeError as error:
        raise ValueError("JSON has no word for it") from error
