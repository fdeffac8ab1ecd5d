"""Traces and metrics of real streams, by OpenTelemetry's SDK in memory; and the log of streams."""

from __future__ import annotations

import gc
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from streamkit import (
    Client,
    LogStreams,
    Retry,
    StopEvent,
    Stream,
    StreamError,
    Telemetry,
    Timeout,
    ToolContext,
    providers,
)
from streamkit.observing.content import input_messages, system_instructions
from streamkit.testing import Cut, Reply, Server, Wait, chunk_event, error_reply, text_reply, tool_call_reply
from tests.unit.run_support import MODEL, served, wait
from tests.unit.support import Task

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from tests.telemetry_support import Memory, about, id_of, parent_of

HELLO = chunk_event("Hello")
SECRET = "a secret of the prompt"
SILENT = Reply([HELLO, Wait(None)])


def take_all(stream: Stream) -> None:
    for _ in stream:
        pass


def taking_fails(stream: Stream) -> None:
    with pytest.raises(StreamError):
        take_all(stream)


def cancelled(stream: Stream) -> None:
    next(stream)
    stream.cancel()


def broken_off(stream: Stream) -> None:
    for _ in stream:
        break


class Interrupted(BaseException):
    """As Ctrl-C is."""


def interrupted(stream: Stream) -> None:
    try:
        for _ in stream:
            raise Interrupted
    except Interrupted:
        pass


ENDS: dict[str, tuple[Reply, Callable[[Stream], None], str, str | None]] = {
    "complete": (text_reply("Hello there"), take_all, "complete", None),
    "length": (text_reply("Hello", finish_reason="length"), take_all, "complete", None),
    "refused": (error_reply(401), taking_fails, "error", "AuthenticationError"),
    "no answer": (Reply([Cut()], framing="chunked"), taking_fails, "truncated", "TruncatedStreamError"),
    "torn": (text_reply("Hello").first(2).then(Cut()), taking_fails, "truncated", "TruncatedStreamError"),
    "timeout": (SILENT, taking_fails, "timeout", "StreamTimeout"),
    "cancel": (SILENT, cancelled, "cancelled", None),
    "break": (SILENT, broken_off, "cancelled", None),
    "an exception in the loop": (SILENT, interrupted, "cancelled", None),
}


@pytest.mark.parametrize("end", ENDS)
def test_each_end_of_a_stream_is_one_span(end: str) -> None:
    """However a stream ends, one span stands for it, with its status, and only a failure is an error."""
    reply, consume, status, error = ENDS[end]
    memory = Memory()
    timeout = Timeout(idle=0.2) if end == "timeout" else None
    with served(reply, observers=[memory.telemetry], timeout=timeout) as (client, _):
        consume(client.stream(MODEL, "Hi"))
    (span,) = memory.spans
    assert ("chat m", SpanKind.CLIENT) == (span.name, span.kind)
    attributes = about(span)
    assert (status, error) == (attributes["streamkit.status"], attributes.get("error.type"))
    assert (StatusCode.ERROR if error else StatusCode.UNSET) == span.status.status_code
    assert 1 == memory.counted("gen_ai.client.operation.duration")
    assert "<Telemetry 0 open spans>" == repr(memory.telemetry)


def test_streams_that_others_end_are_one_span_each() -> None:
    """A stream that is dropped, one whose stop event is set and one whose client is closed have a span each."""
    memory, stop = Memory(), StopEvent()
    with served(SILENT, observers=[memory.telemetry]) as (client, _):
        streams = [client.stream(MODEL, "Hi", stop=stop), client.stream(MODEL, "Hi"), client.stream(MODEL, "Hi")]
        for stream in streams:
            next(stream)
        stop.set()
        del streams[-1], stream
        gc.collect()
        assert 2 == len(memory.counts.ended)
    assert ["cancelled"] * 3 == [about(span)["streamkit.status"] for span in memory.spans]
    assert [["cancelled"]] * 3 == [list(about(span)["gen_ai.response.finish_reasons"]) for span in memory.spans]


