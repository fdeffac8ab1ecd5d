"""OpenAI's format: ``chat.completion.chunk`` for streams, ``chat.completion`` for whole replies.

Source: https://platform.openai.com/docs/api-reference/chat-streaming, and what the clients openai 7.57 of npm and
openai 3.57 of PyPI take, measured 2026-11-26.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streamkit.values.chunks import Chunk, FinishReason, Usage
from streamkit.values.completion import Choice, Completion
from streamkit.values.messages import ToolCall
from streamkit.web.formats.base import Format, Refusal, ShowErrors
from streamkit.web.formats.json_bytes import json_bytes, text_bytes
from streamkit.web.formats.openai_words import openai_error, token_counts
from streamkit.web.formats.requests.openai_request import read_openai_request
from streamkit.web.formats.requests.request import Limits, WebRequest

__all__ = ["OpenAIFormat"]

_DONE = b"data: [DONE]\n\n"
# OpenAI has no word for a reply that was cancelled: "length" is the one that says that there would be more.
_REASONS: dict[FinishReason | None, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "cancelled": "length",
    "error": "length",
}


class OpenAIFormat(Format):
    """Chunks for any client of OpenAI's API, with all choices.

    Reasoning is in ``reasoning_content``, as DeepSeek, vLLM and others have it.

    Args:
        include_usage: whether the client asked for the usage; OpenAI sends none otherwise.
        server_tools: whether the calls are made here, in a run: then only those are sent that wait for the client, as
            it would make the others again.
        reasoning: whether the model's reasoning is sent.
        show_errors: see ``Format``.
    """

    def __init__(
        self,
        *,
        include_usage: bool = False,
        server_tools: bool = False,
        reasoning: bool = True,
        show_errors: ShowErrors = False,
    ) -> None:
        super().__init__(show_errors=show_errors)
        self._include_usage = include_usage
        self._server_tools = server_tools
        self._reasoning = reasoning
        self._head = b""
        self._text = b""  # all before the text of the first choice
        self._begun: set[int] = set()  # choices whose role was told
        self._ended: set[int] = set()  # choices whose finish reason was told
        self._called: set[int] = set()  # choices that have calls
        self._waiting = 0  # calls of a run that the client is to make
        self._usage: Usage | None = None

    def begin(
        self,
        id: str,
        *,
        model: str = "",
        created: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        calls: Iterable[ToolCall] = (),
    ) -> bytes:
        """Return the chunk with the role, without which a client's ``stream()`` fails."""
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[' % (
            text_bytes(id),
            created or 0,
            text_bytes(model),
        )
        self._text = self._head + b'{"index":0,"delta":{"content":'
        return self._role(0)

    def encode(self, chunk: Chunk) -> bytes:
        """Return the events for a chunk."""
        # The hot path: a piece of the text of the first choice.
        if chunk.text and not chunk.index and chunk.usage is None:
            return b'%b%b},"finish_reason":null}]}\n\n' % (self._text, text_bytes(chunk.text))
        if chunk.usage is not None:
            self._usage = chunk.usage
        index = chunk.index
        data = self._role(index) if index not in self._begun else b""
        delta = self._delta(chunk)
        if delta:
            data += self._choice(index, delta, None)
        if chunk.finish_reason is not None and index not in self._ended:
            data += self._finish(index, chunk.finish_reason)
        return data

    def _delta(self, chunk: Chunk) -> dict[str, Any]:
        if chunk.text:
            return {"content": chunk.text}
        if chunk.reasoning:
            return {"reasoning_content": chunk.reasoning} if self._reasoning else {}
        if chunk.refusal:
            return {"refusal": chunk.refusal}
        call = chunk.tool_call
        if call is None or (chunk.type == "tool_approval") is not self._server_tools:
            return {}
        index = call.index
        self._called.add(chunk.index)
        if self._server_tools:
            index, self._waiting = self._waiting, self._waiting + 1
        function: dict[str, Any] = {"name": call.name} if call.name else {}
        function["arguments"] = call.arguments
        named = {"id": call.id, "type": "function"} if call.id else {}
        return {"tool_calls": [{"index": index, **named, "function": function}]}

    def _role(self, index: int) -> bytes:
        self._begun.add(index)
        return self._choice(index, {"role": "assistant", "content": ""}, None)

    def _finish(self, index: int, reason: FinishReason | None) -> bytes:
        self._ended.add(index)
        return self._choice(index, {}, _reason_of(reason, calls=index in self._called))

    def _choice(self, index: int, delta: Mapping[str, Any], reason: str | None) -> bytes:
        choice = {"index": index, "delta": delta, "finish_reason": reason}
        return b"%b%b]}\n\n" % (self._head, json_bytes(choice))

    def end(
        self,
        status: str,
        error: BaseException | None = None,
        completion: Completion | None = None,
        *,
        time_to_first_token: float | None = None,
        reason: str = "",
    ) -> bytes:
        """Return the finish reason if it was not told, the usage if it was asked for, and ``[DONE]``; or the error.

        After an error there is no ``[DONE]``, as the reply is not whole.
        """
        if status not in ("complete", "suspended", "cancelled"):
            return b"data: %b\n\n" % json_bytes(self._error(error))
        last: FinishReason = "cancelled" if status == "cancelled" else "stop"
        data = b"".join(self._finish(index, last) for index in sorted(self._begun - self._ended))
        usage = completion.usage if completion is not None else self._usage
        if self._include_usage and usage is not None and (shape := _usage_of(usage)):
            data += b'%b],"usage":%b}\n\n' % (self._head, json_bytes(shape))
        return data + _DONE

    # -- whole replies -----------------------------------------------------------------------------------

    def whole(self, completion: Completion, id: str, *, model: str = "", created: int = 0) -> bytes:
        """Return a completion as the JSON of a ``chat.completion``, for a request that asks for no stream.

        Args:
            completion: the reply.
            id: of the reply.
            model: that the client is told; the completion's own for "".
            created: in seconds since 1970.
        """
        shape: dict[str, Any] = {
            "id": id,
            "object": "chat.completion",
            "created": created,
            "model": model or completion.model,
            "choices": [self._whole_choice(choice) for choice in self._choices_of(completion)],
        }
        if usage := _usage_of(completion.usage):
            shape["usage"] = usage
        return json_bytes(shape)

    def _choices_of(self, completion: Completion) -> list[Choice]:
        first = Choice(
            0,
            completion.text,
            completion.reasoning,
            completion.refusal,
            completion.tool_calls,
            completion.finish_reason,
        )
        return [first, *(choice for choice in completion.choices if choice.index)]

    def _whole_choice(self, choice: Choice) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": choice.text or (None if choice.tool_calls or choice.refusal else ""),
            "refusal": choice.refusal or None,
        }
        if choice.reasoning and self._reasoning:
            message["reasoning_content"] = choice.reasoning
        if choice.tool_calls:
            message["tool_calls"] = [call.to_dict() for call in choice.tool_calls]
        return {
            "index": choice.index,
            "message": message,
            "logprobs": None,
            "finish_reason": _reason_of(choice.finish_reason, calls=bool(choice.tool_calls)),
        }

    # -- errors and requests -----------------------------------------------------------------------------

    def refusal(self, error: BaseException) -> Refusal:
        """Return the response for an error that came before the first chunk, as OpenAI's clients read it."""
        plain = super().refusal(error)
        return Refusal(
            plain.status, {**plain.headers, "content-type": "application/json"}, json_bytes(self._error(error))
        )

    def _error(self, error: BaseException | None) -> dict[str, Any]:
        return {"error": openai_error(error, self.told(error), shown=self._show_errors is True)}

    @classmethod
    def decode_request(
        cls, body: bytes | str | Mapping[str, Any], *, limits: Limits | None = None, allow_system: bool = True
    ) -> WebRequest:
        """Read the body of ``/v1/chat/completions``, whose client is a program: it may send instructions."""
        return read_openai_request(body, limits or Limits(), allow_system=allow_system)


def _reason_of(reason: FinishReason | None, *, calls: bool) -> str:
    """Return OpenAI's word for a finish reason; where none says it, a choice with calls waits for their results."""
    return _REASONS.get(reason, "tool_calls" if calls else "stop")


def _usage_of(usage: Usage) -> dict[str, Any]:
    """Return a usage in OpenAI's words, where the tokens of the prompt include the cached ones; {} if unknown."""
    counts = token_counts(usage)
    if counts is None:
        return {}
    given, answer, total = counts
    shape: dict[str, Any] = {"prompt_tokens": given, "completion_tokens": answer, "total_tokens": total}
    if usage.cached_tokens is not None:
        shape["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        shape["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return shape
