"""The openai packages of PyPI and npm against a server of ours that speaks the Responses API."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import attrs
import openai
import pydantic
import pytest
from openai.types.responses import Response, ResponseCompletedEvent, ResponseIncompleteEvent

from streamkit import Client, Retry, StreamkitError, providers
from streamkit.errors import RequestError
from streamkit.testing import (
    Cut,
    Reply,
    Request,
    Server,
    Wait,
    WaitFor,
    chunk_event,
    error_in_stream_reply,
    error_reply,
    reply_in,
    sse_event,
)
from streamkit.web.formats import Refusal, ResponsesFormat, WebRequest
from streamkit.web.formats.requests.responses_request import native_params
from streamkit.web.relay import relay
from tests.e2e.web.browser import needs_clients, run_node
from tests.e2e.web.support import needs_npm, run_client
from tests.unit.response_events import any_chunks
from tests.unit.support import SOON

MASKED = "An error occurred."
TEXT, THOUGHT = "Hellö 😀 world.", "Hm, so be it."
CALLS = [("look", {"city": "Oslo"}), ("look", {"city": "Rome"})]
TOOL: Any = {
    "type": "function",
    "name": "look",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
# The provider that speaks each format at an address; without those that have neither reasoning nor calls.
UPSTREAMS: dict[str, Callable[[str], providers.Provider]] = {
    "openai": lambda url: providers.OpenAI(api_key="k", base_url=url),
    "openai-responses": lambda url: providers.OpenAIResponses(api_key="k", base_url=url),
    "anthropic": lambda url: providers.Anthropic(api_key="k", base_url=url),
    "bedrock": lambda url: providers.Bedrock(api_key="k", base_url=url, region="us-east-1"),
    "gemini": lambda url: providers.Gemini(api_key="k", base_url=url),
    "gemini-interactions": lambda url: providers.GeminiInteractions(api_key="k", base_url=url),
    "cohere": lambda url: providers.Cohere(api_key="k", base_url=url),
    "ollama": lambda url: providers.Ollama(base_url=url),
}


class Weather(pydantic.BaseModel):
    """What a reply in JSON is parsed to."""

    city: str
    degrees: int


class Look(pydantic.BaseModel):
    """The arguments of the tool."""

    city: str


class Provider:
    """Answers by the question, in OpenAI's format; ``more`` lets the reply in two go on."""

    def __init__(self) -> None:
        self.more = threading.Event()
        self.endless: list[Request] = []
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: Request) -> Reply:
        body = request.json()
        self.asked.append(body)
        last = body["messages"][-1]
        question = last["content"] if last["role"] == "user" else f"{last['role']}: {last['content']}"
        if question == "in two":
            end = chunk_event("wörld 😀", finish_reason="stop")
            return Reply([chunk_event("Hello "), WaitFor(self.more, SOON), end], framing="chunked")
        if question == "endless":
            self.endless.append(request)
            return Reply([chunk_event("One"), Wait(None)], framing="chunked")
        if question == "cut":
            return Reply([chunk_event("Half of"), Cut()], framing="chunked")
        if question == "refused":
            return error_reply(429, "SECRET")
        if question == "broken":
            return error_in_stream_reply("SECRET", after="Half of")
        return reply_in("openai", **REPLIES.get(question, {"text": f"You said {question}", "usage": (7, 11)}))

    def go_on(self, _: Any = None) -> None:
        self.more.set()

    def gone(self, _: Any = None) -> None:
        assert self.endless[-1].gone.wait(SOON)


REPLIES: dict[str, dict[str, Any]] = {
    "tools": {"reasoning": THOUGHT, "text": TEXT, "tool_calls": CALLS},
    "json": {"text": '{"city":"Oslo","degrees":3}'},
    "long": {"text": TEXT, "finish_reason": "length"},
    "filtered": {"text": TEXT, "finish_reason": "content_filter"},
}


