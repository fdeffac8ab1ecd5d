"""Whatever chunks come in whatever order, `useChat`'s client reads the stream to its end."""

from __future__ import annotations

import random

from streamkit import Chunk, ToolCallDelta, ToolResult
from streamkit.web.formats import UiFormat
from tests.e2e.web.support import needs_npm, run_client

pytestmark = needs_npm

STREAMS = 200
ERRORS = [None, None, None, "invalid arguments", "unknown tool", "not approved", "exception", "cut off"]
PIECES = ['{"a":', "1}", "{}", "", " ", '{"__proto__":{"a":1}}', "[1]", '{"constructor":{"prototype":1}}', "x", '"é😀']
OWN = [
    {"type": "data-x", "id": "d", "data": {"constructor": {"prototype": 1}, "n": float("nan")}},
    {"type": "data-y", "data": None, "transient": True},
    {"type": "source-url", "sourceId": "s", "url": "https://example.org"},
    {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,AA=="},
    {"type": "message-metadata", "messageMetadata": {"a": {"b": 1}}},
]


def any_chunk(at: random.Random, round: int, calls: list[str]) -> Chunk:
    kind = at.choice(["text", "text", "reasoning", "refusal", "tool_call", "tool_call", "tool_approval", "tool_result"])
    if kind in ("text", "reasoning", "refusal"):
        text = at.choice(["a", "", "\n\n", "data: x", "\ud83d", "é😀", "\x00\u2028", "[DONE]"])
        data = ({"x": {"y": 1}},) if at.random() < 0.2 else ()
        return Chunk(kind, round=round, provider_data=data, index=at.choice([0, 0, 0, 1]), **{kind: text})  # type: ignore[arg-type]
    if kind == "tool_call":
        index = at.randrange(3)
        id = f"c{round}{index}"
        calls.append(id)
        return Chunk("tool_call", tool_call=ToolCallDelta(index, id, "w", at.choice(PIECES)), round=round)
    if kind == "tool_approval":
        id = at.choice([*calls, f"late{round}"])
        calls.append(id)
        return Chunk("tool_approval", tool_call=ToolCallDelta(0, id, "w", '{"a":1}'), round=round)
    if not calls:
        return Chunk("text", "a", round=round)
    result = ToolResult(at.choice(calls), "w", at.choice(PIECES), at.choice(ERRORS), preliminary=at.random() < 0.2)
    return Chunk("tool_result", tool_result=result, round=round)


def any_stream(seed: int) -> bytes:
    at = random.Random(seed)
    made = UiFormat(
        provider_metadata=at.random() < 0.5, reasoning=at.random() < 0.8, dynamic_tools=at.choice([(), ("w",)])
    )
    data = made.begin(f"m{seed}", model="m", created=1)
    calls: list[str] = []
    for round in range(at.randrange(1, 4)):
        for _ in range(at.randrange(12)):
            data += made.encode(any_chunk(at, round, calls)) + made.heartbeat()
            if at.random() < 0.1:
                data += made.part(at.choice(OWN))
    if at.random() < 0.8:
        data += made.encode(Chunk("done", finish_reason=at.choice(["stop", "tool_calls", "other"]), round=round))
    return data + made.end(at.choice(["complete", "suspended", "cancelled"]))


def test_no_stream_is_an_error_to_the_client() -> None:
    """Two hundred streams of chunks at random, with hearbeats and parts of the program's own between them."""
    cases = [
        {"name": str(seed), "body": any_stream(seed), "headers": dict(UiFormat.headers)} for seed in range(STREAMS)
    ]
    got = run_client("chat.mjs", cases)
    assert {} == {name: result["error"] for name, result in got.items() if result["error"]}
    assert {"ready"} == {result["status"] for result in got.values()}
    # Those without any part never made a message of it; the others have the id that they were given.
    named = {name: result["message"]["id"] for name, result in got.items() if result["message"]}
    assert all(id == f"m{name}" for name, id in named.items())
    assert len(named) > STREAMS / 2
