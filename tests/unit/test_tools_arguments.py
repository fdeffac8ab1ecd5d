"""Arguments that a model wrote: the shared cases, binding to a function, the error's text."""

from __future__ import annotations

import datetime as dt
import functools
import inspect
import json
import pickle
import sys
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from streamkit.errors import ConfigError
from streamkit.tools.arguments import Binder, Bound, InvalidArgumentsError, bind
from streamkit.tools.signature import signature_of

FOLDER = Path(__file__).parents[1] / "tool_cases"
sys.path.insert(0, str(FOLDER))  # the modules there import each other by name

import argument_functions  # noqa: E402
import tool_types  # noqa: E402

FUNCTIONS: dict[str, Callable[..., Any]] = argument_functions.FUNCTIONS
CASES = [json.loads(line) for line in (FOLDER / "arguments.jsonl").read_text("utf-8").splitlines()]
NAMES = {
    **vars(tool_types),
    "dt": dt,
    "uuid": uuid,
    "Decimal": Decimal,
    "Path": Path,
    "functools": functools,
}


def bound(function: Callable[..., Any], text: str) -> Bound:
    return bind(signature_of(function).parameters, text, name=function.__name__)


def refused(function: Callable[..., Any], text: str) -> InvalidArgumentsError:
    with pytest.raises(InvalidArgumentsError) as caught:
        bound(function, text)
    return caught.value


def with_types(value: Any) -> Any:
    """Return a value in which True is not 1, and 1 is not 1.0."""
    if isinstance(value, dict):
        return {key: with_types(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [with_types(item) for item in value]
    return type(value), value


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_case(case: dict[str, Any]) -> None:
    """Each shared case gives what it says: the arguments with their types, or the kind of error and its words."""
    function = FUNCTIONS[case["function"]]
    result, error = None, None
    try:
        result = bound(function, case["text"])
    except InvalidArgumentsError as caught:
        error = caught
    if ("error" if error else "call") != case["outcome"]:
        assert case.get("either"), str(error)
        return
    if error is not None:
        assert case["error"]["kind"] == error.kind
        assert [] == [word for word in case["error"]["says"] if word not in str(error)]
        return
    assert result is not None
    expected = eval(case["kwargs"], dict(NAMES))
    assert with_types(expected) == with_types(result.arguments)
    context = {"context": None} if case["function"] == "with_context" else {}
    assert FUNCTIONS[case["function"]](*result.args, **result.kwargs, **context).items() >= expected.items()


def test_all_problems_are_named() -> None:
    """One error has every problem: wrong values at each depth, what is missing, and what is not known."""
    error = refused(
        FUNCTIONS["ship"], '{"person": {"name": 5, "address": {"city": ["x"], "zip": 1}, "age": 3}, "x": null}'
    )
    assert [
        "person.name",
        "person.address.street",
        "person.address.city",
        "person.address.zip",
        "person.age",
        "x",
    ] == [problem.path for problem in error.problems]
    assert ["type", "missing", "type", "unexpected", "unexpected", "unexpected"] == [
        problem.kind for problem in error.problems
    ]


def test_text_for_the_model() -> None:
    """The text names the tool, the path, what was expected and what came, and the parameters where one is missing."""
    assert (
        "Invalid arguments for weather: `city` is required and missing; `days` must be an integer, got 2.5. "
        'Expected: city (string, required), days (integer, default 1), unit (one of "c", "f", default "c").'
    ) == str(refused(FUNCTIONS["weather"], '{"days": 2.5}'))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"city": ["x" * 1_000_000]}),
        json.dumps({"k" * 1_000_000: 1}),
        json.dumps({f"{'k' * 60}{number}": number for number in range(1000)}),
        json.dumps({"city": {"deep": [["y" * 500] * 500] * 10}}),
        "x" * 1_000_000,
        '{"city": "' + "é" * 1_000_000,
    ],
    ids=["value", "key", "keys", "object", "no-json", "cut"],
)
def test_error_text_is_bounded(text: str) -> None:
    """However long the arguments are, the text for the model stays short."""
    assert len(str(refused(FUNCTIONS["weather"], text))) < 3000


def test_one_wrong_value_is_shortened() -> None:
    """A long value is shown by its beginning."""
    message = str(refused(FUNCTIONS["add"], json.dumps({"a": "x" * 100_000, "b": 1})))
    assert "…" in message
    assert len(message) < 200


