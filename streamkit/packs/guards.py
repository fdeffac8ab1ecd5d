"""The validators of a prompt: whether their types are known, and whether their parameters can work."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError
from streamkit.packs.patterns import compiled
from streamkit.packs.problems import Finding, Path, shown
from streamkit.packs.schema import data

__all__ = ["can_run", "guard_findings"]


@functools.cache
def _types() -> tuple[dict[str, str], frozenset[str]]:
    """Return the types that run here, each with its usual name, and those that are only known."""
    found = data("validator_types.json")
    usual = {each: name for name, about in found["types"].items() for each in (name, *about["aliases"])}
    return usual, frozenset(found["known_but_not_run"])


def can_run(type_: str, registered: Collection[str]) -> bool:
    """Return whether a type of validators runs here, or is the program's own."""
    return type_ in registered or type_ in _types()[0]


def guard_findings(validator: Mapping[str, Any], path: Path, registered: Collection[str]) -> list[Finding]:
    """Return what is wrong with a validator that is switched on.

    Args:
        validator: as the file has it, of the right shape.
        path: where it is.
        registered: types that the program has validators for; their parameters are its own affair.
    """
    type_, params = validator["type"], validator.get("params", {})
    usual, known = _types()
    if type_ in registered:
        return []
    if type_ not in usual:
        if type_ in known:
            text = f"{shown(type_)} is a known type that cannot be run here"
            return [Finding((*path, "type"), "validator.unsupported", text)]
        return [Finding((*path, "type"), "validator.unknown_type", f"{shown(type_)} is not a known validator")]
    pattern = params.get("pattern")
    if usual[type_] == "regex" and isinstance(pattern, str):
        try:
            compiled(pattern)
        except ConfigError as error:
            return [Finding((*path, "params", "pattern"), "regex.invalid", str(error))]
    wrong = _wrong_parameters(usual[type_], params)
    if not wrong:
        return []
    return [Finding(path, "validator.params", f"the params of {type_} are unusable ({', '.join(wrong)})")]


def _is_count(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and value >= 1 and value == value // 1


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) and each for each in value)


def _is_schema(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    jsonschema = late_import("jsonschema")
    try:
        jsonschema.validators.validator_for(value, default=jsonschema.Draft202012Validator).check_schema(value)
    except (jsonschema.SchemaError, RecursionError):
        return False
    return True


_LIMITS = ("max", "max_characters", "max_chars", "max_words", "max_tokens")
# By type: the parameters of which one is needed, and what each of them has to be.
_NEEDED: dict[str, tuple[tuple[str, ...], Callable[[Any], bool]]] = {
    "banned_words": (("patterns", "words"), _is_texts),
    "content_excludes": (("patterns", "words"), _is_texts),
    "max_length": (_LIMITS, _is_count),
    "min_length": (("min", "min_characters", "min_chars"), _is_count),
    "max_sentences": (("max", "max_sentences"), _is_count),
    "regex": (("pattern",), lambda value: isinstance(value, str)),
    "contains": (("patterns",), _is_texts),
    "contains_any": (("patterns",), _is_texts),
    "json_schema": (("schema",), _is_schema),
    "required_fields": (("fields", "required_fields"), _is_texts),
}
_OPTIONAL: dict[str, Callable[[Any], bool]] = {
    "match_mode": lambda value: value in ("word_boundary", "substring"),
    "direction": lambda value: value in ("input", "output", "both"),
    "message": lambda value: isinstance(value, str),
    "expect_match": lambda value: isinstance(value, bool),
    "allow_wrapped": lambda value: isinstance(value, bool),
    "extract_json": lambda value: isinstance(value, bool),
}


def _wrong_parameters(type_: str, params: Mapping[str, Any]) -> list[str]:
    names, fits = _NEEDED.get(type_, ((), bool))
    given = [name for name in names if params.get(name) is not None]
    wrong = [name for name in given if not fits(params[name])]
    if names and not given:
        wrong.append(f"{' or '.join(names)} missing")
    taken = (*data("validator_types.json")["types"][type_]["params"], "direction", "message")
    return wrong + [
        name
        for name, fits in _OPTIONAL.items()
        if name in taken and params.get(name) is not None and not fits(params[name])
    ]
