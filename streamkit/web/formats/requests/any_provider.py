"""Make of a request for Anthropic one that any provider takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from streamkit.values.messages import Message, TextPart
from streamkit.web.formats.requests.anthropic_parts import Part, joined, marked, text_of, unmarked
from streamkit.web.formats.requests.request import WebRequest

__all__ = ["without_anthropic_fields"]


def without_anthropic_fields(request: WebRequest, *, marks: bool = False) -> WebRequest:
    """Return the request as any provider takes it, for one that may go to another than Anthropic.

    Without ``top_k``, ``metadata``, ``service_tier``, and without thinking and effort, as a model that cannot think
    refuses them. The schema of the reply becomes a ``response_format``. Where nothing is marked, the texts of one
    message become one text, as many servers take no list of them. Instructions in mid-conversation become the user's,
    in the tags that Claude Code puts around its own: many servers take instructions at the beginning only, and moved
    there, each new one would change the beginning of the prompt, so that no prompt cache could be used.

    Args:
        request: as ``read_anthropic_request`` returns it.
        marks: whether ``cache_control`` is kept, for a provider that has it, such as Bedrock.
    """
    ours = ("thinking", "top_k", "metadata", "service_tier", "cache_control", "output_config")
    params = {name: value for name, value in request.params.items() if name not in ours}
    if schema := request.params.get("output_config", {}).get("format", {}).get("schema"):
        params["response_format"] = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}
    messages = _with_system_first(request.messages)
    if not marks:
        messages = [_plain(message) for message in messages]
        if "tools" in params:
            params["tools"] = [unmarked(tool) for tool in params["tools"]]
    last = messages[-1]
    return attrs.evolve(request, messages=tuple(messages), message=last if last.role == "user" else None, params=params)


def _with_system_first(messages: Iterable[Message]) -> list[Message]:
    """Return messages whose first alone may be the system's; the later ones of the system are the user's."""
    found: list[Message] = []
    for message in messages:
        last = found[-1] if found else None
        if message.role != "system":
            found.append(message)
        elif last is None or last.role == "system":
            found[-1:] = [_together(last, message)]
        elif last.role == "user":
            found[-1] = _together(last, _reminder(message))
        else:
            found.append(_reminder(message))
    return found


def _reminder(message: Message) -> Message:
    parts = _parts_of(message)
    text = TextPart("<system-reminder>\n" + "\n\n".join(filter(None, map(text_of, parts))) + "\n</system-reminder>")
    marks = [part["cache_control"] for part in parts if isinstance(part, Mapping)]
    return Message("user", [marked(text, marks[-1])] if marks else text.text)


def _together(first: Message | None, second: Message) -> Message:
    if first is None:
        return second
    parts = [*_parts_of(first), *_parts_of(second)]
    return attrs.evolve(first, content=joined(parts, "\n\n"))


def _parts_of(message: Message) -> list[Part]:
    content = message.content
    return [TextPart(content)] if isinstance(content, str) else list(content or ())


def _plain(message: Message) -> Message:
    content = message.content
    if content is None or isinstance(content, str):
        return message
    parts = [unmarked(part) if isinstance(part, Mapping) else part for part in content]
    # The texts of a reply are pieces of one text, by whose length the places of its thoughts are known.
    return attrs.evolve(message, content=joined(parts, "" if message.role == "assistant" else "\n\n"))
