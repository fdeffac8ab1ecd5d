"""Read a reply from a log while it is written: ``follow``."""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from streamkit.concurrency.own_thread import OwnThread
from streamkit.concurrency.stop import ReentrantEvent, StopEvent
from streamkit.errors import ConfigError, LogError, StreamError, StreamTimeout
from streamkit.logs.json_text import Outcome, read_chunk, read_outcome
from streamkit.logs.log import Log, Record, checked_id
from streamkit.observing.observers import Stats
from streamkit.observing.status import Status
from streamkit.settings import Timeout, shown
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.delivery import INTERRUPTED
from streamkit.values.chunks import Chunk, link_delta
from streamkit.values.completion import Completion, Fold, changed
from streamkit.values.growing_text import GrowingText

__all__ = ["FollowedStream", "follow"]

_NO_LIMITS = Timeout(connect=None, first=60.0, idle=None)


def follow(log: Log, id: str, after: int | str = 0, *, timeout: Timeout | float | None = _NO_LIMITS) -> FollowedStream:
    """Return a stream of the chunks of a reply that is, or will be, in a log.

    ::

        for chunk in follow(log, id):
            print(chunk.text, end="", flush=True)

    It reads all that was written, and goes on live. It ends as the writer's stream did: with the same status, or with
    an equal error. ``stream.id_of_last`` is the number of the last chunk; pass it as ``after`` to continue there.

    Args:
        log: where ``publish`` writes, or another ``Log`` on the same Redis.
        id: of the reply. Nobody need have begun to write.
        after: the number of the last chunk that the reader has; 0 for none. Also as text, as in the ``Last-Event-ID``
            of a browser. Chunks up to it are not delivered, but ``completion`` has them.
        timeout: limits that end the stream with a ``StreamTimeout``. ``first`` is the time until somebody begins to
            write, ``idle`` that between two records, ``total`` all of it, as which a number counts too. By default
            only ``first`` is limited, to 60 s, because the writer's stream has limits of its own. ``None`` is no limit.

    Raises:
        ConfigError: an argument has a wrong type.

    Threads: starts none. Nothing is read before a chunk is taken, and the calling thread waits for the log.
    """
    if not isinstance(log, Log):
        raise ConfigError(f"follow() takes a Log, such as MemoryLog(), not {shown(log)}")
    if isinstance(timeout, (int, float)) and not isinstance(timeout, bool):
        timeout = Timeout(connect=None, first=_NO_LIMITS.first, idle=None, total=timeout)
    return FollowedStream(log, checked_id(id), _number_of(after), Timeout.of(timeout))


def _number_of(after: Any) -> int:
    """Return the number of a record for what a caller, or a browser, passed."""
    if isinstance(after, str):
        text = after.strip()
        if not text:
            return 0
        if text.isascii() and text.isdigit() and len(text) <= 15:  # a browser may send anything
            return int(text)
    elif isinstance(after, int) and not isinstance(after, bool) and after >= 0:
        return after
    raise ConfigError(
        f"follow(after=...) must be the number of a chunk, as stream.id_of_last has it, not {shown(after)}"
    )


