"""For any bytes from a server, a decoder gives chunks or one documented error."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from typing import Any

import attrs
import pytest

from streamkit import APIError, ProtocolError, fold
from streamkit.providers import Decoder
from tests.conformance.formats import FORMATS, HELLO, events_of
from tests.conformance.recordings import Recording, recordings

STREAMS = 300  # mutated ones, a format
ODD: list[Any] = [None, True, -1, 0, 10**30, 1.5, "", "\ud800", "x", [], [None], {}, {"type": "text"}, [[]], "0" * 5000]


@attrs.frozen
class Event:
    event: str
    data: str


def small(api: str) -> list[Recording]:
    return [r for r in recordings(api) if len(r.body) < 60_000 and "json" not in r.content_type.replace("ndjson", "")]


def spoil(value: Any, chance: random.Random) -> Any:
    """Return JSON with one thing in it changed, taken away, or put elsewhere."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        changed = dict(value)
        if chance.random() < 0.15:
            del changed[key]
        else:
            changed[key] = spoil(value[key], chance)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.85:
        place = chance.randrange(len(value))
        return [*value[:place], spoil(value[place], chance), *value[place + 1 :]]
    return chance.choice(ODD)


def spoiled(events: list[Any], chance: random.Random) -> list[Event]:
    made = [Event(event.event, event.data) for event in events]
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(made))
        kind = chance.randrange(5)
        if kind == 0:
            made.insert(chance.randrange(len(made)), made[place])
        elif kind == 1 and len(made) > 1:
            del made[place]
        elif kind == 2:
            other = chance.randrange(len(made))
            made[place], made[other] = made[other], made[place]
        else:
            try:
                decoded = json.loads(made[place].data)
            except ValueError:
                continue
            made[place] = attrs.evolve(made[place], data=json.dumps(spoil(decoded, chance)))
    return made


def decode(decoder: Decoder, events: list[Event]) -> None:
    chunks: list[Any] = []
    try:
        for event in events:
            chunks += decoder.decode(event)
            if decoder.ended:
                break
        chunks += [decoder.finish()] if decoder.whole or decoder.ended else decoder.leftover()
    except (ProtocolError, APIError) as error:
        str(error).encode()
        chunks += decoder.leftover()
    completion = fold(chunks)
    completion.text.encode()
    completion.message.to_dict()
    repr(chunks[-1:])
    assert completion.cost is None or completion.cost >= 0


@pytest.mark.parametrize("api", FORMATS)
def test_spoiled_recordings(api: str) -> None:
    """Real streams with events lost, repeated, exchanged, and values of any other kind, raise nothing foreign."""
    chance = random.Random(api)
    provider = FORMATS[api]()
    known = [events_of(recording) for recording in small(api)]
    for _ in range(STREAMS):
        decode(provider.decoder(HELLO), spoiled(chance.choice(known), chance))


@pytest.mark.parametrize("api", FORMATS)
def test_spoiled_whole_replies(api: str) -> None:
    """A reply that comes whole may be of any shape as well."""
    chance = random.Random(api)
    provider = FORMATS[api]()
    bodies = [json.loads(event.data) for r in small(api) for event in events_of(r) if event.data.startswith("{")]
    for _ in range(STREAMS):
        decoder = provider.decoder(HELLO)
        with suppress(ProtocolError, APIError):
            fold(decoder.decode_whole(spoil(chance.choice(bodies), chance))).text.encode()
