"""The chat for browsers: turns, replies that go on, history, decisions, owners, and what is refused."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

import streamkit
from streamkit import (
    Client,
    ConfigError,
    LogError,
    MemoryStore,
    Message,
    Retry,
    SQLStore,
    Tool,
    load_pack,
    providers,
    publish,
)
from streamkit.conversation import owners
from streamkit.conversation.owners import this_process
from streamkit.conversation.turns import ConversationState, Turn
from streamkit.logs.json_text import write_chunk
from streamkit.logs.log import Record
from streamkit.logs.memory_log import MemoryLog
from streamkit.testing import (
    Cut,
    Reply,
    Server,
    Wait,
    WaitFor,
    chunk_event,
    error_reply,
    text_reply,
    tool_call_reply,
)
from streamkit.values.chunks import Chunk
from streamkit.web.chat import Chat
from tests.unit.scripted import DONE, Scripted
from tests.unit.support import SOON, Task
from tests.unit.ui_client import UiClient, message_of, parts_in

flask = pytest.importorskip("flask", reason="needs flask")

from streamkit.web.flask import chat_blueprint  # noqa: E402  # it needs Flask

MODEL = "openai/m"


def weather(city: str) -> dict[str, Any]:
    """Tell the weather."""
    if city == "Nowhere":
        raise LookupError("no such city")
    return {"city": city, "sky": "rain"}


@streamkit.tool(needs_approval=True)
def refund(order: str) -> str:
    """Refund an order."""
    return f"refunded {order}"


where_am_i = Tool("where_am_i", "Ask the browser where it is.", {"type": "object", "properties": {}})
TOOLS = [weather, refund, where_am_i]


def client_of(server: Server) -> Client:
    return Client([providers.OpenAI(api_key="k", base_url=server.url)], retry=Retry(attempts=1))


@pytest.fixture(params=["memory", "sql"])
def store(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    return MemoryStore() if request.param == "memory" else SQLStore(f"sqlite:///{tmp_path}/chats.db")


@pytest.fixture
def chat(store: Any) -> Iterator[Callable[..., UiClient]]:
    """Return a function that makes a browser of an app of its own, which shares store and log with the others."""
    closing: list[Any] = []
    log = MemoryLog()

    def make(*replies: Any, id: str = "chat-1", server: Server | None = None, **options: Any) -> UiClient:
        server = Server(*replies) if server is None else server
        client = client_of(server)
        closing.extend([client, server])
        app = flask.Flask("test")
        app.register_blueprint(chat_blueprint(client, **{"model": MODEL, "store": store, "log": log, **options}))
        browser = UiClient(app.test_client(), id)
        browser.server = server  # type: ignore[attr-defined]
        return browser

    yield make
    for each in closing:
        each.close()


def same(browser: UiClient) -> None:
    """Assert that the history has the messages that the browser has."""
    kept = browser.history()
    assert kept["status"] == "ready"
    assert kept["messages"] == browser.messages


def test_two_turns_and_the_history(chat: Any) -> None:
    """The server keeps the conversation: the model gets the history, and a reload gets the same messages."""
    browser = chat(text_reply("Hello there."), text_reply("Fine."), system="Be brief.")
    first = browser.send("Hi")
    assert "reply-u0" == first["id"]
    assert [{"type": "step-start"}, {"type": "text", "text": "Hello there.", "state": "done"}] == first["parts"]
    assert {"model", "createdAt", "usage", "timeToFirstTokenMs"} == set(first["metadata"])
    browser.send("How are you?")
    asked = browser.server.requests[-1].json()["messages"]
    assert ["Be brief.", "Hi", "Hello there.", "How are you?"] == [message["content"] for message in asked]
    same(browser)
    assert "Hi" == browser.history()["title"]
    assert 204 == browser.http.get("/api/chat/chat-1/stream").status_code


def test_regenerate_and_edit(chat: Any) -> None:
    """A reply once more, and an edited question, take the place of what was there and of what came after."""
    browser = chat(*[text_reply(word) for word in ("One.", "Two.", "Three.", "Four.", "Five.")])
    browser.send("a")
    browser.send("b")
    assert "Three." == browser.regenerate()["parts"][-1]["text"]
    same(browser)
    assert "Four." == browser.regenerate("reply-u0")["parts"][-1]["text"]
    assert 2 == len(browser.messages)
    same(browser)
    browser.edit("u0", "c")
    assert ["c"] == [message["content"] for message in browser.server.requests[-1].json()["messages"]]
    same(browser)


def test_tools_reasoning_and_errors_of_tools(chat: Any) -> None:
    """Calls, results, errors of tools and unknown tools are the same after a reload."""
    browser = chat(
        tool_call_reply("weather", {"city": "Oslo"}, ("weather", {"city": "Nowhere"}), text="Let me see."),
        tool_call_reply("wether", {"city": "Rome"}),
        text_reply("It rains."),
        tools=TOOLS,
    )
    reply = browser.send("Weather?")
    states = [part.get("state") for part in reply["parts"] if part["type"].startswith("tool-")]
    assert ["output-available", "output-error"] == states[:2]
    kept = browser.history()["messages"][1]
    calls = [part for part in kept["parts"] if part["type"].startswith("tool-")]
    assert ["output-available", "output-error", "output-error"] == [part["state"] for part in calls]
    assert {"city": "Oslo", "sky": "rain"} == calls[0]["output"]
    assert reply["parts"][:4] == kept["parts"][:4]


@pytest.mark.parametrize("approved", [True, False])
def test_approval(chat: Any, approved: bool) -> None:
    """A decision of the browser goes on with the turn, in the same message; also in another process."""
    replies = [tool_call_reply("refund", {"order": "A1"}, text="May I?"), text_reply("Done.")]
    browser = chat(*replies, tools=TOOLS)
    part = browser.send("Refund A1")["parts"][-1]
    assert ("approval-requested", {"order": "A1"}) == (part["state"], part["input"])
    kept = browser.history()
    assert "suspended" == kept["status"]
    assert kept["messages"] == browser.messages
    reason = {} if approved else {"reason": "too much"}
    other = chat(server=browser.server, tools=TOOLS)  # another process, as far as it can tell
    other.messages = browser.messages
    asked = other.messages[-1]["parts"][-1]
    asked.update(state="approval-responded", approval={**asked["approval"], "approved": approved, **reason})
    reply = other.post()
    assert "Done." == reply["parts"][-1]["text"]
    assert ("output-available" if approved else "output-denied") == reply["parts"][2]["state"]
    told = browser.server.requests[-1].json()["messages"][-1]["content"]
    assert ("refunded A1" if approved else "Not approved: too much. The function was not called.") == told
    same(other)
    again = browser.http.post(
        "/api/chat",
        json={
            **browser.body(),
            "messages": [*browser.messages[:1], {"id": "reply-u0", "role": "assistant", "parts": [asked]}],
        },
    )
    assert 409 == again.status_code
    assert 2 == len(browser.server.requests)


def test_a_tool_of_the_browser(chat: Any) -> None:
    """A tool without a function waits for the browser's result. The browser cannot answer for the program's tools."""
    first = tool_call_reply("where_am_i", {}, ("refund", {"order": "A1"}))
    browser = chat(first, text_reply("In Oslo."), tools=TOOLS)
    reply = browser.send("Where am I?")
    assert ["input-available", "approval-requested"] == [part["state"] for part in reply["parts"][1:]]
    assert reply == browser.history()["messages"][1]
    for part, output in zip(reply["parts"][1:], ({"city": "Oslo"}, "refunded A1"), strict=True):
        part.update(state="output-available", output=output)
    reply = browser.post()
    assert "approval-requested" == browser.history()["messages"][1]["parts"][-1]["state"]
    assert 1 == len(browser.server.requests)


def test_a_reply_goes_on_without_its_browser(chat: Any) -> None:
    """Leaving does not stop a reply. Another browser follows it from its beginning, and `stop` stops it."""
    more = threading.Event()
    reply = Reply([chunk_event("One"), WaitFor(more), chunk_event(" two"), Wait(60)], framing="chunked")
    browser = chat(reply)
    response = browser.http.post(
        "/api/chat", json={**browser.body(), "messages": [question("u0", "Hi")]}, buffered=False
    )
    pieces = response.iter_encoded()
    while b"One" not in next(pieces):
        pass
    response.close()
    assert "streaming" == browser.history()["status"]
    assert [question("u0", "Hi")] == browser.history()["messages"]
    tabs = [browser.http.get("/api/chat/chat-1/stream") for _ in range(2)]
    seen = [b"", b""]
    more.set()
    for at, tab in enumerate(tabs):
        for piece in tab.iter_encoded():
            seen[at] += piece
            if b"two" in piece:
                break
    assert 204 == browser.http.post("/api/chat/chat-1/stop").status_code
    assert browser.server.requests[0].gone.wait(SOON)
    for at, tab in enumerate(tabs):
        seen[at] += b"".join(tab.iter_encoded())
        assert {"type": "abort"} == parts_in(seen[at])[-1]
        assert "One two" == message_of(parts_in(seen[at]))["parts"][-1]["text"]
    kept = browser.history()
    assert ("ready", "partial") == (kept["status"], kept["messages"][1]["metadata"]["state"])
    assert "One two" == kept["messages"][1]["parts"][-1]["text"]


def question(id: str, text: str) -> dict[str, Any]:
    return {"id": id, "role": "user", "parts": [{"type": "text", "text": text}]}


def test_a_reply_after_a_decision_is_resumed_whole(chat: Any) -> None:
    """A reload while a turn goes on after a decision gets the whole message, its first part once."""
    more = threading.Event()
    last = Reply([chunk_event("Do"), WaitFor(more), *text_reply("ne.").steps], framing="chunked")
    browser = chat(tool_call_reply("refund", {"order": "A1"}, text="May I?"), last, tools=TOOLS)
    asked = browser.send("Refund A1")["parts"][-1]
    asked.update(state="approval-responded", approval={**asked["approval"], "approved": True})
    response = browser.http.post("/api/chat", json=browser.body(), buffered=False)
    pieces = response.iter_encoded()
    while b"Do" not in next(pieces):
        pass
    response.close()
    assert "streaming" == browser.history()["status"]
    resumed = browser.http.get("/api/chat/chat-1/stream")
    more.set()
    message = message_of(parts_in(resumed.data))
    assert ["step-start", "text", "tool-refund", "step-start", "text"] == [part["type"] for part in message["parts"]]
    assert ("May I?", "Done.") == (message["parts"][1]["text"], message["parts"][-1]["text"])
    assert "refunded A1" == message["parts"][2]["output"]


def test_an_event_source_of_a_reply_after_a_decision(chat: Any) -> None:
    """What came before the decision has no numbers of its own, so that a lost connection goes on without a gap."""
    more = threading.Event()
    last = Reply([chunk_event("Do"), WaitFor(more), *text_reply("ne.").steps], framing="chunked")
    browser = chat(tool_call_reply("refund", {"order": "A1"}, text="May I?"), last, tools=TOOLS)
    asked = browser.send("Refund A1")["parts"][-1]
    asked.update(state="approval-responded", approval={**asked["approval"], "approved": True})
    browser.http.post("/api/chat", json=browser.body(), buffered=False).close()
    address = "/api/chat/chat-1/stream?format=events"
    pieces, seen = browser.http.get(address, buffered=False).iter_encoded(), b""
    while b'"Do"' not in seen:
        seen += next(pieces)
    got = events_of(seen)
    assert ["message", "message", "tool_call", "tool_approval"] == [name for _, name, _ in got[:4]]
    rest = browser.http.get(address, headers={"Last-Event-ID": got[-1][0]}, buffered=False)
    more.set()
    assert '{"content":"ne."}' in [data for _, _, data in events_of(rest.data)]


def test_a_reply_after_a_decision_is_stopped(chat: Any) -> None:
    """What was decided is not asked again: the result of the call and what came of the reply are kept."""
    last = Reply([chunk_event("Done, and"), Wait(60)], framing="chunked")
    browser = chat(tool_call_reply("refund", {"order": "A1"}, text="May I?"), last, text_reply("Bye."), tools=TOOLS)
    asked = browser.send("Refund A1")["parts"][-1]
    asked.update(state="approval-responded", approval={**asked["approval"], "approved": True})
    response = browser.http.post("/api/chat", json=browser.body(), buffered=False)
    pieces = response.iter_encoded()
    while b"Done" not in next(pieces):
        pass
    browser.http.post("/api/chat/chat-1/stop")
    kept = browser.history()
    message = kept["messages"][-1]
    assert ("ready", "partial") == (kept["status"], message["metadata"]["state"])
    assert ["step-start", "text", "tool-refund", "step-start", "text"] == [part["type"] for part in message["parts"]]
    assert ("refunded A1", "Done, and") == (message["parts"][2]["output"], message["parts"][-1]["text"])
    browser.messages = kept["messages"]
    assert "Bye." == browser.send("Thanks")["parts"][-1]["text"]
    told = browser.server.requests[-1].json()["messages"]
    assert ["user", "assistant", "tool", "assistant", "user"] == [each["role"] for each in told]


def test_a_question_that_is_sent_twice_is_asked_once(chat: Any) -> None:
    """The same message id follows the reply that is on its way; a second question meanwhile is refused."""
    more = threading.Event()
    browser = chat(Reply([chunk_event("One"), WaitFor(more), *text_reply(" two").steps], framing="chunked"))
    body = {**browser.body(), "messages": [question("u0", "Hi")]}
    first, second = (browser.http.post("/api/chat", json=body) for _ in range(2))
    other = browser.http.post("/api/chat", json={**body, "messages": [question("u1", "Hello?")]})
    assert 409 == other.status_code
    assert "on its way" in other.text
    more.set()
    replies = [message_of(parts_in(response.data)) for response in (first, second)]
    assert replies[0]["parts"] == replies[1]["parts"]
    assert 1 == len(browser.server.requests)


def test_a_question_is_sent_twice_before_its_log_begins() -> None:
    """The second one waits for the log, also where the thread that writes it has not come that far."""
    from streamkit.web.formats import UiFormat

    store, begin = MemoryStore(), threading.Event()
    with Server(text_reply("One.")) as server, client_of(server) as client:

        def around(publish: Callable[[], object]) -> None:
            assert begin.wait(SOON)
            publish()

        def open_conversation(key: str, owner: str) -> Any:
            return client.conversation(MODEL, store=store, id=key, owner=owner)

        chat = Chat(open_conversation, store, MemoryLog(), around=around)
        body = {"id": "c", "messages": [question("u0", "Hi")]}
        answers = [chat.ask(UiFormat.decode_request(body), "") for _ in range(2)]
        begin.set()
        assert ["One.", "One."] == [answer.stream.collect().text for answer in answers]
        assert 1 == len(server.requests)


def test_an_error_before_the_first_chunk(chat: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal of the provider is a status; the question stays, and can be asked again by either way."""
    caplog.set_level(logging.CRITICAL, "streamkit")
    browser = chat(error_reply(429), error_reply(429), text_reply("One."), text_reply("Two."))
    body = {**browser.body(), "messages": [question("u0", "Hi")]}
    response = browser.http.post("/api/chat", json=body)
    assert (429, "An error occurred.") == (response.status_code, response.text)
    assert 429 == browser.http.post("/api/chat", json=body).status_code
    kept = browser.history()["messages"]
    assert ["u0", "reply-u0"] == [message["id"] for message in kept]
    assert "failed" == kept[1]["metadata"]["state"]
    browser.messages = [question("u0", "Hi")]
    assert "One." == browser.regenerate()["parts"][-1]["text"]
    same(browser)


