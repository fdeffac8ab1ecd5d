"""No call runs twice: a suspension that is resumed by several processes at once, or after ``kill -9`` at any point.

Each program appends a line to a file whenever its function runs. That is the side effect that may not happen twice.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

import streamkit
from streamkit import Claims, FileClaims, MemoryClaims, Run, StoreConflictError, Suspension, Tool
from streamkit.testing import Server, text_reply, tool_call_reply
from tests.fault.support import SOON, client_of, join_readers
from tests.fault.test_interrupts import interrupted_at
from tests.fault.test_run_cancel import join_tools
from tests.unit.run_histories import refused_by
from tests.unit.run_support import results, sent, told
from tests.unit.support import bounded

DONE = text_reply("All done.")
TWO = tool_call_reply("pay", {"to": "Ada"}, ("pay", {"to": "Bob"}))

# Tells on its standard output what happens, a line each, and goes on when it is told so on its standard input.
PROGRAM = """if True:
    import json, os, sys
    import streamkit as sk

    url, folder, kept, decisions, stops, idempotent, parallel = json.loads(sys.argv[1])

    def say(*words):
        sys.stdout.write(" ".join(map(str, words)) + chr(10))  # one write, as two functions may run at once
        sys.stdout.flush()
        if words[0] in stops or " ".join(words) in stops:
            sys.stdin.readline()

    def pay(to: str) -> str:
        with open(os.path.join(folder, "paid"), "a") as file:
            file.write(to + chr(10))
            file.flush()
            os.fsync(file.fileno())
        say("paying", to)
        return "paid " + to

    class Asking(sk.Observer):
        def stream_started(self, report):
            say("asking")

    tools = [sk.tool(pay, needs_approval=True, idempotent=idempotent)]
    tools.append(sk.tool(pay, name="auto", idempotent=idempotent))
    client = sk.Client([sk.providers.OpenAI(api_key="k", base_url=url)], observers=[Asking()])
    claims = sk.FileClaims(os.path.join(folder, "claims"))
    made = {id: sk.Approved(None if value is True else value) for id, value in decisions.items()}
    say("ready")
    try:
        run = client.resume(sk.Suspension.from_json(kept), made, tools=tools, claims=claims, parallel=parallel)
        for chunk in run:
            if chunk.tool_result:
                say("result", chunk.tool_result.call_id)
        say(run.status)
    except sk.StoreConflictError:
        say("conflict")
