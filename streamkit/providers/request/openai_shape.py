"""Validate OpenAI-shaped input before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Provider
from streamkit.providers.request.credentials import made_with
from streamkit.values.json_text import PassedBoundError, decoded
from streamkit.wire.loose_json import as_dict, as_json, as_text

__all__ = [
    "answered_call_of",
    "arguments_text",
    "check_parameters",
    "check_tool_choice",
    "content_of",
    "function_of",
    "has_tools",
    "items_of",
    "json_of",
    "normalise",
    "stops_of",
    "texts_of",
    "tool_list",
    "with_named_results",
    "with_tool_calls",
    "word_of",
]

# Parameters that may add tools, so that tool_choice makes sense without tools=.
_BRING_TOOLS = ("tools", "mcp_servers", "prompt")
# What belongs to a provider: the names in a call, and those of the provider's argument, which differ by provider.
_OF_A_PROVIDER = {
    "api_key": ("api_key",),
    "base_url": ("base_url", "endpoint"),
    "api_base": ("base_url", "endpoint"),
}


def content_of(where: str, message: Mapping[str, Any]) -> str | Sequence[Any] | None:
    """Return a message's content: text, a list of parts that are dicts or texts, or nothing.

    Raises:
        ConfigError: it is anything else.
    """
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        raise ConfigError(f"{where}.content is text or a list of parts, not {type(content).__name__}")
    for number, part in enumerate(content):
        if not isinstance(part, (str, Mapping)):
            raise ConfigError(f"{where}.content[{number}] is a part such as TextPart, not {type(part).__name__}")
    return content


def items_of(where: str, message: Mapping[str, Any], field: str) -> Sequence[Any]:
    """Return a field that is a list, empty where there is none.

    Raises:
        ConfigError: it is anything else.
    """
    items = message.get(field) or ()
    if not isinstance(items, (list, tuple)):
        raise ConfigError(f"{where}.{field} is a list, not {type(items).__name__}")
    return items


def word_of(where: str, message: Mapping[str, Any], field: str) -> str | None:
    """Return a field that is text, ``None`` where there is none.

    Raises:
        ConfigError: it is anything else.
    """
    word = message.get(field)
    if word is not None and not isinstance(word, str):
        raise ConfigError(f"{where}.{field} is text, not {type(word).__name__}")
    return word


def answered_call_of(where: str, message: Mapping[str, Any]) -> str:
    """Return the id of the call that a tool message answers, or the tool's name in the older shape.

    Raises:
        ConfigError: it has neither.
    """
    call_id = word_of(where, message, "tool_call_id") or word_of(where, message, "name")
    if not call_id:
        raise ConfigError(f"{where} answers a tool call, so it needs the call's id in tool_call_id")
    return call_id


def function_of(where: str, call: Any) -> tuple[str, str]:
    """Return the name and the arguments, as they came, of a tool call in the OpenAI shape.

    Raises:
        ConfigError: it has no name, or its arguments are neither text nor an object.
    """
    function = as_dict(as_dict(call).get("function"))
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{where}.tool_calls has a call without a function name")
    if isinstance(arguments, Mapping):
        arguments = json_of(f"{where}.tool_calls: the arguments of {name}", arguments)
    if not isinstance(arguments, (str, type(None))):
        raise ConfigError(f"{where}.tool_calls has arguments that are JSON text, not {type(arguments).__name__}")
    return name, arguments or ""


def arguments_text(raw: str) -> str:
    """Return a function's arguments as they are sent: unchanged if they are the JSON text of an object, else ``{}``.

    What a model wrote wrongly, or was cut off in, cannot be repaired without a guess, and many servers refuse the whole
    history for it. The history that the user keeps is not changed, and the result of the call says what was wrong. Not
    for the free text of custom tools.
    """
    try:
        return raw if raw.strip() and isinstance(decoded(raw), dict) else "{}"
    except PassedBoundError:  # too long to be looked at, which does not make it wrong
        return raw
    except ValueError:
        return "{}"


def json_of(what: str, value: Mapping[str, Any]) -> str:
    """Return the JSON text of what a user passed.

    Raises:
        ConfigError: it cannot be written as JSON; ``what`` names it in the message.
    """
    try:
        text = as_json(dict(value))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what} cannot be written as JSON: {error}") from error
    if not text:
        raise ConfigError(f"{what} cannot be written as JSON: it is nested beyond reason")
    return text


def with_tool_calls(messages: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return messages with the older ``function_call`` as a tool call, and each result with the id of its call.

    The call's id is the function's name, with a number where it is called again: ids have to differ.

    Raises:
        ConfigError: a message has a call of either shape, or its calls are no list.
    """
    counts: dict[str, int] = {}
    read: list[Mapping[str, Any]] = []
    for position, message in enumerate(messages):
        if message["role"] == "assistant" and (call := message.get("function_call")):
            if message.get("tool_calls"):
                raise ConfigError(f"messages[{position}] has both tool_calls and function_call; leave one out")
            name = as_text(as_dict(call).get("name"))
            counts[name] = counts.get(name, 0) + 1
            id = name if counts[name] == 1 else f"{name}-{counts[name]}"
            message = {**message, "tool_calls": [{"id": id, "type": "function", "function": call}]}
        read.append(message)
    return with_named_results(read)


