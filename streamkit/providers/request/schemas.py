"""Rewrite JSON schemas into what a provider knows, without a loss.

None of these changes what is passed. A schema that is nested beyond reason, or is no schema, comes back as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from streamkit.wire.loose_json import as_dict, as_json, as_list, as_text

__all__ = ["Schema", "closed", "dereferenced", "draft_7", "inlined", "without_synonyms"]

Schema = Mapping[str, Any]

_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = (
    *("items", "additionalProperties", "additionalItems", "not", "if", "then", "else", "contains"),
    *("propertyNames", "unevaluatedItems", "unevaluatedProperties"),
)
_DEEPEST = 100  # levels
_MOST_NODES = 10_000  # schemas that the inlining of references may make


class _UnfitError(ValueError):
    """A schema cannot be rewritten."""


def _where(*words: str) -> Callable[[Callable[[Schema], Schema]], Callable[[Schema], Schema]]:
    """Let a rewriting leave a schema as it is that has none of these keywords, or that it cannot rewrite.

    Schemas are rewritten for each request, and to look for a keyword takes a tenth of the time.
    """

    def of(rewrite: Callable[[Schema], Schema]) -> Callable[[Schema], Schema]:
        @functools.wraps(rewrite)
        def rewritten(schema: Schema) -> Schema:
            try:
                return rewrite(schema) if _mentions(schema, words) else schema
            except _UnfitError:
                return schema

        return rewritten

    return of


def _mentions(node: Any, words: tuple[str, ...], depth: int = 0) -> bool:
    if depth > 2 * _DEEPEST:
        raise _UnfitError("nested too deeply")
    if isinstance(node, dict):
        return any(word in node for word in words) or any(_mentions(each, words, depth + 1) for each in node.values())
    return isinstance(node, list) and any(_mentions(each, words, depth + 1) for each in node)


def _changed(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]], depth: int = 0) -> Any:
    """Return a copy in which each schema, the inner ones first, is what ``change`` makes of it."""
    if not isinstance(schema, Mapping):
        return schema  # true and false are schemas
    if depth > _DEEPEST:
        raise _UnfitError("nested too deeply")
    copy = dict(schema)
    for keyword in _BY_NAME:
        if isinstance(inner := copy.get(keyword), Mapping):
            copy[keyword] = {name: _changed(each, change, depth + 1) for name, each in inner.items()}
    for keyword in (*_LISTS, *_SINGLE):
        inner = copy.get(keyword)
        if isinstance(inner, (list, tuple)):
            copy[keyword] = [_changed(each, change, depth + 1) for each in inner]
        elif keyword in _SINGLE and isinstance(inner, Mapping):
            copy[keyword] = _changed(inner, change, depth + 1)
    return change(copy)


def _target(root: Schema, reference: Any) -> tuple[str, Schema] | None:
    """Return the name and the definition that a reference into the same schema means."""
    place, _, name = as_text(reference).rpartition("/")
    held = root.get(place.removeprefix("#/")) if place in ("#/$defs", "#/definitions") else None
    target = held.get(name) if isinstance(held, Mapping) else None
    return (name, target) if isinstance(target, Mapping) else None


def dereferenced(schema: Schema) -> Schema:
    """Return a schema whose root is no reference; the definitions stay."""
    for _ in range(_DEEPEST):
        found = _target(schema, schema.get("$ref"))
        if found is None:
            return schema
        schema = {**found[1], **{keyword: value for keyword, value in schema.items() if keyword != "$ref"}}
    return schema


@_where("$ref")
def inlined(schema: Schema) -> Schema:
    """Return a schema with each reference replaced by its definition, for servers that ignore references.

    A recursive schema comes back as it is.
    """
    left = _MOST_NODES

    def replaced(node: Any, within: tuple[str, ...]) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or len(within) > _DEEPEST:
            raise _UnfitError("too large")
        if isinstance(node, list):
            return [replaced(each, within) for each in node]
        if not isinstance(node, Mapping):
            return node
        if isinstance(node.get("$ref"), str):
            found = _target(schema, node["$ref"])
            if found is None or found[0] in within:
                raise _UnfitError("a reference that cannot be replaced")
            rest = {keyword: value for keyword, value in node.items() if keyword != "$ref"}
            return replaced({**found[1], **rest}, (*within, found[0]))
        return {name: replaced(each, within) for name, each in node.items()}

    root = {keyword: value for keyword, value in schema.items() if keyword not in ("$defs", "definitions")}
    _changed(schema, lambda each: each)  # refuses what is nested too deeply
    whole: Schema = replaced(root, ())
    return whole


@_where("const", "oneOf")
def without_synonyms(schema: Schema) -> Schema:
    """Return a schema with ``enum`` for ``const`` and ``anyOf`` for ``oneOf``, which models read alike."""

    def change(each: dict[str, Any]) -> dict[str, Any]:
        if "const" in each and "enum" not in each:
            each["enum"] = [each.pop("const")]
        if "oneOf" in each and "anyOf" not in each:
            each["anyOf"] = each.pop("oneOf")
        return each

    changed: Schema = _changed(schema, change)
    return changed


@_where("prefixItems")
def draft_7(schema: Schema) -> Schema:
    """Return a schema whose tuples are in the words of draft 7: an array for ``items``."""

    def change(each: dict[str, Any]) -> dict[str, Any]:
        if isinstance(each.get("prefixItems"), list):
            more = each.pop("items", None)
            each["items"] = each.pop("prefixItems")
            if more is not None:
                each["additionalItems"] = more
        return each

    changed: Schema = _changed(schema, change)
    return changed


# -- schemas that a model of Anthropic's can be held to ------------------------------------------------------

_FORMATS = frozenset("date-time time date duration email hostname uri ipv4 ipv6 uuid".split())
_KEPT = frozenset(
    "type enum const anyOf allOf properties required additionalProperties items description title $ref $defs "
    "definitions format minItems".split()
)
_NUMBERS = ("integer", "number")
# The types that a keyword is about.
_TYPES_OF: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("properties", "required", "additionalProperties", "minProperties", "maxProperties"), ("object",)),
    **dict.fromkeys(("items", "minItems", "maxItems", "uniqueItems", "contains"), ("array",)),
    **dict.fromkeys(("format", "pattern", "minLength", "maxLength", "contentEncoding"), ("string",)),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), _NUMBERS),
}
_COMMENTS = frozenset({"$schema", "$id", "$comment"})


def closed(schema: Schema) -> Schema | None:
    """Return a schema that a model of Anthropic's can be held to; ``None`` where that would lose something.

    Objects are closed, ``oneOf`` is ``anyOf``, and what the API does not know goes into the description. Lost would be
    objects with any keys, values of any kind, tuples, and definitions that refer to themselves.

    Source: ``transform_schema`` in anthropic 2.14, and vercel/ai's @ai-sdk/amazon-bedrock 5.0.131 for recursive
    references and open objects, read 2026-11-27.
    """
    try:
        if _is_recursive(schema):
            return None
        held: Schema = _changed(schema, _closed)
    except _UnfitError:
        return None
    return held


def _closed(each: dict[str, Any]) -> dict[str, Any]:
    if "prefixItems" in each or "patternProperties" in each or "not" in each:
        raise _UnfitError("tuples, keys by pattern and negations have no word")
    if "oneOf" in each and "anyOf" not in each:
        each["anyOf"] = each.pop("oneOf")
    for keyword in _COMMENTS & each.keys():
        del each[keyword]
    if isinstance(each.get("type"), list):
        each = _by_type(each)
    if "$ref" in each:
        about = {keyword: each.pop(keyword) for keyword in [*each] if keyword not in ("$ref", "$defs", "definitions")}
        return _described({"anyOf": [each], **about}) if about else each
    if each.get("type") == "object":
        if each.get("additionalProperties", "properties" not in each):
            raise _UnfitError("an object with any keys")
        each = {**each, "additionalProperties": False}
    elif each.get("type") == "array" and not isinstance(each.get("items"), Mapping):
        raise _UnfitError("an array of anything")
    elif not {"type", "anyOf", "allOf", "enum", "const"} & each.keys():
        raise _UnfitError("a value of any kind")
    return _described(each)


def _by_type(each: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of several types as one with ``anyOf``."""
    if "enum" in each or "const" in each:
        return {keyword: value for keyword, value in each.items() if keyword != "type"}
    about: dict[str, Any] = {name: each.pop(name) for name in ("description", "title", "default") if name in each}
    return {"anyOf": [_closed({**_of_type(each, type), "type": type}) for type in each["type"]], **about}