class FollowedStream(ChunkStream):
    """A reply as somebody else reads it, here or in another process: an iterator of ``Chunk``, and a context manager.

    ``cancel()`` ends this reader. It does not stop the writer; ``log.stop(id)`` does.

    The writer joins pieces of text, so the chunks are fewer and longer than those of its stream. ``raw`` is ``None``.

    Owner of the fields: ``_lock``, reentrant because a signal handler may cancel, guards ``_fold`` and the change of
    ``_end`` from ``None``, which happens once. ``_end`` may be read by a single read. ``_watch`` is changed by the
    consumer's thread. That thread alone uses the others that change, but other threads may read the numbers.

    Threads: one thread consumes; any thread may call ``cancel()`` and read the properties.
    """

    def __init__(self, log: Log, id: str, after: int, timeout: Timeout) -> None:
        self.id = id
        self._log = log
        self._after = after
        self._timeout = timeout
        self._started = self._moved_at = time.monotonic()
        self._begun = False  # whether it has a writer, or had one
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._end: tuple[Status, StreamError | None] | None = None
        self._ended_at = 0.0
        self._left_early = False
        self._halt = StopEvent()  # ends a wait for the log
        self._records: deque[Record] = deque()  # read, and not delivered
        self._read = 0  # the number of the last record that was read
        self._last = after
        self._fold = Fold()
        self._first = 1  # the number of the first record that can be had
        self._outcome: Outcome | None = None
        self._texts: dict[tuple[int, int, int], GrowingText] = {}
        self._finished = False  # whether the last chunk was the ``done`` chunk
        self._chunks_taken = self._bytes = 0
        self._first_at: float | None = None
        self._watch: _Watch | None = None

    @property
    def id_of_last(self) -> int:
        """The number of the last chunk that was delivered; ``after`` before the first one."""
        return self._last

    # -- taking chunks -----------------------------------------------------------------------------------

    def take(self, seconds: float | None = None) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end, also of a stream that was closed meanwhile.

        Raises:
            queue.Empty: no chunk came within ``seconds``.
            StreamError: the writer's stream failed, its process died, or the log cannot be read.
        """
        __tracebackhide__ = True
        if not self._receive(seconds):
            return None
        record = self._records[0]
        try:
            chunk = self._chunk_of(record)
        except LogError as error:
            self._settle("error", error)
            raise
        self._deliver(record, chunk)
        return chunk

    def _receive(self, seconds: float | None) -> bool:
        """Wait until there is a chunk to deliver and return True; return False at the end of the stream."""
        __tracebackhide__ = True
        self._check_owner()
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        while self._end is None:
            try:
                if self._skip():
                    return True
                if self.status != "open":  # by the outcome
                    continue
                self._fetch(min(deadline, self.next_check()))
                if not self._records:
                    self._check_limits()
            except StreamError as error:
                self._settle("error", error)
            except BaseException as error:  # Ctrl-C or the time limit of a worker process, during the wait
                self._interrupted(error)
                raise
            if not self._records and self._end is None and time.monotonic() >= deadline:
                raise queue.Empty
        failure = self._end[1]
        if failure is not None:
            raise failure.with_traceback(None)
        return False

    def _skip(self) -> bool:
        """Take in the records that the reader has already, and the outcome; return whether there is a chunk."""
        while self._records:
            record = self._records[0]
            if record.final:
                self._conclude(record)
                return False
            if record.number > self._after:
                return True
            self._take_in(record, self._chunk_of(record))
        return False

    def _fetch(self, until: float) -> None:
        """Wait for records until a moment, and keep them."""
        seconds = None if until == math.inf else max(0.0, until - time.monotonic())
        try:
            records = self._log.read(self.id, self._read, seconds, halt=self._halt)
        except LogError as error:
            if self._read or not self._after or error.retryable:
                raise
            # The beginning was dropped. The reader has it, so what it lacks may still be there.
            self._read = self._after
            self._first = self._after + 1
            records = self._log.read(self.id, self._read, seconds, halt=self._halt)
        if records:
            self._begun, self._moved_at = True, time.monotonic()
            self._read = records[-1].number
            self._records.extend(records)
            if self._watch is not None:
                self._watch.go_on(self._read)

    def _chunk_of(self, record: Record) -> Chunk:
        return read_chunk(record.text, f"record {record.number} of the log of {self.id!r}")

    def _deliver(self, record: Record, chunk: Chunk) -> None:
        self._take_in(record, chunk)
        self._last = record.number
        self._finished = chunk.finished
        self._chunks_taken += 1
        self._bytes += len(record.text)
        if self._first_at is None:
            self._first_at = time.monotonic()

    def _take_in(self, record: Record, chunk: Chunk) -> None:
        """Add a chunk to the completion, and link a piece of a tool call to those before it."""
        delta = chunk.tool_call
        if delta is not None and chunk.type == "tool_call":
            key = (chunk.round, chunk.index, delta.index)
            link_delta(delta, self._texts.setdefault(key, GrowingText()))
        with self._lock:
            if self._end is None:
                self._fold.add((chunk,), record.number - self._first)  # once, also where it was interrupted
        self._records.popleft()

    def _conclude(self, record: Record) -> None:
        outcome: Outcome = read_outcome(record.text, f"the outcome in the log of {self.id!r}")
        self._outcome = outcome
        if self._after > record.number:
            raise LogError(
                f"the log of the reply {self.id!r} ends with record {record.number}, and after={self._after} is behind "
                "it: that number is of another reply"
            )
        self._settle(outcome.status, outcome.to_error())

    # -- limits ------------------------------------------------------------------------------------------

    def next_check(self) -> float:
        """Return the moment, on ``time.monotonic``, at which to call ``poll()`` even if the listener was not called."""
        return self._due()[0]

    def _due(self) -> tuple[float, str, float]:
        """Return the moment at which the next limit passes, its name, and the limit."""
        phase, limit = ("idle", self._timeout.idle) if self._begun else ("first", self._timeout.first)
        dues = [(self._moved_at + limit, phase, limit)] if limit is not None else []
        if self._timeout.total is not None:
            dues.append((self._started + self._timeout.total, "total", self._timeout.total))
        return min(dues, default=(math.inf, "", 0.0))

    def _check_limits(self) -> None:
        moment, phase, limit = self._due()
        if time.monotonic() < moment:
            return
        if phase == "first" and self._log.status(self.id) != "absent":
            self._begun = True
            return
        what = {"first": "nobody has begun to write", "idle": "nothing was written to"}.get(phase, "there is no end of")
        text = f"{what} the log of the reply {self.id!r} within {limit:g} s ({phase} timeout)"
        self._settle("timeout", StreamTimeout(text, phase=phase, limit=limit))

    # -- several at once; see fanin ----------------------------------------------------------------------

    def poll(self) -> bool:
        """Return whether a chunk can be taken or the stream has ended, without waiting for the writer."""
        try:
            return self._receive(0.0) or True
        except queue.Empty:
            return False
        except StreamError:
            return True  # take() raises it again

    def listen(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` whenever there may be a chunk to take, and at the end, until ``unlisten``.

        A thread waits for the log as long as there is a listener.

        Threads: the listener is called in that thread: it must be short and must not wait.
        """
        self._check_use()
        if self._watch is None:
            self._watch = _Watch(self._log, self.id, self._read, self._halt.child())
        self._watch.listeners = (*self._watch.listeners, listener)
        listener()  # there may be records already

    def unlisten(self, listener: Callable[[], object]) -> None:
        """Stop calling ``listener``."""
        if self._watch is not None:
            self._watch.listeners = tuple(other for other in self._watch.listeners if other != listener)
            if not self._watch.listeners:
                self._watch.end()
                self._watch = None

    # -- ending ------------------------------------------------------------------------------------------

    def _settle(self, status: Status, error: StreamError | None = None) -> None:
        with self._lock:
            if self._end is None:
                self._ended_at = time.monotonic()
                self._end = status, error
                if error is not None:
                    error.partial = self.completion
        self._halt.set()

    def cancel(self) -> None:
        """End this reader; the writer goes on.

        Raises:
            MisuseError: the stream belongs to the parent process.

        Threads: any, any number of times; never waits.
        """
        self._check_owner()
        self._settle("complete" if self._finished else "cancelled")

    def _leave(self) -> None:
        self.cancel()
        self._left_early = self.status == "cancelled"

    def close(self) -> None:
        """End this reader if it is open.

        Raises:
            MisuseError: the stream belongs to the parent process.
        """
        self._check_owner()
        if self.status == "open":
            self._leave()

    # -- state -------------------------------------------------------------------------------------------

    @property
    def completion(self) -> Completion:
        """The completion of the chunks delivered so far and of those up to ``after``, also after a failure."""
        with self._lock:
            completion = self._fold.completion(INTERRUPTED.get(self.status))
        outcome = self._outcome
        if outcome is None:
            return completion
        return changed(completion, provider=outcome.provider, model=completion.model or outcome.model)

    @property
    def status(self) -> Status:
        """``open`` until the consumer has taken the end; then that of the writer's stream, or of this one's failure."""
        end = self._end
        return "open" if end is None else end[0]

    @property
    def error(self) -> BaseException | None:
        """The error that ended the stream, or ``None``."""
        end = self._end
        return None if end is None else end[1]

    @property
    def stats(self) -> Stats:
        """The figures of this reader so far; the bytes are those of the records.

        At the end ``time_to_first_chunk`` is that of the writer's stream, where it is known.
        """
        first, until, outcome = self._first_at, self._ended_at or time.monotonic(), self._outcome
        waited = None if first is None else first - self._started
        if outcome is not None and outcome.time_to_first_chunk is not None:
            waited = outcome.time_to_first_chunk
        return Stats(
            waited,
            until - self._started,
            self._chunks_taken,
            self._bytes,
            1,
            0,
            0.0,
        )

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's stream, which cannot be used."""
        return self._pid != os.getpid()

    @property
    def _closed_early(self) -> bool:
        return self._left_early

    @property
    def _subject(self) -> str:
        return f"the log of {self.id!r}"

    def __repr__(self) -> str:
        return f"<FollowedStream of {self.id!r}, {self.status}, after {self._last}>"


class _Watch:
    """Notices that a log has records, for those who listen. The consumer reads them itself.

    Owner of the fields: the consumer's thread alone replaces ``listeners``, which the watch's thread reads by a single
    read, and sets ``_read``; ``_halt`` and ``_moved`` have locks of their own.
    """

    def __init__(self, log: Log, id: str, read: int, halt: StopEvent) -> None:
        self.listeners: tuple[Callable[[], object], ...] = ()
        self._log = log
        self._id = id
        self._read = read
        self._halt = halt
        self._moved = ReentrantEvent()
        self._unsubscribe = halt.subscribe(self._moved.set)
        OwnThread(self._run, (), "streamkit-follow").start()

    def go_on(self, read: int) -> None:
        """Wait for the records after this one."""
        self._read = read
        self._moved.set()

    def end(self) -> None:
        """End the thread."""
        self._halt.set()

    def _run(self) -> None:
        while not self._halt.is_set():
            self._moved.clear()
            read = self._read
            with suppress(StreamError):  # the consumer gets it as well
                self._log.read(self._id, read, halt=self._halt)
            for listener in self.listeners:
                listener()
            if self._read == read:
                self._moved.wait()
        self._unsubscribe()
