"""Build the body of Gemini's streamGenerateContent from an OpenAI-shaped call.

Source: https://ai.google.dev/api/generate-content, read 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.gemini.decoder import FORMAT, MADE_ID
from streamkit.providers.reply.order import in_order
from streamkit.providers.request.parameters import Parameters
from streamkit.providers.request.parts import Media, Text
from streamkit.providers.request.schemas import without_synonyms
from streamkit.providers.request.tool_limits import GEMINI
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
    all_strict,
    arguments_of,
    begun_by_user,
    full_parts,
    refuse_empty,
    tools_for,
    turns_for,
)
from streamkit.wire.loose_json import as_dict

__all__ = ["body_of", "is_recent"]

_CHOICES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
# Tokens of thought for models before Gemini 3, which have a budget; later ones have a level.
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_MEDIA_TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
_MEDIA_TYPES |= {"pdf": "application/pdf", "txt": "text/plain", "mp4": "video/mp4", "mp3": "audio/mpeg"}
_FILM = re.compile(r"https://((www\.|m\.)?youtube\.com|youtu\.be)/", re.IGNORECASE)
_UPLOADED = re.compile(r"https://generativelanguage\.googleapis\.com/[^/]+/files/", re.IGNORECASE)
_DECLARED = frozenset({"functionDeclarations", "function_declarations"})  # in the shape of a tool of Google's own
_IN_RESPONSES = frozenset({"image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"})
_RESOLUTIONS = ("low", "medium", "high", "ultra_high")
# Replaces the signature of a call that Gemini did not make or did not sign.
# Source: https://ai.google.dev/gemini-api/docs/generate-content/thought-signatures, read 2026-11-21.
_NO_SIGNATURE = "skip_thought_signature_validator"


def body_of(name: str, chat: ChatRequest, *, vertex: bool) -> dict[str, Any]:
    """Return the body for a streamed reply.

    Args:
        name: the provider's, for errors.
        chat: the call.
        vertex: whether Vertex AI is asked, which knows no ids of function calls, and lets nobody say what it keeps.

    Raises:
        ConfigError: the call has something that Gemini does not support.
    """
    parameters = Parameters(name, chat)
    system, conversation = system_text(turns_for(name, chat, "detail"), name)
    refuse_empty(name, conversation, chat, "contents")
    contents = _contents(name, chat.model, begun_by_user(conversation), not vertex)
    if is_recent(chat.model):
        _sign(contents)
    body: dict[str, Any] = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": [{"text": system}]}
    _tools(name, parameters, body)
    generation = _generation(name, chat.model, parameters)
    if generation:
        body["generationConfig"] = generation
    parameters.copy(body, safetySettings="safety_settings", cachedContent="cached_content", labels="labels")
    # Source: https://ai.google.dev/gemini-api/docs/logs-datasets, read 2026-11-27.
    if vertex:
        parameters.refuse("store", "what it keeps is a setting of the project")
    parameters.copy(body, "store")
    parameters.refuse("parallel_tool_calls", "it calls as many tools at once as it wants to")
    parameters.refuse("user", "its requests name no user")
    parameters.finish()
    return body


def _contents(name: str, model: str, conversation: Sequence[Turn], ids: bool) -> list[dict[str, Any]]:
    """Return the contents; consecutive ones of one role are merged, which results of calls require."""
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # of functions, by the id of their last call
    beside: list[dict[str, Any]] = []  # media of results, which follow the last of these
    for turn in [*conversation, None]:
        if beside and (turn is None or turn.role != "tool"):
            contents[-1]["parts"] += beside
            beside = []
        if turn is None:
            break
        role = "model" if turn.role == "assistant" else "user"
        if turn.role == "tool":
            result, more = _result(name, model, turn, names, ids)
            parts = [result]
            beside += more
        else:
            parts = _parts(name, model, turn, ids)
            names |= {call.id: call.name for call in turn.calls}
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": role, "parts": parts})
    return contents


def _result(
    name: str, model: str, turn: Turn, names: Mapping[str, str], ids: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a function's response, and the parts of the result that it cannot have inside.

    From Gemini 3 on a response takes images, PDF and text by content. Whatever else there is follows the responses, in
    the same content.

    Source: https://ai.google.dev/gemini-api/docs/function-calling#multimodal-function-responses, read 2026-11-27.
    """
    id = turn.call_id or ""
    function = names.get(id) or turn.name
    if not function:
        raise ConfigError(f"{name} answers tool calls by name, and no earlier message has a call with the id {id!r}")
    texts = "".join(part.text for part in turn.parts if isinstance(part, Text))
    media = [part for part in turn.parts if isinstance(part, Media)]
    response: dict[str, Any] = {"name": function, "response": {"result": texts}}
    inside = [part for part in media if is_recent(model) and part.data and part.media_type in _IN_RESPONSES]
    if inside:
        response["parts"] = [_media(name, part) for part in inside]
    if ids and not id.startswith(MADE_ID):
        response["id"] = id
    beside = [_part(name, model, part) for part in media if part not in inside]
    told = {"text": f"What {function} returned:"}
    return {"functionResponse": response}, [told, *beside] if beside else []


