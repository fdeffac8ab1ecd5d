"""The chunks of a whole reply, in the order of its items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streamkit.values.chunks import Chunk, ToolCallDelta
from streamkit.values.completion import Completion
from streamkit.values.messages import ToolCall
from streamkit.web.formats.encrypted_reasoning import FORMAT, is_encrypted

__all__ = ["chunks_of"]


def chunks_of(completion: Completion) -> Iterator[Chunk]:
    """Iterate chunks that add up to the first choice of a completion, without its end.

    A completion has its text as one string and its calls as a list. Where it has reasoning of the Responses format, the
    provider data say what came before each item; without such, the order is reasoning, text, refusal, calls.
    """
    data = [datum[FORMAT] for datum in completion.provider_data if isinstance(datum.get(FORMAT), Mapping)]
    encrypted = [datum for datum in data if is_encrypted(datum)]
    thoughts = _thoughts(completion.reasoning, encrypted)
    text, calls = completion.text, dict(enumerate(completion.tool_calls))
    if not encrypted:
        yield Chunk("reasoning", reasoning=completion.reasoning)
    for datum in data if encrypted else ():
        if is_encrypted(datum):
            yield Chunk("reasoning", reasoning=next(thoughts), provider_data=({FORMAT: datum},))
        for kind, value in _layout(datum):
            if kind == "text":
                yield Chunk("text", text[:value])
                text = text[value:]
            elif value in calls:
                yield _call(value, calls.pop(value))
    yield Chunk("text", text)
    yield Chunk("refusal", refusal=completion.refusal)
    for number, call in calls.items():
        yield _call(number, call)


def _call(number: int, call: ToolCall) -> Chunk:
    return Chunk("tool_call", tool_call=ToolCallDelta(number, call.id, call.name, call.raw_arguments))


def _layout(datum: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Iterate what came since the last item with encrypted content: characters of text, numbers of calls."""
    layout = datum.get("layout")
    for entry in layout if isinstance(layout, (list, tuple)) else ():
        if isinstance(entry, (list, tuple)) and len(entry) == 2 and isinstance(entry[1], int) and entry[1] >= 0:
            yield str(entry[0]), entry[1]


def _thoughts(reasoning: str, items: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Iterate the reasoning that was shown of each item; all of it is the first one's if it is not the summaries'."""
    summaries = ["".join(_texts(item.get("summary"))) for item in items]
    return iter(summaries if "".join(summaries) == reasoning else [reasoning, *[""] * len(items)])


def _texts(parts: Any) -> Iterator[str]:
    for part in parts if isinstance(parts, (list, tuple)) else ():
        if isinstance(part, Mapping) and isinstance(part.get("text"), str):
            yield part["text"]
