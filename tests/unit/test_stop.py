"""A StopEvent cancels every stream that was started with it; a SocketGuard shuts down only its own socket."""

from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import StopEvent
from streamkit.concurrency.waiting import Waiter
from streamkit.transport.guard import SocketGuard
from tests.unit.support import SOON, Task, bounded


class TestStopEvent:
    def test_set_calls_each_callback_in_its_own_thread(self) -> None:
        """Setting it calls every callback, in order, in the thread that sets it, and then it is set."""
        event, calls = StopEvent(), []
        for name in "abc":
            event.subscribe(lambda name=name: calls.append((name, event.is_set(), threading.get_ident())))  # type: ignore[misc]
        setter = Task(lambda: (event.set(), threading.get_ident())[1])
        ident = setter.result()
        assert [(name, True, ident) for name in "abc"] == calls

    def test_all_are_halted_before_any_is_told(self) -> None:
        """Every subscriber's first callback comes before anybody's second, which may be slow."""
        event, order = StopEvent(), []
        for name in "ab":
            event.subscribe(partial(order.append, f"halt {name}"), partial(order.append, f"tell {name}"))
        event.set()
        assert ["halt a", "halt b", "tell a", "tell b"] == order

    def test_it_is_a_threading_event(self) -> None:
        """Whatever takes a `threading.Event` can wait for it."""
        event = StopEvent()
        assert isinstance(event, threading.Event)
        assert not event.wait(0)
        waiter = Task(lambda: event.wait(SOON))
        event.set()
        assert waiter.result()

    def test_a_set_that_is_cleared_at_once(self) -> None:
        """Who waits has been woken, as by any `threading.Event`."""
        for _ in range(20):
            event = StopEvent()
            waiter = Task(lambda event=event: event.wait(SOON))  # type: ignore[misc]
            while not event._waiters:
                threading.Event().wait(0.001)
            event.set()
            event.clear()
            assert waiter.result()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_a_fork_in_the_middle_of_a_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A child that a handler forks while its thread waits goes on waiting, and is woken."""
        event, children = StopEvent(), []

        class Forking(Waiter):
            def wait(self, seconds: float = math.inf) -> bool:
                children.append(os.fork())
                if children[0] == 0:
                    threading.Thread(target=event.set, daemon=True).start()
                return super().wait(seconds if children[0] == 0 else 0.0)

        monkeypatch.setattr("streamkit.concurrency.stop.Waiter", Forking)
        woken = event.wait(SOON / 2)
        if children[0] == 0:
            os._exit(0 if woken else 1)
        with bounded(SOON * 2):
            assert 0 == os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1])

    def test_a_callback_that_comes_late_is_called_at_once(self) -> None:
        """Subscribing to one that is set calls back at once, so that no stream starts on it."""
        event, calls = StopEvent(), []
        event.set()
        event.subscribe(lambda: calls.append(1))
        assert [1] == calls

    def test_unsubscribing_is_final_and_repeatable(self) -> None:
        """After the subscription ended the callback is not called, however often it was ended."""
        event, calls = StopEvent(), []
        end = event.subscribe(lambda: calls.append("a"))
        event.subscribe(lambda: calls.append("b"))
        for _ in range(3):
            assert end() is None
        event.set()
        assert ["b"] == calls
        assert "<StopEvent set, 1 streams>" == repr(event)

    def test_after_clear_it_serves_again(self) -> None:
        """After `clear` a new subscription is not called at once, and the next `set` calls it."""
        event, calls = StopEvent(), []
        event.subscribe(lambda: calls.append("old"))
        event.set()
        event.clear()
        event.subscribe(lambda: calls.append("new"))
        assert ["old"] == calls
        event.set()
        assert ["old", "old", "new"] == calls

    def test_callbacks_may_end_and_begin_subscriptions(self) -> None:
        """A stream that ends inside `set()` ends its subscription there, and may even start another."""
        event, calls = StopEvent(), []

        def callback() -> None:
            calls.append("a")
            end()
            event.subscribe(lambda: calls.append("c"))

        end = event.subscribe(callback)
        event.subscribe(lambda: calls.append("b"))
        event.set()
        assert sorted("abc") == sorted(calls)

    def test_a_set_in_the_middle_of_subscribing_is_not_lost(self) -> None:
        """However set and subscribe meet, the callback is called: no stream slips through."""
        for _ in range(200):
            event, together, calls = StopEvent(), threading.Barrier(3), []

            def subscribe(event=event, together=together, calls=calls) -> None:  # type: ignore[no-untyped-def]
                together.wait(SOON)
                event.subscribe(lambda: calls.append(threading.get_ident()))

            def set_it(event=event, together=together) -> None:  # type: ignore[no-untyped-def]
                together.wait(SOON)
                event.set()

            tasks = [Task(subscribe), Task(subscribe), Task(set_it)]
            for task in tasks:
                task.result()
            assert 2 <= len(calls) <= 4

    def test_a_set_between_the_steps_of_subscribing(self) -> None:
        """A set that comes just after `subscribe` has looked, and before it returns, calls back."""

        class Raced(StopEvent):
            """Set by another thread right after the first look at it."""

            looks = 0

            def is_set(self) -> bool:
                answer = super().is_set()
                self.looks += 1
                if self.looks == 1:
                    Task(self.set).result()
                return answer

        event, calls = Raced(), []
        event.subscribe(lambda: calls.append(1))
        assert [1] == calls

    def test_unsubscribing_while_it_is_set(self) -> None:
        """Streams that end by themselves during a `set` cause no error."""
        for _ in range(100):
            event, together, calls = StopEvent(), threading.Barrier(2), []
            ends = [event.subscribe(lambda: None) for _ in range(20)]
            event.subscribe(lambda calls=calls: calls.append(1))  # type: ignore[misc]

            def leave(together=together, ends=ends) -> None:  # type: ignore[no-untyped-def]
                together.wait(SOON)
                for end in ends:
                    end()

            task = Task(leave)
            together.wait(SOON)
            event.set()
            task.result()
            assert [1] == calls

    def test_repr(self) -> None:
        """State and number of streams are in the repr."""
        event = StopEvent()
        event.subscribe(lambda: None)
        assert "<StopEvent clear, 1 streams>" == repr(event)

    def test_a_signal_handler_may_set_it_while_its_thread_is_inside(self) -> None:
        """A handler that interrupts `set()` or `wait()` inside the event's lock may call `set()` itself."""
        event = StopEvent()
        with bounded(), event._lock:  # where a handler would interrupt it
            event.set()
        assert event.is_set()


