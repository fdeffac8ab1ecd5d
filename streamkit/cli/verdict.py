"""Judge whether a response was streamed, by the times and the grouping of its events."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["judge"]

_MANY = 5  # events that say something about how they arrive
_TOGETHER = 0.001  # seconds; reads that follow each other closer than that were sent at once
_LONG_WAIT = 0.5  # seconds before the first event that a model needs, or a buffer
_LONG_GAP = 0.1  # seconds between two handfuls; tokens come closer together
_HANDFUL = 3  # events; two together are usual, as a beginning and a first word

_BUFFERED = (
    "buffered: nothing for a long time, then all events at once. Something between here and the model holds the "
    "stream back: a proxy (X-Accel-Buffering: no turns that off in nginx, option http-no-delay in HAProxy), "
    "compression, or a server that collects the answer first"
)


def judge(arrivals: Sequence[tuple[float, int]]) -> str:
    """Return how events arrived, and what to do if they were held back.

    Args:
        arrivals: of each read that brought any, the seconds since the request, and how many events it brought.
    """
    count = sum(events for _, events in arrivals)
    if count < _MANY:
        return f"only {count} {'event' if count == 1 else 'events'} came, too few to tell"
    batches = _batches(arrivals)
    if len(batches) == 1:
        if batches[0][0] >= _LONG_WAIT:
            return _BUFFERED
        return (
            f"all at once: {count} events came together, too soon to tell a short answer from one that was held "
            "back; ask for a longer one"
        )
    together = sum(events for _, events in batches if events >= _HANDFUL)
    first, last = batches[0][0], batches[-1][0]
    if together > count / 2 and first >= _LONG_WAIT and last - first <= first / 10:
        return _BUFFERED
    gap = statistics.median(after - before for (before, _), (after, _) in pairwise(batches))
    if together > count / 2 and gap >= _LONG_GAP:
        return f"in bursts: several events together, {gap:.1f} s between them. Something on the way collects them"
    if together > count / 2:
        return "streamed, several events with each read: the model is fast, or something on the way collects a little"
    return "streamed: events come one by one, as they are written"


def _batches(arrivals: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Return the arrivals, with those that are close in time merged."""
    batches: list[tuple[float, int]] = []
    last = float("-inf")
    for moment, events in arrivals:
        if moment - last < _TOGETHER:
            begin, before = batches[-1]
            batches[-1] = begin, before + events
        else:
            batches.append((moment, events))
        last = moment
    return batches
