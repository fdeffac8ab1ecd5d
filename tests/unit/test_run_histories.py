"""Whatever happens in a run, every provider takes the history with its messages, at every moment of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from streamkit import (
    Answered,
    Approved,
    Client,
    ConfigError,
    Rejected,
    Run,
    RunLimits,
    StreamError,
    Suspension,
    Tool,
    ToolContext,
)
from streamkit.testing import Cut, Reply, Server, chunk_event, error_in_stream_reply, text_reply
from streamkit.testing.openai_events import DONE, USAGE, to_json
from tests.unit.run_histories import USER, refused_by
from tests.unit.run_support import MODEL, client_of

LONGEST = 12  # chunks after which a run is surely cancelled where the script says so

# What a model may call: name and arguments.
CALLS = [
    ("ok", '{"number": 1}'),
    ("ok", '{"number": 2}'),
    ("fails", "{}"),
    ("blank", ""),
    ("cancels", "{}"),
    ("late", "{}"),
    ("asks", '{"number": 3}'),
    ("asks", '{"number": "x"}'),
    ("hand", "{}"),
    ("ok", '{"number": '),
    ("ok", '{"number": 1, "more": 2}'),
    ("ok", "[1]"),
    ("ok", '"text"'),
    ("ok", "NaN"),
    ("unknown", "{}"),
    ("a name with blanks", "{}"),
    ("7up", "{}"),
    ("", "{}"),
    ("é" * 80, "{}"),
]
IDS = ["call_1", "call_2", "", "fresh"]

BEFORE: list[list[dict[str, Any]]] = [
    [USER],
    [{"role": "system", "content": "Be kind."}, USER],
    [
        USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "ok", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
        {"role": "assistant", "content": "One."},
        USER,
    ],
]


@attrs.frozen
class Round:
    """One reply of the model."""

    text: str
    calls: list[tuple[tuple[str, str], str]]
    finish_reason: str | None
    cut: int | None

    def reply(self) -> Reply:
        events = [chunk_event("", role="assistant"), *([chunk_event(self.text)] if self.text else [])]
        for index, ((name, arguments), id) in enumerate(self.calls):
            function = {"name": name, "arguments": ""}
            events.append(
                chunk_event(tool_calls=[{"index": index, "id": id, "type": "function", "function": function}])
            )
            for piece in (arguments[:5], arguments[5:]):
                events.append(chunk_event(tool_calls=[{"index": index, "function": {"arguments": piece}}]))
        events += [chunk_event(finish_reason=self.finish_reason), chunk_event(usage=USAGE), DONE]
        return Reply(events if self.cut is None else [*events[: self.cut], Cut()])


WAITING = [call for call in CALLS if call[0] in ("asks", "hand")]


def rarely(strategy: st.SearchStrategy[Any], otherwise: Any = None) -> st.SearchStrategy[Any]:
    """Return a strategy that is one in six times another one, and else a single value."""
    return st.integers(0, 5).flatmap(lambda number: st.just(otherwise) if number else strategy)


ROUNDS = st.builds(
    Round,
    st.sampled_from(["", "Hm.", " "]),
    st.lists(st.tuples(st.sampled_from(CALLS) | st.sampled_from(WAITING), st.sampled_from(IDS)), max_size=4),
    st.sampled_from(["tool_calls", "stop", "length", "content_filter"]),
    rarely(st.integers(1, 8)),
)
DECISIONS = st.sampled_from(
    [None, True, False, Approved({"number": 9}), Rejected("no"), Answered("by hand"), Answered(None), Answered("")]
)


@attrs.frozen
class Script:
    """All that happens in a run and in those that go on with it."""

    before: list[dict[str, Any]]
    rounds: list[Round]
    last: str
    parallel: int
    raises: bool
    limits: RunLimits
    approve: Any
    in_the_loop: list[Any]
    later: list[list[Any]]
    cancel_at: int | None


LIMITS = st.builds(
    RunLimits,
    rounds=st.sampled_from([None, 1, 2, 3]),
    calls=st.sampled_from([None, 3, 5]),
    repeats=st.sampled_from([None, 1, 2]),
    call_seconds=st.sampled_from([None, None, 0.005]),
    tokens=st.sampled_from([None, None, 40]),
)
SCRIPTS = st.builds(
    Script,
    st.sampled_from(BEFORE),
    st.lists(ROUNDS, min_size=1, max_size=4),
    st.sampled_from(["All done.", "", " ", "error"]),
    st.sampled_from([1, 1, 3]),
    rarely(st.just(True), False),
    rarely(LIMITS, RunLimits()),
    rarely(st.sampled_from([True, False, Answered("ok"), Approved({"wrong": 1}), "raises"])),
    st.lists(DECISIONS, max_size=3),
    st.lists(st.lists(DECISIONS, max_size=4), min_size=1, max_size=2),
    rarely(st.integers(1, LONGEST)),
)


class Play:
    """Answers requests from the script, and has the tools for it."""

    def __init__(self) -> None:
        self.replies: Iterator[Reply] = iter(())
        self.last = text_reply("All done.")
        self.runs: list[Run] = []
        self.let_go = threading.Event()

    def answer(self, request: object) -> Reply:
        return next(self.replies, self.last)

    def begin(self, script: Script) -> None:
        self.replies = iter([round.reply() for round in script.rounds])
        self.last = error_in_stream_reply("it failed") if script.last == "error" else text_reply(script.last)
        self.runs.clear()
        self.let_go.clear()

    def tools(self) -> list[Any]:
        def ok(number: int) -> dict[str, int]:
            return {"number": number}

        def fails() -> str:
            raise ZeroDivisionError

        def blank() -> str:
            return " \n"

        def cancels() -> str:
            self.runs[-1].cancel()
            return "cancelled"

        def late(context: ToolContext) -> str:
            context.report("working")
            self.let_go.wait(0.02)
            return "late"

        return [ok, fails, blank, cancels, late, Tool.of(ok, name="asks", needs_approval=True), Tool("hand")]


@pytest.fixture(scope="module")
def play() -> Iterator[tuple[Play, Client]]:
    playing = Play()
    with Server(playing.answer) as server, client_of(server) as client:
        yield playing, client


def take(run: Run, script: Script) -> None:
    """Iterate a run, and look at its history at every chunk."""
    decisions = iter(script.in_the_loop)
    with suppress(StreamError, ConfigError):
        for number, chunk in enumerate(run, start=1):
            check(run, script)
            if chunk.type == "tool_approval":
                assert chunk.tool_call is not None
                decide(run, chunk.tool_call.id, next(decisions, None))
                check(run, script)
            if number == script.cancel_at:
                run.cancel()
    assert run.status != "open"
    check(run, script)


def decide(run: Run, id: str, decision: Any) -> None:
    if run.status != "open":
        return
    if decision is True or isinstance(decision, Approved):
        run.approve(id, decision.arguments if isinstance(decision, Approved) else None)
    elif decision is False or isinstance(decision, Rejected):
        run.reject(id, decision.reason if isinstance(decision, Rejected) else "")
    elif isinstance(decision, Answered):
        run.answer(id, decision.result)


def check(run: Run, script: Script) -> None:
    """Hold a run's history, and its account of calls, to the promises."""
    messages = run.messages
    assert refused_by(messages, script.before) == {}
    asked = [call.id for message in messages for call in message.tool_calls]
    answered = [message.tool_call_id for message in messages if message.role == "tool"]
    assert asked == answered
    assert len(set(asked)) == len(asked)
    if run.status != "open":
        completion = run.completion
        assert len(completion.tool_results) == len(completion.tool_calls)


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(script=SCRIPTS)
def test_every_history_is_taken(play: tuple[Play, Client], script: Script) -> None:
    """Failures, cut replies, cancels, approvals, limits and threads leave a history that each provider takes."""
    playing, client = play
    playing.begin(script)

    def approve(call: object) -> bool:
        raise LookupError

    settings: dict[str, Any] = {
        "tools": playing.tools(),
        "parallel": script.parallel,
        "limits": script.limits,
        "on_error": "raise" if script.raises else "tell",
        "approve": approve if script.approve == "raises" else script.approve,
    }
    run = client.run(MODEL, script.before, **settings)
    playing.runs.append(run)
    take(run, script)
    event(run.status)
    for decisions in script.later:
        if run.suspension is None:
            break
        kept = Suspension.from_json(run.suspension.to_json())
        made = dict(zip((call.id for call in kept.waiting), decisions, strict=False))
        try:
            resumed = client.resume(kept, made, **settings)
        except ConfigError:  # such as an Approved for a tool without a function
            break
        playing.runs.append(resumed)
        take(resumed, script)
        assert (
            resumed.messages[: len(run.messages) - len(kept.waiting) - len(kept.done)]
            == run.messages[: len(run.messages) - len(kept.waiting) - len(kept.done)]
        )
        run = resumed
        event(f"resumed: {run.status}")
    playing.let_go.set()
    for thread in threading.enumerate():
        if thread.name.startswith("streamkit-tool-"):
            thread.join(60)
    check(run, script)  # also once functions that were left have ended


def test_the_script_is_heard() -> None:
    """The replies of a script are those that the model gives."""
    reply = Round("Hm.", [(CALLS[0], "call_1")], "tool_calls", None).reply()
    with Server(reply, text_reply("Done.")) as server, client_of(server) as client:
        run = client.run(MODEL, [USER], tools=Play().tools())
        assert run.collect().text == "Done."
        assert [message.content for message in run.messages] == ["Hm.", to_json({"number": 1}), "Done."]
