"""Arguments and output by a JSON schema: ``SchemaCheck``, for tools that have no function to read types from.

The repairs are those of the types: "3" where an integer is wanted, JSON text where an array or object is wanted, null
for a key that is not required. They are made only where the schema refuses the value and takes the repaired one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from streamkit.concurrency.late_import import forks_wait, late_import
from streamkit.errors import ConfigError
from streamkit.tools.converting.converter import kind_of
from streamkit.tools.converting.objects import unexpected
from streamkit.tools.converting.scalars import quoted
from streamkit.tools.problems import MAX_PROBLEMS, NOTHING, Finding, Refused, short
from streamkit.tools.repairs import inside, plain, put

__all__ = ["SchemaCheck", "schema_check"]

_MOST_ROUNDS = 4  # of repairs, the next one in what the one before has opened
_MOST_ERRORS = 1000  # of one value; each may be one repair
_MOST_KEPT = 256  # schemas, after which all are compiled anew
_OPENING = frozenset(  # words of a schema that say more about its keys than "properties" does
    "additionalProperties patternProperties unevaluatedProperties propertyNames $ref $dynamicRef allOf anyOf oneOf if "
    "dependentSchemas".split()
)
_CHOICES = ("enum", "const")
_ARTICLES = {"integer": "an integer", "array": "an array", "object": "an object", "null": "null"}

# Words of a schema whose errors are about a value of the right type.
_LIMITS = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be greater than {}",
    "exclusiveMaximum": "must be less than {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have a length of at least {}",
    "maxLength": "must have a length of at most {}",
    "pattern": "must match the pattern {}",
    "minItems": "must have a length of at least {}",
    "maxItems": "must have a length of at most {}",
    "uniqueItems": "must have no item twice",
    "minProperties": "must have at least {} keys",
    "maxProperties": "must have at most {} keys",
    "format": "must have the format {}",
    "contains": "must contain an item that fits",
}

_Path = tuple[str | int, ...]
_kept: dict[bytes, SchemaCheck] = {}


def schema_check(schema: dict[str, Any]) -> SchemaCheck:
    """Return the check of a schema, made once as long as no hundreds of others are.

    Raises:
        ConfigError: the schema is wrong.
    """
    try:
        key = msgspec.json.encode(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"the JSON schema cannot be written as JSON: {error}") from None
    found = _kept.get(key)
    if found is None:
        found = SchemaCheck(schema)
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[key] = found
    return found


class SchemaCheck:
    """Holds values to a JSON schema. A ``$ref`` that leads out of the schema is refused, and never fetched.

    Args:
        schema: of any draft that ``$schema`` names, else of 2020-12. At its top, keys that are not in ``properties``
            are refused, unless the schema itself says what becomes of them, as ``additionalProperties: true`` does.

    Raises:
        ConfigError: the schema is wrong.

    Threads: any, after it is made.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        with forks_wait():
            jsonschema = late_import("jsonschema")
            registry = late_import("referencing").Registry()  # one that fetches nothing; the default one does
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            kind.check_schema(schema)
        except jsonschema.SchemaError as error:
            place = "/".join(map(str, error.absolute_path))
            raise ConfigError(f"the JSON schema is wrong{f' at {place}' if place else ''}: {error.message}") from None
        for reference in _references(schema):
            if not reference.startswith("#") and not _has_id(schema):
                raise ConfigError(f"the JSON schema refers to {reference}, which is not in it; nothing is fetched")
        self._validator = kind(schema, registry=registry)
        self._unresolved = late_import("referencing.exceptions").Unresolvable
        properties = schema.get("properties")
        is_closed = isinstance(properties, dict) and not _OPENING & schema.keys()
        self.known: list[str] | None = list(properties) if is_closed and properties is not None else None
        self.properties: dict[str, Any] = properties if isinstance(properties, dict) else {}
        self.required = frozenset(schema.get("required", ()))

    def repaired(self, value: Any) -> Any:
        """Return decoded JSON that the schema takes: the value itself, or a copy with repairs.

        Raises:
            Refused: it does not fit; with all findings.
        """
        errors = first = self._errors(value)
        changes: set[_Path] = set()
        for _ in range(_MOST_ROUNDS):
            value, paths = _repaired(value, errors)
            if not paths:
                break
            changes |= paths
            errors = self._errors(value)
        if not errors:
            return value
        findings = [each for error in errors[: MAX_PROBLEMS + 1] for each in _findings(error)]
        # A key that was null and is wanted after all: the first error says more than that it is missing.
        lost = {each.path for each in findings if each.kind == "missing"} & changes
        if lost:
            said = [each for error in first for each in _findings(error) if each.path in lost]
            findings = said + [each for each in findings if each.path not in lost]
        raise Refused([each for index, each in enumerate(findings) if each not in findings[:index]])

    def _errors(self, value: Any) -> list[Any]:
        errors: list[Any] = []
        try:
            for error in self._validator.iter_errors(value):
                errors.append(error)
                if len(errors) >= _MOST_ERRORS:
                    break
        except self._unresolved as error:
            raise ConfigError(
                f"the JSON schema has a reference that leads nowhere: {getattr(error, 'ref', error)}"
            ) from None
        except RecursionError:
            raise Refused.of("value", "is nested too deep") from None
        except (ArithmeticError, ValueError):  # multipleOf, of numbers out of range
            raise Refused.of("value", "has a number that is out of range") from None
        return errors

    def unknown(self, value: dict[str, Any]) -> list[Finding]:
        """Return a finding for each key at the top that the schema does not name."""
        return [] if self.known is None else unexpected(value, self.known)


