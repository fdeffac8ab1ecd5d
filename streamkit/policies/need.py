"""How many tokens a request takes of a limit, estimated before it is sent: ``Need``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from streamkit.streaming.gates import Call
from streamkit.values.chunks import Usage
from streamkit.values.text import estimate_tokens

__all__ = ["Need", "need_of", "tokens_of"]

_PER_MESSAGE = 4  # tokens that a role and separators take
_PER_MEDIUM = 1000  # tokens of an image or a file, about as much as an image of 1,000 x 750 pixels
_MOST = ("max_completion_tokens", "max_output_tokens", "max_tokens")


@attrs.frozen
class Need:
    """The tokens of a request.

    Attributes:
        prompt: of the messages and the tools.
        reply: the most that it allows for the reply, all choices together; ``None`` if it sets no limit.
    """

    prompt: int
    reply: int | None


def need_of(call: Call) -> Need:
    """Return an estimate for a request."""
    chat = call.chat
    prompt = sum(_PER_MESSAGE + _tokens_of(message) for message in chat.messages)
    tools = chat.params.get("tools")
    if tools:
        prompt += estimate_tokens(str(tools))
    most = next((each for name in _MOST if (each := _most(chat.extra_body, chat.params, name)) is not None), None)
    return Need(prompt, None if most is None else most * call.choices)


def _most(extra_body: Mapping[str, Any], params: Mapping[str, Any], name: str) -> int | None:
    value = extra_body.get(name, params.get(name))
    return value if isinstance(value, int) and value >= 0 else None


def _tokens_of(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    tokens = sum(map(_tokens_of_part, content if isinstance(content, (list, tuple)) else [content]))
    calls = message.get("tool_calls")
    return tokens + (estimate_tokens(str(calls)) if calls else 0)


def _tokens_of_part(part: Any) -> int:
    if part is None:
        return 0
    text = part.get("text") if isinstance(part, Mapping) else part
    return estimate_tokens(text) if isinstance(text, str) else _PER_MEDIUM


def tokens_of(usage: Usage | None) -> int | None:
    """Return the tokens of prompt and reply together, ``None`` if the provider did not count them."""
    if usage is None:
        return None
    if usage.total_tokens is not None:
        return usage.total_tokens
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return usage.input_tokens + usage.output_tokens
