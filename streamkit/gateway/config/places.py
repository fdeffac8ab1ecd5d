"""On which line of a TOML file each value stands: ``lines_of``.

``tomllib`` tells no positions. tomlkit keeps the formatting and no lines either (python-poetry/tomlkit#55), and takes
thirty times as long; a concrete syntax tree would be a compiled dependency. The scanner reads only text that
``tomllib`` has accepted, so it has no errors to find: it follows keys, brackets and strings, and nothing else.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from streamkit.gateway.config.toml import parse

__all__ = ["Path", "lines_of"]

#: Where a value is: keys of tables, and numbers of items of arrays.
Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{1,2}(?!"))?|'  # up to two quotation marks may stand before the closing three
    r"'''.*?'''(?:'{1,2}(?!'))?|"
    r"""\"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""",
    re.DOTALL,
)
_SCALAR = re.compile(r"\d{4}-\d\d-\d\d \d[\d:.+Zz-]*|[^\s,\]}#]+")  # a date may have a blank before its time


def lines_of(text: str) -> dict[Path, int]:
    """Return the line, from 1, of each table, key and item of an array.

    Args:
        text: TOML that ``tomllib`` accepts; of anything else the result is not defined.
    """
    return _Scanner(text).scan()


class _Scanner:
    """Follows one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._at = 0
        self._lines: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}  # arrays of tables, and how many tables each has so far

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._lines

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        assert found is not None, "only text that tomllib has accepted"
        self._at = found.end()
        return found[0]

    def _header(self) -> Path:
        line, many = self._line(), self._text.startswith("[[", self._at)
        self._at += 2 if many else 1
        parts = self._key()
        self._at += 2 if many else 1
        path: Path = ()
        for part in parts[:-1]:
            path = self._inside((*path, part))
            self._lines.setdefault(path, line)
        path = (*path, parts[-1])
        if many:
            number = self._tables[path] = self._tables.get(path, -1) + 1
            self._lines.setdefault(path, line)
            path = (*path, number)
        # A table may be named after its own sub-tables, or after keys with dots: its header is where it stands.
        self._lines[path] = line
        return path

    def _inside(self, path: Path) -> Path:
        """Return the path of a table; of an array of tables that of its last one."""
        return (*path, self._tables[path]) if path in self._tables else path

    def _pair(self, table: Path) -> None:
        line, path = self._line(), table
        for part in self._key():
            path = (*path, part)
            self._lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._value(path)

    def _key(self) -> list[str]:
        """Read a key with its dots, and the blanks around it."""
        self._skip(_BLANK)
        parts = [_decoded(self._skip(_PART))]
        while dot := _DOT.match(self._text, self._at):
            self._at = dot.end()
            parts.append(_decoded(self._skip(_PART)))
        self._skip(_BLANK)
        return parts

    def _value(self, path: Path) -> None:
        self._skip(_BLANK)
        first = self._text[self._at]
        if first == "[":
            self._items(path)
        elif first == "{":
            self._inline(path)
        else:
            self._skip(_STRING if first in "\"'" else _SCALAR)

    def _items(self, path: Path) -> None:
        self._at += 1
        number = 0
        while self._next("]"):
            item = (*path, number)
            self._lines[item] = self._line()
            self._value(item)
            number += 1

    def _inline(self, path: Path) -> None:
        self._at += 1
        while self._next("}"):
            self._pair(path)

    def _next(self, end: str) -> bool:
        """Move to the next item, or behind the closing bracket; return whether there is an item."""
        self._skip(_BLANK)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_BLANK)
        if self._text[self._at] != end:
            return True
        self._at += 1
        return False

    def _line(self) -> int:
        return bisect_right(self._starts, self._at)


def _decoded(part: str) -> str:
    if part[0] == "'" or (part[0] == '"' and "\\" not in part):
        return part[1:-1]
    if part[0] == '"':
        text: str = parse(f"key = {part}")["key"]
        return text
    return part
