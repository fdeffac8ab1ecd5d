"""Whatever is done to a log, in any order: one in memory and one on Redis do the same, and followers lack nothing."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from streamkit import Chunk, FollowedStream, Log, MemoryLog, RedisLog, StreamkitError, follow
from streamkit.logs.json_text import Outcome, write_chunk, write_outcome
from streamkit.logs.log import Lease, Record
from tests.redis_server import RedisServer, make_log, redis_server

__all__ = ["make_log", "redis_server"]  # fixtures

NEVER = 300.0  # seconds of a lease that does not run out here
KEPT = 12  # records

few = st.integers(0, 5)


def written(number: int) -> Record:
    return Record(number, write_chunk(Chunk("text", text=f"{number} ", index=number % 2)))


OUTCOME = write_outcome(Outcome("complete"))


class Alike(RuleBasedStateMachine):
    """Does the same to two logs, and compares what comes out."""

    redis: RedisLog
    runs = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).runs += 1
        self.logs: tuple[Log, ...] = (MemoryLog(lease=NEVER, max_records=KEPT), self.redis)
        self.id = f"reply {self.runs}"
        self.leases: list[tuple[Lease, ...]] = []
        self.finished: list[Lease] = []
        self.written = 0
        self.followers: list[tuple[list[int], tuple[FollowedStream, ...]]] = []

    def both(self, call: Callable[[Log, int], Any]) -> Any:
        """Do something to both logs; compare the results, or the errors."""
        results: list[Any] = []
        for place, log in enumerate(self.logs):
            try:
                result = call(log, place)
                results.append(list(result) if isinstance(result, (list, tuple)) else result)
            except StreamkitError as error:
                results.append((type(error), str(error)))
        assert results[0] == results[1]
        return results[0]

    @rule()
    def begin(self) -> None:
        leases: list[Lease] = []
        failed = self.both(lambda log, _: leases.append(log.begin(self.id)))
        if failed is None:
            self.leases.append(tuple(leases))
            self.written = 0

    @precondition(lambda self: self.leases)
    @rule(which=few, count=few, again=few)
    def append(self, which: int, count: int, again: int) -> None:
        """Add records; some of them were written before."""
        leases = self.leases[which % len(self.leases)]
        if leases[0] in self.finished:
            return  # to write behind the outcome is a mistake of the program
        first = max(1, leases[0].last + 1 - again)
        records = [written(number) for number in range(first, leases[0].last + 1 + count)]
        self.both(lambda log, place: log.append(leases[place], records))
        self.written = max(self.written, leases[0].last)

    @precondition(lambda self: self.leases)
    @rule(which=few)
    def finish(self, which: int) -> None:
        leases = self.leases[which % len(self.leases)]
        self.finished.append(leases[0])
        self.both(lambda log, place: log.finish(leases[place], OUTCOME))

    @precondition(lambda self: self.leases)
    @rule(which=few)
    def release(self, which: int) -> None:
        leases = self.leases[which % len(self.leases)]
        self.both(lambda log, place: log.release(leases[place]))
        if not leases[0].last:
            self.leases.remove(leases)  # whoever gives it up writes no more

    @rule()
    def stop(self) -> None:
        self.both(lambda log, _: log.stop(self.id))

    @precondition(lambda self: self.written > 2)
    @rule(really=st.integers(0, 9))
    def delete(self, really: int) -> None:
        if not really:
            self.both(lambda log, _: log.delete(self.id))

    @rule(after=st.integers(0, 20))
    def read(self, after: int) -> None:
        if not self.leases:
            after = 0  # this Redis has just started, so it may have lost the rest: a reader waits for a writer
        self.both(lambda log, _: log.read(self.id, after, 0.0))

    @invariant()
    def state(self) -> None:
        self.both(lambda log, _: (log.status(self.id), log.stopped(self.id)))

    # -- followers ---------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.followers) < 4)
    @rule()
    def join(self) -> None:
        streams = tuple(follow(log, self.id, timeout=None) for log in self.logs)
        self.followers.append(([], streams))

    @precondition(lambda self: self.followers)
    @rule(which=few, count=st.integers(1, 30))
    def take(self, which: int, count: int) -> None:
        """A follower takes chunks until there are none."""
        got, streams = self.followers[which % len(self.followers)]

        def take(_: Log, place: int) -> Any:
            chunks: list[tuple[int, Chunk | None]] = []
            stream = streams[place]
            for _ in range(count):
                try:
                    chunk = stream.take(0.0)
                except queue.Empty:
                    break
                chunks.append((stream.id_of_last, chunk))
                if chunk is None:
                    break
            return chunks

        result = self.both(take)
        if isinstance(result, list):
            for number, chunk in result:
                if chunk is not None:
                    assert (got[-1] + 1 if got else number) == number
                    assert f"{number} " == chunk.text
                    got.append(number)
        self.both(lambda _, place: (streams[place].status, streams[place].id_of_last, streams[place].text))

    @precondition(lambda self: self.followers)
    @rule(which=few)
    def leave_and_come_back(self, which: int) -> None:
        """A follower loses its connection, and goes on where it was."""
        place = which % len(self.followers)
        got, streams = self.followers[place]
        back = []
        for log, stream in zip(self.logs, streams, strict=True):
            stream.close()
            back.append(follow(log, self.id, str(stream.id_of_last), timeout=None))
        self.followers[place] = got, tuple(back)

    def teardown(self) -> None:
        for _, streams in self.followers:
            for stream in streams:
                stream.close()


@pytest.mark.slow
def test_logs_are_alike(redis_server: Callable[[], RedisServer], make_log: Callable[..., RedisLog]) -> None:
    """Both kinds give the same records, states, errors and chunks, in any order of what may be done to them."""
    Alike.redis = make_log(redis_server().url, lease=NEVER, max_records=KEPT)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Alike, settings=hypothesis.settings(max_examples=100, stateful_step_count=40, deadline=None)
    )
