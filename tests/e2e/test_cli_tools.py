"""``streamkit chat`` with tools and JSON schemas: what is asked before a call, shown, sent, and kept."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from streamkit.testing import Reply, Request, Server, Wait, WaitFor, chunk_event, text_reply, tool_call_reply
from tests.e2e.test_cli import CTRL_C, CTRL_D, SECONDS, Terminal, at, run
from tests.e2e.test_cli_terminal import ask, completed, leave, pieces

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals and signals of POSIX")

ASKED = "[y]es, [n]o, [e]dit, [a]lways? "
OSLO = {"city": "Oslo"}
NO_TERMINAL = "there is no terminal to ask on; --yes calls tools without asking"

MODULE = '''
import pathlib
import time

import streamkit


def weather(city: str, unit: str = "C") -> dict:
    """The weather of a city."""
    with pathlib.Path("called").open("a") as file:
        file.write(f"{city} {unit}\\n")
    print("weather was called")
    return {"city": city, "sky": "grey " * 40}


def fails(city: str) -> str:
    """Fails."""
    raise ValueError(f"no such city: {city}")


def reports(city: str, context: streamkit.ToolContext) -> str:
    """Waits until it is stopped."""
    context.report("has begun")
    context.stop.wait()
    return "stopped"


def deaf(city: str) -> str:
    """Does not look whether it is stopped."""
    print("deaf has begun", flush=True)
    time.sleep(1000)
    return ""


async def later(city: str) -> str:
    return city


@streamkit.tool(needs_approval=False)
def own(city: str) -> str:
    """A tool already."""
    return f"own {city}"


class Shop:
    def price(self, city: str) -> float:
        """The price of a city."""
        return 3.5


shop = Shop()
elsewhere = streamkit.Tool("elsewhere", "Is carried out elsewhere.")
NUMBER = 3
'''


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Give the children a SIGINT that is not ignored, as it is for tests that run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a module of tools."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "fails_at_once.py").write_text("1 / 0\n")
    (tmp_path / "exits.py").write_text("raise SystemExit('usage: exits')\n")
    (tmp_path / "needs.py").write_text("import nonexistent_module\n")
    (tmp_path / "wrong.py").write_text("def f(:\n")
    return tmp_path


def called(here: Path) -> list[str]:
    """Return the arguments with which the function was called."""
    path = here / "called"
    return path.read_text().splitlines() if path.exists() else []


def sent(request: Request) -> list[tuple[str, Any]]:
    """Return the roles and contents of what was sent; for an assistant's message the names of its calls."""
    return [
        (each["role"], [call["function"]["name"] for call in each.get("tool_calls", ())] or each["content"])
        for each in request.json()["messages"]
    ]


def two_calls(name: str = "weather") -> Reply:
    return tool_call_reply(name, OSLO, (name, {"city": "Rome"}))


# The questions.


def test_each_call_is_asked_about(here: Path) -> None:
    """A call and its arguments are shown before it is made; yes makes it, no tells the model why not."""
    with Server(two_calls(), text_reply("It is grey.")) as server:
        with Terminal("chat", "Weather?", "--tool", "mine:weather", cwd=here, **at(server)) as terminal:
            terminal.expect(f'weather(city="Oslo")\n\x1b[0m{ASKED}')
            assert [] == called(here)
            terminal.type("y\n")
            terminal.expect(ASKED)
            terminal.type("n I know Rome\n")
            assert 0 == terminal.wait()
    assert ["Oslo C"] == called(here)
    lines = terminal.lines
    assert ['weather(city="Oslo")', f"{ASKED}y", 'weather(city="Rome")', f"{ASKED}n I know Rome"] == lines[:4]
    assert ["It is grey."] == lines[-1:]
    shown = next(line for line in lines if line.startswith("weather: "))
    assert (80, "…") == (len(shown), shown[-1])  # a result takes one line
    _, _, oslo, rome = sent(server.requests[1])
    assert ("tool", {"city": "Oslo", "sky": "grey " * 40}) == (oslo[0], json.loads(oslo[1]))
    assert ("tool", "Not approved: I know Rome. The function was not called.") == rome


