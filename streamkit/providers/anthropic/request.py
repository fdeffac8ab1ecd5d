"""Build the body of Anthropic's Messages from an OpenAI-shaped call.

Source: https://platform.claude.com/docs/en/api/messages, read 2026-11-21.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.anthropic.decoder import FORMAT
from streamkit.providers.call import ChatRequest
from streamkit.providers.reply.order import in_order
from streamkit.providers.request.call_ids import ANTHROPIC_IDS, turns_with_ids
from streamkit.providers.request.parameters import Parameters
from streamkit.providers.request.parts import Media, Text
from streamkit.providers.request.schemas import closed, dereferenced
from streamkit.providers.request.tool_limits import ToolLimits
from streamkit.providers.request.turns import (
    NamedTool,
    ToolSpec,
    Turn,
    format_of,
    provider_data,
    system_text,
    tool_choice_of,
)
from streamkit.providers.request.unsupported import (
    arguments_of,
    begun_by_user,
    call_id_of,
    refuse_empty,
    tools_for,
    turns_for,
    without_blanks,
)
from streamkit.wire.loose_json import as_dict

__all__ = ["body_of"]

# Anthropic's own parameters, copied unchanged.
_NATIVE = (
    *("temperature", "top_p", "top_k", "service_tier", "thinking", "container", "context_management"),
    *("mcp_servers", "cache_control", "inference_geo", "speed"),
)
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def body_of(name: str, chat: ChatRequest, default_max_tokens: int, limits: ToolLimits | None) -> dict[str, Any]:
    """Return the body for a streamed reply.

    Args:
        name: the provider's, for errors.
        chat: the call.
        default_max_tokens: used if the call has no max_tokens, which the API requires.
        limits: of tools, where they are known.

    Raises:
        ConfigError: the call has something that Anthropic does not support.
    """
    parameters = Parameters(name, chat)
    limit = parameters.take("max_tokens", default_max_tokens)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ConfigError(f"{name} needs max_tokens of 1 or more, not {limit!r}")
    all_turns = turns_for(name, chat, "cache_control")
    system, conversation = system_text(all_turns, name)
    conversation = turns_with_ids(without_blanks(name, conversation, FORMAT), ANTHROPIC_IDS)
    refuse_empty(name, conversation, chat, "messages")
    conversation = begun_by_user(conversation)
    body: dict[str, Any] = {
        "model": chat.model,
        "max_tokens": limit,
        "messages": _messages(name, conversation),
        "stream": True,
    }
    if system.strip():
        body["system"] = _marked_system(all_turns) or system
    if stops := parameters.take_stop():
        body["stop_sequences"] = stops
    parameters.copy(body, *_NATIVE)
    if metadata := parameters.take_object("metadata", user_id="user"):
        body["metadata"] = metadata
    _tools(name, parameters, body, limits)
    _output(name, parameters, body)
    if parameters.take("n", 1) != 1:
        raise ConfigError(f"{name} gives one reply at a time; leave n out")
    parameters.refuse("seed", "its replies cannot be made to repeat")
    parameters.finish()
    return body


def _marked_system(all_turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return the system prompt as blocks if one has cache_control, for which plain text has no field."""
    texts = [part for turn in all_turns if turn.role == "system" for part in turn.parts if isinstance(part, Text)]
    marked = any(part.cache_control is not None for part in texts)
    return [_marked(_text(part.text), part) for part in texts if part.text.strip()] if marked else []


