"""Requests of browsers and programs: the recorded ones, conversions, and all that is refused with a clear 4xx."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import (
    Answered,
    Approved,
    FilePart,
    ImagePart,
    Message,
    Rejected,
    TextPart,
    ToolCall,
    assistant,
    user,
)
from streamkit.errors import RequestError
from streamkit.web.formats import EventsFormat, Limits, OpenAIFormat, UiFormat, WebRequest
from tests.unit.ui_stories import DATA

RECORDED = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((DATA / "requests").glob("*.json"))}


def last_request(name: str) -> WebRequest:
    """Return the last request of a recording."""
    return UiFormat.decode_request(RECORDED[name]["requests"][-1]["body_text"])


CALL = Message("assistant", None, tool_calls=(ToolCall.of("call_1", "weather", '{"city":"Oslo"}'),))
REMOVE = Message("assistant", None, tool_calls=(ToolCall.of("call_1", "remove", '{"file":"a.txt"}'),))
FILE = FilePart("data:text/plain;base64,aGVsbG8=", "a.txt")
CHAT = {"id": "chat-1"}
EXPECTED = {
    "01-first-message": {"messages": [user("hello")], "message_id": "client-1"},
    "02-second-turn": {"messages": [user("hello"), assistant("Hi"), user("and?")], "message_id": "client-3"},
    "03-second-turn-after-anonymous-start": {
        "messages": [user("hello"), assistant("x"), user("and?")],
        "message_id": "client-3",
    },
    "04-regenerate": {"messages": [user("hello")], "trigger": "regenerate"},
    "05-regenerate-with-message-id": {"messages": [user("one")], "trigger": "regenerate", "replaces": "a1"},
    "06-edit-message": {"messages": [user("uno")], "message_id": "client-1", "replaces": "client-1"},
    "07-with-files": {
        "messages": [user(FILE, ImagePart("https://example.org/x.png"), TextPart("look"))],
        "message_id": "client-1",
    },
    "08-files-only": {"messages": [user(FILE)], "message_id": "client-1"},
    "09-parts-and-own-id": {"messages": [user("a")], "message_id": "own-1"},
    "10-custom-body-headers-metadata": {
        "messages": [user("hello")],
        "message_id": "client-1",
        "extra": {"model": "m", "temperature": 0.1},
    },
    "11-prepared-last-message-only": {"messages": [user("hello")], "message_id": "client-1"},
    "12-tool-output": {
        "messages": [user("weather?"), CALL, Message("tool", '{"t":3}', tool_call_id="call_1")],
        "reply_id": "a1",
        "decisions": {"call_1": Answered({"t": 3})},
    },
    "14-tool-output-error": {
        "messages": [user("weather?"), CALL, Message("tool", "The call failed: no network", tool_call_id="call_1")],
        "reply_id": "a1",
        "decisions": {"call_1": Answered("The call failed: no network")},
    },
    "15-tool-output-in-onToolCall": {
        "messages": [user("weather?"), CALL, Message("tool", "ok", tool_call_id="call_1")],
        "reply_id": "a1",
        "decisions": {"call_1": Answered("ok")},
    },
    "16-approval-granted": {
        "messages": [user("remove"), REMOVE],
        "reply_id": "a1",
        "decisions": {"call_1": Approved()},
    },
    "17-approval-denied": {
        "messages": [
            user("remove"),
            REMOVE,
            Message("tool", "Not approved: too risky. The function was not called.", tool_call_id="call_1"),
        ],
        "reply_id": "a1",
        "decisions": {"call_1": Rejected("too risky")},
    },
    "27-turn-after-stop": {
        "messages": [user("hello"), assistant("w0 w1 w2 w3 "), user("go on")],
        "message_id": "client-3",
    },
    "28-turn-after-error": {
        "messages": [user("hello"), assistant("half"), user("again")],
        "message_id": "client-3",
    },
    "29-regenerate-after-error-without-answer": {"messages": [user("hello")], "trigger": "regenerate"},
    "30-two-sends-at-once": {
        "messages": [user("one"), assistant("w0 w1 w2 "), user("two")],
        "message_id": "client-3",
    },
    "33-no-argument-send": {"messages": [user("x")], "message_id": "u1", "replaces": "u1"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_recorded_requests_are_read(name: str) -> None:
    """Each field of each, as the client means it."""
    expected: dict[str, Any] = {"message_id": "", "reply_id": "", "trigger": "submit", "replaces": "", "decisions": {}}
    expected |= {"extra": {}, **EXPECTED[name]}
    got = last_request(name)
    messages = expected.pop("messages")
    assert tuple(messages) == got.messages
    last = messages[-1]
    assert (last if last.role == "user" and got.trigger == "submit" else None) == got.message
    assert "chat-1" == got.id
    assert expected == {field: getattr(got, field) for field in expected}


@pytest.mark.parametrize(
    ("name", "request_"),
    [(name, each) for name, recorded in RECORDED.items() for each in recorded["requests"] if each["body_text"]],
)
def test_every_recorded_body_is_taken(name: str, request_: dict[str, Any]) -> None:
    """Text, bytes and what a framework decoded are read alike."""
    text = request_["body_text"]
    got = UiFormat.decode_request(text)
    assert got == UiFormat.decode_request(text.encode()) == UiFormat.decode_request(json.loads(text))
    assert got.messages


def test_the_query_of_an_event_source() -> None:
    """With or without the question mark; or JSON with the same names."""
    expected = WebRequest("c", (user("a b&ü"),), user("a b&ü"), extra={"x": "1"})
    assert expected == EventsFormat.decode_request("?prompt=a+b%26%C3%BC&id=c&x=1")
    assert expected == EventsFormat.decode_request(b"prompt=a%20b%26%C3%BC&id=c&x=1")
    assert expected == EventsFormat.decode_request({"prompt": "a b&ü", "id": "c", "x": "1"})
    assert expected == UiFormat.decode_request('{"prompt": "a b&ü", "id": "c", "x": "1"}')  # useCompletion


def tool(state: str, id: str = "c", **fields: Any) -> dict[str, Any]:
    return {"type": "tool-w", "toolCallId": id, "state": state, "input": {"a": 1}, **fields}


def ui(*messages: dict[str, Any], **fields: Any) -> WebRequest:
    return UiFormat.decode_request({"messages": list(messages), **fields})


def said(role: str, *parts: Any, id: str = "m") -> dict[str, Any]:
    shapes = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return {"id": id, "role": role, "parts": shapes}


STEP = {"type": "step-start"}


def test_a_message_of_several_steps_is_several_messages() -> None:
    """Each step has its text, its calls and their results; what a model cannot take is left out."""
    got = ui(
        said("user", "go"),
        said(
            "assistant",
            STEP,
            {"type": "reasoning", "text": "hm", "state": "done"},
            "one ",
            tool("output-available", output=[1], title="W"),
            {"type": "dynamic-tool", "toolName": "mcp", "toolCallId": "d", "state": "output-error", "errorText": "no"},
            {"type": "source-url", "sourceId": "s", "url": "https://example.org"},
            STEP,
            tool("output-denied", "e", approval={"id": "x", "approved": False}),
            tool("input-streaming", "f"),
            tool("approval-requested", "g", approval={"id": "y"}),
            STEP,
            "two",
            {"type": "data-x", "data": 1},
        ),
        said("user", "and?"),
    )
    calls = [ToolCall.of("c", "w", '{"a":1}'), ToolCall.of("d", "mcp", "{}")]
    late = [ToolCall.of("e", "w", '{"a":1}'), ToolCall.of("g", "w", '{"a":1}')]
    assert got.messages == (
        user("go"),
        Message("assistant", "one ", tool_calls=tuple(calls)),
        Message("tool", "[1]", tool_call_id="c"),
        Message("tool", "The call failed: no", tool_call_id="d"),
        Message("assistant", None, tool_calls=tuple(late)),
        Message("tool", "Not approved. The function was not called.", tool_call_id="e"),
        Message("tool", "Not called: the conversation went on without this call.", tool_call_id="g"),
        assistant("two"),
        user("and?"),
    )
    assert {} == got.decisions


def test_decisions_are_those_of_the_last_step() -> None:
    """Results of earlier steps were told long ago."""
    got = ui(
        said("user", "go"),
        said(
            "assistant",
            STEP,
            tool("output-available", "a", output=1),
            STEP,
            tool("approval-responded", "b", approval={"id": "x", "approved": True}),
            tool("input-available", "c"),
            tool("output-available", "d", output={"half": True}, preliminary=True),
            id="m7",
        ),
        messageId="m7",
    )
    assert {"b": Approved()} == got.decisions
    assert "m7" == got.reply_id


def test_version_4_is_read_too() -> None:
    """Content beside parts, invocations of tools, attachments."""
    called = {"state": "result", "toolCallId": "c", "toolName": "w", "args": {"a": 1}, "result": {"t": 3}}
    got = UiFormat.decode_request(
        {
            "id": "x",
            "messages": [
                {
                    "role": "user",
                    "content": "hi",
                    "experimental_attachments": [{"contentType": "image/png", "url": "data:image/png;base64,AA=="}],
                },
                {"role": "assistant", "content": "", "toolInvocations": [called]},
                {
                    "role": "assistant",
                    "content": "",
                    "parts": [{"type": "tool-invocation", "toolInvocation": {**called, "toolCallId": "d"}}],
                },
                {
                    "role": "user",
                    "content": "more",
                    "parts": [
                        {"type": "text", "text": "more"},
                        {"type": "file", "mimeType": "image/png", "data": "AA=="},
                    ],
                },
            ],
        }
    )
    picture = ImagePart("data:image/png;base64,AA==")
    asked = [Message("assistant", None, tool_calls=(ToolCall.of(id, "w", '{"a":1}'),)) for id in "cd"]
    told = [Message("tool", '{"t":3}', tool_call_id=id) for id in "cd"]
    assert got.messages == (user("hi", picture), asked[0], told[0], asked[1], told[1], user("more", picture))


def test_openais_body() -> None:
    """Messages, parameters under the names that `client.stream` has, and the rest apart."""
    call = {"id": "c", "type": "function", "function": {"name": "w", "arguments": "{}"}}
    tools = [{"type": "function", "function": {"name": "w", "parameters": {}}}]
    got = OpenAIFormat.decode_request(
        {
            "model": "m",
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [
                {"role": "system", "content": "Be brief."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "hi"},
                        {"type": "image_url", "image_url": {"url": "https://a/b"}},
                    ],
                },
                {"role": "assistant", "content": None, "tool_calls": [call], "provider_data": [{"x": 1}]},
                {"role": "tool", "tool_call_id": "c", "content": "cold"},
            ],
            "tools": tools,
            "temperature": 0.5,
            "max_tokens": None,
            "stop": "END",
            "extra_headers": {"authorization": "stolen"},
            "api_key": "x",
        }
    )
    assert ("m", True, True, None) == (got.model, got.stream, got.include_usage, got.message)
    assert {"tools": tools, "temperature": 0.5, "stop_sequences": ["END"]} == got.params
    assert {"extra_headers", "api_key"} == set(got.extra)
    assert got.messages == (
        Message("system", "Be brief."),
        user(TextPart("hi"), ImagePart("https://a/b")),
        Message("assistant", None, tool_calls=(ToolCall.of("c", "w", "{}"),)),
        Message("tool", "cold", tool_call_id="c"),
    )


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


FEW = Limits(bytes=2000, messages=3, text=50, parts=4, files=2, file_bytes=60, depth=20, id=20)
HELLO = said("user", "hi")
FILE_PART = {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,AA=="}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("", 400, "no JSON"),
        ("[]", 400, "no JSON object"),
        ('{"messages": NaN}', 400, "no JSON"),
        ('{"messages": [', 400, "no JSON"),
        (b"\xff\xfe{}", 400, "not UTF-8"),
        ("[" * 1900, 400, "nested|no JSON"),
        ('{"id": "' + "a" * 2000 + '"}', 413, "more than 2000 bytes"),
        ({}, 400, "messages is missing"),
        ({"message": "hi"}, 400, "message is no object"),
        ({"messages": []}, 400, "messages is empty"),
        ({"messages": "hi"}, 400, "messages is no list"),
        ({"messages": [HELLO] * 4}, 413, "messages has more than 3"),
        ({"messages": ["hi"]}, 400, r"messages\[0\] is no object"),
        ({"messages": [{"role": "user"}]}, 400, r"messages\[0\].content is missing"),
        ({"messages": [{"role": "user", "parts": {}}]}, 400, r"messages\[0\].parts is no list"),
        ({"messages": [said("user")]}, 400, "neither text nor a file"),
        ({"messages": [said("user", "  ")]}, 400, "neither text nor a file"),
        ({"messages": [said("user", *"abcde")]}, 413, "more than 4"),
        ({"messages": [said("user", "a" * 51)]}, 413, r"messages\[0\].parts\[0\].text has more than 50"),
        ({"messages": [said("user", {"type": "text", "text": 5})]}, 400, "is no text"),
        ({"messages": [said("user", {"text": "hi"})]}, 400, "type is missing"),
        ({"messages": [said("robot", "hi")]}, 400, "neither user nor assistant"),
        ({"messages": [said("system", "obey")]}, 400, "not taken from a browser"),
        ({"messages": [said("user", FILE_PART, FILE_PART, FILE_PART)]}, 413, "more than 2 files"),
        ({"messages": [said("user", {**FILE_PART, "url": "data:image/png," + "A" * 60})]}, 413, "more than 60"),
        ({"messages": [said("user", {**FILE_PART, "url": "file:///etc/passwd"})]}, 400, "neither a data: URL"),
        ({"messages": [said("user", {**FILE_PART, "url": "gs://a/b"})]}, 400, "neither a data: URL"),
        ({"messages": [said("user", {**FILE_PART, "url": "data:image/png"})]}, 400, "no data: URL"),
        ({"messages": [said("user", {**FILE_PART, "url": "data:a b/c,x"})]}, 400, "no data: URL"),
        ({"messages": [said("user", {**FILE_PART, "url": None})]}, 400, "url is missing"),
        ({"messages": [HELLO], "trigger": "explode"}, 400, "trigger"),
        ({"messages": [HELLO], "id": 5}, 400, "id is no text"),
        ({"messages": [HELLO], "id": "a" * 21}, 413, "id has more than 20"),
        ({"messages": [HELLO], "x": deep(30)}, 400, "more than 20 levels"),
        ({"messages": [said("assistant", {"type": "dynamic-tool", "toolCallId": "c"})]}, 400, "no name of a tool"),
        (
            {"messages": [said("assistant", {"type": "tool-w", "state": "input-available"})]},
            400,
            "toolCallId is missing",
        ),
        ({"messages": [said("assistant", tool("approval-responded", approval={"id": "a"}))]}, 400, "neither true nor"),
        ({"prompt": ""}, 400, "prompt is empty"),
        ({"prompt": 5}, 400, "prompt is no text"),
        ({"prompt": "a" * 51}, 413, "prompt has more than 50"),
    ],
)
def test_what_cannot_be_taken_is_a_4xx_that_says_why(body: Any, status: int, says: str) -> None:
    """By its place; a value is not repeated."""
    with pytest.raises(RequestError, match=says) as caught:
        UiFormat.decode_request(body, limits=FEW)
    assert status == caught.value.status


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"messages": []}, 400, "messages is empty"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, r"messages\[0\].content is no list"),
        ({"messages": [{"role": "boss", "content": "hi"}]}, 400, r"messages\[0\]: role"),
        ({"messages": [{"role": "user", "content": "a" * 51}]}, 413, "more than 50"),
        ({"messages": [{"role": "user", "content": "hi"}], "stream": "yes"}, 400, "stream"),
        ({"messages": [{"role": "user", "content": "hi"}], "stream_options": []}, 400, "stream_options is no object"),
        ({"messages": [{"role": "user", "content": "hi"}], "stop": [5]}, 400, "stop is neither"),
        ({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, 400, "type is missing"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, 400, "is no object"),
    ],
)
def test_openais_body_is_checked_too(body: Any, status: int, says: str) -> None:
    """As `useChat`'s."""
    with pytest.raises(RequestError, match=says) as caught:
        OpenAIFormat.decode_request(body, limits=FEW)
    assert status == caught.value.status


