"""Values become JSON and come back equal; wrong input is a `ConfigError` that names the path."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import (
    Choice,
    Chunk,
    Completion,
    ConfigError,
    FilePart,
    ImagePart,
    Message,
    TextPart,
    ToolCall,
    ToolCallDelta,
    Usage,
    fold,
)
from streamkit.values.chunks import ChunkType, FinishReason, text_chunk
from streamkit.values.messages import Role

WORD = st.text(max_size=8)
COUNT = st.none() | st.integers(0, 2**70)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3),
    max_leaves=6,
)
DATA = st.lists(st.dictionaries(WORD, JSON, min_size=1, max_size=1), max_size=2).map(tuple)
USAGE = st.builds(
    Usage, COUNT, COUNT, COUNT, COUNT, COUNT, st.none() | st.floats(0, 9), COUNT, cached_apart=st.booleans()
)
DELTA = st.builds(ToolCallDelta, st.integers(0, 9), WORD, WORD, WORD)
REASON: st.SearchStrategy[Any] = st.none() | st.sampled_from(get_args(FinishReason))
CHUNK = st.builds(
    Chunk,
    st.sampled_from(get_args(ChunkType)),
    text=WORD,
    reasoning=WORD,
    refusal=WORD,
    index=st.integers(0, 3),
    tool_call=st.none() | DELTA,
    finish_reason=REASON,
    usage=st.none() | USAGE,
    raw=JSON,
    id=WORD,
    model=WORD,
    raw_finish_reason=st.none() | WORD,
    provider_data=DATA,
)
CALL = st.builds(ToolCall.of, WORD, WORD, JSON.map(json.dumps) | st.sampled_from(["", " ", "{", '{"a": 1']))
CALLS = st.lists(CALL, max_size=2).map(tuple)
CHOICE = st.builds(Choice, st.integers(0, 3), WORD, WORD, WORD, CALLS, REASON, st.none() | WORD)
COMPLETION = st.builds(
    Completion,
    WORD,
    WORD,
    WORD,
    CALLS,
    REASON,
    st.none() | WORD,
    USAGE,
    WORD,
    WORD,
    WORD,
    st.lists(CHOICE, min_size=1, max_size=2).map(tuple),
    DATA,
    st.booleans(),
)
URL = st.sampled_from(["https://host/a.png", "http://host/a", "data:image/png;base64,AA==", "gs://b/a", "s3://b/a"])
PART = (
    WORD
    | st.builds(TextPart, WORD)
    | st.builds(ImagePart, URL, st.none() | st.sampled_from(["low", "high"]))
    | st.builds(FilePart, URL, st.none() | WORD)
    | st.dictionaries(WORD, JSON, max_size=3)
    | st.just({"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}})
    | st.just({"type": "image_url", "image_url": "https://host/a.png"})
    | st.just({"type": "image_url", "image_url": {"url": "https://host/a.png", "detail": None}})
    | st.just({"type": "image_url", "image_url": {"url": "cat.png"}})
    | st.just({"type": "file", "file": {"file_id": "file-1"}})
)
CONTENT = st.none() | WORD | st.lists(PART, max_size=3) | st.lists(PART, max_size=2).map(tuple)
MESSAGE = st.builds(Message, st.sampled_from(get_args(Role)), CONTENT, CALLS, st.none() | WORD, st.none() | WORD, DATA)


@given(USAGE | DELTA | CHUNK | CALL | CHOICE | COMPLETION | MESSAGE)
def test_there_and_back(value: Any) -> None:
    """Each value becomes a dict that `json.dumps` takes, and the JSON becomes an equal value."""
    shape = value.to_dict()
    text = json.dumps(shape)
    assert value == type(value).from_dict(shape) == type(value).from_dict(json.loads(text))
    assert text == json.dumps(type(value).from_dict(shape).to_dict())
    assert pickle.loads(pickle.dumps(value)) == value


@given(st.lists(CHUNK, max_size=6))
def test_chunks_that_were_away_fold_alike(chunks: list[Chunk]) -> None:
    """The completion of chunks that went through JSON is the same, with its message."""
    completion = fold(chunks)
    assert completion == fold(Chunk.from_dict(chunk.to_dict()) for chunk in chunks)
    assert completion.message == Message.from_dict(completion.message.to_dict())


def test_a_fast_chunk() -> None:
    """The chunks of the hot path are like the others."""
    chunk = text_chunk("Hi", 0, {"id": "r"}, "r", "m")
    assert chunk == Chunk.from_dict(json.loads(json.dumps(chunk.to_dict())))


def test_what_is_no_json() -> None:
    """Values that JSON does not have are written by the documented rule."""
    raw = {"bytes": b"\x00\xff", 3: (1, {2}), "mapping": MappingProxyType({"a": 1}), "other": 1j}
    assert {"bytes": "AP8=", "3": [1, [2]], "mapping": {"a": 1}, "other": "1j"} == Chunk("done", raw=raw).to_dict()[
        "raw"
    ]


def test_deep_nesting() -> None:
    """An event that is nested absurdly deep can be written still."""
    raw: Any = []
    for _ in range(5000):
        raw = [raw]
    assert json.dumps(Chunk("done", raw=raw).to_dict()).count("[") < 300


@pytest.mark.parametrize(
    ("read", "shape"),
    [
        (Completion.from_dict, Completion("Hi").to_dict()),
        (Choice.from_dict, Choice(0, "Hi").to_dict()),
        (Chunk.from_dict, Chunk("text", text="Hi").to_dict()),
        (Usage.from_dict, Usage(1).to_dict()),
        (ToolCallDelta.from_dict, ToolCallDelta(0, "c", "f").to_dict()),
        (ToolCall.from_dict, ToolCall.of("c", "f", "{}").to_dict()),
        (Message.from_dict, Message("user", "Hi").to_dict()),
    ],
)
def test_keys_of_a_newer_version(read: Callable[[dict[str, Any]], Any], shape: dict[str, Any]) -> None:
    """Unknown keys are ignored, and a key that is missing has its default."""
    assert read(shape) == read({**shape, "new in 2": {"deep": [1]}})
    assert Completion() == Completion.from_dict({})
    assert Completion.from_dict({"finish_reason": "stop"}).complete


@pytest.mark.parametrize(
    ("read", "shape", "words"),
    [
        (Completion.from_dict, "text", r"Completion\.from_dict\(\): expected object, got str"),
        (Completion.from_dict, None, "expected object, got null"),
        (Completion.from_dict, [], "expected object, got array"),
        (Completion.from_dict, {1: 2}, "expected str"),
        (Completion.from_dict, {"usage": {"input_tokens": "3"}}, r": usage\.input_tokens: expected int \| null, got"),
        (Completion.from_dict, {"choices": [{}, {"index": None}]}, r": choices\[1\]\.index: expected int"),
        (Completion.from_dict, {"finish_reason": "bored"}, r": finish_reason: .*'bored'"),
        (Completion.from_dict, {"complete": "yes"}, ": complete: expected bool"),
        (Chunk.from_dict, {"text": "Hi"}, "missing required field type"),
        (Chunk.from_dict, {"type": "noise"}, ": type: .*'noise'"),
        (Chunk.from_dict, {"type": "text", "provider_data": [1]}, r": provider_data\[0\]: expected object"),
        (Usage.from_dict, {"cost": "free"}, r"Usage\.from_dict\(\): cost: expected float"),
        (ToolCall.from_dict, {"type": "custom", "custom": {}}, "missing required field function"),
        (Message.from_dict, {"content": "Hi"}, "missing required field role"),
        (Message.from_dict, {"role": "bot"}, ": role: .*'bot'"),
        (Message.from_dict, {"role": "user", "content": 3}, ": content: expected"),
        (Message.from_dict, {"role": "user", "content": ["Hi", 3]}, r": content\[1\]: expected"),
        (
            Message.from_dict,
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
            r": tool_calls\[0\]\.function\.arguments: expected str, got object",
        ),
        (TextPart.from_dict, {"type": "image_url", "image_url": {"url": "https://x"}}, "TextPart.to_dict"),
        (ImagePart.from_dict, {"type": "image_url", "image_url": {"url": "cat.png"}}, "ImagePart.to_dict"),
        (FilePart.from_dict, {"type": "file", "file": {"file_id": "f"}}, "FilePart.to_dict"),
        (FilePart.from_dict, None, "FilePart.to_dict"),
    ],
)
def test_wrong_input(read: Callable[[Any], Any], shape: Any, words: str) -> None:
    """What cannot be read is a ConfigError that names the path."""
    with pytest.raises(ConfigError, match=words):
        read(shape)


@pytest.mark.parametrize("part", [TextPart("Hi"), ImagePart("https://x/a", "low"), FilePart("data:a/b;base64,", "n")])
def test_parts(part: Any) -> None:
    """A part is read from its own shape, and in a message."""
    assert part == type(part).from_dict(part.to_dict())
    content = Message.from_dict(Message("user", [part]).to_dict()).content
    assert [part] == content
    assert [type(part)] == [type(each) for each in content or ()]


def test_equal_messages_have_equal_hashes() -> None:
    """Parts equal the dicts that are sent for them, and so do calls without arguments."""
    empty, none = ToolCall.of("c", "f", "{}"), ToolCall.of("c", "f", "")
    pairs = [(Message("user", ["Hi"]), Message("user", (TextPart("Hi"),))), (empty, none)]
    for one, other in pairs:
        assert (one, hash(one)) == (other, hash(other))
    assert Message("user", "Hi") != Message("user", ["Hi"])


@pytest.mark.parametrize("kind", [ImagePart, FilePart])
@pytest.mark.parametrize(
    "path", ["cat.png", "/home/ann/cat.png", r"C:\cat.png", "file:///cat.png", Path("cat.png"), ""]
)
def test_a_path_is_no_address(kind: Any, path: Any) -> None:
    """A path in place of an address is an error that names `read`."""
    with pytest.raises(ConfigError, match=rf"{kind.__name__} takes an address .*; {kind.__name__}\.read\(path\) reads"):
        kind(path)


def test_a_long_mistake_is_shown_in_part() -> None:
    """The error for content without `data:` shows its beginning only, and for another type its name."""
    for wrong in ("iVBORw0KGgo" * 1000, b"\x89PNG" * 1000, object()):
        with pytest.raises(ConfigError) as caught:
            ImagePart(wrong)  # type: ignore[arg-type]
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "url", ["https://x/cat.png", "HTTP://x/cat.png", "data:image/png;base64,", "gs://b/c", "s3://b/c"]
)
def test_addresses(url: str) -> None:
    """Every address that some provider takes is taken."""
    assert (url, url) == (ImagePart(url).url, FilePart(url).url)
