"""``streamkit web`` as a process of its own: the page, a chat, who is let in, and its end."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.test_cli import SECONDS, Start, clean, interrupts, start

__all__ = ["interrupts", "start"]

pytest.importorskip("flask", reason="needs flask")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def address_of(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    found = re.fullmatch(r"the page is at (\S+)\n", line)
    assert found, line + process.stderr.read().decode()
    return found[1]


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    assert 0 == process.wait(SECONDS)


def asked(http: requests.Session, address: str, text: str, id: str) -> str:
    message = {"id": uuid.uuid4().hex, "role": "user", "parts": [{"type": "text", "text": text}]}
    response = http.post(f"{address}api/chat", json={"id": id, "message": message}, timeout=SECONDS)
    assert 200 == response.status_code, response.text
    parts = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    return "".join(part.get("delta", "") for part in parts if part["type"] == "text-delta")


def test_a_chat_that_is_kept(start: Start, tmp_path: Path) -> None:
    """Without a key it talks to a demo model; the chats are there again the next time; Ctrl-C ends it with 0."""
    kept = str(tmp_path / "chats.db")
    for round in range(2):
        process = start("web", "--port", "0", "--store", kept)
        address = address_of(process)
        with requests.Session() as http:
            page = http.get(address, timeout=SECONDS)
            assert "<title>streamkit</title>" in page.text
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]
            chats = http.get(f"{address}api/chat", timeout=SECONDS).json()["chats"]
            assert round == len(chats)
            if not round:
                assert asked(http, address, "Hello", "c1")
        end(process)


def test_models_to_choose_from(start: Start) -> None:
    """With several models the page lets a person choose; the first one is asked without a choice."""
    names = ["demo/storyteller", "demo/assistant"]
    process = start("web", "--port", "0", "--no-store", "-m", names[0], "-m", names[1], "-m", names[0])
    address = address_of(process)
    assert {"models": names, "default": names[0]} == requests.get(f"{address}api/models", timeout=SECONDS).json()
    with requests.Session() as http:
        for model in (None, *names):
            message = {"id": uuid.uuid4().hex, "role": "user", "parts": [{"type": "text", "text": "Hello"}]}
            body = {"id": f"of {model}", "message": message, "model": model}
            assert 200 == http.post(f"{address}api/chat", json=body, timeout=SECONDS).status_code
        body = {"id": "other", "message": message, "model": "demo/other"}
        assert 403 == http.post(f"{address}api/chat", json=body, timeout=SECONDS).status_code
    end(process)


def test_other_names_are_refused(start: Start) -> None:
    """A page of another site that points its own name to this machine gets nothing."""
    process = start("web", "--port", "0", "--no-store")
    address = address_of(process)
    port = address.rpartition(":")[2].strip("/")
    for host, status in {
        f"localhost:{port}": 200,
        f"127.0.0.1:{port}": 200,
        "localhost": 200,
        "[::1]:1": 200,
        f"evil.example:{port}": 403,
        "evil.example": 403,
        "localhost.evil.example": 403,
        f"127.0.0.1.evil.example:{port}": 403,
    }.items():
        for path in ("", "api/chat"):
            answer = requests.get(address + path, headers={"Host": host}, timeout=SECONDS)
            assert status == answer.status_code, host
    end(process)


def test_a_secret_for_others(start: Start) -> None:
    """For other machines it needs a secret, which the printed address has; with it a cookie is given."""
    secret = "a-secret-of-the-test_0"
    process = start("web", "--port", "0", "--no-store", "--host", "0.0.0.0", "--token", STREAMKIT_WEB_TOKEN=secret)
    shown = address_of(process)
    assert shown.endswith(f"/?token={secret}")
    port = re.findall(r":(\d+)/", shown)[0]
    address = f"http://127.0.0.1:{port}/"
    for path in ("", "api/chat", "?token=wrong", f"api/chat?token={secret}"):
        assert 401 == requests.get(address + path, timeout=SECONDS).status_code
    with requests.Session() as http:
        page = http.get(f"{address}?token={secret}", timeout=SECONDS)
        assert (200, address) == (page.status_code, page.url)
        assert asked(http, address, "Hello", "c1")
    end(process)


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "told"),
    [
        (["--host", "0.0.0.0"], {}, 2, "--host 0.0.0.0 lets others in: give --token"),
        (["--token"], {"STREAMKIT_WEB_TOKEN": "short"}, 2, "STREAMKIT_WEB_TOKEN has to be 16 or more"),
        (["--yes"], {}, 2, "--yes is for the calls of --tool"),
        (["--store", "a.db", "--no-store"], {}, 2, "give one of them"),
        (["--store", "/nonexistent/a.db"], {}, 1, "cannot be"),
        (["-m", "openai/m"], {}, 1, "openai needs an API key"),
        (["--host", "127.0.0.1", "--port", "PORT"], {}, 1, "Address already in use; give another one with --port"),
    ],
)
def test_what_cannot_be(arguments: list[str], environment: dict[str, str], code: int, told: str, start: Start) -> None:
    """One line says what is wrong and what to do, before anything is served."""
    if "PORT" in arguments:
        other = start("web", "--port", "0", "--no-store")
        arguments = [*arguments[:-1], re.findall(r":(\d+)/", address_of(other))[0]]
    command: list[Any] = [sys.executable, "-W", "error", "-m", "streamkit", "web", *arguments]
    done = subprocess.run(command, env=clean(environment), capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (code, "") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count("\n")
    assert told in done.stderr
