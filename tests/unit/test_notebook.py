"""What notebooks show: HTML in which no text of a model is HTML, and outputs that are replaced as a reply grows."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import (
    Chunk,
    Client,
    Completion,
    ConfigError,
    MemoryStore,
    Report,
    StreamError,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    UsageTracker,
    providers,
)
from streamkit.observing.observers import Stats
from streamkit.testing import Server, text_reply, tool_call_reply
from tests.unit.run_support import MODEL, served
from tests.unit.scripted import DONE, Scripted, texts

pytest.importorskip("IPython")
pytest.importorskip("markdown_it")

from streamkit.notebook import display as displays
from streamkit.notebook.html import markdown_html
from streamkit.notebook.magics import Ask, _read

EVIL = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "<a href='x' onclick=alert(1)>y</a>",
    "```html\n<script>alert(1)</script>\n```",
    "</details></div><script>alert(1)</script>",
    "<!-- --><svg onload=alert(1)>",
    "[x]: javascript:alert(1)\n\n[x]",
    '[x](https://e.example/"onmouseover=alert(1))',
]
ALLOWED = set(
    "div p details summary pre code b em strong s ul ol li table thead tbody tr th td h1 h2 h3 h4 h5 h6 "
    "blockquote a hr br".split()
)


class _Tags(HTMLParser):
    """Fails for an element, an attribute or an address that could do anything."""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, tag
        for name, value in attributes:
            assert name in ("href", "title", "style", "class", "start"), name
            if name == "href":
                assert not re.match(r"\s*(javascript|vbscript|data|file):", value or "", re.IGNORECASE), value


def check(html: str) -> None:
    parser = _Tags()
    parser.feed(html)
    parser.close()


@pytest.mark.parametrize("text", EVIL)
def test_nothing_of_a_reply_is_html(text: str) -> None:
    """Whatever a model, a tool or a provider wrote is text in all that a notebook shows."""
    call = ToolCall(text, text, {}, text)
    result = ToolResult(text, text, text, text)
    completion = Completion(
        text, text, text, (call,), "length", model=text, provider=text, tool_results=(result,), usage=Usage(1, 2)
    )
    check(completion._repr_html_())
    markdown = completion._repr_markdown_()
    assert markdown is not None
    assert not re.search(r"<[A-Za-z/!?]", markdown)
    tracker = UsageTracker()
    tracker.stream_ended(Report(1, text, text, "complete", Stats(None, 0.0, 0, 0, 1, 0, 0.0), completion))
    check(tracker._repr_html_())


@given(st.text(alphabet="<>&\"'`![]()ajscript:/ \n=-*_#|x0") | st.text())
def test_no_text_is_html(text: str) -> None:
    """Markdown of any text has harmless elements alone."""
    check(markdown_html(text))


def test_without_a_parser_the_text_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a parser for Markdown the text is shown as it is."""
    import sys

    from streamkit.notebook import html

    monkeypatch.setattr(html, "_parser", None)
    monkeypatch.setitem(sys.modules, "markdown_it", None)
    assert "&lt;b&gt;" in Completion("<b>")._repr_html_()


def test_runs_and_conversations_show_themselves() -> None:
    """A run has its rounds, calls and results in HTML; a conversation its messages and figures."""

    def weather(city: str) -> str:
        """Return the weather."""
        return f"<rain> in {city}"

    replies = [tool_call_reply("weather", {"city": "Oslo"}, text="I look."), text_reply("It rains.")]
    with served(*replies) as (client, _):
        run = client.run(MODEL, "Hi", tools=[weather])
        assert "I look." not in run._repr_html_()
        run.collect()
        shown = run._repr_html_()
        for word in ("I look.", "weather", "Oslo", "&lt;rain&gt; in Oslo", "It rains.", "complete"):
            assert word in shown, word
        check(shown)
    with served(text_reply("**Yes**")) as (client, _):
        chat = client.conversation(MODEL, system="<i>", store=MemoryStore())
        chat.send("<b>Is it?</b>")
        shown = chat._repr_html_()
        for word in ("&lt;i&gt;", "&lt;b&gt;Is it?&lt;/b&gt;", "<strong>Yes</strong>", "1 turns"):
            assert word in shown, word
        check(shown)


class Cell:
    """The output of a cell: what was published, in order."""

    def __init__(self) -> None:
        self.outputs: list[tuple[dict[str, str], bool, str]] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: str, update: bool) -> None:
        self.outputs.append((data, update, display_id))


class Shell:
    """An IPython with a kernel."""

    def __init__(self) -> None:
        self.kernel = object()
        self.user_ns: dict[str, Any] = {}


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    made = Cell()
    modules = {"IPython": type("M", (), {"get_ipython": staticmethod(Shell)}), "IPython.display": made}
    monkeypatch.setattr(displays, "late_import", modules.__getitem__)
    return made


