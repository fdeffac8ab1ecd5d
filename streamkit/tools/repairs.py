"""The JSON text that a model wrote -> its value, exactly. Repairs that lose nothing, and no others.

========================================  =====================================================================
repaired                                  why nothing is lost
========================================  =====================================================================
a byte order mark, one Markdown fence     they stand around the text, which is whole
raw line breaks and tabs in a string      each can mean itself only
a comma after the last element            the container is closed, so it is whole
JSON in a JSON string, once               the caller asks for it where no string is wanted
========================================  =====================================================================

What was cut off is never closed: half a path, or half a list of commands, may be valid and wrong. JSON is not searched
for in other text, and of two values none is chosen.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from streamkit.tools.problems import NOTHING, Refused, short
from streamkit.values.json_text import (
    MAX_STRUCTURE,
    ExactFloat,
    PassedBoundError,
    Structure,
    checked,
    decode_exact,
    decode_strict,
)

__all__ = ["AROUND", "MAX_DEPTH", "inside", "plain", "put", "value_of"]

MAX_DEPTH: Final = 128  # levels. The conversion takes some three frames a level, of the 1000 that Python has
AROUND: Final = " \t\r\n\ufeff"  # white space of JSON, and a byte order mark
_MAX_REPAIRED = 4 * 1024 * 1024  # characters, some 50 ms for each repair

_OPENED_FENCE = re.compile(r"```[\w+-]*[ \t]*\r?\n?")
# A string, also one without its end, so that no place in it is taken for a beginning; or a comma before a bracket.
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)'
_STRING_OR_LAST_COMMA = re.compile(rf"{_STRING}|,(?=\s*[}}\]])", re.DOTALL)
# An escape, which stays as it is, also a wrong one; or a raw control character.
_ESCAPE_OR_CONTROL = re.compile(r"\\.|[\x00-\x1f]", re.DOTALL)
_ESCAPED_CONTROL = re.compile(r"\\[\x00-\x1f]")
_ESCAPES = {code: f"\\u{code:04x}" for code in range(0x20)}
_PLACE = re.compile(r" \(byte (\d+)\)$| - at `\$.*`$")


def value_of(text: str, *, exact: bool = False, subject: str = "The text") -> Any:
    """Return the value of a JSON text, repaired where that loses nothing.

    Args:
        text: as the model wrote it.
        exact: numbers with a fraction become ``ExactFloat``, which keep their digits for a Decimal.
        subject: what the text is, for the error: ``The arguments``.

    Raises:
        Refused: with one finding, ``invalid_json``.
    """
    try:
        return _decoded(text, exact)
    except _NoJson as error:
        if error.final or len(text) > _MAX_REPAIRED:
            raise _refusal(text, error, subject) from None
    repaired = _repaired(text)
    try:
        return _decoded(repaired, exact)
    except _NoJson as error:
        raise _refusal(repaired, error, subject) from None


def inside(text: str, *, exact: bool = False) -> Any:
    """Return the array or object that a JSON string holds as JSON text; ``NOTHING`` where it holds none."""
    if not text.lstrip(AROUND).startswith(("{", "[", "```")):
        return NOTHING
    try:
        value = value_of(text, exact=exact)
    except Refused:
        return NOTHING
    return value if isinstance(value, (dict, list)) else NOTHING


def plain(value: Any) -> Any:
    """Return decoded JSON with a plain float for each ``ExactFloat``."""
    kind = type(value)
    if kind is dict:
        return {key: plain(item) for key, item in value.items()}
    if kind is list:
        return [plain(item) for item in value]
    return float(value) if kind is ExactFloat else value


def put(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """Put another value at a path of a copy made by ``plain``, or remove the key there for NOTHING.

    Returns:
        The value, which is ``new`` itself for an empty path.
    """
    if not path:
        return new
    inner: Any = value
    key: Any
    try:
        for key in path[:-1]:
            inner = inner[key]
        key = path[-1]
        if new is NOTHING:
            del inner[key]
        else:
            inner[key] = new
    except (KeyError, IndexError, TypeError):  # another change, further out, came before
        pass
    return value


class _NoJson(Exception):
    """The text is no JSON.

    Args:
        text: why.
        final: no repair can help.
        place: the byte where the decoder gave up; ``None`` at the end of the text.
    """

    def __init__(self, text: str, *, final: bool = False, place: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.final = final
        self.place = place


def _decoded(text: str, exact: bool) -> Any:
    decode = decode_exact if exact else decode_strict
    try:
        value = decode(checked(text) if len(text) > MAX_STRUCTURE else text)
    except PassedBoundError as error:
        raise _NoJson(f"too large: {error}", final=True) from None
    except RecursionError:
        raise _NoJson(_TOO_DEEP, final=True) from None
    except UnicodeEncodeError:
        raise _NoJson("it has half of a surrogate pair", final=True) from None
    except (msgspec.MsgspecError, ValueError) as error:
        place = _PLACE.search(str(error))
        raise _NoJson(_PLACE.sub("", str(error)), place=int(place[1]) if place and place[1] else None) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(value):
        raise _NoJson(_TOO_DEEP, final=True)
    return value


_TOO_DEEP = f"nested too deep, at most {MAX_DEPTH} levels are read"


def _is_deep(value: Any) -> bool:
    """Return whether a value has more levels than are read, without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for each in level
            if isinstance(each, (dict, list))
            for item in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True


