"""A browser's own ``EventSource`` against routes of the format ``events``."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from typing import Any

import pytest

from streamkit.testing import (
    Reply,
    Request,
    Server,
    WaitFor,
    chunk_event,
    error_in_stream_reply,
    error_reply,
    tool_call_reply,
)
from streamkit.web.flask import chat_blueprint, stream_response
from streamkit.web.formats import EventsFormat
from tests.e2e.web.browser import flask_server, needs_browser, run_browser
from tests.unit.run_support import MODEL, client_of
from tests.unit.support import SOON

flask = pytest.importorskip("flask", reason="needs flask")


@needs_browser
def test_stream_response() -> None:
    """Text as messages while it arrives, all else as named events; both kinds of errors; and nothing is asked twice."""
    more = threading.Event()

    def look(city: str) -> str:
        """Look."""
        return f"3 degrees in {city}"

    def answer(request: Request) -> Reply:
        messages = request.json()["messages"]
        if messages[-1]["content"] == "refused":
            return error_reply(429, "SECRET")
        if messages[-1]["content"] == "broken":
            return error_in_stream_reply("SECRET", after="Half of")
        if messages[-1]["role"] == "tool":
            end = chunk_event("wörld\n😀", finish_reason="stop")
            return Reply([chunk_event("Hello "), WaitFor(more, SOON), end], framing="chunked")
        return tool_call_reply("look", {"city": "Oslo"})

    with Server(answer) as server, client_of(server) as client:
        app = flask.Flask("test")
        app.add_url_rule("/", "page", lambda: "<!doctype html><title>Events</title>")

        @app.get("/ask")
        def ask() -> Any:
            asked = EventsFormat.decode_request(flask.request.query_string)
            return stream_response(client.run(MODEL, asked.messages, tools=[look]), "events")

        given = {"paths": [f"/ask?prompt={each}" for each in ("hello", "broken", "refused")], "text": "Hello "}
        with flask_server(app) as address:
            hello, broken, refused = run_browser(
                "events.mjs", address, given, calls={"go on": lambda _: more.set()}
            ).result
        assert 4 == len(server.requests)  # two rounds of the first, one of each other
    assert ("Hello wörld\n😀", 1) == (hello["text"], hello["connections"])
    names = [name for name, _ in hello["events"]]
    assert "tool_call" == names[0]
    assert ["tool_result", "done"] == names[-2:]
    assert "3 degrees in Oslo" == hello["events"][-2][1]["result"]
    assert ("complete", "stop") == (hello["events"][-1][1]["status"], hello["events"][-1][1]["finish_reason"])
    numbers = [int(id) for id in hello["ids"]]
    assert numbers == sorted(numbers)
    assert ("Half of", [["error", {"message": "An error occurred."}]]) == (broken["text"], broken["events"])
    # A status other than 200 closes it for good, and the browser tells nothing of it.
    assert ("", [], 0, 2) == (refused["text"], refused["events"], refused["connections"], refused["readyState"])


@needs_browser
@pytest.mark.slow  # a browser waits for some seconds before it connects again
def test_chat_blueprint() -> None:
    """A connection that is lost, before the first event too, is made again, and each chunk comes once.

    At the end the browser is told not to connect again.
    """
    pieces = ["One ", "two\n", "three "]
    go_on = [threading.Event() for _ in range(5)]  # the last for nobody
    steps: list[Any] = [WaitFor(go_on[0], SOON)]
    for piece, event in zip(pieces, go_on[1:], strict=False):
        steps += [chunk_event(piece), WaitFor(event, SOON)]
    connections: list[Any] = []
    with (
        Server(Reply([*steps, chunk_event("four.", finish_reason="stop")], framing="chunked")) as server,
        client_of(server) as client,
    ):
        app = flask.Flask("test")
        app.register_blueprint(chat_blueprint(client, model=MODEL))
        app.add_url_rule("/page", "page", lambda: "<!doctype html><title>Events</title>")

        @app.before_request
        def remember() -> None:
            if flask.request.path.endswith("/events"):
                connections.append(
                    (flask.request.environ["werkzeug.socket"], flask.request.headers.get("Last-Event-ID"))
                )

        def lose(number: int) -> None:
            """Lose the first three connections: before the first event, after it, and after the second one."""
            if number < 3:
                connections[-1][0].shutdown(socket.SHUT_RDWR)
            go_on[number].set()

        def asked(_: Any) -> None:
            server.wait_for_requests(1)
            lose(0)

        given = {"paths": ["/api/chat/chat-1/events?prompt=Hi&message=u1"], "page": "/page", "stays": True}
        with flask_server(app) as address:
            [got] = run_browser("events.mjs", address, given, calls={"asked": asked, "got": lose}).result
            history = json.loads(urllib.request.urlopen(f"{address}/api/chat/chat-1", timeout=SOON).read())
    assert "One two\nthree four." == got["text"]
    assert len(set(got["ids"])) == len(got["ids"]) == 5
    assert ["done"] == [name for name, _ in got["events"]]
    # Three were lost, one gave the rest, and the last was answered with 204.
    assert [None, None, got["ids"][0], got["ids"][1], got["ids"][-1]] == [last for _, last in connections]
    assert 2 == got["readyState"]
    assert 1 == len(server.requests)
    assert ("u1", "One two\nthree four.") == (history["messages"][0]["id"], history["messages"][1]["parts"][-1]["text"])
