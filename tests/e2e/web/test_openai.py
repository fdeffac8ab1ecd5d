"""The openai packages of npm and PyPI read our format, and its errors, as OpenAI's."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import openai
import pytest

from streamkit import Chunk, Client, Completion, RateLimitError, ToolCall, ToolCallDelta, Usage, fold, providers
from streamkit.web.formats import OpenAIFormat
from tests.e2e.web.support import needs_npm, run_client

USAGE = Usage(3, 2, 5, cached_tokens=1, reasoning_tokens=1)
CHUNKS = [
    Chunk("reasoning", reasoning="hm"),
    Chunk("text", "Hel"),
    Chunk("text", "lö 😀"),
    Chunk("tool_call", tool_call=ToolCallDelta(0, "c", "w", "")),
    Chunk("tool_call", tool_call=ToolCallDelta(0, arguments='{"a":')),
    Chunk("tool_call", tool_call=ToolCallDelta(1, "d", "v", '{"b":2}')),
    Chunk("tool_call", tool_call=ToolCallDelta(0, arguments="1}")),
    Chunk("done", finish_reason="tool_calls", usage=USAGE),
]
CALLS = [("c", "w", '{"a":1}'), ("d", "v", '{"b":2}')]
COMPLETION = Completion(
    "Hellö 😀",
    "hm",
    tool_calls=tuple(ToolCall.of(*call) for call in CALLS),
    finish_reason="tool_calls",
    usage=USAGE,
)


def stream(**options: Any) -> bytes:
    """Return the whole of a stream, with a heartbeat before each event."""
    made = OpenAIFormat(**options)
    pieces = [
        made.begin("chatcmpl-1", model="m", created=1_700_000_000),
        *map(made.encode, CHUNKS),
        made.end("complete"),
    ]
    return b"".join(made.heartbeat() + piece for piece in pieces)


def broken() -> bytes:
    made = OpenAIFormat(show_errors=True)
    pieces = [made.begin("chatcmpl-1", model="m"), made.encode(CHUNKS[1])]
    return b"".join(pieces) + made.end("error", RateLimitError("slow down", status=429, code="rate_limited"))


HEADERS = dict(OpenAIFormat.headers)
REFUSED = OpenAIFormat().refusal(RateLimitError("secret", status=429))
WHOLE = OpenAIFormat().whole(COMPLETION, "chatcmpl-1", model="m", created=1)


@contextmanager
def serving(body: bytes, headers: Mapping[str, str] = HEADERS, status: int = 200) -> Iterator[str]:
    """Answer each request with these bytes; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join(10)


@contextmanager
def client_of(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=address, max_retries=0) as client:
        yield client


ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_python_reads_a_stream() -> None:
    """Text, calls, finish reason and usage, by `create` and by `stream`."""
    with serving(stream(include_usage=True)) as address, client_of(address) as client:
        chunks = list(client.chat.completions.create(**ASKED, stream=True))
        assert "Hellö 😀" == "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        usage = chunks[-1].usage
        assert usage is not None
        assert (3, 2, 5) == (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
        with client.chat.completions.stream(**ASKED) as events:
            for _ in events:
                pass
            choice = events.get_final_completion().choices[0]
    calls = choice.message.tool_calls or []
    assert CALLS == [(call.id, call.function.name, call.function.arguments) for call in calls]
    assert "tool_calls" == choice.finish_reason


def test_python_reads_errors_and_whole_replies() -> None:
    """An error in the stream, an error before it, and a reply without a stream."""
    with serving(broken()) as address, client_of(address) as client, pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(**ASKED, stream=True))
    assert ("slow down", "rate_limited") == (caught.value.message, caught.value.code)
    refused = serving(REFUSED.body, REFUSED.headers, REFUSED.status)
    with refused as address, client_of(address) as client, pytest.raises(openai.RateLimitError, match="An error occ"):
        client.chat.completions.create(**ASKED)
    with serving(WHOLE, {"content-type": "application/json"}) as address, client_of(address) as client:
        got = client.chat.completions.create(**ASKED)
    assert ("Hellö 😀", "tool_calls") == (got.choices[0].message.content, got.choices[0].finish_reason)


def test_streamkit_reads_itself() -> None:
    """Bytes of the format become the chunks again, that add up to the same reply."""
    with serving(stream(include_usage=True)) as address:
        with Client([providers.OpenAI(api_key="", base_url=address)]) as client:
            got = client.complete("openai/m", "hi")
    expected = fold(CHUNKS)
    for field in ("text", "reasoning", "tool_calls", "finish_reason", "usage"):
        assert getattr(expected, field) == getattr(got, field)


@needs_npm
def test_npm_reads_all_of_it() -> None:
    """The same by the npm package."""
    json_headers = {"content-type": "application/json"}
    got = run_client(
        "openai.mjs",
        [
            {"name": "stream", "body": stream(include_usage=True), "headers": HEADERS},
            {"name": "without usage", "body": stream(), "headers": HEADERS},
            {"name": "broken", "body": broken(), "headers": HEADERS},
            {"name": "refused", "body": REFUSED.body, "headers": dict(REFUSED.headers), "status": REFUSED.status},
            {"name": "whole", "body": WHOLE, "headers": json_headers, "whole": True},
        ],
    )
    assert ("Hellö 😀", None) == (got["stream"]["text"], got["stream"]["error"])
    assert 5 == got["stream"]["usage"]["total_tokens"]
    assert got["without usage"]["usage"] is None
    for name in ("stream", "whole"):
        choice = got[name]["completion"]["choices"][0]
        calls = choice["message"]["tool_calls"]
        assert CALLS == [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls]
        assert "tool_calls" == choice["finish_reason"]
    assert "slow down" == got["broken"]["error"]["message"]
    assert (429, "RateLimitError") == (got["refused"]["error"]["status"], got["refused"]["error"]["kind"])
