"""Events of a chat-completions stream to chunks, with every deviation that servers are known for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson

from streamkit.chunks import Chunk, FinishReason, ToolCallDelta, Usage, text_chunk
from streamkit.errors import ProtocolError
from streamkit.providers.base import Event
from streamkit.providers.lenient import as_dict, as_json, as_list, as_text, as_word
from streamkit.providers.openai_errors import api_error, chose_error, reports_error
from streamkit.providers.tool_index import ToolIndex
from streamkit.wire import parse_json

__all__ = ["ChatDecoder"]

_MAX_ARGUMENTS = 16 * 1024 * 1024  # characters of tool-call arguments in one stream

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "error": "error",
}

_MOST_KEPT = 16384  # characters of what a server sent, in an error; masked and cut to less where it is raised


class ChatDecoder:
    """Decodes one stream of chat completions; see ``Decoder`` for the contract.

    Args:
        provider: its name, for errors.
        choices: how many replies were asked for; until all have their finish reason there is more to come.
    """

    def __init__(self, provider: str, choices: int = 1) -> None:
        self._wanted = choices
        self.ended = False
        self._provider = provider
        self._id = ""
        self._model = ""
        self._usage: Usage | None = None
        self._usage_told = True
        self._finish: dict[int, str | None] = {}  # each choice seen, with the provider's word for its end
        self._tools: dict[int, ToolIndex] = {}
        self._arguments = 0
        self._halves: dict[tuple[int, str], str] = {}  # first halves of characters, by choice and field
        self._last: Any = None  # the last event, for the done chunk

    @property
    def whole(self) -> bool:
        """Whether every choice that was begun, and as many as were asked for, has its finish reason."""
        return len(self._finish) >= self._wanted and None not in self._finish.values()

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event."""
        try:
            raw = orjson.loads(event.data)
        except orjson.JSONDecodeError:
            return self._decode_odd(event)
        try:
            # The hot path: a piece of text, of a choice that has begun, and nothing else. Whatever is different
            # falls through.
            (choice,) = raw["choices"]
            delta = choice["delta"]
            text = delta["content"]
            if (
                text
                and text.__class__ is str
                and len(delta) == 1
                and choice["finish_reason"] is None
                and (index := choice["index"]) in self._finish
                and not self._halves
                and self._id
                and "error" not in raw
                and not raw.get("usage")
            ):
                self._last = raw
                return (text_chunk(text, index, raw, self._id, self._model),)
        except (KeyError, TypeError, ValueError):
            pass
        return self._decode_any(raw, event.event == "error")

    def _decode_odd(self, event: Event) -> Sequence[Chunk]:
        """Read what orjson refuses: [DONE], half a character, NaN, control characters, or no JSON at all."""
        if event.data.strip() == "[DONE]":
            self.ended = True
            return ()
        try:
            raw = parse_json(event.data)
        except ValueError:
            if event.event == "error":
                raise api_error(self._provider, event.data, None, in_stream=True) from None
            raise ProtocolError("an event is not JSON", excerpt=event.data[:_MOST_KEPT]) from None
        return self._decode_any(raw, event.event == "error")

    def _characters(self, text: str, index: int, field: str) -> str:
        """Join a character that the server cut in two, each half escaped in an event of its own."""
        held = self._halves.pop((index, field), "")
        if not held and text.isprintable():  # surrogates are not
            return text
        text = held + text
        if "\ud800" <= text[-1:] <= "\udbff":
            self._halves[index, field] = text[-1]
            text = text[:-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _decode_any(self, raw: Any, is_error: bool) -> list[Chunk]:
        if not isinstance(raw, dict):
            if is_error:
                raise api_error(self._provider, raw, None, in_stream=True)
            raise ProtocolError("an event is not a JSON object", excerpt=as_json(raw)[:_MOST_KEPT])
        self._last = raw
        self._id = as_word(raw.get("id")) or self._id
        self._model = as_word(raw.get("model")) or self._model
        self._note_usage(raw)
        choices = [choice for choice in as_list(raw.get("choices")) if isinstance(choice, dict)]
        if is_error or reports_error(raw) or any(chose_error(choice) for choice in choices):
            raise api_error(self._provider, raw, None, in_stream=True)
        chunks = [chunk for choice in choices for chunk in self._decode_choice(choice, raw)]
        if chunks and not self._usage_told:
            chunks[-1] = _with(chunks[-1], usage=self._usage)
            self._usage_told = True
        return chunks

    def _note_usage(self, raw: Mapping[str, Any]) -> None:
        sent = raw.get("usage") or as_dict(raw.get("x_groq")).get("usage")
        if not sent:
            sent = next((u for c in as_list(raw.get("choices")) if (u := as_dict(c).get("usage"))), None)
        if isinstance(sent, dict) and (usage := _usage(sent)) != self._usage:
            self._usage = usage
            self._usage_told = False

    def _decode_choice(self, choice: Mapping[str, Any], raw: Any) -> list[Chunk]:
        index = choice.get("index")
        index = index if isinstance(index, int) and not isinstance(index, bool) and index >= 0 else 0
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = as_dict(choice.get("message"))
        chunks = self._decode_delta(delta, index, raw)
        finish = as_word(choice.get("finish_reason")) or None
        self._finish[index] = finish or self._finish.get(index)
        if finish and index != 0:
            told = {"finish_reason": _finish_reason(finish), "raw_finish_reason": finish}
            chunks.append(self._chunk("text", index, raw, **told))
        return chunks

    def _decode_delta(self, delta: Mapping[str, Any], index: int, raw: Any) -> list[Chunk]:
        chunks = []
        if reasoning := self._characters(_reasoning(delta), index, "reasoning"):
            chunks.append(self._chunk("reasoning", index, raw, reasoning=reasoning))
        content = delta.get("content")
        if isinstance(content, list):
            chunks += self._decode_parts(content, index, raw)
        elif text := self._characters(as_text(content), index, "text"):
            chunks.append(text_chunk(text, index, raw, self._id, self._model))
        if refusal := self._characters(as_text(delta.get("refusal")), index, "refusal"):
            chunks.append(self._chunk("refusal", index, raw, refusal=refusal))
        for piece in as_list(delta.get("tool_calls")):
            chunks.append(self._tool_call(as_dict(piece), index, raw))
        if call := delta.get("function_call"):
            chunks.append(self._tool_call({"index": 0, "function": call}, index, raw))
        return chunks

    def _decode_parts(self, parts: list[Any], index: int, raw: Any) -> list[Chunk]:
        """Read content that is a list of parts, as Mistral sends it."""
        chunks = []
        for part in parts:
            part = {"type": "text", "text": part} if isinstance(part, str) else as_dict(part)
            if part.get("type") == "thinking":
                inner = part.get("thinking")
                pieces = [inner] if isinstance(inner, str) else [as_dict(i).get("text") for i in as_list(inner)]
                thought = "".join(as_text(piece) for piece in pieces)
                if thought := self._characters(thought, index, "reasoning"):
                    chunks.append(self._chunk("reasoning", index, raw, reasoning=thought))
            elif part.get("type") == "text" and (text := self._characters(as_text(part.get("text")), index, "text")):
                chunks.append(text_chunk(text, index, raw, self._id, self._model))
        return chunks

    def _tool_call(self, piece: Mapping[str, Any], index: int, raw: Any) -> Chunk:
        function = as_dict(piece.get("function"))
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = as_json(arguments)  # some servers send the object itself
        id, name = as_word(piece.get("id")), as_word(function.get("name"))
        tools = self._tools.setdefault(index, ToolIndex())
        which, is_new = tools.of(piece.get("index"), id, name)
        arguments = self._characters(arguments or "", index, f"arguments {which}")
        self._arguments += len(arguments)
        if self._arguments > _MAX_ARGUMENTS:
            raise ProtocolError(f"tool-call arguments of more than {_MAX_ARGUMENTS} characters")
        delta = ToolCallDelta(which, id if is_new else "", name if is_new else "", arguments)
        return self._chunk("tool_call", index, raw, tool_call=delta)

    def _chunk(self, type: Any, index: int, raw: Any, **fields: Any) -> Chunk:
        return Chunk(type, index=index, raw=raw, id=self._id, model=self._model, **fields)

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of a reply that came as one JSON object."""
        if not isinstance(body, dict) or not (reports_error(body) or "choices" in body):
            raise ProtocolError("the JSON reply is not a chat completion", excerpt=as_json(body)[:_MOST_KEPT])
        chunks = self._decode_any(body, False)
        self.ended = True
        return chunks

    def leftover(self) -> Sequence[Chunk]:
        """Return a chunk for the usage and the finish reason that no chunk has told yet."""
        finish = self._finish.get(0)
        if self._usage_told and finish is None:
            return ()
        told = {"finish_reason": _finish_reason(finish), "raw_finish_reason": finish} if finish else {}
        return (self._chunk("text", 0, self._last, usage=self._usage, **told),)

    def finish(self) -> Chunk:
        """Return the ``done`` chunk."""
        finish = self._finish.get(0)
        return self._chunk(
            "done",
            0,
            self._last,
            finish_reason=_finish_reason(finish),
            raw_finish_reason=finish,
            usage=self._usage,
        )


def _finish_reason(raw: str | None) -> FinishReason:
    return _FINISH_REASONS.get(raw or "", "other")


def _with(chunk: Chunk, **changes: Any) -> Chunk:
    return attrs.evolve(chunk, **changes)


def _reasoning(delta: Mapping[str, Any]) -> str:
    """Return the reasoning from the one field that has it: some servers send the same text in two."""
    direct = as_text(delta.get("reasoning_content")) or as_text(delta.get("reasoning"))
    if direct:
        return direct
    details = [as_dict(detail) for detail in as_list(delta.get("reasoning_details"))]
    return "".join(as_text(detail.get("text")) or as_text(detail.get("summary")) for detail in details)


def _usage(sent: Mapping[str, Any]) -> Usage:
    given, made = _count(sent.get("prompt_tokens")), _count(sent.get("completion_tokens"))
    total = _count(sent.get("total_tokens"))
    if total is None and given is not None and made is not None:
        total = given + made
    return Usage(
        given,
        made,
        total,
        _count(as_dict(sent.get("prompt_tokens_details")).get("cached_tokens")),
        _count(as_dict(sent.get("completion_tokens_details")).get("reasoning_tokens")),
        _cost(sent.get("cost")),
    )


def _cost(value: Any) -> float | None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 10**15
    return float(value) if known else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
