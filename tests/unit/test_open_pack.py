"""A prompt of a pack as a conversation, against the embedded models and over real sockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import streamkit
from streamkit import (
    Client,
    ConfigError,
    MemoryStore,
    PackError,
    Retry,
    ValidationError,
    load_pack,
    open_pack,
    providers,
)
from streamkit.testing import Request, Server, text_reply, tool_call_reply

ORDER = {"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]}
PROMPT: dict[str, Any] = {
    "id": "orders",
    "name": "Orders",
    "version": "1.0.0",
    "system_template": "You work for {{company}}. {{tone}}",
    "variables": [{"name": "company", "type": "string", "required": True}],
    "tools": ["find_order", "refund"],
    "tool_policy": {"tool_choice": "required", "max_rounds": 2, "blocklist": ["refund"]},
    "parameters": {"temperature": 0.4, "top_k": None, "presence_penalty": 0.1},
    "model_overrides": {"m": {"system_template_suffix": " Use lists.", "parameters": {"temperature": 0.2}}},
}
PACK: dict[str, Any] = {
    "id": "shop",
    "name": "Shop",
    "version": "1.0.0",
    "template_engine": {"version": "v1", "syntax": "{{variable}}"},
    "fragments": {"tone": "Be kind."},
    "tools": {
        name: {"name": name, "description": f"{name} by number", "parameters": ORDER}
        for name in ("find_order", "refund")
    },
    "prompts": {"orders": PROMPT},
}


def pack_with(**changes: Any) -> str:
    return json.dumps({**PACK, "prompts": {"orders": {**PROMPT, **changes}}})


def client_of(server: Server) -> Client:
    return Client([providers.OpenAI(api_key="k", base_url=server.url)], retry=Retry(attempts=1))


def body(request: Request) -> dict[str, Any]:
    return dict(request.json())


def test_a_prompt_is_a_conversation(tmp_path: Path) -> None:
    """Template, parameters, overrides, tools and their policy hold for each turn."""
    path = tmp_path / "shop.pack.json"
    path.write_text(pack_with())
    replies = tool_call_reply("find_order", {"number": "A1"}), text_reply("Shipped."), text_reply("Bye.")
    with Server(*replies) as server, client_of(server) as client:
        chat = open_pack(path, "orders", model="openai/m", client=client, variables={"company": "{{tone}}"})
        chat.on_tool("find_order", lambda number: f"{number}: shipped")
        assert "Shipped." == chat.send("Where is A1?").text
        chat.variables["company"] = "Fjord"
        chat.send("Thanks", tool_choice="none")
    first, second, third = map(body, server.requests)
    assert "You work for {{tone}}. Be kind. Use lists." == first["messages"][0]["content"]
    assert "You work for Fjord. Be kind. Use lists." == third["messages"][0]["content"]
    assert (0.2, 0.1) == (first["temperature"], first["presence_penalty"])
    assert "top_k" not in first
    (tool,) = first["tools"]
    assert ("find_order", ORDER) == (tool["function"]["name"], tool["function"]["parameters"])
    assert ("required", None, "none") == (first["tool_choice"], second.get("tool_choice"), third["tool_choice"])


def test_a_demanded_call_ends(tmp_path: Path) -> None:
    """``tool_choice: required`` holds for the first round, so that a turn can end; the policy bounds its rounds."""
    with Server(lambda _: tool_call_reply("find_order", {"number": "A1"})) as server, client_of(server) as client:
        tools = {"find_order": lambda number: number}
        chat = open_pack(
            pack_with(), "orders", model="openai/m", client=client, tools=tools, variables={"company": "Fjord"}
        )
        with pytest.raises(streamkit.RunLimitError, match="3 requests"):
            chat.send("Where is A1?")
        assert 3 == len(server.requests)


def test_a_tool_without_a_function_waits() -> None:
    """A call of a tool that nobody has bound suspends the turn, until its result is given."""
    with Server(tool_call_reply("find_order", {"number": "A1"}), text_reply("Ok.")) as server:
        client, store = client_of(server), MemoryStore()
        options: dict[str, Any] = {"model": "openai/m", "client": client, "store": store, "id": "x"}
        chat = open_pack(pack_with(), "orders", variables={"company": "Fjord"}, **options)
        chat.send("Where is A1?")
        again = open_pack(pack_with(), "orders", **options)
        assert (again.variables, again.status) == ({"company": "Fjord"}, "suspended")
        assert again.suspension is not None
        again.resume({again.suspension.waiting[0].id: streamkit.Answered("shipped")}).collect()
        client.close()
    assert "shipped" == body(server.requests[1])["messages"][-1]["content"]


def test_validators_of_output_and_input() -> None:
    """A pack's validators judge the reply before it shows, and the question before it is sent."""
    rule = {"type": "banned_words", "enabled": True, "fail_on_violation": True}
    rules = [
        {**rule, "params": {"words": ["secret"]}},
        {**rule, "params": {"words": ["password"], "direction": "input"}},
    ]
    text = pack_with(validators=rules, tools=[])
    with Server(text_reply("It is a secret.")) as server, client_of(server) as client:
        chat = open_pack(text, "orders", model="openai/m", client=client, variables={"company": "Fjord"})
        with pytest.raises(ValidationError, match="nothing was sent"):
            chat.send("What is the password?")
        assert not server.requests
        with pytest.raises(ValidationError) as caught:
            chat.send("What is it?")
        assert "It is a " == caught.value.partial.text == chat.messages[-1].content


