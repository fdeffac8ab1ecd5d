"""Bytes to server-sent events: sseclient-py behind a guard.

sseclient-py does the parsing, but for events of one line of data, with or without a type before it. ``Guard``
stands before both and makes of whatever bytes arrive, cut wherever, whole events with plain line ends in valid UTF-8.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

import sseclient

from streamkit.errors import ProtocolError
from streamkit.values.json_text import TooDeepError
from streamkit.wire.json import bytes_of, parse_json, text_of

__all__ = ["MAX_EVENT", "Guard", "events", "parse"]

MAX_EVENT = 16 * 1024 * 1024  # bytes; the longest real event seen, an encrypted reasoning blob, has under 1 MiB
# sseclient-py joins an event line by line, each time copying what it has. Real events have a line or two;
# 2**30 bytes of copying, a quarter of a second, are granted before an event is taken for an attack.
_MAX_COPIED = 2**30
_MANY_PIECES = 4096
_LONG = 64 * 1024  # bytes that are decoded in one call
_LONGEST_ERROR = 1024 * 1024  # bytes of an error outside any ``data``; a longer one takes too long in one call
_BOM = b"\xef\xbb\xbf"
# Four times as fast as an anchor with re.MULTILINE. A false alarm, such as a field called "idea", only costs time.
_MAYBE_SPECIAL = re.compile(rb"\n(?:[ir{\[]|er)")
_SPECIAL = (b"id", b"retry", b"error", b"{", b"[")


class Guard:
    """Makes of pieces of bytes blocks of whole events, safe for sseclient-py.

    It strips a byte order mark, turns CR and CRLF into LF, replaces invalid UTF-8 by U+FFFD, keeps an
    incomplete event back until it is whole, and refuses one that grows over ``max_event``. An event that the
    end of the bytes cut short is never given out: ``torn`` tells of it.

    Attributes:
        last_event_id: the last ``id`` so far; it carries over to later events.
        retry: the last valid ``retry`` so far, in milliseconds, or ``None``.
        torn: whether the bytes ended inside an event.
        holds: whether the next piece goes on with something of the last.

    Args:
        max_event: the longest event to accept, in bytes.
        bare_errors: whether an error that stands outside any ``data`` is made an event of the type ``error``.
            The standard ignores it, and the reply would seem to end well: llama.cpp sends a field ``error``,
            and Google's servers bare JSON.

    Source: WHATWG HTML, 9.2.6 "Interpreting an event stream", read 2026-11-20.
    """

    def __init__(self, max_event: int = MAX_EVENT, *, bare_errors: bool = False) -> None:
        self._bare_errors = bare_errors
        self._max_event = max_event
        self._held: list[bytes] = []  # the beginning of an event, in pieces: joined once, when it is whole
        self._joined = 0  # how many of these are joined ones
        self._held_size = 0
        self.holds = False  # kept, not worked out anew, as it is asked for each piece
        self._after_cr = False  # the last byte was a CR, already given as LF: an LF after it is its other half
        self.last_event_id = ""
        self.retry: int | None = None
        self.torn = False

    def whole(self, data: bytes) -> bytes:
        """Return the events that are whole with the next piece of bytes, ``b""`` for none, with plain line ends.

        Raises:
            ProtocolError: an event is over the bound.
        """
        if b"\r" in data or self._after_cr:
            data = self._plain_line_ends(data)
        block = data if not self._held and data.endswith(b"\n\n") else self._whole_events(data)
        self.holds = self._after_cr or bool(self._held)
        return block

    def safe(self, block: bytes) -> Iterator[bytes]:
        """Iterate the events of a block in parts for sseclient-py; each is to be parsed before the next is asked for.

        Raises:
            ProtocolError: an event has too many lines, or is over the bound with its invalid bytes replaced.
        """
        block = _valid_utf8(block)
        self._check_lines(block)
        if len(block) > self._max_event:
            for event in block.split(b"\n\n"):
                self._check_size(len(event), event)
        if _MAYBE_SPECIAL.search(block) or block.startswith(_SPECIAL):
            yield from self._one_by_one(block)
        else:
            yield block

    def end(self) -> Iterator[bytes]:
        """Take note that the bytes are over; iterate what is still to be told of them."""
        self.torn = any(piece.strip(b"\n") for piece in self._held)
        if self.torn and self._bare_errors and (told := _bare_error(_valid_utf8(b"".join(self._held)))):
            yield told

    def _plain_line_ends(self, data: bytes) -> bytes:
        if self._after_cr and data:
            self._after_cr = False
            if data[:1] == b"\n":
                data = data[1:]
        if b"\r" in data:
            self._after_cr = data[-1:] == b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _whole_events(self, data: bytes) -> bytes:
        """Return all that is complete up to here, and hold the rest back."""
        # The first byte may be the second half of the blank line that ends what is held.
        closes = bool(self._held) and self._held[-1][-1:] == b"\n" and data[:1] == b"\n"
        end = data.rfind(b"\n\n") + 2
        if end < 2:
            if not closes:
                self._hold(data)
                return b""
            end = 1
        block = data[:end]
        if self._held:
            self._check_size(self._held_size + (1 if closes else block.find(b"\n\n") + 2))
            block = b"".join((*self._held, block))
        self._held, self._held_size, self._joined = [], 0, 0
        self._hold(data[end:])
        return block

    def _hold(self, data: bytes) -> None:
        if data:
            self._held.append(data)
            self._held_size += len(data)
            if len(self._held) - self._joined > _MANY_PIECES:  # each small piece costs ten times its size
                self._held[self._joined :] = [b"".join(self._held[self._joined :])]
                self._joined += 1
            self._check_size(self._held_size)

    def _check_size(self, size: int, beginning: bytes | None = None) -> None:
        if size > self._max_event:
            shown = (b"".join(self._held[:8]) if beginning is None else beginning)[:512]
            excerpt = shown.decode("utf-8", "replace")
            raise ProtocolError(f"an event is larger than {self._max_event} bytes", excerpt=excerpt)

    def _check_lines(self, block: bytes) -> None:
        if block.count(b"\n") * len(block) <= _MAX_COPIED:
            return
        for event in block.split(b"\n\n"):
            if event.count(b"\n") * len(event) > _MAX_COPIED:
                raise ProtocolError("an event has too many lines", excerpt=event[:512].decode("utf-8", "replace"))

    def _one_by_one(self, block: bytes) -> Iterator[bytes]:
        """Give out single events, with ``id`` and ``retry`` as they are at each one's end."""
        for event in block.split(b"\n\n")[:-1]:
            for line in event.split(b"\n"):
                if not line.startswith((b"id", b"retry")):
                    continue
                field, _, value = line.partition(b":")
                value = value.removeprefix(b" ")
                if field == b"retry":
                    if value.isdigit():
                        self.retry = int(value[:18])
                elif field == b"id" and b"\0" not in value:
                    self.last_event_id = value.decode("utf-8")
            yield (_bare_error(event) if self._bare_errors else None) or event + b"\n\n"


