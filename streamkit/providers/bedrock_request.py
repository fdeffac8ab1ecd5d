"""A call in OpenAI's words to the body of Bedrock's converse-stream.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.base import ChatRequest
from streamkit.providers.bedrock_decoder import FORMAT
from streamkit.providers.lenient import as_json
from streamkit.providers.parts import Media, Text
from streamkit.providers.prompt import (
    NamedTool,
    Parameters,
    ToolSpec,
    Turn,
    format_of,
    provider_data,
    system_text,
    tool_choice_of,
    tools_of,
    turns,
)
from streamkit.providers.unsaid import arguments_of, call_id_of

__all__ = ["body_of"]


def body_of(name: str, chat: ChatRequest) -> dict[str, Any]:
    """Return the body for a streamed reply.

    Raises:
        ConfigError: there is something that converse has no word for.
    """
    parameters = Parameters(name, chat)
    system, conversation = system_text(turns(chat.messages), name)
    body: dict[str, Any] = {"messages": _messages(name, conversation)}
    if system:
        body["system"] = [{"text": system}]
    inference: dict[str, Any] = {}
    parameters.copy(inference, "temperature", topP="top_p", maxTokens="max_tokens")
    if stops := parameters.take_stop():
        inference["stopSequences"] = stops
    if inference:
        body["inferenceConfig"] = inference
    _tools(name, parameters, body)
    parameters.copy(
        body,
        additionalModelRequestFields="additional_model_request_fields",
        guardrailConfig="guardrail_config",
        performanceConfig="performance_config",
        requestMetadata="metadata",
    )
    _form(parameters, body)
    if parameters.take("n", 1) != 1:
        raise ConfigError(f"{name} gives one reply at a time; leave n out")
    for missing in ("top_k", "seed", "reasoning_effort"):
        parameters.refuse(missing, "it differs by model; pass additional_model_request_fields=")
    parameters.finish()
    return body


def _messages(name: str, conversation: Sequence[Turn]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for turn in conversation:
        role = "assistant" if turn.role == "assistant" else "user"
        content = _content(name, turn)
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += content
        elif content:
            messages.append({"role": role, "content": content})
    return messages


def _content(name: str, turn: Turn) -> list[dict[str, Any]]:
    content = [_block(name, part, number) for number, part in enumerate(turn.parts, 1)]
    if turn.role == "tool":
        return [{"toolResult": {"toolUseId": turn.call_id, "content": content}}]
    calls = [
        {"toolUse": {"toolUseId": call_id_of(name, call), "name": call.name, "input": arguments_of(name, call)}}
        for call in turn.calls
    ]
    return [*provider_data(turn, FORMAT), *content, *calls]


def _block(name: str, part: Text | Media, number: int) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    if part.kind == "audio" or part.file_id:
        raise ConfigError(f"{name} takes text, images, documents and films, by content or s3: address")
    if part.url is not None and not part.url.startswith("s3://"):
        raise ConfigError(f"{name} does not fetch {part.kind}s from the web; pass a data: URL or an s3: address")
    if part.url is not None:
        format, source = part.url.rpartition(".")[2].lower(), {"s3Location": {"uri": part.url}}
    else:
        format, source = part.media_type.partition("/")[2].partition("+")[0], {"bytes": part.data or ""}  # type: ignore[dict-item]
    format = {"jpg": "jpeg", "plain": "txt", "markdown": "md"}.get(format, format)
    shape: dict[str, Any] = {"format": format, "source": source}
    if part.kind != "file":
        return {part.kind: shape}
    title = (part.filename or f"document {number}").rpartition(".")[0] or part.filename or f"document {number}"
    return {"document": {"name": "".join(c if c.isalnum() or c in " -()[]" else " " for c in title), **shape}}


def _tools(name: str, parameters: Parameters, body: dict[str, Any]) -> None:
    parameters.refuse("parallel_tool_calls", "converse leaves that to the model")
    tools, choice = parameters.take("tools"), parameters.take("tool_choice")
    if not tools or choice == "none":
        if choice not in (None, "none", "auto"):
            raise ConfigError(f"{name} needs tools for tool_choice")
        return
    config: dict[str, Any] = {"tools": [_tool(tool) for tool in tools_of(tools)]}
    if choice is not None:
        chosen = tool_choice_of(choice)
        if isinstance(chosen, NamedTool):
            config["toolChoice"] = {"tool": {"name": chosen.name}}
        else:
            config["toolChoice"] = {"any" if chosen == "required" else "auto": {}}
    body["toolConfig"] = config


def _tool(tool: ToolSpec | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(tool, ToolSpec):
        return tool
    spec: dict[str, Any] = {"name": tool.name, "inputSchema": {"json": tool.parameters}}
    if tool.description:
        spec["description"] = tool.description
    if tool.strict is not None:
        spec["strict"] = tool.strict
    return {"toolSpec": spec}


def _form(parameters: Parameters, body: dict[str, Any]) -> None:
    form = parameters.take("response_format")
    wanted = None if form is None else format_of(form)
    if wanted is None:
        return
    if wanted.schema is None:
        raise ConfigError("converse has no JSON without a schema: use response_format of type json_schema")
    schema = {"schema": as_json(dict(wanted.schema)), "name": wanted.name}  # as text
    structure = {"type": "json_schema", "structure": {"jsonSchema": schema}}
    body["outputConfig"] = {"textFormat": structure}
