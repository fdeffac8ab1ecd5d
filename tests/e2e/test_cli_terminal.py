"""``streamkit chat`` on a real terminal: Markdown, the spinner, the dialogue's commands, files and options."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamkit.testing import (
    Cut,
    Reply,
    Server,
    Wait,
    WaitFor,
    chunk_event,
    json_reply,
    text_reply,
)
from tests.e2e.test_cli import CTRL_C, CTRL_D, SECONDS, Terminal, at, messages, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals and signals of POSIX")

MARKDOWN = "# Title\n\nSome **bold** text.\n\n- one\n- two\n\n```python\nx = 1\n```\n"
SHOWN = ["Title", "", "Some bold text.", "", " • one", " • two", "", "```python", "x = 1", "```"]
SPINNER = re.compile("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] \\d+ s")


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Give the children a SIGINT that is not ignored, as it is for tests that run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pieces(text: str, size: int = 3) -> list[bytes | str]:
    """Return the events of an answer in pieces."""
    return [chunk_event(text[start : start + size]) for start in range(0, len(text), size)]


# Markdown.


def test_markdown_on_a_terminal() -> None:
    """Headings, lists and code are shown as such; --plain and its variable leave the text as it is."""
    reply = Reply([*pieces(MARKDOWN), *text_reply("").steps])
    with Server(reply, reply, reply) as server:
        with Terminal("chat", "Hi", **at(server)) as terminal:
            assert 0 == terminal.wait()
        assert SHOWN == terminal.lines
        assert "\x1b[1mbold\x1b[0m" in terminal.shown
        for arguments, variables in ((["--plain"], {}), ([], {"STREAMKIT_PLAIN": "1"})):
            with Terminal("chat", "Hi", *arguments, **at(server, **variables)) as terminal:
                assert 0 == terminal.wait()
            assert MARKDOWN.rstrip("\n").split("\n") == terminal.lines


def test_markdown_while_it_streams() -> None:
    """A block is shown as Markdown while the rest of the answer has not been sent."""
    go = threading.Event()
    reply = Reply(
        [*pieces("# Title\n\nSome **bold** te"), WaitFor(go, SECONDS), chunk_event("xt."), *text_reply("").steps]
    )
    with Server(reply) as server, Terminal("chat", "Hi", **at(server)) as terminal:
        terminal.expect(" te")
        assert ["Title", "", "Some bold te"] == terminal.lines
        go.set()
        assert 0 == terminal.wait()
    assert ["Title", "", "Some bold text."] == terminal.lines


def test_an_answer_taller_than_the_screen() -> None:
    """Code of many lines is whole in the terminal's history, each line once."""
    code = "".join(f"line({number})\n" for number in range(100))
    reply = Reply([*pieces(f"```python\n{code}```\n\nEnd", 40), *text_reply("").steps])
    with Server(reply) as server, Terminal("chat", "Hi", **at(server, LINES="12", COLUMNS="80")) as terminal:
        assert 0 == terminal.wait()
    assert ["```python", *code.split("\n")[:-1], "```", "", "End"] == terminal.lines


def test_an_answer_that_fails_midway_is_shown() -> None:
    """What came before a failure stays, rendered, above the error."""
    with Server(Reply([chunk_event("**one** tw"), Cut()])) as server, Terminal("chat", "Hi", **at(server)) as terminal:
        assert 1 == terminal.wait()
    assert "one tw" == terminal.lines[0]
    assert terminal.lines[1].startswith("streamkit: ")


def test_a_pipe_gets_markdown_as_it_is() -> None:
    """No option changes what goes into a pipe."""
    with Server(Reply([*pieces(MARKDOWN), *text_reply("").steps])) as server:
        assert MARKDOWN == run("chat", "Hi", FORCE_COLOR="1", **at(server)).stdout


# The spinner.


@pytest.mark.parametrize("plain", [[], ["--plain"]])
def test_the_seconds_until_the_first_token(plain: list[str]) -> None:
    """While nothing came, the seconds are on the screen; the first token takes their place."""
    go = threading.Event()
    reply = Reply([WaitFor(go, SECONDS), *text_reply("answer").steps])
    with Server(reply) as server, Terminal("chat", "Hi", *plain, **at(server)) as terminal:
        terminal.expect(" 1 s")
        assert [True] == [SPINNER.fullmatch(line) is not None for line in terminal.lines]
        go.set()
        assert 0 == terminal.wait()
    assert ["answer"] == terminal.lines


