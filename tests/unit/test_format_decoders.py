"""Documented events that no recording has: rare events, rare ends, replies that are not streamed."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
import pytest

from streamkit import APIError, Completion, Message, OverloadedError, ProtocolError, RateLimitError, fold, providers
from streamkit.providers import Decoder, Provider
from tests.conformance.formats import HELLO


@attrs.frozen
class Event:
    data: str
    event: str = "message"


def events(*shapes: Any, kind: str = "message") -> list[Event]:
    return [Event(shape if isinstance(shape, str) else json.dumps(shape), kind) for shape in shapes]


def reply(provider: Provider, *shapes: Any) -> tuple[Completion, Decoder]:
    decoder = provider.decoder(HELLO)
    chunks = [chunk for event in events(*shapes) for chunk in decoder.decode(event)]
    if decoder.whole or decoder.ended:
        chunks.append(decoder.finish())
    return fold(chunks), decoder


def whole(provider: Provider, body: Any) -> Completion:
    decoder = provider.decoder(HELLO)
    chunks = [*decoder.decode_whole(body)]
    assert decoder.whole or decoder.ended
    return fold([*chunks, decoder.finish()])


ANTHROPIC = providers.Anthropic(api_key="k")
GEMINI = providers.Gemini(api_key="k")
RESPONSES = providers.OpenAIResponses(api_key="k")
COHERE = providers.Cohere(api_key="k")
OLLAMA = providers.Ollama()
INTERACTIONS = providers.GeminiInteractions(api_key="k")
BEDROCK = providers.Bedrock(api_key="k", region="us-east-1")

START = {"type": "message_start", "message": {"id": "msg", "model": "claude", "usage": {"input_tokens": 3}}}


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def stopped(reason: str, **usage: int) -> list[dict[str, Any]]:
    return [{"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}, {"type": "message_stop"}]


class TestAnthropic:
    def test_thoughts_go_back_with_their_signature(self) -> None:
        """A thought and a redacted one are kept whole, in order, for the next request."""
        thinking = block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Let me "},
            {"type": "thinking_delta", "thinking": "see"},
            {"type": "signature_delta", "signature": "c2ln"},
        )
        hidden = {"type": "redacted_thinking", "data": "xyz"}
        said, _ = reply(
            ANTHROPIC,
            START,
            *thinking,
            *block(1, hidden),
            *block(2, {"type": "text", "text": "A"}),
            *stopped("end_turn"),
        )
        known = {"type": "thinking", "thinking": "Let me see", "signature": "c2ln"}
        assert ({"anthropic": known}, {"anthropic": hidden}) == said.provider_data
        assert ("Let me see", "A") == (said.reasoning, said.text)
        history = attrs.evolve(HELLO, messages=[*HELLO.messages, said.message.to_dict()])
        sent = json.loads(ANTHROPIC.request(history).body)["messages"][1]["content"]
        assert [known, hidden, {"type": "text", "text": "A"}] == sent

    def test_tools_of_the_server_are_no_calls(self) -> None:
        """A tool that Anthropic runs is in `raw`, and is not a tool call."""
        used = block(0, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})
        found = block(1, {"type": "web_search_tool_result", "tool_use_id": "s", "content": []})
        decoder = ANTHROPIC.decoder(HELLO)
        chunks = [c for e in events(START, *used, *found, *stopped("end_turn")) for c in decoder.decode(e)]
        assert ["text", "tool_result"] == [chunk.type for chunk in chunks]
        assert () == fold(chunks).tool_calls
        assert "web_search" in json.dumps(chunks[0].raw)

    @pytest.mark.parametrize(
        ("reason", "expected"),
        [
            ("pause_turn", "other"),
            ("refusal", "content_filter"),
            ("model_context_window_exceeded", "length"),
            ("something_new", "other"),
        ],
    )
    def test_rare_ends(self, reason: str, expected: str) -> None:
        """Each stop reason has its word, and the provider's own is kept."""
        said, decoder = reply(ANTHROPIC, START, *stopped(reason, output_tokens=5))
        assert (expected, reason, 8, True) == (
            said.finish_reason,
            said.raw_finish_reason,
            said.usage.total_tokens,
            decoder.ended,
        )

    @pytest.mark.parametrize(
        ("type", "kind"), [("overloaded_error", OverloadedError), ("rate_limit_error", RateLimitError)]
    )
    def test_an_error_event(self, type: str, kind: type[APIError]) -> None:
        """An error inside a stream is of the class of its HTTP twin."""
        with pytest.raises(kind) as caught:
            reply(ANTHROPIC, START, {"type": "error", "error": {"type": type, "message": "later"}})
        assert (True, True) == (caught.value.in_stream, caught.value.retryable)

    def test_a_message_that_comes_whole(self) -> None:
        """A reply that is not streamed gives the same completion."""
        said = whole(
            ANTHROPIC,
            {
                "id": "msg",
                "type": "message",
                "model": "claude",
                "content": [
                    {"type": "text", "text": "Hi"},
                    {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
                ],
                "stop_reason": "tool_use",
                "usage": {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 4},
            },
        )
        assert ("Hi", "tool_calls", {"a": 1}, 4) == (
            said.text,
            said.finish_reason,
            said.tool_calls[0].arguments,
            said.usage.cached_tokens,
        )

    def test_blocks_go_back_in_their_order(self) -> None:
        """Thoughts between text and calls stand where they stood, as Anthropic checks it."""
        thoughts = [{"type": "thinking", "thinking": word, "signature": word} for word in ("one", "two")]
        call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
        sent = [thoughts[0], {"type": "text", "text": "Look."}, thoughts[1], call]
        blocks = [event for place, each in enumerate(sent) for event in block(place, each)]
        said, _ = reply(ANTHROPIC, START, *blocks, *stopped("tool_use"))
        assert ("Look.", "onetwo") == (said.text, said.reasoning)
        assert sent == answer_sent(ANTHROPIC, said)["content"]

    def test_a_history_that_was_changed(self) -> None:
        """Text that the user removes from a message is not sent; added text is sent at the end."""
        thought = {"type": "thinking", "thinking": "one", "signature": "c2ln"}
        blocks = [*block(0, {"type": "text", "text": "Look."}), *block(1, thought)]
        said, _ = reply(ANTHROPIC, START, *blocks, *stopped("end_turn"))
        for text, expected in {
            "": [thought],
            "Lo": [{"type": "text", "text": "Lo"}, thought],
            "Look. There": [{"type": "text", "text": "Look."}, thought, {"type": "text", "text": " There"}],
        }.items():
            message = attrs.evolve(said.message, content=text)
            assert expected == sent_back(ANTHROPIC, message)["content"]

    def test_a_paused_turn_goes_on(self) -> None:
        """A turn that Anthropic paused goes back with the calls of its own tools, answered or not."""
        used = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": "x"}}
        found = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
        waits = {**used, "id": "s2"}
        search = {"type": "input_json_delta", "partial_json": '{"q": "x"}'}
        blocks = [
            *block(0, {**used, "input": {}}, search),
            *block(1, found),
            *block(2, {"type": "text", "text": "So"}),
            *block(3, {**waits, "input": {}}, search),
        ]
        said, _ = reply(ANTHROPIC, START, *blocks, *stopped("pause_turn"))
        assert "pause_turn" == said.raw_finish_reason
        assert [used, found, {"type": "text", "text": "So"}, waits] == answer_sent(ANTHROPIC, said)["content"]
        cut, _ = reply(ANTHROPIC, START, *blocks)
        assert [used, found, {"type": "text", "text": "So"}] == answer_sent(ANTHROPIC, cut)["content"]

    def test_the_output_is_unknown_until_the_end(self) -> None:
        """The count at the head of a stream is that of its first token, and no bill of a cancelled one."""
        start = {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}}
        cut, _ = reply(ANTHROPIC, start, *block(0, {"type": "text", "text": "A long answer"}))
        assert (3, None, None) == (cut.usage.input_tokens, cut.usage.output_tokens, cut.usage.total_tokens)

    def test_input_for_a_tool_of_the_server_is_progress(self) -> None:
        """Each piece of it is a chunk without text: the reply is not idle."""
        piece = {"type": "input_json_delta", "partial_json": "x"}
        decoder = ANTHROPIC.decoder(HELLO)
        used = block(0, {"type": "server_tool_use", "id": "s", "name": "code", "input": {}}, piece, piece)
        chunks = [chunk for event in events(START, *used) for chunk in decoder.decode(event)]
        assert ["text"] * 3 == [chunk.type for chunk in chunks]

    def test_an_unfinished_message_that_came_whole(self) -> None:
        """A body without a stop reason is no complete reply."""
        decoder = ANTHROPIC.decoder(HELLO)
        decoder.decode_whole({"type": "message", "content": [{"type": "text", "text": "ha"}], "stop_reason": None})
        assert not decoder.whole

    @pytest.mark.parametrize("streamed", [True, False])
    def test_a_fallback_goes_back_in_its_place(self, streamed: bool) -> None:
        """The block that tells of another model is kept where it stood, and the reply names that model."""
        thought = {"type": "thinking", "thinking": "one", "signature": "c2ln"}
        fallback = {
            "type": "fallback",
            "from": {"model": "claude"},
            "to": {"model": "claude-b"},
            "trigger": {"type": "x"},
        }
        call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
        sent = [thought, {"type": "text", "text": "I can"}, fallback, {"type": "text", "text": "Hello"}, call]
        blocks = [event for place, each in enumerate(sent) for event in block(place, each)]
        if streamed:
            said, _ = reply(ANTHROPIC, START, *blocks, *stopped("tool_use"))
        else:
            said = whole(ANTHROPIC, {"model": "claude", "content": sent, "stop_reason": "tool_use"})
        assert ("I canHello", "claude-b") == (said.text, said.model)
        assert sent == answer_sent(ANTHROPIC, said)["content"]

    def test_a_second_message_after_nothing(self) -> None:
        """If no chunk of the first message was delivered, the second replaces it."""
        first = {"type": "message_start", "message": {"id": "a", "model": "m", "usage": {"cache_read_input_tokens": 5}}}
        hidden = block(0, {"type": "redacted_thinking", "data": "x"})[:1]
        for begun in ([], block(0, {"type": "text", "text": ""})[:1], hidden):
            said, _ = reply(
                ANTHROPIC, first, *begun, START, *block(0, {"type": "text", "text": "A"}), *stopped("end_turn")
            )
            assert ("msg", "claude", "A") == (said.id, said.model, said.text)
            assert (3, None, ()) == (said.usage.input_tokens, said.usage.cached_tokens, said.provider_data)

    @pytest.mark.parametrize(
        "begun",
        [
            {"type": "text", "text": "Hi"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {}},
            {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        ],
        ids=lambda begun: begun["type"],
    )
    @pytest.mark.parametrize("ends", [[], stopped("end_turn")[:1]], ids=["open", "stopped"])
    def test_a_second_message_after_chunks(self, begun: dict[str, Any], ends: list[Any]) -> None:
        """Two messages in one stream are never mixed: once something was delivered the stream is broken."""
        with pytest.raises(ProtocolError, match="second message"):
            reply(ANTHROPIC, START, *block(0, begun), *ends, START, *block(0, {"type": "text", "text": "A"}))

    def test_a_cost_that_a_proxy_reports(self) -> None:
        """LiteLLM's proxy adds the cost to the last usage."""
        end = {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 1, "cost": 0.25},
        }
        said, _ = reply(ANTHROPIC, START, end, {"type": "message_stop"})
        assert (4, 0.25) == (said.usage.total_tokens, said.cost)

    def test_without_an_end_it_is_not_whole(self) -> None:
        """Text alone is no complete reply, nor is a stray [DONE] its end."""
        _, decoder = reply(ANTHROPIC, START, *block(0, {"type": "text", "text": "A"}), "[DONE]")
        assert (False, False) == (decoder.whole, decoder.ended)


