"""A run with tools, as its user sees it: one stream of chunks over all rounds, and the history that it leaves."""

from __future__ import annotations

import contextvars
import dataclasses
import datetime
import enum
import gc
import json
import logging
import os
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import pydantic
import pytest

import streamkit
from streamkit import (
    BadRequestError,
    ChannelClosed,
    Chunk,
    Client,
    ConfigError,
    FilePart,
    ImagePart,
    Message,
    MisuseError,
    RecvTimeout,
    Run,
    RunLimitError,
    RunLimits,
    StopEvent,
    StreamCancelledError,
    TextPart,
    Tool,
    ToolContext,
    ToolError,
    TruncatedStreamError,
    UsageTracker,
    providers,
)
from streamkit.testing import Cut, Mark, Server, Wait, WaitFor, error_reply, reply_in, text_reply, tool_call_reply
from tests.unit.run_support import (
    MODEL,
    Told,
    history,
    kinds,
    numbered,
    recorder,
    results,
    sent,
    served,
    told,
    wait,
)
from tests.unit.support import SOON, Task, bounded

IMAGE = "data:image/png;base64,iVBORw0KGgo="


def weather(city: str, unit: str = "C") -> dict[str, Any]:
    """Say what the weather is.

    Args:
        city: where.
        unit: C or F.
    """
    return {"city": city, "degrees": 12, "unit": unit}


def fail(city: str) -> str:
    """Fail."""
    raise ZeroDivisionError(f"no such place as {city}")


OSLO = tool_call_reply("weather", {"city": "Oslo"}, text="Let me look.")
DONE = text_reply("It is 12.")


class TestRounds:
    def test_chunks_come_in_order_over_all_rounds(self) -> None:
        """Text, calls, results, the next round's text, and one ``done`` at the end; each with its round."""
        with served(OSLO, DONE) as (client, _):
            chunks = list(client.run(MODEL, "Weather?", tools=[weather]))
        assert kinds(chunks) == ["text", "tool_call", "tool_result", "text", "done"]
        assert [chunk.round for chunk in chunks] == sorted(chunk.round for chunk in chunks)
        assert {chunk.type for chunk in chunks if chunk.round == 0} == {"text", "tool_call", "tool_result"}
        assert [chunk.finish_reason for chunk in chunks if chunk.finished] == ["stop"]

    def test_the_completion_is_the_last_reply_with_the_usage_of_all(self) -> None:
        """``completion`` is the last round's reply; its usage, and that of ``done``, is the sum."""
        with served(OSLO, DONE) as (client, _):
            run = client.run(MODEL, "Weather?", tools=[weather])
            chunks = list(run)
        assert (run.status, run.error) == ("complete", None)
        assert (run.completion.text, run.completion.finish_reason, run.completion.complete) == (
            "It is 12.",
            "stop",
            True,
        )
        assert run.completion.usage.total_tokens == 36
        assert chunks[-1].usage == run.completion.usage
        assert [(each.text, each.usage.total_tokens) for each in run.rounds] == [
            ("Let me look.", 18),
            ("It is 12.", 18),
        ]

    def test_the_chunks_add_up_to_the_completion(self) -> None:
        """``fold`` of the chunks is the completion of the run."""
        with served(OSLO, OSLO, DONE) as (client, _):
            run = client.run(MODEL, "Weather?", tools=[weather])
            folded = streamkit.fold(list(run), provider="openai", model="m")
        assert folded == run.completion

    def test_messages_are_what_to_append(self) -> None:
        """The history has the reply with its calls, the results, and the answer; the server gets just these."""
        with served(OSLO, DONE, DONE) as (client, server):
            messages: list[Any] = [Message("user", "Weather?")]
            run = client.run(MODEL, messages, tools=[weather])
            run.collect()
            assert history(run) == [
                ("assistant", "Let me look."),
                ("tool", '{"city":"Oslo","degrees":12,"unit":"C"}'),
                ("assistant", "It is 12."),
            ]
            assert messages == [Message("user", "Weather?")]
            client.complete(MODEL, [*messages, *run.messages, Message("user", "And now?")])
            assert sent(server, 1) == sent(server, 2)[:3]
            assert [message["role"] for message in sent(server, 2)] == [
                "user",
                "assistant",
                "tool",
                "assistant",
                "user",
            ]

    def test_text_before_a_call_never_ends_the_run(self) -> None:
        """A reply with text and calls is no answer, whatever its finish reason."""
        lying = tool_call_reply("weather", {"city": "Oslo"}, text="It is warm.", finish_reason="stop")
        with served(lying, DONE) as (client, server):
            assert client.run(MODEL, "Weather?", tools=[weather]).collect().text == "It is 12."
            assert len(server.requests) == 2

    def test_three_rounds(self) -> None:
        """The rounds go on until a reply asks for nothing."""
        step, seen = recorder()
        replies = [tool_call_reply("step", {"number": number}) for number in (1, 2, 3)]
        with served(*replies, DONE) as (client, server):
            run = client.run(MODEL, "Go", tools=[step])
            chunks = list(run)
        assert (seen, len(server.requests), len(run.rounds)) == ([1, 2, 3], 4, 4)
        assert [chunk.round for chunk in chunks if chunk.tool_result] == [0, 1, 2]

    def test_a_run_without_calls(self) -> None:
        """A reply that calls nothing ends the run as a stream ends; with or without tools."""
        for tools in ([weather], [], None):
            with served(DONE) as (client, _):
                run = client.run(MODEL, "Hi", tools=tools)
                assert run.collect().text == "It is 12."
                assert history(run) == [("assistant", "It is 12.")]

    def test_ids_are_unique_over_the_history(self) -> None:
        """A server that repeats its ids, or sends none, gets back ids that tell the calls apart."""
        step, _ = recorder()
        replies = [tool_call_reply("step", {"number": number}, id=id) for number, id in ((1, "a"), (2, "a"), (3, ""))]
        with served(*replies, DONE, *replies[:1], DONE) as (client, server):
            first = client.run(MODEL, "Go", tools=[step])
            first.collect()
            asked = [message.tool_calls[0].id for message in first.messages if message.tool_calls]
            answered = [message.tool_call_id for message in first.messages if message.role == "tool"]
            assert asked == answered
            assert len(set(asked)) == 3
            assert all(asked)
            second = client.run(MODEL, [*first.messages, Message("user", "Again")], tools=[step])
            second.collect()
            assert second.messages[0].tool_calls[0].id not in asked
            assert len(server.requests) == 6

    def test_the_completion_has_the_ids_of_its_results(self) -> None:
        """Of a call without an id, the call and its result have the same one."""
        with served(tool_call_reply("weather", {"city": "Oslo"}, id="")) as (client, _):
            run = client.run(MODEL, "Go", tools=[weather], limits=RunLimits(rounds=1))
            with pytest.raises(RunLimitError):
                list(run)
            assert [call.id for call in run.completion.tool_calls] == [run.completion.tool_results[0].call_id] != [""]

    def test_between_two_rounds(self) -> None:
        """In the loop at a result, ``completion`` is the reply that called, and says that the run goes on."""
        with served(OSLO, DONE) as (client, _):
            run = client.run(MODEL, "Weather?", tools=[weather])
            for chunk in run:
                if chunk.tool_result:
                    completion = run.completion
        assert (completion.text, completion.finish_reason, completion.complete) == ("Let me look.", None, False)
        assert [result.state for result in completion.tool_results] == ["finished"]

    def test_a_reply_that_fails_in_a_later_round(self) -> None:
        """The error of a round's stream is the run's, with the run's partial completion; the history stays whole."""
        with served(OSLO, text_reply("It is").first(2).then(Cut())) as (client, _):
            run = client.run(MODEL, "Weather?", tools=[weather])
            with pytest.raises(TruncatedStreamError) as caught:
                list(run)
            assert run.status == "truncated"
            assert caught.value.partial == run.completion
            assert caught.value.partial.usage.total_tokens == 18
            assert history(run)[-1] == ("assistant", "It")
            with pytest.raises(TruncatedStreamError):
                next(run)

    def test_a_request_that_is_refused(self) -> None:
        """A status of the server in a later round ends the run, and the results stay in the history."""
        with served(OSLO, error_reply(400)) as (client, _):
            run = client.run(MODEL, "Weather?", tools=[weather])
            with pytest.raises(BadRequestError):
                run.collect()
            assert [role for role, _ in history(run)] == ["assistant", "tool"]

    def test_settings_of_each_request(self) -> None:
        """Parameters, ``extra_body`` and ``extra_headers`` go with the request of each round."""
        with served(OSLO, DONE) as (client, server):
            client.run(
                MODEL, "Hi", tools=[weather], temperature=0.5, extra_body={"seed": 3}, extra_headers={"X-Mine": "yes"}
            ).collect()
            for request in server.requests:
                body = request.json()
                assert (body["temperature"], body["seed"], request.headers["X-Mine"]) == (0.5, 3, "yes")
                assert body["tools"][0]["function"]["name"] == "weather"


