"""`Recovery`: a reply that broke off goes on, within its stream."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamkit import (
    Chunk,
    Client,
    ConfigError,
    Observer,
    Recovery,
    Report,
    Retry,
    Route,
    ServerError,
    Timeout,
    TruncatedStreamError,
    UsageTracker,
    merge,
    providers,
)
from streamkit.policies.overlap import Overlap
from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Provider
from streamkit.providers.request.continuing import continuable, continuation_of, last_words
from streamkit.testing import (
    Cut,
    Reply,
    Request,
    Reset,
    Server,
    Wait,
    chunk_event,
    error_in_stream_reply,
    error_reply,
    reply_in,
    text_reply,
    tool_call_reply,
)
from tests.unit.support import SOON, split_at

WHOLE = "The quick brown fox jumps over a lazy dog, and then it naps until nine."
NO_LIMIT = Timeout(connect=None, first=None, idle=None)


def client_of(server: Server, *policies: Any, retry: int = 1, **options: Any) -> Client:
    made = [
        providers.OpenAI(api_key="k", base_url=server.url),
        providers.OpenAIResponses(api_key="k", base_url=server.url),
        providers.Mistral(api_key="k", base_url=server.url),
    ]
    return Client(made, retry=Retry(attempts=retry, backoff=0.001), policies=policies, **options)


# -- continue --------------------------------------------------------------------------------------------


def broken_then_continued(cuts: list[int], repeats: int, whole: str = WHOLE) -> Callable[[Request], Reply]:
    """Answer with a reply that is cut off after some characters; go on with it, with some characters once more."""
    left = iter(cuts)

    def answer(request: Request) -> Reply:
        messages = request.json()["messages"]
        had = messages[-2]["content"] if len(messages) > 1 else ""
        begin = max(0, len(had) - repeats) if had else 0
        cut = next(left, None)
        if cut is None:
            return text_reply(whole[begin:], pieces=[*whole[begin:]])
        pieces = [*whole[begin:cut]]
        return text_reply("", pieces=pieces).first(1 + len(pieces)).then(Cut())

    return answer


def ambiguous(whole: str, cut: int, repeats: int) -> bool:
    """Whether a text goes on with what it has ended with, so that this looks like a longer repetition."""
    begin = max(0, cut - repeats)
    return any(whole[start:cut] == whole[begin : begin + cut - start] for start in range(begin))


@pytest.mark.parametrize("repeats", [0, 1, 2, 3, 5, 8, 13, 21, len(WHOLE)])
def test_continued_after_every_cut(repeats: int) -> None:
    """Wherever a reply is cut, and however much of it the model repeats, the joined text is the whole."""
    cuts: list[list[int]] = []

    def answer(request: Request) -> Reply:
        messages = request.json()["messages"]
        return playing[int(messages[0]["content"])](request)

    for cut in range(1, len(WHOLE)):
        cuts.append([cut])
    playing = [broken_then_continued(each, repeats) for each in cuts]
    with Server(answer) as server, client_of(server, Recovery("continue")) as client:
        for number, (cut,) in enumerate(cuts):
            assert not ambiguous(WHOLE, cut, repeats)
            stream = client.stream("openai/m", str(number))
            chunks = list(stream)
            assert WHOLE == stream.text
            assert WHOLE == "".join(chunk.text for chunk in chunks)
            assert ["recovered"] == [chunk.type for chunk in chunks if chunk.type not in ("text", "done")]
            assert ("complete", 1, 2) == (stream.status, stream.stats.recovered, stream.stats.attempts)
            assert stream.completion.complete


@given(
    st.text("abcde .", max_size=12), st.text("abcde .", max_size=12), st.integers(0, 12), st.lists(st.integers(0, 12))
)
def test_overlap_is_removed(before: str, after: str, repeats: int, cuts: list[int]) -> None:
    """However the continuation is split, what it repeats is gone, where it can be told from what is new."""
    assume(not ambiguous(before + after, len(before), repeats))
    begin = max(0, len(before) - repeats)
    continued = (before + after)[begin:]
    overlap = Overlap(before, range(len(before)))
    shown = [overlap.add(piece) for piece in split_at(continued, cuts)]
    assert after == "".join(shown) + overlap.rest()


@given(st.text("ab", max_size=10), st.text("ab", max_size=10), st.lists(st.integers(0, 10)))
def test_overlap_does_not_depend_on_the_split(before: str, continued: str, cuts: list[int]) -> None:
    """The longest repetition is removed, however the continuation is split; nothing else is."""
    overlap = Overlap(before, range(len(before)))
    shown = "".join(overlap.add(piece) for piece in split_at(continued, cuts)) + overlap.rest()
    longest = max(n for n in range(len(continued) + 1) if before.endswith(continued[:n]))
    assert continued[longest:] == shown


def test_text_is_held_back_only_while_it_may_be_a_repetition() -> None:
    """A piece shows as soon as no longer repetition is possible."""
    overlap = Overlap("The cat sat on the ", range(19))
    assert "" == overlap.add("t")
    assert "" == overlap.add("he")
    assert "mat" == overlap.add(" mat")
    assert overlap.decided
    assert " the " == overlap.add(" the ")


def test_what_is_held_back_comes_at_the_end() -> None:
    """A continuation that is nothing but a beginning of a repetition is not lost."""
    replies = [text_reply("", pieces=["one ", "two ", "three "]).first(4).then(Cut()), text_reply("one")]
    with Server(*replies) as server, client_of(server, Recovery("continue")) as client:
        stream = client.stream("openai/m", "Count")
        assert "one two three one" == stream.collect().text
        assert "stop" == stream.completion.finish_reason


def test_how_the_model_is_asked() -> None:
    """A model gets what came as its own message, and is asked to begin with its last words; fewer tokens are left."""
    answer = broken_then_continued([30], 10)
    with Server(answer) as server, client_of(server, Recovery("continue")) as client:
        client.complete("openai/m", "Tell me", max_tokens=100, temperature=0)
        first, second = (request.json() for request in server.requests)
    assert [{"role": "user", "content": "Tell me"}] == first["messages"]
    assert first["messages"] == second["messages"][:1]
    assert {"role": "assistant", "content": WHOLE[:30]} == second["messages"][1]
    assert "user" == second["messages"][2]["role"]
    assert WHOLE[:30] in second["messages"][2]["content"]
    limits = [body.get("max_completion_tokens") or body.get("max_tokens") for body in (first, second)]
    assert limits[0] == 100 > limits[1] > 50
    assert 0 == second["temperature"]


def test_several_breaks() -> None:
    """A reply goes on as often as it may; then its error comes, with all that came."""
    with Server(broken_then_continued([10, 25, 40], 4)) as server:
        with client_of(server, Recovery("continue", attempts=3)) as client:
            stream = client.stream("openai/m", "Tell me")
            assert WHOLE == stream.collect().text
            assert (3, 4) == (stream.stats.recovered, stream.stats.attempts)
    with Server(broken_then_continued([10, 25, 40], 4)) as server:
        with client_of(server, Recovery("continue")) as client:
            stream = client.stream("openai/m", "Tell me")
            with pytest.raises(TruncatedStreamError) as caught:
                stream.collect()
            assert WHOLE[:40] == caught.value.partial.text == stream.text
            assert (2, 3, "truncated") == (stream.stats.recovered, stream.stats.attempts, stream.status)
            assert 1 == str(caught.value).count(" bytes")


BREAKS: dict[str, Reply] = {
    "truncated": text_reply("Hello there.").first(3).then(Cut()),
    "reset": text_reply("Hello there.").first(3).then(Reset()),
    "error in the stream": error_in_stream_reply(after="Hello there."),
    "silence": text_reply("Hello there.").first(3).then(Wait(300)),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_a_reply_off(name: str) -> None:
    """A cut, a reset, silence, and an error of the provider's in the middle are recovered from."""
    timeout = Timeout(connect=None, first=None, idle=0.2 if name == "silence" else None)
    with Server(BREAKS[name], text_reply("there. Bye.")) as server:
        with client_of(server, Recovery("continue"), timeout=timeout) as client:
            stream = client.stream("openai/m", "Hello")
            text = stream.collect().text
            assert text in ("Hello there. Bye.", "Hello there.there. Bye.")
            assert ("there. " in text, 1) == (True, stream.stats.recovered)


