"""Write the reply of a job that a queue may deliver twice: ``publish_once``."""

from __future__ import annotations

from collections.abc import Callable

from streamkit.errors import ConfigError, LogConflictError, WriterLostError
from streamkit.logs.following import follow
from streamkit.logs.json_text import Outcome, write_outcome
from streamkit.logs.log import Log
from streamkit.logs.publishing import publish
from streamkit.settings import shown
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.values.completion import Completion

__all__ = ["end_unwritten", "publish_once"]


def publish_once(start: Callable[[], ChunkStream], log: Log, id: str, *, again: bool = False) -> Completion:
    """Publish a reply; if another run of the same job has published it, return that one instead.

    ::

        def answer(question):                     # a job of any queue that delivers at least once
            publish_once(lambda: client.stream(MODEL, question), log, get_current_job().id)

    A queue delivers a job again if its worker was lost, or did not confirm it in time. The model is then asked again
    only if nothing of the reply was written. Otherwise this waits for the end of the first run, and returns or raises
    as that one did. If the first run was lost in the middle, so is the reply: its readers have got a
    ``WriterLostError`` and so does this run. A new reply needs a new id.

    Args:
        start: starts the stream, run or turn.
        log: where to write.
        id: of the reply, the same in each run of a job, such as the job's own id.
        again: as in ``publish``.

    Returns:
        The completion of the reply, whoever wrote it. After a stop its finish reason is ``cancelled``.

    Raises:
        StreamError: the reply failed, now or in the first run.
        WriterLostError: the first run was lost in the middle of the reply; ``partial`` has what it wrote.
        LogError: the log was deleted, or cannot be reached.
        ConfigError: an argument has a wrong type.

    Threads: as ``publish``. The wait for another run has no limit of its own; that run's lease bounds its silence.
    """
    if isinstance(start, ChunkStream) or not callable(start):
        raise ConfigError(
            "publish_once() takes a function that starts a stream, so that a second run of the job starts none, not "
            f"{shown(start)}"
        )
    started = False

    def start_once() -> ChunkStream:
        nonlocal started
        started = True
        return start()

    while True:
        try:
            return publish(start_once, log, id, again=again)
        except LogConflictError:
            if started:  # deleted while this wrote it
                raise
        first = follow(log, id)
        try:
            for _ in first:
                pass
        except WriterLostError:
            if first.id_of_last:
                raise
            continue  # nothing was written, so the id is free
        return first.completion


def end_unwritten(log: Log, id: str, outcome: Outcome) -> bool:
    """Write only an outcome, for readers who wait for a reply that will not come; return whether this was needed.

    Raises:
        LogError: the log cannot be written now.
    """
    try:
        lease = log.begin(id)
    except LogConflictError:
        return False
    log.finish(lease, write_outcome(outcome))
    return True
