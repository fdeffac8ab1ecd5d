"""Framing by content type: JSON lines and AWS's binary frames, however the bytes are split."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import ConfigError, ProtocolError
from streamkit.testing import aws_frame
from streamkit.transport.framing import aws_frames, framing_of, json_lines, server_sent

LINES = '{"a":1}\n\n{"b":"ä€𝄞"}\r\n{"c":[]}\n'.encode()
FRAMES = aws_frame("messageStart", {"role": "assistant"}) + aws_frame("metadata", {"usage": {}})


def cut(data: bytes, at: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(min(edge, len(data)) for edge in at), len(data)]
    return (data[start:end] for start, end in pairwise(edges))


def test_framing_is_chosen_by_the_content_type() -> None:
    """Event streams, JSON lines and AWS's frames are streams; anything else is none."""
    assert [server_sent, server_sent, json_lines, aws_frames, None, None] == [
        framing_of(kind)
        for kind in (
            "text/event-stream",
            "",
            "application/x-ndjson",
            "application/vnd.amazon.eventstream",
            "application/json",
            "text/html",
        )
    ]


class TestJsonLines:
    @given(st.lists(st.integers(0, len(LINES)), max_size=8))
    def test_any_cut_gives_the_same_lines(self, at: list[int]) -> None:
        """However the bytes are cut, the lines are the same, and empty ones are none."""
        assert ['{"a":1}', '{"b":"ä€𝄞"}', '{"c":[]}'] == [frame.data for frame in json_lines(cut(LINES, at))]

    @pytest.mark.parametrize(("end", "count"), [('{"c":1}', 2), ('{"c":', 1), ("", 1), ("  ", 1)])
    def test_a_last_line_without_its_end(self, end: str, count: int) -> None:
        """Whole JSON at the end of the bytes counts, a part of it does not."""
        assert count == len(list(json_lines([b'{"a":1}\n', end.encode()])))

    def test_invalid_bytes_are_replaced(self) -> None:
        """What is no UTF-8 becomes a replacement character and not an error."""
        assert ['{"a":"\ufffd"}'] == [frame.data for frame in json_lines([b'{"a":"\xff"}\n'])]

    def test_a_line_has_a_bound(self) -> None:
        """A line that never ends is given up at 16 MiB, without more being kept."""
        given = 0

        def endless() -> Iterator[bytes]:
            nonlocal given
            while True:
                given += 1
                yield b"x" * 65536

        with pytest.raises(ProtocolError, match="larger than 16777216 bytes"):
            list(json_lines(endless()))
        assert 257 == given


def framed(headers: bytes | dict[str, str], payload: bytes = b"") -> bytes:
    """A frame with these headers, its checksums right."""
    if isinstance(headers, dict):
        headers = b"".join(
            bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
            for name, value in headers.items()
        )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


class TestAwsFrames:
    @given(st.lists(st.integers(0, len(FRAMES)), max_size=8))
    def test_any_cut_gives_the_same_events(self, at: list[int]) -> None:
        """However the bytes are cut, the events are the same."""
        events = [(frame.event, frame.data) for frame in aws_frames(cut(FRAMES, at))]
        assert [("messageStart", '{"role":"assistant"}'), ("metadata", '{"usage":{}}')] == events

    @pytest.mark.parametrize("length", range(len(FRAMES)))
    def test_a_torn_frame_is_no_event(self, length: int) -> None:
        """Of a body that ends anywhere, whole frames are events and a part of one is none."""
        first = len(aws_frame("messageStart", {"role": "assistant"}))
        assert (1 if length >= first else 0) == len(list(aws_frames([FRAMES[:length]])))

    @pytest.mark.parametrize("place", range(8, len(FRAMES) // 2, 7))
    def test_a_damaged_frame(self, place: int) -> None:
        """A byte that is not what was sent is found by the checksums, and is a documented error."""
        damaged = FRAMES[:place] + bytes([FRAMES[place] ^ 0x10]) + FRAMES[place + 1 :]
        with pytest.raises(ProtocolError):
            list(aws_frames([damaged]))

    @pytest.mark.parametrize("length", [0, 15, 2**24 + 1, 2**32 - 1])
    def test_a_frame_has_a_bound(self, length: int) -> None:
        """A length that no frame has is refused before anything is kept for it."""
        with pytest.raises(ProtocolError, match=f"says that it has {length} bytes"):
            list(aws_frames([struct.pack(">I", length) + b"x" * 12]))

    def test_an_exception_is_marked(self) -> None:
        """What AWS sends as an exception cannot be taken for an event."""
        (frame,) = aws_frames([aws_frame("throttlingException", {"message": "slow"}, exception=True)])
        assert ("exception:throttlingException", '{"message":"slow"}') == (frame.event, frame.data)

    def test_an_error_frame(self) -> None:
        """AWS's other kind of failure has its words in the headers, and no payload."""
        headers = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "broken"}
        (frame,) = aws_frames([framed(headers)])
        assert ("exception:InternalFailure", '{"message":"broken"}') == (frame.event, frame.data)

    def test_an_exception_that_only_looks_like_json(self) -> None:
        """The words of an exception are kept, whatever they begin with."""
        frame = framed({":message-type": "exception", ":exception-type": "throttlingException"}, b"{Too many requests")
        assert '{"message":"{Too many requests"}' == next(aws_frames([frame])).data

    @pytest.mark.parametrize("headers", [b"\x01a\x20", b"\x05ab", b"\x01a\x07\x00\x01\xff", b"\x01a\x00\x01a\x00"])
    def test_headers_that_cannot_be(self, headers: bytes) -> None:
        """Headers of unknown types, beyond the frame, of no UTF-8, or twice the same, are a documented error."""
        with pytest.raises(ProtocolError, match="damaged"):
            list(aws_frames([framed(headers)]))

    def test_without_botocore(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without botocore the error names the extra to install."""
        monkeypatch.setitem(sys.modules, "botocore.eventstream", None)
        with pytest.raises(ConfigError, match=r"streamkit\[bedrock\]"):
            list(aws_frames([FRAMES]))
