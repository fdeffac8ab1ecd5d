"""The JSON schema that ``--schema`` names, and the text of an answer that fits it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

from streamkit.cli.output import one_line
from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError

if TYPE_CHECKING:
    from streamkit.tools.output import Output

__all__ = ["Unwrapper", "output_in"]

_END = re.compile(r"\s*\}?\s*\Z")


def output_in(path: str) -> Output:
    """Return the type of an answer that a file has: a JSON schema, or one in the shape of OpenAI's response_format.

    Raises:
        click.UsageError: it has something else, or cannot be read; the file is named.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            shape = json.load(file)
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise click.UsageError(f"{path} is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{path} is no JSON: it is no text in UTF-8") from None
    except (ValueError, RecursionError) as error:  # such as a number or a nesting beyond reason
        raise click.UsageError(f"{path} is no JSON: {one_line(str(error))}") from None
    if not isinstance(shape, dict):
        raise click.UsageError(f'{path} is no JSON schema: a schema is an object, such as {{"type": "object", ...}}')
    form = shape.get("json_schema") if shape.get("type") == "json_schema" else None
    _check(path, form.get("schema") if isinstance(form, dict) else shape)
    try:
        output: Output | None = late_import("streamkit.tools.output").output_of(shape)
    except ConfigError as error:
        raise click.UsageError(f"{path} cannot be asked for: {error.message}") from None
    if output is None:
        raise click.UsageError(f'{path} is no JSON schema: it has no "type", such as "object"')
    return output


def _check(path: str, schema: Any) -> None:
    jsonschema = late_import("jsonschema")
    if not isinstance(schema, dict):
        raise click.UsageError(f'{path} is no JSON schema: its "json_schema" has no "schema"')
    checker = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    try:
        checker.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise click.UsageError(f"{path} is no JSON schema: {one_line(error.message)} at {error.json_path}") from None


class Unwrapper:
    """Takes the object off a value that the schema does not have, piece by piece.

    Providers want an object at the root, so a list is asked for as ``{"items": [...]}``. A text that does not begin
    with such an object stays as it is.

    Args:
        key: of the value in the object.
    """

    def __init__(self, key: str) -> None:
        self._begins = f'{{"{key}":'
        self._head = ""  # what came so far, while it may be the beginning of the object
        self._is_wrapped: bool | None = None  # None while that is open
        self._begun = False  # whether anything of the value came
        self._tail = ""  # what may be the end of the object

    def feed(self, text: str) -> str:
        """Return what is known of the value's text, given one more piece."""
        if self._is_wrapped is None:
            self._head += text
            compact = "".join(self._head.split())
            if compact.startswith(self._begins):
                self._is_wrapped = True
                text = self._head[self._head.index(":") + 1 :]
            elif self._begins.startswith(compact):
                return ""
            else:
                self._is_wrapped = False
                text = self._head
        if not self._is_wrapped:
            return text
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        text = self._tail + text
        end = _END.search(text)
        assert end is not None  # it matches the empty text too
        self._tail = text[end.start() :]
        return text[: end.start()]
