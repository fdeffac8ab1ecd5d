"""Reading decoded JSON that may be of any shape: what is not as expected counts as absent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from streamkit.errors import ProtocolError
from streamkit.values.json_text import MAX_TEXT, PassedBoundError
from streamkit.wire.json import write_json

__all__ = ["as_dict", "as_json", "as_list", "as_text", "as_word", "shortened", "whole_characters"]

_MOST_WRITTEN = 2 * MAX_TEXT  # bytes
_DEEPEST = 100  # levels of what is shortened
_SLICE = 16 * 1024  # characters that are looked at in one call: half a character takes 0.3 microseconds


def as_text(value: Any) -> str:
    """Return a string, or "" for anything else."""
    return value if isinstance(value, str) else ""


def as_word(value: Any) -> str:
    """Return a string that can be printed: half characters, which JSON can escape, become U+FFFD."""
    text = as_text(value)
    return text if text.isascii() or text.isprintable() else whole_characters(text)


def whole_characters(text: str) -> str:
    """Return a text with halves of characters joined, or U+FFFD for one that stands alone."""
    return "".join(
        piece.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for piece in _between_characters(text)
    )


def _between_characters(text: str) -> Iterator[str]:
    """Cut a text into slices, none between two halves of a character."""
    start = 0
    while start < len(text):
        end = start + _SLICE
        end += "\ud800" <= text[end - 1 : end] <= "\udbff"
        yield text[start:end]
        start = end


def as_list(value: Any) -> list[Any]:
    """Return a list, or an empty one for anything else."""
    return value if isinstance(value, list) else []


def as_dict(value: Any) -> dict[str, Any]:
    """Return an object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_json(value: Any) -> str:
    """Return the JSON text of a value, "" for one that is nested beyond reason.

    The standard library writes what ``write_json`` refuses: half a character, keys that are numbers.

    Raises:
        ProtocolError: it would be much longer than the JSON of any event, as escapes may make it.
    """
    try:
        return write_json(value, most=_MOST_WRITTEN).decode()
    except PassedBoundError:
        raise ProtocolError(f"JSON of more than {_MOST_WRITTEN} bytes") from None
    except TypeError:
        try:
            return json.dumps(value, separators=(",", ":"))
        except RecursionError:
            return ""


def shortened(value: Any, most: int, *, each: int | None = None) -> Any:
    """Return decoded JSON without what is too much of it, so that whatever is done to it takes little time.

    Args:
        value: of any shape.
        most: characters of all strings together, and values; what comes after these is left out.
        each: characters of one string; ``None`` for no bound of its own.
    """
    return _shortened(value, [most], most if each is None else each, 0)


def _shortened(value: Any, left: list[int], each: int, depth: int) -> Any:
    if isinstance(value, str):
        text = value[: min(each, left[0])]
        left[0] -= len(text)
        return text
    left[0] -= 1
    if not isinstance(value, (dict, list)):
        return value
    if depth == _DEEPEST:
        return None
    if isinstance(value, list):
        return [_shortened(item, left, each, depth + 1) for item in value if left[0] > 0]
    return {
        _shortened(name, left, each, depth): _shortened(item, left, each, depth + 1)
        for name, item in value.items()
        if left[0] > 0
    }
