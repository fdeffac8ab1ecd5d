"""Many texts looked for at once, one character at a time: ``Automaton``.

It is Aho and Corasick's: the cost of a character does not depend on how many texts are looked for, nor on how long they
are. The state is the longest end of the text so far that is the beginning of one of them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

__all__ = ["BOUNDARY", "Automaton", "Node", "fold", "is_word", "with_boundaries"]

#: Stands for a change between word and other characters, in what is looked for and in the text. It is no character.
BOUNDARY = ""

# Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Hangul, kana, Han. A word in them could never
# be found between boundaries, so their characters count as none of a word.
_NO_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u19e0-\u19ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029"
    "\u3031-\u3035\u3038-\u303c\u3040-\u318f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f"
    "\ua9e0-\ua9fe\uaa60-\uaa7f\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[^\W{_NO_SPACES}]")


def is_word(character: str) -> bool:
    """Return whether a character is one of a word: a letter, a digit or ``_``, of a script that has spaces."""
    return _WORD.match(character) is not None


class _Folding(dict[int, str]):
    """Maps each character to the one that stands for all its cases. One for one, so that positions stay."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        folded = character.casefold()
        if len(folded) != 1:  # ß is not ss
            folded = character.lower()
        self[code] = found = folded if len(folded) == 1 else character
        return found


_folding = _Folding()


def fold(text: str) -> str:
    """Return a text without its case, of the same length."""
    return text.lower() if text.isascii() else text.translate(_folding)


def with_boundaries(word: str) -> list[str]:
    """Return what to look for, so that a word is found between boundaries only.

    A boundary is asked for at an end of the word that is a character of a word, and where it changes inside.
    """
    found: list[str] = []
    was = False
    for character in word:
        now = is_word(character)
        if now != was:
            found.append(BOUNDARY)
        found.append(fold(character))
        was = now
    if was:
        found.append(BOUNDARY)
    return found


class Node:
    """A state: a beginning of what is looked for.

    Attributes:
        next: the states that a further character leads to.
        fall_back: the state of the longest other beginning that ends here; the root's is the root.
        length: how many characters of the text it is long, boundaries not counted.
        found: the numbers of those that end here, the longest first.
    """

    __slots__ = ("fall_back", "found", "length", "next")

    def __init__(self, length: int) -> None:
        self.next: dict[str, Node] = {}
        self.fall_back: Node = self
        self.length = length
        self.found: tuple[int, ...] = ()


class Automaton:
    """Looks for many texts at once.

    Args:
        texts: what to look for, each as its characters, folded; none of them empty. ``BOUNDARY`` matches a boundary.

    Attributes:
        root: the state before any text.

    Threads: any; it never changes.
    """

    def __init__(self, texts: Iterable[Iterable[str]]) -> None:
        self.root = root = Node(0)
        for number, text in enumerate(texts):
            node = root
            for symbol in text:
                following = node.next.get(symbol)
                if following is None:
                    following = node.next[symbol] = Node(node.length + (symbol != BOUNDARY))
                node = following
            node.found = (*node.found, number)
        rest = deque([root])
        while rest:
            node = rest.popleft()
            for symbol, following in node.next.items():
                rest.append(following)
                following.fall_back = root if node is root else self.step(node.fall_back, symbol)
                following.found += following.fall_back.found

    def step(self, node: Node, symbol: str) -> Node:
        """Return the state after one more character or boundary."""
        root = self.root
        following = node.next.get(symbol)
        while following is None and node is not root:
            node = node.fall_back
            following = node.next.get(symbol)
        return root if following is None else following
