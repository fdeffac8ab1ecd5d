"""Approval and suspension: nothing runs unapproved, and a suspended run goes on from its JSON."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from streamkit import (
    Answered,
    Approved,
    Chunk,
    Client,
    ConfigError,
    ImagePart,
    MemoryClaims,
    Message,
    MisuseError,
    Rejected,
    Run,
    RunLimitError,
    RunLimits,
    StopEvent,
    StoreConflictError,
    Suspension,
    Tool,
    ToolCall,
    ToolError,
    providers,
)
from streamkit.testing import Server, reply_in, text_reply, tool_call_reply
from tests.unit.run_support import MODEL, Told, history, kinds, results, sent, served, told
from tests.unit.support import Task, run_program

DONE = text_reply("All done.")
PAID: list[tuple[str, float]] = []


@pytest.fixture(autouse=True)
def nothing_paid() -> None:
    PAID.clear()


def pay(to: str, amount: float = 1.0) -> str:
    """Pay."""
    PAID.append((to, amount))
    return f"paid {to}"


def look(city: str) -> str:
    """Look."""
    return f"looked at {city}"


PAY = Tool.of(pay, needs_approval=True)
HAND = Tool("hand", "By hand.", {"properties": {"what": {"type": "string"}}, "required": ["what"]})
ONE = tool_call_reply("pay", {"to": "Ada"})
TWO = tool_call_reply("pay", {"to": "Ada"}, ("pay", {"to": "Bob", "amount": 5}), ("look", {"city": "Oslo"}))


def suspended(client: Client, *, tools: Any = (PAY, look, HAND), **settings: Any) -> Suspension:
    """Run until the run is suspended, and return what is kept of it, through its JSON."""
    run = client.run(MODEL, "Pay them", tools=list(tools), **settings)
    run.collect()
    assert run.status == "suspended"
    assert run.suspension is not None
    again = Suspension.from_json(run.suspension.to_json())
    assert again == run.suspension
    assert again.to_json() == run.suspension.to_json()
    return again


class TestApprove:
    @pytest.mark.parametrize(
        ("approve", "paid", "said"),
        [
            (True, [("Ada", 1.0)], "paid Ada"),
            (Approved(), [("Ada", 1.0)], "paid Ada"),
            (lambda call: True, [("Ada", 1.0)], "paid Ada"),
            (lambda call: call.arguments["to"] == "Ada", [("Ada", 1.0)], "paid Ada"),
            (False, [], "Not approved. The function was not called."),
            (Rejected(), [], "Not approved. The function was not called."),
            (lambda call: Rejected("ask Bob"), [], "Not approved: ask Bob. The function was not called."),
            (Answered("paid by hand"), [], "paid by hand"),
            (lambda call: Answered({"paid": True}), [], '{"paid":true}'),
        ],
    )
    def test_the_forms_of_approve(self, approve: Any, paid: list[Any], said: str) -> None:
        """``approve=`` decides: a value for all calls, or a function of the call."""
        with served(ONE, DONE) as (client, server):
            run = client.run(MODEL, "Pay", tools=[PAY], approve=approve)
            chunks = list(run)
        assert (PAID, told(server), run.status) == (paid, [said], "complete")
        assert "tool_approval" not in kinds(chunks)

    def test_edited_arguments(self) -> None:
        """The function gets the arguments of ``Approved``; the model is told, and its own call stays in the history."""
        with served(ONE, DONE) as (client, server):
            run = client.run(MODEL, "Pay", tools=[PAY], approve=Approved({"to": "Eve", "amount": 2}))
            (result,) = [chunk.tool_result for chunk in run if chunk.tool_result]
        assert PAID == [("Eve", 2.0)]
        assert json.loads(result.edited) == {"to": "Eve", "amount": 2}
        assert result.content == "paid Eve"
        assert told(server)[0].endswith("paid Eve")
        assert "Eve" in told(server)[0].splitlines()[0]
        assert run.messages[0].tool_calls[0].arguments == {"to": "Ada"}

    @pytest.mark.parametrize("arguments", [{"whom": "Eve"}, {}, {"to": 3}, {"to": object()}, {3: 4}])
    def test_wrong_edited_arguments(self, arguments: Any) -> None:
        """They are the program's mistake: a ConfigError, and nothing runs."""
        with served(ONE, DONE) as (client, _):
            run = client.run(MODEL, "Pay", tools=[PAY], approve=lambda call: Approved(arguments))
            with pytest.raises(ConfigError, match=r"Approved\(arguments=\.\.\.\) for the call 'call_1'"):
                list(run)
            assert (PAID, run.status) == ([], "error")

    @pytest.mark.parametrize("approve", [lambda call: "yes", lambda call: 1])
    def test_no_decision(self, approve: Any) -> None:
        """What is no decision is a ConfigError, and never a yes."""
        with served(ONE, DONE) as (client, _):
            with pytest.raises(ConfigError, match="approve= returned has to be True, False"):
                client.run(MODEL, "Pay", tools=[PAY], approve=approve).collect()
        assert PAID == []

    def test_an_approve_that_fails(self) -> None:
        """A failure of ``approve=`` is no yes: a ToolError, and nothing runs, whatever ``on_error`` says."""

        def approve(call: ToolCall) -> bool:
            raise KeyError("SECRET")

        with served(TWO, DONE) as (client, _):
            run = client.run(MODEL, "Pay", tools=[PAY, look], approve=approve)
            with pytest.raises(ToolError, match="approve= failed for the tool 'pay': KeyError") as caught:
                list(run)
            assert "SECRET" not in str(caught.value)
            assert (PAID, [message.role for message in run.messages]) == ([], ["assistant", "tool", "tool", "tool"])

    def test_a_needs_approval_of_the_arguments(self) -> None:
        """``needs_approval`` may be a function of the arguments, with their defaults; its failure is no yes."""
        tool = Tool.of(pay, needs_approval=lambda amount, **_: amount > 2)
        with served(TWO, DONE) as (client, _):
            asked: list[str] = []
            run = client.run(MODEL, "Pay", tools=[tool, look], approve=lambda call: asked.append(call.arguments["to"]))
            run.collect()
            assert (PAID, asked, run.status) == ([("Ada", 1.0)], ["Bob"], "suspended")
        failing = Tool.of(pay, needs_approval=lambda **_: 1 / 0)
        with served(TWO, DONE) as (client, _):
            with pytest.raises(ToolError, match="needs_approval of the tool 'pay' failed: ZeroDivisionError"):
                client.run(MODEL, "Pay", tools=[failing, look], approve=True).collect()
        assert len(PAID) == 1

    def test_wrong_arguments_are_not_asked_about(self) -> None:
        """A call that cannot be made is answered, and nobody has to decide on it."""
        with served(tool_call_reply("pay", {"whom": "Ada"}), DONE) as (client, _):
            run = client.run(MODEL, "Pay", tools=[PAY], approve=lambda call: pytest.fail("asked"))
            assert run.collect().text == "All done."

    def test_a_tool_without_a_function(self) -> None:
        """It is never approved, as there is nothing to run: it waits, or is answered."""
        for approve, status in ((True, "suspended"), (Approved(), "suspended"), (Answered("ok"), "complete")):
            with served(tool_call_reply("hand", {"what": "x"}), DONE) as (client, _):
                run = client.run(MODEL, "Go", tools=[HAND], approve=approve)
                run.collect()
                assert run.status == status

    @pytest.mark.parametrize("parallel", [1, 3])
    def test_nothing_runs_before_all_decisions_were_asked(self, parallel: int) -> None:
        """The functions of a reply begin once each of its calls was asked about."""
        order: list[str] = []

        def step(number: int) -> str:
            order.append("ran")
            return "ok"

        def approve(call: ToolCall) -> bool:
            order.append("asked")
            return True

        with served(tool_call_reply("step", {"number": 1}, ("step", {"number": 2})), DONE) as (client, _):
            tool = Tool.of(step, needs_approval=True)
            client.run(MODEL, "Go", tools=[tool], approve=approve, parallel=parallel).collect()
        assert order == ["asked", "asked", "ran", "ran"]


