"""The outcome of a reply computed in memory: a worker's framing, decoder and fold, without sockets.

`check_provider` compares it with the outcome of real streams, for each recording and for several ways to send it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Literal

import attrs

from streamkit import APIError, BrokenStreamError, Chunk, Completion, StreamError, TruncatedStreamError
from streamkit.providers import ChatRequest, Provider
from streamkit.providers.contract import Event
from streamkit.transport.framing import Frame, framing_of, server_sent
from streamkit.transport.sse import Guard
from streamkit.values.completion import Fold

Ending = Literal["finish", "fail"]  # the body ends by its HTTP framing; or reading on fails

EVERY_BYTE = 8_000  # bytes; a longer body is ended around the ends of its events only, and at some bytes between
NEAR = 8  # bytes around the end of an event
BETWEEN = 4  # further places in each event


@attrs.frozen
class Outcome:
    """What a consumer gets of one stream."""

    chunks: Sequence[Chunk]
    completion: Completion
    error: StreamError | None


@attrs.frozen
class Prefix:
    """Prefixes of one body that have the same outcome."""

    lengths: Sequence[int]  # in bytes, ascending
    ending: Ending
    outcome: Outcome


class Reading:
    """One reply, read up to some event: follows the rules of `Attempt`, in `streamkit.streaming`.

    Args:
        provider, model: who sent it.
        choices: as many as were asked for.
    """

    def __init__(self, provider: Provider, model: str, choices: int) -> None:
        params = {"n": choices} if choices > 1 else {}
        self._decoder = provider.decoder(ChatRequest(model, [{"role": "user", "content": "Hello"}], params))
        self._names = (provider.name, model)
        self._chunks: list[Chunk] = []
        self._error: StreamError | None = None

    @property
    def over(self) -> bool:
        """Whether no further event is read."""
        return self._error is not None or self._decoder.ended

    def read(self, events: Iterable[Event]) -> Reading:
        """Read more events, until the reply is over."""
        for event in events:
            if self.over:
                break
            try:
                self._chunks += self._decoder.decode(event)
            except StreamError as error:
                self._error = error
        return self

    def outcome(self, ending: Ending, *, torn: bool = False) -> Outcome:
        """Return the outcome if the bytes end here; changes nothing, so that reading can go on.

        Args:
            ending: how they end.
            torn: whether they end inside an event.
        """
        decoder, error = self._decoder, self._error
        whole = decoder.whole or decoder.ended
        enough = getattr(decoder, "enough", False) and not torn
        if not self.over and ending == "fail":
            error = BrokenStreamError("the bytes are over")
        elif not self.over and not (whole or enough):
            error = TruncatedStreamError("the bytes are over")
        if whole and not isinstance(error, APIError):
            error = None
        chunks = [*self._chunks, *([decoder.finish()] if error is None else decoder.leftover())]
        folded = Fold(*self._names)
        folded.add(chunks)
        return Outcome(chunks, folded.completion(None if error is None else "error"), error)


@contextmanager
def unlogged() -> Iterator[None]:
    """Log nothing below INFO: sseclient-py logs each event, which takes longer than all the rest."""
    before = logging.root.manager.disable
    logging.disable(logging.DEBUG)
    try:
        yield
    finally:
        logging.disable(before)


def framed(content_type: str, pieces: Iterable[bytes], guard: Guard | None = None) -> Iterator[Frame]:
    """Iterate the events of a body of this content type, as it arrives.

    Args:
        content_type: as a server sent it.
        pieces: the body.
        guard: for a look at whether the bytes ended inside an event; only where they are an event stream.
    """
    framing = framing_of(content_type.partition(";")[0].strip().lower())
    assert framing is not None
    return framing(pieces) if guard is None or framing is not server_sent else server_sent(pieces, guard)


def fed_byte_by_byte(content_type: str, body: bytes) -> tuple[list[Frame], list[int]]:
    """Return the events that are out before a body ends, and after how many of its bytes each was."""
    fed = 0

    def arriving() -> Iterator[bytes]:
        nonlocal fed
        for byte in range(len(body)):
            fed = byte + 1
            yield body[byte:fed]
        fed = len(body) + 1

    events, out_at = [], []
    for event in framed(content_type, arriving()):
        if fed <= len(body):
            events.append(event)
            out_at.append(fed)
    return events, out_at


def check_cuts(content_type: str, body: bytes, events: Sequence[Frame]) -> None:
    """Check that a body has the same events whole and cut at random as ``events``, which came byte by byte."""
    chance, inner = random.Random(len(body)), range(1, len(body))
    for many in (0, 1, 3, 10, 40, 40, 40, 400):
        at = sorted(chance.sample(inner, min(many, len(inner))))
        pieces = (body[start:end] for start, end in pairwise([0, *at, len(body)]))
        found = list(framed(content_type, pieces))[: len(events)]  # what the end of the bytes adds is for `prefixes`
        assert [(event.event, event.data) for event in events] == [(event.event, event.data) for event in found], at


def prefixes(
    provider: Provider,
    model: str,
    choices: int,
    content_type: str,
    body: bytes,
    fed: tuple[list[Frame], list[int]],
    ends: Collection[int] = (),
) -> Iterator[Prefix]:
    """Iterate the outcomes of all prefixes of a body, in time linear in its length.

    Each event goes once through a decoder, whose outcome is taken after each. Up to the next event nothing changes,
    except for what the framing makes of the bytes of a torn event when no more follow: an error outside any `data`
    is told, and so is JSON without its line end. So those bytes are framed by themselves: after each byte of a body
    of `EVERY_BYTE` bytes or less; around the end of each event, and at some bytes between, in a longer one.

    Args:
        provider, model, choices: as for `Reading`.
        content_type, body: what was sent.
        fed: what `fed_byte_by_byte` returns of them.
        ends: further lengths of prefixes to end.
    """
    events, out_at = fed
    reading, chance = Reading(provider, model, choices), random.Random(len(body))
    for count, (start, stop) in enumerate(pairwise([0, *out_at, len(body) + 1])):
        reading.read(events[max(count - 1, 0) : count])
        if start == stop:
            continue
        yield Prefix(range(start, stop), "fail", reading.outcome("fail"))
        lengths: Sequence[int] = range(start, stop)
        if len(body) > EVERY_BYTE:
            lengths = _some(range(start, stop), ends, chance)
        same: dict[bool, list[int]] = {False: [], True: []}
        for length in lengths:
            guard = Guard(bare_errors=True)
            last = [] if reading.over else list(framed(content_type, [body[start:length]], guard))
            if last:
                again = Reading(provider, model, choices).read(events[:count]).read(last)
                yield Prefix([length], "finish", again.outcome("finish", torn=guard.torn))
            else:
                same[guard.torn].append(length)
        for torn, alike in same.items():
            if alike:
                yield Prefix(alike, "finish", reading.outcome("finish", torn=torn))


def _some(lengths: range, ends: Collection[int], chance: random.Random) -> list[int]:
    between = chance.sample(lengths, min(BETWEEN, len(lengths)))
    return sorted({*lengths[:NEAR], *between, *lengths[-NEAR:], *(length for length in ends if length in lengths)})
