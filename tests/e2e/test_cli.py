"""The command line as users and scripts run it: real processes, pipes and a real terminal."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from streamkit.testing import (
    STORY,
    Cut,
    Repeat,
    Reply,
    Request,
    Server,
    Wait,
    WaitFor,
    chunk_event,
    error_in_stream_reply,
    error_reply,
    html_reply,
    redirect_reply,
    text_reply,
    tool_call_reply,
)
from tests.terminals import lines_on

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals and signals of POSIX")

SECONDS = 60.0  # that anything may take on a busy machine before it counts as stuck
STREAMKIT = [sys.executable, "-W", "error", "-m", "streamkit"]
CTRL_C, CTRL_D = "\x03", "\x04"
STYLED = re.compile(r"\x1b\[(\d+)m(.*?)\x1b\[0m", re.DOTALL)

Serve = Callable[..., Server]
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Give the children a SIGINT that is not ignored, as it is for tests that run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Make servers, and close them at the end."""
    with ExitStack() as servers:
        yield lambda *answers, **options: servers.enter_context(Server(*answers, **options))


@pytest.fixture
def start() -> Iterator[Start]:
    """Start commands with pipes; those that still run at the end of the test are killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one(*arguments: str, stdin: int = subprocess.DEVNULL, **environment: str) -> subprocess.Popen[bytes]:
        started.append(
            subprocess.Popen(
                [*STREAMKIT, *arguments],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=clean(environment),
            )
        )
        return started[-1]

    with ExitStack() as ending:
        ending.callback(lambda: [ending.enter_context(process) for process in started])
        yield start_one
        for process in started:
            if process.poll() is None:
                process.kill()


def clean(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment without keys, proxies, and opinions on terminals, but with these variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("HOME", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "STREAMKIT_DATA", "TMPDIR", "VIRTUAL_ENV")
    }
    return {**kept, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", **environment}


def at(server: Server, **more: str) -> dict[str, str]:
    """Return the variables that make a server the provider of the default model."""
    return {"OPENAI_BASE_URL": server.url, "STREAMKIT_MODEL": "openai/m", **more}


def run(
    *arguments: str, text: str = "", command: list[str] | None = None, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with this text on its standard input."""
    return subprocess.run(
        [*(command or STREAMKIT), *arguments],
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        cwd=cwd,
        env=clean(environment),
    )


def read_until(process: subprocess.Popen[bytes], mark: bytes) -> bytes:
    """Read a process's standard output until something stands in it."""
    assert process.stdout is not None
    seen, end = b"", time.monotonic() + SECONDS
    while mark not in seen:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"{mark!r} did not come within {SECONDS} s: {seen!r}"
        data = os.read(process.stdout.fileno(), 65536)
        assert data, f"{mark!r} did not come before the end: {seen!r}"
        seen += data
    return seen


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Wait for the end; return the exit code and the rest of the output and of the errors."""
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out.decode(), err.decode()


def messages(request: Request) -> list[tuple[str, str]]:
    """Return role and text of what was sent."""
    return [(message["role"], message["content"]) for message in request.json()["messages"]]


class Terminal:
    """The command on a terminal of its own, which is also its controlling one: ``^C`` is a SIGINT.

    Attributes:
        shown: all that the terminal got so far.
    """

    # In place of a preexec_fn, which is not for programs with threads.
    LAUNCH = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

    def __init__(
        self, *arguments: str | bytes, cwd: Path | None = None, command: list[str] | None = None, **environment: str
    ) -> None:
        import pty

        self.shown = ""
        self._expected = 0  # up to here the text was expected, and came
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.LAUNCH, *(STREAMKIT[1:] if command is None else command), *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            cwd=cwd,
            env=clean(environment),
        )
        os.close(slave)

    def expect(self, text: str) -> None:
        """Wait until a text comes, after the one that was expected before."""
        assert self._comes(text, SECONDS), f"{text!r} did not come: {self.shown[self._expected :]!r}"

    def interrupt(self, text: str | None) -> None:
        """Type Ctrl-C at the prompt until a text comes, or the command ends.

        More than one may be needed: between writing the prompt and waiting for a key, Python's readline takes
        note of a signal without acting on it. No person is as fast as that, but a test is.
        """
        for _ in range(3):
            self.type(CTRL_C)
            if self._comes(text, SECONDS / 3):
                return
        raise AssertionError(f"Ctrl-C did nothing: {self.shown[self._expected :]!r}")

    def _comes(self, text: str | None, seconds: float) -> bool:
        """Say whether a text comes in time; ``None`` stands for the end."""
        end = time.monotonic() + seconds
        while text is None or (found := self.shown.find(text, self._expected)) < 0:
            if not self._read(end):
                return text is None and time.monotonic() < end
        self._expected = found + len(text)
        return True

    def type(self, text: str | bytes) -> None:
        """Type; a line ends with a line feed."""
        os.write(self._master, text.encode() if isinstance(text, str) else text)

    def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        end = time.monotonic() + SECONDS
        while self._read(end):
            pass
        return self.process.wait(max(0.1, end - time.monotonic()))

    def _read(self, end: float) -> bool:
        """Take what comes next; ``False`` at the end of the terminal or of the time."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, end - time.monotonic()))
        data = b""
        if ready:
            with suppress(OSError):  # Linux reports the end of a terminal as an error
                data = os.read(self._master, 65536)
        # Character by character is good enough: what is expected is ASCII.
        self.shown += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)

    @property
    def lines(self) -> list[str]:
        """The lines on the screen and in its history."""
        return lines_on(self.shown)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SECONDS)
        os.close(self._master)


