"""The storyteller answers like a model, and the demo server starts on first use."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from streamkit.testing import STORY, Server
from tests.unit.support import run_program

ASK = [{"role": "user", "content": "Tell me about the sea"}]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(tokens_per_second=0) as server:
        yield server


def call(server: Server, method: str, path: str, body: bytes | None = None) -> tuple[HTTPResponse, bytes]:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as client:
        client.request(method, path, body)
        response = client.getresponse()
        return response, response.read()


def ask(server: Server, **body: Any) -> tuple[HTTPResponse, bytes]:
    return call(server, "POST", "/v1/chat/completions", json.dumps({"messages": ASK, **body}).encode())


def stream(server: Server, **body: Any) -> list[dict[str, Any]]:
    """Return the chunks of a streamed answer, which must end with [DONE]."""
    response, data = ask(server, stream=True, **body)
    assert (response.status, response.headers["Content-Type"]) == (200, "text/event-stream")
    *events, done, rest = data.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


def whole(server: Server, **body: Any) -> dict[str, Any]:
    response, data = ask(server, **body)
    assert response.status == 200, data
    answer: dict[str, Any] = json.loads(data)
    return answer


def text_of(chunks: list[dict[str, Any]], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def test_the_story_is_streamed(server: Server) -> None:
    """A role chunk, a chunk a word, a finish chunk; the story takes up what it was asked."""
    first, *words, last = stream(server)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert text_of(words) == f"A story, then, for “the sea”.\n\n{STORY.strip()}"
    assert len(words) > 100
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert len({chunk["id"] for chunk in (first, *words, last)}) == 1


def test_the_whole_story_is_the_streamed_one(server: Server) -> None:
    """Without `stream` the same text comes in one JSON body."""
    answer = whole(server)
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": text_of(stream(server))}
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_usage_comes_when_asked_for(server: Server) -> None:
    """The usage chunk is the last one, has no choices, and adds up."""
    assert all(chunk["usage"] is None for chunk in stream(server))
    *_, usage = stream(server, stream_options={"include_usage": True}, max_tokens=7)
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_limit_of_tokens_is_kept(server: Server, name: str) -> None:
    """The story stops at the limit, with finish reason `length`, streamed or whole."""
    chunks = stream(server, **{name: 3})
    assert text_of(chunks) == "A story, then,"
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert whole(server, **{name: 3})["choices"][0]["finish_reason"] == "length"


def test_a_stop_sequence_ends_the_story(server: Server) -> None:
    """The text ends before the first stop sequence in it."""
    assert text_of(stream(server, stop=["lighthouse", " then"])) == "A story,"
    assert text_of(stream(server, stop=" for")) == "A story, then,"


def test_choices_are_told_apart(server: Server) -> None:
    """With n each choice has its own opening, its own end, and its part of the usage."""
    chunks = stream(server, n=3, stream_options={"include_usage": True})
    texts = [text_of(chunks, index) for index in range(3)]
    assert len(set(texts)) == 3
    assert all(text.endswith(STORY.strip()) for text in texts)
    answer = whole(server, n=3)
    assert [choice["message"]["content"] for choice in answer["choices"]] == texts
    assert answer["usage"] == chunks[-1]["usage"]


@pytest.mark.parametrize(
    ("content", "opening"),
    [
        ("Write a haiku.", "A story, then, for “Write a haiku”."),
        (
            [{"type": "text", "text": "Sing about {rust}?"}, {"type": "image_url"}],
            "A story, then, for “{rust}”.",
        ),
        ("word " * 50, f"A story, then, for “{'word ' * 11}word…”."),
        ("x" * 100, f"A story, then, for “{'x' * 60}…”."),
        ("  ", "Here is a story."),
        (None, "Here is a story."),
    ],
)
def test_the_topic_is_clipped(server: Server, content: object, opening: str) -> None:
    """The opening names the topic on one line of a sane length, or goes without."""
    messages = [{"role": "user", "content": "before"}, {"role": "user", "content": content}]
    messages.append({"role": "assistant", "content": "later"})
    assert text_of(stream(server, messages=messages)).partition("\n")[0] == opening


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[]", None),
        (b"{}", "messages"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": [{"content": "x"}]}', "messages"),
        (b'{"messages": [{"role": "user"}], "n": 0}', "n"),
        (b'{"messages": [{"role": "user"}], "n": true}', "n"),
        (b'{"messages": [{"role": "user"}], "n": 129}', "n"),
        (b'{"messages": [{"role": "user"}], "max_tokens": 0}', "max_tokens"),
        (b'{"messages": [{"role": "user"}], "max_completion_tokens": 1.5}', "max_completion_tokens"),
        (b'{"messages": [{"role": "user"}], "stop": 3}', "stop"),
        (b'{"messages": [{"role": "user"}], "tokens_per_second": -1}', "tokens_per_second"),
        (b'{"messages": [{"role": "user"}], "tokens_per_second": NaN}', "tokens_per_second"),
    ],
)
def test_a_bad_body_is_a_400(server: Server, body: bytes, param: str | None) -> None:
    """An invalid request gets OpenAI's error object, which names the field."""
    response, data = call(server, "POST", "/v1/chat/completions", body)
    assert response.status == 400
    error = json.loads(data)["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_the_models_are_listed(server: Server) -> None:
    """GET /models knows the storyteller and the assistant."""
    response, data = call(server, "GET", "/v1/models?limit=1")
    assert response.status == 200
    assert [model["id"] for model in json.loads(data)["data"]] == ["storyteller", "assistant"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/chat/completions"), ("POST", "/v1/images")])
def test_anything_else_is_a_404(server: Server, method: str, path: str) -> None:
    """Other addresses get OpenAI's error object too."""
    response, data = call(server, method, path)
    assert response.status == 404
    assert json.loads(data)["error"]["code"] == "unknown_url"


def test_the_pace_is_the_request_s_or_the_server_s() -> None:
    """Each token takes its time, the first one twice more; a request may set its own pace."""
    with Server(tokens_per_second=100) as server:
        begin = time.monotonic()
        stream(server, max_tokens=4)
        slow = time.monotonic() - begin
        assert slow >= 0.05
        begin = time.monotonic()
        whole(server, max_tokens=4)
        assert time.monotonic() - begin >= 0.05
        stream(server, tokens_per_second=0)
        begin = time.monotonic()
        stream(server, tokens_per_second=1000, max_tokens=4)
        assert time.monotonic() - begin >= 0.005


@pytest.mark.parametrize("pace", [0.01, 1e-9, 5e-324])  # minutes, decades, and more seconds than there are numbers
def test_the_story_stops_when_nobody_listens(pace: float) -> None:
    """A storyteller whose listener leaves falls silent at once, and not before, however slow it is."""
    with Server(tokens_per_second=pace) as server:
        client = HTTPConnection("127.0.0.1", server.port, timeout=60)
        client.request("POST", "/v1/chat/completions", json.dumps({"messages": ASK, "stream": True}))
        response = client.getresponse()
        (request,) = server.wait_for_requests(1)
        assert not request.answered.wait(0.1)
        response.close()
        client.close()
        assert request.gone.wait(60)
        assert request.answered.wait(60)


# The demo server.


def test_the_demo_server_is_started_on_first_use() -> None:
    """Importing starts nothing; the first call starts one server, which all threads share."""
    code = """if True:
        import threading
        from concurrent.futures import ThreadPoolExecutor
        from streamkit.testing import demo_server
        assert threading.active_count() == 1
        with ThreadPoolExecutor(8) as pool:
            servers = set(pool.map(lambda _: demo_server(), range(32)))
        assert len(servers) == 1 and demo_server().running
        demo_server().close()
        assert demo_server() not in servers  # closed by somebody: there is a new one
        print("ok")
    """
    assert run_program(code) == "ok\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_a_demo_server_of_its_own() -> None:
    """The child's works, the parent's goes on, and the child's copies keep no connection open."""
    code = """if True:
        import os, socket, warnings
        from streamkit.testing import demo_server

        def models(server):
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
                sock.sendall(b"GET /v1/models HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n")
                return b"storyteller" in b"".join(iter(lambda: sock.recv(4096), b""))

        parent = demo_server()
        assert models(parent)
        held = socket.create_connection(("127.0.0.1", parent.port), timeout=60)
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is the point here
        pid = os.fork()
        if not pid:
            child = demo_server()
            print(child is not parent and child.port != parent.port and models(child), flush=True)
            child.close()
            held.close()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert demo_server() is parent and models(parent)
        held.close()
        parent.wait_for_open_connections(0)
        print("ok")
    """
    assert run_program(code) == "True\nok\n"


def test_the_demo_server_ends_with_the_interpreter() -> None:
    """An open story does not hold the interpreter, and nothing is printed about it."""
    code = """if True:
        import socket
        from streamkit.testing import demo_server
        body = b'{"stream": true, "tokens_per_second": 0.01, "messages": [{"role": "user", "content": "x"}]}'
        sock = socket.create_connection(("127.0.0.1", demo_server().port), timeout=60)
        head = b"POST /v1/chat/completions HTTP/1.1\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body)
        sock.sendall(head + body)
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
        print("ok")
        import warnings
        warnings.simplefilter("ignore", ResourceWarning)  # this socket's
    """
    begin = time.monotonic()
    assert run_program(code) == "ok\n"
    assert time.monotonic() - begin < 30
