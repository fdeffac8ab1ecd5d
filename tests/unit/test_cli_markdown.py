"""Markdown on a terminal: what stays on the screen and in its history, however the text arrives."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.cli import markdown_screen
from streamkit.cli.markdown import THEME, Block, rendered
from streamkit.cli.markdown_screen import MarkdownScreen
from streamkit.values.chunks import Chunk
from tests.terminals import lines_on

BLOCKS = [
    "# A heading with `code`",
    "Setext\n======",
    "Some **bold words** and *others* in a paragraph that is longer than a narrow screen.",
    "Roses are red\nviolets are blue",
    "- one\n- two\n  - inner **bold**\n\n    paragraph\n- three",
    "9. nine\n10. ten\n\n    ```py\n    x = 1\n    ```\n11. eleven",
    "```python\n" + "".join(f"print({number})\n" for number in range(30)) + "```",
    "```\nnever closed\n\n\n*plain*\n",
    "    indented = True",
    "| Name | Amount |\n|---|--:|\n" + "".join(f"| row {number} | {number}00 |\n" for number in range(20)),
    "> A quote\n> of *two* lines",
    "<b>html</b> and &amp; and <https://example.com> and ![alt](pic.png) and [a][1]\n\n[1]: https://example.com",
    "***\n---",
    "* a\n*\n**not a list**",
    "日本語のテキスト and 👩 emoji",
    "a\\\nb  \nc",
    "x" * 100,
]


class Tty(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def draws_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown_screen, "_SECONDS", 0.0)
    monkeypatch.setattr(markdown_screen, "_SHARE", 0)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(logging.getLogger("markdown_it"), "level", logging.INFO)  # it logs each rule it tries


def written(pieces: Iterable[str], columns: int, rows: int) -> str:
    """Return all that the screen writes for an answer in these pieces."""
    file = Tty()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        patch.setenv("LINES", str(rows))
        screen = MarkdownScreen(file)
    screen.begin()
    for piece in pieces:
        screen.show(Chunk("text", text=piece))
    screen.end()
    return file.getvalue()


@st.composite
def answers(draw: st.DrawFn) -> list[str]:
    """Draw an answer, cut into pieces."""
    text = "\n\n".join(draw(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=4)))
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=40)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@settings(max_examples=40)
@given(answers(), st.sampled_from([(80, 25), (40, 8), (24, 4), (15, 3)]))
def test_any_pieces_leave_the_same_lines(pieces: list[str], size: tuple[int, int]) -> None:
    """However an answer arrives, and however low the screen is, screen and history have each line once."""
    columns, rows = size
    whole = lines_on(written(["".join(pieces)], columns, 400), columns=columns, rows=400)
    assert whole == lines_on(written(pieces, columns, rows), columns=columns, rows=rows)


@settings(max_examples=40)
@given(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=3), st.sampled_from([80, 30, 9, 3]))
def test_no_text_is_lost(blocks: list[str], columns: int) -> None:
    """Each letter is on the screen, on a narrow one too."""
    text = "\n\n".join(blocks).replace("&amp;", "&")
    shown = "".join(lines_on(written([text], columns, 1000), columns=columns, rows=700))
    for character in {character for character in text if character.isalpha() and character.isascii()}:
        assert text.count(character) <= shown.count(character)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (">" * 500 + " deep", 600),
        ("- " * 300 + "deep", 700),
        ("|a" * 40 + "|\n" + "|-" * 40 + "|\n" + "|deep" * 40, 90),
    ],
)
def test_what_cannot_be_rendered_is_shown_as_it_is(text: str, columns: int) -> None:
    """Blocks nested beyond reason, and tables with more columns than fit, are shown as the model wrote them."""
    assert "deep" in "".join(lines_on(written([text], columns, 40), columns=columns, rows=40))
    assert text.replace("\n", "")[:80] in "".join(lines_on(written([text], columns, 40), columns=columns, rows=40))


@pytest.mark.parametrize("first", ["    code\n\n", "```\na\nb\nc\n```\n"])
def test_text_after_code_on_a_low_screen(first: str) -> None:
    """A paragraph of one long line, after code, is there once however low the screen is."""
    text = first + "some **words** of a paragraph " * 5
    whole = lines_on(written([text], 12, 100), columns=12, rows=100)
    pieces = [text[start : start + 5] for start in range(0, len(text), 5)]
    assert whole == lines_on(written(pieces, 12, 4), columns=12, rows=4)


def test_an_answer() -> None:
    """Headings, lists, tables and code look as they do in print, and the lines of the model are kept."""
    text = (
        "# Title\n\nRoses are red\nviolets are **blue**, `x`\n\n- one\n- two\n\n1. first\n2. second\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n\n```\n\n> quoted\n"
    )
    assert [
        "Title",
        "",
        "Roses are red",
        "violets are blue, x",
        "",
        " • one",
        " • two",
        "",
        "  1 first",
        "  2 second",
        "",
        " a  b",
        " ────",
        " 1  2",
        "",
        "```python",
        "x = 1",
        "```",
        "",
        "▌ quoted",
    ] == lines_on(written([text], 60, 40), columns=60, rows=40)


def test_text_that_grows_is_not_drawn_again() -> None:
    """A piece of plain text is written once, without moving the cursor."""
    assert "one two\nthree\n" == written(["one", " two", "\nth", "ree"], 80, 25)


def test_a_block_taller_than_the_screen_shows_its_end() -> None:
    """While a table arrives, its end is on the screen, below a mark that there is more."""
    table = BLOCKS[9]
    output = written([table[:-1]], 40, 6)
    unfinished = output[: output.rindex("\r")]  # the last drawing is the whole
    shown = lines_on(unfinished, columns=40, rows=6)
    assert "…" == shown[0]
    assert shown[-1].split() == ["row", "19", "1900"]


@pytest.mark.parametrize(
    "text", ["a &#x202e;b &#8294;c", "[a](<https://x.example/\u202e>)", "```a\u202e\nb\u2066\n```"]
)
def test_no_controls_from_entities_and_addresses(text: str) -> None:
    """Characters that reorder text do not reach the terminal by way of Markdown's escapes."""
    output = written([text], 80, 25)
    assert not any(character in output for character in "\u202e\u2066")


