"""Record the order of text, calls and provider data in a reply, and restore it when the reply is sent back.

A message has its text as one string and its calls as a list. Some providers want their own blocks back in their
places. The decoder records what came before each block: ``{"layout": [["text", 12], ["call", 0]]}`` stands for 12
characters of the text and the first call.
"""

from __future__ import annotations

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
        self._entries: list[tuple[Any, list[Any]]] = []  # each with its place

    def at(self, place: Any) -> None:
        """Set the item that comes next."""
        if place != self.place:
            self._end_text()
            self.place = place

    def call(self, which: int) -> None:
        """Record that a call begins."""
        self._end_text()
        self._entries.append((self.place, ["call", which]))

    def take(self, before: int | None = None) -> list[dict[str, Any]]:
        """Return the layout entry that belongs before a block, none if nothing came since the last block.

        Args:
            before: the place of the block, if places are numbers; entries of later places are kept for later.
        """
        self._end_text()
        later = [(place, entry) for place, entry in self._entries if _is_behind(place, before)]
        entries = [entry for place, entry in self._entries if not _is_behind(place, before)]
        self._entries = later
        return [{"layout": entries}] if entries else []

    def _end_text(self) -> None:
        if self.text:
            self._entries.append((self.place, ["text", self.text]))
            self.text = 0


def _is_behind(place: Any, block: int | None) -> bool:
    return block is not None and isinstance(place, int) and place >= block


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
