"""The consumer's side of a stream: delivered chunks, the end, and reports to observers."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamkit import Chunk, Observer, Report, StreamError, StreamTimeout, Timeout
from streamkit.concurrency.own_thread import OwnThread
from streamkit.observing.observers import Telling
from streamkit.observing.status import Status
from streamkit.streaming.delivery import Delivery
from streamkit.streaming.shared_state import StreamState
from streamkit.wire.http import ResponseInfo
from tests.unit.support import SOON, Task

DONE = Chunk("done", finish_reason="stop", raw_finish_reason="stop")


def text(*pieces: str) -> list[Chunk]:
    return [Chunk("text", text=piece) for piece in pieces]


class Recorder(Observer):
    """Records the reports, and the calling threads."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Report]] = []
        self.threads: list[int] = []

    def stream_started(self, report: Report) -> None:
        self._note("started", report)

    def stream_ended(self, report: Report) -> None:
        self._note("ended", report)

    def _note(self, what: str, report: Report) -> None:
        self.told.append((what, report))
        self.threads.append(threading.get_ident())


def made(*observers: Observer) -> tuple[Delivery, StreamState]:
    state = StreamState(8, 1 << 20, Timeout(), ("p", "m"), None)
    return Delivery(state, 7, observers), state


class TestDelivered:
    def test_only_what_was_taken_counts(self) -> None:
        """A chunk is in the completion as soon as the consumer's position is past it."""
        delivery, _ = made()
        delivery.take(text("a", "b", "c"))
        seen = [delivery.completion().text]
        for position in (1, 2, 3):
            delivery.cursor.position = position
            seen.append(delivery.completion().text)
        assert ["", "a", "ab", "abc"] == seen

    @pytest.mark.parametrize("looks", [False, True])
    def test_a_batch_is_folded_once(self, looks: bool) -> None:
        """Taking the next batch folds the one before, once, however often one looked in between."""
        delivery, _ = made()
        for batch in (text("a", "b"), text("c"), text("d", "e")):
            delivery.take(batch)
            for position in range(1, len(batch) + 1):
                delivery.cursor.position = position
                if looks:
                    delivery.completion()
        assert "abcde" == delivery.completion().text == delivery.completion().text

    def test_it_has_the_names(self) -> None:
        """Before anything came, the completion has the provider and the model that was asked for."""
        completion = made()[0].completion()
        assert ("p", "m", "", None) == (
            completion.provider,
            completion.model,
            completion.text,
            completion.finish_reason,
        )

    def test_a_batch_that_comes_too_late(self) -> None:
        """After the end no batch is taken, and none is left to be handed out."""
        delivery, _ = made()
        delivery.take(text("a", "b"))
        delivery.cursor.position = 1
        delivery.settle("cancelled")
        delivery.take(text("c"))
        assert ("c" not in [chunk.text for chunk in delivery.cursor.batch], "a") == (True, delivery.completion().text)


class TestSettling:
    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            ("complete", "stop"),
            ("cancelled", "cancelled"),
            ("truncated", "error"),
            ("timeout", "error"),
            ("error", "error"),
        ],
    )
    def test_the_finish_reason_tells_of_an_interruption(self, status: Status, expected: str) -> None:
        """A reply that was cut short says so, also where the provider had given its reason already."""
        delivery, _ = made()
        delivery.take([*text("a"), DONE])
        delivery.cursor.position = 2
        delivery.settle(status)
        completion = delivery.completion()
        assert (expected, "stop", "a") == (completion.finish_reason, completion.raw_finish_reason, completion.text)

    def test_the_first_to_say_is_right(self) -> None:
        """A stream ends once; later calls change neither status nor error."""
        delivery, _ = made()
        error = StreamError("no")
        assert delivery.settle("error", error)
        assert not delivery.settle("complete")
        assert not delivery.settle("timeout", StreamTimeout("late"))
        assert ("error", error) == (delivery.status, delivery.error)

    def test_an_error_has_what_was_delivered(self) -> None:
        """The error's partial completion has the delivered chunks only."""
        delivery, _ = made()
        delivery.take(text("a", "b"))
        delivery.cursor.position = 1
        error = StreamError("no")
        delivery.settle("error", error)
        assert error.partial == delivery.completion()
        assert ("a", "error") == (error.partial.text, error.partial.finish_reason)

    def test_many_at_once(self) -> None:
        """If many threads end it at once, one call is the first, and each observer is called once."""
        for _ in range(50):
            recorder = Recorder()
            delivery, _state = made(recorder)
            together = threading.Barrier(6)

            def settle(status: Status, delivery: Delivery = delivery, together: Any = together) -> bool:
                together.wait(SOON)
                return delivery.settle(status)

            statuses: list[Status] = ["complete", "cancelled", "timeout", "error", "truncated", "cancelled"]
            tasks = [Task(lambda status=status, settle=settle: settle(status)) for status in statuses]  # type: ignore[misc]
            assert [False] * 5 + [True] == sorted(task.result() for task in tasks)
            assert ["ended"] == [what for what, _ in recorder.told]

    @pytest.mark.parametrize("look", [lambda r: r.take(text("c")), lambda r: r.completion()], ids=["take", "look"])
    def test_a_cancel_in_the_middle_of_a_fold(self, look: Callable[[Delivery], object]) -> None:
        """A signal handler may cancel while its thread folds a batch; each chunk is still folded once."""
        delivery, _ = made()
        handlers = [delivery.abandon]

        class Interrupted(list[Chunk]):
            """A batch in the middle of whose chunks the handler runs, once."""

            def __iter__(self) -> Iterator[Chunk]:
                for number in range(len(self)):
                    if number == 1 and handlers:
                        handlers.pop()()
                    yield self[number]

            def __getitem__(self, key: Any) -> Any:
                found = super().__getitem__(key)
                return Interrupted(found) if isinstance(key, slice) else found

        delivery.take(Interrupted(text("a", "b")))
        delivery.cursor.position = 2
        Task(lambda: look(delivery)).result()
        assert ("cancelled", "ab") == (delivery.status, delivery.completion().text)


