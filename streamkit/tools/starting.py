"""Start runs with tools, and go on with suspended ones: what ``Client.run`` and ``Client.resume`` do."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from streamkit.concurrency.stop import StopEvent
from streamkit.errors import ConfigError, MisuseError, StoreConflictError
from streamkit.observing.observers import Observer
from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Provider, result_media_of
from streamkit.settings import shown
from streamkit.streaming.stream import Stream
from streamkit.tools.calls import PendingCall, planned
from streamkit.tools.claims import Claim, Claims, ClaimState, MemoryClaims
from streamkit.tools.decisions import Answered, Decision, Rejected, decision_of
from streamkit.tools.limits import RunLimits
from streamkit.tools.loop import Loop
from streamkit.tools.output import output_of
from streamkit.tools.plan import Plan
from streamkit.tools.results import Media
from streamkit.tools.run import Run
from streamkit.tools.suspension import Suspension, kept_parameters
from streamkit.tools.tool import Tool, tools_of
from streamkit.values.messages import Message
from streamkit.wire.secrets import Unshown

__all__ = ["Asked", "StreamOf", "declared", "resume_run", "start_run"]

_WAITING = Claim("waiting")
_in_this_process = MemoryClaims()  # where resume() has no claims=


class StreamOf(Protocol):
    """Starts a stream as ``Client.stream`` does."""

    def __call__(
        self, messages: Sequence[Any], params: Mapping[str, Any], *, stop: StopEvent, part_of: tuple[int, int]
    ) -> Stream:
        """Start it.

        Args:
            messages: the conversation.
            params: parameters of the request.
            stop: cancels the stream.
            part_of: the numbers of its run and of its round.
        """


@attrs.frozen(kw_only=True)
class Asked:
    """The arguments of ``Client.run`` and ``Client.resume`` that are the run's own."""

    approve: Any
    parallel: int
    limits: RunLimits | None
    on_error: str
    context: Any
    claims: Claims | None

    def check(self) -> None:
        """Raise a ConfigError for a value that cannot be."""
        if self.approve is not None and not callable(self.approve):
            decision_of(self.approve, "approve=")
        if isinstance(self.parallel, bool) or not isinstance(self.parallel, int) or self.parallel < 1:
            raise ConfigError(f"parallel is how many functions run at once, from 1, not {shown(self.parallel)}")
        if self.limits is not None and not isinstance(self.limits, RunLimits):
            raise ConfigError(f"limits is a RunLimits(...), not {shown(self.limits)}")
        if self.on_error not in ("tell", "raise"):
            raise ConfigError(f'on_error is "tell", to tell the model, or "raise", not {shown(self.on_error)}')
        if self.claims is not None and not isinstance(self.claims, Claims):
            raise ConfigError(f"claims is a FileClaims(...) or another Claims, not {shown(self.claims)}")


def start_run(
    stream_of: StreamOf,
    provider: Provider,
    name: str,
    model: str,
    messages: Any,
    params: Mapping[str, Any],
    asked: Asked,
    stop: StopEvent | threading.Event | None,
    observers: Sequence[Observer],
) -> Run:
    """Start a run.

    Args:
        stream_of: starts the stream of a round.
        provider: of the model.
        name: of the model, as the provider knows it.
        model: the same, as it was passed.
        messages: the conversation, as it was passed.
        params: parameters of the request; ``tools`` are the tools as they were passed.
        asked: the run's own arguments.
        stop: the user's, or ``None``.
        observers: the client's.

    Raises:
        ConfigError: the call is invalid; nothing was sent.
    """
    given = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    if not isinstance(given, Iterable) or isinstance(given, (Message, Mapping)):
        raise ConfigError(f"messages is a string, or a list of Message or dict, not {type(messages).__name__}")
    plan = _plan(stream_of, provider, name, model, list(given), params, asked, observers)
    id = ""
    if plan.claims is not None:
        id = uuid.uuid4().hex
        plan.claims.hold(id)
    return Run(Loop(plan, stop, id=id), stop)


def resume_run(
    stream_of: StreamOf,
    provider: Provider,
    name: str,
    suspension: Suspension,
    decisions: Mapping[str, Any],
    params: Mapping[str, Any],
    asked: Asked,
    stop: StopEvent | threading.Event | None,
    observers: Sequence[Observer],
) -> Run:
    """Go on with a suspended run.

    Args:
        decisions: by the id of the call; see ``decision_of``.

    The other arguments are those of ``start_run``.

    Raises:
        ConfigError: the call is invalid, or a decision does not fit its call; nothing was done.
        MisuseError: a decision is on a call that does not wait.
        StoreConflictError: somebody else resumes the suspension, or has done so.
    """
    made = _decisions(suspension, decisions)
    params = {**suspension.params, **params}
    plan = _plan(stream_of, provider, name, suspension.model, suspension.messages, params, asked, observers)
    plan = attrs.evolve(plan, claims=plan.claims or _in_this_process)
    assert plan.claims is not None
    _check_tools(suspension, made, plan.tools)
    if not plan.claims.hold(suspension.id):
        raise StoreConflictError(
            f"the suspension {suspension.id} is being resumed already, in this process or in another one; "
            "nothing was done here"
        )
    loop: Loop | None = None
    try:
        calls = _calls(suspension, made, plan)
        loop = Loop(plan, stop, (suspension, calls), suspension.id)
        return Run(loop, stop)
    except BaseException:
        if loop is None:
            plan.claims.release(suspension.id)
        else:
            loop.cancel()  # which releases it
        raise


