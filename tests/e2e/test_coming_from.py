"""The tables for those who come from other libraries are right: each of our calls in them is made here.

A test is a section of the page. ``test_each_of_ours_is_made`` compares the two: what stands as code in the last column
of a section's tables stands in the test of that section, and so runs. ``...`` in a table stands for anything.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import streamkit
from streamkit import (
    Answered,
    APIError,
    Approved,
    BadRequestError,
    BrokenStreamError,
    Client,
    ConfigError,
    ConnectError,
    FileClaims,
    ImagePart,
    MemoryCache,
    Message,
    Observer,
    PaymentRequiredError,
    RateLimit,
    Rejected,
    Retry,
    Route,
    RunLimitError,
    RunLimits,
    ServerError,
    SQLCache,
    StopEvent,
    StreamError,
    StreamTimeout,
    Timeout,
    ToolContext,
    UsageTracker,
    ValidationError,
    Window,
    assistant,
    estimate_tokens,
    fold,
    open_pack,
    providers,
    system,
    user,
)
from streamkit.testing import (
    Cut,
    Server,
    error_in_stream_reply,
    error_reply,
    json_reply,
    reply_in,
    text_reply,
    tool_call_reply,
)
from streamkit.validators import BannedWords

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "examples/coming_from/README.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^## (.*)\n((?:(?!^## ).*\n?)*)", PAGE, re.MULTILINE)
DEMO = "demo/storyteller"
STREAMING = (ROOT / "examples/packs/streaming.pack.json").read_text(encoding="utf-8")
SHOP = (ROOT / "examples/packs/shop.pack.json").read_text(encoding="utf-8")
IMAGE = bytes.fromhex("89504e470d0a1a0a0000000d49484452")  # the beginning of a PNG
COMMANDS = ("streamkit chat", "streamkit conversations", "--", "-o")
NEEDS_SQL = pytest.mark.skipif(not find_spec("sqlalchemy"), reason="needs sqlalchemy")

At = Callable[..., Server]


@dataclass
class Invoice:
    """What a model is to fill in."""

    customer: str
    total: float


def weather(city: str) -> str:
    """The weather of a city."""
    return f"3 degrees in {city}"


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[At]:
    """Start a server, and let the environment say that it is a provider's; go to a folder of one's own."""
    servers: list[Server] = []

    def start(provider: str, *replies: Any) -> Server:
        server = Server(*replies, tokens_per_second=0)
        servers.append(server)
        monkeypatch.setenv(f"{provider}_BASE_URL", server.url)
        monkeypatch.setenv("AGNIC_TOKEN" if provider == "AGNIC" else f"{provider}_API_KEY", "key-of-nobody-1234567")
        return server

    monkeypatch.chdir(tmp_path)
    yield start
    for server in servers:
        server.close()


def call_reply(name: str, **arguments: Any) -> Any:
    return tool_call_reply(name, json.dumps(arguments))


# the sections, in the order of the page


def test_from_openai(at: At) -> None:
    """A section of the page."""
    server = at("OPENAI")
    client = Client([providers.OpenAI(api_key="key-1234567", base_url=server.url)])
    assert client.complete("openai/gpt-4o-mini", "Hi", max_tokens=1).text == "A"
    assert "OPENAI_API_KEY" in os.environ
    messages: list[Message] = [user("Hi")]
    for chunk in client.stream("openai/gpt-4o-mini", [*messages]):
        assert isinstance(chunk.text, str)
        assert chunk.raw
    completion = client.complete("openai/gpt-4o-mini", [*messages], max_tokens=4, stop_sequences=["END"])
    messages.append(completion.message)
    usage = completion.usage
    assert (completion.text, usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (
        "A story, then, for",
        1,
        4,
        None,
    )
    assert completion.to_dict()["text"] == completion.text
    whole = client.complete("openai/gpt-4o-mini", [*messages], timeout=30, retry=3, max_tokens=2)
    assert whole.text == "A story,"
    client.complete("openai/gpt-4o-mini", "Hi", timeout=Timeout(connect=10, first=60, idle=60), max_tokens=2)
    stream = client.stream("openai/gpt-4o-mini", "Hi", stop=StopEvent())
    stream.cancel()
    assert stream.status == "cancelled"

    chat = client.conversation("openai/gpt-4o-mini")
    chat.stream("Hi").collect()
    assert [message.role for message in chat.messages] == ["user", "assistant"]

    async def ask() -> Any:
        return await asyncio.to_thread(client.complete, "openai/gpt-4o-mini", "Hi", max_tokens=2)

    assert asyncio.run(ask()).text == "A story,"

    at("OPENAI", reply_in("openai-responses", "Hi"))
    with Client() as client:
        assert client.stream("openai-responses/gpt-4o-mini", [*messages]).collect().text == "Hi"

    at("OPENAI", call_reply("weather", city="Oslo"))
    completion = Client().complete("openai/gpt-4o-mini", "Hi", tools=[weather])
    assert [(call.name, call.arguments) for call in completion.tool_calls] == [("weather", {"city": "Oslo"})]

    client, model, function = Client(), "demo/assistant", weather
    assert "3 degrees" in client.run(model, [user("The weather in Oslo?")], tools=[function]).collect().text
    completion = client.complete(model, "The total is 50 EUR for Ann", response_format=Invoice)
    assert completion.parsed == Invoice("Ann", 50)

    for status, kind in ((429, streamkit.RateLimitError), (400, BadRequestError), (500, ServerError)):
        at("OPENAI", error_reply(status))
        with pytest.raises(kind):
            Client(retry=1).complete("openai/gpt-4o-mini", "Hi")
    assert issubclass(ConnectError, StreamError)
    assert issubclass(BrokenStreamError, StreamError)
    assert issubclass(StreamTimeout, TimeoutError)


def test_from_gateways_such_as_agnic(at: At) -> None:
    """A section of the page."""
    server = at("AGNIC", text_reply("Hi", usage={"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.5}))
    client = Client([providers.Agnic(api_key="agnic_tok_1234567")])
    assert "AGNIC_TOKEN" in os.environ
    client = Client()
    stream = client.stream("agnic/openai/gpt-4o", [user("Hi")])
    for chunk in stream:
        print(chunk.text, end="")
        break
    assert stream.completion.text == "Hi"
    completion = client.complete("agnic/openai/gpt-4o", [user("Hi")], max_tokens=100, extra_headers={"X-Test": "1"})
    assert (completion.cost, completion.cost_source) == (0.5, "provider")
    Client([providers.Agnic(partner_id="me")]).complete("agnic/openai/gpt-4o", "Hi")
    assert server.requests[-1].headers["x-partner-id"] == "me"

    key = "key-1234567"
    client = Client([providers.OpenAICompatible("my-gateway", "https://gateway.example/v1", key)])
    known = (providers.OpenAICompatible("openrouter"), providers.OpenAICompatible("litellm"))
    assert [provider.name for provider in (*known, providers.OpenAICompatible("vllm"))] == [
        "openrouter",
        "litellm",
        "vllm",
    ]
    mine = providers.OpenAICompatible("mine", server.url, headers={"X-Mine": "1"})
    Client([mine]).complete("mine/some-model", "Hi")
    assert server.requests[-1].headers["x-mine"] == "1"

    limit = {"error": "spending_limit_exceeded", "limit": "daily", "current": 9.5, "requested": 1.0, "max": 10.0}
    at("AGNIC", json_reply(limit, 402), text_reply("Once upon a time").first(3).then(Cut()))
    found: tuple[Any, ...] = ()
    client = Client()
    try:
        client.complete("agnic/openai/gpt-4o", "Hi")
    except PaymentRequiredError as error:
        found = (error.limit, error.current, error.max)
    assert found == ("daily", 9.5, 10.0)
    try:
        client.complete("agnic/openai/gpt-4o", "Hi")
    except StreamError as error:
        found = (error.partial.text,)
    assert "Once upon a time".startswith(found[0])
    assert found[0]


def test_from_anthropic(at: At) -> None:
    """A section of the page."""
    server = at("ANTHROPIC", reply_in("anthropic", "Hello again"))
    client = Client()
    with client.stream("anthropic/MODEL", [system("Be brief."), user("Hi")], max_tokens=1024) as stream:
        for text in stream.iter_text():
            assert text in "Hello again"
        completion = stream.completion
    stream = client.stream("anthropic/MODEL", "Hi")
    assert stream.collect().text == completion.text
    assert server.requests[-1].json()["max_tokens"] == 4096
    Client([providers.Anthropic(max_tokens=8192)]).complete("anthropic/MODEL", "Hi")
    assert server.requests[-1].json()["max_tokens"] == 8192
    client.conversation("anthropic/MODEL", system="Be brief.").send("Hi")
    assert "Be brief." in str(server.requests[-1].json()["system"])
    assert (completion.finish_reason, completion.raw_finish_reason) == ("stop", "end_turn")
    usage = completion.usage
    assert (usage.cached_tokens or 0, usage.cache_write_tokens or 0) == (0, 0)
    sent = client.complete(
        "anthropic/MODEL", "Hi", stop_sequences=["END"], top_k=5, thinking={"type": "disabled"}, retry=3
    )
    assert sent.text == "Hello again"
    assert server.requests[-1].json()["top_k"] == 5

    at(
        "ANTHROPIC",
        reply_in("anthropic", "", tool_calls=[("weather", {"city": "Oslo"})]),
        reply_in("anthropic", "Cold", finish_reason="length"),
    )
    model, client, history = "anthropic/MODEL", Client(), [user("Hi")]
    completion = client.complete(model, history, tools=[weather])
    assert completion.finish_reason == "tool_calls"
    (call,) = completion.tool_calls
    assert call.arguments == {"city": "Oslo"}
    result = weather(**call.arguments)
    history += [completion.message, Message("tool", result, tool_call_id=call.id)]
    assert client.complete(model, history, tools=[weather]).finish_reason == "length"
    at("ANTHROPIC", reply_in("anthropic", "Cold"))
    client = Client()
    assert client.run(model, [user("Hi")], tools=[weather]).collect().text == "Cold"
    kinds = (APIError, ConnectError, BrokenStreamError, StreamTimeout)
    assert all(issubclass(kind, StreamError) for kind in kinds)


def test_from_litellm(at: At, tmp_path: Path) -> None:
    """A section of the page."""
    at("ANTHROPIC", reply_in("anthropic", "Hello again"))
    client = Client()
    assert client.stream("anthropic/some-model", [user("Hi")]).collect().text == "Hello again"
    stream = client.stream("anthropic/some-model", [user("Hi")], retry=3, timeout=Timeout(total=60, first=20, idle=10))
    assert "".join(chunk.text for chunk in stream) == stream.completion.text == "Hello again"
    assert stream.completion.cost is None
    completion = stream.completion
    assert completion.cost is None  # it needs the extra "prices", and a model that has a price

    with streamkit.testing.Server(text_reply("Hi")) as server:
        base_url, api_key = server.url, "key-1234567"
        mine = providers.OpenAICompatible("my-server", base_url, api_key)
        assert Client([mine]).complete("my-server/some-model", "Hi").text == "Hi"
        with pytest.raises(ConfigError):
            Client().complete("gemini/some-model", "Hi", logit_bias={"1": 1})

    client, model = Client(observers=[Observer()]), DEMO
    chat = client.conversation(model, window=Window(tokens=8000))
    chat.send("Hi", max_tokens=2)
    text = "The tide comes in."
    assert estimate_tokens(text) == 5
    at("OPENAI", error_reply(500), text_reply("Hi"))
    client = Client(retry=1)
    try:
        answer = client.complete("openai/gpt-4o-mini", "Hi").text
    except StreamError:
        answer = client.complete("openai/gpt-4o", "Hi").text
    assert answer == "Hi"

    at("OPENAI", error_reply(500), text_reply("Hi"))
    models = ["openai/gpt-4o-mini", "openai/gpt-4o"]
    assert "Hi" == client.complete(Route(models), "Hi").text
    for client in (Client(policies=[MemoryCache()]), Client(policies=[RateLimit(requests=9, tokens=900)])):
        assert client.complete(DEMO, "Hi", max_tokens=2).text == client.complete(DEMO, "Hi", max_tokens=2).text
    if find_spec("sqlalchemy"):
        url = f"sqlite:///{tmp_path}/replies.db"
        SQLCache(url)


@NEEDS_SQL
def test_from_llm(at: At) -> None:
    """A section of the page."""
    from streamkit import SQLStore

    at("OPENAI")
    client = Client()
    stream = client.stream("openai/gpt-4o-mini", [system("Be brief."), user("Hi")])
    for text in stream.iter_text():
        assert text
    stream = client.stream("openai/gpt-4o-mini", "Hi", max_tokens=2)
    assert stream.collect().text == "A story,"
    completion = stream.completion
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (1, 2)
    chat = client.conversation("openai/gpt-4o-mini")
    chat.stream("Hi").collect()

    Path("a.png").write_bytes(IMAGE)
    asked = user("What is this?", ImagePart.read("a.png"))
    assert client.complete("openai/gpt-4o-mini", [asked], max_tokens=1).text == "A"

    model, function = "demo/assistant", weather
    client.run(model, "Hi", tools=[function], approve=Approved(), limits=RunLimits(rounds=5)).collect()
    assert client.complete(model, "The total is 50 EUR for Ann", response_format=Invoice).parsed.customer == "Ann"
    assert client.conversation(model, store=SQLStore("chats.db"), id="alice-1").send("Hi").complete

    @streamkit.tool(needs_approval=True)
    def refund(order: str) -> str:
        """Refund an order."""
        return "paid back"

    chat = client.conversation(model, tools=[refund])
    chat.send("Refund order A-17")
    assert chat.suspension is not None
    (call,) = chat.suspension.waiting
    assert "paid back" in chat.resume({call.id: True}).collect().text

    Path("shop.pack.json").write_text(SHOP, encoding="utf-8")
    opened = open_pack("shop.pack.json", "orders", variables={"company": "Boots & Co"})
    assert opened.model.startswith("openai/")
    assert "OPENAI_API_KEY" in os.environ
    assert Observer


def test_from_the_AI_SDK(at: At) -> None:
    """A section of the page."""
    at("OPENAI", reply_in("openai", "Hi there", reasoning="Hm"))
    client = Client()
    stream = client.stream("openai/gpt-4o-mini", "Hi")
    types = set()
    for chunk in stream:
        types.add(chunk.type)
    assert types == {"reasoning", "text", "done"}
    stream = client.stream("openai/gpt-4o-mini", [system("Be brief."), user("Hi")])
    for text in stream.iter_text():
        assert text in "Hi there"
    stream = client.stream(
        "openai/gpt-4o-mini",
        "Hi",
        max_tokens=9,
        stop_sequences=["END"],
        top_p=0.5,
        timeout=Timeout(total=60, first=20, idle=10),
        retry=3,
        stop=StopEvent(),
    )
    completion = stream.collect()
    assert (completion.text, completion.finish_reason, completion.usage.total_tokens) == ("Hi there", "stop", 18)
    stream.cancel()
    assert list(client.stream("openai/gpt-4o-mini", "Hi").iter_words()) == ["Hi ", "there"]
    stream = client.stream("openai/gpt-4o-mini", "Hi")
    assert "".join(stream.iter_words()) == "Hi there"

    at("OPENAI", error_in_stream_reply("no"), call_reply("weather", city="Oslo"))
    client = Client(observers=[Observer()])
    with pytest.raises(StreamError):
        list(client.stream("openai/gpt-4o-mini", "Hi", retry=1))
    assert "tool_call" in {chunk.type for chunk in client.stream("openai/gpt-4o-mini", "Hi", tools=[weather])}

    model = "demo/assistant"
    client.conversation(model, system="Be brief.").send("Hi")
    client.run(model, "Hi", tools=[weather], limits=RunLimits(rounds=5)).collect()

    @streamkit.tool(needs_approval=True)
    def refund(order: str) -> str:
        """Refund an order."""
        return "paid back"

    assert "paid back" in client.run(model, "Refund order A-17", tools=[refund], approve=True).collect().text
    stream = client.stream(model, "The total is 50 EUR for Ann", response_format=Invoice)
    assert list(stream.iter_partial())[-1] == {"customer": "Ann", "total": 50}
    stream = client.stream(model, "The total is 50 EUR for Ann", response_format=list[Invoice])
    assert [invoice.total for invoice in stream.iter_items()] == [50]
    with streamkit.testing.Server(text_reply("Hi")) as server:
        assert Client([providers.OpenAI(api_key="", base_url=server.url)]).complete("openai/x", "Hi").text == "Hi"
    assert Client().complete("demo/storyteller", "Hi", max_tokens=1).text == "A"


def test_from_Kepler_AI_SDK(at: At) -> None:
    """A section of the page."""
    server = at("OPENAI")
    tracker = UsageTracker()
    assert Client([providers.OpenAI(api_key="key-1234567")]).complete("openai/gpt-4o-mini", "Hi").complete
    client = Client(observers=[tracker])
    assert "OPENAI_API_KEY" in os.environ
    client.stream("openai/gpt-4o-mini", [user("Hi")]).collect()
    assert client.complete("openai/gpt-4o-mini", [user("Hi")]).complete
    stream = client.stream(
        "openai/gpt-4o-mini", [user("Hi")], temperature=0.5, max_tokens=4, stop_sequences=["END"], timeout=30, retry=3
    )
    finished = []
    for chunk in stream:
        print(chunk.text, end="")
        finished.append(chunk.finished)
    assert finished == [False] * 4 + [True]
    assert stream.completion.usage.total_tokens == 5
    completion = client.complete("openai/gpt-4o-mini", [user("Hi")], max_tokens=2)
    assert completion.finish_reason == "length"
    assert completion.cost is None or completion.cost > 0  # it needs the extra "prices"
    assert tracker.totals().streams == 4
    assert len(server.requests) == 5
    stream.cancel()

    at("OPENAI", call_reply("weather", city="Oslo"), text_reply("Cold"))
    client = Client(retry=1)
    completion = client.run("openai/gpt-4o-mini", [user("Hi")], tools=[weather]).collect()
    assert completion.text == "Cold"
    at("OPENAI", call_reply("weather", city="Oslo"))
    stream = Client().stream("openai/gpt-4o-mini", "Hi", tools=[weather])
    assert "weather" in {chunk.tool_call.name for chunk in stream if chunk.tool_call}
    completion = stream.completion
    assert [call.arguments for call in completion.tool_calls] == [{"city": "Oslo"}]

    at("OPENAI", json_reply({"data": [{"id": "gpt-4o-mini"}]}), error_reply(500))
    client = Client([providers.OpenAI()], retry=1)
    assert [model.id for model in client.models.list()] == ["gpt-4o-mini"]
    cheapest = client.models.cheapest()
    assert cheapest is None or cheapest.full_name == "openai/gpt-4o-mini"
    retryable = None
    try:
        client.complete("openai/gpt-4o-mini", "Hi")
    except StreamError as error:
        retryable = error.retryable
    assert retryable


def test_from_LLM_Connector_Hub(at: At) -> None:
    """A section of the page."""
    at("OPENAI")
    client = Client(retry=Retry(attempts=3), timeout=Timeout(first=30, idle=20))
    stream = client.stream("openai/gpt-4", [user("Hi")])
    stream.close()
    stream = client.stream("openai/gpt-4", [user("Hi")], buffer=8)
    chunks = list(stream)
    assert fold(chunks).text == stream.completion.text
    chunk = chunks[-1]
    assert (chunk.text, chunk.finish_reason) == ("", "stop")
    assert len(stream.text) > 100
    assert stream.completion.usage.output_tokens == 157
    stream = client.stream("openai/gpt-4", "Hi")
    for sentence in stream.iter_sentences():
        assert sentence
        break
    text = "Hi"
    assert [message.role for message in (system(text), user(text), assistant(text))] == ["system", "user", "assistant"]
    assert estimate_tokens(text) == 1
    chat = client.conversation("openai/gpt-4", window=Window(tokens=8000), max_tokens=2)
    assert chat.send("Hi").text == "A story,"
    assert client.complete("openai/gpt-4", [user("Hi")]).text == fold(chunks).text

    at("OPENAI", text_reply("Once upon a time").first(3).then(Cut()))
    kept = ""
    try:
        for chunk in Client().stream("openai/gpt-4", "Hi"):
            print(chunk.text, end="")
    except StreamError as error:
        kept = error.partial.text
    assert kept


def test_from_PromptKit(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    """A section of the page."""
    Path("streaming.pack.json").write_text(STREAMING, encoding="utf-8")
    monkeypatch.setenv("STREAMKIT_MODEL", "demo/storyteller")
    assert streamkit.validate_pack("streaming.pack.json") == []
    chat = streamkit.open_pack("streaming.pack.json", "storyteller")
    types = []
    for chunk in chat.stream("Hi", max_tokens=4):
        types.append(chunk.type)
    assert types == ["text"] * 4 + ["done"]
    assert chat.send("Hi", max_tokens=2).text == "A story,"
    assert (chat.usage.total_tokens, chat.cost) != (0, None)
    pack = streamkit.load_pack("streaming.pack.json")
    assert streamkit.open_pack(pack, "storyteller").prompt.name == "Storyteller"
    assert streamkit.open_pack("streaming.pack.json", "storyteller", strict=True, window=Window(tokens=8000))
    store = streamkit.MemoryStore()
    chat = streamkit.open_pack("streaming.pack.json", "storyteller", store=store, id="alice-1")
    chat.send("Hi", max_tokens=2)
    chat = streamkit.open_pack("streaming.pack.json", "storyteller", store=store, id="alice-1")
    stream = chat.stream("Hi", max_tokens=2)
    assert stream.collect().text == "A story,"
    stream.cancel()
    assert (len(chat.messages), len(chat.fork().turns)) == (4, 2)
    chat.clear()
    assert chat.messages == []
    brief = streamkit.open_pack(pack, "storyteller", max_tokens=2)
    chat = brief.fork()
    assert chat.send("Hi").text == "A story,"

    def find_order(number: str) -> str:
        return f"order {number} is shipped"

    chat = streamkit.open_pack(SHOP, "orders", model="demo/assistant", variables={"company": "Boots & Co"})
    chat.variables["name"] = "Ann"
    for decision in (
        lambda call: chat.resume({call.id: Answered("shipped")}),
        lambda call: chat.resume({call.id: Rejected("too late")}),
    ):
        chat.send("Where is order A-17?")
        assert chat.suspension is not None
        assert [call.name for call in chat.suspension.waiting] == ["find_order"]
        decision(chat.suspension.waiting[0]).collect()
    assert "too late" in str(chat.messages[-1].content)
    chat.on_tool("find_order", find_order)
    assert "A-17 is shipped" in chat.send("Where is order A-17?").text

    monkeypatch.setenv("STREAMKIT_MODEL", "demo/storyteller")
    chat = streamkit.open_pack(SHOP, "stories", variables={"company": "Boots & Co"})
    stream = chat.stream("A teapot")
    with pytest.raises(ValidationError):
        stream.collect()
    assert [found.validator for found in stream.violations] == ["banned_words"]
    at("OPENAI", text_reply("Once upon a time").first(3).then(Cut()))
    chat, kept = streamkit.open_pack(STREAMING, "storyteller", model="openai/gpt-4o-mini"), ""
    try:
        for chunk in chat.stream("Hi"):
            print(chunk.text, end="")
    except StreamError as error:
        kept = error.partial.text
    assert "tool_call" not in kept
    assert kept


@NEEDS_SQL
def test_tools_from_openai_agents_pydantic_ai_and_langchain(at: At) -> None:
    """A section of the page."""
    from streamkit import SQLStore

    at("OPENAI", call_reply("weather", city="Oslo"), text_reply("Cold"))
    client = Client()
    run = client.run("openai/gpt-4o-mini", [Message("system", "Be brief."), user("Hi")], tools=[weather])
    for chunk in run:
        print(chunk.text, end="")
    assert run.completion.text == "Cold"
    history = [user("Hi")]
    assert len(history + run.messages) == 4
    assert client.run("openai/gpt-4o-mini", "Hi", limits=RunLimits(rounds=10), tools=[]).collect().text == "Cold"
    at("OPENAI", text_reply("Cold"))
    client = Client()
    assert client.stream("openai/gpt-4o-mini", [user("Hi")]).collect().text == "Cold"

    at("OPENAI", call_reply("weather", city="Oslo"))
    with pytest.raises(RunLimitError):
        Client().run("openai/gpt-4o-mini", "Hi", tools=[weather], limits=RunLimits(rounds=2, calls=5)).collect()
    limits = RunLimits(rounds=2, calls=5, tokens=1000, cost=1.0)
    assert limits.tokens == 1000

    client, model = Client(), "demo/assistant"
    assert "3 degrees" in client.run(model, "What is the weather in Oslo?", tools=[weather]).collect().text
    assert client.run(model, "Hi", tools=[weather]).collect().text
    messages, tools = [user("What is the weather in Oslo?")], [streamkit.tool(weather)]
    assert client.run(model, [*messages], tools=tools).collect().finish_reason == "stop"
    for chunk in client.run(model, messages, tools=tools):
        assert chunk.round in (0, 1)
    run = client.run(model, "The total is 50 EUR for Ann", tools=[], response_format=Invoice)
    run.collect()
    assert run.completion.parsed == Invoice("Ann", 50)
    text = "The total is 50 EUR for Ann"
    assert client.extract(model, text, Invoice) == Invoice("Ann", 50)

    @streamkit.tool
    def owner(city: str, context: ToolContext) -> str:
        """The owner of a city."""
        return f"{city} is {context.context}'s"

    assert "Ann's" in client.run(model, "Who is the owner of Oslo?", tools=[owner], context="Ann").collect().text

    @streamkit.tool(needs_approval=True)
    def refund(order: str) -> str:
        """Refund an order."""
        return f"{order} is paid back"

    folder = "claims"
    for decide in (lambda call: Approved(), lambda call: Approved({"order": "B-2"}), lambda call: Rejected("no")):
        run = client.run(model, "Refund order A-17", tools=[refund], claims=FileClaims(folder))
        run.collect()
        suspension = run.suspension
        assert suspension is not None
        assert run.suspension is not None
        assert len(run.suspension.waiting) == 1
        assert suspension.to_json()
        (call,) = suspension.waiting
        resumed = client.resume(suspension, {call.id: decide(call)}, tools=[refund], claims=FileClaims(folder))
        assert resumed.collect().complete
    run = client.run(model, "Refund order A-17", tools=[refund])
    run.collect()
    assert run.suspension is not None
    suspension = run.suspension
    (call,) = suspension.waiting
    assert client.resume(suspension, {call.id: Approved()}, tools=[refund]).collect().text
    assert Rejected("...").reason == "..."
    open_tool = streamkit.Tool("refund", "Refund an order", {"type": "object", "properties": {}})
    chat = client.conversation(model, tools=[open_tool])
    chat.send("Refund my order")
    assert chat.suspension is not None
    result = "done elsewhere"
    assert result in chat.resume({chat.suspension.waiting[0].id: Answered(result)}).collect().text
    assert client.run(model, "Refund order A-17", tools=[refund], approve=True).collect().text

    chat = client.conversation(model, tools=[weather])
    assert chat.stream("Hi").collect().text
    chat = client.conversation(model, tools=[weather], store=SQLStore("chats.db"), id="alice-1")
    assert "3 degrees" in chat.send("What is the weather in Oslo?").text
    assert client.complete(DEMO, "Hi", validators=[BannedWords(["password"])]).complete
    made = (Message("user", "Hi"), Message("assistant", "Hi"), Message("system", "Hi"))
    assert [message.role for message in (*made, Message("tool", "Hi", tool_call_id="1"))][-1] == "tool"


# the page and the tests


def slug(title: str) -> str:
    return f"test_{re.sub(r'[^a-z0-9]+', '_', title, flags=re.IGNORECASE).strip('_')}".replace("test_From", "test_from")


def calls_of(body: str) -> list[str]:
    """Return what stands as code in the last column of the tables of a section."""
    rows = [re.split(r"(?<!\\)\|", row)[-1] for row in re.findall(r"^\| (?!---)(.*) \|$", body, re.MULTILINE)]
    return list(dict.fromkeys(span for row in rows for span in re.findall(r"`([^`]+)`", row)))


def squeezed(code: str) -> str:
    """Return code without white space, and without the commas that a formatter adds."""
    return re.sub(r",(?=[)\]}])", "", re.sub(r"\s+", "", code))


def test_each_section_has_a_test() -> None:
    """And each test is that of a section."""
    titles = {slug(title).lower() for title, _ in SECTIONS}
    assert titles == {name.lower() for name in globals() if name.startswith(("test_from_", "test_tools_from_"))}
    assert sum(len(calls_of(body)) for _, body in SECTIONS) > 150


@pytest.mark.parametrize(("title", "body"), SECTIONS, ids=[title for title, _ in SECTIONS])
def test_each_of_ours_is_made(title: str, body: str) -> None:
    """What a table shows stands in the test of its section."""
    function = next(found for name, found in globals().items() if name.lower() == slug(title).lower())
    made = squeezed(inspect.getsource(function))
    missing = []
    for call in calls_of(body):
        if call.startswith(COMMANDS):
            continue  # test_the_commands runs these
        pattern = re.escape(squeezed(call)).replace(re.escape("..."), ".{0,200}?")
        if not re.search(pattern, made):
            missing.append(call)
    assert missing == []


def test_the_commands(at: At, tmp_path: Path) -> None:
    """Each command of the tables runs."""
    pytest.importorskip("click")
    server = at("OPENAI", text_reply("Hi"))
    (tmp_path / "a.png").write_bytes(IMAGE)
    (tmp_path / "tools.py").write_text('def function(city: str) -> str:\n    """Weather."""\n    return city\n')
    (tmp_path / "shop.pack.json").write_text(SHOP, encoding="utf-8")
    (tmp_path / "invoice.json").write_text('{"type": "object", "properties": {"total": {"type": "number"}}}')
    shown = list(dict.fromkeys(call for _, body in SECTIONS for call in calls_of(body) if call.startswith(COMMANDS)))
    commands = [call for call in shown if call.startswith("streamkit") and call != "streamkit chat"]
    commands += [f'streamkit chat -m demo/assistant {call} "Hi"' for call in shown if call.startswith("-")]
    commands.insert(0, 'streamkit chat -m demo/assistant --conversation first "Hi"')  # for those that go on
    assert len(commands) >= 8
    for command in commands:
        environment = {
            **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
            "HOME": str(tmp_path),
            "OPENAI_BASE_URL": server.url,
            "OPENAI_API_KEY": "key-1234567",
        }
        result = subprocess.run(
            [sys.executable, "-m", "streamkit", *shlex.split(command)[1:]],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )
        assert result.returncode == 0, command + result.stderr
        assert result.stdout
