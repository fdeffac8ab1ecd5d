"""Each program of examples/ runs without a key, and prints the output that its README promises."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import streamkit
from tests.e2e.test_cli import Terminal
from tests.processes import Process, run_process
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server", "run_process"]  # fixtures

EXAMPLES = Path(__file__).parents[2] / "examples"
SETTINGS = ".conf.py"  # ends the name of a file that a server reads, and that is no program
PROGRAMS = {path.name: path for path in EXAMPLES.glob("*/*.py") if not path.name.endswith(SETTINGS)}
CLIENTS = EXAMPLES / "gateway" / "clients"  # programs that need a gateway, and run where one is tested
WITHOUT_PROGRAMS = [
    "coming_from/README.md",
    "deployment/README.md",
    "gateway/README.md",
    *("notebooks/README.md", "notebooks/first_steps.ipynb", "notebooks/measuring.ipynb"),  # see test_notebooks
    "recipes/README.md",
    "testing/README.md",
]
SECONDS = 120  # for one example; none takes six on an idle machine
TYPED = {  # what a program reads from standard input
    "dialogue.py": "Tell me about a fox\nAnd about an owl\n/retry\n/undo\nOne about the sea\n/history\n",
}
NEEDS = {  # modules of extras
    "approval_in_store.py": "sqlalchemy",
    "chat_app.py": "flask",
    "celery_tasks.py": "celery",
    "celery_web.py": "celery",
    "django_app.py": "django",
    "eventsource.py": "flask",
    "minimal_flask.py": "flask",
    "react_usechat.py": "flask",
    "rq_jobs.py": "rq",
    "traces_and_metrics.py": "opentelemetry.exporter.prometheus",
}
_CELERY = ["celery", "-A", "celery_tasks", "worker", "--concurrency", "2", "--loglevel", "INFO"]
WORKERS = {  # the command of the worker that a program needs, and its output when it is ready; {} is the Redis
    "celery_tasks.py": (_CELERY, r"@\S+ ready"),
    "celery_web.py": (_CELERY, r"@\S+ ready"),
    "rq_jobs.py": (["rq.cli", "worker", "--url", "{}", "--path", ".", "answers"], "Listening on answers"),
}

LAST_WORDS = 'I only kept talking until you were here."'


@pytest.fixture
def redis_of(
    redis_server: Callable[..., RedisServer], run_process: Callable[..., Process]
) -> Callable[[str], dict[str, str]]:
    """Start the Redis and the worker that a program needs, and return its environment."""

    def start(name: str) -> dict[str, str]:
        pytest.importorskip(NEEDS[name])
        pytest.importorskip("flask")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        redis_server(address="127.0.0.1", port=port)
        environment = {"REDIS_URL": f"redis://127.0.0.1:{port}/0"}
        command, ready = WORKERS[name]
        words = [word.format(environment["REDIS_URL"]) for word in command]
        run_process(*words, cwd=PROGRAMS[name].parent, **environment).wait_for(ready)
        return environment

    return start


def run(*arguments: str, cwd: Path, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python without keys, proxies or anything else of this environment, and with warnings as errors."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    result = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", *arguments],
        cwd=cwd,
        env={**kept, "HOME": str(cwd), "PYTHONUTF8": "1", **environment},
        input=typed,
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def output_of(name: str, cwd: Path, *arguments: str, typed: str = "", **environment: str) -> str:
    """Return the standard output of an example, which must write nothing to stderr."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    result = run(str(PROGRAMS[name]), *arguments, cwd=cwd, typed=typed, **environment)
    assert result.stderr == ""
    return result.stdout


def number(pattern: str, output: str) -> float:
    found = re.search(pattern, output)
    assert found, output
    return float(found[1])


def test_basic_streaming(tmp_path: Path) -> None:
    """It prints the story to its last word, and the provider's count of it."""
    output = output_of("basic_streaming.py", tmp_path)

    assert output.startswith("A story, then, for “a lighthouse”.\n\nAt the end of a long grey pier")
    assert LAST_WORDS in output
    assert "7 input tokens, 158 output tokens, in 159 chunks\n" in output
    first = number(r"first chunk after (\d+) ms", output)
    last = number(r"whole reply after ([\d.]+) s", output)
    assert first / 1000 < last / 2, "it came as a whole, and not as a stream"


