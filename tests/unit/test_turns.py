"""Messages in the OpenAI shape are read alike for every provider."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from streamkit import ConfigError, Message, ToolCall
from streamkit.providers import ChatRequest, Provider
from streamkit.providers.call import messages_of
from streamkit.providers.request.parameters import Parameters
from streamkit.providers.request.parts import Media, Text
from streamkit.providers.request.turns import JsonFormat, ToolSpec, Turn, format_of, tools_of, turns
from streamkit.providers.request.unsupported import all_strict, refuse_empty, tools_for, turns_for, without_blanks
from tests.unit.calls import WEATHER
from tests.unit.test_golden_requests import PROVIDERS

NATIVE = ["anthropic", "bedrock", "cohere", "gemini", "gemini-interactions", "mistral", "ollama", "openai-responses"]


@pytest.fixture(params=NATIVE)
def provider(request: pytest.FixtureRequest) -> Provider:
    return PROVIDERS[request.param]()


def ask(provider: Provider, *messages: dict[str, Any], **params: Any) -> bytes | None:
    return provider.request(ChatRequest("m", messages_of(messages), params)).body


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": "Look"}, *parts]}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:;base64,AA"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}},
        {"type": "image_url", "image_url": {"url": 5}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": 5}},
        {"type": "file", "file": {"file_id": 5}},
        {"type": "input_audio", "input_audio": {"data": "AA"}},
        {"type": "text", "text": 5},
        {"type": "text", "text": "x", "cache_control": 5},
    ],
)
def test_a_part_that_makes_no_sense_is_refused(provider: Provider, part: dict[str, Any]) -> None:
    """A part without media type or content, or with a number where text belongs, is an error that says where."""
    with pytest.raises(ConfigError, match=r"messages\[0\].content\[1\]"):
        ask(provider, user(part))


BARE = base64.b64encode(b"%PDF-1.4 a secret").decode()


def test_content_of_a_document_without_its_media_type(provider: Provider) -> None:
    """Bare base64 is content, and no address; the name of the file tells of which type."""
    if provider.name != "ollama":  # which takes no documents
        urls = (BARE, f"data:application/pdf;base64,{BARE}")
        bare, whole = ({"type": "file", "file": {"file_data": url, "filename": "a.PDF"}} for url in urls)
        if provider.name == "cohere":
            with pytest.raises(ConfigError, match="no file"):
                ask(provider, user(bare))
        else:
            assert ask(provider, user(whole)) == ask(provider, user(bare))
    address = {"type": "file", "file": {"file_data": "https://x.example/a.pdf"}}
    assert Media("file", url="https://x.example/a.pdf") == turns([user(address)])[0].parts[1]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (BARE, None),
        (BARE, "a"),
        (BARE, "a.unheard-of"),
        (BARE, "http://[.pdf/"),
        ("secret.pdf", "secret.pdf"),
        ("not a secret!", "a.pdf"),
    ],
)
def test_content_of_a_document_that_tells_no_type(provider: Provider, data: str, name: str | None) -> None:
    """Bare text that has no name with a known ending, or is no base64, is refused and not shown."""
    part = {"type": "file", "file": {"file_data": data, "filename": name}}
    with pytest.raises(ConfigError, match=r"messages\[0\]\.content\[1\]\.file.*data:TYPE/SUBTYPE") as caught:
        ask(provider, user(part))
    assert data not in str(caught.value)


def nested(depth: int) -> list[Any]:
    lists: list[Any] = []
    for _ in range(depth):
        lists = [lists]
    return lists


def test_a_refusal_is_read_as_text(provider: Provider) -> None:
    """An assistant's refusal is part of the conversation, also if it is separate from the content."""
    hello, thanks = {"role": "user", "content": "Hi"}, {"role": "user", "content": "Thanks"}
    for content in (None, "", []):
        refused = {"role": "assistant", "content": content, "refusal": "I cannot."}
        expected = ask(provider, hello, {"role": "assistant", "content": "I cannot."}, thanks)
        assert expected == ask(provider, hello, refused, thanks)
    both = {"role": "assistant", "content": "I look.", "refusal": "I cannot."}
    assert (Text("I look."), Text("I cannot.")) == turns([both])[0].parts
    with pytest.raises(ConfigError, match=r"messages\[1\].refusal is text, not int"):
        ask(provider, hello, {"role": "assistant", "refusal": 5})


