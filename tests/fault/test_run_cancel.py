"""Cancel and Ctrl-C in each phase of a run with tools: it ends, nothing new begins, and each call has its account."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import streamkit
from streamkit import Chunk, Run, StopEvent, Tool, ToolContext
from streamkit.testing import Mark, Reply, Server, Wait, text_reply, tool_call_reply
from streamkit.values.completion import Fold
from tests.fault.support import SOON, client_of, join_readers, nothing_left
from tests.fault.test_interrupts import interrupted_at
from tests.unit.run_histories import refused_by
from tests.unit.run_support import Told, numbered, wait
from tests.unit.support import Task, bounded

CALLS = [("step", {"number": 2}), ("step", {"number": 3})]
THREE = tool_call_reply("step", {"number": 1}, *CALLS)
DONE = text_reply("All done.")


class Steps:
    """Functions that tell how far they came.

    Args:
        holds: the number of the call that waits: for the stop event, or for ``go``.
        by_stop: which of the two.
    """

    def __init__(self, holds: int = 0, *, by_stop: bool = True) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.inside = threading.Event()
        self.go = threading.Event()
        self._holds = holds
        self._by_stop = by_stop

    def step(self, number: int, context: ToolContext) -> str:
        """Make a step."""
        self.begun.append(number)
        if number == self._holds:
            self.inside.set()
            wait(context.stop if self._by_stop else self.go)
        self.ended.append(number)
        return f"step {number}"


def states(run: Run) -> list[str]:
    return [result.state for result in run.completion.tool_results]


def join_tools() -> None:
    """Wait until no function runs any more."""
    for thread in threading.enumerate():
        if thread.name.startswith("streamkit-tool-"):
            thread._started.wait(SOON)  # type: ignore[attr-defined]  # it may be about to start
            thread.join(SOON)
            assert not thread.is_alive()


def cancelled_in(
    run: Run,
    ready: threading.Event,
    cancel: Callable[[], object] | None = None,
    at: Callable[[Chunk], object] = lambda chunk: False,
) -> list[Chunk]:
    """Cancel a run while another thread iterates it, and return the chunks of that thread.

    Args:
        run: the run.
        ready: when to cancel it.
        cancel: how.
        at: sets ``ready`` at a chunk.
    """

    def iterate() -> list[Chunk]:
        chunks = []
        for chunk in run:
            chunks.append(chunk)
            if at(chunk):
                ready.set()
        return chunks

    loop = Task(iterate)
    wait(ready)
    Task(cancel or run.cancel).result()
    assert run.status == "cancelled"
    assert refused_by(run.messages) == {}
    return loop.result()


WAYS = ["cancel", "stop event", "client"]


def canceller(how: str, run: Run, stop: StopEvent, client: streamkit.Client) -> Callable[[], object]:
    return {"cancel": run.cancel, "stop event": stop.set, "client": client.close}[how]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("phase", ["before the head", "in the text", "in the arguments"])
@pytest.mark.parametrize("round", [0, 1])
def test_while_the_model_answers(phase: str, round: int, how: str) -> None:
    """In the text, in the middle of a call, and before anything came: the loop ends, the server is left."""
    ready, stop, steps, observer = threading.Event(), StopEvent(), Steps(), Told()
    silent = {
        "before the head": Reply(before_head=[Mark(ready), Wait(None)]),
        "in the text": text_reply("One two three").first(3).then(Wait(None)),
        "in the arguments": THREE.first(6).then(Wait(None)),
    }[phase]

    def at(chunk: Chunk) -> bool:
        call = chunk.tool_call
        return chunk.round == round and (chunk.text == " two" or (call is not None and call.index == 1))

    replies = [tool_call_reply("step", {"number": 9}, id="call_9")] * round + [silent, DONE]
    with nothing_left(), Server(*replies) as server, client_of(server, observers=[observer]) as client:
        run = client.run("openai/m", "Go", tools=[steps.step], stop=stop)
        chunks = cancelled_in(run, ready, canceller(how, run, stop, client), at)
        assert server.wait_for_requests(round + 1)[-1].gone.wait(SOON)
        assert (len(server.requests), steps.begun) == (round + 1, [9] * round)
        assert "done" not in [chunk.type for chunk in chunks]
        assert run.completion.finish_reason == "cancelled"
        if phase == "in the arguments":
            assert [call.name for call in run.completion.tool_calls] == ["step", "step"]
            assert [result.error for result in run.completion.tool_results] == ["cancelled", "cancelled"]
            assert set(states(run)) == {"not begun"}
        assert run.text == "".join(chunk.text for chunk in chunks)
        assert [each for each in observer.events if each.startswith("run ")] == ["run open", "run cancelled"]
        assert "run cancelled" in observer.events[-2:]  # a stream that began at this very moment may end after it


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("by_stop", [True, False], ids=["waits on its stop event", "just runs"])
def test_in_a_function_of_the_loop_s_thread(by_stop: bool, how: str) -> None:
    """``cancel()`` does not wait for it; the loop ends with it; it has its result, and the next one never begins."""
    steps, stop, observer = Steps(2, by_stop=by_stop), StopEvent(), Told()
    with nothing_left(), Server(THREE, DONE) as server, client_of(server, observers=[observer]) as client:
        run = client.run("openai/m", "Go", tools=[steps.step], stop=stop)
        loop = Task(lambda: list(run))
        wait(steps.inside)
        Task(canceller(how, run, stop, client)).result()
        assert run.status == "cancelled"
        if not by_stop:
            assert states(run) == ["finished", "running", "not begun"]
            assert "may have taken effect" in run.completion.tool_results[1].content
            assert refused_by(run.messages) == {}
        steps.go.set()
        chunks = loop.result()
        assert (steps.begun, steps.ended, len(server.requests)) == ([1, 2], [1, 2], 1)
        assert states(run) == ["finished", "finished", "not begun"]
        assert [result.content for result in run.completion.tool_results][:2] == ["step 1", "step 2"]
        assert [chunk.tool_result.content for chunk in chunks if chunk.tool_result] == ["step 1"]
        assert refused_by(run.messages) == {}
        assert len(observer.runs) == 1


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("by_stop", [True, False], ids=["waits on its stop event", "just runs"])
def test_in_the_pool(by_stop: bool, how: str) -> None:
    """The loop ends at once, also around functions that run on; what waits for a thread never begins."""
    steps, stop = Steps(2, by_stop=by_stop), StopEvent()
    with nothing_left(), Server(tool_call_reply("step", {"number": 1}, *numbered(2)), DONE) as server:
        with client_of(server) as client:
            run = client.run("openai/m", "Go", tools=[steps.step], stop=stop, parallel=2)
            chunks = cancelled_in(run, steps.inside, canceller(how, run, stop, client))
            if not by_stop:
                assert states(run)[1] == "running"
            steps.go.set()
            join_tools()
            assert (sorted(steps.ended), len(server.requests)) == ([1, 2], 1)
            assert states(run) == ["finished", "finished"]
            assert "done" not in [chunk.type for chunk in chunks]
            assert refused_by(run.messages) == {}


def test_what_waits_for_a_thread_never_begins() -> None:
    """With two threads and five calls, a cancel leaves three that never begin."""
    both = threading.Barrier(3)
    begun: list[int] = []

    def step(number: int, context: ToolContext) -> str:
        begun.append(number)
        both.wait(SOON)
        wait(context.stop)
        return f"step {number}"

    with nothing_left(), Server(tool_call_reply("step", {"number": 1}, *numbered(5))) as server:
        with client_of(server) as client:
            run = client.run("openai/m", "Go", tools=[step], parallel=2)
            loop = Task(lambda: list(run))
            both.wait(SOON)
            run.cancel()
            loop.result()
            join_tools()
            assert (sorted(begun), states(run)) == ([1, 2], ["finished", "finished", *["not begun"] * 3])
            assert refused_by(run.messages) == {}


@pytest.mark.parametrize("parallel", [1, 2])
def test_between_two_rounds(parallel: int) -> None:
    """Cancelled at the last result, no further request is made."""
    steps = Steps()
    with nothing_left(), Server(THREE, DONE) as server, client_of(server) as client:
        run, count = client.run("openai/m", "Go", tools=[steps.step], parallel=parallel), 0
        for chunk in run:
            if chunk.tool_result:
                count += 1
                if count == 3:
                    run.cancel()
        assert (run.status, len(server.requests), states(run)) == ("cancelled", 1, ["finished"] * 3)
        assert refused_by(run.messages) == {}


@pytest.mark.parametrize("where", ["body", "approve"])
def test_at_an_approval(where: str) -> None:
    """While a person decides, in the body of the loop or in ``approve=``: nothing runs, whatever they say then."""
    asked, go, steps = threading.Event(), threading.Event(), Steps()

    def ask(*_: object) -> bool:
        asked.set()
        wait(go)
        return True

    with nothing_left(), Server(THREE, DONE) as server, client_of(server) as client:
        tool = Tool.of(steps.step, needs_approval=True)
        run = client.run("openai/m", "Go", tools=[tool], approve=ask if where == "approve" else None)

        def loop() -> None:
            for chunk in run:
                if chunk.type == "tool_approval":
                    ask()

        task = Task(loop)
        wait(asked)
        run.cancel()
        assert run.status == "cancelled"
        go.set()
        task.result()
        assert (steps.begun, len(server.requests)) == ([], 1)
        assert set(states(run)) <= {"waiting", "not begun"}
        assert refused_by(run.messages) == {}


def test_a_resumed_run() -> None:
    """A resumed run is cancelled in a function as any other."""
    steps = Steps(1)
    with nothing_left(), Server(THREE, DONE) as server, client_of(server) as client:
        tool = Tool.of(steps.step, needs_approval=True)
        run = client.run("openai/m", "Go", tools=[tool])
        run.collect()
        assert run.suspension is not None
        ids = dict.fromkeys(("call_1", "call_2"), True)
        resumed = client.resume(run.suspension, ids, tools=[tool])
        cancelled_in(resumed, steps.inside)
        assert (steps.begun, states(resumed)) == ([1], ["finished", "not begun", "waiting"])
        assert refused_by(resumed.messages) == {}


def test_an_observer_that_is_slow() -> None:
    """Functions that wait on the stop event of a run go on before any observer is called."""
    steps = Steps(1)

    class Slow(Told):
        def stream_ended(self, report: streamkit.Report) -> None:
            if report.status == "cancelled":
                assert steps.ended == [1]

        def run_ended(self, report: streamkit.RunReport) -> None:
            join_tools()
            super().run_ended(report)

    observer = Slow()
    with nothing_left(), Server(THREE, DONE) as server, client_of(server, observers=[observer]) as client:
        run = client.run("openai/m", "Go", tools=[steps.step], parallel=2)
        cancelled_in(run, steps.inside)
        assert [report.status for report in observer.runs] == ["cancelled"]


@pytest.mark.parametrize("times", range(3))
def test_two_cancels_at_once(times: int) -> None:
    """Many threads may cancel at the same moment; the observers hear of one end."""
    steps, observer = Steps(1), Told()
    with nothing_left(), Server(THREE, DONE) as server, client_of(server, observers=[observer]) as client:
        run = client.run("openai/m", "Go", tools=[steps.step])
        start = threading.Barrier(4)

        def cancel() -> None:
            start.wait(SOON)
            run.cancel()

        loop = Task(lambda: list(run))
        wait(steps.inside)
        for task in [Task(cancel) for _ in range(4)]:
            task.result()
        loop.result()
        assert observer.events.count("run cancelled") == 1


# -- Ctrl-C ------------------------------------------------------------------------------------------------

PROGRAM = """if True:
    import sys, threading
    import streamkit as sk

    def step(number: int, context: sk.ToolContext) -> str:
        print("inside\\n", end="", flush=True)  # in one write, as functions run at once
        if number == 2:
            threading.Event().wait({seconds}) if {deaf} else context.stop.wait({seconds})
        return str(number)

    client = sk.Client([sk.providers.OpenAI(api_key="k", base_url={url!r})])
    run = client.run("openai/m", "Go", tools=[step], parallel={parallel})
    try:
        for chunk in run:
            if chunk.text:
                print("inside", flush=True)
    except KeyboardInterrupt:
        print("interrupted", run.status, *[result.state for result in run.completion.tool_results], len(run.messages))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("phase", "parallel", "said"),
    [
        ("text", 1, "interrupted cancelled 1"),
        ("function", 1, "interrupted cancelled finished running not begun 4"),
        ("pool", 3, "interrupted cancelled finished running (finished|running) 4"),
    ],
)
def test_ctrl_c(phase: str, parallel: int, said: str) -> None:
    """Ctrl-C ends the loop where it waits, in a function too; the completion says of each call how far it came."""
    reply = text_reply("One two").first(2).then(Wait(None)) if phase == "text" else THREE
    lines = {"text": 1, "function": 2, "pool": 3}[phase]
    with Server(reply, DONE) as server:
        code = PROGRAM.format(url=server.url, parallel=parallel, seconds=SOON, deaf=phase == "pool")
        environment = {**os.environ, "PYTHONPATH": str(Path(streamkit.__file__).parents[1])}
        with subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, restore_signals=True
        ) as program:
            try:
                assert program.stdout is not None
                for _ in range(lines):
                    assert program.stdout.readline() == "inside\n"
                program.send_signal(signal.SIGINT)
                assert re.fullmatch(said + "\n", program.communicate(timeout=SOON)[0])
            finally:
                program.kill()
        assert len(server.requests) == 1


