"""Arguments by a JSON schema: every error with its path, the same repairs, nothing fetched."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from streamkit.errors import ConfigError
from streamkit.tools.arguments import InvalidArgumentsError, SchemaBinder, bind_by_schema
from streamkit.tools.json_schema import schema_check

SCHEMA = {
    "type": "object",
    "properties": {
        "count": {"type": "integer", "minimum": 1},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "unit": {"enum": ["c", "f"]},
        "place": {
            "type": "object",
            "properties": {"lat": {"type": "number"}},
            "required": ["lat"],
            "additionalProperties": False,
        },
        "id": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "on": {"type": "boolean"},
        "note": {"type": "string"},
    },
    "required": ["count"],
}
PETS = {
    "type": "object",
    "properties": {
        "pet": {
            "oneOf": [
                {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]},
                {
                    "type": "object",
                    "properties": {"kind": {"const": "dog"}, "breed": {"type": "string"}},
                    "required": ["kind", "breed"],
                },
                {"type": "string"},
            ]
        }
    },
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"count": 1}', {"count": 1}),
        ('{"count": "3", "on": "true", "tags": "[\\"x\\"]"}', {"count": 3, "on": True, "tags": ["x"]}),
        ('{"count": 1, "place": "{\\"lat\\": \\"2\\"}"}', {"count": 1, "place": {"lat": 2}}),
        ('{"count": 1, "unit": null, "note": null, "id": null}', {"count": 1, "id": None}),
        ('{"count": 1, "id": "4", "note": "5"}', {"count": 1, "id": 4, "note": "5"}),
        ('"{\\"count\\": 1}"', {"count": 1}),
        ('```json\n{"count": 123456789012345678901234567890,}\n```', {"count": 123456789012345678901234567890}),
    ],
)
def test_fits(text: str, expected: dict[str, Any]) -> None:
    """Arguments come as they are, or with repairs that lose nothing, all by keyword."""
    bound = bind_by_schema(SCHEMA, text)
    assert ((), expected, expected) == (bound.args, bound.kwargs, bound.arguments)


@pytest.mark.parametrize(
    ("schema", "text", "expected"),
    [
        (
            SCHEMA,
            '{"count": 0, "tags": [], "unit": "C", "place": {"x": 1}, "other": 1}',
            [
                ("count", "constraint"),
                ("tags", "constraint"),
                ("unit", "value"),
                ("place.lat", "missing"),
                ("place.x", "unexpected"),
                ("other", "unexpected"),
            ],
        ),
        (SCHEMA, "", [("count", "missing")]),
        (SCHEMA, '{"count": null}', [("count", "type")]),
        (SCHEMA, '{"count": 2.5, "tags": "a", "note": 5}', [("count", "type"), ("tags", "type"), ("note", "type")]),
        (SCHEMA, '{"count": 1, "tags": ["a", 1]}', [("tags[1]", "type")]),
        (SCHEMA, "[1]", [("", "not_an_object")]),
        (SCHEMA, '{"count": 1', [("", "invalid_json")]),
        (PETS, '{"pet": {"kind": "dog"}}', [("pet.breed", "missing")]),
        (PETS, '{"pet": {"kind": "fish"}}', [("pet", "type")]),
        (PETS, '{"pet": 5}', [("pet", "type")]),
    ],
)
def test_is_refused(schema: dict[str, Any], text: str, expected: list[tuple[str, str]]) -> None:
    """Every problem is named with its path and its kind."""
    with pytest.raises(InvalidArgumentsError) as caught:
        bind_by_schema(schema, text)
    assert expected == [(each.path, each.kind) for each in caught.value.problems]


def test_unknown_arguments_are_refused_unless_the_schema_speaks_of_them() -> None:
    """Keys beside the properties are refused at the top; a schema that wants them says so."""
    properties = {"properties": {"a": {"type": "integer"}}}
    with pytest.raises(InvalidArgumentsError, match="dry_run"):
        bind_by_schema(properties, '{"dry_run": true}')
    for schema in (
        {},
        {"type": "object"},
        {**properties, "additionalProperties": True},
        {**properties, "additionalProperties": {"type": "boolean"}},
        {**properties, "patternProperties": {"^dry": {}}},
    ):
        assert {"dry_run": True} == bind_by_schema(schema, '{"dry_run": true}').kwargs


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}},
        {"properties": {"a": {"$ref": "file:///etc/hostname"}}},
        {"$id": "http://127.0.0.1:9/", "properties": {"a": {"$ref": "other.json"}}},
        {"properties": {"a": {"$ref": "#/$defs/gone"}}},
        {"properties": {"a": {"type": "no such type"}}},
        {"properties": {"a": {"pattern": "("}}},
    ],
)
def test_wrong_schema(schema: dict[str, Any]) -> None:
    """A schema that is wrong, or leads out of itself, is the program's mistake; nothing is fetched."""
    with pytest.raises(ConfigError):
        bind_by_schema(schema, '{"a": 1}')


def test_null_in_a_map_is_a_value() -> None:
    """Null is "not given" for a key that the schema names, and a wrong value in a map of any keys."""
    schema = {"properties": {"counts": {"additionalProperties": {"type": "integer"}}}}
    with pytest.raises(InvalidArgumentsError, match=r"`counts\.a` must be an integer, got null"):
        bind_by_schema(schema, '{"counts": {"a": null}}')


def test_many_repairs() -> None:
    """As many repairs are made as are needed."""
    schema = {"properties": {"numbers": {"items": {"type": "integer"}}}}
    assert {"numbers": list(range(500))} == bind_by_schema(
        schema, json.dumps({"numbers": list(map(str, range(500)))})
    ).kwargs


def test_recursive_schema() -> None:
    """A schema may refer to itself; nesting beyond what can be checked is refused."""
    schema = {"properties": {"a": {"$ref": "#"}, "v": {"type": "integer"}}, "additionalProperties": False}
    with pytest.raises(InvalidArgumentsError, match=r"`a\.a\.v` must be an integer"):
        bind_by_schema(schema, '{"a": {"a": {"v": "x"}}}')
    with pytest.raises(InvalidArgumentsError, match="deep"):
        bind_by_schema({"properties": {"a": {"$ref": "#/properties/a"}}}, '{"a": 1}')


def test_older_draft() -> None:
    """The draft that a schema names is the one that it is read by."""
    schema = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "properties": {"a": {"minimum": 3, "exclusiveMinimum": True}},
    }
    with pytest.raises(InvalidArgumentsError, match="`a`"):
        bind_by_schema(schema, '{"a": 3}')


def test_a_schema_is_compiled_once() -> None:
    """Equal schemas share one check."""
    assert schema_check(SCHEMA) is schema_check(json.loads(json.dumps(SCHEMA)))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["lat", "kind", "breed", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)
CHECKS = [
    SchemaBinder(SCHEMA, "measure"),
    SchemaBinder(PETS),
    SchemaBinder({"properties": {"a": {"multipleOf": 1e-5}}}),
]


@hypothesis.given(
    st.sampled_from(CHECKS),
    st.dictionaries(st.sampled_from([*SCHEMA["properties"], "pet", "a"]), VALUES, max_size=4),  # type: ignore[misc]
)
def test_any_object_is_bound_or_refused(binder: SchemaBinder, given: dict[str, Any]) -> None:
    """Whatever object the model writes, it is bound, or refused with problems; no other exception comes out."""
    try:
        binder.bind(json.dumps(given))
    except InvalidArgumentsError as error:
        problems, text = error.problems, str(error)
        assert problems
        assert text
