"""``check_log``: what every ``Log`` does; ``check_followers``: what readers get of it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import strategies as st

from streamkit import (
    Chunk,
    ConfigError,
    Log,
    LogConflictError,
    LogError,
    StopEvent,
    WriterLostError,
    fold,
    follow,
    publish,
)
from streamkit.logs.log import Lease, Record
from tests.unit.scripted import DONE, Scripted
from tests.unit.support import Task

SHORT = 0.3  # seconds of a lease that is to run out
NEVER = 300.0  # seconds of one that is not
ODD = 'Zoë "quotes" \\ \n\t \x00 日本 🙂'

_ids = itertools.count(1)

Factory = Callable[..., Log]


def check_log(factory: Factory) -> None:
    """Check a kind of log.

    Args:
        factory: makes a log, given the arguments that each has: ``lease``, ``keep``, ``max_records``, ``max_bytes``.
            Those that it makes share their replies, unless they are in memory.
    """
    for check in (
        _keeps_order,
        _reads_live,
        _has_one_writer,
        _takes_over_what_is_empty,
        _releases,
        _loses_writers,
        _appends_once,
        _stops,
        _stops_before,
        _deletes,
        _deletes_for_a_while,
        _expires,
        _drops_the_oldest,
        _drops_by_size,
        _never_reads_behind_the_end,
        _wakes_readers,
        _checks_ids,
    ):
        check(factory, f"{check.__name__} {next(_ids)} {ODD}")


def chunk(number: int) -> Record:
    return Record(number, f'{{"n":{number}}}')


def begun(log: Log, id: str, count: int) -> Lease:
    """Return the lease of a log with so many records."""
    lease = log.begin(id)
    log.append(lease, [chunk(number) for number in range(1, count + 1)])
    return lease


def all_of(log: Log, id: str, after: int = 0) -> list[Record]:
    """Read until the outcome."""
    records: list[Record] = []
    while not (records and records[-1].final):
        records += log.read(id, records[-1].number if records else after, NEVER)
    return records


def _keeps_order(factory: Factory, id: str) -> None:
    log = factory(lease=NEVER)
    assert "absent" == log.status(id)
    lease = log.begin(id)
    assert "open" == log.status(id)
    assert 0 == lease.last
    texts = [ODD, "", *(f"{number}" for number in range(3, 1201))]
    log.append(lease, [Record(number, text) for number, text in enumerate(texts[:3], 1)])
    log.append(lease, [Record(number, text) for number, text in enumerate(texts[3:], 4)])
    assert 1200 == lease.last
    log.finish(lease, "the end")
    log.finish(lease, "the end")
    expected = [*(Record(number, text) for number, text in enumerate(texts, 1)), Record(1201, "the end", True)]
    assert expected == all_of(log, id)
    for after in (1, 499, 500, 501, 1199, 1200):
        assert expected[after:] == all_of(log, id, after)
    assert "ended" == log.status(id)
    assert not log.stop(id)
    assert not log.stopped(id)


def _reads_live(factory: Factory, id: str) -> None:
    log = factory(lease=NEVER)
    early = Task(lambda: all_of(log, id))  # before there is a writer
    lease = begun(log, id, 1)
    assert [chunk(1)] == log.read(id, 0, NEVER)
    waiting = Task(lambda: log.read(id, 1, NEVER))
    log.append(lease, [Record(2, "")])
    assert [Record(2, "")] == waiting.result()
    assert not log.read(id, 2, 0.0)
    assert not log.read(id, 2, 0.05)
    log.finish(lease, "end")
    assert [chunk(1), Record(2, ""), Record(3, "end", True)] == early.result()


def _has_one_writer(factory: Factory, id: str) -> None:
    log = factory(lease=NEVER)
    lease = log.begin(id)
    with pytest.raises(LogConflictError, match="has a writer that lives"):
        log.begin(id)
    log.append(lease, [chunk(1)])
    log.finish(lease, "end")
    with pytest.raises(LogConflictError, match="was written before"):
        log.begin(id)
    assert [chunk(1), Record(2, "end", True)] == all_of(log, id)
    again = factory(lease=NEVER)
    logs = [log, again] if again.status(id) == "ended" else [log, log]  # in memory each log is alone
    barrier = threading.Barrier(8)

    def begin(log: Log) -> Lease | None:
        barrier.wait()
        try:
            return log.begin(f"{id} by eight")
        except LogConflictError:
            return None

    leases = [task.result() for task in [Task(partial(begin, each)) for each in logs * 4]]
    assert 7 == leases.count(None)


def _takes_over_what_is_empty(factory: Factory, id: str) -> None:
    log = factory(lease=SHORT)
    early = Task(lambda: log.read(id, 0, NEVER))  # before there is a writer
    first = log.begin(id)
    with pytest.raises(WriterLostError):
        log.read(id, 0, NEVER)
    with pytest.raises(WriterLostError):
        early.result()
    second = log.begin(id)
    with pytest.raises(LogConflictError):
        log.append(first, [chunk(1)])
    with pytest.raises(LogConflictError):
        log.finish(first, "end")
    log.append(second, [chunk(1)])
    log.finish(second, "mine")
    assert [chunk(1), Record(2, "mine", True)] == all_of(log, id)


def _releases(factory: Factory, id: str) -> None:
    log = factory(lease=NEVER)
    log.stop(id)
    first = log.begin(id)
    reader = Task(lambda: log.read(id, 0, NEVER))  # of the first writer, and of the second
    log.release(first)
    log.release(first)
    assert "absent" == log.status(id)
    assert log.stopped(id)
    assert not log.read(id, 0, 0.05)
    second = log.begin(id)
    log.release(first)  # is not the writer any more
    log.append(second, [chunk(1)])
    log.release(second)  # has written
    log.finish(second, "mine")
    assert [chunk(1)] == list(reader.result())[:1]
    assert [chunk(1), Record(2, "mine", True)] == all_of(log, id)


def _loses_writers(factory: Factory, id: str) -> None:
    log = factory(lease=SHORT)
    lease = begun(log, id, 2)
    assert [chunk(1), chunk(2)] == log.read(id, 0, NEVER)
    waiting = Task(lambda: log.read(id, 2, NEVER))
    with pytest.raises(WriterLostError, match="no outcome after record 2") as caught:
        log.read(id, 2, NEVER)
    assert isinstance(caught.value, LogError)
    with pytest.raises(WriterLostError):
        waiting.result()
    assert "lost" == log.status(id)
    assert [chunk(2)] == log.read(id, 1, NEVER)
    with pytest.raises(LogConflictError, match="was written before"):
        log.begin(id)
    # It was only suspended, and nobody has taken over: it goes on, and readers may come back.
    log.append(lease, ())
    assert "open" == log.status(id)
    log.append(lease, [chunk(3)])
    log.finish(lease, "end")
    assert [chunk(3), Record(4, "end", True)] == all_of(log, id, 2)


def _appends_once(factory: Factory, id: str) -> None:
    log = factory(lease=NEVER)
    lease = begun(log, id, 3)
    log.append(lease, [chunk(2), chunk(3), chunk(4)])
    log.append(lease, [chunk(4)])
    with pytest.raises(ConfigError):
        log.append(lease, [chunk(6)])
    log.finish(lease, "end")
    with pytest.raises(ConfigError):
        log.append(lease, [chunk(6)])
    assert [*map(chunk, range(1, 5)), Record(5, "end", True)] == all_of(log, id)
    assert "ended" == log.status(id)


def _stops(factory: Factory, id: str) -> None:
    log, halt = factory(lease=NEVER), StopEvent()
    lease = log.begin(id)
    assert not log.stopped(id)
    assert not log.stopped(id, 0.05)
    halted = Task(lambda: log.stopped(id, None, halt=halt))
    halt.set()
    assert not halted.result()
    waiting = Task(lambda: log.stopped(id, NEVER))
    assert log.stop(id)
    assert waiting.result()
    assert log.stopped(id)
    assert log.stop(id)
    log.finish(lease, "stopped")
    assert not log.stop(id)


def _stops_before(factory: Factory, id: str) -> None:
    log = factory(lease=NEVER)
    assert not log.stop(id)
    assert "absent" == log.status(id)
    lease = log.begin(id)
    assert log.stopped(id)
    log.append(lease, [chunk(1)])
    assert log.stopped(id)


def _deletes(factory: Factory, id: str) -> None:
    log = factory(lease=NEVER)
    assert not log.delete(id)
    lease = begun(log, id, 1)
    waiting, early = Task(lambda: log.read(id, 1, NEVER)), Task(lambda: log.stopped(id, NEVER))
    assert log.delete(id)
    assert early.result()
    with pytest.raises(LogError, match="was deleted"):
        log.read(id, 1, 0.0)
    with pytest.raises(LogError, match="was deleted"):
        log.read(id, 0, 0.0)
    with pytest.raises(LogConflictError, match="was deleted"):
        log.append(lease, [chunk(2)])
    assert "absent" == log.status(id)
    assert not log.delete(id)
    with pytest.raises(LogConflictError, match="was deleted a moment ago"):
        log.begin(id)
    with pytest.raises(LogError, match="was deleted"):
        waiting.result()


def _deletes_for_a_while(factory: Factory, id: str) -> None:
    log, never = factory(lease=SHORT), threading.Event()
    log.finish(begun(log, id, 1), "end")
    assert log.delete(id)
    while True:
        try:
            again = log.begin(id)
            break
        except LogConflictError:
            never.wait(0.01)
    assert not log.stopped(id)
    log.append(again, [Record(1, "new")])
    log.finish(again, "end")
    assert [Record(1, "new"), Record(2, "end", True)] == all_of(log, id)


def _expires(factory: Factory, id: str) -> None:
    log = factory(lease=0.05, keep=0.05)
    lease = begun(log, id, 1)
    log.finish(lease, "end")
    never = threading.Event()
    while log.status(id) != "absent":
        never.wait(0.01)
    assert not log.stopped(id)
    log.finish(log.begin(id), "another")


def _drops_the_oldest(factory: Factory, id: str) -> None:
    log = factory(lease=NEVER, max_records=3)
    lease = begun(log, id, 5)
    assert [chunk(3), chunk(4), chunk(5)] == log.read(id, 2, NEVER)
    for after in (0, 1):
        with pytest.raises(LogError, match=f"the records {after + 1} to 2 were dropped"):
            log.read(id, after, NEVER)
    log.finish(lease, "end")
    with pytest.raises(LogError, match="the records 3 to 3 were dropped"):
        log.read(id, 2, NEVER)
    assert [chunk(4), chunk(5), Record(6, "end", True)] == all_of(log, id, 3)


def _drops_by_size(factory: Factory, id: str) -> None:
    log = factory(lease=NEVER, max_bytes=100)
    lease = log.begin(id)
    for number in range(1, 8):
        log.append(lease, [Record(number, "x" * 30)])
    assert [5, 6, 7] == [record.number for record in log.read(id, 4, NEVER)]
    with pytest.raises(LogError, match="were dropped"):
        log.read(id, 3, NEVER)
    log.append(lease, [Record(8, "y" * 500)])
    assert [8] == [record.number for record in log.read(id, 7, NEVER)]
    log.append(lease, [Record(9, "z")])
    assert [Record(9, "z")] == log.read(id, 8, NEVER)


def _never_reads_behind_the_end(factory: Factory, id: str) -> None:
    log = factory(lease=NEVER)
    log.finish(begun(log, id, 1), "end")
    for after in (2, 3, 10**9):
        with pytest.raises(LogError, match="ends with record 2"):
            log.read(id, after, NEVER)


def _wakes_readers(factory: Factory, id: str) -> None:
    log, halt = factory(lease=NEVER), StopEvent()
    begun(log, id, 1)
    waiting: list[Task[Any]] = [Task(lambda: log.read(id, 1, None, halt=halt)) for _ in range(4)]
    halt.set()
    for task in waiting:
        assert not task.result()
    assert not log.read(id, 1, None, halt=halt)
    assert [chunk(1)] == log.read(id, 0, None)


def _checks_ids(factory: Factory, id: str) -> None:
    log = factory(lease=NEVER)
    for wrong in ("", "x" * 256, None, 7, b"x"):
        for call in (log.begin, log.read, log.status, log.stop, log.stopped, log.delete):
            with pytest.raises(ConfigError, match="must be text of 1 to 255 characters"):
                call(wrong)  # type: ignore[operator]
    for strange in ("}", "{}", "a}{b", "*", "x" * 255, " "):
        log.finish(log.begin(f"{strange}{id}"[:255]), "end")


some_pieces = st.lists(st.tuples(st.text(min_size=1, max_size=8), st.integers(0, 2)), max_size=25)
# For each follower: the numbers of chunks that it takes before it leaves and comes back.
plans_of_followers = st.lists(st.lists(st.integers(0, 6), max_size=5), min_size=1, max_size=5)


def check_followers(log: Any, id: str, pieces: list[tuple[str, int]], plans: list[list[int]], coalesce: float) -> None:
    """Check that followers with these plans get what one that stays gets."""
    sent = [*(Chunk("text", text=text, index=index, id="r") for text, index in pieces), DONE]

    def visit(plan: list[int]) -> list[tuple[int, Chunk]]:
        got: list[tuple[int, Chunk]] = []
        for count in [*plan, len(sent) + 1]:
            with follow(log, id, str(got[-1][0]) if got else 0, timeout=None) as stream:
                with suppress(StopIteration):
                    for _ in range(count):
                        chunk = next(stream)
                        got.append((stream.id_of_last, chunk))
        return got

    tasks = [Task(partial(visit, plan)) for plan in [[], *plans]]
    publish(Scripted(sent), log, id, coalesce=coalesce)
    results = [task.result() for task in tasks]
    late = [visit(plan) for plan in plans]
    for result in [*results, *late]:
        assert results[0] == result
    assert list(range(1, len(results[0]) + 1)) == [number for number, _ in results[0]]
    assert fold(sent) == fold(chunk for _, chunk in results[0])
