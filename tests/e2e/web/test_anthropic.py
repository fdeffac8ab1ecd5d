"""The anthropic packages of PyPI and npm against ``relay`` with Anthropic's format, and the recorded streams by it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streamkit import Client, Retry, providers
from streamkit.errors import RequestError, StreamkitError
from streamkit.testing import (
    Reply,
    Request,
    Server,
    Wait,
    WaitFor,
    chunk_event,
    error_in_stream_reply,
    error_reply,
    recording_reply,
    text_reply,
    tool_call_reply,
)
from streamkit.web.formats import AnthropicFormat
from streamkit.web.formats.requests.any_provider import without_anthropic_fields
from streamkit.web.relay import relay
from tests.conformance.formats import FORMATS, HELLO, decode_all, events_of
from tests.conformance.recordings import Recording, recordings
from tests.e2e.web.browser import HERE, flask_server, needs_clients, run_node
from tests.unit.support import SOON

anthropic = pytest.importorskip("anthropic", reason="needs the anthropic package")

MASKED = "An error occurred."
TOOL: dict[str, Any] = {"name": "look", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
DETAILS = {"limit": "day", "current": 1.5, "requested": 0.5, "max": 1.75}
RECORDED = {recording.name: recording for recording in recordings("anthropic-messages")}
THOUGHT = "anthropic__ol_anthropic_thinking_streaming.0"

needs_npm_package = pytest.mark.skipif(
    not (HERE / "node_modules" / "@anthropic-ai" / "sdk").is_dir(),
    reason="needs `npm install --no-package-lock` in tests/e2e/web",
)


class Provider:
    """Answers by the question, as OpenAI does, and as Anthropic where it is asked so.

    Attributes:
        asked: the bodies of all requests.
        more: set when the reply in two is to go on.
        pinged: set when a heartbeat has gone out to the client.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.more, self.pinged = threading.Event(), threading.Event()
        self.endless: list[Request] = []

    def __call__(self, request: Request) -> Reply:
        body = request.json()
        self.asked.append(body)
        if request.path.endswith("/messages"):
            recording = RECORDED[THOUGHT]
            return recording_reply(recording.body, content_type=recording.content_type)
        last = body["messages"][-1]
        question = last["content"]
        end = chunk_event("wörld 😀", finish_reason="stop")
        if last["role"] == "tool":
            return text_reply("Cold.")
        if question == "in two":
            return Reply([chunk_event("Hello "), WaitFor(self.more, SOON), end], framing="chunked")
        if question == "late":
            return Reply([WaitFor(self.pinged, SOON), chunk_event("Hello "), end], framing="chunked")
        if question == "endless":
            self.endless.append(request)
            return Reply([chunk_event("One"), Wait(None)], framing="chunked")
        if question == "tools":
            return tool_call_reply("look", {"city": "Oslo"}, ("look", {"city": "Rome"}), text="I look.")
        if question == "refused":
            return error_reply(429, "SECRET")
        return error_in_stream_reply("SECRET", after="Half of") if question == "broken" else text_reply("Hello.")

    def go_on(self, _: Any = None) -> None:
        self.more.set()

    def gone(self, _: Any = None) -> None:
        assert self.endless[-1].gone.wait(SOON)


def app_of(client: Client, provider: Provider) -> Callable[..., Iterable[bytes]]:
    """Return the route ``/v1/messages`` as a bare WSGI application."""

    def answered(body: bytes, environ: Any, start_response: Any, made: AnthropicFormat) -> Iterable[bytes]:
        asked = AnthropicFormat.decode_request(body)
        if asked.model == "dear":
            raise RequestError("too much", status=402, code="spending_limit_exceeded", details=DETAILS)
        if not asked.model.startswith("anthropic/"):
            asked = without_anthropic_fields(asked)
        model = asked.model if "/" in asked.model else f"openai/{asked.model}"
        stream = client.stream(model, asked.messages, **asked.params)
        if asked.stream:
            wait = 0.01 if asked.model == "late" else SOON
            relayed = relay(stream, made, model=asked.model, heartbeat=0.01, wait=wait)
            return watched(relayed(environ, start_response))
        whole = made.whole(stream.collect(), "msg_1", model=asked.model)
        start_response("200 OK", [("content-type", "application/json"), ("content-length", str(len(whole)))])
        return [whole]

    def watched(pieces: Iterable[bytes]) -> Iterator[bytes]:
        try:
            for piece in pieces:
                yield piece
                if b"event: ping" in piece:
                    provider.pinged.set()
        finally:
            pieces.close()  # type: ignore[attr-defined]

    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        made = AnthropicFormat(request_id="req_1")
        try:
            return answered(body, environ, start_response, made)
        except StreamkitError as error:
            refusal = made.refusal(error)
            start_response(f"{refusal.status} Refused", list(refusal.headers.items()))
            return [refusal.body]

    return application


