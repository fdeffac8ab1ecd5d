"""``UsageTracker`` adds up the tokens and the cost of streams."""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import attrs

from streamkit.observing.observers import Observer, Report
from streamkit.observing.status import Status
from streamkit.values.chunks import Usage
from streamkit.values.completion import Completion
from streamkit.values.showing import html_of, plot_of

__all__ = ["UsageRecord", "UsageTotals", "UsageTracker"]


@attrs.frozen
class UsageRecord:
    """One stream that ended.

    Attributes:
        ended_at: in UTC.
        model: the requested one, without the provider's segment.
        status: how it ended.
        input_tokens and so on: as in ``Usage``; ``None`` is unknown.
        cost: USD.
        estimated: whether the cost is computed from list prices, not reported by the provider.
    """

    ended_at: datetime
    provider: str
    model: str
    status: Status
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: float | None = None
    estimated: bool = False


@attrs.frozen
class UsageTotals:
    """The totals of several streams.

    Unknown values are left out of the sums: ``without_usage`` and ``without_cost`` count the streams without them.

    Attributes:
        streams: how many ended.
        by_status: the number of streams for each status.
        cost: USD; ``estimated_cost`` is the part computed from list prices.
        first, last: when the first and the last of them ended, in UTC.
    """

    streams: int = 0
    by_status: dict[str, int] = attrs.field(factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float = 0.0
    estimated_cost: float = 0.0
    without_usage: int = 0
    without_cost: int = 0
    first: datetime | None = None
    last: datetime | None = None


class UsageTracker(Observer):
    """Adds up the usage of all streams of the clients it observes.

    ::

        tracker = UsageTracker()
        client = Client(observers=[tracker])
        ...
        print(tracker.totals().cost, tracker.by_model())

    A stream that was cancelled or failed counts with the usage received so far. Some providers send the usage only at
    the end; then it is unknown.

    Args:
        history: the number of streams of which single records are kept, for periods; the totals include all streams.
        now: a clock, in UTC.

    Threads: safe to share.
    """

    def __init__(
        self, *, history: int = 10_000, now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    ) -> None:
        # Guards all fields below. Reentrant, because the garbage collector may end a dropped stream while this thread
        # holds it. Held during a fork, so that the child's totals are consistent.
        self._lock = threading.RLock()
        _remember(self)
        self._now = now
        self._records: deque[UsageRecord] = deque(maxlen=history)
        self._totals: dict[tuple[str, str], UsageTotals] = {}
        # Import the price data now, in the thread that makes the tracker, and never at the end of a stream.
        _ = Completion(provider="openai", model="gpt-4o", usage=Usage(input_tokens=1, output_tokens=1)).cost

    def stream_ended(self, report: Report) -> None:
        """Add a stream to the totals."""
        completion = report.completion
        usage, source = completion.usage, completion.cost_source
        record = UsageRecord(
            self._now(),
            report.provider,
            report.model,
            report.status,
            usage.input_tokens,
            usage.output_tokens,
            usage.total_tokens,
            usage.cached_tokens,
            usage.reasoning_tokens,
            completion.cost,
            source == "prices",
        )
        key = record.provider, record.model
        with self._lock:
            self._records.append(record)
            self._totals[key] = _add(self._totals.get(key, UsageTotals()), record)

    def totals(self, *, since: datetime | None = None, until: datetime | None = None) -> UsageTotals:
        """Return the totals of all streams, or of those that ended in a period, ``until`` excluded.

        For a period, only streams whose records are still kept count.
        """
        if since is None and until is None:
            with self._lock:
                return _sum(self._totals.values())
        return _of(self.records(since=since, until=until))

    def by_model(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> dict[tuple[str, str], UsageTotals]:
        """Return the totals of each provider and model."""
        if since is None and until is None:
            with self._lock:
                return dict(self._totals)
        groups: dict[tuple[str, str], list[UsageRecord]] = {}
        for record in self.records(since=since, until=until):
            groups.setdefault((record.provider, record.model), []).append(record)
        return {key: _of(records) for key, records in groups.items()}

    def by_provider(self, *, since: datetime | None = None, until: datetime | None = None) -> dict[str, UsageTotals]:
        """Return the totals of each provider."""
        groups: dict[str, list[UsageTotals]] = {}
        for (provider, _), totals in self.by_model(since=since, until=until).items():
            groups.setdefault(provider, []).append(totals)
        return {provider: _sum(totals) for provider, totals in groups.items()}

    def by_period(
        self, length: timedelta, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[tuple[datetime, UsageTotals]]:
        """Return the start and the totals of each period in which a stream ended, oldest first.

        Args:
            length: of a period; the first one starts at midnight UTC on 1 January 1970.
        """
        if length <= timedelta(0):
            raise ValueError("the length of a period must be positive")
        origin = datetime(1970, 1, 1, tzinfo=timezone.utc)
        groups: dict[int, list[UsageRecord]] = {}
        for record in self.records(since=since, until=until):
            groups.setdefault((record.ended_at - origin) // length, []).append(record)
        return [(origin + number * length, _of(groups[number])) for number in sorted(groups)]

    def records(self, *, since: datetime | None = None, until: datetime | None = None) -> list[UsageRecord]:
        """Return the records that are kept, in the order in which the streams ended."""
        with self._lock:
            records = list(self._records)
        return [
            record
            for record in records
            if (since is None or record.ended_at >= since) and (until is None or record.ended_at < until)
        ]

    def reset(self) -> None:
        """Delete all records and totals."""
        with self._lock:
            self._records.clear()
            self._totals.clear()

    def plot(self, axes: Any = None) -> Any:
        """Draw the cost of each day, in UTC, and return matplotlib's axes.

        Args:
            axes: where to draw; ``None`` for a figure of its own.

        Raises:
            ConfigError: matplotlib is not installed, or no stream has ended.
        """
        return plot_of(self, axes)

    def to_dict(self) -> dict[str, Any]:
        """Return the totals, and the totals of each model, as JSON-compatible values."""
        models = {f"{provider}/{model}": _json(totals) for (provider, model), totals in self.by_model().items()}
        return {"totals": _json(self.totals()), "models": models}

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the totals of each model."""
        return html_of(self)

    def __repr__(self) -> str:
        totals = self.totals()
        return f"<UsageTracker {totals.streams} streams, {totals.total_tokens} tokens, ${totals.cost:.4f}>"


_COUNTS = ("input_tokens", "output_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")


def _add(totals: UsageTotals, record: UsageRecord) -> UsageTotals:
    known = any(getattr(record, name) is not None for name in _COUNTS)
    counts = {name: getattr(record, name) or 0 for name in _COUNTS}
    cost = record.cost or 0.0
    one = UsageTotals(
        1,
        {record.status: 1},
        **counts,
        cost=cost,
        estimated_cost=cost if record.estimated else 0.0,
        without_usage=0 if known else 1,
        without_cost=0 if record.cost is not None else 1,
        first=record.ended_at,
        last=record.ended_at,
    )
    return _sum([totals, one])


def _of(records: Iterable[UsageRecord]) -> UsageTotals:
    totals = UsageTotals()
    for record in records:
        totals = _add(totals, record)
    return totals


def _sum(several: Iterable[UsageTotals]) -> UsageTotals:
    several = list(several)
    statuses: Counter[str] = Counter()
    for totals in several:
        statuses.update(totals.by_status)
    summed = {
        name: sum(getattr(totals, name) for totals in several)
        for name in ("streams", *_COUNTS, "cost", "estimated_cost", "without_usage", "without_cost")
    }
    firsts = [totals.first for totals in several if totals.first is not None]
    lasts = [totals.last for totals in several if totals.last is not None]
    first, last = min(firsts, default=None), max(lasts, default=None)
    return UsageTotals(**{**summed, "by_status": dict(statuses), "first": first, "last": last})


def _json(totals: UsageTotals) -> dict[str, Any]:
    shape = attrs.asdict(totals)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in shape.items()}


# -- forks -----------------------------------------------------------------------------------------------

# All trackers. No lock, as a forked child could inherit it locked. Each single operation on a dict is atomic, with and
# without the GIL.
_trackers: dict[int, weakref.ref[UsageTracker]] = {}
_held: dict[int, list[threading.RLock]] = {}  # their locks, by the thread that forks
_FORK_WAIT = 1.0  # seconds for each lock, which is held for microseconds


def _remember(tracker: UsageTracker) -> None:
    key, trackers = id(tracker), _trackers
    trackers[key] = weakref.ref(tracker, partial(trackers.pop, key))


def _existing() -> list[UsageTracker]:
    found = [reference() for reference in list(_trackers.values())]
    return [tracker for tracker in found if tracker is not None]


def _before_fork() -> None:
    """Wait until no tracker is being updated.

    The wait is bounded, because the garbage collector may run an observer inside another one's lock. If the time runs
    out, a stream that ends at this moment may be missing from the child's totals.
    """
    locks = [tracker._lock for tracker in _existing()]
    _held[threading.get_ident()] = [lock for lock in locks if lock.acquire(timeout=_FORK_WAIT)]


def _after_fork() -> None:
    for lock in _held.pop(threading.get_ident(), ()):
        lock.release()


def _after_fork_in_child() -> None:
    _held.clear()
    for tracker in _existing():
        tracker._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