def by_for(run: Run, seen: list[Chunk]) -> None:
    for chunk in run:
        seen.append(chunk)


def by_recv(run: Run, seen: list[Chunk]) -> None:
    with suppress(streamkit.ChannelClosed):
        while True:
            seen.append(run.recv())


def by_merge(run: Run, seen: list[Chunk]) -> None:
    for _, chunk in streamkit.merge([run]):
        seen.append(chunk)


def by_looking(run: Run, seen: list[Chunk]) -> None:
    for chunk in run:
        seen.append(chunk)
        assert run.text == "".join(each.text for each in seen if each.round == chunk.round)
        assert len(run.messages) >= len(run.rounds) - 1


def by_approving(run: Run, seen: list[Chunk]) -> None:
    for chunk in run:
        seen.append(chunk)
        if chunk.type == "tool_approval":
            run.approve("call_2")


STORY = [
    tool_call_reply("step", {"number": 1}, ("ask", {"number": 2}), ("nobody", {}), text="Hm.", fragment=100),
    text_reply("All is done."),
]


def tried(
    client: streamkit.Client,
    take: Callable[[Run, list[Chunk]], None],
    number: int,
    *,
    by_signals: bool,
    parallel: int,
    handler: Callable[[Run], object] | None = None,
) -> tuple[int, Run, list[Chunk], list[int], list[int]]:
    """Take a run with an interrupt at a place; return how many there were, the run, its chunks, and what ran."""
    begun: list[int] = []
    ended: list[int] = []

    def step(number: int) -> str:
        begun.append(number)
        ended.append(number)
        return f"step {number}"

    tools = [step, Tool.of(step, name="ask", needs_approval=True)]
    run = client.run("openai/m", "Go", tools=tools, parallel=parallel, approve=take is not by_approving or None)
    seen: list[Chunk] = []

    def interrupt() -> None:
        if handler is None:
            raise KeyboardInterrupt
        handler(run)

    with bounded(), interrupted_at(number, by_signals=by_signals, handler=interrupt) as count:
        with suppress(KeyboardInterrupt, streamkit.MisuseError):
            take(run, seen)
    return count[0], run, seen, begun, ended


