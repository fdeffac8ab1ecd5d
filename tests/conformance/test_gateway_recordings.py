"""Every recording behind the gateway: each client gets the reply that it is without the gateway, or its error."""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamkit import APIError, Client, Completion, StreamError, providers
from streamkit.gateway.config.values import ModelConfig, UpstreamConfig
from streamkit.providers import Provider
from streamkit.testing import Reply, Request, Server, recording_reply
from streamkit.transport.sse import Guard
from streamkit.values.chunks import Usage
from streamkit.values.completion import Fold
from streamkit.wire.secrets import Masked
from tests.conformance.formats import FORMATS, HELLO
from tests.conformance.judge import Outcome, Reading, framed, unlogged
from tests.conformance.recordings import Recording, recordings
from tests.unit.gateway_server import PRICES, Served, config, served

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy")

# What a recording is of, by its folder, and the options that this kind has to have.
KINDS: Mapping[str, str] = {
    "openai-chat": "compatible",
    "openai-responses": "openai-responses",
    "openai-completions": "openai-completions",
    "anthropic-messages": "anthropic",
    "bedrock-converse": "bedrock",
    "gemini": "gemini",
    "gemini-interactions": "gemini-interactions",
    "cohere-chat-v2": "cohere",
    "ollama-ndjson": "ollama",
}
OPTIONS = {"bedrock-converse": {"region": "us-east-1"}}
THINKING = {"type": "enabled", "budget_tokens": 1024}  # without it a client of Anthropic's format is shown no thoughts
LAST = {"openai-chat": b"[DONE]", "openai-responses": b'"response.completed"', "anthropic-messages": b"message_stop"}


@attrs.frozen
class ClientFormat:
    """A format that clients speak, by the folder of its recordings.

    Attributes:
        path: of the endpoint.
        body: returns a request's body, for a model and a number of choices.
    """

    name: str
    path: str
    body: Callable[[str, int], dict[str, Any]]

    def choices(self, recording: Recording) -> int:
        """Return how many choices a request can ask for."""
        return recording.choices if self.name == "openai-chat" else 1


def chat(model: str, choices: int) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    asked["stream_options"] = {"include_usage": True}
    return {**asked, "n": choices} if choices > 1 else asked


def claude(model: str) -> dict[str, Any]:
    asked = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2000}
    return {**asked, "thinking": THINKING}


CLIENTS = [
    ClientFormat("openai-chat", "/v1/chat/completions", chat),
    ClientFormat("openai-responses", "/v1/responses", lambda model, _: {"model": model, "input": "Hello"}),
    ClientFormat("anthropic-messages", "/v1/messages", lambda model, _: claude(model)),
]


def streams(api: str) -> list[Recording]:
    """Return the recordings of streams; one that is abridged says in its last event what its deltas do not."""
    return [
        each
        for each in recordings(api)
        if each.content_type != "application/json" and "text_from_deltas" not in each.expected
    ]


@attrs.frozen
class Answer:
    """A response as a WSGI server would send it."""

    status: int
    content_type: str
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class Behind:
    """A gateway with recordings behind it, each of them a model: ``r0``, ``r1`` and so on."""

    served: Served
    recordings: Sequence[Recording]

    def ask(self, client: ClientFormat, number: int, *, stream: bool) -> Answer:
        """Call the application, without a socket between: the bytes are those that a server would send."""
        asked = client.body(f"r{number}", client.choices(self.recordings[number]))
        body = json.dumps({**asked, "stream": stream}).encode()
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": client.path,
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_AUTHORIZATION": f"Bearer {self.served.token}",
            "wsgi.input": io.BytesIO(body),
        }
        head: list[Any] = []
        data = bytearray()

        def start_response(*given: Any) -> Callable[[bytes], None]:
            head[:] = given
            return data.extend

        iterable: Any = self.served.gateway(environ, start_response)
        try:
            for piece in iterable:
                data += piece
        finally:
            if hasattr(iterable, "close"):
                iterable.close()
        return Answer(int(head[0].partition(" ")[0]), dict(head[1])["content-type"], bytes(data))


@contextmanager
def behind(folder: Path, api: str, bodies: Sequence[Recording]) -> Iterator[Behind]:
    """Serve a gateway whose provider answers with these bodies."""

    def answer(request: Request) -> Reply:
        found = re.search(rb"\br(\d+)\b", request.path.encode() + b" " + request.body)
        assert found is not None, request.path
        recording = bodies[int(found[1])]
        return recording_reply(recording.body, content_type=recording.content_type)

    with Server(answer) as server:
        # A provider each, so that many broken replies in a row do not open the circuit of one.
        names = range(len(bodies))
        key = None if api == "ollama-ndjson" else Masked("provider-key-1234567890")
        made = config(
            folder,
            upstreams=tuple(
                UpstreamConfig(f"up{each}", KINDS[api], server.url, key, options=OPTIONS.get(api, {})) for each in names
            ),
            models=tuple(ModelConfig(f"r{each}", ((f"up{each}/r{each}", 1),), **PRICES) for each in names),
        )
        with served(made, balance="unlimited", dollars=0) as gateway, unlogged():
            yield Behind(gateway, bodies)


