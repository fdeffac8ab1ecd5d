"""A reply that fits a schema: by the provider's own word, by a forced call, or by the prompt."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from streamkit import Client, ConfigError, Message, providers
from streamkit.providers import ChatRequest, Provider
from streamkit.providers.call import messages_of
from streamkit.providers.openai_chat.quirks import Quirks
from streamkit.providers.request.structured_output import wanted_of
from streamkit.testing import Reply, Server
from streamkit.testing.openai_replies import DONE, chunk_event
from tests.unit.calls import IN_JSON, SCHEMA, WEATHER
from tests.unit.test_golden_requests import PROVIDERS

QUERY = {"type": "json_schema", "json_schema": {"name": "get_weather", "schema": SCHEMA}}
FORCING: dict[str, Callable[[], Provider]] = {
    "forced": lambda: providers.OpenAICompatible("s", "http://s/v1", quirks=Quirks(structured_output="tool")),
    "groq": lambda: providers.OpenAICompatible("groq", api_key="k"),
    "openai": lambda: providers.OpenAI("k"),
    "openai-responses": lambda: providers.OpenAIResponses("k"),
    "anthropic": lambda: providers.Anthropic("k"),
    "bedrock": lambda: providers.Bedrock("k", region="eu-west-1"),
}
OLD = {
    "forced": "any",
    "groq": "llama-3.3-70b-versatile",
    "openai": "gpt-4-turbo",
    "openai-responses": "gpt-3.5-turbo",
    "anthropic": "claude-sonnet-4-20250514",
    "bedrock": "eu.anthropic.claude-3-5-sonnet-20240620-v1:0",
}


def body(provider: Provider, model: str = "m", form: Any = IN_JSON, messages: Any = "Where?", **params: Any) -> Any:
    call = ChatRequest(model, messages_of(messages), {"response_format": form, **params})
    return json.loads(provider.request(call).body or b"")


@pytest.mark.parametrize(
    ("model", "older"),
    [
        ("claude-3-haiku-20240307", True),
        ("claude-2.1", True),
        ("anthropic.claude-v2:1", True),
        ("claude-3-7-sonnet-latest", True),
        ("claude-opus-4-20250514", True),
        ("claude-opus-4-0", True),
        ("claude-opus-4-1-20250805", True),
        ("claude-sonnet-4@20250514", True),
        ("claude-sonnet-4", True),
        ("claude-sonnet-4-5", False),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", False),
        ("claude-opus-4-10", False),
        ("claude-sonnet-5", False),
        ("claude-fable-5", False),
        ("some-model", False),
    ],
)
def test_older_models_of_anthropic(model: str, older: bool) -> None:
    """Models before 4.5 are forced to a call, at Anthropic and on Bedrock; others are told the schema."""
    assert ("tools" in body(FORCING["anthropic"](), model)) == older
    assert ("outputConfig" not in body(FORCING["bedrock"](), model)) == older


@pytest.mark.parametrize("name", FORCING)
def test_a_call_is_forced(name: str) -> None:
    """The tool has the name of the format and its schema, and is the only one that may be called, once."""
    sent = body(FORCING[name](), OLD[name])
    assert not {"response_format", "outputConfig", "output_config", "text"} & set(sent)
    (tool,) = sent["tools"] if name != "bedrock" else sent["toolConfig"]["tools"]
    said = json.dumps([tool, sent["toolConfig"]["toolChoice"] if name == "bedrock" else sent["tool_choice"]])
    assert json.dumps(SCHEMA) in said
    assert 2 == said.count('"name": "place"')
    serial = sent["tool_choice"]["disable_parallel_tool_use"] if name == "anthropic" else True
    assert serial is (name in ("anthropic", "bedrock") or not sent["parallel_tool_calls"])


@pytest.mark.parametrize("name", FORCING)
def test_beside_tools_one_of_all_must_be_called(name: str) -> None:
    """With tools the model may call them first; the tool for the answer has a name of its own."""
    sent = body(FORCING[name](), OLD[name], QUERY, tools=[WEATHER])
    said = json.dumps(sent)
    assert '"get_weather_reply"' in said
    assert "parallel" not in said
    choice = sent["toolConfig"]["toolChoice"] if name == "bedrock" else sent["tool_choice"]
    assert choice in ("required", {"type": "any"}, {"any": {}})


def test_a_choice_of_the_users() -> None:
    """A tool that the user names is called, and the answer comes later; with 'none' only the answer may come."""
    forced = FORCING["forced"]()
    named = {"type": "function", "function": {"name": "get_weather"}}
    sent = body(forced, tools=[WEATHER], tool_choice=named)
    assert ([WEATHER], named) == (sent["tools"], sent["tool_choice"])
    sent = body(forced, tools=[WEATHER], tool_choice="none")
    assert (2, "place") == (len(sent["tools"]), sent["tool_choice"]["function"]["name"])
    cohere = body(PROVIDERS["cohere"](), tools=[WEATHER], tool_choice="none")
    assert "response_format" in cohere


def test_cohere_has_a_schema_or_tools() -> None:
    """Beside tools Cohere is forced to a call, and beside documents the prompt has the schema."""
    cohere = PROVIDERS["cohere"]()
    assert {"type": "json_object", "json_schema": SCHEMA} == body(cohere)["response_format"]
    sent = body(cohere, tools=[WEATHER])
    assert ("REQUIRED", 2) == (sent["tool_choice"], len(sent["tools"]))
    assert "JSON" in body(cohere, documents=["It is in Paris."])["messages"][0]["content"]


def test_gemini_before_3_has_a_schema_or_tools() -> None:
    """From Gemini 3 on a schema goes beside tools; before, a call is forced, or the prompt has the schema."""
    gemini = PROVIDERS["gemini"]()
    assert "responseJsonSchema" in body(gemini, "gemini-2.5-flash")["generationConfig"]
    assert "responseJsonSchema" in body(gemini, "gemini-3-pro", tools=[WEATHER])["generationConfig"]
    sent = body(gemini, "gemini-2.5-flash", tools=[WEATHER])
    assert {"functionCallingConfig": {"mode": "ANY"}} == sent["toolConfig"]
    assert "generationConfig" not in sent
    own = body(gemini, "gemini-2.5-flash", tools=[{"googleSearch": {}}])
    assert "JSON" in own["systemInstruction"]["parts"][0]["text"]


@pytest.mark.parametrize("name", ["deepseek", "zai"])
def test_the_prompt_has_the_schema(name: str) -> None:
    """Where no call can be forced either, the prompt has the schema, behind the system's own, beside any JSON."""
    provider = providers.OpenAICompatible(name, api_key="k")
    messages = [Message("system", "Be brief."), Message("user", "Where?")]
    sent = body(provider, messages=messages, tools=[WEATHER])
    assert ({"type": "json_object"}, [WEATHER]) == (sent["response_format"], sent["tools"])
    assert ["system", "system", "user"] == [message["role"] for message in sent["messages"]]
    assert json.loads(sent["messages"][1]["content"].partition("\n")[2]) == SCHEMA
    assert {"type": "json_object"} == body(provider, form={"type": "json_object"})["response_format"]


