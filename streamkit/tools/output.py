"""Output with a type: ``Output`` is what ``response_format=`` asked for, and reads the reply.

Providers want an object at the root. So a list is asked for as ``{"items": [...]}``, and any other type that is no
object as ``{"value": ...}``; the program sees neither.
"""

from __future__ import annotations

import collections.abc
import functools
import json
import re
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypedDict, Union, get_args, get_origin

import attrs

from streamkit.errors import ConfigError, InvalidOutputError
from streamkit.settings import shown
from streamkit.streaming.typed_output import NOTHING
from streamkit.tools.conversion import converted, read_value
from streamkit.tools.json_schema import schema_check
from streamkit.tools.problems import InvalidValueError
from streamkit.tools.schema import schema_of
from streamkit.tools.strict import strict_schema
from streamkit.values.completion import Completion
from streamkit.values.problems import Problem

__all__ = ["Output", "output_of"]

_JSON_TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
_SCHEMA_KEYWORDS = {"properties", "$ref", "$defs", "anyOf", "oneOf", "allOf", "enum", "const"}
_DEFINITIONS = ("$defs", "definitions")
_LISTS = (list, collections.abc.Sequence, collections.abc.Collection, collections.abc.Iterable)
_LONGEST_NAME = 64  # characters, as OpenAI has it
# How a list begins that came without the object around it.
_BARE_LIST = re.compile(r"\ufeff?\s*(?:```\w*\s*)?\[")
_TO_ELSEWHERE = re.compile(r'"\$ref": "#(?!/\$defs/|/definitions/)')
_object_class: Any = TypedDict  # made at run time, which type checkers do not know
_CUT: dict[str | None, str] = {
    "length": "it was cut off at the limit of tokens: finish reason length; raise max_tokens",
    "content_filter": "it was cut off by the provider's filter: finish reason content_filter",
    "cancelled": "it was stopped before it was whole",
    "error": "it failed before it was whole",
    None: "it is not whole yet",
}


def output_of(wanted: Any) -> Output | None:
    """Return the output that ``response_format=`` asks for; ``None`` for a shape that says nothing of the reply's JSON.

    Args:
        wanted: a class, ``list[...]`` or any other type hint, a JSON schema, or a shape of OpenAI's.

    Raises:
        ConfigError: it is no type for output.
    """
    if isinstance(wanted, Output):
        return wanted
    if isinstance(wanted, Mapping):
        if _is_schema(wanted):
            return Output(wanted, _Form.of_schema(wanted, wrap=True), _named(wanted.get("title", "")))
        form = wanted.get("json_schema") if wanted.get("type") == "json_schema" else None
        schema = form.get("schema") if isinstance(form, Mapping) else None
        if not isinstance(form, Mapping) or not isinstance(schema, Mapping):
            return None
        return Output(wanted, _Form.of_schema(schema, wrap=False), str(form.get("name", "output")), dict(wanted))
    if wanted in (Any, object, None, type(None)) or not _is_type(wanted):
        raise ConfigError(
            f"response_format is a class such as a dataclass, a type such as list[Invoice], a JSON schema, or a dict "
            f"such as {{'type': 'json_object'}}, not {wanted.__name__ if isinstance(wanted, type) else shown(wanted)}"
        )
    try:
        hash(wanted)
    except TypeError:  # ``Annotated`` with a dict, for example
        return _output_of_type.__wrapped__(wanted)
    return _output_of_type(wanted)


@functools.lru_cache(maxsize=256)  # a list type takes 1 ms
def _output_of_type(hint: Any) -> Output:
    return Output(hint, _Form.of_type(hint), _named(_name(hint)))


@attrs.frozen
class _Form:
    """The form of a type's values. Each type is one of Python, or a JSON schema as a dict.

    Attributes:
        hint: the type.
        asked: the type of the object that is asked for; ``hint`` if that is one.
        schema: the JSON schema of that.
        element: the type of the elements of a list; ``None`` for what is no list.
        wrapped: the key under which the value stands in the object; ``None`` if it is the object.
    """

    hint: Any
    asked: Any
    schema: dict[str, Any]
    element: Any = None
    wrapped: str | None = None

    @staticmethod
    def of_type(hint: Any) -> _Form:
        """Return the form of a Python type."""
        schema, element = schema_of(hint), _element(hint)
        if schema.get("type") == "object":
            return _Form(hint, hint, schema)
        key = "value" if element is None else "items"
        # A class for the object around it, and not a dict around its schema: definitions stay at the root.
        asked = _object_class("Output", {key: hint})
        return _Form(hint, asked, schema_of(asked), element, key)

    @staticmethod
    def of_schema(given: Mapping[str, Any], *, wrap: bool) -> _Form:
        """Return the form of values that a JSON schema describes.

        Args:
            given: the schema.
            wrap: whether a value that is no object is asked for inside of one.
        """
        schema, items = dict(given), given.get("items")
        schema_check(schema)  # raises a ConfigError for what is no schema
        is_list = schema.get("type") == "array" and isinstance(items, Mapping)
        element = {**_definitions(schema), **items} if is_list and items is not None else None
        if not wrap or schema.get("type") == "object" or "properties" in schema:
            return _Form(schema, schema, schema, element)
        key = "value" if element is None else "items"
        asked = _wrapped(schema, key)
        return _Form(schema, asked, asked, element, key)


