"""``Telemetry``: traces and metrics of streams, runs and tools by OpenTelemetry's conventions for generative AI.

Source: OpenTelemetry's semantic conventions for generative AI (spans, agent spans, metrics), which are still in
development, read 2026-11-27.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from streamkit.errors import ConfigError
from streamkit.observing.content import input_messages, output_messages, system_instructions
from streamkit.observing.observers import Observer, Report, RunReport, Stats, ToolReport, TriedRoute
from streamkit.observing.status import Status
from streamkit.values.chunks import Usage
from streamkit.values.completion import Completion
from streamkit.version import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

try:
    from opentelemetry import context as contexts
    from opentelemetry import metrics, trace
    from opentelemetry.trace import SpanKind, StatusCode
except ImportError:
    _INSTALLED = False
else:
    _INSTALLED = True

__all__ = ["Telemetry"]

_SDK = "opentelemetry.sdk"
_REMEMBERED = 256  # ends; a method is called again within microseconds, and as many threads may end streams meanwhile
_SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
_TOKENS = [4**power for power in range(14)]
# The conventions' names of providers, where they are not ours.
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "gemini-interactions": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "openai-responses": "openai",
    "openai-completions": "openai",
    "xai": "x_ai",
}
_OPERATIONS = {"gemini": "generate_content", "openai-completions": "text_completion"}
# Parameters of a request that have an attribute, and the type of its value.
_PARAMETERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "max_tokens": ("max_tokens", int),
    "max_completion_tokens": ("max_tokens", int),
    "temperature": ("temperature", float),
    "top_p": ("top_p", float),
    "top_k": ("top_k", float),
    "frequency_penalty": ("frequency_penalty", float),
    "presence_penalty": ("presence_penalty", float),
    "seed": ("seed", int),
}
_FAILED: tuple[Status, ...] = ("truncated", "timeout", "error")

Attributes = dict[str, Any]


@attrs.define(eq=False)
class _Open:
    """A span that was started.

    Owner of the fields: whoever ends the span writes ``routes`` and ``ended``, after what they say. The others never
    change.
    """

    span: Span
    started_ns: int
    attributes: Attributes  # those that its metrics have as well
    pid: int = attrs.field(factory=os.getpid)
    routes: int = 0  # those whose spans have ended
    ended: bool = False


class Telemetry(Observer):
    """Reports streams, runs and tools to OpenTelemetry: spans, and metrics, by its conventions for generative AI.

    ::

        client = Client(observers=[Telemetry()])

    **Spans**: ``chat MODEL`` for a stream; where it had several routes, ``route PROVIDER/MODEL`` for each that was
    tried; ``invoke_agent`` for a run with tools, and below it its streams, and ``execute_tool NAME`` for each call of a
    function. Each ends exactly once, however what it stands for ends. The parent is the span that is current where the
    stream or the run is started. In the thread that reads the stream, and in a function that is called, their own span
    is current: what another instrumentation reports there is below it.

    **Metrics**: ``gen_ai.client.operation.duration``, ``gen_ai.client.token.usage``,
    ``gen_ai.client.operation.time_to_first_chunk``, ``gen_ai.client.operation.time_per_output_chunk`` (one value a
    stream, the mean of its chunks, so that a chunk costs nothing), ``gen_ai.execute_tool.duration``,
    ``gen_ai.invoke_agent.duration``, and ``streamkit.cost`` in USD.

    A failure has ``error.type``: the name of the error's class, such as ``RateLimitError``. A stream that was
    cancelled has not failed: its finish reason is ``cancelled``.

    Args:
        tracer_provider: ``None`` for the global one.
        meter_provider: ``None`` for the global one.
        content: whether spans have prompts, replies, arguments and results of tools, and the texts of errors, in which
            a provider may quote them.

    Raises:
        ConfigError: opentelemetry-api is not installed.

    Threads: safe to share.
    """

    repeatable = True

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        *,
        content: bool = False,
    ) -> None:
        if not _INSTALLED:
            raise ConfigError("Telemetry needs opentelemetry-api: pip install 'streamkit[otel]'")
        self._content = content
        self._tracer = trace.get_tracer("streamkit", __version__, tracer_provider)
        meter = metrics.get_meter("streamkit", __version__, meter_provider)

        def seconds(name: str, description: str) -> metrics.Histogram:
            return meter.create_histogram(
                name, unit="s", description=description, explicit_bucket_boundaries_advisory=_SECONDS
            )

        self._duration = seconds("gen_ai.client.operation.duration", "GenAI operation duration.")
        self._first = seconds("gen_ai.client.operation.time_to_first_chunk", "Time to receive the first chunk.")
        self._per_chunk = seconds("gen_ai.client.operation.time_per_output_chunk", "Time per output chunk.")
        self._tool_duration = seconds("gen_ai.execute_tool.duration", "Duration of a tool's execution.")
        self._run_duration = seconds("gen_ai.invoke_agent.duration", "Duration of a run with tools.")
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._cost = meter.create_counter("streamkit.cost", unit="{USD}", description="Cost of the replies.")
        # Open spans. No lock, as a forked child could inherit it locked. Each single operation on a dict is atomic.
        self._streams: dict[int, _Open] = {}
        self._runs: dict[int, _Open] = {}
        self._calls: dict[tuple[int, str], _Open] = {}
        self._ended: deque[tuple[str, object]] = deque(maxlen=_REMEMBERED)
        self._at_exit = False

    # -- starts ------------------------------------------------------------------------------------------

    def stream_started(self, report: Report) -> None:
        """Start the span of a stream, and make it the current one of its reader."""
        opened = self._streams.get(report.id)
        if opened is None:
            opened = self._streams[report.id] = self._start_stream(report)
        contexts.attach(trace.set_span_in_context(opened.span))

    def run_started(self, report: RunReport) -> None:
        """Start the span of a run."""
        if report.id not in self._runs:
            self._runs[report.id] = self._start_run(report)

    def tool_started(self, report: ToolReport) -> None:
        """Start the span of a call, and make it the current one of the function."""
        key = report.run, report.call.id
        opened = self._calls.get(key)
        if opened is None:
            opened = self._calls[key] = self._start_tool(report)
        contexts.attach(trace.set_span_in_context(opened.span))

    def _start_stream(self, report: Report) -> _Open:
        common = _common(report)
        attributes = {**common, "gen_ai.request.stream": True, **_asked(report.params)}
        if self._content and report.messages:
            attributes["gen_ai.input.messages"] = _json(input_messages(report.messages))
            instructions = system_instructions(report.messages)
            if instructions:
                attributes["gen_ai.system_instructions"] = _json(instructions)
            if report.params.get("tools"):
                attributes["gen_ai.tool.definitions"] = _json(report.params["tools"])
        name = f"{common['gen_ai.operation.name']} {report.model}"
        return self._start(name, SpanKind.CLIENT, report.stats.duration, attributes, common, report.run)

    def _start_run(self, report: RunReport) -> _Open:
        common = _of_model(report.provider, report.model)
        common["gen_ai.operation.name"] = "invoke_agent"
        return self._start("invoke_agent", SpanKind.INTERNAL, report.stats.duration, dict(common), common, None)

    def _start_tool(self, report: ToolReport) -> _Open:
        common = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": report.call.name,
            "gen_ai.tool.type": "function",
        }
        attributes = {**common, "gen_ai.tool.call.id": report.call.id}
        if self._content:
            attributes["gen_ai.tool.call.arguments"] = report.call.raw_arguments
        name = f"execute_tool {report.call.name}"
        return self._start(name, SpanKind.INTERNAL, report.seconds, attributes, common, report.run)

    def _start(
        self, name: str, kind: SpanKind, seconds: float, attributes: Attributes, common: Attributes, run: int | None
    ) -> _Open:
        """Start a span.

        Args:
            seconds: since what it stands for began.
            common: the attributes that its metrics have as well.
            run: the run that it is a part of.
        """
        if not self._at_exit:  # after the SDK's, which is made before the first stream: so it is called before that
            self._at_exit = True
            atexit.register(self._exit)
        started_ns = time.time_ns() - int(seconds * 1e9)
        above = self._runs.get(run) if run is not None else None
        parent: Context | None = None if above is None else trace.set_span_in_context(above.span)
        span = self._tracer.start_span(name, parent, kind, attributes, start_time=started_ns)
        return _Open(span, started_ns, common)

    # -- ends --------------------------------------------------------------------------------------------
    #
    # A method that was interrupted is called again. So a span is forgotten after it was ended, and that it was is kept
    # for a while. One that is not known, as its start was interrupted, is made anew.

    def stream_ended(self, report: Report) -> None:
        """End the span of a stream, and record its metrics."""
        _end(partial(self._end_stream, report))

    def run_ended(self, report: RunReport) -> None:
        """End the span of a run."""
        _end(partial(self._end_run, report))

    def tool_ended(self, report: ToolReport) -> None:
        """End the span of a call."""
        _end(partial(self._end_tool, report))

    def _end_stream(self, report: Report) -> None:
        opened = self._streams.get(report.id)
        if opened is None:
            if ("stream", report.id) in self._ended:
                return
            opened = self._streams[report.id] = self._start_stream(report)
        if not opened.ended:
            span, stats, completion = opened.span, report.stats, report.completion
            answered = _common(report)
            if completion.model:
                answered["gen_ai.response.model"] = completion.model
            error_type, cost = _error_type(report), completion.cost  # which is looked up in a list of prices
            if span.is_recording():
                self._end_routes(opened, stats.routes)
                span.set_attributes({**answered, **_answer(completion, cost), **_figures(stats), **_rest(report)})
                if self._content:
                    span.set_attribute("gen_ai.output.messages", _json(output_messages(completion)))
                self._set_status(span, error_type, report.error)
            self._finish(opened, opened.started_ns + int(stats.duration * 1e9))
            self._measure(report, answered, error_type, cost)
        self._ended.append(("stream", report.id))
        self._streams.pop(report.id, None)

    def _end_run(self, report: RunReport) -> None:
        opened = self._runs.get(report.id)
        if opened is None:
            if ("run", report.id) in self._ended:
                return
            opened = self._runs[report.id] = self._start_run(report)
        if not opened.ended:
            span, error_type = opened.span, _error_type(report)
            if span.is_recording():
                tried = _answer(report.completion, report.completion.cost)
                tried["streamkit.run.rounds"] = len(report.rounds)
                span.set_attributes({**tried, "streamkit.status": report.status})
                self._set_status(span, error_type, report.error)
            self._finish(opened, None)
            failed = {"error.type": error_type} if error_type else {}
            self._run_duration.record(report.stats.duration, {**opened.attributes, **failed})
        self._ended.append(("run", report.id))
        self._runs.pop(report.id, None)

    def _end_tool(self, report: ToolReport) -> None:
        key = report.run, report.call.id
        opened = self._calls.get(key)
        if opened is None:
            if ("call", key) in self._ended:
                return
            opened = self._calls[key] = self._start_tool(report)
        if not opened.ended:
            span, result = opened.span, report.result
            kind = result.error if result is not None else None
            error_type = type(report.error).__name__ if report.error is not None else kind
            if span.is_recording():
                if result is not None:
                    span.set_attribute("streamkit.tool.state", result.state)
                    if self._content:
                        span.set_attribute("gen_ai.tool.call.result", result.content)
                self._set_status(span, None if error_type == "cancelled" else error_type, report.error)
            self._finish(opened, None)
            failed = {"error.type": error_type} if error_type else {}
            self._tool_duration.record(report.seconds, {**opened.attributes, **failed})
        self._ended.append(("call", key))
        self._calls.pop(key, None)

    def _end_routes(self, opened: _Open, routes: Sequence[TriedRoute]) -> None:
        """Report the routes of a stream, where it had several, as spans below its own."""
        if len(routes) < 2:
            return
        parent, began = trace.set_span_in_context(opened.span), opened.started_ns
        for number, route in enumerate(routes):
            ended = began + int(route.seconds * 1e9)
            if number < opened.routes:
                began = ended
                continue
            provider, _, model = route.model.partition("/")
            attributes = {**_of_model(provider, model), "streamkit.attempts": route.attempts}
            tried = self._tracer.start_span(f"route {route.model}", parent, SpanKind.INTERNAL, attributes, None, began)
            if route.error or route.why:
                tried.set_attribute("error.type", route.error or "_OTHER")
                tried.set_status(StatusCode.ERROR, route.why if self._content else None)
            tried.end(ended)
            began, opened.routes = ended, number + 1

    def _set_status(self, span: Span, error_type: str | None, error: BaseException | None) -> None:
        if error_type is None:
            return
        span.set_attribute("error.type", error_type)
        status = getattr(error, "status", None)
        if isinstance(status, int):
            span.set_attribute("http.response.status_code", status)
        span.set_status(StatusCode.ERROR, str(error) if self._content and error is not None else None)

    def _finish(self, opened: _Open, end_ns: int | None) -> None:
        if opened.span.is_recording():  # or it was sampled out, or is ended already
            opened.span.end(end_ns)
        opened.ended = True

    def _measure(self, report: Report, answered: Attributes, error_type: str | None, cost: float | None) -> None:
        stats, completion = report.stats, report.completion
        self._duration.record(stats.duration, {**answered, "error.type": error_type} if error_type else answered)
        first = stats.time_to_first_chunk
        if first is not None:
            self._first.record(first, answered)
            if stats.chunks > 1 and report.status == "complete":
                self._per_chunk.record(max(0.0, stats.duration - first - stats.blocked) / (stats.chunks - 1), answered)
        for kind, count in (("input", _input_tokens(completion.usage)), ("output", completion.usage.output_tokens)):
            if count is not None:
                self._tokens.record(count, {**answered, "gen_ai.token.type": kind})
        if cost:
            self._cost.add(cost, answered)

    def _exit(self) -> None:
        """End what is open when the interpreter exits: what streams report later would come after the SDK's end."""
        pid = os.getpid()  # a forked child leaves the parent's spans to the parent
        for opened in (*self._calls.values(), *self._streams.values(), *self._runs.values()):
            if opened.pid == pid and not opened.ended:
                opened.span.set_attribute("streamkit.status", "cancelled")
                self._finish(opened, None)

    def __repr__(self) -> str:
        count = len(self._streams) + len(self._runs) + len(self._calls)
        return f"<Telemetry {count} open spans{', with content' if self._content else ''}>"