def test_an_error_in_the_middle(chat: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What came of a torn reply is kept, and marked."""
    caplog.set_level(logging.CRITICAL, "streamkit")
    browser = chat(text_reply("Hello there.").first(3).then(Cut()), text_reply("Again."), show_errors=True)
    response = browser.http.post("/api/chat", json={**browser.body(), "messages": [question("u0", "Hi")]})
    parts = parts_in(response.data)
    assert "error" in [part["type"] for part in parts]
    kept = browser.history()["messages"][1]
    assert "partial" == kept["metadata"]["state"]
    assert kept["metadata"]["error"]
    assert "Hello" in kept["parts"][-1]["text"]


def test_owners(chat: Any) -> None:
    """`authorize` says whose a chat is. Another user's is not there, and nobody's request is refused."""
    browser = chat(text_reply("Hello."), authorize=lambda request: request.headers.get("X-User"))
    browser.headers = {"X-User": "ann"}
    browser.send("Hi")
    assert [("chat-1", "Hi", 1)] == [
        (each["id"], each["title"], each["turns"])
        for each in browser.http.get("/api/chat", headers={"X-User": "ann"}).json["chats"]
    ]
    bob, nobody = {"X-User": "bob"}, {}
    assert [] == browser.http.get("/api/chat", headers=bob).json["chats"]
    body = {**browser.body(), "messages": [question("u9", "Hi")]}
    for headers, status in ((bob, 404), (nobody, 401)):
        http = browser.http
        for response in (
            http.get("/api/chat/chat-1", headers=headers),
            http.get("/api/chat/chat-1/stream", headers=headers),
            http.post("/api/chat/chat-1/stop", headers=headers),
            http.delete("/api/chat/chat-1", headers=headers),
            http.post("/api/chat", json=body, headers=headers),
            http.get("/api/chat/chat-1/events?prompt=Hi", headers=headers),
        ):
            assert status == response.status_code
    assert 1 == len(browser.server.requests)
    assert 204 == browser.http.delete("/api/chat/chat-1", headers={"X-User": "ann"}).status_code
    assert 404 == browser.http.get("/api/chat/chat-1", headers={"X-User": "ann"}).status_code


def test_without_authorize_there_is_no_list(chat: Any) -> None:
    """Chats of people who are not told apart are not listed."""
    browser = chat(text_reply("Hello."))
    browser.send("Hi")
    assert 404 == browser.http.get("/api/chat").status_code


def test_other_sites(chat: Any) -> None:
    """A page of another site cannot use the chat with its visitor's cookies, unless it is named."""
    browser = chat(text_reply("Hello."), origins=["https://app.example.com"])
    body = {**browser.body(), "messages": [question("u0", "Hi")]}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://other.example.com"},
    ):
        assert 403 == browser.http.post("/api/chat", json=body, headers=headers).status_code
        assert 403 == browser.http.get("/api/chat/chat-1/events?prompt=Hi", headers=headers).status_code
    assert 415 == browser.http.post("/api/chat", data="{}", content_type="text/plain").status_code
    image = {"Accept": "image/avif,image/webp,*/*;q=0.8"}  # over plain HTTP it has neither Origin nor Sec-Fetch-Site
    assert 406 == browser.http.get("/api/chat/chat-1/events?prompt=Hi", headers=image).status_code
    assert not browser.server.requests
    named = {"Origin": "https://app.example.com", "Sec-Fetch-Site": "cross-site"}
    allowed = browser.http.options("/api/chat", headers=named)
    assert "POST" in allowed.headers["Access-Control-Allow-Methods"]
    response = browser.http.post("/api/chat", json=body, headers=named)
    assert (200, "https://app.example.com") == (response.status_code, response.headers["Access-Control-Allow-Origin"])
    assert 200 == browser.http.get("/api/chat/chat-1", headers={"Origin": "http://localhost"}).status_code