def with_named_results(messages: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return messages in which a result that has no id but the tool's name has the id of the call that it answers.

    That is, of the last message with calls of the tool, the first that no result has answered yet. Where there is
    none, the message stays as it is.

    Raises:
        ConfigError: the calls of a message are no list.
    """
    unanswered: dict[str, list[Any]] = {}  # ids of the calls of each tool
    read: list[Mapping[str, Any]] = []
    for position, message in enumerate(messages):
        if message["role"] == "assistant":
            calls = [as_dict(call) for call in items_of(f"messages[{position}]", message, "tool_calls")]
            named = [(_called(call), call["id"]) for call in calls if call.get("id")]
            unanswered |= {name: [id for other, id in named if other == name] for name, _ in named}
        elif message["role"] in ("tool", "function"):
            name, id = as_text(message.get("name")), message.get("tool_call_id")
            if not id and unanswered.get(name):
                id = unanswered[name][0]
                message = {**message, "role": "tool", "tool_call_id": id}
            unanswered = {name: [each for each in ids if each != id] for name, ids in unanswered.items()}
        read.append(message)
    return read


def _called(call: Mapping[str, Any]) -> str:
    return as_text(as_dict(call.get("function") or call.get("custom")).get("name"))


def tool_list(tools: Any) -> list[Mapping[str, Any]]:
    """Return tools as a list of dicts, of which those of the type ``function`` are in the OpenAI shape.

    Raises:
        ConfigError: it is no list, or a function has no name, or parameters that are no object.
    """
    if isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Iterable):
        raise ConfigError(f"tools is a list of functions, Tool and dicts, not {_kind_of(tools)}")
    listed = list(tools)
    for position, tool in enumerate(listed):
        if not isinstance(tool, Mapping):
            raise ConfigError(f"tools[{position}] is a dict in the OpenAI shape here, not {_kind_of(tool)}")
        if tool.get("type") != "function":
            continue
        function = as_dict(tool.get("function"))
        if not as_text(function.get("name")):
            raise ConfigError(f"tools[{position}] needs function.name")
        given = function.get("parameters")
        if given is not None and not isinstance(given, Mapping):
            raise ConfigError(f"tools[{position}].function.parameters is a JSON schema, not {type(given).__name__}")
    return listed


def _kind_of(tool: Any) -> str:
    """Return what a value is that is no tool here; for a function or a class, where to pass it."""
    name = getattr(tool, "__name__", None)
    if not callable(tool) or not isinstance(name, str):
        return type(tool).__name__
    if isinstance(tool, type):
        return f"the class {name}: an instance of it as the reply is asked for by response_format={name}"
    return f"the function {name}: a Client takes functions in a list, tools=[{name}]"


def check_tool_choice(chat: ChatRequest) -> None:
    """Raise a ConfigError if tool_choice requires a tool and the call has no tools."""
    choice = chat.params.get("tool_choice")
    if choice not in (None, "auto", "none") and not has_tools(chat):
        raise ConfigError(f"tool_choice={choice!r} demands a tool, and the call has none: pass tools=")


def has_tools(chat: ChatRequest) -> bool:
    """Return whether a call may have tools, so that tool_choice makes sense."""
    return any(chat.params.get(name) or name in chat.extra_body for name in _BRING_TOOLS)


def check_parameters(provider: Provider, params: Mapping[str, Any]) -> None:
    """Raise a ConfigError for a name that is no provider's call parameter; its value is not shown, it may be a key."""
    for name, arguments in _OF_A_PROVIDER.items():
        if params.get(name) is not None:
            raise ConfigError(
                f"{name} belongs to a provider, not to a call: {made_with(type(provider), provider.name, *arguments)}"
            )
    if params.get("stream") is not None:
        raise ConfigError("stream is no parameter: stream() streams, complete() returns the whole reply; leave it out")


def stops_of(given: Any) -> list[str]:
    """Return stop sequences as a list; see ``texts_of``."""
    return texts_of("stop_sequences", given)


def texts_of(name: str, given: Any) -> list[str]:
    """Return one string or several as a list, empty if nothing was given.

    Raises:
        ConfigError: it is neither text nor texts.
    """
    if given is None:
        return []
    if isinstance(given, str):
        return [given]
    texts = None if isinstance(given, (bytes, Mapping)) or not isinstance(given, Iterable) else list(given)
    if texts is None or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"{name} is a text or a list of texts")
    return texts


def normalise(params: dict[str, Any]) -> None:
    """Convert parameters in place to what is sent in the OpenAI shape, such as tuples of strings to lists.

    Raises:
        ConfigError: tools, tool_choice, response_format or the stop sequences have a wrong type.
    """
    if "tools" in params:
        params["tools"] = tool_list(params["tools"])
    for name in ("stop", "stop_sequences"):
        if name in params and not isinstance(params[name], str):
            params[name] = stops_of(params[name])
    choice, form = params.get("tool_choice", ""), params.get("response_format", {"type": ""})
    if not isinstance(choice, (str, Mapping)):
        raise ConfigError(f"tool_choice is a word such as 'auto' or a dict, not {type(choice).__name__}")
    if not isinstance(form, Mapping) or not isinstance(form.get("type"), str):
        raise ConfigError(f"response_format is a dict with a type, such as {{'type': 'json_object'}}, not {form!r}")
