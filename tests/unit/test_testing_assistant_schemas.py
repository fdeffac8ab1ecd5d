"""The assistant's values fit their schema, whatever the schema and the prompt."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.testing.assistant.facts import facts_of
from streamkit.testing.assistant.filling import Filling, Source
from streamkit.testing.assistant.patterns import example_of
from streamkit.testing.assistant.schemas import fits

NAMES = st.sampled_from("city items total date email count unit name order note id tags price message x".split())
PROMPTS = st.sampled_from(
    [
        "",
        "Invoice 2026-17 from Fjord Ltd: 3 lamps at 12.50 EUR each, 1 table at 80",
        "Name five cities, and ada@example.com by tomorrow; unit: red, not x",
        "order A-17, 7 items, note: hello\n- one\n- two",
        "  \"' 2026-99-99 (3 *) #1 and and , : 999999999999999999999999",
    ]
)


def numbers(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    low = st.integers(-1000, 1000)
    return st.one_of(
        st.just({"type": kind}),
        low.map(lambda at: {"type": kind, "minimum": at}),
        low.map(lambda at: {"type": kind, "exclusiveMaximum": at}),
        st.tuples(low, st.integers(1, 9)).map(lambda at: {"type": kind, "minimum": at[0], "maximum": at[0] + at[1]}),
        st.tuples(low, st.integers(2, 9)).map(
            lambda at: {"type": kind, "exclusiveMinimum": at[0], "exclusiveMaximum": at[0] + at[1]}
        ),
        st.tuples(low, st.integers(1, 9)).map(lambda at: {"type": kind, "minimum": at[0], "multipleOf": at[1]}),
    )


TEXTS = st.one_of(
    st.just({"type": "string"}),
    st.tuples(st.integers(0, 30), st.integers(0, 9)).map(
        lambda at: {"type": "string", "minLength": at[0], "maxLength": at[0] + at[1]}
    ),
    st.sampled_from(["date", "date-time", "uuid", "email", "uri"]).map(lambda name: {"type": "string", "format": name}),
    st.sampled_from([r"^[A-Z]{2}-\d+$", r"^(red|blue)\w?$", r"^\d{4}$"]).map(
        lambda one: {"type": "string", "pattern": one}
    ),
)
LEAVES = st.one_of(
    TEXTS,
    numbers("integer"),
    numbers("number"),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {}, {"$ref": "#/$defs/Colour"}, {"const": 3}]),
    st.lists(st.sampled_from(["red", "blue", 1, True, None]), min_size=1, unique_by=repr).map(
        lambda one: {"enum": one}
    ),
)


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    properties = draw(st.dictionaries(NAMES, inner, max_size=4))
    required = [name for name in properties if draw(st.booleans())]
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    return {**schema, "additionalProperties": False} if draw(st.booleans()) else schema


def arrays(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(inner, st.integers(0, 3), st.integers(0, 3)).map(
        lambda at: {"type": "array", "items": at[0], "minItems": at[1], "maxItems": at[1] + at[2]}
    )


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        objects(inner),
        arrays(inner),
        inner.map(lambda one: {"anyOf": [one, {"type": "null"}]}),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"anyOf": some}),
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, PROMPTS)
def test_a_filled_schema_is_valid(schema: dict[str, Any], prompt: str) -> None:
    """Whatever the schema asks for and the prompt says, the value fits, and our checker agrees with jsonschema's."""
    root = {**schema, "$defs": {"Colour": {"enum": ["red", "green"]}}}
    value = Filling(root, Source.of(prompt)).complete(root)
    checker = jsonschema.Draft202012Validator(root, format_checker=jsonschema.FormatChecker())
    assert [] == [error.message for error in checker.iter_errors(value)]
    assert fits(value, root, root)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_has_facts(text: str) -> None:
    """No text is too odd to be read; each fact is where it says."""
    for fact in facts_of(text):
        assert fact.text in text[fact.start : fact.end]


def test_a_schema_within_itself_ends() -> None:
    """A recursive schema is filled as deep as the prompt goes, and not for ever."""
    node = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name", "children"]}
    node["properties"]["children"] = {"type": "array", "items": {"$ref": "#"}}
    value = Filling(node, Source.of("A tree of 3 lamps and 4 tables")).complete(node)
    jsonschema.validate(value, node)
    endless = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    Filling(endless, Source.of("x")).complete(endless)  # nothing fits it


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[A-Z]{2}-\d{3,}$",
        r"(?:a|b)+c?",
        r"^\w+@\w+\.com$",
        r"^[^a]\S*?\.$",
        r"x{2,4}",
        r"^#[0-9a-f]{6}$",
        r"\+47 \d{8}",
    ],
)
def test_a_simple_pattern_has_an_example(pattern: str) -> None:
    """The text made for a pattern matches it."""
    example = example_of(pattern)
    assert example is not None
    assert re.search(pattern, example)


@pytest.mark.parametrize("pattern", [r"(?=a)b", r"(a)\1", "[", "(", "\\"])
def test_a_hard_pattern_has_none(pattern: str) -> None:
    """What is not simple is given up, without an error."""
    assert example_of(pattern) is None
