"""Ollama's address, and requests to it beyond the golden files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamkit import ConfigError, ImagePart, Message, TextPart, fold, providers
from streamkit.providers import ChatRequest
from streamkit.providers.call import messages_of
from tests.unit.test_format_decoders import Event


def body(messages: Any = "Hi", **params: Any) -> dict[str, Any]:
    call = ChatRequest("m", messages_of(messages), params)
    return json.loads(providers.Ollama().request(call).body or b"")


def event(shape: dict[str, Any]) -> Event:
    return Event(json.dumps(shape))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("gpu", "http://gpu:11434"),
        ("gpu:1234", "http://gpu:1234"),
        (":1234", "http://127.0.0.1:1234"),
        ("11434", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("http://0.0.0.0.example.com:80", "http://0.0.0.0.example.com:80"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:1234", "http://[::1]:1234"),
        ("::", "http://[::1]:11434"),
        ("http://gpu", "http://gpu"),
        ("https://gpu/ollama/", "https://gpu/ollama"),
        ("gpu/ollama", "http://gpu:11434/ollama"),
        ("ollama.com", "https://ollama.com"),
        (' "gpu" ', "http://gpu:11434"),
    ],
)
def test_the_environment_says_where_it_is(host: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`OLLAMA_HOST` is read as Ollama reads it; a server on every address is one on loopback for a client."""
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert url == providers.Ollama().base_url


@pytest.mark.parametrize("host", ["gpu:99999", "ftp://gpu"])
def test_a_place_that_is_none(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid address is an error that names the variable."""
    monkeypatch.setenv("OLLAMA_HOST", host)
    with pytest.raises(ConfigError, match="OLLAMA_HOST"):
        providers.Ollama()


def test_how_hard_to_think() -> None:
    """Efforts are those that Ollama knows; others are an error that lists them."""
    assert [False, "low", "medium", "high", "max"] == [
        body(reasoning_effort=effort)["think"] for effort in ("none", "low", "medium", "high", "max")
    ]
    for effort in ("minimal", "xhigh", "hard"):
        with pytest.raises(ConfigError, match="reasoning_effort none, low, medium, high, max"):
            body(reasoning_effort=effort)
    assert body(think=True)["think"] is True


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"reasoning_effort": "low", "think": False}, "reasoning_effort and think"),
        ({"temperature": 1, "options": {"temperature": 0}}, r"temperature and options\.temperature"),
        ({"max_tokens": 1, "options": {"num_predict": 2}}, r"max_tokens and options\.num_predict"),
        ({"stop_sequences": "a", "options": {"stop": ["b"]}}, r"stop_sequences and options\.stop"),
    ],
)
def test_what_is_said_twice_is_refused(params: dict[str, Any], names: str) -> None:
    """A parameter in OpenAI's words beside the same in Ollama's is an error that names both."""
    with pytest.raises(ConfigError, match=f"{names} say the same thing"):
        body(**params)


def test_marks_without_a_word() -> None:
    """Ollama has no participants, no cache marks and no detail; strictness is left out; `auto` asks for nothing."""
    pixel = "data:image/png;base64,iVBORw0KGgo="
    for message, word in (
        ({"role": "user", "content": "Hi", "name": "Ann"}, "name"),
        ({"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {}}]}, "cache_control"),
        (Message("user", [TextPart("Look"), ImagePart(pixel, "low")]), "detail"),
    ):
        with pytest.raises(ConfigError, match=f"has no {word}"):
            body([message])
    (tool,) = body(tools=[{"type": "function", "function": {"name": "f", "strict": True}}])["tools"]
    assert "strict" not in tool["function"]
    (message,) = body([Message("user", [TextPart("Look"), ImagePart(pixel, "auto")])])["messages"]
    assert ["iVBORw0KGgo="] == message["images"]


def test_thoughts_go_back_with_the_calls_after_them() -> None:
    """The thoughts of a reply with calls go back in its message, but not to Ollama's cloud, which refuses them."""
    decoder = providers.Ollama().decoder(ChatRequest("m", []))
    call = {"function": {"name": "f", "arguments": {}}}
    messages = [{"thinking": "Let me "}, {"thinking": "see"}, {"tool_calls": [call]}]
    chunks = [chunk for message in messages for chunk in decoder.decode(event({"message": message, "done": False}))]
    chunks += decoder.decode(event({"message": {"content": ""}, "done": True}))
    history = messages_of([Message("user", "Hi"), fold([*chunks, decoder.finish()]).message])

    def thoughts(provider: providers.Ollama, model: str) -> Any:
        return provider.body(ChatRequest(model, history))["messages"][1].get("thinking")

    assert "Let me see" == thoughts(providers.Ollama(), "qwen3")
    assert thoughts(providers.Ollama("k", "https://ollama.com"), "qwen3") is None
    assert thoughts(providers.Ollama(), "gpt-oss:120b-cloud") is None


def test_thoughts_of_other_replies_do_not_go_back() -> None:
    """Thoughts before an answer are not kept."""
    decoder = providers.Ollama().decoder(ChatRequest("m", []))
    chunks = decoder.decode(event({"message": {"thinking": "Hm", "content": "Yes"}, "done": True}))
    assert () == fold([*chunks, decoder.finish()]).provider_data