def test_error_can_be_pickled() -> None:
    """The error survives a pickle with its problems and its text."""
    error = refused(FUNCTIONS["weather"], "{}")
    copy = pickle.loads(pickle.dumps(error))
    assert (error.problems, error.kind, str(error)) == (copy.problems, copy.kind, str(copy))


def test_error_has_no_names_of_python() -> None:
    """No text names a class, a module or an address of documentation."""
    messages = [str(refused(FUNCTIONS["order"], text)) for text in ("{}", '{"order": 1}', '{"order": {"id": "x"}}')]
    messages.append(str(refused(FUNCTIONS["ship"], '{"person": {"address": 1}}')))
    for word in ("Order", "Person", "Address", "http", "pydantic", "msgspec", "Traceback", "dict", "str "):
        assert [] == [message for message in messages if word in message.replace("string", "")], word


def test_arguments_left_out_before_a_rest() -> None:
    """Defaults stand in by position where later arguments can only be given by position."""

    def function(first: str, second: int = 2, *rest: int, last: bool = False, **more: str) -> tuple[Any, ...]:
        return first, second, rest, last, more

    result = bound(function, '{"first": "a", "rest": [7, "8"], "last": true, "other": "x"}')
    assert ("a", 2, (7, 8), True, {"other": "x"}) == function(*result.args, **result.kwargs)
    assert {"first": "a", "rest": (7, 8), "last": True, "more": {"other": "x"}} == result.arguments
    result = bound(function, '{"first": "a"}')
    assert ((), {"first": "a"}) == (result.args, result.kwargs)


def test_positional_only_defaults() -> None:
    """A positional-only argument after one that was left out is given with the default of that one."""

    def function(a: int = 1, b: int = 2, /, c: int = 3) -> tuple[int, int, int]:
        return a, b, c

    for text, expected in (
        ("{}", (1, 2, 3)),
        ('{"b": 5}', (1, 5, 3)),
        ('{"c": 5}', (1, 2, 5)),
        ('{"a": 5}', (5, 2, 3)),
    ):
        result = bound(function, text)
        assert expected == function(*result.args, **result.kwargs)


def test_further_keys_are_converted_and_refused_by_their_type() -> None:
    """What ``**labels`` takes is converted, and each wrong one is named."""
    error = refused(FUNCTIONS["rest"], '{"first": "a", "x": 1, "y": "z", "rest": ["one", 2.5]}')
    assert ["rest[0]", "rest[1]", "x"] == [problem.path for problem in error.problems]


def test_null_means_the_default_only_where_null_is_no_value() -> None:
    """Null is not given where the type has no null and there is a default; else it is null."""

    def function(a: int = 1, b: int | None = 2, c: Any = 3, d: Literal["x"] = "x", e: str = None) -> None: ...  # noqa: RUF013

    assert {"b": None, "c": None, "e": None} == bound(
        function, '{"a": null, "b": null, "c": null, "d": null, "e": null}'
    ).arguments


def test_type_that_json_cannot_give() -> None:
    """A parameter whose type no JSON value can become is the program's mistake."""

    def function(z: complex) -> None: ...

    with pytest.raises(ConfigError, match="complex"):
        bound(function, "{}")


def test_unhashable_defaults_and_metadata() -> None:
    """Parameters that have no hash are bound like others, again and again."""
    pydantic = pytest.importorskip("pydantic")

    def function(a: Annotated[int, pydantic.Field(ge=1)], b: list[int] = [1], c: dict[str, int] = {}) -> None: ...  # noqa: B006

    function.__annotations__["a"] = Annotated[int, pydantic.Field(ge=1)]  # local names cannot be resolved
    parameters = signature_of(function).parameters
    for _ in range(2):
        assert {"a": 3} == bind(parameters, '{"a": "3"}').kwargs
        with pytest.raises(InvalidArgumentsError, match="at least 1"):
            bind(parameters, '{"a": 0}')


def test_parameters_in_a_list_are_read_anew() -> None:
    """A list of parameters may change between two calls."""
    parameters = list(signature_of(FUNCTIONS["add"]).parameters)
    assert {"a": 1, "b": 2} == bind(parameters, '{"a": 1, "b": 2}').kwargs
    del parameters[1]
    assert {"a": 1} == bind(parameters, '{"a": 1}').kwargs


