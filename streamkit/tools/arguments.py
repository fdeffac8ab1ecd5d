"""Arguments that a model wrote -> what the function asks for, or one error that the model can act on: ``bind``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from streamkit.tools.converting.containers import Array
from streamkit.tools.converting.converter import Converter, Walk
from streamkit.tools.converting.making import made
from streamkit.tools.converting.objects import Field, converted_fields, unexpected
from streamkit.tools.converting.unions import Nullable
from streamkit.tools.json_schema import schema_check
from streamkit.tools.problems import Finding, InvalidValueError, Refused, came, short
from streamkit.tools.repairs import AROUND, value_of

if TYPE_CHECKING:
    from streamkit.tools.signature import Parameter

__all__ = ["Binder", "Bound", "InvalidArgumentsError", "SchemaBinder", "bind", "bind_by_schema"]

_MOST_KEPT = 1024  # binders, after which all are made anew
_LONGEST_EXPECTED = 1000  # characters of the list of parameters in an error
_LONGEST_DEFAULT = 40  # characters
_WITH_EXPECTED = frozenset({"missing", "unexpected", "not_an_object"})  # kinds whose error lists the parameters
_EMPTY = inspect.Parameter.empty
_POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
_ONE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class InvalidArgumentsError(InvalidValueError):
    """Arguments that a model wrote do not fit the function. ``str()`` is the text for the model.

    Attributes:
        problems: all that is wrong, each with its path.
        kind: of the first problem: ``invalid_json``, ``not_an_object``, ``missing``, ``unexpected``, ``type``,
            ``value`` or ``constraint``.
    """

    _subject = "Invalid arguments"


@attrs.frozen
class Bound:
    """Arguments, ready for the call ``function(*args, **kwargs)``.

    Attributes:
        args: those that have to be given by position. Defaults stand in for what was left out before them.
        kwargs: the others.
        arguments: all that were given, by the names of the parameters: those of ``*rest`` as a tuple, those of
            ``**more`` as a dict.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    arguments: dict[str, Any]


def bind(parameters: Sequence[Parameter], text: str, *, name: str = "") -> Bound:
    """Read the arguments of a call.

    Args:
        parameters: of the function, without the context.
        text: the JSON text that the model wrote. Empty and ``null`` mean no arguments.
        name: the tool's, for the error's text.

    Raises:
        InvalidArgumentsError: with all problems. Nothing else, whatever the text is.
        ConfigError: no JSON value can become the type of a parameter.
    """
    if not isinstance(parameters, tuple):  # a list may change
        return Binder(parameters, name).bind(text)
    key = (id(parameters), name)
    kept = _kept.get(key)
    if kept is None:
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        kept = _kept[key] = (parameters, Binder(parameters, name))
    return kept[1].bind(text)


# Parameters may have no hash, as defaults may have none. They are kept with their binder, so that no id is used again.
_kept: dict[tuple[int, str], tuple[Sequence[Parameter], Binder]] = {}


def bind_by_schema(schema: dict[str, Any], text: str, *, name: str = "") -> Bound:
    """Read the arguments of a call to a tool that has a JSON schema; all of them become keyword arguments.

    Raises:
        InvalidArgumentsError: with all problems.
        ConfigError: the schema is wrong, or refers to one that is not in it.
    """
    return SchemaBinder(schema, name).bind(text)


