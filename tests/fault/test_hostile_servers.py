"""Servers that hang, flood or break the protocol: each stream ends in time with the documented error."""

from __future__ import annotations

import json
import re
import resource
import time
from collections.abc import Callable

import pytest

import streamkit
from streamkit import (
    APIError,
    AuthenticationError,
    BadRequestError,
    BrokenStreamError,
    ConnectError,
    NotFoundError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    Retry,
    ServerError,
    StreamError,
    StreamTimeout,
    Timeout,
    TruncatedStreamError,
    providers,
)
from streamkit.streaming import attempt
from streamkit.testing import (
    Cut,
    Raw,
    Repeat,
    Reply,
    Reset,
    Send,
    Server,
    Step,
    Trickle,
    Wait,
    chunk_event,
    error_in_stream_reply,
    error_reply,
    html_reply,
    huge_event_reply,
    json_reply,
    recording_reply,
    redirect_reply,
    text_reply,
    whole_reply,
)
from tests.fault.support import LATE, NEVER, NOISE, SOON, client_of, nothing_left

HELLO = chunk_event("Hello", role="assistant")


def fails(reply: Reply, **options: object) -> tuple[StreamError, str, Server]:
    """Stream from a server that answers in this way; return the error and what came before it."""
    with nothing_left(), Server(reply) as server, client_of(server, **options) as client:
        stream = client.stream("openai/m", "Hi")
        seen = []
        with pytest.raises(StreamError) as caught:
            for chunk in stream:
                seen.append(chunk.text)
        with pytest.raises(type(caught.value)):  # closing is permanent, and so is failing
            next(stream)
        assert caught.value.partial == stream.completion
        assert "".join(seen) == stream.completion.text
        stream.close()
        return caught.value, stream.completion.text, server


def slowly(data: bytes) -> list[Step]:
    """Return the steps that send bytes one by one, without any framing."""
    return [step for byte in data for step in (Raw(bytes([byte])), Wait(0.05))]


SILENT = [
    ("never answers", Reply(before_head=[Wait(None)]), "first", ""),
    ("falls silent after the headers", Reply([Wait(None)]), "first", ""),
    ("falls silent midway", Reply([HELLO, Wait(None)]), "idle", "Hello"),
    ("sends half an event and falls silent", Reply([HELLO, b'data: {"choi', Wait(None)]), "idle", "Hello"),
    ("trickles the head", Reply(before_head=slowly(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 400)), "first", ""),
    ("trickles an event", Reply([HELLO, Trickle(b"data: " + b"x" * 400, 0.05)]), "idle", "Hello"),
    ("sends comments for ever", Reply([HELLO, Repeat(b": ping\n\n")]), "idle", "Hello"),
    ("sends slow comments for ever", Reply([HELLO, Trickle(b": ping\n\n" * 100, 0.02)]), "idle", "Hello"),
    ("sends empty deltas for ever", Reply([HELLO, Repeat(chunk_event(""))]), "idle", "Hello"),
    ("trickles a chunk's size", Reply([HELLO, *slowly(b"0" * 100)]), "idle", "Hello"),
]


@pytest.mark.parametrize(("reply", "phase", "text"), [row[1:] for row in SILENT], ids=[row[0] for row in SILENT])
def test_silence_ends_at_its_limit(reply: Reply, phase: str, text: str) -> None:
    """A server that sends nothing of use ends in a StreamTimeout of the right phase, soon after the limit."""
    began = time.monotonic()
    limits = {"first": NEVER, "idle": NEVER, phase: 0.4}  # a slow machine may take longer than that for another phase
    error, kept, _ = fails(reply, timeout=Timeout(connect=NEVER, **limits))
    assert isinstance(error, StreamTimeout)
    assert isinstance(error, TimeoutError)
    assert (phase, 0.4) == (error.phase, error.limit)
    assert text == kept
    assert time.monotonic() - began < 0.4 + LATE + NOISE