def test_what_cannot_be_taken(chat: Any) -> None:
    """Each is a 4xx that says what is wrong, and nothing is sent."""
    browser = chat(text_reply("Hello."))
    http = browser.http
    for body, status in (
        (b"{", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"id":"","messages":[{"id":"u","role":"user","parts":[{"type":"text","text":"x"}]}]}', 400),
        (b'{"id":"a\\u0000b","messages":[{"id":"u","role":"user","parts":[{"type":"text","text":"x"}]}]}', 400),
        (b'{"id":"x","messages":[{"id":"u","role":"system","parts":[{"type":"text","text":"x"}]}]}', 400),
        (b'{"id":"x","messages":[]}', 400),
        (b'{"id":"x","messages":' + b"[" * 500 + b"]" * 500 + b"}", 400),
        (
            b'{"id":"' + b"x" * 300 + b'","messages":[{"id":"u","role":"user","parts":[{"type":"text","text":"x"}]}]}',
            400,
        ),
        (
            b'{"id":"x","messages":[{"id":"u","role":"user","parts":[{"type":"text","text":"x"}]}],"messageId":"nope"}',
            409,
        ),
    ):
        response = http.post("/api/chat", data=body, content_type="application/json")
        assert status == response.status_code, (body[:80], response.text)
        assert response.headers["Content-Type"].startswith("text/plain")
    assert 404 == http.get("/api/chat/unknown").status_code
    assert 204 == http.get("/api/chat/unknown/stream").status_code  # nothing is on its way
    assert 404 == http.post("/api/chat/unknown/stop").status_code
    assert 400 == http.get("/api/chat/x/events").status_code
    assert not browser.server.requests
    small = chat(text_reply("Hello."), limits=streamkit.web.formats.Limits(bytes=100))
    response = small.http.post("/api/chat", data=b"x" * 101, content_type="application/json")
    assert 413 == response.status_code


