"""What a terminal shows after some output, by pyte, a terminal emulator."""

from __future__ import annotations

import pyte
import pyte.modes

__all__ = ["lines_on"]


def lines_on(output: str, *, columns: int = 80, rows: int = 25) -> list[str]:
    """Return the lines of a terminal's history and screen, without white space at their ends."""
    screen = pyte.HistoryScreen(columns, rows, history=100_000, ratio=0.5)
    screen.set_mode(pyte.modes.LNM)  # a line feed goes to the first column, as after the terminal's own translation
    pyte.Stream(screen).feed(output)
    gone = ["".join(line[column].data for column in range(columns)) for line in screen.history.top]
    lines = [line.rstrip() for line in (*gone, *screen.display)]
    while lines and not lines[-1]:
        lines.pop()
    return lines
