"""Every wire format with its provider and recordings, for the tests that apply to all formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from streamkit import Chunk, providers
from streamkit.providers import ChatRequest, Decoder, Provider
from tests.conformance.judge import framed
from tests.conformance.recordings import Recording

# The folder of the recordings, and the provider that reads them: at an address, or for None at its own.
PROVIDERS: dict[str, Callable[[str | None], Provider]] = {
    "openai-chat": lambda url: providers.OpenAI(api_key="k", base_url=url),
    "openai-responses": lambda url: providers.OpenAIResponses(api_key="k", base_url=url),
    "openai-completions": lambda url: providers.OpenAICompletions(api_key="k", base_url=url),
    "anthropic-messages": lambda url: providers.Anthropic(api_key="k", base_url=url),
    "bedrock-converse": lambda url: providers.Bedrock(api_key="k", base_url=url, region="us-east-1"),
    "gemini": lambda url: providers.Gemini(api_key="k", base_url=url),
    "gemini-interactions": lambda url: providers.GeminiInteractions(api_key="k", base_url=url),
    "cohere-chat-v2": lambda url: providers.Cohere(api_key="k", base_url=url),
    "ollama-ndjson": lambda url: providers.Ollama(base_url=url),
}
FORMATS: dict[str, Callable[[], Provider]] = {name: partial(make, None) for name, make in PROVIDERS.items()}

HELLO = ChatRequest("m", [{"role": "user", "content": "Hi"}])


def events_of(recording: Recording) -> list[Any]:
    """Return a recording's events, framed as its content type says."""
    return list(framed(recording.content_type, [recording.body]))


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
