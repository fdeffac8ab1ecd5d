"""A pattern that a reply must contain, or must not: ``Regex``."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from streamkit.errors import ConfigError
from streamkit.validators.validator import Checker, Stepwise, Verdict, seen

__all__ = ["Regex"]

_LONGEST = 100_000  # characters; a pattern that can match more is taken for one without a limit
_SHORT = 4096  # characters of text that are searched again with each piece, where a match has no limit
_SMALL = 1000  # characters; a match that can be longer is not looked for with each piece
_GROWTH = 8  # what is longer is searched again once an eighth of its length has come


class Regex(Stepwise):
    """A pattern must be found anywhere in a reply, or with ``expect_match=False`` nowhere.

    A pattern that must be found holds back all until it is. One that must not holds back as much as a match can be
    long; if that has no limit, as with ``a+``, all until the end. A pattern that looks at what follows is judged when
    that is there: after ``\\b`` one character later, with ``$`` or a look-ahead at the end.

    Args:
        pattern: text, or a compiled pattern of ``re``.
        expect_match: whether it must be found.
        options: ``name``, ``on_violation``, ``replacement``, ``direction``; see ``Validator``.

    Raises:
        ConfigError: the pattern is wrong, or an option is.
    """

    kind = "regex"

    def __init__(self, pattern: str | re.Pattern[str], *, expect_match: bool = True, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(expect_match, bool):
            raise ConfigError(f"{self.name}: expect_match is True or False, not {expect_match!r}")
        self.expect_match = self.whole = expect_match
        try:
            self.pattern = re.compile(pattern)
        except (re.error, TypeError, RecursionError, OverflowError) as error:
            raise ConfigError(f"{self.name}: the pattern {pattern!r} is none: {error}") from None
        if not isinstance(self.pattern.pattern, str):
            raise ConfigError(f"{self.name}: the pattern is one of bytes; give a text")
        self._reach = _reach_of(self.pattern)

    def begin(self) -> Checker:
        """Return what judges the next text."""
        search = (_WindowSearch if self._reach.longest is not None else _WholeSearch)(self.pattern, self._reach)
        return (_ExpectChecker if self.expect_match else _ForbidChecker)(self.pattern.pattern, search, self._reach)


@attrs.frozen
class _Reach:
    """How far a pattern looks.

    Attributes:
        longest: the most characters of a match; ``None`` if there is no limit, or if only the end tells.
        ahead: whether a match that ends where the text ends so far is not certain.
        at_end: whether only the end of the text tells.
        behind: the most characters before a match that are looked at.
    """

    longest: int | None
    ahead: bool = False
    at_end: bool = False
    behind: int = 1


class _Search(ABC):
    """Finds the first match that is certain.

    Args:
        pattern: what to look for.
        reach: of the same.

    Attributes:
        length: of the text so far.
        searched: how much of it was searched.
    """

    def __init__(self, pattern: re.Pattern[str], reach: _Reach) -> None:
        self._pattern = pattern
        self._reach = reach
        self.length = self.searched = 0

    @abstractmethod
    def add(self, piece: str, final: bool) -> tuple[int, int] | None:
        """Take in more text; return the span of a match that stays one, whatever follows."""

    def _found(self, text: str, start: int, final: bool) -> tuple[int, int] | None:
        """Search what is kept, which ends where the text ends so far."""
        self.searched = self.length
        match = self._pattern.search(text, start)
        if match is None or not (final or not self._reach.ahead or match.end() < len(text)):
            return None
        offset = self.length - len(text)
        return offset + match.start(), offset + match.end()


class _WindowSearch(_Search):
    """Keeps only so much text as a match and what it looks at can be long.

    Where that is much it is not searched with each piece, but with so many that the cost of a character stays small.
    """

    def __init__(self, pattern: re.Pattern[str], reach: _Reach) -> None:
        super().__init__(pattern, reach)
        assert reach.longest is not None
        self._width = reach.longest + reach.ahead
        self._step = self._width // _GROWTH if self._width > _SMALL else 0
        self._pieces: list[str] = []
        self._from = 0  # in what is kept: no match that is not known begins before

    def add(self, piece: str, final: bool) -> tuple[int, int] | None:
        self._pieces.append(piece)
        self.length += len(piece)
        if self.length - self.searched < self._step and not final:
            return None
        kept = "".join(self._pieces)
        span = self._found(kept, self._from, final)
        if span is None:
            begin = max(self._from, len(kept) - self._width)
            # At least one character stays before it, or ``^`` would match in the middle of the text.
            cut = max(0, begin - max(1, self._reach.behind))
            self._pieces, self._from = [kept[cut:]], begin - cut
        return span


class _WholeSearch(_Search):
    """Keeps all of the text, and searches it again as it grows: often while it is short, then more and more seldom."""

    def __init__(self, pattern: re.Pattern[str], reach: _Reach) -> None:
        super().__init__(pattern, reach)
        self._pieces: list[str] = []

    def add(self, piece: str, final: bool) -> tuple[int, int] | None:
        self._pieces.append(piece)
        self.length += len(piece)
        step = self.searched // _GROWTH if self.searched >= _SHORT else 0
        if not final and (self._reach.at_end or self.length - self.searched < step):
            return None
        text = "".join(self._pieces)
        self._pieces = [text]
        return self._found(text, 0, final)


class _ExpectChecker(Checker):
    def __init__(self, pattern: str, search: _Search, reach: _Reach) -> None:
        self._pattern = pattern
        self._search = search
        self._passed = False
        self._length = 0

    def add(self, piece: str, final: bool) -> Verdict:
        self._length += len(piece)
        if not self._passed:
            self._passed = self._search.add(piece, final) is not None
        if self._passed:
            return seen(self._length)
        return Verdict(0, f"nothing in it matches {self._pattern!r}") if final else seen(0)


class _ForbidChecker(Checker):
    def __init__(self, pattern: str, search: _Search, reach: _Reach) -> None:
        self._pattern = pattern
        self._search = search
        # How many characters at the end a match could begin in that is not certain yet.
        self._hold = None if reach.longest is None else max(0, reach.longest - 1) + reach.ahead

    def add(self, piece: str, final: bool) -> Verdict:
        span = self._search.add(piece, final)
        length, hold = self._search.searched, self._hold
        if span is None:
            return seen(length if final else 0 if hold is None else max(0, length - hold))
        shown = 0 if hold is None else min(span[0], max(0, length - hold))
        return Verdict(shown, f"{self._pattern!r} matches in it", span)


# -- how far a pattern looks: what the parser of ``re`` makes of it says so ----------------------------------

_BOUNDARIES = ("AT_BOUNDARY", "AT_NON_BOUNDARY")
_ENDS = ("AT_END", "AT_END_STRING")


def _reach_of(pattern: re.Pattern[str]) -> _Reach:
    try:
        from re import _parser  # type: ignore[attr-defined]
    except ImportError:  # Python 3.10
        import sre_parse as _parser

    try:
        parsed: Any = _parser.parse(pattern.pattern, pattern.flags)
        look = _Look(bool(pattern.flags & re.MULTILINE))
        look.over(parsed, 0)
        longest = int(parsed.getwidth()[1])
    except (AttributeError, TypeError, ValueError, RecursionError):  # another parser than those that are known
        return _Reach(None, at_end=True)
    if look.at_end:
        return _Reach(None, at_end=True)
    return _Reach(longest if longest <= _LONGEST else None, look.ahead, False, min(look.behind, _LONGEST) + 1)


class _Look:
    """What a pattern looks at outside of its match.

    Args:
        multiline: whether ``$`` matches before each line end.
    """

    def __init__(self, multiline: bool) -> None:
        self._multiline = multiline
        self.ahead = False
        self.at_end = False
        self.behind = 0

    def over(self, parsed: Any, following: int) -> None:
        """Look over a sequence.

        Args:
            parsed: of the parser.
            following: how many characters must match after it.
        """
        items = list(parsed)
        for number, (code, argument) in enumerate(items):
            name = str(code)
            after = following + sum(_least(parsed, each) for each in items[number + 1 :])
            if name == "AT":
                self._at(str(argument), after)
            elif name in ("ASSERT", "ASSERT_NOT"):
                if argument[0] > 0:
                    self.at_end = True
                else:
                    self.behind += int(argument[1].getwidth()[1])
                    self.over(argument[1], 0)
            elif name == "GROUPREF_EXISTS":
                for branch in argument[1:]:
                    if branch is not None:
                        self.over(branch, after)
            else:
                for inner in _inside(argument):
                    self.over(inner, after if name in ("SUBPATTERN", "BRANCH", "ATOMIC_GROUP") else 0)

    def _at(self, place: str, after: int) -> None:
        if place in _BOUNDARIES or (place == "AT_END" and self._multiline):
            self.ahead = self.ahead or not after
        elif place in _ENDS:
            self.at_end = True


def _least(parsed: Any, item: Any) -> int:
    """Return how many characters an item must match at least."""
    return int(type(parsed)(parsed.state, [item]).getwidth()[0])


def _inside(argument: Any) -> Iterable[Any]:
    """Yield the sequences in the argument of an operation."""
    if hasattr(argument, "getwidth"):
        yield argument
    elif isinstance(argument, Sequence) and not isinstance(argument, str):
        for each in argument:
            if hasattr(each, "getwidth"):
                yield each
            elif isinstance(each, list):
                yield from _inside(each)
