"""``strict_schema``: a schema in the form that OpenAI's strict mode takes.

Source: providers' rules as in OpenAI's guide to structured outputs, "Supported schemas", and the lists of keywords and
formats that pydantic-ai 2.38 (profiles/openai.py) and openai-agents 0.24 (strict_schema.py) hold to. Read in November
2026.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from streamkit.errors import ConfigError

__all__ = ["strict_schema"]

_KEPT = {
    "type",
    "description",
    "enum",
    "const",
    "$ref",
    "pattern",
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
}
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
_LOOK_AROUND = ("(?=", "(?!", "(?<=", "(?<!")
# They say nothing about the values, or nothing that is not said elsewhere: a discriminator's values are constants.
_DROPPED = {"default", "title", "discriminator", "$schema", "$id", "$comment", "readOnly", "writeOnly"}
_OPEN = ("patternProperties", "unevaluatedProperties")


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an object in the form for strict mode; the one that is passed stays as it is.

    Each property is required, and an optional one may be null, which stands for "not given". Objects take no other
    keys. What strict mode does not know and a sentence can say is moved into the description: lengths of texts,
    formats, patterns that look around.

    Raises:
        ConfigError: it cannot be said: an object takes any keys, the items of an array have no type, the root is no
            object, or schemas are combined otherwise than by ``anyOf``. The text has the path.
    """
    if schema.get("type") != "object" or "anyOf" in schema or "oneOf" in schema:
        raise _impossible("the root is not an object")
    return _Strict(schema).whole()


class _Strict:
    """One conversion; holds the root for references."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def whole(self) -> dict[str, Any]:
        converted = self._converted(self._root, "")
        for key in ("$defs", "definitions"):
            if key in self._root:
                found = self._root[key].items()
                converted[key] = {name: self._converted(inner, name) for name, inner in found}
        return converted

    def _converted(self, schema: Any, path: str) -> dict[str, Any]:
        if schema is True:
            return {}
        if not isinstance(schema, Mapping):
            raise _impossible(f"{_shown(path)} takes no value")
        schema = _merged(schema, path)
        out: dict[str, Any] = {}
        notes: list[str] = []
        for key, value in schema.items():
            if key in ("anyOf", "oneOf"):
                out["anyOf"] = [self._converted(option, path) for option in value]
            elif key in ("items", "prefixItems"):
                out[key] = self._items(key, value, path)
            elif _is_kept(key, value):
                out[key] = value
            elif key not in _DROPPED and key not in _SEEN_ELSEWHERE:
                notes.append(_note(key, value, path))
        if "object" in _types(schema) or "properties" in schema:
            out.update(self._object(schema, path))
        if "array" in _types(schema) and not schema.get("items") and not schema.get("prefixItems"):
            raise _impossible(f"{_shown(path)}[] has no type")
        return _referring(_noted(out, notes))

    def _items(self, key: str, value: Any, path: str) -> Any:
        if key == "prefixItems" or isinstance(value, list):
            return [self._converted(item, f"{path}[{n}]") for n, item in enumerate(value)]
        return value if value is False else self._converted(value, f"{path}[]")

    def _object(self, schema: Mapping[str, Any], path: str) -> dict[str, Any]:
        others = schema.get("additionalProperties", "properties" not in schema)
        if others is not False or any(schema.get(key) for key in _OPEN):
            raise _impossible(f"{_shown(path)} takes any keys")
        required = set(schema.get("required", ()))
        properties = {}
        for name, inner in schema.get("properties", {}).items():
            converted = self._converted(inner, f"{path}.{name}" if path else name)
            properties[name] = converted if name in required else _nullable(converted)
        return {"properties": properties, "required": list(properties), "additionalProperties": False}


_SEEN_ELSEWHERE = {
    "properties",
    "required",
    "additionalProperties",
    "propertyNames",  # of an object that takes any keys, which is refused; else the names are known
    "$defs",
    "definitions",
    *_OPEN,
}


def _merged(schema: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """Return a schema without an ``allOf`` of one, which only adds to it."""
    options = schema.get("allOf", ())
    if len(options) > 1:
        raise _impossible(f"{_shown(path)} combines schemas by allOf")
    if not options:
        return schema
    return {**options[0], **{key: value for key, value in schema.items() if key != "allOf"}}


def _is_kept(key: str, value: Any) -> bool:
    if key == "format":
        return value in _FORMATS
    if key == "pattern":
        return not any(sign in value for sign in _LOOK_AROUND)
    return key in _KEPT


def _note(key: str, value: Any, path: str) -> str:
    nested = isinstance(value, Mapping) or (
        isinstance(value, list) and any(isinstance(item, Mapping) for item in value)
    )
    if nested and key != "examples":
        raise _impossible(f"{_shown(path)} has {key!r}, which strict mode does not know")
    return f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def _noted(schema: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    if not notes:
        return schema
    described = schema.get("description", "")
    return {**schema, "description": f"{described} ({', '.join(notes)})".strip()}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if _takes_null(schema):
        return schema
    described = {key: schema[key] for key in ("description",) if key in schema}
    inner = {key: value for key, value in schema.items() if key != "description"}
    options = inner["anyOf"] if set(inner) == {"anyOf"} else [inner]
    return {"anyOf": [*options, {"type": "null"}], **described}


def _takes_null(schema: Mapping[str, Any]) -> bool:
    if "anyOf" in schema:
        return any(_takes_null(option) for option in schema["anyOf"])
    if "enum" in schema:
        return None in schema["enum"]
    return "null" in _types(schema) or ("const" in schema and schema["const"] is None)


def _types(schema: Mapping[str, Any]) -> list[str]:
    kind = schema.get("type", [])
    return [kind] if isinstance(kind, str) else list(kind)


def _referring(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema in which nothing stands beside ``$ref``."""
    if "$ref" not in schema or len(schema) == 1:
        return schema
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {**beside, "anyOf": [{"$ref": schema["$ref"]}]}


def _shown(path: str) -> str:
    return path or "root"


def _impossible(why: str) -> ConfigError:
    return ConfigError(f"no schema for strict mode: {why}; use strict=False, or a type with known keys")
