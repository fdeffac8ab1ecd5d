"""Render a model's Markdown as lines for a terminal, block by block."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs
from markdown_it import MarkdownIt
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, ListElement, Markdown, TableElement
from rich.segment import Segment, Segments
from rich.style import Style
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from streamkit.cli.output import without_controls

if TYPE_CHECKING:
    from markdown_it.token import Token

__all__ = ["THEME", "Block", "Line", "blocks_of", "rendered"]

#: rich's own style of inline code has a black background, which is a stain on a light terminal.
THEME = Theme({"markdown.code": "bold cyan", "markdown.h1": "bold underline", "markdown.h2": "bold underline"})

_DEEPEST = 20  # levels of a block that is rendered; the parser leaves out what is nested deeper than its own limit
_COLUMN = 3  # columns of a terminal that a column of a table needs, at the least

# HTML is text here: rich leaves it out. Link definitions are paragraphs, because a block that was printed cannot be
# changed by a definition that comes later. Images and addresses in <> are shown as they are written.
_PARSER = (
    MarkdownIt("commonmark", {"html": False, "maxNesting": _DEEPEST + 10})
    .enable(["strikethrough", "table"])
    .disable(["reference", "image", "autolink"])
)
_LISTS = ("bullet_list_open", "ordered_list_open")
_TWO_DIGITS = 10  # numbers of a list are as wide as this one, so that items that are printed one by one are in line


@attrs.frozen
class Line:
    """A line for the terminal.

    Attributes:
        text: with its styles as escape sequences.
        width: in columns.
    """

    text: str
    width: int

    def rows(self, columns: int) -> int:
        """Return how many rows the line takes on a terminal of this width."""
        return max(1, math.ceil(self.width / max(1, columns)))


@attrs.frozen
class Block:
    """A top-level block of Markdown, or an item of a top-level list.

    Attributes:
        start: the number of its first line in the source.
        is_code: whether it is a code block: its first lines stay as they are, whatever comes later.
        follows: whether it is an item that follows another one, so that there is no empty line between them.
        number: of an item of an ordered list.
    """

    start: int
    is_code: bool = False
    follows: bool = False
    number: int = 1


def blocks_of(source: str, first: Block) -> list[Block]:
    """Return the blocks of a text in order. All but the last one are final, if the text consists of whole lines.

    Args:
        source: begins where a block begins.
        first: what is known about the first block, which may be an item of a list whose beginning was cut off.
    """
    blocks: list[Block] = []
    number, follows = first.number, first.follows
    for token in _PARSER.parse(source):
        if token.map is None or token.nesting < 0:
            continue
        start = token.map[0]
        if token.level == 0 and token.type in _LISTS:
            if blocks or not first.follows:
                number, follows = int(token.attrs.get("start", 1)), False
        elif token.type == "list_item_open" and token.level == 1:
            blocks.append(Block(start, follows=follows, number=number))
            number, follows = number + 1, True
        elif token.level == 0:
            blocks.append(Block(start, is_code=token.type in ("fence", "code_block")))
    return blocks


def rendered(console: Console, source: str, block: Block, width: int) -> list[Line]:
    """Return the lines of a block. Every visible character of the text is in them, except for the markup."""
    tokens = _PARSER.parse(source)
    if not _can_be_rendered(tokens, width):
        return _written(console, _as_it_is(console, source, width))
    markdown = _Markdown("", hyperlinks=False, code_theme="ansi_dark")
    markdown.parsed = tokens
    if tokens and tokens[0].type == "ordered_list_open":
        tokens[0].attrs["start"] = block.number
    for token in tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"  # models break the lines of a poem or an address, and mean it
    try:
        lines = _trimmed(console.render_lines(markdown, console.options.update(width=width, height=None), pad=False))
        whole = _visible(_texts(tokens)) <= _visible([segment.text for line in lines for segment in line])
    except Exception:  # a renderer's bug, such as a lexer's, must not lose an answer
        whole = False
    return _written(console, lines if whole else _as_it_is(console, source, width))


def _can_be_rendered(tokens: Sequence[Token], width: int) -> bool:
    deepest = max((token.level for token in tokens), default=0)
    columns = sum(token.type == "th_open" for token in tokens)
    return deepest < _DEEPEST and columns * _COLUMN <= width


def _as_it_is(console: Console, source: str, width: int) -> list[list[Segment]]:
    """Return the lines of a text as the model wrote it."""
    plain = Text(source.strip("\n"), overflow="fold")
    return _trimmed(console.render_lines(plain, console.options.update(width=width, height=None), pad=False))


def _texts(tokens: Sequence[Token]) -> list[str]:
    """Return the texts in tokens that a reader must see."""
    texts = []
    for token in tokens:
        if token.children is not None:
            texts += _texts(token.children)
        elif token.type in ("text", "code_inline", "fence", "code_block"):
            texts.append(without_controls(token.content))
    return texts


def _visible(texts: Sequence[str]) -> Counter[str]:
    return Counter("".join("".join(texts).split()))


def _trimmed(lines: list[list[Segment]]) -> list[list[Segment]]:
    """Return lines without white space at their ends, and without empty lines at the beginning and the end."""
    # The last gate: entities and addresses of links are decoded after the text was freed of control characters.
    safe = [[Segment(without_controls(text), style) for text, style, control in line if not control] for line in lines]
    for line in safe:
        while line and not (stripped := line[-1].text.rstrip()):
            line.pop()
        if line:
            line[-1] = Segment(stripped, line[-1].style)
    while safe and not safe[0]:
        safe.pop(0)
    while safe and not safe[-1]:
        safe.pop()
    return safe


def _written(console: Console, lines: list[list[Segment]]) -> list[Line]:
    """Return lines with their styles as escape sequences that suit the terminal."""
    if not lines:
        return []
    segments = [segment for line in lines for segment in (*line, Segment.line())]
    with console.capture() as captured:
        console.print(Segments(segments), end="", crop=False)
    texts = captured.get().split("\n")
    widths = [sum(cell_len(segment.text) for segment in line) for line in lines]
    return [Line(text, width) for text, width in zip(texts, widths, strict=False)]  # an empty one comes last


class _LeftHeading(Heading):
    """A heading at the left."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text = self.text.copy()
        text.justify = "left"
        yield text


