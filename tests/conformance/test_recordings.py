"""Every wire format, checked against recordings of real servers."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from streamkit import BadRequestError, Client, Completion, providers
from streamkit.testing import Server, recording_reply
from tests.conformance.formats import PROVIDERS
from tests.conformance.recordings import Compare, Recording, check_provider, recordings, seen, wanted

ALL = [(api, recording) for api in PROVIDERS for recording in recordings(api)]
STREAMS = [(api, recording) for api, recording in ALL if recording.content_type != "application/json"]
MISTRAL = [recording for api, recording in ALL if recording.name.startswith("mistral__")]
COUNTS = {
    "openai-chat": 75,
    "openai-responses": 56,
    "openai-completions": 5,
    "anthropic-messages": 37,
    "bedrock-converse": 12,  # one of them of a refused request
    "gemini": 14,
    "gemini-interactions": 5,
    "cohere-chat-v2": 4,
    "ollama-ndjson": 1,
}


def name(value: str | Recording) -> str:
    return value if isinstance(value, str) else value.name


def anthropic(recording: Recording, completion: Completion) -> None:
    """Calls that came whole compare by value; the total, which Anthropic does not send, is the sum."""
    expected, got = wanted(recording.expected), seen(completion)
    given, made = expected["usage"][:2]
    expected["usage"][2] = None if given is None else given + made
    for want, call in zip(expected["tool_calls"], got["tool_calls"], strict=True):
        if call[2] != want[2]:
            assert json.loads(want[2]) == json.loads(call[2])
            call[2] = want[2]
    assert expected == got


def bedrock(recording: Recording, completion: Completion) -> None:
    """A call of a tool on Amazon's side, which nobody here can answer, is none of the completion's."""
    expected = wanted(recording.expected)
    expected["tool_calls"] = [call for call in expected["tool_calls"] if call[1] != "nova_code_interpreter"]
    assert expected == seen(completion)


def gemini(recording: Recording, completion: Completion) -> None:
    """Arguments compare by value, and made ids not at all."""
    expected, got = wanted(recording.expected), seen(completion)
    for want, call in zip(expected["tool_calls"], got["tool_calls"], strict=True):
        assert json.loads(want[2]) == json.loads(call[2])
        call[2] = want[2]
        if want[0] is None:
            call[0] = None
    assert expected == got
    ids = [call.id for call in completion.tool_calls]
    assert len(set(ids)) == len(ids)


def cohere(recording: Recording, completion: Completion) -> None:
    """The total that Cohere does not send is the sum."""
    expected = wanted(recording.expected)
    expected["usage"][2] = sum(expected["usage"][:2])
    assert expected == seen(completion)


COMPARE: dict[str, Compare] = {
    "anthropic-messages": anthropic,
    "bedrock-converse": bedrock,
    "gemini": gemini,
    "cohere-chat-v2": cohere,
}


def test_the_recordings_are_all_there() -> None:
    """The corpora hold 209 recordings."""
    assert COUNTS == Counter(api for api, _ in ALL)
    assert (208, 4) == (len(STREAMS), len(MISTRAL))


@pytest.mark.parametrize(("api", "recording"), STREAMS, ids=name)
def test_a_recording(api: str, recording: Recording) -> None:
    """Whole, however it is cut, and up to any point, a recording gives what its server meant."""
    if "text_from_deltas" in recording.expected:
        pytest.skip("abridged by its authors: its deltas tell another text than its last event")
    segment = PROVIDERS[api](None).name
    check_provider(recording, lambda server: PROVIDERS[api](server.url), f"{segment}/model", COMPARE.get(api))


@pytest.mark.parametrize("recording", MISTRAL, ids=name)
def test_a_recording_of_mistral(recording: Recording) -> None:
    """Mistral's own provider gives the same."""
    check_provider(recording, lambda server: providers.Mistral(api_key="k", base_url=server.url), "mistral/mistral-x")


def test_a_refused_request() -> None:
    """The body of a refusal is the error's message."""
    ((_, recording),) = [row for row in ALL if row not in STREAMS]
    reply = recording_reply(recording.body, content_type=recording.content_type, status=400)
    with Server(reply) as server, Client([PROVIDERS["bedrock-converse"](server.url)]) as client:
        with pytest.raises(BadRequestError, match="The provided model identifier is invalid"):
            client.complete("bedrock/no-such-model", "Hi")
    assert 1 == len(server.requests)
