"""The channel keeps its order, its bounds and its end, for any waiting and closing threads.

The tests cause races through the waiter passed to the channel, never through private fields.
"""

from __future__ import annotations

import gc
import queue
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamkit import ChannelClosed
from streamkit.concurrency.channel import Channel
from streamkit.concurrency.waiting import Waiter
from tests.unit.support import SOON, Task, bounded

NOW = 0.0  # a deadline that has passed: no waiting at all
ENDS = pytest.mark.parametrize("end", [lambda c: c.finish("complete"), lambda c: c.close()], ids=["finish", "close"])


def drain(channel: Channel[int, str]) -> Iterator[Sequence[int]]:
    """Give the batches up to the end."""
    while True:
        try:
            yield channel.get_many(time.monotonic() + SOON)
        except ChannelClosed:
            return


class Waits:
    """Creates waiters for a channel that call a function when a thread is about to wait.

    At that moment the waiter is registered with the channel, and the thread has made its last check.
    """

    def __init__(self, *at_wait: Callable[[], object]) -> None:
        self.reached = threading.Event()
        self._at_wait = list(at_wait)  # one for each wait; then nothing more

    def __call__(self) -> Waiter:
        waits = self

        class Told(Waiter):
            def wait(self, seconds: float = SOON) -> bool:
                waits.reached.set()
                if waits._at_wait:
                    waits._at_wait.pop(0)()
                return super().wait(min(seconds, SOON))

        return Told()


class Before:
    """Makes waiters that call back while the waiter is being made: before the last look."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._calls = [call]

    def __call__(self) -> Waiter:
        if self._calls:
            self._calls.pop()()
        return Waiter()


def waiting_receiver(capacity: int, deadline: float) -> tuple[Channel[int, str], Task[list[int]]]:
    """Start a receiver, and return when it is at its wait."""
    waits = Waits()
    channel: Channel[int, str] = Channel(capacity, new_waiter=waits)
    task = Task(lambda: channel.get_many(deadline))
    assert waits.reached.wait(SOON)
    return channel, task


def waiting_sender(channel: Channel[int, str], waits: Waits, items: list[int], size: int = 0) -> Task[float]:
    """Start a sender, and return when it is at its wait."""
    task = Task(lambda: channel.put_many(items, size))
    assert waits.reached.wait(SOON)
    return task


def later() -> float:
    return time.monotonic() + SOON


class AgainstModel(RuleBasedStateMachine):
    """Any calls in any order, compared with a list, an outcome and a flag.

    No call waits: the sender puts no more items than there is room for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.channel: Channel[int, str] | None = None
        self.items: list[int] = []
        self.outcome: str | None = None
        self.closed = False
        self.peak = 0
        self.next = 0

    @precondition(lambda self: self.channel is None)
    @rule(capacity=st.integers(1, 5))
    def make(self, capacity: int) -> None:
        self.channel, self.capacity = Channel(capacity), capacity

    @precondition(lambda self: self.channel is not None)
    @rule(share=st.floats(0, 1))
    def put(self, share: float) -> None:
        count = round(share * (self.capacity - len(self.items)))
        if not count:
            return
        items = list(range(self.next, self.next + count))
        self.next += count
        if self.closed or self.outcome is not None:
            if items:
                with pytest.raises(ChannelClosed):
                    self.channel.put_many(items)
        else:
            assert 0.0 == self.channel.put_many(items)
            self.items += items
            self.peak = max(self.peak, len(self.items))

    @precondition(lambda self: self.channel is not None)
    @rule()
    def get(self) -> None:
        if self.items:
            assert self.items == self.channel.get_many(NOW)
            self.items = []
        else:
            over = self.closed or self.outcome is not None
            with pytest.raises(ChannelClosed if over else queue.Empty):
                self.channel.get_many(NOW)

    @precondition(lambda self: self.channel is not None)
    @rule(outcome=st.sampled_from(["complete", "error"]))
    def finish(self, outcome: str) -> None:
        self.channel.finish(outcome)
        self.outcome = self.outcome or outcome

    @precondition(lambda self: self.channel is not None)
    @rule()
    def close(self) -> None:
        self.channel.close()
        self.closed, self.items = True, []

    @invariant()
    def looks_as_it_is(self) -> None:
        if self.channel is not None:
            assert len(self.items) == self.channel.qsize() <= self.capacity
            assert self.closed == self.channel.closed
            assert self.outcome == self.channel.outcome
            assert self.peak == self.channel.peak
            assert (bool(self.items) or self.closed or self.outcome is not None) == self.channel.ready


