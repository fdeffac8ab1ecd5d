"""Bytes to events, by the content type of the response: server-sent events, JSON lines, AWS frames.

Whatever the framing, what comes out are events with a type and a text, so that a decoder is the same for all.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import attrs

from streamkit.errors import ConfigError, ProtocolError
from streamkit.transport import sse
from streamkit.wire.json import parse_json, text_of
from streamkit.wire.loose_json import as_json

__all__ = ["Frame", "aws_frames", "framing_of", "json_lines", "server_sent"]

_AWS_PRELUDE = 12  # bytes: total length, length of the headers, checksum of both


class Frame(Protocol):
    """An event of any framing."""

    event: str
    data: str


@attrs.define(eq=False)
class _Frame:
    event: str
    data: str


def framing_of(content_type: str) -> Callable[[Iterable[bytes]], Iterator[Frame]] | None:
    """Return what splits a body of this media type into events, ``None`` for one that is no stream.

    Args:
        content_type: lower case, without parameters; "" counts as an event stream.
    """
    return _FRAMINGS.get(content_type)


def server_sent(pieces: Iterable[bytes], guard: sse.Guard | None = None) -> Iterator[Frame]:
    """Iterate server-sent events; see ``sse``.

    Args:
        pieces: the bytes.
        guard: a new one, for a caller that asks it afterwards whether the bytes ended inside an event.
    """
    return sse.parse(pieces, guard or sse.Guard(bare_errors=True))


def json_lines(pieces: Iterable[bytes]) -> Iterator[Frame]:
    """Iterate lines of JSON, each as an event without a type; empty lines are skipped.

    A last line without its line end counts if it is whole JSON: no part of an object is.

    Raises:
        ProtocolError: a line is over 16 MiB.

    Source: https://github.com/ndjson/ndjson-spec, read 2026-11-21.
    """
    held = bytearray()
    for data in pieces:
        end = data.rfind(b"\n") + 1
        if end:
            _check_size(len(held) + data.find(b"\n"), held or data)
            *lines, _ = (bytes(held) + data[:end]).split(b"\n")
            held.clear()
            for line in lines:
                if line := line.strip():
                    yield _Frame("", text_of(line))
        held += data[end:]
        _check_size(len(held), held)
    last = text_of(bytes(held).strip())
    if last:
        try:
            parse_json(last)
        except ValueError:
            return
        yield _Frame("", last)


def aws_frames(pieces: Iterable[bytes]) -> Iterator[Frame]:
    """Iterate AWS's binary frames, each with the name of its event or exception as type, its payload as data.

    Frames are cut by their length here, so that none is buffered beyond the bound, and taken apart, their
    checksums compared, by botocore. A provider that asks for them imports ``botocore.eventstream`` when it is made:
    nothing is to be imported while a stream runs.

    Raises:
        ProtocolError: a frame is damaged, or over 16 MiB.
        ConfigError: botocore is not installed.

    Source: https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html, read 2026-11-21.
    """
    try:
        from botocore.eventstream import EventStreamBuffer
    except ImportError:
        raise ConfigError('Amazon Bedrock needs botocore: python -m pip install "streamkit[bedrock]"') from None
    buffer = EventStreamBuffer()
    for frame in _cut_frames(pieces):
        try:
            buffer.add_data(frame)
            events = [_aws_event(message.headers, message.payload) for message in buffer]
        except Exception as error:  # botocore's own, and what headers of impossible lengths and types make it raise
            raise ProtocolError(f"a frame of the event stream is damaged: {error}", excerpt=repr(frame[:64])) from None
        yield from events


def _cut_frames(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for data in pieces:
        held += data
        start = 0
        while len(held) - start >= _AWS_PRELUDE:
            (length,) = struct.unpack_from(">I", held, start)
            if not _AWS_PRELUDE + 4 <= length <= sse.MAX_EVENT:
                excerpt = repr(bytes(held[start : start + 64]))
                raise ProtocolError(f"a frame says that it has {length} bytes", excerpt=excerpt)
            if len(held) - start < length:
                break
            yield bytes(held[start : start + length])
            start += length
        del held[:start]


def _aws_event(headers: dict[str, Any], payload: bytes) -> Frame:
    kind = str(headers.get(":event-type") or headers.get(":exception-type") or headers.get(":error-code") or "")
    text = text_of(payload)
    if headers.get(":message-type") in ("exception", "error"):
        kind = f"exception:{kind}"
        if not _is_json_object(text):
            text = as_json({"message": text or str(headers.get(":error-message") or "")})
    return _Frame(kind, text)


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(parse_json(text), dict)
    except ValueError:
        return False


def _check_size(size: int, held: bytes | bytearray) -> None:
    if size > sse.MAX_EVENT:
        excerpt = bytes(held[:512]).decode("utf-8", "replace")
        raise ProtocolError(f"an event is larger than {sse.MAX_EVENT} bytes", excerpt=excerpt)


_FRAMINGS: dict[str, Callable[[Iterable[bytes]], Iterator[Frame]]] = {
    "": server_sent,
    "text/event-stream": server_sent,
    "application/x-ndjson": json_lines,
    "application/ndjson": json_lines,
    "application/jsonl": json_lines,
    "application/x-jsonlines": json_lines,
    "application/stream+json": json_lines,
    "application/vnd.amazon.eventstream": aws_frames,
}
