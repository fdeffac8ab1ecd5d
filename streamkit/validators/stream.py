"""A stream whose text is judged before it shows: ``ValidatedStream``, and ``validated``, which makes one.

``Validated`` has all of it. The two classes that users see are ``Validated`` and what ``client.stream`` or
``client.run`` returns anyway, so that the types of these calls do not depend on their arguments: a ``ValidatedStream``
is a ``Stream`` in all that a user sees.
"""

from __future__ import annotations

import math
import queue
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import attrs

from streamkit.errors import ConfigError, MisuseError, ValidationError
from streamkit.observing.observers import Stats
from streamkit.observing.status import Status
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.redelivery import Redelivery
from streamkit.streaming.stream import Stream
from streamkit.streaming.wrapped_stream import WrappedStream
from streamkit.validators.judge import Judge, validators_in
from streamkit.validators.validator import Validator, Violation
from streamkit.values.chunks import Chunk, Usage, set_round, text_chunk
from streamkit.values.completion import Completion

__all__ = ["Validated", "ValidatedStream", "validated"]

# After one of these no text of the same round comes.
_ENDS_TEXT = ("tool_approval", "tool_result", "done")


class Validated(WrappedStream):
    """A stream of chunks whose text was judged by validators before it shows.

    ::

        stream = client.stream("openai/gpt-4o-mini", "Hello", validators=[BannedWords(["password"])])
        for chunk in stream:
            print(chunk.text, end="", flush=True)

    **What is judged** is the text of choice 0, each round of a run anew. Further choices, reasoning, refusals and
    arguments of calls are not. Text that is not decided yet is held back, and nothing overtakes it: whatever comes
    after it waits too. A round's text is judged as a whole where its calls are decided on or answered, and at the end.
    Functions may have run by then. Text beside calls of tools is no answer, so a validator that is about the answer as
    a whole, such as ``JsonValid``, is not asked about it.

    **Where a rule is broken** the model is cancelled at once, and the consumer gets what is allowed of the text. Then,
    with ``on_violation="raise"``, the ``ValidationError`` comes. With ``"replace"`` the replacement comes as a chunk of
    text, and a ``done`` chunk with the finish reason ``content_filter``; text that was shown before stays where it is,
    so a page that is to show nothing but the replacement clears the rest when it sees that reason. With ``"report"``
    nothing is held back and nothing ends; ``violations`` has what was found.

    A chunk of which only a part may be seen comes in parts; ``raw`` and what else it has are on the last one. So what
    is withheld is not in ``raw`` either. A reply that fails or is cut off is judged as far as it came: its error comes
    after what is allowed.

    ``completion`` is what was delivered. ``stats`` and ``response`` are those of the stream inside, and its observers
    are told of that one: what the model wrote as far as it was taken, and ``cancelled`` where a rule was broken.

    Owner of the fields: the consumer's thread alone uses all but ``_reception`` and ``_violations``, which only grows.

    Threads: one thread consumes; any thread may call ``cancel()`` and read the properties.
    """

    def __init__(self, stream: ChunkStream, validators: Iterable[Validator]) -> None:
        self._validators = tuple(each for each in validators_in(validators) if each.direction != "input")
        super().__init__(stream)
        self._violations: list[Violation] = []
        self._reception = Redelivery(stream)
        self._judge = self._new_judge(0)
        self._round = 0
        self._judged = False  # whether the round's text was judged as a whole
        self._held: deque[Chunk] = deque()
        self._given = 0  # characters of the round's text that were let out,
        self._given_of_first = 0  # and those of the first chunk that is held
        self._out: deque[Chunk] = deque()
        self._ending: tuple[Status, BaseException | None] | None = None  # what comes after the last chunk in _out

    def _new_judge(self, round: int) -> Judge:
        return Judge(self._validators, round, self._may_call, self._violations)

    # -- taking chunks -----------------------------------------------------------------------------------

    def _chunks(self) -> Iterator[Chunk]:
        __tracebackhide__ = True
        while (chunk := self.take()) is not None:
            yield chunk

    def take(self, seconds: float | None = None) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end.

        Raises:
            queue.Empty: no chunk came within ``seconds``.
            ValidationError: the text broke a rule, after all that was allowed of it.
            StreamError: the stream failed, after all the chunks that came before.
        """
        __tracebackhide__ = True
        reception, out = self._reception, self._out
        until = math.inf if seconds is None else time.monotonic() + seconds
        while reception.status == "open":
            if out:
                if self._ending is None and self._inner.status == "cancelled":
                    reception.settle("cancelled")  # by its stop event, or with its client
                    break
                chunk = out.popleft()
                reception.deliver(chunk)
                return chunk
            if self._ending is not None:
                reception.settle(*self._ending)
                break
            if until == math.inf:
                self._pull(None)
                continue
            self._pull(max(0.0, until - time.monotonic()))
            if not out and self._ending is None and time.monotonic() >= until:
                raise queue.Empty  # chunks may come for ever of which nothing may be seen
        error = reception.error
        if error is not None:
            raise error.with_traceback(reception.traceback)
        return None

    def peek(self) -> Chunk | None:
        """Return the next chunk if it has arrived and nothing else has to happen first; do not take it."""
        return self._out[0] if self._out and self.status == "open" else None

    def poll(self) -> bool:
        """Return whether ``take()`` would not have to wait for the provider, without waiting."""
        reception = self._reception
        while reception.status == "open" and not self._out:
            if self._ending is not None:
                reception.settle(*self._ending)
            elif not self._inner.poll():
                return False
            else:
                try:
                    self._pull(0.0)
                except queue.Empty:
                    return False
        return True

    def _pull(self, seconds: float | None) -> None:
        """Take one chunk from the stream inside, and let out what may be seen now.

        A chunk that an interrupt has lost, after it was taken, would leave a gap in what is judged. So any ends it.
        """
        __tracebackhide__ = True
        judging = False
        try:
            chunk = self._inner.take(seconds)
            judging = True
            if chunk is None:
                self._end()
            else:
                self._judge_chunk(chunk)
        except Exception as error:
            if judging:  # a validator's own; what was let out before was allowed
                self._inner.cancel()
                self._held.clear()
                self._reception.traceback = error.__traceback__
                self._ending = "error", error
            elif isinstance(error, queue.Empty) or self._inner.status == "open":
                raise
            else:
                self._fail(error)
        except BaseException as error:  # Ctrl-C or the time limit of a worker process
            self._interrupted(error)
            raise

    def _judge_chunk(self, chunk: Chunk) -> None:
        if chunk.round != self._round:
            if self._ends_badly():
                return
            self._begin(chunk.round)
        if chunk.text and not chunk.index:
            if self._judged:
                self._begin(chunk.round)
            violation = self._judge.add(chunk.text, False)
            length = len(chunk.text)
            if not self._held and self._judge.shown - self._given >= length:
                self._given += length
                self._out.append(chunk)  # as _let_out does, in the case that is the most frequent by far
            else:
                self._held.append(chunk)
                self._let_out()
            if violation is not None:
                self._cut(violation)
            return
        if chunk.type == "tool_call" and not chunk.index:
            self._judge.calls = True
        elif chunk.type in _ENDS_TEXT and self._ends_badly(chunk):
            return
        self._held.append(chunk)
        self._let_out()

    def _begin(self, round: int) -> None:
        """Begin the text of a round; nothing of the one before is held."""
        self._judge = self._new_judge(round)
        self._round, self._judged, self._given = round, False, 0

    def _ends_badly(self, chunk: Chunk | None = None) -> bool:
        """Judge the round's text as a whole, and let out what is held; return whether it broke a rule."""
        if self._judged:
            return False
        self._judged = True
        violation = self._judge.add("", True)
        self._let_out(everything=violation is None)
        if violation is not None:
            self._cut(violation, chunk)
        return violation is not None

    def _let_out(self, everything: bool = False) -> None:
        """Move what may be seen from ``_held`` to ``_out``, in order."""
        held, out, shown = self._held, self._out, self._judge.shown
        while held:
            chunk = held[0]
            if chunk.text and not chunk.index:
                done, length = self._given_of_first, len(chunk.text)
                end = length if everything else min(length, done + shown - self._given)
                if end < length:
                    if end > done:
                        out.append(_part(chunk, done, end))
                        self._given += end - done
                        self._given_of_first = end
                    return
                self._given += length - done
                self._given_of_first = 0
                if done:
                    chunk = _part(chunk, done, length)
            out.append(chunk)
            held.popleft()

    def _cut(self, violation: Violation, last: Chunk | None = None) -> None:
        """End the reply, as its text broke a rule.

        Args:
            violation: which.
            last: the stream's own ``done`` chunk, if it has come to that.
        """
        self._inner.cancel()
        self._held.clear()
        self._violations.append(violation)
        if violation.on_violation == "raise":
            self._ending = (
                "error",
                ValidationError(
                    f"{self._subject}: the validator {violation.validator!r} cut the reply off: {violation.reason}; "
                    "partial has what was allowed",
                    validator=violation.validator,
                    reason=violation.reason,
                ),
            )
            return
        so_far = self._inner.completion
        same: dict[str, Any] = {"id": so_far.id, "model": so_far.model, "round": self._round}
        if violation.replacement:
            self._out.append(Chunk("text", violation.replacement, **same))
        usage = so_far.usage if so_far.usage != Usage() else last.usage if last is not None else None
        self._out.append(Chunk("done", finish_reason="content_filter", usage=usage, **same))
        self._ending = "complete", None

    def _end(self) -> None:
        """The stream inside has ended without an error."""
        status = self._inner.status
        if status == "cancelled" or not self._ends_badly():
            self._ending = status, None

    def _fail(self, error: Exception) -> None:
        """The stream inside has failed: what came of its text is judged as if it were all."""
        self._ending = self._inner.status, error
        if not self._judged:
            self._judged = True
            with suppress(Exception):  # of a validator's own: the stream's error says more
                violation = self._judge.add("", True)
                self._let_out(everything=violation is None)
        self._held.clear()

    # -- several at once ---------------------------------------------------------------------------------

    # -- ending ------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Cancel the stream, and the one inside; see ``ChunkStream.cancel``. Text that is held back is dropped.

        Raises:
            MisuseError: the stream belongs to the parent process.

        Threads: any, any number of times; never waits. Observers are called in the calling thread.
        """
        self._check_owner()
        self._inner.cancel()
        self._reception.abandon()

    def close(self) -> None:
        """Cancel the stream if it is open, and wait for its reader, at most 0.25 s.

        Raises:
            MisuseError: the stream belongs to the parent process.
        """
        self._check_owner()
        if self.status == "open":
            self._leave()
        self._inner.close()

    def _leave(self) -> None:
        self.cancel()
        self._reception.closed_early = self.status == "cancelled"

    @property
    def _closed_early(self) -> bool:
        return self._reception.closed_early

    # -- state -------------------------------------------------------------------------------------------

    @property
    def violations(self) -> tuple[Violation, ...]:
        """The rules of validators that the text has broken so far, in order."""
        return tuple(self._violations)

    @property
    def completion(self) -> Completion:
        """The completion of the chunks delivered so far, at any time, also after a failure."""
        return self._reception.completion()

    @property
    def status(self) -> Status:
        """``open``, ``complete``, ``suspended``, ``cancelled``, ``truncated``, ``timeout`` or ``error``.

        It is the consumer's view. A reply that a validator has replaced the rest of is ``complete``.
        """
        return self._reception.status

    @property
    def error(self) -> BaseException | None:
        """The error that ended the stream, or ``None``."""
        return self._reception.error

    @property
    def stats(self) -> Stats:
        """The figures of the stream inside: of all that arrived, also of what was withheld."""
        return self._inner.stats

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's stream, which cannot be used."""
        return self._reception.inherited

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status}, {len(self._violations)} violations, of {self._inner!r}>"