def _without_bom(source: Iterable[bytes]) -> Iterator[bytes]:
    """Return the pieces without one byte order mark at the very beginning, however it is cut."""
    head = b""
    pieces = iter(source)
    for data in pieces:
        head += data
        if len(head) >= len(_BOM) or not _BOM.startswith(head):
            break
    head = head.removeprefix(_BOM)
    return itertools.chain([head], pieces) if head else pieces


def _valid_utf8(block: bytes) -> bytes:
    """Replace what is not UTF-8. A block ends with line ends, which no character spans."""
    try:
        text_of(block, "strict")
    except UnicodeDecodeError:
        return bytes_of(text_of(block))
    return block


def _bare_error(event: bytes) -> bytes | None:
    """Return the error of an event without ``data`` as an event of its own, ``None`` where there is none."""
    if event.startswith(b"data") or b"\ndata" in event:
        return None
    field, text = _error_field(event)
    if len(text) > _LONGEST_ERROR:
        if not field:
            return None  # nobody sends an error of that length; without its terminator the reply counts as truncated
        text = text.lstrip()[:_LONGEST_ERROR].decode("utf-8", "ignore").encode()  # not in the middle of a character
    try:
        told = parse_json(text) if text else None
    except TooDeepError:
        told = {"error": text}
    except ValueError:
        told = field and text
    inner = told[0] if isinstance(told, list) and told else told
    if not inner or not (field or (isinstance(inner, dict) and inner.get("error"))):
        return None
    return b"event: error\ndata: " + text.replace(b"\n", b" ") + b"\n\n"  # in JSON they only stand between words


