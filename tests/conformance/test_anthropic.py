"""Anthropic's Messages, held to what Anthropic really sent."""

from __future__ import annotations

import json

import pytest

from streamkit import Completion
from streamkit.providers import Anthropic
from tests.conformance.recordings import Recording, check_provider, recordings, seen, wanted

ALL = recordings("anthropic-messages")


def compare(recording: Recording, completion: Completion) -> None:
    """Calls that came whole compare by value; the total, which Anthropic does not send, is the sum."""
    expected, got = wanted(recording.expected), seen(completion)
    given, made = expected["usage"][:2]
    expected["usage"][2] = None if given is None else given + made
    for want, call in zip(expected["tool_calls"], got["tool_calls"], strict=True):
        if call[2] != want[2]:
            assert json.loads(want[2]) == json.loads(call[2])
            call[2] = want[2]
    assert expected == got


def test_the_recordings_are_all_there() -> None:
    """The corpus of Messages holds 37 recordings."""
    assert 37 == len(ALL)


@pytest.mark.parametrize("recording", ALL, ids=lambda recording: recording.name)
def test_a_recording(recording: Recording) -> None:
    """Whole, however it is cut, and up to any point, a recording gives what Anthropic meant."""
    check_provider(recording, lambda server: Anthropic(api_key="k", base_url=server.url), "anthropic/claude-x", compare)
