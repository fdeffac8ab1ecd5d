"""What ``streamkit chat`` keeps: dialogues that go on, ``streamkit conversations``, and prompts of packs."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamkit import Client, SQLStore, Tool
from streamkit.testing import Cut, Reply, Server, WaitFor, chunk_event, error_reply, text_reply, tool_call_reply
from tests.e2e.test_cli import CTRL_C, SECONDS, Terminal, at, messages, run
from tests.e2e.test_cli_terminal import ask, completed, leave
from tests.e2e.test_cli_tools import ASKED, sent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals and signals of POSIX")

WIDE = "300"  # columns, so that no line is broken
OSLO = {"city": "Oslo"}


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Give the children a SIGINT that is not ignored, as it is for tests that run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own for what is kept; it is not there yet."""
    monkeypatch.setenv("STREAMKIT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def wide(server: Server, **more: str) -> dict[str, str]:
    return at(server, COLUMNS=WIDE, **more)


def talk(server: Server, *asked: str, arguments: tuple[str, ...] = ()) -> Terminal:
    """Hold a dialogue of these questions, each answered with ``ok`` and its number."""
    with Terminal("chat", *arguments, **wide(server)) as terminal:
        for number, text in enumerate(asked, 1):
            ask(terminal, text, f"ok{number}\n")
        leave(terminal)
    return terminal


def oks(*numbers: int) -> list[Reply]:
    return [text_reply(f"ok{number}") for number in numbers]


def listed() -> list[dict[str, Any]]:
    """Return what is kept, the last one first."""
    done = run("conversations", "list", "--json")
    assert 0 == done.returncode
    return [json.loads(line) for line in done.stdout.splitlines()]


# Going on.


def test_a_dialogue_goes_on() -> None:
    """-c sends all that was said, with the model and the system prompt, and shows the last question and its answer."""
    with Server(*oks(1, 2, 3)) as server:
        talk(server, "I am Ann", "And you?", arguments=("-s", "Be {{kind}}.", "-m", "openai/other", "-o", "seed=7"))
        with Terminal("chat", "-c", **wide(server)) as terminal:
            terminal.expect('It goes on with "I am Ann", 2 turns:\n')
            terminal.expect("> And you?\nok2\n")
            ask(terminal, "Who am I?", "ok3\n")
            leave(terminal)
    assert [
        ("system", "Be {{kind}}."),
        ("user", "I am Ann"),
        ("assistant", "ok1"),
        ("user", "And you?"),
        ("assistant", "ok2"),
        ("user", "Who am I?"),
    ] == messages(server.requests[2])
    body = server.requests[2].json()
    assert ("other", 7) == (body["model"], body["seed"])


def test_the_option_store_is_one_of_the_request() -> None:
    """-o store=... goes into the request, in a conversation too."""
    with Server(*oks(1, 2)) as server:
        run("chat", "-o", "store=true", "Hi", **at(server))
        run("chat", "--conversation", "x", "-o", "store=false", "Hi", **at(server))
    assert [True, False] == [request.json()["store"] for request in server.requests]


def test_what_goes_on_may_change() -> None:
    """-m and -s replace what was kept."""
    with Server(*oks(1, 2)) as server:
        talk(server, "Hi", arguments=("-s", "Be kind."))
        done = run("chat", "-c", "-m", "openai/new", "-s", "Be brief.", "And?", **at(server))
    assert (0, "ok2\n", "") == (done.returncode, done.stdout, done.stderr)
    assert "new" == server.requests[1].json()["model"]
    assert [("system", "Be brief."), ("user", "Hi"), ("assistant", "ok1"), ("user", "And?")] == messages(
        server.requests[1]
    )


def test_one_question_is_kept_where_a_person_reads_the_answer() -> None:
    """An answer on a terminal is kept; one into a pipe is not, unless -c asks for it."""
    with Server(*oks(1, 2, 3)) as server:
        run("chat", "Into a pipe", **at(server))
        assert [] == listed()
        with Terminal("chat", "Hi", **at(server)) as terminal:
            assert 0 == terminal.wait()
        done = run("chat", "-c", "And?", **at(server))
    assert "ok3\n" == done.stdout
    assert [("user", "Hi"), ("assistant", "ok2"), ("user", "And?")] == messages(server.requests[2])
    assert [("Hi", 2)] == [(each["title"], each["turns"]) for each in listed()]


def test_no_store(data: Path) -> None:
    """With --no-store, or its variable, there is not even a file, and /help says so."""
    with Server(*oks(1, 2)) as server:
        with Terminal("chat", "Hi", "--no-store", **at(server)) as terminal:
            assert 0 == terminal.wait()
        with Terminal("chat", **wide(server, STREAMKIT_NO_STORE="1")) as terminal:
            ask(terminal, "Hi", "ok2\n")
            ask(terminal, "/help", "The dialogue is not kept")
            leave(terminal)
    assert not data.exists()


def test_conversations_by_name() -> None:
    """--conversation begins a conversation under a name, and goes on by its id, its title, or the beginning of one."""
    with Server(*oks(1, 2, 3, 4)) as server:
        first = run("chat", "--conversation", "work", "Tell me a story", **at(server))
        assert ("ok1\n", "streamkit: a new conversation begins: work\n") == (first.stdout, first.stderr)
        for name, number in (("work", 2), ("tell ME", 3)):
            done = run("chat", "--conversation", name, "More", **at(server))
            assert (f"ok{number}\n", "") == (done.stdout, done.stderr)
        with Terminal("chat", "--conversation", "wrok", **wide(server)) as terminal:
            terminal.expect("A new conversation begins: wrok.\n")
            leave(terminal)
    assert [3, 5] == [len(messages(request)) for request in server.requests[1:]]
    assert [("work", "Tell me a story", 3)] == [(each["id"], each["title"], each["turns"]) for each in listed()]


def test_a_name_of_several() -> None:
    """A name that may be one of several is refused with their ids."""
    with Server(*oks(1, 1)) as server:
        talk(server, "Tell me a story")
        talk(server, "Tell me a joke")
        ids = [each["id"][:8] for each in listed()]
        for arguments in (["chat", "--conversation", "tell", "Hi"], ["conversations", "show", "tell"]):
            done = run(*arguments, **at(server))
            assert (1, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
            assert f'{ids[0]} ("Tell me a joke", 1 turn, ' in done.stderr
            assert f'{ids[1]} ("Tell me a story", 1 turn, ' in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["-c"], 1, "there is no conversation yet to go on with"),
        (["-c", "--conversation", "x"], 2, "give one of them"),
        (["-c", "--no-store"], 2, "--no-store keeps nothing"),
        (["--conversation", " "], 2, "--conversation needs a name"),
        (["--var", "a=b"], 2, "there is no --pack"),
    ],
)
def test_what_cannot_go_on(arguments: list[str], code: int, told: str) -> None:
    """What does not go together, or is not there, is one line, before anything is sent."""
    with Server() as server:
        done = run("chat", *arguments, "Hi", **at(server))
    assert (code, "", 1, []) == (done.returncode, done.stdout, done.stderr.count("\n"), server.requests)
    assert told in done.stderr


