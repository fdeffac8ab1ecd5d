"""Schemas of functions and types: every case of tests/tool_cases/schemas.json, and the rules behind them."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import annotated_types
import attrs
import jsonschema
import msgspec
import pydantic
import pytest
from typing_extensions import Doc, NamedTuple, NotRequired, Required, TypeAliasType, TypedDict, Unpack

from streamkit import ConfigError, Tool
from streamkit.tools.docstring import parse_docstring
from streamkit.tools.schema import parameters_schema, schema_of
from streamkit.tools.signature import signature_of
from streamkit.tools.strict import strict_schema

FOLDER = Path(__file__).parent.parent / "tool_cases"
sys.path.insert(0, str(FOLDER))
compare = importlib.import_module("compare")
functions = importlib.import_module("functions").CASES
tool_types = importlib.import_module("tool_types")

CASES = json.loads((FOLDER / "schemas.json").read_text("utf-8"))
GOOD = [case for case in CASES if "error" not in case]
BAD = [case for case in CASES if "error" in case]

T = TypeVar("T")


def id_of(case: dict[str, Any]) -> str:
    return str(case["id"])[:40]


def made(case: dict[str, Any]) -> Tool:
    return Tool.of(functions[case["id"]], **case.get("given", {}))


def schema(function: Callable[..., Any]) -> dict[str, Any]:
    return Tool.of(function).schema


def properties(function: Callable[..., Any]) -> Any:
    return schema(function)["properties"]


@pytest.mark.parametrize("case", GOOD, ids=id_of)
def test_schema(case: dict[str, Any]) -> None:
    """A function's schema is the one that the case has."""
    assert compare.normal(case["schema"]) == compare.normal(made(case).schema)
    assert compare.same(case["schema"], made(case).schema)


@pytest.mark.parametrize("case", GOOD, ids=id_of)
def test_name_and_descriptions(case: dict[str, Any]) -> None:
    """Name, description and the parameters' descriptions come from the function, its docstring and `Annotated`."""
    tool = made(case)
    described = {
        parameter.name: parameter.description
        for parameter in signature_of(functions[case["id"]]).parameters
        if parameter.description and parameter.kind is not parameter.kind.VAR_KEYWORD
    }
    assert case["name"] == tool.name
    assert case["description"].split() == tool.description.split()
    assert case["parameter_descriptions"] == described


@pytest.mark.parametrize("case", [case for case in GOOD if "accepts" in case], ids=id_of)
def test_accepts_and_rejects(case: dict[str, Any]) -> None:
    """By jsonschema, a schema takes the arguments that it should take, and no others."""
    checker = jsonschema.Draft202012Validator(made(case).schema)
    assert [] == [arguments for arguments in case["accepts"] if not checker.is_valid(arguments)]
    assert [] == [arguments for arguments in case.get("rejects", []) if checker.is_valid(arguments)]


@pytest.mark.parametrize("case", BAD, ids=id_of)
def test_refused(case: dict[str, Any]) -> None:
    """What cannot be a tool is a ConfigError that names it and the reason."""
    with pytest.raises(ConfigError) as caught:
        made(case)
    for said in case["error"]["says"]:
        assert said.lower() in str(caught.value).lower()


@pytest.mark.parametrize("case", GOOD, ids=id_of)
def test_strict(case: dict[str, Any]) -> None:
    """The form for strict mode is the one that the case has, or the error says where none is possible."""
    tool, expected = made(case), case["providers"]["openai_strict"]
    before = json.dumps(tool.schema)
    if expected["possible"]:
        assert compare.normal(expected["schema"]) == compare.normal(strict_schema(tool.schema))
    else:
        with pytest.raises(ConfigError) as caught:
            strict_schema(tool.schema)
        assert expected["because"] in str(caught.value)
    assert before == json.dumps(tool.schema)


@pytest.mark.parametrize("case", GOOD, ids=id_of)
def test_valid_schemas(case: dict[str, Any]) -> None:
    """Each schema is one by the standard, and each default but null fits what it stands beside."""
    schema = made(case).schema
    jsonschema.Draft202012Validator.check_schema(schema)
    for inner in schema["properties"].values():
        if inner.get("default") is not None:
            jsonschema.validate(inner["default"], {**inner, "$defs": schema.get("$defs", {})})


