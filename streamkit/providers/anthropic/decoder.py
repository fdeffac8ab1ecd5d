"""Decode streams of Anthropic's Messages.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming, read 2026-11-21, and the recordings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ProtocolError
from streamkit.providers.contract import Event
from streamkit.providers.reply.decoder import MOST_KEPT, ReplyDecoder, count_of, reported_cost, total_of
from streamkit.providers.reply.errors import api_error, reports_error
from streamkit.providers.reply.order import Layout
from streamkit.values.chunks import Chunk, FinishReason, Usage, text_chunk
from streamkit.wire.json import parse_event, parse_json
from streamkit.wire.loose_json import as_dict, as_json, as_list, as_text, as_word

__all__ = ["FORMAT", "AnthropicDecoder", "usage_of"]

FORMAT = "anthropic"  # of provider data

_FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
# Blocks that are sent back with the history unchanged, besides those of tools on Anthropic's side.
_KEPT_BLOCKS = ("thinking", "redacted_thinking", "compaction", "container_upload", "fallback")
# The fields of a usage that are read; see ``usage_of``.
_COUNTS = (
    *("input_tokens", "output_tokens", "output_tokens_details"),
    *("cache_read_input_tokens", "cache_creation_input_tokens", "cost", "cost_in_usd_ticks"),
)


class AnthropicDecoder(ReplyDecoder):
    """Decodes one stream of Messages; see ``Decoder`` for the contract.

    A reply is a list of blocks, each started, grown by deltas and stopped. Tools that run on Anthropic's side are no
    tool calls of the user's: their results are ``tool_result`` chunks, and they, their calls and citations are in
    ``raw``. All but the citations go back with the history, a call without its result only if Anthropic goes on with
    it: because it paused the turn, or because it waits for the user's tools first.

    Where another model takes over, the ``fallback`` block that says so goes back as well, and later chunks name that
    model.

    A stream holds one message. A second ``message_start`` replaces the first message if none of it became a chunk,
    and is a ``ProtocolError`` afterwards: the two are never mixed.
    """

    finish_reasons = _FINISH_REASONS

    def __init__(self, provider: str) -> None:
        super().__init__(provider)
        self._has_chunks = False  # whether something of the message became a chunk
        self._begin()

    def _begin(self) -> None:
        """Forget an earlier message, of which nothing became a chunk."""
        self._id = self._model = ""
        self._finish_word = None
        self._usage, self._usage_told = None, True
        self._provider_data, self._halves = [], {}
        self._blocks: dict[Any, dict[str, Any]] = {}  # open blocks, by their index
        self._calls = 0
        self._unanswered: set[str] = set()  # ids of calls of tools on Anthropic's side
        self._container = ""  # the id of the one in which the model's code runs
        self._counts: dict[str, Any] = {}  # the last value of each field of the usage
        self._layout = Layout()

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event."""
        try:
            raw = parse_event(event.data)
        except ValueError:
            return self._decode_odd(event)
        try:
            # The hot path: a piece of text, with nothing that waits to ride on it.
            delta = raw["delta"]
            if (
                delta["type"] == "text_delta"
                and (text := delta["text"])
                and text.__class__ is str
                and self._usage_told
                and not self._provider_data
                and not self._halves
            ):
                self._last = raw
                self._has_chunks = True
                self._layout.text += len(text)
                return (text_chunk(text, 0, raw, self._id, self._model),)
        except (KeyError, TypeError):
            pass
        return self._decode_any(raw, event.event)

    def _told(self, chunks: list[Chunk]) -> list[Chunk]:
        self._has_chunks = self._has_chunks or bool(chunks)
        return super()._told(chunks)

    def _decode_event(self, raw: dict[str, Any], kind: str) -> list[Chunk]:
        type = raw.get("type") or kind
        if type == "content_block_delta":
            return self._delta(as_dict(raw.get("delta")), raw)
        if type == "content_block_start":
            return self._start(_key(raw.get("index")), as_dict(raw.get("content_block")), raw)
        if type == "content_block_stop":
            return self._stop(_key(raw.get("index")), raw)
        if type == "message_start":
            if self._has_chunks:
                raise ProtocolError("a second message began in the same stream", excerpt=as_json(raw)[:MOST_KEPT])
            self._begin()
            return self._message(as_dict(raw.get("message")), raw)
        if type == "message_delta":
            self._count(as_dict(raw.get("usage")), known=True)
            return self._ending(as_dict(raw.get("delta")), raw)
        if type == "message_stop":
            self.ended = True
            return [
                chunk for key in list(self._blocks) for chunk in self._stop(key, raw)
            ]  # blocks that were not closed
        if type == "error" or kind == "error" or reports_error(raw):
            raise api_error(self._provider, raw, None, in_stream=True)
        return []  # "ping", and events of newer versions

    def _ending(self, ending: Mapping[str, Any], raw: Any) -> list[Chunk]:
        self._finish_word = as_word(ending.get("stop_reason")) or self._finish_word
        reason = ending.get("stop_reason")
        if reason == "pause_turn" or (reason == "tool_use" and self._unanswered):
            self._note_data(FORMAT, {"paused": True})
        self._container = as_word(as_dict(ending.get("container")).get("id")) or self._container
        if reason and self._container:
            self._note_data(FORMAT, {"container": self._container})
        return self._pieces("refusal", as_text(as_dict(ending.get("stop_details")).get("explanation")), raw)

    def _message(self, message: Mapping[str, Any], raw: Any) -> list[Chunk]:
        """Parse the start of a message, or a whole message."""
        self._id = as_word(message.get("id")) or self._id
        self._model = as_word(message.get("model")) or self._model
        chunks: list[Chunk] = []
        for number, block in enumerate(as_list(message.get("content"))):
            key = f"whole {number}"
            chunks += self._start(key, as_dict(block), raw)
            chunks += self._stop(key, raw)
        self._count(as_dict(message.get("usage")), known=bool(message.get("stop_reason")))
        return chunks + self._ending(message, raw)

    def _start(self, key: Any, block: Mapping[str, Any], raw: Any) -> list[Chunk]:
        type = as_text(block.get("type"))
        self._blocks[key] = {"type": type, "parts": []}
        if len(self._blocks) > 4096:
            raise ProtocolError("more than 4096 blocks are open at once")
        if type == "tool_use":
            which, self._calls = self._calls, self._calls + 1
            self._layout.call(which)
            self._blocks[key] |= {"which": which, "input": block.get("input")}
            caller = as_dict(block.get("caller"))
            if caller.get("type", "direct") != "direct":  # code that runs on Anthropic's side, and waits for the result
                self._note_data(FORMAT, {"call": which, "caller": caller})
            return [self._call_piece(which, raw, id=as_word(block.get("id")), name=as_word(block.get("name")))]
        if type == "text":
            return self._text(as_text(block.get("text")), raw)
        on_their_side = type.endswith(("_tool_use", "_tool_result"))
        if type.endswith("_tool_use"):
            self._unanswered.add(as_text(block.get("id")))
        elif on_their_side:
            self._unanswered.discard(as_text(block.get("tool_use_id")))
        if type in _KEPT_BLOCKS or on_their_side:
            self._blocks[key]["block"] = dict(block)
        if type == "fallback":
            self._model = as_word(as_dict(block.get("to")).get("model")) or self._model
        elif type in _KEPT_BLOCKS:
            return self._pieces("reasoning", as_text(block.get("thinking")), raw)
        return [self._chunk("tool_result" if type.endswith("_tool_result") else "text", 0, raw)]

    def _text(self, text: str, raw: Any) -> list[Chunk]:
        chunks = self._pieces("text", text, raw)
        self._layout.text += sum(len(chunk.text) for chunk in chunks)
        return chunks

    def _delta(self, delta: Mapping[str, Any], raw: Mapping[str, Any]) -> list[Chunk]:
        type = delta.get("type")
        block = self._blocks.get(_key(raw.get("index")), {})
        if type == "text_delta":
            return self._text(as_text(delta.get("text")), raw)
        if type == "input_json_delta":
            return self._arguments_piece(block, as_text(delta.get("partial_json")), raw)
        if type == "thinking_delta":
            thought = as_text(delta.get("thinking"))
            block.setdefault("parts", []).append(thought)
            return self._pieces("reasoning", thought, raw)
        if type == "signature_delta" and "block" in block:
            block.setdefault("signature", []).append(as_text(delta.get("signature")))
        elif type == "compaction_delta" and "block" in block:
            block["block"] |= {name: value for name, value in delta.items() if name != "type"}
        elif type == "citations_delta":
            return [self._chunk("text", 0, raw)]  # all of it is in raw
        return []

    def _arguments_piece(self, block: dict[str, Any], fragment: str, raw: Any) -> list[Chunk]:
        if "which" not in block:
            block.setdefault("parts", []).append(fragment)
            return [self._chunk("text", 0, raw)]  # for a tool on Anthropic's side
        if not fragment:
            return []
        block["input"] = None  # it comes in fragments
        return [self._call_piece(block["which"], raw, arguments=fragment)]

    def _stop(self, key: Any, raw: Any) -> list[Chunk]:
        block = self._blocks.pop(key, {})
        if block.get("input"):
            return [self._call_piece(block["which"], raw, arguments=as_json(block["input"]))]
        if "block" in block:
            kept, parts = block["block"], "".join(block["parts"])
            if "signature" in block:
                kept["signature"] = as_text(kept.get("signature")) + "".join(block["signature"])
            if block["type"] == "thinking":
                kept["thinking"] = as_text(kept.get("thinking")) + parts
            elif parts:
                try:
                    kept["input"] = as_dict(parse_json(parts))
                except ValueError:
                    return []  # incomplete: Anthropic would refuse it
            for datum in (*self._layout.take(), kept):
                self._note_data(FORMAT, datum)
        return []

    def _count(self, sent: Mapping[str, Any], *, known: bool) -> None:
        """Merge a usage, which is cumulative: a field that a later one leaves out keeps its value.

        Args:
            sent: as sent.
            known: whether output_tokens is final; at the start of a stream it counts the first token only.
        """
        self._counts |= {name: value for name in _COUNTS if (value := sent.get(name)) is not None}
        if self._counts:
            self._note_usage(usage_of(self._counts if known else {**self._counts, "output_tokens": None}))

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of a reply that came as one JSON object."""
        body = as_dict(body)
        if body.get("type") == "error" or reports_error(body):
            raise api_error(self._provider, body, None, in_stream=True)
        if not isinstance(body.get("content"), list):
            raise ProtocolError("the JSON reply is not a message", excerpt=as_json(body)[:MOST_KEPT])
        self._last = body
        chunks = self._told(self._message(body, body))
        self.ended = True
        return chunks


def _key(index: Any) -> Any:
    return index if isinstance(index, (int, str)) else None


def usage_of(counts: Mapping[str, Any]) -> Usage:
    """Return a usage as Anthropic counts: input_tokens excludes tokens read from or written to the cache."""
    given, made = count_of(counts.get("input_tokens")), count_of(counts.get("output_tokens"))
    return Usage(
        given,
        made,
        total_of(given, made),
        count_of(counts.get("cache_read_input_tokens")),
        count_of(as_dict(counts.get("output_tokens_details")).get("thinking_tokens")),
        reported_cost(counts),  # by a proxy such as LiteLLM's; Anthropic itself does not say
        cache_write_tokens=count_of(counts.get("cache_creation_input_tokens")),
        cached_apart=True,
    )
