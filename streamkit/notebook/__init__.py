"""Streams in notebooks: live display, HTML of replies, plots, and the magics ``%%ask`` and ``%ask``."""

from __future__ import annotations

from typing import Any

from streamkit.concurrency.late_import import late_import

__all__ = ["load_ipython_extension"]


def load_ipython_extension(shell: Any) -> None:
    """Add the magics to IPython: ``%load_ext streamkit.notebook``."""
    late_import("streamkit.notebook.magics").register(shell)
