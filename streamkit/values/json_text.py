"""Decode JSON text within bounds: nothing in the package decodes JSON that did not pass this check.

A decoder does not let another thread run before it is done, so its time is bounded by what it may be given.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

__all__ = [
    "MAX_STRUCTURE",
    "MAX_TEXT",
    "ExactFloat",
    "PassedBoundError",
    "Structure",
    "TooDeepError",
    "checked",
    "decode_exact",
    "decode_strict",
    "decoded",
]

MAX_TEXT = 16 * 1024 * 1024  # bytes, 5 to 35 ms of decoding
MAX_STRUCTURE = 100_000  # of [ { and , outside strings: objects of so many fields take 30 ms, 500,000 take 180 ms
# Characters outside strings, white space not counted. Integers take time by the square of their length: 4 MiB of
# them, 4,300 digits each, take 100 ms. 100,000 numbers of ten digits fit in.
_MAX_PLAIN = 1024 * 1024
# Backslashes. 16 MiB of escapes take 60 ms; base64 whose slashes are escaped has one in 64 characters.
_MAX_ESCAPES = 4 * 1024 * 1024
_SLICE = 256 * 1024  # characters that are looked at in one call, at most 10 ms

decode_strict = msgspec.json.Decoder().decode


class ExactFloat(float):
    """A number with a fraction or an exponent, and the text that it was read from."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> ExactFloat:
        """Make it of its text."""
        self = super().__new__(cls, text)
        if math.isinf(self):  # as the plain decoder: such a number could not be written again
            raise ValueError("Number out of range")
        self.text = text
        return self


decode_exact = msgspec.json.Decoder(float_hook=ExactFloat).decode


class PassedBoundError(ValueError):
    """JSON that is over a bound, named by the text of this error."""


class TooDeepError(ValueError):
    """JSON that is nested deeper than the interpreter's stack allows."""


class Structure:
    """Counts what stands outside the strings of a JSON text that is given in pieces.

    The text need not be valid. Up to the place where a parser gives up, the counts are exact.

    Attributes:
        marks: how many of ``[``, ``{`` and ``,``.
        plain: characters other than white space.
        depth: opening brackets without their closing ones.
        in_string: whether the text so far ends inside a string.
    """

    __slots__ = ("_escaping", "depth", "in_string", "marks", "plain")

    def __init__(self) -> None:
        self.marks = 0
        self.plain = 0
        self.depth = 0
        self.in_string = False
        self._escaping = False  # the last character was a backslash that belongs to the next one

    def add(self, text: str) -> None:
        """Take in the next piece, in slices, between which other threads may run."""
        for start in range(0, len(text), _SLICE):
            self._add_slice(text[start : start + _SLICE])

    def _add_slice(self, text: str) -> None:
        if self._escaping and text:
            text, self._escaping = text[1:], False
        if "\\" in text:
            text = text.replace("\\\\", "")
            if text.endswith("\\"):
                text, self._escaping = text[:-1], True
            text = text.replace('\\"', "")
        parts = text.split('"')
        outside = "".join(parts[self.in_string :: 2])
        self.in_string ^= len(parts) % 2 == 0
        opened = outside.count("[") + outside.count("{")
        self.marks += opened + outside.count(",")
        self.depth += opened - outside.count("]") - outside.count("}")
        self.plain += len(outside) - sum(map(outside.count, " \n\t\r"))


def checked(text: str) -> str | bytes:
    """Return what to decode of a long text, in slices, between which other threads may run.

    A text that is not ASCII is encoded here: the decoder would do so in one call, and leave the bytes with the text.

    Raises:
        PassedBoundError: it is over a bound.
        UnicodeEncodeError: it has half a character.
    """
    structure, size, escapes = Structure(), 0, 0
    pieces: list[bytes] = []
    for start in range(0, len(text), _SLICE):
        piece = text[start : start + _SLICE]
        structure.add(piece)
        if structure.marks > MAX_STRUCTURE:
            raise PassedBoundError(f"more than {MAX_STRUCTURE} structural characters")
        if structure.plain > _MAX_PLAIN:
            raise PassedBoundError(f"more than {_MAX_PLAIN} characters outside strings")
        escapes += piece.count("\\")
        if escapes > _MAX_ESCAPES:
            raise PassedBoundError(f"more than {_MAX_ESCAPES} escaped characters")
        pieces.append(piece.encode())
        size += len(pieces[-1])
        if size > MAX_TEXT:
            raise PassedBoundError(f"more than {MAX_TEXT} bytes")
    return text if text.isascii() else b"".join(pieces)


def decoded(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is no JSON, nested too deep, or over a bound.
    """
    try:
        return decode_strict(checked(text) if len(text) > MAX_STRUCTURE else text)
    except RecursionError:
        raise TooDeepError("nested too deep") from None
