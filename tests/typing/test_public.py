"""The types of the public API; this file is only type-checked, never run.

If a type becomes wider, or `Any`, the type checker fails here.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import attrs

import streamkit
from streamkit import (
    APIError,
    Choice,
    Chunk,
    Client,
    Completion,
    ImagePart,
    InvalidOutputError,
    Message,
    MessageDict,
    Observer,
    ProtocolError,
    RateLimitError,
    RecvTimeout,
    Report,
    Retry,
    Stats,
    StopEvent,
    Stream,
    StreamCancelledError,
    StreamError,
    StreamTimeout,
    TextPart,
    Timeout,
    ToolCall,
    ToolCallDelta,
    Usage,
    providers,
)
from streamkit.values.problems import Problem
from streamkit.wire.http import ResponseInfo
from tests.typing.support import assert_type

if TYPE_CHECKING:
    Status = Literal["open", "complete", "suspended", "cancelled", "truncated", "timeout", "error"]
    FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "cancelled", "error", "other"]
    Kind = Literal["text", "reasoning", "refusal", "tool_call", "tool_approval", "tool_result", "recovered", "done"]


def the_module() -> None:
    for chunk in streamkit.stream("openai/gpt-4o-mini", "Write a haiku"):
        assert_type(chunk, Chunk)
    assert_type(streamkit.complete("openai/gpt-4o-mini", "Hi", temperature=0, timeout=30), Completion)
    assert_type(streamkit.__version__, str)


def a_client(stop: threading.Event) -> None:
    client = Client(
        [providers.OpenAI(api_key="x", base_url="http://localhost:8000/v1", include_usage=False)],
        timeout=Timeout(connect=10, first=60, idle=60, total=None),
        retry=Retry(attempts=3),
        buffer=256,
        observers=[Watcher()],
    )
    Client(timeout=30, retry=1)
    Client(timeout=None)
    with client as entered:
        assert_type(entered, Client)
    messages: list[Message | MessageDict] = [Message("user", "Hi"), {"role": "assistant", "content": "Ho"}]
    with client.stream("openai/m", messages, stop=stop, max_tokens=1024, extra_body={"a": 1}) as stream:
        assert_type(stream, Stream)
    assert_type(client.stream("openai/m", "Hi", stop=StopEvent(), timeout=3.5, retry=Retry(2)), Stream)
    assert_type(client.complete("openai/m", (Message("user", "Hi"),)), Completion)
    client.close()


@attrs.frozen
class Invoice:
    number: int


def typed_output(client: Client, stream: Stream, completion: Completion) -> None:
    assert_type(client.extract("openai/m", "Hi", Invoice), Invoice)
    assert_type(client.extract("openai/m", "Hi", list[Invoice], attempts=3, temperature=0, timeout=30), list[Invoice])
    assert_type(streamkit.extract("openai/m", "Hi", Invoice, stop=StopEvent()), Invoice)
    assert_type(streamkit.extract("openai/m", "Hi", {"type": "object"}), Any)
    assert_type(completion.parsed, Any)
    assert_type(stream.iter_partial(), Iterator[Any])
    assert_type(stream.iter_items(), Iterator[Any])
    client.complete("openai/m", "Hi", response_format=list[Invoice])
    client.complete("openai/m", "Hi", response_format=Invoice | None)


def wrong_calls(client: Client) -> None:
    client.stream("openai/m", 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.stream(3, "Hi")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.stream("openai/m", "Hi", stop=["END"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.stream("openai/m", "Hi", timeout="30")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client("openai")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Message("bot", "Hi")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Timeout(30)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Chunk("text").text = "frozen"  # type: ignore[misc]
    Completion().text = "frozen"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    two = "2"
    client.extract("openai/m", "Hi", Invoice, attempts=two)  # type: ignore[call-overload]  # pyright: ignore
    streamkit.merge(client)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_stream(stream: Stream) -> None:
    assert_type(iter(stream), Iterator[Chunk])
    assert_type(next(stream), Chunk)
    assert_type(stream.recv(timeout=1.0), Chunk)
    assert_type(stream.iter_text(), Iterator[str])
    assert_type(stream.iter_words(), Iterator[str])
    assert_type(stream.iter_lines(), Iterator[str])
    assert_type(stream.iter_sentences(), Iterator[str])
    assert_type(stream.collect(), Completion)
    assert_type(stream.completion, Completion)
    assert_type(stream.text, str)
    assert_type(stream.status, "Status")
    assert_type(stream.stats, Stats)
    assert_type(stream.response, ResponseInfo | None)
    stream.cancel()
    stream.close()


def several(a: Stream, b: Stream) -> None:
    for stream, chunk in streamkit.merge([a, b]):
        assert_type(stream, Stream)
        assert_type(chunk, Chunk)
    assert_type(streamkit.first((a, b)), Stream)


def a_chunk(chunk: Chunk) -> None:
    assert_type(chunk.type, "Kind")
    assert_type(chunk.text, str)
    assert_type(chunk.reasoning, str)
    assert_type(chunk.refusal, str)
    assert_type(chunk.index, int)
    assert_type(chunk.tool_call, ToolCallDelta | None)
    assert_type(chunk.finish_reason, "FinishReason | None")
    assert_type(chunk.usage, Usage | None)
    assert_type(chunk.finished, bool)
    if chunk.tool_call is not None:
        assert_type(chunk.tool_call.index, int)
        assert_type(chunk.tool_call.arguments, str)
        assert_type(chunk.tool_call.partial(), Any)


def a_completion(completion: Completion) -> None:
    assert_type(completion.text, str)
    assert_type(str(completion), str)
    assert_type(completion.tool_calls, tuple[ToolCall, ...])
    assert_type(completion.tool_calls[0].arguments, Any)
    assert_type(completion.finish_reason, "FinishReason | None")
    assert_type(completion.raw_finish_reason, str | None)
    assert_type(completion.usage, Usage)
    assert_type(completion.usage.total_tokens, int | None)
    assert_type(completion.usage.cost, float | None)
    assert_type(completion.choices, tuple[Choice, ...])
    assert_type(completion.message, Message)
    assert_type(completion.complete, bool)
    assert_type(completion.to_dict(), dict[str, Any])
    assert_type(Completion.from_dict({}), Completion)
    assert_type(Message.from_dict(completion.message.to_dict()), Message)
    assert_type(Chunk.from_dict(Chunk("text").to_dict()), Chunk)
    assert_type(Usage.from_dict(completion.usage.to_dict()), Usage)
    assert_type(ImagePart.from_dict({}), ImagePart)
    assert_type(streamkit.fold([Chunk("text", text="Hi")]), Completion)


def messages() -> list[Message]:
    return [
        Message("system", "Be brief"),
        Message("user", [TextPart("What is it?"), ImagePart("https://host/image.png", detail="low")]),
        Message("assistant", tool_calls=(ToolCall("id", "name", {}, "{}"),)),
        Message("tool", "3", tool_call_id="id"),
    ]


def the_errors(stream: Stream) -> None:
    try:
        stream.collect()
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
    except APIError as error:
        assert_type(error.status, int | None)
        assert_type(error.code, str | None)
        assert_type(error.request_id, str | None)
        assert_type(error.body, Any)
        assert_type(error.in_stream, bool)
    except StreamTimeout as error:
        assert_type(error.phase, str)
        assert_type(error.limit, float)
    except ProtocolError as error:
        assert_type(error.excerpt, str)
    except InvalidOutputError as error:
        assert_type(error.problems, tuple[Problem, ...])
        assert_type(error.problems[0].path, str)
        assert_type(error.text, str)
    except StreamCancelledError as error:
        assert_type(error.partial, Completion)
    except StreamError as error:
        assert_type(error.partial, Completion)
        assert_type(error.retryable, bool)
        assert_type(error.message, str)
    except RecvTimeout as error:
        assert_type(error, RecvTimeout)
    except queue.Empty:
        pass


class Watcher(Observer):
    def stream_started(self, report: Report) -> None:
        assert_type(report.provider, str)

    def stream_ended(self, report: Report) -> None:
        assert_type(report.status, "Status")
        assert_type(report.stats, Stats)
        assert_type(report.stats.time_to_first_chunk, float | None)
        assert_type(report.completion, Completion)
        assert_type(report.error, BaseException | None)


def a_stop(stop: StopEvent) -> None:
    as_event: threading.Event = stop
    as_event.set()
    assert_type(stop.wait(1.0), bool)


def each_provider() -> None:
    Client([providers.Agnic(), providers.Anthropic(), providers.AzureOpenAI(), providers.Bedrock(), providers.Cohere()])
    Client([providers.Gemini(), providers.GeminiInteractions(), providers.Mistral(), providers.Ollama()])
    Client([providers.OpenAI(), providers.OpenAICompatible("groq"), providers.OpenAICompletions()])
    Client((providers.OpenAIResponses(),))


def telemetry_and_notebooks(stream: Stream, tracker: streamkit.UsageTracker) -> None:
    client = Client(observers=[streamkit.Telemetry(content=True), streamkit.LogStreams()], arrivals=True)
    assert_type(client.stream("m", "Hi").display(), Completion)
    assert_type(stream.stats.arrivals, tuple[tuple[float, int], ...])
    streamkit.Telemetry("a name")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(tracker._repr_html_(), str)


class Tells(Observer):
    def tool_ended(self, report: streamkit.ToolReport) -> None:
        assert_type(report.call, ToolCall)
        assert_type(report.result, streamkit.ToolResult | None)
