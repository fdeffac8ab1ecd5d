"""Reject with ConfigError whatever a wire format cannot express, so that nothing is dropped silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.request.openai_shape import arguments_text
from streamkit.providers.request.parts import Media, Text
from streamkit.providers.request.tool_limits import ToolLimits, limited
from streamkit.providers.request.turns import ToolSpec, Turn, provider_data, tools_of, turns
from streamkit.values.messages import ToolCall
from streamkit.wire.loose_json import as_dict

__all__ = [
    "BETWEEN",
    "EMPTY_RESULT",
    "all_strict",
    "arguments_of",
    "begun_by_user",
    "call_id_of",
    "call_shape",
    "full_parts",
    "is_empty",
    "refuse_empty",
    "tools_for",
    "turns_for",
    "with_full_results",
    "without_blanks",
]

#: Stands for the result of a tool that returned nothing, for providers that refuse a result without text.
EMPTY_RESULT = "(no output)"
#: What the assistant says between a tool's result and a user's message, for providers that refuse one after the other.
BETWEEN = "OK."
_BEGINNING = "(The assistant begins.)"


def turns_for(provider: str, chat: ChatRequest, *words: Literal["cache_control", "detail", "name"]) -> list[Turn]:
    """Read a call's messages for a provider.

    Args:
        provider: its name, for errors.
        chat: the call.
        words: the optional fields that the provider supports.

    Raises:
        ConfigError: a message is malformed, or has a field that the provider does not support.
    """
    conversation = turns(chat.messages)
    for turn in conversation:
        if turn.name and turn.role != "tool" and "name" not in words:
            raise ConfigError(f"{provider} has no name of a {turn.role}; write it into the text")
        for part in turn.parts:
            if part.cache_control is not None and "cache_control" not in words:
                raise ConfigError(f"{provider} has no cache_control; leave it out of the messages")
            if isinstance(part, Media) and part.detail not in (None, "auto") and "detail" not in words:
                raise ConfigError(f"{provider} has no detail of {part.kind}s; leave it out, or send them smaller")
    return conversation


def tools_for(
    provider: str, tools: Any, *words: Literal["cache_control", "strict"], limits: ToolLimits | None = None
) -> list[ToolSpec | Mapping[str, Any]]:
    """Read tools for a provider; see ``turns_for`` and, for its limits, ``limited``.

    ``strict`` is left out where the provider has no such word: it only makes mistakes of the model rarer, and whoever
    runs the tools checks the arguments anyway.

    Raises:
        ConfigError: a tool is malformed, or has a field that the provider does not support.
    """
    read = tools_of(tools)
    if "strict" not in words:
        read = [attrs.evolve(tool, strict=None) if isinstance(tool, ToolSpec) else tool for tool in read]
    for tool in read:
        if isinstance(tool, ToolSpec) and tool.cache_control is not None and "cache_control" not in words:
            raise ConfigError(f"{provider} has no cache_control; leave it out of the tool {tool.name}")
    return read if limits is None else limited(provider, read, limits)


def all_strict(tools: Sequence[ToolSpec | Mapping[str, Any]]) -> bool:
    """Return whether calls must match their schemas, for providers with one setting for all tools.

    Where only some of the tools are strict none is, for the reason that ``tools_for`` gives.
    """
    strict = [bool(tool.strict) for tool in tools if isinstance(tool, ToolSpec)]
    return bool(strict) and all(strict)


def refuse_empty(provider: str, conversation: Sequence[Turn], chat: ChatRequest, *elsewhere: str) -> None:
    """Raise a ConfigError if there is no message to reply to, or a user's message is empty.

    Args:
        provider: its name.
        conversation: the turns.
        chat: the call.
        elsewhere: fields that may hold the input instead, as parameters or in ``extra_body``.
    """
    if any(field in chat.extra_body or field in chat.params for field in elsewhere):
        return
    if not any(turn.role != "system" and _says_something(turn) for turn in conversation):
        raise ConfigError(f"{provider} needs a message to reply to that is neither empty nor a system message")
    if any(turn.role == "user" and not _says_something(turn) for turn in conversation):
        raise ConfigError(f"{provider} takes no user message that is empty; leave it out")


def _says_something(turn: Turn) -> bool:
    parts = any(not isinstance(part, Text) or part.text for part in turn.parts)
    return parts or bool(turn.calls or turn.provider_data) or turn.role == "tool"


def is_empty(turn: Turn, format: str) -> bool:
    """Return whether a system or assistant turn is empty in a wire format."""
    if turn.role not in ("system", "assistant") or turn.calls:
        return False
    return not full_parts(turn) and not any(map(as_dict, provider_data(turn, format)))


def full_parts(turn: Turn) -> list[Text | Media]:
    """Return a turn's parts without empty texts."""
    return [part for part in turn.parts if not isinstance(part, Text) or part.text]


