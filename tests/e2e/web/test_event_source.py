"""A browser's own ``EventSource`` against routes of the format ``events``."""

from __future__ import annotations

import threading
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
from streamkit.web.flask import stream_response
from streamkit.web.formats import EventsFormat
from tests.e2e.web.browser import flask_server, needs_browser, run_browser
from tests.unit.run_support import MODEL, client_of

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
            return Reply([chunk_event("Hello "), WaitFor(more), end], framing="chunked")
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
    assert hello["ids"] == sorted(hello["ids"])
    assert ("Half of", [["error", {"message": "An error occurred."}]]) == (broken["text"], broken["events"])
    # A status other than 200 closes it for good, and the browser tells nothing of it.
    assert ("", [], 0, 2) == (refused["text"], refused["events"], refused["connections"], refused["readyState"])
