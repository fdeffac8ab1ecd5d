"""The bar that shows how far a batch is, by tqdm."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from operator import length_hint
from typing import Any

from streamkit.batch.values import BatchTotals
from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError

__all__ = ["Bar", "bar_for"]


class Bar:
    """A bar on standard error, or in a notebook.

    Args:
        made: a bar of tqdm's.
        left: returns about how many prompts are still to be read; below 0 if nobody knows.

    Threads: the program's.
    """

    def __init__(self, made: Any, left: Callable[[], int]) -> None:
        self._bar = made
        self._left = left

    def show(self, totals: BatchTotals, read: int) -> None:
        """Show the figures.

        Args:
            totals: of the batch.
            read: how many prompts were read.
        """
        bar = self._bar
        left = self._left()
        bar.total = None if left < 0 else read + left
        shown = [f"{totals.tokens_per_second:.0f} tokens/s"]
        if totals.cost is not None:
            shown.append(f"${totals.cost:.4f}")
        if totals.failed:
            shown.append(f"{totals.failed} failed")
        bar.set_postfix_str(", ".join(shown), refresh=False)
        done = totals.answered + totals.failed
        bar.update(done - bar.n)  # which writes at most ten times a second

    def tick(self, totals: BatchTotals, read: int) -> None:
        """Show the figures, although nothing has ended: the time passes."""
        self.show(totals, read)
        self._bar.refresh()

    def close(self, totals: BatchTotals, read: int) -> None:
        """Show the last figures, and leave them there."""
        if not self._bar.disable:
            self.tick(totals, read)
        self._bar.close()


def bar_for(asked: bool | None, prompts: Any) -> Bar | None:
    """Return a bar; ``None`` if there shall be none.

    Args:
        asked: ``None`` for a bar where somebody can see it and tqdm is installed.
        prompts: the iterable; if it knows how many are left, so does the bar.

    Raises:
        ConfigError: a bar was asked for, and tqdm is not installed.
    """
    if asked is False or (asked is None and not _is_watched()):
        return None
    try:
        tqdm = late_import("tqdm.auto").tqdm
    except ImportError:
        if asked is None:
            return None
        raise ConfigError('progress=True needs the extra "batch": python -m pip install "streamkit[batch]"') from None

    def left() -> int:
        try:
            return length_hint(prompts, -1)
        except Exception:  # of the program's own __length_hint__
            return -1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in a notebook without ipywidgets it warns, and shows text
        first = left()
        made = tqdm(total=None if first < 0 else first, unit=" replies", file=sys.stderr, miniters=0, **_width())
    return Bar(made, left)


def _width() -> dict[str, Any]:
    """Return the options for the width: that of the terminal, or 80 columns of one that does not say it."""
    with suppress(OSError, ValueError, AttributeError):
        if not os.get_terminal_size(sys.stderr.fileno()).columns:
            return {"ncols": 80, "nrows": 20}
    return {"dynamic_ncols": True}


def _is_watched() -> bool:
    """Return whether standard error is a terminal, or this is a notebook."""
    shell = sys.modules.get("IPython")
    if shell is not None and "IPKernelApp" in getattr(shell.get_ipython(), "config", ()):
        return True
    return sys.stderr is not None and sys.stderr.isatty()
