"""A chunk is a frozen value, however it was created."""

from __future__ import annotations

import pickle

import attrs
import pytest

from streamkit import Chunk, ToolCallDelta, Usage
from streamkit.values.chunks import text_chunk

RAW = {"id": "r1", "choices": []}


def test_the_fast_way_makes_the_same_chunk() -> None:
    """`text_chunk` and the constructor give equal chunks: type, value, hash of the fields and repr."""
    fast = text_chunk("Hi", 1, RAW, "r1", "m")
    slow = Chunk("text", text="Hi", index=1, raw=RAW, id="r1", model="m")
    assert Chunk is type(fast)
    assert slow == fast
    assert repr(slow) == repr(fast)
    assert attrs.asdict(slow) == attrs.asdict(fast)
    assert hash(text_chunk("Hi", 1, None, "r1", "m")) == hash(attrs.evolve(slow, raw=None))


@pytest.mark.parametrize("chunk", [text_chunk("Hi", 0, None, "", ""), Chunk("text", text="Hi")], ids=["fast", "slow"])
def test_frozen_and_slotted(chunk: Chunk) -> None:
    """No field can be set and no attribute added."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        chunk.text = "other"  # type: ignore[misc]
    with pytest.raises((AttributeError, attrs.exceptions.FrozenInstanceError)):
        chunk.other = 1  # type: ignore[attr-defined]
    assert not hasattr(chunk, "__dict__")
    assert "Hi" == chunk.text


@pytest.mark.parametrize(
    "chunk",
    [
        text_chunk("Hi", 0, RAW, "r1", "m"),
        Chunk("tool_call", tool_call=ToolCallDelta(1, "id", "name", "{")),
        Chunk("done", finish_reason="stop", raw_finish_reason="eos", usage=Usage(1, 2, 3, cost=0.5)),
    ],
    ids=lambda chunk: chunk.type,
)
def test_pickles(chunk: Chunk) -> None:
    """A chunk goes to another process and back whole."""
    again = pickle.loads(pickle.dumps(chunk))
    assert chunk == again
    assert Chunk is type(again)


def test_only_done_is_finished() -> None:
    """`finished` is true for the `done` chunk alone."""
    kinds = ("text", "reasoning", "refusal", "tool_call", "tool_result", "done")
    assert ["done"] == [kind for kind in kinds if Chunk(kind).finished]  # type: ignore[arg-type]


def test_printing_is_always_right() -> None:
    """Unset fields are empty text or None, so that `text` can be printed without a check."""
    chunk = Chunk("reasoning", reasoning="hm")
    assert ("", "hm", "", 0) == (chunk.text, chunk.reasoning, chunk.refusal, chunk.index)
    assert (None, None, None, None) == (chunk.tool_call, chunk.finish_reason, chunk.usage, chunk.raw)


def test_repr_shows_what_is_there() -> None:
    """The repr has the type and the fields that are set, and never the raw event."""
    assert "Chunk(type='text', text='Hi')" == repr(text_chunk("Hi", 0, RAW, "", ""))
    shown = repr(Chunk("done", finish_reason="stop", usage=Usage(input_tokens=1), raw=RAW))
    assert shown.startswith("Chunk(type='done', finish_reason='stop', usage=Usage(input_tokens=1,")
    assert "choices" not in shown


def test_unknown_usage_is_none() -> None:
    """A count that the provider did not send is None, never 0."""
    assert [*[None] * 7, False] == list(attrs.astuple(Usage()))


def test_chunks_can_be_hashed() -> None:
    """Equal chunks have equal hashes, whatever the event and the provider's data are; these count for equality."""
    data = ({"anthropic": {"type": "thinking"}},)
    chunk = Chunk("text", text="Hi", raw=RAW, provider_data=data, usage=Usage(1))
    twin = Chunk("text", text="Hi", raw=dict(RAW), provider_data=tuple(map(dict, data)), usage=Usage(1))
    other = attrs.evolve(chunk, raw={"id": "r2"})
    assert {chunk: 1} == {twin: 1}
    assert 2 == len({chunk, twin, other})
