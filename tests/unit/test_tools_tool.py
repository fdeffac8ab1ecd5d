"""`Tool`: made of functions or by hand, called with what a model wrote, and refused where it cannot be."""

from __future__ import annotations

import functools
import gc
import inspect
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from streamkit import ConfigError, MisuseError, Tool, ToolCall, ToolContext, tool
from streamkit.tools import tool as tool_module
from streamkit.tools.arguments import InvalidArgumentsError
from streamkit.tools.tool import tools_of

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@attrs.frozen
class Arguments:
    """As the bound arguments have them."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = attrs.field(factory=dict)
    arguments: dict[str, Any] = attrs.field(factory=dict)


@pytest.fixture
def context() -> ToolContext:
    return ToolContext(ToolCall("1", "weather", {}, "{}"))


def weather(city: str, days: int = 1) -> str:
    """Tell the weather.

    Args:
        city: Where.
    """
    return f"{city} {days}"


class Shop:
    """A shop."""

    def stock(self, sku: str) -> str:
        """Look into the stock."""
        return f"{sku}: 3"

    @classmethod
    def towns(cls, prefix: str = "") -> str:
        """List the towns."""
        return cls.__name__ + prefix

    @staticmethod
    def round_up(price: float) -> int:
        """Round up."""
        return int(price) + 1

    def __call__(self, sku: str) -> str:
        """Sell."""
        return f"sold {sku}"

    async def later(self) -> None: ...


# Making


def test_of_a_function() -> None:
    """Name, description and schema are the function's; the declaration is in OpenAI's shape and made once."""
    made = Tool.of(weather)
    function = {"name": "weather", "description": "Tell the weather.", "parameters": made.schema}
    assert {"type": "function", "function": function} == made.declaration
    assert made.declaration is made.declaration
    assert (weather, False, False, None) == (made.function, made.needs_approval, made.idempotent, made.strict)
    assert "<Tool weather(city, days)>" == repr(made)


def test_decorator() -> None:
    """`@tool` with or without options; what comes of it is called and looked at like the function."""

    @tool
    def first(x: int) -> int:
        """Add one."""
        return x + 1

    @tool(name="renamed", description="Other.", needs_approval=True, idempotent=True)
    def second(x: int) -> int:
        """Add two."""
        return x + 2

    assert (2, 3) == (first(1), second(x=1))
    assert ("first", "Add one.") == (first.name, first.description)
    assert ("renamed", "Other.", True, True) == (
        second.name,
        second.description,
        second.needs_approval,
        second.idempotent,
    )
    assert ["x"] == list(inspect.signature(first).parameters)
    assert "Add one." == first.__doc__
    assert "other" == tool(weather, name="other").name


def test_strict() -> None:
    """With `strict=True` the declaration has the strict schema, and `schema` stays as it was."""
    strict, loose = Tool.of(weather, strict=True), Tool.of(weather, strict=False)
    assert strict.schema is loose.schema
    declared = strict.declaration["function"]
    assert declared["strict"] is True
    assert ["city", "days"] == declared["parameters"]["required"]
    assert ["city"] == strict.schema["required"]
    assert loose.declaration["function"]["strict"] is False
    assert "strict" not in Tool.of(weather).declaration["function"]


def test_strict_that_is_impossible() -> None:
    """The error has the tool's name and the path."""

    def save(table: dict[str, int]) -> None: ...

    with pytest.raises(ConfigError, match=r"save: .*table takes any keys"):
        Tool.of(save, strict=True)


@pytest.mark.parametrize(
    ("function", "name", "parameters"),
    [
        (Shop().stock, "stock", ["sku"]),
        (Shop.towns, "towns", ["prefix"]),
        (Shop.round_up, "round_up", ["price"]),
        (vars(Shop)["round_up"], "round_up", ["price"]),
        (Shop(), "Shop", ["sku"]),
        (functools.partial(weather, days=3), "weather", ["city"]),
        (functools.partial(functools.partial(weather, "Oslo")), "weather", ["days"]),
        (functools.lru_cache(weather), "weather", ["city", "days"]),
        (len, "len", ["obj"]),
    ],
)
def test_callables(function: Callable[..., Any], name: str, parameters: list[str]) -> None:
    """Methods, partials, objects and wrapped functions are tools with the parameters that are left to give."""
    made = Tool.of(function)
    assert (name, parameters) == (made.name, list(made.schema["properties"]))
    assert made.description


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: x, "lambda"),
        (Shop.stock, "bound method"),
        (vars(Shop)["towns"], "Class.towns"),
        (Shop().later, "async"),
        (functools.partial(Shop().later), "async"),
        (Shop, "class"),
        ("weather", "not of str"),
        (Tool.of(weather), "already"),
    ],
)
def test_refused(function: Any, says: str) -> None:
    """What cannot be a tool is a ConfigError that says why."""
    with pytest.raises(ConfigError, match=says):
        Tool.of(function)


