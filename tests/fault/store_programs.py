"""Programs that write to stores, for the tests that run many of them, kill them, or take their disk away.

Each function that is a program takes what the test passes, and prints one JSON value.
"""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

from streamkit import Client, Conversation, Retry, SQLStore, Store, StoreConflictError, StoreError, Window, providers
from streamkit.conversation.stores.store import ConversationState
from streamkit.testing import Reply, Request, text_reply, tool_call_reply

ROOT = Path(__file__).parents[2]
ID = "shared"
PHASES = ("before the question", "after the question", "chunk", "tool", "before the answer", "after the answer")


def reply_to(request: Request) -> Reply:
    """Answer a question with itself; call a tool first where it says so."""
    messages = request.json()["messages"]
    question = [message["content"] for message in messages if message["role"] == "user"][-1]
    if "tool" in question and messages[-1]["role"] == "user":
        return tool_call_reply("note", {"text": question})
    return text_reply(f"re {question} and so on")


def answer_to(question: str) -> str:
    return f"re {question} and so on"


def start(program: Callable[..., object], *arguments: object) -> subprocess.Popen[str]:
    """Start a program of this module in a process of its own."""
    code = f"from tests.fault import store_programs; store_programs.{program.__name__}(*{list(map(str, arguments))!r})"
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def result_of(process: subprocess.Popen[str], seconds: float = 240.0) -> Any:
    """Return what a program printed."""
    try:
        out, error = process.communicate(timeout=seconds)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    assert (0, "") == (process.returncode, error), error
    return json.loads(out)


def client_of(server_url: str) -> Client:
    return Client([providers.OpenAI(api_key="sk-SECRET", base_url=server_url)], retry=Retry(1))


def chat_in(client: Client, store: Store | None, **options: Any) -> Conversation:
    return client.conversation("openai/m", store=store, id=ID, window=Window(turns=2), **options)


# -- many that append --------------------------------------------------------------------------------------


def append(server_url: str, store_url: str, writers: str, turns: str) -> None:
    """Have some processes ask questions in the shared conversation; print how often somebody else was faster."""
    with client_of(server_url) as client:
        client.conversation("openai/m").send("warm up")  # which imports all that the children need
    reader, writer = os.pipe()
    children = []
    for at in range(int(writers)):
        pid = os.fork()
        if not pid:
            _in_child(lambda: _append(server_url, store_url, f"w{at}", int(turns), writer), writer)  # noqa: B023
        children.append(pid)
    os.close(writer)
    codes = [os.waitpid(pid, 0)[1] for pid in children]
    with os.fdopen(reader) as told:
        lines = told.read().split("\n")[:-1]
    assert [0] * len(children) == codes, lines
    print(json.dumps(sum(map(int, lines))))


def _append(server_url: str, store_url: str, name: str, count: int, writer: int) -> None:
    conflicts = 0
    with client_of(server_url) as client, closing(SQLStore(store_url, timeout=120)) as store:
        chat = chat_in(client, store)
        for number in range(count):
            while True:
                try:
                    assert answer_to(f"{name}-{number}") == chat.send(f"{name}-{number}").text
                    break
                except StoreConflictError:
                    conflicts += 1
                    time.sleep(random.uniform(0, 0.05))  # where processors are few, the one in a turn needs them
                    chat.refresh()
    os.write(writer, f"{conflicts}\n".encode())


def _in_child(work: Callable[[], object], writer: int) -> NoReturn:
    """Do the work of a forked child, and end it."""
    try:
        work()
        os._exit(0)
    except BaseException:
        os.write(writer, b"failed\t" + traceback.format_exc().replace("\n", " | ").encode() + b"\n")
    finally:
        os._exit(1)


# -- killed ------------------------------------------------------------------------------------------------