class _Code(CodeBlock):
    """A code block that can be copied from the terminal: nothing stands beside the code."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        name = "" if self.lexer_name == "text" else self.lexer_name
        yield Text(f"```{name}", style=Style(dim=True), overflow="fold")
        if code := str(self.text).rstrip():
            yield Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True, padding=0)
        yield Text("```", style=Style(dim=True))


class _List(ListElement):
    """A list whose numbers have one width, so that items that are printed one by one are in line."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.list_type == "bullet_list_open":
            yield from super().__rich_console__(console, options)
            return
        start = 1 if self.list_start is None else self.list_start
        for number, item in enumerate(self.items, start):
            yield from item.render_number(console, options, number, max(number, _TWO_DIGITS))


class _Table(TableElement):
    """A table that wraps long words instead of cutting them."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=box.SIMPLE, pad_edge=False, style="markdown.table.border", collapse_padding=True)
        if self.header is not None and self.header.row is not None:
            for cell in self.header.row.cells:
                heading = cell.content.copy()
                heading.stylize("markdown.table.header")
                table.add_column(heading, overflow="fold")
        if self.body is not None:
            for row in self.body.rows:
                table.add_row(*(cell.content for cell in row.cells))
        yield table


class _Markdown(Markdown):
    elements: ClassVar = {
        **Markdown.elements,
        "heading_open": _LeftHeading,
        "fence": _Code,
        "code_block": _Code,
        "bullet_list_open": _List,
        "ordered_list_open": _List,
        "table_open": _Table,
    }
