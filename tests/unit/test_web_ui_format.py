"""The UI message stream: the recorded bytes, and what chunks can be that no recording has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamkit import Chunk, Completion, ConfigError, ToolCall, ToolCallDelta, ToolResult, Usage
from streamkit.errors import RequestError
from streamkit.web.formats import UiFormat
from tests.unit.ui_stories import DATA, STORIES, encoded, parts_of, wanted

# The message that the client makes of these is the recorded one all the same: tests/e2e/web/test_ui.py.
DIFFERENT = {
    "25-tool-unknown-name": "the arguments are sent when they are whole, before it is known that there is no such tool",
    "27-tool-preliminary-results": "a run does not report its last value twice",
    "30-tool-approval-requested": "the id of the question is made of the call's",
    "45-smooth": "pieces are sent as they come",
    "50-writer-throws": "finish follows each error, as in the other recordings",
}


@pytest.mark.parametrize("name", [name for name in STORIES if name not in DIFFERENT])
def test_the_bytes_are_the_recorded_ones(name: str) -> None:
    """Byte by byte, apart from the message's id, which is always there."""
    assert wanted(name) == encoded(name)


@pytest.mark.parametrize("name", DIFFERENT)
def test_the_different_ones_differ_still(name: str) -> None:
    """A story that has become equal leaves the list."""
    assert wanted(name) != encoded(name)


def parts(*chunks: Chunk, **options: Any) -> list[dict[str, Any]]:
    made = UiFormat(**options)
    return parts_of(made.begin("m") + b"".join(map(made.encode, chunks)) + made.end("complete"))


def types(*chunks: Chunk, **options: Any) -> str:
    return " ".join(part["type"] for part in parts(*chunks, **options))


DONE = Chunk("done", finish_reason="stop")


def test_an_empty_reply_is_a_step() -> None:
    """A reply without any text begins and ends as one with."""
    assert types(DONE) == "start start-step finish-step finish"


def test_a_stream_that_ends_without_done_is_closed() -> None:
    """Blocks and the step are ended by `end`, where the chunks had no end of their own."""
    assert types(Chunk("text", "a")) == "start start-step text-start text-delta text-end finish-step finish"


def test_only_the_first_choice_is_sent() -> None:
    """A message has no choices; those after the first are not mixed into it."""
    assert types(Chunk("text", "a"), Chunk("text", "b", index=1), DONE).count("text-delta") == 1


def test_hidden_reasoning_takes_its_data_along() -> None:
    """Where reasoning is hidden, the provider's own data, which may hold it, are not sent either."""
    chunk = Chunk("reasoning", reasoning="secret", provider_data=({"x": {"thinking": "secret"}},))
    data = b"".join(map(UiFormat(reasoning=False, provider_metadata=True).encode, (chunk, Chunk("text", "a"))))
    assert b"secret" not in data
    assert b"providerMetadata" in UiFormat(provider_metadata=True).encode(chunk)
    assert b"providerMetadata" not in UiFormat().encode(chunk)


def test_a_tool_of_the_browser_asks_nobody() -> None:
    """A call that the browser carries out is no question whether it may."""
    delta = ToolCallDelta(0, "c", "map", "{}")
    chunks = (Chunk("tool_call", tool_call=delta), Chunk("tool_approval", tool_call=delta), DONE)
    assert "tool-approval-request" not in types(*chunks, browser_tools=["map"])
    assert "tool-approval-request" in types(*chunks)


@pytest.mark.parametrize(
    ("result", "decided"),
    [
        (ToolResult("c", "w", "1"), {"approved": True}),
        (ToolResult("c", "w", "broken", "exception"), {"approved": True}),
        (
            ToolResult("c", "w", "Not approved: too dear. The function was not called.", "not approved"),
            {"approved": False, "reason": "too dear"},
        ),
        (ToolResult("c", "w", "Not approved. The function was not called.", "not approved"), {"approved": False}),
    ],
)
def test_a_page_that_was_not_asked_is_told_the_decision(result: ToolResult, decided: dict[str, Any]) -> None:
    """A stream with a question and a result has the decision between them, once."""
    delta = ToolCallDelta(0, "c", "w", "{}")
    asked = (Chunk("tool_call", tool_call=delta), Chunk("tool_approval", tool_call=delta))
    told = parts(*asked, Chunk("tool_result", tool_result=result), Chunk("tool_result", tool_result=result), DONE)
    kinds = [part["type"] for part in told]
    at = kinds.index("tool-approval-response")
    assert {"type": "tool-approval-response", "approvalId": "approval-c", **decided} == told[at]
    assert ("tool-approval-request", 1) == (kinds[at - 1], kinds.count("tool-approval-response"))
    assert kinds[at + 1].startswith("tool-output-")