# The dialogue's commands.


def test_undo_retry_clear() -> None:
    """/retry replaces the last answer, /undo takes the last question back, /clear all; each for what is kept too."""
    with Server(*oks(1, 2, 3, 4, 5)) as server:
        with Terminal("chat", **wide(server)) as terminal:
            ask(terminal, "/retry", "there is no question to ask again")
            ask(terminal, "/undo", "there is no question to take back")
            ask(terminal, "One", "ok1\n")
            ask(terminal, "Two", "ok2\n")
            ask(terminal, "/retry", '> "Two"\n')
            terminal.expect("ok3\n")
            ask(terminal, "/undo", 'taken back: "Two"\n')
            ask(terminal, "Three", "ok4\n")
            assert 2 == listed()[0]["turns"]
            ask(terminal, "/clear", "all that was said is forgotten")
            assert 0 == listed()[0]["turns"]
            ask(terminal, "Four", "ok5\n")
            leave(terminal)
    assert [["One"], ["One", "Two"], ["One", "Two"], ["One", "Three"], ["Four"]] == [
        [text for role, text in messages(request) if role == "user"] for request in server.requests
    ]
    assert "ok2" not in str(messages(server.requests[3]))
    assert [("Four", 1)] == [(each["title"], each["turns"]) for each in listed()]


