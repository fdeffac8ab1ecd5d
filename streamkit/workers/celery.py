"""Tasks of Celery whose replies the web follows: ``StreamTask``."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError, LogError, StreamkitError
from streamkit.logs.json_text import Outcome
from streamkit.logs.log import Log
from streamkit.logs.publishing import Terminated
from streamkit.settings import shown
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.workers.once import end_unwritten, publish_once

try:
    _celery: Any = late_import("celery")
    _shutdown_cleanup: Any = getattr(late_import("billiard.common"), "_shutdown_cleanup", signal.SIG_DFL)
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] not in ("celery", "billiard"):
        raise
    raise ConfigError('StreamTask needs Celery: python -m pip install "streamkit[celery]"') from None

__all__ = ["StreamTask"]

_log = logging.getLogger("streamkit")

# Signals that end a process of Celery's prefork pool; it ignores SIGINT.
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGQUIT", "SIGHUP") if hasattr(signal, name)]


class StreamTask(_celery.Task):  # type: ignore[misc]
    """A base class for Celery tasks that write a reply into a log, under the task's id.

    ::

        log = RedisLog("redis://localhost")
        client = Client()                                  # both may be made before the fork

        @app.task(bind=True, base=StreamTask, log=log)
        def answer(self, question):
            return self.publish(lambda: client.stream(MODEL, question))

        task = answer.delay("What is a fox?")              # in the web app
        for chunk in follow(log, task.id): ...             # there, at once or later

    **Stop.** ``log.stop(task.id)`` ends the reply wherever it runs, with every pool, also before the task has begun.
    ``revoke`` does so too, within a second, with ``terminate=True`` and without, in the pools prefork, threads and
    gevent; the solo pool hears of nothing while a task runs. What came until then is kept in the log, whose outcome is
    ``cancelled``. The readers of a task that is revoked, or expires, before it has begun get that outcome without text.
    With ``terminate=True`` the signal then ends the process, as Celery has it. SIGKILL leaves the readers with a
    ``WriterLostError`` once the lease has run out.

    **Shutdown.** A warm one (SIGTERM to the worker) waits for the reply. A cold one ends it: what came is kept, and the
    outcome is an error that names the signal.

    **Time limits.** The soft limit raises ``SoftTimeLimitExceeded`` in ``publish``, with the partial reply in its
    attribute ``partial``. The log keeps that reply, with an outcome that names the exception. At the hard limit Celery
    ends the process, and kills it 0.1 s later; set it some seconds later than the soft one. Celery has soft limits in
    the prefork pool only: with another one, limit the client by ``Timeout(total=...)``.

    **Delivered twice.** Tasks with ``acks_late`` are delivered again if their worker was lost
    (``reject_on_worker_lost=True``), or after Redis' ``visibility_timeout``. A reply of which something was written is
    not asked for again, see ``publish_once``: the second run returns what the first one wrote, waits for it, or raises
    ``WriterLostError``.

    **Retries.** ``autoretry_for`` and ``retry()`` work for a failure before the first chunk: the readers wait, and the
    retry writes into the same log. If all retries fail, or the task fails before ``publish``, the readers get the
    error. A reply that has begun is not retried, as its readers have text already: ``retry()`` raises the error at
    once. The client retries by itself before the first chunk as well, so pass ``retry=1`` to it where the task does.

    ``follow`` waits 60 s for a task to begin; where a queue is longer, pass it a ``timeout``.

    Attributes:
        log: where to write, as it is passed to the decorator. Each worker and the web app have one for the same Redis.

    Threads: a task runs in one; Celery may run several of them at the same time, of one instance.
    """

    abstract = True
    log: Log | None = None
    Request = "streamkit.workers.celery_requests:StreamRequest"
    resultrepr_maxsize = 1  # Celery logs the beginning of each result, and replies do not belong into logs

    def publish(self, start: Callable[[], ChunkStream], id: str | None = None) -> dict[str, Any]:
        """Write a reply into the log, and return its completion as JSON that every result backend can hold.

        Args:
            start: starts the stream, run or turn.
            id: of the reply in the log; ``None`` for the task's. ``revoke`` does not know of another one: without
                ``terminate`` it does not stop that reply, and with it the outcome is an error that names the signal.

        Returns:
            ``Completion.to_dict()``; ``Completion.from_dict`` makes the value again. After a stop ``finish_reason`` is
            ``cancelled``.

        Raises:
            StreamError, LogError: as ``publish_once`` does.
            ConfigError: the task has no log, or was called as a function without an id.
        """
        log, request = self._log, self.request
        place = request.id if id is None else id
        if place is None:
            raise ConfigError("StreamTask.publish(id=...) is needed where the task is called as a function")
        if isinstance(start, ChunkStream) or not callable(start):
            raise ConfigError(
                "StreamTask.publish() takes a function that starts a stream, so that a task which is delivered twice "
                f"starts one, not {shown(start)}"
            )
        again = self._may_retry
        failed: dict[str, Exception] = request.__dict__.setdefault("_streamkit_failed", {}) if again else {}
        try:
            with _Termination(request):
                completion = publish_once(start, log, place, again=again)
        except Exception as error:
            failed[place] = error  # for after_return()
            raise
        failed.pop(place, None)
        return completion.to_dict()

    @property
    def _log(self) -> Log:
        if not isinstance(self.log, Log):
            raise ConfigError(
                f"{self.name} has no log: @app.task(base=StreamTask, log=RedisLog(url)), not {shown(self.log)}"
            )
        return self.log

    @property
    def _may_retry(self) -> bool:
        return not self.request.called_directly and (
            self.max_retries is None or self.request.retries < self.max_retries
        )

    def retry(self, args: Any = None, kwargs: Any = None, exc: Any = None, *more: Any, **options: Any) -> Any:
        """See Celery. Raises ``exc`` if the task's reply has begun."""
        id = self.request.id
        if exc is not None and id is not None and isinstance(self.log, Log):
            begun = False
            with suppress(LogError):
                begun = self.log.status(id) in ("ended", "lost")
            if begun:
                raise exc
        return super().retry(args, kwargs, exc, *more, **options)

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """See Celery. Tells readers who wait for a reply that the task is over, without one."""
        failed: dict[str, BaseException] = {}
        if status != "RETRY":
            failed.update(self.request.__dict__.get("_streamkit_failed", {}))
        if status == "FAILURE" and isinstance(retval, BaseException):
            failed.setdefault(task_id, retval)
        for id, error in failed.items():
            self._end_unwritten(id, Outcome.of("error", None, error))
        super().after_return(status, retval, task_id, args, kwargs, einfo)

    def _end_unwritten(self, id: str, outcome: Outcome) -> None:
        if not isinstance(self.log, Log):
            return
        try:
            end_unwritten(self.log, id, outcome)
        except StreamkitError as error:  # the task has its own error
            _log.warning("the end of a task could not be written to its log: %s", type(error).__name__)

    def _stop(self, id: str) -> None:
        """Stop the reply of a task, wherever it runs."""
        try:
            self._log.stop(id)
        except (LogError, ConfigError) as error:
            _log.warning("a task that was revoked could not be stopped: %s", type(error).__name__)


class _Termination:
    """Ends the reply on SIGTERM and the like, and then lets the signal do its work. A second signal does so at once.

    Only in a process of the prefork pool, where nobody else handles the signals: they would end the process at once,
    and readers would wait for the lease to run out.

    Threads: the main thread alone uses it.
    """

    def __init__(self, request: Any) -> None:
        self._came = 0  # the number of the signal that came
        self._over = False
        self._before: dict[int, Any] = {}
        if request.is_eager or request.called_directly or threading.current_thread() is not threading.main_thread():
            return
        for number in _ENDING:
            before = signal.getsignal(number)
            if before in (signal.SIG_DFL, _shutdown_cleanup):
                self._before[number] = before

    def __enter__(self) -> None:
        for number in self._before:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._came or self._over:
            self._kill(number)
        self._came = number
        raise Terminated(signal.Signals(number).name)

    def _kill(self, number: int) -> None:
        self._restore()
        os.kill(os.getpid(), number)

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._restore()
        if self._came:
            self._kill(self._came)
