"""A text that a simple regular expression matches, for schemas with a `pattern`."""

from __future__ import annotations

import re

__all__ = ["example_of"]

_CLASSES = {"d": "1234567890", "w": "abcdefghij", "s": " ", "D": "abc", "W": "-", "S": "abcdefghij"}
_ANYTHING = "abcdefghij"
_QUANTIFIER = re.compile(r"\{(\d+)(,?)(\d*)\}|[*+?]")


class _TooHard(Exception):
    """The pattern has something that is not simple: a look-around, a back reference."""


def example_of(pattern: str, size: int = 1) -> str | None:
    """Return a text that a pattern matches, or None where it is not simple.

    Args:
        pattern: literals, classes, groups, alternatives and quantifiers.
        size: how often to repeat whatever may be repeated without end.
    """
    try:
        text, _ = _Reader(pattern, size).alternatives(0)
    except (_TooHard, IndexError):
        return None
    return text if re.search(pattern, text) else None


class _Reader:
    """Reads a pattern from left to right; each method takes a place, and returns a text and the place after it."""

    def __init__(self, pattern: str, size: int) -> None:
        self.pattern = pattern
        self.size = size

    def alternatives(self, at: int) -> tuple[str, int]:
        """Read up to the end or a closing bracket; the first alternative counts."""
        first: str | None = None
        text = ""
        while at < len(self.pattern) and self.pattern[at] != ")":
            if self.pattern[at] == "|":
                first, text, at = text if first is None else first, "", at + 1
                continue
            options, at = self.atom(at)
            times, at = self.times(at)
            text += "".join(options[turn % len(options)] for turn in range(times)) if options else ""
        return (text if first is None else first), at

    def atom(self, at: int) -> tuple[list[str], int]:
        """Read one thing that can be repeated: the texts that it may be."""
        here = self.pattern[at]
        if here in "^$":
            return [], at + 1
        if here == "(":
            return self.group(at + 1)
        if here == "[":
            return self.characters(at + 1)
        if here == "\\":
            return self.escaped(at + 1)
        return (list(_ANYTHING) if here == "." else [here]), at + 1

    def group(self, at: int) -> tuple[list[str], int]:
        opening = re.compile(r"\?:|\?P?<\w+>").match(self.pattern, at)
        if self.pattern[at] == "?" and opening is None:
            raise _TooHard
        text, at = self.alternatives(opening.end() if opening else at)
        return [text], at + 1

    def escaped(self, at: int) -> tuple[list[str], int]:
        here = self.pattern[at]
        if here in "bBAZ":
            return [], at + 1
        if here.isdigit():
            raise _TooHard
        return list(_CLASSES.get(here, here)), at + 1

    def characters(self, at: int) -> tuple[list[str], int]:
        end = at
        while self.pattern[end] != "]" or end == at:
            end += 2 if self.pattern[end] == "\\" else 1
        one = re.compile(f"[{self.pattern[at:end]}]")
        found = [
            character
            for character in map(chr, (*range(97, 123), *range(48, 58), *range(32, 127)))
            if one.match(character)
        ]
        if not found:
            raise _TooHard
        return found, end + 1

    def times(self, at: int) -> tuple[int, int]:
        match = _QUANTIFIER.match(self.pattern, at)
        if match is None:
            return 1, at
        if match.group(1) is None:
            return (1 if match.group() == "?" else self.size), match.end() + self._lazy(match.end())
        least = int(match.group(1))
        most = int(match.group(3)) if match.group(3) else least + self.size if match.group(2) else least
        return min(max(least, self.size), most), match.end() + self._lazy(match.end())

    def _lazy(self, at: int) -> int:
        return 1 if self.pattern[at : at + 1] in ("?", "+") else 0