class TestInTheLoop:
    def test_the_body_decides(self) -> None:
        """A ``tool_approval`` chunk has the whole call; the body approves, rejects or answers it."""
        with served(TWO, DONE) as (client, server):
            run = client.run(MODEL, "Pay", tools=[PAY, look])
            asked = []
            for chunk in run:
                if chunk.type == "tool_approval":
                    assert chunk.tool_call is not None
                    asked.append((chunk.tool_call.index, chunk.tool_call.name, json.loads(chunk.tool_call.arguments)))
                    if chunk.tool_call.index == 0:
                        run.approve(chunk.tool_call.id)
                    else:
                        run.reject(chunk.tool_call.id, "too much")
        assert asked == [(0, "pay", {"to": "Ada"}), (1, "pay", {"to": "Bob", "amount": 5})]
        assert PAID == [("Ada", 1.0)]
        assert told(server) == ["paid Ada", "Not approved: too much. The function was not called.", "looked at Oslo"]
        assert run.status == "complete"

    def test_the_ways_to_decide(self) -> None:
        """``approve`` with arguments, and ``answer``; decisions may come at a later chunk of the same reply."""
        with served(TWO, DONE) as (client, server):
            run, ids = client.run(MODEL, "Pay", tools=[PAY, look]), []
            for chunk in run:
                if chunk.type == "tool_approval":
                    assert chunk.tool_call is not None
                    ids.append(chunk.tool_call.id)
                    if len(ids) == 2:
                        run.answer(ids[1], {"by": "hand"})
                        run.approve(ids[0], {"to": "Eve"})
        assert PAID == [("Eve", 1.0)]
        assert told(server)[1] == '{"by":"hand"}'

    def test_without_a_decision_the_run_suspends(self) -> None:
        """The other calls run; then the run ends in order, with ``tool_calls``."""
        with served(TWO, DONE) as (client, server):
            run = client.run(MODEL, "Pay", tools=[PAY, look])
            chunks = list(run)
        assert kinds(chunks) == ["tool_call", "tool_approval", "tool_result", "done"]
        assert (chunks[-1].finish_reason, run.status, run.completion.finish_reason) == (
            "tool_calls",
            "suspended",
            "tool_calls",
        )
        assert results(chunks) == [("call_3", "looked at Oslo")]
        assert (PAID, len(server.requests)) == ([], 1)
        assert run.suspension is not None
        assert [call.id for call in run.suspension.waiting] == ["call_1", "call_2"]
        assert [result.state for result in run.completion.tool_results] == ["waiting", "waiting", "finished"]
        assert [message.role for message in run.messages] == ["assistant", "tool", "tool", "tool"]
        assert run.collect() == run.completion
        with pytest.raises(MisuseError):
            next(iter(run))

    def test_an_unknown_id(self) -> None:
        """A decision on a call that does not wait is a MisuseError: another id, twice, too early, too late."""
        with served(ONE, DONE) as (client, _):
            run = client.run(MODEL, "Pay", tools=[PAY])
            with pytest.raises(MisuseError, match="no call 'call_1' waits"):
                run.approve("call_1")
            for chunk in run:
                if chunk.type == "tool_approval":
                    with pytest.raises(MisuseError, match="waiting are: call_1"):
                        run.approve("call_9")
                    run.approve("call_1")
                    with pytest.raises(MisuseError):
                        run.reject("call_1")
            with pytest.raises(MisuseError):
                run.reject("call_1")
        assert PAID == [("Ada", 1.0)]

    def test_a_wrong_decision_can_be_repaired(self) -> None:
        """A ConfigError in the body leaves the call waiting for a right decision."""
        with served(ONE, DONE) as (client, _):
            run = client.run(MODEL, "Pay", tools=[PAY])
            for chunk in run:
                if chunk.type == "tool_approval":
                    with pytest.raises(ConfigError):
                        run.approve("call_1", {"whom": "Eve"})
                    with pytest.raises(ConfigError):
                        run.answer("call_1", object())
                    run.approve("call_1", {"to": "Eve"})
        assert PAID == [("Eve", 1.0)]

    def test_a_decision_after_a_cancel(self) -> None:
        """After the run was cancelled nothing waits any more, and nothing runs."""
        with served(ONE, DONE) as (client, _):
            run = client.run(MODEL, "Pay", tools=[PAY])
            for chunk in run:
                if chunk.type == "tool_approval":
                    run.cancel()
                    with pytest.raises(MisuseError):
                        run.approve("call_1")
            assert (run.status, PAID) == ("cancelled", [])
            assert run.completion.tool_results[0].error == "not approved"

    def test_approve_leaves_it_open(self) -> None:
        """Where ``approve=`` returns ``None``, the body of the loop is asked."""
        with served(ONE, DONE) as (client, _):
            run = client.run(MODEL, "Pay", tools=[PAY], approve=lambda call: None)
            for chunk in run:
                if chunk.type == "tool_approval":
                    run.approve("call_1")
        assert PAID == [("Ada", 1.0)]

    def test_in_each_round(self) -> None:
        """A later round asks anew, also for a call that was approved before."""
        with served(ONE, ONE, DONE) as (client, _):
            run, asked = client.run(MODEL, "Pay", tools=[PAY]), []
            for chunk in run:
                if chunk.type == "tool_approval":
                    assert chunk.tool_call is not None
                    asked.append(chunk.round)
                    run.approve(chunk.tool_call.id)
        assert (asked, len(PAID)) == ([0, 1], 2)


