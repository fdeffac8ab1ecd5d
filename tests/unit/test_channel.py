"""The channel keeps its order, its bound and its end, whoever waits and whoever closes."""

from __future__ import annotations

import gc
import os
import pathlib
import queue
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamkit import ChannelClosed
from streamkit.concurrency import channel as channel_module
from streamkit.concurrency.channel import Channel, select
from streamkit.concurrency.wakeup import new_bell
from tests.unit.support import SOON, Task, bounded

DESCRIPTORS = pathlib.Path("/proc/self/fd")
NOW = 0.0  # a deadline that has passed: no waiting at all
NEVER = 600.0  # seconds


@pytest.fixture(autouse=True)
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wake-up that is lost must not be made good by the look that each wait takes once a second."""
    monkeypatch.setattr(channel_module, "_SLICE", NEVER)


def drain(channel: Channel[int, str]) -> Iterator[Sequence[int]]:
    """Give the batches up to the end."""
    while True:
        try:
            yield channel.get_many(time.monotonic() + SOON)
        except ChannelClosed:
            return


@pytest.fixture(params=[new_bell, lambda: None], ids=["bell", "queue"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which a receiver waits."""
    monkeypatch.setattr(channel_module, "new_bell", request.param)


class Noted:
    """A bell or a queue that says when a receiver is about to wait by it."""

    def __init__(self, inner: Any, awaited: threading.Event) -> None:
        self._inner = inner
        self._awaited = awaited

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def wait(self, seconds: float) -> None:
        self._awaited.set()
        self._inner.wait(seconds)

    def get(self, block: bool, timeout: float | None = None) -> Any:
        if block:
            self._awaited.set()
        return self._inner.get(block, timeout)


def waiting_receiver(channel: Channel[int, str], deadline: float) -> Task[Sequence[int]]:
    """Start a receiver, and return when it is at its wait."""
    awaited = threading.Event()
    bell = channel_module.new_bell()
    channel._has_waited, channel._bell = True, bell and Noted(bell, awaited)
    channel._batches = Noted(channel._batches, awaited)  # type: ignore[assignment]
    task = Task(lambda: channel.get_many(deadline))
    assert awaited.wait(SOON)
    return task


def waiting_sender(channel: Channel[int, str], items: list[int]) -> Task[float]:
    """Start a sender, and return when it is at its wait, in which it gives the mutex away."""
    at_wait, condition = threading.Event(), channel._queue.not_full
    wait = condition.wait

    def tell_and_wait(timeout: float | None = None) -> bool:
        at_wait.set()
        return wait(timeout)

    condition.wait = tell_and_wait  # type: ignore[method-assign]
    task = Task(lambda: channel.put_many(items, every=NEVER))
    assert at_wait.wait(SOON)
    return task


def later() -> float:
    return time.monotonic() + SOON


class AgainstModel(RuleBasedStateMachine):
    """Any calls in any order, against a list, an outcome and a flag.

    Nothing here waits: the sender puts at most what there is room for.
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
        if not count and not self.closed:
            return
        items = list(range(self.next, self.next + count))
        self.next += count
        if self.closed:
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
            assert len(self.items) == len(self.channel) <= self.capacity
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


@pytest.mark.usefixtures("kind")
def test_more_items_than_capacity() -> None:
    """A batch larger than the channel goes through it in parts, none larger than the capacity."""
    channel: Channel[int, str] = Channel(3)
    sender = waiting_sender(channel, list(range(10)))
    assert 3 == len(channel)
    batches: list[Sequence[int]] = []
    while sum(map(len, batches)) < 10:
        batches.append(channel.get_many(later()))
    assert list(range(10)) == list(chain.from_iterable(batches))
    assert 3 == max(map(len, batches)) == channel.peak
    assert sender.result() > 0.0


def test_a_simple_queue_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries of green threads put another in its place, such as the one in Python."""
    monkeypatch.setattr(queue, "SimpleQueue", queue._PySimpleQueue)  # type: ignore[attr-defined]
    channel: Channel[int, str] = Channel(2)
    channel.put_many([1])
    assert [1] == channel.get_many(later())
    with pytest.raises(queue.Empty):
        channel.get_many(NOW)
    channel.finish("complete")
    with pytest.raises(ChannelClosed):
        channel.get_many(later())


