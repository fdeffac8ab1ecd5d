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

from streamkit.concurrency.channel import Channel
from streamkit.concurrency.quick_thread import UnawaitedThread
from streamkit.concurrency.stop import StopEvent
from streamkit.errors import ChannelClosed, MisuseError, StreamError, StreamkitError
from streamkit.link import POLL, Link, Outcome, Status
from streamkit.observers import Observer, Stats
from streamkit.reception import Reception
from streamkit.values import text
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion
from streamkit.wire.http import ResponseInfo
from streamkit.worker import Job, read

__all__ = ["Stream"]

_LOOK = 0.12  # seconds between looks at the clock; a limit that the reader does not report is found by the third
_JOIN = 0.25  # seconds that close() waits for the worker, which takes milliseconds unless a name lookup hangs

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
        stop: StopEvent | threading.Event | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        plain = stop if stop is not None and not isinstance(stop, StopEvent) else None
        self._link = link = Link(buffer, job.timeout, plain)
        self._number = number = next(_numbers)
        self._reception = Reception(link, number, job.provider.name, model, observers)
        self._worker: threading.Thread | None = None
        self._overdue = math.inf  # the limit that had passed at the last look at the clock
        _open[number] = weakref.ref(self)
        finalizer = weakref.finalize(self, self._reception.abandon)
        subscriptions: list[Callable[[], None]] = []

        def on_settled() -> None:
            finalizer.detach()
            _open.pop(number, None)
            for unsubscribe in subscriptions:
                unsubscribe()

        self._reception.on_settled = on_settled
        self._reception.started()
        if isinstance(stop, StopEvent):
            subscriptions.append(stop.subscribe(self._reception.halt, self._reception.abandon))
        if link.stop_asked():
            self._reception.settle("cancelled")
        if self._reception.status != "open":
            on_settled()
            return
        self._worker = UnawaitedThread(read, (link, job), f"streamkit-{number}")
        try:
            self._worker.start()
        except RuntimeError as error:  # out of threads, or the interpreter is shutting down
            self._worker = None
            self._reception.settle("error", StreamError(f"no reader thread could be started: {error}"))

    # -- taking chunks -----------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Chunk]:
        """Iterate the chunks that are still to come; leaving the loop early cancels the stream."""
        reception, link = self._reception, self._link
        plain = link.plain_stop
        self._check_use()
        try:
            while self._receive():
                while not link.halted and (plain is None or not plain.is_set()):
                    batch, position = reception.batch, reception.position
                    if position >= len(batch):
                        break
                    reception.position = position + 1
                    yield batch[position]
        finally:
            if reception.status == "open":
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
            queue.Empty: nothing came in time; the stream goes on.
            ChannelClosed: the reply has ended, or was cancelled.
            StreamError: the stream failed, after all the chunks that came before; again on each call.
        """
        self._check_use()
        if not self._receive(timeout):
            raise ChannelClosed(f"the stream has ended: {self.status}")
        reception = self._reception
        position = reception.position
        reception.position = position + 1
        return reception.batch[position]

    def _receive(self, timeout: float | None = None) -> bool:
        """See to it that there is a chunk to deliver; ``False`` at the end of the stream."""
        reception, link = self._reception, self._link
        if link.inherited:
            self._check_use()
        if link.halted or (link.plain_stop is not None and link.stop_asked()):
            reception.settle("cancelled")  # by a plain event, which the reader may have seen, or may have gone before
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        look = _LOOK if link.plain_stop is None else POLL
        while reception.status == "open":
            if reception.position < len(reception.batch):
                return True
            try:
                reception.take(link.channel.get_many(min(deadline, time.monotonic() + look)))
            except queue.Empty:
                self._check_clock()
                if time.monotonic() >= deadline:
                    raise
            except ChannelClosed:
                self._settle()
            except BaseException:  # Ctrl-C, or a worker process's time limit, while waiting
                self.cancel()
                raise
        if reception.error is not None:
            raise reception.error.with_traceback(None)
        return False

    def _check_clock(self) -> None:
        """Do the worker's part where it is stuck in a call that nothing ends, such as a name lookup.

        A limit that has passed is first of all the reader's to report, and the reader may not have had its
        turn: the program held the interpreter, or was suspended. So it gets another look's time for it.
        """
        link, due = self._link, self._link.clock.due
        if link.stop_asked():
            self._reception.settle("cancelled")
        elif due > time.monotonic() or link.channel.ready:
            self._overdue = math.inf
        elif self._overdue != due:
            self._overdue = due
        else:
            self._reception.settle("timeout", link.clock.error())
            link.halt()

    def _settle(self) -> None:
        """Take over how the worker says it ended."""
        outcome: Outcome | None = self._link.channel.outcome
        if outcome is None or self._link.halted:
            self._reception.settle("cancelled")
        else:
            self._reception.settle(outcome.status, outcome.error)

    def _check_use(self) -> None:
        if self._link.inherited:
            raise MisuseError("this stream belongs to the parent process; start a stream of its own in a forked child")
        if self._reception.left:
            raise MisuseError(
                "this stream was closed before its end; leaving a loop over it does that too, so use next() "
                "or recv() to take single chunks"
            )

    # -- several at once; see fanin ----------------------------------------------------------------------

    @property
    def channel(self) -> Channel[Chunk, Outcome]:
        """The queue between the reader and this stream, for ``select``."""
        return self._link.channel

    def poll(self) -> bool:
        """Say whether a chunk can be taken, or the stream has ended, without waiting."""
        try:
            return self._receive(0.0) or True
        except queue.Empty:
            return False
        except StreamkitError:
            return True  # recv() raises it again

    def listen(self, event: threading.Event) -> None:
        """Have ``event`` set whenever the reader puts something, until ``unlisten``."""
        self._check_use()
        self._link.channel.listen(event)

    def unlisten(self, event: threading.Event) -> None:
        """Undo ``listen``."""
        self._link.channel.unlisten(event)

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
        if self._reception.status == "open" or self._reception.error is not None:
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
        self._reception.abandon()

    def _leave(self) -> None:
        self._reception.abandon()
        self._reception.left = self._reception.status == "cancelled"

    def close(self) -> None:
        """Cancel the stream if it is open, and wait for its reader, at most 0.25 s.

        A reader that is stuck in a name lookup is left to end by itself.
        """
        self._check_owner()
        if self._reception.status == "open":
            self._leave()
        if self._worker is not None and self._worker is not threading.current_thread():
            self._worker.join(_JOIN)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._link.inherited:
            self.close()

    def _check_owner(self) -> None:
        if self._link.inherited:
            self._check_use()

    # -- looking -----------------------------------------------------------------------------------------

    @property
    def completion(self) -> Completion:
        """What was delivered so far, at any time, also after a failure."""
        return self._reception.completion()

    @property
    def status(self) -> Status:
        """``open``, ``complete``, ``cancelled``, ``truncated``, ``timeout`` or ``error``, for the consumer.

        It stays ``open`` until the end was taken from the queue, as the last thing in it.
        """
        return self._reception.status

    @property
    def error(self) -> BaseException | None:
        """What ended the stream, if an error did."""
        return self._reception.error

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of a stream of its parent, which is of no use here."""
        return self._link.inherited

    @property
    def stats(self) -> Stats:
        """Figures so far."""
        return self._reception.stats()

    @property
    def response(self) -> ResponseInfo | None:
        """Status, headers, request id and rate limits of the response, once they have arrived."""
        return self._link.response

    def __repr__(self) -> str:
        return f"<Stream {self._number} {self.status}, {self._link.chunks} chunks>"


def _mark_inherited() -> None:
    """In a forked child: no worker runs here, and the sockets are the parent's."""
    for reference in list(_open.values()):
        stream = reference()
        if stream is not None:
            stream._link.inherited = stream._link.halted = True
            stream._reception.inherit()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_inherited)
