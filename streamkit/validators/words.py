"""Words that a reply must not contain: ``BannedWords``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from streamkit.errors import ConfigError
from streamkit.validators.automaton import Automaton, State
from streamkit.validators.options import texts_of
from streamkit.validators.validator import Checker, Stepwise, Verdict, seen

__all__ = ["BannedWords"]


class BannedWords(Stepwise):
    """None of some words may occur, in any case of their letters.

    Text that may be the beginning of one is held back until it is clear that it is another word. A word character is a
    letter, a digit or ``_``, but for those of scripts without spaces, such as Chinese, where words are found anywhere.

    Args:
        words: texts, taken literally; phrases too.
        match: ``word`` finds them as words of their own, ``substring`` inside of others as well.
        options: ``name``, ``on_violation``, ``replacement``, ``direction``; see ``Validator``.

    Raises:
        ConfigError: there is no word, one is empty, or an option is wrong.
    """

    kind = "banned_words"

    def __init__(self, words: Iterable[str], *, match: Literal["word", "substring"] = "word", **options: Any) -> None:
        super().__init__(**options)
        self.words = texts_of(words, self.name, "words")
        if match not in ("word", "substring"):
            raise ConfigError(f"{self.name}: match is 'word' or 'substring', not {match!r}")
        self.match = match
        self._automaton = Automaton(self.words, between=match == "word")

    def begin(self) -> Checker:
        """Return what judges the next text."""
        return _WordsChecker(self.words, self._automaton)


class _WordsChecker(Checker):
    def __init__(self, words: tuple[str, ...], automaton: Automaton) -> None:
        self._words = words
        self._state = automaton.start
        self._length = 0  # of the text so far

    def add(self, piece: str, final: bool) -> Verdict:
        state = self._state
        for character in piece:
            state = state[character]
            if state.found:
                return self._found(piece)
        self._state = state
        self._length += len(piece)
        if final:
            found = state.at_end()
            return self._violation(found, state, self._length) if found else seen(self._length)
        return seen(self._length - state.length)

    def _found(self, piece: str) -> Verdict:
        """Return the verdict on a piece with which a word becomes whole."""
        state, length = self._state, self._length
        for character in piece:
            state = state[character]
            if state.found:
                break
            length += 1
        return self._violation(state.found, state, length if state.late else length + 1)

    def _violation(self, found: tuple[int, ...], state: State, length: int) -> Verdict:
        """Return the verdict on a text of this length that ends with a word.

        Where it may also be the end of the beginning of a longer one, that is not shown either.
        """
        word = self._words[found[0]]
        return Verdict(length - state.length, f"it contains {word!r}", (length - len(word), length))
