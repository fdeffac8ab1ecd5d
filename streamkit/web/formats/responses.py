"""The format of OpenAI's Responses API: its events for streams, a ``response`` for whole replies.

Source: the recordings of OpenAI's streams in tests/recordings/openai-responses; the types and the stream readers of
openai 3.57 of PyPI and openai 7.57 of npm, read 2026-11-27.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from streamkit.errors import RateLimitError
from streamkit.values.chunks import Chunk, FinishReason, Usage
from streamkit.values.completion import Completion
from streamkit.values.messages import ToolCall
from streamkit.web.formats.base import Format, Refusal, ShowErrors
from streamkit.web.formats.encrypted_reasoning import FORMAT, for_client, is_encrypted
from streamkit.web.formats.growing_calls import GrowingCalls
from streamkit.web.formats.json_bytes import json_bytes, text_bytes
from streamkit.web.formats.openai_words import openai_error, token_counts
from streamkit.web.formats.requests.request import Limits, WebRequest
from streamkit.web.formats.requests.responses_request import ENCRYPTED, read_responses_request
from streamkit.web.formats.response_items import CallItem, Item, MessageItem, ReasoningItem, TextPart
from streamkit.web.formats.response_order import chunks_of

__all__ = ["ResponsesFormat"]

_PREFIX = re.compile(r"\A[A-Za-z]+[_-]")  # of an id, such as resp_
# Why a reply is not whole. Of these words OpenAI has the first two; clients take others for "other".
_INCOMPLETE: dict[FinishReason | None, str] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
    "cancelled": "cancelled",
    "other": "other",
    "error": "other",
}
# What a response repeats of a request that says nothing. ``store`` is never true: nothing is kept here.
_ECHO: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "auto",
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}


class ResponsesFormat(Format):
    """Chunks for any client of OpenAI's Responses API.

    Reasoning is a summary, which clients show. Only the first of several choices is sent, as a response has no choices.
    The last event is ``response.completed`` for a whole reply alone: a reply that reached a limit, was filtered or
    cancelled ends with ``response.incomplete``, and one that failed with ``error`` and ``response.failed``.

    Args:
        request: as ``decode_request`` returned it: the response repeats its parameters, and has reasoning for the
            provider alone if it asks for that.
        server_tools: whether the calls are made here, in a run: then only those are sent that wait for the client, as
            it would make the others again.
        reasoning: whether the model's reasoning is sent.
        show_errors: see ``Format``.
    """

    def __init__(
        self,
        *,
        request: WebRequest | None = None,
        server_tools: bool = False,
        reasoning: bool = True,
        show_errors: ShowErrors = False,
    ) -> None:
        super().__init__(show_errors=show_errors)
        self._request = request or WebRequest()
        self._server_tools = server_tools
        self._reasoning = reasoning
        included = self._request.extra.get("include")
        self._encrypted = reasoning and isinstance(included, (list, tuple)) and ENCRYPTED in included
        self._head = self._tail = b""  # of a response: what is the same in all events that have it
        self._unique = ""  # part of the ids of the items
        self._number = -1  # of the last event
        self._round = 0
        self._items: list[Item] = []
        self._open: MessageItem | ReasoningItem | None = None  # the item that text is added to
        self._part: TextPart | None = None  # of an open message
        self._text: list[str] = []  # pieces of an open part of text, and the bytes of its next event up to the number
        self._text_head = b""
        self._calls = GrowingCalls()
        self._call_items: dict[str, CallItem] = {}  # by the id of the call
        self._open_calls: dict[str, CallItem] = {}  # those that the client was not told to be done
        self._reason: FinishReason | None = None
        self._word: str | None = None  # the provider's own, for the reason
        self._usage: Usage | None = None

    # -- the beginning -----------------------------------------------------------------------------------

    def begin(
        self,
        id: str,
        *,
        model: str = "",
        created: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        calls: Iterable[ToolCall] = (),
    ) -> bytes:
        """Return ``response.created``, without which a client's ``stream()`` fails, and ``response.in_progress``."""
        own = {name: value for name, value in self._request.echo.items() if name in _ECHO and value is not None}
        echo = {**_ECHO, **own, **({"metadata": metadata} if metadata is not None else {})}
        head = {"id": id, "object": "response", "created_at": created or 0, "model": model}
        self._head, self._tail = json_bytes(head)[:-1], json_bytes(echo)[1:]
        self._unique = _PREFIX.sub("", id)
        return self._told("response.created", "in_progress") + self._told("response.in_progress", "in_progress")

    def _told(self, type: str, status: str, **fields: Any) -> bytes:
        """Return an event that has the whole response in it."""
        self._number += 1
        response = self._response(status, **fields)
        return b'event: %b\ndata: {"type":"%b","response":%b,"sequence_number":%d}\n\n' % (
            type.encode(),
            type.encode(),
            response,
            self._number,
        )

    def _response(
        self,
        status: str,
        *,
        error: Mapping[str, Any] | None = None,
        why: str = "",
        usage: Mapping[str, Any] | None = None,
    ) -> bytes:
        changing = {
            "status": status,
            "error": error,
            "incomplete_details": {"reason": why} if why else None,
            "output": [item.shape() for item in self._items],
            "usage": usage,
        }
        return b"%b,%b,%b" % (self._head, json_bytes(changing)[1:-1], self._tail)

    # -- chunks ------------------------------------------------------------------------------------------

    def encode(self, chunk: Chunk) -> bytes:
        """Return the events for a chunk."""
        # The hot path: a piece of text, where text is open. ``_text_head`` is empty where it is not.
        if (
            chunk.text
            and self._text_head
            and not chunk.index
            and chunk.usage is None
            and not chunk.provider_data
            and chunk.round == self._round
        ):
            self._text.append(chunk.text)
            self._number = number = self._number + 1
            return b'%b%d,"delta":%b}\n\n' % (self._text_head, number, text_bytes(chunk.text))
        return b"" if chunk.index else self._encode_any(chunk)

    def _encode_any(self, chunk: Chunk) -> bytes:
        if chunk.usage is not None:
            self._usage = chunk.usage
        data = b""
        if chunk.round != self._round:
            data, self._round = self._close_all("completed"), chunk.round
        if chunk.reasoning and self._reasoning:
            data += self._thought(chunk.reasoning)
        for datum in chunk.provider_data if self._encrypted else ():
            kept = datum.get(FORMAT)
            if kept is not None and is_encrypted(kept):
                data += self._keep(kept)
        if chunk.text or chunk.refusal:
            data += self._say(chunk.text or chunk.refusal, "output_text" if chunk.text else "refusal")
        elif chunk.tool_call is not None and (chunk.type == "tool_approval") is self._server_tools:
            data += self._call(chunk)
        if chunk.finish_reason is not None:
            self._reason, self._word = chunk.finish_reason, chunk.raw_finish_reason
        return data + self._close_all(self._ending()[0]) if chunk.finished else data

    def _say(self, text: str, kind: Literal["output_text", "refusal"]) -> bytes:
        data = b""
        if not isinstance(self._open, MessageItem):
            data = self._close_open() + self._close_whole_calls()
            self._open = MessageItem(self._new_id("msg"), len(self._items))
            data += self._added(self._open, self._open.shape())
        if self._part is None or self._part.kind != kind:
            data += self._close_part() + self._begin_part(self._open, TextPart(kind))
        assert self._part is not None
        self._part.pieces.append(text)
        return data + self._piece(self._part.head, text)

    def _piece(self, head: bytes, text: str) -> bytes:
        self._number += 1
        return b'%b%d,"delta":%b}\n\n' % (head, self._number, text_bytes(text))

    def _begin_part(self, message: MessageItem, part: TextPart) -> bytes:
        place = {**message.place, "content_index": len(message.parts)}
        message.parts.append(part)
        self._part = part
        if part.kind == "output_text":
            part.head = self._text_head = _head_of("response.output_text.delta", {**place, "logprobs": []})
            self._text = part.pieces
        else:
            part.head = _head_of("response.refusal.delta", place)
        return self._event("response.content_part.added", **place, part=part.shape(""))

    def _thought(self, text: str) -> bytes:
        data = b""
        if not isinstance(self._open, ReasoningItem):
            data = self._close_open() + self._close_whole_calls() + self._begin_reasoning()
        assert isinstance(self._open, ReasoningItem)
        if not self._open.pieces:
            place, part = {**self._open.place, "summary_index": 0}, {"type": "summary_text", "text": ""}
            data += self._event("response.reasoning_summary_part.added", **place, part=part)
            self._open.head = _head_of("response.reasoning_summary_text.delta", place)
        self._open.pieces.append(text)
        return data + self._piece(self._open.head, text)

    def _begin_reasoning(self) -> bytes:
        self._open = ReasoningItem(self._new_id("rs"), len(self._items))
        return self._added(self._open, self._open.shape())

    def _keep(self, item: Mapping[str, Any]) -> bytes:
        """End the reasoning with what the provider wants back of it, also where none of it was shown."""
        data = b""
        if not isinstance(self._open, ReasoningItem):
            data = self._close_open() + self._close_whole_calls() + self._begin_reasoning()
        assert isinstance(self._open, ReasoningItem)
        self._open.encrypted = for_client(item)
        return data + self._close_open()

    def _call(self, chunk: Chunk) -> bytes:
        assert chunk.tool_call is not None
        call = self._calls.add(chunk)
        item, data = self._call_items.get(call.id), b""
        if item is None:
            data = self._close_open() + self._close_whole_calls()
            item = CallItem(self._new_id("fc"), len(self._items), call)
            self._call_items[call.id] = self._open_calls[call.id] = item
            item.head = _head_of("response.function_call_arguments.delta", item.place)
            data += self._added(item, {**item.shape(), "arguments": ""})
        elif chunk.type == "tool_approval":
            return b""  # a question that is asked again
        if item.status != "in_progress" or not chunk.tool_call.arguments:
            return data  # a piece after the end of the arguments is in the last event alone
        return data + self._piece(item.head, chunk.tool_call.arguments)

    def _new_id(self, kind: str) -> str:
        return f"{kind}_{self._unique}_{len(self._items)}"

    def _added(self, item: Item, shape: Mapping[str, Any]) -> bytes:
        self._items.append(item)
        return self._event("response.output_item.added", output_index=item.index, item=shape)

    def _event(self, type: str, **fields: Any) -> bytes:
        self._number += 1
        return b"%b%d}\n\n" % (_head_of(type, fields), self._number)

    # -- ends of items -----------------------------------------------------------------------------------

    def _close_all(self, status: Literal["completed", "incomplete"]) -> bytes:
        data = self._close_open(status)
        for item in list(self._open_calls.values()):
            data += self._close_call(item, "completed" if item.call.whole else status)
        return data

    def _close_open(self, status: Literal["completed", "incomplete"] = "completed") -> bytes:
        """Return the events that end the message or the reasoning that is open."""
        item, data = self._open, self._close_part()
        if item is None:
            return data
        self._open, item.status = None, status
        if isinstance(item, ReasoningItem) and item.pieces:
            place, text = {**item.place, "summary_index": 0}, item.text
            data += self._event("response.reasoning_summary_text.done", **place, text=text)
            part = {"type": "summary_text", "text": text}
            data += self._event("response.reasoning_summary_part.done", **place, part=part)
        return data + self._done(item)

    def _close_part(self) -> bytes:
        part, message = self._part, self._open
        if part is None or not isinstance(message, MessageItem):
            return b""
        self._part, self._text, self._text_head = None, [], b""
        place, text = {**message.place, "content_index": len(message.parts) - 1}, part.text
        if part.kind == "output_text":
            data = self._event("response.output_text.done", **place, text=text, logprobs=[])
        else:
            data = self._event("response.refusal.done", **place, refusal=text)
        return data + self._event("response.content_part.done", **place, part=part.shape(text))

    def _close_whole_calls(self) -> bytes:
        """End the calls whose arguments are whole, so that a client can begin with them; pieces may mix elsewhere."""
        whole = [item for item in self._open_calls.values() if item.call.whole]
        return b"".join(self._close_call(item, "completed") for item in whole)

    def _close_call(self, item: CallItem, status: Literal["completed", "incomplete"]) -> bytes:
        del self._open_calls[item.call.id]
        item.status = status
        data = self._piece(item.head, item.missing) if item.missing else b""
        data += self._event("response.function_call_arguments.done", **item.place, arguments=item.arguments)
        return data + self._done(item)

    def _done(self, item: Item) -> bytes:
        return self._event("response.output_item.done", output_index=item.index, item=item.shape())

    # -- the end -----------------------------------------------------------------------------------------

    def _ending(self) -> tuple[Literal["completed", "incomplete"], str]:
        """Return how the reply ended by its finish reason: the status, and the reason of one that is not whole.

        A provider that gives no reason has ended the reply as it does; one that gives an odd reason has not.
        """
        if self._reason == "other" and self._word is None:
            return "completed", ""
        why = _INCOMPLETE.get(self._reason, "")
        return ("incomplete", why) if why else ("completed", "")

    def end(
        self,
        status: str,
        error: BaseException | None = None,
        completion: Completion | None = None,
        *,
        time_to_first_token: float | None = None,
        reason: str = "",
    ) -> bytes:
        """Return the events that end all items, and the one that ends the response; or ``error`` and the failure."""
        usage = _usage_of(completion.usage if completion is not None else self._usage or Usage())
        if status not in ("complete", "suspended", "cancelled"):
            return self._failure(error, usage)
        if self._reason is None and completion is not None:
            self._reason, self._word = completion.finish_reason, completion.raw_finish_reason
        if status == "cancelled":
            self._reason = "cancelled"
        ending, why = self._ending()
        data = self._close_all(ending)
        shown = "cancelled" if self._reason == "cancelled" else ending
        return data + self._told(f"response.{ending}", shown, why=why, usage=usage)

    def _failure(self, error: BaseException | None, usage: Mapping[str, Any] | None) -> bytes:
        """Return the error in both shapes: clients read it under ``error``, the API's description has it flat."""
        for item in self._items:
            item.status = "incomplete" if item.status == "in_progress" else item.status
        shape = self._error(error)
        flat = {"code": shape["code"], "message": shape["message"], "param": shape["param"]}
        data = self._event("error", **flat, error=shape)
        code = shape["code"] or ("rate_limit_exceeded" if isinstance(error, RateLimitError) else "server_error")
        return data + self._told("response.failed", "failed", error=_failed(code, shape["message"]), usage=usage)

    # -- whole replies -----------------------------------------------------------------------------------

    def whole(self, completion: Completion, id: str, *, model: str = "", created: int = 0) -> bytes:
        """Return a completion as the JSON of a ``response``, for a request that asks for no stream.

        Args:
            completion: the reply.
            id: of the reply, such as ``resp_`` and letters.
            model: that the client is told; the completion's own for "".
            created: in seconds since 1970.
        """
        made = ResponsesFormat(request=self._request, reasoning=self._reasoning)
        made.begin(id, model=model or completion.model, created=created)
        for chunk in chunks_of(completion):
            made.encode(chunk)
        usage = _usage_of(completion.usage)
        if completion.finish_reason == "error":
            return made._response("failed", error=_failed("server_error", self.told(None)), usage=usage)
        made._reason, made._word = completion.finish_reason or "error", completion.raw_finish_reason
        ending, why = made._ending()
        made._close_all(ending)
        return made._response("cancelled" if why == "cancelled" else ending, why=why, usage=usage)

    # -- errors and requests -----------------------------------------------------------------------------

    def refusal(self, error: BaseException) -> Refusal:
        """Return the response for an error that came before the first chunk, as OpenAI's clients read it."""
        plain = super().refusal(error)
        headers = {**plain.headers, "content-type": "application/json"}
        return Refusal(plain.status, headers, json_bytes({"error": self._error(error)}))

    def _error(self, error: BaseException | None) -> dict[str, Any]:
        return openai_error(error, self.told(error), shown=self._show_errors is True)

    @classmethod
    def decode_request(
        cls, body: bytes | str | Mapping[str, Any], *, limits: Limits | None = None, allow_system: bool = True
    ) -> WebRequest:
        """Read the body of ``/v1/responses``, whose client is a program: it may send instructions."""
        return read_responses_request(body, limits or Limits(), allow_system=allow_system)


def _head_of(type: str, fields: Mapping[str, Any]) -> bytes:
    """Return the bytes of an event up to its number, which comes last or before what is added."""
    shape = json_bytes({"type": type, **fields})
    return b'event: %b\ndata: %b,"sequence_number":' % (type.encode(), shape[:-1])


def _failed(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message}


def _usage_of(usage: Usage) -> dict[str, Any] | None:
    """Return a usage in the API's words, ``None`` if it is unknown.

    The details are numbers that each client expects: where they are unknown they are 0.
    """
    counts = token_counts(usage)
    if counts is None:
        return None
    given, answer, total = counts
    cached = {"cached_tokens": usage.cached_tokens or 0, "cache_write_tokens": usage.cache_write_tokens or 0}
    return {
        "input_tokens": given,
        "input_tokens_details": cached,
        "output_tokens": answer,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": total,
    }
