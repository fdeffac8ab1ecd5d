"""The files that ``streamkit batch`` writes: JSON lines with the rows in them, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from streamkit.batch.json_lines import JsonLines
from streamkit.batch.saving import Entry, NotOfABatchError, Record, TornError
from streamkit.cli.rows import Row
from streamkit.errors import ConfigError
from streamkit.values.completion import Completion
from streamkit.wire.loose_json import as_json

__all__ = ["CsvResults", "RowLines"]


class RowLines(JsonLines):
    """JSON lines that have the ``row`` as well, the ``reply``, and, where a type was asked for, ``parsed``."""

    def columns(self, prompt: Row, completion: Completion | None, error: Exception | None) -> dict[str, Any]:
        """Return the fields of the row."""
        fields: dict[str, Any] = {"row": prompt.columns}
        if completion is not None:
            fields["reply"] = completion.text
            parsed = completion.parsed
            if parsed is not None:
                fields["parsed"] = parsed
        return fields


class CsvResults:
    """CSV with the columns of the rows, and those of the results after them.

    The last column is for a second run: place, digest and key.

    Args:
        names: the columns of the rows.
        typed: the fields of the type that was asked for; none for a column ``reply``.
    """

    def __init__(self, names: Sequence[str], typed: Sequence[str]) -> None:
        self._names = tuple(names)
        self._typed = tuple(typed)
        ours = [*(typed or ["reply"]), "error", "finish_reason", "input_tokens", "output_tokens", "cost", "streamkit"]
        self._columns = [*names]
        for name in ours:
            while name in self._columns:
                name = f"reply_{name}"
            self._columns.append(name)
        self._error = len(self._columns) - 6
        self._reply = len(self._names)
        self.head = _line(self._columns)

    def records(self, file: BinaryIO) -> Iterator[Record]:
        """See ``Form``."""
        csv.field_size_limit(2**31 - 1)
        start = end = self._after_head(file)
        if not start:
            return
        yield Record(0, start, None)
        whole = True

        def lines() -> Iterator[str]:
            nonlocal end, whole
            for line in file:
                end += len(line)
                whole = line.endswith(b"\n")
                yield line.decode("utf-8", "replace")

        rows = csv.reader(lines(), strict=True)
        while True:
            try:
                cells = next(rows, None)
            except csv.Error:
                if file.read(1):
                    raise NotOfABatchError("a row of it is something else") from None
                raise TornError from None
            if cells is None:
                return
            if not whole:
                raise TornError
            yield Record(start, end, self._entry(cells))
            start = end

    def _after_head(self, file: BinaryIO) -> int:
        """Read the head, and return its length; 0 for an empty file."""
        head = file.read(len(self.head))
        if head == self.head:
            return len(head)
        if not self.head.startswith(head):
            raise NotOfABatchError("its columns are others")
        if head:
            raise TornError
        return 0

    def _entry(self, cells: list[str]) -> Entry:
        place, _, rest = cells[-1].partition(" ")
        digest, _, key = rest.partition(" ")
        if len(cells) != len(self._columns) or not place.isdecimal() or not digest:
            raise NotOfABatchError("a row of it is something else")
        try:
            cost = float(cells[-2]) if cells[-2] else None
        except ValueError:
            cost = None
        return Entry(int(place), digest, key, not cells[self._error], cost)

    def encode(self, entry: Entry, prompt: Row, completion: Completion | None, error: Exception | None) -> bytes:
        """See ``Form``."""
        cells: list[Any] = [prompt.columns.get(name) for name in self._names]
        if len(prompt.columns.keys() - self._names):
            other = min(map(str, prompt.columns.keys() - self._names))
            raise ConfigError(
                f"{prompt.place} has {other!r}, which the first row has not, so that CSV has no column for it: "
                "write JSON lines"
            )
        if completion is None:
            cells += [None] * (len(self._typed) or 1)
        elif self._typed:
            parsed = completion.parsed
            cells += [parsed.get(name) if isinstance(parsed, Mapping) else None for name in self._typed]
        else:
            cells.append(completion.text)
        said = "" if error is None else f"{type(error).__name__}: {error}"
        usage = None if completion is None else completion.usage
        cells += [
            said,
            completion and completion.finish_reason,
            usage and usage.input_tokens,
            usage and usage.output_tokens,
            "" if entry.cost is None else f"{entry.cost:.9f}",
            " ".join(filter(None, (str(entry.index), entry.digest, entry.key))),
        ]
        return _line(cells)

    def decode(self, record: bytes) -> tuple[Entry, Completion]:
        """See ``Form``: of a reply it has the text alone."""
        cells = next(csv.reader(io.StringIO(record.decode("utf-8", "replace"), newline=""), strict=True))
        return self._entry(cells), Completion(text="" if self._typed else cells[self._reply], finish_reason="stop")


def _line(cells: Sequence[Any]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow([_cell(cell) for cell in cells])
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else as_json(value)
    return text.replace("\0", "")  # which CSV cannot have
