"""Messages of a conversation, their parts, and tool calls."""

from __future__ import annotations

import base64
import mimetypes
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs

from streamkit.values.attribute_hints import no_attribute
from streamkit.values.json_text import decoded

__all__ = ["FilePart", "ImagePart", "Message", "Role", "TextPart", "ToolCall", "plain_parts"]

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]

_CALL_HINTS = {
    "function": "the call has call.name and call.arguments itself",
    "input": "it is call.arguments here",
    "args": "it is call.arguments here",
}


@attrs.frozen
class TextPart:
    """A piece of text in a message of several parts."""

    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return the OpenAI shape."""
        return {"type": "text", "text": self.text}


@attrs.frozen
class ImagePart:
    """An image in a message.

    Attributes:
        url: an ``https:`` address or a ``data:`` URL.
        detail: ``low``, ``high`` or ``auto``, for providers that have this setting.
    """

    url: str
    detail: str | None = None

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, detail: str | None = None) -> ImagePart:
        """Read an image file into a ``data:`` URL.

        Raises:
            OSError: the file cannot be read.
        """
        return cls(_data_url(path), detail)

    def to_dict(self) -> dict[str, Any]:
        """Return the OpenAI shape."""
        image: dict[str, Any] = {"url": self.url}
        if self.detail is not None:
            image["detail"] = self.detail
        return {"type": "image_url", "image_url": image}


@attrs.frozen
class FilePart:
    """A document in a message.

    Attributes:
        url: an ``https:`` address, or a ``data:`` URL with the media type and the content.
        filename: the file's name, as the model sees it.
    """

    url: str
    filename: str | None = None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> FilePart:
        """Read a file into a ``data:`` URL.

        Raises:
            OSError: the file cannot be read.
        """
        return cls(_data_url(path), os.path.basename(os.fspath(path)))

    def to_dict(self) -> dict[str, Any]:
        """Return the OpenAI shape: ``file_data`` for a ``data:`` URL, the extension ``file_url`` for an address."""
        file: dict[str, Any] = {"file_data" if self.url.startswith("data:") else "file_url": self.url}
        if self.filename is not None:
            file["filename"] = self.filename
        return {"type": "file", "file": file}


def _data_url(path: str | os.PathLike[str]) -> str:
    kind = mimetypes.guess_type(os.fspath(path))[0] or "application/octet-stream"
    with open(path, "rb") as file:
        return f"data:{kind};base64,{base64.b64encode(file.read()).decode('ascii')}"


@attrs.frozen
class ToolCall:
    """A complete tool call; hashable: the hash leaves out ``arguments``.

    Attributes:
        id: the provider's id, to be sent back with the result.
        name: the tool's name.
        arguments: decoded from JSON; ``{}`` if there are none, ``None`` if the text is not valid JSON (the stream
            ended in the middle of it, or the model made a mistake) or has more than 100,000 values.
        raw_arguments: the JSON text, unchanged.
    """

    id: str
    name: str
    arguments: Any = attrs.field(hash=False)
    raw_arguments: str

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            raise no_attribute(self, name, _CALL_HINTS)

    @classmethod
    def of(cls, id: str, name: str, raw_arguments: str) -> ToolCall:
        """Build a tool call from the JSON text of its arguments; invalid JSON raises no error."""
        try:
            arguments = decoded(raw_arguments) if raw_arguments.strip() else {}
        except ValueError:
            arguments = None
        return cls(id, name, arguments, raw_arguments)

    def to_dict(self) -> dict[str, Any]:
        """Return the OpenAI shape with unchanged arguments; missing arguments become an empty object."""
        function = {"name": self.name, "arguments": self.raw_arguments if self.raw_arguments.strip() else "{}"}
        return {"id": self.id, "type": "function", "function": function}


def _kept(content: Any) -> Any:
    """Return content that can be read more than once: an iterator becomes a tuple."""
    return tuple(content) if isinstance(content, Iterator) else content


_OURS = (TextPart, ImagePart, FilePart, ToolCall)


@attrs.frozen
class Message:
    """One message of a conversation; hashable: the hash leaves out ``content`` and ``provider_data``.

    Attributes:
        role: ``system``, ``developer``, ``user``, ``assistant``, ``tool`` or ``function``.
        content: text, or a list of parts (``TextPart``, ``ImagePart``, ``FilePart`` or dicts in the OpenAI
            shape), or ``None`` beside tool calls.
        tool_calls: the tool calls of an assistant's message.
        tool_call_id: the id of the call that a ``tool`` message answers.
        name: the participant's name, for providers that have this field.
        provider_data: the provider's own data in an assistant's message; see ``Chunk``. It is sent back to providers
            of the same wire format only.
    """

    role: Role
    content: str | Sequence[TextPart | ImagePart | FilePart | Mapping[str, Any]] | None = attrs.field(
        default=None, converter=_kept, hash=False
    )
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    provider_data: tuple[Mapping[str, Any], ...] = attrs.field(default=(), repr=False, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the OpenAI shape."""
        shape: dict[str, Any] = {"role": self.role, "content": plain_parts(self.content)}
        if self.tool_calls:
            shape["tool_calls"] = plain_parts(self.tool_calls)
        if self.tool_call_id is not None:
            shape["tool_call_id"] = self.tool_call_id
        if self.name is not None:
            shape["name"] = self.name
        if self.provider_data:
            shape["provider_data"] = list(self.provider_data)
        return shape


def plain_parts(items: Any) -> Any:
    """Return a list of parts or calls as dicts in the OpenAI shape; return anything else unchanged."""
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        return items
    texts = (TextPart(item) if isinstance(item, str) else item for item in items)
    return [item.to_dict() if isinstance(item, _OURS) else item for item in texts]
