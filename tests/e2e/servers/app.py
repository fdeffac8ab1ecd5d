"""The application that the servers serve; UPSTREAM has the address of the model, whose script is in the test."""

from __future__ import annotations

import gc
import json
import os
import resource
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flask

from streamkit import Client, Retry, Timeout, providers
from streamkit.errors import RequestError
from streamkit.web.flask import chat_blueprint, stream_response
from streamkit.web.formats import messages_in
from streamkit.web.relay import relay

NEVER = 300.0  # seconds; a limit that ends nothing in a test

client = Client(
    [providers.OpenAI(api_key="k", base_url=os.environ["UPSTREAM"])],
    timeout=Timeout(connect=NEVER, first=NEVER, idle=NEVER),
    retry=Retry(attempts=1),
)
app = flask.Flask("app")


def _times(query: Mapping[str, str]) -> dict[str, float]:
    return {name: float(query[name]) for name in ("heartbeat", "wait", "write_timeout") if name in query}


@app.get("/stream/<format>")
def stream(format: str) -> Any:
    """Ask the model, and relay its reply; the query has the times."""
    query = flask.request.args
    limit = float(query["total"]) if "total" in query else None
    reply = client.stream("openai/m", query.get("ask", "Hi"), **({"timeout": limit} if limit else {}))
    return stream_response(reply, format, **_times(query))


@app.post("/api/chat")
def chat() -> Any:
    """Answer useChat, as a route of one's own does."""
    try:
        messages = messages_in(flask.request.get_data())
    except RequestError as error:
        return str(error), error.status
    return stream_response(client.stream("openai/m", messages), **_times(flask.request.args))


@app.get("/left")
def left() -> Any:
    """Say what this worker process holds: threads, descriptors, and the most memory that it had."""
    gc.collect()
    return {
        "pid": os.getpid(),
        "threads": sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("streamkit-")),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def bare(environ: Mapping[str, Any], start_response: Callable[..., object]) -> Any:
    """The same without a framework."""
    if environ["PATH_INFO"] == "/left":
        start_response("200 OK", [("content-type", "application/json")])
        return _left_bytes()
    query = dict(pair.split("=", 1) for pair in environ.get("QUERY_STRING", "").split("&") if pair)
    format = environ["PATH_INFO"].rpartition("/")[2]
    return relay(client.stream("openai/m", "Hi"), format, **_times(query))(environ, start_response)


def _left_bytes() -> Iterator[bytes]:
    with app.test_request_context():
        yield json.dumps(left()).encode()


app.register_blueprint(chat_blueprint(client, model="openai/m", name="page"), url_prefix="/blueprint")
