"""The events of the Responses API: what chunks can be that no recording has, and each end of a reply."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamkit import Chunk, Completion, RateLimitError, ToolCall, ToolCallDelta, ToolResult, Usage
from streamkit.errors import RequestError
from streamkit.web.formats import ResponsesFormat, format_of
from tests.unit.response_events import any_chunks, check_events, events_in

TEXT, MORE = Chunk("text", "Hel"), Chunk("text", "lo")
DONE = Chunk("done", finish_reason="stop")
CALLED = Chunk("done", finish_reason="tool_calls")


def piece(index: int, arguments: str, id: str = "", name: str = "", **fields: Any) -> Chunk:
    return Chunk("tool_call", tool_call=ToolCallDelta(index, id, name, arguments), **fields)


def events(*chunks: Chunk, status: str = "complete", end: dict[str, Any] | None = None, **options: Any) -> list[Any]:
    made = ResponsesFormat(**options)
    data = made.begin("resp_x", model="m", created=7) + b"".join(map(made.encode, chunks))
    return events_in(data + made.end(status, **(end or {})))


def last(*chunks: Chunk, **options: Any) -> dict[str, Any]:
    return dict(events(*chunks, **options)[-1])


def types(*chunks: Chunk, **options: Any) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events(*chunks, **options)]


def output(*chunks: Chunk, **options: Any) -> list[Any]:
    return list(last(*chunks, **options)["response"]["output"])


def test_the_events_of_a_text() -> None:
    """Each field of each."""
    place = {"item_id": "msg_x_0", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    item = {"id": "msg_x_0", "type": "message", "role": "assistant"}
    whole = {**item, "status": "completed", "content": [{**part, "text": "Hello"}]}
    got = events(TEXT, MORE, DONE)
    expected: list[dict[str, Any]] = [
        {"type": "output_item.added", "output_index": 0, "item": {**item, "status": "in_progress", "content": []}},
        {"type": "content_part.added", **place, "part": part},
        {"type": "output_text.delta", **place, "delta": "Hel", "logprobs": []},
        {"type": "output_text.delta", **place, "delta": "lo", "logprobs": []},
        {"type": "output_text.done", **place, "text": "Hello", "logprobs": []},
        {"type": "content_part.done", **place, "part": {**part, "text": "Hello"}},
        {"type": "output_item.done", "output_index": 0, "item": whole},
    ]
    assert got[2:-1] == [
        {**event, "type": f"response.{event['type']}", "sequence_number": at} for at, event in enumerate(expected, 2)
    ]
    assert ["response.created", "response.in_progress"] == [event["type"] for event in got[:2]]
    assert "in_progress" == got[0]["response"]["status"] == got[1]["response"]["status"]
    assert ("response.completed", "completed", [whole]) == (
        got[-1]["type"],
        got[-1]["response"]["status"],
        got[-1]["response"]["output"],
    )


def test_an_empty_reply_is_complete() -> None:
    """Without items, also where `end` alone says how it ended."""
    assert ["created", "in_progress", "completed"] == types(DONE) == types()
    assert [] == output(DONE)


def test_kinds_of_text_are_items_and_parts() -> None:
    """Reasoning, a message with text and a refusal, and after a call another message, in their order."""
    thought, refused = Chunk("reasoning", reasoning="hm"), Chunk("refusal", refusal="no")
    got = output(thought, TEXT, refused, piece(0, "{}", "c", "f"), thought, MORE, DONE)
    assert ["reasoning", "message", "function_call", "reasoning", "message"] == [item["type"] for item in got]
    assert [{"type": "summary_text", "text": "hm"}] == got[0]["summary"]
    assert ["output_text", "refusal"] == [part["type"] for part in got[1]["content"]]
    assert len({item["id"] for item in got}) == len(got)
    assert "encrypted_content" not in got[0]


def test_hidden_reasoning_is_not_sent() -> None:
    """Neither what is shown of it nor what the provider alone can read."""
    datum = {"openai-responses": {"type": "reasoning", "id": "r", "encrypted_content": "gAAA", "summary": []}}
    chunks = (Chunk("reasoning", reasoning="hm"), Chunk("text", "a", provider_data=(datum,)), DONE)
    request = ResponsesFormat.decode_request({"input": "hi", "include": ["reasoning.encrypted_content"]})
    assert ["message"] == [item["type"] for item in output(*chunks, request=request, reasoning=False)]
    assert ["reasoning", "message"] == [item["type"] for item in output(*chunks)]
    shown, _ = output(*chunks, request=request)
    assert "r gAAA" == shown["encrypted_content"]


@pytest.mark.parametrize(
    "datum", [5, {}, {"type": "reasoning"}, {"type": "reasoning", "encrypted_content": 5}, {"layout": [["text", 3]]}]
)
def test_other_data_of_the_provider_are_not_sent(datum: Any) -> None:
    """Only whole reasoning items; data of other formats never."""
    data = ({"openai-responses": datum}, {"anthropic": {"type": "thinking", "signature": "x"}})
    request = ResponsesFormat.decode_request({"input": "hi", "include": ["reasoning.encrypted_content"]})
    got = output(Chunk("text", "a", provider_data=data), DONE, request=request)
    assert ["message"] == [item["type"] for item in got]


def test_a_call_is_done_when_it_is_whole_and_another_item_begins() -> None:
    """A client can begin with it; calls whose pieces mix stay open, as the next piece may be of any of them."""
    serial = types(piece(0, '{"a":', "c", "f"), piece(0, "1}"), piece(1, "{}", "d", "g"), CALLED)
    assert serial.index("output_item.done") < len(serial) - 1 - serial[::-1].index("output_item.added")
    chunks = (piece(0, '{"a":', "c", "f"), piece(1, "{}", "d", "g"), piece(0, "1}"), CALLED)
    mixed = events(*chunks)
    assert [0, 1, 0] == [event["output_index"] for event in mixed if event["type"].endswith("arguments.delta")]
    expected = [
        {"id": "fc_x_0", "type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'},
        {"id": "fc_x_1", "type": "function_call", "call_id": "d", "name": "g", "arguments": "{}"},
    ]
    assert [{**item, "status": "completed"} for item in expected] == output(*chunks)


def test_a_piece_after_the_end_of_a_call_is_in_the_last_event() -> None:
    """Nothing of what the model wrote is lost, and no piece comes after the item is done."""
    chunks = (piece(0, "{}", "c", "f"), piece(1, "{}", "d", "g"), piece(0, "{}"), CALLED)
    assert "{}{}" == output(*chunks)[0]["arguments"]
    done: set[int] = set()
    for event in events(*chunks):
        if event["type"].endswith("arguments.delta"):
            assert event["output_index"] not in done
        if event["type"] == "response.output_item.done":
            done.add(event["output_index"])


def test_a_call_without_arguments_has_an_empty_object() -> None:
    """Clients parse them."""
    got = events(piece(0, "", "c", "f"), CALLED)
    assert ["{}"] == [event["delta"] for event in got if event["type"].endswith("arguments.delta")]
    assert "{}" == got[-1]["response"]["output"][0]["arguments"]


def test_calls_of_one_id_have_two() -> None:
    """Clients refuse a response in which an id is twice."""
    got = output(piece(0, "{}", "c", "f"), piece(1, "{}", "c", "f"), piece(0, "{}", "c", "f", round=1), CALLED)
    assert 3 == len({item["call_id"] for item in got}) == len({item["id"] for item in got})


def test_the_calls_that_a_run_makes_are_not_the_clients() -> None:
    """Only a call that waits is sent, whole; without a run each call is, as it grows."""
    waiting = Chunk("tool_approval", tool_call=ToolCallDelta(3, "d", "map", '{"b":2}'), round=1)
    result = Chunk("tool_result", tool_result=ToolResult("c", "f", "cold"))
    chunks = [TEXT, piece(0, "{}", "c", "f"), result, Chunk("text", "Cold", round=1), waiting]
    assert ["c"] == [item["call_id"] for item in output(*chunks) if item["type"] == "function_call"]
    got = output(*chunks, server_tools=True, status="suspended")
    assert ["message", "message", "function_call"] == [item["type"] for item in got]
    assert ("d", "map", '{"b":2}') == (got[2]["call_id"], got[2]["name"], got[2]["arguments"])


def test_only_the_first_choice_is_sent() -> None:
    """A response has no choices."""
    other = Chunk("text", "no", index=1, finish_reason="length", usage=Usage(9, 9, 18))
    assert ["Hello"] == [item["content"][0]["text"] for item in output(TEXT, other, MORE, DONE)]


@pytest.mark.parametrize(
    ("reason", "word", "event", "why"),
    [
        ("stop", "stop", "completed", None),
        ("tool_calls", "x", "completed", None),
        ("length", "length", "incomplete", "max_output_tokens"),
        ("content_filter", "x", "incomplete", "content_filter"),
        ("other", None, "completed", None),
        ("other", "MALFORMED", "incomplete", "other"),
        ("cancelled", "cancelled", "incomplete", "cancelled"),
    ],
)
def test_a_reply_that_is_not_whole_is_not_completed(reason: Any, word: str | None, event: str, why: str | None) -> None:
    """The finish reason says which; the whole response and the item say the same, as does the JSON without a stream."""
    got = last(TEXT, Chunk("done", finish_reason=reason, raw_finish_reason=word))
    response = got["response"]
    assert f"response.{event}" == got["type"]
    assert event == response["output"][0]["status"]
    assert ("cancelled" if reason == "cancelled" else event) == response["status"]
    assert ({"reason": why} if why else None) == response["incomplete_details"]
    completion = Completion("Hel", finish_reason=reason, raw_finish_reason=word)
    assert response == json.loads(ResponsesFormat().whole(completion, "resp_x", model="m", created=7))


def test_a_cancelled_stream_is_incomplete() -> None:
    """Whatever was in it: items that were under way say so."""
    got = last(Chunk("reasoning", reasoning="hm"), TEXT, piece(0, '{"a"', "c", "f"), status="cancelled")
    assert "response.incomplete" == got["type"]
    assert "cancelled" == got["response"]["status"]
    assert [None, "completed", "incomplete"] == [item.get("status") for item in got["response"]["output"]]


@pytest.mark.parametrize("status", ["error", "timeout", "truncated"])
def test_a_failed_stream_is_never_completed(status: str) -> None:
    """`error`, in both shapes, then `response.failed` with what there was; the text of the error is masked."""
    error = RateLimitError("secret", status=429, code="rate_limited", type="requests")
    *_, told, failed = events(TEXT, status=status, end={"error": error})
    message = "An error occurred."
    assert {"code": None, "message": message, "param": None, "type": "server_error"} == told["error"]
    assert ("error", None, message) == (told["type"], told["code"], told["message"])
    assert ("response.failed", "failed") == (failed["type"], failed["response"]["status"])
    assert {"code": "rate_limit_exceeded", "message": message} == failed["response"]["error"]
    assert "incomplete" == failed["response"]["output"][0]["status"]
    shown = events(TEXT, status=status, end={"error": error}, show_errors=True)[-2]
    assert ("secret", "rate_limited", "requests") == (shown["message"], shown["code"], shown["error"]["type"])


def test_a_refused_request_has_its_own_code_and_details() -> None:
    """In the stream and before it, in OpenAI's shape."""
    error = RequestError(
        "too dear",
        status=402,
        code="spending_limit_exceeded",
        param="model",
        headers={"retry-after": "7"},
        details={"limit": "day"},
    )
    shape = {
        "message": "too dear",
        "type": "invalid_request_error",
        "param": "model",
        "code": "spending_limit_exceeded",
        "limit": "day",
    }
    refusal = ResponsesFormat().refusal(error)
    assert (402, {"error": shape}) == (refusal.status, json.loads(refusal.body))
    assert ("application/json", "7") == (refusal.headers["content-type"], refusal.headers["retry-after"])
    *_, told, failed = events(status="error", end={"error": error})
    assert shape == told["error"]
    assert {"code": "spending_limit_exceeded", "message": "too dear"} == failed["response"]["error"]