# The demo.


def test_the_demo_tells_a_story_and_how_fast_it_came() -> None:
    """``demo`` writes the story, then one line of figures, and nothing else anywhere."""
    result = run("demo", "--tokens-per-second", "0")

    assert (0, "") == (result.returncode, result.stderr)
    *story, last = result.stdout.splitlines(keepends=True)
    assert "".join(story).endswith(f"\n\n{STORY}")
    assert re.fullmatch(r"\d+ tokens, first after \d+\.\d\d s, [\d,]+ tokens a second\n", last)


def test_the_demo_needs_no_network(serve: Serve) -> None:
    """``demo`` asks the process itself, whatever proxies and servers the environment names."""
    server = serve()
    result = run("demo", "--tokens-per-second", "0", HTTP_PROXY=server.origin, ALL_PROXY=server.origin, **at(server))

    assert 0 == result.returncode
    assert [] == server.requests


def test_the_demo_shows_tokens_as_they_come(start: Start) -> None:
    """A token is out long before the last one is due, and Ctrl-C ends the rest."""
    process = start("demo", "--tokens-per-second", "5")  # 160 tokens: half a minute and more
    seen = read_until(process, b"A ")
    process.send_signal(signal.SIGINT)
    code, rest, errors = finish(process)

    assert (130, "") == (code, errors)
    assert len(seen.decode() + rest) < 100


def test_the_demo_as_json() -> None:
    """With ``--json`` standard output is JSON alone; the line of figures goes to standard error."""
    result = run("demo", "--tokens-per-second", "0", "--json")
    chunks = [json.loads(line) for line in result.stdout.splitlines()]

    assert "".join(chunk.get("text", "") for chunk in chunks).endswith(STORY.strip())
    assert "done" == chunks[-1]["type"]
    assert result.stderr.startswith(f"{chunks[-1]['usage']['output_tokens']} tokens, ")


# One answer into a pipe.


def test_an_answer_is_the_text_and_a_line_end(serve: Serve) -> None:
    """The options go into the request, the answer's text comes out, ended by a line end of ours if it has none."""
    server = serve(text_reply("Hello\nworld"), text_reply("with one\n"))
    options = ("-s", "Be brief.", "--max-tokens", "7", "--temperature", "0.5", "--timeout", "20")
    result = run("chat", *options, "-m", "openai/gpt/4", "Hi there", OPENAI_BASE_URL=server.url)

    assert (0, "Hello\nworld\n", "") == (result.returncode, result.stdout, result.stderr)
    body = server.requests[0].json()
    assert [("system", "Be brief."), ("user", "Hi there")] == messages(server.requests[0])
    assert ("gpt/4", 7, 0.5) == (body["model"], body["max_tokens"], body["temperature"])
    assert "with one\n" == run("chat", "Hi", **at(server)).stdout


def test_without_a_model_the_storyteller_answers() -> None:
    """The first try needs neither a key nor an option."""
    result = run("chat", "--max-tokens", "3", "about a pier")

    assert (0, "") == (result.returncode, result.stderr)
    assert result.stdout.startswith("A story")


@pytest.mark.parametrize(
    ("arguments", "piped", "asked"),
    [
        (["-"], "from a pipe\n", "from a pipe"),
        ([], "two\nlines\n", "two\nlines"),
        (["Summarize:"], "  notes\n", "Summarize:\n\n  notes"),
        (["alone"], "", "alone"),
    ],
)
def test_a_prompt_may_be_piped(serve: Serve, arguments: list[str], piped: str, asked: str) -> None:
    """``-`` or nothing reads standard input; beside a prompt it comes after it."""
    server = serve(text_reply("ok"))
    result = run("chat", *arguments, text=piped, **at(server))

    assert (0, "ok\n", "") == (result.returncode, result.stdout, result.stderr)
    assert [("user", asked)] == messages(server.requests[0])


