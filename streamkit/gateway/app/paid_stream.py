"""A stream that is paid for: ``PaidStream``."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from contextlib import suppress

from streamkit.errors import StoreError
from streamkit.gateway.app.failures import client_error
from streamkit.gateway.app.payment import Payment
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.wrapped_stream import WrappedStream
from streamkit.values.chunks import Chunk

__all__ = ["PaidStream"]


class PaidStream(WrappedStream):
    """Counts the chunks of a stream, and writes its end to the ledger before its consumer learns of it.

    So whoever has seen the end of a reply has paid for it, whatever happens next.

    Its errors are those that a client may be told.

    Owner of the fields: they never change, and protect themselves.

    Args:
        inner: the stream.
        payment: what it costs.
        on_ended: called once, with the stream, after its end was written.
    """

    def __init__(self, inner: ChunkStream, payment: Payment, on_ended: Callable[[PaidStream], object]) -> None:
        super().__init__(inner)
        self.payment = payment
        self._on_ended = on_ended

    def take(self, seconds: float | None = None) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end, which is paid for.

        Raises:
            queue.Empty: no chunk came within ``seconds``.
            RequestError: the stream failed, or its end cannot be written.
        """
        try:
            chunk = self._inner.take(seconds)
        except queue.Empty:
            raise
        except Exception as error:
            with suppress(StoreError):  # it is written later; the client is told of the first error
                self._end()
            raise client_error(error) from error
        if chunk is not None:
            self.payment.note(chunk)
            return chunk
        try:
            self._end()
        except StoreError as error:
            raise client_error(error) from error
        return None

    def divert(self, sink: Callable[[Sequence[Chunk]], object]) -> bool:
        """Pass chunks to ``sink`` from now on, in the thread that reads them; see ``ChunkStream.divert``."""
        note = self.payment.note

        def counted(chunks: Sequence[Chunk]) -> None:
            for chunk in chunks:
                note(chunk)
            sink(chunks)

        return self._inner.divert(counted)

    def cancel(self) -> None:
        """Cancel the stream, and pay for what has come."""
        self._inner.cancel()
        with suppress(StoreError):
            self._end()

    def close(self) -> None:
        """Cancel the stream if it is open, wait for its reader, at most 0.25 s, and pay for what has come."""
        self._inner.close()
        with suppress(StoreError):
            self._end()

    def _leave(self) -> None:
        self._inner._leave()
        with suppress(StoreError):
            self._end()

    def _end(self) -> None:
        if not self.payment.begin_end():
            return
        inner, stats = self._inner, self._inner.stats
        response = inner.response
        try:
            self.payment.end(
                inner.status,
                inner.completion,
                route=stats.routes[-1].model if stats.routes else "",
                accepted=response is not None and response.status == 200,
                seconds=stats.duration,
            )
        finally:
            self._on_ended(self)
