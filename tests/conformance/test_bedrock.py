"""Amazon Bedrock's converse-stream, held to what Bedrock really sent."""

from __future__ import annotations

import pytest

from streamkit import BadRequestError, Client
from streamkit.providers import Bedrock, Provider
from streamkit.testing import Server, recording_reply
from tests.conformance.recordings import Recording, check_provider, recordings

ALL = recordings("bedrock-converse")
STREAMS = [recording for recording in ALL if "json" not in recording.content_type]


def provider_of(server: Server) -> Provider:
    return Bedrock(api_key="k", base_url=server.url, region="us-east-1")


def test_the_recordings_are_all_there() -> None:
    """The corpus of converse-stream holds 12 recordings, one of them of a refused request."""
    assert (12, 11) == (len(ALL), len(STREAMS))


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.name)
def test_a_recording(recording: Recording) -> None:
    """Whole, however it is cut, and up to any point, a recording gives what Bedrock meant."""
    check_provider(recording, provider_of, "bedrock/anthropic.claude-x:0")


def test_a_refused_request() -> None:
    """The body of a refusal is the error's message."""
    (recording,) = [recording for recording in ALL if recording not in STREAMS]
    reply = recording_reply(recording.body, content_type=recording.content_type, status=400)
    with Server(reply) as server, Client([provider_of(server)]) as client:
        with pytest.raises(BadRequestError, match="The provided model identifier is invalid"):
            client.complete("bedrock/no-such-model", "Hi")
    assert 1 == len(server.requests)
