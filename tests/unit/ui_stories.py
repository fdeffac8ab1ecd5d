"""The recorded stories of tests/ui_stream as the chunks of a stream or a run, and as the bytes of a format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from streamkit import Chunk, Completion, ToolCallDelta, ToolResult, TruncatedStreamError, Usage
from streamkit.values.chunks import FinishReason
from streamkit.web.formats import UiFormat

DATA = Path(__file__).parents[1] / "ui_stream"
STREAMS = DATA / "streams"
STORIES = sorted(path.name[:-5] for path in STREAMS.glob("*.json") if path.name.count(".") == 1)

#: Chunks have neither several blocks open at once nor citations; a program that has them writes them part by part.
AS_PARTS = ("15-interleaved-blocks", "37-citations")


def story_of(name: str) -> dict[str, Any]:
    return json.loads((STREAMS / f"{name}.json").read_text("utf-8"))


def wanted(name: str, id: str = "msg-server-1") -> bytes:
    """Return the recorded bytes, without comments, and with the message's id where the recording has none."""
    raw = (STREAMS / f"{name}.sse").read_bytes()
    raw = raw.replace(b'{"type":"start"', b'{"type":"start","messageId":"%b"' % id.encode())
    raw = raw.replace(b'"%b","messageId":"' % id.encode(), b'"').replace(b'"msg-generated"', b'"%b"' % id.encode())
    return b"".join(event + b"\n\n" for event in raw.split(b"\n\n") if event and not event.startswith(b":"))


def parts_of(data: bytes) -> list[Any]:
    events = [event for event in data.decode("utf-8").split("\n\n") if event]
    assert events.pop() == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events]


def chunks_of(story: Mapping[str, Any]) -> Iterator[Chunk]:
    """Yield what a stream or a run gives of a story, up to its `done` chunk, or to where it is broken off."""
    names = {event["id"]: event["name"] for step in story["steps"] for event in step if event["event"] == "tool_call"}
    for event in story.get("before", ()):
        yield _result_chunk(event, names, 0)
    done: Chunk | None = None
    for round, step in enumerate(story["steps"], 1 if story.get("before") else 0):
        waiting = []
        for event in step:
            kind = event["event"]
            if kind in ("error", "abort"):
                return  # here the stream is broken off
            if kind == "finish":
                done = _done_chunk(event, round)
            elif kind == "approval_request":
                delta = ToolCallDelta(0, event["call"], names[event["call"]])
                waiting.append(Chunk("tool_approval", tool_call=delta, round=round))
            elif kind in ("tool_result", "tool_error", "tool_denied"):
                yield _result_chunk(event, names, round)
            else:
                yield from _model_chunks(event, round)
        yield from waiting
        yield from _unknown_tools(step, story, round)
    if done is not None:
        yield done


def _model_chunks(event: Mapping[str, Any], round: int) -> Iterator[Chunk]:
    kind = event["event"]
    if kind in ("text", "reasoning"):
        data = tuple({name: value} for name, value in event.get("provider_metadata", {}).items())
        yield Chunk(kind, round=round, provider_data=data, **{kind: event["text"]})
    elif kind == "tool_call":
        whole = json.dumps(event["input"]) if event["fragments"] is None else ""
        yield Chunk("tool_call", tool_call=ToolCallDelta(0, event["id"], event["name"], whole), round=round)
        for fragment in event["fragments"] or ():
            yield Chunk("tool_call", tool_call=ToolCallDelta(0, arguments=fragment), round=round)


def _done_chunk(event: Mapping[str, Any], round: int) -> Chunk:
    reason = event["reason"].replace("-", "_")
    known = reason if reason in get_args(FinishReason) else "other"
    return Chunk("done", finish_reason=known, raw_finish_reason=event["raw"], usage=_usage(event["usage"]), round=round)


