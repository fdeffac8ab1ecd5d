"""Conversations: turns, failures, windows, files, and a store in memory, over real sockets."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import streamkit
from streamkit import (
    Client,
    ConfigError,
    Conversation,
    ImagePart,
    MemoryStore,
    Message,
    MisuseError,
    Rejected,
    Retry,
    StoreConflictError,
    StoreError,
    StreamError,
    Window,
    providers,
)
from streamkit.conversation.owners import over, this_process
from streamkit.conversation.turns import ConversationState, Turn, with_delivered
from streamkit.testing import Cut, Reply, Request, Server, WaitFor, error_reply, text_reply, tool_call_reply
from streamkit.validators import BannedWords
from streamkit.values.chunks import Chunk, ToolCallDelta, ToolResult
from tests.unit.support import SOON, Task

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def weather(city: str) -> str:
    """Tell the weather.

    Args:
        city: Where.
    """
    return f"rain in {city}"


@streamkit.tool(needs_approval=True)
def refund(order: str) -> str:
    """Refund an order."""
    return f"refunded {order}"


def sent(request: Request) -> list[dict[str, Any]]:
    return list(request.json()["messages"])


@pytest.fixture
def chat_with() -> Iterator[Callable[..., tuple[Conversation, Server]]]:
    """Make a conversation with a server that gives some replies, one after another."""
    servers: list[Server] = []
    clients: list[Client] = []

    def make(*replies: Reply | Callable[[Request], Reply], **options: Any) -> tuple[Conversation, Server]:
        server = Server(*replies) if len(replies) != 1 or not callable(replies[0]) else Server(replies[0])
        servers.append(server)
        server.__enter__()
        client = Client([providers.OpenAI(api_key="k", base_url=server.url)], retry=Retry(attempts=1))
        clients.append(client)
        return client.conversation("openai/m", **options), server

    yield make
    for client in clients:
        client.close()
    for server in servers:
        server.__exit__(None, None, None)


Make = Callable[..., tuple[Conversation, Server]]


def roles(chat: Conversation) -> list[str]:
    return [message.role for message in chat.messages]


def test_a_turn(chat_with: Make) -> None:
    """A turn sends the system prompt and the history, and changes the history when it has ended."""
    chat, server = chat_with(
        text_reply("One."), text_reply("Two."), system="You are {{who}}.", variables={"who": "Pip"}
    )
    for _ in chat.stream("First?"):
        assert [] == chat.messages
        assert "open" == chat.status
    assert ("idle", ["user", "assistant"]) == (chat.status, roles(chat))
    chat.variables["who"] = "Pop"
    assert "Two." == chat.send(["And ", ImagePart(PIXEL)]).text
    assert ["First?", "One."] == [message.content for message in chat.messages[:2]]
    assert {"role": "system", "content": "You are Pip."} == sent(server.requests[0])[0]
    assert "You are Pop." == sent(server.requests[1])[0]["content"]
    assert ["system", "user", "assistant", "user"] == [message["role"] for message in sent(server.requests[1])]


def test_tools_run_within_a_turn(chat_with: Make) -> None:
    """With tools a turn is a run; the calls and their results are in the history."""
    chat, server = chat_with(tool_call_reply("weather", {"city": "Oslo"}), text_reply("Rain."), tools=[weather])
    stream = chat.stream("Weather?")
    assert ["tool_result", "done"] == [chunk.type for chunk in stream if chunk.type in ("tool_result", "done")]
    assert 2 == len(stream.rounds)
    assert ["user", "assistant", "tool", "assistant"] == roles(chat)
    assert 36 == chat.usage.total_tokens
    assert "rain in Oslo" == sent(server.requests[1])[-1]["content"]


@pytest.mark.parametrize("on_failure", ["keep", "rollback"])
def test_a_turn_that_fails(chat_with: Make, on_failure: str) -> None:
    """What was delivered stays or goes, and the error is raised; without any text the turn is as if it had not been."""
    torn = text_reply("Once upon a time").first(3).then(Cut())
    chat, _ = chat_with(torn, error_reply(500), text_reply("Again."), on_failure=on_failure)
    with pytest.raises(StreamError) as caught:
        chat.send("Tell.")
    kept = [] if on_failure == "rollback" else ["Tell.", caught.value.partial.text]
    assert kept == [message.content for message in chat.messages]
    assert ["rolled back" if on_failure == "rollback" else "partial"] == [turn.state for turn in chat.turns]
    with pytest.raises(StreamError):
        chat.send("More?")
    assert kept == [message.content for message in chat.messages]
    assert ("rolled back", "More?") == (chat.turns[-1].state, chat.turns[-1].asked.content)
    assert "Again." == chat.retry().collect().text
    assert [*kept, "More?", "Again."] == [message.content for message in chat.messages]


def how_left(chat: Conversation, how: str) -> None:
    stream = chat.stream("Tell.")
    if how == "break":
        for chunk in stream:
            if chunk.text:
                break
        return
    while not next(stream).text:
        pass
    if how == "cancel":
        stream.cancel()
    elif how == "close":
        stream.close()
    del stream  # for "drop"


@pytest.mark.parametrize("how", ["break", "cancel", "close", "drop"])
def test_a_turn_that_is_left(chat_with: Make, how: str) -> None:
    """However a turn is left, what was delivered stays, and the next turn can begin."""
    gate = threading.Event()
    chat, _ = chat_with(text_reply("Once upon").first(2).then(WaitFor(gate)), text_reply("Yes."))
    how_left(chat, how)
    gate.set()
    assert ["Tell.", "Once"] == [message.content for message in chat.messages]
    assert "cancelled" == chat.turns[0].finish_reason
    assert "Yes." == chat.send("Still there?").text


@pytest.mark.parametrize("tools", [[], [weather]], ids=["stream", "run"])
def test_a_turn_tells_what_its_validators_found(chat_with: Make, tools: list[Any]) -> None:
    """``violations`` of the stream of a turn are those of the reply."""
    rule = BannedWords(["secret"], on_violation="report")
    chat, _ = chat_with(text_reply("It is a secret."), validators=[rule], tools=tools)
    stream = chat.stream("What is it?")
    assert () == stream.violations
    assert "It is a secret." == stream.collect().text
    assert [("banned_words", (8, 14))] == [(found.validator, found.span) for found in stream.violations]


def test_one_turn_at_a_time(chat_with: Make) -> None:
    """A second turn meanwhile is a MisuseError, in the same thread and in another; the first goes on."""
    chat, _ = chat_with(text_reply("One."), text_reply("Two."))
    stream = chat.stream("First?")
    for call in (lambda: chat.stream("Second?"), chat.undo, chat.clear, chat.fork, chat.retry):
        with pytest.raises(MisuseError, match="open"):
            call()
        with pytest.raises(MisuseError, match="open"):
            Task(call).result()
    assert "One." == stream.collect().text
    assert "Two." == chat.send("Second?").text


def test_a_question_that_cannot_be_sent(chat_with: Make) -> None:
    """A ConfigError leaves the conversation and its store as they were."""
    store = MemoryStore()
    chat, server = chat_with(text_reply("One."), store=store, system="You are {{who}}.")
    with pytest.raises(ConfigError, match="'who'"):
        chat.send("Hello")
    chat.variables["who"] = "Pip"
    with pytest.raises(ConfigError, match="tool_choice"):
        chat.send("Hello", tool_choice="required")
    for wrong in ("", " ", [], 3, [3], Message("assistant", "x")):
        with pytest.raises(ConfigError):
            chat.send(wrong)  # type: ignore[arg-type]
    assert () == chat.turns
    assert [] == list((store.load(chat.id) or chat.state).turns)
    assert not server.requests
    assert "One." == chat.send("Hello").text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "demo/assistant"}, "set conversation.model"),
        ({"messages": []}, "keeps the messages itself"),
        ({"system": "Be brief."}, "set conversation.system"),
        ({"window": None}, "argument of client.conversation"),
        ({"store": MemoryStore()}, "argument of client.conversation"),
    ],
)
def test_arguments_that_are_not_of_a_turn(chat_with: Make, options: dict[str, Any], said: str) -> None:
    """They are refused before anything is sent, with what to do instead."""
    chat, server = chat_with(text_reply("One."), tools=[refund])
    with pytest.raises(ConfigError, match=f"is not an argument of a turn: .*{said}"):
        chat.send("Hello", **options)
    assert (0, [], "idle") == (len(server.requests), chat.messages, chat.status)


def test_names_of_other_libraries(chat_with: Make) -> None:
    """An attribute that it does not have says what to use, where that is known."""
    chat, _ = chat_with(text_reply("One."))
    with pytest.raises(AttributeError, match=r"'history': it is conversation\.messages here"):
        chat.history  # noqa: B018
    assert not hasattr(chat, "nonsense")


def test_undo_clear_and_fork(chat_with: Make) -> None:
    """Turns are taken back, forks go their own way, and usage counts all that was asked."""
    chat, _ = chat_with(*[text_reply(f"{number}.", usage=True) for number in range(1, 5)])
    chat.send("a")
    once = chat.usage.total_tokens
    chat.send("b")
    assert once is not None
    twin = chat.fork("twin")
    undone = chat.undo()
    assert ("b", ["1."]) == (undone.asked.content, [m.content for m in chat.messages if m.role == "assistant"])
    assert 2 * once == chat.usage.total_tokens
    twin.send("c")
    assert (["a", "1."], ["a", "1.", "b", "2.", "c", "3."]) == (
        [message.content for message in chat.messages],
        [message.content for message in twin.messages],
    )
    chat.clear()
    assert ([], 2 * once) == (chat.messages, chat.usage.total_tokens)
    for call in (chat.undo, chat.retry):
        with pytest.raises(MisuseError, match="no turn"):
            call()


def test_a_turn_that_waits(chat_with: Make) -> None:
    """A suspended turn waits; another program goes on with it from the store, and nobody twice."""
    store = MemoryStore()
    replies = tool_call_reply("refund", {"order": "A1"}), text_reply("Done.")
    chat, server = chat_with(*replies, tools=[refund], store=store, id="x")
    assert "tool_calls" == chat.send("Refund A1").finish_reason
    assert ("suspended", []) == (chat.status, chat.messages)
    with pytest.raises(MisuseError, match="resume"):
        chat.send("Hello?")
    client = Client([providers.OpenAI(api_key="k", base_url=server.url)])
    other = client.conversation("openai/m", tools=[refund], store=store, id="x")
    waiting = other.suspension
    assert waiting is not None
    assert "Done." == other.resume({waiting.waiting[0].id: True}).collect().text
    assert ["user", "assistant", "tool", "assistant"] == roles(other)
    with pytest.raises(StoreConflictError, match="resumed before"):
        chat.resume({waiting.waiting[0].id: True})
    chat.refresh()
    assert other.messages == chat.messages
    client.close()


def test_a_decision_against_and_undo(chat_with: Make) -> None:
    """A rejected call is told to the model; a turn that waits can be taken back."""
    call = tool_call_reply("refund", {"order": "A1"})
    chat, server = chat_with(call, text_reply("All right."), call, tools=[refund])
    chat.send("Refund A1")
    assert chat.suspension is not None
    chat.resume({chat.suspension.waiting[0].id: Rejected("too old")}).collect()
    assert "too old" in sent(server.requests[1])[-1]["content"]
    chat.send("Refund it!")
    assert "suspended" == chat.status
    chat.undo()
    assert ("idle", 4) == (chat.status, len(chat.messages))
    with pytest.raises(MisuseError, match="no turn"):
        chat.resume({})


def test_a_call_without_tools(chat_with: Make) -> None:
    """A model that calls a tool where there are none leaves a history that providers take: the call has a result."""
    chat, server = chat_with(tool_call_reply("weather", {"city": "Oslo"}, text="Let me see."), text_reply("Rain."))
    chat.send("Weather?")
    assert ["user", "assistant", "tool"] == roles(chat)
    chat.send("And?")
    assert "no tools here" in sent(server.requests[1])[2]["content"]


def test_an_owner(chat_with: Make) -> None:
    """A conversation of one owner is not opened for another; whoever names none, such as an administrator, may."""
    store = MemoryStore()
    chat, _ = chat_with(text_reply("One."), store=store, id="x", owner="alice")
    chat.send("Hello")
    open_again = chat._client.conversation  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="another owner"):
        open_again("openai/m", store=store, id="x", owner="bob")
    for owner in ("alice", ""):
        assert chat.messages == open_again("openai/m", store=store, id="x", owner=owner).messages
    assert (["x"], []) == ([entry.id for entry in store.list(owner="alice")], list(store.list(owner="bob")))


# windows


def test_a_window_of_turns(chat_with: Make) -> None:
    """Only the last turns are sent, calls with their results, and the system prompt; everything is kept."""
    replies = [tool_call_reply("weather", {"city": "Oslo"}), text_reply("Rain."), *[text_reply("Yes.")] * 4]
    chat, server = chat_with(*replies, system="Be kind.", window=Window(turns=2), tools=[weather])
    for question in ("Weather?", "a", "b", "c"):
        chat.send(question)
    told = [[message["content"] for message in sent(request)] for request in server.requests]
    assert ["Be kind.", "Weather?", None, "rain in Oslo", "Rain.", "a", "Yes.", "b"] == told[3]
    assert ["Be kind.", "a", "Yes.", "b", "Yes.", "c"] == told[4]
    assert 10 == len(chat.messages)


def test_a_window_of_tokens(chat_with: Make) -> None:
    """Turns count as the provider counted them, where two requests began alike, and else as estimated."""
    usage = [{"prompt_tokens": 10 + 100 * n, "completion_tokens": 10, "total_tokens": 20 + 100 * n} for n in range(4)]
    chat, server = chat_with(*[text_reply("Yes.", usage=each) for each in usage], text_reply("Yes."))
    for question in "abcd":
        chat.send(question)
    assert [None, 100, 100, 100] == [turn.tokens for turn in chat.turns]
    for tokens, expected in ((150, ["d", "Yes."]), (310, ["b", "Yes.", "c", "Yes.", "d", "Yes."])):
        windowed = chat.fork()
        windowed._window = Window(tokens=tokens)
        windowed.send("e")
        assert [*expected, "e"] == [message["content"] for message in sent(server.requests[-1])]


def test_a_summary_is_made_once(chat_with: Make) -> None:
    """What falls out of the window is summarised, half of it at a time, and the summary is sent and kept."""

    def answer(request: Request) -> Reply:
        asked = sent(request)[-1]["content"]
        return text_reply("They greeted.", usage=True) if "Summarise" in asked else text_reply("Yes.", usage=True)

    chat, server = chat_with(answer, system="Be kind.", window=Window(turns=4, summarise="openai/small"))
    for number in range(9):
        chat.send(f"q{number}")
    asked = [sent(request) for request in server.requests]
    summaries = [number for number, messages in enumerate(asked) if "Summarise" in messages[-1]["content"]]
    assert 2 == len(summaries)
    assert "small" == server.requests[summaries[0]].json()["model"]
    first = asked[summaries[0] + 1]
    assert "Be kind.\n\nSummary of the conversation before:\nThey greeted." == first[0]["content"]
    assert ["q3", "Yes.", "q4", "Yes.", "q5"] == [message["content"] for message in first[1:]]
    again = Conversation(chat._client, ConversationState.from_json(chat.state.to_json()), options={})
    assert (chat.usage, chat.state.summary) == (again.usage, again.state.summary)


def test_a_summary_of_nothing(chat_with: Make) -> None:
    """A model that writes no summary does not make the turns go: they are sent as far as the window allows."""

    def answer(request: Request) -> Reply:
        return text_reply("" if "Summarise" in sent(request)[-1]["content"] else "Yes.")

    chat, server = chat_with(answer, window=Window(turns=2, summarise="openai/small"))
    for number in range(4):
        chat.send(f"q{number}")
    assert chat.state.summary is None
    assert ["q2", "Yes.", "q3"] == [message["content"] for message in sent(server.requests[-1])]


@pytest.mark.parametrize("wrong", [{"turns": 0}, {"tokens": -1}, {"turns": True}, {"summarise": "m"}, {"summarise": 3}])
def test_impossible_windows(wrong: dict[str, Any]) -> None:
    """A window of nothing is refused."""
    with pytest.raises(ConfigError):
        Window(**wrong)


# files


def test_a_file(chat_with: Make, tmp_path: Path) -> None:
    """A conversation comes out of its file as it was; the file is for its user alone and is replaced as a whole."""
    chat, server = chat_with(
        tool_call_reply("weather", {"city": "Oslo"}), text_reply("Rain."), text_reply("Yes."), tools=[weather],
        system="You are {{who}}.", variables={"who": "Pip"}, temperature=0.5, extra_headers={"X-Key": "secret"},
    )  # fmt: skip
    chat.send("Weather?")
    path = tmp_path / "chat.json"
    path.write_text("old")
    chat.save(path)
    assert ([path], 0o600) == (list(tmp_path.iterdir()), path.stat().st_mode & 0o777)
    assert "secret" not in path.read_text()
    again = Conversation.load(path, client=chat._client, tools=[weather])
    assert (chat.messages, chat.usage, chat.id) == (again.messages, again.usage, again.id)
    again.send("And?")
    assert (0.5, "You are Pip.") == (server.requests[2].json()["temperature"], sent(server.requests[2])[0]["content"])


def test_files_that_are_none(chat_with: Make, tmp_path: Path) -> None:
    """A newer version, or anything else, is refused with a clear error that names the file."""
    chat, _ = chat_with(text_reply("One."))
    chat.send("a")
    path = tmp_path / "chat.json"
    shape = json.loads(chat.state.to_json())
    texts = [
        "",
        "{}",
        "[]",
        "null",
        "nonsense",
        json.dumps({**shape, "turns": 3}),
        json.dumps({**shape, "spent": None}),
    ]
    for text in texts:
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"chat\.json is no conversation"):
            Conversation.load(path, client=chat._client)
    path.write_text(json.dumps({**shape, "format": 99}))
    with pytest.raises(ConfigError, match="newer version"):
        Conversation.load(path, client=chat._client)


# stores


def test_the_question_is_saved_before_it_is_sent(chat_with: Make) -> None:
    """A store has an open turn while the reply is on its way, and the whole turn afterwards."""
    store = MemoryStore()
    chat, _ = chat_with(text_reply("One."), store=store, id="x")
    stream = chat.stream("First?")
    (turn,) = (store.load("x") or chat.state).turns
    assert ("open", "First?") == (turn.state, turn.asked.content)
    stream.collect()
    (turn,) = (store.load("x") or chat.state).turns
    assert ("complete", 2) == (turn.state, len(turn.messages))
    assert ["First?"] == [entry.title for entry in store.list()]
    assert [] == list(store.list(owner="alice"))
    assert (True, None, False) == (store.delete("x"), store.load("x"), store.delete("x"))


def test_who_comes_second_gets_a_conflict(chat_with: Make) -> None:
    """A turn on top of somebody else's is refused before anything is sent; refresh() reads theirs."""
    store = MemoryStore()
    chat, server = chat_with(text_reply("One."), text_reply("Two."), store=store, id="x")
    other = chat._client.conversation("openai/m", store=store, id="x")  # type: ignore[attr-defined]
    chat.send("a")
    for call in (lambda: other.send("b"), other.clear):
        with pytest.raises(StoreConflictError, match="somebody else"):
            call()
    assert ([], 1) == (other.messages, len(server.requests))
    other.refresh()
    other.send("b")
    assert ["a", "One.", "b", "Two."] == [message.content for message in other.messages]


