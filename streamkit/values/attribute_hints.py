"""Say which attribute to use where a program asks for one of another library's.

A class that is not on the hot path calls ``no_attribute`` in ``__getattr__``. That method makes each access to any
attribute 20 ns slower in Python 3.11, so classes on the hot path have an ``Elsewhere`` for each name instead, and a
``__dir__`` without them. All of it is hidden from type checkers, which would take any name for an attribute.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Elsewhere", "dir_of", "no_attribute"]


def no_attribute(instance: object, name: str, hints: Mapping[str, str]) -> AttributeError:
    """Return the error for an attribute that an object does not have.

    Args:
        instance: the object.
        name: the attribute.
        hints: what to use instead, by the name of the attribute.
    """
    text = f"{type(instance).__name__!r} object has no attribute {name!r}"
    if name in hints:
        return AttributeError(f"{text}: {hints[name]}", name=name)  # with obj, Python would add a guess of its own
    return AttributeError(text, name=name, obj=instance)


class Elsewhere:
    """Not an attribute: using it raises an ``AttributeError`` that says what to use instead."""

    def __init__(self, hint: str) -> None:
        self._hint = hint

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> object:
        if instance is None:
            return self
        raise no_attribute(instance, self._name, {self._name: self._hint})

    def __repr__(self) -> str:  # as ``help()`` of the class shows it
        return f"<no attribute: {self._hint}>"


def dir_of(instance: object) -> list[str]:
    """Return the names of an object's attributes, without those of an ``Elsewhere``."""
    kind = type(instance)
    return [name for name in object.__dir__(instance) if not isinstance(getattr(kind, name, None), Elsewhere)]
