"""One increment of a reply: ``Chunk``, and the values that it carries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs

from streamkit.values.attribute_hints import Elsewhere, dir_of, no_attribute
from streamkit.values.growing_text import GrowingText
from streamkit.values.plain import NOT_PLAIN, Plain

__all__ = [
    "CallState",
    "Chunk",
    "ChunkType",
    "FinishReason",
    "ToolCallDelta",
    "ToolResult",
    "Usage",
    "link",
    "link_delta",
    "set_round",
    "summed",
    "text_chunk",
]

ChunkType = Literal["text", "reasoning", "refusal", "tool_call", "tool_approval", "tool_result", "recovered", "done"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "cancelled", "error", "other"]
CallState = Literal["not begun", "waiting", "running", "finished", "unknown"]

_CACHED = "it is usage.cached_tokens, and usage.cache_write_tokens for those written"
_USAGE_HINTS = {
    "prompt_tokens": "it is usage.input_tokens here",
    "prompt_token_count": "it is usage.input_tokens here",
    "input": "it is usage.input_tokens here",
    "completion_tokens": "it is usage.output_tokens here",
    "candidates_token_count": "it is usage.output_tokens here",
    "output": "it is usage.output_tokens here",
    "total_token_count": "it is usage.total_tokens here",
    "prompt_tokens_details": _CACHED,
    "input_tokens_details": _CACHED,
    "cache_read_input_tokens": "it is usage.cached_tokens here",
    "cached_content_token_count": "it is usage.cached_tokens here",
    "cache_creation_input_tokens": "it is usage.cache_write_tokens here",
    "completion_tokens_details": "it is usage.reasoning_tokens here",
    "output_tokens_details": "it is usage.reasoning_tokens here",
    "thoughts_token_count": "it is usage.reasoning_tokens here",
    "model_dump": "it is usage.to_dict() here",
}


@attrs.frozen
class Usage(Plain):
    """The tokens and the cost of a reply, as the provider counts them; ``None`` is unknown, never 0.

    Attributes:
        input_tokens: tokens of the prompt.
        output_tokens: tokens of the reply.
        total_tokens: the total that the provider reports, or else the sum of both if both are known.
        cached_tokens: tokens of the prompt that were read from a cache.
        reasoning_tokens: tokens of the reply that were used for reasoning.
        cost: USD, only if the provider reports it.
        cache_write_tokens: tokens of the prompt that were written to a cache, for providers that charge for it.
        cached_apart: true if ``input_tokens`` excludes the tokens read from and written to a cache, as Anthropic
            counts; false if it includes them, as the others count.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: float | None = None
    cache_write_tokens: int | None = None
    cached_apart: bool = False

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            raise no_attribute(self, name, _USAGE_HINTS)


_NOTHING = Usage()


def summed(usages: Iterable[Usage]) -> Usage:
    """Return the sum of usages; a field that is unknown in all of them stays unknown.

    The cost is unknown where it is in any of them that says anything: a part of it would pass for all.
    """
    total: Usage | None = None
    for usage in usages:
        total = usage if total is None else _added(total, usage)
    return total or Usage()


def _added(one: Usage, other: Usage) -> Usage:
    fields = {}
    for field in attrs.fields(Usage):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name == "cached_apart":
            fields[field.name] = a or b
        elif field.name == "cost" and None in (a, b) and _NOTHING not in (one, other):
            fields[field.name] = None
        else:
            fields[field.name] = b if a is None else a if b is None else a + b
    return Usage(**fields)


class _Linked(Plain):
    """A place beside the fields: it is neither compared, hashed, shown, written nor pickled."""

    __slots__ = ("_so_far",)

    _so_far: tuple[GrowingText, int]


@attrs.frozen
class ToolCallDelta(_Linked):
    """A piece of a tool call.

    Attributes:
        index: the number of the call in the reply, from 0; the same for all pieces of one call.
        id: the provider's id of the call, on the first piece; "" afterwards.
        name: the tool's name, on the first piece; "" afterwards.
        arguments: the next fragment of the JSON text of the arguments.
    """

    index: int = 0
    id: str = ""
    name: str = ""
    arguments: str = ""

    def partial(self) -> Any:
        """Return the value of the call's arguments so far, this piece included: JSON types, ``None`` for nothing.

        A string shows as far as it has come, a number once it cannot grow any more. Text that is no JSON leaves the
        value as it was before it. Nothing here is checked or repaired: it is for showing, not for acting on.

        Looking at each piece, in order, costs the length of the arguments altogether. A piece of a stream knows those
        before it. One that was made by hand, read by ``from_dict`` or unpickled is looked at alone; ``link`` tells it
        the others.

        Returns:
            A value of the caller's own; what is whole inside of it is shared with the values of later pieces.

        Threads: any.
        """
        so_far = getattr(self, "_so_far", None)
        if so_far is None:
            alone = GrowingText()
            so_far = alone, alone.add(self.arguments)
        return so_far[0].value(so_far[1])

    if not TYPE_CHECKING:
        function = Elsewhere("the call has call.name and call.arguments itself")
        input = Elsewhere("it is call.arguments here")
        partial_json = Elsewhere("it is call.arguments here")

        def __dir__(self) -> list[str]:
            return dir_of(self)