def test_ctrl_c_keeps_the_part_that_came() -> None:
    """A stopped answer is kept as far as it was shown, and sent when the conversation goes on."""
    go = threading.Event()
    torn = Reply([chunk_event("Once upon"), WaitFor(go, SECONDS), *text_reply(" a time").steps])
    with Server(torn, *oks(2)) as server:
        with Terminal("chat", **wide(server)) as terminal:
            ask(terminal, "Tell", "Once upon")
            terminal.type(CTRL_C)
            leave(terminal)
        go.set()
        with Terminal("chat", "-c", **wide(server)) as terminal:
            terminal.expect('the last question, "Tell", was not answered to its end; /retry asks it again')
            ask(terminal, "Go on", "ok2\n")
            leave(terminal)
    assert [("user", "Tell"), ("assistant", "Once upon"), ("user", "Go on")] == messages(server.requests[1])


def test_a_dialogue_that_was_killed() -> None:
    """The question of a turn in which the program was killed is told at the next start, and /retry asks it again."""
    go = threading.Event()
    torn = Reply([chunk_event("Once upon"), WaitFor(go, SECONDS), *text_reply(" a time").steps])
    with Server(*oks(1), torn, *oks(3)) as server:
        with Terminal("chat", **wide(server)) as terminal:
            ask(terminal, "Hi", "ok1\n")
            ask(terminal, "Tell", "Once upon")
            terminal.process.kill()
            terminal.wait()
        go.set()
        with Terminal("chat", "-c", **wide(server)) as terminal:
            terminal.expect(
                'the last question, "Tell", was not answered (the program ended in the middle of this turn)'
            )
            ask(terminal, "/retry", "ok3\n")
            leave(terminal)
    assert [("user", "Hi"), ("assistant", "ok1"), ("user", "Tell")] == messages(server.requests[2])
    assert 2 == listed()[0]["turns"]


def test_a_failed_question_can_be_asked_again() -> None:
    """A question that got no answer is not a part of the history, and /retry asks it again."""
    with Server(error_reply(400), *oks(2)) as server:
        with Terminal("chat", **wide(server)) as terminal:
            ask(terminal, "Hi", "streamkit: ")
            ask(terminal, "/retry", "ok2\n")
            leave(terminal)
    assert [[("user", "Hi")]] * 2 == [messages(request) for request in server.requests]


MODULE = '''
def forecast(city: str) -> str:
    """The weather of a city."""
    return f"grey in {city}"
'''


