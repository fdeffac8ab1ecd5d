"""Show one answer from a stream, until its end or Ctrl-C."""

from __future__ import annotations

import queue
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from streamkit.cli.output import Sink
from streamkit.errors import ChannelClosed, StreamError
from streamkit.streaming.stream import Stream
from streamkit.values.chunks import Chunk

__all__ = ["show"]


def show(stream: Stream, to: Sink, *, at_once: bool = False) -> bool:
    """Show an answer as it arrives.

    Args:
        stream: the answer; the caller closes it.
        to: where to show it.
        at_once: whether to show it only when it has ended.

    Returns:
        Whether the answer is complete; ``False`` after Ctrl-C.

    Raises:
        StreamError: the stream failed; the text before the failure is shown.
        Unwritable: the output cannot be written.
    """
    with _interruptible(stream):
        to.begin()
        kept: list[Chunk] = []
        try:
            for chunk in _chunks(stream, to):
                if at_once:
                    kept.append(chunk)
                    to.idle()
                else:
                    to.show(chunk)
        except StreamError:
            _show_all(kept, to)
            to.end()
            raise
        _show_all(kept, to)
        cancelled = stream.status == "cancelled"
        to.end(interrupted=cancelled)
    return not cancelled


def _chunks(stream: Stream, to: Sink) -> Iterator[Chunk]:
    """Iterate the chunks, and call the sink at its interval while none comes."""
    while True:
        try:
            yield stream.recv(to.tick)
        except queue.Empty:
            to.idle()
        except ChannelClosed:
            return


def _show_all(chunks: list[Chunk], to: Sink) -> None:
    for chunk in chunks:
        to.show(chunk)


@contextmanager
def _interruptible(stream: Stream) -> Iterator[None]:
    """Let Ctrl-C cancel the stream while the block runs.

    The loop over the stream then ends between two writes, so that the screen shows what ``stream.completion`` has. A
    second Ctrl-C raises KeyboardInterrupt, in case a write never returns.
    """
    asked = False

    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        stream.cancel()

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # it is ignored, as under nohup, and stays so
        return
    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
