"""Parse the parts of an OpenAI-shaped message: text, images, documents, audio and video."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from streamkit.errors import ConfigError
from streamkit.providers.request.openai_shape import word_of
from streamkit.wire.loose_json import as_dict

__all__ = ["Media", "Text", "marks_of", "part_of"]

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}


@attrs.frozen
class Text:
    """A piece of text in a turn.

    Attributes:
        cache_control: Anthropic's mark of how far a prompt is cached.
    """

    text: str
    cache_control: Mapping[str, Any] | None = None


@attrs.frozen
class Media:
    """An image, a document, audio or video in a turn, given by URL, by content or by the provider's file id.

    Attributes:
        kind: what it is; takes precedence over the media type.
        url: an ``http`` address, or the provider's own scheme such as ``gs:``; ``None`` beside content or id.
        data: the content in base64.
        media_type: of ``data``, such as ``image/png``; "" beside an address.
        file_id: of a file that was uploaded to the provider before.
        detail: ``low``, ``high`` or ``auto``, for images.
        filename: for documents.
        cache_control: Anthropic's mark of how far a prompt is cached.
    """

    kind: Literal["image", "file", "audio", "video"]
    url: str | None = None
    data: str | None = attrs.field(default=None, repr=False)
    media_type: str = ""
    file_id: str | None = None
    detail: str | None = None
    filename: str | None = None
    cache_control: Mapping[str, Any] | None = None


def part_of(where: str, part: Any) -> Text | Media:
    """Read one part.

    Raises:
        ConfigError: it cannot be understood; ``where`` says which it is.
    """
    if isinstance(part, str):
        return Text(part)
    part = as_dict(part)
    return attrs.evolve(_bare(where, part), cache_control=marks_of(where, part))


def marks_of(where: str, marked: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return Anthropic's mark of a part, a message or a tool, ``None`` where it has none.

    Raises:
        ConfigError: it is no dict.
    """
    marks = marked.get("cache_control")
    if marks is not None and not isinstance(marks, Mapping):
        raise ConfigError(f"{where}.cache_control is a dict, not {type(marks).__name__}")
    return marks


def _bare(where: str, part: Mapping[str, Any]) -> Text | Media:
    kind = part.get("type")
    if kind in ("text", "input_text", "output_text", "refusal"):
        return Text(word_of(where, part, "refusal" if kind == "refusal" else "text") or "")
    inner = part.get(kind) if isinstance(kind, str) else None
    if kind in ("image_url", "video_url") and isinstance(inner, str):
        inner = {"url": inner}
    inner, inside = as_dict(inner), f"{where}.{kind}"
    if kind in ("image_url", "video_url") and (url := word_of(inside, inner, "url")):
        medium: Literal["image", "video"] = "image" if kind == "image_url" else "video"
        return attrs.evolve(_located(where, medium, url), detail=word_of(inside, inner, "detail"))
    if kind == "input_audio":
        data, format = word_of(inside, inner, "data"), word_of(inside, inner, "format")
        if data and format:
            return Media("audio", data=data, media_type=_AUDIO_TYPES.get(format, f"audio/{format}"))
    if kind == "file" and inner:
        return _file(inside, inner)
    raise ConfigError(
        f"{where} has the type {kind!r}, or not what belongs to it; known are text, image_url, input_audio, "
        "file and video_url in the OpenAI shape"
    )


def _file(where: str, file: Mapping[str, Any]) -> Media:
    name = word_of(where, file, "filename")
    if id := word_of(where, file, "file_id"):
        return Media("file", file_id=id, filename=name)
    data = word_of(where, file, "file_data")
    if data and not data.startswith("data:") and "://" not in data:
        return Media("file", data=data, media_type=_type_of(where, data, name or ""), filename=name)
    url = data or word_of(where, file, "file_url")
    if not url:
        raise ConfigError(f"{where} needs file_data (a data: URL), file_url or file_id")
    return attrs.evolve(_located(where, "file", url), filename=name)


def _type_of(where: str, data: str, name: str) -> str:
    """Return the media type of bare base64 by the extension of its filename."""
    media_type = mimetypes.guess_type(f"x{os.path.splitext(name)[1]}")[0]  # of a whole name it may make a URL
    if media_type is None or not _BASE64.fullmatch(data):
        raise ConfigError(
            f"{where}.file_data is a data URL of the form data:TYPE/SUBTYPE;base64,CONTENT, or base64 beside a "
            "filename whose ending tells the type"
        )
    return media_type


def _located(where: str, kind: Literal["image", "file", "video"], url: str) -> Media:
    if not url.startswith("data:"):
        return Media(kind, url=url)
    head, _, data = url[len("data:") :].partition(",")
    media_type = head.partition(";")[0].lower()
    if not data or not media_type or not head.endswith(";base64"):
        raise ConfigError(f"{where} is not a data URL of the form data:TYPE/SUBTYPE;base64,CONTENT")
    return Media(kind, data=data, media_type=media_type)
