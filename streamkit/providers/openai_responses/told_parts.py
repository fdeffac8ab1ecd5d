"""How much of the parts of one item was delivered, so that nothing of it is delivered twice."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ToldParts"]


class ToldParts:
    """The characters delivered of one item's parts of one kind, such as its text.

    Attributes:
        lengths: of each part, by the number that its deltas have.
    """

    def __init__(self) -> None:
        self.lengths: dict[int, int] = {}

    def add(self, part: int, length: int) -> None:
        """Count characters of a part."""
        self.lengths[part] = self.lengths.get(part, 0) + length

    def rest_of(self, parts: Mapping[int, str]) -> list[tuple[int, str]]:
        """Return what was not delivered of the parts: each with its number.

        Args:
            parts: the whole text of each, by its number in the item.
        """
        if all(length <= len(parts.get(part, "")) for part, length in self.lengths.items()):
            return [(part, text[self.lengths.get(part, 0) :]) for part, text in parts.items()]
        # The deltas were numbered in another way, or not at all: compare the text of all parts.
        return [(0, "".join(parts.values())[sum(self.lengths.values()) :])]
