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
from streamkit.values.json_text import MAX_STRUCTURE, TooDeepError, decode_strict, passed_bound

__all__ = ["parse_event", "parse_json", "text_of", "write_json"]

_SLICE = 64 * 1024  # bytes or characters that are read or written in one call, at most 20 ms
_LONG = 100  # characters; 16 MiB of control characters, as they may be among arguments, take 0.3 s to write
_LONGEST_INT = 4300  # digits; longer ones take time by the square of that, and msgspec refuses them
_MOST_SHOWN = 512  # characters of an excerpt


def parse_event(text: str) -> Any:
    """Decode JSON as the standard has it; called for each event, so it does no more than it must.

    Raises:
        ValueError: it is no such JSON; ``parse_json`` may still read it.
        ProtocolError: it is over the bounds of one event.
    """
    if len(text) > MAX_STRUCTURE:
        _check(text)
    try:
        return decode_strict(text)
    except RecursionError:
        raise TooDeepError("nested too deep") from None


def parse_json(text: str | bytes) -> Any:
    """Decode JSON, also what servers send against the standard: half a character, NaN, control characters.

    Raises:
        ValueError: it is no JSON, or nested too deep.
        ProtocolError: it is over the bounds of one event.
    """
    text = text if isinstance(text, str) else _json_text(text)
    try:
        return parse_event(text)
    except ValueError:
        pass
    try:
        return json.loads(text, strict=False, parse_int=_parse_int)
    except RecursionError:
        raise TooDeepError("nested too deep") from None


def _check(text: str) -> None:
    if bound := passed_bound(text):
        raise ProtocolError(f"JSON of {bound}", excerpt=text[:_MOST_SHOWN])


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


def _json_text(body: bytes) -> str:
    """Return the text of JSON in the encoding that its first bytes tell, as ``json.loads`` does."""
    encoding = json.detect_encoding(body)
    if encoding == "utf-8":
        return text_of(body, "surrogatepass")
    if encoding == "utf-8-sig":
        return text_of(body.removeprefix(codecs.BOM_UTF8), "surrogatepass")
    return body.decode(encoding)


# -- writing ---------------------------------------------------------------------------------------------


def write_json(value: Any) -> bytes:
    """Return JSON of what a user passed: what JSON has, and dates, UUIDs, enums and dataclasses. NaN is null.

    Raises:
        TypeError: it holds anything else, such as bytes, a key that is no string, half a character; or it is
            nested beyond reason.
    """
    try:
        return msgspec.json.encode(_plain(value))
    except RecursionError:
        raise TypeError("Recursion limit reached") from None
    except UnicodeEncodeError:
        raise TypeError("str is not valid UTF-8: surrogates not allowed") from None


def _plain(value: Any) -> Any:
    """Return a value that consists of JSON's types alone; msgspec by itself writes bytes, sets and much more."""
    kind = value.__class__
    if kind is str:
        return value if len(value) < _LONG or value.isprintable() else _written(value)
    if kind is int or kind is float or kind is bool or value is None:
        return value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("Dict key must be str")
        return {str.__str__(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list) or kind is tuple:
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return _plain(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    for type_, write in _WRITERS.items():
        if isinstance(value, type_):
            return write(value)
    raise TypeError(f"Type is not JSON serializable: {kind.__name__}")


def _written(text: str) -> msgspec.Raw:
    """Return the JSON of a long text, written in slices, between which other threads may run."""
    slices = (text[start : start + _SLICE] for start in range(0, len(text), _SLICE))
    return msgspec.Raw(b'"' + b"".join(msgspec.json.encode(piece)[1:-1] for piece in slices) + b'"')


_WRITERS: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    UUID: str,
}
