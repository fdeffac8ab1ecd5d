"""Show one answer from a stream, until its end or Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from streamkit.cli.output import Sink
from streamkit.errors import StreamError
from streamkit.streaming.stream import Stream

__all__ = ["show"]


def show(stream: Stream, to: Sink) -> bool:
    """Show an answer as it arrives.

    Returns:
        Whether the answer is complete; ``False`` after Ctrl-C.

    Raises:
        StreamError: the stream failed; the text before the failure is shown.
        Unwritable: the output cannot be written.
    """
    with _interruptible(stream):
        try:
            for chunk in stream:
                to.show(chunk)
        except StreamError:
            to.end()
            raise
        cancelled = stream.status == "cancelled"
        to.end(interrupted=cancelled)
    return not cancelled


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
