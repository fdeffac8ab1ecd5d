"""The loop of a run with tools: ask the model, make its calls, ask again, until it asks for none."""

from __future__ import annotations

import itertools
import math
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from types import GeneratorType
from typing import Any, cast

import attrs

from streamkit.concurrency.own_thread import OwnThread
from streamkit.concurrency.plain_events import on_set
from streamkit.concurrency.stop import ReentrantEvent, StopEvent
from streamkit.errors import MisuseError, RunLimitError, StreamkitError, ToolError
from streamkit.observing.observers import RunReport, Stats
from streamkit.observing.status import Status
from streamkit.providers.call import messages_of
from streamkit.streaming.ending import Ending
from streamkit.streaming.stream import Stream
from streamkit.streaming.typed_output import TypedOutput
from streamkit.tools.calls import PendingCall, acceptable, digest_of, free_id, planned
from streamkit.tools.context import ToolContext
from streamkit.tools.decisions import Approved, Decision, decision_of
from streamkit.tools.execution import Execution
from streamkit.tools.limits import Spent
from streamkit.tools.plan import Plan
from streamkit.tools.rounds import Round
from streamkit.tools.run_claims import RunClaims
from streamkit.tools.suspension import Suspension
from streamkit.tools.told_calls import ToldCalls
from streamkit.values.chunks import Chunk, FinishReason, Usage, summed
from streamkit.values.completion import Completion, changed
from streamkit.values.messages import Message

__all__ = ["Loop"]

_NOTHING: Any = object()  # what a step yields where nothing came until the deadline
_ITERATED = "this run is being iterated already, by another thread or around the function that runs"
_RAISED = ("exception", "invalid arguments", "unknown tool", "cut off")
_numbers = itertools.count(1)  # next() of it is one atomic operation, with and without the GIL


