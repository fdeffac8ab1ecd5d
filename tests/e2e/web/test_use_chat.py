"""``useChat`` and ``useCompletion`` of the AI SDK against a route of ``stream_response``, in Node and in Chromium."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from streamkit import Client, Tool
from streamkit.testing import (
    Cut,
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
from streamkit.web.flask import stream_response
from streamkit.web.formats import RequestError, UiFormat
from tests.e2e.web.browser import Outcome, flask_server, gunicorn_server, needs_browser, run_browser
from tests.e2e.web.chat_clients import ChatClients, add_page, chat_clients, texts
from tests.unit.run_support import MODEL, client_of
from tests.unit.support import SOON

flask = pytest.importorskip("flask", reason="needs flask")

Run = Callable[..., Outcome]


def look(city: str) -> dict[str, Any]:
    """Look the weather up."""
    return {"city": city, "degrees": 3}


def pay(to: str) -> str:
    """Pay somebody."""
    return f"paid {to}"


LOCATE = Tool("locate", "Where the person is", {"type": "object", "properties": {}})
TOOLS = [look, Tool.of(pay, needs_approval=True), LOCATE]


class App:
    """A program of a few routes, whose client asks a scripted provider."""

    def __init__(self, client: Client, page: Path) -> None:
        self.client = client
        self.runs: dict[str, Any] = {}  # by the id of the reply's message
        self.flask = flask.Flask("test")
        for name in ("chat", "text", "completion", "text-completion"):
            view = getattr(self, name.replace("-", "_"))
            self.flask.add_url_rule(f"/api/{name}", name, view, methods=["POST"])
        self.flask.register_error_handler(RequestError, lambda error: (str(error), error.status))
        add_page(self.flask, page)

    def chat(self) -> Any:
        asked = UiFormat.decode_request(flask.request.get_data())
        id = asked.reply_id or f"reply-{asked.message_id}"
        before = self.runs.get(id)
        if before is not None and before.suspension is not None:
            run = self.client.resume(before.suspension, asked.decisions, tools=TOOLS)
        else:
            run = self.client.run(MODEL, asked.messages, tools=TOOLS)
        self.runs[id] = run
        return stream_response(run, UiFormat(browser_tools=["locate"]), id=id, model=MODEL)

    def text(self) -> Any:
        return stream_response(self.stream(), "text")

    completion, text_completion = (lambda self: stream_response(self.stream())), text

    def stream(self) -> Any:
        return self.client.stream(MODEL, UiFormat.decode_request(flask.request.get_data()).messages)


@pytest.fixture
def served(run: Run, chat_page: Path) -> Iterator[Callable[..., Any]]:
    """Start a provider with replies, and the program; return clients of it, and the provider."""
    with ExitStack() as stack:

        def start(*replies: Any) -> tuple[ChatClients, Server]:
            server = stack.enter_context(Server(*replies))
            app = App(stack.enter_context(client_of(server)), chat_page)
            address = stack.enter_context(flask_server(app.flask))
            return stack.enter_context(chat_clients(run, address)), server

        yield start


def in_two(one: str, two: str, more: threading.Event) -> Reply:
    """Return a reply that waits in its middle."""
    return Reply([chunk_event(one), WaitFor(more, SOON), chunk_event(two, finish_reason="stop")], framing="chunked")


def part_of(snapshot: dict[str, Any], tool: str) -> dict[str, Any]:
    """Return the part of a call in the last message."""
    [part] = [part for part in snapshot["messages"][-1]["parts"] if part["type"] == f"tool-{tool}"]
    found: dict[str, Any] = part
    return found


def test_a_reply_streams(served: Callable[..., Any]) -> None:
    """The first words are shown while the provider is still silent; a second turn has the first one before it."""
    more = threading.Event()
    clients, server = served(in_two("Hello ", "wörld 😀", more), text_reply("Again."))
    clients.open()
    clients.send("Hi")
    half = clients.until("s.messages[1]?.parts.at(-1)?.text === 'Hello '")
    assert "streaming" == half["status"]
    assert "Hello" in clients.text()
    more.set()
    done = clients.over()
    assert ["Hi", "Hello wörld 😀"] == texts(done)
    assert "wörld 😀" in clients.text()
    assert f"reply-{done['messages'][0]['id']}" == done["messages"][1]["id"]
    assert {"model", "createdAt", "timeToFirstTokenMs"} <= set(done["messages"][1]["metadata"])
    clients.send("More")
    again = clients.over(2)
    assert ["Hi", "Hello wörld 😀", "More", "Again."] == texts(again)
    assert [200, 200] == again["statuses"]
    assert [("user", "Hi"), ("assistant", "Hello wörld 😀"), ("user", "More")] == history_of(server, 1)


def history_of(server: Server, number: int) -> list[tuple[str, Any]]:
    return [(each["role"], each["content"]) for each in server.requests[number].json()["messages"]]


def test_errors(served: Callable[..., Any]) -> None:
    """An error before the first chunk is a status with a text; a later one keeps what came. Neither tells a secret."""
    clients, _ = served(
        error_reply(429, "SECRET"), error_in_stream_reply("SECRET", after="Half of"), text_reply("Now.")
    )
    clients.open()
    clients.send("Hi")
    refused = clients.over()
    assert ("An error occurred.", [429], 1) == (refused["error"], refused["statuses"], len(refused["messages"]))
    clients.call("regenerate")
    broken = clients.over(2)
    assert ("An error occurred.", [429, 200]) == (broken["error"], broken["statuses"])
    assert ["Hi", "Half of"] == texts(broken)
    clients.call("regenerate")
    assert ["Hi", "Now."] == texts(clients.over(3))


def test_stop(served: Callable[..., Any]) -> None:
    """A client that stops leaves, and the provider's connection ends with it; the next message may go on."""
    silent = threading.Event()
    endless = Reply([chunk_event("One "), Mark(silent), Wait(None)], framing="chunked")
    clients, server = served(endless, text_reply("Two."))
    clients.open()
    clients.send("Hi")
    clients.until("s.messages[1]?.parts.at(-1)?.text === 'One '")
    clients.call("stop")
    assert ["Hi", "One "] == texts(clients.over())
    assert silent.wait(SOON)
    assert server.requests[0].gone.wait(SOON)
    clients.send("More")
    assert ["Hi", "One ", "More", "Two."] == texts(clients.over(2))
    assert ("assistant", "One ") == history_of(server, 1)[1]