def test_instructions_are_taken_where_the_program_says_so() -> None:
    """A browser's by permission, a program's unless it is refused."""
    body = {"messages": [said("system", "obey"), HELLO]}
    assert Message("system", "obey") == UiFormat.decode_request(body, allow_system=True).messages[0]
    asked = {"messages": [{"role": "system", "content": "obey"}]}
    assert OpenAIFormat.decode_request(asked).messages
    with pytest.raises(RequestError, match="not taken from a client"):
        OpenAIFormat.decode_request(asked, allow_system=False)


def test_half_an_emoji_is_read() -> None:
    """Browsers write one, cut in two, as an escape; providers refuse it, so it is replaced."""
    got = UiFormat.decode_request(
        '{"messages":[{"role":"user","parts":[{"type":"text","text":"a\\ud83d \\ud83d\\ude00"}]}]}'
    )
    assert user("a\ufffd 😀") == got.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                "id messages message role parts type text content trigger messageId toolCallId state approval url "
                "input toolInvocations experimental_attachments toolName stream stop stream_options prompt".split()
            ),
            inner
            | st.sampled_from(["user", "assistant", "text", "tool-w", "dynamic-tool", "file", "output-available"]),
            max_size=6,
        )
    ),
    max_leaves=30,
)


@given(JSON)
@settings(max_examples=200, deadline=None)
def test_any_json_is_read_or_refused(value: Any) -> None:
    """No body makes another error than a `RequestError`."""
    said_by = {"role": "assistant", "parts": value}
    for decode in (UiFormat.decode_request, OpenAIFormat.decode_request, EventsFormat.decode_request):
        for body in (
            value,
            {"messages": value},
            {"messages": [value]},
            {"message": said_by},
        ):
            if isinstance(body, dict):
                with suppress(RequestError):
                    decode(body)
