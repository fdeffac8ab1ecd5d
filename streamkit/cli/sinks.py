"""Choose the sink that suits standard output."""

from __future__ import annotations

import io
import sys

from streamkit.cli.output import Lines, Plain, Sink

__all__ = ["sink"]


def sink(*, as_json: bool) -> Sink:
    """Return what suits standard output."""
    file = sys.stdout or io.StringIO()  # None: the process was started without one
    if as_json:
        return Lines(file)
    if not file.isatty():
        return Plain(file)
    from streamkit.cli.screen import Screen

    return Screen(file)