def _plan(
    stream_of: StreamOf,
    provider: Provider,
    name: str,
    model: str,
    messages: Sequence[Any],
    params: Mapping[str, Any],
    asked: Asked,
    observers: Sequence[Observer],
) -> Plan:
    asked.check()
    if params.get("n") not in (None, 1):
        raise ConfigError("n is 1 in a run: the calls of one reply are made")
    given = params.get("tools")
    if given is None:
        given = []
    elif isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping)):
        given = list(given)  # read twice below
    values = tools_of(given)
    wanted = params.get("response_format")
    output = None if wanted is None else output_of(wanted)
    kept = kept_parameters(params if output is None else {**params, "response_format": output.response_format})
    sent = Unshown(params, tools=_declarations(values, given) or None)

    # A call that is demanded in each round would never end.
    demanded = sent.get("tool_choice") not in (None, "auto", "none")
    later = Unshown(sent, tool_choice=None) if demanded else sent

    def start(messages: Sequence[Any], stop: StopEvent, part_of: tuple[int, int]) -> Stream:
        return stream_of(messages, later if part_of[1] else sent, stop=stop, part_of=part_of)

    return Plan(
        start=start,
        model=model,
        name=name,
        provider=provider.name,
        messages=messages,
        tools={value.name: value for value in values if isinstance(value, Tool)},
        media=Media(result_media_of(provider), lambda parts: _refusal(provider, name, parts)),
        approve=asked.approve,
        parallel=asked.parallel,
        limits=asked.limits or RunLimits(),
        raises=asked.on_error == "raise",
        context=asked.context,
        claims=asked.claims,
        observers=observers,
        params=kept,
        output=output,
    )


def _refusal(provider: Provider, name: str, parts: Sequence[Mapping[str, Any]]) -> str:
    """Return why a provider refuses parts in the result of a tool, "" if it does not: its translation alone knows."""
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": list(parts), "tool_call_id": "call_1"},
    ]
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    try:
        provider.request(ChatRequest(name, messages, {"tools": [tool]}))
    except ConfigError as error:
        return str(error)
    return ""


def declared(given: Iterable[Any]) -> list[Mapping[str, Any]]:
    """Return tools as they are sent: a dict as it was passed, with all its keys, a ``Tool`` as it declares itself.

    Raises:
        ConfigError: one cannot be a tool, or two have one name.
    """
    return _declarations(tools_of(given), given)


def _declarations(values: Sequence[Tool | Mapping[str, Any]], given: Iterable[Any]) -> list[Mapping[str, Any]]:
    return [
        one if isinstance(one, Mapping) else value.declaration if isinstance(value, Tool) else value
        for value, one in zip(values, given, strict=True)
    ]


def _decisions(suspension: object, decisions: object) -> dict[str, Decision]:
    if not isinstance(suspension, Suspension):
        raise ConfigError(
            f"resume() takes run.suspension, or Suspension.from_json(text), not {type(suspension).__name__}"
        )
    if not isinstance(decisions, Mapping):
        raise ConfigError("the decisions are a dict: {call_id: Approved()}")
    waiting = {call.id for call in suspension.waiting}
    made: dict[str, Decision] = {}
    for call_id, value in decisions.items():
        if call_id not in waiting:
            known = ", ".join(sorted(waiting))
            raise MisuseError(f"no call {call_id!r} waits in this suspension; waiting are: {known}")
        decision = decision_of(value, f"the decision on {call_id!r}")
        if decision is not None:
            made[call_id] = decision
    return made


def _check_tools(suspension: Suspension, made: Mapping[str, Decision], tools: Mapping[str, Tool]) -> None:
    for call in suspension.waiting:
        settled = isinstance(made.get(call.id), (Rejected, Answered))
        if call.name not in tools and not settled:
            raise ConfigError(
                f"the call {call.id!r} waits for the tool {call.name!r}, which is not among tools=: "
                "pass the tools of the run again"
            )


def _calls(suspension: Suspension, made: Mapping[str, Decision], plan: Plan) -> tuple[PendingCall, ...]:
    """Return the calls of the round that waited, with what is known of them and what was decided.

    Raises:
        ConfigError: a decision does not fit its call; nothing was written.
        StoreConflictError: the suspension was resumed before.
    """
    claims = plan.claims
    assert claims is not None
    states = claims.read(suspension.id)
    if states.get("", _WAITING).state == "done":
        raise StoreConflictError(
            f"the suspension {suspension.id} was resumed before, and its calls were settled; nothing was done here. "
            "Go on from the run that resumed it: from its suspension, or with its messages"
        )
    done = {result.call_id: result for result in suspension.done}
    calls, changed = [], []
    for call in Message.from_dict(suspension.messages[-1]).tool_calls:
        if call.id in done:
            pending = PendingCall(call, plan.tools.get(call.name), told=True)
            pending.restore(done[call.id])
        else:
            known = call.name in plan.tools
            pending = planned(call, plan.tools, name=call.name, cut=False) if known else PendingCall(call)
            pending.claim_id = call.id
            if pending.result is None:
                pending.asks, pending.state = True, "waiting"
            if pending.take_up(states.get(call.id, _WAITING), made.get(call.id), plan.media):
                changed.append(pending)
        calls.append(pending)
    for pending in changed:  # once it is known that all decisions fit
        state: ClaimState = "approved" if pending.result is None else "done"
        if not claims.move(suspension.id, pending.claim_id, pending.claimed, state, pending.result):
            raise StoreConflictError(
                f"the call {pending.call.id!r} was moved on by somebody else; nothing was done here"
            )
        pending.claimed = state
    return tuple(calls)
