"""JSON that has not arrived in full: ``PartialJson``.

It is imported when somebody first looks, by the thread that looks: it takes jiter, which few programs need.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jiter

from streamkit.values.json_text import MAX_STRUCTURE, MAX_TEXT

__all__ = ["PartialJson"]

_DEEPEST = 201  # levels; jiter's own limit
_SLICE = 64 * 1024  # characters that one regular expression sees: it does not let other threads run
_LONGEST_NUMBER = 5000  # characters; jiter refuses integers of more than 4300 digits

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_PART_OF_NUMBER = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:(?<=[0-9])[eE][+-]?[0-9]*)?)?")
_NUMBER_CHARACTERS = re.compile(r"[-+.0-9eE]*")
_AFTER_NUMBER = " \t\n\r,]}"
_WORDS = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}
# Characters and escapes that are whole. Half a surrogate pair is no character, escaped or not.
_STRING = re.compile(
    r"""(?:[^"\\\x00-\x1f\ud800-\udfff]+
    |\\(?:["\\/bfnrt]
        |u(?![dD][89a-fA-F])[0-9a-fA-F]{4}
        |u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}))*""",
    re.VERBOSE,
)
_HALF_ESCAPE = re.compile(
    r"""\\(?:u(?:
        (?![dD][89a-fA-F])[0-9a-fA-F]{0,3}
        |[dD][89abAB][0-9a-fA-F]{0,2}
        |[dD][89abAB][0-9a-fA-F]{2}\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?
    ))?""",
    re.VERBOSE,
)


class PartialJson:
    """The value of a JSON text so far. The text is given in pieces, and each piece is read once.

    A string shows as far as it has come, a key once its value begins, a number once something follows that ends it:
    1 may become 12. Half an escape and half a word are not shown. The value does not depend on how the text was cut.

    A text that is no JSON, or passes a bound, leaves the value as it was before the first wrong character. The bounds
    are those of a whole text, see ``json_text``: 100,000 values and 16 Mi characters; and 201 levels. What follows a
    whole value is not looked at.

    Not locked: one thread at a time.

    Attributes:
        broken: whether the text cannot become JSON, whatever follows.
        whole: whether the value is whole; a number at the root is whole once white space follows.
        version: grows each time that the value changes.
    """

    __slots__ = (
        *("_former", "_held", "_key", "_keys", "_missing", "_open", "_read", "_root", "_shown", "_text"),
        *("_size", "_values", "broken", "version"),
    )

    _read: Callable[[PartialJson, str, int], int]

    def __init__(self) -> None:
        self.broken = False
        self.version = 0
        self._size = 0  # characters so far
        self._values = 0  # values so far
        self._held = ""  # the beginning of a token whose rest has not come
        self._root: Any = None
        self._open: list[dict[str, Any] | list[Any]] = []  # containers, from the root inwards
        self._keys: list[str] = []  # where each of them stands in the one around it; "" in a list
        self._key = ""  # of the value that comes next, or of the open string
        self._text: str | None = None  # of the open string; it is not in its container yet
        self._shown = False  # whether it was, since it became longer
        self._former = ""  # an earlier state of it,
        self._missing = ""  # and what that lacks
        # Reads one token of a text from a position on, and returns the position behind it: what is expected next.
        self._read = PartialJson._read_value

    @property
    def whole(self) -> bool:
        """Whether the value is whole."""
        return self._read is PartialJson._skip and not self.broken

    @property
    def value(self) -> Any:
        """The value so far, ``None`` while there is nothing.

        The containers that are still open are copied, so that the caller's value does not grow. Others are shared by
        all values that this object returns: do not change them.
        """
        self._shown = True
        if not self._open:
            if self._text is not None:
                return self._text
            return self._root.copy() if isinstance(self._root, (dict, list)) else self._root
        outer = whole = self._open[0].copy()
        for container, key in zip(self._open[1:], self._keys[1:], strict=True):
            inner = container.copy()
            if isinstance(outer, dict):
                outer[key] = inner
            else:
                outer[-1] = inner
            outer = inner
        if self._text is not None:
            if isinstance(outer, dict):
                outer[self._key] = self._text
            else:
                outer.append(self._text)
        return whole

    def items(self, key: str | None, start: int) -> list[Any]:
        """Return the elements of a list that are whole.

        Args:
            key: of the list in the object at the root; ``None`` for the list at the root.
            start: of the first element to return.
        """
        depth, found = (0, self._root) if key is None else (1, None)
        if key is not None and isinstance(self._root, dict):
            found = self._root.get(key)
        if not isinstance(found, list):
            return []
        last_is_open = len(self._open) > depth + 1 and self._open[depth] is found
        return found[start : len(found) - last_is_open]

    def add(self, text: str) -> None:
        """Take in the next piece of the text; never raises for what is no JSON."""
        self._size += len(text)
        if self._size > MAX_TEXT:
            self._give_up(text)
        for start in range(0, len(text), _SLICE):
            piece = text[start : start + _SLICE]
            if self._held:
                piece, self._held = self._held + piece, ""
            position, end = 0, len(piece)
            while position < end:
                position = self._read(self, piece, position)

    # -- what is expected next -----------------------------------------------------------------------------

    def _read_value(self, text: str, position: int) -> int:
        if self._values > MAX_STRUCTURE:
            return self._give_up(text)
        position = _after_space(text, position)
        mark = text[position : position + 1]
        if mark == '"':
            self._text = self._former = self._missing = ""
            self._shown = False
            self.version += 1
            self._read = PartialJson._read_string
            return position + 1
        if mark and mark in "{[":
            return self._read_opening(text, position, mark)
        if mark in _WORDS:
            return self._read_word(text, position, mark)
        return self._read_number(text, position) if mark else position

    def _read_opening(self, text: str, position: int, mark: str) -> int:
        if len(self._open) == _DEEPEST:
            return self._give_up(text)
        container: dict[str, Any] | list[Any] = {} if mark == "{" else []
        self._put(container)
        self._open.append(container)
        self._keys.append(self._key)
        self._read = PartialJson._read_first
        return position + 1

    def _read_word(self, text: str, position: int, mark: str) -> int:
        word, value = _WORDS[mark]
        if text.startswith(word, position):
            self._put(value)
            return position + len(word)
        return self._hold(text, position) if word.startswith(text[position:]) else self._give_up(text)

    def _read_number(self, text: str, position: int) -> int:
        end = _end_of(_NUMBER_CHARACTERS, text, position)
        if end - position > _LONGEST_NUMBER:
            return self._give_up(text)
        if end == len(text):
            may_go_on = _PART_OF_NUMBER.fullmatch(text, position) is not None
            return self._hold(text, position) if may_go_on else self._give_up(text)
        if _NUMBER.fullmatch(text, position, end) is None or text[end] not in _AFTER_NUMBER:
            return self._give_up(text)
        try:
            value = jiter.from_json(text[position:end].encode(), allow_inf_nan=False)
        except ValueError:  # too many digits
            return self._give_up(text)
        if value in (float("inf"), float("-inf")):  # 1e400: the text cannot be made of the value again
            return self._give_up(text)
        self._put(value)
        return end

    def _read_string(self, text: str, position: int) -> int:
        end = _end_of(_STRING, text, position)
        if end > position:
            self._lengthen(_unescaped(text[position:end]))
        if text.startswith('"', end):
            value, self._text, self._former = self._text, None, ""
            self._put(value, change=0)
            return end + 1
        return self._read_half(text, end)

    def _read_name(self, text: str, position: int) -> int:
        end = _end_of(_STRING, text, position)
        self._key += _unescaped(text[position:end])
        if text.startswith('"', end):
            self._read = PartialJson._read_colon
            return end + 1
        return self._read_half(text, end)

    def _read_half(self, text: str, position: int) -> int:
        """Read what stands in a string, and is no character: the end of the text, half an escape, or an error."""
        if position == len(text):
            return position
        half = _HALF_ESCAPE.fullmatch(text, position)
        return self._give_up(text) if half is None else self._hold(text, position)

    def _read_first(self, text: str, position: int) -> int:
        """Read the end of an empty container, or nothing."""
        position = _after_space(text, position)
        if position == len(text):
            return position
        in_object = isinstance(self._open[-1], dict)
        if text[position] == ("}" if in_object else "]"):
            return self._close(position)
        self._read = PartialJson._read_key if in_object else PartialJson._read_value
        return position

    def _read_key(self, text: str, position: int) -> int:
        position = _after_space(text, position)
        if position == len(text):
            return position
        if text[position] != '"':
            return self._give_up(text)
        self._key = ""
        self._read = PartialJson._read_name
        return position + 1

    def _read_colon(self, text: str, position: int) -> int:
        position = _after_space(text, position)
        if position == len(text):
            return position
        if text[position] != ":":
            return self._give_up(text)
        self._read = PartialJson._read_value
        return position + 1

    def _read_next(self, text: str, position: int) -> int:
        """Read what follows an element or a field: a comma or the end of its container."""
        position = _after_space(text, position)
        if position == len(text):
            return position
        mark, in_object = text[position], isinstance(self._open[-1], dict)
        if mark == ",":
            self._read = PartialJson._read_key if in_object else PartialJson._read_value
            return position + 1
        return self._close(position) if mark == ("}" if in_object else "]") else self._give_up(text)

    def _skip(self, text: str, position: int) -> int:
        return len(text)

    # -- changes -------------------------------------------------------------------------------------------

    def _put(self, value: Any, change: int = 1) -> None:
        """Put a value where one was expected."""
        self.version += change
        self._values += 1
        if not self._open:
            self._root = value
            self._read = PartialJson._skip
            return
        container = self._open[-1]
        if isinstance(container, dict):
            container[self._key] = value
        else:
            container.append(value)
        self._read = PartialJson._read_next

    def _lengthen(self, more: str) -> None:
        """Make the open string longer.

        Python lengthens a text in place if a local variable is all that refers to it. The caller may still have the
        text that was shown last, but hardly the one before. So there are two, and one that was shown gives way to the
        other.
        """
        self.version += 1
        missing, self._missing = self._missing + more, more
        if self._shown:
            self._shown = False
            whole, self._former = self._former, self._text or ""
            self._text = None
            whole += missing
        else:
            whole, self._text = self._text or "", None
            whole += more
            self._missing = missing
        self._text = whole

    def _close(self, position: int) -> int:
        self._open.pop()
        self._keys.pop()
        self._read = PartialJson._read_next if self._open else PartialJson._skip
        return position + 1

    def _hold(self, text: str, position: int) -> int:
        self._held = text[position:]
        return len(text)

    def _give_up(self, text: str) -> int:
        self.broken = True
        self._read = PartialJson._skip
        return len(text)


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return position if match is None else match.end()


def _after_space(text: str, position: int) -> int:
    return _end_of(_SPACE, text, position) if text[position] in " \t\n\r" else position


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    whole: str = jiter.from_json(f'"{text}"'.encode())
    return whole
