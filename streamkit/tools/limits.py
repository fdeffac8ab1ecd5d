"""The limits of a run with tools, ``RunLimits``, and what it has used up of them, ``Spent``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from streamkit.errors import ConfigError
from streamkit.settings import shown
from streamkit.values.completion import Completion

__all__ = ["RunLimits", "Spent"]


def _check_count(_limits: object, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigError(f"RunLimits({field.name}=...) is a number from 1, or None, not {shown(value)}")


def _check_amount(_limits: object, field: attrs.Attribute[Any], value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (number and math.isfinite(value) and value > 0):
        raise ConfigError(f"RunLimits({field.name}=...) is a number above 0, or None, not {shown(value)}")


@attrs.frozen
class Spent:
    """What a run has used up of its limits.

    Attributes:
        rounds: requests to the model.
        calls: calls of tools.
        tokens: of all rounds, where the provider counted them.
        cost: USD of all rounds, where it is known.
        repeats: how often each call was asked for, by a digest of its name and arguments.
    """

    rounds: int = 0
    calls: int = 0
    tokens: int = 0
    cost: float = 0.0
    repeats: Mapping[str, int] = attrs.field(factory=dict)

    def after(self, reply: Completion, digests: Iterable[str], *, priced: bool) -> Spent:
        """Return what is used up after a further reply.

        Args:
            reply: the reply.
            digests: of the calls in it.
            priced: whether its cost counts; list prices are loaded for it.
        """
        repeats, calls = dict(self.repeats), 0
        for digest in digests:
            calls += 1
            repeats[digest] = repeats.get(digest, 0) + 1
        usage = reply.usage
        tokens = usage.total_tokens or (usage.input_tokens or 0) + (usage.output_tokens or 0)
        cost = self.cost + (reply.cost or 0.0) if priced else self.cost
        return Spent(self.rounds + 1, self.calls + calls, self.tokens + tokens, cost, repeats)


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

    def reached(self, spent: Spent) -> tuple[str, str] | None:
        """Return the name of a limit that is reached, and what it is, for people; ``None`` if none is."""
        if self.rounds is not None and spent.rounds >= self.rounds:
            return "rounds", f"{_counted(self.rounds, 'request')} to the model"
        if self.calls is not None and spent.calls > self.calls:
            return "calls", f"{_counted(self.calls, 'call')} of tools"
        if self.repeats is not None and max(spent.repeats.values(), default=0) > self.repeats:
            return "repeats", f"{_counted(self.repeats, 'call')} of one tool with the same arguments"
        if self.tokens is not None and spent.tokens >= self.tokens:
            return "tokens", f"{self.tokens} tokens"
        if self.cost is not None and spent.cost >= self.cost:
            return "cost", f"{self.cost:g} USD"
        return None


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