def test_always(here: Path) -> None:
    """A tool that is always called is not asked about again, in later questions either; others are."""
    replies = [two_calls(), text_reply("one"), two_calls(), text_reply("two"), two_calls("own"), text_reply("three")]
    tools = ["--tool", "mine:weather", "--tool", "mine:own"]
    with Server(*replies) as server, Terminal("chat", *tools, cwd=here, **at(server)) as terminal:
        ask(terminal, "Weather?", ASKED)
        terminal.type("?\n")
        terminal.expect("this tool without asking from now on")
        terminal.expect(ASKED)
        terminal.type("a\n")
        terminal.expect("one\n")
        ask(terminal, "Again", "two\n")
        ask(terminal, "And?", ASKED)
        terminal.type("always\n")
        terminal.expect("three\n")
        leave(terminal)
    assert 3 == terminal.shown.count(ASKED)
    assert ["Oslo C", "Rome C"] * 2 == called(here)


def test_edit(here: Path) -> None:
    """The arguments can be edited in their line; what does not fit is told, and asked for again."""
    with Server(tool_call_reply("weather", OSLO), text_reply("ok")) as server:
        with Terminal("chat", "Hi", "--tool", "mine:weather", cwd=here, **at(server, COLUMNS="300")) as terminal:
            terminal.expect(ASKED)
            terminal.type("e\n")
            terminal.expect("arguments: ")
            terminal.type("\x15{\n")  # Ctrl-U takes the line away
            terminal.expect("streamkit: the arguments are no JSON: ")
            terminal.expect("arguments: ")
            terminal.type("\x15[1]\n")
            terminal.expect('streamkit: the arguments are a JSON object, such as {"city": "Oslo"}; ')
            terminal.expect("arguments: ")
            terminal.type('\x15{"town": "Oslo"}\n')
            terminal.expect("`city` is required and missing")
            terminal.expect("arguments: ")
            terminal.type("\x15\n")  # back to the question
            terminal.expect(ASKED)
            terminal.type("e\n")
            terminal.expect("arguments: ")
            terminal.type('\x7f, "unit": "F"}\n')  # at the end of what stands there
            assert 0 == terminal.wait()
    assert ["Oslo F"] == called(here)
    assert "The arguments were changed" in sent(server.requests[1])[-1][1]


def test_keys_typed_before_a_question_are_no_answer(here: Path) -> None:
    """What was typed while the model wrote allows nothing."""
    go = threading.Event()
    calls = Reply([chunk_event("Let me see."), WaitFor(go, SECONDS), *tool_call_reply("weather", OSLO).steps])
    with Server(calls, text_reply("ok")) as server:
        with Terminal("chat", "Hi", "--tool", "mine:weather", cwd=here, **at(server)) as terminal:
            terminal.expect("Let me see.")
            terminal.type("y\n")
            terminal.expect("y\n")  # the terminal's own echo
            go.set()
            terminal.expect(ASKED)
            terminal.type("n\n")
            assert 0 == terminal.wait()
    assert [] == called(here)


def test_ctrl_d_at_a_question_is_no(here: Path) -> None:
    """The end of the input is no permission."""
    with Server(tool_call_reply("weather", OSLO), text_reply("ok")) as server:
        with Terminal("chat", "Hi", "--tool", "mine:weather", cwd=here, **at(server)) as terminal:
            terminal.expect(ASKED)
            terminal.type(CTRL_D)
            assert 0 == terminal.wait()
    assert [] == called(here)


