"""The assistant calls the tools that fit, answers from their results, and fills schemas, over the real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from streamkit import Client
from streamkit.errors import StreamError

TEXT = {"type": "string"}
NUMBER = {"type": "number"}
INTEGER = {"type": "integer"}
UNIT = {"type": "string", "enum": ["C", "F"], "default": "C"}

Message = dict[str, Any]


def tool(name: str, description: str = "", *, required: Sequence[str] | None = None, **properties: Any) -> Message:
    schema = {"type": "object", "properties": properties, "required": list(required or properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


WEATHER = tool("get_weather", "Current weather at a place.", required=["city"], city=TEXT, unit=UNIT)
CONVERT = tool("convertCurrency", "Convert money.", amount=NUMBER, from_currency=TEXT, to_currency=TEXT)
LOOK_UP = tool("look_up_order", "Look up an order.", order=TEXT)
REFUND = tool("refund", "Refund an order.", required=["order"], order=TEXT, amount=NUMBER)
EMAIL = tool("send_email", "Send an email.", to=TEXT, subject=TEXT, body=TEXT)
CALCULATE = tool("calculate", "Evaluate an expression.", expression=TEXT)
READ = tool("read_file", "Read a file.", path=TEXT)
DELETE = tool("delete_file", "Delete a file.", path=TEXT)
TOOLS = [WEATHER, CONVERT, LOOK_UP, REFUND, EMAIL, CALCULATE, DELETE, READ]
RESULTS = {
    "get_weather": {"temperature": 12, "unit": "C", "sky": "rain"},
    "look_up_order": {"id": 5, "customer": "Ada Berg", "total": 49.5, "currency": "EUR"},
}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def ask(client: Client, messages: Any, **parameters: Any) -> Any:
    pace = {"tokens_per_second": 0, **parameters.pop("extra_body", {})}
    return client.complete("demo/assistant", messages, extra_body=pace, **parameters)


def calls_of(completion: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, call.arguments) for call in completion.message.tool_calls]


def converse(
    client: Client,
    prompt: str,
    answer: Callable[[str], str] = lambda name: json.dumps(RESULTS.get(name, "done")),
    tools: Sequence[Message] = TOOLS,
    **parameters: Any,
) -> tuple[list[list[tuple[str, dict[str, Any]]]], str]:
    """Return the calls of each round, and the text of the last, which has none."""
    messages: list[Any] = [{"role": "user", "content": prompt}]
    rounds = []
    for _ in range(8):
        completion = ask(client, messages, tools=tools, **parameters)
        if not completion.message.tool_calls:
            assert "stop" == completion.finish_reason
            return rounds, completion.text
        assert "tool_calls" == completion.finish_reason
        rounds.append(calls_of(completion))
        messages.append(completion.message)
        for call in completion.message.tool_calls:
            messages.append({"role": "tool", "tool_call_id": call.id, "content": answer(call.name)})
    raise AssertionError("it never stops calling")


# Which tools, and with which arguments.


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (
            "What is the weather in Oslo and in Bergen?",
            [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Bergen"})],
        ),
        ("will it rain in bergen tomorrow?", [("get_weather", {"city": "bergen"})]),
        ("Weather in New York in F, please", [("get_weather", {"city": "New York", "unit": "F"})]),
        (
            "Weather in Oslo and convert 100 NOK to EUR",
            [
                ("convertCurrency", {"amount": 100, "from_currency": "NOK", "to_currency": "EUR"}),
                ("get_weather", {"city": "Oslo"}),
            ],
        ),
        (
            "How much is 12.50 EUR in USD?",
            [("convertCurrency", {"amount": 12.5, "from_currency": "EUR", "to_currency": "USD"})],
        ),
        ("What is the status of order A-17?", [("look_up_order", {"order": "A-17"})]),
        ("Refund 12 EUR of order #123", [("refund", {"order": "123", "amount": 12})]),
        (
            "Refund 12 EUR of order A-17 and 15 EUR of order B-3",
            [("refund", {"order": "A-17", "amount": 12}), ("refund", {"order": "B-3", "amount": 15})],
        ),
        (
            'Send an email to bob@example.com about the meeting saying "I am late, and sorry"',
            [("send_email", {"to": "bob@example.com", "subject": "the meeting", "body": "I am late, and sorry"})],
        ),
        ("What is 12 * (3 + 4)?", [("calculate", {"expression": "12 * (3 + 4)"})]),
        ("Read notes.txt", [("read_file", {"path": "notes.txt"})]),
        ("Delete the file notes.txt", [("delete_file", {"path": "notes.txt"})]),
        ("Please use get_weather for Lima", [("get_weather", {"city": "Lima"})]),
        ("Tell me a story", []),
        ("Write a poem about the sea", []),
        ("Hello!", []),
    ],
)
def test_the_tools_that_fit_are_called(client: Client, prompt: str, expected: Any) -> None:
    """Words of names and descriptions choose the tools; the arguments come from the prompt."""
    completion = ask(client, prompt, tools=TOOLS)
    assert expected == calls_of(completion)
    assert ("tool_calls" if expected else "stop") == completion.finish_reason
    assert completion.text


def test_what_the_prompt_does_not_say_is_filled_in() -> None:
    """A required argument always has a value that is valid; an optional one is left out; a nullable one is null."""
    unknown = tool("book_table", required=["guests", "when", "note"], guests={"type": "integer", "minimum": 2})
    properties = unknown["function"]["parameters"]["properties"]
    properties["when"] = {"type": "string", "format": "date"}
    properties["note"] = {"anyOf": [{"$ref": "#/$defs/Note"}, {"type": "null"}]}
    properties["terrace"] = {"type": "boolean"}
    unknown["function"]["parameters"]["$defs"] = {"Note": TEXT}
    with Client() as client:
        ((_, arguments),) = calls_of(ask(client, "Book a table", tools=[unknown]))
        assert {"guests", "when", "note"} == set(arguments)
        assert (True, None) == (arguments["guests"] >= 2, arguments["note"])
        said = "Book a table on the terrace for 5 guests on 2026-11-27"
        ((_, arguments),) = calls_of(ask(client, said, tools=[unknown]))
        assert {"guests": 5, "when": "2026-11-27", "note": None, "terrace": True} == arguments


# Rounds.


def test_the_answer_is_made_from_the_results(client: Client) -> None:
    """JSON becomes words, and each call has its sentence."""
    rounds, text = converse(client, "What is the weather in Oslo and in Bergen?")
    assert 1 == len(rounds)
    said = "temperature 12 °C, sky rain."
    assert f"get_weather(Oslo): {said}\nget_weather(Bergen): {said}" == text


def test_a_chain_goes_on_with_what_it_found(client: Client) -> None:
    """After `then` comes another round, whose arguments may be results of the one before."""
    rounds, text = converse(client, "Look up order A-17, then refund it")
    assert [
        [("look_up_order", {"order": "A-17"})],
        [("refund", {"order": "A-17", "amount": 49.5})],
    ] == rounds
    assert "customer Ada Berg, total 49.5 EUR" in text
    rounds, _ = converse(client, "Weather in Oslo, then in Bergen")
    assert [[("get_weather", {"city": "Oslo"})], [("get_weather", {"city": "Bergen"})]] == rounds


def test_one_call_at_a_time_where_that_is_asked_for(client: Client) -> None:
    """Without parallel calls each has a round of its own, and none is left out."""
    rounds, _ = converse(client, "Weather in Oslo and Bergen", parallel_tool_calls=False)
    assert [[("get_weather", {"city": "Oslo"})], [("get_weather", {"city": "Bergen"})]] == rounds


@pytest.mark.parametrize("result", ["Not approved: too much", "Not approved: too much. The function was not called."])
def test_a_rejected_call_is_acknowledged(client: Client, result: str) -> None:
    """It is not tried again, and the steps after it do not happen."""
    rounds, text = converse(client, "Refund order A-17, then email ada@example.com", lambda _: result)
    assert [[("refund", {"order": "A-17"})]] == rounds
    assert "You did not approve refund, so I did not do it (too much)." == text


def test_the_arguments_that_a_person_changed_are_told(client: Client) -> None:
    """An edited call is told with the arguments that it ran with."""
    note = '(The arguments were changed before the call ran: {"order": "B-3"})\n'
    _, text = converse(client, "Refund order A-17", lambda _: f"{note}done")
    assert "refund(B-3): done." == text


@pytest.mark.parametrize("result", ["Error: no connection", '{"error": "no connection"}'])
def test_an_error_is_mentioned(client: Client, result: str) -> None:
    """A tool that failed is not called again."""
    rounds, text = converse(client, "Weather in Oslo", lambda _: result)
    assert 1 == len(rounds)
    assert "get_weather(Oslo) did not work: no connection." == text


def test_wrong_arguments_are_tried_once_more(client: Client) -> None:
    """The second try takes what the refusal offers; a second refusal is the end."""
    refusal = "Invalid arguments, the function was not called. `city` must be 'Lima' or 'Quito', got 'Oslo'"
    answers = iter([refusal, '{"sky": "sun"}'])
    rounds, text = converse(client, "Weather in Oslo", lambda _: next(answers))
    assert [[("get_weather", {"city": "Oslo"})], [("get_weather", {"city": "Lima"})]] == rounds
    assert "get_weather(Lima): sky sun." == text
    rounds, text = converse(client, "Weather in Oslo", lambda _: refusal)
    assert 2 == len(rounds)
    assert "did not take my arguments" in text


def test_a_follow_up_means_the_same_tool(client: Client) -> None:
    """`And in Bergen?` calls what was called before."""
    first = ask(client, "Weather in Oslo", tools=TOOLS)
    (call,) = first.message.tool_calls
    history = [
        {"role": "user", "content": "Weather in Oslo"},
        first.message,
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
        {"role": "assistant", "content": "Rain."},
        {"role": "user", "content": "And in Bergen?"},
    ]
    assert [("get_weather", {"city": "Bergen"})] == calls_of(ask(client, history, tools=TOOLS))


# Choices of the request.


def test_the_choice_of_tools_is_honoured(client: Client) -> None:
    """`none` calls nothing, `required` something, and a name that tool; each only until there are results."""
    assert [] == calls_of(ask(client, "Weather in Oslo", tools=TOOLS, tool_choice="none"))
    rounds, _ = converse(client, "Tell me a story", tool_choice="required")
    assert 1 == len(rounds)
    named = {"type": "function", "function": {"name": "look_up_order"}}
    rounds, _ = converse(client, "Tell me about A-17", tool_choice=named)
    assert [[("look_up_order", {"order": "A-17"})]] == rounds


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tools": "x"}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tool_choice": {"type": "function", "function": {"name": "nobody"}}}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"response_format": {"type": "poem"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
    ],
)
def test_a_bad_request_is_refused(client: Client, body: dict[str, Any], field: str) -> None:
    """A field that is not as the API has it is a 400 that names it."""
    with pytest.raises(StreamError, match=f"400.*{field}"):
        ask(client, "Weather in Oslo", extra_body=body)


def test_without_tools_it_says_what_it_is(client: Client) -> None:
    """A question gets a short text, no pretence of knowledge."""
    completion = ask(client, "Who are you?")
    assert completion.text.startswith("I am demo/assistant")
    assert "stop" == completion.finish_reason


# The stream.


def test_calls_are_streamed_in_pieces(client: Client) -> None:
    """Text first, then one call after another: id and name at once, the arguments in several deltas."""
    prompt = "What is the weather in Oslo and in Bergen?"
    with client.stream("demo/assistant", prompt, tools=TOOLS, extra_body={"tokens_per_second": 0}) as stream:
        chunks = list(stream)
    kinds = [chunk.type for chunk in chunks if chunk.type in ("text", "tool_call")]
    assert kinds == sorted(kinds)
    pieces = [chunk.tool_call for chunk in chunks if chunk.type == "tool_call"]
    assert [0, 1] == sorted({piece.index for piece in pieces})
    assert [piece.index for piece in pieces] == sorted(piece.index for piece in pieces)
    assert len(pieces) > 6
    assert 2 == len({call.id for call in stream.completion.message.tool_calls})
    assert stream.completion.usage.output_tokens == len(kinds)
    assert calls_of(stream.completion) == [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Bergen"})]


def test_the_limit_of_tokens_cuts_a_call_off(client: Client) -> None:
    """It ends with finish reason `length`, in the middle of the arguments."""
    with client.stream(
        "demo/assistant", "Weather in Oslo", tools=TOOLS, max_tokens=8, extra_body={"tokens_per_second": 0}
    ) as stream:
        written = "".join(chunk.tool_call.arguments for chunk in stream if chunk.type == "tool_call")
    assert "length" == stream.completion.finish_reason
    assert '{"city": "Oslo"}'.startswith(written)
    assert 0 < len(written) < len('{"city": "Oslo"}')


# Typed output.

ITEM = {"type": "object", "properties": {"name": TEXT, "quantity": INTEGER, "price": NUMBER}}
ITEM["required"] = list(ITEM["properties"])
INVOICE = {
    "type": "object",
    "properties": {
        "vendor": TEXT,
        "number": TEXT,
        "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
        "total": NUMBER,
        "due": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
    },
    "$defs": {"Item": ITEM},
}
INVOICE["required"] = list(INVOICE["properties"])


def fill(client: Client, prompt: Any, schema: Any) -> Any:
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return json.loads(ask(client, prompt, extra_body={"response_format": wanted}).text)


def test_an_invoice_is_read(client: Client) -> None:
    """Names, ids, numbers and an enumeration of things find their places in the schema."""
    value = fill(client, "Invoice 2026-17 from Fjord Ltd: 3 lamps at 12.50 EUR each, 1 table at 80", INVOICE)
    lamps = {"name": "lamps", "quantity": 3, "price": 12.5}
    table = {"name": "table", "quantity": 1, "price": 80}
    expected = {"vendor": "Fjord Ltd", "number": "2026-17", "items": [lamps, table], "total": 117.5, "due": None}
    assert expected == value


def test_a_correction_means_the_prompt_before(client: Client) -> None:
    """A message that only says what was wrong is not what the values are read from."""
    text = "Invoice 2026-17 from Fjord Ltd: 3 lamps at 12.50 EUR each, 1 table at 80"
    history = [{"role": "user", "content": text}, {"role": "assistant", "content": "{}"}]
    history.append({"role": "user", "content": "This is not valid: vendor: missing. Answer again."})
    assert "Fjord Ltd" == fill(client, history, INVOICE)["vendor"]


@pytest.mark.parametrize(
    ("prompt", "count"), [("Name five cities", 5), ("Three cities: Oslo, Lima and Quito", 3), ("List 12 cities", 12)]
)
def test_a_list_has_as_many_elements_as_are_asked_for(client: Client, prompt: str, count: int) -> None:
    """Elements that are given are taken, others are invented, all of them different."""
    objects = {"type": "array", "items": {"type": "object", "properties": {"name": TEXT}, "required": ["name"]}}
    for items in ({"type": "array", "items": TEXT}, objects):
        schema = {"type": "object", "properties": {"cities": items}, "required": ["cities"]}
        cities = fill(client, prompt, schema)["cities"]
        assert count == len({json.dumps(city) for city in cities}) == len(cities)
    assert "Three" not in prompt or ["Oslo", "Lima", "Quito"] == [city["name"] for city in cities]


def test_any_json_object_is_one(client: Client) -> None:
    """Without a schema the facts of the prompt are given by kind."""
    answer = ask(client, "I meet Ada Berg at 10:30", extra_body={"response_format": {"type": "json_object"}})
    value = json.loads(answer.text)
    assert (["Ada Berg"], ["10:30"]) == (value["names"], value["times"])
