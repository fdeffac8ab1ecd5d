"""Several streams at once: ``merge`` and ``first``."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Generic, TypeVar

from streamkit.concurrency.stop import ReentrantEvent
from streamkit.errors import ConfigError, StreamError
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.raising import raise_again
from streamkit.values.chunks import Chunk

__all__ = ["first", "merge"]

S = TypeVar("S", bound=ChunkStream)


class _Ready(Generic[S]):
    """Waits until one of several streams has a chunk or has ended.

    Each stream's reader notes its stream when it puts something. So the cost of a chunk does not depend on the number
    of streams.

    Owner of the fields: readers append to ``_noted`` and the consumer's thread takes from it, both by single atomic
    operations, with and without the GIL. ``_event`` has its own lock. The consumer's thread alone uses the others.
    """

    def __init__(self, streams: Iterable[S]) -> None:
        self._noted: deque[S] = deque()
        self._event = ReentrantEvent()
        self._listeners = {stream: self._listener(stream) for stream in streams}
        self._ready: dict[S, None] = dict.fromkeys(streams)  # streams to poll, in order; all of them the first time
        self._check_at = math.inf  # when a limit may have passed without the reader reporting it

    def _listener(self, stream: S) -> Callable[[], object]:
        noted, event = self._noted, self._event

        def note() -> None:
            noted.append(stream)
            event.set()

        return note

    def __enter__(self) -> _Ready[S]:
        for stream, listener in self._listeners.items():
            stream.listen(listener)
        return self

    def __exit__(self, *_: object) -> None:
        for stream, listener in self._listeners.items():
            stream.unlisten(listener)

    def wait(self, running: Collection[S]) -> list[S]:
        """Wait until at least one of the streams has a chunk or has ended; return these streams."""
        __tracebackhide__ = True
        while True:
            while self._noted:
                self._ready[self._noted.popleft()] = None
            found = []
            for stream in self._ready:
                if stream in running:
                    if stream.poll():
                        found.append(stream)
                    else:
                        self._check_at = min(self._check_at, stream.next_check())
            self._ready = dict.fromkeys(found)
            if found:
                return found
            self._event.clear()
            if self._noted:
                continue  # a reader noted a stream before the event was cleared
            left = self._check_at - time.monotonic()
            if left <= 0 or not self._woken(left):
                self._check_at = math.inf
                self._ready = dict.fromkeys(running)

    def _woken(self, seconds: float) -> bool:
        __tracebackhide__ = True
        try:
            return self._event.wait(None if seconds == math.inf else seconds)
        except KeyboardInterrupt as error:
            error.__traceback__ = None  # without the frames of the wait a notebook shows few lines
            raise_again()


def merge(streams: Iterable[S]) -> Iterator[tuple[S, Chunk]]:
    """Iterate the chunks of several streams as they arrive, each with its stream.

    The chunks of one stream stay in order. Streams that have chunks take turns, so that a fast stream does not delay
    a slow one. When a stream fails, its error is raised after all of its chunks. Leaving the loop cancels the streams
    that are still open; so does such an error.

    Raises:
        ConfigError: an item is not a stream, or the same stream is given twice.
        StreamError: a stream failed.

    Threads: the one that iterates consumes all the streams.
    """
    return _merge(_distinct(streams))


def _merge(streams: list[S]) -> Iterator[tuple[S, Chunk]]:
    __tracebackhide__ = True
    running = dict.fromkeys(streams)
    try:
        with _Ready(streams) as ready:
            while running:
                for stream in ready.wait(running):
                    chunk = stream.take()
                    if chunk is None:
                        del running[stream]
                    else:
                        yield stream, chunk
    finally:
        for stream in running:
            stream.cancel()


def first(streams: Iterable[S]) -> S:
    """Return the first stream that has a chunk, and cancel the others.

    The chunk is not taken: iterate the returned stream to get it. Streams that fail, or end without a chunk, are
    skipped.

    Raises:
        ConfigError: no stream is given, an item is not a stream, or the same stream is given twice.
        StreamError: all streams failed or ended without a chunk; this is the error of the last one.

    Threads: the calling thread waits. The limits of the streams bound the wait.
    """
    __tracebackhide__ = True
    racing: dict[S, None] = dict.fromkeys(_distinct(streams))
    if not racing:
        raise ConfigError("first() needs at least one stream")
    everyone, failure = list(racing), None
    try:
        with _Ready(everyone) as ready:
            while racing:
                for stream in ready.wait(racing):
                    if stream.status == "open":
                        everyone.remove(stream)
                        return stream
                    failure = stream.error or StreamError(f"the stream ended before its first chunk: {stream.status}")
                    del racing[stream]
    finally:
        for stream in everyone:
            stream.cancel()
    assert failure is not None
    raise failure


def _distinct(streams: Any) -> list[Any]:
    if isinstance(streams, ChunkStream) or not isinstance(streams, Iterable):
        raise ConfigError(f"merge() and first() take a list of streams, not {type(streams).__name__}")
    given = list(streams)
    for position, stream in enumerate(given):
        if not isinstance(stream, ChunkStream):
            raise ConfigError(
                f"merge() and first() take streams, as client.stream() returns them; item {position} is "
                f"{type(stream).__name__}"
            )
    if len({id(stream) for stream in given}) != len(given):
        raise ConfigError("the same stream is given twice; each chunk can be delivered only once")
    return given
