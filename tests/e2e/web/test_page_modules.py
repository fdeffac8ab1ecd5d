"""The chat page's modules that need no document, under Node: events, messages, blocks of Markdown, sentences."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest

from tests.e2e.web.browser import needs_clients, run_node
from tests.unit.ui_stories import DATA, STORIES, STREAMS, story_of

pytestmark = needs_clients

FILES = str(resources.files("streamkit.web.page") / "files")

ODD = {
    "line ends": 'data: {"a":1}\r\n\r\ndata: {"b":\rdata: 2}\r\rdata: 3\n\n',
    "comments": ": hb\n: hb\ndata: 1\n: in it\ndata: 2\n\n: hb\n\n",
    "torn characters": "data: é 😀 שלום e\u0301\n\n",
    "byte order mark": "\ufeffdata: 1\n\n",
    "other fields": "event: x\nid: 7\nretry: 10\ndata:1\ndata: \ndatax: 5\n\nevent: ping\ndata: \n\n",
    "no end": "data: 1\n\ndata: 2\n",
}
EVENTS = {
    "line ends": ['{"a":1}', '{"b":\n2}', "3"],
    "comments": ["1\n2"],
    "torn characters": ["é 😀 שלום e\u0301"],
    "byte order mark": ["1"],
    "other fields": ["1\n"],
    "no end": ["1"],
}

DOCUMENTS = {
    "all": """# Title
A **bold** paragraph
of two lines.

- one
- two

  with a paragraph
- three
  ```py
  nested = 1

  more = 2
  ```

1. first
2. second
lazy
10) other

> quoted
> more
lazy

Text
```js
let a = "`";

  b()
```
~~~
tildes ```
~~~

| a | b |
|---|--:|
| 1 | 2 |

    indented

    code

Setext
===

***

Last with `code`, [link](https://a.example/), https://b.example/ and <b>no html</b>.
""",
    "fence at once": "```\ncode",
    "fence without end": "text\n````md\n```\ninside\n```\nmore",
    "indented fence": "  ```c\n  int a;\n    int b;\n ```\nafter",
    "info with backticks is no fence": "``` a`b\ntext\n```\n",
    "carriage returns": "a\r\n\r\n```x\r\ny\r\n```\r\nb\r\n",
    "headings": "# a\n## b\ntext\n### c\n\n\n# d",
    "list after text": "text\n- a\n- b\n\ntext\n\n* c\n\n\n  d\n\ntext",
    "rules": "- a\n- b\n\n---\n\ntext\n***\nmore",
    "only blanks": "\n\n  \n",
}
LONG = {
    "one line": ("word ", 20_000),
    "no spaces": ("x", 100_000),
    "half characters": ("😀", 50_000),
    "lines": ("a line of text\n", 5000),
    "list": ("- an item of a list\n", 5000),
    "code": ("```\n" + "a line\n" * 100 + "```\n", 50),
    "brackets": ("[", 50_000),
    "table": ("| a | b |\n", 5000),
}
TAILS = {
    "half **bold": "half **bold**",
    "a link [text](https://a.exam": "a link text",
    "code `x = 1": "code `x = 1`",
    "whole **bold** and `code`": "whole **bold** and `code`",
    "marks only **": "marks only ",
}
SPOKEN = ["The **tide** is", " high. It", " falls at [five](https://x.example).\n", "```py\nx = 1\n", "```\nDone"]

SAID = [
    "",
    "The tide is high.",
    "The tide is high. | It falls at five.",
    "The tide is high. | It falls at five. | Code.",
]
SAID += [SAID[-1], f"{SAID[-1]} | Done"]


@pytest.fixture(scope="module")
def made() -> Any:
    earlier = {}
    for name in STORIES:
        messages = story_of(name).get("request_messages") or []
        if messages and messages[-1]["role"] == "assistant":
            earlier[f"{name}.sse"] = messages[-1]["parts"]
    given = {"files": FILES, "data": str(DATA), "odd": ODD, "documents": DOCUMENTS, "long": LONG}
    return run_node("page_modules.mjs", given={**given, "earlier": earlier, "tails": [*TAILS], "spoken": SPOKEN}).result


@pytest.mark.parametrize("name", ODD)
def test_events_are_read_however_they_are_torn(made: Any, name: str) -> None:
    """Any line ends, comments, characters in pieces and foreign fields give the same events in pieces of any size."""
    assert [EVENTS[name]] * 5 == made["odd"][name]


# A field that only the page has, and those of which the page keeps less.
OWN = ("inputText", "rawInput", "callProviderMetadata", "resultProviderMetadata", "providerMetadata", "citations")
OWN += ("providerExecuted", "toolMetadata", "id", "isAutomatic", "title")


def shown(part: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in part.items() if name not in OWN and value is not None}
    if part["type"] in ("text", "reasoning"):
        kept.pop("state", None)  # open blocks are closed at the end of the reply, not of the stream
    if kept.get("state") == "input-streaming":
        kept.pop("input", None)  # the page shows the text of half an argument, and parses none
    return kept


@pytest.mark.parametrize("name", STORIES)
def test_the_message_is_that_of_the_ai_sdk(made: Any, name: str) -> None:
    """Every recorded stream gives the message that the AI SDK makes of it."""
    recorded = json.loads((STREAMS / f"{name}.message.json").read_text("utf-8"))
    expected, client = recorded["message"], recorded["client"]
    got = made["made"][name]
    assert [shown(part) for part in expected["parts"]] == [shown(part) for part in got["message"]["parts"]]
    assert expected.get("metadata") == got["message"].get("metadata")
    assert (client["error"] and client["error"]["message"]) == got["error"]


def test_what_is_unknown_is_passed_over(made: Any) -> None:
    """Streams that are odd or broken give a message as well, or none, and never an exception."""
    recorded = made["recorded"]
    assert len(recorded) > 60
    text = [part["text"] for part in recorded["unknown-type"]["message"]["parts"] if part["type"] == "text"]
    assert ["".join(text)] == [text[0]] != [""]
    assert not recorded["proto-key"]["message"].get("metadata")
    assert recorded["error-first"]["error"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_markdown_in_blocks_is_as_the_whole(made: Any, name: str) -> None:
    """Cut into blocks, however its text came, Markdown is rendered as at once."""

    def same(html: str) -> str:
        return "".join(html.replace("\r", "").split())

    got = made["documents"][name]
    for each in got["cut"]:
        assert same(got["whole"]) == same(each)


@pytest.mark.parametrize("name", LONG)
def test_no_block_is_long(made: Any, name: str) -> None:
    """Text without an end or a blank line is cut all the same, and nothing of it is lost."""
    assert made["long"][name]["same"] or name == "table"  # whose head is repeated
    assert made["long"][name]["longest"] <= 4 * 2000


def test_half_written_marks_do_not_show(made: Any) -> None:
    """What is half written is shown as it will be."""
    assert list(TAILS.values()) == made["tails"]


def test_a_screen_reader_is_told_sentences(made: Any) -> None:
    """Finished sentences are told, without marks, addresses and code; the rest when the reply has ended."""
    assert SAID == made["spoken"]
    assert "Two" == made["rest"]
