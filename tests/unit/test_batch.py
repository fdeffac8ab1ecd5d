"""Many prompts at once: ``client.map``."""

from __future__ import annotations

import gc
import itertools
import json
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import (
    APIError,
    Batch,
    BatchLimitError,
    BatchResult,
    Client,
    ConfigError,
    InvalidOutputError,
    Message,
    Retry,
    StopEvent,
    StreamCancelledError,
    providers,
    user,
)
from streamkit.testing import DONE, Reply, Request, Send, Server, Wait, WaitFor, chunk_event, json_reply, text_reply
from tests.unit.support import SOON, Task, bounded

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def asked(request: Request) -> str:
    """Return the text of the last message of a request."""
    content = request.json()["messages"][-1]["content"]
    assert isinstance(content, str)
    return content


def echo(request: Request) -> Reply:
    """Answer with what was asked, in capitals; what begins with ! fails."""
    text = asked(request)
    if text.startswith("!"):
        return json_reply({"error": {"message": "no"}}, status=400)
    return text_reply(text.upper())


def costing(cost: float | None) -> Callable[[Request], Reply]:
    def answer(request: Request) -> Reply:
        usage = USAGE if cost is None else {**USAGE, "cost": cost}
        end = chunk_event(finish_reason="stop", model="m") + chunk_event(usage=usage, model="m") + DONE
        return Reply([Send(chunk_event("a", model="m") + end)])

    return answer


def client_of(server: Server, **options: Any) -> Client:
    return Client([providers.OpenAI(api_key="sk-SECRET", base_url=server.url)], retry=Retry(1), **options)


def lines_of(path: Path) -> list[dict[str, Any]]:
    text = path.read_text("utf-8")
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def texts(results: Batch[Any]) -> list[str]:
    return sorted(result.text for result in results)


# Results.


def test_each_prompt_has_a_result() -> None:
    """Each prompt has one result, with its place, itself, and the reply to it."""
    prompts = [f"prompt {number}" for number in range(50)]
    with Server(echo) as server, client_of(server) as client, bounded():
        results = list(client.map("openai/m", prompts, concurrency=7))
    assert list(range(50)) == sorted(result.index for result in results)
    assert all(result.prompt == prompts[result.index] for result in results)
    assert all(result.text == prompts[result.index].upper() and result.error is None for result in results)


def test_the_forms_of_a_prompt() -> None:
    """A prompt is text, a message, a list of messages, or a dict with messages and parameters of its own."""
    prompts = [
        "a",
        user("b"),
        {"role": "user", "content": "c"},
        [Message("system", "s"), {"role": "user", "content": "d"}],
        {"messages": "e", "max_tokens": 7, "id": 5},
        {"messages": [user("f")], "id": "x"},
    ]
    with Server(echo) as server, client_of(server) as client, bounded():
        keyed = [prompt for prompt in prompts if isinstance(prompt, dict) and "messages" in prompt]
        results = list(client.map("openai/m", prompts[:4], ordered=True))
        results += client.map("openai/m", keyed, key="id", ordered=True)
    assert ["A", "B", "C", "D", "E", "F"] == [result.text for result in results]
    assert ["", "", "", "", "5", "x"] == [result.key for result in results]
    bodies = {asked(request): request.json() for request in server.requests}
    assert 7 == bodies["e"]["max_tokens"]
    assert "id" not in bodies["e"]
    assert ["system", "user"] == [message["role"] for message in bodies["d"]["messages"]]


def test_a_failure_does_not_end_the_others() -> None:
    """A refusal and a prompt that is none are errors of their results alone."""
    with Server(echo) as server, client_of(server) as client, bounded():
        results = list(
            client.map("openai/m", ["a", "!b", 5, {"x": 1}, {"messages": "d", "model": "m"}, "c"], ordered=True)
        )
    assert ["A", "", "", "", "", "C"] == [result.text for result in results]
    kinds = [type(result.error) for result in results]
    assert issubclass(kinds[1], APIError)
    assert [ConfigError] * 3 == kinds[2:5]


@given(order=st.permutations(range(8)), concurrency=st.integers(1, 8))
@settings(max_examples=25)
def test_results_in_order(order: list[int], concurrency: int) -> None:
    """With ``ordered`` results come in the order of the prompts, whichever ends first."""
    gates = [threading.Event() for _ in order]

    def answer(request: Request) -> Reply:
        number = int(asked(request))
        return Reply([WaitFor(gates[number], SOON), *text_reply(str(number)).steps])

    def open_gates() -> None:
        for number in order:
            gates[number].set()

    with Server(answer) as server, client_of(server) as client, bounded():
        opening = Task(open_gates)
        found = [r.text for r in client.map("openai/m", map(str, range(8)), concurrency=concurrency, ordered=True)]
        opening.result()
    assert [str(number) for number in range(8)] == found