class TestAbandoning:
    def test_ends_the_worker_and_the_stream(self) -> None:
        """Abandoning an open stream closes the channel, and the stream is cancelled."""
        delivery, state = made()
        delivery.abandon()
        assert ("cancelled", True, True) == (delivery.status, state.halted, state.channel.closed)

    def test_what_has_ended_is_left_alone(self) -> None:
        """A stream that has ended keeps its status, and its worker, which may be saving the connection."""
        delivery, state = made()
        delivery.settle("complete")
        delivery.abandon()
        assert ("complete", False, False) == (delivery.status, state.halted, state.channel.closed)

    def test_the_done_chunk_was_taken(self) -> None:
        """Left after its `done` chunk, a reply is complete: only the end itself was not taken."""
        delivery, state = made()
        delivery.take([*text("a"), DONE])
        delivery.cursor.position = 2
        delivery.abandon()
        assert ("complete", "stop", False) == (
            delivery.status,
            delivery.completion().finish_reason,
            state.halted,
        )

    def test_the_done_chunk_was_not_taken(self) -> None:
        """Left just before its `done` chunk, a reply is cancelled, whatever lies in the queue."""
        delivery, _ = made()
        delivery.take([*text("a"), DONE])
        delivery.cursor.position = 1
        delivery.abandon()
        assert ("cancelled", "cancelled") == (delivery.status, delivery.completion().finish_reason)

    def test_a_childs_copy_touches_nothing(self) -> None:
        """In a forked child abandoning ends nothing of the parent's, and a lock held there does not block."""
        delivery, state = made()
        delivery.take(text("a"))
        delivery.cursor.position = 1
        state.inherited = True
        delivery.abandon()
        assert ("open", False) == (delivery.status, state.halted)
        delivery._lock.acquire()
        Task(lambda: (delivery.inherit(), delivery.completion())).result()