def sent_back(provider: Provider, message: Message) -> dict[str, Any]:
    """What a request with this message in its history sends of it."""
    history = attrs.evolve(HELLO, messages=[*HELLO.messages, message.to_dict()])
    body = json.loads(provider.request(history).body)
    sent: dict[str, Any] = body["messages"][1]
    return sent


def answer_sent(provider: Provider, said: Completion) -> dict[str, Any]:
    return sent_back(provider, said.message)


def candidate(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **more}]}


class TestGemini:
    def test_a_blocked_prompt(self) -> None:
        """A prompt that is blocked is a complete reply that says why."""
        said, decoder = reply(GEMINI, {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {}})
        assert (True, "content_filter", "SAFETY", "") == (
            decoder.whole,
            said.finish_reason,
            said.raw_finish_reason,
            said.text,
        )

    @pytest.mark.parametrize(
        ("word", "expected"),
        [
            ("SAFETY", "content_filter"),
            ("MALFORMED_FUNCTION_CALL", "error"),
            ("MAX_TOKENS", "length"),
            ("NEW", "other"),
        ],
    )
    def test_rare_ends(self, word: str, expected: str) -> None:
        """Each finish reason has its word."""
        said, _ = reply(GEMINI, candidate({"text": "A"}, finishReason=word))
        assert (expected, word) == (said.finish_reason, said.raw_finish_reason)

    def test_parts_of_tools_on_the_other_side_go_back(self) -> None:
        """Code that ran on Google's side goes back in its place, and its signature stays with it."""
        code = {"executableCode": {"language": "PYTHON", "code": "1+1"}, "thoughtSignature": "c2ln"}
        result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}}
        said, _ = reply(
            GEMINI,
            candidate({"text": "I "}),
            candidate({"text": "count."}),
            candidate(code),
            candidate(result),
            candidate({"text": "It is "}),
            candidate({"text": "2."}, {"functionCall": {"name": "f", "args": {}}}, finishReason="STOP"),
        )
        history = attrs.evolve(HELLO, messages=[*HELLO.messages, said.message.to_dict()])
        sent = json.loads(GEMINI.request(history).body)["contents"][1]["parts"]
        call = {"functionCall": {"name": "f", "args": {}}}
        assert [{"text": "I count."}, code, result, {"text": "It is 2."}, call] == sent

    def test_a_signature_at_the_end_is_of_the_last_text(self) -> None:
        """A signature of an empty text belongs to the last text, one of another part does not."""
        code = {"executableCode": {"language": "PYTHON", "code": "1+1"}, "thoughtSignature": "YQ=="}
        signed = {"text": "", "thoughtSignature": "Yg=="}
        said, _ = reply(GEMINI, candidate({"text": "A"}, code, {"text": "B"}), candidate(signed, finishReason="STOP"))
        history = attrs.evolve(HELLO, messages=[*HELLO.messages, said.message.to_dict()])
        sent = json.loads(GEMINI.request(history).body)["contents"][1]["parts"]
        assert [{"text": "A"}, code, {"text": "B", "thoughtSignature": "Yg=="}] == sent

    def test_several_candidates(self) -> None:
        """Candidates are kept apart, and the reply is whole when all have ended."""
        provider = providers.Gemini(api_key="k")
        decoder = provider.decoder(attrs.evolve(HELLO, params={"n": 2}))
        one = candidate({"text": "A"}, index=0, finishReason="STOP")
        two = candidate({"text": "B"}, index=1, finishReason="MAX_TOKENS")
        first = list(decoder.decode(*events(one)))
        assert not decoder.whole
        chunks = [*first, *decoder.decode(*events(two))]
        said = fold([*chunks, decoder.finish()])
        assert [("A", "stop"), ("B", "length")] == [(each.text, each.finish_reason) for each in said.choices]

    def test_calls_without_ids_get_their_own(self) -> None:
        """Calls of one reply never share an id, whichever events they come in."""
        call = {"functionCall": {"name": "f", "args": {"a": 1}}}
        said, _ = reply(GEMINI, candidate(call, call), candidate(call, finishReason="STOP"))
        assert (3, "tool_calls", "STOP") == (
            len({made.id for made in said.tool_calls}),
            said.finish_reason,
            said.raw_finish_reason,
        )

    def test_signatures_go_back_to_their_parts(self) -> None:
        """The signature of a call goes back with that call, and to Gemini alone."""
        call = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"}
        said, _ = reply(GEMINI, candidate({"text": "Look"}), candidate(call, finishReason="STOP"))
        history = attrs.evolve(HELLO, messages=[*HELLO.messages, said.message.to_dict()])
        parts = json.loads(GEMINI.request(history).body)["contents"][1]["parts"]
        assert [{"text": "Look"}, {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"}] == parts
        others = providers.OpenAI(api_key="k").request(history).body
        assert b"c2ln" not in others

    def test_ids_that_no_two_replies_share(self) -> None:
        """The ids made for calls of two replies in one history are not the same."""
        call = {"functionCall": {"name": "f", "args": {}}}
        ids = [
            reply(GEMINI, {**candidate(call, finishReason="STOP"), "responseId": id})[0].tool_calls[0].id
            for id in ("r-1", "r-2")
        ]
        assert ids[0] != ids[1]
        assert all(re.fullmatch("[A-Za-z0-9_]{1,40}", id) for id in ids)

    def test_an_error_in_a_list(self) -> None:
        """An error object, also as a list of one, is of the class of its HTTP twin."""
        error = {"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}
        for shape in (error, [error]):
            with pytest.raises(RateLimitError):
                reply(GEMINI, shape)

    def test_a_reply_that_comes_whole(self) -> None:
        """One object, or the list of events that a server without event streams sends, is the same reply."""
        shapes = [candidate({"text": "A"}), candidate({"text": "B"}, finishReason="STOP")]
        assert ("AB", "AB") == (reply(GEMINI, *shapes)[0].text, whole(GEMINI, shapes).text)


def done(output: list[dict[str, Any]], status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"type": f"response.{status}", "response": {"id": "resp", "status": status, "output": output, **more}}


MESSAGE = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Hello"}]}


class TestResponses:
    def test_only_the_last_event(self) -> None:
        """A server that sends no deltas is read from the event that has it all."""
        call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'}
        said, _ = reply(RESPONSES, done([MESSAGE, call]))
        assert ("Hello", "tool_calls", {"a": 1}) == (said.text, said.finish_reason, said.tool_calls[0].arguments)

    def test_nothing_is_told_twice(self) -> None:
        """Text that arrives in deltas, then whole, then again at the end is delivered once."""
        place = {"output_index": 0, "content_index": 0}
        said, _ = reply(
            RESPONSES,
            {"type": "response.output_text.delta", "delta": "Hel", **place},
            {"type": "response.output_text.done", "text": "Hello", **place},
            {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE},
            done([MESSAGE]),
        )
        assert "Hello" == said.text

    def test_without_numbers(self) -> None:
        """llama.cpp gives items no number: their ids tell them apart, and at the end their order."""
        added = "response.output_item.added"
        calls = [
            {"type": "function_call", "id": f"fc_{name}", "call_id": f"fc_{name}", "name": name, "arguments": ""}
            for name in "ab"
        ]
        whole_calls = [{**call, "id": "", "arguments": '{"x":1}'} for call in calls]
        said, _ = reply(
            RESPONSES,
            {"type": added, "item": {"type": "reasoning", "id": "rs_1"}},
            {"type": "response.reasoning_text.delta", "item_id": "rs_1", "delta": "Hm"},
            {"type": added, "item": {"type": "message", "id": "m"}},
            {"type": "response.output_text.delta", "item_id": "m", "delta": "Hel"},
            *({"type": added, "item": call} for call in calls),
            {"type": "response.function_call_arguments.delta", "item_id": "fc_a", "delta": '{"x":1}'},
            {"type": "response.function_call_arguments.delta", "item_id": "fc_b", "delta": '{"x":'},
            done([{"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm"}]}, MESSAGE, *whole_calls]),
        )
        assert ("Hm", "Hello") == (said.reasoning, said.text)
        assert [("fc_a", '{"x":1}'), ("fc_b", '{"x":1}')] == [(call.id, call.raw_arguments) for call in said.tool_calls]

    def test_an_item_that_the_end_leaves_out(self) -> None:
        """A list at the end that lacks an item shifts the others, and nothing is told twice."""
        said, _ = reply(
            RESPONSES,
            {"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning", "id": "rs"}},
            {"type": "response.output_text.delta", "delta": "Hello", "output_index": 1, "content_index": 0},
            {"type": "response.output_item.done", "output_index": 1, "item": MESSAGE},
            done([MESSAGE]),
        )
        assert "Hello" == said.text

    def test_items_go_back_in_their_order(self) -> None:
        """Reasoning stands before what it led to, as OpenAI checks it."""
        items = [
            {"type": "reasoning", "id": "rs1", "summary": [], "encrypted_content": "a"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "reasoning", "id": "rs2", "summary": [], "encrypted_content": "b"},
            {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
        ]
        told = [
            {"type": "response.output_item.done", "output_index": place, "item": item}
            for place, item in enumerate(items)
        ]
        said, _ = reply(RESPONSES, *told, done(items))
        history = attrs.evolve(HELLO, messages=[*HELLO.messages, said.message.to_dict()])
        assert items == json.loads(RESPONSES.request(history).body)["input"][1:]

    @pytest.mark.parametrize("text", ["select 1", "", " \n"])
    def test_a_custom_call_goes_back_as_one(self, text: str) -> None:
        """A call of a tool that takes free text, and its result, go back in their own shapes, blank text as none."""
        item = {"type": "custom_tool_call", "call_id": "c", "name": "sql", "input": text}
        said, _ = reply(RESPONSES, done([item]))
        assert text == said.tool_calls[0].raw_arguments
        result = {"role": "tool", "tool_call_id": "c", "content": "1"}
        history = attrs.evolve(HELLO, messages=[*HELLO.messages, said.message.to_dict(), result])
        sent = json.loads(RESPONSES.request(history).body)["input"][1:]
        item["input"] = text.strip()
        assert [item, {"type": "custom_tool_call_output", "call_id": "c", "output": "1"}] == sent

    @pytest.mark.parametrize(
        ("delta", "item"),
        [
            ({"output_index": 0}, {}),
            ({}, {}),
            ({"item_id": "other"}, {}),
            ({"item_id": "m"}, {"id": None}),
            ({"output_index": 0, "item_id": "other"}, {}),
        ],
        ids=str,
    )
    def test_nothing_is_told_twice_however_items_are_named(self, delta: Any, item: Any) -> None:
        """Deltas without events of their item are found again in what comes whole at the end."""
        thought = {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "Hm"}]}
        steps = [
            {"type": "response.reasoning_summary_text.delta", "delta": "H", **delta},
            {"type": "response.output_text.delta", "delta": "Hel", **delta},
        ]
        number = {"output_index": 0} if "output_index" in delta else {}
        told_whole = {"type": "response.output_item.done", "item": {**MESSAGE, **item}, **number}
        for ends in [[]] if delta == {"item_id": "other"} else [[], [told_whole]]:
            said, _ = reply(RESPONSES, *steps, *ends, done([thought, {**MESSAGE, **item}]))
            assert ("Hm", "Hello") == (said.reasoning, said.text)

    def test_a_name_for_a_nameless_item(self) -> None:
        """Text without an item id belongs to the first item that has one."""
        texts = {"m1": "ab", "m2": "cdef"}
        ends = [
            {
                "type": "response.output_item.done",
                "item": {"type": "message", "id": id, "content": [{"type": "output_text", "text": text}]},
            }
            for id, text in texts.items()
        ]
        said, _ = reply(RESPONSES, {"type": "response.output_text.delta", "delta": "ab"}, *ends, done([]))
        assert "abcdef" == said.text

    @pytest.mark.parametrize("late", ["done", "end"])
    def test_reasoning_that_comes_late_goes_back_first(self, late: str) -> None:
        """An item's place counts, and not when it was told."""
        item = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "xyz"}
        call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
        events = [
            {"type": "response.output_text.delta", "delta": "Hello", "output_index": 1, "content_index": 0},
            {"type": "response.output_item.added", "output_index": 2, "item": {**call, "arguments": ""}},
        ]
        if late == "done":
            events.append({"type": "response.output_item.done", "output_index": 0, "item": item})
        said, _ = reply(RESPONSES, *events, done([item, MESSAGE, call]))
        history = attrs.evolve(HELLO, messages=[*HELLO.messages, said.message.to_dict()])
        sent = json.loads(RESPONSES.request(history).body)["input"][1:]
        assert ["reasoning", "message", "function_call"] == [each["type"] for each in sent]

    SUMMARY = "response.reasoning_summary_text.delta"
    RAW = "response.reasoning_text.delta"

    @pytest.mark.parametrize("same", [["Hm, so"], ["Hm,", " so"], []], ids=str)
    @pytest.mark.parametrize("other", [["Hm, so"], ["A longer thought"], ["No"], []], ids=str)
    @pytest.mark.parametrize("numbered", [True, False])
    @pytest.mark.parametrize(("kind", "fields"), [(SUMMARY, ["summary", "content"]), (RAW, ["content", "summary"])])
    def test_reasoning_is_told_once(
        self, kind: str, fields: list[str], numbered: bool, other: list[str], same: list[str]
    ) -> None:
        """Reasoning that came in deltas is not told again, in whichever field and parts the whole item has it."""
        place = {"output_index": 0, "content_index": 0, "summary_index": 0} if numbered else {"item_id": "rs"}
        parts = [[{"type": "summary_text", "text": text} for text in texts] for texts in (same, other)]
        thought = {"type": "reasoning", "id": "rs", **dict(zip(fields, parts, strict=True))}
        said, _ = reply(
            RESPONSES,
            *({"type": kind, "delta": text, **place} for text in ("Hm,", " so")),
            {"type": "response.output_item.done", "output_index": 0, "item": thought},
            {"type": "response.output_item.done", "output_index": 1, "item": MESSAGE},
            done([thought, MESSAGE]),
        )
        assert ("Hm, so", "Hello") == (said.reasoning, said.text)

    def test_a_summary_beside_raw_reasoning(self) -> None:
        """For each item, only the kind of reasoning that comes first is delivered."""
        said, _ = reply(
            RESPONSES,
            {"type": self.SUMMARY, "delta": "short", "output_index": 0, "summary_index": 0},
            {"type": self.RAW, "delta": "long", "output_index": 0, "content_index": 0},
            {"type": self.RAW, "delta": " raw", "output_index": 1, "content_index": 0},
            {"type": self.SUMMARY, "delta": "brief", "output_index": 1, "summary_index": 0},
            {"type": self.SUMMARY, "delta": " end", "output_index": 2, "summary_index": 0},
            done([]),
        )
        assert "short raw end" == said.reasoning

    def test_reasoning_whose_parts_come_by_their_number(self) -> None:
        """Each part is told to its end where its deltas stopped early, and a part without deltas is told whole."""
        parts = [{"type": "summary_text", "text": text} for text in ("one ", "two ", "three")]
        thought = {"type": "reasoning", "id": "rs", "summary": parts}
        said, _ = reply(
            RESPONSES,
            {"type": self.SUMMARY, "delta": "one ", "output_index": 0, "summary_index": 0},
            {"type": self.SUMMARY, "delta": "tw", "output_index": 0, "summary_index": 1},
            done([thought, MESSAGE]),
        )
        assert "one two three" == said.reasoning

    @pytest.mark.parametrize(
        "item",
        [
            {"summary": [{"type": "summary_text", "text": "Hm"}]},
            {"content": [{"type": "reasoning_text", "text": "Hm"}]},
            {
                "summary": [{"type": "summary_text", "text": "In short"}],
                "content": [{"type": "reasoning_text", "text": "Hm"}],
            },
            {"summary": [{"type": "summary_text", "text": "Hm"}], "content": [{"type": "reasoning_text", "text": ""}]},
        ],
        ids=["summary", "content", "both", "empty content"],
    )
    def test_reasoning_that_comes_whole_only(self, item: dict[str, Any]) -> None:
        """Without deltas the item is told once, by its content where there is any, else by its summary."""
        thought = {"type": "reasoning", "id": "rs", **item}
        told = {"type": "response.output_item.done", "output_index": 0, "item": thought}
        for events in ([told, done([thought])], [done([thought])], [told, done([])]):
            assert "Hm" == reply(RESPONSES, *events)[0].reasoning

    def test_deltas_before_the_number_of_their_item(self) -> None:
        """An item that was known by its id, or by nothing, is not told again when it has a number."""
        for place in ({"item_id": "m"}, {}):
            said, _ = reply(
                RESPONSES,
                {"type": "response.output_text.delta", "delta": "Hel", **place},
                {"type": "response.output_item.done", "output_index": 1, "item": MESSAGE},
                done([MESSAGE]),
            )
            assert "Hello" == said.text

    @pytest.mark.parametrize("numbers", [[0, 0, 1, 2], [None] * 4, [0, 0, 0, 0]], ids=str)
    def test_parts_of_a_message_are_told_once(self, numbers: list[int | None]) -> None:
        """Parts of text and of a refusal are found again in the whole message, also where deltas do not number them."""
        deltas = [("output_text", "Hel"), ("output_text", "lo"), ("refusal", "No"), ("output_text", " there")]
        parts = [
            {"type": "output_text", "text": "Hello"},
            {"type": "refusal", "refusal": "No"},
            {"type": "output_text", "text": " there"},
        ]
        message = {"type": "message", "id": "m", "content": parts}
        steps = [
            {"type": f"response.{part}.delta", "delta": text, "output_index": 0}
            | ({} if number is None else {"content_index": number})
            for (part, text), number in zip(deltas, numbers, strict=True)
        ]
        said, _ = reply(RESPONSES, *steps, done([message]))
        assert ("Hello there", "No") == (said.text, said.refusal)

    def test_a_compaction_that_comes_whole(self) -> None:
        """A compaction goes back with the history, also from a reply that came as one JSON object."""
        item = {"type": "compaction", "id": "cmp", "encrypted_content": "xyz"}
        said = whole(RESPONSES, {"id": "r", "status": "completed", "output": [item, MESSAGE]})
        assert ({"openai-responses": item},) == said.provider_data
        said, _ = reply(
            RESPONSES,
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            done([{**item, "encrypted_content": "of another time"}, MESSAGE]),
        )
        assert ({"openai-responses": item},) == said.provider_data

    @pytest.mark.parametrize("status", ["in_progress", "queued", "", None])
    def test_the_last_event_is_the_end(self, status: str | None) -> None:
        """The event that completes a response does so, whatever status it repeats."""
        said, decoder = reply(RESPONSES, {**done([MESSAGE]), "response": {"status": status, "output": [MESSAGE]}})
        assert ("Hello", "stop", True) == (said.text, said.finish_reason, decoder.ended)

    @pytest.mark.parametrize("status", ["queued", "in_progress"])
    def test_what_is_under_way_is_no_reply(self, status: str) -> None:
        """A background response that came as JSON before its end is not complete."""
        decoder = RESPONSES.decoder(HELLO)
        chunks = decoder.decode_whole({"id": "r", "object": "response", "status": status, "output": [MESSAGE]})
        assert "Hello" == fold(chunks).text
        assert (False, False) == (decoder.whole, decoder.ended)

    def test_a_failure_keeps_what_came(self) -> None:
        """Text and usage that only the failure tells are in the partial reply."""
        decoder = RESPONSES.decoder(HELLO)
        usage = {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6}
        with pytest.raises(APIError):
            decoder.decode(*events(done([MESSAGE], "failed", error={"message": "no"}, usage=usage)))
        partial = fold(decoder.leftover())
        assert ("Hello", 6) == (partial.text, partial.usage.total_tokens)

    def test_a_refusal(self) -> None:
        """A refusal is no text."""
        place = {"output_index": 0, "content_index": 0}
        said, _ = reply(RESPONSES, {"type": "response.refusal.delta", "delta": "No", **place}, done([]))
        assert ("", "No") == (said.text, said.refusal)

    @pytest.mark.parametrize(
        ("why", "expected"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("new", "other")]
    )
    def test_incomplete(self, why: str, expected: str) -> None:
        """An incomplete reply says why, and is an end of its own."""
        said, decoder = reply(RESPONSES, done([MESSAGE], "incomplete", incomplete_details={"reason": why}))
        assert (expected, "incomplete", True) == (said.finish_reason, said.raw_finish_reason, decoder.ended)

    def test_reasoning_goes_back(self) -> None:
        """Encrypted reasoning is kept once, and sent with the history before what it led to."""
        item = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "xyz"}
        said, _ = reply(
            RESPONSES, {"type": "response.output_item.done", "output_index": 0, "item": item}, done([item, MESSAGE])
        )
        assert ({"openai-responses": item},) == said.provider_data
        history = attrs.evolve(HELLO, messages=[*HELLO.messages, said.message.to_dict()])
        sent = json.loads(RESPONSES.request(history).body)["input"]
        assert ["message", "reasoning", "message"] == [each["type"] for each in sent]

    def test_failed(self) -> None:
        """A failure is of the class that its code names."""
        error = {"code": "rate_limit_exceeded", "message": "slow"}
        with pytest.raises(RateLimitError, match="slow"):
            reply(RESPONSES, done([], "failed", error=error))

    def test_a_reply_that_comes_whole(self) -> None:
        """A reply that is not streamed gives the same completion."""
        body = {
            "id": "r",
            "object": "response",
            "status": "completed",
            "output": [MESSAGE],
            "usage": {"input_tokens": 1},
        }
        said = whole(RESPONSES, body)
        assert ("Hello", "stop", 1) == (said.text, said.finish_reason, said.usage.input_tokens)


