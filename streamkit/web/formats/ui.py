"""The UI message stream of the AI SDK, from version 5 on: what ``useChat`` and ``useCompletion`` read.

Source: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol, and measured with the npm package ai 7.0.173, 2026-11-26.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar

from streamkit.values.chunks import Chunk, FinishReason, ToolResult, Usage
from streamkit.values.completion import Completion
from streamkit.values.messages import ToolCall
from streamkit.web.formats.base import SSE_HEADERS, Format, ShowErrors
from streamkit.web.formats.growing_calls import GrowingCall, GrowingCalls, output_of
from streamkit.web.formats.json_bytes import json_bytes, text_bytes
from streamkit.web.formats.requests.request import Limits, WebRequest
from streamkit.web.formats.requests.ui_request import read_ui_request
from streamkit.web.formats.ui_parts import FINISH_REASONS, check_part

__all__ = ["DENIED", "UiFormat", "approval_id", "ui_usage"]

_DONE = b"data: [DONE]\n\n"
_REASONS: dict[FinishReason | None, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
    "error": "error",
}
# The words of a run for calls whose arguments were wrong; see streamkit/tools/calls.py.
_NOT_CALLED = ("invalid arguments", "unknown tool", "cut off")
# The same for a call that a person did not allow.
DENIED = re.compile(r"Not approved(?:: (?P<reason>.*))?\. The function was not called\.\Z", re.DOTALL)
_NOT_JSON = "The arguments of the call are no valid JSON."
_CONTENT = ("custom", "file", "reasoning-file", "source-document", "source-url")
_REFUSAL = {"streamkit": {"refusal": True}}


def approval_id(call_id: str) -> str:
    """Return the id of the question whether a call may run: always the same one, so that a replay asks once."""
    return f"approval-{call_id}"


class UiFormat(Format):
    """Text, reasoning, tools, approval and steps as the parts of one message.

    A refusal is text, with ``providerMetadata.streamkit.refusal``. Only the first of several choices is sent, as a
    message has no more. Data, sources, files and metadata of the program's own go in by ``part``.

    Args:
        reasoning: whether the model's reasoning is sent.
        provider_metadata: whether the provider's own data, such as the signature of a thought, are sent with the
            part that they came with. They may hold the reasoning, so they are never sent without it.
        browser_tools: names of tools that the browser carries out: nobody is asked to approve them.
        dynamic_tools: names of tools that the page has no type for, such as those of MCP servers.
        show_errors: see ``Format``.
    """

    headers: ClassVar[Mapping[str, str]] = {**SSE_HEADERS, "x-vercel-ai-ui-message-stream": "v1"}

    def __init__(
        self,
        *,
        reasoning: bool = True,
        provider_metadata: bool = False,
        browser_tools: Collection[str] = (),
        dynamic_tools: Collection[str] = (),
        show_errors: ShowErrors = False,
    ) -> None:
        super().__init__(show_errors=show_errors)
        self._reasoning = reasoning
        self._provider_metadata = provider_metadata and reasoning
        self._browser_tools = frozenset(browser_tools)
        self._dynamic_tools = frozenset(dynamic_tools)
        self._calls = GrowingCalls()
        self._asked: set[str] = set()  # ids of calls that wait for a decision
        self._round = 0
        self._begun = False
        self._in_step = False
        self._any_part = False  # since begin(): a reply without any still is a step
        self._block = ""  # the kind of the open block: text, reasoning, refusal
        self._block_id = ""
        self._delta = b""  # all of the open block's deltas before their text
        self._counts = {"text": 0, "reasoning": 0}  # blocks of the step
        self._finish_reason: str | None = None

    # -- the stream --------------------------------------------------------------------------------------

    def begin(
        self,
        id: str,
        *,
        model: str = "",
        created: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        calls: Iterable[ToolCall] = (),
    ) -> bytes:
        """Return the ``start`` part, always with the message's id: without one, a replay would double the message."""
        self._begun = True
        told = dict(metadata or {})
        if model:
            told.setdefault("model", model)
        if created is not None:
            told.setdefault("createdAt", created)
        start: dict[str, Any] = {"type": "start", "messageId": id}
        if told:
            start["messageMetadata"] = told
        earlier = [self._calls.known(call.id, call.name, call.raw_arguments) for call in calls]
        return _event(start) + b"".join(self._input(call) for call in earlier)

    def encode(self, chunk: Chunk) -> bytes:
        """Return the parts for a chunk."""
        # The hot path: one more piece of the text of an open block.
        if chunk.text and self._block == "text" and chunk.round == self._round and not chunk.index:
            data = self._delta + text_bytes(chunk.text)
            return data + (self._metadata(chunk) + b"}\n\n" if self._provider_metadata else b"}\n\n")
        if chunk.index:
            return b""
        before = self._end_step() if chunk.round != self._round else b""
        self._round = chunk.round
        return before + self._parts(chunk)

    def _parts(self, chunk: Chunk) -> bytes:
        if chunk.type == "tool_call":
            return self._begin_step() + self._close_block() + self._tool_call(chunk)
        if chunk.type == "tool_approval":
            return self._close_block() + self._tool_approval(chunk)
        if chunk.tool_result is not None:
            return self._close_block() + self._tool_result(chunk.tool_result)
        text = self._piece(chunk, chunk.type)
        return text + self._done(chunk) if chunk.finished else text

    def _piece(self, chunk: Chunk, kind: str) -> bytes:
        text = chunk.text or chunk.reasoning or chunk.refusal
        if kind == "reasoning" and not self._reasoning:
            return b""
        metadata = self._metadata(chunk) if self._provider_metadata else b""
        if not text and not (metadata and kind in ("text", "reasoning") and self._block == kind):
            return b""
        begun = b""
        if self._block != kind or not self._in_step:
            begun = self._begin_step() + self._close_block() + self._open_block(kind)
        return b"%b%b%b%b}\n\n" % (begun, self._delta, text_bytes(text), metadata)

    def _done(self, chunk: Chunk) -> bytes:
        reason = _REASONS.get(chunk.finish_reason, "other")
        if reason == "other" and chunk.raw_finish_reason in FINISH_REASONS:
            reason = str(chunk.raw_finish_reason)
        self._finish_reason = reason
        return (b"" if self._any_part else self._begin_step()) + self._end_step()

    def part(self, part: Mapping[str, Any]) -> bytes:
        """Return a part of the program's own: ``data-<name>``, a source, a file, metadata, or any other.

        It may come at any place between ``begin`` and ``end``. A source or a file ends the block of text before it, as
        the message has them in this order. Without ``begin`` all parts are the program's, ``start`` and ``finish`` too.

        Raises:
            ConfigError: the client would end the stream at it.
        """
        check_part(part)
        content = self._begun and part["type"] in _CONTENT
        before = self._begin_step() + self._close_block() if content else b""
        self._any_part = True
        return before + _event(part)

    def end(
        self,
        status: str,
        error: BaseException | None = None,
        completion: Completion | None = None,
        *,
        time_to_first_token: float | None = None,
        reason: str = "",
    ) -> bytes:
        """Return ``finish``, ``abort`` or ``error``, and ``[DONE]``.

        The blocks of a reply that was cut stay open, as the AI SDK's server leaves them: the client shows them as
        unfinished.
        """
        if status == "cancelled":
            return _event({"type": "abort", "reason": reason} if reason else {"type": "abort"}) + _DONE
        if status not in ("complete", "suspended"):
            step = b'data: {"type":"finish-step"}\n\n' if self._in_step else b""
            self._in_step = False
            failed = _event({"type": "error", "errorText": self.told(error)})
            return failed + step + _event({"type": "finish", "finishReason": "error"}) + _DONE
        finish: dict[str, Any] = {"type": "finish"}
        if self._finish_reason is not None:
            finish["finishReason"] = self._finish_reason
        told: dict[str, Any] = {}
        if completion is not None and (usage := ui_usage(completion.usage)):
            told["usage"] = usage
        if time_to_first_token is not None:
            told["timeToFirstTokenMs"] = round(time_to_first_token * 1000)
        if told:
            finish["messageMetadata"] = told
        return self._end_step() + _event(finish) + _DONE

    # -- steps and blocks --------------------------------------------------------------------------------

    def _begin_step(self) -> bytes:
        if self._in_step:
            return b""
        self._in_step = self._any_part = True
        self._counts = {"text": 0, "reasoning": 0}
        return b'data: {"type":"start-step"}\n\n'

    def _end_step(self) -> bytes:
        data = self._close_block() + b"".join(self._input(call) for call in self._calls.untold())
        if not self._in_step:
            return data
        self._in_step = False
        return data + b'data: {"type":"finish-step"}\n\n'

    def _open_block(self, kind: str) -> bytes:
        name = "text" if kind == "refusal" else kind
        prefix = "r" if name == "reasoning" else ""
        self._block, self._block_id = kind, f"{prefix}{self._counts[name]}"
        self._counts[name] += 1
        self._delta = f'data: {{"type":"{name}-delta","id":"{self._block_id}","delta":'.encode()
        start: dict[str, Any] = {"type": f"{name}-start", "id": self._block_id}
        if kind == "refusal":
            start["providerMetadata"] = _REFUSAL
        return _event(start)

    def _close_block(self) -> bytes:
        if not self._block:
            return b""
        name = "text" if self._block == "refusal" else self._block
        self._block = ""
        return b'data: {"type":"%b-end","id":"%b"}\n\n' % (name.encode(), self._block_id.encode())

    def _metadata(self, chunk: Chunk) -> bytes:
        """Return the field of a delta with the provider's data, of those that are objects, as the client wants."""
        data: dict[str, Any] = {}
        for each in chunk.provider_data:
            for name, value in each.items():
                if isinstance(value, Mapping):
                    data.setdefault(name, {}).update(value)
        return b',"providerMetadata":' + json_bytes(data) if data else b""

    # -- tools -------------------------------------------------------------------------------------------

    def _tool_call(self, chunk: Chunk) -> bytes:
        delta = chunk.tool_call
        assert delta is not None
        call = self._calls.add(chunk)
        if call.whole and not call.begun:
            return self._input(call)  # the provider gave the call at once
        data = b""
        if not call.begun:
            call.begun = True
            data = self._tool_event("tool-input-start", call)
            if not delta.arguments:
                return data
        elif call.told:
            return b""
        data += b'data: {"type":"tool-input-delta","toolCallId":%b,"inputTextDelta":%b}\n\n' % (
            text_bytes(call.id),
            text_bytes(delta.arguments),
        )
        return data + self._input(call) if call.whole else data

    def _input(self, call: GrowingCall) -> bytes:
        """Return the call's arguments as a whole, or what is wrong with them."""
        call.tell()
        try:
            arguments = call.arguments()
        except ValueError:
            return self._tool_event("tool-input-error", call, input=call.text, errorText=_NOT_JSON)
        return self._tool_event("tool-input-available", call, input=arguments)

    def _told_input(self, call: GrowingCall) -> bytes:
        return b"" if call.told else self._input(call)

    def _tool_approval(self, chunk: Chunk) -> bytes:
        call = self._calls.add(chunk)
        data = self._told_input(call)
        if call.name in self._browser_tools:
            return data
        self._asked.add(call.id)
        return data + _event(
            {"type": "tool-approval-request", "approvalId": approval_id(call.id), "toolCallId": call.id}
        )

    def _decided(self, result: ToolResult) -> bytes:
        """Return what was decided on a call, for the pages that asked and were not the one that was answered."""
        if result.call_id not in self._asked:
            return b""
        self._asked.discard(result.call_id)
        denied = result.error == "not approved"
        part: dict[str, Any] = {"type": "tool-approval-response", "approvalId": approval_id(result.call_id)}
        part["approved"] = not denied
        found = DENIED.match(result.content) if denied else None
        if found is not None and found["reason"]:
            part["reason"] = found["reason"]
        return _event(part)

    def _tool_result(self, result: ToolResult) -> bytes:
        self._any_part = True
        call = self._calls.of(result)
        if call is not None and result.error in _NOT_CALLED:
            return self._wrong_input(call, result)
        data = b"" if call is None else self._told_input(call)
        data += self._decided(result)
        id = result.call_id
        if result.error == "not approved":
            return data + _event({"type": "tool-output-denied", "toolCallId": id})
        part: dict[str, Any]
        if result.error is not None:
            part = {"type": "tool-output-error", "toolCallId": id, "errorText": result.content}
        else:
            part = {"type": "tool-output-available", "toolCallId": id, "output": output_of(result)}
        if result.name in self._dynamic_tools:
            part["dynamic"] = True
        if result.preliminary and result.error is None:
            part["preliminary"] = True
        return data + _event(part)

    def _wrong_input(self, call: GrowingCall, result: ToolResult) -> bytes:
        try:
            wrong = call.arguments()
        except ValueError:
            wrong = call.text
        call.tell()
        return self._tool_event("tool-input-error", call, input=wrong, errorText=result.content)

    def _tool_event(self, kind: str, call: GrowingCall, **fields: Any) -> bytes:
        part: dict[str, Any] = {"type": kind, "toolCallId": call.id, "toolName": call.name}
        error = fields.pop("errorText", None)
        part.update(fields)
        if call.name in self._dynamic_tools:
            part["dynamic"] = True
        if error is not None:
            part["errorText"] = error
        return _event(part)

    # -- requests ----------------------------------------------------------------------------------------

    @classmethod
    def decode_request(
        cls, body: bytes | str | Mapping[str, Any], *, limits: Limits | None = None, allow_system: bool = False
    ) -> WebRequest:
        """Read the body that ``useChat`` sends, of version 4 too, or ``useCompletion``; see ``Format``."""
        return read_ui_request(body, limits or Limits(), allow_system=allow_system)


def _event(part: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % json_bytes(part)


def ui_usage(usage: Usage) -> dict[str, Any]:
    """Return a usage in the AI SDK's words, where the tokens of the prompt include the cached ones."""
    given, cached, written = usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens
    apart = (cached or 0) + (written or 0)
    fresh = given
    if given is not None and usage.cached_apart:
        given += apart
    elif given is not None:
        fresh = max(0, given - apart)
    answer = None
    if usage.output_tokens is not None and usage.reasoning_tokens is not None:
        answer = max(0, usage.output_tokens - usage.reasoning_tokens)
    total = usage.total_tokens
    if total is None and given is not None and usage.output_tokens is not None:
        total = given + usage.output_tokens
    shape = {
        "inputTokens": given,
        "inputTokenDetails": _known(
            {
                "noCacheTokens": None if cached is None and written is None else fresh,
                "cacheReadTokens": cached,
                "cacheWriteTokens": written,
            }
        ),
        "outputTokens": usage.output_tokens,
        "outputTokenDetails": _known({"textTokens": answer, "reasoningTokens": usage.reasoning_tokens}),
        "totalTokens": total,
    }
    return {name: value for name, value in shape.items() if value is not None and value != {}}


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
