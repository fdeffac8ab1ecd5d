"""Every recording in the words of the Responses API: our own decoder of them reads the same reply."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from streamkit import APIError, Chunk, Completion, Message, providers
from streamkit.errors import StreamError
from streamkit.providers import Decoder
from streamkit.providers.call import ChatRequest
from streamkit.values.chunks import Usage
from streamkit.values.completion import Fold
from streamkit.web.formats import ResponsesFormat, WebRequest
from tests.conformance.formats import FORMATS, HELLO, events_of
from tests.conformance.judge import framed
from tests.conformance.recordings import Recording, recordings
from tests.unit.response_events import check_events, events_in

ALL = [(api, recording) for api in FORMATS for recording in recordings(api)]
STREAMS = [(api, each) for api, each in ALL if each.content_type != "application/json"]
WHOLE = [(api, each) for api, each in STREAMS if each.expected.get("error") is None]
ASKED = WebRequest(extra={"include": ["reasoning.encrypted_content"]})
RESPONSES = FORMATS["openai-responses"]()


def name(value: str | Recording) -> str:
    return value if isinstance(value, str) else value.name


@attrs.frozen
class Read:
    """What a decoder made of events."""

    chunks: list[Chunk]
    completion: Completion
    error: StreamError | None = None


def read(decoder: Decoder, events: Sequence[Any]) -> Read:
    chunks: list[Chunk] = []
    error = None
    try:
        for event in events:
            chunks += decoder.decode(event)
        chunks.append(decoder.finish())
    except StreamError as failure:
        chunks += decoder.leftover()
        error = failure
    folded = Fold()
    folded.add(chunks)
    return Read(chunks, folded.completion(None if error is None else "error"), error)


def recorded(api: str, recording: Recording) -> Read:
    return read(FORMATS[api]().decoder(HELLO), events_of(recording))


def encoded(got: Read, **options: Any) -> bytes:
    made = ResponsesFormat(**options)
    data = made.begin("resp_1", model="m", created=7) + b"".join(map(made.encode, got.chunks))
    return data + made.end("complete" if got.error is None else "error", got.error, got.completion)


def usage_in_words(usage: Usage) -> tuple[int, ...] | None:
    """Return a usage as the format has it: the prompt with its cached tokens, and 0 for a number that is unknown."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    given, made, cached = usage.input_tokens or 0, usage.output_tokens or 0, usage.cached_tokens or 0
    if usage.cached_apart:
        given += cached + (usage.cache_write_tokens or 0)
    total = usage.total_tokens if usage.total_tokens is not None and not usage.cached_apart else given + made
    return given, made, total, cached, usage.reasoning_tokens or 0


def said(completion: Completion) -> dict[str, Any]:
    """Return of the first choice what the format has words for.

    It has none for a reply that ended for no reason that was given: such a one is complete.
    """
    reason = completion.finish_reason
    if reason == "other" and completion.raw_finish_reason is None:
        reason = "tool_calls" if completion.tool_calls else "stop"
    return {
        "text": completion.text,
        "reasoning": completion.reasoning,
        "refusal": completion.refusal,
        "tool_calls": completion.tool_calls,
        "finish_reason": reason,
        "usage": usage_in_words(completion.usage),
    }


@pytest.mark.parametrize(("api", "recording"), STREAMS, ids=name)
def test_each_recording_is_the_same_reply_in_this_format(api: str, recording: Recording) -> None:
    """Text, reasoning, refusal, calls, finish reason and usage come back; or the error, after what came before it."""
    before = recorded(api, recording)
    for options in ({}, {"request": ASKED}):
        data = encoded(before, **options)
        after = read(RESPONSES.decoder(HELLO), list(framed("text/event-stream", [data])))
        if before.error is None:
            assert after.error is None
            assert said(before.completion) == said(after.completion)
        else:
            assert isinstance(after.error, APIError)
            assert before.completion.text == after.completion.text


