"""``streamkit batch``: rows in, results out, and what is missing at the next run."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamkit.testing import DONE, Reply, Request, Send, Server, Wait, chunk_event, json_reply, text_reply
from tests.e2e.test_cli import CTRL_C, STREAMKIT, Terminal, at, clean, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals and signals of POSIX")


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Give the children a SIGINT that is not ignored, as it is for tests that run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def asked(request: Request) -> str:
    content = request.json()["messages"][-1]["content"]
    assert isinstance(content, str)
    return content


def shout(request: Request) -> Reply:
    text = asked(request)
    if "fail" in text:
        return json_reply({"error": {"message": "no"}}, status=400)
    return Reply([Wait(None)]) if "wait" in text else text_reply(text.upper(), model="m")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return sorted((json.loads(line) for line in path.read_text().splitlines()), key=lambda line: int(line["index"]))


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return sorted(csv.DictReader(file), key=lambda row: int(row["streamkit"].split()[0]))


def test_json_lines(tmp_path: Path) -> None:
    """Objects, texts and lists of messages are asked; a line of the output has the row, the reply, and what it was."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "c"}]
    source.write_text("\n".join(map(json.dumps, ["a", {"prompt": "b", "n": 1}, messages, {"messages": "d"}])))
    with Server(shout) as server:
        done = run("batch", str(source), "-o", str(target), **at(server))
    assert (0, "") == (done.returncode, done.stdout)
    assert "streamkit: 4 answered\n" == done.stderr
    lines = lines_of(target)
    assert ["A", "B", "C", "D"] == [line["reply"] for line in lines]
    assert {"prompt": "b", "n": 1} == lines[1]["row"]
    assert 0 < lines[0]["completion"]["usage"]["output_tokens"]


def test_csv_with_a_template(tmp_path: Path) -> None:
    """Columns fill a template, in the system prompt too; cells with commas, quotes and lines come back as they were."""
    source, target, template = tmp_path / "in.csv", tmp_path / "out.csv", tmp_path / "ask.txt"
    template.write_text("{{ text }}!")
    source.write_text('\ufeffid,text\n1,"a, ""b""\nc"\n2,d {{id}}\n', encoding="utf-8")
    with Server(shout) as server:
        done = run("batch", str(source), "-o", str(target), "-t", str(template), "-s", "For {{id}}", **at(server))
        systems = {request.json()["messages"][0]["content"] for request in server.requests}
    assert 0 == done.returncode, done.stderr
    assert {"For 1", "For 2"} == systems
    rows = rows_of(target)
    assert ['a, "b"\nc', "d {{id}}"] == [row["text"] for row in rows]
    assert ['A, "B"\nC!', "D {{ID}}!"] == [row["reply"] for row in rows]
    assert ["", ""] == [row["error"] for row in rows]


def test_typed_columns(tmp_path: Path) -> None:
    """The fields of a schema become columns; a reply that does not fit is a failure, and is asked again."""
    source, target, schema = tmp_path / "in.csv", tmp_path / "out.csv", tmp_path / "schema.json"
    source.write_text("kind,n\ngood,1\nbad,2\n")
    properties = {"kind": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}}
    schema.write_text(json.dumps({"type": "object", "properties": properties, "required": ["kind", "tags"]}))
    answers = {"good": '{"kind": "x", "tags": ["a", "b"]}', "bad": '{"kind": 1}'}
    with Server(lambda request: text_reply(answers[asked(request)], model="m")) as server:
        command = ("batch", str(source), "-o", str(target), "-t", "{{kind}}", "--schema", str(schema))
        done = run(*command, **at(server))
        assert 1 == done.returncode
        assert "in.csv, line 3: " in done.stderr
        assert "1 answered, 1 failed; run the same command again" in done.stderr
        assert ["", "x"] == sorted(row["reply_kind"] for row in rows_of(target))
        answers["bad"] = answers["good"]
        assert 0 == run(*command, **at(server)).returncode
        assert 3 == len(server.requests)
    assert [("good", "x", '["a","b"]'), ("bad", "x", '["a","b"]')] == [
        (row["kind"], row["reply_kind"], row["tags"]) for row in rows_of(target)
    ]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_second_run_and_a_torn_row(ending: str, tmp_path: Path) -> None:
    """What the output has is not asked again; a row that was torn is."""
    source, target = tmp_path / "in.txt", tmp_path / f"out.{ending}"
    source.write_text("a\nb \u00fc\nc\n", encoding="utf-8")
    with Server(shout) as server:
        command = ("batch", str(source), "-o", str(target), "--concurrency", "1")
        assert 0 == run(*command, **at(server)).returncode
        whole = target.read_bytes()
        target.write_bytes(whole[:-5])
        done = run(*command, **at(server))
        assert "3 answered, 2 of them before" in done.stderr
        assert 4 == len(server.requests)
        assert whole == target.read_bytes()
        target.write_bytes(whole[: len(whole.splitlines(True)[0]) - 4])
        assert 0 == run(*command, **at(server)).returncode
        assert whole == target.read_bytes()


