"""Requests of Anthropic's clients, Claude Code among them: what becomes of each, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import FilePart, ImagePart, Message, TextPart, ToolCall, assistant, fold, providers, user
from streamkit.errors import RequestError
from streamkit.providers import ChatRequest
from streamkit.web.formats import AnthropicFormat, Limits, WebRequest
from streamkit.web.formats.requests.any_provider import without_anthropic_fields
from tests.conformance.formats import FORMATS, HELLO, decode_all, events_of
from tests.conformance.recordings import Recording, recordings
from tests.unit.test_web_requests import FEW, JSON, deep

MARK = {"type": "ephemeral"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
PIXEL = "iVBORw0KGgo="


def read(*messages: dict[str, Any], limits: Limits | None = None, **fields: Any) -> WebRequest:
    return AnthropicFormat.decode_request({"max_tokens": 9, "messages": list(messages), **fields}, limits=limits)


def said(*blocks: dict[str, Any] | str, role: str = "user") -> dict[str, Any]:
    shapes = [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks]
    return {"role": role, "content": shapes}


def result(content: Any, id: str = "c", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **fields}


def use(id: str = "c", name: str = "w", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": given}


def marked(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": MARK}


HI = {"role": "user", "content": "Hi"}


def test_a_small_request() -> None:
    """The model, the messages, and a stream only where it is asked for."""
    got = read(HI, model="m", system="Be brief.", stream=True)
    assert ("m", True, True, {"max_tokens": 9}) == (got.model, got.stream, got.include_usage, got.params)
    assert (Message("system", "Be brief."), user("Hi")) == got.messages
    assert user("Hi") == got.message
    assert read(HI).stream is False


def test_the_parameters() -> None:
    """Each under the name that a provider of Anthropic's has; what is not known stays apart."""
    got = read(
        HI,
        temperature=0.5,
        top_p=1,
        top_k=5,
        stop_sequences=["END"],
        thinking={"type": "enabled", "budget_tokens": 2000, "display": "omitted", "x": 1},
        metadata={"user_id": "u", "plan": "x"},
        service_tier="auto",
        cache_control={"type": "ephemeral", "scope": "global", "ttl": "1h"},
        output_config={"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}, "task_budget": {}},
        context_management={"edits": []},
        speed="fast",
        api_key="x",
        extra_headers={"authorization": "stolen"},
        base_url="https://elsewhere",
    )
    assert got.params == {
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 1,
        "top_k": 5,
        "stop_sequences": ["END"],
        "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"},
        "metadata": {"user_id": "u"},
        "service_tier": "auto",
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}},
    }
    assert {"context_management", "speed", "api_key", "extra_headers", "base_url"} == set(got.extra)
    nothing = ("stop_sequences", "thinking", "metadata", "service_tier", "tools", "tool_choice", "system", "stream")
    assert {"max_tokens": 9} == read(HI, **dict.fromkeys(nothing)).params
    assert {"max_tokens": 9} == read(HI, metadata={"user_id": None}, tools=[], stop_sequences=[]).params
    beta = {"type": "json_schema", "schema": SCHEMA}
    assert {"format": beta} == read(HI, output_format=beta).params["output_config"]


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "w"}, {"tool_choice": {"type": "function", "function": {"name": "w"}}}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
        ({"type": "any", "disable_parallel_tool_use": False}, {"tool_choice": "required"}),
    ],
)
def test_tools_and_their_choice(given: dict[str, Any], choice: dict[str, Any]) -> None:
    """Tools in OpenAI's shape, with their marks and what is strict; each choice in OpenAI's words."""
    tools = [
        {"name": "w", "description": "Weather", "input_schema": SCHEMA, "cache_control": MARK, "strict": True},
        {"name": "v", "type": "custom", "input_schema": {}, "eager_input_streaming": True, "input_examples": [{}]},
    ]
    got = dict(read(HI, tools=tools, tool_choice=given).params)
    function = {"name": "w", "description": "Weather", "parameters": SCHEMA, "strict": True}
    assert [
        {"type": "function", "function": function, "cache_control": MARK},
        {"type": "function", "function": {"name": "v", "parameters": {}}},
    ] == got.pop("tools")
    assert {"max_tokens": 9, **choice} == got


def test_a_choice_without_tools_says_nothing() -> None:
    """Where none is demanded."""
    assert {"max_tokens": 9} == read(HI, tool_choice={"type": "auto"}).params


