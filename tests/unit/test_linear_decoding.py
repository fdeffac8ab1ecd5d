"""What a fragment costs does not grow with what came before it, in any wire format."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import Chunk, ProtocolError
from streamkit.providers.reply.order import Layout
from streamkit.providers.reply.tool_index import ToolIndex
from streamkit.transport.framing import json_lines
from streamkit.values.completion import Fold
from tests.conformance.formats import FORMATS, HELLO

COUNT = 4_000  # fragments
MORE = 8  # times as many
Events = Iterator[tuple[str, dict[str, Any]]]  # type, value


def chat(delta: dict[str, Any], **fields: Any) -> tuple[str, dict[str, Any]]:
    return "message", {"id": "c", "choices": [{"index": 0, "delta": delta, **fields}]}


def call(arguments: Any, index: Any = 0, id: str | None = None, name: str | None = "f") -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}


def nameless(count: int) -> Events:
    yield chat(call('{"a":"', name="f"))
    for _ in range(count):
        yield chat(call("some text ", name="g"))


def brackets(count: int) -> Events:
    yield chat(call('{"a":[', name="f"))
    for _ in range(count):
        yield chat(call("[]," * 4, name="g"))


def never_json(count: int) -> Events:
    yield chat(call("{a}" + "x" * 1000, name="f"))
    for _ in range(count):
        yield chat(call("{} some text", name="g"))


def blank(count: int) -> Events:
    yield chat(call("{", name="f"))
    for _ in range(count):
        yield chat(call("}{", name="g"))


def big_then_small(count: int) -> Events:
    yield chat(call('{"a":"' + "x" * 100 * count, name="f"))
    for _ in range(count // 20):
        yield chat(call("y", name="g"))


def ids_without_numbers(count: int) -> Events:
    for number in range(1000):
        yield chat(call("", None, f"id{number}"))
    for _ in range(count):
        yield chat(call("x", None, "id999"))


def details(count: int) -> Events:
    for _ in range(count):
        yield chat({"reasoning_details": [{"type": "reasoning.text", "text": "some text", "index": 0}]})


def signatures(count: int) -> Events:
    yield "", {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}
    for _ in range(count):
        yield (
            "",
            {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "x" * 200}},
        )
    yield "", {"type": "content_block_stop", "index": 0}


def counts(count: int) -> Events:
    for number in range(count):
        usage = {f"k{number}_{i}": i for i in range(10)}
        yield "", {"type": "message_delta", "delta": {}, "usage": {"output_tokens": number, **usage}}


def thought_signatures(count: int) -> Events:
    yield "", {"event_type": "step.start", "index": 0, "step": {"type": "thought"}}
    for _ in range(count):
        delta = {"type": "thought_signature", "signature": "x" * 200}
        yield "", {"event_type": "step.delta", "index": 0, "delta": delta}
    yield "", {"event_type": "step.stop", "index": 0}


def thoughts(count: int) -> Events:
    for _ in range(count):
        delta = {"reasoningContent": {"text": "x" * 100, "signature": "y" * 100}}
        yield "contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}
    yield "contentBlockStop", {"contentBlockIndex": 0}


def partial_arguments(count: int) -> Events:
    for number in range(count):
        path = {"jsonPath": "$.a[0].b", "stringValue": "x" * 200}
        function = {"name": "" if number else "f", "partialArgs": [path], "willContinue": True}
        yield "", {"candidates": [{"content": {"parts": [{"functionCall": function}]}}]}
    yield "", {"candidates": [{"content": {"parts": [{"functionCall": {}}]}, "finishReason": "STOP"}]}


def nameless_items(count: int) -> Events:
    yield "", {"type": "response.output_item.added", "item": {"type": "message"}}
    for number in range(count):
        yield "", {"type": "response.output_text.delta", "item_id": f"m{number}", "delta": "x"}


def scattered_items(count: int) -> Events:
    for number in range(count):
        yield (
            "",
            {"type": "response.output_text.delta", "output_index": 10**6 + number, "content_index": 0, "delta": "x"},
        )
        item = {"type": "reasoning", "id": f"r{number}", "encrypted_content": "e"}
        yield "", {"type": "response.output_item.done", "output_index": number, "item": item}


def plans(count: int) -> Events:
    for _ in range(count):
        yield "", {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "x" * 100}}}
    yield "", {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}


def lines(count: int) -> Events:
    for _ in range(count):
        yield "", {"message": {"content": "x" * 100, "thinking": "y" * 100}}
    yield "", {"done": True}


def seconds(api: str, events: Callable[[int], Events], count: int) -> float:
    """Return the processor time of decoding and folding."""
    decoder = FORMATS[api]().decoder(HELLO)
    frames = [SimpleNamespace(event=kind, data=json.dumps(value)) for kind, value in events(count)]
    folded = Fold("p")
    began = time.process_time()
    for frame in frames:
        folded.add(decoder.decode(frame))
    folded.completion()
    return time.process_time() - began


@pytest.mark.parametrize(
    ("api", "events"),
    [
        *(("openai-chat", events) for events in (nameless, brackets, never_json, blank, big_then_small)),
        ("openai-chat", ids_without_numbers),
        ("openai-chat", details),
        ("anthropic-messages", signatures),
        ("anthropic-messages", counts),
        ("gemini-interactions", thought_signatures),
        ("bedrock-converse", thoughts),
        ("gemini", partial_arguments),
        ("openai-responses", nameless_items),
        ("openai-responses", scattered_items),
        ("cohere-chat-v2", plans),
        ("ollama-ndjson", lines),
    ],
)
def test_time_is_in_proportion(api: str, events: Callable[[int], Events]) -> None:
    """Eight times as many fragments take some eight times as long, not sixty-four."""
    few = max(0.05, seconds(api, events, COUNT))
    assert seconds(api, events, COUNT * MORE) < few * MORE * 3


def test_a_look_after_each_fragment_decodes_arguments_that_grew_alone() -> None:
    """Looking at the reply while its text comes does not decode a call's arguments again."""
    folded = Fold("p")
    decoder = FORMATS["openai-chat"]().decoder(HELLO)
    for kind, value in (chat(call(json.dumps({"a": "x" * 2_000_000}), id="a")),):
        folded.add(decoder.decode(SimpleNamespace(event=kind, data=json.dumps(value))))
    first = folded.completion().tool_calls[0]
    folded.add([Chunk("text", text="more")])
    assert folded.completion().tool_calls[0] is first


