"""What is particular about asking Anthropic."""

from __future__ import annotations

import base64
import json
from typing import Any

import attrs
import pytest

from streamkit import ConfigError, FilePart, Message
from streamkit.providers import Anthropic
from tests.unit.calls import CALLS, PDF, WEATHER, call


def body(*messages: Message, **params: Any) -> dict[str, Any]:
    """Return what is sent."""
    request = Anthropic(api_key="k").request(call(list(messages or [Message("user", "Hi")]), **params))
    return json.loads(request.body or b"")  # type: ignore[no-any-return]


def data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize(("params", "version"), [({}, "2026-10-21"), ({"temperature": 0}, "2023-06-01")])
def test_the_version_is_one_that_knows_the_parameters(params: dict[str, float], version: str) -> None:
    """The newest version of the API refuses to be told a temperature, so such a call goes out as the one before."""
    request = Anthropic(api_key="k").request(attrs.evolve(CALLS["effort"], params=params))
    assert version == request.headers["anthropic-version"]


def test_a_version_that_was_given_stays() -> None:
    """A version of one's own is sent whatever the call has."""
    request = Anthropic(api_key="k", version="2023-06-01", betas=["a", "b"]).request(CALLS["effort"])
    assert ("2023-06-01", "a,b") == (request.headers["anthropic-version"], request.headers["anthropic-beta"])


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
    """What is text is sent decoded, as the API takes only PDF in base64."""
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


def test_an_assistant_has_no_documents() -> None:
    """The API refuses a document in an assistant's message, so it is an error that says where to put it."""
    with pytest.raises(ConfigError, match="assistant message"):
        body(Message("user", "Hi"), Message("assistant", [FilePart(PDF)]), Message("user", "And?"))


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
