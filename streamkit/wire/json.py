"""Parse JSON strictly first, leniently where servers send what the standard forbids."""

from __future__ import annotations

import json
from typing import Any

import orjson

__all__ = ["parse_json"]


def parse_json(text: str | bytes) -> Any:
    """Decode JSON, also what orjson refuses and servers send: half a character, NaN, control characters.

    Raises:
        ValueError: it is no JSON, or nested too deep.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    if isinstance(text, bytes):  # json would try UTF-16 and UTF-32, and Python imports their codecs when first used
        text = text.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogatepass")
    try:
        return json.loads(text, strict=False)
    except RecursionError:
        raise ValueError("nested too deep") from None