def read(provider: Provider, kind: str, body: bytes, choices: int = 1) -> Outcome:
    """Return what our own client makes of a stream whose bytes end well."""
    guard = Guard(bare_errors=True)
    reading = Reading(provider, "m", choices).read(framed(kind, [body], guard))
    return reading.outcome("finish", torn=guard.torn)


def read_whole(client: ClientFormat, body: bytes) -> Completion:
    decoder = FORMATS[client.name]().decoder(HELLO)
    made = Fold()
    made.add([*decoder.decode_whole(json.loads(body)), decoder.finish()])
    return made.completion()


# -- what a format can say -------------------------------------------------------------------------------


def counts(usage: Usage) -> tuple[int, ...]:
    """Return a usage as every format can tell it: the prompt with what was cached, and 0 for an unknown number."""
    given, made, cached = usage.input_tokens or 0, usage.output_tokens or 0, usage.cached_tokens or 0
    if usage.cached_apart:
        given += cached + (usage.cache_write_tokens or 0)
    return given, made, cached, usage.reasoning_tokens or 0


def reason_of(client: ClientFormat, completion: Completion) -> str | None:
    """Return the finish reason in the words that a format has; none has one for a reason that no server gave."""
    reason = completion.finish_reason
    if client.name == "anthropic-messages" and completion.refusal:
        return "content_filter"
    if reason != "other" or completion.raw_finish_reason == "pause_turn":
        return reason
    return "tool_calls" if completion.tool_calls else "stop"


def said(client: ClientFormat, completion: Completion) -> dict[str, Any]:
    """Return what a client of a format gets to know of a reply."""
    return {
        "text": completion.text,
        "reasoning": completion.reasoning,
        "refusal": completion.refusal,
        "calls": [(call.id, call.name) for call in completion.tool_calls],
        "finish_reason": reason_of(client, completion),
        "usage": counts(completion.usage),
    }


def arguments_of(completion: Completion) -> list[Any]:
    """Return the arguments of the calls, by value; the text where they are none."""
    return [call.raw_arguments if call.arguments is None else call.arguments for call in completion.tool_calls]


def events_in(kind: str, body: bytes) -> list[tuple[str, str]]:
    """Return the events of a stream; ``message`` is the name of one that has none."""
    return [(each.event or "message", each.data) for each in framed(kind, [body])]


# -- the tests -------------------------------------------------------------------------------------------


def problems_of(check: Callable[[int], object], bodies: Sequence[Recording]) -> dict[str, str]:
    """Return what a check has to say of each recording, by its name."""
    found = {}
    for number, recording in enumerate(bodies):
        try:
            check(number)
        except Exception as error:
            found[recording.name] = f"{type(error).__name__}: {error}"
    return found


PAIRS = [pytest.param(api, client, id=f"{api}-to-{client.name}") for api in KINDS for client in CLIENTS]


@pytest.mark.parametrize(("api", "client"), PAIRS)
def test_a_reply_is_the_same_behind_the_gateway(api: str, client: ClientFormat, tmp_path: Path) -> None:
    """Streamed and whole: text, reasoning, calls, finish reason and usage; in its own format each event as it came."""
    bodies = streams(api)

    def check(number: int) -> None:
        recording = bodies[number]
        choices = client.choices(recording)
        direct = read(FORMATS[api](), recording.content_type, recording.body, choices)
        check_stream(api, client, recording, direct, gateway.ask(client, number, stream=True))
        check_whole(client, direct, gateway.ask(client, number, stream=False))

    with behind(tmp_path, api, bodies) as gateway:
        problems = problems_of(check, bodies)
        assert not problems, "\n".join(f"{name}: {what}" for name, what in problems.items())
        assert [] == gateway.served.gateway._payments.ledger.check()
        assert 2 * len(bodies) == len(gateway.served.charges())


def check_stream(api: str, client: ClientFormat, recording: Recording, direct: Outcome, answer: Answer) -> None:
    """Check the response to a request for a stream."""
    if answer.status != 200:
        assert direct.error is not None, answer.body
        assert direct.completion.text == ""
        assert_error(client, answer)
        return
    assert answer.content_type.startswith("text/event-stream")
    got = read(FORMATS[client.name](), answer.content_type, answer.body, client.choices(recording))
    expected, seen = direct.completion, got.completion
    if direct.error is not None:
        assert isinstance(got.error, APIError), "no error event"
        assert LAST[client.name] not in answer.body
        assert (expected.text, expected.reasoning) == (seen.text, seen.reasoning)
        return
    assert got.error is None
    if api == client.name:
        assert expected == seen
        check_passed(recording, answer)
        return
    assert said(client, expected) == {**said(client, seen), "finish_reason": seen.finish_reason}
    assert arguments_of(expected) == arguments_of(seen)
    for choice, other in zip(expected.choices, seen.choices, strict=client.name == "openai-chat"):
        assert (choice.text, choice.tool_calls) == (other.text, other.tool_calls)