def test_what_a_span_has() -> None:
    """A span has the request's parameters, the answer's figures and the server; metrics have the same."""
    memory = Memory()
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "cost": 0.25}
    with served(text_reply("one two three", usage=usage), observers=[memory.telemetry]) as (client, server):
        stream = client.stream(MODEL, "Hi", temperature=0.5, max_tokens=9, seed=4, stop_sequences=["x"])
        stream.collect()
        port = int(server.url.split(":")[2].split("/")[0])
    attributes = about(memory.span("chat m"))
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.seed": 4,
        "gen_ai.request.stop_sequences": ("x",),
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "server.address": "127.0.0.1",
        "server.port": port,
        "streamkit.cost": 0.25,
        "streamkit.cost_source": "provider",
        "streamkit.attempts": 1,
    }
    assert expected == {name: attributes.get(name) for name in expected}
    stats = stream.stats
    assert stats.time_to_first_chunk == attributes["gen_ai.response.time_to_first_chunk"]
    points = memory.points()
    tokens = {dict(point.attributes)["gen_ai.token.type"]: point.sum for point in points["gen_ai.client.token.usage"]}
    assert {"input": 7, "output": 3} == tokens
    assert [0.25] == [point.value for point in points["streamkit.cost"]]
    (first,), (each,) = (
        points[f"gen_ai.client.operation.{name}"] for name in ("time_to_first_chunk", "time_per_output_chunk")
    )
    assert (1, stats.time_to_first_chunk, 1) == (first.count, first.sum, each.count)
    assert "openai" == dict(first.attributes)["gen_ai.provider.name"]


def test_the_caches_tokens_are_input() -> None:
    """Tokens of a provider's cache count as input, also where the provider counts them apart, as Anthropic does."""
    from streamkit.observing.telemetry import _answer
    from streamkit.values.chunks import Usage
    from streamkit.values.completion import Completion

    apart = _answer(Completion(usage=Usage(10, 5, cached_tokens=100, cache_write_tokens=20, cached_apart=True)), None)
    within = _answer(Completion(usage=Usage(130, 5, cached_tokens=100)), None)
    assert [130, 130] == [each["gen_ai.usage.input_tokens"] for each in (apart, within)]


def weather(city: str) -> str:
    """Return the weather."""
    return f"It rains in {city}."


def run_of(memory: Memory, *replies: Reply, **options: Any) -> None:
    with served(*replies, observers=[memory.telemetry]) as (client, _):
        client.run(MODEL, SECRET, **{"tools": [weather], **options}).collect()


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_run_is_above_its_streams_and_tools(parallel: int) -> None:
    """Streams and calls are below the run's span, the run below the caller's, and a function's own spans below it."""
    memory = Memory()
    tracer = memory.tracers.get_tracer("test")
    inside: list[int] = []

    def looks() -> str:
        with tracer.start_as_current_span("own") as span:
            inside.append(span.get_span_context().span_id)
        return "seen"

    with tracer.start_as_current_span("caller"):
        run_of(memory, tool_call_reply("looks", {}), text_reply("Done."), tools=[looks], parallel=parallel)
    caller, run, call, own = (memory.span(name) for name in ("caller", "invoke_agent", "execute_tool looks", "own"))
    streams = [span for span in memory.spans if span.name == "chat m"]
    assert id_of(caller) == parent_of(run)
    assert [id_of(run)] * 3 == [parent_of(span) for span in (*streams, call)]
    assert (id_of(call), inside) == (parent_of(own), [id_of(own)])
    assert 1 == len({span.get_span_context().trace_id for span in memory.spans})  # type: ignore[union-attr]
    assert [0, 1] == sorted(about(span)["streamkit.run.round"] for span in streams)
    assert (2, "complete") == (about(run)["streamkit.run.rounds"], about(run)["streamkit.status"])
    assert ("function", "call_1") == (about(call)["gen_ai.tool.type"], about(call)["gen_ai.tool.call.id"])
    assert 1 == memory.counted("gen_ai.execute_tool.duration") == memory.counted("gen_ai.invoke_agent.duration")