def is_recent(model: str) -> bool:
    """Whether the model is Gemini 3 or later, which refuses calls without a signature."""
    version = re.search(r"gemini-(\d+)", model)
    return int(version[1]) >= 3 if version else re.search(r"gemini-\S*latest", model) is not None


def _sign(contents: Sequence[Mapping[str, Any]]) -> None:
    """Put a signature on the first call of each content that has calls, as the API requires."""
    for content in contents:
        call = next((part for part in content["parts"] if "functionCall" in part), None)
        if call is not None:
            call.setdefault("thoughtSignature", _NO_SIGNATURE)


_SAID = frozenset(("text", "inlineData", "fileData"))  # parts that a signature of text may be put on


def _parts(name: str, model: str, turn: Turn, ids: bool) -> list[dict[str, Any]]:
    data = [as_dict(datum) for datum in provider_data(turn, FORMAT)]
    calls = _calls(name, turn, data, ids)
    kept = [
        as_dict(datum["part"]) if "part" in datum else datum for datum in data if "part" in datum or "layout" in datum
    ]
    if kept and turn.role == "assistant":
        parts = in_order(kept, turn.text(name), calls, lambda text: {"text": text})
    else:
        parts = [*(_part(name, model, part) for part in full_parts(turn)), *calls]
    signature = next((datum.get("signature") for datum in data if datum.get("text")), None)
    if signature:
        last = next((part for part in reversed(parts) if not _SAID.isdisjoint(part)), None)
        if last is None:
            last = {"text": ""}
            parts.insert(len(parts) - len(calls), last)
        last["thoughtSignature"] = signature
    return parts


def _calls(name: str, turn: Turn, data: Sequence[Mapping[str, Any]], ids: bool) -> list[dict[str, Any]]:
    signatures = {datum.get("call"): datum.get("signature") for datum in data if isinstance(datum.get("call"), int)}
    calls: list[dict[str, Any]] = []
    for which, call in enumerate(turn.calls):
        shape: dict[str, Any] = {"name": call.name, "args": arguments_of(name, call)}
        if ids and call.id and not call.id.startswith(MADE_ID):
            shape["id"] = call.id
        calls.append({"functionCall": shape})
        if signatures.get(which):
            calls[-1]["thoughtSignature"] = signatures[which]
    return calls


def _part(name: str, model: str, part: Text | Media) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    return {**_media(name, part), **_resolution(name, model, part)}


def _media(name: str, part: Media) -> dict[str, Any]:
    if part.data is not None:
        return {"inlineData": {"mimeType": part.media_type, "data": part.data}}
    url = part.url or ""
    if part.file_id or _UPLOADED.match(url):
        return {"fileData": {"fileUri": part.file_id or url}}
    ending = "mp4" if _FILM.match(url) else url.partition("?")[0].rpartition(".")[2].lower()
    if ending not in _MEDIA_TYPES:
        raise ConfigError(
            f"{name} needs the media type of {url!r}, whose ending tells none; pass a data: URL, or the address "
            "of an uploaded file as file_id"
        )
    return {"fileData": {"fileUri": url, "mimeType": _MEDIA_TYPES[ending]}}


