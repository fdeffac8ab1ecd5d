"""Decode streams of Gemini's interactions.

Source: https://ai.google.dev/gemini-api/docs/interactions, read 2026-11-21, and the recordings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ProtocolError
from streamkit.providers.contract import Event
from streamkit.providers.reply.decoder import MOST_KEPT, ReplyDecoder, count_of, sum_of, total_of
from streamkit.providers.reply.errors import api_error, reports_error
from streamkit.providers.reply.tool_index import MOST_CALLS
from streamkit.values.chunks import Chunk, FinishReason, Usage, text_chunk
from streamkit.wire.json import parse_event
from streamkit.wire.loose_json import as_dict, as_json, as_list, as_text, as_word

__all__ = ["FORMAT", "InteractionsDecoder"]

FORMAT = "gemini-interactions"  # of provider data

_FINISH_REASONS: dict[str, FinishReason] = {
    "completed": "stop",
    "requires_action": "tool_calls",
    "incomplete": "length",
    "budget_exceeded": "length",
    "cancelled": "cancelled",
}
_UNDER_WAY = ("in_progress", "queued")
# Older servers send contents instead of steps.
_OLD_EVENTS = {
    "interaction.start": "interaction.created",
    "interaction.complete": "interaction.completed",
    **{f"content.{step}": f"step.{step}" for step in ("start", "delta", "stop")},
}


class InteractionsDecoder(ReplyDecoder):
    """Decodes one stream of an interaction; see ``Decoder`` for the contract.

    An interaction is a list of steps, each started, grown by deltas and stopped. The last event has the status and
    the usage.
    """

    finish_reasons = _FINISH_REASONS

    def __init__(self, provider: str) -> None:
        super().__init__(provider)
        self._steps: dict[Any, dict[str, Any]] = {}  # open steps, by their index
        self._has_steps = False  # whether steps were streamed, so that a list of them at the end brings nothing new
        self._calls = 0

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event."""
        try:
            raw = parse_event(event.data)
        except ValueError:
            return self._decode_odd(event)
        try:
            # The hot path: a piece of text of the answer.
            delta = raw["delta"]
            text = delta["text"]
            if (
                delta["type"] == "text"
                and text
                and text.__class__ is str
                and self._steps[raw["index"]]["type"] == "model_output"
                and not self._halves
                and not self._provider_data
            ):
                self._last = raw
                return (text_chunk(text, 0, raw, self._id, self._model),)
        except (KeyError, TypeError):
            pass
        return self._decode_any(raw, event.event)

    def _decode_event(self, raw: dict[str, Any], kind: str) -> list[Chunk]:
        type = as_text(raw.get("event_type")) or kind
        type = _OLD_EVENTS.get(type, type)
        if type == "error" or kind == "error" or reports_error(raw):
            raise api_error(self._provider, raw, None, in_stream=True)
        index = raw.get("index") if isinstance(raw.get("index"), int) else None
        if type == "step.start":
            self._has_steps = True
            return self._start(as_dict(raw.get("step")) or as_dict(raw.get("content")), index, raw)
        if type == "step.delta":
            return self._delta(as_dict(raw.get("delta")), self._steps.get(index, {}), raw)
        if type == "step.stop":
            return self._stop(self._steps.pop(index, {}), raw)
        interaction = as_dict(raw.get("interaction"))
        self._id = as_word(interaction.get("id")) or self._id
        self._model = as_word(interaction.get("model")) or self._model
        self._note_usage(_usage(as_dict(interaction.get("usage"))))
        status = as_word(interaction.get("status")) or as_word(raw.get("status"))
        chunks: list[Chunk] = []
        if type == "interaction.completed":
            chunks = [] if self._has_steps else self._whole_steps(interaction, raw)
            chunks += [
                chunk for open_step in list(self._steps) for chunk in self._stop(self._steps.pop(open_step), raw)
            ]
            self._untold = chunks  # in case it ended in an error
            self._end(interaction, "" if status in _UNDER_WAY else status)
        elif type.startswith("interaction.") and (
            status == "failed" or ("interaction" in raw and status in _FINISH_REASONS)
        ):
            self._end(interaction, status)
        return chunks

    def _whole_steps(self, interaction: Mapping[str, Any], raw: Any) -> list[Chunk]:
        chunks: list[Chunk] = []
        for index, step in enumerate(
            map(as_dict, as_list(interaction.get("steps")) or as_list(interaction.get("outputs")))
        ):
            chunks += self._start(step, index, raw)
            chunks += self._stop(self._steps.pop(index), raw)
        return chunks

    def _start(self, step: Mapping[str, Any], index: Any, raw: Any) -> list[Chunk]:
        type = as_text(step.get("type"))
        open_step: dict[str, Any] = {"type": type, "summary": []}
        self._steps[index] = open_step
        if len(self._steps) > 4096:
            raise ProtocolError("more than 4096 steps are open at once")
        if type == "user_input":
            return []  # the question, repeated
        if type == "function_call":
            open_step["which"], self._calls = self._calls, self._calls + 1
            if self._calls > MOST_CALLS:
                raise ProtocolError(f"more than {MOST_CALLS} tool calls in one reply")
            open_step["arguments"] = step.get("arguments")
            open_step["signature"] = [as_text(step.get("signature"))]
            id = as_word(step.get("id"))
            return [self._call_piece(open_step["which"], raw, id=id, name=as_word(step.get("name")))]
        chunks = self._pieces("text", as_text(step.get("text")), raw) if type == "text" else []
        for content in as_list(step.get("content")):
            chunks += self._pieces("text", as_text(as_dict(content).get("text")), raw)
        if type == "thought":
            open_step["signature"] = [as_text(step.get("signature"))]
            for content in map(as_dict, as_list(step.get("summary"))):
                chunks += self._delta({"type": "thought", "content": content}, open_step, raw)
        elif type not in ("model_output", "text"):
            chunks.append(self._chunk("text", 0, raw))  # a tool on Google's side: all of it is in raw
        return chunks

    def _delta(self, delta: Mapping[str, Any], step: dict[str, Any], raw: Any) -> list[Chunk]:
        type = delta.get("type")
        if step.get("type") == "user_input":
            return []
        if type == "text":
            return self._pieces(
                "reasoning" if step.get("type") == "thought" else "text", as_text(delta.get("text")), raw
            )
        if type == "arguments_delta" and "which" in step:
            fragment = as_text(delta.get("arguments"))
            step["arguments"] = None  # they come in fragments
            return [self._call_piece(step["which"], raw, arguments=fragment)] if fragment else []
        if type == "function_call" and "which" in step:
            step["arguments"] = delta.get("arguments")
            return [self._call_piece(step["which"], raw, id=as_word(delta.get("id")), name=as_word(delta.get("name")))]
        if type == "thought_signature":
            step.setdefault("signature", []).append(as_text(delta.get("signature")))
            return []
        if type in ("thought", "thought_summary"):
            content = as_dict(delta.get("content"))
            text = as_text(content.get("text")) or as_text(delta.get("thought")) or as_text(delta.get("text"))
            if text:
                step.setdefault("summary", []).append(text)
            return self._pieces("reasoning", text, raw)
        return [self._chunk("text", 0, raw)] if delta else []  # searches and notes on them: all of it is in raw

    def _stop(self, step: Mapping[str, Any], raw: Any) -> list[Chunk]:
        signature = "".join(step.get("signature", ()))
        if step.get("type") == "thought" and signature:
            summary = [{"type": "text", "text": "".join(step["summary"])}] if step["summary"] else []
            kept = {"type": "thought", "signature": signature, **({"summary": summary} if summary else {})}
            self._note_data(FORMAT, kept)
        if "which" in step and signature:
            self._note_data(FORMAT, {"call": step["which"], "signature": signature})
        if step.get("arguments"):
            return [self._call_piece(step["which"], raw, arguments=as_json(step["arguments"]))]
        return []

    def _end(self, interaction: Mapping[str, Any], status: str) -> None:
        if status == "failed":
            failure = interaction if interaction.get("error") else {"error": {"message": "the interaction failed"}}
            raise api_error(self._provider, failure, None, in_stream=True)
        if self._id:
            self._note_data(FORMAT, {"id": self._id})
        self._finish_word = status or ("requires_action" if self._calls else "completed")
        self.ended = True

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of an interaction that came as one JSON object."""
        body = as_dict(body)
        if reports_error(body):
            raise api_error(self._provider, body, None, in_stream=True)
        if "status" not in body:
            raise ProtocolError("the JSON reply is not an interaction", excerpt=as_json(body)[:MOST_KEPT])
        self._id, self._model = as_word(body.get("id")), as_word(body.get("model"))
        self._last = body
        chunks = self._whole_steps(body, body)
        self._note_usage(_usage(as_dict(body.get("usage"))))
        self._untold = chunks
        if as_word(body.get("status")) not in _UNDER_WAY:
            self._end(body, as_word(body.get("status")))
        return self._told(chunks)


def _usage(sent: Mapping[str, Any]) -> Usage | None:
    """Return a usage whose output includes thoughts, as they are billed."""
    if not sent:
        return None
    given, thoughts = count_of(sent.get("total_input_tokens")), count_of(sent.get("total_thought_tokens"))
    made = sum_of(count_of(sent.get("total_output_tokens")), thoughts)
    total = count_of(sent.get("total_tokens"))
    cached = count_of(sent.get("total_cached_tokens"))
    return Usage(given, made, total_of(given, made) if total is None else total, cached, thoughts)