class _News(ReentrantEvent):
    """An event that calls listeners whenever it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.listeners: list[Callable[[], object]] = []

    def set(self) -> None:
        """Set the event."""
        super().set()
        for listener in list(self.listeners):
            listener()


class Loop(Ending):
    """All of a run but the ``Run`` that its consumer holds, which has to be free to go away.

    ``advance`` plays one step of ``_steps``, a generator, in the consumer's thread. All that is to outlive an exception
    in the middle of a step is in the fields, each changed after the work that it stands for.

    Owner of the fields: the consumer's thread alone uses ``_steps``, ``_until``, ``_last``, ``_spent``, ``_execution``,
    ``_conversation`` and ``_used``. It replaces ``_rounds``, ``_at_end``, ``_unanswered`` and ``_suspension``; any
    thread may read these, each by a single read. Any thread may set ``halted``, from False to True. The events,
    ``_told`` and ``_claims`` have locks of their own, and ``Ending`` says who owns the end. The others never change.

    Args:
        plan: what was asked for.
        stop: the user's, or ``None``.
        resumed: where to go on, or ``None``.
        id: the id under which ``plan.claims`` is held for this run, "" for none.

    Attributes:
        number: of the run, unique in the process.
        halted: whether it was told to end.
    """

    def __init__(
        self,
        plan: Plan,
        stop: StopEvent | threading.Event | None,
        resumed: tuple[Suspension, tuple[PendingCall, ...]] | None = None,
        id: str = "",
    ) -> None:
        tellable = [observer for observer in plan.observers if hasattr(observer, "run_ended")]
        super().__init__(tellable, "run_started", "run_ended")
        self._plan = plan
        self._id = id
        self._pid = os.getpid()
        self.number = next(_numbers)
        self._started_at = time.monotonic()
        self._ended_at: float | None = None
        self.halted = False
        self.closed_early = False
        self._told = ToldCalls(plan.observers, self.number)
        self.news = _News()
        self.stop = StopEvent()
        self._plain_stop = stop if not isinstance(stop, StopEvent) else None
        self._base: Sequence[Any] = plan.messages
        self._earlier: list[Message] = []  # of the run before it was suspended, without the round that it waited in
        self._rounds: tuple[Round, ...] = ()
        self._spent = Spent()
        self._used = _ids_in(plan.messages)
        self._conversation: tuple[Any, ...] | None = None
        self._last: Chunk | None = None
        self._at_end: Status | None = None
        self._unanswered = ""
        self._suspension: Suspension | None = None
        self._suspended = resumed[0] if resumed else None
        self._claims = RunClaims(plan.claims, id, resumed=resumed is not None, media=plan.media, stopped=self._stopped)
        self._execution: Execution | None = None
        self._until = math.inf
        if resumed is not None:
            self._go_on_from(*resumed)
        self._steps = cast("GeneratorType[Any, None, None]", self._play())
        self._unsubscribe: list[Callable[[], None]] = []
        self.on_settled = self._settled

    def begin(self, stop: StopEvent | threading.Event | None) -> None:
        """Tell the observers of the start, and start the first stream.

        Raises:
            ConfigError: the call is invalid; nothing was sent.
        """
        self.started()
        self._unsubscribe.append(self.stop.subscribe(self._halt, self.cancel))
        if isinstance(stop, StopEvent):
            self._unsubscribe.append(stop.subscribe(self.stop.halt, self.stop.set))
        elif stop is not None and stop.is_set():
            self.cancel()
        elif stop is not None:
            self._unsubscribe.append(on_set(stop, self._cancel_from_plain))
        if self.status != "open":  # by an event that was set already
            for unsubscribe in self._unsubscribe:
                unsubscribe()
        elif self._suspended is None:
            try:
                self._start_round(0)
            except StreamkitError as error:
                self._fail(error)
                raise

    # -- state -------------------------------------------------------------------------------------------

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's run."""
        return self._pid != os.getpid()

    @property
    def output(self) -> TypedOutput | None:
        """The type of the last reply, or ``None``."""
        return self._plan.output

    @property
    def stream(self) -> Stream | None:
        """The stream of the last round, ``None`` where a resumed run has started none yet."""
        return self._rounds[-1].stream if self._rounds else None

    @property
    def last_round_number(self) -> int:
        """The number of the last round; -1 before the first."""
        rounds = self._rounds
        return rounds[-1].number if rounds else -1

    @property
    def rounds(self) -> tuple[Completion, ...]:
        """The completion of each round so far."""
        return tuple(each.completion for each in self._rounds)

    @property
    def suspension(self) -> Suspension | None:
        """What a suspended run needs to go on; ``None`` unless it is suspended."""
        return self._suspension if self.status == "suspended" else None

    @property
    def messages(self) -> list[Message]:
        """What to append to the history: acceptable to every provider at any time."""
        return self.messages_with(None)

    def messages_with(self, last_text: str | None) -> list[Message]:
        """Return ``messages``.

        Args:
            last_text: what to keep of the last round's text; ``None`` for all.
        """
        unanswered, rounds = self._unanswered, self._rounds
        kept = list(self._earlier)
        for each in rounds:
            kept += each.messages(unanswered, last_text if each is rounds[-1] else None)
        return kept

    def completion(self) -> Completion:
        """Return the last round's reply, with the usage of all rounds and how far each call has come."""
        rounds, status = self._rounds, self.status
        if not rounds:
            reason: FinishReason | None = "cancelled" if status == "cancelled" else None
            return Completion(provider=self._plan.provider, finish_reason=reason)
        last = rounds[-1]
        reply, calls = last.completion, last.calls
        if not calls and status != "open":  # a reply that was broken off in the middle of its calls
            calls = tuple(PendingCall(call) for call in reply.tool_calls)
        fields: dict[str, Any] = {
            "usage": _usage_of(rounds),
            "tool_results": tuple(pending.so_far(self._unanswered) for pending in calls),
            "provider": reply.provider or self._plan.provider,  # a route may have gone to another one
        }
        if status == "suspended":
            fields["finish_reason"] = "tool_calls"
        elif status == "cancelled":
            fields |= {"finish_reason": "cancelled", "complete": False}
        elif status not in ("complete", "open"):
            fields |= {"finish_reason": "error", "complete": False}
        elif last.calls:  # between two rounds: this reply is whole, and the run is not
            fields |= {"finish_reason": None, "complete": False}
        return changed(reply, **fields)

    def stats(self) -> Stats:
        """Return the figures of all streams together."""
        figures = [each.stream.stats for each in self._rounds if each.stream is not None]
        first = next((figure.time_to_first_chunk for figure in figures), None)
        return Stats(
            first,
            (self._ended_at or time.monotonic()) - self._started_at,
            sum(figure.chunks for figure in figures),
            sum(figure.bytes for figure in figures),
            sum(figure.attempts for figure in figures),
            max((figure.queue_peak for figure in figures), default=0),
            sum(figure.blocked for figure in figures),
        )

    def _last_route(self) -> tuple[str, str]:
        """Return the names of the provider and the model that were asked last; they may be those of another route."""
        for each in reversed(self._rounds):
            if each.stream is not None and each.stream.stats.routes:
                provider, _, name = each.stream.stats.routes[-1].model.partition("/")
                return provider, name
        return self._plan.provider, self._plan.name

    def _report(self) -> RunReport:
        return RunReport(
            self.number,
            *self._last_route(),
            self.status,
            self.stats(),
            self.completion(),
            self.rounds,
            self.error,
        )

    # -- steps -------------------------------------------------------------------------------------------

    def advance(self, until: float) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end.

        Args:
            until: the moment, on ``time.monotonic``, until which to wait. A function in the thread of the loop takes
                as long as it takes.

        Raises:
            queue.Empty: no chunk came.
            StreamError: the run failed; raised again on each call.
        """
        __tracebackhide__ = True
        if self._steps.gi_running:
            raise MisuseError(_ITERATED)
        self._until = until
        while self.status == "open":
            if self._plain_stop is not None and self._plain_stop.is_set():
                self.cancel()
                break
            chunk = self._step()
            if self._end is not None:
                break  # failed, or cancelled meanwhile, for example by the function that was called
            if chunk is _NOTHING:
                raise queue.Empty
            if chunk is not None:
                return chunk  # type: ignore[no-any-return]
            if self._at_end is None:
                self.cancel()
            else:
                self.settle(self._at_end)
        if self.error is not None:
            raise self.error.with_traceback(None)
        return None

    def _step(self) -> Any:
        """Play a step; an error of ours ends the run."""
        __tracebackhide__ = True
        try:
            return next(self._steps, None)
        except (StreamkitError, MisuseError) as error:
            self._fail(error)
            return None
        except ValueError as error:
            if str(error) == "generator already executing":  # another thread was faster than the check in advance()
                raise MisuseError(_ITERATED) from None
            raise

    def _fail(self, error: BaseException) -> None:
        """End the run with an error, and the functions that still run."""
        stream = self.stream
        status: Status = stream.status if stream is not None and stream.error is error else "error"
        self.halted = True
        self.settle(status, error)
        self.stop.set()

    def _play(self) -> Generator[Any, None, None]:
        __tracebackhide__ = True
        if self._suspended is not None:
            yield from self._answer()
            if self._any_waits:
                yield from self._finish("suspended")
                return
            if not self._stopped():
                self._start_round(self._rounds[-1].number + 1)
        while not self._stopped():
            yield from self._read_reply()
            if self._stopped():
                return
            if not self._rounds[-1].calls:
                yield from self._finish("complete")
                return
            self._check_limits()
            yield from self._answer()
            if self._stopped():
                return
            if self._any_waits:
                yield from self._finish("suspended")
                return
            self._start_round(self._rounds[-1].number + 1)

    def _stopped(self) -> bool:
        plain = self._plain_stop
        return self.halted or self.status != "open" or (plain is not None and plain.is_set())

    def _start_round(self, number: int) -> None:
        """Ask the model: one round more."""
        stream = self._plan.start((*self._base, *self.messages), self.stop, (self.number, number))
        for listener in self.news.listeners:
            stream.listen(listener)
        self._rounds = (*self._rounds, Round(number, stream))

    def _read_reply(self) -> Iterator[Any]:
        """Yield the chunks of a reply but its end, and plan the calls in it."""
        __tracebackhide__ = True
        this = self._rounds[-1]
        stream, used = this.stream, set(self._used)
        begun: set[int] = set()  # indexes of calls
        assert stream is not None
        while True:
            try:
                chunk = stream.take(None if self._until == math.inf else max(0.0, self._until - time.monotonic()))
            except queue.Empty:
                yield _NOTHING
                continue
            if chunk is None:
                break
            if chunk.finished:
                self._last = chunk
                continue
            delta = chunk.tool_call
            if delta is not None and delta.id and delta.index not in begun:
                begun.add(delta.index)
                id = free_id(delta.id, used)
                if id != delta.id:  # the id that the result will have, as the server has used this one before
                    chunk = attrs.evolve(chunk, tool_call=attrs.evolve(delta, id=id))
            yield chunk
        if stream.status == "cancelled":
            self.cancel()
            return
        reply = stream.completion
        calls = acceptable(reply.tool_calls, self._used)
        this.calls = tuple(
            planned(call, self._plan.tools, name=written.name, cut=reply.finish_reason == "length")
            for call, written in zip(calls, reply.tool_calls, strict=True)
        )
        this.reply = reply if calls == reply.tool_calls else changed(reply, tool_calls=calls)
        self._claims.name(this)

    def _finish(self, status: Status) -> Iterator[Chunk]:
        """Yield the one ``done`` chunk of the run."""
        this = self._rounds[-1]
        usage = _usage_of([each for each in self._rounds if each.stream is not None])
        last = self._last or Chunk("done", model=this.completion.model)
        if status == "suspended":
            self._suspension = self._suspended_now()
            last = attrs.evolve(last, finish_reason="tool_calls")
        chunk = attrs.evolve(last, usage=usage, round=this.number)
        self._at_end = status
        yield chunk

    # -- calls -------------------------------------------------------------------------------------------

    @property
    def _any_waits(self) -> bool:
        return any(pending.waits for pending in self._rounds[-1].calls)

    def _check_limits(self) -> None:
        """Count what the reply asks for.

        Raises:
            RunLimitError: a limit is reached; none of the reply's calls is made.
        """
        this = self._rounds[-1]
        limits, digests = self._plan.limits, [digest_of(pending.call) for pending in this.calls]
        self._spent = self._spent.after(this.completion, digests, priced=limits.cost is not None)
        found = limits.reached(self._spent)
        if found is not None:
            name, what = found
            self._unanswered = f"Not called: the limit of {what} was reached."
            raise RunLimitError(
                f"the run reached its limit of {what}, and the model still asks for tools; "
                f"RunLimits({name}=...) sets the limit, and run.messages has the history so far",
                limit=name,
            )

    def _answer(self) -> Iterator[Any]:
        """Decide on the calls of the last reply, make them, and yield their results."""
        __tracebackhide__ = True
        this, plan = self._rounds[-1], self._plan
        for index, pending in enumerate(this.calls):
            if pending.result is None and pending.decision is None and self._asks(pending):
                yield from self._decide(pending, index, this.number)
                if self._stopped():
                    return
        if self._conversation is None:
            self._conversation = tuple(map(_message_of, self._base))
        conversation = (*self._conversation, *self._before(this), this.message)
        self._execution = execution = Execution(
            parallel=plan.parallel,
            call_seconds=plan.limits.call_seconds,
            media=plan.media,
            context=lambda pending, stop, report: ToolContext(
                pending.call, stop, conversation, this.number, plan.context, report
            ),
            begin=self._claims.begin,
            end=self._claims.end,
            stopped=self._stopped,
            deadline=lambda: self._until,
            told=self._told,
            round=this.number,
            stop=self.stop,
            news=self.news,
        )
        by_id = {pending.call.id: pending for pending in this.calls}
        for result in execution.results(this.calls):
            if result is None:
                yield _NOTHING
            elif result.preliminary:
                yield Chunk("tool_result", round=this.number, tool_result=result)
            elif not by_id[result.call_id].told:
                if plan.raises and result.error in _RAISED:
                    _raise(by_id[result.call_id])
                by_id[result.call_id].told = True
                yield Chunk("tool_result", round=this.number, tool_result=result)
        self._execution = None

    def _asks(self, pending: PendingCall) -> bool:
        """Return whether a call may not run without a decision.

        Raises:
            ToolError: ``needs_approval`` failed.
        """
        tool, bound = pending.tool, pending.bound
        assert tool is not None
        assert bound is not None
        if tool.function is None or pending.asks:
            return True
        if not callable(tool.needs_approval):
            return tool.needs_approval
        try:
            return bool(tool.needs_approval(**tool.with_defaults(bound.arguments)))
        except Exception as error:
            raise ToolError(
                f"needs_approval of the tool {tool.name!r} failed: {_kind(error)}; it was not called",
                call=pending.call,
            ) from error

    def _decide(self, pending: PendingCall, index: int, round: int) -> Iterator[Chunk]:
        """Ask ``approve=``, and the body of the loop where that leaves it open."""
        pending.asks = True
        pending.state = "waiting"
        decision = self._asked(pending)
        if decision is not None:
            self.decide(pending, decision)
        elif not self._stopped():
            yield pending.approval_chunk(index, round)

    def _asked(self, pending: PendingCall) -> Decision | None:
        approve = self._plan.approve
        value = approve
        if callable(approve):
            try:
                value = approve(pending.call)
            except Exception as error:
                text = f"approve= failed for the tool {pending.call.name!r}: {_kind(error)}; it was not called"
                raise ToolError(text, call=pending.call) from error
        decision = decision_of(value, "what approve= returned" if callable(approve) else "approve=")
        assert pending.tool is not None
        if isinstance(decision, Approved) and pending.tool.function is None:
            return None  # it may be carried out, and somebody else has to
        return decision

    def open_call(self, call_id: str) -> PendingCall:
        """Return the call that waits for a decision in the body of the loop.

        Raises:
            MisuseError: there is none of this id.
        """
        asking = self.status == "open" and self._execution is None and not self._at_end
        calls = self._rounds[-1].calls if self._rounds and asking else ()
        waiting = {pending.call.id: pending for pending in calls if pending.waits}
        if not isinstance(call_id, str):
            raise MisuseError(f"a call is named by its id: chunk.tool_call.id, not {type(call_id).__name__}")
        if call_id in waiting:
            return waiting[call_id]
        known = f"; waiting are: {', '.join(waiting)}" if waiting else "; decide when its tool_approval chunk comes"
        raise MisuseError(f"no call {call_id!r} waits for a decision here{known}")

    def decide(self, pending: PendingCall, decision: Decision) -> None:
        """Take a decision on a call, and keep it.

        Raises:
            ConfigError: the decision does not fit the call.
            StoreConflictError: somebody else has decided on it.
        """
        pending.decide(decision, self._plan.media)
        self._claims.move(pending, "approved" if pending.result is None else "done")

    # -- suspending and going on -------------------------------------------------------------------------

    def _before(self, this: Round) -> list[Message]:
        """Return the run's own messages before a round."""
        kept = list(self._earlier)
        for each in self._rounds:
            if each is not this:
                kept += each.messages("")
        return kept

    def _suspended_now(self) -> Suspension:
        this = self._rounds[-1]
        own = [*self._before(this), this.message]
        return Suspension(
            uuid.uuid4().hex if self._suspended is not None or not self._id else self._id,
            self._plan.model,
            messages_of((*self._base, *own)),
            tuple(pending.result for pending in this.calls if pending.result is not None),
            tuple(pending.call for pending in this.calls if pending.result is None),
            this.number,
            len(own),
            self._spent,
            self._plan.params,
        )

    def _go_on_from(self, suspension: Suspension, calls: tuple[PendingCall, ...]) -> None:
        """Take up the round in which a run was suspended."""
        own = len(suspension.messages) - suspension.added
        messages = [Message.from_dict(shape) for shape in suspension.messages[own:]]
        self._base = suspension.messages[:own]
        self._earlier = messages[:-1]
        self._spent = suspension.spent
        self._used = _ids_in(suspension.messages)
        last = messages[-1]
        reply = Completion(
            last.content if isinstance(last.content, str) else "",
            tool_calls=last.tool_calls,
            finish_reason="tool_calls",
            provider=self._plan.provider,
            provider_data=last.provider_data,
        )
        self._rounds = (Round(suspension.round, None, reply, calls),)

    # -- ending ------------------------------------------------------------------------------------------

    def _halt(self) -> None:
        """Let nothing new begin, and wake the consumer."""
        self.halted = True
        self.news.set()

    def cancel(self) -> None:
        """Cancel the run: the stream that is open, the functions' stop event, all that has not begun.

        Threads: any, any number of times; never waits, but for the observers, which are called here.
        """
        if self.inherited:
            return
        if self.status != "open":
            self._conclude()
        elif self._at_end is not None:
            self.settle(self._at_end)  # only the end was not taken yet
        else:
            self._halt()
            self.stop.halt()
            if (stream := self.stream) is not None:
                stream.cancel()  # so that its observers hear of its end before that of the run
            self.settle("cancelled")
            self.stop.set()

    def _cancel_from_plain(self) -> None:
        """Cancel in a thread of its own: the one that watches plain events is everybody's, and may call no observer."""
        self.stop.halt()
        with suppress(RuntimeError):  # out of threads; the consumer sees the event, and cancels itself
            threading.Thread(target=self.cancel, name=f"streamkit-cancel-{self.number}", daemon=True).start()

    def drop(self) -> None:
        """Cancel the run, as its last reference has gone; see ``Delivery.drop``."""
        if self._observers and isinstance(threading.current_thread(), OwnThread):
            self._halt()
            OwnThread(self.cancel, (), f"streamkit-run-{self.number}-dropped").start()
        else:
            self.cancel()

    def _conclude(self) -> None:
        if self._end is not None and not self._concluded:
            self._told.end_all()
        super()._conclude()

    def _settled(self) -> None:
        self._ended_at = time.monotonic()
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._claims.run_ended(self.status)

    # -- several at once ---------------------------------------------------------------------------------

    def next_check(self) -> float:
        """Return when to look again although the listeners were not called."""
        stream, execution = self.stream, self._execution
        if execution is not None:
            return execution.next_check
        return math.inf if stream is None else stream.next_check()

    def listen(self, listener: Callable[[], object]) -> None:
        """Call the listener whenever there may be something to take."""
        self.news.listeners.append(listener)
        if self.stream is not None:
            self.stream.listen(listener)

    def unlisten(self, listener: Callable[[], object]) -> None:
        """Stop calling the listener."""
        if listener in self.news.listeners:
            self.news.listeners.remove(listener)
        for each in self._rounds:
            if each.stream is not None:
                each.stream.unlisten(listener)


