"""Words, lines and sentences are the same however the text is split, and lose no character."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamkit.values.text import lines, sentences, words
from tests.unit.support import bounded, split_at

Cutter = Callable[[Iterable[str]], Iterator[str]]

# Letters of both cases, all that can end a word, a line or a sentence, and white space of every kind.
ALPHABET = "aB1é .!?…。！？」』”’)\"'\t\n\r\u2028\u3000"
TEXTS = st.text(alphabet=ALPHABET, max_size=40) | st.text(max_size=40)


def cut_texts() -> st.SearchStrategy[tuple[str, list[str]]]:
    def cut(text: str) -> st.SearchStrategy[tuple[str, list[str]]]:
        cuts = st.lists(st.integers(0, len(text)), max_size=6)
        return cuts.map(lambda at: (text, split_at(text, at)))

    return TEXTS.flatmap(cut)


@pytest.mark.parametrize("cutter", [words, lines, sentences])
@settings(max_examples=400)
@given(cut_texts())
@example(("a  b", ["a ", " b"]))
@example(("a\r\nb", ["a\r", "\nb"]))
@example(("はい。」と", ["はい。", "」と"]))
@example(("A。！B", ["A。", "！B"]))
@example(("Mr. B. Go.", ["Mr", ". B", ". ", "Go."]))
@example(("a\n\nb", ["a\n", "\n", "b"]))
def test_any_split_gives_the_same_pieces(cutter: Cutter, cut: tuple[str, list[str]]) -> None:
    """Where the text is cut on its way makes no difference to what comes out."""
    whole, pieces = cut
    assert list(cutter([whole])) == list(cutter(pieces))


@pytest.mark.parametrize("cutter", [words, lines, sentences])
@given(TEXTS)
def test_character_by_character_gives_the_same_pieces(cutter: Cutter, text: str) -> None:
    """A text that arrives a character a piece gives the pieces of the whole text."""
    assert list(cutter([text])) == list(cutter(text))


@given(cut_texts())
def test_joined_words_are_the_text(cut: tuple[str, list[str]]) -> None:
    """Joining the words gives the text again, white space and all."""
    whole, pieces = cut
    assert whole == "".join(words(pieces))


@given(TEXTS.filter(str.strip))
def test_each_word_is_one_word(text: str) -> None:
    """Each piece holds exactly one word, where the text has a word at all."""
    assert [[word] for word in text.split()] == [word.split() for word in words([text])]


@given(cut_texts())
def test_lines_are_split_at_line_ends_alone(cut: tuple[str, list[str]]) -> None:
    """Lines are what splitting at CRLF, LF and CR gives, no other character ends one."""
    whole, pieces = cut
    expected = re.split("\r\n|\n|\r", whole)
    if not expected[-1]:
        expected.pop()
    assert expected == list(lines(pieces))


@given(cut_texts())
def test_sentences_lose_nothing_but_white_space(cut: tuple[str, list[str]]) -> None:
    """All that is not white space comes out again, in order, in sentences that are not empty."""
    whole, pieces = cut
    found = list(sentences(pieces))
    assert "".join(whole.split()) == "".join("".join(found).split())
    assert all(sentence and sentence == sentence.strip() for sentence in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Once upon a time", ["Once ", "upon ", "a ", "time"]),
        ("  leading", ["  leading"]),
        ("trailing  \n", ["trailing  \n"]),
        ("a \t\n b", ["a \t\n ", "b"]),
        ("un\u00a0broken", ["un\u00a0", "broken"]),
        ("   ", ["   "]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    """A word has the white space after it; the first one also the white space before it."""
    assert expected == list(words([text]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo", ["one", "two"]),
        ("one\r\ntwo\rthree\n", ["one", "two", "three"]),
        ("\n\n", ["", ""]),
        ("a\n\r\nb", ["a", "", "b"]),
        ("a\r", ["a"]),
        ("a\u2028b\x0bc\x0cd\x85e", ["a\u2028b\x0bc\x0cd\x85e"]),
        ("", []),
    ],
)
def test_lines(text: str, expected: list[str]) -> None:
    """Lines come without their ends; empty ones are lines too."""
    assert expected == list(lines([text]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rains. We stay! Do we? Yes… Fine.", ["It rains.", "We stay!", "Do we?", "Yes…", "Fine."]),
        ("He said “Go.” Then he left.", ["He said “Go.”", "Then he left."]),
        ("(It is.) So.", ["(It is.)", "So."]),
        ("Really?! Yes.", ["Really?!", "Yes."]),
        ("Mr. Smith met Dr. Who at St. Ives.", ["Mr. Smith met Dr. Who at St. Ives."]),
        ("J. R. R. Tolkien wrote. Then he slept.", ["J. R. R. Tolkien wrote.", "Then he slept."]),
        ("See e.g. Berlin, i.e. Rome etc. Then go.", ["See e.g. Berlin, i.e. Rome etc. Then go."]),
        ("Pi is 3.14159. Not 3.", ["Pi is 3.14159.", "Not 3."]),
        ("Visit example.com. It is 10 a.m. now.", ["Visit example.com.", "It is 10 a.m. now."]),
        ("今日は晴れ。明日は？雨！", ["今日は晴れ。", "明日は？", "雨！"]),
        ("「はい。」と言った。次。", ["「はい。」", "と言った。", "次。"]),
        ("A title\n\nthe first line\nof it.", ["A title", "the first line\nof it."]),
        ("A title\r\n\r\nthe text", ["A title", "the text"]),
        ("one\n \n\n two", ["one", "two"]),
        ("no end", ["no end"]),
        (" \n\n ", []),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    """Marks before an upper-case letter, East Asian marks and paragraphs end a sentence; abbreviations do not."""
    assert expected == list(sentences([text]))


def arrivals(cutter: Cutter, pieces: list[str]) -> list[tuple[int, str]]:
    """Give each result with the number of pieces that were asked for before it came."""
    asked = 0

    def source() -> Iterator[str]:
        nonlocal asked
        for piece in pieces:
            asked += 1
            yield piece

    return [(asked, result) for result in cutter(source())]


@pytest.mark.parametrize(
    ("cutter", "pieces", "expected"),
    [
        (words, ["Hel", "lo", " wor", "ld"], [(3, "Hello "), (4, "world")]),
        (lines, ["a", "\n", "b\nc", "\r", "\nd"], [(2, "a"), (3, "b"), (5, "c"), (5, "d")]),
        (sentences, ["Yes.", " ", "No", "w.", "\n\n", "x"], [(3, "Yes."), (6, "Now."), (6, "x")]),
        (sentences, ["はい", "。", "次", "。"], [(3, "はい。"), (4, "次。")]),
    ],
)
def test_each_comes_as_soon_as_it_is_whole(cutter: Cutter, pieces: list[str], expected: list[tuple[int, str]]) -> None:
    """A piece comes with the first character that shows that it is over, not later."""
    assert expected == arrivals(cutter, pieces)


@pytest.mark.parametrize("cutter", [words, lines, sentences])
@pytest.mark.parametrize("piece", ["\n", " \n", ".", "。", "」", "x. ", "A. ", "longword", "word ", "\r\n"])
def test_work_is_in_proportion_to_the_text(cutter: Cutter, piece: str) -> None:
    """Endless repetition costs no more per token than other text: no pattern backtracks."""
    count = 20_000
    with bounded():
        found = "".join(cutter([piece] * count))
    assert "".join((piece * count).split()) == "".join(found.split())
