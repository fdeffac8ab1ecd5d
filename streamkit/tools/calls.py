"""One call of a tool on its way: read, decided, run, answered."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import attrs

from streamkit.errors import ConfigError
from streamkit.tools.arguments import Bound, InvalidArgumentsError
from streamkit.tools.claims import Claim, ClaimState
from streamkit.tools.decisions import Answered, Approved, Decision, Rejected
from streamkit.tools.results import Content, Media, ResultError, content_of, json_types_of, message_of
from streamkit.tools.tool import Tool
from streamkit.values.chunks import CallState, Chunk, ToolCallDelta, ToolResult
from streamkit.values.messages import Message, ToolCall

__all__ = ["PendingCall", "acceptable", "digest_of", "failure_text", "free_id", "planned"]

_LONGEST_ERROR = 2000  # characters of an exception's text, for the model
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}\Z")

# What the model is told of a call that has no result, by how far it came.
_UNANSWERED: dict[CallState, str] = {
    "not begun": "Cancelled before the call began: the function was not called.",
    "waiting": "Not approved: nobody has decided on this call, and the function was not called.",
    "running": "Cancelled while the function was running. It may have taken effect.",
    "unknown": "The program ended while the function was running. It is unknown whether it took effect.",
    "finished": "Cancelled after the function had run. Its result was not kept.",
}
_NOT_CALLED = ("invalid arguments", "unknown tool", "cut off", "not approved")
_ERROR_WORDS: dict[CallState, str] = {
    "not begun": "cancelled",
    "waiting": "not approved",
    "running": "cancelled",
    "unknown": "unknown",
    "finished": "cancelled",
}


@attrs.define(eq=False)
class PendingCall:
    """One call of a round.

    Owner of the fields: the consumer's thread writes them, and the thread that runs the function ``state``, ``result``,
    ``message`` and ``exception``, before it says that it has ended. Any thread may read them, each by a single read.

    Attributes:
        call: as it is kept in the history.
        tool: ``None`` for an unknown one.
        bound: what to call the function with; ``None`` where the arguments are wrong.
        decision: what was decided, ``None`` so far.
        asks: whether it may not run without a decision.
        state: how far it has come.
        result: for the program; ``None`` until there is one.
        message: the same for the model.
        exception: what the function raised, or what was wrong with the arguments.
        edited: the arguments in place of the model's, as JSON text; "" for none.
        told: whether the program has its result.
        claimed: its state in ``claims=``.
        claim_id: what it is called there: the id of a call that a suspension has kept. Any other call is known by its
            round, tool and arguments, so that it is found again when the round is asked for again after a crash.
    """

    call: ToolCall
    tool: Tool | None = None
    bound: Bound | None = None
    decision: Decision | None = None
    asks: bool = False
    state: CallState = "not begun"
    result: ToolResult | None = None
    message: Message | None = None
    exception: BaseException | None = None
    edited: str = ""
    told: bool = False
    claimed: ClaimState = "waiting"
    claim_id: str = ""

    @property
    def runs(self) -> bool:
        """Whether its function may be called now."""
        return self.result is None and self.bound is not None and (not self.asks or self.decision is not None)

    @property
    def waits(self) -> bool:
        """Whether it waits for a decision, or for somebody else to carry it out."""
        return self.result is None and not self.runs and self.state == "waiting"

    def read(self) -> None:
        """Read the arguments; where they are wrong, answer the call with what is wrong."""
        assert self.tool is not None
        try:
            self.bound = self.tool.bind(self.call.raw_arguments)
        except InvalidArgumentsError as error:
            self.exception = error
            self.answer(Content(f"Invalid arguments, the function was not called. {error}"), error="invalid arguments")

    def decide(self, decision: Decision, media: Media) -> None:
        """Take a decision.

        Raises:
            ConfigError: the arguments of an ``Approved`` are wrong, an ``Approved`` has nothing to run, or the result
                of an ``Answered`` cannot be sent.
        """
        if isinstance(decision, Rejected):
            why = f": {decision.reason}" if decision.reason else ""
            self.answer(Content(f"Not approved{why}. The function was not called."), error="not approved")
        elif isinstance(decision, Answered):
            try:
                self.answer(content_of(decision.result, media), value=decision.result)
            except ResultError as error:
                raise ConfigError(f"Answered(...) for the call {self.call.id!r}: {error}") from None
        else:
            self._approve(decision)
        self.decision = decision
        if self.result is None:
            self.state = "not begun"

    def _approve(self, decision: Approved) -> None:
        if self.tool is None or self.tool.function is None:
            raise ConfigError(
                f"the tool {self.call.name!r} has no function to run here: decide with Answered(result) or Rejected()"
            )
        if decision.arguments is None:
            return
        try:
            text = json.dumps(dict(decision.arguments), ensure_ascii=False, default=json_types_of)
            bound = self.tool.bind(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"Approved(arguments=...) for the call {self.call.id!r}: {error}") from None
        self.bound, self.edited = bound, text

    def answer(
        self,
        content: Content,
        *,
        error: str | None = None,
        seconds: float = 0.0,
        state: CallState | None = None,
        value: Any = None,
    ) -> None:
        """Set the result; the state comes last, as others read it first.

        Args:
            content: what the model is told.
            error: what went wrong, in a word or two; ``None`` for a result.
            seconds: how long the function ran.
            state: how far the call has come; by default as the error says.
            value: what the function returned.
        """
        if state is None:
            state = "not begun" if error in _NOT_CALLED else "finished"
        self.restore(
            ToolResult(
                self.call.id,
                self.call.name,
                content.text,
                error,
                seconds,
                False,
                state,
                value,
                content.parts,
                self.edited,
            )
        )

    def take_up(self, claim: Claim, decision: Decision | None, media: Media) -> bool:
        """Go on from what ``claims=`` has kept of the call, and take a decision; return whether its state changes.

        A function that was running when its process ended may have taken effect. Only that of an idempotent tool may be
        called again, and only by a decision of now, where it takes one: a person may have changed the arguments before.

        Raises:
            ConfigError: the decision does not fit the call.
        """
        self.claimed = claim.state
        if claim.state == "done" and claim.result is not None:
            self.restore(attrs.evolve(claim.result, call_id=self.call.id))
            return False
        if claim.state in ("running", "done") and not isinstance(decision, Answered):
            again = claim.state == "running" and self.bound is not None and self.tool is not None
            if not (again and self.tool is not None and self.tool.idempotent) or isinstance(decision, Rejected):
                self.answer(Content(_UNANSWERED["unknown"]), error="unknown", state="unknown")
                return True
        if decision is None or (self.result is not None and not isinstance(decision, Answered)):
            return False
        self.decide(decision, media)
        return self.result is not None or claim.state == "waiting"

    def restore(self, result: ToolResult) -> None:
        """Take a result, such as one that a suspension or a ``Claims`` has kept."""
        self.message = message_of(result)
        self.result = result
        self.state = result.state

    def so_far(self, unanswered: str = "") -> ToolResult:
        """Return the result, or one that says how far the call came.

        Args:
            unanswered: what to say of a call that was not begun, if it is not that it was cancelled.
        """
        result, state = self.result, self.state
        if result is not None:
            return result
        if unanswered and state == "not begun":
            return ToolResult(self.call.id, self.call.name, unanswered, "limit reached", state=state)
        return ToolResult(self.call.id, self.call.name, _UNANSWERED[state], _ERROR_WORDS[state], state=state)

    def message_so_far(self, unanswered: str = "") -> Message:
        """Return the message with the result, for a history that providers accept at any time."""
        return self.message or message_of(self.so_far(unanswered))

    def approval_chunk(self, index: int, round: int) -> Chunk:
        """Return the chunk that asks for a decision.

        Args:
            index: of the call in its reply.
            round: of the reply.
        """
        delta = ToolCallDelta(index, self.call.id, self.call.name, self.call.raw_arguments)
        return Chunk("tool_approval", tool_call=delta, round=round)


def planned(call: ToolCall, tools: Mapping[str, Tool], *, name: str, cut: bool) -> PendingCall:
    """Return a call with its tool and its arguments, answered already where it cannot be made.

    Args:
        call: as it is kept in the history.
        tools: by name.
        name: of the tool, as the model wrote it. A name that is only alike is unknown, and not guessed at.
        cut: whether the reply ended at its limit of tokens, so that the last call may be cut off.
    """
    tool = tools.get(name)
    pending = PendingCall(call, tool)
    if tool is None:
        known = f"the tools are: {', '.join(sorted(tools))}" if tools else "there are no tools"
        pending.answer(Content(f"There is no tool {name!r:.100}; {known}."), error="unknown tool")
        return pending
    pending.read()
    wrong = pending.exception
    if cut and isinstance(wrong, InvalidArgumentsError) and wrong.kind == "invalid_json":
        text = "The arguments were cut off at the reply's limit of tokens; the function was not called."
        pending.answer(Content(text), error="cut off")
    return pending


def acceptable(calls: tuple[ToolCall, ...], used: set[str]) -> tuple[ToolCall, ...]:
    """Return calls that every provider takes back: each with an id of its own, and a name of a tool's form.

    Some servers send no ids, or the same ids in each reply; some models make up names.

    Args:
        calls: of one reply.
        used: the ids of earlier ones; those of these are added.
    """
    kept = []
    for call in calls:
        id = free_id(call.id, used)
        name = call.name if _NAME.match(call.name) else re.sub(r"[^a-zA-Z0-9_-]|^(?=[0-9-])", "_", call.name)[:64]
        name = name or "unnamed"
        kept.append(call if (id, name) == (call.id, call.name) else attrs.evolve(call, id=id, name=name))
    return tuple(kept)


def free_id(id: str, used: set[str]) -> str:
    """Return an id for a call, its own unless that is used already; it is added to the used ones."""
    free, number = id, 2
    while not free or free in used:
        free = f"{id[:30] or 'call'}_{number}"
        number += 1
    used.add(free)
    return free


def digest_of(call: ToolCall) -> str:
    """Return a short text that is the same for calls of one tool with equal arguments."""
    try:
        arguments = json.dumps(call.arguments, sort_keys=True) if call.arguments is not None else call.raw_arguments
    except (TypeError, ValueError, RecursionError):
        arguments = call.raw_arguments
    return hashlib.sha256(f"{call.name}\0{arguments}".encode("utf-8", "replace")).hexdigest()[:16]


def failure_text(error: BaseException) -> str:
    """Return what the model is told of a function that failed: what was raised, without a traceback."""
    try:
        text = str(error)
    except Exception:  # of the program's class
        text = ""
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"The function failed: {what[:_LONGEST_ERROR]}"