def test_a_tool_that_fails_is_an_error() -> None:
    """The span of a call has the class of what the function raised, and not its text."""

    def fails() -> str:
        raise LookupError(SECRET)

    memory = Memory()
    run_of(memory, tool_call_reply("fails", {}), text_reply("Done."), tools=[fails])
    span = memory.span("execute_tool fails")
    assert ("LookupError", StatusCode.ERROR) == (about(span)["error.type"], span.status.status_code)
    assert SECRET not in span.to_json()


@pytest.mark.parametrize("way", ["cancelled", "over its time"])
def test_a_tool_that_is_left_running_has_one_span(way: str) -> None:
    """A function that goes on after its run was cancelled, or after its time, has one span, which says so."""
    from streamkit import RunLimits

    memory, begun, free, ended = Memory(), threading.Event(), threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        wait(free)
        ended.set()
        return "late"

    limits = RunLimits(call_seconds=0.05) if way == "over its time" else None
    with served(tool_call_reply("slow", {}), text_reply("Done."), observers=[memory.telemetry]) as (client, _):
        run = client.run(MODEL, "Hi", tools=[slow], parallel=2, limits=limits)
        if way == "cancelled":
            task = Task(lambda: list(run))
            wait(begun)
            run.cancel()
            task.result()
        else:
            run.collect()
        span = memory.span("execute_tool slow")
        free.set()
        wait(ended)
    assert "running" == about(span)["streamkit.tool.state"]
    assert (None if way == "cancelled" else "timeout") == about(span).get("error.type")
    assert span is memory.span("execute_tool slow")
    ends = {each.name: each.end_time or 0 for each in memory.spans}
    assert ends["execute_tool slow"] <= ends["invoke_agent"]


def test_nothing_of_what_is_said_is_kept() -> None:
    """Without ``content`` no span has a prompt, a reply, arguments, a result, or the text of an error."""
    memory = Memory()
    replies = [tool_call_reply("weather", {"city": "Oslo"}), text_reply("the reply"), error_reply(400, message=SECRET)]
    with served(*replies, observers=[memory.telemetry]) as (client, _):
        client.run(MODEL, SECRET, tools=[weather]).collect()
        with pytest.raises(StreamError, match=SECRET):
            client.complete(MODEL, SECRET)
    shown = "".join(span.to_json() for span in memory.spans)
    for word in (SECRET, "Oslo", "rains", "the reply"):
        assert word not in shown


def test_content_is_kept_where_it_is_asked_for() -> None:
    """With ``content`` the spans have prompts, replies, arguments and results in the conventions' shape."""
    memory = Memory(content=True)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": SECRET}]
    replies = [tool_call_reply("weather", {"city": "Oslo"}), text_reply("the reply")]
    with served(*replies, observers=[memory.telemetry]) as (client, _):
        client.run(MODEL, messages, tools=[weather]).collect()
    first, second = (about(span) for span in memory.spans if span.name == "chat m")
    asked = [{"role": "user", "parts": [{"type": "text", "content": SECRET}]}]
    assert asked == json.loads(first["gen_ai.input.messages"])
    assert [{"type": "text", "content": "Be brief."}] == json.loads(first["gen_ai.system_instructions"])
    (said,) = json.loads(first["gen_ai.output.messages"])
    (call,) = said["parts"]
    assert ("tool_call", "weather", {"city": "Oslo"}) == (call["type"], call["name"], call["arguments"])
    assert "tool_calls" == said["finish_reason"]
    assert "tool_call_response" == json.loads(second["gen_ai.input.messages"])[-1]["parts"][0]["type"]
    assert "the reply" == json.loads(second["gen_ai.output.messages"])[0]["parts"][0]["content"]
    assert "weather" in first["gen_ai.tool.definitions"]
    tool = about(memory.span("execute_tool weather"))
    assert {"city": "Oslo"} == json.loads(tool["gen_ai.tool.call.arguments"])
    assert "It rains in Oslo." == tool["gen_ai.tool.call.result"]


