"""JSON is decoded exactly, and only what takes a bounded time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit
from streamkit import ProtocolError, ToolCall
from streamkit.values.json_text import MAX_STRUCTURE, MAX_TEXT, Structure, decoded
from streamkit.wire.json import parse_event, parse_json
from tests.unit.support import split_at

TEXTS = st.recursive(
    st.none() | st.integers() | st.text('ab\\"[{,é\ud800', max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('a\\"[', max_size=3), inner, max_size=4),
    max_leaves=12,
).map(lambda value: json.dumps(value, indent=1))


def outside(text: str) -> str:
    """Return a JSON text without its strings."""
    return re.sub(r'"(?:[^"\\]|\\.)*"', "", text)


@given(TEXTS, st.lists(st.integers(0, 200), max_size=8))
def test_counts_are_those_outside_strings(text: str, cuts: list[int]) -> None:
    """Cut anywhere, brackets and commas are counted where they are JSON's, and not where they are text."""
    structure = Structure()
    for piece in split_at(text, cuts):
        structure.add(piece)
    rest = outside(text)
    assert sum(map(rest.count, "[{,")) == structure.marks
    assert len("".join(rest.split())) == structure.plain
    assert (0, False) == (structure.depth, structure.in_string)


@given(TEXTS, st.integers(0, 200))
def test_a_prefix_tells_where_it_ends(text: str, length: int) -> None:
    """A text that ends inside a string or a bracket is known to do so."""
    structure, prefix = Structure(), text[:length]
    structure.add(prefix)
    rest = outside(prefix)
    assert ('"' in rest) == structure.in_string
    rest = rest.partition('"')[0]
    assert sum(map(rest.count, "[{")) - sum(map(rest.count, "]}")) == structure.depth


@pytest.mark.parametrize(
    "text",
    [
        "[" + "0," * (MAX_STRUCTURE - 2) + "0]",
        json.dumps("[{," * MAX_STRUCTURE),
        json.dumps('\\"[{,' * MAX_STRUCTURE),
        '"' + "A" * (MAX_TEXT - 2) + '"',
        json.dumps("漢" * 100_000, ensure_ascii=False),
        " " * (2 * 1024 * 1024) + "1",
    ],
    ids=["structure", "brackets in text", "quotes in text", "a picture", "letters", "white space"],
)
def test_within_the_bounds(text: str) -> None:
    """What real events may be is decoded, pictures of many megabytes included."""
    assert json.loads(text) == decoded(text) == parse_event(text) == parse_json(text) == parse_json(text.encode())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" + "0," * MAX_STRUCTURE + "0]", "structural"),
        ("[" * (MAX_STRUCTURE + 1), "structural"),
        ("[" + "[]," * MAX_STRUCTURE + "NaN]", "structural"),
        ('["a' + "\\" * 400_000 + '",' + "[]," * MAX_STRUCTURE, "structural"),
        ('"' + "A" * MAX_TEXT + '"', "bytes"),
        ('"' + "漢" * (MAX_TEXT // 3) + '"', "bytes"),
        ('"' + "\\n" * (5 * 2**20) + '"', "escaped"),
        ("1" * 2_000_000, "outside strings"),
        ("[" + ",".join(["9" * 4300] * 1000) + "]", "outside strings"),
    ],
    ids=["flat", "deep", "not strict", "backslashes", "size", "size in bytes", "escapes", "one number", "numbers"],
)
def test_over_the_bounds(text: str, words: str) -> None:
    """What would take long is refused before it is parsed, with the bound and the beginning of it."""
    with pytest.raises(ProtocolError, match=words) as caught:
        parse_event(text)
    assert text[:512] == caught.value.excerpt
    with pytest.raises(ProtocolError, match=words):
        parse_json(text)
    with pytest.raises(ProtocolError, match=words):
        parse_json(text.encode())
    assert ToolCall("a", "f", None, text) == ToolCall.of("a", "f", text)


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**40 + 1, int("9" * 4300)])
def test_integers_are_exact(number: int) -> None:
    """An integer of any length is that integer, in events and in the arguments of tools."""
    text = json.dumps({"n": number, "in": [number]})
    expected: dict[str, Any] = {"n": number, "in": [number]}
    assert expected == parse_event(text) == parse_json(text.encode()) == ToolCall.of("a", "f", text).arguments


@pytest.mark.parametrize("text", ["9" * 4301, "[" + "9" * 5000 + "]", "-" + "9" * 100_000])
def test_integers_that_take_too_long(text: str) -> None:
    """Numbers of many thousand digits are no JSON here: their time is the square of their length."""
    with pytest.raises(ValueError, match="4300 digits"):
        parse_json(text)


def test_nothing_else_decodes_json() -> None:
    """No module reads a server's JSON past the bounds.

    The embedded server reads what our own client sends; the others read what they wrote themselves, files of the
    program's own, and texts that were bounded before.
    """
    package = Path(streamkit.__file__).parent
    found = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"json\.loads?\(|json\.(Decoder|decode)\b|\borjson\b|\.json\(\)", path.read_text("utf-8"))
    ]
    known = {"values/json_text.py", "wire/json.py"}
    written_by_us = {
        "tools/suspension.py",
        "tools/claims.py",
        "tools/results.py",
        "conversation/turns.py",
        "conversation/stores/sql_store.py",
        "logs/json_text.py",
        "packs/schema.py",
        "batch/json_lines.py",
        "policies/sql_cache.py",
    }
    of_the_program = {"packs/json_file.py"}
    bounded_before = {"validators/json_text.py", "web/formats/requests/request.py"}
    in_a_docstring = {"values/chunks.py"}
    others = {path for path in found if not path.startswith(("testing/", "cli/"))}
    assert known == others - written_by_us - of_the_program - bounded_before - in_a_docstring
