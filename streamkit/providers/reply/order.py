"""Record the order of text, calls and provider data in a reply, and restore it when the reply is sent back.

A message has its text as one string and its calls as a list. Some providers want their own blocks back in their
places. The decoder records what came before each block: ``{"layout": [["text", 12], ["call", 0]]}`` stands for 12
characters of the text and the first call.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamkit.wire.loose_json import as_list

__all__ = ["Layout", "in_order"]


class Layout:
    """Records, while a reply is decoded, what came since the last block of provider data.

    Attributes:
        text: characters of text since the last entry; a decoder adds to it.
        place: the item that they belong to, for formats whose items may arrive out of order.
    """

    def __init__(self) -> None:
        self.text = 0
        self.place: Any = 0
        self._count = 0  # entries so far, which is the order they are told in
        self._entries: list[tuple[int, list[Any]]] = []  # those that no block can stand before
        self._placed: list[tuple[int, int, list[Any]]] = []  # the others by their place, as a heap

    def at(self, place: Any) -> None:
        """Set the item that comes next."""
        if place != self.place:
            self._end_text()
            self.place = place

    def call(self, which: int) -> None:
        """Record that a call begins."""
        self._end_text()
        self._note(["call", which])

    def take(self, before: int | None = None) -> list[dict[str, Any]]:
        """Return the layout entry that belongs before a block, none if nothing came since the last block.

        Args:
            before: the place of the block, if places are numbers; entries of later places are kept for later.
        """
        self._end_text()
        taken, self._entries = self._entries, []
        while self._placed and (before is None or self._placed[0][0] < before):
            taken.append(heapq.heappop(self._placed)[1:])
        return [{"layout": [entry for _, entry in sorted(taken)]}] if taken else []

    def _end_text(self) -> None:
        if self.text:
            self._note(["text", self.text])
            self.text = 0

    def _note(self, entry: list[Any]) -> None:
        self._count += 1
        if isinstance(self.place, int):
            heapq.heappush(self._placed, (self.place, self._count, entry))
        else:
            self._entries.append((self._count, entry))


def in_order(
    data: Sequence[Mapping[str, Any]],
    text: str,
    calls: Sequence[Any],
    say: Callable[[str], Any],
    *,
    blanks: bool = True,
) -> list[Any]:
    """Return a turn's parts in the order in which they came.

    The user may have changed the message: text and calls that the layout does not mention come last.

    Args:
        data: the turn's provider data, layouts among them.
        text: all of its text.
        calls: its calls, in the wire format.
        say: converts a piece of text to the wire format.
        blanks: whether a piece of only white space is sent.
    """
    parts: list[Any] = []
    left = dict(enumerate(calls))

    def add_text(piece: str) -> None:
        if piece.strip() or (blanks and piece):
            parts.append(say(piece))

    for datum in data:
        if "layout" not in datum:
            parts.append(datum)
            continue
        for kind, value in (entry for entry in as_list(datum["layout"]) if len(as_list(entry)) == 2):
            if not isinstance(value, int):
                continue
            if kind == "call" and value in left:
                parts.append(left.pop(value))
            elif kind == "text":
                add_text(text[: max(0, value)])
                text = text[max(0, value) :]
    add_text(text)
    return [*parts, *left.values()]
