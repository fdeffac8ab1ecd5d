"""Validators over real sockets: the model is left before the offending text shows, and any end of a stream works."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

import streamkit
from streamkit import (
    Completion,
    Observer,
    Report,
    Run,
    StopEvent,
    Stream,
    StreamTimeout,
    Timeout,
    TruncatedStreamError,
    ValidationError,
)
from streamkit.testing import Repeat, Reply, Server, Wait, chunk_event, text_reply, tool_call_reply
from streamkit.tools.claims import MemoryClaims
from streamkit.validators import BannedWords, Contains, JsonValid, MaxLength, MinLength, Validator, Verdict, validated
from tests.fault.support import NEVER, NOISE, SOON, client_of, join_readers, nothing_left
from tests.fault.test_cancel import PHASES, cancel_after, reply_for
from tests.fault.test_interrupts import interrupted_at

SECRET = BannedWords(["password"])
WITHHELD = BannedWords(["password"], on_violation="replace", replacement="[withheld]")


def endless(*pieces: str) -> Reply:
    """Return a reply that begins with these pieces and never ends."""
    return Reply([chunk_event("", role="assistant"), *map(chunk_event, pieces), Wait(None)])


class Told(Observer):
    def __init__(self) -> None:
        self.ended: list[Report] = []

    def stream_ended(self, report: Report) -> None:
        self.ended.append(report)


@pytest.mark.parametrize("rule", [SECRET, WITHHELD], ids=["raise", "replace"])
def test_the_model_is_left(rule: Validator) -> None:
    """As soon as the word is known the connection closes, before the consumer has taken what was allowed."""
    told = Told()
    with nothing_left(), Server(endless("My ", "pass", "word ", "is")) as server:
        with client_of(server, observers=[told]) as client:
            stream = client.stream("openai/m", "Hi", validators=[rule])
            assert isinstance(stream, Stream)
            assert "My " == next(stream).text
            if rule is SECRET:
                with pytest.raises(ValidationError):
                    next(stream)
            else:
                assert ["[withheld]", ""] == [chunk.text for chunk in stream]
            assert server.wait_for_requests(1)[0].gone.wait(0.1 + NOISE)
            assert [("cancelled", None)] == [(report.status, report.error) for report in told.ended]
            join_readers()


def test_complete() -> None:
    """complete() raises with what was allowed, or returns what was, and its replacement."""
    with Server(endless("My ", "password "), endless("My ", "password ")) as server, client_of(server) as client:
        with pytest.raises(ValidationError) as got:
            client.complete("openai/m", "Hi", validators=[SECRET])
        assert "My " == got.value.partial.text
        assert "My [withheld]" == client.complete("openai/m", "Hi", validators=[WITHHELD]).text


@pytest.mark.parametrize("rules", [[], [SECRET], [MinLength(1 << 30)]], ids=["none", "pass", "hold"])
@pytest.mark.parametrize("phase", PHASES)
def test_cancel_from_another_thread(phase: str, rules: list[Validator]) -> None:
    """cancel() ends the loop over a validated stream in every phase, also where all is held back."""
    ready = threading.Event()
    with nothing_left(), Server(reply_for(phase, ready)) as server, client_of(server) as client:
        cancel_after(server, client.stream("openai/m", "Hi", validators=rules), ready)


@pytest.mark.parametrize("how", ["stop event", "plain event", "client", "dropped", "close"])
def test_other_ways_to_end(how: str) -> None:
    """A stop event, closing the client and dropping the last reference end the stream inside too."""
    told = Told()
    stop: Any = {"stop event": StopEvent(), "plain event": threading.Event()}.get(how)
    with nothing_left(), Server(endless("My ", "pass")) as server, client_of(server, observers=[told]) as client:
        stream = client.stream("openai/m", "Hi", validators=[SECRET], stop=stop)
        assert "My " == next(stream).text
        if how == "client":
            client.close()
        elif how == "dropped":
            del stream
            gc.collect()
        elif how == "close":
            stream.close()
        else:
            stop.set()
        if how not in ("dropped", "close"):
            assert ([], "cancelled", "My ") == (list(stream), stream.status, stream.completion.text)
        assert server.wait_for_requests(1)[0].gone.wait(0.1 + NOISE)
        join_readers()
        assert ["cancelled"] == [report.status for report in told.ended]


def test_failures_of_the_stream_inside() -> None:
    """A truncated reply and a timeout are raised as they are, with what was delivered."""
    cut = text_reply("", pieces=["My ", "pass"], finish_reason=None, usage=False, done=False)
    with Server(cut, endless("My ", "pass")) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi", validators=[SECRET, MaxLength(100)])
        with pytest.raises(TruncatedStreamError) as got:
            stream.collect()
        assert ("My pass", "truncated") == (got.value.partial.text, stream.status)
        timeout = Timeout(connect=NEVER, first=NEVER, idle=0.3)
        stream = client.stream("openai/m", "Hi", validators=[Contains(["x"])], timeout=timeout)
        with pytest.raises(StreamTimeout) as late:
            stream.collect()
        assert ("", "timeout") == (late.value.partial.text, stream.status)


def test_one_chunk_at_a_time() -> None:
    """Text that is clean is seen while the server still waits to send the next."""
    with Server(endless("one ", "two ", "three ")) as server, client_of(server) as client:
        with client.stream("openai/m", "Hi", validators=[SECRET, MaxLength(1000)]) as stream:
            assert ["one ", "two ", "three "] == [stream.recv(timeout=SOON).text for _ in range(3)]


def test_a_flood_of_which_nothing_may_be_seen() -> None:
    """recv(timeout=...) gives up also while chunks keep coming."""
    with nothing_left(), Server(Reply([Repeat(chunk_event("Hello"))])) as server, client_of(server) as client:
        with client.stream("openai/m", "Hi", validators=[MinLength(1 << 60)]) as stream:
            with pytest.raises(streamkit.RecvTimeout):
                stream.recv(timeout=0.2)
            assert "open" == stream.status


def test_a_reply_that_may_call_tools() -> None:
    """Text before the calls of a reply is no answer, whoever makes the calls; without tools it fails at once."""
    tool: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    with Server(asks("I look it up."), asks("I look it up.")) as server, client_of(server) as client:
        completion = client.complete("openai/m", "Hi", tools=[tool], validators=[JsonValid()])
        assert ("I look it up.", "look") == (completion.text, completion.tool_calls[0].name)
        with pytest.raises(ValidationError):
            client.complete("openai/m", "Hi", validators=[JsonValid()])


def test_response_and_stats() -> None:
    """They are those of the stream inside."""
    with Server(text_reply("Hello world")) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi", validators=[SECRET])
        completion = stream.collect()
        assert stream.response is not None
        assert 200 == stream.response.status
        assert (1, "openai", "Hello world") == (stream.stats.attempts, completion.provider, completion.text)
        assert completion.usage.output_tokens


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child() -> None:
    """A child cannot use its copy, can look at it, and leaves the parent's alone."""
    with Server(endless("My ", "dog ")) as server, client_of(server) as client:
        with client.stream("openai/m", "Hi", validators=[SECRET]) as stream:
            next(stream)
            pid = os.fork()
            if pid == 0:
                try:
                    stream.recv()
                except streamkit.MisuseError:
                    os._exit(0 if stream.inherited and stream.completion.text == "My " else 1)
                os._exit(2)
            assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert "dog " == next(stream).text