def test_several_models(tmp_path: Path) -> None:
    """A prompt that one model does not answer is answered by the next, and the file is good for the same models."""

    def answer(request: Request) -> Reply:
        return json_reply({"error": {}}, status=500) if request.json()["model"] == "bad" else echo(request)

    models, path = ["openai/bad", "openai/m"], tmp_path / "out.jsonl"
    with Server(answer) as server, client_of(server) as client, bounded():
        assert ["A", "B"] == texts(client.map(models, ["a", "b"], save=path))
        assert [True, True] == [result.saved for result in client.map(models, ["a", "b"], save=path)]
        with pytest.raises(ConfigError, match="of another model"):
            list(client.map(models[1], ["a", "b"], save=path))
        with pytest.raises(ConfigError, match="nobody"):
            client.map(["openai/m", "nobody/m"], ["a"])


def test_typed_output() -> None:
    """A reply that does not fit the type is an error; one that fits has its instance."""

    def answer(request: Request) -> Reply:
        return text_reply(asked(request))

    with Server(answer) as server, client_of(server) as client, bounded():
        results = list(
            client.map("openai/m", ['{"x": 1, "y": 2}', '{"x": "one"}'], response_format=Point, ordered=True)
        )
    assert Point(1, 2) == results[0].parsed
    assert isinstance(results[1].error, InvalidOutputError)
    assert results[1].completion is None


@attrs.frozen
class Point:
    x: int
    y: int


# What is read, and by whom.


def test_endless_prompts_are_read_as_needed() -> None:
    """Of an endless iterator at most twice as many prompts are read as are asked at once, in the loop's thread."""
    read: list[int] = []

    def prompts() -> Iterator[str]:
        for number in itertools.count():
            read.append(threading.get_ident())
            yield str(number)

    with Server(echo) as server, client_of(server) as client, bounded():
        for taken, _ in enumerate(client.map("openai/m", prompts(), concurrency=4), 1):
            assert len(read) - taken < 8
            if taken == 40:
                break
    assert {threading.get_ident()} == {*read}


def test_an_ordered_window_is_bounded() -> None:
    """While the first prompt is not answered, at most eight times as many are read as are asked at once."""
    gate, others, early = threading.Event(), itertools.count(1), []

    def answer(request: Request) -> Reply:
        if asked(request) == "0":
            return Reply([WaitFor(gate, SOON), *text_reply("a").steps])
        if next(others) == 15:
            gate.set()
        return text_reply("a")

    def prompts() -> Iterator[str]:
        for number in itertools.count():
            if number > 15 and not gate.is_set():
                early.append(number)
                gate.set()
            yield str(number)

    with Server(answer) as server, client_of(server) as client, bounded():
        batch = client.map("openai/m", prompts(), concurrency=2, ordered=True)
        assert list(range(20)) == [next(batch).index for _ in range(20)]
        batch.close()
    assert [] == early


def test_prompts_whose_iterator_fails() -> None:
    """What was read before is answered, then the iterator's own error is raised."""

    def prompts() -> Iterator[str]:
        yield "a"
        yield "b"
        raise LookupError("the file ends here")

    found = []
    with Server(echo) as server, client_of(server) as client, bounded():
        with pytest.raises(LookupError, match="ends here"):
            for result in client.map("openai/m", prompts()):
                found.append(result.text)
    assert ["A", "B"] == sorted(found)


def test_no_prompts() -> None:
    """No prompts are no results."""
    with Server(echo) as server, client_of(server) as client, bounded():
        batch = client.map("openai/m", [])
        assert [] == list(batch)
        assert "complete" == batch.status


# Ends.


def hanging(request: Request) -> Reply:
    return Reply([Wait(None)]) if asked(request) == "wait" else echo(request)


def test_leaving_the_loop() -> None:
    """Leaving the loop cancels the open streams, and a further loop has what had ended."""
    with Server(hanging) as server, client_of(server) as client, bounded():
        batch = client.map("openai/m", ["a", "wait", "wait", "b"], concurrency=4)
        for result in batch:
            first = result
            break
        left = list(batch)
        assert "cancelled" == batch.status
    assert {"A", "B"} >= {first.text, *(result.text for result in left)}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("streamkit-batch")]


