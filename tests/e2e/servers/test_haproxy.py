"""The relay behind HAProxy, with the configuration of the examples."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from streamkit.testing import DONE, Mark, Reply, Server, Wait, WaitFor, chunk_event, error_reply, text_reply
from tests.e2e.servers.support import SOON, Browser, Held, get, gunicorn, haproxy

pytest.importorskip("flask", reason="needs flask")
pytest.importorskip("gunicorn", reason="needs gunicorn")

END = chunk_event(finish_reason="stop") + DONE


def test_chunks_and_statuses(tmp_path: Path) -> None:
    """Chunks and heartbeats arrive as they are sent, and a refusal keeps its status."""
    more, late = threading.Event(), threading.Event()
    replies = [
        Reply([chunk_event("One"), WaitFor(more, SOON), chunk_event("Two"), END]),
        Reply(before_head=[WaitFor(late, SOON)]).then(chunk_event("Late"), END),
        error_reply(429),
    ]
    with Server(*replies) as model, gunicorn(model, tmp_path) as server:
        with haproxy(server.port, tmp_path / "haproxy") as port:
            with Browser(port) as browser:
                browser.head()
                browser.read_until(b"One")
                more.set()
                browser.read_until(b"event: done")
            with Browser(port, "/stream/events?heartbeat=0.1&wait=0") as browser:
                browser.head()
                browser.read_until(b": hb\n")
                late.set()
                browser.read_until(b"event: done")
            assert (429, b"An error occurred.") == get(port)


@pytest.mark.parametrize("phase", ["before the head", "in silence"])
def test_a_client_that_leaves(phase: str, tmp_path: Path) -> None:
    """With `option abortonclose` HAProxy closes its connection when the browser does, and the model is cancelled."""
    ready = threading.Event()
    reply = Reply([chunk_event("One"), Mark(ready), Wait(None)])
    if phase == "before the head":
        reply = Reply(before_head=[Mark(ready), Wait(None)])
    with Server(text_reply("First."), reply) as model, gunicorn(model, tmp_path) as server:
        held = Held(server.port, model)
        with haproxy(server.port, tmp_path / "haproxy") as port:
            with Browser(port, "/stream/events?heartbeat=1000&wait=1000") as browser:
                assert ready.wait(SOON)
                if phase == "in silence":
                    browser.head()
                    browser.read_until(b"One")
            assert model.requests[1].gone.wait(SOON)
        held.check()