FORECAST = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def test_a_turn_that_waits(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that wait since a program ended are told; /resume asks about them, and the answer goes on."""
    (tmp_path / "mine.py").write_text(MODULE)
    data.mkdir()
    with Server(tool_call_reply("forecast", OSLO), *oks(2)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        store = SQLStore(data / "conversations.db")
        with Client() as client:
            chat = client.conversation(
                "openai/m", tools=[Tool("forecast", parameters=FORECAST)], store=store, id="weather"
            )
            chat.send("Oslo?")
        assert "suspended" == chat.status
        store.close()
        done = run("chat", "-c", "Hi", **at(server))
        assert (1, "") == (done.returncode, done.stdout)
        assert 'waits for a decision on forecast(city="Oslo")' in done.stderr
        with Terminal("chat", "-c", "--tool", "mine:forecast", cwd=tmp_path, **wide(server)) as terminal:
            terminal.expect('the answer to "Oslo?" waits for a decision on forecast(city="Oslo"): /resume asks for it')
            ask(terminal, "Hi", "calls of the last answer wait: /resume decides on them")
            ask(terminal, "/resume", ASKED)
            terminal.type("y\n")
            terminal.expect("ok2\n")
            leave(terminal)
    assert ("tool", "grey in Oslo") == sent(server.requests[1])[-1]


# Two at once.


def test_two_terminals_in_one_conversation() -> None:
    """Who is behind is told before anything is sent, has the other's turns then, and goes on."""
    go = threading.Event()
    slow = Reply([chunk_event("Once upon"), WaitFor(go, SECONDS), *text_reply(" a time").steps])
    with Server(*oks(1), slow, *oks(3)) as server:
        talk(server, "Hi")
        with Terminal("chat", "-c", **wide(server)) as one, Terminal("chat", "-c", **wide(server)) as two:
            two.expect("> ")
            ask(one, "Slowly", "Once upon")
            two.type("Me too\n")
            two.expect('another program is asking in this conversation just now: "Slowly"; ask again in a while')
            go.set()
            one.expect(" a time\n")
            leave(one)
            ask(two, "Me too", "another program has gone on with this conversation, which has 2 turns now; nothing was")
            two.expect("> Slowly\nOnce upon a time\n")
            ask(two, "Me too", "ok3\n")
            leave(two)
    assert ["Hi", "Slowly", "Me too"] == [text for role, text in messages(server.requests[2]) if role == "user"]
    assert (3, 3) == (len(server.requests), listed()[0]["turns"])


def test_a_conversation_that_was_deleted_meanwhile() -> None:
    """The dialogue says so, and begins it anew with the next question."""
    with Server(*oks(1, 2)) as server:
        with Terminal("chat", **wide(server)) as terminal:
            ask(terminal, "Hi", "ok1\n")
            assert 0 == run("conversations", "delete", "--all", "--yes").returncode
            ask(terminal, "And?", "another program has deleted or cleared this conversation")
            ask(terminal, "And?", "ok2\n")
            leave(terminal)
    assert [("user", "And?")] == messages(server.requests[1])
    assert [("And?", 1)] == [(each["title"], each["turns"]) for each in listed()]


# Where nothing can be kept.


def test_a_folder_that_cannot_be() -> None:
    """Without a folder a dialogue goes on all the same, after one warning; what needs what is kept is an error."""
    place = {"STREAMKIT_DATA": "/dev/null/data"}
    with Server(*oks(1, 2)) as server:
        with Terminal("chat", **wide(server, **place)) as terminal:
            ask(
                terminal,
                "Hi",
                "streamkit: this conversation is not kept: no conversation can be kept in /dev/null/data",
            )
            terminal.expect("ok1\n")
            ask(terminal, "And?", "ok2\n")
            ask(terminal, "/help", "The dialogue is not kept")
            leave(terminal)
        assert 1 == terminal.shown.count("this conversation is not kept")
        done = run("chat", "-c", "Hi", **at(server, **place))
    assert [("user", "Hi"), ("assistant", "ok1"), ("user", "And?")] == messages(server.requests[1])
    assert (1, "", 2) == (done.returncode, done.stdout, len(server.requests))
    assert "no conversation can be kept in /dev/null/data: Not a directory" in done.stderr


def test_a_file_that_is_no_database(data: Path) -> None:
    """A damaged file is told, and stays as it is; the answer comes all the same."""
    data.mkdir()
    (data / "conversations.db").write_bytes(b"no database" * 1000)
    with Server(*oks(1, 2)) as server:
        with Terminal("chat", **wide(server)) as terminal:
            ask(terminal, "Hi", "this conversation is not kept: ")
            terminal.expect("ok1\n")
            leave(terminal)
        with Terminal("chat", "Hi", **wide(server)) as terminal:
            assert 0 == terminal.wait()
    assert ["ok2"] == terminal.lines[:1]
    assert "this conversation is not kept: " in terminal.lines[1]
    assert b"no database" * 1000 == (data / "conversations.db").read_bytes()


def test_a_lock_that_goes_away(data: Path) -> None:
    """What could not be kept because somebody else writes is kept with the next turn."""
    with Server(*oks(1, 2, 3)) as server, Terminal("chat", **wide(server)) as terminal:
        ask(terminal, "One", "ok1\n")
        terminal.expect("> ")
        other = sqlite3.connect(data / "conversations.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        terminal.type("Two\n")
        terminal.expect("this conversation is not kept: ")
        terminal.expect("ok2\n")
        terminal.expect("> ")
        other.execute("ROLLBACK")
        other.close()
        terminal.type("Three\n")
        terminal.expect("ok3\n")
        leave(terminal)
    assert 3 == listed()[0]["turns"]


@pytest.mark.parametrize(("name", "called"), [("sqlalchemy", "SQLAlchemy"), ("platformdirs", "platformdirs")])
def test_without_a_library(tmp_path: Path, name: str, called: str) -> None:
    """Without a library of the extra, a dialogue goes on after a warning; what needs it is an error with the extra."""
    (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('none', name={name!r})\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    missing = {"PYTHONPATH": path, "STREAMKIT_DATA": ""} if name == "platformdirs" else {"PYTHONPATH": path}
    remedy = f'keeping conversations needs {called}: python -m pip install "streamkit[cli]"'
    with Server(*oks(1)) as server:
        with Terminal("chat", **wide(server, **missing)) as terminal:
            ask(terminal, "Hi", f"this conversation is not kept: {remedy}")
            terminal.expect("ok1\n")
            leave(terminal)
        for arguments in (["chat", "-c", "Hi"], ["conversations"]):
            done = run(*arguments, **at(server, **missing))
            if arguments == ["conversations"] and name == "sqlalchemy":
                continue  # nothing is kept, so nothing is read
            assert (1, f"streamkit: {remedy}\n") == (done.returncode, done.stderr)


def test_nothing_comes_before_the_first_token(tmp_path: Path) -> None:
    """The answer to one question, and the prompt of a dialogue, do not wait for what keeps them."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "sqlalchemy.py").write_text(
        f"open({str(fifo)!r}).read()\nraise ModuleNotFoundError(name='sqlalchemy')\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with Server(*oks(1)) as server:
        for arguments, shown in ((["Hi"], "ok1"), ([], "> ")):
            with Terminal("chat", *arguments, **wide(server, PYTHONPATH=path)) as terminal:
                terminal.expect(shown)
                fifo.write_text("")  # waits for its reader
                if not arguments:
                    terminal.type("/exit\n")
                assert 0 == terminal.wait()


def test_only_the_user_may_read(data: Path) -> None:
    """Folder and files are for the user alone, and closed again if somebody opened them."""
    old = os.umask(0)
    try:
        with Server(*oks(1, 2)) as server:
            with Terminal("chat", **wide(server)) as terminal:
                ask(terminal, "Hi", "ok1\n")
                terminal.expect("> ")
                modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (data, *data.iterdir())}
                terminal.type("/exit\n")
                assert 0 == terminal.wait()
            (data / "conversations.db").chmod(0o644)
            run("chat", "-c", "And?", **at(server))
    finally:
        os.umask(old)
    assert 0o700 == modes.pop(data)
    assert {0o600} == set(modes.values())
    assert 0o600 == stat.S_IMODE((data / "conversations.db").stat().st_mode)


def test_the_folder_of_the_user(tmp_path: Path) -> None:
    """Without STREAMKIT_DATA it is the user's data folder, as the platform has it."""
    with Server(*oks(1)) as server:
        run("chat", "--conversation", "x", "Hi", **at(server, STREAMKIT_DATA="", XDG_DATA_HOME=str(tmp_path / "xdg")))
    assert (tmp_path / "xdg" / "streamkit" / "conversations.db").exists() or sys.platform == "darwin"


# streamkit conversations.


def test_the_list() -> None:
    """Each line has id, time, turns, model and title; the last one is first; without anything a line says so."""
    done = run("conversations")
    assert (0, "", "streamkit: nothing is kept yet; streamkit chat begins a conversation\n") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )
    with Server(*oks(1, 1, 2)) as server:
        run("chat", "--conversation", "work", "Plan\nthe day", **at(server))
        talk(server, "Tell me a story about a pier", "More")
    lines = run("conversations").stdout.splitlines()
    id = listed()[0]["id"]
    assert [[id[:8], "2 turns"], ["work    ", " 1 turn"]] == [[line[:8], line[28:35]] for line in lines]
    assert ["openai/m  Tell me a story about a pier", "openai/m  Plan"] == [line[37:] for line in lines]
    with Terminal("conversations", COLUMNS="70") as terminal:
        assert 0 == terminal.wait()
    assert [70, True] == [len(terminal.lines[0]), terminal.lines[0].endswith("…")]


def test_show() -> None:
    """A conversation is shown as Markdown without control characters, with what did not end; or as JSON."""
    with Server(text_reply("red \x1b[31m."), Reply([chunk_event("Part"), Cut()])) as server:
        run("chat", "--conversation", "work", "-s", "Be {{kind}}.", "Colour?", **at(server))
        run("chat", "--conversation", "work", "More", **at(server))
    done = run("conversations", "show", "colour")
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("Colour?\nid work, openai/m, 2 turns, ")
    assert (
        "\n\n## System\n\nBe {{kind}}.\n\n## User\n\nColour?\n\n## Assistant\n\nred [31m.\n\n"
        "## User\n\nMore\n\n## Assistant\n\nPart\n\n[not answered to its end: "
    ) in done.stdout
    turns = [json.loads(line) for line in run("conversations", "show", "work", "--json").stdout.splitlines()]
    assert [("Colour?", "complete"), ("More", "partial")] == [
        (each["asked"]["content"], each["state"]) for each in turns
    ]
    done = run("conversations", "show", "wrok")
    assert (1, "") == (done.returncode, done.stdout)
    assert "did you mean 'work'" in done.stderr


def test_delete() -> None:
    """Deleting asks on a terminal, needs --yes elsewhere, and takes several names or all."""
    with Server(*oks(1, 2, 3)) as server:
        for name in ("one", "two", "three"):
            run("chat", "--conversation", name, f"I am {name}", **at(server))
    done = run("conversations", "delete", "one")
    assert (2, 3) == (done.returncode, len(listed()))
    for answer, left in (("n\n", 3), ("y\n", 2)):
        with Terminal("conversations", "delete", "I am two") as terminal:
            terminal.expect("Delete it? [y/N]: ")
            terminal.type(answer)
            terminal.wait()
        assert left == len(listed())
    done = run("conversations", "delete", "one", "four", "--yes")
    assert (1, 2) == (done.returncode, len(listed()))
    done = run("conversations", "delete", "--all", "-y")
    assert (0, 2, []) == (done.returncode, done.stdout.count("deleted: "), listed())
    assert 2 == run("conversations", "delete").returncode


def test_completion_of_conversations(data: Path) -> None:
    """The ids of kept conversations are completed, by id or by title; without any no file is made."""
    assert [] == completed("streamkit chat --conversation w")
    assert not data.exists()
    with Server(*oks(1, 2)) as server:
        run("chat", "--conversation", "work", "Plan", **at(server))
        run("chat", "--conversation", "home", "Rest", **at(server))
    assert ["work"] == completed("streamkit chat --conversation w")
    assert ["home"] == completed("streamkit conversations show re")
    assert ["home", "work"] == sorted(completed("streamkit conversations delete "))
    assert ["delete", "list", "show"] == sorted(completed("streamkit conversations "))


# Packs.

PACK = {
    "prompts": {
        "weather": {
            "system_template": "You help {{who}} in {{lang}}, {{days}} days, {{places}}.",
            "variables": [
                {
                    "name": "who",
                    "type": "string",
                    "required": True,
                    "description": "The customer",
                    "validation": {"min_length": 2},
                },
                {"name": "days", "type": "number", "required": True},
                {"name": "lang", "type": "string", "required": False, "default": "English"},
                {"name": "places", "type": "array", "required": False, "default": []},
            ],
            "parameters": {"temperature": 0.3},
            "tools": ["forecast"],
            "validators": [
                {"type": "banned_words", "enabled": True, "fail_on_violation": True, "params": {"words": ["secret"]}},
                {
                    "type": "max_length",
                    "enabled": True,
                    "params": {"max_characters": 20, "message": "[enough]"},
                },
            ],
        },
        "other": {"system_template": "Hi."},
    },
    "tools": {
        "forecast": {
            "name": "forecast",
            "description": "The weather of a city",
            "parameters": FORECAST,
        }
    },
}
GIVEN = ("--var", "who=Ann", "--var", "days=3")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a pack and a module of tools."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "shop.json").write_text(json.dumps(PACK))
    (folder / "mine.py").write_text(MODULE)
    return folder


def test_a_prompt_of_a_pack(here: Path) -> None:
    """The prompt's template, parameters and tools are sent; a value is of its type, and braces in it stay."""
    with Server(*oks(1)) as server:
        variables = ["--var", "who={{lang}}", "--var", "days=3", "--var", 'places=["Oslo"]']
        done = run("chat", "--pack", "shop.json#weather", *variables, "Hi", cwd=here, **at(server))
    assert (0, "ok1\n", "") == (done.returncode, done.stdout, done.stderr)
    body = server.requests[0].json()
    assert ("system", 'You help {{lang}} in English, 3 days, ["Oslo"].') == messages(server.requests[0])[0]
    assert (0.3, ["forecast"]) == (body["temperature"], [tool["function"]["name"] for tool in body["tools"]])


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["shop.json"], 2, "name one of its prompts: shop.json#weather, shop.json#other"),
        (["shop.json#wether"], 1, "has no prompt 'wether'"),
        (["none.json#x"], 1, "none.json is refused: $: cannot be read: No such file or directory"),
        (["shop.json#weather"], 2, "the prompt weather needs --var who=VALUE --var days=VALUE"),
        (["shop.json#weather", "--var", "who=A", "--var", "days=3"], 2, "--var who: the value is a string, at least 2"),
        (["shop.json#weather", "--var", "who=Ann", "--var", "days=x"], 2, "--var days: the value is a number"),
        (["shop.json#weather", *GIVEN, "--var", "places=x"], 2, "--var places: the value is no JSON; it is an array"),
        (["shop.json#weather", *GIVEN, "--var", "lnag=x"], 2, "has no such variable; did you mean lang?"),
        (["shop.json#weather", *GIVEN, "--var", "who=Bob"], 2, "--var who is given twice"),
        (["shop.json#weather", *GIVEN, "--var", "who"], 2, "a variable is written NAME=VALUE"),
        (["shop.json#other", "-s", "Be kind."], 2, "the system prompt is that of --pack, or -s"),
        (["shop.json#other", "--tool", "mine:forecast"], 1, "has no tool 'forecast'"),
        (["shop.json#other", "-o", "owner=x"], 2, "owner cannot be given by -o together with --pack"),
    ],
)
def test_packs_that_cannot_be(here: Path, arguments: list[str], code: int, told: str) -> None:
    """What is wrong or missing is one line, before anything is sent."""
    with Server() as server:
        done = run("chat", "--pack", *arguments, "Hi", cwd=here, **at(server))
    assert (code, "", 1, []) == (done.returncode, done.stdout, done.stderr.count("\n"), server.requests)
    assert told in done.stderr


