"""Parse OpenAI-shaped messages, tools and formats into values that every wire format can be written from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs

from streamkit.errors import ConfigError
from streamkit.providers.request.openai_shape import (
    answered_call_of,
    content_of,
    function_of,
    items_of,
    tool_list,
    with_tool_calls,
    word_of,
)
from streamkit.providers.request.parts import Media, Text, marks_of, part_of
from streamkit.values.messages import ToolCall
from streamkit.wire.loose_json import as_dict, as_text

__all__ = [
    "JsonFormat",
    "NamedTool",
    "ToolSpec",
    "Turn",
    "format_of",
    "provider_data",
    "system_text",
    "tool_choice_of",
    "tools_of",
    "turns",
]


@attrs.frozen
class Turn:
    """One message.

    Attributes:
        role: ``developer`` counts as ``system``, ``function`` as ``tool``.
        parts: its content; a string is one ``Text``, nothing is no part.
        calls: the tool calls of an assistant.
        call_id: which call a ``tool`` turn answers.
        name: of the tool or the participant, where the user gave one.
        provider_data: see ``Chunk``.
    """

    role: Literal["system", "user", "assistant", "tool"]
    parts: tuple[Text | Media, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    name: str | None = None
    provider_data: tuple[Mapping[str, Any], ...] = ()

    def text(self, provider: str) -> str:
        """Return the content as text.

        Raises:
            ConfigError: there is more than text, and ``provider`` takes only text here.
        """
        for part in self.parts:
            if isinstance(part, Media):
                raise ConfigError(f"{provider} takes no {part.kind} in a {self.role} message")
        return "".join(part.text for part in self.parts if isinstance(part, Text))


def turns(messages: Iterable[Mapping[str, Any]]) -> list[Turn]:
    """Read messages of the OpenAI shape.

    Raises:
        ConfigError: a message is malformed; the message names it.
    """
    return [_turn(position, message) for position, message in enumerate(with_tool_calls(messages))]


def _turn(position: int, message: Mapping[str, Any]) -> Turn:
    where = f"messages[{position}]"
    role = {"developer": "system", "function": "tool"}.get(message["role"], message["role"])
    content = content_of(where, message) or ()
    if isinstance(content, str):
        parts: tuple[Text | Media, ...] = (Text(content),)
    else:
        parts = tuple(part_of(f"{where}.content[{number}]", part) for number, part in enumerate(content))
    if role == "assistant" and (refusal := word_of(where, message, "refusal")):
        parts = (*(part for part in parts if part != Text("")), Text(refusal))
    if (marks := marks_of(where, message)) is not None:
        if parts in ((), (Text(""),)):
            if role == "system":  # which is left out
                return Turn(role)
            raise ConfigError(f"{where}.cache_control marks content, and there is none; mark another message")
        if parts[-1].cache_control is None:
            parts = (*parts[:-1], attrs.evolve(parts[-1], cache_control=marks))
    calls = tuple(_call(where, call) for call in items_of(where, message, "tool_calls"))
    name = word_of(where, message, "name")
    call_id = answered_call_of(where, message) if role == "tool" else word_of(where, message, "tool_call_id")
    return Turn(role, parts, calls, call_id, name, tuple(items_of(where, message, "provider_data")))


def _call(where: str, call: Any) -> ToolCall:
    if isinstance(call, ToolCall):
        return call
    name, arguments = function_of(where, call)
    return ToolCall.of(word_of(f"{where}.tool_calls", call, "id") or "", name, arguments)


def system_text(all_turns: Sequence[Turn], provider: str) -> tuple[str, list[Turn]]:
    """Separate the system prompt, for formats that have a field of their own for it.

    Returns:
        The texts of all system turns, a blank line between them, and the other turns in order.

    Raises:
        ConfigError: a system turn has more than text.
    """
    texts = [turn.text(provider) for turn in all_turns if turn.role == "system"]
    return "\n\n".join(text for text in texts if text), [turn for turn in all_turns if turn.role != "system"]


def provider_data(turn: Turn, format: str) -> list[Any]:
    """Return a turn's provider data of one wire format, in order."""
    return [datum[format] for datum in turn.provider_data if isinstance(datum, Mapping) and format in datum]