def _unknown_tools(step: list[dict[str, Any]], story: Mapping[str, Any], round: int) -> Iterator[Chunk]:
    """Yield what a run answers to calls of tools that there are not."""
    for event in step:
        if event["event"] == "tool_call" and event["name"] not in story["tools"]:
            text = (
                f"AI_NoSuchToolError: Model tried to call unavailable tool '{event['name']}'. Available tools: weather."
            )
            result = ToolResult(event["id"], event["name"], text, "unknown tool", state="not begun")
            yield Chunk("tool_result", tool_result=result, round=round)


def _result_chunk(event: Mapping[str, Any], names: Mapping[str, str], round: int) -> Chunk:
    id = event["id"]
    name = names.get(id, "remove")
    if event["event"] == "tool_denied":
        result = ToolResult(id, name, "Not approved. The function was not called.", "not approved", state="not begun")
    elif event["event"] == "tool_error":
        result = ToolResult(id, name, f"Error: {event['message']}", "exception")
    else:
        value = event["output"]
        text = value if isinstance(value, str) else json.dumps(value)
        result = ToolResult(id, name, text, preliminary=bool(event.get("preliminary")), value=value)
    return Chunk("tool_result", tool_result=result, round=round)


def _usage(shape: Mapping[str, int]) -> Usage:
    return Usage(
        shape["input_tokens"],
        shape["output_tokens"],
        cached_tokens=shape["cached_tokens"],
        reasoning_tokens=shape["reasoning_tokens"],
    )


def encoded(name: str, id: str = "msg-server-1") -> bytes:
    """Return what `UiFormat` makes of a story."""
    story = story_of(name)
    options = story.get("options", {})
    if "writer" in story or name in AS_PARTS:
        made = UiFormat()
        parts = (
            story["writer"] if "writer" in story else [{"type": "start", "messageId": id}, *parts_of(wanted(name))[1:]]
        )
        written = [made.part(_named(part, id)) for part in parts if part != "THROW"]
        last = made.end("error", RuntimeError("thrown")) if "THROW" in parts else b"data: [DONE]\n\n"
        return b"".join(written) + last
    events = [event for step in story["steps"] for event in step]
    made = UiFormat(
        reasoning=options.get("sendReasoning", True),
        provider_metadata=True,
        dynamic_tools=[name for name, kind in story.get("tools", {}).items() if kind == "dynamic"],
        show_errors=options.get("showErrors", False),
    )
    metadata = {"model": "mock", "createdAt": 0} if options.get("metadata") else None
    data = made.begin(options.get("messageId", id), metadata=metadata)
    ours = [event for event in events if event["event"] in ("source_url", "source_document", "file")]
    at = [index for index, event in enumerate(events) if event in ours]
    own = [lambda event=event: made.part(_own_part(event)) for event in ours]
    chunks = [lambda chunk=chunk: made.encode(chunk) for chunk in chunks_of(story)]
    last = [chunks.pop()] if ours else []
    order = [*own, *chunks, *last] if at and at[0] == 0 else [*chunks, *own, *last]
    data += b"".join(write() for write in order)
    abort = next((event for event in events if event["event"] == "abort"), None)
    error = next((event for event in events if event["event"] == "error"), None)
    if abort is not None:
        return data + made.end("cancelled", reason=abort["reason"])
    if error is not None:
        return data + made.end("error", TruncatedStreamError(error["message"]))
    completion = Completion(usage=_usage(events[-1]["usage"])) if options.get("metadata") else None
    return data + made.end("complete", completion=completion)


def _named(part: Mapping[str, Any], id: str) -> Mapping[str, Any]:
    return {"type": "start", "messageId": id, **part} if part["type"] == "start" else part


def _own_part(event: Mapping[str, Any]) -> dict[str, Any]:
    if event["event"] == "file":
        url = f"data:{event['media_type']};base64,{event['base64']}"
        return {"type": "file", "mediaType": event["media_type"], "url": url}
    if event["event"] == "source_url":
        title = {"title": event["title"]} if "title" in event else {}
        return {"type": "source-url", "sourceId": event["id"], "url": event["url"], **title}
    named = {"mediaType": event["media_type"], "title": event["title"], "filename": event["filename"]}
    return {"type": "source-document", "sourceId": event["id"], **named}