def test_the_total_limit_is_over_everything() -> None:
    """A stream that is never silent ends at the total limit, retries and back-off included."""
    error, _, _ = fails(Reply([Repeat(HELLO)]), timeout=0.3, buffer=10_000)
    assert isinstance(error, StreamTimeout)
    assert (error.phase, error.limit) == ("total", 0.3)


def test_a_back_off_does_not_outlast_the_total_limit() -> None:
    """Where the total limit leaves no room for another try, the error that ended the last one is raised at once."""
    began = time.monotonic()
    error, _, _ = fails(error_reply(503, headers={"Retry-After": "50"}), timeout=40, retry=Retry(3))
    assert isinstance(error, OverloadedError)
    assert time.monotonic() - began < NOISE


def test_a_port_that_nobody_listens_on() -> None:
    """A refused connection is a ConnectError after all tries."""
    with Server() as server:
        url = server.url
    client = streamkit.Client([streamkit.providers.OpenAI(api_key="k", base_url=url)], retry=Retry(3, backoff=0.01))
    stream = client.stream("openai/m", "Hi")
    with pytest.raises(ConnectError, match="no connection to 127") as caught:
        stream.collect()
    assert caught.value.retryable
    assert stream.stats.attempts == 3


REFUSALS: list[tuple[int, type[APIError]]] = [
    (400, BadRequestError),
    (401, AuthenticationError),
    (402, PaymentRequiredError),
    (403, PermissionDeniedError),
    (404, NotFoundError),
    (413, BadRequestError),
    (422, BadRequestError),
]


@pytest.mark.parametrize(("status", "kind"), REFUSALS)
def test_a_refusal_is_its_own_class_and_not_retried(status: int, kind: type[APIError]) -> None:
    """4xx is raised as its class with everything the provider said, after one request."""
    reply = error_reply(status, "No.", type="t", code="c", headers={"x-request-id": "req_1"})
    error, _, server = fails(reply, retry=Retry(3, backoff=0.01))
    assert isinstance(error, kind)
    assert (status, "c", "t", "req_1", False) == (
        error.status,
        error.code,
        error.type,
        error.request_id,
        error.in_stream,
    )
    assert "No." in str(error)
    assert not error.retryable
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "value"),
    [("Retry-After", "0.05"), ("retry-after-ms", "50"), ("Retry-After", "Thu, 01 Jan 2026 00:00:00 GMT")],
)
def test_a_rate_limit_is_waited_for(header: str, value: str) -> None:
    """429 is tried again after the time that the server asks for, in seconds, milliseconds or as a date."""
    with Server(error_reply(429, headers={header: value}), text_reply("Well.")) as server:
        # Without the server's word the back-off would be longer than the limit, and the error be raised at once.
        retry, timeout = Retry(2, backoff=6000, max_backoff=6000), Timeout(total=SOON)
        with client_of(server, retry=retry, timeout=timeout) as client, client.stream("openai/m", "Hi") as stream:
            assert stream.collect().text == "Well."
            assert stream.stats.attempts == 2


def test_a_long_retry_after_is_raised_at_once() -> None:
    """A server that asks for more patience than the limit gets none: its error is raised with the figure."""
    error, _, server = fails(error_reply(429, headers={"Retry-After": "600"}), retry=Retry(3))
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 600
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 529])
def test_a_passing_failure_is_retried(status: int) -> None:
    """Two failures and then an answer give the answer, from the third request."""
    replies = [error_reply(status), error_reply(status), text_reply("Well.")]
    with Server(*replies) as server, client_of(server, retry=Retry(3, backoff=0.01)) as client:
        completion = client.complete("openai/m", "Hi")
        assert (completion.text, len(server.requests)) == ("Well.", 3)


def test_tries_are_counted() -> None:
    """A failure that stays is raised after the last try."""
    error, _, server = fails(error_reply(500, "Boom"), retry=Retry(3, backoff=0.01))
    assert isinstance(error, ServerError)
    assert len(server.requests) == 3