def _end(end: Callable[[], None]) -> None:
    """End a span, in another thread where this one is in the middle of the SDK.

    The SDK holds locks that are not reentrant. A signal handler or the garbage collector may end a stream in a thread
    that holds one.
    """
    if not _in_sdk():
        end()
        return
    with suppress(RuntimeError):  # out of threads, or the interpreter is shutting down, and _exit has ended the spans
        threading.Thread(target=end, name="streamkit-telemetry", daemon=True).start()


def _in_sdk() -> bool:
    """Return whether this thread is in the middle of a call of OpenTelemetry's SDK."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if str(frame.f_globals.get("__name__")).startswith(_SDK):
            return True
    return False


def _of_model(provider: str, model: str) -> Attributes:
    return {
        "gen_ai.operation.name": _OPERATIONS.get(provider, "chat"),
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
        "gen_ai.request.model": model,
    }


def _common(report: Report) -> Attributes:
    """Return the attributes that spans and metrics of a stream have."""
    attributes = _of_model(report.provider, report.model)
    with suppress(ValueError):
        url = urlsplit(report.address)
        if url.hostname:
            port = url.port or (80 if url.scheme == "http" else 443)
            attributes |= {"server.address": url.hostname, "server.port": port}
    return attributes


def _asked(params: Mapping[str, Any]) -> Attributes:
    """Return the attributes for the parameters of a request; a value of a wrong type has none."""
    found: Attributes = {}
    for name, (attribute, convert) in _PARAMETERS.items():
        value = params.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found[f"gen_ai.request.{attribute}"] = convert(value)
    stops = params.get("stop_sequences")
    if isinstance(stops, (list, tuple)) and all(isinstance(each, str) for each in stops):
        found["gen_ai.request.stop_sequences"] = list(stops)
    count = params.get("n")
    if isinstance(count, int) and count != 1:
        found["gen_ai.request.choice.count"] = count
    if params.get("response_format") is not None:
        found["gen_ai.output.type"] = "json"
    return found


def _answer(completion: Completion, cost: float | None) -> Attributes:
    """Return the attributes for a reply: finish reasons, usage, cost."""
    usage = completion.usage
    known: Attributes = {
        "gen_ai.response.id": completion.id or None,
        "gen_ai.response.model": completion.model or None,
        "gen_ai.usage.input_tokens": _input_tokens(usage),
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        "streamkit.cost": cost,
        "streamkit.cost_source": None if cost is None else "prices" if usage.cost is None else "provider",
    }
    reasons = [each.finish_reason for each in completion.choices[1:] if each.finish_reason is not None]
    if completion.finish_reason is not None:
        known["gen_ai.response.finish_reasons"] = [completion.finish_reason, *reasons]
    return {name: value for name, value in known.items() if value is not None}


def _input_tokens(usage: Usage) -> int | None:
    """Return the tokens of the prompt, those of the provider's cache included, as the conventions want them."""
    if usage.input_tokens is None or not usage.cached_apart:
        return usage.input_tokens
    return usage.input_tokens + (usage.cached_tokens or 0) + (usage.cache_write_tokens or 0)


def _figures(stats: Stats) -> Attributes:
    first = (
        {} if stats.time_to_first_chunk is None else {"gen_ai.response.time_to_first_chunk": stats.time_to_first_chunk}
    )
    return {**first, "streamkit.chunks": stats.chunks, "streamkit.attempts": stats.attempts}


def _rest(report: Report) -> Attributes:
    rest: Attributes = {"streamkit.status": report.status}
    if report.request_id:
        rest["streamkit.request_id"] = report.request_id
    if report.run is not None:
        rest["streamkit.run.round"] = report.round
    return rest


def _error_type(report: Report | RunReport) -> str | None:
    if report.error is not None:
        return type(report.error).__name__
    return "_OTHER" if report.status in _FAILED else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
