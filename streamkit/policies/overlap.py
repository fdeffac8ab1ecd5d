"""Take away what the continuation of a text repeats of the text's end: ``Overlap``."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Overlap"]


class Overlap:
    """The beginning of a continuation, while it may still be a repetition of the end of the text before it.

    The longest repetition counts. A piece of text is held back only while it may be a part of a longer one.

    Where a text goes on with the very characters that it has ended with, this cannot be told from a repetition, and
    these characters are lost: "hel" and "lo" give "helo". So a model should be asked to repeat some words.

    Args:
        before: the text before.
        starts: places in it where a repetition may begin. Each goes up to the end of the text.
    """

    def __init__(self, before: str, starts: Iterable[int]) -> None:
        self._before = before
        self._alive = [start for start in starts if 0 <= start < len(before)]  # in ascending order: longest first
        self._held = ""
        self._repeated = 0  # characters of the longest repetition that is whole

    @property
    def decided(self) -> bool:
        """Whether all further text is new."""
        return not self._alive

    def add(self, text: str) -> str:
        """Take in the next piece of the continuation, and return what is known to be new."""
        if self.decided:
            return text
        before, seen = self._before, len(self._held)
        alive = []
        for start in self._alive:
            left = len(before) - start - seen  # characters of this repetition that are still to come
            if left <= len(text):
                if text.startswith(before[start + seen :]):
                    self._repeated = max(self._repeated, left + seen)
            elif before.startswith(text, start + seen):
                alive.append(start)
        self._held += text
        self._alive = [start for start in alive if len(before) - start > self._repeated]
        return "" if self._alive else self.rest()

    def rest(self) -> str:
        """Return what is new of the text that is held back, as no more comes, or none that could change it."""
        self._alive = []
        held, self._held = self._held[self._repeated :], ""
        self._repeated = 0
        return held
