"""Images and files as the result of a tool: which provider takes which, and in what shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamkit import ConfigError, FilePart, ImagePart, Message, ToolCall
from streamkit.providers import ChatRequest
from streamkit.providers.call import messages_of
from streamkit.providers.contract import result_media_of
from tests.unit.calls import PDF, PIXEL, WEATHER
from tests.unit.test_golden_requests import PROVIDERS

TAKES = {
    "anthropic": {"image", "file"},
    "bedrock": {"image", "file"},
    "cohere": set(),
    "gemini": {"image", "file"},
    "gemini-interactions": {"image"},
    "mistral": set(),
    "ollama": {"image"},
    "openai": set(),
    "openai-responses": {"image", "file"},
}
PARTS = {"image": ImagePart(PIXEL), "file": FilePart(PDF, "report.pdf")}


def body(name: str, *parts: Any, model: str = "m", then: str = "") -> Any:
    messages = [
        Message("user", "Hi"),
        Message("assistant", None, tool_calls=(ToolCall.of("c1", "look", "{}"),)),
        Message("tool", ["Seen.", *parts], tool_call_id="c1"),
        *([Message("user", then)] if then else []),
    ]
    call = ChatRequest(model, messages_of(messages), {"tools": [WEATHER]})
    return json.loads(PROVIDERS[name]().request(call).body or b"")


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("name", TAKES)
def test_a_provider_takes_what_it_says(name: str, kind: str) -> None:
    """What `result_media` names is sent; the others are refused, but for Mistral's, which nobody has written down."""
    assert TAKES[name] == result_media_of(PROVIDERS[name]())
    if kind in TAKES[name] or name == "mistral":
        assert PIXEL.partition(",")[2] in json.dumps(body(name, ImagePart(PIXEL)))
        assert body(name, PARTS[kind])
    else:
        with pytest.raises(ConfigError, match=f"{name} takes"):
            body(name, PARTS[kind])


def test_a_provider_of_another_package_takes_none() -> None:
    """A provider without the attribute takes text alone."""
    assert frozenset() == result_media_of(object())


def test_responses_take_a_list() -> None:
    """Text, images and files are parts of the output of a call."""
    output = body("openai-responses", *PARTS.values())["input"][-1]["output"]
    assert ["input_text", "input_image", "input_file"] == [part["type"] for part in output]


def test_gemini_takes_them_inside_the_response() -> None:
    """From Gemini 3 on images and PDF are parts of the response."""
    (part,) = body("gemini", *PARTS.values(), model="gemini-3-pro")["contents"][-1]["parts"]
    response = part["functionResponse"]
    assert {"result": "Seen."} == response["response"]
    assert ["image/png", "application/pdf"] == [each["inlineData"]["mimeType"] for each in response["parts"]]


def test_older_gemini_takes_them_behind_the_responses() -> None:
    """Before Gemini 3, and for what a response cannot have, media follow in the same content, before the question."""
    parts = body("gemini", ImagePart(PIXEL), model="gemini-2.5-flash", then="And now?")["contents"][-1]["parts"]
    assert {"result": "Seen."} == parts[0]["functionResponse"]["response"]
    assert [{"text": "What look returned:"}, {"text": "And now?"}] == [parts[1], parts[3]]
    assert "inlineData" in parts[2]
    web = body("gemini", ImagePart("https://x.example/a.png"), model="gemini-3-pro")["contents"][-1]["parts"]
    assert "fileData" in web[2]


def test_interactions_take_a_list() -> None:
    """Text and images are a list."""
    result = body("gemini-interactions", PARTS["image"])["input"][-1]["result"]
    assert ["text", "image"] == [part["type"] for part in result]
