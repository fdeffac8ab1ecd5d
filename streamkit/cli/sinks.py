"""Choose the sink that suits standard output."""

from __future__ import annotations

import io
import sys

from streamkit.cli.output import Lines, Plain, Sink

__all__ = ["sink"]


def sink(*, as_json: bool, plain: bool = True) -> Sink:
    """Return what suits standard output.

    Args:
        as_json: whether to write JSON.
        plain: whether to leave Markdown as it is on a terminal; elsewhere it always stays as it is.
    """
    file = sys.stdout or io.StringIO()  # None: the process was started without one
    if as_json:
        return Lines(file)
    if not file.isatty():
        return Plain(file)
    from streamkit.cli.screen import Screen

    screen = Screen(file)
    if plain or screen.tick is None:  # nothing can be drawn again on a terminal that does not move its cursor
        return screen
    from streamkit.cli.markdown_screen import MarkdownScreen

    return MarkdownScreen(file)
