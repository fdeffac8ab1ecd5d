"""`streamkit models` and `streamkit doctor`, as people and scripts meet them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from streamkit.testing import Reply, Send, Server, Wait, chunk_event, error_reply, html_reply, json_reply, text_reply

KEY = "sk-secret-of-the-doctor"
SECONDS = 60.0
MODELS = {
    "data": [
        {
            "id": "small",
            "context_length": 128000,
            "pricing": {"prompt": "0.0000001", "completion": "0.0000004"},
            "supported_parameters": ["tools"],
        },
        {"id": "plain"},
    ]
}


def streamkit(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command with the keys given, and none of this machine's."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "streamkit", *arguments],
        env={**os.environ, "NO_PROXY": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def openai_at(server: Server) -> dict[str, str]:
    return {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY}


class TestModels:
    def test_columns(self) -> None:
        """Each model is a line with its full name, window, prices and capabilities, aligned."""
        with Server(json_reply(MODELS)) as server:
            done = streamkit("models", "--provider", "openai", **openai_at(server))
        assert (0, "") == (done.returncode, done.stderr)
        assert ["openai/small    128k      $0.1 / $0.4  tools", "openai/plain       -                -"] == [
            line.rstrip() for line in done.stdout.splitlines()
        ]

    def test_json(self) -> None:
        """With --json each line is an object for a program."""
        with Server(json_reply(MODELS)) as server:
            done = streamkit("models", "-p", "openai", "-c", "tools", "--json", **openai_at(server))
        (line,) = done.stdout.splitlines()
        shown = json.loads(line)
        assert ("openai/small", 128000, 0.1, ["tools"]) == (
            shown["model"],
            shown["context_window"],
            shown["input_price"],
            shown["capabilities"],
        )

    def test_without_any_key(self) -> None:
        """Where no provider has a key, that is said, in one line, and what to do."""
        done = streamkit("models")
        assert (1, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
        assert "no provider has a key" in done.stderr
        assert "streamkit doctor" in done.stderr

    def test_a_provider_that_fails(self) -> None:
        """One that refuses the key is named on stderr, in one line, without the key."""
        with Server(error_reply(401)) as server:
            done = streamkit("models", **openai_at(server))
        assert (1, "", True) == (done.returncode, done.stdout, "openai: " in done.stderr)
        assert KEY not in done.stdout + done.stderr

    def test_an_unknown_provider(self) -> None:
        """A name that nobody has is an error that names those there are."""
        done = streamkit("models", "-p", "nobody")
        assert (1, True) == (done.returncode, "anthropic" in done.stderr)


class TestDoctor:
    def test_what_is_set_up(self) -> None:
        """Versions, extras, and who answers are said; keys never are, nor passwords of proxies."""
        with Server(json_reply(MODELS)) as server:
            proxy = "http://me:pa55word@127.0.0.1:1"
            done = streamkit("doctor", FTP_PROXY="x", ALL_PROXY=proxy, **openai_at(server))
        assert (0, "") == (done.returncode, done.stderr)
        assert "answers, 2 models" in done.stdout
        assert "ALL_PROXY             http://***@127.0.0.1:1" in done.stdout
        assert "--all" in done.stdout
        assert KEY not in done.stdout
        assert "pa55word" not in done.stdout

    def test_all(self) -> None:
        """With --all every provider is there, with the variable that its key goes in."""
        done = streamkit("doctor", "--all")
        for variable in ("ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY", "AWS_REGION"):
            assert variable in done.stdout

    def test_a_key_that_is_refused(self) -> None:
        """A provider that answers and refuses the key is told apart from one that does not answer."""
        with Server(error_reply(401)) as server:
            done = streamkit("doctor", "--json", **openai_at(server))
        assert "answers, refuses the key (401)" == json.loads(done.stdout)["providers"]["openai"]

    def test_a_stream_that_flows(self) -> None:
        """Events with time between them are a stream."""
        reply = text_reply("one two three four five six seven eight", pause=0.05)
        with Server(reply) as server:
            done = streamkit("doctor", server.url, "--key-from", "MY_KEY", MY_KEY=KEY)
            (request,) = server.requests
        assert (0, "") == (done.returncode, done.stderr)
        assert "streamed: events come one by one" in done.stdout
        assert ("POST", "/v1/chat/completions", f"Bearer {KEY}") == (
            request.method,
            request.path,
            request.headers["authorization"],
        )
        assert KEY not in done.stdout

    @pytest.mark.parametrize("framing", ["chunked", "close"])
    def test_a_stream_that_is_held_back(self, framing: str) -> None:
        """All events at once after a long wait are what a buffer makes, and the remedy is named."""
        burst = b"".join(chunk_event(word) for word in "a b c d e f g h".split())
        reply = Reply([Wait(1.5), Send(burst)], framing=framing)  # type: ignore[arg-type]
        with Server(reply) as server:
            done = streamkit("doctor", f"{server.url}/chat/completions")
        assert (0, True) == (done.returncode, "buffered: nothing for a long time" in done.stdout)
        assert "X-Accel-Buffering" in done.stdout

    def test_a_page(self) -> None:
        """What is no stream is said to be none."""
        with Server(html_reply().but(status=200)) as server:
            done = streamkit("doctor", f"{server.url}/page", "--method", "GET")
        assert (0, True) == (done.returncode, "not a stream: the server sends text/html" in done.stdout)

    def test_a_server_that_falls_silent(self) -> None:
        """What came until the limit is shown, and the limit is the error."""
        reply = text_reply("one two three").first(3).then(Wait(None))
        with Server(reply) as server:
            done = streamkit("doctor", server.url, "--timeout", "1")
        assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
        assert "no answer within 1 s" in done.stderr
        assert "3 events" in done.stdout

    def test_json_of_a_probe(self) -> None:
        """The figures of a probe are there for a program as well."""
        with Server(text_reply("one two three")) as server:
            shown = json.loads(streamkit("doctor", server.url, "--json").stdout)
        assert (200, "text/event-stream", None) == (shown["status"], shown["content_type"], shown["error"])
        assert (
            0 <= shown["connected"] <= shown["headers"] <= shown["first_byte"] <= shown["first_event"] <= shown["ended"]
        )

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (["http://127.0.0.1:1/v1"], 1, "no connection"),
            (["not-a-url"], 1, "absolute"),
            (["http://127.0.0.1:1/v1", "-H", "nonsense"], 2, "NAME: VALUE"),
            (["http://127.0.0.1:1/v1", "--key-from", "NOT_SET"], 1, "NOT_SET is not set"),
        ],
    )
    def test_errors(self, arguments: list[str], code: int, said: str) -> None:
        """What cannot be asked is one line on stderr."""
        done = streamkit("doctor", *arguments)
        assert (code, 1, True) == (done.returncode, len(done.stderr.splitlines()), said in done.stderr)
