"""Read the parameters of Anthropic's ``/v1/messages``: tools, thinking, sampling.

Source: https://platform.claude.com/docs/en/api/messages, read 2026-11-27.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from streamkit.errors import RequestError
from streamkit.web.formats.requests.anthropic_parts import cache_mark, cache_marks
from streamkit.web.formats.requests.request import Limits, list_of, mapping_of, text_in

__all__ = ["parameters_of"]

_THINKING = ("enabled", "adaptive", "disabled", "between_tools")
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_TIERS = ("auto", "standard_only")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_MOST_STOPS = 64
# By these Anthropic would do more than answer, with the server's own account: run code, ask other hosts.
_SERVER_SIDE = ("mcp_servers", "container")


def parameters_of(
    shape: Mapping[str, Any], limits: Limits, referenced: Collection[str]
) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the parameters of a body, and the names of the fields that were looked at.

    Args:
        shape: the body.
        limits: what is too much.
        referenced: names of tools that a search for tools has found. Other tools whose definition is deferred are left
            out, as the model is not to know them yet.

    Raises:
        RequestError: one of them cannot be taken.
    """
    for name in _SERVER_SIDE:
        if shape.get(name):
            raise RequestError(f"{name} is not taken here: what runs on Anthropic's side is not served")
    given = {name: value for name, value in shape.items() if value is not None}
    params: dict[str, Any] = {"max_tokens": _max_tokens(given)}
    for name, read in _READERS.items():
        if name in given:
            params[name] = read(given[name], limits)
    if "output_format" in given:  # as a beta had it
        params["output_config"] = {
            "format": _format(given["output_format"], "output_format"),
            **params.get("output_config", {}),
        }
    if "tools" in given:
        params["tools"] = _tools(given["tools"], limits, referenced)
    if "tool_choice" in given:
        params |= _tool_choice(mapping_of(given["tool_choice"], "tool_choice"), limits, bool(params.get("tools")))
    known = ("max_tokens", "output_format", "tools", "tool_choice", *_SERVER_SIDE, *_READERS)
    return {name: value for name, value in params.items() if value not in ({}, [])}, frozenset(known)


# -- numbers and words -----------------------------------------------------------------------------------