def test_a_title_is_that_of_the_first_question_that_was_sent(chat_with: Make) -> None:
    """A question that met a conflict gives none; refresh() reads the one in the store."""
    store = MemoryStore()
    chat, _ = chat_with(text_reply("One."), text_reply("Two."), store=store, id="x")
    other = chat._client.conversation("openai/m", store=store, id="x")  # type: ignore[attr-defined]
    chat.send("a")
    with pytest.raises(StoreConflictError):
        other.send("b")
    assert "" == other.title
    other.refresh()
    other.send("b")
    assert ("a", ["a"]) == (other.title, [entry.title for entry in store.list()])


def test_while_another_program_is_in_a_turn(chat_with: Make) -> None:
    """An open turn of a living program is left alone; one that a crash left is settled at the next load."""
    store, owner = MemoryStore(), this_process()
    chat, _ = chat_with(text_reply("One."), store=store, id="x")
    store.save(attrs.evolve(chat.state, turns=[Turn(Message("user", "Hello"), owner=owner)]), expected=0)
    chat.refresh()
    with pytest.raises(StoreConflictError, match="in the middle of a turn"):
        chat.send("b")
    over(owner)
    chat.refresh()
    assert ("rolled back", []) == (chat.turns[0].state, chat.messages)
    assert "One." == chat.retry().collect().text
    assert ["Hello", "One."] == [message.content for message in chat.messages]


