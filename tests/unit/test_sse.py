"""For any split of the bytes, the events are those of the SSE standard, and memory is bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamkit import ProtocolError
from streamkit.transport.sse import MAX_EVENT, Guard, events, parse
from tests.unit.support import bounded, split_at

Found = list[tuple[str, str, str]]  # type, data, last id


def read(pieces: Iterable[bytes], max_event: int = MAX_EVENT) -> tuple[Found, Guard]:
    guard = Guard(max_event)
    return [(event.event, event.data, guard.last_event_id) for event in events(pieces, guard)], guard


def reference(stream: bytes) -> tuple[Found, str, int | None]:
    """The standard, read word by word: WHATWG HTML, 9.2.6."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\n|\r", text)[:-1]  # a line without an end is none
    found: Found = []
    data, kind, id, last_id, retry, told_retry = "", "", "", "", None, None
    for line in lines:
        if not line:
            last_id, told_retry = id, retry
            if data:
                found.append((kind or "message", data.removesuffix("\n"), last_id))
            data = kind = ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data += value + "\n"
        elif field == "event":
            kind = value
        elif field == "id" and "\0" not in value:
            id = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            retry = int(value)
    return found, last_id, told_retry


TOKENS = [
    *(b"\n", b"\n", b"\n\n", b"\r\n", b"\r\n\r\n", b"\r", b": ", b":", b" ", b"{}", b"x"),
    *(b"data: a\n\n", b"data: \n\n", b"data:b\n\n", b"data:  c\n\n", b"data: data: d\n\n", b"data: "),
    *(b"data: a\n", b"data", b"data:", b"event: x\n", b"event:", b"id: 1\n", b"id\n", b"id: \0\n", b"ids: 2\n"),
    *(b"retry: 30\n", b"retry: 3x\n", b"retry", b"\xef\xbb\xbf", b"\xc3\xa4", b"\xc3", b"\xe2\x80\xa8", b"\xe2\x80"),
    *(b"\xc2\x85", b"\xff", b"\0", b"\x0b", b"\x0c", b"\x1c"),
]
STREAMS = st.lists(st.sampled_from(TOKENS), max_size=24).map(b"".join)


def cut_streams() -> st.SearchStrategy[tuple[bytes, list[bytes]]]:
    def cut(stream: bytes) -> st.SearchStrategy[tuple[bytes, list[bytes]]]:
        return st.lists(st.integers(0, len(stream)), max_size=8).map(lambda at: (stream, split_at(stream, at)))

    return STREAMS.flatmap(cut)


@settings(max_examples=600)
@given(cut_streams())
@example((b"data: a\r\ndata: b\r\n\r\n", [b"data: a\r", b"\ndata: b\r\n\r\n"]))
@example((b"id: 1\nid: \0\nretry: 3\nretry: 3x\ndata: a\n\n", [b"id: 1\nid: \0\nretry: 3\nretry: 3x\ndata: a\n\n"]))
@example((b"data: a\r\n\r\ndata: b\r\n\r\n", [b"data: a\r\n\r", b"\ndata: b\r", b"\n\r\n"]))
@example((b"data: \xe2\x80\xa8\n\n", [b"data: \xe2", b"\x80", b"\xa8\n", b"\n"]))
@example((b"\xef\xbb\xbfdata: a\n\n", [b"\xef", b"\xbb", b"", b"\xbfdata: a\n\n"]))
@example((b"data: a\n\nid: 1\ndata: b\n\ndata: c\n\n", [b"data: a\n\nid: 1\ndata: b\n\ndata: c\n\n"]))
def test_any_split_gives_the_events_of_the_standard(cut: tuple[bytes, list[bytes]]) -> None:
    """Cut anywhere, any bytes at all give the events, the last id and the retry of a plain reading of the standard."""
    stream, pieces = cut
    found, guard = read(pieces)
    assert reference(stream) == (found, guard.last_event_id, guard.retry)


