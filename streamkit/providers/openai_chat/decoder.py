"""Decode chat-completions streams, with the known deviations of servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ProtocolError
from streamkit.providers.contract import Event
from streamkit.providers.reply.decoder import MOST_KEPT, ReplyDecoder, check_choices, count_of, reported_cost, total_of
from streamkit.providers.reply.errors import FAILED_FINISHES, api_error, chose_error, reports_error
from streamkit.providers.reply.tool_index import ToolIndex
from streamkit.values.chunks import Chunk, FinishReason, Usage, text_chunk
from streamkit.wire.json import parse_event
from streamkit.wire.loose_json import as_dict, as_json, as_list, as_text, as_word

__all__ = ["ChatDecoder"]

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "model_context_window_exceeded": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "sensitive": "content_filter",
    **dict.fromkeys(FAILED_FINISHES, "error"),
}

_LONGEST_WORD = 100  # characters of a finish reason
_TYPES = {
    "content": "text",
    "tool_calls": "tool_call",
    "function_call": "tool_call",
}  # the type of chunk that a field gives
_IN_RAW = ("images", "audio", "annotations")  # fields of a delta that chunks have no field for
_PLAIN = ("content", "role")  # beside these, the fields of a plain delta are empty if they are there at all


class ChatDecoder(ReplyDecoder):
    """Decodes one stream of chat completions; see ``Decoder`` for the contract.

    Args:
        provider: its name, for errors.
        choices: how many replies were asked for; until all have their finish reason there is more to come, unless
            the server ends the stream.
    """

    finish_reasons = _FINISH_REASONS
    done_marker = True
    whole: bool = False  # until every choice that was begun, and as many as were asked for, has its finish reason

    def __init__(self, provider: str, choices: int = 1) -> None:
        super().__init__(provider)
        self._wanted = choices
        self._finish: dict[int, str | None] = {}  # each choice seen, with the provider's word for its end
        self._tools: dict[int, ToolIndex] = {}
        self._told_by_deltas: dict[int, set[str]] = {}  # types of chunks, by the choice
        self._told_text = False  # by the hot path

    @property
    def enough(self) -> bool:
        """Whether every choice that was begun has its finish reason; some servers give fewer than were asked for."""
        return bool(self._finish) and None not in self._finish.values()

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event."""
        try:
            raw = parse_event(event.data)
        except ValueError:
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
                and (len(delta) == 1 or not any(delta[key] for key in delta if key not in _PLAIN))
                and choice["finish_reason"] is None
                and (index := choice["index"]) in self._finish
                and not self._halves
                and self._id
                and "error" not in raw
                and not raw.get("usage")
            ):
                self._last = raw
                self._told_text = True
                return (text_chunk(text, index, raw, self._id, self._model),)
        except (KeyError, TypeError, ValueError):
            pass
        return self._decode_any(raw, event.event)

    def _finish_reason(self, word: str | None) -> FinishReason:
        return super()._finish_reason(word[:_LONGEST_WORD].lower().replace("-", "_") if word else word)

    def _decode_event(self, raw: dict[str, Any], kind: str) -> list[Chunk]:
        self._id = as_word(raw.get("id")) or self._id
        self._model = as_word(raw.get("model")) or self._model
        self._note_usage(_usage_of(raw))
        choices = [choice for choice in as_list(raw.get("choices")) if isinstance(choice, dict)]
        if kind == "error" or reports_error(raw) or any(chose_error(choice) for choice in choices):
            unfinished = [{**choice, "finish_reason": None} for choice in choices]
            self._untold = [chunk for choice in unfinished for chunk in self._decode_choice(choice, raw)]
            raise api_error(self._provider, raw, None, in_stream=True)
        chunks = [chunk for choice in choices for chunk in self._decode_choice(choice, raw)]
        self.whole = self.enough and len(self._finish) >= self._wanted
        return chunks

    def _decode_choice(self, choice: Mapping[str, Any], raw: Any) -> list[Chunk]:
        index = choice.get("index")
        index = index if isinstance(index, int) and not isinstance(index, bool) and index >= 0 else 0
        delta = choice.get("delta")
        by_deltas = self._told_by_deltas.setdefault(index, set())
        if isinstance(delta, dict) and (delta or not choice.get("message")):
            chunks = self._decode_delta(delta, index, raw)
            by_deltas.update(chunk.type for chunk in chunks)
        else:  # a whole message: leave out what deltas delivered already
            if self._told_text:
                by_deltas.add("text")
            delta = {
                name: value for name, value in as_dict(choice.get("message")).items() if _type_of(name) not in by_deltas
            }
            chunks = self._decode_delta(delta, index, raw)
        finish = as_word(choice.get("finish_reason")) or None
        self._finish[index] = finish or self._finish.get(index)
        check_choices(len(self._finish), self._wanted)
        self._finish_word = self._finish.get(0)
        if finish and index != 0:
            told = {"finish_reason": self._finish_reason(finish), "raw_finish_reason": finish}
            chunks.append(self._chunk("text", index, raw, **told))
        return chunks

    def _decode_delta(self, delta: Mapping[str, Any], index: int, raw: Any) -> list[Chunk]:
        chunks = self._pieces("reasoning", _reasoning(delta), raw, index)
        content = delta.get("content")
        if isinstance(content, list):
            chunks += self._decode_parts(content, index, raw)
        else:
            chunks += self._pieces("text", as_text(content), raw, index)
        chunks += self._pieces("refusal", as_text(delta.get("refusal")), raw, index)
        calls = delta.get("tool_calls")
        calls = [calls] if isinstance(calls, dict) and calls else as_list(calls)  # some servers leave the list out
        if not calls and (call := delta.get("function_call")):  # the older shape; llama-cpp-python sends both
            calls = [{"index": 0, "function": call}]
        if calls:
            self._tools.setdefault(index, ToolIndex()).begin_event()
            chunks += [self._tool_call(as_dict(piece), index, raw) for piece in calls]
        if not chunks and any(delta.get(name) for name in _IN_RAW):
            chunks.append(self._chunk("text", index, raw))
        return chunks

    def _decode_parts(self, parts: list[Any], index: int, raw: Any) -> list[Chunk]:
        """Parse content that is a list of parts, as Mistral sends it."""
        chunks = []
        for part in parts:
            part = {"type": "text", "text": part} if isinstance(part, str) else as_dict(part)
            if part.get("type") == "thinking":
                inner = part.get("thinking")
                pieces = [inner] if isinstance(inner, str) else [as_dict(i).get("text") for i in as_list(inner)]
                chunks += self._pieces("reasoning", "".join(as_text(piece) for piece in pieces), raw, index)
            elif part.get("type") == "text":
                chunks += self._pieces("text", as_text(part.get("text")), raw, index)
        return chunks

    def _tool_call(self, piece: Mapping[str, Any], index: int, raw: Any) -> Chunk:
        function = as_dict(piece.get("function"))
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = as_json(arguments)  # some servers send the object itself
        id, name = as_word(piece.get("id")), as_word(function.get("name"))
        tools = self._tools.setdefault(index, ToolIndex())
        which, is_new = tools.of(piece.get("index"), id, name, arguments or "")
        told = {"id": id, "name": name} if is_new else {}
        return self._call_piece(which, raw, arguments=arguments or "", index=index, **told)

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of a reply that came as one JSON object."""
        body = body[0] if isinstance(body, list) and len(body) == 1 else body
        if not isinstance(body, dict) or not (reports_error(body) or "choices" in body):
            raise ProtocolError("the JSON reply is not a chat completion", excerpt=as_json(body)[:MOST_KEPT])
        chunks = self._decode_any(body, "")
        self.ended = bool(self._finish)
        return chunks


def _type_of(field: str) -> str:
    """Return the type of the chunks that a field of a message gives."""
    return _TYPES.get(field, "reasoning" if field.startswith("reasoning") else field)


def _reasoning(delta: Mapping[str, Any]) -> str:
    """Return the reasoning from the one field that has it: some servers send the same text in two."""
    direct = as_text(delta.get("reasoning_content")) or as_text(delta.get("reasoning"))
    if direct:
        return direct
    details = [as_dict(detail) for detail in as_list(delta.get("reasoning_details"))]
    return "".join(as_text(detail.get("text")) or as_text(detail.get("summary")) for detail in details)


def _usage_of(raw: Mapping[str, Any]) -> Usage | None:
    """Return the usage of an event, from any of its known places."""
    sent = raw.get("usage") or as_dict(raw.get("x_groq")).get("usage")
    if not sent:
        sent = next((u for c in as_list(raw.get("choices")) if (u := as_dict(c).get("usage"))), None)
    return _usage(sent) if isinstance(sent, dict) else None


def _usage(sent: Mapping[str, Any]) -> Usage:
    given, made = count_of(sent.get("prompt_tokens")), count_of(sent.get("completion_tokens"))
    total = count_of(sent.get("total_tokens"))
    inner = as_dict(sent.get("completion_tokens_details")).get("reasoning_tokens")
    # Azure may count them beside the details, and leave these at 0.
    thoughts = max((n for n in map(count_of, (inner, sent.get("reasoning_tokens"))) if n is not None), default=None)
    if thoughts and made is not None and given is not None and given + made + thoughts == total:
        made += thoughts  # xAI does not include them in completion_tokens
    details = as_dict(sent.get("prompt_tokens_details"))
    cached = (details.get("cached_tokens"), sent.get("cached_tokens"), sent.get("prompt_cache_hit_tokens"))
    written = (details.get("cache_write_tokens"), sent.get("cache_creation_input_tokens"))  # OpenRouter, LiteLLM
    return Usage(
        given,
        made,
        total_of(given, made) if total is None else total,
        next((count for count in map(count_of, cached) if count is not None), None),
        thoughts,
        reported_cost(sent),
        next((n for n in map(count_of, written) if n is not None), None),
    )