@pytest.mark.parametrize("by_signals", [True, False])
def test_an_interrupt_anywhere(by_signals: bool) -> None:
    """Ctrl-C at any point of it: what was taken is the beginning of the reply, the completion agrees, nothing leaks."""
    words = ["my ", "pass", "port ", "pass", "word "]
    number, count = 1, [10**9]
    while number <= count[0]:
        taken: list[str] = []
        with Server(text_reply("", pieces=words)) as server, client_of(server) as client:
            stream = client.stream("openai/m", "Hi", validators=[SECRET])
            try:
                with interrupted_at(number, by_signals=by_signals) as count:
                    while (chunk := stream.take()) is not None:
                        taken.append(chunk.text)
            except (KeyboardInterrupt, ValidationError):
                pass
            text = stream.completion.text
            assert "my passport ".startswith("".join(taken))
            assert text.startswith("".join(taken))
            assert "my passport ".startswith(text)
            # Who goes on after an interrupt gets no more than is allowed, and never a reply with a gap.
            while stream.status == "open":
                try:
                    chunk = stream.take()
                except ValidationError:
                    break
                taken.append(chunk.text if chunk else "")
            assert "my passport ".startswith(stream.completion.text)
            stream.close()
        number += 1 + number // 3
    join_readers()


# -- runs -----------------------------------------------------------------------------------------------------


def look(word: str) -> str:
    """Look a word up."""
    return f"{word} is a word"


def asks(text: str) -> Reply:
    return tool_call_reply("look", {"word": "x"}, text=text)


def run_of(server: Server, rules: list[Validator], **options: Any) -> Run:
    return client_of(server).run("openai/m", "Hi", tools=[look], validators=rules, **options)


