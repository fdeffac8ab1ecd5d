"""Two concurrent streams of one provider do not mix."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from streamkit.values.chunks import Chunk
from tests.conformance.formats import FORMATS, HELLO, decode_all, events_of
from tests.conformance.recordings import Recording, recordings

TIMES = 1000


@pytest.fixture(autouse=True)
def nervous_interpreter() -> Iterator[None]:
    """Let the interpreter change threads as often as it can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def two_small(api: str) -> tuple[Recording, Recording]:
    """Return two short recordings that end well, with tool calls or reasoning if there are any."""
    well = [r for r in recordings(api) if not r.expected.get("error") and len(r.body) > 200]
    well.sort(key=lambda r: (not (r.expected["tool_calls"] or r.expected["reasoning_text"]), len(r.body)))
    return well[0], well[1 % len(well)]


@pytest.mark.parametrize("api", FORMATS)
def test_two_streams_of_one_provider_interleaved_a_thousand_times(api: str) -> None:
    """On two threads, taking turns event by event, each stream gives what it gives alone."""
    provider = FORMATS[api]()
    pair = [events_of(recording) for recording in two_small(api)]
    alone = [shown(decode_all(provider.decoder(HELLO), events)) for events in pair]
    order: list[int] = []
    failures: list[str] = []
    barrier = threading.Barrier(2, timeout=60)

    def run(which: int) -> None:
        for _ in range(TIMES):
            barrier.wait()
            chunks = decode_all(provider.decoder(HELLO), pair[which], lambda: order.append(which))
            if shown(chunks) != alone[which]:
                failures.append(f"stream {which} came out otherwise")

    threads = [threading.Thread(target=run, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [] == failures
    assert TIMES * sum(map(len, pair)) == len(order)
    turns = sum(before != after for before, after in pairwise(order))
    assert turns >= TIMES  # they did run at the same time


def shown(chunks: list[Chunk]) -> list[str]:
    return [repr(chunk) for chunk in chunks]