def test_a_lambda_with_a_name() -> None:
    """A lambda is a tool once it has a name for the model."""
    assert 3 == Tool.of(lambda x: x, name="same").call(Arguments(kwargs={"x": 3}))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"needs_approval": "yes"}, "needs_approval"),
        ({"needs_approval": Shop().later}, "async"),
        ({"needs_approval": None}, "needs_approval"),
        ({"idempotent": 1}, "idempotent"),
        ({"strict": "true"}, "strict"),
        ({"description": 3}, "description"),
        ({"name": "2nd"}, "2nd"),
        ({"name": 3}, "name"),
    ],
)
def test_wrong_options(options: dict[str, Any], says: str) -> None:
    """An option of a wrong type is a ConfigError that names it."""
    with pytest.raises(ConfigError, match=says):
        Tool.of(weather, **options)


def test_a_schema_is_made_once_a_function() -> None:
    """Two tools of one function share its schema, and none keeps the function alive."""

    def function(x: int) -> int:
        return x

    method = Shop()
    assert Tool.of(function).schema is Tool.of(function).schema
    assert Tool.of(method.stock).schema is Tool.of(Shop().stock).schema
    gone = weakref.ref(function)
    del function
    gc.collect()
    assert gone() is None


def test_objects_that_cannot_be_remembered() -> None:
    """An object that cannot be hashed is a tool as any other."""

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, x: int) -> int:
            return x

    assert 1 == Tool.of(Unhashable())(1)


# By hand


def test_by_hand() -> None:
    """A schema is taken as it is, and copied; the tool needs no function."""
    own = {"type": "object", "properties": {"city": {"type": "string"}}}
    made = Tool("where", "Ask the browser.", own)
    own["properties"].clear()  # type: ignore[attr-defined]
    assert {"city": {"type": "string"}} == made.schema["properties"]
    assert made.function is None
    assert "<Tool where(city), without a function>" == repr(made)
    with pytest.raises(MisuseError, match="where has no function"):
        made()


def test_by_hand_without_a_schema() -> None:
    """Without a schema the parameters are the function's; without both there are none."""
    assert ["city", "days"] == list(Tool("other", function=weather).schema["properties"])
    assert {"type": "object", "properties": {}, "additionalProperties": False} == Tool("ping").schema
    assert {"type": "object", "properties": {}} == Tool("ping", parameters={}).schema


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"type": "string"}, "root"),
        ({"type": "object", "anyOf": [{}]}, "root"),
        ({"type": "object", "properties": {"x": {"type": "text"}}}, r"no JSON schema.*\$\.properties\.x\.type"),
        (Shop, "dict"),
        ([], "dict"),
    ],
)
def test_by_hand_with_a_wrong_schema(parameters: Any, says: str) -> None:
    """What is no schema of an object is refused when the tool is made."""
    with pytest.raises(ConfigError, match=says):
        Tool("by_hand", parameters=parameters)


def test_by_hand_with_a_wrong_function() -> None:
    """A function that cannot be a tool's is refused with a schema too; so is a function in the place of the name."""
    with pytest.raises(ConfigError, match="async"):
        Tool("later", parameters=SCHEMA, function=Shop().later)
    with pytest.raises(ConfigError, match=r"Tool\.of\(weather\)"):
        Tool(weather)  # type: ignore[arg-type]


# Calling


def keyword(city: str, *, ctx: ToolContext) -> Any:
    return city, ctx.call.id


def first(ctx: ToolContext, city: str, *rest: int) -> Any:
    return city, rest, ctx.call.id


def middle(city: str, ctx: ToolContext, *rest: int) -> Any:
    return city, rest, ctx.call.id