def test_tools_of_the_server(served: Callable[..., Any]) -> None:
    """A call's arguments and its result become a part, and the answer is a second step of the same message."""
    clients, _ = served(tool_call_reply("look", {"city": "Oslo"}), text_reply("Cold."))
    clients.open()
    clients.send("Weather?")
    done = clients.over()
    part = part_of(done, "look")
    assert ("output-available", {"city": "Oslo"}) == (part["state"], part["input"])
    assert {"city": "Oslo", "degrees": 3} == part["output"]
    assert ["Weather?", "Cold."] == texts(done)
    assert ["step-start", "tool-look", "step-start", "text"] == [part["type"] for part in done["messages"][1]["parts"]]


def test_tools_of_the_browser(served: Callable[..., Any]) -> None:
    """The client runs its tool, sends the result by itself, and the answer goes on in the same message."""
    clients, server = served(tool_call_reply("locate", {}, text="Let me see."), text_reply("You are at home."))
    clients.open(answers={"locate": {"at": "home"}}, automatic="outputs")
    clients.send("Where am I?")
    done = clients.over(2)
    assert ["locate"] == done["calls"]
    assert ("output-available", {"at": "home"}) == (part_of(done, "locate")["state"], part_of(done, "locate")["output"])
    assert ["Where am I?", "Let me see.You are at home."] == texts(done)
    assert ("tool", '{"at":"home"}') == history_of(server, 1)[-1]


