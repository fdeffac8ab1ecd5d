"""Convert images, documents, video and audio to converse's blocks: formats, and names of documents.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html and the service model
of botocore 1.44, read 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain, count
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.request.parts import Media

__all__ = ["DocumentNames", "media_block"]

_OFFICE = "application/vnd.openxmlformats-officedocument"
# By what the part is: the format of each media type.
_FORMATS: Mapping[str, Mapping[str, str]] = {
    "image": {
        "image/png": "png",
        "image/jpeg": "jpeg",
        "image/jpg": "jpeg",
        "image/gif": "gif",
        "image/webp": "webp",
    },
    "file": {
        "application/pdf": "pdf",
        "text/csv": "csv",
        "application/msword": "doc",
        f"{_OFFICE}.wordprocessingml.document": "docx",
        "application/vnd.ms-excel": "xls",
        f"{_OFFICE}.spreadsheetml.sheet": "xlsx",
        "text/html": "html",
        "text/plain": "txt",
        "text/markdown": "md",
    },
    "video": {
        "video/x-matroska": "mkv",
        "video/matroska": "mkv",
        "video/quicktime": "mov",
        "video/mp4": "mp4",
        "video/webm": "webm",
        "video/x-flv": "flv",
        "video/mpeg": "mpeg",
        "video/x-ms-wmv": "wmv",
        "video/3gpp": "three_gp",
    },
    "audio": {
        "audio/wav": "wav",
        "audio/x-wav": "wav",
        "audio/mpeg": "mp3",
        "audio/opus": "opus",
        "audio/aac": "aac",
        "audio/flac": "flac",
        "audio/mp4": "mp4",
        "audio/ogg": "ogg",
        "audio/webm": "webm",
    },
}
_EXTENSIONS = {"jpg": "jpeg", "htm": "html", "markdown": "md", "mpg": "mpeg", "3gp": "three_gp"}
_LONGEST_NAME = 190  # characters; converse takes 200, and a number may follow


class DocumentNames:
    """Gives each document of one request a unique name of the characters that converse allows."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, filename: str | None) -> str:
        """Return the file's name without its extension; with a number if there is none, or if it is taken."""
        stem, _, extension = (filename or "").rpartition(".")
        given = re.sub(r"[^A-Za-z0-9()\[\]-]+", " ", stem or extension)[:_LONGEST_NAME].strip()
        numbered = (f"{given or 'document'} {number}" for number in count(2 if given else 1))
        name = next(name for name in chain([given] if given else [], numbered) if name not in self._taken)
        self._taken.add(name)
        return name


def media_block(name: str, part: Media, names: DocumentNames) -> dict[str, Any]:
    """Return a part as a block of a message's content.

    Args:
        name: the provider's, for errors.
        part: the part.
        names: the names of the request's documents.

    Raises:
        ConfigError: converse does not support the format, or the kind of address.
    """
    if part.file_id:
        raise ConfigError(f"{name} keeps no files to be named by file_id; pass a data: URL or an s3: address")
    if part.url is not None and not part.url.startswith("s3://"):
        raise ConfigError(f"{name} does not fetch {part.kind}s from the web; pass a data: URL or an s3: address")
    known = _FORMATS[part.kind]
    if part.url is not None:
        extension = part.url.rpartition(".")[2].lower()
        format, source = _EXTENSIONS.get(extension, extension), {"s3Location": {"uri": part.url}}
    else:
        format, source = known.get(part.media_type, part.media_type), {"bytes": part.data or ""}  # type: ignore[dict-item]
    if format not in known.values():
        raise ConfigError(
            f"{name} takes {part.kind}s of the formats {', '.join(sorted(set(known.values())))}, no {format}"
        )
    shape = {"format": format, "source": source}
    return {"document": {"name": names.take(part.filename), **shape}} if part.kind == "file" else {part.kind: shape}
