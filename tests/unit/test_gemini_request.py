"""Requests to Gemini, beyond the golden files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamkit import ConfigError, FilePart, ImagePart, Message, TextPart, ToolCall, providers
from streamkit.providers import ChatRequest
from streamkit.providers.call import messages_of

SKIP = "skip_thought_signature_validator"
PIXEL = "data:image/png;base64,iVBORw0KGgo="
PARALLEL = [
    Message("user", "Weather in Paris and Rome?"),
    Message("assistant", "", tool_calls=(ToolCall.of("1", "look", "{}"), ToolCall.of("2", "look", "{}"))),
    Message("tool", "18 C", tool_call_id="1"),
    Message("tool", "21 C", tool_call_id="2"),
    Message("assistant", "", tool_calls=(ToolCall.of("3", "look", "{}"),)),
    Message("tool", "9 C", tool_call_id="3"),
]


def body(messages: Any, model: str = "gemini-3-pro-preview", **params: Any) -> dict[str, Any]:
    call = ChatRequest(model, messages_of(messages), params)
    return json.loads(providers.Gemini(api_key="k").request(call).body or b"")


def signatures(contents: list[dict[str, Any]]) -> list[list[Any]]:
    calls = [[part for part in content["parts"] if "functionCall" in part] for content in contents]
    return [[part.get("thoughtSignature") for part in parts] for parts in calls if parts]


@pytest.mark.parametrize("model", ["gemini-3-pro-preview", "gemini-3.5-flash", "gemini-10-pro", "gemini-flash-latest"])
def test_calls_that_gemini_did_not_sign(model: str) -> None:
    """Where a signature is demanded, the first call of each step has the one that Google takes for any."""
    assert [[SKIP, None], [SKIP]] == signatures(body(PARALLEL, model)["contents"])


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-2.0-flash", "gemma-3-27b-it"])
def test_older_models_need_no_signature(model: str) -> None:
    """Models that sign nothing are sent nothing in a signature's place."""
    assert [[None, None], [None]] == signatures(body(PARALLEL, model)["contents"])


def test_a_signature_of_its_own_stays() -> None:
    """A step that Gemini has signed goes back as it came, its later calls without a signature."""
    signed = {"role": "assistant", "provider_data": [{"gemini": {"call": 0, "signature": "c2ln"}}]}
    signed["tool_calls"] = [call.to_dict() for call in PARALLEL[1].tool_calls]
    assert [["c2ln", None], [SKIP]] == signatures(body([PARALLEL[0], signed, *PARALLEL[2:]])["contents"])


def test_how_little_a_model_can_think() -> None:
    """Thinking that cannot be turned off is an error that names the lowest setting."""
    for model in ("gemini-2.5-pro", "gemini-3-pro-preview"):
        with pytest.raises(ConfigError, match=r"cannot be kept from thinking; .* 'low'"):
            body("Hi", model, reasoning_effort="none")
    config = body("Hi", "gemini-2.5-flash", reasoning_effort="none")["generationConfig"]
    assert {"thinkingBudget": 0, "includeThoughts": False} == config["thinkingConfig"]


def test_an_effort_and_a_level() -> None:
    """How hard to think is said once; the rest of thinking_config goes beside it."""
    for field in ({"thinkingLevel": "low"}, {"thinkingBudget": 5}, {"thinking_level": "low"}, {"thinking_budget": 5}):
        with pytest.raises(ConfigError, match=r"reasoning_effort and thinking_config\.thinking"):
            body("Hi", reasoning_effort="high", thinking_config=field)
    for field in ({"includeThoughts": False}, {"include_thoughts": False}):
        config = body("Hi", reasoning_effort="high", thinking_config=field)["generationConfig"]
        assert {"thinkingLevel": "high", "includeThoughts": False} == config["thinkingConfig"]
    with pytest.raises(ConfigError, match="thinking_config has thinkingLevel in two spellings"):
        body("Hi", thinking_config={"thinkingLevel": "low", "thinking_level": "high"})


def test_text_of_nothing_is_left_out() -> None:
    """A part of an empty text, which Vertex refuses, is not sent, nor a message of nothing else."""
    look = Message("user", [ImagePart(PIXEL), ""])
    contents = body([look, Message("assistant", ""), Message("user", "Hi")])["contents"]
    assert [["inlineData"], ["text"]] == [[*part] for content in contents for part in content["parts"]]


