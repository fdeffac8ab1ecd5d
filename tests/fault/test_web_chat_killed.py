"""Workers of a web server end in the middle of replies: chats go on, and nothing is asked twice by itself."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamkit.testing import Reply, Server, Wait, chunk_event, text_reply
from tests.fault.web_chat_programs import Gunicorn, pid_of_reply
from tests.redis_server import RedisServer, redis_server

pytest.importorskip("flask", reason="needs flask")
pytest.importorskip("gunicorn", reason="needs gunicorn")

__all__ = ["redis_server"]  # a fixture

pytestmark = pytest.mark.slow

Servers = Callable[..., RedisServer]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/chats.db"


@pytest.fixture
def model() -> Iterator[Server]:
    with Server(
        Reply([chunk_event("One two"), Wait(600)], framing="chunked"), text_reply("Three."), text_reply("Four.")
    ) as server:
        yield server


def test_a_worker_is_killed(redis_server: Servers, store: str, model: Server) -> None:
    """What its log has of the reply stays, no reply is on its way, and it and a new question are asked as ever."""
    with Gunicorn(model, redis_server().url, store, "--workers", "2") as chat:
        response = chat.ask("Hi", "u0", until=b"two")
        os.kill(pid_of_reply(store), signal.SIGKILL)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
        kept = chat.history()
        assert ("ready", "partial") == (kept["status"], kept["messages"][1]["metadata"]["state"])
        assert "One two" == kept["messages"][1]["parts"][-1]["text"]
        assert 204 == chat.request("GET", "/api/chat/c/stream").status
        question = {"id": "u0", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}
        again = {"id": "c", "messages": [question], "trigger": "regenerate-message", "messageId": "reply-u0"}
        assert b"Three." in chat.request("POST", "/api/chat", again).read()
        assert b"Four." in chat.ask("And now?", "u1").read()
        assert ["u0", "reply-u0", "u1", "reply-u1"] == [each["id"] for each in chat.history()["messages"]]
        assert 3 == len(model.requests)


def test_a_worker_ends_while_a_browser_reads(redis_server: Servers, store: str, model: Server) -> None:
    """After its time of grace the reply is cancelled, its reader gets the end, and what came is kept."""
    with Gunicorn(model, redis_server().url, store, "--graceful-timeout", "1", "--timeout", "0") as chat:
        response = chat.ask("Hi", "u0", until=b"two")
        os.kill(pid_of_reply(store), signal.SIGTERM)  # as gunicorn does for a reload; another worker takes its place
        assert b'{"type":"abort"}' in response.read()
        reply = chat.history()["messages"][1]
        assert ("partial", "One two") == (reply["metadata"]["state"], reply["parts"][-1]["text"])
