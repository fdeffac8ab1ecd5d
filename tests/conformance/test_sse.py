"""Bytes become the events of the SSE standard, in 131 cases, however they are split."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from streamkit.transport.sse import Guard, events

FILE = Path(__file__).parents[1] / "sse_cases" / "cases.jsonl"
CASES = [json.loads(line) for line in FILE.read_text("utf-8").strip("\n").split("\n")]  # splitlines() splits at U+2028
RANDOM_CUTS = 20  # ways to cut each case


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(at), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def cuts_of(case: dict[str, Any], data: bytes) -> Iterator[tuple[str, list[bytes]]]:
    yield "whole", [data]
    for splits in case["chunk_splits"]:
        yield f"at {splits}", cut(data, splits)
    yield "after every byte", cut(data, range(1, len(data)))
    dice = random.Random(case["name"])
    for _ in range(RANDOM_CUTS):
        at = [dice.randrange(len(data) + 1) for _ in range(dice.randint(1, 6))]
        yield f"at {sorted(at)}", cut(data, at)


def read(pieces: list[bytes]) -> dict[str, Any]:
    guard = Guard()
    found = [{"event": event.event, "data": event.data, "id": event.id} for event in events(pieces, guard)]
    return {"events": found, "retry": guard.retry, "last_event_id": guard.last_event_id}


def test_all_cases_are_there() -> None:
    """The file has all of its cases, each under a name of its own."""
    assert 131 == len({case["name"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_case(case: dict[str, Any]) -> None:
    """Whole, at each listed cut, after every byte and at random cuts: events, retry and last id are the standard's."""
    expected = {
        "events": case["expected_events"],
        "retry": case["expected_retry"],
        "last_event_id": case["expected_last_event_id"],
    }
    for how, pieces in cuts_of(case, bytes.fromhex(case["bytes_hex"])):
        assert expected == read(pieces), how