def test_content_of_any_shape() -> None:
    """Files and images are named and not kept; an empty message has no parts."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages: list[dict[str, Any]] = [
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": [{"type": "text", "text": "See"}, image, "odd"]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}, "odd"]},
        {"role": "tool", "tool_call_id": "1", "content": [image]},
    ]
    user, assistant, tool = input_messages(messages)
    assert [{"type": "text", "content": "See"}, {"type": "image_url"}] == user["parts"]
    assert ["f"] == [part["name"] for part in assistant["parts"]]
    assert [{"type": "image_url"}] == tool["parts"][0]["response"]
    assert [{"type": "text", "content": "Be kind."}] == system_instructions(messages)


def test_routes_are_below_their_stream() -> None:
    """Of several routes each that was tried has a span below the stream's, with the error's class, in order."""
    memory = Memory()
    with Server(error_reply(500)) as bad, Server(text_reply("Hello.")) as good:
        made = [providers.OpenAICompatible(name, server.url, "k") for name, server in (("one", bad), ("two", good))]
        with Client(made, retry=Retry(1), observers=[memory.telemetry]) as client:
            client.complete(["one/m", "two/n"], "Hi")
    stream, one, two = (memory.span(name) for name in ("chat m", "route one/m", "route two/n"))
    assert [id_of(stream)] * 2 == [parent_of(one), parent_of(two)]
    assert ("ServerError", None) == (about(one)["error.type"], about(two).get("error.type"))
    assert "two" == about(stream)["gen_ai.provider.name"]
    assert one.start_time == stream.start_time
    assert one.end_time == two.start_time


def test_the_reader_has_the_callers_context() -> None:
    """What the reader's thread reports is below the stream's span; the caller's own context does not change."""
    memory, seen = Memory(), []

    def spying(chat: Any) -> Any:
        seen.append((threading.current_thread().name, trace.get_current_span(), contexts.get_value("mine")))
        return decoder(chat)

    with Server(text_reply("Hello.")) as server:
        spied: Any = providers.OpenAI(api_key="k", base_url=server.url)
        decoder = spied.decoder
        spied.decoder = spying
        token = contexts.attach(contexts.set_value("mine", 42))
        try:
            with Client([spied], observers=[memory.telemetry]) as client:
                client.complete(MODEL, "Hi")
            assert not trace.get_current_span().get_span_context().is_valid
        finally:
            contexts.detach(token)
    ((thread, span, mine),) = seen
    assert thread.startswith("streamkit-")
    assert (id_of(memory.span("chat m")), 42) == (span.get_span_context().span_id, mine)


def test_an_end_within_the_sdk_does_not_wait_for_its_locks() -> None:
    """A stream that a signal handler or the garbage collector ends within the SDK is ended by another thread."""
    memory = Memory()

    class Cancels(list[Any]):
        """The exporter's spans: it is called while the exporter has its lock, which is not reentrant."""

        def extend(self, spans: Iterable[Any]) -> None:
            stream.cancel()
            super().extend(spans)

    with served(SILENT, observers=[memory.telemetry]) as (client, _):
        stream = client.stream(MODEL, "Hi")
        next(stream)
        memory.keep_in(Cancels())
        Task(lambda: memory.tracers.get_tracer("test").start_span("outer").end()).result()
        for thread in threading.enumerate():
            if thread.name == "streamkit-telemetry":
                thread.join()
    assert "cancelled" == about(memory.span("chat m"))["streamkit.status"]


def test_where_nothing_is_recorded_nothing_happens() -> None:
    """Without an SDK a stream with telemetry is as without."""
    with served(text_reply("Hello."), observers=[Telemetry(content=True)]) as (client, _):
        assert "Hello." == client.complete(MODEL, "Hi").text


EXIT = """
import streamkit
from streamkit import Telemetry, providers
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
{before}
tracers = TracerProvider()
tracers.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
client = streamkit.Client(
    [providers.OpenAI(api_key="k", base_url={url!r})], observers=[Telemetry(tracers)], timeout=None
)
stream = client.stream("openai/m", "Hi")
next(stream)
{after}
"""
FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")
sys.stdout.flush()
if os.fork() == 0:
    sys.exit(0)