@contextmanager
def serving() -> Iterator[tuple[Provider, str]]:
    """Serve the route; give the provider behind it, and its address."""
    provider = Provider()
    with Server(provider) as server:
        behind: list[Any] = [
            providers.OpenAI(api_key="k", base_url=server.url),
            providers.Anthropic(api_key="k", base_url=server.url),
        ]
        with Client(behind, retry=Retry(1), timeout=None) as client:
            with flask_server(app_of(client, provider)) as address:
                yield provider, address


@pytest.fixture
def served() -> Iterator[tuple[Provider, str]]:
    with serving() as both:
        yield both


@contextmanager
def client_of(address: str) -> Iterator[Any]:
    with anthropic.Anthropic(api_key="none", base_url=address, max_retries=0, timeout=SOON) as client:
        yield client


def asking(question: str, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": question}], **fields}


def test_python_reads_streams(served: tuple[Provider, str]) -> None:
    """Text while it arrives, the usage and the stop reason, by `create` and by `stream`; and leaving."""
    provider, address = served
    with client_of(address) as client:
        text = ""
        for event in client.messages.create(**asking("in two"), stream=True):
            if event.type == "content_block_delta":
                text += event.delta.text
                if text == "Hello ":
                    provider.go_on()
        assert "Hello wörld 😀" == text
        with client.messages.stream(**asking("hello", system="Be brief.")) as stream:
            assert "Hello." == "".join(stream.text_stream)
            message = stream.get_final_message()
        assert ("end_turn", "m", "assistant") == (message.stop_reason, message.model, message.role)
        assert message.usage.input_tokens > 0
        assert message.usage.output_tokens > 0
        assert {"role": "system", "content": "Be brief."} == provider.asked[-1]["messages"][0]
        with client.messages.create(**asking("endless"), stream=True) as left:
            next(iter(left))
        provider.gone()


def test_python_takes_heartbeats(served: tuple[Provider, str]) -> None:
    """Before the message begins; they are no events of the message."""
    provider, address = served
    with client_of(address) as client, client.messages.stream(**asking("late", model="late")) as stream:
        kinds = [event.type for event in stream]
        assert "Hello wörld 😀" == stream.get_final_text()
    assert provider.pinged.is_set()
    assert "message_start" == kinds[0]


def test_python_reads_whole_messages(served: tuple[Provider, str]) -> None:
    """And the schema of a reply reaches a provider of another format."""
    provider, address = served
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    with client_of(address) as client:
        message = client.messages.create(
            **asking("hello", output_config={"format": {"type": "json_schema", "schema": schema}})
        )
    assert ("Hello.", "end_turn") == (message.content[0].text, message.stop_reason)
    assert "json_schema" == provider.asked[-1]["response_format"]["type"]


def test_python_calls_tools(served: tuple[Provider, str]) -> None:
    """Two calls at once, by a stream and by a whole message; their results are understood when they come back."""
    provider, address = served
    with client_of(address) as client:
        asked = asking("tools", tools=[TOOL], tool_choice={"type": "auto", "disable_parallel_tool_use": True})
        with client.messages.stream(**asked) as stream:
            message = stream.get_final_message()
        whole = client.messages.create(**asked)
        assert comparable(whole) == comparable(message)
        assert "tool_use" == message.stop_reason
        assert ["text", "tool_use", "tool_use"] == [block.type for block in message.content]
        calls = message.content[1:]
        assert [{"city": "Oslo"}, {"city": "Rome"}] == [call.input for call in calls]
        assert (False, "look") == (
            provider.asked[0]["parallel_tool_calls"],
            provider.asked[0]["tools"][0]["function"]["name"],
        )
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": f"{at} C"} for at, call in enumerate(calls)
        ]
        told = [*asked["messages"], message.to_param(), {"role": "user", "content": results}]
        answer = client.messages.create(**{**asked, "messages": told})
    assert "Cold." == answer.content[0].text
    ran, *outcomes = provider.asked[-1]["messages"][1:]
    assert ["I look.", 2] == [ran["content"], len(ran["tool_calls"])]
    assert [("tool", calls[0].id, "0 C"), ("tool", calls[1].id, "1 C")] == [
        (each["role"], each["tool_call_id"], each["content"]) for each in outcomes
    ]


