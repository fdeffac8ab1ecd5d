"""Requests to Anthropic, beyond the golden files."""

from __future__ import annotations

import base64
import json
from typing import Any

import attrs
import pytest

from streamkit import ConfigError, FilePart, ImagePart, Message, ToolCall
from streamkit.providers import Anthropic
from tests.unit.calls import CALLS, IN_JSON, PDF, PIXEL, WEATHER, call


def body(*messages: Message, **params: Any) -> dict[str, Any]:
    """Return what is sent."""
    request = Anthropic(api_key="k").request(call(list(messages or [Message("user", "Hi")]), **params))
    return json.loads(request.body or b"")  # type: ignore[no-any-return]


def data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize(("params", "version"), [({}, "2026-10-21"), ({"temperature": 0}, "2023-06-01")])
def test_the_version_is_one_that_knows_the_parameters(params: dict[str, float], version: str) -> None:
    """The newest version of the API rejects a temperature, so such a call uses the version before."""
    request = Anthropic(api_key="k").request(attrs.evolve(CALLS["effort"], params=params))
    assert version == request.headers["anthropic-version"]


def test_a_version_that_was_given_stays() -> None:
    """A version of one's own is sent whatever the call has."""
    request = Anthropic(api_key="k", version="2023-06-01", betas=["a", "b"]).request(CALLS["effort"])
    assert ("2023-06-01", "a,b") == (request.headers["anthropic-version"], request.headers["anthropic-beta"])


@pytest.mark.parametrize(("betas", "sent"), [("context-1m-2025-08-07", "context-1m-2025-08-07"), ([], None)])
def test_one_beta_or_none(betas: Any, sent: str | None) -> None:
    """A text is one beta, and without any there is no header of them."""
    assert sent == Anthropic(api_key="k", betas=betas).request(CALLS["effort"]).headers.get("anthropic-beta")


@pytest.mark.parametrize("betas", [[1], 5, b"a", {"a": 1}])
def test_betas_that_are_no_texts(betas: Any) -> None:
    """`betas` that are not a string or strings are rejected by the constructor."""
    with pytest.raises(ConfigError, match="betas is a text or a list of texts"):
        Anthropic(api_key="k", betas=betas)