def asked(**call: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": [call]}]


@pytest.mark.parametrize("arguments", [5, ["Paris"], True])
def test_arguments_that_are_no_text_are_refused(provider: Provider, arguments: Any) -> None:
    """The arguments of a call are JSON text or an object; a number is an error, not a call without arguments."""
    with pytest.raises(ConfigError, match=r"messages\[1\].*arguments"):
        ask(provider, *asked(id="c", function={"name": "get_weather", "arguments": arguments}))


@pytest.mark.parametrize("arguments", [{"cities": {"Paris"}}, {"when": object()}, {"deep": nested(100_000)}])
def test_arguments_that_are_no_json_are_refused(provider: Provider, arguments: Any) -> None:
    """Arguments that cannot be encoded as JSON are a `ConfigError` that names the call."""
    with pytest.raises(ConfigError, match="arguments of get_weather cannot be written as JSON"):
        ask(provider, *asked(id="c", function={"name": "get_weather", "arguments": arguments}))


@pytest.mark.parametrize("arguments", ['{"city": "Pa', '["x"]', "5", '"{}"', "{'a': 1}", '{"a": NaN}', "null", " "])
@pytest.mark.parametrize("name", [*NATIVE, "openai"])
def test_arguments_that_are_no_object_are_sent_as_an_empty_one(name: str, arguments: str) -> None:
    """What is no JSON object, which many servers refuse, is `{}` on the copy that is sent; an object is unchanged."""
    calls = asked(id="c", function={"name": "get_weather", "arguments": arguments})
    empty = asked(id="c", function={"name": "get_weather", "arguments": "{}"})
    assert ask(PROVIDERS[name](), *calls, tools=[WEATHER]) == ask(PROVIDERS[name](), *empty, tools=[WEATHER])
    assert arguments == calls[1]["tool_calls"][0]["function"]["arguments"]
    whole = asked(id="c", function={"name": "get_weather", "arguments": '{"n": 123456789012345678901234567890}'})
    assert b"123456789012345678901234567890" in (ask(PROVIDERS[name](), *whole, tools=[WEATHER]) or b"")


@pytest.mark.parametrize("name", ["anthropic", "openai"])
def test_arguments_too_long_to_look_at_are_not_replaced(name: str) -> None:
    """Arguments of more values than are decoded go as they are, or are an error where they must be an object."""
    many = asked(id="c", function={"name": "get_weather", "arguments": f'{{"n": [{"0," * 100_000}0]}}'})
    if name == "openai":
        assert b"0,0,0" in (ask(PROVIDERS[name](), *many) or b"")
        return
    with pytest.raises(ConfigError, match="get_weather are too long"):
        ask(PROVIDERS[name](), *many)


def test_the_free_text_of_a_custom_tool_is_not_touched() -> None:
    """The input of a custom tool is no JSON and stays as it is."""
    call = {"id": "c", "type": "custom", "custom": {"name": "shell", "input": "ls -l"}}
    assert b"ls -l" in (ask(PROVIDERS["openai"](), *asked(**call)) or b"")
    made = Message(
        "assistant", None, (ToolCall.of("c", "shell", "ls"),), provider_data=({"openai-responses": {"custom": 0}},)
    )
    said = [*messages_of("Hi"), made.to_dict()]
    body = json.loads(PROVIDERS["openai-responses"]().request(ChatRequest("m", said)).body or b"")
    assert "ls" == body["input"][1]["input"]


def test_the_older_shape_of_a_call_is_bridged_as_well() -> None:
    """`function_call` goes to chat completions in its own shape, with arguments that are an object."""
    said = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a'}}
    body = json.loads(ask(PROVIDERS["openai"](), {"role": "user", "content": "Hi"}, said) or b"")
    assert {"name": "f", "arguments": "{}"} == body["messages"][1]["function_call"]


@pytest.mark.parametrize("name", sorted({*NATIVE} - {"gemini", "ollama"}))
def test_a_call_without_an_id_is_refused_where_one_is_needed(name: str) -> None:
    """Results find their call by its id; an empty one is an error that names the call."""
    with pytest.raises(ConfigError, match="get_weather has none"):
        ask(PROVIDERS[name](), *asked(function={"name": "get_weather", "arguments": "{}"}))


def test_marks_of_a_tool_that_make_no_sense_are_refused(provider: Provider) -> None:
    """`strict` is true or false and `cache_control` a dict, whoever reads them."""
    for marks in ({"function": {"name": "f", "strict": 5}}, {"function": {"name": "f"}, "cache_control": 5}):
        with pytest.raises(ConfigError, match=r"tools\[0\]"):
            ask(provider, {"role": "user", "content": "Hi"}, tools=[{"type": "function", **marks}])


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize("shape", [{"json_schema": SCHEMA}, {"schema": SCHEMA}, {"json_schema": {"schema": SCHEMA}}])
def test_a_schema_of_any_json(shape: dict[str, Any]) -> None:
    """A schema beside `json_object`, as some providers have it, is the schema and is not dropped."""
    assert JsonFormat(SCHEMA) == format_of({"type": "json_object", **shape})
    assert JsonFormat() == format_of({"type": "json_object", **dict.fromkeys(shape)})
    for name in shape:
        with pytest.raises(ConfigError, match="response_format is "):
            format_of({"type": "json_object", name: 5})


def test_parameters_that_say_the_same_are_refused_together() -> None:
    """`take_one_of` returns the one where the other, or the field of the other, was not given."""
    call = ChatRequest("m", (), {"seed": 1, "user": "Ann", "generation_config": {"seed": 2, "top_p": None}})
    with pytest.raises(ConfigError, match=r"seed and generation_config\.seed say the same thing"):
        Parameters("p", call).take_one_of("seed", "generation_config.seed")
    with pytest.raises(ConfigError, match="seed and user say the same thing"):
        Parameters("p", call).take_one_of("seed", "user")
    assert (1, None) == tuple(
        Parameters("p", call).take_one_of(*names)
        for names in (("seed", "thinking"), ("top_p", "generation_config.top_p"))
    )


def test_an_object_and_what_belongs_into_it() -> None:
    """`take_object` puts parameters into an object that is one itself, and refuses what stands in both."""
    call = ChatRequest("m", (), {"options": {"num_ctx": 9}, "seed": 1, "max_tokens": 2})
    parameters = Parameters("p", call)
    assert {"num_ctx": 9, "seed": 1, "num_predict": 2} == parameters.take_object(
        "options", "seed", "top_p", num_predict="max_tokens"
    )
    parameters.finish()
    call = ChatRequest("m", (), {"options": {"num_predict": 9, "stop": ["x"]}, "max_tokens": 2, "stop_sequences": "x"})
    with pytest.raises(ConfigError, match=r"max_tokens and options\.num_predict say the same thing"):
        Parameters("p", call).take_object("options", num_predict="max_tokens")
    with pytest.raises(ConfigError, match=r"stop_sequences and options\.stop say the same thing"):
        Parameters("p", call).take_stop("options.stop")


def user_turns(*texts: str) -> list[Turn]:
    return turns([{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}])


def test_blank_text_is_left_out() -> None:
    """`without_blanks` leaves white space out, an assistant's turn of nothing else as well, and refuses a user's."""
    reply = turns([{"role": "assistant", "content": "\n"}])
    called = turns([{"role": "assistant", "content": " ", "tool_calls": [ToolCall.of("c", "f", "")]}])
    (question, call) = without_blanks("p", [*user_turns("Hi", " \n"), *reply, *called], "anthropic")
    assert (((Text("Hi"),)), ()) == (question.parts, call.parts)
    with pytest.raises(ConfigError, match="no user message that is empty"):
        without_blanks("p", user_turns(" "), "anthropic")
    held = turns([{"role": "assistant", "content": ["\n", "Hi"], "provider_data": [{"anthropic": {"layout": []}}]}])
    assert (held, 1) == (without_blanks("p", held, "anthropic"), len(without_blanks("p", held, "bedrock")[0].parts))


def test_a_conversation_of_nothing_is_refused() -> None:
    """`refuse_empty` wants something to reply to, unless the user has put it into `extra_body`."""
    for nothing in (
        turns([{"role": "user", "content": ""}]),
        user_turns(""),
        turns([{"role": "system", "content": "Hi"}]),
    ):
        with pytest.raises(ConfigError, match="needs a message to reply to"):
            refuse_empty("p", nothing, ChatRequest("m", ()), "contents")
    refuse_empty("p", [], ChatRequest("m", (), extra_body={"contents": []}), "contents")
    refuse_empty("p", user_turns("Hi"), ChatRequest("m", ()), "contents")


@pytest.mark.parametrize("name", sorted({*NATIVE} - {"mistral", "ollama"}))
def test_an_empty_user_message_is_refused(name: str) -> None:
    """A question of nothing is not left out in silence, which would leave the assistant's reply as the last word."""
    hello, reply = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi"}
    for content in ("", [], [{"type": "text", "text": ""}], None):
        empty = {"role": "user", "content": content}
        for messages in ([hello, reply, empty], [empty, reply, hello]):
            with pytest.raises(ConfigError, match=f"{name} takes no user message that is empty"):
                ask(PROVIDERS[name](), *messages)


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ({"role": "user", "content": "Hi", "name": "Ann"}, "name"),
        ({"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {}}]}, "cache_control"),
        (user({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}}), "detail"),
    ],
)
def test_marks_of_messages_without_a_word_are_refused(message: dict[str, Any], word: Any) -> None:
    """An unsupported field is an error; a supported one is read."""
    call = ChatRequest("m", [message])
    with pytest.raises(ConfigError, match=f"p has no {word}"):
        turns_for("p", call)
    assert turns([message]) == turns_for("p", call, word)