def test_collecting(tmp_path: Path) -> None:
    """Both ways give the whole reply, and the second request carries the first reply with it."""
    output = output_of("collecting.py", tmp_path)

    assert "A story, then, for “a lighthouse”. At the end" in output
    assert "A story, then, for “the ...\n  A story, then, for “the moon”. At the end" in output
    # 7 tokens are asked at first; then those, the 50 of the reply and the 5 of the next question.
    assert re.findall(r"\[length, (\d+) tokens\]", output) == ["57", "112"]


def test_sentence_buffering(tmp_path: Path) -> None:
    """Whole sentences come one by one, long before the end of the reply."""
    output = output_of("sentence_buffering.py", tmp_path)

    numbered = re.findall(r"^ *(\d+)\. +([\d.]+) s  (\S.*(?:\n {12}.*)*)$", output, re.MULTILINE)
    assert [int(place) for place, _, _ in numbered] == list(range(1, 15))
    assert [sentence for _, _, sentence in numbered if sentence[-1] not in '.?”"'] == []
    assert numbered[2][2] == "Its name was Pip."
    assert float(numbered[2][1]) < float(numbered[-1][1]), "the third sentence came no earlier than the last"


def test_traces_and_metrics(tmp_path: Path) -> None:
    """A line of the log for each stream, a tree of spans, and a metric of Prometheus."""
    lines = output_of("traces_and_metrics.py", tmp_path).splitlines()

    assert 2 == len([line for line in lines if line.startswith("streamkit.streams: demo/assistant complete, ")])
    assert "'a request of a user': " in lines[2]
    assert "'invoke_agent', below 'a request of a user': " in lines[3]
    below = sorted(line.partition(",")[0] for line in lines if "below 'invoke_agent'" in line)
    assert ["'chat assistant'", "'chat assistant'", "'execute_tool weather'"] == below
    assert re.match(r"gen_ai_client_operation_duration_seconds_count\{.*demo.*\} 2\.0$", lines[-1])


@pytest.mark.parametrize("bar", [True, False], ids=["tqdm", "plain"])
def test_progress(bar: bool, tmp_path: Path) -> None:
    """stdout has the reply alone; stderr counts up to its length, by a bar or without one."""
    script = str(PROGRAMS["progress.py"])
    if bar:
        pytest.importorskip("tqdm")
        result = run(script, cwd=tmp_path)
    else:
        without_tqdm = f"import runpy, sys; sys.modules['tqdm'] = None; runpy.run_path({script!r}, run_name='__main__')"
        result = run("-c", without_tqdm, cwd=tmp_path)

    assert result.stdout.startswith("A story, then, for “a lighthouse”.")
    assert result.stdout.endswith(f"{LAST_WORDS}\n")
    assert result.stderr.isascii() or bar
    counts = [int(count) for count in re.findall(r"Receiving: (\d+) characters", result.stderr)]
    assert counts == sorted(counts)
    assert len(counts) > 2  # every tenth of a second, or as often as a busy machine comes to it
    assert counts[-1] == len(result.stdout.removesuffix("\n"))
    assert ("characters/s" in result.stderr) == bar


def test_cancel_after_n_chunks(tmp_path: Path) -> None:
    """Exactly so many chunks are printed and kept, of a story that is longer."""
    output = output_of("cancel_after_n_chunks.py", tmp_path)

    story, _, summary = output.partition(" ...\n")
    assert len(story.split()) == 40
    assert "status: cancelled, finish reason: cancelled\n" in summary
    assert f"kept: 40 words, the last one is {story.split()[-1]!r}\n" in summary


def test_cancel_from_another_thread(tmp_path: Path) -> None:
    """The loop ends in the middle of the story, at once, and what was printed is what is kept."""
    output = output_of("cancel_from_another_thread.py", tmp_path)

    story, _, summary = output.partition(" ...\n")
    assert story.startswith("A story, then, for “a lighthouse”.")
    assert LAST_WORDS not in output
    assert number(r"The loop ended ([\d.]+) ms after", summary) < 10_000  # the contract says 100, on an idle machine
    assert f"status: cancelled, kept: {len(story)} characters\n" in summary


def test_error_handling(tmp_path: Path) -> None:
    """A retry nobody hears of, a partial reply that is kept to the character, and a refusal."""
    output = output_of("error_handling.py", tmp_path)

    torn = re.search(r"^> Tell me a story about a lighthouse\n(.*)\n\nTruncatedStreamError: ", output)
    assert torn, output
    assert torn[1].startswith("At the end of a long grey pier")
    assert f"requests: 2, status: truncated, kept: {len(torn[1])} characters\n" in output
    assert "> Tell me another one\nrefused with status 400: " in output
    assert "No stories before noon." in output


