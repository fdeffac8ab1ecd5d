"""A decoder reports a reply as whole exactly when it is, for every prefix."""

from __future__ import annotations

import pytest

from tests.conformance.formats import FORMATS, HELLO, events_of
from tests.conformance.recordings import Recording, recordings

STREAMS = [
    (api, recording)
    for api in FORMATS
    for recording in recordings(api)
    if recording.expected.get("error") is None and recording.choices == 1
]


@pytest.mark.parametrize(("api", "recording"), STREAMS, ids=[recording.name for _, recording in STREAMS])
def test_nothing_of_the_reply_comes_after_it_is_whole(api: str, recording: Recording) -> None:
    """Up to every event of it, a reply that counts as complete lacks nothing; and at its end it counts as that."""
    decoder = FORMATS[api]().decoder(HELLO)
    late = []
    for event in events_of(recording):
        was_whole = decoder.whole or decoder.ended
        chunks = decoder.decode(event)
        if was_whole:
            late += [chunk for chunk in chunks if chunk.text or chunk.reasoning or chunk.refusal or chunk.tool_call]
    assert [] == late
    assert decoder.whole or decoder.ended
