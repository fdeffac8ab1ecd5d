"""The chat page in Debian's Chromium, before a real server with a scripted model: what a person sees and does."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import requests

import streamkit
from streamkit import Tool
from streamkit.testing import Cut, Reply, Server, Wait, WaitFor, chunk_event, error_reply, text_reply, tool_call_reply
from tests.e2e.web.browser import Outcome, flask_server, needs_browser, run_browser
from tests.unit.gateway_server import config, served
from tests.unit.run_support import MODEL, client_of
from tests.unit.support import SOON

flask = pytest.importorskip("flask", reason="needs flask")

from streamkit.web.flask import chat_blueprint  # noqa: E402  # it needs Flask

pytestmark = needs_browser

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCREENSHOTS = os.environ.get("STREAMKIT_SCREENSHOTS", "")  # a folder, for somebody who wants to look


@streamkit.tool(needs_approval=True)
def pay(to: str, amount: int) -> str:
    """Pay somebody."""
    return f"paid {amount} to {to}"


where_am_i = Tool("where_am_i", "Ask the person.", {"type": "object", "properties": {}})


@attrs.define
class Desk:
    """A server with the page."""

    address: str
    server: Server

    def does(self, action: str, calls: dict[str, Callable[[Any], Any]] | None = None, **given: Any) -> Outcome:
        """Have a person do something; return what that was like. Nothing may be thrown or warned of."""
        outcome = run_browser("page.mjs", self.address, {"does": action, **given}, calls=calls)
        assert not outcome.errors
        # The browser itself writes a line for each status that is an error.
        assert [] == [line for line in outcome.console if "Failed to load resource" not in line]
        return outcome

    def asked(self, number: int) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.server.requests[number].json()["messages"]
        return messages


@contextmanager
def desk(*replies: Any, wrap: Callable[[Any], Any] = lambda app: app, **options: Any) -> Iterator[Desk]:
    given = {"model": MODEL, "page": True, "title": "Desk", "authorize": lambda request: "ada", **options}
    with Server(*replies) as server, client_of(server) as client:
        app = flask.Flask("desk")
        app.register_blueprint(chat_blueprint(client, url_prefix="/desk", **given))
        with flask_server(wrap(app)) as address:
            yield Desk(f"{address}/desk/", server)


def pieces_reply(*pieces: Any) -> Reply:
    """Return a reply of text and steps; it ends as replies do if its last piece is text."""
    steps = [chunk_event(piece) if isinstance(piece, str) else piece for piece in pieces]
    return Reply([*steps, *(text_reply("", pieces=[]).steps if isinstance(pieces[-1], str) else ())])


def test_a_reply_is_painted_as_it_comes() -> None:
    """A reply of two seconds is painted at least ten times; its cost and the time to its first token are shown."""
    words = [f"word{number} " for number in range(40)]
    with desk(text_reply("", pieces=words, pause=0.05)) as page:
        got = page.does("streams").result
    assert "".join(words).strip() == got["text"]
    assert got["paints"] >= 10
    assert "openai/m · " in got["cost"]
    assert "tokens in" in got["cost"]
    assert "first token after" in got["cost"]
    assert not got["violations"]


def test_stop_stops_the_model() -> None:
    """The button ends the request to the model within a second or so, keeps what has come, and says so."""
    at: list[float] = []
    with desk(pieces_reply("First words", Wait(None))) as page:

        def stopped(_: Any) -> None:
            asked = time.monotonic()
            request = page.server.requests[0]
            assert request.gone.wait(SOON)
            at.append(max(0.0, (request.gone_at or asked) - asked))

        got = page.does("stops", {"stopped": stopped}).result
    assert at[0] < 5
    assert "stopped" in got["note"]
    assert got["note"] == got["again"]


# After the cheat sheets of OWASP on filters of cross-site scripting, and the usual tricks of Markdown.
HOSTILE = Path(__file__).with_name("page_hostile.md").read_text("utf-8")


def hostile_replies() -> list[Reply]:
    reasoning = [chunk_event(reasoning_content=HOSTILE[at : at + 50]) for at in range(0, len(HOSTILE), 50)]
    first = Reply([*reasoning, *tool_call_reply("look", {"what": HOSTILE}, text=HOSTILE).steps])
    pieces = [HOSTILE[at : at + 7] for at in range(0, len(HOSTILE), 7)]
    return [first, text_reply("", pieces=[*pieces, "\n\nthe end of it all"])]


def test_nothing_of_a_reply_runs() -> None:
    """Scripts, handlers, links and pictures of a hostile reply run nothing, load nothing and change no element."""

    def look(what: str) -> dict[str, str]:
        """Look."""
        return {"found": what, HOSTILE: HOSTILE}

    with desk(*hostile_replies(), tools=[look]) as page:
        got = page.does("hostile").result
    assert [] == got["ran"]
    assert [] == got["foreign"]
    assert [] == got["violations"], "the policy had to stop what the page should not have tried"
    allowed = (
        "article h2 h3 h4 h5 h6 p div span a code pre em strong s ul ol li blockquote table thead tbody tr th td br hr "
    )
    allowed += "details summary svg use i button"
    assert not set(got["elements"]) - set(allowed.split())
    assert [] == got["handlers"]
    for element, name, value in got["links"]:
        assert (element, name) in (("a", "href"), ("use", "href"))
        assert value.startswith(("http://", "https://", "mailto:") if element == "a" else "#icon-"), value
    assert {"noopener noreferrer nofollow"} == set(got["relations"])
    assert len(got["relations"]) > 10


def much(text: str, size: int = 250_000) -> list[str]:
    whole = text * (size // len(text) + 1)
    return [whole[at : at + 20_000] for at in range(0, size, 20_000)]


COMBINING = "Z" + "\u0335\u0322\u0301\u0489" * 20 + "algo "
LONG = {
    "words": much("Some words of a paragraph that has no end. ", 1_000_000),
    "one word": much("x"),
    "paragraphs": much("## A heading\n\nA paragraph with **bold** and `code`.\n\n- an item\n- another\n\n"),
    "code": ["```python\n", *much("def f(x): return [x, 'a string'] # comment\n", 1_000_000)],
    "line of code": ["```js\n", *much("let a = {b: 1}; ")],
    "table": ["| a | b |\n|---|---|\n", *much("| some text | more of it |\n")],
    "list": much("- an item of a list\n"),
    "brackets": much("[", 60_000) + much("*a **b ", 60_000) + much("<a ", 60_000) + much("![](", 60_000),
    "right to left": much("שלום עולם, זה טקסט ארוך. مرحبا بالعالم \u202eabc\u202c \u200f123 "),
    "combining": much(COMBINING),
    "short chunks": [f"w{number} " if number % 50 else "w.\n\n" for number in range(10_000)],
    "10,000 short chunks of code": ["```python\n", *[f"x{number} = {number}\n" for number in range(10_000)]],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_the_page_stays_responsive(name: str) -> None:
    """Much of anything is shown whole, a megabyte of text or 10,000 chunks, and no task takes more than 200 ms."""
    pieces = LONG[name]
    with desk(text_reply("", pieces=pieces), timeout=None) as page:
        got = page.does("responds").result
    assert got["wide"] <= 0
    expected = "".join("".join(pieces).split())
    if name not in ("table", "list", "paragraphs", "brackets") and not name.endswith("code"):
        assert len(expected) == got["count"]
    assert got["count"] > len(expected) / 4
    assert max(got["streamed"]) <= 200
    assert max(got["loaded"]) <= 200


def test_a_reload_and_a_second_tab_go_on() -> None:
    """A page that is loaded again in the middle of a reply has all of it, once; so has a second one."""
    more = threading.Event()
    with desk(pieces_reply("First words", WaitFor(more), " and last words."), text_reply("The second reply.")) as page:
        got = page.does("reloads", {"go on": lambda _: more.set()}).result
    assert [["Tell", "First words and last words.", "More", "The second reply."]] * 2 == got
    assert 2 == len(page.server.requests)


def test_a_tab_that_was_opened_later_is_told() -> None:
    """The addresses of two tabs on one chat may differ: one was opened before the chat had an address."""
    with desk(text_reply("The first reply."), text_reply("The second reply.")) as page:
        assert ["First", "The first reply.", "Second", "The second reply."] == page.does("tells").result


def test_somebody_else_was_quicker() -> None:
    """A question that meets another one is given back, and the other one's reply is shown."""
    more = threading.Event()
    replies = [text_reply("One."), pieces_reply("Reply to the other", WaitFor(more), "."), text_reply("Reply to mine.")]
    with desk(*replies) as page, requests.Session() as http:

        def other(id: str) -> None:
            message = {"id": "other", "role": "user", "parts": [{"type": "text", "text": "Theirs"}]}
            body = {"id": id, "message": message}
            response = http.post(f"{page.address}api/chat", json=body, stream=True, timeout=SOON)
            assert 200 == response.status_code

        got = page.does("meets", {"other": other, "go on": lambda _: more.set()}).result
    assert "on its way" in got["failure"]
    assert "Mine" == got["given"]
    assert ["First", "One.", "Theirs", "Reply to the other.", "Mine", "Reply to mine."] == got["bodies"]