assert os.wait()[1] == 0
stream.cancel()
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("import tempfile; kept = tempfile.TemporaryDirectory()", ""),
        ("", "raise SystemExit(0)"),
        pytest.param("", FORK, marks=pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")),
    ],
    ids=["exit", "finalizers first", "SystemExit", "fork"],
)
def test_the_end_of_the_process(before: str, after: str) -> None:
    """A stream that is open when the interpreter exits has its span; a forked child reports none of the parent's."""
    with Server(SILENT) as server:
        code = EXIT.format(url=server.url, before=before, after=after)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (0, "") == (done.returncode, done.stderr)
    assert 1 == done.stdout.count('"name": "chat m"')
    assert '"streamkit.status": "cancelled"' in done.stdout


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenTelemetry the error names the extra."""
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import streamkit\n"
        "try:\n    streamkit.Telemetry()\nexcept streamkit.ConfigError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "streamkit[otel]" in done.stdout, done.stderr


def test_one_line_a_stream(caplog: pytest.LogCaptureFixture) -> None:
    """The log has one line a stream with its figures, and nothing of what was said."""
    caplog.set_level(logging.INFO, "streamkit.streams")
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "cost": 0.25}
    replies = [text_reply("the reply", usage=usage), error_reply(400, message=SECRET), SILENT]
    with served(*replies, observers=[LogStreams(failed=logging.WARNING)]) as (client, _):
        client.complete(MODEL, SECRET)
        with pytest.raises(StreamError):
            client.complete("openai/odd\nname", SECRET)
        with client.stream(MODEL, SECRET) as stream:
            next(stream)
    records = [record for record in caplog.records if record.name == "streamkit.streams"]
    one, two, three = (record.getMessage() for record in records)
    assert one.startswith("openai/m complete, stop, 7+3 tokens, $0.250000, ")
    assert "first chunk" in one
    assert two.startswith("openai/odd?name error, BadRequestError, ")
    assert three.startswith("openai/m cancelled, ")
    assert [logging.INFO, logging.WARNING, logging.INFO] == [record.levelno for record in records]
    assert (7, "complete") == (records[0].__dict__["stream_input_tokens"], records[0].__dict__["stream_status"])
    assert all(word not in caplog.text for word in (SECRET, "the reply"))


def test_a_logger_that_is_off_costs_no_line() -> None:
    """A logger of one's own is used, at the level it has."""
    logger = logging.getLogger("tests.own")
    logger.setLevel(logging.WARNING)
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    observers = [LogStreams(logger), LogStreams(logger, level=logging.WARNING)]
    with served(text_reply("Hello."), observers=observers) as (client, _):
        client.complete(MODEL, "Hi")
    assert 1 == len(lines)
    logger.removeHandler(handler)


def test_calls_are_told_once_however_they_end() -> None:
    """An observer hears of the start and the end of each call of a function, the end before that of its run."""
    from streamkit import Observer, RunReport, ToolReport

    told: list[str] = []

    class Tells(Observer):
        def tool_started(self, report: ToolReport) -> None:
            told.append(f"{report.call.name} started {report.result}")

        def tool_ended(self, report: ToolReport) -> None:
            assert report.result is not None
            told.append(f"{report.call.name} {report.result.state} {report.result.error} {report.error!r}")

        def run_ended(self, report: RunReport) -> None:
            told.append(f"run {report.status}")

    def stops(context: ToolContext) -> str:
        run.cancel()
        return "never"

    calls = tool_call_reply("weather", {"city": "Oslo"}, ("nothing", {}), ("weather", {"town": 1}), ("stops", {}))
    with served(calls, observers=[Tells()]) as (client, _):
        run = client.run(MODEL, "Hi", tools=[weather, stops])
        list(run)
    assert told == [
        "weather started None",
        "weather finished None None",
        "stops started None",
        "stops running cancelled None",
        "run cancelled",
    ]


def test_observers_of_other_classes() -> None:
    """An observer of no class of ours, without the methods for calls, is left alone."""

    class Plain:
        def stream_started(self, report: Any) -> None: ...

        def stream_ended(self, report: Any) -> None: ...

    plain: Any = Plain()
    with served(tool_call_reply("weather", {"city": "Oslo"}), text_reply("."), observers=[plain]) as (client, _):
        assert "." == client.run(MODEL, "Hi", tools=[weather]).collect().text
