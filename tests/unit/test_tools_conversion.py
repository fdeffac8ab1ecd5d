"""Decoded JSON -> types: every form of type, repairs that lose nothing, round trips."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import json
import subprocess
import sys
import uuid
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypeVar, Union

import annotated_types
import attrs
import hypothesis
import msgspec
import pydantic
import pytest
from hypothesis import strategies as st
from typing_extensions import NotRequired, Required, TypeAliasType, TypedDict

from streamkit.errors import ConfigError
from streamkit.tools.conversion import converted, read_value
from streamkit.tools.converting.making import made
from streamkit.tools.problems import InvalidValueError

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    ONE = 1
    TEXT = "text"


class Rights(enum.IntFlag):
    READ = 4
    WRITE = 2


class AnyCase(enum.Enum):
    YES = "yes"

    @classmethod
    def _missing_(cls, value: object) -> AnyCase | None:
        return cls.YES if str(value).lower() == "yes" else None


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


@dataclasses.dataclass
class Node:
    value: int
    children: list[Node] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Box(Generic[T]):
    content: T
    label: str = ""


@dataclasses.dataclass
class IntBox(Box[int]):
    extra: Decimal = Decimal(0)


@dataclasses.dataclass
class Doubled:
    n: int
    factor: dataclasses.InitVar[int] = 2
    result: int = dataclasses.field(default=0, init=False)

    def __post_init__(self, factor: int) -> None:
        self.result = self.n * factor


@attrs.frozen
class Article:
    sku: str = attrs.field(converter=str.upper)
    price: Decimal
    tags: tuple[str, ...] = ()
    _secret: int = attrs.field(default=3, validator=attrs.validators.ge(0))


class Struct(msgspec.Struct, rename="camel", tag="struct"):
    first_name: str
    born: dt.date | None = None


class Partial(msgspec.Struct):
    name: str | msgspec.UnsetType = msgspec.UNSET


class OtherStruct(msgspec.Struct, tag="other"):
    first_name: str


class Film(TypedDict):
    title: str
    year: NotRequired[int]


class Search(TypedDict, total=False):
    words: Required[list[str]]
    limit: int


class Place(NamedTuple):
    lat: float
    lon: float = 0.0


@dataclasses.dataclass
class Cat:
    kind: Literal["cat"]
    lives: int = 9
    friend: Cat | Dog | None = None


@dataclasses.dataclass
class Dog:
    kind: Literal["dog"]
    breed: str
    friend: Cat | Dog | None = None


class Order(pydantic.BaseModel):
    id: int = pydantic.Field(ge=1)
    items: list[str] = pydantic.Field(min_length=1)
    when: dt.date = dt.date(2026, 1, 1)
    above: Order | None = None


class Stock(pydantic.BaseModel):
    counts: dict[str, int] = {}
    orders: dict[str, Order] = {}


class StrictModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    count: int
    day: dt.date | None = None


@dataclasses.dataclass
class WithModel:
    order: Order
    count: int = 1


UserId = NewType("UserId", int)
Tree = TypeAliasType("Tree", "list[Tree] | int")
Deep = TypeAliasType("Deep", "dict[str, Deep] | int")
Json = Union[None, bool, int, float, str, "list[Any]", "dict[str, Any]"]

FITTING: list[tuple[Any, Any, Any]] = [
    (int, "3", 3),
    (int, 3.0, 3),
    (int, " -7 ", -7),
    (int, "1e2", 100),
    (int, 10**40, 10**40),
    (float, 1, 1.0),
    (float, "1.5", 1.5),
    (float, "2", 2.0),
    (bool, "true", True),
    (bool, "False", False),
    (bool, "TRUE", True),
    (str, "", ""),
    (str, "3", "3"),
    (type(None), None, None),
    (Any, {"a": "1"}, {"a": "1"}),
    (object, 1, 1),
    (Decimal, "12.50", Decimal("12.50")),
    (Decimal, 5, Decimal(5)),
    (Decimal, 0.1, Decimal("0.1")),
    (bytes, "aGVsbG8=", b"hello"),
    (bytes, "aGVs\nbG8", b"hello"),
    (bytes, "", b""),
    (bytearray, "YQ==", bytearray(b"a")),
    (dt.datetime, "2026-01-02T03:04:05Z", dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)),
    (dt.datetime, "2026-01-02 03:04", dt.datetime(2026, 1, 2, 3, 4)),
    (dt.date, "2026-01-02", dt.date(2026, 1, 2)),
    (dt.time, "03:04", dt.time(3, 4)),
    (dt.timedelta, "PT1H30M", dt.timedelta(minutes=90)),
    (dt.timedelta, 90, dt.timedelta(seconds=90)),
    (uuid.UUID, "12345678123456781234567812345678", uuid.UUID("12345678123456781234567812345678")),
    (Path, "/a b", Path("/a b")),
    (Colour, "red", Colour.RED),
    (Level, "2", Level.HIGH),
    (Level, 2.0, Level.HIGH),
    (Mixed, "1", Mixed.ONE),
    (Rights, 6, Rights.READ | Rights.WRITE),
    (AnyCase, "YES", AnyCase.YES),
    (Literal["a", 1, None, True], 1, 1),
    (Literal["a", 1, None, True], True, True),
    (Literal[1, 2], "2", 2),
    (Literal[Colour.RED], "red", Colour.RED),
    (list[int], "[1, 2]", [1, 2]),
    (list[int], ["1", 2.0], [1, 2]),
    (list, [1, "a"], [1, "a"]),
    (Sequence[int], [1], [1]),
    (set[int], [1, "1", 2], {1, 2}),
    (frozenset[str], ["a"], frozenset({"a"})),
    (collections.deque[int], [1], collections.deque([1])),
    (tuple[int, ...], ["1"], (1,)),
    (tuple[()], [], ()),
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple, [1], (1,)),
    (dict[str, int], '{"a": "1"}', {"a": 1}),
    (dict[int, float], {"1": 2, "-3": 0.5}, {1: 2.0, -3: 0.5}),
    (dict[Colour, int], {"red": 1}, {Colour.RED: 1}),
    (dict[dt.date, int], {"2026-01-02": 1}, {dt.date(2026, 1, 2): 1}),
    (dict[int | str, int], {"1": 1}, {"1": 1}),
    (dict, {"a": 1}, {"a": 1}),
    (collections.OrderedDict[str, int], {"a": 1}, collections.OrderedDict(a=1)),
    (collections.Counter[str], {"a": "2"}, collections.Counter(a=2)),
    (Point, {"x": "1", "y": None}, Point(1.0)),
    (Point, '{"x": 1}', Point(1.0)),
    (Node, {"value": 1, "children": [{"value": "2"}]}, Node(1, [Node(2)])),
    (Box[int], {"content": "1"}, Box(1)),
    (Box[Box[str]], {"content": {"content": "1"}}, Box(Box("1"))),
    (Box[list[T]], {"content": ["1"]}, Box(["1"])),
    (IntBox, {"content": "1", "extra": "2"}, IntBox(1, "", Decimal(2))),
    (Article, {"sku": "x", "price": "1", "secret": 4, "tags": ["a"]}, Article("X", Decimal(1), ("a",), 4)),
    (Struct, {"firstName": "a", "born": "2026-01-02"}, Struct("a", dt.date(2026, 1, 2))),
    (Struct, {"type": "struct", "firstName": "a"}, Struct("a")),
    (Struct | OtherStruct, {"type": "other", "first_name": "a"}, OtherStruct("a")),
    (Partial, {"name": None}, Partial()),
    (Film, {"title": "a", "year": "1999"}, {"title": "a", "year": 1999}),
    (Film, {"title": "a", "year": None}, {"title": "a"}),
    (Search, {"words": ["a"]}, {"words": ["a"]}),
    (Place, [1], Place(1.0)),
    (Place, {"lat": 1, "lon": "2"}, Place(1.0, 2.0)),
    (Place, "[1, 2]", Place(1.0, 2.0)),
    (UserId, "7", 7),
    (Tree, [1, ["2", []]], [1, [2, []]]),
    (Json, "[1]", "[1]"),
    (Json, [None, 1.5], [None, 1.5]),
    (int | None, None, None),
    (Point | None, {"x": 1}, Point(1.0)),
    (int | str, "5", "5"),
    (int | str, 5, 5),
    (int | float, 1.0, 1.0),
    (float | int, 1, 1),
    (float | int, "1", 1),
    (int | bool, "true", True),
    (bool | int, 1, 1),
    (bytes | str, "aGVsbG8=", "aGVsbG8="),
    (str | dt.date, "2026-01-02", "2026-01-02"),
    (dt.date | str, "2026-01-02", dt.date(2026, 1, 2)),
    (dt.date | str, "soon", "soon"),
    (Colour | str, "red", Colour.RED),
    (int | list[int], "[1]", [1]),
    (list[int] | dict[str, int], '{"a": 1}', {"a": 1}),
    (list[str] | list[int], [1], [1]),
    (list[int | str], ["1", 1], ["1", 1]),
    (Cat | Dog, {"kind": "dog", "breed": "pug"}, Dog("dog", "pug")),
    (Cat | Dog, {"kind": "cat", "lives": "7"}, Cat("cat", 7)),
    (Cat | Dog, {"kind": "cat", "friend": {"kind": "dog", "breed": "x"}}, Cat("cat", 9, Dog("dog", "x"))),
    (Annotated[int, "an id"], "1", 1),
    (Annotated[int | None, msgspec.Meta(ge=1)], None, None),
    (Annotated[float, msgspec.Meta(multiple_of=0.1)], 0.3, 0.3),
    (Annotated[list[int], annotated_types.Len(1, 3)], [1], [1]),
    (Order, {"id": "1", "items": '["a"]', "when": None}, Order(id=1, items=["a"])),
    (list[Order], [{"id": 1, "items": ["a"], "unknown": 1}], [Order(id=1, items=["a"])]),
    (StrictModel, {"count": 1, "day": "2026-01-02"}, StrictModel(count=1, day=dt.date(2026, 1, 2))),
    (
        Stock,
        {"counts": None, "orders": {"a": {"id": 1, "items": ["b"], "when": None}}},
        Stock(orders={"a": Order(id=1, items=["b"])}),
    ),
    (WithModel, {"order": {"id": 1, "items": ["a"]}, "count": "2"}, WithModel(Order(id=1, items=["a"]), 2)),
    (Annotated[int, pydantic.AfterValidator(lambda number: number + 1)], 3, 4),
]


def with_types(value: Any) -> Any:
    if isinstance(value, dict):
        return type(value), [(with_types(key), with_types(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple, collections.deque)):
        return type(value), [with_types(item) for item in value]
    return type(value), value


@pytest.mark.parametrize(("hint", "value", "expected"), FITTING)
def test_fits(hint: Any, value: Any, expected: Any) -> None:
    """The value becomes the type: as it is, or by a repair that loses nothing."""
    assert with_types(expected) == with_types(converted(value, hint))
    assert with_types(expected) == with_types(read_value(hint, json.dumps(value)))


# type, value, the problems: path, kind, and a part of the text
REFUSED: list[tuple[Any, Any, list[tuple[str, str, str]]]] = [
    (int, value, [("", "type", "an integer")])
    for value in (None, True, 2.5, "", "x", "2.5", "1 + 1", "007", "+1", "1_000", "٣", "null", [1], {})
] + [
    (float, True, [("", "type", "a number")]),
    (float, "nan", [("", "type", "a number")]),
    (float, "1e400", [("", "type", "a number")]),
    (float, 10**400, [("", "type", "a number")]),
    (bool, 2, [("", "type", "a boolean")]),
    (bool, "yes", [("", "type", "a boolean")]),
    (str, 5, [("", "type", "a string, got 5")]),
    (str, None, [("", "type", "a string, got null")]),
    (Decimal, "NaN", [("", "type", "decimal")]),
    (Decimal, "1e999999999", [("", "type", "decimal")]),
    (Decimal, True, [("", "type", "decimal")]),
    (bytes, "not base64!", [("", "type", "base64")]),
    (bytes, "aGVsbG9=", [("", "type", "base64")]),
    (bytes, "a", [("", "type", "base64")]),
    (dt.datetime, "2026-01-02", [("", "type", "date-time")]),
    (dt.datetime, 1767322800, [("", "type", "date-time")]),
    (dt.date, "31.01.2026", [("", "type", "date")]),
    (dt.date, "2026-02-30", [("", "type", "date")]),
    (dt.timedelta, "1:30", [("", "type", "duration")]),
    (dt.timedelta, 10**30, [("", "type", "duration")]),
    (uuid.UUID, "me", [("", "type", "uuid")]),
    (Path, 5, [("", "type", "path")]),
    (Colour, "RED", [("", "value", '"red", "blue"')]),
    (Colour, None, [("", "type", "red")]),
    (Mixed, True, [("", "value", "text")]),
    (Rights, True, [("", "value", "")]),
    (AnyCase, "no", [("", "value", "yes")]),
    (Literal[1], True, [("", "value", "must be 1, got true")]),
    (Literal["a", None], "null", [("", "value", '"a", null')]),
    (list[int], "1, 2", [("", "type", "an array")]),
    (list[int], "[1", [("", "type", "an array")]),
    (list[int], {"0": 1}, [("", "type", "an array")]),
    (list[int], [1, "x", None], [("[1]", "type", "integer"), ("[2]", "type", "integer")]),
    (list[str], "a", [("", "type", "an array")]),
    (set, [[1]], [("", "type", "without arrays")]),
    (tuple[int, str], [1], [("", "type", "2 items")]),
    (tuple[int, str], ["x", 1], [("[0]", "type", "integer"), ("[1]", "type", "string")]),
    (Place, [], [("", "type", "1 to 2 items")]),
    (Place, {"lat": "x", "z": 1}, [("lat", "type", "number"), ("z", "unexpected", "lat, lon")]),
    (dict[str, int], {"a": "x", "b c": None}, [("a", "type", "integer"), ('["b c"]', "type", "integer")]),
    (dict[int, int], {"one": 1}, [("one", "type", "key that must be an integer")]),
    (dict[int, int], {"1": 1, "1.0": 2}, [('["1.0"]', "value", "same key")]),
    (Point, {"y": "x", "z": 1}, [("x", "missing", "required"), ("y", "type", "number"), ("z", "unexpected", "x, y")]),
    (Point, "1,2", [("", "type", "object with x")]),
    (Node, {"value": 1, "children": [{"value": 2}, {}]}, [("children[1].value", "missing", "required")]),
    (Doubled, {"n": 1, "result": 3}, [("result", "unexpected", "n, factor")]),
    (Article, {"sku": "x", "price": 1, "_secret": 1}, [("_secret", "unexpected", "secret")]),
    (Article, {"sku": "x", "price": 1, "secret": -1}, [("", "value", "must be >= 0")]),
    (Struct, {"first_name": "a"}, [("firstName", "missing", ""), ("first_name", "unexpected", "firstName")]),
    (Struct, {"type": "x", "firstName": "a"}, [("type", "value", "struct")]),
    (Film, {"year": "x", "id": 1}, [("title", "missing", ""), ("year", "type", "integer"), ("id", "unexpected", "")]),
    (Search, {"limit": 1}, [("words", "missing", "")]),
    (int | str, None, [("", "type", "an integer or a string")]),
    (int | list[int], "x", [("", "type", "an integer or an array")]),
    (int | list[int], [1, "x"], [("[1]", "type", "integer")]),
    (Colour | Level, "x", [("", "value", "red")]),
    (Cat | Dog, {"kind": "fish"}, [("", "type", 'kind "cat"')]),
    (Cat | Dog, {"kind": "dog"}, [("breed", "missing", "")]),
    (Cat | Dog, {"kind": "cat", "lives": "x", "z": 1}, [("lives", "type", "integer"), ("z", "unexpected", "")]),
    (Point | None, 1, [("", "type", "object")]),
    (Annotated[int, annotated_types.Ge(1), annotated_types.Le(10)], 0, [("", "constraint", "at least 1, got 0")]),
    (Annotated[float, annotated_types.Interval(gt=0, lt=1)], 1, [("", "constraint", "less than 1")]),
    (
        Annotated[str, msgspec.Meta(min_length=2, pattern="^[a-z]+$")],
        "A",
        [("", "constraint", "length of at least 2"), ("", "constraint", "^[a-z]+$")],
    ),
    (
        Annotated[str, pydantic.Field(max_length=2, pattern="^a")],
        "bcd",
        [("", "constraint", "at most 2"), ("", "constraint", "^a")],
    ),
    (Annotated[int, annotated_types.MultipleOf(3)], 4, [("", "constraint", "multiple of 3")]),
    (Annotated[list[int], annotated_types.Len(1, 3)], [], [("", "constraint", "at least 1")]),
    (Annotated[dt.datetime, msgspec.Meta(tz=True)], "2026-01-02T03:04:05", [("", "constraint", "time zone")]),
    (Annotated[str, annotated_types.Predicate(str.islower)], "A", [("", "constraint", "islower")]),
    (list[Annotated[int, msgspec.Meta(ge=0)]], [1, -1], [("[1]", "constraint", "at least 0")]),
    (Order, {"id": 0, "items": []}, [("id", "constraint", "1"), ("items", "constraint", "1")]),
    (Order, {"id": None, "items": ["a"]}, [("id", "type", "integer")]),
    (Stock, {"counts": {"a": None}}, [("counts.a", "type", "integer")]),
    (Order, {"id": 1}, [("items", "missing", "")]),
    (Order, 5, [("", "type", "an object")]),
    (Order, {"id": 1, "items": ["a"], "above": {"id": 1}}, [("above.items", "missing", "")]),
    (StrictModel, {"count": "1", "x": 1}, [("count", "type", "integer"), ("x", "unexpected", "")]),
    (
        WithModel,
        {"order": {"id": 1}, "count": "x", "z": 1},
        [("order.items", "missing", ""), ("count", "type", ""), ("z", "unexpected", "")],
    ),
]


@pytest.mark.parametrize(("hint", "value", "expected"), REFUSED)
def test_is_refused(hint: Any, value: Any, expected: list[tuple[str, str, str]]) -> None:
    """What would lose something, or be a guess, is refused with every problem: path, kind, what was expected."""
    with pytest.raises(InvalidValueError) as caught:
        converted(value, hint)
    assert [(path, kind) for path, kind, _ in expected] == [(each.path, each.kind) for each in caught.value.problems]
    assert [] == [
        text for (_, _, text), each in zip(expected, caught.value.problems, strict=True) if text not in each.text
    ]


def test_digits_of_a_number_are_kept() -> None:
    """A Decimal has the digits that were written, an integer is not rounded, and 1e400 is refused."""
    assert "12345678901234567890.10" == str(read_value(Decimal, "12345678901234567890.10"))
    assert (Decimal("1.10"), 1.1) == read_value(tuple[Decimal, float], "[1.10, 1.10]")
    assert 9007199254740993 == read_value(int, "9007199254740993.0")
    for hint, text in ((int, "2.99999999999999999999"), (Decimal, "1e400"), (float, "1e400")):
        with pytest.raises(InvalidValueError):
            read_value(hint, text)
    assert [float, float] == [type(each) for each in read_value(tuple[Decimal, Any, float], "[1.5, 2.5, 3.5]")[1:]]


def test_classes_are_made_by_their_own_constructor() -> None:
    """Converters, InitVar and __post_init__ have their effect."""
    assert 6 == read_value(Doubled, '{"n": 2, "factor": 3}').result


def test_class_that_is_local_to_a_function() -> None:
    """A class of a function that names itself is a type like others."""

    @dataclasses.dataclass
    class Local:
        children: list[Local]

    assert Local([Local([])]) == read_value(Local, '{"children": [{"children": []}]}')


@pytest.mark.parametrize("hint", [complex, type, Any.__class__, "NotDefined", list[complex], json.JSONDecoder])
def test_type_that_json_cannot_give(hint: Any) -> None:
    """A type that no JSON value can become is the program's mistake, found before any value is looked at."""
    with pytest.raises(ConfigError):
        converted(1, hint)