def test_the_key_may_go_in_a_header_of_its_own() -> None:
    """Servers that read `x-api-key` get the key there, and there alone."""
    request = Anthropic(api_key="k", key_header="x-api-key").request(CALLS["effort"])
    assert ("k", None) == (request.headers["x-api-key"], request.headers.get("Authorization"))


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_max_tokens_is_at_least_one(limit: object) -> None:
    """The API demands a limit of at least one token; anything else is refused before it is sent."""
    with pytest.raises(ConfigError, match="max_tokens of 1 or more"):
        Anthropic(api_key="k").request(attrs.evolve(CALLS["effort"], params={"max_tokens": limit}))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host:1", "http://host:1/v1"),
        ("http://host/v1/", "http://host/v1"),
        ("https://host/anthropic/", "https://host/anthropic/v1"),
    ],
)
def test_the_url_may_leave_the_version_out(url: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base URL is written with and without `/v1`, in the environment and in an argument."""
    assert expected == Anthropic("k", url).base_url
    monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
    assert expected == Anthropic(api_key="k").base_url


def test_the_official_url_needs_a_key_however_it_is_written() -> None:
    """Anthropic itself is asked with a key, also where its address was passed without `/v1`."""
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        Anthropic(base_url="https://api.anthropic.com").request(CALLS["effort"])


@pytest.mark.parametrize("kind", ["text/plain", "text/csv"])
def test_a_text_document_goes_as_text(kind: str) -> None:
    """Text files are sent decoded, because the API takes only PDF in base64."""
    (message,) = body(Message("user", ["Sum it up", FilePart(data_url(kind, "a,\u00fc".encode()))]))["messages"]
    expected = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,\u00fc"}}
    assert expected == message["content"][1]


@pytest.mark.parametrize(
    "url", [data_url("application/zip", b"PK"), data_url("text/plain", b"\xff"), "data:text/plain;base64,???"]
)
def test_a_document_of_another_kind_is_refused(url: str) -> None:
    """A document that is neither PDF nor readable text is an error before anything is sent."""
    with pytest.raises(ConfigError, match="documents"):
        body(Message("user", [FilePart(url)]))


@pytest.mark.parametrize("part", [FilePart(PDF), ImagePart(PIXEL)])
def test_an_assistant_has_only_text(part: Any) -> None:
    """The API refuses documents and images in an assistant's message: an error that says where to put them."""
    with pytest.raises(ConfigError, match="assistant message"):
        body(Message("user", "Hi"), Message("assistant", ["Look", part]), Message("user", "And?"))


@pytest.mark.parametrize(
    ("choice", "thinking"),
    [
        ("required", None),
        ({"type": "function", "function": {"name": "get_weather"}}, None),
        ("auto", {"type": "adaptive"}),
        ("none", {"type": "adaptive"}),
    ],
)
def test_a_forced_call_is_made_without_thinking(choice: Any, thinking: Any) -> None:
    """The API refuses thinking beside a forced tool call; the effort is sent without it then."""
    sent = body(tools=[WEATHER], tool_choice=choice, reasoning_effort="low")
    assert ({"effort": "low"}, thinking) == (sent["output_config"], sent.get("thinking"))


def test_calls_at_once_without_tools() -> None:
    """How many calls at once says nothing where there are no tools, and the API refuses it there."""
    assert "tool_choice" not in body(parallel_tool_calls=False)
    assert body(tools=[WEATHER], parallel_tool_calls=False)["tool_choice"]["disable_parallel_tool_use"] is True


EPHEMERAL = {"type": "ephemeral"}


def marked(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": EPHEMERAL}


def test_marks_of_the_cache_are_sent_where_they_stand() -> None:
    """`cache_control` goes along on the system prompt, on text, images and results, and on tools."""
    asked = Message("assistant", [marked("I look")], tool_calls=(ToolCall.of("c", "get_weather", "{}"),))
    image = {**ImagePart(PIXEL).to_dict(), "cache_control": EPHEMERAL}
    sent = body(
        Message("system", ["Be brief.", " ", marked("Know this.")]),
        Message("user", [marked("Look"), image, "here"]),
        asked,
        Message("tool", [marked("18 C")], tool_call_id="c"),
        tools=[{**WEATHER, "cache_control": EPHEMERAL}],
    )
    assert [{"type": "text", "text": "Be brief."}, marked("Know this.")] == sent["system"]
    contents = [message["content"] for message in sent["messages"]]
    assert (marked("Look"), EPHEMERAL, {"type": "text", "text": "here"}) == (
        contents[0][0],
        contents[0][1]["cache_control"],
        contents[0][2],
    )
    assert marked("I look") == contents[1][0]
    result = {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "18 C"}]}
    assert {**result, "cache_control": EPHEMERAL} == contents[2][0]  # inside of the result the API refuses it
    assert EPHEMERAL == sent["tools"][0]["cache_control"]


def test_marks_keep_a_reply_in_its_order() -> None:
    """Text with a mark stands where it stood among the thoughts, with the last mark on the last text of the reply."""
    thought = {"type": "thinking", "thinking": "Hm", "signature": "s"}
    data = tuple({"anthropic": datum} for datum in ({"layout": [["text", 4]]}, thought))
    last = {**marked("Hey"), "cache_control": {**EPHEMERAL, "ttl": "1h"}}
    reply = Message("assistant", ["\n\n", marked("H"), last], provider_data=data)
    (message,) = body(Message("user", "Hi"), reply)["messages"][1:]
    expected = [{"type": "text", "text": "\n\nHH"}, thought, {**last, "text": "ey"}]
    assert expected == message["content"]


