"""A dialogue on a terminal, with its history."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from streamkit.cli.answer import show
from streamkit.cli.failures import advised, tell
from streamkit.cli.output import Sink
from streamkit.errors import StreamkitError
from streamkit.streaming.stream import Stream
from streamkit.values.messages import Message
from streamkit.wire.loose_json import as_word

__all__ = ["hold"]

Ask = Callable[[list[Message]], Stream]

_PROMPT = "> "
_END = "/exit"


def hold(ask: Ask, history: list[Message], to: Sink, model: str) -> int:
    """Hold a dialogue until the user ends it.

    Args:
        ask: starts the answer to a list of messages.
        history: earlier messages, such as a system prompt; new messages are appended.
        to: the terminal.
        model: its name, for the user.

    Returns:
        The exit code.
    """
    with suppress(ImportError):  # not on Windows, whose console edits lines itself
        import readline  # noqa: F401 - gives input() its keys and its history
    to.note(f"{model} listens. {_END} or Ctrl-D ends the dialogue, Ctrl-C stops an answer.")
    warned = False
    while True:
        try:
            line = as_word(input(_PROMPT)).strip()  # bytes that are no text come as half characters
            warned = False
            if line == _END:
                return 0
            if line:
                _turn(ask, history, to, line)
        except EOFError:
            to.note("")
            return 0
        except KeyboardInterrupt:
            to.note("")
            if warned:
                return 0
            warned = True
            to.note("Ctrl-C once more, or Ctrl-D, ends the dialogue.")


def _turn(ask: Ask, history: list[Message], to: Sink, line: str) -> None:
    """Ask, and append the question and the answer received so far to the history.

    A question without any answer, or one that could not be sent, is not appended, so that it may be asked again.
    """
    question = Message("user", line)
    try:
        with ask([*history, question]) as stream:
            try:
                show(stream, to)
            finally:
                said = stream.completion.text or stream.completion.refusal
                if said:
                    history += [question, Message("assistant", said)]
    except StreamkitError as error:
        tell(advised(error))