def test_many_repairs_in_a_model() -> None:
    """As many repairs are made as are needed, in one pass."""
    orders = [{"id": number, "items": ["a"], "when": None} for number in range(1, 2000)]
    assert 1999 == len(converted(orders, Annotated[list[Order], pydantic.AfterValidator(lambda value: value)]))


def test_order_of_a_union_is_kept_apart() -> None:
    """Unions that are equal but for the order of their members are different types here."""
    assert dt.date(2026, 1, 2) == converted("2026-01-02", dt.date | str)
    assert "2026-01-02" == converted("2026-01-02", str | dt.date)


def test_unions_in_unions_take_linear_time() -> None:
    """A wrong value deep inside classes that may each be one of two is found without trying all combinations."""
    value: dict[str, Any] = {"kind": "cat", "lives": "many"}
    for _ in range(40):
        value = {"kind": "cat", "lives": "7", "friend": value}
    with pytest.raises(InvalidValueError, match="lives"):
        converted(value, Cat | Dog)


def test_path_is_bounded() -> None:
    """A path through a hundred levels of long keys is shortened in its middle."""
    value: Any = "x"
    for _ in range(100):
        value = {"k" * 40: value}
    with pytest.raises(InvalidValueError) as caught:
        converted(value, Deep)
    assert len(str(caught.value)) < 1000


