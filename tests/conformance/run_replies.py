"""Replies of scripted servers for runs: `reply_in` with ids of their own in each round, and with signed thoughts.

What is added is what the providers send in the same places: see the recordings.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from streamkit import providers
from streamkit.providers import Provider
from streamkit.testing import Reply, reply_in
from streamkit.testing.openai_events import sse_event, to_json
from streamkit.testing.provider_replies import aws_frame
from streamkit.testing.steps import Send

# By the name in `SCRIPTED`: the format of `reply_in`, the provider at an address, and the model.
SCRIPTED: dict[str, tuple[str, Callable[[str], Provider], str]] = {
    "openai": ("openai", lambda url: providers.OpenAI("k", url), "gpt-5-mini"),
    "openai-responses": ("openai-responses", lambda url: providers.OpenAIResponses("k", url), "gpt-5-mini"),
    "anthropic": ("anthropic", lambda url: providers.Anthropic("k", url), "claude-sonnet-4-5"),
    "gemini": ("gemini", lambda url: providers.Gemini("k", url), "gemini-3-pro-preview"),
    "mistral": ("mistral", lambda url: providers.Mistral("k", url), "magistral-medium-latest"),
    "bedrock": (
        "bedrock",
        lambda url: providers.Bedrock("k", base_url=url, region="eu-west-1"),
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
    ),
    "cohere": ("cohere", lambda url: providers.Cohere("k", url), "command-a-reasoning-08-2025"),
    "ollama": ("ollama", lambda url: providers.Ollama(base_url=url), "qwen3"),
    "gemini-interactions": (
        "gemini-interactions",
        lambda url: providers.GeminiInteractions("k", url),
        "gemini-3-pro-preview",
    ),
    "deepseek": ("openai", lambda url: providers.OpenAICompatible("deepseek", url, "k"), "deepseek-reasoner"),
    "openrouter": ("openai", lambda url: providers.OpenAICompatible("openrouter", url, "k"), "anthropic/claude-sonnet"),
}

Calls = Sequence[tuple[str, Mapping[str, Any]]]
_Event = tuple[str, dict[str, Any]]  # its name, "" where the format has none, and its data


def signed(name: str, text: str, round: int, *, reasoning: str = "", tool_calls: Calls = ()) -> Reply:
    """Return a reply of one of `SCRIPTED`, with ids and signatures that no other round has."""
    plain = reply_in(
        SCRIPTED[name][0], text, reasoning=reasoning, tool_calls=tool_calls, usage=(7 + round, 11 + 2 * round)
    )
    first = dict(tool_calls[0][1]) if tool_calls else None

    def edited(event: _Event) -> Iterator[_Event]:
        event = _renamed(event, round)
        return _gemini(event, round, first) if name == "gemini" else _EDITS.get(name, _unchanged)(event, round)

    steps: list[Send] = []
    for step in plain.steps:
        assert isinstance(step, Send)
        steps += [Send(data) for data in _edited(name, step.data, edited)]
    return plain.but(steps=steps)


def signature_of(round: int) -> str:
    """Return the signature of a round's thoughts, in base64 as all providers have it."""
    return f"c2lnbmVk{round}w=="


def _edited(name: str, data: bytes, edit: Callable[[_Event], Iterator[_Event]]) -> Iterator[bytes]:
    if name == "bedrock":
        length = struct.unpack(">I", data[4:8])[0]
        at = 1 + data[12] + 1  # behind the name and the type of the first header, the event's
        size = struct.unpack(">H", data[12 + at : 12 + at + 2])[0]
        kind = data[12 + at + 2 : 12 + at + 2 + size].decode()
        yield from (aws_frame(*event) for event in edit((kind, json.loads(data[12 + length : -4]))))
    elif name == "ollama":
        yield from (to_json(shape).encode() + b"\n" for _, shape in edit(("", json.loads(data))))
    else:
        fields = dict(line.split(": ", 1) for line in data.decode().splitlines() if line)
        if fields["data"] == "[DONE]":
            yield data
            return
        kind = fields.get("event", "")
        for event, shape in edit((kind, json.loads(fields["data"]))):
            yield sse_event(shape, event=event or None)


