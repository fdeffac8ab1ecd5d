"""One increment of a reply: ``Chunk``, and the values that ride on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

__all__ = ["Chunk", "ChunkType", "FinishReason", "ToolCallDelta", "Usage", "text_chunk"]

ChunkType = Literal["text", "reasoning", "refusal", "tool_call", "tool_result", "done"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "cancelled", "error", "other"]


@attrs.frozen
class Usage:
    """What a reply cost, as the provider counts it; ``None`` is unknown, never 0.

    Attributes:
        input_tokens: tokens of the prompt.
        output_tokens: tokens of the reply.
        total_tokens: both, as sent, or the sum where both are known.
        cached_tokens: how many of the prompt's came from a cache.
        reasoning_tokens: how many of the reply's went into reasoning.
        cost: USD, only where the provider reports it.
        cache_write_tokens: how many of the prompt's were written to a cache, where that has a price.
        cached_apart: whether ``input_tokens`` leaves out the tokens read from and written to a cache, as
            Anthropic counts, and not includes them, as the others do.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: float | None = None
    cache_write_tokens: int | None = None
    cached_apart: bool = False


@attrs.frozen
class ToolCallDelta:
    """A piece of a tool call.

    Attributes:
        index: which call of the reply, from 0; the same for all pieces of one call.
        id: the provider's id, on the first piece, "" afterwards.
        name: the tool's name, on the first piece, "" afterwards.
        arguments: the next fragment of the JSON text of the arguments.
    """

    index: int = 0
    id: str = ""
    name: str = ""
    arguments: str = ""


@attrs.define(eq=False, repr=False)
class _ChunkFields:
    """The fields of a ``Chunk``, writable; see ``text_chunk`` for why they stand apart."""

    type: ChunkType
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    index: int = 0
    tool_call: ToolCallDelta | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    raw: Any = attrs.field(default=None, hash=False)
    id: str = ""
    model: str = ""
    raw_finish_reason: str | None = None
    provider_data: tuple[Mapping[str, Any], ...] = attrs.field(default=(), hash=False)


@attrs.frozen(repr=False)
class Chunk(_ChunkFields):
    """One increment of a reply; frozen, and hashable: the hash leaves out ``raw`` and ``provider_data``.

    Attributes:
        type: ``text``, ``reasoning``, ``refusal``, ``tool_call``, ``tool_result`` or ``done``.
        text: answer text only, "" for every other type, so that printing it is always right.
        reasoning: a piece of the model's reasoning, where it is shown.
        refusal: a piece of a refusal.
        index: which choice it belongs to; 0 unless several were asked for.
        tool_call: a piece of a tool call.
        finish_reason: why the reply ended: on the ``done`` chunk for choice 0; for each further choice on a
            ``text`` chunk of that index with empty text.
        usage: tokens so far, on the chunks whose event carried them, and on the ``done`` chunk.
        raw: the provider's decoded event, as it came.
        id: the provider's id of the reply, "" where it sends none.
        model: the model that answers, by the provider's account.
        raw_finish_reason: the provider's own word for the finish reason.
        provider_data: what the provider wants back with the history and nobody else can read, such as the
            signature of a thought: single-entry mappings of a wire format's name to a value of that format.
    """

    @property
    def finished(self) -> bool:
        """Whether this is the ``done`` chunk, the last of a stream that completed."""
        return self.type == "done"

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={value!r}"
            for field in attrs.fields(Chunk)
            if field.name != "raw" and (value := getattr(self, field.name)) != field.default
        ]
        return f"Chunk({', '.join(shown)})"


def text_chunk(text: str, index: int, raw: Any, id: str, model: str, usage: Usage | None = None) -> Chunk:
    """Build a ``text`` chunk, the one on the hot path.

    A frozen class pays for each field with a call of ``object.__setattr__``: 0.9 µs a chunk, more than
    decoding its JSON. The writable twin takes 0.2 µs, and has the same slots, so it may become a ``Chunk``
    by changing its class; from then on it is frozen.
    """
    chunk = _ChunkFields("text", text, "", "", index, None, None, usage, raw, id, model, None, ())
    chunk.__class__ = Chunk
    return chunk  # type: ignore[return-value]
