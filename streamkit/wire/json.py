"""Read and write JSON: strictly first, leniently where servers send what the standard forbids."""

from __future__ import annotations

import codecs
import dataclasses
import json
from collections.abc import Callable
from datetime import date, datetime, time
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

from streamkit.errors import ProtocolError
from streamkit.values.json_text import MAX_STRUCTURE, PassedBoundError, TooDeepError, checked, decode_strict

__all__ = ["bytes_of", "parse_event", "parse_json", "text_of", "write_json"]

_SLICE = 64 * 1024  # bytes or characters that are read or written in one call, at most 20 ms
_SHORT = 100  # characters; 16 MiB of control characters, as they may be among arguments, take 0.3 s to write
_LONGEST_INT = 4300  # digits; longer ones take time by the square of that, and msgspec refuses them
_MOST_SHOWN = 512  # characters of an excerpt


def parse_event(text: str) -> Any:
    """Decode JSON as the standard has it; called for each event, so it does no more than it must.

    Raises:
        ValueError: it is no such JSON; ``parse_json`` may still read it.
        ProtocolError: it is over the bounds of one event.
    """
    try:
        return decode_strict(checked(text) if len(text) > MAX_STRUCTURE else text)
    except PassedBoundError as error:
        raise ProtocolError(f"JSON of {error}", excerpt=text[:_MOST_SHOWN]) from None
    except RecursionError:
        raise TooDeepError("nested too deep") from None


def parse_json(text: str | bytes) -> Any:
    """Decode JSON, also what servers send against the standard: half a character, NaN, control characters.

    Raises:
        ValueError: it is no JSON, or nested too deep.
        ProtocolError: it is over the bounds of one event.
    """
    if not isinstance(text, str):
        # Not as json would, which tries UTF-16 and UTF-32, whose codecs Python imports when they are first used.
        text = text_of(text.removeprefix(codecs.BOM_UTF8), "surrogatepass")
    try:
        return parse_event(text)
    except ValueError:
        pass
    try:
        return json.loads(text, strict=False, parse_int=_parse_int)
    except RecursionError:
        raise TooDeepError("nested too deep") from None


def _parse_int(digits: str) -> int:
    # Later versions of Python have this limit themselves.
    if len(digits) > _LONGEST_INT:
        raise ValueError(f"an integer of more than {_LONGEST_INT} digits")
    return int(digits)


def text_of(data: bytes, errors: str = "replace") -> str:
    """Return the text of UTF-8, decoded in slices, between which other threads may run.

    Args:
        data: bytes.
        errors: as for ``bytes.decode``.

    Raises:
        UnicodeDecodeError: it is no UTF-8, and ``errors`` says so.
    """
    if len(data) <= _SLICE:
        return data.decode("utf-8", errors)
    pieces = []
    start = 0
    while start < len(data):
        end = start + _SLICE
        piece, used = codecs.utf_8_decode(data[start:end], errors, end >= len(data))
        pieces.append(piece)
        start += used
    return "".join(pieces)


def bytes_of(text: str) -> bytes:
    """Return a text in UTF-8, encoded in slices, between which other threads may run.

    Raises:
        UnicodeEncodeError: it has half a character.
    """
    return b"".join(text[start : start + _SLICE].encode() for start in range(0, len(text), _SLICE))


# -- writing ---------------------------------------------------------------------------------------------


def write_json(value: Any, *, most: int | None = None) -> bytes:
    """Return JSON of what a user passed: what JSON has, and dates, UUIDs, enums and dataclasses. NaN is null.

    Args:
        value: of any shape.
        most: bytes that the long strings of it may take, where that is bounded.

    Raises:
        TypeError: it holds anything else, such as bytes, a key that is no string, half a character; or it is
            nested beyond reason.
        PassedBoundError: its strings take more than ``most`` bytes.
    """
    try:
        return msgspec.json.encode(_Plain(most).of(value))
    except RecursionError:
        raise TypeError("Recursion limit reached") from None
    except UnicodeEncodeError:
        raise TypeError("str is not valid UTF-8: surrogates not allowed") from None


class _Plain:
    """Makes values that consist of JSON's types alone; msgspec by itself writes bytes, sets and much more."""

    def __init__(self, most: int | None) -> None:
        self._left = most

    def of(self, value: Any) -> Any:
        kind = value.__class__
        if kind is str:
            return value if len(value) < _SHORT or (len(value) < _SLICE and value.isprintable()) else self._long(value)
        if kind is int or kind is float or kind is bool or value is None:
            return value
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise TypeError("Dict key must be str")
            return {str.__str__(key): self.of(item) for key, item in value.items()}
        if isinstance(value, list) or kind is tuple:
            return [self.of(item) for item in value]
        if isinstance(value, Enum):
            return self.of(value.value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: self.of(getattr(value, field.name)) for field in dataclasses.fields(value)}
        for type_, write in _WRITERS.items():
            if isinstance(value, type_):
                return write(value)
        raise TypeError(f"Type is not JSON serializable: {kind.__name__}")

    def _long(self, text: str) -> msgspec.Raw:
        """Return the JSON of a long text, written in slices, between which other threads may run."""
        pieces = [b'"']
        for start in range(0, len(text), _SLICE):
            pieces.append(msgspec.json.encode(text[start : start + _SLICE])[1:-1])
            if self._left is not None:
                self._left -= len(pieces[-1])
                if self._left < 0:
                    raise PassedBoundError("strings that are too long")
        return msgspec.Raw(b"".join((*pieces, b'"')))


_WRITERS: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    UUID: str,
}