class Teller:
    """Writes to a pipe what this process has come to; a line is written whole, or not at all."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, what: str, text: str = "") -> None:
        os.write(self._descriptor, f"{what}\t{text}\n".encode())


class TellingStore(SQLStore):
    """Tells before and after each save."""

    def __init__(self, url: str, tell: Teller) -> None:
        super().__init__(url)
        self._tell = tell

    def save(self, state: ConversationState, *, expected: int, first_changed: int = 0) -> int:
        what = "question" if state.turns[-1].state == "open" else "answer"
        self._tell(f"before the {what}")
        version = super().save(state, expected=expected, first_changed=first_changed)
        self._tell(f"after the {what}")
        return version


def _talk(chat: Conversation, tell: Teller, first: int, kinds: Sequence[str], after: Callable[[], object]) -> None:
    for number in range(first, first + 50):
        question = f"{number} {kinds[number % len(kinds)]}"
        stream = chat.stream(question)
        tell("asked", question)
        for _ in stream:
            tell("chunk")
        after()
        tell("done", question)


def _talk_in_store(server_url: str, store_url: str, tell: Teller, first: int) -> None:
    def note(text: str) -> str:
        """Note a text."""
        tell("tool")
        return f"noted {text}"

    chat = chat_in(client_of(server_url), TellingStore(store_url, tell), tools=[note])
    assert chat.status == "idle"
    _talk(chat, tell, first, ("plain", "tool"), lambda: None)


def _talk_to_file(server_url: str, path: str, tell: Teller, first: int) -> None:
    client, large = client_of(server_url), {"unused": "x" * 2_000_000}  # so that writing the file takes its time
    exists = os.path.exists(path)
    chat = Conversation.load(path, client=client) if exists else client.conversation("openai/m", variables=large)

    def save() -> None:
        tell("before the answer")
        chat.save(path)
        tell("after the answer")

    _talk(chat, tell, first, ("plain",), save)


def _killed_child(talk: Callable[..., None], *arguments: object, at: str, seconds: float) -> list[tuple[str, str]]:
    """Fork a child that talks, kill it a moment after it has come to a place, and return what it told."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _in_child(lambda: talk(*arguments, Teller(writer), len(_known) * 1000), writer)
    os.close(writer)
    told, killed = b"", False
    while True:
        if not killed and f"{at}\t".encode() in told:
            select.select([], [], [], seconds)
            os.kill(pid, signal.SIGKILL)
            killed = True
        piece = os.read(reader, 1 << 16)
        if not piece:
            break
        told += piece
    os.close(reader)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie, as under a supervisor that is slow
    _children.append(pid)
    lines = [tuple(line.split("\t", 1)) for line in told.decode().split("\n")[:-1]]
    assert not [text for what, text in lines if what == "failed"], lines
    assert killed, f"it never came to {at!r}: {lines}"
    return lines  # type: ignore[return-value]


_children: list[int] = []
_known: list[list[tuple[str, str]]] = []


def _check(turns: Any, told: list[tuple[str, str]], settled: bool) -> None:
    """Check that all that was acknowledged is there, and that nothing is half there."""
    states = {str(turn.asked.content): turn for turn in turns}
    assert len(states) == len(turns), "a turn is there twice"
    for what, question in told:
        if what == "done":
            assert states[question].state == "complete", (question, states[question].state)
        elif what == "asked" and settled:
            assert question in states, question
    for turn in turns[:-1] if not settled else turns:
        assert turn.state in ("complete", "rolled back"), turn
    for turn in turns:
        if turn.state == "complete":
            assert turn.answer[-1].content == answer_to(str(turn.asked.content)), turn
            calls = [call.id for message in turn.answer for call in message.tool_calls]
            assert calls == [message.tool_call_id for message in turn.answer if message.role == "tool"], turn


def _kills(phases: tuple[str, ...], kills: int, seed: int) -> Iterator[tuple[str, float]]:
    chance = random.Random(seed)
    for number in range(kills):
        yield phases[number % len(phases)], chance.choice([0.0, chance.uniform(0, 0.004), chance.uniform(0, 0.03)])


def kill_in_store(server_url: str, store_url: str, kills: str, seed: str) -> None:
    """Kill children that talk in a store; print how many turns are complete, and how many were rolled back."""
    store = SQLStore(store_url)
    with client_of(server_url) as client:
        chat_in(client, store).send("-1 plain")  # which imports all that the children need
        for at, seconds in _kills(PHASES, int(kills), int(seed)):
            told = _killed_child(_talk_in_store, server_url, store_url, at=at, seconds=seconds)
            _known.append(told)
            chat = chat_in(client, store)
            assert chat.status == "idle", chat.turns[-1]
            _check(chat.turns, told, settled=True)
    state = store.load(ID)
    assert state is not None
    _check(state.turns, [line for told in _known for line in told], settled=False)
    store.close()
    _print_states(state.turns)


def kill_with_file(server_url: str, path: str, kills: str, seed: str) -> None:
    """The same with a conversation that is saved to a file after each turn."""
    with client_of(server_url) as client:
        chat = client.conversation("openai/m")
        chat.send("-1 plain")  # which imports all that the children need
        chat.save(path)  # on a busy machine no child may get as far
        for at, seconds in _kills(("before the answer", "before the answer", "chunk"), int(kills), int(seed)):
            told = _killed_child(_talk_to_file, server_url, path, at=at, seconds=seconds)
            _known.append(told)
            if os.path.exists(path):
                told = [line for each in _known for line in each if line[0] == "done"]
                _check(Conversation.load(path, client=client).turns, told, settled=True)
        _print_states(Conversation.load(path, client=client).turns)


