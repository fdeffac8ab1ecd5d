"""Plots of how the chunks of a stream arrived, and of what the streams of each day cost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError
from streamkit.observing.observers import Stats

__all__ = ["plot_of"]


def plot_of(value: Any, axes: Any) -> Any:
    """Draw the statistics of a stream, or a usage tracker's cost by day, and return the axes."""
    return _arrivals(value, axes) if isinstance(value, Stats) else _cost(value, axes)


def _axes(axes: Any) -> Any:
    if axes is not None:
        return axes
    try:
        figures = late_import("matplotlib.figure"), late_import("matplotlib.pyplot")
    except ImportError:
        raise ConfigError("plot() needs matplotlib: pip install 'streamkit[notebook]'") from None
    return figures[1].subplots(figsize=(7, 2.5))[1]


def _arrivals(stats: Stats, axes: Any) -> Any:
    if not stats.arrivals:
        raise ConfigError("nothing to plot: Client(arrivals=True) keeps when the chunks arrive")
    axes = _axes(axes)
    seconds, counts = [0.0], [0]
    for at, count in stats.arrivals:
        seconds.append(at)
        counts.append(counts[-1] + count)
    (line,) = axes.step([*seconds, stats.duration], [*counts, counts[-1]], where="post")
    if stats.time_to_first_chunk is not None:
        first = stats.time_to_first_chunk
        axes.axvline(first, linestyle=":", color=line.get_color(), label=f"first after {first:.2f} s")
        axes.legend()
    axes.set_xlabel("seconds since the start")
    axes.set_ylabel("chunks")
    return axes


def _cost(tracker: Any, axes: Any) -> Any:
    days = tracker.by_period(timedelta(days=1))
    if not days:
        raise ConfigError("nothing to plot: no stream has ended")
    axes = _axes(axes)
    axes.bar([day.date().isoformat() for day, _ in days], [totals.cost for _, totals in days])
    axes.set_ylabel("USD")
    return axes