MARK = {"type": "ephemeral"}


def test_a_mark_of_a_whole_message_is_that_of_its_last_part(provider: Provider) -> None:
    """`cache_control` beside the content is sent, or refused, as at the end of the content."""
    for role in ("system", "user", "tool"):
        for content in ("Look", [{"type": "text", "text": "Look"}, {"type": "text", "text": "here"}]):
            message = {"role": role, "content": content, "cache_control": MARK, "tool_call_id": "c"}
            (turn,) = turns([message])
            assert [None] * (len(turn.parts) - 1) + [MARK] == [part.cache_control for part in turn.parts]
            if provider.name not in ("anthropic", "bedrock"):
                with pytest.raises(ConfigError, match="has no cache_control"):
                    ask(provider, message)
    own = {"type": "text", "text": "Look", "cache_control": {**MARK, "ttl": "1h"}}
    assert turns([{"role": "user", "content": [own]}]) == turns(
        [{"role": "user", "content": [own], "cache_control": MARK}]
    )


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"role": "user", "content": "Hi", "cache_control": 5}, "cache_control is a dict, not int"),
        ({"role": "user", "content": "", "cache_control": MARK}, "cache_control marks content, and there is none"),
        (
            {"role": "assistant", "content": None, "cache_control": MARK},
            "cache_control marks content, and there is none",
        ),
    ],
)
def test_a_mark_of_a_message_that_makes_no_sense(provider: Provider, message: dict[str, Any], words: str) -> None:
    """A mark that is none, or that there is no place for, is an error that says where."""
    with pytest.raises(ConfigError, match=rf"messages\[0\]\.{words}"):
        ask(provider, message)


