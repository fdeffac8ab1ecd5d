"""How messages of the OpenAI shape are read, whichever provider they go to."""

from __future__ import annotations

from typing import Any

import pytest

from streamkit import ConfigError
from streamkit.messages import messages_of
from streamkit.providers import ChatRequest, Provider
from tests.unit.test_golden_requests import PROVIDERS

NATIVE = ["anthropic", "bedrock", "cohere", "gemini", "gemini-interactions", "mistral", "ollama", "openai-responses"]


@pytest.fixture(params=NATIVE)
def provider(request: pytest.FixtureRequest) -> Provider:
    return PROVIDERS[request.param]()


def ask(provider: Provider, *messages: dict[str, Any], **params: Any) -> bytes | None:
    return provider.request(ChatRequest("m", messages_of(messages), params)).body


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": "Look"}, *parts]}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:;base64,AA"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}},
        {"type": "image_url", "image_url": {"url": 5}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": 5}},
        {"type": "file", "file": {"file_id": 5}},
        {"type": "input_audio", "input_audio": {"data": "AA"}},
        {"type": "text", "text": 5},
        {"type": "text", "text": "x", "cache_control": 5},
    ],
)
def test_a_part_that_makes_no_sense_is_refused(provider: Provider, part: dict[str, Any]) -> None:
    """A part without media type or content, or with a number where text belongs, is an error that says where."""
    with pytest.raises(ConfigError, match=r"messages\[0\].content\[1\]"):
        ask(provider, user(part))
