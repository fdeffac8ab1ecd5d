"""Bodies of `/v1/responses`: what each becomes for any provider, and what is refused with a clear 4xx."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import FilePart, ImagePart, Message, TextPart, ToolCall, providers, user
from streamkit.errors import RequestError
from streamkit.providers import ChatRequest
from streamkit.web.formats import Limits, ResponsesFormat, WebRequest
from streamkit.web.formats.requests.responses_request import native_params

F = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True, "description": "Does."}
NESTED = {"type": "function", "function": {key: value for key, value in F.items() if key != "type"}}
PNG = "data:image/png;base64,AA=="


def read(input: Any = "hi", **fields: Any) -> WebRequest:
    return ResponsesFormat.decode_request({"model": "m", "input": input, **fields})


def call(id: str, name: str = "f", arguments: str = "{}", **fields: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments, **fields}


def result(id: str, output: Any = "ok") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id, "output": output}


def said(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def calls(*ids: str, text: str | None = None) -> Message:
    return Message("assistant", text, tool_calls=tuple(ToolCall.of(id, "f", "{}") for id in ids))


def told(id: str, content: Any = "ok") -> Message:
    return Message("tool", content, tool_call_id=id)


def test_a_text() -> None:
    """Instructions are the first message; text and bytes are read alike; the usage always comes."""
    body = {"model": "m", "input": "hi", "instructions": "Be brief.", "stream": True}
    got = ResponsesFormat.decode_request(json.dumps(body))
    assert got == ResponsesFormat.decode_request(json.dumps(body).encode()) == ResponsesFormat.decode_request(body)
    assert (Message("system", "Be brief."), user("hi")) == got.messages
    assert ("m", True, True, user("hi")) == (got.model, got.stream, got.include_usage, got.message)
    assert ({}, {}) == (got.params, got.extra)
    assert {"instructions": "Be brief."} == got.echo


def test_messages_of_each_role() -> None:
    """With or without their type, as text or parts; texts alone are one."""
    got = read(
        [
            {
                "role": "developer",
                "content": [{"type": "input_text", "text": "Be "}, {"type": "input_text", "text": "kind."}],
            },
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            said("Hello."),
            {"role": "assistant", "content": "More."},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "user", "content": "and?"},
        ]
    )
    assert got.messages == (
        Message("developer", "Be kind."),
        user("hi"),
        *(Message("assistant", text) for text in ("Hello.", "More.", "No.")),
        user("and?"),
    )


def test_images_and_files() -> None:
    """By address or content; the detail that is the default is not said, as not each provider has the word."""
    got = read(
        [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "look"},
                    {"type": "input_image", "image_url": PNG, "detail": "auto"},
                    {"type": "input_image", "image_url": "https://a/b.png", "detail": "low", "file_id": None},
                    {"type": "input_file", "file_url": "https://a/b.pdf"},
                    {"type": "input_file", "filename": "b.pdf", "file_data": "data:application/pdf;base64,AA=="},
                    {"type": "input_file", "filename": "c.pdf", "file_data": "AA=="},
                    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},
                ],
            }
        ]
    )
    assert got.messages == (
        user(
            TextPart("look"),
            ImagePart(PNG),
            ImagePart("https://a/b.png", "low"),
            FilePart("https://a/b.pdf"),
            FilePart("data:application/pdf;base64,AA==", "b.pdf"),
            FilePart("data:application/pdf;base64,AA==", "c.pdf"),
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},  # type: ignore[arg-type]
        ),
    )


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ([call("a"), result("a")], [calls("a"), told("a")]),
        ([call("a"), call("b"), result("b"), result("a")], [calls("a", "b"), told("a"), told("b")]),
        ([call("a"), result("a"), call("b"), result("b")], [calls("a"), told("a"), calls("b"), told("b")]),
        ([said("x"), call("a"), result("a"), said("y")], [calls("a", text="x"), told("a"), Message("assistant", "y")]),
        (
            [call("a"), said("x"), said("y"), call("b"), result("a"), result("b")],
            [calls("a", "b", text="xy"), told("a"), told("b")],
        ),
        ([call("a"), {"role": "user", "content": "hm"}, result("a")], [calls("a"), told("a"), user("hm")]),
        # Some servers begin anew with their ids in each reply.
        (
            [call("a"), result("a", "1"), call("a"), result("a", "2")],
            [calls("a"), told("a", "1"), calls("a"), told("a", "2")],
        ),
        ([said(""), {"role": "user", "content": "hm"}], [user("hm")]),
    ],
)
def test_the_items_of_a_reply_are_one_message(items: list[Any], messages: list[Message]) -> None:
    """Each result follows the reply with its call, as other providers want it."""
    assert (user("go"), *messages) == read([{"role": "user", "content": "go"}, *items]).messages


def test_a_result_with_parts() -> None:
    """Texts alone are one."""
    texts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    picture = {"type": "input_image", "image_url": PNG}
    got = read([call("a"), call("b"), result("a", texts), result("b", [*texts[:1], picture])]).messages[1:]
    assert (told("a", "ab"), told("b", (TextPart("a"), ImagePart(PNG)))) == got


def thought(**fields: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], **fields}


def test_reasoning_is_kept_for_its_provider() -> None:
    """Where it is encrypted, under the provider's id; other reasoning no provider takes."""
    kept = {**thought(encrypted_content="gAAA"), "id": "rs_theirs"}
    data = ({"openai-responses": kept},)
    for sent in (thought(encrypted_content="rs_theirs gAAA"), {**kept}):
        assert (Message("assistant", "x", provider_data=data),) == read([sent, said("x")]).messages
    assert (Message("assistant", "x"),) == read([thought(), thought(encrypted_content=None), said("x")]).messages
    # Nothing else of the client's gets there, and reasoning alone is no reply.
    odd = thought(encrypted_content=" gAAA", status="completed", content=[{"type": "x"}], file_id="f")
    kept.pop("id")
    assert (Message("assistant", "x", provider_data=data),) == read([odd, said("x")]).messages
    assert (user("hm"),) == read([odd, {"role": "user", "content": "hm"}]).messages


