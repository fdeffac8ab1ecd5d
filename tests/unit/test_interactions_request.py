"""Requests to Gemini's interactions, beyond the golden files."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from streamkit import ConfigError, ImagePart, Message, TextPart, providers
from streamkit.providers import ChatRequest
from streamkit.providers.call import messages_of

PIXEL = "data:image/png;base64,iVBORw0KGgo="
FILM = "https://www.youtube.com/watch?v=9hE5-98ZeCg"


def body(messages: Any, extra_body: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    call = ChatRequest("gemini-3-pro", messages_of(messages), params, extra_body or {})
    return json.loads(providers.GeminiInteractions(api_key="k").request(call).body or b"")


def camel_case(field: str) -> str:
    first, *others = field.split("_")
    return "".join([first, *map(str.title, others)])


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"max_tokens": 1}, {"max_output_tokens": 2}),
        ({"temperature": 1}, {"temperature": 0}),
        ({"stop_sequences": "a"}, {"stop_sequences": ["b"]}),
        ({"reasoning_effort": "low"}, {"thinking_level": "high"}),
        ({"tool_choice": "auto"}, {"tool_choice": "any"}),
    ],
)
@pytest.mark.parametrize("spelled", [str, camel_case])
def test_what_is_said_twice_is_refused(
    params: dict[str, Any], field: dict[str, Any], spelled: Callable[[str], str]
) -> None:
    """A parameter beside the same in generation_config is an error that names both."""
    (name,), (other,) = params, field
    with pytest.raises(ConfigError, match=rf"{name} and generation_config\.{other} say the same thing"):
        body("Hi", **params, generation_config={spelled(other): field[other]})


def test_what_goes_into_the_configuration() -> None:
    """Parameters go beside what generation_config has, which decides on summaries of thoughts."""
    config = {"thinking_summaries": "none", "image_config": {}}
    sent = body("Hi", max_tokens=5, reasoning_effort="low", generation_config=config)["generation_config"]
    assert {**config, "max_output_tokens": 5, "thinking_level": "low"} == sent
    camel = {camel_case(field): value for field, value in config.items()}
    assert sent == body("Hi", max_tokens=5, reasoning_effort="low", generation_config=camel)["generation_config"]
    with pytest.raises(ConfigError, match="generation_config has thinking_summaries in two spellings"):
        body("Hi", generation_config={**config, **camel})
    summaries = body("Hi", reasoning_effort="low")["generation_config"]["thinking_summaries"]
    assert "auto" == summaries
    assert {"thinking_level": "xhigh"} == body("Hi", generation_config={"thinking_level": "xhigh"})["generation_config"]


def test_the_detail_of_an_image() -> None:
    """The detail of an image is its resolution; `auto` is left to the model."""

    def sent(detail: str | None) -> dict[str, Any]:
        return body([Message("user", [TextPart("Look"), ImagePart(PIXEL, detail)])])["input"][0]["content"][1]

    assert ("low", "high") == (sent("low")["resolution"], sent("high")["resolution"])
    assert "resolution" not in sent("auto") | sent(None)
    with pytest.raises(ConfigError, match="detail low, medium, high, ultra_high or auto, not 'best'"):
        sent("best")


def test_text_of_nothing_is_left_out() -> None:
    """A part of an empty text is not sent, nor a message of nothing else."""
    steps = body([Message("user", [ImagePart(PIXEL), ""]), Message("assistant", [""]), Message("user", "Hi")])["input"]
    assert [["image"], ["text"]] == [[part["type"] for part in step["content"]] for step in steps]


def test_a_film_by_its_address() -> None:
    """A film goes by its address, one of YouTube as any other."""
    (step,) = body([{"role": "user", "content": [{"type": "video_url", "video_url": {"url": FILM}}]}])["input"]
    assert [{"type": "video", "uri": FILM}] == step["content"]


def test_strict_tools() -> None:
    """Calls that keep to their schemas are a choice for all tools together."""

    def choice(*strict: bool, **params: Any) -> Any:
        tools = [{"type": "function", "function": {"name": f"f{n}", "strict": each}} for n, each in enumerate(strict)]
        return body("Hi", tools=tools, **params).get("generation_config", {}).get("tool_choice")

    assert ("validated", "validated", "any") == (
        *(choice(True), choice(True, tool_choice="auto")),
        choice(True, tool_choice="required"),
    )
    assert choice(False) is None
    assert "none" == choice(True, generation_config={"tool_choice": "none"})
    assert choice(True, False) is None


@pytest.mark.parametrize("messages", ["", [Message("system", "Be brief.")]])
def test_nothing_to_reply_to(messages: Any) -> None:
    """Without input there is nothing to send, unless the interaction goes on from a stored one."""
    with pytest.raises(ConfigError, match="needs a message"):
        body(messages)
    assert [] == body(messages, previous_interaction_id="i")["input"]
    assert "Hi" == body(messages, {"input": "Hi"})["input"]


def test_marks_without_a_word() -> None:
    """A participant's name and a cache mark have no place in an interaction."""
    for message, word in (
        ({"role": "user", "content": "Hi", "name": "Ann"}, "name"),
        ({"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {}}]}, "cache_control"),
    ):
        with pytest.raises(ConfigError, match=f"has no {word}"):
            body([message])