def _references(schema: Any) -> Iterator[str]:
    """Yield all references of a schema."""
    rest = [schema]
    while rest:
        each = rest.pop()
        if isinstance(each, dict):
            for word in ("$ref", "$dynamicRef"):
                if isinstance(each.get(word), str):
                    yield each[word]
            rest += each.values()
        elif isinstance(each, list):
            rest += each


def _has_id(schema: Any) -> bool:
    """Return whether a schema, or one in it, has an address of its own, which references in it may use."""
    rest = [schema]
    while rest:
        each = rest.pop()
        if isinstance(each, dict):
            if isinstance(each.get("$id"), str):
                return True
            rest += each.values()
        elif isinstance(each, list):
            rest += each
    return False


def _findings(error: Any) -> list[Finding]:
    """Return an error of jsonschema's in our words."""
    path, word, value, wanted = tuple(error.absolute_path), error.validator, error.instance, error.validator_value
    if word == "required":
        return [
            Finding("missing", "is required and missing", path=(*path, name)) for name in wanted if name not in value
        ]
    if word == "additionalProperties":
        return _unexpected(error, path)
    if word == "unevaluatedProperties":
        return [Finding("unexpected", "has a key that is not allowed", value, path)]
    if word == "type":
        return [Finding("type", f"must be {_type_text(wanted)}", value, path)]
    if word in _CHOICES:
        choices = wanted if word == "enum" else [wanted]
        text = ", ".join(short(each, 60) for each in choices[:MAX_PROBLEMS])
        kind = "type" if value is None or isinstance(value, (dict, list)) else "value"
        return [Finding(kind, f"must be {'one of ' if len(choices) > 1 else ''}{text}", value, path)]
    if word in ("anyOf", "oneOf"):
        return _of_branches(error, path)
    if word in _LIMITS:
        return [Finding("constraint", _LIMITS[word].format(wanted), value, path)]
    if word is None:  # the schema ``false``
        return [Finding("unexpected", "has a key that is not allowed", path=path)]
    return [Finding("value", "does not fit the schema", value, path)]