# Strict mode


def broken_rules(schema: Any, path: str = "root") -> list[str]:
    """Where a schema breaks the rules in providers.json, which are read here anew."""
    if not isinstance(schema, dict):
        return []
    found = []
    if "properties" in schema or schema.get("type") == "object":
        closed = schema.get("additionalProperties") is False
        if not closed or set(schema.get("required", ())) != set(schema["properties"]):
            found.append(f"{path} is open, or has optional properties")
    refused = {"default", "oneOf", "allOf", "minLength", "maxLength", "uniqueItems", "contentEncoding", "propertyNames"}
    found += [f"{path} has {key}" for key in refused & set(schema)]
    if "$ref" in schema and len(schema) > 1:
        found.append(f"{path} has keys beside $ref")
    if schema.get("type") == "array" and not {"items", "prefixItems"} & set(schema):
        found.append(f"{path} has items of any type")
    for key in ("properties", "$defs"):
        for name, inner in schema.get(key, {}).items():
            found += broken_rules(inner, f"{path}.{name}")
    for inner in (schema.get("items"), *schema.get("anyOf", ()), *schema.get("prefixItems", ())):
        found += broken_rules(inner, f"{path}[]")
    return found


@pytest.mark.parametrize("case", [case for case in GOOD if case["providers"]["openai_strict"]["possible"]], ids=id_of)
def test_strict_rules(case: dict[str, Any]) -> None:
    """A strict schema keeps the provider's rules at each place of it, definitions included."""
    assert [] == broken_rules(strict_schema(made(case).schema))


def strict_of(**properties: Any) -> Any:
    whole = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return strict_schema(whole)["properties"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "string", "pattern": "^(?!x)"}, {"type": "string", "description": "(pattern: ^(?!x))"}),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"allOf": [{"$ref": "#/$defs/A"}], "title": "A"}, {"$ref": "#/$defs/A"}),
        ({"type": "string", "format": "email", "default": "x"}, {"type": "string", "format": "email"}),
        (
            {"type": "string", "description": "An address.", "examples": ["a", "b"]},
            {"type": "string", "description": 'An address. (examples: ["a", "b"])'},
        ),
    ],
)
def test_strict_keywords(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """What strict mode does not know is rewritten, or moved into the description, where that loses nothing."""
    assert {"x": expected} == strict_of(x=given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"type": "object"}, "x takes any keys"),
        (
            {"type": "object", "properties": {"y": {"type": "object", "additionalProperties": True}}},
            "x.y takes any keys",
        ),
        ({"type": "object", "properties": {}, "patternProperties": {"^a": {}}}, "x takes any keys"),
        ({"type": "array"}, "x[] has no type"),
        ({"allOf": [{"type": "string"}, {"minLength": 1}]}, "x combines schemas by allOf"),
        ({"not": {"type": "string"}}, "x has 'not'"),
    ],
)
def test_strict_impossible(given: dict[str, Any], says: str) -> None:
    """What strict mode cannot say is an error with the path."""
    with pytest.raises(ConfigError, match="strict mode") as caught:
        strict_of(x=given)
    assert says in str(caught.value)


@pytest.mark.parametrize("root", [{"type": "string"}, {"type": "object", "anyOf": [{}]}, {}])
def test_strict_root(root: dict[str, Any]) -> None:
    """In strict mode the root is an object."""
    with pytest.raises(ConfigError, match="root"):
        strict_schema(root)


# Types


class Size(enum.Enum):
    SMALL = 1
    LARGE = 2


class Options(TypedDict, total=False):
    """Options.

    Attributes:
        first: Comes first.
    """

    first: Required[int]
    second: Annotated[str, "Comes second."]


class MoreOptions(Options):
    third: int
    fourth: NotRequired[list[int]]


@dataclasses.dataclass
class Crate(Generic[T]):
    content: T
    made_for: ClassVar[str] = "tests"
    seed: dataclasses.InitVar[int] = 3


