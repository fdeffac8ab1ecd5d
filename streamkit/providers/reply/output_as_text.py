"""Read the call of one tool as the text of a reply, where a provider can be held to a schema by such a call alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import attrs

from streamkit.providers.contract import Decoder, Event
from streamkit.values.chunks import Chunk

__all__ = ["OutputAsText"]


class OutputAsText:
    """Decodes one stream, in which the arguments of one tool's call become ``text`` chunks; see ``Decoder``.

    To the user the reply is what it is with providers that know schemas: JSON as text, that ends with ``stop``. What
    the model says besides becomes reasoning, as it is no part of the JSON: it is held back until the call begins. Where
    it never does, it is the text of the reply. A further call of the tool is left out: a reply is one value. Calls of
    other tools, and the text with them, stay what they are.

    Args:
        decoder: decodes the provider's format.
        name: the tool whose call is the output.
    """

    def __init__(self, decoder: Decoder, name: str) -> None:
        self._decoder = decoder
        self._name = name
        self._kinds: dict[tuple[int, int], Literal["output", "further", "other"]] = {}  # calls, by choice and index
        self._held: list[Chunk] = []  # text that may be the reply, or said besides

    @property
    def ended(self) -> bool:
        """Whether the terminator has come."""
        return self._decoder.ended

    @property
    def whole(self) -> bool:
        """Whether all of the reply has come."""
        return self._decoder.whole

    @property
    def enough(self) -> bool:
        """Whether a clean end of the bytes is the end of the reply."""
        return bool(getattr(self._decoder, "enough", self._decoder.whole))

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event."""
        return self._told(self._decoder.decode(event))

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of a reply that came as one JSON object."""
        return self._told(self._decoder.decode_whole(body))

    def leftover(self) -> Sequence[Chunk]:
        """Return chunks for what was received but not delivered yet."""
        return [*self._release(), *self._told(self._decoder.leftover()), *self._release()]

    def finish(self) -> Chunk:
        """Return the ``done`` chunk."""
        return self._with_reason(self._decoder.finish())

    # -- chunks ------------------------------------------------------------------------------------------

    def _told(self, chunks: Iterable[Chunk]) -> list[Chunk]:
        told = [each for chunk in chunks for each in self._changed(chunk)]
        return [*told, *self._release()] if self.ended or self.whole or self.enough else told

    def _changed(self, chunk: Chunk) -> list[Chunk]:
        if chunk.tool_call is not None:
            return self._of_call(chunk)
        kinds = self._kinds_of(chunk.index)
        if chunk.text and "output" in kinds:
            return [_as_reasoning(self._with_reason(chunk))]
        if chunk.text and not kinds:
            self._held.append(chunk)
            return []
        return [self._with_reason(chunk)]

    def _of_call(self, chunk: Chunk) -> list[Chunk]:
        call = chunk.tool_call
        assert call is not None
        key = (chunk.index, call.index)
        held: list[Chunk] = []
        if key not in self._kinds:
            first = "output" not in self._kinds_of(chunk.index)
            self._kinds[key] = "other" if call.name != self._name else "output" if first else "further"
            held = self._release(chunk.index)
        kind = self._kinds[key]
        if kind == "other":
            return [*held, chunk]
        text = call.arguments if kind == "output" else ""
        changed = attrs.evolve(self._with_reason(chunk), type="text", text=text, tool_call=None)
        return [*held, changed] if text or chunk.usage or changed.provider_data else held

    def _kinds_of(self, choice: int) -> set[str]:
        return {kind for (index, _), kind in self._kinds.items() if index == choice}

    def _release(self, choice: int | None = None) -> list[Chunk]:
        """Return text that was held back, of one choice or of all: as reasoning if the output has begun."""
        held = [chunk for chunk in self._held if choice in (None, chunk.index)]
        self._held = [chunk for chunk in self._held if choice not in (None, chunk.index)]
        return [_as_reasoning(chunk) if "output" in self._kinds_of(chunk.index) else chunk for chunk in held]

    def _with_reason(self, chunk: Chunk) -> Chunk:
        """Return a chunk whose finish reason and provider data fit a reply of text.

        Provider data that come from the output on may count it as a call, of which the history has none.
        """
        kinds = self._kinds_of(chunk.index)
        if "output" not in kinds:
            return chunk
        calls_only = chunk.finish_reason == "tool_calls" and "other" not in kinds
        reason = "stop" if calls_only else chunk.finish_reason
        return attrs.evolve(chunk, finish_reason=reason, provider_data=())


def _as_reasoning(chunk: Chunk) -> Chunk:
    return attrs.evolve(chunk, type="reasoning", text="", reasoning=chunk.text)