def test_python_sends_thoughts_back(served: tuple[Provider, str]) -> None:
    """A thought of Anthropic's comes with its signature, and reaches Anthropic again as it was."""
    provider, address = served
    asked = asking("think", model="anthropic/claude-x", thinking={"type": "enabled", "budget_tokens": 1024})
    with client_of(address) as client:
        with client.messages.stream(**asked) as stream:
            message = stream.get_final_message()
        thought = message.content[0]
        assert ("thinking", "text") == tuple(block.type for block in message.content)
        assert thought.thinking
        assert thought.signature
        told = [*asked["messages"], message.to_param(), {"role": "user", "content": "And?"}]
        client.messages.create(**{**asked, "messages": told})
    assert {"type": "enabled", "budget_tokens": 1024} == provider.asked[-1]["thinking"]
    sent = provider.asked[-1]["messages"][1]["content"]
    assert thought.to_dict() == sent[0]


def test_python_raises_its_errors(served: tuple[Provider, str]) -> None:
    """By the status before the first chunk, with its code; in mid-stream after what came before it."""
    _, address = served
    with client_of(address) as client:
        with pytest.raises(anthropic.RateLimitError) as refused:
            client.messages.create(**asking("refused"), stream=True)
        assert ("rate_limit_error", MASKED) == (refused.value.type, refused.value.api_message)
        with pytest.raises(anthropic.PaymentRequiredError) as dear:
            client.messages.create(**asking("hello", model="dear"))
        assert ("billing_error", "spending_limit_exceeded") == (dear.value.type, dear.value.error_code)
        assert DETAILS.items() <= dear.value.body["error"].items()
        with pytest.raises(anthropic.BadRequestError, match=r"tools\[0\] is one of Anthropic's own tools"):
            client.messages.create(**asking("hello", tools=[{"type": "web_search_20250305", "name": "web_search"}]))
        for secret in (refused.value.body, dear.value.body):
            assert "SECRET" not in json.dumps(secret)
        parts: list[str] = []
        with pytest.raises(anthropic.APIStatusError) as broken:
            for event in client.messages.create(**asking("broken"), stream=True):
                if event.type == "content_block_delta":
                    parts.append(event.delta.text)
        assert ("Half of", MASKED) == ("".join(parts), broken.value.api_message)
        with (
            pytest.raises(anthropic.APIStatusError, match=MASKED),
            client.messages.stream(**asking("broken")) as stream,
        ):
            stream.get_final_message()


def test_streamkit_reads_itself(served: tuple[Provider, str]) -> None:
    """The library's own client of Anthropic's format gets the reply, the calls, and each kind of error."""
    _, address = served
    with Client([providers.Anthropic(api_key="k", base_url=address)], retry=Retry(1)) as client:
        assert "Hello." == client.complete("anthropic/m", "hello").text
        tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
        got = client.complete("anthropic/m", "tools", tools=tools)
        assert (["Oslo", "Rome"], "tool_calls") == (
            [call.arguments["city"] for call in got.tool_calls],
            got.finish_reason,
        )
        with pytest.raises(StreamkitError) as dear:
            client.complete("anthropic/dear", "hello")
        assert ("day", 1.75) == (dear.value.limit, dear.value.max)  # type: ignore[attr-defined]
        with pytest.raises(StreamkitError, match=MASKED):
            client.complete("anthropic/m", "broken")


