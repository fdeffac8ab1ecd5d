"""A conversation beside a plain model of it: any order of turns, failures, decisions, forks, files and crashes."""

from __future__ import annotations

import copy
import json
from typing import Any

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import streamkit
from streamkit import Client, Conversation, MemoryStore, Message, Retry, StreamError, providers
from streamkit.conversation.owners import over
from streamkit.conversation.turns import ConversationState
from streamkit.testing import Cut, Reply, Request, Reset, Server, error_reply, text_reply, tool_call_reply
from tests.tool_cases import rules

FAMILIES = rules.FAMILIES
WORDS = "One two three four five."


def weather(city: str) -> str:
    """Tell the weather."""
    if city == "Nowhere":
        raise LookupError("no such city")
    return "" if city == "Blank" else f"rain in {city}"


@streamkit.tool(needs_approval=True)
def refund(order: str) -> str:
    """Refund an order."""
    return f"refunded {order}"


REPLIES: dict[str, list[Reply]] = {
    "text": [text_reply(WORDS)],
    "empty": [text_reply("")],
    "torn": [text_reply(WORDS).first(4).then(Cut())],
    "reset at once": [Reply([Reset()])],
    "refused": [error_reply(401)],
    "call": [tool_call_reply("weather", {"city": "Oslo"}, text="Let me see."), text_reply("Rain.")],
    "two calls": [tool_call_reply("weather", {"city": "Nowhere"}, ("weather", {"city": "Blank"})), text_reply("Well.")],
    "wrong call": [tool_call_reply("wether", '{"city": 3}'), text_reply("Sorry.")],
    "cut call": [tool_call_reply("weather", '{"city": "Os', finish_reason="length"), text_reply("Cut.")],
    "torn after a call": [tool_call_reply("weather", {"city": "Rome"}), text_reply(WORDS).first(3).then(Cut())],
    "torn in a call": [tool_call_reply("weather", {"city": "Rome"}, text="Let me.").first(4).then(Cut())],
    "approval": [tool_call_reply("refund", {"order": "A1"}, ("weather", {"city": "Oslo"})), text_reply("Done.")],
}


def bridged(messages: list[Message]) -> list[dict[str, Any]]:
    """Return what an adapter makes of a history: the two things that only the copy that is sent can have."""
    shapes: list[dict[str, Any]] = []
    for message in messages:
        shape = copy.deepcopy(message.to_dict())
        shape.pop("provider_data", None)
        for call in shape.get("tool_calls", ()):
            try:
                whole = isinstance(json.loads(call["function"]["arguments"]), dict)
            except ValueError:
                whole = False
            call["function"]["arguments"] = call["function"]["arguments"] if whole else "{}"
        if shapes and (shapes[-1]["role"], shape["role"]) == ("tool", "user"):
            shapes.append({"role": "assistant", "content": "OK."})
        shapes.append(shape)
    return shapes