@dataclasses.dataclass
class NumberCrate(Crate[int]):
    limit: Annotated[int, annotated_types.Ge(3), "The least."] = 3


class Pair(NamedTuple, Generic[T]):
    first: T
    second: int = 1


class Tagged(msgspec.Struct, tag="tagged", rename="camel"):
    my_name: str
    sizes: list[Size] = msgspec.field(default_factory=list)


class Album(pydantic.BaseModel):
    title: str
    parts: list[Album] = []


class Shelf(pydantic.BaseModel):
    albums: list[Album]


Tree = TypeAliasType("Tree", "dict[str, Tree] | list[int]")


def test_mappings_and_sequences() -> None:
    """The abstract containers are arrays and objects as the concrete ones."""

    def function(a: Sequence[str], b: Mapping[str, int], c: Iterable[float], d: collections.deque[int]) -> None: ...

    assert {
        "a": {"type": "array", "items": {"type": "string"}},
        "b": {"type": "object", "additionalProperties": {"type": "integer"}},
        "c": {"type": "array", "items": {"type": "number"}},
        "d": {"type": "array", "items": {"type": "integer"}},
    } == properties(function)


def test_keys_of_mappings() -> None:
    """The keys' type is in `propertyNames` where it says more than that they are text."""
    schemas = [schema_of(hint) for hint in (dict[str, int], dict[int, int], dict[Literal["a", "b"], int])]
    assert [None, None, {"enum": ["a", "b"], "type": "string"}] == [found.get("propertyNames") for found in schemas]


def test_generics() -> None:
    """Type arguments arrive in fields, also through bases; a free variable is any value."""
    assert {"type": "integer"} == schema_of(NumberCrate)["properties"]["content"]
    assert {"type": "string"} == schema_of(Crate[str])["properties"]["content"]
    assert {} == schema_of(Crate)["properties"]["content"]
    assert [{"type": "string"}, {"type": "integer", "default": 1}] == schema_of(Pair[str])["prefixItems"]


def test_fields() -> None:
    """Class variables are no fields, what only `__init__` takes is one, and `Annotated` counts within classes."""
    assert {
        "content": {"type": "integer"},
        "seed": {"type": "integer", "default": 3},
        "limit": {"type": "integer", "minimum": 3, "description": "The least.", "default": 3},
    } == schema_of(NumberCrate)["properties"]


def test_typed_dicts() -> None:
    """Required and NotRequired hold where annotations are postponed, and in subclasses."""
    found = schema_of(MoreOptions)
    assert {"first", "third"} == set(found["required"])
    assert {"first", "second", "third", "fourth"} == set(found["properties"])
    assert {"type": "string", "description": "Comes second."} == found["properties"]["second"]
    assert {"type": "integer", "description": "Comes first."} == schema_of(Options)["properties"]["first"]


def test_keywords_from_a_typed_dict() -> None:
    """`**options: Unpack[...]` is one parameter a key."""

    def function(**options: Unpack[Options]) -> None: ...

    found = schema(function)
    assert ["first"] == found["required"]
    assert ["first", "second"] == list(found["properties"])
    assert found["additionalProperties"] is False


def test_structs() -> None:
    """A msgspec Struct has its encoded names, its tag and closed keys."""
    found = schema_of(Tagged)
    assert {"const": "tagged", "type": "string"} == found["properties"]["type"]
    assert ["type", "myName"] == found["required"]
    assert found["additionalProperties"] is False


def test_recursive_alias() -> None:
    """A type alias that names itself is a definition that refers to itself."""
    found = schema_of(Tree)
    assert {"$ref": "#/$defs/Tree"} == found["anyOf"][0]["additionalProperties"]
    assert {"Tree"} == set(found["$defs"])


def test_recursive_root() -> None:
    """A recursive class is a root that can be read at once, with its definition beside it."""
    found = schema_of(tool_types.Node)
    assert "object" == found["type"]
    assert {"Node"} == set(found["$defs"])
    assert "$defs" not in schema_of(tool_types.Point)


