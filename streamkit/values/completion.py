"""The whole reply, ``Completion``, and the fold that builds it from chunks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import attrs

from streamkit.values.attribute_hints import no_attribute
from streamkit.values.chunks import Chunk, FinishReason, ToolResult, Usage, summed
from streamkit.values.messages import Message, ToolCall
from streamkit.values.plain import Plain, refused
from streamkit.values.showing import html_of

__all__ = ["Choice", "Completion", "CostOf", "Fold", "Parse", "changed", "fold", "parse_by", "price_by"]

#: Takes a provider's name, a model and a usage; returns USD by list prices, ``None`` if unknown.
CostOf = Callable[[str, str, Usage], "float | None"]
#: Takes a reply; returns the instance of the type that was asked for, or raises ``InvalidOutputError``.
Parse = Callable[["Completion"], Any]
_cost_of: CostOf | None = None  # set once, when the package is imported

_TAG = re.compile(r"<(?=[A-Za-z/!?])")  # where HTML begins in Markdown

_CHOICE_HINTS = {
    "message": "the text is choice.text, and the calls of tools are choice.tool_calls",
    "delta": "the text is choice.text, and the calls of tools are choice.tool_calls",
    "content": "the text is choice.text",
    "stop_reason": "it is choice.finish_reason here",
}
_COMPLETION_HINTS = {
    "content": "the text is completion.text, and the calls of tools are completion.tool_calls",
    "output": "the text is completion.text, and the calls of tools are completion.tool_calls",
    "output_text": "it is completion.text here",
    "output_parsed": "it is completion.parsed here",
    "delta": "the text is completion.text",
    "candidates": "they are completion.choices here",
    "stop_reason": "it is completion.finish_reason here",
    "done_reason": "it is completion.finish_reason here",
    "reasoning_content": "it is completion.reasoning here",
    "thinking": "it is completion.reasoning here",
    "usage_metadata": "it is completion.usage here",
    "response_cost": "it is completion.cost here",
    "model_dump": "it is completion.to_dict() here",
    "dict": "it is completion.to_dict() here",
}


def price_by(cost_of: CostOf) -> None:
    """Have ``Completion.cost`` ask this function where the provider reported no cost."""
    global _cost_of
    _cost_of = cost_of


_BY_REASON: Any = None  # means "by the finish reason"; a default that depends on another field is set after __init__
_NOT_WHOLE: tuple[FinishReason | None, ...] = (None, "cancelled", "error")


@attrs.frozen
class Choice(Plain):
    """One of several replies to one request; see ``Completion`` for the fields."""

    index: int = 0
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    raw_finish_reason: str | None = None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            raise no_attribute(self, name, _CHOICE_HINTS)


class _Parsing:
    """How a reply is parsed, and what came of it. Completions that differ in their usage alone share one."""

    __slots__ = ("parse", "parsed")

    def __init__(self, parse: Parse) -> None:
        self.parse = parse
        self.parsed: tuple[Any] | None = None

    def value(self, completion: Completion) -> Any:
        if self.parsed is None:
            self.parsed = (self.parse(completion),)
        return self.parsed[0]


class _Typed(Plain):
    """A place beside the fields: it is neither compared, hashed, shown nor written. Empty where no type was asked."""

    __slots__ = ("_parsing",)

    _parsing: _Parsing


@attrs.frozen
class Completion(_Typed):
    """A reply as a whole, or as much of it as there is; ``str()`` is its text.

    Attributes:
        text: the answer, of choice 0.
        reasoning: the reasoning that was shown.
        refusal: the refusal, where the provider keeps it apart.
        tool_calls: assembled, in order.
        finish_reason: ``stop``, ``length``, ``tool_calls``, ``content_filter``, ``cancelled``, ``error`` or
            ``other``; ``None`` while the reply is under way.
        raw_finish_reason: the provider's own word, or ``None``.
        usage: as the provider counts; all ``None`` where it did not say.
        id: the provider's id of the reply.
        model: the model that answered, by the provider's account.
        provider: the name of the provider.
        choices: all choices in order of their index; the first is what the fields above show.
        provider_data: what the provider wants back with the history; see ``Chunk``.
        complete: whether it is a whole reply: the stream came to its own end, with its ``done`` chunk, and was not
            cancelled. A reply that reached ``max_tokens`` is whole in this sense; ``finish_reason`` is ``length``. By
            default it follows from ``finish_reason``.
        tool_results: of a run with tools: a result for each of the calls, which says how far the call has come.
    """

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    raw_finish_reason: str | None = None
    usage: Usage = attrs.field(factory=Usage)
    id: str = ""
    model: str = ""
    provider: str = ""
    choices: tuple[Choice, ...] = attrs.field(default=(Choice(),), repr=False)
    provider_data: tuple[Mapping[str, Any], ...] = attrs.field(default=(), repr=False, hash=False)
    complete: bool = attrs.field(default=_BY_REASON, repr=False)
    tool_results: tuple[ToolResult, ...] = attrs.field(default=(), repr=False)

    def __attrs_post_init__(self) -> None:
        if self.complete is _BY_REASON:
            object.__setattr__(self, "complete", self.finish_reason not in _NOT_WHOLE)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            raise no_attribute(self, name, _COMPLETION_HINTS)

    def __getstate__(self) -> dict[str, Any]:
        state = {field.name: getattr(self, field.name) for field in attrs.fields(Completion)}
        parsing = getattr(self, "_parsing", None)
        if parsing is not None:
            state["_parsing"] = parsing.parse if _pickles(parsing.parse) else _left_behind
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, _Parsing(value) if name == "_parsing" else value)

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str | None:
        """Return what a notebook shows: the text, or the refusal; the ``repr`` if there is neither."""
        text = self.text or self.refusal
        return _TAG.sub("&lt;", text) or None  # no HTML of a reply is HTML, whoever renders it

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the text, the calls, the figures."""
        return html_of(self)

    @property
    def cost(self) -> float | None:
        """What the reply cost in USD, ``None`` if nobody knows; ``cost_source`` says who does."""
        if self.usage.cost is not None:
            return self.usage.cost
        return None if _cost_of is None else _cost_of(self.provider, self.model, self.usage)

    @property
    def cost_source(self) -> Literal["provider", "prices"] | None:
        """Who knows the cost: the ``provider``, which reported it, or list ``prices``, by which it is an estimate."""
        if self.usage.cost is not None:
            return "provider"
        return None if self.cost is None else "prices"

    @property
    def parsed(self) -> Any:
        """The instance of the type that ``response_format`` asked for; ``None`` where none was asked for.

        It is made at the first look, and kept. A pickled completion still makes it if its type can be pickled.

        Raises:
            InvalidOutputError: the reply does not fit the type, is a refusal, was cut off, or is not whole yet.
        """
        parsing = getattr(self, "_parsing", None)
        return None if parsing is None else parsing.value(self)

    @property
    def message(self) -> Message:
        """The reply as a message, for the history of a conversation; a refusal is its content where there is no text.

        Not as a field of its own, for which most servers have no word.
        """
        content = self.text or self.refusal or (None if self.tool_calls else "")
        return Message("assistant", content, tool_calls=self.tool_calls, provider_data=self.provider_data)


