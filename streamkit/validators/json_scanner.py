"""Whether a text is JSON, character by character: ``JsonScanner``."""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["JsonScanner"]

_BLANKS = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_HEX = frozenset("0123456789abcdefABCDEF")
_DIGITS = frozenset("0123456789")
_LITERALS = {"t": "rue", "f": "alse", "n": "ull"}

_State = Literal[
    "value",  # a value must come
    "value or ]",
    "key",
    "key or }",
    "colon",
    "after",  # a value is whole: a comma, a closing bracket, or nothing more
    "string",
    "escape",
    "hex",
    "literal",
    "-",  # of a number: only a digit may follow, and so on
    "0",
    "digits",
    ".",
    "fraction",
    "e",
    "e+",
    "exponent",
]

# For each state of a number, what may follow; "9" is any digit.
_NUMBER: dict[str, dict[str, _State]] = {
    "-": {"0": "0", "9": "digits"},
    "0": {".": ".", "e": "e"},
    "digits": {"0": "digits", "9": "digits", ".": ".", "e": "e"},
    ".": {"0": "fraction", "9": "fraction"},
    "fraction": {"0": "fraction", "9": "fraction", "e": "e"},
    "e": {"0": "exponent", "9": "exponent", "+": "e+"},  # and "-"
    "e+": {"0": "exponent", "9": "exponent"},
    "exponent": {"0": "exponent", "9": "exponent"},
}
_BLANKS_BEFORE = ("value", "value or ]", "key", "key or }", "colon", "after")
_WHOLE_NUMBERS = ("0", "digits", "fraction", "exponent")


class JsonScanner:
    """Follows a text through the grammar of RFC 8259, and finds the first character that cannot be.

    It decodes nothing, keeps nothing but the open brackets, and has no limit of depth.
    """

    def __init__(self) -> None:
        self._state: _State = "value"
        self._open: list[str] = []
        self._is_key = False  # whether the string is a key
        self._rest = ""  # of a literal
        self._hex_left = 0

    @property
    def whole(self) -> bool:
        """Whether the text so far is a whole value."""
        return not self._open and (self._state == "after" or self._state in _WHOLE_NUMBERS)

    def add(self, text: str) -> int | None:
        """Take in more text; return the position in it of the first character that cannot be, or ``None``."""
        position = 0
        while position < len(text):
            run = _PLAIN if self._state == "string" else _BLANKS if self._state in _BLANKS_BEFORE else None
            if run is not None:
                match = run.match(text, position)
                assert match is not None
                position = match.end()
                if position == len(text):
                    break
            taken = self._take(text[position])
            if taken is None:
                return position
            position += taken
        return None

    def _take(self, character: str) -> int | None:
        """Take in a character; return 1, or 0 if it has only ended a number, or ``None`` if it cannot be."""
        state = self._state
        if state in _NUMBER:
            if self._number(character):
                return 1
            if state not in _WHOLE_NUMBERS:
                return None
            self._state = "after"
            return 0
        may_be = self._between(character) if state in _BLANKS_BEFORE else self._inside(character)
        return 1 if may_be else None

    def _number(self, character: str) -> bool:
        kind = "9" if character in _DIGITS and character != "0" else character
        kind = {"E": "e", "-": "+"}.get(kind, kind)
        following = _NUMBER[self._state].get(kind)
        if following is None:
            return False
        self._state = following
        return True

    def _inside(self, character: str) -> bool:
        """Take in a character of a string or a literal; return whether it may be there."""
        if self._state == "string":
            if character == '"':
                self._state = "colon" if self._is_key else "after"
            elif character == "\\":
                self._state = "escape"
            else:
                return False
            return True
        if self._state == "escape":
            if character == "u":
                self._state, self._hex_left = "hex", 4
                return True
            self._state = "string"
            return character in '"\\/bfnrt'
        if self._state == "hex":
            self._hex_left -= 1
            if not self._hex_left:
                self._state = "string"
            return character in _HEX
        if character != self._rest[0]:
            return False
        self._rest = self._rest[1:]
        if not self._rest:
            self._state = "after"
        return True

    def _between(self, character: str) -> bool:
        """Take in a character that is neither blank nor inside of a value; return whether it may be there."""
        state = self._state
        if state == "colon":
            self._state = "value"
            return character == ":"
        if state == "after":
            return self._after(character)
        if state in ("key", "key or }"):
            if character == '"':
                self._state, self._is_key = "string", True
                return True
            return state == "key or }" and self._close(character)
        if state == "value or ]" and character == "]":
            return self._close(character)
        return self._begin(character)

    def _begin(self, character: str) -> bool:
        """Begin a value."""
        if character == "{":
            self._open.append("}")
            self._state = "key or }"
        elif character == "[":
            self._open.append("]")
            self._state = "value or ]"
        elif character == '"':
            self._state, self._is_key = "string", False
        elif character in _LITERALS:
            self._state, self._rest = "literal", _LITERALS[character]
        elif character == "-":
            self._state = "-"
        elif character in _DIGITS:
            self._state = "0" if character == "0" else "digits"
        else:
            return False
        return True

    def _after(self, character: str) -> bool:
        if not self._open:
            return False
        if character == ",":
            self._state = "key" if self._open[-1] == "}" else "value"
            return True
        return self._close(character)

    def _close(self, character: str) -> bool:
        if character != self._open[-1]:
            return False
        self._open.pop()
        self._state = "after"
        return True
