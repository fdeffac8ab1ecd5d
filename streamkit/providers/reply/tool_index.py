"""Which tool call a fragment belongs to, for servers that number them well, badly or not at all."""

from __future__ import annotations

from typing import Any

from streamkit.errors import ProtocolError
from streamkit.wire.json import parse_json

__all__ = ["MOST_CALLS", "ToolIndex"]

MOST_CALLS = 1024  # in one choice; looking one up takes time in proportion


class ToolIndex:
    """The tool calls of one choice so far.

    A fragment belongs to the call of its number, unless it brings another id: some servers give the number 0
    to every parallel call. Where such a server has no ids either, a fragment with another name, or with any name
    in the same event, begins a call if the arguments so far are whole. Without a number its id decides, and
    without an id its name: a fragment that names a tool begins a call, one that does not carries the last one on.
    """

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}  # each call by our number, with its id once known
        self._names: dict[int, str] = {}
        self._by_number: dict[int, int] = {}  # the server's number to ours
        self._last = -1
        self._in_event: set[int] = set()  # the server's numbers
        self._arguments: dict[int, list[str]] = {}  # of the calls without an id, in fragments

    def begin_event(self) -> None:
        """Take note that the next fragments are those of another event."""
        self._in_event.clear()

    def of(self, number: Any, id: str, name: str, arguments: str = "") -> tuple[int, bool]:
        """Return our number of the call, and whether the fragment brings its id or name for the first time."""
        which = self._known(number, id, name)
        if which is None:
            if len(self._ids) >= MOST_CALLS:
                raise ProtocolError(f"more than {MOST_CALLS} tool calls in one reply")
            free = max(self._ids, default=-1) + 1
            which = number if isinstance(number, int) and number >= 0 and number not in self._ids else free
            self._ids[which] = ""
        if isinstance(number, int):
            self._by_number[number] = which
            self._in_event.add(number)
        news = bool(id and not self._ids[which]) or bool(name and which not in self._names)
        self._ids[which] = self._ids[which] or id
        if name:
            self._names.setdefault(which, name)
        if not self._ids[which]:
            self._arguments.setdefault(which, []).append(arguments)
        self._last = which
        return which, news

    def _known(self, number: Any, id: str, name: str) -> int | None:
        if isinstance(number, int):
            which = self._by_number.get(number)
            if which is None or not (id or self._begins_another(number, which, name)):
                return which
            if id and (not self._ids[which] or self._ids[which] == id):
                return which
        if id:
            return next((which for which, known in self._ids.items() if known == id), None)
        return None if name or self._last < 0 else self._last

    def _begins_another(self, number: int, which: int, name: str) -> bool:
        known = self._names.get(which, "")
        if not (name and known) or self._ids[which] or not (name != known or number in self._in_event):
            return False
        arguments = "".join(self._arguments[which]).strip()
        try:
            return isinstance(parse_json(arguments or "null"), dict if name == known else dict | None)
        except ValueError:
            return False
