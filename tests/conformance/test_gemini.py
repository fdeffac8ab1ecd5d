"""Gemini's generated content, held to what Google really sent."""

from __future__ import annotations

import json

import pytest

from streamkit import Completion
from streamkit.providers import Gemini
from tests.conformance.recordings import Recording, check_provider, recordings, seen, wanted

ALL = recordings("gemini")


def compare(recording: Recording, completion: Completion) -> None:
    """Arguments compare by value, and made ids not at all."""
    expected, got = wanted(recording.expected), seen(completion)
    for want, call in zip(expected["tool_calls"], got["tool_calls"], strict=True):
        assert json.loads(want[2]) == json.loads(call[2])
        call[2] = want[2]
        if want[0] is None:
            call[0] = None
    assert expected == got
    ids = [call.id for call in completion.tool_calls]
    assert len(set(ids)) == len(ids)


def test_the_recordings_are_all_there() -> None:
    """The corpus of generated content holds 14 recordings."""
    assert 14 == len(ALL)


@pytest.mark.parametrize("recording", ALL, ids=lambda recording: recording.name)
def test_a_recording(recording: Recording) -> None:
    """Whole, however it is cut, and up to any point, a recording gives what Google meant."""
    check_provider(recording, lambda server: Gemini(api_key="k", base_url=server.url), "gemini/gemini-x", compare)
