"""The parser of AI SDK 4 reads our data stream."""

from __future__ import annotations

from streamkit import Chunk, ToolCallDelta, ToolResult, Usage
from streamkit.web.formats import DataFormat
from tests.e2e.web.support import needs_npm, run_client

pytestmark = needs_npm


def test_version_4_makes_one_message() -> None:
    """Reasoning, text, a call with its result, a second step; an error; heartbeats leave no trace."""
    chunks = [
        Chunk("reasoning", reasoning="hm"),
        Chunk("text", "Hel\n"),
        Chunk("text", "lö"),
        Chunk("tool_call", tool_call=ToolCallDelta(0, "c", "w", '{"a":')),
        Chunk("tool_call", tool_call=ToolCallDelta(0, arguments="1}")),
        Chunk("tool_call", tool_call=ToolCallDelta(1, "d", "w", "{}")),
        Chunk("tool_call", tool_call=ToolCallDelta(2, "e", "w", "{broken")),
        Chunk("tool_result", tool_result=ToolResult("c", "w", '{"t":3}')),
        Chunk("tool_result", tool_result=ToolResult("d", "w", "half", preliminary=True)),
        Chunk("tool_result", tool_result=ToolResult("d", "w", "warm")),
        Chunk("tool_result", tool_result=ToolResult("e", "w", "wrong", "invalid arguments")),
        Chunk("text", "Cold", round=1),
        Chunk("done", finish_reason="stop", usage=Usage(3, 2, 5), round=1),
    ]
    made = DataFormat()
    whole = made.begin("m1", metadata={"a": 1}) + made.heartbeat()
    whole += b"".join(made.encode(chunk) + made.heartbeat() for chunk in chunks) + made.end("complete")
    failing = DataFormat()
    broken = failing.begin("m1") + failing.encode(chunks[1]) + failing.end("error", RuntimeError("secret"))
    got = run_client("data.mjs", [{"name": "whole", "body": whole}, {"name": "broken", "body": broken}])
    message = got["whole"]["message"]
    assert got["whole"]["error"] is None
    assert ("m1", "Hel\nlöCold", "hm") == (message["id"], message["content"], message["reasoning"])
    assert [{"a": 1}] == message["annotations"]
    called = {each["toolCallId"]: (each["state"], each["args"], each["result"]) for each in message["toolInvocations"]}
    assert ("result", {"a": 1}, {"t": 3}) == called["c"]
    assert ("result", {}, "warm") == called["d"]
    assert ("result", {"input": "{broken"}, "wrong") == called["e"]
    assert "stop" == got["whole"]["finishReason"]
    assert {"promptTokens": 3, "completionTokens": 2, "totalTokens": 5} == got["whole"]["usage"]
    assert "An error occurred." == got["broken"]["error"]
