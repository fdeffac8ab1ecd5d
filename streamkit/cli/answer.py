"""One answer: from a stream to where it is shown, until its end or Ctrl-C."""

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
    """Show an answer as it comes.

    Returns:
        Whether it came to its own end; ``False`` after Ctrl-C.

    Raises:
        StreamError: the stream failed; what came before is shown.
        Unwritable: there is nowhere to show it.
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
    """Have Ctrl-C cancel the stream while the block runs.

    The loop over it ends then, rather than being torn out of the middle of a write: what is on the screen is
    what is in ``stream.completion``. A second Ctrl-C raises, for a write that never returns.
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