test_any_calls_in_any_order = AgainstModel.TestCase


@given(
    capacity=st.integers(1, 7),
    batches=st.lists(st.integers(0, 12), max_size=12),
    patience=st.sampled_from([None, 0.0, 0.0001]),
)
def test_everything_arrives_in_order_and_within_the_bound(
    capacity: int, batches: list[int], patience: float | None
) -> None:
    """Through any capacity, in batches of any size, the items come in order, and the outcome comes last."""
    channel: Channel[int, str] = Channel(capacity)
    numbers = iter(range(sum(batches)))

    def send() -> None:
        for size in batches:
            if size:
                channel.put_many([next(numbers) for _ in range(size)])
        channel.finish("complete")

    sender, received = Task(send), []
    with bounded():
        while True:
            try:
                batch = channel.get_many(later() if patience is None else time.monotonic() + patience)
            except queue.Empty:
                continue
            except ChannelClosed:
                break
            assert 1 <= len(batch) <= capacity
            received += batch
    sender.result()
    assert list(range(sum(batches))) == received
    assert "complete" == channel.outcome
    assert (0 if not received else 1) <= channel.peak <= capacity


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_capacity_below_one_is_refused(capacity: int) -> None:
    """A channel that could never hold anything is not made."""
    with pytest.raises(ValueError, match=f"at least 1, not {capacity}"):
        Channel(capacity)


def test_more_items_than_capacity() -> None:
    """A batch larger than the channel goes through it in parts, none larger than the capacity."""
    waits = Waits()
    channel: Channel[int, str] = Channel(3, new_waiter=waits)
    sender = waiting_sender(channel, waits, list(range(10)))
    assert (3, True) == (channel.qsize(), channel.full())
    batches: list[Sequence[int]] = []
    while sum(map(len, batches)) < 10:
        batches.append(channel.get_many(later()))
    assert list(range(10)) == list(chain.from_iterable(batches))
    assert 3 == max(map(len, batches)) == channel.peak
    assert sender.result() > 0.0


def test_a_failed_get_leaves_the_channel_unchanged() -> None:
    """A look that finds nothing costs the sender nothing, however often it is repeated."""
    channel: Channel[int, str] = Channel(4)
    for number in range(3):
        for _ in range(2):
            with pytest.raises(queue.Empty):
                channel.get_many(NOW)
        channel.put_many([number])
        assert [number] == channel.get_many(NOW)
    channel.finish("complete")
    with pytest.raises(ChannelClosed):
        channel.get_many(NOW)


def test_a_deadline_that_passes_while_waiting() -> None:
    """A receiver whose time is over gets `queue.Empty`, and what comes later is still there for it."""
    channel: Channel[int, str] = Channel(1)
    with bounded(), pytest.raises(queue.Empty):
        channel.get_many(time.monotonic() + 0.01)
    channel.put_many([1])
    assert [1] == channel.get_many(NOW)


def test_a_deadline_that_becomes_earlier() -> None:
    """`wake()` has a receiver that waits look at its deadline again, and it is asked after it can be woken."""
    deadlines = [later(), NOW]
    waits = Waits()
    channel: Channel[int, str] = Channel(1, new_waiter=waits)
    task = Task(lambda: channel.get_many(lambda: deadlines.pop(0)))
    assert waits.reached.wait(SOON)
    channel.wake()
    with pytest.raises(queue.Empty):
        task.result()


@pytest.mark.parametrize("items", [[7], [7, 8]])
def test_items_wake_the_receiver(items: list[int]) -> None:
    """A waiting receiver gets the item that is put."""
    channel, receiver = waiting_receiver(2, later() + SOON)
    channel.put_many(items)
    assert items == receiver.result()


@ENDS
def test_the_end_wakes_the_receiver(end: Callable[[Channel[int, str]], None]) -> None:
    """The end wakes a receiver that waits without a deadline."""
    channel, receiver = waiting_receiver(2, float("inf"))
    end(channel)
    with pytest.raises(ChannelClosed):
        receiver.result()


def test_room_wakes_the_sender() -> None:
    """A sender that waits for room continues when the receiver takes items, and returns the seconds it waited."""
    waits = Waits()
    channel: Channel[int, str] = Channel(1, new_waiter=waits)
    sender = waiting_sender(channel, waits, [1, 2])
    assert [1] == channel.get_many(NOW)
    assert sender.result() > 0.0
    assert [2] == channel.get_many(NOW)


