"""``PartialJson``, and ``ToolCallDelta.partial()``: what a JSON text amounts to that has not arrived in full."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path
from typing import Any

import jiter
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamkit.providers.reply.decoder import ReplyDecoder
from streamkit.values.chunks import Chunk, ToolCallDelta, link, link_delta
from streamkit.values.growing_text import GrowingText
from streamkit.values.json_text import MAX_STRUCTURE, MAX_TEXT
from streamkit.values.partial_json import PartialJson

_CASES = Path(__file__).parent.parent / "tool_cases" / "partial.jsonl"
CASES = [json.loads(line) for line in _CASES.read_text(encoding="utf-8").splitlines()]

_texts = st.text(st.characters(exclude_categories=["Cs"]))
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: st.lists(inner) | st.dictionaries(_texts, inner),
    max_leaves=15,
)


@st.composite
def json_texts(draw: st.DrawFn) -> str:
    """JSON in the forms that ``json`` can write; with keys twice where two of an object's become one."""
    text = json.dumps(
        draw(_values), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])), allow_nan=False
    )
    return text.replace('"0"', '"a"').replace('"1"', '"a"') if draw(st.booleans()) else text


@st.composite
def in_pieces(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> list[str]:
    """A text that is cut anywhere, also into pieces of nothing."""
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def value_of(*pieces: str) -> Any:
    partial = PartialJson()
    for piece in pieces:
        partial.add(piece)
    return partial.value


def settled(text: str) -> str:
    """Leave out a number at the end of a text, which may grow."""
    in_string = text.replace("\\\\", "").replace('\\"', "").count('"') % 2 == 1
    return text if in_string else re.sub(r"(-|-?[0-9][-+.eE0-9]*)\Z", "", text)


def by_jiter(text: str) -> Any:
    text = settled(text).strip()
    if not text or (text.isalpha() and text not in ("true", "false", "null")):
        return None  # nothing yet: jiter raises
    return jiter.from_json(text.encode(), partial_mode="trailing-strings", allow_inf_nan=False)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, and of the same types: 1 is not 1.0, and no boolean."""
    return bool(one == other) and repr(one) == repr(other)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
@pytest.mark.parametrize("cut", ["once", "each character"])
def test_the_cases(case: dict[str, Any], cut: str) -> None:
    """Each prefix has the value that a careful reader gives it; what is broken keeps its last good value."""
    prefix = case["prefix"]
    partial = PartialJson()
    for piece in [prefix] if cut == "once" else prefix:
        partial.add(piece)
    assert partial.broken == case.get("broken", False)
    if case.get("broken"):
        good = next(end for end in range(len(prefix), -1, -1) if not _is_broken(prefix[:end]))
        assert same(value_of(prefix[:good]), partial.value)
    elif case.get("unsettled_number"):
        assert same(by_jiter(prefix), partial.value)
        assert same(case["with_strings"], value_of(prefix, " "))  # something follows
    else:
        assert same(case.get("with_strings"), partial.value)
        assert partial.whole == (case["whole"] or case.get("rest_is_wrong", False))


def _is_broken(text: str) -> bool:
    partial = PartialJson()
    partial.add(text)
    return partial.broken


@given(in_pieces(json_texts()))
@example(['{"t": "a\\ud83c', "\\ud", 'f26b"}'])
@example(["[1", "2", ".5", "e", "1", ", -", "0]"])
@example(['{"a": 1, "a": {"b', '": [tr', "ue, {", '}], "b": "x"}', "}"])
def test_pieces_are_like_the_whole_and_like_jiter(pieces: list[str]) -> None:
    """However a text is cut, each look gives what a fresh reader and jiter give for all the text so far."""
    partial, so_far = PartialJson(), ""
    for piece in pieces:
        partial.add(piece)
        so_far += piece
        assert same(value_of(so_far), partial.value)
        assert same(by_jiter(so_far), partial.value)
        assert not partial.broken
    partial.add(" ")
    assert same(json.loads(so_far), partial.value)
    assert partial.whole


@given(in_pieces(st.text() | st.text('{}[]",:\\u d8cf1-.eEtrue\n')))
def test_any_text_has_a_value(pieces: list[str]) -> None:
    """Text that is no JSON raises nothing, and its value does not depend on how it was cut."""
    assert same(value_of("".join(pieces)), value_of(*pieces))


@given(in_pieces(json_texts()))
def test_values_are_snapshots(pieces: list[str]) -> None:
    """A value that was handed out does not change when the text goes on, nor when the user changes another."""
    partial, shown = PartialJson(), []
    for piece in pieces:
        partial.add(piece)
        value = partial.value
        shown.append((value, copy.deepcopy(value)))
        spoilt = partial.value
        if isinstance(spoilt, (dict, list)):
            spoilt.clear()
    assert all(same(then, value) for value, then in shown)


@given(in_pieces(json_texts()))
def test_the_version_tells_of_each_change(pieces: list[str]) -> None:
    """The version is the same as before only if the value is."""
    partial = PartialJson()
    last, version = partial.value, partial.version
    for piece in pieces:
        partial.add(piece)
        if partial.version == version:
            assert same(last, partial.value)
        last, version = partial.value, partial.version


@given(st.lists(_values), st.data())
def test_elements_are_handed_out_once_they_are_whole(elements: list[Any], data: st.DataObject) -> None:
    """``items`` has the elements that no further text changes, of a list at the root or in an object."""
    for key, text in ((None, json.dumps(elements)), ("items", json.dumps({"items": elements}))):
        partial = PartialJson()
        taken: list[Any] = []
        for piece in data.draw(in_pieces(st.just(text))):
            partial.add(piece)
            taken += copy.deepcopy(partial.items(key, len(taken)))
            assert same(elements[: len(taken)], taken)
        assert same(elements, taken)
        assert partial.items("other", 0) == []


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "[" * 201, "1" * 100_000, "[" + "1" * 100_000 + "]"]
)
def test_what_is_too_large_is_broken_off(text: str) -> None:
    """Nesting and numbers beyond what jiter reads end the value, without an error."""
    assert value_of(text) == value_of(*text)
    assert _is_broken(text) == (text != "[" * 201)


def test_what_passes_the_bounds_of_a_text_is_broken_off() -> None:
    """More values or characters than a whole text may have are not shown, however they come."""
    partial = PartialJson()
    partial.add("[")
    for _ in range(11):
        partial.add("1," * 10_000)
    assert partial.broken
    assert MAX_STRUCTURE <= len(partial.value) <= MAX_STRUCTURE + 1
    partial = PartialJson()
    partial.add('["')
    for _ in range(16):
        partial.add("x" * 1024 * 1024)
    assert partial.broken
    assert MAX_TEXT - 1024 * 1024 == len(partial.value[0])


@pytest.mark.parametrize(
    "text",
    ['"\ud83c', '"\\ud83cx', '"\\udf26', '"\\ud83c\\n', "1e400,", "[-01]", "[1 2]", "[truex", "{1", "[1,]", "}", "x"],
)
def test_what_is_no_json_is_broken(text: str) -> None:
    """What has no continuation to JSON, or cannot be written again, is found."""
    assert _is_broken(text)


# -- deltas ------------------------------------------------------------------------------------------------


def linked(*pieces: str) -> list[ToolCallDelta]:
    text, deltas = GrowingText(), [ToolCallDelta(0, "", "", piece) for piece in pieces]
    for delta in deltas:
        link_delta(delta, text)
    return deltas


def test_a_delta_knows_those_before_it() -> None:
    """Each delta has the value up to itself, in whatever order they are looked at."""
    deltas = linked('{"city": "Os', 'lo", "days": 1', "2}")
    expected = [{"city": "Os"}, {"city": "Oslo"}, {"city": "Oslo", "days": 12}]
    assert [delta.partial() for delta in deltas] == expected
    assert [delta.partial() for delta in deltas] == expected
    assert [delta.partial() for delta in reversed(deltas)] == expected[::-1]


def test_a_decoder_links_the_deltas_of_each_call() -> None:
    """Calls, and choices, do not mix."""
    decoder = ReplyDecoder("x")
    chunks = [
        decoder._call_piece(which, None, arguments=piece, index=index)
        for piece in ('{"n', '": "', 'x"}')
        for which in (0, 1)
        for index in (0, 1)
    ]
    assert [chunk.tool_call.partial() for chunk in chunks if chunk.tool_call] == [{}] * 4 + [{"n": ""}] * 4 + [
        {"n": "x"}
    ] * 4


def test_the_link_is_no_part_of_the_delta() -> None:
    """A linked delta equals, shows, hashes and is written as one that was made by hand; a copy is looked at alone."""
    bare = ToolCallDelta(0, "", "", '"Oslo"}')
    delta = linked('{"city": ', '"Oslo"}')[1]
    assert (bare, hash(bare), repr(bare), bare.to_dict()) == (delta, hash(delta), repr(delta), delta.to_dict())
    for again in (pickle.loads(pickle.dumps(delta)), ToolCallDelta.from_dict(delta.to_dict()), copy.copy(delta), bare):
        assert again == delta
        assert again.partial() == "Oslo"
    assert delta.partial() == {"city": "Oslo"}


def test_chunks_from_elsewhere_can_be_linked() -> None:
    """``link`` tells deltas that were read back what came before them, reply by reply and round by round."""
    pieces = [
        Chunk("tool_call", tool_call=ToolCallDelta(index, "", "", piece), round=number)
        for number in (0, 1)
        for piece in ('{"n', '": "x')
        for index in (0, 1)
    ]
    read = [Chunk.from_dict(chunk.to_dict()) for chunk in [*pieces, Chunk("done"), *pieces]]
    values = [chunk.tool_call.partial() for chunk in link(read) if chunk.tool_call]
    assert values == [{}, {}, {"n": "x"}, {"n": "x"}] * 4
    assert [chunk.tool_call.partial() for chunk in link(read) if chunk.tool_call] == values
