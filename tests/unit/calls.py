"""Calls that every provider translates, for the golden files and the comparison with the SDKs."""

from __future__ import annotations

from typing import Any

from streamkit import FilePart, ImagePart, Message, TextPart, ToolCall
from streamkit.providers import ChatRequest
from streamkit.providers.call import messages_of

PIXEL = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0xLjQ="

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Look the weather up",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
IN_JSON = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}

TOOLS = [
    Message("system", "Be brief."),
    Message("user", [TextPart("What is the weather here?"), ImagePart(PIXEL)]),
    Message("assistant", "I will look.", tool_calls=(ToolCall.of("call_1", "get_weather", '{"city":"Paris"}'),)),
    Message("tool", "18 C", tool_call_id="call_1"),
    Message("user", "Thanks"),
]
ASKED = [
    Message("user", "Look"),
    Message("assistant", None, tool_calls=(ToolCall.of("call_1", "get_weather", '{"city":"Pa'),)),
]
FILE = [Message("user", [TextPart("Sum it up"), FilePart(PDF, "report.pdf")])]


def call(messages: list[Message], model: str = "model-x", **params: Any) -> ChatRequest:
    return ChatRequest(model, messages_of(messages), params)


# Each golden file is one of these, as one provider sends it.
CALLS: dict[str, ChatRequest] = {
    "tools": call(TOOLS, tools=[WEATHER], tool_choice="auto", max_tokens=100),
    "settings": call([Message("user", "Hi")], temperature=0.5, top_p=0.9, max_tokens=64, stop_sequences=["END"]),
    "seed": call([Message("user", "Hi")], seed=7),
    "required": call([Message("user", "Hi")], tools=[WEATHER], tool_choice="required"),
    "named": call(
        [Message("user", "Hi")],
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    ),
    "json-schema": call([Message("user", "Where?")], response_format=IN_JSON),
    "json": call([Message("user", "Where?")], response_format={"type": "json_object"}),
    "effort": call([Message("user", "Think")], reasoning_effort="low"),
    "file": call(FILE),
    "json-schema-tools": call([Message("user", "Where?")], tools=[WEATHER], response_format=IN_JSON),
    "cut-arguments": call(
        [*ASKED, Message("tool", "cut off", tool_call_id="call_1"), Message("user", "Again")], tools=[WEATHER]
    ),
    "image-result": call(
        [*ASKED, Message("tool", [TextPart("Seen"), ImagePart(PIXEL)], tool_call_id="call_1")], tools=[WEATHER]
    ),
    "file-result": call(
        [*ASKED, Message("tool", [FilePart(PDF, "report.pdf"), TextPart("Read")], tool_call_id="call_1")],
        tools=[WEATHER],
    ),
}