def test_close_wakes_the_sender_and_drops() -> None:
    """Closing ends the sender's wait with `ChannelClosed`, and drops the items inside and those not put yet."""
    waits = Waits()
    channel: Channel[int, str] = Channel(2, new_waiter=waits)
    sender = waiting_sender(channel, waits, [1, 2, 3])
    channel.close()
    with pytest.raises(ChannelClosed):
        sender.result()
    assert 0 == channel.qsize()
    with pytest.raises(ChannelClosed):
        channel.get_many(later())


def test_closing_is_permanent() -> None:
    """After a close every call says so again, whatever was called in between."""
    channel: Channel[int, str] = Channel(2)
    channel.put_many([1])
    for _ in range(3):
        channel.close()
        assert (True, True, 0) == (channel.closed, channel.ready, channel.qsize())
        for call in (lambda: channel.put_many([2]), lambda: channel.put(2), channel.get_many, channel.get):
            with bounded(), pytest.raises(ChannelClosed):
                call()
        channel.finish("late")
    assert "late" == channel.outcome


def test_the_outcome_comes_after_the_items_and_once() -> None:
    """Items that were put before the outcome are taken before it; a second outcome changes nothing."""
    channel: Channel[int, str] = Channel(2)
    channel.put_many([1, 2])
    channel.finish("error")
    channel.finish("complete")
    assert [1, 2] == channel.get_many(NOW)
    for _ in range(2):
        with pytest.raises(ChannelClosed):
            channel.get_many(later())
    assert "error" == channel.outcome


class TestBytes:
    """A channel is bounded in bytes as well."""

    def test_a_sender_waits_for_bytes(self) -> None:
        """A batch that does not fit beside the items inside waits until they are taken."""
        waits = Waits()
        channel: Channel[int, str] = Channel(100, 10, new_waiter=waits)
        channel.put_many([1], 6)
        channel.put_many([2], 4)
        assert channel.full()
        sender = waiting_sender(channel, waits, [3], 1)
        assert [1, 2] == channel.get_many(NOW)
        assert sender.result() > 0.0
        assert ([3], False) == (channel.get_many(NOW), channel.full())

    def test_one_always_fits(self) -> None:
        """A batch larger than the bound goes into an empty channel, and no other bytes fit beside it."""
        waits = Waits()
        channel: Channel[int, str] = Channel(100, 10, new_waiter=waits)
        assert 0.0 == channel.put_many([1], 1000)
        sender = waiting_sender(channel, waits, [2], 1)
        assert [1] == channel.get_many(NOW)
        sender.result()
        assert 1 == channel.peak

    def test_taken_one_by_one(self) -> None:
        """The bytes of a batch are inside until its first item was taken."""
        channel: Channel[int, str] = Channel(100, 10)
        channel.put_many([1, 2], 8)
        channel.put_many([3], 2)
        assert channel.full()
        assert 1 == channel.get()
        assert not channel.full()
        channel.put_many([4], 8)
        assert (channel.full(), [2, 3, 4]) == (True, channel.get_many(NOW))
        assert not channel.full()

    @given(sizes=st.lists(st.integers(0, 20), max_size=30), bound=st.integers(1, 30))
    def test_any_sizes(self, sizes: list[int], bound: int) -> None:
        """Through any bound, items of any size come in order, and never more bytes at once than fit."""
        channel: Channel[int, str] = Channel(1000, bound)

        def send() -> None:
            for number, size in enumerate(sizes):
                channel.put_many([number], size)
            channel.finish("complete")

        sender, received = Task(send), []
        with bounded():
            for batch in drain(channel):
                inside = [sizes[number] for number in batch]
                assert sum(inside) <= bound or len([size for size in inside if size]) == 1
                received += batch
        sender.result()
        assert list(range(len(sizes))) == received


