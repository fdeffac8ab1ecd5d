"""Several streams at once: ``merge`` and ``first``."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from streamkit.concurrency.channel import select
from streamkit.concurrency.stop import ReentrantEvent
from streamkit.errors import ConfigError, StreamError
from streamkit.streaming.stream import Stream
from streamkit.values.chunks import Chunk

__all__ = ["first", "merge"]

_LOOK = 0.1  # seconds between looks at the clocks of streams whose readers do not speak up


@contextmanager
def _watching(streams: Sequence[Stream]) -> Iterator[threading.Event]:
    """Have one event set whenever any of the streams has something."""
    event = ReentrantEvent()
    for stream in streams:
        stream.listen(event)
    try:
        yield event
    finally:
        for stream in streams:
            stream.unlisten(event)


def _ready(streams: Sequence[Stream], event: threading.Event) -> list[Stream]:
    """Wait until at least one stream has a chunk, or its end, to give."""
    while True:
        ready = [stream for stream in streams if stream.poll()]
        if ready:
            return ready
        select([stream.channel for stream in streams], event, _LOOK)


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
    running = list(streams)
    try:
        with _watching(streams) as event:
            while running:
                for stream in _ready(running, event):
                    chunk = next(stream, None)
                    if chunk is None:
                        running.remove(stream)
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
    racing = _distinct(streams)
    if not racing:
        raise ConfigError("first() needs at least one stream")
    everyone, failure = list(racing), None
    try:
        with _watching(everyone) as event:
            while racing:
                for stream in _ready(racing, event):
                    if stream.status == "open":
                        everyone.remove(stream)
                        return stream
                    failure = stream.error or StreamError(f"the stream ended before its first chunk: {stream.status}")
                    racing.remove(stream)
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