def test_what_a_model_writes_cannot_hide_what_it_calls(here: Path) -> None:
    """All arguments are shown, a line each where they are long, and nothing in them controls the terminal."""
    text = "x" * 70 + "\x1b[2J\n\u202e"
    with Server(tool_call_reply("weather", {"city": text, "unit": "C"}), text_reply("ok")) as server:
        with Terminal("chat", "Hi", "--tool", "mine:weather", cwd=here, **at(server, COLUMNS="120")) as terminal:
            terminal.expect(ASKED)
            terminal.type("n\n")
            assert 0 == terminal.wait()
    assert ["weather(", f'    city="{"x" * 70}\\u001b[2J\\n\\u202e",', '    unit="C",', ")"] == [
        line for line in terminal.shown.replace("\x1b[1m", "").split("\n") if line.startswith(("weather(", "    ", ")"))
    ]


def test_yes(here: Path) -> None:
    """With --yes nothing is asked; on a terminal each call is shown all the same."""
    with Server(two_calls(), text_reply("ok"), two_calls(), text_reply("ok")) as server:
        with Terminal("chat", "Hi", "--yes", "--tool", "mine:weather", cwd=here, **at(server)) as terminal:
            assert 0 == terminal.wait()
        assert ['weather(city="Oslo")', 'weather(city="Rome")'] == [
            line for line in terminal.lines if line.startswith("weather(")
        ]
        done = run("chat", "Hi", "-y", "--tool", "mine:weather", cwd=here, **at(server))
    assert (0, "ok\n", "weather was called\n" * 2) == (done.returncode, done.stdout, done.stderr)
    assert ["Oslo C", "Rome C"] * 2 == called(here)


def test_without_a_terminal_nothing_is_called(here: Path) -> None:
    """Where nobody can be asked, calls are rejected, and standard error says why; the model answers on."""
    with Server(two_calls(), text_reply("Then not.")) as server:
        done = run("chat", "Hi", "--tool", "mine:weather", cwd=here, **at(server))
    assert (0, "Then not.\n") == (done.returncode, done.stdout)
    assert f"streamkit: weather was not called: {NO_TERMINAL}\n" * 2 == done.stderr
    assert [] == called(here)
    assert ("tool", "Not approved: there is nobody to ask. The function was not called.") == sent(server.requests[1])[
        -1
    ]


def test_the_answer_goes_into_a_file(here: Path) -> None:
    """If standard output is a file, the question is on standard error, and the file has the answer alone."""
    with Server(Reply([chunk_event("Let me see."), *two_calls().steps]), text_reply("It is grey.")) as server:
        into_a_file = "os.dup2(os.open('out', os.O_WRONLY | os.O_CREAT), 1)"
        code = f"import os, sys; {into_a_file}; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        launch = ["-c", code, "-m", "streamkit", "chat", "Hi", "--tool", "mine:weather"]
        with Terminal(*launch, command=[], cwd=here, **at(server)) as terminal:
            for _ in range(2):
                terminal.expect(f")\n{ASKED}")
                terminal.type("y\n")
            assert 0 == terminal.wait()
    assert "Let me see.\nIt is grey.\n" == (here / "out").read_text()
    assert "weather was called" in terminal.shown
    assert ["Oslo C", "Rome C"] == called(here)


def test_what_fails_is_shown(here: Path) -> None:
    """An exception and wrong arguments are a line each, and the model is told."""
    calls = tool_call_reply("fails", OSLO, ("fails", {"town": 1}), ("unknown", {}))
    with Server(calls, text_reply("ok")) as server:
        with Terminal("chat", "Hi", "-y", "--tool", "mine:fails", cwd=here, **at(server, COLUMNS="200")) as terminal:
            assert 0 == terminal.wait()
    assert [
        'fails(city="Oslo")',
        "fails: The function failed: ValueError: no such city: Oslo",
    ] == terminal.lines[:2]
    assert terminal.lines[2].startswith("fails: Invalid arguments, the function was not called.")
    assert "unknown: There is no tool 'unknown'" in terminal.shown
    assert 3 == [role for role, _ in sent(server.requests[1])].count("tool")


# Dialogues.


