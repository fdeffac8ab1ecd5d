"""``useChat`` against ``chat_blueprint``, in Node and in Chromium: the history is what the real client has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from streamkit import Tool
from streamkit.testing import (
    Mark,
    Reply,
    Server,
    Wait,
    WaitFor,
    chunk_event,
    error_in_stream_reply,
    error_reply,
    text_reply,
    tool_call_reply,
)
from streamkit.web.flask import chat_blueprint
from tests.e2e.web.browser import Outcome, flask_server, gunicorn_server
from tests.e2e.web.chat_clients import ChatClients, add_page, chat_clients, texts
from tests.unit.run_support import MODEL, client_of
from tests.unit.support import SOON

flask = pytest.importorskip("flask", reason="needs flask")

Run = Callable[..., Outcome]


def look(city: str) -> dict[str, Any]:
    """Look the weather up."""
    if city == "Nowhere":
        raise LookupError("no such city")
    return {"city": city, "degrees": 3}


def pay(to: str) -> str:
    """Pay somebody."""
    return f"paid {to}"


LOCATE = Tool("locate", "Where the person is", {"type": "object", "properties": {}})
TOOLS = [look, Tool.of(pay, needs_approval=True), LOCATE]

PNG = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@pytest.fixture
def served(run: Run, chat_page: Path) -> Iterator[Callable[..., Any]]:
    """Start a provider with replies, and a chat of its own; return clients of it, and the provider."""
    with ExitStack() as stack:

        def start(*replies: Any, **options: Any) -> tuple[ChatClients, Server]:
            server = stack.enter_context(Server(*replies))
            client = stack.enter_context(client_of(server))
            app = flask.Flask("test")
            app.register_blueprint(chat_blueprint(client, model=MODEL, tools=TOOLS, **options))
            add_page(app, chat_page)
            address = stack.enter_context(flask_server(app))
            return stack.enter_context(chat_clients(run, address)), server

        yield start


def in_two(one: str, two: str, more: threading.Event) -> Reply:
    """Return a reply that waits in its middle."""
    return Reply([chunk_event(one), WaitFor(more, SOON), chunk_event(two, finish_reason="stop")], framing="chunked")


def shows(text: str) -> str:
    """Return the condition that the last part is this text."""
    return f"s.messages.at(-1)?.parts.at(-1)?.text === {text!r}"


def part_of(snapshot: dict[str, Any], tool: str) -> dict[str, Any]:
    """Return the part of a call in the last message."""
    [part] = [part for part in snapshot["messages"][-1]["parts"] if part["type"] == f"tool-{tool}"]
    found: dict[str, Any] = part
    return found


def check_history(clients: ChatClients, snapshot: dict[str, Any], status: str = "ready", **where: Any) -> None:
    """Assert that the server has the messages that the client has."""
    kept = clients.history(**where)
    assert snapshot["messages"] == kept["messages"]
    assert status == kept["status"]


def test_two_turns(served: Callable[..., Any]) -> None:
    """Replies stream, the model gets the history, and so does a page that is opened again; nothing is active then."""
    more = threading.Event()
    clients, server = served(in_two("Hello ", "wörld 😀", more), text_reply("Again."))
    name = "a chat/ü?"
    clients.open(id=name)
    clients.send("Hi")
    clients.until(shows("Hello "))
    more.set()
    clients.over()
    clients.send("More")
    done = clients.over(2)
    assert ["Hi", "Hello wörld 😀", "More", "Again."] == texts(done)
    assert ["Hi", "Hello wörld 😀", "More"] == [each["content"] for each in server.requests[1].json()["messages"]]
    assert {"model", "createdAt", "usage", "timeToFirstTokenMs"} == set(done["messages"][3]["metadata"])
    check_history(clients, done, id="a%20chat%2F%C3%BC%3F")
    clients.open("two", id=name, history=True, resume=True)
    again = clients.until("s.statuses.length", tab="two")
    assert (done["messages"], [204]) == (again["messages"], again["statuses"])
    quiet = clients.until("s.status === 'ready'", tab="two")
    assert (None, done["messages"]) == (quiet["error"], quiet["messages"])


def test_stop(served: Callable[..., Any]) -> None:
    """Leaving does not stop a reply, ``stop`` does; what came of it is kept, and the next turn goes on from there."""
    silent = threading.Event()
    endless = Reply([chunk_event("One "), Mark(silent), Wait(None)], framing="chunked")
    clients, server = served(endless, text_reply("Two."))
    clients.open()
    clients.send("Hi")
    clients.until(shows("One "))
    assert silent.wait(SOON)
    clients.call("stop")
    clients.over()
    assert "streaming" == clients.history()["status"]
    assert not server.requests[0].gone.is_set()
    assert (204, "") == clients.fetch("/api/chat/chat-1/stop", "POST")
    assert server.requests[0].gone.wait(SOON)
    kept = clients.history()
    assert ("ready", ["Hi", "One "]) == (kept["status"], texts(kept))
    assert "partial" == kept["messages"][1]["metadata"]["state"]
    clients.send("More")
    assert ["Hi", "One ", "More", "Two."] == texts(clients.over(2))
    assert ["Hi", "One ", "More"] == [each["content"] for each in server.requests[1].json()["messages"]]


def test_stop_while_it_is_watched(served: Callable[..., Any]) -> None:
    """A client that only sends ``stop`` gets the end of its stream, and so does another tab."""
    endless = Reply([chunk_event("One "), Wait(None)], framing="chunked")
    clients, server = served(endless)
    clients.open()
    clients.send("Hi")
    clients.until(shows("One "))
    clients.open("two", history=True, resume=True)
    clients.until(shows("One "), tab="two")
    assert 204 == clients.fetch("/api/chat/chat-1/stop", "POST", tab="two")[0]
    for tab in ("one", "two"):
        assert (None, ["Hi", "One "]) == ((over := clients.over(tab=tab))["error"], texts(over))
    assert server.requests[0].gone.wait(SOON)


def test_a_reload_in_the_middle(served: Callable[..., Any]) -> None:
    """A page that is loaded again and a second tab get the whole reply, once, and its rest while it comes."""
    more = threading.Event()
    clients, server = served(in_two("Hello ", "wörld 😀", more))
    clients.open(history=True, resume=True)
    new = clients.until("s.statuses.length && s.status !== 'submitted'")
    assert ("ready", None, [204]) == (new["status"], new["error"], new["statuses"])
    clients.send("Hi")
    clients.until(shows("Hello "))
    clients.reload()
    clients.until(shows("Hello "))
    clients.open("two", history=True, resume=True)
    clients.until(shows("Hello "), tab="two")
    more.set()
    for tab in ("one", "two"):
        over = clients.over(tab=tab)
        assert ("ready", ["Hi", "Hello wörld 😀"]) == (over["status"], texts(over))
        check_history(clients, over, tab=tab)
    assert 1 == len(server.requests)


def test_errors(served: Callable[..., Any]) -> None:
    """Both kinds of errors are the client's; after each the question can be asked again."""
    clients, server = served(
        error_reply(429, "SECRET"), error_in_stream_reply("SECRET", after="Half of"), text_reply("Now.")
    )
    clients.open()
    clients.send("Hi")
    refused = clients.over()
    assert ("An error occurred.", ["Hi"]) == (refused["error"], texts(refused)[:1])
    clients.call("regenerate")
    broken = clients.over(2)
    assert ("An error occurred.", ["Hi", "Half of"]) == (broken["error"], texts(broken))
    kept = clients.history()["messages"][1]
    assert "An error occurred." == kept["metadata"]["error"]
    assert ("partial", "Half of") == (kept["metadata"]["state"], kept["parts"][-1]["text"])
    clients.call("regenerate")
    done = clients.over(3)
    assert ["Hi", "Now."] == texts(done)
    check_history(clients, done)
    assert [["Hi"]] * 3 == [[each["content"] for each in asked.json()["messages"]] for asked in server.requests]


