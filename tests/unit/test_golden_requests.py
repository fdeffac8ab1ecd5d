"""Every provider's translation of the same calls, compared with golden files.

A golden file is a body that was checked against the provider's documentation, or the error that names the part of the
call that the provider does not support.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamkit import ConfigError, providers
from streamkit.providers import Provider
from tests.unit.calls import CALLS

GOLDEN = Path(__file__).parent.parent / "golden" / "requests"

PROVIDERS: dict[str, Callable[[], Provider]] = {
    "openai": lambda: providers.OpenAI(api_key="k"),
    "openai-responses": lambda: providers.OpenAIResponses(api_key="k"),
    "openai-completions": lambda: providers.OpenAICompletions(api_key="k"),
    "anthropic": lambda: providers.Anthropic(api_key="k"),
    "bedrock": lambda: providers.Bedrock(api_key="k", region="eu-west-1"),
    "gemini": lambda: providers.Gemini(api_key="k"),
    "gemini-interactions": lambda: providers.GeminiInteractions(api_key="k"),
    "cohere": lambda: providers.Cohere(api_key="k"),
    "mistral": lambda: providers.Mistral(api_key="k"),
    "ollama": lambda: providers.Ollama(),
}


def translated(provider: Provider, case: str) -> dict[str, Any]:
    try:
        request = provider.request(CALLS[case])
    except ConfigError as error:
        return {"refused": str(error)}
    return {"url": request.url, "body": json.loads(request.body)}


@pytest.mark.parametrize("case", CALLS)
@pytest.mark.parametrize("name", PROVIDERS)
def test_a_call_is_translated_as_the_golden_file_has_it(name: str, case: str) -> None:
    """System prompts, images, tools, results, formats and settings are in the provider's words, or refused."""
    golden = json.loads((GOLDEN / name / f"{case}.json").read_text("utf-8"))
    assert golden == translated(PROVIDERS[name](), case)


@pytest.mark.parametrize("name", PROVIDERS)
def test_an_unknown_parameter_is_refused(name: str) -> None:
    """A parameter that a provider does not support is an error that names it, never dropped."""
    call = attrs.evolve(CALLS["settings"], params={"temprature": 1})
    with pytest.raises(ConfigError, match="temprature"):
        PROVIDERS[name]().request(call)


@pytest.mark.parametrize("name", [name for name in PROVIDERS if name not in ("bedrock", "ollama")])
def test_without_a_key_nothing_is_sent(name: str) -> None:
    """A missing key is an error that names the environment variable to set."""
    provider = type(PROVIDERS[name]())()
    with pytest.raises(ConfigError, match=r"set the environment variable [A-Z_]+_API_KEY"):
        provider.request(CALLS["settings"])


@pytest.mark.parametrize("name", PROVIDERS)
def test_keys_do_not_show(name: str) -> None:
    """A provider and its request do not show the key, and both list it as a secret."""
    made = type(PROVIDERS[name]())
    key = "sk-golden-secret"
    provider = made(api_key=key, region="eu-west-1") if name == "bedrock" else made(api_key=key)
    request = provider.request(attrs.evolve(CALLS["seed"], params={}))
    assert any(key in value for value in request.headers.values())
    assert key not in f"{provider!r}{request!r}{dict(request.headers)!r}{vars(provider)!r}{request.url}"
    assert key in request.secrets


@pytest.mark.parametrize("name", PROVIDERS)
def test_extras_go_along(name: str) -> None:
    """`extra_body` goes over the body, and `extra_headers` over the headers."""
    call = attrs.evolve(CALLS["seed"], params={}, extra_body={"more": 1}, extra_headers={"X-More": "yes"})
    request = PROVIDERS[name]().request(call)
    assert (1, "yes") == (json.loads(request.body)["more"], request.headers["X-More"])