"""

BOTH = {"call_1": True, "call_2": True}


@attrs.define(eq=False)
class Place:
    """A server, a folder, and the JSON of a suspension."""

    server: Server
    folder: Path
    kept: str

    @contextmanager
    def program(
        self,
        *stops: str,
        decisions: Any = None,
        idempotent: bool = False,
        parallel: int = 1,
    ) -> Iterator[subprocess.Popen[str]]:
        """Start a program that resumes the suspension, and kill it in the end.

        Args:
            stops: the lines after which it waits for a line.
            decisions: by call: true, or other arguments.
            idempotent: whether the tools are.
            parallel: how many functions run at once.
        """
        given = [
            self.server.url,
            str(self.folder),
            self.kept,
            BOTH if decisions is None else decisions,
            stops,
            idempotent,
            parallel,
        ]
        environment = {**os.environ, "PYTHONPATH": str(Path(streamkit.__file__).parents[1])}
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(given)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as program:
            try:
                yield program
            finally:
                program.kill()

    def whole(self, **settings: Any) -> list[str]:
        """Resume in a program that runs to its end; return what it told."""
        with self.program(**settings) as program:
            return program.communicate(timeout=SOON)[0].splitlines()

    def killed_at(self, line: str, **settings: Any) -> None:
        """Resume in a program that is killed when it has told a line."""
        with self.program(line, **settings) as program:
            with bounded():
                until(program, line)
            program.kill()
            program.wait(SOON)

    @property
    def paid(self) -> list[str]:
        """To whom was paid, in order."""
        path = self.folder / "paid"
        return path.read_text().split() if path.exists() else []


def until(program: subprocess.Popen[str], line: str) -> None:
    """Read what a program tells up to a line."""
    assert program.stdout is not None
    for told_line in program.stdout:
        if told_line.strip() == line:
            return
    raise AssertionError(f"the program has ended without: {line}")


def go_on(program: subprocess.Popen[str]) -> None:
    assert program.stdin is not None
    program.stdin.write("\n")
    program.stdin.flush()


def pay(to: str) -> str:
    """Pay."""
    raise AssertionError("nobody has approved this")


@contextmanager
def suspended(folder: Path, *replies: Any) -> Iterator[Place]:
    """Give a place with a suspension of a run, whose resumed run gets the rest of the replies."""
    with Server(*replies) as server:
        with client_of(server) as client:
            tools = [Tool.of(pay, needs_approval=True), Tool.of(pay, name="auto")]
            run = client.run("openai/m", "Pay", tools=tools, claims=FileClaims(folder / "claims"))
            run.collect()
            assert run.suspension is not None
            yield Place(server, folder, run.suspension.to_json())


@pytest.mark.parametrize("claim_in", ["the first run", "resume alone"])
def test_two_processes_at_once(tmp_path: Path, claim_in: str) -> None:
    """One goes on; the other gets a StoreConflictError while the first one runs, and after it has ended."""
    with suspended(tmp_path, TWO, DONE) as place:
        if claim_in == "resume alone":
            place.kept = json.dumps({**json.loads(place.kept), "id": "another"})
        with place.program("ready", "paying") as one, place.program("ready", "paying") as other:
            for program in (one, other):
                until(program, "ready")
            for program in (one, other):
                go_on(program)
            lines = [program.stdout.readline().strip() for program in (one, other) if program.stdout]
            assert sorted(lines) == ["conflict", "paying Ada"]
            winner = one if lines[0] == "paying Ada" else other
            for _ in range(2):
                go_on(winner)
            assert winner.communicate(timeout=SOON)[0].splitlines()[-1] == "complete"
        assert place.paid == ["Ada", "Bob"]
        assert place.whole() == ["ready", "conflict"]
        assert (place.paid, len(place.server.requests)) == (["Ada", "Bob"], 2)


def test_many_processes_at_once(tmp_path: Path) -> None:
    """However many processes race, each function runs once, and one reply is asked for."""
    with suspended(tmp_path, TWO, DONE) as place:
        with place.program("ready") as a, place.program("ready") as b, place.program("ready") as c:
            programs = (a, b, c)
            for program in programs:
                until(program, "ready")
            for program in programs:
                go_on(program)
            ends = [program.communicate(timeout=SOON)[0].splitlines()[-1] for program in programs]
        assert sorted(ends) == ["complete", "conflict", "conflict"]
        assert (place.paid, len(place.server.requests)) == (["Ada", "Bob"], 2)


@pytest.mark.parametrize("parallel", [1, 2])
def test_killed_in_the_middle_of_a_call(tmp_path: Path, parallel: int) -> None:
    """It is unknown whether the call took effect: the model and the program are told so, and it does not run again."""
    with suspended(tmp_path, TWO, DONE) as place:
        place.killed_at("paying Ada", parallel=parallel)
        assert place.whole()[-1] == "complete"
        first, second = told(place.server)
        assert (place.paid.count("Ada"), "unknown whether it took effect" in first) == (1, True)
        if "unknown" in second:  # its thread had been about to begin, or had begun
            assert (parallel, place.paid.count("Bob") <= 1) == (2, True)
        else:
            assert (place.paid.count("Bob"), second) == (1, "paid Bob")


def test_what_the_program_is_told_of_it(tmp_path: Path) -> None:
    """The result of such a call has the state ``unknown``, in the chunk, and in the history that goes on."""
    with suspended(tmp_path, TWO, DONE) as place:
        place.killed_at("paying Bob")
        with client_of(place.server) as client:
            claims = FileClaims(tmp_path / "claims")
            tools = [Tool.of(pay, needs_approval=True)]
            run = client.resume(Suspension.from_json(place.kept), {}, tools=tools, claims=claims)
            chunks = list(run)
        found = [chunk.tool_result for chunk in chunks if chunk.tool_result]
        assert (found[0].error, found[0].state, found[0].content) == (None, "finished", "paid Ada")
        assert (found[1].error, found[1].state) == ("unknown", "unknown")
        assert run.status == "complete"
        assert refused_by(run.messages) == {}
        assert place.paid == ["Ada", "Bob"]


def test_an_answer_settles_what_is_unknown(tmp_path: Path) -> None:
    """Somebody who has looked what became of the call may give its result."""
    with suspended(tmp_path, TWO, DONE) as place:
        place.killed_at("paying Bob")
        with client_of(place.server) as client:
            decisions = {"call_2": streamkit.Answered("Bob has it")}
            tools, claims = [Tool.of(pay, needs_approval=True)], FileClaims(tmp_path / "claims")
            run = client.resume(Suspension.from_json(place.kept), decisions, tools=tools, claims=claims)
            assert results(list(run)) == [("call_1", "paid Ada"), ("call_2", "Bob has it")]


def test_an_idempotent_tool_runs_again(tmp_path: Path) -> None:
    """A call of a tool that is ``idempotent`` runs again, as its program has said that it may."""
    with suspended(tmp_path, TWO, DONE) as place:
        place.killed_at("paying Ada", idempotent=True)
        assert place.whole(idempotent=True)[-1] == "complete"
        assert place.paid == ["Ada", "Ada", "Bob"]
        assert told(place.server) == ["paid Ada", "paid Bob"]


def test_an_idempotent_tool_runs_again_as_it_is_decided_now(tmp_path: Path) -> None:
    """The arguments that a person had put in place of the model's are not known any more: it waits for a decision."""
    with suspended(tmp_path, TWO, DONE) as place:
        place.killed_at("paying Eve", decisions={"call_1": {"to": "Eve"}, "call_2": True}, idempotent=True)
        assert place.whole(decisions={"call_2": True}, idempotent=True)[-1] == "suspended"
        assert place.paid == ["Eve", "Bob"]


