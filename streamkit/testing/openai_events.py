"""Events of a stream of chat completions, and the objects in them, in OpenAI's format.

Source: https://platform.openai.com/docs/api-reference/chat-streaming, read 2025-11-20.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from streamkit.testing.steps import to_bytes

DONE = b"data: [DONE]\n\n"
"""The event that ends a stream."""

MODEL = "gpt-4o-mini"
COMPLETION_ID = "chatcmpl-test"
CREATED = 1763673600
USAGE: Mapping[str, Any] = {"prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18}
"""The usage of the ready-made replies, where none is given."""

to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def split_tokens(text: str) -> list[str]:
    """Split a text into words with the space before them; joined, they are the text again."""
    return re.findall(r"\s*\S+|\s+$", text)


def sse_event(data: object, *, event: str | None = None, id: str | None = None) -> bytes:
    r"""Return one event of an event stream, `data: ...\n\n`: a string as it is, anything else as JSON.

    A string of several lines becomes several data lines.
    """
    text = data if isinstance(data, str) else to_json(data)
    lines = [] if event is None else [f"event: {event}"]
    lines += [] if id is None else [f"id: {id}"]
    lines += [f"data: {line}" for line in text.split("\n")]
    return to_bytes("\n".join([*lines, "", ""]))


def chunk_event(
    content: str | None = None,
    *,
    finish_reason: str | None = None,
    usage: Mapping[str, Any] | None = None,
    index: int = 0,
    model: str = MODEL,
    id: str = COMPLETION_ID,
    created: int = CREATED,
    **delta: Any,
) -> bytes:
    """Return one `chat.completion.chunk` event.

    Args:
        content: text of the answer; None leaves the key out.
        finish_reason: why the choice ended, None while it goes on.
        usage: given alone, it makes the usage chunk, which has no choices; with anything else it goes on that
            chunk, as some servers have it.
        index: the choice.
        model, id, created: what every chunk repeats.
        delta: more keys of the delta: role, refusal, reasoning_content, tool_calls, ...
    """
    if content is not None:
        delta["content"] = content
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    only_usage = usage is not None and not delta and finish_reason is None
    return sse_event(
        {
            "id": id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "choices": [] if only_usage else [choice],
            "usage": usage,
        }
    )


def error_body(
    message: str, *, type: str | None = None, code: str | int | None = None, param: str | None = None
) -> dict[str, Any]:
    """Return OpenAI's error object."""
    return {"error": {"message": message, "type": type, "param": param, "code": code}}
