"""What was said, in the shape of OpenTelemetry's conventions for generative AI, for those who ask for it.

Source: the conventions' JSON schemas of input messages, output messages and system instructions, read 2026-11-27.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.values.completion import Completion

__all__ = ["input_messages", "output_messages", "system_instructions"]

_SYSTEM = ("system", "developer")


def input_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages of a request but its system prompts; of a file or an image only that there was one."""
    return [
        {"role": str(message.get("role", "")), "parts": _parts(message)}
        for message in messages
        if message.get("role") not in _SYSTEM
    ]


def system_instructions(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the system prompts of a request."""
    return [part for message in messages if message.get("role") in _SYSTEM for part in _parts(message)]


def output_messages(completion: Completion) -> list[dict[str, Any]]:
    """Return a reply, choice by choice."""
    found = []
    for choice in completion.choices:
        parts = [
            {"type": kind, "content": text}
            for kind, text in (("reasoning", choice.reasoning), ("text", choice.text), ("refusal", choice.refusal))
            if text
        ]
        parts += [
            {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}
            for call in choice.tool_calls
        ]
        found.append({"role": "assistant", "parts": parts, "finish_reason": choice.finish_reason or "error"})
    return found


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    if message.get("role") == "tool":
        return [{"type": "tool_call_response", "id": message.get("tool_call_id"), "response": _plain(content)}]
    parts = [{"type": "text", "content": content}] if isinstance(content, str) and content else []
    if isinstance(content, (list, tuple)):
        parts = [_part(part) for part in content if isinstance(part, Mapping)]
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            named = {"id": call.get("id"), "name": function.get("name"), "arguments": function.get("arguments")}
            parts.append({"type": "tool_call", **named})
    return parts


def _plain(content: Any) -> Any:
    if not isinstance(content, (list, tuple)):
        return content
    return [_part(part) for part in content if isinstance(part, Mapping)]


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(part.get("type", ""))
    return {"type": "text", "content": part.get("text")} if kind == "text" else {"type": kind}