FRAGMENTS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1]),
        st.sampled_from(["", "f", "f", "g"]),
        st.sampled_from(["", " ", "{", "}", "{}", '{"a":', "1", "null", "nu", "ll", '"', "\\", "[", "]", "x"]),
    ),
    max_size=12,
)


def plainly(fragments: list[tuple[int, str, str]]) -> list[int]:
    """Number the calls as the rule says, decoding all of a call's arguments for each fragment."""
    found: list[int] = []
    by_number: dict[int, int] = {}
    names: dict[int, str] = {}
    texts: dict[int, str] = {}
    for number, name, arguments in fragments:
        which = by_number.get(number)
        if which is not None and name and names.get(which) and name != names[which]:
            try:
                whole = json.loads(texts[which].strip() or "null")
            except ValueError:
                whole = 0
            which = None if isinstance(whole, dict | None) else which
        if which is None:
            which = number if number not in texts else max(texts) + 1
        by_number[number] = which
        if name:
            names.setdefault(which, name)
        texts[which] = texts.get(which, "") + arguments
        found.append(which)
    return found


@given(FRAGMENTS)
def test_fragments_without_ids_go_where_the_rule_says(fragments: list[tuple[int, str, str]]) -> None:
    """Looking at each fragment once finds the same calls as decoding all of them each time."""
    index, found = ToolIndex(), []
    for number, name, arguments in fragments:
        index.begin_event()
        found.append(index.of(number, "", name, arguments)[0])
    assert plainly(fragments) == found


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=12), st.lists(st.integers(0, 6), max_size=4))
def test_a_layout_keeps_the_order(entries: list[tuple[int, bool]], blocks: list[int]) -> None:
    """Before each block stands what came with a lower place, in the order in which it came."""
    layout, left = Layout(), dict(enumerate(place for place, _ in entries))
    for number, (place, is_call) in enumerate(entries):
        layout.at(place)
        if is_call:
            layout.call(number)
        else:
            left.pop(number)  # text of one place in a row is one entry
            layout.text += 1
    for before in [*blocks, None]:
        told = [entry for datum in layout.take(before) for entry in datum["layout"]]
        expected = [number for number, place in left.items() if before is None or place < before]
        assert expected == [number for kind, number in told if kind == "call"]
        left = {number: place for number, place in left.items() if number not in expected}


def test_lines_in_single_bytes() -> None:
    """A line of JSON that arrives byte by byte is not copied again and again."""
    line = json.dumps({"a": "x" * 2_000_000}).encode() + b"\n"
    began = time.process_time()
    assert 1 == len(list(json_lines(line[i : i + 1] for i in range(len(line)))))
    assert time.process_time() - began < 20


@pytest.mark.parametrize("count", [128, 129])
@pytest.mark.parametrize("api", ["openai-chat", "gemini"])
def test_choices_are_bounded(api: str, count: int) -> None:
    """More choices than anybody asks for end the reply."""
    field, rest = ("choices", {"delta": {"content": "x"}}) if api == "openai-chat" else ("candidates", {})
    decoder = FORMATS[api]().decoder(HELLO)
    events = [SimpleNamespace(event="", data=json.dumps({field: [{"index": i, **rest}]})) for i in range(count)]
    if count <= 128:
        for event in events:
            decoder.decode(event)
        return
    with pytest.raises(ProtocolError, match="128 choices"):
        for event in events:
            decoder.decode(event)
