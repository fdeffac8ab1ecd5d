"""Reading decoded JSON that may be of any shape: what is not as expected counts as absent."""

from __future__ import annotations

import json
from typing import Any

import orjson

__all__ = ["as_dict", "as_json", "as_list", "as_text", "as_word"]


def as_text(value: Any) -> str:
    """Return a string, or "" for anything else."""
    return value if isinstance(value, str) else ""


def as_word(value: Any) -> str:
    """Return a string that can be printed: half characters, which JSON can escape, become U+FFFD."""
    text = as_text(value)
    return text if text.isprintable() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def as_list(value: Any) -> list[Any]:
    """Return a list, or an empty one for anything else."""
    return value if isinstance(value, list) else []


def as_dict(value: Any) -> dict[str, Any]:
    """Return an object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_json(value: Any) -> str:
    """Return the JSON text of a value, "" for one that is nested beyond reason.

    orjson refuses some of what it is not the one to read here: half a character, numbers of more than 64 bits.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        try:
            return json.dumps(value, separators=(",", ":"))
        except RecursionError:
            return ""
