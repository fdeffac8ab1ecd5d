"""The answer on a terminal."""

from __future__ import annotations

import time
from typing import TextIO

from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style
from rich.text import Text

from streamkit.cli.calls import call_text, result_text
from streamkit.cli.output import Plain, without_controls
from streamkit.values.chunks import Chunk, ToolResult

__all__ = ["Screen", "can_move"]

_CUT = {
    "length": "[cut off at the token limit]",
    "content_filter": "[cut off by the provider's content filter]",
}
_DIM = Style(dim=True)
_CALL = Style(bold=True)
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SIMPLE_FRAMES = "|/-\\"
_FRAMES_PER_SECOND = 10
_ERASE_LINE = "\r\x1b[K"


class Screen(Plain):
    """Plain text without control characters, after the reasoning, which is dimmed. Until the first text, the seconds.

    rich writes the dimmed text, as it knows whether and how each terminal can dim. The answer is written directly: it
    is not markup, and must not be wrapped at a width that may change.
    """

    def __init__(self, file: TextIO, console: Console | None = None) -> None:
        super().__init__(file)
        self.shows_calls = True
        self._console = console or Console(file=file)
        self._moves = can_move(self._console)
        self.tick = 1 / _FRAMES_PER_SECOND if self._moves else None
        self._frames = _FRAMES if "utf" in (file.encoding or "").lower() else _SIMPLE_FRAMES
        self._frame = ""  # the frame of the spinner that is on the screen
        self._waiting_since: float | None = None  # on time.monotonic; None once there is text
        self._reasons = False  # whether the last text shown is reasoning

    def begin(self) -> None:
        self._waiting_since = time.monotonic()

    def idle(self) -> None:
        if self._waiting_since is None or not self._moves:
            return
        seconds = time.monotonic() - self._waiting_since
        frame = f"{self._frames[int(seconds * _FRAMES_PER_SECOND) % len(self._frames)]} {int(seconds)} s"
        if frame != self._frame:
            self._frame = frame
            self._dim(f"\r{frame}")

    def show(self, chunk: Chunk) -> None:
        if chunk.index:
            return
        if chunk.tool_result is not None:
            self._show_result(chunk.tool_result)
        elif chunk.tool_call is not None:
            self._show_call(chunk)
        elif chunk.reasoning:
            self._stop_waiting()
            self._reasons = True
            self.dim(chunk.reasoning)
        elif text := chunk.text or chunk.refusal:
            self._stop_waiting()
            if self._reasons:
                self._end_reasoning()
            self.answer(without_controls(text))
        elif note := _CUT.get(chunk.finish_reason or ""):
            self.note(note)

    def _show_call(self, chunk: Chunk) -> None:
        """Show a call that is whole, so that somebody can decide on it; while it arrives, the seconds."""
        call = chunk.tool_call
        assert call is not None
        if chunk.type == "tool_approval":
            self.end()
            self._emit_styled(f"{call_text(call.name, call.arguments)}\n", _CALL)
        elif call.name and self._waiting_since is None:
            self.end()
            self.begin()

    def _show_result(self, result: ToolResult) -> None:
        """Show the beginning of a result, and wait for the next reply."""
        self.end()
        if result.error != "not approved":  # somebody has just said so
            line = Text(result_text(result))
            line.truncate(self._console.width, overflow="ellipsis")
            self.dim(f"{line.plain}\n")
        self.begin()

    def answer(self, text: str) -> None:
        """Write a piece of the answer, which has no control characters."""
        self.write(text)

    def _end_reasoning(self) -> None:
        self.end()
        self.write("\n")

    def _stop_waiting(self) -> bool:
        """Take the spinner away; return whether there was one."""
        self._waiting_since = None
        if not self._frame:
            return False
        self._frame = ""
        self.write(_ERASE_LINE)
        self._in_line = False
        return True

    def end(self, *, interrupted: bool = False) -> None:
        if self._stop_waiting() and interrupted:
            self.write("^C")  # the terminal has shown it behind the spinner
        self._reasons = False
        self._in_line = self._in_line or interrupted  # the terminal has shown ^C
        super().end()

    def note(self, text: str) -> None:
        self.end()
        self.dim(f"{text}\n")

    def dim(self, text: str) -> None:
        """Write a piece, dimmed.

        Raises:
            Unwritable: the terminal was closed.
        """
        self._dim(without_controls(text))
        self._in_line = not text.endswith("\n")

    def _dim(self, text: str) -> None:
        self._emit_styled(text, _DIM)

    def _emit_styled(self, text: str, style: Style) -> None:
        # Segments are written as they stand: no markup, no wrapping, no white space lost at the edges.
        with self._console.capture() as captured:
            self._console.print(Segments([Segment(text, style)]), end="", crop=False)
        self.emit(captured.get())


def can_move(console: Console) -> bool:
    """Return whether the terminal can move its cursor."""
    return console.is_terminal and not console.is_dumb_terminal and not console.legacy_windows