class TestUnclosed:
    """Blocks and steps that no event closes before the reply ends are whole all the same."""

    def test_anthropic(self) -> None:
        """The input of a call and a thought are kept."""
        thought = {"type": "thinking", "thinking": "Hm", "signature": "c2ln"}
        call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
        opened = [block(number, each)[0] for number, each in enumerate((thought, call))]
        said, _ = reply(ANTHROPIC, START, *opened, *stopped("tool_use"))
        assert [{"a": 1}] == [made.arguments for made in said.tool_calls]
        assert {"anthropic": thought} in said.provider_data

    def test_interactions(self) -> None:
        """The arguments of a call that came with its start, and the summary of a thought, are told."""
        thought = {"type": "thought", "signature": "c2ln", "summary": [{"type": "text", "text": "Hm"}]}
        call = {"type": "function_call", "id": "c", "name": "f", "arguments": {"a": 1}}
        started = [
            {"event_type": "step.start", "index": number, "step": step} for number, step in enumerate((thought, call))
        ]
        end = {"event_type": "interaction.completed", "interaction": {"id": "i", "status": "requires_action"}}
        said, _ = reply(INTERACTIONS, *started, end)
        assert ("Hm", [{"a": 1}]) == (said.reasoning, [made.arguments for made in said.tool_calls])
        assert {"gemini-interactions": thought} in said.provider_data

    def test_bedrock(self) -> None:
        """A thought goes back with its signature."""
        delta = {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hm", "signature": "c2ln"}}}
        decoder = BEDROCK.decoder(HELLO)
        steps = [*events(delta, kind="contentBlockDelta"), *events({"stopReason": "end_turn"}, kind="messageStop")]
        chunks = [chunk for event in steps for chunk in decoder.decode(event)]
        kept = {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "c2ln"}}}
        assert ({"bedrock": kept},) == fold([*chunks, decoder.finish()]).provider_data


