"""Show one answer from a stream, until its end or Ctrl-C."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, cast

import attrs

from streamkit.cli.failures import tell
from streamkit.cli.output import Sink, one_line
from streamkit.cli.schemas import Unwrapper
from streamkit.conversation.stores.store import is_inside_store
from streamkit.errors import ChannelClosed, StreamkitError
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.values.chunks import Chunk

if TYPE_CHECKING:
    from streamkit.cli.approval import Approval
    from streamkit.tools.run import Run

__all__ = ["show"]

_BETWEEN_REPLIES = ("tool_approval", "tool_result")  # chunks that come when a reply of a run is whole


def show(
    stream: ChunkStream,
    to: Sink,
    *,
    at_once: bool = False,
    approval: Approval | None = None,
    wrapped: str | None = None,
    on_first: Callable[[], object] | None = None,
) -> bool:
    """Show an answer as it arrives.

    Args:
        stream: the answer; the caller closes it.
        to: where to show it.
        at_once: whether to show it only when it has ended; of a run, each reply.
        approval: decides on the calls of a run; only a ``Run`` has one.
        wrapped: the key of the object around the answer's JSON, which is not shown; ``None`` without one.
        on_first: called once the first chunk is shown.

    Returns:
        Whether the answer is complete; ``False`` after Ctrl-C.

    Raises:
        StreamError: the stream failed; the text before the failure is shown.
        StoreConflictError, StoreError: the answer is shown, and could not be kept.
        Unwritable: the output cannot be written.
    """
    with _interruptible(stream):
        to.begin()
        kept: list[Chunk] = []
        try:
            for chunk in _unwrapped(_chunks(stream, to), wrapped):
                if at_once and chunk.type not in _BETWEEN_REPLIES:
                    kept.append(chunk)
                    to.idle()
                    continue
                _show_all(kept, stream, to)
                _show(chunk, stream, to)
                if on_first is not None:
                    on_first()
                    on_first = None
                if chunk.type == "tool_approval" and approval is not None:
                    _decide(cast("Run", stream), chunk, to, approval)
        except StreamkitError:
            _show_all(kept, stream, to)
            to.end()
            raise
        _show_all(kept, stream, to)
        cancelled = stream.status == "cancelled"
        to.end(interrupted=cancelled)
    _tell_violations(stream, to)
    return not cancelled


def _show(chunk: Chunk, stream: ChunkStream, to: Sink) -> None:
    """Show a chunk; an end that is the work of a rule of ours is not told as the provider's."""
    cut = chunk.finish_reason == "content_filter" and any(each.on_violation == "replace" for each in stream.violations)
    if not (cut and to.shows_calls):
        to.show(chunk)


def _tell_violations(stream: ChunkStream, to: Sink) -> None:
    """Say which rules an answer has broken that did not end in an error."""
    for violation in stream.violations:
        what = "was cut off" if violation.on_violation == "replace" else "breaks a rule, and was not cut off"
        text = f"the answer {what}: {violation.validator}: {violation.reason}"
        if to.shows_calls:
            to.note(f"[{one_line(text)}]")
        else:
            tell(text)


def _decide(run: Run, chunk: Chunk, to: Sink, approval: Approval) -> None:
    to.end()
    if run.status == "open" and chunk.tool_call is not None:
        approval.decide(run, chunk.tool_call, to)
    to.begin()


def _chunks(stream: ChunkStream, to: Sink) -> Iterator[Chunk]:
    """Iterate the chunks, and call the sink at its interval while none comes."""
    while True:
        try:
            yield stream.recv(to.tick)
        except queue.Empty:
            to.idle()
        except ChannelClosed:
            return


def _show_all(chunks: list[Chunk], stream: ChunkStream, to: Sink) -> None:
    """Show what was kept, and keep it no longer."""
    for chunk in chunks:
        _show(chunk, stream, to)
    chunks.clear()


def _unwrapped(chunks: Iterator[Chunk], key: str | None) -> Iterator[Chunk]:
    if key is None:
        yield from chunks
        return
    unwrapper, number = Unwrapper(key), 0
    for chunk in chunks:
        if chunk.round != number:
            unwrapper, number = Unwrapper(key), chunk.round
        if not chunk.text or chunk.index:
            yield chunk
        elif text := unwrapper.feed(chunk.text):
            yield attrs.evolve(chunk, text=text)


@contextmanager
def _interruptible(stream: ChunkStream) -> Iterator[None]:
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
        if is_inside_store():  # of this thread, whose locks another transaction of its own would wait for
            threading.Thread(target=stream.cancel, name="streamkit-cancel").start()
        else:
            stream.cancel()

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # it is ignored, as under nohup, and stays so
        return
    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