def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C stops at once, says what there is, and leaves a file with which the next run goes on."""
    source, target = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("a\nwait\nb\n")
    with Server(shout) as server:
        with Terminal("batch", str(source), "-o", str(target), **at(server)) as terminal:
            terminal.expect("2/3")
            terminal.type(CTRL_C)
            assert 130 == terminal.wait()
        assert "streamkit: 2 answered; run the same command again to ask the others" in terminal.shown
        assert "Traceback" not in terminal.shown
    assert ["A", "B"] == [line["reply"] for line in lines_of(target)]
    with Server(lambda request: text_reply("W")) as server:
        assert 0 == run("batch", str(source), "-o", str(target), **at(server)).returncode
        assert ["wait"] == [asked(request) for request in server.requests]


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    """A terminal has a bar with tokens a second; a pipe has none."""
    pytest.importorskip("tqdm")
    source = tmp_path / "in.txt"
    source.write_text("a\nb\n")
    with Server(shout) as server:
        with Terminal("batch", str(source), "-o", str(tmp_path / "1.csv"), **at(server)) as terminal:
            assert 0 == terminal.wait()
        assert "2/2" in terminal.shown
        assert " tokens/s" in terminal.shown
        assert "2/2" not in run("batch", str(source), "-o", str(tmp_path / "2.csv"), **at(server)).stderr


def test_a_first_row_with_fewer_cells(tmp_path: Path) -> None:
    """The output has the columns of the header, also where the first row lacks some."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("a,prompt\n1\n2,hello\n")
    with Server(shout) as server:
        run("batch", str(source), "-o", str(target), **at(server))
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [("1", ""), ("2", "hello")] == [(row["a"], row["prompt"]) for row in rows]


@pytest.mark.parametrize(
    ("name", "text", "arguments", "said"),
    [
        ("in.jsonl", '{"x": 1}', [], "has no prompt: without --template a row has a column prompt or messages"),
        ("in.jsonl", '{"x": 1}', ["-t", "{{y}}"], "in.jsonl, line 1 has nothing for {{y}}; it has x"),
        ("in.jsonl", '{"x": 1}', ["-t", "ask.txt"], "'ask.txt' is no file, and has no {{column}} in it"),
        ("in.jsonl", '"a"\n{"x', [], "in.jsonl, line 2 is no JSON"),
        ("in.jsonl", "5", [], "neither an object nor a text"),
        ("in.csv", "a,a\n1,2\n", [], "two columns have one name"),
        ("in.csv", "a\n1,2\n", [], "line 2 has 2 cells, and there are 1 columns"),
        ("in.csv", "", [], "has no rows"),
        ("in.csv", "a,b\n1\n", ["-t", "{{a}} {{c}}"], "--template: in.csv has no column c; it has a, b"),
        ("in.csv", "a\n1\n", ["-t", "{{a}}", "-s", "{{c}}"], "--system: in.csv has no column c; it has a"),
        ("in.csv", "prompt\n1\n", ["--key", "id"], "--key: in.csv has no column id; it has prompt"),
        ("in.doc", "", [], "FILE ends in .csv, .tsv, .jsonl or .txt"),
        ("in.txt", "a\n", ["-o", "out.xls"], "-o takes a file that ends in .csv or .jsonl"),
        ("in.csv", "prompt\na\n", ["-o", "in.csv"], "the output is the input"),
        ("in.txt", "a\n", ["--max-cost", "1"], "what a reply of openai/"),
        ("in.txt", "fail\nfail\nfail\n", ["--max-failures", "0", "-n", "1"], "max_failures is 0"),
    ],
)
def test_what_is_wrong_is_one_line(name: str, text: str, arguments: list[str], said: str, tmp_path: Path) -> None:
    """Wrong input is said on one line, with its place, and the exit code is not 0."""
    (tmp_path / name).write_text(text)

    def answer(request: Request) -> Reply:
        return (
            shout(request)
            if "fail" in asked(request)
            else Reply([Send(chunk_event("a", model="m", finish_reason="stop") + DONE)])
        )

    with Server(answer) as server:
        target = [] if "-o" in arguments else ["-o", "out.jsonl"]
        done = run("batch", name, *target, *arguments, cwd=tmp_path, **at(server))
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert all(line.startswith("streamkit: ") for line in done.stderr.splitlines())


@pytest.mark.slow
def test_a_large_file_is_not_read_at_once(tmp_path: Path) -> None:
    """Of a file of 1 GB as much is read as is asked."""
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "fail"}\n' * 50_000)
    os.truncate(source, 1024**3)  # the rest is a hole, in which nothing is
    # A process of its own measures it: a child of this large one would count the memory of this one.
    measure = (
        "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    with Server(shout) as server:
        command = [*STREAMKIT, "batch", str(source), "-o", str(tmp_path / "out.jsonl"), "--max-failures", "100"]
        command = [sys.executable, "-c", measure, *command]
        done = subprocess.run(command, env=clean(at(server)), capture_output=True, text=True, timeout=120, check=False)
    assert 1 == done.returncode
    assert "max_failures is 100" in done.stderr
    assert int(done.stdout.split()[-1]) < 500 * 1024  # KiB
