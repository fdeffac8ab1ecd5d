"""Each fragment of a tool call finds its call, however a server numbers the calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.providers.reply.tool_index import ToolIndex

Fragment = tuple[Any, str, str]  # number, id, name


def calls_of(fragments: list[Fragment]) -> list[tuple[int, bool]]:
    index = ToolIndex()
    return [index.of(*fragment) for fragment in fragments]


@pytest.mark.parametrize(
    ("fragments", "expected"),
    [
        pytest.param(
            [(0, "a", "f"), (0, "", ""), (0, "", "")],
            [(0, True), (0, False), (0, False)],
            id="one call in pieces",
        ),
        pytest.param(
            [(0, "a", "f"), (1, "b", "g"), (0, "", ""), (1, "", "")],
            [(0, True), (1, True), (0, False), (1, False)],
            id="two calls interleaved",
        ),
        pytest.param(
            [(1, "b", "g"), (0, "a", "f"), (1, "", "")],
            [(1, True), (0, True), (1, False)],
            id="numbers out of order",
        ),
        pytest.param([(3, "a", "f"), (7, "b", "g")], [(3, True), (7, True)], id="gaps are kept"),
        pytest.param(
            [(0, "a", "f"), (0, "a", "f"), (0, "a", "f")],
            [(0, True), (0, False), (0, False)],
            id="id and name on every piece",
        ),
        pytest.param(
            [(0, "a", "f"), (0, "b", "g"), (0, "c", "g")],
            [(0, True), (1, True), (2, True)],
            id="every parallel call has number 0",
        ),
        pytest.param(
            [(0, "a", "f"), (0, "", ""), (0, "b", "g"), (0, "", "")],
            [(0, True), (0, False), (1, True), (1, False)],
            id="number 0 for all, the pieces without id go to the last",
        ),
        pytest.param(
            [(0, "a", "f"), (0, "b", "g"), (0, "a", ""), (0, "", "")],
            [(0, True), (1, True), (0, False), (0, False)],
            id="number 0 for all, an id comes back",
        ),
        pytest.param(
            [(None, "a", "f"), (None, "", ""), (None, "b", "g"), (None, "", "")],
            [(0, True), (0, False), (1, True), (1, False)],
            id="no numbers: an id begins a call",
        ),
        pytest.param(
            [(None, "a", "f"), (None, "b", "g"), (None, "a", ""), (None, "", "")],
            [(0, True), (1, True), (0, False), (0, False)],
            id="no numbers: an id comes back",
        ),
        pytest.param(
            [(None, "", "f"), (None, "", ""), (None, "", "f"), (None, "", "g")],
            [(0, True), (0, False), (1, True), (2, True)],
            id="neither numbers nor ids: a name begins a call",
        ),
        pytest.param([(None, "", ""), (None, "", "")], [(0, False), (0, False)], id="nothing at all: one call"),
        pytest.param(
            [(0, "", "f"), (0, "a", ""), (0, "", "")],
            [(0, True), (0, True), (0, False)],
            id="the id comes after the name",
        ),
        pytest.param(
            [(0, "a", ""), (0, "", "f"), (0, "a", "f")],
            [(0, True), (0, True), (0, False)],
            id="the name comes after the id",
        ),
        pytest.param([(0, "a", "f"), (None, "", "")], [(0, True), (0, False)], id="numbers stop"),
        pytest.param(
            [(0, "a", "f"), (1, "a", "f"), (1, "a", ""), (0, "a", "")],
            [(0, True), (1, True), (1, False), (0, False)],
            id="two calls of one id",
        ),
        pytest.param(
            [(-1, "a", "f"), (-1, "", ""), (1, "b", "g")],
            [(0, True), (0, False), (1, True)],
            id="a negative number is a number of the server's only",
        ),
        pytest.param(
            [(None, "a", "f"), (0, "b", "g"), (0, "", "")],
            [(0, True), (1, True), (1, False)],
            id="a number that is taken already",
        ),
        pytest.param([("0", "a", "f"), ("0", "", "")], [(0, True), (0, False)], id="a number that is text is none"),
    ],
)
def test_which_call(fragments: list[Fragment], expected: list[tuple[int, bool]]) -> None:
    """The number decides unless another id comes with it; without one the id does, without that the name."""
    assert expected == calls_of(fragments)


@given(st.lists(st.integers(0, 4), max_size=20), st.sampled_from(["numbered", "all zero", "by id"]))
def test_ids_never_mix(order: list[int], dialect: str) -> None:
    """With an id on every piece, each call keeps its pieces and no other's, in every dialect and order."""
    fragments: list[Fragment] = [
        ({"numbered": call, "all zero": 0, "by id": None}[dialect], f"id{call}", "f") for call in order
    ]
    ours = [which for which, _ in calls_of(fragments)]
    assert len(set(order)) == len(set(ours))
    assert len(set(order)) == len(set(zip(order, ours, strict=True)))


IDS, NAMES = st.sampled_from(["", "a", "b"]), st.sampled_from(["", "f"])


@given(st.lists(st.tuples(st.none(), IDS, NAMES)))
def test_without_numbers_an_id_is_one_call(fragments: list[Fragment]) -> None:
    """Without indexes, an id identifies the same call each time."""
    by_id: dict[str, int] = {}
    for (_, id, _), (which, _) in zip(fragments, calls_of(fragments), strict=True):
        if id:
            assert which == by_id.setdefault(id, which)


@given(st.lists(st.tuples(st.none() | st.integers(-2, 3) | st.booleans() | st.text(max_size=1), IDS, NAMES)))
def test_any_fragments_at_all(fragments: list[Fragment]) -> None:
    """Whatever comes, a call has a number from 0, and only a fragment with an id or a name brings news."""
    for (_, id, name), (which, is_new) in zip(fragments, calls_of(fragments), strict=True):
        assert which >= 0
        assert bool(id or name) or not is_new
