"""What pydantic knows of its own types. It is looked up among the imported modules, and never imported here."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["is_field_info", "is_pydantic_type", "json_of", "schema_by_pydantic"]


def is_field_info(value: Any) -> bool:
    """Return whether a value was made by ``pydantic.Field``."""
    fields = sys.modules.get("pydantic.fields")
    return fields is not None and isinstance(value, fields.FieldInfo)


def is_pydantic_type(cls: Any) -> bool:
    """Return whether pydantic defines how a class is written: its models, its dataclasses, its own types."""
    return (
        "pydantic" in sys.modules
        and isinstance(cls, type)
        and (hasattr(cls, "__get_pydantic_core_schema__") or hasattr(cls, "__pydantic_core_schema__"))
    )


def schema_by_pydantic(cls: type) -> dict[str, Any]:
    """Return pydantic's schema of what a type takes, by alias, without titles, its definitions in ``$defs``."""
    schema = sys.modules["pydantic"].TypeAdapter(cls).json_schema(mode="validation", by_alias=True)
    untitled: dict[str, Any] = _without_titles(schema)
    return untitled


def json_of(value: Any) -> Any:
    """Return an instance of a pydantic type as plain JSON values."""
    return sys.modules["pydantic"].TypeAdapter(type(value)).dump_python(value, mode="json", by_alias=True)


def _without_titles(schema: Any, names: bool = False) -> Any:
    """Drop each ``title``, except a property of this name: ``names`` says whether the keys are names of properties."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value if key in _PLAIN and not names else _without_titles(value, not names and key in _NAMED)
        for key, value in schema.items()
        if names or key != "title"
    }


_NAMED = ("properties", "patternProperties", "$defs")
_PLAIN = ("default", "const", "enum", "examples")