def test_ctrl_c_takes_the_spinner_away() -> None:
    """Ctrl-C while the seconds are shown leaves nothing but itself."""
    with (
        Server(Reply(before_head=[Wait(None)])) as server,
        Terminal("chat", "Hi", **at(server)) as terminal,
    ):
        terminal.expect(" 1 s")
        terminal.type(CTRL_C)
        assert 130 == terminal.wait()
    assert ["^C"] == terminal.lines


def test_no_spinner_elsewhere() -> None:
    """A pipe and a terminal that cannot move its cursor get no seconds."""
    reply = Reply([Wait(1.2), *text_reply("answer").steps])
    with Server(reply, reply) as server:
        done = run("chat", "Hi", **at(server))
        assert ("answer\n", "") == (done.stdout, done.stderr)
        with Terminal("chat", "Hi", **at(server, TERM="dumb")) as terminal:
            assert 0 == terminal.wait()
        assert "answer\n" == terminal.shown


def test_no_stream() -> None:
    """With --no-stream nothing is shown until the answer has ended; after Ctrl-C, what came."""
    go = threading.Event()
    reply = Reply([chunk_event("one "), WaitFor(go, SECONDS), chunk_event("two"), *text_reply("").steps])
    with Server(reply, text_reply("one two").first(2).then(Wait(None))) as server:
        with Terminal("chat", "--no-stream", "Hi", **at(server)) as terminal:
            terminal.expect(" 1 s")
            assert "one" not in terminal.shown
            go.set()
            assert 0 == terminal.wait()
        assert ["one two"] == terminal.lines
        with Terminal("chat", "--no-stream", "Hi", **at(server)) as terminal:
            terminal.expect(" 1 s")
            terminal.type(CTRL_C)
            assert 130 == terminal.wait()
        assert ["one^C"] == terminal.lines


# The dialogue's commands.


def ask(terminal: Terminal, typed: str, answer: str) -> None:
    """Type a line at the prompt, and wait for an answer to it."""
    terminal.expect("> ")
    terminal.type(f"{typed}\n")
    terminal.expect(answer)


def leave(terminal: Terminal) -> None:
    terminal.expect("> ")
    terminal.type("/exit\n")
    assert 0 == terminal.wait()


def test_commands() -> None:
    """Each command does what /help says, and none of them is sent."""
    with Server(text_reply("first"), text_reply("second"), text_reply("third")) as server:
        with Terminal("chat", "-s", "Be kind.", **at(server)) as terminal:
            ask(terminal, "/help", "/model [NAME]")
            for name in ("/system", "/save FILE", "/exit"):
                terminal.expect(name)
            ask(terminal, "Hello", "first\n")
            ask(terminal, "/model", "the model is openai/m\n")
            ask(terminal, "/model nobody/x", "unknown provider 'nobody'")
            terminal.expect("going on with openai/m\n")
            ask(terminal, "/model openai/other", "the model is openai/other\n")
            ask(terminal, "/system", "the system prompt is: Be kind.\n")
            ask(terminal, "/system Be brief.", "the system prompt is: Be brief.\n")
            ask(terminal, "And?", "second\n")
            ask(terminal, '/system ""', "there is no system prompt\n")
            ask(terminal, "More", "third\n")
            leave(terminal)
    models = [request.json()["model"] for request in server.requests]
    assert ["m", "other", "other"] == models
    assert [("system", "Be kind."), ("user", "Hello")] == messages(server.requests[0])
    assert ("system", "Be brief.") == messages(server.requests[1])[0]
    assert ("user", "Hello") == messages(server.requests[2])[0]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("/modle x", "there is no command /modle; did you mean /model?"),
        ("/quit", "there is no command /quit; did you mean /exit?"),
        ("/EXIT", "there is no command /EXIT; /help lists the commands"),
        ("/xyzzy", "there is no command /xyzzy; /help lists the commands"),
        ("/", "there is no command /; /help lists the commands"),
    ],
)
def test_unknown_commands(typed: str, told: str) -> None:
    """An unknown command is refused with the nearest name, and not sent."""
    with Server() as server:
        with Terminal("chat", **at(server, COLUMNS="200")) as terminal:
            ask(terminal, typed, told)
            leave(terminal)
    assert [] == server.requests


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("one \\\ntwo\\\nthree\n", "one \ntwo\nthree"),
        ('"""one\n\n  two\n"""\n', "one\n\n  two"),
        ('"""/exit"""\n', "/exit"),
        ('"""\n/help\nme\n"""\n', "/help\nme"),
        ("/etc/hosts is what?\n", "/etc/hosts is what?"),
    ],
)
def test_several_lines(typed: str, sent: str) -> None:
    """A backslash at the end goes on in the next line; between triple quotes, all is text."""
    with Server(text_reply("ok")) as server:
        with Terminal("chat", **at(server)) as terminal:
            terminal.expect("> ")
            terminal.type(typed)
            terminal.expect("ok\n")
            leave(terminal)
    assert [("user", sent)] == messages(server.requests[0])


