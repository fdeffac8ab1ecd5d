"""``fields_of``: the fields of a dataclass, an attrs class, a TypedDict, a NamedTuple or a msgspec Struct."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, get_args, get_origin

import attrs
import msgspec

from streamkit.tools.docstring import Docstring, parse_docstring
from streamkit.tools.hints import bare, class_hints, fill_in, type_arguments

__all__ = ["Field", "docstring_of", "fields_of", "is_named_tuple", "is_typed_dict"]

_WRAPPERS = ("Required", "NotRequired", "ReadOnly", "Final")


@attrs.frozen
class Field:
    """One field, as an object of JSON has it.

    Attributes:
        name: the key in JSON, which is the name that the class's ``__init__`` takes, or a Struct's renamed one.
        attribute: the name of the instance's attribute.
        hint: the type, with a generic class's arguments filled in.
        required: whether it has no default.
        default: ``inspect.Parameter.empty`` where there is none, or where it is made by a factory.
        description: from the class's docstring.
    """

    name: str
    attribute: str
    hint: Any
    required: bool = True
    default: Any = inspect.Parameter.empty
    description: str = ""


def fields_of(cls: Any, arguments: tuple[Any, ...] = ()) -> tuple[Field, ...] | None:
    """Return the fields that make an instance, in order; ``None`` for any other class.

    Fields that ``__init__`` does not take are left out.

    Args:
        cls: the class.
        arguments: of a generic class, the types in its brackets.

    Raises:
        NameError: a field's type is a name that cannot be found.
    """
    if not isinstance(cls, type):
        return None
    if attrs.has(cls):
        found = _of_attrs
    elif dataclasses.is_dataclass(cls):
        found = _of_dataclass
    elif is_typed_dict(cls):
        found = _of_typed_dict
    elif is_named_tuple(cls):
        found = _of_named_tuple
    elif issubclass(cls, msgspec.Struct):
        found = _of_struct
    else:
        return None
    known = type_arguments(cls, arguments)
    described = docstring_of(cls).entries
    return tuple(
        attrs.evolve(
            field,
            hint=fill_in(_unwrapped(field.hint), known),
            description=described.get(field.name) or described.get(field.attribute, ""),
        )
        for field in found(cls, class_hints(cls))
    )


def docstring_of(cls: type) -> Docstring:
    """Return a class's own docstring, without those that dataclass, attrs, Enum or NamedTuple make up."""
    text = vars(cls).get("__doc__")
    if not isinstance(text, str) or text == "An enumeration.":
        return Docstring()
    made_up = re.fullmatch(rf"{cls.__name__}\(.*\)(?: -> None)?", text, re.DOTALL)
    return Docstring() if made_up else parse_docstring(text)


def is_typed_dict(cls: Any) -> bool:
    """Return whether a class is a TypedDict, from ``typing`` or ``typing_extensions``."""
    return isinstance(cls, type) and issubclass(cls, dict) and hasattr(cls, "__total__")


def is_named_tuple(cls: Any) -> bool:
    """Return whether a class is a NamedTuple or was made by ``collections.namedtuple``."""
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def _of_attrs(cls: Any, hints: dict[str, Any]) -> Iterator[Field]:
    for field in attrs.fields(cls):
        if field.init:
            made = isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]  # a class at run time
            default = inspect.Parameter.empty if made or field.default is attrs.NOTHING else field.default
            hint = hints.get(field.name, Any if field.type is None else field.type)
            yield Field(field.alias or field.name, field.name, hint, field.default is attrs.NOTHING, default)


def _of_dataclass(cls: Any, hints: dict[str, Any]) -> Iterator[Field]:
    for name, field in cls.__dataclass_fields__.items():  # unlike fields(), with those that only __init__ takes
        hint = hints.get(name, field.type)
        if not field.init or hint is ClassVar or get_origin(hint) is ClassVar:
            continue
        if isinstance(hint, dataclasses.InitVar):
            hint = hint.type
        default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        yield Field(name, name, hint, required, default)


def _of_typed_dict(cls: Any, hints: dict[str, Any]) -> Iterator[Field]:
    for name, hint in hints.items():
        # Where annotations are postponed, the class did not see Required and NotRequired.
        wrappers = _wrappers(hint)
        required = "Required" in wrappers or (name in cls.__required_keys__ and "NotRequired" not in wrappers)
        yield Field(name, name, hint, required)


def _of_named_tuple(cls: Any, hints: dict[str, Any]) -> Iterator[Field]:
    for name in cls._fields:
        default = cls._field_defaults.get(name, inspect.Parameter.empty)
        yield Field(name, name, hints.get(name, Any), default is inspect.Parameter.empty, default)


def _of_struct(cls: Any, hints: dict[str, Any]) -> Iterator[Field]:
    for field in msgspec.structs.fields(cls):
        default = inspect.Parameter.empty if field.default is msgspec.NODEFAULT else field.default
        yield Field(field.encode_name, field.name, hints.get(field.name, field.type), field.required, default)


def _wrappers(hint: Any) -> list[str]:
    """Return the names of the wrappers around a type, such as ``NotRequired``, from either module that has them."""
    found = []
    inner, _ = bare(hint)
    while (name := str(get_origin(inner)).rpartition(".")[2]) in _WRAPPERS:
        found.append(name)
        inner, _ = bare(get_args(inner)[0])
    return found


def _unwrapped(hint: Any) -> Any:
    inner, metadata = bare(hint)
    if str(get_origin(inner)).rpartition(".")[2] not in _WRAPPERS:
        return hint
    inside = _unwrapped(get_args(inner)[0])
    return Annotated.__class_getitem__((inside, *metadata)) if metadata else inside  # type: ignore[attr-defined]
