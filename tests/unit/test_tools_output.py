"""Output with a type: what is asked for, what grows, and what the reply becomes."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, NamedTuple, NewType, TypedDict

import attrs
import pydantic
import pytest

from streamkit import Client, Completion, ConfigError, InvalidOutputError, TruncatedStreamError, providers
from streamkit.testing import DONE, Reply, Send, Server, WaitFor, chunk_event, text_reply, tool_call_reply
from streamkit.tools.output import Output, output_of
from tests.unit.support import run_program


@attrs.frozen
class Line:
    name: str
    price: float = 0.0


@dataclasses.dataclass
class Invoice:
    number: int
    lines: list[Line]
    note: str | None = None


class Place(TypedDict):
    city: str


class Point(NamedTuple):
    x: int
    y: int


class Model(pydantic.BaseModel):
    name: str
    tags: list[str] = []


LINE_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "price": {"type": "number"}},
    "required": ["name"],
}
LINES_SCHEMA = {"type": "array", "items": {"$ref": "#/$defs/Line"}, "$defs": {"Line": LINE_SCHEMA}}
SHAPE = {"type": "json_schema", "json_schema": {"name": "line", "schema": LINE_SCHEMA, "strict": False}}

LINES = [Line("Rope", 2.5), Line("Sail")]
LINES_TEXT = '{"items": [{"name": "Rope", "price": 2.5}, {"name": "Sail", "price": null}]}'


def output(wanted: Any) -> Output:
    found = output_of(wanted)
    assert found is not None
    return found


def schema(wanted: Any) -> dict[str, Any]:
    whole: dict[str, Any] = output(wanted).response_format["json_schema"]["schema"]
    return whole


Serve = Callable[..., tuple[Client, Server]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that gives these replies, and a client of it."""
    made: list[Client | Server] = []

    def start(*replies: Reply) -> tuple[Client, Server]:
        server = Server(*replies)
        client = Client([providers.OpenAI("key", server.url, name="openai")], retry=1)
        made.extend([client, server])
        return client, server

    yield start
    for each in made:
        each.close()


# -- what is asked for -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "name", "wrapped"),
    [
        (Invoice, "Invoice", None),
        (Line, "Line", None),
        (Place, "Place", None),
        (Model, "Model", None),
        (dict[str, int], "dict", None),
        (NewType("Lines", list[Line]), "list_of_Line", "items"),
        (list[Line], "list_of_Line", "items"),
        (tuple[Line, ...], "list_of_Line", "items"),
        (Sequence[Model], "list_of_Model", "items"),
        (Annotated[list[Place], "Where"], "list_of_Place", "items"),
        (list, "list_of_Any", "items"),
        (Point, "Point", "value"),
        (Line | Place, "output", "value"),
        (Line | None, "output", "value"),
        (int, "int", "value"),
        (LINE_SCHEMA, "output", None),
        ({**LINE_SCHEMA, "title": "A line!"}, "A_line", None),
        (LINES_SCHEMA, "output", "items"),
        ({"anyOf": [LINE_SCHEMA, {"type": "null"}]}, "output", "value"),
    ],
)
def test_providers_are_asked_for_an_object(wanted: Any, name: str, wrapped: str | None) -> None:
    """Whatever the type is, the schema that is sent has an object at its root, and the references in it resolve."""
    asked = output(wanted).response_format
    form = asked["json_schema"]
    assert ("json_schema", name) == (asked["type"], form["name"])
    assert "object" == form["schema"]["type"]
    assert wrapped == output(wanted).wrapped
    if wrapped is not None:
        assert [wrapped] == list(form["schema"]["properties"]) == form["schema"]["required"]
    references = {part.split('"')[0] for part in json.dumps(form["schema"]).split('"$ref": "#/$defs/')[1:]}
    assert references <= set(form["schema"].get("$defs", {}))


def test_it_is_strict_where_the_schema_allows_it() -> None:
    """Strict mode is asked for if it can say the type, each field required; otherwise the schema is sent as it is."""
    strict = output(Invoice).response_format["json_schema"]
    assert strict["strict"] is True
    assert ["number", "lines", "note"] == strict["schema"]["required"]
    loose = output(dict[str, int]).response_format["json_schema"]
    assert loose["strict"] is False
    assert {"type": "integer"} == loose["schema"]["additionalProperties"]