def test_where_a_conversation_comes_from_is_kept() -> None:
    """The origin is kept with the rest, and keeps a conversation from going on without the prompt of its pack."""
    state = ConversationState("a", [], "openai/m", origin="shop.json#orders")
    assert "shop.json#orders" == ConversationState.from_json(state.to_json()).origin
    with Client() as client, pytest.raises(ConfigError, match=r"shop\.json#orders.*open_pack"):
        Conversation(client, state, options={})


def test_a_stop_event_ends_a_turn_for_the_next_one(chat_with: Make) -> None:
    """A turn that a stop event has ended, unseen by its consumer, is settled before anything else happens."""
    stop, cancelled = threading.Event(), threading.Event()
    chat, _ = chat_with(tool_call_reply("refund", {"order": "7"}), text_reply("Two."), tools=[refund])
    chat.send("First?")
    assert chat.suspension is not None
    stream = chat.resume({chat.suspension.waiting[0].id: Rejected("no")}, stop=stop)
    next(stream)
    stream.listen(cancelled.set)
    stop.set()
    while "open" == stream.status:
        cancelled.wait(0.01)
    assert "suspended" == chat.undo().state
    following = chat.stream("Second?")
    stream.close()
    assert ("open", [], 1) == (chat.status, chat.messages, len(chat.turns))
    assert "Two." == following.collect().text
    assert ["Second?", "Two."] == [message.content for message in chat.messages]


