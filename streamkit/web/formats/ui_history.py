"""Messages that were kept, as ``useChat`` has them: the same ones that it makes of their streams."""

from __future__ import annotations

import mimetypes
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from streamkit.values.chunks import Chunk, ToolCallDelta, ToolResult, Usage
from streamkit.values.messages import FilePart, ImagePart, Message, TextPart, ToolCall
from streamkit.web.formats.growing_calls import output_of
from streamkit.web.formats.ui import DENIED, approval_id, ui_usage

__all__ = ["assistant_ui_message", "chunks_of", "reply_metadata", "user_ui_message"]


def user_ui_message(id: str, message: Message, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a question as a ``UIMessage``.

    Args:
        id: of the message.
        message: of the user.
        metadata: JSON types.
    """
    content = message.content
    given = [TextPart(content)] if isinstance(content, str) else content or ()
    return _ui_message(id, "user", [_user_part(part) for part in given], metadata)


def _ui_message(id: str, role: str, parts: list[dict[str, Any]], metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    shape: dict[str, Any] = {"id": id, "role": role}
    if metadata:
        shape["metadata"] = dict(metadata)
    return {**shape, "parts": parts}


def _user_part(part: TextPart | ImagePart | FilePart | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, (ImagePart, FilePart)):
        name = part.filename if isinstance(part, FilePart) else None
        file = {"type": "file", "mediaType": _media_type(part), "url": part.url}
        return file if name is None else {**file, "filename": name}
    return {"type": "text", "text": str(part.get("text") or f"[{part.get('type', 'a part')}]")}


def _media_type(part: ImagePart | FilePart) -> str:
    if part.url[:5].lower() == "data:":
        return part.url[5:].partition(",")[0].partition(";")[0]
    name = part.filename if isinstance(part, FilePart) and part.filename else part.url.partition("?")[0]
    usual = "image/*" if isinstance(part, ImagePart) else "application/octet-stream"
    return mimetypes.guess_type(name)[0] or usual


def assistant_ui_message(
    id: str,
    answer: Sequence[Message],
    *,
    reasoning: Sequence[str] = (),
    calls: Mapping[str, str] | None = None,
    waiting: Collection[str] = (),
    browser_tools: Collection[str] = (),
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return an answer as a ``UIMessage``.

    Args:
        id: of the message.
        answer: the replies, each with the results of its calls behind it.
        reasoning: of each reply, "" for none.
        calls: what is known of calls by id: ``asked``, ``approved``, or what went wrong.
        waiting: the ids of calls that wait for a decision or a result.
        browser_tools: names of tools that the browser carries out.
        metadata: JSON types.
    """
    parts: list[dict[str, Any]] = []
    for step in _steps(answer, reasoning):
        parts.append({"type": "step-start"})
        if step.reasoning:
            parts.append({"type": "reasoning", "id": "r0", "text": step.reasoning, "state": "done"})
        if step.text:
            parts.append({"type": "text", "text": step.text, "state": "done"})
        for call in step.calls:
            result = None if call.id in waiting else step.results.get(call.id)
            parts.append(_call_part(call, result, (calls or {}).get(call.id, ""), call.name in browser_tools))
    return _ui_message(id, "assistant", parts, metadata)


def _call_part(call: ToolCall, result: Message | None, known: str, in_browser: bool) -> dict[str, Any]:
    part: dict[str, Any] = {"type": f"tool-{call.name}", "toolCallId": call.id, "state": "", "input": _input_of(call)}
    approval = {"id": approval_id(call.id)}
    if result is None:
        if in_browser:
            return {**part, "state": "input-available"}
        return {**part, "state": "approval-requested", "approval": approval}
    text = _text_of(result)
    if known == "not approved":
        found = DENIED.match(text)
        reason = found["reason"] if found else None
        denied = {**approval, "approved": False, **({"reason": reason} if reason else {})}
        return {**part, "state": "output-denied", "approval": denied}
    if known not in ("", "asked", "approved"):
        return {**part, "state": "output-error", "errorText": text}
    if known == "approved":
        part["approval"] = {**approval, "approved": True}
    return {**part, "state": "output-available", "output": output_of(_result_of(call, result))}


def _input_of(call: ToolCall) -> Any:
    return call.raw_arguments if call.arguments is None else call.arguments


def _text_of(result: Message) -> str:
    content = result.content
    if isinstance(content, str) or content is None:
        return content or ""
    texts = (part.text if isinstance(part, TextPart) else part.get("text", "") for part in _readable(content))
    return "\n".join(text for text in texts if isinstance(text, str) and text)


def _readable(content: Sequence[Any]) -> list[Any]:
    return [part for part in content if isinstance(part, (TextPart, Mapping))]


def _result_of(call: ToolCall, result: Message, error: str | None = None) -> ToolResult:
    content = result.content
    parts: tuple[Mapping[str, Any], ...] = ()
    if content is not None and not isinstance(content, str):
        shapes = [part if isinstance(part, Mapping) else part.to_dict() for part in content]
        parts = tuple(shapes) if any(shape.get("type") != "text" for shape in shapes) else ()
    return ToolResult(call.id, call.name, _text_of(result), error, parts=parts)


# -- steps -----------------------------------------------------------------------------------------------


class _Step:
    """One reply of an answer, and the results of its calls."""

    def __init__(self, number: int, message: Message, reasoning: str) -> None:
        self.number = number
        self.reasoning = reasoning
        self.text = _text_of(message)
        self.calls = message.tool_calls
        self.results: dict[str, Message] = {}


def _steps(answer: Sequence[Message], reasoning: Sequence[str]) -> list[_Step]:
    steps: list[_Step] = []
    for message in answer:
        if message.role == "assistant":
            number = len(steps)
            steps.append(_Step(number, message, reasoning[number] if number < len(reasoning) else ""))
        elif message.role == "tool" and steps and message.tool_call_id is not None:
            steps[-1].results[message.tool_call_id] = message
    return steps


def chunks_of(
    answer: Sequence[Message],
    *,
    reasoning: Sequence[str] = (),
    calls: Mapping[str, str] | None = None,
    waiting: Collection[str] = (),
) -> Iterator[Chunk]:
    """Yield the chunks of an answer that was suspended, so that a stream that goes on with it is whole.

    Args:
        answer: as in ``assistant_ui_message``, and so are the others.
        reasoning: of each reply.
        calls: what is known of calls.
        waiting: the ids of calls that wait.
    """
    known = calls or {}
    for step in _steps(answer, reasoning):
        if step.reasoning:
            yield Chunk("reasoning", reasoning=step.reasoning, round=step.number)
        if step.text:
            yield Chunk("text", step.text, round=step.number)
        for index, call in zip(count(), step.calls):
            delta = ToolCallDelta(index, call.id, call.name, call.raw_arguments)
            yield Chunk("tool_call", tool_call=delta, round=step.number)
            if call.id in waiting:
                yield Chunk("tool_approval", tool_call=delta, round=step.number)
            elif call.id in step.results:
                word = known.get(call.id, "")
                error = None if word in ("", "asked", "approved") else word
                result = _result_of(call, step.results[call.id], error)
                yield Chunk("tool_result", tool_result=result, round=step.number)


def reply_metadata(
    *,
    model: str = "",
    created: float = 0.0,
    usage: Usage | None = None,
    time_to_first_token: float | None = None,
    state: str = "",
    error: str = "",
) -> dict[str, Any]:
    """Return the metadata of a reply, in the same words as its stream.

    Args:
        model: that was asked.
        created: when the question was asked, in seconds since 1970; 0.0 if unknown.
        usage: of all requests.
        time_to_first_token: in seconds.
        state: of a turn that is not whole: ``partial`` or ``failed``.
        error: what the client is told of why.
    """
    told: dict[str, Any] = {}
    if model:
        told["model"] = model
    if created:
        told["createdAt"] = int(created)
    if usage is not None and (shape := ui_usage(usage)):
        told["usage"] = shape
    if time_to_first_token is not None:
        told["timeToFirstTokenMs"] = round(time_to_first_token * 1000)
    if state:
        told["state"] = state
    if error:
        told["error"] = error
    return told