def test_timeouts(tmp_path: Path) -> None:
    """Each silence is noticed by its limit, pings change nothing, and a server that behaves is left alone."""
    output = output_of("timeouts.py", tmp_path)

    said = "Once upon a time there was a robot that"
    ends = re.findall(r"^A server that (.*?): (.*)\n(?:  after ([\d.]+) s: the limit '(\w+)')?", output, re.MULTILINE)
    assert [(server, text, phase) for server, text, _, phase in ends] == [
        ("never answers", "", "first"),
        ("falls silent", said, "idle"),
        ("sends pings for ever", said, "idle"),
        ("behaves", f"{said}.", ""),
    ]
    # Each limit is 1 s; the total one, 10 s. A busy machine may print a chunk late, and wake up late.
    assert [waited for _, _, waited, phase in ends if phase and not 0.5 <= float(waited) < 9.0] == []


def test_merge(tmp_path: Path) -> None:
    """All three replies come whole and in order, in their own columns, and at the same time."""
    output = output_of("merge.py", tmp_path)

    heading, *lines = output.splitlines()
    columns = [heading.index(topic) for topic in ("THE SEA", "A FOX", "THE MOON")]
    texts = ["", "", ""]
    for line in lines:
        column = columns.index(len(line) - len(line.lstrip()))
        texts[column] += f"{line.strip()} "
    for text, topic, words in zip(texts, ("the sea", "a fox", "the moon"), (48, 32, 16), strict=True):
        assert text.startswith(f"A story, then, for “{topic}”. At the ")
        assert text.endswith(f" ({words} words) ")
        assert len(text.split()) == words + 2
    starts = [next(at for at, line in enumerate(lines) if f"“{topic}”" in line) for topic in ("a fox", "the moon")]
    assert max(starts) < lines.index("(48 words)"), "one after the other, and not at once"


def test_first(tmp_path: Path) -> None:
    """The fast model wins, the others are cancelled, and none of the winner's words is lost."""
    output = output_of("first.py", tmp_path)

    assert re.findall(r"^ *(the \w+): (\w+)$", output, re.MULTILINE) == [
        ("the tortoise", "cancelled"),
        ("the hare", "first"),
        ("the hedgehog", "cancelled"),
    ]
    _, _, story = output.partition("\n\n")
    assert story.startswith("A story, then, for “a race”.\n\nAt the end of a long grey pier")
    assert len(story.removesuffix(" ...\n").split()) == 100


