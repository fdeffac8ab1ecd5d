"""Amazon Bedrock's converse-stream, held to what Bedrock really sent."""

from __future__ import annotations

import pytest

from streamkit import BadRequestError, Client, Completion
from streamkit.providers import Bedrock, Provider
from streamkit.testing import Server, recording_reply
from tests.conformance.recordings import Recording, check_provider, recordings, seen, wanted

ALL = recordings("bedrock-converse")
STREAMS = [recording for recording in ALL if "json" not in recording.content_type]


def provider_of(server: Server) -> Provider:
    return Bedrock(api_key="k", base_url=server.url, region="us-east-1")


def compare(recording: Recording, completion: Completion) -> None:
    """A call of a tool on Amazon's side, which nobody here can answer, is none of the completion's."""
    expected = wanted(recording.expected)
    expected["tool_calls"] = [call for call in expected["tool_calls"] if call[1] != "nova_code_interpreter"]
    assert expected == seen(completion)


def test_the_recordings_are_all_there() -> None:
    """The corpus of converse-stream holds 12 recordings, one of them of a refused request."""
    assert (12, 11) == (len(ALL), len(STREAMS))


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.name)
def test_a_recording(recording: Recording) -> None:
    """Whole, however it is cut, and up to any point, a recording gives what Bedrock meant."""
    check_provider(recording, provider_of, "bedrock/anthropic.claude-x:0", compare)


def test_a_refused_request() -> None:
    """The body of a refusal is the error's message."""
    (recording,) = [recording for recording in ALL if recording not in STREAMS]
    reply = recording_reply(recording.body, content_type=recording.content_type, status=400)
    with Server(reply) as server, Client([provider_of(server)]) as client:
        with pytest.raises(BadRequestError, match="The provided model identifier is invalid"):
            client.complete("bedrock/no-such-model", "Hi")
    assert 1 == len(server.requests)
