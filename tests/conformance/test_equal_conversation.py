"""The same conversation gives the same chunks and completion in every wire format."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import pytest

from streamkit import APIError, Chunk, Client, Completion, providers
from streamkit.providers import Provider
from streamkit.testing import FORMATS, Server, error_in, reply_in
from tests.unit.calls import WEATHER

PROVIDERS: dict[str, Callable[[str], Provider]] = {
    "openai": lambda url: providers.OpenAI(api_key="k", base_url=url),
    "openai-responses": lambda url: providers.OpenAIResponses(api_key="k", base_url=url),
    "openai-completions": lambda url: providers.OpenAICompletions(api_key="k", base_url=url),
    "anthropic": lambda url: providers.Anthropic(api_key="k", base_url=url),
    "bedrock": lambda url: providers.Bedrock(api_key="k", base_url=url, region="eu-west-1"),
    "gemini": lambda url: providers.Gemini(api_key="k", base_url=url),
    "gemini-interactions": lambda url: providers.GeminiInteractions(api_key="k", base_url=url),
    "cohere": lambda url: providers.Cohere(api_key="k", base_url=url),
    "mistral": lambda url: providers.Mistral(api_key="k", base_url=url),
    "ollama": lambda url: providers.Ollama(base_url=url),
}
FOUR = ["openai", "anthropic", "gemini", "mistral"]
SPEAKING = [name for name in FORMATS if name != "openai-completions"]  # which has neither reasoning nor tools

CALLS = [("get_weather", {"city": "Paris"}), ("get_time", {"zone": "CET", "precise": True})]
CONVERSATIONS = {
    "text": {"text": "Hello there, world"},
    "reasoning": {"reasoning": "Let me think it over", "text": "It is four"},
    "tools": {"text": "I will look it up", "tool_calls": CALLS},
    "everything": {"reasoning": "First think", "text": "then speak", "tool_calls": CALLS},
    "length": {"text": "Once upon a", "finish_reason": "length"},
}


def test_every_format_has_a_provider() -> None:
    """No format that is served goes untested."""
    assert set(FORMATS) == set(PROVIDERS)


def streamed(name: str, conversation: str) -> tuple[list[Chunk], Completion]:
    with Server(reply_in(name, **CONVERSATIONS[conversation])) as server:  # type: ignore[arg-type]
        with Client([PROVIDERS[name](server.url)]) as client, client.stream(f"{name}/m", "Hi") as stream:
            chunks = list(stream)
            return chunks, stream.completion


def types(chunks: list[Chunk]) -> list[str]:
    """Return the types in order; a call is one, in however many pieces its arguments come."""
    calls = [(chunk.type, chunk.tool_call.index if chunk.tool_call else None) for chunk in chunks]
    return [kind for (kind, _), group in groupby(calls) for _ in (range(1) if kind == "tool_call" else group)]


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_four_formats_give_the_same_types_of_chunks(conversation: str) -> None:
    """The same reply in four formats is the same sequence of types of chunks, piece by piece."""
    sequences = {name: types(streamed(name, conversation)[0]) for name in FOUR}
    assert 1 == len({tuple(sequence) for sequence in sequences.values()}), sequences
    assert "done" == sequences["openai"][-1]


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", SPEAKING)
def test_every_format_gives_the_same_completion(name: str, conversation: str) -> None:
    """Text, reasoning, tool calls, finish reason and usage are the same from every format."""
    chunks, completion = streamed(name, conversation)
    said = CONVERSATIONS[conversation]
    calls = said.get("tool_calls", [])
    finish = said.get("finish_reason") or ("tool_calls" if calls else "stop")
    assert (said["text"], said.get("reasoning", ""), finish) == (
        completion.text,
        completion.reasoning,
        completion.finish_reason,
    )
    assert calls == [(call.name, call.arguments) for call in completion.tool_calls]
    assert (7, 11, 18) == (
        completion.usage.input_tokens,
        completion.usage.output_tokens,
        completion.usage.total_tokens,
    )
    assert types(streamed("openai", conversation)[0]) == types(chunks)


def test_text_completions_have_text() -> None:
    """The legacy format gives the same text and end."""
    chunks, completion = streamed("openai-completions", "text")
    assert ("Hello there, world", "stop", 18) == (
        completion.text,
        completion.finish_reason,
        completion.usage.total_tokens,
    )
    assert types(streamed("openai", "text")[0]) == types(chunks)


@pytest.mark.parametrize("name", FORMATS)
def test_an_error_inside_a_stream(name: str) -> None:
    """A failure in the middle is an error with the provider's words, and keeps the text before it."""
    with Server(reply_in(name, "Hello there", error="out of order")) as server:
        with Client([PROVIDERS[name](server.url)], retry=1) as client, pytest.raises(APIError) as caught:
            client.complete(f"{name}/m", "Hi")
    assert ("Hello there", True, True) == (
        caught.value.partial.text,
        caught.value.in_stream,
        "out of order" in str(caught.value),
    )
    assert caught.value.retryable or name == "ollama"  # whose errors have no class


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 429, 500, 503])
def test_a_refusal(name: str, status: int) -> None:
    """A refused request is an error of the status's class, with the provider's words."""
    with Server(error_in(name, "not like this", status=status)) as server:
        with Client([PROVIDERS[name](server.url)], retry=1) as client, pytest.raises(APIError) as caught:
            client.complete(f"{name}/m", "Hi")
    error = caught.value
    assert (status, APIError.class_for(status), True) == (error.status, type(error), "not like this" in str(error))


@pytest.mark.parametrize("name", ["anthropic", "bedrock", "gemini"])
def test_a_history_goes_back_as_it_came(name: str) -> None:
    """The reply of a model that called tools can be sent back to it, with the result."""
    with Server(reply_in(name, "I look", reasoning="Think", tool_calls=CALLS[:1]), reply_in(name, "18 C")) as server:
        with Client([PROVIDERS[name](server.url)]) as client:
            history = [{"role": "user", "content": "Weather?"}]
            first = client.complete(f"{name}/m", history, tools=[WEATHER])
            (call,) = first.tool_calls
            result = {"role": "tool", "tool_call_id": call.id, "content": "18"}
            assert "18 C" == client.complete(f"{name}/m", [*history, first.message, result], tools=[WEATHER]).text
        sent = server.requests[1].json()
    assert 3 == len(sent.get("messages") or sent["contents"])
