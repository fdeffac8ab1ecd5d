"""Anthropic's replies are sent back in the history as the blocks that Anthropic sent."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from streamkit import fold
from streamkit.providers import Anthropic
from tests.conformance.formats import HELLO, events_of
from tests.conformance.recordings import Recording, recordings

ALL = recordings("anthropic-messages")


def blocks_of(recording: Recording) -> list[dict[str, Any]]:
    """Return the content that a recording's events add up to, without any help from the library."""
    content: list[dict[str, Any]] = []
    inputs: dict[int, str] = {}
    for raw in (json.loads(event.data) for event in events_of(recording)):
        delta = raw.get("delta", {})
        if raw["type"] == "message_start":
            content += raw["message"]["content"]
        elif raw["type"] == "content_block_start":
            content.append(raw["content_block"])
        elif raw["type"] == "content_block_delta" and delta["type"] == "input_json_delta":
            inputs[len(content) - 1] = inputs.get(len(content) - 1, "") + delta["partial_json"]
        elif raw["type"] == "content_block_delta" and delta["type"] == "compaction_delta":
            content[-1] |= {name: value for name, value in delta.items() if name != "type"}
        elif raw["type"] == "content_block_delta" and delta["type"] != "citations_delta":
            field = delta["type"].removesuffix("_delta")
            content[-1][field] = content[-1].get(field, "") + delta[field]
    for number, text in inputs.items():
        if text:
            content[number]["input"] = json.loads(text)
    return content


def comparable(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return content with neighbouring texts joined, without citations and the usual caller of a tool."""
    merged: list[dict[str, Any]] = []
    for block in content:
        shape = {name: value for name, value in block.items() if name != "citations"}
        if shape.get("caller") == {"type": "direct"}:
            del shape["caller"]
        if shape["type"] == "text" and merged and merged[-1]["type"] == "text":
            merged[-1]["text"] += shape["text"]
        elif shape["type"] != "text" or shape["text"]:
            merged.append(shape)
    return [shape for shape in merged if shape["type"] != "text" or shape["text"].strip()]


# Its call is no JSON and cannot go back; the other has a refusal, which goes back as text.
UNFIT = ("anthropic__sdk_incomplete_partial_json_response", "anthropic__sdk_refusal_response")


@pytest.mark.parametrize(
    "recording",
    [recording for recording in ALL if recording.name not in UNFIT],
    ids=lambda recording: recording.name,
)
def test_a_reply_goes_back_as_it_came(recording: Recording) -> None:
    """With the history each block goes back, in its place; what the user may read goes as text and as calls."""
    provider = Anthropic(api_key="k")
    decoder = provider.decoder(HELLO)
    chunks = [chunk for event in events_of(recording) for chunk in decoder.decode(event)]
    message = fold([*chunks, decoder.finish()]).message.to_dict()
    request = provider.request(attrs.evolve(HELLO, messages=[*HELLO.messages, message]))
    sent = json.loads(request.body)["messages"][1]["content"]
    assert comparable(blocks_of(recording)) == comparable(sent)