@needs_clients
@needs_npm_package
def test_npm(served: tuple[Provider, str]) -> None:
    """The same by the npm package."""
    provider, address = served
    calls = {"go on": provider.go_on, "gone": provider.gone}
    got = run_node("anthropic_live.mjs", address, {"tool": TOOL}, calls=calls).result
    assert "Hello wörld 😀" == got["text"]
    assert ("Hello wörld 😀", True) == (got["late"], provider.pinged.is_set())
    message = got["message"]
    assert ("Hello.", "end_turn") == (message["content"][0]["text"], message["stop_reason"])
    assert message["usage"]["input_tokens"] > 0
    assert message["usage"]["output_tokens"] > 0
    assert "Hello." == got["whole"]["content"][0]["text"]
    assert [{"city": "Oslo"}, {"city": "Rome"}] == [block["input"] for block in got["tools"]["content"][1:]]
    assert "tool_use" == got["tools"]["stop_reason"]
    assert "Cold." == got["answer"]["content"][0]["text"]
    thought = got["thought"]["content"][0]
    assert "thinking" == thought["type"]
    assert thought["signature"]
    refused, dear, broken = (got[name] for name in ("refused", "dear", "broken"))
    assert (429, "RateLimitError", "rate_limit_error") == (refused["status"], refused["kind"], refused["type"])
    assert (402, "billing_error") == (dear["status"], dear["type"])
    assert ("Half of", None) == (broken["got"], broken["status"])
    assert MASKED in broken["message"]


# -- the recorded streams --------------------------------------------------------------------------------


class Bytes:
    """A bare WSGI application that answers each request with a stream of these bytes."""

    def __init__(self) -> None:
        self.body = b""

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("200 OK", list(AnthropicFormat.headers.items()))
        return [self.body]


def comparable(message: Any) -> dict[str, Any]:
    """Return what of a message the format has words for."""
    shape = message.to_dict()
    content: list[dict[str, Any]] = []
    for block in shape["content"]:
        if block["type"] == "text" and content and content[-1]["type"] == "text":
            content[-1]["text"] += block["text"]
        elif block != {"type": "text", "text": ""}:
            left_out = ("citations", "caller", "parsed_output")
            content.append({name: value for name, value in block.items() if value is not None and name not in left_out})
    usage = shape["usage"]
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    told = {"stop_reason": shape["stop_reason"], "model": shape["model"]}
    return {**told, "content": content, "usage": {name: usage.get(name) for name in names}}


@pytest.fixture(scope="module")
def playing() -> Iterator[tuple[Bytes, Any]]:
    played = Bytes()
    with flask_server(played) as address, client_of(address) as client:
        yield played, client


# Its call is no JSON, and the package refuses both.
UNFIT = ("anthropic__sdk_incomplete_partial_json_response",)


@pytest.mark.parametrize(
    "recording",
    [recording for name, recording in RECORDED.items() if name not in UNFIT],
    ids=lambda recording: recording.name,
)
def test_python_makes_the_same_message_of_a_recording(playing: tuple[Bytes, Any], recording: Recording) -> None:
    """Of Anthropic's own stream, and of it through our chunks and this format."""
    played, client = playing
    made = AnthropicFormat()
    messages = []
    chunks = decode_all(FORMATS["anthropic-messages"]().decoder(HELLO), events_of(recording))
    model = next(chunk.model for chunk in chunks if chunk.model)
    ours = made.begin("msg_1", model=model) + b"".join(map(made.encode, chunks)) + made.end("complete")
    for played.body in (recording.body, ours):
        with client.beta.messages.stream(**asking("hello")) as stream:
            messages.append(comparable(stream.get_final_message()))
    assert messages[0] == messages[1]
