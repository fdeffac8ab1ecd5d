"""Anthropic's format: its events, one block at a time, whole messages, errors; and every recording through it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import Chunk, Completion, RateLimitError, ToolCall, ToolCallDelta, Usage, fold, providers
from streamkit.errors import ConnectError, OverloadedError, RequestError, StreamTimeout
from streamkit.web.formats import AnthropicFormat
from tests.conformance.formats import FORMATS, HELLO, decode_all, events_of
from tests.conformance.judge import framed
from tests.conformance.recordings import Recording, recordings

USAGE = Usage(3, 2, 5, cached_tokens=1, reasoning_tokens=1)
SIGNED = {"anthropic": {"type": "thinking", "thinking": "hm", "signature": "c2ln"}}


def encoded(*chunks: Chunk, status: str = "complete", end: Mapping[str, Any] = {}, **options: Any) -> bytes:
    made = AnthropicFormat(**options)
    data = made.begin("msg_1", model="m") + b"".join(map(made.encode, chunks))
    return data + made.end(status, **end)


def shapes(data: bytes) -> list[dict[str, Any]]:
    """Return the events, after checking that each is named as its data say."""
    found = []
    for event in data.decode().split("\n\n")[:-1]:
        name, value = event.split("\n")
        found.append(json.loads(value.removeprefix("data: ")))
        assert f"event: {found[-1]['type']}" == name
    return found


def events(*chunks: Chunk, **options: Any) -> list[dict[str, Any]]:
    return shapes(encoded(*chunks, **options))


def told(*chunks: Chunk, **options: Any) -> str:
    """Return the blocks of a stream in short, after checking that one is open at a time and numbered in order."""
    words: list[str] = []
    opened = -1
    for event in events(*chunks, **options):
        if event["type"] == "content_block_start":
            opened += 1
            assert opened == event["index"]
            words.append(f"{event['content_block']['type']}(")
        elif event["type"] == "content_block_delta":
            assert opened == event["index"]
            words[-1] += next(value for name, value in event["delta"].items() if name != "type")
        elif event["type"] == "content_block_stop":
            assert opened == event["index"]
            words[-1] += ")"
    return " ".join(words)


def text(piece: str, **fields: Any) -> Chunk:
    return Chunk("text", piece, **fields)


def call(index: int, arguments: str = "", id: str = "", name: str = "", **fields: Any) -> Chunk:
    return Chunk("tool_call", tool_call=ToolCallDelta(index, id, name, arguments), **fields)


def done(reason: Any = "stop", **fields: Any) -> Chunk:
    return Chunk("done", finish_reason=reason, **fields)


def test_the_events_of_a_message() -> None:
    """A start with the tokens of the prompt, a block for each kind of content, the reason with the usage, a stop."""
    chunks = [
        Chunk("reasoning", reasoning="hm", usage=Usage(3, None, cached_apart=True)),
        text("Hel", provider_data=(SIGNED,)),
        text("lö"),
        call(0, "", "toolu_1", "w"),
        call(0, '{"a":'),
        call(0, "1}"),
        done("tool_calls", usage=Usage(3, 7, cached_apart=True)),
    ]
    head: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    head |= {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 0}}

    def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"type": "content_block_start", "index": index, "content_block": start},
            *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": index},
        ]

    assert events(*chunks) == [
        {"type": "message_start", "message": head},
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "hm"},
            {"type": "signature_delta", "signature": "c2ln"},
        ),
        *block(
            1,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "Hel"},
            {"type": "text_delta", "text": "lö"},
        ),
        *block(
            2,
            {"type": "tool_use", "id": "toolu_1", "name": "w", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"a":'},
            {"type": "input_json_delta", "partial_json": "1}"},
        ),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"input_tokens": 3, "output_tokens": 7},
        },
        {"type": "message_stop"},
    ]


def test_an_empty_reply_is_a_message() -> None:
    """It begins and ends; what nobody counted is 0, as the format has no word for unknown."""
    start, delta, stop = events(done())
    assert {"input_tokens": 0, "output_tokens": 0} == start["message"]["usage"]
    assert ("end_turn", {"output_tokens": 0}) == (delta["delta"]["stop_reason"], delta["usage"])
    assert {"type": "message_stop"} == stop
    assert [start, delta, stop] == events()


def test_the_blocks_end_with_the_reply() -> None:
    """Not only with the stream, which may have something to do first."""
    made = AnthropicFormat()
    made.encode(text("a"))
    assert [{"type": "content_block_stop", "index": 0}] == shapes(made.encode(done()))


def test_the_model_is_the_one_that_answers_where_no_other_is_named() -> None:
    """The name that the client asked for comes first."""
    for asked, told_model in (("alias", "alias"), ("", "gpt-x-1")):
        made = AnthropicFormat()
        made.begin("msg_1", model=asked)
        assert told_model == shapes(made.encode(text("a", model="gpt-x-1")))[0]["message"]["model"]


def test_a_heartbeat_is_a_ping() -> None:
    """Also before the message begins, so that the tokens of the prompt can still be told at its start."""
    made = AnthropicFormat()
    assert made.begin("msg_1") == b""
    assert [{"type": "ping"}] == shapes(made.heartbeat())
    assert "message_start" == shapes(made.encode(text("a", usage=USAGE)))[0]["type"]


def test_calls_in_turns_are_told_one_after_the_other() -> None:
    """A block waits until the call before it is whole, text and the ends of strings with brackets included."""
    chunks = [call(0, "", "c", "w"), call(0, '{"a":"}'), call(1, '{"b":', "d", "v"), text("x"), call(0, '{"}')]
    assert 'tool_use({"a":"}' == told(*chunks[:4]).partition('{"}')[0].partition(")")[0]
    assert 'tool_use({"a":"}{"}) tool_use({"b":2}) text(x)' == told(*chunks, call(1, "2}"), done("tool_calls"))


def test_what_waits_is_told_at_the_end() -> None:
    """Nothing is lost where a call never becomes whole."""
    assert 'tool_use({"a) text(x) tool_use({})' == told(call(0, '{"a', "c", "w"), text("x"), call(1, "{}", "d", "v"))


def test_what_follows_a_call_that_was_told_is_left_out() -> None:
    """White space behind the end of the arguments comes too late once the next block has begun."""
    assert "tool_use({}) text(x)" == told(call(0, "{}", "c", "w"), text("x"), call(0, " "), done())


@given(
    st.lists(st.sampled_from(['{"a":"x,{}"}', "{}", '{"b":[1,{"c":"\\"}"}]}', '{"d":{}}']), min_size=1, max_size=4),
    st.data(),
)
@settings(max_examples=200, deadline=None)
def test_any_turns_of_calls_give_the_same_calls(arguments: list[str], data: st.DataObject) -> None:
    """In whatever pieces and order they come."""
    pieces = [
        [call(at, "", f"id{at}", f"t{at}"), *(call(at, one) for one in text)] for at, text in enumerate(arguments)
    ]
    chunks: list[Chunk] = []
    while any(pieces):
        which = data.draw(st.sampled_from([at for at, left in enumerate(pieces) if left]))
        chunks.append(pieces[which].pop(0))
    got = read_back(encoded(*chunks, done("tool_calls")))
    assert {(call.id, call.name, call.raw_arguments) for call in fold(chunks).tool_calls} == {
        (call.id, call.name, call.raw_arguments) for call in got.tool_calls
    }
    told(*chunks, done("tool_calls"))


def test_ids_of_calls_differ() -> None:
    """Where a server sends none, or one twice."""
    blocks = [
        event["content_block"]
        for event in events(call(0, "{}", "", "w"), call(1, "{}", "c", "w"), call(2, "{}", "c", "w"), done())
        if event["type"] == "content_block_start"
    ]
    assert ["toolu_msg1_0", "c", "toolu_msg1_2"] == [block["id"] for block in blocks]


def test_the_calls_that_a_run_makes_are_not_the_clients() -> None:
    """Only a call that waits is sent, whole; each round has a text of its own."""
    waiting = Chunk("tool_approval", tool_call=ToolCallDelta(0, "d", "map", '{"b":2}'), round=1)
    chunks = [text("One"), call(0, "{}", "c", "w"), text("Two", round=1), call(0, '{"b":2}', "d", "map", round=1)]
    assert 'text(One) tool_use({}) text(Two) tool_use({"b":2})' == told(*chunks, waiting)
    assert 'text(One) text(Two) tool_use({"b":2})' == told(*chunks, waiting, server_tools=True)
    assert "tool_use" == events(waiting, status="suspended", server_tools=True)[-2]["delta"]["stop_reason"]


def test_only_the_first_choice_is_sent() -> None:
    """A message has no choices."""
    assert "text(a)" == told(text("a"), text("b", index=1), text("", index=1, finish_reason="length"), done())


def test_reasoning_may_be_hidden() -> None:
    """With its signatures, and what is redacted; what the model says is sent."""
    redacted = {"anthropic": {"type": "redacted_thinking", "data": "x"}}
    chunks = [Chunk("reasoning", reasoning="hm"), text("a", provider_data=(SIGNED, redacted)), done()]
    assert "thinking(hmc2ln) redacted_thinking() text(a)" == told(*chunks)
    assert "text(a)" == told(*chunks, reasoning=False)
    between = [text("a"), text("b", provider_data=(redacted,)), done()]
    assert "text(a) redacted_thinking() text(b)" == told(*between)
    assert "text(ab)" == told(*between, reasoning=False)


def test_thoughts_that_are_not_shown_keep_their_signature() -> None:
    """One after another, each with its own."""
    unseen = {"anthropic": {"type": "thinking", "thinking": "", "signature": "dHdv"}}
    assert "thinking(hmc2ln) thinking(dHdv) text(a)" == told(
        Chunk("reasoning", reasoning="hm"), text("a", provider_data=(SIGNED, unseen)), done()
    )
    assert "thinking(dHdv) thinking(ho) text(a)" == told(
        Chunk("reasoning", reasoning="ho", provider_data=(unseen,)), text("a"), done()
    )
    assert "text(a)" == told(
        text("a", provider_data=({"gemini": {"type": "thinking"}}, {"anthropic": {"paused": True}}))
    )


@pytest.mark.parametrize(
    ("reason", "raw", "word"),
    [
        ("stop", "stop", "end_turn"),
        ("stop", "stop_sequence", "stop_sequence"),
        ("length", "length", "max_tokens"),
        ("length", "model_context_window_exceeded", "model_context_window_exceeded"),
        ("content_filter", "SAFETY", "refusal"),
        ("other", "pause_turn", "pause_turn"),
        ("other", "what?", "end_turn"),
        (None, None, "end_turn"),
        ("error", None, "max_tokens"),
    ],
)
def test_the_stop_reason(reason: Any, raw: str | None, word: str) -> None:
    """Anthropic's own words come through; others are the nearest, in streams and in whole messages."""
    assert word == events(text("a"), done(reason, raw_finish_reason=raw))[-2]["delta"]["stop_reason"]
    assert word == whole(Completion("a", finish_reason=reason, raw_finish_reason=raw))["stop_reason"]


