"""Text, calls and kept blocks of a turn are put in order, and none is lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streamkit.providers.reply.order import Layout, in_order

ODD = st.one_of(st.none(), st.integers(-3, 9), st.text(max_size=2), st.lists(st.integers(), max_size=2))
ENTRIES = st.lists(st.one_of(ODD, st.tuples(st.sampled_from(["text", "call", "x"]), ODD).map(list)), max_size=5)


def test_what_was_noted_comes_back() -> None:
    """A layout is the way in which a reply came."""
    layout, data = Layout(), []
    layout.text += 2
    layout.call(0)
    data += [*layout.take(), {"block": 1}, *layout.take(), {"block": 2}]
    layout.text += 3
    data += [*layout.take(), {"block": 3}]
    layout.call(1)
    assert ["Hi", "call 0", {"block": 1}, {"block": 2}, "you", {"block": 3}, "!", "call 1"] == in_order(
        data, "Hiyou!", ["call 0", "call 1"], str
    )


@given(st.lists(st.one_of(ENTRIES, ODD).map(lambda each: {"layout": each}), max_size=4), st.text(max_size=9))
def test_nothing_is_lost(data: list[dict[str, Any]], text: str) -> None:
    """For any layout, all text and each call appear once, the text in order."""
    calls: list[Any] = [("call", 0), ("call", 1)]
    parts = in_order(data, text, calls, str)
    assert sorted(part for part in parts if isinstance(part, tuple)) == calls
    assert "".join(part for part in parts if isinstance(part, str)) == text
    assert all(part for part in parts)


def test_blanks() -> None:
    """Pieces that are only white space are left out where a provider refuses them."""
    data = [{"layout": [["text", 1]]}, {"block": 1}]
    assert ["\n", {"block": 1}, "Hi"] == in_order(data, "\nHi", [], str)
    assert [{"block": 1}, "Hi"] == in_order(data, "\nHi", [], str, blanks=False)