def test_parameters() -> None:
    """Under the names that every provider reads; what says the default is not sent, as not each has the word."""
    got = read(
        tools=[F, {"type": "function", "name": "g", "parameters": None, "strict": None}],
        tool_choice={"type": "function", "name": "f"},
        temperature=0.5,
        top_p=1,
        max_output_tokens=9,
        parallel_tool_calls=False,
        user="u",
        service_tier="flex",
        reasoning={"effort": "low", "summary": "auto"},
        text={
            "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
            "verbosity": "low",
        },
    )
    assert got.params == {
        "tools": [NESTED, {"type": "function", "function": {"name": "g"}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "temperature": 0.5,
        "top_p": 1,
        "max_tokens": 9,
        "parallel_tool_calls": False,
        "user": "u",
        "service_tier": "flex",
        "reasoning_effort": "low",
        "verbosity": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
    }
    assert {"reasoning": {"effort": "low", "summary": "auto"}} == got.extra
    usual = read(
        tools=[],
        tool_choice="auto",
        parallel_tool_calls=True,
        service_tier="auto",
        text={"format": {"type": "text"}, "verbosity": "medium"},
        reasoning={"effort": None},
        metadata={"a": "b"},
        store=True,
        background=False,
        previous_response_id=None,
        user=None,
    )
    assert ({}, {"a": "b"}) == (usual.params, usual.echo["metadata"])


def test_what_says_nothing_to_a_provider_is_apart() -> None:
    """Nothing else becomes a parameter: not headers, addresses or keys."""
    fields = {
        "include": ["reasoning.encrypted_content"],
        "truncation": "auto",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "max_tool_calls": 3,
        "stream_options": {"include_obfuscation": False},
        "extra_headers": {"authorization": "stolen"},
        "base_url": "https://example.org",
        "api_key": "x",
    }
    got = read(**fields)
    assert ({}, fields) == (got.params, got.extra)


def test_what_a_provider_of_the_same_format_takes_besides() -> None:
    """Summaries and encrypted reasoning where the client wants them; and it stores nothing."""
    got = read(
        store=True,
        include=["reasoning.encrypted_content", "web_search_call.action.sources"],
        reasoning={"effort": "low", "summary": "auto"},
        truncation="auto",
        prompt_cache_key="k",
        api_key="x",
    )
    params = native_params(got)
    assert params == {
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"summary": "auto"},
        "truncation": "auto",
        "prompt_cache_key": "k",
    }
    assert {"store": False} == native_params(read())
    chat = ChatRequest("m", [message.to_dict() for message in got.messages], {**got.params, **params})
    body = json.loads(providers.OpenAIResponses(api_key="k").request(chat).body)
    assert ({"effort": "low", "summary": "auto"}, False) == (body["reasoning"], body["store"])


@pytest.mark.parametrize(
    ("choice", "names", "expected"),
    [
        ("auto", ["f", "g"], None),
        ("none", ["f", "g"], "none"),
        ("required", ["f", "g"], "required"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]}, ["g"], None),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]},
            ["g"],
            "required",
        ),
    ],
)
def test_the_choice_of_a_tool(choice: Any, names: list[str], expected: Any) -> None:
    """The model is told of those tools alone that it may use."""
    got = read(tools=[F, {**F, "name": "g"}], tool_choice=choice).params
    assert (names, expected) == ([tool["function"]["name"] for tool in got["tools"]], got.get("tool_choice"))


