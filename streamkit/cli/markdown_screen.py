"""The answer on a terminal, with its Markdown rendered while it arrives."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TextIO

import attrs
from rich.console import Console

from streamkit.cli.markdown import THEME, Block, Line, blocks_of, rendered
from streamkit.cli.region import Region
from streamkit.cli.screen import Screen

__all__ = ["MarkdownScreen"]

_SECONDS = 0.04  # between two drawings
_SHARE = 4  # so many times as long as a drawing took, the next one waits: a long block must not take the processor
_LINE_SEPARATORS = {0x2028: "\n", 0x2029: "\n"}
_ABOVE = Line("…", 1)  # in place of the lines of a block that the screen has no room for yet
_EMPTY = Line("", 0)


class MarkdownScreen(Screen):
    """The answer as Markdown, block by block.

    A block that is complete is printed once, and scrolls away as any text does. Only the last block, which may still
    change, is drawn again; of one that is taller than the screen, the end is shown until it is complete. The lines of
    a code block do not change, so they scroll away as they come.
    """

    def __init__(self, file: TextIO) -> None:
        super().__init__(file, Console(file=file, theme=THEME))
        self.tick = 0.05
        self._region = Region(self.emit)
        self._clear()

    def _clear(self) -> None:
        self._source = ""  # from the first block on that is not complete
        self._first = Block(0)  # the first block of the source
        self._released = 0  # lines of the first block that have scrolled away
        self._any = False  # whether a block was printed, so that an empty line separates it from the next
        self._drawn = True  # whether all of the source is on the screen
        self._due = 0.0  # on time.monotonic, when to draw next
        self._width = 80  # of the first block; it is not wrapped anew, for a part of it may be gone

    def answer(self, text: str) -> None:
        if not self._source:
            self._width = self._console.width
        self._source += text.translate(_LINE_SEPARATORS)
        self._drawn = False
        if time.monotonic() >= self._due:
            self._draw()

    def idle(self) -> None:
        super().idle()
        if not self._drawn and time.monotonic() >= self._due:
            self._draw()

    def end(self, *, interrupted: bool = False) -> None:
        if self._source:
            self._draw(final=True, spoiled=interrupted)
            if interrupted:
                self.emit("^C")
            self._region.end()
            self._clear()
            self._in_line = False
            interrupted = False
        super().end(interrupted=interrupted)

    def _draw(self, *, final: bool = False, spoiled: bool = False) -> None:
        began = time.monotonic()
        lines = self._completed()
        complete = len(lines)
        block = self._lines(self._source, self._first)
        most = max(2, self._console.height - 1)
        gone = 0
        if not final and len(block) > most:
            gone = min(len(block) - most, self._unchanging())
            shown = block[gone:] if len(block) - gone == most else [_ABOVE, *block[1 - most :]]
            block = [*block[:gone], *shown]
        self._region.draw([*lines, *block], self._console.width, spoiled=spoiled)
        self._region.release(complete + gone)
        self._released += gone
        self._drawn = True
        now = time.monotonic()
        self._due = now + max(_SECONDS, _SHARE * (now - began))

    def _completed(self) -> list[Line]:
        """Return the lines of the blocks that are complete, and take these off the source."""
        whole = self._source[: self._source.rfind("\n") + 1]  # half a line may yet become another kind of block
        blocks = blocks_of(whole, self._first)
        if not blocks:
            return []
        rows = whole.split("\n")
        blocks[0] = attrs.evolve(blocks[0], start=0)
        lines: list[Line] = []
        for block, following in pairwise(blocks):
            lines += self._lines("\n".join(rows[block.start : following.start]), block)
            self._released, self._any = 0, True
            self._width = self._console.width
        last = blocks[-1]
        if len(blocks) > 1:
            self._source = self._source.split("\n", last.start)[last.start]
        self._first = attrs.evolve(last, start=0)
        return lines

    def _unchanging(self) -> int:
        """Return how many of the first lines of the first block stay as they are, whatever comes later."""
        if not self._first.is_code:
            return 0
        whole = self._source[: self._source.rfind("\n") + 1]  # the rest may be the beginning of another block
        return max(0, len(self._lines(whole, self._first)) - 1)  # the last one marks the end of the code

    def _lines(self, source: str, block: Block) -> list[Line]:
        """Return the lines of a block, without those that have scrolled away."""
        lines = rendered(self._console, source, block, self._width)
        if lines and self._any and not block.follows:
            lines.insert(0, _EMPTY)
        return lines[self._released :]