class Machine(RuleBasedStateMachine):
    """The model: for each turn its question, and the messages that came of it."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: dict[str, list[Reply]] = {}  # by question
        self.server = Server(self.answer)
        self.server.__enter__()
        self.client = Client([providers.OpenAI(api_key="k", base_url=self.server.url)], retry=Retry(attempts=1))
        self.store = MemoryStore()
        self.turns: list[tuple[str, list[str]]] = []  # questions, and the texts of the answers
        self.waits = False
        self.asked = 0
        self.last = ""  # the question of the last turn, also of one that was rolled back
        self.total = 0

    def answer(self, request: Request) -> Reply:
        """Return the reply by the question, as a request of a turn that was left may come late."""
        messages = request.json()["messages"]
        asked = max(number for number, message in enumerate(messages) if message["role"] == "user")
        round = sum(message["role"] == "assistant" for message in messages[asked:])
        return self.scripts[messages[asked]["content"]][round]

    def teardown(self) -> None:
        self.client.close()
        self.server.__exit__(None, None, None)

    @initialize(on_failure=st.sampled_from(["keep", "rollback"]), stored=st.booleans())
    def begin(self, on_failure: Any, stored: bool) -> None:
        self.keeps = on_failure == "keep"
        self.options: dict[str, Any] = {"tools": [weather, refund], "on_failure": on_failure}
        store = self.store if stored else None
        self.chat = self.client.conversation("openai/m", system="Be kind.", store=store, id="a", **self.options)

    def question(self, kind: str) -> str:
        self.asked += 1
        question = f"question {self.asked}"
        self.scripts[question] = REPLIES[kind]
        return question

    def came(self, question: str, stream: streamkit.TurnStream) -> None:
        """Note what the program has seen of a turn."""
        self.last = question
        self.waits = stream.status == "suspended"
        texts = [message.content for message in stream.messages if message.role == "assistant"]
        answered = [str(text) for text in texts if text]
        if stream.status == "complete" or (self.keeps and stream.messages and not self.waits):
            self.turns.append((question, answered))

    @precondition(lambda self: not self.waits)
    @rule(kind=st.sampled_from(sorted(REPLIES)), again=st.booleans())
    def send(self, kind: str, again: bool) -> None:
        if again and self.chat.turns:
            if self.chat.turns[-1].counts:
                self.turns.pop()
            question = str(self.chat.turns[-1].asked.content)
            self.scripts[question] = REPLIES[kind]
            stream = self.chat.retry()
        else:
            question = self.question(kind)
            stream = self.chat.stream(question)
        try:
            for _ in stream:
                assert [message.content for message in self.chat.messages] == self.contents()
        except StreamError:
            pass
        self.came(question, stream)

    @precondition(lambda self: not self.waits)
    @rule(kind=st.sampled_from(["text", "call", "two calls", "torn"]), chunks=st.integers(0, 6), drop=st.booleans())
    def leave(self, kind: str, chunks: int, drop: bool) -> None:
        question = self.question(kind)
        stream = self.chat.stream(question)
        try:
            for _ in range(chunks):
                next(stream)
        except (StopIteration, StreamError):
            pass
        inner = stream._inner
        seen = stream if not drop else inner
        if drop:
            del stream
        else:
            stream.cancel()
        self.came(question, seen)  # type: ignore[arg-type]  # a Run has the same members

    @precondition(lambda self: self.waits)
    @rule(yes=st.sampled_from([True, False, None]))
    def resume(self, yes: bool | None) -> None:
        waiting = self.chat.suspension
        assert waiting is not None
        stream = self.chat.resume({waiting.waiting[0].id: yes})
        for _ in stream:
            pass
        self.came(self.last, stream)

    @precondition(lambda self: self.turns or self.waits)
    @rule()
    def undo(self) -> None:
        self.chat.undo()
        if self.waits:
            self.waits = False
        else:
            self.turns.pop()

    @rule()
    def clear(self) -> None:
        self.chat.clear()
        self.turns, self.waits = [], False

    @precondition(lambda self: not self.waits)
    @rule()
    def fork(self) -> None:
        self.chat = self.chat.fork()
        self.total = 0

    @rule()
    def save_and_load(self) -> None:
        state = ConversationState.from_json(self.chat.state.to_json())
        store = self.chat._store
        self.chat = Conversation(
            self.client, attrs.evolve(state, version=self.chat._version), options={"tools": [weather, refund]},
            store=store, on_failure=self.options["on_failure"],
        )  # fmt: skip
        self.chat._unsaved = 0  # the store knows nothing of what happened to it in a file

    @precondition(lambda self: not self.waits and self.chat._store is not None)
    @rule(chunks=st.integers(0, 4))
    def crash(self, chunks: int) -> None:
        """The process is gone in the middle of a turn: what the store has then is all that is left."""
        question = self.question("text")
        stream = self.chat.stream(question)
        for _ in range(chunks):
            next(stream)
        left = self.store.load(self.chat.id)
        assert left is not None
        over(left.turns[-1].owner)
        stream.cancel()  # only so that the test leaves nothing running; the other store knows nothing of it
        self.store = MemoryStore()
        self.store.save(attrs.evolve(left, turns=list(left.turns)), expected=0)
        self.chat = self.client.conversation("openai/m", store=self.store, id=self.chat.id, **self.options)
        self.last, self.total = question, 0
        assert ("rolled back", question) == (self.chat.turns[-1].state, self.chat.turns[-1].asked.content)

    def contents(self) -> list[Any]:
        return [message.content for message in self.chat.messages]

    @invariant()
    def is_what_the_model_says(self) -> None:
        if not hasattr(self, "chat"):
            return
        expected = [text for question, answers in self.turns for text in (question, *answers)]
        found = [m.content for m in self.chat.messages if m.role != "tool" and m.content]
        assert expected == found
        assert ("suspended" if self.waits else "idle") == self.chat.status

    @invariant()
    def usage_only_grows(self) -> None:
        if hasattr(self, "chat"):
            total = self.chat.usage.total_tokens or 0
            assert total >= self.total
            self.total = total

    @invariant()
    def every_provider_takes_the_history(self) -> None:
        if hasattr(self, "chat"):
            history = bridged([*self.chat.messages, Message("user", "And now?")])
            for family in FAMILIES:
                assert rules.accepts(family, history), (family, rules.judge(family, history), history)


Machine.TestCase.settings = settings(
    max_examples=50, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyOrder = Machine.TestCase