def test_shapes_of_openai_stay_as_they_are() -> None:
    """A shape that the caller wrote is sent unchanged; one with a schema is held to it."""
    assert output(SHAPE).response_format == SHAPE
    assert output(SHAPE).parse('{"name": "Rope"}') == {"name": "Rope"}
    for shape in ({"type": "json_object"}, {"type": "text"}, {"type": "grammar"}, {"type": "json_schema"}):
        assert output_of(shape) is None


def test_a_list_in_a_shape_of_openai_is_not_wrapped() -> None:
    """A shape is the caller's: a list at its root is read as one."""
    shape = {"type": "json_schema", "json_schema": {"name": "lines", "schema": LINES_SCHEMA}}
    assert output(shape).parse('[{"name": "Rope"}]') == [{"name": "Rope"}]
    assert output(shape).is_list


@pytest.mark.parametrize("wanted", ["json", 3, Invoice(1, []), len, Any, object, type(None), lambda: 1, [Line]])
def test_what_is_no_type_is_refused(wanted: Any, serve: Serve) -> None:
    """A value that is no type for output is a `ConfigError` before anything is sent."""
    client, server = serve(text_reply("{}"))
    with pytest.raises(ConfigError, match="response_format is a class"):
        client.stream("openai/m", "Hi", response_format=wanted)
    assert [] == list(server.requests)


def test_a_type_that_json_cannot_say_is_refused() -> None:
    """A field without a JSON form is named."""

    @dataclasses.dataclass
    class Odd:
        lock: threading.Event

    with pytest.raises(ConfigError, match="lock"):
        output_of(Odd)


def test_a_schema_that_refers_to_its_root_is_not_wrapped() -> None:
    """A list of itself cannot be put into an object without changing its meaning."""
    with pytest.raises(ConfigError, match="its root"):
        output_of({"type": "array", "items": {"$ref": "#"}})


# -- parsed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "text", "expected"),
    [
        (Invoice, '{"number": 3, "lines": [{"name": "Rope"}], "note": null}', Invoice(3, [Line("Rope")])),
        (Line, '```json\n{"name": "Rope", "price": null}\n```', Line("Rope")),
        (Place, '{"city": "Oslo"}', {"city": "Oslo"}),
        (Model, '{"name": "a", "tags": ["b"]}', Model(name="a", tags=["b"])),
        (list[Line], LINES_TEXT, LINES),
        (list[Line], '[{"name": "Rope", "price": 2.5}, {"name": "Sail"}]', LINES),
        (tuple[Line, ...], LINES_TEXT, tuple(LINES)),
        (list[Point], '{"items": [[1, 2]]}', [Point(1, 2)]),
        (Line | Place, '{"value": {"city": "Oslo"}}', {"city": "Oslo"}),
        (Line | None, '{"value": null}', None),
        (int, '{"value": 3}', 3),
        (LINE_SCHEMA, '{"name": "Rope", "price": null}', {"name": "Rope"}),
        (LINES_SCHEMA, '{"items": [{"name": "Rope"}]}', [{"name": "Rope"}]),
    ],
)
def test_a_reply_becomes_an_instance(wanted: Any, text: str, expected: Any, serve: Serve) -> None:
    """`completion.parsed` is what the type says, without the object that was put around it, and made once."""
    client, server = serve(text_reply(text))
    completion = client.complete("openai/m", "Hi", response_format=wanted)
    assert expected == completion.parsed
    assert type(expected) is type(completion.parsed)
    assert completion.parsed is completion.parsed
    assert server.requests[0].json()["response_format"] == output(wanted).response_format


def test_without_a_type_there_is_nothing_parsed(serve: Serve) -> None:
    """`parsed` is None where no type was asked for, also in a completion that was made by hand."""
    client, _ = serve(text_reply("{}"))
    assert client.complete("openai/m", "Hi").parsed is None
    assert client.complete("openai/m", "Hi", response_format={"type": "json_object"}).parsed is None
    assert Completion("{}").parsed is None


def test_a_stream_parses_once(serve: Serve) -> None:
    """Each look at the completion of an ended stream gives the same instance."""
    client, _ = serve(text_reply(LINES_TEXT))
    stream = client.stream("openai/m", "Hi", response_format=list[Line])
    stream.collect()
    assert stream.completion.parsed is stream.completion.parsed
    assert LINES == stream.completion.parsed


