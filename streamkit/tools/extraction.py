"""``extract``: ask for a type, and tell the model its mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from streamkit.errors import ConfigError, InvalidOutputError
from streamkit.settings import shown
from streamkit.tools.output import output_of
from streamkit.values.completion import Completion
from streamkit.values.messages import Message

__all__ = ["extract"]

#: Takes a model, messages and options; returns the whole reply.
Complete = Callable[..., Completion]


def extract(
    complete: Complete,
    model: str,
    messages: str | Iterable[Message | Mapping[str, Any]],
    kind: Any,
    attempts: int,
    options: Mapping[str, Any],
) -> Any:
    """Return the instance of a type that a model fills in; ``Client.extract`` says how.

    Args:
        complete: asks the model: the client's ``complete``.
        model, messages, kind, attempts: see ``Client.extract``.
        options: further arguments of ``complete``.
    """
    __tracebackhide__ = True
    if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
        raise ConfigError(f"attempts is a number from 1, not {shown(attempts)}")
    if "response_format" in options:
        raise ConfigError("extract() takes the type as its third argument, not as response_format=")
    output = output_of(kind)
    if output is None:
        raise ConfigError("extract() needs a type or a JSON schema; complete(response_format=...) takes any shape")
    history = [Message("user", messages)] if isinstance(messages, str) else list(messages)
    while True:
        completion = complete(model, history, response_format=output, **options)
        attempts -= 1
        try:
            return completion.parsed
        except InvalidOutputError as error:
            if not attempts or not error.problems:  # a refusal or a cut: asked again, the same would come
                raise
            history = [*history, *_told(error)]


def _told(error: InvalidOutputError) -> list[Message]:
    """Return what the model is told: what it wrote, and what is wrong with it."""
    wrote = [error.partial.message] if error.text.strip() else []  # few providers take an empty message
    problems = "\n".join(f"- {problem}" for problem in error.problems)
    ask = f"Your answer does not fit what was asked for:\n{problems}\nAnswer again with the whole JSON, corrected."
    return [*wrote, Message("user", ask)]