def test_looking_in_vain_leaves_the_channel_as_it_was() -> None:
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


@pytest.mark.usefixtures("kind")
def test_a_deadline_that_passes_while_waiting() -> None:
    """A receiver whose time is over gets `queue.Empty`, and what comes later is still there for it."""
    channel: Channel[int, str] = Channel(1)
    with bounded(), pytest.raises(queue.Empty):
        channel.get_many(time.monotonic() + 0.01)
    channel.put_many([1])
    assert [1] == channel.get_many(NOW)


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("items", [[7], [7, 8]])
def test_items_wake_the_receiver(items: list[int]) -> None:
    """A receiver that waits gets what is put."""
    channel: Channel[int, str] = Channel(2)
    receiver = waiting_receiver(channel, later() + SOON)
    channel.put_many(items)
    assert items[:1] == receiver.result()[:1]


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("end", [lambda c: c.finish("complete"), lambda c: c.close()], ids=["finish", "close"])
def test_the_end_wakes_the_receiver(end: Callable[[Channel[int, str]], None]) -> None:
    """A receiver that waits without a deadline is told of the end."""
    channel: Channel[int, str] = Channel(2)
    receiver = waiting_receiver(channel, float("inf"))
    end(channel)
    with pytest.raises(ChannelClosed):
        receiver.result()


def test_room_wakes_the_sender() -> None:
    """A sender that waits for room goes on when the receiver has made some, and says how long it waited."""
    channel: Channel[int, str] = Channel(1)
    sender = waiting_sender(channel, [1, 2])
    assert [1] == channel.get_many(NOW)
    assert sender.result() > 0.0
    assert [2] == channel.get_many(NOW)


def test_a_sender_looks_while_it_waits() -> None:
    """A sender that waits for room calls back again and again, so that what cannot wake it is seen as well."""
    channel: Channel[int, str] = Channel(1)
    looked = threading.Semaphore(0)
    sender = Task(lambda: channel.put_many([1, 2], looked.release, 0.001))
    for _ in range(3):
        assert looked.acquire(timeout=SOON)
    channel.close()
    with pytest.raises(ChannelClosed):
        sender.result()


def test_a_look_may_close() -> None:
    """What a sender looks at may close the channel, in the sender's own thread."""
    channel: Channel[int, str] = Channel(1)
    with bounded(), pytest.raises(ChannelClosed):
        channel.put_many([1, 2], channel.close, 0.001)


def test_close_wakes_the_sender_and_drops() -> None:
    """Closing ends the sender's wait with `ChannelClosed`, and nothing of what was inside or to come is left."""
    channel: Channel[int, str] = Channel(2)
    sender = waiting_sender(channel, [1, 2, 3])
    channel.close()
    with pytest.raises(ChannelClosed):
        sender.result()
    assert 0 == len(channel)
    with pytest.raises(ChannelClosed):
        channel.get_many(later())


def test_closing_is_permanent() -> None:
    """After a close every call says so again, whatever was called in between."""
    channel: Channel[int, str] = Channel(2)
    channel.put_many([1])
    for _ in range(3):
        channel.close()
        assert (True, True, 0) == (channel.closed, channel.ready, len(channel))
        with pytest.raises(ChannelClosed):
            channel.put_many([2])
        with pytest.raises(ChannelClosed):
            channel.get_many(later())
        channel.finish("late")
    assert "late" == channel.outcome


def test_the_outcome_comes_after_the_items_and_once() -> None:
    """What was put before the outcome is taken before it; a second outcome changes nothing."""
    channel: Channel[int, str] = Channel(2)
    channel.put_many([1, 2])
    channel.finish("error")
    channel.finish("complete")
    assert [1, 2] == channel.get_many(NOW)
    for _ in range(2):
        with pytest.raises(ChannelClosed):
            channel.get_many(later())
    assert "error" == channel.outcome


