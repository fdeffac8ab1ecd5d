"""Gemini's interactions, held to what servers really sent."""

from __future__ import annotations

import pytest

from streamkit import Completion
from streamkit.providers import GeminiInteractions
from tests.conformance.recordings import Recording, check_provider, recordings, seen, wanted

ALL = recordings("gemini-interactions")


def compare(recording: Recording, completion: Completion) -> None:
    """Thoughts count among the output, as they are billed."""
    expected = wanted(recording.expected)
    expected["usage"][1] += expected["usage"][4]
    assert expected == seen(completion)


def test_the_recordings_are_all_there() -> None:
    """The corpus holds 5 of them."""
    assert 5 == len(ALL)


@pytest.mark.parametrize("recording", ALL, ids=lambda recording: recording.name)
def test_a_recording(recording: Recording) -> None:
    """Whole, however it is cut, and up to any point, a recording gives what its server meant."""
    check_provider(
        recording,
        lambda server: GeminiInteractions(api_key="k", base_url=server.url),
        "gemini-interactions/gemini-x",
        compare,
    )