def test_calls_that_share_a_number_are_several() -> None:
    """Each start begins a call of its own, also where the server gives all calls one number, or none."""
    for place in ({}, {"index": 0}):
        starts = [
            {
                "type": "tool-call-start",
                "delta": {"message": {"tool_calls": {"id": id, "function": {"name": id, "arguments": "{}"}}}},
                **place,
            }
            for id in "abc"
        ]
        said, _ = reply(COHERE, *starts, {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}})
        assert ["a", "b", "c"] == [call.id for call in said.tool_calls]
    decoder = BEDROCK.decoder(HELLO)
    starts = [{"start": {"toolUse": {"toolUseId": id, "name": id}}} for id in "abc"]
    chunks = [chunk for event in events(*starts, kind="contentBlockStart") for chunk in decoder.decode(event)]
    assert ["a", "b", "c"] == [call.id for call in fold(chunks).tool_calls]


class TestInteractions:
    def test_a_failure_that_has_the_steps(self) -> None:
        """Text that only the last event has is kept when that event tells of a failure."""
        spoken = {"type": "model_output", "content": [{"type": "text", "text": "Hello"}]}
        decoder = INTERACTIONS.decoder(HELLO)
        interaction = {"id": "i", "status": "failed", "steps": [spoken]}
        with pytest.raises(APIError):
            decoder.decode(*events({"event_type": "interaction.completed", "interaction": interaction}))
        assert "Hello" == fold(decoder.leftover()).text

    @pytest.mark.parametrize("field", ["steps", "outputs"])
    @pytest.mark.parametrize("deltas", [True, False])
    def test_steps_of_the_last_event(self, field: str, deltas: bool) -> None:
        """Steps that only the last event has are told; where they were streamed they are not told again."""
        call = {"type": "function_call", "id": "c", "name": "f", "arguments": {"a": 1}}
        spoken = {"type": "model_output", "content": [{"type": "text", "text": "Hello"}]}
        thought = {"type": "thought", "signature": "c2ln", "summary": [{"type": "text", "text": "Hm"}]}
        streamed = [
            {"event_type": "step.start", "index": 0, "step": {"type": "thought"}},
            {"event_type": "step.delta", "index": 0, "delta": {"type": "thought_summary", "content": {"text": "Hm"}}},
            {"event_type": "step.delta", "index": 0, "delta": {"type": "thought_signature", "signature": "c2ln"}},
            {"event_type": "step.stop", "index": 0},
            {"event_type": "step.start", "index": 1, "step": {"type": "model_output"}},
            {"event_type": "step.delta", "index": 1, "delta": {"type": "text", "text": "Hello"}},
            {"event_type": "step.stop", "index": 1},
            {"event_type": "step.start", "index": 2, "step": {**call, "arguments": {}}},
            {"event_type": "step.delta", "index": 2, "delta": {"type": "arguments_delta", "arguments": '{"a": 1}'}},
            {"event_type": "step.stop", "index": 2},
        ]
        interaction = {"id": "i", "status": "requires_action", field: [thought, spoken, call]}
        end = {"event_type": "interaction.completed", "interaction": interaction}
        said, _ = reply(INTERACTIONS, *(streamed if deltas else ()), end)
        assert ("Hm", "Hello", {"a": 1}) == (said.reasoning, said.text, said.tool_calls[0].arguments)
        assert 1 == len(said.tool_calls)
        assert ["thought", None] == [datum["gemini-interactions"].get("type") for datum in said.provider_data]

    def test_contents_of_old(self) -> None:
        """The events that were there before steps are read as these."""
        call = {"type": "function_call", "id": "c", "name": "f", "arguments": {"a": 1}}
        said, _ = reply(
            INTERACTIONS,
            {"event_type": "interaction.start", "interaction": {"id": "i", "status": "in_progress"}},
            {"event_type": "content.start", "index": 0, "content": {"type": "text"}},
            {"event_type": "content.delta", "index": 0, "delta": {"type": "text", "text": "Hello"}},
            {"event_type": "content.stop", "index": 0},
            {"event_type": "content.start", "index": 1, "content": {"type": "function_call"}},
            {"event_type": "content.delta", "index": 1, "delta": call},
            {"event_type": "content.stop", "index": 1},
            {"event_type": "interaction.complete", "interaction": {"id": "i", "status": "requires_action"}},
        )
        assert ("Hello", "tool_calls") == (said.text, said.finish_reason)
        assert [("c", "f", {"a": 1})] == [(call.id, call.name, call.arguments) for call in said.tool_calls]

    def test_the_question_is_no_answer(self) -> None:
        """A step that tells the question again has no part in the reply."""
        question = {"type": "user_input", "content": [{"type": "text", "text": "Q?"}]}
        answer = {"type": "model_output", "content": [{"type": "text", "text": "A"}]}
        assert "A" == whole(INTERACTIONS, {"id": "i", "status": "completed", "steps": [question, answer]}).text

    def test_what_is_under_way_is_no_reply(self) -> None:
        """An interaction that came as JSON before its end is not complete."""
        decoder = INTERACTIONS.decoder(HELLO)
        decoder.decode_whole({"id": "i", "status": "in_progress", "steps": []})
        assert (False, False) == (decoder.whole, decoder.ended)

    @pytest.mark.parametrize("status", ["pending", "IN_PROGRESS", "", None])
    def test_a_status_on_the_way_is_no_end(self, status: str | None) -> None:
        """Only the event that completes it, or a status that is an end, ends an interaction; the event's name wins."""
        said, decoder = reply(
            INTERACTIONS,
            {"event_type": "interaction.created", "interaction": {"id": "i", "status": status}},
            {"event_type": "step.start", "index": 0, "step": {"type": "model_output"}},
            {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "Hi"}},
            {"event_type": "step.stop", "index": 0},
            {"event_type": "interaction.completed", "interaction": {"id": "i", "status": "in_progress"}},
        )
        assert ("Hi", "stop", True) == (said.text, said.finish_reason, decoder.ended)

    def test_a_failure_told_in_passing(self) -> None:
        """A status update that says failed is one."""
        with pytest.raises(APIError, match="failed"):
            reply(INTERACTIONS, {"event_type": "interaction.status_update", "status": "failed"})


