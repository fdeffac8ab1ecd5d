"""A call as the user made it, in OpenAI's shape: ``ChatRequest`` and the messages in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import attrs

from streamkit.errors import ConfigError
from streamkit.values.messages import Message, Role, plain_parts

__all__ = ["ChatRequest", "choices_of", "messages_of"]


@attrs.frozen
class ChatRequest:
    """A call as the user made it, with the model's name as the provider knows it.

    Attributes:
        model: without the provider's segment.
        messages: dicts of the OpenAI shape.
        params: the request's parameters, under OpenAI's names; no value is ``None``.
        extra_body: merged into the request's body unchanged; replaces other fields.
        extra_headers: merged into the request's headers; replaces others.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    params: Mapping[str, Any] = attrs.field(factory=dict)
    extra_body: Mapping[str, Any] = attrs.field(factory=dict)
    extra_headers: Mapping[str, str | None] = attrs.field(factory=dict, repr=False)


def choices_of(chat: ChatRequest) -> int:
    """Return how many replies a call asks for."""
    choices = chat.extra_body.get("n", chat.params.get("n", 1))
    prompts = chat.extra_body.get("prompt")  # of text completions, which take a list of texts as well
    texts = [each for each in prompts if isinstance(each, (str, list))] if isinstance(prompts, (list, tuple)) else []
    return max(1, choices if isinstance(choices, int) else 1) * max(1, len(texts))


def messages_of(value: str | Iterable[Message | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Convert what a user passed as messages to OpenAI-shaped dicts.

    Raises:
        ConfigError: it is neither text nor a list of messages, or one of them has no known role, or no content.
    """
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if isinstance(value, (Message, Mapping)) or not isinstance(value, Iterable):
        raise ConfigError(
            f"messages is a string, or a list of Message or dict, not {type(value).__name__}; "
            "put a single message into a list"
        )
    shapes = [_shape_of(position, item) for position, item in enumerate(value)]
    if not shapes:
        raise ConfigError("messages is empty; pass at least one message")
    return shapes


def _shape_of(position: int, item: Message | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(item, Message):
        shape = item.to_dict()
    elif isinstance(item, Mapping):
        shape = {**item, **{field: plain_parts(item[field]) for field in ("content", "tool_calls") if field in item}}
    else:
        raise ConfigError(f"messages[{position}] is a Message or a dict, not {type(item).__name__}")
    if shape.get("role") not in get_args(Role):
        raise ConfigError(
            f"messages[{position}] has the role {shape.get('role')!r}; known are {', '.join(get_args(Role))}"
        )
    # An assistant may have tool calls instead of content, and a tool result may be empty.
    needless = shape["role"] == "assistant" or (
        shape["role"] == "tool" and set(shape) <= {"role", "tool_call_id", "name"}
    )
    if "content" not in shape and not needless:
        raise ConfigError(f"messages[{position}] has no content, only {', '.join(map(str, shape))}")
    return shape
