"""Read the ``input`` of OpenAI's ``/v1/responses``: a text, or items that become messages.

A reply is several items there, and one message here: the text, the calls, and reasoning for its provider.

Source: ResponseInputItemParam of openai 3.57 of PyPI, read 2026-11-27.
"""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from streamkit.errors import RequestError
from streamkit.values.messages import FilePart, ImagePart, Message, TextPart, ToolCall
from streamkit.web.formats.encrypted_reasoning import FORMAT, from_client, is_encrypted
from streamkit.web.formats.requests.request import Limits, list_of, mapping_of, text_in

__all__ = ["naming", "read_input"]

Content = TextPart | ImagePart | FilePart | Mapping[str, Any]

_INSTRUCTIONS = ("system", "developer")
_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w.+-]+=[^;,]*)*;base64,", re.IGNORECASE)
_LONGEST_HEAD = 500  # characters of a data: URL before its content
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}\Z")


@contextmanager
def naming(param: str) -> Iterator[None]:
    """Have a ``RequestError`` of the block say in which field of the body it is, as clients of OpenAI read it."""
    try:
        yield
    except RequestError as error:
        error.param = error.param or param
        raise


def read_input(given: Any, limits: Limits, *, allow_system: bool) -> tuple[Message, ...]:
    """Return the messages of an input, at least one.

    Args:
        given: the input; ``None`` where there is none.
        limits: what is too much.
        allow_system: whether it may have instructions.

    Raises:
        RequestError: it cannot be taken; ``param`` names the item.
    """
    with naming("input"):
        if isinstance(given, str):
            if not text_in({"input": given}, "input", "", limits.text).strip():
                raise RequestError("input is empty")
            return (Message("user", given),)
        if given is None:
            raise RequestError("input is missing", code="missing_required_parameter")
        items = list_of(given, "input", limits.messages)
        reading = _Reading(items, limits, allow_system)
        messages = reading.messages()
        if not messages:
            raise RequestError("input is empty")
        return messages


