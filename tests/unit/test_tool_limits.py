"""Limits of tools: what a provider does not take is rewritten without a loss, or refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamkit import ConfigError, providers
from streamkit.providers import ChatRequest, Provider
from streamkit.providers.call import messages_of
from tests.unit.calls import WEATHER
from tests.unit.test_golden_requests import PROVIDERS

TOOLS = sorted(set(PROVIDERS) - {"openai-completions"})
OPENAI: dict[str, Provider] = {
    "openai": providers.OpenAI("k"),
    "azure": providers.AzureOpenAI("k", "https://host"),
    "openai-responses": providers.OpenAIResponses("k"),
}


def tool(schema: dict[str, Any], name: str = "f", **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": schema, **function}}


def sent(provider: Provider, *tools: Any, model: str = "m") -> Any:
    """Return the first tool as it is sent."""
    call = ChatRequest(model, messages_of("Hi"), {"tools": [*tools]})
    body = json.loads(provider.request(call).body or b"")
    first = body["toolConfig"]["tools"][0] if provider.name == "bedrock" else body["tools"][0]
    first = first["functionDeclarations"][0] if "functionDeclarations" in first else first
    return first.get("toolSpec", first.get("function", first))


def schema_of(first: Any) -> Any:
    found = next(
        first[name] for name in ("parameters", "input_schema", "inputSchema", "parametersJsonSchema") if name in first
    )
    return found.get("json", found)


PLAIN: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("openai", "a" * 64, "a" * 65),
        ("openai-responses", "1-a_B", "a.b"),
        ("anthropic", "a" * 128, "a" * 129),
        ("bedrock", "a-b", "a b"),
        ("gemini", "a.b:c-d", "1a"),
        ("gemini-interactions", "_a", "a/b"),
        ("mistral", "a" * 64, "ä"),
    ],
)
def test_names_of_tools(name: str, taken: str, refused: str) -> None:
    """A name that the provider refuses is an error that says which characters and how many there may be."""
    provider = PROVIDERS[name]()
    assert taken in json.dumps(sent(provider, tool(PLAIN, taken)))
    with pytest.raises(ConfigError, match=f"{name} takes names of tools that match .*rename '{refused}'"):
        sent(provider, tool(PLAIN, refused))


def test_other_servers_have_limits_of_their_own() -> None:
    """What only OpenAI is known to refuse goes to a server that speaks its format, as it is."""
    root = {"anyOf": [PLAIN, {"type": "object"}]}
    for server in (providers.OpenAI("k", "http://s/v1"), providers.OpenAIResponses("k", "http://s/v1")):
        assert root == schema_of(sent(server, *[tool(root, "a.b")] * 200))
    assert root == schema_of(sent(providers.Anthropic("k", "http://s"), tool(root, "a.b")))
    with pytest.raises(ConfigError, match="anyOf at the root"):
        sent(providers.Anthropic("k", "http://s"), tool(root), model="claude-sonnet-5")


@pytest.mark.parametrize("name", ["openai", "azure"])
def test_the_number_of_tools(name: str) -> None:
    """OpenAI takes 128 tools."""
    assert sent(OPENAI[name], *[WEATHER] * 128)
    with pytest.raises(ConfigError, match=f"{name} takes at most 128 tools in a call, not 129"):
        sent(OPENAI[name], *[WEATHER] * 129)


def test_names_of_parameters() -> None:
    """Anthropic, and its models on Bedrock, look at the names at the root."""
    odd = {"type": "object", "properties": {"Account Number": {"type": "string"}}}
    for provider, model in ((PROVIDERS["anthropic"](), "m"), (PROVIDERS["bedrock"](), "anthropic.claude-sonnet-5")):
        with pytest.raises(ConfigError, match=r"rename 'Account Number' of the tool f"):
            sent(provider, tool(odd), model=model)
        inside = {"type": "object", "properties": {"a": odd}}
        assert inside == schema_of(sent(provider, tool(inside), model=model))
    assert sent(PROVIDERS["bedrock"](), tool(odd), model="amazon.nova-pro-v1:0")


@pytest.mark.parametrize("name", [*OPENAI, "anthropic"])
class TestTheRoot:
    def provider(self, name: str) -> Provider:
        return OPENAI[name] if name in OPENAI else PROVIDERS[name]()

    def test_a_reference_is_replaced(self, name: str) -> None:
        """A root that refers to a definition is the definition."""
        schema = {"$ref": "#/$defs/A", "$defs": {"A": PLAIN}}
        assert {**PLAIN, "$defs": {"A": PLAIN}} == schema_of(sent(self.provider(name), tool(schema)))

    def test_a_union_that_says_what_has_to_be_given_is_told(self, name: str) -> None:
        """A union of `required` alone goes into the description, as whoever runs the tool checks it."""
        branches = [{"required": ["a"]}, {"required": ["b", "c"]}]
        properties = {name: {"type": "string"} for name in "abc"}
        schema = {"type": "object", "properties": properties}
        for keyword, many in (("anyOf", "at least one"), ("oneOf", "exactly one")):
            first = sent(self.provider(name), tool({**schema, keyword: branches}, description="Look."))
            assert schema == schema_of(first)
            assert f"Look. Of these, {many} has to be given: a; b and c." == first["description"]

    def test_schemas_that_all_hold_are_merged(self, name: str) -> None:
        """`allOf`, and a union of one, are one schema where they do not contradict each other."""
        more = {"properties": {"b": {"type": "integer"}}, "required": ["b"]}
        merged = {
            "type": "object",
            "properties": {**PLAIN["properties"], **more["properties"]},
            "required": ["b"],
        }
        for schema in ({"allOf": [PLAIN, more]}, {**PLAIN, "anyOf": [more]}):
            assert merged == schema_of(sent(self.provider(name), tool(schema)))

    @pytest.mark.parametrize(
        "schema",
        [
            {"anyOf": [PLAIN, {"type": "object"}]},
            {"oneOf": [{**PLAIN, "required": ["a"]}, {"required": ["b"]}], **PLAIN},
            {"allOf": [PLAIN, {"properties": {"a": {"type": "integer"}}}]},
            {"allOf": [{**PLAIN, "additionalProperties": False}, {"properties": {"b": {}}}]},
            {"anyOf": [True, {"required": ["a"]}], **PLAIN},
        ],
    )
    def test_what_would_lose_something_is_refused(self, name: str, schema: dict[str, Any]) -> None:
        """Any other union is an error that names tool and keyword."""
        (keyword,) = {"anyOf", "oneOf", "allOf"} & schema.keys()
        with pytest.raises(ConfigError, match=f"{name} takes no {keyword} at the root .*; change the tool f"):
            sent(self.provider(name), tool(schema))

    def test_it_is_an_object(self, name: str) -> None:
        """A list or a text is no set of parameters; the type of an object need not be said."""
        with pytest.raises(ConfigError, match="type 'object'; change the tool f"):
            sent(self.provider(name), tool({"type": "array"}))
        untyped = {"properties": PLAIN["properties"]}
        assert PLAIN == schema_of(sent(self.provider(name), tool(untyped)))


def test_strict_tools_of_anthropic() -> None:
    """Strict schemas are closed; where that would lose something, the tool is not strict."""
    count = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    held = {"type": "integer", "description": "(minimum: 1)"}
    first = sent(PROVIDERS["anthropic"](), tool(count, strict=True))
    assert ({"n": held}, False, True) == (
        schema_of(first)["properties"],
        schema_of(first)["additionalProperties"],
        first["strict"],
    )
    assert count == schema_of(sent(PROVIDERS["anthropic"](), tool(count)))
    anything = {"type": "object", "properties": {"o": {"type": "object"}}}
    first = sent(PROVIDERS["anthropic"](), tool(anything, strict=True))
    assert (anything, False) == (schema_of(first), "strict" in first)


def test_what_ollama_would_drop_is_replaced() -> None:
    """References become what they mean, constants lists of one, and `oneOf` is `anyOf`."""
    schema = {
        "type": "object",
        "properties": {"to": {"$ref": "#/$defs/To"}},
        "$defs": {"To": {"oneOf": [{"const": "home"}, {"type": "null"}]}},
    }
    plain = {"type": "object", "properties": {"to": {"anyOf": [{"enum": ["home"]}, {"type": "null"}]}}}
    assert plain == schema_of(sent(PROVIDERS["ollama"](), tool(schema)))


def test_tuples_of_mistral() -> None:
    """Mistral reads draft 7, where a list of `items` is a tuple."""
    pair = {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False}
    schema = {"type": "object", "properties": {"pair": pair}}
    rewritten = schema_of(sent(PROVIDERS["mistral"](), tool(schema)))["properties"]["pair"]
    assert {"type": "array", "items": pair["prefixItems"], "additionalItems": False} == rewritten


@pytest.mark.parametrize("name", TOOLS)
def test_what_was_passed_is_not_changed(name: str) -> None:
    """The tools of the user stay what they are."""
    given = tool({"$ref": "#/$defs/A", "$defs": {"A": {**PLAIN, "description": "x"}}}, strict=True)
    before = json.dumps(given)
    assert sent(PROVIDERS[name](), given)
    assert before == json.dumps(given)


def test_an_output_that_cannot_be_closed_is_a_forced_call() -> None:
    """Anthropic's models are held to closed schemas; for another one a call is forced, which is not held to it."""
    open_one = {
        "type": "object",
        "properties": {"scores": {"type": "object", "additionalProperties": {"type": "number"}}},
    }
    for name, model in (("anthropic", "claude-sonnet-5"), ("bedrock", "anthropic.claude-sonnet-5")):
        form = {"type": "json_schema", "json_schema": {"name": "result", "schema": open_one, "strict": True}}
        call = ChatRequest(model, messages_of("Hi"), {"response_format": form})
        body = json.loads(PROVIDERS[name]().request(call).body or b"")
        first = body["tools"][0] if name == "anthropic" else body["toolConfig"]["tools"][0]["toolSpec"]
        assert (open_one, False) == (schema_of(first), "strict" in first)
    limited = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}}
    form = {"type": "json_schema", "json_schema": {"name": "result", "schema": limited}}
    call = ChatRequest("claude-sonnet-5", messages_of("Hi"), {"response_format": form})
    body = json.loads(PROVIDERS["anthropic"]().request(call).body or b"")
    assert "(maximum: 9)" in json.dumps(body["output_config"]["format"]["schema"])
