"""Read what ``useChat`` and ``useCompletion`` of the AI SDK send, of versions 4 to 7.

Source: recorded with the npm package @ai-sdk/react 4.0.177, 2026-11-26; version 4 by its documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from streamkit.errors import RequestError
from streamkit.tools.decisions import Answered, Approved, Decision, Rejected
from streamkit.values.messages import FilePart, ImagePart, Message, TextPart, ToolCall
from streamkit.web.formats.json_bytes import json_bytes
from streamkit.web.formats.requests.prompt_request import prompt_request
from streamkit.web.formats.requests.request import (
    Limits,
    WebRequest,
    body_of,
    list_of,
    mapping_of,
    text_in,
)

__all__ = ["read_ui_request"]

Content = TextPart | ImagePart | FilePart

_OWN = ("id", "message", "messages", "trigger", "messageId")
_TRIGGERS: dict[str, Literal["submit", "regenerate"]] = {
    "submit-message": "submit",
    "regenerate-message": "regenerate",
}
_ADDRESS = re.compile(r"(?:https?://|data:)", re.IGNORECASE)
_DATA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+\Z")
_UNANSWERED = "Not called: the conversation went on without this call."


def read_ui_request(body: bytes | str | Mapping[str, Any], limits: Limits, *, allow_system: bool = False) -> WebRequest:
    """Return the request.

    Raises:
        RequestError: it cannot be taken.
    """
    shape = body_of(body, limits)
    if "messages" not in shape and "message" not in shape and "prompt" in shape:
        return prompt_request(shape, limits)
    return _Reading(limits, allow_system).request(shape)


class _Reading:
    """Reads one body; it counts what the whole body may have so many of."""

    def __init__(self, limits: Limits, allow_system: bool) -> None:
        self._limits = limits
        self._allow_system = allow_system
        self._files = 0

    def request(self, shape: Mapping[str, Any]) -> WebRequest:
        limits = self._limits
        id = text_in(shape, "id", "", limits.id, "")
        named = text_in(shape, "messageId", "", limits.id, "")
        asked = text_in(shape, "trigger", "", limits.id, "submit-message")
        if asked not in _TRIGGERS:
            raise RequestError("trigger is neither submit-message nor regenerate-message")
        trigger = _TRIGGERS[asked]
        if "messages" in shape:
            given, where = list_of(shape["messages"], "messages", limits.messages), "messages[{}]"
        elif "message" in shape:
            given, where = [shape["message"]], "message"
        else:
            raise RequestError("messages is missing")
        if not given:
            raise RequestError("messages is empty")
        shapes = [mapping_of(each, where.format(at)) for at, each in enumerate(given)]
        messages: list[Message] = []
        for at, each in enumerate(shapes):
            messages += self._messages(each, where.format(at), last=at == len(shapes) - 1)
        last = shapes[-1]
        last_id = text_in(last, "id", where.format(len(shapes) - 1), limits.id, "")
        from_user = last.get("role") == "user"
        submits = trigger == "submit"
        new = messages[-1] if from_user and submits and messages else None
        return WebRequest(
            id,
            tuple(messages),
            new,
            last_id if new is not None else "",
            last_id if last.get("role") == "assistant" and submits else "",
            trigger,
            named if not submits or (from_user and named) else "",
            {} if from_user else self._decisions(last),
            extra={name: value for name, value in shape.items() if name not in _OWN},
        )

    # -- messages ----------------------------------------------------------------------------------------

    def _messages(self, shape: Mapping[str, Any], where: str, *, last: bool) -> list[Message]:
        """Return the messages for one of the client's: an assistant's has a message for each of its steps."""
        role = shape.get("role")
        parts = self._parts(shape, where)
        if role == "assistant":
            return self._assistant(parts, where, last)
        if role == "user":
            content = self._content(parts)
            if content is None and last:
                raise RequestError(f"{where} has neither text nor a file")
            return [] if content is None else [Message("user", content)]
        if role in ("system", "developer"):
            if not self._allow_system:
                raise RequestError(f"{where}: instructions of the role {role} are not taken from a browser")
            return [Message(role, "".join(str(part["text"]) for _, part in _texts(parts)))]
        raise RequestError(f"{where}.role is neither user nor assistant")

    def _parts(self, shape: Mapping[str, Any], where: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the parts with their places; those of version 4 in the words of version 5."""
        limits = self._limits
        found: list[tuple[str, Mapping[str, Any]]] = []
        parts = shape.get("parts")
        if parts is None:
            found = [(f"{where}.content", {"type": "text", "text": text_in(shape, "content", where, limits.text)})]
            called = shape.get("toolInvocations") or []
            for at, each in enumerate(list_of(called, f"{where}.toolInvocations", limits.parts)):
                place = f"{where}.toolInvocations[{at}]"
                found.insert(at, (place, {"type": "tool-invocation", "toolInvocation": each}))
        else:
            for at, part in enumerate(list_of(parts, f"{where}.parts", limits.parts)):
                place = f"{where}.parts[{at}]"
                found.append((place, mapping_of(part, place)))
        attached = shape.get("experimental_attachments") or []
        for at, each in enumerate(list_of(attached, f"{where}.experimental_attachments", limits.parts)):
            place = f"{where}.experimental_attachments[{at}]"
            file = mapping_of(each, place)
            named = {"mediaType": file.get("contentType"), "url": file.get("url"), "filename": file.get("name")}
            found.append((place, {"type": "file", **named}))
        for place, part in found:
            text_in(part, "type", place, limits.id)
            if part["type"] in ("text", "reasoning"):
                text_in(part, "text", place, limits.text, "" if part["type"] == "reasoning" else None)
        return [(place, _in_words_of_5(part, place)) for place, part in found]

    def _content(self, parts: Sequence[tuple[str, Mapping[str, Any]]]) -> str | list[Content] | None:
        """Return the content of a user's message; ``None`` for one of white space, which providers refuse."""
        content: list[Content] = []
        for place, part in parts:
            if part["type"] == "text":
                content.append(TextPart(part["text"]))
            elif part["type"] == "file":
                content.append(self._file(part, place))
        texts = [part.text for part in content if isinstance(part, TextPart)]
        if len(texts) < len(content):
            return content
        text = "".join(texts)
        return text if text.strip() else None

    def _file(self, part: Mapping[str, Any], where: str) -> ImagePart | FilePart:
        limits = self._limits
        self._files += 1
        if self._files > limits.files:
            raise RequestError(f"there are more than {limits.files} files", status=413)
        kind = text_in(part, "mediaType", where, limits.id, "")
        url = text_in(part, "url", where, limits.file_bytes)
        if not _ADDRESS.match(url):
            raise RequestError(f"{where}.url is neither a data: URL nor an address of http: or https:")
        if url[:5].lower() == "data:":
            head = url[5 : 5 + limits.id].partition(",")
            own = head[0].partition(";")[0]
            if not head[1] or (own and not _DATA_TYPE.match(own)):
                raise RequestError(f"{where}.url is no data: URL with a media type and data")
            kind = own or kind
        name = text_in(part, "filename", where, limits.id, "") or None
        return ImagePart(url) if kind.lower().startswith("image/") else FilePart(url, name)

    def _assistant(self, parts: Sequence[tuple[str, Mapping[str, Any]]], where: str, last: bool) -> list[Message]:
        steps = list(_steps(parts))
        messages: list[Message] = []
        for at, step in enumerate(steps):
            text = "".join(str(part["text"]) for _, part in _texts(step))
            calls: list[ToolCall] = []
            results: list[Message] = []
            for place, part in step:
                if _tool_name(part) is None or part.get("state") == "input-streaming":
                    continue
                call = self._call(part, place)
                calls.append(call)
                told = _told(part)
                if told is None and not (last and at == len(steps) - 1):
                    told = _UNANSWERED
                if told is not None:
                    results.append(Message("tool", told, tool_call_id=call.id))
            if text or calls:
                messages.append(Message("assistant", text or None, tool_calls=tuple(calls)))
                messages += results
        return messages

    def _call(self, part: Mapping[str, Any], where: str) -> ToolCall:
        name = _tool_name(part) or ""
        if not name or len(name) > self._limits.id:
            raise RequestError(f"{where} has no name of a tool")
        id = text_in(part, "toolCallId", where, self._limits.id)
        arguments = part.get("input")
        if arguments is None:
            arguments = part.get("rawInput")
        text = arguments if isinstance(arguments, str) else json_bytes({} if arguments is None else arguments).decode()
        return ToolCall.of(id, name, text)

    # -- decisions ---------------------------------------------------------------------------------------

    def _decisions(self, shape: Mapping[str, Any]) -> dict[str, Decision]:
        """Return what the client says of the calls of the last step."""
        parts = self._parts(shape, "message")
        step = list(_steps(parts))[-1:]
        found: dict[str, Decision] = {}
        for place, part in step[0] if step else ():
            if _tool_name(part) is not None:
                decision = _decision(part, place)
                if decision is not None:
                    found[text_in(part, "toolCallId", place, self._limits.id)] = decision
        return found