def events_of(body: bytes) -> list[tuple[str, str, str]]:
    found = []
    for block in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if fields:
            found.append((fields.get("id", ""), fields.get("event", "message"), fields.get("data", "")))
    return found


MODELS = ["openai/m", "openai/n"]


def asked_models(browser: Any) -> list[str]:
    return [request.json()["model"] for request in browser.server.requests]


def test_a_model_is_chosen(chat: Any) -> None:
    """A question, an edit and another reply ask the model that the client names; without a name the first is asked."""
    browser = chat(*[text_reply(word) for word in ("One.", "Two.", "Three.", "Four.")], model=None, models=MODELS)
    assert {"models": MODELS, "default": "openai/m"} == browser.http.get("/api/models").json
    browser.send("a")
    browser.messages.append(question("u2", "b"))
    assert "openai/n" == browser.post(model="openai/n")["metadata"]["model"]
    same(browser)
    del browser.messages[-1]
    browser.post(trigger="regenerate-message", model="openai/m")
    browser.messages[0:] = [question("u0", "c")]
    browser.post(messageId="u0", model="openai/n")
    same(browser)
    assert ["m", "n", "m", "n"] == asked_models(browser)


def test_the_default_of_several_models(chat: Any) -> None:
    """``model`` is asked where nothing is chosen, and so is what ``options_for`` says; null and "" choose nothing."""
    replies = [text_reply("Hi.") for _ in range(4)]
    browser = chat(*replies, model="openai/n", models=MODELS)
    browser.send("a")
    for none in (None, ""):
        browser.messages.append(question(f"u-{none}", "b"))
        browser.post(model=none)
    assert ["n", "n", "n"] == asked_models(browser)
    other = chat(server=browser.server, model="openai/n", models=MODELS, options_for=lambda *_: {"model": "openai/m"})
    other.id = "chat-2"
    other.send("a")
    assert "m" == asked_models(browser)[-1]
    assert "openai/m" == other.http.get("/api/models").json["default"]


