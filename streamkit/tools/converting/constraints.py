"""Limits in ``Annotated``: of msgspec.Meta, annotated_types and pydantic.Field."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from streamkit.tools.converting.converter import Converter, Walk
from streamkit.tools.problems import Finding, Refused

__all__ = ["Constrained", "checks_of"]

Check = tuple[str, Callable[[Any], bool]]
_OWNERS = ("msgspec", "annotated_types", "pydantic")  # packages whose objects in Annotated are limits

_COMPARED: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "ge": ("must be at least {}", operator.ge),
    "gt": ("must be greater than {}", operator.gt),
    "le": ("must be at most {}", operator.le),
    "lt": ("must be less than {}", operator.lt),
}


class Constrained(Converter):
    """A type with limits. All of them are looked at."""

    def __init__(self, inner: Converter, checks: list[Check]) -> None:
        self._inner = inner
        self._checks = checks
        self.rank = inner.rank

    @property
    def wanted(self) -> str:  # type: ignore[override]
        """As the type."""
        return self._inner.wanted

    @property
    def kinds(self) -> frozenset[str]:  # type: ignore[override]
        """As the type."""
        return self._inner.kinds

    def convert(self, value: Any, walk: Walk) -> Any:
        """Return the value as the type."""
        result = self._inner.convert(value, walk)
        if result is None:  # Annotated[int | None, ...]: the limits are the integer's
            return None
        findings = [Finding("constraint", text, value) for text, holds in self._checks if not _holds(holds, result)]
        if findings:
            raise Refused(findings)
        return result


def _holds(check: Callable[[Any], bool], value: Any) -> bool:
    try:
        return bool(check(value))
    except Exception:  # a limit of another type, a predicate of the user's
        return False


def checks_of(metadata: Iterable[Any]) -> list[Check]:
    """Return the limits among the objects of an ``Annotated``; objects of others are passed over."""
    checks: list[Check] = []
    for each in metadata:
        package = type(each).__module__.partition(".")[0]
        if package == "pydantic" and isinstance(getattr(each, "metadata", None), list):  # Field(...)
            checks += checks_of(each.metadata)
        elif package in _OWNERS:
            checks += _checks_of_one(each)
    return checks


def _checks_of_one(limits: Any) -> list[Check]:
    checks: list[Check] = []
    for name, (text, compare) in _COMPARED.items():
        bound = getattr(limits, name, None)
        if bound is not None:
            checks.append((text.format(bound), lambda value, compare=compare, bound=bound: compare(value, bound)))  # type: ignore[misc]
    step = getattr(limits, "multiple_of", None)
    if step is not None:
        checks.append((f"must be a multiple of {step}", lambda value: _is_multiple(value, step)))
    least, most = getattr(limits, "min_length", None), getattr(limits, "max_length", None)
    if least:
        checks.append((f"must have a length of at least {least}", lambda value: len(value) >= least))
    if most is not None:
        checks.append((f"must have a length of at most {most}", lambda value: len(value) <= most))
    pattern = getattr(limits, "pattern", None)
    if pattern is not None:
        search = re.compile(pattern).search
        written = pattern if isinstance(pattern, str) else pattern.pattern
        checks.append((f"must match the pattern {written}", lambda value: search(value) is not None))
    return checks + _time_zone_checks(limits) + _predicate_checks(limits)


def _is_multiple(value: Any, step: Any) -> bool:
    """Return whether it is a multiple by the digits that were written: 0.3 is one of 0.1."""
    return Fraction(Decimal(str(value))) % Fraction(Decimal(str(step))) == 0


def _time_zone_checks(limits: Any) -> list[Check]:
    zone = getattr(limits, "tz", None)  # True, False or None of Meta; None (naive), ..., a name of Timezone
    if type(limits).__name__ == "Timezone" and zone is None:
        zone = False
    if zone is None:
        return []
    if zone is False:
        return [("must have no time zone", lambda value: value.tzinfo is None)]
    return [("must have a time zone", lambda value: value.tzinfo is not None)]


def _predicate_checks(limits: Any) -> list[Check]:
    if type(limits).__name__ not in ("Predicate", "Not"):
        return []
    wanted, function = type(limits).__name__ == "Predicate", limits.func
    name = getattr(function, "__name__", "")
    text = "must pass a further check" if not name.isidentifier() else f"must pass the check {name}"
    return [(text if wanted else text.replace("must", "must not"), lambda value: bool(function(value)) is wanted)]
