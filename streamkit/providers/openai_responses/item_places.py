"""Which item of a response an event is about, for servers that number items, that name them, and that do neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.wire.loose_json import as_text

__all__ = ["ItemPlaces", "following"]


class ItemPlaces:
    """The items of one response so far.

    An item is known by its number, where the server gives numbers, else by its id, else by its type. At the end,
    where number and id may be missing, it is known by being the first or second of its type.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Any] = {}
        self._some_id_has_no_place = False
        self._of_type: dict[str, dict[Any, None]] = {}  # places, in order, by the type of the item

    def of(self, number: Any, item: Mapping[str, Any]) -> Any:
        """Return where an item stands, as far as that is known: its number, else its id.

        Args:
            number: as sent.
            item: its ids and its type, or what is known of them.
        """
        ids = _ids(item)
        places = self._of_type.setdefault(as_text(item.get("type")), {})
        place = number if isinstance(number, int) else self._by_name(ids, places)
        for id in ids:
            self._by_id.setdefault(id, place)
            self._some_id_has_no_place |= self._by_id[id] is None
        places[place] = None
        return place

    def _by_name(self, ids: Sequence[str], places: Mapping[Any, None]) -> Any:
        for id in ids:
            if id in self._by_id:
                return self._by_id[id]
        if not ids:
            return next(reversed(places), None)  # the last of its type goes on
        if None in places and not self._some_id_has_no_place:
            return None  # it was nameless so far
        return ids[0]

    def at_end(self, items: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return where the items of the list at the end stand; it may lack some that were told before."""
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
    """Return of each place the next one behind it that is a number."""
    found: list[int | None] = [None]
    for place in reversed(places[1:]):
        found.append(place if isinstance(place, int) else found[-1])
    return found[::-1][: len(places)]


def _ids(item: Mapping[str, Any]) -> list[str]:
    return [id for id in (as_text(item.get("id")), as_text(item.get("call_id"))) if id]