class TestAsQueue:
    """It is a `queue.Queue`: the methods of the base class behave as in the standard library."""

    def test_put_and_get(self) -> None:
        """Single items, blocking or not, with and without a time limit."""
        channel: Channel[int, str] = Channel(2)
        assert isinstance(channel, queue.Queue)
        channel.put(1)
        channel.put(2, timeout=1)
        assert (2, 2, True, False) == (channel.qsize(), channel.maxsize, channel.full(), channel.empty())
        for put in (
            lambda: channel.put(3, block=False),
            lambda: channel.put(3, timeout=0.01),
            lambda: channel.put_nowait(3),
        ):
            with pytest.raises(queue.Full):
                put()
        assert [1, 2] == [channel.get(), channel.get_nowait()]
        for get in (lambda: channel.get(block=False), lambda: channel.get(timeout=0.01), channel.get_nowait):
            with pytest.raises(queue.Empty):
                get()
        for call in (lambda: channel.get(timeout=-1), lambda: channel.put(1, timeout=-1)):
            with pytest.raises(ValueError, match="non-negative"):
                call()

    def test_a_getter_and_a_putter_wait(self) -> None:
        """`get` is woken by `put`, and `put` by `get`."""
        waits = Waits()
        channel: Channel[int, str] = Channel(1, new_waiter=waits)
        getter = Task(channel.get)
        assert waits.reached.wait(SOON)
        channel.put(1)
        assert 1 == getter.result()
        channel.put(2)
        waits.reached.clear()
        putter = Task(lambda: channel.put(3))
        assert waits.reached.wait(SOON)
        assert 2 == channel.get()
        putter.result()
        assert 3 == channel.get()

    def test_several_at_each_end(self) -> None:
        """Any number of threads may put and take; each item comes out once."""
        channel: Channel[int, str] = Channel(3)
        taken: list[int] = []

        def take() -> None:
            for batch in drain(channel):
                taken.extend(batch)

        takers = [Task(take) for _ in range(4)]
        putters = [Task(lambda at=at: [channel.put(number) for number in range(at, at + 50)]) for at in (0, 50, 100)]  # type: ignore[misc]
        for putter in putters:
            putter.result()
        channel.finish("complete")
        for taker in takers:
            taker.result()
        assert list(range(150)) == sorted(taken)

    def test_task_done_and_join(self) -> None:
        """`join` waits until each item that was put is done, or was dropped."""
        channel: Channel[int, str] = Channel(5)
        channel.put_many([1, 2, 3])
        assert 1 == channel.get()
        joined = Task(channel.join)
        channel.task_done()
        channel.close()
        joined.result()

    def test_shutdown(self) -> None:
        """After `shutdown` no item can be put; the items inside can be taken, or are dropped with `immediate`."""
        channel: Channel[int, str] = Channel(5)
        channel.put(1)
        channel.shutdown()
        with pytest.raises(ChannelClosed):
            channel.put(2)
        assert 1 == channel.get()
        for call in (channel.get, channel.get_nowait):
            with bounded(), pytest.raises(ChannelClosed):
                call()
        channel = Channel(5)
        channel.put(1)
        channel.shutdown(immediate=True)
        with pytest.raises(ChannelClosed):
            channel.get()


class TestAtTheLastMoment:
    """An event between a thread's check and its wait is not lost.

    Each case runs twice, in the same thread, as a signal handler or the garbage collector runs: before the waiter is
    registered, and after the last check.
    """

    @pytest.fixture(params=[Before, Waits])
    def moment(self, request: pytest.FixtureRequest) -> type[Before] | type[Waits]:
        chosen: type[Before] | type[Waits] = request.param
        return chosen

    @ENDS
    def test_the_end_before_the_receiver_waits(
        self, end: Callable[[Channel[int, str]], None], moment: type[Before] | type[Waits]
    ) -> None:
        """It is not waited for."""
        channel: Channel[int, str] = Channel(2, new_waiter=moment(lambda: end(channel)))
        with bounded(SOON / 2), pytest.raises(ChannelClosed):
            channel.get_many()

    def test_an_item_before_the_receiver_waits(self, moment: type[Before] | type[Waits]) -> None:
        """It is found."""
        channel: Channel[int, str] = Channel(2, new_waiter=moment(lambda: channel.put_many([1])))
        with bounded(SOON / 2):
            assert [1] == channel.get_many()

    def test_room_before_the_sender_waits(self, moment: type[Before] | type[Waits]) -> None:
        """It is taken."""
        channel: Channel[int, str] = Channel(2, new_waiter=moment(lambda: channel.get_many(NOW)))
        channel.put_many([1, 2])
        with bounded(SOON / 2):
            channel.put_many([3, 4])
        assert [3, 4] == channel.get_many(NOW)

    def test_a_close_before_the_sender_waits(self, moment: type[Before] | type[Waits]) -> None:
        """It is heard."""
        channel: Channel[int, str] = Channel(2, new_waiter=moment(lambda: channel.close()))
        channel.put_many([1, 2])
        with bounded(SOON / 2), pytest.raises(ChannelClosed):
            channel.put_many([3])
        assert 0 == channel.qsize()

    def test_an_interrupt_of_a_wait(self) -> None:
        """A wait that Ctrl-C ends leaves the channel as it was, for either side."""

        def interrupt() -> None:
            raise KeyboardInterrupt

        channel: Channel[int, str] = Channel(1, new_waiter=Waits(interrupt, interrupt))
        with pytest.raises(KeyboardInterrupt):
            channel.get_many()
        channel.put_many([1])
        with pytest.raises(KeyboardInterrupt):
            channel.put_many([2])
        assert [1] == channel.get_many(NOW)
        channel.put_many([3])
        assert [3] == channel.get_many(NOW)


