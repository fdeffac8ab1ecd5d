"""In which order text, calls and what goes back as it came stood in a reply, for its way back with the history.

A message has its text in one piece and its calls in a list. Where a provider wants its own blocks back in their
places, the decoder notes what stood before each: ``{"layout": [["text", 12], ["call", 0]]}`` is 12 characters of
the text and the first call.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamkit.wire.loose_json import as_list

__all__ = ["Layout", "in_order"]


class Layout:
    """Notes, while a reply is decoded, what came since the last block that goes back as it came.

    Attributes:
        text: characters told since the last entry; a decoder adds to it.
        place: of the item that they belong to, for formats whose items need not be told in their order.
    """

    def __init__(self) -> None:
        self.text = 0
        self.place: Any = 0
        self._count = 0  # entries so far, which is the order they are told in
        self._entries: list[tuple[int, list[Any]]] = []  # those that no block can stand before
        self._placed: list[tuple[int, int, list[Any]]] = []  # the others by their place, as a heap

    def at(self, place: Any) -> None:
        """Take note of which item comes next."""
        if place != self.place:
            self._end_text()
            self.place = place

    def call(self, which: int) -> None:
        """Take note that a call begins."""
        self._end_text()
        self._note(["call", which])

    def take(self, before: int | None = None) -> list[dict[str, Any]]:
        """Return the provider data that belong before a block, none where there is nothing new.

        Args:
            before: the place of the block, where places are numbers: what stands behind it is kept for later.
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

    What the layout does not place, as the user may have changed the message, comes last.

    Args:
        data: the turn's provider data, layouts among them.
        text: all of its text.
        calls: its calls, as they are sent.
        say: makes what is sent of a piece of text.
        blanks: whether a piece that is only white space is sent.
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