class Output:
    """The type of a reply, and how it is asked for.

    Pickled, it is what it was made of. So it pickles if that does.

    Attributes:
        name: of the type, for the provider and for errors.
        wrapped: the key under which the value stands in the object that is asked for; ``None`` if it is that object.
        is_list: whether it is a list of elements of one type, see ``item``.
        response_format: what providers are asked for, in OpenAI's shape. It is strict where the schema allows it.
    """

    def __init__(self, wanted: Any, form: _Form, name: str, response_format: dict[str, Any] | None = None) -> None:
        self._wanted = wanted
        self._form = form
        self.name = name
        self.wrapped = form.wrapped
        self.is_list = form.element is not None
        self.response_format = response_format or _asked(name, form.schema)

    def __reduce__(self) -> tuple[Callable[[Any], Output | None], tuple[Any]]:
        return output_of, (self._wanted,)

    def __repr__(self) -> str:
        return f"<Output {self.name}>"

    def parse(self, text: str) -> Any:
        """Return the instance that a whole text has.

        Raises:
            InvalidOutputError: it does not fit; without ``partial``.
        """
        bare = self.wrapped == "items" and _BARE_LIST.match(text)
        try:
            if bare or self.wrapped is None:
                return read_value(self._form.hint, text)
            return read_value(self._form.asked, text)[self.wrapped]
        except InvalidValueError as error:
            raise self._invalid(error.problems, text) from error.__cause__

    def parsed(self, completion: Completion) -> Any:
        """Return the instance that a reply has.

        Raises:
            InvalidOutputError: it does not fit, it is a refusal, or it was cut off.
        """
        try:
            self._check(completion)
            return self.parse(completion.text)
        except InvalidOutputError as error:
            error.partial = completion
            raise

    def _check(self, completion: Completion) -> None:
        reason = completion.finish_reason
        if completion.refusal:
            why = f"the model refused: {completion.refusal}"
        elif reason in _CUT or not completion.complete:
            why = _CUT.get(reason, _CUT[None])
        elif completion.tool_calls and not completion.text.strip():
            why = "the model called tools instead of answering"
        else:
            return
        raise InvalidOutputError(f"the reply has no {self.name}: {why}", text=completion.text)

    def plain(self, text: str) -> Any:
        """Return the value of a whole text as JSON types, repaired but not validated; ``NOTHING`` if it is no JSON."""
        try:
            value = read_value(Any, text)
        except InvalidValueError:
            return NOTHING
        return value.get(self.wrapped, NOTHING) if self.wrapped and isinstance(value, dict) else value

    def item(self, value: Any, number: int) -> Any:
        """Return the instance of an element.

        Args:
            value: the element, as JSON types.
            number: of the element, from 0.

        Raises:
            InvalidOutputError: it is not valid; without ``partial`` and ``text``.
        """
        try:
            return converted(value, self._form.element)
        except InvalidValueError as error:
            place = f"{self.wrapped or ''}[{number}]"
            raise self._invalid([_inside(place, problem) for problem in error.problems], "") from error.__cause__

    def _invalid(self, problems: collections.abc.Sequence[Problem], text: str) -> InvalidOutputError:
        told = "; ".join(map(str, problems))
        return InvalidOutputError(f"the reply does not fit {self.name}: {told}", problems=problems, text=text)


def _asked(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    try:
        form = {"name": name, "schema": strict_schema(schema), "strict": True}
    except ConfigError:  # strict mode cannot say it, such as an object with any keys
        form = {"name": name, "schema": schema, "strict": False}
    return {"type": "json_schema", "json_schema": form}


def _is_schema(shape: Mapping[str, Any]) -> bool:
    kind = shape.get("type")
    if kind is None:
        return not _SCHEMA_KEYWORDS.isdisjoint(shape)
    return isinstance(kind, list) or (isinstance(kind, str) and kind in _JSON_TYPES)


def _is_type(wanted: Any) -> bool:
    """Return whether it is a class, ``list[...]``, a union, or anything else that can be an annotation."""
    known = isinstance(wanted, (type, types.UnionType)) or get_origin(wanted) is not None
    return known or hasattr(wanted, "__supertype__") or hasattr(wanted, "__value__")


def _element(hint: Any) -> Any:
    """Return the type of a list's elements; ``None`` for what is no list."""
    hint = _bare(hint)
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin in _LISTS:
        return arguments[0] if arguments else Any
    return arguments[0] if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis else None


def _wrapped(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the schema of an object with one value; what the value refers to stays at the root."""
    if _TO_ELSEWHERE.search(json.dumps(schema, default=str)):
        raise ConfigError(
            "a JSON schema that is no object is put into one, so it can refer to its $defs alone, not to its root"
        )
    inner = {name: value for name, value in schema.items() if name not in _DEFINITIONS}
    whole = {"type": "object", "properties": {key: inner}, "required": [key], "additionalProperties": False}
    return {**whole, **_definitions(schema)}


def _definitions(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: schema[name] for name in _DEFINITIONS if name in schema}


def _name(hint: Any) -> str:
    element = _element(hint)
    if element is not None:
        return f"list_of_{_name(element)}"
    hint = _bare(hint)
    kind = get_origin(hint) or hint
    if kind is Any:  # no class before Python 3.11
        return "Any"
    return kind.__name__ if isinstance(kind, type) and kind not in (Union, types.UnionType) else ""


def _bare(hint: Any) -> Any:
    """Return a type without its ``Annotated``, and what a ``NewType`` or an alias stands for."""
    while True:
        if get_origin(hint) is Annotated:
            hint = hint.__origin__
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif hasattr(hint, "__value__") and not get_args(hint):
            hint = hint.__value__
        else:
            return hint


def _named(name: object) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", str(name)).strip("_")[:_LONGEST_NAME] or "output"


def _inside(place: str, problem: Problem) -> Problem:
    path = problem.path
    return attrs.evolve(problem, path=place + path if not path or path.startswith("[") else f"{place}.{path}")
