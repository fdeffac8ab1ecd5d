"""`useChat`'s own client makes of our bytes the message that it makes of the AI SDK's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamkit import Chunk, ToolCallDelta
from streamkit.web.formats import TextFormat, UiFormat
from tests.e2e.web.support import needs_npm, run_client
from tests.unit.ui_stories import STORIES, STREAMS, encoded, story_of

pytestmark = needs_npm

# The only differences from the recorded messages: ids are ours, and so is what is said of an approval.
_APPROVAL = "30-tool-approval-requested"


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    cases = [
        {
            "name": f"{name}{'-by-bytes' if pieces else ''}",
            "body": encoded(name),
            "headers": dict(UiFormat.headers),
            "messages": story_of(name).get("request_messages"),
            "pieces": pieces,
        }
        for name in STORIES
        for pieces in (False, True)
    ]
    return run_client("chat.mjs", cases)


@pytest.mark.parametrize("pieces", ["", "-by-bytes"])
@pytest.mark.parametrize("name", STORIES)
def test_the_client_makes_the_recorded_message(results: dict[str, Any], name: str, pieces: str) -> None:
    """The message, the state, the error and the data of every recorded stream, whole or byte by byte."""
    recorded = json.loads((STREAMS / f"{name}.message.json").read_text("utf-8"))
    expected, client = recorded["message"], recorded["client"]
    result = results[name + pieces]
    got = result["message"]
    if name == _APPROVAL:
        assert got["parts"][-1].pop("approval") == {"id": "approval-call_1"}
        del expected["parts"][-1]["approval"]
    assert without_id(expected) == without_id(got)
    error = client["error"] and client["error"]["message"]
    assert (client["status"], error) == (result["status"], result["error"])
    assert client["onData"] == result["onData"]
    assert client["message_count"] == result["count"]
    assert result["error"] or client["onFinish"].get("finishReason") == result["onFinish"].get("finishReason")
    if name == "54-minimal":  # the program began no message, so the client invented its id
        return
    assert got["id"] in (expected["id"], "msg-server-1")


def without_id(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "id"}


def shown(*chunks: Chunk, **options: Any) -> Any:
    """Return what the client makes of chunks."""
    made = UiFormat(**options)
    body = made.begin("m1") + b"".join(made.heartbeat() + made.encode(chunk) for chunk in chunks) + made.end("complete")
    return run_client("chat.mjs", [{"name": "it", "body": body, "headers": dict(made.headers)}])["it"]


def test_what_models_write_against_the_rules_is_shown() -> None:
    """Interleaved calls, text after an object's end, a broken object, keys of prototypes, half of an emoji."""

    def call(index: int, arguments: str, id: str = "") -> Chunk:
        return Chunk("tool_call", tool_call=ToolCallDelta(index, id, "w" if id else "", arguments))

    got = shown(
        Chunk("text", "a \ud83d"),
        Chunk("text", "\ude00 b"),
        call(0, '{"a":', "c0"),
        call(1, '{"__proto__": {"x": 1},', "c1"),
        call(0, "1}"),
        call(1, ' "b": 2}'),
        call(0, " \n"),
        call(2, '{"cut', "c2"),
        call(3, "", "c3"),
        call(4, '{"a":1}', "c4"),
        call(4, "more"),
        Chunk("refusal", refusal="no"),
        Chunk("done", finish_reason="tool_calls"),
    )
    assert (got["status"], got["error"]) == ("ready", None)
    parts = {part.get("toolCallId", part.get("text")): part for part in got["message"]["parts"]}
    assert "a 😀 b" in parts
    states = {id: parts[id]["state"] for id in ("c0", "c1", "c2", "c3", "c4")}
    assert states == {
        "c0": "input-available",
        "c1": "input-available",
        "c2": "output-error",
        "c3": "input-available",
        "c4": "output-error",
    }
    assert ({"a": 1}, {"b": 2}, {}) == tuple(parts[id]["input"] for id in ("c0", "c1", "c3"))
    assert parts["no"]["providerMetadata"] == {"streamkit": {"refusal": True}}


def test_plain_text_is_a_message() -> None:
    """The text transport makes one message of the text; a heartbeat leaves no trace."""
    made = TextFormat()
    pieces = [
        made.begin("m1"),
        made.heartbeat(),
        made.encode(Chunk("text", "Hello wö")),
        made.encode(Chunk("text", "rld")),
    ]
    case = {"name": "it", "body": b"".join(pieces), "headers": dict(made.headers), "transport": "text"}
    got = run_client("chat.mjs", [case])["it"]
    assert [part["text"] for part in got["message"]["parts"] if part["type"] == "text"] == ["Hello wörld"]
    assert got["status"] == "ready"


def test_a_refusal_is_the_clients_error() -> None:
    """The body of an error before the first chunk is what the client shows."""
    refusal = UiFormat().refusal(RuntimeError("secret"))
    case = {"name": "it", "body": refusal.body, "headers": dict(refusal.headers), "status": refusal.status}
    got = run_client("chat.mjs", [case])["it"]
    assert (got["status"], got["error"]) == ("error", "An error occurred.")