def test_a_model_is_chosen(served: Callable[..., Any]) -> None:
    """``body`` of a message, of an edit and of a new reply names the model; a name that is not offered is an error."""
    replies = [text_reply(word) for word in ("One.", "Two.", "Three.", "Four.")]
    clients, server = served(*replies, models=[MODEL, "openai/n"])
    clients.open()
    other = {"body": {"model": "openai/n"}}
    clients.call("sendMessage", {"text": "a"}, other)
    done = clients.over()
    assert "openai/n" == done["messages"][1]["metadata"]["model"]
    clients.call("regenerate")
    clients.over(2)
    clients.call("regenerate", other)
    clients.over(3)
    clients.call("sendMessage", {"text": "b", "messageId": done["messages"][0]["id"]}, other)
    done = clients.over(4)
    assert ["b", "Four."] == texts(done)
    check_history(clients, done)
    assert ["n", "m", "n", "n"] == [request.json()["model"] for request in server.requests]
    clients.call("sendMessage", {"text": "c"}, {"body": {"model": "openai/other"}})
    refused = clients.over(5)
    assert 403 == refused["statuses"][-1]
    assert "may not be asked" in refused["error"]
    assert 4 == len(server.requests)


def test_regenerate_and_edit(served: Callable[..., Any]) -> None:
    """A reply once more, an earlier one once more, and an edited question: each takes the place of what was there."""
    clients, server = served(*[text_reply(word) for word in ("One.", "Two.", "Three.", "Four.", "Five.")])
    clients.open()
    clients.send("a")
    clients.over()
    clients.send("b")
    clients.over(2)
    clients.call("regenerate")
    done = clients.over(3)
    assert ["a", "One.", "b", "Three."] == texts(done)
    check_history(clients, done)
    clients.call("regenerate", {"messageId": done["messages"][1]["id"]})
    done = clients.over(4)
    assert ["a", "Four."] == texts(done)
    check_history(clients, done)
    clients.send("c", messageId=done["messages"][0]["id"])
    done = clients.over(5)
    assert ["c", "Five."] == texts(done)
    check_history(clients, done)
    assert ["c"] == [each["content"] for each in server.requests[4].json()["messages"]]


