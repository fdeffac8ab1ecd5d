"""A reply with tools: ``Run``."""

from __future__ import annotations

import math
import queue
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from streamkit.concurrency.stop import StopEvent
from streamkit.errors import ConfigError, MisuseError, StreamkitError
from streamkit.observing.observers import Stats
from streamkit.observing.status import Status
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.typed_output import TypedOutput
from streamkit.tools.decisions import Answered, Approved, Rejected
from streamkit.tools.loop import Loop
from streamkit.tools.suspension import Suspension
from streamkit.values.attribute_hints import Elsewhere
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion
from streamkit.values.messages import Message
from streamkit.values.showing import html_of
from streamkit.wire.http import ResponseInfo

__all__ = ["Run"]


class Run(ChunkStream):
    """A reply with tools: one stream of chunks over all rounds.

    ::

        run = client.run("openai/gpt-4o-mini", "What is the weather in Oslo?", tools=[weather])
        for chunk in run:
            print(chunk.text, end="", flush=True)
        history += run.messages

    Each round is one request. Its chunks come as they arrive, with ``chunk.round``. Then the functions that the model
    has called run, in the thread of the loop or in threads of their own, and each call gives a ``tool_result`` chunk.
    The run ends with a reply that calls no tool, and with one ``done`` chunk, which has the usage of all rounds. Text
    before a call belongs to a reply of its own: who prints text only begins a new line when ``chunk.round`` changes.

    A call that needs approval gives a ``tool_approval`` chunk before it runs, unless ``approve=`` decides. Decide in
    the body of the loop, by ``approve``, ``reject`` or ``answer``. A call without a decision waits: the others run, and
    the run ends with the status ``suspended``. ``client.resume(run.suspension, ...)`` goes on.

    ``ChunkStream`` has the methods that take chunks or text. Between two rounds ``recv(timeout=...)`` waits for as long
    as a function takes that runs in its thread.

    Threads: one thread consumes, and decides; any thread may call ``cancel()`` and read the properties.
    """

    if not TYPE_CHECKING:
        final_output = Elsewhere("the text is run.completion.text")
        new_messages = Elsewhere("it is run.messages here")
        all_messages = Elsewhere("run.messages has those to append to the history that was passed")
        to_input_list = Elsewhere("run.messages has those to append to the history that was passed")
        interruptions = Elsewhere("the calls that wait are run.suspension.waiting")

    _may_call = True

    def __init__(self, loop: Loop, stop: StopEvent | threading.Event | None) -> None:
        self._loop = loop
        self._peeked: list[Chunk] = []
        # Two finalizers: the interpreter swallows an interrupt in one of them, and still runs the other.
        drop = loop.drop
        self._dropped = weakref.ref(self, lambda _: drop())
        finalizer = weakref.finalize(self, drop)
        settled = loop.on_settled

        def on_settled() -> None:
            finalizer.detach()
            settled()

        loop.on_settled = on_settled
        loop.begin(stop)

    # -- what came ---------------------------------------------------------------------------------------

    @property
    def completion(self) -> Completion:
        """The last round's reply so far, with the usage of all rounds.

        ``tool_results`` has a result for each call of that reply. Where the run was cancelled or failed, they say of
        each call whether it was never begun, has finished, or is still running. ``complete`` is true once the run is.
        """
        return self._loop.completion()

    @property
    def rounds(self) -> tuple[Completion, ...]:
        """The completion of each round so far, each with its own usage.

        The first one of a resumed run is the reply that waited.
        """
        return self._loop.rounds

    @property
    def messages(self) -> list[Message]:
        """What to append to the history that was passed: replies, and a result for each call.

        Every provider accepts the history with them, at any time, also after a failure. Those of a resumed run begin
        with those of the run that was suspended, so append once: when the run has ended otherwise than ``suspended``.
        """
        return self._loop.messages

    @property
    def suspension(self) -> Suspension | None:
        """What to keep of a suspended run, to go on with ``client.resume``; ``None`` unless it is suspended."""
        return self._loop.suspension

    @property
    def status(self) -> Status:
        """``open``, ``complete``, ``suspended``, ``cancelled``, ``truncated``, ``timeout`` or ``error``."""
        return self._loop.status

    @property
    def error(self) -> BaseException | None:
        """The error that ended the run, or ``None``."""
        return self._loop.error

    @property
    def stats(self) -> Stats:
        """The figures of all streams of the run together; ``duration`` includes the time that functions took."""
        return self._loop.stats()

    @property
    def response(self) -> ResponseInfo | None:
        """Status, headers, request id and rate limits of the last round's response; ``None`` before they arrived."""
        stream = self._loop.stream
        return None if stream is None else stream.response

    @property
    def _output(self) -> TypedOutput | None:
        return self._loop.output

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's run, which cannot be used."""
        return self._loop.inherited

    # -- decisions ---------------------------------------------------------------------------------------

    def approve(self, call_id: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Let a call run, in the body of the loop, before the next chunk is asked for.

        Args:
            call_id: ``chunk.tool_call.id`` of the ``tool_approval`` chunk.
            arguments: what to call the function with instead; see ``Approved``.

        Raises:
            MisuseError: no call of this id waits for a decision.
            ConfigError: the arguments are wrong, or there is no function to run.
        """
        if arguments is not None and not isinstance(arguments, Mapping):
            raise ConfigError("approve(call_id, arguments): arguments is a dict, or None for the model's; see reject()")
        self._loop.decide(self._loop.open_call(call_id), Approved(arguments))

    def reject(self, call_id: str, reason: str = "") -> None:
        """Keep a call from running; the model is told so. See ``approve``.

        Args:
            call_id: ``chunk.tool_call.id`` of the ``tool_approval`` chunk.
            reason: for the model.
        """
        self._loop.decide(self._loop.open_call(call_id), Rejected(reason))

    def answer(self, call_id: str, result: Any) -> None:
        """Give the result of a call that was carried out elsewhere. See ``approve``.

        Args:
            call_id: ``chunk.tool_call.id`` of the ``tool_approval`` chunk.
            result: as a function may return it.
        """
        self._loop.decide(self._loop.open_call(call_id), Answered(result))

    # -- taking chunks -----------------------------------------------------------------------------------

    def take(self, seconds: float | None = None) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end."""
        __tracebackhide__ = True
        if self._peeked and self.status in ("open", "complete", "suspended"):
            return self._peeked.pop()
        try:
            return self._loop.advance(math.inf if seconds is None else time.monotonic() + seconds)
        except (StreamkitError, MisuseError, queue.Empty):
            raise
        except BaseException as error:  # Ctrl-C or the time limit of a worker process
            self._interrupted(error)
            raise

    def peek(self) -> Chunk | None:
        """Return the next chunk if it has arrived and nothing else has to happen first; do not take it."""
        if self._peeked:
            return self._peeked[-1]
        stream = self._loop.stream
        chunk = None if stream is None or self.status != "open" else stream.peek()
        return None if chunk is None or chunk.finished else chunk

    def poll(self) -> bool:
        """Return whether a chunk can be taken or the run has ended; functions run in this thread meanwhile."""
        if self._peeked or self.status != "open":
            return True
        try:
            chunk = self.take(0.0)
        except queue.Empty:
            return False
        except StreamkitError:
            return True  # take() raises it again
        if chunk is not None:
            self._peeked.append(chunk)
        return True

    def next_check(self) -> float:
        """Return the moment, on ``time.monotonic``, at which to call ``poll()`` even if the listener was not called."""
        return self._loop.next_check()

    def listen(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` whenever there may be a chunk to take, and at the end, until ``unlisten``."""
        self._check_use()
        self._loop.listen(listener)

    def unlisten(self, listener: Callable[[], object]) -> None:
        """Stop calling ``listener``."""
        self._loop.unlisten(listener)

    # -- ending ------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Cancel the run: the open stream, and what has not begun; set the stop event of the functions that run.

        Raises:
            MisuseError: the run belongs to the parent process.

        Threads: any, any number of times; never waits. Observers are called in the calling thread. A function that runs
        goes on until it looks at ``context.stop``; the loop waits for one that runs in its own thread.
        """
        self._check_owner()
        self._loop.cancel()

    def close(self) -> None:
        """Cancel the run if it is open, and wait for its reader, at most 0.25 s; not for functions.

        Raises:
            MisuseError: the run belongs to the parent process.
        """
        self._check_owner()
        if self.status == "open":
            self._leave()
        if (stream := self._loop.stream) is not None:
            stream.close()

    def _leave(self) -> None:
        self._loop.cancel()
        self._loop.closed_early = self._loop.status == "cancelled"

    @property
    def _closed_early(self) -> bool:
        return self._loop.closed_early

    @property
    def _subject(self) -> str:
        stream = self._loop.stream
        return "the run" if stream is None else stream._subject

    def _repr_html_(self) -> str:
        """Return what a notebook shows: replies, calls and their results."""
        return html_of(self)

    def __repr__(self) -> str:
        loop = self._loop
        return f"<Run {loop.number} {loop.status}, {len(loop.rounds)} rounds>"
