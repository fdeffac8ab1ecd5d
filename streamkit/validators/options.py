"""What validators are made from, checked: texts and numbers."""

from __future__ import annotations

from collections.abc import Iterable

from streamkit.errors import ConfigError

__all__ = ["number_of", "texts_of"]


def texts_of(given: object, name: str, option: str) -> tuple[str, ...]:
    """Return a list of texts that were given.

    Args:
        given: what was given.
        name: of the validator, for errors.
        option: its name, for errors.

    Raises:
        ConfigError: it is no list, is empty, or has something else in it than texts, or an empty one.
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ConfigError(f"{name}: {option} is a list of texts, not {type(given).__name__}; put it in brackets")
    texts = tuple(given)
    if not texts:
        raise ConfigError(f"{name}: {option} is empty; name at least one text")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise ConfigError(f"{name}: {option}[{number}] is a text, not {type(text).__name__}")
        if not text:
            raise ConfigError(f"{name}: {option}[{number}] is empty, and would be found everywhere; take it out")
    return texts


def number_of(given: object, name: str, option: str) -> int:
    """Return a number from 1 that was given; 5.0 is 5.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, int):
        raise ConfigError(f"{name}: {option} is a whole number, not {given!r}")
    if given < 1:
        raise ConfigError(f"{name}: {option} is a number from 1, not {given}")
    return given
