"""Input in the OpenAI shape is read alike for all wire formats; invalid input is rejected before any I/O."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from streamkit import ConfigError, FilePart, ImagePart, Message, TextPart, ToolCall
from streamkit.providers import Agnic, AzureOpenAI, ChatRequest, OpenAI, OpenAICompatible, Provider
from streamkit.providers.call import messages_of
from tests.unit.calls import PDF, PIXEL, WEATHER
from tests.unit.test_golden_requests import PROVIDERS

HELLO = [{"role": "user", "content": "Hi"}]
CALLED = {"role": "assistant", "function_call": {"name": "f", "arguments": '{"a":1}'}}
RESULT = {"role": "function", "name": "f", "content": "18 C"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
NO_STOPS = ["openai-responses", "gemini-interactions"]
NO_TOOLS = ["openai-completions"]


def providers(*without: str) -> list[str]:
    return [name for name in PROVIDERS if name not in without]


def body_of(name: str | Provider, messages: Any = HELLO, extra_body: Any = None, **params: Any) -> dict[str, Any]:
    provider = PROVIDERS[name]() if isinstance(name, str) else name
    request = provider.request(ChatRequest("m", messages_of(messages), params, extra_body or {}))
    decoded: dict[str, Any] = json.loads(request.body)
    return decoded


@pytest.mark.parametrize("name", providers(*NO_STOPS))
class TestStops:
    @pytest.mark.parametrize("made", [set, frozenset, tuple, list, iter])
    def test_any_collection(self, name: str, made: Callable[[list[str]], Any]) -> None:
        """Stop sequences are taken from any collection of texts."""
        assert '["END"]' in json.dumps(body_of(name, stop_sequences=made(["END"])))

    @pytest.mark.parametrize("odd", [b"END", 5, [b"END"], [5], {"END": 1}, ["a", None]])
    def test_none(self, name: str, odd: Any) -> None:
        """Anything but a string or strings is rejected, not dropped."""
        with pytest.raises(ConfigError, match="stop_sequences is a text or a list of texts"):
            body_of(name, stop_sequences=odd)


@pytest.mark.parametrize("name", providers("openai", *NO_TOOLS))
class TestFunctionCall:
    def test_it_is_a_tool_call(self, name: str) -> None:
        """A call of the older shape is as one of the newer whose id is the function's name."""
        newer = [{"role": "assistant", "tool_calls": [{"id": "f", "function": CALLED["function_call"]}]}]
        newer.append({"role": "tool", "tool_call_id": "f", "name": "f", "content": "18 C"})
        assert body_of(name, [*HELLO, *newer], tools=[TOOL]) == body_of(name, [*HELLO, CALLED, RESULT], tools=[TOOL])

    def test_calls_differ(self, name: str) -> None:
        """A function that is called again has another id, and each result that of its call."""
        ids = ["f", "f", "f-2", "f-2"]
        newer: list[dict[str, Any]] = []
        for call, result in zip(ids[::2], ids[1::2], strict=True):
            newer.append({"role": "assistant", "tool_calls": [{"id": call, "function": CALLED["function_call"]}]})
            newer.append({"role": "tool", "tool_call_id": result, "name": "f", "content": "18 C"})
        assert body_of(name, [*HELLO, *newer], tools=[TOOL]) == body_of(
            name, [*HELLO, CALLED, RESULT, CALLED, RESULT], tools=[TOOL]
        )

    def test_both(self, name: str) -> None:
        """A message with calls of both shapes is refused."""
        both = {**CALLED, "tool_calls": [{"id": "c", "function": {"name": "f"}}]}
        with pytest.raises(ConfigError, match=r"messages\[0\] has both tool_calls and function_call"):
            body_of(name, [both])

    @pytest.mark.parametrize("call", [5, "f", {"name": 5}, {"arguments": "{}"}])
    def test_none(self, name: str, call: Any) -> None:
        """A call without a name is refused."""
        with pytest.raises(ConfigError, match="a call without a function name"):
            body_of(name, [{"role": "assistant", "function_call": call}])