def _ids_in(messages: Sequence[Any]) -> set[str]:
    """Return the ids of all calls in a conversation; what is wrong in it is for the request to refuse."""
    found = set()
    for message in messages:
        calls = message.get("tool_calls") if isinstance(message, Mapping) else getattr(message, "tool_calls", ())
        for call in calls if isinstance(calls, (list, tuple)) else ():
            id = call.get("id") if isinstance(call, Mapping) else getattr(call, "id", None)
            if isinstance(id, str):
                found.add(id)
    return found


def _message_of(value: Any) -> Any:
    """Return a message for the program's functions; one in a shape that ``Message`` has no field for stays a dict."""
    if not isinstance(value, Mapping):
        return value
    try:
        return Message.from_dict(value)
    except StreamkitError:
        return value


def _kind(error: Exception) -> str:
    """Return what went wrong; with the text where it is about the call of the program's function, not about values."""
    return f"TypeError: {error}" if type(error) is TypeError else type(error).__name__


def _raise(pending: PendingCall) -> None:
    result = pending.result
    assert result is not None
    what = {"exception": "failed", "invalid arguments": "got wrong arguments"}.get(result.error or "", "was not called")
    raise ToolError(
        f"the tool {pending.call.name!r} {what}"
        + (f": {type(pending.exception).__name__}" if result.error == "exception" else f" ({result.error})"),
        call=pending.call,
    ) from pending.exception


def _usage_of(rounds: Sequence[Round]) -> Usage:
    """Return the usage of some rounds; the cost too where they differ in who answered, or in who says what it was."""
    replies = [each.completion for each in rounds]
    usage = summed(reply.usage for reply in replies)
    replies = [reply for reply in replies if reply.usage != Usage()]
    if len({(reply.provider, reply.model, reply.usage.cost is None) for reply in replies}) < 2:
        return usage
    known = [cost for reply in replies if (cost := reply.cost) is not None]
    return attrs.evolve(usage, cost=sum(known) if len(known) == len(replies) else None)
