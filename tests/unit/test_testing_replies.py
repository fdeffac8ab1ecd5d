"""The ready-made replies look like those of the services, and the pytest plugin provides servers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

import streamkit.testing
from streamkit.testing import (
    DONE,
    USAGE,
    Cut,
    Reply,
    Reset,
    Send,
    Server,
    Wait,
    chunk_event,
    error_in_stream_reply,
    error_reply,
    html_reply,
    huge_event_reply,
    json_reply,
    recording_reply,
    redirect_reply,
    split_tokens,
    sse_event,
    text_reply,
    tool_call_reply,
    whole_reply,
)

pytest_plugins = ["pytester"]


def get(reply: Reply) -> tuple[HTTPResponse, bytes]:
    with Server(reply) as server, closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as client:
        client.request("GET", "/")
        response = client.getresponse()
        return response, response.read()


def sent(reply: Reply) -> list[bytes]:
    return [step.data for step in reply.steps if isinstance(step, Send)]


def chunks(reply: Reply) -> Iterator[dict[str, Any]]:
    for event in sent(reply):
        if event != DONE:
            yield json.loads(event.removeprefix(b"data: "))


def deltas(reply: Reply) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in chunks(reply) for choice in chunk["choices"]]


def test_all_that_is_promised_is_there() -> None:
    """Every name of __all__ can be had, and a wrong one is an AttributeError."""
    assert all(getattr(streamkit.testing, name) is not None for name in streamkit.testing.__all__)
    assert set(streamkit.testing.__all__) <= set(dir(streamkit.testing))
    with pytest.raises(AttributeError, match="Sever"):
        streamkit.testing.Sever  # noqa: B018


@pytest.mark.parametrize("text", ["", " ", "Hello world", "  two  spaces \n\n", "é\u2028 ü"])
def test_tokens_are_the_text(text: str) -> None:
    """Nothing is lost between the tokens."""
    assert "".join(split_tokens(text)) == text


def test_an_event_has_a_line_for_each_line() -> None:
    """Strings go as they are, other data as JSON, with name and id in front."""
    assert sse_event("a\nb", event="x", id="1") == b"event: x\nid: 1\ndata: a\ndata: b\n\n"
    assert sse_event({"é": 1}) == 'data: {"é":1}\n\n'.encode()


def test_usage_alone_makes_the_usage_chunk() -> None:
    """With nothing else the chunk has no choices; with more it has."""
    assert json.loads(chunk_event(usage=USAGE)[6:])["choices"] == []
    assert json.loads(chunk_event(usage=USAGE, finish_reason="stop")[6:])["choices"] != []


def test_a_text_reply() -> None:
    """Role, pieces, finish, usage, [DONE]: each a Send, and each may be left out."""
    first, *words, finish, usage = chunks(text_reply("Hello big world"))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [word["choices"][0]["delta"]["content"] for word in words] == ["Hello", " big", " world"]
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"] == USAGE
    assert sent(text_reply("x"))[-1] == DONE
    bare = text_reply("", pieces=["a", "b"], finish_reason=None, usage=False, done=False)
    assert deltas(bare)[1:] == [{"content": "a"}, {"content": "b"}]
    assert sent(bare)[-1] != DONE


def test_a_pause_comes_between_events() -> None:
    """A pause is a Wait before each event but the first."""
    steps = text_reply("x", pause=0.5).steps
    assert [step for step in steps if isinstance(step, Wait)] == [Wait(0.5)] * (len(steps) // 2)
    assert isinstance(steps[0], Send)


def test_tool_calls_come_in_fragments() -> None:
    """Id and name come first, then the arguments piece by piece, call by call."""
    reply = tool_call_reply("f", {"city": "Paris"}, ("g", "{broken"), text="Wait", fragment=5)
    calls = [delta["tool_calls"][0] for delta in deltas(reply) if "tool_calls" in delta]
    for index, (id, name, arguments) in enumerate([("call_1", "f", '{"city":"Paris"}'), ("call_2", "g", "{broken")]):
        first, *rest = [call for call in calls if call["index"] == index]
        assert first == {
            "index": index,
            "id": id,
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }
        assert "".join(call["function"]["arguments"] for call in rest) == arguments
        assert len(rest) > 1
    assert deltas(reply)[1] == {"content": "Wait"}


def test_an_error_inside_a_200() -> None:
    """The error comes first, or after some text, in any shape."""
    assert json.loads(sent(error_in_stream_reply("no"))[0][6:])["error"]["message"] == "no"
    reply = error_in_stream_reply(after="a b", event="error", body={"object": "error"}, done=True)
    assert [delta.get("content") for delta in deltas(reply.first(3))] == ["", "a", " b"]
    assert sent(reply)[3:] == [b'event: error\ndata: {"object":"error"}\n\n', DONE]


def test_a_recording_is_cut_where_it_should() -> None:
    """Each piece is a Send; the bytes are the recording's; the end is as asked."""
    body = bytes(range(10))
    assert recording_reply(body, (7, 3, 3, 0, 10, 99)).steps == (
        Send(body[:3]),
        Send(body[3:7]),
        Send(body[7:]),
    )
    assert recording_reply(body, ends="cut").steps[-1] == Cut()
    assert recording_reply(body, ends="reset").steps[-1] == Reset()
    assert recording_reply(b"").steps == ()
    assert recording_reply(body, ends="cut", framing="length").content_length == 10
    assert get(recording_reply(body, range(10)))[1] == body