def test_save(tmp_path: Path) -> None:
    """A dialogue is saved as Markdown or JSON; no file of somebody else's is replaced."""
    there = tmp_path / "there.md"
    there.write_text("precious")
    names = {name: tmp_path / name for name in ("talk.md", "talk.json")}
    with Server(text_reply("Hello Ann."), text_reply("Bye.")) as server:
        with Terminal("chat", "-s", "Be kind.", **at(server, COLUMNS="200")) as terminal:
            ask(terminal, "I am Ann", "Hello Ann.\n")
            for path in names.values():
                ask(terminal, f"/save {path}", "saved in ")
            ask(terminal, f"/save {there}", "is there already; name another file")
            ask(terminal, f"/save {tmp_path}/none/x", "No such file or directory; name another file")
            ask(terminal, "/save", "name the file: /save FILE")
            ask(terminal, "Bye", "Bye.\n")
            ask(terminal, f"/save {names['talk.json']}", "saved in ")
            leave(terminal)
    assert "precious" == there.read_text()
    assert (
        "## System\n\nBe kind.\n\n## User\n\nI am Ann\n\n## Assistant\n\nHello Ann.\n" == names["talk.md"].read_text()
    )
    assert [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "I am Ann"},
        {"role": "assistant", "content": "Hello Ann."},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "Bye."},
    ] == json.loads(names["talk.json"].read_text())


# Options and files.


def test_options_of_the_request() -> None:
    """-o gives any option: JSON where the value is JSON, else text."""
    given = ("top_p=0.5", "seed=7", 'stop_sequences=["a","b"]', "user=me", "reasoning-effort=low", "n=null")
    with Server(text_reply("ok")) as server:
        done = run("chat", *(word for pair in given for word in ("-o", pair)), "Hi", **at(server))
        assert (0, "ok\n", "") == (done.returncode, done.stdout, done.stderr)
        body = server.requests[0].json()
    assert (0.5, 7, ["a", "b"], "me", "low") == tuple(
        body[name] for name in ("top_p", "seed", "stop", "user", "reasoning_effort")
    )
    assert "n" not in body


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["-o", "nonsense"], 2, "an option is written NAME=VALUE, such as -o temperature=0.2"),
        (["-o", "=1"], 2, "an option is written NAME=VALUE"),
        (["-o", "model=x"], 2, "model is not for -o: use -m"),
        (["-o", "messages=[]"], 2, "messages is not for -o: use the PROMPT"),
        (["-o", "seed=1", "-o", "seed=2"], 2, "seed is given twice"),
        (["-o", "temperature=1", "--temperature", "0"], 2, "temperature is given twice"),
        (["-o", "api_key=sk-secret"], 1, "api_key belongs to a provider"),
        (["-o", "retry=0"], 1, "Retry(attempts=...)"),
        (["-a", "none.png"], 2, "none.png' does not exist"),
    ],
)
def test_options_that_cannot_be(arguments: list[str], code: int, told: str) -> None:
    """A wrong option is one line, before anything is sent, and no value is repeated."""
    with Server() as server:
        done = run("chat", *arguments, "Hi", **at(server))
    assert (code, "", 1, []) == (done.returncode, done.stdout, done.stderr.count("\n"), server.requests)
    assert told in done.stderr
    assert "sk-secret" not in done.stderr


def test_files(tmp_path: Path) -> None:
    """Images and documents go with the question, by the type that their names say."""
    for name in ("a.png", "b.pdf"):
        (tmp_path / name).write_bytes(b"data")
    with Server(text_reply("ok")) as server:
        done = run("chat", "-a", f"{tmp_path}/a.png", "-a", f"{tmp_path}/b.pdf", "What?", **at(server))
    assert (0, "ok\n", "") == (done.returncode, done.stdout, done.stderr)
    assert [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,ZGF0YQ=="}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,ZGF0YQ==", "filename": "b.pdf"}},
    ] == server.requests[0].json()["messages"][0]["content"]