@pytest.mark.parametrize(
    ("wrong", "status"), [("openai/other", 403), ("OPENAI/M", 403), ("openai/m ", 403), (5, 400), (["openai/m"], 400)]
)
def test_a_model_that_is_not_among_them(chat: Any, wrong: Any, status: int) -> None:
    """It is refused before anything is asked or stored, and its name is not repeated."""
    browser = chat(text_reply("Hi."), models=MODELS)
    browser.messages = [question("u0", "a")]
    refused = browser.http.post("/api/chat", json=browser.body(model=wrong))
    assert (status, "text/plain") == (refused.status_code, refused.mimetype)
    assert "other" not in refused.text
    assert 404 == browser.http.get("/api/chat/chat-1").status_code
    assert [] == list(browser.server.requests)


def test_the_models_of_an_owner(chat: Any) -> None:
    """A function says what each user may ask, anew for each request; who may ask none is refused."""
    may = {"ada": ["openai/m", "openai/n"], "bob": ["openai/n"], "eve": []}
    options: dict[str, Any] = {
        "authorize": lambda request: request.headers.get("X-User"),
        "models": lambda request, owner: may[owner],
        "model": "openai/m",
    }
    browser = chat(text_reply("Hi."), text_reply("Ho."), **options)
    ada, bob, eve = (UiClient(browser.http, f"of-{name}", **{"X-User": name}) for name in may)
    bob.send("a")
    ada.messages = [question("u0", "a")]
    ada.post(model="openai/n")
    assert ["n", "n"] == asked_models(browser)
    for user, wanted in ((bob, {"model": "openai/m"}), (eve, {}), (eve, {"model": "openai/m"})):
        body = {**user.body(**wanted), "messages": [question("u9", "b")]}
        assert 403 == browser.http.post("/api/chat", json=body, headers=user.headers).status_code
    assert 403 == browser.http.get("/api/models", headers=eve.headers).status_code
    assert 401 == browser.http.get("/api/models").status_code
    foreign = {**ada.headers, "Sec-Fetch-Site": "cross-site"}
    assert 403 == browser.http.get("/api/models", headers=foreign).status_code
    may["ada"] = ["openai/m"]
    assert ["openai/m"] == browser.http.get("/api/models", headers=ada.headers).json["models"]
    assert 2 == len(browser.server.requests)


