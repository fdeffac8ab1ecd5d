"""The data stream of the AI SDK 3.1 to 4: a letter, a colon, JSON and a line end.

Source: the codes of the AI SDK 4's data stream protocol, checked with the npm package @ai-sdk/ui-utils 1.2.11.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from streamkit.values.chunks import Chunk, FinishReason, ToolResult, Usage
from streamkit.values.completion import Completion
from streamkit.values.messages import ToolCall
from streamkit.web.formats.base import TEXT_HEADERS, Format, ShowErrors
from streamkit.web.formats.growing_calls import GrowingCall, GrowingCalls, output_of
from streamkit.web.formats.json_bytes import json_bytes, text_bytes
from streamkit.web.formats.requests.request import Limits, WebRequest
from streamkit.web.formats.requests.ui_request import read_ui_request

__all__ = ["DataFormat"]

_REASONS: dict[FinishReason | None, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
    "error": "error",
    "cancelled": "unknown",
    None: "unknown",
}


class DataFormat(Format):
    """Text, reasoning, tools, steps and usage for ``useChat`` of version 4.

    It has no word for approval: a call that waits is a call without a result, and none for reports of a tool that still
    runs. The client keeps one message for all steps.

    Args:
        reasoning: whether the model's reasoning is sent.
        show_errors: see ``Format``.
    """

    headers: ClassVar[Mapping[str, str]] = {**TEXT_HEADERS, "x-vercel-ai-data-stream": "v1"}

    def __init__(self, *, reasoning: bool = True, show_errors: ShowErrors = False) -> None:
        super().__init__(show_errors=show_errors)
        self._reasoning = reasoning
        self._id = ""
        self._calls = GrowingCalls()
        self._round = 0
        self._in_step = False
        self._any_step = False
        self._usage = Usage()
        self._finish_reason = "unknown"

    def begin(
        self,
        id: str,
        *,
        model: str = "",
        created: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        calls: Iterable[ToolCall] = (),
    ) -> bytes:
        """Return nothing but the earlier calls and the metadata: the message's id comes with each step."""
        self._id = id
        earlier = [self._calls.known(call.id, call.name, call.raw_arguments) for call in calls]
        told = _line(b"8", [dict(metadata)]) if metadata else b""
        return told + b"".join(self._input(call) for call in earlier)

    def encode(self, chunk: Chunk) -> bytes:
        """Return the lines for a chunk."""
        if chunk.index:
            return b""
        before = self._end_step("tool-calls") if chunk.round != self._round else b""
        self._round = chunk.round
        if chunk.usage is not None:
            self._usage = chunk.usage
        text = chunk.text or chunk.refusal
        if text:
            return before + self._begin_step() + b"0:" + text_bytes(text) + b"\n"
        if chunk.reasoning and self._reasoning:
            return before + self._begin_step() + b"g:" + text_bytes(chunk.reasoning) + b"\n"
        if chunk.type == "tool_call":
            return before + self._begin_step() + self._tool_call(chunk)
        if chunk.type == "tool_approval":
            call = self._calls.add(chunk)
            return before + self._told_input(call)
        if chunk.tool_result is not None:
            return before + self._tool_result(chunk.tool_result)
        if chunk.finished:
            self._finish_reason = _REASONS.get(chunk.finish_reason, "other")
            begun = b"" if self._any_step else self._begin_step()
            return before + begun + self._end_step(self._finish_reason)
        return before

    def heartbeat(self) -> bytes:
        """Return an empty line, which the client skips."""
        return b"\n"

    def end(
        self,
        status: str,
        error: BaseException | None = None,
        completion: Completion | None = None,
        *,
        time_to_first_token: float | None = None,
        reason: str = "",
    ) -> bytes:
        """Return the error, if there is one, and the end of the message. A cancel has the finish reason ``unknown``."""
        if status == "cancelled":
            return _line(b"d", {"finishReason": "unknown", "usage": _usage_of(self._usage)})
        if status not in ("complete", "suspended"):
            return _line(b"3", self.told(error))
        usage = completion.usage if completion is not None else self._usage
        told = b""
        if time_to_first_token is not None:
            told = _line(b"8", [{"timeToFirstTokenMs": round(time_to_first_token * 1000)}])
        last = _line(b"d", {"finishReason": self._finish_reason, "usage": _usage_of(usage)})
        return self._end_step(self._finish_reason) + told + last

    def _begin_step(self) -> bytes:
        if self._in_step:
            return b""
        self._in_step = self._any_step = True
        return _line(b"f", {"messageId": self._id})

    def _end_step(self, reason: str) -> bytes:
        data = b"".join(self._input(call) for call in self._calls.untold())
        if not self._in_step:
            return data
        self._in_step = False
        step = {"finishReason": reason, "usage": _usage_of(self._usage), "isContinued": False}
        return data + _line(b"e", step)

    def _tool_call(self, chunk: Chunk) -> bytes:
        delta = chunk.tool_call
        assert delta is not None
        call = self._calls.add(chunk)
        if call.whole and not call.begun:
            return self._input(call)  # the provider gave the call at once
        data = b""
        if not call.begun:
            call.begun = True
            data = _line(b"b", {"toolCallId": call.id, "toolName": call.name})
        if delta.arguments and not call.told:
            data += _line(b"c", {"toolCallId": call.id, "argsTextDelta": delta.arguments})
        return data + self._input(call) if call.whole and not call.told else data

    def _input(self, call: GrowingCall) -> bytes:
        """Return the call with its arguments. The client takes an object only: any other is under ``input``."""
        try:
            arguments = call.arguments()
        except ValueError:
            arguments = call.text
        if not isinstance(arguments, Mapping):
            arguments = {"input": arguments}
        call.tell()
        return _line(b"9", {"toolCallId": call.id, "toolName": call.name, "args": arguments})

    def _told_input(self, call: GrowingCall) -> bytes:
        return b"" if call.told else self._input(call)

    def _tool_result(self, result: ToolResult) -> bytes:
        if result.preliminary:
            return b""
        self._any_step = True
        call = self._calls.of(result)
        data = b"" if call is None else self._told_input(call)
        return data + _line(b"a", {"toolCallId": result.call_id, "result": output_of(result)})

    @classmethod
    def decode_request(
        cls, body: bytes | str | Mapping[str, Any], *, limits: Limits | None = None, allow_system: bool = False
    ) -> WebRequest:
        """Read what ``useChat`` sends; see ``Format``."""
        return read_ui_request(body, limits or Limits(), allow_system=allow_system)


def _line(code: bytes, value: Any) -> bytes:
    return b"%b:%b\n" % (code, json_bytes(value))


def _usage_of(usage: Usage) -> dict[str, Any]:
    """Return a usage; the client reads null as unknown."""
    given = usage.input_tokens
    if given is not None and usage.cached_apart:
        given += (usage.cached_tokens or 0) + (usage.cache_write_tokens or 0)
    return {"promptTokens": given, "completionTokens": usage.output_tokens}