def test_a_close_in_the_middle_of_a_put() -> None:
    """Closing in the sender's own thread, in the middle of a put, drops the items; none is delivered."""
    channel: Channel[int, str] = Channel(2)
    channel.listen(lambda: None if channel.closed else channel.close())
    with pytest.raises(ChannelClosed):
        channel.put_many([1], 5)
    assert (True, 0, False) == (channel.closed, channel.qsize(), channel.full())
    with pytest.raises(ChannelClosed):
        channel.get_many(NOW)


@pytest.mark.parametrize("action", [lambda c: c.put_many([1]), lambda c: c.finish("complete")], ids=["put", "finish"])
def test_a_finalizer_may_close(action: Callable[[Channel[int, str]], object]) -> None:
    """The garbage collector may cancel in the middle of the same thread's operation on the channel."""
    channel: Channel[int, str] = Channel(2)

    class Dropped:
        pass

    dropped = Dropped()
    dropped.itself = dropped  # type: ignore[attr-defined]
    weakref.finalize(dropped, channel.close)
    del dropped
    channel.listen(gc.collect)

    def act() -> None:
        with suppress(ChannelClosed):
            action(channel)

    Task(act).result()
    assert (True, 0) == (channel.closed, channel.qsize())


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals of POSIX")
def test_a_signal_handler_may_close() -> None:
    """A handler of Ctrl-C may cancel in the middle of the main thread's operation on the channel."""
    channel: Channel[int, str] = Channel(2)
    before = signal.signal(signal.SIGUSR1, lambda *_: channel.close())
    try:
        channel.listen(lambda: signal.raise_signal(signal.SIGUSR1) if not channel.closed else None)
        with bounded(), pytest.raises(ChannelClosed):
            channel.put_many([1])
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (True, 0) == (channel.closed, channel.qsize())


def test_a_close_from_many_threads_at_once() -> None:
    """Closing from everywhere at once closes once, with a sender and a receiver in the middle of their work."""
    for _ in range(50):
        channel: Channel[int, str] = Channel(1)
        together = threading.Barrier(5)

        def send(channel: Channel[int, str] = channel, together: threading.Barrier = together) -> None:
            together.wait(SOON)
            with pytest.raises(ChannelClosed):
                while True:
                    channel.put_many([1, 2, 3])

        def receive(channel: Channel[int, str] = channel, together: threading.Barrier = together) -> None:
            together.wait(SOON)
            for _ in drain(channel):
                pass

        def close(channel: Channel[int, str] = channel, together: threading.Barrier = together) -> None:
            together.wait(SOON)
            channel.close()

        tasks = [Task(send), Task(receive), Task(close), Task(close), Task(close)]
        for task in tasks:
            task.result()
        assert 0 == channel.qsize()


class TestListening:
    @pytest.mark.parametrize(
        "act",
        [lambda c: c.put_many([1]), lambda c: c.finish("complete"), lambda c: c.close(), lambda c: c.wake()],
        ids=["put", "finish", "close", "wake"],
    )
    def test_told_of_everything(self, act: Callable[[Channel[int, str]], object]) -> None:
        """A listener is called for items, for the end, and where a deadline has changed."""
        channel: Channel[int, str] = Channel(2)
        heard: list[int] = []
        channel.listen(lambda: heard.append(1))
        act(channel)
        assert [1] == heard

    def test_unlisten(self) -> None:
        """After `unlisten` a listener is left alone; others still hear, and doing it again changes nothing."""
        channel: Channel[int, str] = Channel(2)
        one, other = threading.Event(), threading.Event()
        channel.listen(one.set)
        channel.listen(other.set)
        channel.unlisten(one.set)
        channel.unlisten(one.set)
        channel.put_many([1])
        assert (False, True) == (one.is_set(), other.is_set())


def test_repr_shows_the_state() -> None:
    """The state and the fill are in the repr."""
    channel: Channel[int, str] = Channel(3)
    channel.put_many([1, 2])
    assert "<Channel open, 2 of 3>" == repr(channel)
    channel.finish("complete")
    assert "<Channel finished, 2 of 3>" == repr(channel)
    channel.close()
    assert "<Channel closed, 0 of 3>" == repr(channel)