def test_a_decision_goes_on_with_the_model_of_its_reply(chat: Any) -> None:
    """Whatever is chosen meanwhile; a name that is not offered is refused, and so is a model that is no more."""
    may = [*MODELS]
    replies = [tool_call_reply("refund", {"order": "A1"}), text_reply("Done.")]
    browser = chat(*replies, tools=TOOLS, models=lambda request, owner: may)
    browser.messages = [question("u0", "Refund A1")]
    part = browser.post(model="openai/n")["parts"][-1]
    part.update(state="approval-responded", approval={**part["approval"], "approved": True})
    assert 403 == browser.http.post("/api/chat", json=browser.body(model="openai/other")).status_code
    may.remove("openai/n")
    assert 403 == browser.http.post("/api/chat", json=browser.body()).status_code
    assert "suspended" == browser.history()["status"]
    may.append("openai/n")
    assert "Done." == browser.post(model="openai/m")["parts"][-1]["text"]
    assert ["n", "n"] == asked_models(browser)


def test_an_event_source_chooses_a_model(chat: Any) -> None:
    """``&model=`` names it; one that is not offered is refused, and a reply that is read again needs none."""
    browser = chat(text_reply("Hi."), models=MODELS)
    address = "/api/chat/chat-1/events"
    asked = {"prompt": "Hi", "message": "m1"}
    accepts = {"Accept": "text/event-stream"}
    refused = browser.http.get(address, query_string={**asked, "model": "openai/other"}, headers=accepts)
    assert 403 == refused.status_code
    assert [] == list(browser.server.requests)
    chosen = {**asked, "model": "openai/n"}
    ids = [
        line[4:]
        for line in browser.http.get(address, query_string=chosen, headers=accepts).text.splitlines()
        if line[:3] == "id:"
    ]
    assert ["n"] == asked_models(browser)
    again = browser.http.get(address, query_string=chosen, headers={**accepts, "Last-Event-ID": ids[0]})
    assert 200 == again.status_code
    assert 1 == len(browser.server.requests)


def test_without_models_a_name_is_passed_over(chat: Any) -> None:
    """Whatever the body names, the program's model is asked, and there is no list."""
    browser = chat(text_reply("Hi."), text_reply("Ho."))
    browser.messages = [question("u0", "a")]
    browser.post(model="openai/other")
    browser.messages.append(question("u1", "b"))
    browser.post(model=["no", "name"])
    assert ["m", "m"] == asked_models(browser)
    assert 404 == browser.http.get("/api/models").status_code


def test_models_with_a_pack(chat: Any) -> None:
    """A prompt of a pack is asked with the chosen model, and with its parameters of that model."""
    prompt = {
        "system_template": "Be brief.",
        "parameters": {"temperature": 0.5},
        "model_overrides": {"openai/n": {"parameters": {"temperature": 0.25}}},
    }
    pack = load_pack(json.dumps({"id": "p", "prompts": {"x": prompt}}))
    browser = chat(text_reply("Hi."), text_reply("Ho."), model=None, pack=pack, prompt="x", models=MODELS)
    browser.send("a")
    browser.messages.append(question("u1", "b"))
    browser.post(model="openai/n")
    asked = [request.json() for request in browser.server.requests]
    assert [("m", 0.5), ("n", 0.25)] == [(each["model"], each["temperature"]) for each in asked]
    assert "Be brief." == asked[1]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"models": "openai/m"}, "a list of names"),
        ({"models": []}, "empty"),
        ({"models": ["openai/m", 5]}, "5 is no name"),
        ({"models": {"openai/m": 1}}, "a list of names"),
        ({"models": ["openai/n"]}, "not among"),
    ],
)
def test_models_that_cannot_be(wrong: dict[str, Any], why: str) -> None:
    """A list that offers nothing, or not what is asked by default, is told at once."""
    with Server() as server, client_of(server) as client, pytest.raises(ConfigError, match=why):
        chat_blueprint(client, model=MODEL, **wrong)