def test_a_dialogue_keeps_calls_and_results(here: Path) -> None:
    """The next question is sent with all of them, and a saved dialogue has them."""
    with Server(tool_call_reply("own", OSLO), text_reply("done"), text_reply("sure")) as server:
        with Terminal("chat", "--tool", "mine:own", cwd=here, **at(server)) as terminal:
            ask(terminal, "Do it", ASKED)
            terminal.type("y\n")
            terminal.expect("done\n")
            ask(terminal, "Sure?", "sure\n")
            ask(terminal, "/save talk.md", "saved in ")
            ask(terminal, "/save talk.json", "saved in ")
            leave(terminal)
    assert [
        ("user", "Do it"),
        ("assistant", ["own"]),
        ("tool", "own Oslo"),
        ("assistant", "done"),
        ("user", "Sure?"),
    ] == (sent(server.requests[2]))
    assert '## Assistant\n\n```\nown(city="Oslo")\n```\n\n## Tool\n\nown Oslo\n' in (here / "talk.md").read_text()
    saved = json.loads((here / "talk.json").read_text())
    assert ["user", "assistant", "tool", "assistant", "user", "assistant"] == [each["role"] for each in saved]


def interrupted(here: Path, name: str, begun: str, *, answers: bool = False) -> tuple[Terminal, Request]:
    """Interrupt a run in a dialogue, and ask again; return the second question's request."""
    with Server(tool_call_reply(name, OSLO), text_reply("sure")) as server:
        with Terminal("chat", "--tool", f"mine:{name}", cwd=here, **at(server)) as terminal:
            ask(terminal, "Do it", ASKED)
            if answers:
                terminal.type("y\n")
                terminal.expect(begun)
            terminal.interrupt("> ")
            terminal.type("And?\n")
            terminal.expect("sure\n")
            leave(terminal)
    return terminal, server.requests[-1]


@pytest.mark.parametrize(
    ("name", "begun", "told"),
    [
        ("weather", "", "the function was not called"),
        ("reports", "reports: has begun", "may have taken effect|^stopped$"),
        ("deaf", "deaf has begun", "may have taken effect"),
    ],
)
def test_ctrl_c_stops_the_run_alone(here: Path, name: str, begun: str, told: str) -> None:
    """At a question or while a function runs, whatever it does: the dialogue goes on, and the history says how far."""
    _, request = interrupted(here, name, begun, answers=bool(begun))
    asked, calls, result, again = sent(request)
    assert [("user", "Do it"), ("assistant", [name]), ("user", "And?")] == [asked, calls, again]
    assert "tool" == result[0]
    assert re.search(told, result[1])
    assert [] == called(here)


def test_ctrl_c_ends_one_question(here: Path) -> None:
    """Outside of a dialogue, Ctrl-C at a question ends the command with 130, and nothing is called."""
    with Server(tool_call_reply("weather", OSLO)) as server:
        with Terminal("chat", "Hi", "--tool", "mine:weather", cwd=here, **at(server)) as terminal:
            terminal.expect(ASKED)
            terminal.interrupt(None)
            assert 130 == terminal.wait()
    assert ([], 1) == (called(here), len(server.requests))


def test_ctrl_c_while_the_arguments_come(here: Path) -> None:
    """A call that was not whole is not made, and not kept."""
    torn = tool_call_reply("weather", OSLO).first(2).then(Wait(None))
    with Server(Reply([chunk_event("Let me see."), *torn.steps]), text_reply("sure")) as server:
        with Terminal("chat", "--tool", "mine:weather", cwd=here, **at(server)) as terminal:
            ask(terminal, "Do it", "Let me see.")
            terminal.type(CTRL_C)
            ask(terminal, "And?", "sure\n")
            leave(terminal)
    assert [("user", "Do it"), ("assistant", "Let me see."), ("user", "And?")] == sent(server.requests[1])


def test_a_limit_is_told_without_python(here: Path) -> None:
    """A model that never stops calling is stopped, and the line does not speak of arguments of the library."""
    with Server(*[tool_call_reply("own", OSLO) for _ in range(4)]) as server:
        done = run("chat", "Hi", "-y", "--tool", "mine:own", cwd=here, **at(server))
    assert (1, 1) == (done.returncode, done.stderr.count("\n"))
    assert "limit of 3 calls of one tool with the same arguments" in done.stderr
    assert "RunLimits" not in done.stderr