def _print_states(turns: Any) -> None:
    for pid in _children:
        os.waitpid(pid, 0)
    print(json.dumps({state: sum(turn.state == state for turn in turns) for state in ("complete", "rolled back")}))


# -- a disk that takes no more -----------------------------------------------------------------------------


def _allow_files_of(size: int) -> None:
    """Limit the size of files, which is as if the disk were full: Python ignores the signal for it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _failure(do: Callable[[], object]) -> list[str]:
    """Return the class and the text of what is raised."""
    try:
        do()
    except (StoreError, OSError) as error:
        return [type(error).__name__, str(error)]
    return []


def fill_the_disk(server_url: str, path: str) -> None:
    """Talk in a store on a disk that is full for a while: at the question, at the answer, in a tool's function.

    Prints the failures, what the store had after each, what the conversation had, and whether both agree in the end.
    """

    def full() -> None:
        _allow_files_of(os.path.getsize(f"{path}-wal"))

    def note(text: str) -> str:
        """Note a text."""
        full()
        return f"noted {text}"

    logging.getLogger("streamkit").addHandler(logging.NullHandler())  # warnings would go to stderr
    failures, kept, remembered = [], [], []
    with client_of(server_url) as client, closing(SQLStore(path)) as store:
        chat = chat_in(client, store, tools=[note])

        def failing(do: Callable[[], object]) -> None:
            failures.append(_failure(do))
            kept.append(_states_of(store))
            remembered.append([turn.state for turn in chat.turns])
            _allow_files_of(resource.RLIM_INFINITY)

        chat.send("one plain")
        full()
        failing(lambda: chat.send("two plain"))
        chat.send("two plain")
        stream = chat.stream("three plain")
        full()
        failing(lambda: list(stream))
        chat.send("four plain")
        failing(lambda: chat.send("five tool"))
        chat.send("six plain")
        full()
        failing(chat.undo)
        same = list((store.load(ID) or chat.state).turns) == list(chat.turns)
    print(json.dumps([failures, kept, remembered, same]))


def _states_of(store: Store) -> list[str]:
    state = store.load(ID)
    return [] if state is None else [turn.state for turn in state.turns]


def fill_the_disk_of_a_file(server_url: str, path: str) -> None:
    """Save to a file on a full disk; print the failure, whether the old file is there, and what else is."""
    with client_of(server_url) as client:
        chat = client.conversation("openai/m", id=ID)
        chat.send("one")
        chat.save(path)
        before = Path(path).read_bytes()
        chat.send("two")
        _allow_files_of(len(before))
        failure = _failure(lambda: chat.save(path))
        same = before == Path(path).read_bytes()
        _allow_files_of(resource.RLIM_INFINITY)
        chat.save(path)
        turns = len(Conversation.load(path, client=client).turns)
    print(json.dumps([failure, same, os.listdir(Path(path).parent), turns]))


def without_permission(server_url: str) -> None:
    """Use files in a folder that this process may not write to; print the failures, and whether all is as it was.

    Root may write everywhere, so it becomes somebody else.
    """
    with tempfile.TemporaryDirectory(prefix="streamkit-", dir="/tmp") as folder, client_of(server_url) as client:
        path, database = Path(folder, "chat.json"), Path(folder, "chats.db")
        chat = client.conversation("openai/m", id=ID)
        chat.send("one")
        chat.save(path)
        with closing(SQLStore(database)) as store:
            chat_in(client, store).send("one")
        for each in (path, database):
            each.chmod(0o444)
        Path(folder).chmod(0o555)
        before = {each.name: each.read_bytes() for each in Path(folder).iterdir()}
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reader)
            _in_child(lambda: os.write(writer, json.dumps(_as_nobody(client, chat, path, database)).encode()), writer)
        os.close(writer)
        code = os.waitpid(pid, 0)[1]
        with os.fdopen(reader) as told:
            text = told.read()
        assert code == 0, text
        same = before == {each.name: each.read_bytes() for each in Path(folder).iterdir()}
        Path(folder).chmod(0o755)
    print(json.dumps([*json.loads(text), same]))


def _as_nobody(client: Client, chat: Conversation, path: Path, database: Path) -> list[list[str]]:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    with closing(SQLStore(database)) as store, closing(SQLStore(database.with_name("new.db"))) as new:
        return [
            _failure(lambda: chat.save(path)),
            _failure(lambda: chat_in(client, store).send("two")),
            _failure(lambda: chat_in(client, new).send("two")),
        ]