def _part(chunk: Chunk, start: int, end: int) -> Chunk:
    """Return a part of a chunk of text. What is not the text's own comes with the last part."""
    last = end == len(chunk.text)
    if last and (chunk.provider_data or chunk.finish_reason):
        return attrs.evolve(chunk, text=chunk.text[start:])
    raw, usage = (chunk.raw, chunk.usage) if last else (None, None)
    part = text_chunk(chunk.text[start:end], 0, raw, chunk.id, chunk.model, usage)
    if chunk.round:
        set_round(part, chunk.round)
    return part


class ValidatedStream(Validated, Stream):
    """A ``Stream`` whose text is judged before it shows; see ``Validated``. It takes its chunks from another stream.

    Of ``Stream`` it has what a user sees, and none of the fields.
    """


def validated(stream: ChunkStream, validators: Iterable[Validator]) -> ValidatedStream:
    """Return a stream of the same chunks, whose text is judged before it shows; see ``Validated``.

    Args:
        stream: any stream that nothing was taken from. It belongs to the returned one: take, cancel and close that.
        validators: those for output are used; ``check_input`` asks those for input.

    Raises:
        ConfigError: an item is no ``Validator``, or has an impossible option. The stream is cancelled.
        MisuseError: the stream has ended.

    Threads: any.
    """
    if not isinstance(stream, ChunkStream):
        raise ConfigError(f"validated() takes a stream, as client.stream() returns it, not {type(stream).__name__}")
    if stream.status not in ("open", "cancelled"):
        raise MisuseError("this stream has ended, and its chunks were taken; validate it before you iterate it")
    try:
        return ValidatedStream(stream, validators)
    except BaseException:  # begin() of a validator of the user's own may raise anything
        stream.cancel()
        raise