def test_variables_are_asked_for(here: Path) -> None:
    """On a terminal missing variables are asked for, with their descriptions, until they are allowed."""
    with Server(*oks(1)) as server:
        with Terminal("chat", "--pack", "shop.json#weather", "Hi", cwd=here, **wide(server)) as terminal:
            terminal.expect("who: string, required, at least 2 characters: The customer\nwho= ")
            terminal.type("A\n")
            terminal.expect("streamkit: the value is a string, at least 2 characters\nwho= ")
            terminal.type("Ann\n")
            terminal.expect("days= ")
            terminal.type("3\n")
            terminal.expect("ok1\n")
            assert 0 == terminal.wait()
    assert ("system", "You help Ann in English, 3 days, [].") == messages(server.requests[0])[0]


def test_tools_of_a_pack(here: Path) -> None:
    """--tool gives a tool of the pack its function, and each call is asked about; without one it is rejected."""
    replies = [tool_call_reply("forecast", OSLO), text_reply("Grey.")]
    with Server(*replies, *replies) as server:
        pack = ("chat", "--pack", "shop.json#weather", *GIVEN, "Hi")
        with Terminal(*pack, "--tool", "mine:forecast", cwd=here, **wide(server)) as terminal:
            terminal.expect(ASKED)
            terminal.type("y\n")
            terminal.expect("Grey.\n")
            assert 0 == terminal.wait()
        done = run(*pack, cwd=here, **at(server))
    assert "The weather of a city" == server.requests[0].json()["tools"][0]["function"]["description"]
    assert ("tool", "grey in Oslo") == sent(server.requests[1])[-1]
    assert (0, "streamkit: forecast was not called: no --tool has its function\n") == (done.returncode, done.stderr)