def test_checks_of_the_users_are_told_and_chained() -> None:
    """What a class's own check says goes to the model; the exception stays with the error for the program."""

    class Positive(msgspec.Struct):
        number: int

        def __post_init__(self) -> None:
            if self.number < 0:
                raise ValueError("must not be negative")
            if self.number == 0:
                raise KeyError("internal detail")

    def function(value: Any) -> None: ...

    function.__annotations__["value"] = Positive
    error = refused(function, '{"value": {"number": -1}}')
    assert "`value` must not be negative" in str(error)
    assert isinstance(error.__cause__, ValueError)
    error = refused(function, '{"value": {"number": 0}}')
    assert "internal" not in str(error)
    assert "`value` is not valid" in str(error)


def outcome_of(binder: Binder, text: str) -> Bound | InvalidArgumentsError:
    """Return what comes of a text; anything but arguments and an error with problems fails the test."""
    try:
        return binder.bind(text)
    except InvalidArgumentsError as error:
        outcome = error
    assert outcome.problems
    assert str(outcome)
    return outcome


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["3", "true", "[1]", '{"x": 1}', "null", "2026-01-02", "red", "aGVsbG8="]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.just("x"), inner, max_size=4),
    max_leaves=12,
)
BINDERS = {name: Binder(signature_of(function).parameters, name) for name, function in FUNCTIONS.items()}
KEYS = sorted({field for binder in BINDERS.values() for field in binder._keys} | {"value", "point", "x"})


@hypothesis.given(name=st.sampled_from(sorted(BINDERS)), given=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4))
def test_any_object_is_bound_or_refused(name: str, given: dict[str, Any]) -> None:
    """Whatever object the model writes, it is bound, or refused with problems; no other exception comes out."""
    outcome = outcome_of(BINDERS[name], json.dumps(given))
    if isinstance(outcome, Bound):
        assert outcome.arguments.keys() <= {*given, "rest", "labels"}


@hypothesis.given(
    case=st.sampled_from(CASES),
    at=st.integers(0, 200),
    put=st.text(max_size=3) | st.sampled_from([*'{}[]",:\\\n\t\0`0e-.\ufeff', "\ud800", "\\u", "```", "null"]),
    cut=st.integers(0, 4),
)
def test_any_mutation_is_bound_or_refused(case: dict[str, Any], at: int, put: str, cut: int) -> None:
    """Whatever text the model writes, it is bound, or refused with problems; no other exception comes out."""
    text = case["text"][:2000]
    at %= len(text) + 1
    outcome_of(BINDERS[case["function"]], text[:at] + put + text[at + cut :])


WHOLE = [case for case in CASES if case["outcome"] == "call" and case["text"].strip() not in ("", "null")]


@pytest.mark.parametrize("case", WHOLE, ids=[case["id"] for case in WHOLE])
def test_no_prefix_is_closed(case: dict[str, Any]) -> None:
    """Cut anywhere, arguments are refused as JSON, unless nothing but white space or a fence's marks is lost."""
    text = case["text"].rstrip()
    binder = BINDERS[case["function"]]
    for end in range(1, len(text)):
        if text[:end].strip("\ufeff \n"):
            outcome = outcome_of(binder, text[:end])
            assert isinstance(outcome, InvalidArgumentsError), text[:end]
            assert "invalid_json" == outcome.kind, text[:end]


def test_deep_stack_is_an_error_of_the_arguments() -> None:
    """Where the caller's own stack leaves no room, the arguments are refused; no RecursionError comes out."""
    text = '{"payload": ' + "[" * 120 + "]" * 120 + "}"
    root = '{"root": ' + '{"value": 1, "children": [' * 60 + "]}" * 60 + "}"
    assert BINDERS["store"].bind(text).arguments
    assert BINDERS["tree"].bind(root).arguments

    def deeper(left: int) -> None:
        if left:
            deeper(left - 1)
            return
        for binder, each in ((BINDERS["store"], text), (BINDERS["tree"], root)):
            outcome = outcome_of(binder, each)
            assert isinstance(outcome, Bound) or "deep" in str(outcome)

    depth = len(inspect.stack())
    for room in range(60, 500, 40):
        deeper(sys.getrecursionlimit() - depth - room)
