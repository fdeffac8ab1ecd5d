"""Unions: the member that fits as it is, else the one that fits with a repair."""

from __future__ import annotations

from typing import Any

from streamkit.tools.converting.converter import Converter, Walk, kind_of
from streamkit.tools.converting.scalars import quoted
from streamkit.tools.problems import NOTHING, Finding, Refused
from streamkit.tools.repairs import inside

__all__ = ["Nullable", "Union"]


class Nullable(Converter):
    """A type or null."""

    def __init__(self, inner: Converter) -> None:
        self._inner = inner
        self.rank = inner.rank

    @property
    def wanted(self) -> str:  # type: ignore[override]
        """The type, or null."""
        return f"{self._inner.wanted} or null"

    @property
    def kinds(self) -> frozenset[str]:  # type: ignore[override]
        """Those of the type, and null."""
        return self._inner.kinds | {"null"}

    def convert(self, value: Any, walk: Walk) -> Any:
        """Return None, or the value as the type."""
        return None if value is None else self._inner.convert(value, walk)


class Union(Converter):
    """One of several types.

    A value that fits a member as it is becomes that member, before any repair: a union with a string keeps text as it
    is. Of classes the one fits whose keys have come, as unknown keys are refused; of several that fit, the first.
    """

    def __init__(self, members: list[Converter]) -> None:
        self._members = sorted(members, key=lambda member: member.rank)

    @property
    def wanted(self) -> str:  # type: ignore[override]
        """All of them."""
        return " or ".join(dict.fromkeys(member.wanted for member in self._members))

    @property
    def kinds(self) -> frozenset[str]:  # type: ignore[override]
        """All of theirs."""
        return frozenset().union(*(member.kinds for member in self._members))

    def convert(self, value: Any, walk: Walk) -> Any:
        """Return the value as the member that fits."""
        if not isinstance(value, (dict, list)):
            return self._converted(value, walk)
        # Unions of classes that hold unions: each member tries what is inside again.
        key = (id(value), id(self), walk.lax)
        if key not in walk.tried:
            try:
                outcome = self._converted(value, walk)
            except Refused as refused:
                outcome = refused
            walk.tried[key] = (value, outcome)  # the value too, so that its id stays its own
        outcome = walk.tried[key][1]
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    def _converted(self, value: Any, walk: Walk) -> Any:
        for read, each_walk in self._readings(value, walk):
            kind = kind_of(read)
            for member in self._members:
                if kind in member.kinds and member.may_fit(read):
                    try:
                        return member.convert(read, each_walk)
                    except Refused:
                        continue
        refusals = []
        for member in self._members:
            try:
                return member.convert(value, walk)
            except Refused as refused:
                refusals.append((member, refused))
        raise self._refusal(value, refusals)

    @staticmethod
    def _readings(value: Any, walk: Walk) -> list[tuple[Any, Walk]]:
        """Return the value as it is, and what a string holds, both to be taken without repairs."""
        readings = [(value, walk.strict)]
        if walk.lax and type(value) is str:
            held = quoted(value)
            held = inside(value, exact=walk.exact) if held is NOTHING else held
            if held is not NOTHING:
                readings.append((held, walk.strict))
        return readings

    def _refusal(self, value: Any, refusals: list[tuple[Converter, Refused]]) -> Refused:
        """Return the error of the member that was meant, where that is plain; else one of them all."""
        kind = kind_of(value)
        meant = [refused for member, refused in refusals if kind in member.kinds]
        for is_against in (_is_wrong_name, _is_wrong_key):
            if len(meant) > 1:
                left = [refused for refused in meant if not any(is_against(each) for each in refused.findings)]
                if not left:
                    break
                meant = left
        if len(meant) == 1 and any(each.path or each.kind == "constraint" for each in meant[0].findings):
            return meant[0]
        is_value = bool(meant) and all(each.kind == "value" for refused in meant for each in refused.findings)
        return Refused.of("value" if is_value else "type", f"must be {self.wanted}", value)


def _is_wrong_name(finding: Finding) -> bool:
    """Return whether it is about a key that names the class, such as a Literal."""
    return finding.kind == "value" and len(finding.path) == 1


def _is_wrong_key(finding: Finding) -> bool:
    """Return whether the class has other keys than those that came."""
    return finding.kind in ("missing", "unexpected") and len(finding.path) == 1
