"""Words of a prompt, of a tool's name and of its description, in a form in which they can be compared."""

from __future__ import annotations

import re

__all__ = ["STOP_WORDS", "shared", "stem", "stems", "words_of"]

STOP_WORDS = frozenset(
    """a an and any are as at be been by can could did do does for from give had has have how i if in into is it its
    let list many me much my need no not of on one or our out over please she he show so some tell than thank thanks
    that the their them then there these they this those to today tomorrow up us use using want was we were what when
    where which who whose why will with without would you your yes about after again all also am current currently
    each every first hello hi just let like more most now other tool call function would should shall may""".split()
)
"""Words that say nothing of what is asked."""

_ENDINGS = (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("ss", "ss"), ("s", ""))
_SHORTEST_STEM = 3


def words_of(text: str) -> list[str]:
    """Return the words of a text or a name in lower case: `getWeather_at` has three."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    return [word.lower() for word in re.findall(r"[^\W\d_]+|\d+", apart)]


def stem(word: str) -> str:
    """Return a word without its ending, so that `cities` and `city`, `refunded` and `refund` are equal."""
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) + len(instead) >= _SHORTEST_STEM:
            word = word[: -len(ending)] + instead
            break
    if len(word) > _SHORTEST_STEM and word[-1] == word[-2] and word[-1] not in "aeioulsz":
        word = word[:-1]  # running, stopped
    return word[:-1] if len(word) > _SHORTEST_STEM and word[-1] == "e" else word


def stems(text: str) -> list[str]:
    """Return the stems of the words that say something."""
    return [stem(word) for word in words_of(text) if word not in STOP_WORDS]


def shared(one: str, other: str) -> bool:
    """Return whether two texts have the same words that say something, whatever their order and endings."""
    return bool(stems(one)) and set(stems(one)) == set(stems(other))