def test_a_stop_event_ends_a_run_for_the_next_turn(chat_with: Make) -> None:
    """After a run that a stop event has ended, unseen by its consumer, the next turn can be asked."""
    stop = threading.Event()
    chat, _ = chat_with(tool_call_reply("weather", {"city": "Oslo"}), text_reply("Two."), tools=[weather])
    stream = chat.stream("First?", stop=stop)
    next(stream)
    stop.set()
    while "open" == stream.status:
        stop.wait(0.01)
    assert "Two." == chat.send("Second?").text
    assert "complete" == chat.turns[1].state
    assert chat.turns[0].state in ("partial", "rolled back")


def test_the_state_can_be_read_while_a_retry_waits_for_a_summary(chat_with: Make) -> None:
    """No lock is held while a model writes the summary that ``retry`` needs."""
    asked, go_on = threading.Event(), threading.Event()

    def reply(request: Request) -> Reply:
        if "Summarise" not in str(sent(request)[-1]["content"]):
            return text_reply("Fine.")
        asked.set()
        go_on.wait(SOON)
        return text_reply("Short.")

    chat, _ = chat_with(reply, window=Window(turns=2, summarise="openai/s"))
    chat._window = None
    for question in ("One?", "Two?", "Three?", "Four?"):
        chat.send(question)
    chat._window = Window(turns=2, summarise="openai/s")
    retried = Task(lambda: chat.retry().collect().text)
    assert asked.wait(SOON)
    try:
        assert "open" == Task(lambda: chat.status).result()
    finally:
        go_on.set()
    assert "Fine." == retried.result()


