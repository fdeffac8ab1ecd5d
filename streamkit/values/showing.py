"""How values show themselves in a notebook: they ask the package ``notebook``, which is imported when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["html_of", "import_rooms_by", "plot_of"]

_import: Callable[[str], ModuleType] = import_module  # replaced once, when the package is imported


def import_rooms_by(late_import: Callable[[str], ModuleType]) -> None:
    """Have the notebook's code imported by this function, because the values import nothing of the package."""
    global _import
    _import = late_import


def html_of(value: Any) -> str:
    """Return a value as HTML. All that a model or a user wrote is text in it, and no script runs."""
    html: str = _import("streamkit.notebook.html").html_of(value)
    return html


def plot_of(value: Any, axes: Any = None) -> Any:
    """Draw a value, and return matplotlib's axes.

    Raises:
        ConfigError: matplotlib is not installed, or there is nothing to draw.
    """
    return _import("streamkit.notebook.plots").plot_of(value, axes)
