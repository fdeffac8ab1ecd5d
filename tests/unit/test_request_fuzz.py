"""For any input, a provider builds a request or raises a ConfigError."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest

from streamkit import ConfigError
from streamkit.providers import ChatRequest
from streamkit.providers.call import messages_of
from tests.unit.test_golden_requests import PROVIDERS

CALLS = 500  # a provider
ROLES = ["system", "developer", "user", "assistant", "tool", "function"]
FIELDS = ["content", "tool_calls", "tool_call_id", "name", "provider_data"]
NAMES = (
    "temperature top_p top_k max_tokens max_completion_tokens stop_sequences stop seed n presence_penalty tools "
    "tool_choice parallel_tool_calls response_format reasoning_effort user metadata thinking output_config reasoning "
    "text options think generation_config thinking_config safety_settings verbosity stream_options"
).split()
ODD: list[Any] = [
    *(True, False, -1, 0, 3.5, "", "x", [], {}, [None], [1], {"a": 1}, ("a",), b"b", object()),
    *({"type": "function"}, {"type": "json_schema", "json_schema": 5}, [{"type": "function", "function": 5}]),
    {"type": "function", "function": {"name": 7}},
]
PARTS: list[Any] = [
    "Hi",
    [{"type": "text", "text": "x"}],
    [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}],
    [{"type": "image_url", "image_url": 5}],
    [{"type": "file", "file": {"file_data": "no data URL"}}],
    [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
    [{"id": "c", "function": {"name": "f", "arguments": "[1"}}],
    [{"anthropic": {"type": "thinking"}}, {"gemini": 5}, {"cohere": [1]}, {"gemini-interactions": {"call": [1]}}],
]


def odd_message(chance: random.Random) -> dict[str, Any]:
    given = {name: chance.choice([*ODD, *PARTS]) for name in FIELDS if chance.random() < 0.5}
    role = chance.choice(ROLES)
    return {"role": role, **given} if role == "assistant" else {"role": role, "content": None, **given}


@pytest.mark.parametrize("name", PROVIDERS)
def test_odd_calls(name: str) -> None:
    """Messages and parameters of any kind give a request or a `ConfigError`, and nothing foreign."""
    chance = random.Random(name)
    provider = PROVIDERS[name]()
    for _ in range(CALLS):
        messages = [odd_message(chance) for _ in range(chance.randint(1, 3))]
        plain = [{"role": "user", "content": "Hi"}]
        params = {each: chance.choice(ODD) for each in chance.sample(NAMES, chance.randint(0, 3))}
        for call in (ChatRequest("m", messages_of(messages)), ChatRequest("m", plain, params)):
            with suppress(ConfigError):
                provider.request(call)
                provider.decoder(call)