def test_marks_of_tools_without_a_word_are_refused() -> None:
    """An unsupported mark is an error; a supported one is read."""
    tools = [{"type": "function", "function": {"name": "f", "cache_control": {"type": "ephemeral"}}}]
    with pytest.raises(ConfigError, match=r"cache_control\b.*tool f"):
        tools_for("p", tools)
    assert tools_of(tools) == tools_for("p", tools, "cache_control")


@pytest.mark.parametrize("strict", [True, False])
def test_strictness_without_a_word_is_left_out(strict: bool) -> None:
    """Arguments are checked by whoever runs the tool, so nothing is lost where a provider has no `strict`."""
    tools = [{"type": "function", "function": {"name": "f", "strict": strict}}]
    assert [ToolSpec("f")] == tools_for("p", tools)
    assert [ToolSpec("f", strict=strict)] == tools_for("p", tools, "strict")


def test_strictness_of_all_tools_or_none() -> None:
    """For formats with one `strict` for all tools, a mixture is not strict."""
    assert (False, True) == (all_strict([ToolSpec("f")]), all_strict([ToolSpec("f", strict=True), {"x": 1}]))
    assert not all_strict([ToolSpec("f", strict=True), ToolSpec("g")])
    assert not all_strict([])


@pytest.mark.parametrize("name", ["mistral", "openai-completions"])
def test_marks_that_mistral_and_text_completions_have_no_word_for(name: str) -> None:
    """A participant's name and cache marks are refused, of messages as of tools."""
    with pytest.raises(ConfigError, match=f"{name} has no name of a user"):
        ask(PROVIDERS[name](), {"role": "user", "content": "Hi", "name": "Ann"})
    with pytest.raises(ConfigError, match=f"{name} has no cache_control"):
        ask(PROVIDERS[name](), user({"type": "text", "text": "x", "cache_control": {}}))


def test_mistral_takes_tools_as_they_stand() -> None:
    """Tools and details, for which Mistral has OpenAI's words, are sent as they are."""
    mistral = PROVIDERS["mistral"]()
    function = {"name": "f", "strict": True, "parameters": {"type": "object"}}
    tools = [{"type": "function", "function": function}, {"type": "web_search"}]
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}}
    sent = json.loads(ask(mistral, user(image), tools=tools) or b"")
    assert (tools, image) == (sent["tools"], sent["messages"][0]["content"][1])
    with pytest.raises(ConfigError, match="mistral has no cache_control; leave it out of the tool f"):
        ask(mistral, user(), tools=[{**tools[0], "cache_control": {}}])
