"""Tool call arguments that arrive as paths and values."""

from __future__ import annotations

from typing import Any

import pytest

from streamkit import ProtocolError
from streamkit.providers.gemini.partial_arguments import PartialArguments


def built(*pairs: tuple[str, Any]) -> dict[str, Any]:
    arguments = PartialArguments()
    for path, value in pairs:
        arguments.put(path, value)
    return arguments.whole()


def test_values_are_put_where_their_paths_point() -> None:
    """Objects and lists come about as they are needed, and strings grow."""
    assert {"a": {"b": [1, {"c": "xy"}]}, "d e": None, "f": True} == built(
        ("$.a.b[0]", 1), ("$.a.b[1].c", "x"), ("$.a.b[1].c", "y"), ("$['d e']", None), ("$.f", True)
    )


def test_quoted_names() -> None:
    """A name in quotes may hold anything, quotes included."""
    assert {"it's": 1, 'a"b': 2, "c.d[0]": 3} == built(("$['it\\'s']", 1), ('$["a\\"b"]', 2), ("$['c.d[0]']", 3))


def test_a_gap_in_a_list_is_filled_later() -> None:
    """Items may come in any order."""
    assert {"a": ["x", {"b": 2}]} == built(("$.a[1].b", 2), ("$.a[0]", "x"))


@pytest.mark.parametrize("path", ["", "a", "$", "$.", "$..a", "$[", "$.a[x]", "$.a[99999999]", "$[0]", "$" + ".a" * 65])
def test_what_is_no_path(path: str) -> None:
    """A path that cannot be followed is a documented error."""
    with pytest.raises(ProtocolError):
        built((path, 1))


@pytest.mark.parametrize("second", ["$.a.b", "$.a[0]", "$.a[20000]"])
def test_what_contradicts_an_earlier_path(second: str) -> None:
    """A value is not made into an object by a later path, nor is a list grown beyond all bounds."""
    with pytest.raises(ProtocolError):
        built(("$.a" if "20000" not in second else "$.a[0]", 1), (second, 1))
