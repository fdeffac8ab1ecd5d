"""Prefixes of chat completions, compared with an independent reading of their bytes."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator

import pytest

from streamkit import APIError, providers
from tests.conformance.judge import fed_byte_by_byte, prefixes, unlogged
from tests.conformance.recordings import Recording, recordings

ALL = recordings("openai-chat")


def events(body: bytes) -> Iterator[tuple[int, str]]:
    """Iterate the data of the whole events in a body, each with the number of bytes up to its end."""
    at = 0
    for block in body.split(b"\n\n")[:-1]:
        at += len(block) + 2
        for line in block.split(b"\n"):
            if line.startswith(b"data: "):
                yield at, line[6:].decode()


def told(body: bytes) -> Iterator[tuple[int, str, bool]]:
    """Iterate after each event the number of bytes so far, their text, and whether the reply is over by then."""
    text, finished, begun = "", set(), set()
    yield 0, "", False
    for at, data in events(body):
        if data == "[DONE]":
            yield at, text, True
            return
        for choice in json.loads(data).get("choices") or []:
            begun.add(choice["index"])
            if choice.get("finish_reason"):
                finished.add(choice["index"])
            content = choice["delta"].get("content") or ""
            if isinstance(content, list):
                content = "".join(part.get("text") or "" for part in content)
            if choice["index"] == 0:
                text += content
        yield at, text, bool(begun) and begun == finished


@pytest.mark.parametrize("recording", ALL, ids=lambda recording: recording.name)
def test_any_prefix_has_the_text_of_its_events(recording: Recording) -> None:
    """A body that ends anywhere has the text of the events that are whole by then, and no error once it is over."""
    body, kind = recording.body, recording.content_type
    states = list(told(body))
    ends, last = [at for at, _, _ in states], None
    with unlogged():
        fed = fed_byte_by_byte(kind, body)
        for prefix in prefixes(providers.OpenAI(api_key="k"), "m", recording.choices, kind, body, fed):
            first, last = (bisect_right(ends, at) - 1 for at in (prefix.lengths[0], prefix.lengths[-1]))
            assert first == last, prefix.lengths
            _, text, over = states[last]
            outcome = prefix.outcome
            assert text == outcome.completion.text, prefix.lengths
            if outcome.error is None:
                assert over, prefix.lengths
            elif over and prefix.lengths[0] < len(body) and not isinstance(outcome.error, APIError):
                assert recording.choices > 1, prefix.lengths
    assert last == len(states) - 1
