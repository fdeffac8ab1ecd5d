"""Types -> converters: ``made``."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import enum
import inspect
import pathlib
import sys
import types
import typing
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import attrs
import msgspec

from streamkit.errors import ConfigError
from streamkit.tools.converting.choices import enum_choice, literal_choice
from streamkit.tools.converting.constraints import Constrained, checks_of
from streamkit.tools.converting.containers import Array, Mapping, Row
from streamkit.tools.converting.converter import Anything, Converter, Deferred
from streamkit.tools.converting.objects import Field, Fields
from streamkit.tools.converting.pydantic_types import PydanticType, is_pydantic
from streamkit.tools.converting.scalars import SCALARS, Paths
from streamkit.tools.converting.unions import Nullable, Union

__all__ = ["Made", "made"]

_MOST_KEPT = 2048  # converters, after which all are made anew

_LISTS: dict[Any, Callable[[list[Any]], Any] | None] = {
    list: None,
    collections.abc.Sequence: None,
    collections.abc.MutableSequence: None,
    collections.abc.Iterable: None,
    collections.abc.Collection: None,
    collections.abc.Reversible: None,
    set: set,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
    frozenset: frozenset,
    collections.deque: collections.deque,
}
_DICTS: dict[Any, Callable[[dict[Any, Any]], Any] | None] = {
    dict: None,
    collections.abc.Mapping: None,
    collections.abc.MutableMapping: None,
    collections.OrderedDict: collections.OrderedDict,
    collections.defaultdict: lambda value: collections.defaultdict(None, value),
}


@attrs.frozen(eq=False)
class Made:
    """What is made once a type.

    Attributes:
        converter: of the type.
        exact: whether the digits of a number matter: for Decimal, and for int, so that 2.99999999999999999 is no 3.
    """

    converter: Converter
    exact: bool


_kept: dict[tuple[Any, str], Made] = {}


def made(hint: Any) -> Made:
    """Return the converter of a type; made once, as long as no thousands of others are.

    Raises:
        ConfigError: no JSON value can become the type.

    Threads: any; two may make the same converter, and one is kept.
    """
    # Unions that differ in the order of their members are equal. The order decides, so it has to be in the key.
    key = (hint, repr(hint))
    try:
        found = _kept.get(key)
    except TypeError:  # metadata of Annotated that has no hash
        return _made(hint)
    if found is None:
        found = _made(hint)
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[key] = found
    return found


def _made(hint: Any) -> Made:
    maker = _Maker()
    return Made(maker.made(hint), maker.exact)


class _Maker:
    """Makes converters, each class once, so that a class may be the type of its own fields."""

    def __init__(self) -> None:
        self._classes: dict[Any, Converter] = {}
        self.exact = False

    def made(self, hint: Any) -> Converter:
        """Return the converter of a type."""
        if isinstance(hint, str | typing.ForwardRef):
            hint = _resolved(hint, vars(typing))
        if hint in (Any, object) or isinstance(hint, typing.TypeVar):
            return self._of_variable(hint)
        scalar = SCALARS.get(hint) if _is_hashable(hint) else None
        if scalar is not None:
            self.exact |= hint is Decimal or hint is int
            return scalar
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            return self._annotated(arguments[0], hint.__metadata__)
        if _is_qualifier(origin):
            return self.made(arguments[0])
        if is_pydantic(hint):
            return PydanticType(hint)
        if origin is typing.Union or origin is types.UnionType:
            return self._union(arguments)
        if _is_literal(origin):
            return literal_choice(arguments)
        return self._alias(hint) or self._collection(hint, origin, arguments) or self._class(hint, origin, arguments)

    def _of_variable(self, hint: Any) -> Converter:
        bound = getattr(hint, "__bound__", None) if isinstance(hint, typing.TypeVar) else None
        constraints = getattr(hint, "__constraints__", ())
        if constraints:
            return self._union(constraints)
        return self.made(bound) if bound is not None else Anything()

    def _annotated(self, hint: Any, metadata: tuple[Any, ...]) -> Converter:
        if is_pydantic(None, metadata):
            parts = (hint, *metadata)
            return PydanticType(typing.Annotated[parts])
        inner = self.made(hint)
        checks = checks_of(metadata)
        return Constrained(inner, checks) if checks else inner

    def _union(self, members: tuple[Any, ...]) -> Converter:
        members = tuple(member for member in members if member is not msgspec.UnsetType)  # no value of JSON's
        others = [self.made(member) for member in members if member not in (None, type(None))]
        inner = others[0] if len(others) == 1 else Union(others)
        return inner if len(others) == len(members) else Nullable(inner)

    def _alias(self, hint: Any) -> Converter | None:
        """Return the converter of a NewType, or of ``type X = ...``, which may hold itself."""
        if isinstance(hint, typing.NewType):
            return self.made(hint.__supertype__)
        origin = typing.get_origin(hint) or hint
        if type(origin).__name__ != "TypeAliasType":
            return None
        if hint not in self._classes:
            deferred = Deferred()
            self._classes[hint] = deferred
            variables = dict(zip(origin.__type_params__, typing.get_args(hint), strict=False))
            module = sys.modules.get(origin.__module__, typing)
            value = _resolved(origin.__value__, {**vars(module), origin.__name__: origin})
            deferred.target = self.made(_substituted(value, variables))
        return self._classes[hint]

    def _collection(self, hint: Any, origin: Any, arguments: tuple[Any, ...]) -> Converter | None:
        kind = origin or hint
        if not _is_hashable(kind):
            return None
        if kind is tuple:
            return self._tuple(arguments, bare=origin is None and hint is tuple)
        if kind in _LISTS:
            return Array(self.made(arguments[0]) if arguments else Anything(), _LISTS[kind])
        if kind in _DICTS:
            key, item = arguments or (str, Any)
            return Mapping(self.made(key), self.made(item), _DICTS[kind])
        if kind is collections.Counter:
            return Mapping(self.made(*arguments or (str,)), self.made(int), collections.Counter)
        return None

    def _tuple(self, arguments: tuple[Any, ...], *, bare: bool) -> Converter:
        if bare:
            return Array(Anything(), tuple)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return Array(self.made(arguments[0]), tuple)
        if arguments == ((),):  # Tuple[()] in Python 3.10
            arguments = ()
        return Row([self.made(each) for each in arguments], len(arguments), tuple)

    def _class(self, hint: Any, origin: Any, arguments: tuple[Any, ...]) -> Converter:
        kind = origin or hint
        if not isinstance(kind, type):
            raise _impossible(hint)
        if issubclass(kind, enum.Enum):
            return enum_choice(kind)
        if issubclass(kind, pathlib.PurePath):
            return Paths(kind)
        if hint in self._classes:
            return self._classes[hint]
        entries = _entries(kind)
        if entries is None:
            raise _impossible(hint)
        fields = Fields(kind, _tag_of(kind))
        self._classes[hint] = fields
        hints, variables = _hints_of(kind), _variables_of(kind, arguments)
        fields.fields = tuple(
            Field(key, target, self.made(_substituted(hints.get(name, Any), variables)), required)
            for name, key, target, required in entries
        )
        if issubclass(kind, tuple):
            row = [field.converter for field in fields.fields]
            required = sum(field.required for field in fields.fields)
            self._classes[hint] = Row(row, required, lambda items: kind(*items), by_name=fields)
        return self._classes[hint]


def _impossible(hint: Any) -> ConfigError:
    name = getattr(hint, "__qualname__", None) or str(hint)
    return ConfigError(f"no JSON value can become the type {name}; use a dataclass, or a type of JSON's")


def _is_hashable(hint: Any) -> bool:
    try:
        hash(hint)
    except TypeError:
        return False
    return True


def _is_qualifier(origin: Any) -> bool:
    """Return whether it says something of a key and not of its type: Required, NotRequired, ReadOnly, Final."""
    return getattr(origin, "_name", None) in ("Required", "NotRequired", "ReadOnly", "Final")


def _is_literal(origin: Any) -> bool:
    """Return whether it is Literal, of typing or of typing_extensions."""
    return origin is typing.Literal or getattr(origin, "_name", None) == "Literal"


# Of each field: the name in the class, the key in JSON, the argument that it becomes, and whether it is required.
_Entries = list[tuple[str, str, str, bool]]


def _entries(kind: type) -> _Entries | None:
    """Return the fields that a class is made of; ``None`` for a class that has none."""
    if attrs.has(kind):
        return [
            (each.name, each.alias or each.name, each.alias or each.name, each.default is attrs.NOTHING)
            for each in attrs.fields(kind)
            if each.init
        ]
    if dataclasses.is_dataclass(kind):
        return list(_dataclass_entries(kind))
    if issubclass(kind, msgspec.Struct):
        return [(each.name, each.encode_name, each.name, each.required) for each in msgspec.structs.fields(kind)]
    if issubclass(kind, dict) and hasattr(kind, "__total__"):
        return _typed_dict_entries(kind)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        defaults: Any = getattr(kind, "_field_defaults", {})
        return [(name, name, name, name not in defaults) for name in kind._fields]
    return None


def _dataclass_entries(kind: Any) -> Iterator[tuple[str, str, str, bool]]:
    for name, field in kind.__dataclass_fields__.items():  # fields() leaves InitVar out
        if field.init and field._field_type.name != "_FIELD_CLASSVAR":
            has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            yield name, name, name, not has_default


def _typed_dict_entries(kind: Any) -> _Entries:
    entries: _Entries = []
    for name, hint in _hints_of(kind).items():
        required = name in kind.__required_keys__
        # Where annotations are strings, the class itself did not see these words.
        while typing.get_origin(hint) is typing.Annotated or _is_qualifier(typing.get_origin(hint)):
            word = getattr(typing.get_origin(hint), "_name", "")
            required = {"Required": True, "NotRequired": False}.get(word, required)
            hint = typing.get_args(hint)[0]
        entries.append((name, name, name, required))
    return entries


def _tag_of(kind: Any) -> dict[str, Any]:
    """Return the key and the value that name a tagged Struct."""
    config = getattr(kind, "__struct_config__", None)
    return {config.tag_field: config.tag} if config is not None and config.tag_field else {}


def _hints_of(kind: Any) -> dict[str, Any]:
    """Return a class's annotations. It may be local to a function and name itself."""
    try:
        if issubclass(kind, dict | tuple):  # the bases of a TypedDict are no bases of its class
            return typing.get_type_hints(kind, localns={kind.__name__: kind}, include_extras=True)
        hints: dict[str, Any] = {}
        for base in reversed(kind.__mro__[:-1]):
            hints |= _own_hints(base)
    except NameError as error:
        raise ConfigError(f"a type in {kind.__qualname__} cannot be found: {error}") from None
    return {name: hint.type if isinstance(hint, dataclasses.InitVar) else hint for name, hint in hints.items()}


