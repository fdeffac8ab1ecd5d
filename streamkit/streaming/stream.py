"""The receiving end of one reply: ``Stream``."""

from __future__ import annotations

import contextvars
import itertools
import math
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from streamkit.concurrency.own_thread import OwnThread
from streamkit.concurrency.plain_events import on_set
from streamkit.concurrency.stop import StopEvent
from streamkit.errors import ChannelClosed, StreamError, StreamkitError
from streamkit.observing.observers import Observer, Stats
from streamkit.observing.status import Status
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.delivery import Delivery
from streamkit.streaming.job import Job
from streamkit.streaming.shared_state import Outcome, StreamState
from streamkit.streaming.typed_output import TypedOutput
from streamkit.streaming.worker import read
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion
from streamkit.wire.http import ResponseInfo

__all__ = ["Stream"]

# Seconds after a limit in which the reader may report it; then the consumer reports it. The consumer first waits for
# the same time again, because the program may have been suspended or busy, so that the reader could not run.
_GRACE = 0.1
_JOIN = 0.25  # seconds that close() waits for the worker, which needs milliseconds

# next() of it is one atomic operation, with and without the GIL. A lock could be left held by an interrupt.
_numbers = itertools.count(1)
# The open streams of this process, for a forked child to find those that it inherited. Each single operation on a dict
# is atomic, with and without the GIL, and only a forked child, which has one thread, iterates it.
_open: dict[int, weakref.ref[Stream]] = {}


