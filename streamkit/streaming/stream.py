"""What a user holds: ``Stream``, the receiving end of one reply."""

from __future__ import annotations

import itertools
import math
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from streamkit.concurrency.plain_events import on_set
from streamkit.concurrency.quick_thread import UnawaitedThread
from streamkit.concurrency.stop import StopEvent
from streamkit.errors import ChannelClosed, MisuseError, StreamError, StreamkitError
from streamkit.observing.observers import Observer, Stats
from streamkit.observing.status import Status
from streamkit.settings import seconds_of
from streamkit.streaming.attempt import Job
from streamkit.streaming.delivery import Delivery
from streamkit.streaming.shared_state import Outcome, StreamState
from streamkit.streaming.worker import read
from streamkit.values import text
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion
from streamkit.wire.http import ResponseInfo

__all__ = ["Stream"]

# Seconds that the reader has to report a limit that has passed, before the consumer does so in its place; and the
# same again where the program was suspended or busy meanwhile, and the reader may not have had its turn.
_GRACE = 0.1
_JOIN = 0.25  # seconds that close() waits for the worker, which takes milliseconds

_numbers = itertools.count(1)
# The streams of this process that are open, for a forked child to find those that it inherited. No lock: a
# child could inherit it locked; each step on a dict is one step under the interpreter's lock.
_open: dict[int, weakref.ref[Stream]] = {}


