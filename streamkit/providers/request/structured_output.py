"""Ask for a reply that fits a JSON schema where the provider, or the model, has no word for that.

There are two ways beside the provider's own word: to force the call of a tool whose parameters are the schema, and to
write the schema into the prompt. With each of them the reply is JSON as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Decoder
from streamkit.providers.reply.output_as_text import OutputAsText
from streamkit.providers.request.openai_shape import json_of, tool_list
from streamkit.providers.request.schemas import closed, dereferenced
from streamkit.providers.request.turns import JsonFormat, format_of
from streamkit.wire.loose_json import as_dict, as_text

__all__ = [
    "OLDER_CLAUDE",
    "OLDER_GPT",
    "OutputWay",
    "OutputWords",
    "answered",
    "asked",
    "has_function_tools",
    "is_open",
    "wanted_of",
    "way_of",
]

#: ``schema``: the provider's own word. ``tool``: the call of a tool is forced. ``prompt``: the prompt says it.
OutputWay = Literal["schema", "tool", "prompt"]

#: Models of Anthropic that are not held to schemas: those before 4.5.
#: Source: https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/partner-models/claude/structured-outputs
#: ("all Claude 4.5 or later") and langchain-ai/langchain-aws#883 for Bedrock, read 2026-11-27.
OLDER_CLAUDE = re.compile(r"claude-(?:instant|v?[23]\b|(?:opus|sonnet|haiku)-4(?!-(?:[5-9]|\d\d)(?!\d)))")
#: OpenAI's models before structured outputs.
#: Source: https://platform.openai.com/docs/guides/structured-outputs (gpt-4o-2024-08-06 and later), read 2026-11-27.
OLDER_GPT = re.compile(r"^(ft:)?(gpt-3\.5|gpt-4(?=-|$)|gpt-4o-2024-05-13)")


@attrs.frozen
class OutputWords:
    """What a provider has to say, where it is not held to a schema by a word of its own.

    Attributes:
        named: whether ``tool_choice`` may name a tool.
        serial: whether it has ``parallel_tool_calls``.
        json_object: whether it has any JSON as a format.
    """

    named: bool = True
    serial: bool = False
    json_object: bool = False


def way_of(model: str, by_model: Iterable[tuple[re.Pattern[str], OutputWay]], otherwise: OutputWay) -> OutputWay:
    """Return the way of the first pattern that is found in a model's name."""
    return next((way for pattern, way in by_model if pattern.search(model)), otherwise)


def wanted_of(chat: ChatRequest) -> JsonFormat | None:
    """Return the format that a call has with a schema; ``None`` for any other, which the adapters deal with."""
    form = chat.params.get("response_format")
    if not isinstance(form, Mapping) or form.get("type") != "json_schema":
        return None
    try:
        return format_of(form)
    except ConfigError:
        return None  # the adapter says what is wrong


def is_open(chat: ChatRequest) -> bool:
    """Return whether a call has a schema that a model of Anthropic's cannot be held to; see ``closed``."""
    wanted = wanted_of(chat)
    return wanted is not None and wanted.schema is not None and closed(dereferenced(wanted.schema)) is None


def has_function_tools(chat: ChatRequest) -> bool:
    """Return whether a call has tools that the model may call: its ``tool_choice`` is not ``none``."""
    return bool(chat.params.get("tools")) and chat.params.get("tool_choice") != "none"


def asked(provider: str, chat: ChatRequest, way: OutputWay, words: OutputWords) -> ChatRequest:
    """Return the call with its schema said in a way that every provider understands.

    With tools beside it, the model has to call one of them or the one for its answer. A call that names one of its own
    tools is not asked for JSON, as the answer comes later.

    Args:
        provider: its name, for errors.
        chat: the call.
        way: ``schema`` leaves the call as it is.
        words: what the provider has.

    Raises:
        ConfigError: the schema is not that of an object.
    """
    wanted = wanted_of(chat) if way != "schema" else None
    if wanted is None or wanted.schema is None:
        return chat
    if not _is_of_object(wanted.schema) and (way == "tool" or words.json_object):
        raise ConfigError(
            f"{provider} gives JSON objects only, and the schema of response_format is not that of an object; "
            "give it a property with your schema"
        )
    params = {name: value for name, value in chat.params.items() if name != "response_format"}
    if way == "prompt":
        form = {"response_format": {"type": "json_object"}} if words.json_object else {}
        return attrs.evolve(chat, messages=_told(chat.messages, wanted.schema), params={**params, **form})
    return attrs.evolve(chat, params=_forced(params, wanted, words))


def _forced(params: dict[str, Any], wanted: JsonFormat, words: OutputWords) -> dict[str, Any]:
    """Return parameters with the tool whose call is the answer."""
    tools = tool_list(params.get("tools") or ())
    name = _output_name(wanted, tools)
    choice = params.get("tool_choice")
    if tools and choice not in (None, "auto", "required", "none"):
        return params
    about = f"{wanted.description} ".lstrip() + "Call this to give the answer, once, with all of it."
    function: dict[str, Any] = {"name": name, "description": about, "parameters": wanted.schema}
    if wanted.strict is not None:
        function["strict"] = wanted.strict
    output = {"type": "function", "function": function}
    if tools and choice != "none":
        return {**params, "tools": [*tools, output], "tool_choice": "required"}
    serial = {"parallel_tool_calls": False} if words.serial else {}
    if not words.named:
        return {**params, **serial, "tools": [output], "tool_choice": "required"}
    named = {"type": "function", "function": {"name": name}}
    return {**params, **serial, "tools": [*tools, output], "tool_choice": named}


def _output_name(wanted: JsonFormat, tools: Iterable[Mapping[str, Any]]) -> str:
    """Return the name of the tool for the answer: that of the format, or one like it that no tool has."""
    taken = {as_text(as_dict(tool.get(kind)).get("name")) for tool in tools for kind in ("function", "custom")}
    name = re.sub(r"[^A-Za-z0-9_-]", "_", wanted.name)[:58]
    name = name if re.match(r"[A-Za-z_]", name) else f"_{name}"[:58]
    return f"{name}_reply" if name in taken else name


def _is_of_object(schema: Mapping[str, Any]) -> bool:
    target = dereferenced(schema)
    return target.get("type") == "object" or ("type" not in target and "properties" in target)


def _told(messages: Iterable[Mapping[str, Any]], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return messages with the schema in one of the system's, behind those that a conversation begins with."""
    listed = list(messages)
    first = next((n for n, each in enumerate(listed) if each["role"] not in ("system", "developer")), len(listed))
    text = (
        "Give your answer as JSON alone, without any other text and without a Markdown fence. It has to fit this JSON "
        f"schema:\n{json_of('the schema of response_format', schema)}"
    )
    return [*listed[:first], {"role": "system", "content": text}, *listed[first:]]


def answered(chat: ChatRequest, decoder: Decoder, way: OutputWay) -> Decoder:
    """Return a decoder for the answer to ``asked``, which gives its JSON as text."""
    wanted = wanted_of(chat) if way == "tool" else None
    if wanted is None or wanted.schema is None:
        return decoder
    return OutputAsText(decoder, _output_name(wanted, tool_list(chat.params.get("tools") or ())))
