"""A history of messages as a file or as lines for a person."""

from __future__ import annotations

import json
from collections.abc import Iterable

from streamkit.cli.calls import call_text
from streamkit.values.messages import Message, TextPart

__all__ = ["as_json", "as_markdown", "text_of"]


def as_json(messages: Iterable[Message]) -> str:
    """Return the messages as a JSON list, in the form in which they are sent."""
    return f"{json.dumps([message.to_dict() for message in messages], ensure_ascii=False, indent=2)}\n"


def as_markdown(messages: Iterable[Message]) -> str:
    """Return the messages as Markdown, each under the name of its role."""
    return "\n".join(f"## {message.role.capitalize()}\n\n{text_of(message).strip()}\n" for message in messages)


def text_of(message: Message) -> str:
    """Return the text of a message; a file by its name, a call with its arguments."""
    content = message.content or ()
    parts = [TextPart(content)] if isinstance(content, str) else content
    texts = [part.text if isinstance(part, TextPart) else _name_of(part) for part in parts]
    calls = [f"```\n{call_text(call.name, call.raw_arguments)}\n```" for call in message.tool_calls]
    return "\n\n".join([*texts, *calls])


def _name_of(part: object) -> str:
    return f"[{getattr(part, 'filename', None) or 'image'}]"