class TestResume:
    def test_through_json(self) -> None:
        """A resumed run calls what was approved, gives the results, and asks the model again."""
        with served(TWO, DONE) as (client, server):
            kept = suspended(client)
            run = client.resume(kept, {"call_1": Approved(), "call_2": False}, tools=[PAY, look, HAND])
            chunks = list(run)
        assert kinds(chunks) == ["tool_result", "text", "done"]
        assert results(chunks) == [
            ("call_1", "paid Ada"),
            ("call_2", "Not approved. The function was not called."),
        ]
        assert [chunk.round for chunk in chunks] == sorted(chunk.round for chunk in chunks)
        assert (PAID, run.status, run.completion.text) == ([("Ada", 1.0)], "complete", "All done.")
        assert [message["role"] for message in sent(server, 1)] == ["user", "assistant", "tool", "tool", "tool"]
        assert told(server)[2] == "looked at Oslo"
        assert history(run)[0][0] == "assistant"
        assert [message.to_dict() for message in run.messages[:4]] == sent(server, 1)[1:]

    def test_in_another_process(self) -> None:
        """The JSON text is all that another process needs, beside the tools."""
        with served(ONE, DONE) as (client, server):
            text = suspended(client).to_json()
            code = f"""if True:
                import streamkit as sk

                def pay(to: str, amount: float = 1.0) -> str:
                    return f"paid {{to}} elsewhere"

                client = sk.Client([sk.providers.OpenAI(api_key="k", base_url={server.url!r})])
                kept = sk.Suspension.from_json({text!r})
                run = client.resume(kept, {{"call_1": sk.Approved()}}, tools=[sk.tool(pay, needs_approval=True)])
                print(run.collect().text)
            """
            assert run_program(code) == "All done.\n"
            assert told(server) == ["paid Ada elsewhere"]

    def test_each_kind_of_decision(self) -> None:
        """Approved with other arguments, answered, and a tool without a function."""
        calls = tool_call_reply("pay", {"to": "Ada"}, ("pay", {"to": "Bob"}), ("hand", {"what": "sign"}))
        with served(calls, DONE) as (client, server):
            kept = suspended(client)
            decisions = {
                "call_1": Approved({"to": "Eve"}),
                "call_2": Answered("paid at the bank"),
                "call_3": Answered(3),
            }
            client.resume(kept, decisions, tools=[PAY, HAND]).collect()
        assert PAID == [("Eve", 1.0)]
        assert told(server)[0].endswith("paid Eve")
        assert told(server)[1:] == ["paid at the bank", "3"]

    def test_partial_decisions_suspend_again(self) -> None:
        """A call without a decision goes on waiting; the run suspends with it, under a new id, and asks no model."""
        with served(TWO, DONE) as (client, server):
            kept = suspended(client)
            second = client.resume(kept, {"call_2": True}, tools=[PAY, look])
            chunks = list(second)
            assert (second.status, len(server.requests), PAID) == ("suspended", 1, [("Bob", 5.0)])
            assert chunks[-1].finish_reason == "tool_calls"
            assert second.suspension is not None
            assert second.suspension.id != kept.id
            assert [call.id for call in second.suspension.waiting] == ["call_1"]
            again = Suspension.from_json(second.suspension.to_json())
            third = client.resume(again, {"call_1": Approved()}, tools=[PAY, look])
            assert results(list(third)) == [("call_1", "paid Ada")]
            assert third.status == "complete"
            assert told(server) == ["paid Ada", "paid Bob", "looked at Oslo"]
            assert len(PAID) == 2
            assert [message.role for message in third.messages] == ["assistant", "tool", "tool", "tool", "assistant"]

    def test_no_decisions_at_all(self) -> None:
        """Without decisions everything waits on, and nothing is lost."""
        with served(TWO, DONE) as (client, server):
            kept = suspended(client)
            run = client.resume(kept, {}, tools=[PAY, look])
            run.collect()
            assert run.suspension is not None
            assert (run.suspension.waiting, run.suspension.done) == (kept.waiting, kept.done)
            assert (PAID, len(server.requests)) == ([], 1)

    def test_the_loop_decides_when_it_is_resumed(self) -> None:
        """``approve=`` and the body of the loop decide on what waits in a resumed run as well."""
        with served(TWO, DONE) as (client, _):
            kept = suspended(client)
            run = client.resume(kept, {"call_1": False}, tools=[PAY, look])
            for chunk in run:
                if chunk.type == "tool_approval":
                    run.approve("call_2")
            assert (run.status, PAID) == ("complete", [("Bob", 5.0)])
        PAID.clear()
        with served(TWO, DONE) as (client, _):
            kept = suspended(client)
            client.resume(kept, {}, tools=[PAY, look], approve=True).collect()
            assert PAID == [("Ada", 1.0), ("Bob", 5.0)]

    def test_a_run_that_suspends_in_a_later_round(self) -> None:
        """The suspension has the whole history and counts on, and the messages begin with the first run's."""
        with served(tool_call_reply("look", {"city": "Oslo"}, id="a"), ONE, DONE) as (client, server):
            run = client.run(MODEL, [Message("system", "Be kind"), Message("user", "Pay")], tools=[PAY, look])
            run.collect()
            assert run.suspension is not None
            kept = Suspension.from_json(run.suspension.to_json())
            assert (kept.round, kept.added, len(kept.messages)) == (1, 3, 5)
            resumed = client.resume(kept, {"call_1": True}, tools=[PAY, look])
            rounds = [chunk.round for chunk in resumed]
            assert (rounds[0], rounds[-1]) == (1, 2)
            assert history(resumed)[:2] == history(run)[:2]
            assert [role for role, _ in history(resumed)] == ["assistant", "tool", "assistant", "tool", "assistant"]
            assert [message["role"] for message in sent(server, 2)][:2] == ["system", "user"]
            assert resumed.rounds[0].tool_calls == kept.waiting

    def test_twice(self) -> None:
        """A suspension whose run has ended cannot be resumed again in this process."""
        with served(ONE, DONE) as (client, server):
            kept = suspended(client)
            client.resume(kept, {"call_1": True}, tools=[PAY]).collect()
            with pytest.raises(StoreConflictError, match="was resumed before"):
                client.resume(Suspension.from_json(kept.to_json()), {"call_1": True}, tools=[PAY])
            assert (PAID, len(server.requests)) == ([("Ada", 1.0)], 2)

    def test_twice_at_once(self) -> None:
        """Of two threads that resume one suspension, one goes on and the other gets a StoreConflictError."""
        with served(ONE, DONE) as (client, server):
            kept = suspended(client)
            start = threading.Barrier(2)

            def resume() -> str:
                start.wait()
                try:
                    run = client.resume(kept, {"call_1": True}, tools=[PAY])
                except StoreConflictError:
                    return "conflict"
                return run.collect().text

            assert sorted(task.result() for task in [Task(resume), Task(resume)]) == ["All done.", "conflict"]
            assert (PAID, len(server.requests)) == ([("Ada", 1.0)], 2)

    def test_a_resumed_run_that_was_cancelled_can_be_resumed(self) -> None:
        """What ran keeps its result, what did not is asked again, and nothing runs twice."""
        with served(TWO, DONE) as (client, server):
            kept = suspended(client)
            both = {"call_1": True, "call_2": True}
            run = client.resume(kept, both, tools=[PAY, look])
            for chunk in run:
                if chunk.tool_result:
                    break
            assert (run.status, PAID) == ("cancelled", [("Ada", 1.0)])
            again = client.resume(kept, both, tools=[PAY, look])
            assert results(list(again)) == [("call_1", "paid Ada"), ("call_2", "paid Bob")]
            assert PAID == [("Ada", 1.0), ("Bob", 5.0)]
            assert (again.status, len(server.requests)) == ("complete", 2)

    def test_a_dropped_run_lets_go(self) -> None:
        """A resumed run that nobody took chunks of leaves the suspension to the next."""
        with served(ONE, DONE) as (client, _):
            kept = suspended(client)
            client.resume(kept, {"call_1": True}, tools=[PAY])
            assert client.resume(kept, {"call_1": True}, tools=[PAY]).collect().text == "All done."
            assert PAID == [("Ada", 1.0)]

    def test_a_call_that_is_still_running_after_a_cancel(self) -> None:
        """A cancelled run holds its suspension until its function has ended; the next one has the result."""
        inside, go = threading.Event(), threading.Event()

        def slow(to: str) -> str:
            PAID.append((to, 0))
            inside.set()
            go.wait(60)
            return "paid late"

        tool = Tool.of(slow, name="pay", needs_approval=True)
        for parallel in (1, 2):
            inside.clear()
            go.clear()
            PAID.clear()
            with served(ONE, DONE) as (client, server):
                kept = suspended(client)
                run = client.resume(kept, {"call_1": True}, tools=[tool], parallel=parallel)
                loop = Task(lambda run=run: list(run))  # type: ignore[misc]
                assert inside.wait(60)
                run.cancel()
                with pytest.raises(StoreConflictError, match="is being resumed already"):
                    client.resume(kept, {"call_1": True}, tools=[tool])
                go.set()
                loop.result()
                for thread in threading.enumerate():
                    if thread.name.startswith("streamkit-tool"):
                        thread.join(60)
                again = client.resume(kept, {"call_1": True}, tools=[tool])
                assert results(list(again)) == [("call_1", "paid late")]
                assert (PAID, told(server)) == ([("Ada", 0)], ["paid late"])

    def test_the_decisions_are_checked_first(self) -> None:
        """A wrong decision among right ones does nothing; the suspension can still be resumed."""
        with served(TWO, DONE) as (client, server):
            kept = suspended(client)
            tools = [PAY, look]
            for decisions, error, says in [
                ({"call_9": True}, MisuseError, "no call 'call_9' waits"),
                ({"call_3": True}, MisuseError, "no call 'call_3' waits"),
                ({"call_1": True, "call_2": "yes"}, ConfigError, "the decision on 'call_2' has to be True"),
                ({"call_1": True, "call_2": Approved({"whom": 1})}, ConfigError, "Approved"),
                ({"call_1": True, "call_2": Answered(object())}, ConfigError, "Answered"),
                ([("call_1", True)], ConfigError, "the decisions are a dict"),
            ]:
                with pytest.raises(error, match=says):
                    client.resume(kept, decisions, tools=tools)  # type: ignore[arg-type]
            with pytest.raises(ConfigError, match="not among tools="):
                client.resume(kept, {"call_1": True, "call_2": True}, tools=[look])
            with pytest.raises(ConfigError, match=r"takes run\.suspension"):
                client.resume(kept.to_json(), {}, tools=tools)  # type: ignore[arg-type]
            with pytest.raises(ConfigError, match=r"takes run\.suspension"):
                client.resume(None, {}, tools=tools)  # type: ignore[arg-type]
            assert (PAID, len(server.requests)) == ([], 1)
            client.resume(kept, {"call_1": True, "call_2": True}, tools=tools).collect()
            assert len(PAID) == 2

    def test_tools_that_are_not_needed_any_more(self) -> None:
        """A call that is rejected or answered needs no tool."""
        with served(ONE, DONE) as (client, server):
            kept = suspended(client)
            assert client.resume(kept, {"call_1": Answered("done by Bob")}).collect().text == "All done."
            assert told(server) == ["done by Bob"]

    def test_a_tool_that_has_changed(self) -> None:
        """Arguments that do not fit the tool of today are told to the model; nothing runs. An answer counts still."""

        def changed(recipient: str) -> str:
            PAID.append((recipient, 0))
            return "paid"

        tool = Tool.of(changed, name="pay", needs_approval=True)
        for decision, said in ((True, "Invalid arguments"), (Answered("by hand"), "by hand")):
            with served(ONE, DONE) as (client, server):
                kept = suspended(client)
                client.resume(kept, {"call_1": decision}, tools=[tool]).collect()
                assert told(server)[0].startswith(said)
        assert PAID == []

    def test_limits_go_on_counting(self) -> None:
        """What the suspended run has used up counts."""
        with served(ONE, tool_call_reply("look", {"city": "Oslo"}), DONE) as (client, _):
            kept = suspended(client, limits=RunLimits(rounds=2))
            with pytest.raises(RunLimitError) as caught:
                client.resume(kept, {"call_1": True}, tools=[PAY, look], limits=RunLimits(rounds=2)).collect()
            assert caught.value.limit == "rounds"
            assert (kept.spent.rounds, kept.spent.calls, kept.spent.tokens) == (1, 1, 18)

    def test_a_stop_event_that_is_set(self) -> None:
        """A resumed run that is stopped before it begins calls nothing, and leaves the suspension as it is."""
        stop = StopEvent()
        stop.set()
        with served(ONE, DONE) as (client, server):
            kept = suspended(client)
            run = client.resume(kept, {"call_1": True}, tools=[PAY], stop=stop)
            assert (list(run), run.status, PAID, len(server.requests)) == ([], "cancelled", [], 1)
            client.resume(kept, {"call_1": True}, tools=[PAY]).collect()
            assert PAID == [("Ada", 1.0)]

    def test_observers(self) -> None:
        """A suspended run is reported as such, and the resumed one as a run of its own."""
        observer = Told()
        with served(ONE, DONE, observers=[observer]) as (client, _):
            kept = suspended(client)
            client.resume(kept, {"call_1": True}, tools=[PAY]).collect()
        assert [report.status for report in observer.runs] == ["suspended", "complete"]
        assert [report.round for report in observer.streams] == [0, 1]
        assert observer.runs[1].completion.usage.total_tokens == 18

    def test_the_conversation_stays_whole(self) -> None:
        """Images, what the provider wants back, and messages as dicts survive the JSON."""
        calls, answer = (
            reply_in("anthropic", "Hm.", tool_calls=[("pay", {"to": "Ada"})]),
            reply_in("anthropic", "Paid."),
        )
        image = "data:image/png;base64,iVBORw0KGgo="
        with Server(calls, answer) as server:
            with Client([providers.Anthropic("k", base_url=server.origin)]) as client:
                asked = [Message("user", ["Pay", ImagePart(image)])]
                run = client.run("anthropic/m", asked, tools=[PAY], max_tokens=9)
                run.collect()
                assert run.suspension is not None
                kept = Suspension.from_json(run.suspension.to_json())
                assert client.resume(kept, {"call_1": True}, tools=[PAY]).collect().text == "Paid."
            first, second = (request.json() for request in server.requests)
        assert second["messages"][0] == first["messages"][0]
        assert second["max_tokens"] == 9

    def test_parameters(self) -> None:
        """Those that shape replies are kept; those that may hold a key are not, and are passed again."""
        secret = "sk-SECRET-of-a-server"
        kept_ones = {"max_tokens": 9, "temperature": 0.5, "seed": 3, "tool_choice": "auto", "top_p": 0.9}
        with served(ONE, DONE) as (client, server):
            kept = suspended(
                client,
                **kept_ones,
                extra_headers={"X-Key": secret},
                extra_body={"mcp_servers": [{"authorization_token": secret}]},
                user=secret,
            )
            assert kept.params == kept_ones
            assert secret not in kept.to_json()
            assert "sk-SECRET" not in kept.to_json()
            client.resume(
                kept, {"call_1": True}, tools=[PAY], temperature=0.7, extra_headers={"X-Key": "new"}
            ).collect()
            body = server.requests[1].json()
            assert {name: body[name] for name in kept_ones} == {**kept_ones, "temperature": 0.7}
            assert server.requests[1].headers["X-Key"] == "new"
            assert "mcp_servers" not in body
            assert "user" not in body

    def test_logs(self, caplog: pytest.LogCaptureFixture) -> None:
        """No argument, decision or result is logged."""
        caplog.set_level(logging.DEBUG)
        calls = tool_call_reply("pay", {"to": "SECRET"}, ("pay", {"to": "SECRET"}))
        with served(calls, DONE) as (client, _):
            kept = suspended(client)
            decisions = {"call_1": Approved({"to": "SECRET"}), "call_2": Rejected("SECRET")}
            client.resume(kept, decisions, tools=[PAY]).collect()
        assert "SECRET" not in caplog.text