def test_a_dropped_batch_ends() -> None:
    """Without its last reference a batch ends by itself, and lets go of its file."""
    with Server(hanging) as server, client_of(server) as client, bounded():
        batch = client.map("openai/m", ["a", "wait"])
        assert "A" == next(batch).text
        del batch
        gc.collect()
        for thread in threading.enumerate():
            if thread.name.startswith("streamkit-batch"):
                thread.join(SOON)
                assert not thread.is_alive()


@pytest.mark.parametrize("kind", [StopEvent, threading.Event])
def test_a_stop_event(kind: type[threading.Event]) -> None:
    """The program's stop event ends the loop without an error, after what had ended."""
    stop = kind()
    with Server(hanging) as server, client_of(server) as client, bounded():
        batch = client.map("openai/m", ["a", "wait", "wait"], stop=stop)
        found = []
        for result in batch:
            found.append(result.text)
            stop.set()
        assert ["A"] == found
        assert "cancelled" == batch.status


def test_closing_from_another_thread() -> None:
    """``close()`` in any thread ends a loop that waits."""
    with Server(hanging) as server, client_of(server) as client, bounded():
        batch = client.map("openai/m", ["wait"])
        loop = Task(lambda: list(batch))
        server.wait_for_requests(1)
        batch.close()
        assert [] == loop.result()


def test_a_closed_client_ends_its_batches() -> None:
    """Closing the client cancels what runs: errors of their prompts, and no hang."""
    with Server(hanging) as server, client_of(server) as client, bounded():
        batch = client.map("openai/m", ["a", "wait"])
        assert "A" == next(batch).text
        client.close()
        (result,) = batch
        assert isinstance(result.error, (StreamCancelledError, ConfigError))


# Limits.


def test_max_failures() -> None:
    """After one failure more than may be, nothing more is asked, and the loop says so after all results."""
    results: list[BatchResult[str]] = []
    with Server(echo) as server, client_of(server) as client, bounded():
        batch = client.map("openai/m", ["!x"] * 100, concurrency=2, max_failures=3)
        with pytest.raises(BatchLimitError, match="max_failures is 3") as caught:
            results.extend(batch)
            for result in batch:
                results.append(result)
        assert "max_failures" == caught.value.limit
        assert "error" == batch.status
        assert 4 <= len(server.requests) <= 5
    pickled = pickle.loads(pickle.dumps(caught.value))
    assert ("max_failures", str(caught.value)) == (pickled.limit, str(pickled))


def test_max_cost() -> None:
    """From the cost on nothing more is asked; what is running ends and counts."""
    results = []
    with Server(costing(0.01)) as server, client_of(server) as client, bounded():
        batch = client.map("openai/m", ["x"] * 100, concurrency=2, max_cost=0.1)
        with pytest.raises(BatchLimitError, match=r"max_cost is \$0.1"):
            for result in batch:
                results.append(result)
    assert 10 <= len(results) <= 11
    assert batch.totals.cost == pytest.approx(0.01 * len(results))
    assert len(results) * 2 == batch.totals.output_tokens


def test_max_cost_without_a_cost() -> None:
    """Where the cost of a reply is unknown, a limit of it is an error that says why."""
    with Server(costing(None)) as server, client_of(server) as client, bounded():
        with pytest.raises(ConfigError, match="what a reply of openai/m costs is unknown"):
            list(client.map("openai/m", ["x"] * 100, concurrency=2, max_cost=1))
        assert len(server.requests) <= 3


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"concurrency": 0}, "concurrency is a number from 1"),
        ({"max_failures": -1}, "max_failures"),
        ({"max_cost": 0}, "max_cost is an amount"),
        ({"key": 3}, "key is a function"),
        ({"executor": 3}, "executor is a concurrent.futures.Executor"),
        ({"factory": Client}, "there is no executor"),
        ({"temprature": 1}, "temprature"),
        ({"stop": ["."]}, "stop is a StopEvent"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], text: str) -> None:
    """A wrong argument is a ConfigError at once."""
    with Server(echo) as server, client_of(server) as client:
        with pytest.raises(ConfigError, match=text):
            client.map("openai/m", ["a"], **arguments)
        assert [] == server.requests


@pytest.mark.parametrize("prompts", ["text", {"a": 1}, 5])
def test_prompts_that_are_none(prompts: Any) -> None:
    """One text in place of many is a ConfigError, and not a batch of its letters."""
    with Client() as client, pytest.raises(ConfigError, match="many prompts"):
        client.map("demo/storyteller", prompts)


def test_a_missing_key_is_said_at_once() -> None:
    """What no prompt could be asked with is an error of the call."""
    with Client() as client, pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        client.map("openai/m", ["a"])


# The file.