class TestRuns:
    def test_clean(self) -> None:
        """A validated run is a Run: rounds, messages and results are there as without validators."""
        with Server(asks("I look it up."), text_reply("Here it is: ok")) as server:
            plain = client_of(server).run("openai/m", "Hi", tools=[look])
            plain.collect()
        with Server(asks("I look it up."), text_reply("Here it is: ok")) as server:
            run = run_of(server, [SECRET, Contains(["ok"]), MaxLength(20)])
            assert isinstance(run, Run)
            completion = run.collect()
            assert ("Here it is: ok", "complete") == (completion.text, run.status)
            assert plain.messages == run.messages
            assert [each.text for each in plain.rounds] == [each.text for each in run.rounds]
            assert plain.completion.usage == completion.usage

    @pytest.mark.parametrize("rule", [SECRET, WITHHELD])
    def test_withheld_in_the_last_round(self, rule: Validator) -> None:
        """The history has what was shown, in place of what was withheld."""
        with nothing_left(), Server(asks("I look."), endless("The ", "password ", "is")) as server:
            run = run_of(server, [rule])
            shown = "The " if rule is SECRET else "The [withheld]"
            if rule is SECRET:
                with pytest.raises(ValidationError) as got:
                    run.collect()
                assert "The " == got.value.partial.text
            else:
                assert run.collect().complete
            assert ["I look.", "x is a word", shown] == [message.content for message in run.messages]
            assert ["I look.", shown] == [each.text for each in run.rounds]
            assert server.wait_for_requests(2)[1].gone.wait(0.1 + NOISE)

    def test_withheld_before_a_call_is_decided(self) -> None:
        """Text of a round whose end breaks a rule ends the run; its call is not asked for, the history has no word."""
        asked: list[str] = []
        with Server(asks("I look: password")) as server:
            run = run_of(server, [SECRET], approve=lambda call: asked.append(call.name))
            with pytest.raises(ValidationError):
                for chunk in run:
                    assert chunk.type not in ("tool_approval", "tool_result")
            assert not any("password" in str(message.content) for message in run.messages)
            assert "password" not in "".join(each.text for each in run.rounds)

    def test_approvals(self) -> None:
        """A call is decided in the body of the loop, and a suspended run goes on with validators."""
        tool = streamkit.tool(look, needs_approval=True)
        with Server(asks("I pass"), text_reply("Done, password")) as server, client_of(server) as client:
            run = client.run("openai/m", "Hi", tools=[tool], validators=[SECRET])
            for chunk in run:
                if chunk.type == "tool_approval" and chunk.tool_call:
                    assert "I pass" == run.completion.text
                    run.approve(chunk.tool_call.id)
                if chunk.type == "tool_result":
                    break
            assert "x is a word" in str(run.messages) or run.status == "cancelled"
        with Server(asks("I pass"), text_reply("Done, password")) as server, client_of(server) as client:
            run = client.run("openai/m", "Hi", tools=[tool], validators=[SECRET])
            run.collect()
            assert "suspended" == run.status
            suspension = run.suspension
            assert suspension is not None
            resumed = client.resume(
                suspension, {suspension.waiting[0].id: True}, tools=[tool], validators=[SECRET], claims=MemoryClaims()
            )
            with pytest.raises(ValidationError):
                resumed.collect()
            assert ["I pass", "x is a word", "Done, "] == [message.content for message in resumed.messages]

    @pytest.mark.parametrize("text", ["I look.", ""])
    def test_cancelled_with_text_held(self, text: str) -> None:
        """Held text of a run that is cancelled is neither in its completion nor in its history."""
        with nothing_left(), Server(endless(text, " pass")) as server:
            run = run_of(server, [SECRET])
            assert text + " " == next(run).text + ("" if not text else next(run).text)
            with pytest.raises(streamkit.RecvTimeout):
                run.recv(timeout=0.05)
            run.cancel()
            assert text + " " == run.completion.text
            assert [text + " "] * bool(text) == [message.content for message in run.messages]


def test_the_demo_models() -> None:
    """Without a key: the storyteller and the assistant, with validators that find nothing."""
    rules: list[Validator] = [BannedWords(["xyzzy"]), MaxLength(10_000)]
    story = streamkit.complete("demo/storyteller", "Tell me a story", validators=rules)
    assert story.complete
    with streamkit.Client() as client:
        run = client.run("demo/assistant", "Look up the word boat", tools=[look], validators=rules)
        assert run.collect().complete


def test_own_validator_errors_over_sockets() -> None:
    """What a validator raises comes out of complete(), and the model is left."""

    class Broken(Validator):
        def check(self, text: str, final: bool) -> Verdict:
            raise LookupError("mine")

    with nothing_left(), Server(endless("Hello")) as server, client_of(server) as client:
        with pytest.raises(LookupError, match="mine") as got:
            client.complete("openai/m", "Hi", validators=[Broken()])
        assert isinstance(getattr(got.value, "partial", None), Completion)
        assert server.wait_for_requests(1)[0].gone.wait(0.1 + NOISE)
        join_readers()


@pytest.mark.parametrize("make", [lambda stream: validated(stream, [JsonValid()])])
def test_wrapped_by_hand(make: Callable[[Stream], Stream]) -> None:
    """validated() does for any stream what the option does."""
    with Server(text_reply("", pieces=["[1, ", "2", "]"])) as server, client_of(server) as client:
        assert "[1, 2]" == make(client.stream("openai/m", "Hi")).collect().text