def test_a_rejected_call_does_not_run_again(tmp_path: Path) -> None:
    """A rejection of now does not say that the call never ran."""
    with suspended(tmp_path, TWO, DONE) as place:
        place.killed_at("paying Ada", idempotent=True)
        with client_of(place.server) as client:
            decisions = {"call_1": False, "call_2": False}
            tools = [Tool.of(pay, needs_approval=True, idempotent=True)]
            claims = FileClaims(tmp_path / "claims")
            run = client.resume(Suspension.from_json(place.kept), decisions, tools=tools, claims=claims)
            found = [chunk.tool_result for chunk in run if chunk.tool_result]
        assert [result.error for result in found] == ["unknown", "not approved"]
        assert place.paid == ["Ada"]


@pytest.mark.parametrize("line", ["result call_1", "result call_2", "asking"])
@pytest.mark.parametrize("parallel", [1, 2])
def test_killed_after_a_call(tmp_path: Path, line: str, parallel: int) -> None:
    """A result that was there is used again: the function does not run, and the model gets the same."""
    with suspended(tmp_path, TWO, DONE) as place:
        place.killed_at(line, parallel=parallel)
        assert place.whole()[-1] == "complete"
        if (line, parallel) == ("result call_1", 2):  # the other function runs meanwhile, and may have got anywhere
            assert told(place.server, -1)[0] == "paid Ada"
            assert (place.paid.count("Ada"), place.paid.count("Bob")) in ((1, 0), (1, 1))
            return
        assert (place.paid if parallel == 1 else sorted(place.paid)) == ["Ada", "Bob"]
        assert told(place.server, -1) == ["paid Ada", "paid Bob"]


