"""Decisions on a tool call that waits for one: ``Approved``, ``Rejected``, ``Answered``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from streamkit.errors import ConfigError

__all__ = ["Answered", "Approved", "Decision", "Rejected", "decision_of"]


@attrs.frozen
class Approved:
    """The call may run.

    Attributes:
        arguments: what to call the function with instead of what the model wrote, by name; ``None`` for the model's.
            They are checked as the model's are, and the model is told that they were changed.
    """

    arguments: Mapping[str, Any] | None = None


@attrs.frozen
class Rejected:
    """The call may not run; the model is told so.

    Attributes:
        reason: for the model, such as what to do instead.
    """

    reason: str = ""


@attrs.frozen
class Answered:
    """The call was carried out elsewhere, by a browser or a person: this is its result.

    Attributes:
        result: text, or what can be written as JSON, or an ``ImagePart`` or ``FilePart``, or a list with those.
    """

    result: Any = None


Decision = Approved | Rejected | Answered


def decision_of(value: object, where: str) -> Decision | None:
    """Return the decision that a value stands for: ``True`` and ``False`` are short for the first two.

    Args:
        value: ``None`` is no decision.
        where: who decided, for the error.

    Raises:
        ConfigError: it is no decision.
    """
    if value is None or isinstance(value, (Approved, Rejected, Answered)):
        return value
    if isinstance(value, bool):
        return Approved() if value else Rejected()
    raise ConfigError(
        f"{where} has to be True, False, Approved(...), Rejected(...), Answered(...), or None to leave the call "
        f"waiting, not {type(value).__name__}"
    )