def test_a_cancelled_reply_ends() -> None:
    """With the reason that says that there would be more, and no error."""
    *_, delta, stop = events(text("a"), status="cancelled")
    assert ("max_tokens", "message_stop") == (delta["delta"]["stop_reason"], stop["type"])


def test_calls_without_a_reason_wait() -> None:
    """Clients look at the stop reason to see that they are to answer."""
    assert "tool_use" == events(call(0, "{}", "c", "w"), done("other"))[-2]["delta"]["stop_reason"]


def test_a_refusal_is_explained() -> None:
    """It is no text of the reply."""
    chunks = [Chunk("refusal", refusal="I will "), Chunk("refusal", refusal="not."), done()]
    refused = {"type": "refusal", "category": None, "explanation": "I will not."}
    expected = {"stop_reason": "refusal", "stop_sequence": None, "stop_details": refused}
    assert expected == events(*chunks)[-2]["delta"]
    assert expected.items() <= whole(fold(chunks)).items()


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(), {"output_tokens": 0}),
        (Usage(3, 2), {"input_tokens": 3, "output_tokens": 2}),
        (Usage(10, 2, cached_tokens=4), {"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 2}),
        (Usage(3, 2, cached_tokens=4), {"input_tokens": 0, "cache_read_input_tokens": 4, "output_tokens": 2}),
        (
            Usage(3, 2, cached_tokens=4, cache_write_tokens=5, reasoning_tokens=1, cached_apart=True),
            {
                "input_tokens": 3,
                "cache_creation_input_tokens": 5,
                "cache_read_input_tokens": 4,
                "output_tokens": 2,
                "output_tokens_details": {"thinking_tokens": 1},
            },
        ),
    ],
)
def test_the_usage(usage: Usage, expected: dict[str, Any]) -> None:
    """Tokens of the prompt exclude the cached ones, also where the provider includes them."""
    assert expected == events(done(usage=usage))[-2]["usage"]
    assert expected == events(done(), end={"completion": Completion(usage=usage)})[-2]["usage"]
    assert {"input_tokens": 0, **expected} == whole(Completion(usage=usage))["usage"]


