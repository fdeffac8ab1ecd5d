"""Let the events of a reply pass as they came, for a client that speaks the provider's format: ``PassingDecoder``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs

from streamkit.providers.contract import Decoder, Event
from streamkit.values.chunks import Chunk, text_chunk

__all__ = ["PassedEvent", "PassingDecoder", "Telling"]


@attrs.frozen
class PassedEvent:
    """An event as it came: the ``raw`` of a text chunk without text.

    Attributes:
        event: its type, "" or ``message`` for none.
        data: its text, usually JSON.
        decoded: whether it told more than a piece of the reply.
        last: whether it ended the reply.
    """

    event: str
    data: str
    decoded: bool = False
    last: bool = False


@attrs.frozen
class Telling:
    """Tells events that have to be decoded from those that are only the next piece of a reply.

    Attributes:
        pattern: found in the text of each event that has to be decoded, perhaps in others.
        usual: in the text of most pieces, as most servers write them.
        odd: a piece that has ``usual`` and none of these needs no search for the pattern, which takes ten times as
            long.
    """

    pattern: re.Pattern[str]
    usual: str
    odd: tuple[str, ...]

    def __call__(self, data: str) -> bool:
        """Return whether the event has to be decoded."""
        if self.usual in data and data[0] == "{":
            for word in self.odd:
                if word in data:
                    break
            else:
                return False
        return self.pattern.search(data) is not None


class PassingDecoder:
    """Hands on each event as it came, and decodes only those that tell more than a piece of the reply.

    Each event gives a chunk whose ``raw`` is a ``PassedEvent``. Those that are decoded give their own chunks behind
    it, for whoever counts; their text has passed already. The event that ends the reply is the ``raw`` of the ``done``
    chunk instead, so that whoever relays the events can do something before it.

    The completion of such a stream has its usage, finish reason, id and model, but not its text.

    Args:
        decoder: of the provider.
        telling: tells which events have to be decoded: those that begin and end a reply, report its usage or an error.
            One too many does no harm.
    """

    def __init__(self, decoder: Decoder, telling: Telling) -> None:
        self._inner = decoder
        self._telling = telling
        self._id = self._model = ""
        self._begun = False  # whether a chunk has told the id and the model
        self._last: PassedEvent | None = None

    @property
    def ended(self) -> bool:
        """Whether the terminator has come."""
        return self._inner.ended

    @property
    def whole(self) -> bool:
        """Whether all of the reply has come."""
        return self._inner.whole

    @property
    def enough(self) -> bool:
        """Whether a clean end of the bytes is the end of the reply."""
        return bool(getattr(self._inner, "enough", False))

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event."""
        data = event.data
        if self._last is not None:
            return ()  # some servers send a [DONE] that their format has not
        if self._begun and not self._telling(data):
            return (text_chunk("", 0, PassedEvent(event.event, data), self._id, self._model),)
        chunks = self._inner.decode(event)
        for chunk in chunks:
            self._id, self._model = chunk.id or self._id, chunk.model or self._model
        self._begun = self._begun or bool(chunks)
        if self._inner.ended:
            self._last = PassedEvent(event.event, data, decoded=True, last=True)
            return chunks
        passed = text_chunk("", 0, PassedEvent(event.event, data, decoded=True), self._id, self._model)
        return (passed, *chunks)

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of a whole reply that came instead of a stream: there are no events to pass."""
        return self._inner.decode_whole(body)

    def leftover(self) -> Sequence[Chunk]:
        """Return chunks of what was received but not delivered yet, such as usage."""
        return self._inner.leftover()

    def finish(self) -> Chunk:
        """Return the ``done`` chunk."""
        done = self._inner.finish()
        return done if self._last is None else attrs.evolve(done, raw=self._last)
