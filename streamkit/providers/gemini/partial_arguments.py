"""Arguments that arrive as pairs of a path and a value, put together."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from streamkit.errors import ProtocolError

__all__ = ["put"]

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,5})\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_MOST_STEPS = 64
_MOST_ITEMS = 10_000  # in a list: what a path may ask for is no reason to make it


def put(root: dict[str, Any], path: str, value: Any) -> None:
    """Put a value where a path such as ``$.items[0].name`` points; a string goes behind the string that is there.

    Raises:
        ProtocolError: it is no such path, or it contradicts an earlier one.
    """
    steps = _steps(path)
    place: Any = root
    for step, following in pairwise(steps):
        place = _child(place, step, [] if isinstance(following, int) else {}, path)
    last = steps[-1]
    there = _child(place, last, value, path, add=False)
    if isinstance(value, str) and isinstance(there, str):
        value = there + value
    _set(place, last, value, path)


def _steps(path: str) -> list[str | int]:
    found: list[str | int] = []
    position = 1
    while path[:1] == "$" and position < len(path) and len(found) < _MOST_STEPS:
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


def _child(place: Any, step: str | int, default: Any, path: str, *, add: bool = True) -> Any:
    if isinstance(place, dict) and isinstance(step, str):
        return place.setdefault(step, default) if add else place.get(step)
    if isinstance(place, list) and isinstance(step, int):
        if step < len(place):
            if place[step] is None and add:
                place[step] = default
            return place[step]
        if add:
            _set(place, step, default, path)
            return default
        return None
    raise ProtocolError("a partial argument contradicts an earlier one", excerpt=path[:512])


def _set(place: Any, step: str | int, value: Any, path: str) -> None:
    if isinstance(place, dict) and isinstance(step, str):
        place[step] = value
    elif isinstance(place, list) and isinstance(step, int) and step < _MOST_ITEMS:
        place.extend([None] * (step + 1 - len(place)))
        place[step] = value
    else:
        raise ProtocolError("a partial argument contradicts an earlier one", excerpt=path[:512])
