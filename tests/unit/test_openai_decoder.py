"""The decoder reads chat completions in every known dialect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamkit import APIError, Chunk, Completion, ProtocolError, ToolCall, Usage, errors, fold
from streamkit.providers.openai_chat.decoder import ChatDecoder
from tests.unit.support import split_at


@attrs.define
class Event:
    data: str
    event: str = "message"
    id: str = ""


def event(raw: Any, kind: str = "message") -> Event:
    return Event(raw if isinstance(raw, str) else json.dumps(raw), kind)


def piece(delta: Any = None, /, *, index: Any = 0, finish: Any = None, id: Any = "r1", **more: Any) -> dict[str, Any]:
    """A chunk of a stream as OpenAI sends it."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": id, "object": "chat.completion.chunk", "model": "m1", "choices": [choice], **more}


START = piece({"role": "assistant", "content": ""})
STOP = piece({}, finish="stop")


def text(content: Any, **more: Any) -> dict[str, Any]:
    return piece({"content": content}, **more)


def chunks_of(*events: Any, decoder: ChatDecoder | None = None) -> list[Chunk]:
    decoder = decoder or ChatDecoder("p")
    chunks: list[Chunk] = []
    for raw in events:
        chunks += decoder.decode(raw if isinstance(raw, Event) else event(raw))
    return chunks


def reply_of(*events: Any, choices: int = 1) -> Completion:
    """What a whole stream folds to, its end and exactly one done chunk included."""
    decoder = ChatDecoder("p", choices)
    chunks = chunks_of(*events, decoder=decoder)
    assert decoder.whole or decoder.ended
    done = decoder.finish()
    assert [done] == [chunk for chunk in [*chunks, done] if chunk.finished]
    return fold([*chunks, done])


class TestPlainStream:
    def test_an_ordinary_reply(self) -> None:
        """Role, text, finish reason, usage, terminator: text chunks, and one done chunk with the rest."""
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        completion = reply_of(
            START, text("Hi"), text(" you"), STOP, {"id": "r1", "choices": [], "usage": usage}, "[DONE]"
        )
        assert ("Hi you", "stop", "stop") == (
            completion.text,
            completion.finish_reason,
            completion.raw_finish_reason,
        )
        assert (Usage(3, 2, 5), "r1", "m1") == (completion.usage, completion.id, completion.model)

    def test_a_chunk_has_its_event(self) -> None:
        """A chunk carries the provider's event as it came, on the fast way as on the slow one."""
        slow, fast = chunks_of(text("a"), text("b"))
        assert [text("a"), text("b")] == [slow.raw, fast.raw]
        assert Chunk("text", text="b", id="r1", model="m1", raw=text("b")) == fast

    @pytest.mark.parametrize("terminator", ["[DONE]", " [DONE] ", "[DONE]\n"])
    def test_the_terminator_ends_it(self, terminator: str) -> None:
        """`[DONE]` ends the reply, whatever came before, and is no chunk."""
        decoder = ChatDecoder("p")
        assert not decoder.ended
        assert [] == list(decoder.decode(event(terminator)))
        assert decoder.ended

    def test_whole_without_terminator(self) -> None:
        """A reply is whole when each of its choices has its finish reason, so that an end of the bytes is its end."""
        decoder = ChatDecoder("p")
        seen = []
        for raw in (START, text("Hi"), STOP):
            chunks_of(raw, decoder=decoder)
            seen.append((decoder.whole, decoder.ended))
        assert [(False, False), (False, False), (True, False)] == seen

    def test_an_event_before_the_reply(self) -> None:
        """An event that carries nothing of the reply, such as Azure's verdict on the prompt, is no chunk."""
        decoder = ChatDecoder("p")
        odd = [{"id": "", "choices": [], "prompt_filter_results": []}, {}, {"choices": None}, {"choices": ["x", 3]}]
        assert [] == chunks_of(*odd, decoder=decoder)
        assert not decoder.whole

    def test_the_finish_reason_stays(self) -> None:
        """A later event without one does not take it away."""
        assert "stop" == reply_of(text("Hi"), STOP, piece({}), "[DONE]").finish_reason

    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            ("stop", "stop"),
            ("eos", "stop"),
            ("end_turn", "stop"),
            ("length", "length"),
            ("max_tokens", "length"),
            ("tool_calls", "tool_calls"),
            ("function_call", "tool_calls"),
            ("content_filter", "content_filter"),
            ("something new", "other"),
        ],
    )
    def test_finish_reasons(self, raw: str, expected: str) -> None:
        """Each provider's word becomes one of ours, and is kept beside it; a new one is `other`."""
        completion = reply_of(text("Hi"), piece({}, finish=raw))
        assert (expected, raw) == (completion.finish_reason, completion.raw_finish_reason)

    def test_no_finish_reason_at_all(self) -> None:
        """A stream that only says `[DONE]` completes, for a reason that nobody told."""
        completion = reply_of(text("Hi"), "[DONE]")
        assert ("other", None) == (completion.finish_reason, completion.raw_finish_reason)

    @given(st.text(min_size=1), st.lists(st.integers(0, 60), max_size=10))
    def test_any_chunking_gives_the_same_text(self, whole: str, cuts: list[int]) -> None:
        """However the server cuts the text into deltas, and however it escapes it, the text is the same."""
        completion = reply_of(START, *(text(part) for part in split_at(whole, cuts)), STOP)
        assert whole == completion.text

    def test_a_character_cut_in_two(self) -> None:
        """Halves of one character, each escaped in an event of its own, are joined again."""
        events = [START, *(Event(json.dumps(text("@")).replace("@", half)) for half in (r"a\ud83d", r"\ude00b")), STOP]
        assert "a😀b" == reply_of(*events).text

    @pytest.mark.parametrize("kind", ["content", "reasoning", "refusal"])
    def test_half_a_character(self, kind: str) -> None:
        """A half whose other half never comes is replaced, where it stood, in every kind of text."""
        half = Event(json.dumps(piece({kind: "a@"})).replace("@", r"\ud83d"))
        completion = reply_of(START, half, piece({kind: "b"}), piece({kind: "c"}), STOP)
        assert "a\ufffdbc" == f"{completion.text}{completion.reasoning}{completion.refusal}"