# Output of other kinds.


def test_json_of_a_run(here: Path) -> None:
    """Calls, decisions to make, results and rounds are among the objects; the last one has the usage of all."""
    with Server(tool_call_reply("own", OSLO), text_reply("done")) as server:
        done = run("chat", "Hi", "--json", "-y", "--tool", "mine:own", cwd=here, **at(server))
    shapes = [json.loads(line) for line in done.stdout.splitlines()]
    assert (0, "") == (done.returncode, done.stderr)
    assert "done" == "".join(shape.get("text", "") for shape in shapes)
    by_type = {shape["type"]: shape for shape in shapes}
    assert {"text", "tool_call", "tool_approval", "tool_result", "done"} == set(by_type)
    assert OSLO == json.loads(by_type["tool_approval"]["tool_call"]["arguments"])
    result = by_type["tool_result"]["tool_result"]
    assert ("own", "own Oslo", "finished") == tuple(result[name] for name in ("name", "content", "state"))
    assert {"error", "parts", "preliminary"}.isdisjoint(result)
    assert [1, 1] == [by_type[kind]["round"] for kind in ("text", "done")]


def test_no_stream_with_tools(here: Path) -> None:
    """With --no-stream questions come at once, and the text of each reply when it has ended."""
    with Server(Reply([chunk_event("Let me see."), *two_calls("own").steps]), text_reply("done")) as server:
        with Terminal("chat", "Hi", "--no-stream", "--tool", "mine:own", cwd=here, **at(server)) as terminal:
            terminal.expect(ASKED)
            terminal.type("a\n")
            assert 0 == terminal.wait()
    assert [
        "Let me see.",
        'own(city="Oslo")',
        f"{ASKED}a",
        'own(city="Rome")',
        "own: own Oslo",
        "own: own Rome",
        "done",
    ] == terminal.lines


# Which tools.


@pytest.mark.parametrize(
    ("name", "tool"),
    [("mine:own", "own"), ("mine:shop.price", "price"), ("os:getcwd", "getcwd"), ("mine:fails", "fails")],
)
def test_tools_that_can_be(here: Path, name: str, tool: str) -> None:
    """Functions, methods and tools, of modules in the current directory and of installed ones."""
    # As the installed script, which does not look into the current directory by itself.
    code = "import sys; sys.path[:] = filter(None, sys.path); from streamkit.__main__ import main; main()"
    script = [sys.executable, "-c", code]
    with Server(text_reply("ok")) as server:
        done = run("chat", "Hi", "--tool", name, command=script, cwd=here, **at(server))
    assert (0, "ok\n", "") == (done.returncode, done.stdout, done.stderr)
    assert [tool] == [each["function"]["name"] for each in server.requests[0].json()["tools"]]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mine", "--tool is written MODULE:FUNCTION, such as --tool weather:forecast, not 'mine'"),
        ("mine:", "--tool is written MODULE:FUNCTION"),
        (":weather", "--tool is written MODULE:FUNCTION"),
        ("mine.py:weather", "--tool takes a module and no file: --tool mine:weather"),
        ("./tools/mine.py", "--tool takes a module and no file: --tool tools.mine:FUNCTION"),
        ("nope:f", "--tool nope:f: there is no module nope, neither in "),
        ("mine.nope:f", "there is no module mine.nope"),
        ("mine:wether", "mine has no wether; the nearest name is weather"),
        ("mine:shop.prize", "mine:shop has no prize; the nearest name is price"),
        ("mine:xyzzy", "mine has no xyzzy"),
        ("mine:later", "later is async, and streamkit is synchronous"),
        ("mine:Shop", "Shop is a class"),
        ("mine:NUMBER", "a tool is made of a function, not of int 3"),
        ("mine:elsewhere", "this tool has no function to run"),
        (
            "fails_at_once:f",
            "fails_at_once cannot be imported: ZeroDivisionError: division by zero (fails_at_once.py, line 1)",
        ),
        ("exits:f", "exits cannot be imported: SystemExit: usage: exits"),
        ("needs:f", "needs cannot be imported: it imports nonexistent_module, which is not installed"),
        ("wrong:f", "wrong cannot be imported: SyntaxError: invalid syntax (wrong.py, line 1)"),
    ],
)
def test_tools_that_cannot_be(here: Path, name: str, told: str) -> None:
    """What is wrong with a tool is one line of usage, before anything is sent."""
    with Server() as server:
        done = run("chat", "Hi", "--tool", name, cwd=here, **at(server))
    assert (2, "", 1, []) == (done.returncode, done.stdout, done.stderr.count("\n"), server.requests)
    assert told in done.stderr
    assert done.stderr.endswith("; see streamkit chat --help\n")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--tool", "mine:own", "--tool", "mine:own"], 2, "two tools have the name 'own'"),
        (["--yes"], 2, "--yes is for the calls of --tool, and there is no --tool"),
        (["--tool", "mine:own", "-o", "tools=[]"], 2, "tools are given by --tool or by -o tools=..., not by both"),
        (["--tool", "mine:own", "-o", "approve=true"], 1, "has no parameter approve"),
        (
            ["--schema", "a.json", "-o", "response_format={}"],
            2,
            "by --schema or by -o response_format=..., not by both",
        ),
    ],
)
def test_options_that_do_not_go_together(here: Path, arguments: list[str], code: int, told: str) -> None:
    """They are refused before anything is sent; no option of the request allows calls."""
    (here / "a.json").write_text('{"type": "object"}')
    with Server() as server:
        done = run("chat", "Hi", *arguments, cwd=here, **at(server))
    assert (code, "", []) == (done.returncode, done.stdout, server.requests)
    assert told in done.stderr