class Binder:
    """Reads the arguments of one function. Made once a function.

    Args:
        parameters: without the context.
        name: the tool's, for the errors' texts.

    Raises:
        ConfigError: no JSON value can become the type of a parameter.

    Threads: any.
    """

    def __init__(self, parameters: Sequence[Parameter], name: str = "") -> None:
        kinds = [made(each.hint) for each in parameters]
        self._exact = any(each.exact for each in kinds)
        self._parameters = tuple(parameters)
        fields = tuple(
            Field(each.name, each.name, _or_default(kind.converter, each.default), each.default is _EMPTY)
            for each, kind in zip(parameters, kinds, strict=True)
            if each.kind in _ONE
        )
        self._rest: Field | None = None
        self._more: Field | None = None
        for each, kind in zip(parameters, kinds, strict=True):
            if each.kind is inspect.Parameter.VAR_POSITIONAL:
                self._rest = Field(each.name, each.name, Array(kind.converter, None), required=False)
            elif each.kind is inspect.Parameter.VAR_KEYWORD:
                self._more = Field(each.name, each.name, kind.converter, required=False)
        self._fields = fields + ((self._rest,) if self._rest else ())
        self._keys = [field.key for field in self._fields]
        self._by_keyword = all(each.kind is not _POSITIONAL_ONLY for each in parameters) and self._rest is None
        self._subject = f"Invalid arguments for {name}" if name else ""

    def bind(self, text: str) -> Bound:
        """Read arguments; see ``bind``."""
        try:
            return self._bound(_object_of(text, self._exact))
        except Refused as refused:
            raise self._error(refused) from refused.cause
        except RecursionError:  # the caller's own stack is deep
            raise self._error(Refused.of("invalid_json", "The JSON is nested too deep")) from None

    def _bound(self, given: dict[str, Any]) -> Bound:
        walk = Walk.repairing(self._exact)
        arguments, findings = converted_fields(self._fields, given, walk)
        more: dict[str, Any] = {}
        if len(given) > sum(key in given for key in self._keys):
            if self._more is None:
                findings += unexpected(given, self._keys)
            else:
                more = self._further(given, self._more.converter, walk, findings)
        if findings:
            raise Refused(findings)
        if self._by_keyword and not more:
            return Bound((), arguments, dict(arguments))
        return self._by_position(arguments, more)

    def _further(
        self, given: dict[str, Any], converter: Converter, walk: Walk, findings: list[Finding]
    ) -> dict[str, Any]:
        """Convert what no parameter is named after, for ``**more``."""
        more = {}
        for name, item in given.items():
            if name not in self._keys:
                try:
                    more[name] = converter.convert(item, walk)
                except Refused as refused:
                    findings += refused.under(name)
        return more

    def _by_position(self, arguments: dict[str, Any], more: dict[str, Any]) -> Bound:
        rest = tuple(arguments.pop(self._rest.key, ())) if self._rest else ()
        kwargs = dict(arguments)
        positional = [
            each
            for each in self._parameters
            if each.kind is _POSITIONAL_ONLY or (rest and each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD)
        ]
        while positional and not rest and positional[-1].name not in arguments:
            positional.pop()  # what comes last may be left out
        args = tuple(kwargs.pop(each.name, each.default) for each in positional)
        if self._rest and rest:
            arguments[self._rest.key] = rest
        if self._more and more:
            arguments[self._more.key] = more
        return Bound(args + rest, {**kwargs, **more}, arguments)

    def _error(self, refused: Refused) -> InvalidArgumentsError:
        needs_expected = any(finding.kind in _WITH_EXPECTED for finding in refused.findings)
        expected = self._expected() if needs_expected else ""
        return InvalidArgumentsError(refused.problems(), self._subject, expected)

    def _expected(self) -> str:
        """Return the parameters in words: ``city (string, required), days (integer, default 1)``."""
        words = []
        defaults = {each.name: each.default for each in self._parameters}
        for field in self._fields:
            presence = "required" if field.required else _default_text(defaults[field.key])
            words.append(f"{field.key} ({_without_article(field.converter.wanted)}, {presence})")
        if self._more:
            words.append(f"any other keys ({_without_article(self._more.converter.wanted)})")
        text = ", ".join(words) or "no arguments"
        return text if len(text) <= _LONGEST_EXPECTED else f"{text[:_LONGEST_EXPECTED]}..."


class SchemaBinder:
    """Reads the arguments of one tool that has a JSON schema. Made once a tool.

    Raises:
        ConfigError: the schema is wrong, or refers to one that is not in it.

    Threads: any.
    """

    def __init__(self, schema: dict[str, Any], name: str = "") -> None:
        self._check = schema_check(schema)
        self._subject = f"Invalid arguments for {name}" if name else ""

    def bind(self, text: str) -> Bound:
        """Read arguments; see ``bind_by_schema``."""
        try:
            arguments = self._bound(_object_of(text, exact=False))
        except Refused as refused:
            raise InvalidArgumentsError(refused.problems(), self._subject) from refused.cause
        except RecursionError:
            problems = Refused.of("invalid_json", "The JSON is nested too deep").problems()
            raise InvalidArgumentsError(problems, self._subject) from None
        return Bound((), arguments, dict(arguments))

    def _bound(self, given: dict[str, Any]) -> dict[str, Any]:
        unknown = self._check.unknown(given)
        try:
            arguments: dict[str, Any] = self._check.repaired(given)
        except Refused as refused:
            raise Refused(refused.findings + unknown) from None
        if unknown:
            raise Refused(unknown)
        return arguments


def _or_default(converter: Converter, default: Any) -> Converter:
    """Return a converter that takes null where the default is None, whatever the annotation says."""
    return Nullable(converter) if default is None and "null" not in converter.kinds else converter


def _object_of(text: str, exact: bool) -> dict[str, Any]:
    """Return the object that the text is.

    Raises:
        Refused: it is none.
    """
    if not text.strip(AROUND):
        return {}
    value = value_of(text, exact=exact, subject="The text of the arguments")
    if type(value) is dict:
        return value
    if value is None:
        return {}
    if type(value) is str and value.lstrip(AROUND).startswith(("{", "```")):  # encoded twice
        held = value_of(value, exact=exact, subject="The JSON object in the string of the arguments")
        if type(held) is dict:
            return held
    raise Refused.of("not_an_object", f"The arguments must be a JSON object with a key for each, got {came(value)}")


def _without_article(wanted: str) -> str:
    for article in ("an ", "a "):
        if wanted.startswith(article):
            return wanted[len(article) :]
    return wanted


def _default_text(default: Any) -> str:
    """Return a default in JSON; "optional" where JSON cannot say it in short."""
    if default is not None and type(default) not in (str, int, float, bool):
        return "optional"
    text = short(default, _LONGEST_DEFAULT)
    return f"default {text}" if len(text) <= _LONGEST_DEFAULT else "optional"