class TestOddChunks:
    @pytest.mark.parametrize(
        "raw",
        [
            piece(None),
            piece({"content": None}),
            piece({"content": ""}),
            piece({"content": None, "tool_calls": None, "function_call": None, "refusal": None, "reasoning": None}),
            {"id": "r1", "choices": [{"index": 0}]},
            {"id": "r1", "choices": [{}]},
            {"id": "r1", "choices": [{"delta": "odd"}]},
            {"id": None, "model": None, "choices": [{"index": 0, "delta": {}}], "usage": None, "error": None},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("before", [[], [START, text("a")]], ids=["first", "later"])
    def test_nothing_in_it(self, raw: Any, before: list[Any]) -> None:
        """A delta that is null, empty or missing is no chunk, and does not end the reply."""
        decoder = ChatDecoder("p")
        chunks_of(*before, decoder=decoder)
        assert [] == chunks_of(raw, decoder=decoder)
        assert not decoder.whole

    @pytest.mark.parametrize("index", [None, "0", 0.5, []])
    def test_missing_index(self, index: Any) -> None:
        """A choice without a number, or with none that is one, is choice 0."""
        without = {"id": "r1", "choices": [{"delta": {"content": "b"}, "finish_reason": "stop"}]}
        completion = reply_of(text("a", index=index), without)
        assert ("ab", 1, "stop") == (completion.text, len(completion.choices), completion.finish_reason)

    def test_without_finish_reason_or_id(self) -> None:
        """Servers that leave out the fields that say nothing are read the same."""
        bare = {"choices": [{"delta": {"content": "a"}}]}
        completion = reply_of(bare, bare, "[DONE]")
        assert ("aa", "", "") == (completion.text, completion.id, completion.model)

    def test_message_instead_of_delta(self) -> None:
        """A chunk that has `message` where `delta` should be is read as one."""
        raw = {"id": "r1", "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
        assert "Hi" == reply_of(raw).text

    def test_the_text_beside_the_finish_reason(self) -> None:
        """The last words may come in the event that has the finish reason."""
        completion = reply_of(text("a"), text("b", finish="length"))
        assert ("ab", "length") == (completion.text, completion.finish_reason)

    @pytest.mark.parametrize(
        ("data", "excerpt"),
        [
            ("Hello", "Hello"),
            ('{"id": "r1", "choices": [{"ind', '{"id": "r1", "choices": [{"ind'),
            ("[1]", "1"),
            ("[1,2]", "[1,2]"),
            ('"text"', '"text"'),
            ("null", "null"),
            ("5", "5"),
        ],
    )
    def test_not_in_the_format(self, data: str, excerpt: str) -> None:
        """Data that is not a JSON object is a `ProtocolError` with an excerpt."""
        with pytest.raises(ProtocolError) as caught:
            chunks_of(Event(data))
        assert excerpt == caught.value.excerpt

    def test_the_excerpt_is_short(self) -> None:
        """An excerpt is bounded, wherever the bytes of a character fall; where it is raised it is masked, then cut."""
        for data in ("x" * 100_000, json.dumps(["ä" * 600], ensure_ascii=False), "[3, " + "[" * 2000):
            with pytest.raises(ProtocolError) as caught:
                chunks_of(Event(data))
            assert 400 < len(caught.value.excerpt) <= 16_384


class TestRareErrors:
    def test_the_text_beside_an_error_is_not_lost(self) -> None:
        """The last words may come in the event that has the error; its finish reason is none."""
        decoder = ChatDecoder("p")
        chunks = chunks_of(text("a"), decoder=decoder)
        with pytest.raises(errors.ServerError):
            decoder.decode(event(text("TAIL", finish="stop") | {"error": {"code": 502, "message": "up"}}))
        partial = fold([*chunks, *decoder.leftover()])
        assert ("aTAIL", None) == (partial.text, partial.raw_finish_reason)

    @pytest.mark.parametrize("word", ["error", "insufficient_system_resource", "network_error"])
    def test_a_finish_reason_that_is_a_failure(self, word: str) -> None:
        """Some servers break a reply off with a finish reason."""
        with pytest.raises(APIError) as caught:
            chunks_of(text("a"), piece({}, finish=word))
        assert caught.value.in_stream
        assert ("error" == word) or caught.value.retryable

    @pytest.mark.parametrize(
        "raw",
        [
            {"message": "no", "type": "server_error", "code": 500},
            {"code": "Throttling", "message": "no", "request_id": "r"},
            {"status_code": 429, "message": "no"},
            {"success": False, "message": "no"},
            {"error_code": 17, "error_msg": "no"},
            {"base_resp": {"status_code": 1004, "status_msg": "no"}},
            {"status": "error", "message": "no"},
            {"code": "DataInspectionFailed", "message": "no"},
            {"code": 1301, "message": "no"},
            {"code": -1, "message": "no"},
            {"detail": "no more of this"},
            {"detail": [{"msg": "no"}]},
            {"type": "timeout_error", "message": "no"},
            [{"error": {"code": 429, "message": "no"}}],
            {"choices": None, "code": 402, "message": "no"},
        ],
        ids=json.dumps,
    )
    def test_errors_without_the_word(self, raw: Any) -> None:
        """An error is told from an event without news, whatever its shape."""
        if isinstance(raw, dict) and "choices" in raw:
            with pytest.raises(APIError, match="no"):
                ChatDecoder("p").decode_whole(raw)
            return
        with pytest.raises(APIError, match="no"):
            chunks_of(text("a"), Event(json.dumps(raw)))

    @pytest.mark.parametrize(
        "raw",
        [
            {"choices": [], "message": "ok", "code": 200},
            {"message": "hi"},
            {"base_resp": {"status_code": 0, "status_msg": "success"}, "choices": []},
            {"success": True, "code": "0", "message": ""},
            {"status": "processing", "message": "Searching the web"},
            {"type": "status", "status": "in_progress", "message": "Searching"},
            {"status": 202, "message": "accepted"},
            {"status": "completed", "message": "done"},
            {"code": 20000, "message": "OK"},
            {"code": "10000", "message": "success"},
            {"code": "keepalive", "message": ""},
            {"error_code": "0"},
            {"base_resp": {"status_code": "0"}},
            {"type": "timeout", "message": "soon"},
            {"error": False},
            {"detail": "loading"},
            {"error": "", "choices": [], "usage": {"prompt_tokens": 1}},
        ],
        ids=json.dumps,
    )
    def test_no_errors(self, raw: Any) -> None:
        """Words of success are none."""
        assert [] == chunks_of(raw)

    def test_an_empty_event(self) -> None:
        """Some servers keep a connection alive with an event that has no data."""
        assert "Hi" == reply_of(text("Hi"), Event(""), Event(" \n"), STOP).text


class TestToldTwice:
    def test_a_whole_message_after_deltas(self) -> None:
        """MiniMax ends with the whole message, of which all was told."""
        call = {"id": "c", "function": {"name": "f", "arguments": '{"x":1}'}}
        last = {"index": 0, "finish_reason": "stop", "message": {"content": "Hello", "tool_calls": [call]}}
        completion = reply_of(text("Hello"), piece({"tool_calls": [{"index": 0, **call}]}), {"choices": [last]})
        assert ("Hello", '{"x":1}') == (completion.text, completion.tool_calls[0].raw_arguments)

    def test_a_whole_message_after_other_deltas(self) -> None:
        """Text that no delta delivered is taken from `message`, after other deltas."""
        thought = piece({"role": "assistant", "reasoning_content": "Hm"})
        message = {"role": "assistant", "reasoning_content": "Hm", "content": "Hello"}
        completion = reply_of(thought, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
        assert ("Hm", "Hello") == (completion.reasoning, completion.text)

    def test_a_whole_message_beside_an_empty_delta(self) -> None:
        """Text that no delta delivered is taken from `message`, also next to an empty delta."""
        last = {"index": 0, "finish_reason": "stop", "delta": {}, "message": {"role": "assistant", "content": "Hello"}}
        assert "Hello" == reply_of({"choices": [last]}).text
        assert "Hello" == reply_of(text("Hello"), {"choices": [last]}).text
        assert "Hello" == reply_of(START, text("Hel"), text("lo"), {"choices": [last]}).text

    @pytest.mark.parametrize("arguments", ["", None, " ", "null", "{}"])
    def test_calls_without_arguments(self, arguments: str | None) -> None:
        """Two calls of the number 0 and without ids are two, though they have nothing to say."""
        pieces = [piece({"tool_calls": [{"index": 0, "function": {"name": n, "arguments": arguments}}]}) for n in "ab"]
        assert ["a", "b"] == [call.name for call in reply_of(*pieces, STOP).tool_calls]

    def test_messages_alone(self) -> None:
        """A server that sends messages in the place of deltas is read."""
        pieces = [{"choices": [{"index": 0, "message": {"content": word}}]} for word in ("a", "b")]
        assert "ab" == reply_of(*pieces, STOP).text

    def test_both_shapes_of_a_call(self) -> None:
        """llama-cpp-python sends each fragment in the older shape, too."""
        pieces = [{"name": "f", "arguments": fragment} for fragment in ('{"a"', ":1}")]
        completion = reply_of(
            *(
                piece({"function_call": each, "tool_calls": [{"index": 0, "id": "c", "function": each}]})
                for each in pieces
            ),
            STOP,
        )
        assert ['{"a":1}'] == [call.raw_arguments for call in completion.tool_calls]

    def test_a_name_in_every_fragment(self) -> None:
        """A name that is repeated begins no second call while the arguments are not whole."""
        for shape in (
            lambda each: {"function_call": each},
            lambda each: {"tool_calls": [{"index": 0, "function": each}]},
        ):
            pieces = [piece(shape({"name": "f", "arguments": fragment})) for fragment in ('{"a"', ":1}")]
            completion = reply_of(*pieces, STOP)
            assert [("f", {"a": 1})] == [(call.name, call.arguments) for call in completion.tool_calls]


class TestRareUsage:
    def usage(self, **sent: Any) -> Usage:
        return reply_of(text("a"), STOP, {"choices": [], "usage": sent}).usage

    def test_thoughts_counted_apart(self) -> None:
        """If the total shows that reasoning tokens are counted separately, they are added to the output."""
        details = {"reasoning_tokens": 290}
        apart = self.usage(prompt_tokens=12, completion_tokens=1, total_tokens=303, completion_tokens_details=details)
        within = self.usage(
            prompt_tokens=12, completion_tokens=291, total_tokens=303, completion_tokens_details=details
        )
        assert (291, 303, 290) == (apart.output_tokens, apart.total_tokens, apart.reasoning_tokens)
        assert apart == within

    @pytest.mark.parametrize(
        "sent",
        [
            {"reasoning_tokens": 4},
            {"reasoning_tokens": 4, "completion_tokens_details": None},
            {"reasoning_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 0}},
            {"reasoning_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 4}},
            {"reasoning_tokens": None, "completion_tokens_details": {"reasoning_tokens": 4}},
        ],
        ids=json.dumps,
    )
    def test_reasoning_tokens(self, sent: Any) -> None:
        """Azure counts the tokens of reasoning beside the details, or in them."""
        usage = self.usage(prompt_tokens=10, completion_tokens=7, total_tokens=17, **sent)
        assert (7, 4) == (usage.output_tokens, usage.reasoning_tokens)

    @pytest.mark.parametrize(
        "sent",
        [{"cached_tokens": 7}, {"prompt_cache_hit_tokens": 7}, {"prompt_tokens_details": {"cached_tokens": 7}}],
        ids=json.dumps,
    )
    def test_cached_tokens(self, sent: Any) -> None:
        """Moonshot's and DeepSeek's names for what came from a cache are read, too."""
        assert 7 == self.usage(prompt_tokens=10, **sent).cached_tokens

    @pytest.mark.parametrize(
        "sent",
        [{"prompt_tokens_details": {"cache_write_tokens": 7}}, {"cache_creation_input_tokens": 7}],
        ids=json.dumps,
    )
    def test_tokens_written_to_a_cache(self, sent: Any) -> None:
        """OpenRouter and LiteLLM say how many tokens were written to a cache, which has a price."""
        usage = self.usage(prompt_tokens=10, **sent)
        assert (10, 7, False) == (usage.input_tokens, usage.cache_write_tokens, usage.cached_apart)

    @pytest.mark.parametrize(
        ("sent", "dollars"),
        [
            ({"cost": 0.25}, 0.25),
            ({"cost": "0.25"}, 0.25),
            ({"cost": {"input_tokens_cost": 0.05, "total_cost": 0.25}}, 0.25),
            ({"cost_in_usd_ticks": 2_500_000_000}, 0.25),
            ({"cost": -1}, None),
            ({"cost": {}}, None),
        ],
        ids=json.dumps,
    )
    def test_a_reported_cost(self, sent: Any, dollars: float | None) -> None:
        """OpenRouter's number, Perplexity's sum and xAI's ticks are dollars."""
        assert dollars == self.usage(prompt_tokens=1, **sent).cost


class TestEnds:
    @pytest.mark.parametrize(
        ("word", "expected"),
        [
            ("MAX_TOKENS", "length"),
            ("content-filter", "content_filter"),
            ("sensitive", "content_filter"),
            ("model_context_window_exceeded", "length"),
            ("eos_token", "stop"),
            ("abort", "other"),
        ],
    )
    def test_words_of_other_servers(self, word: str, expected: str) -> None:
        """A finish reason is understood in the words of the other formats, too; as it came it is beside that."""
        completion = reply_of(text("a"), piece({}, finish=word))
        assert (expected, word) == (completion.finish_reason, completion.raw_finish_reason)

    def test_a_choice_that_begins_late(self) -> None:
        """A reply that seemed whole is so no longer when another choice begins."""
        decoder, seen = ChatDecoder("p"), []
        for raw in (text("a"), STOP, text("b", index=1), piece({}, index=1, finish="stop")):
            decoder.decode(event(raw))
            seen.append(decoder.whole)
        assert [False, True, False, True] == seen

    def test_fewer_choices_than_were_asked_for(self) -> None:
        """One finished choice is enough for a clean end of the bytes, and for nothing else; an open one is not."""
        decoder, seen = ChatDecoder("p", 2), []
        for raw in (text("a"), STOP, text("b", index=1), piece({}, index=1, finish="stop")):
            decoder.decode(event(raw))
            seen.append((decoder.enough, decoder.whole))
        assert [(False, False), (True, False), (False, False), (True, True)] == seen
        assert (False, False) == (ChatDecoder("p", 2).enough, ChatDecoder("p", 2).ended)

    def test_an_unfinished_reply_that_came_whole(self) -> None:
        """A JSON body without any choice is no end."""
        decoder = ChatDecoder("p")
        decoder.decode_whole({"choices": []})
        assert (False, False) == (decoder.ended, decoder.whole)

    @pytest.mark.parametrize("delta", [{"images": [{}]}, {"audio": {"data": "x"}}, {"annotations": [{}]}])
    def test_what_chunks_have_no_field_for(self, delta: Any) -> None:
        """Pictures, sound and sources are chunks without text, whose `raw` has them."""
        (chunk,) = chunks_of(piece(delta))
        assert ("text", "", piece(delta)) == (chunk.type, chunk.text, chunk.raw)


class TestKinds:
    def test_refusal(self) -> None:
        """A refusal is kept apart from the text."""
        chunks = chunks_of(piece({"refusal": "I "}), piece({"refusal": "won't", "content": None}))
        assert [("refusal", "", "I "), ("refusal", "", "won't")] == [(c.type, c.text, c.refusal) for c in chunks]

    @pytest.mark.parametrize(
        "delta",
        [
            {"reasoning_content": "hm"},
            {"reasoning": "hm"},
            {"reasoning": "hm", "reasoning_content": "hm"},
            {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
            {
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "h"},
                    {"type": "reasoning.summary", "summary": "m"},
                ]
            },
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
            {"content": [{"type": "thinking", "thinking": "hm"}]},
        ],
        ids=str,
    )
    def test_reasoning(self, delta: dict[str, Any]) -> None:
        """Reasoning comes once, under whichever names the server sends it."""
        (chunk,) = chunks_of(piece(delta))
        assert ("reasoning", "hm", "") == (chunk.type, chunk.reasoning, chunk.text)

    def test_reasoning_and_text_in_one_event(self) -> None:
        """One event may carry several kinds; each becomes a chunk of its own, reasoning first."""
        chunks = chunks_of(piece({"reasoning": "hm", "content": "Hi", "refusal": "no"}))
        assert [("reasoning", "hm"), ("text", "Hi"), ("refusal", "no")] == [
            (c.type, c.reasoning or c.text or c.refusal) for c in chunks
        ]

    def test_reasoning_that_has_no_text(self) -> None:
        """Encrypted reasoning shows nothing, and is no chunk."""
        details = [{"type": "reasoning.encrypted", "data": "x"}, None]
        assert [] == chunks_of(piece({"content": "", "reasoning": None, "reasoning_details": details}))

    def test_content_lists(self) -> None:
        """Content that is a list of parts gives its texts in order; parts of other kinds are not text."""
        content = [
            {"type": "text", "text": "a"},
            "b",
            {"type": "reference", "reference_ids": [1]},
            {"type": "text"},
            None,
        ]
        assert ["a", "b"] == [chunk.text for chunk in chunks_of(text(content))]

    def test_several_choices(self) -> None:
        """Choices that come interleaved, or several in an event, end up apart, each with its own end."""
        both = {
            "id": "r1",
            "choices": [
                {"index": 1, "delta": {"content": "B"}, "finish_reason": "length"},
                {"index": 0, "delta": {"content": "A"}, "finish_reason": None},
            ],
        }
        decoder = ChatDecoder("p", 2)
        chunks = chunks_of(text("a"), text("b", index=1), both, decoder=decoder)
        assert not decoder.whole
        chunks += chunks_of(STOP, decoder=decoder)
        assert decoder.whole
        completion = fold([*chunks, decoder.finish()])
        assert [("aA", "stop"), ("bB", "length")] == [(c.text, c.finish_reason) for c in completion.choices]
        assert ("aA", "stop") == (completion.text, completion.finish_reason)

    def test_a_choice_that_is_still_to_come(self) -> None:
        """While fewer choices have begun than were asked for, the reply is not whole."""
        decoder = ChatDecoder("p", 2)
        chunks_of(text("a"), STOP, decoder=decoder)
        assert not decoder.whole
        chunks_of(text("b", index=1, finish="stop"), decoder=decoder)
        assert decoder.whole


def tool(index: Any = None, id: Any = None, name: Any = None, arguments: Any = None) -> dict[str, Any]:
    """A fragment of a tool call; what is None is left out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    fragment = {key: value for key, value in (("index", index), ("id", id)) if value is not None}
    return {**fragment, "type": "function", "function": function}


def tools(*fragments: Any, **more: Any) -> dict[str, Any]:
    return piece({"tool_calls": list(fragments)}, **more)


class TestToolCalls:
    @pytest.mark.parametrize("field", ["delta", "message"])
    def test_one_call_without_its_list(self, field: str) -> None:
        """A call that stands in the place of the list of calls is read."""
        call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
        sent = {
            "choices": [{"index": 0, field: {"role": "assistant", "tool_calls": call}, "finish_reason": "tool_calls"}]
        }
        assert [("c", "f", {"a": 1})] == [(made.id, made.name, made.arguments) for made in reply_of(sent).tool_calls]

    def test_fragments_without_their_list(self) -> None:
        """The fragments of a call are joined, though each stands in the place of a list."""
        first = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a"'}}
        pieces = [piece({"tool_calls": call}) for call in (first, {"index": 0, "function": {"arguments": ":1}"}}, {})]
        (call,) = reply_of(*pieces, STOP).tool_calls
        assert ("c", '{"a":1}') == (call.id, call.raw_arguments)

    def test_a_whole_reply_with_one_call_without_its_list(self) -> None:
        """A reply that came as one JSON object has the call as well."""
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
        message = {"role": "assistant", "content": None, "tool_calls": call}
        decoder = ChatDecoder("p")
        chunks = decoder.decode_whole({"id": "r", "choices": [{"message": message, "finish_reason": "tool_calls"}]})
        assert [{"a": 1}] == [made.arguments for made in fold(chunks).tool_calls]

    def test_two_calls_in_fragments(self) -> None:
        """Calls come apart by their numbers; id and name are told once, the arguments in pieces."""
        chunks = chunks_of(
            tools(tool(0, "c0", "add", "")),
            tools(tool(1, "c1", "sub", ""), tool(0, arguments='{"a":')),
            tools(tool(1, arguments="{}"), tool(0, arguments="1}")),
        )
        deltas = [chunk.tool_call for chunk in chunks if chunk.tool_call]
        assert [
            (0, "c0", "add", ""),
            (1, "c1", "sub", ""),
            (0, "", "", '{"a":'),
            (1, "", "", "{}"),
            (0, "", "", "1}"),
        ] == [attrs.astuple(delta) for delta in deltas]
        expected = (ToolCall("c0", "add", {"a": 1}, '{"a":1}'), ToolCall("c1", "sub", {}, "{}"))
        assert expected == fold(chunks).tool_calls

    def test_id_and_name_on_every_fragment(self) -> None:
        """A server that repeats id and name does not have them told twice."""
        chunks = chunks_of(*(tools(tool(0, "c", "f", part)) for part in ("{", "}")))
        assert [(0, "c", "f", "{"), (0, "", "", "}")] == [attrs.astuple(c.tool_call) for c in chunks if c.tool_call]

    def test_legacy_function_call(self) -> None:
        """The old `function_call` is a tool call without an id."""
        completion = reply_of(
            piece({"function_call": {"name": "f", "arguments": ""}}),
            piece({"function_call": {"arguments": '{"a":'}}),
            piece({"function_call": {"arguments": "1}"}}),
            piece({}, finish="function_call"),
        )
        assert (ToolCall("", "f", {"a": 1}, '{"a":1}'),) == completion.tool_calls
        assert "tool_calls" == completion.finish_reason

    @pytest.mark.parametrize(
        ("sent", "raw"), [({"a": "ä"}, '{"a":"ä"}'), ([], "[]"), (None, ""), ("", ""), (3, "3")], ids=str
    )
    def test_arguments_that_are_no_text(self, sent: Any, raw: str) -> None:
        """Some servers send the arguments decoded: they become the text that they stand for."""
        fragment = {"index": 0, "id": "c", "function": {"name": "f", "arguments": sent}}
        (call,) = fold(chunks_of(tools(fragment))).tool_calls
        assert raw == call.raw_arguments

    @pytest.mark.parametrize("fragment", [None, {}, {"index": 0}, {"function": None}, {"function": "f"}, "f"], ids=str)
    def test_empty_fragments(self, fragment: Any) -> None:
        """A fragment without anything in it adds nothing to the call."""
        (call,) = fold(chunks_of(tools(tool(0, "c", "f", "{}")), tools(fragment))).tool_calls
        assert ("c", "f", "{}") == (call.id, call.name, call.raw_arguments)

    def test_calls_of_other_choices(self) -> None:
        """Numbers count within a choice."""
        chunks = chunks_of(tools(tool(0, "a", "f")), tools(tool(0, "b", "g"), index=1))
        assert [["f"], ["g"]] == [[call.name for call in choice.tool_calls] for choice in fold(chunks).choices]

    def test_arguments_without_end_are_refused(self) -> None:
        """The arguments of a stream are bounded, in whichever calls they come."""
        decoder = ChatDecoder("p")
        fragment = "x" * 2**20
        with pytest.raises(ProtocolError, match="more than 16777216 characters"):
            for number in range(17):
                chunks_of(tools(tool(number, f"c{number}", "f", fragment)), decoder=decoder)


USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 4,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 2},
    "cost": 0.25,
}
KNOWN = Usage(10, 4, 14, 8, 2, 0.25)


class TestUsage:
    @pytest.mark.parametrize(
        "events",
        [
            [STOP, {"id": "r1", "choices": [], "usage": USAGE}],
            [STOP, {"id": "r1", "usage": USAGE}],
            [piece({}, finish="stop", usage=USAGE)],
            [piece({}, finish="stop", x_groq={"id": "q", "usage": USAGE})],
            [{"id": "r1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]}],
            [text("a", usage={**USAGE, "completion_tokens": 1}), text("b", usage=USAGE), STOP],
            [text("a", usage=USAGE), piece({}, finish="stop", usage=None)],
            [text("a", usage=USAGE), piece({}, finish="stop", usage={})],
        ],
        ids=[
            "no choices",
            "choices missing",
            "last chunk",
            "x_groq",
            "in the choice",
            "on every chunk",
            "null after",
            "empty after",
        ],
    )
    def test_wherever_it_comes(self, events: list[Any]) -> None:
        """The usage is on the done chunk, wherever the server puts it; the last one counts."""
        assert KNOWN == reply_of(START, text("Hi"), *events, "[DONE]").usage

    def test_it_rides_on_the_chunk_of_its_event(self) -> None:
        """A chunk has the usage of its own event, and one without has none."""
        chunks = chunks_of(START, text("a"), text("b", usage=USAGE), text("c"))
        assert [None, KNOWN, None] == [chunk.usage for chunk in chunks]

    @pytest.mark.parametrize(
        ("sent", "expected"),
        [
            (None, Usage()),
            ({}, Usage()),
            ("none", Usage()),
            ({"prompt_tokens": 3}, Usage(input_tokens=3)),
            ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(3, 4, 7)),
            ({"prompt_tokens": None, "completion_tokens": "4", "total_tokens": True}, Usage()),
            ({"prompt_tokens": 0, "prompt_tokens_details": None, "cost": None}, Usage(input_tokens=0)),
            ({"prompt_tokens": 1, "prompt_tokens_details": {}, "cost": 0}, Usage(input_tokens=1, cost=0.0)),
            ({"prompt_tokens": 1, "cost": "0.1"}, Usage(input_tokens=1, cost=0.1)),
            ({"prompt_tokens": 1, "cost": "nan"}, Usage(input_tokens=1)),
            ({"prompt_tokens": 1, "cost": True}, Usage(input_tokens=1)),
            ({"prompt_tokens": 1, "cost": 10**400}, Usage(input_tokens=1)),
        ],
        ids=str,
    )
    def test_unknown_is_none(self, sent: Any, expected: Usage) -> None:
        """A missing count is None, never 0; a count of 0 is 0."""
        assert expected == reply_of(text("Hi"), piece({}, finish="stop", usage=sent)).usage

    def test_what_a_failure_leaves_over(self) -> None:
        """When a reply breaks off, what no chunk has told yet is asked for, and nothing is told twice."""
        decoder = ChatDecoder("p")
        assert [] == list(decoder.leftover())
        chunks = chunks_of(text("a"), {"id": "r1", "choices": [], "usage": USAGE}, decoder=decoder)
        (left,) = decoder.leftover()
        assert (KNOWN, "") == (left.usage, left.text)
        assert KNOWN == fold([*chunks, left]).usage
        told = ChatDecoder("p")
        chunks_of(text("a", usage=USAGE), decoder=told)
        assert [] == list(told.leftover())

    def test_a_failure_keeps_the_finish_reason(self) -> None:
        """If choice 0 had finished before the reply broke off, the partial completion has its finish reason."""
        decoder = ChatDecoder("p", 2)
        chunks = chunks_of(text("a"), text("b", index=1), piece({}, finish="length"), decoder=decoder)
        completion = fold([*chunks, *decoder.leftover()])
        assert ("length", "length") == (completion.finish_reason, completion.raw_finish_reason)


RATE = {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}


class TestErrors:
    @pytest.mark.parametrize("before", [[], [START, text("Hi")]], ids=["first", "later"])
    @pytest.mark.parametrize(
        ("sent", "kind", "words"),
        [
            (event({"error": RATE}), "RateLimitError", "slow down"),
            (event({"error": RATE}, "error"), "RateLimitError", "slow down"),
            (event(RATE, "error"), "RateLimitError", "slow down"),
            (event({"error": "overloaded"}), "OverloadedError", "overloaded"),
            (event({"error": "boom", "message": "the reason"}), "APIError", "the reason"),
            (event({"error": "invalid_request", "error_description": "the reason"}), "BadRequestError", "the reason"),
            (event({"error": {}}), "APIError", "it gave no reason"),
            (event({"error": ""}), "APIError", "it gave no reason"),
            (event({"error": {"message": "no", "code": 502}}), "ServerError", "no"),
            (event({"error": {"message": "no", "code": "402"}}), "PaymentRequiredError", "no"),
            (event({"error": {"message": "no", "status": 403}}), "PermissionDeniedError", "no"),
            (event({"error": {"message": {"nested": "why"}}}), "APIError", "why"),
            (event({"object": "error", "message": "too long", "code": 400}), "BadRequestError", "too long"),
            (event({"object": "error", "message": "no", "type": "NotFoundError", "code": None}), "NotFoundError", "no"),
            (event({"type": "error", "error": {"type": "overloaded_error"}}), "OverloadedError", "no reason"),
            (event({"detail": "who are you", "status_code": 401}, "error"), "AuthenticationError", "who are you"),
            (event("plain text", "error"), "APIError", "plain text"),
            (event('"quoted text"', "error"), "APIError", "quoted text"),
            (event("[]", "error"), "APIError", "no reason"),
            (event(piece({"content": ""}, finish="error")), "APIError", "no reason"),
            (
                event(piece({"content": "x"}, finish="error", error={"code": 502, "message": "gone"})),
                "ServerError",
                "gone",
            ),
            (
                event({"id": "r1", "choices": [{"index": 0, "delta": {}, "error": {"code": 429, "message": "wait"}}]}),
                "RateLimitError",
                "wait",
            ),
            (event(piece({}, x_groq={"id": "q", "error": "over_capacity"})), "APIError", "over_capacity"),
            (event({"x_groq": {"error": {"message": "no", "status_code": 500}}}), "ServerError", "no"),
            (event({"type": "error", "message": "no", "code": 500}), "ServerError", "no"),
            (event({**text("last words"), "error": RATE}), "RateLimitError", "slow down"),
            (event({"error": {"message": "no", "code": "²"}}), "APIError", "no"),
            (event({"error": {"message": "no", "code": "9" * 5000}}), "APIError", "no"),
            (event({"error": {"message": "no", "code": {"odd": 1}}}), "APIError", "no"),
        ],
        ids=lambda value: value.data[:60] if isinstance(value, Event) else None,
    )
    def test_every_shape(self, sent: Event, kind: str, words: str, before: list[Any]) -> None:
        """Each shape in which servers report an error inside a stream is the error of its HTTP twin."""
        decoder = ChatDecoder("p")
        chunks_of(*before, decoder=decoder)
        with pytest.raises(APIError, match=words) as caught:
            decoder.decode(sent)
        error = caught.value
        assert getattr(errors, kind) is type(error)
        assert error.in_stream
        assert APIError.is_retryable(error.status) == error.retryable
        assert error.message.startswith("p answered ")

    def test_what_the_error_knows(self) -> None:
        """Status, code, type and body are the provider's own."""
        with pytest.raises(APIError) as caught:
            chunks_of({"error": RATE})
        error = caught.value
        assert (429, "rate_limit_exceeded", "rate_limit_error") == (error.status, error.code, error.type)
        assert {"error": RATE} == error.body

    @pytest.mark.parametrize("raw", [{"error": None}, {"error": {}}, {"error": ""}], ids=str)
    def test_an_error_that_is_none(self, raw: dict[str, Any]) -> None:
        """An `error` that is empty beside choices reports nothing."""
        chunks = chunks_of(START, {**text("a"), **raw}, {**text("b"), **raw})
        assert ["a", "b"] == [chunk.text for chunk in chunks]


class TestWholeBody:
    def test_a_reply_in_one_piece(self) -> None:
        """A JSON reply to a request for a stream gives the same completion as a stream."""
        made = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        message = {
            "role": "assistant",
            "content": "Hi",
            "reasoning_content": "hm",
            "refusal": None,
            "tool_calls": [made],
        }
        body = {
            "id": "r1",
            "model": "m1",
            "choices": [
                {"index": 0, "message": message, "finish_reason": "tool_calls"},
                {"index": 1, "message": {"content": "Ho"}, "finish_reason": "stop"},
            ],
            "usage": USAGE,
        }
        decoder = ChatDecoder("p", 2)
        chunks = [*decoder.decode_whole(body), decoder.finish()]
        assert decoder.ended
        assert 1 == sum(chunk.finished for chunk in chunks)
        completion = fold(chunks)
        assert ("Hi", "hm", "tool_calls", KNOWN) == (
            completion.text,
            completion.reasoning,
            completion.finish_reason,
            completion.usage,
        )
        assert ((ToolCall("c", "f", {}, "{}"),), "Ho") == (completion.tool_calls, completion.choices[1].text)

    def test_an_error_in_one_piece(self) -> None:
        """A JSON error under status 200 is that error."""
        with pytest.raises(APIError, match="slow down"):
            ChatDecoder("p").decode_whole({"error": RATE})

    @pytest.mark.parametrize(
        "body", [[], "text", 3, None, {}, {"status": "ok"}, ["ä" * 600]], ids=lambda b: str(b)[:20]
    )
    def test_no_completion(self, body: Any) -> None:
        """JSON that is no completion is a `ProtocolError` that shows it."""
        with pytest.raises(ProtocolError, match="not a chat completion") as caught:
            ChatDecoder("p").decode_whole(body)
        assert 0 < len(caught.value.excerpt) <= 16_384


# JSON that looks like a chunk in places, to reach the inner parts.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["text", "stop", "error", "f", "²", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "id model choices index delta message content type text thinking refusal reasoning reasoning_details "
                "summary tool_calls function_call function name arguments finish_reason usage prompt_tokens cost "
                "prompt_tokens_details x_groq error code status object detail".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": JSON,
        "tool_calls": st.lists(
            st.fixed_dictionaries({}, optional={"index": JSON, "id": JSON, "function": JSON}) | JSON, max_size=2
        ),
        "function_call": JSON,
        "reasoning": JSON,
        "reasoning_details": JSON,
        "refusal": JSON,
    },
)
CHOICE = st.fixed_dictionaries(
    {}, optional={"index": JSON, "delta": DELTA | JSON, "finish_reason": JSON, "usage": JSON}
)
CHUNK = st.fixed_dictionaries(
    {}, optional={"id": JSON, "model": JSON, "choices": st.lists(CHOICE, max_size=2), "usage": JSON, "error": JSON}
)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


DEEP = nested(400)


@settings(max_examples=400)
@given(st.lists(CHUNK | JSON, max_size=4), st.sampled_from(["message", "error"]))
@example([tools(tool(0, "c", "f", {"a": DEEP}))], "message")
@example([DEEP], "message")
@example([{"error": {"message": DEEP, "code": DEEP}}], "message")
@example([{"error": DEEP}], "error")
@example([tools({"index": DEEP})], "message")
@example([tools(tool(0, "c", "f", {"a": "\ud800", "b": 2**100, "c": float("nan")}))], "message")
@example([["\ud800"]], "message")
def test_nothing_that_a_server_sends_breaks_it(raws: Sequence[Any], kind: str) -> None:
    """Any JSON at all is chunks that can be folded, or one of the two errors of the contract."""
    decoder = ChatDecoder("p")
    chunks: list[Chunk] = []
    try:
        for raw in raws:
            chunks += decoder.decode(event(json.dumps(raw), kind))
        chunks.append(decoder.finish())
    except (APIError, ProtocolError):
        chunks += decoder.leftover()
    assert all(isinstance(chunk.text, str) and isinstance(chunk.index, int) for chunk in chunks)
    completion = fold(chunks)
    completion.text.encode()
    for choice in completion.choices:
        for call in choice.tool_calls:
            call.raw_arguments.encode()


@pytest.mark.parametrize(
    "frame",
    [
        "@",
        '{"error": {"message": @}}',
        '{"error": {"code": @}}',
        '{"choices": [{"delta": {"tool_calls": [{"index": @, "function": {"arguments": @}}]}}]}',
    ],
)
@pytest.mark.parametrize("depth", [300, 1010, 100_000])
def test_nested_without_end(frame: str, depth: int) -> None:
    """JSON that is nested beyond what anybody can write back is read as far as it goes, or refused."""
    decoder = ChatDecoder("p")
    try:
        chunks = decoder.decode(Event(frame.replace("@", "[" * depth + "]" * depth)))
    except (APIError, ProtocolError):
        return
    assert ["tool_call"] == [chunk.type for chunk in chunks]
