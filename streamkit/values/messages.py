"""Messages of a conversation, their parts, and tool calls."""

from __future__ import annotations

import base64
import mimetypes
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from streamkit.values.attribute_hints import no_attribute
from streamkit.values.json_text import decoded
from streamkit.values.plain import from_plain, refused

__all__ = [
    "FilePart",
    "ImagePart",
    "Message",
    "Role",
    "TextPart",
    "ToolCall",
    "assistant",
    "plain_parts",
    "system",
    "user",
]

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]

_CALL_HINTS = {
    "function": "the call has call.name and call.arguments itself",
    "input": "it is call.arguments here",
    "args": "it is call.arguments here",
}


_SCHEMES = ("https", "http", "data", "gs", "s3")
_MOST_SHOWN = 60  # characters of a wrong address


def _is_address(url: object) -> bool:
    return isinstance(url, str) and url.partition(":")[0].lower() in _SCHEMES and ":" in url


def _check_address(part: object, _field: object, url: Any) -> None:
    if not _is_address(url):
        kind = type(part).__name__
        given = os.fspath(url) if isinstance(url, os.PathLike) else url
        shown = repr(given[:_MOST_SHOWN]) if isinstance(given, (str, bytes)) else type(given).__name__
        raise refused(
            f"{kind} takes an address (https:, http:, data:, gs: or s3:), not {shown}; {kind}.read(path) reads a file"
        )


