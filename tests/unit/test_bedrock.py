"""Requests to Amazon Bedrock: formats, names, tools, and bodies that AWS's own model accepts."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from streamkit import ConfigError, FilePart, ImagePart, Message, ToolCall
from streamkit.providers import Bedrock, ChatRequest
from tests.unit.calls import PDF, PIXEL, TOOLS, WEATHER, call
from tests.unit.test_golden_requests import GOLDEN

CONVERSE = botocore.session.Session().get_service_model("bedrock-runtime").operation_model("ConverseStream").input_shape
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def data_url(kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(b'content').decode()}"


def body(*messages: Message, extra_body: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    """Return what is sent, of which botocore has nothing to complain."""
    asked = call(list(messages or [Message("user", "Hi")]), **params)
    asked = ChatRequest(asked.model, asked.messages, asked.params, extra_body or {})
    sent = json.loads(Bedrock("k", region="eu-west-1").request(asked).body or b"")
    check(sent)
    return sent  # type: ignore[no-any-return]


def check(sent: dict[str, Any]) -> None:
    """Fail if a body is none of converse, by AWS's model: its shapes, and its enumerations and patterns."""
    call = {"modelId": "m", **sent}

    assert "" == ParamValidator().validate(call, CONVERSE).generate_report()
    check_words(call, CONVERSE)


def check_words(value: Any, shape: Any) -> None:
    if shape.type_name == "structure" and not shape.metadata.get("document"):
        for name, member in value.items():
            check_words(member, shape.members[name])
    elif shape.type_name == "list":
        for member in value:
            check_words(member, shape.member)
    elif shape.type_name == "string":
        assert value in shape.metadata.get("enum", [value])
        assert re.fullmatch(shape.metadata.get("pattern", ".*"), value, re.DOTALL)
        assert len(value) <= shape.metadata.get("max", len(value))


@pytest.mark.parametrize("case", sorted(path.stem for path in (GOLDEN / "bedrock").glob("*.json")))
def test_golden_bodies_are_of_awss_model(case: str) -> None:
    """Each body that is recorded as right is one that AWS's own SDK would send."""
    golden = json.loads((GOLDEN / "bedrock" / f"{case}.json").read_text("utf-8"))
    assert ("body" in golden) != ("refused" in golden)
    if "body" in golden:
        check(golden["body"])


@pytest.mark.parametrize(
    ("part", "kind", "format"),
    [
        (ImagePart(data_url("image/jpg")), "image", "jpeg"),
        (ImagePart("s3://bucket/picture.JPG"), "image", "jpeg"),
        (FilePart(data_url("text/plain")), "document", "txt"),
        (FilePart(data_url("text/markdown")), "document", "md"),
        (FilePart(data_url(WORD)), "document", "docx"),
        (FilePart(data_url("application/vnd.ms-excel")), "document", "xls"),
        (FilePart("s3://bucket/a.b/report.pdf"), "document", "pdf"),
        ({"type": "video_url", "video_url": {"url": data_url("video/quicktime")}}, "video", "mov"),
        ({"type": "video_url", "video_url": {"url": "s3://bucket/film.3gp"}}, "video", "three_gp"),
        ({"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}}, "audio", "mp3"),
    ],
)
def test_formats_are_in_converses_words(part: Any, kind: str, format: str) -> None:
    """Each media type, or the extension of an address, has its format."""
    (message,) = body(Message("user", ["Look", part]))["messages"]
    assert format == message["content"][1][kind]["format"]


@pytest.mark.parametrize(
    "part",
    [
        ImagePart(data_url("image/svg+xml")),
        ImagePart(data_url("application/pdf")),
        FilePart(data_url("image/png")),
        FilePart(data_url("application/zip")),
        FilePart("s3://bucket/report"),
        FilePart("https://example.com/report.pdf"),
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "video_url", "video_url": {"url": data_url("video/ogg")}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "midi"}},
    ],
)
def test_what_has_no_format_is_refused(part: Any) -> None:
    """Formats that converse does not know, and addresses that it does not fetch, are errors before anything is sent."""
    with pytest.raises(ConfigError, match=r"of the formats|data: URL"):
        body(Message("user", ["Look", part]))


