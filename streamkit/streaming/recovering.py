"""The decoder of one part of a reply that broke off and goes on: ``Part``; and whether one did: ``broke_off``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from streamkit.errors import BrokenStreamError, ServerError, StreamError, StreamTimeout, TruncatedStreamError
from streamkit.providers.contract import Decoder, Event
from streamkit.values.chunks import Chunk

__all__ = ["Part", "broke_off"]


def broke_off(error: StreamError) -> bool:
    """Return whether an error says that a reply broke off in its middle."""
    if isinstance(error, StreamTimeout):
        return error.phase == "idle"
    if isinstance(error, ServerError):
        return error.in_stream
    return isinstance(error, (BrokenStreamError, TruncatedStreamError))


class Part:
    """The decoder of one part of a reply: of what came until it broke off, or of what came after that.

    A later part begins with a ``recovered`` chunk.

    Owner of the fields: the worker alone reads and writes them.

    Args:
        inner: decodes the response.
        later: whether it is not the first part.

    Attributes:
        inner: decodes the response.
        begun: whether it has given a chunk.
        on_begun: called when a later part gives its first chunk.
    """

    def __init__(self, inner: Decoder, *, later: bool = False) -> None:
        self.inner = inner
        self.begun = False
        self.on_begun: Callable[[], object] = lambda: None
        self._later = later
        self._left: list[Chunk] | None = None  # what ``leftover`` gives, once it was asked of the decoder inside

    @property
    def ended(self) -> bool:
        """See ``Decoder``."""
        return self.inner.ended

    @property
    def whole(self) -> bool:
        """See ``Decoder``."""
        return self.inner.whole

    @property
    def enough(self) -> bool:
        """See ``Decoder``."""
        return bool(getattr(self.inner, "enough", False))

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event."""
        return self._passed(self.inner.decode(event))

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of a whole reply."""
        return self._passed(self.inner.decode_whole(body))

    def leftover(self) -> Sequence[Chunk]:
        """Return chunks for what was received and not delivered, each of them once."""
        chunks, self._left = self._prepared(), []
        return chunks

    def finish(self) -> Chunk:
        """Return the ``done`` chunk."""
        return self._changed([self.inner.finish()])[-1]

    def rest(self) -> Sequence[Chunk]:
        """Return the chunks that come before the ``done`` chunk: text that was held back."""
        return self._begin("", "") if self._later and not self.begun else []

    def closing(self) -> Sequence[Chunk]:
        """Return the chunks that come before the next part's."""
        return []

    def _prepared(self) -> list[Chunk]:
        if self._left is None:
            chunks = self.inner.leftover()
            unbegun = self._later and not self.begun  # then the reply was not gone on with
            self._left = list(self._changed(chunks) if unbegun else self._passed(chunks))
        return self._left

    def _passed(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        if not chunks:
            return chunks
        if self.begun or not self._later:
            self.begun = True
            return self._changed(chunks)
        return [*self._begin(chunks[0].id, chunks[0].model), *self._changed(chunks)]

    def _begin(self, id: str, model: str) -> list[Chunk]:
        self.begun = True
        self.on_begun()
        return [Chunk("recovered", id=id, model=model)]

    def _changed(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        """Return what is delivered for chunks of the decoder inside."""
        return chunks