def test_the_usage_is_in_the_formats_words() -> None:
    """The prompt with its cached tokens; each number that clients expect; of the stream or of the run."""
    usage = Usage(3, 2, None, 10, 1, cache_write_tokens=5, cached_apart=True)
    expected = {
        "input_tokens": 18,
        "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 5},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 20,
    }
    done = Chunk("done", finish_reason="stop", usage=usage)
    assert expected == last(TEXT, done)["response"]["usage"]
    run = last(TEXT, done, end={"completion": Completion(usage=Usage(1, 1, 2))})["response"]["usage"]
    assert (1, 1, 2, 0) == (
        *(run[f"{name}_tokens"] for name in ("input", "output", "total")),
        run["output_tokens_details"]["reasoning_tokens"],
    )
    assert last(TEXT, DONE)["response"]["usage"] is None
    each = Chunk("text", "a", usage=usage)
    assert expected == last(each, each, DONE)["response"]["usage"]


def test_a_response_repeats_the_request() -> None:
    """What the client sent, what the API has where it sent nothing, and that nothing is stored."""
    tools = [{"type": "function", "name": "f", "parameters": {}, "strict": True}]
    asked = {
        "model": "m",
        "input": "hi",
        "instructions": "Be brief.",
        "tools": tools,
        "temperature": 0.5,
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "text": {"verbosity": "low"},
        "store": True,
        "truncation": "auto",
        "api_key": "x",
    }
    request = ResponsesFormat.decode_request(asked)
    for event in events(TEXT, DONE, request=request)[:: len(types(TEXT, DONE)) - 1]:
        response = event["response"]
        for name in ("instructions", "tools", "temperature", "max_output_tokens", "metadata", "text"):
            assert asked[name] == response[name]
        assert (False, "disabled", "auto", True) == tuple(
            response[name] for name in ("store", "truncation", "tool_choice", "parallel_tool_calls")
        )
        assert "api_key" not in response
    made = ResponsesFormat(request=request)
    assert {"c": "d"} == events_in(made.begin("r", metadata={"c": "d"}))[0]["response"]["metadata"]