def test_pydantic_models() -> None:
    """pydantic's schema without titles, though a property may be named so; one definition a model."""

    def function(shelf: Shelf, album: Album, again: list[Shelf] | None = None) -> None: ...

    found = schema(function)
    assert {"Shelf", "Album"} == set(found["$defs"])
    assert {"title", "parts"} == set(found["$defs"]["Album"]["properties"])
    assert "title" not in found["$defs"]["Album"]


def test_two_classes_of_one_name() -> None:
    """Each class has a definition of its own, whatever made it."""

    def classes() -> list[Any]:
        @dataclasses.dataclass
        class Album:
            pages: int

        return [Album, globals()["Album"], attrs.make_class("Album", {"year": attrs.field(type=int)})]

    found = schema_of(tuple[tuple(classes())])  # type: ignore[misc]
    assert 3 == len({item["$ref"] for item in found["prefixItems"]})
    assert [["pages"], ["title", "parts"], ["year"]] == [
        list(found["$defs"][item["$ref"].rpartition("/")[2]]["properties"]) for item in found["prefixItems"]
    ]


def test_constraints() -> None:
    """Constraints go to the member of a union that they suit, whichever library they are of."""

    def function(
        a: Annotated[int | None, annotated_types.Interval(ge=0, lt=9), Doc("Some.")] = None,
        b: Annotated[str, pydantic.Field(pattern="^a", max_length=3)] = "a",
        c: Annotated[list[str] | str, msgspec.Meta(min_length=1)] = "x",
        d: Annotated[str, pydantic.StringConstraints(min_length=2)] = "xx",
        e: pydantic.PositiveInt = 1,
    ) -> None: ...

    found = properties(function)
    integer = {"type": "integer", "minimum": 0, "exclusiveMaximum": 9}
    assert {"anyOf": [integer, {"type": "null"}], "description": "Some.", "default": None} == found["a"]
    assert {"type": "string", "pattern": "^a", "maxLength": 3, "default": "a"} == found["b"]
    assert [{"type": "array", "items": {"type": "string"}, "minItems": 1}, {"type": "string", "minLength": 1}] == (
        found["c"]["anyOf"]
    )
    assert {"type": "string", "minLength": 2, "default": "xx"} == found["d"]
    assert {"type": "integer", "exclusiveMinimum": 0, "default": 1} == found["e"]


def test_defaults() -> None:
    """Defaults are written as their type's schema describes them, and left out where JSON has none."""

    def function(
        amount: Decimal = Decimal("1.5"),
        path: Path = Path("a/b"),
        data: bytes = b"ab",
        limit: float = float("inf"),
        when: dt.date = dt.date(2026, 1, 2),
        size: Size = Size.LARGE,
        sizes: frozenset[str] = frozenset({"c", "a", "b"}),
        basket: tool_types.Article = tool_types.Article(sku="x", price=Decimal(1), secret=5),  # noqa: B008
        nothing: int = None,  # type: ignore[assignment]  # noqa: RUF013
    ) -> None: ...

    defaults = {name: inner["default"] for name, inner in properties(function).items() if "default" in inner}
    assert {
        "amount": "1.5",
        "path": "a/b",
        "data": "YWI=",
        "when": "2026-01-02",
        "size": 2,
        "sizes": ["a", "b", "c"],
        "basket": {"sku": "x", "price": "1", "tags": [], "secret": 5},
        "nothing": None,
    } == defaults


def test_a_default_that_fails() -> None:
    """A default whose own class cannot be read is left out, as a sentinel is."""

    @dataclasses.dataclass
    class Lost:
        part: Missing  # type: ignore[name-defined]  # noqa: F821

    def function(first: Any = Lost(3), second: Any = object()) -> None: ...  # noqa: B008

    assert {"first": {}, "second": {}} == properties(function)


def test_docstrings_that_are_made_up() -> None:
    """dataclass writes a docstring where there is none, which says nothing; one that only begins so is kept."""

    @dataclasses.dataclass
    class Own:
        """Own(er) of it."""

    assert "description" not in schema_of(tool_types.Point)
    assert "Own(er) of it." == schema_of(Own)["description"]


