"""``read_function``: what is read of a function, once: its signature and the schema of its parameters."""

from __future__ import annotations

import weakref
from typing import Any

import attrs

from streamkit.tools.schema import parameters_schema
from streamkit.tools.signature import Signature, signature_of

__all__ = ["ReadFunction", "read_function"]

# By function, and for methods by whether they are bound: a bound method is another object at each access.
_read: weakref.WeakKeyDictionary[Any, dict[bool, ReadFunction]] = weakref.WeakKeyDictionary()


@attrs.frozen
class ReadFunction:
    """What a function says of itself. All tools of the function share it."""

    signature: Signature
    schema: dict[str, Any]


def read_function(function: Any) -> ReadFunction:
    """Read a function, or return what was read of it before. It is remembered as long as the function exists.

    Raises:
        ConfigError: it cannot be a tool.
    """
    owner = getattr(function, "__func__", function)
    is_bound = owner is not function
    try:
        remembered = _read.setdefault(owner, {})
    except TypeError:  # an object that cannot be hashed or referred to weakly
        remembered = {}
    if is_bound not in remembered:
        signature = signature_of(function)
        remembered[is_bound] = ReadFunction(signature, parameters_schema(signature))
    return remembered[is_bound]
