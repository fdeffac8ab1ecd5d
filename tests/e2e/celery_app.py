"""A Celery app, and the web app that follows its tasks: both run in processes of their own, see test_celery.py.

The environment has the addresses: ``BROKER``, ``LOG``, ``MODEL``; and ``LEASE``, in seconds.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from flask import Flask, Response, request

from streamkit import Client, Completion, RateLimitError, RedisLog, StreamError, follow, providers
from streamkit.web.flask import stream_response
from streamkit.workers.celery import StreamTask

app = Celery("tests", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    result_extended=True,
    broker_transport_options={
        "visibility_timeout": float(os.environ.get("VISIBILITY", "3600")),
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
    worker_hijack_root_logger=False,
)
log = RedisLog(os.environ["LOG"], lease=float(os.environ.get("LEASE", "20")))
client = Client([providers.OpenAI(api_key="k", base_url=os.environ["MODEL"])], retry=1)
# Both have connections before the fork, which the children must not use.
log.status("before the fork")
if os.environ.get("WARM"):
    client.complete("openai/m", "warm")


@app.task(bind=True, base=StreamTask, log=log)
def answer(self: StreamTask, question: str) -> dict[str, Any]:
    return self.publish(lambda: client.stream("openai/m", question))


@app.task(bind=True, base=StreamTask, log=log, soft_time_limit=2, time_limit=60)
def limited(self: StreamTask, question: str) -> dict[str, Any]:
    try:
        return self.publish(lambda: client.stream("openai/m", question))
    except Exception as error:
        partial: Completion = error.partial  # type: ignore[attr-defined]
        return {"interrupted": type(error).__name__, "partial": partial.to_dict()}


@app.task(bind=True, base=StreamTask, log=log, time_limit=2)
def limited_hard(self: StreamTask, question: str) -> dict[str, Any]:
    return self.publish(lambda: client.stream("openai/m", question))


@app.task(bind=True, base=StreamTask, log=log, acks_late=True, reject_on_worker_lost=True)
def late(self: StreamTask, question: str) -> dict[str, Any]:
    return self.publish(lambda: client.stream("openai/m", question))


@app.task(bind=True, base=StreamTask, log=log, autoretry_for=(StreamError,), max_retries=2, default_retry_delay=0.1)
def retried(self: StreamTask, question: str) -> dict[str, Any]:
    return self.publish(lambda: client.stream("openai/m", question))


@app.task(bind=True, base=StreamTask, log=log)
def other_model(self: StreamTask, question: str) -> dict[str, Any]:
    try:
        return self.publish(lambda: client.stream("openai/m", question))
    except RateLimitError:
        return self.publish(lambda: client.stream("openai/other", "words 3"))


@app.task(bind=True, base=StreamTask, log=log)
def broken(self: StreamTask, question: str) -> dict[str, Any]:
    raise ValueError("no reply was begun")


@app.task(bind=True, base=StreamTask)
def without_log(self: StreamTask, question: str) -> dict[str, Any]:
    return self.publish(lambda: client.stream("openai/m", question))


@app.task(bind=True, base=StreamTask, log=log)
def two(self: StreamTask, question: str) -> list[dict[str, Any]]:
    return [self.publish(lambda: client.stream("openai/m", question), id=f"{self.request.id}/{n}") for n in range(2)]


web = Flask(__name__)


@web.post("/tasks/<name>")
def ask(name: str) -> dict[str, str]:
    options = dict(request.args)
    if "expires" in options:
        options["expires"] = float(options["expires"])  # type: ignore[assignment]
    task = app.tasks[f"{__name__}.{name}"].apply_async((request.get_data(as_text=True),), **options)
    return {"id": task.id}


@web.get("/replies/<id>")
def reply(id: str) -> Response:
    return stream_response(follow(log, id, request.headers.get("Last-Event-ID", "")), format="events")


@web.post("/replies/<id>/stop")
def stop(id: str) -> dict[str, bool]:
    return {"stopped": log.stop(id)}


@web.post("/tasks/<id>/revoke")
def revoke(id: str) -> dict[str, bool]:
    sent = request.args.get("signal")
    app.control.revoke(id, terminate=sent is not None, **({"signal": sent} if sent else {}))
    return {}


@web.get("/results/<id>")
def result(id: str) -> dict[str, Any]:
    """Wait for the result of a task."""
    task = app.AsyncResult(id)
    value = task.get(timeout=60, propagate=False)
    failed = isinstance(value, BaseException)
    return {"state": task.state, "result": f"{type(value).__name__}: {value}" if failed else value}