def test_tools_of_the_server(served: Callable[..., Any]) -> None:
    """Calls, their results and their errors are the same to who watched and to who comes later."""
    calls = tool_call_reply("look", {"city": "Oslo"}, ("look", {"city": "Nowhere"}), text="Let me see.")
    clients, _ = served(calls, tool_call_reply("lok", {}, id="c"), text_reply("Cold."))
    clients.open()
    clients.send("Weather?")
    done = clients.over()
    assert ["Weather?", "Let me see.Cold."] == texts(done)
    states = [part["state"] for part in done["messages"][1]["parts"] if "toolCallId" in part]
    assert ["output-available", "output-error", "output-error"] == states
    check_history(clients, done)


def test_tools_of_the_browser(served: Callable[..., Any]) -> None:
    """The client runs its tool, and its result goes on with the turn by itself, in the same message."""
    clients, server = served(tool_call_reply("locate", {}, text="Let me see."), text_reply("You are at home."))
    clients.open(answers={"locate": {"at": "home"}}, automatic="outputs")
    clients.send("Where am I?")
    done = clients.over(2)
    assert ["Where am I?", "Let me see.You are at home."] == texts(done)
    assert {"at": "home"} == part_of(done, "locate")["output"]
    check_history(clients, done)
    assert '{"at":"home"}' == server.requests[1].json()["messages"][-1]["content"]