class TestBedrock:
    def test_tools_of_the_server_are_no_calls(self) -> None:
        """A tool that Amazon runs is in `raw`, and is not a tool call."""
        start = {"toolUse": {"toolUseId": "t", "name": "code", "type": "server_tool_use"}}
        decoder, chunks = BEDROCK.decoder(HELLO), []
        for kind, shape in (
            ("contentBlockStart", {"contentBlockIndex": 0, "start": start}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": "{}"}}}),
            ("contentBlockStop", {"contentBlockIndex": 0}),
            ("messageStop", {"stopReason": "end_turn"}),
        ):
            chunks += decoder.decode(Event(json.dumps(shape), kind))
        assert (["text", "text"], ()) == ([chunk.type for chunk in chunks], fold(chunks).tool_calls)

    def test_blocks_go_back_in_their_order(self) -> None:
        """Thoughts between text and calls stand where they stood."""
        thoughts = [{"reasoningContent": {"reasoningText": {"text": each, "signature": each}}} for each in "ab"]
        call = {"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}}
        content = [thoughts[0], {"text": "Look."}, thoughts[1], call]
        said = whole(BEDROCK, {"output": {"message": {"content": content}}, "stopReason": "tool_use"})
        tools = [{"type": "function", "function": {"name": "f"}}]
        history = attrs.evolve(HELLO, messages=[*HELLO.messages, said.message.to_dict()], params={"tools": tools})
        assert content == json.loads(BEDROCK.request(history).body)["messages"][1]["content"]


class TestOthers:
    def test_ollama_unfinished(self) -> None:
        """A body that says that it is not done is no complete reply."""
        decoder = OLLAMA.decoder(HELLO)
        decoder.decode_whole({"message": {"content": "half"}, "done": False})
        assert (False, False) == (decoder.whole, decoder.ended)

    def test_ollama_ids_that_no_two_replies_share(self) -> None:
        """The ids made for calls of two replies in one history are not the same."""
        ids = []
        for second in range(2):
            message = {"content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
            said, _ = reply(OLLAMA, {"created_at": f"2026-01-01T00:00:0{second}Z", "message": message, "done": True})
            ids.append(said.tool_calls[0].id)
        assert ids[0] != ids[1]

    def test_cohere_fails_at_the_end(self) -> None:
        """An end that is an error is one, and not a short reply."""
        with pytest.raises(APIError, match="broke down"):
            reply(COHERE, {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "broke down"}})

    def test_cohere_whole(self) -> None:
        """A reply that is not streamed gives the same completion."""
        message = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}
        said = whole(COHERE, {"id": "c", "message": message, "finish_reason": "COMPLETE", "usage": {}})
        assert ("Hi", "stop") == (said.text, said.finish_reason)

    def test_ollama_fails_midway(self) -> None:
        """A line with an error ends the reply as a failure."""
        with pytest.raises(APIError, match="out of memory"):
            reply(OLLAMA, {"message": {"content": "A"}}, {"error": "out of memory"})

    def test_ollama_whole(self) -> None:
        """A reply that is not streamed gives the same completion."""
        body = {
            "model": "m",
            "message": {"content": "Hi"},
            "done_reason": "stop",
            "prompt_eval_count": 1,
            "eval_count": 2,
        }
        said = whole(OLLAMA, body)
        assert ("Hi", "stop", 3) == (said.text, said.finish_reason, said.usage.total_tokens)

    @pytest.mark.parametrize("provider", [ANTHROPIC, GEMINI, RESPONSES, COHERE, OLLAMA], ids=lambda each: each.name)
    @pytest.mark.parametrize("body", [None, [], {}, "text", 3, [1]])
    def test_no_reply_at_all(self, provider: Provider, body: Any) -> None:
        """JSON that is something else is a documented error."""
        with pytest.raises(ProtocolError):
            provider.decoder(HELLO).decode_whole(body)

    @pytest.mark.parametrize("provider", [ANTHROPIC, GEMINI, RESPONSES, COHERE, OLLAMA], ids=lambda each: each.name)
    @pytest.mark.parametrize("data", ["no json", "[1]", "3", '"text"', "nul"])
    def test_events_that_are_none(self, provider: Provider, data: str) -> None:
        """An event that is no JSON object is a documented error with an excerpt."""
        with pytest.raises(ProtocolError) as caught:
            provider.decoder(HELLO).decode(Event(data))
        assert data.strip("[]")[:3] in caught.value.excerpt


def test_half_characters_are_joined_in_every_format() -> None:
    """A character whose halves come escaped in two events is one character."""
    half = '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}'
    said, _ = reply(ANTHROPIC, START, half % "a\\ud83d", half % "\\ude00b", *stopped("end_turn"))
    assert "a😀b" == said.text
