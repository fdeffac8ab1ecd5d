"""What Celery's worker knows of a ``StreamTask``: ``StreamRequest``. Loaded in workers only, by its name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery import signals
from celery.worker import state
from celery.worker.request import Request

from streamkit.concurrency.own_thread import InterruptibleThread
from streamkit.logs.json_text import Outcome
from streamkit.workers.celery import StreamTask

__all__ = ["StreamRequest"]

_LOOK_SECONDS = 0.5  # between two looks at the revoked tasks, while tasks run: Celery tells of them in no other way


class StreamRequest(Request):  # type: ignore[misc]
    """A task that a worker has received, and whose reply can be stopped while it runs."""

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """See Celery."""
        super().on_accepted(pid, time_accepted)
        _watch.add(self)

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """See Celery. Asks the reply to stop as well, as pools of threads and some signals end nothing."""
        # The signal comes first: a process that was stopped would take the next task, and lose that by the signal.
        with suppress(NotImplementedError):
            super().terminate(pool, signal)
        _in_background(self.task._stop, self.id)


class _Watch:
    """Stops the replies of tasks that are revoked without ``terminate`` while they run.

    Owner of the fields: ``_lock`` guards both.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, StreamRequest] = {}
        self._thread: threading.Thread | None = None

    def add(self, request: StreamRequest) -> None:
        """Watch a task until it is over."""
        with self._lock:
            self._running[request.id] = request
            if self._thread is None:
                self._thread = _in_background(self._run)

    def _run(self) -> None:
        while True:
            threading.Event().wait(_LOOK_SECONDS)
            with self._lock:
                for id, request in tuple(self._running.items()):
                    if request not in state.active_requests:
                        del self._running[id]
                revoked = [self._running.pop(id) for id in tuple(self._running) if id in state.revoked]
                if not self._running:
                    self._thread = None
                ended = self._thread is None
            for request in revoked:
                request.task._stop(request.id)
            if ended:
                return


_watch = _Watch()


@signals.task_revoked.connect  # type: ignore[untyped-decorator]
def _on_revoked(sender: Any = None, request: Any = None, **_: Any) -> None:
    """Tell the readers of a task that will not begin."""
    if isinstance(sender, StreamTask):
        _in_background(sender._end_unwritten, request.id, Outcome("cancelled"))


def _in_background(work: Callable[..., None], *args: Any) -> threading.Thread:
    """Call a function that may wait for Redis, without holding up the worker."""
    thread = InterruptibleThread(target=work, args=args, name="streamkit-celery", daemon=True)
    thread.start()
    return thread