def _renamed(event: _Event, round: int) -> _Event:
    """Return an event whose ids of calls and items are those of its round."""
    text = json.dumps(event[1])
    for id in ("call_1", "call_2", "rs_test", "msg_test", "resp_test", "response-test", "v1_test"):
        text = text.replace(f'{id}"', f'{id}_of_round_{round}"')
    text = text.replace("2026-01-01T00:00:00Z", f"2026-01-01T00:00:0{round}Z")  # from which ids are made for Ollama
    return event[0], json.loads(text)


def _unchanged(event: _Event, round: int) -> Iterator[_Event]:
    yield event


def _anthropic(event: _Event, round: int) -> Iterator[_Event]:
    if event[1].get("delta", {}).get("type") == "signature_delta":
        event[1]["delta"]["signature"] = signature_of(round)
    yield event


def _bedrock(event: _Event, round: int) -> Iterator[_Event]:
    if event[0] == "contentBlockStop" and event[1]["contentBlockIndex"] == 0:  # where the thoughts are
        delta = {"reasoningContent": {"signature": signature_of(round)}}
        yield "contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}
    yield event


def _gemini(event: _Event, round: int, first: Mapping[str, Any] | None) -> Iterator[_Event]:
    """Sign the first of parallel calls, as Gemini 3 does, and the text of a reply without calls."""
    for part in event[1]["candidates"][0]["content"]["parts"]:
        if part["functionCall"]["args"] == first if "functionCall" in part else first is None and part["text"] == "":
            part["thoughtSignature"] = signature_of(round)
    yield event


def _responses(event: _Event, round: int) -> Iterator[_Event]:
    items = [event[1].get("item", {}), *event[1].get("response", {}).get("output", ())]
    for item in items:
        if item.get("type") == "reasoning" and event[0] != "response.output_item.added":
            item["encrypted_content"] = signature_of(round)
    yield event


def _interactions(event: _Event, round: int) -> Iterator[_Event]:
    if event[0] == "step.stop" and event[1]["index"] == 0:
        delta = {"type": "thought_signature", "signature": signature_of(round)}
        yield "step.delta", {"event_type": "step.delta", "index": 0, "delta": delta}
    yield event


def _cohere(event: _Event, round: int) -> Iterator[_Event]:
    """Say the plan of the tools, which goes back with their results."""
    if event[0] == "tool-call-start" and event[1]["index"] == 0:
        yield "tool-plan-delta", {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": plan_of(round)}}}
    yield event


def plan_of(round: int) -> str:
    """Return the plan that Cohere's model tells before its calls."""
    return f"I will look up number {round}."


def _openrouter(event: _Event, round: int) -> Iterator[_Event]:
    """Say reasoning in both forms, and sign it in a detail of its own once the answer begins."""
    for choice in event[1]["choices"]:
        thought = choice["delta"].pop("reasoning_content", None)
        shape = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"}
        if thought is not None:
            choice["delta"] |= {"reasoning": thought, "reasoning_details": [{**shape, "text": thought}]}
        elif choice["finish_reason"]:
            choice["delta"]["reasoning_details"] = [{**shape, "signature": signature_of(round)}]
    yield event


_EDITS: dict[str, Callable[[_Event, int], Iterator[_Event]]] = {
    "anthropic": _anthropic,
    "bedrock": _bedrock,
    "cohere": _cohere,
    "gemini-interactions": _interactions,
    "openai-responses": _responses,
    "openrouter": _openrouter,
}

# What each round's reply asks for; the last reply asks for nothing.
ROUNDS: list[Calls] = [
    [("get_weather", {"city": "Paris"}), ("get_time", {"zone": "CET", "precise": True})],
    [("get_weather", {"city": "Oslo", "unit": "F"}), ("get_weather", {"city": "Rome"})],
    [("get_time", {"zone": 'Zürich "☀"', "precise": False}), ("get_time", {"zone": "UTC"})],
]
