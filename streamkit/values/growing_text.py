"""The arguments of one tool call, as its pieces share them: ``GrowingText``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamkit.values.partial_json import PartialJson

__all__ = ["GrowingText", "import_by"]

_import: Callable[[str], ModuleType] = import_module  # replaced once, when the package is imported


def import_by(late_import: Callable[[str], ModuleType]) -> None:
    """Have the parser imported by this function, because the values import nothing of the package."""
    global _import
    _import = late_import


class GrowingText:
    """The pieces of one JSON text, which the deltas of a tool call share.

    Threads: one adds pieces, any may look.
    """

    __slots__ = ("_last", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._last: list[tuple[int, PartialJson]] = []  # what the last look left: pieces read, and their value

    def add(self, piece: str) -> int:
        """Add a piece, and return how many there are."""
        self._pieces.append(piece)
        return len(self._pieces)

    def value(self, count: int) -> Any:
        """Return the value of the first ``count`` pieces.

        Looks in order cost the length of the text altogether; a look back reads the text from its beginning.
        """
        # Taken out while it is used: a second thread, or the next look after an interrupt, starts anew.
        partial: PartialJson | None
        try:
            read, partial = self._last.pop()
        except IndexError:
            read, partial = 0, None
        if partial is None or read > count:
            read, partial = 0, _import("streamkit.values.partial_json").PartialJson()
        for piece in self._pieces[read:count]:
            partial.add(piece)
        value = partial.value
        self._last = [(count, partial)]
        return value