def _messages(name: str, conversation: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return the messages; consecutive ones of one role are merged, in which results of tools come first."""
    messages: list[dict[str, Any]] = []
    for turn in conversation:
        role = "assistant" if turn.role == "assistant" else "user"
        blocks = _blocks(name, turn)
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        elif blocks:
            messages.append({"role": role, "content": blocks})
    for message in messages:
        if message["role"] == "user":
            message["content"].sort(key=lambda block: block.get("type") != "tool_result")
    return messages


def _blocks(name: str, turn: Turn) -> list[dict[str, Any]]:
    content = [_block(name, turn, part) for part in turn.parts]
    if turn.role == "tool":
        return [{"type": "tool_result", "tool_use_id": turn.call_id, "content": content}]
    calls = [
        {"type": "tool_use", "id": call_id_of(name, call), "name": call.name, "input": arguments_of(name, call)}
        for call in turn.calls
    ]
    own = provider_data(turn, FORMAT)
    data = _kept(own)
    for datum in (datum for datum in map(as_dict, own) if "caller" in datum):
        if isinstance(which := datum.get("call"), int) and 0 <= which < len(calls):
            calls[which]["caller"] = datum["caller"]
    if own and turn.role == "assistant":
        return _reply(turn, turn.text(name), calls, data)
    return [*[dict(datum) for datum in data if "layout" not in datum], *content, *calls]


def _reply(
    turn: Turn, text: str, calls: Sequence[dict[str, Any]], data: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the blocks of an earlier reply, in their order; cache_control goes on the last text block."""
    said: list[dict[str, Any]] = []

    def say(piece: str) -> dict[str, Any]:
        said.append(_text(piece))
        return said[-1]

    blocks = in_order(data, text, calls, say, blanks=False)
    marks = [part.cache_control for part in turn.parts if part.cache_control is not None]
    if said and marks:
        said[-1]["cache_control"] = marks[-1]
    return blocks


def _kept(data: Sequence[Any]) -> list[Mapping[str, Any]]:
    """Return the provider data to send back.

    A call of a tool on Anthropic's side without its result goes back only where Anthropic goes on with it.
    """
    data = [as_dict(datum) for datum in data]
    answered = {datum.get("tool_use_id") for datum in data}
    paused = any("paused" in datum for datum in data)
    whole = [datum for datum in data if paused or datum.get("id") in answered or "id" not in datum]
    return [datum for datum in whole if datum and "paused" not in datum and "call" not in datum]


def _block(name: str, turn: Turn, part: Text | Media) -> dict[str, Any]:
    if isinstance(part, Text):
        return _marked(_text(part.text), part)
    if part.kind not in ("image", "file"):
        raise ConfigError(f"{name} takes text, images and documents, no {part.kind}")
    if turn.role == "assistant":
        raise ConfigError(f"{name} takes no {part.kind} in an assistant message; put it into one of the user's")
    block: dict[str, Any] = {"type": "image" if part.kind == "image" else "document", "source": _source(name, part)}
    if part.filename:
        block["title"] = part.filename
    return _marked(block, part)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _marked(block: dict[str, Any], given: Text | Media | ToolSpec) -> dict[str, Any]:
    return block if given.cache_control is None else {**block, "cache_control": given.cache_control}


def _source(name: str, part: Media) -> dict[str, Any]:
    if part.file_id:
        return {"type": "file", "file_id": part.file_id}
    if part.url:
        return {"type": "url", "url": part.url}
    if part.kind == "file" and part.media_type.startswith("text/"):
        return {"type": "text", "media_type": "text/plain", "data": _decoded(name, part)}
    if part.kind == "file" and part.media_type != "application/pdf":
        raise ConfigError(
            f"{name} takes documents that are PDF or text, no {part.media_type}; pass what they say as text, and "
            "pictures as images"
        )
    return {"type": "base64", "media_type": part.media_type, "data": part.data}


def _decoded(name: str, part: Media) -> str:
    try:
        return base64.b64decode(part.data or "", validate=True).decode()
    except ValueError:
        raise ConfigError(
            f"{name} takes text documents in base64 and UTF-8; this {part.media_type} is neither"
        ) from None


def _tools(name: str, parameters: Parameters, body: dict[str, Any], limits: ToolLimits | None) -> None:
    tools = parameters.take("tools")
    if tools:
        body["tools"] = [_tool(tool) for tool in tools_for(name, tools, "cache_control", "strict", limits=limits)]
    choice, parallel = parameters.take_tool_choice(), parameters.take("parallel_tool_calls")
    if not parameters.has_tools or (choice is None and parallel is None):
        return
    chosen = tool_choice_of("auto" if choice is None else choice)
    if isinstance(chosen, NamedTool):
        body["tool_choice"] = {"type": "tool", "name": chosen.name}
    else:
        body["tool_choice"] = {"type": "any" if chosen == "required" else chosen}
    if parallel is not None and chosen != "none":
        body["tool_choice"]["disable_parallel_tool_use"] = not parallel


def _tool(tool: ToolSpec | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(tool, ToolSpec):
        return tool  # one of Anthropic's own, in its own shape
    shape: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters}
    if tool.description:
        shape["description"] = tool.description
    if tool.strict is not None:
        shape["strict"] = tool.strict
    return _marked(shape, tool)


def _output(name: str, parameters: Parameters, body: dict[str, Any]) -> None:
    """Set the reasoning effort and the response format."""
    effort = parameters.take_one_of("reasoning_effort", "output_config.effort")
    form = parameters.take_one_of("response_format", "output_config.format")
    output = parameters.take_object("output_config")
    if effort == "none":
        if "thinking" in body:
            raise ConfigError("reasoning_effort 'none' and thinking say the same thing; give one of them")
        body["thinking"] = {"type": "disabled"}
    elif effort is not None:
        if effort not in _EFFORTS:
            raise ConfigError(f"{name} has reasoning_effort {', '.join(_EFFORTS)} and none, not {effort!r}")
        output["effort"] = effort
        if body.get("tool_choice", {}).get("type") not in (
            "any",
            "tool",
        ):  # the API refuses thinking with a forced call
            body.setdefault("thinking", {"type": "adaptive"})
    wanted = None if form is None else format_of(form)
    if wanted is not None:
        if wanted.schema is None:
            raise ConfigError(f"{name} has no JSON without a schema: use response_format of type json_schema")
        output["format"] = {"type": "json_schema", "schema": closed(dereferenced(wanted.schema)) or wanted.schema}
    if output:
        body["output_config"] = output
