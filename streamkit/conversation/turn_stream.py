"""The stream of one turn of a conversation: ``TurnStream``."""

from __future__ import annotations

import logging
import queue
import threading
import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from streamkit.concurrency.own_thread import OwnThread
from streamkit.conversation.stores.store import is_inside_store
from streamkit.conversation.turns import Turn
from streamkit.errors import MisuseError
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.wrapped_stream import WrappedStream
from streamkit.tools.run import Run
from streamkit.tools.suspension import Suspension
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion
from streamkit.values.messages import Message

__all__ = ["TurnEnd", "TurnStream"]

_log = logging.getLogger("streamkit")


class TurnEnd:
    """Ends one turn of a conversation, once, however its stream ends. It has to outlive the ``TurnStream``.

    Owner of the fields: ``_lock``, reentrant as a signal handler may cancel, guards ``_over``, which goes from False to
    True once, and ``_settling``. The others never change.

    Args:
        inner: the stream of the turn.
        settle: takes this object, and keeps what came of the stream. It is called again where Ctrl-C interrupted it.

    Attributes:
        calls: see ``Turn.calls``; the consumer's thread adds to it, by single operations.
    """

    def __init__(self, inner: ChunkStream, settle: Callable[[TurnEnd], object]) -> None:
        self.inner = inner
        self.calls: dict[str, str] = {}
        self._settle = settle
        self._lock = threading.RLock()
        self._over = False
        self._settling = False

    def settle(self) -> None:
        """Keep what came of the turn, if the stream has ended and nobody did so.

        Raises:
            StoreConflictError: somebody else has changed the conversation in its store.
            StoreError: it cannot be saved now.
        """
        if self._over or self.inner.status == "open" or self.inner.inherited:
            return
        with self._lock:
            if self._over or self._settling:  # the latter in a signal handler
                return
            try:
                self._settling = True
                self._settle(self)
                self._over = True
            except Exception:  # it is kept, and not saved
                self._over = True
                raise
            finally:
                self._settling = False

    def drop(self) -> None:
        """Cancel the stream and settle, as the last reference to the ``TurnStream`` has gone."""
        if self._over or self.inner.inherited:
            return
        # The garbage collector found it in a reader, or in a transaction, whose locks another one would wait for.
        if isinstance(threading.current_thread(), OwnThread) or is_inside_store():
            threading.Thread(target=self._dropped, name="streamkit-turn-dropped", daemon=True).start()
        else:
            self._dropped()

    def _dropped(self) -> None:
        try:
            self.inner.cancel()
            self.settle()
        except Exception as error:
            _log.error("a turn that was dropped could not be kept: %s", error)


class TurnStream(WrappedStream):
    """The reply to one turn of a conversation: an iterator of ``Chunk``, and a context manager.

    When it ends, however it ends, the turn is kept in the conversation, and saved where that has a store. What cannot
    be saved is raised where the end is taken, after all chunks.

    With tools it is a run: ``chunk.round``, ``approve``, ``reject``, ``answer`` and ``suspension`` are as in ``Run``.

    Attributes:
        turn_id: of the turn.
        stream_id: of this stream, see ``Turn``.

    Threads: one thread consumes; any thread may call ``cancel()`` and read the properties.
    """

    def __init__(self, conversation: Any, end: TurnEnd, turn: Turn) -> None:
        self.conversation = conversation
        self.turn_id = turn.id
        self.stream_id = turn.stream_id
        super().__init__(end.inner)
        self._end = end
        self._finalizer = weakref.finalize(self, end.drop)

    @property
    def _run(self) -> Run:
        if not isinstance(self._inner, Run):
            raise MisuseError("this turn has no tools: pass tools= to the conversation")
        return self._inner

    # -- of runs -----------------------------------------------------------------------------------------

    @property
    def suspension(self) -> Suspension | None:
        """What a suspended turn needs to go on, ``None`` unless it is suspended; ``conversation.resume`` uses it."""
        return self._run.suspension if self.status == "suspended" else None

    @property
    def rounds(self) -> tuple[Completion, ...]:
        """The completion of each round of a turn with tools so far."""
        return self._run.rounds

    @property
    def messages(self) -> list[Message]:
        """What a turn with tools adds to the history, as far as it has come."""
        return self._run.messages

    def approve(self, call_id: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Let a call run; see ``Run.approve``."""
        self._run.approve(call_id, arguments)

    def reject(self, call_id: str, reason: str = "") -> None:
        """Keep a call from running; see ``Run.reject``."""
        self._run.reject(call_id, reason)

    def answer(self, call_id: str, result: Any) -> None:
        """Give the result of a call that was carried out elsewhere; see ``Run.answer``."""
        self._run.answer(call_id, result)

    # -- taking chunks -----------------------------------------------------------------------------------

    def take(self, seconds: float | None = None) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end."""
        __tracebackhide__ = True
        try:
            chunk = self._inner.take(seconds)
        except queue.Empty:
            raise
        except Exception:
            self._settle()
            raise
        except BaseException:  # Ctrl-C or the time limit of a worker process, which nothing may replace
            self._settle_or_log()
            raise
        if chunk is None:
            self._settle()
        elif chunk.type in ("tool_approval", "tool_result"):
            self._note(chunk)
        return chunk

    def _note(self, chunk: Chunk) -> None:
        """Keep what a call's result does not tell: that it had to be approved, or what went wrong."""
        result, calls = chunk.tool_result, self._end.calls
        if result is None:
            if chunk.tool_call is not None:
                calls[chunk.tool_call.id] = "asked"
        elif not result.preliminary:
            if result.error is not None:
                calls[result.call_id] = result.error
            elif calls.get(result.call_id) == "asked":
                calls[result.call_id] = "approved"

    # -- ending ------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        __tracebackhide__ = True
        self._end.settle()
        if self._inner.status != "open":
            self._finalizer.detach()

    def _settle_or_log(self) -> None:
        try:
            self._settle()
        except Exception as error:
            _log.error("a turn that was interrupted could not be saved: %s", error)

    def cancel(self) -> None:
        """Cancel the stream, and keep what came of the turn.

        Raises:
            MisuseError: the stream belongs to the parent process.
            StoreConflictError: somebody else has changed the conversation in its store.
            StoreError: it cannot be saved now.

        Threads: any, any number of times; never waits, but for the store.
        """
        self._inner.cancel()
        self._settle()

    def close(self) -> None:
        """Cancel the stream if it is open, keep what came of the turn, and wait for its reader, at most 0.25 s."""
        self._inner.close()
        self._settle()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, Exception) and not self.inherited:
            self._inner.close()
            self._settle_or_log()
        else:
            super().__exit__(kind, error, traceback)

    def _leave(self) -> None:
        self._inner._leave()
        self._settle()

    # -- state -------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<TurnStream of {self.conversation.id!r}, {self.status}>"