def test_killed_before_any_call(tmp_path: Path) -> None:
    """Decisions that were taken and not carried out do no harm."""
    with suspended(tmp_path, TWO, DONE) as place:
        place.killed_at("ready")
        assert place.whole()[-1] == "complete"
        assert place.paid == ["Ada", "Bob"]


@pytest.mark.slow
def test_killed_again_and_again(tmp_path: Path) -> None:
    """Killed at each line in turn, every function has run once in the end."""
    with suspended(tmp_path, TWO, DONE) as place:
        for line in ("ready", "result call_1", "result call_1", "result call_2", "asking"):
            place.killed_at(line)
        assert place.whole()[-1] == "complete"
        assert place.paid == ["Ada", "Bob"]


AUTO = tool_call_reply("auto", {"to": "Carl"}, id="call_a")
AUTO_AGAIN = tool_call_reply("auto", {"to": "Carl"}, id="call_b")


@pytest.mark.parametrize("again", [AUTO, AUTO_AGAIN], ids=["the same id", "another id"])
@pytest.mark.parametrize("idempotent", [True, False])
def test_killed_in_a_call_of_a_later_round(tmp_path: Path, again: Any, idempotent: bool) -> None:
    """The model is asked for that round again: the same call is known by its arguments, and does not run again."""
    with suspended(tmp_path, TWO, AUTO, again, DONE) as place:
        place.killed_at("paying Carl", idempotent=idempotent)
        assert place.whole(idempotent=idempotent)[-1] == "complete"
        assert place.paid == ["Ada", "Bob", "Carl", *["Carl"] * idempotent]
        said = told(place.server, -1)[-1]
        assert said == "paid Carl" if idempotent else "unknown whether it took effect" in said


@pytest.mark.parametrize("again", [AUTO, AUTO_AGAIN], ids=["the same id", "another id"])
def test_killed_after_a_call_of_a_later_round(tmp_path: Path, again: Any) -> None:
    """A result of a later round is used again for the same call."""
    with suspended(tmp_path, TWO, AUTO, again, DONE) as place:
        place.killed_at("result call_a")
        assert place.whole()[-1] == "complete"
        assert place.paid == ["Ada", "Bob", "Carl"]
        assert told(place.server, -1)[-1] == "paid Carl"
        assert sent(place.server, -1)[-1]["tool_call_id"] == sent(place.server, -1)[-2]["tool_calls"][0]["id"]


def test_another_call_of_a_later_round_runs(tmp_path: Path) -> None:
    """A model that asks for something else now gets it."""
    other = tool_call_reply("auto", {"to": "Dora"}, ("auto", {"to": "Carl"}), id="call_a")
    with suspended(tmp_path, TWO, AUTO, other, DONE) as place:
        place.killed_at("result call_a")
        assert place.whole()[-1] == "complete"
        assert place.paid == ["Ada", "Bob", "Carl", "Dora"]


def test_a_suspension_of_a_resumed_run(tmp_path: Path) -> None:
    """Each suspension has states of its own: the second one can be resumed once, the first one no more."""
    with suspended(tmp_path, TWO, DONE) as place:
        with client_of(place.server) as client:
            claims, tools = FileClaims(tmp_path / "claims"), [Tool.of(pay, needs_approval=True)]
            decisions = {"call_1": streamkit.Answered("ok")}
            run = client.resume(Suspension.from_json(place.kept), decisions, tools=tools, claims=claims)
            run.collect()
            assert run.suspension is not None
            with pytest.raises(StoreConflictError):
                client.resume(Suspension.from_json(place.kept), decisions, tools=tools, claims=claims)
        place.kept = run.suspension.to_json()
        assert place.whole(decisions={"call_2": True})[-1] == "complete"
        assert place.whole(decisions={"call_2": True})[-1] == "conflict"
        assert place.paid == ["Bob"]