def test_links_are_shown_as_they_are() -> None:
    """The address of a link is text: the terminal is given no hidden target."""
    output = written(["[your bank](https://evil.example)"], 80, 25)
    assert "your bank (https://evil.example)" == lines_on(output)[0]
    assert "\x1b]" not in output


def test_a_renderer_that_fails_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a block cannot be rendered, it is shown as the model wrote it."""

    def fail(*_: object, **__: object) -> None:
        raise RecursionError

    monkeypatch.setattr("streamkit.cli.markdown.Syntax", fail)
    assert ["```python", "x = 1", "```"] == lines_on(written(["```python\nx = 1\n```"], 80, 25))


def test_a_terminal_that_became_narrower() -> None:
    """Lines that a narrower terminal has wrapped are erased with all their rows."""
    from streamkit.cli.markdown import Line
    from streamkit.cli.region import Region

    out: list[str] = []
    region = Region(out.append)
    region.draw([Line("a" * 30, 30)], 30)
    region.draw([Line("b", 1)], 10)
    assert "\r\x1b[K\x1b[A\x1b[K\x1b[A\x1b[Kb" == out[-1]


def test_a_block_alone() -> None:
    """A numbered item that is printed alone keeps its number."""
    from rich.console import Console

    console = Console(file=Tty(), theme=THEME, color_system=None)
    lines = rendered(console, "1. text", Block(0, follows=True, number=12), 40)
    assert [" 12 text"] == [line.text for line in lines]
