"""Outputs for answers: ``Plain`` text for pipes and ``Lines`` of JSON; ``screen`` has the terminal's."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from typing import Any, Protocol, TextIO

import attrs
import click

from streamkit.values.chunks import Chunk
from streamkit.wire.loose_json import as_json

__all__ = ["Lines", "Plain", "Sink", "Unwritable", "discard", "one_line", "put", "to_json", "without_controls"]

# C0 but tab and line feed, DEL, and C1: among them are all that a terminal takes for a command.
_COMMANDS = {*range(0x20), *range(0x7F, 0xA0)} - {0x09, 0x0A}
# They change the order in which characters are shown, so that a line reads otherwise than it is. Scripts that run from
# right to left need none of them; those that join characters, as emoji and Persian do, stay.
_BIDIRECTIONAL = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x2070)}
_CONTROLS = dict.fromkeys(_COMMANDS | _BIDIRECTIONAL)
_UNSAFE = re.compile(f"[\x7f-\x9f\u2028\u2029{''.join(map(chr, sorted(_BIDIRECTIONAL)))}]")


def without_controls(text: str) -> str:
    """Return the text without the characters that control a terminal, or change the order of its text."""
    return text.translate(_CONTROLS)


def one_line(text: str) -> str:
    """Return the text as one line that is safe on a terminal."""
    return without_controls(" ".join(text.split()))


def to_json(shape: Any) -> str:
    """Return JSON as one line that is safe on a terminal, with the same text in it; JSON itself escapes C0 only."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", as_json(shape))


def put(line: str, *, encoding: str | None = None) -> None:
    """Write a line on standard output.

    Args:
        encoding: by default the locale's; characters that it cannot encode become question marks.

    Raises:
        Unwritable: standard output cannot be written.
    """
    if sys.stdout is None:
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=encoding, errors="replace")
    _write(sys.stdout, f"{line}\n")


class Unwritable(Exception):
    """Standard output cannot be written.

    Attributes:
        reader_left: whether it is a pipe whose reader was closed, which is not an error.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        # Windows reports a closed pipe as an invalid argument.
        self.reader_left = isinstance(error, BrokenPipeError) or (os.name == "nt" and error.errno == errno.EINVAL)


class Sink(Protocol):
    """Takes the chunks of one answer after another.

    Attributes:
        tick: seconds after which to call ``idle``, if no chunk came; ``None`` for never.
        shows_calls: whether a chunk of the type ``tool_approval`` is shown as the call.
    """

    tick: float | None
    shows_calls: bool

    def begin(self) -> None:
        """Begin an answer that was asked for just now."""

    def idle(self) -> None:
        """Show that time passes, and whatever is not shown yet."""

    def show(self, chunk: Chunk) -> None:
        """Write one chunk, flushed.

        Raises:
            Unwritable: the output cannot be written.
        """

    def end(self, *, interrupted: bool = False) -> None:
        """Finish an answer, complete or not, so that the next output begins on a new line."""

    def note(self, text: str) -> None:
        """Write a line of our own after an answer."""


class Plain:
    """The answer's text as it is, and nothing else.

    A refusal is shown in its place. The state is whether a line was begun and not ended yet.
    """

    shows_calls = False

    def __init__(self, file: TextIO) -> None:
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="replace")  # a locale without the model's letters is no reason to stop
        self.tick: float | None = None
        self._file = file
        self._in_line = False

    def begin(self) -> None:
        pass

    def idle(self) -> None:
        pass

    def show(self, chunk: Chunk) -> None:
        if chunk.type in ("tool_approval", "tool_result"):
            self.end()  # the next reply begins on a line of its own
        elif not chunk.index:
            self.write(chunk.text or chunk.refusal)

    def end(self, *, interrupted: bool = False) -> None:
        if self._in_line:
            self.write("\n")

    def note(self, text: str) -> None:
        self.end()
        self.write(f"{text}\n")

    def write(self, text: str) -> None:
        """Write a piece, flushed.

        Raises:
            Unwritable: the output cannot be written.
        """
        if text:
            self._in_line = not text.endswith("\n")
            self.emit(text)

    def emit(self, text: str) -> None:
        """Write text, flushed, that is not a piece of the answer, such as a movement of the cursor.

        Raises:
            Unwritable: the output cannot be written.
        """
        _write(self._file, text)


class Lines:
    """One JSON object a chunk, a line each, in UTF-8 whatever the locale."""

    shows_calls = False

    def __init__(self, file: TextIO) -> None:
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(encoding="utf-8", newline="\n")
        self.tick: float | None = None
        self._file = file

    def begin(self) -> None:
        pass

    def idle(self) -> None:
        pass

    def show(self, chunk: Chunk) -> None:
        _write(self._file, f"{to_json(_object(chunk))}\n")

    def end(self, *, interrupted: bool = False) -> None:
        pass  # a line is whole when it is written

    def note(self, text: str) -> None:
        click.echo(text, err=True)


def _object(chunk: Chunk) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": chunk.type, "index": chunk.index}
    if chunk.round:
        shape["round"] = chunk.round
    for name in ("text", "reasoning", "refusal", "finish_reason"):
        if value := getattr(chunk, name):
            shape[name] = value
    if chunk.tool_call is not None:
        shape["tool_call"] = attrs.asdict(chunk.tool_call)
    if chunk.tool_result is not None:
        shape["tool_result"] = {name: value for name, value in chunk.tool_result.to_dict().items() if value}
    if chunk.usage is not None:
        shape["usage"] = attrs.asdict(chunk.usage, filter=lambda _, value: value is not None and value is not False)
    return shape


def _write(file: TextIO, text: str) -> None:
    try:
        file.write(text)
        file.flush()
    except OSError as error:
        discard(file)
        raise Unwritable(error) from error


def discard(file: TextIO | None) -> None:
    """Discard what is in the buffer, because the interpreter would fail to flush it at exit."""
    if file is None:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, file.fileno())
    os.close(nowhere)
