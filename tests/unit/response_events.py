"""The events of the Responses API: read from bytes, and checked against a plain model; and streams at random."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from streamkit import Chunk, ToolCallDelta, ToolResult, Usage

__all__ = ["any_chunks", "check_events", "events_in"]

PIECES = ['{"a":', "1}", "{}", "", " ", '{"__proto__":{"a":1}}', "[1]", "x", '"é😀', '{"a": "}"}']
TEXTS = ["a", "", "\n\n", "data: x", "\ud83d", "é😀", "\x00\u2028", "[DONE]"]


def events_in(data: bytes) -> list[dict[str, Any]]:
    """Return the events; each has its type twice."""
    events = []
    for block in data.split(b"\n\n")[:-1]:
        kind, line = [line for line in block.split(b"\n") if not line.startswith(b":")]
        events.append(json.loads(line.removeprefix(b"data: ")))
        assert f"event: {events[-1]['type']}".encode() == kind
    return events


def check_events(events: Sequence[dict[str, Any]]) -> None:
    """Check the order of the events of one response."""
    assert list(range(len(events))) == [event["sequence_number"] for event in events]
    assert ["response.created", "response.in_progress"] == [event["type"] for event in events[:2]]
    last = events[-1]
    assert last["type"] in ("response.completed", "response.incomplete", "response.failed")
    check_items(events[2:-1])
    if last["type"] != "response.failed":
        done = [event for event in events if event["type"] == "response.output_item.done"]
        in_order = sorted(done, key=lambda event: int(event["output_index"]))
        output = [{**item, "arguments": ""} for item in last["response"]["output"]]  # late pieces are in these alone
        assert output == [{**event["item"], "arguments": ""} for event in in_order]


def check_items(events: Sequence[dict[str, Any]]) -> None:
    """Check the events of items against a plain model of them."""
    items: dict[int, str] = {}  # ids of those that are under way
    texts: dict[tuple[int, Any], str] = {}
    seen: set[str] = set()
    for event in events:
        kind, _, step = event["type"].removeprefix("response.").rpartition(".")
        if event["type"] == "error":
            return
        index = event["output_index"]
        part = index, event.get("content_index", event.get("summary_index", "call"))
        if kind == "output_item":
            id = event["item"]["id"]
            if step == "added":
                assert id not in seen
                assert len(seen) == index
                items[index] = id
                seen.add(id)
            else:
                assert items.pop(index) == id
            continue
        assert items[index] == event["item_id"]
        if kind in ("content_part", "reasoning_summary_part"):
            assert (step == "added") is (part not in texts)
            texts.setdefault(part, "")
        elif step == "delta":
            assert kind == "function_call_arguments" or part in texts
            texts[part] = texts.get(part, "") + event["delta"]
        else:
            assert texts[part] == event.get("text", event.get("refusal", event.get("arguments")))
    assert not items


def any_chunks(seed: int) -> list[Chunk]:
    """Return chunks of any kind in any order, of up to three rounds."""
    at = random.Random(seed)
    chunks: list[Chunk] = []
    for round in range(at.randrange(1, 4)):
        chunks += [_any_chunk(at, round) for _ in range(at.randrange(15))]
    reason = at.choice([None, "stop", "length", "tool_calls", "other"])
    return [*chunks, Chunk("done", finish_reason=reason, round=chunks[-1].round)] if reason and chunks else chunks


def _any_chunk(at: random.Random, round: int) -> Chunk:
    kind = at.choice(["text", "text", "reasoning", "refusal", "tool_call", "tool_call", "tool_approval", "tool_result"])
    fields: dict[str, Any] = {"round": round, "index": at.choice([0, 0, 0, 0, 1])}
    if at.random() < 0.2:
        thought = {"type": "reasoning", "id": f"r{at.random()}", "encrypted_content": "gAAA", "summary": []}
        fields["provider_data"] = ({"openai-responses": thought},)
    if at.random() < 0.1:
        fields["usage"] = Usage(at.randrange(9), at.randrange(9))
    if kind in ("text", "reasoning", "refusal"):
        return Chunk(kind, **{kind: at.choice(TEXTS)}, **fields)  # type: ignore[arg-type]
    if kind == "tool_result":
        return Chunk("tool_result", tool_result=ToolResult("c", "w", "1"), **fields)
    index = at.randrange(3)
    delta = ToolCallDelta(index, at.choice([f"c{round}{index}", "same", ""]), "w", at.choice(PIECES))
    return Chunk(kind, tool_call=delta, **fields)  # type: ignore[arg-type]