def test_deferred_tools_are_there_once_they_were_found() -> None:
    """As Claude Code does it: a tool of its own searches, and its result names the tools that the model may call."""
    tools = [{"name": name, "input_schema": SCHEMA, "defer_loading": name != "find"} for name in ("find", "a", "b")]

    def names(request: WebRequest) -> list[str]:
        return [tool["function"]["name"] for tool in request.params["tools"]]

    assert ["find"] == names(read(HI, tools=tools))
    found = result([{"type": "tool_reference", "tool_name": "b"}])
    got = read(HI, said(use(name="find"), role="assistant"), said(found), tools=tools)
    assert ["find", "b"] == names(got)
    assert Message("tool", "The tool b is available now.", tool_call_id="c") == got.messages[-1]


def test_content_of_a_user() -> None:
    """Text, pictures and documents, by their content and by their address."""
    png = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
    got = read(
        said(
            "Look",
            {"type": "image", "source": png},
            {"type": "image", "source": {"type": "url", "url": "https://a/b"}},
            {
                "type": "document",
                "source": pdf,
                "title": "A.pdf",
                "context": "Read it.",
                "citations": {"enabled": True},
            },
            {"type": "document", "source": {"type": "url", "url": "http://a/c"}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "abc"}, "title": "T"},
            {"type": "document", "source": {"type": "content", "content": [{"type": "image", "source": png}]}},
            {"type": "document", "source": {"type": "content", "content": "def"}},
            {
                "type": "search_result",
                "source": "https://s",
                "title": "S",
                "content": [{"type": "text", "text": "ghi"}],
            },
        )
    )
    picture = ImagePart(f"data:image/png;base64,{PIXEL}")
    texts = [TextPart(text) for text in ("T", "abc", "def", "S\nhttps://s", "ghi")]
    assert got.message == Message(
        "user",
        [
            TextPart("Look"),
            picture,
            ImagePart("https://a/b"),
            TextPart("Read it."),
            FilePart("data:application/pdf;base64,JVBERg==", "A.pdf"),
            FilePart("http://a/c"),
            *texts[:2],
            picture,
            *texts[2:],
        ],
    )


def test_results_are_messages_of_their_own() -> None:
    """Before the rest of the user's message; a failure is said in words."""
    png = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    got = read(
        HI,
        said("I look", use("a", city="Oslo"), use("b"), use("d"), use("e"), role="assistant"),
        said(
            "And?",
            result("18 C", "a"),
            result([{"type": "text", "text": "no"}, png], "b", is_error=True),
            result([png], "d", is_error=True),
            {"type": "tool_result", "tool_use_id": "e", "is_error": True},
        ),
    )
    picture = ImagePart(f"data:image/png;base64,{PIXEL}")
    calls = [ToolCall.of("a", "w", '{"city":"Oslo"}'), *(ToolCall.of(id, "w", "{}") for id in "bde")]
    assert got.messages[1:] == (
        Message("assistant", "I look", tool_calls=tuple(calls)),
        Message("tool", "18 C", tool_call_id="a"),
        Message("tool", [TextPart("The call failed: no"), picture], tool_call_id="b"),
        Message("tool", [TextPart("The call failed: "), picture], tool_call_id="d"),
        Message("tool", "The call failed.", tool_call_id="e"),
        user("And?"),
    )
    assert read(HI, said(use(), role="assistant"), said(result(None))).message is None


