"""Rewritten schemas say the same: they take and refuse what the original does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from streamkit.providers.request.schemas import Schema, closed, dereferenced, draft_7, inlined, without_synonyms
from tests.tool_cases import rules

CASES = [
    pytest.param(case, id=case["id"])
    for case in json.loads((Path(rules.__file__).parent / "schemas.json").read_text("utf-8"))
    if "schema" in case
]
# Those with objects of any keys, values of any kind, tuples or definitions that refer to themselves.
OPEN = {
    *("union_nested_none", "list_of_enum", "bare_containers", "json_value", "list_default", "fly", "cut", "tree_sum"),
    *("doc_numpy", "doc_stars", "wrapped_badly"),
}
REWRITES = [dereferenced, inlined, without_synonyms, draft_7]
NODE: dict[str, Any] = {
    "$ref": "#/$defs/Node",
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
            "additionalProperties": False,
        }
    },
}


def takes(schema: Schema, value: Any, kind: Any = jsonschema.Draft202012Validator) -> bool:
    kind.check_schema(schema)
    return bool(kind(schema).is_valid(value))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.__name__)
def test_nothing_is_lost(rewrite: Any, case: dict[str, Any]) -> None:
    """Whatever fits the schema of a tool fits the rewritten one, and whatever does not fit it does not."""
    before = json.dumps(case["schema"])
    kind = jsonschema.Draft7Validator if rewrite is draft_7 else jsonschema.Draft202012Validator
    rewritten = rewrite(case["schema"])
    for field in ("accepts", "rejects"):
        for value in case.get(field) or ():
            assert takes(case["schema"], value) == takes(rewritten, value, kind), value
    assert before == json.dumps(case["schema"])


@pytest.mark.parametrize("case", CASES)
def test_a_closed_schema_takes_what_the_original_takes(case: dict[str, Any]) -> None:
    """A model that is held to it can still say all that fits, and it has nothing that the API does not know."""
    held = closed(dereferenced(case["schema"]))
    assert (held is None) == (case["id"] in OPEN)
    if held is None:
        return
    unknown = ("oneOf", "exclusiveMinimum", "minimum", "maxLength", "pattern", "uniqueItems", "default")
    assert not any(f'"{word}":' in json.dumps(held) for word in unknown)
    for value in case.get("accepts") or ():
        assert not takes(case["schema"], value) or takes(held, value), value


def test_what_the_api_does_not_know_is_told() -> None:
    """Limits go into the description, formats that are known stay, and several types are a union."""
    schema = {
        "type": "object",
        "properties": {
            "count": {"type": "integer", "minimum": 1, "description": "How many."},
            "day": {"type": "string", "format": "date"},
            "zone": {"type": ["string", "null"], "format": "zone", "description": "Where."},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "kind": {"oneOf": [{"const": "a"}, {"type": "integer"}]},
        },
    }
    assert {
        "type": "object",
        "properties": {
            "count": {"type": "integer", "description": "How many. (minimum: 1)"},
            "day": {"type": "string", "format": "date"},
            "zone": {
                "anyOf": [{"type": "string", "description": '(format: "zone")'}, {"type": "null"}],
                "description": "Where.",
            },
            "tags": {"type": "array", "items": {"type": "string"}, "description": "(minItems: 2)"},
            "kind": {"anyOf": [{"const": "a"}, {"type": "integer"}]},
        },
        "additionalProperties": False,
    } == closed(schema)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}},
        {"type": "array"},
        {"type": "array", "prefixItems": [{"type": "string"}]},
        {},
        {"description": "Anything."},
        {"$ref": "#/$defs/None"},
    ],
)
def test_what_cannot_be_closed(part: dict[str, Any]) -> None:
    """Objects with any keys, lists and values of anything, tuples and dead references have no closed schema."""
    assert closed({"type": "object", "properties": {"a": part}}) is None


def test_a_schema_that_refers_to_itself() -> None:
    """It cannot be closed, and its references stay where they cannot be replaced."""
    assert closed(dereferenced(NODE)) is None
    assert NODE == inlined(NODE)
    assert "object" == dereferenced(NODE)["type"]
    loop = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}
    assert dereferenced(loop)


def test_references_are_replaced_with_what_stands_beside_them() -> None:
    """A description beside a reference is kept, in place of that of the definition."""
    city = {"type": "string", "description": "A city."}
    schema = {"properties": {"to": {"$ref": "#/$defs/City", "description": "Where to."}}, "$defs": {"City": city}}
    assert {"properties": {"to": {"type": "string", "description": "Where to."}}} == inlined(schema)


def test_schemas_that_grow_or_have_no_end() -> None:
    """Definitions that double at each level, and nesting without end, are left as they are, in little time."""
    doubling: dict[str, Any] = {f"A{n}": {"anyOf": [{"$ref": f"#/$defs/A{n + 1}"}] * 2} for n in range(40)}
    schema = {"$ref": "#/$defs/A0", "$defs": {**doubling, "A40": {"type": "string"}}}
    assert schema == inlined(schema)
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(5_000):
        deep = {"type": "array", "items": deep}
    for rewrite in REWRITES:
        assert rewrite(deep) is deep
    assert closed(deep) is None