FIRST_FAULTS = [
    ("reset before the head", Reply(before_head=[Reset()])),
    ("closed before the head", Reply(before_head=[Cut()])),
    ("reset after the head", Reply([Reset()])),
    ("closed after the head", Reply([Cut()])),
    ("clean end without an event", Reply([])),
    ("error inside a 200", error_in_stream_reply("busy", type="server_error")),
]


@pytest.mark.parametrize("reply", [row[1] for row in FIRST_FAULTS], ids=[row[0] for row in FIRST_FAULTS])
def test_what_fails_before_the_first_chunk_is_retried(reply: Reply) -> None:
    """A connection that fails, or an error inside a 200, is tried again while nothing was delivered."""
    with Server(reply, text_reply("Well.")) as server, client_of(server, retry=Retry(2, backoff=0.01)) as client:
        with client.stream("openai/m", "Hi") as stream:
            assert stream.collect().text == "Well."
            assert stream.stats.attempts == 2


LATE_FAULTS: list[tuple[str, Reply, type[StreamError]]] = [
    ("reset", Reply([HELLO, Wait(0.2), Reset()]), BrokenStreamError),
    ("closed", Reply([HELLO, Cut()]), TruncatedStreamError),
    ("closed, not chunked", Reply([HELLO], framing="close"), TruncatedStreamError),
    ("clean end", Reply([HELLO]), TruncatedStreamError),
    ("shorter than it said", Reply([HELLO, Cut()], framing="length", content_length=9999), TruncatedStreamError),
    ("error inside", error_in_stream_reply("busy", type="server_error", after="Hello"), ServerError),
]


@pytest.mark.parametrize(("reply", "kind"), [row[1:] for row in LATE_FAULTS], ids=[row[0] for row in LATE_FAULTS])
def test_after_the_first_chunk_nothing_is_retried(reply: Reply, kind: type[StreamError]) -> None:
    """A failure midway is raised after the chunks that came, which stay in the partial reply; one request."""
    error, kept, server = fails(reply, retry=Retry(3, backoff=0.01))
    assert isinstance(error, kind)
    assert kept == "Hello"
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 403])
def test_an_html_error_page(status: int) -> None:
    """A gateway's HTML page becomes the error of its status, with the page as its body."""
    error, _, _ = fails(html_reply(status))
    assert isinstance(error, APIError)
    assert error.status == status
    assert "<" in str(error.body)


@pytest.mark.parametrize("reply", [html_reply(200), Reply(["plain"], content_type="text/plain")])
def test_a_200_that_is_no_event_stream(reply: Reply) -> None:
    """HTML or plain text with status 200 is a ProtocolError with an excerpt, not an empty reply."""
    error, kept, _ = fails(reply)
    assert isinstance(error, ProtocolError)
    assert error.excerpt
    assert kept == ""


def test_a_json_body_is_delivered_as_chunks() -> None:
    """A server that ignores "stream" and answers in JSON gives a text chunk and the done chunk."""
    with Server(whole_reply("All at once.")) as server, client_of(server) as client:
        chunks = list(client.stream("openai/m", "Hi"))
    assert [("text", "All at once."), ("done", "")] == [(chunk.type, chunk.text) for chunk in chunks]
    assert chunks[-1].usage is not None


def test_an_error_as_json_with_200() -> None:
    """A JSON body with an error in it is that error, whatever the status says."""
    error, _, _ = fails(json_reply({"error": {"message": "No credit", "code": 402}}))
    assert isinstance(error, PaymentRequiredError)
    assert error.in_stream


@pytest.mark.parametrize("body", [b"[1, 2]", b"{}", b"null", b"{", b""])
def test_a_json_body_that_is_no_reply(body: bytes) -> None:
    """JSON that is neither a reply nor an error is a ProtocolError."""
    error, _, _ = fails(Reply([Send(body)] if body else [], content_type="application/json"))
    assert isinstance(error, ProtocolError)