def test_every_problem_is_named(serve: Serve) -> None:
    """A reply that does not fit says where, has the text and the reply, and is not retried by itself."""
    text = '{"number": "x", "lines": [{"price": 1}], "extra": 0}'
    client, server = serve(text_reply(text))
    completion = client.complete("openai/m", "Hi", response_format=Invoice)
    with pytest.raises(InvalidOutputError, match="Invoice") as caught:
        _ = completion.parsed
    assert {"number", "lines[0].name", "extra"} == {problem.path for problem in caught.value.problems}
    assert (text, completion, False) == (caught.value.text, caught.value.partial, caught.value.retryable)
    assert 1 == len(server.requests)
    twin = pickle.loads(pickle.dumps(caught.value))
    assert (twin.problems, twin.text, twin.partial) == (caught.value.problems, text, completion)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (text_reply('{"name": "Ro', finish_reason="length"), "limit of tokens"),
        (text_reply('{"name": "Rope"}', finish_reason="length"), "limit of tokens"),
        (text_reply('{"name": "Ro', finish_reason="content_filter"), "filter"),
        (tool_call_reply("weather", {}), "tools"),
        (
            Reply([Send(chunk_event(refusal="I will not")), Send(chunk_event(finish_reason="stop")), Send(DONE)]),
            "refused: I will not",
        ),
        (text_reply(""), "no text"),
        (text_reply('{"name": "Ro'), "incomplete"),
    ],
    ids=["cut", "cut at its end", "filtered", "tools", "refusal", "empty", "open"],
)
def test_what_is_no_whole_answer_says_why(reply: Reply, says: str, serve: Serve) -> None:
    """A refusal, a cut and a call of tools are told as such, not as faulty JSON."""
    client, _ = serve(reply)
    completion = client.complete("openai/m", "Hi", response_format=Line)
    with pytest.raises(InvalidOutputError, match=says):
        _ = completion.parsed


def test_a_reply_that_is_under_way_is_not_parsed(serve: Serve) -> None:
    """Before the end, and after a cancel, `parsed` says that the reply is not whole."""
    client, _ = serve(text_reply('{"name": "Rope"}'))
    stream = client.stream("openai/m", "Hi", response_format=Line)
    with pytest.raises(InvalidOutputError, match="not whole yet"):
        _ = stream.completion.parsed
    stream.cancel()
    with pytest.raises(InvalidOutputError, match="stopped"):
        _ = stream.completion.parsed


def test_a_completion_keeps_its_type_when_it_is_pickled(serve: Serve) -> None:
    """A copy from another process parses too, if its type can be imported there; the type is no part of the value."""
    client, _ = serve(text_reply(LINES_TEXT))
    completion = client.complete("openai/m", "Hi", response_format=list[Line])
    for twin in (pickle.loads(pickle.dumps(completion)), copy.copy(completion), copy.deepcopy(completion)):
        assert twin == completion
        assert twin.parsed == LINES
    bare = Completion.from_dict(completion.to_dict())
    assert bare.to_dict() == completion.to_dict()
    assert (bare.text, bare.parsed) == (completion.text, None)
    assert "Output" not in repr(completion)


def test_a_type_that_cannot_be_pickled_is_said_to_be_gone(serve: Serve) -> None:
    """A reply pickles whatever its type is; the copy of one whose type does not says so when it is asked."""

    @attrs.frozen
    class Local:
        name: str

    client, _ = serve(text_reply('{"name": "Rope"}'))
    completion = client.complete("openai/m", "Hi", response_format=Local)
    twin = pickle.loads(pickle.dumps(completion))
    assert twin == completion
    with pytest.raises(ConfigError, match="cannot be pickled"):
        _ = twin.parsed
    assert completion.parsed == Local("Rope")
    assert completion.model == twin.model


# -- as it grows -------------------------------------------------------------------------------------------


def pieces(text: str, size: int = 3) -> Reply:
    return text_reply(text, pieces=[text[start : start + size] for start in range(0, len(text), size)])


def test_the_value_grows(serve: Serve) -> None:
    """`iter_partial` yields snapshots, each different from the one before, that end with the whole value."""
    text = '{"number": 12, "lines": [{"name": "Rope"}], "note": "Paid"}'
    client, _ = serve(pieces(text, 1))
    shown = list(client.stream("openai/m", "Hi", response_format=Invoice).iter_partial())
    assert {} == shown[0]
    assert {"number": 12, "lines": [{"name": "Ro"}]} in shown
    assert json.loads(text) == shown[-1]
    assert all(before != after for before, after in pairwise(shown))