class Hooked(Channel[int, str]):
    """A channel in which something else happens, once, as one end is about to say that it waits."""

    before_receiver_waits: Callable[[], object] | None = None
    before_sender_waits: Callable[[], object] | None = None

    def __setattr__(self, name: str, value: object) -> None:
        hook = f"before{name}"
        if value is True and (call := getattr(self, hook, None)):
            setattr(self, hook, None)
            call()
        super().__setattr__(name, value)


class RungBell:
    """A bell that nobody may wait for in vain."""

    rung = False

    def ring(self) -> None:
        self.rung = True

    def wait(self, seconds: float) -> None:
        assert self.rung
        self.rung = False


def with_bell() -> Hooked:
    channel = Hooked(2)
    channel._has_waited, channel._bell = True, RungBell()
    return channel


class TestAtTheLastMoment:
    """Between the look that finds nothing and the wait, the other side may do what the wait is for."""

    @pytest.mark.parametrize("end", [lambda c: c.finish("complete"), lambda c: c.close()], ids=["finish", "close"])
    def test_the_end_before_the_receiver_waits(self, end: Callable[[Channel[int, str]], None]) -> None:
        """It is not waited for, even when a sender that heard of it first has dropped what was to wake."""
        channel = with_bell()
        channel.before_receiver_waits = lambda: (end(channel), list(channel._rest()))
        with pytest.raises(ChannelClosed):
            channel.get_many(later())

    def test_an_item_before_the_receiver_waits(self) -> None:
        """It is found."""
        channel = with_bell()
        channel.before_receiver_waits = lambda: channel.put_many([1])
        assert [1] == channel.get_many(later())

    def test_an_item_after_the_last_look(self) -> None:
        """It rings: the receiver has said that it waits before it looks."""
        channel = with_bell()
        looks = iter([False, True])

        class Late(Noted):
            def empty(self) -> bool:
                found: bool = self._inner.empty()
                if next(looks, False):
                    channel.put_many([1])
                return found

        channel._batches = Late(channel._batches, threading.Event())  # type: ignore[assignment]
        assert [1] == channel.get_many(later())

    def test_room_before_the_sender_waits(self) -> None:
        """It is taken."""
        channel = with_bell()
        channel.put_many([1, 2])
        channel._queue.not_full.wait = lambda timeout=None: pytest.fail("waited")  # type: ignore[method-assign]
        channel.before_sender_waits = lambda: channel.get_many(NOW)
        channel.put_many([3, 4], every=NEVER)
        assert ([3, 4], False) == (channel.get_many(NOW), channel._sender_waits)

    def test_a_close_before_the_sender_waits(self) -> None:
        """It is heard."""
        channel = with_bell()
        channel.put_many([1, 2])
        channel._queue.not_full.wait = lambda timeout=None: pytest.fail("waited")  # type: ignore[method-assign]
        channel.before_sender_waits = channel.close
        with pytest.raises(ChannelClosed):
            channel.put_many([3], every=NEVER)

    def test_a_close_while_items_are_taken(self) -> None:
        """Nothing is given out after something before it was dropped."""
        channel = with_bell()
        channel.put_many([1])

        class Late(Noted):
            def get(self, block: bool, timeout: float | None = None) -> Any:
                if not channel.closed:
                    channel.close()  # which drops 1
                    self._inner.put([2])  # the sender was past its look
                return self._inner.get(block, timeout)

        channel._batches = Late(channel._batches, threading.Event())  # type: ignore[assignment]
        with pytest.raises(ChannelClosed):
            channel.get_many(later())

    def test_the_bound_while_items_are_taken(self) -> None:
        """What is being taken counts as inside until all of it is out, or one batch would be over the bound."""
        channel = with_bell()
        channel.put_many([1])
        channel.put_many([2])
        sizes = []

        class Late(Noted):
            def get(self, block: bool, timeout: float | None = None) -> Any:
                sizes.append(len(channel))
                return self._inner.get(block, timeout)

        channel._batches = Late(channel._batches, threading.Event())  # type: ignore[assignment]
        assert [1, 2] == channel.get_many(NOW)
        assert {2} == set(sizes)