def test_the_rules_of_a_pack(here: Path) -> None:
    """An answer that is cut off by a rule says by which; one that fails is an error."""
    long = text_reply("It is grey all over the country.")
    secret = text_reply("The secret is out.")
    with Server(long, long, secret) as server:
        pack = ("chat", "--pack", "shop.json#weather", *GIVEN, "Hi")
        with Terminal(*pack, cwd=here, **wide(server)) as terminal:
            assert 0 == terminal.wait()
        assert [
            "It is grey all over [enough]",
            "[the answer was cut off: max_length: it is longer than 20 characters]",
        ] == (terminal.lines[-2:])
        done = run(*pack, cwd=here, **at(server))
        assert (0, "It is grey all over [enough]\n") == (done.returncode, done.stdout)
        assert "streamkit: the answer was cut off: max_length: it is longer than 20 characters\n" == done.stderr
        done = run(*pack, cwd=here, **at(server))
    assert (1, "The \n") == (done.returncode, done.stdout)
    assert "the validator 'banned_words' cut the reply off: " in done.stderr
    assert "partial" not in done.stderr


def test_a_pack_goes_on(here: Path, tmp_path: Path) -> None:
    """-c goes on by the same prompt, with its rules and the values it had; without the file it is refused."""
    with Server(*oks(1), text_reply("The secret.")) as server:
        with Terminal("chat", "--pack", "shop.json#weather", *GIVEN, cwd=here, **wide(server)) as terminal:
            ask(terminal, "Hi", "ok1\n")
            ask(terminal, "/system x", "the system prompt is that of the pack")
            leave(terminal)
        done = run("chat", "-c", "--var", "lang=Norwegian", "And?", cwd=tmp_path, **at(server))
        assert "cut the reply off" in done.stderr
        (here / "shop.json").unlink()
        gone = run("chat", "-c", "And?", cwd=tmp_path, **at(server))
    assert ("system", "You help Ann in Norwegian, 3 days, [].") == messages(server.requests[1])[0]
    assert 4 == len(messages(server.requests[1]))
    assert (2, 2) == (gone.returncode, len(server.requests))
    assert f"this conversation is by {here}/shop.json#weather, and there is no such file any more" in gone.stderr


def test_the_model_of_a_pack(here: Path) -> None:
    """A pack names no model: without -m, a variable or a key the choices are listed."""
    done = run("chat", "--pack", "shop.json#other", "Hi", cwd=here)
    assert (1, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert "no model is named: name one with -m, such as demo/storyteller, or set STREAMKIT_MODEL" in done.stderr


def test_pack_show_says_how_to_chat(here: Path) -> None:
    """Each prompt ends with the command that talks by it."""
    lines = [line.strip() for line in run("pack", "show", "shop.json", cwd=here).stdout.splitlines()]
    assert "streamkit chat --pack 'shop.json#weather' --var who=VALUE --var days=VALUE --tool MODULE:forecast" in lines
    assert "streamkit chat --pack 'shop.json#other'" in lines
