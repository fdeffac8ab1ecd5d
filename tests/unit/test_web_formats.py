"""Text, data, OpenAI's and plain events: the bytes of each, and one contract for all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamkit import Chunk, Completion, ConfigError, RateLimitError, ToolCall, ToolCallDelta, ToolResult, Usage
from streamkit.errors import ConnectError, OverloadedError, StreamTimeout
from streamkit.web.formats import Format, OpenAIFormat, format_of

NAMES = ["ui", "text", "data", "openai", "events", "anthropic", "responses"]
USAGE = Usage(3, 2, 5)
CHUNKS = [
    Chunk("reasoning", reasoning="hm"),
    Chunk("text", "Hel"),
    Chunk("text", "lo\n\n\r\u2028"),
    Chunk("tool_call", tool_call=ToolCallDelta(0, "c", "w", '{"a":')),
    Chunk("tool_call", tool_call=ToolCallDelta(0, arguments="1}")),
    Chunk("tool_result", tool_result=ToolResult("c", "w", "cold")),
    Chunk("text", "Cold", round=1),
    Chunk("done", finish_reason="stop", usage=USAGE, round=1),
]


def body_of(made: Format, *chunks: Chunk, status: str = "complete", **end: Any) -> bytes:
    return made.begin("m1", model="m", created=7) + b"".join(map(made.encode, chunks)) + made.end(status, **end)


def events_of(data: bytes) -> list[Any]:
    events = [event.split(b"\n") for event in data.split(b"\n\n") if event]
    return [
        {key.decode(): value.decode() for key, value in (line.split(b": ", 1) for line in event)} for event in events
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_format_ends_in_every_way(name: str) -> None:
    """Each end is told where the format can; half a reply never ends as a whole one."""
    whole = body_of(format_of(name), *CHUNKS)
    for status in ("complete", "suspended", "cancelled"):
        body_of(format_of(name), *CHUNKS[:2], status=status)
    for status in ("error", "timeout", "truncated"):
        broken = body_of(format_of(name), *CHUNKS[:2], status=status, error=RuntimeError("secret"))
        assert b"secret" not in broken
        assert format_of(name).tells_errors is (b"An error occurred." in broken)
    assert b"Hel" in whole


@pytest.mark.parametrize("name", NAMES)
def test_the_headers_keep_proxies_from_holding_bytes_back(name: str) -> None:
    """Each says its type and that it is not to be kept or buffered, and none is the connection's."""
    headers = format_of(name).headers
    assert {"content-type", "cache-control", "x-accel-buffering"} <= set(headers)
    assert all(name == name.lower() for name in headers)
    assert "connection" not in headers


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RateLimitError("x", status=429), 429),
        (OverloadedError("x", status=503), 503),
        (StreamTimeout("x"), 504),
        (ConnectError("x"), 502),
        (ConfigError("x"), 500),
        (RuntimeError("x"), 500),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_an_error_before_the_first_chunk_has_a_status(name: str, error: Exception, status: int) -> None:
    """The provider's refusal of our key is no refusal of the client."""
    refusal = format_of(name).refusal(error)
    assert status == refusal.status
    assert b"An error occurred." in refusal.body


def test_wrong_names_and_options_are_refused() -> None:
    """By an error that says what there is."""
    with pytest.raises(ConfigError, match="ui, text, data, openai, events"):
        format_of("xml")
    with pytest.raises(ConfigError, match="'text': got an unexpected keyword argument 'after'"):
        format_of("text", after=1)


def test_text_is_the_text() -> None:
    """Nothing else, whatever the chunks have."""
    assert "Hello\n\n\r\u2028Cold".encode() == body_of(format_of("text"), *CHUNKS)


def test_the_data_stream() -> None:
    """Each line of AI SDK 4's protocol."""
    assert body_of(format_of("data"), *CHUNKS).decode().splitlines() == [
        'f:{"messageId":"m1"}',
        'g:"hm"',
        '0:"Hel"',
        *('0:"lo\\n\\n\\r\u2028"').splitlines(),
        'b:{"toolCallId":"c","toolName":"w"}',
        'c:{"toolCallId":"c","argsTextDelta":"{\\"a\\":"}',
        'c:{"toolCallId":"c","argsTextDelta":"1}"}',
        '9:{"toolCallId":"c","toolName":"w","args":{"a":1}}',
        'a:{"toolCallId":"c","result":"cold"}',
        'e:{"finishReason":"tool-calls","usage":{"promptTokens":null,"completionTokens":null},"isContinued":false}',
        'f:{"messageId":"m1"}',
        '0:"Cold"',
        'e:{"finishReason":"stop","usage":{"promptTokens":3,"completionTokens":2},"isContinued":false}',
        'd:{"finishReason":"stop","usage":{"promptTokens":3,"completionTokens":2}}',
    ]