def check_passed(recording: Recording, answer: Answer) -> None:
    """Check that the events of a reply have passed as they came, up to its end."""
    came, passed = events_in(recording.content_type, recording.body), events_in(answer.content_type, answer.body)
    if passed[-1] == ("message", "[DONE]") != came[-1]:
        passed.pop()  # the terminator that some servers leave out
    assert came[: len(passed)] == passed
    rest = "".join(data for _, data in came[len(passed) :])
    assert "choices" not in rest, "what is left out is behind the end"
    assert "delta" not in rest


def check_whole(client: ClientFormat, direct: Outcome, answer: Answer) -> None:
    """Check the response to a request for one piece of JSON."""
    if direct.error is not None:
        assert_error(client, answer)
        return
    assert 200 == answer.status, answer.body
    assert "application/json" == answer.content_type
    expected, seen = direct.completion, read_whole(client, answer.body)
    assert said(client, expected) == {**said(client, seen), "finish_reason": seen.finish_reason}
    found = arguments_of(seen)
    if client.name == "anthropic-messages":  # an input is an object there
        found = [each.get("INVALID_JSON", each) for each in found]
    assert arguments_of(expected) == found


def assert_error(client: ClientFormat, answer: Answer) -> None:
    """Check that a response is an error in the client's format."""
    assert 400 <= answer.status < 600
    shape = json.loads(answer.body)
    assert shape["error"]["message"]
    if client.name == "anthropic-messages":
        assert "error" == shape["type"]


def cut(recording: Recording) -> Recording:
    """Return a recording that ends at some place after its first event."""
    at = random.Random(recording.name).randrange(len(recording.body) // 8, len(recording.body) * 7 // 8)
    return attrs.evolve(recording, body=recording.body[:at])


@pytest.mark.parametrize(("api", "client"), PAIRS)
def test_a_reply_without_an_end_is_an_error(api: str, client: ClientFormat, tmp_path: Path) -> None:
    """Where it breaks off the client gets an error, streamed and whole, after the text that had come."""
    bodies = [cut(each) for each in streams(api)]
    broken = []

    def check(number: int) -> None:
        recording = bodies[number]
        direct = read(FORMATS[api](), recording.content_type, recording.body, client.choices(recording))
        check_stream(api, client, recording, direct, gateway.ask(client, number, stream=True))
        check_whole(client, direct, gateway.ask(client, number, stream=False))
        broken.append(direct.error is not None)

    with behind(tmp_path, api, bodies) as gateway:
        problems = problems_of(check, bodies)
        assert not problems, "\n".join(f"{name}: {what}" for name, what in problems.items())
        assert [] == gateway.served.gateway._payments.ledger.check()
    assert any(broken)


PROVIDERS: dict[str, Callable[[str, str], Provider]] = {
    "openai-chat": lambda key, url: providers.OpenAI(api_key=key, base_url=url),
    "openai-responses": lambda key, url: providers.OpenAIResponses(api_key=key, base_url=url),
    "anthropic-messages": lambda key, url: providers.Anthropic(api_key=key, base_url=url),
}


@pytest.mark.parametrize(("api", "client"), PAIRS)
def test_over_sockets(api: str, client: ClientFormat, tmp_path: Path) -> None:
    """Our own client in each format, at the gateway's address, gets the same as from the provider itself."""
    bodies = random.Random(api).sample(streams(api), min(3, len(streams(api))))
    with behind(tmp_path, api, bodies) as gateway:
        address = f"http://127.0.0.1:{gateway.served.port}/v1"
        provider = PROVIDERS[client.name](gateway.served.token, address)
        with Client([provider], retry=1, timeout=60) as asking:
            for number, recording in enumerate(bodies):
                check_asking(asking, f"{provider.name}/r{number}", api, client, recording)


def check_asking(asking: Client, model: str, api: str, client: ClientFormat, recording: Recording) -> None:
    """Check that our client gets from the gateway what a recording says."""
    choices = client.choices(recording)
    direct = read(FORMATS[api](), recording.content_type, recording.body, choices)
    options: dict[str, Any] = {"n": choices} if choices > 1 else {}
    if client.name == "anthropic-messages":
        options = {"max_tokens": 2000, "thinking": THINKING}
    with asking.stream(model, "Hello", **options) as stream:
        with nullcontext() if direct.error is None else pytest.raises(StreamError):
            stream.collect()
        got = stream.completion
    if direct.error is not None:
        assert direct.completion.text == got.text
        return
    assert said(client, direct.completion) == {**said(client, got), "finish_reason": got.finish_reason}
    assert arguments_of(direct.completion) == arguments_of(got)
