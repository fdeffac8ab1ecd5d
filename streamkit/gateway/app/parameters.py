"""A request's parameters before anything is reserved: ``configured``, then ``check_parameters``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from streamkit.errors import RequestError
from streamkit.gateway.config.values import ModelConfig
from streamkit.web.formats.requests.request import WebRequest

__all__ = ["check_parameters", "configured"]

_LARGEST = 10_000  # of a parameter that is a fraction; providers allow far less
_MOST_TOOLS = 1024
# What the list price pays, or more than it costs. Others, such as "priority", cost more.
_TIERS = ("auto", "default", "standard", "standard_only", "flex")
_TOOLS = ("function", "custom")  # that the client runs
# Fields of OpenAI's format without which a reply would be another one. What else is not known is left out.
_NOT_SERVED = {
    "functions": "send tools instead",
    "function_call": "send tool_choice instead",
    "web_search_options": "let the client search, and send what it found",
}


def configured(request: WebRequest, model: ModelConfig) -> WebRequest:
    """Return the request without the parameters that its model drops, and with the fields that it lets through."""
    dropped = {"stop_sequences" if name == "stop" else name for name in model.drop}
    params = {name: value for name, value in request.params.items() if name not in dropped}
    extra = request.extra
    if "reasoning_effort" in dropped:  # where the formats of Anthropic and of Responses have it as well
        extra = {name: value for name, value in extra.items() if name != "reasoning"}
        if "output_config" in params:
            params["output_config"] = {key: value for key, value in params["output_config"].items() if key != "effort"}
    fields = {name: request.extra[name] for name in model.fields if request.extra.get(name) is not None}
    if fields:
        params["extra_body"] = fields
    return attrs.evolve(request, params=params, extra=extra)


def check_parameters(request: WebRequest) -> None:
    """Check the types of parameters, and that prices by the token say what they cost; ranges are the provider's matter.

    Raises:
        RequestError: one has a wrong type, is no possible number, asks for what costs more than its tokens, or for
            something that is not served.
    """
    params = request.params
    for name, why in _NOT_SERVED.items():
        if request.extra.get(name) and name not in params.get("extra_body", ()):
            raise RequestError(f"{name} is not served: {why}", param=name, code="unsupported_parameter")
    for name, value in params.items():
        check = _CHECKS.get(name)
        if check is not None and not check[0](value):
            raise RequestError(f"{name} is {check[1]}", param=name, code="invalid_type")
    for name, text in _unpriced(params):
        raise RequestError(f"{text}: what it costs is not known here", param=name, code="unsupported_parameter")


def _unpriced(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the parameters that make a reply dearer than its tokens by the list, and what to say of each."""
    if params.get("service_tier", _TIERS[0]) not in _TIERS:
        yield "service_tier", f"service_tier is one of {', '.join(_TIERS)}"
    if set(params.get("modalities", ())) - {"text"}:
        yield "modalities", "modalities other than text are not served"
    for number, tool in enumerate(params.get("tools", ())):
        if tool.get("type", _TOOLS[0]) not in _TOOLS:
            yield f"tools[{number}].type", "tools that run on the provider's side are not served"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 1024


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) <= 64 and all(isinstance(each, str) for each in value)


def _is_tool(value: Any) -> bool:
    if not isinstance(value, Mapping) or not isinstance(value.get("type", "function"), str):
        return False
    function = value.get("function")
    if function is None:
        return bool(value.get("type", "function") != "function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        return False
    parameters = function.get("parameters")
    return parameters is None or isinstance(parameters, Mapping)


def _is_tools(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) <= _MOST_TOOLS and all(map(_is_tool, value))


def _is_choice(value: Any) -> bool:
    return isinstance(value, (str, Mapping))


def _is_format(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("type"), str)


_Check = tuple[Callable[[Any], bool], str]
_NUMBER: _Check = (_is_number, "a number")
_WHOLE: _Check = (_is_whole, "a whole number")
_BOOL: _Check = (_is_bool, "true or false")
_TEXT: _Check = (_is_text, "a text")
_OBJECT: _Check = (_is_object, "an object")
_TEXTS: _Check = (_is_texts, "a list of texts")

_CHECKS: dict[str, _Check] = {
    **dict.fromkeys(("temperature", "top_p", "frequency_penalty", "presence_penalty"), _NUMBER),
    **dict.fromkeys(("seed", "top_k", "top_logprobs"), _WHOLE),
    **dict.fromkeys(("logprobs", "parallel_tool_calls", "store"), _BOOL),
    **dict.fromkeys(("user", "service_tier", "reasoning_effort", "verbosity"), _TEXT),
    **dict.fromkeys(("logit_bias", "metadata", "prediction", "thinking"), _OBJECT),
    **dict.fromkeys(("modalities", "stop_sequences"), _TEXTS),
    "tools": (_is_tools, "a list of tools, each with a function that has a name"),
    "tool_choice": (_is_choice, "a text or an object"),
    "response_format": (_is_format, "an object with a type"),
}
