"""Read the body of Anthropic's ``/v1/messages``.

Source: https://platform.claude.com/docs/en/api/messages, read 2026-11-27, and what Claude Code 2.1.332 sends, recorded
2026-11-27.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from streamkit.errors import RequestError
from streamkit.values.messages import FilePart, ImagePart, Message, TextPart, ToolCall
from streamkit.web.formats.json_bytes import json_bytes
from streamkit.web.formats.requests.anthropic_parameters import parameters_of
from streamkit.web.formats.requests.anthropic_parts import Part, cache_marks, joined, marked, unmarked
from streamkit.web.formats.requests.request import Limits, WebRequest, body_of, list_of, mapping_of, text_in

__all__ = ["read_anthropic_request"]

_FORMAT = "anthropic"  # of provider data
_OWN = ("messages", "system", "model", "stream")
# Blocks of a reply that go back to Anthropic as they came, besides thoughts and the results of its own tools.
_KEPT = ("server_tool_use", "mcp_tool_use", "compaction", "fallback")
_IMAGE_TYPE = re.compile(r"image/[\w.+-]+\Z")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}\Z")
_HTTP = re.compile(r"https?://", re.IGNORECASE)
_FAILED = "The call failed: "


def read_anthropic_request(
    body: bytes | str | Mapping[str, Any], limits: Limits, *, allow_system: bool = True
) -> WebRequest:
    """Return the request, with parameters as a provider of Anthropic's format takes them.

    ``without_anthropic_fields`` makes one for any provider of it. Fields that are not known here are in ``extra``, such
    as ``context_management``, which Claude Code sends to any server.

    Raises:
        RequestError: it cannot be taken.
    """
    shape = body_of(body, limits)
    reading = _Reading(limits, allow_system)
    messages = reading.messages(shape)
    params, known = parameters_of(shape, limits, reading.referenced)
    stream = shape.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise RequestError("stream is neither true nor false")
    last = next(message for message in reversed(messages) if message.role != "system")
    return WebRequest(
        messages=messages,
        message=last if last.role == "user" else None,
        model=text_in(shape, "model", "", limits.id, ""),
        stream=bool(stream),
        include_usage=True,  # Anthropic's streams always have it
        params=params,
        extra={name: value for name, value in shape.items() if name not in known and name not in _OWN},
    )


class _Reading:
    """Reads the messages of one body; it counts what the whole body may have so many of.

    Attributes:
        referenced: names of tools that a search for tools found.
    """

    def __init__(self, limits: Limits, allow_system: bool) -> None:
        self._limits = limits
        self._allow_system = allow_system
        self._files = 0
        self.referenced: set[str] = set()

    def messages(self, shape: Mapping[str, Any]) -> tuple[Message, ...]:
        given = list_of(shape.get("messages"), "messages", self._limits.messages)
        if not given:
            raise RequestError("messages is empty")
        messages = self._system(shape.get("system"), "system")
        for at, each in enumerate(given):
            messages += self._message(mapping_of(each, f"messages[{at}]"), f"messages[{at}]")
        if all(message.role == "system" for message in messages):
            raise RequestError("messages has no message to reply to")
        return tuple(messages)

    def _system(self, content: Any, where: str) -> list[Message]:
        if content is None:
            return []
        if not self._allow_system:
            raise RequestError(f"{where}: instructions are not taken from a client")
        parts = [part for part in self._parts(content, where, ("text",)) if part != TextPart("")]
        return [Message("system", joined(parts, "\n\n"))] if parts else []

    def _message(self, shape: Mapping[str, Any], where: str) -> list[Message]:
        role, content = shape.get("role"), shape.get("content")
        if role == "user":
            return self._user(content, f"{where}.content")
        if role == "assistant":
            return [self._assistant(content, f"{where}.content")]
        if role == "system":
            return self._system(content, f"{where}.content")
        raise RequestError(f"{where}.role is neither user, assistant nor system")

    def _blocks(self, content: Any, where: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Yield the type, the place and the shape of each block; a text is one block."""
        if isinstance(content, str):
            if len(content) > self._limits.text:
                raise RequestError(f"{where} has more than {self._limits.text} characters", status=413)
            yield "text", where, {"text": content}
            return
        for at, each in enumerate(list_of(content, where, self._limits.parts)):
            place = f"{where}[{at}]"
            block = mapping_of(each, place)
            yield text_in(block, "type", place, self._limits.id), place, block

    # -- a user's ----------------------------------------------------------------------------------------

    def _user(self, content: Any, where: str) -> list[Message]:
        """Return the results of tools, each a message of its own, and then the rest."""
        results: list[Message] = []
        parts: list[Part] = []
        for kind, place, block in self._blocks(content, where):
            if kind == "tool_result":
                results.append(self._result(block, place))
            else:
                parts += self._part(kind, block, place)
        parts = [part for part in parts if not isinstance(part, TextPart) or part.text.strip()]
        if not results and not parts:
            raise RequestError(f"{where} is empty")
        if not parts:
            return results
        only = parts[0] if len(parts) == 1 else None
        return [*results, Message("user", only.text if isinstance(only, TextPart) else parts)]

    def _result(self, block: Mapping[str, Any], where: str) -> Message:
        content = block.get("content")
        parts = [] if content is None else list(self._parts(content, f"{where}.content"))
        if block.get("is_error") is True:
            parts = _failed(parts)
        marks = cache_marks(block, where)
        if parts and marks is not None:
            parts[-1] = marked(parts[-1], marks)
        id = text_in(block, "tool_use_id", where, self._limits.id)
        return Message("tool", joined(parts, "\n\n"), tool_call_id=id)

    def _parts(self, content: Any, where: str, kinds: Iterable[str] = ()) -> Iterator[Part]:
        for kind, place, block in self._blocks(content, where):
            if kinds and kind not in kinds:
                raise RequestError(f"{place}.type is not taken here")
            yield from self._part(kind, block, place)

    def _part(self, kind: str, block: Mapping[str, Any], where: str) -> list[Part]:
        """Return the parts for a block that is no call and no result; all but ``content`` make one."""
        parts: list[Part]
        if kind == "text":
            parts = [TextPart(text_in(block, "text", where, self._limits.text))]
        elif kind == "image":
            parts = [self._image(mapping_of(block.get("source"), f"{where}.source"), f"{where}.source")]
        elif kind == "document":
            parts = self._document(block, where)
        elif kind == "search_result":
            head = [text_in(block, name, where, self._limits.text, "") for name in ("title", "source")]
            found = list(self._parts(block.get("content"), f"{where}.content", ("text",)))
            parts = [TextPart("\n".join(filter(None, head))), *found]
        elif kind == "tool_reference":
            name = text_in(block, "tool_name", where, self._limits.id)
            self.referenced.add(name)
            parts = [TextPart(f"The tool {name} is available now.")]
        else:
            raise RequestError(f"{where}.type is not taken here")
        marks = cache_marks(block, where)
        if marks is not None and parts:
            parts[-1] = marked(parts[-1], marks)
        return parts

    def _image(self, source: Mapping[str, Any], where: str) -> ImagePart:
        kind = source.get("type")
        if kind == "url":
            return ImagePart(self._address(source, where))
        if kind != "base64":
            raise _unknown_source(kind, where)
        media_type = text_in(source, "media_type", where, self._limits.id)
        if not _IMAGE_TYPE.match(media_type):
            raise RequestError(f"{where}.media_type is no type of an image")
        return ImagePart(f"data:{media_type};base64,{self._data(source, where)}")

    def _document(self, block: Mapping[str, Any], where: str) -> list[Part]:
        """Return a PDF as a file, and any other document as its text, which every provider takes."""
        title = text_in(block, "title", where, self._limits.id, "")
        context = text_in(block, "context", where, self._limits.text, "")
        head = "\n".join(filter(None, (title, context)))
        place = f"{where}.source"
        source = mapping_of(block.get("source"), place)
        kind, media_type = source.get("type"), source.get("media_type")
        before: list[Part] = [TextPart(head)] if head else []
        if kind == "text":
            return [*before, TextPart(text_in(source, "data", place, self._limits.text))]
        if kind == "content":
            return [*before, *self._parts(source.get("content"), f"{place}.content", ("text", "image"))]
        before = [TextPart(context)] if context else []
        if kind == "url":
            return [*before, FilePart(self._address(source, place), title or None)]
        if kind != "base64":
            raise _unknown_source(kind, place)
        if media_type != "application/pdf":
            raise RequestError(f"{place}.media_type is not application/pdf")
        data = self._data(source, place)
        return [*before, FilePart(f"data:application/pdf;base64,{data}", title or None)]

    def _address(self, source: Mapping[str, Any], where: str) -> str:
        self._count_file()
        url = text_in(source, "url", where, self._limits.file_bytes)
        if not _HTTP.match(url):
            raise RequestError(f"{where}.url is no address of http: or https:")
        return url

    def _data(self, source: Mapping[str, Any], where: str) -> str:
        self._count_file()
        data = text_in(source, "data", where, self._limits.file_bytes)
        if not _BASE64.match(data):
            raise RequestError(f"{where}.data is no base64")
        return data

    def _count_file(self) -> None:
        self._files += 1
        if self._files > self._limits.files:
            raise RequestError(f"there are more than {self._limits.files} files", status=413)

    # -- an assistant's ----------------------------------------------------------------------------------

    def _assistant(self, content: Any, where: str) -> Message:
        """Return a reply of before. Thoughts are data of the provider's, with their places among text and calls."""
        parts: list[Part] = []
        calls: list[ToolCall] = []
        data: list[Mapping[str, Any]] = []
        before: list[list[Any]] = []  # text and calls since the last block of the provider's
        unanswered: set[str] = set()  # calls of tools on Anthropic's side
        for kind, place, block in self._blocks(content, where):
            if kind == "text":
                said = self._part(kind, block, place)
                parts += said
                before.append(["text", len(block["text"])])
            elif kind == "tool_use":
                before.append(["call", len(calls)])
                calls.append(self._call(block, place))
            elif kept := self._own_block(kind, block, place):
                data += [{_FORMAT: {"layout": before}}, {_FORMAT: kept}] if before else [{_FORMAT: kept}]
                before = []
                if kind.endswith("_tool_use"):
                    unanswered.add(text_in(block, "id", place, self._limits.id))
                elif kind.endswith("_tool_result"):
                    unanswered.discard(text_in(block, "tool_use_id", place, self._limits.id))
        if data and before:
            data.append({_FORMAT: {"layout": before}})
        if unanswered:  # Anthropic goes on with them: the client has them of a reply that was paused
            data.append({_FORMAT: {"paused": True}})
        said_all = joined(parts, "") or (None if calls else "")
        return Message("assistant", said_all, tool_calls=tuple(calls), provider_data=tuple(data))

    def _call(self, block: Mapping[str, Any], where: str) -> ToolCall:
        id, name = (text_in(block, field, where, self._limits.id) for field in ("id", "name"))
        if not name:
            raise RequestError(f"{where}.name is empty")
        given = mapping_of(block.get("input"), f"{where}.input")
        return ToolCall.of(id, name, json_bytes(given).decode())

    def _own_block(self, kind: str, block: Mapping[str, Any], where: str) -> Mapping[str, Any] | None:
        """Return a block that goes back to Anthropic as it came; ``None`` for a thought that Anthropic did not sign."""
        most = self._limits.text
        if kind == "thinking":
            thought = text_in(block, "thinking", where, most)
            signature = text_in(block, "signature", where, most, "")
            return {"type": kind, "thinking": thought, "signature": signature} if signature else None
        if kind == "redacted_thinking":
            return {"type": kind, "data": text_in(block, "data", where, most)}
        if kind in _KEPT or (kind.endswith("_tool_result") and kind != "tool_result"):
            return unmarked(block)
        raise RequestError(f"{where}.type is not taken here")


def _failed(parts: Sequence[Part]) -> list[Part]:
    """Return the result of a call that failed, said in words, as most providers have no field for it."""
    first = parts[0] if parts else None
    if isinstance(first, TextPart):
        return [TextPart(_FAILED + first.text), *parts[1:]]
    if first is None:
        return [TextPart("The call failed.")]
    return [TextPart(_FAILED), *parts]


def _unknown_source(kind: Any, where: str) -> RequestError:
    if kind == "file":
        return RequestError(f"{where} names a file that was uploaded to Anthropic; send its content")
    return RequestError(f"{where}.type is not taken here")
