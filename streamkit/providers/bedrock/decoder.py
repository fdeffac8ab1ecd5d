"""Decode Amazon Bedrock's converse-stream.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ProtocolError
from streamkit.providers.reply.decoder import MOST_KEPT, ReplyDecoder, count_of, total_of
from streamkit.providers.reply.errors import api_error
from streamkit.providers.reply.order import Layout
from streamkit.providers.reply.tool_index import MOST_CALLS
from streamkit.values.chunks import Chunk, FinishReason, Usage
from streamkit.wire.loose_json import as_dict, as_json, as_list, as_text, as_word

__all__ = ["FORMAT", "BedrockDecoder"]

FORMAT = "bedrock"  # of provider data

_FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}


class BedrockDecoder(ReplyDecoder):
    """Decodes one converse-stream; see ``Decoder`` for the contract.

    The type of an event is in a header of its frame. The reply is whole with its stop reason. Usage may come before
    or after that, and there is no terminator.
    """

    finish_reasons = _FINISH_REASONS

    def __init__(self, provider: str) -> None:
        super().__init__(provider)
        self._calls: dict[Any, int] = {}  # our number of each call, by its block
        self._begun = 0  # calls
        self._thoughts: dict[Any, dict[str, list[str]]] = {}  # those that are open, by their block
        self._layout = Layout()

    def _decode_event(self, raw: dict[str, Any], kind: str) -> list[Chunk]:
        if kind.startswith("exception:"):
            error = {"message": raw.get("message") or raw.get("originalMessage"), "type": kind.partition(":")[2]}
            raise api_error(self._provider, {"error": error}, None, in_stream=True)
        block = raw.get("contentBlockIndex")
        block = block if isinstance(block, int) else None
        if kind == "contentBlockDelta":
            return self._delta(as_dict(raw.get("delta")), block, raw)
        if kind == "contentBlockStart":
            return [self._begin_call(as_dict(as_dict(raw.get("start")).get("toolUse")), block, raw)]
        if kind == "contentBlockStop":
            self._keep(block)
        elif kind == "messageStop":
            for unclosed in list(self._thoughts):
                self._keep(unclosed)
            self._finish_word = as_word(raw.get("stopReason")) or self._finish_word or "end_turn"
        elif kind == "metadata":
            self._note_usage(_usage(as_dict(raw.get("usage"))))
        return []

    def _begin_call(self, call: Mapping[str, Any], block: Any, raw: Any) -> Chunk:
        if not call or call.get("type") == "server_tool_use":
            return self._chunk("text", 0, raw)  # a tool on Amazon's side: all of it is in raw
        which = self._calls[block] = self._begun
        self._begun += 1
        if which >= MOST_CALLS:
            raise ProtocolError(f"more than {MOST_CALLS} tool calls in one reply")
        self._layout.call(which)
        return self._call_piece(which, raw, id=as_word(call.get("toolUseId")), name=as_word(call.get("name")))

    def _delta(self, delta: Mapping[str, Any], block: Any, raw: Any) -> list[Chunk]:
        if "text" in delta:
            chunks = self._pieces("text", as_text(delta["text"]), raw)
            for chunk in chunks:
                self._layout.text += len(chunk.text)
            return chunks
        if "toolUse" in delta:
            fragment = as_dict(delta["toolUse"]).get("input")
            fragment = fragment if isinstance(fragment, str) else as_json(fragment) if fragment else ""
            if block not in self._calls:
                return [self._chunk("text", 0, raw)]
            return [self._call_piece(self._calls[block], raw, arguments=fragment)] if fragment else []
        if "reasoningContent" in delta:
            return self._thought(as_dict(delta["reasoningContent"]), block, raw)
        if "toolResult" in delta:
            return [self._chunk("tool_result", 0, raw)]
        return [self._chunk("text", 0, raw)] if delta else []  # citations and images: all of it is in raw

    def _thought(self, content: Mapping[str, Any], block: Any, raw: Any) -> list[Chunk]:
        kept = self._thoughts.setdefault(block, {})
        for field in ("text", "signature", "redactedContent"):
            if piece := as_text(content.get(field)):
                kept.setdefault(field, []).append(piece)
        return self._pieces("reasoning", as_text(content.get("text")), raw)

    def _keep(self, block: Any) -> None:
        thought = {field: "".join(pieces) for field, pieces in self._thoughts.pop(block, {}).items()}
        if not thought or not ("redactedContent" in thought or "signature" in thought):
            return
        hidden = {"redactedContent": thought.get("redactedContent")}
        kept = hidden if "redactedContent" in thought else {"reasoningText": {"text": "", **thought}}
        for datum in (*self._layout.take(), {"reasoningContent": kept}):
            self._note_data(FORMAT, datum)

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of a reply that came as one JSON object."""
        body = as_dict(body)
        message = as_dict(as_dict(body.get("output")).get("message"))
        if not message:
            raise ProtocolError("the JSON reply is not one of converse", excerpt=as_json(body)[:MOST_KEPT])
        self._last = body
        chunks: list[Chunk] = []
        for block, content in enumerate(map(as_dict, as_list(message.get("content")))):
            if call := as_dict(content.get("toolUse")):
                chunks.append(self._begin_call(call, block, body))
                chunks += self._delta({"toolUse": {"input": call.get("input")}}, block, body)
            elif thought := as_dict(content.get("reasoningContent")):
                text = as_dict(thought.get("reasoningText"))
                chunks += self._thought({**thought, **text}, block, body)
                self._keep(block)
            else:
                chunks += self._delta(content, block, body)
        self._finish_word = as_word(body.get("stopReason")) or "end_turn"
        self._note_usage(_usage(as_dict(body.get("usage"))))
        self.ended = True
        return self._told(chunks)


def _usage(sent: Mapping[str, Any]) -> Usage | None:
    if not sent:
        return None
    given, made = count_of(sent.get("inputTokens")), count_of(sent.get("outputTokens"))
    total = count_of(sent.get("totalTokens"))
    return Usage(
        given,
        made,
        total_of(given, made) if total is None else total,
        count_of(sent.get("cacheReadInputTokens")),
        cache_write_tokens=count_of(sent.get("cacheWriteInputTokens")),
        cached_apart=True,
    )