def test_standard_input_need_not_be_utf8(serve: Serve, start: Start) -> None:
    """Bytes that are no text are replaced; they do not end the command."""
    server = serve(text_reply("ok"))
    process = start("chat", "-", stdin=subprocess.PIPE, **at(server))
    out, err = process.communicate(b"caf\xe9", timeout=SECONDS)

    assert (0, b"ok\n", b"") == (process.returncode, out, err)
    assert [("user", "caf\ufffd")] == messages(server.requests[0])


def test_a_pipe_gets_the_answer_as_it_is(serve: Serve) -> None:
    """Reasoning is left out, a refusal stands for the answer, and no character is added or taken away."""
    odd = "\x1b[31m[red]\x9b\x07 :smile: \t|"
    pieces = [
        chunk_event(reasoning_content="hidden"),
        chunk_event(odd),
        chunk_event(refusal="no"),
        *text_reply("").steps,
    ]
    result = run("chat", "Hi", FORCE_COLOR="1", **at(serve(Reply(pieces))))

    assert f"{odd}no\n" == result.stdout


def test_each_piece_is_flushed(serve: Serve, start: Start) -> None:
    """A piece is readable while the next one has not been sent."""
    go = threading.Event()
    first, second = chunk_event("one "), chunk_event("two")
    server = serve(Reply([first, WaitFor(go, SECONDS), second, *text_reply("").steps]))
    process = start("chat", "Hi", **at(server))

    assert b"one " == read_until(process, b"one ")
    go.set()
    assert (0, "two\n", "") == finish(process)


def test_a_locale_without_the_letters(serve: Serve) -> None:
    """Characters that the locale cannot encode are replaced in text; JSON is always UTF-8."""
    environment = at(serve(text_reply("naïve")), PYTHONIOENCODING="ascii")

    assert "na?ve\n" == run("chat", "Hi", **environment).stdout
    assert '"text":"naïve"' in run("chat", "Hi", "--json", **environment).stdout


def test_json_has_one_object_a_chunk(serve: Serve) -> None:
    """Each chunk is one line with the fields that are set, never the raw event, and nothing a terminal obeys."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    pieces = [
        chunk_event(reasoning_content="hm"),
        chunk_event("a\n\x1b\x9b é"),
        chunk_event(refusal="no"),
        *tool_call_reply("add", "{}", usage=usage).steps,
    ]
    result = run("chat", "Hi", "--json", **at(serve(Reply(pieces))))

    assert (0, "") == (result.returncode, result.stderr)
    assert [
        {"type": "reasoning", "index": 0, "reasoning": "hm"},
        {"type": "text", "index": 0, "text": "a\n\x1b\x9b é"},
        {"type": "refusal", "index": 0, "refusal": "no"},
        {"type": "tool_call", "index": 0, "tool_call": {"index": 0, "id": "call_1", "name": "add", "arguments": ""}},
        {"type": "tool_call", "index": 0, "tool_call": {"index": 0, "id": "", "name": "", "arguments": "{}"}},
        {
            "type": "done",
            "index": 0,
            "finish_reason": "tool_calls",
            "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
        },
    ] == [json.loads(line) for line in result.stdout.splitlines()]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", result.stdout)


# Ends that come early.


def test_ctrl_c_before_the_first_token(serve: Serve, start: Start) -> None:
    """Ctrl-C ends a wait for the headers: no output, no traceback, and the server is left."""
    server = serve(Reply(before_head=[Wait(None)]))
    process = start("chat", "Hi", **at(server))
    (request,) = server.wait_for_requests(1, SECONDS)
    process.send_signal(signal.SIGINT)

    assert (130, "", "") == finish(process)
    assert request.gone.wait(SECONDS)


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_ctrl_c_midway(serve: Serve, start: Start, json_option: list[str]) -> None:
    """Ctrl-C in the middle of an answer keeps what came, and ends its line."""
    server = serve(text_reply("one two").first(2).then(Wait(None)))
    process = start("chat", "Hi", *json_option, **at(server))
    seen = read_until(process, b"one")
    process.send_signal(signal.SIGINT)
    code, rest, errors = finish(process)

    assert (130, "") == (code, errors)
    assert (seen.decode() + rest).endswith("\n")
    assert server.requests[0].gone.wait(SECONDS)


def test_ctrl_c_while_reading_the_prompt(start: Start) -> None:
    """A prompt that is still being piped in can be left as well."""
    process = start("chat", "-", "-m", "demo/storyteller", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"x" * 200_000)  # more than a pipe holds: once it is written, reading has begun
    process.stdin.flush()
    process.send_signal(signal.SIGINT)

    assert (130, "", "") == finish(process)


def test_an_ignored_sigint_stays_ignored(serve: Serve) -> None:
    """Under nohup, and in the background of a script, the terminal's Ctrl-C is meant for others."""
    interrupted = threading.Event()
    server = serve(Reply([chunk_event("one "), WaitFor(interrupted, SECONDS), *text_reply("two").steps]))
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *STREAMKIT, "chat", "Hi"]
    with subprocess.Popen(ignoring, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean(at(server))) as process:
        read_until(process, b"one ")
        process.send_signal(signal.SIGINT)
        interrupted.set()

        assert (0, "two\n", "") == finish(process)


