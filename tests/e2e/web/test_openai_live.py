"""The openai packages of npm and PyPI against a route of ``stream_response(format="openai")``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from streamkit import Client
from streamkit.testing import (
    Reply,
    Request,
    Server,
    Wait,
    WaitFor,
    chunk_event,
    error_in_stream_reply,
    error_reply,
    text_reply,
    tool_call_reply,
)
from streamkit.web.flask import stream_response
from streamkit.web.formats import OpenAIFormat
from tests.e2e.web.browser import flask_server, needs_clients, run_node
from tests.unit.run_support import MODEL, client_of
from tests.unit.support import SOON

flask = pytest.importorskip("flask", reason="needs flask")

MASKED = "An error occurred."
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]


class Provider:
    """Answers by the question; ``more`` lets the reply in two go on."""

    def __init__(self) -> None:
        self.more = threading.Event()
        self.endless: list[Request] = []

    def __call__(self, request: Request) -> Reply:
        question = request.json()["messages"][-1]["content"]
        if question == "in two":
            end = chunk_event("wörld 😀", finish_reason="stop")
            return Reply([chunk_event("Hello "), WaitFor(self.more, SOON), end], framing="chunked")
        if question == "endless":
            self.endless.append(request)
            return Reply([chunk_event("One"), Wait(None)], framing="chunked")
        if question == "tools":
            return tool_call_reply("look", {"city": "Oslo"}, ("look", {"city": "Rome"}))
        if question == "refused":
            return error_reply(429, "SECRET")
        return error_in_stream_reply("SECRET", after="Half of") if question == "broken" else text_reply("Hello.")

    def go_on(self, _: Any = None) -> None:
        self.more.set()

    def gone(self, _: Any = None) -> None:
        assert self.endless[-1].gone.wait(SOON)


def app_of(client: Client) -> Any:
    app = flask.Flask("test")

    @app.post("/v1/chat/completions")
    def completions() -> Any:
        asked = OpenAIFormat.decode_request(flask.request.get_data())
        stream = client.stream(MODEL, asked.messages, **asked.params)
        made = OpenAIFormat(include_usage=asked.include_usage)
        if asked.stream:
            return stream_response(stream, made, model=asked.model)
        whole = made.whole(stream.collect(), "chatcmpl-1", model=asked.model)
        return whole, {"content-type": "application/json"}

    return app


@pytest.fixture
def served() -> Iterator[tuple[Provider, str]]:
    """Serve the route; give the provider and the address."""
    provider = Provider()
    with Server(provider) as server, client_of(server) as client, flask_server(app_of(client)) as address:
        yield provider, address


def asked(question: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": question}]}


def test_python(served: tuple[Provider, str]) -> None:
    """Text while it arrives, usage only when asked for, calls, a whole reply, both kinds of errors, and leaving."""
    provider, address = served
    with openai.OpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0) as client:
        create = client.chat.completions.create
        text = ""
        for chunk in create(**asked("in two"), stream=True):
            text += chunk.choices[0].delta.content or ""
            if text == "Hello ":
                provider.go_on()
        assert "Hello wörld 😀" == text
        for include in (True, False):
            chunks = list(create(**asked("hello"), stream=True, stream_options={"include_usage": include}))
            usages = [chunk.usage.total_tokens for chunk in chunks if chunk.usage is not None]
            assert [18] * include == usages
            assert "m" == chunks[0].model
        with client.chat.completions.stream(**asked("tools"), tools=TOOLS) as events:  # type: ignore[arg-type]
            choice = events.get_final_completion().choices[0]
        calls = choice.message.tool_calls or []
        assert ("tool_calls", ['{"city":"Oslo"}', '{"city":"Rome"}']) == (
            choice.finish_reason,
            [call.function.arguments for call in calls],
        )
        whole = create(**asked("hello"))
        assert ("Hello.", "stop") == (whole.choices[0].message.content, whole.choices[0].finish_reason)
        with pytest.raises(openai.RateLimitError, match=MASKED):
            create(**asked("refused"), stream=True)
        parts: list[str] = []
        with pytest.raises(openai.APIError, match=MASKED):
            for chunk in create(**asked("broken"), stream=True):
                parts.append(chunk.choices[0].delta.content or "")
        assert "Half of" == "".join(parts)
        with create(**asked("endless"), stream=True) as left:
            next(iter(left))
        provider.gone()


@needs_clients
def test_npm(served: tuple[Provider, str]) -> None:
    """The same by the npm package."""
    provider, address = served
    got = run_node("openai_live.mjs", address, calls={"go on": provider.go_on, "gone": provider.gone}).result
    assert "Hello wörld 😀" == got["text"]
    assert ([18], []) == ([usage["total_tokens"] for usage in got["usage true"]], got["usage false"])
    choice = got["tools"]
    arguments = [call["function"]["arguments"] for call in choice["message"]["tool_calls"]]
    assert ("tool_calls", ['{"city":"Oslo"}', '{"city":"Rome"}']) == (choice["finish_reason"], arguments)
    assert "Hello." == got["whole"]["choices"][0]["message"]["content"]
    refused = got["refused"]
    assert (429, "RateLimitError", "") == (refused["status"], refused["kind"], refused["got"])
    assert MASKED in refused["message"]
    broken = got["broken"]
    assert ("Half of", MASKED, None) == (broken["got"], broken["message"], broken["status"])
