"""Arguments that arrive as pairs of a path and a value, put together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from streamkit.errors import ProtocolError
from streamkit.values.json_text import MAX_TEXT
from streamkit.wire.loose_json import as_json

__all__ = ["PartialArguments"]

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,5})\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_MOST_STEPS = 64
_LONGEST_PATH = 10_000  # characters
_MOST_ITEMS = 10_000  # in a list: what a path may ask for is no reason to make it
_MOST_PLACES = 100_000  # in all; as many as one event may have structural characters


class _Text(list[str]):
    """A string, in pieces: joined once, or the time that it takes would grow by the square of their number."""


class PartialArguments:
    """The arguments of one call so far."""

    def __init__(self) -> None:
        self._root: dict[str, Any] = {}
        self._places = 0  # that were made
        self._size = 0  # characters

    def put(self, path: str, value: Any) -> None:
        """Put a value where a path such as ``$.items[0].name`` points; a string goes behind the string that is there.

        Raises:
            ProtocolError: it is no such path, or it contradicts an earlier one, or there are too many.
        """
        steps = _steps(path)
        place: Any = self._root
        for step, following in pairwise(steps):
            place = self._child(place, step, isinstance(following, int), path)
        last = steps[-1]
        there = _there(place, last, path)
        if isinstance(value, str):
            self._grow(len(value))
            if isinstance(there, _Text):
                there.append(value)
                return
            value = _Text([there, value] if isinstance(there, str) else [value])
        self._set(place, last, value, path)

    def update(self, arguments: Mapping[str, Any]) -> None:
        """Put in arguments that came whole.

        Raises:
            ProtocolError: there are too many.
        """
        self._count(len(arguments))
        self._grow(len(as_json(arguments)))
        self._root |= arguments

    def whole(self) -> dict[str, Any]:
        """Return the arguments."""
        return {name: _whole(value, 1) for name, value in self._root.items()}

    def _child(self, place: Any, step: str | int, is_list: bool, path: str) -> Any:
        """Return what is at a step, made if there is nothing."""
        there = _there(place, step, path)
        if there is None and not (isinstance(place, dict) and step in place):
            there = [] if is_list else {}
            self._set(place, step, there, path)
        return there

    def _set(self, place: Any, step: str | int, value: Any, path: str) -> None:
        if isinstance(place, dict) and isinstance(step, str):
            self._count(step not in place)
            place[step] = value
        elif isinstance(place, list) and isinstance(step, int) and step < _MOST_ITEMS:
            missing = max(0, step + 1 - len(place))
            self._count(missing)
            place.extend([None] * missing)
            place[step] = value
        else:
            raise _contradiction(path)

    def _count(self, places: int) -> None:
        self._places += places
        if self._places > _MOST_PLACES:
            raise ProtocolError(f"tool-call arguments of more than {_MOST_PLACES} values")

    def _grow(self, characters: int) -> None:
        self._size += characters
        if self._size > MAX_TEXT:
            raise ProtocolError(f"tool-call arguments of more than {MAX_TEXT} characters")


def _steps(path: str) -> list[str | int]:
    found: list[str | int] = []
    position = 1
    while path[:1] == "$" and position < len(path) <= _LONGEST_PATH and len(found) < _MOST_STEPS:
        match = _STEP.match(path, position)
        if match is None:
            break
        name, number, *quoted = match.groups()
        if number:
            found.append(int(number))
        else:
            found.append(name or re.sub(r"\\(.)", r"\1", next(text for text in quoted if text is not None)))
        position = match.end()
    if not found or position != len(path):
        raise ProtocolError("a partial argument has no path that can be followed", excerpt=path[:512])
    return found


def _there(place: Any, step: str | int, path: str) -> Any:
    """Return what is at a step, ``None`` for nothing."""
    if isinstance(place, dict) and isinstance(step, str):
        return place.get(step)
    if isinstance(place, list) and not isinstance(place, _Text) and isinstance(step, int):
        return place[step] if step < len(place) else None
    raise _contradiction(path)


def _whole(value: Any, depth: int) -> Any:
    if isinstance(value, _Text):
        return "".join(value)
    if depth == _MOST_STEPS:  # deeper than that, paths have put nothing
        return value
    if isinstance(value, dict):
        return {name: _whole(item, depth + 1) for name, item in value.items()}
    return [_whole(item, depth + 1) for item in value] if isinstance(value, list) else value


def _contradiction(path: str) -> ProtocolError:
    return ProtocolError("a partial argument contradicts an earlier one", excerpt=path[:512])
