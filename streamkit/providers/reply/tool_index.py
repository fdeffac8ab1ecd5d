"""Which tool call a fragment belongs to, for servers that number them well, badly or not at all."""

from __future__ import annotations

from typing import Any

from streamkit.errors import ProtocolError
from streamkit.values.json_text import Structure, decoded

__all__ = ["MOST_CALLS", "ToolIndex"]

MOST_CALLS = 1024  # in one choice


class ToolIndex:
    """The tool calls of one choice so far.

    A fragment belongs to the call of its number, unless it brings another id: some servers give the number 0
    to every parallel call. Where such a server has no ids either, a fragment with another name, or with any name
    in the same event, begins a call if the arguments so far are whole. Without a number its id decides, and
    without an id its name: a fragment that names a tool begins a call, one that does not carries the last one on.
    """

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}  # each call by our number, with its id once known
        self._by_id: dict[str, int] = {}  # the first call of each id
        self._free = 0  # above each number that is taken
        self._names: dict[int, str] = {}
        self._by_number: dict[int, int] = {}  # the server's number to ours
        self._last = -1
        self._in_event: set[int] = set()  # the server's numbers
        self._arguments: dict[int, _Arguments] = {}  # of the calls without an id

    def begin_event(self) -> None:
        """Take note that the next fragments are those of another event."""
        self._in_event.clear()

    def of(self, number: Any, id: str, name: str, arguments: str = "") -> tuple[int, bool]:
        """Return our number of the call, and whether the fragment brings its id or name for the first time."""
        number = number if isinstance(number, int) and number < 2**63 else None
        which = self._known(number, id, name)
        if which is None:
            if len(self._ids) >= MOST_CALLS:
                raise ProtocolError(f"more than {MOST_CALLS} tool calls in one reply")
            which = number if number is not None and number >= 0 and number not in self._ids else self._free
            self._free = max(self._free, which + 1)
            self._ids[which] = ""
        if number is not None:
            self._note_number(number, which)
            self._in_event.add(number)
        news = bool(id and not self._ids[which]) or bool(name and which not in self._names)
        if id and not self._ids[which]:
            self._ids[which] = id
            self._by_id.setdefault(id, which)
        if name:
            self._names.setdefault(which, name)
        if not self._ids[which]:
            self._arguments.setdefault(which, _Arguments()).add(arguments)
        self._last = which
        return which, news

    def _note_number(self, number: int, which: int) -> None:
        self._by_number[number] = which
        if len(self._by_number) > 4 * MOST_CALLS:
            raise ProtocolError(f"tool calls of more than {4 * MOST_CALLS} numbers in one reply")

    def _known(self, number: int | None, id: str, name: str) -> int | None:
        if number is not None:
            which = self._by_number.get(number)
            if which is None or not (id or self._begins_another(number, which, name)):
                return which
            if id and (not self._ids[which] or self._ids[which] == id):
                return which
        if id:
            return self._by_id.get(id)
        return None if name or self._last < 0 else self._last

    def _begins_another(self, number: int, which: int, name: str) -> bool:
        known = self._names.get(which, "")
        if not (name and known) or self._ids[which] or not (name != known or number in self._in_event):
            return False
        return self._arguments[which].are_whole(or_none=name != known)


class _Arguments:
    """The JSON text of a call's arguments, in fragments, each of which is looked at once."""

    def __init__(self) -> None:
        self._fragments: list[str] = []
        self._looked_at = 0  # how many of the fragments
        self._structure = Structure()
        self._beginning = ""  # without the white space
        self._whole: bool | None = None  # once as many brackets are closed as were opened

    def add(self, fragment: str) -> None:
        """Take in the next fragment."""
        self._fragments.append(fragment)

    def are_whole(self, *, or_none: bool) -> bool:
        """Say whether they are a JSON object.

        Args:
            or_none: whether no text, and null, count as well.
        """
        for fragment in self._fragments[self._looked_at :]:
            self._look_at(fragment)
        self._looked_at = len(self._fragments)
        if self._structure.marks == 0:
            return or_none and self._beginning in ("", "null")
        if self._whole is None and not self._structure.depth and not self._structure.in_string:
            self._whole = self._is_object()
        return bool(self._whole)

    def _look_at(self, fragment: str) -> None:
        if self._whole and fragment.strip():
            self._whole = False  # nothing may follow the object
        self._structure.add(fragment)
        if len(self._beginning) < _LONGEST_WORD:
            self._beginning = (self._beginning + fragment.strip())[:_LONGEST_WORD]

    def _is_object(self) -> bool:
        """Decode the text, which happens once: what is no object yet, with all brackets closed, becomes none."""
        try:
            return isinstance(decoded("".join(self._fragments)), dict)
        except ValueError:
            return False


_LONGEST_WORD = 8  # characters; more than null has
