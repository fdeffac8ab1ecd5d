"""What is kept of a conversation comes back from its JSON as it was; anything else is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import ConfigError, Conversation, FilePart, ImagePart, Message, TextPart, ToolCall, Usage
from streamkit.conversation.turns import ConversationState, Owner, Summary, Turn
from streamkit.tools.limits import Spent
from streamkit.tools.suspension import Suspension
from streamkit.values.chunks import ToolResult
from tests.conformance.check_store import everything, state

texts = st.text(st.characters(exclude_categories=()), max_size=10)  # halves of surrogate pairs included
names = st.from_regex(r"[a-zA-Z0-9_-]{1,20}", fullmatch=True)
counts = st.none() | st.integers(0, 10**12)
costs = st.none() | st.floats(0, 1e6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
objects = st.dictionaries(texts, json_values, max_size=2)
usages = st.builds(Usage, counts, counts, counts, counts, counts, costs, counts, st.booleans())
calls = st.builds(ToolCall.of, names, names, st.builds(json.dumps, objects) | texts)
parts = (
    st.builds(TextPart, texts)
    | st.just(ImagePart("data:image/png;base64,iVBORw0KGgo="))
    | st.just(FilePart("data:text/plain;base64,YQ==", "a.txt"))
)
questions = st.builds(Message, st.just("user"), texts | st.lists(parts, min_size=1, max_size=3).map(tuple))
answers = st.lists(
    st.builds(
        Message,
        st.just("assistant"),
        st.none() | texts,
        tool_calls=st.lists(calls, max_size=2).map(tuple),
        provider_data=st.lists(objects, max_size=2).map(tuple),
    )
    | st.builds(Message, st.just("tool"), texts, tool_call_id=names, name=st.none() | names),
    max_size=4,
).map(tuple)
results = st.builds(ToolResult, names, names, texts)


@st.composite
def suspensions(draw: st.DrawFn) -> Suspension:
    waiting = draw(st.lists(calls, min_size=1, max_size=3, unique_by=lambda call: call.id))
    done = draw(st.lists(results, max_size=2, unique_by=lambda result: result.call_id))
    done = [result for result in done if result.call_id not in {call.id for call in waiting}]
    asked = (*waiting, *(ToolCall.of(result.call_id, "t", "{}") for result in done))
    messages = [draw(questions).to_dict(), Message("assistant", draw(texts), tool_calls=asked).to_dict()]
    spent = Spent(1, len(asked), 3, draw(st.floats(0, 10)), {"digest": 2})
    params = draw(st.sampled_from([{}, {"max_tokens": 7, "thinking": {"type": "enabled"}}]))
    return Suspension(draw(names), draw(names), messages, tuple(done), tuple(waiting), 1, 1, spent, params)


turns = st.builds(
    Turn,
    questions,
    answers,
    st.sampled_from(["open", "complete", "partial", "suspended", "rolled back"]),
    usages,
    costs,
    st.none() | texts,
    texts,
    texts,
    counts,
    st.integers(0, 10**9),
    st.integers(0, 10**6),
    st.none() | suspensions(),
    st.none() | st.builds(Owner, texts, st.integers(1, 2**22), texts, texts, st.floats(0, 1e12)),
    names,
    texts,
    st.floats(0, 1e12),
    st.none() | st.floats(0, 1e6),
    st.lists(texts, max_size=2).map(tuple),
    st.dictionaries(texts, texts, max_size=2),
    st.booleans(),
)
states = st.builds(
    ConversationState,
    texts,
    st.lists(turns, max_size=2),
    texts,
    texts,
    objects,
    objects,
    st.none() | st.builds(Summary, texts, st.integers(0, 100)),
    usages,
    st.floats(0, 1e6),
    texts,
    texts,
    st.floats(0, 1e12),
)


@settings(max_examples=50)
@given(states)
def test_it_comes_back_as_it_was(kept: ConversationState) -> None:
    """The JSON of a state gives an equal one, down to what providers signed and to halves of characters."""
    text = kept.to_json()
    assert text.encode()  # as a file, or a database, has to take it
    read = ConversationState.from_json(text.encode())
    assert kept == read
    for before, after in zip(kept.turns, read.turns, strict=True):
        shapes = [[message.to_dict() for message in (turn.asked, *turn.answer)] for turn in (before, after)]
        assert shapes[0] == shapes[1]
        assert [each.provider_data for each in before.answer] == [each.provider_data for each in after.answer]
    assert json.loads(text) == json.loads(read.to_json())


# What turns of earlier versions did not have.
NEWER = {"id", "stream_id", "asked_at", "time_to_first_chunk", "reasoning", "calls", "goes_on"}


def damaged() -> list[tuple[str, Any]]:
    """Return each way in which one value of a whole conversation is another one."""
    shape = json.loads(state("x", everything()).to_json())
    found: list[tuple[str, Any]] = [("format", 2), ("format", "1"), ("format", None)]
    found += [(name, ...) for name in shape]
    found += [(name, value) for name in ("id", "turns", "spent") for value in (7, None)]
    found += [("turns", [value]) for value in (7, None, {}, [], "x")]
    for turn in shape["turns"][:1] + shape["turns"][-1:]:
        for name in turn:
            if name in NEWER:
                continue
            found.append(("turns", [{key: value for key, value in turn.items() if key != name}]))
        for name in ("asked", "answer", "state", "usage"):
            found += [("turns", [{**turn, name: value}]) for value in (7, None, "x", [{"role": "nobody"}])]
    suspended = shape["turns"][-1]
    found.append(("turns", [{**suspended, "suspension": {**suspended["suspension"], "version": 99}}]))
    found.append(("turns", [{**suspended, "suspension": {}}]))
    return found


@pytest.mark.parametrize(("name", "value"), damaged())
def test_damage_is_refused(name: str, value: Any, tmp_path: Any) -> None:
    """A file in which something is missing, of another kind or of a newer version is refused with its path."""
    shape = json.loads(state("x", everything()).to_json())
    if value is ...:
        del shape[name]
    else:
        shape[name] = value
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(shape))
    with pytest.raises(ConfigError, match=r"/chat\.json (is no conversation|was written by a newer version)"):
        Conversation.load(path, client=None)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"[" * 100_000, b"[]", b'"x"', b"{", b'{"format": 1}', b"null"])
def test_what_is_no_conversation(text: bytes, tmp_path: Any) -> None:
    """A file that is something else is refused with its path."""
    path = tmp_path / "chat.json"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=r"/chat\.json is no conversation of streamkit"):
        Conversation.load(path, client=None)
