"""Gemini's interactions, held to what servers really sent."""

from __future__ import annotations

import pytest

from streamkit.providers import GeminiInteractions
from tests.conformance.recordings import Recording, check_provider, recordings

ALL = recordings("gemini-interactions")


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
    )
