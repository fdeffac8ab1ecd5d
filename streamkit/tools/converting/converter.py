"""``Converter``: one type. ``Walk``: one conversion of one value."""

from __future__ import annotations

from typing import Any, Final

from streamkit.tools.problems import Refused
from streamkit.tools.repairs import plain

__all__ = ["KINDS", "Anything", "Converter", "Deferred", "Walk", "kind_of"]

# The kinds of JSON values, in the words of JSON schema. A number without fraction and exponent is an integer.
KINDS: Final = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})


def kind_of(value: Any) -> str:
    """Return the kind of a decoded JSON value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    for kind, name in ((str, "string"), (int, "integer"), (float, "number"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "object"


class Walk:
    """What is common to the conversion of one value and of all values in it.

    Attributes:
        lax: whether repairs are made. A union is tried without them first.
        exact: whether numbers may be ``ExactFloat``.
        strict: the same walk without repairs.
        tried: what came of a container in a union: without it, unions in unions would take exponential time.
    """

    __slots__ = ("exact", "lax", "strict", "tried")

    def __init__(self, *, exact: bool = False, lax: bool = True, strict: Walk | None = None) -> None:
        self.lax = lax
        self.exact = exact
        self.tried: dict[tuple[int, int, bool], tuple[Any, Any]] = strict.tried if strict else {}
        self.strict: Walk = strict or self

    @classmethod
    def repairing(cls, exact: bool) -> Walk:
        """Return a walk that makes repairs."""
        return cls(exact=exact, lax=True, strict=cls(exact=exact, lax=False))


class Converter:
    """Converts decoded JSON to one type. Made once a type, and shared by all threads.

    Attributes:
        wanted: the type in words for a model, with its article: ``an integer``.
        kinds: the kinds of JSON values that it takes without a repair.
        rank: members of a union with a lower rank are tried first.
    """

    wanted: str = "a value"
    kinds: frozenset[str] = frozenset()
    rank = 1

    def convert(self, value: Any, walk: Walk) -> Any:
        """Return the value as the type.

        Raises:
            Refused: it does not fit; with all that is wrong.
        """
        raise NotImplementedError

    def may_fit(self, value: Any) -> bool:
        """Return False if a value of the right kind cannot fit without a repair. A quick look, for unions."""
        return True

    def refusal(self, value: Any) -> Refused:
        """Return the error for a value of a wrong kind."""
        return Refused.of("type", f"must be {self.wanted}", value)


class Anything(Converter):
    """``Any``, ``object`` or no annotation: the value as it came."""

    wanted = "any value"
    kinds = KINDS

    def convert(self, value: Any, walk: Walk) -> Any:
        """Return the value."""
        return plain(value) if walk.exact else value


class Deferred(Converter):
    """Stands for a type within its own definition: ``type Tree = list[Tree]``."""

    kinds = KINDS

    def __init__(self) -> None:
        self.target: Converter = Anything()

    def convert(self, value: Any, walk: Walk) -> Any:
        """Convert by the definition."""
        return self.target.convert(value, walk)