class FullStore(MemoryStore):
    """A store that can be full."""

    full = False

    def save(self, state: ConversationState, *, expected: int, first_changed: int = 0) -> int:
        """Refuse when full."""
        if self.full:
            raise StoreError("no space left")
        return super().save(state, expected=expected, first_changed=first_changed)


def test_ctrl_c_is_not_replaced_by_an_error_of_the_store(chat_with: Make) -> None:
    """Where a turn cannot be saved that Ctrl-C ended, Ctrl-C is still what the program gets."""
    store = FullStore()
    chat, _ = chat_with(text_reply("One two three."), store=store)
    stream = chat.stream("First?")
    next(stream)
    store.full = True
    with pytest.raises(KeyboardInterrupt), stream:
        raise KeyboardInterrupt
    assert ("cancelled", "idle", ["user", "assistant"]) == (stream.status, chat.status, roles(chat))
    store.full = False
    chat.send("Second?")
    kept = store.load(chat.id)
    assert kept is not None
    assert ["partial", "complete"] == [turn.state for turn in kept.turns]


def test_tokens_of_reasoning_are_in_no_later_request(chat_with: Make) -> None:
    """What a model used for reasoning is not taken from the tokens of the next turn."""
    usage = {"prompt_tokens": 10, "completion_tokens": 920, "completion_tokens_details": {"reasoning_tokens": 900}}
    chat, _ = chat_with(
        text_reply("One.", usage=usage),
        text_reply("Two.", usage={"prompt_tokens": 40, "completion_tokens": 1000}),
    )
    chat.send("First?")
    chat.send("Second?")
    assert [(30, None), (1040, 1010)] == [(turn.context, turn.tokens) for turn in chat.turns]