def not_continued() -> Iterator[tuple[str, Reply, dict[str, Any]]]:
    cut = text_reply("Hello there.").first(3).then(Cut())
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    yield "tools", cut, {"tools": [tool]}
    yield "a format", cut, {"response_format": {"type": "json_object"}}
    yield "several choices", cut, {"n": 2}
    yield "no tokens left", cut, {"max_tokens": 1}
    yield "a beginning", cut, {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "He"}]}
    yield "no text", text_reply("Hello.").first(1).then(Cut()), {}
    yield "calls", tool_call_reply("f", {"a": 1}).first(2).then(Cut()), {}
    yield "text and a call", text_reply("Hello there.").first(3).then(tool_call_reply("f", {}).steps[1], Cut()), {}
    yield "a refusal", text_reply("Hello there.").first(3).then(chunk_event(refusal="No"), Cut()), {}
    yield "too long", error_in_stream_reply(type="invalid_request_error", after="Hello"), {}


@pytest.mark.parametrize(("reply", "options"), [pytest.param(b, c, id=a) for a, b, c in not_continued()])
def test_what_is_not_continued(reply: Reply, options: dict[str, Any]) -> None:
    """What is no plain text, or has no text yet, ends with its error, as without the policy."""
    options = dict(options)
    messages = options.pop("messages", "Hello")
    told = []
    for policies in ([], [Recovery("continue")]):
        with Server(reply, text_reply("No.")) as server, client_of(server, *policies) as client:
            stream = client.stream("openai/m", messages, **options)
            with pytest.raises(Exception) as caught:
                stream.collect()
            error: Any = caught.value
            said = re.sub(r"127.0.0.1:\d+|after [\d.]+ s", "", str(error))
            told.append((type(error), said, error.partial, stream.status, len(server.requests)))
    assert told[0] == told[1]
    assert 1 == told[0][-1]