def test_each_document_has_a_name_of_its_own() -> None:
    """Names have the characters that converse allows, and differ, over the whole conversation."""
    names = ["Q3_report: final..draft.pdf", "report.pdf", "report.md", None, "Überblick – (neu).pdf", "日本.pdf", None]
    messages = [Message("user", ["Read", FilePart(PDF, name)]) for name in [*names, "x" * 300, "x" * 300]]
    sent = [block["document"]["name"] for message in body(*messages)["messages"] for block in message["content"][1::2]]
    expected = [
        "Q3 report final draft",
        "report",
        "report 2",
        "document 1",
        "berblick (neu)",
        "document 2",
        "document 3",
    ]
    assert expected == sent[:7]
    assert len(set(sent)) == len(messages)
    assert all(re.fullmatch(r"(?!.*  )[A-Za-z0-9 ()\[\]-]{1,200}", name) for name in sent)


def test_a_document_needs_text_beside_it() -> None:
    """Converse refuses a message of documents alone, so it is an error that says what is missing."""
    with pytest.raises(ConfigError, match="text beside it"):
        body(Message("user", [FilePart(PDF)]))
    assert body(Message("user", [FilePart(PDF)]), Message("user", "Sum it up"))


@pytest.mark.parametrize("part", [FilePart(PDF), ImagePart(PIXEL)])
def test_an_assistant_has_only_text(part: Any) -> None:
    """Images and documents stand in the user's messages alone."""
    with pytest.raises(ConfigError, match="assistant message"):
        body(Message("user", "Hi"), Message("assistant", ["Look", part]), Message("user", "And?"))


def test_tools_are_passed_again_with_their_calls() -> None:
    """A history with tool calls goes with its tools; Bedrock refuses it without them."""
    with pytest.raises(ConfigError, match="pass them again in tools="):
        body(*TOOLS)
    with pytest.raises(ConfigError, match="tool_choice 'none'"):
        body(*TOOLS, tools=[WEATHER], tool_choice="none")
    assert "toolConfig" in body(*TOOLS, tools=[WEATHER])
    assert "toolConfig" not in body(tools=[WEATHER], tool_choice="none")
    config = {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {}}}}]}
    assert config == body(*TOOLS, extra_body={"toolConfig": config})["toolConfig"]


@pytest.mark.parametrize("effort", ["none", "minimal"])
def test_an_effort_that_converse_has_no_word_for_is_refused(effort: str) -> None:
    """The error has the words that there are."""
    with pytest.raises(ConfigError, match="low, medium, high, xhigh, max"):
        body(reasoning_effort=effort)


def test_a_schema_is_sent_with_its_description() -> None:
    """A schema is sent with its name and description, together with the effort."""
    wanted = {"name": "place", "description": "Where it is", "schema": {"type": "object"}}
    sent = body(response_format={"type": "json_schema", "json_schema": wanted}, reasoning_effort="high")
    schema = {"schema": '{"type":"object"}', "name": "place", "description": "Where it is"}
    form = {"type": "json_schema", "structure": {"jsonSchema": schema}}
    assert {"effort": "high", "textFormat": form} == sent["outputConfig"]


def test_a_schema_that_is_no_json_is_refused() -> None:
    """A set in a schema is an error of ours, not a foreign one."""
    wanted = {"name": "place", "schema": {"type": "object", "required": {"city"}}}
    with pytest.raises(ConfigError, match="cannot be written as JSON"):
        body(response_format={"type": "json_schema", "json_schema": wanted})


def test_a_call_without_results_of_media() -> None:
    """A tool may return an image, but converse has no recordings there."""
    asked = Message("assistant", None, tool_calls=(ToolCall.of("c", "get_weather", "{}"),))
    image = Message("tool", [ImagePart(PIXEL)], tool_call_id="c")
    assert body(Message("user", "Hi"), asked, image, tools=[WEATHER])
    heard = Message(
        "tool", [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}}], tool_call_id="c"
    )
    with pytest.raises(ConfigError, match="result of a tool"):
        body(Message("user", "Hi"), asked, heard, tools=[WEATHER])