def called(*ids: str) -> dict[str, Any]:
    return {
        "role": "assistant",
        "tool_calls": [{"id": id, "type": "function", "function": {"name": "f"}} for id in ids],
    }


@pytest.mark.parametrize("name", providers(*NO_TOOLS))
class TestResultsByName:
    @pytest.mark.parametrize("role", ["tool", "function"])
    def test_each_answers_the_first_open_call(self, name: str, role: str) -> None:
        """A result without an id is that of the first call of its tool, in the last message, that has none yet."""
        calls = [*HELLO, called("old"), called("one", "two", "three")]
        by_id = [{"role": "tool", "tool_call_id": id, "name": "f", "content": id} for id in ("two", "one", "three")]
        by_name = [by_id[0], *({"role": role, "name": "f", "content": result["content"]} for result in by_id[1:])]
        assert body_of(name, [*calls, *by_id], tools=[TOOL]) == body_of(name, [*calls, *by_name], tools=[TOOL])

    def test_without_a_call(self, name: str) -> None:
        """A result that no call waits for has the tool's name for an id."""
        results = [{"role": "tool", "name": "f", "content": "x"}, {"role": "tool", "name": "g", "content": "y"}]
        by_id = [{**result, "tool_call_id": result["name"]} for result in results]
        assert body_of(name, [*HELLO, *by_id], tools=[TOOL]) == body_of(name, [*HELLO, *results], tools=[TOOL])