def test_a_lost_connection_comes_back() -> None:
    """When the connection breaks the page says so, connects again by itself, and shows the reply once."""
    more, cut, refuse = threading.Event(), threading.Event(), threading.Event()

    def breaking(app: Any) -> Any:
        """Return the app behind a network that breaks when told, and does not come back at once."""

        def broken(environ: Any, start_response: Any) -> Iterable[bytes]:
            if cut.is_set() and not more.is_set() and environ["REQUEST_METHOD"] == "GET":
                refuse.set()
                start_response("502 Bad Gateway", [("Content-Type", "text/html")])
                return [b"<h1>no"]
            body = app.wsgi_app(environ, start_response)
            return until_cut(body) if environ["PATH_INFO"].endswith("/api/chat") else body

        def until_cut(body: Any) -> Iterator[bytes]:
            try:
                for data in body:
                    yield data
                    if b"First" in data:
                        cut.wait(SOON)
                        return
            finally:
                body.close()

        return broken

    def go_on(_: Any) -> None:
        assert refuse.wait(SOON)
        more.set()

    with desk(pieces_reply("First words", WaitFor(more), " and last words."), wrap=breaking) as page:
        got = page.does("reconnects", {"cut": lambda _: cut.set(), "go on": go_on}).result
    assert "Connecting again" in got["notice"]
    assert "First words and last words." == got["text"]
    assert not got["after"]


