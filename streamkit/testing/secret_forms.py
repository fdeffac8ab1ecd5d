"""In which forms a secret may be written: escaped, percent-encoded, in hexadecimal, in base64, in other cases.

Two steps make the number of forms small. ``plain`` undoes escapes of single characters, in what is searched as well
as in the secrets; what is left are encodings of a secret as a whole, which are searched for as they stand.
"""

from __future__ import annotations

import base64
import bisect
import html
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

import attrs

__all__ = ["SHORT", "Form", "Forms", "Plain", "open_escape", "plain"]

SHORT = 8  # characters; shorter values are words, which would be taken out of everything
_WORD = re.compile(r"[A-Za-z]{1,16}")  # a secret that is one, such as a password, counts in its own case only

_ESCAPE = re.compile(
    rb"\\{1,8}[uU][dD][89abAB][0-9a-fA-F]{2}\\{1,8}[uU][dD][c-fC-F][0-9a-fA-F]{2}|"  # two halves of one character
    rb"\\{1,8}(?:[uU]([0-9a-fA-F]{4})|[xX]([0-9a-fA-F]{2})|([/\"']))|"
    rb"\\{2,8}|"
    rb"%(?:25){0,4}([0-9a-fA-F]{2})|"
    rb"&(?:\#[0-9]{1,7}|\#[xX][0-9a-fA-F]{1,6}|amp|quot|apos|lt|gt);"
)
# The beginning of one, at the end of a read.
_OPEN_ESCAPE = re.compile(
    rb"(?:\\{1,8}[uU][dD][89abAB][0-9a-fA-F]{2})?(?:\\{1,8}(?:[uU][0-9a-fA-F]{0,3}|[xX][0-9a-fA-F]?)?)\Z|"
    rb"\\{1,8}[uU][dD][89abAB][0-9a-fA-F]{2}\Z|%(?:25){0,4}(?:2|[0-9a-fA-F])?\Z|&\#?[0-9a-zA-Z]{0,7}\Z"
)
_LONGEST_ESCAPE = 32  # bytes


@attrs.frozen
class Plain:
    """Bytes without escapes, and where each of them stood.

    Attributes:
        data: without escapes.
        folded: the same in lower case, of the same length.
    """

    data: bytes
    folded: bytes
    _ends: list[int]  # in data, where what stood for something else ends
    _shifts: list[int]  # by how much the original is ahead from there on; and before the first, by nothing
    _widths: list[int]  # how many bytes of data each of them is

    def origin(self, at: int) -> int:
        """Return where the byte ``at``, or the end, stood in the original; the beginning of its escape."""
        number = bisect.bisect_right(self._ends, at)
        shift = self._shifts[number - 1] if number else 0
        if number < len(self._ends) and at > self._ends[number] - self._widths[number]:
            at = self._ends[number] - self._widths[number]  # in the middle of one
        return at + shift

    def whole(self, at: int) -> int:
        """Return where what ends before ``at`` ended in the original."""
        number = bisect.bisect_left(self._ends, at)
        if number < len(self._ends) and at > self._ends[number] - self._widths[number]:
            at, number = self._ends[number], number + 1
        elif number < len(self._ends) and at == self._ends[number]:
            number += 1
        return at + (self._shifts[number - 1] if number else 0)


def plain(data: bytes) -> Plain:
    """Return data without escapes: of JSON, of URLs, of HTML, several of them over each other as well."""
    if b"\\" not in data and b"%" not in data and b"&" not in data:
        return Plain(data, data.lower(), [], [], [])
    parts: list[bytes] = []
    ends: list[int] = []
    shifts: list[int] = []
    widths: list[int] = []
    length = at = 0
    for match in _ESCAPE.finditer(data):
        character = _character(match)
        parts += [data[at : match.start()], character]
        length += match.start() - at + len(character)
        at = match.end()
        ends.append(length)
        shifts.append(at - length)
        widths.append(len(character))
    text = b"".join([*parts, data[at:]])
    return Plain(text, text.lower(), ends, shifts, widths)


