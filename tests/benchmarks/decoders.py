"""Cost per chunk of each wire format's decoder, compared with that of chat completions; no network, one thread.

python tests/benchmarks/decoders.py [--rounds 5]

Decodes one text delta of a real recording repeatedly. The formats take turns. Prints ratios of medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.conformance.formats import FORMATS, HELLO, events_of
from tests.conformance.recordings import recordings

DELTAS = 20_000
BASE = "openai-chat"


def delta_of(api: str) -> tuple[list[Any], Any]:
    """Return the events that open a reply, and one that brings a piece of text and nothing else."""
    for recording in sorted(recordings(api), key=lambda recording: not recording.name.startswith("openai__")):
        if recording.expected.get("error") or not recording.expected["text"]:
            continue
        decoder, opening = FORMATS[api]().decoder(HELLO), []
        for event in events_of(recording):
            chunks = decoder.decode(event)
            if [True] == [bool(chunk.text) for chunk in chunks] and opening and not decoder.whole:
                return opening, event
            opening.append(event)
    raise SystemExit(f"no recording of {api} has a plain delta of text")


def cost(api: str) -> Callable[[], float]:
    """Return a function that decodes a long reply and returns microseconds a chunk."""
    opening, delta = delta_of(api)
    provider = FORMATS[api]()

    def measure() -> float:
        decode = provider.decoder(HELLO).decode
        for event in opening:
            decode(event)
        began = time.process_time()
        for _ in range(DELTAS):
            decode(delta)
        return (time.process_time() - began) / DELTAS * 1e6

    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    measures = {api: cost(api) for api in FORMATS}
    figures: dict[str, list[float]] = {api: [] for api in FORMATS}
    for _ in range(rounds):
        for api, measure in measures.items():
            figures[api].append(measure())
    base = statistics.median(figures[BASE])
    print(f"{'decoder':<22}{'us a chunk':>12}{'of chat':>10}")
    for api, costs in figures.items():
        median = statistics.median(costs)
        print(f"{api:<22}{median:>12.2f}{median / base:>9.2f}x")


if __name__ == "__main__":
    main()
