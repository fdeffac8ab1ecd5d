"""Cohere's chat, held to what servers really sent."""

from __future__ import annotations

import pytest

from streamkit import Completion
from streamkit.providers import Cohere
from tests.conformance.recordings import Recording, check_provider, recordings, seen, wanted

ALL = recordings("cohere-chat-v2")


def compare(recording: Recording, completion: Completion) -> None:
    """The total that Cohere does not send is the sum."""
    expected = wanted(recording.expected)
    expected["usage"][2] = sum(expected["usage"][:2])
    assert expected == seen(completion)


def test_the_recordings_are_all_there() -> None:
    """The corpus holds 4 of them."""
    assert 4 == len(ALL)


@pytest.mark.parametrize("recording", ALL, ids=lambda recording: recording.name)
def test_a_recording(recording: Recording) -> None:
    """Whole, however it is cut, and up to any point, a recording gives what its server meant."""
    check_provider(recording, lambda server: Cohere(api_key="k", base_url=server.url), "cohere/command-x", compare)