def test_approvals() -> None:
    """Calls wait with their arguments, also after a reload; when all are decided, the reply goes on."""
    asking = tool_call_reply("pay", {"to": "Ada\u202e", "amount": 5}, ("pay", {"to": "Bob", "amount": 7}))
    with desk(asking, text_reply("All done."), tools=[pay]) as page:
        got = page.does("decides").result
        told = [message["content"] for message in page.asked(1) if message["role"] == "tool"]
    assert {"to": "Ada\u202e", "amount": 5} == json.loads(got["shown"][0])
    assert "\\u202e" in got["shown"][0], "what turns the text round is to be seen"
    assert got["shown"] == got["again"]
    assert "A call waits for your decision." in got["refused"]
    assert ["paid 5 to Ada\u202e", "Not approved: too dear. The function was not called."] == told
    assert ["Done", "Not approved"] == got["states"] == got["after"]


def test_a_result_from_the_person() -> None:
    """A tool of the browser waits for a result, which the person writes."""
    with desk(tool_call_reply("where_am_i", {}), text_reply("At home."), tools=[where_am_i]) as page:
        assert ["Done"] == page.does("answers").result
        assert {"at": "home"} == json.loads(page.asked(1)[-1]["content"])


def test_errors_say_what_to_do() -> None:
    """A refusal and a reply that breaks off are told, and "Try again" asks again; nothing is doubled."""
    replies = [error_reply(500, "down"), pieces_reply("Half of ", Cut()), text_reply("At last.")]
    with desk(*replies) as page:
        got = page.does("retries").result
        assert 3 == len(page.server.requests)
        assert all(["Tell"] == [each["content"] for each in page.asked(number)] for number in range(3))
    assert all("Try again" in failure for failure in got["failures"])
    assert ["Tell", "At last."] == got["bodies"] == got["after"]
    assert 0 == got["still"]