class _Turn:
    """The reply that the items so far are of.

    Attributes:
        layout: what came since the last reasoning: characters of text and numbers of calls, as the provider has it.
        ends_in_text: whether the last item was a message.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.calls: list[ToolCall] = []
        self.data: list[Mapping[str, Any]] = []
        self.layout: list[list[Any]] = []
        self.ends_in_text = False

    def say(self, text: str) -> None:
        self.texts.append(text)
        self.ends_in_text = True
        if text:
            self.layout.append(["text", len(text)])

    def call(self, call: ToolCall) -> None:
        self.ends_in_text = False
        self.layout.append(["call", len(self.calls)])
        self.calls.append(call)

    def keep(self, item: Mapping[str, Any]) -> None:
        if self.layout:
            self.data.append({FORMAT: {"layout": self.layout}})
            self.layout = []
        self.data.append({FORMAT: item})

    def message(self) -> Message | None:
        """Return the reply; ``None`` for one that says nothing, such as reasoning whose reply the client left out."""
        text = "".join(self.texts)
        if not text and not self.calls:
            return None
        return Message("assistant", text or None, tool_calls=tuple(self.calls), provider_data=tuple(self.data))


class _Reading:
    """Reads the items of one input; it counts what all of it may have so many of."""

    def __init__(self, items: Sequence[Any], limits: Limits, allow_system: bool) -> None:
        self._limits = limits
        self._allow_system = allow_system
        self._files = 0
        self._items = [mapping_of(item, f"input[{at}]") for at, item in enumerate(items)]
        self._results: dict[str, list[int]] = {}  # items that are results, by the id of the call, in order
        self._turn: _Turn | None = None
        self._messages: list[Message] = []

    def messages(self) -> tuple[Message, ...]:
        for at, item in enumerate(self._items):
            if item.get("type") == "function_call_output":
                with naming(f"input[{at}]"):
                    id = text_in(item, "call_id", f"input[{at}]", self._limits.id)
                self._results.setdefault(id, []).append(at)
        for at, item in enumerate(self._items):
            with naming(f"input[{at}]"):
                self._item(item, f"input[{at}]")
        self._end_turn()
        if left := [at for places in self._results.values() for at in places]:
            raise RequestError(f"input[{left[0]}].call_id is the id of no function_call", param=f"input[{left[0]}]")
        return tuple(self._messages)

    def _item(self, item: Mapping[str, Any], where: str) -> None:
        kind = text_in(item, "type", where, self._limits.id, "message" if "role" in item else "item_reference")
        if kind == "message":
            self._message(item, where)
        elif kind == "function_call":
            self._reply().call(self._call(item, where))
        elif kind == "function_call_output":
            self._end_turn()
        elif kind == "reasoning":
            self._reasoning(item, where)
        elif kind == "item_reference":
            raise RequestError(
                f"{where} refers to an item, and none are stored here; send the item itself", code="unsupported_value"
            )
        else:
            raise RequestError(f"{where}.type is not supported", code="unsupported_value")

    # -- replies -----------------------------------------------------------------------------------------

    def _reply(self) -> _Turn:
        if self._turn is None:
            self._turn = _Turn()
        return self._turn

    def _end_turn(self) -> None:
        """Add the reply that has come so far, and the result of each of its calls, wherever that stands."""
        turn, self._turn = self._turn, None
        message = turn.message() if turn is not None else None
        if message is None:
            return
        self._messages.append(message)
        for call in message.tool_calls:
            places = self._results.get(call.id)
            if not places:
                raise RequestError("a function_call has no function_call_output", param="input")
            at = places.pop(0)  # servers may give one id to calls of several replies
            with naming(f"input[{at}]"):
                self._messages.append(Message("tool", self._output(at), tool_call_id=call.id))

    def _call(self, item: Mapping[str, Any], where: str) -> ToolCall:
        id = text_in(item, "call_id", where, self._limits.id)
        name = text_in(item, "name", where, self._limits.id)
        if not id or not name:
            raise RequestError(f"{where} has no call_id, or no name")
        return ToolCall.of(id, name, text_in(item, "arguments", where, self._limits.text, ""))

    def _output(self, at: int) -> str | tuple[Content, ...]:
        where, output = f"input[{at}].output", self._items[at].get("output")
        if isinstance(output, str):
            return text_in(self._items[at], "output", f"input[{at}]", self._limits.text)
        parts = self._parts(output, where)
        return _joined(parts) if all(isinstance(part, TextPart) for part in parts) else parts

    def _reasoning(self, item: Mapping[str, Any], where: str) -> None:
        """Keep reasoning for the provider that can read it; to others it cannot be said, and they need none."""
        summary = [
            {"type": "summary_text", "text": text_in(mapping_of(part, place), "text", place, self._limits.text)}
            for place, part in self._listed(item.get("summary") or (), f"{where}.summary")
        ]
        text_in(item, "id", where, self._limits.id, "")
        text_in(item, "encrypted_content", where, self._limits.text, "")
        self._reply().ends_in_text = False
        if is_encrypted(item):
            self._reply().keep(from_client(item, summary))

    # -- messages ----------------------------------------------------------------------------------------

    def _message(self, item: Mapping[str, Any], where: str) -> None:
        role = item.get("role")
        if role == "assistant":
            self._said(item, where)
        elif role == "user":
            self._end_turn()
            self._messages.append(Message("user", self._asked(item, where)))
        elif role in _INSTRUCTIONS:
            if not self._allow_system:
                raise RequestError(f"{where}: instructions of the role {role} are not taken from a client")
            self._end_turn()
            self._messages.append(Message(role, self._text(item, where)))
        else:
            raise RequestError(f"{where}.role is none of user, assistant, system, developer")

    def _said(self, item: Mapping[str, Any], where: str) -> None:
        text = self._text(item, where)
        # A message after a call or reasoning is a part of the same reply; one after a message is a reply of its own.
        if self._turn is not None and self._turn.ends_in_text and not self._turn.calls:
            self._end_turn()
        self._reply().say(text)

    def _asked(self, item: Mapping[str, Any], where: str) -> str | tuple[Content, ...]:
        content = self._content(item, where)
        if isinstance(content, str):
            if not content.strip():
                raise RequestError(f"{where}.content is empty")
            return content
        if not content:
            raise RequestError(f"{where}.content is empty")
        only = content[0] if len(content) == 1 else None
        return only.text if isinstance(only, TextPart) else content

    def _text(self, item: Mapping[str, Any], where: str) -> str:
        content = self._content(item, where)
        if isinstance(content, str):
            return content
        if not all(isinstance(part, TextPart) for part in content):
            raise RequestError(f"{where}.content has more than text")
        return _joined(content)

    def _content(self, item: Mapping[str, Any], where: str) -> str | tuple[Content, ...]:
        if isinstance(item.get("content"), str):
            return text_in(item, "content", where, self._limits.text)
        return self._parts(item.get("content"), f"{where}.content")

    # -- parts -------------------------------------------------------------------------------------------

    def _listed(self, parts: Any, where: str) -> list[tuple[str, Any]]:
        return [(f"{where}[{at}]", part) for at, part in enumerate(list_of(parts, where, self._limits.parts))]

    def _parts(self, given: Any, where: str) -> tuple[Content, ...]:
        return tuple(self._part(mapping_of(part, place), place) for place, part in self._listed(given, where))

    def _part(self, part: Mapping[str, Any], where: str) -> Content:
        kind = text_in(part, "type", where, self._limits.id)
        if kind in _TEXTS:
            return TextPart(text_in(part, _TEXTS[kind], where, self._limits.text))
        if kind not in ("input_image", "input_file", "input_audio"):
            raise RequestError(f"{where}.type is not supported", code="unsupported_value")
        self._files += 1
        if self._files > self._limits.files:
            raise RequestError(f"there are more than {self._limits.files} files", status=413)
        if part.get("file_id") is not None:
            raise RequestError(
                f"{where}.file_id is not supported: no files are stored here; send the content, or an address",
                code="unsupported_value",
            )
        if kind == "input_image":
            detail = text_in(part, "detail", where, self._limits.id, "auto")
            # Without the word it is "auto", also for providers that do not have it.
            return ImagePart(self._address(part, "image_url", where), None if detail == "auto" else detail)
        return self._file(part, where) if kind == "input_file" else self._audio(part, where)

    def _address(self, part: Mapping[str, Any], name: str, where: str) -> str:
        """Return an address that a provider can ask; others could be the operator's own files."""
        url = text_in(part, name, where, self._limits.file_bytes)
        if not _ADDRESS.match(url) and not _DATA.match(url[:_LONGEST_HEAD]):
            raise RequestError(
                f"{where}.{name} is neither an address of http: or https:, nor a data: URL with a type and base64"
            )
        return url

    def _file(self, part: Mapping[str, Any], where: str) -> FilePart:
        name = text_in(part, "filename", where, self._limits.id, "") or None
        if part.get("file_data") is None:
            return FilePart(self._address(part, "file_url", where), name)
        data = text_in(part, "file_data", where, self._limits.file_bytes)
        if data[:5].lower() == "data:":
            return FilePart(self._address(part, "file_data", where), name)
        kind = mimetypes.guess_type(f"x{os.path.splitext(name or '')[1]}")[0]  # of a whole name it may make a URL
        if kind is None or not _BASE64.match(data):
            raise RequestError(
                f"{where}.file_data is neither a data: URL, nor base64 beside a filename whose ending tells the type"
            )
        return FilePart(f"data:{kind};base64,{data}", name)

    def _audio(self, part: Mapping[str, Any], where: str) -> Mapping[str, Any]:
        place = f"{where}.input_audio"
        audio = mapping_of(part.get("input_audio"), place)
        data = text_in(audio, "data", place, self._limits.file_bytes)
        form = text_in(audio, "format", place, self._limits.id)
        return {"type": "input_audio", "input_audio": {"data": data, "format": form}}


def _joined(parts: Sequence[Any]) -> str:
    return "".join(part.text for part in parts)