def parse_by(completion: Completion, parse: Parse | None) -> Completion:
    """Have ``completion.parsed`` ask this function, and return the completion."""
    if parse is not None:
        object.__setattr__(completion, "_parsing", _Parsing(parse))
    return completion


def changed(completion: Completion, **fields: Any) -> Completion:
    """Return a completion with other fields, as ``attrs.evolve`` does, and with what was asked for."""
    new = attrs.evolve(completion, **fields)
    parsing = getattr(completion, "_parsing", None)
    if parsing is not None:
        same = fields.keys() <= {"usage", "provider", "tool_results"}
        object.__setattr__(new, "_parsing", parsing if same else _Parsing(parsing.parse))
    return new


def _pickles(parse: Parse) -> bool:
    import pickle  # few programs need it

    try:
        pickle.dumps(parse)
    except Exception:  # any class may raise any error of its own
        return False
    return True


def _left_behind(completion: Completion) -> Any:
    raise refused(
        "the type of this reply cannot be pickled, as it is not at the top of a module; "
        "look at completion.parsed before the completion is pickled or copied"
    )


_MANY_PIECES = 4096


class _Pieces:
    """A text in pieces, each under the number of the chunk that brought it: putting one again changes nothing."""

    __slots__ = ("_whole",)

    def __init__(self) -> None:
        self._whole: tuple[str, dict[int, str]] = ("", {})  # joined already, and the rest by number

    @property
    def rest(self) -> dict[int, str]:
        """The pieces that are not joined yet."""
        return self._whole[1]

    def join(self) -> None:
        """Join the pieces, so that looking often stays cheap; none of their numbers may be put again."""
        if len(self._whole[1]) > 1:
            self._whole = str(self), {}

    def __str__(self) -> str:
        head, rest = self._whole
        return head + "".join(rest.values()) if rest else head


