"""What adapters send of histories that somebody has saved, cut or cancelled, judged by the rules of each provider.

The rules and the histories are those of ``tests/tool_cases``. Each request is read back into OpenAI's shape, so that
the rules can judge what goes out.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from streamkit import ConfigError, providers
from streamkit.providers import ChatRequest, Provider
from streamkit.providers.call import messages_of
from tests.tool_cases import rules

HISTORIES = [
    json.loads(line) for line in (Path(rules.__file__).parent / "histories.jsonl").read_text("utf-8").splitlines()
]
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
PROVIDERS: dict[str, Callable[[], Provider]] = {
    "openai": lambda: providers.OpenAI("k"),
    "responses": lambda: providers.OpenAIResponses("k"),
    "anthropic": lambda: providers.Anthropic("k"),
    "gemini": lambda: providers.Gemini("k"),
    "mistral": lambda: providers.Mistral("k"),
    "bedrock": lambda: providers.Bedrock("k", region="eu-west-1"),
    "cohere": lambda: providers.Cohere("k"),
}
MODELS = {"bedrock": "meta.llama4"}  # the strictest there

# What an adapter may change on the copy without saying anything untrue.
BRIDGED = {
    "openai": {"OC3", "OC7", "OC9"},
    "responses": {"OR4"},
    "anthropic": {"AN1", "AN4", "AN9", "AN10", "AN11"},
    "gemini": {"GE3", "GE7", "GE9"},
    "mistral": {"MI1", "MI2", "MI8", "MI9"},
    "bedrock": {"BE1", "BE4", "BE7", "BE9", "BE10"},
    "cohere": {"CO3", "CO6"},
}
# What only the user can repair, by the provider, though the rules alone would not tell.
ELSE = {
    "h020": {"mistral"},  # once the system's message is elsewhere, the last is the assistant's
    "h023": set(PROVIDERS) - {"openai"},  # the name of a participant is refused, never dropped
    "h006": {"responses"},  # a system message alone
    **{key: {"bedrock", "cohere", "responses"} for key in ("h025", "h026", "h032")},  # a question of nothing
    "h056": set(PROVIDERS),  # the same result twice: which one holds?
    "h058": {"mistral", "bedrock"},  # a question between a call and its result
    "h074": {"mistral"},  # a call before any question
    "h081": set(PROVIDERS),  # a result without an id
    **{key: set(PROVIDERS) for key in ("h052", "h053", "h054", "h117")},  # results of calls that nobody made
}


def call_of(id: str, name: str, arguments: Any) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": id, "type": "function", "function": {"name": name, "arguments": text}}


def result_of(id: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def spoken(role: str, texts: list[str], calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not texts and not calls:
        return []
    parts = [{"type": "text", "text": text} for text in texts] or None
    return [{"role": role, "content": parts, **({"tool_calls": calls} if calls else {})}]


def of_messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = body["messages"]
    return read


def of_responses(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = []
    for item in body["input"]:
        if item["type"] == "function_call_output":
            read.append(result_of(item["call_id"], item["output"]))
        elif item["type"] == "function_call":
            call = call_of(item["call_id"], item["name"], item["arguments"])
            if read and read[-1]["role"] == "assistant":
                read[-1].setdefault("tool_calls", []).append(call)
            else:
                read.append({"role": "assistant", "content": None, "tool_calls": [call]})
        else:
            content = item["content"]
            texts = content if isinstance(content, str) else [{**part, "type": "text"} for part in content]
            read.append({"role": item["role"], "content": texts})
    return read


def of_anthropic(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = []
    for message in body["messages"]:
        blocks = message["content"]
        read += [result_of(b["tool_use_id"], b["content"]) for b in blocks if b["type"] == "tool_result"]
        texts = [block.get("text", "media") for block in blocks if block["type"] not in ("tool_use", "tool_result")]
        calls = [call_of(b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"]
        read += spoken(message["role"], texts, calls)
    return read


def of_bedrock(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = []
    for message in body["messages"]:
        blocks = message["content"]
        results = [block["toolResult"] for block in blocks if "toolResult" in block]
        assert all(part["text"].strip() for result in results for part in result["content"])
        read += [result_of(result["toolUseId"], result["content"]) for result in results]
        texts = [block.get("text", "media") for block in blocks if not {"toolUse", "toolResult"} & set(block)]
        uses = [block["toolUse"] for block in blocks if "toolUse" in block]
        calls = [call_of(use["toolUseId"], use["name"], use["input"]) for use in uses]
        read += spoken(message["role"], texts, calls)
    return read


def of_gemini(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = []
    for content in body["contents"]:
        parts = content["parts"]
        answers = [part["functionResponse"] for part in parts if "functionResponse" in part]
        read += [result_of(answer["id"], answer["response"]["result"]) for answer in answers]
        texts = [part.get("text", "media") for part in parts if not {"functionCall", "functionResponse"} & set(part)]
        made = [part["functionCall"] for part in parts if "functionCall" in part]
        calls = [call_of(call["id"], call["name"], call["args"]) for call in made]
        read += spoken("assistant" if content["role"] == "model" else "user", texts, calls)
    return read


READ = {"responses": of_responses, "anthropic": of_anthropic, "bedrock": of_bedrock, "gemini": of_gemini}


def sent(family: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    call = ChatRequest(MODELS.get(family, "m"), messages_of(messages), {"tools": [TOOL]})
    body = json.loads(PROVIDERS[family]().request(call).body or b"")
    return READ.get(family, of_messages)(body)


def broken(family: str, messages: list[dict[str, Any]]) -> set[str]:
    return {rule for rule, _ in rules.judge(family, messages)}


@pytest.mark.parametrize("family", PROVIDERS)
@pytest.mark.parametrize("history", HISTORIES, ids=[history["id"] for history in HISTORIES])
def test_what_is_sent_of_a_history(family: str, history: Mapping[str, Any]) -> None:
    """A history that an adapter can bridge without lying is one the provider takes; no other one becomes worse."""
    for messages in (history["messages"], [*history["messages"], {"role": "user", "content": "And now?"}]):
        kept, before = copy.deepcopy(messages), broken(family, messages)
        bridgeable = before <= BRIDGED[family] and family not in ELSE.get(history["id"], ())
        try:
            after = broken(family, sent(family, messages))
        except ConfigError as error:
            if bridgeable:
                raise AssertionError(history["about"]) from error
        else:
            assert after == set() if bridgeable else after <= before | {"MI4"}
        assert kept == messages
