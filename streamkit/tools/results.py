"""Turn what a function returned into what the model is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from streamkit.values.chunks import ToolResult
from streamkit.values.messages import FilePart, ImagePart, Message, TextPart, plain_parts

__all__ = ["Content", "Media", "ResultError", "content_of", "json_types_of", "message_of"]

_NOTHING = "(no output)"  # several providers refuse an empty result
_KINDS = {"image_url": "image", "file": "file"}


class ResultError(ValueError):
    """A result that cannot be sent to the model; the text says why, and what a function returns instead."""


def _writable(text: str) -> str:
    """Return plain text that can be sent: half of a surrogate pair, as in names of files, becomes a question mark."""
    return str.__str__(text) if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


@attrs.frozen
class Content:
    """A result as the model gets it.

    Attributes:
        text: of the whole result, or of its text parts.
        parts: the parts in OpenAI's shape, where there is more than text.
    """

    text: str = attrs.field(converter=_writable)
    parts: tuple[Mapping[str, Any], ...] = ()


@attrs.frozen
class Media:
    """What a provider takes in a result beside text.

    Attributes:
        kinds: ``image``, ``file``.
        refusal: returns why the provider refuses these parts, "" if it takes them: one takes images by content only,
            another one no files but PDF. A request that has them would fail, and the run with it.
    """

    kinds: frozenset[str] = frozenset()
    refusal: Callable[[Sequence[Mapping[str, Any]]], str] = lambda parts: ""


def content_of(value: Any, media: Media) -> Content:
    """Return the content for what a function returned.

    Text stays as it is, ``ImagePart``, ``FilePart`` and lists with those become parts, and anything else becomes JSON.

    Args:
        value: the result.
        media: what the provider takes in a result beside text.

    Raises:
        ResultError: it cannot be written as JSON, or the provider takes no such part.
    """
    if isinstance(value, str):
        return Content(value)
    parts = _parts_of(value)
    if not parts:
        return Content(_json_of(value))
    for part in parts:
        kind = _KINDS.get(part.get("type", ""))
        if kind is not None and kind not in media.kinds:
            raise ResultError(f"its result has {_with_article(kind)}, which this provider does not take in a result")
    if why := media.refusal(parts):
        raise ResultError(f"its result cannot be sent: {why}")
    return Content("".join(part["text"] for part in parts if part.get("type") == "text"), tuple(parts))


def _with_article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _parts_of(value: Any) -> list[Mapping[str, Any]]:
    """Return the parts of a result that is a part, or a list with at least one; an empty list for any other."""
    if isinstance(value, (TextPart, ImagePart, FilePart)):
        value = [value]
    if not isinstance(value, (list, tuple)) or not any(isinstance(item, (ImagePart, FilePart)) for item in value):
        return [part.to_dict() for part in value] if _only_texts(value) else []
    if not all(isinstance(item, (str, TextPart, ImagePart, FilePart)) for item in value):
        raise ResultError("a list with an ImagePart or FilePart has only such parts, TextPart and text in it")
    return list(plain_parts(value))


def _only_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, TextPart) for item in value)


def _json_of(value: Any) -> str:
    try:
        return msgspec.json.encode(value, enc_hook=_plain).decode()
    except (TypeError, ValueError, OverflowError, RecursionError, UnicodeError):
        pass
    kind = type(value).__name__
    raise ResultError(f"its result, of type {kind}, cannot be written as JSON: it should return text, or plain values")


def json_types_of(value: Any) -> Any:
    """Return the JSON types for a value, as a model would write it: a date as text, an instance as an object.

    Raises:
        ResultError: it cannot be written as JSON.
    """
    return json.loads(_json_of(value))


def _plain(value: Any) -> Any:
    """Return the JSON types for a value of another library: of pydantic's models and their like, and of paths."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) or hasattr(value, "__iter__"):
        return list(value)
    raise TypeError(type(value).__name__)


def message_of(result: ToolResult) -> Message:
    """Return the message with the result of a call, never empty, as several providers refuse that."""
    content = result.content if result.content.strip() else _NOTHING
    note = f"(The arguments were changed before the call was made: {result.edited})\n" if result.edited else ""
    if not result.parts:
        return Message("tool", note + content, tool_call_id=result.call_id)
    parts = ({"type": "text", "text": note}, *result.parts) if note else result.parts
    return Message("tool", parts, tool_call_id=result.call_id)