def test_edit_and_another_reply() -> None:
    """Another reply takes the place of the last; an edited question that of all that came after it."""
    with desk(*[text_reply(word) for word in ("One.", "Two.", "Three.", "Four.")]) as page:
        got = page.does("edits").result
        assert [["a"], ["a"], ["a", "Two.", "b"], ["c"]] == [
            [each["content"] for each in page.asked(number)] for number in range(4)
        ]
    assert [["c", "Four."]] * 2 == got


def test_the_keyboard_is_enough() -> None:
    """Enter sends, Shift+Enter breaks the line, Escape stops; focus goes where one goes on; sentences are spoken."""
    replies = [pieces_reply("First words. And", Wait(None)), text_reply("Second words. They are last.")]
    with desk(*replies) as page:
        got = page.does("keys", {"stopped": lambda _: page.server.requests[0].gone.wait(SOON)}).result
    assert "Your question" == got["after"]
    assert "Edit and ask again" == got["passed"][-1]
    assert "Ask for another reply" in got["passed"]
    assert ("Edit your question", "Edit and ask again") == (got["editing"], got["left"])
    assert ["three"] == got["mine"]


def test_files_of_the_person() -> None:
    """A picture goes to the model, and is shown, also after a reload; one that was taken away does not."""
    with desk(text_reply("A dot.")) as page:
        assert ["Attached picture", 1] == page.does("files", picture=PICTURE).result
        content = page.asked(0)[-1]["content"]
    assert ["image_url", "text"] == [part["type"] for part in content]
    assert base64.b64decode(content[0]["image_url"]["url"].partition(",")[2]) == base64.b64decode(PICTURE)


def test_the_list_of_chats() -> None:
    """Chats are listed, opened, left by the browser's back button, and deleted after a question."""
    with desk(text_reply("One."), text_reply("Two.")) as page:
        got = page.does("chats").result
    assert ["Second chat", "First chat"] == got["listed"]
    assert ["First chat"] == got["left"] == got["after"]
    assert page.address == got["address"]


def test_without_a_list_and_with_an_unknown_chat() -> None:
    """Without users there is no list; an address of a chat that is gone says so; the page lives below a prefix."""
    with desk(text_reply("Hello there."), authorize=None) as page:
        got = page.does("alone").result
    assert "not there any more" in got["failure"]
    assert not got["bar"]
    assert got["title"].endswith("Desk")
    assert got["url"].startswith(f"{page.address}#")


MODELS = ["openai/m", "openai/n", "openai/a-model-whose-name-is-longer-than-any-telephone-is-wide-2026-11-27"]


def models_asked(page: Desk) -> list[str]:
    return [request.json()["model"] for request in page.server.requests]


def test_a_model_is_chosen() -> None:
    """By the keyboard too; it is asked for the question, another reply and an edit, and is still chosen afterwards."""
    with desk(*[text_reply(word) for word in ("One.", "Two.", "Three.")], model=None, models=MODELS) as page:
        got = page.does("picks").result
        assert ["n", "m", "n"] == models_asked(page)
    assert MODELS == got["models"]
    assert ["openai/m", "openai/n", "openai/n"] == got["values"]
    assert ["openai/n"] == [cost.partition(" ")[0] for cost in got["costs"]]
    assert [] == got["violations"]


