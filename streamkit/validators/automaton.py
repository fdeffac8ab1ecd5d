"""Many texts looked for at once, one character at a time: ``Automaton``.

It is Aho and Corasick's: the cost of a character does not depend on how many texts are looked for, nor on how long they
are. The state is the longest end of the text so far that is the beginning of one of them. What a state and a character
lead to is worked out when it first comes up, and kept: from then on the character costs one look into a dict.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

__all__ = ["Automaton", "State"]

# Stands for a change between word and other characters, in what is looked for and in the text. It is no character.
_BOUNDARY = ""
_MOST_KEPT = 100_000  # steps that are kept; a text with ever new characters costs time then, and no memory

# Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Hangul, kana, Han. A word in them could never
# be found between boundaries, so their characters count as none of a word.
_NO_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u19e0-\u19ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029"
    "\u3031-\u3035\u3038-\u303c\u3040-\u318f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f"
    "\ua9e0-\ua9fe\uaa60-\uaa7f\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[^\W{_NO_SPACES}]")


def _is_word(character: str) -> bool:
    """Return whether a character is one of a word: a letter, a digit or ``_``, of a script that has spaces."""
    return _WORD.match(character) is not None


def _fold(character: str) -> str:
    """Return the one character that stands for all cases of a character."""
    folded = character.casefold()
    if len(folded) != 1:  # ß is not ss
        folded = character.lower()
    return folded if len(folded) == 1 else character


def _with_boundaries(text: str) -> Iterator[str]:
    """Iterate what to look for, so that a text is found between boundaries only.

    A boundary is asked for at an end of it that is a character of a word, and where it changes inside.
    """
    was = False
    for character in text:
        now = _is_word(character)
        if now is not was:
            yield _BOUNDARY
        yield _fold(character)
        was = now
    if was:
        yield _BOUNDARY


class _Node:
    """A beginning of what is looked for.

    Attributes:
        next: the longer ones that a further character or boundary leads to.
        fall_back: the longest other beginning that ends here; the root's is the root.
        length: how many characters of the text it is long, boundaries not counted.
        found: the numbers of those texts that end here, the longest first.
        states: the states that are there, after a character that is none of a word, and after one that is.
    """

    __slots__ = ("fall_back", "found", "length", "next", "states")

    def __init__(self, length: int) -> None:
        self.next: dict[str, _Node] = {}
        self.fall_back: _Node = self
        self.length = length
        self.found: tuple[int, ...] = ()
        self.states: list[State | None] = [None, None]


class State(dict[str, "State"]):
    """A state; ``state[character]`` is the one that a character leads to.

    Attributes:
        found: the numbers of those texts that end here, the longest first.
        length: how many characters back a text that is not whole yet may have begun.
        late: whether what was found ended before the character that has led here. There is nothing after such a state.
    """

    __slots__ = ("_automaton", "_in_word", "_node", "found", "late", "length")

    def __init__(self, automaton: Automaton, node: _Node, in_word: bool, late: bool = False) -> None:
        super().__init__()
        self._automaton = automaton
        self._node = node
        self._in_word = in_word
        self.found = node.found
        self.length = node.length
        self.late = late

    def __missing__(self, character: str) -> State:
        automaton, node, in_word = self._automaton, self._node, self._in_word
        if automaton.between and _is_word(character) is not in_word:
            in_word = not in_word
            node = automaton.step(node, _BOUNDARY)
            if node.found:
                return State(automaton, node, in_word, late=True)
        following = automaton.state(automaton.step(node, _fold(character)), in_word)
        if automaton.kept < _MOST_KEPT:
            automaton.kept += 1
            self[character] = following
        return following

    def at_end(self) -> tuple[int, ...]:
        """Return the numbers of those texts that the end of the text completes."""
        if self._automaton.between and self._in_word:
            return self._automaton.step(self._node, _BOUNDARY).found
        return ()


class Automaton:
    """Looks for many texts at once, whatever the case of their letters.

    Args:
        texts: what to look for; none of them empty.
        between: whether they are looked for between boundaries of words only.

    Attributes:
        start: the state before any text.
        between: see above.
        kept: about how many steps are kept; threads may count past one another.

    Threads: any.
    """

    def __init__(self, texts: Iterable[str], *, between: bool = False) -> None:
        self.between = between
        self.kept = 0
        self._root = root = _Node(0)
        for number, text in enumerate(texts):
            node = root
            for symbol in _with_boundaries(text) if between else map(_fold, text):
                following = node.next.get(symbol)
                if following is None:
                    following = node.next[symbol] = _Node(node.length + (symbol != _BOUNDARY))
                node = following
            node.found = (*node.found, number)
        rest = deque([root])
        while rest:
            node = rest.popleft()
            for symbol, following in node.next.items():
                rest.append(following)
                following.fall_back = root if node is root else self.step(node.fall_back, symbol)
                following.found += following.fall_back.found
        self.start = self.state(root, False)

    def step(self, node: _Node, symbol: str) -> _Node:
        """Return the node after one more folded character or boundary."""
        root = self._root
        following = node.next.get(symbol)
        while following is None and node is not root:
            node = node.fall_back
            following = node.next.get(symbol)
        return root if following is None else following

    def state(self, node: _Node, in_word: bool) -> State:
        """Return the state at a node."""
        state = node.states[in_word]
        if state is None:
            state = node.states[in_word] = State(self, node, in_word)
        return state