def test_blank_text_is_left_out() -> None:
    """White space alone, which the API refuses, is left out, between an assistant's own blocks as well."""
    thoughts = [{"type": "thinking", "thinking": "", "signature": "s"}, {"layout": [["text", 2]]}]
    reply = Message("assistant", "\n\nHi", provider_data=tuple({"anthropic": datum} for datum in thoughts))
    sent = body(
        Message("system", " "),
        Message("user", [" ", "Look", "\n"]),
        reply,
        Message("user", "And?"),
        Message("assistant", " "),
    )
    say = {"type": "text", "text": "Look"}
    assert "system" not in sent
    assert [[say], [thoughts[0], {"type": "text", "text": "Hi"}], [{"type": "text", "text": "And?"}]] == [
        message["content"] for message in sent["messages"]
    ]


@pytest.mark.parametrize(
    "messages",
    [
        [Message("system", "Be brief.")],
        [Message("user", "")],
        [Message("user", "Hi"), Message("user", [" \n"])],
        [Message("assistant", "")],
    ],
)
def test_a_conversation_of_nothing_is_refused(messages: list[Message]) -> None:
    """No message, and a user's message that says nothing, are errors before anything is sent."""
    with pytest.raises(ConfigError, match="message"):
        body(*messages)


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"reasoning_effort": "none", "thinking": {"type": "adaptive"}}, "reasoning_effort 'none' and thinking"),
        (
            {"reasoning_effort": "low", "output_config": {"effort": "high"}},
            r"reasoning_effort and output_config\.effort",
        ),
        (
            {"response_format": IN_JSON, "output_config": {"format": {"type": "json_schema", "schema": {}}}},
            r"response_format and output_config\.format",
        ),
        ({"user": "a", "metadata": {"user_id": "b"}}, r"user and metadata\.user_id"),
    ],
)
def test_contradictions_are_refused(params: dict[str, Any], names: str) -> None:
    """Two parameters that say the same thing are an error that names both."""
    with pytest.raises(ConfigError, match=names):
        body(**params)


def test_what_goes_together_is_sent_together() -> None:
    """An effort stands beside thinking of one's own, and a user beside other metadata."""
    sent = body(
        reasoning_effort="low", thinking={"type": "disabled"}, output_config={"x": 1}, user="a", metadata={"y": 2}
    )
    assert ({"type": "disabled"}, {"effort": "low", "x": 1}) == (sent["thinking"], sent["output_config"])
    assert {"user_id": "a", "y": 2} == sent["metadata"]


@pytest.mark.parametrize(
    ("message", "word"),
    [(Message("user", [ImagePart(PIXEL, "high")]), "detail"), (Message("user", "Hi", name="Ann"), "name")],
)
def test_what_anthropic_has_no_word_for_is_refused(message: Message, word: str) -> None:
    """The detail of an image and the name of a participant are errors, not dropped."""
    with pytest.raises(ConfigError, match=f"no {word}"):
        body(message)
    assert body(Message("user", [ImagePart(PIXEL, "auto")]))


def test_the_container_of_code_that_waits_is_named() -> None:
    """It goes along until the user's next message, beside what the user says of it; one that is given stays."""
    data = ({"anthropic": {"container": "container_1"}},)
    waits = [
        Message("user", "Go"),
        Message("assistant", None, tool_calls=(ToolCall.of("c1", "f", "{}"),), provider_data=data),
        Message("tool", "done", tool_call_id="c1"),
    ]
    assert "container_1" == body(*waits)["container"]
    assert {"skills": [], "id": "container_1"} == body(*waits, container={"skills": []})["container"]
    assert "mine" == body(*waits, container="mine")["container"]
    assert "container" not in body(*waits, Message("user", "And now?"))
    assert [{"type": "tool_use", "id": "c1", "name": "f", "input": {}}] == body(*waits)["messages"][1]["content"]