@given(cut_streams())
def test_torn_is_told_of_any_split(cut: tuple[bytes, list[bytes]]) -> None:
    """Bytes that end inside a block are torn, wherever they were cut before."""
    stream, pieces = cut
    plain = re.sub(rb"\r\n?", b"\n", stream.removeprefix(b"\xef\xbb\xbf"))
    assert bool(plain[plain.rfind(b"\n\n") + 2 if b"\n\n" in plain else 0 :].strip(b"\n")) == read(pieces)[1].torn


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=8), max_size=2), min_size=1, max_size=5), st.data()
)
def test_json_comes_through(values: list[dict[str, str]], data: st.DataObject) -> None:
    """What a server writes as JSON in UTF-8 comes out as it went in, U+2028 and its like included."""
    stream = b"".join(
        b"data: " + json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n" for value in values
    )
    pieces = split_at(stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    expected = [json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")) for value in values]
    assert expected == [json.loads(text) for _, text, _ in read(pieces)[0]]


@pytest.mark.parametrize(
    "character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\ufeff", "\0"]
)
def test_no_other_character_ends_a_line(character: str) -> None:
    """Only CR and LF end a line; all that Python takes for line ends besides stays in the data."""
    assert ([("message", f"a{character}b", "")], False) == (
        read([f"data: a{character}b\n\n".encode()])[0],
        read([f"data: a{character}b\n\n".encode()])[1].torn,
    )


class TestTail:
    @pytest.mark.parametrize("tail", [b"data: b", b"data: b\n", b"data", b"id: 9\n", b": ping", b"data: b\r\n"])
    def test_a_torn_tail_is_no_event(self, tail: bytes) -> None:
        """What no blank line closes is not an event, sets neither id nor retry, and is told of."""
        found, guard = read([b"id: 1\ndata: a\n\n", tail])
        assert ([("message", "a", "1")], True, "1") == (found, guard.torn, guard.last_event_id)

    @pytest.mark.parametrize(
        "stream", [b"", b"\n", b"\r\n\r", b"data: a\n\n", b"data: a\n\n\n", b": ping\n\n", b"data: a\r\r"]
    )
    def test_whole_streams_are_not_torn(self, stream: bytes) -> None:
        """A stream that ends after a blank line, or is empty, is not torn."""
        assert not read([stream])[1].torn


class TestPromptness:
    def arrivals(self, pieces: list[bytes]) -> list[tuple[int, str]]:
        """Each event with the number of pieces that were read for it."""
        asked = 0

        def source() -> Iterator[bytes]:
            nonlocal asked
            for piece in pieces:
                asked += 1
                yield piece

        return [(asked, event.data) for event in events(source(), Guard())]

    @pytest.mark.parametrize("end", ["\n\n", "\r\r", "\r\n\r\n"])
    def test_an_event_comes_with_its_blank_line(self, end: str) -> None:
        """An event is given out before more bytes are asked for."""
        pieces = [f"data: {number}{end}".encode() for number in range(3)]
        assert [(1, "0"), (2, "1"), (3, "2")] == self.arrivals(pieces)

    def test_half_a_line_end_is_enough(self) -> None:
        """The CR of the blank line's CRLF ends the event; the LF that follows is the other half of it."""
        assert [(1, "a"), (2, "b")] == self.arrivals([b"data: a\r\n\r", b"\ndata: b\r\n\r\n"])

    def test_an_id_is_that_of_its_event(self) -> None:
        """Of several events in one piece each is given with the id as it was at its own end."""
        found, _ = read([b"data: a\n\nid: 1\ndata: b\n\ndata: c\n\nid\ndata: d\n\n"])
        assert [("a", ""), ("b", "1"), ("c", "1"), ("d", "")] == [(data, id) for _, data, id in found]


class Source:
    """Bytes without end, counted."""

    def __init__(self, head: bytes, piece: bytes) -> None:
        self.given = 0
        self._head = head
        self._piece = piece

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        while True:
            self.given += len(self._piece)
            yield self._piece


class TestBounds:
    @pytest.mark.parametrize("piece", [b"x", b"xy\n", b"data: xyz\n", b": ping\n", b"\xc3\xa4", b"\r\n:x"])
    def test_an_endless_event_is_refused(self, piece: bytes) -> None:
        """An event that grows over the bound is refused, with not a piece more read than it took."""
        source = Source(b"data: begin", piece)
        with bounded(), pytest.raises(ProtocolError, match="larger than 1000 bytes") as caught:
            read(source, 1000)
        assert source.given <= 1000 * len(piece) / len(piece.replace(b"\r", b"")) + len(piece)
        assert caught.value.excerpt.startswith("data: begin")
        assert len(caught.value.excerpt) <= 512

    def test_an_endless_event_after_good_ones(self) -> None:
        """The events before it are given out."""
        source = Source(b"data: a\n\ndata: b\n\ndata: ", b"x" * 10)
        found = []
        with bounded(), pytest.raises(ProtocolError):
            for event in events(source, Guard(100)):
                found.append(event.data)
        assert ["a", "b"] == found

    @pytest.mark.parametrize("step", [1, 7, 64, 99])
    def test_the_bound_is_exact(self, step: int) -> None:
        """An event of exactly the bound, its blank line included, is accepted; one byte more is not."""
        for size, accepted in ((100, True), (101, False)):
            stream = b"data: " + b"x" * (size - 8) + b"\n\n"
            pieces = split_at(stream + b"data: next\n\n", range(step, size, step))
            if accepted:
                assert ["x" * (size - 8), "next"] == [data for _, data, _ in read(pieces, 100)[0]]
            else:
                with pytest.raises(ProtocolError):
                    read(pieces, 100)

    @given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.data())
    @example([40, 40], None)
    def test_events_within_the_bound_pass(self, sizes: list[int], data: st.DataObject | None) -> None:
        """However they are cut, events that are each within the bound are all given out."""
        stream = b"".join(b"data: " + b"x" * size + b"\n\n" for size in sizes)
        cuts = [47] if data is None else data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
        found, _ = read(split_at(stream, cuts), 48)
        assert ["x" * size for size in sizes] == [text for _, text, _ in found]

    @pytest.mark.parametrize("line", [b"data: x\n", b":\n", b"data\n", b"id: 1\n", b"x\n"])
    def test_an_event_of_very_many_lines_is_refused_fast(self, line: bytes) -> None:
        """Lines by the hundred thousand, whose joining would take minutes, are refused before they are joined."""
        stream = line * (MAX_EVENT // 2 // len(line)) + b"\n"
        with bounded(), pytest.raises(ProtocolError, match="too many lines") as caught:
            read([stream])
        assert len(caught.value.excerpt) <= 512

    @pytest.mark.parametrize("cut", [False, True])
    def test_an_event_of_many_lines_is_read(self, cut: bool) -> None:
        """A few thousand lines are no attack."""
        stream = b"data: line\n" * 5000 + b"\n"
        pieces = split_at(stream, range(0, len(stream), 4096)) if cut else [stream]
        assert ["\n".join(["line"] * 5000)] == [data for _, data, _ in read(pieces)[0]]

    def test_many_events_in_a_piece_are_read(self) -> None:
        """The lines of one event count, not those of a piece."""
        assert 20_000 == len(read([b"data: x\n\n" * 20_000])[0])

    def test_a_large_event_in_small_pieces(self) -> None:
        """An event of a megabyte that comes in bits is joined once, not once a bit."""
        stream = b"data: " + b"x" * 2**20 + b"\n\n"
        with bounded():
            found, _ = read(split_at(stream, range(0, len(stream), 16)))
        assert [2**20] == [len(data) for _, data, _ in found]

    def test_a_retry_of_any_length(self) -> None:
        """A retry of thousands of digits is a number, and no failure."""
        assert int("9" * 18) == read([b"retry: " + b"9" * 10_000 + b"\n\n"])[1].retry


BARE_ERROR = b'{"error": {"code": 503, "message": "The model is overloaded."}}'


class TestErrorsOutsideData:
    """Errors that the standard passes over, as they have no field `data`."""

    def told(self, stream: bytes, at: list[int]) -> list[tuple[str, str]]:
        guard = Guard(bare_errors=True)
        return [(event.event, event.data) for event in parse(split_at(stream, at), guard)]

    @given(st.lists(st.integers(0, 120), max_size=4))
    def test_a_field_of_their_own(self, at: list[int]) -> None:
        """llama.cpp's field `error` is an event of that type, however it is cut."""
        stream = b'data: {"a": 1}\n\nerror: {"code":400,"message":"too long"}\n\ndata: [DONE]\n\n'
        assert [
            ("message", '{"a": 1}'),
            ("error", '{"code":400,"message":"too long"}'),
            ("message", "[DONE]"),
        ] == self.told(stream, at)

    @given(st.sampled_from([b"", b"\n\n", b"\n"]), st.lists(st.integers(0, 120), max_size=4))
    def test_bare_json(self, end: bytes, at: list[int]) -> None:
        """Google's servers leave the framing behind, and the body may end within the line."""
        ((_, first), (kind, told)) = self.told(b'data: {"a": 1}\n\n' + BARE_ERROR + end, at)
        assert ('{"a": 1}', "error", json.loads(BARE_ERROR)) == (first, kind, json.loads(told))

    def test_a_type_beside_it(self) -> None:
        """A line of bare JSON counts, whatever fields stand before it."""
        assert [("error", '{"error":{"code":500}}')] == self.told(b'event: error\n{"error":{"code":500}}\n\n', [])

    def test_over_several_lines(self) -> None:
        """JSON that is written for people is one error."""
        ((_, told),) = self.told(json.dumps(json.loads(BARE_ERROR), indent=2).encode(), [])
        assert json.loads(BARE_ERROR) == json.loads(told)

    @pytest.mark.parametrize("torn", [b"error: \xff oops", b'{"error":{"message":"\xff oops"}}'])
    def test_invalid_bytes_at_a_torn_end(self, torn: bytes) -> None:
        """What is no UTF-8 is replaced there as everywhere."""
        ((kind, told),) = self.told(torn, [])
        assert "error" == kind
        assert "\ufffd oops" in told

    @pytest.mark.parametrize("depth", [100, 900, 1000])
    def test_nested_beyond_reason(self, depth: int) -> None:
        """No depth breaks it."""
        deep = b'{"error":' + b"[" * depth + b"]" * depth + b"}"
        assert ("error", deep.decode()) == self.told(deep + b"\n\n", [])[0]

    @pytest.mark.parametrize("letter", ["x", "漢", "\N{GRINNING FACE}"])
    def test_a_field_of_many_megabytes(self, letter: str) -> None:
        """It is an error none the less; the beginning of its text is enough."""
        ((kind, told),) = self.told(b"error: " + b" " * 2_000_000 + (letter * 2_000_000).encode() + b"\n\n", [])
        assert "error" == kind
        assert {letter} == set(told)
        assert 1_000_000 <= len(told.encode()) <= 1_100_000

    @pytest.mark.parametrize("value", [b"", b" ", b" null", b" false", b" {}", b" 0"])
    def test_a_field_that_says_nothing(self, value: bytes) -> None:
        """A field without an error in it is passed over, as the standard has it."""
        assert [] == self.told(b"error:" + value + b"\n\n", [])

    @pytest.mark.parametrize("bare", [b'{"usage": 1}', b"{", b"[1]", b"error", b": error", b'errors: {"error": 1}'])
    def test_what_is_none(self, bare: bytes) -> None:
        """What is no error stays what the standard makes of it: nothing."""
        assert [] == self.told(bare + b"\n\n", [])

    def test_beside_data(self) -> None:
        """An event with data is that event."""
        assert [("message", "x")] == self.told(b"error: y\ndata: x\n\n", [])
