"""Mistral's deviations from OpenAI: ids of nine characters, and reasoning as parts of the content."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamkit import Client, ConfigError, Message, ProtocolError, ToolCall
from streamkit.providers import ChatRequest, Mistral, OpenAI
from streamkit.providers.call import messages_of
from streamkit.providers.openai_chat.mistral_decoder import MistralDecoder
from streamkit.testing import Reply, Server, text_reply
from streamkit.testing.openai_replies import DONE, chunk_event, sse_event


def body_of(messages: Any, provider: Any = None, **params: Any) -> dict[str, Any]:
    request = (provider or Mistral("k")).request(ChatRequest("m", messages_of(messages), params))
    decoded: dict[str, Any] = json.loads(request.body)
    return decoded


THOUGHTS: list[Any] = [
    [{"type": "thinking", "thinking": [{"type": "text", "text": "Let me"}]}],
    [{"type": "thinking", "thinking": " look.", "signature": "sig"}, {"type": "text", "text": "So"}],
    " be it.",
]


def reply_of(*contents: Any) -> Reply:
    events = [
        sse_event({"id": "r", "model": "m", "choices": [{"index": 0, "delta": {"content": c}, "finish_reason": None}]})
        for c in contents
    ]
    return Reply([*events, chunk_event(finish_reason="stop"), DONE])


class TestThoughts:
    def test_they_go_back(self) -> None:
        """Thoughts go back with the history before the text, to Mistral and to nobody else."""
        with Server(reply_of(*THOUGHTS), text_reply("Hi")) as server, Client([Mistral("k", server.url)]) as client:
            said = client.complete("mistral/m", "Hi")
            client.complete("mistral/m", [Message("user", "Hi"), said.message])
            sent = server.requests[1].json()["messages"][1]
        thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Let me look."}], "signature": "sig"}
        assert ("Let me look.", "So be it.") == (said.reasoning, said.text)
        assert {"role": "assistant", "content": [thought, {"type": "text", "text": "So be it."}]} == sent
        assert [{"role": "assistant", "content": "So be it."}] == body_of([said.message], OpenAI("k"))["messages"]

    def test_before_a_call(self) -> None:
        """The reasoning before a tool call is sent back with the call."""
        datum = {"type": "thinking", "thinking": [{"type": "text", "text": "Look"}]}
        call = ToolCall.of("aB3456789", "f", "")
        message = Message("assistant", None, tool_calls=(call,), provider_data=({"mistral": datum}, {"mistral": 5}))
        (sent,) = body_of([message])["messages"]
        assert ([datum], "{}") == (sent["content"], sent["tool_calls"][0]["function"]["arguments"])

    @pytest.mark.parametrize("odd", [5, None, [], [5], [{"text": 5}], {}])
    def test_odd_shapes(self, odd: Any) -> None:
        """A malformed thought does not break the reply, and is not sent back."""
        with Server(reply_of([{"type": "thinking", "thinking": odd}, "a"])) as server:
            with Client([Mistral("k", server.url)], retry=1) as client:
                said = client.complete("mistral/m", "Hi")
        assert ("a", ()) == (said.text, said.provider_data)

    def test_only_of_the_first_choice(self) -> None:
        """Only the first choice goes into the history."""
        decoder = MistralDecoder("p", 2)
        told = []
        for index in (1, 0):
            part = {"type": "thinking", "thinking": f"of {index}"}
            choice = {"index": index, "delta": {"content": [part]}, "finish_reason": "stop"}
            told += decoder.decode_whole({"id": "r", "choices": [choice]})
        told.append(decoder.finish())
        (datum,) = [datum for chunk in told for datum in chunk.provider_data]
        assert "of 0" == datum["mistral"]["thinking"][0]["text"]

    def test_they_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server cannot make a stream keep thoughts without end."""
        monkeypatch.setattr("streamkit.providers.openai_chat.remembering_decoder._MOST_DETAILS", 10)
        with Server(reply_of(*THOUGHTS)) as server, Client([Mistral("k", server.url)], retry=1) as client:
            with pytest.raises(ProtocolError, match="reasoning of more than 10 characters"):
                client.complete("mistral/m", "Hi")


@pytest.mark.parametrize("content", ["", None, [""]])
def test_a_message_of_nothing_is_left_out(content: Any) -> None:
    """An assistant's or the system's message that says nothing, which Mistral refuses, is not sent; a call of it is."""
    calls = [{"id": "aB3456789", "function": {"name": "f"}}]
    nothing = [{"role": role, "content": content} for role in ("system", "assistant")]
    asked = {"role": "user", "content": "Hi"}
    assert [asked] == body_of([nothing[0], asked, nothing[1]])["messages"]
    assert 2 == len(body_of([asked, {**nothing[1], "tool_calls": calls}])["messages"])


def test_a_prefix_is_sent() -> None:
    """`prefix`, with which Mistral goes on from the last message, goes along."""
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well,", "prefix": True}]
    assert messages == body_of(messages)["messages"]


@pytest.mark.parametrize("given", [{}, {"parameters": None}, {"parameters": {}}])
def test_a_function_has_parameters(given: dict[str, Any]) -> None:
    """Mistral wants them of each function; its own tools go as they stand."""
    tools = [{"type": "function", "function": {"name": "f", **given}}, {"type": "web_search"}]
    function = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    assert [{"type": "function", "function": function}, tools[1]] == body_of("Hi", tools=tools)["tools"]


def test_shapes_are_checked() -> None:
    """Messages in OpenAI's shape are checked as for OpenAI."""
    for name, odd in (("tools", "x"), ("tools", [5]), ("response_format", "json"), ("tool_choice", 5)):
        with pytest.raises(ConfigError, match=name):
            body_of("Hi", **{"tools": [{"type": "function", "function": {"name": "f"}}], name: odd})


def test_an_answer_stands_between_a_result_and_a_question() -> None:
    """Mistral refuses a user's message directly after a tool's; what was passed is not changed."""
    call = ToolCall.of("aB3456789", "f", "{}")
    messages = [
        Message("user", "Hi"),
        Message("assistant", None, tool_calls=(call,)),
        Message("tool", "18 C", tool_call_id="aB3456789"),
        Message("user", "And now?"),
        Message("user", "Well?"),
    ]
    before = list(messages)
    sent = body_of(messages)["messages"]
    assert ["user", "assistant", "tool", "assistant", "user", "user"] == [message["role"] for message in sent]
    assert {"role": "assistant", "content": "OK."} == sent[3]
    assert before == messages


def test_a_system_message_out_of_place_joins_the_first() -> None:
    """One after an answer or a result, which Mistral refuses, stands at the beginning; one after a question stays."""
    said = [("system", "A"), ("user", "1"), ("system", "B"), ("assistant", "2"), ("developer", "C"), ("user", "3")]
    sent = body_of([Message(role, text) for role, text in said])["messages"]  # type: ignore[arg-type]
    assert ["A", "C", "1", "B", "2", "3"] == [message["content"] for message in sent]
