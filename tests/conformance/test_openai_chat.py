"""Chat completions, held to what servers really sent."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest

from streamkit import (
    APIError,
    BrokenStreamError,
    Client,
    StreamError,
    TruncatedStreamError,
    providers,
)
from streamkit.testing import Server, recording_reply
from tests.conformance.recordings import Recording, check_recording, outcome_of, recordings

ALL = recordings("openai-chat")
SMALL = [recording for recording in ALL if len(recording.body) < 20_000]
ENDINGS = ("finish", "cut", "reset")


def provider(server: Server) -> providers.OpenAI:
    return providers.OpenAI(api_key="sk-test", base_url=server.url)


def name(recording: Recording) -> str:
    return recording.name


def test_the_recordings_are_all_there() -> None:
    """The corpus of chat completions holds 75 recordings, 48 or more of them small enough for every cut."""
    assert len(ALL) == 75
    assert len(SMALL) >= 48


@pytest.mark.parametrize("recording", ALL, ids=name)
def test_a_recording_gives_what_its_provider_meant(recording: Recording) -> None:
    """Text, reasoning, refusal, finish reason, tool calls and usage are those of the manifest."""
    with Server(recording_reply(recording.body, content_type=recording.content_type)) as server:
        check_recording(server, provider(server), "openai/model", recording)


@pytest.mark.parametrize("framing", ["chunked", "close", "length"])
@pytest.mark.parametrize("recording", ALL, ids=name)
def test_random_cuts_change_nothing(recording: Recording, framing: str) -> None:
    """However TCP cuts a body, with and without chunking, the reply is the same."""
    cuts = sorted(random.Random(recording.name + framing).sample(range(1, len(recording.body)), 40))
    with Server(recording_reply(recording.body, cuts, framing=framing)) as server:
        check_recording(server, provider(server), "openai/model", recording)


@pytest.mark.parametrize("recording", SMALL, ids=name)
def test_a_write_a_byte_changes_nothing(recording: Recording) -> None:
    """A body that is cut at every byte gives the same reply."""
    with Server(recording_reply(recording.body, range(1, len(recording.body)))) as server:
        check_recording(server, provider(server), "openai/model", recording)


def offsets(recording: Recording) -> list[int]:
    """Return where to cut: around the ends of events, where it matters, and anywhere."""
    body, chance = recording.body, random.Random(recording.name)
    ends = [at + 2 for at in range(len(body)) if body[at : at + 2] == b"\n\n"]
    chosen = {0, 1, len(body) - 1}
    for end in ends[-4:] + chance.sample(ends, min(4, len(ends))):
        chosen |= {end - 2, end - 1, end}
    return sorted(at for at in chosen | set(chance.sample(range(len(body)), 6)) if at <= len(body))


def events(body: bytes) -> Iterator[str]:
    """Iterate the data of the whole events in a body, without any help from the library."""
    for block in body.replace(b"\r\n", b"\n").split(b"\n\n")[:-1]:
        for line in block.split(b"\n"):
            if line.startswith(b"data: "):
                yield line[6:].decode()


def told(body: bytes) -> tuple[str, bool]:
    """Return the text in the whole events of a body, and whether the reply is over by then."""
    text, finished, begun = "", set(), set()
    for data in events(body):
        if data == "[DONE]":
            return text, True
        for choice in json.loads(data).get("choices") or []:
            begun.add(choice["index"])
            if choice.get("finish_reason"):
                finished.add(choice["index"])
            content = choice["delta"].get("content") or ""
            if isinstance(content, list):
                content = "".join(part.get("text") or "" for part in content)
            if choice["index"] == 0:
                text += content
    return text, bool(begun) and begun == finished


@pytest.mark.parametrize("recording", ALL, ids=name)
def test_any_prefix_gives_the_reply_or_one_documented_error(recording: Recording) -> None:
    """A body that ends anywhere, cleanly, by FIN or by reset, is whole or an error with the right partial."""
    full, _ = told(recording.body)
    cases = [(at, ending) for at in offsets(recording) for ending in ENDINGS]
    replies = [recording_reply(recording.body[:at], ends=ending) for at, ending in cases]
    with Server(*replies) as server, Client([provider(server)], retry=1, timeout=30) as client:
        for at, ending in cases:
            completion, error = outcome_of(client, "openai/model", recording)
            text, over = told(recording.body[:at])
            if error is None:
                assert over, (at, ending)
                assert full == completion.text
            else:
                assert_documented(error, recording, over and at < len(recording.body), (at, ending))
            if ending == "reset":  # what the kernel has not delivered yet goes down with the connection
                assert full.startswith(completion.text)
            else:
                assert text == completion.text, (at, ending)


def assert_documented(error: StreamError, recording: Recording, over: bool, case: object) -> None:
    if recording.expected.get("error") is not None and isinstance(error, APIError):
        return
    assert isinstance(error, (TruncatedStreamError, BrokenStreamError)), case
    assert case[1] == "reset" or not over or recording.choices > 1, case  # type: ignore[index]
