"""The limits of a run with tools: ``RunLimits``."""

from __future__ import annotations

import math
from typing import Any

import attrs

from streamkit.errors import ConfigError
from streamkit.settings import shown

__all__ = ["RunLimits"]


def _check_count(_limits: object, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigError(f"RunLimits({field.name}=...) is a number from 1, or None, not {shown(value)}")


def _check_amount(_limits: object, field: attrs.Attribute[Any], value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (number and math.isfinite(value) and value > 0):
        raise ConfigError(f"RunLimits({field.name}=...) is a number above 0, or None, not {shown(value)}")


@attrs.frozen(kw_only=True)
class RunLimits:
    """When a run with tools ends although the model asks for more; ``None`` is no limit.

    Each is looked at when a reply asks for tools: a reply that asks for none is the end of a run anyway. A run that
    reaches one ends with a ``RunLimitError``. The calls that were asked for last are not made; the history says so.
    A resumed run goes on counting.

    Attributes:
        rounds: requests to the model.
        calls: calls of tools, over all rounds.
        repeats: how often the same tool may be called with the same arguments. A tool that is polled, such as one
            that looks whether a job has ended, needs more, or ``None``.
        call_seconds: seconds for a single call. A function that takes longer goes on in its thread, with its stop
            event set. The model is told that it still runs and may have taken effect. Not a limit that ends the run.
        tokens: of prompts and replies together, over all rounds, as the provider counts them.
        cost: USD, over all rounds, by ``completion.cost``.

    Raises:
        ConfigError: a value is not a number, or too small.
    """

    rounds: int | None = attrs.field(default=10, validator=_check_count)
    calls: int | None = attrs.field(default=64, validator=_check_count)
    repeats: int | None = attrs.field(default=3, validator=_check_count)
    call_seconds: float | None = attrs.field(default=None, validator=_check_amount)
    tokens: int | None = attrs.field(default=None, validator=_check_count)
    cost: float | None = attrs.field(default=None, validator=_check_amount)
