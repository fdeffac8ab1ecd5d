"""The judgement of event arrival times, computed from times alone."""

from __future__ import annotations

import pytest

from streamkit.cli.verdict import judge


def every(gap: float, *, start: float, count: int = 30, events: int = 1) -> list[tuple[float, int]]:
    """Return reads at equal distances, each with as many events."""
    return [(start + number * gap, events) for number in range(count)]


def test_what_holds_a_stream_back_has_settings() -> None:
    """The settings that turn it off in nginx and in HAProxy are named."""
    said = judge([(4.0, 30)])
    assert "X-Accel-Buffering: no turns that off in nginx" in said
    assert "option http-no-delay in HAProxy" in said


@pytest.mark.parametrize(
    ("arrivals", "said"),
    [
        (every(0.03, start=0.4), "streamed: events come one by one"),
        (every(0.002, start=0.8), "streamed: events come one by one"),  # a fast model that thought first
        (
            every(0.02, start=2, events=4),
            "streamed, several events with each read",
        ),  # fast
        (every(0.03, start=3, events=2), "streamed: events come one by one"),
        ([(0.4, 3), *every(0.03, start=0.43), (1.4, 3)], "streamed: events come one by one"),
        (every(0.02, start=0.4, events=4), "streamed, several events with each read"),
        (every(0.5, start=0.5, count=6, events=5), "in bursts: several events together, 0.5 s between them"),
        ([(n + k * 0.0001, 1) for n in range(4) for k in range(8)], "in bursts: several events together, 1.0 s"),
        ([(4.0, 30)], "buffered: nothing for a long time"),
        (every(0.0001, start=2), "buffered: nothing for a long time"),  # a read for each piece of one burst
        (every(0.005, start=2, count=4, events=20), "buffered: nothing for a long time"),  # a proxy's buffers
        ([(0.02, 30)], "all at once: 30 events"),
        (every(0.5, start=0.1, count=4), "only 4 events came, too few to tell"),
        ([(0.1, 1)], "only 1 event came"),
        ([], "only 0 events came"),
    ],
)
def test_judge(arrivals: list[tuple[float, int]], said: str) -> None:
    """The verdict on arrival times matches what an observer would say."""
    assert judge(arrivals).startswith(said)