def _in_words_of_5(part: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return a part of version 4 as version 5 has it."""
    if part["type"] == "file" and "url" not in part and isinstance(part.get("data"), str):
        kind = part.get("mimeType")
        return {"type": "file", "mediaType": kind, "url": f"data:{kind};base64,{part['data']}"}
    if part["type"] != "tool-invocation":
        return part
    called = mapping_of(part.get("toolInvocation"), f"{where}.toolInvocation")
    states = {"partial-call": "input-streaming", "call": "input-available", "result": "output-available"}
    return {
        "type": "dynamic-tool",
        "toolName": called.get("toolName"),
        "toolCallId": called.get("toolCallId"),
        "state": states.get(str(called.get("state")), "input-available"),
        "input": called.get("args"),
        "output": called.get("result"),
    }


def _texts(parts: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return (each for each in parts if each[1]["type"] == "text")


def _steps(parts: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[list[tuple[str, Mapping[str, Any]]]]:
    """Yield the parts of each step: the results of one are told to the model in the next."""
    step: list[tuple[str, Mapping[str, Any]]] = []
    for each in parts:
        if each[1]["type"] == "step-start":
            if step:
                yield step
            step = []
        else:
            step.append(each)
    if step:
        yield step


def _tool_name(part: Mapping[str, Any]) -> str | None:
    kind = str(part["type"])
    if kind == "dynamic-tool":
        name = part.get("toolName")
        return name if isinstance(name, str) else ""
    return kind[len("tool-") :] if kind.startswith("tool-") else None


def _told(part: Mapping[str, Any]) -> str | None:
    """Return the result of a call, as the model is told it; ``None`` where there is none yet."""
    state = part.get("state")
    if state == "output-available" and not part.get("preliminary"):
        return _text_of(part.get("output"))
    if state == "output-error":
        return f"The call failed: {_text_of(part.get('errorText'))}"
    approval = part.get("approval")
    denied = isinstance(approval, Mapping) and approval.get("approved") is False
    if state != "output-denied" and not (state == "approval-responded" and denied):
        return None
    reason = approval.get("reason") if isinstance(approval, Mapping) else None
    why = f": {reason}" if isinstance(reason, str) and reason else ""
    return f"Not approved{why}. The function was not called."  # as a run says it


def _decision(part: Mapping[str, Any], where: str) -> Decision | None:
    state = part.get("state")
    if state == "output-available" and not part.get("preliminary"):
        return Answered(part.get("output"))
    if state == "output-error":
        return Answered(f"The call failed: {_text_of(part.get('errorText'))}")
    if state != "approval-responded":
        return None
    approval = mapping_of(part.get("approval"), f"{where}.approval")
    approved = approval.get("approved")
    if not isinstance(approved, bool):
        raise RequestError(f"{where}.approval.approved is neither true nor false")
    if approved:
        return Approved()
    reason = approval.get("reason")
    return Rejected(reason if isinstance(reason, str) else "")


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else json_bytes(value).decode()
