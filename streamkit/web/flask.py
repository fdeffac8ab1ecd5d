"""Streams in Flask: ``stream_response``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.web.formats import Format
from streamkit.web.relay import relay

if TYPE_CHECKING:
    from flask import Response

__all__ = ["stream_response"]


def stream_response(stream: ChunkStream, format: str | Format = "ui", **options: Any) -> Response:
    """Return a Flask response that relays a stream to the browser of the current request.

    ::

        @app.post("/api/chat")
        def chat():
            return stream_response(client.stream(MODEL, request.json["question"]), format="events")

    Args:
        stream: a ``Stream``, a ``Run``, or the stream of a conversation's turn.
        format: as in ``relay``.
        options: further arguments of ``relay``, such as ``heartbeat``.

    Raises:
        ConfigError: Flask is not installed, or an argument is wrong.
    """
    flask = _flask()
    environ = flask.request.environ if flask.has_request_context() else None
    relayed = relay(stream, format, environ=environ, **options)
    try:
        response: Response = flask.Response(
            relayed, status=relayed.status_code, headers=relayed.headers, direct_passthrough=True
        )
    except BaseException:
        relayed.close()
        raise
    return response


def _flask() -> Any:
    """Return the module ``flask``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return late_import("flask")
    except ImportError as error:
        raise ConfigError('Flask is not installed: pip install "streamkit[flask]"') from error
