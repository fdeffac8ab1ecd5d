"""Values that every database can have in a column: keys are refused otherwise, and what is for reports is cleaned.

What a provider says of a request must never keep its charge from being written.
"""

from __future__ import annotations

from typing import Any

import attrs

from streamkit.errors import ConfigError
from streamkit.gateway.core.money import MOST, usd_of
from streamkit.gateway.core.records import About, Settlement
from streamkit.settings import shown

__all__ = ["amount_of", "cleaned_about", "cleaned_outcome", "cleaned_text", "holder_name", "key_of"]

_LONGEST = 255  # characters of a key
_MOST_TOKENS = 10**12  # of language models, in a request
_LONGEST_TIME = 10**9  # seconds
_HOLDERS = ("token:", "team:")


def amount_of(value: Any, name: str) -> int:
    """Return an amount in nano.

    Raises:
        ConfigError: it is no whole number from 0 to a billion dollars.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise ConfigError(f"{name} is a whole number of nano from 0 to those of {usd_of(MOST)} USD, not {shown(value)}")
    return value


def key_of(value: Any, name: str) -> str:
    """Return a text that can be a key.

    Raises:
        ConfigError: it is none, empty, too long, or has characters that a database refuses.
    """
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or cleaned_text(value) != value:
        raise ConfigError(f"{name} is a text of 1 to {_LONGEST} characters, not {shown(value)}")
    return value


def holder_name(value: Any) -> str:
    """Return the name of a token or a team.

    Raises:
        ConfigError: it is none.
    """
    name = key_of(value, "the name of an account")
    if not name.startswith(_HOLDERS) or name in _HOLDERS:
        raise ConfigError(f"the name of an account is token:<id> or team:<name>, not {shown(value)}")
    return name


def cleaned_text(text: Any) -> str:
    """Return what every database can keep of a text, in a key's length; "" for anything else."""
    if not isinstance(text, str):
        return ""
    return text[:_LONGEST].encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def cleaned_about(about: About) -> About:
    """Return what a request is, as it can be written."""
    return About(
        about.token, about.team, cleaned_text(about.model), cleaned_text(about.endpoint), cleaned_text(about.label)
    )


def cleaned_outcome(outcome: Settlement) -> Settlement:
    """Return how a request ended, as it can be written."""
    return attrs.evolve(
        outcome,
        status=int(_within(outcome.status, 999)),
        estimated=bool(outcome.estimated),
        provider=cleaned_text(outcome.provider),
        model=cleaned_text(outcome.model),
        input_tokens=int(_within(outcome.input_tokens, _MOST_TOKENS)),
        output_tokens=int(_within(outcome.output_tokens, _MOST_TOKENS)),
        cached_tokens=int(_within(outcome.cached_tokens, _MOST_TOKENS)),
        reasoning_tokens=int(_within(outcome.reasoning_tokens, _MOST_TOKENS)),
        seconds=float(_within(outcome.seconds, _LONGEST_TIME)),
    )


def _within(number: Any, most: int) -> Any:
    """Return a number from 0 to the most; 0 for what is none."""
    is_number = isinstance(number, (int, float)) and number == number
    return min(max(number, 0), most) if is_number else 0
