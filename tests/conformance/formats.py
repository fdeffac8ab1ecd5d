"""Every wire format with its provider and its recordings, for the tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from streamkit import Chunk, providers
from streamkit.providers import ChatRequest, Decoder, Provider
from streamkit.transport.framing import framing_of
from tests.conformance.recordings import Recording

# The folder of the recordings, and the provider that reads them.
FORMATS: dict[str, Callable[[], Provider]] = {
    "openai-chat": lambda: providers.OpenAI(api_key="k"),
    "openai-responses": lambda: providers.OpenAIResponses(api_key="k"),
    "openai-completions": lambda: providers.OpenAICompletions(api_key="k"),
    "anthropic-messages": lambda: providers.Anthropic(api_key="k"),
    "bedrock-converse": lambda: providers.Bedrock(api_key="k", region="us-east-1"),
    "gemini": lambda: providers.Gemini(api_key="k"),
    "gemini-interactions": lambda: providers.GeminiInteractions(api_key="k"),
    "cohere-chat-v2": lambda: providers.Cohere(api_key="k"),
    "ollama-ndjson": lambda: providers.Ollama(),
}

HELLO = ChatRequest("m", [{"role": "user", "content": "Hi"}])


def events_of(recording: Recording) -> list[Any]:
    """Return a recording's events, framed as its content type says."""
    framing = framing_of(recording.content_type.partition(";")[0].strip().lower())
    assert framing is not None
    return list(framing([recording.body]))


def decode_all(
    decoder: Decoder, events: Sequence[Any], before_each: Callable[[], object] = lambda: None
) -> list[Chunk]:
    """Return all chunks of a reply that ends well."""
    chunks: list[Chunk] = []
    for event in events:
        before_each()
        chunks += decoder.decode(event)
    chunks.append(decoder.finish())
    return chunks
