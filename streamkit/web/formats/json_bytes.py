"""Write the JSON of the formats, on one line and without anything that a browser's parser refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from streamkit.errors import ConfigError

__all__ = ["json_bytes", "text_bytes"]

_encode = msgspec.json.Encoder().encode
# JavaScript's careful parsers refuse an object with these keys, and with it the rest of the stream.
_REFUSED = (b"__proto__", b"constructor")


def text_bytes(text: str) -> bytes:
    """Return the JSON of a text, as ``JSON.stringify`` writes it.

    Half of a surrogate pair, as at the edge of two pieces, is written as an escape: joined in a browser, both halves
    are the character again.
    """
    try:
        return _encode(text)
    except UnicodeEncodeError:
        return json.dumps(text).encode("ascii")


def json_bytes(value: Any) -> bytes:
    """Return the JSON of a value that consists of JSON's types; NaN and infinity become null.

    Keys that browsers' parsers refuse, ``__proto__`` and a ``constructor`` with a ``prototype``, are left out.

    Raises:
        ConfigError: it has anything else in it, or is nested too deep.
    """
    try:
        data = _dumped(value)
        if any(each in data for each in _REFUSED):
            data = _dumped(_without_refused(value))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"a value that cannot be written as JSON: {error}") from None
    except RecursionError:
        raise ConfigError("a value that is nested too deep to be written as JSON") from None
    return data


def _dumped(value: Any) -> bytes:
    try:
        return _encode(value)
    except UnicodeEncodeError:  # half a surrogate pair somewhere in it
        return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False).encode("ascii")


def _finite(value: Any) -> Any:
    """Return the value with null for NaN and infinity, as the fast encoder writes them."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value


def _without_refused(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_refused(each) for key, each in value.items() if not _is_refused(key, each)}
    return [_without_refused(each) for each in value] if isinstance(value, (list, tuple)) else value


def _is_refused(key: object, value: object) -> bool:
    return key == "__proto__" or (key == "constructor" and isinstance(value, Mapping) and "prototype" in value)
