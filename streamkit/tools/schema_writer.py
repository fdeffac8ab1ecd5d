"""``SchemaWriter``: writes the schemas of types, and collects the definitions that they refer to.

msgspec writes the types of single values. Classes and containers are written here, because msgspec reads no other
metadata in ``Annotated`` than its own, takes fields that ``__init__`` does not take, and has attrs' private fields
under names that ``__init__`` does not know.
"""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import enum
import inspect
import math
import re
import sys
import types
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import PurePath
from typing import Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from streamkit.tools.defaults import json_of
from streamkit.tools.fields import docstring_of, fields_of, is_named_tuple
from streamkit.tools.hints import bare, resolve
from streamkit.tools.metadata import read_metadata
from streamkit.tools.pydantic_types import is_pydantic_type, schema_by_pydantic
from streamkit.tools.signature import Parameter

__all__ = ["CannotWriteError", "SchemaWriter", "name_of_type", "object_schema"]

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


class CannotWriteError(Exception):
    """JSON cannot say a type; the text begins with the path."""


class SchemaWriter:
    """Writes one schema, and collects the definitions that it refers to."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self._names: dict[Any, str] = {}  # of what is defined, or is about to be

    def with_definitions(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the schema with the definitions that it needs."""
        used: dict[str, Any] = {}
        waiting = [schema]
        while waiting:
            for name in _references(waiting.pop()):
                if name not in used and name in self.definitions:
                    used[name] = self.definitions[name]
                    waiting.append(used[name])
        return {**schema, "$defs": used} if used else schema

    def without_reference(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return a schema with the definition in the place of a reference to it."""
        if "$ref" not in schema:
            return schema
        rest = dict(schema)
        return {**self.definitions[rest.pop("$ref").removeprefix(_REFERENCE)], **rest}

    def parameter(self, parameter: Parameter) -> dict[str, Any]:
        """Return the schema of one parameter, with its default and description."""
        schema = self.write(parameter.hint, parameter.name)
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            schema = {"type": "array", "items": schema}
        return _finished(schema, parameter.default, parameter.description)

    def write(self, hint: Any, path: str) -> dict[str, Any]:
        """Return the schema of a type.

        Raises:
            CannotWriteError: JSON cannot say it.
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
            return self._defined(hint, name_of_type(hint), lambda: self.write(_aliased(origin, arguments, path), path))
        if origin is Literal:
            return _enumeration([_single(value, path) for value in arguments])
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
            return self._defined(hint, name_of_type(hint), lambda: self._fields(origin, fields, path))
        return _value(hint, origin, path)

    def _defined(self, hint: Any, name: str, write: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a reference to a definition, which is written when it is referred to for the first time."""
        key = hint if _is_hashable(hint) else repr(hint)
        known = self._names.get(key)
        if known is None:
            known = self._names[key] = self._free(name)
            self.definitions[known] = {}  # taken, also while it is written: it may refer to itself
            self.definitions[known] = write()
        return {"$ref": _REFERENCE + known}

    def _free(self, name: str, others: Iterable[str] = ()) -> str:
        """Return a name that is no definition's, nor one of the others."""
        number, free = 1, name
        while free in self.definitions or free in others:
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
        return _finished(object_schema(properties, required), description=docstring_of(cls).text)

    def _by_pydantic(self, cls: Any, path: str) -> dict[str, Any]:
        try:
            schema = schema_by_pydantic(cls)
        except Exception as error:  # pydantic has several, and types of users may raise any
            raise _cannot_write(path, cls, f"pydantic has no schema for it ({type(error).__name__})") from error
        inner = schema.pop("$defs", {})
        own = _definition_name(cls.__name__)
        if schema.get("type") == "object":  # a recursive model's is among the definitions already
            schema = {"$ref": _REFERENCE + own} if inner.setdefault(own, schema) is schema else schema
        # Two classes of one name: of one schema they are the same, otherwise one gets another name.
        names = {
            name: name if self.definitions.get(name, definition) == definition else self._free(name, inner)
            for name, definition in inner.items()
        }
        self.definitions |= {names[name]: _renamed(definition, names) for name, definition in inner.items()}
        return dict(_renamed(schema, names))

    def _variable(self, variable: Any, path: str) -> dict[str, Any]:
        if variable.__constraints__:
            return self._union(variable.__constraints__, path)
        return self.write(Any if variable.__bound__ is None else variable.__bound__, path)

    def _union(self, options: Sequence[Any], path: str) -> dict[str, Any]:
        ordered = sorted(options, key=lambda option: option is type(None))  # null is last
        schemas: list[dict[str, Any]] = []
        for option in ordered:
            schema = self.write(option, path)
            inner = schema["anyOf"] if set(schema) == {"anyOf"} else [schema]  # such as that of Decimal
            schemas += [each for each in inner if each not in schemas]
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
        raise _cannot_write(
            path, hint, "JSON has nothing like it; a class of your own needs @dataclass or attrs"
        ) from error
    return schema


def _aliased(alias: Any, arguments: tuple[Any, ...], path: str) -> Any:
    """Return what a type alias stands for; it may name itself in quotes."""
    value = alias.__value__[arguments] if arguments else alias.__value__
    try:
        return resolve(value, [vars(sys.modules[alias.__module__])])
    except NameError as error:
        raise _cannot_write(path, alias, f"it cannot be read: {error}") from error


def _fields(origin: Any, arguments: tuple[Any, ...], path: str) -> Sequence[Any] | None:
    try:
        return fields_of(origin, arguments)
    except Exception as error:  # the text of an annotation is code, which may raise anything
        raise _cannot_write(path, origin, f"the type of one of its fields cannot be read ({error})") from error


def _enum(cls: type[enum.Enum], path: str) -> dict[str, Any]:
    schema = _enumeration([_single(member.value, path) for member in cls])
    return _finished(schema, description=docstring_of(cls).text)


def _enumeration(values: list[Any]) -> dict[str, Any]:
    """Return the schema of certain values: ``const`` for one, with the type where all have one."""
    schema: dict[str, Any] = {"const": values[0]} if len(values) == 1 else {"enum": values}
    kinds = {type(value) for value in values}
    if len(kinds) == 1 and values[0] is not None:
        schema["type"] = _JSON_TYPES[kinds.pop()]
    return schema


def _single(value: Any, path: str) -> Any:
    found = value.value if isinstance(value, enum.Enum) else value
    if type(found) not in _JSON_TYPES or (isinstance(found, float) and not math.isfinite(found)):
        raise _cannot_write(path, value, "a Literal or an Enum may have texts, numbers, booleans and None")
    return found


def object_schema(properties: dict[str, Any], required: list[str], others: Any = False) -> dict[str, Any]:
    """Return the schema of an object; ``others`` is that of keys that are not known, ``False`` where there are none."""
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
        with contextlib.suppress(Exception):  # whatever keeps a value from being JSON, it is only left out
            schema["default"] = json_of(default)
    if description:
        schema["description"] = description
    return schema


def _references(schema: Any) -> Iterator[str]:
    """Yield the names of the definitions that a schema refers to."""
    if isinstance(schema, list):
        for item in schema:
            yield from _references(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(_REFERENCE)
            else:
                yield from _references(value)


def _is_hashable(hint: Any) -> bool:
    try:
        hash(hint)
    except TypeError:  # metadata in Annotated may have no hash
        return False
    return True


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


def name_of_type(hint: Any) -> str:
    """Return the name of a definition: ``Point``, ``Box_int``."""
    hint, _ = bare(hint)
    arguments = get_args(hint)
    own = getattr(get_origin(hint) or hint, "__name__", None) or str(hint)
    whole = own + "".join(f"_{name_of_type(argument)}" for argument in arguments)
    return _definition_name(whole)


def _definition_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", name)


def _cannot_write(path: str, hint: Any, why: str) -> CannotWriteError:
    shown = hint.__name__ if isinstance(hint, type) else repr(hint)
    return CannotWriteError(f"{path!r} takes {shown}: {why}" if path else f"{shown}: {why}")
