"""Parts of messages with Anthropic's ``cache_control``, which says how far a prompt is cached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.values.messages import FilePart, ImagePart, TextPart
from streamkit.web.formats.requests.request import mapping_of

__all__ = ["Part", "cache_mark", "cache_marks", "joined", "marked", "text_of", "unmarked"]

#: A part, or its dict in OpenAI's shape where it is marked.
Part = TextPart | ImagePart | FilePart | Mapping[str, Any]


def cache_marks(block: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """Return the mark of a block or a tool, ``None`` where it has none.

    Raises:
        RequestError: it is no object.
    """
    marks = block.get("cache_control")
    return None if marks is None else cache_mark(mapping_of(marks, f"{where}.cache_control"))


def cache_mark(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mark without the fields that need a beta of Anthropic's."""
    ttl = given.get("ttl")
    return {"type": "ephemeral", "ttl": ttl} if ttl in ("5m", "1h") else {"type": "ephemeral"}


def marked(part: Part, mark: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a part with a mark."""
    return {**(part if isinstance(part, Mapping) else part.to_dict()), "cache_control": dict(mark)}


def unmarked(shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part, a block or a tool without its mark."""
    return {name: value for name, value in shape.items() if name != "cache_control"}


def text_of(part: Part) -> str | None:
    """Return the text of a part, ``None`` for an image or a file."""
    if isinstance(part, Mapping):
        return part["text"] if part["type"] == "text" else None
    return part.text if isinstance(part, TextPart) else None


def joined(parts: Sequence[Part], between: str) -> str | list[Part]:
    """Return parts of nothing but text, of which none is marked, as one text; others as they are."""
    texts = [text for text in map(text_of, parts) if text is not None]
    has_marks = any(isinstance(part, Mapping) and "cache_control" in part for part in parts)
    return list(parts) if has_marks or len(texts) < len(parts) else between.join(texts)
