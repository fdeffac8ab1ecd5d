"""Requests on the wire, compared with those of the official SDKs for the same call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from streamkit import Client, providers
from streamkit.testing import Server, error_reply
from tests.unit.calls import IN_JSON, PIXEL, SCHEMA, TOOLS, WEATHER

HISTORY = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is the weather here?"},
            {"type": "image_url", "image_url": {"url": PIXEL}},
        ],
    },
    {
        "role": "assistant",
        "content": "I will look.",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}
        ],
    },
    {"role": "tool", "content": "18 C", "tool_call_id": "call_1"},
    {"role": "user", "content": "Thanks"},
]
ITEMS = [
    {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What is the weather here?"},
            {"type": "input_image", "detail": "auto", "image_url": PIXEL},
        ],
    },
    {"type": "message", "role": "assistant", "content": "I will look."},
    {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city":"Paris"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "18 C"},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Thanks"}]},
]
FUNCTION = WEATHER["function"]
BLOCKS = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is the weather here?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL.partition(",")[2]}},
        ],
    },
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "I will look."},
            {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Paris"}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "18 C"}]},
            {"type": "text", "text": "Thanks"},
        ],
    },
]


def sent_by(ask: Callable[[str], object]) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Return path, body and headers of the one request that a client sends; what it makes of the answer is its own."""
    with Server(error_reply(400)) as server:
        with pytest.raises(Exception, match=r"(?i)error|400"):
            ask(server.url)
        (request,) = server.requests
        headers = {name.lower(): value for name, value in request.headers.items()}
        return request.path, request.json(), headers


def ours(provider: Callable[[str], providers.Provider], model: str, **params: Any) -> Callable[[str], object]:
    def ask(url: str) -> object:
        with Client([provider(url)], retry=1) as client:
            return client.complete(model, TOOLS, **params)

    return ask


def test_chat_completions_as_the_sdk_sends_them() -> None:
    """The body of chat completions, and the header of the key, are those of openai's own SDK."""
    path, body, headers = sent_by(
        ours(
            lambda url: providers.OpenAI(api_key="k", base_url=url, max_tokens_field="max_completion_tokens"),
            "openai/m",
            tools=[WEATHER],
            tool_choice="required",
            response_format=IN_JSON,
            max_tokens=100,
            seed=7,
            reasoning_effort="low",
            stop_sequences=["END"],
        )
    )
    theirs = sent_by(
        lambda url: openai.OpenAI(api_key="k", base_url=url, max_retries=0).chat.completions.create(
            model="m",
            messages=HISTORY,  # type: ignore[arg-type]
            tools=[WEATHER],  # type: ignore[list-item]
            tool_choice="required",
            response_format=IN_JSON,  # type: ignore[arg-type]
            max_completion_tokens=100,
            seed=7,
            reasoning_effort="low",
            stop=["END"],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert (theirs[0], theirs[1], theirs[2]["authorization"]) == (path, body, headers["authorization"])


def test_responses_as_the_sdk_sends_them() -> None:
    """The body of Responses is that of openai's own SDK."""
    path, body, headers = sent_by(
        ours(
            lambda url: providers.OpenAIResponses(api_key="k", base_url=url),
            "openai-responses/m",
            tools=[WEATHER],
            tool_choice="auto",
            response_format=IN_JSON,
            max_tokens=100,
            reasoning_effort="low",
        )
    )
    theirs = sent_by(
        lambda url: openai.OpenAI(api_key="k", base_url=url, max_retries=0).responses.create(
            model="m",
            instructions="Be brief.",
            input=ITEMS,  # type: ignore[arg-type]
            tools=[{"type": "function", "strict": False, **FUNCTION}],  # type: ignore[list-item]
            tool_choice="auto",
            text={"format": {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}},
            max_output_tokens=100,
            reasoning={"effort": "low"},
            stream=True,
        )
    )
    assert (theirs[0], theirs[1], theirs[2]["authorization"]) == (path, body, headers["authorization"])


def test_messages_as_the_sdk_sends_them() -> None:
    """The body of Messages, and the headers of key and version, are those of anthropic's own SDK."""
    path, body, headers = sent_by(
        ours(
            lambda url: providers.Anthropic(api_key="k", base_url=url),
            "anthropic/m",
            tools=[WEATHER],
            tool_choice="auto",
            response_format=IN_JSON,
            reasoning_effort="low",
            max_tokens=100,
            stop_sequences=["END"],
        )
    )
    theirs = sent_by(
        lambda url: anthropic.Anthropic(api_key="k", base_url=url.removesuffix("/v1"), max_retries=0).messages.create(
            model="m",
            system="Be brief.",
            messages=BLOCKS,  # type: ignore[arg-type]
            tools=[
                {
                    "name": FUNCTION["name"],
                    "description": FUNCTION["description"],
                    "input_schema": FUNCTION["parameters"],
                }
            ],
            tool_choice={"type": "auto"},
            output_config={"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"},
            thinking={"type": "adaptive"},
            max_tokens=100,
            stop_sequences=["END"],
            stream=True,
        )
    )
    names = ("authorization", "anthropic-version")
    assert theirs[:2] == (path, body)
    assert [theirs[2][name] for name in names] == [headers[name] for name in names]