def test_a_cancel_inside_the_lock() -> None:
    """A signal handler or the garbage collector may close while its thread has the mutex, in the sender's wait."""
    channel: Channel[int, str] = Channel(1)
    channel._queue.not_full.wait = lambda timeout=None: bool(channel.close())  # type: ignore[method-assign]
    with pytest.raises(ChannelClosed):
        Task(lambda: channel.put_many([1, 2], every=NEVER)).result()
    assert 0 == len(channel)


class _Hook(threading.Event):
    """A listener that calls back in the middle of `put_many`, `finish` and `close`."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self._call = call

    def set(self) -> None:
        super().set()
        self._call()


@pytest.mark.parametrize("action", [lambda c: c.put_many([1]), lambda c: c.finish("complete")], ids=["put", "finish"])
def test_a_finalizer_may_close(action: Callable[[Channel[int, str]], object]) -> None:
    """The garbage collector may run a cancel in the middle of what the same thread does to the channel."""
    channel: Channel[int, str] = Channel(2)

    class Dropped:
        pass

    dropped = Dropped()
    dropped.itself = dropped  # type: ignore[attr-defined]
    weakref.finalize(dropped, channel.close)
    del dropped
    channel.listen(_Hook(gc.collect))
    Task(lambda: action(channel)).result()
    assert (True, 0) == (channel.closed, len(channel))


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals of POSIX")
def test_a_signal_handler_may_close() -> None:
    """Ctrl-C may come, and its handler cancel, in the middle of what the main thread does to the channel."""
    channel: Channel[int, str] = Channel(2)
    before = signal.signal(signal.SIGUSR1, lambda *_: channel.close())
    try:
        channel.listen(_Hook(lambda: signal.raise_signal(signal.SIGUSR1) if not channel.closed else None))
        with bounded():
            channel.put_many([1])
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (True, 0) == (channel.closed, len(channel))
    with pytest.raises(ChannelClosed):
        channel.put_many([2])


def test_a_close_while_items_are_put() -> None:
    """A sender that finds the channel closed drops what it had just put, and not what is to wake the receiver."""
    channel: Channel[int, str] = Channel(2)

    class Closing(Noted):
        def put(self, items: Sequence[int]) -> None:
            self._inner.put(items)
            if not channel.closed:
                channel.close()

    channel._batches = Closing(channel._batches, threading.Event())  # type: ignore[assignment]
    with pytest.raises(ChannelClosed):
        channel.put_many([1])
    assert () == channel._batches.get(False)


@pytest.mark.usefixtures("kind")
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
        assert 0 == len(channel)


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="the descriptors of Linux")
class TestDescriptors:
    """A bell may hold a descriptor, so there is one only while the receiver may have to wait."""

    @pytest.fixture
    def started_with(self) -> list[str]:
        return os.listdir(DESCRIPTORS)

    def test_none_before_the_first_wait(self, started_with: list[str]) -> None:
        """A channel whose receiver finds items has none, nor has one whose receiver only looks."""
        channel: Channel[int, str] = Channel(2)
        with pytest.raises(queue.Empty):
            channel.get_many(NOW)
        channel.put_many([1])
        assert [1] == channel.get_many(NOW)
        assert started_with == os.listdir(DESCRIPTORS)

    @pytest.mark.parametrize("end", [lambda c: c.finish("complete"), lambda c: c.close()], ids=["finish", "close"])
    def test_none_after_the_end(self, end: Callable[[Channel[int, str]], None], started_with: list[str]) -> None:
        """It goes with the end, although the channel is kept, and what is in it was not taken."""
        channel: Channel[int, str] = Channel(2)
        with pytest.raises(queue.Empty):
            channel.get_many(time.monotonic() + 0.001)
        assert started_with != os.listdir(DESCRIPTORS)
        channel.put_many([1])
        end(channel)
        assert started_with == os.listdir(DESCRIPTORS)

    def test_none_after_an_end_at_the_first_wait(
        self, started_with: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A bell that was being made when the end came is let go."""
        channel: Channel[int, str] = Channel(2)
        monkeypatch.setattr(channel_module, "new_bell", lambda: (channel.finish("complete"), new_bell())[1])
        with pytest.raises(ChannelClosed):
            channel.get_many(later())
        assert started_with == os.listdir(DESCRIPTORS)

    def test_none_after_an_end_that_wakes(self, started_with: list[str]) -> None:
        """Who waits when the end comes lets it go as well."""
        channel: Channel[int, str] = Channel(2)
        task = Task(lambda: channel.get_many(time.monotonic() + SOON))
        with bounded():
            while channel._bell is None:
                time.sleep(0.001)
        channel.finish("complete")
        with pytest.raises(ChannelClosed):
            task.result()
        assert started_with == os.listdir(DESCRIPTORS)