@pytest.mark.parametrize("data", [b"data: {oops}\n\n", b"data: [1]\n\n", b"data: hello\n\n"])
def test_an_event_that_is_not_a_json_object(data: bytes) -> None:
    """A malformed event is a ProtocolError with an excerpt, after the chunks that came before."""
    error, kept, _ = fails(Reply([HELLO, data]))
    assert isinstance(error, ProtocolError)
    assert error.excerpt
    assert kept == "Hello"


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


BOMBS: list[tuple[str, Callable[[], Reply]]] = [
    ("an event of 256 MiB", lambda: huge_event_reply(256 * 2**20)),
    ("a gzip bomb", lambda: huge_event_reply(256 * 2**20, encoding="gzip")),
    ("a gzip bomb in one write", lambda: gzip_bomb()),
    ("an endless JSON body", lambda: Reply([Repeat(b'"x",' * 16384)], content_type="application/json")),
]


def gzip_bomb() -> Reply:
    import zlib

    packer = zlib.compressobj(9, wbits=31)
    body = packer.compress(b"data: ") + b"".join(packer.compress(b"x" * 2**20) for _ in range(256)) + packer.flush()
    return Reply([Send(body)], headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize("make", [row[1] for row in BOMBS], ids=[row[0] for row in BOMBS])
def test_a_bomb_is_refused_in_bounded_memory(make: Callable[[], Reply]) -> None:
    """What grows over 16 MiB is a ProtocolError, and memory has not grown by more than a few times that."""
    reply, before = make(), peak_memory()
    error, _, _ = fails(reply, timeout=Timeout(first=60))
    assert isinstance(error, ProtocolError)
    assert "16777216" in str(error)
    assert peak_memory() - before < 120 * 2**20


def test_an_error_body_without_an_end_is_cut() -> None:
    """Of an error's body 64 KiB are read, however much there is."""
    error, _, _ = fails(Reply([Repeat(b"no " * 1000)], status=500, content_type="text/plain"))
    assert isinstance(error, ServerError)
    assert len(str(error.body)) <= 64 * 1024


def test_invalid_utf8_is_replaced() -> None:
    """Bytes that are not UTF-8 become U+FFFD, and nothing else is lost."""
    body = text_reply("Hello").steps
    event = chunk_event("a?b").replace(b"?", b"\xff")
    reply = Reply([event, *body])
    with Server(reply) as server, client_of(server) as client:
        assert client.complete("openai/m", "Hi").text == "a\N{REPLACEMENT CHARACTER}bHello"


def test_a_redirect_is_not_followed() -> None:
    """The key goes to no other host: a redirect is a ProtocolError that says what to do, at once."""
    with Server(text_reply("stolen")) as other:
        error, _, _ = fails(redirect_reply(other.url + "/chat/completions"))
        assert other.requests == []
    assert isinstance(error, ProtocolError)
    assert "base_url" in str(error)


def test_a_broken_compression() -> None:
    """A body that is not compressed as its header says is a ProtocolError."""
    error, _, _ = fails(Reply([Send(b"not gzip at all")], headers={"Content-Encoding": "gzip"}))
    assert isinstance(error, ProtocolError)


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_compressed_tokens_come_through(framing: str) -> None:
    """A compressed body gives the same reply, each token as it is sent."""
    reply = text_reply("One two three.").but(encoding="gzip", framing=framing)
    with Server(reply) as server, client_of(server) as client:
        assert client.complete("openai/m", "Hi").text == "One two three."


def test_the_key_is_in_no_error() -> None:
    """A server that repeats the key gets it masked, in the message, the body and the excerpt."""
    for reply in (
        error_reply(401, "Incorrect API key provided: sk-SECRET"),
        error_in_stream_reply("bad key sk-SECRET", type="authentication_error"),
        Reply(["sk-SECRET is wrong"], content_type="text/html"),
        Reply(["data: sk-SECRET\n\n"]),
        redirect_reply("http://127.0.0.1:9/?key=sk-SECRET"),
    ):
        error, _, _ = fails(reply)
        assert "SECRET" not in f"{error} {error!r} {error.__dict__}"


def test_nothing_after_done_counts() -> None:
    """Bytes after [DONE] are not part of the reply, and the reader does not wait for them."""
    with nothing_left(), Server(text_reply("Hi").then(Repeat(chunk_event("more")))) as server:
        with client_of(server) as client:
            assert client.complete("openai/m", "Hi").text == "Hi"


def test_a_server_that_stays_after_done_delays_nobody() -> None:
    """The end is there when [DONE] is, although the server keeps the body open."""
    with nothing_left(), Server(text_reply("Hi").then(Wait(None))) as server, client_of(server) as client:
        began = time.monotonic()
        for _ in client.stream("openai/m", "Hi"):
            pass
        assert time.monotonic() - began < NOISE


def test_a_reply_without_done_is_complete() -> None:
    """A clean end after the finish reason is a normal end, with or without [DONE]."""
    body = HELLO + chunk_event(finish_reason="stop")
    with Server(recording_reply(body)) as server, client_of(server) as client:
        assert client.complete("openai/m", "Hi").finish_reason == "stop"


@pytest.mark.parametrize("rest", [Wait(None), Trickle(b": ping\n\n" * 2000, 0.01)], ids=["silence", "pings"])
def test_a_reply_whose_end_never_comes_is_complete(rest: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once every choice has its finish reason, the wait for usage and [DONE] is short, whatever `idle` says."""
    monkeypatch.setattr(attempt, "_LINGER_SECONDS", 0.2)
    began = time.monotonic()
    reply = Reply([HELLO, chunk_event(finish_reason="stop"), rest])
    with nothing_left(), Server(reply) as server, client_of(server, timeout=Timeout(idle=60)) as client:
        assert client.complete("openai/m", "Hi").finish_reason == "stop"
    assert time.monotonic() - began < NOISE


ENDS = {
    "openai-chat": (
        providers.OpenAI,
        {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]},
    ),
    "openai-responses": (
        providers.OpenAIResponses,
        {
            "type": "response.completed",
            "response": {
                "status": "completed",
                "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
            },
        },
    ),
    "gemini": (providers.Gemini, {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}),
    "ollama": (providers.Ollama, {"message": {"content": "Hi"}, "done": True, "done_reason": "stop"}),
}


@pytest.mark.parametrize("format", ENDS)
def test_an_end_that_comes_with_text_is_one(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last event may hold both text and finish reason: the stream ends soon after it."""
    monkeypatch.setattr(attempt, "_DOUBT_SECONDS", 0.2)
    kind, event = ENDS[format]
    lines = format == "ollama"
    sent = json.dumps(event) + "\n" if lines else f"data: {json.dumps(event)}\n\n"
    reply = Reply([Send(sent), Wait(None)], content_type="application/x-ndjson" if lines else "text/event-stream")
    began = time.monotonic()
    with nothing_left(), Server(reply) as server:
        provider = kind(base_url=server.url) if lines else kind(api_key="k", base_url=server.url)
        with streamkit.Client([provider], timeout=Timeout(idle=60)) as client:
            assert client.complete(f"{provider.name}/m", "Hi").text == "Hi"
    assert time.monotonic() - began < NOISE


def test_an_event_behind_the_last_words_settles_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the finish reason came with text, an event without any, such as the usage, says that it was the end."""
    monkeypatch.setattr(attempt, "_LINGER_SECONDS", 0.2)
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    reply = Reply([chunk_event("Hi", finish_reason="stop"), chunk_event(usage=usage), Wait(None)])
    began = time.monotonic()
    with nothing_left(), Server(reply) as server, client_of(server, timeout=Timeout(idle=60)) as client:
        assert client.complete("openai/m", "Hi").text == "Hi"
    assert time.monotonic() - began < NOISE


def test_a_choice_that_begins_when_all_seemed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may work off several prompts one by one: a late one has the time that it needs."""
    monkeypatch.setattr(attempt, "_LINGER_SECONDS", 0.5)
    late = [Wait(0.02), Send(chunk_event("b", index=1))] * 40
    reply = Reply([HELLO, chunk_event(finish_reason="stop"), *late, chunk_event(index=1, finish_reason="stop")])
    with nothing_left(), Server(reply) as server, client_of(server) as client:
        assert [choice.text for choice in client.complete("openai/m", "Hi").choices] == ["Hello", "b" * 40]


@pytest.mark.parametrize("thoughts", [False, True])
def test_a_finish_reason_on_every_piece(thoughts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some servers say stop with each piece, or with an empty first one: the time for more begins anew with each."""
    monkeypatch.setattr(attempt, "_LINGER_SECONDS", 0.2)
    monkeypatch.setattr(attempt, "_DOUBT_SECONDS", 3.0)
    pieces = [step for _ in range(15) for step in (Send(chunk_event("a", finish_reason="stop")), Wait(0.3))]
    first = [Send(chunk_event(finish_reason="stop")), Wait(0.6)] if thoughts else []
    with nothing_left(), Server(Reply([*first, *pieces])) as server, client_of(server) as client:
        assert client.complete("openai/m", "Hi").text == "a" * 15


def test_an_error_outside_the_events() -> None:
    """llama.cpp's field `error`, and bare JSON, are errors that keep the chunks before them, and not a normal end."""
    for words in (
        'error: {"code":400,"message":"the prompt is too long"}\n\n',
        '{"error": {"code": 400, "message": "the prompt is too long"}}',
    ):
        error, text, _ = fails(Reply([HELLO, Send(words)]))
        assert isinstance(error, BadRequestError)
        assert "too long" in str(error)
        assert (text, error.partial.text) == ("Hello", "Hello")


def test_a_key_is_masked_before_its_text_is_cut() -> None:
    """A key at the end of an excerpt is masked whole."""
    key = "sk-" + "S3CRET" * 30
    for reply in (
        Reply([b"data: " + b"x" * 400 + key.encode() + b"\n\n"]),
        Reply(["x" * 400 + key], content_type="text/html"),
        Reply(["x" * 400 + key], status=401, content_type="text/plain"),
    ):
        with Server(reply) as server:
            provider = streamkit.providers.OpenAI(api_key=key, base_url=server.url)
            with streamkit.Client([provider], retry=1) as client, pytest.raises(StreamError) as caught:
                client.complete("openai/m", "Hi")
        assert "S3C" not in f"{caught.value} {caught.value.__dict__}"
        assert len(getattr(caught.value, "excerpt", "")) <= 512


def test_an_interim_response_is_passed_over() -> None:
    """Early hints are no answer, and leave nothing behind for the next stream on the connection."""
    hints = [Raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), Raw(b"HTTP/1.1 102 Processing\r\n\r\n")]
    replies = [text_reply("One").but(before_head=hints), text_reply("Two")]
    with Server(*replies) as server, client_of(server) as client:
        assert [client.complete("openai/m", "Hi").text for _ in replies] == ["One", "Two"]
        assert server.connections == 1


OVER_A_BOUND = [
    ("interim responses", Raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50)),
    ("interim responses of another kind", Raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 50)),
    ("headers", Raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101)),
    ("bytes of headers", Raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000)),
    ("headers", Raw(b"HTTP/1.1 103 Early Hints\r\n" + b"X: y\r\n" * 101)),
]


