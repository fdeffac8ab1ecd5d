"""The same reply in every wire format, for code that is to be tested against a provider without its key.

    with Server(reply_in("anthropic", "Hello world")) as server:
        client = Client([providers.Anthropic(api_key="", base_url=server.url)])

What is sent has the events, in the order and the framing, that the provider really sends.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import attrs

from streamkit.testing.openai_events import DONE, chunk_event, split_tokens, sse_event, to_json
from streamkit.testing.reply import Reply
from streamkit.testing.steps import Send

__all__ = ["FORMATS", "aws_frame", "error_in", "reply_in"]

Finish = Literal["stop", "length", "tool_calls", "content_filter"]


@attrs.frozen
class _Said:
    text: list[str]
    reasoning: list[str]
    calls: list[tuple[str, str, str]]  # id, name, arguments as JSON
    finish: Finish
    given: int
    made: int
    error: str | None


def reply_in(
    format: str,
    text: str = "",
    *,
    reasoning: str = "",
    tool_calls: Sequence[tuple[str, Mapping[str, Any]]] = (),
    finish_reason: Finish | None = None,
    usage: tuple[int, int] = (7, 11),
    error: str | None = None,
) -> Reply:
    """Return a stream in a format: reasoning, then text, both word by word, then tool calls, then the end.

    Args:
        format: one of ``FORMATS``.
        text, reasoning: the answer and what comes before it.
        tool_calls: name and arguments of each; their ids are ``call_1`` and so on, where the format has ids.
        finish_reason: by default ``tool_calls`` after tool calls, and ``stop`` otherwise.
        usage: tokens in and out.
        error: a message; the stream fails with it in place of its end.

    Raises:
        ValueError: there is no such format, or it has no word for something.
    """
    _check_format(format)
    write, content_type = FORMATS[format]
    calls = [(f"call_{number}", name, to_json(dict(given))) for number, (name, given) in enumerate(tool_calls, 1)]
    finish = finish_reason or ("tool_calls" if calls else "stop")
    if format == "openai-completions" and (reasoning or calls):
        raise ValueError("openai-completions has neither reasoning nor tool calls; leave them out")
    _check_finish(format, finish)
    said = _Said(split_tokens(text), split_tokens(reasoning), calls, finish, *usage, error)
    return Reply([Send(data) for data in write(said)], content_type=content_type)


def error_in(format: str, message: str, *, status: int = 400, type: str = "invalid_request_error") -> Reply:
    """Return the refusal of a request as a provider of this format words it.

    Raises:
        ValueError: there is no such format.
    """
    _check_format(format)
    bodies: dict[str, Any] = {
        "anthropic": {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_test"},
        "gemini": {"error": {"code": status, "message": message, "status": type}},
        "gemini-interactions": {"error": {"code": type, "message": message}},
        "cohere": {"id": "test", "message": message},
        "mistral": {"object": "error", "message": message, "type": type, "param": None, "code": "1000"},
        "ollama": {"error": message},
        "bedrock": {"message": message},
    }
    body = bodies.get(format, {"error": {"message": message, "type": type, "param": None, "code": None}})
    return Reply([Send(to_json(body))], status=status, content_type="application/json")


def _check_format(format: str) -> None:
    if format not in FORMATS:
        raise ValueError(
            f"format is one of {', '.join(FORMATS)}, not {format!r}; azure, and services such as groq, speak openai"
        )


def _check_finish(format: str, finish: str) -> None:
    known = [reason for reason in get_args(Finish) if reason not in _NO_FINISH.get(format, ())]
    if finish not in known:
        raise ValueError(f"finish_reason in {format} is one of {', '.join(known)}, not {finish!r}")


def _openai(said: _Said) -> Iterator[bytes]:
    yield chunk_event("", role="assistant")
    for thought in said.reasoning:
        yield chunk_event(reasoning_content=thought)
    for piece in said.text:
        yield chunk_event(piece)
    for index, (id, name, arguments) in enumerate(said.calls):
        function = {"name": name, "arguments": arguments}
        yield chunk_event(tool_calls=[{"index": index, "id": id, "type": "function", "function": function}])
    if said.error is not None:
        yield sse_event({"error": {"message": said.error, "type": "server_error", "param": None, "code": None}})
        return
    yield chunk_event(finish_reason=said.finish)
    counts = {"prompt_tokens": said.given, "completion_tokens": said.made, "total_tokens": said.given + said.made}
    yield chunk_event(usage=counts)
    yield DONE


def _mistral(said: _Said) -> Iterator[bytes]:
    def event(delta: Mapping[str, Any], **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": more.pop("finish_reason", None)}
        head = {"id": "cmpl-test", "object": "chat.completion.chunk", "created": 1763673600, "model": "mistral-test"}
        return sse_event({**head, "choices": [choice], **more})

    yield event({"role": "assistant", "content": ""})
    for thought in said.reasoning:
        yield event({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}]})
    for piece in said.text:
        yield event({"content": piece})
    for id, name, arguments in said.calls:
        yield event({"content": "", "tool_calls": [{"id": id, "function": {"name": name, "arguments": arguments}}]})
    if said.error is not None:
        yield sse_event({"object": "error", "message": said.error, "type": "server_error", "code": "3000"})
        return
    counts = {"prompt_tokens": said.given, "completion_tokens": said.made, "total_tokens": said.given + said.made}
    yield event({"content": ""}, finish_reason=said.finish, usage=counts)
    yield DONE


def _completions(said: _Said) -> Iterator[bytes]:
    def event(text: str, finish: str | None = None) -> bytes:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
        return sse_event({"id": "cmpl-test", "object": "text_completion", "model": "test", "choices": [choice]})

    for piece in said.text:
        yield event(piece)
    if said.error is not None:
        yield sse_event({"error": {"message": said.error, "type": "server_error"}})
        return
    yield event("", said.finish)
    counts = {"prompt_tokens": said.given, "completion_tokens": said.made, "total_tokens": said.given + said.made}
    yield sse_event({"id": "cmpl-test", "object": "text_completion", "choices": [], "usage": counts})
    yield DONE


def _anthropic(said: _Said) -> Iterator[bytes]:
    def event(type: str, **fields: Any) -> bytes:
        return sse_event({"type": type, **fields}, event=type)

    def block(index: int, start: Mapping[str, Any], deltas: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
        yield event("content_block_start", index=index, content_block=start)
        for delta in deltas:
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)

    counts = {"input_tokens": said.given, "output_tokens": 1}
    head = {"id": "msg_test", "type": "message", "role": "assistant", "model": "claude-test", "content": []}
    yield event("message_start", message={**head, "stop_reason": None, "stop_sequence": None, "usage": counts})
    yield event("ping")
    index = 0
    if said.reasoning:
        thoughts = [{"type": "thinking_delta", "thinking": thought} for thought in said.reasoning]
        signature = {"type": "signature_delta", "signature": "c2lnbmVk"}
        yield from block(index, {"type": "thinking", "thinking": "", "signature": ""}, [*thoughts, signature])
        index += 1
    if said.text:
        deltas = [{"type": "text_delta", "text": piece} for piece in said.text]
        yield from block(index, {"type": "text", "text": ""}, deltas)
        index += 1
    for id, name, arguments in said.calls:
        start = {"type": "tool_use", "id": id, "name": name, "input": {}}
        yield from block(index, start, [{"type": "input_json_delta", "partial_json": arguments}])
        index += 1
    if said.error is not None:
        yield event("error", error={"type": "api_error", "message": said.error})
        return
    words = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
    ending = {"stop_reason": words[said.finish], "stop_sequence": None}
    yield event("message_delta", delta=ending, usage={"output_tokens": said.made})
    yield event("message_stop")


def _gemini(said: _Said) -> Iterator[bytes]:
    def event(parts: Sequence[Mapping[str, Any]], finish: str | None = None) -> bytes:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
        if finish is not None:
            candidate["finishReason"] = finish
        total = said.given + said.made
        counts = {"promptTokenCount": said.given, "candidatesTokenCount": said.made, "totalTokenCount": total}
        head = {"modelVersion": "gemini-test", "responseId": "response-test"}
        return sse_event({"candidates": [candidate], "usageMetadata": counts, **head}).replace(b"\n", b"\r\n")

    for thought in said.reasoning:
        yield event([{"text": thought, "thought": True}])
    for piece in said.text:
        yield event([{"text": piece}])
    for _, name, arguments in said.calls:
        yield event([{"functionCall": {"name": name, "args": json.loads(arguments)}}])
    if said.error is not None:
        failure = {"code": 500, "message": said.error, "status": "INTERNAL"}
        yield sse_event({"error": failure}).replace(b"\n", b"\r\n")
        return
    words = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
    yield event([{"text": ""}], words[said.finish])


def _responses(said: _Said) -> Iterator[bytes]:
    number = iter(range(1_000_000))

    def event(type: str, **fields: Any) -> bytes:
        return sse_event({"type": type, "sequence_number": next(number), **fields}, event=type)

    head: dict[str, Any] = {"id": "resp_test", "object": "response", "model": "gpt-test", "status": "in_progress"}
    yield event("response.created", response={**head, "output": []})
    output: list[dict[str, Any]] = []

    def item(whole: dict[str, Any], empty: Mapping[str, Any], steps: Sequence[tuple[str, dict[str, Any]]]) -> Any:
        place = len(output)
        yield event("response.output_item.added", output_index=place, item={**whole, **empty})
        for type, fields in steps:
            yield event(type, output_index=place, item_id=whole["id"], **fields)
        yield event("response.output_item.done", output_index=place, item=whole)
        output.append(whole)

    if said.reasoning:
        whole = "".join(said.reasoning)
        summary = [{"type": "summary_text", "text": whole}]
        thoughts: list[tuple[str, dict[str, Any]]] = [
            ("response.reasoning_summary_text.delta", {"summary_index": 0, "delta": thought})
            for thought in said.reasoning
        ]
        yield from item({"id": "rs_test", "type": "reasoning", "summary": summary}, {"summary": []}, thoughts)
    if said.text:
        content = [{"type": "output_text", "text": "".join(said.text), "annotations": []}]
        part: dict[str, Any] = {"content_index": 0, "part": {**content[0], "text": ""}}
        deltas: list[tuple[str, dict[str, Any]]] = [
            ("response.content_part.added", part),
            *(("response.output_text.delta", {"content_index": 0, "delta": piece}) for piece in said.text),
            ("response.output_text.done", {"content_index": 0, "text": content[0]["text"]}),
            ("response.content_part.done", {"content_index": 0, "part": content[0]}),
        ]
        message = {"id": "msg_test", "type": "message", "role": "assistant", "content": content}
        yield from item(message, {"content": []}, deltas)
    for id, name, arguments in said.calls:
        call = {"id": f"fc_{id}", "type": "function_call", "call_id": id, "name": name, "arguments": arguments}
        steps = [("response.function_call_arguments.delta", {"delta": arguments})]
        yield from item(call, {"arguments": ""}, steps)
    if said.error is not None:
        failure = {"code": "server_error", "message": said.error}
        yield event("response.failed", response={**head, "status": "failed", "error": failure, "output": output})
        return
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    why = reasons.get(said.finish)
    status = "incomplete" if why else "completed"
    total = said.given + said.made
    counts = {"input_tokens": said.given, "output_tokens": said.made, "total_tokens": total}
    ended = {**head, "status": status, "output": output, "usage": counts, "error": None}
    yield event(f"response.{status}", response={**ended, "incomplete_details": {"reason": why} if why else None})


def _cohere(said: _Said) -> Iterator[bytes]:
    def event(type: str, message: Mapping[str, Any] | None = None, **fields: Any) -> bytes:
        delta = {} if message is None else {"delta": {"message": message}}
        return sse_event({"type": type, **fields, **delta}, event=type)

    yield event("message-start", {"role": "assistant", "content": [], "tool_calls": []}, id="cohere-test")
    index = 0
    for field, pieces in (("thinking", said.reasoning), ("text", said.text)):
        if pieces:
            yield event("content-start", {"content": {"type": field, field: ""}}, index=index)
            for piece in pieces:
                yield event("content-delta", {"content": {field: piece}}, index=index)
            yield event("content-end", index=index)
            index += 1
    for which, (id, name, arguments) in enumerate(said.calls):
        function = {"name": name, "arguments": ""}
        yield event(
            "tool-call-start", {"tool_calls": {"id": id, "type": "function", "function": function}}, index=which
        )
        yield event("tool-call-delta", {"tool_calls": {"function": {"arguments": arguments}}}, index=which)
        yield event("tool-call-end", index=which)
    words = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL", "content_filter": "ERROR_TOXIC"}
    ending: dict[str, Any] = {"finish_reason": words[said.finish]}
    if said.error is not None:
        ending = {"finish_reason": "ERROR", "error": said.error}
    counts = {"input_tokens": said.given, "output_tokens": said.made}
    yield event("message-end", delta={**ending, "usage": {"billed_units": counts, "tokens": counts}})


def _ollama(said: _Said) -> Iterator[bytes]:
    def line(**fields: Any) -> bytes:
        head = {"model": "test", "created_at": "2026-01-01T00:00:00Z"}
        return to_json({**head, **fields}).encode() + b"\n"

    for thought in said.reasoning:
        yield line(message={"role": "assistant", "content": "", "thinking": thought}, done=False)
    for piece in said.text:
        yield line(message={"role": "assistant", "content": piece}, done=False)
    for _, name, arguments in said.calls:
        calls = [{"function": {"name": name, "arguments": json.loads(arguments)}}]
        yield line(message={"role": "assistant", "content": "", "tool_calls": calls}, done=False)
    if said.error is not None:
        yield to_json({"error": said.error}).encode() + b"\n"
        return
    reason = "length" if said.finish == "length" else "stop"
    counts = {"prompt_eval_count": said.given, "eval_count": said.made}
    yield line(message={"role": "assistant", "content": ""}, done=True, done_reason=reason, **counts)


def _interactions(said: _Said) -> Iterator[bytes]:
    def event(type: str, **fields: Any) -> bytes:
        return sse_event({**fields, "event_type": type}, event=type)

    def step(index: int, start: Mapping[str, Any], deltas: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
        yield event("step.start", index=index, step=start)
        for delta in deltas:
            yield event("step.delta", index=index, delta=delta)
        yield event("step.stop", index=index)

    head = {"id": "v1_test", "object": "interaction", "model": "gemini-test"}
    yield event("interaction.created", interaction={**head, "status": "in_progress"})
    index = 0
    if said.reasoning:
        thoughts = [{"type": "thought_summary", "content": {"type": "text", "text": t}} for t in said.reasoning]
        yield from step(index, {"type": "thought"}, thoughts)
        index += 1
    if said.text:
        yield from step(index, {"type": "model_output"}, [{"type": "text", "text": piece} for piece in said.text])
        index += 1
    for id, name, arguments in said.calls:
        start = {"type": "function_call", "id": id, "name": name, "arguments": {}}
        yield from step(index, start, [{"type": "arguments_delta", "arguments": arguments}])
        index += 1
    if said.error is not None:
        yield event("error", error={"code": "internal", "message": said.error})
        return
    words = {"stop": "completed", "length": "incomplete", "tool_calls": "requires_action"}
    total = said.given + said.made
    counts = {"total_input_tokens": said.given, "total_output_tokens": said.made, "total_tokens": total}
    yield event("interaction.completed", interaction={**head, "status": words[said.finish], "usage": counts})
    yield sse_event("[DONE]", event="done")


def aws_frame(event: str, payload: Mapping[str, Any], *, exception: bool = False) -> bytes:
    """Return one binary frame of AWS's event streams, with its checksums.

    Source: https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html, read 2026-11-21.
    """
    kind, name = ("exception", ":exception-type") if exception else ("event", ":event-type")
    headers = b""
    for key, value in ((name, event), (":content-type", "application/json"), (":message-type", kind)):
        headers += struct.pack(">B", len(key)) + key.encode() + struct.pack(">BH", 7, len(value)) + value.encode()
    body = to_json(payload).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    frame = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return frame + struct.pack(">I", zlib.crc32(frame))


def _bedrock(said: _Said) -> Iterator[bytes]:
    def block(index: int, start: Mapping[str, Any] | None, deltas: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
        if start is not None:
            yield aws_frame("contentBlockStart", {"contentBlockIndex": index, "start": start})
        for delta in deltas:
            yield aws_frame("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})
        yield aws_frame("contentBlockStop", {"contentBlockIndex": index})

    yield aws_frame("messageStart", {"role": "assistant"})
    index = 0
    for pieces in ([{"reasoningContent": {"text": t}} for t in said.reasoning], [{"text": t} for t in said.text]):
        if pieces:
            yield from block(index, None, pieces)
            index += 1
    for id, name, arguments in said.calls:
        start = {"toolUse": {"toolUseId": id, "name": name}}
        yield from block(index, start, [{"toolUse": {"input": arguments}}])
        index += 1
    if said.error is not None:
        yield aws_frame("internalServerException", {"message": said.error}, exception=True)
        return
    words = {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "content_filter": "content_filtered",
    }
    yield aws_frame("messageStop", {"stopReason": words[said.finish]})
    total = said.given + said.made
    counts = {"inputTokens": said.given, "outputTokens": said.made, "totalTokens": total}
    yield aws_frame("metadata", {"metrics": {"latencyMs": 1}, "usage": counts})


_SSE = "text/event-stream"

#: What writes each format, and its media type, by the name of its provider.
FORMATS: dict[str, tuple[Callable[[_Said], Iterator[bytes]], str]] = {
    "openai": (_openai, _SSE),
    "openai-responses": (_responses, _SSE),
    "openai-completions": (_completions, _SSE),
    "anthropic": (_anthropic, _SSE),
    "bedrock": (_bedrock, "application/vnd.amazon.eventstream"),
    "gemini": (_gemini, _SSE),
    "gemini-interactions": (_interactions, _SSE),
    "cohere": (_cohere, _SSE),
    "mistral": (_mistral, _SSE),
    "ollama": (_ollama, "application/x-ndjson"),
}

# The reasons that a format has no word for.
_NO_FINISH: dict[str, tuple[Finish, ...]] = {
    "openai-completions": ("tool_calls",),
    "gemini-interactions": ("content_filter",),
    "ollama": ("content_filter",),
}