def test_marks_of_the_cache_stay() -> None:
    """On the last part that a block becomes, without the fields that need a beta."""
    got = read(
        said("a", marked("b")),
        said({**marked("c"), "cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"}}, role="assistant"),
        said({**result("d"), "cache_control": MARK}),
        system=[{"type": "text", "text": "Be brief."}, marked("Know this.")],
    )
    assert [
        [TextPart("Be brief."), marked("Know this.")],
        [TextPart("a"), marked("b")],
        [{**marked("c"), "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        [marked("d")],
    ] == [list(message.content or ()) for message in got.messages]


def test_thoughts_come_back_as_they_were() -> None:
    """With their signatures, in their places; without one they are nobody's to read, and are left out."""
    thought = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    redacted = {"type": "redacted_thinking", "data": "x"}
    searched = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    unsigned = {"type": "thinking", "thinking": "hm", "signature": ""}
    blocks: list[dict[str, Any] | str] = [
        thought,
        "ab",
        {**use(), "cache_control": MARK},
        {**thought, "cache_control": MARK},
        redacted,
        unsigned,
    ]
    (got,) = read(HI, said(*blocks, "c", searched, found, role="assistant"), HI).messages[1:2]
    own: list[dict[str, Any]] = [
        thought,
        {"layout": [["text", 2], ["call", 0]]},
        thought,
        redacted,
        {"layout": [["text", 1]]},
        searched,
        found,
    ]
    assert got == Message(
        "assistant",
        "abc",
        tool_calls=(ToolCall.of("c", "w", "{}"),),
        provider_data=tuple({"anthropic": datum} for datum in own),
    )
    assert assistant("") == read(HI, said(unsigned, role="assistant"), HI).messages[1]


# A refusal is in no block, and a call that was cut off is in one of another shape.
UNFIT = ("anthropic__sdk_incomplete_partial_json_response", "anthropic__sdk_refusal_response")


@pytest.mark.parametrize(
    "recording",
    [recording for recording in recordings("anthropic-messages") if recording.name not in UNFIT],
    ids=lambda recording: recording.name,
)
def test_a_reply_goes_back_to_anthropic_as_it_came(recording: Recording) -> None:
    """What a client sends back of a message is, in a request to Anthropic, what the library itself would send."""
    completion = fold(decode_all(FORMATS["anthropic-messages"]().decoder(HELLO), events_of(recording)))
    content = json.loads(AnthropicFormat().whole(completion, "msg_1"))["content"]
    got = read(HI, {"role": "assistant", "content": content}, HI).messages[1]
    provider = providers.Anthropic(api_key="k")

    def sent(message: Message) -> Any:
        chat = ChatRequest("m", [HI, message.to_dict(), HI])
        blocks = json.loads(provider.request(chat).body)["messages"][1]["content"]
        return [{name: value for name, value in block.items() if name != "caller"} for block in blocks]

    assert sent(completion.message) == sent(got)


# -- Claude Code -----------------------------------------------------------------------------------------


def claude_code(**fields: Any) -> dict[str, Any]:
    """Return a request in the shape of Claude Code's, for a model whose name it does not know."""
    tools: list[dict[str, Any]] = [
        {"name": name, "description": "Does it.", "input_schema": {"$schema": "https://json-schema.org/x", **SCHEMA}}
        for name in ("Bash", "Edit", "Read", "ToolSearch")
    ]
    tools.append({"name": "DeferredToolPlaceholder", "description": "", "input_schema": SCHEMA, "defer_loading": True})
    return {
        "model": "fast",
        "messages": [
            said("<system-reminder>\nToday\n</system-reminder>\n", "Run it."),
            {"role": "system", "content": "# Environment"},
            said({"type": "thinking", "thinking": "hm", "signature": "c2ln"}, use("toolu_1", "Bash"), role="assistant"),
            said(result("Exit code 1", "toolu_1", is_error=True, cache_control=MARK)),
            said("I see.", role="assistant"),
            said("Go on."),
            {"role": "system", "content": [marked("A file changed.")]},
        ],
        "system": [{"type": "text", "text": "x-anthropic-billing-header: x"}, marked("You are an agent.")],
        "tools": tools,
        "metadata": {"user_id": json.dumps({"device_id": "a" * 64, "account_uuid": "", "session_id": "b" * 36})},
        "max_tokens": 32000,
        "thinking": {"type": "adaptive", "display": "omitted"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "stream": True,
        **fields,
    }


def test_claude_code_reaches_anthropic() -> None:
    """With its marks, its thinking and its effort, and nothing that needs a beta."""
    got = AnthropicFormat.decode_request(json.dumps(claude_code()))
    assert user("Go on.") == got.message
    chat = ChatRequest(got.model, [message.to_dict() for message in got.messages], got.params)
    body = json.loads(providers.Anthropic(api_key="k").request(chat).body)
    assert ["Bash", "Edit", "Read", "ToolSearch"] == [tool["name"] for tool in body["tools"]]
    assert ({"type": "adaptive", "display": "omitted"}, {"effort": "high"}) == (body["thinking"], body["output_config"])
    assert "user_id" in body["metadata"]
    assert "context_management" not in body
    assert [None, MARK, None, MARK] == [block.get("cache_control") for block in body["system"]]
    asked, ran, told = body["messages"][:3]
    assert ["text", "text"] == [block["type"] for block in asked["content"]]
    assert ["thinking", "tool_use"] == [block["type"] for block in ran["content"]]
    failed = {"type": "text", "text": "The call failed: Exit code 1"}
    assert [{**result([failed], "toolu_1"), "cache_control": MARK}] == told["content"]


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "openai-completions"])
def test_claude_code_reaches_every_provider(name: str) -> None:
    """Without what is Anthropic's; each provider can write the request."""
    got = without_anthropic_fields(AnthropicFormat.decode_request(claude_code()))
    assert {"max_tokens", "tools"} == set(got.params)
    chat = ChatRequest("m", [message.to_dict() for message in got.messages], got.params)
    body = FORMATS[name]().request(chat).body
    assert body is not None
    text = body.decode()
    assert "cache_control" not in text
    assert "Exit code 1" in text


def test_a_request_for_any_provider() -> None:
    """Texts are joined, instructions stand at the beginning, later ones are the user's, and a schema is a format."""
    got = without_anthropic_fields(AnthropicFormat.decode_request(claude_code()))
    call = ToolCall.of("toolu_1", "Bash", "{}")
    reminder = "<system-reminder>\n{}\n</system-reminder>".format
    assert [
        Message("system", "x-anthropic-billing-header: x\n\nYou are an agent."),
        user(f"{reminder('Today')}\n\n\nRun it.\n\n{reminder('# Environment')}"),
        Message("assistant", None, tool_calls=(call,), provider_data=got.messages[2].provider_data),
        Message("tool", "The call failed: Exit code 1", tool_call_id="toolu_1"),
        assistant("I see."),
        user(f"Go on.\n\n{reminder('A file changed.')}"),
    ] == list(got.messages)
    assert got.messages[-1] == got.message
    form = {"type": "json_schema", "schema": SCHEMA}
    asked = read(HI, system="A", output_config={"format": form}, top_k=1, temperature=0)
    assert without_anthropic_fields(asked).params == {
        "max_tokens": 9,
        "temperature": 0,
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": SCHEMA}},
    }


def test_instructions_behind_a_reply_are_a_message() -> None:
    """And several before the first message are one."""
    later = {"role": "system", "content": "B"}
    got = without_anthropic_fields(read(later, HI, said("Hey", role="assistant"), later, later, system="A"))
    reminder = "<system-reminder>\nB\n</system-reminder>"
    assert (
        Message("system", "A\n\nB"),
        user("Hi"),
        assistant("Hey"),
        user(f"{reminder}\n\n{reminder}"),
    ) == got.messages


def test_marks_may_be_kept() -> None:
    """For a provider that has them, though it is not Anthropic."""
    got = without_anthropic_fields(AnthropicFormat.decode_request(claude_code()), marks=True)
    chat = ChatRequest("m", [message.to_dict() for message in got.messages], got.params)
    body = providers.Bedrock(api_key="k", region="us-east-1").request(chat).body
    assert body is not None
    assert 3 == str(body).count("cachePoint")


# -- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"messages": None}, 400, "messages is no list"),
        ({"messages": []}, 400, "messages is empty"),
        ({"messages": [HI] * 4}, 413, "messages has more than 3"),
        ({"messages": ["Hi"]}, 400, r"messages\[0\] is no object"),
        ({"messages": [{"role": "king", "content": "Hi"}]}, 400, r"messages\[0\].role is neither"),
        ({"messages": [{"role": "user"}]}, 400, r"messages\[0\].content is no list"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, r"messages\[0\].content is no list"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, r"messages\[0\].content is empty"),
        ({"messages": [said()]}, 400, r"messages\[0\].content is empty"),
        ({"messages": [{"role": "user", "content": "a" * 51}]}, 413, r"messages\[0\].content has more than 50"),
        ({"messages": [said(*"abcde")]}, 413, "more than 4"),
        ({"messages": [said({"text": "a"})]}, 400, r"messages\[0\].content\[0\].type is missing"),
        ({"messages": [said({"type": "text"})]}, 400, r"content\[0\].text is missing"),
        ({"messages": [said({"type": "poem"})]}, 400, r"content\[0\].type is not taken here"),
        ({"messages": [said(use())]}, 400, r"content\[0\].type is not taken here"),
        ({"messages": [said({"type": "container_upload", "file_id": "f"})]}, 400, "type is not taken here"),
        ({"messages": [said(result("x"), role="assistant")]}, 400, "type is not taken here"),
        ({"messages": [said({"type": "container_upload"}, role="assistant")]}, 400, "type is not taken here"),
        ({"messages": [said({"type": "image", "source": {}}, role="assistant")]}, 400, "type is not taken here"),
        ({"messages": [{"role": "system", "content": "a"}]}, 400, "no message to reply to"),
        ({"messages": [{"role": "system", "content": [{"type": "image"}]}, HI]}, 400, "type is not taken here"),
        ({"messages": [said({"type": "tool_result", "content": "x"})]}, 400, "tool_use_id is missing"),
        ({"messages": [said({**use(), "input": "x"}, role="assistant")]}, 400, "input is no object"),
        ({"messages": [said({**use(), "name": ""}, role="assistant")]}, 400, "name is empty"),
        ({"messages": [said({"type": "thinking", "signature": "s"}, role="assistant")]}, 400, "thinking is missing"),
        ({"messages": [said({"type": "redacted_thinking"}, role="assistant")]}, 400, "data is missing"),
        ({"messages": [said({"type": "server_tool_use", "id": []}, role="assistant")]}, 400, "id is no text"),
        ({"messages": [said({"type": "image", "source": {"type": "file", "file_id": "f"}})]}, 400, "uploaded to Anth"),
        ({"messages": [said({"type": "document", "source": {"type": "file"}})]}, 400, "uploaded to Anthropic"),
        ({"messages": [said({"type": "image", "source": {"type": "s3"}})]}, 400, "source.type is not taken"),
        ({"messages": [said({"type": "image", "source": {"type": "url", "url": "file:///x"}})]}, 400, "no address"),
        ({"messages": [said({"type": "image", "source": {"type": "url", "url": "gs://a/b"}})]}, 400, "no address"),
        (
            {
                "messages": [
                    said({"type": "image", "source": {"type": "base64", "media_type": "text/html", "data": ""}})
                ]
            },
            400,
            "no type of an image",
        ),
        (
            {
                "messages": [
                    said({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "%"}})
                ]
            },
            400,
            "no base64",
        ),
        (
            {"messages": [said({"type": "document", "source": {"type": "base64", "media_type": "text/html"}})]},
            400,
            "not application/pdf",
        ),
        (
            {"messages": [said(*[{"type": "image", "source": {"type": "url", "url": "https://a"}}] * 3)]},
            413,
            "more than 2 files",
        ),
        (
            {"messages": [said({"type": "image", "source": {"type": "url", "url": "https://" + "a" * 60}})]},
            413,
            "more than 60",
        ),
        ({"messages": [said({**marked("a"), "cache_control": 5})]}, 400, "cache_control is no object"),
        ({"system": 5}, 400, "system is no list"),
        ({"system": [{"type": "image"}]}, 400, r"system\[0\].type is not taken here"),
        ({"system": "a" * 51}, 413, "system has more than 50"),
        ({"max_tokens": None}, 400, "max_tokens is missing"),
        ({"max_tokens": "5"}, 400, "max_tokens is no whole number of 1 or more"),
        ({"max_tokens": True}, 400, "max_tokens is no whole number"),
        ({"max_tokens": -1}, 400, "max_tokens is no whole number"),
        ({"max_tokens": 10**12}, 400, "max_tokens is no whole number"),
        ({"model": 5}, 400, "model is no text"),
        ({"stream": "yes"}, 400, "stream is neither"),
        ({"temperature": "hot"}, 400, "temperature is no number from 0 to 1"),
        ({"temperature": 1.5}, 400, "temperature is no number"),
        ({"temperature": float("nan")}, 400, "temperature is no number"),
        ({"top_p": True}, 400, "top_p is no number"),
        ({"top_k": -1}, 400, "top_k is no whole number of 0 or more"),
        ({"stop_sequences": "END"}, 400, "stop_sequences is no list"),
        ({"stop_sequences": [""]}, 400, "stop_sequences is no list of texts"),
        ({"stop_sequences": ["x"] * 65}, 413, "stop_sequences has more than 64"),
        ({"thinking": {"type": "hard"}}, 400, "thinking.type is none of enabled"),
        ({"thinking": {"type": ["enabled"]}}, 400, "thinking.type is none of enabled"),
        ({"thinking": {"type": "enabled"}}, 400, "thinking.budget_tokens is no whole number"),
        ({"metadata": "u"}, 400, "metadata is no object"),
        ({"metadata": {"user_id": 5}}, 400, "metadata.user_id is no text"),
        ({"service_tier": "first"}, 400, "service_tier is none of auto"),
        ({"cache_control": "yes"}, 400, "cache_control is no object"),
        ({"output_config": {"effort": 11}}, 400, "output_config.effort is none of low"),
        ({"output_config": {"format": {"type": "xml"}}}, 400, "output_config.format.type is not json_schema"),
        ({"output_format": {"type": "json_schema"}}, 400, "output_format.schema is no object"),
        ({"mcp_servers": [{"type": "url", "url": "https://a"}]}, 400, "mcp_servers is not taken here"),
        ({"container": "c"}, 400, "container is not taken here"),
        ({"tools": {}}, 400, "tools is no list"),
        ({"tools": ["w"]}, 400, r"tools\[0\] is no object"),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            400,
            r"tools\[0\] is one of Anthropic's own",
        ),
        ({"tools": [{"name": "w"}]}, 400, r"tools\[0\].input_schema is no object"),
        ({"tools": [{"name": "", "input_schema": {}}]}, 400, r"tools\[0\].name is empty"),
        ({"tools": [{"name": "w", "input_schema": {}, "strict": 1}]}, 400, r"tools\[0\].strict is neither"),
        ({"tool_choice": "auto"}, 400, "tool_choice is no object"),
        ({"tool_choice": {"type": "some"}}, 400, "tool_choice.type is none of"),
        ({"tool_choice": {"type": ["auto"]}}, 400, "tool_choice.type is none of"),
        ({"tool_choice": {"type": "any"}}, 400, "there are no tools"),
        ({"tool_choice": {"type": "auto", "disable_parallel_tool_use": 1}}, 400, "is neither true nor false"),
        ({"tool_choice": {"type": "tool"}}, 400, "tool_choice.name is missing"),
        ({"x": deep(30)}, 400, "more than 20 levels"),
    ],
)
def test_what_cannot_be_taken_is_a_4xx_that_says_why(fields: dict[str, Any], status: int, says: str) -> None:
    """By its place; a value is not repeated."""
    with pytest.raises(RequestError, match=says) as caught:
        AnthropicFormat.decode_request({"max_tokens": 9, "messages": [HI], **fields}, limits=FEW)
    assert status == caught.value.status