def test_a_dialogue_checks_its_tools_first(here: Path) -> None:
    """A tool that cannot be is an error before the first prompt."""
    with Terminal("chat", "--tool", "mine:nope", cwd=here, STREAMKIT_MODEL="demo/assistant") as terminal:
        assert 2 == terminal.wait()
    assert "listens" not in terminal.shown


def test_completion_of_tools(here: Path) -> None:
    """Modules of the current directory are completed, and their functions without running them."""
    assert ["mine:"] == completed("streamkit chat --tool mi", cwd=here)
    found = completed("streamkit chat --tool mine:", cwd=here)
    assert ["mine:weather", "mine:fails", "mine:reports", "mine:deaf", "mine:own"] == found
    assert [] == completed("streamkit chat --tool fails_at_once:", cwd=here)
    assert [] == completed("streamkit chat --tool wrong:", cwd=here)
    assert [] == completed("streamkit chat --tool nope:", cwd=here)


# Schemas.

INVOICE = {
    "title": "Invoice",
    "type": "object",
    "properties": {"customer": {"type": "string"}, "total": {"type": "number"}},
    "required": ["customer", "total"],
}
LIST = {"type": "array", "items": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}


def file_with(folder: Path, shape: object) -> str:
    path = folder / "schema.json"
    path.write_text(json.dumps(shape))
    return str(path)


def with_pieces(text: str) -> Reply:
    return Reply([*pieces(text), *text_reply("").steps])