@pytest.mark.parametrize(("what", "head"), OVER_A_BOUND)
def test_a_head_over_its_bounds(what: str, head: Raw) -> None:
    """More interim responses or headers than there may be are a ProtocolError, and not asked for again."""
    reply = Reply(before_head=[head, Wait(None)])
    error, _, server = fails(reply, timeout=Timeout(first=60), retry=Retry(3, backoff=0.01))
    assert isinstance(error, ProtocolError)
    assert re.search(rf"has more than \d+ {what.partition(' of another')[0]}", str(error))
    assert not error.retryable
    assert len(server.requests) == 1


def test_a_head_within_its_bounds() -> None:
    """16 interim responses and 90 headers of a server's own are read over, on a connection that is used again."""
    hints = [Raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" * 8)]
    many = [(f"X-{number}", "y" * 500) for number in range(90)]
    with Server(text_reply("Hi").but(before_head=hints, headers=many)) as server, client_of(server) as client:
        assert [client.complete("openai/m", "Hi").text for _ in range(2)] == ["Hi", "Hi"]
        assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(403, False), (407, False), (404, False), (301, False), (429, True), (502, True), (503, True)],
)
def test_a_proxy_that_refuses(status: int, retryable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that will not connect is a ConnectError with its words, asked again only where that may help."""
    refusal = Reply(status=status, content_type=None, framing="length")
    with nothing_left(), Server(refusal) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:hush@127.0.0.1:{proxy.port}")
        provider = providers.OpenAI(api_key="k", base_url="https://far.invalid/v1")
        with streamkit.Client([provider], retry=Retry(2, backoff=0.01)) as client:
            stream = client.stream("openai/m", "Hi")
            with pytest.raises(
                ConnectError, match=rf"through the proxy .*: Tunnel connection failed: {status}"
            ) as caught:
                stream.collect()
        assert retryable == caught.value.retryable
        assert (2 if retryable else 1) == stream.stats.attempts == len(proxy.requests)
    assert "hush" not in str(caught.value)


def test_bytes_after_done_delay_nobody() -> None:
    """A server that trickles on after [DONE] neither holds the end up nor turns it into a timeout."""
    began = time.monotonic()
    with nothing_left(), Server(text_reply("Hi").then(Trickle(b": ping\n\n" * 2000, 0.005))) as server:
        with client_of(server, timeout=Timeout(first=60, idle=5)) as client, client.stream("openai/m", "Hi") as stream:
            assert stream.collect().text == "Hi"
            assert stream.status == "complete"
    assert time.monotonic() - began < NOISE


def test_a_refusal_whose_body_hangs() -> None:
    """The status of a refusal counts, although its body never ends."""
    reply = Reply([Send('{"error": '), Wait(None)], status=401, content_type="application/json")
    error, _, _ = fails(reply, timeout=Timeout(first=60, idle=60))
    assert isinstance(error, AuthenticationError)


def test_a_compressed_flood_is_handed_over_in_bounds() -> None:
    """A few KB that decompress to half a million chunks are not all decoded while no consumer takes them."""
    import gzip

    body = gzip.compress(chunk_event("x") * 300_000)
    reply = Reply([Send(body), Wait(None)], headers={"Content-Encoding": "gzip"})
    with nothing_left(), Server(reply) as server, client_of(server) as client:
        before = peak_memory()
        stream = client.stream("openai/m", "Hi", buffer=16)
        for _ in range(2000):
            next(stream)
        assert stream.stats.queue_peak <= 16
        assert stream.stats.chunks < 10_000
        stream.close()
        assert peak_memory() - before < 60 * 2**20


def test_a_provider_that_fails_is_heard_of() -> None:
    """A provider of a user's own that cannot make its decoder ends the stream with an error, not in silence."""

    class Broken(streamkit.providers.OpenAI):
        def decoder(self, chat: object) -> object:  # type: ignore[override]
            raise ZeroDivisionError

    with Server() as server, streamkit.Client([Broken(api_key="k", base_url=server.url)], timeout=None) as client:
        with pytest.raises(StreamError, match="ZeroDivisionError"):
            client.complete("openai/m", "Hi")
