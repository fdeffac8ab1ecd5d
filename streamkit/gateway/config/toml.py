"""Read TOML: Python's own reader, or ``tomli`` before Python 3.11."""

from __future__ import annotations

import re
import sys
from decimal import Decimal
from typing import Any

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError

__all__ = ["NotToml", "parse"]

_AT_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class NotToml(ValueError):
    """A text that is no TOML.

    Args:
        message: what is wrong.
        line: where, from 1.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def parse(text: str) -> dict[str, Any]:
    """Return the values of a text; numbers with a point are exact decimals, as they may be money.

    Raises:
        NotToml: it is none.
        ConfigError: this Python has no reader, and tomli is not installed.
    """
    library = late_import("tomllib") if sys.version_info >= (3, 11) else _tomli()
    try:
        tree: dict[str, Any] = library.loads(text, parse_float=Decimal)
    except RecursionError:
        raise NotToml("it is nested too deep", 1) from None
    except ValueError as error:
        message = str(error)
        found = _AT_LINE.search(message)
        line = int(found[1]) if found and found[1] else max(len(text.splitlines()), 1)
        raise NotToml(_AT_LINE.sub("", message), line) from None
    return tree


def _tomli() -> Any:
    try:
        return late_import("tomli")
    except ModuleNotFoundError:
        raise ConfigError('a configuration needs tomli: python -m pip install "streamkit[serve]"') from None