@pytest.mark.parametrize("name", providers())
class TestMessages:
    @pytest.mark.parametrize(
        ("message", "words"),
        [
            ({"role": "user", "content": {"a": 1}}, r"messages\[0\].content is text or a list of parts, not dict"),
            ({"role": "user", "content": 5}, "text or a list of parts, not int"),
            ({"role": "user", "content": [5]}, r"content\[0\] is a part such as TextPart, not int"),
            ({"role": "assistant", "tool_calls": 5}, "tool_calls is a list, not int"),
            ({"role": "assistant", "tool_calls": [5]}, "a call without a function name"),
            ({"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]}, "a call without a function name"),
            (
                {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": [1]}}]},
                "arguments that are JSON text, not list",
            ),
            ({"role": "tool", "content": "x"}, "needs the call's id in tool_call_id"),
            ({"role": "assistant", "content": "x", "provider_data": 5}, "provider_data is a list, not int"),
            (Message("user", 5), "text or a list of parts, not int"),  # type: ignore[arg-type]
            (Message("assistant", tool_calls=5), "tool_calls is a list, not int"),  # type: ignore[arg-type]
        ],
    )
    def test_impossible(self, name: str, message: Any, words: str) -> None:
        """A message that no server can read is refused by every provider, with where it is."""
        with pytest.raises(ConfigError, match=words):
            PROVIDERS[name]().request(ChatRequest("m", messages_of([message])))


@pytest.mark.parametrize("name", providers(*NO_TOOLS))
class TestParts:
    def test_in_a_dict(self, name: str) -> None:
        """Parts and calls of ours may stand in a dict as they do in a `Message`."""
        call = ToolCall.of("c", "f", '{"a":1}')
        messages = [
            Message("user", [TextPart("See"), ImagePart(PIXEL)]),
            Message("assistant", tool_calls=(call,)),
            Message("tool", "18 C", tool_call_id="c"),
        ]
        dicts = [
            {"role": "user", "content": [TextPart("See"), ImagePart(PIXEL)]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "18 C", "tool_call_id": "c"},
        ]
        assert body_of(name, messages, tools=[TOOL]) == body_of(name, dicts, tools=[TOOL])

    def test_arguments(self, name: str) -> None:
        """The arguments of a call are an object or its JSON text, and none are an empty object."""

        def with_arguments(given: Any) -> dict[str, Any]:
            message = {"role": "assistant", "tool_calls": [{"id": "c", "function": given}]}
            return body_of(name, [message], tools=[TOOL])

        assert with_arguments({"name": "f", "arguments": '{"a":1}'}) == with_arguments(
            {"name": "f", "arguments": {"a": 1}}
        )
        for none in ("", " ", None, {}):
            assert with_arguments({"name": "f", "arguments": "{}"}) == with_arguments({"name": "f", "arguments": none})


@pytest.mark.parametrize("name", providers(*NO_TOOLS))
class TestTools:
    @pytest.mark.parametrize(
        ("tools", "words"),
        [
            ("x", "tools is a list of functions, Tool and dicts, not str"),
            ({"a": 1}, "not dict"),
            ([5], r"tools\[0\] is a dict in the OpenAI shape here, not int"),
            ([{"type": "function"}], r"tools\[0\] needs function.name"),
            ([{"type": "function", "function": {"name": "f", "parameters": "x"}}], "is a JSON schema, not str"),
            ([{"type": "function", "function": {"name": "f", "parameters": []}}], "is a JSON schema, not list"),
        ],
    )
    def test_impossible(self, name: str, tools: Any, words: str) -> None:
        """Tools that no server can read are refused by every provider, with which it is."""
        with pytest.raises(ConfigError, match=words):
            body_of(name, tools=tools)

    @pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
    @pytest.mark.parametrize("tools", [None, []])
    def test_demanded_without_any(self, name: str, choice: Any, tools: Any) -> None:
        """A tool that is demanded has to be there."""
        given = {} if tools is None else {"tools": tools}
        with pytest.raises(ConfigError, match="demands a tool, and the call has none: pass tools="):
            body_of(name, tool_choice=choice, **given)

    @pytest.mark.parametrize("choice", [5, ["auto"]])
    def test_no_choice(self, name: str, choice: Any) -> None:
        """A `tool_choice` that chooses nothing is rejected."""
        with pytest.raises(ConfigError, match=r"tool_choice|choice of tools"):
            body_of(name, tools=[WEATHER], tool_choice=choice)

    @pytest.mark.parametrize("form", ["json", 5, {}, {"a": 1}])
    def test_no_format(self, name: str, form: Any) -> None:
        """An invalid `response_format` is rejected."""
        with pytest.raises(ConfigError, match="response_format"):
            body_of(name, response_format=form)


@pytest.mark.parametrize("name", providers("openai", *NO_TOOLS))
@pytest.mark.parametrize("choice", ["auto", "none"])
@pytest.mark.parametrize("tools", [{}, {"tools": []}])
def test_nothing_to_choose(name: str, choice: str, tools: dict[str, Any]) -> None:
    """Without tools these choices say nothing, and are not sent in words of the provider's own."""
    assert body_of(name) == body_of(name, tool_choice=choice, **tools)


@pytest.mark.parametrize("field", ["tools", "mcp_servers", "prompt"])
def test_tools_in_the_extra_body(field: str) -> None:
    """Tools that are passed past the library, by whichever name, are there as well."""
    for name, sent in (("openai", "required"), ("openai-responses", "required"), ("anthropic", {"type": "any"})):
        assert sent == body_of(name, extra_body={field: [WEATHER]}, tool_choice="required")["tool_choice"]
    assert "required" == body_of("openai-responses", prompt={"id": "p"}, tool_choice="required")["tool_choice"]


@pytest.mark.parametrize("name", providers())
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_number(name: str, number: float) -> None:
    """A number for which JSON has no word is refused wherever it stands, where it would go out as null."""
    for extra, params in (({}, {"temperature": number}), ({"x": [None, {"y": (number,)}]}, {})):
        with pytest.raises(ConfigError, match=r"the request\.\S+ is -?(nan|inf), for which JSON has no word"):
            body_of(name, extra_body=extra, **params)
    assert body_of(name, extra_body={"x": [None, 1.5, "null"]})["x"] == [None, 1.5, "null"]


class TestChat:
    def test_a_document_by_address(self) -> None:
        """OpenAI takes the content of a document and no address; others of its format have a field for that."""
        messages = [Message("user", [FilePart("https://x.example/a.pdf", "a.pdf")])]
        for provider in (OpenAI("k"), AzureOpenAI("k", "https://host")):
            with pytest.raises(ConfigError, match=r" takes documents by content, .* FilePart.read\(path\)"):
                body_of(provider, messages)
        openrouter, vllm = OpenAICompatible("openrouter", api_key="k"), OpenAICompatible("vllm")
        for other, field in ((openrouter, "file_data"), (Agnic("k"), "file_data"), (vllm, "file_url")):
            sent = body_of(other, messages)["messages"][0]["content"][0]["file"]
            assert {field: "https://x.example/a.pdf", "filename": "a.pdf"} == sent
        by_hand = {"type": "file", "file": {"file_data": "https://x.example/a.pdf"}}
        with pytest.raises(ConfigError, match="takes documents by content"):
            body_of("openai", [{"role": "user", "content": [by_hand]}])

    @pytest.mark.parametrize("file", [{"file_data": PDF}, {"file_url": PDF}, {"file_id": "file_1"}])
    def test_any_other_document(self, file: dict[str, str]) -> None:
        """The content of a document goes in OpenAI's field for it, and its id as it is."""
        expected = {"file_data": PDF} if PDF in file.values() else file
        for provider in (OpenAI("k"), OpenAI("k", "http://host/v1")):
            sent = body_of(provider, [{"role": "user", "content": [{"type": "file", "file": file}]}])["messages"][0]
            assert [{"type": "file", "file": expected}] == sent["content"]

    def test_tools_of_other_kinds(self) -> None:
        """A call of a tool of OpenAI's own kind goes back as it came, and parts of a server's own go as they are."""
        call = {"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}
        part = {"type": "audio_url", "audio_url": {"url": "https://x.example/a.wav"}}
        messages = [{"role": "user", "content": [part]}, {"role": "assistant", "tool_calls": [call]}]
        assert messages == body_of("openai", messages, tool_choice="any", tools=[{"type": "x"}])["messages"]

    def test_the_options_of_a_stream(self) -> None:
        """Options of the stream go beside the wish for usage, and over it."""
        given = {"include_obfuscation": False}
        for name in ("openai", "openai-completions"):
            assert {"include_usage": True, **given} == body_of(name, stream_options=given)["stream_options"]
            off = {"include_usage": False}
            assert off == body_of(name, stream_options=off)["stream_options"]
            with pytest.raises(ConfigError, match="stream_options is a dict, not int"):
                body_of(name, stream_options=5)
        without = OpenAI("k", include_usage=False)
        assert given == body_of(without, stream_options=given)["stream_options"]

    def test_a_limit_by_its_newer_name(self) -> None:
        """The newer name of `max_tokens` goes by the older one to a server that has no other."""
        for name, sent in (("deepseek", "max_tokens"), ("github", "max_completion_tokens")):
            body = body_of(OpenAICompatible(name, api_key="k"), max_completion_tokens=5)
            assert {sent: 5} == {key: value for key, value in body.items() if key.startswith("max")}
        mine = OpenAI("k", "http://host/v1", max_tokens_field="max_tokens")
        assert 5 == body_of(mine, max_completion_tokens=5)["max_tokens"]

    @pytest.mark.parametrize("name", ["deepseek", "github", "groq", "vllm"])
    def test_two_limits(self, name: str) -> None:
        """Both names at once are one too many, wherever the call goes."""
        with pytest.raises(ConfigError, match="max_tokens and max_completion_tokens are the same parameter"):
            body_of(OpenAICompatible(name, api_key="k"), max_completion_tokens=5, max_tokens=6)

    def test_top_k(self) -> None:
        """OpenAI has no `top_k`; other servers of its format do."""
        for name in ("openai", "openai-completions"):
            with pytest.raises(ConfigError, match=r"has no top_k: there are temperature= and top_p="):
                body_of(name, top_k=5)
        with pytest.raises(ConfigError, match="azure has no top_k"):
            body_of(AzureOpenAI("k", "https://host"), top_k=5)
        assert 5 == body_of(OpenAICompatible("vllm"), top_k=5)["top_k"]