def test_a_function_that_returns_no_models(chat: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It is the program's mistake: the log says which, the browser is told nothing."""
    browser = chat(models=lambda request, owner: "openai/m")
    answer = browser.http.get("/api/models")
    assert 500 == answer.status_code
    assert "openai" not in answer.text
    assert "must return a list of names" in caplog.text


def test_an_event_source(chat: Any) -> None:
    """It asks once. A connection that is lost goes on where it was, and after the end the browser is told to stop."""
    more = threading.Event()
    browser = chat(Reply([chunk_event("One"), WaitFor(more), *text_reply(" two").steps], framing="chunked"))
    address = "/api/chat/chat-1/events?prompt=Hi"
    first = browser.http.get(address)
    pieces = first.iter_encoded()
    seen = b""
    while b"One" not in seen:
        seen += next(pieces)
    first.close()
    got = events_of(seen)
    assert got[0][0].endswith(".0")  # before the first chunk, so that the question is never asked twice
    assert ".1" == got[1][0][-2:]
    again = browser.http.get(address)  # lost before anything was read
    goes_on = browser.http.get(address, headers={"Last-Event-ID": got[1][0]})
    more.set()
    rest = events_of(goes_on.data)
    assert '{"content":" two"}' in [data for _, _, data in rest]
    assert '{"content":"One"}' not in [data for _, _, data in rest]
    assert ("done", True) == (rest[-1][1], rest[-1][0].endswith(".end"))
    assert {"One", " two"} <= {data[12:-2] for _, _, data in events_of(again.data)}
    assert 204 == browser.http.get(address, headers={"Last-Event-ID": rest[-1][0]}).status_code
    assert 404 == browser.http.get(address, headers={"Last-Event-ID": "other.3"}).status_code
    assert 400 == browser.http.get(address, headers={"Last-Event-ID": "other.x"}).status_code
    assert 1 == len(browser.server.requests)
    twice = browser.http.get(address + "&message=m1"), browser.http.get(address + "&message=m1")
    assert all(200 == each.status_code and each.data for each in twice)
    assert 2 == len(browser.server.requests)


class Away(MemoryLog):
    """A log that cannot be reached in the middle of a reply, as often as it is told."""

    failures = 0

    def read(self, id: str, after: int = 0, *arguments: Any, **options: Any) -> Any:
        if after and self.failures:
            self.failures -= 1
            raise LogError("away", retryable=True)
        return super().read(id, after, *arguments, **options)


def test_a_crash_and_a_log_that_is_away(store: Any) -> None:
    """What a crash left is not settled by half of its log: the request fails, and the next one has all of it."""
    log = Away()
    dead = attrs.evolve(this_process(), pid=1, started="never")
    asked = Turn(Message("user", "Hi"), owner=dead, id="u0", stream_id="s0")
    store.save(ConversationState("c", [asked], MODEL), expected=0)
    lease = log.begin("s0")
    log.append(lease, [Record(1, write_chunk(Chunk("text", "One")))])
    with Client([]) as client:
        chat = Chat(lambda key, owner: client.conversation(MODEL, store=store, id=key, owner=owner), store, log)
        log.failures = 1
        with pytest.raises(LogError, match="away"):
            chat.history("c", "")
        log.append(lease, [Record(2, write_chunk(Chunk("text", " two")))])
        assert "One two" == chat.history("c", "")["messages"][1]["parts"][-1]["text"]
    kept = store.load("c")
    assert ("partial", "One two") == (kept.turns[0].state, kept.turns[0].answer[0].content)


def test_the_process_ends(store: Any) -> None:
    """Open replies are cancelled, and what came is kept."""
    from streamkit.web.formats import UiFormat

    log = MemoryLog()
    with Server(Reply([chunk_event("One"), Wait(60)], framing="chunked")) as server, client_of(server) as client:
        chat = Chat(lambda key, owner: client.conversation(MODEL, store=store, id=key, owner=owner), store, log)
        request = UiFormat.decode_request({"id": "c", "messages": [question("u0", "Hi")]})
        answer = chat.ask(request, "")
        assert "One" == answer.stream.recv(SOON).text
        chat.close()
        with pytest.raises(streamkit.StreamCancelledError):
            answer.stream.collect()
        assert "One" == chat.history("c", "")["messages"][1]["parts"][-1]["text"]
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("streamkit-reply")]


def test_too_many_replies(chat: Any) -> None:
    """A process has a bound of open replies, so that nobody fills it with replies that he leaves."""
    browser = chat(Reply([chunk_event("One"), Wait(60)], framing="chunked"), max_replies=1)
    first = browser.http.post("/api/chat", json={**browser.body(), "messages": [question("u0", "Hi")]}, buffered=False)
    second = browser.http.post("/api/chat", json={**browser.body(), "id": "b", "messages": [question("u0", "Hi")]})
    assert 503 == second.status_code
    browser.http.post("/api/chat/chat-1/stop")
    first.close()
    for thread in threading.enumerate():
        if thread.name.startswith("streamkit-reply"):
            thread.join(SOON)
    assert 404 == browser.http.get("/api/chat/b").status_code


class HeldStore(MemoryStore):
    """A store whose saves of a reply wait, while the test wants that."""

    def __init__(self) -> None:
        super().__init__()
        self.saving, self.may_save = threading.Event(), threading.Event()

    def save(self, state: Any, *, expected: int, first_changed: int = 0) -> int:
        if state.turns and state.turns[-1].state != "open":
            self.saving.set()
            assert self.may_save.wait(SOON)
        return super().save(state, expected=expected, first_changed=first_changed)


def test_at_the_moment_at_which_a_reply_ends(chat: Any) -> None:
    """While the whole reply is being saved it is still on its way: not failed, and not asked again."""
    store = HeldStore()
    browser = chat(text_reply("Hello there."), text_reply("Again."), store=store)
    body = {**browser.body(), "messages": [question("u0", "Hi")]}
    first = browser.http.post("/api/chat", json=body, buffered=False)
    assert store.saving.wait(SOON)
    assert ("streaming", 1) == (browser.history()["status"], len(browser.history()["messages"]))
    second = browser.http.post("/api/chat", json=body, buffered=False)
    resumed = browser.http.get("/api/chat/chat-1/stream", buffered=False)
    store.may_save.set()
    for response in (first, second, resumed):
        assert "Hello there." == message_of(parts_in(response.data))["parts"][-1]["text"]
    assert "Hello there." == browser.history()["messages"][1]["parts"][-1]["text"]
    assert 1 == len(browser.server.requests)