def test_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """By argument, else by STREAMKIT_MODEL, else by a key, else a ConfigError; tested models only when asked for."""
    text = pack_with(tested_models=[{"provider": "openai", "model": "gpt-4o-mini", "date": "2026-01-01"}])
    variables = {"company": "Fjord"}
    with pytest.raises(ConfigError, match="STREAMKIT_MODEL"):
        open_pack(text, "orders", variables=variables)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    assert "openai/" in open_pack(text, "orders", variables=variables).model
    assert "openai/gpt-4o-mini" == open_pack(text, "orders", variables=variables, tested=True).model
    monkeypatch.setenv("STREAMKIT_MODEL", "demo/storyteller")
    chat = open_pack(load_pack(text), "orders", variables=variables)
    assert "demo/storyteller" == chat.model
    assert "lighthouse" in chat.send("Tell me about a lighthouse", tools=None).text
    assert "demo/assistant" == open_pack(text, "orders", model="demo/assistant", variables=variables).model


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    """An unknown prompt or tool, a missing variable, a damaged pack: each a clear error before anything is sent."""
    with pytest.raises(ConfigError, match="orders"):
        open_pack(pack_with(), "order", model="demo/storyteller")
    with pytest.raises(ConfigError, match="no tool 'find'; its tools are: find_order"):
        open_pack(pack_with(), "orders", model="demo/storyteller", tools={"find": print})
    with pytest.raises(ConfigError, match="company"):
        open_pack(pack_with(), "orders", model="demo/storyteller").send("Hello")
    with pytest.raises(PackError):
        open_pack("{}", "orders", model="demo/storyteller", strict=True)
    with pytest.raises(ConfigError, match="no tool 'find'"):
        open_pack(pack_with(), "orders", model="demo/storyteller").on_tool("find", print)


def test_a_tool_keeps_whether_it_needs_approval() -> None:
    """A ``Tool`` in the place of a function brings its function and its approval; the pack the schema."""

    @streamkit.tool(needs_approval=True)
    def find_order(number: str) -> str:
        """Another description."""
        return f"{number}: shipped"

    replies = tool_call_reply("find_order", {"number": "A1"}), text_reply("Shipped.")
    with Server(*replies) as server, client_of(server) as client:
        chat = open_pack(
            pack_with(),
            "orders",
            model="openai/m",
            client=client,
            variables={"company": "Fjord"},
            tools={"find_order": find_order},
        )
        chat.send("Where is A1?")
        assert chat.suspension is not None
        (call,) = chat.suspension.waiting
        assert "Shipped." == chat.resume({call.id: True}).collect().text
    assert "find_order by number" == body(server.requests[0])["tools"][0]["function"]["description"]