def _whole_number(value: Any, where: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
        raise RequestError(f"{where} is no whole number of {least} or more")
    return value


def _max_tokens(shape: Mapping[str, Any]) -> int:
    if "max_tokens" not in shape:
        raise RequestError("max_tokens is missing")
    return _whole_number(shape["max_tokens"], "max_tokens", 1)


def _fraction(name: str) -> Callable[[Any, Limits], float]:
    def read(value: Any, limits: Limits) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise RequestError(f"{name} is no number from 0 to 1")
        return value

    return read


def _top_k(value: Any, limits: Limits) -> int:
    return _whole_number(value, "top_k", 0)


def _stops(value: Any, limits: Limits) -> list[str]:
    stops = list_of(value, "stop_sequences", _MOST_STOPS)
    if not all(isinstance(stop, str) and stop and len(stop) <= limits.text for stop in stops):
        raise RequestError("stop_sequences is no list of texts")
    return list(stops)


def _thinking(value: Any, limits: Limits) -> dict[str, Any]:
    given = mapping_of(value, "thinking")
    kind = given.get("type")
    if kind not in _THINKING:
        raise RequestError(f"thinking.type is none of {', '.join(_THINKING)}")
    thinking: dict[str, Any] = {"type": kind}
    if kind == "enabled":
        thinking["budget_tokens"] = _whole_number(given.get("budget_tokens"), "thinking.budget_tokens", 1)
    if given.get("display") is not None:
        thinking["display"] = text_in(given, "display", "thinking", limits.id)
    return thinking


def _metadata(value: Any, limits: Limits) -> dict[str, Any]:
    user = text_in(mapping_of(value, "metadata"), "user_id", "metadata", limits.id, "")
    return {"user_id": user} if user else {}


def _service_tier(value: Any, limits: Limits) -> str:
    if value not in _TIERS:
        raise RequestError(f"service_tier is none of {', '.join(_TIERS)}")
    return str(value)


def _cache_control(value: Any, limits: Limits) -> dict[str, Any]:
    return cache_mark(mapping_of(value, "cache_control"))


def _output_config(value: Any, limits: Limits) -> dict[str, Any]:
    given = mapping_of(value, "output_config")
    config: dict[str, Any] = {}
    if given.get("format") is not None:
        config["format"] = _format(given["format"], "output_config.format")
    if (effort := given.get("effort")) is not None:
        if effort not in _EFFORTS:
            raise RequestError(f"output_config.effort is none of {', '.join(_EFFORTS)}")
        config["effort"] = effort
    return config


def _format(value: Any, where: str) -> dict[str, Any]:
    given = mapping_of(value, where)
    if given.get("type") != "json_schema":
        raise RequestError(f"{where}.type is not json_schema")
    return {"type": "json_schema", "schema": mapping_of(given.get("schema"), f"{where}.schema")}


_READERS: Mapping[str, Callable[[Any, Limits], Any]] = {
    "temperature": _fraction("temperature"),
    "top_p": _fraction("top_p"),
    "top_k": _top_k,
    "stop_sequences": _stops,
    "thinking": _thinking,
    "metadata": _metadata,
    "service_tier": _service_tier,
    "cache_control": _cache_control,
    "output_config": _output_config,
}


# -- tools -----------------------------------------------------------------------------------------------


def _tools(value: Any, limits: Limits, referenced: Collection[str]) -> list[dict[str, Any]]:
    given = list_of(value, "tools", limits.parts)
    tools = [(each, f"tools[{at}]") for at, each in enumerate(given)]
    read = [(mapping_of(each, where), _tool(mapping_of(each, where), where, limits)) for each, where in tools]
    return [
        tool for each, tool in read if each.get("defer_loading") is not True or tool["function"]["name"] in referenced
    ]


def _tool(given: Mapping[str, Any], where: str, limits: Limits) -> dict[str, Any]:
    """Return a tool in OpenAI's shape."""
    if given.get("type") not in (None, "custom"):
        raise RequestError(f"{where} is one of Anthropic's own tools, which are not served; give it an input_schema")
    name = text_in(given, "name", where, limits.id)
    if not name:
        raise RequestError(f"{where}.name is empty")
    schema = mapping_of(given.get("input_schema"), f"{where}.input_schema")
    function: dict[str, Any] = {"name": name, "parameters": schema}
    if description := text_in(given, "description", where, limits.text, ""):
        function["description"] = description
    if (strict := given.get("strict")) is not None:
        if not isinstance(strict, bool):
            raise RequestError(f"{where}.strict is neither true nor false")
        function["strict"] = strict
    tool = {"type": "function", "function": function}
    marks = cache_marks(given, where)
    return tool if marks is None else {**tool, "cache_control": marks}


def _tool_choice(given: Mapping[str, Any], limits: Limits, has_tools: bool) -> dict[str, Any]:
    kind = given.get("type")
    if kind == "tool":
        choice: Any = {"type": "function", "function": {"name": text_in(given, "name", "tool_choice", limits.id)}}
    elif isinstance(kind, str) and kind in _CHOICES:
        choice = _CHOICES[kind]
    else:
        raise RequestError("tool_choice.type is none of auto, any, tool, none")
    serial = given.get("disable_parallel_tool_use")
    if serial is not None and not isinstance(serial, bool):
        raise RequestError("tool_choice.disable_parallel_tool_use is neither true nor false")
    if not has_tools:
        if kind in ("any", "tool"):
            raise RequestError("tool_choice demands a tool, and there are no tools")
        return {}
    return {"tool_choice": choice, "parallel_tool_calls": False} if serial else {"tool_choice": choice}