def left_open(store: Any, **owner: Any) -> Turn:
    """Save a chat with a turn that is open in another process."""
    other = attrs.evolve(owners.this_process(), **owner)
    turn = Turn(streamkit.user("Hi"), id="u0", stream_id="s", owner=other, asked_at=time.time())
    store.save(ConversationState("chat-1", [turn], MODEL), expected=0)
    return turn


def test_a_process_of_another_machine_dies(chat: Any, store: Any) -> None:
    """The log tells that the writer is lost, and the chat goes on, though the store cannot know."""
    log = MemoryLog(lease=0.05)
    browser = chat(text_reply("Hello."), text_reply("Fine."), store=store, log=log)
    left_open(store, host="another")
    assert "streaming" == browser.history()["status"]
    log.begin("s")
    while "lost" != log.status("s"):
        pass
    kept = browser.history()
    assert ("ready", "failed") == (kept["status"], kept["messages"][1]["metadata"]["state"])
    assert 204 == browser.http.get("/api/chat/chat-1/stream").status_code
    assert "Hello." == browser.send("Hi")["parts"][-1]["text"]
    browser.send("How are you?")
    same(browser)


def test_a_reply_that_another_process_could_not_save(chat: Any, store: Any) -> None:
    """Its end is in the log, and the chat goes on, though the process that asked lives."""
    log = MemoryLog()
    browser = chat(text_reply("Hello."), store=store, log=log)
    left_open(store, pid=os.getppid(), started=owners._started(os.getppid()))
    assert "streaming" == browser.history()["status"]
    publish(Scripted([DONE]), log, "s")
    assert "ready" == browser.history()["status"]
    assert "Hello." == browser.send("And now?", "u1")["parts"][-1]["text"]


class HeldLog(MemoryLog):
    """A log that is slow to begin with a reply."""

    def __init__(self) -> None:
        super().__init__()
        self.beginning, self.may_begin = threading.Event(), threading.Event()

    def begin(self, id: str) -> Any:
        self.beginning.set()
        assert self.may_begin.wait(SOON)
        return super().begin(id)


def test_a_question_is_sent_again_before_its_reply_is_written(chat: Any) -> None:
    """The store knows of a reply before the log does; the second request gets the first one's reply all the same."""
    log = HeldLog()
    browser = chat(text_reply("Hello."), log=log)
    body = {**browser.body(), "messages": [question("u0", "Hi")]}
    tasks = [Task(lambda: browser.http.post("/api/chat", json=body).data)]
    assert log.beginning.wait(SOON)
    tasks.append(Task(lambda: browser.http.post("/api/chat", json=body).data))
    tasks.append(Task(lambda: browser.http.get("/api/chat/chat-1/stream").data))
    until = time.monotonic() + SOON
    while sum(map(len, log._waiters.values())) < len(tasks):  # until all read
        assert time.monotonic() < until
    log.may_begin.set()
    for task in tasks:
        assert "Hello." == message_of(parts_in(task.result()))["parts"][-1]["text"]
    assert 1 == len(browser.server.requests)


def test_a_chat_is_deleted_before_its_reply_is_written(chat: Any) -> None:
    """The reply is stopped as soon as it begins."""
    log = HeldLog()
    browser = chat(Reply([chunk_event("One"), Wait(60)], framing="chunked"), log=log)
    body = {**browser.body(), "messages": [question("u0", "Hi")]}
    task = Task(lambda: browser.http.post("/api/chat", json=body).data)
    assert log.beginning.wait(SOON)
    assert 204 == browser.http.delete("/api/chat/chat-1").status_code
    log.may_begin.set()
    task.result()
    assert all(request.gone.wait(SOON) for request in browser.server.requests)
    assert 404 == browser.http.get("/api/chat/chat-1").status_code


class AwayLog(MemoryLog):
    """A log whose server is away."""

    def status(self, id: str) -> Any:
        raise streamkit.LogError("it cannot be reached", retryable=True)

    def begin(self, id: str) -> Any:
        raise streamkit.LogError("it cannot be reached", retryable=True)


def test_without_its_log_nobody_is_asked(chat: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A log that is away is a 503, and nothing is paid for."""
    caplog.set_level(logging.CRITICAL, "streamkit")
    browser = chat(text_reply("Hello."), log=AwayLog())
    body = {**browser.body(), "messages": [question("u0", "Hi")]}
    assert 503 == browser.http.post("/api/chat", json=body).status_code
    assert not browser.server.requests
    assert 404 == browser.http.get("/api/chat/chat-1").status_code


def test_no_thread_can_be_started(chat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a 503, and the question can be asked again."""
    browser = chat(text_reply("One."), text_reply("Two."))
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("streamkit-reply"):
            raise RuntimeError("can't start new thread")
        start(thread)

    body = {**browser.body(), "messages": [question("u0", "Hi")]}
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert 503 == browser.http.post("/api/chat", json=body).status_code
    assert "failed" == browser.history()["messages"][1]["metadata"]["state"]
    assert browser.send("Hi", "u0")["parts"][-1]["text"] in ("One.", "Two.")
    same(browser)