def open_escape(data: bytes) -> int:
    """Return where an escape begins that the end of data cuts, or the length of data."""
    found = _OPEN_ESCAPE.search(data, max(0, len(data) - _LONGEST_ESCAPE))
    return len(data) if found is None else found.start()


def _character(match: re.Match[bytes]) -> bytes:
    text = match[0]
    four, two, mark, percent = match.groups()
    if mark is not None:
        return bytes(mark)
    if percent is not None:
        return bytes.fromhex(percent.decode())
    if four is not None or two is not None:
        return chr(int(four or two, 16)).encode("utf-8", "surrogatepass")
    if text.startswith(b"&"):
        return html.unescape(text.decode()).encode("utf-8", "surrogatepass")
    digits = re.findall(rb"[uU]([0-9a-fA-F]{4})", text)
    if not digits:
        return b"\\"
    halves = "".join(chr(int(each, 16)) for each in digits)
    return halves.encode("utf-16", "surrogatepass").decode("utf-16").encode()


@attrs.frozen
class Form:
    """One way to write a secret.

    Attributes:
        data: without escapes; in lower case where the case does not count.
        folded: whether the case does not count.
    """

    data: bytes
    folded: bool


class Forms:
    """All ways to write some secrets, to be looked for in ``Plain``.

    Attributes:
        longest: bytes of the longest one.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._forms = {form for secret in secrets for form in _forms(secret)}
        self._by_beginning: dict[tuple[bool, bytes], list[Form]] = {}
        for form in self._forms:
            for size in (1, 2, 3):
                self._by_beginning.setdefault((form.folded, form.data[:size]), []).append(form)
        self.longest = max((len(form.data) for form in self._forms), default=0)

    def __bool__(self) -> bool:
        return bool(self._forms)

    def spans(self, text: Plain) -> list[tuple[int, int]]:
        """Return where secrets stand in a text, those that touch or overlap as one, in order."""
        found: list[tuple[int, int]] = []
        for form in self._forms:
            data = text.folded if form.folded else text.data
            at = data.find(form.data)
            while at >= 0:
                found.append((at, at + len(form.data)))
                at = data.find(form.data, at + len(form.data))
        merged: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def begun_at_end(self, text: Plain, start: int = 0) -> Iterator[tuple[int, Form]]:
        """Iterate the places where the end of a text is the beginning of a secret, and no whole one, from the left."""
        length = len(text.data)
        for at in range(max(start, length - self.longest + 1), length):
            for folded, data in ((True, text.folded), (False, text.data)):
                for form in self._by_beginning.get((folded, data[at : at + 3]), ()):
                    if len(form.data) > length - at and form.data.startswith(data[at:]):
                        yield at, form


def _forms(secret: str) -> Iterator[Form]:
    """Iterate how a secret may be written, after ``plain``."""
    for written in (secret, quote_plus(secret)):  # which has a plus for a blank; percent signs ``plain`` undoes
        found = plain(written.encode("utf-8", "surrogatepass"))
        yield Form(found.data, False) if _WORD.fullmatch(secret) else Form(found.folded, True)
    raw = {secret.encode("utf-8", "surrogatepass"), quote(secret, safe="").encode()}
    for _ in range(2):  # an encoding over an encoding
        hexadecimal = {each.hex().encode() for each in raw}
        in_base64 = {fragment for each in raw for fragment in _in_base64(each)}
        yield from (Form(each, True) for each in hexadecimal)
        yield from (Form(each, False) for each in in_base64)
        raw = {*hexadecimal, *(each.upper() for each in hexadecimal), *in_base64}


def _in_base64(secret: bytes) -> set[bytes]:
    """Return a secret in base64, alone and as it stands in the midst of more, such as ``user:secret``."""
    found = {base64.b64encode(secret)}
    for before in range(3):
        shifted = base64.b64encode(bytes(before) + secret)
        # Without the digits that share bits with what is before and after.
        found.add(shifted[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6])
    return found | {each.translate(bytes.maketrans(b"+/", b"-_")) for each in found}
