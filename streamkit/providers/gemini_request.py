"""A call in OpenAI's words to the body of Gemini's streamGenerateContent.

Source: https://ai.google.dev/api/generate-content, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.base import ChatRequest
from streamkit.providers.gemini_decoder import FORMAT, MADE_ID
from streamkit.providers.lenient import as_dict
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
from streamkit.providers.unsaid import arguments_of

__all__ = ["body_of"]

_CHOICES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
# Tokens of thought for models before Gemini 3, which have a budget where later ones have a level.
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_MEDIA_TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
_MEDIA_TYPES |= {"pdf": "application/pdf", "txt": "text/plain", "mp4": "video/mp4", "mp3": "audio/mpeg"}


def body_of(name: str, chat: ChatRequest, *, ids: bool) -> dict[str, Any]:
    """Return the body for a streamed reply.

    Args:
        name: the provider's, for errors.
        chat: the call.
        ids: whether the server knows ids of function calls.

    Raises:
        ConfigError: there is something that Gemini has no word for.
    """
    parameters = Parameters(name, chat)
    system, conversation = system_text(turns(chat.messages), name)
    body: dict[str, Any] = {"contents": _contents(name, conversation, ids)}
    if system:
        body["systemInstruction"] = {"parts": [{"text": system}]}
    _tools(parameters, body)
    generation = _generation(name, chat.model, parameters)
    if generation:
        body["generationConfig"] = generation
    parameters.copy(body, safetySettings="safety_settings", cachedContent="cached_content", labels="labels")
    parameters.refuse("parallel_tool_calls", "it calls as many tools at once as it wants to")
    parameters.refuse("user", "its requests name no user")
    parameters.finish()
    return body


def _contents(name: str, conversation: Sequence[Turn], ids: bool) -> list[dict[str, Any]]:
    """Return the contents; those of one side that follow each other become one, as results of calls must."""
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # of functions, by the id of their last call
    for turn in conversation:
        role = "model" if turn.role == "assistant" else "user"
        if turn.role == "tool":
            parts = [_result(name, turn, names, ids)]
        else:
            parts = _parts(name, turn, ids)
            names |= {call.id: call.name for call in turn.calls}
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": role, "parts": parts})
    return contents


def _result(name: str, turn: Turn, names: Mapping[str, str], ids: bool) -> dict[str, Any]:
    id = turn.call_id or ""
    function = names.get(id) or turn.name
    if not function:
        raise ConfigError(f"{name} answers tool calls by name, and no earlier message has a call with the id {id!r}")
    response: dict[str, Any] = {"name": function, "response": {"result": turn.text(name)}}
    if ids and not id.startswith(MADE_ID):
        response["id"] = id
    return {"functionResponse": response}


def _parts(name: str, turn: Turn, ids: bool) -> list[dict[str, Any]]:
    data = [as_dict(datum) for datum in provider_data(turn, FORMAT)]
    parts = [_part(name, part) for part in turn.parts]
    signature = next((datum.get("signature") for datum in data if datum.get("text")), None)
    if signature and parts:
        parts[-1]["thoughtSignature"] = signature
    elif signature:
        parts.append({"text": "", "thoughtSignature": signature})
    signatures = {datum.get("call"): datum.get("signature") for datum in data if isinstance(datum.get("call"), int)}
    for which, call in enumerate(turn.calls):
        shape: dict[str, Any] = {"name": call.name, "args": arguments_of(name, call)}
        if ids and call.id and not call.id.startswith(MADE_ID):
            shape["id"] = call.id
        parts.append({"functionCall": shape})
        if signatures.get(which):
            parts[-1]["thoughtSignature"] = signatures[which]
    return parts


def _part(name: str, part: Text | Media) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    if part.file_id:
        return {"fileData": {"fileUri": part.file_id}}
    if part.data is not None:
        return {"inlineData": {"mimeType": part.media_type, "data": part.data}}
    ending = (part.url or "").partition("?")[0].rpartition(".")[2].lower()
    if ending not in _MEDIA_TYPES:
        raise ConfigError(f"{name} needs the media type of {part.url!r}, whose ending tells none; pass a data: URL")
    return {"fileData": {"fileUri": part.url, "mimeType": _MEDIA_TYPES[ending]}}


def _tools(parameters: Parameters, body: dict[str, Any]) -> None:
    functions: list[dict[str, Any]] = []
    tools: list[Any] = []
    for tool in tools_of(parameters.take("tools") or ()):
        if isinstance(tool, ToolSpec):
            declared: dict[str, Any] = {"name": tool.name, "parametersJsonSchema": tool.parameters}
            if tool.description:
                declared["description"] = tool.description
            functions.append(declared)
        else:
            tools.append(tool)  # one of Google's own, such as {"googleSearch": {}}
    if functions:
        tools.insert(0, {"functionDeclarations": functions})
    if tools:
        body["tools"] = tools
    if (choice := parameters.take("tool_choice")) is not None:
        chosen = tool_choice_of(choice)
        config: dict[str, Any] = {"mode": "ANY" if isinstance(chosen, NamedTool) else _CHOICES[chosen]}
        if isinstance(chosen, NamedTool):
            config["allowedFunctionNames"] = [chosen.name]
        body["toolConfig"] = {"functionCallingConfig": config}


def _generation(name: str, model: str, parameters: Parameters) -> dict[str, Any]:
    generation: dict[str, Any] = {}
    parameters.copy(
        generation,
        *("temperature", "seed"),
        topP="top_p",
        topK="top_k",
        maxOutputTokens="max_tokens",
        candidateCount="n",
        presencePenalty="presence_penalty",
        frequencyPenalty="frequency_penalty",
        responseLogprobs="logprobs",
        logprobs="top_logprobs",
        responseModalities="modalities",
    )
    if thinking := parameters.take_object("thinking_config"):
        generation["thinkingConfig"] = thinking
    if stops := parameters.take_stop():
        generation["stopSequences"] = stops
    form = parameters.take("response_format")
    wanted = None if form is None else format_of(form)
    if wanted is not None:
        generation["responseMimeType"] = "application/json"
        if wanted.schema is not None:
            generation["responseJsonSchema"] = wanted.schema
    if (effort := parameters.take("reasoning_effort")) is not None:
        generation["thinkingConfig"] = {**_thinking(name, model, effort), **generation.get("thinkingConfig", {})}
    return generation


def _thinking(name: str, model: str, effort: Any) -> dict[str, Any]:
    """Return how hard to think; the thoughts are asked for as well, as they are with other providers."""
    if effort not in _BUDGETS:
        raise ConfigError(f"{name} has reasoning_effort {', '.join(_BUDGETS)}, not {effort!r}")
    if "gemini-2" in model:
        return {"thinkingBudget": _BUDGETS[effort], "includeThoughts": effort != "none"}
    if effort == "none":
        raise ConfigError(f"{model} cannot be kept from thinking; its least reasoning_effort is 'minimal'")
    return {"thinkingLevel": effort, "includeThoughts": True}