def _resolved(hint: Any, names: dict[str, Any]) -> Any:
    """Return a type whose parts may be text: ``Union[int, "list[Any]"]`` holds its text unread."""
    holder = type("holder", (), {"__annotations__": {"hint": hint}})
    try:
        return typing.get_type_hints(holder, globalns=dict(names), localns=dict(names), include_extras=True)["hint"]
    except NameError as error:
        raise ConfigError(f"the type {hint} cannot be found: {error}") from None


def _own_hints(base: type) -> dict[str, Any]:
    names = {**vars(base), **vars(sys.modules.get(base.__module__, typing)), base.__name__: base}
    holder = type("holder", (), {"__annotations__": inspect.get_annotations(base)})
    return typing.get_type_hints(holder, globalns=names, localns=names, include_extras=True)


def _variables_of(kind: Any, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Return what the type variables of a class and of its bases stand for: ``Box[int]``, ``class Ints(Box[int])``."""
    variables = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=False))
    for base in getattr(kind, "__orig_bases__", ()):
        origin = typing.get_origin(base)
        if isinstance(origin, type) and origin is not typing.Generic:
            given = tuple(_substituted(each, variables) for each in typing.get_args(base))
            variables = {**_variables_of(origin, given), **variables}
    return variables


def _substituted(hint: Any, variables: dict[Any, Any]) -> Any:
    """Return a type with its variables replaced."""
    if isinstance(hint, typing.TypeVar):
        return variables.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if not variables or not parameters or (isinstance(hint, type) and typing.get_origin(hint) is None):
        return hint
    return hint[tuple(variables.get(each, each) for each in parameters)]