def test_a_second_run_asks_what_is_missing(tmp_path: Path) -> None:
    """Failures and new prompts are asked again, replies are not, and the file has each prompt once."""
    path = tmp_path / "out.jsonl"
    failing = {"b", "d"}

    def answer(request: Request) -> Reply:
        return echo(request) if asked(request) not in failing else json_reply({"error": {}}, status=400)

    with Server(answer) as server, client_of(server) as client, bounded():
        first = list(client.map("openai/m", ["a", "b", "c", "d"], save=path))
        assert 2 == sum(result.error is not None for result in first)
        assert 4 == len(lines_of(path))
        failing.discard("b")
        before = len(server.requests)
        second = list(client.map("openai/m", ["a", "b", "c", "d", "e"], save=path, ordered=True))
        assert ["b", "d", "e"] == sorted(asked(request) for request in list(server.requests)[before:])
    assert ["A", "B", "C", "", "E"] == [result.text for result in second]
    assert [True, False, True, False, False] == [result.saved for result in second]
    assert [0, 1, 2, 3, 4] == sorted(line["index"] for line in lines_of(path))
    assert [path] == list(tmp_path.iterdir())


def test_a_saved_completion_is_the_completion(tmp_path: Path) -> None:
    """What is read from the file is equal to what was written, and has its instance."""
    path = tmp_path / "out.jsonl"
    with Server(lambda request: text_reply('{"x": 1, "y": 2}')) as server, client_of(server) as client, bounded():
        (asked_for,) = client.map("openai/m", ["a"], save=path, response_format=Point)
        (saved,) = client.map("openai/m", ["a"], save=path, response_format=Point)
    assert saved.saved
    assert asked_for.completion == saved.completion
    assert Point(1, 2) == saved.parsed


@pytest.mark.parametrize(
    ("prompts", "options", "text"),
    [
        (["b"], {}, "to another prompt"),
        (["a"], {"temperature": 0.5}, "of another model, or with other parameters"),
        ([{"messages": "a", "seed": 1}], {}, "to another prompt"),
    ],
)
def test_a_file_of_other_prompts(prompts: list[Any], options: dict[str, Any], text: str, tmp_path: Path) -> None:
    """A file of other prompts or parameters is an error, nothing is asked, and the file stays as it is."""
    path = tmp_path / "out.jsonl"
    with Server(echo) as server, client_of(server) as client, bounded():
        list(client.map("openai/m", ["a"], save=path))
        before = path.read_bytes()
        with pytest.raises(ConfigError, match=text):
            list(client.map("openai/m", prompts, save=path, **options))
        assert 1 == len(server.requests)
    assert before == path.read_bytes()


def test_text_and_its_message_are_one_prompt(tmp_path: Path) -> None:
    """A prompt may be written otherwise and be the same."""
    path = tmp_path / "out.jsonl"
    with Server(echo) as server, client_of(server) as client, bounded():
        list(client.map("openai/m", ["a"], save=path))
        assert [True] == [result.saved for result in client.map("openai/m", [[user("a")]], save=path)]


def test_keys(tmp_path: Path) -> None:
    """With keys prompts may come and go; two with one key are an error, and so is one that has changed."""
    path = tmp_path / "out.jsonl"

    def rows(*names: str) -> list[dict[str, str]]:
        return [{"id": name, "messages": f"about {name}"} for name in names]

    with Server(echo) as server, client_of(server) as client, bounded():
        list(client.map("openai/m", rows("a", "b", "c"), save=path, key="id"))
        results = list(client.map("openai/m", rows("x", "c", "a"), save=path, key="id", ordered=True))
        assert [False, True, True] == [result.saved for result in results]
        assert ["ABOUT X", "ABOUT C", "ABOUT A"] == [result.text for result in results]
        with pytest.raises(ConfigError, match="two prompts have the key 'a'"):
            list(client.map("openai/m", rows("a", "a"), save=path, key="id"))
        with pytest.raises(ConfigError, match=r"the prompt 'a' .* to another prompt"):
            list(client.map("openai/m", [{"id": "a", "messages": "else"}], save=path, key="id"))
        with pytest.raises(ConfigError, match="no key"):
            list(client.map("openai/m", ["a"], save=path, key="id"))
        assert 4 == len(server.requests)


