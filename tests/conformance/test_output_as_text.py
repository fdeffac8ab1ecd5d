"""The forced call of a tool, read as the text of the reply, over the recordings that have calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streamkit import Completion
from streamkit.providers.reply.output_as_text import OutputAsText
from streamkit.values.completion import Fold
from tests.conformance.formats import FORMATS, HELLO, decode_all, events_of
from tests.conformance.recordings import Recording, recordings


def read(decoder: Any, recording: Recording) -> Completion:
    fold = Fold("p", "m")
    fold.add(decode_all(decoder, events_of(recording)))
    return fold.completion(None)


def with_calls() -> Iterator[Any]:
    for api in FORMATS:
        for recording in recordings(api):
            calls = recording.expected.get("tool_calls")
            # Abridged by their authors: these have no end.
            if calls and recording.expected.get("finish_reason") and recording.content_type != "application/json":
                yield pytest.param(api, recording, id=recording.name)


RECORDED = list(with_calls())


def test_there_are_some_of_every_format() -> None:
    """Each wire format that can force a call has recordings with calls."""
    assert set(FORMATS) - {"openai-completions", "ollama-ndjson"} == {row.values[0] for row in RECORDED}


@pytest.mark.parametrize(("api", "recording"), RECORDED)
def test_the_arguments_are_the_text(api: str, recording: Recording) -> None:
    """The first call of the output tool is the text, in pieces as they came; other calls stay, and so does the rest."""
    provider = FORMATS[api]()
    plain = read(provider.decoder(HELLO), recording)
    if not plain.tool_calls:
        pytest.skip("the only calls are of tools on the provider's side")
    output = plain.tool_calls[0]
    others = [call for call in plain.tool_calls if call.name != output.name]
    told = read(OutputAsText(provider.decoder(HELLO), output.name), recording)
    assert output.raw_arguments == told.text
    assert others == list(told.tool_calls)
    assert plain.reasoning + plain.text == told.reasoning
    assert plain.usage == told.usage
    assert plain.raw_finish_reason == told.raw_finish_reason
    assert ("stop" if plain.finish_reason == "tool_calls" and not others else plain.finish_reason) == told.finish_reason


@pytest.mark.parametrize(("api", "recording"), RECORDED)
def test_a_reply_without_the_call_is_what_it_was(api: str, recording: Recording) -> None:
    """Where the model calls other tools or none, its text and its calls are those of the reply."""
    provider = FORMATS[api]()
    told = read(OutputAsText(provider.decoder(HELLO), "no such tool"), recording)
    assert read(provider.decoder(HELLO), recording) == told
