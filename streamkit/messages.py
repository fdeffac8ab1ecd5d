"""What goes in and what comes out as a whole: messages, tool calls, ``Completion``, and the fold to it."""

from __future__ import annotations

import base64
import mimetypes
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import attrs
import orjson

from streamkit import prices
from streamkit.chunks import Chunk, FinishReason, Usage
from streamkit.errors import ConfigError

__all__ = [
    "Choice",
    "Completion",
    "FilePart",
    "Fold",
    "ImagePart",
    "Message",
    "TextPart",
    "ToolCall",
    "fold",
    "messages_of",
]

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


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
        detail: ``low``, ``high`` or ``auto``, where the provider knows it.
    """

    url: str
    detail: str | None = None

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, detail: str | None = None) -> ImagePart:
        """Read an image from the disk.

        Raises:
            OSError: it cannot be read.
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
        filename: what the model is told of its name.
    """

    url: str
    filename: str | None = None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> FilePart:
        """Read a file from the disk.

        Raises:
            OSError: it cannot be read.
        """
        return cls(_data_url(path), os.path.basename(os.fspath(path)))

    def to_dict(self) -> dict[str, Any]:
        """Return the OpenAI shape, which has ``file_data`` for content and, as an extension, ``file_url``."""
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
    """A tool call, assembled.

    Attributes:
        id: the provider's id, to be sent back with the result.
        name: the tool's name.
        arguments: decoded from JSON; ``{}`` where no argument came, ``None`` where it is not valid JSON (a
            stream cut in the middle of it, or a model's mistake).
        raw_arguments: the JSON text, exactly as it came.
    """

    id: str
    name: str
    arguments: Any
    raw_arguments: str

    @classmethod
    def of(cls, id: str, name: str, raw_arguments: str) -> ToolCall:
        """Build one from the text of its arguments; never fails on what a model wrote."""
        try:
            arguments = orjson.loads(raw_arguments) if raw_arguments.strip() else {}
        except orjson.JSONDecodeError:
            arguments = None
        return cls(id, name, arguments, raw_arguments)

    def to_dict(self) -> dict[str, Any]:
        """Return the OpenAI shape, with the arguments exactly as they came; none are an empty object."""
        function = {"name": self.name, "arguments": self.raw_arguments if self.raw_arguments.strip() else "{}"}
        return {"id": self.id, "type": "function", "function": function}


def _kept(content: Any) -> Any:
    """Return a content that can be sent more than once: an iterator would be empty the next time."""
    return tuple(content) if isinstance(content, Iterator) else content


_OURS = (TextPart, ImagePart, FilePart, ToolCall)


@attrs.frozen
class Message:
    """One message of a conversation.

    Attributes:
        role: ``system``, ``developer``, ``user``, ``assistant``, ``tool`` or ``function``.
        content: text, or a list of parts (``TextPart``, ``ImagePart``, ``FilePart`` or dicts in the OpenAI
            shape), or ``None`` beside tool calls.
        tool_calls: what an assistant asked for.
        tool_call_id: which call a ``tool`` message answers.
        name: of the participant, where the provider knows such a thing.
        provider_data: what the provider sent for itself with an assistant's message; see ``Chunk``. It goes
            back to providers of the same wire format, and to no other.
    """

    role: Role
    content: str | Sequence[TextPart | ImagePart | FilePart | Mapping[str, Any]] | None = attrs.field(
        default=None, converter=_kept
    )
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    provider_data: tuple[Mapping[str, Any], ...] = attrs.field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the OpenAI shape."""
        shape: dict[str, Any] = {"role": self.role, "content": _plain(self.content)}
        if self.tool_calls:
            shape["tool_calls"] = _plain(self.tool_calls)
        if self.tool_call_id is not None:
            shape["tool_call_id"] = self.tool_call_id
        if self.name is not None:
            shape["name"] = self.name
        if self.provider_data:
            shape["provider_data"] = list(self.provider_data)
        return shape


def _plain(items: Any) -> Any:
    """Return a list of parts or calls as dicts of the OpenAI shape, what is no such list as it is."""
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        return items
    texts = (TextPart(item) if isinstance(item, str) else item for item in items)
    return [item.to_dict() if isinstance(item, _OURS) else item for item in texts]


def messages_of(value: str | Iterable[Message | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Read what a user passed as messages into dicts of the OpenAI shape.

    Raises:
        ConfigError: it is neither text nor a list of messages, or one of them has no known role, or no content.
    """
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if isinstance(value, (Message, Mapping)) or not isinstance(value, Iterable):
        raise ConfigError(
            f"messages is a string, or a list of Message or dict, not {type(value).__name__}; "
            "put a single message into a list"
        )
    shapes = [_shape_of(position, item) for position, item in enumerate(value)]
    if not shapes:
        raise ConfigError("messages is empty; pass at least one message")
    return shapes


def _shape_of(position: int, item: Message | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(item, Message):
        shape = item.to_dict()
    elif isinstance(item, Mapping):
        shape = {**item, **{field: _plain(item[field]) for field in ("content", "tool_calls") if field in item}}
    else:
        raise ConfigError(f"messages[{position}] is a Message or a dict, not {type(item).__name__}")
    if shape.get("role") not in get_args(Role):
        raise ConfigError(
            f"messages[{position}] has the role {shape.get('role')!r}; known are {', '.join(get_args(Role))}"
        )
    # An assistant may have tool calls in its place, and a tool nothing to say.
    needless = shape["role"] == "assistant" or (
        shape["role"] == "tool" and set(shape) <= {"role", "tool_call_id", "name"}
    )
    if "content" not in shape and not needless:
        raise ConfigError(f"messages[{position}] has no content, only {', '.join(map(str, shape))}")
    return shape


@attrs.frozen
class Choice:
    """One of several replies to one request; see ``Completion`` for the fields."""

    index: int = 0
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    raw_finish_reason: str | None = None


@attrs.frozen
class Completion:
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
    provider_data: tuple[Mapping[str, Any], ...] = attrs.field(default=(), repr=False)

    def __str__(self) -> str:
        return self.text

    @property
    def cost(self) -> float | None:
        """What the reply cost in USD, ``None`` if nobody knows; ``cost_source`` says who does."""
        if self.usage.cost is not None:
            return self.usage.cost
        return prices.cost_of(self.provider, self.model, self.usage)

    @property
    def cost_source(self) -> Literal["provider", "prices"] | None:
        """Who knows the cost: the ``provider``, which reported it, or list ``prices``, by which it is an estimate."""
        if self.usage.cost is not None:
            return "provider"
        return None if self.cost is None else "prices"

    @property
    def message(self) -> Message:
        """The reply as a message, for the history of a conversation; a refusal is its content where there is no text.

        Not as a field of its own, for which most servers have no word.
        """
        content = self.text or self.refusal or (None if self.tool_calls else "")
        return Message("assistant", content, tool_calls=self.tool_calls, provider_data=self.provider_data)


class _ToolCallParts:
    """The pieces of one tool call so far."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def whole(self) -> ToolCall:
        return ToolCall.of(self.id, self.name, _joined(self.arguments))


class _ChoiceParts:
    """The pieces of one choice so far."""

    __slots__ = ("finish_reason", "raw_finish_reason", "reasoning", "refusal", "text", "tool_calls")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.tool_calls: dict[int, _ToolCallParts] = {}
        self.finish_reason: FinishReason | None = None
        self.raw_finish_reason: str | None = None

    def whole(self, index: int, interrupted: FinishReason | None) -> Choice:
        return Choice(
            index,
            _joined(self.text),
            _joined(self.reasoning),
            _joined(self.refusal),
            tuple(self.tool_calls[key].whole() for key in sorted(self.tool_calls)),
            interrupted or self.finish_reason,
            self.raw_finish_reason,
        )


def _joined(parts: list[str]) -> str:
    """Join, and keep the result as the only part, so that looking often stays cheap."""
    if len(parts) > 1:
        parts[:] = ["".join(parts)]
    return parts[0] if parts else ""


class Fold:
    """The one place where chunks become a ``Completion``.

    Not locked: whoever shares one between threads holds a lock around it.
    """

    def __init__(self, provider: str = "", model: str = "") -> None:
        self._provider = provider
        self._id = ""
        self._model = model
        self._usage: Usage | None = None
        self._provider_data: list[Mapping[str, Any]] = []
        self._identified = False
        self._first = _ChoiceParts()
        self._choices: dict[int, _ChoiceParts] = {0: self._first}

    def add(self, chunks: Iterable[Chunk]) -> None:
        """Take in further chunks, in order."""
        append = self._first.text.append
        for chunk in chunks:
            # The hot path first: a piece of the answer of the only choice. Without text it may tell of an end.
            if chunk.text and not chunk.index and chunk.usage is None and not chunk.provider_data and self._identified:
                append(chunk.text)
            else:
                self._add_any(chunk)

    def _add_any(self, chunk: Chunk) -> None:
        self._id = chunk.id or self._id
        self._model = chunk.model or self._model
        self._identified = bool(self._id)
        if chunk.usage is not None:
            self._usage = chunk.usage
        self._provider_data += chunk.provider_data
        choice = self._choices.get(chunk.index)
        if choice is None:
            choice = self._choices[chunk.index] = _ChoiceParts()
        if chunk.text:
            choice.text.append(chunk.text)
        elif chunk.reasoning:
            choice.reasoning.append(chunk.reasoning)
        elif chunk.refusal:
            choice.refusal.append(chunk.refusal)
        elif chunk.tool_call is not None:
            call = choice.tool_calls.setdefault(chunk.tool_call.index, _ToolCallParts())
            call.id = call.id or chunk.tool_call.id
            call.name = call.name or chunk.tool_call.name
            call.arguments.append(chunk.tool_call.arguments)
        if chunk.finish_reason is not None:
            choice.finish_reason = chunk.finish_reason
            choice.raw_finish_reason = chunk.raw_finish_reason

    def completion(self, interrupted: FinishReason | None = None) -> Completion:
        """Return the reply so far.

        Args:
            interrupted: the finish reason of a reply that did not come to its own end.
        """
        choices = tuple(self._choices[index].whole(index, interrupted) for index in sorted(self._choices))
        first = choices[0]
        return Completion(
            first.text,
            first.reasoning,
            first.refusal,
            first.tool_calls,
            first.finish_reason,
            first.raw_finish_reason,
            self._usage or Usage(),
            self._id,
            self._model,
            self._provider,
            choices,
            tuple(self._provider_data),
        )


def fold(chunks: Iterable[Chunk], *, provider: str = "", model: str = "") -> Completion:
    """Return the completion that the chunks add up to."""
    folded = Fold(provider, model)
    folded.add(chunks)
    return folded.completion()