def test_ollama_cannot_call_tools_in_a_format() -> None:
    """Ollama holds a model to a format, and one that has tools is told the schema."""
    ollama = PROVIDERS["ollama"]()
    assert SCHEMA == body(ollama)["format"]
    sent = body(ollama, tools=[WEATHER])
    assert "format" not in sent
    assert "JSON" in sent["messages"][0]["content"]


def test_thinking_goes_with_no_forced_call() -> None:
    """A model that thinks, and has no word for schemas, is told the schema in the prompt."""
    thinking = {"type": "enabled", "budget_tokens": 2000}
    sent = body(FORCING["anthropic"](), OLD["anthropic"], thinking=thinking)
    assert ("tools" not in sent, "JSON" in sent["system"]) == (True, True)
    fields = {"thinking": thinking}
    sent = body(FORCING["bedrock"](), OLD["bedrock"], additional_model_request_fields=fields)
    assert ("toolConfig" not in sent, "JSON" in sent["system"][0]["text"]) == (True, True)
    assert "JSON" in body(FORCING["bedrock"](), "meta.llama3-70b")["system"][0]["text"]
    assert "toolConfig" in body(FORCING["bedrock"](), "us.amazon.nova-pro-v1:0")


def test_groq_has_a_schema_or_tools() -> None:
    """Some models know schemas, but not beside tools."""
    groq = FORCING["groq"]()
    assert IN_JSON == body(groq, "openai/gpt-oss-120b")["response_format"]
    assert "required" == body(groq, "openai/gpt-oss-120b", tools=[WEATHER])["tool_choice"]


@pytest.mark.parametrize("name", ["forced", "anthropic"])
def test_what_is_no_object_is_refused(name: str) -> None:
    """A call has an object for its arguments; another schema is an error that says what to do."""
    form = {"type": "json_schema", "json_schema": {"name": "cities", "schema": {"type": "array"}}}
    with pytest.raises(ConfigError, match="give it a property"):
        body(FORCING[name](), OLD[name], form)
    schema = {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {}}}}
    assert body(FORCING[name](), OLD[name], {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}})


def test_a_format_that_is_none_is_left_to_the_adapter() -> None:
    """Plain text, any JSON, and what is no format need no tool."""
    for form in ({"type": "text"}, {"type": "json_object"}, {"type": "json_schema"}, {"type": "grammar"}, "json"):
        assert wanted_of(ChatRequest("m", [], {"response_format": form})) is None
    assert wanted_of(ChatRequest("m", [])) is None


def test_the_reply_is_text() -> None:
    """Over a real connection the arguments of the forced call are the text, and the reply ends as one of text."""
    begin = {"id": "c", "function": {"name": "place", "arguments": '{"ci'}}
    calls = [[{"index": 0, **begin}], [{"index": 0, "function": {"arguments": 'ty": "Paris"}'}}]]
    events = [chunk_event(tool_calls=call) for call in calls]
    reply = Reply([chunk_event("I answer."), *events, chunk_event(finish_reason="tool_calls"), DONE])
    with Server(reply) as server:
        quirks = Quirks(structured_output="tool")
        with Client([providers.OpenAICompatible("s", server.url, quirks=quirks)]) as client:
            chunks = list(stream := client.stream("s/m", "Where?", response_format=IN_JSON))
    assert ["reasoning", "text", "text", "done"] == [chunk.type for chunk in chunks]
    said = stream.completion
    assert ('{"city": "Paris"}', "I answer.", (), "stop") == (
        said.text,
        said.reasoning,
        said.tool_calls,
        said.finish_reason,
    )
    assert Message("assistant", '{"city": "Paris"}') == said.message


def test_a_reply_that_breaks_off_keeps_its_text() -> None:
    """Text that was held back is not lost where the reply ends early."""
    with Server(Reply([chunk_event("Half")])) as server:
        quirks = Quirks(structured_output="tool")
        with Client([providers.OpenAICompatible("s", server.url, quirks=quirks)], retry=1) as client:
            stream = client.stream("s/m", "Where?", response_format=IN_JSON)
            with pytest.raises(Exception, match="ended before"):
                stream.collect()
    assert "Half" == stream.completion.text