@pytest.fixture
def pairs() -> Iterator[Callable[[], tuple[socket.socket, socket.socket]]]:
    """Make connected sockets with a time limit; close them at the end."""
    with ExitStack() as stack:

        def make() -> tuple[socket.socket, socket.socket]:
            pair = socket.socketpair()
            for sock in pair:
                stack.enter_context(sock)
                sock.settimeout(SOON)
            return pair

        yield make


Pairs = Callable[[], tuple[socket.socket, socket.socket]]


def alive(ours: socket.socket, theirs: socket.socket) -> bool:
    """Whether bytes go both ways."""
    try:
        ours.sendall(b"?")
        theirs.sendall(b"!")
        return (b"!", b"?") == (ours.recv(1), theirs.recv(1))
    except OSError:
        return False


class Fake:
    """Counts the calls of `shutdown`; not a `socket.socket`."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.shut = 0
        self._then = then

    def shutdown(self, how: int) -> None:
        assert socket.SHUT_RDWR == how
        self.shut += 1
        self._then()


class TestSocketGuard:
    def test_ends_a_blocked_read(self, pairs: Pairs) -> None:
        """A thread that is blocked on the socket gets the end at once, and the peer a FIN."""
        ours, theirs = pairs()
        guard = SocketGuard()
        guard.register(ours)
        reader = Task(lambda: ours.recv(1))
        guard.shut_down()
        assert b"" == reader.result()
        assert b"" == theirs.recv(1)

    def test_a_socket_that_comes_after_is_ended_at_once(self, pairs: Pairs) -> None:
        """A cancel before a socket is registered shuts it down when it is, and each later one."""
        guard = SocketGuard()
        guard.shut_down()
        for _ in range(2):
            ours, theirs = pairs()
            guard.register(ours)
            assert not alive(ours, theirs)

    def test_a_released_socket_is_never_touched(self, pairs: Pairs) -> None:
        """A late cancel leaves a connection alone that went back to the pool."""
        ours, theirs = pairs()
        guard = SocketGuard()
        guard.register(ours)
        guard.release()
        guard.shut_down()
        guard.shut_down()
        assert alive(ours, theirs)

    def test_only_the_last_one_counts(self, pairs: Pairs) -> None:
        """Registering another socket lets go of the one before."""
        (a, a_peer), (b, b_peer) = pairs(), pairs()
        guard = SocketGuard()
        guard.register(a)
        guard.register(b)
        guard.shut_down()
        assert (True, False) == (alive(a, a_peer), alive(b, b_peer))

    def test_a_socket_is_shut_down_once(self) -> None:
        """Once it was ended the socket is let go, since its number may soon be another's."""
        guard, fake = SocketGuard(), Fake()
        guard.register(fake)  # type: ignore[arg-type]
        for _ in range(3):
            guard.shut_down()
        assert 1 == fake.shut

    def test_nothing_to_end(self) -> None:
        """A closed or unconnected socket causes no error, nor does having no socket."""
        guard = SocketGuard()
        guard.release()
        with socket.socket() as unconnected:
            guard.register(unconnected)
            guard.shut_down()
        closed = socket.socket()
        closed.close()
        guard.register(closed)
        guard.release()
        guard.shut_down()

    def test_the_plain_method_also_for_tls(self, pairs: Pairs) -> None:
        """TLS keeps its object: only the descriptor below it is shut down."""

        class LikeTLS(socket.socket):
            def shutdown(self, how: int) -> None:
                raise AssertionError("this would take the TLS object from under its reader")

        ours, theirs = pairs()
        with LikeTLS(fileno=ours.detach()) as tls:
            guard = SocketGuard()
            guard.register(tls)
            guard.shut_down()
            assert b"" == theirs.recv(1)

    def test_a_cancel_inside_a_cancel(self) -> None:
        """A signal handler or finalizer may cancel while the same thread holds the guard's lock."""
        guard = SocketGuard()
        guard.register(Fake(guard.shut_down))  # type: ignore[arg-type]
        Task(guard.shut_down).result()
        assert "<SocketGuard shut>" == repr(guard)

    @given(st.lists(st.sampled_from(["register", "release", "shut_down"]), max_size=12))
    def test_any_order(self, calls: list[str]) -> None:
        """In any order of calls, exactly those sockets are ended that were the guard's at or after a shutdown."""
        guard, asked, held = SocketGuard(), False, None
        sockets: list[tuple[Fake, bool]] = []
        for call in calls:
            if call == "register":
                fake = Fake()
                guard.register(fake)  # type: ignore[arg-type]
                sockets.append((fake, asked))
                held = None if asked else len(sockets) - 1
            elif call == "release":
                guard.release()
                held = None
            else:
                guard.shut_down()
                asked = True
                if held is not None:
                    sockets[held] = (sockets[held][0], True)
                    held = None
            state = "shut" if asked else "idle" if held is None else "armed"
            assert f"<SocketGuard {state}>" == repr(guard)
            assert [int(ended) for _, ended in sockets] == [fake.shut for fake, _ in sockets]

    def test_register_and_shut_down_at_once(self, pairs: Pairs) -> None:
        """However a cancel meets a new connection, the connection is ended."""
        for _ in range(100):
            guard, fake, together = SocketGuard(), Fake(), threading.Barrier(2)

            def cancel(guard: SocketGuard = guard, together: threading.Barrier = together) -> None:
                together.wait(SOON)
                guard.shut_down()

            task = Task(cancel)
            together.wait(SOON)
            guard.register(fake)  # type: ignore[arg-type]
            task.result()
            assert 1 == fake.shut

    def test_release_and_shut_down_at_once(self) -> None:
        """Once `release` has returned, no cancel that is under way touches the socket any more."""
        for _ in range(100):
            guard, fake, together = SocketGuard(), Fake(), threading.Barrier(2)
            guard.register(fake)  # type: ignore[arg-type]

            def cancel(guard: SocketGuard = guard, together: threading.Barrier = together) -> None:
                together.wait(SOON)
                guard.shut_down()

            task = Task(cancel)
            together.wait(SOON)
            guard.release()
            seen = fake.shut
            task.result()
            assert seen == fake.shut