# -- whole messages --------------------------------------------------------------------------------------


def whole(completion: Completion, **options: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(AnthropicFormat(**options).whole(completion, "msg_1", model="m"))
    return made


def test_a_whole_message() -> None:
    """All of a reply, for a request without a stream."""
    completion = Completion(
        "Hi", "hm", tool_calls=(ToolCall.of("c", "w", '{"a":1}'),), finish_reason="tool_calls", usage=Usage(3, 2)
    )
    thought = {"type": "thinking", "thinking": "hm", "signature": ""}
    content = [
        thought,
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "c", "name": "w", "input": {"a": 1}},
    ]
    assert whole(completion) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": content,
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }
    assert content[1:] == whole(completion, reasoning=False)["content"]


def test_thoughts_stand_in_their_places() -> None:
    """A whole message has the provider's own blocks among text and calls as they came."""
    data = [{"layout": [["text", 2]]}, SIGNED["anthropic"], {"layout": [["text", 1], ["call", 0]]}, {"paused": True}]
    redacted = {"type": "redacted_thinking", "data": "x"}
    completion = Completion(
        "abcd",
        "hm",
        tool_calls=(ToolCall.of("c", "w", ""), ToolCall.of("", "v", "[broken")),
        provider_data=tuple({"anthropic": datum} for datum in (*data, redacted)),
    )
    got = whole(completion)["content"]
    assert ["text", "thinking", "text", "tool_use", "redacted_thinking", "text", "tool_use"] == [
        block["type"] for block in got
    ]
    assert ["ab", "c", "d"] == [block["text"] for block in got if block["type"] == "text"]
    assert [{}, {"INVALID_JSON": "[broken"}] == [block["input"] for block in got if block["type"] == "tool_use"]
    assert "toolu_msg1_1" == got[-1]["id"]
    kept = [block["type"] for block in whole(completion, reasoning=False)["content"]]
    assert ["text", "text", "tool_use", "text", "tool_use"] == kept


