"""Secrets that no single event holds: their beginning ends one event's text, and the rest begins the next one's.

A model that repeats a key writes it token by token, so each event of a recording has a few characters of it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Hashable, Iterator

import attrs

from streamkit.testing.secret_forms import SHORT, Form, Forms, Plain, plain

__all__ = ["HIDDEN", "SplitSecrets"]

HIDDEN = "***"

_MOST_HELD = 64 * 1024  # bytes, of a line without an end or of lines that may hold the beginning of a secret
_PATIENCE = 16  # lines with text in which the text that may go on a secret has to come again
_MOST_BEGUN = 64  # secrets that may have begun in one place; more there are only of one letter
_DEEPEST = 32  # levels of JSON that tell places apart
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]|-?\d+', re.DOTALL)
_FIELD = re.compile(rb"(?:([a-z]{1,20}): ?)?")  # of a server-sent event
_INDICES = frozenset((b'"index"', b'"output_index"', b'"content_index"', b'"summary_index"', b'"choice_index"'))

Span = tuple[int, int]


@attrs.frozen
class _Begun:
    """A secret of which the beginning was found.

    Attributes:
        form: how it is written.
        size: bytes of it that were found.
        pieces: where, in offsets of the whole response; the first is where the lines begin that are held.
        line: the number of the last line in which something of it was found.
    """

    form: Form
    size: int
    pieces: tuple[Span, ...]
    line: int


class SplitSecrets:
    """Takes the pieces of split secrets out of a response, each read with its time.

    What may hold the first piece is held until the next text of the same place in the JSON decides. Of the same place
    are strings under the same names; items of lists are told apart by their ``index`` only, if they have one.
    """

    def __init__(self, forms: Forms) -> None:
        self._forms = forms
        self._reset()

    def _reset(self) -> None:
        self._data = bytearray()  # what was not given out yet
        self._start = 0  # its offset in the whole response
        self._judged = 0  # the offset up to which lines were looked at
        self._searched = 0  # the offset up to which there is no end of a line
        self._reads: deque[tuple[int, float]] = deque()  # where each read ends, and when it came
        self._line = 0
        self._skipping = False  # the rest of a line that is too long
        self._begun: dict[Hashable, list[_Begun]] = {}
        self._hidden: set[Span] = set()

    def feed(self, at: float, data: bytes) -> list[tuple[float, bytes]]:
        """Return the reads that are safe to write, each with its time."""
        if not self._forms:
            return [(at, data)]
        self._data += data
        end = self._start + len(self._data)
        self._reads.append((end, at))
        if b"\0" in data:  # frames, which have no lines, and mostly one in each read
            self._judge(end)
        else:
            while (found := self._data.find(b"\n", self._searched - self._start)) >= 0:
                self._judge(self._start + found + 1)
        self._searched = end
        if end - self._judged > _MOST_HELD:
            self._judged, self._skipping = end, True
        return self._given_out(self._safe())

    def rest(self) -> list[tuple[float, bytes]]:
        """Return what was held back, at the end."""
        end = self._start + len(self._data)
        if end > self._judged:
            self._judge(end)
        for begun in [each for many in self._begun.values() for each in many]:
            self._drop(begun)
        given = self._given_out(end)
        self._reset()
        return given

    def _judge(self, end: int) -> None:
        """Look at the line from where the last one ended."""
        start, self._judged, self._searched = self._judged, end, end
        line = bytes(self._data[start - self._start : end - self._start])
        skipped, self._skipping = self._skipping, False
        if skipped or not line.strip():
            return
        self._line += 1
        for place, (first, last) in _texts(line):
            self._look(place, plain(line[first:last]), start + first)

    def _look(self, place: Hashable, text: Plain, offset: int) -> None:
        """Look at the next text of a place, which begins at an offset."""
        length = len(text.data)
        if not length:
            return
        going_on: list[_Begun] = []
        for begun in self._begun.pop(place, ()):
            if self._is_late(begun):
                self._drop(begun)
                continue
            data, rest = text.folded if begun.form.folded else text.data, begun.form.data[begun.size :]
            if data.startswith(rest):
                self._hide((*begun.pieces, (offset, offset + text.whole(len(rest)))))
            elif rest.startswith(data):
                whole = (offset, offset + text.whole(length))
                going_on.append(_Begun(begun.form, begun.size + length, (*begun.pieces, whole), self._line))
        for at, form in self._forms.begun_at_end(text):
            piece = (offset + text.origin(at), offset + text.whole(length))
            going_on.append(_Begun(form, length - at, (piece,), self._line))
        if going_on:
            self._begun[place] = going_on[:_MOST_BEGUN]

    def _safe(self) -> int:
        """Return the offset before which all is decided; give up waiting where it takes too long."""
        for place, many in list(self._begun.items()):
            kept = []
            for begun in many:
                if self._is_late(begun):
                    self._drop(begun)
                else:
                    kept.append(begun)
            if kept:
                self._begun[place] = kept
            else:
                del self._begun[place]
        return min((begun.pieces[0][0] for many in self._begun.values() for begun in many), default=self._judged)

    def _is_late(self, begun: _Begun) -> bool:
        return self._line - begun.line > _PATIENCE or self._judged - begun.pieces[0][0] > _MOST_HELD

    def _drop(self, begun: _Begun) -> None:
        """Stop waiting for the rest of a secret: most of one is hidden without it."""
        if begun.size >= SHORT and 2 * begun.size >= len(begun.form.data):
            self._hide(begun.pieces)

    def _hide(self, pieces: tuple[Span, ...]) -> None:
        self._hidden.update(pieces)

    def _given_out(self, end: int) -> list[tuple[float, bytes]]:
        """Return the reads that end before an offset, without what is hidden; one is given out as a whole."""
        given: list[tuple[float, bytes]] = []
        if self._reads and self._reads[0][0] <= end:
            hidden = deque(sorted(self._hidden))
            while self._reads and self._reads[0][0] <= end:
                read_end, at = self._reads.popleft()
                given.append((at, self._without_hidden(read_end, hidden)))
            self._hidden = set(hidden)
        return given

    def _without_hidden(self, end: int, hidden: deque[Span]) -> bytes:
        """Return the data up to an offset without what is hidden, and forget it."""
        done, at = b"", self._start
        while hidden and hidden[0][0] < end:
            start, stop = hidden[0]
            if start >= at:  # or the asterisks stand where it begins already
                done += self._data[at - self._start : start - self._start] + HIDDEN.encode()
            at = max(at, min(stop, end))
            if stop > end:
                break
            hidden.popleft()
        done += self._data[at - self._start : end - self._start]
        del self._data[: end - self._start]
        self._start = end
        return done


def _texts(line: bytes) -> Iterator[tuple[Hashable, Span]]:
    """Iterate the texts of a line: the strings of its JSON, or what follows the field's name of an event.

    Each comes with what tells its place from others, and with where it is in the line.
    """
    field = _FIELD.match(line)
    start = field.end() if field else 0
    name = field and field[1]
    json_at = start if line[start : start + 1] in (b"{", b"[") else line.find(b'{"')
    if json_at < 0 or (json_at > start and b"\0" not in line):
        yield name, (start, len(line.rstrip(b"\r\n")))
        return
    for place, span in _strings(line, json_at):
        yield (name, place), span


@attrs.define(eq=False)
class _Node:
    """An object or a list of JSON that is being read."""

    above: _Node | None
    depth: int = 0
    label: bytes = b""  # the last name in it
    indices: tuple[tuple[bytes, bytes], ...] = ()

    def place(self, label: bytes) -> tuple[Hashable, ...]:
        if self.above is None or self.depth > _DEEPEST:
            return (self.indices, label)
        return (*self.above.place(self.above.label), self.indices, label)


def _strings(line: bytes, start: int) -> list[tuple[Hashable, Span]]:
    """Return the strings that JSON has as values, with their places; of what is no JSON as many as there seem to be."""
    found: list[tuple[_Node, bytes, Span]] = []
    node = _Node(None)
    text: re.Match[bytes] | None = None  # the last string: a name if a colon follows, a value otherwise
    for token in _TOKEN.finditer(line, start):
        kind = token[0]
        if kind == b":":
            if text is not None:
                node.label, text = text[0], None
            continue
        if text is not None:
            found.append((node, node.label, (text.start() + 1, text.end() - 1)))
            text = None
        if kind in (b"{", b"["):
            node = _Node(node, node.depth + 1)
        elif kind in (b"}", b"]"):
            node = node.above or node
        elif kind.startswith(b'"'):
            text = token
        elif kind != b"," and node.label in _INDICES:
            node.indices = (*node.indices, (node.label, kind))
    # Once the line is read, as an index may stand behind the text.
    return [(each.place(label), span) for each, label, span in found]