def test_the_final_output_is_whole(cell: Cell) -> None:
    """The last output of a cell has the whole reply; all are one output, which is replaced."""
    stream = Scripted([*texts("one ", "<b>two</b> ", "three"), DONE])
    assert "one <b>two</b> three" == stream.display().text
    first, *updates = cell.outputs
    assert (False, {True}) == (first[1], {update for _, update, _ in updates})
    assert 1 == len({display_id for _, _, display_id in cell.outputs})
    data = cell.outputs[-1][0]
    assert "one <b>two</b> three" == data["text/plain"]
    assert "one &lt;b&gt;two&lt;/b&gt; three" in data["text/html"]


def test_there_are_at_most_twenty_updates_a_second(cell: Cell) -> None:
    """However fast the chunks come, the output is replaced every 50 ms at most; a pause shows what came before it."""
    pieces = texts(*["word "] * 5000)
    began = time.monotonic()
    Scripted([*pieces, DONE]).display()
    seconds = time.monotonic() - began
    assert len(cell.outputs) <= 3 + seconds * 20
    cell.outputs.clear()
    Scripted([*texts("a", "b"), None, DONE]).display()
    assert any("ab" == data["text/plain"] for data, _, _ in cell.outputs[:-1])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StreamError("torn <here>")])
def test_what_came_stays(cell: Cell, error: BaseException) -> None:
    """A reply that fails or is interrupted stays shown as far as it came, with the reason, and the stream is over."""

    class Breaks(Scripted):
        def take(self, seconds: float | None = None) -> Chunk | None:
            chunk = super().take(seconds)
            if chunk is not None and chunk.finished:
                raise error
            return chunk

    stream = Breaks([*texts("one ", "two"), DONE])
    with pytest.raises(type(error)):
        stream.display()
    shown = cell.outputs[-1][0]["text/html"]
    assert "one two" in shown
    assert ("stopped" if isinstance(error, KeyboardInterrupt) else "StreamError: torn &lt;here&gt;") in shown
    assert stream.cancelled


def test_reasoning_and_calls_are_folded(cell: Cell) -> None:
    """Reasoning, and calls with their results, are in parts that are folded; rounds come one after the other."""
    result = ToolResult("c1", "look", "seen")
    chunks = [
        Chunk("reasoning", reasoning="Hm."),
        Chunk("tool_call", tool_call=ToolCallDelta(0, "c1", "look", '{"a"')),
        Chunk("tool_call", tool_call=ToolCallDelta(0, "", "", ": 1}")),
        Chunk("tool_result", tool_result=result),
        *texts("Done.", round=1),
        DONE,
    ]
    Scripted(chunks).display()
    shown = cell.outputs[-1][0]["text/html"]
    details = re.findall(r"<details>.*?</details>", shown, re.DOTALL)
    assert 2 == len(details)
    assert "Hm." in details[0]
    for word in ("Tool: look", "{&quot;a&quot;: 1}", "seen"):
        assert word in details[1]
    assert shown.index("Done.") > shown.index("seen")


def test_in_a_terminal_the_text_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a kernel the text is printed as it comes."""
    Scripted([*texts("one ", "two"), DONE]).display()
    assert "one two\n" == capsys.readouterr().out


def test_the_options_of_the_magic() -> None:
    """Options come first, values may be in quotation marks, and braces stay."""
    asked = _read("-c -s 'Be brief.' -o r demo/m {x} isn't it")
    assert ("Be brief.", "r", True) == (asked.system, asked.out, asked.go_on)
    assert ["demo/m", "{x}", "isn't", "it"] == asked.words
    from IPython.core.error import UsageError

    for line, cell in (("-x y", None), ("what?", None), ("demo/m", " ")):
        with pytest.raises(UsageError):
            Ask(Shell()).ask(line, cell)


def test_the_magic_asks(cell: Cell) -> None:
    """A cell asks its model; a line goes on with it; the notebook's own client is used, and a variable set."""
    shell = Shell()
    with Server(text_reply("Yes.")) as server:
        with Client([providers.OpenAI(api_key="k", base_url=server.url)]) as client:
            shell.user_ns["client"] = client
            ask = Ask(shell)
            ask.ask("openai/m", "Is it?")
            ask.ask("-c -o reply And now?")
            ask.ask("New one")
        sent = [len(request.json()["messages"]) for request in server.requests]
    assert [1, 3, 1] == sent
    assert "Yes." == shell.user_ns["reply"].text


def test_plots() -> None:
    """How chunks arrived is drawn where it was kept; else the error says how to keep it. So is the cost by day."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib.figure import Figure

    tracker = UsageTracker()
    with pytest.raises(ConfigError, match="no stream"):
        tracker.plot()
    with served(text_reply("one two three"), observers=[tracker], arrivals=True) as (client, _):
        stream = client.stream(MODEL, "Hi")
        stream.collect()
    stats = stream.stats
    assert stats.chunks == sum(count for _, count in stats.arrivals)
    moments = [at for at, _ in stats.arrivals]
    assert moments == sorted(moments)
    axes = stats.plot(Figure().subplots())
    assert stats.chunks == max(axes.lines[0].get_ydata())
    assert 1 == len(tracker.plot(Figure().subplots()).patches)
    with served(text_reply("one two three")) as (client, _):
        stream = client.stream(MODEL, "Hi")
        stream.collect()
    with pytest.raises(ConfigError, match="arrivals=True"):
        stream.stats.plot()
