"""Split a stream of text into words, lines and sentences, each as soon as it is complete; estimate its tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

__all__ = ["estimate_tokens", "lines", "sentences", "words"]


class _End:
    """The end of a word, line or sentence, recognised by the character that follows it.

    Because of that look-ahead, the same text gives the same results however it is split into pieces. Each pattern
    begins at the start of a run of marks or white space, and each run is searched once. So a model that writes nothing
    but line ends costs no more than another.

    Args:
        pattern: a regular expression for an end, with a look-ahead.
        marks: the characters of which an end consists, as in a set of a regular expression.
    """

    def __init__(self, pattern: str, marks: str) -> None:
        self.pattern = re.compile(pattern)
        self.shown = re.compile(f"[^{marks}]")
        self.open_run = re.compile(f"(?<![{marks}])[{marks}]*\\Z")


_WORD = _End(r"(?<=\S)\s+(?=\S)", r"\s")
_LINE = _End(r"\r\n|\n|\r(?=[^\n])", r"\r")
# A full stop, question or exclamation mark with closing quotes or brackets, before white space and then anything but a
# lower-case letter: "e.g. this" and "3.14" do not end. East Asian marks need no space after them. Or a blank line.
_SENTENCE = _End(
    r"""(?<![.!?…])[.!?…]+["'”’)\]]*\s+(?=[^\sa-z])"""
    r"""|(?<![。！？])[。！？]+[」』”’)]*\s*(?=[^\s。！？」』”’)])"""
    r"""|(?<=\S)[^\S\n]*\n[^\S\n]*\n\s*(?=\S)""",
    r""".!?…。！？"'”’)\]」』\s""",
)
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|[A-Z])|\b[a-z]\.[a-z])\.\s+\Z")
_LONGEST_ABBREVIATION = 4  # characters before its last full stop


def _cut(pieces: Iterable[str], end: _End, goes_on: re.Pattern[str] | None = None) -> Iterator[str]:
    """Iterate the parts between ends, each as soon as it is complete, and the rest after the last piece.

    Args:
        pieces: the text.
        end: the kind of end.
        goes_on: matches the text up to an end that does not count, such as an abbreviation's full stop.
    """
    __tracebackhide__ = True  # in the tracebacks of IPython and pytest
    rest, settled = "", 0  # all ends that begin before this position are known
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
    """Iterate words, each with the white space after it (the first also before it); joined, they are the text."""
    return _cut(pieces, _WORD)


def lines(pieces: Iterable[str]) -> Iterator[str]:
    """Iterate lines without their line ends; the last line need not have one."""
    __tracebackhide__ = True
    for line in _cut(pieces, _LINE):
        yield line.rstrip("\r\n")


def sentences(pieces: Iterable[str]) -> Iterator[str]:
    """Iterate sentences, without the white space around them.

    A sentence is complete when the next one begins, so each is yielded when the next one's first letter arrives, and
    the last at the end of the text. Common abbreviations, initials and decimals do not end a sentence.
    """
    __tracebackhide__ = True
    for piece in _cut(pieces, _SENTENCE, _ABBREVIATION):
        if sentence := piece.strip():
            yield sentence


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has: a token for each four bytes of UTF-8, rounded up.

    So four letters of English are a token, and a Chinese character is most of one, as tokenizers of common models have
    it. It needs no tokenizer, and is not exact: within some 25 % for prose, less so for code and numbers.
    """
    return -(-len(text.encode("utf-8", "surrogatepass")) // 4)