class TestArguments:
    def test_an_unknown_tool(self) -> None:
        """The model is told which tools there are; nothing runs."""
        with served(tool_call_reply("wether", {"city": "Oslo"}), DONE) as (client, server):
            run = client.run(MODEL, "Hi", tools=[weather])
            (result,) = [chunk.tool_result for chunk in run if chunk.tool_result]
        assert (result.error, result.state) == ("unknown tool", "not begun")
        assert told(server) == ["There is no tool 'wether'; the tools are: weather."]

    @pytest.mark.parametrize("name", ["get weather", "get.weather", "get/weather", ""])
    def test_a_name_that_is_only_alike(self, name: str) -> None:
        """A name that no provider takes back is replaced in the history, and calls no tool that is called like that."""
        called: list[str] = []

        def get_weather(city: str) -> str:
            called.append(city)
            return "warm"

        with served(tool_call_reply(name, {"city": "Oslo"}), DONE) as (client, server):
            run = client.run(MODEL, "Hi", tools=[get_weather])
            run.collect()
        assert called == []
        assert repr(name) in told(server)[0]
        assert run.messages[0].tool_calls[0].name in ("get_weather", "unnamed")

    def test_wrong_arguments_go_back_to_the_model(self) -> None:
        """The function is not called; the model is told what is wrong, and may try again."""
        wrong = tool_call_reply("weather", {"town": "Oslo"})
        with served(wrong, OSLO, DONE) as (client, server):
            run = client.run(MODEL, "Hi", tools=[weather])
            found = [chunk.tool_result for chunk in run if chunk.tool_result]
        assert [result.error for result in found] == ["invalid arguments", None]
        assert "city" in told(server)[0]
        assert "town" in told(server)[0]

    @pytest.mark.parametrize("arguments", ['{"city": "Os', '{"city": "Oslo"', "[1, 2", "{"])
    def test_cut_arguments(self, arguments: str) -> None:
        """A reply at its limit of tokens: the call is answered as cut off, and never closed and made."""
        cut = tool_call_reply("weather", arguments, finish_reason="length")
        with served(cut, DONE) as (client, server):
            run = client.run(MODEL, "Hi", tools=[weather])
            (result,) = [chunk.tool_result for chunk in run if chunk.tool_result]
        assert (result.error, result.state) == ("cut off", "not begun")
        assert "cut off" in told(server)[0]
        assert run.completion.text == "It is 12."

    def test_cut_arguments_where_the_finish_reason_lies(self) -> None:
        """Servers say ``tool_calls`` for what was cut off: it is refused as wrong arguments."""
        with served(tool_call_reply("weather", '{"city": "Os'), DONE) as (client, _):
            (result,) = [c.tool_result for c in client.run(MODEL, "Hi", tools=[weather]) if c.tool_result]
        assert (result.error, result.state) == ("invalid arguments", "not begun")

    def test_whole_calls_of_a_cut_reply_are_made(self) -> None:
        """Only the call that was cut off is not made."""
        step, seen = recorder()
        cut = tool_call_reply("step", {"number": 1}, ("step", '{"num'), finish_reason="length")
        with served(cut, DONE) as (client, _):
            run = client.run(MODEL, "Hi", tools=[step])
            found = [chunk.tool_result for chunk in run if chunk.tool_result]
        assert (seen, [result.error for result in found]) == ([1], [None, "cut off"])