class _ToolCallParts:
    """The pieces of one tool call so far."""

    __slots__ = ("_known", "arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments = _Pieces()
        self._known: ToolCall | None = None  # as it was when last looked at

    def whole(self) -> ToolCall:
        # Arguments that did not grow are not decoded again: looking often stays cheap.
        text, known = str(self.arguments), self._known
        if known is None or (known.id, known.name) != (self.id, self.name) or known.raw_arguments != text:
            known = self._known = ToolCall.of(self.id, self.name, text)
        return known


class _ChoiceParts:
    """The pieces of one choice so far."""

    __slots__ = ("finish_reason", "raw_finish_reason", "reasoning", "refusal", "text", "tool_calls")

    def __init__(self) -> None:
        self.text = _Pieces()
        self.reasoning = _Pieces()
        self.refusal = _Pieces()
        self.tool_calls: dict[int, _ToolCallParts] = {}
        self.finish_reason: FinishReason | None = None
        self.raw_finish_reason: str | None = None

    def add(self, chunk: Chunk, number: int) -> None:
        if chunk.text:
            self.text.rest[number] = chunk.text
        elif chunk.reasoning:
            self.reasoning.rest[number] = chunk.reasoning
        elif chunk.refusal:
            self.refusal.rest[number] = chunk.refusal
        elif chunk.tool_call is not None and chunk.type == "tool_call":
            call = self.tool_calls.setdefault(chunk.tool_call.index, _ToolCallParts())
            call.id = call.id or chunk.tool_call.id
            call.name = call.name or chunk.tool_call.name
            call.arguments.rest[number] = chunk.tool_call.arguments
        if chunk.finish_reason is not None:
            self.finish_reason = chunk.finish_reason
            self.raw_finish_reason = chunk.raw_finish_reason

    def join(self) -> None:
        for pieces in (self.text, self.reasoning, self.refusal, *(call.arguments for call in self.tool_calls.values())):
            pieces.join()

    def whole(self, index: int, interrupted: FinishReason | None) -> Choice:
        return Choice(
            index,
            str(self.text),
            str(self.reasoning),
            str(self.refusal),
            tuple(self.tool_calls[key].whole() for key in sorted(self.tool_calls)),
            interrupted or self.finish_reason,
            self.raw_finish_reason,
        )


class Fold:
    """The one place where chunks become a ``Completion``.

    Each chunk has a number, and adding it again under that number changes nothing. So an interrupt, such as Ctrl-C in
    the middle of ``add``, loses nothing and doubles nothing: add the same chunks once more.

    Args:
        provider: the name of the provider.
        model: the model that was asked.
        parse: for ``Completion.parsed``; ``None`` where no type was asked for.

    Not locked: who shares one between threads holds a lock around it. A signal handler may look, or add the same
    chunks, while its thread is adding.

    Attributes:
        count: chunks added so far, without those of an ``add`` that was interrupted.
    """

    def __init__(self, provider: str = "", model: str = "", parse: Parse | None = None) -> None:
        self.count = 0
        self._parse = parse
        # The last completion with a type, and what it was made of: what was parsed is not parsed again.
        self._last: tuple[int, FinishReason | None, Completion] | None = None
        self._provider = provider
        self._id = ""
        self._model = model
        self._usage: Usage | None = None
        self._provider_data: dict[int, tuple[Mapping[str, Any], ...]] = {}
        self._identified = False
        self._done = False
        self._adding = False  # numbers below ``count`` may be put again by an ``add`` that a handler interrupted
        self._round = 0
        self._earlier: Usage | None = None  # of the rounds of a run before this one
        self._results: dict[str, ToolResult] = {}
        self._choices: dict[int, _ChoiceParts] = {0: _ChoiceParts()}

    def asked(self, provider: str, model: str) -> None:
        """Name another provider and model, before the first chunk."""
        self._provider, self._model = provider, model

    def add(self, chunks: Iterable[Chunk], number: int | None = None) -> None:
        """Take in further chunks, in order.

        Args:
            number: of the first of them; ``count`` for ``None``.
        """
        if number is None:
            number = self.count
        adding, self._adding = self._adding, True
        try:
            if number < self.count:  # a handler has added some of them by now, and joined their texts
                chunks, number = list(chunks)[self.count - number :], self.count
            texts, round = self._choices[0].text.rest, self._round
            for chunk in chunks:
                # The hot path first: a piece of the answer of the only choice. Without text it may tell of an end.
                if (
                    chunk.text
                    and not chunk.index
                    and chunk.usage is None
                    and not chunk.provider_data
                    and self._identified
                    and chunk.round == round
                ):
                    texts[number] = chunk.text
                else:
                    self._add_any(chunk, number)
                    texts, round = self._choices[0].text.rest, self._round
                number += 1
            self.count = max(number, self.count)
        finally:
            self._adding = adding
        if not adding and len(texts) > _MANY_PIECES:
            self._choices[0].text.join()

    def _add_any(self, chunk: Chunk, number: int) -> None:
        if chunk.round != self._round:
            if chunk.round < self._round:
                return  # added before an interrupt, and again
            self._begin_round(chunk.round)
        self._id = chunk.id or self._id
        self._model = chunk.model or self._model
        self._identified = bool(self._id)
        if chunk.usage is not None:
            self._usage = chunk.usage
            if chunk.finished:
                self._earlier = None  # the last chunk of a run has the usage of all rounds
        if chunk.provider_data:
            self._provider_data[number] = tuple(chunk.provider_data)
        choice = self._choices.get(chunk.index)
        if choice is None:
            choice = self._choices[chunk.index] = _ChoiceParts()
        choice.add(chunk, number)
        if chunk.tool_result is not None and not chunk.tool_result.preliminary:
            self._results[chunk.tool_result.call_id] = chunk.tool_result
        self._done = self._done or chunk.finished

    def _begin_round(self, round: int) -> None:
        """Begin the reply of the next round of a run: the completion of a run is that of its last round."""
        self._earlier = summed(usage for usage in (self._earlier, self._usage) if usage is not None)
        self._usage = None
        self._provider_data = {}
        self._results = {}
        self._choices = {0: _ChoiceParts()}  # in one step, see the class
        self._id, self._identified = "", False
        self._round = round

    def completion(self, interrupted: FinishReason | None = None) -> Completion:
        """Return the reply so far.

        Args:
            interrupted: the finish reason of a reply that did not come to its own end.
        """
        last = self._last
        if last is not None and not self._adding and last[:2] == (self.count, interrupted):
            return last[2]
        if not self._adding:
            for choice in self._choices.values():
                choice.join()
        choices = tuple(self._choices[index].whole(index, interrupted) for index in sorted(self._choices))
        first = choices[0]
        completion = Completion(
            first.text,
            first.reasoning,
            first.refusal,
            first.tool_calls,
            first.finish_reason,
            first.raw_finish_reason,
            summed(usage for usage in (self._earlier, self._usage) if usage is not None),
            self._id,
            self._model,
            self._provider,
            choices,
            tuple(chain.from_iterable(self._provider_data.values())),
            self._done and interrupted is None and first.finish_reason not in ("cancelled", "error"),
            tuple(self._results.values()),
        )
        if self._parse is not None:
            parse_by(completion, self._parse)
            self._last = None if self._adding else (self.count, interrupted, completion)
        return completion


def fold(chunks: Iterable[Chunk], *, provider: str = "", model: str = "") -> Completion:
    """Return the completion that the chunks add up to."""
    folded = Fold(provider, model)
    folded.add(chunks)
    return folded.completion()
