"""Mistral's chat, held to what Mistral really sent."""

from __future__ import annotations

import pytest

from streamkit.providers import Mistral
from tests.conformance.recordings import Recording, check_provider, recordings

ALL = [recording for recording in recordings("openai-chat") if recording.name.startswith("mistral__")]


def test_the_recordings_are_all_there() -> None:
    """The corpus holds four of them."""
    assert 4 == len(ALL)


@pytest.mark.parametrize("recording", ALL, ids=lambda recording: recording.name)
def test_a_recording(recording: Recording) -> None:
    """Whole, however it is cut, and up to any point, a recording gives what its server meant."""
    check_provider(recording, lambda server: Mistral(api_key="k", base_url=server.url), "mistral/mistral-x")
