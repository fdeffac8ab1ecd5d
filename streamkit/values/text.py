"""Words, lines and sentences out of a stream of text, each as soon as it is whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

__all__ = ["lines", "sentences", "words"]


class _End:
    """What ends a piece, together with the character that shows it.

    So the same text gives the same pieces, wherever it is cut on its way. Each pattern begins where a run of
    marks or white space does, and a run is looked at once: a model that writes line ends for ever must not
    cost more than one that does not.

    Args:
        pattern: an end, and a look ahead.
        marks: the characters, as a regular expression writes a set, whose run an end begins and lies in.
    """

    def __init__(self, pattern: str, marks: str) -> None:
        self.pattern = re.compile(pattern)
        self.shown = re.compile(f"[^{marks}]")
        self.open_run = re.compile(f"(?<![{marks}])[{marks}]*\\Z")


_WORD = _End(r"(?<=\S)\s+(?=\S)", r"\s")
_LINE = _End(r"\r\n|\n|\r(?=[^\n])", r"\r")
# A full stop, question or exclamation mark with what closes it, when white space and then something other
# than a lower-case letter follows: "e.g. this" and "3.14" go on. East Asian marks need no space after them.
_SENTENCE = _End(
    r"""(?<![.!?…])[.!?…]+["'”’)\]]*\s+(?=[^\sa-z])"""
    r"""|(?<![。！？])[。！？]+[」』”’)]*\s*(?=[^\s。！？」』”’)])"""
    r"""|(?<=\S)[^\S\n]*\n[^\S\n]*\n\s*(?=\S)""",
    r""".!?…。！？"'”’)\]」』\s""",
)
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|[A-Z])|\b[a-z]\.[a-z])\.\s+\Z")
_LONGEST_ABBREVIATION = 4  # characters before its last full stop


def _cut(pieces: Iterable[str], end: _End, goes_on: re.Pattern[str] | None = None) -> Iterator[str]:
    """Give out the pieces between the ends as they become whole, and the rest at the end."""
    rest, settled = "", 0  # all ends that begin before settled are known
    for piece in chain(pieces, ("",)):
        rest += piece
        if piece and not end.shown.search(piece):
            continue
        start = 0
        for match in end.pattern.finditer(rest, settled):
            settled = match.end()
            if goes_on is None or not goes_on.search(rest, max(start, match.start() - _LONGEST_ABBREVIATION), settled):
                yield rest[start:settled]
                start = settled
        open_run = end.open_run.search(rest, settled)
        settled = (open_run.start() if open_run else settled) - start
        rest = rest[start:]
    if rest:
        yield rest


def words(pieces: Iterable[str]) -> Iterator[str]:
    """Iterate words, each with the white space around it, so that joining them gives the text again."""
    return _cut(pieces, _WORD)


def lines(pieces: Iterable[str]) -> Iterator[str]:
    """Iterate lines without their ends; the last one also where no line end follows it."""
    return (line.rstrip("\r\n") for line in _cut(pieces, _LINE))


def sentences(pieces: Iterable[str]) -> Iterator[str]:
    """Iterate sentences, without the white space around them.

    A sentence is known to be over when the next one begins, so each comes with the first letter of its
    successor, the last with the end of the text. Common abbreviations, initials and decimals do not end one.
    """
    cut = _cut(pieces, _SENTENCE, _ABBREVIATION)
    return (sentence for piece in cut if (sentence := piece.strip()))
