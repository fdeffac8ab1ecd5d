"""The validators of a prompt: whether their types are known, and whether their parameters can work."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from streamkit.errors import ConfigError
from streamkit.packs.problems import Finding, Path, shown
from streamkit.validators.shapes import NOT_RUN, TYPES, validator_of

__all__ = ["can_run", "guard_findings"]

_PATTERN = "params.pattern"  # as the text of an error names it


def can_run(type_: str, registered: Collection[str]) -> bool:
    """Return whether a type of validators runs here, or is the program's own."""
    return type_ in registered or type_ in TYPES


def guard_findings(validator: Mapping[str, Any], path: Path, registered: Collection[str]) -> list[Finding]:
    """Return what is wrong with a validator that is switched on.

    Args:
        validator: as the file has it, of the right shape.
        path: where it is.
        registered: types that the program has validators for; their parameters are its own affair.
    """
    type_, params = validator["type"], validator.get("params", {})
    if type_ in registered:
        return []
    place = (*path, "type")
    if type_ in NOT_RUN:
        return [Finding(place, "validator.unsupported", f"{shown(type_)} is a known type that cannot be run here")]
    if type_ not in TYPES:
        return [Finding(place, "validator.unknown_type", f"{shown(type_)} is not a known validator")]
    try:
        validator_of({"type": type_, "params": params})
    except ConfigError as error:
        pattern = params.get("pattern")
        if isinstance(pattern, str) and pattern and _PATTERN in str(error):
            return [Finding((*path, "params", "pattern"), "regex.invalid", str(error))]
        return [Finding(path, "validator.params", str(error))]
    return []
