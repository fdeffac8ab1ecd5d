"""Several streams at once: ``merge`` and ``first``."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from streamkit.concurrency.stop import ReentrantEvent
from streamkit.errors import ConfigError, StreamError
from streamkit.streaming.stream import Stream
from streamkit.values.chunks import Chunk

__all__ = ["first", "merge"]


class _Ready:
    """Which of several streams have something to give, or have ended.

    Each stream's reader notes it when it puts something, so that a chunk costs the same however many streams there
    are. ``_noted`` is a queue between the readers and the one thread that consumes.
    """

    def __init__(self, streams: Iterable[Stream]) -> None:
        self._noted: deque[Stream] = deque()  # one step to append and to take, with and without the GIL
        self._event = ReentrantEvent()
        self._listeners = {stream: self._listener(stream) for stream in streams}
        self._ready: dict[Stream, None] = dict.fromkeys(streams)  # all are looked at once; in order
        self._look_at = math.inf  # when a limit may have passed that a reader does not report

    def _listener(self, stream: Stream) -> Callable[[], object]:
        noted, event = self._noted, self._event

        def note() -> None:
            noted.append(stream)
            event.set()

        return note

    def __enter__(self) -> _Ready:
        for stream, listener in self._listeners.items():
            stream.listen(listener)
        return self

    def __exit__(self, *_: object) -> None:
        for stream, listener in self._listeners.items():
            stream.unlisten(listener)

    def wait(self, running: Collection[Stream]) -> list[Stream]:
        """Wait until at least one of the streams has a chunk, or its end, to give; return those."""
        while True:
            while self._noted:
                self._ready[self._noted.popleft()] = None
            found = []
            for stream in self._ready:
                if stream in running:
                    if stream.poll():
                        found.append(stream)
                    else:
                        self._look_at = min(self._look_at, stream.next_look())
            self._ready = dict.fromkeys(found)
            if found:
                return found
            self._event.clear()
            if self._noted:
                continue  # noted before the event was cleared
            left = self._look_at - time.monotonic()
            if left <= 0 or not self._event.wait(None if left == math.inf else left):
                self._look_at = math.inf
                self._ready = dict.fromkeys(running)


def merge(streams: Iterable[Stream]) -> Iterator[tuple[Stream, Chunk]]:
    """Iterate the chunks of several streams as they come, each with its stream.

    Chunks of one stream stay in order, and one after the other has its turn, so that a fast stream does not
    keep a slow one waiting. When one fails its error is raised after all of its chunks; leaving the loop,
    through that error too, cancels the streams that are still open.

    Raises:
        ConfigError: something else than a stream is there, or a stream twice.
        StreamError: as the failing stream raises it.
    """
    return _merge(_distinct(streams))


def _merge(streams: list[Stream]) -> Iterator[tuple[Stream, Chunk]]:
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


def first(streams: Iterable[Stream]) -> Stream:
    """Return the stream that is the first to have a chunk, and cancel the rest.

    The chunk is still to be taken from it. A stream that fails, or ends without any chunk, is out of the
    race.

    Raises:
        ConfigError: there is no stream, or something else than one, or one is there twice.
        StreamError: all failed; this is the error of the last.
    """
    racing = dict.fromkeys(_distinct(streams))
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


def _distinct(streams: Any) -> list[Stream]:
    if isinstance(streams, Stream) or not isinstance(streams, Iterable):
        raise ConfigError(f"merge() and first() take a list of streams, not {type(streams).__name__}")
    given = list(streams)
    for position, stream in enumerate(given):
        if not isinstance(stream, Stream):
            raise ConfigError(
                f"merge() and first() take streams as client.stream() returns them; [{position}] is "
                f"{type(stream).__name__}"
            )
    if len({id(stream) for stream in given}) != len(given):
        raise ConfigError("the same stream is there twice; each chunk can be delivered only once")
    return given
