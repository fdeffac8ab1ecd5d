"""pydantic's models and types, by pydantic, if the program has imported it."""

from __future__ import annotations

import re
import sys
import types
import typing
from typing import Any

import msgspec

from streamkit.concurrency.late_import import forks_wait, late_import
from streamkit.tools.converting.converter import KINDS, Converter, Walk
from streamkit.tools.converting.objects import objection
from streamkit.tools.problems import MAX_PROBLEMS, NOTHING, Finding, Refused
from streamkit.tools.repairs import inside, plain, put

__all__ = ["PydanticType", "is_pydantic"]

_ARRAYS = frozenset({"list_type", "tuple_type", "set_type", "frozen_set_type"})
_OBJECTS = frozenset({"model_type", "model_attributes_type", "dataclass_type", "dict_type", "mapping_type"})
_VALUES = frozenset({"enum", "literal_error", "value_error", "assertion_error", "union_tag_invalid"})
_CONSTRAINT = re.compile(
    r"greater_than|less_than|multiple_of|too_short|too_long|pattern_mismatch|finite_number|decimal_(?:max|whole)"
)
_Path = tuple[str | int, ...]
_SUBJECT = re.compile(r"^[\w ]{1,40}? should ")


def is_pydantic(hint: Any, metadata: tuple[Any, ...] = ()) -> bool:
    """Return whether a type, or an object of its ``Annotated``, has a schema of pydantic's."""
    if "pydantic" not in sys.modules:
        return False
    return any(hasattr(each, "__get_pydantic_core_schema__") for each in (hint, *metadata)) or (
        isinstance(hint, type) and hasattr(hint, "__is_pydantic_dataclass__")
    )


class PydanticType(Converter):
    """A type that pydantic converts, by its own configuration: unknown keys, names, strictness.

    The repairs are ours: null for a key with a default, JSON text in a string where pydantic wants an array or object.
    """

    def __init__(self, hint: Any) -> None:
        with forks_wait():
            self._validate = late_import("pydantic").TypeAdapter(hint).validate_json
        self._hint = hint
        is_model = _is_model(hint)
        self.kinds = frozenset({"object"}) if is_model else KINDS - {"null"}
        self.wanted = "an object" if is_model else "a valid value"

    def convert(self, value: Any, walk: Walk) -> Any:
        """Return what pydantic makes of the value."""
        try:
            return self._validated(value, walk)
        except _Invalid as invalid:
            if not walk.lax:
                raise Refused(invalid.findings()) from None
            first = invalid.findings()
            repaired, paths = self._repaired(value, invalid.errors)
            if not paths:
                raise Refused(first) from None
        try:
            return self._validated(repaired, walk)
        except _Invalid as again:
            # Null where nothing was wanted either: the key is required.
            lost = {path for path in again.missing() if path in paths}
            kept = [each for each in first if each.path in lost]
            raise Refused(kept + [each for each in again.findings() if each.path not in lost]) from None

    def _repaired(self, value: Any, errors: list[tuple[_Path, dict[str, Any]]]) -> tuple[Any, set[_Path]]:
        """Return a copy of the value with repairs, and their paths."""
        paths: set[_Path] = set()
        copy = plain(value)
        for path, error in errors:
            came = error.get("input", NOTHING)
            new = inside(came) if isinstance(came, str) else NOTHING
            if error["type"] in _ARRAYS | _OBJECTS and isinstance(new, list if error["type"] in _ARRAYS else dict):
                copy = put(copy, path, new)
            elif came is None and _is_field(self._hint, path):
                copy = put(copy, path, NOTHING)
            else:
                continue
            paths.add(path)
        return copy, paths

    def _validated(self, value: Any, walk: Walk) -> Any:
        # As JSON, not as Python values: a strict model takes the text of a date from JSON only.
        text = msgspec.json.encode(value)
        try:
            return self._validate(text, strict=None if walk.lax else True)
        except ValueError as error:
            errors = getattr(error, "errors", None)
            if errors is None:
                raise Refused.of("value", objection(error), cause=error) from None
            raise _Invalid(value, errors(include_url=False)) from None
        except Exception as error:  # a validator of the user's
            raise Refused.of("value", objection(error), cause=error) from None