@pytest.mark.parametrize("approved", [True, False])
def test_approvals(served: Callable[..., Any], approved: bool) -> None:
    """A call waits for the person, also in a page that is opened later; the decision goes on in the same message."""
    clients, server = served(tool_call_reply("pay", {"to": "Ada"}, id="p", text="Shall I?"), text_reply("As you wish."))
    clients.open()
    clients.send("Pay Ada")
    asked = clients.over()
    check_history(clients, asked, "suspended")
    clients.open("two", history=True, resume=True, automatic="approvals")
    asked = clients.until("s.statuses.length && s.status === 'ready'", tab="two")
    part = part_of(asked, "pay")
    assert ("approval-requested", {"to": "Ada"}) == (part["state"], part["input"])
    answer = {"id": part["approval"]["id"], "approved": approved, **({} if approved else {"reason": "so"})}
    clients.call("addToolApprovalResponse", answer, tab="two")
    done = clients.over(tab="two")
    part = part_of(done, "pay")
    assert ("output-available" if approved else "output-denied") == part["state"]
    assert ["Pay Ada", "Shall I?As you wish."] == texts(done)
    check_history(clients, done)
    told = server.requests[1].json()["messages"][-1]["content"]
    assert ("paid Ada" in told) if approved else ("so" in told)


def test_a_reload_after_a_decision(served: Callable[..., Any]) -> None:
    """A reply that goes on after a decision is resumed with all of its message, once: what came before it too."""
    more = threading.Event()
    waiting = tool_call_reply("pay", {"to": "Ada"}, id="p", text="Shall I?")
    clients, _ = served(waiting, in_two("It ", "is done.", more))
    clients.open(automatic="approvals")
    clients.send("Pay Ada")
    asked = part_of(clients.over(), "pay")
    clients.call("addToolApprovalResponse", {"id": asked["approval"]["id"], "approved": True})
    clients.until(shows("It "))
    clients.open("two", history=True, resume=True)
    clients.until(shows("It "), tab="two")
    clients.open("three", resume=True)  # which knows nothing of it
    clients.until(shows("It "), tab="three")
    more.set()
    for tab, replies in (("one", 2), ("two", 1), ("three", 1)):
        done = clients.over(replies, tab)
        assert ["Shall I?It is done."] == texts(done)[-1:]
        assert "output-available" == part_of(done, "pay")["state"]
        assert clients.history()["messages"][-1] == done["messages"][-1], tab
    check_history(clients, clients.over(2))


def test_images_and_reasoning(served: Callable[..., Any]) -> None:
    """An image that a person sends, and reasoning, are the same in the history; the image is sent again."""
    image = {"type": "file", "mediaType": "image/png", "url": PNG}  # the history has no names of images
    thought = [chunk_event(reasoning_content="Hm, "), chunk_event(reasoning_content="a dot."), chunk_event("A dot.")]
    clients, server = served(Reply([*thought, chunk_event(finish_reason="stop")]), text_reply("Yes."))
    clients.open()
    clients.send("What is it?", files=[image])
    done = clients.over()
    assert "Hm, a dot." == done["messages"][1]["parts"][1]["text"]
    check_history(clients, done)
    clients.send("Really?")
    check_history(clients, clients.over(2))
    assert PNG in str(server.requests[1].json()["messages"][0])


def test_two_tabs_decide(served: Callable[..., Any]) -> None:
    """The first decision counts: a tab that decides later follows the reply, or is told that it is too late."""
    more = threading.Event()
    waiting = tool_call_reply("pay", {"to": "Ada"}, id="p", text="Shall I?")
    clients, server = served(waiting, in_two("It ", "is done.", more))
    clients.open(automatic="approvals")
    clients.send("Pay Ada")
    clients.over()
    for tab in ("two", "three"):
        clients.open(tab, history=True, automatic="approvals")
    decision = {"id": "approval-p", "approved": True}
    for tab in ("one", "two"):
        clients.call("addToolApprovalResponse", decision, tab=tab)
        clients.until(shows("It "), tab=tab)
    more.set()
    for tab, replies in (("one", 2), ("two", 1)):
        check_history(clients, clients.over(replies, tab), tab=tab)
    clients.call("addToolApprovalResponse", {**decision, "approved": False}, tab="three")
    late = clients.over(tab="three")
    assert [409] == late["statuses"]
    assert "decided already" in late["error"]
    assert 2 == len(server.requests)