class TestObservers:
    def test_told_of_start_and_end(self) -> None:
        """Each observer hears once of the start and once of the end, in the thread that learns of it."""
        first, second = Recorder(), Recorder()
        delivery, state = made(first, second)
        delivery.started()
        state.response = ResponseInfo(200, {"x-request-id": "req"})
        delivery.take(text("Hi"))
        delivery.cursor.position = 1
        error = StreamError("no")
        ident = Task(lambda: (delivery.settle("error", error), threading.get_ident())[1]).result()
        delivery.settle("error", error)
        assert first.told == second.told
        assert [threading.get_ident(), ident] == first.threads
        (started, at_start), (ended, at_end) = first.told
        assert ("started", "open", None, None, "") == (
            started,
            at_start.status,
            at_start.error,
            at_start.request_id,
            at_start.completion.text,
        )
        assert ("ended", "error", error, "req", "Hi") == (
            ended,
            at_end.status,
            at_end.error,
            at_end.request_id,
            at_end.completion.text,
        )
        assert [(7, "p", "m")] * 2 == [(report.id, report.provider, report.model) for report in (at_start, at_end)]

    def test_a_fork_in_an_observer(self) -> None:
        """A child whose thread is in the middle of telling goes on with locks of its own."""

        class Forking(Observer):
            def stream_ended(self, report: Report) -> None:
                delivery.inherit()

        delivery, _ = made(Forking())
        assert delivery.settle("complete")

    def test_a_drop_in_a_thread_of_the_package(self) -> None:
        """The stream is halted at once, and observers, who may wait for anything, are told by another thread."""
        told, go = threading.Event(), threading.Event()
        names: list[str] = []

        class Waiting(Observer):
            def stream_ended(self, report: Report) -> None:
                assert go.wait(SOON)
                names.append(threading.current_thread().name)
                told.set()

        delivery, state = made(Waiting())
        reader = OwnThread(delivery.drop, (), "reader")
        reader.start()
        reader.join(SOON)
        assert (state.halted, names) == (True, [])
        go.set()
        assert told.wait(SOON)
        assert names != ["reader"]

    def test_one_that_fails_does_no_harm(self, caplog: pytest.LogCaptureFixture) -> None:
        """An observer's exception is logged with its name; the others are called, and the end is unchanged."""

        class Failing(Observer):
            def stream_ended(self, report: Report) -> None:
                raise ZeroDivisionError("observer")

        recorder = Recorder()
        delivery, _ = made(Failing(), recorder)
        with caplog.at_level(logging.ERROR, "streamkit"):
            assert delivery.settle("complete")
        assert "complete" == delivery.status
        assert ["ended"] == [what for what, _ in recorder.told]
        assert ["Failing.stream_ended failed"] == [record.getMessage() for record in caplog.records]

    @pytest.mark.parametrize("place", ["handler", "filter"])
    def test_logging_that_fails_does_no_harm(self, place: str) -> None:
        """Where the program's own logging raises about an observer's failure, all observers are called still."""

        class Failing(Observer):
            def stream_ended(self, report: Report) -> None:
                raise ZeroDivisionError("observer")

        class Broken(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                raise OSError("no space left")

        def fail(record: logging.LogRecord) -> bool:
            raise OSError("no space left")

        log, handler, recorder = logging.getLogger("streamkit"), Broken(), Recorder()
        log.addHandler(handler) if place == "handler" else log.addFilter(fail)
        try:
            assert made(Failing(), recorder, Failing())[0].settle("complete")
        finally:
            log.removeHandler(handler)
            log.removeFilter(fail)
        assert ["ended"] == [what for what, _ in recorder.told]

    def test_ctrl_c_in_an_observer_is_not_swallowed(self) -> None:
        """Only an `Exception` is logged; an interrupt is raised in the program."""

        class Interrupted(Observer):
            def stream_ended(self, report: Report) -> None:
                raise KeyboardInterrupt

        delivery, _ = made(Interrupted())
        with pytest.raises(KeyboardInterrupt):
            delivery.settle("complete")
        assert "complete" == delivery.status

    def test_the_base_class_does_nothing(self) -> None:
        """An observer overrides the methods it needs; the base class does nothing."""
        delivery, _ = made(Observer())
        delivery.started()
        assert delivery.settle("complete")

    def test_no_observers(self) -> None:
        """Without observers no report is made."""
        Telling((), "stream_ended", None).go_on()


def test_stats() -> None:
    """The figures are those of the state; the duration no longer grows after the worker's end."""
    delivery, state = made()
    fresh = delivery.stats()
    assert (None, 0, 0, 0, 0, 0.0) == (
        fresh.time_to_first_chunk,
        fresh.chunks,
        fresh.bytes,
        fresh.attempts,
        fresh.queue_peak,
        fresh.blocked,
    )
    assert fresh.duration >= 0
    state.channel.put_many(text("a", "b"))
    state.attempts, state.chunks, state.blocked = 2, 5, 0.5
    state.first_chunk_at, state.ended_at = state.deadlines.started_at + 1.5, state.deadlines.started_at + 3
    figures = delivery.stats()
    assert figures == delivery.stats()
    assert (1.5, 3.0, 5, 2, 2, 0.5) == (
        figures.time_to_first_chunk,
        figures.duration,
        figures.chunks,
        figures.attempts,
        figures.queue_peak,
        figures.blocked,
    )


def test_it_does_not_keep_itself_alive() -> None:
    """A delivery is freed without the garbage collector: nothing in it points back at it."""
    delivery, _ = made(Recorder())
    delivery.settle("complete")
    gone: list[int] = []

    class Last(list[Chunk]):
        def __del__(self) -> None:
            gone.append(1)

    delivery.cursor.batch = Last()
    gc.disable()
    try:
        del delivery
        assert [1] == gone
    finally:
        gc.enable()