def edited(change: Callable[[dict[str, Any]], object]) -> str:
    """Return the JSON of a suspension with a change."""
    with served(TWO, DONE) as (client, _):
        shape = json.loads(suspended(client).to_json())
    change(shape)
    return json.dumps(shape)


CHANGES: list[Callable[[dict[str, Any]], object]] = [
    lambda shape: shape["waiting"][0].update(id="call_7"),
    lambda shape: shape["waiting"].pop(),
    lambda shape: shape["waiting"].append(shape["waiting"][0]),
    lambda shape: shape["waiting"].reverse(),
    lambda shape: shape["waiting"][0]["function"].update(arguments='{"to": "Bob"}'),
    lambda shape: shape["waiting"][0]["function"].update(name="look"),
    lambda shape: shape["done"].append({**shape["done"][0], "call_id": "call_1"}),
    lambda shape: shape["done"][0].update(call_id="call_8"),
    lambda shape: shape["done"].clear(),
    lambda shape: shape["messages"].pop(),
    lambda shape: shape["messages"][-1].update(role="user"),
    lambda shape: shape["messages"][-1].update(tool_calls=[]),
    lambda shape: shape["messages"].clear(),
    lambda shape: shape.update(messages=[3]),
    lambda shape: shape.update(added=0),
    lambda shape: shape.update(added=9),
    lambda shape: shape.update(added=-1),
    lambda shape: shape.update(round="1"),
    lambda shape: shape.update(id="../../etc/passwd"),
    lambda shape: shape.update(id=""),
    lambda shape: shape.update(model=""),
    lambda shape: shape.update(model=None),
    lambda shape: shape.update(version="1"),
    lambda shape: shape.update(version=-1),
    lambda shape: shape.update(params=[1]),
    lambda shape: shape["spent"].update(rounds=-1),
    lambda shape: shape["spent"].update(cost="much"),
    lambda shape: shape["spent"].update(cost=10**400),
    lambda shape: shape["spent"].update(repeats=[]),
    lambda shape: shape["spent"].update(repeats={"a": "b"}),
    *[lambda shape, key=key: shape.pop(key) for key in ("id", "version", "done", "waiting", "messages", "spent")],
]


