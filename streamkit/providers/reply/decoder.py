"""Base class of all decoders: the state of one reply, and methods that make its chunks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import attrs

from streamkit.errors import ProtocolError
from streamkit.providers.contract import Event
from streamkit.providers.reply.errors import api_error
from streamkit.values.chunks import Chunk, FinishReason, ToolCallDelta, Usage, link_delta, text_chunk
from streamkit.values.growing_text import GrowingText
from streamkit.wire.json import parse_event, parse_json
from streamkit.wire.loose_json import as_json, whole_characters

__all__ = [
    "MOST_KEPT",
    "ReplyDecoder",
    "check_choices",
    "cost_of",
    "count_of",
    "reported_cost",
    "sum_of",
    "total_of",
    "unique_part",
]

_MAX_ARGUMENTS = 16 * 1024 * 1024  # characters of tool-call arguments in one stream
_MOST_CHOICES = 128  # in one reply; as many as OpenAI gives
_LONGEST_NUMBER = 100  # characters of an amount
MOST_KEPT = 16384  # characters of what a server sent, in an error; masked and cut to less where it is raised


class ReplyDecoder:
    """Base of decoders; see ``Decoder`` for the contract.

    A subclass parses one event in ``_decode_event`` and stores what it finds in the fields below. Usage and provider
    data are put on the next chunk. They never make a chunk of their own, except in ``leftover``.

    Args:
        provider: its name, for errors.
    """

    #: Maps the provider's finish reasons to ours; any other becomes "other".
    finish_reasons: ClassVar[Mapping[str, FinishReason]] = {}
    #: Whether ``[DONE]`` ends a reply; formats with another terminator ignore it.
    done_marker: ClassVar[bool] = False

    def __init__(self, provider: str) -> None:
        self.ended = False
        self._provider = provider
        self._id = ""
        self._model = ""
        self._last: Any = None  # the last event, for the done chunk
        self._finish_word: str | None = None  # of choice 0
        self._usage: Usage | None = None
        self._usage_told = True
        self._provider_data: list[Mapping[str, Any]] = []  # for the next chunk
        self._arguments = 0
        self._texts: dict[tuple[int, int], GrowingText] = {}  # of arguments, by choice and call
        self._halves: dict[tuple[int, str], str] = {}  # first halves of surrogate pairs, by choice and field
        self._untold: list[Chunk] = []  # chunks of the event that reported an error

    @property
    def whole(self) -> bool:
        """Whether all of the reply has come."""
        return self._finish_word is not None

    @property
    def enough(self) -> bool:
        """Whether a clean end of the bytes is the end of the reply; see ``Decoder``."""
        return self.whole

    # -- events ------------------------------------------------------------------------------------------

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event."""
        try:
            raw = parse_event(event.data)
        except ValueError:
            return self._decode_odd(event)
        return self._decode_any(raw, event.event)

    def _decode_odd(self, event: Event) -> Sequence[Chunk]:
        """Read what is no strict JSON: [DONE], half a character, NaN, control characters, or no JSON at all."""
        text = event.data.strip()
        if text == "[DONE]":
            self.ended = self.ended or self.done_marker
            return ()
        if not text:
            return ()  # some servers send it to keep a connection alive
        try:
            raw = parse_json(event.data)
        except ValueError:
            if event.event == "error":
                raise api_error(self._provider, event.data, None, in_stream=True) from None
            raise ProtocolError("an event is not JSON", excerpt=event.data[:MOST_KEPT]) from None
        return self._decode_any(raw, event.event)

    def _decode_any(self, raw: Any, kind: str) -> list[Chunk]:
        if isinstance(raw, list) and len(raw) == 1:
            raw = raw[0]  # Google's servers send errors in a list of one
        if not isinstance(raw, dict):
            if kind == "error":
                raise api_error(self._provider, raw, None, in_stream=True)
            raise ProtocolError("an event is not a JSON object", excerpt=as_json(raw)[:MOST_KEPT])
        self._last = raw
        return self._told(self._decode_event(raw, kind))

    def _decode_event(self, raw: dict[str, Any], kind: str) -> list[Chunk]:
        """Return the chunks of one decoded event.

        Args:
            raw: a JSON object of any shape.
            kind: the type that the framing gave it, "message" where an event stream gave none.
        """
        raise NotImplementedError

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of a reply that came as one JSON object."""
        raise NotImplementedError

    def _told(self, chunks: list[Chunk]) -> list[Chunk]:
        """Put pending usage and provider data on the last of these chunks."""
        if chunks and (self._provider_data or not self._usage_told):
            usage = chunks[-1].usage if self._usage_told else self._usage
            data = (*chunks[-1].provider_data, *self._provider_data)
            chunks[-1] = attrs.evolve(chunks[-1], usage=usage, provider_data=data)
            self._usage_told, self._provider_data = True, []
        return chunks

    # -- for subclasses: making chunks -------------------------------------------------------------------

    def _note_usage(self, usage: Usage | None) -> None:
        """Store the usage so far; ``None`` changes nothing."""
        if usage is not None and usage != self._usage:
            self._usage = usage
            self._usage_told = False

    def _note_data(self, format: str, value: Any) -> None:
        """Store data that must be sent back with the history."""
        self._provider_data.append({format: value})

    def _pieces(
        self, type: Literal["text", "reasoning", "refusal"], text: str, raw: Any, index: int = 0
    ) -> list[Chunk]:
        """Return a chunk with a piece of text, or none if there is no whole character yet."""
        text = self._characters(text, index, type)
        if not text:
            return []
        if type == "text":
            return [text_chunk(text, index, raw, self._id, self._model)]
        return [self._chunk(type, index, raw, **{type: text})]

    def _call_piece(
        self, which: int, raw: Any, *, id: str = "", name: str = "", arguments: str = "", index: int = 0
    ) -> Chunk:
        """Return a chunk with a piece of a tool call.

        Args:
            which: our number of the call, from 0.
            raw: the event.
            id, name: only on the call's first piece.
            arguments: the next fragment of their JSON text.
            index: of the choice.

        Raises:
            ProtocolError: the arguments of this reply exceed 16 Mi characters.
        """
        arguments = self._characters(arguments, index, f"arguments {which}")
        self._arguments += len(arguments)
        if self._arguments > _MAX_ARGUMENTS:
            raise ProtocolError(f"tool-call arguments of more than {_MAX_ARGUMENTS} characters")
        delta = ToolCallDelta(which, id, name, arguments)
        text = self._texts.get((index, which))
        if text is None:
            text = self._texts[index, which] = GrowingText()
        link_delta(delta, text)
        return self._chunk("tool_call", index, raw, tool_call=delta)

    def _chunk(self, type: Any, index: int, raw: Any, **fields: Any) -> Chunk:
        return Chunk(type, index=index, raw=raw, id=self._id, model=self._model, **fields)

    def _characters(self, text: str, index: int, field: str) -> str:
        """Join a surrogate pair that the server split over two events."""
        held = self._halves.pop((index, field), "")
        if not held and (text.isascii() or text.isprintable()):  # surrogates are neither
            return text
        text = held + text
        if "\ud800" <= text[-1:] <= "\udbff":
            self._halves[index, field] = text[-1]
            text = text[:-1]
        return whole_characters(text)

    # -- the end -----------------------------------------------------------------------------------------

    def _finish_reason(self, word: str | None) -> FinishReason:
        """Map the provider's finish reason to ours; a subclass may use more than the word itself."""
        return self.finish_reasons.get(word or "", "other")

    def leftover(self) -> Sequence[Chunk]:
        """Return chunks of what was not delivered: text beside an error, usage, the finish reason, provider data."""
        word = self._finish_word
        if self._usage_told and word is None and not self._provider_data:
            return self._untold
        told = {"finish_reason": self._finish_reason(word), "raw_finish_reason": word} if word else {}
        data = tuple(self._provider_data)
        return (*self._untold, self._chunk("text", 0, self._last, usage=self._usage, provider_data=data, **told))

    def finish(self) -> Chunk:
        """Return the ``done`` chunk."""
        word = self._finish_word
        return self._chunk(
            "done",
            0,
            self._last,
            finish_reason=self._finish_reason(word),
            raw_finish_reason=word,
            usage=self._usage,
            provider_data=tuple(self._provider_data),
        )


