"""Read what is typed at a prompt, of one line or of several."""

from __future__ import annotations

from contextlib import suppress

import attrs

from streamkit.wire.loose_json import as_word

__all__ = ["Typed", "ask", "prepare", "read"]

_PROMPT = "> "
_MORE = "... "
_QUOTES = '"""'


@attrs.frozen
class Typed:
    """What was typed.

    Attributes:
        text: without white space around it, and without the marks of several lines.
        quoted: whether it stood between triple quotes, so that it is never a command.
    """

    text: str
    quoted: bool = False


def prepare() -> None:
    """Give ``input`` its keys and its history, where the platform has them."""
    with suppress(ImportError):  # not on Windows, whose console edits lines itself
        import readline  # noqa: F401


def read() -> Typed:
    r"""Read one input: a line; or lines that end in a backslash, and the next one; or all between triple quotes.

    Raises:
        EOFError, KeyboardInterrupt: Ctrl-D or Ctrl-C was typed.
    """
    line = _line(_PROMPT)
    if line.lstrip().startswith(_QUOTES):
        return Typed(_until_quotes(line.lstrip().removeprefix(_QUOTES)), quoted=True)
    lines = []
    while line.endswith("\\"):
        lines.append(line.removesuffix("\\"))
        line = _line(_MORE)
    return Typed("\n".join([*lines, line]).strip())


def ask(prompt: str, given: str = "") -> str:
    """Read one line that is not kept in the history of keys.

    Args:
        prompt: stands before it.
        given: what stands in the line already, where the platform has keys to edit it.

    Raises:
        EOFError, KeyboardInterrupt: Ctrl-D or Ctrl-C was typed.
    """
    try:
        import readline
    except ImportError:
        return input(prompt)
    readline.set_auto_history(False)
    readline.set_startup_hook((lambda: readline.insert_text(given)) if given else None)
    try:
        return input(prompt)
    finally:
        readline.set_startup_hook(None)
        readline.set_auto_history(True)


def _until_quotes(line: str) -> str:
    lines = []
    while not line.rstrip().endswith(_QUOTES):
        lines.append(line)
        line = _line(_MORE)
    lines.append(line.rstrip().removesuffix(_QUOTES))
    return "\n".join(lines).strip("\r\n")


def _line(prompt: str) -> str:
    return as_word(input(prompt))  # bytes that are no text come as half characters
