"""Build the body of Bedrock's converse-stream from an OpenAI-shaped call.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, read 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.bedrock.decoder import FORMAT
from streamkit.providers.bedrock.media import DocumentNames, media_block
from streamkit.providers.call import ChatRequest
from streamkit.providers.reply.order import in_order
from streamkit.providers.request.call_ids import BEDROCK_IDS, turns_with_ids
from streamkit.providers.request.openai_shape import json_of
from streamkit.providers.request.parameters import Parameters
from streamkit.providers.request.parts import Media, Text
from streamkit.providers.request.schemas import closed, dereferenced
from streamkit.providers.request.tool_limits import BEDROCK, BEDROCK_CLAUDE, ToolLimits
from streamkit.providers.request.turns import (
    JsonFormat,
    NamedTool,
    ToolSpec,
    Turn,
    format_of,
    provider_data,
    system_text,
    tool_choice_of,
)
from streamkit.providers.request.unsupported import (
    BETWEEN,
    arguments_of,
    begun_by_user,
    call_id_of,
    refuse_empty,
    tools_for,
    turns_for,
    with_full_results,
    without_blanks,
)
from streamkit.wire.loose_json import as_dict

__all__ = ["body_of"]

# Models that take the results of tools only in messages of their own.
_ALONE = re.compile(r"\b(meta|mistral)\.")
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def body_of(name: str, chat: ChatRequest) -> dict[str, Any]:
    """Return the body for a streamed reply.

    Raises:
        ConfigError: the call has something that converse does not support.
    """
    parameters = Parameters(name, chat)
    all_turns = turns_for(name, chat, "cache_control")
    system, conversation = system_text(all_turns, name)
    conversation = turns_with_ids(with_full_results(without_blanks(name, conversation, FORMAT)), BEDROCK_IDS)
    refuse_empty(name, conversation, chat, "messages")
    body: dict[str, Any] = {"messages": _messages(name, chat.model, begun_by_user(conversation))}
    if system.strip():
        body["system"] = _system(name, all_turns, system)
    inference: dict[str, Any] = {}
    parameters.copy(inference, "temperature", topP="top_p", maxTokens="max_tokens")
    if stops := parameters.take_stop():
        inference["stopSequences"] = stops
    if inference:
        body["inferenceConfig"] = inference
    called = any(_has(message, "toolUse") or _has(message, "toolResult") for message in body["messages"])
    limits = BEDROCK_CLAUDE if "claude" in chat.model else BEDROCK
    _tools(name, parameters, body, limits, called=called and "toolConfig" not in chat.extra_body)
    parameters.copy(
        body,
        additionalModelRequestFields="additional_model_request_fields",
        guardrailConfig="guardrail_config",
        performanceConfig="performance_config",
        requestMetadata="metadata",
    )
    _output(name, chat.model, parameters, body)
    if parameters.take("n", 1) != 1:
        raise ConfigError(f"{name} gives one reply at a time; leave n out")
    for missing in ("top_k", "seed"):
        parameters.refuse(missing, "it differs by model; pass additional_model_request_fields=")
    parameters.finish()
    return body


def _system(name: str, all_turns: Sequence[Turn], text: str) -> list[dict[str, Any]]:
    """Return the system prompt as one block, or as several if one of them has cache_control."""
    texts = [part for turn in all_turns if turn.role == "system" for part in turn.parts if isinstance(part, Text)]
    if all(part.cache_control is None for part in texts):
        return [{"text": text}]
    return [block for part in texts if part.text.strip() for block in _cached(name, {"text": part.text}, part)]


def _cached(name: str, block: dict[str, Any], *given: Text | Media | ToolSpec) -> list[dict[str, Any]]:
    """Return a block, followed by a cache point if the part has cache_control."""
    marks = [part.cache_control for part in given if part.cache_control is not None]
    for mark in marks:
        if mark.get("type") != "ephemeral" or mark.get("ttl") not in (None, "5m", "1h"):
            raise ConfigError(
                f"{name} has cache_control of the type 'ephemeral' with a ttl of '5m' or '1h', not {mark}"
            )
    if not marks:
        return [block]
    ttl = marks[-1].get("ttl")
    return [block, {"cachePoint": {"type": "default", **({"ttl": ttl} if ttl else {})}}]


def _messages(name: str, model: str, conversation: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return the messages; consecutive ones of one role are merged, which results of tools require.

    Llama and Mistral's models take no text of the user's beside results of tools, so a short answer goes between.
    Source: "Conversation blocks and tool result blocks cannot be provided in the same turn",
    langchain-ai/langchain-aws#141 and strands-agents/harness-sdk#1223, read 2026-11-27.
    """
    messages: list[dict[str, Any]] = []
    names = DocumentNames()
    for turn in conversation:
        role = "assistant" if turn.role == "assistant" else "user"
        content = _content(name, turn, names)
        if turn.role == "user" and _ALONE.search(model) and messages and _has(messages[-1], "toolResult"):
            messages.append({"role": "assistant", "content": [{"text": BETWEEN}]})
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += content
        elif content:
            messages.append({"role": role, "content": content})
    for message in messages:
        if _has(message, "document") and not _has(message, "text"):
            raise ConfigError(f"{name} takes a document only with text beside it, such as what to do with it")
    return messages


