"""Show a stream in a notebook while it arrives: ``show``."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ChannelClosed, ConfigError, RecvTimeout
from streamkit.notebook.html import Call, Section, footer, reply_html
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion
from streamkit.values.text import estimate_tokens

__all__ = ["show"]

_PERIOD = 0.05  # seconds between two updates, at the least
_SHARE = 4  # of the time at most one part goes into updates


def show(stream: ChunkStream) -> Completion:
    """Take a stream to its end, and show it meanwhile.

    Returns:
        The completion, as ``collect`` does.

    Raises:
        ConfigError: IPython is not installed.
        StreamError, KeyboardInterrupt: the reply broke off; what came of it stays shown.
    """
    __tracebackhide__ = True
    try:
        shell = late_import("IPython").get_ipython()
        publish = late_import("IPython.display").display
    except ImportError:
        raise ConfigError("stream.display() needs IPython: pip install 'streamkit[notebook]'") from None
    if shell is None or getattr(shell, "kernel", None) is None:
        return _print(stream)
    view = _View(stream, publish)
    try:
        _take(stream, view)
    except BaseException as error:
        if stream.status == "open":
            stream.cancel()
        view.update(_failure(error))
        raise
    view.update("stopped" if stream.status == "cancelled" else "")
    return stream.completion


def _failure(error: BaseException) -> str:
    """Return one line about what broke a reply off."""
    if isinstance(error, Exception):
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return "stopped"


def _take(stream: ChunkStream, view: _View) -> None:
    __tracebackhide__ = True
    while True:
        try:
            chunk = stream.recv(max(0.0, view.due - time.monotonic()) if view.changed else None)
        except RecvTimeout:
            view.update()
            continue
        except ChannelClosed:
            return
        view.add(chunk)
        if time.monotonic() >= view.due:
            view.update()


class _View:
    """One output of a cell, which is replaced as the reply grows.

    Attributes:
        due: the moment, on ``time.monotonic``, from which it may be replaced again.
        changed: whether chunks came that it does not show.
    """

    def __init__(self, stream: ChunkStream, publish: Callable[..., Any]) -> None:
        self.due = 0.0
        self.changed = False
        self._stream = stream
        self._publish = publish
        self._id = uuid.uuid4().hex
        self._shown = False
        self._sections: dict[int, Section] = {}
        self._texts: dict[int, list[str]] = {}
        self._reasoning: dict[int, list[str]] = {}
        self._calls: dict[tuple[int, int], Call] = {}
        self._by_id: dict[str, Call] = {}

    def add(self, chunk: Chunk) -> None:
        """Take in a chunk; further choices are not shown."""
        self.changed = True
        if chunk.index:
            return
        round = chunk.round
        section = self._sections.get(round)
        if section is None:
            section = self._sections[round] = Section()
            self._texts[round], self._reasoning[round] = [], []
        if chunk.text or chunk.refusal:
            self._texts[round].append(chunk.text or chunk.refusal)
        if chunk.reasoning:
            self._reasoning[round].append(chunk.reasoning)
        if chunk.type == "tool_call" and chunk.tool_call is not None:
            delta = chunk.tool_call
            call = self._calls.get((round, delta.index))
            if call is None:
                call = self._calls[round, delta.index] = Call()
                section.calls.append(call)
            call.name = call.name or delta.name
            call.arguments += delta.arguments
            if delta.id:
                self._by_id[delta.id] = call
        result = chunk.tool_result
        if result is not None and result.call_id in self._by_id:
            call = self._by_id[result.call_id]
            call.result, call.error = result.content, result.error

    def update(self, failure: str = "") -> None:
        """Show what came."""
        began = time.monotonic()
        for round, section in self._sections.items():
            section.text = _joined(self._texts[round])
            section.reasoning = _joined(self._reasoning[round])
        text = "\n\n".join(section.text for section in self._sections.values() if section.text)
        shown = {
            "text/html": reply_html(list(self._sections.values()), self._figures(), failure) or "<div>…</div>",
            "text/plain": text or "…",
        }
        self._publish(shown, raw=True, display_id=self._id, update=self._shown)
        self._shown, self.changed = True, False
        now = time.monotonic()
        self.due = max(began + _PERIOD, now + (_SHARE - 1) * (now - began))

    def _figures(self) -> str:
        stats, completion = self._stream.stats, self._stream.completion
        words = []
        if stats.time_to_first_chunk is not None:
            words.append(f"first token after {stats.time_to_first_chunk:.2f} s")
            seconds = stats.duration - stats.time_to_first_chunk
            known = completion.usage.output_tokens
            tokens = estimate_tokens(completion.text) if known is None else known
            if seconds > 0.05 and tokens:
                words.append(f"{'about ' if known is None else ''}{tokens / seconds:.0f} tokens/s")
        return footer(completion, *words)


def _joined(pieces: list[str]) -> str:
    """Join pieces, and keep them as one, so that each is copied few times."""
    if len(pieces) > 1:
        pieces[:] = ["".join(pieces)]
    return pieces[0] if pieces else ""


def _print(stream: ChunkStream) -> Completion:
    """Print the text where nothing can be replaced: in a terminal."""
    __tracebackhide__ = True
    for piece in stream.iter_text():
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return stream.completion
