"""The value of a reply's JSON while it arrives: ``partial_values`` and ``whole_items``.

What a type is, and whether a value fits it, is known above this room: the stream is given an ``TypedOutput``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError, InvalidOutputError
from streamkit.observing.status import Status
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion

if TYPE_CHECKING:
    from streamkit.values.partial_json import PartialJson

__all__ = ["NOTHING", "Chunks", "GrowingOutput", "TypedOutput", "partial_values", "whole_items"]

NOTHING: Any = object()  # no value yet; ``None`` is one: JSON's null

# A byte order mark, and the first line of a Markdown fence: models put them around JSON.
_OPENING = re.compile(r"\ufeff?[ \t\r\n]*(?:```[^\n]*\n[ \t\r\n]*)?")
_LONGEST_OPENING = 200  # characters


class TypedOutput(Protocol):
    """The type that was asked for."""

    @property
    def response_format(self) -> dict[str, Any]:
        """What providers are asked for, in OpenAI's shape."""

    @property
    def wrapped(self) -> str | None:
        """The key under which the value stands in the object that the provider was asked for; ``None``: it is that."""

    @property
    def is_list(self) -> bool:
        """Whether the value is a list of elements of one type."""

    def parsed(self, completion: Completion) -> Any:
        """Return the instance of the type; raise ``InvalidOutputError``."""

    def plain(self, text: str) -> Any:
        """Return the value of a whole text as JSON types, repaired but not validated; ``NOTHING`` if it is no JSON."""

    def item(self, value: Any, number: int) -> Any:
        """Return the instance of a list's element; raise ``InvalidOutputError``."""


class Chunks(Protocol):
    """A stream of chunks, as far as it is needed here."""

    def __iter__(self) -> Iterator[Chunk]:
        """Iterate the chunks."""

    def cancel(self) -> None:
        """Cancel the stream."""

    @property
    def status(self) -> Status:
        """How it ended."""

    @property
    def completion(self) -> Completion:
        """What was delivered."""


class GrowingOutput:
    """The value of a reply so far, out of the object and the Markdown fence that are around it.

    Args:
        wrapped: see ``TypedOutput``.
    """

    def __init__(self, wrapped: str | None = None) -> None:
        self._wrapped = wrapped
        self._opening: str | None = ""  # the beginning of the text, until it is known what it is
        self._json: PartialJson = late_import("streamkit.values.partial_json").PartialJson()

    @property
    def version(self) -> int:
        """Grows each time that the value changes."""
        return self._json.version

    @property
    def whole(self) -> bool:
        """Whether the value is whole."""
        return self._json.whole

    @property
    def value(self) -> Any:
        """The value so far; ``NOTHING`` before it begins."""
        if not self._json.version:
            return NOTHING
        value = self._json.value
        return value.get(self._wrapped, NOTHING) if self._wrapped and isinstance(value, dict) else value

    def items(self, start: int) -> list[Any]:
        """Return the elements of the list that are whole, from one on."""
        return self._json.items(self._wrapped, start) or self._json.items(None, start)

    def add(self, text: str) -> None:
        """Take in the next piece of the reply."""
        if self._opening is not None:
            self._opening = text = self._opening + text
            match = _OPENING.match(text)
            end = 0 if match is None else match.end()
            undecided = end == len(text) or "```".startswith(text[end : end + 3]) or text.startswith("```", end)
            if undecided and len(text) < _LONGEST_OPENING:
                return
            self._opening, text = None, text[end:]
        self._json.add(text)


def partial_values(stream: Chunks, output: TypedOutput | None) -> Iterator[Any]:
    """Iterate the value of a reply as it grows."""
    __tracebackhide__ = True
    wrapped = output.wrapped if output else None
    growing, number, shown, last = GrowingOutput(wrapped), 0, 0, NOTHING
    for chunk in stream:
        if chunk.text and not chunk.index:
            if chunk.round != number:  # text before calls of tools is no answer
                growing, number, shown = GrowingOutput(wrapped), chunk.round, 0
            growing.add(chunk.text)
            if growing.version > shown:
                shown, value = growing.version, growing.value
                if value is not NOTHING:
                    last = value
                    yield value
    if output is not None and not growing.whole and stream.status == "complete":
        # What was no JSON so far may be repaired, now that it is whole.
        value = output.plain(stream.completion.text)
        if value is not NOTHING and value != last:
            yield value


def whole_items(stream: Chunks, output: TypedOutput | None) -> Iterator[Any]:
    """Iterate the elements of a reply's list."""
    if output is None or not output.is_list:
        raise ConfigError(
            "iter_items() needs a list type, such as response_format=list[Invoice]; iter_partial() shows any JSON"
        )
    return _whole_items(stream, output)


def _whole_items(stream: Chunks, output: TypedOutput) -> Iterator[Any]:
    __tracebackhide__ = True
    growing, number, taken = GrowingOutput(output.wrapped), 0, 0
    try:
        for chunk in stream:
            if chunk.text and not chunk.index:
                if chunk.round != number:  # text before calls of tools is no answer
                    growing, number, taken = GrowingOutput(output.wrapped), chunk.round, 0
                growing.add(chunk.text)
                for value in growing.items(taken):
                    item = output.item(value, taken)
                    taken += 1
                    yield item
    except InvalidOutputError as error:
        stream.cancel()
        error.partial = stream.completion
        error.text = error.partial.text
        raise
    if stream.status == "complete":
        completion = stream.completion
        yield from completion.parsed[taken:]  # those of a text that had to be repaired; or why it does not fit
