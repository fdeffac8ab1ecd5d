"""JSON schemas of types and of functions' parameters, in one canonical form.

No titles; ``properties`` is always there; an object whose keys are known takes no others; what is optional is not in
``required`` and has its default where JSON can say it; ``X | None`` is ``anyOf`` with null; classes and enums are in
``$defs``. pydantic's types are as pydantic writes them, without titles.

msgspec writes the types of single values. Classes and containers are written here, because msgspec keeps to its own
``Meta`` in ``Annotated``, takes fields that ``__init__`` does not take, names attrs' private fields as they cannot be
given, and knows no Literal of booleans.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import datetime as dt
import enum
import inspect
import json
import re
import types
import weakref
from collections import abc
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import PurePath
from typing import Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from streamkit.errors import ConfigError
from streamkit.tools.defaults import json_of
from streamkit.tools.fields import docstring_of, fields_of, is_named_tuple
from streamkit.tools.hints import bare
from streamkit.tools.metadata import read_metadata
from streamkit.tools.pydantic_types import is_pydantic_type, schema_by_pydantic
from streamkit.tools.signature import Parameter, Signature

__all__ = ["parameters_schema", "schema_of"]

_REFERENCE = "#/$defs/"
_ARRAYS = (
    list,
    collections.deque,
    abc.Sequence,
    abc.MutableSequence,
    abc.Collection,
    abc.Iterable,
)
_SETS = (set, frozenset, abc.Set, abc.MutableSet)
_MAPPINGS = (dict, collections.OrderedDict, collections.defaultdict, abc.Mapping, abc.MutableMapping)
_FORMATS = {dt.datetime: "date-time", dt.time: "time"}  # msgspec leaves the format out where a time zone may miss
_JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}

_schemas: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()


def schema_of(hint: Any) -> dict[str, Any]:
    """Return the JSON schema of a type.

    It is made once a type: classes are remembered as long as they exist. What is returned is the caller's own.

    Args:
        hint: a class, or any type hint that a parameter may have.

    Raises:
        ConfigError: JSON cannot say it; the text has the path.
    """
    try:
        known = _schemas.get(hint)
    except TypeError:  # neither hashable nor of a kind that can be referred to weakly
        return _schema_of(hint)
    if known is None:
        known = _schema_of(hint)
        if isinstance(hint, type):
            _schemas[hint] = known
    return copy.deepcopy(known)


def _schema_of(hint: Any) -> dict[str, Any]:
    writer = _Writer()
    try:
        schema = writer.write(hint, "")
    except _CannotWriteError as error:
        raise ConfigError(f"{_name(hint)} has no JSON schema: {error}") from error
    if "$ref" in schema:  # a root that can be read at once; a recursive type's definition stays beside it
        inner = writer.definitions[schema.pop("$ref").removeprefix(_REFERENCE)]
        schema = {**inner, **schema}
    return writer.with_definitions(schema)


def parameters_schema(signature: Signature) -> dict[str, Any]:
    """Return the schema of the object whose keys are a function's parameters.

    Raises:
        ConfigError: JSON cannot say the type of a parameter.
    """
    writer = _Writer()
    properties: dict[str, Any] = {}
    required: list[str] = []
    others: Any = False
    for parameter in signature.parameters:
        try:
            schema = writer.parameter(parameter)
        except _CannotWriteError as error:
            raise ConfigError(f"{signature.name} cannot be a tool: parameter {error}") from error
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            others = schema or True
            continue
        properties[parameter.name] = schema
        if parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            required.append(parameter.name)
    return writer.with_definitions(_object(properties, required, others))


class _CannotWriteError(Exception):
    """JSON cannot say a type; the text begins with the path."""


class _Writer:
    """Writes one schema, and collects the definitions that it refers to."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self._names: dict[Any, str] = {}  # of what is defined, or is about to be

    def with_definitions(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the schema with the definitions that it needs."""
        used: dict[str, Any] = {}
        waiting = [json.dumps(schema)]
        while waiting:
            for name in re.findall(r'"\$ref": "#/\$defs/([^"]+)"', waiting.pop()):
                if name not in used:
                    used[name] = self.definitions[name]
                    waiting.append(json.dumps(used[name]))
        return {**schema, "$defs": used} if used else schema

    def parameter(self, parameter: Parameter) -> dict[str, Any]:
        """Return the schema of one parameter, with its default and description."""
        schema = self.write(parameter.hint, parameter.name)
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            schema = {"type": "array", "items": schema}
        return _finished(schema, parameter.default, parameter.description)

    def write(self, hint: Any, path: str) -> dict[str, Any]:
        """Return the schema of a type.

        Raises:
            _CannotWriteError: JSON cannot say it.
        """
        if hint is Any or hint is object or hint is inspect.Parameter.empty:
            return {}
        if hint is None:
            return {"type": "null"}
        inner, metadata = bare(hint)
        if metadata:
            return read_metadata(metadata).applied_to(self.write(inner, path))
        if isinstance(hint, TypeVar):
            return self._variable(hint, path)
        if hasattr(hint, "__supertype__"):  # NewType
            return self.write(hint.__supertype__, path)
        origin, arguments = get_origin(hint) or hint, get_args(hint)
        if hasattr(origin, "__value__") and hasattr(origin, "__type_params__"):  # a ``type`` statement
            value = origin.__value__[arguments] if arguments else origin.__value__
            return self._defined(hint, _name(hint), lambda: self.write(value, path))
        if origin is Literal:
            return _enumeration([_json_or_fail(value, path) for value in arguments])
        if origin in (Union, types.UnionType):
            return self._union(arguments, path)
        return self._class(hint, origin, arguments, path)

    def _class(self, hint: Any, origin: Any, arguments: tuple[Any, ...], path: str) -> dict[str, Any]:
        if is_pydantic_type(hint):
            return self._by_pydantic(hint, path)
        if origin in _MAPPINGS:
            return self._mapping(arguments, path)
        if origin in _ARRAYS or origin in _SETS:
            items = self.write(arguments[0] if arguments else Any, f"{path}[]")
            return {"type": "array", "items": items, **({"uniqueItems": True} if origin in _SETS else {})}
        if origin is tuple:
            return self._tuple(hint, arguments, path)
        if is_named_tuple(origin):
            return self._named_tuple(origin, arguments, path)
        if isinstance(origin, type) and issubclass(origin, enum.Enum):
            return self._defined(hint, origin.__name__, lambda: _enum(origin, path))
        fields = _fields(origin, arguments, path)
        if fields is not None:
            return self._defined(hint, _name(hint), lambda: self._fields(origin, fields, path))
        return _value(hint, origin, path)

    def _defined(self, hint: Any, name: str, write: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a reference to a definition, which is written when it is referred to for the first time."""
        known = self._names.get(hint)
        if known is None:
            known = self._names[hint] = self._free(name)
            self.definitions[known] = {}  # taken, also while it is written: it may refer to itself
            self.definitions[known] = write()
        return {"$ref": _REFERENCE + known}

    def _free(self, name: str) -> str:
        number, free = 1, name
        while free in self.definitions:
            number += 1
            free = f"{name}_{number}"
        return free

    def _fields(self, cls: Any, fields: Sequence[Any], path: str) -> dict[str, Any]:
        properties = {}
        required = []
        config = getattr(cls, "__struct_config__", None)
        if config is not None and config.tag is not None:
            properties[config.tag_field] = _enumeration([config.tag])
            required.append(config.tag_field)
        for field in fields:
            schema = self.write(field.hint, f"{path}.{field.name}" if path else field.name)
            described = read_metadata(bare(field.hint)[1]).description or field.description
            properties[field.name] = _finished(schema, field.default, described)
            if field.required:
                required.append(field.name)
        return _finished(_object(properties, required), description=docstring_of(cls).text)

    def _by_pydantic(self, cls: Any, path: str) -> dict[str, Any]:
        try:
            schema = schema_by_pydantic(cls)
        except Exception as error:  # pydantic has several, and types of users may raise any
            raise _cannot_write(path, cls, f"pydantic has no schema for it ({type(error).__name__})") from error
        inner = schema.pop("$defs", {})
        names: dict[str, str] = {}
        for name, definition in inner.items():
            # Two classes of one name: of one schema they are the same, otherwise one gets another name.
            names[name] = name if self.definitions.get(name, definition) == definition else self._free(name)
        renamed = {names[name]: _renamed(definition, names) for name, definition in inner.items()}
        self.definitions.update(renamed)
        schema = dict(_renamed(schema, names))
        if set(schema) == {"$ref"} or schema.get("type") != "object":
            return schema
        return self._defined(cls, _name(cls), lambda: schema)

    def _variable(self, variable: Any, path: str) -> dict[str, Any]:
        if variable.__constraints__:
            return self._union(variable.__constraints__, path)
        return self.write(Any if variable.__bound__ is None else variable.__bound__, path)

    def _union(self, options: Sequence[Any], path: str) -> dict[str, Any]:
        ordered = sorted(options, key=lambda option: option is type(None))  # null is last
        schemas: list[dict[str, Any]] = []
        for option in ordered:
            schema = self.write(option, path)
            if schema not in schemas:
                schemas.append(schema)
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def _mapping(self, arguments: tuple[Any, ...], path: str) -> dict[str, Any]:
        key, value = arguments or (str, Any)
        keys = self.write(key, f"{path} (a key)")
        schema: dict[str, Any] = {"type": "object", "additionalProperties": self.write(value, f"{path}[]") or True}
        # As pydantic: only what is more than any text; numbers as keys are text in JSON, which no keyword describes.
        if "$ref" in keys or "enum" in keys or "const" in keys or (keys.get("type") == "string" and len(keys) > 1):
            schema["propertyNames"] = keys
        return schema

    def _tuple(self, hint: Any, arguments: tuple[Any, ...], path: str) -> dict[str, Any]:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return {"type": "array", "items": self.write(arguments[0], f"{path}[]")}
        if not arguments and get_origin(hint) is None:
            return {"type": "array", "items": {}}
        items = [self.write(argument, f"{path}[{n}]") for n, argument in enumerate(arguments)]
        return _array(items, len(items))

    def _named_tuple(self, cls: Any, arguments: tuple[Any, ...], path: str) -> dict[str, Any]:
        fields = _fields(cls, arguments, path) or ()
        items = [_finished(self.write(field.hint, f"{path}.{field.name}"), field.default) for field in fields]
        return _array(items, sum(field.required for field in fields))


def _value(hint: Any, origin: Any, path: str) -> dict[str, Any]:
    """Return the schema of a single value's type."""
    if origin is Decimal:  # a number or, so that no digit is lost, its text
        return {"anyOf": [{"type": "number"}, {"type": "string"}]}
    if origin in _FORMATS:
        return {"type": "string", "format": _FORMATS[origin]}
    if isinstance(origin, type) and issubclass(origin, PurePath):
        return {"type": "string", "format": "path"}
    if isinstance(hint, (str, ForwardRef)):
        raise _cannot_write(path, hint, "the name cannot be found; a type alias that refers to itself needs `type`")
    try:
        schema: dict[str, Any] = msgspec.json.schema(hint)
    except (TypeError, ValueError, RecursionError) as error:
        raise _cannot_write(path, hint, "JSON has nothing like it") from error
    return schema


def _fields(origin: Any, arguments: tuple[Any, ...], path: str) -> Sequence[Any] | None:
    try:
        return fields_of(origin, arguments)
    except NameError as error:
        raise _cannot_write(path, origin, f"one of its fields has a type that cannot be found: {error}") from error


def _enum(cls: type[enum.Enum], path: str) -> dict[str, Any]:
    schema = _enumeration([_json_or_fail(member.value, path) for member in cls])
    return _finished(schema, description=docstring_of(cls).text)


def _enumeration(values: list[Any]) -> dict[str, Any]:
    """Return the schema of certain values: ``const`` for one, with the type where all have one."""
    schema: dict[str, Any] = {"const": values[0]} if len(values) == 1 else {"enum": values}
    kinds = {type(value) for value in values}
    if len(kinds) == 1 and values[0] is not None:
        schema["type"] = _JSON_TYPES[kinds.pop()]
    return schema


def _json_or_fail(value: Any, path: str) -> Any:
    try:
        found = json_of(value)
    except ValueError:
        found = ()
    if not isinstance(found, tuple(_JSON_TYPES)):
        raise _cannot_write(path, value, "only texts, numbers, booleans and None can be a value of a Literal or Enum")
    return found


def _object(properties: dict[str, Any], required: list[str], others: Any = False) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return {**schema, "additionalProperties": others}


def _array(items: list[dict[str, Any]], least: int) -> dict[str, Any]:
    first = {"prefixItems": items} if items else {}
    return {"type": "array", **first, "minItems": least, "maxItems": len(items)}


def _finished(schema: dict[str, Any], default: Any = inspect.Parameter.empty, description: str = "") -> dict[str, Any]:
    """Return a schema with a default, where JSON can say it, and a description."""
    schema = dict(schema)
    if default is not inspect.Parameter.empty:
        with contextlib.suppress(ValueError):
            schema["default"] = json_of(default)
    if description:
        schema["description"] = description
    return schema


def _renamed(schema: Any, names: dict[str, str]) -> Any:
    if isinstance(schema, list):
        return [_renamed(item, names) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: _renamed(value, names) for key, value in schema.items()}
    if isinstance(out.get("$ref"), str):
        name = out["$ref"].removeprefix(_REFERENCE)
        out["$ref"] = _REFERENCE + names.get(name, name)
    return out


def _name(hint: Any) -> str:
    """Return the name of a definition: ``Point``, ``Box_int``."""
    arguments = get_args(hint)
    own = getattr(get_origin(hint) or hint, "__name__", None) or str(hint)
    whole = own + "".join(f"_{_name(argument)}" for argument in arguments)
    return re.sub(r"[^A-Za-z0-9_]+", "_", whole)


def _cannot_write(path: str, hint: Any, why: str) -> _CannotWriteError:
    shown = hint.__name__ if isinstance(hint, type) else repr(hint)
    return _CannotWriteError(f"{path!r} has the type {shown}: {why}" if path else f"{shown}: {why}")
