"""A stream around another one: ``WrappedStream``, the base of those that change what comes, or what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from streamkit.observing.observers import Stats
from streamkit.observing.status import Status
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.typed_output import TypedOutput
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion
from streamkit.wire.http import ResponseInfo

if TYPE_CHECKING:
    from streamkit.validators.validator import Violation

__all__ = ["WrappedStream"]


class WrappedStream(ChunkStream):
    """A stream that is in all as the one inside; a subclass says what is different.

    Owner of the fields: they never change, but where a subclass says so.

    Threads: as ``ChunkStream``.
    """

    def __init__(self, inner: ChunkStream) -> None:
        self._inner = inner
        self._may_call = inner._may_call

    # -- taking chunks -----------------------------------------------------------------------------------

    def _chunks(self) -> Iterator[Chunk]:
        __tracebackhide__ = True
        while (chunk := self.take()) is not None:
            yield chunk

    def take(self, seconds: float | None = None) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end, also of a stream that was closed meanwhile."""
        __tracebackhide__ = True
        return self._inner.take(seconds)

    def peek(self) -> Chunk | None:
        """Return the next chunk if it has arrived and nothing else has to happen first; do not take it."""
        return self._inner.peek()

    def divert(self, sink: Callable[[Sequence[Chunk]], object]) -> bool:
        """Return ``False``: what is different here happens when chunks are taken."""
        return False

    def poll(self) -> bool:
        """Return whether ``take()`` would not have to wait for the provider, without waiting."""
        return self._inner.poll()

    def next_check(self) -> float:
        """Return the moment, on ``time.monotonic``, at which to call ``poll()`` even if the listener was not called."""
        return self._inner.next_check()

    def listen(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` whenever there may be a chunk to take, and at the end, until ``unlisten``."""
        self._inner.listen(listener)

    def unlisten(self, listener: Callable[[], object]) -> None:
        """Stop calling ``listener``."""
        self._inner.unlisten(listener)

    # -- ending ------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Cancel the stream; see ``ChunkStream.cancel``."""
        self._inner.cancel()

    def close(self) -> None:
        """Cancel the stream if it is open, and wait for its reader, at most 0.25 s."""
        self._inner.close()

    def _leave(self) -> None:
        self._inner._leave()

    @property
    def _closed_early(self) -> bool:
        return self._inner._closed_early

    @property
    def _subject(self) -> str:
        return self._inner._subject

    # -- state -------------------------------------------------------------------------------------------

    @property
    def _output(self) -> TypedOutput | None:
        return self._inner._output

    @property
    def completion(self) -> Completion:
        """The completion of the chunks delivered so far, at any time, also after a failure."""
        return self._inner.completion

    @property
    def status(self) -> Status:
        """``open``, ``complete``, ``suspended``, ``cancelled``, ``truncated``, ``timeout`` or ``error``.

        It is the consumer's view: ``open`` until the consumer has taken the end, which comes after the last chunk.
        """
        return self._inner.status

    @property
    def error(self) -> BaseException | None:
        """The error that ended the stream, or ``None``."""
        return self._inner.error

    @property
    def violations(self) -> tuple[Violation, ...]:
        """The rules of ``validators=`` that the text has broken so far, in order; empty without any."""
        return self._inner.violations

    @property
    def stats(self) -> Stats:
        """The figures of the stream so far."""
        return self._inner.stats

    @property
    def response(self) -> ResponseInfo | None:
        """Status, headers, request id and rate limits of the response; ``None`` before they have arrived."""
        return self._inner.response

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's stream, which cannot be used."""
        return self._inner.inherited