@pytest.mark.parametrize(
    "hint", [complex, range, type[int], Callable[[int], str], dt.timezone, Literal[b"x"], list[complex], object()]
)
def test_no_schema(hint: Any) -> None:
    """What JSON cannot say is a ConfigError."""
    with pytest.raises(ConfigError):
        schema_of(hint)


def test_path_of_what_cannot_be_said() -> None:
    """The error has the path of the field within the parameter."""

    @dataclasses.dataclass
    class Inner:
        parts: list[complex]

    Inner.__annotations__["parts"] = list[complex]

    def function(outer: Any) -> None: ...

    function.__annotations__["outer"] = dict[str, Inner]
    with pytest.raises(ConfigError, match=r"outer\[\]\.parts\[\]' takes complex"):
        schema(function)


def test_a_schema_is_the_callers_own() -> None:
    """Changing a schema that was returned changes no other."""
    schema_of(tool_types.Point)["properties"].clear()
    assert {"x", "y"} == set(schema_of(tool_types.Point)["properties"])


def test_hints_are_found_one_by_one() -> None:
    """A name that exists for type checkers only spoils no other parameter; ToolContext is found even so."""
    source = "from __future__ import annotations\ndef function(context: ToolContext | None, city: str) -> Missing: ..."
    names: dict[str, Any] = {}
    exec(compile(source, "source", "exec", dont_inherit=True), names)
    signature = signature_of(names["function"])
    assert ["city"] == [parameter.name for parameter in signature.parameters]
    assert signature.context is not None
    assert "context" == signature.context.name
    assert ["city"] == parameters_schema(signature)["required"]


# Docstrings

GOOGLE = """Do it.

    Args:

        city (str, optional): Name
            of the city.
        *rest: Such as
            - one
            - two
        a, b: Both.
        a line without a colon
        `quoted`: In backticks.

    Note:
        Be careful.
    """
NUMPY = """Do it.

    Parameters
    ----------
    x, y : int
        Coordinates.
    *rest
        More.

    Other Parameters
    ----------------
    z : {'a', 'b'}, optional
        Rarely.
    """
REST = """Do :class:`it`.

    :func:`that` is used.

    :param str city: Name
        of the city.
    :type city: str
    :keyword days: How many.

    Trailing text.
    """


@pytest.mark.parametrize(
    ("docstring", "text", "entries"),
    [
        (
            GOOGLE,
            "Do it.",
            {
                "city": "Name of the city.",
                "rest": "Such as\n- one\n- two",
                "a": "Both.",
                "b": "Both.",
                "quoted": "In backticks.",
            },
        ),
        (NUMPY, "Do it.", {"x": "Coordinates.", "y": "Coordinates.", "rest": "More.", "z": "Rarely."}),
        (
            REST,
            "Do :class:`it`.\n\n:func:`that` is used.",
            {"city": "Name of the city.", "days": "How many."},
        ),
        ("Args:\n        city: Where.\n    ", "", {"city": "Where."}),
        ("Do it.\n\n    Args:\n    city: not a section", "Do it.\n\nArgs:\ncity: not a section", {}),
        ("Do it::\n\n        Args:\n            x: 1\n\n    Do.", "Do it::\n\n    Args:\n        x: 1\n\nDo.", {}),
        ("Do it.\r\n\r\n    Args:\r\n        city: Where.\r\n", "Do it.", {"city": "Where."}),
        ("", "", {}),
        (None, "", {}),
    ],
)
def test_docstrings(docstring: str | None, text: str, entries: dict[str, str]) -> None:
    """The text is what stands before the first section; only a header by itself begins one."""
    found = parse_docstring(docstring)
    assert (text, entries) == (found.text, found.entries)


def test_import_is_light() -> None:
    """`import streamkit` loads nothing of tools; a tool without docstring loads neither pydantic nor the parsers."""
    code = (
        "import sys, streamkit\n"
        "early = [name for name in sys.modules if name.startswith('streamkit.tools')]\n"
        "def function(x: int, y: list[str]): ...\n"
        "streamkit.Tool.of(function)\n"
        "late = [name for name in ('pydantic', 'jsonschema', 'docstring_parser', 'jiter') if name in sys.modules]\n"
        "print(early, late)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[] []" == found.stdout.strip()