def test_a_list_grows_as_a_list(serve: Serve) -> None:
    """For a list type the list itself grows, whether or not the model kept to the object around it."""
    for text in (LINES_TEXT, LINES_TEXT[len('{"items": ') : -1], f"```json\n{LINES_TEXT}\n```"):
        client, _ = serve(pieces(text, 1))
        stream = client.stream("openai/m", "Hi", response_format=list[Line])
        shown = list(stream.iter_partial())
        assert [] == shown[0]
        assert [{"name": "Rope", "price": 2.5}, {"name": "Sail", "price": None}] == shown[-1]
        assert stream.completion.parsed == LINES


def test_any_json_grows(serve: Serve) -> None:
    """Without a type `iter_partial` shows whatever JSON comes, and nothing of a text that is none."""
    client, _ = serve(pieces('{"a": [1, 2]}'), text_reply("Once upon a time"))
    stream = client.stream("openai/m", "Hi", response_format={"type": "json_object"})
    assert {"a": [1, 2]} == list(stream.iter_partial())[-1]
    assert [] == list(client.stream("openai/m", "Hi").iter_partial())


def test_text_that_needs_a_repair_shows_whole_at_the_end(serve: Serve) -> None:
    """A raw line break in a string stops the growth; the repaired value comes with the end."""
    client, _ = serve(pieces('{"name": "Ro\npe", "price": 1}', 1))
    shown = list(client.stream("openai/m", "Hi", response_format=Line).iter_partial())
    assert [{}, {"name": ""}, {"name": "R"}, {"name": "Ro"}, {"name": "Ro\npe", "price": 1}] == shown


def test_a_failure_is_raised_after_what_came(serve: Serve) -> None:
    """The iterators end as `iter_text` does: what came is yielded first."""
    reply = Reply([Send(chunk_event('{"items": [{"name": "Rope", "price": 2.5}, {"na'))])
    client, _ = serve(reply)
    for method, first in (("iter_partial", [{"name": "Rope", "price": 2.5}, {}]), ("iter_items", LINES[0])):
        iterator = getattr(client.stream("openai/m", "Hi", response_format=list[Line]), method)()
        assert first == next(iterator)
        with pytest.raises(TruncatedStreamError):
            next(iterator)


# -- item by item ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("wanted", [list[Line], tuple[Line, ...], Sequence[Line]])
def test_elements_come_one_by_one(size: int, wanted: Any, serve: Serve) -> None:
    """`iter_items` yields each element as an instance, once."""
    client, _ = serve(pieces(LINES_TEXT, size))
    assert LINES == list(client.stream("openai/m", "Hi", response_format=wanted).iter_items())


def test_an_element_comes_as_soon_as_it_is_whole(serve: Serve) -> None:
    """The server sends the second element only after the first was yielded."""
    go_on = threading.Event()
    steps = [
        Send(chunk_event('{"items": [{"name": "Rope", "price": 2.5}')),
        WaitFor(go_on),
        Send(chunk_event(', {"name": "Sail"}]}')),
        Send(chunk_event(finish_reason="stop")),
        Send(DONE),
    ]
    client, _ = serve(Reply(steps))
    items = client.stream("openai/m", "Hi", response_format=list[Line]).iter_items()
    assert LINES[0] == next(items)
    go_on.set()
    assert LINES[1:] == list(items)


def test_a_number_is_whole_once_something_follows(serve: Serve) -> None:
    """1 may become 12."""
    client, _ = serve(pieces('{"items": [1, 12, 3]}', 1))
    assert [1, 12, 3] == list(client.stream("openai/m", "Hi", response_format=list[int]).iter_items())


def test_elements_by_a_schema(serve: Serve) -> None:
    """The elements of a JSON schema's list are held to its items, also through references."""
    client, _ = serve(pieces('{"items": [{"name": "Rope"}, {"name": 3}]}'))
    items = client.stream("openai/m", "Hi", response_format=LINES_SCHEMA).iter_items()
    assert {"name": "Rope"} == next(items)
    with pytest.raises(InvalidOutputError) as caught:
        next(items)
    assert ["items[1].name"] == [problem.path for problem in caught.value.problems]