class Stopping(MemoryClaims):
    """Cancels a run while one of its calls is being moved, as a signal handler may."""

    def __init__(self, state: str, *, before: bool) -> None:
        super().__init__()
        self.runs: list[Run] = []
        self._state = state
        self._before = before

    def move(self, id: str, call_id: str, expected: Any, state: Any, result: Any = None) -> bool:
        if self._before and state == self._state:
            self._cancel()
        moved = super().move(id, call_id, expected, state, result)
        if not self._before and state == self._state:
            self._cancel()
        return moved

    def _cancel(self) -> None:
        for run in self.runs:
            run.cancel()
        self.runs.clear()


@pytest.mark.parametrize("parallel", [1, 2])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("state", ["running", "done"])
def test_a_cancel_while_a_call_is_claimed(state: str, before: bool, parallel: int) -> None:
    """A cancel in the middle of a claim: what has not begun does not begin, and it is not taken for unknown later."""
    ran: list[str] = []

    def pay(to: str) -> str:
        ran.append(to)
        return f"paid {to}"

    tools, claims = [Tool.of(pay, needs_approval=True)], Stopping(state, before=before)
    with Server(TWO, DONE) as server, client_of(server) as client:
        run = client.run("openai/m", "Pay", tools=tools)
        run.collect()
        kept, decisions = run.suspension, dict.fromkeys(("call_1", "call_2"), True)
        assert kept is not None
        claims.runs.append(client.resume(kept, decisions, tools=tools, claims=claims, parallel=parallel))
        run = claims.runs[0]
        list(run)
        join_tools()
        assert run.status == "cancelled"
        assert ran == [] if state == "running" else ran[:1] == ["Ada"]
        assert refused_by(run.messages) == {}
        again = client.resume(kept, decisions, tools=tools, claims=claims)
        assert results(list(again)) == [("call_1", "paid Ada"), ("call_2", "paid Bob")]
        assert ran == ["Ada", "Bob"]


@pytest.mark.slow
@pytest.mark.parametrize("parallel", [1, 2])
@pytest.mark.parametrize("kind", ["memory", "files"])
def test_an_interrupt_in_a_resumed_run(tmp_path: Path, kind: str, parallel: int) -> None:
    """Interrupted wherever a signal is handled and resumed again, no function has run twice; none is lost."""
    ran: list[str] = []

    def pay(to: str) -> str:
        ran.append(to)
        return f"paid {to}"

    def answer(request: Any) -> Any:
        return DONE if request.json()["messages"][-1]["role"] == "tool" else TWO

    claims: Claims = MemoryClaims() if kind == "memory" else FileClaims(tmp_path)
    settings: dict[str, Any] = {"tools": [Tool.of(pay, needs_approval=True)], "claims": claims, "parallel": parallel}
    with Server(answer) as server, client_of(server) as client:

        def resumed(kept: Suspension, number: int) -> tuple[int, bool]:
            """Resume with an interrupt at a place; return how many places there were, and whether it was complete."""
            runs: list[Run] = []
            with bounded(), interrupted_at(number, by_signals=True) as count, suppress(KeyboardInterrupt):
                runs.append(client.resume(kept, BOTH, **settings))
                for _ in runs[0]:
                    pass
            for run in runs:
                run.cancel()
            gc.collect()
            join_tools()
            return count[0], bool(runs) and runs[0].status == "complete"

        def interrupted(number: int) -> int:
            ran.clear()
            first = client.run("openai/m", "Pay", tools=settings["tools"])
            first.collect()
            assert first.suspension is not None
            count, whole = resumed(first.suspension, number)
            if not whole:
                again = client.resume(first.suspension, BOTH, **settings)
                found = [chunk.tool_result for chunk in again if chunk.tool_result]
                assert again.status == "complete", number
                unknown = [name for result, name in zip(found, ("Ada", "Bob"), strict=True) if result.error]
                assert all(ran.count(name) <= 1 for name in unknown), (number, ran)
                ran.extend(name for name in unknown if name not in ran)
            assert sorted(ran) == ["Ada", "Bob"], number
            return count

        total = interrupted(0)
        every = max(1, total // 25)
        for number in range(1 + parallel % every, total, every):
            interrupted(number)
        join_readers()