@pytest.mark.parametrize("approved", [True, False])
def test_approvals(served: Callable[..., Any], approved: bool) -> None:
    """A call waits for the person; granted it runs, denied it does not, and one message has all of it."""
    clients, server = served(tool_call_reply("pay", {"to": "Ada"}, id="p"), text_reply("As you wish."))
    clients.open(automatic="approvals")
    clients.send("Pay Ada")
    asked = part_of(clients.over(), "pay")
    assert ("approval-requested", {"to": "Ada"}) == (asked["state"], asked["input"])
    clients.call("addToolApprovalResponse", {"id": asked["approval"]["id"], "approved": approved, "reason": "so"})
    done = clients.over(2)
    part = part_of(done, "pay")
    if approved:
        assert ("output-available", "paid Ada") == (part["state"], part["output"])
    else:
        assert "output-denied" == part["state"]
        assert "so" in history_of(server, 1)[-1][1]
    assert ["Pay Ada", "As you wish."] == texts(done)


def test_the_text_transport(served: Callable[..., Any]) -> None:
    """Plain text streams too; an error before the first chunk is a status."""
    more = threading.Event()
    clients, _ = served(in_two("Hello ", "wörld 😀", more), error_reply(429, "SECRET"))
    clients.open(transport="text", api="/api/text")
    clients.send("Hi")
    clients.until("s.messages[1]?.parts.at(-1)?.text === 'Hello '")
    more.set()
    assert ["Hi", "Hello wörld 😀"] == texts(clients.over())
    clients.send("More")
    refused = clients.over(2)
    assert ("An error occurred.", [200, 429]) == (refused["error"], refused["statuses"])


UNDER_GUNICORN = """
import os
from pathlib import Path
from streamkit import Client, Retry, providers
from tests.e2e.web.test_use_chat import App

client = Client([providers.OpenAI(api_key="k", base_url=os.environ["UPSTREAM"])], retry=Retry(attempts=1))
app = App(client, Path(os.environ["PAGE"])).flask
"""


def test_half_a_text_is_no_whole_one(run: Run, chat_page: Path, tmp_path: Path) -> None:
    """Plain text has no word for an error: the connection is cut, and the client shows an error beside the text.

    Under gunicorn: with ``Connection: close``, which werkzeug always sends, Node's ``fetch`` takes a response that was
    cut for a whole one. Browsers do not.
    """
    more = threading.Event()
    half = Reply([chunk_event("Half of"), WaitFor(more, SOON), Cut()], framing="chunked")
    with Server(half) as server:
        environment = {"UPSTREAM": server.url, "PAGE": str(chat_page)}
        with (
            gunicorn_server(tmp_path, UNDER_GUNICORN, environment) as address,
            chat_clients(run, address) as clients,
        ):
            clients.open(transport="text", api="/api/text")
            clients.send("Hi")
            clients.until("s.messages[1]?.parts.at(-1)?.text === 'Half of'")
            more.set()
            broken = clients.over()
    assert ("error", ["Hi", "Half of"], [200]) == (broken["status"], texts(broken), broken["statuses"])
    assert broken["finished"][0]["isError"]


@needs_browser
@pytest.mark.parametrize("run", [run_browser])
@pytest.mark.parametrize(("protocol", "api"), [("data", "/api/completion"), ("text", "/api/text-completion")])
def test_use_completion(served: Callable[..., Any], protocol: str, api: str) -> None:
    """``useCompletion`` reads both formats, and shows an error of either."""
    more = threading.Event()
    clients, _ = served(in_two("Hello ", "wörld 😀", more), error_reply(429, "SECRET"))
    clients.open(completion=protocol, api=api)
    clients.call("complete", "Hi")
    clients.until("s.text === 'Hello '")
    more.set()
    assert "Hello wörld 😀" == clients.until("!s.loading")["text"]
    assert "Hello wörld 😀" == clients.text()
    clients.call("complete", "More")
    assert "An error occurred." == clients.until("s.error")["error"]
