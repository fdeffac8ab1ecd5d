"""Arrays and objects without a class: list, set, tuple, dict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamkit.tools.converting.converter import Converter, Walk
from streamkit.tools.problems import MAX_PROBLEMS, NOTHING, Finding, Refused
from streamkit.tools.repairs import inside

__all__ = ["Array", "Container", "Mapping", "Row", "converted_items"]


class Container(Converter):
    """A type that is an array or an object in JSON. JSON text in a string is read once, where repairs are made."""

    json_type: type = dict

    def opened(self, value: Any, walk: Walk) -> Any:
        """Return the array or object.

        Raises:
            Refused: there is none.
        """
        if type(value) is self.json_type:
            return value
        if walk.lax and type(value) is str:
            value_inside = inside(value, exact=walk.exact)
            if type(value_inside) is self.json_type:
                return value_inside
        raise self.refusal(value)


def converted_items(items: Any, convert: Callable[[Any, Walk], Any], walk: Walk) -> list[Any]:
    """Convert each of some items with the same converter.

    Raises:
        Refused: items do not fit; with the findings of the first ``MAX_PROBLEMS``.
    """
    findings: list[Finding] = []
    result = []
    for index, item in enumerate(items):
        try:
            result.append(convert(item, walk))
        except Refused as refused:
            findings += refused.under(index)
            if len(findings) > MAX_PROBLEMS:
                break
    if findings:
        raise Refused(findings)
    return result


class Array(Container):
    """An array of items of one type.

    Args:
        item: the type of each.
        make: makes the collection of a list: ``set``; ``None`` for a list.
    """

    wanted = "an array"
    kinds = frozenset({"array"})
    json_type = list

    def __init__(self, item: Converter, make: Callable[[list[Any]], Any] | None) -> None:
        self._item = item
        self._make = make

    def convert(self, value: Any, walk: Walk) -> Any:
        """Return the collection."""
        items = converted_items(self.opened(value, walk), self._item.convert, walk)
        if self._make is None:
            return items
        try:
            return self._make(items)
        except TypeError:  # what JSON may hold, and a set may not
            raise Refused.of("type", "must be an array without arrays and objects in it", value) from None


class Row(Container):
    """An array of so many items, each of its own type: a tuple, or a NamedTuple, which may also come as an object.

    Args:
        items: the types.
        required: how many must come.
        make: makes the value of a list.
        names: of a NamedTuple's fields.
    """

    kinds = frozenset({"array"})
    json_type = list

    def __init__(
        self, items: list[Converter], required: int, make: Callable[[list[Any]], Any], by_name: Converter | None = None
    ) -> None:
        self._items = items
        self._required = required
        self._make = make
        self._by_name = by_name
        count = f"{len(items)}" if required == len(items) else f"{required} to {len(items)}"
        self.wanted = f"an array of {count} {'item' if count == '1' else 'items'}"

    def convert(self, value: Any, walk: Walk) -> Any:
        """Return the tuple."""
        if self._by_name is not None and walk.lax:
            fields = value if type(value) is dict else inside(value, exact=walk.exact) if type(value) is str else None
            if type(fields) is dict:
                return self._by_name.convert(fields, walk)
        row = self.opened(value, walk)
        if not self._required <= len(row) <= len(self._items):
            raise self.refusal(value)
        findings: list[Finding] = []
        result = []
        for index, (item, converter) in enumerate(zip(row, self._items, strict=False)):
            try:
                result.append(converter.convert(item, walk))
            except Refused as refused:
                findings += refused.under(index)
        if findings:
            raise Refused(findings)
        return self._make(result)


class Mapping(Container):
    """An object whose keys are not known.

    Args:
        key: their type; JSON has strings, so "1" is an integer here.
        item: the type of each value.
        make: makes the mapping of a dict; ``None`` for a dict.
    """

    wanted = "an object"
    kinds = frozenset({"object"})

    def __init__(self, key: Converter, item: Converter, make: Callable[[dict[Any, Any]], Any] | None) -> None:
        self._key = key
        self._item = item
        self._make = make

    def convert(self, value: Any, walk: Walk) -> Any:
        """Return the mapping."""
        result: dict[Any, Any] = {}
        findings: list[Finding] = []
        keys_walk = walk if walk.lax else Walk.repairing(walk.exact)
        for name, item in self.opened(value, walk).items():
            key: Any = NOTHING
            try:
                key = self._key.convert(name, keys_walk)
            except Refused as refused:
                findings += [
                    Finding(each.kind, f"has a key that {each.text}", path=(name,)) for each in refused.findings
                ]
            try:
                converted = self._item.convert(item, walk)
            except Refused as refused:
                findings += refused.under(name)
                converted = NOTHING
            if key is not NOTHING and key in result:
                findings.append(Finding("value", "has the same key as another one, written otherwise", path=(name,)))
            result[key] = converted
            if len(findings) > MAX_PROBLEMS:
                break
        if findings:
            raise Refused(findings)
        return result if self._make is None else self._make(result)
