"""Turn values into dicts of JSON types, and read them back."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs
import msgspec

__all__ = ["NOT_PLAIN", "Plain", "from_plain", "refuse_with", "refused", "to_plain"]

T = TypeVar("T")

#: The metadata of a field that is not written: what a program holds in it need not be JSON.
NOT_PLAIN = {"plain": False}

_DEEPEST = 200  # levels; the JSON of a provider's event has few, and json.dumps takes some hundreds

_refusal: type[Exception] = ValueError  # set once, when the package is imported


def refuse_with(kind: type[Exception]) -> None:
    """Have wrong input raise this class, because the values import nothing of the package."""
    global _refusal
    _refusal = kind


def refused(text: str) -> Exception:
    """Return the error for wrong input."""
    return _refusal(text)


def to_plain(value: Any, depth: int = 0) -> Any:
    """Return what ``json.dumps`` takes.

    JSON types stay as they are. Instances of attrs classes become dicts of their fields, tuples and sets become lists,
    bytes become base64, keys of mappings become text, and any other object becomes its ``repr``. What is nested more
    than 200 levels deep becomes ``None``.
    """
    if value is None or isinstance(value, (str, int, float)):
        return value
    if depth > _DEEPEST:
        return None
    depth += 1
    if attrs.has(type(value)):
        fields = (field for field in attrs.fields(type(value)) if field.metadata.get("plain", True))
        return {field.name: to_plain(getattr(value, field.name), depth) for field in fields}
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): to_plain(each, depth) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(each, depth) for each in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    return repr(value)


def from_plain(kind: type[T], shape: object, of: str) -> T:
    """Return the instance of an attrs class for a dict of its fields; unknown keys are ignored.

    Args:
        kind: the class.
        shape: the dict.
        of: the class that the user called, for the error.

    Raises:
        ConfigError: a field is missing or has a wrong type; the error names its path.
    """
    try:
        return msgspec.convert(shape, kind)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        problem = problem[0].lower() + problem[1:].replace("`", "")
        where = path.rstrip("`").lstrip(".")
    raise refused(f"{of}.from_dict(): {where}: {problem}" if where else f"{of}.from_dict(): {problem}")


class Plain:
    """Base of the attrs classes that can be written as JSON: ``to_dict`` and ``from_dict``."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types.

        The provider's own data are JSON already. In data that were made otherwise tuples and sets become lists, bytes
        become base64, and other objects become their ``repr``.
        """
        return to_plain(self)  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls: type[T], shape: Mapping[str, Any]) -> T:
        """Read what ``to_dict`` returned; unknown keys, such as those of a newer version, are ignored.

        Raises:
            ConfigError: a field is missing or has a wrong type; the error names its path.
        """
        return from_plain(cls, shape, cls.__name__)