# -- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "type"),
    [
        (RequestError("x"), 400, "invalid_request_error"),
        (RequestError("x", status=401, type="invalid_request_error"), 401, "authentication_error"),
        (RequestError("x", status=402), 402, "billing_error"),
        (RequestError("x", status=403), 403, "permission_error"),
        (RequestError("x", status=404), 404, "not_found_error"),
        (RequestError("x", status=408), 408, "timeout_error"),
        (RequestError("x", status=409), 409, "conflict_error"),
        (RequestError("x", status=413), 413, "request_too_large"),
        (RequestError("x", status=422), 422, "invalid_request_error"),
        (RequestError("x", status=429, type="tokens"), 429, "rate_limit_error"),
        (RequestError("x", status=529), 529, "overloaded_error"),
        (RateLimitError("x", status=429), 429, "rate_limit_error"),
        (OverloadedError("x", status=529), 503, "overloaded_error"),
        (StreamTimeout("x"), 504, "timeout_error"),
        (ConnectError("x"), 502, "api_error"),
        (RuntimeError("x"), 500, "api_error"),
    ],
)
def test_errors_have_anthropics_words(error: Exception, status: int, type: str) -> None:
    """By the status, before a stream and in it; after one in the stream there is no end of the message."""
    refusal = AnthropicFormat().refusal(error)
    shape = json.loads(refusal.body)
    assert (status, "application/json") == (refusal.status, refusal.headers["content-type"])
    assert ("error", type) == (shape["type"], shape["error"]["type"])
    broken = events(text("a"), status="error", end={"error": error})
    assert shape == broken[-1]
    assert ["message_start", "content_block_start", "content_block_delta", "error"] == [e["type"] for e in broken]


