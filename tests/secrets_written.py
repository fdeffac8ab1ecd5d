"""A detector of keys in a test's output: terminal, log at any level, and files.

It records each secret that the library wraps during a test. After each phase of the test it searches the captured
output and the files of the test's folder for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamkit.wire.secrets import Masked

# What tests use as keys; short words and media types, which pass through headers as well, are none.
LOOKS_LIKE_A_KEY = re.compile(r"(?i)(?=.{8})(?:.*(?:sk-|key-|tok_|secret|AKIA).*)", re.DOTALL)
# A test that writes its own key on purpose, into a script that it runs, says so.
ALLOWED = "writes_keys"

_seen: set[str] = set()


def _noting(cls: type[Masked], value: object = "") -> Masked:
    made: Masked = str.__new__(cls, value)  # type: ignore[assignment]
    if LOOKS_LIKE_A_KEY.fullmatch(made):
        _seen.add(str.__str__(made).removeprefix("Bearer "))
    return made


def watch_for_keys() -> None:
    """Begin to note the keys of this process."""
    Masked.__new__ = staticmethod(_noting)  # type: ignore[method-assign,assignment]


def forget_keys() -> None:
    """Forget those of earlier tests: one test's key may be another's plain text."""
    _seen.clear()


def keys_written(texts: Iterator[tuple[str, str]]) -> list[str]:
    """Return where keys were found: places, never the keys."""
    return [place for place, text in texts if any(key in text for key in _seen)]


def texts_of(item: pytest.Item, sections: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Iterate what a test wrote, with the place of each."""
    yield from sections
    folder: Any = getattr(item, "funcargs", {}).get("tmp_path")
    if isinstance(folder, Path):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield str(path.relative_to(folder)), path.read_bytes().decode("utf-8", "replace")
