"""Words that a reply must not contain: ``BannedWords``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from streamkit.errors import ConfigError
from streamkit.validators.automaton import BOUNDARY, Automaton, Node, fold, is_word, with_boundaries
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
        between = match == "word"
        self._automaton = Automaton([with_boundaries(word) if between else fold(word) for word in self.words])

    def begin(self) -> Checker:
        """Return what judges the next text."""
        return (_WordChecker if self.match == "word" else _SubstringChecker)(self.words, self._automaton)


class _SubstringChecker(Checker):
    """Looks for the words anywhere.

    Args:
        words: as they were given, for the reason.
        automaton: of the same.
    """

    def __init__(self, words: tuple[str, ...], automaton: Automaton) -> None:
        self._words = words
        self._root = automaton.root
        self._node = automaton.root
        self._length = 0  # of the text so far

    def add(self, piece: str, final: bool) -> Verdict:
        node, root = self._node, self._root
        for number, symbol in enumerate(fold(piece), self._length + 1):
            following = node.next.get(symbol)  # as Automaton.step, without the call
            while following is None and node is not root:
                node = node.fall_back
                following = node.next.get(symbol)
            if following is not None:
                node = following
                if node.found:
                    return self._violation(node, number)
        self._node = node
        self._length += len(piece)
        return seen(self._length if final else self._length - node.length)

    def _violation(self, node: Node, length: int) -> Verdict:
        """Return the verdict on a text of this length that ends with a word.

        Where it may also be the beginning of a longer one, what would belong to that one is not shown either.
        """
        word = self._words[node.found[0]]
        return Verdict(length - node.length, f"it contains {word!r}", (length - len(word), length))


class _WordChecker(_SubstringChecker):
    """Looks for the words between boundaries."""

    def __init__(self, words: tuple[str, ...], automaton: Automaton) -> None:
        super().__init__(words, automaton)
        self._in_word = False
        self._step = automaton.step

    def add(self, piece: str, final: bool) -> Verdict:
        node, in_word, root, kinds = self._node, self._in_word, self._root, _kinds
        for number, symbol in enumerate(fold(piece), self._length):
            if kinds[symbol] is in_word:
                if in_word and node is root:
                    continue  # inside of a word, where none begins
            else:
                in_word = not in_word
                node = self._step(node, BOUNDARY)
                if node.found:
                    return self._violation(node, number)
            following = node.next.get(symbol)  # as Automaton.step, without the call
            while following is None and node is not root:
                node = node.fall_back
                following = node.next.get(symbol)
            if following is not None:
                node = following
                if node.found:
                    return self._violation(node, number + 1)
        length = self._length + len(piece)
        if final and in_word:
            node = self._step(node, BOUNDARY)
            if node.found:
                return self._violation(node, length)
        self._node, self._in_word, self._length = node, in_word, length
        return seen(length if final else length - node.length)


class _Kinds(dict[str, bool]):
    """Whether a character is one of a word, by the character."""

    def __missing__(self, character: str) -> bool:
        found = self[character] = is_word(character)
        return found


_kinds = _Kinds()
