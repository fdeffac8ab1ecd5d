"""The last lines of a terminal, which can be drawn again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamkit.cli.markdown import Line

__all__ = ["Region"]


class Region:
    """Lines at the end of what was written, with the cursor behind the last one.

    Each change is one write that begins at the first line that differs, so that nothing flickers. A region must not
    have more rows than the terminal has, because no cursor reaches what has scrolled away: ``release`` lines before.

    Args:
        write: writes text to the terminal, flushed.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._lines: list[Line] = []

    def draw(self, lines: Sequence[Line], columns: int, *, spoiled: bool = False) -> None:
        """Show these lines in place of those of the region.

        Args:
            columns: the terminal's width now; lines drawn before may take more rows since.
            spoiled: whether something stands behind the last line, such as the ^C that a terminal shows; it goes.
        """
        old, new = self._lines, list(lines)
        same = 0
        while same < min(len(old), len(new)) and old[same] == new[same]:
            same += 1
        if same == len(old) == len(new) and not spoiled:
            return
        self._lines = new
        last = len(old) - 1
        if not old:
            self._write(_joined(new))
        elif not spoiled and same >= last < len(new) and new[last].text.startswith(old[last].text):
            self._write(_joined(new[last:])[len(old[last].text) :])
        else:
            first = max(0, min(same, last, len(new) - 1))
            rows = sum(line.rows(columns) for line in old[first:])
            # Row by row: of a screen that is erased in one step, tmux keeps a copy in its history.
            erase = "\x1b[A".join(["\x1b[K"] * rows)
            self._write(f"\r{erase}{_joined(new[first:])}")

    def release(self, count: int) -> None:
        """Let the first lines stay as they are; they are no longer of the region."""
        if count and count >= len(self._lines):
            self._write("\n")
        del self._lines[:count]

    def end(self) -> None:
        """Let all lines stay, and begin a new line."""
        self.release(len(self._lines))


def _joined(lines: Sequence[Line]) -> str:
    return "\n".join(line.text for line in lines)