def test_a_file_of_no_known_type(tmp_path: Path) -> None:
    """A file whose name does not say what it is is refused before anything is sent."""
    (tmp_path / "data").write_bytes(b"data")
    done = run("chat", "-a", f"{tmp_path}/data", "What?")
    assert (2, "") == (done.returncode, done.stdout)
    assert "give it a name that ends in its type, such as .png or .pdf" in done.stderr


def test_files_in_a_dialogue(tmp_path: Path) -> None:
    """Files go with the first question that is answered, stay in the history, and are named in a saved dialogue."""
    (tmp_path / "b.pdf").write_bytes(b"data")
    saved = tmp_path / "talk.md"
    with Server(text_reply("one"), text_reply("two")) as server:
        with Terminal("chat", "-a", f"{tmp_path}/b.pdf", **at(server)) as terminal:
            ask(terminal, "What?", "one\n")
            ask(terminal, "And?", "two\n")
            ask(terminal, f"/save {saved}", "saved in ")
            leave(terminal)
    first, _, last = server.requests[1].json()["messages"]
    assert (["text", "file"], "And?") == ([part["type"] for part in first["content"]], last["content"])
    assert "## User\n\nWhat?\n\n[b.pdf]\n" in saved.read_text()


def test_a_dialogue_checks_its_options_first() -> None:
    """An option that no question could have is an error before the first prompt."""
    with Terminal("chat", "-o", "api_key=x", "-m", "demo/storyteller") as terminal:
        assert 1 == terminal.wait()
    assert "api_key belongs to a provider" in terminal.shown
    assert "listens" not in terminal.shown


# Help and completion.


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_the_list_of_commands_is_whole(columns: str) -> None:
    """No description of a command ends in dots."""
    done = run("--help", COLUMNS=columns)
    assert (0, False) == (done.returncode, "..." in done.stdout.replace("[ARGS]...", ""))


def test_the_list_of_commands_is_right() -> None:
    """What the list says of a command, which it does not import, is what the command says of itself."""
    from streamkit.cli import root

    context = root.root.make_context("streamkit", ["demo"])
    for name, text in root._COMMANDS.items():
        command = root.root.get_command(context, name)
        assert command is not None
        assert (name, text) == (command.name, command.short_help)


def completed(line: str, cwd: Path | None = None, **environment: str) -> list[str]:
    """Return what the shell offers for the last word of a line."""
    words = line.split(" ")
    done = run(
        _STREAMKIT_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1), cwd=cwd, **environment
    )
    assert "" == done.stderr
    return [offer.partition(",")[2] for offer in done.stdout.split()]


def test_completion() -> None:
    """Providers are completed, and of the one that is meant its models."""
    listed = {"data": [{"id": "gpt-one"}, {"id": "gpt-two"}, {"id": "other"}]}
    with Server(json_reply(listed), json_reply(listed)) as server:
        asked = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "k"}
        assert ["openai/gpt-one", "openai/gpt-two"] == completed("streamkit chat -m openai/g", **asked)
    assert ["openai-completions/", "openai-responses/", "openai/"] == sorted(completed("streamkit chat -m openai"))
    assert ["demo/assistant", "demo/storyteller"] == sorted(completed("streamkit chat -m dem"))
    assert ["mistral/"] == completed("streamkit chat -m mistr")
    assert [] == completed("streamkit chat -m mistral/")
    assert ["anthropic"] == completed("streamkit models -p an")
    commands = "batch chat conversations demo doctor ledger models pack record serve team token usage web"
    assert set(commands.split()) == set(completed("streamkit "))


# The doctor.


def test_the_doctor_says_a_failure_once() -> None:
    """Where nothing answers, the reason is given once, and the verdict does not judge what never came."""
    done = run("doctor", "http://127.0.0.1:1/v1")
    assert 1 == done.returncode
    assert 1 == (done.stdout + done.stderr).count("no connection to 127.0.0.1:1")
    assert "verdict           failed: nothing was sent\n" in done.stdout
    told = json.loads(run("doctor", "http://127.0.0.1:1/v1", "--json").stdout)
    assert told["verdict"].startswith("failed: no connection to 127.0.0.1:1")
    assert "Until then" not in told["verdict"]


def test_ctrl_d_in_the_middle_of_an_input() -> None:
    """Ctrl-D ends the dialogue also where more lines were to come; these are not sent."""
    with Server() as server:
        with Terminal("chat", **at(server)) as terminal:
            terminal.expect("> ")
            terminal.type('"""one\n')
            terminal.expect("... ")
            terminal.type(CTRL_D)
            assert 0 == terminal.wait()
    assert [] == server.requests
