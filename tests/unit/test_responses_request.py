"""Requests to OpenAI's Responses API, beyond the golden files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamkit import ConfigError, Message, providers
from streamkit.providers import ChatRequest
from streamkit.providers.call import messages_of

SYSTEM = Message("system", "Be brief.")


def body(messages: Any, extra_body: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    call = ChatRequest("m", messages_of(messages), params, extra_body or {})
    return json.loads(providers.OpenAIResponses(api_key="k").request(call).body or b"")


def test_instructions_are_given_once() -> None:
    """A system message is the instructions; both together are an error, and neither is dropped."""
    with pytest.raises(ConfigError, match="give one of the two"):
        body([SYSTEM, Message("user", "Hi")], instructions="Be long.")
    assert "Be long." == body("Hi", instructions="Be long.")["instructions"]
    assert "Be brief." == body([SYSTEM, Message("user", "Hi")])["instructions"]


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"max_tokens": 1, "max_output_tokens": 2}, "max_tokens and max_output_tokens"),
        ({"reasoning_effort": "low", "reasoning": {"effort": "high"}}, r"reasoning_effort and reasoning\.effort"),
        ({"verbosity": "low", "text": {"verbosity": "high"}}, r"verbosity and text\.verbosity"),
        ({"response_format": {"type": "json_object"}, "text": {"format": {}}}, r"response_format and text\.format"),
    ],
)
def test_what_is_said_twice_is_refused(params: dict[str, Any], names: str) -> None:
    """A parameter in OpenAI's words beside the same in the API's own is an error that names both."""
    with pytest.raises(ConfigError, match=f"{names} say the same thing"):
        body("Hi", **params)


def test_what_belongs_into_an_object_of_the_api() -> None:
    """An effort and a verbosity go beside what else the objects have."""
    sent = body("Hi", reasoning_effort="low", reasoning={"summary": "auto"}, verbosity="low", text={"x": 1})
    assert ({"summary": "auto", "effort": "low"}, {"x": 1, "verbosity": "low"}) == (sent["reasoning"], sent["text"])


@pytest.mark.parametrize("messages", ["", [SYSTEM]])
def test_nothing_to_reply_to(messages: Any) -> None:
    """Without input there is nothing to send, unless the API has it from elsewhere."""
    with pytest.raises(ConfigError, match="needs a message"):
        body(messages)
    for source in ({"previous_response_id": "r"}, {"conversation": "c"}, {"prompt": {"id": "p"}}):
        assert [] == body(messages, **source)["input"]
        assert [] == body(messages, source)["input"]
    assert "Hi" == body(messages, {"input": "Hi"})["input"]


def test_marks_without_a_word() -> None:
    """A participant's name and a cache mark have no place in a Response."""
    for message, word in (
        ({"role": "user", "content": "Hi", "name": "Ann"}, "name"),
        ({"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {}}]}, "cache_control"),
    ):
        with pytest.raises(ConfigError, match=f"has no {word}"):
            body([message])
