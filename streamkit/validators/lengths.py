"""How long a reply may be, or must be: ``MaxLength``, ``MinLength`` and ``MaxSentences``."""

from __future__ import annotations

import re
from typing import Any

from streamkit.errors import ConfigError
from streamkit.validators.options import number_of
from streamkit.validators.validator import Checker, Stepwise, Verdict, seen

__all__ = ["MaxLength", "MaxSentences", "MinLength"]

_CHARACTERS_A_TOKEN = 4
_WORD = re.compile(r"\S+")


class MaxLength(Stepwise):
    """A reply may be so long. It is shown up to the limit, and nothing is held back.

    Args:
        characters: how many characters (code points) there may be, from 1.
        words: how many words, which are runs of anything but white space.
        tokens: how many tokens, estimated as four characters each.
        options: ``name``, ``on_violation``, ``replacement``, ``direction``; see ``Validator``. To cut a reply off, use
            ``on_violation="replace"`` with ``replacement=""``.

    Raises:
        ConfigError: there is no limit, or one is no number from 1, or an option is wrong.
    """

    kind = "max_length"

    def __init__(
        self, characters: int | None = None, *, words: int | None = None, tokens: int | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        if characters is None and words is None and tokens is None:
            raise ConfigError(f"{self.name}: there is no limit; give characters, words or tokens")
        self.characters = None if characters is None else number_of(characters, self.name, "characters")
        self.words = None if words is None else number_of(words, self.name, "words")
        self.tokens = None if tokens is None else number_of(tokens, self.name, "tokens")
        limits: list[tuple[int, str]] = []  # the first character that is too many, and why
        if self.characters is not None:
            limits.append((self.characters, f"it is longer than {self.characters} characters"))
        if self.tokens is not None:
            most = (self.tokens + 1) * _CHARACTERS_A_TOKEN - 1
            limits.append((most, f"it is longer than some {self.tokens} tokens ({most} characters)"))
        self._limit = min(limits) if limits else None

    def begin(self) -> Checker:
        """Return what judges the next text."""
        return _MaxLengthChecker(self._limit, self.words)


class _MaxLengthChecker(Checker):
    def __init__(self, limit: tuple[int, str] | None, words: int | None) -> None:
        self._limit = limit
        self._most_words = words
        self._length = 0
        self._words = 0
        self._in_word = False

    def add(self, piece: str, final: bool) -> Verdict:
        start, reason = self._length + len(piece), None
        if self._limit is not None and start > self._limit[0]:
            start, reason = self._limit
        if self._most_words is not None:
            found = self._word_too_many(piece, self._most_words)
            if found is not None and (reason is None or found < start):
                start, reason = found, f"it is longer than {self._most_words} words"
        self._length += len(piece)
        return seen(start) if reason is None else Verdict(start, reason, (start, self._length))

    def _word_too_many(self, piece: str, most: int) -> int | None:
        """Return where the first word begins that is too many, and count those before it."""
        for match in _WORD.finditer(piece):
            if match.start() or not self._in_word:
                if self._words == most:
                    return self._length + match.start()
                self._words += 1
        if piece:
            self._in_word = not piece[-1].isspace()
        return None


class MinLength(Stepwise):
    """A reply must be so long. All of it is held back until it is.

    Args:
        characters: how many characters (code points) there must be, from 1.
        options: ``name``, ``on_violation``, ``replacement``, ``direction``; see ``Validator``.

    Raises:
        ConfigError: it is no number from 1, or an option is wrong.
    """

    kind = "min_length"
    whole = True

    def __init__(self, characters: int, **options: Any) -> None:
        super().__init__(**options)
        self.characters = number_of(characters, self.name, "characters")

    def begin(self) -> Checker:
        """Return what judges the next text."""
        return _MinLengthChecker(self.characters)


class _MinLengthChecker(Checker):
    def __init__(self, least: int) -> None:
        self._least = least
        self._length = 0

    def add(self, piece: str, final: bool) -> Verdict:
        self._length += len(piece)
        if self._length >= self._least:
            return seen(self._length)
        return Verdict(0, f"it is shorter than {self._least} characters") if final else seen(0)


class MaxSentences(Stepwise):
    """A reply may have so many sentences. It is shown up to the first one too many, and nothing is held back.

    A sentence ends at ``. ! ? …`` with the quotes and brackets that close after it, before white space or the end; or
    at the East Asian forms of these marks. What follows the last end counts as one. Abbreviations are not known.

    Args:
        sentences: how many there may be, from 1.
        options: ``name``, ``on_violation``, ``replacement``, ``direction``; see ``Validator``.

    Raises:
        ConfigError: it is no number from 1, or an option is wrong.
    """

    kind = "max_sentences"

    def __init__(self, sentences: int, **options: Any) -> None:
        super().__init__(**options)
        self.sentences = number_of(sentences, self.name, "sentences")

    def begin(self) -> Checker:
        """Return what judges the next text."""
        return _SentenceChecker(self.sentences)


_MARKS = ".!?…"
_WIDE_MARKS = "。！？"
_CLOSING = "\"'”’»›)]}」』】〉》）］｝〕〗"
_ANY_MARK = re.compile(f"[{_MARKS}{_WIDE_MARKS}]")
_BLANKS = re.compile(r"\s*")

_BETWEEN = "between sentences"
_INSIDE = "inside a sentence"
_AT_MARK = "after a mark, which ends the sentence if white space follows"
_ENDED = "after a wide mark, to which further marks and closing quotes belong"


class _SentenceChecker(Checker):
    def __init__(self, most: int) -> None:
        self._most = most
        self._length = 0
        self._ended = 0
        self._state = _BETWEEN

    def add(self, piece: str, final: bool) -> Verdict:
        position = 0
        while position < len(piece):
            if self._state is _INSIDE:
                match = _ANY_MARK.search(piece, position)
                if match is None:
                    break
                position = match.start()
            elif self._state is _BETWEEN:
                match = _BLANKS.match(piece, position)
                position = match.end() if match else position
                if position == len(piece):
                    break
            character = piece[position]
            if not self._take(character):
                length = self._length + position
                reason = f"it has more than {self._most} sentence{'s' if self._most > 1 else ''}"
                return Verdict(length, reason, (length, self._length + len(piece)))
            position += 1
        self._length += len(piece)
        return seen(self._length)

    def _take(self, character: str) -> bool:
        """Take in a character; return False if it begins a sentence too many."""
        state = self._state
        if state is _AT_MARK and character.isspace():
            self._ended += 1
            self._state = _BETWEEN
        elif state is _ENDED and character.isspace():
            self._state = _BETWEEN
        elif (state is _AT_MARK and (character in _MARKS or character in _CLOSING)) or (
            state is _ENDED and (character in _MARKS or character in _CLOSING or character in _WIDE_MARKS)
        ):
            pass
        else:
            if state in (_BETWEEN, _ENDED) and self._ended == self._most:
                return False
            if character in _WIDE_MARKS:
                self._ended += 1
                self._state = _ENDED
            else:
                self._state = _AT_MARK if character in _MARKS else _INSIDE
        return True
