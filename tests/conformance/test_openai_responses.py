"""OpenAI's Responses, held to what OpenAI and others really sent."""

from __future__ import annotations

import pytest

from streamkit.providers import OpenAIResponses
from tests.conformance.recordings import Recording, check_provider, recordings

ALL = recordings("openai-responses")


def test_the_recordings_are_all_there() -> None:
    """The corpus of Responses holds 56 recordings."""
    assert 56 == len(ALL)


@pytest.mark.parametrize("recording", ALL, ids=lambda recording: recording.name)
def test_a_recording(recording: Recording) -> None:
    """Whole, however it is cut, and up to any point, a recording gives what its server meant."""
    if "text_from_deltas" in recording.expected:
        pytest.skip("abridged by its authors: its deltas tell another text than its last event")
    check_provider(
        recording, lambda server: OpenAIResponses(api_key="k", base_url=server.url), "openai-responses/model"
    )
