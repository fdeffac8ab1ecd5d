"""Values for a schema about which the prompt says nothing: plausible, and valid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from itertools import count
from typing import Any

from streamkit.testing.assistant.patterns import example_of
from streamkit.testing.assistant.schemas import Schema, allows_null, branches, fits, kind_of, resolve
from streamkit.testing.assistant.words import stem, words_of

__all__ = ["invent", "samples_for"]

_NAMES = ("name", "title", "label")  # of what the object itself is: a city's name is a city
_DEEPEST = 24  # objects in one another; a schema that wants more is one that no value fits

_SAMPLES: Mapping[str, tuple[str, ...]] = {
    "city": ("Oslo", "Lisbon", "Kyoto", "Nairobi", "Lima", "Toronto", "Prague", "Hobart"),
    "country": ("Norway", "Portugal", "Japan", "Kenya", "Peru", "Canada", "Czechia", "Australia"),
    "person": ("Ada Berg", "Ben Okoye", "Carla Silva", "Dan Novak", "Emi Sato", "Finn Quispe"),
    "colour": ("blue", "green", "red", "yellow", "white", "black"),
    "fruit": ("apple", "pear", "plum", "cherry", "fig", "lemon"),
    "animal": ("otter", "heron", "fox", "lynx", "seal", "owl"),
    "language": ("Norwegian", "Portuguese", "Japanese", "Swahili", "Spanish", "English"),
    "company": ("Fjord Ltd", "Harbour Works", "Northern Lamps", "Pier Nine", "Salt and Sail"),
    "currency": ("EUR", "NOK", "USD", "GBP", "JPY"),
    "email": ("ada@example.com", "ben@example.com", "carla@example.com", "dan@example.com"),
    "ingredient": ("flour", "butter", "sugar", "eggs", "milk", "salt"),
    "step": ("Prepare everything.", "Do the first half.", "Do the second half.", "Check the result."),
    "unit": ("piece",),
}
_ALSO = {
    "place": "city", "town": "city", "location": "city", "capital": "city", "color": "colour", "author": "person",
    "customer": "person",
    "people": "person", "user": "person", "vendor": "company", "supplier": "company", "mail": "email",
    "instruction": "step",
}  # fmt: skip
_FORMATS: Mapping[str, str] = {
    "date-time": "{today}T09:{index:02}:00Z",
    "date": "{today}",
    "time": "09:{index:02}:00Z",
    "duration": "PT{index}M",
    "uuid": "00000000-0000-4000-8000-{index:012}",
    "email": "someone{index}@example.com",
    "uri": "https://example.com/{index}",
    "url": "https://example.com/{index}",
    "hostname": "host{index}.example.com",
    "ipv4": "192.0.2.{index}",
    "ipv6": "2001:db8::{index}",
}


def samples_for(name: str) -> tuple[str, ...]:
    """Return things that a name such as `cities` or `favourite_colour` can stand for, () where none are known."""
    for word in reversed(words_of(name)):
        key = next((key for key in (*_SAMPLES, *_ALSO) if stem(key) == stem(word)), "")
        if key:
            return _SAMPLES[_ALSO.get(key, key)]
    return ()


def invent(schema: Any, root: Schema, name: str = "", index: int = 0, depth: int = 0) -> Any:
    """Return a value that fits a schema.

    Args:
        schema: what the value has to fit.
        root: where its references point into.
        name: what the value is called, as `city`.
        index: values of another index are others, as far as the schema leaves a choice.
        depth: how many objects and arrays are around it.
    """
    schema = resolve(schema, root)
    for listed in ("enum", "examples"):
        if schema.get(listed) and (listed == "enum" or fits(schema[listed][index % len(schema[listed])], schema, root)):
            return schema[listed][index % len(schema[listed])]
    if "const" in schema:
        return schema["const"]
    if "default" in schema and not index and fits(schema["default"], schema, root):
        return schema["default"]
    if depth > _DEEPEST and allows_null(schema, root):
        return None
    made = (_of_kind(branch, root, name, index, depth) for branch in _shallow_first(schema, root, depth))
    return next((value for value in made if fits(value, schema, root)), None)


def _shallow_first(schema: Schema, root: Schema, depth: int) -> list[Schema]:
    """Return the alternatives, those without anything inside first where the value is deep already."""
    found = branches(schema, root)
    return sorted(found, key=lambda one: kind_of(one) in ("object", "array")) if depth > _DEEPEST // 4 else found


def _of_kind(schema: Schema, root: Schema, name: str, index: int, depth: int) -> Any:
    if {"anyOf", "oneOf", "enum", "const"} & set(schema) and depth <= _DEEPEST:
        return invent(schema, root, name, index, depth + 1)
    kind = kind_of(schema)
    if kind == "object":
        return _object(schema, root, name, index, depth)
    if kind == "array":
        return _array(schema, root, name, index, depth)
    if kind in ("integer", "number"):
        return _number(schema, index, whole=kind == "integer")
    if kind == "boolean":
        return bool(index % 2)
    return _text(schema, name, index) if kind == "string" else None


def _object(schema: Schema, root: Schema, name: str, index: int, depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        return {}
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    names = list(schema.get("required", ()))
    names += [f"key_{at}" for at in range(schema.get("minProperties", 0) - len(names))] if more is not False else []
    called = {one: name if one in _NAMES and samples_for(name) else one for one in names}
    return {one: invent(properties.get(one, more), root, called[one], index, depth + 1) for one in called}


def _array(schema: Schema, root: Schema, name: str, index: int, depth: int) -> list[Any]:
    first = schema.get("prefixItems", [])
    wanted = schema.get("minItems", len(first) or (0 if depth > 2 else min(2, schema.get("maxItems", 2))))
    if depth > _DEEPEST:
        return []
    made = [invent(part, root, name, index, depth + 1) for part in first[:wanted]]
    for at in range(wanted * 8):  # some are the same, where each has to be another
        if len(made) >= wanted:
            break
        value = invent(schema.get("items", {}), root, name, index + at, depth + 1)
        if not (schema.get("uniqueItems") and value in made):
            made.append(value)
    return made


def _number(schema: Schema, index: int, *, whole: bool) -> int | float | None:
    """Return the number of that index from the lower bound up, or one near it that fits."""
    step = schema.get("multipleOf") or 1
    least, most = _bounds(schema)
    start = least if least is not None else min(1, most) if most is not None else 1
    if whole or "multipleOf" in schema:
        start = math.ceil(start / step) * step
    tries: list[int | float] = [start + step * at for at in (index, 0, *range(1, 10), *range(-1, -10, -1))]
    if least is not None and most is not None:
        tries.append((least + most) / 2)
    found = (int(value) if whole and value == int(value) else value for value in tries)
    return next((value for value in found if fits(value, schema, {})), None)


def _bounds(schema: Schema) -> tuple[int | float | None, int | float | None]:
    least = [schema[key] for key in ("minimum", "exclusiveMinimum") if _is_bound(schema.get(key))]
    most = [schema[key] for key in ("maximum", "exclusiveMaximum") if _is_bound(schema.get(key))]
    return max(least, default=None), min(most, default=None)


def _is_bound(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(schema: Schema, name: str, index: int) -> str:
    if "pattern" in schema:
        tries = (example_of(schema["pattern"], size) for size in range(1, 40))
        return next((text for text in tries if text is not None and fits(text, schema, {})), "")
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]].format(today=date.today(), index=index + 1)
    known = samples_for(name)
    text = known[index % len(known)] if known else " ".join(words_of(name)) or "text"
    text = f"{text} {index + 1}" if index >= len(known) and (index or known) else text
    for extra in count():
        if len(text) >= schema.get("minLength", 0):
            break
        text += " and so on"[extra % 10]
    return text[: schema["maxLength"]] if "maxLength" in schema else text