class TestJson:
    @pytest.mark.parametrize("number", range(len(CHANGES)))
    def test_tampered(self, number: int) -> None:
        """Parts that do not fit together are refused, so that what is decided on is what runs."""
        with pytest.raises(ConfigError, match="this is no suspension"):
            Suspension.from_json(edited(CHANGES[number]))

    @pytest.mark.parametrize(
        "text", ["", "{}", "[]", "null", "3", '"x"', "{", "\x00", b"\xff\xfe", "[" * 100_000, None]
    )
    def test_garbage(self, text: Any) -> None:
        """Anything else is a ConfigError."""
        with pytest.raises(ConfigError, match="this is no suspension"):
            Suspension.from_json(text)

    def test_a_newer_version(self) -> None:
        """A version of the future is refused by name, whatever else is in it."""
        with pytest.raises(ConfigError, match="has version 2, and this streamkit reads up to 1"):
            Suspension.from_json('{"version": 2, "everything": "else"}')

    def test_unknown_parameters_are_left_out(self) -> None:
        """Parameters that a suspension does not keep do not come in by its text."""
        text = edited(lambda shape: shape.update(params={"max_tokens": 9, "extra_headers": {"a": "b"}, "tools": []}))
        assert Suspension.from_json(text).params == {"max_tokens": 9}

    def test_bytes(self) -> None:
        """The text may be bytes, as files and requests have it."""
        text = edited(lambda shape: None)
        assert Suspension.from_json(text.encode()) == Suspension.from_json(text)

    def test_any_characters(self) -> None:
        """Names, texts and results of any language survive."""
        calls = tool_call_reply("pay", {"to": "Ада 🙂 \u2028"}, ("look", {"city": "東京"}))
        with served(calls, DONE) as (client, server):
            kept = suspended(client)
            client.resume(kept, {"call_1": True}, tools=[PAY, look]).collect()
        assert PAID == [("Ада 🙂 \u2028", 1.0)]
        assert told(server)[1] == "looked at 東京"

    def test_what_is_no_json(self) -> None:
        """A message that cannot be written is a ConfigError when it is written."""
        with served(ONE) as (client, _):
            run = client.run(MODEL, "Pay", tools=[PAY])
            run.collect()
            assert run.suspension is not None
            kept = attrs.evolve(
                run.suspension, messages=[{"role": "user", "content": b"x"}, *run.suspension.messages[1:]]
            )
            with pytest.raises(ConfigError, match="cannot be written as JSON"):
                kept.to_json()

    def test_no_text_in_its_repr(self) -> None:
        """``repr`` leaves out the conversation."""
        with served(ONE) as (client, _):
            assert "Pay them" not in repr(suspended(client))


def test_a_suspension_of_the_program_s_own_claims() -> None:
    """With ``claims=`` of the run and of ``resume``, ids and states are those of one store."""
    claims = MemoryClaims()
    with served(TWO, DONE, ONE, DONE) as (client, _):
        kept = suspended(client, claims=claims)
        assert claims.hold(kept.id)
        with pytest.raises(StoreConflictError):
            client.resume(kept, {"call_1": True}, tools=[PAY, look], claims=claims)
        claims.release(kept.id)
        run: Run = client.resume(kept, {"call_1": True, "call_2": True}, tools=[PAY, look], claims=claims)
        chunks: list[Chunk] = list(run)
        assert (len(results(chunks)), len(PAID)) == (2, 2)
        assert set(claims.read(kept.id)) == {""}
