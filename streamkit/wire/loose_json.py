"""Reading decoded JSON that may be of any shape: what is not as expected counts as absent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from streamkit.wire.json import write_json

__all__ = ["as_dict", "as_json", "as_list", "as_text", "as_word", "whole_characters"]

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
    """
    try:
        return write_json(value).decode()
    except TypeError:
        try:
            return json.dumps(value, separators=(",", ":"))
        except RecursionError:
            return ""
