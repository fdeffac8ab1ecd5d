"""Replies that must be JSON: ``JsonValid`` and ``JsonSchema``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from streamkit.concurrency.late_import import forks_wait, late_import
from streamkit.errors import ConfigError
from streamkit.validators.json_scanner import JsonScanner
from streamkit.validators.validator import Checker, Stepwise, Verdict, seen
from streamkit.values.json_text import MAX_STRUCTURE, checked

__all__ = ["JsonSchema", "JsonValid"]

# A fenced block of Markdown; the word after the first fence is its language.
_FENCED = re.compile(r"```(?:[\w+-]*[ \t]*\r?\n|json\b)?(.*?)```", re.DOTALL)
_BRACKETS = re.compile(r'[{}\[\]"]')
_STRING_END = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_REASON = 200  # characters of an error of the schema that a reason quotes


class JsonValid(Stepwise):
    """A reply must be JSON (RFC 8259), of any kind of value. All of it is held back until its end.

    A reply that cannot become JSON any more fails at once.

    Args:
        allow_wrapped: take the first fenced block of Markdown, if there is one.
        extract: take the first object or array whose brackets close, if there is one. With either, only the end tells.
        options: ``name``, ``on_violation``, ``replacement``, ``direction``; see ``Validator``.

    Raises:
        ConfigError: an option is wrong.
    """

    kind = "json_valid"
    whole = True

    def __init__(self, *, allow_wrapped: bool = False, extract: bool = False, **options: Any) -> None:
        super().__init__(**options)
        for name, given in (("allow_wrapped", allow_wrapped), ("extract", extract)):
            if not isinstance(given, bool):
                raise ConfigError(f"{self.name}: {name} is True or False, not {given!r}")
        self.allow_wrapped = allow_wrapped
        self.extract = extract

    def begin(self) -> Checker:
        """Return what judges the next text."""
        if self.allow_wrapped or self.extract:
            return _WrappedChecker(self)
        return _JsonChecker(self)

    def _found(self, text: str) -> str:
        """Return the part of a whole text that is to be JSON."""
        if self.allow_wrapped:
            match = _FENCED.search(text)
            if match is not None and match[1].strip():
                text = match[1]
        return (_balanced(text) or text) if self.extract else text

    def _problem(self, text: str) -> str | None:
        """Return what is wrong with a text that is JSON."""
        return None

    @property
    def _keeps_text(self) -> bool:
        return False


class JsonSchema(JsonValid):
    """A reply must be JSON that fits a schema. All of it is held back until its end.

    Args:
        schema: of the draft that its ``$schema`` names, else 2020-12. Nothing outside of it is fetched.
        allow_wrapped: take the first fenced block of Markdown, if there is one.
        extract: take the first object or array whose brackets close, if there is one.
        options: ``name``, ``on_violation``, ``replacement``, ``direction``; see ``Validator``.

    Raises:
        ConfigError: the schema or an option is wrong.
    """

    kind = "json_schema"

    def __init__(self, schema: Mapping[str, Any] | bool, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(schema, (Mapping, bool)):
            raise ConfigError(f"{self.name}: schema is a JSON schema as a dict, not {type(schema).__name__}")
        own: Any = dict(schema) if isinstance(schema, Mapping) else schema
        with forks_wait():
            jsonschema = late_import("jsonschema")
            registry = late_import("referencing").Registry()  # one that fetches nothing; the default one does
            kind = jsonschema.validators.validator_for(own, default=jsonschema.Draft202012Validator)
            try:
                kind.check_schema(own)
            except jsonschema.SchemaError as error:
                place = "".join(f"/{part}" for part in error.absolute_path)
                raise ConfigError(f"{self.name}: the schema is wrong at {place or '/'}: {error.message}") from None
            self._validator = kind(own, registry=registry)
        self._unresolved = late_import("referencing.exceptions").Unresolvable
        self.schema = schema

    def _problem(self, text: str) -> str | None:
        try:
            if len(text) > MAX_STRUCTURE:
                checked(text)  # what would hold the interpreter for long is not decoded
            value = json.loads(text, parse_int=_number, parse_constant=_refuse)
            error = next(self._validator.iter_errors(value), None)
        except self._unresolved as failure:
            raise ConfigError(
                f"{self.name}: the schema refers to {getattr(failure, 'ref', failure)}, which is not in it; "
                "nothing is fetched"
            ) from None
        except (RecursionError, ArithmeticError, ValueError) as failure:
            return f"it cannot be held against the schema: {type(failure).__name__}"
        if error is None:
            return None
        message = error.message if len(error.message) <= _REASON else f"{error.message[:_REASON]}..."
        return f"it does not fit the schema at {error.json_path}: {message}"

    @property
    def _keeps_text(self) -> bool:
        return True


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) < 1000 else float(digits)  # int() refuses some thousand digits


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


class _JsonChecker(Checker):
    def __init__(self, validator: JsonValid) -> None:
        self._validator = validator
        self._scanner = JsonScanner()
        self._length = 0
        self._pieces: list[str] | None = [] if validator._keeps_text else None

    def add(self, piece: str, final: bool) -> Verdict:
        wrong = self._scanner.add(piece)
        if wrong is not None:
            return Verdict(0, f"it is no JSON: {piece[wrong]!r} cannot be at character {self._length + wrong}")
        self._length += len(piece)
        if self._pieces is not None:
            self._pieces.append(piece)
        if not final:
            return seen(0)
        if not self._scanner.whole:
            return Verdict(0, "it is no JSON: it ends too early")
        problem = self._validator._problem("".join(self._pieces)) if self._pieces is not None else None
        return Verdict(self._length if problem is None else 0, problem)


class _WrappedChecker(Checker):
    """Collects the text, and looks at its end for what is to be JSON."""

    def __init__(self, validator: JsonValid) -> None:
        self._validator = validator
        self._pieces: list[str] = []

    def add(self, piece: str, final: bool) -> Verdict:
        self._pieces.append(piece)
        if not final:
            return seen(0)
        text = "".join(self._pieces)
        verdict = _JsonChecker(self._validator).add(self._validator._found(text), final=True)
        return verdict if verdict.violation else Verdict(len(text))


def _balanced(text: str) -> str | None:
    """Return the first object or array whose brackets close, or ``None``.

    A bracket of prose may stay open: then it is the first one after it that closes. Each character is read once.
    """
    opened: list[tuple[str, int]] = []
    closed: list[tuple[int, int]] = []  # inside of those that are open, none inside of another
    position = 0
    while (match := _BRACKETS.search(text, position)) is not None:
        position = match.end()
        bracket = match[0]
        if bracket == '"':
            end = _STRING_END.match(text, position) if opened else match
            if end is None:
                break
            position = end.end()
        elif bracket in "{[":
            opened.append(("}" if bracket == "{" else "]", match.start()))
        elif opened and opened[-1][0] == bracket:
            start = opened.pop()[1]
            if not opened:
                return text[start:position]
            while closed and closed[-1][0] > start:
                closed.pop()
            closed.append((start, position))
    return text[slice(*closed[0])] if closed else None