class TestErrors:
    def test_an_exception_is_told_to_the_model(self) -> None:
        """By default the model reads what was raised, without a traceback, and the run goes on."""
        with served(tool_call_reply("fail", {"city": "Ys"}), DONE) as (client, server):
            run = client.run(MODEL, "Hi", tools=[fail])
            (result,) = [chunk.tool_result for chunk in run if chunk.tool_result]
        assert (result.error, result.state, run.status) == ("exception", "finished", "complete")
        assert told(server) == ["The function failed: ZeroDivisionError: no such place as Ys"]

    @pytest.mark.parametrize("parallel", [1, 2])
    def test_an_exception_is_raised(self, parallel: int) -> None:
        """``on_error="raise"``: a ToolError with the call, its cause, and a history that stays acceptable."""
        with served(tool_call_reply("fail", {"city": "Ys"}, ("weather", {"city": "Oslo"}))) as (client, server):
            run = client.run(MODEL, "Hi", tools=[fail, weather], on_error="raise", parallel=parallel)
            with pytest.raises(ToolError, match="the tool 'fail' failed: ZeroDivisionError") as caught:
                list(run)
            assert caught.value.call is not None
            assert caught.value.call.name == "fail"
            assert isinstance(caught.value.__cause__, ZeroDivisionError)
            assert "Ys" not in str(caught.value)
            assert run.status == "error"
            assert [message.tool_call_id for message in run.messages] == [None, "call_1", "call_2"]
            assert caught.value.partial.tool_results[0].error == "exception"
            assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("name", "arguments", "says"),
        [("weather", {}, "got wrong arguments"), ("nobody", {}, "unknown tool"), ("weather", '{"', "was not called")],
    )
    def test_what_cannot_be_called_is_raised(self, name: str, arguments: Any, says: str) -> None:
        """``on_error="raise"`` counts for wrong arguments, unknown tools and cut arguments as well."""
        with served(tool_call_reply(name, arguments, finish_reason="length")) as (client, _):
            with pytest.raises(ToolError, match=says):
                client.run(MODEL, "Hi", tools=[weather], on_error="raise").collect()

    def test_an_exception_without_a_text(self) -> None:
        """An exception whose text cannot be made is told by its class."""

        class Silent(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        def silent() -> str:
            raise Silent

        with served(tool_call_reply("silent", {}), DONE) as (client, server):
            client.run(MODEL, "Hi", tools=[silent]).collect()
        assert told(server) == ["The function failed: Silent"]

    def test_a_long_exception_is_shortened(self) -> None:
        """What an exception says is bounded."""

        def long() -> str:
            raise ValueError("x" * 100_000)

        with served(tool_call_reply("long", {}), DONE) as (client, server):
            client.run(MODEL, "Hi", tools=[long]).collect()
        assert len(told(server)[0]) < 3000

    def test_the_end_of_a_thread_is_a_failure(self) -> None:
        """``SystemExit`` in a thread is told, or raised; it neither hangs the run nor ends the program."""

        def leave() -> str:
            raise SystemExit(3)

        with served(tool_call_reply("leave", {}), DONE, tool_call_reply("leave", {})) as (client, server):
            client.run(MODEL, "Hi", tools=[leave], parallel=2).collect()
            assert told(server) == ["The function failed: SystemExit: 3"]
            with pytest.raises(ToolError, match="failed: SystemExit"):
                client.run(MODEL, "Hi", tools=[leave], parallel=2, on_error="raise").collect()

    def test_the_end_of_the_program_in_the_loop_s_thread(self) -> None:
        """``SystemExit`` in the thread of the loop ends the loop, as in any code; the run is cancelled."""

        def leave() -> str:
            raise SystemExit(3)

        with served(tool_call_reply("leave", {})) as (client, _):
            run = client.run(MODEL, "Hi", tools=[leave])
            with pytest.raises(SystemExit):
                list(run)
            assert (run.status, run.completion.tool_results[0].state) == ("cancelled", "running")

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"parallel": 0}, "parallel is"),
            ({"parallel": True}, "parallel is"),
            ({"limits": 3}, "limits is"),
            ({"on_error": "ignore"}, "on_error is"),
            ({"approve": "yes"}, "approve= has to be"),
            ({"claims": "/tmp"}, "claims is"),
            ({"n": 2}, "n is 1"),
            ({"tools": "weather"}, "tools= is"),
            ({"tools": [weather, weather]}, "two tools"),
            ({"stop": "END"}, "stop is"),
        ],
    )
    def test_a_wrong_setting_sends_nothing(self, settings: dict[str, Any], says: str) -> None:
        """A setting that cannot be is a ConfigError before anything is sent."""
        with served(DONE) as (client, server):
            with pytest.raises(ConfigError, match=says):
                client.run(MODEL, "Hi", **settings)
            with pytest.raises(ConfigError, match="messages is"):
                client.run(MODEL, 3, tools=[weather])  # type: ignore[arg-type]
            assert server.connections == 0

    @pytest.mark.parametrize("name", ["rounds", "calls", "repeats", "call_seconds", "tokens", "cost"])
    @pytest.mark.parametrize("value", [0, -1, "3", True, float("nan")])
    def test_a_wrong_limit(self, name: str, value: Any) -> None:
        """A limit is a number above 0, or ``None``."""
        with pytest.raises(ConfigError, match=name):
            RunLimits(**{name: value})
        assert getattr(RunLimits(**{name: None}), name) is None


class Colour(str, enum.Enum):
    RED = "red"


@attrs.frozen
class Point:
    x: int
    y: float


@dataclasses.dataclass
class Pair:
    a: int
    b: str


class Model(pydantic.BaseModel):
    name: str
    when: datetime.date


RESULTS: list[tuple[Any, str]] = [
    ("plain text", "plain text"),
    ("", "(no output)"),
    (" \n", "(no output)"),
    (None, "null"),
    (0, "0"),
    (True, "true"),
    ([], "[]"),
    ({"a": [1, 2.5, None]}, '{"a":[1,2.5,null]}'),
    (Point(1, 2.5), '{"x":1,"y":2.5}'),
    (Pair(1, "ü"), '{"a":1,"b":"ü"}'),
    (Model(name="n", when=datetime.date(2026, 1, 2)), '{"name":"n","when":"2026-01-02"}'),
    ([Model(name="n", when=datetime.date(2026, 1, 2))], '[{"name":"n","when":"2026-01-02"}]'),
    (datetime.datetime(2026, 1, 2, 3, 4), '"2026-01-02T03:04:00"'),
    (Colour.RED, "red"),
    (("a", "b"), '["a","b"]'),
    (TextPart("a part"), [{"type": "text", "text": "a part"}]),
    ("half \ud800 a pair", "half ? a pair"),
    (123456789012345678901234567890, "123456789012345678901234567890"),
]


class TestResults:
    @pytest.mark.parametrize(("value", "text"), RESULTS, ids=lambda value: repr(value)[:30].encode("ascii", "replace"))
    def test_what_a_function_may_return(self, value: Any, text: Any) -> None:
        """Text goes as it is, never empty; anything else as JSON. The program gets the value itself too."""

        def give() -> Any:
            return value

        with served(tool_call_reply("give", {}), DONE) as (client, server):
            run = client.run(MODEL, "Hi", tools=[give])
            (result,) = [chunk.tool_result for chunk in run if chunk.tool_result]
        assert told(server) == [text]
        assert (result.value is value, result.error, result.state) == (True, None, "finished")

    @pytest.mark.parametrize("value", [object(), {1, object()}, {"a": lambda: 1}, b"\xff".decode("latin-1").join])
    def test_a_result_that_cannot_be_written(self, value: Any) -> None:
        """The model is told that the function was called, and that its result cannot be shown."""

        def give() -> Any:
            return value

        with served(tool_call_reply("give", {}), DONE) as (client, server):
            run = client.run(MODEL, "Hi", tools=[give])
            (result,) = [chunk.tool_result for chunk in run if chunk.tool_result]
        assert (result.error, result.state) == ("exception", "finished")
        assert told(server)[0].startswith("The function was called and has returned, but its result")

    def test_a_result_that_fails_while_it_is_read(self) -> None:
        """An exception of the value's own code is no failure of the run."""

        class Lazy:
            def __iter__(self) -> Any:
                raise KeyError("secret")

        def give() -> Any:
            return Lazy()

        with served(tool_call_reply("give", {}), DONE) as (client, server):
            assert client.run(MODEL, "Hi", tools=[give]).collect().complete
        assert told(server) == ["The function was called and has returned, but reading its result failed: KeyError."]

    def test_an_image_where_the_provider_takes_it(self) -> None:
        """An ImagePart goes to a provider whose results may have images."""

        def look() -> Any:
            return ["A picture:", ImagePart(IMAGE)]

        with Server(reply_in("anthropic", tool_calls=[("look", {})]), reply_in("anthropic", "Nice")) as server:
            with Client([providers.Anthropic("k", base_url=server.origin)]) as client:
                assert client.run("anthropic/m", "Hi", tools=[look], max_tokens=10).collect().text == "Nice"
            content = server.requests[1].json()["messages"][2]["content"][0]["content"]
            assert [block["type"] for block in content] == ["text", "image"]

    @pytest.mark.parametrize("part", [ImagePart(IMAGE), FilePart("data:application/pdf;base64,JVBERg==")])
    def test_media_where_the_provider_takes_none(self, part: Any) -> None:
        """The model is told that the result cannot be shown."""

        def look() -> Any:
            return [part]

        with served(tool_call_reply("look", {}), DONE) as (client, server):
            client.run(MODEL, "Hi", tools=[look]).collect()
        assert "which this provider does not take in a result" in told(server)[0]


