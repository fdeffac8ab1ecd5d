"""What a request says of the conversation: the prompt, the tools, and the calls made since the prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from streamkit.testing.assistant.fitting import Tool
from streamkit.testing.assistant.results import Outcome
from streamkit.testing.chat_order import BadRequest, Order

__all__ = ["Turn", "read_turn"]


@attrs.frozen
class Turn:
    """A turn of a conversation.

    Attributes:
        prompt: what the user said last.
        earlier: what the user said before, the latest first.
        tools: those that may be called.
        forced: the one that has to be called, where the request names one.
        choice: "auto", "none" or "required".
        outcomes: the calls since the prompt.
        last: the tool that was called last before the prompt.
        together: whether several may be called at once.
        output: the schema of the answer, where it is to be JSON.
    """

    prompt: str
    earlier: tuple[str, ...]
    tools: tuple[Tool, ...]
    forced: Tool | None
    choice: str
    outcomes: tuple[Outcome, ...]
    last: Tool | None
    together: bool
    output: Mapping[str, Any] | None

    def named(self, name: str | None) -> Tool | None:
        """Return the tool of a name."""
        return next((tool for tool in self.tools if tool.name == name), None)


def read_turn(order: Order) -> Turn:
    """Read a request.

    Raises:
        BadRequest: tools, tool_choice or response_format are not as OpenAI's API has them.
    """
    body = order.body
    tools = _tools(body.get("tools") or ())
    choice, forced = _choice(body.get("tool_choice"), tools)
    spoken = [text for role, text in order.messages if role == "user"]
    begin = max((at for at, (role, _) in enumerate(order.messages) if role == "user"), default=-1)
    before = _calls(body["messages"][: max(begin, 0)])
    last = next((tool for tool in tools if before and tool.name == before[-1][1]), None)
    return Turn(
        prompt=order.prompt,
        earlier=tuple(reversed(spoken[:-1])),
        tools=tools,
        forced=forced,
        choice=choice,
        outcomes=_outcomes(order, begin + 1),
        last=last,
        together=body.get("parallel_tool_calls") is not False,
        output=_output(body.get("response_format")),
    )


def _tools(entries: Any) -> tuple[Tool, ...]:
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise BadRequest("'tools' is a list.", "tools")
    for entry in entries:
        function = entry.get("function") if isinstance(entry, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
            raise BadRequest("Each of 'tools' is an object with a function that has a name.", "tools")
    return tuple(Tool.of(entry["function"]) for entry in entries)


def _choice(given: Any, tools: Sequence[Tool]) -> tuple[str, Tool | None]:
    if given is None or given in ("auto", "none", "required"):
        return given or "auto", None
    function = given.get("function") if isinstance(given, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    forced = next((tool for tool in tools if tool.name == name), None)
    if forced is None:
        raise BadRequest("'tool_choice' is auto, none, required, or a function among 'tools'.", "tool_choice")
    return "required", forced


def _output(given: Any) -> Mapping[str, Any] | None:
    kind = given.get("type") if isinstance(given, Mapping) else given
    if kind in (None, "text"):
        return None
    if kind == "json_object":
        return {"type": "object"}
    described = given.get("json_schema") if isinstance(given, Mapping) else None
    schema = described.get("schema") if isinstance(described, Mapping) else None
    if kind != "json_schema" or not isinstance(schema, Mapping):
        raise BadRequest("'response_format' is text, json_object, or json_schema with a schema.", "response_format")
    return schema


def _calls(messages: Sequence[Mapping[str, Any]]) -> list[tuple[Any, str, Mapping[str, Any]]]:
    """Return the id, the name and the arguments of each call in some messages."""
    found = []
    for call in (call for message in messages for call in message.get("tool_calls") or ()):
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise BadRequest("Each of 'tool_calls' has a function.", "messages")
        found.append((call.get("id"), str(function.get("name")), _object(function.get("arguments"))))
    return found


def _object(text: Any) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _outcomes(order: Order, begin: int) -> tuple[Outcome, ...]:
    """Return the calls from a message on, each with its result."""
    messages = order.body["messages"]
    results = {
        message.get("tool_call_id"): text
        for message, (role, text) in zip(messages[begin:], order.messages[begin:], strict=True)
        if role == "tool"
    }
    return tuple(Outcome.of(name, arguments, results.get(id)) for id, name, arguments in _calls(messages[begin:]))
