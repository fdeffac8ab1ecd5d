"""Decode streams of Gemini's streamGenerateContent.

Source: https://ai.google.dev/api/generate-content, read 2026-11-21, and the recordings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from streamkit.errors import ProtocolError
from streamkit.providers.contract import Event
from streamkit.providers.gemini.partial_arguments import PartialArguments
from streamkit.providers.reply.decoder import (
    MOST_KEPT,
    ReplyDecoder,
    check_choices,
    count_of,
    sum_of,
    total_of,
    unique_part,
)
from streamkit.providers.reply.errors import api_error, reports_error
from streamkit.providers.reply.order import Layout
from streamkit.providers.reply.tool_index import MOST_CALLS
from streamkit.values.chunks import Chunk, FinishReason, Usage, text_chunk
from streamkit.wire.json import parse_event
from streamkit.wire.loose_json import as_dict, as_json, as_list, as_text, as_word

__all__ = ["FORMAT", "MADE_ID", "GeminiDecoder", "usage_of"]

FORMAT = "gemini"  # of provider data
MADE_ID = "gemini_call_"  # prefix of the ids that are made for calls without one

_FILTERED = "SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII LANGUAGE OTHER_SAFETY IMAGE_SAFETY IMAGE_RECITATION"
_FAILED = "MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS MALFORMED_RESPONSE"
_FINISH_REASONS: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(f"{_FILTERED} IMAGE_PROHIBITED_CONTENT MODEL_ARMOR".split(), "content_filter"),
    **dict.fromkeys(_FAILED.split(), "error"),
}
_NO_REASONS = ("", "FINISH_REASON_UNSPECIFIED")
# Parts of tools that run on Google's side. They go back with the history as they came.
_KEPT_PARTS = frozenset(("executableCode", "codeExecutionResult", "toolCall", "toolResponse"))


class _Call:
    """A function call whose arguments come in parts."""

    def __init__(self, which: int) -> None:
        self.which = which
        self.arguments = PartialArguments()


class GeminiDecoder(ReplyDecoder):
    """Decodes one stream of generated content; see ``Decoder`` for the contract.

    A reply is whole once as many candidates as were asked for have their finish reason; there is no terminator. A
    blocked prompt ends it as well, with the reason of the block. Arguments that come in parts, as paths and values,
    are delivered in one piece after the last part: only then is their JSON known.

    Args:
        provider: its name, for errors.
        candidates: how many replies were asked for.
    """

    finish_reasons = _FINISH_REASONS

    def __init__(self, provider: str, candidates: int = 1) -> None:
        super().__init__(provider)
        self._wanted = candidates
        self._ends: dict[int, str | None] = {}  # each candidate's finish reason
        self._calls: dict[int, int] = {}  # number of calls of each candidate
        self._open: dict[int, _Call] = {}
        self._blocked: str | None = None
        self._counts: Any = None
        self._layout = Layout()  # of candidate 0

    @property
    def whole(self) -> bool:
        """Whether every candidate has its finish reason, or the prompt was blocked."""
        return self._blocked is not None or (len(self._ends) >= self._wanted and self.enough)

    @property
    def enough(self) -> bool:
        """Whether every candidate that was begun has its finish reason; there may be fewer than were asked for."""
        return self._blocked is not None or (bool(self._ends) and None not in self._ends.values())

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event."""
        try:
            raw = parse_event(event.data)
        except ValueError:
            return self._decode_odd(event)
        try:
            # The hot path: one more piece of text of the only candidate.
            (candidate,) = raw["candidates"]
            (part,) = candidate["content"]["parts"]
            text = part["text"]
            if (
                text
                and text.__class__ is str
                and len(part) == 1
                and len(self._ends) == 1
                and "finishReason" not in candidate
                and not candidate.get("index")
                and not self._open
                and not self._halves
                and not self._provider_data
            ):
                self._last = raw
                self._layout.text += len(text)
                usage = None
                if (counts := raw.get("usageMetadata")) != self._counts and counts.__class__ is dict:
                    self._count(counts)
                if not self._usage_told:
                    self._usage_told = True
                    usage = self._usage
                return (text_chunk(text, 0, raw, self._id, self._model, usage),)
        except (KeyError, TypeError, ValueError):
            pass
        return self._decode_any(raw, event.event)

    def _decode_event(self, raw: dict[str, Any], kind: str) -> list[Chunk]:
        if kind == "error" or reports_error(raw):
            raise api_error(self._provider, raw, None, in_stream=True)
        self._id = as_word(raw.get("responseId")) or self._id
        self._model = as_word(raw.get("modelVersion")) or self._model
        if isinstance(raw.get("usageMetadata"), dict):
            self._count(raw["usageMetadata"])
        feedback = as_dict(raw.get("promptFeedback"))
        if as_word(feedback.get("blockReason")) not in ("", "BLOCK_REASON_UNSPECIFIED"):
            self._blocked = self._finish_word = as_word(feedback["blockReason"])
            return self._pieces("refusal", as_text(feedback.get("blockReasonMessage")), raw)
        return [
            chunk for candidate in as_list(raw.get("candidates")) for chunk in self._candidate(as_dict(candidate), raw)
        ]

    def _candidate(self, candidate: Mapping[str, Any], raw: Any) -> list[Chunk]:
        index = candidate.get("index")
        index = index if isinstance(index, int) and not isinstance(index, bool) and index >= 0 else 0
        chunks: list[Chunk] = []
        for part in as_list(as_dict(candidate.get("content")).get("parts")):
            chunks += self._part(as_dict(part), index, raw)
        word = as_word(candidate.get("finishReason"))
        self._ends[index] = self._ends.get(index) if word in _NO_REASONS else word
        check_choices(len(self._ends), self._wanted)
        self._finish_word = self._ends.get(0)
        if word not in _NO_REASONS:
            chunks += self._end_call(index, raw)
            if index:
                told = {"finish_reason": self._reason(word, index), "raw_finish_reason": word}
                chunks.append(self._chunk("text", index, raw, **told))
            elif message := as_text(candidate.get("finishMessage")):
                chunks += self._pieces("refusal", message, raw) if self._reason(word, 0) == "content_filter" else []
        return chunks

    def _part(self, part: Mapping[str, Any], index: int, raw: Any) -> list[Chunk]:
        signature = as_text(part.get("thoughtSignature"))
        if isinstance(part.get("functionCall"), dict):
            return self._function_call(part["functionCall"], signature, index, raw)
        chunks = self._end_call(index, raw)
        if not _KEPT_PARTS.isdisjoint(part):
            if not index:
                for datum in (*self._layout.take(), {"part": dict(part)}):
                    self._note_data(FORMAT, datum)
        elif signature and not index:
            self._note_data(FORMAT, {"text": True, "signature": signature})
        if "text" in part:
            kind: Literal["reasoning", "text"] = "reasoning" if part.get("thought") else "text"
            pieces = self._pieces(kind, as_text(part["text"]), raw, index)
            if not index:
                self._layout.text += sum(len(piece.text) for piece in pieces)
            return chunks + pieces
        if part:  # code that ran on Google's side, an image: all of it is in raw
            chunks.append(self._chunk("text", index, raw))
        return chunks

    def _function_call(self, call: Mapping[str, Any], signature: str, index: int, raw: Any) -> list[Chunk]:
        name, chunks = as_word(call.get("name")), []
        if name or index not in self._open:
            chunks += self._end_call(index, raw)
            if not name and not call.get("args") and not call.get("partialArgs"):
                return chunks  # an empty call, which ends the one before
            whole = not (call.get("willContinue") or call.get("partialArgs"))
            arguments = as_json(as_dict(call.get("args"))) if whole else ""
            chunks.append(self._begin_call(call, name, signature, index, raw, arguments))
            if whole:
                del self._open[index]
                return chunks
        current = self._open[index]
        for partial in map(as_dict, as_list(call.get("partialArgs"))):
            for kind in ("stringValue", "numberValue", "boolValue", "nullValue"):
                if kind in partial:
                    value = None if kind == "nullValue" else partial[kind]
                    current.arguments.put(as_text(partial.get("jsonPath")), value)
        if isinstance(call.get("args"), dict):
            current.arguments.update(call["args"])
        if call.get("willContinue"):
            return chunks or [self._call_piece(current.which, raw, index=index)]
        return chunks + self._end_call(index, raw)

    def _begin_call(
        self, call: Mapping[str, Any], name: str, signature: str, index: int, raw: Any, arguments: str
    ) -> Chunk:
        which = self._calls.get(index, 0)
        if which >= MOST_CALLS:
            raise ProtocolError(f"more than {MOST_CALLS} tool calls in one reply")
        self._calls[index] = which + 1
        self._open[index] = _Call(which)
        if not index:
            self._layout.call(which)
        if signature and not index:
            self._note_data(FORMAT, {"call": which, "signature": signature})
        id = as_word(call.get("id")) or f"{MADE_ID}{unique_part(self._id)}{which}"
        return self._call_piece(which, raw, id=id, name=name, arguments=arguments, index=index)

    def _end_call(self, index: int, raw: Any) -> list[Chunk]:
        """Return the arguments of the open call, if any."""
        call = self._open.pop(index, None)
        if call is None:
            return []
        return [self._call_piece(call.which, raw, arguments=as_json(call.arguments.whole()), index=index)]

    def _reason(self, word: str | None, index: int) -> FinishReason:
        if word == "STOP" and self._calls.get(index):
            return "tool_calls"
        return _FINISH_REASONS.get(word or "", "other")

    def _finish_reason(self, word: str | None) -> FinishReason:
        return "content_filter" if self._blocked is not None else self._reason(word, 0)

    def _count(self, counts: Mapping[str, Any]) -> None:
        self._counts = counts
        usage = usage_of(counts)
        if usage is not None:
            self._note_usage(usage)

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of a reply that came as one JSON object, or as the list of a stream's events."""
        events = body if isinstance(body, list) else [body]
        known = ("candidates", "promptFeedback", "error", "usageMetadata")
        if not events or not all(isinstance(event, dict) and any(key in event for key in known) for event in events):
            raise ProtocolError("the JSON reply is no generated content", excerpt=as_json(body)[:MOST_KEPT])
        return [chunk for event in events for chunk in self._decode_any(event, "")]


def usage_of(counts: Mapping[str, Any]) -> Usage | None:
    """Return a usage whose output includes thoughts, as they are billed; ``None`` if it has no counts."""
    given, thoughts = count_of(counts.get("promptTokenCount")), count_of(counts.get("thoughtsTokenCount"))
    made = sum_of(count_of(counts.get("candidatesTokenCount")), thoughts)
    total = count_of(counts.get("totalTokenCount"))
    if given is None and made is None and total is None:
        return None
    return Usage(
        given,
        made,
        total_of(given, made) if total is None else total,
        count_of(counts.get("cachedContentTokenCount")),
        thoughts,
    )
