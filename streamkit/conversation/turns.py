"""The values of a conversation: ``Turn``, ``Summary``, ``ConversationState``, and their JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal

import attrs

from streamkit.errors import ConfigError
from streamkit.tools.suspension import Suspension
from streamkit.values.chunks import Chunk, Usage, summed
from streamkit.values.completion import Completion, fold
from streamkit.values.messages import Message

__all__ = [
    "VERSION",
    "ConversationState",
    "Owner",
    "Summary",
    "Turn",
    "TurnState",
    "read_json",
    "with_delivered",
    "written",
]

VERSION = 1
TurnState = Literal["open", "complete", "partial", "suspended", "rolled back"]


@attrs.frozen
class Owner:
    """Who is in the middle of a turn, so that others can tell a crash from a long reply.

    Attributes:
        host: the machine and its boot.
        pid: of the process.
        started: when the process started, as its system counts; "" if unknown.
        token: of the turn, unique.
        until: seconds since 1970, until which another machine takes the owner for alive.
    """

    host: str
    pid: int
    started: str
    token: str
    until: float


@attrs.frozen
class Turn:
    """One turn: what was asked, and what came of it.

    Attributes:
        asked: the user's message.
        answer: the replies and the results of tools; empty unless the turn is complete, partial or suspended.
        state: ``open`` while it is on its way, ``complete``, ``partial`` (it failed or was stopped, and what was
            delivered stays), ``suspended`` (calls wait for decisions), or ``rolled back`` (nothing of it is sent).
        usage: of all its requests.
        cost: in USD, ``None`` if unknown.
        finish_reason: of its last reply.
        model: that was asked.
        error: what went wrong, for people; "" for nothing.
        tokens: of the question and the answer, as the provider counted them; ``None`` where that cannot be told.
        context: tokens of the last request and its reply together, without those of reasoning, as the provider counted
            them; 0 if it did not.
        first_sent: the number of the first turn that was sent with it.
        suspension: of a suspended turn.
        owner: of an open turn.
        id: of the turn, unique in its conversation.
        stream_id: of its last stream: each question, retry and ``resume`` has a stream with an id of its own.
        asked_at: seconds since 1970; 0.0 if unknown.
        time_to_first_chunk: of its first stream, in seconds; ``None`` if unknown.
        reasoning: of each reply of the answer, "" for none; empty where there was none at all.
        calls: of calls by id, where there is more to say than that they ran: ``asked`` (a decision was waited for),
            ``approved``, or in the words of ``ToolResult.error`` what went wrong.
        goes_on: whether its last stream began after a decision, so that the answer had a part before it.
    """

    asked: Message
    answer: tuple[Message, ...] = ()
    state: TurnState = "open"
    usage: Usage = attrs.field(factory=Usage)
    cost: float | None = None
    finish_reason: str | None = None
    model: str = ""
    error: str = ""
    tokens: int | None = None
    context: int = 0
    first_sent: int = 0
    suspension: Suspension | None = attrs.field(default=None, repr=False)
    owner: Owner | None = attrs.field(default=None, repr=False)
    id: str = ""
    stream_id: str = ""
    asked_at: float = 0.0
    time_to_first_chunk: float | None = None
    reasoning: tuple[str, ...] = attrs.field(default=(), repr=False)
    calls: Mapping[str, str] = attrs.field(factory=dict, repr=False, hash=False)
    goes_on: bool = False

    @property
    def counts(self) -> bool:
        """Whether it is a part of the history."""
        return self.state in ("complete", "partial")

    @property
    def messages(self) -> tuple[Message, ...]:
        """Return what it adds to the history."""
        return (self.asked, *self.answer) if self.counts else ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "asked": self.asked.to_dict(),
            "answer": [message.to_dict() for message in self.answer],
            "state": self.state,
            "usage": self.usage.to_dict(),
            "cost": self.cost,
            "finish_reason": self.finish_reason,
            "model": self.model,
            "error": self.error,
            "tokens": self.tokens,
            "context": self.context,
            "first_sent": self.first_sent,
            "suspension": None if self.suspension is None else json.loads(self.suspension.to_json()),
            "owner": None if self.owner is None else attrs.asdict(self.owner),
            "id": self.id,
            "stream_id": self.stream_id,
            "asked_at": self.asked_at,
            "time_to_first_chunk": self.time_to_first_chunk,
            "reasoning": list(self.reasoning),
            "calls": dict(self.calls),
            "goes_on": self.goes_on,
        }

    @classmethod
    def from_dict(cls, shape: Mapping[str, Any]) -> Turn:
        """Read what ``to_dict`` returned.

        Raises:
            ConfigError, ValueError, KeyError, TypeError: it is something else.
        """
        suspension, owner = shape["suspension"], shape["owner"]
        if shape["state"] not in ("open", "complete", "partial", "suspended", "rolled back"):
            raise ValueError(f"there is no state {shape['state']!r}")
        return cls(
            Message.from_dict(shape["asked"]),
            tuple(Message.from_dict(message) for message in shape["answer"]),
            shape["state"],
            Usage.from_dict(shape["usage"]),
            shape["cost"],
            shape["finish_reason"],
            shape["model"],
            shape["error"],
            shape["tokens"],
            shape["context"],
            shape["first_sent"],
            None if suspension is None else Suspension.from_json(json.dumps(suspension)),
            None if owner is None else Owner(**owner),
            # Earlier versions had none of these.
            shape.get("id", ""),
            shape.get("stream_id", ""),
            shape.get("asked_at", 0.0),
            shape.get("time_to_first_chunk"),
            tuple(shape.get("reasoning", ())),
            dict(shape.get("calls", {})),
            shape.get("goes_on", False),
        )


def with_delivered(turn: Turn, delivered: Iterable[Chunk], *, whole: bool) -> Turn:
    """Return a turn that a crash left open, with what is known of its reply.

    Args:
        turn: the turn.
        delivered: the chunks of its reply, in order.
        whole: whether they are all of it.
    """
    answer: list[Message] = []
    reasoning: list[str] = []
    calls: dict[str, str] = {}
    reply = Completion()
    usage = turn.usage
    for _, chunks in groupby(delivered, key=lambda chunk: chunk.round):
        part = list(chunks)
        told = [each.tool_result for each in part if each.tool_result is not None]
        results = {result.call_id: result for result in told if not result.preliminary}
        reply = fold(chunk for chunk in part if chunk.tool_result is None)
        kept = tuple(call for call in reply.tool_calls if call.id in results)
        usage = summed([usage, reply.usage])
        if not kept and not reply.text.strip():
            continue
        if kept and kept == reply.message.tool_calls:
            answer.append(reply.message)
        else:  # what a provider wants back belongs to the whole reply
            answer.append(Message("assistant", reply.text or None, tool_calls=kept))
        reasoning.append(reply.reasoning)
        for call in kept:
            result = results[call.id]
            answer.append(Message("tool", list(result.parts) or result.content, tool_call_id=call.id))
            if result.error is not None:
                calls[call.id] = result.error
    if not answer:
        return turn
    return attrs.evolve(
        turn,
        answer=tuple(answer),
        state="complete" if whole else "partial",
        error="" if whole else turn.error,
        usage=usage,
        finish_reason=reply.finish_reason if whole else "error",
        reasoning=tuple(reasoning) if any(reasoning) else (),
        calls={**turn.calls, **calls},
    )


@attrs.frozen
class Summary:
    """What stands for the turns that a window leaves out.

    Attributes:
        text: the summary.
        turns: how many turns it covers, from the first.
    """

    text: str
    turns: int


@attrs.frozen
class ConversationState:
    """All that is kept of a conversation: no key and no code.

    Attributes:
        id: of the conversation.
        turns: all of them, oldest first. Do not change it.
        model: as it was passed.
        system: the system prompt, a template.
        variables: of the template.
        params: parameters of its requests that hold no key.
        summary: see ``Window``.
        spent: the usage of turns that are gone: undone, repeated or cleared; and of summaries.
        spent_cost: USD for the same.
        owner: whose it is, for programs that have users; "" for nobody's.
        title: for people; "" for none.
        changed_at: seconds since 1970.
        version: grows by one with each save in a store; 0 if it was never saved.
        origin: where its prompt comes from, for the program that keeps it, such as a pack; "" for nowhere.
    """

    id: str
    turns: Sequence[Turn] = attrs.field(repr=False)
    model: str = ""
    system: str = ""
    variables: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    params: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    summary: Summary | None = attrs.field(default=None, repr=False)
    spent: Usage = attrs.field(factory=Usage, repr=False)
    spent_cost: float = 0.0
    owner: str = ""
    title: str = ""
    changed_at: float = 0.0
    version: int = 0
    origin: str = ""

    @property
    def usage(self) -> Usage:
        """The usage of all requests, those of turns that are gone included."""
        return summed([self.spent, *(turn.usage for turn in self.turns)])

    def head(self) -> dict[str, Any]:
        """Return everything but the turns, as JSON types."""
        return {
            "format": VERSION,
            "id": self.id,
            "model": self.model,
            "system": self.system,
            "variables": dict(self.variables),
            "params": dict(self.params),
            "summary": None if self.summary is None else attrs.asdict(self.summary),
            "spent": self.spent.to_dict(),
            "spent_cost": self.spent_cost,
            "owner": self.owner,
            "title": self.title,
            "changed_at": self.changed_at,
            "origin": self.origin,
        }

    def to_json(self) -> str:
        """Return it as JSON text.

        Raises:
            ConfigError: a message, a variable or a parameter cannot be written as JSON.
        """
        return written({**self.head(), "turns": [turn.to_dict() for turn in self.turns]}, self.id)

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str = "this") -> ConversationState:
        """Read what ``to_json`` returned.

        Args:
            text: the JSON.
            where: it came from, for errors.

        Raises:
            ConfigError: it is something else, or of a newer version of streamkit.
        """
        shape = read_json(text, where)
        return cls.of_head(shape, shape.get("turns"), where=where)

    @classmethod
    def of_head(cls, head: Mapping[str, Any], turns: Any, *, where: str, version: int = 0) -> ConversationState:
        """Read what ``head`` returned, with turns as dicts.

        Raises:
            ConfigError: it is something else, or of a newer version of streamkit.
        """
        try:
            if head["format"] <= VERSION:
                return _state_of(head, turns, version)
        except (ConfigError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise ConfigError(f"{where} is no conversation of streamkit: {type(error).__name__}: {error}") from None
        raise ConfigError(
            f"{where} was written by a newer version of streamkit (format {head['format']}, this one reads up to "
            f"{VERSION}); upgrade to read it"
        )


def _state_of(head: Mapping[str, Any], turns: Any, version: int) -> ConversationState:
    summary, cost = head["summary"], float(head["spent_cost"])
    if not math.isfinite(cost) or not isinstance(head["id"], str):
        raise ValueError("a value of a wrong kind")
    return ConversationState(
        head["id"],
        [_with_id(Turn.from_dict(turn), number) for number, turn in enumerate(turns)],
        head["model"],
        head["system"],
        dict(head["variables"]),
        dict(head["params"]),
        None if summary is None else Summary(summary["text"], summary["turns"]),
        Usage.from_dict(head["spent"]),
        cost,
        head["owner"],
        head["title"],
        head["changed_at"],
        version,
        head["origin"],
    )


def _with_id(turn: Turn, number: int) -> Turn:
    """Return a turn with an id, which earlier versions did not keep."""
    return turn if turn.id else attrs.evolve(turn, id=f"turn-{number}")


def written(shape: Mapping[str, Any], id: str) -> str:
    """Return JSON text for a shape.

    Raises:
        ConfigError: it cannot be written as JSON.
    """
    try:
        text = json.dumps(shape, ensure_ascii=False)
        return text if _is_unicode(text) else json.dumps(shape)  # as escapes every text can be written
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"the conversation {id!r} cannot be written as JSON: {error}") from error


def _is_unicode(text: str) -> bool:
    """Return whether a text is without halves of surrogate pairs, which models write at times."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_json(text: str | bytes, where: str) -> dict[str, Any]:
    """Return the object of a JSON text.

    Raises:
        ConfigError: it is none.
    """
    try:
        shape = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is no conversation of streamkit: it is not JSON: {error}") from None
    if not isinstance(shape, dict):
        raise ConfigError(f"{where} is no conversation of streamkit: it is not a JSON object")
    return shape
