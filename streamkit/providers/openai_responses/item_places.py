"""Find the item of a response that an event belongs to, by its number, its id or its type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.wire.loose_json import as_text

__all__ = ["ItemPlaces", "following"]


class ItemPlaces:
    """The items of one response so far.

    An item is identified by its number if the server sends numbers, else by its id, else by its type. In the list at
    the end number and id may be missing: there it is identified by its rank among the items of its type.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Any] = {}
        self._some_id_has_no_place = False
        self._by_number: dict[int, Any] = {}
        self._of_type: dict[str, dict[Any, None]] = {}  # places, in order, by the type of the item

    def of(self, number: Any, item: Mapping[str, Any]) -> Any:
        """Return the place of an item: its number, else its id.

        Args:
            number: as sent.
            item: its ids and its type, as far as known.
        """
        ids = _ids(item)
        places = self._of_type.setdefault(as_text(item.get("type")), {})
        place = self._numbered(number, ids, places) if isinstance(number, int) else self._by_name(ids, places)
        for id in ids:
            self._by_id.setdefault(id, place)
            self._some_id_has_no_place |= self._by_id[id] is None
        places[place] = None
        return place

    def _numbered(self, number: int, ids: Sequence[str], places: Mapping[Any, None]) -> Any:
        """Return the place of a numbered item: its number, unless earlier events of the item came without one."""
        if number not in self._by_number:
            unnumbered = [self._by_id[id] for id in ids if id in self._by_id]
            if None in places and not self._some_id_has_no_place:
                unnumbered.append(None)
            self._by_number[number] = next((place for place in unnumbered if not isinstance(place, int)), number)
            self._some_id_has_no_place |= self._by_number[number] is None
        return self._by_number[number]

    def _by_name(self, ids: Sequence[str], places: Mapping[Any, None]) -> Any:
        for id in ids:
            if id in self._by_id:
                return self._by_id[id]
        if not ids:
            return next(reversed(places), None)  # the last item of its type continues
        if None in places and not self._some_id_has_no_place:
            return None  # its earlier events had no id
        return ids[0]

    def at_end(self, items: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return the places of the items of the list at the end; the list may lack earlier items."""
        known = {type: list(places) for type, places in self._of_type.items()}
        before: dict[str, int] = {}  # how many of each type
        found = []
        for number, item in enumerate(items):
            type = as_text(item.get("type"))
            which = before.get(type, 0)
            before[type] = which + 1
            if ids := [id for id in _ids(item) if id in self._by_id]:
                found.append(self._by_id[ids[0]])
            else:
                found.append(known[type][which] if which < len(known.get(type, ())) else ("end", number))
        return found


def following(places: Sequence[Any]) -> list[int | None]:
    """Return for each place the next later one that is a number."""
    found: list[int | None] = [None]
    for place in reversed(places[1:]):
        found.append(place if isinstance(place, int) else found[-1])
    return found[::-1][: len(places)]


def _ids(item: Mapping[str, Any]) -> list[str]:
    return [id for id in (as_text(item.get("id")), as_text(item.get("call_id"))) if id]