class TestSelect:
    def make(self, count: int) -> tuple[list[Channel[int, str]], threading.Event]:
        channels, event = [Channel[int, str](2) for _ in range(count)], threading.Event()
        for channel in channels:
            channel.listen(event)
        return channels, event

    def test_ready_ones_in_the_order_given(self) -> None:
        """Those with items, an outcome or a closed end are returned, in the order given, without waiting."""
        (a, b, c, d), event = self.make(4)
        d.put_many([1])
        b.finish("complete")
        a.close()
        assert [a, b, d] == select([a, b, c, d], event, None)
        assert [d, b] == select([d, c, b], event, 0)

    def test_nothing_in_time(self) -> None:
        """When the time runs out there is none."""
        channels, event = self.make(2)
        with bounded():
            assert [] == select(channels, event, 0.01)
            assert [] == select(channels, event, 0)

    def test_no_channels(self) -> None:
        """To wait for nothing is not to wait."""
        with bounded():
            assert [] == select([], threading.Event(), None)

    @pytest.mark.parametrize(
        "act",
        [lambda c: c.put_many([1]), lambda c: c.finish("complete"), lambda c: c.close()],
        ids=["put", "finish", "close"],
    )
    def test_woken_by_any_of_them(self, act: Callable[[Channel[int, str]], object]) -> None:
        """A wait without limit ends when one of them has something."""
        channels, event = self.make(3)
        looked = threading.Event()

        class Looked(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                looked.set()
                return super().wait(timeout)

        event = Looked()
        for channel in channels:
            channel.listen(event)
        task = Task(lambda: select(channels, event, None))
        assert looked.wait(SOON)
        act(channels[1])
        assert [channels[1]] == task.result()

    def test_what_was_put_before_is_not_missed(self) -> None:
        """The event is no memory: what was there before the call counts, also once the event was cleared."""
        (channel,), event = self.make(1)
        channel.put_many([1])
        event.clear()
        assert [channel] == select([channel], event, None)
        assert [channel] == select([channel], event, None)

    def test_a_stale_event_is_no_busy_wait(self) -> None:
        """An event that is set from before does not keep it spinning: it waits, for the time it was given."""
        (channel,), _ = self.make(1)
        waits: list[float | None] = []

        class Counted(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                waits.append(timeout)
                return super().wait(timeout)

        event = Counted()
        event.set()
        assert [] == select([channel], event, 0.02)
        assert 1 <= len(waits) <= 3

    def test_unlisten(self) -> None:
        """After `unlisten` the event is left alone; others still hear, and doing it again changes nothing."""
        (channel,), event = self.make(1)
        other = threading.Event()
        channel.listen(other)
        channel.unlisten(event)
        channel.unlisten(event)
        channel.put_many([1])
        assert (False, True) == (event.is_set(), other.is_set())


def test_repr_shows_the_state() -> None:
    """The state and the fill are in the repr."""
    channel: Channel[int, str] = Channel(3)
    channel.put_many([1, 2])
    assert "<Channel open, 2 of 3>" == repr(channel)
    channel.finish("complete")
    assert "<Channel finished, 2 of 3>" == repr(channel)
    channel.close()
    assert "<Channel closed, 0 of 3>" == repr(channel)
