"""Tool call ids that a provider rejects are replaced, in the call and in its result."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import Message, ToolCall, providers
from streamkit.providers import ChatRequest, Provider
from streamkit.providers.call import messages_of
from streamkit.providers.request.call_ids import (
    ANTHROPIC_IDS,
    BEDROCK_IDS,
    CHAT_IDS,
    MISTRAL_IDS,
    RESPONSES_IDS,
    fitting,
)
from tests.unit.calls import WEATHER
from tests.unit.test_golden_requests import PROVIDERS

LONG = "fc_" * 40
CHAT: dict[str, Provider] = {
    "azure": providers.AzureOpenAI("k", "https://host"),
    "openai": providers.OpenAI("k"),
    "openai-eu": providers.OpenAI("k", "https://eu.api.openai.com/v1"),
}
# Whose ids are what, and one that goes out as it is.
RULES = {
    "anthropic": (r"[a-zA-Z0-9_-]{1,64}", "functions_f-0"),
    "bedrock": (r"[a-zA-Z0-9_.:-]{1,64}", "functions.f:0"),
    "mistral": (r"[a-zA-Z0-9]{9}", "aB3456789"),
    "openai-responses": (r".{1,64}", "functions.f:0"),
    **dict.fromkeys(CHAT, (r".{1,40}", "functions.f:0")),
}


def sent_ids(provider: Provider, *ids: str) -> list[str]:
    """Return what the ids of calls, each with its result, become; those of a result are those of its call."""
    calls = [Message("user", "Hi"), Message("assistant", tool_calls=tuple(ToolCall.of(id, "f", "{}") for id in ids))]
    messages = messages_of([*calls, *(Message("tool", "x", tool_call_id=id) for id in ids)])
    sent = json.loads(provider.request(ChatRequest("m", messages, {"tools": [WEATHER]})).body or b"")
    found = list(found_ids(sent.get("input", sent.get("messages"))))
    assert found[: len(ids)] == found[len(ids) :]
    return found[: len(ids)]


def found_ids(body: Any) -> Any:
    """Yield the ids of calls and of results in a body, in order."""
    if isinstance(body, dict):
        names = ("id", "tool_use_id", "toolUseId", "call_id", "tool_call_id")
        yield from (body[name] for name in names if name in body)
    for each in body.values() if isinstance(body, dict) else body if isinstance(body, list) else ():
        yield from found_ids(each)


@pytest.mark.parametrize("name", RULES)
class TestIds:
    def test_of_elsewhere(self, name: str) -> None:
        """An id that the provider takes goes as it is; one that it does not becomes one that it does."""
        rule, own = RULES[name]
        provider = CHAT[name] if name in CHAT else PROVIDERS[name]()
        kept, *made = sent_ids(provider, own, LONG, f"{LONG}x")
        assert own == kept
        assert len({kept, *made}) == 3
        assert all(re.fullmatch(rule, id) for id in made)

    def test_the_same_in_every_request(self, name: str) -> None:
        """An id is replaced by the same whatever else the conversation has, as the server's cache wants it."""
        provider = CHAT[name] if name in CHAT else PROVIDERS[name]()
        (alone,) = sent_ids(provider, LONG)
        assert alone == sent_ids(provider, f"{LONG}x", LONG)[1]


@pytest.mark.parametrize("name", ["cohere", "gemini-interactions", "vllm"])
def test_others_take_any(name: str) -> None:
    """Providers that state no rule get the ids as they are."""
    provider = PROVIDERS[name]() if name in PROVIDERS else providers.OpenAICompatible(name)
    assert [LONG, "functions.f:0"] == sent_ids(provider, LONG, "functions.f:0")


@given(
    st.lists(st.text(min_size=1), min_size=1, unique=True),
    st.sampled_from([ANTHROPIC_IDS, BEDROCK_IDS, CHAT_IDS, MISTRAL_IDS, RESPONSES_IDS]),
)
def test_they_stay_apart(ids: list[str], rule: re.Pattern[str]) -> None:
    """For any ids, the sent ids are valid for the provider, and as many as the conversation has."""
    sent = fitting(ids, rule)
    assert set(ids) == sent.keys()
    assert len(set(ids)) == len(set(sent.values()))
    assert all(rule.fullmatch(id) for id in sent.values())


def test_none_is_taken_twice() -> None:
    """An id that happens to be what another would become keeps its place."""
    made = fitting(["call_1"], MISTRAL_IDS)["call_1"]
    sent = fitting([made, "call_1"], MISTRAL_IDS)
    assert made == sent[made] != sent["call_1"]


def test_an_id_of_two_calls_is_replaced_in_the_second() -> None:
    """Where a conversation has an id twice, each result still has the id of its own call."""
    call = ToolCall.of("c", "f", "{}")
    asked = Message("assistant", tool_calls=(call,))
    twice = Message("assistant", tool_calls=(call, call))
    result = Message("tool", "x", tool_call_id="c")
    messages = messages_of([Message("user", "Hi"), asked, result, twice, result, result])
    body = json.loads(providers.Anthropic("k").request(ChatRequest("m", messages)).body or b"")
    first, answer, second, third, *answers = found_ids(body["messages"])
    assert ("c", "c") == (first, answer)
    assert [second, third] == answers
    assert len({first, second, third}) == 3