def _unexpected(error: Any, path: _Path) -> list[Finding]:
    known = list(error.schema.get("properties", ()))
    patterns = list(error.schema.get("patternProperties", ()))
    others = {
        name: item for name, item in error.instance.items() if not any(re.search(each, name) for each in patterns)
    }
    found = unexpected(others, known)
    return [Finding(each.kind, each.text, path=(*path, *each.path)) for each in found]


def _of_branches(error: Any, path: _Path) -> list[Finding]:
    """Return the errors of the branch that was meant, where that is plain; else one error of all."""
    branches: dict[Any, list[Any]] = {}
    for each in error.context or ():
        branches.setdefault(each.schema_path[0], []).append(each)
    own = [errors for errors in branches.values() if not any(_is_of_kind(each, error) for each in errors)]
    for words in (_CHOICES, ("required", "additionalProperties")):
        if len(own) > 1:  # the branch whose name came, or whose keys
            left = [errors for errors in own if not any(_is_about_key(each, words, error) for each in errors)]
            if not left:
                break
            own = left
    if len(own) == 1:
        return [found for each in own[0] for found in _findings(each)]
    types = [each.validator_value for errors in branches.values() for each in errors if _is_of_kind(each, error)]
    if types and not own:
        names = [name for each in types for name in ([each] if isinstance(each, str) else each)]
        return [Finding("type", f"must be {_type_text(names)}", error.instance, path)]
    return [Finding("type", "must fit exactly one of the forms that the schema allows", error.instance, path)]


def _is_about_key(error: Any, words: tuple[str, ...], parent: Any) -> bool:
    """Return whether an error of a branch says that a key does not belong to it."""
    depth = len(error.absolute_path) - len(parent.absolute_path)
    return error.validator in words and depth == (1 if words is _CHOICES else 0)


def _is_of_kind(error: Any, parent: Any) -> bool:
    """Return whether a branch takes values of another kind only."""
    return error.validator == "type" and len(error.absolute_path) == len(parent.absolute_path)


def _type_text(names: str | list[str]) -> str:
    names = [names] if isinstance(names, str) else names
    return " or ".join(dict.fromkeys(_ARTICLES.get(name, f"a {name}") for name in names)) or "nothing"


def _repaired(value: Any, errors: list[Any]) -> tuple[Any, set[_Path]]:
    """Return a copy of the value with the repairs that its errors call for, and their paths."""
    paths: set[_Path] = set()
    copy = plain(value) if errors else value
    for error in errors:
        path = tuple(error.absolute_path)
        wanted = _wanted(error)
        new = _repair(error.instance, wanted) if wanted else NOTHING
        if new is NOTHING and not (_is_null_of_a_property(error, path) and (wanted or error.validator in _CHOICES)):
            continue
        copy = put(copy, path, new)
        paths.add(path)
    return copy, paths


def _is_null_of_a_property(error: Any, path: _Path) -> bool:
    """Return whether it is about null for a key that the schema names; in a map of any keys null is a value."""
    if error.instance is not None or not path:
        return False
    return ("properties", path[-1]) in itertools.pairwise(error.absolute_schema_path)


def _wanted(error: Any) -> list[str]:
    """Return the types that are wanted, if the type is what is wrong, in every branch."""
    if error.validator == "type":
        return [error.validator_value] if isinstance(error.validator_value, str) else list(error.validator_value)
    if error.validator not in ("anyOf", "oneOf") or not error.context:
        return []
    if not all(_is_of_kind(each, error) for each in error.context):
        return []
    return [name for each in error.context for name in _wanted(each)]


def _repair(value: Any, wanted: list[str]) -> Any:
    """Return what a string holds, if that is wanted and no string is; else NOTHING."""
    if not isinstance(value, str) or "string" in wanted:
        return NOTHING
    held = quoted(value)
    held = plain(inside(value) if held is NOTHING else held)
    if held is NOTHING:
        return NOTHING
    kind = kind_of(held)
    if kind == "number" and held.is_integer() and "number" not in wanted:
        kind = "integer"
    return held if kind in wanted or (kind == "integer" and "number" in wanted) else NOTHING