class Stream:
    """A reply as it comes: an iterator of ``Chunk``, and a context manager.

    ::

        with client.stream("openai/gpt-4o-mini", "Write a haiku") as stream:
            for chunk in stream:
                print(chunk.text, end="", flush=True)
        print(stream.completion.usage)

    The loop gives the chunks in order. It ends at the end of the reply or after ``cancel()``, and raises on
    anything else, after the chunks that came before. Leaving the loop early, by ``break`` or an exception,
    cancels the stream; to take a few chunks and go on later, use ``next(stream)`` or ``recv()``.

    A reader thread fills a bounded queue and is halted with its socket when the stream ends in whichever
    way: it is closed, cancelled, left, or dropped.

    Threads: one thread consumes; ``cancel()`` and all properties are for any thread.
    """

    def __init__(
        self,
        job: Job,
        *,
        model: str,
        buffer: int,
        buffer_bytes: int,
        stop: StopEvent | threading.Event | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        plain = stop if stop is not None and not isinstance(stop, StopEvent) else None
        self._state = state = StreamState(buffer, buffer_bytes, job.timeout, plain)
        self._number = number = next(_numbers)
        self._delivery = Delivery(state, number, job.provider.name, model, observers)
        self._worker: threading.Thread | None = None
        self._overdue = math.inf  # the limit that had passed at the last look at the clock,
        self._overdue_until = math.inf  # and until when the reader may report it
        # Two finalizers, as an interrupt in one is swallowed by the interpreter, which then still runs the other.
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
        self._delivery.started()
        if isinstance(stop, StopEvent):
            subscriptions.append(stop.subscribe(self._delivery.halt, self._delivery.abandon))
        if state.stop_asked():
            self._delivery.settle("cancelled")
        elif plain is not None:
            subscriptions.append(on_set(plain, self._delivery.halt))
        if self._delivery.status != "open":
            on_settled()
            return
        self._worker = UnawaitedThread(read, (state, job), f"streamkit-{number}")
        try:
            self._worker.start()
        except RuntimeError as error:  # out of threads, or the interpreter is shutting down
            self._worker = None
            self._delivery.settle("error", StreamError(f"no reader thread could be started: {error}"))

    # -- taking chunks -----------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Chunk]:
        """Iterate the chunks that are still to come; leaving the loop early cancels the stream."""
        delivery, state = self._delivery, self._state
        plain = state.plain_stop
        self._check_use()
        try:
            while self._receive():
                cursor = delivery.cursor
                batch = cursor.batch
                while not state.halted and (plain is None or not plain.is_set()):
                    position = cursor.position
                    if position >= len(batch):
                        break
                    cursor.position = position + 1
                    yield batch[position]
        finally:
            if delivery.status == "open":
                self._leave()

    def __next__(self) -> Chunk:
        """Return the next chunk; unlike a loop, it leaves the stream open when the program goes on."""
        try:
            return self.recv()
        except ChannelClosed:
            raise StopIteration from None

    def recv(self, timeout: float | None = None) -> Chunk:
        """Return the next chunk.

        Args:
            timeout: seconds to wait, ``None`` for as long as the stream's own limits let it.

        Raises:
            ConfigError: the timeout is no number.
            queue.Empty: nothing came in time; the stream goes on.
            ChannelClosed: the reply has ended, or was cancelled.
            StreamError: the stream failed, after all the chunks that came before; again on each call.
        """
        self._check_use()
        chunk = self.take(seconds_of(timeout, "recv(timeout=...)"))
        if chunk is None:
            raise ChannelClosed(f"the stream has ended: {self.status}")
        return chunk

    def _receive(self, timeout: float | None = None) -> bool:
        """See to it that there is a chunk to deliver; ``False`` at the end of the stream."""
        delivery, state = self._delivery, self._state
        if state.inherited:
            self._check_use()
        if state.halted or (state.plain_stop is not None and state.stop_asked()):
            delivery.settle("cancelled")  # by a plain event, which the reader may have seen, or may have gone before
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while delivery.status == "open":
            cursor = delivery.cursor
            if cursor.position < len(cursor.batch):
                return True
            try:
                delivery.take(state.channel.get_many(lambda: min(deadline, self._next_look())))
            except queue.Empty:
                self._check_clock()
                if delivery.status == "open" and time.monotonic() >= deadline:
                    raise
            except ChannelClosed:
                self._settle()
            except BaseException:  # Ctrl-C, or a worker process's time limit, while waiting
                self.cancel()
                raise
        if delivery.error is not None:
            raise delivery.error.with_traceback(None)
        return False

    def _next_look(self) -> float:
        """Return the moment at which the consumer, while it waits, looks at the clock."""
        due = self._state.deadlines.next_look
        return self._overdue_until if due == self._overdue else due + _GRACE

    def _check_clock(self) -> None:
        """Report a limit that has passed, in the place of a worker that is stuck in a call which nothing ends.

        It is first of all the reader's to report, and the reader may not have had its turn: the program held the
        interpreter, or was suspended. So the reader gets a moment for it.
        """
        state, now = self._state, time.monotonic()
        due = state.deadlines.due
        if state.stop_asked():
            self._delivery.settle("cancelled")
        elif due + _GRACE > now or state.channel.ready:
            self._overdue = math.inf
        elif self._overdue != due:
            self._overdue, self._overdue_until = due, now + _GRACE
        elif now >= self._overdue_until:
            self._delivery.settle("timeout", state.deadlines.error())
            state.halt()

    def _settle(self) -> None:
        """Take over how the worker says it ended."""
        outcome: Outcome | None = self._state.channel.outcome
        if outcome is None or self._state.halted:
            self._delivery.settle("cancelled")
        else:
            self._delivery.settle(outcome.status, outcome.error)

    def _check_use(self) -> None:
        if self._state.inherited:
            raise MisuseError("this stream belongs to the parent process; start a stream of its own in a forked child")
        if self._delivery.left:
            raise MisuseError(
                "this stream was closed before its end; leaving a loop over it does that too, so use next() "
                "or recv() to take single chunks"
            )

    # -- several at once; see fanin ----------------------------------------------------------------------

    def poll(self) -> bool:
        """Say whether a chunk can be taken, or the stream has ended, without waiting."""
        try:
            return self._receive(0.0) or True
        except queue.Empty:
            return False
        except StreamkitError:
            return True  # recv() raises it again

    def take(self, seconds: float | None = None) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end, also where the stream was closed meanwhile."""
        if not self._receive(seconds):
            return None
        cursor = self._delivery.cursor
        position = cursor.position
        cursor.position = position + 1
        return cursor.batch[position]

    def next_look(self) -> float:
        """Return the moment, on ``time.monotonic``, at which ``poll()`` is to be asked although nothing was put."""
        return self._next_look()

    def listen(self, listener: Callable[[], object]) -> None:
        """Have ``listener`` called whenever the reader puts something, and at the end, until ``unlisten``."""
        self._check_use()
        self._state.channel.listen(listener)

    def unlisten(self, listener: Callable[[], object]) -> None:
        """Undo ``listen``."""
        self._state.channel.unlisten(listener)

    # -- text --------------------------------------------------------------------------------------------

    def iter_text(self) -> Iterator[str]:
        """Iterate the answer's text in the pieces in which it comes."""
        for chunk in self:
            if chunk.text and not chunk.index:
                yield chunk.text

    def iter_words(self) -> Iterator[str]:
        """Iterate words with the white space around them, each as soon as it is whole."""
        return text.words(self.iter_text())

    def iter_lines(self) -> Iterator[str]:
        """Iterate lines without their ends, each as soon as it is whole."""
        return text.lines(self.iter_text())

    def iter_sentences(self) -> Iterator[str]:
        """Iterate sentences, each as soon as the next one begins."""
        return text.sentences(self.iter_text())

    def collect(self) -> Completion:
        """Take all that is still to come and return the whole reply.

        Raises:
            StreamError: the stream failed; ``partial`` has what came.
        """
        if self._delivery.status == "open" or self._delivery.error is not None:
            for _ in self:
                pass
        return self.completion

    # -- ending ------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """End the stream: the loop over it ends, the socket is closed, the reader goes.

        What was delivered stays in ``completion``. A stream that has ended already stays as it is.

        Threads: any, any number of times; never waits.
        """
        self._check_owner()
        self._delivery.abandon()

    def _leave(self) -> None:
        self._delivery.abandon()
        self._delivery.left = self._delivery.status == "cancelled"

    def close(self) -> None:
        """Cancel the stream if it is open, and wait for its reader, at most 0.25 s."""
        self._check_owner()
        if self._delivery.status == "open":
            self._leave()
        if self._worker is not None and self._worker is not threading.current_thread():
            self._worker.join(_JOIN)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._state.inherited:
            self.close()

    def _check_owner(self) -> None:
        if self._state.inherited:
            self._check_use()

    # -- looking -----------------------------------------------------------------------------------------

    @property
    def completion(self) -> Completion:
        """What was delivered so far, at any time, also after a failure."""
        return self._delivery.completion()

    @property
    def status(self) -> Status:
        """``open``, ``complete``, ``cancelled``, ``truncated``, ``timeout`` or ``error``, for the consumer.

        It stays ``open`` until the end was taken from the queue, as the last thing in it.
        """
        return self._delivery.status

    @property
    def error(self) -> BaseException | None:
        """What ended the stream, if an error did."""
        return self._delivery.error

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of a stream of its parent, which is of no use here."""
        return self._state.inherited

    @property
    def stats(self) -> Stats:
        """Figures so far."""
        return self._delivery.stats()

    @property
    def response(self) -> ResponseInfo | None:
        """Status, headers, request id and rate limits of the response, once they have arrived."""
        return self._state.response

    def __repr__(self) -> str:
        return f"<Stream {self._number} {self.status}, {self._state.chunks} chunks>"


def _mark_inherited() -> None:
    """In a forked child: no worker runs here, and the sockets are the parent's."""
    for reference in list(_open.values()):
        stream = reference()
        if stream is not None:
            stream._state.inherited = stream._state.halted = True
            stream._delivery.inherit()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_inherited)
