"""JSON text that a model wrote: exact values, repairs that lose nothing, no others."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from streamkit.tools.problems import NOTHING, Refused
from streamkit.tools.repairs import MAX_DEPTH, inside, plain, value_of
from streamkit.values.json_text import ExactFloat

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def problem(text: str) -> str:
    with pytest.raises(Refused) as caught:
        value_of(text)
    (only,) = caught.value.problems()
    assert "invalid_json" == only.kind
    return only.text


@hypothesis.given(JSON, st.booleans())
def test_json_is_read_exactly(value: Any, ascii_only: bool) -> None:
    """JSON comes out as it went in, integers of any size and floats to the last bit included."""
    hypothesis.assume("\\ud" not in json.dumps(value) or json.dumps(value, ensure_ascii=False).isprintable())
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert value == value_of(text)
    assert value == plain(value_of(text, exact=True))


@hypothesis.given(JSON, st.sampled_from(["", "json", "JSON"]), st.sampled_from(["\n", "\r\n", " "]), st.booleans())
def test_fence_and_mark_stand_around(value: Any, word: str, space: str, mark: bool) -> None:
    """One Markdown fence, a byte order mark and white space around a text change nothing."""
    text = f"{'﻿' * mark}```{word}{space}{json.dumps(value, indent=1)}{space}```{space}"
    assert value == value_of(text)


@hypothesis.given(st.dictionaries(st.text(), st.lists(st.text())))
def test_raw_control_characters(value: dict[str, list[str]]) -> None:
    """Control characters in strings may stand unescaped."""
    text = json.dumps(value, ensure_ascii=False)
    raw = text.replace("\\\\", "\0BACKSLASH").replace("\\n", "\n").replace("\\t", "\t").replace("\0BACKSLASH", "\\\\")
    assert value == value_of(raw)


@hypothesis.given(JSON)
def test_last_commas(value: Any) -> None:
    """A comma after the last element is left out, and commas in strings stay."""
    pieces = []
    for token in json.JSONEncoder(ensure_ascii=True).iterencode(value):
        closes = token.endswith(("]", "}")) and not token.startswith('"') and token not in ("[]", "{}")
        pieces.append(f" , {token}" if closes else token)
    assert value == value_of("".join(pieces))


@hypothesis.given(st.dictionaries(st.text(min_size=1), JSON, min_size=1), st.data())
def test_no_prefix_is_read(value: dict[str, Any], data: st.DataObject) -> None:
    """An object that was cut anywhere is refused, and the text says that it is incomplete."""
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    for prefix in (cut, f"```json\n{cut}", f"﻿{cut}"):
        assert "incomplete" in problem(prefix)


@pytest.mark.parametrize(
    "text",
    [
        "[,]", "{,}", "[1,,]", "[1,,2]", '{"a":,}', '{"a",}', "[1 2]", "{'a': 1}", "{a: 1}", "[1] [2]", "{}{}", "[1]]",
        "NaN", "[Infinity]", "1e400", "[-1e999,]", "007", "0x1", "1_000", "+1", ".5", "1.", "True", "None", "undefined",
        '"\\x41"', '"\\d"', '"\\ud800"', '"\\udc00 \\ud800"', '"\ud800"', '"a\\\nb"', "// x\n1", "[1 /* x */]",
        "Sure: {}", "{} is it", "```\n{}\n```\n```\n{}\n```", "text\n```json\n{}\n```", "``{}``", "a=1", "<a>1</a>",
    ],
)  # fmt: skip
def test_no_guess(text: str) -> None:
    """What is no JSON and not one of the repairs is refused."""
    assert "JSON" in problem(text)


@pytest.mark.parametrize(
    "text", ["", " \n", "\ufeff", '{"a": 1', '{"a": -', '{"a": 1.', '["\\', '["\\u12', "```json\n{}"]
)
def test_incomplete(text: str) -> None:
    """A text that ends too early is called incomplete; an empty one empty."""
    assert ("no text" if not text.strip(" \n\ufeff") else "incomplete") in problem(text)


def test_depth_is_bounded() -> None:
    """Nesting is read up to a bound, in objects as in arrays, and refused beyond, also where the decoder gives up."""
    for opened, closed in (("[", "]"), ('{"a":', "}")):
        assert value_of(opened * MAX_DEPTH + "1" + closed * MAX_DEPTH)
        for depth in (MAX_DEPTH + 1, 100_000):
            assert "deep" in problem(opened * depth + "1" + closed * depth)
    assert len(value_of("[" + "[]," * 1000 + "[]]")) == 1001


def test_size_is_bounded() -> None:
    """A text over the bounds of the decoder is refused, and not repaired."""
    assert "too large" in problem("[" + "1," * 200_000 + "1]")
    assert "too large" in problem('["' + "x" * (17 * 1024 * 1024) + '"]')


def test_hostile_texts_take_no_quadratic_time() -> None:
    """Texts made to be slow for a scanner that goes back are refused like others."""
    for text in (
        '{"a": "' + '\\"' * 500_000,
        '["' + "\\" * 999_999,
        "[" + " " * 1_000_000 + ",]",
        "`" * 1_000_000,
        "```" + " " * 1_000_000,
        "```" + " " * 1_000_000 + "x```",
    ):
        assert problem(text)
    assert problem("[" + (" " * 50 + ",") * 20_000 + "]")


def test_exact_float_keeps_its_digits() -> None:
    """A number that is read exactly has the text that the model wrote, and is a plain float after ``plain``."""
    (value,) = value_of("[1.10]", exact=True)
    assert ("1.10", 1.1) == (value.text, value)
    assert isinstance(value, ExactFloat)
    assert float is type(plain([value])[0])


def test_json_in_a_string() -> None:
    """A string is read as JSON where it is whole JSON, once."""
    assert {"a": [1]} == inside('{"a": [1,]}')
    assert ["[1]"] == inside('["[1]"]')
    for text in ('"[1]"', "[1", "a", "", "1 2", "[1] x", "{a}"):
        assert inside(text) is NOTHING