def check_choices(count: int, wanted: int) -> None:
    """Refuse more choices than were asked for, where that is more than anybody asks for.

    Raises:
        ProtocolError: there are too many.
    """
    if count > max(wanted, _MOST_CHOICES):
        raise ProtocolError(f"more than {max(wanted, _MOST_CHOICES)} choices in one reply")


def count_of(value: Any) -> int | None:
    """Return a number of tokens, ``None`` for any other value."""
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return value if known else None


def sum_of(*counts: int | None) -> int | None:
    """Return the sum of the known counts, ``None`` if none is known."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def total_of(given: int | None, made: int | None) -> int | None:
    """Return input plus output tokens, ``None`` unless both are known."""
    return None if given is None or made is None else given + made


def cost_of(value: Any) -> float | None:
    """Return an amount of USD, sent as a number or as text; ``None`` for any other value."""
    if isinstance(value, str):
        try:
            value = float(value[:_LONGEST_NUMBER])
        except ValueError:
            return None
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 10**15
    return float(value) if known else None


def reported_cost(usage: Mapping[str, Any]) -> float | None:
    """Return the cost in USD that a usage object reports, ``None`` if it reports none."""
    cost = usage.get("cost")
    if isinstance(cost, dict):  # Perplexity: an object with the total among its parts
        cost = cost.get("total_cost")
    ticks = cost_of(usage.get("cost_in_usd_ticks"))  # xAI: 10**10 ticks are a dollar
    return ticks / 1e10 if cost is None and ticks is not None else cost_of(cost)


def unique_part(told: str) -> str:
    """Return a prefix unique to this reply, for tool calls that arrived without an id.

    Ids in one history must differ. At most 21 letters and digits, because OpenAI accepts ids of 40 characters.
    """
    plain = re.sub(r"[^A-Za-z0-9]", "", told[-200:])[-20:]
    return plain and f"{plain}_"