def test_ctrl_c_gets_out_of_a_pipe_that_nobody_reads(serve: Serve, start: Start) -> None:
    """If a write blocks, further Ctrl-C end the command."""
    server = serve(Reply([Repeat(chunk_event("x" * 1000), None)]))
    process = start("chat", "Hi", **at(server))
    read_until(process, b"x")
    for _ in range(int(SECONDS)):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
            break

    # The second if it is stuck by then, or the one after: that one may meet the interpreter on its way out.
    assert process.poll() in (130, -signal.SIGINT)


def test_a_reader_that_has_enough(serve: Serve, start: Start) -> None:
    """When the reader of the pipe closes it, the command and the request end without output."""
    left = threading.Event()
    more = Repeat(chunk_event("more\n"), None)
    server = serve(Reply([chunk_event("first\n"), WaitFor(left, SECONDS), more]))
    process = start("chat", "Hi", **at(server))
    read_until(process, b"first\n")
    assert process.stdout is not None
    process.stdout.close()
    left.set()

    assert 0 == process.wait(SECONDS)
    assert process.stderr is not None
    assert b"" == process.stderr.read()
    assert server.requests[0].gone.wait(SECONDS)


@pytest.mark.parametrize("arguments", ["demo --tokens-per-second 0", "chat Hi --json", "chat --help"])
def test_into_head(arguments: str) -> None:
    """``| head -1`` gives one line, and nothing on standard error."""
    result = run(command=["sh", "-c", f'"$0" -W error -m streamkit {arguments} < /dev/null | head -1', sys.executable])

    assert (1, "") == (result.stdout.count("\n"), result.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", ["demo --tokens-per-second 0", "chat Hi --json", "--help"])
def test_a_full_disk(arguments: str) -> None:
    """If the answer cannot be written, one line reports it."""
    result = run(command=["sh", "-c", f'"$0" -m streamkit {arguments} > /dev/full < /dev/null', sys.executable])

    assert 1 == result.returncode
    assert re.fullmatch(r"streamkit: .*No space left on device\n", result.stderr)


def test_without_standard_output() -> None:
    """A process that was started without one has nothing to complain about."""
    result = run(command=["sh", "-c", '"$0" -m streamkit demo --tokens-per-second 0 >&-', sys.executable])

    assert (0, "", "") == (result.returncode, result.stdout, result.stderr)


# Errors.


@pytest.mark.parametrize(
    ("answer", "shown", "told"),
    [
        (error_reply(401, "No such\nkey."), "", "401: No such key; check the key in OPENAI_API_KEY"),
        (
            error_reply(400, "Too long."),
            "",
            "400: Too long; change the messages or the options, as the same request fails again",
        ),
        (
            error_reply(402, "Broke."),
            "",
            "402: Broke; add credit to the account of this key, or raise its spending limit",
        ),
        (
            error_reply(403, "Not you."),
            "",
            "403: Not you; check what the key in OPENAI_API_KEY may use, and the provider's base URL",
        ),
        (
            error_reply(404, "No such model."),
            "",
            "(`streamkit models --provider openai` lists them) and the provider's base URL",
        ),
        (
            error_reply(429, "Slow.", headers={"Retry-After": "900"}),
            "",
            "more than Retry(max_retry_after=60); wait 900 s and ask again",
        ),
        (
            html_reply(),
            "",
            "a web site or a proxy answered, not the API: check the provider's base URL and the proxy settings",
        ),
        (redirect_reply("http://else/"), "", "redirects are not followed; set base_url to the right address"),
        (text_reply("one two").first(2).then(Cut()), "one\n", "the server or a proxy ended it too early: ask again"),
        (
            text_reply("one\n", finish_reason=None, done=False),
            "one\n",
            "the server or a proxy ended it too early: ask again",
        ),
        (
            error_in_stream_reply("Oh\x1b[31m.", after="one two"),
            "one two\n",
            ". Not tried again, as chunks had been delivered; the failure is the server's: ask again in a while",
        ),
        (error_in_stream_reply("No.", code=401, after="one"), "one\n", "401: No; check the key in OPENAI_API_KEY"),
        (error_reply(400, "x" * 5000), "", "x…"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(serve: Serve, answer: Reply, shown: str, told: str) -> None:
    """The partial answer and a line end are on standard output, the error on standard error, the exit code is 1."""
    result = run("chat", "Hi", **at(serve(answer)))

    assert (1, shown) == (result.returncode, result.stdout)
    assert re.fullmatch(r"streamkit: [^\n\x1b]*\n", result.stderr)
    assert result.stderr.endswith(f"{told}\n")


def test_an_answer_that_takes_too_long(serve: Serve) -> None:
    """``--timeout`` is for the whole answer; the error names the option."""
    result = run("chat", "Hi", "--timeout", "0.5", **at(serve(Reply(before_head=[Wait(None)]))))

    assert (1, "") == (result.returncode, result.stdout)
    shown = re.sub(r":\d+: ", ":PORT: ", result.stderr)
    assert (
        "streamkit: openai/m at 127.0.0.1:PORT: not complete within 0.5 s; give it more time with --timeout SECONDS\n"
        == shown
    )


def test_nobody_there() -> None:
    """A server that does not answer is an error that names it."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and not listening
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        result = run("chat", "Hi", "-m", "openai/m", OPENAI_BASE_URL=f"http://{host}/v1")

    assert (1, "") == (result.returncode, result.stdout)
    assert re.fullmatch(rf"streamkit: .*{host}: .*; is the server running\? start it, or check .*\n", result.stderr)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("nobody/m", "unknown provider 'nobody' in the model name 'nobody/m'; this client knows "),
        ("openai/m", "openai needs an API key: set the environment variable OPENAI_API_KEY"),
        ("nonsense", "write it as provider/nonsense"),
    ],
)
def test_a_model_that_cannot_be_asked(model: str, told: str) -> None:
    """An unknown provider and a missing key are errors of one line before anything is sent."""
    result = run("chat", "-m", model, "Hi")

    assert (1, "") == (result.returncode, result.stdout)
    assert re.fullmatch(rf"streamkit: .*{re.escape(told)}.*\n", result.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["chat", ""],
        ["chat"],
        ["chat", "two", "words"],
        ["chat", "--timeout", "0", "Hi"],
        ["chat", "--timeout", "nan", "Hi"],
        ["chat", "--max-tokens", "0", "Hi"],
        ["chat", "--temperature", "warm", "Hi"],
        ["chat", "--nonsense", "Hi"],
        ["demo", "--tokens-per-second", "-1"],
        ["demo", "more"],
        ["nonsense"],
        ["--nonsense"],
    ],
)
def test_bad_usage(arguments: list[str]) -> None:
    """Wrong usage gives one line that names the help, and the exit code 2."""
    result = run(*arguments)

    assert (2, "") == (result.returncode, result.stdout)
    assert re.fullmatch(r"streamkit: .+; see streamkit.* --help\n", result.stderr)


# The command itself.


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--version"], r"streamkit \d+\.\d+.*\n"),
        (["--help"], r"Usage: streamkit .*  chat .*  demo .*Examples:\n.*OPENAI_API_KEY.*"),
        ([], r"Usage: streamkit .*"),
        (["chat", "-h"], r"Usage: streamkit chat .*reasoning.*dimmed.*Examples:\n.*"),
        (["demo", "--help"], r"Usage: streamkit demo .*Examples:\n.*"),
    ],
)
def test_help(arguments: list[str], expected: str) -> None:
    """The version, and help with examples, go to standard output."""
    result = run(*arguments)

    assert (0, "") == (result.returncode, result.stderr)
    assert re.fullmatch(expected, result.stdout, re.DOTALL)


def test_the_installed_script_is_the_same_command() -> None:
    """``streamkit`` is what ``python -m streamkit`` is."""
    script = Path(sys.executable).with_name("streamkit")
    if not script.exists():
        pytest.skip("the package is not installed beside this Python")

    assert run("--version").stdout == run("--version", command=[str(script)]).stdout


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra(serve: Serve, tmp_path: Path, missing: str) -> None:
    """A missing package of the extra is one line that names the extra; rich is missed on terminals only."""
    (tmp_path / f"{missing}.py").write_text(f"raise ModuleNotFoundError('not installed', name={missing!r})")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = at(serve(Reply([chunk_event(reasoning_content="hm"), *text_reply("ok").steps])), PYTHONPATH=path)
    result = run("chat", "Hi", **environment)
    with Terminal("chat", "Hi", **environment) as terminal:
        assert 1 == terminal.wait()

    line = 'streamkit: the command line needs click and rich: python -m pip install "streamkit[cli]"\n'
    assert line == terminal.shown
    assert (result.returncode, result.stdout, result.stderr) == (
        (0, "ok\n", "") if missing == "rich" else (1, "", line)
    )


def test_what_is_imported_when() -> None:
    """The entry point needs neither click nor rich until it runs, and a pipe never needs rich."""
    code = """\
import sys
import streamkit.__main__, streamkit.cli
assert not {"click", "rich"} & set(sys.modules)
from streamkit.cli.root import run
assert run(["chat", "--max-tokens", "1", "Hi"]) == 0
assert "rich" not in sys.modules
"""
    result = run(command=[sys.executable, "-c", code])

    assert (0, "") == (result.returncode, result.stderr)


# On a terminal.


def test_a_terminal_shows_reasoning_dimmed_and_obeys_nothing(serve: Serve) -> None:
    """Reasoning comes dimmed and before the answer; neither is markup, and no control character gets through."""
    pieces = [
        chunk_event(reasoning_content="  think [bold]hard[/bold]\n"),
        chunk_event(reasoning_content="\x1b[5m and\tlong"),
        chunk_event("a \x1b[31m[red]\x9b\x07\x00\x08\r"),
        chunk_event("\u202e\u2066\u200f\u061c\u206a"),
        chunk_event("line\n\tand :smile:"),
        *text_reply("").steps,
    ]
    with Terminal("chat", "--plain", "Hi", **at(serve(Reply(pieces)))) as terminal:
        assert 0 == terminal.wait()

    assert {"2"} == {code for code, _ in STYLED.findall(terminal.shown)}
    assert ["  think [bold]hard[/bold]", "[5m and long", "", "a [31m[red]line", "        and :smile:"] == [
        re.sub("and +long", "and long", line) for line in terminal.lines
    ]
    assert not set("\x07\x00\x08\x9b\u202e\u2066\u200f\u061c\u206a") & set(terminal.shown)
    assert "\x1b[5m" not in terminal.shown
    assert "\x1b[31m" not in terminal.shown


def test_a_terminal_that_can_show_text_only(serve: Serve) -> None:
    """A terminal without styles gets none."""
    pieces = [chunk_event(reasoning_content="think"), *text_reply("answer").steps]
    with Terminal("chat", "Hi", **at(serve(Reply(pieces)), TERM="dumb")) as terminal:
        assert 0 == terminal.wait()

    assert "think\n\nanswer\n" == terminal.shown


def test_a_terminal_is_told_of_an_answer_that_was_cut_off(serve: Serve) -> None:
    """An answer that ends at the token limit does not look like one that is whole."""
    with Terminal("chat", "Hi", **at(serve(text_reply("one two", finish_reason="length")))) as terminal:
        assert 0 == terminal.wait()

    assert ["one two", "[cut off at the token limit]"] == terminal.lines


def test_json_on_a_terminal_obeys_nothing_either(serve: Serve) -> None:
    """JSON that goes to a terminal has its control characters escaped."""
    with Terminal("chat", "Hi", "--json", **at(serve(text_reply("\x1b[31m\x9b\u202e\u2069")))) as terminal:
        assert 0 == terminal.wait()

    assert r'"text":"\u001b[31m\u009b\u202e\u2069"' in terminal.shown
    assert "\x1b" not in terminal.shown


def test_an_error_on_a_terminal_has_a_line_of_its_own(serve: Serve) -> None:
    """The partial answer and the error are on separate lines."""
    with Terminal("chat", "Hi", **at(serve(text_reply("one two").first(2).then(Cut())))) as terminal:
        assert 1 == terminal.wait()

    assert "one" == terminal.lines[0]
    assert terminal.lines[1].startswith("streamkit: ")


@pytest.mark.parametrize("came", ["", "one"])
@pytest.mark.parametrize("plain", [[], ["--plain"]])
def test_ctrl_c_on_a_terminal(serve: Serve, came: str, plain: list[str]) -> None:
    """Ctrl-C during the one answer leaves with 130, and the shell's prompt has a line of its own."""
    server = serve(Reply([chunk_event(came), Wait(None)]))
    with Terminal("chat", "Hi", *plain, **at(server)) as terminal:
        server.wait_for_requests(1, SECONDS)
        terminal.expect(came)
        terminal.type(CTRL_C)

        assert 130 == terminal.wait()
    assert [f"{came}^C"] == terminal.lines
    assert terminal.shown.endswith("^C\n")
    assert server.requests[0].gone.wait(SECONDS)


def test_a_prompt_may_be_typed(serve: Serve) -> None:
    """``-`` on a terminal says how to end the prompt, and reads on until then."""
    server = serve(text_reply("ok"))
    with Terminal("chat", "-", **at(server)) as terminal:
        terminal.expect("Ctrl-D")
        terminal.type(f"two\nlines\n{CTRL_D}")
        terminal.expect("ok\n")
        assert 0 == terminal.wait()

    assert [("user", "two\nlines")] == messages(server.requests[0])


# A dialogue.


def test_a_dialogue_remembers_what_was_said(serve: Serve) -> None:
    """Each question goes with all that was said before; empty ones are not asked; /exit ends it."""
    server = serve(text_reply("Hello Ann."), text_reply("Ann."))
    with Terminal("chat", "-s", "Be kind.", **at(server)) as terminal:
        terminal.expect("/exit")
        terminal.expect("> ")
        terminal.type("I am Ann\n")
        terminal.expect("Hello Ann.\n")
        terminal.expect("> ")
        terminal.type("  \n")
        terminal.expect("> ")
        terminal.type("Who am I?\n")
        terminal.expect("Ann.\n")
        terminal.expect("> ")
        terminal.type("/exit\n")

        assert 0 == terminal.wait()
    said = [("system", "Be kind."), ("user", "I am Ann"), ("assistant", "Hello Ann."), ("user", "Who am I?")]
    assert [said[:2], said] == [messages(request) for request in server.requests]


def test_a_dialogue_with_nobody() -> None:
    """A model of no provider is refused before the first question."""
    with Terminal("chat", "-m", "nope/x") as terminal:
        assert 1 == terminal.wait()
    assert "unknown provider 'nope'" in terminal.shown
    assert "listens" not in terminal.shown


def test_ctrl_c_in_a_dialogue_stops_the_answer_alone(serve: Serve) -> None:
    """Ctrl-C keeps the partial answer in the history, closes the connection, and continues the dialogue."""
    server = serve(text_reply("one two").first(2).then(Wait(None)), text_reply("fine"))
    with Terminal("chat", **at(server)) as terminal:
        terminal.expect("> ")
        terminal.type("count\n")
        terminal.expect("one")
        terminal.type(CTRL_C)
        terminal.expect("^C\n")
        terminal.expect("> ")
        assert server.requests[0].gone.wait(SECONDS)
        terminal.type("go on\n")
        terminal.expect("fine")
        terminal.expect("> ")
        terminal.type(CTRL_D)

        assert 0 == terminal.wait()
    assert [("user", "count"), ("assistant", "one"), ("user", "go on")] == messages(server.requests[1])


def test_a_question_without_an_answer_is_taken_back(serve: Serve) -> None:
    """Stopped or failed before anything came, a question leaves no trace in the history."""
    server = serve(Reply(before_head=[Wait(None)]), error_reply(400, "Too long."), text_reply("fine"))
    with Terminal("chat", **at(server)) as terminal:
        terminal.expect("> ")
        terminal.type("slow\n")
        server.wait_for_requests(1, SECONDS)
        terminal.type(CTRL_C)
        terminal.expect("^C\n")
        terminal.expect("> ")
        terminal.type("long\n")
        terminal.expect(
            " answered 400: Too long; change the messages or the options, as the same request fails again\n"
        )
        terminal.expect("> ")
        terminal.type("short\n")
        terminal.expect("fine")
        terminal.expect("> ")
        terminal.type(CTRL_D)

        assert 0 == terminal.wait()
    assert [("user", "short")] == messages(server.requests[2])


EARLY = """\
import signal
from streamkit.cli import starting
from streamkit.__main__ import main

show = starting.show

def interrupted(*given, **more):
    starting.show = show
    signal.raise_signal(signal.SIGINT)
    return show(*given, **more)

starting.show = interrupted
main()
"""


def test_ctrl_c_as_an_answer_begins(serve: Serve) -> None:
    """It stops the answer, as it does a moment later, and is no first step towards the end of the dialogue."""
    server = serve(text_reply("fine"), text_reply("fine"))
    with Terminal("chat", command=["-c", EARLY], **at(server)) as terminal:
        terminal.expect("> ")
        terminal.type("slow\n")
        terminal.expect("> ")
        terminal.type("short\n")
        terminal.expect("fine")
        terminal.expect("> ")
        terminal.type(CTRL_D)

        assert 0 == terminal.wait()
    assert [("user", "short")] == messages(server.requests[-1])
    assert "once more" not in terminal.shown


def test_an_answer_that_failed_midway_is_remembered(serve: Serve) -> None:
    """The partial answer before an error stays in the history, and the dialogue continues."""
    server = serve(text_reply("one two").first(2).then(Cut()), text_reply("fine"))
    with Terminal("chat", **at(server)) as terminal:
        terminal.expect("> ")
        terminal.type("count\n")
        terminal.expect("one\nstreamkit: ")
        terminal.expect("> ")
        terminal.type("go on\n")
        terminal.expect("fine")
        terminal.expect("> ")
        terminal.type("/exit\n")

        assert 0 == terminal.wait()
    assert [("user", "count"), ("assistant", "one"), ("user", "go on")] == messages(server.requests[1])


def test_ctrl_c_at_the_prompt_twice() -> None:
    """The first Ctrl-C says how to leave, the second in a row leaves; a line in between starts anew."""
    with Terminal("chat") as terminal:
        terminal.expect("> ")
        terminal.type("half a line")
        terminal.expect("half a line")
        terminal.interrupt("Ctrl-C once more")
        terminal.expect("> ")
        terminal.type("\n")
        terminal.expect("> ")
        terminal.interrupt("Ctrl-C once more")
        terminal.expect("> ")
        terminal.interrupt(None)

        assert 0 == terminal.wait()
    assert "Traceback" not in terminal.shown


def test_a_dialogue_with_a_model_that_cannot_be_asked() -> None:
    """If no question can be sent, an error says so before the first prompt."""
    with Terminal("chat", "-m", "openai/m") as terminal:
        assert 1 == terminal.wait()
    assert "streamkit: openai needs an API key" in terminal.shown
    assert "listens" not in terminal.shown


def test_a_dialogue_outlives_what_cannot_be_sent(serve: Serve, tmp_path: Path) -> None:
    """A question that cannot be sent is reported, and the history is kept."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "from streamkit import ConfigError\n"
        "from streamkit.providers.openai_chat.openai import OpenAI\n"
        "request = OpenAI.request\n"
        "def refuse(self, chat):\n"
        "    if chat.messages[-1]['content'] == 'impossible':\n"
        "        raise ConfigError('no word for it')\n"
        "    return request(self, chat)\n"
        "OpenAI.request = refuse\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    server = serve(text_reply("one"), text_reply("fine"))
    with Terminal("chat", **at(server, PYTHONPATH=path)) as terminal:
        for question, answer in (("count", "one\n"), ("impossible", "no word for it\n"), ("go on", "fine\n")):
            terminal.expect("> ")
            terminal.type(f"{question}\n")
            terminal.expect(answer)
        terminal.expect("> ")
        terminal.type(CTRL_D)

        assert 0 == terminal.wait()
    assert [("user", "count"), ("assistant", "one"), ("user", "go on")] == messages(server.requests[1])


def test_bytes_that_are_no_text(serve: Serve) -> None:
    """Invalid characters in typed text and in arguments are replaced, and the question is sent."""
    server = serve(text_reply("ok"))
    environment = at(server, LC_ALL="C")  # elsewhere readline leaves such bytes out
    with Terminal("chat", "-s", b"caf\xe9", **environment) as terminal:
        terminal.expect("> ")
        terminal.type(b"caf\xe9\n")
        terminal.expect("ok\n")
        terminal.expect("> ")
        terminal.type(CTRL_D)
        assert 0 == terminal.wait()
    with Terminal("chat", b"caf\xe9", **environment) as terminal:
        assert 0 == terminal.wait()
    both = [("system", "caf\ufffd"), ("user", "caf\ufffd")]
    assert [both, both[1:]] == [messages(request) for request in server.requests]


def test_a_dialogue_keeps_one_connection(serve: Serve) -> None:
    """The second question does not pay for another handshake."""
    server = serve(text_reply("one"), text_reply("two"))
    with Terminal("chat", **at(server)) as terminal:
        for question, answer in (("1\n", "one\n"), ("2\n", "two\n")):
            terminal.expect("> ")
            terminal.type(question)
            terminal.expect(answer)
        terminal.expect("> ")
        terminal.type(CTRL_D)

        assert 0 == terminal.wait()
    assert (2, 1) == (len(server.requests), server.connections)