def _of_type(each: Schema, type: str) -> dict[str, Any]:
    """Return a schema without its type, and without what it says of others."""
    others = {keyword for keyword, types in _TYPES_OF.items() if type not in types}
    return {keyword: value for keyword, value in each.items() if keyword not in others and keyword != "type"}


def _described(each: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with what the API does not know in its description."""
    unknown = {
        keyword: value
        for keyword, value in each.items()
        if keyword not in _KEPT
        or (keyword == "format" and value not in _FORMATS)
        or (keyword == "minItems" and value not in (0, 1))
    }
    if not unknown:
        return each
    kept = {keyword: value for keyword, value in each.items() if keyword not in unknown}
    told = ", ".join(f"{keyword}: {as_json(value)}" for keyword, value in unknown.items())
    kept["description"] = f"{as_text(each.get('description'))} ({told})".lstrip()
    return kept


def _is_recursive(schema: Schema) -> bool:
    """Return whether a definition refers to itself, or a reference goes to no definition."""
    uses = {name: set(_references(each)) for held in ("$defs", "definitions") for name, each in _named(schema, held)}
    if not set(_references(schema)) <= uses.keys():
        return True
    for start in uses:
        seen: set[str] = set()
        waiting = [*uses[start]]
        while waiting:
            name = waiting.pop()
            if name == start:
                return True
            if name not in seen:
                seen.add(name)
                waiting += uses.get(name, ())
    return False


def _named(schema: Schema, held: str) -> list[tuple[str, Any]]:
    return [*as_dict(schema.get(held)).items()]


def _references(node: Any, depth: int = 0) -> Iterator[str]:
    if depth > 2 * _DEEPEST:
        raise _UnfitError("nested too deeply")
    if isinstance(node, Mapping):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        for each in node.values():
            yield from _references(each, depth + 1)
    for each in as_list(node):
        yield from _references(each, depth + 1)