def links_of(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8"))


def test_every_example_is_tested_and_listed() -> None:
    """Each program has a test here, and its line in the README of its folder and in the index."""
    programs = {path for path in EXAMPLES.rglob("*.py") if not path.name.endswith(SETTINGS) and path.parent != CLIENTS}
    assert programs == set(PROGRAMS.values()), "a program belongs into the folder of a topic"
    assert {name for name in PROGRAMS if f"test_{name.removesuffix('.py')}" not in globals()} == set()
    folders = sorted({path.parent for path in PROGRAMS.values()})
    for folder in folders:
        links = [link for link in links_of(folder / "README.md") if link.endswith(".py") and "/" not in link]
        assert sorted(links) == sorted(path.name for path in folder.glob("*.py"))
    names = [path.relative_to(EXAMPLES).as_posix() for path in PROGRAMS.values()]
    readmes = [f"{folder.name}/README.md" for folder in folders]
    assert sorted(links_of(EXAMPLES / "README.md")) == sorted([*names, *readmes, *WITHOUT_PROGRAMS])


def test_usage_and_cost(tmp_path: Path) -> None:
    """It adds the tokens and the cost of two providers up, each under its name."""
    output = output_of("usage_and_cost.py", tmp_path)

    assert "agnic/acme/large: 1 reply, 1500 tokens, $0.0081\n" in output
    assert "openrouter/acme/small: 2 replies, 2300 tokens, $0.0026\n" in output
    assert "total: 3800 tokens, $0.0107\n" in output


def test_one_conversation_many_providers(tmp_path: Path) -> None:
    """Every provider calls the tool, is given the result, and answers."""
    output = output_of("one_conversation_many_providers.py", tmp_path)

    assert [f"{name}: I will look. Take a coat." for name in ("openai", "anthropic", "gemini", "mistral")] == (
        output.splitlines()
    )


def test_thread_pool(tmp_path: Path) -> None:
    """The calls before the stop are whole, those after it are not taken for whole, and none is missing."""
    output = output_of("thread_pool.py", tmp_path)

    ends = re.findall(r"^(.*): (whole|stopped), (\d+) words( kept)?$", output, re.MULTILINE)
    assert [topic for topic, *_ in ends] == ["a fox", "an owl", "a lighthouse", "the moon", "the sea", "a robot"]
    assert {kept for _, end, kept, _ in ends if end == "whole"} <= {"60"}
    assert [end for _, end, kept, _ in ends if int(kept) < 60] == [end for _, end, *_ in ends if end == "stopped"]
    assert ends[-1][1:3] == ("stopped", "0")


def test_saving_replies(tmp_path: Path) -> None:
    """What is read is equal to what was written, and the conversation goes on."""
    assert output_of("saving_replies.py", tmp_path) == shown_output("conversations", "saving_replies.py")


def test_reading_an_image(tmp_path: Path) -> None:
    """Both providers get the bytes of the file."""
    output = output_of("reading_an_image.py", tmp_path)

    sent = re.findall(r"\b(iVBOR[\w+/]+=*)", output)
    assert len(sent) == 2
    assert len({*sent}) == 1


def test_typed_wrapper(tmp_path: Path) -> None:
    """The wrapper's own default holds until the caller gives another, and a misspelt name is refused."""
    assert output_of("typed_wrapper.py", tmp_path) == shown_output("conversations", "typed_wrapper.py")


def test_dialogue(tmp_path: Path) -> None:
    """It goes on where it stopped: the second program has the turns of the first, from the file."""
    first = output_of("dialogue.py", tmp_path, typed=TYPED["dialogue.py"])
    second = output_of("dialogue.py", tmp_path, "dialogue.json", typed="/history\n/what\n")

    assert first == shown_output("conversations", "dialogue.py")
    assert second.startswith("[dialogue.json: Tell me about a fox, turns: 2]\n  user: Tell me about a fox\n")
    assert second.count("  assistant: A story, then, for “") == 2
    assert "[/retry, /undo or /history; " in second
    assert re.search(r"\[turns: 2, tokens: \d+\]$", second.strip())
    assert first.splitlines()[-1] == second.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["dialogue.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
def test_dialogue_on_a_terminal(tmp_path: Path) -> None:
    """It asks for each line, and an empty line ends it."""
    with Terminal(str(PROGRAMS["dialogue.py"]), "memory.json", command=[], cwd=tmp_path) as terminal:
        terminal.expect("> ")
        terminal.type("Tell me about a fox\n")
        terminal.expect("At the end")
        terminal.expect("> ")
        terminal.type("/undo\n")
        terminal.expect("[taken back: Tell me about a fox]")
        terminal.expect("> ")
        terminal.type("\n")
        assert 0 == terminal.wait()
    assert (tmp_path / "memory.json").exists()
    assert ", turns: 0]" in output_of("dialogue.py", tmp_path, "memory.json")


def test_undo_retry_fork(tmp_path: Path) -> None:
    """Each has the turns that it says, and what was asked goes on counting."""
    assert output_of("undo_retry_fork.py", tmp_path) == shown_output("conversations", "undo_retry_fork.py")


def test_approval_in_store(tmp_path: Path) -> None:
    """The second process makes the call, and the third finds nothing that waits."""
    assert output_of("approval_in_store.py", tmp_path) == shown_output("conversations", "approval_in_store.py")


def test_storyteller(tmp_path: Path) -> None:
    """The first reply comes whole, of the second as much as was asked for, and the count of it is right."""
    output = output_of("storyteller.py", tmp_path)

    first, _, second = output.partition("\n[Complete]\n\n")
    assert first.startswith("A story, then, for “Tell me a short story”.")
    assert first.endswith(LAST_WORDS)
    text, _, summary = second.rpartition("\n[Complete - ")
    assert text.startswith("A story, then, for “AI”.")
    assert summary == f"{len(text)} characters, length]\n"


def test_one_pack_many_conversations(tmp_path: Path) -> None:
    """The pack is right, a value with braces stays as it is, and each customer gets their order."""
    name = "one_pack_many_conversations.py"
    assert output_of(name, tmp_path) == shown_output("packs", name)


def test_validators(tmp_path: Path) -> None:
    """No character of a forbidden word shows."""
    output = output_of("validators.py", tmp_path)

    assert output == shown_output("packs", "validators.py")
    shown = [line for line in output.splitlines() if not line.startswith("  ")]
    assert not [line for line in shown if line.rstrip().endswith((" t", " te", " l", " li", "teapot", "lighthouse"))]


def test_the_packs_are_right() -> None:
    """Each follows the schema strictly."""
    packs = sorted(EXAMPLES.glob("packs/*.pack.json"))
    assert len(packs) == 2
    assert [streamkit.validate_pack(path) for path in packs] == [[], []]


def test_a_tool(tmp_path: Path) -> None:
    """Text before the calls, results as they come, the answer, and a history with a result for each call."""
    assert output_of("a_tool.py", tmp_path) == shown_output("tools", "a_tool.py")


def test_parallel_tools(tmp_path: Path) -> None:
    """The functions take as long as the longest of them, all reports come, and a cancel is an end without an error."""
    output = output_of("parallel_tools.py", tmp_path)

    assert number(r"took ([\d.]+) s together, and reported 6 times", output) < 10  # 2.4 one after the other, when idle
    assert re.search(r"^cancelled\n  Oslo: (running|finished)\n  Cairo: (running|finished)\n$", output, re.MULTILINE)


def test_approval(tmp_path: Path) -> None:
    """Without a terminal the large refund is not made, and the model says why."""
    assert output_of("approval.py", tmp_path) == shown_output("tools", "approval.py")


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("what?\ny\n", "refund(B2, 300): 300.0 EUR were paid back."),
        ("12.5\n", "refund(B2, 12.5): 12.5 EUR were paid back."),
        ("n\n", "You did not approve refund, so I did not do it (the user said no)."),
    ],
)
def test_approval_on_a_terminal(typed: str, shown: str, tmp_path: Path) -> None:
    """The person is asked, and the answer counts."""
    with Terminal(str(PROGRAMS["approval.py"]), command=[], cwd=tmp_path) as terminal:
        for line in typed.splitlines():
            terminal.expect('refund({"order": "B2", "amount": 300}): y, n, or another amount? ')
            terminal.type(f"{line}\n")
        assert 0 == terminal.wait()
    assert shown in terminal.lines