def by_position(city: str = "Oslo", ctx: ToolContext | None = None, days: int = 1, /) -> Any:
    assert ctx is not None
    return city, ctx.call.id, days


@pytest.mark.parametrize(
    ("function", "bound", "expected"),
    [
        (weather, Arguments((), {"city": "Oslo"}), "Oslo 1"),
        (keyword, Arguments((), {"city": "Oslo"}), ("Oslo", "1")),
        (first, Arguments((), {"city": "Oslo"}), ("Oslo", (), "1")),
        (first, Arguments(("Oslo", 1, 2)), ("Oslo", (1, 2), "1")),
        (middle, Arguments((), {"city": "Oslo"}), ("Oslo", (), "1")),
        (middle, Arguments(("Oslo",)), ("Oslo", (), "1")),
        (middle, Arguments(("Oslo", 1, 2)), ("Oslo", (1, 2), "1")),
        (by_position, Arguments(()), ("Oslo", "1", 1)),
        (by_position, Arguments(("Bergen",)), ("Bergen", "1", 1)),
        (by_position, Arguments(("Bergen", 2)), ("Bergen", "1", 2)),
        (functools.partial(middle, "Oslo"), Arguments((1,)), ("Oslo", (1,), "1")),
    ],
)
def test_call(function: Callable[..., Any], bound: Any, expected: Any, context: ToolContext) -> None:
    """The context is passed in its place, by name or by position, whatever the other arguments are."""
    assert expected == Tool.of(function).call(bound, context)


def test_call_by_hand(context: ToolContext) -> None:
    """A function with a schema by hand gets its context too, also where other types cannot be read."""

    def function(city: Missing, *, ctx: ToolContext) -> Any:  # type: ignore[name-defined]  # noqa: F821
        return city, ctx.call.id

    made = Tool("by_hand", parameters=SCHEMA, function=function)
    assert ("Oslo", "1") == made.call(Arguments(kwargs={"city": "Oslo"}), context)  # type: ignore[arg-type]


def test_bind() -> None:
    """A tool of a function is bound by its parameters, one by hand by its schema; an error names the tool."""
    by_hand = Tool("by_hand", parameters=SCHEMA)
    assert {"city": "Oslo"} == Tool.of(weather).bind('{"city": "Oslo"}').arguments
    assert {"city": "Oslo"} == by_hand.bind('{"city": "Oslo"}').arguments
    for made in (Tool.of(weather, name="forecast"), by_hand):
        with pytest.raises(InvalidArgumentsError, match=made.name):
            made.bind('{"city": [1]}')


# tools=


def test_tools_of() -> None:
    """Functions become tools, dicts of OpenAI's shape tools without a function, a provider's own tools stay."""
    ready = Tool("ready")
    search = {"type": "web_search", "max_uses": 3}
    chat = {"type": "function", "function": {"name": "chat", "description": "Chat.", "parameters": SCHEMA}}
    responses = {"type": "function", "name": "responses", "parameters": SCHEMA, "strict": True}
    found = tools_of([weather, ready, chat, search])
    assert [weather, ready, search] == [found[0].function, found[1], found[3]]  # type: ignore[union-attr]
    assert isinstance(found[2], Tool)
    assert ("chat", "Chat.", None) == (found[2].name, found[2].description, found[2].function)
    assert found[3] is search
    (flat,) = tools_of([{**responses, "strict": False}])
    assert isinstance(flat, Tool)
    assert ("responses", False) == (flat.name, flat.strict)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([weather, Tool("weather")], "two tools have the name 'weather'"),
        ([SimpleNamespace(name="x", args_schema=None)], "another library's tool"),
        ([SimpleNamespace(name="x", params_json_schema={})], "another library's tool"),
        ([{"type": "function"}], "name"),
        ([3], "function"),
        (["weather"], "function"),
        ("weather", "list"),
        (weather, "list"),
        ({"type": "web_search"}, "list"),
    ],
)
def test_wrong_tools(values: Any, says: str) -> None:
    """What cannot be a tool is a ConfigError that says what to pass."""
    with pytest.raises(ConfigError, match=says):
        tools_of(values)


def test_public() -> None:
    """The package hands on the same objects."""
    assert tool_module.Tool is Tool
    assert tool_module.tool is tool
