"""Usage added up over real streams."""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from datetime import datetime, timedelta, timezone

import pytest

from streamkit import Client, Completion, StreamError, Usage, UsageTracker, providers
from streamkit.observing.observers import Report, Stats
from streamkit.testing import Cut, Server, Wait, error_reply, text_reply

START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def client_of(server: Server, tracker: UsageTracker) -> Client:
    return Client([providers.OpenAI(api_key="k", base_url=server.url)], observers=[tracker], retry=1)


def test_complete_streams_add_up() -> None:
    """Tokens and cost are summed by model and by provider, and over all."""
    tracker = UsageTracker()
    with Server(text_reply("Hello there")) as server, client_of(server, tracker) as client:
        one = client.complete("openai/gpt-4o-mini", "Hi")
        for model in ("gpt-4o-mini", "my-model"):
            client.complete(f"openai/{model}", "Hi")
    total = tracker.totals()
    assert one.usage.output_tokens is not None
    assert (3, {"complete": 3}, 3 * one.usage.output_tokens) == (total.streams, total.by_status, total.output_tokens)
    assert [2, 1] == [tracker.by_model()["openai", model].streams for model in ("gpt-4o-mini", "my-model")]
    assert tracker.by_provider()["openai"] == total
    assert 0 == total.without_usage


def test_cancelled_and_failed_streams_count_for_what_is_known() -> None:
    """A stream that was cut short counts, and is said to be without usage where nobody told it."""
    tracker = UsageTracker()
    replies = [text_reply("Hello there").first(2).then(Wait(None)), text_reply("Hello").first(2).then(Cut())]
    with Server(*replies, error_reply(400)) as server, client_of(server, tracker) as client:
        with client.stream("openai/m", "Hi") as stream:
            next(stream)
        for _ in range(2):
            with pytest.raises(StreamError):
                client.complete("openai/m", "Hi")
    total = tracker.totals()
    assert {"cancelled": 1, "truncated": 1, "error": 1} == total.by_status
    assert (3, 3, 3, 0.0) == (total.streams, total.without_usage, total.without_cost, total.cost)


def test_periods() -> None:
    """Streams are found by when they ended."""
    clock = [START]
    tracker = UsageTracker(now=lambda: clock[0])
    with Server(text_reply("Hello")) as server, client_of(server, tracker) as client:
        for hours in (0, 1, 1, 30):
            clock[0] = START + timedelta(hours=hours)
            client.complete("openai/m", "Hi")
    days = tracker.by_period(timedelta(days=1))
    assert [(1, 3), (2, 1)] == [(begin.day, totals.streams) for begin, totals in days]
    since, until = START + timedelta(hours=1), START + timedelta(hours=30)
    assert 2 == tracker.totals(since=since, until=until).streams
    assert 2 == tracker.by_provider(since=since, until=until)["openai"].streams
    assert (START, START + timedelta(hours=30)) == (tracker.totals().first, tracker.totals().last)


def report(model: str = "m") -> Report:
    """Return what an observer is told of a stream with three tokens."""
    stats = Stats(None, 0.0, 0, 0, 1, 0, 0.0)
    return Report(1, "openai", model, "complete", stats, Completion(usage=Usage(1, 2, 3)))


def test_short_periods() -> None:
    """A period may be shorter than a second, and what ends at its very beginning belongs to it."""
    clock = [START]
    tracker = UsageTracker(now=lambda: clock[0])
    step = timedelta(milliseconds=100)
    for number in range(10):
        clock[0] = START + number * step
        tracker.stream_ended(report())
    assert [(START + number * step, 1) for number in range(10)] == [
        (begin, totals.streams) for begin, totals in tracker.by_period(step)
    ]
    with pytest.raises(ValueError, match="must be positive"):
        tracker.by_period(timedelta(0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forks_while_streams_end() -> None:
    """A child that is forked while streams end can use the tracker, and its totals are those of whole streams."""
    tracker, done = UsageTracker(), threading.Event()

    def hammer() -> None:
        while not done.is_set():
            tracker.stream_ended(report())

    threads = [threading.Thread(target=hammer) for _ in range(2)]
    for thread in threads:
        thread.start()
    context = multiprocessing.get_context("fork")
    try:
        for _ in range(50):
            child = context.Process(target=_use, args=(tracker,))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, which is the point
                child.start()
            child.join(60)
            if child.exitcode is None:
                child.kill()
                child.join(60)
            assert 0 == child.exitcode
    finally:
        done.set()
        for thread in threads:
            thread.join(60)


def _use(tracker: UsageTracker) -> None:
    before = tracker.totals()
    tracker.stream_ended(report())
    totals = tracker.totals()
    assert (before.streams + 1, 3 * totals.streams) == (totals.streams, totals.total_tokens)
    assert min(totals.streams, 10_000) == len(tracker.records())


def test_the_history_is_bounded_and_the_totals_are_not() -> None:
    """Only so many streams are remembered one by one; the totals know them all."""
    tracker = UsageTracker(history=2)
    with Server(text_reply("Hello")) as server, client_of(server, tracker) as client:
        for _ in range(5):
            client.complete("openai/m", "Hi")
    assert (2, 5) == (len(tracker.records()), tracker.totals().streams)
    assert 5 == tracker.to_dict()["models"]["openai/m"]["streams"]
    tracker.reset()
    assert (0, []) == (tracker.totals().streams, tracker.records())


def test_many_threads() -> None:
    """Nothing is lost, or counted twice, when eight threads stream at once."""
    tracker = UsageTracker()
    with Server(text_reply("Hello there")) as server, client_of(server, tracker) as client:

        def work() -> None:
            for _ in range(10):
                client.complete("openai/m", "Hi")

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    total = tracker.totals()
    assert (80, {"complete": 80}) == (total.streams, total.by_status)
    assert total.output_tokens == sum(record.output_tokens or 0 for record in tracker.records())