def _has(message: Mapping[str, Any], kind: str) -> bool:
    return any(kind in block for block in message["content"] if isinstance(block, Mapping))


def _content(name: str, turn: Turn, names: DocumentNames) -> list[dict[str, Any]]:
    if turn.role == "tool":  # which has no cache points inside
        content = [_block(name, turn, part, names) for part in turn.parts]
        return _cached(name, {"toolResult": {"toolUseId": turn.call_id, "content": content}}, *turn.parts)
    content = [each for part in turn.parts for each in _cached(name, _block(name, turn, part, names), part)]
    calls = [
        {"toolUse": {"toolUseId": call_id_of(name, call), "name": call.name, "input": arguments_of(name, call)}}
        for call in turn.calls
    ]
    data = [as_dict(datum) for datum in provider_data(turn, FORMAT)]
    if data and turn.role == "assistant":
        said: list[dict[str, Any]] = []

        def say(piece: str) -> dict[str, Any]:
            said.append({"text": piece})
            return said[-1]

        blocks = in_order(data, turn.text(name), calls, say, blanks=False)
        marked = [_cached(name, block, *turn.parts) if said and block is said[-1] else [block] for block in blocks]
        return [each for pair in marked for each in pair]
    return [*[datum for datum in data if "layout" not in datum], *content, *calls]


def _block(name: str, turn: Turn, part: Text | Media, names: DocumentNames) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    if turn.role == "assistant":
        raise ConfigError(f"{name} takes no {part.kind} in an assistant message; put it into one of the user's")
    if turn.role == "tool" and part.kind == "audio":
        raise ConfigError(f"{name} takes no audio as the result of a tool; put it into a message of the user's")
    return media_block(name, part, names)


def _tools(name: str, parameters: Parameters, body: dict[str, Any], limits: ToolLimits, *, called: bool) -> None:
    """Set the tools.

    Converse expresses ``none`` only by leaving the tools out, and refuses that if the history has calls of them.
    """
    parameters.refuse("parallel_tool_calls", "converse leaves that to the model")
    tools, choice = parameters.take("tools"), parameters.take("tool_choice")
    if not tools or choice == "none":
        if choice not in (None, "none", "auto"):
            raise ConfigError(f"{name} needs tools for tool_choice")
        if called:
            raise ConfigError(
                f"{name} has no tool_choice 'none' once a conversation has tool calls; leave it out"
                if tools
                else f"{name} needs the tools of a conversation that has tool calls; pass them again in tools="
            )
        return
    specs = tools_for(name, tools, "cache_control", "strict", limits=limits)
    config: dict[str, Any] = {"tools": [shape for tool in specs for shape in _tool(name, tool)]}
    if choice is not None:
        chosen = tool_choice_of(choice)
        if isinstance(chosen, NamedTool):
            config["toolChoice"] = {"tool": {"name": chosen.name}}
        else:
            config["toolChoice"] = {"any" if chosen == "required" else "auto": {}}
    body["toolConfig"] = config


def _tool(name: str, tool: ToolSpec | Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if not isinstance(tool, ToolSpec):
        return [tool]
    spec: dict[str, Any] = {"name": tool.name, "inputSchema": {"json": tool.parameters}}
    if tool.description:
        spec["description"] = tool.description
    if tool.strict is not None:
        spec["strict"] = tool.strict
    return _cached(name, {"toolSpec": spec}, tool)


def _output(name: str, model: str, parameters: Parameters, body: dict[str, Any]) -> None:
    """Set the reasoning effort and the response format."""
    output: dict[str, Any] = {}
    effort = parameters.take("reasoning_effort")
    if effort is not None:
        if effort not in _EFFORTS:
            raise ConfigError(f"{name} has reasoning_effort {', '.join(_EFFORTS)}, not {effort!r}")
        output["effort"] = effort
    form = parameters.take("response_format")
    wanted = None if form is None else format_of(form)
    if wanted is not None:
        output["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": _schema(name, model, wanted)}}
    if output:
        body["outputConfig"] = output


def _schema(name: str, model: str, wanted: JsonFormat) -> dict[str, Any]:
    if wanted.schema is None:
        raise ConfigError(f"{name} has no JSON without a schema: use response_format of type json_schema")
    schema = (closed(dereferenced(wanted.schema)) if "claude" in model else None) or wanted.schema
    shape = {"schema": json_of("the schema of response_format", schema), "name": wanted.name}  # as text
    return {**shape, "description": wanted.description} if wanted.description else shape