FEW = Limits(bytes=5000, messages=3, text=50, parts=4, files=2, file_bytes=60, depth=20, id=20)
PICTURE = {"type": "input_image", "image_url": PNG}


def asked(*parts: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "no reply is stored"),
        ({"conversation": "conv_1"}, "conversation", "no conversation is stored"),
        ({"conversation": {"id": "conv_1"}}, "conversation", "no conversation is stored"),
        ({"background": True}, "background", "while its client waits"),
        ({"prompt": {"id": "p"}}, "prompt", "no prompts are stored"),
        ({"context_management": [{"type": "compaction"}]}, "context_management", "compacted"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]", "functions alone"),
        ({"tools": [F, {"type": "mcp", "server_url": "https://a"}]}, "tools[1]", "functions alone"),
        ({"tools": [{"type": "custom", "name": "f"}]}, "tools[0]", "functions alone"),
        ({"input": [{"type": "item_reference", "id": "rs_1"}]}, "input[0]", "none are stored"),
        ({"input": [{"id": "rs_1"}]}, "input[0]", "none are stored"),
        ({"input": [{"type": "web_search_call"}]}, "input[0]", "type is not supported"),
        (asked({"type": "input_image", "file_id": "file-1"}), "input[0]", "no files are stored"),
        (asked({"type": "input_file", "file_id": "file-1"}), "input[0]", "no files are stored"),
        ({"include": ["message.output_text.logprobs"]}, "include", "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs", "logprobs"),
    ],
)
def test_what_needs_state_or_a_host_is_a_clear_400(fields: dict[str, Any], param: str, says: str) -> None:
    """With the field, and a code that says that it is not supported."""
    with pytest.raises(RequestError, match=says) as caught:
        read(**fields)
    assert (400, param) == (caught.value.status, caught.value.param)
    assert caught.value.code in ("unsupported_parameter", "unsupported_value")