def test_violations_of_a_turn() -> None:
    """The stream of a turn has the rules that its text broke."""
    rule = {"type": "max_length", "enabled": True, "params": {"max_characters": 5, "message": "!"}}
    with Server(text_reply("Too long for that.")) as server, client_of(server) as client:
        chat = open_pack(
            pack_with(validators=[rule]), "orders", model="openai/m", client=client, variables={"company": "Fjord"}
        )
        stream = chat.stream("Hi")
        assert "Too l!" == "".join(chunk.text for chunk in stream)
    assert ["max_length"] == [violation.validator for violation in stream.violations]


def test_a_fork_goes_on_by_the_prompt() -> None:
    """A fork has the system prompt and the validators, and variables of its own."""
    with Server(text_reply("Yes.")) as server, client_of(server) as client:
        chat = open_pack(
            pack_with(tools=[]), "orders", model="openai/m", client=client, variables={"company": "Ann & Co"}
        )
        chat.send("Hello")
        other = chat.fork()
        other.variables["company"] = "Bob & Co"
        other.send("And now?")
        chat.send("And you?")
        prompts = [body(request)["messages"][0] for request in server.requests]
    assert ["system"] * 3 == [prompt["role"] for prompt in prompts]
    assert [True, False, True] == ["Ann & Co" in prompt["content"] for prompt in prompts]
    assert chat.prompt is other.prompt  # type: ignore[attr-defined]


def test_the_owner_is_kept_in_the_store() -> None:
    """A store lists by the owner that ``open_pack`` was given."""
    store = MemoryStore()
    with Server(text_reply("Yes.")) as server, client_of(server) as client:
        open_pack(
            pack_with(tools=[]),
            "orders",
            model="openai/m",
            client=client,
            variables={"company": "Ann & Co"},
            store=store,
            owner="ann",
        ).send("Hello")
    assert (["Hello"], []) == ([entry.title for entry in store.list(owner="ann")], list(store.list(owner="bob")))


def test_a_saved_conversation_keeps_its_prompt(tmp_path: Path) -> None:
    """What was begun by a pack is not gone on with without its prompt: neither from a file nor from a store."""
    store, path = MemoryStore(), tmp_path / "chat.json"
    variables = {"company": "Fjord"}
    chat = open_pack(
        pack_with(), "orders", model="demo/storyteller", variables=variables, tools={}, store=store, id="x"
    )
    chat.send("Tell me about a lighthouse", tools=None)
    chat.save(path)
    client = Client()
    with pytest.raises(ConfigError, match=r"is by shop#orders.*open_pack"):
        streamkit.Conversation.load(path, client=client)
    with pytest.raises(ConfigError, match=r"is by shop#orders.*open_pack"):
        client.conversation("demo/storyteller", store=store, id="x")
    again = open_pack(pack_with(), "orders", model="demo/storyteller", load=path)
    assert (chat.messages, variables) == (again.messages, again.variables)
    assert again.fork().messages == chat.messages
    with pytest.raises(ConfigError, match="load= or store="):
        open_pack(pack_with(), "orders", model="demo/storyteller", load=path, store=store)


def test_the_conversation_of_another_owner_is_refused() -> None:
    """``open_pack`` does not open a stored conversation for anybody but its owner."""
    store = MemoryStore()
    variables = {"company": "Ann & Co"}
    with Server(text_reply("Yes.")) as server, client_of(server) as client:
        given: dict[str, Any] = {
            "model": "openai/m",
            "client": client,
            "variables": variables,
            "store": store,
            "id": "a",
        }
        open_pack(pack_with(tools=[]), "orders", owner="ann", **given).send("Hello")
        with pytest.raises(ConfigError, match="another owner's"):
            open_pack(pack_with(tools=[]), "orders", owner="bob", **given)
        assert 1 == len(open_pack(pack_with(tools=[]), "orders", owner="ann", **given).turns)