@attrs.frozen
class ToolResult(Plain):
    """The result of a tool call, as the model is told it.

    Attributes:
        call_id: the id of the call.
        name: the tool's name.
        content: the text for the model: what the function returned, or what went wrong.
        error: what went wrong, in a word or two, such as ``invalid arguments``; ``None`` for a result.
        seconds: how long the function ran; 0.0 if it did not.
        preliminary: whether it is a report of a function that still runs. The model is not told these.
        state: how far the call has come: ``finished``, ``not begun``, ``waiting`` for a decision, ``running`` (in a
            thread that was left, or that a cancel did not wait for), or ``unknown`` (its process died meanwhile).
        value: what the function returned or reported, as it was; ``None`` where only the text is known.
        parts: the result in OpenAI's shape, where it has an image or a file; ``content`` is its text alone.
        edited: the arguments by which a person replaced the model's, as JSON text; "" for none. The model is told.
    """

    call_id: str
    name: str
    content: str
    error: str | None = None
    seconds: float = 0.0
    preliminary: bool = False
    state: CallState = "finished"
    value: Any = attrs.field(default=None, eq=False, repr=False, metadata=NOT_PLAIN)
    parts: tuple[Mapping[str, Any], ...] = attrs.field(default=(), hash=False)
    edited: str = ""


@attrs.define(eq=False, repr=False)
class _ChunkFields(Plain):
    """The fields of a ``Chunk``, writable; ``text_chunk`` says why this class is separate."""

    type: ChunkType
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    index: int = 0
    tool_call: ToolCallDelta | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    raw: Any = attrs.field(default=None, hash=False)
    id: str = ""
    model: str = ""
    raw_finish_reason: str | None = None
    provider_data: tuple[Mapping[str, Any], ...] = attrs.field(default=(), hash=False)
    round: int = 0
    tool_result: ToolResult | None = None


@attrs.frozen(repr=False)
class Chunk(_ChunkFields):
    """One increment of a reply; frozen, and hashable: the hash leaves out ``raw`` and ``provider_data``.

    Attributes:
        type: ``text``, ``reasoning``, ``refusal``, ``tool_call``, ``tool_approval``, ``tool_result``, ``done``, or
            ``recovered``: the reply had broken off, and what follows is its continuation.
        text: answer text; "" for every other type, so that it can be printed for every chunk.
        reasoning: a piece of the model's reasoning, if the provider sends it.
        refusal: a piece of a refusal.
        index: the choice that it belongs to; 0 unless several were requested.
        tool_call: a piece of a tool call; on a ``tool_approval`` chunk the whole call, which waits for a decision.
        finish_reason: why the reply ended: on the ``done`` chunk for choice 0; for each further choice on a
            ``text`` chunk of that index with empty text.
        usage: the usage so far, on chunks whose event contains it, and on the ``done`` chunk.
        raw: the provider's decoded event, unchanged.
        id: the provider's id of the reply; "" if it sends none.
        model: the model that answers, as the provider reports it.
        raw_finish_reason: the finish reason as the provider sent it.
        provider_data: data that the provider wants back with the history and only it can read, such as the
            signature of a thought: single-entry mappings of a wire format's name to a value of that format.
        round: the number of the request in a run with tools, from 0; 0 for a plain stream.
        tool_result: the result of a tool call, on a ``tool_result`` chunk of a run.
    """

    @property
    def finished(self) -> bool:
        """Whether this is the ``done`` chunk, the last of a stream that completed."""
        return self.type == "done"

    if not TYPE_CHECKING:
        choices = Elsewhere("the text is chunk.text, and chunk.index says of which choice it is")
        delta = Elsewhere("the text is chunk.text")
        content = Elsewhere("the text is chunk.text")
        message = Elsewhere("the text is chunk.text, and the whole message is stream.completion.message")

        def __dir__(self) -> list[str]:
            return dir_of(self)

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={value!r}"
            for field in attrs.fields(Chunk)
            if field.name != "raw" and (value := getattr(self, field.name)) != field.default
        ]
        return f"Chunk({', '.join(shown)})"


def text_chunk(text: str, index: int, raw: Any, id: str, model: str, usage: Usage | None = None) -> Chunk:
    """Build a ``text`` chunk fast, for the hot path.

    A frozen class calls ``object.__setattr__`` for each field: 0.9 µs per chunk, more than decoding its JSON. The
    writable class takes 0.2 µs. It has the same slots, so assigning ``__class__`` turns it into a frozen ``Chunk``.
    """
    chunk = _ChunkFields("text", text, "", "", index, None, None, usage, raw, id, model, None, ())
    chunk.__class__ = Chunk
    return chunk  # type: ignore[return-value]


def set_round(chunk: Chunk, number: int) -> None:
    """Set the round of a chunk that nobody has seen yet: a copy would cost more than the rest of its way."""
    object.__setattr__(chunk, "round", number)


def link_delta(delta: ToolCallDelta, text: GrowingText) -> None:
    """Make a delta the next piece of a call's arguments."""
    object.__setattr__(delta, "_so_far", (text, text.add(delta.arguments)))


def link(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Iterate chunks that come from elsewhere than a stream, such as a file: ``partial()`` of each call goes on.

    ::

        for chunk in link(Chunk.from_dict(json.loads(line)) for line in file):
            if chunk.tool_call:
                print(chunk.tool_call.partial())

    Args:
        chunks: the chunks of a reply or of several, each in order and up to its ``done`` chunk. Deltas that know their
            call already stay as they are.
    """
    texts: dict[tuple[int, int, int], GrowingText] = {}
    for chunk in chunks:
        delta = chunk.tool_call
        if chunk.finished:
            texts.clear()
        elif delta is not None and chunk.type == "tool_call" and not hasattr(delta, "_so_far"):
            link_delta(delta, texts.setdefault((chunk.round, chunk.index, delta.index), GrowingText()))
        yield chunk