def test_an_invalid_element_ends_the_stream(serve: Serve) -> None:
    """The elements before it come first, the error names its path, and the request is cancelled at once."""
    go_on = threading.Event()
    steps = [Send(chunk_event('{"items": [{"name": "Rope", "price": 2.5}, {"price": 1}')), WaitFor(go_on)]
    client, _ = serve(Reply(steps))
    stream = client.stream("openai/m", "Hi", response_format=list[Line])
    items = stream.iter_items()
    assert LINES[0] == next(items)
    with pytest.raises(InvalidOutputError, match=r"items\[1\]\.name") as caught:
        next(items)
    assert "cancelled" == stream.status
    assert stream.text == caught.value.text == caught.value.partial.text
    go_on.set()


@pytest.mark.parametrize(
    ("text", "finish", "says"),
    [
        ('{"items": [{"name": "Rope", "price": 2.5}, {"na', "length", "limit of tokens"),
        (LINES_TEXT[:-1], "stop", "incomplete"),
    ],
)
def test_a_reply_that_is_not_whole_fails_at_its_end(text: str, finish: str, says: str, serve: Serve) -> None:
    """Whole elements come, then the error that `parsed` raises."""
    client, _ = serve(text_reply(text, finish_reason=finish))
    items = client.stream("openai/m", "Hi", response_format=list[Line]).iter_items()
    assert LINES[0] == next(items)
    with pytest.raises(InvalidOutputError, match=says):
        list(items)


def test_elements_after_a_repair_come_at_the_end(serve: Serve) -> None:
    """None is lost, and none comes twice, where the text is JSON only after a repair."""
    client, _ = serve(pieces('{"items": [{"name": "Rope"}, {"name": "Ma\nst"}, {"name": "Sail"},]}'))
    items = list(client.stream("openai/m", "Hi", response_format=list[Line]).iter_items())
    assert ["Rope", "Ma\nst", "Sail"] == [line.name for line in items]


def test_a_cancel_ends_the_elements(serve: Serve) -> None:
    """After a cancel the iterator ends, as a loop over the stream does; leaving it early cancels."""
    client, _ = serve(pieces(LINES_TEXT), pieces(LINES_TEXT))
    stream = client.stream("openai/m", "Hi", response_format=list[Line])
    items = stream.iter_items()
    next(items)
    stream.cancel()
    assert [] == list(items)
    assert stream.status in ("cancelled", "complete")


@pytest.mark.parametrize("wanted", [None, Line, {"type": "json_object"}, set[int], list[int] | None])
def test_only_lists_have_elements(wanted: Any, serve: Serve) -> None:
    """`iter_items` without a list type is refused at once, and the stream goes on."""
    client, _ = serve(text_reply("{}"))
    stream = client.stream("openai/m", "Hi", response_format=wanted)
    with pytest.raises(ConfigError, match="list type"):
        stream.iter_items()
    assert "{}" == stream.collect().text


# -- in a run with tools -----------------------------------------------------------------------------------


def stock(kind: str) -> str:
    """Look up what there is."""
    return f"two of {kind}"


def asks_then(text: str) -> tuple[Reply, Reply]:
    return tool_call_reply("stock", {"kind": "rope"}, text='I look it up: ["'), pieces(text)


def test_a_run_ends_with_an_instance(serve: Serve) -> None:
    """The type is that of the last reply; each request asks for it, and text beside calls is not taken for it."""
    client, server = serve(*asks_then(LINES_TEXT))
    run = client.run("openai/m", "Hi", tools=[stock], response_format=list[Line])
    run.collect()
    assert LINES == run.completion.parsed
    assert run.completion.parsed is run.completion.parsed
    assert LINES == run.rounds[-1].parsed
    formats = [request.json()["response_format"] for request in server.requests]
    assert [output(list[Line]).response_format] * 2 == formats


def test_the_last_reply_of_a_run_grows(serve: Serve) -> None:
    """The iterators of a run begin anew with each round."""
    for method, expected in (
        ("iter_items", LINES[1]),
        ("iter_partial", [attrs.asdict(LINES[0]), {"name": "Sail", "price": None}]),
    ):
        client, _ = serve(*asks_then(LINES_TEXT))
        run = client.run("openai/m", "Hi", tools=[stock], response_format=list[Line])
        assert expected == list(getattr(run, method)())[-1]


def test_nothing_is_imported_without_a_type() -> None:
    """A stream without a type loads none of the libraries for tools."""
    code = """
import sys, streamkit
streamkit.complete("demo/storyteller", "Hi", max_tokens=3, response_format={"type": "text"})
print([name for name in sys.modules if name.split(".")[0] in ("jiter", "jsonschema", "pydantic", "docstring_parser")
       or name.startswith("streamkit.tools")])
"""
    assert "[]\n" == run_program(code)