def _resolution(name: str, model: str, part: Media) -> dict[str, Any]:
    if part.detail in (None, "auto"):
        return {}
    if re.search(r"gemini-[12]\b", model):
        raise ConfigError(f"{model} has no detail of {part.kind}s, as it is older than Gemini 3; leave it out")
    if part.detail not in _RESOLUTIONS:
        raise ConfigError(f"{name} has the detail {', '.join(_RESOLUTIONS)} or auto, not {part.detail!r}")
    return {"mediaResolution": {"level": f"MEDIA_RESOLUTION_{part.detail.upper()}"}}


def _tools(name: str, parameters: Parameters, body: dict[str, Any]) -> None:
    functions: list[dict[str, Any]] = []
    tools: list[Any] = []
    given = tools_for(name, parameters.take("tools") or (), "strict", limits=GEMINI)
    for tool in given:
        if isinstance(tool, ToolSpec):
            declared: dict[str, Any] = {"name": tool.name, "parametersJsonSchema": tool.parameters}
            if tool.description:
                declared["description"] = tool.description
            functions.append(declared)
        else:
            tools.append(tool)  # one of Google's own, such as {"googleSearch": {}}
    choice = parameters.take_tool_choice()
    own_alone = bool(given) and not any(isinstance(tool, ToolSpec) or not _DECLARED.isdisjoint(tool) for tool in given)
    if own_alone and choice == "none":
        return  # which has no other word for it
    if functions:
        tools.insert(0, {"functionDeclarations": functions})
    if tools:
        body["tools"] = tools
    if own_alone and choice not in (None, "auto"):
        raise ConfigError(f"{name} has tool_choice for functions only, not for its own tools; leave either out")
    if config := {} if own_alone else _calling(choice, given):
        body["toolConfig"] = {"functionCallingConfig": config}


def _calling(choice: Any, tools: Sequence[ToolSpec | Mapping[str, Any]]) -> dict[str, Any]:
    """Return the function-calling config, empty if the model decides or there are no functions."""
    config: dict[str, Any] = {}
    if choice is not None:
        chosen = tool_choice_of(choice)
        config["mode"] = "ANY" if isinstance(chosen, NamedTool) else _CHOICES[chosen]
        if isinstance(chosen, NamedTool):
            config["allowedFunctionNames"] = [chosen.name]
    if all_strict(tools) and config.get("mode", "AUTO") == "AUTO":
        config["mode"] = "VALIDATED"  # to their schemas, which ANY does by itself
    return config


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
    if stops := parameters.take_stop():
        generation["stopSequences"] = stops
    form = parameters.take("response_format")
    wanted = None if form is None else format_of(form)
    if wanted is not None:
        generation["responseMimeType"] = "application/json"
        if wanted.schema is not None:
            generation["responseJsonSchema"] = without_synonyms(wanted.schema)
    parameters.respell("thinking_config", _camel_case)
    effort = parameters.take_one_of(
        "reasoning_effort", "thinking_config.thinkingLevel", "thinking_config.thinkingBudget"
    )
    thinking = {} if effort is None else _thinking(name, model, effort)
    thinking |= parameters.take_object("thinking_config")
    if thinking:
        generation["thinkingConfig"] = thinking
    return generation


def _camel_case(field: str) -> str:
    """Return a name in the camel case of the API; Google's own libraries use snake case."""
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), field)


def _thinking(name: str, model: str, effort: Any) -> dict[str, Any]:
    """Return the thinking config; it asks for the thoughts as well, as other providers send them."""
    if effort not in _BUDGETS:
        raise ConfigError(f"{name} has reasoning_effort {', '.join(_BUDGETS)}, not {effort!r}")
    if effort == "none" and ("gemini-2" not in model or "gemini-2.5-pro" in model):
        raise ConfigError(f"{model} cannot be kept from thinking; the lowest setting is reasoning_effort 'low'")
    if "gemini-2" in model:
        return {"thinkingBudget": _BUDGETS[effort], "includeThoughts": effort != "none"}
    return {"thinkingLevel": effort, "includeThoughts": True}