def _error_field(event: bytes) -> tuple[bool, bytes]:
    """Return whether there is a field ``error``, and its value; else the bare JSON that the event ends with."""
    lines = event.split(b"\n")
    for line in lines:
        if line.startswith(b"error:"):
            return True, line[len(b"error:") :].removeprefix(b" ")
    for number, line in enumerate(lines):
        if line.startswith((b"{", b"[")):
            return False, b"\n".join(lines[number:]).strip()
    return False, b""


class _Client(sseclient.SSEClient):
    """sseclient-py's parser, spared the search for the ends of events, which the guard has found already.

    Its own search copies an event anew for each of its lines, and is a tenth of what a chunk costs.
    """

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        super().__init__(self._blocks)  # type: ignore[arg-type] # any iterable will do

    def parse(self, block: bytes) -> Iterator[sseclient.Event]:
        """Iterate the events of a block, before the next one is parsed."""
        self._blocks[:] = (block,)
        return self.events()

    def _read(self) -> Iterator[bytes]:
        for block in self._blocks:
            yield from block.split(b"\n\n")[:-1]


class _Line(sseclient.Event):
    """An event of one line of data, made in three quarters of the time."""

    id = retry = None
    event = "message"

    def __init__(self, data: str) -> None:
        self.data = data


def parse(source: Iterable[bytes], guard: Guard) -> Iterator[sseclient.Event]:
    """Iterate the events: ``event`` is the type, ``data`` the text.

    An event is given as soon as its blank line has arrived, and until the next one is asked for,
    ``guard.last_event_id`` is its id.

    Events of one line of data, with or without a type before it, are nearly all that models send. They need no
    parser: going through all their fields was a quarter of what a chunk cost, and half with a type.

    Args:
        source: the bytes as they arrive, in pieces of any size.
        guard: a new one.

    Raises:
        ProtocolError: an event is over the bound.
        Whatever the source of the bytes raises.
    """
    client = _Client()
    for data in _without_bom(source):
        # What the guard would find, without a call: with a single event a read, each further step is dear.
        is_whole = not guard.holds and data.endswith(b"\n\n") and b"\r" not in data
        block = data if is_whole else guard.whole(data)
        if not block:
            continue
        text = text_of(block) if len(block) > _LONG else block.decode("utf-8", "replace")
        if text.startswith("data: ") and text.find("\n") == len(text) - 2:
            yield _Line(text[6:-2])
            continue
        for event in text[:-2].split("\n\n"):
            if event.startswith("data: ") and "\n" not in event:
                yield _Line(event[6:])
            elif found := _typed(event):
                yield found
            else:
                for part in guard.safe(bytes_of(event) + b"\n\n"):
                    yield from client.parse(part)
    for part in guard.end():
        yield from client.parse(part)


def _typed(event: str) -> _Line | None:
    """Return an event of a line with its type and a line of data, ``None`` for any other."""
    kind, _, line = event.partition("\n")
    if not (kind.startswith("event: ") and line.startswith("data: ")) or "\n" in line:
        return None
    found = _Line(line[6:])
    found.event = kind[7:] or "message"
    return found


def events(source: Iterable[bytes], guard: Guard) -> Iterator[sseclient.Event]:
    """Iterate the events as ``parse`` does, each with its ``id``, the last one so far."""
    for event in parse(source, guard):
        event.id = guard.last_event_id
        yield event
