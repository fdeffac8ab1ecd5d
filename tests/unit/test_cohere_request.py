"""Requests to Cohere, beyond the golden files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamkit import ConfigError, ImagePart, Message, TextPart, providers
from streamkit.providers import ChatRequest
from streamkit.providers.call import messages_of


def body(messages: Any = "Hi", extra_body: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    call = ChatRequest("m", messages_of(messages), params, extra_body or {})
    return json.loads(providers.Cohere(api_key="k").request(call).body or b"")


def tool(name: str, strict: bool, *required: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": list(required)}
    return {"type": "function", "function": {"name": name, "strict": strict, "parameters": schema}}


def test_thinking_is_said_once() -> None:
    """An effort beside `thinking` is an error that names both."""
    with pytest.raises(ConfigError, match="reasoning_effort and thinking say the same thing"):
        body(reasoning_effort="none", thinking={"type": "enabled"})
    assert {"type": "disabled"} == body(reasoning_effort="none")["thinking"]


def test_strict_tools() -> None:
    """Calls that keep to their schemas are a switch for all tools together, each with a parameter that is required."""
    assert body(tools=[tool("f", True, "a"), tool("g", True, "a")])["strict_tools"] is True
    assert body(tools=[tool("f", True)], strict_tools=True)["strict_tools"] is True
    assert "strict_tools" not in body(tools=[tool("f", False, "a")])
    assert "strict_tools" not in body(tools=[tool("f", True, "a"), tool("g", False, "a")])
    assert "strict_tools" not in body(tools=[tool("f", True, "a"), tool("g", True)])
    assert body(tools=[tool("f", True, "a")], strict_tools=False)["strict_tools"] is False


@pytest.mark.parametrize("messages", ["", [Message("system", "Be brief.")]])
def test_nothing_to_reply_to(messages: Any) -> None:
    """Without a message beside those of the system there is nothing to send, unless it is in `extra_body`."""
    with pytest.raises(ConfigError, match="needs a message"):
        body(messages)
    assert [1] == body(messages, {"messages": [1]})["messages"]


@pytest.mark.parametrize("content", ["", None, [""]])
def test_a_message_of_nothing_is_left_out(content: Any) -> None:
    """A message of the system's or the assistant's that says nothing is not sent; its thoughts or calls are."""
    asked = {"role": "user", "content": "Hi"}
    nothing = [{"role": role, "content": content} for role in ("system", "assistant")]
    assert [asked] == body([nothing[0], asked, nothing[1], {**nothing[1], "provider_data": [{"other": 1}]}])["messages"]
    planned = {**nothing[1], "provider_data": [{"cohere": {"tool_plan": "Look."}}]}
    assert "Look." == body([asked, planned])["messages"][1]["tool_plan"]


def test_marks_without_a_word() -> None:
    """Cohere knows the detail of an image, and neither participants nor cache marks."""
    pixel = "data:image/png;base64,iVBORw0KGgo="
    for message, word in (
        ({"role": "user", "content": "Hi", "name": "Ann"}, "name"),
        ({"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {}}]}, "cache_control"),
    ):
        with pytest.raises(ConfigError, match=f"has no {word}"):
            body([message])
    (message,) = body([Message("user", [TextPart("Look"), ImagePart(pixel, "low")])])["messages"]
    assert {"url": pixel, "detail": "low"} == message["content"][1]["image_url"]