class TestContext:
    def test_what_a_function_may_know(self) -> None:
        """The call, the conversation up to it, the round, and what was passed as ``context=``."""
        seen: list[ToolContext] = []

        def look(city: str, context: ToolContext) -> str:
            seen.append(context)
            return city

        mine = object()
        calls = tool_call_reply("look", {"city": "Oslo"}, ("look", {"city": "Rome"}), text="Hm.")
        with served(calls, DONE) as (client, server):
            client.run(MODEL, [{"role": "user", "content": "Hi"}], tools=[look], context=mine).collect()
        assert [context.call.arguments["city"] for context in seen] == ["Oslo", "Rome"]
        assert {(context.round, context.context is mine, context.stop.is_set()) for context in seen} == {
            (0, True, False)
        }
        assert [message.role for message in seen[1].messages] == ["user", "assistant"]
        assert seen[0].messages[0] == Message("user", "Hi")
        assert [call.id for call in seen[0].messages[1].tool_calls] == ["call_1", "call_2"]
        assert "context" not in server.requests[0].json()["tools"][0]["function"]["parameters"]["properties"]

    def test_reports_of_a_thread_are_live(self) -> None:
        """In a thread, a preliminary result is delivered while the function runs, and the model is not told it."""
        seen = threading.Event()

        def work(context: ToolContext) -> str:
            context.report({"percent": 50})
            wait(seen)
            return "done"

        with served(tool_call_reply("work", {}), DONE) as (client, server):
            run, given = client.run(MODEL, "Hi", tools=[work], parallel=2), []
            for chunk in run:
                if chunk.tool_result:
                    given.append((chunk.tool_result.preliminary, chunk.tool_result.content, chunk.tool_result.state))
                    seen.set()
        assert given == [(True, '{"percent":50}', "running"), (False, "done", "finished")]
        assert told(server) == ["done"]

    def test_reports_of_the_loop_s_thread(self) -> None:
        """In the thread of the loop, they come before the result, once the function has returned."""

        def work(context: ToolContext) -> str:
            context.report("one")
            context.report("two")
            return "done"

        with served(tool_call_reply("work", {}), DONE) as (client, _):
            chunks = [c.tool_result for c in client.run(MODEL, "Hi", tools=[work]) if c.tool_result]
        assert [(each.content, each.preliminary) for each in chunks] == [("one", True), ("two", True), ("done", False)]

    def test_a_report_after_the_end(self) -> None:
        """A report of a function that has returned does nothing."""
        kept: list[ToolContext] = []

        def work(context: ToolContext) -> str:
            kept.append(context)
            return "done"

        with served(tool_call_reply("work", {}), DONE) as (client, _):
            run = client.run(MODEL, "Hi", tools=[work], parallel=2)
            for chunk in run:
                if chunk.tool_result:
                    kept[0].report("late")
        assert run.status == "complete"

    def test_a_report_that_cannot_be_written(self) -> None:
        """It fails in the function, whose failure it is."""

        def work(context: ToolContext) -> str:
            context.report(object())
            return "done"

        with served(tool_call_reply("work", {}), DONE) as (client, server):
            client.run(MODEL, "Hi", tools=[work]).collect()
        assert told(server)[0].startswith("The function failed: ")

    @pytest.mark.parametrize("parallel", [1, 3])
    def test_context_variables(self, parallel: int) -> None:
        """A function sees the context variables of the loop's thread, in whichever thread it runs."""
        name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")

        def who() -> str:
            return name.get()

        with served(tool_call_reply("who", {}), DONE) as (client, server):
            token = name.set("Ada")
            try:
                client.run(MODEL, "Hi", tools=[who], parallel=parallel).collect()
            finally:
                name.reset(token)
        assert told(server) == ["Ada"]


