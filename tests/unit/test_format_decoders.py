"""What the formats' documentation has and the recordings lack: rare events, rare ends, replies that come whole."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from streamkit import APIError, Completion, OverloadedError, ProtocolError, RateLimitError, fold, providers
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
        """What runs on Anthropic's side is in raw, and not for the user to run."""
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

    def test_without_an_end_it_is_not_whole(self) -> None:
        """Text alone is no complete reply, nor is a stray [DONE] its end."""
        _, decoder = reply(ANTHROPIC, START, *block(0, {"type": "text", "text": "A"}), "[DONE]")
        assert (False, False) == (decoder.whole, decoder.ended)


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
        """What came in deltas, then whole, then again at the end, is told once."""
        place = {"output_index": 0, "content_index": 0}
        said, _ = reply(
            RESPONSES,
            {"type": "response.output_text.delta", "delta": "Hel", **place},
            {"type": "response.output_text.done", "text": "Hello", **place},
            {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE},
            done([MESSAGE]),
        )
        assert "Hello" == said.text

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


class TestOthers:
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