@pytest.mark.parametrize(
    ("kept", "models", "first"),
    [
        ("openai/n", MODELS, "openai/n"),
        ("openai/gone", MODELS, "openai/m"),
        ("openai/n", MODELS[:1], "openai/m"),
        ("openai/n", None, ""),
    ],
)
def test_an_earlier_choice(kept: str, models: list[str] | None, first: str) -> None:
    """It is asked again at once where it is still offered. Where there is one model or none, nothing is offered."""
    with desk(text_reply("Hi."), models=models) as page:
        got = page.does("picksUnkept", kept=kept).result
        assert [(first or MODEL).removeprefix("openai/")] == models_asked(page)
    assert {"shown": models is MODELS, "first": first} == got


def test_a_choice_without_storage() -> None:
    """Where a browser keeps nothing and throws, a choice holds for as long as the page is open."""
    with desk(text_reply("Hi."), text_reply("Ho."), models=MODELS) as page:
        assert page.does("picksUnkept", pick="openai/n").result["shown"]
        assert ["m", "n"] == models_asked(page)


def test_a_model_is_taken_away() -> None:
    """The page says that it may not be asked, offers what there is, and asks that when one tries again."""
    may = [*MODELS]
    with desk(text_reply("One."), models=lambda request, owner: may) as page:
        got = page.does("picksRefused", {"take away": lambda _: may.remove("openai/n")}).result
        assert ["m"] == models_asked(page)
    assert "may not be asked" in got["failure"]
    assert [MODELS[0], MODELS[2]] == got["left"]
    assert ["a", "One."] == got["bodies"]


def test_a_decision_keeps_the_model() -> None:
    """A reply that waited goes on with the model that began it, whatever is chosen by then."""
    asking = tool_call_reply("pay", {"to": "Ada", "amount": 5})
    with desk(asking, text_reply("All done."), tools=[pay], models=MODELS) as page:
        page.does("decidesPicking")
        assert ["n", "n"] == models_asked(page)


def test_the_page_of_the_gateway(tmp_path: Path) -> None:
    """Somebody signs in, asks the model that they chose, and signs out: then the page asks for the token again."""
    with Server(text_reply("Hello.")) as server, served(config(tmp_path, server, page=True)) as gateway:
        address = f"http://127.0.0.1:{gateway.port}/"
        outcome = run_browser("page.mjs", address, {"does": "signsOut", "token": gateway.token})
        assert ["fast"] == [charge.model for charge in gateway.charges()]
    assert not outcome.errors
    assert {"left": f"{address}login", "again": f"{address}login"} == outcome.result


SAMPLE = Path(__file__).with_name("page_sample.md").read_text("utf-8")


def test_everybody_can_use_it() -> None:
    """axe-core finds no violation, in both themes, wide and on a phone, whatever is shown; nothing is cut off."""
    reasoning = [chunk_event(reasoning_content=word) for word in ("I look at ", "the **berths**.")]
    first = Reply([*reasoning, *tool_call_reply("look", {"quay": "north"}).steps])

    def look(quay: str) -> dict[str, Any]:
        """Look."""
        return {"quay": quay, "free": [12]}

    replies = [first, text_reply(SAMPLE), tool_call_reply("pay", {"to": "the harbour", "amount": 80}), error_reply(500)]
    with desk(*replies, tools=[look, pay], title="Harbour desk", models=MODELS, sign_out="logout") as page:
        outcome = page.does("looks", folder=SCREENSHOTS)
    assert {} == {name: wrong for name, wrong in outcome.result["found"].items() if wrong}
    assert outcome.result["wide"] <= 0