def test_events_have_the_numbers_of_their_chunks() -> None:
    """So `Last-Event-ID` says where to go on, also after chunks that make no event."""
    got = events_of(body_of(format_of("events", after=4), *CHUNKS, completion=Completion(usage=USAGE)))
    assert ["5", "6", "7", "8", "9", "10", "11", "12"] == [event["id"] for event in got]
    assert [{"content": "Hel"}, {"content": "lo\n\n\r\u2028"}] == [json.loads(event["data"]) for event in got[1:3]]
    assert "event" not in got[1]
    assert ["reasoning", "tool_call", "tool_call", "tool_result"] == [got[at]["event"] for at in (0, 3, 4, 5)]
    assert "done" == got[-1]["event"]
    assert json.loads(got[-1]["data"]) == {
        "status": "complete",
        "finish_reason": "stop",
        "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
    }


def test_an_error_before_any_event_has_no_id() -> None:
    """An empty id, or 0, would make the browser forget the last one."""
    assert b'event: error\ndata: {"message":"An error occurred."}\n\n' == body_of(format_of("events"), status="error")


def openai(*chunks: Chunk, **options: Any) -> list[Any]:
    data = [event["data"] for event in events_of(body_of(OpenAIFormat(**options), *chunks))]
    assert data.pop() == "[DONE]"
    return [json.loads(each) for each in data]


def test_openais_usage_is_sent_only_when_asked_for() -> None:
    """As the last chunk, with no choices."""
    assert all("usage" not in chunk for chunk in openai(*CHUNKS))
    last = openai(*CHUNKS, include_usage=True)[-1]
    assert ([], {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}) == (last["choices"], last["usage"])


def test_the_calls_that_a_run_makes_are_not_the_clients() -> None:
    """Only a call that waits is sent, whole; without a run each call is, as it grows."""
    waiting = Chunk("tool_approval", tool_call=ToolCallDelta(3, "d", "map", '{"b":2}'))
    chunks = [*CHUNKS[3:6], waiting, Chunk("done", finish_reason="tool_calls")]
    plain = [delta for chunk in openai(*chunks) for delta in chunk["choices"][0]["delta"].get("tool_calls", [])]
    run = [
        delta
        for chunk in openai(*chunks, server_tools=True)
        for delta in chunk["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert ["c", None] == [delta.get("id") for delta in plain]
    assert [{"index": 0, "id": "d", "type": "function", "function": {"name": "map", "arguments": '{"b":2}'}}] == run


def test_each_choice_has_a_role_and_an_end() -> None:
    """Clients fail at a choice without a role, and wait for the end of each."""
    chunks = [
        Chunk("text", "a"),
        Chunk("text", "b", index=1),
        Chunk("text", index=1, finish_reason="length"),
        Chunk("done", finish_reason="stop"),
    ]
    choices = [choice for chunk in openai(*chunks) for choice in chunk["choices"]]
    assert [0, 1] == [choice["index"] for choice in choices if "role" in choice["delta"]]
    assert [(1, "length"), (0, "stop")] == [
        (choice["index"], choice["finish_reason"]) for choice in choices if choice["finish_reason"]
    ]


def test_calls_whose_reason_has_no_word_wait_for_their_results() -> None:
    """A client that goes by the finish reason makes the calls of a reply whose server gave none."""
    chunks = [Chunk("tool_call", tool_call=ToolCallDelta(0, "c", "w", "{}")), Chunk("done", finish_reason="other")]
    assert "tool_calls" == openai(*chunks)[-1]["choices"][0]["finish_reason"]
    whole = Completion(tool_calls=(ToolCall.of("c", "w", "{}"),), finish_reason="other")
    assert "tool_calls" == json.loads(OpenAIFormat().whole(whole, "c1"))["choices"][0]["finish_reason"]
    assert "stop" == openai(Chunk("done", finish_reason="other"))[-1]["choices"][0]["finish_reason"]


def test_an_error_of_openais_format_has_no_done() -> None:
    """The reply is not whole; a provider's own code is told only when errors are shown."""
    error = RateLimitError("slow down", status=429, code="rate_limited", type="requests")
    masked = events_of(body_of(OpenAIFormat(), CHUNKS[1], status="error", error=error))[-1]
    assert json.loads(masked["data"])["error"]["code"] is None
    shown = events_of(body_of(OpenAIFormat(show_errors=True), CHUNKS[1], status="error", error=error))[-1]
    assert json.loads(shown["data"]) == {
        "error": {"message": "slow down", "type": "requests", "param": None, "code": "rate_limited"}
    }


def test_a_whole_completion() -> None:
    """All of a reply in OpenAI's shape."""
    call = ToolCall.of("c", "w", '{"a":1}')
    completion = Completion("Hi", "hm", tool_calls=(call,), finish_reason="tool_calls", usage=USAGE, model="m2")
    assert json.loads(OpenAIFormat().whole(completion, "chatcmpl-1", created=7)) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "m2",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hi",
                    "refusal": None,
                    "reasoning_content": "hm",
                    "tool_calls": [call.to_dict()],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
