"""The answer on a terminal."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from streamkit.cli.output import Plain, without_controls
from streamkit.values.chunks import Chunk

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Screen"]

_CUT = {
    "length": "[cut off at the token limit]",
    "content_filter": "[cut off by the provider's content filter]",
}


class Screen(Plain):
    """Plain text without control characters, after the reasoning, which is dimmed.

    rich writes the dimmed text, as it knows whether and how each terminal can dim. The answer is written directly: it
    is not markup, and must not be wrapped at a width that may change.
    """

    def __init__(self, file: TextIO) -> None:
        super().__init__(file)
        self._reasons = False  # whether the last text shown is reasoning

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(file=self._file)

    def show(self, chunk: Chunk) -> None:
        if chunk.index:
            return
        if chunk.reasoning:
            self._reasons = True
            self.dim(chunk.reasoning)
        elif text := chunk.text or chunk.refusal:
            if self._reasons:
                self._reasons = False
                self.end()
                self.write("\n")
            self.write(text)
        elif note := _CUT.get(chunk.finish_reason or ""):
            self.note(note)

    def end(self, *, interrupted: bool = False) -> None:
        self._reasons = False
        self._in_line = self._in_line or interrupted  # the terminal has shown ^C
        super().end()

    def note(self, text: str) -> None:
        self.end()
        self.dim(f"{text}\n")

    def write(self, text: str) -> None:
        super().write(without_controls(text))

    def dim(self, text: str) -> None:
        """Write a piece, dimmed.

        Raises:
            Unwritable: the terminal was closed.
        """
        from rich.segment import Segment, Segments
        from rich.style import Style

        # Segments are written as they stand: no markup, no wrapping, no white space lost at the edges.
        self._console.print(Segments([Segment(without_controls(text), Style(dim=True))]), end="", crop=False)
        self._in_line = not text.endswith("\n")