TAKES = [by_for, by_recv, by_merge, by_looking, by_approving]
TRIES = 25  # interrupts in each kind of run


def places(total: int, kind: int) -> range:
    """Return places all over a run, other ones for each kind of run."""
    every = max(1, total // TRIES)
    return range(1 + kind % every, total, every)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in the finalizer of a generator
@pytest.mark.parametrize("by_signals", [True, False], ids=["where signals are handled", "anywhere"])
@pytest.mark.parametrize("parallel", [1, 2])
@pytest.mark.parametrize("take", TAKES, ids=lambda take: take.__name__)
def test_an_interrupt_at_any_bytecode(take: Any, parallel: int, by_signals: bool) -> None:
    """Nothing delivered is lost, no function runs twice, each call has its account, and the observers hear one end."""
    told, kind = Told(), TAKES.index(take)
    with Server(*STORY) as server:
        # each run gets both replies in turn, also if the one before was interrupted between them
        server._answers = (lambda request: STORY[any(m["role"] == "tool" for m in request.json()["messages"])],)
        with client_of(server, observers=[told]) as client:
            total, whole, *_ = tried(client, take, 0, by_signals=by_signals, parallel=parallel)
            assert whole.status == "complete"
            for number in places(total, kind):
                told.runs.clear()
                _, run, seen, begun, ended = tried(client, take, number, by_signals=by_signals, parallel=parallel)
                run.cancel()
                join_tools()
                assert [run.status] == [report.status for report in told.runs], number
                check_account(run, seen, begun, ended, number)
                if not by_signals:
                    free(run)
        join_readers()


def check_account(run: Run, seen: list[Chunk], begun: list[int], ended: list[int], number: int) -> None:
    """Hold a run that was interrupted to what really happened."""
    assert refused_by(run.messages) == {}, number
    assert sorted(begun) == sorted(set(begun)), number
    given = [chunk.tool_result for chunk in seen if chunk.tool_result]
    contents = [message.content for message in run.messages if message.role == "tool"]
    assert [result.content for result in given] == contents[: len(given)], number
    for position, reply in enumerate(run.rounds):
        text = "".join(chunk.text for chunk in seen if chunk.round == position)
        assert reply.text.startswith(text), number
    if len(run.rounds) == 1:
        for result, which in zip(run.completion.tool_results, (1, 2, 0), strict=False):
            if which in ended:
                assert result.state in ("finished", "running"), number
            elif which and which not in begun:
                assert result.state in ("not begun", "waiting", "running"), number


def free(run: Run) -> None:
    """Release the locks for which a bytecode was struck that would have released them."""
    loop = run._loop
    locks: list[Any] = [loop._lock, loop._concluding, loop._claims._lock, loop.stop._lock]
    if loop.stream is not None:
        locks += [loop.stream._state.channel.mutex, loop.stream._state.guard._lock]
    for lock in locks:
        with suppress(RuntimeError):
            while True:
                lock.release()


HANDLERS: dict[str, Callable[[Run], object]] = {
    "looks": lambda run: (run.completion, run.messages, run.rounds, run.stats),
    "cancels": lambda run: run.cancel(),
}


@pytest.mark.slow
@pytest.mark.parametrize("handle", HANDLERS)
@pytest.mark.parametrize("parallel", [1, 2])
@pytest.mark.parametrize("take", TAKES, ids=lambda take: take.__name__)
def test_a_handler_that_returns(take: Any, parallel: int, handle: str) -> None:
    """A signal handler may look at the run or cancel it at any bytecode: the loop goes on, or ends in order."""
    told, kind = Told(), TAKES.index(take)
    with Server(*STORY) as server:
        server._answers = (lambda request: STORY[any(m["role"] == "tool" for m in request.json()["messages"])],)
        with client_of(server, observers=[told]) as client:
            total, *_ = tried(client, take, 0, by_signals=False, parallel=parallel)
            for number in places(total, kind):
                told.runs.clear()
                _, run, seen, begun, ended = tried(
                    client, take, number, by_signals=False, parallel=parallel, handler=HANDLERS[handle]
                )
                join_tools()
                assert run.status in (("complete",) if handle == "looks" else ("complete", "cancelled")), number
                assert [run.status] == [report.status for report in told.runs], number
                check_account(run, seen, begun, ended, number)
        join_readers()


@pytest.mark.parametrize("before", [[], [Chunk("text", text="Hm.", id="a")]], ids=["its stream", "all rounds"])
def test_a_handler_that_looks_while_a_later_round_is_folded(before: list[Chunk]) -> None:
    """At any bytecode of a fold, a handler may add the same chunks: none is lost, and none comes twice."""
    chunks = [Chunk("text", text=text, id="b", round=1) for text in ("All", " is", " done.")]
    chunks.append(Chunk("done", finish_reason="stop", id="b", round=1))

    def folded(number: int) -> int:
        fold = Fold()
        fold.add(before)

        def look() -> None:
            fold.add(chunks, len(before))
            assert fold.completion().text == "All is done."

        with interrupted_at(number, by_signals=False, handler=look) as count:
            fold.add(chunks, len(before))
        assert (fold.completion().text, fold.completion().finish_reason) == ("All is done.", "stop"), number
        return count[0]

    for number in range(1, folded(0)):
        folded(number)
