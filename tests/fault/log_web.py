"""A web app that relays replies from a log: run by gunicorn, see test_logs_away.py. ``LOG`` has the address."""

from __future__ import annotations

import os

from flask import Flask, Response, request

from streamkit import RedisLog, follow
from streamkit.web.flask import stream_response

web = Flask(__name__)
log = RedisLog(os.environ["LOG"], lease=2.0)


@web.get("/replies/<id>")
def reply(id: str) -> Response:
    return stream_response(follow(log, id, request.headers.get("Last-Event-ID", "")), format="events")


@web.get("/pid")
def pid() -> str:
    return str(os.getpid())