def without_blanks(provider: str, conversation: Sequence[Turn], format: str) -> list[Turn]:
    """Return the turns without text that is only white space, for providers that refuse it.

    A reply with provider data keeps such text, because its layout counts the characters; ``in_order`` leaves it out.

    Raises:
        ConfigError: a user's turn has nothing else.
    """
    full = []
    for turn in conversation:
        if turn.role == "assistant" and provider_data(turn, format):
            full.append(turn)
            continue
        parts = tuple(part for part in turn.parts if not isinstance(part, Text) or part.text.strip())
        if turn.role == "user" and not parts:
            raise ConfigError(f"{provider} takes no user message that is empty or only white space")
        if turn.role != "assistant" or parts or turn.calls or turn.provider_data:
            full.append(attrs.evolve(turn, parts=parts))
    return full


def begun_by_user(conversation: Sequence[Turn]) -> list[Turn]:
    """Return turns of which the first is the user's, for providers that refuse others.

    Before the assistant's, as a greeting, stands a message that says that the assistant begins.
    """
    begins = bool(conversation) and conversation[0].role == "assistant"
    return [*([Turn("user", (Text(_BEGINNING),))] if begins else []), *conversation]


def with_full_results(conversation: Sequence[Turn]) -> list[Turn]:
    """Return the turns with ``EMPTY_RESULT`` in place of blank results, for providers that refuse these."""
    return [_with_full_result(turn) if turn.role == "tool" else turn for turn in conversation]


def _with_full_result(turn: Turn) -> Turn:
    if any(not isinstance(part, Text) or part.text.strip() for part in turn.parts):
        return turn
    marks = [part.cache_control for part in turn.parts if part.cache_control is not None]
    return attrs.evolve(turn, parts=(Text(EMPTY_RESULT, marks[-1] if marks else None),))


def arguments_of(provider: str, call: ToolCall) -> Mapping[str, Any]:
    """Return the arguments of a call, for providers that take them as an object; see ``arguments_text``.

    Raises:
        ConfigError: they have more values than are decoded.
    """
    if isinstance(call.arguments, Mapping):
        return call.arguments
    if arguments_text(call.raw_arguments) != "{}":
        raise ConfigError(
            f"{provider} takes the arguments of a tool call as an object; those of {call.name} are too long"
        )
    return {}


def call_id_of(provider: str, call: ToolCall) -> str:
    """Return the id of a call, for providers that need one.

    Raises:
        ConfigError: it has none.
    """
    if not call.id:
        raise ConfigError(f"{provider} needs an id on each tool call; {call.name} has none")
    return call.id


def call_shape(provider: str, call: ToolCall) -> dict[str, Any]:
    """Return a call of a function in the OpenAI shape, for providers that have that and need its id.

    Raises:
        ConfigError: it has none.
    """
    function = {"name": call.name, "arguments": arguments_text(call.raw_arguments)}
    return {"id": call_id_of(provider, call), "type": "function", "function": function}