@attrs.frozen
class TextPart:
    """A piece of text in a message of several parts."""

    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return the OpenAI shape."""
        return {"type": "text", "text": self.text}

    @classmethod
    def from_dict(cls, shape: Mapping[str, Any]) -> TextPart:
        """Read the OpenAI shape.

        Raises:
            ConfigError: it is another shape.
        """
        return _read(cls, shape)


@attrs.frozen
class ImagePart:
    """An image in a message.

    Attributes:
        url: an ``https:`` or ``http:`` address or a ``data:`` URL; ``gs:`` and ``s3:`` for providers that read them.
            For a file use ``ImagePart.read(path)``.
        detail: ``low``, ``high`` or ``auto``, for providers that have this setting.

    Raises:
        ConfigError: ``url`` is something else, such as a path.
    """

    url: str = attrs.field(validator=_check_address)
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

    @classmethod
    def from_dict(cls, shape: Mapping[str, Any]) -> ImagePart:
        """Read the OpenAI shape.

        Raises:
            ConfigError: it is another shape, or has keys that an ``ImagePart`` has no field for.
        """
        return _read(cls, shape)


@attrs.frozen
class FilePart:
    """A document in a message.

    Attributes:
        url: an ``https:`` or ``http:`` address, or a ``data:`` URL with the media type and the content; ``gs:`` and
            ``s3:`` for providers that read them. For a file use ``FilePart.read(path)``.
        filename: the file's name, as the model sees it.

    Raises:
        ConfigError: ``url`` is something else, such as a path.
    """

    url: str = attrs.field(validator=_check_address)
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

    @classmethod
    def from_dict(cls, shape: Mapping[str, Any]) -> FilePart:
        """Read the OpenAI shape.

        Raises:
            ConfigError: it is another shape, or has keys that a ``FilePart`` has no field for.
        """
        return _read(cls, shape)


def _data_url(path: str | os.PathLike[str]) -> str:
    kind = mimetypes.guess_type(os.fspath(path))[0] or "application/octet-stream"
    with open(path, "rb") as file:
        return f"data:{kind};base64,{base64.b64encode(file.read()).decode('ascii')}"


Part = TypeVar("Part", TextPart, ImagePart, FilePart)


def _part_of(shape: Any) -> Any:
    """Return the part for its OpenAI shape; return anything that a part cannot express unchanged."""
    kind = shape.get("type") if isinstance(shape, Mapping) else None
    inner = shape.get(kind) if isinstance(kind, str) else None
    part: TextPart | ImagePart | FilePart | None = None
    if kind == "text" and isinstance(inner, str):
        part = TextPart(inner)
    elif kind == "image_url" and isinstance(inner, Mapping) and _is_address(inner.get("url")):
        part = ImagePart(inner["url"], inner.get("detail"))
    elif kind == "file" and isinstance(inner, Mapping):
        url = inner.get("file_data", inner.get("file_url"))
        part = FilePart(url, inner.get("filename")) if _is_address(url) else None
    return part if part is not None and part.to_dict() == shape else shape


def _read(kind: type[Part], shape: Any) -> Part:
    part = _part_of(shape)
    if not isinstance(part, kind):
        raise refused(f"{kind.__name__}.from_dict() takes the dict that {kind.__name__}.to_dict() returns")
    return part


def _sent(raw_arguments: str) -> str:
    return raw_arguments if raw_arguments.strip() else "{}"


@attrs.frozen
class ToolCall:
    """A complete tool call; hashable: the hash leaves out ``arguments``.

    Attributes:
        id: the provider's id, to be sent back with the result.
        name: the tool's name.
        arguments: decoded from JSON; ``{}`` if there are none, ``None`` if the text is not valid JSON (the stream
            ended in the middle of it, or the model made a mistake) or has more than 100,000 values.
        raw_arguments: the JSON text, unchanged. No text and an empty object are equal, as they are sent alike.
    """

    id: str
    name: str
    arguments: Any = attrs.field(hash=False)
    raw_arguments: str = attrs.field(eq=_sent)

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
        function = {"name": self.name, "arguments": _sent(self.raw_arguments)}
        return {"id": self.id, "type": "function", "function": function}

    @classmethod
    def from_dict(cls, shape: Mapping[str, Any]) -> ToolCall:
        """Read the OpenAI shape; unknown keys are ignored.

        Raises:
            ConfigError: it has no function, or a field has a wrong type; the error names its path.
        """
        return from_plain(_CallShape, shape, cls.__name__).call()


@attrs.frozen
class _FunctionShape:
    name: str
    arguments: str = ""


@attrs.frozen
class _CallShape:
    """A tool call in the OpenAI shape."""

    function: _FunctionShape
    id: str = ""

    def call(self) -> ToolCall:
        return ToolCall.of(self.id, self.function.name, self.function.arguments)


def _kept(content: Any) -> Any:
    """Return content that can be read more than once: an iterator becomes a tuple."""
    return tuple(content) if isinstance(content, Iterator) else content


_OURS = (TextPart, ImagePart, FilePart, ToolCall)


def plain_parts(items: Any) -> Any:
    """Return a list of parts or calls as dicts in the OpenAI shape; return anything else unchanged."""
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        return items
    texts = (TextPart(item) if isinstance(item, str) else item for item in items)
    return [item.to_dict() if isinstance(item, _OURS) else item for item in texts]


@attrs.frozen
class _MessageShape:
    """A message in the OpenAI shape."""

    role: Role
    content: str | list[str | dict[str, Any]] | None = None
    tool_calls: list[_CallShape] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    provider_data: list[dict[str, Any]] | None = None


@attrs.frozen
class Message:
    """One message of a conversation; hashable: the hash leaves out ``content`` and ``provider_data``.

    Parts are equal to the dicts of their OpenAI shape.

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
        default=None, converter=_kept, eq=plain_parts, hash=False
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

    @classmethod
    def from_dict(cls, shape: Mapping[str, Any]) -> Message:
        """Read the OpenAI shape, as ``to_dict`` returns it; unknown keys are ignored.

        Parts of the content that ``TextPart``, ``ImagePart`` and ``FilePart`` cannot express stay dicts.

        Raises:
            ConfigError: the role is missing or unknown, or a field has a wrong type; the error names its path.
        """
        read = from_plain(_MessageShape, shape, cls.__name__)
        content = read.content
        return cls(
            read.role,
            [_part_of(part) for part in content] if isinstance(content, list) else content,
            tuple(call.call() for call in read.tool_calls or ()),
            read.tool_call_id,
            read.name,
            tuple(read.provider_data or ()),
        )


def system(text: str) -> Message:
    """Return a system message."""
    return Message("system", text)


def user(*content: str | TextPart | ImagePart | FilePart) -> Message:
    """Return a user's message: text, or parts such as ``user("What is this?", ImagePart.read("boat.png"))``."""
    only = content[0] if len(content) == 1 else None
    if isinstance(only, str):
        return Message("user", only)
    return Message("user", tuple(TextPart(part) if isinstance(part, str) else part for part in content))


def assistant(text: str) -> Message:
    """Return an assistant's message."""
    return Message("assistant", text)