def test_a_whole_reply() -> None:
    """Reasoning, text, refusal and calls in this order, where no other is known."""
    call = ToolCall.of("c", "f", '{"a":1}')
    completion = Completion("Hi", "hm", "no", (call,), finish_reason="tool_calls", usage=Usage(3, 2, 5), model="m2")
    got = json.loads(ResponsesFormat(server_tools=True).whole(completion, "resp_x", created=7))
    assert ("resp_x", "response", 7, "completed", "m2") == tuple(
        got[name] for name in ("id", "object", "created_at", "status", "model")
    )
    assert ["reasoning", "message", "function_call"] == [item["type"] for item in got["output"]]
    assert ["output_text", "refusal"] == [part["type"] for part in got["output"][1]["content"]]
    assert 5 == got["usage"]["total_tokens"]
    failed = json.loads(ResponsesFormat().whole(Completion("Hi", finish_reason="error"), "resp_x"))
    assert ("failed", "server_error") == (failed["status"], failed["error"]["code"])
    assert "incomplete" == json.loads(ResponsesFormat().whole(Completion("Hi"), "resp_x"))["status"]


@pytest.mark.parametrize("status", ["complete", "suspended", "cancelled", "error"])
def test_any_chunks_are_events_in_order(status: str) -> None:
    """Whatever comes in whatever order, items begin and end once, and their pieces are the whole."""
    request = ResponsesFormat.decode_request({"input": "hi", "include": ["reasoning.encrypted_content"]})
    for seed in range(300):
        chunks = any_chunks(seed)
        got = events(*chunks, status=status, request=request, server_tools=seed % 5 == 0)
        check_events(got)
        said = "".join(event["delta"] for event in got if event["type"] == "response.output_text.delta")
        assert "".join(chunk.text for chunk in chunks if not chunk.index) == said


def test_half_a_character_is_an_escape() -> None:
    """At the edge of two pieces; joined, both are the character again."""
    got = events(Chunk("text", "\ud83d"), Chunk("text", "\ude00"), DONE)
    deltas = [event["delta"] for event in got if event["type"].endswith("text.delta")]
    assert ["\ud83d", "\ude00"] == deltas


def test_it_has_a_name() -> None:
    """As the other formats."""
    assert isinstance(format_of("responses", show_errors=True), ResponsesFormat)