def test_suspension(tmp_path: Path) -> None:
    """The second process makes the call, and the third is told that it was made."""
    output = output_of("suspension.py", tmp_path)

    assert output.count("were paid back") == 1
    assert re.search(r"^  refused: the suspension \w+ was resumed before", output, re.MULTILINE)


def test_growing(tmp_path: Path) -> None:
    """Each line has more than the one before, and the last one is the instance."""
    *lines, last = output_of("growing.py", tmp_path).splitlines()

    lengths = [len(line) for line in lines]
    assert lengths == sorted(set(lengths))
    assert last == "Invoice(customer='Ann', due=datetime.date(2026, 12, 24), total=52.5, paid=False)"


def test_items(tmp_path: Path) -> None:
    """Each element comes before the rest of the reply."""
    output = output_of("items.py", tmp_path)

    assert output.startswith("Person(name='Ann', age=34) after 38 characters\nPerson(name='Bob', age=5) after ")
    assert output.endswith("95 characters in all, 3 people\n")


def test_extracting(tmp_path: Path) -> None:
    """The model is told its mistakes once, and with one attempt the program is."""
    assert output_of("extracting.py", tmp_path) == shown_output("typed_output", "extracting.py")


def test_minimal_flask(tmp_path: Path) -> None:
    """The route streams what useChat reads, and says what is wrong with a request."""
    output = output_of("minimal_flask.py", tmp_path)

    assert output.startswith('data: {"type":"start","messageId":"')
    assert output.endswith("\n\ndata: [DONE]\nmessages is no list\n")


def test_django_app(tmp_path: Path) -> None:
    """Django relays the text."""
    assert output_of("django_app.py", tmp_path) == shown_output("web", "django_app.py")


def test_bare_wsgi(tmp_path: Path) -> None:
    """Each event has its number, and the last one says how the reply ended."""
    output = output_of("bare_wsgi.py", tmp_path)

    assert output.startswith('200 text/event-stream\nid: 1\ndata: {"content":"A"}\n\nid: 2\n')
    assert "event: done\n" in output


def test_eventsource(tmp_path: Path) -> None:
    """The page's own request gets events with numbers, and at the end the status; tests/e2e/web has it in a browser."""
    output = output_of("eventsource.py", tmp_path)

    assert output.startswith('id: 1\ndata: {"content":"A"}\n\nid: 2\n')
    assert "\n\nid: 61\nevent: done\n" in output


