"""No event that a server sends holds the interpreter for long, or is read as something that it is not."""

from __future__ import annotations

import gzip
import time

import pytest

from streamkit import APIError, ProtocolError, Retry, StreamError
from streamkit.testing import Reply, Server, chunk_event
from tests.fault.costly_events import cases, consume, longest_hold
from tests.fault.support import SOON, client_of

# Seconds; the goal is 0.05, shown by tests/benchmarks/costly_events.py, and machines are slow at times. Without
# bounds the worst of these took 12 s.
LONGEST = 0.5
WORST = [
    *("empty lists as text", "empty strings as an argument", "deep lists as an event", "small numbers as an error"),
    *("integers of 4300 digits as text", "one integer as text", "halves as text", "encoded halves as a block"),
    *("invalid UTF-8 as text", "invalid UTF-8 as a bare error", "control characters as an argument"),
    *("escapes as an error", "base64 as text", "base64 as the id", "line ends as a bare error"),
    *("many lines of data", "many lines of comments", "a string, then no JSON as an event", "base64 as an error"),
    *("as many fields as allowed as arguments", "long strings, as many as allowed as text", "arguments in text"),
]


@pytest.mark.parametrize("wanted", WORST)
def test_no_event_holds_the_interpreter(wanted: str) -> None:
    """Other threads run while the largest events are read, whatever they are made of."""
    for name, api, stream in cases(wanted):
        errors: list[StreamError | None] = []
        hold = min(longest_hold(lambda: errors.append(consume(api, stream))) for _ in range(2))  # noqa: B023
        assert hold < LONGEST, name
        assert all(error is None or isinstance(error, (ProtocolError, APIError)) for error in errors), name


def test_a_picture_goes_through() -> None:
    """One event of 15 MiB of base64 is text like any other."""
    picture = "iVBORw0K" * (15 * 1024 * 1024 // 8)
    with (
        Server(Reply([chunk_event(picture, finish_reason="stop"), "data: [DONE]\n\n"])) as server,
        client_of(server) as client,
    ):
        assert picture == client.complete("openai/gpt-4o-mini", "Hi").text


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", "application/x-ndjson"])
def test_a_small_reply_does_not_stop_the_process(content_type: str) -> None:
    """15 MiB of empty lists, 16 KB as they are sent, are refused before they are parsed."""
    lists = b'{"a":[' + b"[]," * (5 * 1024 * 1024) + b"0]}"
    body = gzip.compress(b"data: " + lists + b"\n\n" if content_type == "text/event-stream" else lists + b"\n")
    with (
        Server(Reply([body], content_type=content_type, headers={"Content-Encoding": "gzip"})) as server,
        client_of(server) as client,
    ):
        began = time.process_time()
        with pytest.raises(ProtocolError, match="structural characters") as caught:
            client.complete("openai/gpt-4o-mini", "Hi")
        assert time.process_time() - began < SOON
    assert caught.value.excerpt.startswith('{"a":[[],[]')


@pytest.mark.parametrize(
    ("content_type", "encoding", "words"),
    [
        ("text/event-stream", "compress", "'compress'"),
        ("text/event-stream", "gzip, snappy", "'snappy'"),
        ("application/json", "compress", "'compress'"),
        ("text/event-stream; charset=utf-16", "identity", "'utf-16'"),
        ('text/event-stream; foo=bar; CHARSET="UTF-16LE"', "", "'utf-16le'"),
        ("application/json; charset=utf-32", "", "'utf-32'"),
        ("application/x-ndjson; charset=utf-7", "", "'utf-7'"),
    ],
)
def test_encodings_that_cannot_be_decoded(content_type: str, encoding: str, words: str) -> None:
    """A compression or a charset that nobody here reads is named, and not tried again."""
    headers = {"Content-Encoding": encoding} if encoding else {}
    with Server(Reply([b"\x1b\x2f\x00\xf8garbage"], content_type=content_type, headers=headers)) as server:
        with client_of(server, retry=Retry(3)) as client, pytest.raises(ProtocolError, match=words):
            client.complete("openai/gpt-4o-mini", "Hi")
        assert 1 == len(server.requests)


@pytest.mark.parametrize("content_type", ["text/event-stream; charset=iso-8859-1", "text/event-stream;charset=utf8mb4"])
def test_charsets_that_servers_only_name(content_type: str) -> None:
    """Many servers name a charset by default, and send UTF-8 all the same."""
    steps = [chunk_event("ä", finish_reason="stop"), "data: [DONE]\n\n"]
    with Server(Reply(steps, content_type=content_type)) as server, client_of(server) as client:
        assert "ä" == client.complete("openai/gpt-4o-mini", "Hi").text


def test_a_refusal_that_cannot_be_decoded() -> None:
    """The status of a refusal counts, whatever its body is."""
    reply = Reply(['{"error": "x"}'], status=429, headers={"Content-Encoding": "compress"})
    with Server(reply) as server, client_of(server) as client, pytest.raises(APIError) as caught:
        client.complete("openai/gpt-4o-mini", "Hi")
    assert 429 == caught.value.status
