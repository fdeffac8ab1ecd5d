"""The relay: bytes as they arrive, heartbeats, statuses, and the client that leaves, under bare WSGI and Flask."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from streamkit import (
    Chunk,
    Client,
    ConfigError,
    MemoryLog,
    RecvTimeout,
    Retry,
    StopEvent,
    TruncatedStreamError,
    follow,
    providers,
    publish,
)
from streamkit.testing import (
    Cut,
    Mark,
    Reply,
    Server,
    Wait,
    WaitFor,
    chunk_event,
    error_reply,
    text_reply,
    tool_call_reply,
)
from streamkit.web import client_sockets
from streamkit.web.client_sockets import bound_writes, on_leaving
from streamkit.web.formats import EventsFormat
from streamkit.web.relay import relay
from tests.unit.scripted import DONE, Scripted, texts
from tests.unit.support import SOON, Task

flask = pytest.importorskip("flask", reason="needs flask")
serving = pytest.importorskip("werkzeug.serving", reason="needs flask")


def client_of(server: Server) -> Client:
    return Client([providers.OpenAI(api_key="k", base_url=server.url)], retry=Retry(attempts=1))


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def wsgi_server(application: Callable[..., Any]) -> Iterator[int]:
    """Serve with the standard library's server, which hands over no socket."""
    with make_server("127.0.0.1", 0, application, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(SOON)


@contextmanager
def flask_server(view: Callable[[], Any]) -> Iterator[int]:
    """Serve with werkzeug's server, which hands the client's socket over."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    app = flask.Flask("test")
    app.add_url_rule("/", view_func=view)
    server = serving.make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(SOON)
        server.server_close()


def get(port: int) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON)
    connection.request("GET", "/")
    return connection.getresponse()


def events(body: bytes) -> list[tuple[str, Mapping[str, Any]]]:
    found = []
    for block in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append((fields.get("event", ""), json.loads(fields["data"])))
    return found


# without a server


def test_a_reply_in_bytes() -> None:
    """Status and headers say what the format says; each read of the provider's bytes is one piece."""
    with Server(text_reply("Hello there.")) as server, client_of(server) as client:
        relayed = relay(client.stream("openai/m", "Hi"), "events")
        assert ("200 OK", "text/event-stream") == (relayed.status, relayed.headers["content-type"])
        assert {"no-cache", "no"} == {relayed.headers["cache-control"], relayed.headers["x-accel-buffering"]}
        pieces = list(relayed)
    assert all(pieces)
    told = events(b"".join(pieces))
    assert ["Hello", " there."] == [data["content"] for _, data in told if "content" in data]
    assert ("done", "complete", 18) == (told[-1][0], told[-1][1]["status"], told[-1][1]["usage"]["total_tokens"])


def test_chunks_are_not_held_back() -> None:
    """A chunk is sent before the provider sends the next one."""
    more = threading.Event()
    reply = Reply([chunk_event("One"), WaitFor(more), chunk_event("Two")], framing="chunked")
    with Server(reply) as server, client_of(server) as client:
        relayed = iter(relay(client.stream("openai/m", "Hi"), "text"))
        assert b"One" == next(relayed)
        more.set()
        assert b"Two" == next(relayed)
        relayed.close()  # type: ignore[attr-defined]


def test_an_error_before_the_first_chunk_is_a_status() -> None:
    """A provider's refusal becomes a status of ours, with a masked text; the log has the rest."""
    for theirs, ours in ((429, 429), (503, 503), (401, 502), (500, 502)):
        with Server(error_reply(theirs)) as server, client_of(server) as client:
            relayed = relay(client.stream("openai/m", "Hi"), "events")
            assert ours == relayed.status_code
            assert [b"An error occurred."] == list(relayed)
            shown = relay(client.stream("openai/m", "Hi"), EventsFormat(show_errors=True))
            assert b"the script asked for" in b"".join(shown) or theirs == 401


@pytest.mark.parametrize("format", ["ui", "data", "openai", "events"])
def test_an_error_in_the_middle_is_told(format: str) -> None:
    """A torn reply ends with an error in the words of the format, never as if it were whole."""
    with Server(text_reply("Hello there.").first(3).then(Cut())) as server, client_of(server) as client:
        body = b"".join(relay(client.stream("openai/m", "Hi"), format))
    assert b"Hello" in body
    assert b"An error occurred." in body


def test_a_format_without_errors_is_cut() -> None:
    """Plain text has no word for an error, so the connection is cut: the relay raises."""
    with Server(text_reply("Hello there.").first(3).then(Cut())) as server, client_of(server) as client:
        relayed = iter(relay(client.stream("openai/m", "Hi"), "text"))
        with pytest.raises(TruncatedStreamError):
            list(relayed)


def test_heartbeats_while_nothing_comes() -> None:
    """Silence gives heartbeats, before the first chunk and between chunks, and the status is then 200."""
    more = threading.Event()
    with Server(Reply(before_head=[WaitFor(more)]).then(chunk_event("One"))) as server, client_of(server) as client:
        relayed = relay(client.stream("openai/m", "Hi"), "events", heartbeat=0.01, wait=0.0)
        assert "200 OK" == relayed.status
        assert {b": hb\n"} == {next(relayed) for _ in range(3)}
        more.set()
        assert b"One" in next(piece for piece in relayed if piece != b": hb\n")
        relayed.close()


def test_a_function_holds_nothing_back() -> None:
    """Text before a call is sent before the function runs."""
    sent: list[bytes] = []

    def look() -> str:
        assert b" look." in b"".join(sent)
        return "seen"

    replies = tool_call_reply("look", {}, text="Let me look."), text_reply("Seen.")
    with Server(*replies) as server, client_of(server) as client:
        for piece in relay(client.run("openai/m", "Hi", tools=[look]), "ui"):
            sent.append(piece)
    assert b'"output":"seen"' in b"".join(sent)


def test_close_cancels() -> None:
    """A server that gives up closes the iterable, and the model is cancelled; closing again does nothing."""
    ready = threading.Event()
    with Server(Reply([chunk_event("One"), Mark(ready), Wait(None)])) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi")
        relayed = relay(stream, "events")
        next(relayed)
        relayed.close()
        relayed.close()
        assert server.requests[0].gone.wait(SOON)
        assert "cancelled" == stream.status
        assert b"cancelled" in b"".join(relayed)


def test_a_stop_event_ends_it_in_order() -> None:
    """A reply that the program stops ends with the format's word for it."""
    stop = StopEvent()
    with Server(Reply([chunk_event("One"), Wait(None)])) as server, client_of(server) as client:
        relayed = relay(client.stream("openai/m", "Hi", stop=stop), "ui")
        next(relayed)
        stop.set()
        assert b'"type":"abort"' in b"".join(relayed)


def test_what_cannot_be_relayed() -> None:
    """Wrong arguments are refused at once."""
    with Server(text_reply("Hi")) as server, client_of(server) as client:
        for wrong in (3, "text", [b"x"]):
            with pytest.raises(ConfigError, match="takes a stream"):
                relay(wrong)  # type: ignore[arg-type]
        with client.stream("openai/m", "Hi") as stream:
            for options in (
                {"format": "html"},
                {"heartbeat": 0},
                {"heartbeat": None},
                {"wait": None},
                {"wait": "x"},
                {"write_timeout": 0},
            ):
                with pytest.raises(ConfigError):
                    relay(stream, **options)  # type: ignore[arg-type]


# under servers


def test_under_bare_wsgi() -> None:
    """A relay is a WSGI application; where no socket is handed over, a failing write finds out that the client left."""
    ready = threading.Event()
    replies = [text_reply("Hello there."), Reply([chunk_event("One"), Mark(ready), Wait(None)])]
    with Server(*replies) as server, client_of(server) as client:

        def application(environ: Any, start_response: Any) -> Any:
            stream = client.stream("openai/m", "Hi")
            return relay(stream, "events", heartbeat=0.02)(environ, start_response)

        with wsgi_server(application) as port:
            response = get(port)
            assert (200, "complete") == (response.status, events(response.read())[-1][1]["status"])
            response = get(port)
            assert b"One" in response.read1(1000)
            response.close()
            assert server.requests[1].gone.wait(SOON)


@pytest.mark.parametrize("phase", ["before the head", "before the first chunk", "in silence", "in a flood"])
def test_a_client_that_leaves(phase: str) -> None:
    """Where the server hands the socket over, the model is cancelled without any write, in each phase."""
    ready = threading.Event()
    reply = {
        "before the head": Reply(before_head=[Mark(ready), Wait(None)]),
        "before the first chunk": Reply([chunk_event(""), Mark(ready), Wait(None)]),
        "in silence": Reply([chunk_event("One"), Mark(ready), Wait(None)]),
        "in a flood": Reply([chunk_event("One")] * 50 + [Mark(ready), Wait(None)]),
    }[phase]
    with Server(reply) as server, client_of(server) as client:

        def view() -> Any:
            from streamkit.web.flask import stream_response

            return stream_response(client.stream("openai/m", "Hi"), "events", heartbeat=1000.0, wait=1000.0)

        with flask_server(view) as port:
            connection = socket.create_connection(("127.0.0.1", port), timeout=SOON)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert ready.wait(SOON)
            connection.close()
            assert server.requests[0].gone.wait(SOON)


def test_a_next_request_is_no_leaving() -> None:
    """Bytes that the client sends meanwhile do not count as its leaving."""
    more = threading.Event()
    reply = Reply([chunk_event("One"), WaitFor(more), chunk_event("Two", finish_reason="stop")])
    with Server(reply) as server, client_of(server) as client:
        ends = socket.socketpair()
        stream = client.stream("openai/m", "Hi")
        relayed = relay(stream, "text", environ={"gunicorn.socket": ends[0]})
        assert b"One" == next(relayed)
        ends[1].sendall(b"GET /next HTTP/1.1\r\n\r\n")
        with pytest.raises(RecvTimeout):
            stream.recv(0.1)
        more.set()
        assert b"Two" in b"".join(relayed)
        for end in ends:
            end.close()


def test_many_clients_are_watched_by_one_thread() -> None:
    """Hundreds of sockets cost one thread, which sleeps, and which ends with the last of them."""
    pairs = [socket.socketpair() for _ in range(300)]
    left = [threading.Event() for _ in pairs]
    removes = [on_leaving({"werkzeug.socket": pair[0]}, event.set) for pair, event in zip(pairs, left, strict=True)]
    watching = [thread for thread in threading.enumerate() if thread.name == "streamkit-clients"]
    assert 1 == len(watching)
    for number in range(0, 300, 3):
        pairs[number][1].close()
    for number in range(0, 300, 3):
        assert left[number].wait(SOON)
    assert not any(left[number].is_set() for number in range(1, 300, 3))
    for remove in removes:
        assert remove is not None
        remove()
        remove()
    watching[0].join(SOON)
    assert not watching[0].is_alive()
    for pair in pairs:
        for end in pair:
            end.close()


@pytest.fixture
def without_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what gevent takes away, and what only Linux has."""
    monkeypatch.delattr("select.epoll", raising=False)
    monkeypatch.setattr(client_sockets, "_watch", None)


def test_clients_are_watched_without_epoll(without_epoll: None) -> None:
    """Each socket is looked at; bytes of a next request are no leaving, nor is a watch that has ended told of one."""
    pairs = [socket.socketpair() for _ in range(4)]
    left = [threading.Event() for _ in pairs]
    removes = [on_leaving({"gunicorn.socket": pair[0]}, event.set) for pair, event in zip(pairs, left, strict=True)]
    watching = [thread for thread in threading.enumerate() if thread.name == "streamkit-clients"]
    assert 1 == len(watching)
    for remove in removes:
        assert remove is not None
    pairs[0][1].sendall(b"GET /next")
    removes[1]()  # type: ignore[misc]
    pairs[1][1].close()
    pairs[2][1].close()
    assert left[2].wait(SOON)
    pairs[3][0].sendall(b"unread")
    pairs[3][1].close()  # with bytes that were not read, which resets the connection
    assert left[3].wait(SOON)
    assert b"GET /next" == pairs[0][0].recv(100)
    assert [False, False, True, True] == [event.is_set() for event in left]
    removes[0]()  # type: ignore[misc]
    watching[0].join(SOON)
    assert not watching[0].is_alive()
    for pair in pairs:
        for end in pair:
            end.close()


def bound_of(sock: socket.socket) -> float | None:
    """Return the time that a write may take: Python's limit, or the kernel's."""
    if sys.platform != "linux":
        return sock.gettimeout()
    seconds, micros = struct.unpack("@ll", sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16))
    return seconds + micros / 1e6 or sock.gettimeout()


def test_a_write_is_bounded() -> None:
    """A write to a client that reads nothing ends with an error, and afterwards the socket is as it was."""
    ends = socket.socketpair()
    undo = bound_writes({"werkzeug.socket": ends[0]}, 0.05)
    with pytest.raises((TimeoutError, BlockingIOError)):
        ends[0].sendall(b"x" * 10_000_000)
    undo()
    assert bound_of(ends[0]) is None
    for end in ends:
        end.close()
    for environ in ({}, {"gunicorn.socket": object()}, {"gunicorn.socket": ends[0]}):
        bound_writes(environ, 1.0)()


def test_writes_are_bounded_while_a_reply_is_sent() -> None:
    """The bound holds from the first piece to the last, and not at all where there is none to be."""
    with Server(text_reply("Hello there.")) as server, client_of(server) as client:
        for bound in (7.0, None):
            ends = socket.socketpair()
            relayed = relay(client.stream("openai/m", "Hi"), environ={"gunicorn.socket": ends[0]}, write_timeout=bound)
            assert relayed.status_code == 200
            next(relayed)
            assert bound == bound_of(ends[0])
            list(relayed)
            assert bound_of(ends[0]) is None
            for end in ends:
                end.close()


def test_environments_without_a_socket() -> None:
    """Where nothing can be watched, nothing is."""
    pair = socket.socketpair()
    for end in pair:
        end.close()
    for environ in ({}, {"gunicorn.socket": None}, {"werkzeug.socket": object()}, {"gunicorn.socket": pair[0]}):
        assert on_leaving(environ, Task) is None


def test_events_of_a_reply_that_is_followed() -> None:
    """Their ids are the numbers in the log, also for a browser that came back, and for one that has all."""
    log = MemoryLog()
    publish(Scripted([*texts("a"), Chunk("reasoning", reasoning="b"), *texts("c"), DONE]), log, "x")
    for after, ids in ((0, [1, 2, 3, 4]), (2, [3, 4]), (4, [4])):
        body = b"".join(relay(follow(log, "x", after), "events")).decode()
        assert ids == [int(line[4:]) for line in body.splitlines() if line.startswith("id: ")]
        assert '"finish_reason":"stop"' in body