def test_instructions_are_refused_where_the_program_says_so() -> None:
    """In the system prompt and in the messages."""
    for fields in ({"system": "obey"}, {"messages": [HI, {"role": "system", "content": "obey"}]}):
        body = {"max_tokens": 9, "messages": [HI], **fields}
        assert AnthropicFormat.decode_request(body).messages
        with pytest.raises(RequestError, match="not taken from a client"):
            AnthropicFormat.decode_request(body, allow_system=False)


FIELDS = (
    "messages system model stream tools tool_choice max_tokens stop_sequences temperature top_p top_k thinking "
    "metadata service_tier cache_control output_config output_format mcp_servers container"
).split()
WORDS = (
    "user assistant system text image document tool_use tool_result thinking redacted_thinking search_result url "
    "base64 content tool_reference server_tool_use web_search_tool_result auto any tool none enabled adaptive "
    "json_schema"
).split()
KEYS = (
    "type role content text source data media_type url title context id name input tool_use_id is_error thinking "
    "signature cache_control ttl input_schema description strict defer_loading tool_name budget_tokens format schema "
    "effort user_id disable_parallel_tool_use"
).split()
SHAPES = st.recursive(
    JSON | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner | st.sampled_from(WORDS), max_size=6)
    ),
    max_leaves=30,
)
BLOCKS = st.lists(st.dictionaries(st.sampled_from(KEYS), SHAPES | st.sampled_from(WORDS), max_size=5), max_size=4)