def test_replies_in_one_piece() -> None:
    """JSON, whole completions, errors, pages and redirects have their status, type and length."""
    response, body = get(json_reply([1, "é"], 201))
    assert (response.status, response.headers["Content-Type"], body) == (
        201,
        "application/json",
        '[1,"é"]'.encode(),
    )
    whole = json.loads(get(whole_reply("Hello", reasoning_content="Hm"))[1])
    assert whole["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Hello",
        "reasoning_content": "Hm",
    }
    response, body = get(error_reply(429, "Slow down", code="rate_limit", headers={"Retry-After": "1"}))
    assert (response.status, response.reason, response.headers["Retry-After"]) == (
        429,
        "Too Many Requests",
        "1",
    )
    assert json.loads(body)["error"]["code"] == "rate_limit"
    assert json.loads(get(error_reply(529))[1])["error"]["type"] == "server_error"
    assert get(html_reply())[0].headers["Content-Type"] == "text/html; charset=utf-8"
    response, body = get(redirect_reply("http://elsewhere.example/"))
    assert (response.status, response.headers["Location"], body) == (307, "http://elsewhere.example/", b"")


def test_a_reply_without_a_body() -> None:
    """A 204 has no body and no framing, so that the connection stays in step."""
    response, body = get(Reply(status=204, content_type=None))
    assert (response.status, body, response.headers["Transfer-Encoding"]) == (204, b"", None)


def test_a_huge_event_is_one_event() -> None:
    """The filler sits inside one well-formed event of the size asked for."""
    event, done, rest = get(huge_event_reply(1 << 20))[1].split(b"\n\n")
    assert json.loads(event[6:])["choices"][0]["delta"]["content"] == "x" * (1 << 20)
    assert (done + b"\n\n", rest) == (DONE, b"")


# The plugin.


@pytest.fixture
def elsewhere(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Give a directory of another project, from which the package can be imported."""
    monkeypatch.setenv("PYTHONPATH", str(Path(streamkit.testing.__file__).parents[2]))
    return pytester


def test_the_fixtures(elsewhere: pytest.Pytester) -> None:
    """The servers work and are closed after the test; a thread that stays is named."""
    elsewhere.makepyfile(
        """
        import socket, threading

        servers = []
        let_go = threading.Event()

        def test_story(streamkit_server, no_streamkit_leaks):
            assert streamkit_server.url.startswith("http://127.0.0.1:")
            servers.append(streamkit_server)

        def test_factory(streamkit_serve):
            from streamkit.testing import text_reply
            servers.extend([streamkit_serve(text_reply("a")), streamkit_serve(tokens_per_second=0)])
            assert all(server.running for server in servers[1:])

        def test_closed():
            assert len(servers) == 3 and not any(server.running for server in servers)

        def test_leak(monkeypatch, no_streamkit_leaks):
            monkeypatch.setattr("streamkit.testing.plugin._LEAK_SECONDS", 0.05)
            threading.Thread(target=let_go.wait, args=(10,), name="streamkit-7", daemon=True).start()

        def test_not_its_leak(no_streamkit_leaks):
            pass

        def test_in_time(no_streamkit_leaks):
            let_go.set()
            threading.Thread(target=let_go.wait, args=(10,), name="streamkit-8").start()
        """
    )
    result = elsewhere.runpytest_subprocess("-p", "no:streamkit", "-p", "streamkit.testing.plugin")
    result.assert_outcomes(passed=6, errors=1)
    result.stdout.fnmatch_lines(["*threads still alive * after the test: streamkit-7*"])


def test_the_plugin_is_cheap(elsewhere: pytest.Pytester) -> None:
    """Loading the plugin loads no server: pytest does it in every project."""
    code = "import sys, streamkit.testing.plugin; print('streamkit.testing.server' in sys.modules)"
    assert elsewhere.run(sys.executable, "-c", code).outlines == ["False"]
