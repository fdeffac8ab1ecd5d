"""The README's table of providers is correct, cell by cell.

Run as a program it prints the table.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from streamkit import Client, ConfigError, ImagePart, Message, providers
from streamkit.models import prices
from streamkit.providers import ChatRequest, Provider, registry
from streamkit.providers.openai_chat.services import SERVICES
from streamkit.testing import FORMATS, Server, reply_in
from tests.unit.calls import PIXEL

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
ROWS = re.findall(r"^\| `([a-z-]+)` \| `([A-Z_]+)` \| (\S+) \|$", README, re.MULTILINE)
# Who says what a reply cost, and how: in dollars, as a part of an object, or in 10**10 to the dollar.
REPORTED = {
    "agnic": b'"cost":0.25',
    "litellm": b'"cost":0.25',  # of a proxy with include_cost_in_streaming_usage
    "openrouter": b'"cost":0.25',
    "perplexity": b'"cost":{"input_tokens_cost":0.05,"total_cost":0.25}',
    "xai": b'"cost_in_usd_ticks":2500000000',
}
# What the text above the table says of every provider, and of one that is the exception.
ALL = ["text", "reasoning", "tools", "images", "usage"]
EXCEPTIONS = {"openai-completions": ["text", "usage"]}
MODELS = {"openai-completions": "gpt-3.5-turbo-instruct"}
KEY = "sk-secret-of-the-table"


def provider_at(name: str, url: str) -> Any:
    if name in SERVICES:
        return providers.OpenAICompatible(name, url, KEY)
    if name == "azure":
        return providers.AzureOpenAI(KEY, url.removesuffix("/v1"))
    kind = registry.factory(name)
    assert kind is not None
    more = {"region": "eu-west-1"} if name == "bedrock" else {}
    return kind(api_key=KEY, base_url=url, **more)  # type: ignore[call-arg]


def key_variable(name: str) -> str:
    if name in SERVICES:
        return SERVICES[name].key_variables[0]
    provider = provider_at(name, "http://127.0.0.1:1/v1")
    variables = getattr(provider, "key_variables", None)
    return str(variables[0] if variables else provider.key_variable)


def features(name: str) -> list[str]:
    """Return what a provider has, found out by having it done."""
    format = name if name in FORMATS else "openai"
    call = [("get_weather", {"city": "Paris"})]
    if format == "openai-completions":
        said: dict[str, Any] = {"text": "Hello there"}
    else:
        said = {"text": "Hello there", "reasoning": "Let me think", "tool_calls": call}
    with Server(reply_in(format, **said)) as server, Client([provider_at(name, server.url)], retry=1) as client:
        completion = client.complete(f"{name}/model", "Hi")
        found = [
            completion.text == "Hello there",
            completion.reasoning == "Let me think",
            [(made.name, made.arguments) for made in completion.tool_calls] == call and takes_tools(client, name),
            takes_images(provider_at(name, server.url)),
            completion.usage.total_tokens == 18,
        ]
    return [feature for feature, each in zip(ALL, found, strict=True) if each]


def takes_tools(client: Client, name: str) -> bool:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    return bool(client.complete(f"{name}/model", "Hi", tools=[tool]).tool_calls)


def takes_images(provider: Provider) -> bool:
    message = Message("user", [ImagePart(PIXEL)]).to_dict()
    try:
        body = provider.request(ChatRequest("model", [message])).body
    except ConfigError:
        return False
    return PIXEL.partition(",")[2] in json.dumps(json.loads(body))


def cost(name: str) -> str:
    """Return who knows the cost: the provider, which says it, or the list of prices."""
    if name in REPORTED:
        return "reported"
    return "list" if name in prices._NAMES else "-"


def names() -> list[str]:
    return [name for name in registry.names() if name in registry.BUILT_IN or name in SERVICES]


def test_the_table_names_every_provider() -> None:
    """No provider of the library is missing from the table, and none is in it that there is not."""
    assert names() == [name for name, _, _ in ROWS]


@pytest.mark.parametrize(("name", "variable", "claim"), ROWS, ids=[name for name, _, _ in ROWS])
def test_a_row_says_what_happens(name: str, variable: str, claim: str) -> None:
    """The key's variable is the one that is read, the cost is known as it says, and the features are those claimed."""
    assert key_variable(name) == variable
    assert cost(name) == claim
    assert features(name) == EXCEPTIONS.get(name, ALL)


def test_the_text_says_the_same_of_all_providers() -> None:
    """The sentences above the table name the features that the tests of its rows look for, and how many there are."""
    assert "Every provider has text, reasoning, tools, images and usage, as tests show" in README
    assert "Only `openai-completions` has text and usage alone." in README
    assert f"of {len(ROWS)} providers" in README


@pytest.mark.parametrize("name", REPORTED)
def test_a_cost_that_is_reported(name: str) -> None:
    """For the providers that the table marks, the cost is the one that the provider reports."""
    reply = reply_in("openai", "Hello")
    old = b'"total_tokens":18'
    assert any(old in step.data for step in reply.steps)  # type: ignore[attr-defined]
    told = [step.data.replace(old, old + b"," + REPORTED[name]) for step in reply.steps]  # type: ignore[attr-defined]
    with Server(reply.but(steps=told)) as server, Client([provider_at(name, server.url)]) as client:
        completion = client.complete(f"{name}/model", "Hi")
    assert (0.25, "provider") == (completion.cost, completion.cost_source)


if __name__ == "__main__":
    print("| provider | key | cost |\n|---|---|---|")
    for each in names():
        print(f"| `{each}` | `{key_variable(each)}` | {cost(each)} |")