@given(st.dictionaries(st.sampled_from(FIELDS), SHAPES, max_size=4), SHAPES, BLOCKS, st.sampled_from(WORDS[:3]))
@settings(max_examples=100, deadline=None)
def test_any_json_is_read_or_refused(fields: Any, value: Any, blocks: Any, role: str) -> None:
    """No body makes another error than a `RequestError` with a 4xx, and what is read any provider could be given."""
    whole = {"max_tokens": 9, "messages": [HI, {"role": role, "content": blocks}, HI]}
    typed = [{"type": kind, **block} for kind, block in zip(WORDS[3:], blocks, strict=False)]
    statuses = []
    for body in (
        value,
        {**whole, **fields},
        whole,
        {**whole, "messages": value},
        {**whole, "messages": [HI, {"role": role, "content": typed}]},
        {**whole, "system": value, "tools": blocks, "thinking": value},
        {**whole, "tools": [{"name": "w", "input_schema": {}, **block} for block in blocks], "tool_choice": value},
    ):
        try:
            got = AnthropicFormat.decode_request(body if isinstance(body, dict) else json.dumps(body))
            assert without_anthropic_fields(got).messages
            statuses.append(200)
        except RequestError as error:
            statuses.append(error.status)
    assert {200, 400, 413} >= set(statuses)
