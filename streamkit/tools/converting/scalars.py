"""Numbers, strings and the types that JSON writes as strings."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import pathlib
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec

from streamkit.tools.converting.converter import Converter, Walk
from streamkit.tools.problems import NOTHING
from streamkit.values.json_text import ExactFloat

__all__ = ["SCALARS", "Decimals", "Paths", "Scalar", "quoted"]

_EXACT_INTEGERS: Final = 2**53  # below it a float holds each integer
_MAX_EXPONENT: Final = 6144  # of decimal128. Decimal takes 1e999999999, whose digits fill the memory
_NUMBER = re.compile(r"\s*(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*")
_INTEGER = re.compile(r"-?[0-9]{1,4300}")
_DECIMAL = re.compile(r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")
_MAX_NUMBER = 5000  # characters
_MINUTES = re.compile(r"((?:\d{4}-\d\d-\d\d[Tt ])?\d\d:\d\d)((?:[Zz]|[+-]\d\d:?\d\d)?)")


def quoted(text: str) -> Any:
    """Return the number or boolean that a string holds: ``"3"``, ``"true"``, and Python's ``"True"``; or NOTHING.

    The text must be a number of JSON: "007" may be a code, and "1,000" is written in several ways.
    """
    if len(text) > _MAX_NUMBER:
        return NOTHING
    word = _BOOLEANS.get(text.strip(), NOTHING)
    number = _NUMBER.fullmatch(text)
    if word is not NOTHING or number is None:
        return word
    if _INTEGER.fullmatch(number[1]):
        return int(number[1])
    try:
        return ExactFloat(number[1])
    except ValueError:  # over the range of a float
        return NOTHING


_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class Scalar(Converter):
    """A type that is made of one value by a function, which raises ValueError for what does not fit.

    Args:
        wanted, kinds, rank: as in ``Converter``.
        make: of a value, without repairs.
        repair: of a value that ``make`` refused.
    """

    def __init__(
        self,
        wanted: str,
        kinds: str,
        make: Callable[[Any], Any],
        repair: Callable[[Any], Any] | None = None,
        rank: int = 1,
    ) -> None:
        self.wanted = wanted
        self.kinds = frozenset(kinds.split())
        self.rank = rank
        self._make = make
        self._repair = repair

    def convert(self, value: Any, walk: Walk) -> Any:
        """Return the value as the type."""
        try:
            return self._make(value)
        except (ValueError, TypeError, OverflowError, msgspec.MsgspecError):
            pass
        if walk.lax and self._repair is not None:
            try:
                return self._repair(value)
            except (ValueError, TypeError, OverflowError, msgspec.MsgspecError):
                pass
        raise self.refusal(value)


def _string(value: Any) -> str:
    if type(value) is str:
        return value
    raise ValueError


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    raise ValueError


def _repaired_integer(value: Any) -> int:
    value = quoted(value) if type(value) is str else value
    if type(value) is int:
        return value
    if type(value) is ExactFloat:
        exact = Decimal(value.text)
        if exact.adjusted() < 400 and exact == exact.to_integral_value():
            return int(exact)
    elif type(value) is float and abs(value) < _EXACT_INTEGERS and value.is_integer():
        return int(value)
    raise ValueError


def _float(value: Any) -> float:
    if isinstance(value, float):
        return float(value)
    raise ValueError


def _repaired_float(value: Any) -> float:
    value = quoted(value) if type(value) is str else value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise ValueError


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise ValueError


def _repaired_boolean(value: Any) -> bool:
    value = quoted(value) if type(value) is str else value
    if type(value) is bool or (type(value) is int and value in (0, 1)):
        return bool(value)
    raise ValueError


def _null(value: Any) -> None:
    if value is not None:
        raise ValueError


class Decimals(Scalar):
    """``Decimal``, of the text of a number. Needs the walk to be exact."""

    def __init__(self) -> None:
        super().__init__("a decimal number", "integer number string", _decimal)


def _decimal(value: Any) -> Decimal:
    if type(value) is int:
        return Decimal(value)
    if isinstance(value, float):
        return Decimal(value.text if isinstance(value, ExactFloat) else repr(value))
    match = _DECIMAL.fullmatch(value) if type(value) is str and len(value) <= _MAX_NUMBER else None
    if match:
        number = Decimal(match[1])
        if number.is_finite() and abs(number.adjusted()) <= _MAX_EXPONENT:
            return number
    raise ValueError


def _by_msgspec(kind: type) -> Callable[[Any], Any]:
    def make(value: Any) -> Any:
        return msgspec.convert(_string(value), kind)

    return make


def _with_seconds(kind: type) -> Callable[[Any], Any]:
    """Read a time to the minute, as ISO 8601 allows and RFC 3339 does not."""

    def make(value: Any) -> Any:
        match = _MINUTES.fullmatch(_string(value).strip())
        return msgspec.convert(f"{match[1]}:00{match[2]}" if match else value.strip(), kind)

    return make


def _seconds(value: Any) -> dt.timedelta:
    return dt.timedelta(seconds=value if type(value) is int else _float(value))


def _base64(value: Any) -> bytes:
    text = _string(value)
    return base64.b64decode(text, validate=True) if _is_whole_base64(text) else _refuse()


def _repaired_base64(value: Any) -> bytes:
    text = "".join(_string(value).split()).rstrip("=")
    text += "=" * (-len(text) % 4)
    return _base64(text)


def _is_whole_base64(text: str) -> bool:
    """Return whether nothing is lost: the last character may have bits that belong to no byte."""
    try:
        return binascii.b2a_base64(binascii.a2b_base64(text[-4:]), newline=False) == text[-4:].encode()
    except ValueError:
        return False


def _refuse() -> Any:
    raise ValueError


class Paths(Scalar):
    """A path."""

    def __init__(self, kind: type[pathlib.PurePath]) -> None:
        super().__init__("a string with a path", "string", lambda value: kind(_string(value)), rank=2)


_DATETIME = "a string with a date-time such as 2026-01-31T09:30:00Z"
_TIME = "a string with a time such as 09:30:00"

# A string of any text comes before the types that would take any text, so that "hello" is not read as base64.
SCALARS: Final[dict[Any, Converter]] = {
    str: Scalar("a string", "string", _string),
    int: Scalar("an integer", "integer", _integer, _repaired_integer),
    float: Scalar("a number", "number", _float, _repaired_float),
    bool: Scalar("a boolean", "boolean", _boolean, _repaired_boolean),
    None: Scalar("null", "null", _null),
    type(None): Scalar("null", "null", _null),
    Decimal: Decimals(),
    bytes: Scalar("a string in base64", "string", _base64, _repaired_base64, rank=2),
    bytearray: Scalar(
        "a string in base64",
        "string",
        lambda value: bytearray(_base64(value)),
        lambda value: bytearray(_repaired_base64(value)),
        rank=2,
    ),
    dt.datetime: Scalar(_DATETIME, "string", _by_msgspec(dt.datetime), _with_seconds(dt.datetime)),
    dt.date: Scalar("a string with a date such as 2026-01-31", "string", _by_msgspec(dt.date)),
    dt.time: Scalar(_TIME, "string", _by_msgspec(dt.time), _with_seconds(dt.time)),
    dt.timedelta: Scalar(
        "a string with an ISO 8601 duration such as PT1H30M", "string", _by_msgspec(dt.timedelta), _seconds
    ),
    uuid.UUID: Scalar("a string with a uuid", "string", _by_msgspec(uuid.UUID)),
}
