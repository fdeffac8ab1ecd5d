"""`streamkit record` as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from streamkit import Client, providers
from streamkit.testing import Server, cassette_replies, json_reply, text_reply

KEY = "sk-secret-of-the-recorder"
COMMAND = [sys.executable, "-W", "error", "-m", "streamkit", "record"]


def test_one_prompt(tmp_path: Path) -> None:
    """The answer is shown, and the cassette plays it again without the key in it."""
    path = tmp_path / "tape.jsonl"
    with Server(text_reply("Hello there")) as server:
        done = subprocess.run(
            [*COMMAND, str(path), "-m", "openai/m", "Hi"],
            env={**os.environ, "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert f"Bearer {KEY}" == server.requests[0].headers["authorization"]
    assert (0, "Hello there\n", "") == (done.returncode, done.stdout, done.stderr)
    assert KEY not in path.read_text("utf-8")
    with Server(*cassette_replies(path)) as server:
        with Client([providers.OpenAI(api_key="k", base_url=server.url)]) as client:
            assert "Hello there" == client.complete("openai/m", "Hi").text


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_listening_for_any_client(tmp_path: Path) -> None:
    """With --upstream it says where it listens, passes on, and ends with Ctrl-C."""
    path = tmp_path / "tape.jsonl"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Server(json_reply({"data": []})) as server:
            with subprocess.Popen(
                [*COMMAND, str(path), "--upstream", server.url], stderr=subprocess.PIPE, text=True
            ) as process:
                assert process.stderr is not None
                line = process.stderr.readline()
                url = line.split()[2]
                assert 200 == requests.get(f"{url}/models", timeout=30).status_code
                process.send_signal(signal.SIGINT)
                assert 0 == process.wait(30)
    finally:
        signal.signal(signal.SIGINT, before)
    assert '"end": "complete"' in path.read_text("utf-8").replace('"end":"', '"end": "')


@pytest.mark.parametrize("arguments", [[], ["Hi"], ["Hi", "--upstream", "http://x"]])
def test_bad_usage(arguments: list[str], tmp_path: Path) -> None:
    """What it cannot know is asked for, in one line."""
    done = subprocess.run([*COMMAND, str(tmp_path / "t"), *arguments], capture_output=True, text=True, timeout=60)
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