def test_react_usechat(tmp_path: Path) -> None:
    """The messages of a reload have the call, its result and the answer; tests/e2e/web has the page in a browser."""
    output = output_of("react_usechat.py", tmp_path)

    assert "'output': {'city': 'Oslo', 'degrees': 3}" in output
    assert output.endswith("'text': 'weather(Oslo): degrees 3.', 'state': 'done'}\n")


def test_chat_app(tmp_path: Path) -> None:
    """The chat waits for a decision, and its page is there."""
    assert output_of("chat_app.py", tmp_path) == shown_output("web", "chat_app.py")


def test_celery_tasks(redis_of: Callable[[str], dict[str, str]], tmp_path: Path) -> None:
    """The first reply comes to its limit; the second is stopped, which its task's result says as well."""
    output = output_of("celery_tasks.py", tmp_path, **redis_of("celery_tasks.py"))

    assert "for “a lighthouse”.\n\nAt the end of\n[length, 10 tokens]\n" in output
    assert output.endswith("[cancelled; the task's result: cancelled]\n")


def test_celery_web(redis_of: Callable[[str], dict[str, str]], tmp_path: Path) -> None:
    """A browser gets the reply as events, and only those that it lacks after a reload."""
    output = output_of("celery_web.py", tmp_path, **redis_of("celery_web.py"))

    assert output.startswith('id: 1\ndata: {"content":"A')
    assert output.endswith("the rest is the same: True\n")


def test_rq_jobs(redis_of: Callable[[str], dict[str, str]], tmp_path: Path) -> None:
    """The first reply comes to its end; the second is stopped."""
    output = output_of("rq_jobs.py", tmp_path, **redis_of("rq_jobs.py"))

    assert "\n[complete, 10 tokens]\n" in output
    assert output.endswith("\n[cancelled]\n")


def test_fallback(tmp_path: Path) -> None:
    """The first one that can answers, and each that could not says why."""
    assert output_of("fallback.py", tmp_path).count("answered\n") == 2


def test_limits(tmp_path: Path) -> None:
    """Requests wait in line, and a provider that is down is left alone."""
    assert output_of("limits.py", tmp_path).endswith("4 requests were sent, and the circuit is open\n")


def test_cached(tmp_path: Path) -> None:
    """An equal question is not asked again."""
    assert output_of("cached.py", tmp_path) == shown_output("routes", "cached.py")


def test_redaction(tmp_path: Path) -> None:
    """A name is not sent, and stands in the reply."""
    assert output_of("redaction.py", tmp_path) == shown_output("routes", "redaction.py")


def test_recovering(tmp_path: Path) -> None:
    """The text is whole, and nothing stands in it twice."""
    assert output_of("recovering.py", tmp_path) == shown_output("routes", "recovering.py")


def test_many_prompts(tmp_path: Path) -> None:
    """Each prompt has its line in order, and the one that is none does not end the others."""
    assert output_of("many_prompts.py", tmp_path) == shown_output("batches", "many_prompts.py")


def test_resuming(tmp_path: Path) -> None:
    """The second run does not ask what the first has saved, also if the file is kept."""
    file = tmp_path / "kept.jsonl"
    output = output_of("resuming.py", tmp_path, str(file))

    assert "  a fox: saved before\n  an owl: saved before\n" in output
    assert len(file.read_text("utf-8").splitlines()) == 6
    assert ": asked" not in output_of("resuming.py", tmp_path, str(file))


def test_typed_rows(tmp_path: Path) -> None:
    """Each row has its instance."""
    assert output_of("typed_rows.py", tmp_path) == shown_output("batches", "typed_rows.py")


def shown_output(folder: str, name: str) -> str:
    """Return the output of a program as the README of its folder shows it."""
    page = (EXAMPLES / folder / "README.md").read_text("utf-8")
    shown = re.search(rf"^## \[{name}\]\({name}\)\n(?:(?!^## ).)*?^```text\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert shown, f"{folder}/README.md shows no output of {name}"
    return shown[1]


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_readme_shows_what_comes_out(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The output is the one shown, but for its numbers; ``[...]`` stands for anything."""
    pattern = re.escape(shown_output(PROGRAMS[name].parent.name, name)).replace(re.escape("[...]"), "(?s:.*)")
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    environment = request.getfixturevalue("redis_of")(name) if name in WORKERS else {}
    result = run(str(PROGRAMS[name]), cwd=tmp_path, typed=TYPED.get(name, ""), **environment)

    assert re.fullmatch(re.sub(r"\d+", lambda _: r"\d+", pattern), result.stdout + result.stderr)
