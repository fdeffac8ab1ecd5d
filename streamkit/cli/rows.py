"""Rows of CSV and of JSON lines, read one by one, and what is asked of each."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, BinaryIO

import attrs
import click

from streamkit.batch.requests import BatchRequest
from streamkit.cli.output import one_line
from streamkit.errors import ConfigError
from streamkit.providers.call import messages_of
from streamkit.values.messages import Message
from streamkit.values.template import Kind, fill_in, pieces_of

__all__ = ["Row", "Rows", "Writer", "columns_of", "template_in"]

_MOST_SHOWN = 20  # names of columns in an error


@attrs.frozen
class Row:
    """A row.

    Attributes:
        place: where it is, for errors.
        columns: its values by name.
    """

    place: str
    columns: Mapping[str, Any] = attrs.field(repr=False)


class Rows:
    """The rows of a file, one after another; it knows about how many are left.

    CSV has its names in the first row. A line of JSON is an object, a text, which is the column ``prompt``, or a list
    of messages, which is the column ``messages``. A line of text is the column ``prompt``.

    Args:
        path: of the file; ``-`` for standard input.
        kind: ``csv``, ``tsv``, ``jsonl`` or ``txt``.

    Attributes:
        names: those of the columns; of JSON lines, those of the first row.

    Raises:
        click.UsageError: the file cannot be read, or is empty.
    """

    def __init__(self, path: str, kind: str) -> None:
        self._path = path
        self._count = 0
        self._position = 0  # bytes read
        self._header: tuple[str, ...] = ()
        try:
            self._file: BinaryIO = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115 - see close()
        except OSError as error:
            raise click.UsageError(f"cannot read {one_line(path)}: {error.strerror or error}") from None
        self._size = 0 if path == "-" else os.fstat(self._file.fileno()).st_size
        self._rows = self._of_csv("\t" if kind == "tsv" else ",") if kind in ("csv", "tsv") else self._of_lines(kind)
        try:
            self._first = next(self._rows, None)
        except BaseException:
            self.close()
            raise
        if self._first is None:
            self.close()
            raise click.UsageError(f"{one_line(path)} has no rows")
        self.names = self._header or tuple(self._first.columns)

    def check(self, option: str, names: Iterable[str]) -> None:
        """Refuse a name that no row can have. Of JSON lines each row has its own names.

        Raises:
            click.UsageError: there is no such column.
        """
        for name in names:
            if self._header and name not in self._header:
                raise click.UsageError(
                    f"{option}: {one_line(self._path)} has no column {one_line(name)}; it has {_listed(self._header)}"
                )

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        row, self._first = self._first, None
        if row is None:
            row = next(self._rows)
        self._count += 1
        return row

    def __length_hint__(self) -> int:
        """Return about how many rows are left, by the length of those that were read."""
        if not self._size:
            return NotImplemented  # type: ignore[no-any-return]
        read = self._count + (self._first is not None)
        left = (self._size - self._position) * read / max(1, self._position)
        return max(0, round(left)) + read - self._count

    def close(self) -> None:
        """Close the file."""
        if self._path != "-":
            self._file.close()

    def _lines(self) -> Iterator[tuple[int, str]]:
        with closing(self):
            for number, line in enumerate(self._file, 1):
                self._position += len(line)
                try:
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError:
                    raise ConfigError(f"{self._place(number)} is no text in UTF-8") from None

    def _place(self, number: int) -> str:
        return f"{one_line(self._path)}, line {number}"

    def _of_lines(self, kind: str) -> Iterator[Row]:
        for number, line in self._lines():
            if line.strip():
                columns = self._columns(number, line) if kind == "jsonl" else {"prompt": line.rstrip("\r\n")}
                yield Row(self._place(number), columns)

    def _columns(self, number: int, line: str) -> dict[str, Any]:
        try:
            shape = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{self._place(number)} is no JSON: {error}") from None
        if isinstance(shape, dict):
            return shape
        if not isinstance(shape, (str, list)):
            raise ConfigError(f"{self._place(number)} is neither an object nor a text nor a list of messages")
        return {"prompt" if isinstance(shape, str) else "messages": shape}

    def _of_csv(self, delimiter: str) -> Iterator[Row]:
        csv.field_size_limit(2**31 - 1)  # Python's own limit is less than a long text
        number = 0

        def lines() -> Iterator[str]:
            nonlocal number
            for number, line in self._lines():  # noqa: B007 - for those who ask where it is
                yield line

        rows = csv.reader(lines(), delimiter=delimiter, strict=True)
        try:
            names = next(rows, [])
            if len(set(names)) != len(names):
                raise ConfigError(f"{self._place(1)}: two columns have one name")
            self._header = tuple(names)
            begin = number + 1
            for cells in rows:
                if len(cells) > len(names):
                    raise ConfigError(
                        f"{self._place(begin)} has {len(cells)} cells, and there are {len(names)} columns"
                    )
                if cells:
                    yield Row(self._place(begin), dict(zip(names, cells, strict=False)))
                begin = number + 1
        except csv.Error as error:
            raise ConfigError(f"{self._place(number)} is no CSV: {error}") from None


@attrs.frozen
class Writer:
    """Writes the request for a row.

    Attributes:
        template: of the user's message; "" for the column ``prompt`` or ``messages``.
        system: the template of the system prompt, or "".
    """

    template: str
    system: str

    def __call__(self, row: Row, key: object = None) -> BatchRequest:
        """Return the request.

        Raises:
            ConfigError: the row lacks a column.
        """
        system = [Message("system", _filled(self.system, row))] if self.system else []
        if self.template:
            return BatchRequest(messages_of([*system, Message("user", _filled(self.template, row))]))
        if (messages := row.columns.get("messages")) is not None:
            return BatchRequest([*messages_of(system or "-")[: len(system)], *messages_of(messages)])
        prompt = row.columns.get("prompt")
        if not isinstance(prompt, str):
            raise ConfigError(
                f"{row.place} has no prompt: without --template a row has a column prompt or messages; "
                f"this one has {_names(row)}"
            )
        return BatchRequest(messages_of([*system, Message("user", prompt)]))


def _filled(template: str, row: Row) -> str:
    for kind, name in pieces_of(template):
        if kind is Kind.NAME and row.columns.get(name) is None:
            raise ConfigError(f"{row.place} has nothing for {{{{{name}}}}}; it has {_names(row)}")
    return fill_in(template, row.columns)


def _names(row: Row) -> str:
    return _listed(row.columns)


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(one_line(str(name)) for name in list(names)[:_MOST_SHOWN]) or "nothing"


def columns_of(template: str) -> list[str]:
    """Return the names of the columns that stand in a template."""
    return [name for kind, name in pieces_of(template) if kind is Kind.NAME]


def template_in(given: str | None, option: str) -> str:
    """Return a template: the text of a file, or what is given itself.

    Raises:
        click.UsageError: it has a placeholder that is none, is empty, or is neither a file nor has a placeholder.
    """
    if given is None:
        return ""
    text = given
    if len(given) < 1000 and os.path.isfile(given):
        try:
            with open(given, encoding="utf-8-sig") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"{option}: cannot read {one_line(given)}: {error}") from None
    kinds = {kind for kind, _ in pieces_of(text)}
    if kinds - {Kind.TEXT, Kind.NAME}:
        raise click.UsageError(f"{option}: a placeholder is written {{{{column}}}}, with letters, digits and _")
    if option == "--template" and Kind.NAME not in kinds:
        raise click.UsageError(f"{option}: {one_line(given[:60])!r} is no file, and has no {{{{column}}}} in it")
    return text
