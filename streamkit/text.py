"""Words, lines and sentences out of a stream of text, each as soon as it is whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["lines", "sentences", "words"]

_WORD = re.compile(r"\s*\S+\s+")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r(?!\Z))")
# A full stop, question or exclamation mark with what closes it, when white space and then something other
# than a lower-case letter follows: "e.g. this" and "3.14" go on. East Asian marks need no space after them.
_SENTENCE = re.compile(r"""[\s\S]*?(?:[.!?…]+["'”’)\]]*\s+(?=[^\sa-z])|[。！？]+[」』”’)]*\s*|\n\s*\n\s*(?=\S))""")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|No|[A-Z])|\b[a-z]\.[a-z])\.\s+\Z")


def _cut(pieces: Iterable[str], pattern: re.Pattern[str], goes_on: re.Pattern[str] | None = None) -> Iterator[str]:
    """Give out the matches of ``pattern`` as they become whole, and the rest at the end.

    Work is in proportion to the text: a match is looked for once more in the unfinished part only.
    """
    rest = ""
    for piece in pieces:
        rest += piece
        start = search_from = 0
        while match := pattern.match(rest, search_from):
            search_from = match.end()
            if goes_on is None or not goes_on.search(rest, start, match.end()):
                yield rest[start : match.end()]
                start = match.end()
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