def test_an_error_tells_what_it_knows() -> None:
    """The code and the details of a refusal, where Anthropic's clients look and where others do; and its headers."""
    details = {"limit": "day", "current": 1.5, "requested": 0.5, "max": 1.75}
    error = RequestError(
        "too much", status=402, code="spending_limit_exceeded", details=details, headers={"retry-after": "5"}
    )
    refusal = AnthropicFormat(request_id="req_1").refusal(error)
    assert "5" == refusal.headers["retry-after"]
    assert json.loads(refusal.body) == {
        "type": "error",
        "error": {
            "type": "billing_error",
            "message": "too much",
            "code": "spending_limit_exceeded",
            **details,
            "details": {"error_code": "spending_limit_exceeded", **details},
        },
        "request_id": "req_1",
    }


def test_a_providers_error_is_masked() -> None:
    """Its code and its words are told only where errors are shown."""
    error = RateLimitError("slow down", status=429, code="rate_limited", type="requests")
    masked = {"type": "error", "error": {"type": "rate_limit_error", "message": "An error occurred."}}
    assert masked == events(status="error", end={"error": error})[-1]
    shown = events(status="error", end={"error": error}, show_errors=True)[-1]["error"]
    assert ("slow down", "rate_limited") == (shown["message"], shown["code"])
    assert [{"type": "error", "error": {"type": "api_error", "message": "An error occurred."}}] == events(
        status="error"
    )


# -- every recording -------------------------------------------------------------------------------------

ALL = [(api, recording) for api in FORMATS for recording in recordings(api) if not recording.expected.get("error")]


def read_back(data: bytes) -> Completion:
    """Return what our own decoder makes of the events."""
    decoder = providers.Anthropic(api_key="k").decoder(HELLO)
    return fold(decode_all(decoder, list(framed("text/event-stream", [data]))))


def read_whole(data: bytes) -> Completion:
    decoder = providers.Anthropic(api_key="k").decoder(HELLO)
    return fold([*decoder.decode_whole(json.loads(data)), decoder.finish()])


def counts(usage: Usage) -> tuple[Any, ...]:
    """Return a usage as the format can tell it: the prompt with what was cached, and 0 for an unknown number."""
    prompt = usage.input_tokens or 0
    if usage.cached_apart:
        prompt += (usage.cached_tokens or 0) + (usage.cache_write_tokens or 0)
    return prompt, usage.output_tokens or 0, usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens


def reason_of(completion: Completion) -> str | None:
    """Return the finish reason as the format can tell it."""
    if completion.refusal:
        return "content_filter"
    if completion.finish_reason == "other" and completion.raw_finish_reason != "pause_turn":
        return "tool_calls" if completion.tool_calls else "stop"
    return completion.finish_reason


def blocks_in(data: Iterable[Mapping[str, Any]]) -> list[Any]:
    own = [datum["anthropic"] for datum in data if "anthropic" in datum]
    return [datum for datum in own if "type" in datum or "layout" in datum]


@pytest.mark.parametrize(("api", "recording"), ALL, ids=[f"{api}-{recording.name}" for api, recording in ALL])
def test_a_recording_is_the_same_reply_through_the_format(api: str, recording: Recording) -> None:
    """Text, reasoning, refusal, calls, finish reason, usage, and Anthropic's own blocks in their places."""
    chunks = decode_all(FORMATS[api]().decoder(HELLO), events_of(recording))
    expected = fold(chunks)
    data = encoded(*chunks)
    told(*chunks)
    streamed = read_back(data)
    whole = read_whole(AnthropicFormat().whole(expected, "msg_1"))
    for got in (streamed, whole):
        for field in ("text", "reasoning", "refusal"):
            assert getattr(expected, field) == getattr(got, field)
        assert (reason_of(expected), counts(expected.usage)) == (got.finish_reason, counts(got.usage))
        if api == "anthropic-messages":
            assert blocks_in(expected.provider_data) == blocks_in(got.provider_data)
        assert [(call.id, call.name) for call in expected.tool_calls] == [
            (call.id, call.name) for call in got.tool_calls
        ]
    assert [call.raw_arguments for call in expected.tool_calls] == [call.raw_arguments for call in streamed.tool_calls]
    given = [
        call.arguments if call.arguments is not None else {"INVALID_JSON": call.raw_arguments}
        for call in expected.tool_calls
    ]
    assert given == [call.arguments for call in whole.tool_calls]
