"""Write a reply into a log: ``publish``."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from streamkit.concurrency.own_thread import InterruptibleThread
from streamkit.concurrency.stop import StopEvent
from streamkit.concurrency.waiting import Waiter
from streamkit.errors import ConfigError, LogError, StreamError, StreamkitError
from streamkit.logs.json_text import Outcome, write_chunk, write_outcome
from streamkit.logs.log import Lease, Log, Record
from streamkit.logs.merging import merged
from streamkit.observing.status import Status
from streamkit.settings import seconds_of, shown
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.delivery import keep
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion

__all__ = ["Terminated", "publish"]

_log = logging.getLogger("streamkit")

_MOST_WAITING = 10_000  # chunks that wait for a slow log; then the stream is not drained until some are written
_RENEWALS = 5  # in the time of a lease: where Redis is away, four fifths of it are left
_JOIN = 5.0  # seconds for observers of the stream that run in the thread that waits for a stop
_PAUSE = 1.0  # seconds before a log that failed is asked again whether to stop
_STOP_COMES = 0.05  # seconds: a process that is told to end may be killed soon, in Celery's pool after 0.1

# The status of a stream that did not fail: an error that was raised at its end all the same is not the reply's.
_NO_FAILURE: tuple[Status, ...] = ("complete", "suspended", "cancelled")


class Terminated(BaseException):
    """The process is told to end, as by a signal: ``publish`` raises it once the outcome is written, and not before."""


def publish(
    stream: ChunkStream | Callable[[], ChunkStream],
    log: Log,
    id: str,
    *,
    coalesce: float = 0.03,
    again: bool = False,
) -> Completion:
    """Drain a stream into a log, for ``follow`` to read anywhere.

    ::

        publish(lambda: client.stream(model, messages), log, id)

    The log gets the outcome however this ends: also when the stream fails, and when an exception interrupts it, such
    as Ctrl-C or the time limit of a worker process. ``log.stop(id)``, called anywhere, cancels the stream.

    Args:
        stream: a stream, a run or a turn; or a function that starts it. The function is only called if the id is free,
            so that a task that is run a second time does not ask the model again.
        log: where to write.
        id: of the reply; an id is written once.
        coalesce: seconds for which a chunk may wait for others, so that a fast stream makes fewer and longer records.
            Neighbouring pieces of the same text become one chunk. A chunk that follows a pause does not wait.
        again: whether the program publishes again under this id if this fails before the first chunk. Then no outcome
            is written, the id is free, and readers wait. Whatever interrupts the process ends the reply all the same.

    Returns:
        The completion. After a stop it is the part that came, with the finish reason ``cancelled``.

    Raises:
        LogConflictError: the id has a writer, or was written already; a stream that was passed is cancelled. Or the
            log was deleted meanwhile.
        StreamError: the stream failed; the readers get an equal error.
        LogError: the log could not be written; the stream was cancelled, and ``partial`` has what came.
        ConfigError: an argument has a wrong type.

    Threads: the stream is drained in the calling thread, as functions of a run may need that. One thread writes and
    renews the lease, another one waits for a stop; both end before this returns.
    """
    seconds = seconds_of(coalesce, "publish(coalesce=...)")
    if not isinstance(log, Log):
        raise ConfigError(f"publish(log=...) must be a Log, such as MemoryLog(), not {shown(log)}")
    if not isinstance(stream, ChunkStream) and not callable(stream):
        raise ConfigError(f"publish() takes a stream, or a function that starts one, not {shown(stream)}")
    return _Publication(log, id, min(seconds or 0.0, log.lease / _RENEWALS), again).run(stream)


class _Publication:
    """One reply on its way into a log.

    Owner of the fields: the calling thread appends to ``_waiting`` and the writer's thread takes from it, both by
    single atomic operations. ``_stream`` and ``_outcome`` are set once by the calling thread, ``_released`` before
    the latter, ``_failure`` and ``_stopped`` once by the other threads; each may be read by a single read. The calling
    thread alone uses ``_any``. ``_for_chunks`` and ``_for_end`` are set
    by the writer's thread, ``_for_room`` by the calling thread; another thread may wake what it finds there. The
    calling thread sets ``_lease`` before it starts the others; then the writer's thread alone uses what is in it, and
    ``_written_at``. The others never change.
    """

    def __init__(self, log: Log, id: str, coalesce: float, again: bool) -> None:
        self._log = log
        self._id = id
        self._lease: Lease | None = None
        self._coalesce = coalesce
        self._again = again
        self._any = False  # whether a chunk came
        self._released = False  # whether the id is given back instead of ended
        self._waiting: deque[Chunk] = deque()
        self._written_at = -math.inf
        self._stream: ChunkStream | None = None
        self._outcome: Outcome | None = None
        self._failure: BaseException | None = None
        self._stopped = False
        self._for_chunks: Waiter | None = None
        self._for_end: Waiter | None = None
        self._for_room: Waiter | None = None
        self._written = Waiter()  # for the end of the writer's thread
        self._halt = StopEvent()  # ends the wait for a stop
        # Both may cancel the stream, and its observers are code of the program: so neither is an OwnThread.
        self._writer = InterruptibleThread(target=self._write, name="streamkit-publish-writer", daemon=True)
        self._stopper = InterruptibleThread(target=self._await_stop, name="streamkit-publish-stop", daemon=True)

    # -- the calling thread ------------------------------------------------------------------------------

    def run(self, stream: ChunkStream | Callable[[], ChunkStream]) -> Completion:
        """Drain the stream, and return its completion."""
        __tracebackhide__ = True
        given = stream if isinstance(stream, ChunkStream) else None
        status: Status = "cancelled"
        completion = Completion(finish_reason="cancelled")
        try:
            self._lease = self._log.begin(self._id)
            self._writer.start()
            self._stopper.start()
            if given is not None or not self._log.stopped(self._id):  # before anything is sent
                self._stream = given = stream if isinstance(stream, ChunkStream) else _started(stream)
                if self._stopped or self._failure is not None:
                    given.cancel()
                while (chunk := given.take()) is not None:
                    self._add(chunk)
                completion, status = given.completion, given.status
            self._end(_outcome(status, given))
        except BaseException as error:
            if self._lease is not None:
                self._fail(error, given)
            raise
        finally:
            if (
                self._lease is not None and self._outcome is None
            ):  # interrupted once more; the writer's thread goes on alone
                self._released = False
                self._outcome = Outcome("error", {"class": "StreamError", "message": "the writer was interrupted"})
                self._wake_writer()
            if given is not None:
                given.close()
        if self._failure is not None:
            raise _with_partial(self._failure, completion)
        return completion

    def _add(self, chunk: Chunk) -> None:
        self._any = True
        self._waiting.append(chunk)
        _wake(self._for_chunks)
        while len(self._waiting) >= _MOST_WAITING and self._failure is None:
            waiter = self._for_room = Waiter()
            if len(self._waiting) >= _MOST_WAITING and self._failure is None:
                waiter.wait()

    def _fail(self, error: BaseException, stream: ChunkStream | None) -> None:
        """Write the outcome of a stream that failed, or whose consumer was interrupted."""
        if self._outcome is not None:  # interrupted while the last records were being written, which goes on
            if isinstance(error, Terminated):
                self._written.wait()
            return
        stopped = self._is_stop(error)
        status: Status = "cancelled" if stopped else "error"
        failure: BaseException | None = None if stopped else error
        self._released = self._again and not self._any and not self._stopped and isinstance(error, Exception)
        if stream is not None:
            with suppress(Exception):  # a turn that cannot be saved; the first error counts
                stream.cancel()
            ended = stream.status
            if isinstance(error, StreamError):
                status = "error" if ended in _NO_FAILURE else ended
            else:
                keep(error, stream.completion)
                # Raised at the end of a reply, such as by a turn that cannot be saved: the reply itself is whole.
                if ended in ("complete", "suspended") or (ended == "cancelled" and isinstance(error, StreamkitError)):
                    status, failure = ended, None
        self._end(_outcome(status, stream, failure))

    def _is_stop(self, error: BaseException) -> bool:
        """Return whether a stop was the reason for an exception that ends the thread or the process."""
        if isinstance(error, Terminated):
            with suppress(LogError):
                return self._stopped or self._log.stopped(self._id, _STOP_COMES)
        return type(error).__name__ == "GreenletExit"  # of gevent, which need not be installed

    def _end(self, outcome: Outcome) -> None:
        """Have the outcome written, and wait until it is."""
        self._outcome = outcome
        self._wake_writer()
        if self._writer.ident is None:  # no thread could be started
            self._write()
        else:
            self._written.wait()  # which a log that fails bounds; unlike join(), a signal ends it at any point
            self._writer.join()
        if self._stopper.ident is not None:
            self._stopper.join(_JOIN)
        if self._failure is not None:
            _log.warning("the end of a reply could not be written to its log: %s", type(self._failure).__name__)

    def _wake_writer(self) -> None:
        _wake(self._for_chunks)
        _wake(self._for_end)

    # -- the writer's thread -----------------------------------------------------------------------------

    def _write(self) -> None:
        assert self._lease is not None
        try:
            while self._outcome is None or self._waiting:
                self._write_some(self._lease)
            if self._released:
                self._log.release(self._lease)
            else:
                self._log.finish(self._lease, write_outcome(self._outcome))
        except Exception as error:
            self._failure = error
            self._cancel()
        finally:
            _wake(self._for_room)
            self._halt.set()
            self._written.wake()

    def _write_some(self, lease: Lease) -> None:
        """Write the chunks that are waiting; wait for some, or until the lease is to be renewed."""
        waiter = self._for_chunks = Waiter()
        if not self._waiting and self._outcome is None:
            waiter.wait(self._written_at + self._log.lease / _RENEWALS - time.monotonic())
        waiter = self._for_end = Waiter()
        if self._waiting and self._outcome is None:
            waiter.wait(self._written_at + self._coalesce - time.monotonic())
        chunks = [self._waiting.popleft() for _ in range(len(self._waiting))]
        number = lease.last + 1
        records = [Record(number + place, write_chunk(chunk)) for place, chunk in enumerate(merged(chunks))]
        self._log.append(lease, records)
        self._written_at = time.monotonic()
        _wake(self._for_room)

    # -- the thread that waits for a stop ----------------------------------------------------------------

    def _await_stop(self) -> None:
        while not self._halt.is_set() and not self._stopped:
            try:
                stopped = self._log.stopped(self._id, None, halt=self._halt)
            except LogError:  # the writer's thread finds out by itself
                self._halt.wait(_PAUSE)
                continue
            if stopped and not self._halt.is_set():
                self._stopped = True
                self._cancel()

    def _cancel(self) -> None:
        stream = self._stream
        if stream is not None:
            try:
                stream.cancel()
            except Exception as error:
                _log.error("a reply that was stopped could not be kept: %s", type(error).__name__)


def _wake(waiter: Waiter | None) -> None:
    if waiter is not None:
        waiter.wake()


def _started(start: Callable[[], ChunkStream]) -> ChunkStream:
    stream = start()
    if not isinstance(stream, ChunkStream):
        raise ConfigError(f"the function that is passed to publish() must return a stream, not {shown(stream)}")
    return stream


def _outcome(status: Status, stream: ChunkStream | None, error: BaseException | None = None) -> Outcome:
    if stream is None:
        return Outcome.of(status, None, error)
    return Outcome.of(status, stream.completion, error, time_to_first_chunk=stream.stats.time_to_first_chunk)


def _with_partial(error: BaseException, partial: Completion) -> BaseException:
    if isinstance(error, StreamError):
        error.partial = partial
    else:
        keep(error, partial)
    return error