@pytest.mark.parametrize(
    ("url", "type"),
    [
        ("https://www.youtube.com/watch?v=9hE5-98ZeCg", {"mimeType": "video/mp4"}),
        ("https://youtu.be/9hE5-98ZeCg", {"mimeType": "video/mp4"}),
        ("https://generativelanguage.googleapis.com/v1beta/files/abc123", {}),
    ],
)
def test_addresses_that_google_knows(url: str, type: dict[str, str]) -> None:
    """Films of YouTube and uploaded files go by their address, which needs no ending."""
    film = {"type": "video_url", "video_url": {"url": url}}
    for part in (FilePart(url).to_dict(), film):
        (content,) = body([{"role": "user", "content": [part]}])["contents"]
        assert [{"fileData": {"fileUri": url, **type}}] == content["parts"]


@pytest.mark.parametrize("url", ["https://example.com/report", "https://youtube.com.example.com/watch?v=x"])
def test_other_addresses_need_an_ending(url: str) -> None:
    """An address that tells no media type is an error that says what to pass instead."""
    with pytest.raises(ConfigError, match="data: URL, or the address of an uploaded file as file_id"):
        body([Message("user", [FilePart(url)])])


def test_the_detail_of_an_image() -> None:
    """The detail of an image is its resolution, for models that know one; `auto` is left to the model."""

    def sent(detail: str | None, model: str = "gemini-3-pro-preview") -> dict[str, Any]:
        return body([Message("user", [TextPart("Look"), ImagePart(PIXEL, detail)])], model)["contents"][0]["parts"][1]

    assert {"level": "MEDIA_RESOLUTION_LOW"} == sent("low")["mediaResolution"]
    assert {"level": "MEDIA_RESOLUTION_HIGH"} == sent("high")["mediaResolution"]
    assert "mediaResolution" not in sent("auto") | sent(None) | sent("auto", "gemini-2.5-flash")
    with pytest.raises(ConfigError, match=r"gemini-2\.5-flash has no detail of images"):
        sent("low", "gemini-2.5-flash")
    with pytest.raises(ConfigError, match="detail low, medium, high, ultra_high or auto, not 'best'"):
        sent("best")


def test_strict_tools() -> None:
    """Calls that keep to their schemas are a mode of all tools together."""

    def tool(name: str, strict: bool) -> dict[str, Any]:
        return {"type": "function", "function": {"name": name, "strict": strict}}

    def mode(*tools: dict[str, Any], **params: Any) -> Any:
        return body("Hi", tools=[*tools], **params).get("toolConfig", {}).get("functionCallingConfig", {}).get("mode")

    assert ("VALIDATED", "VALIDATED") == (mode(tool("f", True)), mode(tool("f", True), tool_choice="auto"))
    assert ("ANY", "NONE") == tuple(mode(tool("f", True), tool_choice=choice) for choice in ("required", "none"))
    assert mode(tool("f", False)) is None
    assert mode(tool("f", True), tool("g", False)) is None


def test_a_choice_is_one_of_functions() -> None:
    """Beside Google's own tools alone no choice is sent, which the API refuses: `none` leaves them out."""
    own = {"googleSearch": {}}
    function = {"type": "function", "function": {"name": "f"}}
    assert {"tools": [own]}.items() <= body("Hi", tools=[own]).items()
    assert "toolConfig" not in body("Hi", tools=[own], tool_choice="auto")
    assert (
        "NONE" == body("Hi", tools=[own, function], tool_choice="none")["toolConfig"]["functionCallingConfig"]["mode"]
    )
    declared = {"functionDeclarations": [function["function"]]}
    assert "ANY" == body("Hi", tools=[declared], tool_choice="required")["toolConfig"]["functionCallingConfig"]["mode"]
    assert "tools" not in body("Hi", tools=[own], tool_choice="none")
    with pytest.raises(ConfigError, match="tool_choice for functions only"):
        body("Hi", tools=[own], tool_choice="required")


@pytest.mark.parametrize("messages", ["", [Message("system", "Be brief.")]])
def test_nothing_to_reply_to(messages: Any) -> None:
    """Without a message beside those of the system there is nothing to send, unless it is in `extra_body`."""
    with pytest.raises(ConfigError, match="needs a message"):
        body(messages)


def test_a_missing_token_of_vertex() -> None:
    """On Vertex AI it is a token that is missing, and that is what the error asks for."""
    with pytest.raises(
        ConfigError, match=r"GOOGLE_ACCESS_TOKEN, or pass providers\.Gemini\(token=\.\.\.\) to a Client"
    ):
        providers.Gemini(project="p").request(ChatRequest("m", [{"role": "user", "content": "Hi"}]))