@attrs.define(eq=False)
class Gateway:
    """A WSGI application with one endpoint, over a client of ours."""

    client: Client
    model: str
    requests: list[WebRequest] = attrs.field(factory=list)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        try:
            asked = ResponsesFormat.decode_request(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            self.requests.append(asked)
            made = ResponsesFormat(request=asked)
            native = native_params(asked) if self.model.startswith("openai-responses/") else {}
            stream = self.client.stream(self.model, asked.messages, **asked.params, **native)
            if asked.stream:
                answered = relay(stream, made, id="resp_1", model=asked.model, environ=environ, heartbeat=0.1)
                return answered(environ, start_response)
            whole = made.whole(stream.collect(), "resp_1", model=asked.model, created=7)
            return answer(start_response, Refusal(200, {"content-type": "application/json"}, whole))
        except (RequestError, StreamkitError) as error:
            return answer(start_response, ResponsesFormat().refusal(error))


def answer(start_response: Any, refusal: Refusal) -> list[bytes]:
    headers = {**refusal.headers, "content-length": str(len(refusal.body))}
    start_response(f"{refusal.status} Status", list(headers.items()))
    return [refusal.body]


class _Threading(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Stay silent."""


@contextmanager
def wsgi_server(application: Any) -> Iterator[str]:
    """Serve with a thread a request; yield the address."""
    with make_server("127.0.0.1", 0, application, _Threading, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(SOON)


@contextmanager
def gateway(*replies: Any, format: str = "openai") -> Iterator[tuple[Gateway, str]]:
    """Serve a gateway in front of a provider that speaks a format; yield it, and its address."""
    with Server(*replies) as server:
        provider = UPSTREAMS[format](server.url)
        with Client([provider], retry=Retry(1), timeout=None) as client:
            application = Gateway(client, f"{provider.name}/m")
            with wsgi_server(application) as address:
                yield application, address


@pytest.fixture
def served() -> Iterator[tuple[Provider, Gateway, str]]:
    """Serve a gateway in front of ``Provider``."""
    provider = Provider()
    with gateway(provider) as (application, address):
        yield provider, application, address


@contextmanager
def client_of(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0) as client:
        yield client


def said(response: Response) -> tuple[Any, ...]:
    """Return the text of a response, its reasoning and its calls."""
    thoughts = [part.text for item in response.output if item.type == "reasoning" for part in item.summary]
    calls = [(item.name, json.loads(item.arguments)) for item in response.output if item.type == "function_call"]
    return response.output_text, "".join(thoughts), calls


# -- the Python package --------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", UPSTREAMS)
def test_python_gets_the_same_of_every_provider(format: str) -> None:
    """Text, reasoning, calls and usage, by `create` with and without a stream, and by `stream`."""
    reply = reply_in(format, TEXT, reasoning=THOUGHT, tool_calls=CALLS)
    with gateway(reply, reply, reply, format=format) as (_, address), client_of(address) as client:
        asked: dict[str, Any] = {"model": "m", "input": "hi", "tools": [TOOL]}
        events = list(client.responses.create(**asked, stream=True))
        last = events[-1]
        assert isinstance(last, ResponseCompletedEvent)
        assert TEXT == "".join(event.delta for event in events if event.type == "response.output_text.delta")
        whole = client.responses.create(**asked)
        with client.responses.stream(**asked) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
        assert [event.type for event in events] == kinds
    for response in (last.response, whole, final):
        assert (TEXT, THOUGHT, CALLS) == said(response)
        assert ("completed", False, "m") == (response.status, response.to_dict()["store"], response.model)
        assert response.usage is not None
        assert (7, 11, 18) == tuple(getattr(response.usage, f"{name}_tokens") for name in ("input", "output", "total"))
        assert 0 == response.usage.input_tokens_details.cached_tokens
        Response.model_validate(response.to_dict())  # each field that the package expects is there, and of its type


def test_python_sees_text_while_it_arrives(served: tuple[Provider, Gateway, str]) -> None:
    """The first piece is there before the second is sent; a client that leaves cancels the model."""
    provider, _, address = served
    with client_of(address) as client:
        text = ""
        for event in client.responses.create(model="m", input="in two", stream=True):
            text += event.delta if event.type == "response.output_text.delta" else ""
            if text == "Hello ":
                provider.go_on()
        assert "Hello wörld 😀" == text
        with client.responses.create(model="m", input="endless", stream=True) as left:
            next(event for event in left if event.type == "response.output_text.delta")
        provider.gone()


def test_python_calls_tools_in_turns(served: tuple[Provider, Gateway, str]) -> None:
    """The output goes back as it came, with the results; the model gets one message with its calls, then these."""
    provider, _, address = served
    with client_of(address) as client:
        items: list[Any] = [{"role": "user", "content": "tools"}]
        first = client.responses.parse(model="m", input=items, tools=[openai.pydantic_function_tool(Look, name="look")])
        calls = [item for item in first.output if item.type == "function_call"]
        assert [Look(city="Oslo"), Look(city="Rome")] == [call.parsed_arguments for call in calls]
        items += [item.to_dict() for item in first.output]
        items += [{"type": "function_call_output", "call_id": call.call_id, "output": "cold"} for call in calls]
        again = client.responses.create(model="m", instructions="Be brief.", input=items, tools=[TOOL])
    assert "You said tool: cold" == again.output_text
    roles = [message["role"] for message in provider.asked[-1]["messages"]]
    assert ["system", "user", "assistant", "tool", "tool"] == roles
    sent = provider.asked[-1]["messages"][2]
    assert TEXT == sent["content"]
    assert [call.call_id for call in calls] == [call["id"] for call in sent["tool_calls"]]


def test_python_parses_json(served: tuple[Provider, Gateway, str]) -> None:
    """To the model that was asked for, of which the provider is told."""
    provider, _, address = served
    with client_of(address) as client:
        parsed = client.responses.parse(model="m", input="json", text_format=Weather).output_parsed
        with client.responses.stream(model="m", input="json", text_format=Weather) as stream:
            streamed = stream.get_final_response().output_parsed
    assert Weather(city="Oslo", degrees=3) == parsed == streamed
    assert "Weather" == provider.asked[0]["response_format"]["json_schema"]["name"]


@pytest.mark.parametrize(("question", "why"), [("long", "max_output_tokens"), ("filtered", "content_filter")])
def test_python_sees_that_a_reply_is_not_whole(served: tuple[Provider, Gateway, str], question: str, why: str) -> None:
    """Its last event, and the response without a stream."""
    with client_of(served[2]) as client:
        last = list(client.responses.create(model="m", input=question, stream=True))[-1]
        whole = client.responses.create(model="m", input=question)
    assert isinstance(last, ResponseIncompleteEvent)
    for response in (last.response, whole):
        assert response.incomplete_details is not None
        assert ("incomplete", why, TEXT) == (response.status, response.incomplete_details.reason, response.output_text)


def test_python_reads_errors(served: tuple[Provider, Gateway, str]) -> None:
    """Before the stream by status, code and field; in it as an exception after what came; never as a whole reply."""
    with client_of(served[2]) as client:
        create = client.responses.create
        with pytest.raises(openai.BadRequestError, match="no reply is stored") as caught:
            create(model="m", input="hi", previous_response_id="resp_0")
        assert ("unsupported_parameter", "previous_response_id", "invalid_request_error") == (
            caught.value.code,
            caught.value.param,
            caught.value.type,
        )
        for stream in (True, False):
            with pytest.raises(openai.RateLimitError, match=MASKED):
                create(model="m", input="refused", stream=stream)
        for question in ("broken", "cut"):
            parts: list[str] = []
            with pytest.raises(openai.APIError, match=MASKED):
                for event in create(model="m", input=question, stream=True):
                    assert event.type != "response.completed"
                    parts.append(event.delta if event.type == "response.output_text.delta" else "")
            assert "Half of" == "".join(parts)
            with pytest.raises(openai.InternalServerError, match=MASKED):
                create(model="m", input=question)


def test_encrypted_reasoning_goes_round() -> None:
    """A client that keeps its own history sends it back, and the provider gets its own item again."""
    asked: list[dict[str, Any]] = []
    kept = {"type": "reasoning", "id": "rs_theirs", "summary": [], "encrypted_content": "gAAA"}

    def provider(request: Request) -> Reply:
        asked.append(request.json())
        message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": TEXT}]}
        last = {"id": "resp_0", "status": "completed", "output": [kept, message]}
        return Reply([sse_event({"type": "response.completed", "response": last})])

    with gateway(provider, format="openai-responses") as (_, address), client_of(address) as client:
        options: dict[str, Any] = {"model": "m", "include": ["reasoning.encrypted_content"], "store": False}
        items: list[Any] = [{"role": "user", "content": "hi"}]
        first = client.responses.create(**options, input=items)
        items += [item.to_dict() for item in first.output]
        client.responses.create(**options, input=[*items, {"role": "user", "content": "and?"}])
    assert [["reasoning.encrypted_content"]] * 2 == [body["include"] for body in asked]
    assert ["message", "reasoning", "message", "message"] == [item["type"] for item in asked[1]["input"]]
    assert kept == asked[1]["input"][1]


def test_our_own_client_reads_it(served: tuple[Provider, Gateway, str]) -> None:
    """As a provider of the same format: the gateway's errors, limits and replies are those of the API."""
    with Client([providers.OpenAIResponses(api_key="", base_url=f"{served[2]}/v1")], retry=Retry(1)) as client:
        got = client.complete("openai-responses/m", "tools")
        assert (TEXT, THOUGHT, CALLS) == (
            got.text,
            got.reasoning,
            [(call.name, call.arguments) for call in got.tool_calls],
        )
        assert ("tool_calls", 7, 11) == (got.finish_reason, got.usage.input_tokens, got.usage.output_tokens)
        assert "length" == client.complete("openai-responses/m", "long").finish_reason
        with pytest.raises(StreamkitError):
            client.complete("openai-responses/m", "broken")


# -- the npm package -----------------------------------------------------------------------------------------


@needs_clients
def test_npm(served: tuple[Provider, Gateway, str]) -> None:
    """The same by the npm package."""
    provider, _, address = served
    got = run_node("responses_live.mjs", address, {"tool": TOOL}, calls={"go on": provider.go_on}).result
    assert "Hello wörld 😀" == got["text"]
    for name in ("streamed", "whole"):
        response = got[name]
        assert ("completed", TEXT) == (response["status"], response["output_text"])
        calls = [item for item in response["output"] if item["type"] == "function_call"]
        assert CALLS == [(call["name"], json.loads(call["arguments"])) for call in calls]
        assert 18 == response["usage"]["total_tokens"]
    assert "You said tool: cold" == got["again"]
    assert {"city": "Oslo", "degrees": 3} == got["parsed"]
    assert ("incomplete", "max_output_tokens") == (got["long"]["status"], got["long"]["incomplete_details"]["reason"])
    state, refused, broken = got["state"], got["refused"], got["broken"]
    assert (400, "unsupported_parameter", "previous_response_id") == (state["status"], state["code"], state["param"])
    assert (429, "RateLimitError", "") == (refused["status"], refused["kind"], refused["got"])
    assert ("Half of", None) == (broken["got"], broken["status"])
    assert MASKED in broken["message"]


def stream_of(seed: int) -> bytes:
    status = ("complete", "suspended", "cancelled", "complete")[seed % 4]
    made = ResponsesFormat(server_tools=seed % 3 == 0)
    pieces = [made.begin("resp_1", model="m", created=1), *map(made.encode, any_chunks(seed)), made.end(status)]
    return b"".join(piece + made.heartbeat() for piece in pieces)


@needs_npm
def test_no_stream_is_an_error_to_npms_client() -> None:
    """Streams of chunks at random, with heartbeats; its helper is strict about ids and order."""
    headers = dict(ResponsesFormat.headers)
    cases = [{"name": str(seed), "body": stream_of(seed), "headers": headers} for seed in range(100)]
    got = run_client("responses.mjs", cases)
    assert {} == {name: result["error"] for name, result in got.items() if result["error"]}
    texts = {str(seed): "".join(chunk.text for chunk in any_chunks(seed) if not chunk.index) for seed in range(100)}
    assert {name: text.encode("utf-16", "surrogatepass") for name, text in texts.items()} == {
        name: result["text"].encode("utf-16", "surrogatepass") for name, result in got.items()
    }


def test_no_stream_is_an_error_to_pythons_client() -> None:
    """The same."""
    streams = iter([stream_of(seed) for seed in range(40)])

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("200 OK", list(ResponsesFormat.headers.items()))
        return [next(streams)]

    with wsgi_server(application) as address, client_of(address) as client:
        for seed in range(40):
            with client.responses.stream(model="m", input="hi") as stream:
                text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
            assert "".join(chunk.text for chunk in any_chunks(seed) if not chunk.index) == text