def test_fence_around_a_reply() -> None:
    """A whole reply may stand in a Markdown fence; JSON in other text is not looked for."""
    assert [1] == read_value(list[int], "```json\n[1]\n```\n")
    for text in ("Here it is: [1]", "", "null", "[1"):
        with pytest.raises(InvalidValueError):
            read_value(list[int], text)


def test_json_schema_as_a_type() -> None:
    """A JSON schema is a type as well; the decoded JSON comes out."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    assert {"a": 3} == read_value(schema, '```\n{"a": "3"}\n```') == converted({"a": "3"}, schema)
    with pytest.raises(InvalidValueError, match="`a` is required"):
        read_value(schema, "{}")


def test_a_type_is_made_once() -> None:
    """The converter of a type is made once."""
    assert made(list[Point]) is made(list[Point])


TYPES: dict[Any, st.SearchStrategy[Any]] = {
    hint: st.from_type(hint)
    for hint in (
        str,
        int,
        bool,
        bytes,
        uuid.UUID,
        Colour,
        Level,
        Mixed,
        list[int],
        dict[str, bool],
        tuple[int, str],
        set[int],
        dict[int, str],
        Node,
        int | str,
        str | None,
        list[str | None],
        dict[Colour, list[bool]],
    )
}
TYPES[dt.datetime] = st.datetimes(
    timezones=st.sampled_from([None, dt.timezone.utc, dt.timezone(dt.timedelta(hours=5))])
)
TYPES[dt.date], TYPES[dt.time], TYPES[Decimal] = (
    st.dates(),
    st.times(),
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
)
TYPES[float] = st.floats(allow_nan=False, allow_infinity=False)
TYPES[Point] = st.builds(Point, TYPES[float], TYPES[float])
TYPES[Struct] = st.builds(Struct, st.text(), st.none() | st.dates())
TYPES[Place] = st.builds(Place, TYPES[float], TYPES[float])
TYPES[Cat | Dog] = st.recursive(
    st.builds(Cat, st.just("cat"), st.integers()),
    lambda inner: (
        st.builds(Cat, st.just("cat"), st.integers(), inner) | st.builds(Dog, st.just("dog"), st.text(), inner)
    ),
)
TYPES[dt.timedelta] = st.timedeltas(min_value=dt.timedelta(0), max_value=dt.timedelta(days=999))


@hypothesis.given(st.sampled_from(list(TYPES)).flatmap(lambda hint: st.tuples(st.just(hint), TYPES[hint])))
def test_round_trip(pair: tuple[Any, Any]) -> None:
    """What msgspec writes of a value is read as an equal value, in one type as in a list, and in JSON in a string."""
    hint, value = pair
    plain = msgspec.to_builtins(value, str_keys=True)
    hypothesis.assume(_has_whole_characters(plain))
    assert with_types(value) == with_types(read_value(hint, json.dumps(plain)))
    assert [value] == read_value(list[hint], json.dumps(json.dumps([plain])))


def _has_whole_characters(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@hypothesis.given(
    st.sampled_from([hint for hint, _, _ in FITTING]),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.sampled_from(["[1]", "{}", "1", "red", "cat"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["x", "kind", "id", "items", "content", "value", "1", "type"]) | st.text(),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    ),
)
def test_any_value_fits_or_is_refused(hint: Any, value: Any) -> None:
    """Whatever the value, it becomes the type, or is refused with problems; no other exception comes out."""
    try:
        converted(value, hint)
    except InvalidValueError as error:
        problems, text = error.problems, str(error)
        assert problems
        assert text


def test_pydantic_is_not_imported_for_types_of_others() -> None:
    """The conversion of other types imports neither pydantic nor jsonschema."""
    code = (
        "import sys\nimport streamkit.tools.arguments\nfrom streamkit.tools.conversion import converted\n"
        "assert converted(['1'], list[int]) == [1]\n"
        "assert not {'pydantic', 'jsonschema', 'annotated_types'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