def test_a_turn_without_the_tools_of_its_conversation(chat_with: Make) -> None:
    """``tools=[]`` asks one turn without tools, and sends no empty list, which providers refuse."""
    chat, server = chat_with(text_reply("Yes."), tools=[weather])
    assert "Yes." == chat.send("Hello?", tools=[]).text
    assert "tools" not in server.requests[0].json()


def test_what_is_known_of_a_reply_that_a_crash_left() -> None:
    """Its text and the calls with results stay, as every provider accepts them; without any it is rolled back."""
    done = ToolResult("c1", "weather", "rain")
    calls = [
        Chunk("tool_call", tool_call=ToolCallDelta(place, f"c{place + 1}", "weather", '{"city": "Oslo"}'))
        for place in range(2)
    ]
    first = [Chunk("reasoning", reasoning="Hm."), Chunk("text", "Let me see."), *calls]
    chunks = [*first, Chunk("tool_result", tool_result=done), Chunk("text", "It rai", round=1)]
    open_turn = Turn(Message("user", "Weather?"), owner=attrs.evolve(this_process(), pid=1, started="never"))
    for delivered, state, texts in ((chunks, "partial", ["Let me see.", "rain", "It rai"]), ([], "rolled back", [])):
        store = MemoryStore()
        store.save(ConversationState("a", [open_turn], "demo/storyteller"), expected=0)
        chat = Client().conversation("demo/storyteller", store=store, id="a")
        assert chat.crashed
        chat.recover(delivered)
        assert not chat.crashed
        kept = store.load("a")
        assert kept is not None
        turn = kept.turns[0]
        assert (state, texts) == (turn.state, [message.content for message in turn.answer])
        if delivered:
            assert ["c1"] == [call.id for call in turn.answer[0].tool_calls]
            assert ("Hm.", "") == turn.reasoning
            assert "complete" == with_delivered(open_turn, chunks, whole=True).state