def _repaired(text: str) -> str:
    """Return a text without mark and fence, its strings without raw control characters, without last commas."""
    text = text.strip(AROUND)
    fence = _OPENED_FENCE.match(text)
    if fence and len(text) > fence.end() + 3 and text.endswith("```"):  # one that is not closed stays: see _reason
        text = text[fence.end() : -3].strip(AROUND)
    return _STRING_OR_LAST_COMMA.sub(_repaired_token, text)


def _repaired_token(match: re.Match[str]) -> str:
    if match[0] != ",":
        # Where no backslash stands before one, they are replaced in one call: a file's text has thousands.
        if _ESCAPED_CONTROL.search(match[0]) is None:
            return match[0].translate(_ESCAPES)
        return _ESCAPE_OR_CONTROL.sub(_escaped, match[0])
    before = match.start() - 1
    while before >= 0 and match.string[before] in " \t\r\n":
        before -= 1
    return "" if before >= 0 and match.string[before] not in "[{,:" else ","


def _escaped(match: re.Match[str]) -> str:
    return match[0] if match[0][0] == "\\" else _ESCAPES[ord(match[0])]


def _refusal(text: str, error: _NoJson, subject: str) -> Refused:
    return Refused.of("invalid_json", f"{subject} cannot be read as JSON: {_reason(text, error)}")


def _reason(text: str, error: _NoJson) -> str:
    if error.final:
        return error.text
    if not text.strip():
        return "there is no text"
    fence = _OPENED_FENCE.match(text)
    rest = text[fence.end() :] if fence else text
    if fence:
        try:
            _decoded(_repaired(rest), exact=False)
        except _NoJson as inner:
            error = inner
        else:
            return "it is incomplete, its Markdown fence was never closed. Send it again, whole"
    if _is_cut(rest, error):
        return "it is incomplete, it ends too early. Send it again, whole"
    if error.text.endswith("truncated"):  # all is closed: this is the decoder's word for half of a pair as well
        return "it has half of a surrogate pair" if "\\u" in rest else "it is incomplete"
    if error.text.endswith("trailing characters"):
        return "more text follows the first value. Send one JSON object and nothing else"
    what = error.text.removeprefix("JSON is malformed: ").lower()
    if error.place is None:
        return what
    near = rest.encode(errors="replace")[max(0, error.place - 12) : error.place + 28].decode(errors="ignore")
    return f"{what}, near {short(near, 40)}"


def _is_cut(text: str, error: _NoJson) -> bool:
    """Return whether the text is the beginning of a JSON text: the decoder came to its end without an objection."""
    at_end = error.text.endswith("truncated") or (error.place or 0) >= len(text.rstrip(" \t\r\n").encode())
    if not at_end:
        return False
    structure = Structure()
    structure.add(text)
    return structure.in_string or structure.depth > 0
