"""Gates: what lets a request pass, makes it wait, or turns it away, such as limits and circuit breakers."""

from __future__ import annotations

import hashlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType

import attrs

from streamkit.concurrency.waiting import Waiter
from streamkit.errors import StreamError
from streamkit.providers.call import ChatRequest, choices_of
from streamkit.streaming.shared_state import StreamState
from streamkit.streaming.stream_hook import Halted, LimitReached
from streamkit.values.chunks import Usage
from streamkit.wire.http import ResponseInfo

__all__ = ["Call", "Gate", "Passing", "Result", "Wait"]


@attrs.frozen(eq=False)
class Call:
    """A request at a gate. Each try of a stream is a call of its own, and equal to no other.

    Attributes:
        provider: its name.
        chat: the request.
    """

    provider: str
    chat: ChatRequest = attrs.field(repr=False)
    _secrets: tuple[str, ...] = attrs.field(default=(), repr=False)

    @property
    def model(self) -> str:
        """The model, without the provider's segment."""
        return self.chat.model

    @property
    def choices(self) -> int:
        """How many replies it asks for."""
        return choices_of(self.chat)

    @property
    def account(self) -> str:
        """A name for the key that is used: always the same for one key, and the key cannot be told from it."""
        return hashlib.sha256("\0".join(self._secrets).encode()).hexdigest()[:16]


@attrs.frozen
class Result:
    """What came of a request that a gate let pass, or turned away.

    Attributes:
        error: that ended it; ``None`` for a whole reply and for a request that was cancelled.
        cancelled: whether it was cancelled.
        sent: whether all gates let it pass.
        usage: of the reply, ``None`` if unknown.
        time_to_first_chunk: seconds from the sending to the first chunk; ``None`` if there was none.
        response: the head of the response, ``None`` if there was none.
    """

    error: StreamError | None = None
    cancelled: bool = False
    sent: bool = False
    usage: Usage | None = None
    time_to_first_chunk: float | None = None
    response: ResponseInfo | None = None


class Wait:
    """The wait of one request at the gates; it ends with its stream.

    Owner of the fields: they never change, and protect themselves.
    """

    def __init__(self, state: StreamState) -> None:
        self._state = state
        self._waiter = state.at_gate = Waiter()

    def __call__(self, seconds: float = math.inf) -> None:
        """Wait for some seconds, or until ``wake`` was called.

        Raises:
            Halted: the stream was cancelled. Let it through.
            LimitReached: the stream's total time is over. Let it through.

        Threads: the worker's.
        """
        state = self._state
        state.deadlines.waiting()
        if not state.stop_requested():
            self._waiter.wait(max(0.0, min(seconds, state.deadlines.total_due - time.monotonic())))
        if state.stop_requested():
            raise Halted
        if time.monotonic() >= state.deadlines.total_due:
            raise LimitReached(state.deadlines.error())

    def wake(self) -> None:
        """End the wait, or the next one.

        Threads: any; never waits.
        """
        self._waiter.wake()


class Gate(ABC):
    """Is asked before each request, and told what came of it. Subclass it for limits of your own.

    Threads: the methods are called in the threads that read streams, many at a time. They must not call anything of the
    streams, nor wait otherwise than by ``wait``.
    """

    @abstractmethod
    def enter(self, call: Call, wait: Wait) -> None:
        """Let a request pass, after a wait if it has to be.

        Args:
            call: the request.
            wait: waits: ``wait(seconds)``. Another thread ends it by ``wait.wake()``.

        Raises:
            StreamError: the request is turned away; the next route is tried, if there is one.
        """

    def sending(self, call: Call) -> None:  # noqa: B027 - most gates need not know it
        """Take in that all gates let the request pass, and that it goes out now; it must not raise."""

    @abstractmethod
    def left(self, call: Call, result: Result) -> None:
        """Take in what came of it; called once after each ``enter``, also after one that raised.

        It must not raise.
        """


class Passing:
    """One request on its way through the gates and back, for the worker's ``with``.

    Attributes:
        usage: of the reply, once it is known.
    """

    def __init__(self, gates: Sequence[Gate], call: Call, state: StreamState) -> None:
        self.usage: Usage | None = None
        self._gates = gates
        self._call = call
        self._state = state
        self._entered: list[Gate] = []
        self._sent_at: float | None = None
        self._chunks = state.chunks

    def __enter__(self) -> Passing:
        wait = Wait(self._state)
        self._state.deadlines.waiting()  # a gate may take its time to answer, and no other limit is about that
        try:
            for gate in self._gates:
                self._entered.append(gate)
                gate.enter(self._call, wait)
            self._state.response = None  # that of an earlier try
            self._sent_at = time.monotonic()
            for gate in self._gates:
                gate.sending(self._call)
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        state, sent_at = self._state, self._sent_at
        if isinstance(error, LimitReached):
            error = error.error
        first = None
        if sent_at is not None and state.first_chunk_at is not None and state.chunks > self._chunks:
            first = state.first_chunk_at - sent_at
        failure = error if error is None or isinstance(error, StreamError) else StreamError(type(error).__name__)
        result = Result(
            None if isinstance(error, Halted) else failure,
            isinstance(error, Halted),
            sent_at is not None,
            self.usage,
            first,
            state.response if sent_at is not None else None,
        )
        failed: Exception | None = None
        for gate in reversed(self._entered):
            try:
                gate.left(self._call, result)
            except Exception as error:  # one of the user's: the others have to know all the same
                failed = error
        if failed is not None:
            raise failed