@pytest.mark.parametrize(("api", "recording"), WHOLE, ids=name)
def test_a_whole_reply_says_what_the_stream_says(api: str, recording: Recording) -> None:
    """The output of the last event is that of the JSON without a stream, by what it holds; each reads as the reply."""
    before = recorded(api, recording)
    whole = json.loads(ResponsesFormat(request=ASKED).whole(before.completion, "resp_1", model="m", created=7))
    last = events_in(encoded(before, request=ASKED))[-1]["response"]
    assert {**last, "output": []} == {**whole, "output": []}
    decoder = RESPONSES.decoder(HELLO)
    chunks = [*decoder.decode_whole(whole), decoder.finish()]
    folded = Fold()
    folded.add(chunks)
    assert said(before.completion) == said(folded.completion())
    if api == "openai-responses":  # whose order is known
        kinds = [[item["type"] for item in output] for output in (last["output"], whole["output"])]
        assert Counter(kinds[0]) == Counter(kinds[1])


@pytest.mark.parametrize(("api", "recording"), STREAMS, ids=name)
def test_the_events_are_in_order(api: str, recording: Recording) -> None:
    """They are numbered from 0; each item and part begins before its pieces, which are the whole, and ends once."""
    check_events(events_in(encoded(recorded(api, recording), request=ASKED)))


def history_of(output: list[Any]) -> list[Any]:
    """Return what a client sends back: the question, the items of the reply, and a result for each of its calls."""
    results = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "ok"}
        for item in output
        if item["type"] == "function_call"
    ]
    return [{"role": "user", "content": "Hi"}, *output, *results, {"role": "user", "content": "And?"}]


@pytest.mark.parametrize(("api", "recording"), WHOLE, ids=name)
def test_a_reply_that_is_sent_back_is_the_message_that_it_was(api: str, recording: Recording) -> None:
    """Its text in one piece and its calls, whatever items the client had them in; then the results of the calls."""
    before = recorded(api, recording).completion
    output = events_in(encoded(recorded(api, recording)))[-1]["response"]["output"]
    _, *replies, _ = ResponsesFormat.decode_request({"input": history_of(output)}).messages
    text = before.text + before.refusal
    reply = [Message("assistant", text or None, tool_calls=before.tool_calls)] if text or before.tool_calls else []
    assert [*reply, *(Message("tool", "ok", tool_call_id=call.id) for call in before.tool_calls)] == replies


def kept_kinds(recording: Recording) -> set[str]:
    """Return what a recording has for the history beside its text and calls."""
    data = [each["openai-responses"] for each in recorded("openai-responses", recording).completion.provider_data]
    return {datum.get("type") or next(iter(datum)) for datum in data}


# Without what no request that is taken here leads to: custom tools, programs, compaction.
WITH_REASONING = [
    recording
    for recording in recordings("openai-responses")
    if {"reasoning"} <= kept_kinds(recording) <= {"reasoning", "layout"}
]


@pytest.mark.parametrize("recording", WITH_REASONING, ids=name)
def test_encrypted_reasoning_goes_through_a_client_and_back(recording: Recording) -> None:
    """The provider gets each of its reasoning items again, under its own id and before what it was before."""
    before = recorded("openai-responses", recording)
    streamed = events_in(encoded(before, request=ASKED))[-1]["response"]["output"]
    whole = json.loads(ResponsesFormat(request=ASKED).whole(before.completion, "resp_1"))["output"]
    for output in (streamed, whole):
        request = ResponsesFormat.decode_request({"input": history_of(output)})
        own = attrs.evolve(request, messages=(request.messages[0], before.completion.message, *request.messages[2:]))
        assert without_summaries(input_of(own)) == without_summaries(input_of(request))
    # Others get the same question without it; and no client gets it that has not asked.
    assert b"encrypted" not in providers.OpenAI(api_key="k").request(chat_of(request)).body
    assert b"encrypted" not in encoded(before)


def test_some_recordings_have_encrypted_reasoning() -> None:
    """The test above has something to say."""
    assert len(WITH_REASONING) > 3


def made(*items: dict[str, Any]) -> bytes:
    """Return a stream of the API with these items, each of which is announced and then comes whole."""
    events = [
        {"type": f"response.output_item.{step}", "output_index": at, "item": item if step == "done" else begun(item)}
        for at, item in enumerate(items)
        for step in ("added", "done")
    ]
    last = {"type": "response.completed", "response": {"id": "resp_0", "status": "completed", "output": list(items)}}
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in [*events, last])


def begun(item: dict[str, Any]) -> dict[str, Any]:
    empty = {"arguments": "", "summary": [], "content": []}
    return {name: empty.get(name, value) for name, value in item.items() if name != "encrypted_content"}