def test_marks_of_the_cache_become_points_of_the_cache() -> None:
    """`cache_control` becomes a cache point of converse: in the system prompt, in messages and in tools."""
    mark = {"type": "ephemeral", "ttl": "1h"}
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    asked = Message("assistant", None, tool_calls=(ToolCall.of("c", "get_weather", "{}"),))
    sent = body(
        Message("system", ["Be brief.", {"type": "text", "text": "Know this.", "cache_control": mark}]),
        Message("user", [{"type": "text", "text": "Look", "cache_control": {"type": "ephemeral"}}, "here"]),
        asked,
        Message("tool", [{"type": "text", "text": "18 C", "cache_control": mark}], tool_call_id="c"),
        tools=[{**WEATHER, "cache_control": mark}],
    )
    assert [{"text": "Be brief."}, {"text": "Know this."}, point] == sent["system"]
    assert [{"text": "Look"}, {"cachePoint": {"type": "default"}}, {"text": "here"}] == sent["messages"][0]["content"]
    assert [{"text": "18 C"}] == sent["messages"][2]["content"][0]["toolResult"]["content"]
    assert (point, point) == (sent["messages"][2]["content"][1], sent["toolConfig"]["tools"][1])
    with pytest.raises(ConfigError, match="ephemeral"):
        body(Message("user", [{"type": "text", "text": "Look", "cache_control": {"type": "ephemeral", "ttl": "9h"}}]))


def test_marks_keep_a_reply_in_its_order() -> None:
    """Text with a mark stands where it stood among the thoughts, with one point behind the last text of the reply."""
    thought = {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "s"}}}
    data = tuple({"bedrock": datum} for datum in ({"layout": [["text", 4]]}, thought))
    parts = [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}} for text in ("H", "Hey")]
    call = ToolCall.of("c", "get_weather", "{}")
    reply = Message("assistant", ["\n\n", *parts], tool_calls=(call,), provider_data=data)
    content = body(Message("user", "Hi"), reply, tools=[WEATHER])["messages"][1]["content"]
    point = {"cachePoint": {"type": "default"}}
    assert [{"text": "\n\nHH"}, thought, {"text": "ey"}, point] == content[:-1]
    assert "toolUse" in content[-1]


def test_blank_text_is_left_out() -> None:
    """White space alone, which converse refuses, is left out, and an assistant's message of nothing else as well.

    Words stand for the result of a tool that returned nothing.
    """
    asked = Message("assistant", " ", tool_calls=(ToolCall.of("c", "get_weather", "{}"),))
    sent = body(
        Message("system", "\n"),
        Message("user", [" ", "Look"]),
        asked,
        Message("tool", "", tool_call_id="c"),
        Message("assistant", " "),
        tools=[WEATHER],
    )
    use = {"toolUse": {"toolUseId": "c", "name": "get_weather", "input": {}}}
    result = {"toolResult": {"toolUseId": "c", "content": [{"text": "(no output)"}]}}
    assert [[{"text": "Look"}], [use], [result]] == [message["content"] for message in sent["messages"]]
    assert "system" not in sent


@pytest.mark.parametrize("messages", [[Message("system", "Be brief.")], [Message("user", " ")]])
def test_a_conversation_of_nothing_is_refused(messages: list[Message]) -> None:
    """No message, and a user's message that says nothing, are errors before anything is sent."""
    with pytest.raises(ConfigError, match="message"):
        body(*messages)


@pytest.mark.parametrize(
    ("message", "word"),
    [(Message("user", ["Look", ImagePart(PIXEL, "low")]), "detail"), (Message("user", "Hi", name="Ann"), "name")],
)
def test_what_converse_has_no_word_for_is_refused(message: Message, word: str) -> None:
    """The detail of an image and the name of a participant are errors, not dropped."""
    with pytest.raises(ConfigError, match=f"no {word}"):
        body(message)
    assert body(Message("user", ["Look", ImagePart(PIXEL, "auto")]))