def test_the_same_message_twice(served: Callable[..., Any]) -> None:
    """Two tabs that send the same message get one reply; another question meanwhile is refused."""
    more = threading.Event()
    clients, server = served(in_two("Hello ", "there.", more))
    message = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}
    for tab in ("one", "two"):
        clients.open(tab)
        clients.call("sendMessage", message, tab=tab)
    for tab in ("one", "two"):
        clients.until(shows("Hello "), tab=tab)
    clients.open("three")
    clients.send("Something else", tab="three")
    refused = clients.over(tab="three")
    assert [409] == refused["statuses"]
    assert "on its way" in refused["error"]
    more.set()
    for tab in ("one", "two"):
        check_history(clients, clients.over(tab=tab), tab=tab)
    assert 1 == len(server.requests)


def test_the_new_message_alone(served: Callable[..., Any]) -> None:
    """A client may send its new message without the history."""
    clients, server = served(text_reply("One."), text_reply("Two."))
    clients.open(latest=True)
    clients.send("a")
    clients.over()
    clients.send("b")
    done = clients.over(2)
    check_history(clients, done)
    assert ["a", "One.", "b"] == [each["content"] for each in server.requests[1].json()["messages"]]


UNDER_GUNICORN = """
import os
from pathlib import Path
from flask import Flask
from streamkit import Client, RedisLog, Retry, SQLStore, providers
from streamkit.web.flask import chat_blueprint
from tests.e2e.web.chat_clients import add_page
from tests.e2e.web.test_chat_blueprint import MODEL, TOOLS

client = Client([providers.OpenAI(api_key="k", base_url=os.environ["UPSTREAM"])], retry=Retry(attempts=1))
app = Flask(__name__)
store, log = SQLStore(os.environ["DATABASE"]), RedisLog(os.environ["REDIS"])
app.register_blueprint(chat_blueprint(client, model=MODEL, tools=TOOLS, store=store, log=log))
add_page(app, Path(os.environ["PAGE"]))
"""


@pytest.mark.slow
def test_other_processes(
    run: Run,
    chat_page: Path,
    tmp_path: Path,
    redis_server: Callable[..., Any],
) -> None:
    """With Redis and a database any process follows, stops and goes on with what another one began."""
    pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy")
    more = threading.Event()
    replies = [
        in_two("Hello ", "there.", more),
        tool_call_reply("pay", {"to": "Ada"}, id="p", text="Shall I?"),
        text_reply("It is done."),
        Reply([chunk_event("One "), Wait(None)], framing="chunked"),
    ]
    with Server(*replies) as server, ExitStack() as stack:
        environment = {"UPSTREAM": server.url, "PAGE": str(chat_page), "REDIS": redis_server().url}
        environment["DATABASE"] = f"sqlite:///{tmp_path}/chats.db"
        here, there = (stack.enter_context(gunicorn_server(tmp_path, UNDER_GUNICORN, environment)) for _ in range(2))
        clients = stack.enter_context(chat_clients(run, here))
        clients.open(history=True, resume=True)
        clients.send("Hi")
        clients.until(shows("Hello "))
        clients.open("two", address=there, history=True, resume=True, automatic="approvals")
        clients.until(shows("Hello "), tab="two")
        clients.reload()
        clients.until(shows("Hello "))
        more.set()
        for tab in ("one", "two"):
            done = clients.over(tab=tab)
            assert ["Hi", "Hello there."] == texts(done)
            check_history(clients, done, tab=tab)
        clients.send("Pay Ada")
        clients.over(2)
        clients.reload("two")
        asked = part_of(clients.until("s.messages.length === 4 && s.status === 'ready'", tab="two"), "pay")
        clients.call("addToolApprovalResponse", {"id": asked["approval"]["id"], "approved": True}, tab="two")
        done = clients.over(tab="two")
        assert ["Shall I?It is done."] == texts(done)[-1:]
        check_history(clients, done, tab="one")
        clients.reload()
        clients.send("More")
        clients.until(shows("One "))
        assert 204 == clients.fetch("/api/chat/chat-1/stop", "POST", tab="two")[0]
        assert server.requests[3].gone.wait(SOON)
        assert "One " == texts(clients.over())[-1]
        assert "partial" == clients.history(tab="two")["messages"][-1]["metadata"]["state"]