def reasoning(id: str, *summary: str) -> dict[str, Any]:
    parts = [{"type": "summary_text", "text": text} for text in summary]
    return {"type": "reasoning", "id": id, "summary": parts, "encrypted_content": f"gAAA{id}=="}


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def call(id: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": "f", "arguments": '{"a":1}'}


@pytest.mark.parametrize(
    "items",
    [
        [reasoning("r1", "hm"), call("a"), reasoning("r2"), call("b"), call("c")],
        [reasoning("r1", "h", "m"), message("one"), reasoning("r2", "so"), message("two"), call("a")],
        [message("one"), call("a"), reasoning("r1"), message("two"), reasoning("r2", "x"), call("b")],
        [reasoning("r1"), message("one")],
    ],
)
def test_reasoning_among_other_items_keeps_its_place(items: list[dict[str, Any]]) -> None:
    """OpenAI refuses reasoning that stands before another item than it did; streamed and whole have one order."""
    got = read(RESPONSES.decoder(HELLO), list(framed("text/event-stream", [made(*items)])))
    streamed = events_in(encoded(got, request=ASKED))[-1]["response"]["output"]
    whole = json.loads(ResponsesFormat(request=ASKED).whole(got.completion, "resp_1", model="m", created=7))["output"]
    assert streamed == whole
    assert [item["type"] for item in items] == [item["type"] for item in streamed]
    results = [item for item in history_of(streamed) if item.get("type") == "function_call_output"]
    sent = input_of(ResponsesFormat.decode_request({"input": history_of(streamed)}))[1:]
    assert [plain(item) for item in (*items, *results)] == [plain(item) for item in sent[:-1]]


def plain(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item as a history has it: the text of a message as text, a summary as one text."""
    if item["type"] == "message" and not isinstance(item["content"], str):
        return {**item, "content": "".join(part["text"] for part in item["content"])}
    return without_summaries([item])[0]


def chat_of(request: WebRequest) -> ChatRequest:
    return ChatRequest("m", [message.to_dict() for message in request.messages])


def input_of(request: WebRequest) -> list[Any]:
    body = providers.OpenAIResponses(api_key="k").request(chat_of(request)).body
    return list(json.loads(body)["input"])


def without_summaries(items: list[Any]) -> list[Any]:
    """Return items with the text of summaries alone: a client gets one part of several."""
    return [
        {**item, "summary": "".join(part["text"] for part in item["summary"])}
        if item.get("type") == "reasoning"
        else item
        for item in items
    ]


def fields_of(events: Sequence[dict[str, Any]]) -> dict[str, set[str]]:
    """Return the fields of each kind of event, of each kind of item and part in it, and of a response."""
    found: dict[str, set[str]] = {}
    for event in events:
        found.setdefault(event["type"], set()).update(event)
        response = event.get("response", {})
        found.setdefault("response", set()).update(response)
        for item in (event.get("item"), *response.get("output", ())):
            if item is not None:
                found.setdefault(f"item {item['type']}", set()).update(item)
        if "part" in event:
            found.setdefault(f"part {event['part']['type']}", set()).update(event["part"])
    return found


def test_the_events_have_the_fields_that_openais_have() -> None:
    """Of each event, item and part, all that OpenAI's recordings always have, and nothing else."""
    theirs: list[dict[str, Any]] = []
    ours: list[dict[str, Any]] = []
    for recording in recordings("openai-responses"):
        if recording.name.startswith("openai__"):
            theirs += [json.loads(event.data) for event in events_of(recording)]
            ours += events_in(encoded(recorded("openai-responses", recording), request=ASKED))
    known, got = fields_of(theirs), fields_of(ours)
    known["error"] |= {"code", "message", "param"}  # flat, as the API's description has them
    assert "response.function_call_arguments.done" in got
    assert "response.failed" in got
    for name, fields in got.items():
        assert fields <= known[name], name
    always: dict[str, set[str]] = {}
    for each in theirs:
        if "sequence_number" in each:  # OpenAI's own, not of a proxy that drops fields
            always[each["type"]] = always.get(each["type"], set(each)) & set(each)
    for each in ours:
        assert always[each["type"]] - {"obfuscation"} <= set(each), each["type"]  # which hides lengths from onlookers
