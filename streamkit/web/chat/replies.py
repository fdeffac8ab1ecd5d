"""The replies that this process writes into a log: ``Replies``."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from streamkit.errors import MisuseError, RequestError, StreamkitError
from streamkit.logs.log import Log
from streamkit.logs.publishing import publish
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.web.relay import logged_error

__all__ = ["Replies"]

_log = logging.getLogger("streamkit")

_EXIT_SECONDS = 5.0  # for replies that are open when the process ends


class Replies:
    """Publishes replies, each in a thread of its own, so that they go on when the browser leaves.

    When the process ends, open replies are cancelled. What came of them is kept, and their readers get the end. A
    process that is killed does none of this; gunicorn kills its workers after its ``graceful_timeout`` when it ends.

    Owner of the fields: ``_lock`` guards ``_open`` and ``_pid``; the others never change.

    Args:
        log: where they are written.
        most: replies that may be open at once in this process.
        around: calls a function; a web framework sets up what tools may use, such as a database session.
    """

    def __init__(self, log: Log, most: int, around: Callable[[Callable[[], object]], object]) -> None:
        self._log = log
        self._most = most
        self._around = around
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, ChunkStream] = {}
        self._pid = 0

    def check_room(self) -> None:
        """Raise a ``RequestError`` of the status 503 where no reply may begin now."""
        if len(self._open) >= self._most and self._pid == os.getpid():
            raise RequestError(f"there are {self._most} replies on their way already; try again soon", status=503)

    def start(self, stream: ChunkStream, id: str) -> None:
        """Publish a stream in a thread.

        Args:
            stream: that was started.
            id: of its log.

        Raises:
            RequestError: no thread can be started; the stream was cancelled, and the status is 503.
        """
        thread = threading.Thread(target=self._run, args=(stream, id), name=f"streamkit-reply-{id[:8]}", daemon=True)
        with self._lock:
            if self._pid != os.getpid():  # the first of this process, which may be a child of the one that had others
                self._pid = os.getpid()
                self._open.clear()
                _at_exit(self.close)
            self._open[thread] = stream
        try:
            thread.start()
        except BaseException as error:
            with self._lock:
                del self._open[thread]
            stream.cancel()
            if isinstance(error, RuntimeError):
                raise RequestError("no reply can begin now; try again soon", status=503) from error
            raise

    def _run(self, stream: ChunkStream, id: str) -> None:
        try:
            self._around(lambda: publish(stream, self._log, id))
        except (StreamkitError, MisuseError) as error:  # which its readers get as well
            _log.warning("a reply failed: %s", logged_error(error))
        except Exception as error:
            _log.error("a reply failed: %s", type(error).__name__)
        finally:
            with self._lock:
                self._open.pop(threading.current_thread(), None)

    def close(self) -> None:
        """Cancel the open replies, and wait until their ends are written, at most 5 s.

        Threads: any.
        """
        with self._lock:
            replies = dict(self._open) if self._pid == os.getpid() else {}
        for stream in replies.values():
            with suppress(Exception):  # of the store; the thread that publishes it logs the same
                stream.cancel()
        until = time.monotonic() + _EXIT_SECONDS
        for thread in replies:
            thread.join(max(0.0, until - time.monotonic()))


def _at_exit(function: Callable[[], object]) -> None:
    """Call a function when the process ends, before and after the end of its threads is waited for.

    Before, as threads of a web server's pool read the replies, and end when these do. After, for replies that these
    threads have begun meanwhile.
    """
    atexit.register(function)
    # The pools of the standard library are ended by the same hook, the last one first.
    import concurrent.futures.thread  # noqa: F401

    with suppress(AttributeError, RuntimeError):  # it is not public; and the process may be ending already
        threading._register_atexit(function)  # type: ignore[attr-defined]