def test_earlier_calls_are_told_before_their_results() -> None:
    """A run that goes on in a new message says which calls its first results are of."""
    made = UiFormat()
    result = Chunk("tool_result", tool_result=ToolResult("c", "w", '{"t": 3}'), round=1)
    data = made.begin("m", calls=[ToolCall.of("c", "w", '{"city": "Oslo"}')]) + made.encode(result) + made.encode(DONE)
    got = parts_of(data + made.end("complete"))
    assert ["start", "tool-input-available", "tool-output-available"] == [part["type"] for part in got[:3]]
    assert {"t": 3} == got[2]["output"]


@pytest.mark.parametrize(
    ("content", "value", "output"),
    [
        ("cold", "cold", "cold"),
        ("cold", None, "cold"),
        ('{"t":1}', {"t": 1}, {"t": 1}),
        ('{"t":1}', None, {"t": 1}),
        ('{"t":1}', '{"t":1}', '{"t":1}'),
        ("{broken", None, "{broken"),
        ("3", 3, 3),
        ("null", None, None),
        ("", None, ""),
    ],
)
def test_a_result_is_what_the_function_returned(content: str, value: Any, output: Any) -> None:
    """As JSON types; by the text alone, as a log has it, an object is one too."""
    got = parts(Chunk("tool_result", tool_result=ToolResult("c", "w", content, value=value)))
    assert output == got[1]["output"]


def test_usage_and_time_are_in_the_metadata() -> None:
    """As the AI SDK counts: tokens of the prompt with the cached ones, also where a provider counts them apart."""
    usage = Usage(40, 20, cached_tokens=50, cache_write_tokens=10, cached_apart=True, cost=0.5)
    data = UiFormat().end("complete", completion=Completion(usage=usage), time_to_first_token=0.25)
    metadata = parts_of(data)[0]["messageMetadata"]
    assert metadata == {
        "usage": {
            "inputTokens": 100,
            "inputTokenDetails": {"noCacheTokens": 40, "cacheReadTokens": 50, "cacheWriteTokens": 10},
            "outputTokens": 20,
            "totalTokens": 120,
        },
        "timeToFirstTokenMs": 250,
    }


@pytest.mark.parametrize("status", ["error", "timeout", "truncated"])
def test_errors_are_masked_unless_asked_for(status: str) -> None:
    """The client hears that something went wrong; of what only when the program says so."""
    error = RuntimeError("key sk-1 refused")
    assert parts_of(UiFormat().end(status, error))[0] == {"type": "error", "errorText": "An error occurred."}
    assert parts_of(UiFormat(show_errors=True).end(status, error))[0]["errorText"] == "key sk-1 refused"
    assert (
        parts_of(UiFormat(show_errors=lambda e: type(e).__name__).end(status, error))[0]["errorText"] == "RuntimeError"
    )


def test_every_part_type_is_known() -> None:
    """The table of parts is that of the client's own schema: what it takes, what it needs, what it refuses."""
    recorded = json.loads((DATA / "parts.json").read_text("utf-8"))["parts"]
    made = UiFormat()
    for part in recorded:
        example = part["minimal_example"]
        made.part(example)
        for field, facts in part["fields"].items():
            if not facts["schema_accepts_null"]:
                with pytest.raises(ConfigError):
                    made.part({**example, field: None})
            without = {name: value for name, value in example.items() if name != field}
            if facts["schema_accepts_missing"]:
                made.part(without)
            else:
                with pytest.raises(ConfigError):
                    made.part(without)
            wrong = {"number": 1, "boolean": True, "array": [1], "object": {"a": 1}, "string": "?"}
            for kind in facts["schema_rejects"]:
                with pytest.raises(ConfigError):
                    made.part({**example, field: wrong[kind]})
    with pytest.raises(ConfigError, match="data-<name>"):
        made.part({"type": "ping"})


def test_what_a_browsers_parser_refuses_is_left_out() -> None:
    """Keys of prototypes, NaN, and half of an emoji do not end the stream."""
    shape = {
        "__proto__": 1,
        "constructor": {"prototype": 1},
        "n": float("nan"),
        "h": "\ud83d",
        "deep": [{"__proto__": {}}],
    }
    data = UiFormat().part({"type": "data-x", "data": shape})
    assert {"n": None, "h": "\ud83d", "deep": [{}]} == json.loads(data[6:])["data"]
    assert b"NaN" not in data


def test_the_heartbeat_is_a_comment_without_a_blank_line() -> None:
    """With one, some clients hand an empty event to the program."""
    assert UiFormat().heartbeat() == b": hb\n"


@pytest.mark.parametrize("name", STORIES)
def test_the_headers_are_the_recorded_ones(name: str) -> None:
    """But for `connection`, which belongs to the connection: a WSGI server refuses it."""
    recorded = json.loads((DATA / "streams" / f"{name}.headers.json").read_text("utf-8"))
    expected = dict(recorded["fetch_response"]["headers"])
    assert "keep-alive" == expected.pop("connection")
    assert expected == UiFormat.headers


def test_a_request_error_is_a_4xx_that_says_why() -> None:
    """The sender of a wrong request is told, masked errors or not."""
    refusal = UiFormat().refusal(RequestError("messages is empty", status=413))
    assert (413, b"messages is empty") == (refusal.status, refusal.body)