class Stream(ChunkStream):
    """A reply as it arrives: an iterator of ``Chunk``, and a context manager.

    ::

        with client.stream("openai/gpt-4o-mini", "Write a haiku") as stream:
            for chunk in stream:
                print(chunk.text, end="", flush=True)
        print(stream.completion.usage)

    ``ChunkStream`` has the methods that take chunks or text. A reader thread fills a bounded queue. It ends, and its
    socket is closed, when the stream is closed or cancelled, when the loop is left, or when the last reference to the
    stream is dropped.

    Owner of the fields: the consumer's thread alone uses ``_overdue`` and ``_overdue_until``. The others never change
    after ``__init__``; the objects that they refer to say who owns their fields.

    Threads: one thread consumes; any thread may call ``cancel()`` and read the properties.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        buffer: int,
        buffer_bytes: int,
        stop: StopEvent | threading.Event | None = None,
        observers: Sequence[Observer] = (),
        part_of: tuple[int, int] | None = None,
        output: TypedOutput | None = None,
        arrivals: bool = False,
    ) -> None:
        plain = stop if stop is not None and not isinstance(stop, StopEvent) else None
        job, round = jobs[0], part_of[1] if part_of else 0
        self._state = state = StreamState(buffer, buffer_bytes, job.timeout, job.route, plain, round, arrivals=arrivals)
        state.name(job.subject())
        self._number = number = next(_numbers)
        parse = None if output is None else output.parsed
        self._delivery = Delivery(state, number, observers, part_of, parse)
        self._typed = output
        self._may_call = bool(job.chat.params.get("tools"))
        self._worker: threading.Thread | None = None
        self._overdue = math.inf  # the limit that had passed when the consumer last checked the clock,
        self._overdue_until = math.inf  # and the end of the reader's time to report it
        # Two finalizers: the interpreter swallows an interrupt in one of them, and still runs the other.
        drop = self._delivery.drop
        _open[number] = weakref.ref(self, lambda _: (_open.pop(number, None), drop()))
        finalizer = weakref.finalize(self, drop)
        subscriptions: list[Callable[[], None]] = []

        def on_settled() -> None:
            finalizer.detach()
            _open.pop(number, None)
            for unsubscribe in subscriptions:
                unsubscribe()

        self._delivery.on_settled = on_settled
        body: tuple[Any, ...] = (read, state, jobs)
        if observers:  # what one sets in context variables, such as the current span, is for the reader alone
            context = contextvars.copy_context()
            context.run(self._delivery.started, job.chat)
            body = (context.run, *body)
        if isinstance(stop, StopEvent):
            subscriptions.append(stop.subscribe(self._delivery.halt, self._delivery.abandon))
        if state.stop_requested():
            self._delivery.settle("cancelled")
        elif plain is not None:
            subscriptions.append(on_set(plain, self._delivery.halt))
        if self._delivery.status != "open":
            on_settled()
            return
        self._worker = OwnThread(body[0], body[1:], f"streamkit-{number}")
        try:
            self._worker.start()
        except RuntimeError as error:  # out of threads, or the interpreter is shutting down
            self._worker = None
            self._delivery.settle("error", StreamError(f"no reader thread could be started: {error}"))

    # -- taking chunks -----------------------------------------------------------------------------------

    def _chunks(self) -> Iterator[Chunk]:
        __tracebackhide__ = True
        delivery, state = self._delivery, self._state
        plain = state.plain_stop
        while self._receive():
            cursor = delivery.cursor
            batch = cursor.batch
            while not state.halted and (plain is None or not plain.is_set()):
                position = cursor.position
                if position >= len(batch):
                    break
                cursor.position = position + 1
                yield batch[position]

    def _receive(self, timeout: float | None = None) -> bool:
        """Wait until there is a chunk to deliver and return True; return False at the end of the stream."""
        __tracebackhide__ = True
        delivery, state = self._delivery, self._state
        if state.inherited:
            self._check_use()
        if state.halted or (state.plain_stop is not None and state.stop_requested()):
            delivery.settle("cancelled")  # by a plain event; the reader may have seen it, or ended before
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while delivery.status == "open":
            cursor = delivery.cursor
            if cursor.position < len(cursor.batch):
                return True
            try:
                delivery.take(state.channel.get_many(lambda: min(deadline, self._next_check())))
            except queue.Empty:
                self._check_clock()
                if delivery.status == "open" and time.monotonic() >= deadline:
                    raise
            except ChannelClosed:
                self._settle()
            except BaseException as error:  # Ctrl-C or the time limit of a worker process, during the wait
                self._interrupted(error)
                raise
        if delivery.error is not None:
            raise delivery.error.with_traceback(None)
        return False

    def _next_check(self) -> float:
        """Return the moment, on ``time.monotonic``, at which a waiting consumer checks the clock."""
        due = self._state.deadlines.earliest_due
        return self._overdue_until if due == self._overdue else due + _GRACE

    def _check_clock(self) -> None:
        """Report a limit that has passed, if the worker is stuck in a call that cannot be interrupted.

        Normally the reader reports it. The reader may not have run yet, because the program was busy or suspended. So
        give the reader ``_GRACE`` seconds first.
        """
        state, now = self._state, time.monotonic()
        due = state.deadlines.due
        if state.stop_requested():
            self._delivery.settle("cancelled")
        elif due + _GRACE > now or state.channel.ready:
            self._overdue = math.inf
        elif self._overdue != due:
            self._overdue, self._overdue_until = due, now + _GRACE
        elif now >= self._overdue_until and self._delivery.at_end:
            self._delivery.settle("complete")  # the reader tells a gate, which may take its time
        elif now >= self._overdue_until:
            error = state.deadlines.error()
            if state.deadlines.due == due:  # otherwise chunks came meanwhile, and the error is about another limit
                self._delivery.settle("timeout", error)
                state.halt()

    def _settle(self) -> None:
        """Settle the delivery by the worker's outcome."""
        outcome: Outcome | None = self._state.channel.outcome
        if outcome is None or self._state.halted:
            self._delivery.settle("cancelled")
        else:
            self._delivery.settle(outcome.status, outcome.error)

    # -- several at once; see fanin ----------------------------------------------------------------------

    def poll(self) -> bool:
        """Return whether a chunk can be taken or the stream has ended, without waiting."""
        try:
            return self._receive(0.0) or True
        except queue.Empty:
            return False
        except StreamkitError:
            return True  # recv() raises it again

    def peek(self) -> Chunk | None:
        """Return the next chunk if it has arrived and nothing else has to happen first; do not take it."""
        cursor = self._delivery.cursor
        if self._delivery.status != "open" or self._state.halted or cursor.position >= len(cursor.batch):
            return None
        return cursor.batch[cursor.position]

    def take(self, seconds: float | None = None) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end, also of a stream that was closed meanwhile.

        Raises:
            queue.Empty: no chunk came within ``seconds``.
        """
        __tracebackhide__ = True
        if not self._receive(seconds):
            return None
        cursor = self._delivery.cursor
        position = cursor.position
        cursor.position = position + 1
        return cursor.batch[position]

    def divert(self, sink: Callable[[Sequence[Chunk]], object]) -> bool:
        """Pass chunks to ``sink`` from now on, in the reader's thread; see ``ChunkStream.divert``."""
        self._check_use()
        cursor, delivery = self._delivery.cursor, self._delivery
        if cursor.position < len(cursor.batch):
            return False

        def pass_on(batch: Sequence[Chunk]) -> None:
            sink(batch)
            delivery.delivered(batch)

        return self._state.channel.divert(pass_on)

    def next_check(self) -> float:
        """Return the moment, on ``time.monotonic``, at which to call ``poll()`` even if the listener was not called."""
        return self._next_check()

    def listen(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` whenever the reader puts chunks, and at the end, until ``unlisten``.

        Threads: the listener is called in the reader's thread, with a lock held: it must be short and must not wait.
        """
        self._check_use()
        self._state.channel.listen(listener)

    def unlisten(self, listener: Callable[[], object]) -> None:
        """Stop calling ``listener``."""
        self._state.channel.unlisten(listener)

    # -- ending ------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Cancel the stream: end the loop over it, the reader and its connection.

        The delivered chunks stay in ``completion``. Cancelling a stream that has ended changes nothing.

        Raises:
            MisuseError: the stream belongs to the parent process.

        Threads: any, any number of times; never waits. Observers are called in the calling thread.
        """
        self._check_owner()
        self._delivery.abandon()

    def _leave(self) -> None:
        self._delivery.abandon()
        self._delivery.closed_early = self._delivery.status == "cancelled"

    def close(self) -> None:
        """Cancel the stream if it is open, and wait for its reader, at most 0.25 s.

        Raises:
            MisuseError: the stream belongs to the parent process.
        """
        self._check_owner()
        if self._delivery.status == "open":
            self._leave()
        if self._worker is not None and self._worker is not threading.current_thread():
            self._worker.join(_JOIN)

    @property
    def _closed_early(self) -> bool:
        return self._delivery.closed_early

    @property
    def _subject(self) -> str:
        return str(self._state.deadlines.subject)

    # -- state -------------------------------------------------------------------------------------------

    @property
    def _output(self) -> TypedOutput | None:
        return self._typed

    @property
    def completion(self) -> Completion:
        """The completion of the chunks delivered so far, at any time, also after a failure."""
        return self._delivery.completion()

    @property
    def status(self) -> Status:
        """``open``, ``complete``, ``cancelled``, ``truncated``, ``timeout`` or ``error``.

        It is the consumer's view: ``open`` until the consumer has taken the end, which comes after the last chunk.
        """
        return self._delivery.status

    @property
    def error(self) -> BaseException | None:
        """The error that ended the stream, or ``None``."""
        return self._delivery.error

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's stream, which cannot be used."""
        return self._state.inherited

    @property
    def stats(self) -> Stats:
        """The figures of the stream so far."""
        return self._delivery.stats()

    @property
    def response(self) -> ResponseInfo | None:
        """Status, headers, request id and rate limits of the response; ``None`` before they have arrived."""
        return self._state.response

    def __repr__(self) -> str:
        return f"<Stream {self._number} {self.status}, {self._state.chunks} chunks>"


def _mark_inherited() -> None:
    """Mark the inherited streams in a forked child: it has no worker, and the sockets are the parent's."""
    for reference in list(_open.values()):
        stream = reference()
        if stream is not None:
            stream._state.inherited = stream._state.halted = True
            stream._delivery.inherit()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_inherited)