class TestParallel:
    def test_as_many_run_at_once_as_asked_for(self) -> None:
        """With ``parallel=4`` four functions meet at one barrier; the results keep the order of the calls."""
        barrier, step_done = threading.Barrier(4), [threading.Event() for _ in range(5)]
        step_done[4].set()

        def step(number: int) -> str:
            barrier.wait(SOON)
            wait(step_done[number])  # ends after the one behind it
            step_done[number - 1].set()
            return f"step {number}"

        with served(tool_call_reply("step", {"number": 1}, *numbered(4)), DONE) as (client, server):
            run = client.run(MODEL, "Hi", tools=[step], parallel=4)
            with bounded():
                chunks = list(run)
        assert [content for _, content in results(chunks)] == [f"step {number}" for number in (1, 2, 3, 4)]
        assert told(server) == [f"step {number}" for number in (1, 2, 3, 4)]

    def test_no_more_run_at_once(self) -> None:
        """With ``parallel=2`` never more than two run; as one ends the next begins."""
        lock, running, most = threading.Lock(), [0], [0]

        def step(number: int) -> str:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            both.wait(SOON)
            with lock:
                running[0] -= 1
            return str(number)

        both = threading.Barrier(2)
        with served(tool_call_reply("step", {"number": 1}, *numbered(8)), DONE) as (client, _):
            chunks = list(client.run(MODEL, "Hi", tools=[step], parallel=2))
        assert (most[0], len(results(chunks))) == (2, 8)

    def test_one_by_one_in_the_loop_s_thread(self) -> None:
        """By default functions run in the thread of the loop, in the order of the calls."""
        threads: list[threading.Thread] = []

        def step(number: int) -> int:
            threads.append(threading.current_thread())
            return number

        with served(tool_call_reply("step", {"number": 1}, *numbered(3)), DONE) as (client, _):
            chunks = list(client.run(MODEL, "Hi", tools=[step]))
        assert set(threads) == {threading.current_thread()}
        assert [content for _, content in results(chunks)] == ["1", "2", "3"]

    def test_a_result_comes_before_the_next_function(self) -> None:
        """In the loop's thread a result is delivered as soon as it is there."""
        step, seen = recorder()
        with served(tool_call_reply("step", {"number": 1}, *numbered(2)), DONE) as (client, _):
            at_result = [list(seen) for chunk in client.run(MODEL, "Hi", tools=[step]) if chunk.tool_result is not None]
        assert at_result == [[1], [1, 2]]

    def test_what_was_answered_already_keeps_its_place(self) -> None:
        """Wrong calls among right ones are answered in the order of the calls."""
        step, _ = recorder()
        for parallel in (1, 3):
            calls = tool_call_reply("step", {"number": 1}, ("nobody", {}), ("step", {}), ("step", {"number": 4}))
            with served(calls, DONE) as (client, _):
                run = client.run(MODEL, "Hi", tools=[step], parallel=parallel)
                found = [chunk.tool_result for chunk in run if chunk.tool_result]
            assert [result.error for result in found] == [None, "unknown tool", "invalid arguments", None]

    def test_a_call_that_takes_too_long(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is left in its thread with its stop event set; the model is told so, and a late result is logged only."""
        let_go, ended = threading.Event(), threading.Event()
        stops: list[bool] = []

        def slow(context: ToolContext) -> str:
            wait(context.stop)
            stops.append(context.stop.is_set())
            wait(let_go)
            ended.set()
            return "SECRET late result"

        caplog.set_level(logging.DEBUG)
        limits = RunLimits(call_seconds=0.01)
        with served(tool_call_reply("slow", {}), DONE) as (client, server):
            run = client.run(MODEL, "Hi", tools=[slow], limits=limits)
            (result,) = [chunk.tool_result for chunk in run if chunk.tool_result]
            assert run.status == "complete"
            let_go.set()
            wait(ended)
            for thread in threading.enumerate():
                if thread.name == "streamkit-tool-slow":
                    thread.join(SOON)
        assert (result.error, result.state, stops) == ("timeout", "running", [True])
        assert "still running" in told(server)[0]
        assert "SECRET" not in caplog.text
        assert "slow, which had been left running, has ended" in caplog.text

    def test_calls_within_their_time(self) -> None:
        """With a limit for calls, functions run in threads, one at a time, and keep their results."""
        step, seen = recorder()
        limits = RunLimits(call_seconds=SOON)
        with served(tool_call_reply("step", {"number": 1}, *numbered(3)), DONE) as (client, _):
            chunks = list(client.run(MODEL, "Hi", tools=[step], limits=limits))
        assert seen == [1, 2, 3]
        assert [content for _, content in results(chunks)] == ["step 1", "step 2", "step 3"]


class TestLimits:
    def test_rounds(self) -> None:
        """The last request that is allowed may answer; where it asks for more, nothing of that is made."""
        step, seen = recorder()
        replies = [tool_call_reply("step", {"number": number}) for number in (1, 2, 3)]
        with served(*replies) as (client, server):
            run = client.run(MODEL, "Hi", tools=[step], limits=RunLimits(rounds=2))
            with pytest.raises(RunLimitError, match=r"RunLimits\(rounds=\.\.\.\)") as caught:
                list(run)
        assert (caught.value.limit, seen, len(server.requests), run.status) == ("rounds", [1], 2, "error")
        assert caught.value.partial.tool_results[0].error == "limit reached"
        assert history(run)[-1] == ("tool", "Not called: the limit of 2 requests to the model was reached.")

    def test_a_run_that_just_fits(self) -> None:
        """An answer in the last request that is allowed ends the run in order."""
        with served(OSLO, DONE) as (client, _):
            assert client.run(MODEL, "Hi", tools=[weather], limits=RunLimits(rounds=2, calls=1)).collect().complete

    def test_calls(self) -> None:
        """Of a reply with more calls than are left, none is made."""
        step, seen = recorder()
        with served(tool_call_reply("step", {"number": 1}, *numbered(3))) as (client, _):
            run = client.run(MODEL, "Hi", tools=[step], limits=RunLimits(calls=2))
            with pytest.raises(RunLimitError) as caught:
                list(run)
        assert (caught.value.limit, seen) == ("calls", [])
        assert [result.error for result in run.completion.tool_results] == ["limit reached"] * 3

    def test_repeats(self) -> None:
        """The same arguments again and again, in whichever order of keys, reach a limit; other ones do not."""
        same = [
            tool_call_reply("weather", text) for text in ('{"city":"Oslo","unit":"C"}', '{"unit":"C", "city":"Oslo"}')
        ]
        with served(*same, OSLO, same[0]) as (client, server):
            run = client.run(MODEL, "Hi", tools=[weather], limits=RunLimits(repeats=2))
            with pytest.raises(RunLimitError, match="same arguments") as caught:
                list(run)
        assert (caught.value.limit, len(server.requests)) == ("repeats", 4)

    def test_tokens(self) -> None:
        """The tokens of all rounds count; a usage without a total counts by its parts."""
        usage = {"prompt_tokens": 30, "completion_tokens": 20}
        replies = [tool_call_reply("step", {"number": number}, usage=usage) for number in (1, 2, 3)]
        step, seen = recorder()
        with served(*replies) as (client, _):
            with pytest.raises(RunLimitError) as caught:
                client.run(MODEL, "Hi", tools=[step], limits=RunLimits(tokens=100)).collect()
        assert (caught.value.limit, seen) == ("tokens", [1])

    def test_cost(self) -> None:
        """The cost of all rounds counts, as the provider or the list of prices has it."""
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 0.6}
        replies = [tool_call_reply("step", {"number": number}, usage=usage) for number in (1, 2, 3)]
        step, seen = recorder()
        with served(*replies) as (client, _), pytest.raises(RunLimitError) as caught:
            client.run(MODEL, "Hi", tools=[step], limits=RunLimits(cost=1.0)).collect()
        assert (caught.value.limit, seen) == ("cost", [1])

    def test_the_error_can_be_pickled(self) -> None:
        """A RunLimitError goes between processes with its limit and its partial."""
        import pickle

        with served(OSLO) as (client, _):
            with pytest.raises(RunLimitError) as caught:
                client.run(MODEL, "Hi", tools=[weather], limits=RunLimits(rounds=1)).collect()
        again = pickle.loads(pickle.dumps(caught.value))
        assert (again.limit, again.partial.text, str(again)) == ("rounds", "Let me look.", str(caught.value))


class TestTaking:
    def test_text(self) -> None:
        """``iter_text`` has the text of all rounds."""
        with served(OSLO, DONE) as (client, _):
            assert "".join(client.run(MODEL, "Hi", tools=[weather]).iter_text()) == "Let me look.It is 12."

    def test_words_and_lines(self) -> None:
        """The other views of the text work on a run as on a stream."""
        with served(OSLO, DONE) as (client, _):
            assert "".join(client.run(MODEL, "Hi", tools=[weather]).iter_words()) == "Let me look.It is 12."

    def test_next_and_recv(self) -> None:
        """Single chunks can be taken; after the end ``next`` stops, ``recv`` raises ChannelClosed."""
        with served(OSLO, DONE) as (client, _):
            run = client.run(MODEL, "Hi", tools=[weather])
            first = next(run)
            rest = []
            with pytest.raises(ChannelClosed):
                while True:
                    rest.append(run.recv())
            assert [first, *rest][-1].finished
            with pytest.raises(StopIteration):
                next(run)
            with pytest.raises(MisuseError, match="iterated once"):
                list(run)

    def test_a_timeout_while_functions_run(self) -> None:
        """``recv(timeout=...)`` returns while functions run in threads; the run goes on."""
        go = threading.Event()

        def work() -> str:
            wait(go)
            return "done"

        with served(tool_call_reply("work", {}), DONE) as (client, _):
            run = client.run(MODEL, "Hi", tools=[work], parallel=2)
            while not (chunk := next(run)).tool_call or not chunk.tool_call.arguments:
                pass
            with pytest.raises(RecvTimeout):
                while True:
                    run.recv(timeout=0.01)
            assert run.status == "open"
            go.set()
            assert run.collect().text == "It is 12."

    def test_a_timeout_while_the_model_is_silent(self) -> None:
        """``recv(timeout=...)`` returns while nothing comes from the server."""
        go = threading.Event()
        with served(text_reply("Hello").first(2).then(WaitFor(go), *text_reply("Hello").steps[2:])) as (client, _):
            run = client.run(MODEL, "Hi", tools=[weather])
            assert next(run).text == "Hello"
            with pytest.raises(RecvTimeout):
                run.recv(timeout=0)
            go.set()
            assert run.collect().text == "Hello"

    def test_leaving_the_loop(self) -> None:
        """``break`` cancels the run: nothing new begins, and it cannot be gone on with."""
        step, seen = recorder()
        with served(tool_call_reply("step", {"number": 1}, *numbered(3)), DONE) as (client, server):
            run = client.run(MODEL, "Hi", tools=[step])
            for chunk in run:
                if chunk.tool_result:
                    break
            assert (run.status, seen, len(server.requests)) == ("cancelled", [1], 1)
            with pytest.raises(MisuseError, match="closed before its end"):
                next(run)
            assert [result.state for result in run.completion.tool_results] == ["finished", "not begun", "not begun"]

    def test_leaving_at_the_done_chunk_is_no_cancel(self) -> None:
        """Who leaves the loop at ``done`` has had the whole run."""
        with served(OSLO, DONE) as (client, _):
            run = client.run(MODEL, "Hi", tools=[weather])
            for chunk in run:
                if chunk.finished:
                    break
            assert (run.status, run.completion.complete) == ("complete", True)

    def test_with(self) -> None:
        """The end of ``with`` closes the run; after its end it changes nothing."""
        with served(OSLO, DONE) as (client, _):
            with client.run(MODEL, "Hi", tools=[weather]) as run:
                next(run)
            assert run.status == "cancelled"
            with client.run(MODEL, "Hi", tools=[weather]) as run:
                run.collect()
            assert run.status == "complete"

    def test_collect_of_a_cancelled_run(self) -> None:
        """``collect`` says that a run was cancelled, with what came."""
        with served(OSLO, DONE) as (client, _):
            run = client.run(MODEL, "Hi", tools=[weather])
            next(run)
            run.cancel()
            with pytest.raises(StreamCancelledError) as caught:
                run.collect()
            assert caught.value.partial == run.completion

    def test_merge(self) -> None:
        """``merge`` takes runs beside streams, with functions in either kind of thread."""
        for parallel in (1, 3):
            replies = [tool_call_reply("weather", {"city": "Oslo"}), DONE]
            with served(*replies) as (client, _), served(*replies) as (other, _), served(DONE) as (plain, _):
                runs: list[Any] = [
                    client.run(MODEL, "Hi", tools=[weather], parallel=parallel),
                    other.run(MODEL, "Hi", tools=[weather], parallel=parallel),
                    plain.stream(MODEL, "Hi"),
                ]
                given: dict[int, list[Chunk]] = {id(run): [] for run in runs}
                with bounded():
                    for stream, chunk in streamkit.merge(runs):
                        given[id(stream)].append(chunk)
            for run in runs:
                assert run.status == "complete"
                assert "".join(chunk.text for chunk in given[id(run)]) == "It is 12."
            assert kinds(given[id(runs[0])]) == ["tool_call", "tool_result", "text", "done"]

    def test_merge_waits_for_no_function(self) -> None:
        """While a function of one run waits in a thread, the chunks of another come."""
        go = threading.Event()

        def work() -> str:
            wait(go)
            return "done"

        with served(tool_call_reply("work", {}), DONE) as (client, _), served(text_reply("a b c")) as (plain, _):
            run, stream = client.run(MODEL, "Hi", tools=[work], parallel=2), plain.stream(MODEL, "Hi")
            streams: list[Any] = [run, stream]
            for source, chunk in streamkit.merge(streams):
                if source is stream and chunk.finished:
                    go.set()
            assert (run.status, stream.status, run.text) == ("complete", "complete", "It is 12.")

    def test_a_call_limit_in_merge(self) -> None:
        """A function whose time is over is left although nothing else wakes the loop."""
        go = threading.Event()

        def work() -> str:
            wait(go)
            return "done"

        with served(tool_call_reply("work", {}), DONE) as (client, server):
            run = client.run(MODEL, "Hi", tools=[work], limits=RunLimits(call_seconds=0.01))
            with bounded():
                for _ in streamkit.merge([run]):
                    pass
            go.set()
        assert "still running" in told(server)[0]

    def test_first(self) -> None:
        """``first`` returns the run that has a chunk first, loses none of its chunks, and cancels the other."""
        with served(text_reply("never").first(0).then(Wait(None))) as (slow, _), served(OSLO, DONE) as (quick, _):
            runs = [slow.run(MODEL, "Hi", tools=[weather]), quick.run(MODEL, "Hi", tools=[weather])]
            winner = streamkit.first(runs)
            assert winner is runs[1]
            assert runs[0].status == "cancelled"
            assert "".join(winner.iter_text()) == "Let me look.It is 12."

    def test_two_threads_at_one_run(self) -> None:
        """A second thread that takes chunks meanwhile gets a MisuseError, and the first one's loop goes on."""
        inside, go = threading.Event(), threading.Event()

        def work() -> str:
            inside.set()
            wait(go)
            return "done"

        with served(tool_call_reply("work", {}), DONE) as (client, _):
            run = client.run(MODEL, "Hi", tools=[work])
            loop = Task(lambda: list(run))
            wait(inside)
            with pytest.raises(MisuseError, match="iterated already"):
                run.recv()
            with pytest.raises(MisuseError, match="iterated already"):
                next(run)
            assert run.status == "open"
            go.set()
            assert loop.result()[-1].finished

    def test_many_threads_at_one_run(self) -> None:
        """However the threads meet, each either gets chunks or a MisuseError, and no chunk comes twice."""
        with served(text_reply("word " * 300), DONE) as (client, _):
            run, start = client.run(MODEL, "Hi", tools=[weather]), threading.Barrier(4)

            def take() -> list[Chunk]:
                start.wait(SOON)
                taken = []
                while run.status == "open":
                    try:
                        taken.append(run.recv())
                    except MisuseError:
                        pass
                    except ChannelClosed:
                        break
                return taken

            parts = [task.result() for task in [Task(take) for _ in range(4)]]
        assert run.status == "complete"
        assert sum(chunk.text == "word" or chunk.text == " word" for part in parts for chunk in part) == 300

    def test_a_function_that_iterates_its_own_run(self) -> None:
        """It gets a MisuseError, and the run goes on."""
        runs: list[Run] = []

        def work() -> str:
            return str(next(runs[0]))

        with served(tool_call_reply("work", {}), DONE) as (client, server):
            runs.append(client.run(MODEL, "Hi", tools=[work]))
            assert runs[0].collect().text == "It is 12."
        assert "iterated already" in told(server)[0]

    def test_hints(self) -> None:
        """Names of other libraries' runs are answered with ours."""
        with served(DONE) as (client, _):
            run = client.run(MODEL, "Hi")
            with pytest.raises(AttributeError, match=r"run\.messages"):
                _ = run.new_messages  # type: ignore[attr-defined]
            run.collect()
            assert repr(run).startswith("<Run ")


class TestObservers:
    def test_each_is_told_once(self) -> None:
        """Streams are reported as before, each with its run and round; the run itself at its start and its end."""
        observer = Told()
        with served(OSLO, DONE, observers=[observer]) as (client, _):
            run = client.run(MODEL, "Hi", tools=[weather])
            run.collect()
        assert observer.events == [
            "run open",
            "stream 0 started",
            "stream 0 complete",
            "stream 1 started",
            "stream 1 complete",
            "run complete",
        ]
        assert {report.run for report in observer.streams} == {observer.runs[0].id}
        (report,) = observer.runs
        assert (report.completion, report.rounds, report.model) == (run.completion, run.rounds, "m")
        assert report.stats.attempts == 2

    def test_usage_is_counted_once(self) -> None:
        """A tracker counts each request, and not the run again."""
        tracker = UsageTracker()
        with served(OSLO, DONE, observers=[tracker]) as (client, _):
            run = client.run(MODEL, "Hi", tools=[weather])
            run.collect()
        assert (tracker.totals().streams, tracker.totals().total_tokens) == (2, run.completion.usage.total_tokens)

    def test_observers_without_methods_for_runs(self) -> None:
        """An observer made for streams alone is told of these."""

        class Old:
            seen: ClassVar[list[str]] = []

            def stream_started(self, report: object) -> None: ...

            def stream_ended(self, report: object) -> None:
                self.seen.append("ended")

        with served(OSLO, DONE, observers=[Old()]) as (client, _):
            client.run(MODEL, "Hi", tools=[weather]).collect()
        assert Old.seen == ["ended", "ended"]

    def test_stats(self) -> None:
        """The figures are those of all streams together."""
        with served(OSLO, DONE) as (client, server):
            run = client.run(MODEL, "Hi", tools=[weather])
            chunks = list(run)
        assert run.stats.attempts == 2
        assert run.stats.chunks == len(chunks)  # one result more, one ``done`` less
        assert run.response is not None
        assert run.stats.time_to_first_chunk is not None
        assert len(server.requests) == 2


class TestEnds:
    @pytest.mark.parametrize("kind", [StopEvent, threading.Event])
    def test_a_stop_event(self, kind: type[threading.Event]) -> None:
        """A stop event ends the run at the next step, and nothing new starts."""
        stop, (step, seen) = kind(), recorder()
        with served(tool_call_reply("step", {"number": 1}, *numbered(3)), DONE) as (client, server):
            run = client.run(MODEL, "Hi", tools=[step], stop=stop)  # type: ignore[arg-type]
            for chunk in run:
                if chunk.tool_result:
                    stop.set()
            assert (run.status, seen, len(server.requests)) == ("cancelled", [1], 1)
            if isinstance(stop, StopEvent):
                assert "0 streams" in repr(stop)

    @pytest.mark.parametrize("kind", [StopEvent, threading.Event])
    def test_a_stop_event_that_is_set_already(self, kind: type[threading.Event]) -> None:
        """A run that is started with it ends before anything is sent, and its history is empty."""
        stop, observer = kind(), Told()
        stop.set()
        with served(DONE, observers=[observer]) as (client, server):
            run = client.run(MODEL, "Hi", tools=[weather], stop=stop)  # type: ignore[arg-type]
            assert (list(run), run.status, run.messages) == ([], "cancelled", [])
            assert server.connections == 0
            assert observer.events == ["run open", "run cancelled"]
            if isinstance(stop, StopEvent):
                assert "0 streams" in repr(stop)

    @pytest.mark.parametrize("kind", [StopEvent, threading.Event])
    @pytest.mark.parametrize("where", ["stream", "function"])
    def test_a_stop_event_while_the_loop_waits(self, kind: type[threading.Event], where: str) -> None:
        """Set by another thread, it wakes a loop that waits for the server or for functions in threads."""
        stop, inside, go = kind(), threading.Event(), threading.Event()

        def work(context: ToolContext) -> str:
            inside.set()
            wait(context.stop)
            return "stopped"

        silent = text_reply("Hello").first(2).then(Mark(inside), WaitFor(go))
        reply = tool_call_reply("work", {}) if where == "function" else silent
        with served(reply, DONE) as (client, server):
            run = client.run(MODEL, "Hi", tools=[work], stop=stop, parallel=2)  # type: ignore[arg-type]
            loop = Task(lambda: list(run))
            wait(inside)
            stop.set()
            loop.result()
            go.set()
            assert (run.status, len(server.requests)) == ("cancelled", 1)

    def test_one_event_for_many_runs(self) -> None:
        """One StopEvent ends all runs that were started with it; it keeps none of them alive."""
        stop = StopEvent()
        with served(text_reply("Hello").first(2).then(Wait(None))) as (client, _):
            runs = [client.run(MODEL, "Hi", tools=[weather], stop=stop) for _ in range(3)]
            for run in runs:
                next(run)
            stop.set()
            assert [list(run) for run in runs] == [[], [], []]
            assert {run.status for run in runs} == {"cancelled"}
            assert "0 streams" in repr(stop)

    def test_closing_the_client(self) -> None:
        """``client.close()`` cancels open runs, in a function as well; no further request is made."""
        closers: list[Callable[[], None]] = []

        def work() -> str:
            closers[0]()
            return "done"

        with served(tool_call_reply("work", {}), DONE) as (client, server):
            closers.append(client.close)
            run = client.run(MODEL, "Hi", tools=[work])
            list(run)
            assert (run.status, len(server.requests)) == ("cancelled", 1)
            assert [message.role for message in run.messages] == ["assistant", "tool"]
            with pytest.raises(ConfigError, match="closed"):
                client.run(MODEL, "Hi", tools=[work])

    def test_dropping_the_last_reference(self) -> None:
        """A run that nobody holds ends without help, and its observers are told."""
        observer, gone = Told(), threading.Event()
        with served(text_reply("Hello").first(2).then(Mark(gone), Wait(None)), observers=[observer]) as (
            client,
            server,
        ):
            run = client.run(MODEL, "Hi", tools=[weather])
            next(run)
            del run
            gc.collect()
            wait(server.requests[0].gone)
            assert observer.events[-2:] == ["stream 0 cancelled", "run cancelled"]

    def test_the_loop_keeps_its_run(self) -> None:
        """A loop over a run that nothing else refers to goes to its end."""
        with served(OSLO, DONE) as (client, _):
            assert "".join(chunk.text for chunk in client.run(MODEL, "Hi", tools=[weather])) == "Let me look.It is 12."

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_forked_child(self) -> None:
        """A child's copy of a run raises MisuseError at once; dropping it there does not touch the parent's."""
        with served(OSLO, DONE) as (client, _):
            run = client.run(MODEL, "Hi", tools=[weather])
            next(run)
            reader, writer = os.pipe()
            child = os.fork()
            if not child:
                said = []
                for use in (lambda: next(run), lambda: list(run), run.cancel, run.close):
                    try:
                        use()
                        said.append("nothing")
                    except MisuseError:
                        said.append("misuse")
                said.append(run.status)
                client.close()
                del run
                gc.collect()
                os.write(writer, " ".join(said).encode())
                os._exit(0)
            os.close(writer)
            with open(reader) as pipe:
                assert pipe.read() == "misuse misuse misuse misuse open"
            os.waitpid(child, 0)
            assert run.collect().text == "It is 12."

    def test_a_run_inside_a_function(self) -> None:
        """A function may start a run of its own with ``stop=context.stop``; cancelling the outer one ends both."""
        inner: list[Run] = []
        inside = threading.Event()
        outer: list[Run] = []

        def research(context: ToolContext) -> str:
            inner.append(other.run(MODEL, "Look it up", tools=[weather], stop=context.stop))
            next(inner[0])
            inside.set()
            return inner[0].collect().text

        silent = text_reply("Hm").first(2).then(Wait(None))
        with served(tool_call_reply("research", {}), DONE) as (client, server), served(silent) as (other, _):
            outer.append(client.run(MODEL, "Hi", tools=[research]))
            loop = Task(lambda: list(outer[0]))
            wait(inside)
            outer[0].cancel()
            loop.result()
            assert (outer[0].status, inner[0].status, len(server.requests)) == ("cancelled", "cancelled", 1)
            assert "0 streams" in repr(outer[0]._loop.stop)
        with served(tool_call_reply("research", {}), DONE) as (client, server), served(OSLO, DONE) as (other, _):
            inner.clear()
            assert client.run(MODEL, "Hi", tools=[research]).collect().text == "It is 12."
            assert told(server) == ["It is 12."]

    def test_a_function_that_cancels_its_run(self) -> None:
        """The run ends, and the history has the result of the function that did it."""
        runs: list[Run] = []

        def quit() -> str:
            runs[0].cancel()
            return "bye"

        with served(tool_call_reply("quit", {}, ("quit", {})), DONE) as (client, server):
            runs.append(client.run(MODEL, "Hi", tools=[quit]))
            assert not [chunk for chunk in runs[0] if chunk.finished]
            assert runs[0].status == "cancelled"
            assert [result.state for result in runs[0].completion.tool_results] == ["finished", "not begun"]
            assert history(runs[0])[1] == ("tool", "bye")
            assert len(server.requests) == 1


class TestDeclaring:
    def test_functions_of_a_stream(self) -> None:
        """``client.stream(tools=[function])`` declares functions and Tools, and calls nothing."""
        called: list[str] = []

        def look(city: str) -> str:
            """Look."""
            called.append(city)
            return city

        own = {"type": "function", "function": {"name": "own", "parameters": {"type": "object"}, "x": 1}}
        with served(tool_call_reply("look", {"city": "Oslo"}), tool_call_reply("look", {})) as (client, server):
            completion = client.stream(MODEL, "Hi", tools=[look, Tool("hand", "By hand."), own]).collect()
            client.complete(MODEL, "Hi", tools=[look])
        declared = server.requests[0].json()["tools"]
        assert [each["function"]["name"] for each in declared] == ["look", "hand", "own"]
        assert declared[0]["function"]["description"] == "Look."
        assert list(declared[0]["function"]["parameters"]["properties"]) == ["city"]
        assert declared[2] == own
        assert (completion.tool_calls[0].name, completion.tool_results, called) == ("look", (), [])

    def test_a_tool_of_the_provider_s_own(self) -> None:
        """A dict that is no function goes on the wire as it is."""
        with served(DONE) as (client, server):
            client.run(MODEL, "Hi", tools=[weather, {"type": "custom", "custom": {"name": "c"}}]).collect()
        assert server.requests[0].json()["tools"][1] == {"type": "custom", "custom": {"name": "c"}}


class TestLogs:
    @pytest.mark.parametrize("parallel", [1, 2])
    @pytest.mark.parametrize("on_error", ["tell", "raise"])
    def test_no_arguments_and_no_results(self, caplog: pytest.LogCaptureFixture, parallel: int, on_error: Any) -> None:
        """Whatever happens, no log line has an argument or a result."""

        def work(city: str, context: ToolContext) -> str:
            context.report("SECRET report")
            if city == "SECRET fails":
                raise ValueError("SECRET failure")
            return f"SECRET result for {city}"

        caplog.set_level(logging.DEBUG)
        calls = [
            ("work", {"city": "SECRET two"}),
            ("work", '{"SECRET'),
            ("SECRET", {}),
            ("work", {"city": "SECRET fails"}),
        ]
        reply = tool_call_reply("work", {"city": "SECRET one"}, *calls)
        with served(reply, DONE, observers=[Told()]) as (client, _):
            run = client.run(MODEL, "Hi", tools=[work], parallel=parallel, on_error=on_error)
            if on_error == "raise":
                with pytest.raises(ToolError) as caught:
                    list(run)
                assert "SECRET" not in str(caught.value)
            else:
                list(run)
        assert "SECRET" not in caplog.text
        json.dumps(run.completion.to_dict())
