"""Fewer, longer chunks: ``merged``."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from streamkit.values.chunks import Chunk

__all__ = ["merged"]

_TEXTS = ("text", "reasoning", "refusal")


def merged(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Return the chunks with neighbours joined that are pieces of the same text.

    Pieces of an answer, a reasoning or a refusal of one choice are joined, and pieces of the arguments of one tool
    call. The completion of the result is the same. ``raw`` of chunks that were joined is ``None``.
    """
    result: list[Chunk] = []
    run: list[Chunk] = []
    for chunk in chunks:
        if run and not _continues(run[-1], chunk):
            result.append(_joined(run))
            run = []
        run.append(chunk)
    if run:
        result.append(_joined(run))
    return result


def _continues(before: Chunk, chunk: Chunk) -> bool:
    """Return whether a chunk is the next piece of the text of the one before it, and says nothing else that is new."""
    if before.type != chunk.type or before.index != chunk.index or before.round != chunk.round:
        return False
    if before.id != chunk.id or before.model != chunk.model:
        return False
    if _says_more(before) or _says_more(chunk):
        return False
    if chunk.type in _TEXTS:  # one without text may tell of an id that is new, which a fold takes from such chunks
        return bool(_text_of(before) and _text_of(chunk))
    one, other = before.tool_call, chunk.tool_call
    if chunk.type != "tool_call" or one is None or other is None:
        return False
    return one.index == other.index and not other.id and not other.name


def _text_of(chunk: Chunk) -> str:
    return chunk.text or chunk.reasoning or chunk.refusal


def _says_more(chunk: Chunk) -> bool:
    return bool(
        chunk.finish_reason is not None
        or chunk.raw_finish_reason is not None
        or chunk.provider_data
        or chunk.tool_result is not None
    )


def _joined(run: list[Chunk]) -> Chunk:
    first = run[0]
    if len(run) == 1:
        return first
    usage = next((chunk.usage for chunk in reversed(run) if chunk.usage is not None), None)
    if first.tool_call is not None:
        arguments = "".join(chunk.tool_call.arguments for chunk in run if chunk.tool_call is not None)
        return attrs.evolve(first, tool_call=attrs.evolve(first.tool_call, arguments=arguments), usage=usage, raw=None)
    return attrs.evolve(
        first,
        text="".join(chunk.text for chunk in run),
        reasoning="".join(chunk.reasoning for chunk in run),
        refusal="".join(chunk.refusal for chunk in run),
        usage=usage,
        raw=None,
    )