@attrs.frozen
class ToolSpec:
    """A function that the model may call.

    Attributes:
        parameters: a JSON schema; an object without properties where the user gave none.
        strict: whether arguments must match the schema; ``None`` leaves it to the provider.
        cache_control: Anthropic's mark of how far a prompt is cached.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = attrs.field(factory=lambda: {"type": "object", "properties": {}})
    strict: bool | None = None
    cache_control: Mapping[str, Any] | None = None


def tools_of(tools: Any) -> list[ToolSpec | Mapping[str, Any]]:
    """Read tools of the OpenAI shape; a provider's own, of another type than ``function``, stay as they are.

    Raises:
        ConfigError: it is no list, or a function has no name, or parameters that are no object.
    """
    return [_tool(position, tool) for position, tool in enumerate(tool_list(tools))]


def _tool(position: int, tool: Mapping[str, Any]) -> ToolSpec | Mapping[str, Any]:
    if tool.get("type") != "function":
        return tool
    function = tool["function"]
    given, strict = function.get("parameters"), function.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise ConfigError(f"tools[{position}].function.strict is true or false, not {strict!r}")
    marks = marks_of(f"tools[{position}]", tool if "cache_control" in tool else function)
    spec = ToolSpec(function["name"], as_text(function.get("description")), strict=strict, cache_control=marks)
    return attrs.evolve(spec, parameters=given) if given else spec


@attrs.frozen
class NamedTool:
    """A tool_choice that names one tool."""

    name: str


def tool_choice_of(choice: Any) -> Literal["auto", "none", "required"] | NamedTool:
    """Read a tool choice of the OpenAI shape.

    Raises:
        ConfigError: it is none.
    """
    if choice in ("auto", "none", "required"):
        return choice  # type: ignore[no-any-return]
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        name = as_text(as_dict(choice.get("function")).get("name")) or as_text(choice.get("name"))
        if name:
            return NamedTool(name)
    raise ConfigError(
        f"tool_choice is 'auto', 'none', 'required' or {{'type': 'function', 'function': {{'name': ...}}}}, "
        f"not {choice!r}"
    )


@attrs.frozen
class JsonFormat:
    """A reply in JSON.

    Attributes:
        schema: what it must be like; ``None`` for any JSON.
        name: of the schema.
        strict: whether the reply is held to it; ``None`` leaves it to the provider.
    """

    schema: Mapping[str, Any] | None = None
    name: str = "reply"
    description: str = ""
    strict: bool | None = None


def format_of(response_format: Any) -> JsonFormat | None:
    """Read a response format of the OpenAI shape; ``None`` is plain text.

    Any JSON may have its schema beside it, as with some servers.

    Raises:
        ConfigError: it is none.
    """
    shape = as_dict(response_format)
    kind = shape.get("type")
    if kind == "text":
        return None
    given = next((shape[name] for name in ("json_schema", "schema") if shape.get(name) is not None), None)
    if kind == "json_object" and given is None:
        return JsonFormat()
    inner = as_dict(given)
    if kind == "json_object" and inner and "schema" not in inner:
        return JsonFormat(inner)
    if kind in ("json_object", "json_schema") and isinstance(inner.get("schema"), Mapping):
        name = as_text(inner.get("name")) or "reply"
        return JsonFormat(inner["schema"], name, as_text(inner.get("description")), inner.get("strict"))
    raise ConfigError(
        "response_format is {'type': 'text'}, {'type': 'json_object'} or {'type': 'json_schema', 'json_schema': "
        f"{{'name': ..., 'schema': ...}}}}, not {response_format!r}"
    )