def test_a_request_to_go_on_that_fails() -> None:
    """It is sent again as `Retry` says; a refusal ends the reply with the error that broke it off, and says why."""
    cut = text_reply("Hello there.").first(3).then(Cut())
    with Server(cut, error_reply(503), text_reply("there. Bye.")) as server:
        with client_of(server, Recovery("continue"), retry=2) as client:
            stream = client.stream("openai/m", "Hello")
            assert "Hello there. Bye." == stream.collect().text
            assert (1, 3) == (stream.stats.recovered, stream.stats.attempts)
    with Server(cut, error_reply(400, "No such thing")) as server:
        with client_of(server, Recovery("continue"), retry=2) as client:
            stream = client.stream("openai/m", "Hello")
            with pytest.raises(TruncatedStreamError, match=r"could not be gone on with: .*No such thing") as caught:
                stream.collect()
            assert "Hello there." == caught.value.partial.text
            assert (0, 2, "truncated") == (stream.stats.recovered, stream.stats.attempts, stream.status)


class Ended(Observer):
    def __init__(self) -> None:
        self.reports: list[Report] = []

    def stream_ended(self, report: Report) -> None:
        self.reports.append(report)


def test_usage_is_summed_and_told_once() -> None:
    """The usage is that of both requests, in one report of one stream."""
    usage = {"prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18}
    told = text_reply("Hello there.").steps
    first = Reply([*told[:3], error_usage(usage), Cut()], framing="chunked")
    tracker, ended = UsageTracker(), Ended()
    with Server(first, text_reply("there. Bye.", usage=usage)) as server:
        with client_of(server, Recovery("continue"), observers=[tracker, ended]) as client:
            assert 36 == client.complete("openai/m", "Hello").usage.total_tokens
    assert (1, 36) == (tracker.totals().streams, tracker.totals().total_tokens)
    (report,) = ended.reports
    assert ("complete", 1, "Hello there. Bye.") == (report.status, report.stats.recovered, report.completion.text)


def error_usage(usage: dict[str, int]) -> bytes:
    """Return an event with the usage so far."""
    import json

    shape = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": usage}
    return f"data: {json.dumps(shape)}\n\n".encode()


def test_cancel_and_total_while_it_goes_on() -> None:
    """A cancel ends it at once, and `total` holds for all requests together."""
    cut = text_reply("Hello there.").first(3).then(Cut())
    with Server(cut, Reply([Wait(300)], framing="chunked")) as server:
        with client_of(server, Recovery("continue"), timeout=NO_LIMIT) as client:
            stream = client.stream("openai/m", "Hello")
            assert ["Hello", " there."] == [next(stream).text for _ in range(2)] or stream.text
            while len(server.requests) < 2:
                threading.Event().wait(0.001)
            stream.cancel()
            assert server.requests[1].gone.wait(SOON)
            assert "cancelled" == stream.status
        timeout = Timeout(connect=None, first=None, idle=None, total=0.5)
        with Server(cut, Reply([Wait(300)], framing="chunked")) as other:
            with client_of(other, Recovery("continue"), timeout=timeout) as client:
                stream = client.stream("openai/m", "Hello")
                with pytest.raises(TruncatedStreamError, match="not complete within"):
                    stream.collect()


def test_routes_and_merge() -> None:
    """The route that answered goes on; several streams at once go on as one does."""
    with Server(
        error_reply(500), *[text_reply("Hello there.").first(3).then(Cut()), text_reply("there. Bye.")]
    ) as server:
        with client_of(server, Recovery("continue")) as client:
            stream = client.stream(Route(["openai/a", "openai/b"]), "Hello")
            assert "Hello there. Bye." == stream.collect().text
            assert ["a", "b", "b"] == [request.json()["model"] for request in server.requests]
    with Server(
        lambda request: broken_then_continued([] if len(request.json()["messages"]) > 1 else [9], 3)(request)
    ) as server:
        with client_of(server, Recovery("continue")) as client:
            streams = [client.stream("openai/m", "Hello") for _ in range(4)]
            for _ in merge(streams):
                pass
            assert [WHOLE] * 4 == [stream.text for stream in streams]


# -- who takes what --------------------------------------------------------------------------------------


def body_of(provider: Provider, text: str, **params: Any) -> Any:
    chat = ChatRequest(params.pop("model", "m"), [{"role": "user", "content": "Hi"}], params)
    found = continuation_of(provider, chat, text)
    assert found is not None
    import json

    body = json.loads(provider.request(found.chat).body)
    return body["messages"][1:], found, body


def test_beginnings_of_replies() -> None:
    """Who takes the beginning of a reply gets it, in its own form; all others are asked in words."""
    vllm = providers.OpenAICompatible("vllm")
    messages, _, body = body_of(vllm, "One two ")
    assert [{"role": "assistant", "content": "One two "}] == messages
    assert (True, False) == (body["continue_final_message"], body["add_generation_prompt"])
    for provider in (
        providers.Mistral(api_key="k"),
        providers.OpenAICompatible("deepseek", "https://api.deepseek.com/beta", "k"),
    ):
        messages, _, _ = body_of(provider, "One two ")
        assert [{"role": "assistant", "content": "One two ", "prefix": True}] == messages
    for other in (providers.OpenAICompatible("deepseek", api_key="k"), providers.OpenAI(api_key="k")):
        messages, found, _ = body_of(other, "One two ")
        assert ["assistant", "user"] == [message["role"] for message in messages]
        assert "end" == found.repeated


@pytest.mark.parametrize(
    ("model", "options", "takes"),
    [
        ("claude-3-7-sonnet-latest", {}, True),
        ("claude-sonnet-4-20250514", {}, True),
        ("claude-opus-4-1-20250805", {}, True),
        ("claude-sonnet-4-5", {}, True),
        ("claude-haiku-4-5-20251001", {}, True),
        ("claude-sonnet-4-5", {"thinking": {"type": "enabled", "budget_tokens": 2000}}, False),
        ("claude-opus-4-6", {}, False),
        ("claude-sonnet-4-6", {}, False),
        ("claude-sonnet-5", {}, False),
        ("claude-opus-5-5", {}, False),
    ],
)
def test_beginnings_of_claude(model: str, options: dict[str, Any], takes: bool) -> None:
    """Models of Anthropic's before 4.6 get the beginning, without white space at its end; newer ones are asked."""
    messages, found, _ = body_of(providers.Anthropic(api_key="k"), "One two \n", model=model, **options)
    assert ["assistant"] + ["user"] * (not takes) == [message["role"] for message in messages]
    assert takes is (found.sent == "One two")


def test_a_reply_that_begins_with_the_beginning() -> None:
    """Where the server repeats the beginning that it was given, it is taken out."""
    cut = reply_in("mistral", "Hello there my").first(4).then(Cut())
    for again in (True, False):

        def answer(request: Request, again: bool = again) -> Reply:
            had = request.json()["messages"][1:]
            if not had:
                return cut
            assert had[0]["prefix"] is True
            whole = "Hello there my friend."
            return reply_in("mistral", whole if again else whole[len(had[0]["content"]) :])

        with Server(answer) as server, client_of(server, Recovery("continue")) as client:
            stream = client.stream("mistral/m", "Hello")
            assert "Hello there my friend." == stream.collect().text
            assert 1 == stream.stats.recovered


def test_last_words() -> None:
    """What the model is asked to repeat begins with a word, and is no longer than needed."""
    assert "One two" == last_words("One two \n")
    assert last_words("word " * 100).startswith("word")
    assert len(last_words("word " * 100)) <= 60
    assert "x" * 60 == last_words("x" * 100)
    assert not continuable(ChatRequest("m", []))


# -- resume ----------------------------------------------------------------------------------------------


def background(text: str, cuts: list[int], again: int = 0, reply: Reply | None = None) -> Callable[[Request], Reply]:
    """Answer as Responses do that are made in the background: cut off after some events, and gone on with.

    Args:
        again: events that come once more.
    """
    whole = reply_in("openai-responses", text, reasoning="Let me think.") if reply is None else reply
    left = iter(cuts)

    def answer(request: Request) -> Reply:
        first = 0
        if request.method == "GET":
            address = urlsplit(request.path)
            query = parse_qs(address.query)
            assert ("/resp_test", ["true"]) == (address.path[-10:], query["stream"])
            first = max(0, int(query["starting_after"][0]) + 1 - again)
        cut = next(left, None)
        steps = whole.steps[first:] if cut is None else whole.steps[first : max(cut, first)]
        return whole.but(steps=steps) if cut is None else whole.but(steps=steps).then(Cut())

    return answer


EVENTS = len(reply_in("openai-responses", WHOLE, reasoning="Let me think.").steps)


@pytest.mark.parametrize("again", [0, 3, EVENTS])
def test_resumed_after_every_event(again: int) -> None:
    """Wherever a reply is cut, it goes on behind the last event; events that come again are skipped."""
    for cut in range(1, EVENTS):
        with Server(background(WHOLE, [cut], again)) as server, client_of(server, Recovery()) as client:
            stream = client.stream("openai-responses/m", "Tell me", background=True)
            completion = stream.collect()
            assert (WHOLE, "Let me think.") == (completion.text, completion.reasoning)
            assert ("complete", "stop", 18) == (stream.status, completion.finish_reason, completion.usage.total_tokens)
            methods = [request.method for request in server.requests]
            assert ["POST", "GET"] == methods
            assert b"" == server.requests[1].body
            assert "Bearer k" == server.requests[1].headers["authorization"]
            assert 1 == stream.stats.recovered


def test_resumed_at_each_of_two_cuts() -> None:
    """A reply that is cut twice is gone on with twice."""
    for first in range(1, EVENTS - 1):
        cuts = [first, min(first + 4, EVENTS - 1)]
        with Server(background(WHOLE, cuts)) as server, client_of(server, Recovery()) as client:
            stream = client.stream("openai-responses/m", "Tell me", extra_body={"background": True})
            assert WHOLE == stream.collect().text
            assert 3 == len(server.requests) == stream.stats.attempts
            assert stream.stats.recovered in (1, 2)  # a part may have had no chunk


def test_calls_are_resumed() -> None:
    """The rest of the same reply may have calls of tools, whose arguments were cut."""
    reply = reply_in("openai-responses", "Let me see.", tool_calls=[("f", {"a": 1})])
    for cut in range(1, len(reply.steps)):
        with Server(background("", [cut], 0, reply)) as server, client_of(server, Recovery()) as client:
            completion = client.complete("openai-responses/m", "Tell me", background=True)
            assert [("f", {"a": 1})] == [(call.name, call.arguments) for call in completion.tool_calls]
            assert "Let me see." == completion.text


def test_what_is_not_resumed() -> None:
    """Only what is made in the background, by a provider that has a cursor, and has not failed by itself."""
    with Server(background(WHOLE, [6])) as server, client_of(server, Recovery()) as client:
        with pytest.raises(TruncatedStreamError):
            client.complete("openai-responses/m", "Tell me")
        assert 1 == len(server.requests)
    with Server(text_reply("Hello there.").first(3).then(Cut())) as server, client_of(server, Recovery()) as client:
        with pytest.raises(TruncatedStreamError):
            client.complete("openai/m", "Tell me")
        assert 1 == len(server.requests)
    with Server(reply_in("openai-responses", "Hello", error="It broke")) as server:
        with client_of(server, Recovery()) as client, pytest.raises(ServerError, match="It broke"):
            client.complete("openai-responses/m", "Tell me", background=True)
        assert 1 == len(server.requests)
    gone = [background(WHOLE, [9]), error_reply(404, "Response not found")]

    def answer(request: Request) -> Any:
        return gone[0](request) if request.method == "POST" else gone[1]  # type: ignore[operator]

    with Server(answer) as server, client_of(server, Recovery()) as client:
        with pytest.raises(TruncatedStreamError, match="could not be gone on with") as caught:
            client.complete("openai-responses/m", "Tell me", background=True)
        assert WHOLE.startswith(caught.value.partial.text)
        assert 2 == len(server.requests)


def test_without_the_policy() -> None:
    """It is off by default."""
    with Server(background(WHOLE, [9])) as server, client_of(server) as client:
        with pytest.raises(TruncatedStreamError):
            client.complete("openai-responses/m", "Tell me", background=True)
        assert 1 == len(server.requests)


# -- the policy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"how": "again"}, {"attempts": 0}, {"attempts": True}, {"how": None}])
def test_wrong_values(wrong: dict[str, Any]) -> None:
    """A value of a wrong kind is a clear error."""
    with pytest.raises(ConfigError, match="Recovery"):
        Recovery(**wrong)
    assert "Recovery('resume', 2)" == repr(Recovery())


def test_the_chunk_is_nothing_to_others() -> None:
    """A fold, validators, logs and the formats of the web take the chunk as nothing."""
    from streamkit.logs.json_text import read_chunk, write_chunk
    from streamkit.validators import BannedWords, validated
    from streamkit.values.completion import fold
    from streamkit.web.formats.data import DataFormat
    from streamkit.web.formats.events import EventsFormat
    from streamkit.web.formats.openai import OpenAIFormat
    from streamkit.web.formats.text import TextFormat
    from streamkit.web.formats.ui import UiFormat
    from tests.unit.scripted import DONE, Scripted, texts

    recovered = Chunk("recovered", id="r1")
    chunks = [*texts("Hello "), recovered, *texts("there."), DONE]
    assert fold(chunks) == fold([chunk for chunk in chunks if chunk is not recovered])
    assert recovered == read_chunk(write_chunk(recovered), "a test")
    stream = validated(Scripted(chunks), [BannedWords(["secret"])])
    assert [chunk.type for chunk in chunks] == [chunk.type for chunk in stream]
    for kind in (DataFormat, EventsFormat, OpenAIFormat, TextFormat, UiFormat):
        told = []
        for each in (chunks, [chunk for chunk in chunks if chunk is not recovered]):
            format = kind()
            format.begin("r1")
            told.append(b"".join(format.encode(chunk) for chunk in each))
        assert told[0].replace(b"id: 3", b"id: 2") == told[1].replace(b"id: 3", b"id: 2")
