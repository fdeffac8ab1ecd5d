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
from streamkit.cli.root import run as command_line
from streamkit.providers import registry
from streamkit.testing import Server, cassette_replies, json_reply, reply_in, text_reply
from tests.unit.test_bedrock_signing import signature_of

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


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env={**os.environ, "OPENAI_API_KEY": KEY, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            [],
            ["Hi"],
            ["-m", "openai/m", ""],
            ["-m", "openai/m", " "],
            ["Hi", "--upstream", "http://x"],
            ["-m", "openai/m", "--upstream", "http://x"],
        ),
        *(["--upstream", "notaurl"], ["--upstream", "ftp://x"], ["--upstream", "http://u:sk-secret@x"]),
    ],
)
def test_bad_usage(arguments: list[str], tmp_path: Path) -> None:
    """Missing and invalid options give an error of one line, without secrets."""
    done = run(tmp_path / "t", *arguments)
    assert (2, 1, False) == (done.returncode, len(done.stderr.splitlines()), "secret" in done.stderr)


def test_standard_output_is_no_cassette(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hyphen names no file, and makes none."""
    monkeypatch.chdir(tmp_path)
    done = run("-", "-m", "demo/storyteller", "Hi")
    assert (2, 1, []) == (done.returncode, len(done.stderr.splitlines()), list(tmp_path.iterdir()))


def test_the_way_to_the_recorder_is_direct(tmp_path: Path) -> None:
    """A proxy of the environment sees the request to the provider, and not the one to the recorder."""
    with Server(text_reply("Hello there")) as proxy:
        base = "http://provider.invalid/v1"
        done = run(tmp_path / "t", "-m", "openai/m", "Hi", OPENAI_BASE_URL=base, HTTP_PROXY=proxy.origin)
        assert [f"{base}/chat/completions"] == [request.path for request in proxy.requests]
    assert (0, "Hello there\n") == (done.returncode, done.stdout)


def test_a_signed_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A request through the recorder has the signature that AWS computes."""
    path = tmp_path / "t"
    with Server(reply_in("bedrock", "Hello there")) as server:
        bedrock = providers.Bedrock(base_url=server.origin, region="eu-west-1", access_key="AKIATEST", secret_key=KEY)
        monkeypatch.setattr(registry, "factory", {"bedrock": lambda: bedrock}.get)
        assert 0 == command_line(["record", str(path), "-m", "bedrock/a.b-v1:0", "Hi"])
        (request,) = server.requests
    assert ("Hello there\n", "") == capsys.readouterr()
    signature = signature_of(request, region="eu-west-1", secret=KEY)
    assert request.headers["authorization"].endswith(f"Signature={signature}")
    assert signature not in path.read_text("utf-8")


def test_a_provider_that_is_not_there(tmp_path: Path) -> None:
    """The one line says who did not answer and why, and there is no cassette."""
    done = run(tmp_path / "t", "-m", "openai/m", "Hi", OPENAI_BASE_URL="http://127.0.0.1:1/v1")
    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "no answer from http://127.0.0.1:1/v1: Connection refused" in done.stderr
    assert not (tmp_path / "t").exists()


def test_nowhere_to_write_and_nowhere_to_listen(tmp_path: Path) -> None:
    """The line names the file, or the port, and what to do."""
    path = tmp_path / "nodir" / "t.jsonl"
    done = run(path, "--upstream", "http://x")
    assert (1, True) == (done.returncode, f"cannot write {path}: there is no such directory; name" in done.stderr)
    with Server() as server:
        done = run(tmp_path / "t", "--upstream", "http://x", "--port", server.port)
    assert (1, True) == (done.returncode, f"port {server.port}: Address already in use; leave --port" in done.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="a directory that is in use cannot be deleted there")
@pytest.mark.parametrize("what", [["-m", "openai/m", "Hi"], ["--upstream", "http://127.0.0.1:9"]])
def test_from_a_directory_that_was_deleted(what: list[str], tmp_path: Path) -> None:
    """The line says that the directory is gone, and nobody is asked."""
    folder = tmp_path / "gone"
    folder.mkdir()
    program = f"import os, sys; os.rmdir({str(folder)!r}); from streamkit.__main__ import main; sys.exit(main())"
    with Server(text_reply("Hello there")) as server:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, "record", "tape.jsonl", *what],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))}
            | {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert [] == server.requests
    words = "streamkit: cannot write tape.jsonl: the current directory was deleted; name a file that can be written\n"
    assert (1, "", words) == (done.returncode, done.stdout, done.stderr)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no file of a full disk")
def test_a_full_disk(tmp_path: Path) -> None:
    """Where the disk is full, that is what the line says, and not that the provider failed."""
    with Server(text_reply("Hello there")) as server:
        done = subprocess.run(
            [*COMMAND, "/dev/full", "-m", "openai/m", "Hi"],
            env={**os.environ, "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY},
            capture_output=True,
            text=True,
            timeout=60,
        )
    words = "streamkit: cannot write /dev/full: No space left on device; name a file that can be written\n"
    assert (1, words) == (done.returncode, done.stderr)
