"""Events that pass through as they came, over all recordings of the formats that clients speak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streamkit import Completion
from streamkit.gateway.app.passing_format import PassingFormat
from streamkit.providers import Decoder
from streamkit.providers.passing import passing
from streamkit.values.completion import Fold
from streamkit.web.formats import OpenAIFormat
from tests.conformance.formats import FORMATS, HELLO, decode_all, events_of
from tests.conformance.judge import framed
from tests.conformance.recordings import Recording, recordings

NAMES = {"openai-chat": "openai", "openai-responses": "openai-responses", "anthropic-messages": "anthropic"}


def streams() -> Iterator[Any]:
    for api in NAMES:
        for recording in recordings(api):
            if recording.content_type != "application/json":
                yield pytest.param(api, recording, id=recording.name)


def direct(api: str, recording: Recording) -> tuple[Completion, Decoder] | None:
    """Return what the reply is without a gateway; ``None`` for one that has no end or reports an error."""
    decoder = FORMATS[api]().decoder(HELLO)
    fold = Fold("p", "m")
    try:
        fold.add(decode_all(decoder, events_of(recording)))
    except Exception:
        return None
    return (fold.completion(None), decoder) if decoder.whole or decoder.ended else None


@pytest.mark.parametrize(("api", "recording"), list(streams()))
def test_a_passed_reply_is_the_reply(api: str, recording: Recording) -> None:
    """Read again, the passed events of a reply give what the reply gives, and we know its usage and its end."""
    found = direct(api, recording)
    if found is None:
        pytest.skip("the recording has no end")
    whole, decoder = found
    provider = passing(FORMATS[api](), NAMES[api])
    fold = Fold("p", "m")
    written, decoded = b"", 0
    format = PassingFormat(OpenAIFormat(), usage=True, terminator=b"data: [DONE]\n\n" if api == "openai-chat" else b"")
    format.begin("id")
    passing_decoder = provider.decoder(HELLO)
    for event in events_of(recording):
        for chunk in passing_decoder.decode(event):
            fold.add([chunk])
            decoded += chunk.raw is not None and not chunk.text
            written += format.encode(chunk)
    done = passing_decoder.finish()
    fold.add([done])
    written += format.encode(done) + format.end("complete")

    again = Fold("p", "m")
    again.add(decode_all(FORMATS[api]().decoder(HELLO), list(framed("text/event-stream", [written]))))
    assert whole == again.completion(None)
    seen = fold.completion(None)
    assert whole.usage == seen.usage
    assert (whole.raw_finish_reason, whole.id, whole.model) == (seen.raw_finish_reason, seen.id, seen.model)
    assert decoder.ended == passing_decoder.ended or passing_decoder.whole
