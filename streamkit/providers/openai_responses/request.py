"""Build the body of OpenAI's Responses from a call of chat completions.

Source: https://platform.openai.com/docs/api-reference/responses/create, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.openai_responses.decoder import CALL_FIELDS, FORMAT
from streamkit.providers.reply.order import in_order
from streamkit.providers.request.call_ids import RESPONSES_IDS, turns_with_ids
from streamkit.providers.request.openai_shape import arguments_text
from streamkit.providers.request.parameters import Parameters
from streamkit.providers.request.parts import Media, Text
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
from streamkit.providers.request.unsupported import call_id_of, refuse_empty, tools_for, turns_for
from streamkit.wire.loose_json import as_dict

__all__ = ["body_of"]

# The API's own parameters, copied unchanged.
_NATIVE = (
    *("temperature", "top_p", "top_logprobs", "parallel_tool_calls", "metadata", "user", "service_tier", "store"),
    *("include", "previous_response_id", "conversation", "truncation", "prompt", "prompt_cache_key", "max_tool_calls"),
    *("prompt_cache_retention", "safety_identifier", "background", "context_management", "stream_options"),
    *("instructions", "moderation", "prompt_cache_options", "max_output_tokens"),
)
# Parameters that may replace the input.
_ELSEWHERE = ("previous_response_id", "conversation", "prompt")


def body_of(name: str, chat: ChatRequest, limits: ToolLimits | None) -> dict[str, Any]:
    """Return the body for a streamed reply.

    The server's default decides whether it stores the reply. To keep reasoning in your own history, pass
    ``store=False, include=["reasoning.encrypted_content"]``: the reasoning is then in ``completion.message`` and is
    sent again with it.

    Args:
        name: the provider's, for errors.
        chat: the call.
        limits: of tools, where they are known.

    Raises:
        ConfigError: the call has something that Responses do not support.
    """
    parameters = Parameters(name, chat)
    system, conversation = system_text(turns_for(name, chat, "detail"), name)
    refuse_empty(name, conversation, chat, "input", *_ELSEWHERE)
    conversation = turns_with_ids(conversation, RESPONSES_IDS)
    body: dict[str, Any] = {"model": chat.model, "input": _input(name, conversation), "stream": True}
    limit = parameters.take_one_of("max_tokens", "max_output_tokens")
    parameters.copy(body, *_NATIVE)
    if limit is not None:
        body["max_output_tokens"] = limit
    if system:
        if "instructions" in body:
            raise ConfigError(f"{name} sends a system message as instructions; give one of the two")
        body["instructions"] = system
    _tools(name, parameters, body, limits)
    _form(parameters, body)
    if reasoning := parameters.take_object("reasoning", effort="reasoning_effort"):
        body["reasoning"] = reasoning
    if parameters.take("n", 1) != 1:
        raise ConfigError(f"{name} gives one reply at a time; leave n out")
    for missing in ("stop_sequences", "seed", "presence_penalty", "frequency_penalty", "logit_bias"):
        parameters.refuse(missing, "Responses have no such thing; chat completions do")
    parameters.finish()
    return body


def _input(name: str, conversation: Sequence[Turn]) -> list[Any]:
    items: list[Any] = []
    results: dict[str | None, dict[str, Any]] = {}  # what the result of a call has beside itself, by the call's id
    for turn in conversation:
        if turn.role == "tool":
            kind = results.get(turn.call_id, {"type": "function_call_output"})
            items.append({**kind, "call_id": turn.call_id, "output": _output(name, turn)})
        elif turn.role == "assistant":
            items += _reply(name, turn, results)
        elif turn.parts:
            items.append({"type": "message", "role": turn.role, "content": [_part(name, part) for part in turn.parts]})
    return items


def _output(name: str, turn: Turn) -> str | list[dict[str, Any]]:
    """Return a tool's result: text, or a list of parts where there is more.

    Source: ResponseFunctionCallOutputItemList of openai-python 3.57, read 2026-11-27.
    """
    plain = all(isinstance(part, Text) for part in turn.parts)
    return turn.text(name) if plain else [_part(name, part) for part in turn.parts]


def _reply(name: str, turn: Turn, results: dict[str | None, dict[str, Any]]) -> list[Any]:
    """Return the items of an earlier reply, in their order, and add what the results of its calls have to ``results``.

    A call of a program that the model wrote has its ``caller``, and so has the result. A call of a tool that was found
    by a search has its ``namespace``, or the request is refused.

    Source: ResponseFunctionToolCallParam and FunctionCallOutput of openai-python 3.57; "Missing namespace for
    function_call", vercel/ai#15193; read 2026-11-27.
    """
    data = [as_dict(datum) for datum in provider_data(turn, FORMAT)]
    free = [datum["custom"] for datum in data if "custom" in datum]
    told = [datum for datum in data if "call" in datum]
    calls: list[dict[str, Any]] = []
    for which, call in enumerate(turn.calls):
        shape = {"call_id": call_id_of(name, call), "name": call.name}
        own = {key: datum[key] for datum in told if datum["call"] == which for key in CALL_FIELDS if key in datum}
        caller = {"caller": own["caller"]} if "caller" in own else {}
        results[call.id] = {"type": f"{'custom_tool' if which in free else 'function'}_call_output", **caller}
        shape |= own
        if which in free:
            text = "" if call.raw_arguments == "{}" else call.raw_arguments  # histories hold {} for empty arguments
            calls.append({"type": "custom_tool_call", **shape, "input": text})
        else:
            calls.append({"type": "function_call", **shape, "arguments": arguments_text(call.raw_arguments)})
    items = [datum for datum in data if datum and "custom" not in datum and "call" not in datum]
    return in_order(items, turn.text(name), calls, _message)


def _message(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": text}


def _part(name: str, part: Text | Media) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    data_url = None if part.data is None else f"data:{part.media_type};base64,{part.data}"
    if part.kind == "image":
        shape: dict[str, Any] = {"type": "input_image", "detail": part.detail or "auto"}
        return {**shape, "file_id": part.file_id} if part.file_id else {**shape, "image_url": part.url or data_url}
    if part.kind != "file":
        raise ConfigError(f"{name} takes text, images and files, no {part.kind}")
    shape = {"type": "input_file"}
    if part.filename:
        shape["filename"] = part.filename
    for field, value in (("file_id", part.file_id), ("file_url", part.url), ("file_data", data_url)):
        if value:
            return {**shape, field: value}
    return shape


def _tools(name: str, parameters: Parameters, body: dict[str, Any], limits: ToolLimits | None) -> None:
    if tools := parameters.take("tools"):
        body["tools"] = [_tool(tool) for tool in tools_for(name, tools, "strict", limits=limits)]
    choice = parameters.take_tool_choice()
    if isinstance(choice, Mapping) and choice.get("type") != "function":
        body["tool_choice"] = choice  # one of the API's own tools, in its own shape
    elif choice is not None:
        chosen = tool_choice_of(choice)
        body["tool_choice"] = {"type": "function", "name": chosen.name} if isinstance(chosen, NamedTool) else chosen


def _tool(tool: ToolSpec | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(tool, ToolSpec):
        return tool
    shape: dict[str, Any] = {"type": "function", "name": tool.name, "parameters": tool.parameters}
    if tool.description:
        shape["description"] = tool.description
    shape["strict"] = bool(tool.strict)  # its own default is true, which refuses most schemas
    return shape


def _form(parameters: Parameters, body: dict[str, Any]) -> None:
    form = parameters.take_one_of("response_format", "text.format")
    text = parameters.take_object("text", "verbosity")
    wanted = None if form is None else format_of(form)
    if wanted is not None and wanted.schema is None:
        text["format"] = {"type": "json_object"}
    elif wanted is not None:
        shape: dict[str, Any] = {"type": "json_schema", "name": wanted.name, "schema": wanted.schema}
        if wanted.description:
            shape["description"] = wanted.description
        if wanted.strict is not None:
            shape["strict"] = wanted.strict
        text["format"] = shape
    if text:
        body["text"] = text
