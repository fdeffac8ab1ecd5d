"""Read JSON schemas: what a schema refers to, what it wants, and whether a value fits it.

A small checker of our own, because a demo server in the user's process must not load a library for it. It knows the
keywords that tools and typed output use; a keyword that it does not know is no objection.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

__all__ = ["NULL", "Schema", "allows_null", "branches", "fits", "kind_of", "resolve"]

Schema = Mapping[str, Any]

NULL: Schema = {"type": "null"}
_MOST_REFERENCES = 32  # one after another: a schema may refer to itself

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and value % 1 == 0,
    "number": lambda value: _is_number(value),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_FORMATS: Mapping[str, Callable[[str], Any]] = {
    "date": date.fromisoformat,
    "date-time": lambda text: datetime.fromisoformat(text.replace("Z", "+00:00")),
    "uuid": uuid.UUID,
}


def resolve(schema: Any, root: Schema) -> Schema:
    """Return a schema with its `$ref` followed and its `allOf` merged; a boolean schema as an object."""
    for _ in range(_MOST_REFERENCES):
        if not isinstance(schema, Mapping):
            return {} if schema is not False else {"enum": []}
        if "$ref" not in schema:
            break
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**_target(schema["$ref"], root), **rest}
    return _merged(schema, root) if "allOf" in schema else schema


def _target(reference: Any, root: Schema) -> Schema:
    found: Any = root
    for step in str(reference).lstrip("#").strip("/").split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if name:
            found = found.get(name, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _merged(schema: Schema, root: Schema) -> Schema:
    merged = {key: value for key, value in schema.items() if key != "allOf"}
    for part in (resolve(part, root) for part in schema["allOf"]):
        for key, value in part.items():
            if key == "required":
                merged[key] = [*merged.get(key, ()), *value]
            else:
                merged[key] = {**merged.get(key, {}), **value} if key in ("properties", "$defs") else value
    return merged


def branches(schema: Schema, root: Schema) -> list[Schema]:
    """Return the alternatives of a resolved schema, null left out: those of anyOf or oneOf, or one for each type."""
    for key in ("anyOf", "oneOf"):
        if key in schema:
            rest = {name: value for name, value in schema.items() if name != key}
            return [{**rest, **one} for one in (resolve(one, root) for one in schema[key]) if one.get("type") != "null"]
    types = schema.get("type")
    if isinstance(types, list):
        return [{**schema, "type": one} for one in types if one != "null"]
    return [schema]


def allows_null(schema: Schema, root: Schema) -> bool:
    """Return whether null fits."""
    return fits(None, schema, root)


def kind_of(schema: Schema) -> str:
    """Return the type that a resolved schema without alternatives wants, from its other keywords if it names none."""
    named = schema.get("type")
    if isinstance(named, str):
        return named
    hints = {"properties": "object", "items": "array", "prefixItems": "array", "minimum": "number", "maximum": "number"}
    return next((kind for key, kind in hints.items() if key in schema), "string")


def fits(value: Any, schema: Any, root: Schema) -> bool:
    """Return whether a value fits a schema."""
    if isinstance(schema, bool):
        return schema
    schema = resolve(schema, root)
    return (
        _has_type(value, schema)
        and _is_listed(value, schema)
        and _fits_alternatives(value, schema, root)
        and (
            _fits_object(value, schema, root)
            if isinstance(value, dict)
            else _fits_array(value, schema, root)
            if isinstance(value, list)
            else _fits_text(value, schema)
            if isinstance(value, str)
            else _fits_number(value, schema)
        )
    )


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)  # JSON has no infinity
    return isinstance(value, int) and not isinstance(value, bool)


def _has_type(value: Any, schema: Schema) -> bool:
    types = schema.get("type", [])
    names = [types] if isinstance(types, str) else types
    return not names or any(_TYPES[name](value) for name in names if name in _TYPES)


def _is_listed(value: Any, schema: Schema) -> bool:
    listed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return listed is None or any(type(one) is type(value) and one == value for one in listed)


def _fits_alternatives(value: Any, schema: Schema, root: Schema) -> bool:
    if "anyOf" in schema and not any(fits(value, one, root) for one in schema["anyOf"]):
        return False
    return "oneOf" not in schema or sum(fits(value, one, root) for one in schema["oneOf"]) == 1


def _fits_object(value: dict[str, Any], schema: Schema, root: Schema) -> bool:
    properties = schema.get("properties", {})
    more = schema.get("additionalProperties", True)
    return (
        all(name in value for name in schema.get("required", ()))
        and all(fits(one, properties.get(name, more), root) for name, one in value.items())
        and schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value))
    )


def _fits_array(value: list[Any], schema: Schema, root: Schema) -> bool:
    first = schema.get("prefixItems", [])
    return (
        schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        and all(fits(one, part, root) for one, part in zip(value, first, strict=False))
        and all(fits(one, schema.get("items", True), root) for one in value[len(first) :])
        and not (schema.get("uniqueItems") and any(one in value[:at] for at, one in enumerate(value)))
    )


def _fits_text(value: str, schema: Schema) -> bool:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        return False
    return _matches(value, schema.get("pattern")) and _has_format(value, schema.get("format"))


def _matches(value: str, pattern: Any) -> bool:
    if not isinstance(pattern, str):
        return True
    try:
        return re.search(pattern, value) is not None
    except re.error:  # a pattern in another dialect
        return True


def _has_format(value: str, name: Any) -> bool:
    if name == "email":
        return re.fullmatch(r"[^@\s]+@[^@\s]+", value) is not None
    if name in ("uri", "url"):
        return re.match(r"\w[\w+.-]*:\S+$", value) is not None
    try:
        _FORMATS.get(name, str)(value)
    except ValueError:
        return False
    return True


def _fits_number(value: Any, schema: Schema) -> bool:
    if not _is_number(value):
        return True
    step = schema.get("multipleOf")
    return (
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
        and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
        and (not step or _is_multiple(value, step))
    )


def _is_multiple(value: int | float, step: int | float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    times = float(value) / step
    return math.isfinite(times) and abs(times - round(times)) < 1e-9