@pytest.mark.parametrize(
    ("fields", "status", "param", "says"),
    [
        ({"input": None}, 400, "input", "input is missing"),
        ({"input": " "}, 400, "input", "input is empty"),
        ({"input": []}, 400, "input", "input is empty"),
        ({"input": 5}, 400, "input", "input is no list"),
        ({"input": "a" * 51}, 413, "input", "more than 50"),
        ({"input": [{"role": "user", "content": "a"}] * 4}, 413, "input", "more than 3"),
        ({"input": ["hi"]}, 400, "input", r"input\[0\] is no object"),
        ({"input": [{"role": "king", "content": "hi"}]}, 400, "input[0]", "role is none of"),
        ({"input": [{"role": "user", "content": ""}]}, 400, "input[0]", "content is empty"),
        ({"input": [{"role": "user", "content": []}]}, 400, "input[0]", "content is empty"),
        ({"input": [{"role": "user", "content": 5}]}, 400, "input[0]", "content is no list"),
        ({"input": [{"role": "user", "content": "a" * 51}]}, 413, "input[0]", "more than 50"),
        ({"input": [{"role": "assistant", "content": [PICTURE]}]}, 400, "input[0]", "more than text"),
        ({"input": [{"role": "system", "content": [PICTURE]}]}, 400, "input[0]", "more than text"),
        (asked(*"abcde"), 413, "input[0]", "more than 4"),
        (asked({"text": "hi"}), 400, "input[0]", "type is missing"),
        (asked({"type": "input_text"}), 400, "input[0]", "text is missing"),
        (asked({"type": "video"}), 400, "input[0]", "type is not supported"),
        (asked(PICTURE, PICTURE, PICTURE), 413, "input[0]", "more than 2 files"),
        (asked({**PICTURE, "image_url": PNG + "A" * 60}), 413, "input[0]", "more than 60"),
        (asked({**PICTURE, "image_url": {"url": PNG}}), 400, "input[0]", "image_url is no text"),
        (asked({**PICTURE, "image_url": "gs://a/b"}), 400, "input[0]", "neither an address"),
        (asked({**PICTURE, "image_url": "file:///etc/passwd"}), 400, "input[0]", "neither an address"),
        (asked({**PICTURE, "image_url": "data:image/png,AA"}), 400, "input[0]", "neither an address"),
        (asked({"type": "input_file", "file_data": "AA=="}), 400, "input[0]", "ending tells the type"),
        (
            asked({"type": "input_file", "file_data": "?", "filename": "a.pdf"}),
            400,
            "input[0]",
            "ending tells the type",
        ),
        (asked({"type": "input_file"}), 400, "input[0]", "file_url is missing"),
        (asked({"type": "input_audio"}), 400, "input[0]", "input_audio is no object"),
        ({"input": [call("a")]}, 400, "input", "no function_call_output"),
        ({"input": [result("a")]}, 400, "input[0]", "the id of no function_call"),
        ({"input": [call("a"), result("a"), result("a")]}, 400, "input[2]", "the id of no function_call"),
        ({"input": [call("")]}, 400, "input[0]", "no call_id"),
        ({"input": [call("a", arguments=5)]}, 400, "input[0]", "arguments is no text"),  # type: ignore[arg-type]
        ({"input": [call("a"), result("a", 5)]}, 400, "input[1]", "output is no list"),
        ({"input": [thought(summary="x")]}, 400, "input[0]", "summary is no list"),
        ({"input": [thought(encrypted_content=5)]}, 400, "input[0]", "encrypted_content is no text"),
        ({"instructions": 5}, 400, "instructions", "is no text"),
        ({"model": 5}, 400, "model", "is no text"),
        ({"stream": "yes"}, 400, "stream", "neither true nor false"),
        ({"store": "yes"}, 400, "store", "neither true nor false"),
        ({"temperature": "hot"}, 400, "temperature", "from 0 to 2"),
        ({"temperature": 3}, 400, "temperature", "from 0 to 2"),
        ({"temperature": True}, 400, "temperature", "from 0 to 2"),
        ({"top_p": float("nan")}, 400, "top_p", "from 0 to 1"),
        ({"max_output_tokens": -1}, 400, "max_output_tokens", "whole number"),
        ({"max_output_tokens": 10**30}, 400, "max_output_tokens", "whole number"),
        ({"max_output_tokens": "5"}, 400, "max_output_tokens", "whole number"),
        ({"user": 5}, 400, "user", "is no text"),
        ({"metadata": {"a": 5}}, 400, "metadata", "is no text"),
        ({"metadata": {str(at): "" for at in range(17)}}, 400, "metadata", "more than 16"),
        ({"truncation": "half"}, 400, "truncation", "neither auto"),
        ({"include": "x"}, 400, "include", "is no list"),
        ({"stream_options": 5}, 400, "stream_options", "is no object"),
        ({"reasoning": "low"}, 400, "reasoning", "is no object"),
        ({"reasoning": {"effort": 5}}, 400, "reasoning.effort", "is no text"),
        ({"reasoning": {"summary": {}}}, 400, "reasoning.summary", "is no text"),
        ({"text": "x"}, 400, "text", "is no object"),
        ({"text": {"verbosity": 5}}, 400, "text.verbosity", "is no text"),
        ({"text": {"format": {"type": "xml"}}}, 400, "text.format", "none of text"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, 400, "text.format", "schema is no object"),
        ({"tools": {}}, 400, "tools", "is no list"),
        ({"tools": [{"type": "function"}]}, 400, "tools[0]", "name is missing"),
        ({"tools": [{**F, "name": ""}]}, 400, "tools[0]", "name is empty"),
        ({"tools": [{**F, "parameters": 5}]}, 400, "tools[0]", "parameters is no object"),
        ({"tools": [{**F, "strict": 5}]}, 400, "tools[0]", "strict is neither"),
        ({"tool_choice": "required"}, 400, "tool_choice", "no tools"),
        ({"tool_choice": "maybe"}, 400, "tool_choice", "is no object"),
        ({"tool_choice": {"type": "function", "name": "f"}}, 400, "tool_choice", "none of the tools"),
        ({"tool_choice": {"type": "web_search"}}, 400, "tool_choice", "none of auto"),
        (
            {"tools": [F], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
            400,
            "tool_choice",
            "all among",
        ),
        ({"x": "a" * 6000}, 413, "", "more than 5000 bytes"),
    ],
)
def test_what_cannot_be_taken_is_a_4xx_that_says_where(fields: Any, status: int, param: str, says: str) -> None:
    """By its place, in `param` too; a value is not repeated."""
    body = {"model": "m", "input": "hi", **fields}
    whole = json.dumps(body) if status == 413 and not param else body
    with pytest.raises(RequestError, match=says) as caught:
        ResponsesFormat.decode_request(whole, limits=FEW)
    assert (status, param) == (caught.value.status, caught.value.param)


def test_instructions_are_refused_where_the_program_says_so() -> None:
    """In their field and as messages."""
    for body in ({"input": "hi", "instructions": "obey"}, {"input": [{"role": "developer", "content": "obey"}]}):
        assert ResponsesFormat.decode_request(body).messages
        with pytest.raises(RequestError, match="not taken from a client"):
            ResponsesFormat.decode_request(body, allow_system=False)


FIELDS = (
    "input instructions model stream tools tool_choice text temperature top_p max_output_tokens parallel_tool_calls "
    "metadata user service_tier store background conversation previous_response_id prompt include reasoning truncation "
    "stream_options top_logprobs context_management"
).split()
KEYS = (
    "type role content text refusal image_url file_id file_data file_url filename detail call_id name arguments output "
    "summary encrypted_content id format schema strict parameters description effort verbosity mode tools input_audio "
    "data"
).split()
WORDS = (
    "message user assistant system developer function_call function_call_output reasoning item_reference input_text "
    "output_text refusal input_image input_file input_audio function allowed_tools auto required json_schema "
    "json_object a"
).split()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=30,
)
ITEMS = st.lists(
    VALUES
    | st.fixed_dictionaries(
        {"type": st.sampled_from(WORDS)},
        optional={
            "role": st.sampled_from(WORDS[1:5]),
            "content": VALUES | st.text(max_size=3),
            "call_id": st.sampled_from(["a", "b"]),
            "name": st.just("f"),
            "arguments": st.text(max_size=3),
            "output": VALUES | st.text(max_size=3),
            "summary": VALUES,
            "encrypted_content": st.text(max_size=5) | VALUES,
        },
    ),
    max_size=6,
)


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), VALUES, max_size=6), ITEMS, VALUES)
@settings(max_examples=300, deadline=None)
def test_any_body_is_read_or_refused(fields: dict[str, Any], items: list[Any], value: Any) -> None:
    """No body makes another error than a `RequestError` with a 4xx; what was read is repeated in a response."""
    for body in (fields, {**fields, "input": items}, {"input": items}, {"input": "hi", **fields}, {"input": value}):
        got = read_or_refused(body)
        if got is not None:
            assert got.messages
            assert all(isinstance(message, Message) for message in got.messages)
            made = ResponsesFormat(request=got)
            assert made.begin("resp_1") + made.end("complete")
            assert native_params(got)["store"] is False


def read_or_refused(body: Any) -> WebRequest | None:
    try:
        return ResponsesFormat.decode_request(body)
    except RequestError as error:
        status = error.status
    assert 400 <= status < 500
    return None


@given(st.binary(max_size=40) | st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_read_or_refused(body: bytes | str) -> None:
    """JSON or not."""
    with pytest.raises(RequestError) as caught:
        ResponsesFormat.decode_request(body)
    assert 400 <= caught.value.status < 500