@given(cut=st.integers(0, 10_000))
@settings(max_examples=40)
def test_a_torn_file(cut: int, tmp_path_factory: pytest.TempPathFactory, whole: bytes) -> None:
    """Of a file that was cut anywhere, the whole lines are kept, and the rest is asked again."""
    path = tmp_path_factory.mktemp("torn") / "out.jsonl"
    path.write_bytes(whole[: cut % (len(whole) + 1)])
    kept = path.read_bytes().count(b"\n")
    with Server(echo) as server, client_of(server) as client, bounded():
        results = list(client.map("openai/m", ["a", "b", "c"], save=path, concurrency=1))
        assert 3 - kept == len(server.requests)
    assert ["A", "B", "C"] == [result.text for result in results]
    assert [0, 1, 2] == [line["index"] for line in lines_of(path)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "out.jsonl"
    with Server(echo) as server, client_of(server) as client:
        list(client.map("openai/m", ["a", "b", "c"], save=path, concurrency=1))
    return path.read_bytes()


@pytest.mark.parametrize("text", ["my notes", "my notes\n", '{"a": 1}\n{"index":', "[1]\n"])
def test_a_file_of_something_else(text: str, tmp_path: Path) -> None:
    """A file that no batch wrote is refused, and stays as it is."""
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with Client() as client, pytest.raises(ConfigError, match="is not the file of a batch"):
        client.map("demo/storyteller", ["a"], save=path)
    assert text == path.read_text()


def test_two_batches_on_one_file(tmp_path: Path) -> None:
    """The second one is refused while the first is open, also where the program has looked at the file meanwhile."""
    path = tmp_path / "out.jsonl"
    with Server(hanging) as server, client_of(server) as client, bounded():
        with client.map("openai/m", ["a", "wait"], save=path) as batch:
            assert "A" == next(batch).text
            assert 1 == len(lines_of(path))
            with pytest.raises(ConfigError, match="being written by another batch"):
                client.map("openai/m", ["a"], save=path)
        assert [True] == [result.saved for result in client.map("openai/m", ["a"], save=path)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_does_not_keep_the_file(tmp_path: Path) -> None:
    """A child that lives on does not keep the lock of a batch that its parent has closed."""
    path = tmp_path / "out.jsonl"
    reader, writer = os.pipe()
    with Server(echo) as server, client_of(server) as client, bounded():
        with client.map("openai/m", ["a"], save=path) as batch:
            next(batch)
            child = os.fork()
            if not child:
                os.close(writer)
                os.read(reader, 1)
                os._exit(0)
        assert [True] == [result.saved for result in client.map("openai/m", ["a"], save=path)]
        os.close(writer)
        os.close(reader)
        os.waitpid(child, 0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full")
def test_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk ends the batch with its error, after what had been answered; nothing comes after a torn line."""
    path = tmp_path / "out.jsonl"
    write, full = os.write, open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - closed below
    count = itertools.count()

    def failing(descriptor: int, data: bytes) -> int:
        if next(count) < 2:
            return write(descriptor, data)
        write(descriptor, data[:10])
        return write(full.fileno(), data)

    results = []
    with full, Server(echo) as server, client_of(server) as client, bounded():
        monkeypatch.setattr("streamkit.batch.saving.os.write", failing)
        with pytest.raises(OSError, match="No space left"):
            for result in client.map("openai/m", [str(number) for number in range(50)], save=path, concurrency=2):
                results.append(result)
        monkeypatch.undo()
        assert len(results) == len(server.requests) <= 5
        again = list(client.map("openai/m", [str(number) for number in range(5)], save=path))
    assert 2 == sum(result.saved for result in again)
    assert [0, 1, 2, 3, 4] == sorted(line["index"] for line in lines_of(path))


def test_the_cost_in_the_file_counts(tmp_path: Path) -> None:
    """A second run with the same limit of cost asks nothing more."""
    path = tmp_path / "out.jsonl"
    with Server(costing(0.05)) as server, client_of(server) as client, bounded():
        for _ in range(2):
            with pytest.raises(BatchLimitError):
                list(client.map("openai/m", ["x"] * 9, concurrency=1, max_cost=0.1, save=path))
        assert 2 == len(server.requests)


# Executors.


def test_threads_of_the_program() -> None:
    """An executor of threads uses the client itself, and its streams end with the batch."""
    with Server(hanging) as server, client_of(server) as client, bounded(), ThreadPoolExecutor(4) as pool:
        assert ["A", "B"] == texts(client.map("openai/m", ["a", "b"], executor=pool))
        batch = client.map("openai/m", ["a", "wait"], executor=pool)
        assert "A" == next(batch).text
        batch.close()
        assert [] == list(batch)


# Progress.


def test_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """A bar shows how many replies there are, tokens a second and the cost; without a terminal there is none."""
    pytest.importorskip("tqdm")
    with Server(costing(0.5)) as server, client_of(server) as client, bounded():
        list(client.map("openai/m", ["x"] * 3))
        assert "" == capsys.readouterr().err
        list(client.map("openai/m", ["x"] * 3, progress=True))
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert " tokens/s, $1.5000" in shown
