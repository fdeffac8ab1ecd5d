"""Results as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import attrs
import msgspec

from streamkit.batch.saving import Entry, NotOfABatchError, Record, TornError
from streamkit.values.completion import Choice, Completion
from streamkit.values.plain import to_plain
from streamkit.wire.loose_json import as_json

__all__ = ["JsonLines"]

_BEGINNING = b'{"index":'


class _Line(msgspec.Struct):
    """What is looked at in each line when a file is opened; the reply is passed over."""

    index: int
    digest: str
    answered: bool
    key: str = ""
    cost: float | None = None

    def entry(self) -> Entry:
        return Entry(self.index, self.digest, self.key, self.answered, self.cost)


class JsonLines:
    """A line of JSON for each result.

    It has ``index``, ``key``, ``digest``, ``answered``, ``cost``, ``error`` and ``completion``.

    ``completion`` is what ``Completion.to_dict`` returns, without the choices where there is one.
    """

    head = b""

    def records(self, file: BinaryIO) -> Iterator[Record]:
        """See ``Form``."""
        decoder, start = msgspec.json.Decoder(_Line), 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                if not start and line[: len(_BEGINNING)] != _BEGINNING[: len(line)]:
                    raise NotOfABatchError("its only line has no index")
                raise TornError
            end = start + len(line)
            try:
                entry = decoder.decode(line).entry()
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                raise NotOfABatchError(f"line {number} is something else") from None
            yield Record(start, end, entry)
            start = end

    def encode(self, entry: Entry, prompt: Any, completion: Completion | None, error: Exception | None) -> bytes:
        """See ``Form``."""
        shape: dict[str, Any] = {"index": entry.index}
        if entry.key:
            shape["key"] = entry.key
        shape |= {"digest": entry.digest, "answered": entry.answered, **self.columns(prompt, completion, error)}
        if entry.cost is not None:
            shape["cost"] = entry.cost
        shape["error"] = None if error is None else {"type": type(error).__name__, "message": str(error)}
        shape["completion"] = None if completion is None else _written(completion)
        return as_json(shape).encode("utf-8", "backslashreplace") + b"\n"

    def columns(self, prompt: Any, completion: Completion | None, error: Exception | None) -> dict[str, Any]:
        """Return further fields of a line."""
        return {}

    def decode(self, record: bytes) -> tuple[Entry, Completion]:
        """See ``Form``."""
        shape = json.loads(record)
        entry = msgspec.convert(shape, _Line).entry()
        completion = Completion.from_dict(shape["completion"])
        if "choices" not in shape["completion"]:
            fields = [field.name for field in attrs.fields(Choice) if field.name != "index"]
            only = Choice(0, **{name: getattr(completion, name) for name in fields})
            completion = attrs.evolve(completion, choices=(only,))
        return entry, completion


def _written(completion: Completion) -> dict[str, Any]:
    shape: dict[str, Any] = to_plain(completion)
    if len(completion.choices) == 1:
        del shape["choices"]  # the same once more
    return shape
