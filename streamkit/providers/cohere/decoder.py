"""Decode streams of Cohere's chat, version 2.

Source: https://docs.cohere.com/reference/chat-stream, read 2026-11-21, and the recordings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ProtocolError
from streamkit.providers.contract import Event
from streamkit.providers.reply.decoder import MOST_KEPT, ReplyDecoder, count_of, total_of
from streamkit.providers.reply.errors import api_error, reports_error
from streamkit.providers.reply.tool_index import MOST_CALLS
from streamkit.values.chunks import Chunk, FinishReason, Usage, text_chunk
from streamkit.wire.json import parse_event
from streamkit.wire.loose_json import as_dict, as_json, as_list, as_text, as_word

__all__ = ["FORMAT", "CohereDecoder"]

FORMAT = "cohere"  # of provider data

_FINISH_REASONS: dict[str, FinishReason] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
    "ERROR": "error",
    "TIMEOUT": "error",
}


class CohereDecoder(ReplyDecoder):
    """Decodes one stream of chat; see ``Decoder`` for the contract.

    The plan before tool calls is not part of the answer: it is in ``raw``, and is sent back with the history.
    Citations are in ``raw`` only.
    """

    finish_reasons = _FINISH_REASONS

    def __init__(self, provider: str) -> None:
        super().__init__(provider)
        self._calls: dict[Any, int] = {}  # our number of each call, by Cohere's
        self._begun = 0  # calls
        self._plan: list[str] = []

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event."""
        try:
            raw = parse_event(event.data)
        except ValueError:
            return self._decode_odd(event)
        try:
            # The hot path: a piece of text.
            text = raw["delta"]["message"]["content"]["text"]
            if raw["type"] == "content-delta" and text and text.__class__ is str and not self._halves:
                self._last = raw
                return (text_chunk(text, 0, raw, self._id, self._model),)
        except (KeyError, TypeError):
            pass
        return self._decode_any(raw, event.event)

    def _decode_event(self, raw: dict[str, Any], kind: str) -> list[Chunk]:
        type = as_text(raw.get("type")) or kind
        if kind == "error" or reports_error(raw) or ("message" in raw and "delta" not in raw):
            raise api_error(self._provider, raw, None, in_stream=True)
        delta = as_dict(raw.get("delta"))
        message = as_dict(delta.get("message"))
        self._id = as_word(raw.get("id")) or self._id
        if type in ("content-start", "content-delta"):
            return self._content(as_dict(message.get("content")), raw)
        if type in ("tool-call-start", "tool-call-delta"):
            return self._call(as_dict(message.get("tool_calls")), raw.get("index"), type == "tool-call-start", raw)
        if type == "tool-plan-delta":
            self._plan.append(as_text(message.get("tool_plan")))
            return [self._chunk("text", 0, raw)]
        if type == "citation-start":
            return [self._chunk("text", 0, raw)]
        if type == "message-end":
            return self._end(delta, raw)
        return []

    def _content(self, content: Mapping[str, Any], raw: Any) -> list[Chunk]:
        chunks = self._pieces("reasoning", as_text(content.get("thinking")), raw)
        return chunks + self._pieces("text", as_text(content.get("text")), raw)

    def _call(self, call: Mapping[str, Any], index: Any, begins: bool, raw: Any) -> list[Chunk]:
        index = index if isinstance(index, int) else None
        function = as_dict(call.get("function"))
        id = name = ""
        if begins or index not in self._calls:
            self._calls[index] = self._begun
            self._begun += 1
            if self._begun > MOST_CALLS:
                raise ProtocolError(f"more than {MOST_CALLS} tool calls in one reply")
            id, name = as_word(call.get("id")), as_word(function.get("name"))
        fragment = as_text(function.get("arguments"))
        if not (id or name or fragment):
            return []
        return [self._call_piece(self._calls[index], raw, id=id, name=name, arguments=fragment)]

    def _end(self, delta: Mapping[str, Any], raw: Any) -> list[Chunk]:
        word = as_word(delta.get("finish_reason")) or "COMPLETE"
        self._note_usage(_usage(as_dict(delta.get("usage"))))
        if delta.get("error") or word in ("ERROR", "TIMEOUT"):
            said = as_text(delta.get("error")) or f"the reply ended with {word}"
            failure = {"error": {"message": said, "type": "timeout" if word == "TIMEOUT" else "server_error"}}
            raise api_error(self._provider, failure, None, in_stream=True)
        self._finish_word = word
        self.ended = True
        if plan := "".join(self._plan):
            self._note_data(FORMAT, {"tool_plan": plan})
        return []

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of a reply that came as one JSON object."""
        body = as_dict(body)
        message = body.get("message")
        if isinstance(message, str) or reports_error(body):
            raise api_error(self._provider, body, None, in_stream=True)
        if not isinstance(message, dict):
            raise ProtocolError("the JSON reply is not one of Cohere's chat", excerpt=as_json(body)[:MOST_KEPT])
        self._last, self._id = body, as_word(body.get("id"))
        self._plan = [as_text(message.get("tool_plan"))]
        chunks: list[Chunk] = []
        for content in as_list(message.get("content")):
            chunks += self._content(as_dict(content), body)
        for index, call in enumerate(as_list(message.get("tool_calls"))):
            chunks += self._call(as_dict(call), index, True, body)
        return self._told(chunks + self._end(body, body))


def _usage(sent: Mapping[str, Any]) -> Usage | None:
    """Return a usage in tokens; ``billed_units`` would exclude Cohere's own prompts."""
    tokens = as_dict(sent.get("tokens")) or as_dict(sent.get("billed_units"))
    given, made = count_of(tokens.get("input_tokens")), count_of(tokens.get("output_tokens"))
    if given is None and made is None:
        return None
    return Usage(given, made, total_of(given, made), count_of(sent.get("cached_tokens")))
