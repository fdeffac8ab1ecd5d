"""What ``Annotated`` says to a model: a description and constraints.

Read are ``msgspec.Meta``, ``annotated_types``, ``pydantic.Field``, ``Doc`` (PEP 727) and plain strings, which are
descriptions. Anything else is of somebody else's, and ignored, as PEP 593 says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import attrs
import msgspec

from streamkit.tools.pydantic_types import is_field_info

__all__ = ["Metadata", "read_metadata"]

_LIBRARIES = ("msgspec", "annotated_types", "pydantic")
_KEYWORDS = {
    "ge": "minimum",
    "le": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}
_SIZES = {
    "array": {"minLength": "minItems", "maxLength": "maxItems"},
    "object": {"minLength": "minProperties", "maxLength": "maxProperties"},
    "string": {"minLength": "minLength", "maxLength": "maxLength", "pattern": "pattern"},
}
_NUMBERS = {name: name for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")}
_BY_TYPE: dict[str, dict[str, str]] = {**_SIZES, "integer": _NUMBERS, "number": _NUMBERS}


@attrs.frozen
class Metadata:
    """What the metadata of one ``Annotated`` says.

    Attributes:
        description: the last one there; empty if there is none.
        constraints: keywords of JSON schema; lengths are ``minLength`` and ``maxLength`` whatever has the length.
        extra: further keywords that were written by hand.
    """

    description: str = ""
    constraints: dict[str, Any] = attrs.field(factory=dict)
    extra: dict[str, Any] = attrs.field(factory=dict)

    def applied_to(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return a schema with the constraints where they mean something, and the description."""
        schema = {**self._constrained(schema), **self.extra}
        return {**schema, "description": self.description} if self.description else schema

    def _constrained(self, schema: dict[str, Any]) -> dict[str, Any]:
        if "anyOf" in schema:
            return {**schema, "anyOf": [self._constrained(option) for option in schema["anyOf"]]}
        keywords = _BY_TYPE.get(schema.get("type", ""), {})
        return {**schema, **{keywords[name]: value for name, value in self.constraints.items() if name in keywords}}


def read_metadata(items: Iterable[Any]) -> Metadata:
    """Read the metadata of an ``Annotated``."""
    description = ""
    constraints: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for item in items:
        description = _description(item) or description
        constraints |= _constraints(item)
        extra |= _extra(item)
    return Metadata(description, constraints, extra)


def _description(item: Any) -> str:
    if isinstance(item, str):
        return item
    found = item.description if isinstance(item, msgspec.Meta) or is_field_info(item) else None
    if found is None and type(item).__name__ == "Doc":
        found = getattr(item, "documentation", None)
    return found if isinstance(found, str) else ""


def _constraints(item: Any) -> dict[str, Any]:
    if is_field_info(item):
        return read_metadata(item.metadata).constraints
    if type(item).__module__.partition(".")[0] not in _LIBRARIES:
        return {}
    found = {}
    for name, keyword in _KEYWORDS.items():
        value = getattr(item, name, None)
        if isinstance(value, re.Pattern):
            value = value.pattern
        # Other values, such as a date, are limits that JSON schema cannot say; a least length of 0 is none.
        if isinstance(value, str if name == "pattern" else (int, float)) and (name, value) != ("min_length", 0):
            found[keyword] = value
    return found


def _extra(item: Any) -> dict[str, Any]:
    if isinstance(item, msgspec.Meta):
        extra = dict(item.extra_json_schema or {})
    elif is_field_info(item):
        extra = dict(item.json_schema_extra) if isinstance(item.json_schema_extra, dict) else {}
    else:
        return {}
    return {**({"examples": list(item.examples)} if item.examples else {}), **extra}