@pytest.mark.parametrize(
    ("schema", "reply", "shown"),
    [
        (INVOICE, '{"customer": "*Ann*", "total": 5}', '{"customer": "*Ann*", "total": 5}'),
        (LIST, '{"items": [{"city": "Oslo"}, {"city": "}"}]}', '[{"city": "Oslo"}, {"city": "}"}]'),
        (LIST, ' {\n  "items":  [ ]\n}\n', "[ ]"),
        (LIST, '[{"city": "Oslo"}]', '[{"city": "Oslo"}]'),
        ({"type": "string"}, '{"value": "a}"}', '"a}"'),
    ],
)
def test_an_answer_that_fits(tmp_path: Path, schema: Mapping[str, Any], reply: str, shown: str) -> None:
    """The JSON is shown as it comes, on a terminal too, where it is not Markdown; a list is shown bare."""
    path = file_with(tmp_path, schema)
    with Server(with_pieces(reply), with_pieces(reply)) as server:
        done = run("chat", "Hi", "--schema", path, **at(server))
        with Terminal("chat", "Hi", "--schema", path, **at(server)) as terminal:
            assert 0 == terminal.wait()
    assert (0, f"{shown}\n", "") == (done.returncode, done.stdout, done.stderr)
    assert [shown] == terminal.lines
    assert "json_schema" == server.requests[0].json()["response_format"]["type"]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (text_reply('{"customer": 3}'), "the reply does not fit Invoice: "),
        (text_reply("Sorry."), "the reply does not fit Invoice: "),
        (text_reply('{"customer": "An', finish_reason="length"), "the reply has no Invoice: it was cut off"),
        (
            Reply([chunk_event(refusal="No."), *text_reply("").steps]),
            "the reply has no Invoice: the model refused: No.",
        ),
    ],
)
def test_an_answer_that_does_not_fit(tmp_path: Path, reply: Reply, told: str) -> None:
    """It is shown, the line on standard error says what is wrong, and the exit code is 1."""
    with Server(reply) as server:
        done = run("chat", "Hi", "--schema", file_with(tmp_path, INVOICE), **at(server))
    assert (1, 1) == (done.returncode, done.stderr.count("\n"))
    assert done.stdout
    assert f"streamkit: {told}" in done.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"type": "obj', "schema.json is no JSON: "),
        ("[1]", "schema.json is no JSON schema: a schema is an object"),
        ('{"foo": 1}', 'schema.json is no JSON schema: it has no "type"'),
        ('{"type": "objekt"}', "schema.json is no JSON schema: 'objekt' is not valid"),
        (
            '{"type": "object", "properties": 3}',
            "schema.json is no JSON schema: 3 is not of type 'object' at $.properties",
        ),
        (
            '{"type": "json_schema", "json_schema": {"name": "x"}}',
            'schema.json is no JSON schema: its "json_schema" has no',
        ),
        (b"\xff\xfe", "schema.json is no JSON: it is no text in UTF-8"),
        (None, "schema.json' does not exist"),
    ],
)
def test_schemas_that_cannot_be(tmp_path: Path, content: str | bytes | None, told: str) -> None:
    """A wrong file is one line of usage that names it, before anything is sent."""
    path = tmp_path / "schema.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with Server() as server:
        done = run("chat", "Hi", "--schema", str(path), **at(server))
    assert (2, "", 1, []) == (done.returncode, done.stdout, done.stderr.count("\n"), server.requests)
    assert told in done.stderr


def test_a_schema_in_a_dialogue(tmp_path: Path) -> None:
    """An answer that does not fit is told, kept, and the dialogue goes on."""
    replies = text_reply('{"customer": 3}'), text_reply('{"customer": "Ann", "total": 5}')
    with Server(*replies) as server:
        path = file_with(tmp_path, INVOICE)
        with Terminal("chat", "--schema", path, **at(server, COLUMNS="300")) as terminal:
            ask(terminal, "Hi", "the reply does not fit Invoice")
            ask(terminal, "Again", '"total": 5}\n')
            leave(terminal)
    assert [("user", "Hi"), ("assistant", '{"customer": 3}'), ("user", "Again")] == sent(server.requests[1])


def test_a_schema_and_tools(here: Path) -> None:
    """The tools are called, and the last answer has to fit; text before a call does not."""
    calls = Reply([chunk_event("Let me see."), *tool_call_reply("own", OSLO).steps])
    with Server(calls, text_reply('{"items": [{"city": "Oslo"}]}')) as server:
        arguments = ["--schema", file_with(here, LIST), "--tool", "mine:own", "-y"]
        done = run("chat", "Hi", *arguments, cwd=here, **at(server))
    assert (0, 'Let me see.\n[{"city": "Oslo"}]\n', "") == (done.returncode, done.stdout, done.stderr)