class _Invalid(Exception):
    """pydantic's errors for a value."""

    def __init__(self, value: Any, errors: list[dict[str, Any]]) -> None:
        super().__init__()
        self.errors = [(_path(value, each), each) for each in errors]

    def findings(self) -> list[Finding]:
        """Return the errors in our words, each once."""
        findings = [_finding(path, each) for path, each in self.errors[: MAX_PROBLEMS + 1]]
        return [each for index, each in enumerate(findings) if each not in findings[:index]]

    def missing(self) -> set[_Path]:
        """Return the paths of missing keys."""
        return {path for path, each in self.errors if each["type"] == "missing"}


def _path(value: Any, error: dict[str, Any]) -> _Path:
    """Return the path of an error in the value: pydantic's also names members of unions and validators."""
    path: list[str | int] = []
    location = error["loc"]
    for position, key in enumerate(location):
        is_index = isinstance(value, list) and isinstance(key, int) and key < len(value)
        if is_index or (isinstance(value, dict) and key in value):
            value = value[key]
        elif position + 1 < len(location) or error["type"] != "missing":
            continue
        path.append(key)
    return tuple(path)


def _finding(path: _Path, error: dict[str, Any]) -> Finding:
    kind, came = error["type"], error.get("input", NOTHING)
    if kind == "missing":
        return Finding("missing", "is required and missing", path=path)
    if kind == "extra_forbidden":
        return Finding("unexpected", "is unexpected", path=path)
    if kind in _ARRAYS:
        return Finding("type", "must be an array", came, path)
    if kind in _OBJECTS:
        return Finding("type", "must be an object", came, path)
    if kind in ("value_error", "assertion_error"):
        return Finding("value", objection(error.get("ctx", {}).get("error")), came, path)
    if kind == "json_invalid":
        return Finding("value", "is not valid", NOTHING, path)
    if kind == "decimal_type":
        return Finding("type", "must be a decimal number", came, path)
    if "instance of" in error["msg"] or kind.startswith(("is_", "needs_", "callable")):  # names of Python's
        return Finding("type", "is not valid", came, path)
    ours = "constraint" if _CONSTRAINT.search(kind) else "value" if kind in _VALUES else "type"
    text = _SUBJECT.sub("must ", error["msg"]).replace("must be a valid ", "must be a ")
    return Finding(ours, text.replace("a integer", "an integer"), came, path)


def _is_model(hint: Any) -> bool:
    """Return whether it is a model with fields."""
    base = late_import("pydantic").BaseModel
    return isinstance(hint, type) and issubclass(hint, base) and not getattr(hint, "__pydantic_root_model__", False)


def _is_field(hint: Any, path: _Path) -> bool:
    """Return whether a path ends at a field of a model. In a mapping null is a value, and no sign of "not given"."""
    hints, fields = [hint], False
    for key in path:
        steps = [step for each in hints for step in _steps(each, key)]
        hints, fields = [step for step, _ in steps], bool(steps) and all(is_field for _, is_field in steps)
    return fields


def _steps(hint: Any, key: str | int) -> list[tuple[Any, bool]]:
    """Return the types of what is at a key of a type, and whether the key is a field of a model."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _steps(arguments[0], key)
    if origin in (typing.Union, types.UnionType):
        return [step for each in arguments for step in _steps(each, key)]
    if _is_model(hint):
        fields = hint.model_fields.items()
        return [
            (field.annotation, True) for name, field in fields if key in (name, field.alias, field.validation_alias)
        ]
    if isinstance(key, int):
        return [(each, False) for each in arguments]
    return [(arguments[1], False)] if len(arguments) == 2 else []
